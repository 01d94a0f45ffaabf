/* SPDX-License-Identifier: MIT */
/* Which reads make a stream, and how far it reaches. */
#include "swarm/stream.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define KiB 1024ull
#define MiB (1024 * KiB)

static void test_a_first_read_predicts_nothing(void **state)
{
	struct streams s = {0};
	assert_int_equal(streams_on_read(&s, 0, 10 * MiB, 4 * KiB)->window, 0);
}

static void test_random_reads_never_get_a_window(void **state)
{
	struct streams s = {0};
	srand(3);
	for (int i = 0; i < 2000; i++) {
		uint64_t offset = (uint64_t)(rand() % 100000) * 4 * MiB;
		assert_int_equal(streams_on_read(&s, 0, offset, 4 * KiB)->window, 0);
	}
}

static void test_a_sequential_reader_gets_a_window_that_doubles_up_to_its_limit(void **state)
{
	struct streams s = {0};
	uint64_t before = 0;
	streams_on_read(&s, 0, 0, 64 * KiB);
	for (uint64_t at = 64 * KiB; at < 64 * MiB; at += 64 * KiB) {
		struct stream *one = streams_on_read(&s, 0, at, 64 * KiB);
		assert_true(one->window >= before);
		assert_true(one->window <= at + 64 * KiB || one->window == STREAM_MIN);
		before = one->window;
	}
	assert_int_equal(before, STREAM_MAX);
}

static void test_the_window_lies_behind_the_read(void **state)
{
	struct streams s = {0};
	uint64_t from, to;
	streams_on_read(&s, 0, 0, MiB);
	stream_window(streams_on_read(&s, 0, MiB, MiB), &from, &to);
	assert_int_equal(from, 2 * MiB);
	assert_int_equal(to, 4 * MiB);
}

static void test_many_interleaved_readers_are_told_apart(void **state)
{
	struct streams s = {0};
	for (int round = 0; round < 10; round++) {
		for (uint64_t k = 0; k < STREAMS; k++) {
			struct stream *one = streams_on_read(&s, 0, k * 100 * MiB + round * 64 * KiB, 64 * KiB);
			assert_int_equal(one->begin, k * 100 * MiB);
			assert_int_equal(one->end, k * 100 * MiB + (round + 1) * 64 * KiB);
		}
	}
}

static void test_reads_out_of_order_are_one_stream(void **state)
{
	struct streams s = {0};
	static const int order[] = {0, 2, 1, 3, 5, 4, 7, 6};
	struct stream *one = NULL;
	for (int i = 0; i < 8; i++)
		one = streams_on_read(&s, 0, order[i] * 64 * KiB, 64 * KiB);
	assert_int_equal(one->begin, 0);
	assert_int_equal(one->end, 512 * KiB);
}

static void test_the_same_place_again_does_not_widen_the_window(void **state)
{
	struct streams s = {0};
	streams_on_read(&s, 0, 0, 64 * KiB);
	uint64_t window = streams_on_read(&s, 0, 64 * KiB, 64 * KiB)->window;
	for (int i = 0; i < 20; i++)
		assert_int_equal(streams_on_read(&s, 0, 64 * KiB, 64 * KiB)->window, window);
}

static void test_reading_backward_is_a_stream_from_the_third_read_on(void **state)
{
	struct streams s = {0};
	uint64_t from, to;
	streams_on_read(&s, 0, 100 * MiB, MiB);
	assert_int_equal(streams_on_read(&s, 0, 99 * MiB, MiB)->window, 0);
	struct stream *one = streams_on_read(&s, 0, 98 * MiB, MiB);
	assert_true(one->backward);
	stream_window(one, &from, &to);
	assert_int_equal(to, 98 * MiB);
	assert_int_equal(from, 95 * MiB);
}

static void test_a_backward_window_ends_at_the_start(void **state)
{
	struct streams s = {0};
	uint64_t from, to;
	for (uint64_t at = 2 * MiB;; at -= 256 * KiB) {
		struct stream *one = streams_on_read(&s, 0, at, 256 * KiB);
		if (!at) {
			stream_window(one, &from, &to);
			break;
		}
	}
	assert_int_equal(from, 0);
	assert_int_equal(to, 0);
}

static void test_another_file_is_another_stream(void **state)
{
	struct streams s = {0};
	streams_on_read(&s, 0, 0, 64 * KiB);
	assert_int_equal(streams_on_read(&s, 1, 64 * KiB, 64 * KiB)->begin, 64 * KiB);
}

static void test_locality_gives_a_first_read_a_window_and_its_loss_takes_it(void **state)
{
	struct streams s = {0};
	/* As a boot reads: two or three reads in sequence, then elsewhere. */
	uint64_t at = 0;
	for (int i = 0; i < 40; i++, at += 50 * MiB) {
		streams_on_read(&s, 0, at, 32 * KiB);
		streams_on_read(&s, 0, at + 32 * KiB, 32 * KiB);
	}
	assert_int_equal(streams_on_read(&s, 0, at, 32 * KiB)->window, STREAM_MIN);
	for (int i = 0; i < 100; i++, at += 50 * MiB)
		streams_on_read(&s, 0, at, 4 * KiB);
	assert_int_equal(streams_on_read(&s, 0, at, 4 * KiB)->window, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_first_read_predicts_nothing),
		cmocka_unit_test(test_random_reads_never_get_a_window),
		cmocka_unit_test(test_a_sequential_reader_gets_a_window_that_doubles_up_to_its_limit),
		cmocka_unit_test(test_the_window_lies_behind_the_read),
		cmocka_unit_test(test_many_interleaved_readers_are_told_apart),
		cmocka_unit_test(test_reads_out_of_order_are_one_stream),
		cmocka_unit_test(test_the_same_place_again_does_not_widen_the_window),
		cmocka_unit_test(test_reading_backward_is_a_stream_from_the_third_read_on),
		cmocka_unit_test(test_a_backward_window_ends_at_the_start),
		cmocka_unit_test(test_another_file_is_another_stream),
		cmocka_unit_test(test_locality_gives_a_first_read_a_window_and_its_loss_takes_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
