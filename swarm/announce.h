/* SPDX-License-Identifier: MIT */
/* Announcing one torrent to its trackers (BEP 3, 7, 12, 15, 23, 31).
 *
 * Every tracker of every tier is announced to, at once and from then on each at its own interval,
 * so that a dead one costs nothing (BEP 12 would try one at a time).  A hybrid is announced under
 * both its info-hashes.  Events: started, completed (once, when it completes in this run), stopped.
 * While few peers are known the interval is short (a tracker's "min interval" is obeyed, else
 * ANNOUNCE_HUNGRY_S); failures back off, with jitter.
 *
 * A tracker is announced to over IPv4 and over IPv6 (BEP 7), since most give peers of the family
 * they were asked over; a family that the tracker or we do not have is passed over in silence.
 *
 * announce.c keeps the routes (tracker, hash, family), announce_when.c their times;
 * announce_http.c and announce_udp.c carry one announce each.
 *
 * Callbacks may call everything but announcer_free.
 *
 * Thread: loop.
 */
#ifndef SWARM_ANNOUNCE_H
#define SWARM_ANNOUNCE_H

#include "base/addr.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct http;
struct announcer;

struct announce_totals {
	uint64_t uploaded, downloaded, left;
};

struct announce_config {
	struct loop *loop;
	struct http *http;
	const uint8_t (*hashes)[SHA1_LEN]; /* copied; the wire's info-hashes, one or two */
	unsigned n_hashes;
	uint8_t peer_id[20];
	/* Where we listen.  Announces come from there (addr_bind_source), and over that family alone where the
	 * tracker has both: it takes the address of a peer from its announce. */
	struct addr listens;
	/* Asked at each announce. */
	void (*totals)(void *arg, struct announce_totals *ret);
	/* Peers that a tracker gave (borrowed; at least one; unfiltered but for port 0). */
	void (*peers)(void *arg, const struct addr *peers, size_t n);
	void *arg;
};

/* One tracker, for the status. */
struct announce_status {
	const char *url; /* redacted; borrowed */
	const char *error; /* the last result: NULL is fine; "" means no answer yet */
	const char *warning; /* or NULL */
	int64_t next_s; /* seconds to the next announce; -1 while one is under way, -2: never,
			 * the tracker said so (BEP 31) */
	int64_t last_s; /* since the last answer, -1: never */
	int32_t seeds, leechers; /* as told, -1 unknown */
	uint32_t peers; /* in the last reply */
};

struct announcer *announcer_new(const struct announce_config *config);
/* Adds a tracker (twice the same is fine); -EINVAL with a static reason when its URL is refused. */
int announcer_add(struct announcer *a, const char *url, const char **ret_why);
void announcer_start(struct announcer *a);
/* Few peers known: announce soon, and at short intervals until it is false again. */
void announcer_set_hungry(struct announcer *a, bool hungry);
void announcer_completed(struct announcer *a);
/* Sends "stopped" where "started" was answered; done(arg) when all are sent or after 2 s. */
void announcer_stop(struct announcer *a, void (*done)(void *arg), void *arg);
void announcer_free(struct announcer *a); /* NULL is fine; cancels what is under way */
size_t announcer_count(const struct announcer *a);
void announcer_status(const struct announcer *a, size_t i, struct announce_status *ret);

#endif
