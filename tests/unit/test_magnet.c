// SPDX-License-Identifier: MIT
/* Magnet links: what is read, what is refused, and that links made are read again as the same. */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/mem.h"
#include "swarm/magnet.h"
#include "swarm/metainfo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define V1 "xt=urn:btih:000102030405060708090a0b0c0d0e0f10111213"
#define V2 "xt=urn:btmh:1220000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static uint8_t counting[SHA256_LEN];

static int set_up(void **state)
{
	for (unsigned i = 0; i < SHA256_LEN; i++)
		counting[i] = (uint8_t)i;
	return 0;
}

static struct magnet parse(const char *uri)
{
	struct magnet m = {0};
	const char *why = NULL;

	if (magnet_parse(uri, &m, &why) < 0)
		fail_msg("refused: %s", why);
	return m;
}

static void test_v1_hex(void **state)
{
	struct magnet m = parse("magnet:?" V1);

	assert_true(m.has_v1 && !m.has_v2);
	assert_memory_equal(m.hash_v1, counting, SHA1_LEN);
	assert_null(m.name);
	assert_non_null(m.trackers);
	assert_null(m.trackers[0]);
	assert_null(m.web_seeds[0]);
	assert_int_equal(m.n_peers, 0);
	magnet_done(&m);
}

static void test_v1_base32(void **state)
{
	/* RFC 4648 of the same bytes, in both cases. */
	static const char *const links[] = {"magnet:?xt=urn:btih:AAAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT",
		"MAGNET:?XT=URN:BTIH:aaaqeayeaudaocajbifqydiob4ibceqt"};

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		struct magnet m = parse(links[i]);
		assert_memory_equal(m.hash_v1, counting, SHA1_LEN);
		magnet_done(&m);
	}
}

static void test_v2(void **state)
{
	struct magnet m = parse("magnet:?" V2);

	assert_true(!m.has_v1 && m.has_v2);
	assert_memory_equal(m.hash_v2, counting, SHA256_LEN);
	magnet_done(&m);
}

static void test_everything(void **state)
{
	struct magnet m =
		parse("magnet:?xl=5&" V1 "&" V2 "&dn=a%20b+c%C3%A4&tr=http%3A%2F%2Fa%2Fannounce"
		      "&tr.1=udp://b:1&ws=http://w/%2520x&x.pe=192.0.2.1:6881&x.pe=[2001:db8::1]:1"
		      "&x.pe=host.example:5&x.pe=192.0.2.2&so=0-4&kt=x");

	assert_true(m.has_v1 && m.has_v2);
	assert_string_equal(m.name, "a b c\xc3\xa4");
	assert_string_equal(m.trackers[0], "http://a/announce");
	assert_string_equal(m.trackers[1], "udp://b:1");
	assert_null(m.trackers[2]);
	assert_string_equal(m.web_seeds[0], "http://w/%20x");
	assert_null(m.web_seeds[1]);
	/* Names are not looked up, and a peer has a port. */
	assert_int_equal(m.n_peers, 2);
	char text[ADDR_STRLEN];
	assert_string_equal(addr_format(&m.peers[0], text), "192.0.2.1:6881");
	assert_string_equal(addr_format(&m.peers[1], text), "[2001:db8::1]:1");
	magnet_done(&m);
}

static void test_plus_in_a_url_stays(void **state)
{
	struct magnet m = parse("magnet:?" V1 "&tr=http://a/x+y%2Bz");

	assert_string_equal(m.trackers[0], "http://a/x+y+z");
	magnet_done(&m);
}

static void test_escaped_topic(void **state)
{
	struct magnet m = parse("magnet:?xt=urn%3Abtih%3A000102030405060708090a0b0c0d0e0f10111213");

	assert_true(m.has_v1);
	magnet_done(&m);
}

static void test_refused(void **state)
{
	static const struct {
		const char *uri, *why;
	} rows[] = {
		{"", "does not begin"},
		{"magnet:", "does not begin"},
		{"http://x/?" V1, "does not begin"},
		{"magnet:?", "no xt="},
		{"magnet:?&&&", "no xt="},
		{"magnet:?dn=x", "no xt="},
		{"magnet:?xt=urn:sha1:YNCKHTQCWBTRNJIV4WNAE52SJUQCZO5C", "no xt="},
		{"magnet:?xt=urn:btih:", "urn:btih: needs"},
		{"magnet:?xt=urn:btih:00010203", "urn:btih: needs"},
		{"magnet:?xt=urn:btih:000102030405060708090a0b0c0d0e0f1011121", "urn:btih: needs"},
		{"magnet:?xt=urn:btih:000102030405060708090a0b0c0d0e0f101112130",
			"urn:btih: needs"},
		{"magnet:?xt=urn:btih:x00102030405060708090a0b0c0d0e0f10111213", "urn:btih: needs"},
		{"magnet:?xt=urn:btih:1AAQEAYEAUDAOCAJBIFQYDIOB4IBCEQT", "urn:btih: needs"},
		{"magnet:?xt=urn:btmh:1220", "urn:btmh: needs"},
		{"magnet:?xt=urn:btmh:"
		 "1320000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
			"urn:btmh: needs"},
		{"magnet:?" V1 "&xt=urn:btmh:1220zz", "urn:btmh: needs"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct magnet m;
		const char *why = NULL;
		assert_int_equal(magnet_parse(rows[i].uri, &m, &why), -EINVAL);
		if (!strstr(why, rows[i].why))
			fail_msg("%s: it says: %s", rows[i].uri, why);
	}
}

static void test_nonsense_is_left_out(void **state)
{
	struct magnet m = parse(
		"magnet:?" V1 "&dn=..&tr=&tr=a%20b&tr=a%00b&tr&tr=%&ws=%0a&dn=a/b&dn=%7f&x.pe=:80"
		"&x.pe=%zz&tr.x=http://no&=5&");

	assert_null(m.name);
	assert_string_equal(m.trackers[0], "%");
	assert_null(m.trackers[1]);
	assert_null(m.web_seeds[0]);
	magnet_done(&m);
}

static size_t count(char **list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return n;
}

static void test_limits(void **state)
{
	struct buf b = {0};

	buf_add_str(&b, "magnet:?" V1);
	for (unsigned i = 0; i <= MAX(TORRENT_MAX_TRACKERS, TORRENT_MAX_WEBSEEDS); i++)
		buf_addf(&b, "&tr=udp://t%u&ws=http://w%u", i, i);
	for (unsigned i = 0; i <= PEERS_MAX_KNOWN; i++)
		buf_addf(&b, "&x.pe=192.0.2.1:%u", i + 1);
	buf_u8(&b, '\0');
	struct magnet m = parse((const char *)buf_bytes(&b));
	assert_int_equal(count(m.trackers), TORRENT_MAX_TRACKERS);
	assert_int_equal(count(m.web_seeds), TORRENT_MAX_WEBSEEDS);
	assert_int_equal(m.n_peers, PEERS_MAX_KNOWN);
	magnet_done(&m);
	buf_done(&b);
}

static void test_length_of_urls(void **state)
{
	struct buf b = {0};

	buf_add_str(&b, "magnet:?" V1 "&tr=");
	memset(buf_extend(&b, TORRENT_MAX_URL), 'u', TORRENT_MAX_URL);
	buf_add_str(&b, "&tr=");
	memset(buf_extend(&b, TORRENT_MAX_URL + 1), 'u', TORRENT_MAX_URL + 1);
	buf_u8(&b, '\0');
	struct magnet m = parse((const char *)buf_bytes(&b));
	assert_int_equal(count(m.trackers), 1);
	assert_int_equal(strlen(m.trackers[0]), TORRENT_MAX_URL);
	magnet_done(&m);
	buf_done(&b);
}

static void test_round_trip(void **state)
{
	char name[] = "a b&c=\xc3\xa4%+#", tracker[] = "http://t/x?a=b&c=%20", udp[] = "udp://u:5",
	     web[] = "http://w/ y";
	char *tier0[] = {tracker, udp, NULL}, *tier1[] = {udp, NULL},
	     **tiers[] = {tier0, tier1, NULL};
	char *seeds[] = {web, NULL};
	struct metainfo meta = {
		.name = name, .has_v1 = true, .has_v2 = true, .tiers = tiers, .web_seeds = seeds};
	memcpy(meta.hash_v1, counting, SHA1_LEN);
	memcpy(meta.hash_v2, counting, SHA256_LEN);

	char *uri = magnet_of(&meta);
	assert_memory_equal(uri, "magnet:?" V1 "&" V2 "&dn=", strlen("magnet:?" V1 "&" V2 "&dn="));
	struct magnet m = parse(uri);
	assert_true(m.has_v1 && m.has_v2);
	assert_memory_equal(m.hash_v2, counting, SHA256_LEN);
	assert_string_equal(m.name, name);
	assert_string_equal(m.trackers[0], tracker);
	assert_string_equal(m.trackers[1], udp);
	assert_string_equal(m.trackers[2], udp);
	assert_null(m.trackers[3]);
	/* A URL with a space in it is none. */
	assert_null(m.web_seeds[0]);
	magnet_done(&m);
	free(uri);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1_hex),
		cmocka_unit_test(test_v1_base32),
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_everything),
		cmocka_unit_test(test_plus_in_a_url_stays),
		cmocka_unit_test(test_escaped_topic),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_nonsense_is_left_out),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_length_of_urls),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
