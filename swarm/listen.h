/* SPDX-License-Identifier: MIT */
/* The listening sockets: one port, IPv4 and IPv6.
 *
 * Thread: loop.
 */
#ifndef SWARM_LISTEN_H
#define SWARM_LISTEN_H

#include "base/addr.h"

struct event_base;
struct listener;

/* Binds `at` (port 0: any; the address "any": both families on one port, IPv6 if the system has it).
 * accepted(arg, fd, peer) takes each non-blocking socket.  -errno, *ret_why malloc'd. */
int listener_open(struct event_base *base, const struct addr *at,
	void (*accepted)(void *arg, int fd, const struct addr *peer), void *arg,
	struct listener **ret, char **ret_why);
void listener_close(struct listener *l); /* NULL is fine */
uint16_t listener_port(const struct listener *l);

#endif
