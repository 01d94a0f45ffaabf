/* SPDX-License-Identifier: MIT */
/* Bencoded replies: announce (BEP 3, 7, 23, 24), scrape (BEP 48), failure (BEP 31).
 *
 * Thread: any (pure).
 */
#ifndef TRACKER_REPLY_H
#define TRACKER_REPLY_H

#include "base/buf.h"
#include "tracker/table.h"

#include <stdbool.h>

#define RETRY_UNSAID 0
#define RETRY_NEVER (-1)

/* Why somebody is not served, and after how many minutes it may ask again. */
struct refusal {
	const char *reason;
	int retry_min;
};

struct reply_options {
	bool compact, no_peer_id;
	const char *tracker_id;  /* NULL: none */
	const char *warning;     /* NULL: none */
	const struct addr *from; /* told as "external ip" */
};

/* A dictionary reply needs answer->ids unless no_peer_id. */
void reply_announce(struct buf *out, const struct answer *answer, const struct reply_options *o);
void reply_refusal(struct buf *out, const struct refusal *refusal);

void reply_scrape_begin(struct buf *out);
void reply_scrape_file(struct buf *out, const uint8_t hash[HASH_LEN], const struct table_scrape *f);
void reply_scrape_end(struct buf *out, unsigned min_interval);

#endif
