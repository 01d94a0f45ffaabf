/* SPDX-License-Identifier: MIT */
/* sd_notify(3) without libsystemd: one datagram to $NOTIFY_SOCKET.
 *
 * Thread: any.
 */
#ifndef TRACKER_NOTIFY_H
#define TRACKER_NOTIFY_H

/* "READY=1", "STOPPING=1", ...; nothing when not started by systemd. */
void notify_systemd(const char *what);

#endif
