/* SPDX-License-Identifier: MIT */
/* For the tests of resume: a real loop and a real pool; the store is one in memory behind a gate.
 *
 * Its plan counts the calls, fails those that a test names, and can hold a sync until the test lets
 * it go on, so that what happens "meanwhile" is decided there and not by a clock.
 *
 * Thread: the main one; world_plan on workers.
 */
#ifndef TESTS_UNIT_RESUME_FIXTURE_H
#define TESTS_UNIT_RESUME_FIXTURE_H

#include "tests/unit/store_fixture.h"
#include "swarm/resume.h"
#include "swarm/store.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/work.h"

#include <errno.h>
#include <event2/event.h>
#include <semaphore.h>
#include <stdatomic.h>

#define BLOCKS 64

struct world {
	struct fixture f;
	struct loop *loop;
	struct work_pool *pool;
	struct store *store;
	struct resume *resume;

	atomic_int sync_error, save_error; /* what the next calls give */
	atomic_uint syncs, saves; /* that were let through or failed */
	atomic_bool hold; /* syncs wait at the gate */
	sem_t at_gate, go;

	struct bits lost; /* all that was told as lost */
	unsigned lost_calls;
	int lost_error;
	unsigned flushed;
	int flush_error;
	const char *extra;
};

static inline void on_woken(void *arg)
{
}

static inline int world_plan(void *arg, const char *op)
{
	struct world *w = arg;
	if (!strcmp(op, "sync")) {
		if (w->hold) {
			sem_post(&w->at_gate);
			loop_post(w->loop, on_woken, NULL); /* RUN_UNTIL looks again */
			while (sem_wait(&w->go) < 0)
				;
		}
		w->syncs++;
		return w->sync_error;
	}
	if (!strcmp(op, "save_record")) {
		w->saves++;
		return w->save_error;
	}
	return 0;
}

static inline void on_lost(void *arg, const struct bits *lost, int error)
{
	struct world *w = arg;
	assert_int_equal(lost->n, BLOCKS);
	for (uint32_t i = 0; (i = bits_next_set(lost, i)) < lost->n; i++)
		assert_true(bits_set(&w->lost, i)); /* each once */
	w->lost_calls++;
	w->lost_error = error;
}

static inline void on_extra(void *arg, uint8_t **ret, size_t *ret_len)
{
	struct world *w = arg;
	if (!w->extra)
		return;
	*ret = (uint8_t *)xstrdup(w->extra);
	*ret_len = strlen(w->extra);
}

static inline void on_flushed(void *arg, int error)
{
	struct world *w = arg;
	w->flushed++;
	w->flush_error = error;
}

static inline struct resume *begin(struct world *w, const struct bits *durable)
{
	struct resume_callbacks cb = {.lost = on_lost, .extra = on_extra, .arg = w};
	struct bits none;
	bits_init(&none, BLOCKS);
	w->resume = resume_new(
		w->loop, w->pool, w->store, &w->f.layout, durable ? durable : &none, &cb);
	bits_done(&none);
	return w->resume;
}

static inline void world_init(struct world *w)
{
	const uint64_t length = BLOCKS * BLOCK_SIZE;
	struct store *memory;
	memset(w, 0, sizeof(*w));
	fixture_make(&w->f, "image", 1, NULL, &length, 4 * BLOCK_SIZE, false);
	assert_int_equal(w->f.layout.n_blocks, BLOCKS);
	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(work_pool_new(w->loop, 2, &w->pool), 0);
	assert_int_equal(store_open_memory(&w->f.meta, &memory), 0);
	assert_int_equal(store_open_failing(memory, world_plan, w, &w->store), 0);
	sem_init(&w->at_gate, 0, 0);
	sem_init(&w->go, 0, 0);
	bits_init(&w->lost, BLOCKS);
}

/* The stop of the engine: workers first. */
static inline int stop(struct world *w)
{
	work_pool_free(w->pool);
	int r = resume_close(w->resume);
	w->resume = NULL;
	assert_int_equal(work_pool_new(w->loop, 2, &w->pool), 0);
	return r;
}

static inline void world_done(struct world *w)
{
	if (w->resume)
		stop(w);
	work_pool_free(w->pool);
	loop_free(w->loop);
	store_close(w->store);
	sem_destroy(&w->at_gate);
	sem_destroy(&w->go);
	bits_done(&w->lost);
	fixture_done(&w->f);
}

#define RUN_UNTIL(w, condition)                                             \
	do {                                                                \
		while (!(condition))                                        \
			event_base_loop(loop_base((w)->loop), EVLOOP_ONCE); \
	} while (0)

static inline void flush(struct world *w)
{
	unsigned before = w->flushed;
	resume_flush(w->resume, on_flushed, w);
	RUN_UNTIL(w, w->flushed > before);
}

/* The record on disk as a restart would see it. */
static inline enum resume_trust load(struct world *w, struct record *r)
{
	const char *why;
	return resume_load(w->store, &w->f.layout, r, &why);
}

/* The record has exactly these blocks (a list that ends with -1). */
static inline void check_record(struct world *w, enum resume_trust trust, const int *blocks)
{
	struct record r;
	uint32_t n = 0;
	assert_int_equal(load(w, &r), trust);
	for (; blocks[n] >= 0; n++)
		if (!bits_get(&r.have, (uint32_t)blocks[n]))
			fail_msg("block %d is not in the record", blocks[n]);
	assert_int_equal(r.have.set, n);
	record_done(&r);
}
#define CHECK_RECORD(w, trust, ...) check_record(w, trust, (const int[]) {__VA_ARGS__, -1})

static inline void check_lost(struct world *w, const int *blocks)
{
	uint32_t n = 0;
	for (; blocks[n] >= 0; n++)
		if (!bits_get(&w->lost, (uint32_t)blocks[n]))
			fail_msg("block %d was not told as lost", blocks[n]);
	assert_int_equal(w->lost.set, n);
}
#define CHECK_LOST(w, ...) check_lost(w, (const int[]) {__VA_ARGS__, -1})

static inline void written(struct world *w, uint32_t block)
{
	resume_on_writing(w->resume, block);
	resume_on_written(w->resume, block, BLOCK_SIZE);
}

#endif
