/* SPDX-License-Identifier: MIT */
/* The root that stays behind with setuid=: a process that unmounts when it is told to, or when the
 * daemon has gone in whatever way, and does nothing else.
 *
 * Who is not root could unmount by fusermount3 alone, and that only where he can reach the
 * mountpoint's folder: SIGTERM must always end a mount.
 *
 * Thread: the main one.
 */
#ifndef FS_KEEPER_H
#define FS_KEEPER_H

#include <stdbool.h>
#include <sys/types.h>

struct mount_entry;

struct keeper {
	pid_t pid; /* 0: none runs */
	int fd;
};

/* Forks it, before there are threads and while we are root. -errno. */
int keeper_start(struct keeper *k, const struct mount_entry *m);
/* As mountpoint_unmount. */
int keeper_unmount(struct keeper *k, bool lazy);
/* Waits for its end; it takes away what is still mounted. */
void keeper_stop(struct keeper *k);

#endif
