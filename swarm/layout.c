// SPDX-License-Identifier: MIT
/* See layout.h.
 *
 * Thread: any (pure).
 */
#include "swarm/layout.h"

#include "base/limits.h"
#include "base/mem.h"
#include "swarm/metainfo.h"

#include <errno.h>

int layout_init(struct layout *l, const struct metainfo *m)
{
	uint32_t per_piece = (m->piece_length + BLOCK_SIZE - 1) / BLOCK_SIZE;

	if ((uint64_t)m->n_pieces * per_piece > UINT32_MAX)
		return -E2BIG;
	*l = (struct layout) {
		.meta = m,
		.piece_length = m->piece_length,
		.n_pieces = m->n_pieces,
		.blocks_per_piece = per_piece,
		.n_blocks = m->n_pieces * per_piece,
	};
	return 0;
}

uint32_t layout_file_of(const struct layout *l, uint32_t piece)
{
	return metainfo_file_at(l->meta, layout_offset(l, piece, 0));
}

static uint32_t up_to(const struct layout *l, uint32_t piece, uint64_t end)
{
	uint64_t begin = layout_offset(l, piece, 0);

	return end <= begin ? 0 : (uint32_t)MIN(end - begin, (uint64_t)l->piece_length);
}

uint32_t layout_piece_len(const struct layout *l, uint32_t piece)
{
	if (piece >= l->n_pieces)
		return 0;
	if (!l->meta->has_v2)
		return up_to(l, piece, l->meta->max_v1_space);
	const struct metainfo_file *f = &l->meta->files[layout_file_of(l, piece)];
	return up_to(l, piece, f->offset + f->length);
}

uint32_t layout_piece_span(const struct layout *l, uint32_t piece)
{
	if (piece >= l->n_pieces)
		return 0;
	return l->meta->has_v1 ? up_to(l, piece, l->meta->max_v1_space) : l->piece_length;
}

uint32_t layout_piece_blocks(const struct layout *l, uint32_t piece)
{
	return (layout_piece_len(l, piece) + BLOCK_SIZE - 1) / BLOCK_SIZE;
}

uint32_t layout_block_len(const struct layout *l, uint32_t piece, uint32_t i)
{
	uint32_t len = layout_piece_len(l, piece);

	/* Compared by division: i * BLOCK_SIZE need not fit. */
	return i >= (len + BLOCK_SIZE - 1) / BLOCK_SIZE ? 0 : MIN(len - i * BLOCK_SIZE, BLOCK_SIZE);
}

static uint32_t block_at(const struct layout *l, uint64_t offset)
{
	return (uint32_t)(offset / l->piece_length) * l->blocks_per_piece +
	       (uint32_t)(offset % l->piece_length) / BLOCK_SIZE;
}

void layout_blocks(
	const struct layout *l, uint64_t offset, uint64_t len, uint32_t *ret_first, uint32_t *ret_n)
{
	uint32_t first = block_at(l, offset);

	*ret_first = first;
	*ret_n = block_at(l, offset + len - 1) - first + 1;
}
