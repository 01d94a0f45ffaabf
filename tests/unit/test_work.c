// SPDX-License-Identifier: MIT
/* The worker pool: jobs run on workers and are done on the loop, urgent ones first; freeing the
 * pool finishes what was posted.
 */
#include "tests/unit/unit.h"

#include "base/loop.h"
#include "base/mem.h"
#include "base/work.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#define JOBS 5000

static struct loop *loop;
static struct work_pool *pool;
static pthread_t loop_thread;

struct job {
	struct work work;
	unsigned number;
	bool ran, elsewhere; /* by run: on another thread than the loop's? */
};

static atomic_uint began;
static unsigned finished, expected;
static unsigned order[32];
static sem_t gate;

static int setup(void **state)
{
	loop_thread = pthread_self();
	finished = 0;
	began = 0;
	expected = UINT32_MAX;
	sem_init(&gate, 0, 0);
	return loop_new(&loop);
}

static int teardown(void **state)
{
	work_pool_free(pool);
	pool = NULL;
	loop_free(loop);
	sem_destroy(&gate);
	return 0;
}

static void run_job(struct work *w)
{
	struct job *job = container_of(w, struct job, work);
	unsigned i = began++;

	if (i < ARRAY_SIZE(order))
		order[i] = job->number;
	job->ran = true;
	job->elsewhere = !pthread_equal(pthread_self(), loop_thread);
}

static void done_job(struct work *w)
{
	struct job *job = container_of(w, struct job, work);

	assert_true(job->ran && job->elsewhere);
	assert_true(pthread_equal(pthread_self(), loop_thread));
	free(job);
	if (++finished == expected)
		loop_stop(loop);
}

static struct work *job_new(unsigned number)
{
	struct job *job = xcalloc(1, sizeof(*job));

	*job = (struct job) {.work = {.run = run_job, .done = done_job}, .number = number};
	return &job->work;
}

static void test_all_jobs_run_and_are_done_on_the_loop(void **state)
{
	assert_int_equal(work_pool_new(loop, 4, &pool), 0);
	expected = JOBS;
	for (unsigned i = 0; i < JOBS; i++)
		(i % 3 ? work_post : work_post_urgent)(pool, job_new(i));
	loop_run(loop);
	assert_int_equal(finished, JOBS);
	assert_int_equal(began, JOBS);
}

static void run_gate(struct work *w)
{
	while (sem_wait(&gate) < 0)
		assert_int_equal(errno, EINTR);
}

static void done_gate(struct work *w)
{
	free(w);
}

/* Keeps a worker busy until the gate is opened. */
static void post_gate(void)
{
	struct work *w = xcalloc(1, sizeof(*w));

	*w = (struct work) {.run = run_gate, .done = done_gate};
	work_post(pool, w);
}

static void test_urgent_jobs_go_first_and_each_class_in_order(void **state)
{
	static const unsigned want[] = {10, 11, 12, 0, 1, 2};

	assert_int_equal(work_pool_new(loop, 1, &pool), 0);
	post_gate();
	for (unsigned i = 0; i < 3; i++) {
		work_post(pool, job_new(i));
		work_post_urgent(pool, job_new(10 + i));
	}
	expected = 6;
	sem_post(&gate);
	loop_run(loop);
	/* The gate may still have waited in the queue, and been overtaken; it has no number. */
	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		assert_int_equal(order[i], want[i]);
}

static void test_freeing_the_pool_finishes_all(void **state)
{
	assert_int_equal(work_pool_new(loop, 2, &pool), 0);
	post_gate();
	for (unsigned i = 0; i < 100; i++)
		work_post(pool, job_new(i));
	sem_post(&gate);
	work_pool_free(pool); /* the loop never ran: each `done` is called here */
	pool = NULL;
	assert_int_equal(finished, 100);
	/* What the pool had posted to the loop is gone with it. */
	loop_stop(loop);
	loop_run(loop);
	assert_int_equal(finished, 100);
}

static void done_post_another(struct work *w)
{
	unsigned number = container_of(w, struct job, work)->number;

	done_job(w);
	if (number) {
		struct work *next = job_new(number - 1);
		next->done = done_post_another;
		work_post(pool, next);
	}
}

static void test_a_done_that_posts_is_finished_too(void **state)
{
	assert_int_equal(work_pool_new(loop, 2, &pool), 0);
	struct work *first = job_new(20);
	first->done = done_post_another;
	work_post(pool, first);
	work_pool_free(pool);
	pool = NULL;
	assert_int_equal(finished, 21);
}

static void free_pool(void *arg)
{
	work_pool_free(pool);
	pool = NULL;
	loop_stop(loop);
}

static void test_the_pool_may_go_on_the_running_loop(void **state)
{
	assert_int_equal(work_pool_new(loop, 2, &pool), 0);
	for (unsigned i = 0; i < 100; i++)
		work_post(pool, job_new(i));
	loop_post(loop, free_pool, NULL);
	loop_run(loop);
	assert_int_equal(finished, 100);
}

static void run_wait_for_another(struct work *w)
{
	/* Returns only when two of these run at once. */
	began++;
	while (began < 2)
		sched_yield();
}

static void test_jobs_run_at_once(void **state)
{
	assert_int_equal(work_pool_new(loop, 2, &pool), 0);
	for (int i = 0; i < 2; i++) {
		struct work *w = xcalloc(1, sizeof(*w));
		*w = (struct work) {.run = run_wait_for_another, .done = done_gate};
		work_post(pool, w);
	}
	work_pool_free(pool); /* hangs when there is one at a time */
	pool = NULL;
	assert_int_equal(began, 2);
}

static atomic_bool unblocked;

static void run_look_at_signals(struct work *w)
{
	sigset_t mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	unblocked = !sigismember(&mask, SIGTERM) || !sigismember(&mask, SIGHUP);
}

static void test_signals_are_not_for_workers(void **state)
{
	sigset_t before, after;

	pthread_sigmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(work_pool_new(loop, 1, &pool), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	assert_int_equal(sigismember(&before, SIGTERM), sigismember(&after, SIGTERM));
	unblocked = true;
	struct work *w = xcalloc(1, sizeof(*w));
	*w = (struct work) {.run = run_look_at_signals, .done = done_gate};
	work_post(pool, w);
	work_pool_free(pool);
	pool = NULL;
	assert_false(unblocked);
}

static void test_a_pool_without_threads_is_refused(void **state)
{
	struct work_pool *none = NULL;

	assert_int_equal(work_pool_new(loop, 0, &none), -EINVAL);
	assert_null(none);
	work_pool_free(NULL);
}

#define POOL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		POOL_TEST(test_all_jobs_run_and_are_done_on_the_loop),
		POOL_TEST(test_urgent_jobs_go_first_and_each_class_in_order),
		POOL_TEST(test_freeing_the_pool_finishes_all),
		POOL_TEST(test_a_done_that_posts_is_finished_too),
		POOL_TEST(test_the_pool_may_go_on_the_running_loop),
		POOL_TEST(test_jobs_run_at_once),
		POOL_TEST(test_signals_are_not_for_workers),
		POOL_TEST(test_a_pool_without_threads_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
