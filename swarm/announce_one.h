/* SPDX-License-Identifier: MIT */
/* One announce: what is said, what is answered.  Inside of announce*.c only.
 *
 * Thread: loop.
 */
#ifndef SWARM_ANNOUNCE_ONE_H
#define SWARM_ANNOUNCE_ONE_H

#include "swarm/announce.h"

struct http;
struct announce_http;
struct announce_udp;
struct udp_announce;

/* The numbers are BEP 15's. */
enum announce_event { ANNOUNCE_NONE, ANNOUNCE_COMPLETED, ANNOUNCE_STARTED, ANNOUNCE_STOPPED };

struct announce_request {
	uint8_t hash[SHA1_LEN];
	uint8_t peer_id[20];
	uint16_t port;
	uint32_t key;
	struct announce_totals totals;
	enum announce_event event;
	uint32_t numwant;
	const char *tracker_id; /* HTTP; percent-encoded; borrowed for the call; NULL for none */
	const char *path; /* UDP: the URL's path for BEP 41; borrowed while it lasts, or NULL */
};

struct announce_reply {
	char *failure, *warning; /* owned, printable, or NULL */
	int64_t retry_s; /* BEP 31, beside a failure: seconds, 0 not told, -1 never again */
	uint32_t interval_s, min_interval_s; /* 0: not told */
	int32_t seeds, leechers; /* -1: not told */
	char *tracker_id; /* owned, percent-encoded, or NULL */
	struct addr *peers; /* owned; none with port 0 */
	size_t n_peers;
};

void announce_reply_done(struct announce_reply *r);

/* How it ended.  error NULL: `reply` is good.  Else a printable sentence for the call's life;
 * `reply` is then the failure that the tracker gave, or NULL when there was no proper answer.
 * no_address: the tracker has no address of the family, or we have no way there. */
typedef void announce_done_fn(
	void *arg, const struct announce_reply *reply, const char *error, bool no_address);

/* -- announce_http.c: HTTP ------------------------------------------------------------------ */

/* The URL to get; the caller frees it. */
char *announce_http_url(const char *tracker, const struct announce_request *request);
/* 0 and *ret (maybe a failure), or -EINVAL with a static reason: not a tracker's reply. */
int announce_http_parse(
	const uint8_t *body, size_t len, struct announce_reply *ret, const char **ret_why);
/* NULL when the URL is refused, with a static reason.  `done` exactly once unless cancelled, never
 * from inside of this call. */
struct announce_http *announce_http_start(struct http *http, const char *tracker, int family,
	const struct announce_request *request, unsigned timeout_ms, announce_done_fn *done,
	void *arg, const char **ret_why);
void announce_http_cancel(struct announce_http *a);

/* -- announce_udp.c: UDP -------------------------------------------------------------------- */

/* The sockets of one announcer, opened when first used. */
struct announce_udp *announce_udp_new(struct loop *loop, const struct addr *from);
void announce_udp_free(struct announce_udp *u); /* cancels what is under way; NULL is fine */
/* `done` as above. */
struct udp_announce *announce_udp_start(struct announce_udp *u, const struct addr *to,
	const struct announce_request *request, announce_done_fn *done, void *arg);
void announce_udp_cancel(struct udp_announce *a);

#endif
