/* SPDX-License-Identifier: MIT */
/* Several trackers as one: see cluster.h.
 *
 * Two connections: one commands, one listens to the channel (Redis allows nothing else on it).
 *
 *	AWAY       waiting to try again
 *	RESOLVING  a worker looks the name up
 *	JOINING    connecting, subscribing, then reading what is in Redis (SCAN, HGETALL)
 *	TELLING    writing what we know, some torrents at a time
 *	GOOD       changes only
 *
 * When either connection ends both are closed, and it is AWAY.  That one has stopped is told to all.
 * That one has expired is not: each tracker sees that by itself, and a tracker that missed an
 * announce must not make the others forget who made it.
 *
 * Thread: loop, but for resolve_run.
 */
#include "tracker/cluster.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/work.h"
#include "tracker/cluster_record.h"
#include "tracker/now.h"

#include <errno.h>
#include <event2/event.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <hiredis/adapters/libevent.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_PREFIX "p2pfs:swarm:"
#define KEY_LEN (sizeof(KEY_PREFIX) - 1 + 2 * HASH_LEN)
#define DOWNLOADED_KEY "p2pfs:downloaded"
#define CHANNEL "p2pfs:tracker" /* and the number of the database: channels have none */
#define SCAN_COUNT "200"
#define BATCH_RECORDS 1000u     /* of a message: 68 KiB */
#define TELL_SWARMS 50u         /* written in one go */

enum state { AWAY, RESOLVING, JOINING, TELLING, GOOD };

struct resolve {
	struct work work;
	struct cluster *cluster;
	char ip[ADDR_STRLEN];
	const char *error; /* static; NULL: resolved */
};

struct cluster {
	struct cluster_config config;
	struct loop *loop;
	struct work_pool *pool;
	struct table *table;
	char *host; /* owned */
	int port;
	unsigned database;
	char channel[32];
	uint8_t sender[CLUSTER_SENDER_LEN];
	enum state state;
	bool closing, stopped, said_away, tell_again;
	redisAsyncContext *command, *listen; /* hiredis frees them when they end */
	struct resolve resolve;
	struct event *flush, *retry;
	unsigned retry_s;
	uint64_t tell_cursor;
	unsigned reading;  /* replies that reading what is in Redis waits for */
	unsigned waiting;  /* commands without a reply yet */
	uint32_t heard_at; /* the last reply */
	struct buf batch;  /* records to publish */
	uint64_t sent, received, dropped, outages, malformed;
};

static void connect_to(struct cluster *c);
static void tell_some(struct cluster *c);

static uint32_t wall_s(void)
{
	return (uint32_t)time(NULL);
}

/* -- connections ------------------------------------------------------------------------------- */

static void go_away(struct cluster *c, const char *why)
{
	if (c->closing)
		return;
	c->closing = true; /* freeing calls back */
	if (c->command)
		redisAsyncFree(steal_ptr(&c->command));
	if (c->listen)
		redisAsyncFree(steal_ptr(&c->listen));
	c->closing = false;
	if (c->state != AWAY && !c->said_away && !c->stopped) {
		log_warn("Redis at %s:%d is away: %s: serving from memory", c->host, c->port, why);
		c->said_away = true;
		c->outages++;
	}
	c->state = AWAY;
	c->waiting = c->reading = 0;
	buf_clear(&c->batch);
	if (c->stopped)
		return;
	struct timeval delay = {c->retry_s, 0};
	c->retry_s = MIN(2 * c->retry_s, CLUSTER_RETRY_MAX_S);
	event_add(c->retry, &delay);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	connect_to(arg);
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	struct cluster *c = ac->data;
	if (status == REDIS_OK)
		return;
	/* hiredis frees this one itself. */
	CLEANUP_FREE char *why = xstrdup(ac->errstr);
	if (c->command == ac)
		c->command = NULL;
	if (c->listen == ac)
		c->listen = NULL;
	go_away(c, why);
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	struct cluster *c = ac->data;
	CLEANUP_FREE char *why = xstrdup(status == REDIS_OK ? "closed" : ac->errstr);
	if (c->command == ac)
		c->command = NULL;
	if (c->listen == ac)
		c->listen = NULL;
	go_away(c, why);
}

static redisAsyncContext *connect_one(struct cluster *c)
{
	redisAsyncContext *ac = redisAsyncConnect(c->resolve.ip, c->port);
	if (!ac || ac->err) {
		if (ac)
			redisAsyncFree(ac);
		return NULL;
	}
	ac->data = c;
	redisEnableKeepAlive(&ac->c);
	redisLibeventAttach(ac, loop_base(c->loop));
	redisAsyncSetConnectCallback(ac, on_connect);
	redisAsyncSetDisconnectCallback(ac, on_disconnect);
	return ac;
}

/* -- commands ---------------------------------------------------------------------------------- */

/* A reply to a command of which nothing but its success matters. */
static void on_done(redisAsyncContext *ac, void *reply, void *arg)
{
	struct cluster *c = ac->data;
	redisReply *r = reply;
	if (c->closing || c->command != ac)
		return;
	c->waiting -= c->waiting > 0;
	c->heard_at = now_s();
	/* An error here is the server's: full, read-only, loading, no access. */
	if (r && r->type == REDIS_REPLY_ERROR) {
		CLEANUP_FREE char *why = xstrdup(log_quote(r->str, (size_t)r->len));
		go_away(c, why);
	}
}

/* False when it cannot be sent: then fn is not called. */
static bool command(struct cluster *c, redisCallbackFn *fn, void *arg, int argc,
	const char **argv, const size_t *lens)
{
	if (!c->command ||
		redisAsyncCommandArgv(c->command, fn, arg, argc, argv, lens) != REDIS_OK)
		return false;
	if (!c->waiting++)
		c->heard_at = now_s();
	return true;
}

static void key_of(const uint8_t hash[HASH_LEN], char ret[KEY_LEN + 1])
{
	memcpy(ret, KEY_PREFIX, sizeof(KEY_PREFIX) - 1);
	hex_encode(hash, HASH_LEN, ret + sizeof(KEY_PREFIX) - 1);
}

static void put_peer(struct cluster *c, const struct cluster_record *r)
{
	char key[KEY_LEN + 1];
	uint8_t field[CLUSTER_FIELD_LEN], value[CLUSTER_VALUE_LEN];
	key_of(r->hash, key);
	cluster_pack_field(&r->peer.addr, field);
	cluster_pack_value(r, value);
	const char *argv[] = {"HSET", key, (char *)field, (char *)value};
	const size_t lens[] = {4, KEY_LEN, sizeof(field), sizeof(value)};
	command(c, on_done, NULL, 4, argv, lens);
}

static void expire_key(struct cluster *c, const uint8_t hash[HASH_LEN])
{
	char key[KEY_LEN + 1], seconds[16];
	key_of(hash, key);
	int n = snprintf(seconds, sizeof(seconds), "%u", c->config.life_max);
	const char *argv[] = {"EXPIRE", key, seconds};
	const size_t lens[] = {6, KEY_LEN, (size_t)n};
	command(c, on_done, NULL, 3, argv, lens);
}

static void del_peer(struct cluster *c, const uint8_t hash[HASH_LEN], const struct addr *a)
{
	char key[KEY_LEN + 1];
	uint8_t field[CLUSTER_FIELD_LEN];
	key_of(hash, key);
	cluster_pack_field(a, field);
	const char *argv[] = {"HDEL", key, (char *)field};
	const size_t lens[] = {4, KEY_LEN, sizeof(field)};
	command(c, on_done, NULL, 3, argv, lens);
}

/* -- telling ------------------------------------------------------------------------------------- */

static void publish(struct cluster *c)
{
	if (!c->batch.len || !c->command) {
		buf_clear(&c->batch);
		return;
	}
	const char *argv[] = {"PUBLISH", c->channel, (const char *)buf_bytes(&c->batch)};
	const size_t lens[] = {7, strlen(c->channel), c->batch.len};
	command(c, on_done, NULL, 3, argv, lens);
	buf_clear(&c->batch);
}

static void add_record(struct cluster *c, const struct cluster_record *r)
{
	if (!c->batch.len)
		buf_add(&c->batch, c->sender, CLUSTER_SENDER_LEN);
	cluster_pack_record(r, &c->batch);
	c->sent++;
	if (c->batch.len >= BATCH_RECORDS * CLUSTER_RECORD_LEN)
		publish(c);
}

/* The true count, after all trackers' increments. */
static void on_count(redisAsyncContext *ac, void *reply, void *arg)
{
	CLEANUP_FREE uint8_t *hash = arg;
	struct cluster *c = ac->data;
	redisReply *r = reply;
	on_done(ac, reply, NULL);
	if (!r || c->command != ac || r->type != REDIS_REPLY_INTEGER || r->integer < 0 ||
		r->integer > UINT32_MAX)
		return;
	struct cluster_record record = {.op = CLUSTER_DOWNLOADED, .seen = (uint32_t)r->integer};
	memcpy(record.hash, hash, HASH_LEN);
	table_merge_downloaded(c->table, hash, record.seen, now_s());
	add_record(c, &record);
}

static void count_download(struct cluster *c, const uint8_t hash[HASH_LEN])
{
	const char *argv[] = {"HINCRBY", DOWNLOADED_KEY, (const char *)hash, "1"};
	const size_t lens[] = {7, sizeof(DOWNLOADED_KEY) - 1, HASH_LEN, 1};
	uint8_t *arg = xmemdup(hash, HASH_LEN);
	if (!command(c, on_count, arg, 4, argv, lens))
		free(arg);
}

static void on_change(void *arg, enum table_change change, const uint8_t hash[HASH_LEN],
	const struct table_peer *peer)
{
	struct cluster *c = arg;
	if (c->state < TELLING)
		return; /* all of it is told then */
	if (c->waiting >= CLUSTER_QUEUE_MAX) {
		c->dropped++;
		c->tell_again = true;
		return;
	}
	struct cluster_record r = {.op = CLUSTER_PEER, .peer = *peer, .seen = wall_s()};
	memcpy(r.hash, hash, HASH_LEN);
	if (change == CHANGE_STOPPED || change == CHANGE_EXPIRED) {
		del_peer(c, hash, &peer->addr);
		r.op = CLUSTER_STOPPED;
		if (change == CHANGE_STOPPED)
			add_record(c, &r);
		return;
	}
	put_peer(c, &r);
	expire_key(c, hash);
	if (change == CHANGE_COMPLETED)
		count_download(c, hash);
	add_record(c, &r);
}

/* What was counted while Redis was away, unless others have counted more. */
static const char raise_count[] =
	"if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < tonumber(ARGV[2]) then "
	"redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end return 0";

static void tell_swarm(struct cluster *c, const struct swarm *w)
{
	uint32_t now = now_s(), wall = wall_s();
	for (int f = V4; f <= V6; f++) {
		for (int k = LEECHERS; k <= SEEDS; k++) {
			const struct peerset *s = &w->sets[f][k];
			for (uint32_t i = 0; i < s->n; i++) {
				struct cluster_record r = {.op = CLUSTER_PEER, .seen = wall};
				memcpy(r.hash, w->hash, HASH_LEN);
				table_peer_at(s, i, k == SEEDS, &r.peer);
				if (r.peer.meta.expires <= now)
					continue;
				r.peer.meta.life = (uint16_t)(r.peer.meta.expires - now);
				put_peer(c, &r);
				add_record(c, &r);
			}
		}
	}
	if (swarm_size(w))
		expire_key(c, w->hash);
	if (w->downloaded) {
		char count[16];
		int n = snprintf(count, sizeof(count), "%u", w->downloaded);
		const char *argv[] = {"EVAL", raise_count, "1", DOWNLOADED_KEY,
			(const char *)w->hash, count};
		const size_t lens[] = {4, sizeof(raise_count) - 1, 1, sizeof(DOWNLOADED_KEY) - 1,
			HASH_LEN, (size_t)n};
		command(c, on_done, NULL, 6, argv, lens);
	}
}

static void tell_some(struct cluster *c)
{
	const struct swarm *w = NULL;
	for (unsigned i = 0; i < TELL_SWARMS && c->waiting < CLUSTER_QUEUE_MAX / 2; i++) {
		w = table_walk(c->table, &c->tell_cursor);
		if (!w) {
			c->state = GOOD;
			return;
		}
		tell_swarm(c, w);
	}
}

/* A host that lost its power never closes its connections. */
static void look_alive(struct cluster *c)
{
	static const char *argv[] = {"PING"};
	static const size_t lens[] = {4};
	uint32_t silent = now_s() - c->heard_at;
	if (c->state < JOINING)
		return;
	if (silent >= CLUSTER_SILENCE_S)
		go_away(c, c->state == JOINING ? "cannot be reached" : "it is silent");
	else if (!c->waiting && c->state == GOOD && silent >= CLUSTER_SILENCE_S / 3)
		command(c, on_done, NULL, 1, argv, lens);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct cluster *c = arg;
	look_alive(c);
	if (c->state == GOOD && c->tell_again && c->waiting < CLUSTER_QUEUE_MAX / 4) {
		c->tell_again = false;
		c->tell_cursor = 0;
		c->state = TELLING;
	}
	if (c->state == TELLING)
		tell_some(c);
	publish(c);
}

/* -- hearing ------------------------------------------------------------------------------------- */

static void apply(struct cluster *c, struct cluster_record *r)
{
	uint32_t now = now_s();
	switch (r->op) {
	case CLUSTER_DOWNLOADED:
		table_merge_downloaded(c->table, r->hash, r->seen, now);
		return;
	case CLUSTER_STOPPED:
		table_forget(c->table, r->hash, &r->peer.addr, now);
		return;
	default:
		if (!r->peer.addr.port || !cluster_age(r, wall_s()))
			return;
		r->peer.site = lists_site(*c->config.lists, &r->peer.addr);
		table_merge(c->table, r->hash, &r->peer, now);
	}
}

static void malformed(struct cluster *c)
{
	if (!c->malformed++)
		log_warn("Redis at %s:%d holds what no tracker of this version wrote: ignored",
			c->host, c->port);
}

static void hear(struct cluster *c, const char *data, size_t len)
{
	struct cursor cursor = cursor_on(data, len);
	const uint8_t *sender = cursor_take(&cursor, CLUSTER_SENDER_LEN);
	struct cluster_record r;
	int more;
	if (!sender) {
		malformed(c);
		return;
	}
	if (!memcmp(sender, c->sender, CLUSTER_SENDER_LEN))
		return;
	while ((more = cluster_next(&cursor, &r)) > 0) {
		c->received++;
		apply(c, &r);
	}
	if (more < 0)
		malformed(c);
}

static bool is_string(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS;
}

/* One reply of those that reading waits for is in; after the last we tell what we know. */
static void read_one(struct cluster *c)
{
	if (--c->reading || c->state != JOINING)
		return;
	c->state = TELLING;
	c->tell_cursor = 0;
	c->tell_again = false;
	c->retry_s = 1;
	if (c->said_away)
		log_info("Redis at %s:%d is back", c->host, c->port);
	c->said_away = false;
	tell_some(c);
}

static void on_downloads(redisAsyncContext *ac, void *reply, void *arg)
{
	struct cluster *c = ac->data;
	redisReply *r = reply;
	on_done(ac, reply, NULL);
	if (!r || c->command != ac)
		return;
	for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2) {
		const redisReply *field = r->element[i], *value = r->element[i + 1];
		uint64_t count;
		if (!is_string(field) || !is_string(value) || field->len != HASH_LEN ||
			parse_number(value->str, 0, UINT32_MAX, &count) < 0)
			malformed(c);
		else
			table_merge_downloaded(c->table, (const uint8_t *)field->str, (uint32_t)count,
				now_s());
	}
	read_one(c);
}

static void on_swarm(redisAsyncContext *ac, void *reply, void *arg)
{
	CLEANUP_FREE uint8_t *hash = arg;
	struct cluster *c = ac->data;
	redisReply *r = reply;
	on_done(ac, reply, NULL);
	if (!r || c->command != ac)
		return;
	for (size_t i = 0; r->type == REDIS_REPLY_ARRAY && i + 1 < r->elements; i += 2) {
		const redisReply *field = r->element[i], *value = r->element[i + 1];
		struct cluster_record record = {.op = CLUSTER_PEER};
		memcpy(record.hash, hash, HASH_LEN);
		if (!is_string(field) || !is_string(value) ||
			cluster_unpack(field->str, (size_t)field->len, value->str,
				(size_t)value->len, &record) < 0) {
			malformed(c);
			continue;
		}
		c->received++;
		apply(c, &record);
	}
	read_one(c);
}

static void on_scan(redisAsyncContext *ac, void *reply, void *arg);

static void scan_from(struct cluster *c, const char *cursor)
{
	const char *argv[] = {"SCAN", cursor, "MATCH", KEY_PREFIX "*", "COUNT", SCAN_COUNT};
	size_t lens[6];
	for (size_t i = 0; i < 6; i++)
		lens[i] = strlen(argv[i]);
	c->reading++;
	command(c, on_scan, NULL, 6, argv, lens);
}

static void on_scan(redisAsyncContext *ac, void *reply, void *arg)
{
	struct cluster *c = ac->data;
	redisReply *r = reply;
	on_done(ac, reply, NULL);
	if (!r || c->command != ac)
		return;
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || !is_string(r->element[0]) ||
		r->element[1]->type != REDIS_REPLY_ARRAY) {
		go_away(c, "its answer to SCAN is none");
		return;
	}
	const redisReply *keys = r->element[1];
	for (size_t i = 0; i < keys->elements; i++) {
		const redisReply *key = keys->element[i];
		uint8_t hash[HASH_LEN];
		if (!is_string(key) || key->len != KEY_LEN ||
			hex_decode(key->str + sizeof(KEY_PREFIX) - 1, hash, HASH_LEN) < 0) {
			malformed(c);
			continue;
		}
		const char *argv[] = {"HGETALL", key->str};
		const size_t lens[] = {7, (size_t)key->len};
		uint8_t *arg_hash = xmemdup(hash, HASH_LEN);
		if (command(c, on_swarm, arg_hash, 2, argv, lens))
			c->reading++;
		else
			free(arg_hash);
	}
	if (strcmp(r->element[0]->str, "0") != 0)
		scan_from(c, r->element[0]->str);
	read_one(c);
}

/* Subscribed: nothing is missed from here on, so what is there can be read. */
static void begin_reading(struct cluster *c)
{
	const char *argv[] = {"HGETALL", DOWNLOADED_KEY};
	const size_t lens[] = {7, sizeof(DOWNLOADED_KEY) - 1};
	c->reading = 1;
	command(c, on_downloads, NULL, 2, argv, lens);
	scan_from(c, "0");
}

static void on_channel(redisAsyncContext *ac, void *reply, void *arg)
{
	struct cluster *c = ac->data;
	redisReply *r = reply;
	if (!r || c->closing || c->listen != ac)
		return;
	if (r->type == REDIS_REPLY_ERROR) {
		CLEANUP_FREE char *why = xstrdup(log_quote(r->str, (size_t)r->len));
		go_away(c, why);
		return;
	}
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 3 || !is_string(r->element[0]))
		return;
	if (!strcmp(r->element[0]->str, "subscribe") && c->state == JOINING)
		begin_reading(c);
	else if (!strcmp(r->element[0]->str, "message") && is_string(r->element[2]))
		hear(c, r->element[2]->str, (size_t)r->element[2]->len);
}

/* -- joining ------------------------------------------------------------------------------------- */

static void on_auth(redisAsyncContext *ac, void *reply, void *arg)
{
	struct cluster *c = ac->data;
	redisReply *r = reply;
	if (!r || c->closing || (c->command != ac && c->listen != ac))
		return;
	if (r->type == REDIS_REPLY_ERROR) {
		CLEANUP_FREE char *why = xstrdup(log_quote(r->str, (size_t)r->len));
		go_away(c, why);
	}
}

static void join(struct cluster *c)
{
	c->state = JOINING;
	c->heard_at = now_s();
	c->command = connect_one(c);
	c->listen = c->command ? connect_one(c) : NULL;
	if (!c->listen) {
		go_away(c, strerror(errno));
		return;
	}
	redisAsyncContext *both[] = {c->command, c->listen};
	for (size_t i = 0; i < 2 && c->config.password; i++)
		redisAsyncCommand(both[i], on_auth, NULL, "AUTH %s", c->config.password);
	redisAsyncCommand(c->command, on_auth, NULL, "SELECT %d", (int)c->database);
	redisAsyncCommand(c->listen, on_channel, NULL, "SUBSCRIBE %s", c->channel);
}

static void resolve_run(struct work *w)
{
	struct resolve *r = container_of(w, struct resolve, work);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	int err = getaddrinfo(r->cluster->host, NULL, &hints, &found);
	r->error = err ? gai_strerror(err) : NULL;
	if (err)
		return;
	struct addr a;
	addr_from_sockaddr(found->ai_addr, &a);
	addr_format_ip(&a, r->ip);
	freeaddrinfo(found);
}

static void resolve_done(struct work *w)
{
	struct resolve *r = container_of(w, struct resolve, work);
	struct cluster *c = r->cluster;
	if (c->stopped)
		return;
	if (r->error)
		go_away(c, r->error);
	else
		join(c);
}

static void connect_to(struct cluster *c)
{
	c->state = RESOLVING;
	work_post(c->pool, &c->resolve.work);
}

/* -- the whole --------------------------------------------------------------------------------- */

/* redis://HOST[:PORT][/DATABASE] */
static int parse_url(struct cluster *c, const char *url, const char **ret_why)
{
	static const char scheme[] = "redis://";
	if (strncmp(url, scheme, sizeof(scheme) - 1) != 0) {
		*ret_why = "not redis://HOST[:PORT][/DATABASE]";
		return -EINVAL;
	}
	url += sizeof(scheme) - 1;
	if (strchr(url, '@')) {
		*ret_why = "a password in it could be seen by everybody (ps): use --cluster-secret";
		return -EINVAL;
	}
	CLEANUP_FREE char *rest = xstrdup(url);
	char *slash = strchr(rest, '/');
	uint64_t n = 0;
	if (slash)
		*slash++ = '\0';
	if (slash && *slash && parse_number(slash, 0, 65535, &n) < 0) {
		*ret_why = "the database is no number";
		return -EINVAL;
	}
	c->database = (unsigned)n;
	char *host = rest, *end = rest[0] == '[' ? strchr(rest, ']') : NULL;
	char *colon = strchr(end ? end : rest, ':');
	n = 6379;
	if (colon)
		*colon++ = '\0';
	if (end) {
		*end = '\0';
		host++;
	}
	if (!*host || (colon && parse_number(colon, 1, 65535, &n) < 0)) {
		*ret_why = "not redis://HOST[:PORT][/DATABASE]";
		return -EINVAL;
	}
	c->port = (int)n;
	c->host = xstrdup(host);
	return 0;
}

int cluster_new(const struct cluster_config *config, struct loop *loop, struct work_pool *pool,
	struct table *table, struct cluster **ret, const char **ret_why)
{
	struct cluster *c = xcalloc(1, sizeof(*c));
	c->config = *config;
	c->loop = loop;
	c->pool = pool;
	c->table = table;
	c->retry_s = 1;
	int err = parse_url(c, config->url, ret_why);
	if (err < 0) {
		cluster_free(c);
		return err;
	}
	snprintf(c->channel, sizeof(c->channel), CHANNEL ":%u", c->database);
	random_bytes(c->sender, sizeof(c->sender));
	c->resolve.cluster = c;
	c->resolve.work.run = resolve_run;
	c->resolve.work.done = resolve_done;
	struct timeval period = {0, CLUSTER_FLUSH_MS * 1000};
	c->flush = event_new(loop_base(loop), -1, EV_PERSIST, on_flush, c);
	c->retry = event_new(loop_base(loop), -1, 0, on_retry, c);
	event_add(c->flush, &period);
	table_on_change(table, on_change, c);
	connect_to(c);
	*ret = c;
	return 0;
}

void cluster_stop(struct cluster *c)
{
	if (!c)
		return;
	c->stopped = true;
	table_on_change(c->table, NULL, NULL);
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	c->stopped = true;
	go_away(c, "the end");
	if (c->flush)
		event_free(c->flush);
	if (c->retry)
		event_free(c->retry);
	buf_done(&c->batch);
	free(c->host);
	free(c);
}

void cluster_stats(const struct cluster *c, struct stats_cluster *ret)
{
	*ret = (struct stats_cluster) {
		.part = c->state >= TELLING ? PART_GOOD : PART_BAD,
		.sent = c->sent,
		.received = c->received,
		.dropped = c->dropped,
		.outages = c->outages,
	};
}
