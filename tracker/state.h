/* SPDX-License-Identifier: MIT */
/* The tracker's memory on disk: peers and counts survive a restart.
 *
 * One row a torrent in DIR/tracker.sqlite (WAL), written behind: each second the torrents whose
 * members changed are packed on the loop, up to STATE_BATCH bytes at a time, and written by a
 * worker.  An announce never waits for it.  After kill -9 what is lost is what changed in the last
 * seconds; who merely came again has changed nothing.
 *
 * A file that is corrupt or not ours is renamed to tracker.sqlite.bad-TIME, with a warning.
 * A disk that is full costs the writing, which is tried again, and nothing else.
 *
 * Thread: loop.
 */
#ifndef TRACKER_STATE_H
#define TRACKER_STATE_H

#include "tracker/lists.h"
#include "tracker/stats.h"
#include "tracker/table.h"

#define STATE_BATCH (1u << 20)
#define STATE_RETRY_S 5u   /* after a write that failed */
#define STATE_GRACE_S 300u /* a peer read from disk is kept so long at least: it could not reach us */

struct loop;
struct state;
struct work_pool;

/* Opens and reads it into the table.  -EBUSY: another process has it; -errno. */
int state_open(const char *dir, struct loop *loop, struct work_pool *pool, struct table *table,
	const struct lists *lists, uint32_t now, struct state **ret);
/* Posts no more work: before the pool is freed. */
void state_stop(struct state *s);
/* Writes what is left and closes: after that. */
void state_close(struct state *s);
void state_stats(const struct state *s, struct stats_state *ret);

#endif
