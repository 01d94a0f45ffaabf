/* SPDX-License-Identifier: MIT */
/* Makes a .torrent of a file or folder.
 *
 * The info dictionary is byte for byte what others write of the same files and piece size, so that
 * the info-hash is the same: a v2 or hybrid torrent is libtorrent's (files in the order of the file
 * tree, padding after each of several, an executable's attribute), a v1 torrent is
 * transmission-create's (files in the order of their paths without case, "private" always there, no
 * attributes).  Other than transmission-create we leave out neither empty files nor those whose
 * name begins with a dot.
 *
 * Links are followed.  Empty folders cannot be told in a torrent and are left out.
 *
 * Thread: any; hashing runs on threads of its own (scan.h).
 */
#ifndef SWARM_CREATE_H
#define SWARM_CREATE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct profile;

enum create_format { CREATE_HYBRID, CREATE_V1, CREATE_V2 };

/* Strings and arrays are borrowed; arrays are NULL-terminated or NULL. */
struct create_options {
	enum create_format format;
	uint32_t piece_length; /* a power of two within the limits; 0: create_piece_length */
	bool is_private;
	char **trackers; /* each a tier of its own */
	char **web_seeds;
	const char *comment, *created_by; /* or NULL */
	int64_t creation_date; /* 0: none */
	const struct profile *profile; /* of these contents, whatever torrent it names; or NULL */
	unsigned threads;
	const struct stat
		*output; /* where the result will go, if that exists: must not be a source */
	void (*progress)(void *arg, uint64_t done, uint64_t total); /* or NULL */
	void *arg;
};

/* The piece length for `size` bytes: pieces are the unit of announcing, and of verifying in v1, so
 * they are short, but not so many that a .torrent outgrows some 3 MiB. */
uint32_t create_piece_length(uint64_t size);
/* Appends the .torrent to `ret`.  0, or -errno and *ret_why (malloc'd, names the path). */
int create_torrent(
	const char *path, const struct create_options *o, struct buf *ret, char **ret_why);

#endif
