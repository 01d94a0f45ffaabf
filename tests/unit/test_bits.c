// SPDX-License-Identifier: MIT
/* Bitmaps: every operation against a plain array of bools, at sizes around word edges; one writer
 * and a reader that must see what a bit stands for.
 */
#include "tests/unit/unit.h"

#include "base/bits.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const uint32_t sizes[] = {0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000};

static uint32_t random_state = 12345;

static uint32_t random_next(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state >> 8;
}

static void compare(const struct bits *b, const bool *model)
{
	uint32_t n = b->n, set = 0;

	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(bits_get(b, i), model[i]);
		set += model[i];
	}
	assert_int_equal(b->set, set);
	assert_int_equal(bits_full(b), set == n);
	for (uint32_t from = 0; from <= n; from++) {
		uint32_t next[2] = {n, n};
		for (uint32_t i = n; i > from; i--)
			next[model[i - 1]] = i - 1;
		assert_int_equal(bits_next_clear(b, from), next[0]);
		assert_int_equal(bits_next_set(b, from), next[1]);
	}
	for (int round = 0; round < 200; round++) {
		uint32_t from = n ? random_next() % n : 0,
			 len = n ? random_next() % (n - from + 1) : 0;
		uint32_t count = 0;
		for (uint32_t i = from; i < from + len; i++)
			count += model[i];
		assert_int_equal(bits_count(b, from, len), count);
		assert_int_equal(bits_all(b, from, len), count == len);
	}
}

static void test_against_an_array(void **state)
{
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint32_t n = sizes[s];
		bool *model = xcalloc(n, sizeof(*model));
		struct bits b;

		bits_init(&b, n);
		compare(&b, model);
		for (uint32_t round = 0; n && round < 3 * n; round++) {
			uint32_t i = random_next() % n;
			if (random_next() % 3)
				assert_int_equal(bits_set(&b, i), !model[i]);
			else
				assert_int_equal(bits_clear(&b, i), model[i]);
			model[i] = bits_get(&b, i);
			if (round % 97 == 0)
				compare(&b, model);
		}
		compare(&b, model);
		bits_fill(&b);
		memset(model, 1, n);
		compare(&b, model);
		bits_reset(&b);
		memset(model, 0, n);
		compare(&b, model);
		bits_done(&b);
		free(model);
	}
}

static void test_ranges_to_the_edge(void **state)
{
	struct bits b;

	bits_init(&b, 192);
	bits_fill(&b);
	assert_true(bits_all(&b, 0, 192));
	assert_true(bits_all(&b, 64, 128));
	assert_true(bits_all(&b, 191, 1));
	assert_true(bits_all(&b, 192, 0));
	bits_clear(&b, 127);
	assert_false(bits_all(&b, 0, 192));
	assert_true(bits_all(&b, 128, 64));
	assert_true(bits_all(&b, 0, 127));
	assert_int_equal(bits_count(&b, 64, 64), 63);
	assert_int_equal(bits_next_clear(&b, 0), 127);
	assert_int_equal(bits_next_clear(&b, 128), 192);
	assert_int_equal(bits_next_set(&b, 500), 192);
	bits_done(&b);
}

static void test_wire_order_is_high_bit_first(void **state)
{
	static const uint8_t want[] = {0x80, 0x01, 0x40};
	uint8_t wire[3];
	struct bits b;

	bits_init(&b, 18);
	bits_set(&b, 0);
	bits_set(&b, 15);
	bits_set(&b, 17);
	bits_to_wire(&b, wire);
	assert_memory_equal(wire, want, 3);
	bits_done(&b);
}

static void test_wire_and_back(void **state)
{
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint32_t n = sizes[s];
		uint8_t *wire = malloc(bits_wire_len(n)); /* of the exact size, for the sanitizer */
		struct bits a, b;

		bits_init(&a, n);
		bits_init(&b, n);
		for (uint32_t i = 0; i < n; i++)
			if (random_next() & 1)
				bits_set(&a, i);
		bits_to_wire(&a, wire);
		assert_true(bits_from_wire(&b, wire));
		assert_int_equal(a.set, b.set);
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(bits_get(&a, i), bits_get(&b, i));
		bits_reset(&b);
		bits_copy(&b, &a);
		assert_int_equal(a.set, b.set);
		assert_int_equal(bits_count(&b, 0, n), a.set);
		free(wire);
		bits_done(&a);
		bits_done(&b);
	}
}

static void test_spare_bits_are_refused(void **state)
{
	for (uint32_t n = 1; n <= 16; n++) {
		struct bits b;
		bits_init(&b, n);
		bits_set(&b, 0);
		for (uint32_t spare = n; spare < bits_wire_len(n) * 8; spare++) {
			uint8_t wire[2] = {0};
			wire[spare / 8] = (uint8_t)(0x80 >> spare % 8);
			assert_false(bits_from_wire(&b, wire));
			assert_int_equal(b.set, 1);
			assert_true(bits_get(&b, 0));
		}
		uint8_t last[2] = {0};
		last[(n - 1) / 8] = (uint8_t)(0x80 >> (n - 1) % 8);
		assert_true(bits_from_wire(&b, last));
		assert_true(bits_get(&b, n - 1));
		bits_done(&b);
	}
}

/* A bit is set after its number was written; who sees the bit must see the number.  TSan and weakly
 * ordered machines show what is wrong here. */
struct shared {
	struct bits bits;
	uint32_t numbers[4096];
};

static void *reader(void *arg)
{
	struct shared *s = arg;

	for (uint32_t i = 0; i < s->bits.n; i++) {
		while (!bits_get(&s->bits, i))
			sched_yield();
		if (s->numbers[i] != i + 1)
			return s;
	}
	return bits_all(&s->bits, 0, s->bits.n) ? NULL : s;
}

static void test_who_sees_the_bit_sees_the_bytes(void **state)
{
	struct shared *s = xcalloc(1, sizeof(*s));
	pthread_t thread;
	void *failed;

	bits_init(&s->bits, ARRAY_SIZE(s->numbers));
	assert_int_equal(pthread_create(&thread, NULL, reader, s), 0);
	for (uint32_t i = 0; i < s->bits.n; i++) {
		s->numbers[i] = i + 1;
		bits_set(&s->bits, i);
	}
	pthread_join(thread, &failed);
	assert_null(failed);
	bits_done(&s->bits);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_an_array),
		cmocka_unit_test(test_ranges_to_the_edge),
		cmocka_unit_test(test_wire_order_is_high_bit_first),
		cmocka_unit_test(test_wire_and_back),
		cmocka_unit_test(test_spare_bits_are_refused),
		cmocka_unit_test(test_who_sees_the_bit_sees_the_bytes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
