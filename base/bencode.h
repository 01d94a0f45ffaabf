/* SPDX-License-Identifier: MIT */
/* Bencoding (BEP 3): a strict, iterative, bounded parser, and a writer.
 *
 * ben_parse makes one flat array of tokens over the caller's bytes, which must outlive it; nothing
 * is copied, nothing recurses.  Refused: depth or token count above the limits, integers with
 * leading zeros or "-0" or beyond int64, lengths past the end, keys that are no strings, trailing
 * bytes.  Keys out of order or twice are accepted on reading (real torrents have them; the first
 * one counts) and told by ben_canonical.
 *
 * A struct ben is a value in a parsed document; a missing value (.doc NULL) is of type BEN_NONE,
 * and every accessor takes it, so look-ups chain without checks.
 *
 * Thread: any (pure).
 */
#ifndef BASE_BENCODE_H
#define BASE_BENCODE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ben_type { BEN_NONE, BEN_INT, BEN_STR, BEN_LIST, BEN_DICT };

struct ben_doc;
struct ben {
	const struct ben_doc *doc; /* borrowed */
	uint32_t token;
};

/* Parses exactly `len` bytes with at most max_tokens tokens.  0 and *ret_doc (free it with
 * ben_free), or -EINVAL, -E2BIG or -ENOMEM with a static reason and the offset where it failed. */
int ben_parse(const void *data, size_t len, uint32_t max_tokens, struct ben_doc **ret_doc,
	const char **ret_why, size_t *ret_at);
/* The same, but bytes may follow the value: *ret_used tells its length. */
int ben_parse_prefix(const void *data, size_t len, uint32_t max_tokens, struct ben_doc **ret_doc,
	size_t *ret_used, const char **ret_why, size_t *ret_at);
void ben_free(struct ben_doc *doc);
/* All dictionaries sorted and without duplicates? */
bool ben_canonical(const struct ben_doc *doc);

struct ben ben_root(const struct ben_doc *doc);
enum ben_type ben_type(struct ben v);
/* The value's own bytes, as they stand (what an info-hash is taken over). */
const uint8_t *ben_raw(struct ben v, size_t *ret_len);

struct ben ben_get(struct ben dict, const char *key);
struct ben ben_get_type(struct ben dict, const char *key, enum ben_type type);
/* The bytes of a string, or NULL. */
const uint8_t *ben_bytes(struct ben v, size_t *ret_len);
/* The integer, or `otherwise` when it is none. */
int64_t ben_int(struct ben v, int64_t otherwise);
/* A NUL-terminated copy of a string, the caller's; NULL for none or one with a NUL in it. */
char *ben_strdup(struct ben v);
bool ben_is(struct ben v, const char *text);

/* for (struct ben_iter i = ben_iter(v); ben_next(&i);) use i.value (and i.key, i.key_len). */
struct ben_iter {
	struct ben value;
	const uint8_t *key; /* dictionaries only */
	size_t key_len;
	uint32_t next, end; /* tokens; the iterator's own */
	bool dict;
};
struct ben_iter ben_iter(struct ben list_or_dict);
bool ben_next(struct ben_iter *i);
size_t ben_count(struct ben list_or_dict);

/* Writing, onto a buffer; the caller keeps dictionaries sorted. */
void ben_add_int(struct buf *b, int64_t v);
void ben_add_bytes(struct buf *b, const void *data, size_t len);
void ben_add_str(struct buf *b, const char *s);

#endif
