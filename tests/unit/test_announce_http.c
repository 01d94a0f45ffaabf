// SPDX-License-Identifier: MIT
/* Announcing over HTTP: the URL that is asked for, and replies good, odd and hostile. */
#include "tests/unit/unit.h"

#include "swarm/announce_one.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct announce_reply parse_bytes(const void *data, size_t len)
{
	struct announce_reply r;
	const char *why;

	if (announce_http_parse(data, len, &r, &why))
		fail_msg("refused: %s", why);
	return r;
}

static struct announce_reply parse(const char *text)
{
	return parse_bytes(text, strlen(text));
}

static void assert_peer(const struct announce_reply *r, size_t i, const char *text)
{
	char found[ADDR_STRLEN];

	assert_true(i < r->n_peers);
	assert_string_equal(addr_format(&r->peers[i], found), text);
}

/* -- the request ------------------------------------------------------------------------- */

static struct announce_request request(void)
{
	struct announce_request q = {.port = 6881,
		.key = 0x0badcafe,
		.totals = {.uploaded = 1, .downloaded = 2, .left = UINT64_MAX},
		.numwant = 100};

	for (unsigned i = 0; i < SHA1_LEN; i++)
		q.hash[i] = (uint8_t)(i * 13);
	memcpy(q.peer_id, "-PF0001-abcdefghij~.", 20);
	return q;
}

#define REQUEST_TAIL                                                                               \
	"info_hash=%00%0D%1A%274AN%5Bhu%82%8F%9C%A9%B6%C3%D0%DD%EA%F7&peer_id=-PF0001-abcdefghij~" \
	"."                                                                                        \
	"&port=6881&uploaded=1&downloaded=2&left=18446744073709551615&compact=1&no_peer_id=1"      \
	"&numwant=100&key=0BADCAFE"

static void test_url_building(void **state)
{
	static const struct {
		const char *tracker, *url;
	} table[] = {
		{"http://t/announce", "http://t/announce?" REQUEST_TAIL},
		{"http://t/announce?", "http://t/announce?" REQUEST_TAIL},
		{"http://t/announce?passkey=1", "http://t/announce?passkey=1&" REQUEST_TAIL},
		{"http://t/announce?passkey=1&", "http://t/announce?passkey=1&" REQUEST_TAIL},
		{"http://t/announce#fragment?", "http://t/announce?" REQUEST_TAIL},
		{"http://t/announce?a=b#?c", "http://t/announce?a=b&" REQUEST_TAIL},
	};
	struct announce_request q = request();

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char *url = announce_http_url(table[i].tracker, &q);
		assert_string_equal(url, table[i].url);
		free(url);
	}
}

static void test_url_of_events(void **state)
{
	static const struct {
		enum announce_event event;
		const char *id, *tail;
	} table[] = {
		{ANNOUNCE_STARTED, NULL, "&event=started"},
		{ANNOUNCE_COMPLETED, NULL, "&event=completed"},
		{ANNOUNCE_STOPPED, "a%20b", "&event=stopped&trackerid=a%20b"},
		{ANNOUNCE_NONE, "x", "&trackerid=x"},
	};
	struct announce_request q = request();

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		q.event = table[i].event;
		q.tracker_id = table[i].id;
		char *url = announce_http_url("http://t/", &q);
		const char *tail = strstr(url, "&key=0BADCAFE");
		assert_non_null(tail);
		assert_string_equal(tail + strlen("&key=0BADCAFE"), table[i].tail);
		free(url);
	}
}

/* -- replies ----------------------------------------------------------------------------- */

static void test_compact(void **state)
{
	static const char reply[] =
		"d8:completei5e10:incompletei7e8:intervali1800e12:min intervali60e"
		"5:peers18:\x01\x02\x03\x04\x1a\xe1\x05\x06\x07\x08\x00\x00\xff\xff\xff\xff\x00\x01"
		"6:peers618: \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x1a\xe1"
		"10:tracker id3:a b15:warning message5:slow!e";
	struct announce_reply r = parse_bytes(reply, sizeof(reply) - 1);

	assert_int_equal(r.seeds, 5);
	assert_int_equal(r.leechers, 7);
	assert_int_equal(r.interval_s, 1800);
	assert_int_equal(r.min_interval_s, 60);
	assert_int_equal(r.n_peers, 3); /* the one with port 0 is left out */
	assert_peer(&r, 0, "1.2.3.4:6881");
	assert_peer(&r, 1, "255.255.255.255:1");
	assert_peer(&r, 2, "[2001:db8::5]:6881");
	assert_string_equal(r.tracker_id, "a%20b");
	assert_string_equal(r.warning, "slow!");
	assert_null(r.failure);
	announce_reply_done(&r);
}

static void test_dictionaries(void **state)
{
	struct announce_reply r =
		parse("d8:intervali60e5:peersl"
		      "d2:ip7:1.2.3.44:porti6881ee"
		      "d2:ip3:::17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti1ee"
		      "d2:ip12:host.example4:porti80ee" /* names are passed over */
		      "d2:ip10:1.2.3.4:804:porti80ee" /* and so is nonsense */
		      "d2:ip0:4:porti80ee"
		      "d4:porti80ee"
		      "d2:ip7:1.2.3.54:porti0ee"
		      "ee");

	assert_int_equal(r.n_peers, 2);
	assert_peer(&r, 0, "1.2.3.4:6881");
	assert_peer(&r, 1, "[::1]:1");
	assert_int_equal(r.seeds, -1);
	announce_reply_done(&r);
}

static void test_a_reply_with_a_newline_behind(void **state)
{
	struct announce_reply r = parse("d8:intervali60ee\r\n");

	assert_int_equal(r.interval_s, 60);
	announce_reply_done(&r);
}

static void test_an_empty_dictionary(void **state)
{
	struct announce_reply r = parse("de");

	assert_int_equal(r.interval_s, 0);
	announce_reply_done(&r);
}

static void test_strange_numbers(void **state)
{
	struct announce_reply r = parse("d8:completei-3e10:incompletei99999999999e8:intervali-5e"
					"12:min intervali99999999999e5:peers0:e");

	assert_int_equal(r.seeds, -1);
	assert_int_equal(r.leechers, -1);
	assert_int_equal(r.interval_s, 0);
	assert_int_equal(r.min_interval_s, UINT32_MAX);
	announce_reply_done(&r);
	r = parse("d8:completei2147483647e8:interval3:abc10:incompletele5:peers0:12:min "
		  "intervali1ee");
	assert_int_equal(r.seeds, INT32_MAX);
	assert_int_equal(r.leechers, -1);
	assert_int_equal(r.interval_s, 0);
	announce_reply_done(&r);
}

static void test_failures(void **state)
{
	static const struct {
		const char *retry;
		int64_t seconds;
	} table[] = {
		{"", 0},
		{"8:retry ini5e", 300},
		{"8:retry in1:5", 300},
		{"8:retry in5:never", -1},
		{"8:retry ini-5e", 0},
		{"8:retry in2:-5", 0},
		{"8:retry in0:", 0},
		{"8:retry in4:soon", 0},
		{"8:retry ini1440e", TRACKER_MAX_RETRY_S},
		{"8:retry ini1441e", TRACKER_MAX_RETRY_S},
		{"8:retry in9:999999999", TRACKER_MAX_RETRY_S},
		{"8:retry in10:9999999999", 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char *text = xasprintf("d14:failure reason9:go away\x01\n%se", table[i].retry);
		struct announce_reply r = parse(text);
		assert_string_equal(r.failure, "go away\\x01\\x0a");
		assert_int_equal(r.retry_s, table[i].seconds);
		assert_int_equal(r.n_peers, 0);
		announce_reply_done(&r);
		free(text);
	}
}

static void test_long_texts_are_cut(void **state)
{
	char *text = xasprintf("d14:failure reason1000:%0*de", 1000, 0);
	struct announce_reply r = parse(text);

	assert_in_range(strlen(r.failure), TRACKER_MAX_TEXT, TRACKER_MAX_TEXT);
	announce_reply_done(&r);
	free(text);
}

static void test_tracker_id_limit(void **state)
{
	for (unsigned len = TRACKER_MAX_ID; len <= TRACKER_MAX_ID + 1; len++) {
		char *text = xasprintf("d8:intervali60e10:tracker id%u:%0*de", len, (int)len, 0);
		struct announce_reply r = parse(text);
		assert_int_equal(r.tracker_id != NULL, len == TRACKER_MAX_ID);
		announce_reply_done(&r);
		free(text);
	}
}

static void test_peers_limit(void **state)
{
	for (unsigned n = TRACKER_MAX_PEERS - 1; n <= TRACKER_MAX_PEERS + 1; n++) {
		struct buf b = {0};
		buf_addf(&b, "d8:intervali60e5:peers%u:", n * 6);
		memset(buf_extend(&b, n * 6), 1, n * 6);
		buf_addf(&b, "6:peers618:aaaaaaaaaaaaaaaaaae");
		struct announce_reply r = parse_bytes(buf_bytes(&b), b.len);
		assert_int_equal(r.n_peers, MIN(n + 1, TRACKER_MAX_PEERS));
		announce_reply_done(&r);
		buf_done(&b);
	}
}

static void test_refused(void **state)
{
	static const char *const table[][2] = {
		{"", ""},
		{"<html>", ""},
		{"i5e", "no dictionary"},
		{"le", "no dictionary"},
		{"d8:interval", ""},
		{"d5:peers7:abcdefge", "multiple of 6"},
		{"d6:peers617:abcdefghijklmnopqe", "multiple of 18"},
		{"d5:peersi5ee", "neither string nor list"},
		{"d5:peersdee", "neither string nor list"},
		{"d5:peersli5eee", "no dictionary"},
		{"d5:peersld2:ip7:1.2.3.44:porti65536eeee", "port"},
		{"d5:peersld2:ip7:1.2.3.44:porti-1eeee", "port"},
		{"d5:peersld2:ip7:1.2.3.4eee", "port"},
		{"d5:filesdee", "neither interval nor peers"},
		{"d14:failure reasoni5ee", "neither interval nor peers"},
	};
	struct announce_reply r;
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (announce_http_parse(
			    (const uint8_t *)table[i][0], strlen(table[i][0]), &r, &why) != -EINVAL)
			fail_msg("%s: taken", table[i][0]);
		if (!strstr(why, table[i][1]))
			fail_msg("%s: %s", table[i][0], why);
	}
}

static void test_token_limit(void **state)
{
	struct buf b = {0};
	struct announce_reply r;
	const char *why;

	buf_add_str(&b, "d8:intervali60e1:xl");
	for (unsigned i = 0; i < TRACKER_REPLY_MAX_TOKENS; i++)
		buf_add_str(&b, "de");
	buf_add_str(&b, "ee");
	assert_int_equal(announce_http_parse(buf_bytes(&b), b.len, &r, &why), -EINVAL);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_url_building),
		cmocka_unit_test(test_url_of_events),
		cmocka_unit_test(test_compact),
		cmocka_unit_test(test_dictionaries),
		cmocka_unit_test(test_a_reply_with_a_newline_behind),
		cmocka_unit_test(test_an_empty_dictionary),
		cmocka_unit_test(test_strange_numbers),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_long_texts_are_cut),
		cmocka_unit_test(test_tracker_id_limit),
		cmocka_unit_test(test_peers_limit),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_token_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
