// SPDX-License-Identifier: MIT
/* Addresses: every form that is read and written, and the classes at their edges. */
#include "tests/unit/unit.h"

#include "base/addr.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>

static struct addr parse(const char *text)
{
	struct addr a;

	if (addr_parse(text, 6881, &a))
		fail_msg("%s: refused", text);
	return a;
}

static void test_parse_and_format(void **state)
{
	static const char *const table[][2] = {
		{"1.2.3.4:80", "1.2.3.4:80"},
		{"1.2.3.4", "1.2.3.4:6881"},
		{":80", "0.0.0.0:80"},
		{":0", "0.0.0.0:0"},
		{"0.0.0.0:65535", "0.0.0.0:65535"},
		{"[::1]:80", "[::1]:80"},
		{"[::1]", "[::1]:6881"},
		{"::1", "[::1]:6881"},
		{"::", "[::]:6881"},
		{"[2001:db8:0:0:0:0:0:5]:1", "[2001:db8::5]:1"},
		{"[::ffff:1.2.3.4]:80", "1.2.3.4:80"}, /* one address has one form */
		{"[ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255]:65535",
			"[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535"},
	};
	char text[ADDR_STRLEN];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct addr a = parse(table[i][0]);
		assert_string_equal(addr_format(&a, text), table[i][1]);
	}
}

static void test_bad_addresses_change_nothing(void **state)
{
	static const char *const bad[] = {
		"",
		":",
		"1.2.3.4:",
		"1.2.3.4:65536",
		"1.2.3.4:-1",
		"1.2.3.4:8x",
		"1.2.3.4: 80",
		"1.2.3",
		"1.2.3.256:80",
		"01.2.3.4:80",
		"1.2.3.4.5",
		"localhost:80",
		"example.org",
		"[::1",
		"[::1]80",
		"[::1]:",
		"[::1]:65536",
		"[1.2.3.4]:80",
		"[]:80",
		"[]",
		"::1:x",
		"[fe80::1%lo]:80",
		"1:2:3:4:5:6:7:8:9",
		"[::1]:80 ",
		"1.2.3.4:99999999999999999999",
		"1111111111111111111111111111111111111111111111111111111111111111:80",
	};
	struct addr a = {.port = 7};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (addr_parse(bad[i], 1, &a) != -EINVAL)
			fail_msg("%s: accepted", bad[i]);
		assert_int_equal(a.port, 7);
	}
}

static void test_format_ip(void **state)
{
	struct addr four = parse("1.2.3.4:80"), six = parse("[2001:db8::1]:80");
	char text[ADDR_STRLEN];

	assert_string_equal(addr_format_ip(&four, text), "1.2.3.4");
	assert_string_equal(addr_format_ip(&six, text), "2001:db8::1");
}

static void test_order(void **state)
{
	struct addr a = parse("1.2.3.4:80"), b = parse("1.2.3.4:81"), c = parse("1.2.3.5:80");

	assert_true(addr_same_ip(&a, &b));
	assert_false(addr_equal(&a, &b));
	assert_true(addr_equal(&a, &a));
	assert_true(addr_compare(&a, &b) < 0 && addr_compare(&b, &a) > 0);
	assert_true(addr_compare(&b, &c) < 0);
	assert_int_equal(addr_compare(&a, &a), 0);
	a.port = 1;
	b.port = 65535; /* no wrap in the comparison */
	assert_true(addr_compare(&a, &b) < 0);
}

enum { GLOBAL, LOOPBACK, LINK_LOCAL, PRIVATE, ANY, MULTICAST };

static void test_classes(void **state)
{
	static const struct {
		const char *text;
		int class;
	} table[] = {
		{"8.8.8.8", GLOBAL},
		{"126.255.255.255", GLOBAL},
		{"127.0.0.0", LOOPBACK},
		{"127.255.255.255", LOOPBACK},
		{"128.0.0.0", GLOBAL},
		{"169.253.255.255", GLOBAL},
		{"169.254.0.0", LINK_LOCAL},
		{"169.254.169.254", LINK_LOCAL},
		{"169.254.255.255", LINK_LOCAL},
		{"169.255.0.0", GLOBAL},
		{"9.255.255.255", GLOBAL},
		{"10.0.0.0", PRIVATE},
		{"10.255.255.255", PRIVATE},
		{"11.0.0.0", GLOBAL},
		{"172.15.255.255", GLOBAL},
		{"172.16.0.0", PRIVATE},
		{"172.31.255.255", PRIVATE},
		{"172.32.0.0", GLOBAL},
		{"192.167.255.255", GLOBAL},
		{"192.168.0.0", PRIVATE},
		{"192.168.255.255", PRIVATE},
		{"192.169.0.0", GLOBAL},
		{"100.63.255.255", GLOBAL},
		{"100.64.0.0", PRIVATE},
		{"100.127.255.255", PRIVATE},
		{"100.128.0.0", GLOBAL},
		{"0.0.0.0", ANY},
		{"0.255.255.255", ANY},
		{"1.0.0.0", GLOBAL},
		{"223.255.255.255", GLOBAL},
		{"224.0.0.0", MULTICAST},
		{"239.255.255.255", MULTICAST},
		{"255.255.255.254", GLOBAL},
		{"255.255.255.255", MULTICAST},
		{"::", ANY},
		{"::1", LOOPBACK},
		{"::2", GLOBAL},
		{"2001:db8::1", GLOBAL},
		{"fe7f:ffff::", GLOBAL},
		{"fe80::", LINK_LOCAL},
		{"febf:ffff::1", LINK_LOCAL},
		{"fec0::", GLOBAL},
		{"fbff::", GLOBAL},
		{"fc00::", PRIVATE},
		{"fdff:ffff::1", PRIVATE},
		{"fe00::", GLOBAL},
		{"feff::", GLOBAL},
		{"ff00::", MULTICAST},
		{"ff02::1", MULTICAST},
		/* What IPv6 hides. */
		{"::ffff:127.0.0.1", LOOPBACK},
		{"::ffff:169.254.169.254", LINK_LOCAL},
		{"::ffff:10.1.2.3", PRIVATE},
		{"::ffff:0.0.0.0", ANY},
		{"64:ff9b::127.0.0.1", LOOPBACK},
		{"64:ff9b::169.254.169.254", LINK_LOCAL},
		{"64:ff9b::10.0.0.1", PRIVATE},
		{"64:ff9b::8.8.8.8", GLOBAL},
		{"64:ff9b:1::127.0.0.1", GLOBAL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct addr a = parse(table[i].text);
		bool is[] = {false, addr_is_loopback(&a), addr_is_link_local(&a),
			addr_is_private(&a), addr_is_any(&a), addr_is_multicast(&a)};
		for (int class = LOOPBACK; class <= MULTICAST; class ++)
			if (is[class] != (table[i].class == class))
				fail_msg("%s: class %d is %d", table[i].text, class, is[class]);
	}
}

static void test_sockaddr_and_back(void **state)
{
	static const char *const texts[] = {"1.2.3.4:80", "[2001:db8::1]:6881"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct addr a = parse(texts[i]), back;
		struct sockaddr_storage ss;
		socklen_t len = addr_to_sockaddr(&a, &ss);
		assert_int_equal(ss.ss_family, i ? AF_INET6 : AF_INET);
		assert_int_equal(len, i ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
		addr_from_sockaddr((struct sockaddr *)&ss, &back);
		assert_true(addr_equal(&a, &back));
	}
	struct sockaddr local = {.sa_family = AF_UNIX};
	struct addr none = {.port = 9};
	addr_from_sockaddr(&local, &none);
	assert_int_equal(none.port, 0);
	assert_true(addr_is_any(&none));
}

static void test_mapped_sockaddr_is_ipv4(void **state)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(80)};
	struct addr a, want = parse("1.2.3.4:80");

	memcpy(&in6.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\1\2\3\4", 16);
	addr_from_sockaddr((struct sockaddr *)&in6, &a);
	assert_true(addr_is_v4(&a));
	assert_true(addr_equal(&a, &want));
}

static void test_compact_and_back(void **state)
{
	struct addr a = parse("1.2.3.4:258"), b = parse("[2001:db8::1]:65535"), back;
	uint8_t four[6], six[18];

	addr_to_compact4(&a, four);
	assert_memory_equal(four, "\1\2\3\4\1\2", 6);
	addr_from_compact4(four, &back);
	assert_true(addr_equal(&a, &back));
	addr_to_compact6(&b, six);
	assert_memory_equal(six, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1\xff\xff", 18);
	addr_from_compact6(six, &back);
	assert_true(addr_equal(&b, &back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_format),
		cmocka_unit_test(test_bad_addresses_change_nothing),
		cmocka_unit_test(test_format_ip),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_classes),
		cmocka_unit_test(test_sockaddr_and_back),
		cmocka_unit_test(test_mapped_sockaddr_is_ipv4),
		cmocka_unit_test(test_compact_and_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
