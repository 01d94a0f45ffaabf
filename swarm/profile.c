/* SPDX-License-Identifier: MIT */
/* See profile.h.
 *
 * Ranges stay in their order; what overlaps is found in a copy that is sorted by offset.  So
 * parsing and merging take n log n, whatever somebody wrote.
 *
 * Thread: any.
 */
#include "swarm/profile.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "p2pfs-profile"
#define VERSION 1u

struct profile *profile_new(uint64_t size, const char *torrent)
{
	struct profile *p = xcalloc(1, sizeof(*p));
	p->size = size;
	memcpy(p->torrent, torrent, MIN(strlen(torrent), sizeof(p->torrent) - 1));
	return p;
}

struct profile *profile_copy(const struct profile *p)
{
	struct profile *copy = profile_new(p->size, p->torrent);
	if (p->n)
		copy->ranges = xmemdup(p->ranges, p->n * sizeof(p->ranges[0]));
	copy->n = copy->cap = p->n;
	return copy;
}

void profile_free(struct profile *p)
{
	if (!p)
		return;
	free(p->ranges);
	free(p);
}

uint64_t profile_bytes(const struct profile *p)
{
	uint64_t bytes = 0;
	for (size_t i = 0; i < p->n; i++)
		bytes += p->ranges[i].length;
	return bytes;
}

static int append(struct profile *p, uint64_t offset, uint64_t length)
{
	if (p->n >= PROFILE_MAX_RANGES)
		return -E2BIG;
	GROW(p->ranges, p->n, p->cap);
	p->ranges[p->n++] = (struct profile_range) {offset, length};
	return 0;
}

int profile_add(struct profile *p, uint64_t offset, uint64_t length)
{
	struct profile_range *last = p->n ? &p->ranges[p->n - 1] : NULL;
	if (last && last->offset + last->length == offset) {
		last->length += length;
		return 0;
	}
	return append(p, offset, length);
}

/* -- parsing ---------------------------------------------------------------------------------- */

struct text {
	const char *at, *end;
};

static int bad(char **ret_why, size_t line, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int bad(char **ret_why, size_t line, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	CLEANUP_FREE char *why = xvasprintf(format, ap);
	va_end(ap);
	*ret_why = xasprintf("line %zu: %s", line, why);
	return -EINVAL;
}

static bool take_line(struct text *all, struct text *ret)
{
	const char *end = memchr(all->at, '\n', (size_t)(all->end - all->at));
	*ret = (struct text) {all->at, end ? end : all->end};
	all->at = end ? end + 1 : all->end;
	return end;
}

static const char *quoted(const struct text *t)
{
	return log_quote(t->at, (size_t)(t->end - t->at));
}

/* The word up to a blank or the end; the blank is passed over. */
static struct text take_word(struct text *line)
{
	const char *blank = memchr(line->at, ' ', (size_t)(line->end - line->at));
	struct text word = {line->at, blank ? blank : line->end};
	line->at = blank ? blank + 1 : line->end;
	return word;
}

static bool is_word(const struct text *t, const char *word)
{
	return (size_t)(t->end - t->at) == strlen(word) && !memcmp(t->at, word, strlen(word));
}

/* Digits with no zero in front. */
static bool is_number(const struct text *t, uint64_t *ret)
{
	uint64_t v = 0;
	if (t->at == t->end || (*t->at == '0' && t->end - t->at > 1))
		return false;
	for (const char *s = t->at; s < t->end; s++) {
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return false;
	}
	*ret = v;
	return true;
}

/* The name of an entry as metainfo_entry_name gives it, or '*'. */
static bool is_torrent(const struct text *t)
{
	size_t len = (size_t)(t->end - t->at);
	for (size_t i = 0; i < len; i++) {
		if (!memchr("0123456789abcdef", t->at[i], 16))
			return is_word(t, PROFILE_ANY);
	}
	return len == (size_t)2 * SHA1_LEN || len == (size_t)2 * SHA256_LEN;
}

static int parse_header(struct text line, struct profile *p, char **ret_why)
{
	struct text rest = line;
	struct text magic = take_word(&rest), version = take_word(&rest);
	struct text size = take_word(&rest), torrent = take_word(&rest);
	uint64_t v = 0;

	if (!is_word(&magic, MAGIC))
		return bad(ret_why, 1, "\"%s\": no profile: not \"" MAGIC " 1 SIZE TORRENT\"",
			quoted(&line));
	if (!is_number(&version, &v) || v != VERSION)
		return bad(
			ret_why, 1, "version \"%s\": only %u is known", quoted(&version), VERSION);
	if (!is_number(&size, &p->size) || !p->size || p->size > TORRENT_MAX_SIZE)
		return bad(ret_why, 1, "size \"%s\": not a number of bytes from 1 to %llu",
			quoted(&size), TORRENT_MAX_SIZE);
	if (!is_torrent(&torrent))
		return bad(
			ret_why, 1, "torrent \"%s\": neither an info-hash nor *", quoted(&torrent));
	if (rest.at != rest.end || torrent.end != line.end)
		return bad(ret_why, 1, "\"%s\": more than four words", quoted(&line));
	memcpy(p->torrent, torrent.at, (size_t)(torrent.end - torrent.at));
	return 0;
}

static int parse_range(struct text line, size_t number, struct profile *p, char **ret_why)
{
	struct text rest = line;
	struct text a = take_word(&rest), b = take_word(&rest);
	uint64_t offset, length;

	if (!is_number(&a, &offset) || !is_number(&b, &length) || b.end != line.end)
		return bad(ret_why, number, "\"%s\": not \"OFFSET LENGTH\"", quoted(&line));
	if (!length)
		return bad(ret_why, number, "\"%s\": no bytes", quoted(&line));
	if (offset > p->size || length > p->size - offset)
		return bad(ret_why, number, "\"%s\": goes past the size, %" PRIu64, quoted(&line),
			p->size);
	if (append(p, offset, length) < 0) {
		bad(ret_why, number, "more than %u ranges", PROFILE_MAX_RANGES);
		return -E2BIG;
	}
	return 0;
}

/* -- by offset -------------------------------------------------------------------------------- */

struct sorted {
	struct profile_range range;
	size_t line;
};

static int compare_offsets(const void *a, const void *b)
{
	const struct sorted *x = a, *y = b;
	return x->range.offset < y->range.offset ? -1 : x->range.offset > y->range.offset;
}

/* Malloc'd. */
static struct sorted *sort(const struct profile *p)
{
	struct sorted *s = xcalloc(p->n + 1, sizeof(*s));
	for (size_t i = 0; i < p->n; i++)
		s[i] = (struct sorted) {p->ranges[i], i + 2};
	qsort(s, p->n, sizeof(*s), compare_offsets);
	return s;
}

static int check_overlaps(const struct profile *p, char **ret_why)
{
	CLEANUP_FREE struct sorted *s = sort(p);
	for (size_t i = 1; i < p->n; i++) {
		const struct sorted *a = &s[i - 1], *b = &s[i];
		if (a->range.offset + a->range.length <= b->range.offset)
			continue;
		const struct sorted *later = a->line > b->line ? a : b,
				    *earlier = later == a ? b : a;
		return bad(ret_why, later->line, "\"%" PRIu64 " %" PRIu64 "\": overlaps line %zu",
			later->range.offset, later->range.length, earlier->line);
	}
	return 0;
}

int profile_parse(const void *data, size_t len, struct profile **ret, char **ret_why)
{
	if (len > PROFILE_MAX_BYTES) {
		*ret_why = xasprintf("%zu bytes: larger than %u", len, PROFILE_MAX_BYTES);
		return -E2BIG;
	}
	const char *text = len ? data : "";
	struct text all = {text, text + len}, line;
	struct profile *p = profile_new(0, "");
	size_t number = 1;
	bool whole = take_line(&all, &line);
	int r = parse_header(line, p, ret_why);
	while (!r && whole && all.at < all.end) {
		whole = take_line(&all, &line);
		r = parse_range(line, ++number, p, ret_why);
	}
	if (!r && !whole)
		r = bad(ret_why, number, "\"%s\": ends without a newline: cut off?", quoted(&line));
	if (!r)
		r = check_overlaps(p, ret_why);
	if (r < 0) {
		profile_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

int profile_load(const char *path, struct profile **ret, char **ret_why)
{
	CLEANUP_FREE uint8_t *data = NULL;
	size_t len;
	int r = read_file(path, PROFILE_MAX_BYTES, &data, &len);
	if (r == -EFBIG)
		*ret_why = xasprintf("larger than %u bytes", PROFILE_MAX_BYTES);
	else if (r < 0)
		*ret_why = xstrdup(strerror(-r));
	return r < 0 ? r : profile_parse(data, len, ret, ret_why);
}

void profile_write(const struct profile *p, struct buf *ret)
{
	buf_addf(ret, MAGIC " %u %" PRIu64 " %s\n", VERSION, p->size, p->torrent);
	for (size_t i = 0; i < p->n; i++)
		buf_addf(
			ret, "%" PRIu64 " %" PRIu64 "\n", p->ranges[i].offset, p->ranges[i].length);
}

char *profile_misfit(const struct profile *p, uint64_t size, const char *torrent)
{
	if (p->size != size)
		return xasprintf(
			"for a torrent of %" PRIu64 " bytes, this one has %" PRIu64, p->size, size);
	if (strcmp(p->torrent, PROFILE_ANY) && strcmp(p->torrent, torrent))
		return xasprintf("for torrent %s, this one is %s", p->torrent, torrent);
	return NULL;
}

/* -- merging ---------------------------------------------------------------------------------- */

/* The first of `s` that ends behind `offset`, or n. */
static size_t first_behind(const struct sorted *s, size_t n, uint64_t offset)
{
	size_t low = 0, high = n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (s[middle].range.offset + s[middle].range.length <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Appends what of `r` is in none of `s`. */
static int add_rest(struct profile *p, const struct sorted *s, size_t n, struct profile_range r)
{
	uint64_t at = r.offset, end = r.offset + r.length;
	size_t i = first_behind(s, n, at);
	while (at < end) {
		const struct profile_range *next = i < n ? &s[i].range : NULL;
		uint64_t to = next ? MIN(MAX(next->offset, at), end) : end;
		if (to > at && profile_add(p, at, to - at) < 0)
			return -E2BIG;
		at = next ? MAX(next->offset + next->length, to) : end;
		i++;
	}
	return 0;
}

int profile_merge(struct profile *p, const struct profile *from)
{
	if (p->size != from->size)
		return -EINVAL;
	CLEANUP_FREE struct sorted *s = sort(p);
	size_t n = p->n;
	if (strcmp(p->torrent, from->torrent))
		memcpy(p->torrent, PROFILE_ANY, sizeof(PROFILE_ANY));
	/* from's ranges do not overlap each other: what p had before is all that matters. */
	for (size_t i = 0; i < from->n; i++) {
		if (add_rest(p, s, n, from->ranges[i]) < 0)
			return -E2BIG;
	}
	return 0;
}
