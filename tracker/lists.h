/* SPDX-License-Identifier: MIT */
/* The operator's files: torrents that are served, passkeys, sites.
 *
 * All are loaded together into one struct that does not change after; a reload makes a new one, and
 * whoever holds the tracker's pointer swaps it.  Loading reads files and hashes torrents, which
 * blocks: it is a worker's job but at start.
 *
 * Files have one entry a line; `#` begins a comment, empty lines are skipped.
 *	allow     an info-hash in hex: 40 digits (v1, or v2 truncated) or 64 (v2).  Or a folder, whose
 *	          *.torrent files are served.
 *	passkeys  a key, [A-Za-z0-9_-], 8 to 64 characters, and anything after a space (whose it is)
 *	sites     a network in CIDR and the name of its site; the longest prefix counts
 *
 * Thread: any; a loaded one is only read.
 */
#ifndef TRACKER_LISTS_H
#define TRACKER_LISTS_H

#include "base/addr.h"
#include "tracker/http_head.h"
#include "tracker/table.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LISTS_MAX_FILE (64u << 20) /* 1.5 million hashes in hex */
#define LISTS_MAX_SITES 65535u     /* a site is 16 bits of a peer */
#define PASSKEY_MIN 8u

struct lists_paths {
	const char *allow, *passkeys, *sites; /* borrowed; NULL: not in use */
};

struct lists;

/* 0, -errno or -EINVAL, with what is wrong in *ret_error (the caller frees it). */
int lists_load(const struct lists_paths *paths, struct lists **ret, char **ret_error);
void lists_free(struct lists *l);
/* Changes when one of the files does. */
uint64_t lists_fingerprint(const struct lists_paths *paths);

bool lists_allows(const struct lists *l, const uint8_t hash[HASH_LEN]); /* true without a list */
bool lists_needs_key(const struct lists *l);
bool lists_knows_key(const struct lists *l, struct text key);
/* 0 for none. */
uint16_t lists_site(const struct lists *l, const struct addr *a);

struct lists_counts {
	size_t torrents, keys, networks, sites;
};
void lists_counts(const struct lists *l, struct lists_counts *ret);

#endif
