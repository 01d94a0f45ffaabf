// SPDX-License-Identifier: MIT
/* The worker pool: see work.h.
 *
 * Two queues behind one mutex.  Finished jobs gather in a list; the first one in it posts one call
 * to the loop, which then takes the whole list: many jobs that finish together cost one wake-up.
 *
 * Workers block all signals: those are the main thread's.
 *
 * Thread: as work.h says.
 */
#include "base/work.h"
#include "base/cleanup.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <signal.h>

struct work_list {
	struct work *head, **tail;
};

struct work_pool {
	struct loop *loop; /* borrowed */
	pthread_t *threads;
	unsigned n_threads;

	pthread_mutex_t lock;
	pthread_cond_t some; /* a job has come, or the pool ends */
	pthread_cond_t idle; /* no job is left to run */
	/* Under the lock: */
	struct work_list urgent, normal, finished;
	unsigned unfinished; /* queued or running */
	bool told; /* a call for `finished` is posted */
	bool ending;
};

static void list_init(struct work_list *l)
{
	l->head = NULL;
	l->tail = &l->head;
}

static void list_add(struct work_list *l, struct work *w)
{
	w->next = NULL;
	*l->tail = w;
	l->tail = &w->next;
}

static struct work *list_take(struct work_list *l)
{
	struct work *w = l->head;

	if (w) {
		l->head = w->next;
		if (!l->head)
			l->tail = &l->head;
	}
	return w;
}

/* Calls `done` for all that has finished; false when there was nothing. */
static bool pool_deliver(struct work_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	struct work *w = pool->finished.head, *next;
	list_init(&pool->finished);
	pool->told = false;
	pthread_mutex_unlock(&pool->lock);

	bool some = w != NULL;
	for (; w; w = next) {
		next = w->next;
		w->done(w);
	}
	return some;
}

static void pool_on_finished(void *arg)
{
	pool_deliver(arg);
}

static void *pool_thread(void *arg)
{
	struct work_pool *pool = arg;

	pthread_setname_np(pthread_self(), "p2pfs-work");
	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct work *w = list_take(&pool->urgent);
		if (!w)
			w = list_take(&pool->normal);
		if (!w) {
			if (pool->ending)
				break;
			pthread_cond_wait(&pool->some, &pool->lock);
			continue;
		}
		pthread_mutex_unlock(&pool->lock);
		w->run(w);
		pthread_mutex_lock(&pool->lock);
		list_add(&pool->finished, w);
		if (!pool->told) {
			pool->told = true;
			loop_post(pool->loop, pool_on_finished, pool);
		}
		if (--pool->unfinished == 0)
			pthread_cond_broadcast(&pool->idle);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

int work_pool_new(struct loop *loop, unsigned threads, struct work_pool **ret)
{
	struct work_pool *pool = xcalloc(1, sizeof(*pool));
	sigset_t all, old;
	int err = threads ? 0 : -EINVAL;

	pool->loop = loop;
	pool->threads = xcalloc(threads, sizeof(*pool->threads));
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->some, NULL);
	pthread_cond_init(&pool->idle, NULL);
	list_init(&pool->urgent);
	list_init(&pool->normal);
	list_init(&pool->finished);

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (!err && pool->n_threads < threads) {
		err = -pthread_create(&pool->threads[pool->n_threads], NULL, pool_thread, pool);
		if (!err)
			pool->n_threads++;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		work_pool_free(pool);
		return err;
	}
	*ret = pool;
	return 0;
}

void work_pool_free(struct work_pool *pool)
{
	if (!pool)
		return;
	/* A `done` may post more: until there is nothing left. */
	do {
		LOCK_SCOPE(&pool->lock);
		while (pool->unfinished)
			pthread_cond_wait(&pool->idle, &pool->lock);
	} while (pool_deliver(pool));

	pthread_mutex_lock(&pool->lock);
	pool->ending = true;
	pthread_cond_broadcast(&pool->some);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	loop_unpost(pool->loop, pool_on_finished, pool);
	pthread_cond_destroy(&pool->idle);
	pthread_cond_destroy(&pool->some);
	pthread_mutex_destroy(&pool->lock);
	free(pool->threads);
	free(pool);
}

static void pool_post(struct work_pool *pool, struct work_list *queue, struct work *w)
{
	LOCK_SCOPE(&pool->lock);
	list_add(queue, w);
	pool->unfinished++;
	pthread_cond_signal(&pool->some);
}

void work_post(struct work_pool *pool, struct work *w)
{
	pool_post(pool, &pool->normal, w);
}

void work_post_urgent(struct work_pool *pool, struct work *w)
{
	pool_post(pool, &pool->urgent, w);
}
