/* SPDX-License-Identifier: MIT */
/* Where a torrent's bytes lie.
 *
 * STORE/<entry>/ (mode 0700): content/ (the files, sparse, under their own names), have (the
 * record, see resume.h), metainfo.torrent, lock, socket.  Everything beneath it is opened with
 * openat2, RESOLVE_BENEATH and no symlinks.  Offsets are of the linear space (metainfo.h); padding
 * reads as zeros and swallows writes; a range past the space is -EINVAL.  Ranges may cross files.
 *
 * Three back ends behind one interface: disk (an entry, or in place and read-only for `seed`),
 * memory, and failing (wraps another and fails the n-th call, for tests).
 *
 * The store does not know what is verified: it holds bytes.  Order and durability are resume.h's.
 */
#ifndef SWARM_STORE_H
#define SWARM_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct metainfo;
struct store;

struct store_ops {
	/* Reads exactly `len` bytes; 0 or -errno; -EIO when the file ends before (a hole is zeros).
	 * With `nowait`: -EAGAIN when that would wait for a disk.  Thread: any. */
	int (*read)(struct store *s, uint64_t offset, void *data, size_t len, bool nowait);
	/* Writes all or fails: 0 or -errno (-ENOSPC, -EDQUOT, -EIO, -EROFS ...). Thread: worker. */
	int (*write)(struct store *s, uint64_t offset, const void *data, size_t len);
	/* fdatasync of every file written to since the last one; the first one takes all files that
	 * were there before, since hashing them may have found what an earlier process left in the
	 * page cache.  After a failure what was written since the last success counts as lost; a
	 * repeat is not to be believed.  Thread: worker, one at a time. */
	int (*sync)(struct store *s);
	/* The record: written beside, synced, renamed, the folder synced.  After a failure either
	 * the old one or the new one is there, whole.  Thread: worker, one at a time. */
	int (*save_record)(struct store *s, const void *data, size_t len);
	/* The record's bytes (malloc'd), or -ENOENT.  Thread: loop, before workers use it. */
	int (*load_record)(struct store *s, uint8_t **ret, size_t *ret_len);
	/* Forgets what the page cache holds of the files, as far as it is on disk, so that reads
	 * give what the disk has: pages whose write-back failed stay in the cache, looking well.
	 * NULL: there is no cache.  Thread: as load_record's. */
	void (*drop_cache)(struct store *s);
	/* What tells whether file `i` was touched behind our back: size, mtime, ctime in ns. */
	int (*stamp)(struct store *s, uint32_t file, uint64_t ret[3]);
	/* A descriptor of file `i` for reading, borrowed and good as long as the store is open; -1
	 * where there is none (memory of several files, failing, and the disk's files from number
	 * STORE_PINNED_FDS on, which come and go).  Thread: any. */
	int (*fd)(struct store *s, uint32_t file);
	/* Bytes that the files take on disk (of files from STORE_PINNED_FDS on: as of their last
	 * sync); ULLONG_MAX when unknown.  Thread: any. */
	uint64_t (*used)(struct store *s);
	int (*finish)(struct store *s); /* store_finish; NULL: there is nothing to do */
	void (*close)(struct store *s);
};

struct store {
	const struct store_ops *ops;
	const struct metainfo *meta; /* borrowed, outlives the store */
	const char *entry; /* owned by the back end; "" when there is none */
	bool read_only; /* in place: write, sync and save_record give -EROFS */
	bool touched; /* a file was missing or had another size when the store opened */
};

/* Opens or makes the entry of `m` under `dir` (made, 0700, if missing) and locks it.
 * -EBUSY with *ret_why naming the process that holds it; any other failure: -errno and *ret_why
 * (malloc'd: what failed on which path, and why).  Files are made sparse at their full length; one
 * of another size is set right, and `touched` tells. */
int store_open_disk(const char *dir, const struct metainfo *m, struct store **ret, char **ret_why);
/* A file (single) or the folder of files (multi), read-only, where it lies; every file must be
 * there with its size.  No lock, no record. */
int store_open_in_place(
	const char *path, const struct metainfo *m, struct store **ret, char **ret_why);
/* Writes the files under `dir` (as `get -d` wants them: dir/NAME or dir/NAME/path), with the record
 * and lock in `dir`/.NAME.p2pfs/, which store_finish removes.  -EEXIST when there is a file longer
 * than the torrent's and no record beside it: that is somebody's, and not ours to cut. */
int store_open_get(const char *dir, const struct metainfo *m, struct store **ret, char **ret_why);
int store_open_memory(const struct metainfo *m, struct store **ret);
/* Takes `inner`.  plan(arg, op) is asked before each call ("read", "write", "sync", "save_record")
 * and gives 0 to let it through or the -errno to fail with.  Thread of plan: the call's. */
int store_open_failing(
	struct store *inner, int (*plan)(void *arg, const char *op), void *arg, struct store **ret);
void store_close(struct store *s); /* NULL is fine */
/* get: everything is there and durable; removes the working folder.  Later saves do nothing. */
int store_finish(struct store *s);
/* The entry's folder, for the socket ("" when there is none); borrowed. */
const char *store_entry(const struct store *s);

/* For the back ends: the parts of a range, each within one file or within padding.
 *
 *	for (struct store_part p = store_parts(m, offset, len); store_part_next(m, &p);)
 *		p.len bytes at p.at of file p.file (STORE_PADDING: of no file), p.done bytes into
 *the range
 */
#define STORE_PADDING UINT32_MAX
struct store_part {
	uint32_t file;
	uint64_t at;
	size_t len, done;
	uint64_t offset; /* the iterator's own, as are these: */
	size_t left;
	uint32_t next;
};
/* Does [offset, offset + len) lie in the torrent's space? */
bool store_range_ok(const struct metainfo *m, uint64_t offset, size_t len);
struct store_part store_parts(const struct metainfo *m, uint64_t offset, size_t len);
bool store_part_next(const struct metainfo *m, struct store_part *p);

#endif
