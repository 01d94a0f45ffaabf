/* SPDX-License-Identifier: MIT */
/* What a .torrent says (BEP 3, 12, 19, 27, 47, 52), checked.
 *
 * v1, v2 and hybrid.  The contents are one linear space of bytes, in which a file begins at
 * `offset`; piece p is [p * piece_length, (p + 1) * piece_length) of it.  A v1 torrent's files follow
 * each other; in a v2 torrent each file begins on a piece (the gap is nothing); in a hybrid both are
 * so, with padding files in the gaps, which are left out of `files` (as are those of a v1 torrent):
 * padding is space that belongs to no file and reads as zeros.
 *
 * A hybrid whose v1 and v2 halves tell different files is refused.  One that lacks its piece layers
 * altogether is taken for the v1 torrent that it is, too (BEP 52, "Upgrade Path"): who knows v1 alone
 * cannot give them.
 *
 * Thread: any (immutable once made).
 */
#ifndef SWARM_METAINFO_H
#define SWARM_METAINFO_H

#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct profile;

struct metainfo_file {
	char *path;              /* owned; relative, parts joined by '/', each part checked */
	uint64_t offset, length; /* in the linear space */
	bool executable;
	/* v2 and hybrid, length > 0: */
	uint8_t root[SHA256_LEN];  /* "pieces root" */
	const uint8_t *layer;      /* one hash per piece of the file; for a file of one piece, &root */
	uint32_t first_piece, n_pieces;
};

struct metainfo {
	char *name; /* owned; the torrent's "name", checked like a part of a path */
	bool has_v1, has_v2;
	bool lacks_layers; /* a hybrid without its piece layers: has_v1 alone */
	bool single;     /* one file, its path being `name`; otherwise paths do not include `name` */
	bool is_private; /* BEP 27 */
	uint8_t hash_v1[SHA1_LEN], hash_v2[SHA256_LEN];
	uint32_t piece_length;
	uint32_t n_pieces;
	uint64_t space;  /* bytes of the linear space: where the last file ends, padding between included */
	uint64_t size;   /* bytes of the files */
	uint64_t max_v1_space; /* v1: bytes hashed, trailing padding included (else == space) */
	const uint8_t *pieces; /* v1 and hybrid: SHA1_LEN * n_pieces */
	struct metainfo_file *files; /* owned, sorted by offset */
	uint32_t n_files;

	/* Outside the info dictionary. */
	char ***tiers; /* owned; NULL-terminated arrays of URLs, NULL-terminated (BEP 12) */
	char **web_seeds; /* owned, NULL-terminated (BEP 19) */
	char *comment, *created_by; /* owned or NULL */
	int64_t creation_date; /* seconds since 1970, 0 when unknown */
	struct profile *profile; /* owned or NULL: "p2pfs profile", of this torrent's space */

	uint8_t *raw; /* owned: the whole .torrent */
	size_t raw_len;
	const uint8_t *info; /* the info dictionary, in raw */
	size_t info_len;
};

/* Parses a .torrent.  Copies what it keeps.  0, or -EINVAL / -E2BIG with *ret_why, a malloc'd
 * sentence that names the field and the value ("piece length: 3: not a power of two"). */
int metainfo_parse(const void *data, size_t len, struct metainfo **ret, char **ret_why);
/* Parses an info dictionary alone, as peers give it (BEP 9); the layers of files of more than one piece,
 * which stand outside of it, are NULL. */
int metainfo_parse_info(const void *info, size_t len, struct metainfo **ret, char **ret_why);
/* Reads and parses a file; also -errno, with *ret_why too. */
int metainfo_load(const char *path, struct metainfo **ret, char **ret_why);
void metainfo_free(struct metainfo *m);

/* Why these bytes cannot be the name of a file or folder, or NULL when they can.  Any bytes that Linux
 * takes are fine, but for control characters; they need not be UTF-8. */
const char *metainfo_name_problem(const void *name, size_t len);

/* The 20 bytes that trackers and handshakes carry: v1's hash, and v2's truncated (BEP 52). */
const uint8_t *metainfo_wire_hash(const struct metainfo *m); /* v1 when there is one */
/* The name of the store's entry: the hex of v1's hash if there is one, else of v2's (64 digits). */
void metainfo_entry_name(const struct metainfo *m, char ret[65]);
/* The file that holds byte `offset` of the space, or the first one after it (n_files: none). */
uint32_t metainfo_file_at(const struct metainfo *m, uint64_t offset);

#endif
