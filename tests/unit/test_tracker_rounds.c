/* SPDX-License-Identifier: MIT */
/* What of the tracker's table is to be written, and when: rounds, rows, counts, what is forgotten. */
#include "tracker/table.h"

#include "base/mem.h"
#include "tests/unit/tracker_fixture.h"
#include "tracker/state_row.h"

#include <stdlib.h>
#include <string.h>

static struct table *new_dirty(uint32_t max_torrents)
{
	struct table_config dirty = config;
	dirty.track_dirty = true;
	dirty.max_torrents = max_torrents;
	return table_new(&dirty, T0);
}

/* All that a round has: how many rows, and how many peers they hold. */
static unsigned take_round(struct table *t, uint32_t *ret_peers)
{
	struct table_piece p;
	unsigned rows = 0;
	*ret_peers = 0;
	table_begin_round(t);
	while (table_take(t, &p)) {
		if (p.what != PIECE_ROW)
			continue;
		rows++;
		if (p.row < peerset_rows(p.set))
			*ret_peers += MIN(PEERSET_ROW, p.set->n - p.row * PEERSET_ROW);
	}
	return rows;
}

static void test_what_changed_is_taken_once(void **state)
{
	struct table *t = new_dirty(1000);
	struct table_piece p;
	uint32_t peers;
	assert_false(table_is_dirty(t));
	say(t, peer(1, 1, true), T0);
	say(t, peer(1, 2, true), T0);
	say(t, peer(2, 2, false), T0);
	assert_true(table_is_dirty(t));
	assert_false(table_take(t, &p)); /* no round has begun */
	table_begin_round(t);
	assert_true(table_take(t, &p));
	assert_int_equal(p.what, PIECE_ROW);
	assert_memory_equal(p.hash, peer(1, 1, true).hash, HASH_LEN);
	assert_int_equal(p.set->n, 2);
	assert_int_equal(p.kind, SEEDS);
	assert_true(table_take(t, &p));
	assert_memory_equal(p.hash, peer(2, 1, true).hash, HASH_LEN);
	assert_int_equal(p.kind, LEECHERS);
	assert_false(table_take(t, &p));
	assert_false(table_is_dirty(t));
	/* Coming again changes nothing that is worth writing. */
	say(t, peer(1, 1, true), T0 + 5);
	assert_false(table_is_dirty(t));
	/* A completed download moves one and is counted. */
	struct announce done = peer(2, 2, true);
	done.event = EVENT_COMPLETED;
	say(t, done, T0 + 6);
	table_begin_round(t);
	assert_true(table_take(t, &p));
	assert_int_equal(p.what, PIECE_COUNT);
	assert_int_equal(p.downloaded, 1);
	assert_int_equal(take_round(t, &peers), 2);
	assert_int_equal(peers, 1);
	table_check(t);
	table_free(t);
}

static void test_one_of_a_big_swarm_costs_two_rows(void **state)
{
	enum { PEERS = 40000 };
	struct table *t = new_dirty(1000);
	uint32_t peers;
	for (unsigned n = 0; n < PEERS; n++) {
		struct announce a = peer(1, n, false);
		a.numwant = 0;
		say(t, a, T0);
	}
	assert_int_equal(take_round(t, &peers), (PEERS + PEERSET_ROW - 1) / PEERSET_ROW);
	assert_int_equal(peers, PEERS);
	assert_int_equal(take_round(t, &peers), 0);
	for (unsigned n = 0; n < 100; n++) {
		say(t, peer(1, PEERS + n, false), T0 + 1);
		assert_in_range(take_round(t, &peers), 1, 2);
		assert_in_range(peers, 1, 2 * PEERSET_ROW);
		struct announce gone = peer(1, n, false);
		gone.event = EVENT_STOPPED;
		say(t, gone, T0 + 1);
		assert_in_range(take_round(t, &peers), 1, 2);
	}
	table_check(t);
	table_free(t);
}

static void test_a_round_ends_while_peers_come(void **state)
{
	enum { PEERS = 10 * PEERSET_ROW };
	struct table *t = new_dirty(1000);
	struct table_piece p;
	unsigned n, taken = 0;
	for (n = 0; n < PEERS; n++)
		say(t, peer(1, n, false), T0);
	say(t, peer(2, 0, false), T0);
	table_begin_round(t);
	while (table_take(t, &p)) {
		/* In the torrent that is gone through, and in another one. */
		say(t, peer(1, n, false), T0);
		say(t, peer(3, n++, false), T0);
		assert_true(++taken <= 2 * PEERS / PEERSET_ROW);
	}
	assert_memory_equal(p.hash, peer(2, 0, false).hash, HASH_LEN);
	assert_true(table_is_dirty(t));
	uint32_t peers;
	assert_true(take_round(t, &peers) > 1);
	assert_false(table_is_dirty(t));
	table_check(t);
	table_free(t);
}

static void stop(struct table *t, struct announce a, uint32_t now)
{
	a.event = EVENT_STOPPED;
	say(t, a, now);
}

static void test_what_is_forgotten_goes_from_disk(void **state)
{
	struct table *t = new_dirty(2);
	struct table_piece p;
	uint32_t peers;
	/* Never taken, so there is nothing of it. */
	say(t, peer(1, 1, false), T0);
	stop(t, peer(1, 1, false), T0);
	assert_false(table_is_dirty(t));
	say(t, peer(1, 1, false), T0);
	take_round(t, &peers);
	stop(t, peer(1, 1, false), T0);
	/* Here again before that is written: in this order. */
	say(t, peer(1, 2, false), T0);
	table_begin_round(t);
	assert_true(table_take(t, &p));
	assert_int_equal(p.what, PIECE_GONE);
	assert_memory_equal(p.hash, peer(1, 1, false).hash, HASH_LEN);
	assert_true(table_take(t, &p));
	assert_int_equal(p.what, PIECE_ROW);
	assert_int_equal(p.set->n, 1);
	assert_false(table_take(t, &p));
	table_check(t);
	table_free(t);
}

/* A count goes with its torrent, too: by age, and to make room for another. */
static void test_a_count_that_is_forgotten_goes_from_disk(void **state)
{
	struct table *t = new_dirty(2);
	struct table_piece p;
	uint32_t peers;
	for (unsigned i = 1; i <= 2; i++) {
		struct announce a = peer(i, i, true);
		a.event = EVENT_COMPLETED;
		say(t, a, T0);
		stop(t, a, T0 + i);
	}
	take_round(t, &peers);
	say(t, peer(3, 3, false), T0 + 5);
	table_begin_round(t);
	assert_true(table_take(t, &p));
	assert_int_equal(p.what, PIECE_GONE);
	assert_memory_equal(p.hash, peer(1, 1, true).hash, HASH_LEN);
	take_round(t, &peers);
	table_sweep(t, T0 + 2 + TABLE_KEEP_S, 1024);
	table_begin_round(t);
	bool gone = false;
	while (table_take(t, &p))
		gone |= p.what == PIECE_GONE && !memcmp(p.hash, peer(2, 2, true).hash, HASH_LEN);
	assert_true(gone);
	table_check(t);
	/* One is left in the list: it is freed with the table. */
	say(t, peer(4, 4, false), T0 + 6);
	take_round(t, &peers);
	stop(t, peer(4, 4, false), T0 + 6);
	table_free(t);
}

/* Rows as a disk has them: what was put last in each place of each torrent. */
enum { DISK_TORRENTS = 3, DISK_ROWS = 8 };
struct disk {
	uint8_t bytes[DISK_TORRENTS][4][DISK_ROWS][STATE_ROW_MAX];
	size_t len[DISK_TORRENTS][4][DISK_ROWS];
};

static void disk_write(struct disk *d, const struct table_piece *p)
{
	unsigned torrent;
	memcpy(&torrent, p->hash, sizeof(torrent));
	if (p->what == PIECE_GONE)
		memset(d->len[torrent], 0, sizeof(d->len[torrent]));
	if (p->what != PIECE_ROW)
		return;
	unsigned set = p->family * 2 + p->kind;
	assert_true(p->row < DISK_ROWS);
	d->len[torrent][set][p->row] =
		state_row_pack(p->set, p->kind, p->row, d->bytes[torrent][set][p->row]);
}

static struct table *loaded;
static uint8_t loaded_hash[HASH_LEN];

static void disk_peer(void *arg, const struct table_peer *p)
{
	unsigned *n = arg;
	struct table_peer copy = *p;
	copy.meta.life = 100;
	assert_int_equal(table_merge(loaded, loaded_hash, &copy, T0), 0);
	++*n;
}

/* What is on disk is what the table has: each peer once. */
static void disk_check(const struct disk *d, const struct table *t)
{
	struct table_counts was, is;
	unsigned n = 0;
	loaded = table_new(&config, T0);
	for (unsigned torrent = 0; torrent < DISK_TORRENTS; torrent++) {
		memcpy(loaded_hash, peer(torrent, 0, false).hash, HASH_LEN);
		for (unsigned i = 0; i < 4 * DISK_ROWS; i++)
			assert_int_equal(state_row_unpack(d->bytes[torrent][i / DISK_ROWS][i % DISK_ROWS],
				d->len[torrent][i / DISK_ROWS][i % DISK_ROWS], disk_peer, &n), 0);
	}
	table_counts(t, &was);
	table_counts(loaded, &is);
	assert_memory_equal(was.peers, is.peers, sizeof(was.peers));
	assert_int_equal(n, is.peers[V4][0] + is.peers[V4][1] + is.peers[V6][0] + is.peers[V6][1]);
	table_free(loaded);
}

/* Everything at random, rounds at any time, and what they gave is the table after a whole one. */
static void test_rounds_give_the_table(void **state)
{
	enum { PEERS = 2400, ROUNDS = 120000 };
	struct table *t = new_dirty(1000);
	struct disk *d = calloc(1, sizeof(*d));
	struct table_piece p;
	srandom(7);
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned n = (unsigned)random() % PEERS, torrent = (unsigned)random() % DISK_TORRENTS;
		/* Now they come, now they go. */
		unsigned stops = i / (ROUNDS / 6) % 2 ? 9 : 2;
		struct announce a = n % 3 ? peer(torrent, n, random() % 2) :
					    peer6(torrent, n, random() % 2);
		a.numwant = 0;
		if ((unsigned)random() % 10 < stops)
			a.event = EVENT_STOPPED;
		say(t, a, T0);
		if (random() % 500 == 0)
			table_begin_round(t);
		if (random() % 20 == 0 && table_take(t, &p))
			disk_write(d, &p);
		if (i % 2000)
			continue;
		do {
			while (table_take(t, &p))
				disk_write(d, &p);
			table_begin_round(t);
		} while (table_is_dirty(t));
		table_check(t);
		disk_check(d, t);
	}
	free(d);
	table_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_changed_is_taken_once),
		cmocka_unit_test(test_one_of_a_big_swarm_costs_two_rows),
		cmocka_unit_test(test_a_round_ends_while_peers_come),
		cmocka_unit_test(test_what_is_forgotten_goes_from_disk),
		cmocka_unit_test(test_a_count_that_is_forgotten_goes_from_disk),
		cmocka_unit_test(test_rounds_give_the_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
