// SPDX-License-Identifier: MIT
/* Bitmaps with one writer and any number of readers: see bits.h.
 *
 * Bit i is bit i % 64 of word i / 64; the spare bits of the last word are always clear, so that
 * whole words can be counted and compared.  With a single writer a plain load and a store with
 * release do what an atomic or would, without its bus lock.
 *
 * Thread: as bits.h says.
 */
#include "base/bits.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static uint32_t bits_words(uint32_t n)
{
	return n / 64 + (n % 64 != 0);
}

static uint64_t word_get(const struct bits *b, uint32_t w)
{
	return atomic_load_explicit(&b->words[w], memory_order_acquire);
}

static void word_put(struct bits *b, uint32_t w, uint64_t v)
{
	atomic_store_explicit(&b->words[w], v, memory_order_release);
}

/* The bits of word `w` that stand for something. */
static uint64_t word_mask(const struct bits *b, uint32_t w)
{
	return w == b->n / 64 ? (UINT64_C(1) << b->n % 64) - 1 : UINT64_MAX;
}

void bits_init(struct bits *b, uint32_t n)
{
	*b = (struct bits) {.n = n};
	if (n)
		b->words = xcalloc(bits_words(n), sizeof(*b->words));
}

void bits_done(struct bits *b)
{
	free((void *)b->words);
	*b = (struct bits) {0};
}

bool bits_set(struct bits *b, uint32_t i)
{
	uint64_t old = word_get(b, i / 64), bit = UINT64_C(1) << i % 64;

	if (old & bit)
		return false;
	word_put(b, i / 64, old | bit);
	b->set++;
	return true;
}

bool bits_clear(struct bits *b, uint32_t i)
{
	uint64_t old = word_get(b, i / 64), bit = UINT64_C(1) << i % 64;

	if (!(old & bit))
		return false;
	word_put(b, i / 64, old & ~bit);
	b->set--;
	return true;
}

void bits_fill(struct bits *b)
{
	for (uint32_t w = 0; w < bits_words(b->n); w++)
		word_put(b, w, word_mask(b, w));
	b->set = b->n;
}

void bits_reset(struct bits *b)
{
	for (uint32_t w = 0; w < bits_words(b->n); w++)
		word_put(b, w, 0);
	b->set = 0;
}

void bits_copy(struct bits *to, const struct bits *from)
{
	for (uint32_t w = 0; w < bits_words(to->n); w++)
		word_put(to, w, word_get(from, w));
	to->set = from->set;
}

/* The part of word `w` that lies in [from, end). */
static uint64_t range_mask(uint32_t w, uint64_t from, uint64_t end)
{
	uint64_t base = (uint64_t)w * 64, mask = UINT64_MAX;

	if (from > base)
		mask &= UINT64_MAX << (from - base);
	if (end < base + 64)
		mask &= UINT64_MAX >> (base + 64 - end);
	return mask;
}

bool bits_all(const struct bits *b, uint32_t from, uint32_t n)
{
	uint64_t end = (uint64_t)from + n;

	for (uint32_t w = from / 64; n && (uint64_t)w * 64 < end; w++) {
		uint64_t mask = range_mask(w, from, end);
		if ((word_get(b, w) & mask) != mask)
			return false;
	}
	return true;
}

uint32_t bits_count(const struct bits *b, uint32_t from, uint32_t n)
{
	uint64_t end = (uint64_t)from + n;
	uint32_t count = 0;

	for (uint32_t w = from / 64; n && (uint64_t)w * 64 < end; w++)
		count += (uint32_t)__builtin_popcountll(word_get(b, w) & range_mask(w, from, end));
	return count;
}

/* The first bit at or after `from` that differs from those of `invert`. */
static uint32_t bits_next(const struct bits *b, uint32_t from, uint64_t invert)
{
	if (from >= b->n)
		return b->n;
	uint64_t skip = UINT64_MAX << from % 64;
	for (uint32_t w = from / 64; w < bits_words(b->n); w++) {
		uint64_t found = (word_get(b, w) ^ invert) & word_mask(b, w) & skip;
		if (found)
			return w * 64 + (uint32_t)__builtin_ctzll(found);
		skip = UINT64_MAX;
	}
	return b->n;
}

uint32_t bits_next_set(const struct bits *b, uint32_t from)
{
	return bits_next(b, from, 0);
}

uint32_t bits_next_clear(const struct bits *b, uint32_t from)
{
	return bits_next(b, from, UINT64_MAX);
}

static uint8_t reverse8(uint8_t v)
{
	v = (uint8_t)((v & 0xf0) >> 4 | (v & 0x0f) << 4);
	v = (uint8_t)((v & 0xcc) >> 2 | (v & 0x33) << 2);
	return (uint8_t)((v & 0xaa) >> 1 | (v & 0x55) << 1);
}

void bits_to_wire(const struct bits *b, uint8_t *wire)
{
	for (size_t i = 0; i < bits_wire_len(b->n); i++)
		wire[i] = reverse8((uint8_t)(word_get(b, (uint32_t)(i / 8)) >> i % 8 * 8));
}

bool bits_from_wire(struct bits *b, const uint8_t *wire)
{
	size_t len = bits_wire_len(b->n);
	uint32_t set = 0;

	if (b->n % 8 && wire[len - 1] & 0xff >> b->n % 8)
		return false;
	for (uint32_t w = 0; w < bits_words(b->n); w++) {
		uint64_t v = 0;
		for (size_t i = (size_t)w * 8; i < MIN((size_t)w * 8 + 8, len); i++)
			v |= (uint64_t)reverse8(wire[i]) << i % 8 * 8;
		word_put(b, w, v);
		set += (uint32_t)__builtin_popcountll(v);
	}
	b->set = set;
	return true;
}
