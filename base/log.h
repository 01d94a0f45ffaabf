/* SPDX-License-Identifier: MIT */
/* Messages: errors, warnings, notices, and debug lines by category.
 *
 * One line a message, to stderr or to the file of log_open (reopened on SIGHUP by log_reopen).
 * Debug lines have a category (`-D peer,tracker`, or `-D all`) and cost one predicted branch when
 * it is off.  What came from outside goes through log_quote.
 *
 * Thread: any.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_category {
	LOG_PEER, /* connections and messages */
	LOG_TRACKER, /* announces, both sides */
	LOG_DISK, /* store, record, verification */
	LOG_FUSE, /* requests of the kernel */
	LOG_PICK, /* scheduling decisions */
	LOG_HTTP, /* libcurl, web seeds */
	LOG_CATEGORIES,
};

extern unsigned log_debug_mask;

/* Every message begins with this, e.g. "p2pfs mount"; borrowed, default "p2pfs". */
void log_set_name(const char *name);
/* Appends to `path` from now on (with a time in front of each line); -errno. */
int log_open(const char *path);
/* Opens the same path again (after logrotate); does nothing when there is none. */
void log_reopen(void);
/* Turns categories on: names with commas, or "all"; -EINVAL names none of them. */
int log_debug_enable(const char *names);

void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug_line(enum log_category category, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
#define log_debug(category, ...)                                              \
	do {                                                                  \
		if (__builtin_expect(log_debug_mask & (1u << (category)), 0)) \
			log_debug_line((category), __VA_ARGS__);              \
	} while (0)

/* `len` bytes from outside, printable: other than 0x20..0x7e and '\\' as \xNN, cut with "..." at
 * the size of the result.  Returns a buffer of the thread; four calls may be in use at once. */
const char *log_quote(const void *data, size_t len);
/* The same for a string; a URL's user info and passkey-like path parts become "***". */
const char *log_quote_url(const char *url);

#endif
