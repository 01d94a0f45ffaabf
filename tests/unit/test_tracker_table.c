/* SPDX-License-Identifier: MIT */
/* The tracker's table: who is listed, who is given, who is forgotten; with a clock of its own. */
#include "tracker/table.h"

#include "base/mem.h"
#include "tests/unit/tracker_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void test_the_first_is_alone(void **state)
{
	struct table *t = table_new(&config, T0);
	struct answer r = say(t, peer(1, 1, true), T0);
	assert_int_equal(r.n[V4] + r.n[V6], 0);
	assert_int_equal(r.complete, 1);
	assert_int_equal(r.incomplete, 0);
	assert_in_range(r.interval, 5, 20);
	table_check(t);
	table_free(t);
}

static void test_a_leecher_gets_the_seed_and_not_itself(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce seed = peer(1, 1, true), leecher = peer(1, 2, false);
	say(t, seed, T0);
	struct answer r = say(t, leecher, T0);
	assert_int_equal(r.n[V4], 1);
	assert_true(given(&r, &seed));
	r = say(t, leecher, T0 + 1);
	assert_int_equal(r.n[V4], 1);
	assert_int_equal(r.incomplete, 1);
	table_free(t);
}

static void test_a_seed_gets_no_seeds(void **state)
{
	struct table *t = table_new(&config, T0);
	say(t, peer(1, 1, true), T0);
	say(t, peer(1, 2, true), T0);
	struct announce leecher = peer(1, 3, false);
	say(t, leecher, T0);
	struct answer r = say(t, peer(1, 1, true), T0);
	assert_int_equal(r.n[V4], 1);
	assert_true(given(&r, &leecher));
	table_free(t);
}

static void test_torrents_are_apart(void **state)
{
	struct table *t = table_new(&config, T0);
	say(t, peer(1, 1, true), T0);
	struct answer r = say(t, peer(2, 2, false), T0);
	assert_int_equal(r.n[V4], 0);
	assert_int_equal(r.complete, 0);
	struct table_counts counts;
	table_counts(t, &counts);
	assert_int_equal(counts.torrents, 2);
	table_free(t);
}

static void test_completed_counts_once(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, false);
	say(t, a, T0);
	a.seed = true;
	a.event = EVENT_COMPLETED;
	assert_int_equal(say(t, a, T0 + 5).downloaded, 1);
	assert_int_equal(say(t, a, T0 + 6).downloaded, 1);
	struct table_scrape f;
	table_scrape(t, a.hash, T0 + 6, &f);
	assert_int_equal(f.complete, 1);
	assert_int_equal(f.incomplete, 0);
	assert_int_equal(f.downloaded, 1);
	table_check(t);
	table_free(t);
}

static void test_a_leecher_cannot_complete(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, false);
	a.event = EVENT_COMPLETED;
	assert_int_equal(say(t, a, T0).downloaded, 0);
	table_free(t);
}

static void test_stopped_leaves_at_once(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, true);
	say(t, a, T0);
	a.event = EVENT_STOPPED;
	struct answer r = say(t, a, T0 + 1);
	assert_int_equal(r.complete, 0);
	struct table_counts counts;
	table_counts(t, &counts);
	assert_int_equal(counts.swarms, 0);
	table_check(t);
	table_free(t);
}

static void test_stopped_needs_the_same_id(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, true);
	say(t, a, T0);
	a.event = EVENT_STOPPED;
	a.peer_id[19] ^= 1;
	assert_int_equal(say(t, a, T0 + 1).complete, 1);
	table_free(t);
}

static void test_stopped_of_nobody_makes_nothing(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, true);
	a.event = EVENT_STOPPED;
	say(t, a, T0);
	struct table_counts counts;
	table_counts(t, &counts);
	assert_int_equal(counts.swarms, 0);
	table_free(t);
}

static void test_gone_after_two_intervals(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, true);
	struct table_scrape f;
	uint32_t interval = say(t, a, T0).interval;
	table_scrape(t, a.hash, T0 + 2 * interval, &f);
	assert_int_equal(f.complete, 1);
	table_scrape(t, a.hash, T0 + 2 * interval + PACE_LIFE_SLACK_S, &f);
	assert_int_equal(f.complete, 0);
	table_check(t);
	table_free(t);
}

static void test_a_stranger_may_keep_five_minutes(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, true);
	struct table_scrape f;
	memcpy(a.peer_id, "-LT2080-", 8);
	say(t, a, T0);
	table_scrape(t, a.hash, T0 + 310, &f);
	assert_int_equal(f.complete, 1);
	table_scrape(t, a.hash, T0 + 2 * PACE_STRANGER_S + PACE_LIFE_SLACK_S, &f);
	assert_int_equal(f.complete, 0);
	table_free(t);
}

static void test_a_stranger_that_comes_in_time_is_held_to_it(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, true);
	struct table_scrape f;
	memcpy(a.peer_id, "-XX0001-", 8);
	uint32_t now = T0 + say(t, a, T0).interval;
	uint32_t interval = say(t, a, now).interval;
	table_scrape(t, a.hash, now + 2 * interval + PACE_LIFE_SLACK_S, &f);
	assert_int_equal(f.complete, 0);
	table_free(t);
}

static void test_sweep_forgets_swarms_that_nobody_asks_for(void **state)
{
	struct table *t = table_new(&config, T0);
	struct table_counts counts;
	for (unsigned i = 0; i < 500; i++)
		say(t, peer(i, i, false), T0);
	table_counts(t, &counts);
	assert_int_equal(counts.torrents, 500);
	table_sweep(t, T0 + 4000, 4096);
	table_check(t);
	table_counts(t, &counts);
	assert_int_equal(counts.swarms, 0);
	assert_true(counts.memory < 65536);
	table_free(t);
}

/* All in one second, as after a restart: in parts, so that nobody waits for it. */
static void test_a_crowd_is_forgotten_in_parts(void **state)
{
	enum { PEERS = TABLE_EXPIRE_PER_S + 1000 };
	struct table *t = table_new(&config, T0);
	struct table_scrape f;
	struct announce a = peer(1, 0, false);
	for (unsigned n = 0; n < PEERS; n++) {
		struct table_peer p = {.addr = peer(1, n, false).from, .meta.life = 100};
		assert_int_equal(table_merge(t, a.hash, &p, T0), 0);
	}
	table_scrape(t, a.hash, T0 + 99, &f);
	assert_int_equal(f.incomplete, PEERS);
	for (unsigned i = 0; i < 3; i++) {
		table_scrape(t, a.hash, T0 + 100, &f);
		assert_int_equal(f.incomplete, 1000);
	}
	table_check(t);
	table_scrape(t, a.hash, T0 + 101, &f);
	assert_int_equal(f.incomplete, 0);
	table_check(t);
	table_free(t);
}

static void test_a_count_outlives_its_peers(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, true);
	a.event = EVENT_COMPLETED;
	say(t, a, T0);
	table_sweep(t, T0 + 4000, 1024);
	struct table_scrape f;
	table_scrape(t, a.hash, T0 + 4000, &f);
	assert_int_equal(f.complete, 0);
	assert_int_equal(f.downloaded, 1);
	table_sweep(t, T0 + 4000 + TABLE_KEEP_S, 1024);
	table_scrape(t, a.hash, T0 + 4000 + TABLE_KEEP_S, &f);
	assert_int_equal(f.downloaded, 0);
	table_free(t);
}

static void test_torrents_are_capped_at_n(void **state)
{
	struct table_config small = config;
	small.max_torrents = 3;
	struct table *t = table_new(&small, T0);
	for (unsigned i = 0; i < 3; i++)
		say(t, peer(i, i, false), T0);
	struct announce a = peer(3, 3, false);
	struct answer answer = fresh();
	assert_int_equal(table_announce(t, &a, T0, &answer), -ENOSPC);
	/* What has a place keeps it. */
	assert_int_equal(say(t, peer(1, 9, false), T0).incomplete, 2);
	table_check(t);
	table_free(t);
}

static void test_an_empty_torrent_makes_room(void **state)
{
	struct table_config small = config;
	small.max_torrents = 2;
	struct table *t = table_new(&small, T0);
	for (unsigned i = 0; i < 2; i++) {
		struct announce a = peer(i, i, true);
		a.event = EVENT_COMPLETED;
		say(t, a, T0);
		a.event = EVENT_STOPPED;
		say(t, a, T0 + i);
	}
	struct announce b = peer(7, 7, false);
	say(t, b, T0 + 5);
	assert_null(table_find(t, peer(0, 0, true).hash));
	assert_non_null(table_find(t, peer(1, 0, true).hash));
	table_check(t);
	table_free(t);
}

static void test_at_the_limit_of_peers_one_is_served_but_not_listed(void **state)
{
	struct table_config small = config;
	small.max_peers = 2;
	struct table *t = table_new(&small, T0);
	struct announce seed = peer(1, 1, true);
	assert_false(say(t, seed, T0).unlisted);
	assert_false(say(t, peer(1, 2, false), T0).unlisted);
	struct answer r = say(t, peer(1, 3, false), T0);
	assert_true(r.unlisted);
	assert_true(given(&r, &seed));
	assert_int_equal(r.incomplete, 1);
	/* Who is listed may still change its kind. */
	struct announce done = peer(1, 2, true);
	done.event = EVENT_COMPLETED;
	assert_int_equal(say(t, done, T0).complete, 2);
	table_check(t);
	table_free(t);
}

static void test_peers_of_a_torrent_are_capped(void **state)
{
	struct table_config small = config;
	small.max_swarm = 2;
	struct table *t = table_new(&small, T0);
	say(t, peer(1, 1, true), T0);
	say(t, peer(1, 2, true), T0);
	assert_true(say(t, peer(1, 3, true), T0).unlisted);
	assert_false(say(t, peer(2, 3, true), T0).unlisted);
	table_free(t);
}

static void test_numwant_is_kept(void **state)
{
	struct table *t = table_new(&config, T0);
	for (unsigned i = 0; i < 100; i++)
		say(t, peer(1, i, i % 2), T0);
	for (uint32_t want = 0; want <= 120; want++) {
		struct announce a = peer(1, 1000, false);
		a.numwant = want;
		assert_int_equal(say(t, a, T0).n[V4], MIN(want, 100u));
	}
	table_free(t);
}

static void test_no_peer_twice_in_a_reply(void **state)
{
	struct table *t = table_new(&config, T0);
	for (unsigned i = 0; i < 60; i++) {
		say(t, peer(1, i, i % 3 == 0), T0);
		say(t, peer6(1, 500 + i, i % 3 == 0), T0);
	}
	for (unsigned round = 0; round < 200; round++) {
		struct announce a = round % 2 ? peer(1, round % 60, false) : peer6(1, 900, false);
		a.numwant = round % 100 + 1;
		struct answer r = say(t, a, T0);
		assert_true(r.n[V4] + r.n[V6] <= a.numwant);
		for (int f = V4; f <= V6; f++) {
			size_t len = f == V4 ? PEERSET_V4 : PEERSET_V6;
			for (uint32_t i = 0; i < r.n[f]; i++) {
				for (uint32_t j = 0; j < i; j++)
					assert_memory_not_equal(r.addrs[f] + i * len,
						r.addrs[f] + j * len, len);
			}
		}
	}
	table_free(t);
}

static void test_leechers_keep_a_quarter_of_a_full_list(void **state)
{
	struct table *t = table_new(&config, T0);
	for (unsigned i = 0; i < 200; i++)
		say(t, peer(1, i, i < 100), T0);
	struct answer r = say(t, peer(1, 1000, false), T0);
	unsigned seeds = 0;
	for (unsigned i = 0; i < 100; i++) {
		struct announce a = peer(1, i, true);
		seeds += given(&r, &a);
	}
	assert_int_equal(r.n[V4], 50);
	assert_int_equal(seeds, 50 - 50 / 4);
	table_free(t);
}

static void test_everybody_is_given_in_time(void **state)
{
	struct table *t = table_new(&config, T0);
	unsigned times[200] = {0};
	for (unsigned i = 0; i < 200; i++)
		say(t, peer(1, i, false), T0);
	for (unsigned round = 0; round < 400; round++) {
		struct announce asker = peer(1, 1000, false);
		asker.numwant = 20;
		struct answer r = say(t, asker, T0);
		for (unsigned i = 0; i < 200; i++) {
			struct announce a = peer(1, i, false);
			times[i] += given(&r, &a);
		}
	}
	/* 40 on the average. */
	for (unsigned i = 0; i < 200; i++)
		assert_in_range(times[i], 5, 110);
	table_free(t);
}

static void test_both_families_are_given_and_one_client_is_not_its_own_peer(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce self4 = peer(1, 1, false), self6 = peer6(1, 1, false);
	struct announce other6 = peer6(1, 2, true);
	say(t, self6, T0);
	say(t, other6, T0);
	struct answer r = say(t, self4, T0);
	assert_int_equal(r.n[V6], 1);
	assert_true(given(&r, &other6));
	assert_int_equal(r.n[V4], 0);
	table_check(t);
	table_free(t);
}

static void test_own_site_first_but_not_alone(void **state)
{
	struct table *t = table_new(&config, T0);
	for (unsigned i = 0; i < 300; i++) {
		struct announce a = peer(1, i, false);
		a.site = (uint16_t)(1 + i % 3);
		say(t, a, T0);
	}
	struct announce asker = peer(1, 1000, false);
	asker.site = 2;
	asker.numwant = 40;
	struct answer r = say(t, asker, T0);
	unsigned mine = 0;
	for (unsigned i = 1; i < 300; i += 3) {
		struct announce a = peer(1, i, false);
		mine += given(&r, &a);
	}
	assert_int_equal(r.n[V4], 40);
	assert_int_equal(mine, 30);
	table_free(t);
}

static void test_a_site_alone_is_given_whole(void **state)
{
	struct table *t = table_new(&config, T0);
	for (unsigned i = 0; i < 60; i++) {
		struct announce a = peer(1, i, false);
		a.site = 5;
		say(t, a, T0);
	}
	struct announce asker = peer(1, 1000, false);
	asker.site = 5;
	assert_int_equal(say(t, asker, T0).n[V4], 50);
	table_free(t);
}

static void test_seeds_of_the_site_before_seeds_elsewhere(void **state)
{
	struct table *t = table_new(&config, T0);
	for (unsigned i = 0; i < 100; i++) {
		struct announce a = peer(1, i, true);
		a.site = i < 90 ? 1 : 2;
		say(t, a, T0);
	}
	struct announce asker = peer(1, 1000, false);
	asker.site = 2;
	asker.numwant = 20;
	struct answer r = say(t, asker, T0);
	for (unsigned i = 90; i < 100; i++) {
		struct announce a = peer(1, i, true);
		assert_true(given(&r, &a));
	}
	assert_int_equal(r.n[V4], 20);
	table_free(t);
}

static void test_intervals_grow_as_a_swarm_settles(void **state)
{
	struct table *t = table_new(&config, T0);
	uint32_t now = T0;
	for (unsigned i = 0; i < 40; i++)
		say(t, peer(1, i, i < 5), now);
	uint32_t first = say(t, peer(1, 20, false), now).interval;
	assert_in_range(first, 5, 33);
	for (; now < T0 + 10000; now += 5) { /* as they are told at first */
		for (unsigned i = 0; i < 40; i++)
			say(t, peer(1, i, i < 5), now);
	}
	assert_in_range(say(t, peer(1, 20, false), now).interval, 1800, 1800);
	/* A fleet arrives: it is young again. */
	for (unsigned i = 100; i < 200; i++)
		say(t, peer(1, i, false), now);
	assert_in_range(say(t, peer(1, 20, false), now).interval, 5, 33);
	table_free(t);
}

static void test_merge_adds_and_never_shortens(void **state)
{
	struct table *t = table_new(&config, T0);
	struct announce a = peer(1, 1, true);
	struct table_peer p = {.addr = a.from, .meta = {.life = 100, .told = 50}, .seed = true};
	struct table_scrape f;
	memcpy(p.meta.id, a.peer_id, PEER_ID_LEN);
	assert_int_equal(table_merge(t, a.hash, &p, T0), 0);
	p.meta.life = 10;
	p.seed = false;
	assert_int_equal(table_merge(t, a.hash, &p, T0), 0);
	table_scrape(t, a.hash, T0 + 99, &f);
	assert_int_equal(f.complete, 1);
	p.meta.life = 60;
	assert_int_equal(table_merge(t, a.hash, &p, T0 + 50), 0);
	table_scrape(t, a.hash, T0 + 105, &f);
	assert_int_equal(f.incomplete, 1);
	assert_int_equal(f.complete, 0);
	table_check(t);
	table_forget(t, a.hash, &a.from, T0 + 106);
	table_scrape(t, a.hash, T0 + 106, &f);
	assert_int_equal(f.incomplete, 0);
	table_check(t);
	table_free(t);
}

static unsigned changes[4];

static void on_change(void *arg, enum table_change change, const uint8_t hash[HASH_LEN],
	const struct table_peer *p)
{
	changes[change]++;
}

static void test_changes_are_told(void **state)
{
	struct table *t = table_new(&config, T0);
	memset(changes, 0, sizeof(changes));
	table_on_change(t, on_change, NULL);
	struct announce a = peer(1, 1, false);
	say(t, a, T0);
	a.seed = true;
	a.event = EVENT_COMPLETED;
	say(t, a, T0 + 1);
	say(t, peer(1, 2, false), T0 + 1);
	table_sweep(t, T0 + 8000, 1024);
	assert_int_equal(changes[CHANGE_PEER], 2);
	assert_int_equal(changes[CHANGE_COMPLETED], 1);
	assert_int_equal(changes[CHANGE_EXPIRED], 2);
	table_free(t);
}

/* Everything at random, and the table agrees with a plain list all the while. */
static void test_random_life(void **state)
{
	enum { TORRENTS = 8, PEERS = 300, ROUNDS = 30000 };
	struct table *t = table_new(&config, T0);
	static uint8_t what[TORRENTS][PEERS]; /* 0 none, 1 leecher, 2 seed */
	memset(what, 0, sizeof(what));
	srandom(42);
	for (unsigned round = 0; round < ROUNDS; round++) {
		unsigned torrent = (unsigned)random() % TORRENTS, n = (unsigned)random() % PEERS;
		struct announce a = n % 3 ? peer(torrent, n, random() % 2) :
					    peer6(torrent, n, random() % 2);
		a.numwant = (uint32_t)random() % 60;
		if (random() % 4 == 0)
			a.event = EVENT_STOPPED;
		struct answer r = say(t, a, T0);
		what[torrent][n] = a.event == EVENT_STOPPED ? 0 : a.seed ? 2 : 1;
		assert_false(given(&r, &a));
		if (round % 1000)
			continue;
		table_check(t);
		for (unsigned i = 0; i < TORRENTS; i++) {
			struct table_scrape f;
			unsigned count[3] = {0};
			for (unsigned j = 0; j < PEERS; j++)
				count[what[i][j]]++;
			table_scrape(t, peer(i, 0, false).hash, T0, &f);
			assert_int_equal(f.incomplete, count[1]);
			assert_int_equal(f.complete, count[2]);
		}
	}
	table_free(t);
}

/* Across the width of the index and back, in one torrent. */
static void test_a_large_swarm_grows_and_shrinks(void **state)
{
	enum { PEERS = 60000 };
	struct table_config big = config;
	big.max_swarm = PEERS;
	struct table *t = table_new(&big, T0);
	for (unsigned n = 0; n < PEERS; n++) {
		struct announce a = peer(1, n, false);
		a.numwant = 0;
		say(t, a, T0);
	}
	table_check(t);
	for (unsigned n = 0; n < PEERS; n++) {
		struct announce a = peer(1, n, false);
		a.event = EVENT_STOPPED;
		assert_int_equal(say(t, a, T0).incomplete, PEERS - 1 - n);
		if (n % 10000 == 0)
			table_check(t);
	}
	struct table_counts counts;
	table_counts(t, &counts);
	assert_int_equal(counts.swarms, 0);
	table_free(t);
}

/* Of a peer in a set: what was put stays together, wherever it is moved. */
static void check_members(const struct peerset *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		uint32_t n;
		memcpy(&n, peerset_addr(s, i), sizeof(n));
		assert_int_equal(s->meta[i].expires, n);
		assert_int_equal(peerset_sites(s)[i], (uint16_t)(n * 7));
	}
}

static void test_a_set_keeps_together_what_belongs_together(void **state)
{
	enum { PEERS = 3000 };
	static const struct sipkey key = {1, 2};
	for (unsigned len = PEERSET_V4; len <= PEERSET_V6; len += PEERSET_V6 - PEERSET_V4) {
		struct peerset s;
		uint8_t addr[PEERSET_V6] = {0};
		peerset_init(&s, (uint8_t)len);
		srandom(3);
		for (uint32_t n = 0; n < PEERS; n++) {
			struct peer_meta meta = {.expires = n};
			memcpy(addr, &n, sizeof(n));
			peerset_add(&s, &key, addr, &meta, (uint16_t)(n * 7), (uint64_t)random());
			if (n < 300 || n % 100 == 0)
				check_members(&s);
		}
		while (s.n) {
			peerset_remove(&s, &key, (uint32_t)random() % s.n);
			if (s.n < 300 || s.n % 100 == 0)
				check_members(&s);
			if (s.n % 100 == 0)
				peerset_check(&s, &key);
		}
		peerset_done(&s);
	}
}

static uint64_t memory_of(unsigned torrents, unsigned peers, bool v6)
{
	struct table_config big = config;
	big.max_peers = 10000000;
	struct table *t = table_new(&big, T0);
	for (unsigned n = 0; n < peers; n++)
		say(t, v6 ? peer6(n % torrents, n / torrents, n % 4 == 0) :
			    peer(n % torrents, n / torrents, n % 4 == 0), T0);
	struct table_counts counts;
	table_counts(t, &counts);
	table_free(t);
	return counts.memory;
}

static void test_a_peer_takes_64_bytes_at_most(void **state)
{
	assert_true(memory_of(100, 200000, false) <= 64ull * 200000);
	assert_true(memory_of(1000, 200000, false) <= 64ull * 200000);
	assert_true(memory_of(10, 200000, true) <= 64ull * 200000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_first_is_alone),
		cmocka_unit_test(test_a_leecher_gets_the_seed_and_not_itself),
		cmocka_unit_test(test_a_seed_gets_no_seeds),
		cmocka_unit_test(test_torrents_are_apart),
		cmocka_unit_test(test_completed_counts_once),
		cmocka_unit_test(test_a_leecher_cannot_complete),
		cmocka_unit_test(test_stopped_leaves_at_once),
		cmocka_unit_test(test_stopped_needs_the_same_id),
		cmocka_unit_test(test_stopped_of_nobody_makes_nothing),
		cmocka_unit_test(test_gone_after_two_intervals),
		cmocka_unit_test(test_a_stranger_may_keep_five_minutes),
		cmocka_unit_test(test_a_stranger_that_comes_in_time_is_held_to_it),
		cmocka_unit_test(test_sweep_forgets_swarms_that_nobody_asks_for),
		cmocka_unit_test(test_a_crowd_is_forgotten_in_parts),
		cmocka_unit_test(test_a_count_outlives_its_peers),
		cmocka_unit_test(test_torrents_are_capped_at_n),
		cmocka_unit_test(test_an_empty_torrent_makes_room),
		cmocka_unit_test(test_at_the_limit_of_peers_one_is_served_but_not_listed),
		cmocka_unit_test(test_peers_of_a_torrent_are_capped),
		cmocka_unit_test(test_numwant_is_kept),
		cmocka_unit_test(test_no_peer_twice_in_a_reply),
		cmocka_unit_test(test_leechers_keep_a_quarter_of_a_full_list),
		cmocka_unit_test(test_everybody_is_given_in_time),
		cmocka_unit_test(test_both_families_are_given_and_one_client_is_not_its_own_peer),
		cmocka_unit_test(test_own_site_first_but_not_alone),
		cmocka_unit_test(test_a_site_alone_is_given_whole),
		cmocka_unit_test(test_seeds_of_the_site_before_seeds_elsewhere),
		cmocka_unit_test(test_intervals_grow_as_a_swarm_settles),
		cmocka_unit_test(test_merge_adds_and_never_shortens),
		cmocka_unit_test(test_changes_are_told),
		cmocka_unit_test(test_random_life),
		cmocka_unit_test(test_a_large_swarm_grows_and_shrinks),
		cmocka_unit_test(test_a_set_keeps_together_what_belongs_together),
		cmocka_unit_test(test_a_peer_takes_64_bytes_at_most),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
