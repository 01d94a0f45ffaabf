/* SPDX-License-Identifier: MIT */
/* The operator's files, limits per address, intervals, rows of the state, records of a cluster. */
#include "tracker/cluster_record.h"
#include "tracker/throttle.h"
#include "tracker/lists.h"
#include "tracker/pace.h"
#include "tracker/state_row.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define T0 1000000u

static char dir[] = "/tmp/test_tracker_rules.XXXXXX";

static int make_dir(void **state)
{
	strcpy(dir + sizeof(dir) - 7, "XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	CLEANUP_FREE char *command = xasprintf("rm -r %s", dir);
	return system(command);
}

/* A file in the folder of the test; the caller frees its path. */
static char *file(const char *name, const void *data, size_t len)
{
	char *path = xasprintf("%s/%s", dir, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	return path;
}

static struct addr addr(const char *text)
{
	struct addr a;
	assert_int_equal(addr_parse(text, 1, &a), 0);
	return a;
}

static struct lists *load(const struct lists_paths *paths)
{
	struct lists *l;
	CLEANUP_FREE char *error = NULL;
	if (lists_load(paths, &l, &error) < 0)
		fail_msg("%s", error);
	return l;
}

static void refused(const struct lists_paths *paths, const char *what)
{
	struct lists *l;
	CLEANUP_FREE char *error = NULL;
	assert_true(lists_load(paths, &l, &error) < 0);
	if (!strstr(error, what))
		fail_msg("\"%s\" does not say \"%s\"", error, what);
}

/* -- lists ------------------------------------------------------------------------------------ */

static void test_hashes_from_a_file(void **state)
{
	static const char text[] = "# ours\n\n 0123456789abcdef0123456789ABCDEF01234567  # one\r\n"
		"ffffffffffffffffffffffffffffffffffffffff000000000000000000000000\n";
	CLEANUP_FREE char *path = file("allow", text, sizeof(text) - 1);
	struct lists *l = load(&(struct lists_paths) {.allow = path});
	uint8_t hash[HASH_LEN];
	hex_decode("0123456789abcdef0123456789abcdef01234567", hash, HASH_LEN);
	assert_true(lists_allows(l, hash));
	hash[19] ^= 1;
	assert_false(lists_allows(l, hash));
	memset(hash, 0xff, HASH_LEN); /* a v2 hash counts by its first 20 bytes */
	assert_true(lists_allows(l, hash));
	lists_free(l);
}

static void test_an_empty_list_allows_nothing_and_none_everything(void **state)
{
	uint8_t hash[HASH_LEN] = {0};
	CLEANUP_FREE char *path = file("allow", "", 0);
	struct lists *l = load(&(struct lists_paths) {.allow = path});
	assert_false(lists_allows(l, hash));
	lists_free(l);
	l = load(&(struct lists_paths) {0});
	assert_true(lists_allows(l, hash));
	assert_false(lists_needs_key(l));
	lists_free(l);
}

static void test_a_bad_line_is_named(void **state)
{
	static const char text[] = "0123456789abcdef0123456789abcdef01234567\nnonsense\n";
	CLEANUP_FREE char *path = file("allow", text, sizeof(text) - 1);
	refused(&(struct lists_paths) {.allow = path}, "allow: line 2: nonsense: not an info-hash");
	refused(&(struct lists_paths) {.allow = "/nowhere"}, "/nowhere: No such file");
	CLEANUP_FREE char *binary = file("binary", "\0\1", 2);
	refused(&(struct lists_paths) {.sites = binary}, "not a text file");
}

static void test_torrents_of_a_folder(void **state)
{
	static const char v1[] = "d4:infod6:lengthi1e4:name1:a12:piece lengthi16384e"
		"6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
	static const char hybrid[] = "d4:infod9:file treed1:ad0:d6:lengthi1eeee6:lengthi1e"
		"12:meta versioni2e4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
	CLEANUP_FREE char *a = file("a.torrent", v1, sizeof(v1) - 1);
	CLEANUP_FREE char *b = file("b.torrent", hybrid, sizeof(hybrid) - 1);
	CLEANUP_FREE char *c = file("c.torrent", "junk", 4);
	CLEANUP_FREE char *d = file("d.txt", "junk", 4);
	CLEANUP_FREE char *pipe = xasprintf("%s/pipe.torrent", dir); /* nobody writes to it */
	assert_int_equal(mkfifo(pipe, 0600), 0);
	struct lists *l = load(&(struct lists_paths) {.allow = dir});
	struct lists_counts n;
	lists_counts(l, &n);
	assert_int_equal(n.torrents, 3);
	uint8_t hash[SHA256_LEN];
	sha1(v1 + 7, sizeof(v1) - 1 - 8, hash);
	assert_true(lists_allows(l, hash));
	sha256(hybrid + 7, sizeof(hybrid) - 1 - 8, hash);
	assert_true(lists_allows(l, hash));
	lists_free(l);
}

static void test_the_fingerprint_sees_a_change(void **state)
{
	CLEANUP_FREE char *path = file("allow", "#1\n", 3);
	struct lists_paths file_paths = {.allow = path}, dir_paths = {.allow = dir};
	uint64_t before = lists_fingerprint(&file_paths), dir_before = lists_fingerprint(&dir_paths);
	assert_true(lists_fingerprint(&file_paths) == before);
	free(file("allow", "#12\n", 4));
	assert_true(lists_fingerprint(&file_paths) != before);
	free(file("x.torrent", "x", 1));
	assert_true(lists_fingerprint(&dir_paths) != dir_before);
}

static void test_passkeys(void **state)
{
	static const char text[] = "abcdefgh alice\nABC-DEF_123456789\n";
	CLEANUP_FREE char *path = file("keys", text, sizeof(text) - 1);
	struct lists *l = load(&(struct lists_paths) {.passkeys = path});
	assert_true(lists_needs_key(l));
	assert_true(lists_knows_key(l, (struct text) {"abcdefgh", 8}));
	assert_true(lists_knows_key(l, (struct text) {"ABC-DEF_123456789", 17}));
	assert_false(lists_knows_key(l, (struct text) {"abcdefg", 7}));
	assert_false(lists_knows_key(l, (struct text) {"alice", 5}));
	assert_false(lists_knows_key(l, (struct text) {"", 0}));
	lists_free(l);
	free(file("keys", "short\n", 6));
	refused(&(struct lists_paths) {.passkeys = path}, "line 1: *: not a passkey");
}

static void test_the_longest_network_counts(void **state)
{
	static const char text[] = "10.0.0.0/8 company\n10.1.0.0/16 berlin\n10.1.2.3 desk\n"
		"2001:db8::/32 company\n2001:db8:1::/48 berlin\n";
	CLEANUP_FREE char *path = file("sites", text, sizeof(text) - 1);
	struct lists *l = load(&(struct lists_paths) {.sites = path});
	struct addr far = addr("10.200.0.1"), berlin = addr("10.1.9.9"), desk = addr("10.1.2.3");
	struct addr far6 = addr("[2001:db8:2::1]"), berlin6 = addr("[2001:db8:1::1]");
	struct addr none = addr("192.0.2.1"), none6 = addr("[2001:db9::1]");
	assert_int_not_equal(lists_site(l, &far), 0);
	assert_int_equal(lists_site(l, &far), lists_site(l, &far6));
	assert_int_equal(lists_site(l, &berlin), lists_site(l, &berlin6));
	assert_int_not_equal(lists_site(l, &berlin), lists_site(l, &far));
	assert_int_not_equal(lists_site(l, &desk), lists_site(l, &berlin));
	assert_int_equal(lists_site(l, &none), 0);
	assert_int_equal(lists_site(l, &none6), 0);
	lists_free(l);
	free(file("sites", "10.0.0.0/33 x\n", 14));
	refused(&(struct lists_paths) {.sites = path}, "line 1");
	free(file("sites", "10.0.0.0/8\n", 11));
	refused(&(struct lists_paths) {.sites = path}, "name of its site");
	free(file("sites", "ten/8 x\n", 8));
	refused(&(struct lists_paths) {.sites = path}, "not a network");
}

/* -- limits ----------------------------------------------------------------------------------- */

static void test_a_burst_and_then_its_rate(void **state)
{
	struct throttle *l = throttle_new(2);
	struct addr a = addr("192.0.2.1:9"), same = addr("192.0.2.1:10"), b = addr("192.0.2.2");
	for (unsigned i = 0; i < 2 * THROTTLE_BURST_S; i++)
		assert_true(throttle_take(l, i % 2 ? &a : &same, T0));
	assert_false(throttle_take(l, &a, T0));
	assert_true(throttle_take(l, &b, T0));
	assert_true(throttle_take(l, &a, T0 + 1));
	assert_true(throttle_take(l, &a, T0 + 1));
	assert_false(throttle_take(l, &a, T0 + 1));
	/* A long pause gives one burst, no more. */
	for (unsigned i = 0; i < 2 * THROTTLE_BURST_S; i++)
		assert_true(throttle_take(l, &a, T0 + 100000));
	assert_false(throttle_take(l, &a, T0 + 100000));
	throttle_free(l);
}

static void test_a_network_of_ipv6_counts_as_one(void **state)
{
	struct throttle *l = throttle_new(1);
	struct addr a = addr("[2001:db8::1]"), b = addr("[2001:db8::ffff:2]");
	struct addr c = addr("[2001:db8:0:1::1]");
	for (unsigned i = 0; i < THROTTLE_BURST_S; i++)
		assert_true(throttle_take(l, i % 2 ? &a : &b, T0));
	assert_false(throttle_take(l, &a, T0));
	assert_true(throttle_take(l, &c, T0));
	throttle_free(l);
}

/* -- intervals --------------------------------------------------------------------------------- */

static uint32_t interval(struct pace_facts f)
{
	struct pace pace = {PACE_MIN_S, PACE_MAX_S};
	return pace_interval(&pace, &f, 0);
}

static void test_young_and_alone_is_seconds(void **state)
{
	assert_int_equal(interval((struct pace_facts) {.no_seed = true, .wanted = 50}), PACE_MIN_S);
	assert_int_equal(interval((struct pace_facts) {.seed = true, .wanted = 50}), PACE_SEED_MIN_S);
}

static void test_short_of_peers_stays_within_a_minute(void **state)
{
	assert_int_equal(interval((struct pace_facts) {.settled_for = 1000000, .others = 9,
		.wanted = 50}), PACE_FEW_MAX_S);
	assert_int_equal(interval((struct pace_facts) {.settled_for = 1000000, .others = 50,
		.wanted = 50, .no_seed = true}), PACE_FEW_MAX_S);
	assert_int_equal(interval((struct pace_facts) {.settled_for = 1000000, .others = 10,
		.wanted = 50}), PACE_MAX_S);
	/* Who wanted none, or few and got them, is short of nothing. */
	assert_int_equal(interval((struct pace_facts) {.settled_for = 1000000}), PACE_MAX_S);
	assert_int_equal(interval((struct pace_facts) {.settled_for = 1000000, .others = 5,
		.wanted = 5}), PACE_MAX_S);
}

static void test_a_full_list_needs_no_hurry(void **state)
{
	assert_int_equal(interval((struct pace_facts) {.others = 50, .wanted = 50}),
		PACE_ENOUGH_MIN_S);
	assert_int_equal(interval((struct pace_facts) {.others = 20, .wanted = 50}), PACE_MIN_S);
}

static void test_all_peers_together_have_a_rate(void **state)
{
	assert_int_equal(interval((struct pace_facts) {.others = 5, .wanted = 50,
		.all_peers = 200000}), 100);
	assert_int_equal(interval((struct pace_facts) {.all_peers = 1ull << 40}), PACE_MAX_S);
}

static void test_jitter_is_a_tenth_and_within_the_limits(void **state)
{
	struct pace pace = {100, 105};
	struct pace_facts f = {.others = 5, .wanted = 50};
	bool differ = false;
	for (uint64_t r = 0; r < 50; r++) {
		uint32_t i = pace_interval(&pace, &f, r);
		assert_in_range(i, 100, 105);
		differ |= i != 100;
	}
	assert_true(differ);
}

static void test_lives(void **state)
{
	struct pace pace = {5, 1800}, hasty = {2, 4};
	assert_int_equal(pace_life(&pace, 10, true), 20 + PACE_LIFE_SLACK_S);
	assert_int_equal(pace_life(&pace, 10, false), 2 * PACE_STRANGER_S + PACE_LIFE_SLACK_S);
	assert_int_equal(pace_life(&pace, 1800, false), 3600 + PACE_LIFE_SLACK_S);
	/* An operator's word is the last. */
	assert_int_equal(pace_life(&hasty, 4, false), 8 + PACE_LIFE_SLACK_S);
	assert_true(2 * PACE_LIMIT_S + PACE_LIFE_SLACK_S <= UINT16_MAX);
}

/* -- rows and records ---------------------------------------------------------------------------- */

static unsigned rows;

static void on_row(void *arg, const struct table_peer *peer)
{
	struct table *t = arg;
	assert_int_equal(table_merge(t, (const uint8_t *)"hhhhhhhhhhhhhhhhhhhh", peer, T0), 0);
	rows++;
}

static void test_rows_come_back_as_they_went(void **state)
{
	struct table_config config = {.max_torrents = 10, .max_peers = 100, .max_swarm = 100,
		.pace = {5, 1800}};
	struct table *a = table_new(&config, T0), *b = table_new(&config, T0);
	const uint8_t *hash = (const uint8_t *)"hhhhhhhhhhhhhhhhhhhh";
	const char *const addrs[] = {"192.0.2.1:1", "[2001:db8::1]:2", "192.0.2.3:3"};
	for (unsigned i = 0; i < 3; i++) {
		struct table_peer p = {.addr = addr(addrs[i]), .meta = {.life = 100, .told = 50},
			.seed = i == 2};
		memset(p.meta.id, 'a' + (int)i, PEER_ID_LEN);
		table_merge(a, hash, &p, T0);
	}
	uint8_t row[STATE_ROW_MAX], again[STATE_ROW_MAX];
	const struct swarm *w = table_find(a, hash);
	size_t len = 0;
	rows = 0;
	for (int i = 0; i < 4; i++) {
		const struct peerset *s = &w->sets[i / 2][i % 2];
		len = state_row_pack(s, i % 2, 0, row);
		assert_int_equal(len, s->n * (1 + s->addr_len + 24u));
		assert_int_equal(state_row_pack(s, i % 2, 1, row + len), 0);
		assert_int_equal(state_row_unpack(row, len, on_row, b), 0);
	}
	assert_int_equal(rows, 3);
	table_check(b);
	len = state_row_pack(&w->sets[V4][SEEDS], SEEDS, 0, row);
	assert_int_equal(state_row_pack(&table_find(b, hash)->sets[V4][SEEDS], SEEDS, 0, again), len);
	assert_memory_equal(row, again, len);
	struct table_scrape f;
	table_scrape(b, hash, T0, &f);
	assert_int_equal(f.complete, 1);
	assert_int_equal(f.incomplete, 2);
	/* Cut anywhere but between two peers, it is no row. */
	assert_int_equal(len, 31);
	for (size_t n = 1; n < len; n++)
		assert_int_equal(state_row_unpack(row, n, on_row, b), -EINVAL);
	row[0] = 8;
	assert_int_equal(state_row_unpack(row, len, on_row, b), -EINVAL);
	table_free(a);
	table_free(b);
}

static void test_records_come_back_as_they_went(void **state)
{
	CLEANUP(buf_done) struct buf b = {0};
	struct cluster_record r = {.op = CLUSTER_PEER, .seen = 12345, .peer = {.seed = true,
		.addr = addr("192.0.2.1:6881"), .meta = {.told = 30, .life = 65}}}, got;
	memset(r.hash, 'h', HASH_LEN);
	memset(r.peer.meta.id, 'i', PEER_ID_LEN);
	cluster_pack_record(&r, &b);
	assert_int_equal(b.len, CLUSTER_RECORD_LEN);
	struct cursor c = cursor_on(buf_bytes(&b), b.len);
	assert_int_equal(cluster_next(&c, &got), 1);
	assert_memory_equal(got.hash, r.hash, HASH_LEN);
	assert_true(addr_equal(&got.peer.addr, &r.peer.addr));
	assert_memory_equal(got.peer.meta.id, r.peer.meta.id, PEER_ID_LEN);
	assert_int_equal(got.peer.meta.told, 30);
	assert_int_equal(got.peer.meta.life, 65);
	assert_int_equal(got.seen, 12345);
	assert_true(got.peer.seed);
	assert_int_equal(cluster_next(&c, &got), 0);
	for (size_t n = 1; n < b.len; n++) {
		c = cursor_on(buf_bytes(&b), n);
		assert_int_equal(cluster_next(&c, &got), -EINVAL);
	}
	for (unsigned op = 0; op < 256; op++) {
		b.data[b.start] = (uint8_t)op;
		c = cursor_on(buf_bytes(&b), b.len);
		assert_int_equal(cluster_next(&c, &got), op >= 1 && op <= 3 ? 1 : -EINVAL);
	}
}

static void test_a_record_ages(void **state)
{
	struct cluster_record r = {.seen = 1000, .peer.meta.life = 60};
	assert_true(cluster_age(&r, 1020));
	assert_int_equal(r.peer.meta.life, 40);
	r = (struct cluster_record) {.seen = 1000, .peer.meta.life = 60};
	assert_false(cluster_age(&r, 1060));
	/* A clock behind the other's is no reason to forget. */
	assert_true(cluster_age(&r, 900));
	assert_int_equal(r.peer.meta.life, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_hashes_from_a_file, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_an_empty_list_allows_nothing_and_none_everything,
			make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_a_bad_line_is_named, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_torrents_of_a_folder, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_the_fingerprint_sees_a_change, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_passkeys, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_the_longest_network_counts, make_dir, remove_dir),
		cmocka_unit_test(test_a_burst_and_then_its_rate),
		cmocka_unit_test(test_a_network_of_ipv6_counts_as_one),
		cmocka_unit_test(test_young_and_alone_is_seconds),
		cmocka_unit_test(test_short_of_peers_stays_within_a_minute),
		cmocka_unit_test(test_a_full_list_needs_no_hurry),
		cmocka_unit_test(test_all_peers_together_have_a_rate),
		cmocka_unit_test(test_jitter_is_a_tenth_and_within_the_limits),
		cmocka_unit_test(test_lives),
		cmocka_unit_test(test_rows_come_back_as_they_went),
		cmocka_unit_test(test_records_come_back_as_they_went),
		cmocka_unit_test(test_a_record_ages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
