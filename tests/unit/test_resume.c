// SPDX-License-Identifier: MIT
/* Keeping the record: groups, failing syncs, clean and unclean stops.
 *
 * A real loop and a real pool; the store is one in memory behind a gate: its plan counts the calls,
 * fails those that a test names, and can hold a sync or a save until the test lets it go on, so that
 * what happens "meanwhile" is decided here and not by a clock.
 */
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
#include <sys/mman.h>

#define BLOCKS 64

struct world {
	struct fixture f;
	struct loop *loop;
	struct work_pool *pool;
	struct store *store;
	struct resume *resume;

	atomic_int sync_error, save_error; /* what the next calls give */
	atomic_uint syncs, saves;          /* that were let through or failed */
	atomic_bool hold;                  /* syncs wait at the gate */
	sem_t at_gate, go;

	struct bits lost; /* all that was told as lost */
	unsigned lost_calls;
	int lost_error;
	unsigned flushed;
	int flush_error;
	const char *extra;
};

static void on_woken(void *arg)
{
}

static int plan(void *arg, const char *op)
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

static void on_lost(void *arg, const struct bits *lost, int error)
{
	struct world *w = arg;
	assert_int_equal(lost->n, BLOCKS);
	for (uint32_t i = 0; (i = bits_next_set(lost, i)) < lost->n; i++)
		assert_true(bits_set(&w->lost, i)); /* each once */
	w->lost_calls++;
	w->lost_error = error;
}

static void on_extra(void *arg, uint8_t **ret, size_t *ret_len)
{
	struct world *w = arg;
	if (!w->extra)
		return;
	*ret = (uint8_t *)xstrdup(w->extra);
	*ret_len = strlen(w->extra);
}

static void on_flushed(void *arg, int error)
{
	struct world *w = arg;
	w->flushed++;
	w->flush_error = error;
}

static struct resume *begin(struct world *w, const struct bits *durable)
{
	struct resume_callbacks cb = {.lost = on_lost, .extra = on_extra, .arg = w};
	struct bits none;
	bits_init(&none, BLOCKS);
	w->resume = resume_new(w->loop, w->pool, w->store, &w->f.layout, durable ? durable : &none, &cb);
	bits_done(&none);
	return w->resume;
}

static void world_init(struct world *w)
{
	const uint64_t length = BLOCKS * BLOCK_SIZE;
	struct store *memory;
	memset(w, 0, sizeof(*w));
	fixture_make(&w->f, "image", 1, NULL, &length, 4 * BLOCK_SIZE, false);
	assert_int_equal(w->f.layout.n_blocks, BLOCKS);
	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(work_pool_new(w->loop, 2, &w->pool), 0);
	assert_int_equal(store_open_memory(&w->f.meta, &memory), 0);
	assert_int_equal(store_open_failing(memory, plan, w, &w->store), 0);
	sem_init(&w->at_gate, 0, 0);
	sem_init(&w->go, 0, 0);
	bits_init(&w->lost, BLOCKS);
}

/* The stop of the engine: workers first. */
static int stop(struct world *w)
{
	work_pool_free(w->pool);
	int r = resume_close(w->resume);
	w->resume = NULL;
	assert_int_equal(work_pool_new(w->loop, 2, &w->pool), 0);
	return r;
}

static void world_done(struct world *w)
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

#define RUN_UNTIL(w, condition)                                                                    \
	do {                                                                                       \
		while (!(condition))                                                               \
			event_base_loop(loop_base((w)->loop), EVLOOP_ONCE);                        \
	} while (0)

static void flush(struct world *w)
{
	unsigned before = w->flushed;
	resume_flush(w->resume, on_flushed, w);
	RUN_UNTIL(w, w->flushed > before);
}

/* The record on disk as a restart would see it. */
static enum resume_trust load(struct world *w, struct record *r)
{
	const char *why;
	return resume_load(w->store, &w->f.layout, r, &why);
}

/* The record has exactly these blocks (a list that ends with -1). */
static void check_record(struct world *w, enum resume_trust trust, const int *blocks)
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

static void check_lost(struct world *w, const int *blocks)
{
	uint32_t n = 0;
	for (; blocks[n] >= 0; n++)
		if (!bits_get(&w->lost, (uint32_t)blocks[n]))
			fail_msg("block %d was not told as lost", blocks[n]);
	assert_int_equal(w->lost.set, n);
}
#define CHECK_LOST(w, ...) check_lost(w, (const int[]) {__VA_ARGS__, -1})

static void written(struct world *w, uint32_t block)
{
	resume_on_writing(w->resume, block);
	resume_on_written(w->resume, block, BLOCK_SIZE);
}

/* -- loading ----------------------------------------------------------------------------------------- */

static void test_no_record_is_no_trust(void **state)
{
	struct world w;
	struct record r;
	const char *why = NULL;
	world_init(&w);
	assert_int_equal(resume_load(w.store, &w.f.layout, &r, &why), RESUME_NONE);
	assert_non_null(why);
	assert_int_equal(r.have.n, BLOCKS);
	assert_int_equal(r.have.set, 0);
	record_done(&r);
	world_done(&w);
}

static void test_a_bad_record_is_no_trust(void **state)
{
	struct world w;
	struct record r;
	const char *why = NULL;
	world_init(&w);
	assert_int_equal(w.store->ops->save_record(w.store, "nonsense", 8), 0);
	assert_int_equal(resume_load(w.store, &w.f.layout, &r, &why), RESUME_NONE);
	assert_string_equal(why, "its record is shorter than any");
	assert_int_equal(r.have.set, 0);
	record_done(&r);
	world_done(&w);
}

/* -- the run of things --------------------------------------------------------------------------------- */

static void test_what_is_flushed_is_recorded(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 3);
	written(&w, 63);
	flush(&w);
	assert_int_equal(w.flush_error, 0);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 3, 63);
	world_done(&w);
}

static void test_a_sync_comes_by_itself(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 5);
	/* The mark, then after RESUME_GROUP_MS the group. */
	RUN_UNTIL(&w, w.saves == 2);
	assert_int_equal(w.syncs, 1);
	flush(&w); /* the job's end has been seen */
	CHECK_RECORD(&w, RESUME_UNCLEAN, 5);
	world_done(&w);
}

static void test_a_full_group_is_synced_at_once(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 0);
	flush(&w);
	unsigned before = w.syncs;
	resume_on_written(w.resume, 2, RESUME_GROUP_BYTES - 1);
	resume_on_written(w.resume, 3, 1);
	RUN_UNTIL(&w, w.syncs == before + 1);
	world_done(&w);
}

static void test_a_group_a_byte_short_is_not_synced_at_once(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 0);
	flush(&w);
	unsigned before = w.syncs;
	resume_on_written(w.resume, 1, RESUME_GROUP_BYTES - 1);
	work_pool_free(w.pool); /* would run it to its end */
	assert_int_equal(w.syncs, before);
	assert_int_equal(resume_close(steal_ptr(&w.resume)), 0);
	assert_int_equal(work_pool_new(w.loop, 2, &w.pool), 0);
	CHECK_RECORD(&w, RESUME_CLEAN, 0, 1);
	world_done(&w);
}

static void test_nothing_is_saved_when_nothing_changed(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	flush(&w);
	assert_int_equal(w.syncs, 0);
	assert_int_equal(w.saves, 0);
	written(&w, 1);
	flush(&w);
	unsigned syncs = w.syncs, saves = w.saves;
	flush(&w);
	flush(&w);
	assert_int_equal(w.syncs, syncs);
	assert_int_equal(w.saves, saves);
	world_done(&w);
}

static void test_what_is_written_while_a_sync_runs_waits_for_the_next(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	flush(&w);
	w.hold = true;
	written(&w, 2);
	resume_flush(w.resume, on_flushed, &w);
	sem_wait(&w.at_gate);
	written(&w, 3);
	resume_flush(w.resume, on_flushed, &w);
	sem_post(&w.go);
	RUN_UNTIL(&w, w.flushed == 2);
	sem_wait(&w.at_gate); /* the next one holds here */
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1, 2);
	w.hold = false;
	sem_post(&w.go);
	RUN_UNTIL(&w, w.flushed == 3);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1, 2, 3);
	world_done(&w);
}

static void test_one_job_at_a_time(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	w.hold = true;
	for (uint32_t i = 0; i < 10; i++) {
		resume_on_written(w.resume, i, RESUME_GROUP_BYTES);
		resume_flush(w.resume, on_flushed, &w);
	}
	/* The mark ends, and one sync of all begins. */
	RUN_UNTIL(&w, sem_trywait(&w.at_gate) == 0);
	for (uint32_t i = 10; i < 20; i++) {
		resume_on_written(w.resume, i, RESUME_GROUP_BYTES);
		resume_flush(w.resume, on_flushed, &w);
	}
	w.hold = false;
	sem_post(&w.go);
	RUN_UNTIL(&w, w.flushed == 20);
	assert_int_equal(w.syncs, 2);
	world_done(&w);
}

static void test_blobs_are_saved_with_the_bits(void **state)
{
	struct world w;
	struct record r;
	world_init(&w);
	begin(&w, NULL);
	w.extra = "leaf hashes";
	written(&w, 1);
	flush(&w);
	assert_int_equal(load(&w, &r), RESUME_UNCLEAN);
	assert_int_equal(r.extra_len, 11);
	assert_memory_equal(r.extra, "leaf hashes", 11);
	record_done(&r);
	w.extra = "more of them";
	assert_int_equal(stop(&w), 0);
	assert_int_equal(load(&w, &r), RESUME_CLEAN);
	assert_int_equal(r.extra_len, 12);
	record_done(&r);
	world_done(&w);
}

/* -- stops ---------------------------------------------------------------------------------------------- */

static void test_a_clean_stop_is_told(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 7);
	assert_int_equal(stop(&w), 0);
	CHECK_RECORD(&w, RESUME_CLEAN, 7);
	world_done(&w);
}

static void test_a_stop_amid_a_check_is_not_clean(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 7);
	resume_forbid_clean(w.resume);
	assert_int_equal(stop(&w), 0);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 7);
	world_done(&w);
}

static void test_the_next_run_takes_clean_off_the_disk_first(void **state)
{
	struct world w;
	struct record r;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 7);
	assert_int_equal(stop(&w), 0);
	assert_int_equal(load(&w, &r), RESUME_CLEAN);

	/* As soon as a write is announced, and with no sync to wait for. */
	begin(&w, &r.have);
	record_done(&r);
	CHECK_RECORD(&w, RESUME_CLEAN, 7);
	unsigned saves = w.saves, syncs = w.syncs;
	resume_on_writing(w.resume, 8);
	RUN_UNTIL(&w, w.saves == saves + 1);
	flush(&w);
	assert_int_equal(w.syncs, syncs);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 7);
	world_done(&w);
}

static void test_a_run_that_writes_nothing_leaves_clean_alone(void **state)
{
	struct world w;
	struct record r;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 7);
	assert_int_equal(stop(&w), 0);
	assert_int_equal(load(&w, &r), RESUME_CLEAN);
	begin(&w, &r.have);
	record_done(&r);
	flush(&w);
	CHECK_RECORD(&w, RESUME_CLEAN, 7);
	assert_int_equal(stop(&w), 0);
	CHECK_RECORD(&w, RESUME_CLEAN, 7);
	world_done(&w);
}

static void test_a_touched_file_is_told(void **state)
{
	struct world w;
	struct store *disk;
	char *why = NULL;
	world_init(&w);
	store_close(w.store);
	assert_int_equal(store_open_disk(w.f.dir, &w.f.meta, &disk, &why), 0);
	w.store = disk;
	begin(&w, NULL);
	uint8_t data[BLOCK_SIZE];
	fixture_fill(0, data, sizeof(data));
	assert_int_equal(disk->ops->write(disk, 0, data, sizeof(data)), 0);
	written(&w, 0);
	assert_int_equal(stop(&w), 0);
	store_close(disk);
	assert_int_equal(store_open_disk(w.f.dir, &w.f.meta, &disk, &why), 0);
	w.store = disk;
	CHECK_RECORD(&w, RESUME_CLEAN, 0);
	/* Opened and read by others: nothing of that counts. */
	int fd = open(fixture_path(&w.f, "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1/content/image"), O_RDWR);
	assert_int_equal(pread(fd, data, 10, 0), 10);
	CHECK_RECORD(&w, RESUME_CLEAN, 0);
	struct timespec when[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
	assert_int_equal(futimens(fd, when), 0);
	CHECK_RECORD(&w, RESUME_TOUCHED, 0);
	close(fd);
	world_done(&w);
}

/* Is the first page of the file in the page cache? */
static bool is_cached(struct world *w)
{
	unsigned char there = 0;
	void *map = mmap(NULL, BLOCK_SIZE, PROT_READ, MAP_SHARED, w->store->ops->fd(w->store, 0), 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(mincore(map, 1, &there), 0);
	munmap(map, BLOCK_SIZE);
	return there & 1;
}

static void reopen_and_load(struct world *w, enum resume_trust expected)
{
	struct record r;
	char *why = NULL;
	store_close(w->store);
	assert_int_equal(store_open_disk(w->f.dir, &w->f.meta, &w->store, &why), 0);
	assert_int_equal(load(w, &r), expected);
	record_done(&r);
}

static void test_only_after_a_clean_stop_is_the_page_cache_believed(void **state)
{
	struct world w;
	char *why = NULL;
	uint8_t data[BLOCK_SIZE];
	struct timespec when[2] = {{.tv_sec = 5}, {.tv_sec = 5}};
	world_init(&w);
	store_close(w.store);
	assert_int_equal(store_open_disk(w.f.dir, &w.f.meta, &w.store, &why), 0);
	begin(&w, NULL);
	fixture_fill(0, data, sizeof(data));
	assert_int_equal(w.store->ops->write(w.store, 0, data, sizeof(data)), 0);
	written(&w, 0);
	assert_int_equal(stop(&w), 0);

	reopen_and_load(&w, RESUME_CLEAN);
	bool clean = is_cached(&w);
	assert_int_equal(futimens(w.store->ops->fd(w.store, 0), when), 0);
	reopen_and_load(&w, RESUME_TOUCHED);
	bool touched = is_cached(&w);
	posix_fadvise(w.store->ops->fd(w.store, 0), 0, 0, POSIX_FADV_DONTNEED);
	bool droppable = !is_cached(&w);
	world_done(&w);
	if (!droppable)
		skip(); /* such as tmpfs, which is nothing but cache */
	assert_true(clean);
	assert_false(touched);
}

static void test_a_file_of_another_size_is_told_after_any_stop(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 7);
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 7);
	w.store->touched = true;
	CHECK_RECORD(&w, RESUME_TOUCHED, 7);
	assert_int_equal(stop(&w), 0);
	CHECK_RECORD(&w, RESUME_TOUCHED, 7);
	world_done(&w);
}

static void test_a_stop_whose_sync_fails_claims_what_was_durable(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	flush(&w);
	written(&w, 2);
	w.sync_error = -EIO;
	assert_int_equal(stop(&w), -EIO);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1);
	world_done(&w);
}

static void test_a_stop_whose_save_fails_says_so(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	flush(&w);
	written(&w, 2);
	w.save_error = -ENOSPC;
	assert_int_equal(stop(&w), -ENOSPC);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1);
	world_done(&w);
}

static void test_a_flush_not_served_is_answered_by_the_stop(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	resume_flush(w.resume, on_flushed, &w);
	resume_flush(w.resume, on_flushed, &w);
	assert_int_equal(stop(&w), 0);
	assert_int_equal(w.flushed, 2);
	CHECK_RECORD(&w, RESUME_CLEAN, 1);
	world_done(&w);
}

/* -- failing syncs --------------------------------------------------------------------------------------- */

static void test_a_failed_sync_voids_its_group_and_what_came_after(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	flush(&w);
	w.hold = true;
	w.sync_error = -EIO;
	written(&w, 2);
	written(&w, 3);
	resume_flush(w.resume, on_flushed, &w);
	sem_wait(&w.at_gate);
	written(&w, 4);
	w.hold = false;
	sem_post(&w.go);
	RUN_UNTIL(&w, w.flushed == 2);
	assert_int_equal(w.flush_error, -EIO);
	assert_int_equal(w.lost_calls, 1);
	assert_int_equal(w.lost_error, -EIO);
	CHECK_LOST(&w, 2, 3, 4);
	/* No second sync makes them true. */
	w.sync_error = 0;
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1);
	/* Writing them again does. */
	written(&w, 3);
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1, 3);
	world_done(&w);
}

static void test_a_write_that_a_failing_sync_crosses_is_void(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	resume_on_writing(w.resume, 2);
	resume_on_writing(w.resume, 3);
	resume_on_written(w.resume, 3, BLOCK_SIZE); /* came back in time */
	w.sync_error = -EIO;
	flush(&w);
	w.sync_error = 0;
	CHECK_LOST(&w, 1, 3);
	resume_on_written(w.resume, 2, BLOCK_SIZE);
	assert_int_equal(w.lost_calls, 1); /* not from within the call */
	RUN_UNTIL(&w, w.lost_calls == 2);
	CHECK_LOST(&w, 1, 2, 3);
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, -1);
	written(&w, 2);
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 2);
	world_done(&w);
}

static void test_a_durable_block_written_over_is_lost_with_its_sync(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	written(&w, 2);
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1, 2);
	w.sync_error = -EIO;
	written(&w, 2);
	flush(&w);
	CHECK_LOST(&w, 2);
	w.sync_error = 0;
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1);
	world_done(&w);
}

/* -- drops ------------------------------------------------------------------------------------------------ */

static void test_a_dropped_block_leaves_the_record(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	written(&w, 2);
	flush(&w);
	resume_drop(w.resume, 1);
	resume_drop(w.resume, 40); /* was never there */
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 2);
	world_done(&w);
}

static void test_a_drop_is_saved_by_itself(void **state)
{
	struct world w;
	struct bits durable;
	world_init(&w);
	bits_init(&durable, BLOCKS);
	bits_fill(&durable);
	begin(&w, &durable);
	bits_done(&durable);
	for (uint32_t i = 1; i < BLOCKS; i++)
		resume_drop(w.resume, i);
	/* The mark may have left with the first drop alone: the rest follows. */
	struct record r;
	for (;;) {
		event_base_loop(loop_base(w.loop), EVLOOP_ONCE);
		if (load(&w, &r) == RESUME_UNCLEAN && r.have.set == 1)
			break;
		record_done(&r);
	}
	assert_true(bits_get(&r.have, 0));
	record_done(&r);
	assert_int_equal(w.syncs, 0);
	world_done(&w);
}

static void test_a_block_dropped_before_its_sync_is_not_recorded(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	written(&w, 2);
	resume_drop(w.resume, 2);
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1);
	assert_int_equal(w.lost_calls, 0);
	world_done(&w);
}

static void test_a_block_dropped_during_its_sync_is_not_recorded(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	flush(&w);
	w.hold = true;
	written(&w, 2);
	written(&w, 3);
	resume_flush(w.resume, on_flushed, &w);
	sem_wait(&w.at_gate);
	resume_drop(w.resume, 2);
	w.hold = false;
	sem_post(&w.go);
	RUN_UNTIL(&w, w.flushed == 2);
	flush(&w); /* the record of that job had it; the next does not */
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1, 3);
	world_done(&w);
}

static void test_a_block_written_again_during_its_sync_can_still_be_dropped(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	flush(&w);
	w.hold = true;
	written(&w, 2);
	resume_flush(w.resume, on_flushed, &w);
	sem_wait(&w.at_gate);
	written(&w, 2);
	w.hold = false;
	sem_post(&w.go);
	RUN_UNTIL(&w, w.flushed == 2);
	resume_drop(w.resume, 2);
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1);
	world_done(&w);
}

/* -- records that cannot be saved -------------------------------------------------------------------------- */

static void test_a_record_not_saved_is_saved_later(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	written(&w, 1);
	flush(&w);
	w.save_error = -ENOSPC;
	written(&w, 2);
	flush(&w);
	assert_int_equal(w.flush_error, -ENOSPC);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1);
	assert_int_equal(w.lost_calls, 0); /* the data is well */
	w.save_error = 0;
	unsigned saves = w.saves;
	RUN_UNTIL(&w, w.saves > saves);
	flush(&w);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1, 2);
	world_done(&w);
}

/* -- the owner's ways ---------------------------------------------------------------------------------------- */

static void on_lost_write_again(void *arg, const struct bits *lost, int error)
{
	struct world *w = arg;
	w->lost_calls++;
	w->sync_error = 0;
	for (uint32_t i = 0; (i = bits_next_set(lost, i)) < lost->n; i++) {
		resume_drop(w->resume, i);
		written(w, i);
	}
	resume_flush(w->resume, on_flushed, w);
}

static void test_the_owner_may_write_again_from_within_lost(void **state)
{
	struct world w;
	struct bits none;
	world_init(&w);
	struct resume_callbacks cb = {.lost = on_lost_write_again, .arg = &w};
	bits_init(&none, BLOCKS);
	w.resume = resume_new(w.loop, w.pool, w.store, &w.f.layout, &none, &cb);
	bits_done(&none);
	w.sync_error = -EIO;
	written(&w, 1);
	written(&w, 2);
	resume_flush(w.resume, on_flushed, &w);
	RUN_UNTIL(&w, w.flushed == 2);
	assert_int_equal(w.lost_calls, 1);
	CHECK_RECORD(&w, RESUME_UNCLEAN, 1, 2);
	world_done(&w);
}

static void test_in_place_nothing_is_synced_or_saved(void **state)
{
	struct world w;
	world_init(&w);
	w.store->read_only = true;
	begin(&w, NULL);
	written(&w, 1);
	resume_drop(w.resume, 1);
	flush(&w);
	assert_int_equal(w.flush_error, 0);
	assert_int_equal(stop(&w), 0);
	assert_int_equal(w.syncs, 0);
	assert_int_equal(w.saves, 0);
	world_done(&w);
}

/* -- many threads -------------------------------------------------------------------------------------------- */

struct write_job {
	struct work work;
	struct world *w;
	uint32_t block;
	int error;
};

static unsigned jobs_left;

static void write_run(struct work *work)
{
	struct write_job *j = container_of(work, struct write_job, work);
	uint8_t data[BLOCK_SIZE];
	uint64_t at = (uint64_t)j->block * BLOCK_SIZE;
	fixture_fill(at, data, sizeof(data));
	j->error = j->w->store->ops->write(j->w->store, at, data, sizeof(data));
}

static void write_done(struct work *work)
{
	struct write_job *j = container_of(work, struct write_job, work);
	if (j->error == 0)
		resume_on_written(j->w->resume, j->block, RESUME_GROUP_BYTES / 3);
	jobs_left--;
	free(j);
}

/* Writes by workers, syncs that fail now and then: what is recorded was written, and no block is both
 * lost for good and recorded. */
static void test_workers_write_while_syncs_come_and_fail(void **state)
{
	struct world w;
	world_init(&w);
	begin(&w, NULL);
	for (unsigned round = 0; round < 30; round++) {
		w.sync_error = round % 5 == 4 ? -EIO : 0;
		for (uint32_t i = 0; i < BLOCKS; i++) {
			struct write_job *j = xcalloc(1, sizeof(*j));
			*j = (struct write_job) {.work = {.run = write_run, .done = write_done},
				.w = &w, .block = (i * 7 + round) % BLOCKS};
			resume_on_writing(w.resume, j->block);
			jobs_left++;
			work_post(w.pool, &j->work);
		}
		RUN_UNTIL(&w, jobs_left == 0);
		bits_reset(&w.lost);
		flush(&w);
		bits_reset(&w.lost);
	}
	w.sync_error = 0;
	flush(&w);
	struct record r;
	uint8_t data[BLOCK_SIZE];
	assert_int_equal(load(&w, &r), RESUME_UNCLEAN);
	for (uint32_t i = 0; (i = bits_next_set(&r.have, i)) < BLOCKS; i++) {
		assert_int_equal(w.store->ops->read(w.store, (uint64_t)i * BLOCK_SIZE, data,
					 sizeof(data), false), 0);
		assert_true(fixture_check(&w.f, (uint64_t)i * BLOCK_SIZE, data, sizeof(data)));
	}
	record_done(&r);
	assert_int_equal(stop(&w), 0);
	world_done(&w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_record_is_no_trust),
		cmocka_unit_test(test_a_bad_record_is_no_trust),
		cmocka_unit_test(test_what_is_flushed_is_recorded),
		cmocka_unit_test(test_a_sync_comes_by_itself),
		cmocka_unit_test(test_a_full_group_is_synced_at_once),
		cmocka_unit_test(test_a_group_a_byte_short_is_not_synced_at_once),
		cmocka_unit_test(test_nothing_is_saved_when_nothing_changed),
		cmocka_unit_test(test_what_is_written_while_a_sync_runs_waits_for_the_next),
		cmocka_unit_test(test_one_job_at_a_time),
		cmocka_unit_test(test_blobs_are_saved_with_the_bits),
		cmocka_unit_test(test_a_clean_stop_is_told),
		cmocka_unit_test(test_a_stop_amid_a_check_is_not_clean),
		cmocka_unit_test(test_the_next_run_takes_clean_off_the_disk_first),
		cmocka_unit_test(test_a_run_that_writes_nothing_leaves_clean_alone),
		cmocka_unit_test(test_a_touched_file_is_told),
		cmocka_unit_test(test_only_after_a_clean_stop_is_the_page_cache_believed),
		cmocka_unit_test(test_a_file_of_another_size_is_told_after_any_stop),
		cmocka_unit_test(test_a_stop_whose_sync_fails_claims_what_was_durable),
		cmocka_unit_test(test_a_stop_whose_save_fails_says_so),
		cmocka_unit_test(test_a_flush_not_served_is_answered_by_the_stop),
		cmocka_unit_test(test_a_failed_sync_voids_its_group_and_what_came_after),
		cmocka_unit_test(test_a_write_that_a_failing_sync_crosses_is_void),
		cmocka_unit_test(test_a_durable_block_written_over_is_lost_with_its_sync),
		cmocka_unit_test(test_a_dropped_block_leaves_the_record),
		cmocka_unit_test(test_a_drop_is_saved_by_itself),
		cmocka_unit_test(test_a_block_dropped_before_its_sync_is_not_recorded),
		cmocka_unit_test(test_a_block_dropped_during_its_sync_is_not_recorded),
		cmocka_unit_test(test_a_block_written_again_during_its_sync_can_still_be_dropped),
		cmocka_unit_test(test_a_record_not_saved_is_saved_later),
		cmocka_unit_test(test_the_owner_may_write_again_from_within_lost),
		cmocka_unit_test(test_in_place_nothing_is_synced_or_saved),
		cmocka_unit_test(test_workers_write_while_syncs_come_and_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
