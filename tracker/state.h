/* SPDX-License-Identifier: MIT */
/* The tracker's memory on disk: peers and counts survive a restart.
 *
 * DIR/tracker.sqlite (WAL) has a row a torrent that was downloaded, with its count, and the peers in
 * rows of PEERSET_ROW.  It is written behind: each second a round begins over what has changed, rows
 * packed on the loop, STATE_BATCH bytes at a time, and written by a worker.  So an announce never
 * waits for it, and a swarm of any size costs what changes of it.  After kill -9 what is lost is what
 * changed in the last seconds, and as many more peers of a swarm of several rows, since one who goes
 * leaves a place that another takes; who merely came again has changed nothing.
 *
 * Rows are places of the table, which a start fills anew.  So each start is a run with rows of its
 * own: the first round writes all of them, and then those of the runs before are deleted.
 *
 * A file that is corrupt or not ours is renamed to tracker.sqlite.bad-TIME, with a warning; one of
 * the version before this one is taken over.  A disk that is full costs the writing, which is tried
 * again, and nothing else.
 *
 * Thread: loop.
 */
#ifndef TRACKER_STATE_H
#define TRACKER_STATE_H

#include "tracker/lists.h"
#include "tracker/stats.h"
#include "tracker/table.h"

#define STATE_BATCH (1u << 20) /* packed in half a millisecond */
#define STATE_PIECES 4096u     /* the same for those that have no bytes */
#define STATE_RETRY_S 5u   /* after a write that failed */
#define STATE_GRACE_S 300u /* a peer read from disk is kept so long at least: it could not reach us */

struct loop;
struct state;
struct work_pool;

/* Opens and reads it into the table.  -EBUSY: another process has it; -errno; a warning says more. */
int state_open(const char *dir, struct loop *loop, struct work_pool *pool, struct table *table,
	const struct lists *lists, uint32_t now, struct state **ret);
/* Posts no more work: before the pool is freed. */
void state_stop(struct state *s);
/* Writes what is left and closes: after that. */
void state_close(struct state *s);
void state_stats(const struct state *s, struct stats_state *ret);

#endif
