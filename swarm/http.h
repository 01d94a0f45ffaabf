/* SPDX-License-Identifier: MIT */
/* HTTP(S) client: libcurl's multi interface on the loop.
 *
 * The rules for what comes from torrents (design, "SSRF"): http and https only; TLS verified, 1.2
 * up; no link-local address ever; a loopback address only when the URL itself names it and, for
 * trackers, its path says announce; no redirect from a global to a private or loopback address; at
 * most HTTP_MAX_REDIRECTS; no content decoding; no proxy.  Addresses are checked when the socket is
 * opened, so a name that resolves anew changes nothing, and again when a kept connection is used.
 * (url.h holds these rules.)
 *
 * Callbacks may call http_get and http_cancel, not http_free.
 *
 * Thread: loop.
 */
#ifndef SWARM_HTTP_H
#define SWARM_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addr;
struct loop;
struct http;
struct http_request;

struct http_callbacks {
	/* Optional: bytes of the body as they come; false ends the transfer.  `status` is the HTTP
	 * status (redirects are followed, their bodies dropped).  Without it the body is collected
	 * and given to `done`. */
	bool (*data)(void *arg, int status, const uint8_t *data, size_t len);
	/* Exactly once, unless cancelled, and never from inside of http_get; the request is freed
	 * after it returns, and is not to be cancelled in it.  error NULL: the transfer ended
	 * (whatever the status); else a sentence, for the call's life, printable, that says nothing
	 * of the URL but its host. status: 0 when none came, HTTP_NO_ADDRESS when the name has no
	 * address (of the family). body: the collected bytes, NUL-terminated. */
	void (*done)(void *arg, const char *error, int status, const uint8_t *body, size_t len);
	void *arg;
};

#define HTTP_NO_ADDRESS (-1)

struct http_options {
	size_t max_body; /* more ends the transfer with an error */
	unsigned timeout_ms; /* for the whole transfer, redirects included; 0: none */
	unsigned stall_ms; /* ends it when nothing came for so long; 0: none */
	/* range_len > 0: asks for these bytes.  A status of 206 is then an error unless it brings
	 * exactly them, of a file of range_total bytes (0: any); 200 is the caller's to judge. */
	uint64_t range_from, range_len, range_total;
	int family; /* AF_INET or AF_INET6: that one alone; 0: whichever connects first */
	bool tracker; /* the rule for loopback trackers applies */
	const char *cafile; /* CA bundle beside the system's, or NULL: that of http_set_cafile */
};

int http_new(struct loop *loop, struct http **ret);
void http_free(struct http *h); /* cancels what is under way; NULL is fine */
struct loop *http_loop(const struct http *h);
/* The CA bundle (beside the system's) of requests whose options name none; copied. */
void http_set_cafile(struct http *h, const char *path);
/* Connections come from this address, where it has the family (addr_bind_source). */
void http_set_source(struct http *h, const struct addr *from);
/* Starts a GET.  NULL when the URL is refused: *ret_why static. */
struct http_request *http_get(struct http *h, const char *url, const struct http_options *options,
	const struct http_callbacks *cb, const char **ret_why);
/* No callback comes any more. */
void http_cancel(struct http_request *r);

#endif
