/* SPDX-License-Identifier: MIT */
/* Several trackers as one, through Redis.
 *
 * Every tracker keeps the whole table in its own memory and answers from that; what changes is told
 * to the others on a channel, some milliseconds later, and written to Redis, one hash a torrent, for
 * those that start later.  So an answer never waits for Redis, and while Redis is away every tracker
 * serves on from what it knows; when it is back each reads what is there and adds what it knows.
 *
 * Limits: at most CLUSTER_QUEUE_MAX commands wait for Redis; what comes more is not told, and the
 * whole table is written again once it has caught up.
 *
 * The connections themselves are redis_link.h's.
 *
 * Thread: loop.
 */
#ifndef TRACKER_CLUSTER_H
#define TRACKER_CLUSTER_H

#include "tracker/lists.h"
#include "tracker/stats.h"
#include "tracker/table.h"

#define CLUSTER_QUEUE_MAX 20000u
#define CLUSTER_FLUSH_MS 20

struct loop;
struct cluster;
struct work_pool;

struct cluster_config {
	const char *url;         /* redis://HOST[:PORT][/DATABASE]; borrowed */
	const char *password;    /* NULL: none; borrowed */
	uint32_t life_max;       /* of a torrent's hash in Redis, seconds */
	struct lists *const *lists; /* where the lists in use are, for sites */
};

/* Takes the table's changes over.  -EINVAL: the URL, with *ret_why. */
int cluster_new(const struct cluster_config *config, struct loop *loop, struct work_pool *pool,
	struct table *table, struct cluster **ret, const char **ret_why);
/* No more work is posted: before the pool is freed. */
void cluster_stop(struct cluster *c);
void cluster_free(struct cluster *c);
void cluster_stats(const struct cluster *c, struct stats_cluster *ret);

#endif
