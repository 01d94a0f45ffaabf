/* SPDX-License-Identifier: MIT */
/* The event loop: one thread that owns all state of an engine or a tracker.
 *
 * libevent does the work; modules make their events on loop_base.  Other threads reach the loop
 * with loop_post only: functions run on the loop's thread, in the order in which they were posted.
 *
 * Time is monotonic, in microseconds, and handed to pure code as an argument.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdint.h>

struct event_base;
struct loop;

/* Microseconds. */
#define US_PER_MS 1000ull
#define US_PER_S 1000000ull

/* Thread: any. */
uint64_t clock_us(void);

/* -errno when the system has no descriptors or memory left. */
int loop_new(struct loop **ret);
void loop_free(struct loop *loop); /* functions posted and not yet run are dropped */
struct event_base *loop_base(struct loop *loop);
/* Runs events until loop_stop.  The thread that calls it is the loop's. */
void loop_run(struct loop *loop);
/* Takes back all calls of `fn` with `arg` that were posted and have not begun. */
void loop_unpost(struct loop *loop, void (*fn)(void *arg), void *arg);

/* Thread: any. */
void loop_stop(struct loop *loop);
void loop_post(struct loop *loop, void (*fn)(void *arg), void *arg);

#endif
