/* SPDX-License-Identifier: MIT */
/* A growing byte buffer: built at the end, consumed at the front.
 *
 * For what is ours to size (messages to send, files to write).  Integers are big-endian.
 *
 * Thread: any, one at a time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>
#include <stdint.h>

struct buf {
	uint8_t *data; /* owned; the bytes are data[start .. start + len) */
	size_t start, len, cap;
};

void buf_done(struct buf *b); /* frees; an all-zero struct buf is an empty one */
static inline const uint8_t *buf_bytes(const struct buf *b)
{
	return b->start ? b->data + b->start : b->data; /* NULL + 0 is undefined */
}
/* Room for `n` more bytes at the end, uninitialised, counted as part of the buffer. */
uint8_t *buf_extend(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *data, size_t n);
void buf_add_str(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v);
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
/* Drops `n` bytes (at most len) at the front; memory is given back once much of it is unused. */
void buf_consume(struct buf *b, size_t n);
void buf_clear(struct buf *b);

#endif
