/* SPDX-License-Identifier: MIT */
/* A boot profile: which bytes of a torrent are read first, in their order.
 *
 *	p2pfs-profile 1 SIZE TORRENT
 *	OFFSET LENGTH
 *	...
 *
 * SIZE is that of the torrent's linear space, in which the ranges lie; TORRENT is the name of its
 * entry in a store, or '*': any torrent of this size (inside a .torrent, and when profiles of
 *several torrents were merged).  No byte is in two ranges.  There is one way to write a profile:
 *what parses is written as the same bytes.
 *
 * Pure, but for profile_load.
 *
 * Thread: any, one at a time.
 */
#ifndef SWARM_PROFILE_H
#define SWARM_PROFILE_H

#include "base/buf.h"

#include <stddef.h>
#include <stdint.h>

#define PROFILE_ANY "*"

struct profile_range {
	uint64_t offset, length;
};

struct profile {
	uint64_t size;
	char torrent[65];
	struct profile_range *ranges; /* owned; at most PROFILE_MAX_RANGES */
	size_t n, cap;
};

struct profile *profile_new(uint64_t size, const char *torrent);
struct profile *profile_copy(const struct profile *p);
void profile_free(struct profile *p); /* NULL is fine */

/* -EINVAL, -E2BIG with *ret_why (malloc'd), which names line and value. */
int profile_parse(const void *data, size_t len, struct profile **ret, char **ret_why);
/* Reads a file; also -errno. */
int profile_load(const char *path, struct profile **ret, char **ret_why);
/* At most PROFILE_MAX_BYTES. */
void profile_write(const struct profile *p, struct buf *ret);

/* Why it does not belong to a torrent of that space and entry name (malloc'd), or NULL. */
char *profile_misfit(const struct profile *p, uint64_t size, const char *torrent);
/* Appends a range, none of whose bytes is in it; joins it to the last one where it goes on from
 * there.  -E2BIG. */
int profile_add(struct profile *p, uint64_t offset, uint64_t length);
/* Appends what `from` has and `p` lacks, in from's order.  -EINVAL: of another size; -E2BIG: only
 * the first of it found room.  Of two torrents, it becomes one of any. */
int profile_merge(struct profile *p, const struct profile *from);
uint64_t profile_bytes(const struct profile *p);

#endif
