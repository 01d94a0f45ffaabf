// SPDX-License-Identifier: MIT
/* Announcing over UDP: the sockets, timers and connection ids of one announcer.
 *
 * What is said is announce_packet.c's.  One socket a family serves all trackers; an answer counts
 * when it comes from the address that was asked, with the transaction's number.  ICMP errors are
 * read from the socket's error queue (IP_RECVERR), so that a tracker that is not running is known
 * to be so at once: a spoofed one would have to guess the number of the packet that it quotes.
 *
 * Connection ids are kept per address and used for a minute by whatever announces there next.
 *
 * Thread: loop.
 */
#include "swarm/announce_packet.h"
#include "base/cursor.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/errqueue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define READ_AT_ONCE 64u /* datagrams, before other sockets get their turn */
#define MAX_IDS 256u /* a name may give other addresses each time */

TAILQ_HEAD(announce_list, udp_announce);

struct connection_id {
	struct addr to;
	uint64_t id, us; /* us 0: none */
};

struct udp_socket {
	int fd; /* -1: not open */
	struct event *readable;
};

struct announce_udp {
	struct loop *loop;
	struct addr from;
	struct udp_socket v4, v6;
	struct announce_list announces;
	struct connection_id *ids; /* owned; one an address that was announced to */
	size_t n_ids, cap_ids;
};

struct udp_announce {
	struct announce_udp *udp;
	TAILQ_ENTRY(udp_announce) link;
	struct addr to;
	struct exchange exchange;
	struct event *timer;
	int send_error; /* errno of a packet that could not be sent */
	announce_done_fn *done;
	void *arg;
};

/* -- connection ids ---------------------------------------------------------------------- */

static struct connection_id *id_of(struct announce_udp *u, const struct addr *to)
{
	struct connection_id *oldest = u->ids;

	for (size_t i = 0; i < u->n_ids; i++) {
		if (addr_equal(&u->ids[i].to, to))
			return &u->ids[i];
		if (u->ids[i].us < oldest->us)
			oldest = &u->ids[i];
	}
	if (u->n_ids < MAX_IDS) {
		GROW(u->ids, u->n_ids, u->cap_ids);
		oldest = &u->ids[u->n_ids++];
	}
	*oldest = (struct connection_id) {.to = *to};
	return oldest;
}

/* -- one announce ------------------------------------------------------------------------ */

static void announce_end(struct udp_announce *a, const struct announce_reply *reply,
	const char *error, bool no_address)
{
	announce_done_fn *done = a->done;
	void *arg = a->arg;

	announce_udp_cancel(a);
	done(arg, reply, error, no_address);
}

static int announce_write(struct udp_announce *a, const uint8_t *packet, size_t len)
{
	struct sockaddr_storage to;
	socklen_t to_len = addr_to_sockaddr(&a->to, &to);
	int fd = addr_is_v4(&a->to) ? a->udp->v4.fd : a->udp->v6.fd;

	if (fd < 0)
		return EAFNOSUPPORT;
	/* The first try may give the error of an earlier packet, to whomever that went. */
	for (unsigned tries = 0; tries < 3; tries++) {
		if (sendto(fd, packet, len, MSG_NOSIGNAL, (struct sockaddr *)&to, to_len) >= 0)
			return 0;
	}
	/* A full buffer is a lost packet: the timer sends it again. */
	return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? 0 : errno;
}

static void announce_send(struct udp_announce *a)
{
	uint8_t packet[EXCHANGE_MAX_PACKET];
	uint64_t wait_us;
	uint32_t random;

	random_bytes(&random, sizeof(random));
	size_t len = exchange_packet(&a->exchange, clock_us(), random, packet, &wait_us);
	a->send_error = announce_write(a, packet, len);
	if (a->send_error)
		wait_us = 0; /* told from the loop, never from inside of announce_udp_start */
	struct timeval tv = {.tv_sec = (time_t)(wait_us / US_PER_S),
		.tv_usec = (suseconds_t)(wait_us % US_PER_S)};
	event_add(a->timer, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct udp_announce *a = arg;
	bool connecting = a->exchange.state == EXCHANGE_CONNECT;
	int err = a->send_error;

	if (err)
		announce_end(a, NULL, strerror(err),
			err == ENETUNREACH || err == EAFNOSUPPORT || err == EADDRNOTAVAIL);
	else if (exchange_timeout(&a->exchange) == EXCHANGE_SEND)
		announce_send(a);
	else
		announce_end(
			a, NULL, connecting ? "no answer" : "no answer to the announce", false);
}

static void announce_receive(struct udp_announce *a, const uint8_t *data, size_t len)
{
	struct announce_reply reply = {0};
	uint64_t now = clock_us();
	enum exchange_result result = exchange_receive(&a->exchange, data, len, now, &reply);
	struct connection_id *id = id_of(a->udp, &a->to);

	switch (result) {
	case EXCHANGE_IGNORED:
		break;
	case EXCHANGE_SEND: /* it has a new connection id, or has lost the old one */
		id->id = a->exchange.id;
		id->us = a->exchange.id_us;
		announce_send(a);
		break;
	case EXCHANGE_DONE:
		announce_end(a, &reply, NULL, false);
		break;
	case EXCHANGE_FAILED:
		announce_end(a, reply.failure ? &reply : NULL, reply.failure, false);
		break;
	}
	announce_reply_done(&reply);
}

/* -- the sockets ------------------------------------------------------------------------- */

static struct udp_announce *announce_find(
	struct announce_udp *u, const struct addr *to, uint32_t transaction)
{
	struct udp_announce *a;

	TAILQ_FOREACH (a, &u->announces, link)
		if (addr_equal(&a->to, to) && a->exchange.transaction == transaction)
			return a;
	return NULL;
}

/* One entry of the error queue; false when it is empty. */
static bool read_error(struct announce_udp *u, int fd)
{
	struct sockaddr_storage to = {0};
	uint8_t packet[EXCHANGE_MAX_PACKET];
	union {
		char bytes[CMSG_SPACE(
			sizeof(struct sock_extended_err) + sizeof(struct sockaddr_in6))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {.iov_base = packet, .iov_len = sizeof(packet)};
	struct msghdr m = {.msg_name = &to,
		.msg_namelen = sizeof(to),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct sock_extended_err error = {0};
	struct addr dest;

	ssize_t len = recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT);
	if (len < 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c))
		if ((c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) ||
			(c->cmsg_level == SOL_IPV6 && c->cmsg_type == IPV6_RECVERR))
			memcpy(&error, CMSG_DATA(c), sizeof(error));
	/* What it quotes is our packet: its number stands behind eight bytes and the action. */
	struct cursor c = cursor_on(packet, (size_t)len);
	cursor_take(&c, 12);
	uint32_t transaction = cursor_u32(&c);
	addr_from_sockaddr((struct sockaddr *)&to, &dest);
	struct udp_announce *a = cursor_bad(&c) ? NULL : announce_find(u, &dest, transaction);
	if (a && error.ee_errno)
		announce_end(a, NULL, strerror((int)error.ee_errno), false);
	return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct announce_udp *u = arg;
	uint8_t data[65536]; /* a datagram's largest: nothing is cut */

	for (unsigned i = 0; i < READ_AT_ONCE && read_error(u, fd); i++)
		;
	for (unsigned i = 0; i < READ_AT_ONCE; i++) {
		struct sockaddr_storage sa = {0};
		socklen_t sa_len = sizeof(sa);
		struct addr from;
		ssize_t len = recvfrom(
			fd, data, sizeof(data), MSG_DONTWAIT, (struct sockaddr *)&sa, &sa_len);
		if (len < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (len < 0)
			continue; /* the error of a packet, told by the queue too */
		struct cursor c = cursor_on(data, (size_t)len);
		cursor_u32(&c);
		uint32_t transaction = cursor_u32(&c);
		addr_from_sockaddr((struct sockaddr *)&sa, &from);
		struct udp_announce *a =
			cursor_bad(&c) ? NULL : announce_find(u, &from, transaction);
		if (a)
			announce_receive(a, data, (size_t)len);
	}
}

/* A socket that cannot be opened is no error here: sending on it is. */
static void socket_open(struct announce_udp *u, struct udp_socket *s, int family)
{
	int on = 1;

	if (s->fd >= 0)
		return;
	s->fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return;
	if (family == AF_INET6)
		setsockopt(s->fd, SOL_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	setsockopt(s->fd, family == AF_INET ? SOL_IP : SOL_IPV6,
		family == AF_INET ? IP_RECVERR : IPV6_RECVERR, &on, sizeof(on));
	addr_bind_source(s->fd, family, &u->from);
	s->readable = event_new(loop_base(u->loop), s->fd, EV_READ | EV_PERSIST, on_readable, u);
	event_add(s->readable, NULL);
}

static void socket_close(struct udp_socket *s)
{
	if (s->fd < 0)
		return;
	event_free(s->readable);
	close(s->fd);
}

struct announce_udp *announce_udp_new(struct loop *loop, const struct addr *from)
{
	struct announce_udp *u = xcalloc(1, sizeof(*u));

	u->loop = loop;
	u->from = *from;
	u->v4.fd = u->v6.fd = -1;
	TAILQ_INIT(&u->announces);
	return u;
}

void announce_udp_free(struct announce_udp *u)
{
	if (!u)
		return;
	while (!TAILQ_EMPTY(&u->announces))
		announce_udp_cancel(TAILQ_FIRST(&u->announces));
	socket_close(&u->v4);
	socket_close(&u->v6);
	free(u->ids);
	free(u);
}

struct udp_announce *announce_udp_start(struct announce_udp *u, const struct addr *to,
	const struct announce_request *request, announce_done_fn *done, void *arg)
{
	struct udp_announce *a = xcalloc(1, sizeof(*a));
	struct connection_id *id = id_of(u, to);
	bool v4 = addr_is_v4(to);

	*a = (struct udp_announce) {.udp = u, .to = *to, .done = done, .arg = arg};
	exchange_init(&a->exchange, request, !v4, id->id, id->us);
	a->timer = event_new(loop_base(u->loop), -1, 0, on_timer, a);
	TAILQ_INSERT_TAIL(&u->announces, a, link);
	socket_open(u, v4 ? &u->v4 : &u->v6, v4 ? AF_INET : AF_INET6);
	announce_send(a);
	return a;
}

void announce_udp_cancel(struct udp_announce *a)
{
	TAILQ_REMOVE(&a->udp->announces, a, link);
	event_free(a->timer);
	free(a);
}
