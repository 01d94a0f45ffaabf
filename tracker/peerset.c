/* SPDX-License-Identifier: MIT */
/* A set of peers: see peerset.h.
 *
 * The index is open addressing with linear probing; a removal moves later entries of the run back
 * (no tombstones), for which their hashes are taken again: cheaper than four bytes more a peer.
 *
 * Thread: loop.
 */
#include "tracker/peerset.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define BUILD_BATCH 64u
#define BLOCK_LARGE (1u << 20)

void peerset_init(struct peerset *s, uint8_t addr_len)
{
	*s = (struct peerset) {.addr_len = addr_len};
}

void peerset_done(struct peerset *s)
{
	free(s->meta);
	free(s->index);
	peerset_init(s, s->addr_len);
}

static size_t rows_of(uint32_t cap)
{
	return ((size_t)cap + PEERSET_ROW - 1) / PEERSET_ROW;
}

static size_t block_size(const struct peerset *s, uint32_t cap)
{
	return cap * (sizeof(struct peer_meta) + sizeof(uint16_t) + s->addr_len) + rows_of(cap);
}

/* A byte for each row: has it changed? */
static uint8_t *changed(const struct peerset *s)
{
	return peerset_addr(s, s->cap);
}

/* Positions of a set whose index has at most 2^16 slots fit 16 bits: it is three quarters full. */
static bool index_is_narrow(const struct peerset *s)
{
	return s->index_mask <= UINT16_MAX;
}

static uint32_t index_get(const struct peerset *s, uint32_t slot)
{
	return index_is_narrow(s) ? ((const uint16_t *)s->index)[slot] :
				    ((const uint32_t *)s->index)[slot];
}

static void index_set(struct peerset *s, uint32_t slot, uint32_t v)
{
	if (index_is_narrow(s))
		((uint16_t *)s->index)[slot] = (uint16_t)v;
	else
		((uint32_t *)s->index)[slot] = v;
}

static size_t index_width(const struct peerset *s)
{
	return index_is_narrow(s) ? sizeof(uint16_t) : sizeof(uint32_t);
}

size_t peerset_memory(const struct peerset *s)
{
	return block_size(s, s->cap) + (s->index ? (s->index_mask + 1) * index_width(s) : 0);
}

/* The arrays that stand behind meta, from where they are with one cap to where with another: outwards
 * the last one first, inwards the first, so that none is written over. */
static void move_arrays(struct peerset *s, uint32_t from_cap, uint32_t to_cap)
{
	struct peerset from = *s, to = *s;
	from.cap = from_cap;
	to.cap = to_cap;
	for (int i = 0; i < 3; i++) {
		switch (to_cap > from_cap ? i : 2 - i) {
		case 0:
			memmove(changed(&to), changed(&from), peerset_rows(s));
			break;
		case 1:
			memmove(peerset_addr(&to, 0), peerset_addr(&from, 0), (size_t)s->n * s->addr_len);
			break;
		case 2:
			memmove(peerset_sites(&to), peerset_sites(&from), s->n * sizeof(uint16_t));
			break;
		}
	}
}

/* A large block keeps its pages: to a new one they would have to be copied, one page fault for each,
 * a quarter of a second for a million peers.  Small ones are better moved than stretched: what
 * realloc does with those leaves holes, seven bytes a peer. */
static void *resize(void *block, size_t from, size_t to)
{
	if (to >= BLOCK_LARGE)
		return xrealloc(block, to, 1);
	void *moved = xmalloc(to);
	if (block)
		memcpy(moved, block, MIN(from, to));
	free(block);
	return moved;
}

static void set_cap(struct peerset *s, uint32_t cap)
{
	if (cap < s->cap)
		move_arrays(s, s->cap, cap);
	s->meta = resize(s->meta, block_size(s, s->cap), block_size(s, cap));
	if (cap > s->cap)
		move_arrays(s, s->cap, cap);
	s->cap = cap;
	memset(changed(s) + peerset_rows(s), 0, rows_of(cap) - peerset_rows(s));
}

static uint32_t home(const struct peerset *s, const struct sipkey *key, const uint8_t *addr)
{
	return (uint32_t)siphash13(key, addr, s->addr_len) & s->index_mask;
}

/* The slot that holds position `at`. */
static uint32_t slot_of(const struct peerset *s, const struct sipkey *key, uint32_t at)
{
	uint32_t i = home(s, key, peerset_addr(s, at));
	while (index_get(s, i) != at + 1)
		i = (i + 1) & s->index_mask;
	return i;
}

/* The peer at `at`, whose home is `i`. */
static void index_put(struct peerset *s, uint32_t i, uint32_t at)
{
	while (index_get(s, i))
		i = (i + 1) & s->index_mask;
	index_set(s, i, at + 1);
}

static void index_drop(struct peerset *s, const struct sipkey *key, uint32_t hole)
{
	uint32_t i = hole, v;
	for (;;) {
		i = (i + 1) & s->index_mask;
		v = index_get(s, i);
		if (!v)
			break;
		uint32_t h = home(s, key, peerset_addr(s, v - 1));
		/* May stand in the hole unless its home lies behind it, on the way to i. */
		if (((i - h) & s->index_mask) >= ((i - hole) & s->index_mask)) {
			index_set(s, hole, v);
			hole = i;
		}
	}
	index_set(s, hole, 0);
}

/* An index for `slots` slots (a power of two), or none for 0. */
static void index_build(struct peerset *s, const struct sipkey *key, uint32_t slots)
{
	free(s->index);
	s->index = NULL;
	s->index_mask = 0;
	if (!slots)
		return;
	s->index_mask = slots - 1;
	s->index = xcalloc(slots, index_width(s));
	/* Homes are all over the memory: those of some peers are fetched at once. */
	for (uint32_t i = 0, n; i < s->n; i += n) {
		uint32_t homes[BUILD_BATCH];
		n = MIN(s->n - i, BUILD_BATCH);
		for (uint32_t j = 0; j < n; j++) {
			homes[j] = home(s, key, peerset_addr(s, i + j));
			__builtin_prefetch((uint8_t *)s->index + homes[j] * index_width(s), 1);
		}
		for (uint32_t j = 0; j < n; j++)
			index_put(s, homes[j], i + j);
	}
}

uint32_t peerset_find(const struct peerset *s, const struct sipkey *key, const uint8_t *addr)
{
	if (!s->index) {
		for (uint32_t i = 0; i < s->n; i++) {
			if (!memcmp(peerset_addr(s, i), addr, s->addr_len))
				return i;
		}
		return PEERSET_NONE;
	}
	uint32_t v;
	for (uint32_t i = home(s, key, addr); (v = index_get(s, i)); i = (i + 1) & s->index_mask) {
		if (!memcmp(peerset_addr(s, v - 1), addr, s->addr_len))
			return v - 1;
	}
	return PEERSET_NONE;
}

static void put(struct peerset *s, uint32_t at, const uint8_t *addr, const struct peer_meta *meta,
	uint16_t site)
{
	s->meta[at] = *meta;
	peerset_sites(s)[at] = site;
	memcpy(peerset_addr(s, at), addr, s->addr_len);
	changed(s)[at / PEERSET_ROW] = 1;
}

uint32_t peerset_add(struct peerset *s, const struct sipkey *key, const uint8_t *addr,
	const struct peer_meta *meta, uint16_t site, uint64_t random)
{
	if (s->n == s->cap)
		set_cap(s, s->n < 256 ? s->n + s->n / 4 + 1 : s->n + s->n / 8);
	uint32_t at = (uint32_t)(random % (s->n + 1ull));
	uint32_t end = s->n++;
	if (at != end) {
		/* Its address stays the same, only its position changes. */
		if (s->index)
			index_set(s, slot_of(s, key, at), end + 1);
		put(s, end, peerset_addr(s, at), &s->meta[at], peerset_sites(s)[at]);
	}
	put(s, at, addr, meta, site);
	if (s->index && s->n <= (s->index_mask + 1) / 4 * 3)
		index_put(s, home(s, key, addr), at);
	else if (s->index)
		index_build(s, key, 2 * (s->index_mask + 1));
	else if (s->n > PEERSET_SCAN)
		index_build(s, key, 2 * PEERSET_SCAN);
	return at;
}

void peerset_remove(struct peerset *s, const struct sipkey *key, uint32_t at)
{
	uint32_t last = s->n - 1;
	if (s->index)
		index_drop(s, key, slot_of(s, key, at));
	if (at != last) {
		if (s->index)
			index_set(s, slot_of(s, key, last), at + 1);
		put(s, at, peerset_addr(s, last), &s->meta[last], peerset_sites(s)[last]);
	}
	s->n = last;
	if (!s->n) {
		uint32_t taken = s->rows_taken;
		peerset_done(s);
		s->rows_taken = taken;
		return;
	}
	changed(s)[last / PEERSET_ROW] = 1; /* within cap, if no longer within n */
	if (s->cap > 16 && s->n < s->cap / 4)
		set_cap(s, s->n + s->n / 4);
	if (s->index && s->n < PEERSET_SCAN / 2)
		index_build(s, key, 0);
	else if (s->index && s->n < (s->index_mask + 1) / 8)
		index_build(s, key, (s->index_mask + 1) / 4);
}

uint32_t peerset_take_row(struct peerset *s, uint32_t from)
{
	uint32_t rows = peerset_rows(s);
	uint8_t *row = from < rows ? memchr(changed(s) + from, 1, rows - from) : NULL;
	if (row) {
		*row = 0;
		uint32_t at = (uint32_t)(row - changed(s));
		s->rows_taken = MAX(s->rows_taken, at + 1);
		return at;
	}
	return s->rows_taken > rows ? --s->rows_taken : PEERSET_NONE;
}

bool peerset_has_changed(const struct peerset *s)
{
	uint32_t rows = peerset_rows(s);
	return s->rows_taken > rows || (rows && memchr(changed(s), 1, rows));
}

void peerset_check(const struct peerset *s, const struct sipkey *key)
{
	assert(s->n <= s->cap && (s->n > 0) == (s->meta != NULL));
	assert(s->index || s->n <= PEERSET_SCAN);
	for (uint32_t i = 0; i < s->n; i++)
		assert(peerset_find(s, key, peerset_addr(s, i)) == i);
	uint32_t used = 0;
	for (uint32_t i = 0; s->index && i <= s->index_mask; i++)
		used += index_get(s, i) != 0;
	assert(!s->index || used == s->n);
}
