// SPDX-License-Identifier: MIT
/* Keeping the record when syncs and saves fail, when blocks are dropped, when many threads write.
 */
#include "tests/unit/resume_fixture.h"

/* -- failing syncs
 * --------------------------------------------------------------------------------------- */

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

/* -- drops
 * ------------------------------------------------------------------------------------------------
 */

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

/* -- records that cannot be saved
 * -------------------------------------------------------------------------- */

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

/* -- the owner's ways
 * ---------------------------------------------------------------------------------------- */

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

/* -- many threads
 * -------------------------------------------------------------------------------------------- */

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

/* Writes by workers, syncs that fail now and then: what is recorded was written, and no block is
 * both lost for good and recorded. */
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
				.w = &w,
				.block = (i * 7 + round) % BLOCKS};
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
					 sizeof(data), false),
			0);
		assert_true(fixture_check(&w.f, (uint64_t)i * BLOCK_SIZE, data, sizeof(data)));
	}
	record_done(&r);
	assert_int_equal(stop(&w), 0);
	world_done(&w);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
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
