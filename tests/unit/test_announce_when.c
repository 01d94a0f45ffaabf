// SPDX-License-Identifier: MIT
/* When to announce again: intervals, hunger, back-off, "retry in", jitter. */
#include "tests/unit/unit.h"

#include "swarm/announce_one.h"
#include "swarm/announce_when.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"

#define NOW (1000 * US_PER_S)
#define LEAST 0u
#define MOST UINT32_MAX

/* Seconds from NOW to the next announce, after an answer with these intervals. */
static double answered(uint32_t interval_s, uint32_t min_interval_s, bool hungry, uint32_t random)
{
	struct announce_reply reply = {.interval_s = interval_s, .min_interval_s = min_interval_s};
	struct announce_timing t = {0};

	announce_timing_answered(&t, &reply, hungry, NOW, random);
	return (double)(announce_timing_next(&t, hungry) - NOW) / US_PER_S;
}

static void assert_about(double seconds, double least, double most)
{
	if (seconds < least || seconds > most)
		fail_msg("%f is not within %f and %f", seconds, least, most);
}

static void test_interval(void **state)
{
	assert_about(answered(600, 0, false, LEAST), 600, 600);
	assert_about(answered(600, 0, false, MOST), 659, 660);
	assert_about(answered(0, 0, false, LEAST), ANNOUNCE_INTERVAL_S, ANNOUNCE_INTERVAL_S);
	assert_about(answered(1, 0, false, LEAST), TRACKER_MIN_INTERVAL_S, TRACKER_MIN_INTERVAL_S);
	assert_about(answered(UINT32_MAX, 0, false, LEAST), TRACKER_MAX_INTERVAL_S,
		TRACKER_MAX_INTERVAL_S);
	assert_about(answered(600, 900, false, LEAST), 900, 900);
}

static void test_hungry(void **state)
{
	assert_about(answered(1800, 0, true, LEAST), ANNOUNCE_HUNGRY_S, ANNOUNCE_HUNGRY_S);
	assert_about(answered(1800, 60, true, LEAST), 60, 60);
	assert_about(answered(1800, 60, true, MOST), 60, 66);
	assert_about(answered(1800, UINT32_MAX, true, LEAST), TRACKER_MAX_INTERVAL_S,
		TRACKER_MAX_INTERVAL_S);
	/* An interval shorter than hunger's wins when hunger has slowed down. */
	assert_about(answered(5, 0, true, LEAST), 5, 5);
}

static void test_hunger_slows_down(void **state)
{
	struct announce_reply reply = {.interval_s = 1800};
	struct announce_timing t = {0};
	uint64_t gap;

	for (unsigned i = 0; i < ANNOUNCE_HUNGRY_TIMES; i++) {
		announce_timing_answered(&t, &reply, true, NOW, LEAST);
		assert_int_equal(
			announce_timing_next(&t, true) - NOW, ANNOUNCE_HUNGRY_S * US_PER_S);
	}
	announce_timing_answered(&t, &reply, true, NOW, LEAST);
	assert_int_equal(announce_timing_next(&t, true) - NOW, 2 * ANNOUNCE_HUNGRY_S * US_PER_S);
	for (unsigned i = 0; i < 1000; i++) {
		announce_timing_answered(&t, &reply, true, NOW, LEAST);
		gap = announce_timing_next(&t, true) - NOW;
		assert_in_range(
			gap, 2 * ANNOUNCE_HUNGRY_S * US_PER_S, ANNOUNCE_HUNGRY_MAX_S * US_PER_S);
	}
	assert_int_equal(gap, ANNOUNCE_HUNGRY_MAX_S * US_PER_S);
	/* No longer hungry: the tracker's interval, from the same answer. */
	assert_int_equal(announce_timing_next(&t, false) - NOW, 1800 * US_PER_S);
}

static void test_backoff_doubles(void **state)
{
	struct announce_timing t = {0};
	uint64_t gap = 0;

	for (unsigned i = 0; i < 100; i++) {
		announce_timing_failed(&t, NULL, NOW, 1u << 31); /* the middle of the jitter */
		gap = announce_timing_next(&t, false) - NOW;
		assert_int_equal(gap, MIN(5ull << MIN(i, 40u), 1800ull) * US_PER_S);
	}
	assert_int_equal(gap, ANNOUNCE_BACKOFF_MAX_S * US_PER_S);
	assert_int_equal(
		announce_timing_next(&t, true) - NOW, ANNOUNCE_BACKOFF_HUNGRY_S * US_PER_S);
	t.random = LEAST;
	assert_int_equal(announce_timing_next(&t, false) - NOW, 1350 * US_PER_S);
	t.random = MOST;
	assert_in_range(announce_timing_next(&t, false) - NOW, 2249 * US_PER_S, 2250 * US_PER_S);
}

static void test_an_answer_ends_the_backoff(void **state)
{
	struct announce_reply reply = {.interval_s = 100};
	struct announce_timing t = {0};

	announce_timing_failed(&t, NULL, NOW, LEAST);
	announce_timing_failed(&t, NULL, NOW, LEAST);
	announce_timing_answered(&t, &reply, false, NOW, LEAST);
	assert_int_equal(announce_timing_next(&t, false) - NOW, 100 * US_PER_S);
	announce_timing_failed(&t, NULL, NOW, 1u << 31);
	assert_int_equal(announce_timing_next(&t, false) - NOW, ANNOUNCE_BACKOFF_S * US_PER_S);
}

static void test_retry_in(void **state)
{
	struct announce_reply reply = {.retry_s = 300};
	struct announce_timing t = {0};

	announce_timing_failed(&t, &reply, NOW, LEAST);
	assert_int_equal(announce_timing_next(&t, true) - NOW, 300 * US_PER_S);
	reply.retry_s = -1;
	announce_timing_failed(&t, &reply, NOW, LEAST);
	assert_true(announce_timing_next(&t, true) == ANNOUNCE_NEVER);
	/* It was told of one failure only. */
	announce_timing_failed(&t, NULL, NOW, LEAST);
	assert_true(announce_timing_next(&t, false) < NOW + 60 * US_PER_S);
}

static void test_min_interval_after_a_failure(void **state)
{
	struct announce_reply answer = {.interval_s = 600, .min_interval_s = 60},
			      failure = {.retry_s = 0};
	struct announce_timing t = {0};

	announce_timing_answered(&t, &answer, true, NOW, LEAST);
	announce_timing_failed(&t, &failure, NOW, LEAST);
	assert_int_equal(announce_timing_next(&t, true) - NOW, 60 * US_PER_S);
	/* It did not answer: it does not count this one. */
	announce_timing_answered(&t, &answer, true, NOW, LEAST);
	announce_timing_failed(&t, NULL, NOW, LEAST);
	assert_true(announce_timing_next(&t, true) - NOW < 60 * US_PER_S);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interval),
		cmocka_unit_test(test_hungry),
		cmocka_unit_test(test_hunger_slows_down),
		cmocka_unit_test(test_backoff_doubles),
		cmocka_unit_test(test_an_answer_ends_the_backoff),
		cmocka_unit_test(test_retry_in),
		cmocka_unit_test(test_min_interval_after_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
