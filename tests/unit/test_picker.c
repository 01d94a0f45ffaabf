/* SPDX-License-Identifier: MIT */
/* The states of blocks, and the order in which they are picked. */
#include "swarm/picker.h"

#include "base/limits.h"
#include "base/mem.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define PIECES 20u
#define BPP 4u

struct world {
	struct metainfo_file file;
	struct metainfo meta;
	struct layout layout;
	struct bits have, all;
	struct picker picker;
};

/* 20 pieces of 4 blocks, the last one of one block and a half. */
static int set_up(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	uint64_t size = (PIECES - 1) * BPP * BLOCK_SIZE + BLOCK_SIZE + BLOCK_SIZE / 2;
	w->file = (struct metainfo_file) {.length = size, .n_pieces = PIECES};
	w->meta = (struct metainfo) {
		.has_v1 = true,
		.piece_length = BPP * BLOCK_SIZE,
		.n_pieces = PIECES,
		.space = size,
		.size = size,
		.max_v1_space = size,
		.files = &w->file,
		.n_files = 1,
	};
	assert_int_equal(layout_init(&w->layout, &w->meta), 0);
	bits_init(&w->have, w->layout.n_blocks);
	bits_init(&w->all, PIECES);
	bits_fill(&w->all);
	assert_int_equal(picker_init(&w->picker, &w->layout, &w->have, 42), 0);
	*state = w;
	return 0;
}

static int tear_down(void **state)
{
	struct world *w = *state;
	picker_check(&w->picker);
	picker_done(&w->picker);
	bits_done(&w->have);
	bits_done(&w->all);
	free(w);
	return 0;
}

static bool got(struct picker *p, uint32_t piece, uint32_t i)
{
	uint8_t *data = xmalloc(BLOCK_SIZE);
	bool taken = picker_on_got(p, piece, i, data, 1);
	if (!taken)
		free(data);
	return taken;
}

/* A block all the way. */
static bool fetch(struct picker *p, uint32_t piece, uint32_t i)
{
	picker_on_asked(p, piece, i);
	assert_true(got(p, piece, i));
	struct piece *w = picker_piece(p, piece);
	picker_on_good(p, w, i);
	bool complete = picker_on_stored(p, w, i);
	picker_tidy(p, w);
	return complete;
}

static void test_a_block_goes_from_missing_to_have(void **state)
{
	struct world *w = *state;
	struct picker *p = &w->picker;
	assert_int_equal(picker_state(p, 3, 1), BLOCK_MISSING);
	picker_on_asked(p, 3, 1);
	assert_int_equal(picker_state(p, 3, 1), BLOCK_ASKED);
	assert_true(got(p, 3, 1));
	assert_int_equal(picker_state(p, 3, 1), BLOCK_GOT);
	assert_int_equal(p->held, BLOCK_SIZE);
	picker_on_good(p, picker_piece(p, 3), 1);
	assert_int_equal(picker_state(p, 3, 1), BLOCK_GOOD);
	assert_false(bits_get(&w->have, 3 * BPP + 1));
	assert_false(picker_on_stored(p, picker_piece(p, 3), 1));
	assert_int_equal(picker_state(p, 3, 1), BLOCK_HAVE);
	assert_true(bits_get(&w->have, 3 * BPP + 1));
	assert_int_equal(p->held, 0);
}

static void test_the_last_block_completes_a_piece_once(void **state)
{
	struct world *w = *state;
	for (uint32_t i = 0; i < BPP; i++)
		assert_int_equal(fetch(&w->picker, 5, i), i == BPP - 1);
	assert_true(bits_get(&w->picker.pieces, 5));
	assert_null(picker_piece(&w->picker, 5));
}

static void test_a_short_last_piece_is_complete_with_its_own_blocks(void **state)
{
	struct world *w = *state;
	assert_false(fetch(&w->picker, PIECES - 1, 0));
	assert_true(fetch(&w->picker, PIECES - 1, 1));
}

static void test_a_block_is_missing_again_when_its_last_asker_is_gone(void **state)
{
	struct world *w = *state;
	struct picker *p = &w->picker;
	picker_on_asked(p, 0, 0);
	picker_on_asked(p, 0, 0); /* a hedge */
	assert_false(picker_on_unasked(p, 0, 0));
	assert_int_equal(picker_state(p, 0, 0), BLOCK_ASKED);
	assert_true(picker_on_unasked(p, 0, 0));
	assert_int_equal(picker_state(p, 0, 0), BLOCK_MISSING);
	assert_null(picker_piece(p, 0)); /* nothing is left to keep in mind */
	assert_false(picker_on_unasked(p, 0, 0));
}

static void test_a_second_copy_is_not_taken(void **state)
{
	struct world *w = *state;
	picker_on_asked(&w->picker, 0, 0);
	assert_true(got(&w->picker, 0, 0));
	assert_false(got(&w->picker, 0, 0));
	fetch(&w->picker, 1, 0);
	assert_false(got(&w->picker, 1, 0));
}

static void test_a_block_that_nobody_was_asked_for_is_welcome(void **state)
{
	struct world *w = *state;
	assert_true(got(&w->picker, 7, 2));
	assert_int_equal(picker_state(&w->picker, 7, 2), BLOCK_GOT);
}

static void test_a_bad_block_is_missing_again(void **state)
{
	struct world *w = *state;
	struct picker *p = &w->picker;
	assert_true(got(p, 7, 2));
	picker_on_bad(p, picker_piece(p, 7), 2);
	assert_int_equal(picker_state(p, 7, 2), BLOCK_MISSING);
	assert_int_equal(p->held, 0);
}

static void test_a_lost_block_takes_the_piece_with_it(void **state)
{
	struct world *w = *state;
	struct picker *p = &w->picker;
	for (uint32_t i = 0; i < BPP; i++)
		fetch(p, 2, i);
	picker_lose(p, 2, 1);
	assert_false(bits_get(&p->pieces, 2));
	assert_int_equal(picker_state(p, 2, 1), BLOCK_MISSING);
	assert_int_equal(picker_state(p, 2, 0), BLOCK_HAVE);
	assert_true(fetch(p, 2, 1));
}

static void test_what_is_found_needs_no_bytes(void **state)
{
	struct world *w = *state;
	for (uint32_t i = 0; i < BPP; i++)
		assert_int_equal(picker_found(&w->picker, 4, i), i == BPP - 1);
	assert_int_equal(w->picker.n_work, 0);
	assert_false(picker_found(&w->picker, 4, 0));
}

static void test_a_piece_in_work_is_picked_before_a_new_one(void **state)
{
	struct world *w = *state;
	uint32_t piece, block;
	picker_on_asked(&w->picker, 9, 0);
	assert_true(picker_next(&w->picker, &w->all, true, &piece, &block));
	assert_int_equal(piece, 9);
	assert_int_equal(block, 1);
}

static void test_no_new_piece_is_picked_when_none_may_be_opened(void **state)
{
	struct world *w = *state;
	uint32_t piece, block;
	assert_false(picker_next(&w->picker, &w->all, false, &piece, &block));
	picker_on_asked(&w->picker, 9, 0);
	assert_true(picker_next(&w->picker, &w->all, false, &piece, &block));
	assert_int_equal(piece, 9);
}

static void test_only_what_the_peer_has_is_picked(void **state)
{
	struct world *w = *state;
	struct bits has;
	uint32_t piece, block;
	bits_init(&has, PIECES);
	assert_false(picker_next(&w->picker, &has, true, &piece, &block));
	bits_set(&has, 13);
	picker_on_asked(&w->picker, 9, 0); /* in work, but not with this peer */
	assert_true(picker_next(&w->picker, &has, true, &piece, &block));
	assert_int_equal(piece, 13);
	bits_done(&has);
}

static void test_the_rarest_piece_comes_first(void **state)
{
	struct world *w = *state;
	struct bits common;
	uint32_t piece, block;
	bits_init(&common, PIECES);
	bits_fill(&common);
	bits_clear(&common, 11);
	picker_on_has_all_of(&w->picker, &common, 1);
	assert_true(picker_next(&w->picker, &w->all, true, &piece, &block));
	assert_int_equal(piece, 11);
	/* The peer leaves: all are as rare as each other, and 11 is now the common one. */
	picker_on_has_all_of(&w->picker, &common, -1);
	picker_on_has(&w->picker, 11);
	for (int i = 0; i < 10; i++) {
		assert_true(picker_next(&w->picker, &w->all, true, &piece, &block));
		assert_int_not_equal(piece, 11);
	}
	bits_done(&common);
}

static void test_a_reserved_piece_is_not_picked(void **state)
{
	struct world *w = *state;
	uint32_t piece, block;
	for (uint32_t i = 0; i < PIECES; i++)
		bits_set(&w->picker.reserved, i);
	picker_on_asked(&w->picker, 9, 0);
	assert_false(picker_next(&w->picker, &w->all, true, &piece, &block));
	bits_clear(&w->picker.reserved, 17);
	assert_true(picker_next(&w->picker, &w->all, true, &piece, &block));
	assert_int_equal(piece, 17);
}

static void test_starting_places_differ_by_seed(void **state)
{
	struct world *w = *state;
	bool differ = false;
	uint32_t first = 0;
	for (uint64_t seed = 1; seed < 20; seed++) {
		uint32_t piece, block;
		w->picker.seed = seed * 0x9e3779b97f4a7c15 | 1;
		assert_true(picker_next(&w->picker, &w->all, true, &piece, &block));
		differ |= seed > 1 && piece != first;
		first = piece;
	}
	assert_true(differ);
}

static bool is_mine(void *arg, uint32_t piece, uint32_t block)
{
	const uint32_t *mine = arg;
	return piece == mine[0] && block == mine[1];
}

static void test_the_end_game_takes_what_another_was_asked_for(void **state)
{
	struct world *w = *state;
	struct picker *p = &w->picker;
	uint32_t piece, block, mine[2] = {0, 0};
	for (uint32_t i = 0; i < PIECES; i++) {
		uint32_t n = layout_piece_blocks(&w->layout, i);
		for (uint32_t k = 0; k < n; k++) {
			assert_false(picker_all_asked(p));
			if (i || k > 1)
				fetch(p, i, k);
			else
				picker_on_asked(p, i, k);
		}
	}
	assert_true(picker_all_asked(p));
	assert_false(picker_next(p, &w->all, true, &piece, &block));
	assert_true(picker_next_twice(p, &w->all, is_mine, mine, &piece, &block));
	assert_int_equal(piece, 0);
	assert_int_equal(block, 1);
	picker_on_asked(p, 0, 1); /* asked twice now: not a third time */
	assert_false(picker_next_twice(p, &w->all, is_mine, mine, &piece, &block));
}

/* Any order of events keeps the counts right (picker_check) and ends with everything had. */
static void test_a_random_walk_ends_complete(void **state)
{
	struct world *w = *state;
	struct picker *p = &w->picker;
	srand(7);
	for (unsigned step = 0; !bits_full(&p->pieces); step++) {
		assert_true(step < 1000000);
		uint32_t piece = (uint32_t)rand() % PIECES;
		uint32_t i = (uint32_t)rand() % layout_piece_blocks(&w->layout, piece);
		struct piece *q = picker_piece(p, piece);
		switch (picker_state(p, piece, i)) {
		case BLOCK_MISSING:
			picker_on_asked(p, piece, i);
			break;
		case BLOCK_ASKED:
			if (rand() % 3 == 0)
				picker_on_unasked(p, piece, i);
			else
				got(p, piece, i);
			break;
		case BLOCK_GOT:
			if (rand() % 4 == 0)
				picker_on_bad(p, q, i);
			else
				picker_on_good(p, q, i);
			picker_tidy(p, q);
			break;
		case BLOCK_GOOD:
			if (rand() % 5 == 0)
				picker_give_up(p, q, i);
			else
				picker_on_stored(p, q, i);
			picker_tidy(p, q);
			break;
		default:
			if (step < 20000 && rand() % 20 == 0)
				picker_lose(p, piece, i);
			break;
		}
		if (step % 50 == 0)
			picker_check(p);
	}
	assert_int_equal(p->held, 0);
	for (uint32_t i = 0; i < PIECES; i++)
		assert_null(picker_piece(p, i));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_block_goes_from_missing_to_have),
		TEST(test_the_last_block_completes_a_piece_once),
		TEST(test_a_short_last_piece_is_complete_with_its_own_blocks),
		TEST(test_a_block_is_missing_again_when_its_last_asker_is_gone),
		TEST(test_a_second_copy_is_not_taken),
		TEST(test_a_block_that_nobody_was_asked_for_is_welcome),
		TEST(test_a_bad_block_is_missing_again),
		TEST(test_a_lost_block_takes_the_piece_with_it),
		TEST(test_what_is_found_needs_no_bytes),
		TEST(test_a_piece_in_work_is_picked_before_a_new_one),
		TEST(test_no_new_piece_is_picked_when_none_may_be_opened),
		TEST(test_only_what_the_peer_has_is_picked),
		TEST(test_the_rarest_piece_comes_first),
		TEST(test_a_reserved_piece_is_not_picked),
		TEST(test_starting_places_differ_by_seed),
		TEST(test_the_end_game_takes_what_another_was_asked_for),
		TEST(test_a_random_walk_ends_complete),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
