// SPDX-License-Identifier: MIT
/* See beneath.h.  Thread: any. */
#include "swarm/beneath.h"
#include "base/cleanup.h"
#include "base/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

static int open_kernel(int root, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (uint64_t)(unsigned)flags,
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};
	long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

/* The next part of *path into `part`; moves *path past it.  Gives its length, or -errno. */
static int next_part(const char **path, char part[PATH_MAX_NAME + 1])
{
	size_t n = strcspn(*path, "/");
	if (n > PATH_MAX_NAME)
		return -ENAMETOOLONG;
	if (n == 0)
		return -EINVAL;
	memcpy(part, *path, n);
	part[n] = 0;
	if (!strcmp(part, ".") || !strcmp(part, ".."))
		return -EINVAL;
	*path += n;
	return (int)n;
}

/* Walks the folders of `path`, making them when `make`; gives a descriptor of the last one and its
 * last part. */
static int walk(int root, const char *path, bool make, mode_t mode, char part[PATH_MAX_NAME + 1])
{
	CLEANUP_CLOSE int dir = fcntl(root, F_DUPFD_CLOEXEC, 0);
	if (dir < 0)
		return -errno;
	for (;;) {
		int n = next_part(&path, part);
		if (n < 0)
			return n;
		if (!*path)
			return steal_fd(&dir);
		path++;
		if (make && mkdirat(dir, part, mode) < 0 && errno != EEXIST)
			return -errno;
		int next = openat(dir, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -errno;
		close(dir);
		dir = next;
	}
}

int beneath_open(int root, const char *path, int flags, mode_t mode)
{
	flags |= O_CLOEXEC | O_NOFOLLOW;
	if (strlen(path) < PATH_MAX) {
		int fd = open_kernel(root, path, flags, mode);
		/* EPERM: what old containers' filters answer to a call that they do not know. */
		if (fd != -ENOSYS && fd != -EPERM)
			return fd;
	}
	char part[PATH_MAX_NAME + 1];
	CLEANUP_CLOSE int dir = walk(root, path, false, 0, part);
	if (dir < 0)
		return dir;
	int fd = openat(dir, part, flags, mode);
	return fd < 0 ? -errno : fd;
}

int beneath_make_parents(int root, const char *path, mode_t mode)
{
	char part[PATH_MAX_NAME + 1];
	CLEANUP_CLOSE int dir = walk(root, path, true, mode, part);
	return dir < 0 ? dir : 0;
}
