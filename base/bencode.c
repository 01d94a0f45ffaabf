// SPDX-License-Identifier: MIT
/* Bencoding: see bencode.h.
 *
 * The document is an array of tokens in the order of the text, 16 bytes each.  A list's or
 * dictionary's token tells where its subtree ends, so that a value is skipped in one step; keys are
 * tokens of their own, in front of their values.  The parser keeps the open containers in an array
 * of BENCODE_MAX_DEPTH, so neither its stack nor its memory is the input's to choose.
 *
 * Thread: any (pure).
 */
#include "base/bencode.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_COUNT_BITS 29

struct token {
	uint32_t start, end; /* the value's own bytes */
	uint32_t next; /* the token behind this one's subtree */
	uint32_t type : 32 - TOKEN_COUNT_BITS;
	uint32_t n : TOKEN_COUNT_BITS; /* string: length of "123:"; list, dict: number of values */
};
_Static_assert(sizeof(struct token) == 16, "16 bytes a token");

struct ben_doc {
	const uint8_t *data; /* borrowed */
	struct token *tokens;
	uint32_t n, cap;
	bool canonical;
};

/* -- parsing --------------------------------------------------------------------------------- */

#define NO_KEY UINT32_MAX

struct open {
	uint32_t token;
	uint32_t last_key; /* dictionaries: to see whether they are sorted */
	bool want_value; /* dictionaries: a key has come */
};

struct parser {
	const uint8_t *data;
	size_t len, at;
	uint32_t max_tokens;
	struct ben_doc *doc;
	const char *why;
	struct open stack[BENCODE_MAX_DEPTH];
	unsigned depth;
};

static int parser_fail(struct parser *p, int err, const char *why)
{
	p->why = why;
	return err;
}

static int token_add(struct parser *p, enum ben_type type, uint32_t *ret)
{
	struct ben_doc *d = p->doc;

	if (d->n >= p->max_tokens)
		return parser_fail(p, -E2BIG, "too many values");
	if (d->n == d->cap) {
		uint32_t cap = MIN(d->cap ? 2 * d->cap : 32, p->max_tokens);
		struct token *t = reallocarray(d->tokens, cap, sizeof(*t));
		if (!t)
			return parser_fail(p, -ENOMEM, "out of memory");
		d->tokens = t;
		d->cap = cap;
	}
	d->tokens[d->n] = (struct token) {.start = (uint32_t)p->at, .type = type, .next = d->n + 1};
	*ret = d->n++;
	return 0;
}

/* Decimal digits up to `limit` (9 or more), no leading zeros; stops at what is no digit. */
static int parse_digits(struct parser *p, uint64_t limit, const char *too_large, uint64_t *ret)
{
	size_t first = p->at;
	uint64_t v = 0;

	for (; p->at < p->len && p->data[p->at] >= '0' && p->data[p->at] <= '9'; p->at++) {
		unsigned digit = p->data[p->at] - '0';
		if (p->at > first && v == 0)
			return parser_fail(p, -EINVAL, "leading zero");
		if (v > (limit - digit) / 10)
			return parser_fail(p, -EINVAL, too_large);
		v = v * 10 + digit;
	}
	if (p->at == first)
		return parser_fail(p, -EINVAL, p->at < p->len ? "not a digit" : "ends too early");
	*ret = v;
	return 0;
}

static int parse_int(struct parser *p)
{
	uint32_t token;
	uint64_t v;

	int err = token_add(p, BEN_INT, &token);
	if (err)
		return err;
	p->at++;
	bool minus = p->at < p->len && p->data[p->at] == '-';
	p->at += minus;
	err = parse_digits(p, (uint64_t)INT64_MAX + minus, "integer beyond 64 bits", &v);
	if (err)
		return err;
	if (minus && v == 0)
		return parser_fail(p, -EINVAL, "minus zero");
	if (p->at == p->len || p->data[p->at] != 'e')
		return parser_fail(p, -EINVAL, "integer without its end");
	p->at++;
	p->doc->tokens[token].end = (uint32_t)p->at;
	return 0;
}

static int parse_str(struct parser *p, uint32_t *ret_token)
{
	size_t start = p->at;
	uint64_t n;

	int err = token_add(p, BEN_STR, ret_token);
	if (err)
		return err;
	err = parse_digits(p, UINT32_MAX, "string longer than the data", &n);
	if (err)
		return err;
	if (p->at == p->len || p->data[p->at] != ':')
		return parser_fail(p, -EINVAL, "string length without its colon");
	p->at++;
	if (n > p->len - p->at)
		return parser_fail(p, -EINVAL, "string longer than the data");
	struct token *t = &p->doc->tokens[*ret_token];
	t->n = (uint32_t)(p->at - start) & ((1u << TOKEN_COUNT_BITS) - 1);
	p->at += (size_t)n;
	t->end = (uint32_t)p->at;
	return 0;
}

static int parse_open(struct parser *p, enum ben_type type)
{
	uint32_t token;

	if (p->depth == BENCODE_MAX_DEPTH)
		return parser_fail(p, -E2BIG, "nested too deeply");
	int err = token_add(p, type, &token);
	if (err)
		return err;
	p->stack[p->depth++] = (struct open) {.token = token, .last_key = NO_KEY};
	p->at++;
	return 0;
}

static const uint8_t *token_text(const struct ben_doc *d, uint32_t token, size_t *ret_len)
{
	const struct token *t = &d->tokens[token];

	*ret_len = t->end - t->start - t->n;
	return d->data + t->start + t->n;
}

static int compare_bytes(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	int order = memcmp(a, b, MIN(a_len, b_len));

	return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int parse_key(struct parser *p, struct open *in)
{
	uint32_t token;

	if (p->data[p->at] < '0' || p->data[p->at] > '9')
		return parser_fail(p, -EINVAL, "dictionary key is no string");
	int err = parse_str(p, &token);
	if (err)
		return err;
	if (in->last_key != NO_KEY && p->doc->canonical) {
		size_t last_len, len;
		const uint8_t *last = token_text(p->doc, in->last_key, &last_len);
		const uint8_t *key = token_text(p->doc, token, &len);
		p->doc->canonical = compare_bytes(last, last_len, key, len) < 0;
	}
	in->last_key = token;
	in->want_value = true;
	return 0;
}

/* One step inside the innermost open container: its end, a key, or a value. */
static int parse_step(struct parser *p)
{
	struct open *in = p->depth ? &p->stack[p->depth - 1] : NULL;
	struct ben_doc *d = p->doc;
	uint32_t token;

	if (p->at == p->len)
		return parser_fail(p, -EINVAL, "ends too early");
	uint8_t c = p->data[p->at];
	if (in && c == 'e') {
		if (in->want_value)
			return parser_fail(p, -EINVAL, "dictionary key without its value");
		p->at++;
		d->tokens[in->token].end = (uint32_t)p->at;
		d->tokens[in->token].next = d->n;
		p->depth--;
		return 0;
	}
	if (in && d->tokens[in->token].type == BEN_DICT && !in->want_value)
		return parse_key(p, in);
	if (in) {
		in->want_value = false;
		d->tokens[in->token].n++;
	}
	switch (c) {
	case 'i':
		return parse_int(p);
	case 'l':
		return parse_open(p, BEN_LIST);
	case 'd':
		return parse_open(p, BEN_DICT);
	case '0' ... '9':
		return parse_str(p, &token);
	default:
		return parser_fail(p, -EINVAL, "not a value");
	}
}

int ben_parse_prefix(const void *data, size_t len, uint32_t max_tokens, struct ben_doc **ret_doc,
	size_t *ret_used, const char **ret_why, size_t *ret_at)
{
	struct parser p = {.data = data, .len = len};
	int err = 0;

	/* Counts of values fit their field, "no key" is no token. */
	p.max_tokens = MIN(max_tokens, (1u << TOKEN_COUNT_BITS) - 1);
	p.doc = xcalloc(1, sizeof(*p.doc));
	p.doc->data = data;
	p.doc->canonical = true;
	if (len > UINT32_MAX)
		err = parser_fail(&p, -E2BIG, "longer than 4 GiB");
	else
		do
			err = parse_step(&p);
		while (!err && p.depth);
	if (err) {
		ben_free(p.doc);
		*ret_why = p.why;
		*ret_at = p.at;
		return err;
	}
	*ret_doc = p.doc;
	*ret_used = p.at;
	return 0;
}

int ben_parse(const void *data, size_t len, uint32_t max_tokens, struct ben_doc **ret_doc,
	const char **ret_why, size_t *ret_at)
{
	struct ben_doc *doc;
	size_t used;

	int err = ben_parse_prefix(data, len, max_tokens, &doc, &used, ret_why, ret_at);
	if (err)
		return err;
	if (used != len) {
		ben_free(doc);
		*ret_why = "bytes behind the value";
		*ret_at = used;
		return -EINVAL;
	}
	*ret_doc = doc;
	return 0;
}

void ben_free(struct ben_doc *doc)
{
	if (!doc)
		return;
	free(doc->tokens);
	free(doc);
}

bool ben_canonical(const struct ben_doc *doc)
{
	return doc->canonical;
}

/* -- reading --------------------------------------------------------------------------------- */

static const struct token *ben_token(struct ben v)
{
	return v.doc ? &v.doc->tokens[v.token] : NULL;
}

struct ben ben_root(const struct ben_doc *doc)
{
	return (struct ben) {.doc = doc};
}

enum ben_type ben_type(struct ben v)
{
	const struct token *t = ben_token(v);

	return t ? (enum ben_type)t->type : BEN_NONE;
}

const uint8_t *ben_raw(struct ben v, size_t *ret_len)
{
	const struct token *t = ben_token(v);

	*ret_len = t ? t->end - t->start : 0;
	return t ? v.doc->data + t->start : NULL;
}

struct ben ben_get(struct ben dict, const char *key)
{
	size_t len = strlen(key);

	if (ben_type(dict) != BEN_DICT)
		return (struct ben) {0};
	for (struct ben_iter i = ben_iter(dict); ben_next(&i);)
		if (i.key_len == len && memcmp(i.key, key, len) == 0)
			return i.value;
	return (struct ben) {0};
}

struct ben ben_get_type(struct ben dict, const char *key, enum ben_type type)
{
	struct ben v = ben_get(dict, key);

	return ben_type(v) == type ? v : (struct ben) {0};
}

const uint8_t *ben_bytes(struct ben v, size_t *ret_len)
{
	*ret_len = 0;
	return ben_type(v) == BEN_STR ? token_text(v.doc, v.token, ret_len) : NULL;
}

int64_t ben_int(struct ben v, int64_t otherwise)
{
	if (ben_type(v) != BEN_INT)
		return otherwise;
	/* The parser has checked it: only digits, and they fit. */
	const uint8_t *p = v.doc->data + ben_token(v)->start + 1;
	bool minus = *p == '-';
	uint64_t n = 0;
	for (p += minus; *p != 'e'; p++)
		n = n * 10 + (uint64_t)(*p - '0');
	return (int64_t)(minus ? -n : n);
}

char *ben_strdup(struct ben v)
{
	size_t len;
	const uint8_t *s = ben_bytes(v, &len);

	if (!s || memchr(s, 0, len))
		return NULL;
	return xstrndup((const char *)s, len);
}

bool ben_is(struct ben v, const char *text)
{
	size_t len;
	const uint8_t *s = ben_bytes(v, &len);

	return s && len == strlen(text) && memcmp(s, text, len) == 0;
}

struct ben_iter ben_iter(struct ben list_or_dict)
{
	enum ben_type type = ben_type(list_or_dict);

	if (type != BEN_LIST && type != BEN_DICT)
		return (struct ben_iter) {0};
	return (struct ben_iter) {
		.value.doc = list_or_dict.doc,
		.next = list_or_dict.token + 1,
		.end = ben_token(list_or_dict)->next,
		.dict = type == BEN_DICT,
	};
}

bool ben_next(struct ben_iter *i)
{
	const struct ben_doc *d = i->value.doc;

	if (i->next == i->end)
		return false;
	if (i->dict)
		i->key = token_text(d, i->next++, &i->key_len);
	i->value.token = i->next;
	i->next = d->tokens[i->next].next;
	return true;
}

size_t ben_count(struct ben list_or_dict)
{
	enum ben_type type = ben_type(list_or_dict);

	return type == BEN_LIST || type == BEN_DICT ? ben_token(list_or_dict)->n : 0;
}

/* -- writing --------------------------------------------------------------------------------- */

void ben_add_int(struct buf *b, int64_t v)
{
	buf_addf(b, "i%llde", (long long)v);
}

void ben_add_bytes(struct buf *b, const void *data, size_t len)
{
	buf_addf(b, "%zu:", len);
	buf_add(b, data, len);
}

void ben_add_str(struct buf *b, const char *s)
{
	ben_add_bytes(b, s, strlen(s));
}
