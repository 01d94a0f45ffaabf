/* SPDX-License-Identifier: MIT */
/* The control socket of a mount: ENTRY/socket, a Unix stream socket.
 *
 * A client says one line, "status", "profile" or "stop".  "status" is answered with the status as
 * JSON on one line, "profile" with {"profile": what was recorded as text, or null}, and the
 * connection is closed.  "stop" begins to end the mount and is answered with "stopping", later
 * "lazy" if files were held open; then the connection is closed, and soon after the daemon, whose
 * pid is the socket's (SO_PEERCRED), leaves.
 *
 * The entry's folder (0700) keeps others out, and the client's user is checked: ours, or root.
 *
 * Thread: the loop's (or, before it runs, the main one).
 */
#ifndef FS_CONTROL_H
#define FS_CONTROL_H

#include <jansson.h>

struct control;
struct loop;

/* A client that says nothing, or does not read, is let go after so long. */
#define CONTROL_PATIENCE_S 10
#define CONTROL_MAX_LINE 64
/* The status is asked for by people and monitoring: more at once is a loop gone wild. */
#define CONTROL_MAX_CLIENTS 32

struct control_callbacks {
	json_t *(*status)(void *arg); /* a new object */
	json_t *(*profile)(void *arg); /* likewise */
	void (*stop)(void *arg);
	void *arg;
};

/* Binds `folder`/socket, over a stale one: the entry's lock says that we are alone. -errno. */
int control_new(struct loop *loop, const char *folder, const struct control_callbacks *cb,
	struct control **ret);
/* Tells those who asked for a stop one more line. */
void control_tell(struct control *c, const char *line);
/* Closes all, and removes the socket. NULL is fine. */
void control_free(struct control *c);

#endif
