/* SPDX-License-Identifier: MIT */
/* The info dictionary of a magnet link, put together from peers that may lie. */
#include "swarm/metadata.h"

#include "base/addr.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/ext.h"
#include "swarm/magnet.h"
#include "swarm/metainfo.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SIZE (2 * METADATA_PIECE + 100) /* three pieces */
#define PATIENCE (METADATA_PATIENCE_MS * US_PER_MS)

static uint8_t info[SIZE], v1[SHA1_LEN], v2[SHA256_LEN];

static int make_info(void **state)
{
	for (size_t i = 0; i < SIZE; i++)
		info[i] = (uint8_t)(i * 7 + i / 256);
	sha1(info, SIZE, v1);
	sha256(info, SIZE, v2);
	return 0;
}

/* Every peer has a host of its own but those of the hundreds: 100 to 199 have one. */
static const char *add(struct metadata *m, uint32_t peer, uint64_t size)
{
	const struct addr host = {
		.ip = {[15] = (uint8_t)(peer < 100 ? peer : peer / 100 + 100)},
		.port = (uint16_t)peer,
	};
	return metadata_add(m, peer, &host, size);
}

static bool asked[300][3]; /* by peer and piece */

/* Notes all that is asked for; gives how much. */
static unsigned ask(struct metadata *m, uint64_t now)
{
	uint32_t peer, piece;
	unsigned n = 0;
	memset(asked, 0, sizeof(asked));
	while (metadata_next(m, now, &peer, &piece)) {
		n++;
		if (piece < 3)
			asked[peer][piece] = true;
	}
	return n;
}

static bool is_tried(uint32_t peer)
{
	return asked[peer][0];
}

/* What `peer` gives for a piece: right, or (lie) not. */
static int give_sized(struct metadata *m, uint32_t peer, uint32_t piece, bool lie, uint64_t size)
{
	uint8_t data[METADATA_PIECE];
	size_t at = (size_t)piece * METADATA_PIECE, len = MIN(SIZE - at, (size_t)METADATA_PIECE);
	const char *why = NULL;
	memcpy(data, info + at, len);
	data[5] ^= lie;
	const struct ext_metadata d = {
		.type = EXT_METADATA_DATA,
		.piece = piece,
		.total_size = size,
		.data = data,
		.data_len = len,
	};
	int r = metadata_take(m, peer, &d, 0, &why);
	assert_int_equal(r < 0, why != NULL);
	return r;
}

static int give(struct metadata *m, uint32_t peer, uint32_t piece, bool lie)
{
	return give_sized(m, peer, piece, lie, SIZE);
}

static bool whole(const struct metadata *m)
{
	size_t len = 0;
	const uint8_t *got = metadata_whole(m, &len);
	if (!got)
		return false;
	assert_int_equal(len, SIZE);
	assert_memory_equal(got, info, SIZE);
	return true;
}

/* All three pieces, of whom they were asked; the last answer's result. */
static int serve(struct metadata *m, uint32_t peer, bool lie)
{
	for (uint32_t piece = 0; piece < 2; piece++)
		assert_int_equal(give(m, peer, piece, lie), 0);
	return give(m, peer, 2, lie);
}

static uint32_t overdue(const struct metadata *m, bool others, uint64_t now)
{
	const char *why = NULL;
	uint32_t peer = metadata_overdue(m, others, now, &why);
	assert_int_equal(peer != 0, why != NULL);
	return peer;
}

static void test_one_peer_gives_all(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t peer, piece;
	assert_null(add(m, 1, SIZE));
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(metadata_next(m, 0, &peer, &piece));
		assert_int_equal(peer, 1);
		assert_int_equal(piece, i);
	}
	assert_false(metadata_next(m, 0, &peer, &piece));
	assert_int_equal(give(m, 1, 2, false), 0);
	assert_int_equal(give(m, 1, 0, false), 0);
	assert_false(whole(m));
	assert_int_equal(give(m, 1, 1, false), 0);
	assert_true(whole(m));
	assert_null(add(m, 2, SIZE));
	assert_false(metadata_next(m, 0, &peer, &piece));
	assert_int_equal(overdue(m, true, 100 * PATIENCE), 0);
	metadata_free(m);
}

static void test_each_hash_of_the_link_counts(void **state)
{
	const uint8_t other[SHA256_LEN] = {1};
	const struct {
		const uint8_t *v1, *v2;
		bool good;
	} links[] = {{v1, NULL, true}, {NULL, v2, true}, {v1, v2, true}, {v1, other, false},
		{other, v2, false}, {NULL, other, false}, {other, NULL, false}};
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		struct metadata *m = metadata_new(links[i].v1, links[i].v2);
		add(m, 1, SIZE);
		ask(m, 0);
		assert_int_equal(serve(m, 1, false), links[i].good ? 0 : -EBADMSG);
		assert_int_equal(whole(m), links[i].good);
		metadata_free(m);
	}
}

static void test_sizes_at_their_limits(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	assert_non_null(add(m, 1, 0));
	assert_non_null(add(m, 2, TORRENT_MAX_BYTES + 1ull));
	assert_non_null(add(m, 3, UINT64_MAX));
	assert_null(add(m, 4, TORRENT_MAX_BYTES));
	assert_null(add(m, 5, 1));
	metadata_free(m);
}

static void test_a_peer_keeps_to_its_size(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	assert_null(add(m, 1, SIZE));
	assert_null(add(m, 1, SIZE));
	assert_non_null(add(m, 1, SIZE + 1));
	metadata_free(m);
}

/* However many say another one: they are no votes. */
static void test_a_wrong_size_costs_the_others_nothing(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	for (uint32_t peer = 1; peer < METADATA_TRIES; peer++)
		add(m, peer, SIZE * 7);
	add(m, 9, SIZE);
	ask(m, 0);
	assert_true(is_tried(1));
	assert_int_equal(serve(m, 9, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

static void test_a_host_has_one_try_at_once(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	for (uint32_t peer = 100; peer < 110; peer++)
		add(m, peer, SIZE);
	add(m, 1, SIZE);
	ask(m, 0);
	assert_true(is_tried(100));
	assert_true(is_tried(1));
	assert_false(is_tried(101));
	assert_int_equal(serve(m, 100, true), -EBADMSG);
	ask(m, 0);
	assert_true(is_tried(101));
	assert_false(is_tried(102));
	metadata_free(m);
}

static void test_tries_at_once_have_a_limit(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t got, all, peers;
	for (uint32_t peer = 1; peer <= METADATA_TRIES + 2; peer++)
		add(m, peer, SIZE);
	assert_int_equal(ask(m, 0), 3 * METADATA_TRIES);
	metadata_progress(m, &got, &all, &peers);
	assert_int_equal(peers, METADATA_TRIES);
	metadata_remove(m, 2);
	ask(m, 0);
	assert_true(is_tried(METADATA_TRIES + 1));
	assert_false(is_tried(METADATA_TRIES + 2));
	metadata_free(m);
}

/* One after the other where they are large; who waits for room is not passed by the small ones. */
static void test_tries_at_once_have_a_limit_of_bytes(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	add(m, 1, TORRENT_MAX_BYTES - SIZE);
	add(m, 2, SIZE);
	add(m, 3, 2);
	add(m, 4, 1);
	ask(m, 0);
	assert_true(is_tried(1) && is_tried(2));
	assert_false(is_tried(3) || is_tried(4));
	assert_int_equal(serve(m, 2, true), -EBADMSG);
	ask(m, 0);
	assert_true(is_tried(3) && is_tried(4));
	metadata_remove(m, 3);
	add(m, 5, TORRENT_MAX_BYTES);
	add(m, 6, SIZE);
	ask(m, 0);
	assert_false(is_tried(5) || is_tried(6));
	metadata_remove(m, 1);
	ask(m, 0);
	assert_false(is_tried(5) || is_tried(6));
	metadata_remove(m, 4);
	ask(m, 0);
	assert_true(is_tried(5));
	metadata_remove(m, 5);
	ask(m, 0);
	assert_int_equal(serve(m, 6, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

static void test_a_message_that_cannot_be_right(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	const char *why;
	add(m, 1, SIZE);
	ask(m, 0);
	assert_int_equal(give_sized(m, 1, 0, false, SIZE + 1), -EINVAL);
	struct ext_metadata d = {.piece = 2, .total_size = SIZE, .data = info, .data_len = 99};
	assert_int_equal(metadata_take(m, 1, &d, 0, &why), -EINVAL);
	d.data_len = 101;
	assert_int_equal(metadata_take(m, 1, &d, 0, &why), -EINVAL);
	d.data_len = METADATA_PIECE;
	d.piece = 3;
	assert_int_equal(metadata_take(m, 1, &d, 0, &why), 0);
	d.piece = UINT32_MAX;
	assert_int_equal(metadata_take(m, 1, &d, 0, &why), 0);
	metadata_free(m);
}

static void test_what_was_not_asked_for_is_passed_over(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t peer, piece, got, all, peers;
	add(m, 100, SIZE);
	add(m, 101, SIZE);
	assert_true(metadata_next(m, 0, &peer, &piece));
	assert_int_equal(give(m, 100, 1, true), 0); /* another piece */
	assert_int_equal(give(m, 101, 0, true), 0); /* one who waits */
	assert_int_equal(give(m, 9, 0, true), 0); /* nobody */
	assert_int_equal(give(m, 100, 0, false), 0);
	assert_int_equal(give(m, 100, 0, true), 0); /* twice */
	metadata_progress(m, &got, &all, &peers);
	assert_int_equal(got, 1);
	assert_int_equal(all, 3);
	assert_int_equal(peers, 1);
	ask(m, 0);
	assert_int_equal(give(m, 100, 1, false), 0);
	assert_int_equal(give(m, 100, 2, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

/* And it is that one: nothing of it is in what others gave. */
static void test_a_liar_is_convicted(void **state)
{
	struct metadata *m = metadata_new(v1, v2);
	for (uint32_t peer = 1; peer <= 3; peer++)
		add(m, peer, SIZE);
	ask(m, 0);
	for (uint32_t piece = 0; piece < 2; piece++) {
		for (uint32_t peer = 1; peer <= 3; peer++)
			assert_int_equal(give(m, peer, piece, peer != 3), 0);
	}
	assert_int_equal(give(m, 1, 2, false), -EBADMSG);
	assert_int_equal(give(m, 1, 2, false), 0);
	assert_int_equal(give(m, 2, 2, true), -EBADMSG);
	assert_false(whole(m));
	assert_int_equal(give(m, 3, 2, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

/* What it gave went with it. */
static void test_one_who_comes_again_begins_anew(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	add(m, 1, SIZE);
	ask(m, 0);
	assert_int_equal(give(m, 1, 0, true), 0);
	metadata_remove(m, 1);
	metadata_remove(m, 1);
	assert_int_equal(ask(m, 0), 0);
	add(m, 1, SIZE);
	assert_int_equal(ask(m, 0), 3);
	assert_int_equal(serve(m, 1, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

static void test_no_more_than_a_peer_takes(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	add(m, 1, 100 * METADATA_PIECE);
	assert_int_equal(ask(m, 0), METADATA_ASKS);
	assert_int_equal(ask(m, 0), 0);
	metadata_free(m);
}

static void take_first(
	struct metadata *m, uint32_t peer, uint32_t piece, uint64_t size, uint64_t now)
{
	const char *why;
	const struct ext_metadata d = {
		.piece = piece, .total_size = size, .data = info, .data_len = METADATA_PIECE};
	assert_int_equal(metadata_take(m, peer, &d, now, &why), 0);
}

static void test_who_is_silent_is_overdue(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	add(m, 1, SIZE);
	assert_int_equal(overdue(m, true, 10 * PATIENCE), 0); /* not asked */
	ask(m, 5);
	assert_int_equal(overdue(m, true, 5 + PATIENCE - 1), 0);
	assert_int_equal(overdue(m, false, 5 + PATIENCE), 1);
	take_first(m, 1, 0, SIZE, 100);
	assert_int_equal(overdue(m, true, 100 + PATIENCE - 1), 0);
	assert_int_equal(overdue(m, false, 100 + PATIENCE), 1);
	metadata_free(m);
}

#define LONG (100ull * METADATA_PIECE) /* a piece now and then, and it takes its time */
#define TRY (METADATA_TRY_MS * US_PER_MS)

/* Gives pieces from `since` to `until`, each just before it would be overdue. */
static void give_slowly(struct metadata *m, uint32_t peer, uint64_t since, uint64_t until)
{
	uint32_t piece = 0;
	for (uint64_t now = since; now < until; now += PATIENCE - 1) {
		take_first(m, peer, piece++, LONG, now);
		ask(m, now);
		assert_int_equal(overdue(m, true, MIN(now + PATIENCE - 2, until - 2)), 0);
	}
	take_first(m, peer, piece, LONG, until);
}

static void test_who_is_slow_makes_room_where_others_wait(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	const uint64_t begin = 1000;
	add(m, 100, LONG);
	ask(m, begin);
	give_slowly(m, 100, begin, begin + TRY);
	assert_int_equal(overdue(m, false, begin + TRY), 0); /* nobody waits */
	assert_int_equal(overdue(m, true, begin + TRY), 100); /* but not in here */
	add(m, 101, LONG);
	assert_int_equal(overdue(m, false, begin + TRY), 100);
	metadata_remove(m, 100);
	/* A later one has longer: where all are slow, one will do. */
	ask(m, begin + TRY);
	give_slowly(m, 101, begin + TRY, begin + 2 * TRY);
	assert_int_equal(overdue(m, true, begin + 2 * TRY), 101);
	metadata_remove(m, 101);
	add(m, 102, LONG);
	ask(m, begin + 2 * TRY);
	give_slowly(m, 102, begin + 2 * TRY, begin + 4 * TRY);
	assert_int_equal(overdue(m, true, begin + 4 * TRY), 102);
	metadata_free(m);
}

/* -- the .torrent ----------------------------------------------------------------------------- */

static void test_the_torrent_of_a_link(void **state)
{
	static const char text[] = "d6:lengthi1e4:name1:a12:piece lengthi16384e6:pieces20:"
				   "aaaaaaaaaaaaaaaaaaaae";
	static const char *const uris[] = {
		"magnet:?xt=urn:btih:0123456789012345678901234567890123456789",
		"magnet:?xt=urn:btih:0123456789012345678901234567890123456789&tr=http://a/"
		"&tr=http://b/"
		"&ws=http://c/&ws=http://d/",
	};
	for (size_t i = 0; i < ARRAY_SIZE(uris); i++) {
		struct magnet link;
		struct buf b = {0};
		struct metainfo *m;
		const char *no;
		char *why = NULL;
		assert_int_equal(magnet_parse(uris[i], &link, &no), 0);
		metadata_write(&b, &link, (const uint8_t *)text, strlen(text));
		assert_int_equal(metainfo_parse(buf_bytes(&b), b.len, &m, &why), 0);
		assert_int_equal(m->info_len, strlen(text));
		assert_memory_equal(m->info, text, strlen(text));
		if (i) {
			assert_string_equal(m->tiers[0][0], "http://a/");
			assert_null(m->tiers[0][1]);
			assert_string_equal(m->tiers[1][0], "http://b/");
			assert_string_equal(m->web_seeds[1], "http://d/");
		}
		assert_null(m->tiers[2 * i]);
		assert_null(m->web_seeds[2 * i]);
		metainfo_free(m);
		magnet_done(&link);
		buf_done(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_peer_gives_all),
		cmocka_unit_test(test_each_hash_of_the_link_counts),
		cmocka_unit_test(test_sizes_at_their_limits),
		cmocka_unit_test(test_a_peer_keeps_to_its_size),
		cmocka_unit_test(test_a_wrong_size_costs_the_others_nothing),
		cmocka_unit_test(test_a_host_has_one_try_at_once),
		cmocka_unit_test(test_tries_at_once_have_a_limit),
		cmocka_unit_test(test_tries_at_once_have_a_limit_of_bytes),
		cmocka_unit_test(test_a_message_that_cannot_be_right),
		cmocka_unit_test(test_what_was_not_asked_for_is_passed_over),
		cmocka_unit_test(test_a_liar_is_convicted),
		cmocka_unit_test(test_one_who_comes_again_begins_anew),
		cmocka_unit_test(test_no_more_than_a_peer_takes),
		cmocka_unit_test(test_who_is_silent_is_overdue),
		cmocka_unit_test(test_who_is_slow_makes_room_where_others_wait),
		cmocka_unit_test(test_the_torrent_of_a_link),
	};
	return cmocka_run_group_tests(tests, make_info, NULL);
}
