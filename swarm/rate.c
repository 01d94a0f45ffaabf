/* SPDX-License-Identifier: MIT */
/* Measuring and limiting rates.
 *
 * A meter is a ring of half seconds: the current one and the six before it are its window.  After
 * a silence as long as the ring it begins anew, so that the rate of a burst is the burst's own.
 *
 * A limiter counts in millionths of a byte, which a microsecond at `rate` bytes a second adds
 * whole: nothing is lost to rounding however often it is asked.
 *
 * A monotonic clock does not go back, but a caller's `now` may be older than another's was: that
 * adds nothing, and no time is counted twice.  A clock that jumps ahead (a machine that slept)
 * empties the meter's window and fills the bucket, no more.
 *
 * Thread: loop (pure).
 */
#include "swarm/rate.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdbool.h>

#define SLOT_US 500000ull
#define N_SLOTS ARRAY_SIZE(((struct meter *)0)->slots)
#define WINDOW_SLOTS 6u /* whole ones: 3 s */
/* What has run for less counts as this long: one block in its first microsecond is no rate. */
#define MIN_SPAN_US 100000ull

#define UNIT 1000000ll /* of tokens in a byte */
/* Above it nothing is limited that exists, and below it no sum here overflows. */
#define MAX_RATE 1000000000000ull

/* Moves the ring on to `now`; true when all of it is empty. */
static bool meter_turn(struct meter *m, uint64_t now)
{
	if (now >= m->slot_start + SLOT_US) {
		uint64_t steps = (now - m->slot_start) / SLOT_US;
		m->slot_start += steps * SLOT_US;
		for (uint64_t i = 0; i < MIN(steps, N_SLOTS); i++) {
			m->slot = (m->slot + 1) % N_SLOTS;
			m->slots[m->slot] = 0;
		}
	}
	for (unsigned i = 0; i < N_SLOTS; i++)
		if (m->slots[i] > 0)
			return false;
	return true;
}

void meter_add(struct meter *m, uint64_t bytes, uint64_t now)
{
	if (bytes == 0)
		return;
	if (meter_turn(m, now)) {
		m->slot_start = now;
		m->first = now;
	}
	m->total += bytes;
	/* 4 GiB in half a second is more than any link gives: full, a slot stays so. */
	uint32_t room = UINT32_MAX - m->slots[m->slot];
	m->slots[m->slot] += (uint32_t)MIN(bytes, (uint64_t)room);
}

uint64_t meter_rate(struct meter *m, uint64_t now)
{
	if (meter_turn(m, now))
		return 0;
	now = MAX(now, m->slot_start);
	uint64_t sum = 0;
	for (unsigned i = 0; i <= WINDOW_SLOTS; i++)
		sum += m->slots[(m->slot + N_SLOTS - i) % N_SLOTS];
	uint64_t span = MIN(now - m->slot_start + WINDOW_SLOTS * SLOT_US, now - m->first);
	return sum * 1000000 / MAX(span, MIN_SPAN_US);
}

/* The most that a limiter saves up. */
static int64_t limiter_burst(const struct limiter *l)
{
	return (int64_t)MAX(l->rate / 10, BLOCK_SIZE) * UNIT;
}

static void limiter_fill(struct limiter *l, uint64_t now)
{
	uint64_t elapsed = now > l->last ? now - l->last : 0;
	int64_t burst = limiter_burst(l);
	l->last = MAX(l->last, now);
	if (l->tokens >= burst)
		return;
	uint64_t gap = (uint64_t)(burst - l->tokens);
	if (elapsed > gap / l->rate)
		l->tokens = burst;
	else
		l->tokens += (int64_t)(elapsed * l->rate);
}

void limiter_init(struct limiter *l, uint64_t rate, uint64_t now)
{
	*l = (struct limiter) {.rate = MIN(rate, MAX_RATE), .last = now};
	l->tokens = limiter_burst(l);
}

uint64_t limiter_take(struct limiter *l, uint64_t want, uint64_t now)
{
	if (l->rate == 0)
		return want;
	limiter_fill(l, now);
	if (l->tokens < UNIT)
		return 0;
	uint64_t n = MIN(want, (uint64_t)(l->tokens / UNIT));
	l->tokens -= (int64_t)n * UNIT;
	return n;
}

void limiter_force(struct limiter *l, uint64_t bytes, uint64_t now)
{
	if (l->rate == 0)
		return;
	limiter_fill(l, now);
	/* A debt is kept to what an hour pays off. */
	int64_t floor = -(int64_t)MIN(l->rate * 3600, (uint64_t)(INT64_MAX / 2 / UNIT)) * UNIT;
	uint64_t room = (uint64_t)(l->tokens - floor) / UNIT;
	l->tokens -= (int64_t)MIN(bytes, room) * UNIT;
}

uint64_t limiter_wait(struct limiter *l, uint64_t want, uint64_t now)
{
	if (l->rate == 0)
		return 0;
	limiter_fill(l, now);
	int64_t burst = limiter_burst(l);
	int64_t need = want < (uint64_t)(burst / UNIT) ? (int64_t)want * UNIT : burst;
	if (l->tokens >= need)
		return 0;
	return ((uint64_t)(need - l->tokens) + l->rate - 1) / l->rate;
}
