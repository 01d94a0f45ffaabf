/* SPDX-License-Identifier: MIT */
/* A link to Redis that goes and comes back: one connection for commands, one that listens to a
 * channel (Redis allows nothing else on it).
 *
 *	AWAY       waiting to try again, longer each time, up to REDIS_RETRY_MAX_S
 *	RESOLVING  a worker looks the name up; of several addresses each try takes the next
 *	JOINING    connecting, subscribing, and writing a key: a Redis that takes none is no use
 *	UP
 *
 * It is AWAY when either connection ends, when Redis answers with an error (full, read-only,
 * loading, no access), or when nothing has come for REDIS_SILENCE_S; it is pinged at a third of
 * that.  The first time that it goes and that it is back are in the log, and no more.
 *
 * Thread: loop.
 */
#ifndef TRACKER_REDIS_LINK_H
#define TRACKER_REDIS_LINK_H

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REDIS_RETRY_MAX_S 10u
#define REDIS_SILENCE_S 15u

struct loop;
struct redis_link;
struct work_pool;

struct redis_link_config {
	const char *url;      /* redis://HOST[:PORT][/DATABASE]; borrowed */
	const char *password; /* NULL: none; borrowed */
	const char *channel;  /* with the database's number behind it: channels have none */
	void (*on_up)(void *arg);
	void (*on_down)(void *arg); /* commands under way have no answer */
	void (*on_message)(void *arg, const char *data, size_t len);
	void *arg;
};

/* Begins to connect.  -EINVAL: the URL, with *ret_why. */
int redis_link_new(const struct redis_link_config *config, struct loop *loop,
	struct work_pool *pool, struct redis_link **ret, const char **ret_why);
/* No more work is posted: before the pool is freed. */
void redis_link_stop(struct redis_link *l);
void redis_link_free(struct redis_link *l);

/* False when it cannot be sent: then fn is not called.  Else it is, once, and begins with
 * redis_link_reply. */
bool redis_link_command(struct redis_link *l, redisCallbackFn *fn, void *arg, int argc,
	const char **argv, const size_t *lens);
/* The reply that fn was called with, or NULL when the link has gone or this was an error (and so has
 * ended it).  *ret_arg is the config's. */
redisReply *redis_link_reply(redisAsyncContext *ac, void *reply, void **ret_arg);
/* A callback for commands of which nothing but success matters. */
void redis_link_done(redisAsyncContext *ac, void *reply, void *arg);
void redis_link_publish(struct redis_link *l, const void *data, size_t len);
/* Something came that no Redis says. */
void redis_link_fail(struct redis_link *l, const char *why);

/* Commands without an answer yet. */
unsigned redis_link_waiting(const struct redis_link *l);
uint64_t redis_link_outages(const struct redis_link *l);
/* HOST:PORT, for messages. */
const char *redis_link_name(const struct redis_link *l);

#endif
