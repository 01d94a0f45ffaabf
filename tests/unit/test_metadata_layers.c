/* SPDX-License-Identifier: MIT */
/* The piece layers of a v2 torrent, put together from peers that may lie. */
#include "swarm/metadata_layers.h"

#include "base/bencode.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/metainfo.h"
#include "swarm/wire.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PIECE (4u * MERKLE_BLOCK)
#define PIECE_LAYER 2u
#define PATIENCE (METADATA_PATIENCE_MS * US_PER_MS)
#define FILES 4u
#define BIG 3 /* the file of several requests */

/* Files of 1, 2, 5 and 1100 pieces: no layer, one request each, three requests with uncles. */
static const uint32_t pieces[FILES] = {1, 2, 5, 1100};

struct fixture {
	struct metainfo_file files[FILES];
	struct metainfo meta;
	uint8_t *hashes[FILES]; /* padded to a power of two */
	struct layers *layers;
};

static int set_up(void **state)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	for (uint32_t i = 0; i < FILES; i++) {
		unsigned height = merkle_height(pieces[i]);
		f->hashes[i] = xmalloc(SHA256_LEN * ((size_t)1 << height));
		for (uint32_t k = 0; k < 1u << height; k++) {
			uint8_t *hash = f->hashes[i] + (size_t)SHA256_LEN * k;
			memcpy(hash, merkle_pad(PIECE_LAYER), SHA256_LEN);
			if (k < pieces[i])
				sha256(&(uint32_t[2]) {i, k}, 8, hash);
		}
		f->files[i] = (struct metainfo_file) {
			.length = (uint64_t)PIECE * pieces[i],
			.n_pieces = pieces[i],
		};
		merkle_root(f->hashes[i], pieces[i], PIECE_LAYER, height, f->files[i].root);
	}
	f->meta = (struct metainfo) {
		.has_v2 = true,
		.piece_length = PIECE,
		.files = f->files,
		.n_files = FILES,
		.info_len = 1000,
	};
	f->layers = layers_new(&f->meta);
	assert_non_null(f->layers);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	layers_free(f->layers);
	for (uint32_t i = 0; i < FILES; i++)
		free(f->hashes[i]);
	free(f);
	return 0;
}

static uint32_t file_of(const struct fixture *f, const struct wire_hashes *h)
{
	for (uint32_t i = 0; i < FILES; i++) {
		if (!memcmp(f->files[i].root, h->root, SHA256_LEN))
			return i;
	}
	fail_msg("a root that no file has");
	return 0;
}

/* Answers a request as BEP 52 says; `wrong`: the hash to spoil, counted over all that is sent, or
 * -1. */
static int answer(struct fixture *f, uint32_t peer, struct wire_hashes h, int wrong)
{
	uint8_t hashes[SHA256_LEN * (HASHES_MAX_LENGTH + MERKLE_LAYERS)];
	uint32_t i = file_of(f, &h);
	unsigned height = merkle_height(pieces[i]), layer = merkle_height(h.length);
	assert_int_equal(h.base_layer, PIECE_LAYER);
	assert_true(h.length >= 2 && h.length <= HASHES_MAX_LENGTH);
	assert_int_equal(h.index % h.length, 0);
	assert_true(h.index + h.length <= 1u << height);
	/* libtorrent refuses a request for proofs as high as the root. */
	assert_int_equal(h.proof_layers, height - 1);
	memcpy(hashes, f->hashes[i] + (size_t)SHA256_LEN * h.index, (size_t)SHA256_LEN * h.length);
	h.n_hashes = h.length;
	for (uint32_t at = h.index / h.length; layer < height; layer++, at /= 2) {
		const uint8_t *below = f->hashes[i] + (size_t)SHA256_LEN * ((at ^ 1u) << layer);
		merkle_root(below, (size_t)1 << layer, PIECE_LAYER, layer,
			hashes + (size_t)SHA256_LEN * h.n_hashes++);
	}
	if (wrong >= 0)
		hashes[SHA256_LEN * (size_t)wrong] ^= 1;
	h.hashes = hashes;
	return layers_take(f->layers, peer, &h, 0);
}

/* Asks one peer for everything. */
static void serve(struct fixture *f, uint32_t peer)
{
	struct wire_hashes h;
	while (layers_next(f->layers, peer, 0, &h))
		assert_int_equal(answer(f, peer, h, -1), 0);
}

static uint32_t overdue(const struct fixture *f, bool others, uint64_t now)
{
	const char *why = NULL;
	uint32_t peer = layers_overdue(f->layers, others, now, &why);
	assert_int_equal(peer != 0, why != NULL);
	return peer;
}

static void check_whole(const struct fixture *f)
{
	struct buf b = {0};
	struct ben_doc *doc;
	const char *why;
	size_t at, n = 0;
	assert_true(layers_whole(f->layers));
	layers_write(f->layers, "de", 2, &b);
	assert_int_equal(ben_parse(buf_bytes(&b), b.len, 100, &doc, &why, &at), 0);
	assert_true(ben_canonical(doc));
	assert_int_equal(ben_count(ben_root(doc)), 1);
	struct ben dict = ben_get(ben_root(doc), "piece layers");
	for (struct ben_iter i = ben_iter(dict); ben_next(&i); n++) {
		size_t len;
		const uint8_t *got = ben_bytes(i.value, &len);
		struct wire_hashes h = {.root = i.key};
		uint32_t file = file_of(f, &h);
		assert_int_equal(len, SHA256_LEN * pieces[file]);
		assert_memory_equal(got, f->hashes[file], len);
	}
	assert_int_equal(n, 3);
	ben_free(doc);
	buf_done(&b);
}

static void test_one_peer_gives_all(void **state)
{
	struct fixture *f = *state;
	layers_add(f->layers, 1);
	assert_false(layers_whole(f->layers));
	serve(f, 1);
	check_whole(f);
}

static void test_several_peers(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h;
	for (uint32_t peer = 1; peer <= 3; peer++)
		layers_add(f->layers, peer);
	for (uint32_t peer = 1; !layers_whole(f->layers); peer = peer % 3 + 1) {
		if (layers_next(f->layers, peer, 0, &h))
			assert_int_equal(answer(f, peer, h, -1), 0);
	}
	check_whole(f);
}

static void test_nothing_to_fetch(void **state)
{
	struct metainfo_file one = {.length = 5, .n_pieces = 1};
	struct metainfo small = {
		.has_v2 = true, .piece_length = PIECE, .files = &one, .n_files = 1};
	struct metainfo old = {.has_v1 = true, .piece_length = PIECE, .files = &one, .n_files = 1};
	const struct metainfo *const all[] = {&small, &old};
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		struct layers *l = layers_new(all[i]);
		struct buf b = {0};
		assert_true(layers_whole(l));
		layers_write(l, "de", 2, &b);
		assert_int_equal(b.len, 2);
		buf_done(&b);
		layers_free(l);
	}
}

static void test_more_than_a_torrent_may_hold(void **state)
{
	uint32_t most = TORRENT_MAX_BYTES / SHA256_LEN;
	struct metainfo_file file = {.length = (uint64_t)PIECE * most, .n_pieces = most};
	struct metainfo m = {.has_v2 = true, .piece_length = PIECE, .files = &file, .n_files = 1};
	struct layers *l = layers_new(&m);
	assert_non_null(l);
	layers_free(l);
	m.info_len = 1;
	assert_null(layers_new(&m));
}

static void test_files_with_the_same_root(void **state)
{
	struct fixture *f = *state;
	struct metainfo_file twins[2] = {f->files[2], f->files[2]};
	struct metainfo m = {.has_v2 = true, .piece_length = PIECE, .files = twins, .n_files = 2};
	struct layers *l = layers_new(&m);
	uint32_t got, all, peers;
	layers_progress(l, &got, &all, &peers);
	assert_int_equal(all, 1);
	layers_free(l);
}

static void test_every_wrong_hash_is_seen(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h;
	layers_add(f->layers, 1);
	do {
		assert_true(layers_next(f->layers, 1, 0, &h));
		if (file_of(f, &h) != BIG)
			assert_int_equal(answer(f, 1, h, -1), 0);
	} while (file_of(f, &h) != BIG);
	/* 512 hashes and two uncles. */
	for (int wrong = 0; wrong < 512 + 2; wrong++)
		assert_int_equal(answer(f, 1, h, wrong), -EBADMSG);
	assert_int_equal(answer(f, 1, h, -1), 0);
	serve(f, 1);
	check_whole(f);
}

static void test_too_few_hashes(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h;
	layers_add(f->layers, 1);
	do
		assert_true(layers_next(f->layers, 1, 0, &h));
	while (file_of(f, &h) != BIG);
	h.hashes = f->hashes[BIG] + (size_t)SHA256_LEN * h.index;
	for (h.n_hashes = 0; h.n_hashes < 512 + 2; h.n_hashes++)
		assert_int_equal(layers_take(f->layers, 1, &h, 0), -EBADMSG);
}

static void test_what_was_not_asked_for_is_passed_over(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h, other;
	const uint8_t nobody[SHA256_LEN] = {0};
	uint32_t got, all, peers;
	layers_add(f->layers, 1);
	layers_add(f->layers, 2);
	assert_true(layers_next(f->layers, 1, 0, &h));
	assert_int_equal(answer(f, 2, h, -1), 0);
	assert_int_equal(answer(f, 3, h, -1), 0);
	h.hashes = nobody;
	for (unsigned i = 0; i < 6; i++) {
		other = h;
		if (i == 0)
			other.root = nobody;
		else if (i == 1)
			other.base_layer = 0;
		else if (i == 2)
			other.index = UINT32_MAX - other.length + 1;
		else if (i == 3)
			other.length *= 2;
		else if (i == 4)
			other.index += 1;
		else
			other.length = 0; /* no request has it; must not divide by it */
		assert_int_equal(layers_take(f->layers, 1, &other, 0), 0);
		layers_on_reject(f->layers, 1, &other, 0);
	}
	layers_progress(f->layers, &got, &all, &peers);
	assert_int_equal(got, 0);
	assert_int_equal(all, 5);
	assert_int_equal(answer(f, 1, h, -1), 0);
	assert_int_equal(answer(f, 1, h, 0), 0); /* twice */
	serve(f, 1);
	check_whole(f);
}

static void test_who_refuses_is_left_alone_for_a_while(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h;
	uint64_t now = 1000, waited = 0;
	layers_add(f->layers, 1);
	for (unsigned i = 0; i < 8; i++) {
		assert_true(layers_next(f->layers, 1, now, &h));
		layers_on_reject(f->layers, 1, &h, now);
		assert_false(layers_next(f->layers, 1, now, &h));
		uint64_t wait = 1;
		while (!layers_next(f->layers, 1, now + wait, &h))
			wait *= 2;
		layers_on_reject(f->layers, 1, &h, now);
		assert_true(wait >= waited);
		waited = wait;
		now += wait;
	}
	assert_true(waited > US_PER_S && waited <= 10 * US_PER_S);
	/* Others are asked meanwhile. */
	layers_add(f->layers, 2);
	serve(f, 2);
	check_whole(f);
}

static void test_ranges_of_who_goes_are_asked_of_others(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h;
	layers_add(f->layers, 1);
	while (layers_next(f->layers, 1, 0, &h))
		;
	layers_remove(f->layers, 1);
	layers_remove(f->layers, 1);
	layers_add(f->layers, 2);
	serve(f, 2);
	check_whole(f);
}

static void test_who_is_idle_is_asked_for_what_another_was(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h;
	layers_add(f->layers, 1);
	while (layers_next(f->layers, 1, 0, &h))
		;
	layers_add(f->layers, 2);
	serve(f, 2);
	check_whole(f);
	assert_int_equal(overdue(f, true, 2 * PATIENCE), 0);
}

static void test_who_is_silent_is_overdue(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h;
	layers_add(f->layers, 1);
	assert_int_equal(overdue(f, false, 2 * PATIENCE), 0);
	assert_true(layers_next(f->layers, 1, 5, &h));
	assert_int_equal(overdue(f, true, 5 + PATIENCE - 1), 0);
	assert_int_equal(overdue(f, false, 5 + PATIENCE), 1);
}

/* It may have them yet, but not in the place of one who has. */
static void test_who_refuses_makes_room_for_others(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h;
	uint64_t now = 5;
	layers_add(f->layers, 1);
	for (; now < 5 + PATIENCE; now += US_PER_S) {
		assert_int_equal(overdue(f, true, now), 0);
		if (layers_next(f->layers, 1, now, &h))
			layers_on_reject(f->layers, 1, &h, now);
	}
	assert_int_equal(overdue(f, false, now), 0);
	assert_int_equal(overdue(f, true, now), 1);
	while (!layers_next(f->layers, 1, now, &h))
		now += US_PER_S;
	assert_int_equal(answer(f, 1, h, -1), 0);
	assert_int_equal(overdue(f, true, now), 0);
}

static void test_no_more_than_two_are_asked_for_the_same(void **state)
{
	struct fixture *f = *state;
	struct wire_hashes h;
	uint32_t got, all, peers, n[4] = {0};
	for (uint32_t peer = 1; peer <= 3; peer++) {
		layers_add(f->layers, peer);
		while (layers_next(f->layers, peer, 0, &h))
			n[peer]++;
	}
	layers_progress(f->layers, &got, &all, &peers);
	assert_int_equal(n[1] + n[2] + n[3], 2 * all);
	layers_remove(f->layers, 1);
	layers_remove(f->layers, 3);
	layers_add(f->layers, 4);
	serve(f, 4);
	check_whole(f);
}

/* All else stays, and the keys are in order. */
static void test_a_torrent_that_had_none(void **state)
{
	static const char *const torrents[] = {"de", "d4:infod1:ai1eee",
		"d8:announce1:x4:infod1:ai1ee13:p2pfs profile1:p9:publisher1:q8:url-listl1:uee",
		"d12:piece layer\x7fi1ee"};
	struct fixture *f = *state;
	layers_add(f->layers, 1);
	serve(f, 1);
	for (size_t i = 0; i < ARRAY_SIZE(torrents); i++) {
		struct buf b = {0};
		struct ben_doc *before, *after;
		const char *why;
		size_t at;
		layers_write(f->layers, torrents[i], strlen(torrents[i]), &b);
		assert_int_equal(
			ben_parse(torrents[i], strlen(torrents[i]), 99, &before, &why, &at), 0);
		assert_int_equal(ben_parse(buf_bytes(&b), b.len, 99, &after, &why, &at), 0);
		assert_true(ben_canonical(after));
		assert_int_equal(ben_count(ben_root(after)), ben_count(ben_root(before)) + 1);
		for (struct ben_iter k = ben_iter(ben_root(before)); ben_next(&k);) {
			CLEANUP_FREE char *key = xstrndup((const char *)k.key, k.key_len);
			size_t len, same_len;
			const uint8_t *value = ben_raw(k.value, &len);
			const uint8_t *same = ben_raw(ben_get(ben_root(after), key), &same_len);
			assert_int_equal(len, same_len);
			assert_memory_equal(value, same, len);
		}
		ben_free(before);
		ben_free(after);
		buf_done(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_one_peer_gives_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_several_peers, set_up, tear_down),
		cmocka_unit_test(test_nothing_to_fetch),
		cmocka_unit_test(test_more_than_a_torrent_may_hold),
		cmocka_unit_test_setup_teardown(test_files_with_the_same_root, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_every_wrong_hash_is_seen, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_few_hashes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_what_was_not_asked_for_is_passed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_who_refuses_is_left_alone_for_a_while, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_ranges_of_who_goes_are_asked_of_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_who_is_idle_is_asked_for_what_another_was, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_who_is_silent_is_overdue, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_who_refuses_makes_room_for_others, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			test_no_more_than_two_are_asked_for_the_same, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_torrent_that_had_none, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
