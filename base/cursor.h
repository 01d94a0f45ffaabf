/* SPDX-License-Identifier: MIT */
/* A bounds-checked reader of bytes from outside.
 *
 * Once a read runs past the end the cursor is bad and stays bad, every later read gives zero, and
 * one check of cursor_bad at the end suffices.  All integers are big-endian, as on the wire.
 *
 * Thread: any (pure).
 */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static inline struct cursor cursor_on(const void *data, size_t len)
{
	return (struct cursor) {.p = data, .left = len};
}

/* `n` bytes in place, or NULL (and bad) when there are fewer. */
static inline const uint8_t *cursor_take(struct cursor *c, size_t n)
{
	if (c->bad || n > c->left) {
		c->bad = true;
		return NULL;
	}
	const uint8_t *p = c->p;
	if (n) /* NULL + 0 is undefined */
		c->p += n;
	c->left -= n;
	return p;
}

static inline uint64_t cursor_be(struct cursor *c, unsigned n)
{
	const uint8_t *p = cursor_take(c, n);
	uint64_t v = 0;
	for (unsigned i = 0; p && i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static inline uint8_t cursor_u8(struct cursor *c)
{
	return (uint8_t)cursor_be(c, 1);
}

static inline uint16_t cursor_u16(struct cursor *c)
{
	return (uint16_t)cursor_be(c, 2);
}

static inline uint32_t cursor_u32(struct cursor *c)
{
	return (uint32_t)cursor_be(c, 4);
}

static inline uint64_t cursor_u64(struct cursor *c)
{
	return cursor_be(c, 8);
}

/* True when a read ran past the end. */
static inline bool cursor_bad(const struct cursor *c)
{
	return c->bad;
}

/* True when all was read and nothing is left over. */
static inline bool cursor_done(const struct cursor *c)
{
	return !c->bad && c->left == 0;
}

#endif
