/* SPDX-License-Identifier: MIT */
/* Allocation of small things: out of memory aborts, with a message.
 *
 * What is sized from outside is checked against its limit (limits.h) first and allocated with
 * malloc, so that it can fail softly.
 *
 * Thread: any.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Each evaluates its arguments once; names of their own let them stand inside each other. */
#define UNIQUE_CAT2(a, b) a##b
#define UNIQUE_CAT(a, b) UNIQUE_CAT2(a, b)
#define UNIQUE(name) UNIQUE_CAT(name, __COUNTER__)
#define CHOOSE(a, op, b, x, y)       \
	({                           \
		__auto_type x = (a); \
		__auto_type y = (b); \
		x op y ? x : y;      \
	})
#define MIN(a, b) CHOOSE(a, <, b, UNIQUE(_a), UNIQUE(_b))
#define MAX(a, b) CHOOSE(a, >, b, UNIQUE(_a), UNIQUE(_b))

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *p, size_t n, size_t size) __attribute__((returns_nonnull));
void *xmemdup(const void *p, size_t size) __attribute__((malloc, returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
char *xvasprintf(const char *format, va_list ap)
	__attribute__((format(printf, 1, 0), returns_nonnull));

/* Makes room for one more element of a growing array: doubles *cap when n reaches it. */
#define GROW(array, n, cap)                                                   \
	do {                                                                  \
		if ((n) >= (cap)) {                                           \
			(cap) = (cap) ? 2 * (cap) : 8;                        \
			(array) = xrealloc((array), (cap), sizeof(*(array))); \
		}                                                             \
	} while (0)

#endif
