// SPDX-License-Identifier: MIT
/* Boot profiles: the text, what is refused and why, limits, merging against a model of bytes. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/mem.h"
#include "swarm/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define V1 "0123456789abcdef0123456789abcdef01234567"
#define HEAD "p2pfs-profile 1 1000 " V1 "\n"

static struct profile *parse(const char *text)
{
	struct profile *p = NULL;
	char *why = NULL;
	if (profile_parse(text, strlen(text), &p, &why) < 0)
		fail_msg("%s", why);
	return p;
}

static char *text_of(const struct profile *p)
{
	struct buf b = {0};
	profile_write(p, &b);
	char *text = xstrndup((const char *)buf_bytes(&b), b.len);
	buf_done(&b);
	return text;
}

static void assert_text(const struct profile *p, const char *want)
{
	CLEANUP_FREE char *text = text_of(p);
	assert_string_equal(text, want);
}

static void assert_refused(const char *data, size_t len, int error, const char *want)
{
	struct profile *p = NULL;
	CLEANUP_FREE char *why = NULL;
	assert_int_equal(profile_parse(data, len, &p, &why), error);
	assert_null(p);
	assert_string_equal(why, want);
}

#define REFUSED(text, want) assert_refused(text, sizeof(text) - 1, -EINVAL, want)

static void test_keeps_order_and_bytes(void **state)
{
	static const char text[] = HEAD "512 16\n0 512\n999 1\n528 100\n";
	struct profile *p = parse(text);
	assert_int_equal(p->size, 1000);
	assert_string_equal(p->torrent, V1);
	assert_int_equal(p->n, 4);
	assert_int_equal(p->ranges[0].offset, 512);
	assert_int_equal(p->ranges[3].length, 100);
	assert_int_equal(profile_bytes(p), 629);
	assert_text(p, text);
	profile_free(p);
}

static void test_takes_a_header_alone_and_any_torrent(void **state)
{
	struct profile *p = parse("p2pfs-profile 1 1 *\n");
	assert_int_equal(p->n, 0);
	assert_string_equal(p->torrent, PROFILE_ANY);
	profile_free(p);
	p = parse("p2pfs-profile 1 1152921504606846976 " V1 "0123456789abcdef01234567\n"
		  "1152921504606846975 1\n");
	assert_int_equal(p->size, TORRENT_MAX_SIZE);
	profile_free(p);
}

static void test_a_bad_header_is_told_by_line_and_value(void **state)
{
	REFUSED("", "line 1: \"\": no profile: not \"p2pfs-profile 1 SIZE TORRENT\"");
	REFUSED("d4:infoe\n",
		"line 1: \"d4:infoe\": no profile: not \"p2pfs-profile 1 SIZE TORRENT\"");
	REFUSED("p2pfs-profile 2 5 *\n", "line 1: version \"2\": only 1 is known");
	REFUSED("p2pfs-profile 1 0 *\n",
		"line 1: size \"0\": not a number of bytes from 1 to 1152921504606846976");
	REFUSED("p2pfs-profile 1 1152921504606846977 *\n",
		"line 1: size \"1152921504606846977\": not a number of bytes from 1 to "
		"1152921504606846976");
	REFUSED("p2pfs-profile 1 5\n", "line 1: torrent \"\": neither an info-hash nor *");
	REFUSED("p2pfs-profile 1 5 abc\n", "line 1: torrent \"abc\": neither an info-hash nor *");
	REFUSED("p2pfs-profile 1 5 0123456789ABCDEF0123456789ABCDEF01234567\n",
		"line 1: torrent \"0123456789ABCDEF0123456789ABCDEF01234567\": neither an "
		"info-hash "
		"nor *");
	REFUSED("p2pfs-profile 1 5 * x\n",
		"line 1: \"p2pfs-profile 1 5 * x\": more than four words");
	REFUSED("p2pfs-profile 1 5 * \n", "line 1: \"p2pfs-profile 1 5 * \": more than four words");
	REFUSED("p2pfs-profile 1 5 *",
		"line 1: \"p2pfs-profile 1 5 *\": ends without a newline: cut off?");
}

static void test_a_bad_range_is_told_by_line_and_value(void **state)
{
	REFUSED(HEAD "0 16\nhello\n", "line 3: \"hello\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "\n", "line 2: \"\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "0\n", "line 2: \"0\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "0 16 \n", "line 2: \"0 16 \": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "0 16 16\n", "line 2: \"0 16 16\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "0  16\n", "line 2: \"0  16\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "-1 16\n", "line 2: \"-1 16\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "00 16\n", "line 2: \"00 16\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "0 016\n", "line 2: \"0 016\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "0 16\r\n", "line 2: \"0 16\\x0d\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "0\0 16\n", "line 2: \"0\\x00 16\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "0 18446744073709551616\n",
		"line 2: \"0 18446744073709551616\": not \"OFFSET LENGTH\"");
	REFUSED(HEAD "0 0\n", "line 2: \"0 0\": no bytes");
	REFUSED(HEAD "0 1001\n", "line 2: \"0 1001\": goes past the size, 1000");
	REFUSED(HEAD "1000 1\n", "line 2: \"1000 1\": goes past the size, 1000");
	REFUSED(HEAD "999 18446744073709551615\n",
		"line 2: \"999 18446744073709551615\": goes past the size, 1000");
	REFUSED(HEAD "0 16\n16 3", "line 3: \"16 3\": ends without a newline: cut off?");
}

static void test_an_overlap_is_told_with_both_lines(void **state)
{
	REFUSED(HEAD "0 16\n32 8\n15 4\n", "line 4: \"15 4\": overlaps line 2");
	REFUSED(HEAD "100 50\n0 101\n", "line 3: \"0 101\": overlaps line 2");
	REFUSED(HEAD "7 1\n7 1\n", "line 3: \"7 1\": overlaps line 2");
	profile_free(parse(HEAD "0 16\n16 16\n"));
}

static void test_as_many_ranges_as_the_limit_and_no_more(void **state)
{
	struct buf b = {0};
	buf_addf(&b, "p2pfs-profile 1 %llu *\n", TORRENT_MAX_SIZE);
	for (unsigned i = 0; i < PROFILE_MAX_RANGES; i++)
		buf_addf(&b, "%u 1\n", 2 * i);
	struct profile *p = NULL;
	char *why = NULL;
	assert_int_equal(profile_parse(buf_bytes(&b), b.len, &p, &why), 0);
	assert_int_equal(p->n, PROFILE_MAX_RANGES);
	assert_int_equal(profile_add(p, TORRENT_MAX_SIZE - 1, 1), -E2BIG);
	/* What goes on from the last one needs no room. */
	assert_int_equal(profile_add(p, 2 * (PROFILE_MAX_RANGES - 1) + 1, 1), 0);
	profile_free(p);
	buf_addf(&b, "%u 1\n", 2 * PROFILE_MAX_RANGES);
	assert_refused(
		(const char *)buf_bytes(&b), b.len, -E2BIG, "line 131074: more than 131072 ranges");
	buf_done(&b);
}

static void test_no_more_bytes_than_the_limit(void **state)
{
	CLEANUP_FREE char *data = xmalloc(PROFILE_MAX_BYTES + 1);
	memset(data, 'x', PROFILE_MAX_BYTES + 1);
	memcpy(data, HEAD, strlen(HEAD));
	assert_refused(data, PROFILE_MAX_BYTES + 1, -E2BIG, "6291457 bytes: larger than 6291456");
	struct profile *p = NULL;
	CLEANUP_FREE char *why = NULL;
	assert_int_equal(profile_parse(data, PROFILE_MAX_BYTES, &p, &why), -EINVAL);
}

/* The longest that there can be, so that what we write is read again. */
static void test_what_is_written_is_within_the_limit(void **state)
{
	struct profile *p = profile_new(TORRENT_MAX_SIZE, V1 "0123456789abcdef01234567");
	for (unsigned i = 0; i < PROFILE_MAX_RANGES; i++)
		assert_int_equal(
			profile_add(p, 1000000000000000000ull + i * 100000000ull, 16384), 0);
	struct buf b = {0};
	profile_write(p, &b);
	uint64_t longest = 2 * (uint64_t)strlen("1152921504606846976") + 2;
	assert_true(b.len <= PROFILE_MAX_BYTES);
	assert_true(longest * PROFILE_MAX_RANGES + 120 <= PROFILE_MAX_BYTES);
	struct profile *again = NULL;
	char *why = NULL;
	assert_int_equal(profile_parse(buf_bytes(&b), b.len, &again, &why), 0);
	assert_int_equal(again->n, p->n);
	profile_free(again);
	profile_free(p);
	buf_done(&b);
}

static void test_what_goes_on_is_joined(void **state)
{
	struct profile *p = profile_new(1000, V1);
	profile_add(p, 100, 50);
	profile_add(p, 150, 50);
	profile_add(p, 300, 10);
	profile_add(p, 290, 10);
	assert_text(p, HEAD "100 100\n300 10\n290 10\n");
	profile_free(p);
}

static void test_misfits(void **state)
{
	struct profile *p = parse(HEAD "0 1\n"), *any = parse("p2pfs-profile 1 1000 *\n0 1\n");
	CLEANUP_FREE char *size = profile_misfit(p, 999, V1), *name = profile_misfit(p, 1000, "ff");
	CLEANUP_FREE char *any_size = profile_misfit(any, 1001, V1);
	assert_null(profile_misfit(p, 1000, V1));
	assert_null(profile_misfit(any, 1000, "ff"));
	assert_string_equal(size, "for a torrent of 1000 bytes, this one has 999");
	assert_string_equal(name, "for torrent " V1 ", this one is ff");
	assert_string_equal(any_size, "for a torrent of 1000 bytes, this one has 1001");
	profile_free(p);
	profile_free(any);
}

static void merge_gives(const char *into, const char *from, int result, const char *want)
{
	struct profile *p = parse(into), *q = parse(from);
	assert_int_equal(profile_merge(p, q), result);
	assert_text(p, want);
	profile_free(p);
	profile_free(q);
}

static void test_merge_keeps_the_first_and_adds_the_rest(void **state)
{
	merge_gives(HEAD "500 100\n0 10\n", HEAD "400 300\n5 10\n0 5\n", 0,
		HEAD "500 100\n0 10\n400 100\n600 100\n10 5\n");
	merge_gives(HEAD, HEAD "3 4\n1 1\n", 0, HEAD "3 4\n1 1\n");
	merge_gives(HEAD "3 4\n1 1\n", HEAD, 0, HEAD "3 4\n1 1\n");
	merge_gives(HEAD "0 1000\n", HEAD "3 4\n999 1\n", 0, HEAD "0 1000\n");
	merge_gives(HEAD "10 10\n30 10\n50 10\n", HEAD "0 100\n", 0,
		HEAD "10 10\n30 10\n50 10\n0 10\n20 10\n40 10\n60 40\n");
}

static void test_merge_of_two_torrents_is_of_any(void **state)
{
	merge_gives(
		HEAD "0 1\n", "p2pfs-profile 1 1000 *\n1 1\n", 0, "p2pfs-profile 1 1000 *\n0 2\n");
	merge_gives("p2pfs-profile 1 1000 *\n1 1\n", HEAD "0 1\n", 0,
		"p2pfs-profile 1 1000 *\n1 1\n0 1\n");
}

static void test_merge_refuses_another_size(void **state)
{
	merge_gives(HEAD "0 1\n", "p2pfs-profile 1 999 " V1 "\n5 1\n", -EINVAL, HEAD "0 1\n");
}

static void test_merge_ends_at_the_limit(void **state)
{
	struct profile *p = profile_new(1ull << 40, V1), *q = profile_new(1ull << 40, V1);
	for (unsigned i = 0; i < PROFILE_MAX_RANGES - 1; i++)
		profile_add(p, 4ull * i, 1);
	profile_add(q, 2, 1);
	profile_add(q, 6, 1);
	assert_int_equal(profile_merge(p, q), -E2BIG);
	assert_int_equal(p->n, PROFILE_MAX_RANGES);
	assert_int_equal(p->ranges[p->n - 1].offset, 2);
	profile_free(p);
	profile_free(q);
}

/* Random profiles of a small space, merged here and byte by byte. */
static struct profile *random_profile(unsigned *seed)
{
	struct profile *p = profile_new(200, V1);
	uint8_t taken[200] = {0};
	unsigned tries = (unsigned)rand_r(seed) % 20;
	for (unsigned i = 0; i < tries; i++) {
		unsigned at = (unsigned)rand_r(seed) % 200, len = 1 + (unsigned)rand_r(seed) % 30,
			 n = 0;
		while (n < len && at + n < 200 && !taken[at + n])
			taken[at + n++] = 1;
		if (n)
			profile_add(p, at, n);
	}
	return p;
}

static void order_of(const struct profile *p, uint8_t seen[200], unsigned order[200], unsigned *n)
{
	for (size_t i = 0; i < p->n; i++) {
		for (uint64_t k = 0; k < p->ranges[i].length; k++) {
			uint64_t at = p->ranges[i].offset + k;
			if (!seen[at])
				order[(*n)++] = (unsigned)at;
			seen[at] = 1;
		}
	}
}

static void test_merge_agrees_with_bytes(void **state)
{
	unsigned seed = 1;
	for (int round = 0; round < 3000; round++) {
		struct profile *p = random_profile(&seed), *q = random_profile(&seed);
		uint8_t seen[200] = {0}, again[200] = {0};
		unsigned want[200], got[200], n = 0, n_got = 0;
		order_of(p, seen, want, &n);
		order_of(q, seen, want, &n);
		assert_int_equal(profile_merge(p, q), 0);
		order_of(p, again, got, &n_got);
		assert_int_equal(profile_bytes(p), n);
		assert_int_equal(n_got, n);
		assert_memory_equal(got, want, n * sizeof(got[0]));
		profile_free(p);
		profile_free(q);
	}
}

static void test_a_file_that_is_not_there(void **state)
{
	struct profile *p = NULL;
	CLEANUP_FREE char *why = NULL;
	assert_int_equal(profile_load("/nonexistent/profile", &p, &why), -ENOENT);
	assert_string_equal(why, "No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keeps_order_and_bytes),
		cmocka_unit_test(test_takes_a_header_alone_and_any_torrent),
		cmocka_unit_test(test_a_bad_header_is_told_by_line_and_value),
		cmocka_unit_test(test_a_bad_range_is_told_by_line_and_value),
		cmocka_unit_test(test_an_overlap_is_told_with_both_lines),
		cmocka_unit_test(test_as_many_ranges_as_the_limit_and_no_more),
		cmocka_unit_test(test_no_more_bytes_than_the_limit),
		cmocka_unit_test(test_what_is_written_is_within_the_limit),
		cmocka_unit_test(test_what_goes_on_is_joined),
		cmocka_unit_test(test_misfits),
		cmocka_unit_test(test_merge_keeps_the_first_and_adds_the_rest),
		cmocka_unit_test(test_merge_of_two_torrents_is_of_any),
		cmocka_unit_test(test_merge_refuses_another_size),
		cmocka_unit_test(test_merge_ends_at_the_limit),
		cmocka_unit_test(test_merge_agrees_with_bytes),
		cmocka_unit_test(test_a_file_that_is_not_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
