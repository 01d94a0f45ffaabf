// SPDX-License-Identifier: MIT
/* Bencode: what is refused and why, what is accepted, limits at n and n + 1, reading, writing. */
#include "tests/unit/unit.h"

#include "base/bencode.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The input in memory of its exact size, so that a sanitizer sees a read past it. */
struct parsed {
	uint8_t *data;
	struct ben_doc *doc;
	const char *why;
	size_t at;
	int err;
};

static struct parsed parse_bytes(const void *data, size_t len, uint32_t max_tokens)
{
	struct parsed p = {.data = malloc(len)};

	if (len)
		memcpy(p.data, data, len);
	p.err = ben_parse(p.data, len, max_tokens, &p.doc, &p.why, &p.at);
	return p;
}

static struct parsed parse(const char *text)
{
	return parse_bytes(text, strlen(text), 1000);
}

static void done(struct parsed *p)
{
	ben_free(p->doc);
	free(p->data);
}

static struct parsed parse_good(const char *text)
{
	struct parsed p = parse(text);

	if (p.err)
		fail_msg("%s: refused: %s at %zu", text, p.why, p.at);
	return p;
}

static const struct {
	const char *text, *why;
	size_t at;
} refused[] = {
	{"", "ends too early", 0},
	{"i", "ends too early", 1},
	{"ie", "not a digit", 1},
	{"i e", "not a digit", 1},
	{"i+1e", "not a digit", 1},
	{"i-e", "not a digit", 2},
	{"i--1e", "not a digit", 2},
	{"i1", "integer without its end", 2},
	{"i1 e", "integer without its end", 2},
	{"i1.5e", "integer without its end", 2},
	{"i0x1e", "integer without its end", 2},
	{"i-0e", "minus zero", 3},
	{"i00e", "leading zero", 2},
	{"i01e", "leading zero", 2},
	{"i-01e", "leading zero", 3},
	{"i9223372036854775808e", "integer beyond 64 bits", 19},
	{"i-9223372036854775809e", "integer beyond 64 bits", 20},
	{"i18446744073709551616e", "integer beyond 64 bits", 20},
	{"i99999999999999999999999999e", "integer beyond 64 bits", 19},
	{"3", "string length without its colon", 1},
	{"1ab", "string length without its colon", 1},
	{"3:ab", "string longer than the data", 2},
	{"5:abcd", "string longer than the data", 2},
	{"4294967295:a", "string longer than the data", 11},
	{"4294967296:a", "string longer than the data", 9},
	{"18446744073709551617:a", "string longer than the data", 10},
	{"9:", "string longer than the data", 2},
	{"3:", "string longer than the data", 2},
	{"2:", "string longer than the data", 2},
	{"00:", "leading zero", 1},
	{"01:a", "leading zero", 1},
	{"-1:a", "not a value", 0},
	{":", "not a value", 0},
	{"x", "not a value", 0},
	{"e", "not a value", 0},
	{" i1e", "not a value", 0},
	{"l", "ends too early", 1},
	{"li1e", "ends too early", 4},
	{"lx", "not a value", 1},
	{"d", "ends too early", 1},
	{"d1:a", "ends too early", 4},
	{"d1:ae", "dictionary key without its value", 4},
	{"di1ei2ee", "dictionary key is no string", 1},
	{"dle1:ae", "dictionary key is no string", 1},
	{"d1:ai1e1:be", "dictionary key without its value", 10},
	{"i1ei2e", "bytes behind the value", 3},
	{"i1e\n", "bytes behind the value", 3},
	{"lee", "bytes behind the value", 2},
};

static void test_refused_with_a_reason(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct parsed p = parse(refused[i].text);
		if (p.err != -EINVAL || strcmp(p.why, refused[i].why) != 0 || p.at != refused[i].at)
			fail_msg("%s: %d, %s at %zu", refused[i].text, p.err, p.why, p.at);
		assert_null(p.doc);
		done(&p);
	}
}

static void test_every_prefix_is_refused(void **state)
{
	static const char text[] = "d4:infod6:lengthi-12e4:name3:abc6:piecesl0:2:xyee1:xi0ee";

	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		struct parsed p = parse_bytes(text, len, 1000);
		assert_int_equal(p.err, -EINVAL);
		assert_true(p.at <= len);
		done(&p);
	}
	struct parsed p = parse_good(text);
	done(&p);
}

static void test_integers(void **state)
{
	static const struct {
		const char *text;
		int64_t v;
	} table[] = {{"i0e", 0}, {"i1e", 1}, {"i-1e", -1}, {"i10e", 10},
		{"i9223372036854775807e", INT64_MAX}, {"i-9223372036854775808e", INT64_MIN}};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct parsed p = parse_good(table[i].text);
		assert_true(ben_int(ben_root(p.doc), 7) == table[i].v);
		done(&p);
	}
}

static void test_strings(void **state)
{
	struct parsed p = parse_bytes("l0:3:abc3:a\0be", 14, 1000);
	struct ben_iter i = ben_iter(ben_root(p.doc));
	size_t len;

	assert_true(ben_next(&i));
	assert_non_null(ben_bytes(i.value, &len));
	assert_int_equal(len, 0);
	assert_true(ben_is(i.value, ""));
	assert_true(ben_next(&i));
	assert_memory_equal(ben_bytes(i.value, &len), "abc", 3);
	assert_int_equal(len, 3);
	char *copy = ben_strdup(i.value);
	assert_string_equal(copy, "abc");
	free(copy);
	assert_true(ben_is(i.value, "abc"));
	assert_false(ben_is(i.value, "ab"));
	assert_false(ben_is(i.value, "abcd"));
	assert_true(ben_next(&i));
	assert_int_equal((ben_bytes(i.value, &len), len), 3);
	assert_null(ben_strdup(i.value)); /* it has a NUL */
	assert_false(ben_is(i.value, "a"));
	assert_false(ben_next(&i));
	assert_false(ben_next(&i));
	done(&p);
}

static void test_dictionary(void **state)
{
	struct parsed p = parse_good("d1:ad1:xi1ee1:bl2:hii5ee2:ccd4:deepd4:morei9eeee");
	struct ben root = ben_root(p.doc), list = ben_get(root, "b");
	size_t len;

	assert_int_equal(ben_count(root), 3);
	assert_int_equal(ben_type(list), BEN_LIST);
	assert_int_equal(ben_count(list), 2);
	assert_int_equal(ben_int(ben_get(ben_get(root, "a"), "x"), 0), 1);
	assert_int_equal(ben_int(ben_get(ben_get(ben_get(root, "cc"), "deep"), "more"), 0), 9);
	assert_int_equal(ben_type(ben_get(root, "c")), BEN_NONE);
	assert_int_equal(ben_type(ben_get(root, "x")), BEN_NONE); /* not of the inner one */
	assert_int_equal(ben_type(ben_get_type(root, "b", BEN_LIST)), BEN_LIST);
	assert_int_equal(ben_type(ben_get_type(root, "b", BEN_DICT)), BEN_NONE);
	assert_memory_equal(ben_raw(list, &len), "l2:hii5ee", 9);
	assert_int_equal(len, 9);
	ben_raw(root, &len);
	assert_int_equal(len, strlen("d1:ad1:xi1ee1:bl2:hii5ee2:ccd4:deepd4:morei9eeee"));

	static const char *const keys[] = {"a", "b", "cc"};
	size_t n = 0;
	for (struct ben_iter i = ben_iter(root); ben_next(&i); n++) {
		assert_int_equal(i.key_len, strlen(keys[n]));
		assert_memory_equal(i.key, keys[n], i.key_len);
	}
	assert_int_equal(n, 3);
	done(&p);
}

static void test_empty_key(void **state)
{
	struct parsed p = parse_good("d3:abcd0:d6:lengthi5eeee"); /* as a file of BEP 52's tree */
	struct ben file = ben_get(ben_get(ben_root(p.doc), "abc"), "");

	assert_int_equal(ben_int(ben_get(file, "length"), 0), 5);
	done(&p);
}

static void test_missing_values_chain(void **state)
{
	struct parsed p = parse_good("d1:ai1ee");
	struct ben none = ben_get(ben_get(ben_get(ben_root(p.doc), "q"), "r"), "s");
	struct ben scalar = ben_get(ben_root(p.doc), "a");
	size_t len = 9;

	assert_int_equal(ben_type(none), BEN_NONE);
	assert_int_equal(ben_int(none, 42), 42);
	assert_null(ben_bytes(none, &len));
	assert_int_equal(len, 0);
	assert_null(ben_raw(none, &len));
	assert_null(ben_strdup(none));
	assert_false(ben_is(none, ""));
	assert_int_equal(ben_count(none), 0);
	struct ben_iter i = ben_iter(none);
	assert_false(ben_next(&i));

	i = ben_iter(scalar);
	assert_false(ben_next(&i));
	assert_int_equal(ben_count(scalar), 0);
	assert_null(ben_bytes(scalar, &len));
	assert_int_equal(ben_type(ben_get(scalar, "a")), BEN_NONE);
	assert_int_equal(ben_int(ben_root(p.doc), 42), 42);
	done(&p);
}

static void test_first_of_two_keys_counts(void **state)
{
	struct parsed p = parse_good("d1:ai1e1:ai2ee");

	assert_int_equal(ben_int(ben_get(ben_root(p.doc), "a"), 0), 1);
	assert_int_equal(ben_count(ben_root(p.doc)), 2);
	done(&p);
}

static void test_canonical(void **state)
{
	static const struct {
		const char *text;
		bool canonical;
	} table[] = {
		{"i1e", true}, {"de", true}, {"d1:ai1e1:bi1ee", true},
		{"d0:i1e1:ai1e2:aai1e1:bi1ee", true}, {"d1:bi1e1:ai1ee", false},
		{"d1:ai1e1:ai1ee", false}, {"d2:aai1e1:ai1ee", false},
		{"d1:\377i1e1:ai1ee", false}, /* bytes compare unsigned */
		{"d1:ai1e1:\377i1ee", true},
		{"ld1:ai1eed1:ai1eee", true}, /* two dictionaries, not twice the same key */
		{"d1:ad1:bi1e1:ai1ee1:bi1ee", false},
		{"d1:bd1:ai1ee1:ci1ee", true}, /* keys within do not count outside */
		{"d1:ad1:zi1ee1:bi1ee", true},
		{"d1:bi1e1:ai1e1:ci1ee", false}, /* once false, it stays so */
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct parsed p = parse_good(table[i].text);
		if (ben_canonical(p.doc) != table[i].canonical)
			fail_msg("%s", table[i].text);
		done(&p);
	}
}

static void test_depth_at_its_limit(void **state)
{
	for (unsigned over = 0; over < 2; over++) {
		size_t depth = BENCODE_MAX_DEPTH + over;
		uint8_t *text = malloc(2 * depth);
		memset(text, 'l', depth);
		memset(text + depth, 'e', depth);
		struct parsed p = parse_bytes(text, 2 * depth, 1000);
		assert_int_equal(p.err, over ? -E2BIG : 0);
		if (over) {
			assert_string_equal(p.why, "nested too deeply");
			assert_int_equal(p.at, BENCODE_MAX_DEPTH);
		}
		done(&p);
		free(text);
	}
}

/* BEP 52: a path of PATH_MAX_DEPTH parts must fit. */
static void test_deepest_file_tree_fits(void **state)
{
	struct buf b = {0};
	unsigned depth = PATH_MAX_DEPTH;

	buf_add_str(&b, "d4:infod9:file treed");
	for (unsigned i = 0; i < depth; i++)
		buf_add_str(&b, "1:ad");
	buf_add_str(&b, "0:d6:lengthi1ee");
	for (unsigned i = 0; i < depth + 3; i++)
		buf_add_str(&b, "e");
	struct parsed p = parse_bytes(buf_bytes(&b), b.len, 1000);
	assert_int_equal(p.err, 0);
	struct ben v = ben_get(ben_get(ben_root(p.doc), "info"), "file tree");
	for (unsigned i = 0; i < depth; i++)
		v = ben_get(v, "a");
	assert_int_equal(ben_int(ben_get(ben_get(v, ""), "length"), 0), 1);
	done(&p);
	buf_done(&b);
}

static void test_endless_nesting_costs_nothing(void **state)
{
	size_t len = 10 << 20;
	uint8_t *text = malloc(len);

	memset(text, 'l', len);
	struct parsed p = parse_bytes(text, len, UINT32_MAX);
	assert_int_equal(p.err, -E2BIG);
	done(&p);
	memset(text, 'd', len);
	p = parse_bytes(text, len, UINT32_MAX);
	assert_int_equal(p.err, -EINVAL);
	done(&p);
	free(text);
}

static void test_tokens_at_their_limit(void **state)
{
	/* A dictionary, two keys, two values. */
	static const char text[] = "d1:ai1e1:b1:ce";

	for (uint32_t max = 0; max < 7; max++) {
		struct parsed p = parse_bytes(text, sizeof(text) - 1, max);
		assert_int_equal(p.err, max < 5 ? -E2BIG : 0);
		if (max < 5)
			assert_string_equal(p.why, "too many values");
		done(&p);
	}
}

static void test_a_million_keys_are_walked_once(void **state)
{
	struct buf b = {0};
	uint32_t n = 1000000;
	size_t seen = 0;

	buf_add_str(&b, "d");
	for (uint32_t i = 0; i < n; i++)
		buf_addf(&b, "7:%07uld1:xleee", i);
	buf_add_str(&b, "e");
	struct parsed p = parse_bytes(buf_bytes(&b), b.len, UINT32_MAX);
	assert_int_equal(p.err, 0);
	assert_true(ben_canonical(p.doc));
	assert_int_equal(ben_count(ben_root(p.doc)), n);
	for (struct ben_iter i = ben_iter(ben_root(p.doc)); ben_next(&i); seen++)
		assert_int_equal(ben_count(i.value), 1);
	assert_int_equal(seen, n);
	done(&p);
	buf_done(&b);
}

static void test_prefix_tells_its_length(void **state)
{
	static const char text[] = "d5:piecei0ee\0binary";
	struct ben_doc *doc;
	const char *why;
	size_t used, at;

	assert_int_equal(ben_parse_prefix(text, sizeof(text), 100, &doc, &used, &why, &at), 0);
	assert_int_equal(used, 12);
	ben_free(doc);
	assert_int_equal(ben_parse_prefix("i12", 3, 100, &doc, &used, &why, &at), -EINVAL);
	assert_string_equal(why, "integer without its end");
	assert_int_equal(at, 3);
}

static void test_writing(void **state)
{
	struct buf b = {0};

	buf_add_str(&b, "d");
	ben_add_str(&b, "a");
	ben_add_int(&b, INT64_MIN);
	ben_add_str(&b, "b");
	ben_add_int(&b, INT64_MAX);
	ben_add_str(&b, "c");
	ben_add_bytes(&b, "x\0y", 3);
	ben_add_str(&b, "d");
	ben_add_str(&b, "");
	ben_add_str(&b, "e");
	ben_add_int(&b, 0);
	buf_add_str(&b, "e");
	static const char want[] =
		"d1:ai-9223372036854775808e1:bi9223372036854775807e1:c3:x\0y1:d0:1:ei0ee";
	assert_int_equal(b.len, sizeof(want) - 1);
	assert_memory_equal(buf_bytes(&b), want, b.len);
	struct parsed p = parse_bytes(buf_bytes(&b), b.len, 100);
	assert_int_equal(p.err, 0);
	assert_true(ben_canonical(p.doc));
	done(&p);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused_with_a_reason),
		cmocka_unit_test(test_every_prefix_is_refused),
		cmocka_unit_test(test_integers),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_dictionary),
		cmocka_unit_test(test_empty_key),
		cmocka_unit_test(test_missing_values_chain),
		cmocka_unit_test(test_first_of_two_keys_counts),
		cmocka_unit_test(test_canonical),
		cmocka_unit_test(test_depth_at_its_limit),
		cmocka_unit_test(test_deepest_file_tree_fits),
		cmocka_unit_test(test_endless_nesting_costs_nothing),
		cmocka_unit_test(test_tokens_at_their_limit),
		cmocka_unit_test(test_a_million_keys_are_walked_once),
		cmocka_unit_test(test_prefix_tells_its_length),
		cmocka_unit_test(test_writing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
