// SPDX-License-Identifier: MIT
/* The growing buffer: what goes in comes out, whatever is consumed between; memory is given back.
 */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/cursor.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static void test_integers_are_big_endian(void **state)
{
	static const uint8_t want[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	struct buf b = {0};

	buf_u8(&b, 1);
	buf_u16(&b, 0x0203);
	buf_u32(&b, 0x04050607);
	buf_u64(&b, 0x08090a0b0c0d0e0f);
	assert_int_equal(b.len, sizeof(want));
	assert_memory_equal(buf_bytes(&b), want, sizeof(want));
	buf_done(&b);
}

static void test_texts(void **state)
{
	struct buf b = {0};

	buf_add_str(&b, "GET ");
	buf_addf(&b, "/%s?%d", "a", 5);
	buf_add(&b, NULL, 0);
	buf_addf(&b, "%s", "");
	assert_int_equal(b.len, 8);
	assert_memory_equal(buf_bytes(&b), "GET /a?5", 8);
	buf_done(&b);
	assert_null(b.data);
	assert_int_equal(b.len, 0);
}

/* A stream of counted bytes through a buffer, in lengths by a fixed generator. */
static void test_bytes_come_out_in_order(void **state)
{
	struct buf b = {0};
	uint32_t random = 1;
	uint8_t in = 0, out = 0;

	for (int round = 0; round < 20000; round++) {
		random = random * 1664525 + 1013904223;
		size_t n = random >> 20 & 1023;
		if (random >> 16 & 1) {
			uint8_t *p = buf_extend(&b, n);
			for (size_t i = 0; i < n; i++)
				p[i] = in++;
		} else {
			n = n < b.len ? n : b.len;
			for (size_t i = 0; i < n; i++)
				assert_int_equal(buf_bytes(&b)[i], out++);
			buf_consume(&b, n);
		}
		assert_true(b.start + b.len <= b.cap);
	}
	assert_int_equal((uint8_t)(in - out), (uint8_t)b.len);
	buf_done(&b);
}

static void test_memory_is_given_back(void **state)
{
	struct buf b = {0};

	memset(buf_extend(&b, 8 << 20), 1, 8 << 20);
	for (int i = 0; i < 8 * 64 - 1; i++)
		buf_consume(&b, 16384);
	assert_int_equal(b.len, 16384);
	assert_true(b.cap <= 256 << 10);
	buf_consume(&b, 16384);
	assert_true(b.cap <= 65536);
	buf_done(&b);
}

static void test_a_queue_that_never_empties_stays_small(void **state)
{
	struct buf b = {0};

	buf_extend(&b, 1000);
	for (int i = 0; i < 100000; i++) {
		buf_extend(&b, 1000);
		buf_consume(&b, 1000);
	}
	assert_int_equal(b.len, 1000);
	assert_true(b.cap <= 65536);
	buf_done(&b);
}

static void test_empty_ones(void **state)
{
	struct buf b = {0};

	assert_null(buf_bytes(&b));
	buf_consume(&b, 0);
	assert_non_null(buf_extend(&b, 0));
	assert_int_equal(b.len, 0);
	buf_done(&b);

	struct cursor c = cursor_on(NULL, 0);
	assert_true(cursor_done(&c));
	cursor_take(&c, 0);
	assert_true(cursor_done(&c));
	assert_null(cursor_take(&c, 1));
	assert_true(cursor_bad(&c));
}

static void test_clear_keeps_little(void **state)
{
	struct buf b = {0};

	buf_add_str(&b, "x");
	buf_clear(&b);
	assert_int_equal(b.len, 0);
	assert_non_null(b.data);
	buf_extend(&b, 1 << 20);
	buf_clear(&b);
	assert_null(b.data);
	buf_done(&b);
}

static void test_cursor_reads_and_stops(void **state)
{
	static const uint8_t data[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
	struct cursor c = cursor_on(data, sizeof(data));

	assert_int_equal(cursor_u8(&c), 1);
	assert_int_equal(cursor_u16(&c), 0x0203);
	assert_int_equal(cursor_u32(&c), 0x04050607);
	assert_false(cursor_done(&c));
	assert_ptr_equal(cursor_take(&c, 2), data + 7);
	assert_true(cursor_done(&c));
	assert_non_null(cursor_take(&c, 0));
	assert_false(cursor_bad(&c));
	assert_int_equal(cursor_u8(&c), 0);
	assert_true(cursor_bad(&c));
	assert_false(cursor_done(&c));
}

static void test_cursor_stays_bad(void **state)
{
	static const uint8_t data[] = {1, 2, 3, 4};
	struct cursor c = cursor_on(data, sizeof(data));

	assert_int_equal(cursor_u64(&c), 0);
	assert_int_equal(cursor_u8(&c), 0);
	assert_null(cursor_take(&c, 0));
	c = cursor_on(data, sizeof(data));
	assert_null(cursor_take(&c, SIZE_MAX));
	assert_true(cursor_bad(&c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_integers_are_big_endian),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_bytes_come_out_in_order),
		cmocka_unit_test(test_memory_is_given_back),
		cmocka_unit_test(test_a_queue_that_never_empties_stays_small),
		cmocka_unit_test(test_empty_ones),
		cmocka_unit_test(test_clear_keeps_little),
		cmocka_unit_test(test_cursor_reads_and_stops),
		cmocka_unit_test(test_cursor_stays_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
