/* SPDX-License-Identifier: MIT */
/* Request heads, routes, announces and scrapes out of URLs, and the bencoded replies. */
#include "tracker/http_head.h"
#include "tracker/reply.h"
#include "tracker/request.h"

#include "base/bencode.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define HASH "%00%01%02%03%04%05%06%07%08%09%0a%0B%0c%0d%0e%0f%10%11%12%13"
#define ID "-XX0001-123456789012"

static struct text text(const char *s)
{
	return (struct text) {s, strlen(s)};
}

static int parse(const char *s, struct http_head *head)
{
	const char *why = NULL;
	int n = http_head_parse(s, strlen(s), head, &why);
	assert_true(n >= 0 || why);
	return n;
}

/* -- heads --------------------------------------------------------------------------------- */

static void test_a_plain_head(void **state)
{
	struct http_head h;
	const char *s = "GET /announce?a=1 HTTP/1.1\r\nHost: t.example\r\n\r\nrest";
	assert_int_equal(parse(s, &h), (int)strlen(s) - 4);
	assert_true(text_is(h.path, "/announce"));
	assert_true(text_is(h.query, "a=1"));
	assert_true(text_is(h.host, "t.example"));
	assert_true(h.keep_alive);
	assert_false(h.head);
}

static void test_every_prefix_of_a_head_is_incomplete(void **state)
{
	struct http_head h;
	const char *why, *s = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	for (size_t n = 0; n < strlen(s); n++)
		assert_int_equal(http_head_parse(s, n, &h, &why), 0);
	assert_int_equal(http_head_parse(s, strlen(s), &h, &why), (int)strlen(s));
}

static void test_keep_alive(void **state)
{
	struct http_head h;
	parse("GET / HTTP/1.0\r\n\r\n", &h);
	assert_false(h.keep_alive);
	parse("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &h);
	assert_true(h.keep_alive);
	parse("GET / HTTP/1.1\r\nconnection: foo, close\r\n\r\n", &h);
	assert_false(h.keep_alive);
}

static void test_lone_line_feeds_and_proxies(void **state)
{
	struct http_head h;
	assert_true(parse("GET http://t.example:80/scrape?x HTTP/1.1\n\n", &h) > 0);
	assert_true(text_is(h.path, "/scrape"));
	assert_true(text_is(h.query, "x"));
	assert_true(parse("HEAD /stats#top HTTP/1.1\n\n", &h) > 0);
	assert_true(h.head);
	assert_true(text_is(h.path, "/stats"));
}

static void test_bad_heads_have_their_status(void **state)
{
	struct http_head h;
	assert_int_equal(parse("POST / HTTP/1.1\r\n\r\n", &h), -405);
	assert_int_equal(parse("GEX / HTTP/1.1\r\n\r\n", &h), -405);
	assert_int_equal(parse("\x16\x03\x01", &h), -405);
	assert_int_equal(parse("GET / HTTP/2.0\r\n\r\n", &h), -505);
	assert_int_equal(parse("GET /\r\n\r\n", &h), -400);
	assert_int_equal(parse("GET  / HTTP/1.1\r\n\r\n", &h), -400);
	assert_int_equal(parse("GET x HTTP/1.1\r\n\r\n", &h), -400);
	assert_int_equal(parse("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n", &h), -413);
	assert_int_equal(parse("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", &h), -413);
	assert_true(parse("GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", &h) > 0);
}

/* A head of exactly `len` bytes. */
static int parse_long(size_t len)
{
	struct http_head h;
	const char *why;
	char *s = xmalloc(len);
	memset(s, 'a', len);
	memcpy(s, "GET /", 5);
	memcpy(s + len - 13, " HTTP/1.1\r\n\r\n", 13);
	int n = http_head_parse(s, len, &h, &why);
	free(s);
	return n;
}

static void test_a_head_has_a_limit(void **state)
{
	assert_int_equal(parse_long(HEAD_MAX_LEN), HEAD_MAX_LEN);
	assert_int_equal(parse_long(HEAD_MAX_LEN + 1), -414);
}

static int parse_lines(unsigned lines)
{
	struct http_head h;
	const char *why;
	CLEANUP(buf_done) struct buf b = {0};
	buf_add_str(&b, "GET / HTTP/1.1\r\n");
	for (unsigned i = 0; i < lines; i++)
		buf_add_str(&b, "A: b\r\n");
	buf_add_str(&b, "\r\n");
	return http_head_parse((const char *)buf_bytes(&b), b.len, &h, &why);
}

static void test_header_lines_have_a_limit(void **state)
{
	assert_true(parse_lines(HEAD_MAX_LINES) > 0);
	assert_int_equal(parse_lines(HEAD_MAX_LINES + 1), -400);
}

/* -- routes --------------------------------------------------------------------------------- */

static void test_routes(void **state)
{
	struct text key;
	assert_int_equal(request_route(text("/announce"), &key), ROUTE_ANNOUNCE);
	assert_int_equal(key.len, 0);
	assert_int_equal(request_route(text("/announce.php"), &key), ROUTE_ANNOUNCE);
	assert_int_equal(request_route(text("/a/b/KEY/announce"), &key), ROUTE_ANNOUNCE);
	assert_true(text_is(key, "KEY"));
	assert_int_equal(request_route(text("/peertracker/scrape.php"), &key), ROUTE_SCRAPE);
	assert_int_equal(request_route(text("/stats"), &key), ROUTE_STATS);
	assert_int_equal(request_route(text("/"), &key), ROUTE_STATS);
	assert_int_equal(request_route(text("/x/stats"), &key), ROUTE_NONE);
	assert_int_equal(request_route(text("/metrics"), &key), ROUTE_METRICS);
	assert_int_equal(request_route(text("/announcex"), &key), ROUTE_NONE);
	assert_int_equal(request_route(text(""), &key), ROUTE_NONE);
}

static void test_a_key_has_a_limit(void **state)
{
	char path[PASSKEY_MAX + 32];
	struct text key;
	snprintf(path, sizeof(path), "/%0*d/announce", (int)PASSKEY_MAX, 1);
	request_route(text(path), &key);
	assert_int_equal(key.len, PASSKEY_MAX);
	snprintf(path, sizeof(path), "/%0*d/announce", (int)PASSKEY_MAX + 1, 1);
	request_route(text(path), &key);
	assert_int_equal(key.len, 0);
}

/* -- announces -------------------------------------------------------------------------------- */

static struct addr from(void)
{
	struct addr a;
	assert_int_equal(addr_parse("192.0.2.7:55555", 0, &a), 0);
	return a;
}

static const char *announce(const char *query, bool allow_ip, struct http_announce *ret)
{
	struct addr a = from();
	return request_announce(text(query), &a, allow_ip, ret);
}

static void test_an_announce_in_full(void **state)
{
	struct http_announce r;
	assert_null(announce("info_hash=" HASH "&peer_id=" ID "&port=6881&uploaded=1&downloaded=2"
		"&left=3&corrupt=0&key=AB12&event=started&numwant=80&compact=1&no_peer_id=1"
		"&supportcrypto=1&ipv6=2001%3Adb8%3A%3A1&trackerid=x&redundant=0", false, &r));
	for (uint8_t i = 0; i < HASH_LEN; i++)
		assert_int_equal(r.a.hash[i], i);
	assert_memory_equal(r.a.peer_id, ID, PEER_ID_LEN);
	assert_int_equal(r.a.from.port, 6881);
	struct addr a = from();
	assert_true(addr_same_ip(&r.a.from, &a));
	assert_int_equal(r.a.event, EVENT_STARTED);
	assert_int_equal(r.a.numwant, 80);
	assert_false(r.a.seed);
	assert_true(r.compact);
	assert_true(r.no_peer_id);
}

static void test_defaults_of_an_announce(void **state)
{
	struct http_announce r;
	assert_null(announce("info_hash=" HASH "&peer_id=" ID "&port=1&left=0", false, &r));
	assert_true(r.compact);
	assert_true(r.a.seed);
	assert_int_equal(r.a.numwant, NUMWANT_DEFAULT);
	assert_int_equal(r.a.event, EVENT_NONE);
	assert_null(announce("info_hash=" HASH "&peer_id=" ID "&port=1&left=0&compact=0", false, &r));
	assert_false(r.compact);
}

static void test_refusals_are_peertrackers(void **state)
{
	struct http_announce r;
	static const struct {
		const char *query, *why;
	} cases[] = {
		{"", "info_hash is missing"},
		{"info_hash=abc", "info_hash is not 20 bytes"},
		{"info_hash=" HASH "%14", "info_hash is not 20 bytes"},
		{"info_hash=" HASH, "peer_id is missing"},
		{"info_hash=" HASH "&peer_id=1", "peer_id is not 20 bytes"},
		{"info_hash=" HASH "&peer_id=" ID "&left=1", "client listening port is invalid"},
		{"info_hash=" HASH "&peer_id=" ID "&left=1&port=0", "client listening port is invalid"},
		{"info_hash=" HASH "&peer_id=" ID "&left=1&port=65536", "client listening port is invalid"},
		{"info_hash=" HASH "&peer_id=" ID "&left=1&port=x", "client listening port is invalid"},
		{"info_hash=" HASH "&peer_id=" ID "&port=1", "client data left field is invalid"},
		{"info_hash=" HASH "&peer_id=" ID "&port=1&left=", "client data left field is invalid"},
		{"info_hash=" HASH "&peer_id=" ID "&port=1&left=1e3", "client data left field is invalid"},
		{"info_hash=" HASH "&peer_id=" ID "&port=1&left=18446744073709551616",
			"client data left field is invalid"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *why = announce(cases[i].query, false, &r);
		assert_non_null(why);
		assert_string_equal(why, cases[i].why);
	}
	assert_null(announce("info_hash=" HASH "&peer_id=" ID "&port=65535&left=18446744073709551615",
		false, &r));
}

static void test_ip_is_ignored_unless_allowed(void **state)
{
	struct http_announce r;
	struct addr a = from(), other;
	const char *good = "info_hash=" HASH "&peer_id=" ID "&port=1&left=0&ip=198.51.100.9";
	const char *bad = "info_hash=" HASH "&peer_id=" ID "&port=1&left=0&ip=example.org";
	assert_null(announce(good, false, &r));
	assert_true(addr_same_ip(&r.a.from, &a));
	assert_null(announce(bad, false, &r));
	assert_null(announce(good, true, &r));
	assert_int_equal(addr_parse("198.51.100.9", 1, &other), 0);
	assert_true(addr_same_ip(&r.a.from, &other));
	assert_string_equal(announce(bad, true, &r), "invalid ip, dotted decimal only");
	assert_string_equal(announce("info_hash=" HASH "&peer_id=" ID "&port=1&left=0&ip=1.2.3.4:5",
		true, &r), "invalid ip, dotted decimal only");
	assert_string_equal(announce("info_hash=" HASH "&peer_id=" ID "&port=1&left=0&ip=0.0.0.0",
		true, &r), "invalid ip, dotted decimal only");
	assert_null(announce("info_hash=" HASH "&peer_id=" ID "&port=1&left=0&ip=2001:db8::9", true,
		&r));
	assert_false(addr_is_v4(&r.a.from));
}

static void test_stopped_needs_no_port(void **state)
{
	struct http_announce r;
	assert_null(announce("info_hash=" HASH "&peer_id=" ID "&port=0&left=0&event=stopped", false,
		&r));
	assert_int_equal(r.a.event, EVENT_STOPPED);
}

static void test_escapes(void **state)
{
	struct text q = text("a=%4&b=%zz%41+c&&d&e==x&=y");
	struct param p;
	static const struct {
		const char *name, *value;
	} want[] = {{"a", "%4"}, {"b", "%zzA c"}, {"d", ""}, {"e", "=x"}, {"", "y"}};
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		assert_true(request_param(&q, &p));
		assert_true(text_is(p.name, want[i].name));
		assert_int_equal(p.len, strlen(want[i].value));
		assert_memory_equal(p.value, want[i].value, p.len);
	}
	assert_false(request_param(&q, &p));
}

static void test_a_long_value_is_cut_but_counted(void **state)
{
	char query[600];
	struct param p;
	memset(query, 'x', sizeof(query));
	query[0] = 'k';
	query[1] = '=';
	struct text q = {query, sizeof(query)};
	assert_true(request_param(&q, &p));
	assert_int_equal(p.len, sizeof(query) - 2);
	assert_false(request_param(&q, &p));
}

static void test_a_scrape_of_100_and_not_of_101(void **state)
{
	CLEANUP(buf_done) struct buf b = {0};
	static struct http_scrape r;
	for (unsigned i = 0; i < SCRAPE_MAX; i++)
		buf_add_str(&b, "info_hash=" HASH "&");
	assert_null(request_scrape((struct text) {(const char *)buf_bytes(&b), b.len}, &r));
	assert_int_equal(r.n, SCRAPE_MAX);
	buf_add_str(&b, "info_hash=" HASH);
	assert_non_null(request_scrape((struct text) {(const char *)buf_bytes(&b), b.len}, &r));
}

static void test_peertrackers_statistics(void **state)
{
	static struct http_scrape r;
	assert_null(request_scrape(text("stats"), &r));
	assert_int_equal(r.stats, STATS_HTML);
	assert_null(request_scrape(text("stats=xml"), &r));
	assert_int_equal(r.stats, STATS_XML);
	assert_null(request_scrape(text("stats=json"), &r));
	assert_int_equal(r.stats, STATS_JSON);
	assert_null(request_scrape(text(""), &r));
	assert_int_equal(r.stats, STATS_NONE);
}

/* -- replies ---------------------------------------------------------------------------------- */

static uint8_t addrs4[12] = {10, 0, 0, 1, 0x1a, 0xe1, 10, 0, 0, 2, 0x1a, 0xe2};
static uint8_t addrs6[18] = {0x20, 1, [15] = 1, [16] = 0, [17] = 80};
static uint8_t ids4[40] = "-XX0001-aaaaaaaaaaaa-XX0001-bbbbbbbbbbb", ids6[20] = "-XX0001-ccccccccccc";

static struct ben_doc *reply(const struct answer *a, const struct reply_options *o, struct buf *b)
{
	struct ben_doc *doc;
	const char *why = NULL;
	size_t at;
	reply_announce(b, a, o);
	assert_int_equal(ben_parse(buf_bytes(b), b->len, 1000, &doc, &why, &at), 0);
	assert_true(ben_canonical(doc));
	return doc;
}

static void test_a_compact_reply(void **state)
{
	CLEANUP(buf_done) struct buf b = {0};
	struct answer a = {.addrs = {addrs4, addrs6}, .n = {2, 1}, .interval = 30, .min_interval = 15,
		.complete = 1, .incomplete = 2, .downloaded = 3};
	struct addr asker = from();
	struct ben_doc *doc = reply(&a, &(struct reply_options) {.compact = true, .from = &asker,
		.tracker_id = "id", .warning = "beware"}, &b);
	struct ben r = ben_root(doc);
	size_t len;
	assert_memory_equal(ben_bytes(ben_get(r, "peers"), &len), addrs4, 12);
	assert_int_equal(len, 12);
	assert_memory_equal(ben_bytes(ben_get(r, "peers6"), &len), addrs6, 18);
	assert_int_equal(len, 18);
	assert_int_equal(ben_int(ben_get(r, "interval"), 0), 30);
	assert_int_equal(ben_int(ben_get(r, "min interval"), 0), 15);
	assert_int_equal(ben_int(ben_get(r, "complete"), 0), 1);
	assert_int_equal(ben_int(ben_get(r, "incomplete"), 0), 2);
	assert_int_equal(ben_int(ben_get(r, "downloaded"), 0), 3);
	assert_true(ben_is(ben_get(r, "tracker id"), "id"));
	assert_true(ben_is(ben_get(r, "warning message"), "beware"));
	assert_memory_equal(ben_bytes(ben_get(r, "external ip"), &len), asker.ip + 12, 4);
	assert_int_equal(len, 4);
	ben_free(doc);
}

static void test_a_dictionary_reply(void **state)
{
	for (int ids = 0; ids < 2; ids++) {
		CLEANUP(buf_done) struct buf b = {0};
		struct answer a = {.addrs = {addrs4, addrs6}, .ids = {ids4, ids6}, .n = {2, 1}};
		struct ben_doc *doc =
			reply(&a, &(struct reply_options) {.no_peer_id = !ids}, &b);
		struct ben peers = ben_get(ben_root(doc), "peers");
		assert_int_equal(ben_count(peers), 3);
		struct ben_iter i = ben_iter(peers);
		assert_true(ben_next(&i));
		assert_true(ben_is(ben_get(i.value, "ip"), "10.0.0.1"));
		assert_int_equal(ben_int(ben_get(i.value, "port"), 0), 6881);
		assert_int_equal(ben_type(ben_get(i.value, "peer id")), ids ? BEN_STR : BEN_NONE);
		assert_true(ben_next(&i) && ben_next(&i));
		assert_true(ben_is(ben_get(i.value, "ip"), "2001::1"));
		ben_free(doc);
	}
}

static void test_refusals_say_when_to_come_again(void **state)
{
	static const struct {
		struct refusal refusal;
		const char *want;
	} cases[] = {
		{{"no", RETRY_UNSAID}, "d14:failure reason2:noe"},
		{{"no", 30}, "d14:failure reason2:no8:retry ini30ee"},
		{{"no", RETRY_NEVER}, "d14:failure reason2:no8:retry in5:nevere"},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(buf_done) struct buf b = {0};
		reply_refusal(&b, &cases[i].refusal);
		assert_int_equal(b.len, strlen(cases[i].want));
		assert_memory_equal(buf_bytes(&b), cases[i].want, b.len);
	}
}

static void test_a_scrape_reply(void **state)
{
	CLEANUP(buf_done) struct buf b = {0};
	struct ben_doc *doc;
	const char *why;
	size_t at;
	reply_scrape_begin(&b);
	reply_scrape_file(&b, (const uint8_t *)"aaaaaaaaaaaaaaaaaaaa",
		&(struct table_scrape) {1, 2, UINT32_MAX});
	reply_scrape_end(&b, 60);
	assert_int_equal(ben_parse(buf_bytes(&b), b.len, 100, &doc, &why, &at), 0);
	struct ben f = ben_get(ben_get(ben_root(doc), "files"), "aaaaaaaaaaaaaaaaaaaa");
	assert_int_equal(ben_int(ben_get(f, "complete"), 0), 1);
	assert_int_equal(ben_int(ben_get(f, "incomplete"), 0), 2);
	assert_int_equal(ben_int(ben_get(f, "downloaded"), 0), UINT32_MAX);
	ben_free(doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_plain_head),
		cmocka_unit_test(test_every_prefix_of_a_head_is_incomplete),
		cmocka_unit_test(test_keep_alive),
		cmocka_unit_test(test_lone_line_feeds_and_proxies),
		cmocka_unit_test(test_bad_heads_have_their_status),
		cmocka_unit_test(test_a_head_has_a_limit),
		cmocka_unit_test(test_header_lines_have_a_limit),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_a_key_has_a_limit),
		cmocka_unit_test(test_an_announce_in_full),
		cmocka_unit_test(test_defaults_of_an_announce),
		cmocka_unit_test(test_refusals_are_peertrackers),
		cmocka_unit_test(test_ip_is_ignored_unless_allowed),
		cmocka_unit_test(test_stopped_needs_no_port),
		cmocka_unit_test(test_escapes),
		cmocka_unit_test(test_a_long_value_is_cut_but_counted),
		cmocka_unit_test(test_a_scrape_of_100_and_not_of_101),
		cmocka_unit_test(test_peertrackers_statistics),
		cmocka_unit_test(test_a_compact_reply),
		cmocka_unit_test(test_a_dictionary_reply),
		cmocka_unit_test(test_refusals_say_when_to_come_again),
		cmocka_unit_test(test_a_scrape_reply),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
