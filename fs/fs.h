/* SPDX-License-Identifier: MIT */
/* The commands on mounts; each in its cmd_*.c.
 *
 * Thread: the main one.
 */
#ifndef FS_FS_H
#define FS_FS_H

int cmd_mount(int argc, char **argv);
int cmd_umount(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_wait(int argc, char **argv);
int cmd_profile(int argc, char **argv);
/* mount.p2pfs, mount.fuse.p2pfs, and `p2pfs SPEC DIR -o ...`: mount(8)'s calling form and exit
 * codes (0, 1 usage, 2 system, 4 internal, 8 interrupted, 32 failure). */
int mount_helper(int argc, char **argv);

#endif
