// SPDX-License-Identifier: MIT
/* IP addresses with ports: see addr.h.
 *
 * The classes look at the IPv4 address inside NAT64's well-known prefix too (64:ff9b::/96): a
 * gateway there would carry us to it.
 *
 * Thread: any.
 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
static const uint8_t zero[16];

bool addr_is_v4(const struct addr *a)
{
	return memcmp(a->ip, mapped, sizeof(mapped)) == 0;
}

bool addr_same_ip(const struct addr *a, const struct addr *b)
{
	return memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return addr_same_ip(a, b) && a->port == b->port;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	int order = memcmp(a->ip, b->ip, sizeof(a->ip));

	return order ? order : (a->port > b->port) - (a->port < b->port);
}

/* The IPv4 address that this leads to, in host order; false when it is IPv6 proper. */
static bool addr_v4(const struct addr *a, uint32_t *ret)
{
	if (!addr_is_v4(a) && memcmp(a->ip, nat64, sizeof(nat64)) != 0)
		return false;
	*ret = (uint32_t)a->ip[12] << 24 | (uint32_t)a->ip[13] << 16 | (uint32_t)a->ip[14] << 8 |
	       a->ip[15];
	return true;
}

static bool in_net(uint32_t v4, uint32_t net, unsigned bits)
{
	return v4 >> (32 - bits) == net >> (32 - bits);
}

bool addr_is_loopback(const struct addr *a)
{
	uint32_t v4;

	if (addr_v4(a, &v4))
		return in_net(v4, 0x7f000000, 8);
	return memcmp(a->ip, zero, 15) == 0 && a->ip[15] == 1;
}

bool addr_is_link_local(const struct addr *a)
{
	uint32_t v4;

	if (addr_v4(a, &v4))
		return in_net(v4, 0xa9fe0000, 16);
	return a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80;
}

bool addr_is_private(const struct addr *a)
{
	uint32_t v4;

	if (addr_v4(a, &v4))
		return in_net(v4, 0x0a000000, 8) || in_net(v4, 0xac100000, 12) ||
		       in_net(v4, 0xc0a80000, 16) || in_net(v4, 0x64400000, 10);
	return (a->ip[0] & 0xfe) == 0xfc;
}

bool addr_is_any(const struct addr *a)
{
	uint32_t v4;

	if (addr_v4(a, &v4))
		return in_net(v4, 0, 8);
	return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

bool addr_is_multicast(const struct addr *a)
{
	uint32_t v4;

	if (addr_v4(a, &v4))
		return in_net(v4, 0xe0000000, 4) || v4 == 0xffffffff;
	return a->ip[0] == 0xff;
}

bool addr_is_one(const struct addr *a)
{
	return !addr_is_any(a) && !addr_is_loopback(a) && !addr_is_multicast(a);
}

static int parse_port(const char *text, uint16_t *ret)
{
	uint32_t port = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		port = port * 10 + (uint32_t)(*text - '0');
		if (port > UINT16_MAX)
			return -EINVAL;
	}
	*ret = (uint16_t)port;
	return 0;
}

static int parse_ip(const char *text, size_t len, bool v6, uint8_t ret[16])
{
	char copy[INET6_ADDRSTRLEN];

	if (len >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (v6)
		return inet_pton(AF_INET6, copy, ret) == 1 ? 0 : -EINVAL;
	uint8_t v4[4] = {0};
	if (len && inet_pton(AF_INET, copy, v4) != 1)
		return -EINVAL;
	memcpy(ret, mapped, sizeof(mapped));
	memcpy(ret + 12, v4, 4);
	return 0;
}

int addr_parse(const char *text, uint16_t default_port, struct addr *ret)
{
	struct addr a = {.port = default_port};
	const char *colon = strrchr(text, ':'), *port = NULL;
	int err;

	if (text[0] == '[') {
		const char *end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		err = parse_ip(text + 1, (size_t)(end - text - 1), true, a.ip);
		port = end[1] ? end + 2 : NULL;
	} else if (colon && strchr(text, ':') != colon) {
		/* IPv6 without brackets has no port. */
		err = parse_ip(text, strlen(text), true, a.ip);
	} else if (colon) {
		err = parse_ip(text, (size_t)(colon - text), false, a.ip);
		port = colon + 1;
	} else {
		err = *text ? parse_ip(text, strlen(text), false, a.ip) : -EINVAL;
	}
	if (!err && port)
		err = parse_port(port, &a.port);
	if (!err)
		*ret = a;
	return err;
}

char *addr_format_ip(const struct addr *a, char ret[ADDR_STRLEN])
{
	if (addr_is_v4(a))
		inet_ntop(AF_INET, a->ip + 12, ret, ADDR_STRLEN);
	else
		inet_ntop(AF_INET6, a->ip, ret, ADDR_STRLEN);
	return ret;
}

char *addr_format(const struct addr *a, char ret[ADDR_STRLEN])
{
	char ip[ADDR_STRLEN];

	addr_format_ip(a, ip);
	if (addr_is_v4(a))
		snprintf(ret, ADDR_STRLEN, "%.15s:%u", ip, a->port);
	else
		snprintf(ret, ADDR_STRLEN, "[%.45s]:%u", ip, a->port);
	return ret;
}

void addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	*ret = (struct addr) {0};
	if (sa->sa_family == AF_INET) {
		memcpy(&in, sa, sizeof(in));
		memcpy(ret->ip, mapped, sizeof(mapped));
		memcpy(ret->ip + 12, &in.sin_addr, 4);
		ret->port = ntohs(in.sin_port);
	} else if (sa->sa_family == AF_INET6) {
		memcpy(&in6, sa, sizeof(in6));
		memcpy(ret->ip, &in6.sin6_addr, 16);
		ret->port = ntohs(in6.sin6_port);
	}
}

socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret)
{
	*ret = (struct sockaddr_storage) {0};
	if (addr_is_v4(a)) {
		struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(a->port)};
		memcpy(&in.sin_addr, a->ip + 12, 4);
		memcpy(ret, &in, sizeof(in));
		return sizeof(in);
	}
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(a->port)};
	memcpy(&in6.sin6_addr, a->ip, 16);
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

void addr_bind_source(int fd, int family, const struct addr *from)
{
	struct addr source = *from;
	struct sockaddr_storage sa;
	int on = 1;

	source.port = 0;
	socklen_t len = addr_to_sockaddr(&source, &sa);
	if (!addr_is_one(&source) || sa.ss_family != family)
		return;
	/* TCP: the port is chosen at connect, where one serves many destinations (ip(7)). */
	setsockopt(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0)
		return; /* unbound as it is, routing chooses */
}

void addr_from_compact4(const uint8_t c[6], struct addr *ret)
{
	memcpy(ret->ip, mapped, sizeof(mapped));
	memcpy(ret->ip + 12, c, 4);
	ret->port = (uint16_t)(c[4] << 8 | c[5]);
}

void addr_from_compact6(const uint8_t c[18], struct addr *ret)
{
	memcpy(ret->ip, c, 16);
	ret->port = (uint16_t)(c[16] << 8 | c[17]);
}

void addr_to_compact4(const struct addr *a, uint8_t ret[6])
{
	memcpy(ret, a->ip + 12, 4);
	ret[4] = (uint8_t)(a->port >> 8);
	ret[5] = (uint8_t)a->port;
}

void addr_to_compact6(const struct addr *a, uint8_t ret[18])
{
	memcpy(ret, a->ip, 16);
	ret[16] = (uint8_t)(a->port >> 8);
	ret[17] = (uint8_t)a->port;
}
