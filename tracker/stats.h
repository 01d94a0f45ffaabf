/* SPDX-License-Identifier: MIT */
/* What an operator sees: a page, JSON, Prometheus' text, and peertracker's three old forms.
 *
 * Thread: any (pure).
 */
#ifndef TRACKER_STATS_H
#define TRACKER_STATS_H

#include "base/buf.h"
#include "tracker/http.h"
#include "tracker/request.h"
#include "tracker/service.h"

#include <stdbool.h>
#include <stdint.h>

#define STATS_TOP 20u /* torrents on the page */

enum stats_part { PART_OFF, PART_GOOD, PART_BAD };

struct stats_state {
	enum stats_part part;
	uint64_t rounds;   /* each over all that had changed */
	uint64_t written;  /* rows: of up to PEERSET_ROW peers, or a count */
	uint64_t bytes;    /* of peers in them */
	uint64_t errors;
	uint32_t behind_s; /* how old the oldest change is that is not on disk; 0: there is none */
};

struct stats_cluster {
	enum stats_part part;
	uint64_t sent, received, dropped; /* changes of peers */
	uint64_t outages;
};

struct stats {
	uint32_t uptime_s;
	struct table_counts table;
	struct service_counters service;
	struct http_counters http;
	struct lists_counts lists;
	struct stats_state state;
	struct stats_cluster cluster;
	double per_second; /* announces, over the last seconds */
	struct stats_torrent {
		uint8_t hash[HASH_LEN];
		uint32_t seeds, leechers, downloaded;
	} top[STATS_TOP]; /* the largest */
	unsigned n_top;
};

/* The largest torrents into `stats`; skipped (it takes a walk) above a limit of torrents. */
void stats_find_top(struct stats *s, const struct table *table);

void stats_page(const struct stats *s, struct buf *out);
void stats_json(const struct stats *s, struct buf *out);
void stats_metrics(const struct stats *s, struct buf *out);
/* peertracker's scrape.php?stats; its content type. */
const char *stats_peertracker(const struct stats *s, enum stats_form form, struct buf *out);

#endif
