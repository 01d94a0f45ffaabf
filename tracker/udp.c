/* SPDX-License-Identifier: MIT */
/* The UDP front: see udp.h.
 *
 * A batch is received, answered and sent with one system call each way.  What the socket does not
 * take is dropped, as UDP is; clients ask again.  On a socket bound to a wildcard each packet comes
 * with the address that it was sent to, which then is the reply's source: of a host's several
 * addresses the kernel might pick another, which the asker would not know.
 *
 * Thread: loop.
 */
#include "tracker/udp.h"

#include "base/hash.h"
#include "base/loop.h"
#include "base/mem.h"
#include "tracker/now.h"
#include "tracker/udp_packet.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 64
#define ROUNDS 8 /* batches before others get their turn */
#define CONTROL_LEN CMSG_SPACE(sizeof(struct in6_pktinfo))

struct udp_socket {
	struct udp *udp;
	struct event *event;
	int fd;
	bool any;
	LIST_ENTRY(udp_socket) in_all;
};

struct udp {
	struct event_base *base;
	struct service *service;
	struct connid ids;
	LIST_HEAD(, udp_socket) sockets;
	struct sockaddr_storage names[BATCH];
	struct iovec in_iov[BATCH], out_iov[BATCH];
	struct mmsghdr in_msg[BATCH], out_msg[BATCH];
	uint8_t in[BATCH][UDP_MAX_PACKET], out[BATCH][UDP_MAX_REPLY];
	_Alignas(struct cmsghdr) uint8_t control[BATCH][CONTROL_LEN];
};

/* From the address that was asked, through whatever interface leads back. */
static void turn_control(struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		struct in_pktinfo v4;
		struct in6_pktinfo v6;
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&v4, CMSG_DATA(c), sizeof(v4));
			v4.ipi_ifindex = 0;
			memcpy(CMSG_DATA(c), &v4, sizeof(v4));
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			memcpy(&v6, CMSG_DATA(c), sizeof(v6));
			/* A link-local address means nothing without its link. */
			if (!IN6_IS_ADDR_LINKLOCAL(&v6.ipi6_addr))
				v6.ipi6_ifindex = 0;
			memcpy(CMSG_DATA(c), &v6, sizeof(v6));
		}
	}
}

static void on_packets(evutil_socket_t fd, short what, void *arg)
{
	struct udp_socket *socket = arg;
	struct udp *u = socket->udp;
	for (int round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < BATCH; i++) {
			struct msghdr *h = &u->in_msg[i].msg_hdr;
			h->msg_namelen = sizeof(u->names[i]);
			h->msg_control = socket->any ? u->control[i] : NULL;
			h->msg_controllen = socket->any ? CONTROL_LEN : 0;
		}
		int n = recvmmsg((int)fd, u->in_msg, BATCH, MSG_DONTWAIT, NULL);
		if (n <= 0)
			return;
		uint32_t now = now_s();
		unsigned send = 0;
		for (int i = 0; i < n; i++) {
			struct msghdr *in = &u->in_msg[i].msg_hdr;
			struct addr from;
			addr_from_sockaddr(in->msg_name, &from);
			size_t len = udp_answer(u->service, &u->ids, u->in[i],
				u->in_msg[i].msg_len, &from, now, u->out[send]);
			if (!len)
				continue;
			struct msghdr *out = &u->out_msg[send].msg_hdr;
			u->out_iov[send].iov_len = len;
			out->msg_name = in->msg_name;
			out->msg_namelen = in->msg_namelen;
			out->msg_control = in->msg_controllen ? in->msg_control : NULL;
			turn_control(in);
			out->msg_controllen = in->msg_controllen;
			send++;
		}
		for (unsigned sent = 0; sent < send;) {
			int m = sendmmsg((int)fd, u->out_msg + sent, send - sent, MSG_DONTWAIT);
			/* One that cannot be sent is skipped: nothing else would change it. */
			sent += m > 0 ? (unsigned)m : 1;
		}
		if (n < BATCH)
			return;
	}
}

struct udp *udp_new(struct event_base *base, struct service *service)
{
	struct udp *u = xcalloc(1, sizeof(*u));
	u->base = base;
	u->service = service;
	connid_init(&u->ids, now_s(), random_bytes);
	for (int i = 0; i < BATCH; i++) {
		u->in_iov[i] = (struct iovec) {u->in[i], UDP_MAX_PACKET};
		u->in_msg[i].msg_hdr.msg_iov = &u->in_iov[i];
		u->in_msg[i].msg_hdr.msg_iovlen = 1;
		u->in_msg[i].msg_hdr.msg_name = &u->names[i];
		u->out_iov[i] = (struct iovec) {u->out[i], 0};
		u->out_msg[i].msg_hdr.msg_iov = &u->out_iov[i];
		u->out_msg[i].msg_hdr.msg_iovlen = 1;
	}
	return u;
}

int udp_listen(struct udp *u, int fd, bool any)
{
	struct udp_socket *s = xcalloc(1, sizeof(*s));
	s->udp = u;
	s->fd = fd;
	s->any = any;
	s->event = event_new(u->base, fd, EV_READ | EV_PERSIST, on_packets, s);
	LIST_INSERT_HEAD(&u->sockets, s, in_all);
	return event_add(s->event, NULL) ? -ENOMEM : 0;
}

void udp_free(struct udp *u)
{
	if (!u)
		return;
	struct udp_socket *s;
	while ((s = LIST_FIRST(&u->sockets))) {
		LIST_REMOVE(s, in_all);
		event_free(s->event);
		close(s->fd);
		free(s);
	}
	free(u);
}
