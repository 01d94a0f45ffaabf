/* SPDX-License-Identifier: MIT */
/* The geometry of a torrent: pieces, blocks, and what of them is file.
 *
 * A block is 16 KiB of a piece, the last one of a piece or file shorter.  Blocks have numbers over
 * the whole torrent: piece * blocks_per_piece + block-in-piece; numbers past the end of a short piece
 * stand for nothing and have length 0.
 *
 * What is requested and verified per block:
 *  - v2 and hybrid: the file's bytes alone (a leaf of BEP 52 ends where its file ends; padding is
 *    not requested);
 *  - v1: all bytes of the piece, padding files included, as its SHA-1 covers them.
 *
 * Thread: any (pure).
 */
#ifndef SWARM_LAYOUT_H
#define SWARM_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

struct metainfo;

struct layout {
	const struct metainfo *meta; /* borrowed */
	uint32_t piece_length, n_pieces;
	uint32_t blocks_per_piece;
	uint32_t n_blocks; /* n_pieces * blocks_per_piece, numbers that stand for nothing included */
};

/* -E2BIG when there are 2^32 blocks or more. */
int layout_init(struct layout *l, const struct metainfo *m);

/* Bytes of a piece that are requested and verified (see above). */
uint32_t layout_piece_len(const struct layout *l, uint32_t piece);
/* Bytes of a piece that a peer may ask us for, padding included.  Of a v2 torrent that is the whole
 * piece: libtorrent asks for whole blocks where a file ends, the last one's too, and gets zeros. */
uint32_t layout_piece_span(const struct layout *l, uint32_t piece);
/* Blocks of a piece (the numbers that stand for something). */
uint32_t layout_piece_blocks(const struct layout *l, uint32_t piece);
/* Bytes of block `i` of `piece`; 0 when it stands for nothing. */
uint32_t layout_block_len(const struct layout *l, uint32_t piece, uint32_t i);
static inline uint64_t layout_offset(const struct layout *l, uint32_t piece, uint32_t i)
{
	return (uint64_t)piece * l->piece_length + (uint64_t)i * 16384;
}
/* The blocks [*ret_first, *ret_first + *ret_n) that hold bytes [offset, offset + len) of the linear
 * space, within one file, len > 0. */
void layout_blocks(const struct layout *l, uint64_t offset, uint64_t len, uint32_t *ret_first,
	uint32_t *ret_n);
/* The file that piece belongs to (v2 and hybrid: exactly one). */
uint32_t layout_file_of(const struct layout *l, uint32_t piece);

#endif
