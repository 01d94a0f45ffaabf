/* SPDX-License-Identifier: MIT */
/* When to announce again.
 *
 *  - After an answer: the tracker's interval.  While peers are few ("hungry"): ANNOUNCE_HUNGRY_S,
 *    but never below the tracker's "min interval", where it told one.  After a minute of that in
 *    vain the gap doubles up to ANNOUNCE_HUNGRY_MAX_S: a swarm may have no more peers than that.
 *  - After a failure: ANNOUNCE_BACKOFF_S, doubling, up to ANNOUNCE_BACKOFF_MAX_S; while hungry up
 * to ANNOUNCE_BACKOFF_HUNGRY_S, since a read may be waiting for this tracker to come back.  "retry
 *    in" (BEP 31) is obeyed.
 *  - Jitter spreads a fleet that started together, or lost its tracker together.
 *
 * Thread: any (pure: time and randomness are arguments).
 */
#ifndef SWARM_ANNOUNCE_WHEN_H
#define SWARM_ANNOUNCE_WHEN_H

#include <stdbool.h>
#include <stdint.h>

struct announce_reply;

#define ANNOUNCE_INTERVAL_S 1800u /* where a tracker tells none */
#define ANNOUNCE_HUNGRY_S 5u
#define ANNOUNCE_HUNGRY_TIMES 12u
#define ANNOUNCE_HUNGRY_MAX_S 60u
#define ANNOUNCE_BACKOFF_S 5u
#define ANNOUNCE_BACKOFF_MAX_S 1800u
#define ANNOUNCE_BACKOFF_HUNGRY_S 120u

#define ANNOUNCE_NEVER UINT64_MAX

struct announce_timing {
	uint64_t last_us; /* when the last announce ended */
	uint32_t random; /* drawn then */
	unsigned failures; /* since the last answer */
	unsigned hungry_times; /* answers while hungry, in a row */
	uint32_t interval_s, min_interval_s; /* as last told; 0: not told */
	int64_t retry_s; /* of the last failure: BEP 31 */
	bool refused; /* the last failure was the tracker's answer */
};

void announce_timing_answered(struct announce_timing *t, const struct announce_reply *reply,
	bool hungry, uint64_t now, uint32_t random);
/* reply: the failure that the tracker gave, or NULL. */
void announce_timing_failed(struct announce_timing *t, const struct announce_reply *reply,
	uint64_t now, uint32_t random);
/* In clock_us terms, or ANNOUNCE_NEVER. */
uint64_t announce_timing_next(const struct announce_timing *t, bool hungry);

#endif
