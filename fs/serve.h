/* SPDX-License-Identifier: MIT */
/* The life of a mount: swarm, store, control socket, kernel session; and its end.
 *
 * Thread: the main one, which waits for signals here while the others work.
 */
#ifndef FS_SERVE_H
#define FS_SERVE_H

#include <stdbool.h>

struct daemon;
struct mount_options;

/* From the first signal to the end of the process; a mount that cannot be ended in less is
 * detached. */
#define STOP_MAX_S 5
/* Files may be held open for so long after their readers were answered; then it is lazy. */
#define STOP_BUSY_MS 1500

enum serve_fault {
	SERVE_OK,
	SERVE_USAGE,
	SERVE_SYSTEM, /* out of memory, descriptors, threads */
	SERVE_INTERNAL,
	SERVE_INTERRUPTED,
	SERVE_FAILED,
};

struct serve_request {
	const char *torrent; /* as given */
	const char *mountpoint; /* as given */
	const struct mount_options *options;
	bool fake; /* do all but mount (mount -f) */
};

/* Mounts, says so through `d`, serves until the mount is ended.  On failure nothing is left mounted
 * and *ret_why is a malloc'd sentence; it is for the caller to say it. */
enum serve_fault serve_mount(const struct serve_request *request, struct daemon *d, char **ret_why);

#endif
