/* SPDX-License-Identifier: MIT */
/* What the tracker does, whichever way it is asked: the table behind the rules of whom it serves.
 *
 * Thread: loop.
 */
#ifndef TRACKER_SERVICE_H
#define TRACKER_SERVICE_H

#include "tracker/throttle.h"
#include "tracker/lists.h"
#include "tracker/reply.h"
#include "tracker/request.h"
#include "tracker/table.h"

#include <stdbool.h>
#include <stdint.h>

enum proto { PROTO_HTTP, PROTO_HTTPS, PROTO_UDP, PROTOS };

struct service_config {
	uint32_t numwant_max;
	bool allow_ip, full_scrape;
	const char *warning;    /* to every client; borrowed, NULL for none */
	const char *tracker_id; /* in replies; borrowed */
};

struct service_counters {
	uint64_t announces[PROTOS], scrapes[PROTOS];
	uint64_t refused; /* answered with a failure */
	uint64_t unlisted; /* served, but not listed: the table is full */
	uint64_t connects; /* UDP connection ids given */
	uint64_t bad_ids;  /* UDP packets with a wrong one */
};

struct service {
	struct service_config config;
	struct table *table;     /* borrowed, as the next two */
	struct lists *lists;
	struct throttle *throttle; /* NULL: no limit */
	struct service_counters counters;
	uint32_t started; /* second */
};

/* Fills *answer, or says why not.  `asker` is where it came from (a->from may be another, with
 * ip=), `key` the passkey that came with it. */
const struct refusal *service_announce(struct service *s, const struct addr *asker,
	struct announce *a, struct text key, enum proto proto, uint32_t now, struct answer *answer);
/* May this asker scrape these? */
const struct refusal *service_scrape(struct service *s, const struct addr *from, struct text key,
	enum proto proto, uint32_t now);
/* The same for one torrent of a scrape: zeros for what is not served. */
void service_scrape_one(struct service *s, const uint8_t hash[HASH_LEN], uint32_t now,
	struct table_scrape *ret);
/* May this asker have something that no passkey is needed for?  Counts it when not. */
bool service_may_ask(struct service *s, const struct addr *from, uint32_t now);
/* A request that could not be understood: counts it. */
const struct refusal *service_refuse(struct service *s, const struct refusal *refusal);

#endif
