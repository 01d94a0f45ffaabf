/* SPDX-License-Identifier: MIT */
/* Sockets to listen on: see bind.h.
 *
 * Thread: any.
 */
#include "tracker/bind.h"

#include "base/cleanup.h"

#include <errno.h>
#include <netinet/tcp.h>

#define TRIES 50          /* ports that are free for TCP but not for UDP, in a row */
#define BACKLOG 8192      /* a fleet that starts at once; the kernel cuts it to somaxconn */
#define UDP_BUFFER (4 << 20) /* 20,000 announces while the loop is busy; cut to rmem_max */

static int bind_one(const struct addr *a, int type, int *ret)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(a, &ss);
	int one = 1, size = UDP_BUFFER;
	CLEANUP_CLOSE int fd = socket(ss.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (ss.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (type == SOCK_STREAM) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	} else {
		if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
			setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
		if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
			setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		if (addr_is_any(a) && ss.ss_family == AF_INET)
			setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one));
		else if (addr_is_any(a))
			setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
	}
	if (bind(fd, (struct sockaddr *)&ss, len) < 0)
		return -errno;
	if (type == SOCK_STREAM && listen(fd, BACKLOG) < 0)
		return -errno;
	*ret = steal_fd(&fd);
	return 0;
}

static int bind_port(struct addr *a, int *ret_tcp, int *ret_udp)
{
	CLEANUP_CLOSE int tcp = -1;
	struct addr at = *a;
	int err = bind_one(&at, SOCK_STREAM, &tcp);
	if (err < 0)
		return err;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	if (getsockname(tcp, (struct sockaddr *)&ss, &len) < 0)
		return -errno;
	struct addr bound;
	addr_from_sockaddr((struct sockaddr *)&ss, &bound);
	at.port = bound.port;
	err = ret_udp ? bind_one(&at, SOCK_DGRAM, ret_udp) : 0;
	if (err < 0)
		return err;
	a->port = at.port;
	*ret_tcp = steal_fd(&tcp);
	return 0;
}

int bind_both(struct addr *a, int *ret_tcp, int *ret_udp)
{
	int err = 0;
	for (int i = 0; i < (a->port ? 1 : TRIES); i++) {
		err = bind_port(a, ret_tcp, ret_udp);
		if (err != -EADDRINUSE)
			break;
	}
	return err;
}
