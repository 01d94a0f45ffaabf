/* SPDX-License-Identifier: MIT */
/* The path's measure, on simulated paths with a clock of their own. */
#include "swarm/path.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define MS 1000ull
#define S 1000000ull

/* A path with a round trip and a line rate; the line sends one block after the other. */
struct line {
	uint64_t rtt, rate, now, free_at;
	struct path path;
	struct {
		struct path_mark mark;
		uint64_t arrives;
	} flight[4096];
	unsigned first, last;
	uint64_t outstanding;
};

static void line_open(struct line *l, uint64_t rtt, uint64_t rate)
{
	*l = (struct line) {.rtt = rtt, .rate = rate, .now = 100 * S};
	path_init(&l->path, 0, l->now);
}

static void line_send(struct line *l)
{
	unsigned k = l->last++ % 4096;
	l->flight[k].mark = path_on_sent(&l->path, l->outstanding, l->now);
	l->outstanding += BLOCK_SIZE;
	uint64_t begins = l->now + l->rtt;
	if (begins < l->free_at)
		begins = l->free_at;
	l->free_at = begins + BLOCK_SIZE * S / l->rate;
	l->flight[k].arrives = l->free_at;
}

static void line_receive(struct line *l)
{
	unsigned k = l->first++ % 4096;
	l->now = l->flight[k].arrives;
	l->outstanding -= BLOCK_SIZE;
	path_on_delivered(&l->path, &l->flight[k].mark, BLOCK_SIZE, l->now);
}

/* Keeps `gain`/4 of what the path is thought to hold, and a little, under way for `us`. */
static void line_run(struct line *l, unsigned gain, uint64_t us)
{
	for (uint64_t end = l->now + us; l->now < end;) {
		uint64_t target = path_holds(&l->path) * gain / 4 + 2 * BLOCK_SIZE;
		while (l->outstanding < target)
			line_send(l);
		line_receive(l);
	}
}

static void test_before_any_answer_there_is_a_guess(void **state)
{
	struct path p;
	path_init(&p, 0, S);
	assert_int_equal(path_rate(&p), PATH_RATE_GUESS);
	assert_int_equal(path_rtt(&p), PATH_RTT_GUESS);
	path_init(&p, 20 * MS, S);
	assert_int_equal(path_rtt(&p), 20 * MS);
}

static void test_the_rate_of_a_line_is_found_from_below(void **state)
{
	struct line l;
	line_open(&l, 20 * MS, 12500000);
	line_run(&l, 8, 2 * S);
	assert_in_range(path_rate(&l.path), 12000000, 12600000);
	/* One block's own time on the line is part of the least round trip. */
	assert_in_range(path_rtt(&l.path), 20 * MS, 22 * MS);
}

static void test_little_more_than_the_path_holds_finds_it_too(void **state)
{
	struct line l;
	line_open(&l, 20 * MS, 125000000);
	line_run(&l, 5, 3 * S);
	assert_in_range(path_rate(&l.path), 110000000, 126000000);
}

static void test_what_waits_does_not_lengthen_the_least_round_trip(void **state)
{
	struct line l;
	line_open(&l, 20 * MS, 12500000);
	line_run(&l, 40, 3 * S); /* a queue of nine times what the path holds */
	assert_in_range(path_rtt(&l.path), 20 * MS, 22 * MS);
}

static void test_a_pause_does_not_lower_the_rate(void **state)
{
	struct line l;
	line_open(&l, 20 * MS, 12500000);
	line_run(&l, 8, 2 * S);
	uint64_t before = path_rate(&l.path);
	while (l.outstanding)
		line_receive(&l);
	for (int i = 0; i < 20; i++) { /* lone reads, a second apart */
		l.now += S;
		line_send(&l);
		line_receive(&l);
	}
	assert_true(path_rate(&l.path) >= before * 9 / 10);
}

static void test_a_line_that_became_slower_is_noticed(void **state)
{
	struct line l;
	line_open(&l, 20 * MS, 12500000);
	line_run(&l, 8, 2 * S);
	l.rate = 1250000;
	line_run(&l, 8, 6 * S);
	assert_in_range(path_rate(&l.path), 1100000, 1400000);
}

static void test_an_answer_behind_others_is_expected_later(void **state)
{
	struct line l;
	line_open(&l, 20 * MS, 12500000);
	line_run(&l, 8, 2 * S);
	uint64_t alone = path_expects(&l.path, 0), behind = path_expects(&l.path, 1250000);
	assert_in_range(behind - alone, 95 * MS, 110 * MS);
	assert_true(path_patience(&l.path, 0) > alone);
}

/* Keeps what is calm under way for `us`, of a line that others use too: it serves us at `rate` from now on. */
static void line_run_calm(struct line *l, uint64_t rate, uint64_t us)
{
	l->rate = rate;
	for (uint64_t end = l->now + us; l->now < end;) {
		while (l->outstanding < path_calm(&l->path))
			line_send(l);
		line_receive(l);
	}
}

static void test_calm_fills_a_line_that_is_free(void **state)
{
	struct line l;
	line_open(&l, 20 * MS, 10 << 20);
	line_run_calm(&l, 10 << 20, 3 * S);
	assert_in_range(path_rate(&l.path), 9 << 20, 11 << 20);
	assert_in_range(path_calm(&l.path), path_holds(&l.path) * 3 / 4, path_holds(&l.path) * 3 / 2 + 65536);
}

static void test_calm_does_not_wait_for_the_rate_to_be_forgotten(void **state)
{
	struct line l;
	line_open(&l, 20 * MS, 100 << 20);
	line_run_calm(&l, 100 << 20, 3 * S);
	uint64_t before = path_calm(&l.path);
	assert_true(before > 1 << 20);
	/* Half a second at a tenth: the rate is still believed, the delay is not. */
	line_run_calm(&l, 10 << 20, S / 2);
	assert_true(path_rate(&l.path) > 50 << 20);
	assert_true(path_calm(&l.path) < before * 2 / 3);
	line_run_calm(&l, 10 << 20, 3 * S);
	uint64_t waits = l.outstanding * S / l.rate;
	assert_in_range(waits, 0, 30 * MS); /* 20 ms of it are the path's own */
}

static void test_calm_has_a_least(void **state)
{
	struct line l;
	line_open(&l, 20 * MS, 256 << 10);
	line_run_calm(&l, 256 << 10, 8 * S);
	assert_int_equal(path_calm(&l.path), PATH_CALM_MIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_any_answer_there_is_a_guess),
		cmocka_unit_test(test_the_rate_of_a_line_is_found_from_below),
		cmocka_unit_test(test_little_more_than_the_path_holds_finds_it_too),
		cmocka_unit_test(test_what_waits_does_not_lengthen_the_least_round_trip),
		cmocka_unit_test(test_a_pause_does_not_lower_the_rate),
		cmocka_unit_test(test_a_line_that_became_slower_is_noticed),
		cmocka_unit_test(test_an_answer_behind_others_is_expected_later),
		cmocka_unit_test(test_calm_fills_a_line_that_is_free),
		cmocka_unit_test(test_calm_does_not_wait_for_the_rate_to_be_forgotten),
		cmocka_unit_test(test_calm_has_a_least),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
