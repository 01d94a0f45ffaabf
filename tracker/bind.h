/* SPDX-License-Identifier: MIT */
/* Sockets to listen on: TCP, and UDP on the same port.
 *
 * Thread: any.
 */
#ifndef TRACKER_BIND_H
#define TRACKER_BIND_H

#include "base/addr.h"

/* Both on a->port; port 0 finds one that is free for both, and a->port is it then.  ret_udp may be
 * NULL.  -errno. */
int bind_both(struct addr *a, int *ret_tcp, int *ret_udp);

#endif
