// SPDX-License-Identifier: MIT
/* Keeping the record: loading, groups, clean and unclean stops. */
#include "tests/unit/resume_fixture.h"

#include <sys/mman.h>

/* -- loading
 * ----------------------------------------------------------------------------------------- */

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

/* -- the run of things
 * --------------------------------------------------------------------------------- */

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

/* -- stops
 * ---------------------------------------------------------------------------------------------- */

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
	int fd = open(fixture_path(&w.f, "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1/content/image"),
		O_RDWR);
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
	void *map =
		mmap(NULL, BLOCK_SIZE, PROT_READ, MAP_SHARED, w->store->ops->fd(w->store, 0), 0);
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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
