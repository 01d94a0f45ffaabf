/* SPDX-License-Identifier: MIT */
/* The daemonizing contract of a mount: the command returns when the mount answers, with its status.
 *
 * The process forks before anything is opened and before any thread is made.  The parent waits for
 * the child's word and ends with the status that it says; the child says it once the mount answers
 * or has failed.  The child stays in its process group until then (autofs knows by it who mounts),
 * says what went wrong on the same stderr, and lets go of terminal and session at the end.
 *
 * --ready-fd N: whoever serves writes a newline to it when the mount answers, or a message when it
 * failed, and closes it.
 *
 * Thread: the main one.
 */
#ifndef FS_DAEMON_H
#define FS_DAEMON_H

#include <stdbool.h>

struct daemon {
	bool background; /* we are the child */
	int word; /* the pipe to the parent, or -1 */
	int ready; /* --ready-fd, or -1 */
};

enum daemon_role { DAEMON_SERVES, DAEMON_WAITED };

/* Descriptors 0 to 2 are open (on /dev/null if need be), so that nothing of ours gets their
 * numbers. */
void daemon_hold_std(void);
/* Checks and takes --ready-fd: -EBADF. */
int daemon_take_ready(struct daemon *d, int fd);
/* Foreground: DAEMON_SERVES at once.  Else forks: DAEMON_SERVES in the child; DAEMON_WAITED in the
 * parent, after the child's word, with the status to end with: what it said, `interrupted` after a
 * signal that ended it, `died` when it ended without a word.  -errno. */
int daemon_fork(struct daemon *d, bool foreground, int interrupted, int died, int *ret_status);
/* The mount answers: tells so, and goes into the background. */
void daemon_is_ready(struct daemon *d);
/* It failed: tells so; returns `status`. */
int daemon_has_failed(struct daemon *d, int status, const char *message);

#endif
