/* SPDX-License-Identifier: MIT */
/* The info dictionary of a magnet link, put together from peers that may lie. */
#include "swarm/metadata.h"

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

/* Asks the peer for all that it is asked for, and answers; the last answer's result. */
static int serve(struct metadata *m, uint32_t peer, bool lie)
{
	uint32_t piece;
	int r = 0;
	while (r == 0 && metadata_next(m, peer, 0, &piece))
		r = give(m, peer, piece, lie);
	return r;
}

static void test_one_peer_gives_all(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t piece;
	assert_null(metadata_add(m, 1, SIZE));
	for (uint32_t i = 0; i < 3; i++) {
		assert_true(metadata_next(m, 1, 0, &piece));
		assert_int_equal(piece, i);
	}
	assert_false(metadata_next(m, 1, 0, &piece));
	assert_int_equal(give(m, 1, 2, false), 0);
	assert_int_equal(give(m, 1, 0, false), 0);
	assert_false(whole(m));
	assert_int_equal(give(m, 1, 1, false), 0);
	assert_true(whole(m));
	assert_false(metadata_next(m, 1, 0, &piece));
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
		metadata_add(m, 1, SIZE);
		assert_int_equal(serve(m, 1, false), links[i].good ? 0 : -EBADMSG);
		assert_int_equal(whole(m), links[i].good);
		metadata_free(m);
	}
}

static void test_sizes_at_their_limits(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	assert_non_null(metadata_add(m, 1, 0));
	assert_non_null(metadata_add(m, 2, TORRENT_MAX_BYTES + 1ull));
	assert_non_null(metadata_add(m, 3, UINT64_MAX));
	assert_null(metadata_add(m, 4, TORRENT_MAX_BYTES));
	assert_null(metadata_add(m, 5, 1));
	metadata_free(m);
}

static void test_a_peer_keeps_to_its_size(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	assert_null(metadata_add(m, 1, SIZE));
	assert_null(metadata_add(m, 1, SIZE));
	assert_non_null(metadata_add(m, 1, SIZE + 1));
	metadata_free(m);
}

static void test_the_size_that_most_tell(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t piece, got, all, peers;
	metadata_add(m, 1, TORRENT_MAX_BYTES);
	assert_true(metadata_next(m, 1, 0, &piece));
	metadata_add(m, 2, SIZE); /* as many: what runs goes on */
	assert_false(metadata_next(m, 2, 0, &piece));
	metadata_add(m, 3, SIZE);
	assert_false(metadata_next(m, 1, 0, &piece));
	metadata_progress(m, &got, &all, &peers);
	assert_int_equal(all, 3);
	assert_int_equal(peers, 2);
	assert_int_equal(serve(m, 3, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

static void test_another_size_once_its_peers_are_gone(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	metadata_add(m, 1, 5);
	metadata_add(m, 2, SIZE);
	metadata_remove(m, 1);
	assert_int_equal(serve(m, 2, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

static void test_a_message_that_cannot_be_right(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t piece;
	const char *why;
	metadata_add(m, 1, SIZE);
	while (metadata_next(m, 1, 0, &piece))
		;
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
	uint32_t piece, got, all, peers;
	metadata_add(m, 1, SIZE);
	metadata_add(m, 2, SIZE);
	assert_true(metadata_next(m, 1, 0, &piece));
	assert_int_equal(give(m, 1, 1, true), 0); /* another piece */
	assert_int_equal(give(m, 2, 0, true), 0); /* another's */
	assert_int_equal(give(m, 9, 0, true), 0); /* nobody's */
	assert_int_equal(give(m, 1, 0, false), 0);
	assert_int_equal(give(m, 1, 0, true), 0); /* twice */
	metadata_progress(m, &got, &all, &peers);
	assert_int_equal(got, 1);
	assert_int_equal(serve(m, 1, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

static void test_a_liar_alone_is_convicted(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t piece;
	metadata_add(m, 1, SIZE);
	assert_int_equal(serve(m, 1, true), -EBADMSG);
	assert_false(metadata_next(m, 1, 0, &piece));
	metadata_add(m, 2, SIZE);
	assert_int_equal(serve(m, 2, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

/* One of ten tells the truth: nobody is convicted of what several gave, then one after the other.
 */
static void test_liars_among_others(void **state)
{
	struct metadata *m = metadata_new(v1, v2);
	bool convicted[11] = {0};
	for (uint32_t peer = 1; peer <= 10; peer++)
		metadata_add(m, peer, SIZE);
	uint32_t piece[3];
	for (uint32_t peer = 1; peer <= 3; peer++)
		assert_true(metadata_next(m, peer, 0, &piece[peer - 1]));
	for (uint32_t peer = 1; peer <= 3; peer++)
		assert_int_equal(give(m, peer, piece[peer - 1], peer != 3), 0);
	for (unsigned round = 0; round < 20 && !whole(m); round++) {
		for (uint32_t peer = 1; peer <= 10; peer++) {
			if (!convicted[peer] && serve(m, peer, peer != 10) == -EBADMSG)
				convicted[peer] = true;
		}
	}
	assert_true(whole(m));
	assert_false(convicted[10]);
	metadata_free(m);
}

static void test_the_sole_source_goes_away(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t piece;
	metadata_add(m, 1, SIZE);
	assert_int_equal(serve(m, 1, true), -EBADMSG);
	metadata_add(m, 2, SIZE);
	metadata_add(m, 3, SIZE);
	assert_false(metadata_next(m, 3, 0, &piece));
	assert_true(metadata_next(m, 2, 0, &piece));
	assert_int_equal(give(m, 2, piece, true), 0);
	metadata_remove(m, 2); /* and with it what it gave */
	assert_int_equal(serve(m, 3, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

static void test_pieces_of_who_goes_are_asked_of_others(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t piece;
	metadata_add(m, 1, SIZE);
	metadata_add(m, 2, SIZE);
	while (metadata_next(m, 1, 0, &piece))
		;
	metadata_remove(m, 1);
	metadata_remove(m, 1);
	assert_int_equal(serve(m, 2, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

static void test_who_is_idle_is_asked_for_what_another_was(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t piece;
	metadata_add(m, 1, SIZE);
	metadata_add(m, 2, SIZE);
	metadata_add(m, 3, SIZE);
	while (metadata_next(m, 1, 0, &piece))
		;
	for (unsigned i = 0; i < 3; i++)
		assert_true(metadata_next(m, 2, 0, &piece));
	assert_false(metadata_next(m, 2, 0, &piece));
	assert_false(metadata_next(m, 3, 0, &piece)); /* two are enough */
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(give(m, 2, i, false), 0);
	assert_true(whole(m));
	metadata_free(m);
}

static void test_no_more_than_a_peer_takes(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t piece, n = 0;
	metadata_add(m, 1, 100 * METADATA_PIECE);
	while (metadata_next(m, 1, 0, &piece))
		n++;
	assert_int_equal(n, METADATA_ASKS);
	metadata_free(m);
}

static void test_who_is_silent_is_overdue(void **state)
{
	struct metadata *m = metadata_new(v1, NULL);
	uint32_t piece;
	metadata_add(m, 1, SIZE);
	assert_int_equal(metadata_overdue(m, 10 * PATIENCE), 0); /* not asked */
	assert_true(metadata_next(m, 1, 5, &piece));
	assert_true(metadata_next(m, 1, 7, &piece));
	assert_int_equal(metadata_overdue(m, 5 + PATIENCE - 1), 0);
	assert_int_equal(metadata_overdue(m, 5 + PATIENCE), 1);
	const char *why;
	const struct ext_metadata d = {
		.total_size = SIZE, .data = info, .data_len = METADATA_PIECE};
	assert_int_equal(metadata_take(m, 1, &d, 100, &why), 0);
	assert_int_equal(metadata_overdue(m, 100 + PATIENCE - 1), 0);
	assert_int_equal(metadata_overdue(m, 100 + PATIENCE), 1);
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
		struct buf b = {0}, layers = {0};
		struct metainfo *m;
		const char *no;
		char *why = NULL;
		assert_int_equal(magnet_parse(uris[i], &link, &no), 0);
		metadata_write(&b, &link, (const uint8_t *)text, strlen(text), &layers);
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
		cmocka_unit_test(test_the_size_that_most_tell),
		cmocka_unit_test(test_another_size_once_its_peers_are_gone),
		cmocka_unit_test(test_a_message_that_cannot_be_right),
		cmocka_unit_test(test_what_was_not_asked_for_is_passed_over),
		cmocka_unit_test(test_a_liar_alone_is_convicted),
		cmocka_unit_test(test_liars_among_others),
		cmocka_unit_test(test_the_sole_source_goes_away),
		cmocka_unit_test(test_pieces_of_who_goes_are_asked_of_others),
		cmocka_unit_test(test_who_is_idle_is_asked_for_what_another_was),
		cmocka_unit_test(test_no_more_than_a_peer_takes),
		cmocka_unit_test(test_who_is_silent_is_overdue),
		cmocka_unit_test(test_the_torrent_of_a_link),
	};
	return cmocka_run_group_tests(tests, make_info, NULL);
}
