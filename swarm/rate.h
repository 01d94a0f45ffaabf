/* SPDX-License-Identifier: MIT */
/* Measuring and limiting rates.
 *
 * Pure; `now` is monotonic, microseconds.  A meter gives bytes per second over the last few seconds.
 * A limiter is a token bucket with a burst of 100 ms (at least one block), shared by whom it limits.
 * An all-zero meter is an empty one.
 *
 * Thread: loop.
 */
#ifndef SWARM_RATE_H
#define SWARM_RATE_H

#include <stdint.h>

struct meter {
	uint64_t total;      /* bytes ever */
	uint64_t slot_start; /* us */
	uint64_t first;      /* when the first byte came (after a silence: the first one since) */
	uint32_t slots[8];   /* bytes in each of the last 8 half seconds, a ring */
	unsigned slot;
};
void meter_add(struct meter *m, uint64_t bytes, uint64_t now);
/* Bytes per second over the last 3 s, or since the first byte if that is sooner. */
uint64_t meter_rate(struct meter *m, uint64_t now);

struct limiter {
	uint64_t rate;  /* bytes per second; 0: no limit */
	int64_t tokens; /* in millionths of a byte; below zero after a forced take */
	uint64_t last;
};
void limiter_init(struct limiter *l, uint64_t rate, uint64_t now);
/* How many of `want` bytes may pass now (0..want); takes them. */
uint64_t limiter_take(struct limiter *l, uint64_t want, uint64_t now);
/* Takes them whatever there is: for what cannot wait (a demand); the rest pays later. */
void limiter_force(struct limiter *l, uint64_t bytes, uint64_t now);
/* Microseconds until `want` bytes (or a full burst) may pass; 0: now. */
uint64_t limiter_wait(struct limiter *l, uint64_t want, uint64_t now);

#endif
