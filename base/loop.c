// SPDX-License-Identifier: MIT
/* The event loop: see loop.h.
 *
 * libevent runs without its own locking: only the loop's thread touches it.  Posted calls wait in
 * an array behind a mutex; whoever puts the first one in writes to an eventfd, and the loop then
 * takes the whole array.  Calls posted by those that run wait for the next turn, so that posting in
 * a circle does not keep the loop from its sockets.
 *
 * Stopping is a posted call too: so it is not lost when it comes before loop_run.
 *
 * Thread: as loop.h says.
 */
#include "base/loop.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <time.h>

struct post {
	void (*fn)(void *arg); /* NULL: taken back */
	void *arg;
};

struct posts {
	struct post *items; /* owned */
	size_t n, cap;
};

struct loop {
	struct event_base *base;
	struct event *woken;
	int wake_fd;
	pthread_mutex_t lock;
	struct posts waiting; /* under the lock */
	struct posts running; /* the loop's; empty while it runs none */
};

uint64_t clock_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * US_PER_S + (uint64_t)t.tv_nsec / 1000;
}

static void loop_on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct loop *loop = arg;
	eventfd_t count;

	eventfd_read(fd, &count);
	pthread_mutex_lock(&loop->lock);
	struct posts taken = loop->waiting;
	loop->waiting = loop->running; /* the emptied array of last time */
	pthread_mutex_unlock(&loop->lock);
	loop->running = taken;
	for (size_t i = 0; i < loop->running.n; i++) {
		struct post *p = &loop->running.items[i];
		if (p->fn)
			p->fn(p->arg);
	}
	loop->running.n = 0;
}

static struct event_base *base_new(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (!config)
		return NULL;
	if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_IGNORE_ENV) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

int loop_new(struct loop **ret)
{
	struct loop *loop = xcalloc(1, sizeof(*loop));
	int err = -ENOMEM;

	pthread_mutex_init(&loop->lock, NULL);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0) {
		err = -errno;
		goto fail;
	}
	errno = 0;
	loop->base = base_new();
	if (!loop->base) {
		err = errno ? -errno : -ENOMEM;
		goto fail;
	}
	loop->woken =
		event_new(loop->base, loop->wake_fd, EV_READ | EV_PERSIST, loop_on_wake, loop);
	if (!loop->woken || event_add(loop->woken, NULL) < 0)
		goto fail;
	*ret = loop;
	return 0;
fail:
	loop_free(loop);
	return err;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	if (loop->woken)
		event_free(loop->woken);
	if (loop->base)
		event_base_free(loop->base);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	free(loop->waiting.items);
	free(loop->running.items);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

struct event_base *loop_base(struct loop *loop)
{
	return loop->base;
}

void loop_run(struct loop *loop)
{
	event_base_dispatch(loop->base);
}

static void loop_break(void *arg)
{
	struct loop *loop = arg;

	event_base_loopbreak(loop->base);
}

void loop_stop(struct loop *loop)
{
	loop_post(loop, loop_break, loop);
}

void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	pthread_mutex_lock(&loop->lock);
	struct posts *w = &loop->waiting;
	GROW(w->items, w->n, w->cap);
	w->items[w->n++] = (struct post) {.fn = fn, .arg = arg};
	bool first = w->n == 1;
	pthread_mutex_unlock(&loop->lock);
	/* The counter cannot run full: the loop resets it, and only first calls add to it. */
	if (first)
		eventfd_write(loop->wake_fd, 1);
}

static void posts_drop(struct posts *posts, void (*fn)(void *arg), const void *arg)
{
	for (size_t i = 0; i < posts->n; i++)
		if (posts->items[i].fn == fn && posts->items[i].arg == arg)
			posts->items[i].fn = NULL;
}

void loop_unpost(struct loop *loop, void (*fn)(void *arg), void *arg)
{
	LOCK_SCOPE(&loop->lock);
	posts_drop(&loop->waiting, fn, arg);
	posts_drop(&loop->running, fn, arg);
}
