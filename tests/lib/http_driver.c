// SPDX-License-Identifier: MIT
/* Gets URLs with the program's own HTTP client, for pytest:
 *
 *	http_driver [OPTION=VALUE]... URL...
 *
 * one after the other, over kept connections where the server allows it.  One line of JSON for each
 * on stdout: error, status, length, SHA-1 and (up to 200 bytes) text of the body.
 * Options: cafile, max_body, timeout_ms, stall_ms, from, len, total, family (4 or 6), tracker (0 or
 * 1), cancel_ms: cancels the transfer after that long, and ends without freeing it first.
 */
#include "swarm/http.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct driver {
	struct loop *loop;
	struct http *http;
	struct http_options options;
	struct http_request *request;
	struct event *cancel;
	unsigned cancel_ms;
	char **urls; /* left to get */
};

static void next(struct driver *d);

static void say(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

static void done(void *arg, const char *error, int status, const uint8_t *body, size_t len)
{
	struct driver *d = arg;
	uint8_t digest[SHA1_LEN];
	char hex[2 * SHA1_LEN + 1];

	sha1(body, len, digest);
	hex_encode(digest, sizeof(digest), hex);
	say(json_pack("{s:s?, s:i, s:I, s:s, s:s}", "error", error, "status", status, "len",
		(json_int_t)len, "sha1", hex, "body", log_quote(body, MIN(len, (size_t)200))));
	d->request = NULL;
	next(d);
}

static void on_cancel(evutil_socket_t fd, short what, void *arg)
{
	struct driver *d = arg;

	if (d->request)
		http_cancel(d->request);
	say(json_pack("{s:b}", "cancelled", d->request != NULL));
	loop_stop(d->loop);
}

static void next(struct driver *d)
{
	struct http_callbacks cb = {.done = done, .arg = d};
	const char *url, *why;

	while ((url = *d->urls)) {
		d->urls++;
		d->request = http_get(d->http, url, &d->options, &cb, &why);
		if (d->request)
			return;
		say(json_pack("{s:s}", "refused", why));
	}
	loop_stop(d->loop);
}

static void take_option(struct driver *d, const char *option, const char *value)
{
	struct http_options *o = &d->options;
	unsigned long long n = strtoull(value, NULL, 10);

	if (strncmp(option, "cafile=", 7) == 0)
		o->cafile = value;
	else if (strncmp(option, "max_body=", 9) == 0)
		o->max_body = n;
	else if (strncmp(option, "timeout_ms=", 11) == 0)
		o->timeout_ms = (unsigned)n;
	else if (strncmp(option, "stall_ms=", 9) == 0)
		o->stall_ms = (unsigned)n;
	else if (strncmp(option, "from=", 5) == 0)
		o->range_from = n;
	else if (strncmp(option, "len=", 4) == 0)
		o->range_len = n;
	else if (strncmp(option, "total=", 6) == 0)
		o->range_total = n;
	else if (strncmp(option, "family=", 7) == 0)
		o->family = n == 6 ? AF_INET6 : AF_INET;
	else if (strncmp(option, "tracker=", 8) == 0)
		o->tracker = n;
	else if (strncmp(option, "cancel_ms=", 10) == 0)
		d->cancel_ms = (unsigned)n;
	else
		exit(2);
}

int main(int argc, char **argv)
{
	struct driver d = {.options = {.max_body = 1 << 20}};
	int i = 1;

	for (; i < argc && !strstr(argv[i], "://"); i++)
		take_option(&d, argv[i], strchr(argv[i], '=') ? strchr(argv[i], '=') + 1 : "");
	d.urls = argv + i;
	if (loop_new(&d.loop) < 0 || http_new(d.loop, &d.http) < 0)
		return 1;
	d.cancel = event_new(loop_base(d.loop), -1, 0, on_cancel, &d);
	if (d.cancel_ms) {
		struct timeval tv = {
			.tv_sec = d.cancel_ms / 1000, .tv_usec = d.cancel_ms % 1000 * 1000};
		event_add(d.cancel, &tv);
	}
	next(&d);
	loop_run(d.loop);
	event_free(d.cancel);
	http_free(d.http);
	loop_free(d.loop);
	return 0;
}
