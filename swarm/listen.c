/* SPDX-License-Identifier: MIT */
/* See listen.h.  A descriptor shortage pauses accepting for a second instead of spinning. */
#include "swarm/listen.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>
#include <sys/socket.h>

#define BACKLOG 128
#define ACCEPTS_PER_TURN 16

struct listener {
	int fds[2]; /* IPv4, IPv6; -1: none */
	struct event *events[2];
	struct event *pause;
	uint16_t port;
	void (*accepted)(void *arg, int fd, const struct addr *peer);
	void *arg;
};

static int bind_one(const struct addr *at, int family, int *ret_fd)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(at, &sa);
	if (family == AF_INET6 && sa.ss_family == AF_INET) {
		struct sockaddr_in6 any = {
			.sin6_family = AF_INET6,
			.sin6_port = htons(at->port),
			.sin6_addr = IN6ADDR_ANY_INIT,
		};
		memcpy(&sa, &any, sizeof(any));
		len = sizeof(any);
	} else if (family == AF_INET && sa.ss_family == AF_INET6) {
		struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(at->port)};
		memcpy(&sa, &any, sizeof(any));
		len = sizeof(any);
	}
	CLEANUP_CLOSE int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int on = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);
	struct addr a = {0};
	if (!getsockname(fd, (struct sockaddr *)&sa, &len))
		addr_from_sockaddr((struct sockaddr *)&sa, &a);
	return a.port;
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof(sa);
		int peer = accept4(fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (peer < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM)) {
			log_warn("accepting connections pauses: %s", strerror(errno));
			event_del(l->events[fd == l->fds[1]]);
			event_add(l->pause, &(struct timeval) {.tv_sec = 1});
			return;
		}
		if (peer < 0)
			return;
		struct addr a;
		addr_from_sockaddr((struct sockaddr *)&sa, &a);
		l->accepted(l->arg, peer, &a);
	}
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	for (int i = 0; i < 2; i++) {
		if (l->events[i])
			event_add(l->events[i], NULL);
	}
}

int listener_open(struct event_base *base, const struct addr *at,
	void (*accepted)(void *arg, int fd, const struct addr *peer), void *arg,
	struct listener **ret, char **ret_why)
{
	struct listener *l = xcalloc(1, sizeof(*l));
	*l = (struct listener) {.fds = {-1, -1}, .accepted = accepted, .arg = arg};
	struct addr a = *at;
	char text[ADDR_STRLEN];
	bool v4 = addr_is_v4(at), any = addr_is_any(at);
	int r = 0;
	if (v4 || any)
		r = bind_one(&a, AF_INET, &l->fds[0]);
	if (!r && l->fds[0] >= 0)
		a.port = bound_port(l->fds[0]);
	if (!r && any) {
		/* A system without IPv6 is no error. */
		if (bind_one(&a, AF_INET6, &l->fds[1]) < 0)
			l->fds[1] = -1;
	} else if (!r && !v4) {
		r = bind_one(&a, AF_INET6, &l->fds[1]);
	}
	if (r < 0) {
		*ret_why = xasprintf("cannot listen on %s: %s", addr_format(at, text), strerror(-r));
		listener_close(l);
		return r;
	}
	l->port = bound_port(l->fds[l->fds[0] >= 0 ? 0 : 1]);
	l->pause = event_new(base, -1, 0, on_pause_over, l);
	for (int i = 0; i < 2; i++) {
		if (l->fds[i] < 0)
			continue;
		l->events[i] = event_new(base, l->fds[i], EV_READ | EV_PERSIST, on_accept, l);
		event_add(l->events[i], NULL);
	}
	*ret = l;
	return 0;
}

void listener_close(struct listener *l)
{
	if (!l)
		return;
	for (int i = 0; i < 2; i++) {
		if (l->events[i])
			event_free(l->events[i]);
		if (l->fds[i] >= 0)
			close(l->fds[i]);
	}
	if (l->pause)
		event_free(l->pause);
	free(l);
}

uint16_t listener_port(const struct listener *l)
{
	return l->port;
}
