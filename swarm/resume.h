/* SPDX-License-Identifier: MIT */
/* The durable record of verified blocks: what a restart may trust.
 *
 * Rules: data is written, then fdatasync'ed in groups (64 MiB or 2 s), then
 * the record of the bits with a CRC is saved and synced: a recorded bit implies durable data.  A
 * failed sync voids all since the last good one.  The record pins info-hash, sizes and version, and
 * each file's size, mtime and ctime as of a clean stop; a mismatch makes its bits untrusted.  One
 * job is under way at a time; what is written meanwhile belongs to the next group.  A record that
 * cannot be saved is tried again with the next group; the old one stays, and stays true.
 *
 * Also keeps the leaf hashes of v2 blocks that are known (BEP 52), so that a restart verifies by
 * block and other peers get them: an opaque blob to this module, saved with the bits.
 *
 * Thread: loop; the writing happens on workers.
 */
#ifndef SWARM_RESUME_H
#define SWARM_RESUME_H

#include "base/bits.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct work_pool;
struct store;
struct layout;
struct resume;

/* -- the record's bytes (pure; fuzzed) ------------------------------------------------------ */

struct record {
	struct bits have; /* layout's n_blocks bits */
	bool clean; /* written at a clean stop */
	uint64_t (*stamps)[3]; /* owned; n_files of them, or NULL when not clean */
	uint8_t *extra; /* owned; the blob, or NULL */
	size_t extra_len;
};
void record_done(struct record *r);
/* Encodes; *ret is malloc'd.  -ENOMEM; -E2BIG when `extra` is above RECORD_MAX_EXTRA. */
int record_encode(const struct record *r, const struct layout *l, uint8_t **ret, size_t *ret_len);
/* -EINVAL with a static reason: foreign, corrupt, of another torrent or version. */
int record_decode(const void *data, size_t len, const struct layout *l, struct record *ret,
	const char **ret_why);

/* -- keeping it ------------------------------------------------------------------------------ */

/* How far the bits of a loaded record are to be believed. */
enum resume_trust {
	RESUME_NONE, /* no record, or a bad one: hash what is there */
	RESUME_UNCLEAN, /* recorded data was durable, then we died: bits stand for durable data */
	RESUME_CLEAN, /* clean stop and no file was touched since */
	RESUME_TOUCHED, /* a file's size or times differ from the record's: hash before believing */
};

struct resume_callbacks {
	/* A sync failed: these blocks may not be on disk; they are no longer to be counted as had,
	 * and must be written again.  `lost` has n_blocks bits and lives for the call.  Comes from
	 * the loop, never from within a call of ours. */
	void (*lost)(void *arg, const struct bits *lost, int error);
	/* The blob to save with the bits; malloc'd into *ret (taken), or NULL.  May be NULL. */
	void (*extra)(void *arg, uint8_t **ret, size_t *ret_len);
	void *arg;
};

/* Reads the record.  *ret_record (bits empty for RESUME_NONE) is the caller's to record_done.
 * *ret_why: static, why there is RESUME_NONE, or NULL.  Unless it gives RESUME_CLEAN, what is read
 * next comes from the disk: hashing must not be answered by what a failed sync left in memory. */
enum resume_trust resume_load(struct store *store, const struct layout *l,
	struct record *ret_record, const char **ret_why);

/* Starts keeping: `durable` are the bits that stand for durable data already (copied). */
struct resume *resume_new(struct loop *loop, struct work_pool *pool, struct store *store,
	const struct layout *l, const struct bits *durable, const struct resume_callbacks *cb);
/* A block is about to be handed to a worker for writing.  This is what makes a write that crosses a
 * failing sync count as lost: its pages may have been dropped by the time that it is told of. */
void resume_on_writing(struct resume *r, uint32_t block);
/* A block's bytes are in the file: store write returned 0, or hashing found them there (an earlier
 * process may have left them in the page cache alone). */
void resume_on_written(struct resume *r, uint32_t block, uint32_t bytes);
/* A block is void (read back wrong): out of the record with the next save. */
void resume_drop(struct resume *r, uint32_t block);
/* There is more in the files than the bits tell (checking has not come to its end): the stop will
 * be no clean one, so that the next run looks again. */
void resume_forbid_clean(struct resume *r);
/* Syncs and saves now; `done(arg, error)` once all that was told before is durable and recorded, or
 * with the first error; from the loop, or from resume_close. */
void resume_flush(struct resume *r, void (*done)(void *arg, int error), void *arg);
/* Syncs, saves as a clean stop with the files' stamps, on the calling thread; then frees.
 * To be called after the workers have ended (work_pool_free).  `extra` is still called, `lost` is
 * not.  NULL is fine.  Gives the first error: then what is recorded is what was durable before. */
int resume_close(struct resume *r);

#endif
