/* SPDX-License-Identifier: MIT */
/* A torrent's files on disk, by number: opened, read, written, synced.
 *
 * A torrent may have a million files and a process a thousand descriptors.  The first
 * STORE_PINNED_FDS files stay open for good (nearly every image torrent has no more), the others
 * share STORE_CACHED_FDS descriptors, the one unused longest making room.  A descriptor that wrote
 * stays open until it is synced: the kernel tells of a failed write-back to those that were open
 * then.  Where all are in use, a file is opened for one call; once such a call wrote, the next sync
 * is one of the whole file system, which tells of failures too (Linux 5.8), as is the first one of
 * so many files: a hundred thousand fdatasyncs are as many flushes of the disk.
 *
 * Thread: any, but files_open, files_sync (one at a time) and files_free.
 */
#ifndef SWARM_STORE_FILES_H
#define SWARM_STORE_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct files;
struct metainfo;

enum files_mode {
	FILES_READ, /* all must be there, with their sizes */
	FILES_WRITE, /* made where missing, set to their sizes */
	FILES_KEEP, /* the same, but one that is longer than it should be is not ours: -EEXIST */
};

/* Opens the files beneath `root` (taken, also on failure); `where` is root's path, for messages.
 * `single` overrides the name of the file of a single-file torrent (NULL: as the torrent says).
 * *ret_touched: a file was missing or had another size.  -errno and *ret_why. */
int files_open(int root, const char *where, const char *single, const struct metainfo *m,
	enum files_mode mode, struct files **ret, bool *ret_touched, char **ret_why);
void files_free(struct files *f); /* NULL is fine */

/* As the calls of struct store_ops, within one file. */
int files_read(struct files *f, uint32_t file, uint64_t at, void *data, size_t len, bool nowait);
int files_write(struct files *f, uint32_t file, uint64_t at, const void *data, size_t len);
int files_sync(struct files *f);
void files_drop_cache(struct files *f);
int files_stamp(struct files *f, uint32_t file, uint64_t ret[3]);
int files_fd(const struct files *f, uint32_t file);
uint64_t files_used(struct files *f);

#endif
