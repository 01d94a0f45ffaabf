/* SPDX-License-Identifier: MIT */
/* The URLs of trackers and web seeds, and which addresses they may lead to.
 *
 * A .torrent comes from a stranger and runs on machines that reach what he does not: the services
 * of the host itself, a cloud's metadata address, the neighbours.  So:
 *  - link-local addresses, multicast and "any" are never connected to;
 *  - a loopback address only when the URL itself names it (127.0.0.1, ::1, localhost) and, for a
 *    tracker, a part of its path begins with "announce";
 *  - a redirect never leads nearer: not from the world to a private or loopback address, not from a
 *    private address to loopback.
 *
 * Thread: any (pure).
 */
#ifndef SWARM_URL_H
#define SWARM_URL_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define URL_MAX 8192 /* a torrent's URL (TORRENT_MAX_URL), our query, and what redirects add */

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UDP };

struct url {
	enum url_scheme scheme;
	char *host; /* owned; without brackets */
	uint16_t port;
	char *path; /* owned; begins with '/', percent-encoded as it came, with the query */
	bool is_address; /* the host is an address: */
	struct addr addr;
	bool names_loopback;
	bool says_announce;
};

/* How far away an address is; a redirect may not lead to a smaller one. */
enum url_reach { URL_HOST, URL_SITE, URL_WORLD };

/* http, https and udp.  0, or -EINVAL with a static reason. */
int url_parse(const char *text, struct url *ret, const char **ret_why);
void url_done(struct url *u);
enum url_reach url_reach(const struct addr *a);
/* Why this URL may not lead to this address (static), or NULL.  `from`: the reach of the address
 * that redirected to it, URL_HOST when none did. */
const char *url_refuses(
	const struct url *u, bool tracker, const struct addr *a, enum url_reach from);
/* Percent-encodes all but unreserved characters (RFC 3986) and those of `keep`, onto a new string.
 */
char *url_escape(const void *data, size_t len, const char *keep);

#endif
