/* SPDX-License-Identifier: MIT */
/* Meters and limiters, under steady clocks and under clocks that jump. */
#include "swarm/rate.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000ull
#define S 1000000ull
/* As good a beginning as any: monotonic clocks do not begin at 0. */
#define T0 (1234567 * MS)

/* -- meter --------------------------------------------------------------------------------------
 */

static void test_an_empty_meter_is_zero(void **state)
{
	struct meter m = {0};
	assert_int_equal(meter_rate(&m, 0), 0);
	assert_int_equal(meter_rate(&m, T0), 0);
	meter_add(&m, 0, T0);
	assert_int_equal(meter_rate(&m, T0), 0);
	assert_int_equal(m.total, 0);
}

static void test_a_steady_rate_is_measured_exactly(void **state)
{
	struct meter m = {0};
	uint64_t now = T0;
	for (unsigned i = 0; i < 1000; i++, now += 10 * MS)
		meter_add(&m, 10000, now);
	/* 3 whole seconds and the current slot, whole but for its last 10 ms. */
	uint64_t rate = meter_rate(&m, now - 1);
	assert_in_range(rate, 995000, 1005000);
	assert_int_equal(m.total, 10000000);
}

static void test_the_first_moments_count_from_the_first_byte(void **state)
{
	struct meter m = {0};
	meter_add(&m, 100000, T0);
	meter_add(&m, 100000, T0 + 200 * MS);
	assert_int_equal(meter_rate(&m, T0 + 200 * MS), 1000000);
}

static void test_one_block_at_once_is_no_huge_rate(void **state)
{
	struct meter m = {0};
	meter_add(&m, BLOCK_SIZE, T0);
	assert_int_equal(meter_rate(&m, T0), BLOCK_SIZE * 10);
	assert_int_equal(meter_rate(&m, T0 + 1), BLOCK_SIZE * 10);
}

static void test_the_rate_falls_when_nothing_comes(void **state)
{
	struct meter m = {0};
	for (unsigned i = 0; i < 100; i++)
		meter_add(&m, 10000, T0 + i * 50 * MS);
	uint64_t last = UINT64_MAX;
	for (unsigned i = 0; i <= 8; i++) {
		uint64_t rate = meter_rate(&m, T0 + 5 * S + i * 500 * MS);
		assert_true(rate < last || (rate == 0 && last == 0));
		last = rate;
	}
	assert_int_equal(last, 0);
	assert_int_equal(m.total, 1000000);
}

/* A peer that rested is not slow: its next burst has its own rate. */
static void test_after_a_silence_it_begins_anew(void **state)
{
	struct meter m = {0};
	meter_add(&m, 1000, T0);
	meter_add(&m, 500000, T0 + 60 * S);
	meter_add(&m, 500000, T0 + 60 * S + 500 * MS);
	assert_int_equal(meter_rate(&m, T0 + 60 * S + 500 * MS), 2000000);
}

static void test_a_clock_that_jumps_back_changes_nothing(void **state)
{
	struct meter m = {0};
	meter_add(&m, 100000, T0 + 10 * S);
	uint64_t before = meter_rate(&m, T0 + 10 * S);
	assert_int_equal(meter_rate(&m, T0), before);
	assert_int_equal(meter_rate(&m, 0), before);
	meter_add(&m, 100000, T0);
	assert_int_equal(m.total, 200000);
	assert_int_equal(meter_rate(&m, T0 + 10 * S), 2 * before);
}

static void test_a_clock_that_jumps_far_ahead_empties_it(void **state)
{
	struct meter m = {0};
	meter_add(&m, 100000, T0);
	assert_int_equal(meter_rate(&m, UINT64_MAX - S), 0);
	meter_add(&m, 100000, UINT64_MAX - S);
	assert_int_equal(meter_rate(&m, UINT64_MAX - S), 1000000);
}

static void test_a_full_slot_stays_full(void **state)
{
	struct meter m = {0};
	meter_add(&m, 1ull << 40, T0);
	meter_add(&m, UINT32_MAX, T0);
	assert_int_equal(m.total, (1ull << 40) + UINT32_MAX);
	assert_int_equal(meter_rate(&m, T0 + 100 * MS), UINT32_MAX * 10ull);
}

/* -- limiter ------------------------------------------------------------------------------------
 */

static void test_no_limit_lets_all_pass(void **state)
{
	struct limiter l;
	limiter_init(&l, 0, T0);
	assert_int_equal(limiter_take(&l, UINT64_MAX, T0), UINT64_MAX);
	limiter_force(&l, UINT64_MAX, T0);
	assert_int_equal(limiter_wait(&l, UINT64_MAX, T0), 0);
}

static void test_the_burst_is_a_tenth_of_a_second(void **state)
{
	struct limiter l;
	limiter_init(&l, 1000000, T0);
	assert_int_equal(limiter_take(&l, UINT64_MAX, T0), 100000);
	assert_int_equal(limiter_take(&l, 1, T0), 0);
}

static void test_the_burst_is_a_block_at_least(void **state)
{
	struct limiter l;
	limiter_init(&l, 1, T0);
	assert_int_equal(limiter_take(&l, UINT64_MAX, T0), BLOCK_SIZE);
	limiter_init(&l, BLOCK_SIZE * 10, T0);
	assert_int_equal(limiter_take(&l, UINT64_MAX, T0), BLOCK_SIZE);
	limiter_init(&l, (BLOCK_SIZE + 1) * 10, T0);
	assert_int_equal(limiter_take(&l, UINT64_MAX, T0), BLOCK_SIZE + 1);
}

static void test_a_rest_saves_no_more_than_the_burst(void **state)
{
	struct limiter l;
	limiter_init(&l, 1000000, T0);
	assert_int_equal(limiter_take(&l, UINT64_MAX, T0 + 3600 * S), 100000);
	assert_int_equal(limiter_take(&l, UINT64_MAX, UINT64_MAX), 100000);
}

/* Asked every microsecond for an odd rate, it gives what a second holds, to the byte. */
static void test_nothing_is_lost_to_rounding(void **state)
{
	static const uint64_t rates[] = {1, 3, 999, 16385, 333333, 1000001};
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct limiter l;
		uint64_t passed = 0;
		limiter_init(&l, rates[i], T0);
		limiter_take(&l, UINT64_MAX, T0);
		for (uint64_t t = 1; t <= S; t++)
			passed += limiter_take(&l, UINT64_MAX, T0 + t);
		assert_int_equal(passed, rates[i]);
	}
}

static void test_wait_is_exact(void **state)
{
	static const uint64_t rates[] = {1, 3, 1000, 16385, 333333, 1000001};
	static const uint64_t wants[] = {1, 2, 1000, BLOCK_SIZE};
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		for (size_t j = 0; j < sizeof(wants) / sizeof(wants[0]); j++) {
			struct limiter l;
			limiter_init(&l, rates[i], T0);
			limiter_take(&l, UINT64_MAX, T0);
			uint64_t wait = limiter_wait(&l, wants[j], T0);
			assert_true(wait > 0);
			assert_int_equal(limiter_wait(&l, wants[j], T0 + wait - 1), 1);
			assert_int_equal(limiter_wait(&l, wants[j], T0 + wait), 0);
			assert_int_equal(limiter_take(&l, wants[j], T0 + wait), wants[j]);
		}
	}
}

static void test_wait_for_more_than_a_burst_is_wait_for_a_burst(void **state)
{
	struct limiter l;
	limiter_init(&l, 1000000, T0);
	assert_int_equal(limiter_wait(&l, UINT64_MAX, T0), 0);
	limiter_take(&l, UINT64_MAX, T0);
	assert_int_equal(limiter_wait(&l, UINT64_MAX, T0), 100 * MS);
	assert_int_equal(limiter_wait(&l, 0, T0), 0);
}

static void test_what_was_forced_is_paid_back(void **state)
{
	struct limiter l;
	limiter_init(&l, 1000000, T0);
	limiter_force(&l, 1100000, T0); /* the burst, and a second's worth */
	assert_int_equal(limiter_take(&l, 1, T0), 0);
	assert_int_equal(limiter_wait(&l, 1, T0), 1 * S + 1);
	assert_int_equal(limiter_take(&l, 1, T0 + 1 * S), 0);
	assert_int_equal(limiter_take(&l, 2, T0 + 1 * S + 1), 1);
}

static void test_a_debt_has_a_bound(void **state)
{
	struct limiter l;
	limiter_init(&l, 1000000, T0);
	for (unsigned i = 0; i < 100; i++)
		limiter_force(&l, UINT64_MAX, T0);
	assert_in_range(limiter_wait(&l, 1, T0), 1, 3600 * S + 1);
}

/* Callers hold times of different age: no moment may be counted twice. */
static void test_an_older_time_gives_nothing(void **state)
{
	struct limiter l;
	limiter_init(&l, 1000000, T0);
	limiter_take(&l, UINT64_MAX, T0);
	assert_int_equal(limiter_take(&l, 5000, T0 + 1 * MS), 1000);
	assert_int_equal(limiter_take(&l, 1, T0), 0);
	assert_int_equal(limiter_wait(&l, 1, T0 - 100 * S), 1);
	assert_int_equal(limiter_take(&l, 1, T0 + 1 * MS), 0);
	assert_int_equal(limiter_take(&l, 5000, T0 + 2 * MS), 1000);
}

static void test_a_huge_rate_does_not_overflow(void **state)
{
	struct limiter l;
	limiter_init(&l, UINT64_MAX, 0);
	assert_true(limiter_take(&l, UINT64_MAX, 0) >= 1ull << 32);
	assert_int_equal(limiter_take(&l, 1, 0), 0);
	limiter_force(&l, UINT64_MAX, 0);
	limiter_wait(&l, UINT64_MAX, UINT64_MAX);
	assert_true(limiter_take(&l, UINT64_MAX, UINT64_MAX) >= 1ull << 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_meter_is_zero),
		cmocka_unit_test(test_a_steady_rate_is_measured_exactly),
		cmocka_unit_test(test_the_first_moments_count_from_the_first_byte),
		cmocka_unit_test(test_one_block_at_once_is_no_huge_rate),
		cmocka_unit_test(test_the_rate_falls_when_nothing_comes),
		cmocka_unit_test(test_after_a_silence_it_begins_anew),
		cmocka_unit_test(test_a_clock_that_jumps_back_changes_nothing),
		cmocka_unit_test(test_a_clock_that_jumps_far_ahead_empties_it),
		cmocka_unit_test(test_a_full_slot_stays_full),
		cmocka_unit_test(test_no_limit_lets_all_pass),
		cmocka_unit_test(test_the_burst_is_a_tenth_of_a_second),
		cmocka_unit_test(test_the_burst_is_a_block_at_least),
		cmocka_unit_test(test_a_rest_saves_no_more_than_the_burst),
		cmocka_unit_test(test_nothing_is_lost_to_rounding),
		cmocka_unit_test(test_wait_is_exact),
		cmocka_unit_test(test_wait_for_more_than_a_burst_is_wait_for_a_burst),
		cmocka_unit_test(test_what_was_forced_is_paid_back),
		cmocka_unit_test(test_a_debt_has_a_bound),
		cmocka_unit_test(test_an_older_time_gives_nothing),
		cmocka_unit_test(test_a_huge_rate_does_not_overflow),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
