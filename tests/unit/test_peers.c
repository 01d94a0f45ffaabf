/* SPDX-License-Identifier: MIT */
/* Whom to connect to next, whom never again. */
#include "swarm/peers.h"

#include "base/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define S 1000000ull
#define T0 (5000 * S)
#define LONG (PEERS_BRIEF_US) /* a connection that was no brief one */

static struct addr at(const char *text)
{
	struct addr a;
	assert_int_equal(addr_parse(text, 6881, &a), 0);
	return a;
}

/* Address number i of a great many. */
static struct addr nth(unsigned i)
{
	char text[32];
	snprintf(text, sizeof(text), "10.%u.%u.%u:6881", i >> 16 & 255, i >> 8 & 255, i & 255);
	return at(text);
}

static bool next_is(struct peers *p, uint64_t now, const char *text)
{
	struct addr want = at(text), got;
	return peers_next(p, now, &got) && addr_equal(&got, &want);
}

static struct peers *p;

static int setup(void **state)
{
	p = peers_new();
	return 0;
}

static int teardown(void **state)
{
	peers_free(p);
	return 0;
}

static bool add(const char *text, enum peers_source source, uint64_t now)
{
	struct addr a = at(text);
	return peers_add(p, &a, source, now);
}

static void closed(const char *text, bool useful, bool never, uint64_t now)
{
	struct addr a = at(text);
	peers_on_closed(p, &a, useful, never, now);
}

static void test_none_known_none_due(void **state)
{
	struct addr a;
	assert_false(peers_next(p, T0, &a));
	assert_int_equal(peers_known(p), 0);
	peers_free(NULL);
}

static void test_an_address_is_known_once(void **state)
{
	assert_true(add("1.2.3.4:5", PEERS_FROM_TRACKER, T0));
	assert_false(add("1.2.3.4:5", PEERS_FROM_TRACKER, T0));
	assert_false(add("[::ffff:1.2.3.4]:5", PEERS_FROM_TRACKER, T0));
	assert_true(add("1.2.3.4:6", PEERS_FROM_TRACKER, T0));
	assert_true(add("[2001:db8::1]:5", PEERS_FROM_TRACKER, T0));
	assert_int_equal(peers_known(p), 3);
}

static void test_what_nobody_can_connect_to_is_refused(void **state)
{
	static const char *const bad[] = {"1.2.3.4:0", "0.0.0.0:1", "[::]:1", "224.0.0.1:1",
		"239.255.255.255:1", "255.255.255.255:1", "[ff02::1]:1", "169.254.169.254:80",
		"[fe80::1]:1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct addr a = at(bad[i]);
		assert_false(peers_add(p, &a, PEERS_FROM_TRACKER, T0));
		assert_false(peers_add(p, &a, PEERS_FROM_OPTION, T0));
		peers_on_connected(p, &a, T0);
	}
	assert_int_equal(peers_known(p), 0);
}

static void test_one_is_not_given_twice(void **state)
{
	struct addr a;
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	assert_true(next_is(p, T0, "1.2.3.4:5"));
	assert_false(peers_next(p, T0 + 1000 * S, &a));
}

static void test_the_longest_untried_comes_first(void **state)
{
	add("9.9.9.9:1", PEERS_FROM_TRACKER, T0);
	add("5.5.5.5:1", PEERS_FROM_TRACKER, T0 + 1);
	add("1.1.1.1:1", PEERS_FROM_TRACKER, T0 + 2);
	assert_true(next_is(p, T0 + 10, "9.9.9.9:1"));
	assert_true(next_is(p, T0 + 10, "5.5.5.5:1"));
	assert_true(next_is(p, T0 + 10, "1.1.1.1:1"));
}

static void test_the_least_failed_comes_first(void **state)
{
	add("1.1.1.1:1", PEERS_FROM_TRACKER, T0);
	assert_true(next_is(p, T0, "1.1.1.1:1"));
	closed("1.1.1.1:1", false, false, T0 + 1);
	add("2.2.2.2:2", PEERS_FROM_TRACKER, T0 + 100 * S);
	assert_true(next_is(p, T0 + 200 * S, "2.2.2.2:2"));
	assert_true(next_is(p, T0 + 200 * S, "1.1.1.1:1"));
}

/* However many others there are that never failed. */
static void test_a_named_one_that_is_due_comes_first(void **state)
{
	add("1.1.1.1:1", PEERS_FROM_OPTION, T0 + 1);
	add("2.2.2.2:2", PEERS_FROM_TRACKER, T0);
	add("3.3.3.3:3", PEERS_FROM_TRACKER, T0);
	assert_true(next_is(p, T0 + 1, "1.1.1.1:1"));
	closed("1.1.1.1:1", false, false, T0 + 1);
	assert_true(next_is(p, T0 + 1, "2.2.2.2:2")); /* it is not due yet */
	assert_true(next_is(p, T0 + 1 + PEERS_BACKOFF_US, "1.1.1.1:1"));
	assert_true(next_is(p, T0 + 1 + PEERS_BACKOFF_US, "3.3.3.3:3"));
}

static void test_due_is_what_next_would_give(void **state)
{
	assert_false(peers_due(p, T0));
	add("1.1.1.1:1", PEERS_FROM_TRACKER, T0);
	assert_false(peers_due(p, T0 - 1));
	assert_true(peers_due(p, T0));
	assert_true(next_is(p, T0, "1.1.1.1:1"));
	assert_false(peers_due(p, T0));
	closed("1.1.1.1:1", false, false, T0);
	assert_false(peers_due(p, T0 + PEERS_BACKOFF_US - 1));
	assert_true(peers_due(p, T0 + PEERS_BACKOFF_US));
}

/* Fails `n` times; checks each wait to the microsecond. */
static void fail_often(const char *text, const uint64_t *waits, size_t n)
{
	uint64_t now = T0;
	for (size_t i = 0; i < n; i++) {
		struct addr a;
		assert_true(next_is(p, now, text));
		closed(text, false, false, now);
		assert_false(peers_next(p, now + waits[i] * S - 1, &a));
		now += waits[i] * S;
	}
}

static void test_failures_back_off_to_half_an_hour(void **state)
{
	static const uint64_t waits[] = {
		2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1800, 1800, 1800};
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	fail_often("1.2.3.4:5", waits, sizeof(waits) / sizeof(waits[0]));
}

static void test_a_named_peer_backs_off_to_15_s(void **state)
{
	static const uint64_t waits[] = {2, 4, 8, 15, 15, 15};
	add("1.2.3.4:5", PEERS_FROM_OPTION, T0);
	fail_often("1.2.3.4:5", waits, sizeof(waits) / sizeof(waits[0]));
}

static void test_naming_a_known_peer_counts(void **state)
{
	static const uint64_t waits[] = {2, 4, 8, 15};
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	assert_false(add("1.2.3.4:5", PEERS_FROM_OPTION, T0));
	assert_false(add("1.2.3.4:5", PEERS_FROM_TRACKER, T0)); /* and stays */
	fail_often("1.2.3.4:5", waits, sizeof(waits) / sizeof(waits[0]));
}

static void test_success_ends_the_back_off(void **state)
{
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(next_is(p, T0 + i * 1000 * S, "1.2.3.4:5"));
		closed("1.2.3.4:5", false, false, T0 + i * 1000 * S);
	}
	assert_true(next_is(p, T0 + 9000 * S, "1.2.3.4:5"));
	closed("1.2.3.4:5", true, false, T0 + 9000 * S + LONG);
	uint64_t due = T0 + 9000 * S + LONG + PEERS_BACKOFF_US;
	struct addr a;
	assert_false(peers_next(p, due - 1, &a));
	assert_true(next_is(p, due, "1.2.3.4:5"));
}

/* One that takes us and drops us at once is not asked again and again. */
static void test_a_brief_success_backs_off_too(void **state)
{
	uint64_t now = T0;
	struct addr a;
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(next_is(p, now, "1.2.3.4:5"));
		closed("1.2.3.4:5", true, false, now + LONG - 1);
		now += LONG - 1 + (PEERS_BACKOFF_US << i);
		assert_false(peers_next(p, now - 1, &a));
	}
	assert_true(next_is(p, now, "1.2.3.4:5"));
}

static void test_never_is_never(void **state)
{
	struct addr a;
	add("1.2.3.4:5", PEERS_FROM_OPTION, T0);
	assert_true(next_is(p, T0, "1.2.3.4:5"));
	closed("1.2.3.4:5", true, true, T0 + 1);
	assert_false(peers_next(p, T0 + 100000 * S, &a));
	assert_false(add("1.2.3.4:5", PEERS_FROM_TRACKER, T0 + 2));
	assert_int_equal(peers_known(p), 1);
}

static void test_all_is_forgiven_when_we_are_no_seed_any_more(void **state)
{
	struct addr a;
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	assert_true(next_is(p, T0, "1.2.3.4:5"));
	closed("1.2.3.4:5", true, true, T0 + 1);
	assert_false(peers_next(p, T0 + 100000 * S, &a));
	peers_forgive(p, T0 + 2);
	assert_true(next_is(p, T0 + 2, "1.2.3.4:5"));
}

/* We lost what we had, and need seeds again. */
static void test_forgiven_ones_are_tried_again_at_once(void **state)
{
	struct addr a;
	add("1.1.1.1:1", PEERS_FROM_TRACKER, T0);
	add("2.2.2.2:2", PEERS_FROM_TRACKER, T0 + 1);
	add("3.3.3.3:3", PEERS_FROM_TRACKER, T0 + 2);
	assert_true(next_is(p, T0 + S, "1.1.1.1:1"));
	assert_true(next_is(p, T0 + S, "2.2.2.2:2"));
	assert_true(next_is(p, T0 + S, "3.3.3.3:3"));
	closed("1.1.1.1:1", true, true, T0 + S);
	closed("2.2.2.2:2", false, false, T0 + 2 * S);
	assert_false(peers_next(p, T0 + 3 * S, &a));
	peers_forgive(p, T0 + 3 * S);
	assert_true(next_is(p, T0 + 3 * S, "1.1.1.1:1"));
	assert_true(next_is(p, T0 + 3 * S, "2.2.2.2:2"));
	assert_false(peers_next(p, T0 + 3 * S, &a)); /* the third is connected still */
}

static void test_one_that_came_to_us_is_not_connected_to(void **state)
{
	struct addr a = at("1.2.3.4:5"), other;
	peers_on_connected(p, &a, T0);
	assert_int_equal(peers_known(p), 1);
	assert_false(peers_next(p, T0 + 1, &other));
	closed("1.2.3.4:5", true, false, T0 + LONG);
	assert_true(next_is(p, T0 + LONG + PEERS_BACKOFF_US, "1.2.3.4:5"));
}

/* Both ends connected: while one of two connections stands there is no third. */
static void test_two_connections_are_counted(void **state)
{
	struct addr a = at("1.2.3.4:5"), other;
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	assert_true(next_is(p, T0, "1.2.3.4:5"));
	peers_on_connected(p, &a, T0 + 1);
	closed("1.2.3.4:5", true, false, T0 + 2);
	assert_false(peers_next(p, T0 + 5000 * S, &other));
	closed("1.2.3.4:5", true, false, T0 + 5000 * S);
	assert_true(next_is(p, T0 + 10000 * S, "1.2.3.4:5"));
}

static void test_the_end_of_an_unknown_one_is_nothing(void **state)
{
	closed("1.2.3.4:5", false, false, T0);
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	closed("1.2.3.4:5", false, false, T0); /* never was connected */
	assert_true(next_is(p, T0 + PEERS_BACKOFF_US, "1.2.3.4:5"));
}

/* -- bans ----------------------------------------------------------------------------------------
 */

static void test_a_ban_is_on_the_address_with_all_ports(void **state)
{
	struct addr a = at("1.2.3.4:5"), other = at("1.2.3.4:6"), free_one = at("1.2.3.5:5"), got;
	add("1.2.3.3:1", PEERS_FROM_TRACKER, T0);
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	add("1.2.3.4:6", PEERS_FROM_OPTION, T0);
	add("1.2.3.5:5", PEERS_FROM_TRACKER, T0);
	peers_ban(p, &a);
	assert_true(peers_banned(p, &a));
	assert_true(peers_banned(p, &other));
	assert_false(peers_banned(p, &free_one));
	assert_int_equal(peers_known(p), 2);
	assert_false(add("1.2.3.4:7", PEERS_FROM_OPTION, T0));
	peers_on_connected(p, &other, T0);
	assert_int_equal(peers_known(p), 2);
	assert_true(peers_next(p, T0, &got) && !addr_same_ip(&got, &a));
	assert_true(peers_next(p, T0, &got) && !addr_same_ip(&got, &a));
	assert_false(peers_next(p, T0, &got));
}

static void test_a_second_ban_is_the_same(void **state)
{
	struct addr a = at("[2001:db8::7]:5"), b = at("[2001:db8::7]:6");
	peers_ban(p, &a);
	peers_ban(p, &b);
	assert_int_equal(peers_count_banned(p), 1);
}

static void test_a_banned_one_may_still_close(void **state)
{
	struct addr a = at("1.2.3.4:5");
	add("1.2.3.4:5", PEERS_FROM_TRACKER, T0);
	assert_true(next_is(p, T0, "1.2.3.4:5"));
	peers_ban(p, &a);
	closed("1.2.3.4:5", true, false, T0 + 1);
	assert_int_equal(peers_known(p), 0);
	assert_true(peers_banned(p, &a));
}

static void test_bans_at_n_and_one_more(void **state)
{
	for (unsigned i = 0; i < PEERS_MAX_BANNED; i++) {
		/* Not in the order of the addresses. */
		struct addr a = nth(i * 7919 % PEERS_MAX_BANNED);
		peers_ban(p, &a);
	}
	assert_int_equal(peers_count_banned(p), PEERS_MAX_BANNED);
	struct addr first = nth(0), second = nth(7919 % PEERS_MAX_BANNED);
	struct addr last = nth(PEERS_MAX_BANNED);
	assert_true(peers_banned(p, &first));
	peers_ban(p, &last);
	assert_int_equal(peers_count_banned(p), PEERS_MAX_BANNED);
	assert_true(peers_banned(p, &last));
	assert_false(peers_banned(p, &first)); /* the oldest */
	assert_true(peers_banned(p, &second));
}

static void test_another_tables_peers_and_bans(void **state)
{
	struct peers *to = peers_new();
	struct addr liar = at("6.6.6.6:6"), a;
	add("1.1.1.1:1", PEERS_FROM_TRACKER, T0);
	add("2.2.2.2:2", PEERS_FROM_TRACKER, T0 + 1);
	add("3.3.3.3:3", PEERS_FROM_TRACKER, T0 + 2);
	assert_true(next_is(p, T0 + 2, "1.1.1.1:1"));
	assert_true(next_is(p, T0 + 2, "2.2.2.2:2"));
	closed("1.1.1.1:1", false, false, T0 + 3);
	peers_ban(p, &liar);
	assert_true(peers_add(to, &liar, PEERS_FROM_OPTION, T0));
	peers_add_all(to, p, T0 + 4);
	assert_true(peers_banned(to, &liar));
	assert_int_equal(peers_known(to), 3);
	assert_true(next_is(to, T0 + 4, "2.2.2.2:2")); /* was connected */
	assert_true(next_is(to, T0 + 4, "3.3.3.3:3")); /* was not tried */
	assert_true(next_is(to, T0 + 4, "1.1.1.1:1")); /* failed */
	assert_false(peers_next(to, T0 + 4, &a));
	peers_free(to);
}

/* -- many ----------------------------------------------------------------------------------------
 */

static void fill(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct addr a = nth(i);
		assert_true(peers_add(p, &a, PEERS_FROM_TRACKER, T0 + i));
	}
}

static void test_known_at_n_and_one_more(void **state)
{
	struct addr more = nth(PEERS_MAX_KNOWN);
	fill(PEERS_MAX_KNOWN);
	assert_int_equal(peers_known(p), PEERS_MAX_KNOWN);
	/* All are good as far as we know: the new one is not taken. */
	assert_false(peers_add(p, &more, PEERS_FROM_TRACKER, T0));
	peers_on_connected(p, &more, T0);
	assert_int_equal(peers_known(p), PEERS_MAX_KNOWN);
}

static void test_the_oldest_useless_one_makes_room(void **state)
{
	struct addr got, a, b;
	fill(PEERS_MAX_KNOWN);
	assert_true(peers_next(p, T0 + PEERS_MAX_KNOWN, &a));
	assert_true(peers_next(p, T0 + PEERS_MAX_KNOWN, &b));
	peers_on_closed(p, &b, false, false, T0 + 10 * S);
	peers_on_closed(p, &a, false, false, T0 + 11 * S);
	struct addr more = nth(PEERS_MAX_KNOWN);
	assert_true(peers_add(p, &more, PEERS_FROM_TRACKER, T0 + 12 * S));
	assert_int_equal(peers_known(p), PEERS_MAX_KNOWN);
	/* b failed longest ago: it is new again, a is not. */
	assert_false(peers_add(p, &a, PEERS_FROM_TRACKER, T0 + 13 * S));
	assert_true(peers_add(p, &b, PEERS_FROM_TRACKER, T0 + 13 * S));
	assert_true(peers_add(p, &a, PEERS_FROM_TRACKER, T0 + 13 * S) == false);
	assert_true(peers_next(p, T0 + 20 * S, &got));
}

static void test_a_named_one_always_has_room(void **state)
{
	fill(PEERS_MAX_KNOWN);
	assert_true(add("1.2.3.4:5", PEERS_FROM_OPTION, T0 + 1 * S));
	assert_int_equal(peers_known(p), PEERS_MAX_KNOWN);
	/* The oldest went for it. */
	struct addr first = nth(0);
	assert_false(peers_add(p, &first, PEERS_FROM_TRACKER, T0 + 2 * S));
	closed("1.2.3.4:5", false, false, T0 + 3 * S);
	assert_false(peers_add(p, &first, PEERS_FROM_TRACKER, T0 + 4 * S)); /* not even then */
}

static void test_connected_ones_stay(void **state)
{
	struct addr got;
	fill(PEERS_MAX_KNOWN);
	for (unsigned i = 0; i < PEERS_MAX_KNOWN; i++)
		assert_true(peers_next(p, T0 + 1 * S, &got));
	assert_false(peers_next(p, T0 + 1 * S, &got));
	assert_false(add("1.2.3.4:5", PEERS_FROM_OPTION, T0 + 1 * S));
	assert_int_equal(peers_known(p), PEERS_MAX_KNOWN);
}

/* Every address once, whatever the order they came in. */
static void test_all_come_up_once(void **state)
{
	static bool seen[PEERS_MAX_KNOWN];
	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < PEERS_MAX_KNOWN; i++) {
		struct addr a = nth(i * 769 % PEERS_MAX_KNOWN);
		assert_true(peers_add(p, &a, PEERS_FROM_TRACKER, T0));
	}
	struct addr got;
	for (unsigned i = 0; i < PEERS_MAX_KNOWN; i++) {
		assert_true(peers_next(p, T0, &got));
		unsigned k = (unsigned)got.ip[13] << 16 | (unsigned)got.ip[14] << 8 | got.ip[15];
		assert_in_range(k, 0, PEERS_MAX_KNOWN - 1);
		assert_false(seen[k]);
		seen[k] = true;
	}
}

#define PEERS_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		PEERS_TEST(test_none_known_none_due),
		PEERS_TEST(test_an_address_is_known_once),
		PEERS_TEST(test_what_nobody_can_connect_to_is_refused),
		PEERS_TEST(test_one_is_not_given_twice),
		PEERS_TEST(test_the_longest_untried_comes_first),
		PEERS_TEST(test_the_least_failed_comes_first),
		PEERS_TEST(test_a_named_one_that_is_due_comes_first),
		PEERS_TEST(test_due_is_what_next_would_give),
		PEERS_TEST(test_failures_back_off_to_half_an_hour),
		PEERS_TEST(test_a_named_peer_backs_off_to_15_s),
		PEERS_TEST(test_naming_a_known_peer_counts),
		PEERS_TEST(test_success_ends_the_back_off),
		PEERS_TEST(test_a_brief_success_backs_off_too),
		PEERS_TEST(test_never_is_never),
		PEERS_TEST(test_all_is_forgiven_when_we_are_no_seed_any_more),
		PEERS_TEST(test_forgiven_ones_are_tried_again_at_once),
		PEERS_TEST(test_one_that_came_to_us_is_not_connected_to),
		PEERS_TEST(test_two_connections_are_counted),
		PEERS_TEST(test_the_end_of_an_unknown_one_is_nothing),
		PEERS_TEST(test_a_ban_is_on_the_address_with_all_ports),
		PEERS_TEST(test_a_second_ban_is_the_same),
		PEERS_TEST(test_a_banned_one_may_still_close),
		PEERS_TEST(test_bans_at_n_and_one_more),
		PEERS_TEST(test_another_tables_peers_and_bans),
		PEERS_TEST(test_known_at_n_and_one_more),
		PEERS_TEST(test_the_oldest_useless_one_makes_room),
		PEERS_TEST(test_a_named_one_always_has_room),
		PEERS_TEST(test_connected_ones_stay),
		PEERS_TEST(test_all_come_up_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
