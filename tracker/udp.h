/* SPDX-License-Identifier: MIT */
/* The UDP front: sockets, many packets a system call.
 *
 * Thread: loop.
 */
#ifndef TRACKER_UDP_H
#define TRACKER_UDP_H

#include "tracker/connid.h"
#include "tracker/service.h"

struct event_base;
struct udp;

struct udp *udp_new(struct event_base *base, struct service *service);
void udp_free(struct udp *u);
/* Takes over a bound socket; `any` when it is bound to a wildcard, so that replies must name the
 * address that was asked. */
int udp_listen(struct udp *u, int fd, bool any);

#endif
