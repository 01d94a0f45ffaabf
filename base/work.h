/* SPDX-License-Identifier: MIT */
/* Workers: a small pool of threads for what blocks or burns (hashing, pwrite, fdatasync).
 *
 * A job is embedded in its owner's struct.  `run` is called on a worker, then `done` on the loop;
 * between work_post and `done` the job belongs to the pool.  Urgent jobs (a read waits for them) go
 * before all others; within a class jobs begin in order.
 *
 * Thread: the loop, but for work.run.
 */
#ifndef BASE_WORK_H
#define BASE_WORK_H

#include <stdbool.h>

struct loop;
struct work_pool;

struct work {
	void (*run)(struct work *w); /* on a worker */
	void (*done)(struct work *w); /* on the loop; may free w */
	struct work *next; /* the pool's */
};

int work_pool_new(struct loop *loop, unsigned threads, struct work_pool **ret); /* -errno */
/* Runs all that was posted to its end, calls each `done` on the calling thread, then frees.  Not
 * from within a `done`. */
void work_pool_free(struct work_pool *pool);
void work_post(struct work_pool *pool, struct work *w);
void work_post_urgent(struct work_pool *pool, struct work *w);

#endif
