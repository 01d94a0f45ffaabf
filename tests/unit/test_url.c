// SPDX-License-Identifier: MIT
/* URLs of trackers and web seeds: what is parsed, what is refused, and where they may lead. */
#include "tests/unit/unit.h"

#include "swarm/url.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct url parse(const char *text)
{
	struct url u;
	const char *why;

	if (url_parse(text, &u, &why))
		fail_msg("%s: refused: %s", text, why);
	return u;
}

static struct addr addr(const char *text)
{
	struct addr a;

	if (addr_parse(text, 80, &a))
		fail_msg("%s: no address", text);
	return a;
}

static void test_parses(void **state)
{
	static const struct {
		const char *text;
		enum url_scheme scheme;
		const char *host;
		uint16_t port;
		const char *path;
		bool is_address, names_loopback, says_announce;
	} table[] = {
		{"http://tracker.example/announce", URL_HTTP, "tracker.example", 80, "/announce",
			false, false, true},
		{"HTTPS://tracker.example:8443/KEY/announce.php?a=b#c", URL_HTTPS,
			"tracker.example", 8443, "/KEY/announce.php?a=b", false, false, true},
		{"http://user:secret@h/", URL_HTTP, "h", 80, "/", false, false, false},
		{"udp://t.example:6969", URL_UDP, "t.example", 6969, "/", false, false, false},
		{"udp://[::1]:6969/announce", URL_UDP, "::1", 6969, "/announce", true, true, true},
		{"http://127.0.0.1/x", URL_HTTP, "127.0.0.1", 80, "/x", true, true, false},
		{"http://127.1/x", URL_HTTP, "127.0.0.1", 80, "/x", true, true, false},
		{"http://0x7f000001/x", URL_HTTP, "127.0.0.1", 80, "/x", true, true, false},
		{"http://[::ffff:127.0.0.1]/x", URL_HTTP, "::ffff:127.0.0.1", 80, "/x", true, true,
			false},
		{"http://LOCALHOST/x?y=/announce", URL_HTTP, "LOCALHOST", 80, "/x?y=/announce",
			false, true, false},
		{"http://localhost.example/unannounced", URL_HTTP, "localhost.example", 80,
			"/unannounced", false, false, false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct url u = parse(table[i].text);
		print_message("%s\n", table[i].text);
		assert_int_equal(u.scheme, table[i].scheme);
		assert_string_equal(u.host, table[i].host);
		assert_int_equal(u.port, table[i].port);
		assert_string_equal(u.path, table[i].path);
		assert_int_equal(u.is_address, table[i].is_address);
		assert_int_equal(u.names_loopback, table[i].names_loopback);
		assert_int_equal(u.says_announce, table[i].says_announce);
		url_done(&u);
	}
}

static void test_refuses_what_is_no_url_of_ours(void **state)
{
	static const char *const table[][2] = {
		{"", "scheme"},
		{"tracker.example/announce", "scheme"},
		{"ftp://h/", "scheme"},
		{"file:///etc/passwd", "scheme"},
		{"wss://h/announce", "scheme"},
		{"http://", "valid"},
		{"http://?x", "valid"},
		{"http://h:0/", "port 0"},
		{"http://h:65536/", "valid"},
		{"http://h:x/", "valid"},
		{"http://h /", "blank"},
		{"http://h/\r\nX: y", "blank"},
		{"http://h/\x7f", "blank"},
		{"udp://tracker.example/announce", "port"},
		{"http://[fe80::1%25eth0]/", "link-local"},
		{"http://[nonsense]/", "valid"},
	};
	struct url u;
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (url_parse(table[i][0], &u, &why) != -EINVAL)
			fail_msg("%s: taken", table[i][0]);
		if (!strstr(why, table[i][1]))
			fail_msg("%s: %s: says nothing of %s", table[i][0], why, table[i][1]);
	}
}

static void test_length_limit(void **state)
{
	char *text = malloc(URL_MAX + 2);
	struct url u;
	const char *why;

	memset(text, 'a', URL_MAX + 1);
	memcpy(text, "http://h/", 9);
	text[URL_MAX] = '\0';
	assert_int_equal(url_parse(text, &u, &why), 0);
	url_done(&u);
	text[URL_MAX] = 'a';
	text[URL_MAX + 1] = '\0';
	assert_int_equal(url_parse(text, &u, &why), -EINVAL);
	assert_non_null(strstr(why, "longer"));
	free(text);
}

/* Every class of address against URLs that do and do not name loopback, first and redirected. */
static void test_address_matrix(void **state)
{
	static const struct {
		const char *url, *address;
		bool tracker;
		enum url_reach from;
		const char *why; /* NULL: allowed */
	} table[] = {
		{"http://h/announce", "192.0.2.1", true, URL_HOST, NULL},
		{"http://h/announce", "[2001:db8::1]", true, URL_HOST, NULL},
		{"http://h/announce", "10.0.0.1", true, URL_HOST, NULL},
		{"http://h/announce", "100.64.0.1", true, URL_HOST, NULL},
		{"http://h/announce", "[fd00::1]", true, URL_HOST, NULL},
		/* never */
		{"http://h/announce", "169.254.169.254", true, URL_HOST, "link-local"},
		{"http://h/announce", "[fe80::1]", true, URL_HOST, "link-local"},
		{"http://h/announce", "[::ffff:169.254.169.254]", true, URL_HOST, "link-local"},
		{"http://h/f", "169.254.1.1", false, URL_HOST, "link-local"},
		{"http://h/announce", "0.0.0.0", true, URL_HOST, "no host"},
		{"http://h/announce", "[::]", true, URL_HOST, "no host"},
		{"http://h/announce", "224.0.0.1", true, URL_HOST, "no host"},
		{"http://h/announce", "255.255.255.255", true, URL_HOST, "no host"},
		{"http://h/announce", "[ff02::1]", true, URL_HOST, "no host"},
		/* loopback: by its own name, and for trackers to announce */
		{"http://h/announce", "127.0.0.1", true, URL_HOST, "the name leads to a loopback"},
		{"http://h/announce", "[::1]", true, URL_HOST, "the name leads to a loopback"},
		{"http://h/f", "127.0.0.1", false, URL_HOST, "the name leads to a loopback"},
		{"http://127.0.0.1/announce", "127.0.0.1", true, URL_HOST, NULL},
		{"http://127.0.0.2/k/announce?x", "127.0.0.2", true, URL_HOST, NULL},
		{"http://localhost/announce", "[::1]", true, URL_HOST, NULL},
		{"http://localhost/admin", "127.0.0.1", true, URL_HOST, "does not say announce"},
		{"http://localhost/?/announce", "127.0.0.1", true, URL_HOST,
			"does not say announce"},
		{"udp://127.0.0.1:1", "127.0.0.1", true, URL_HOST, "does not say announce"},
		{"http://127.0.0.1/f", "127.0.0.1", false, URL_HOST, NULL},
		/* redirects never lead nearer */
		{"http://h/f", "10.0.0.1", false, URL_WORLD, "public to a private"},
		{"http://h/f", "[fd00::1]", false, URL_WORLD, "public to a private"},
		{"http://localhost/f", "127.0.0.1", false, URL_WORLD, "loopback"},
		{"http://localhost/f", "127.0.0.1", false, URL_SITE, "loopback"},
		{"http://h/f", "10.0.0.1", false, URL_SITE, NULL},
		{"http://h/f", "192.0.2.1", false, URL_SITE, NULL},
		{"http://h/f", "192.0.2.1", false, URL_WORLD, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct url u = parse(table[i].url);
		struct addr a = addr(table[i].address);
		const char *why = url_refuses(&u, table[i].tracker, &a, table[i].from);
		if (!why != !table[i].why || (why && !strstr(why, table[i].why)))
			fail_msg("%s to %s from %d: %s", table[i].url, table[i].address,
				table[i].from, why ? why : "allowed");
		url_done(&u);
	}
}

static void test_escapes(void **state)
{
	static const struct {
		const char *in, *keep, *out;
	} table[] = {
		{"", "", ""},
		{"azAZ09-._~", "", "azAZ09-._~"},
		{"a b/c?d#e%f", "", "a%20b%2Fc%3Fd%23e%25f"},
		{"a b/c", "/", "a%20b/c"},
		{"\xc3\xa4\xff\x01", "", "%C3%A4%FF%01"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char *out = url_escape(table[i].in, strlen(table[i].in), table[i].keep);
		assert_string_equal(out, table[i].out);
		free(out);
	}
	char *out = url_escape("\0x", 2, "/");
	assert_string_equal(out, "%00x");
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parses),
		cmocka_unit_test(test_refuses_what_is_no_url_of_ours),
		cmocka_unit_test(test_length_limit),
		cmocka_unit_test(test_address_matrix),
		cmocka_unit_test(test_escapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
