/* SPDX-License-Identifier: MIT */
/* See picker.h for the states and their transitions. */
#include "swarm/picker.h"

#include "base/limits.h"
#include "base/mem.h"
#include "swarm/layout.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Pieces stay in work for their leaf hashes' sake while those in work have so many blocks in all: 16 MiB. */
#define PICKER_IDLE_BLOCKS (256u << 10)

int picker_init(struct picker *p, const struct layout *l, struct bits *have, uint64_t seed)
{
	*p = (struct picker) {.layout = l, .have = have, .seed = seed | 1};
	p->work = calloc(l->n_pieces, sizeof(*p->work));
	p->rarity = calloc(l->n_pieces, sizeof(*p->rarity));
	if (!p->work || !p->rarity) {
		free(p->work);
		free(p->rarity);
		return -ENOMEM;
	}
	bits_init(&p->pieces, l->n_pieces);
	bits_init(&p->reserved, l->n_pieces);
	/* Numbers that stand for nothing count as had, so that whole pieces are tested as one range. */
	for (uint32_t piece = 0; piece < l->n_pieces; piece++) {
		uint32_t n = layout_piece_blocks(l, piece);
		for (uint32_t i = n; i < l->blocks_per_piece; i++)
			bits_set(have, piece * l->blocks_per_piece + i);
		if (!n)
			bits_set(&p->pieces, piece);
	}
	return 0;
}

static void piece_free(struct piece *w)
{
	for (uint32_t i = 0; i < w->n_blocks; i++)
		free(w->blocks[i].data);
	for (uint32_t i = 0; w->runs && i < piece_runs(w); i++)
		free(w->runs[i].hashes);
	free(w->runs);
	hasher_free(w->sha1);
	free(w);
}

void picker_done(struct picker *p)
{
	while (p->head) {
		struct piece *w = p->head;
		p->head = w->next;
		piece_free(w);
	}
	free(p->work);
	free(p->rarity);
	bits_done(&p->pieces);
	bits_done(&p->reserved);
}

void picker_check(const struct picker *p)
{
#ifndef NDEBUG
	uint64_t held = 0;
	uint32_t n = 0;
	for (const struct piece *w = p->head; w; w = w->next, n++) {
		uint32_t count[BLOCK_STATES] = {0};
		assert(p->work[w->index] == w);
		for (uint32_t i = 0; i < w->n_blocks; i++) {
			const struct block *b = &w->blocks[i];
			count[b->state]++;
			assert((b->state == BLOCK_ASKED) == (b->askers > 0));
			assert((b->state == BLOCK_GOT || b->state == BLOCK_GOOD) == !!b->data);
			assert((b->state == BLOCK_HAVE) ==
				bits_get(p->have, w->index * p->layout->blocks_per_piece + i));
			if (b->data)
				held += BLOCK_SIZE;
		}
		assert(!memcmp(count, w->count, sizeof(count)));
	}
	assert(n == p->n_work);
	assert(held == p->held);
#else
	(void)p;
#endif
}

/* xorshift64: a spread of starting places, nothing secret. */
static uint64_t picker_random(struct picker *p)
{
	p->seed ^= p->seed << 13;
	p->seed ^= p->seed >> 7;
	p->seed ^= p->seed << 17;
	return p->seed;
}

static uint32_t number(const struct picker *p, uint32_t piece, uint32_t i)
{
	return piece * p->layout->blocks_per_piece + i;
}

static void set_state(struct piece *w, uint32_t i, enum block_state state)
{
	w->count[w->blocks[i].state]--;
	w->blocks[i].state = (uint8_t)state;
	w->count[state]++;
}

struct piece *picker_open(struct picker *p, uint32_t index)
{
	if (p->work[index])
		return p->work[index];
	uint32_t n = layout_piece_blocks(p->layout, index);
	struct piece *w = xcalloc(1, sizeof(*w) + n * sizeof(w->blocks[0]));
	w->index = index;
	w->n_blocks = n;
	for (uint32_t i = 0; i < n; i++) {
		if (bits_get(p->have, number(p, index, i)))
			w->blocks[i].state = BLOCK_HAVE;
		w->count[w->blocks[i].state]++;
	}
	w->prev = p->tail;
	if (p->tail)
		p->tail->next = w;
	else
		p->head = w;
	p->tail = w;
	p->work[index] = w;
	p->n_work++;
	return w;
}

static void unlink_piece(struct picker *p, struct piece *w)
{
	if (w->prev)
		w->prev->next = w->next;
	else
		p->head = w->next;
	if (w->next)
		w->next->prev = w->prev;
	else
		p->tail = w->prev;
}

void picker_touch(struct picker *p, struct piece *w, uint32_t i)
{
	w->from = i;
	if (p->head == w)
		return;
	unlink_piece(p, w);
	w->prev = NULL;
	w->next = p->head;
	p->head->prev = w;
	p->head = w;
}

void picker_tidy(struct picker *p, struct piece *w)
{
	bool idle = w->count[BLOCK_MISSING] + w->count[BLOCK_HAVE] == w->n_blocks;
	/* Leaf hashes of a piece that is here in part are worth keeping: the next block of it can be
	 * verified at once. */
	bool partial = w->runs_known && w->count[BLOCK_HAVE] < w->n_blocks &&
		p->n_work <= PICKER_IDLE_BLOCKS / p->layout->blocks_per_piece;
	if (!idle || partial || w->jobs || w->runs_asked)
		return;
	unlink_piece(p, w);
	p->work[w->index] = NULL;
	p->n_work--;
	piece_free(w);
}

enum block_state picker_state(const struct picker *p, uint32_t piece, uint32_t i)
{
	if (p->work[piece])
		return p->work[piece]->blocks[i].state;
	return bits_get(p->have, number(p, piece, i)) ? BLOCK_HAVE : BLOCK_MISSING;
}

void picker_on_asked(struct picker *p, uint32_t piece, uint32_t i)
{
	struct piece *w = picker_open(p, piece);
	assert(w->blocks[i].state <= BLOCK_ASKED);
	w->blocks[i].askers++;
	set_state(w, i, BLOCK_ASKED);
}

bool picker_on_unasked(struct picker *p, uint32_t piece, uint32_t i)
{
	struct piece *w = p->work[piece];
	if (!w || w->blocks[i].state != BLOCK_ASKED || --w->blocks[i].askers > 0)
		return false;
	set_state(w, i, BLOCK_MISSING);
	picker_tidy(p, w);
	return true;
}

bool picker_on_got(struct picker *p, uint32_t piece, uint32_t i, uint8_t *data, uint32_t from)
{
	if (picker_state(p, piece, i) > BLOCK_ASKED)
		return false;
	struct piece *w = picker_open(p, piece);
	w->blocks[i].askers = 0;
	w->blocks[i].data = data;
	w->blocks[i].from = from;
	p->held += BLOCK_SIZE;
	set_state(w, i, BLOCK_GOT);
	return true;
}

static void drop_data(struct picker *p, struct piece *w, uint32_t i)
{
	free(w->blocks[i].data);
	w->blocks[i].data = NULL;
	p->held -= BLOCK_SIZE;
}

void picker_on_good(struct picker *p, struct piece *w, uint32_t i)
{
	assert(w->blocks[i].state == BLOCK_GOT);
	set_state(w, i, BLOCK_GOOD);
}

void picker_on_bad(struct picker *p, struct piece *w, uint32_t i)
{
	assert(w->blocks[i].state == BLOCK_GOT && !w->blocks[i].busy);
	drop_data(p, w, i);
	set_state(w, i, BLOCK_MISSING);
}

static bool note_have(struct picker *p, uint32_t piece, uint32_t i)
{
	uint32_t bpp = p->layout->blocks_per_piece;
	bits_set(p->have, number(p, piece, i));
	return bits_all(p->have, piece * bpp, bpp) && bits_set(&p->pieces, piece);
}

bool picker_on_stored(struct picker *p, struct piece *w, uint32_t i)
{
	assert(w->blocks[i].state == BLOCK_GOOD && !w->blocks[i].busy);
	drop_data(p, w, i);
	set_state(w, i, BLOCK_HAVE);
	return note_have(p, w->index, i);
}

void picker_give_up(struct picker *p, struct piece *w, uint32_t i)
{
	assert(w->blocks[i].state == BLOCK_GOOD && !w->blocks[i].busy);
	drop_data(p, w, i);
	set_state(w, i, BLOCK_MISSING);
}

void picker_lose(struct picker *p, uint32_t piece, uint32_t i)
{
	if (!bits_clear(p->have, number(p, piece, i)))
		return;
	bits_clear(&p->pieces, piece);
	if (p->work[piece])
		set_state(p->work[piece], i, BLOCK_MISSING);
}

bool picker_found(struct picker *p, uint32_t piece, uint32_t i)
{
	struct piece *w = p->work[piece];
	if (w) {
		if (w->blocks[i].state != BLOCK_MISSING)
			return false;
		set_state(w, i, BLOCK_HAVE);
	}
	return note_have(p, piece, i);
}

void picker_on_has(struct picker *p, uint32_t piece)
{
	if (p->rarity[piece] < UINT16_MAX)
		p->rarity[piece]++;
}

void picker_on_has_all_of(struct picker *p, const struct bits *b, int delta)
{
	for (uint32_t i = bits_next_set(b, 0); i < b->n; i = bits_next_set(b, i + 1)) {
		if (delta > 0)
			picker_on_has(p, i);
		else if (p->rarity[i])
			p->rarity[i]--;
	}
}

static bool has_piece(const struct bits *has, uint32_t piece)
{
	return !has || bits_get(has, piece);
}

/* In work for its leaf hashes alone. */
static bool is_untouched(const struct piece *w)
{
	return w->count[BLOCK_MISSING] == w->n_blocks;
}

static bool next_in_work(struct picker *p, const struct bits *has, bool may_open, uint32_t *ret_piece,
	uint32_t *ret_block)
{
	for (struct piece *w = p->head; w; w = w->next) {
		bool idle = w->count[BLOCK_MISSING] + w->count[BLOCK_HAVE] == w->n_blocks;
		if (is_untouched(w) || (idle && !may_open))
			continue;
		if (!w->count[BLOCK_MISSING] || bits_get(&p->reserved, w->index) || !has_piece(has, w->index))
			continue;
		for (uint32_t k = 0, i = w->from; k < w->n_blocks; k++, i++) {
			i = i < w->n_blocks ? i : 0;
			if (w->blocks[i].state == BLOCK_MISSING) {
				*ret_piece = w->index;
				*ret_block = i;
				return true;
			}
		}
	}
	return false;
}

/* The rarest of the next PICKER_SAMPLE pieces from a random place on that are missing here and there
 * with the peer. */
static bool rarest(struct picker *p, const struct bits *has, uint32_t *ret_piece)
{
	uint32_t n = p->pieces.n, best = n, seen = 0;
	if (!n || bits_full(&p->pieces))
		return false;
	uint32_t start = (uint32_t)(picker_random(p) % n);
	for (int round = 0; round < 2 && seen < PICKER_SAMPLE; round++) {
		uint32_t from = round ? 0 : start, to = round ? start : n;
		for (uint32_t i = bits_next_clear(&p->pieces, from); i < to && seen < PICKER_SAMPLE;
			i = bits_next_clear(&p->pieces, i + 1)) {
			if ((p->work[i] && !is_untouched(p->work[i])) || bits_get(&p->reserved, i) || !has_piece(has, i))
				continue;
			seen++;
			if (best == n || p->rarity[i] < p->rarity[best])
				best = i;
		}
	}
	*ret_piece = best;
	return best < n;
}

bool picker_next(struct picker *p, const struct bits *has, bool may_open, uint32_t *ret_piece,
	uint32_t *ret_block)
{
	if (next_in_work(p, has, may_open, ret_piece, ret_block))
		return true;
	uint32_t piece;
	if (!may_open || !rarest(p, has, &piece))
		return false;
	uint32_t n = layout_piece_blocks(p->layout, piece);
	for (uint32_t i = 0; i < n; i++) {
		if (picker_state(p, piece, i) == BLOCK_MISSING) {
			*ret_piece = piece;
			*ret_block = i;
			return true;
		}
	}
	return false;
}

bool picker_next_twice(struct picker *p, const struct bits *has,
	bool (*mine)(void *arg, uint32_t piece, uint32_t block), void *arg, uint32_t *ret_piece,
	uint32_t *ret_block)
{
	for (struct piece *w = p->head; w; w = w->next) {
		if (!w->count[BLOCK_ASKED] || !has_piece(has, w->index))
			continue;
		for (uint32_t i = 0; i < w->n_blocks; i++) {
			if (w->blocks[i].state == BLOCK_ASKED && w->blocks[i].askers == 1 &&
				!mine(arg, w->index, i)) {
				*ret_piece = w->index;
				*ret_block = i;
				return true;
			}
		}
	}
	return false;
}

bool picker_all_asked(const struct picker *p)
{
	uint32_t open = 0;
	for (const struct piece *w = p->head; w; w = w->next) {
		if (w->count[BLOCK_MISSING] && !bits_get(&p->reserved, w->index))
			return false;
		if (!bits_get(&p->pieces, w->index))
			open++;
	}
	return p->pieces.set + open == p->pieces.n;
}
