/* SPDX-License-Identifier: MIT */
/* Who gets a slot, and when it goes on. */
#include "swarm/choker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define S 1000000ull
#define MANY 200u

/* What the choker told each peer last, and how often. */
static struct node {
	struct choker_peer p;
	bool unchoked;
	unsigned told;
} nodes[MANY];

static void tell(void *peer, bool unchoked)
{
	struct node *n = peer;
	assert_int_not_equal(n->unchoked, unchoked); /* never what it knows already */
	n->unchoked = unchoked;
	n->told++;
}

static struct choker c;

static void setup_peers(unsigned max_slots, unsigned n, unsigned interested, uint64_t now)
{
	memset(nodes, 0, sizeof(nodes));
	choker_init(&c, max_slots, tell);
	for (unsigned i = 0; i < n; i++)
		choker_add(&c, &nodes[i].p, &nodes[i], now);
	for (unsigned i = 0; i < interested; i++)
		choker_on_interest(&c, &nodes[i].p, true, now + i);
}

static unsigned count_unchoked(void)
{
	unsigned n = 0;
	for (unsigned i = 0; i < MANY; i++) {
		assert_int_equal(nodes[i].unchoked, nodes[i].p.unchoked);
		n += nodes[i].unchoked;
	}
	return n;
}

static void test_interest_is_answered_at_once(void **state)
{
	setup_peers(CHOKER_MAX_SLOTS, 3, 0, 5 * S);
	assert_int_equal(count_unchoked(), 0);
	choker_on_interest(&c, &nodes[1].p, true, 6 * S);
	assert_true(nodes[1].unchoked);
	assert_int_equal(count_unchoked(), 1);
	choker_on_interest(&c, &nodes[1].p, true, 7 * S);
	assert_int_equal(nodes[1].told, 1);
	choker_done(&c);
}

static void test_slots_at_n_and_one_more(void **state)
{
	setup_peers(CHOKER_MAX_SLOTS, MANY, CHOKER_MIN_SLOTS, S);
	assert_int_equal(count_unchoked(), CHOKER_MIN_SLOTS);
	choker_on_interest(&c, &nodes[CHOKER_MIN_SLOTS].p, true, 2 * S);
	assert_int_equal(count_unchoked(), CHOKER_MIN_SLOTS);
	assert_false(nodes[CHOKER_MIN_SLOTS].unchoked);
	choker_done(&c);
}

static void test_max_slots_bound_it(void **state)
{
	static const unsigned max[] = {1, 2, CHOKER_MIN_SLOTS - 1, CHOKER_MIN_SLOTS,
		CHOKER_MIN_SLOTS + 1, CHOKER_MAX_SLOTS, CHOKER_MAX_SLOTS + 1, UINT32_MAX};
	for (size_t i = 0; i < sizeof(max) / sizeof(max[0]); i++) {
		setup_peers(max[i], MANY, MANY, S);
		for (unsigned t = 2; t < 60; t++)
			choker_tick(&c, false, false, t * S);
		assert_int_equal(
			count_unchoked(), max[i] < CHOKER_MAX_SLOTS ? max[i] : CHOKER_MAX_SLOTS);
		choker_done(&c);
	}
}

static void test_without_slots_nobody_is_unchoked(void **state)
{
	setup_peers(0, 10, 10, S);
	for (unsigned t = 2; t < 60; t++)
		choker_tick(&c, t % 2, false, t * S);
	assert_int_equal(count_unchoked(), 0);
	for (unsigned i = 0; i < 10; i++)
		choker_remove(&c, &nodes[i].p, 60 * S);
	choker_done(&c);
}

static void test_slots_grow_while_the_uplink_has_room(void **state)
{
	setup_peers(CHOKER_MAX_SLOTS, MANY, MANY, S);
	choker_tick(&c, false, true, 2 * S);
	assert_int_equal(count_unchoked(), CHOKER_MIN_SLOTS);
	choker_tick(&c, false, false, 3 * S);
	unsigned n = count_unchoked();
	assert_true(n > CHOKER_MIN_SLOTS && n < CHOKER_MAX_SLOTS);
	for (unsigned t = 4; t < 10; t++)
		choker_tick(&c, false, false, t * S);
	assert_int_equal(count_unchoked(), CHOKER_MAX_SLOTS);
	choker_done(&c);
}

/* Nearly full, they grow before anybody waits; with few peers they do not. */
static void test_slots_grow_ahead_of_need(void **state)
{
	setup_peers(CHOKER_MAX_SLOTS, MANY, CHOKER_MIN_SLOTS / 2, S);
	choker_tick(&c, false, false, 2 * S);
	assert_int_equal(c.slots, CHOKER_MIN_SLOTS);
	for (unsigned i = CHOKER_MIN_SLOTS / 2; i < CHOKER_MIN_SLOTS; i++)
		choker_on_interest(&c, &nodes[i].p, true, 3 * S);
	choker_tick(&c, false, false, 4 * S);
	choker_on_interest(&c, &nodes[CHOKER_MIN_SLOTS].p, true, 5 * S);
	assert_true(nodes[CHOKER_MIN_SLOTS].unchoked);
	choker_done(&c);
}

static void test_lost_interest_frees_the_slot_for_the_longest_waiter(void **state)
{
	setup_peers(2, 5, 2, S);
	choker_on_interest(&c, &nodes[4].p, true, 3 * S);
	choker_on_interest(&c, &nodes[2].p, true, 4 * S);
	choker_on_interest(&c, &nodes[0].p, false, 5 * S);
	assert_false(nodes[0].unchoked);
	assert_true(nodes[1].unchoked);
	assert_true(nodes[4].unchoked);
	assert_false(nodes[2].unchoked);
	choker_done(&c);
}

/* Coming and going does not help: who wants again waits anew. */
static void test_toggled_interest_goes_to_the_end_of_the_line(void **state)
{
	setup_peers(1, 3, 1, S);
	choker_on_interest(&c, &nodes[1].p, true, 3 * S);
	choker_on_interest(&c, &nodes[2].p, true, 4 * S);
	choker_on_interest(&c, &nodes[1].p, false, 5 * S);
	choker_on_interest(&c, &nodes[1].p, true, 6 * S);
	assert_int_equal(nodes[1].told, 0);
	choker_on_interest(&c, &nodes[0].p, false, 7 * S);
	assert_true(nodes[2].unchoked);
	assert_false(nodes[1].unchoked);
	choker_done(&c);
}

static void test_a_removed_peer_hands_its_slot_on_and_hears_nothing(void **state)
{
	setup_peers(1, 3, 3, S);
	assert_true(nodes[0].unchoked);
	choker_remove(&c, &nodes[0].p, 5 * S);
	assert_int_equal(nodes[0].told, 1);
	nodes[0].unchoked = false;
	assert_true(nodes[1].unchoked);
	choker_remove(&c, &nodes[2].p, 6 * S); /* one that waits */
	assert_true(nodes[1].unchoked);
	assert_int_equal(c.n, 1);
	choker_remove(&c, &nodes[1].p, 7 * S);
	assert_int_equal(c.n, 0);
	choker_done(&c);
}

static void test_indexes_stay_true(void **state)
{
	setup_peers(2, MANY, MANY, S);
	for (unsigned i = 0; i < MANY; i += 3) {
		choker_remove(&c, &nodes[i].p, 2 * S);
		nodes[i].unchoked = false;
		for (size_t j = 0; j < c.n; j++)
			assert_int_equal(c.peers[j]->index, j);
	}
	assert_int_equal(count_unchoked(), 2);
	choker_done(&c);
}

/* Runs ticks until `t` seconds; every served peer gets `bytes` a second. */
static void run(unsigned from, unsigned to, bool leeching, uint64_t bytes)
{
	for (unsigned t = from; t < to; t++) {
		for (unsigned i = 0; i < MANY; i++)
			if (nodes[i].p.unchoked)
				choker_on_sent(&nodes[i].p, bytes);
		choker_tick(&c, leeching, true, t * S);
	}
}

static void test_slots_go_round_and_feed_all_alike(void **state)
{
	setup_peers(4, 20, 20, S);
	uint64_t turns[20] = {0};
	for (unsigned t = 2; t < 502; t++) {
		run(t, t + 1, false, 1000);
		for (unsigned i = 0; i < 20; i++)
			turns[i] += nodes[i].unchoked;
		assert_int_equal(count_unchoked(), 4);
	}
	/* 500 s of 4 slots for 20: 100 s each, give or take a turn. */
	for (unsigned i = 0; i < 20; i++)
		assert_in_range(turns[i], 90, 110);
	choker_done(&c);
}

static void test_nobody_is_choked_while_nobody_waits(void **state)
{
	setup_peers(4, 20, 4, S);
	run(2, 100, false, 1000);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(nodes[i].told, 1);
	choker_done(&c);
}

/* BEP 3's fibrillation: a slot got just before a round is kept through it. */
static void test_a_turn_lasts_a_round(void **state)
{
	setup_peers(1, 3, 1, 2 * S);
	choker_tick(&c, false, true, 2 * S); /* the next round is at 12 */
	choker_on_interest(&c, &nodes[0].p, false, 11 * S);
	choker_on_interest(&c, &nodes[1].p, true, 11 * S);
	choker_on_interest(&c, &nodes[2].p, true, 11 * S + 1);
	choker_tick(&c, false, true, 12 * S);
	assert_true(nodes[1].unchoked);
	choker_tick(&c, false, true, 22 * S);
	assert_false(nodes[1].unchoked);
	assert_true(nodes[2].unchoked);
	choker_done(&c);
}

static void test_who_got_the_most_goes_first(void **state)
{
	setup_peers(3, 4, 4, S);
	choker_on_sent(&nodes[0].p, 100);
	choker_on_sent(&nodes[1].p, 300);
	choker_on_sent(&nodes[2].p, 200);
	choker_tick(&c, false, true, 2 * S);
	choker_tick(&c, false, true, 12 * S);
	assert_false(nodes[1].unchoked);
	assert_true(nodes[3].unchoked);
	assert_int_equal(nodes[3].p.sent, 0);
	choker_done(&c);
}

static void test_while_leeching_givers_keep_their_slots(void **state)
{
	setup_peers(3, 6, 6, S);
	choker_tick(&c, true, true, 2 * S);
	choker_on_received(&nodes[0].p, 1000);
	choker_on_sent(&nodes[0].p, 1000000);
	choker_tick(&c, true, true, 12 * S);
	assert_true(nodes[0].unchoked);
	assert_false(nodes[1].unchoked);
	assert_false(nodes[2].unchoked);
	assert_true(nodes[3].unchoked);
	assert_true(nodes[4].unchoked);
	choker_done(&c);
}

static void test_while_leeching_one_slot_goes_round_among_givers(void **state)
{
	setup_peers(3, 6, 6, S);
	choker_tick(&c, true, true, 2 * S);
	for (unsigned i = 0; i < 3; i++)
		choker_on_received(&nodes[i].p, 1000 * (3 - i));
	choker_tick(&c, true, true, 12 * S);
	assert_true(nodes[0].unchoked);
	assert_true(nodes[1].unchoked);
	assert_false(nodes[2].unchoked); /* gave the least */
	assert_true(nodes[3].unchoked);
	choker_done(&c);
}

static void test_what_was_given_fades(void **state)
{
	setup_peers(1, 1, 1, S);
	choker_on_received(&nodes[0].p, 1024);
	for (unsigned t = 2; t < 200; t++)
		choker_tick(&c, true, true, t * S);
	assert_int_equal(nodes[0].p.received, 0);
	choker_done(&c);
}

static void test_a_seed_does_not_ask_who_gave(void **state)
{
	setup_peers(1, 2, 2, S);
	choker_tick(&c, false, true, 2 * S);
	choker_on_received(&nodes[0].p, 1000);
	choker_tick(&c, false, true, 12 * S);
	assert_false(nodes[0].unchoked);
	assert_true(nodes[1].unchoked);
	choker_done(&c);
}

/* The same events, the same choices. */
static void test_it_is_deterministic(void **state)
{
	uint32_t marks[2];
	for (unsigned round = 0; round < 2; round++) {
		srandom(7);
		setup_peers(5, 40, 0, S);
		uint32_t mark = 0;
		for (unsigned t = 2; t < 300; t++) {
			choker_on_interest(&c, &nodes[random() % 40].p, random() % 3 > 0, t * S);
			choker_on_sent(&nodes[random() % 40].p, (uint64_t)random() % 1000);
			choker_tick(&c, t > 150, random() % 2, t * S);
			for (unsigned i = 0; i < 40; i++)
				mark = mark * 31 + nodes[i].unchoked;
			assert_true(count_unchoked() <= 5);
			for (unsigned i = 0; i < 40; i++)
				assert_true(nodes[i].p.interested || !nodes[i].unchoked);
		}
		marks[round] = mark;
		choker_done(&c);
	}
	assert_int_equal(marks[0], marks[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interest_is_answered_at_once),
		cmocka_unit_test(test_slots_at_n_and_one_more),
		cmocka_unit_test(test_max_slots_bound_it),
		cmocka_unit_test(test_without_slots_nobody_is_unchoked),
		cmocka_unit_test(test_slots_grow_while_the_uplink_has_room),
		cmocka_unit_test(test_slots_grow_ahead_of_need),
		cmocka_unit_test(test_lost_interest_frees_the_slot_for_the_longest_waiter),
		cmocka_unit_test(test_toggled_interest_goes_to_the_end_of_the_line),
		cmocka_unit_test(test_a_removed_peer_hands_its_slot_on_and_hears_nothing),
		cmocka_unit_test(test_indexes_stay_true),
		cmocka_unit_test(test_slots_go_round_and_feed_all_alike),
		cmocka_unit_test(test_nobody_is_choked_while_nobody_waits),
		cmocka_unit_test(test_a_turn_lasts_a_round),
		cmocka_unit_test(test_who_got_the_most_goes_first),
		cmocka_unit_test(test_while_leeching_givers_keep_their_slots),
		cmocka_unit_test(test_while_leeching_one_slot_goes_round_among_givers),
		cmocka_unit_test(test_what_was_given_fades),
		cmocka_unit_test(test_a_seed_does_not_ask_who_gave),
		cmocka_unit_test(test_it_is_deterministic),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
