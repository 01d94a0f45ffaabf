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

static void set_cap(struct peerset *s, uint32_t cap)
{
	struct peerset to = {.cap = cap, .n = s->n, .addr_len = s->addr_len};
	to.meta = xmalloc(block_size(s, cap));
	memset(changed(&to), 0, rows_of(cap));
	if (s->n) {
		memcpy(changed(&to), changed(s), peerset_rows(s));
		memcpy(to.meta, s->meta, s->n * sizeof(*s->meta));
		memcpy(peerset_sites(&to), peerset_sites(s), s->n * sizeof(uint16_t));
		memcpy(peerset_addr(&to, 0), peerset_addr(s, 0), (size_t)s->n * s->addr_len);
	}
	free(s->meta);
	s->meta = to.meta;
	s->cap = cap;
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

static void index_put(struct peerset *s, const struct sipkey *key, uint32_t at)
{
	uint32_t i = home(s, key, peerset_addr(s, at));
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
	for (uint32_t i = 0; i < s->n; i++)
		index_put(s, key, i);
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
		index_put(s, key, at);
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
