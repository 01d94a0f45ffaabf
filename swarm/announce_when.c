// SPDX-License-Identifier: MIT
/* When to announce again: see announce_when.h.
 *
 * Thread: any.
 */
#include "swarm/announce_when.h"
#include "swarm/announce_one.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"

static uint32_t within(uint32_t v, uint32_t least, uint32_t most)
{
	return v < least ? least : MIN(v, most);
}

static void take_intervals(struct announce_timing *t, const struct announce_reply *reply)
{
	if (reply->interval_s)
		t->interval_s =
			within(reply->interval_s, TRACKER_MIN_INTERVAL_S, TRACKER_MAX_INTERVAL_S);
	if (reply->min_interval_s)
		t->min_interval_s = within(
			reply->min_interval_s, TRACKER_MIN_INTERVAL_S, TRACKER_MAX_INTERVAL_S);
}

void announce_timing_answered(struct announce_timing *t, const struct announce_reply *reply,
	bool hungry, uint64_t now, uint32_t random)
{
	take_intervals(t, reply);
	t->last_us = now;
	t->random = random;
	t->failures = 0;
	t->retry_s = 0;
	t->refused = false;
	t->hungry_times = hungry ? t->hungry_times + 1 : 0;
}

void announce_timing_failed(struct announce_timing *t, const struct announce_reply *reply,
	uint64_t now, uint32_t random)
{
	if (reply)
		take_intervals(t, reply);
	t->last_us = now;
	t->random = random;
	t->failures++;
	t->retry_s = reply ? reply->retry_s : 0;
	t->refused = reply != NULL;
}

/* `low` to `high` percent of the gap, by the random number. */
static uint64_t jitter(uint64_t gap_us, uint32_t random, unsigned low, unsigned high)
{
	return gap_us / 100 * low + gap_us / 100 * (high - low) * (random >> 16) / 65536;
}

static uint32_t double_up(uint32_t from, unsigned times, uint32_t most)
{
	return times >= 16 ? most : MIN(from << times, most);
}

static uint64_t after_failure(const struct announce_timing *t, bool hungry)
{
	uint32_t most = hungry ? ANNOUNCE_BACKOFF_HUNGRY_S : ANNOUNCE_BACKOFF_MAX_S;
	uint64_t gap_us = jitter(double_up(ANNOUNCE_BACKOFF_S, t->failures - 1, most) * US_PER_S,
		t->random, 75, 125);

	/* Where the tracker did not answer, its "min interval" does not count this announce. */
	if (t->refused)
		gap_us = MAX(gap_us, t->min_interval_s * US_PER_S);
	return MAX(gap_us, (uint64_t)t->retry_s * US_PER_S);
}

static uint64_t after_answer(const struct announce_timing *t, bool hungry)
{
	uint32_t interval_s = t->interval_s ? t->interval_s : ANNOUNCE_INTERVAL_S;

	if (hungry) {
		unsigned extra = t->hungry_times > ANNOUNCE_HUNGRY_TIMES
					 ? t->hungry_times - ANNOUNCE_HUNGRY_TIMES
					 : 0;
		uint32_t gap_s = double_up(ANNOUNCE_HUNGRY_S, extra, ANNOUNCE_HUNGRY_MAX_S);
		interval_s = MIN(interval_s, gap_s);
	}
	interval_s = MAX(interval_s, t->min_interval_s);
	return jitter(interval_s * US_PER_S, t->random, 100, 110); /* never sooner than asked for */
}

uint64_t announce_timing_next(const struct announce_timing *t, bool hungry)
{
	if (t->retry_s < 0)
		return ANNOUNCE_NEVER;
	return t->last_us + (t->failures ? after_failure(t, hungry) : after_answer(t, hungry));
}
