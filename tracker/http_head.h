/* SPDX-License-Identifier: MIT */
/* The head of an HTTP/1.x request, as far as a tracker needs it.
 *
 * Parsed in place, nothing is copied or allocated; the pieces point into the caller's bytes.  Only
 * requests without a body are understood.
 *
 * Pure.  Thread: any.
 */
#ifndef TRACKER_HTTP_HEAD_H
#define TRACKER_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#define HEAD_MAX_LEN 16384u /* a scrape of 100 hashes in %XX is 7 KiB; browsers send 2 */
#define HEAD_MAX_LINES 64u

struct text {
	const char *p; /* not NUL-terminated */
	size_t len;
};

struct http_head {
	bool head;       /* HEAD, not GET */
	bool keep_alive; /* the connection stays */
	struct text path, query, host, authorization;
};

/* How many bytes the head is, 0 when its end is not here yet, or minus the HTTP status that says
 * what is wrong with it (400, 405, 413, 414, 505), with a reason. */
int http_head_parse(const char *data, size_t len, struct http_head *ret, const char **ret_why);

bool text_is(struct text t, const char *s);
bool text_is_nocase(struct text t, const char *s);

#endif
