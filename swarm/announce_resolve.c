// SPDX-License-Identifier: MIT
/* A name's addresses: see announce_resolve.h.
 *
 * The look-up is shared by the loop and its thread, and freed by whichever lets go of it last,
 * since getaddrinfo cannot be interrupted.  The thread tells its end over an eventfd and touches
 * nothing of the loop's, which may be gone by then.
 *
 * Thread: loop, and lookup_run on the look-up's own.
 */
#include "swarm/announce_resolve.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOKUP_STACK \
	(256u << 10) /* getaddrinfo and the modules of nsswitch.conf need some 64 KiB */

struct lookup {
	atomic_uint refs;
	char *host; /* owned */
	uint16_t port;
	int done_fd; /* the thread writes when the fields below are set */
	struct addr addrs[RESOLVE_MAX_ADDRESSES];
	size_t n;
	const char *error; /* static */
};

struct resolve {
	struct lookup *lookup;
	struct event *ended;
	resolve_done_fn *done;
	void *arg;
};

static void lookup_put(struct lookup *l)
{
	if (atomic_fetch_sub(&l->refs, 1) > 1)
		return;
	if (l->done_fd >= 0)
		close(l->done_fd);
	free(l->host);
	free(l);
}

static bool lookup_has(const struct lookup *l, const struct addr *a)
{
	for (size_t i = 0; i < l->n; i++)
		if (addr_equal(&l->addrs[i], a))
			return true;
	return false;
}

static void *lookup_run(void *arg)
{
	struct lookup *l = arg;
	struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM}, *found = NULL;
	int rc = getaddrinfo(l->host, NULL, &hints, &found);

	for (struct addrinfo *i = found; rc == 0 && i && l->n < RESOLVE_MAX_ADDRESSES;
		i = i->ai_next) {
		struct addr a;
		if (i->ai_family != AF_INET && i->ai_family != AF_INET6)
			continue;
		addr_from_sockaddr(i->ai_addr, &a);
		a.port = l->port;
		if (!lookup_has(l, &a))
			l->addrs[l->n++] = a;
	}
	if (rc == 0)
		freeaddrinfo(found);
	if (rc)
		l->error = gai_strerror(rc);
	else if (!l->n)
		l->error = "no address";
	eventfd_write(l->done_fd, 1);
	lookup_put(l);
	return NULL;
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct resolve *r = arg;
	struct lookup *l = r->lookup;
	eventfd_t count;

	eventfd_read(fd, &count);
	atomic_fetch_add(&l->refs, 1);
	resolve_done_fn *done = r->done;
	void *done_arg = r->arg;
	resolve_cancel(r);
	done(done_arg, l->addrs, l->n, l->error);
	lookup_put(l);
}

/* Signals are the main thread's. */
static int thread_start(struct lookup *l)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, LOOKUP_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&thread, &attr, lookup_run, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -err;
}

int resolve_start(struct loop *loop, const char *host, uint16_t port, resolve_done_fn *done,
	void *arg, struct resolve **ret)
{
	struct lookup *l = xcalloc(1, sizeof(*l));
	struct resolve *r = xcalloc(1, sizeof(*r));
	int err;

	*r = (struct resolve) {.lookup = l, .done = done, .arg = arg};
	l->refs = 1;
	l->host = xstrdup(host);
	l->port = port;
	l->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->done_fd < 0) {
		err = -errno;
		goto fail;
	}
	r->ended = event_new(loop_base(loop), l->done_fd, EV_READ, on_ended, r);
	if (!r->ended || event_add(r->ended, NULL) < 0) {
		err = -ENOMEM;
		goto fail;
	}
	l->refs = 2;
	err = thread_start(l);
	if (err < 0) {
		l->refs = 1;
		goto fail;
	}
	*ret = r;
	return 0;
fail:
	resolve_cancel(r);
	return err;
}

void resolve_cancel(struct resolve *r)
{
	if (r->ended)
		event_free(r->ended);
	lookup_put(r->lookup);
	free(r);
}
