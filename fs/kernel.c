/* SPDX-License-Identifier: MIT */
/* What the kernel's FUSE can do and libfuse 3.14 does not know; see kernel.h.
 *
 * The numbers are those of <linux/fuse.h> 7.40; Debian 12's is 7.36 and lacks most of them.
 *
 * Thread: as said in kernel.h.
 */
#include "fs/kernel.h"

#include "base/cleanup.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#define INIT_FLAG_EXT (1u << 30) /* flags2 counts */
#define INIT_FLAG2_DIRECT_MMAP (1u << (36 - 32)) /* FUSE_DIRECT_IO_ALLOW_MMAP */
#define INIT_FLAG2_PASSTHROUGH (1u << (37 - 32)) /* FUSE_PASSTHROUGH */
#define OPEN_FLAG_PASSTHROUGH (1u << 7) /* FOPEN_PASSTHROUGH */

/* fuse_init_out as of 7.40. */
struct init_reply {
	uint32_t major, minor, max_readahead, flags;
	uint16_t max_background, congestion_threshold;
	uint32_t max_write, time_gran;
	uint16_t max_pages, map_alignment;
	uint32_t flags2, max_stack_depth, unused[6];
};
static_assert(sizeof(struct init_reply) == 64, "the kernel takes INIT replies of this size");

struct open_reply {
	uint64_t fh;
	uint32_t open_flags;
	int32_t backing_id;
};
static_assert(sizeof(struct open_reply) == sizeof(struct fuse_open_out), "same place, same size");

struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define BACKING_OPEN _IOW(229, 1, struct backing_map)
#define BACKING_CLOSE _IOW(229, 2, uint32_t)

/* The kernel aborts on its own clock, which ticks every 15 s: be done well before. */
#define TIMEOUT_MARGIN_S 20u

static ssize_t hook_writev(int fd, struct iovec *iov, int count, void *userdata)
{
	struct kernel_hook *hook = userdata;
	struct init_reply patched;

	if (atomic_load_explicit(&hook->init_pending, memory_order_relaxed) && count == 2 &&
		iov[1].iov_len == sizeof(patched)) {
		atomic_store(&hook->init_pending, false);
		memcpy(&patched, iov[1].iov_base, sizeof(patched));
		patched.flags |= INIT_FLAG_EXT;
		patched.flags2 |= INIT_FLAG2_DIRECT_MMAP;
		if (hook->passthrough) {
			patched.flags2 |= INIT_FLAG2_PASSTHROUGH;
			/* The store may lie on a plain file system, not on a stacked one. */
			patched.max_stack_depth = 1;
		}
		struct iovec copy[2] = {iov[0], {&patched, sizeof(patched)}};
		return writev(fd, copy, 2);
	}
	return writev(fd, iov, count);
}

static ssize_t hook_read(int fd, void *data, size_t len, void *userdata)
{
	return read(fd, data, len);
}

int kernel_hook_install(struct fuse_session *se, struct kernel_hook *hook, int fd)
{
	static const struct fuse_custom_io io = {.writev = hook_writev, .read = hook_read};
	atomic_init(&hook->init_pending, false);
	return fuse_session_custom_io(se, &io, fd);
}

void kernel_hook_arm(struct kernel_hook *hook)
{
	atomic_store(&hook->init_pending, true);
}

int kernel_backing_open(int fuse_fd, int fd)
{
	const struct backing_map map = {.fd = fd};
	int id = ioctl(fuse_fd, BACKING_OPEN, &map);
	return id < 0 ? -errno : id;
}

void kernel_backing_close(int fuse_fd, int id)
{
	const uint32_t backing_id = (uint32_t)id;
	ioctl(fuse_fd, BACKING_CLOSE, &backing_id);
}

int kernel_reply_passthrough(fuse_req_t req, uint64_t fh, int backing_id)
{
	const struct open_reply out = {
		.fh = fh,
		.open_flags = OPEN_FLAG_PASSTHROUGH,
		.backing_id = backing_id,
	};
	return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

static uint64_t read_sysctl(const char *path)
{
	char text[32] = "";
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return 0;
	return strtoull(text, NULL, 10);
}

uint64_t kernel_request_timeout_ms(void)
{
	uint64_t limit = read_sysctl("/proc/sys/fs/fuse/default_request_timeout");
	uint64_t max = read_sysctl("/proc/sys/fs/fuse/max_request_timeout");
	if (max && (!limit || limit > max))
		limit = max;
	if (!limit)
		return 0;
	/* A short limit leaves no such margin; the kernel takes at least 15 s. */
	uint64_t seconds =
		limit > 2 * TIMEOUT_MARGIN_S ? limit - TIMEOUT_MARGIN_S : (limit + 1) / 2;
	return 1000 * seconds;
}

void kernel_set_readahead(unsigned major, unsigned minor, unsigned kib)
{
	char path[64];
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major, minor);
	CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0)
		dprintf(fd, "%u", kib);
}
