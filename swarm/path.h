/* SPDX-License-Identifier: MIT */
/* What the path to one peer holds: its round trip and the rate at which it delivers.
 *
 * Pure; `now` is monotonic, microseconds.  After BBR (Cardwell et al., 2016): the rate is the largest
 * of the recent delivery rates, each being what arrived between a request and its answer over the
 * time that took; the round trip is the smallest recent one.  Their product is what may be asked for
 * without anything waiting in a queue.  A sample that was taken while less was asked for than the
 * path holds tells nothing about the path's limit: it can raise the rate, never lower it.
 *
 * That is how much fits; with other traffic on the path, or a peer that is busy, less does.  So what is
 * asked for beside a reader keeps to a window of its own, `calm`, which follows the delay as TCP Vegas does
 * (Brakmo and Peterson, 1995): a round trip in which no answer came nearly as soon as the path allows
 * makes it smaller by a quarter, another one larger by an eighth, or by half until the first such.
 *
 * Thread: loop.
 */
#ifndef SWARM_PATH_H
#define SWARM_PATH_H

#include <stdbool.h>
#include <stdint.h>

/* Kept by the caller with each request that is under way. */
struct path_mark {
	uint64_t sent_at;      /* us */
	uint64_t delivered;    /* path.delivered as it was sent */
	uint64_t delivered_at; /* path.delivered_at as it was sent */
	bool limited;          /* the path was not full then */
};

struct path {
	uint64_t delivered, delivered_at;
	uint64_t rtt_min, rtt_min_at; /* 0: unknown */
	uint64_t srtt, rttvar;        /* of whole requests: queueing and the peer's disk included */
	uint64_t rate_now, rate_last; /* largest samples of this and the last window, bytes/s */
	uint64_t window_at;
	bool window_full;             /* this window has had a sample that was not limited */
	uint64_t calm;                /* bytes */
	bool calm_found;              /* it has been too much once */
	uint64_t round_at, round_rtt; /* this round trip's begin; the least that a request in it took */
};

/* `rtt`: the kernel's round trip of the connection (TCP_INFO), believed until a request was answered: a proxy
 * on the way may be nearer than the peer. */
void path_init(struct path *p, uint64_t rtt, uint64_t now);
/* A request is sent while `outstanding` bytes are under way before it. */
struct path_mark path_on_sent(struct path *p, uint64_t outstanding, uint64_t now);
/* Its answer of `bytes` has arrived. */
void path_on_delivered(struct path *p, const struct path_mark *m, uint64_t bytes, uint64_t now);

/* `bytes` arrived of which it is not known when they were asked for. */
void path_on_late(struct path *p, uint64_t bytes, uint64_t now);

uint64_t path_rate(const struct path *p); /* bytes/s; PATH_RATE_GUESS before the first sample */
uint64_t path_rtt(const struct path *p);  /* us; the least */
/* Bytes that the path holds: rate x round trip. */
uint64_t path_holds(const struct path *p);
/* Bytes that may be under way without a reader's request waiting long behind them. */
uint64_t path_calm(const struct path *p);
/* When an answer to a request sent now, behind `outstanding` bytes, is expected (us from now). */
uint64_t path_expects(const struct path *p, uint64_t outstanding);
/* How late an answer must be to be later than nearly all (about the 95th percentile), us. */
uint64_t path_patience(const struct path *p, uint64_t outstanding);

#define PATH_RATE_GUESS 1000000ull
#define PATH_RTT_GUESS 100000ull
#define PATH_CALM_MIN 65536ull /* bytes: less would stop a path that is slow to answer for good */

#endif
