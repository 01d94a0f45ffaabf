/* SPDX-License-Identifier: MIT */
/* Opening names that came from a torrent: below a folder, never out of it, through no symbolic
 * link.
 *
 * Names come checked (metainfo.h), yet the folder may be somebody else's to change while we look:
 * openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS decides in the kernel.  Where that call is
 * missing (or the path is longer than PATH_MAX), each part is opened by itself with O_NOFOLLOW; a
 * part that is empty, "." or ".." is refused (-EINVAL).
 *
 * Thread: any.
 */
#ifndef SWARM_BENEATH_H
#define SWARM_BENEATH_H

#include <sys/types.h>

/* A descriptor (O_CLOEXEC always), or -errno: -ELOOP or -ENOTDIR for a link on the way. */
int beneath_open(int root, const char *path, int flags, mode_t mode);
/* Makes the folders that `path`'s last part is to lie in (none: 0); those there already are fine.
 */
int beneath_make_parents(int root, const char *path, mode_t mode);

#endif
