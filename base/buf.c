// SPDX-License-Identifier: MIT
/* The growing byte buffer: see buf.h.
 *
 * Consuming moves `start`; the bytes move down only when that frees at least half of the memory,
 * so that each byte is moved a constant number of times, and that half is given back.  A buffer
 * keeps up to BUF_KEEP bytes for the next message when it has run empty.
 *
 * Thread: any, one at a time.
 */
#include "base/buf.h"
#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_MIN 256
#define BUF_KEEP 65536

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf) {0};
}

static void buf_move_down(struct buf *b)
{
	if (b->start && b->len)
		memmove(b->data, b->data + b->start, b->len);
	b->start = 0;
}

uint8_t *buf_extend(struct buf *b, size_t n)
{
	/* Half the address space: sums below cannot overflow, and no such memory exists. */
	if (n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4)
		abort();
	if (!b->data || b->start + b->len + n > b->cap) {
		if (b->start >= b->cap / 2)
			buf_move_down(b);
		size_t need = b->start + b->len + n;
		if (!b->data || need > b->cap) {
			b->cap = MAX(MAX(need, 2 * b->cap), (size_t)BUF_MIN);
			b->data = xrealloc(b->data, b->cap, 1);
		}
	}
	uint8_t *p = b->data + b->start + b->len;
	b->len += n;
	return p;
}

void buf_add(struct buf *b, const void *data, size_t n)
{
	if (n)
		memcpy(buf_extend(b, n), data, n);
}

void buf_add_str(struct buf *b, const char *s)
{
	buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	char *text = xvasprintf(format, ap);
	va_end(ap);
	buf_add_str(b, text);
	free(text);
}

static void buf_be(struct buf *b, uint64_t v, unsigned n)
{
	uint8_t *p = buf_extend(b, n);

	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

void buf_u8(struct buf *b, uint8_t v)
{
	buf_be(b, v, 1);
}

void buf_u16(struct buf *b, uint16_t v)
{
	buf_be(b, v, 2);
}

void buf_u32(struct buf *b, uint32_t v)
{
	buf_be(b, v, 4);
}

void buf_u64(struct buf *b, uint64_t v)
{
	buf_be(b, v, 8);
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	b->start += n;
	b->len -= n;
	if (b->len == 0) {
		buf_clear(b);
		return;
	}
	if (b->cap <= BUF_KEEP || b->start < b->cap / 2)
		return;
	buf_move_down(b);
	b->cap /= 2;
	b->data = xrealloc(b->data, b->cap, 1);
}

void buf_clear(struct buf *b)
{
	b->start = b->len = 0;
	if (b->cap > BUF_KEEP)
		buf_done(b);
}
