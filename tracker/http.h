/* SPDX-License-Identifier: MIT */
/* The tracker's HTTP server: GET and HEAD, HTTP/1.1 with keep-alive and pipelining, TLS on the same
 * port.
 *
 * libevent's evhttp would do, but it answers a fraction of what opentracker does (it allocates
 * dozens of times per request and copies all headers); this one parses in place, and a reply is one
 * write.  It is not a general server: no bodies, no files, no chunks.
 *
 * Limits: connections in all and per address (IPv6: per /64).  At a limit the connection that has
 * been waiting for the longest is closed for the new one, so ten thousand that say nothing keep
 * nobody out.  A request has HTTP_DEADLINE_S to come in whole, and a reply to be taken; of both no
 * more than HTTP_MAX_HELD bytes are kept, and who goes beyond is closed.
 *
 * Thread: loop.
 */
#ifndef TRACKER_HTTP_H
#define TRACKER_HTTP_H

#include "base/addr.h"
#include "base/buf.h"
#include "tracker/http_head.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#define HTTP_DEADLINE_S 10u      /* a head is one packet; a path that loses some takes seconds */
#define HTTP_MAX_CONNECTIONS 16384u
#define HTTP_MAX_PER_ADDRESS 8192u /* a site behind one NAT, all nodes at once; half of all */
#define HTTP_MAX_HELD (64u << 20) /* most requests come in one packet, and replies go in one: hardly
				   * anything is held but of those who are slow on purpose */

struct event_base;
struct http;

struct http_reply {
	int status;
	const char *type;  /* Content-Type; default text/plain */
	const char *extra; /* more header lines, each with its CRLF; NULL for none */
	struct buf *body;  /* append only: bytes are reserved before it */
};

struct http_config {
	unsigned max_connections, max_per_address;
	/* Answers one request: data is the listener's. */
	void (*handle)(void *arg, void *data, const struct http_head *head,
		const struct addr *from, bool tls, struct http_reply *reply);
	void *arg;
};

struct http_counters {
	uint64_t accepted, requests, bad, evicted, timed_out;
	unsigned open;
};

struct http *http_server_new(struct event_base *base, const struct http_config *config);
void http_server_free(struct http *h);
/* Takes over a listening socket. -errno. */
int http_listen(struct http *h, int fd, void *data);
/* TLS for those who begin with it, from now on; takes the context (a counted reference). */
void http_set_tls(struct http *h, SSL_CTX *tls);
const struct http_counters *http_counters(const struct http *h);

#endif
