// SPDX-License-Identifier: MIT
/* Messages: see log.h.
 *
 * A line is put together on the stack and goes out with one write(2), so lines of several threads
 * (and of processes that append to one file) do not mix.  Control characters in a message become
 * '?': nothing that slipped past log_quote can fake a line or speak to the terminal.  Reopening
 * puts the new file under the old descriptor, so that writers need no lock.
 *
 * errno survives every call, and %m works.
 *
 * Thread: any; log_set_name, log_open, log_debug_enable and log_reopen: the main one.
 */
#include "base/log.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOG_LINE 4096 /* longer ones are cut */

unsigned log_debug_mask;

static const char *_Atomic log_name = "p2pfs";
static _Atomic int log_fd = STDERR_FILENO;
static char *log_path; /* owned; absolute, since a daemon changes its folder */

static const char *const category_names[LOG_CATEGORIES] = {
	[LOG_PEER] = "peer",
	[LOG_TRACKER] = "tracker",
	[LOG_DISK] = "disk",
	[LOG_FUSE] = "fuse",
	[LOG_PICK] = "pick",
	[LOG_HTTP] = "http",
};

void log_set_name(const char *name)
{
	log_name = name;
}

static int log_open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);

	return fd < 0 ? -errno : fd;
}

int log_open(const char *path)
{
	char folder[PATH_MAX];

	if (path[0] != '/' && !getcwd(folder, sizeof(folder)))
		return -errno;
	int fd = log_open_file(path);
	if (fd < 0)
		return fd;
	char *absolute = path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", folder, path);
	free(log_path);
	log_path = absolute;
	int old = atomic_exchange(&log_fd, fd);
	if (old != STDERR_FILENO)
		close(old);
	return 0;
}

void log_reopen(void)
{
	if (!log_path)
		return;
	CLEANUP_CLOSE int fd = log_open_file(log_path);
	if (fd < 0)
		log_error("%s: cannot reopen the log: %s", log_path, strerror(-fd));
	else if (dup3(fd, log_fd, O_CLOEXEC) < 0)
		log_error("%s: cannot reopen the log: %m", log_path);
}

static int category_find(const char *name, size_t len)
{
	for (int i = 0; i < LOG_CATEGORIES; i++)
		if (strlen(category_names[i]) == len && memcmp(category_names[i], name, len) == 0)
			return i;
	return -1;
}

int log_debug_enable(const char *names)
{
	unsigned mask = 0;

	for (;;) {
		size_t len = strcspn(names, ",");
		int category = category_find(names, len);
		if (category >= 0)
			mask |= 1u << category;
		else if (len == 3 && memcmp(names, "all", 3) == 0)
			mask = (1u << LOG_CATEGORIES) - 1;
		else
			return -EINVAL;
		if (!names[len])
			break;
		names += len + 1;
	}
	log_debug_mask |= mask;
	return 0;
}

/* -- a line ---------------------------------------------------------------------------------- */

static size_t put_time(char *line, size_t size)
{
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	size_t n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
	return n + (size_t)snprintf(line + n, size - n, ".%03ldZ ", now.tv_nsec / 1000000);
}

__attribute__((format(printf, 2, 0))) static void log_line(
	const char *kind, const char *format, va_list ap)
{
	int saved = errno;
	char line[LOG_LINE];
	const size_t room = sizeof(line) - 1; /* for the newline */
	size_t n = 0;
	int fd = log_fd;

	if (fd != STDERR_FILENO)
		n = put_time(line, room);
	n += (size_t)snprintf(line + n, room - n, "%.100s: %s", (const char *)log_name, kind);
	errno = saved; /* for %m */
	int len = vsnprintf(line + n, room - n, format, ap);
	size_t end = n + (size_t)MAX(len, 0);
	if (end >= room) {
		end = room - 1;
		memcpy(line + end - 3, "...", 3);
	}
	for (size_t i = 0; i < end; i++)
		if ((uint8_t)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	line[end++] = '\n';
	/* A message that cannot be written has nowhere to be told of. */
	ssize_t written = write(fd, line, end);
	(void)written;
	errno = saved;
}

#define LOG_FUNCTION(name, kind)            \
	void name(const char *format, ...)  \
	{                                   \
		va_list ap;                 \
		va_start(ap, format);       \
		log_line(kind, format, ap); \
		va_end(ap);                 \
	}

LOG_FUNCTION(log_error, "error: ")
LOG_FUNCTION(log_warn, "warning: ")
LOG_FUNCTION(log_info, "")

void log_debug_line(enum log_category category, const char *format, ...)
{
	char kind[16];
	va_list ap;

	snprintf(kind, sizeof(kind), "%s: ", category_names[category]);
	va_start(ap, format);
	log_line(kind, format, ap);
	va_end(ap);
}

/* -- quoting --------------------------------------------------------------------------------- */

#define QUOTE_SIZE 512
#define QUOTE_BUFFERS 4

struct quote {
	char *text;
	size_t n;
	bool full;
};

static struct quote quote_begin(void)
{
	static __thread char buffers[QUOTE_BUFFERS][QUOTE_SIZE];
	static __thread unsigned turn;

	return (struct quote) {.text = buffers[turn++ % QUOTE_BUFFERS]};
}

static void quote_add(struct quote *q, const uint8_t *p, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len && !q->full; i++) {
		bool plain = p[i] >= 0x20 && p[i] <= 0x7e && p[i] != '\\';
		if (q->n + (plain ? 1 : 4) > QUOTE_SIZE - 4) { /* "..." and NUL must fit */
			memcpy(q->text + q->n, "...", 3);
			q->n += 3;
			q->full = true;
		} else if (plain) {
			q->text[q->n++] = (char)p[i];
		} else {
			q->text[q->n++] = '\\';
			q->text[q->n++] = 'x';
			q->text[q->n++] = digits[p[i] >> 4];
			q->text[q->n++] = digits[p[i] & 15];
		}
	}
}

static const char *quote_end(struct quote *q)
{
	q->text[q->n] = '\0';
	return q->text;
}

const char *log_quote(const void *data, size_t len)
{
	struct quote q = quote_begin();

	quote_add(&q, data, len);
	return quote_end(&q);
}

/* A part of a path that could be a key: long, and of the letters that keys are written with. */
static bool part_is_secret(const char *part, size_t len, size_t min)
{
	static const char letters[] =
		"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_=%";

	return len >= min && strspn(part, letters) >= len &&
	       !(len == 8 && memcmp(part, "announce", 8) == 0);
}

const char *log_quote_url(const char *url)
{
	struct quote q = quote_begin();
	const char *p = strstr(url, "://");

	p = p ? p + 3 : url;
	quote_add(&q, (const uint8_t *)url, (size_t)(p - url));
	size_t host = strcspn(p, "/?#");
	const char *at = memrchr(p, '@', host);
	if (at) {
		quote_add(&q, (const uint8_t *)"***", 3);
		host -= (size_t)(at - p);
		p = at;
	}
	quote_add(&q, (const uint8_t *)p, host);
	p += host;
	/* In front of or behind "announce" or "scrape" keys stand, and may be short. */
	size_t min = strstr(p, "announce") || strstr(p, "scrape") ? 8 : 16;
	while (*p == '/') {
		size_t len = strcspn(p + 1, "/?#");
		quote_add(&q, (const uint8_t *)p, 1);
		if (part_is_secret(p + 1, len, min))
			quote_add(&q, (const uint8_t *)"***", 3);
		else
			quote_add(&q, (const uint8_t *)p + 1, len);
		p += 1 + len;
	}
	if (*p) { /* a query's values are keys, signatures and hashes */
		quote_add(&q, (const uint8_t *)p, 1);
		quote_add(&q, (const uint8_t *)"***", 3);
	}
	return quote_end(&q);
}
