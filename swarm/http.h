/* SPDX-License-Identifier: MIT */
/* HTTP(S) client: libcurl's multi interface on the loop.
 *
 * The rules for what comes from torrents (design, "SSRF"): http and https only; TLS verified, 1.2
 * up; no link-local address ever; a loopback address only when the URL itself names it and, for
 * trackers, its path says announce; no redirect from a global to a private or loopback address; at
 * most HTTP_MAX_REDIRECTS; no content decoding.  Addresses are checked when the socket is opened,
 * so a name that resolves anew changes nothing.
 *
 * Thread: loop.
 */
#ifndef SWARM_HTTP_H
#define SWARM_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct http;
struct http_request;

struct http_callbacks {
	/* Optional: bytes of the body as they come; false ends the transfer.  `status` is the HTTP
	 * status.  Without it the body is collected (up to max_body) and given to `done`. */
	bool (*data)(void *arg, int status, const uint8_t *data, size_t len);
	/* Exactly once, unless cancelled; the request is freed after it returns.  error NULL: the
	 * transfer ended (whatever the status); else a sentence, for the call's life.
	 * body: the collected bytes, NUL-terminated. */
	void (*done)(void *arg, const char *error, int status, const uint8_t *body, size_t len);
	void *arg;
};

struct http_options {
	size_t max_body;          /* more ends the transfer with an error */
	unsigned timeout_ms;      /* for the whole transfer; 0: none */
	unsigned stall_ms;        /* ends it when nothing came for so long; 0: none */
	uint64_t range_from, range_len; /* range_len > 0: asks for these bytes */
	bool tracker;             /* the rule for loopback trackers applies */
	const char *cafile;       /* extra CA bundle for tests and private CAs, or NULL */
};

int http_new(struct loop *loop, struct http **ret);
void http_free(struct http *h); /* cancels what is under way */
/* Starts a GET.  NULL when the URL is refused: *ret_why static. */
struct http_request *http_get(struct http *h, const char *url, const struct http_options *options,
	const struct http_callbacks *cb, const char **ret_why);
/* No callback comes any more. */
void http_cancel(struct http_request *r);

#endif
