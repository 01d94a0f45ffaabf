/* SPDX-License-Identifier: MIT */
/* Asking a mount's daemon, for `p2pfs status`, `wait`, `profile` and `umount`.
 *
 * Every wait here has a bound: the daemon may be stopped, stuck or dead.
 *
 * Thread: the main one.
 */
#ifndef FS_CLIENT_H
#define FS_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

struct mount_entry;

/* An answer comes in milliseconds; a machine that swaps gets this long. */
#define CLIENT_PATIENCE_MS 5000
/* A status with PEERS_MAX_CONNECTED peers and all trackers is some 100 KiB, a profile at most 6
 * MiB. */
#define CLIENT_MAX_REPLY (16u << 20)

/* The mount's control socket: its attribute user.p2pfs.socket; should nobody answer or we not be
 * let, where it is for that torrent in our default store.  Malloc'd; -errno: of the attribute
 * (-ENOTCONN: the daemon is dead, -ETIMEDOUT: it does not answer). */
int client_find(const struct mount_entry *mount, char **ret);
/* A connected socket; -errno. */
int client_connect(const char *socket);
/* The answer to "status" or "profile", as a new object; -errno. */
int client_ask(const char *socket, const char *line, json_t **ret);
/* Asks the daemon to end, and waits until it has, `seconds` at most.  0: it is gone; -errno, and
 * -ETIMEDOUT.  *ret_lazy: files were open still. */
int client_stop(const char *socket, unsigned seconds, bool *ret_lazy);

/* The same for the commands, which give an exit status, and messages of `command`. */

/* The mount at MOUNTPOINT; mount_entry_done it when EXIT_OK. */
int client_mount(const char *command, const char *mountpoint, struct mount_entry *ret);
/* What `r` of the functions above means for the mount. */
int client_failed(const char *command, const struct mount_entry *mount, int r);

#endif
