/* SPDX-License-Identifier: MIT */
/* Mounting and unmounting, and what is mounted.
 *
 * Root mounts with mount(2); others by libfuse, that is by the setuid program fusermount3.  What is
 * mounted is read from /proc/self/mountinfo: that never waits for a file system, as a look at the
 * path itself may when its daemon is stuck or dead.
 *
 * Thread: any; mountpoint_mount the main one.
 */
#ifndef FS_MOUNTPOINT_H
#define FS_MOUNTPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct fuse_args;
struct mount_options;

#define MOUNT_TYPE "fuse.p2pfs"

/* A line of mountinfo of our type. */
struct mount_entry {
	char *path, *source; /* owned; the mountpoint, and what is mounted there (the torrent) */
	unsigned major, minor;
	uid_t user; /* who may look if others may not: user_id= */
	gid_t group;
};
/* All mounts of our type, in mountinfo's order; -errno. */
int mount_entries(struct mount_entry **ret, size_t *ret_n);
void mount_entries_free(struct mount_entry *entries, size_t n);
/* The mount of our type that is at the top of `path`: 0, -ENOENT. */
int mount_find(const char *path, struct mount_entry *ret);
void mount_entry_done(struct mount_entry *e);
/* Is that mount (by device) still there, at its path, and does another lie upon it? */
enum mount_place { MOUNT_GONE, MOUNT_COVERED, MOUNT_ON_TOP };
enum mount_place mount_place(const struct mount_entry *e);

/* `path` made absolute, without symbolic links, and without looking at its last part, which may be
 * a mount whose daemon is dead.  Malloc'd; -errno. */
int mountpoint_absolute(const char *path, char **ret);
/* A folder, or a regular file?  S_IFDIR or S_IFREG in *ret_type; -errno, -EINVAL for others. */
int mountpoint_check(const char *path, mode_t *ret_type);

/* root: mounts and gives /dev/fuse's descriptor. -errno. */
int mountpoint_mount(const char *path, const char *source, mode_t type,
	const struct mount_options *o, int *ret_fd);
/* Others: the arguments with which libfuse mounts the same by fusermount3. */
void mountpoint_fuse_args(
	const char *source, const struct mount_options *o, struct fuse_args *args);

/* umount2, or fusermount3 -u for who is not root.  0, -EBUSY, -errno. */
int mountpoint_unmount(const char *path, bool lazy);

#endif
