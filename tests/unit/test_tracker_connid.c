/* SPDX-License-Identifier: MIT */
/* Connection ids: two minutes of life, one address, keys that change; with a clock passed in. */
#include "tracker/connid.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define T0 1000000u

static uint8_t next_random;

static void fake_random(void *ret, size_t len)
{
	memset(ret, ++next_random, len);
}

static struct addr from(uint8_t last)
{
	return (struct addr) {.ip = {[10] = 0xff, [11] = 0xff, [12] = 192, [13] = 0, [14] = 2,
				      [15] = last}, .port = 5000};
}

static void test_an_id_is_good_for_two_minutes(void **state)
{
	struct connid c;
	struct addr a = from(1);
	connid_init(&c, T0, fake_random);
	uint64_t id = connid_make(&c, T0 + 10, &a);
	assert_true(connid_check(&c, T0 + 10, &a, id));
	assert_true(connid_check(&c, T0 + 10 + CONNID_LIFE_S, &a, id));
	assert_false(connid_check(&c, T0 + 10 + CONNID_LIFE_S + 1, &a, id));
}

static void test_the_address_counts_and_the_port_does_not(void **state)
{
	struct connid c;
	struct addr a = from(1), b = from(2), other_port = from(1);
	other_port.port = 6000;
	connid_init(&c, T0, fake_random);
	uint64_t id = connid_make(&c, T0, &a);
	assert_false(connid_check(&c, T0, &b, id));
	assert_true(connid_check(&c, T0, &other_port, id));
}

static void test_no_bit_may_differ(void **state)
{
	struct connid c;
	struct addr a = from(1);
	connid_init(&c, T0, fake_random);
	uint64_t id = connid_make(&c, T0, &a);
	for (unsigned bit = 0; bit < 64; bit++)
		assert_false(connid_check(&c, T0 + 60, &a, id ^ 1ull << bit));
	assert_false(connid_check(&c, T0, &a, 0));
	assert_false(connid_check(&c, T0, &a, 0x41727101980ull));
}

static void test_an_id_from_the_future_is_none(void **state)
{
	struct connid c;
	struct addr a = from(1);
	connid_init(&c, T0, fake_random);
	uint64_t id = connid_make(&c, T0 + 100, &a);
	assert_false(connid_check(&c, T0 + 99, &a, id));
}

static void test_a_replay_when_its_16_bits_come_round_is_refused(void **state)
{
	struct connid c;
	struct addr a = from(1);
	connid_init(&c, T0, fake_random);
	uint64_t id = connid_make(&c, T0, &a);
	c.born = T0 + 65536; /* even were the key never changed */
	assert_false(connid_check(&c, T0 + 65536 + 5, &a, id));
	struct connid same = {.born = T0, .random = fake_random};
	memcpy(same.key, c.key, sizeof(c.key));
	same.born = T0 + 65000;
	assert_false(connid_check(&same, T0 + 65536, &a, id));
}

static void test_an_id_lives_through_a_change_of_the_key(void **state)
{
	struct connid c;
	struct addr a = from(1);
	connid_init(&c, T0, fake_random);
	uint64_t before = connid_make(&c, T0 + CONNID_ROTATE_S - 1, &a);
	struct sipkey old = c.key[0];
	uint64_t after = connid_make(&c, T0 + CONNID_ROTATE_S, &a);
	assert_memory_equal(&c.key[1], &old, sizeof(old));
	assert_memory_not_equal(&c.key[0], &old, sizeof(old));
	assert_true(connid_check(&c, T0 + CONNID_ROTATE_S + 100, &a, before));
	assert_true(connid_check(&c, T0 + CONNID_ROTATE_S + 100, &a, after));
	assert_false(connid_check(&c, T0 + CONNID_ROTATE_S + 120, &a, before));
	assert_true(connid_check(&c, T0 + CONNID_ROTATE_S + 120, &a, after));
}

static void test_two_trackers_differ(void **state)
{
	struct connid c, d;
	struct addr a = from(1);
	connid_init(&c, T0, fake_random);
	connid_init(&d, T0, fake_random);
	assert_false(connid_check(&d, T0, &a, connid_make(&c, T0, &a)));
}

static void test_siphash_is_the_published_one(void **state)
{
	/* The vector of the paper's appendix A: key 00..0f, message 00..0e. */
	struct sipkey key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
	uint8_t m[15];
	for (uint8_t i = 0; i < sizeof(m); i++)
		m[i] = i;
	assert_true(siphash24(&key, m, sizeof(m)) == 0xa129ca6149be45e5ull);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_id_is_good_for_two_minutes),
		cmocka_unit_test(test_the_address_counts_and_the_port_does_not),
		cmocka_unit_test(test_no_bit_may_differ),
		cmocka_unit_test(test_an_id_from_the_future_is_none),
		cmocka_unit_test(test_a_replay_when_its_16_bits_come_round_is_refused),
		cmocka_unit_test(test_an_id_lives_through_a_change_of_the_key),
		cmocka_unit_test(test_two_trackers_differ),
		cmocka_unit_test(test_siphash_is_the_published_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
