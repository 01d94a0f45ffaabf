/* SPDX-License-Identifier: MIT */
/* Does a Content-Range header (RFC 9110, 14.4) tell of exactly the bytes that were asked for?
 *
 * Thread: any (pure).
 */
#ifndef SWARM_RANGE_H
#define SWARM_RANGE_H

#include <stdint.h>

/* `value`: the header's, or NULL for none.  Asked for: [from, from + len) of a file of `total`
 * bytes (0: any size).  NULL when that is what comes, else why not (static). */
const char *range_check(const char *value, uint64_t from, uint64_t len, uint64_t total);

#endif
