// SPDX-License-Identifier: MIT
/* The loop: posted calls from other threads, their order, taking them back, stopping. */
#include "tests/unit/unit.h"

#include "base/loop.h"
#include "base/mem.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#define THREADS 4
#define POSTS 5000

static struct loop *loop;

static int setup(void **state)
{
	return loop_new(&loop);
}

static int teardown(void **state)
{
	loop_free(loop);
	loop = NULL;
	return 0;
}

static void stop(void *arg)
{
	loop_stop(loop);
}

static unsigned order[16], n_order;

static void note(void *arg)
{
	order[n_order++] = *(unsigned *)arg;
}

static unsigned numbers[] = {0, 1, 2, 3, 4, 5, 6, 7};

static void test_calls_run_in_order(void **state)
{
	n_order = 0;
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		loop_post(loop, note, &numbers[i]);
	assert_int_equal(n_order, 0); /* not before the loop runs */
	loop_stop(loop);
	loop_run(loop);
	assert_int_equal(n_order, ARRAY_SIZE(numbers));
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		assert_int_equal(order[i], i);
}

static void test_stop_before_run_is_not_lost(void **state)
{
	loop_stop(loop);
	loop_run(loop); /* hangs when it was */
	loop_post(loop, stop, NULL);
	loop_run(loop); /* and it runs again, to the next stop */
}

static void post_note(void *arg)
{
	loop_post(loop, note, &numbers[2]);
	loop_post(loop, stop, NULL);
	note(&numbers[0]);
}

static void test_a_call_may_post(void **state)
{
	n_order = 0;
	loop_post(loop, post_note, NULL);
	loop_post(loop, note, &numbers[1]);
	loop_run(loop);
	assert_int_equal(n_order, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(order[i], i);
}

static unsigned circles;

static void circle(void *arg)
{
	circles++;
	loop_post(loop, circle, NULL);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	loop_stop(loop);
}

static void test_posting_in_a_circle_does_not_starve_events(void **state)
{
	static const struct timeval soon = {.tv_usec = 1000};
	struct event *timer = evtimer_new(loop_base(loop), on_timer, NULL);

	circles = 0;
	loop_post(loop, circle, NULL);
	evtimer_add(timer, &soon);
	loop_run(loop); /* hangs when the timer never gets its turn */
	assert_true(circles > 0);
	event_free(timer);
}

/* -- from other threads ---------------------------------------------------------------------- */

struct poster {
	pthread_t thread;
	unsigned next_in, next_out; /* posted by the thread, seen by the loop */
	bool in_order;
};

struct message {
	struct poster *from;
	unsigned number;
};

static unsigned arrived;

static void on_message(void *arg)
{
	struct message *m = arg;

	m->from->in_order &= m->number == m->from->next_out++;
	free(m);
	if (++arrived == THREADS * POSTS)
		loop_stop(loop);
}

static void *post_many(void *arg)
{
	struct poster *p = arg;

	while (p->next_in < POSTS) {
		struct message *m = xcalloc(1, sizeof(*m));
		*m = (struct message) {.from = p, .number = p->next_in++};
		loop_post(loop, on_message, m);
	}
	return NULL;
}

static void test_posts_of_many_threads_all_arrive_in_order(void **state)
{
	struct poster posters[THREADS] = {0};

	arrived = 0;
	for (int i = 0; i < THREADS; i++) {
		posters[i].in_order = true;
		assert_int_equal(
			pthread_create(&posters[i].thread, NULL, post_many, &posters[i]), 0);
	}
	loop_run(loop);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(posters[i].thread, NULL);
		assert_int_equal(posters[i].next_out, POSTS);
		assert_true(posters[i].in_order);
	}
}

static void *stop_thread(void *arg)
{
	loop_stop(loop);
	return NULL;
}

static void test_another_thread_wakes_and_stops_it(void **state)
{
	for (int i = 0; i < 200; i++) {
		pthread_t thread;
		assert_int_equal(pthread_create(&thread, NULL, stop_thread, NULL), 0);
		loop_run(loop);
		pthread_join(thread, NULL);
	}
}

/* -- taking back ------------------------------------------------------------------------------- */

static void test_unpost_before_the_loop_runs(void **state)
{
	n_order = 0;
	loop_post(loop, note, &numbers[0]);
	loop_post(loop, note, &numbers[1]);
	loop_post(loop, note, &numbers[0]);
	loop_unpost(loop, note, &numbers[0]);
	loop_stop(loop);
	loop_run(loop);
	assert_int_equal(n_order, 1);
	assert_int_equal(order[0], 1);
}

static void unpost_one(void *arg)
{
	loop_unpost(loop, note, &numbers[1]);
}

static void test_unpost_within_the_same_turn(void **state)
{
	n_order = 0;
	loop_post(loop, unpost_one, NULL);
	loop_post(loop, note, &numbers[1]);
	loop_post(loop, note, &numbers[2]);
	loop_stop(loop);
	loop_run(loop);
	assert_int_equal(n_order, 1);
	assert_int_equal(order[0], 2);
}

static void test_free_drops_what_is_posted(void **state)
{
	struct loop *other;

	n_order = 0;
	assert_int_equal(loop_new(&other), 0);
	loop_post(other, note, &numbers[0]);
	loop_free(other);
	loop_free(NULL);
	assert_int_equal(n_order, 0);
}

static void test_clock_goes_forward(void **state)
{
	uint64_t last = clock_us();

	assert_true(last > 0);
	for (int i = 0; i < 1000; i++) {
		uint64_t now = clock_us();
		assert_true(now >= last);
		last = now;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_calls_run_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stop_before_run_is_not_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_call_may_post, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_posting_in_a_circle_does_not_starve_events, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_posts_of_many_threads_all_arrive_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_another_thread_wakes_and_stops_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpost_before_the_loop_runs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unpost_within_the_same_turn, setup, teardown),
		cmocka_unit_test(test_free_drops_what_is_posted),
		cmocka_unit_test(test_clock_goes_forward),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
