/* SPDX-License-Identifier: MIT */
/* What a URL asks of the tracker: path and query, into checked values.
 *
 * /announce, /announce.php, /scrape and /scrape.php are known under any prefix (as peertracker's
 * users have them); the part before is the passkey where passkeys are in use.  The texts of
 * refusals that peertracker has are its own, word for word.
 *
 * Pure.  Thread: any.
 */
#ifndef TRACKER_REQUEST_H
#define TRACKER_REQUEST_H

#include "tracker/http_head.h"
#include "tracker/table.h"

#include <stdbool.h>
#include <stdint.h>

#define SCRAPE_MAX 100u      /* hashes in one scrape; transmission asks for 64 */
#define NUMWANT_DEFAULT 50u  /* BEP 3's usual */
#define PASSKEY_MAX 64u

enum route {
	ROUTE_NONE,
	ROUTE_ANNOUNCE,
	ROUTE_SCRAPE,
	ROUTE_STATS,      /* the page for people */
	ROUTE_STATS_JSON,
	ROUTE_METRICS,
};

/* *ret_key: the path's part before the last, empty when there is none or it is too long. */
enum route request_route(struct text path, struct text *ret_key);

struct http_announce {
	struct announce a; /* from: as the caller set it, but for the port (and --allow-ip) */
	bool compact, no_peer_id;
};

/* `from` is where the request came from; ip= replaces it if `allow_ip`.  NULL, or why not. */
const char *request_announce(struct text query, const struct addr *from, bool allow_ip,
	struct http_announce *ret);

enum stats_form { STATS_NONE, STATS_HTML, STATS_XML, STATS_JSON };
struct http_scrape {
	uint8_t hashes[SCRAPE_MAX][HASH_LEN];
	uint32_t n;            /* 0: all */
	enum stats_form stats; /* peertracker's ?stats: instead of a scrape */
};
const char *request_scrape(struct text query, struct http_scrape *ret);

/* One "name=value" of a query, decoded; for everybody who reads one.  False at the end. */
struct param {
	struct text name;
	size_t len; /* of value; more than sizeof(value) when it was cut */
	uint8_t value[256];
};
bool request_param(struct text *query, struct param *ret);

#endif
