/* SPDX-License-Identifier: MIT */
/* The file system: answers to the kernel's requests.
 *
 * Metadata is answered out of memory and never waits.  A read whose bytes are here is answered at
 * once, any other is handed to reads.h.  Every request gets exactly one reply.
 *
 * Thread: the handlers run on libfuse's threads; fs_init, fs_done: the main one.
 */
#ifndef FS_OPS_H
#define FS_OPS_H

#include "fs/io.h"
#include "fs/kernel.h"
#include "fs/options.h"
#include "fs/reads.h"
#include "fs/tree.h"

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <time.h>

struct swarm;
struct torrent;

struct fs {
	struct kernel_hook hook; /* the first member, see kernel.h */
	struct swarm *swarm; /* borrowed */
	struct torrent *torrent;
	const struct mount_options *options;
	struct tree tree;
	struct reads reads;
	struct io *io;
	struct timespec time; /* of every file: the torrent's */
	char *socket; /* owned; the control socket's path, or NULL */
	int fuse_fd;
	pthread_key_t buffer; /* each FUSE thread's, for replies */
	/* The kernel has begun to talk to us: the mount answers.  Thread: FUSE. */
	void (*on_init)(void *arg);
	void *arg;
};

extern const struct fuse_lowlevel_ops fs_ops;

/* as_file: the mountpoint is a regular file.  -EINVAL with *ret_why (malloc'd). */
int fs_init(struct fs *fs, struct swarm *swarm, struct torrent *t, const struct mount_options *o,
	bool as_file, char **ret_why);
void fs_done(struct fs *fs);

/* xattr.c: user.p2pfs.* of any inode. */
void fs_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void fs_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);

#endif
