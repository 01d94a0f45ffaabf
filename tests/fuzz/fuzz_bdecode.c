// SPDX-License-Identifier: MIT
/* Fuzzes the bencode parser: what it accepts, written again, must give the same bytes, since only
 * one spelling of each value is accepted; values lie inside their containers.
 */
#include "base/bencode.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

/* Recursion is bounded by the parser's depth limit, which is thereby tested too. */
static void rewrite(struct ben v, struct buf *out, unsigned depth)
{
	enum ben_type type = ben_type(v);
	size_t len, n = 0, raw_len;
	const uint8_t *raw = ben_raw(v, &raw_len);

	if (type == BEN_INT) {
		ben_add_int(out, ben_int(v, 0));
		return;
	}
	if (type == BEN_STR) {
		const uint8_t *s = ben_bytes(v, &len);
		ben_add_bytes(out, s, len);
		char *copy = ben_strdup(v);
		must(!copy == (memchr(s, 0, len) != NULL) && (!copy || ben_is(v, copy)));
		free(copy);
		return;
	}
	must(depth < BENCODE_MAX_DEPTH);
	buf_add_str(out, type == BEN_DICT ? "d" : "l");
	for (struct ben_iter i = ben_iter(v); ben_next(&i); n++) {
		const uint8_t *inner = ben_raw(i.value, &len);
		must(inner > raw && inner + len < raw + raw_len);
		if (type == BEN_DICT)
			ben_add_bytes(out, i.key, i.key_len);
		rewrite(i.value, out, depth + 1);
	}
	must(n == ben_count(v));
	buf_add_str(out, "e");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ben_doc *doc;
	struct buf out = {0};
	const char *why = NULL;
	size_t used, at = SIZE_MAX;

	if (ben_parse_prefix(data, size, BENCODE_MAX_TOKENS, &doc, &used, &why, &at)) {
		must(why && at <= size);
		return 0;
	}
	must(used <= size);
	rewrite(ben_root(doc), &out, 0);
	must(out.len == used && memcmp(buf_bytes(&out), data, used) == 0);
	buf_done(&out);
	ben_canonical(doc);
	ben_get(ben_root(doc), "info");
	ben_free(doc);

	int err = ben_parse(data, size, BENCODE_MAX_TOKENS, &doc, &why, &at);
	must((err == 0) == (used == size));
	if (!err)
		ben_free(doc);
	return 0;
}
