/* SPDX-License-Identifier: MIT */
/* A name's addresses, without blocking the loop.
 *
 * getaddrinfo on a thread of its own, so that names mean what they mean to the rest of the system
 * (and to libcurl, which does the same): /etc/hosts, nsswitch.conf, a resolv.conf that changes when
 * the network comes up.  A cancelled look-up leaves its thread to end by itself.
 *
 * Thread: loop.
 */
#ifndef SWARM_ANNOUNCE_RESOLVE_H
#define SWARM_ANNOUNCE_RESOLVE_H

#include "base/addr.h"

#include <stddef.h>

#define RESOLVE_MAX_ADDRESSES 16u /* a name with more is served by the first ones */

struct loop;
struct resolve;

/* error NULL: at least one address (for the call's life).  Exactly once unless cancelled, never
 * from inside of resolve_start. */
typedef void resolve_done_fn(void *arg, const struct addr *addrs, size_t n, const char *error);

/* -errno when no thread can be started. */
int resolve_start(struct loop *loop, const char *host, uint16_t port, resolve_done_fn *done,
	void *arg, struct resolve **ret);
void resolve_cancel(struct resolve *r);

#endif
