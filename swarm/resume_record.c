// SPDX-License-Identifier: MIT
/* The record's bytes.
 *
 * Big-endian:
 *
 *	 0   8  "p2pfsrec"
 *	 8   4  version
 *	12   4  flags: 1 = a clean stop
 *	16  20  info-hash of v1, or zeros
 *	36  32  info-hash of v2, or zeros
 *	68   8  the linear space
 *	76   4  piece length
 *	80   4  blocks
 *	84   4  files
 *	88   4  stamps: as many as files for a clean stop, else 0
 *	92   8  length of the blob
 *	100     stamps (24 bytes each), bits (in the wire's order), blob, CRC-32C of all before
 *
 * Everything but the blob is of a length that the torrent decides, so the whole is checked before
 * anything is allocated.
 *
 * Thread: any (pure).
 */
#include "swarm/resume.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"
#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/hash.h"
#include "base/limits.h"

#include <errno.h>
#include <string.h>

#define MAGIC "p2pfsrec"
#define MAGIC_LEN 8
#define VERSION 1u
#define FLAG_CLEAN 1u
#define HEADER_LEN 100
#define STAMP_LEN 24
#define CRC_LEN 4

void record_done(struct record *r)
{
	bits_done(&r->have);
	free(r->stamps);
	free(r->extra);
	*r = (struct record) {0};
}

static size_t record_len(const struct layout *l, bool stamps, size_t extra_len)
{
	return HEADER_LEN + (stamps ? (size_t)l->meta->n_files * STAMP_LEN : 0) +
	       bits_wire_len(l->n_blocks) + extra_len + CRC_LEN;
}

static uint8_t *put_be(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
	return p + n;
}

static uint8_t *put_bytes(uint8_t *p, const void *data, size_t len)
{
	if (len)
		memcpy(p, data, len);
	return p + len;
}

int record_encode(const struct record *r, const struct layout *l, uint8_t **ret, size_t *ret_len)
{
	const struct metainfo *m = l->meta;
	if (r->extra_len > RECORD_MAX_EXTRA)
		return -E2BIG;
	size_t len = record_len(l, r->clean, r->extra_len);
	uint8_t *data = malloc(len);
	if (!data)
		return -ENOMEM;

	static const uint8_t none[SHA256_LEN];
	uint8_t *p = put_bytes(data, MAGIC, MAGIC_LEN);
	p = put_be(p, VERSION, 4);
	p = put_be(p, r->clean ? FLAG_CLEAN : 0, 4);
	p = put_bytes(p, m->has_v1 ? m->hash_v1 : none, SHA1_LEN);
	p = put_bytes(p, m->has_v2 ? m->hash_v2 : none, SHA256_LEN);
	p = put_be(p, m->space, 8);
	p = put_be(p, l->piece_length, 4);
	p = put_be(p, l->n_blocks, 4);
	p = put_be(p, m->n_files, 4);
	p = put_be(p, r->clean ? m->n_files : 0, 4);
	p = put_be(p, r->extra_len, 8);
	for (uint32_t i = 0; r->clean && i < m->n_files; i++)
		for (unsigned k = 0; k < 3; k++)
			p = put_be(p, r->stamps[i][k], 8);
	if (l->n_blocks)
		bits_to_wire(&r->have, p);
	p += bits_wire_len(l->n_blocks);
	p = put_bytes(p, r->extra, r->extra_len);
	put_be(p, crc32c(0, data, len - CRC_LEN), CRC_LEN);
	*ret = data;
	*ret_len = len;
	return 0;
}

/* Checks all but the blob's contents; `c` then stands behind the header. */
static const char *check(struct cursor *c, size_t len, const struct layout *l, bool *ret_clean,
	size_t *ret_extra_len)
{
	static const uint8_t none[SHA256_LEN];
	const struct metainfo *m = l->meta;
	const uint8_t *data = c->p;

	if (len < HEADER_LEN + CRC_LEN)
		return "its record is shorter than any";
	if (memcmp(cursor_take(c, MAGIC_LEN), MAGIC, MAGIC_LEN) != 0)
		return "its record is not one";
	if (cursor_u32(c) != VERSION)
		return "its record is of another version of p2pfs";
	struct cursor tail = cursor_on(data + len - CRC_LEN, CRC_LEN);
	if (crc32c(0, data, len - CRC_LEN) != cursor_u32(&tail))
		return "its record is damaged (the checksum differs)";
	uint32_t flags = cursor_u32(c);
	if (flags & ~FLAG_CLEAN)
		return "its record has unknown flags";
	bool clean = flags & FLAG_CLEAN;
	if (memcmp(cursor_take(c, SHA1_LEN), m->has_v1 ? m->hash_v1 : none, SHA1_LEN) != 0 ||
		memcmp(cursor_take(c, SHA256_LEN), m->has_v2 ? m->hash_v2 : none, SHA256_LEN) != 0)
		return "its record is of another torrent";
	if (cursor_u64(c) != m->space || cursor_u32(c) != l->piece_length ||
		cursor_u32(c) != l->n_blocks || cursor_u32(c) != m->n_files)
		return "its record has other sizes";
	if (cursor_u32(c) != (clean ? m->n_files : 0))
		return "its record has not a stamp for each file";
	uint64_t extra_len = cursor_u64(c);
	if (extra_len > RECORD_MAX_EXTRA)
		return "its record is too long";
	if (len != record_len(l, clean, (size_t)extra_len))
		return "its record is of the wrong length";
	*ret_clean = clean;
	*ret_extra_len = (size_t)extra_len;
	return NULL;
}

static int bad(struct record *r, const char *why, const char **ret_why)
{
	record_done(r);
	*ret_why = why;
	return -EINVAL;
}

int record_decode(const void *data, size_t len, const struct layout *l, struct record *ret,
	const char **ret_why)
{
	struct cursor c = cursor_on(data, len);
	struct record r = {0};
	const char *why = check(&c, len, l, &r.clean, &r.extra_len);
	if (why)
		return bad(&r, why, ret_why);

	uint32_t n = r.clean ? l->meta->n_files : 0;
	if (n) {
		r.stamps = malloc(n * sizeof(*r.stamps));
		if (!r.stamps)
			return bad(&r, "its record does not fit into memory", ret_why);
	}
	for (uint32_t i = 0; i < n; i++)
		for (unsigned k = 0; k < 3; k++)
			r.stamps[i][k] = cursor_u64(&c);
	bits_init(&r.have, l->n_blocks);
	const uint8_t *bits = cursor_take(&c, bits_wire_len(l->n_blocks));
	if (l->n_blocks && !bits_from_wire(&r.have, bits))
		return bad(&r, "its record has bits for blocks that are not", ret_why);
	if (r.extra_len) {
		r.extra = malloc(r.extra_len);
		if (!r.extra)
			return bad(&r, "its record does not fit into memory", ret_why);
		memcpy(r.extra, cursor_take(&c, r.extra_len), r.extra_len);
	}
	*ret = r;
	return 0;
}
