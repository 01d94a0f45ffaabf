/* SPDX-License-Identifier: MIT */
/* The two ways in which an info dictionary tells files: BEP 3's list and BEP 52's tree.
 *
 * Part of metainfo.c, which says what the result means; nobody else includes this.  A list that was
 * given up half-way is still fine for file_list_done.
 *
 * Thread: any (pure).
 */
#ifndef SWARM_METAINFO_FILES_H
#define SWARM_METAINFO_FILES_H

#include "base/bencode.h"
#include "swarm/metainfo.h"

struct file_list {
	struct metainfo_file *files; /* owned, in the torrent's order */
	uint32_t n, cap;
	bool single; /* one file, not in a folder */
	size_t path_bytes; /* of all paths together */
	uint64_t space; /* where the last file ends */
	uint64_t full_space; /* v1: with the padding behind the last file */
	uint64_t size; /* bytes of files */
	uint32_t n_pieces;
};

void file_list_done(struct file_list *l);
/* "files" or "length" of a v1 info dictionary; padding files (BEP 47) are left out. */
int file_list_v1(struct ben info, const char *name, uint32_t piece_length, struct file_list *ret,
	char **ret_why);
/* "file tree"; sets .root but not .layer. */
int file_list_v2(struct ben info, const char *name, uint32_t piece_length, struct file_list *ret,
	char **ret_why);
/* Refuses halves of a hybrid that tell different files (BEP 52, "Upgrade Path"). */
int file_list_agree(const struct file_list *v1, const struct file_list *v2, char **ret_why);
/* Refuses a path that is there twice, or as a file and a folder. */
int file_list_unique(const struct file_list *l, char **ret_why);

/* Sets *ret_why to a new string; gives -EINVAL. */
int metainfo_bad(char **ret_why, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
