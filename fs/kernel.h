/* SPDX-License-Identifier: MIT */
/* What the kernel's FUSE can do and libfuse 3.14 does not know.
 *
 * Each is asked for or tried at run time and may be missing: Linux 6.1 (Debian 12) has neither
 * passthrough nor shared mmap of direct-io files nor request timeouts.
 *
 * Thread: as said.
 */
#ifndef FS_KERNEL_H
#define FS_KERNEL_H

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Sits between libfuse and /dev/fuse, to add to the INIT reply what libfuse cannot say: shared mmap
 * of files opened for direct I/O, and passthrough.  Kernels ignore flags that they do not know. */
struct kernel_hook {
	atomic_bool init_pending; /* the next reply is INIT's */
	bool passthrough; /* ask for it */
};
/* Before the session's loop; `hook` must be the session's userdata's first member. */
int kernel_hook_install(struct fuse_session *se, struct kernel_hook *hook, int fd);
/* In the session's init handler: its reply is the next that is written. */
void kernel_hook_arm(struct kernel_hook *hook);

/* Passthrough (Linux 6.9): lends a file of ours to the kernel.  A backing id > 0, or -errno:
 * -ENOTTY (kernel too old), -EPERM (not root), -EOPNOTSUPP, -ELOOP (the store lies on a stacked
 * file system). Thread: any. */
int kernel_backing_open(int fuse_fd, int fd);
void kernel_backing_close(int fuse_fd, int id);
/* Answers OPEN so that the kernel reads from that file by itself. Thread: any. */
int kernel_reply_passthrough(fuse_req_t req, uint64_t fh, int backing_id);

/* The time after which the kernel aborts a connection with an unanswered request
 * (fs.fuse.default_request_timeout, max_request_timeout: Linux 6.14), less a margin to answer in; 0
 * when there is none.  Milliseconds.  Thread: any. */
uint64_t kernel_request_timeout_ms(void);

/* Tells a mount's readahead (default 128 KiB), as root may. Thread: any; does not block. */
void kernel_set_readahead(unsigned major, unsigned minor, unsigned kib);

#endif
