/* SPDX-License-Identifier: MIT */
/* Bitmaps that the loop writes and any thread may read.
 *
 * One writer (the loop); bits_set publishes with release, bits_get reads with acquire, so whoever
 * sees a bit also sees the bytes that it stands for.  The wire's bit order (BEP 3: the high bit of
 * byte 0 is piece 0) is made by bits_to_wire and bits_from_wire.
 *
 * Thread: bits_get, bits_all, bits_next_*: any; the rest: the writer.
 */
#ifndef BASE_BITS_H
#define BASE_BITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bits {
	_Atomic uint64_t *words; /* owned; NULL when n is 0 */
	uint32_t n; /* bits */
	uint32_t set; /* how many are set; the writer's */
};

void bits_init(struct bits *b, uint32_t n); /* all zero */
void bits_done(struct bits *b);

static inline bool bits_get(const struct bits *b, uint32_t i)
{
	return atomic_load_explicit(&b->words[i / 64], memory_order_acquire) >> (i % 64) & 1;
}

/* True when it was clear. */
bool bits_set(struct bits *b, uint32_t i);
/* True when it was set. */
bool bits_clear(struct bits *b, uint32_t i);
void bits_fill(struct bits *b); /* sets all */
void bits_reset(struct bits *b); /* clears all */
void bits_copy(struct bits *to, const struct bits *from); /* the same n */

/* All of [from, from + n) set?  Word by word. */
bool bits_all(const struct bits *b, uint32_t from, uint32_t n);
/* How many of [from, from + n) are set. */
uint32_t bits_count(const struct bits *b, uint32_t from, uint32_t n);
/* The first set (clear) bit at or after `from`, or b->n. */
uint32_t bits_next_set(const struct bits *b, uint32_t from);
uint32_t bits_next_clear(const struct bits *b, uint32_t from);

static inline bool bits_full(const struct bits *b)
{
	return b->set == b->n;
}

static inline size_t bits_wire_len(uint32_t n)
{
	return ((size_t)n + 7) / 8;
}
void bits_to_wire(const struct bits *b, uint8_t *wire); /* bits_wire_len(b->n) bytes */
/* Takes a BITFIELD of exactly bits_wire_len(b->n) bytes; false when a spare bit is set (BEP 3:
 * such a connection is dropped), and b is unchanged then. */
bool bits_from_wire(struct bits *b, const uint8_t *wire);

#endif
