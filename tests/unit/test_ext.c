/* SPDX-License-Identifier: MIT */
/* Extension messages and client names. */
#include "swarm/ext.h"

#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* -- handshake --------------------------------------------------------------------------------- */

static void parse_good(const char *text, struct ext_handshake *ret)
{
	const char *why = NULL;
	int r = ext_parse_handshake((const uint8_t *)text, strlen(text), ret, &why);
	if (r < 0)
		print_message("%s: %s\n", text, why);
	assert_int_equal(r, 0);
}

static void test_our_own_handshake_comes_back(void **state)
{
	struct buf b = {0};
	struct ext_handshake h = {0};
	const char *why;
	ext_add_handshake(&b, 6881, 500, true, 12345, "p2pfs 1.2");
	assert_int_equal(ext_parse_handshake(buf_bytes(&b), b.len, &h, &why), 0);
	assert_int_equal(h.ut_metadata, EXT_UT_METADATA);
	assert_int_equal(h.upload_only_id, EXT_UPLOAD_ONLY);
	assert_int_equal(h.donthave_id, EXT_DONTHAVE);
	assert_true(h.upload_only);
	assert_int_equal(h.reqq, 500);
	assert_int_equal(h.port, 6881);
	assert_int_equal(h.metadata_size, 12345);
	assert_string_equal(h.client, "p2pfs 1.2");
	buf_done(&b);
}

/* As it stands, so that a key out of order or a missing one shows. */
static void test_our_own_handshake_in_bytes(void **state)
{
	struct buf b = {0};
	ext_add_handshake(&b, 0, 500, false, 0, "p");
	buf_u8(&b, 0);
	assert_string_equal((const char *)buf_bytes(&b),
		"d1:md11:lt_donthavei3e11:upload_onlyi2e11:ut_metadatai1ee4:reqqi500e1:v1:pe");
	buf_done(&b);
}

static void test_what_is_not_told_is_nothing(void **state)
{
	struct ext_handshake h = {0};
	parse_good("de", &h);
	assert_int_equal(h.ut_metadata, 0);
	assert_int_equal(h.upload_only_id, 0);
	assert_int_equal(h.donthave_id, 0);
	assert_false(h.upload_only);
	assert_int_equal(h.reqq, 0);
	assert_int_equal(h.port, 0);
	assert_int_equal(h.metadata_size, 0);
	assert_string_equal(h.client, "");
}

/* BEP 10: a later handshake names what has changed, alone. */
static void test_a_later_handshake_changes_what_it_names(void **state)
{
	struct ext_handshake h = {0};
	parse_good("d1:md11:lt_donthavei7e11:upload_onlyi3e11:ut_metadatai2ee13:metadata_sizei98e"
		   "1:pi51413e4:reqqi512e11:upload_onlyi1e1:v1:xe",
		&h);
	for (unsigned i = 0; i < 2; i++) {
		parse_good(i ? "d1:md11:ut_metadatai256ee13:metadata_sizei-1ee" : "de", &h);
		assert_int_equal(h.ut_metadata, 2);
		assert_int_equal(h.upload_only_id, 3);
		assert_int_equal(h.donthave_id, 7);
		assert_int_equal(h.metadata_size, 98);
		assert_int_equal(h.port, 51413);
		assert_int_equal(h.reqq, 512);
		assert_true(h.upload_only);
		assert_string_equal(h.client, "x");
	}
	parse_good("d1:md11:ut_metadatai0ee4:reqqi7e11:upload_onlyi0e1:v1:ye", &h);
	assert_int_equal(h.ut_metadata, 0);
	assert_int_equal(h.donthave_id, 7);
	assert_int_equal(h.metadata_size, 98);
	assert_int_equal(h.reqq, 7);
	assert_false(h.upload_only);
	assert_string_equal(h.client, "y");
}

/* transmission 3.00's, and libtorrent 2.0.8's. */
static void test_handshakes_of_real_clients(void **state)
{
	struct ext_handshake h = {0};
	parse_good(
		"d1:ei1e1:md6:ut_pexi1e11:ut_metadatai3ee13:metadata_sizei98e1:pi51413e4:reqqi512e"
		"11:upload_onlyi1e1:v17:Transmission 3.00e",
		&h);
	assert_int_equal(h.ut_metadata, 3);
	assert_int_equal(h.metadata_size, 98);
	assert_int_equal(h.port, 51413);
	assert_int_equal(h.reqq, 512);
	assert_true(h.upload_only);
	assert_string_equal(h.client, "Transmission 3.00");
	h = (struct ext_handshake) {0};
	parse_good(
		"d12:complete_agoi1e1:md11:lt_donthavei7e10:share_modei8e11:upload_onlyi3e"
		"12:ut_holepunchi4e11:ut_metadatai2e6:ut_pexi1ee4:reqqi2000e1:v16:libtorrent/2.0.8"
		"6:yourip4:\x7f\x01\x01\x01"
		"e",
		&h);
	assert_int_equal(h.ut_metadata, 2);
	assert_int_equal(h.upload_only_id, 3);
	assert_int_equal(h.donthave_id, 7);
	assert_false(h.upload_only);
	assert_int_equal(h.reqq, 2000);
}

/* {0, max, max + 1, 2^32 - 1, beyond, below} for each number: out of range is not told. */
static void test_numbers_at_their_bounds(void **state)
{
	static const struct {
		const char *text;
		uint64_t id, reqq, port, size;
	} cases[] = {
		{"d1:md11:ut_metadatai0eee", 0, 0, 0, 0},
		{"d1:md11:ut_metadatai255eee", 255, 0, 0, 0},
		{"d1:md11:ut_metadatai256eee", 0, 0, 0, 0},
		{"d1:md11:ut_metadatai4294967295eee", 0, 0, 0, 0},
		{"d1:md11:ut_metadatai-1eee", 0, 0, 0, 0},
		{"d1:md11:ut_metadata1:1ee", 0, 0, 0, 0},
		{"d1:mi7ee", 0, 0, 0, 0},
		{"d4:reqqi4294967295ee", 0, 4294967295, 0, 0},
		{"d4:reqqi4294967296ee", 0, 0, 0, 0},
		{"d4:reqqi-1ee", 0, 0, 0, 0},
		{"d1:pi65535ee", 0, 0, 65535, 0},
		{"d1:pi65536ee", 0, 0, 0, 0},
		{"d1:pi4294967295ee", 0, 0, 0, 0},
		{"d13:metadata_sizei9223372036854775807ee", 0, 0, 0, INT64_MAX},
		{"d13:metadata_sizei-9223372036854775808ee", 0, 0, 0, 0},
		{"d13:metadata_sizede1:pi1ee", 0, 0, 1, 0},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct ext_handshake h = {0};
		parse_good(cases[i].text, &h);
		print_message("%s\n", cases[i].text);
		assert_int_equal(h.ut_metadata, cases[i].id);
		assert_int_equal(h.reqq, cases[i].reqq);
		assert_int_equal(h.port, cases[i].port);
		assert_int_equal(h.metadata_size, cases[i].size);
	}
}

static void test_bad_handshakes_are_refused(void **state)
{
	static const char *const bad[] = {"", "d", "e", "le", "i1e", "1:d", "dee", "d1:m", "dede",
		"d1:mi01eee", "d1:v99999999999:xe", "d1:pi9223372036854775808ee"};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct ext_handshake h = {0};
		const char *why = NULL;
		print_message("%s\n", bad[i]);
		assert_int_equal(
			ext_parse_handshake((const uint8_t *)bad[i], strlen(bad[i]), &h, &why),
			-EINVAL);
		assert_non_null(why);
	}
}

/* A handshake with `keys` extensions in it: is it taken? */
static bool takes(unsigned keys)
{
	struct buf b = {0};
	struct ext_handshake h = {0};
	const char *why;
	buf_add_str(&b, "d1:md");
	for (unsigned i = 0; i < keys; i++)
		buf_addf(&b, "4:%04ui1e", i);
	buf_add_str(&b, "ee");
	int r = ext_parse_handshake(buf_bytes(&b), b.len, &h, &why);
	buf_done(&b);
	return r == 0;
}

static void test_tokens_have_a_bound(void **state)
{
	/* Two tokens a key, and a few around; the exact place is the parser's own test. */
	assert_true(takes(EXT_MAX_TOKENS / 2 - 4));
	assert_false(takes(EXT_MAX_TOKENS / 2 + 1));
	assert_false(takes(9999));
}

static void test_the_name_is_escaped_and_cut(void **state)
{
	static const char hostile[] = "d1:v8:\x1b[2J\n\0\xff%e";
	struct ext_handshake h = {0};
	const char *why;
	assert_int_equal(
		ext_parse_handshake((const uint8_t *)hostile, sizeof(hostile) - 1, &h, &why), 0);
	assert_string_equal(h.client, "\\x1b[2J\\x0a\\x00\\xff%");
	for (unsigned len = 60; len <= 600; len += 60) {
		struct buf b = {0};
		buf_addf(&b, "d1:v%u:", len);
		memset(buf_extend(&b, len), 'x', len);
		buf_add_str(&b, "e");
		assert_int_equal(ext_parse_handshake(buf_bytes(&b), b.len, &h, &why), 0);
		assert_int_equal(strlen(h.client), MIN(len, 63u));
		buf_done(&b);
	}
}

/* -- metadata ---------------------------------------------------------------------------------- */

static void test_metadata_messages_come_back(void **state)
{
	struct buf b = {0};
	struct ext_metadata m;
	const char *why;

	ext_add_metadata(&b, EXT_METADATA_REQUEST, 7, 0);
	assert_int_equal(ext_parse_metadata(buf_bytes(&b), b.len, &m, &why), 0);
	assert_int_equal(m.type, EXT_METADATA_REQUEST);
	assert_int_equal(m.piece, 7);
	assert_null(m.data);
	buf_clear(&b);

	ext_add_metadata(&b, EXT_METADATA_REJECT, UINT32_MAX, 0);
	assert_int_equal(ext_parse_metadata(buf_bytes(&b), b.len, &m, &why), 0);
	assert_int_equal(m.type, EXT_METADATA_REJECT);
	assert_int_equal(m.piece, UINT32_MAX);
	buf_clear(&b);

	ext_add_metadata(&b, EXT_METADATA_DATA, 1, 17000);
	size_t header = b.len;
	buf_add(&b, "d3:abc", 6); /* data that looks like bencode is still data */
	assert_int_equal(ext_parse_metadata(buf_bytes(&b), b.len, &m, &why), 0);
	assert_int_equal(m.type, EXT_METADATA_DATA);
	assert_int_equal(m.total_size, 17000);
	assert_int_equal(m.data_len, 6);
	assert_ptr_equal(m.data, buf_bytes(&b) + header);
	buf_done(&b);
}

static void test_metadata_at_its_bounds(void **state)
{
	static const struct {
		const char *text;
		size_t data;
		int result;
	} cases[] = {
		{"d8:msg_typei0e5:piecei0ee", 0, 0},
		{"d8:msg_typei0e5:piecei4294967295ee", 0, 0},
		{"d8:msg_typei0e5:piecei4294967296ee", 0, -EINVAL},
		{"d8:msg_typei0e5:piecei-1ee", 0, -EINVAL},
		{"d8:msg_typei0ee", 0, -EINVAL},
		{"d5:piecei0ee", 0, -EINVAL},
		{"d8:msg_typei-1e5:piecei0ee", 0, -EINVAL},
		{"d8:msg_type1:05:piecei0ee", 0, -EINVAL},
		{"d8:msg_typei3e5:piecei0ee", 0, -EOPNOTSUPP},
		{"d8:msg_typei4294967296e5:piecei0ee", 0, -EOPNOTSUPP},
		{"d8:msg_typei0e5:piecei0ee", 1, -EINVAL},
		{"d8:msg_typei2e5:piecei0ee", 1, -EINVAL},
		{"d8:msg_typei1e5:piecei0e10:total_sizei1ee", 0, -EINVAL},
		{"d8:msg_typei1e5:piecei0e10:total_sizei1ee", 1, 0},
		{"d8:msg_typei1e5:piecei0e10:total_sizei16384ee", 16384, 0},
		{"d8:msg_typei1e5:piecei0e10:total_sizei16385ee", 16385, -EINVAL},
		{"d8:msg_typei1e5:piecei0e10:total_sizei0ee", 1, -EINVAL},
		{"d8:msg_typei1e5:piecei0ee", 1, -EINVAL},
		{"d8:msg_typei1e5:piecei0e10:total_sizei-1ee", 1, -EINVAL},
		{"d8:msg_typei1e5:piecei0e10:total_sizei67108864ee", 1, 0},
		{"d8:msg_typei1e5:piecei0e10:total_sizei67108865ee", 1, -EINVAL},
		{"le", 0, -EINVAL},
		{"i1e", 0, -EINVAL},
		{"", 0, -EINVAL},
		{"d8:msg_type", 0, -EINVAL},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf b = {0};
		struct ext_metadata m;
		const char *why = NULL;
		buf_add_str(&b, cases[i].text);
		for (size_t j = 0; j < cases[i].data; j++)
			buf_u8(&b, 'x');
		int r = ext_parse_metadata(buf_bytes(&b), b.len, &m, &why);
		print_message("%s + %zu: %s\n", cases[i].text, cases[i].data, why ? why : "good");
		assert_int_equal(r, cases[i].result);
		if (r < 0)
			assert_non_null(why);
		else
			assert_int_equal(m.data_len, cases[i].data);
		buf_done(&b);
	}
}

/* -- names ------------------------------------------------------------------------------------- */

static void test_client_names(void **state)
{
	static const struct {
		const char *id, *name;
	} cases[] = {
		{"-TR3000-abcdefghijkl", "Transmission 3.0.0.0"},
		{"-LT2080-abcdefghijkl", "libtorrent 2.0.8.0"},
		{"-lt0D80-abcdefghijkl", "rTorrent 0.13.8.0"},
		{"-PF0100-abcdefghijkl", "p2pfs 0.1.0.0"},
		{"-DE211z-abcdefghijkl", "Deluge 2.1.1.61"},
		{"-ZZ1234-abcdefghijkl", "-ZZ1234-"},
		{"-TR30.0-abcdefghijkl", "-TR30.0-"},
		{"-TR3000xabcdefghijkl", "-TR3000x"},
		{"A2-1-36-0-abcdefghij", "A2-1-36-"},
		{"M7-2-0--abcdefghijkl", "M7-2-0--"},
		{"\x01\xff\n\\-%s-abcdefghijkl", "\\x01\\xff\\x0a\\x5c-%s-"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char name[64];
		memset(name, 'x', sizeof(name));
		ext_client_name((const uint8_t *)cases[i].id, name);
		assert_string_equal(name, cases[i].name);
	}
}

static void test_our_peer_id(void **state)
{
	uint8_t a[20], b[20];
	char name[64];
	ext_make_peer_id(a);
	ext_make_peer_id(b);
	assert_memory_equal(a, "-PF0100-", 8);
	assert_memory_not_equal(a, b, 20);
	ext_client_name(a, name);
	assert_string_equal(name, "p2pfs 0.1.0.0");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_our_own_handshake_comes_back),
		cmocka_unit_test(test_our_own_handshake_in_bytes),
		cmocka_unit_test(test_what_is_not_told_is_nothing),
		cmocka_unit_test(test_a_later_handshake_changes_what_it_names),
		cmocka_unit_test(test_handshakes_of_real_clients),
		cmocka_unit_test(test_numbers_at_their_bounds),
		cmocka_unit_test(test_bad_handshakes_are_refused),
		cmocka_unit_test(test_tokens_have_a_bound),
		cmocka_unit_test(test_the_name_is_escaped_and_cut),
		cmocka_unit_test(test_metadata_messages_come_back),
		cmocka_unit_test(test_metadata_at_its_bounds),
		cmocka_unit_test(test_client_names),
		cmocka_unit_test(test_our_peer_id),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
