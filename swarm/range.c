// SPDX-License-Identifier: MIT
/* Content-Range: see range.h.
 *
 *	Content-Range: bytes FIRST-LAST/SIZE
 *
 * SIZE may be an asterisk: unknown.
 *
 * Thread: any.
 */
#include "swarm/range.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Digits only, no sign, below 2^63; moves *p behind them. */
static bool number(const char **p, uint64_t *ret)
{
	const char *start = *p;
	uint64_t v = 0;

	for (; **p >= '0' && **p <= '9'; (*p)++) {
		v = v * 10 + (uint64_t)(**p - '0');
		if (v >> 63 || *p - start >= 19) /* 2^63 has 19 digits */
			return false;
	}
	*ret = v;
	return *p > start;
}

const char *range_check(const char *value, uint64_t from, uint64_t len, uint64_t total)
{
	static const char malformed[] = "malformed Content-Range";
	uint64_t first, last, size;

	if (!value)
		return "no Content-Range";
	if (strncasecmp(value, "bytes ", 6) != 0)
		return malformed;
	const char *p = value + 6;
	p += strspn(p, " ");
	if (!number(&p, &first) || *p++ != '-' || !number(&p, &last) || *p++ != '/' || last < first)
		return malformed;
	bool sized = *p != '*';
	if (sized && (!number(&p, &size) || last >= size))
		return malformed;
	if (!sized)
		p++;
	if (p[strspn(p, " \t\r\n")])
		return malformed;
	if (sized && total && size != total)
		return "the file there has another size";
	if (first != from || last - first != len - 1)
		return "Content-Range of other bytes than asked for";
	return NULL;
}
