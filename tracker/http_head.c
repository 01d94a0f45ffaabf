/* SPDX-License-Identifier: MIT */
/* Request heads: see http_head.h.
 *
 * Thread: any.
 */
#include "tracker/http_head.h"

#include <string.h>
#include <strings.h>

bool text_is(struct text t, const char *s)
{
	return t.len == strlen(s) && !memcmp(t.p, s, t.len);
}

bool text_is_nocase(struct text t, const char *s)
{
	return t.len == strlen(s) && !strncasecmp(t.p, s, t.len);
}

/* Takes what stands before `end` from the front; all of it when there is none. */
static struct text take_to(struct text *t, char end)
{
	const char *at = t->len ? memchr(t->p, end, t->len) : NULL;
	struct text got = {t->p, at ? (size_t)(at - t->p) : t->len};
	size_t used = got.len + (at != NULL);
	t->p += used;
	t->len -= used;
	return got;
}

static struct text trim(struct text t)
{
	while (t.len && (*t.p == ' ' || *t.p == '\t')) {
		t.p++;
		t.len--;
	}
	while (t.len && strchr(" \t\r", t.p[t.len - 1]) && t.p[t.len - 1])
		t.len--;
	return t;
}

/* The length up to and with the empty line; a lone LF ends a line too (RFC 9112, 2.2). */
static size_t head_length(const char *data, size_t len)
{
	const char *p = data, *end = data + len;
	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		p++;
		if (p < end && *p == '\n')
			return (size_t)(p + 1 - data);
		if (end - p >= 2 && p[0] == '\r' && p[1] == '\n')
			return (size_t)(p + 2 - data);
	}
	return 0;
}

static int parse_request_line(struct text line, struct http_head *ret, const char **ret_why)
{
	line = trim(line);
	struct text method = take_to(&line, ' ');
	struct text target = take_to(&line, ' ');
	if (!text_is(method, "GET") && !text_is(method, "HEAD")) {
		*ret_why = "only GET and HEAD are served here";
		return -405;
	}
	if (line.len != 8 || memcmp(line.p, "HTTP/1.", 7) != 0) {
		*ret_why = "not HTTP/1.x";
		return line.len >= 5 && !memcmp(line.p, "HTTP/", 5) ? -505 : -400;
	}
	/* A proxy's form names the host first. */
	if (target.len > 7 && !strncasecmp(target.p, "http://", 7)) {
		target.p += 7;
		target.len -= 7;
		const char *slash = memchr(target.p, '/', target.len);
		if (!slash)
			slash = target.p + target.len;
		target.len -= (size_t)(slash - target.p);
		target.p = slash;
	}
	if (!target.len || target.p[0] != '/') {
		*ret_why = "the request names no path";
		return -400;
	}
	target = take_to(&target, '#');
	ret->path = take_to(&target, '?');
	ret->query = target;
	ret->head = method.len == 4;
	ret->keep_alive = line.p[7] != '0';
	return 0;
}

static int parse_header(struct text line, struct http_head *ret, const char **ret_why)
{
	struct text name = take_to(&line, ':');
	struct text value = trim(line);
	if (text_is_nocase(name, "connection")) {
		while (value.len) {
			struct text option = trim(take_to(&value, ','));
			if (text_is_nocase(option, "close"))
				ret->keep_alive = false;
			else if (text_is_nocase(option, "keep-alive"))
				ret->keep_alive = true;
		}
	} else if (text_is_nocase(name, "host")) {
		ret->host = value;
	} else if (text_is_nocase(name, "authorization")) {
		ret->authorization = value;
	} else if (text_is_nocase(name, "transfer-encoding") ||
		(text_is_nocase(name, "content-length") && !text_is(value, "0"))) {
		*ret_why = "a request with a body is not served here";
		return -413;
	}
	return 0;
}

int http_head_parse(const char *data, size_t len, struct http_head *ret, const char **ret_why)
{
	if (len && data[0] != 'G' && data[0] != 'H') {
		*ret_why = "only GET and HEAD are served here";
		return -405;
	}
	size_t end = head_length(data, len < HEAD_MAX_LEN ? len : HEAD_MAX_LEN);
	if (!end) {
		if (len < HEAD_MAX_LEN)
			return 0;
		*ret_why = "the request is too long";
		return -414;
	}
	*ret = (struct http_head) {0};
	struct text rest = {data, end};
	int err = parse_request_line(take_to(&rest, '\n'), ret, ret_why);
	for (unsigned n = 0; !err && rest.len; n++) {
		struct text line = trim(take_to(&rest, '\n'));
		if (!line.len)
			break;
		if (n == HEAD_MAX_LINES) {
			*ret_why = "too many header lines";
			return -400;
		}
		err = parse_header(line, ret, ret_why);
	}
	return err ? err : (int)end;
}
