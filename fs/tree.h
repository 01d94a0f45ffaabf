/* SPDX-License-Identifier: MIT */
/* The folders and files of a mount, by inode number.
 *
 * Built once from the torrent and never changed, so inode numbers, names and sizes are the same for
 * the mount's whole life, and look-ups need no lock.  Inode 1 is the root: a folder, or, when the
 * mountpoint is a regular file, the torrent's only file.
 *
 * A node takes 32 bytes; names are borrowed from the metainfo.
 *
 * Thread: any.
 */
#ifndef FS_TREE_H
#define FS_TREE_H

#include <stdbool.h>
#include <stdint.h>

struct metainfo;
struct metainfo_file;

#define TREE_ROOT 1u /* FUSE_ROOT_ID */
#define TREE_NONE 0u /* no inode */
#define TREE_FOLDER UINT32_MAX

struct node {
	const char *name; /* borrowed, not NUL-terminated; "" for the root */
	uint16_t name_len;
	uint32_t parent; /* inode; the root's is itself */
	uint32_t file; /* index into the metainfo's files, or TREE_FOLDER */
	uint32_t first, n; /* of a folder: its children are inodes [first, first + n), by name */
	uint32_t subfolders; /* how many of them are folders: st_nlink */
};

struct tree {
	const struct metainfo *meta; /* borrowed, outlives the tree */
	struct node *nodes; /* owned; inode i is nodes[i - 1] */
	uint32_t n_nodes;
};

/* as_file: the root is the torrent's only file.  -EINVAL with *ret_why (malloc'd). */
int tree_init(struct tree *t, const struct metainfo *meta, bool as_file, char **ret_why);
void tree_done(struct tree *t);
/* NULL when there is none such. */
const struct node *tree_node(const struct tree *t, uint64_t ino);
/* The metainfo's file of a node that is one, else NULL. */
const struct metainfo_file *tree_file(const struct tree *t, const struct node *node);
/* The child of that name, or TREE_NONE. */
uint32_t tree_lookup(const struct tree *t, uint64_t parent, const char *name);

#endif
