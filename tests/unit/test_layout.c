// SPDX-License-Identifier: MIT
/* The geometry, against one counted byte by byte. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "base/mem.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"

#include <errno.h>

static struct metainfo v1(uint32_t piece_length, uint64_t space)
{
	return (struct metainfo) {
		.has_v1 = true,
		.piece_length = piece_length,
		.n_pieces = (uint32_t)((space + piece_length - 1) / piece_length),
		.space = space,
		.max_v1_space = space,
	};
}

/* Three files of 2.5 blocks, nothing, and 7 blocks and a byte, on pieces of 4 blocks. */
static struct metainfo_file files[] = {
	{.offset = 0, .length = 40960, .first_piece = 0, .n_pieces = 1},
	{.offset = 40960, .length = 0},
	{.offset = 65536, .length = 114689, .first_piece = 1, .n_pieces = 2},
};

static struct metainfo v2(bool hybrid)
{
	return (struct metainfo) {
		.has_v1 = hybrid,
		.has_v2 = true,
		.piece_length = 65536,
		.n_pieces = 3,
		.space = 180225,
		.max_v1_space = 180225,
		.files = files,
		.n_files = ARRAY_SIZE(files),
	};
}

static void test_v1_pieces(void **state)
{
	struct metainfo m = v1(32768, 3 * 32768 + 16385);
	struct layout l;

	assert_int_equal(layout_init(&l, &m), 0);
	assert_int_equal(l.blocks_per_piece, 2);
	assert_int_equal(l.n_blocks, 8);
	assert_int_equal(layout_piece_len(&l, 0), 32768);
	assert_int_equal(layout_piece_len(&l, 3), 16385);
	assert_int_equal(layout_piece_len(&l, 4), 0);
	assert_int_equal(layout_piece_span(&l, 3), 16385);
	assert_int_equal(layout_piece_span(&l, 4), 0);
	assert_int_equal(layout_piece_blocks(&l, 3), 2);
	assert_int_equal(layout_block_len(&l, 0, 1), BLOCK_SIZE);
	assert_int_equal(layout_block_len(&l, 3, 0), BLOCK_SIZE);
	assert_int_equal(layout_block_len(&l, 3, 1), 1);
	assert_int_equal(layout_block_len(&l, 3, 2), 0);
	assert_int_equal(layout_block_len(&l, 3, UINT32_MAX), 0);
	assert_int_equal(layout_block_len(&l, UINT32_MAX, 0), 0);
}

static void test_v1_trailing_padding_is_hashed(void **state)
{
	struct metainfo m = v1(32768, 32768);
	struct layout l;

	m.space = 100;
	assert_int_equal(layout_init(&l, &m), 0);
	assert_int_equal(layout_piece_len(&l, 0), 32768);
	assert_int_equal(layout_piece_blocks(&l, 0), 2);
}

static void test_v1_piece_length_that_is_no_multiple(void **state)
{
	struct metainfo m = v1(20000, 50000);
	struct layout l;

	assert_int_equal(layout_init(&l, &m), 0);
	assert_int_equal(l.blocks_per_piece, 2);
	assert_int_equal(layout_block_len(&l, 0, 0), BLOCK_SIZE);
	assert_int_equal(layout_block_len(&l, 0, 1), 20000 - BLOCK_SIZE);
	assert_int_equal(layout_block_len(&l, 2, 0), 10000);
	assert_int_equal(layout_block_len(&l, 2, 1), 0);
	assert_int_equal(layout_offset(&l, 1, 1), 20000 + BLOCK_SIZE);
}

static void test_v2_pieces_end_with_their_files(void **state)
{
	struct metainfo m = v2(false);
	struct layout l;

	assert_int_equal(layout_init(&l, &m), 0);
	assert_int_equal(layout_piece_len(&l, 0), 40960);
	assert_int_equal(layout_piece_len(&l, 1), 65536);
	assert_int_equal(layout_piece_len(&l, 2), 49153);
	assert_int_equal(layout_piece_len(&l, 3), 0);
	assert_int_equal(layout_piece_blocks(&l, 0), 3);
	assert_int_equal(layout_block_len(&l, 0, 2), 8192);
	assert_int_equal(layout_block_len(&l, 0, 3), 0);
	assert_int_equal(layout_block_len(&l, 2, 3), 1);
	assert_int_equal(layout_file_of(&l, 0), 0);
	assert_int_equal(layout_file_of(&l, 1), 2);
	assert_int_equal(layout_file_of(&l, 2), 2);
}

static void test_v2_peers_may_ask_for_whole_pieces(void **state)
{
	struct metainfo m = v2(false);
	struct layout l;

	assert_int_equal(layout_init(&l, &m), 0);
	assert_int_equal(layout_piece_span(&l, 0), 65536);
	assert_int_equal(layout_piece_span(&l, 2), 65536);
	assert_int_equal(layout_piece_span(&l, 3), 0);
}

static void test_hybrid_peers_may_ask_for_padding(void **state)
{
	struct metainfo m = v2(true);
	struct layout l;

	assert_int_equal(layout_init(&l, &m), 0);
	assert_int_equal(layout_piece_len(&l, 0), 40960);
	assert_int_equal(layout_piece_span(&l, 0), 65536);
	assert_int_equal(layout_piece_span(&l, 2), 49153);
	m.max_v1_space = 3 * 65536;
	assert_int_equal(layout_piece_len(&l, 2), 49153);
	assert_int_equal(layout_piece_span(&l, 2), 65536);
}

/* Which block holds a byte is asked of the block lengths, for every start and some lengths. */
static void test_blocks_of_ranges(void **state)
{
	struct metainfo m = v1(40000, 90001);
	struct layout l;

	assert_int_equal(layout_init(&l, &m), 0);
	for (uint64_t offset = 0; offset < m.space; offset += 97) {
		static const uint64_t lengths[] = {1, 2, 16383, 16384, 16385, 40000, 90001};
		for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
			uint64_t end = MIN(offset + lengths[i], m.space);
			uint32_t first, n, want_first = UINT32_MAX, want_last = 0;
			layout_blocks(&l, offset, end - offset, &first, &n);
			for (uint32_t b = 0; b < l.n_blocks; b++) {
				uint32_t piece = b / l.blocks_per_piece, k = b % l.blocks_per_piece;
				uint64_t begin = layout_offset(&l, piece, k);
				uint64_t stop = begin + layout_block_len(&l, piece, k);
				if (begin < end && stop > offset) {
					want_first = MIN(want_first, b);
					want_last = b;
				}
			}
			assert_int_equal(first, want_first);
			assert_int_equal(first + n - 1, want_last);
		}
	}
}

static void test_number_of_blocks(void **state)
{
	/* 4096 blocks a piece: 2^20 - 1 pieces are the most. */
	struct metainfo m = v1(TORRENT_MAX_PIECE_LENGTH, 1);
	struct layout l;

	m.n_pieces = (1u << 20) - 1;
	assert_int_equal(layout_init(&l, &m), 0);
	assert_int_equal(l.n_blocks, UINT32_MAX - 4095);
	m.n_pieces = 1u << 20;
	assert_int_equal(layout_init(&l, &m), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_pieces),
		cmocka_unit_test(test_v1_trailing_padding_is_hashed),
		cmocka_unit_test(test_v1_piece_length_that_is_no_multiple),
		cmocka_unit_test(test_v2_pieces_end_with_their_files),
		cmocka_unit_test(test_v2_peers_may_ask_for_whole_pieces),
		cmocka_unit_test(test_hybrid_peers_may_ask_for_padding),
		cmocka_unit_test(test_blocks_of_ranges),
		cmocka_unit_test(test_number_of_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
