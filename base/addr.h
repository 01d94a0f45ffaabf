/* SPDX-License-Identifier: MIT */
/* An IP address and port, IPv4 or IPv6, in a form that compares with memcmp.
 *
 * IPv4 is held mapped (::ffff:a.b.c.d), so one address has one form however it came.
 *
 * Thread: any.
 */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct addr {
	uint8_t ip[16];
	uint16_t port; /* host order */
};

#define ADDR_STRLEN 56 /* "[ipv6]:port" and NUL */

bool addr_is_v4(const struct addr *a);
bool addr_equal(const struct addr *a, const struct addr *b); /* with the port */
bool addr_same_ip(const struct addr *a, const struct addr *b);
int addr_compare(const struct addr *a, const struct addr *b);
/* Classes that decide what we connect to: see threats.md of the design, "SSRF". */
bool addr_is_loopback(const struct addr *a);
bool addr_is_link_local(const struct addr *a);
bool addr_is_private(const struct addr *a); /* RFC 1918, fc00::/7, 100.64/10 */
bool addr_is_any(const struct addr *a);
bool addr_is_multicast(const struct addr *a); /* and broadcast */
bool addr_is_one(const struct addr *a); /* of one machine: neither any nor loopback */

/* "1.2.3.4:80", "[::1]:80", ":80" (any IPv4 address), "1.2.3.4" with `default_port`; numeric only.
 * -EINVAL. */
int addr_parse(const char *text, uint16_t default_port, struct addr *ret);
/* Writes "1.2.3.4:80" or "[::1]:80" to `ret` and returns it. */
char *addr_format(const struct addr *a, char ret[ADDR_STRLEN]);
/* The same without the port (and without brackets). */
char *addr_format_ip(const struct addr *a, char ret[ADDR_STRLEN]);
void addr_from_sockaddr(const struct sockaddr *sa, struct addr *ret);
socklen_t addr_to_sockaddr(const struct addr *a, struct sockaddr_storage *ret);
/* A socket that will connect or send comes from this address, any port, if it addr_is_one of the socket's
 * family; else, and where the address is not ours any more, routing chooses. */
void addr_bind_source(int fd, int family, const struct addr *from);
/* The compact forms of BEP 23 (4 + 2 bytes) and BEP 7 (16 + 2 bytes). */
void addr_from_compact4(const uint8_t c[6], struct addr *ret);
void addr_from_compact6(const uint8_t c[18], struct addr *ret);
void addr_to_compact4(const struct addr *a, uint8_t ret[6]);
void addr_to_compact6(const struct addr *a, uint8_t ret[18]);

#endif
