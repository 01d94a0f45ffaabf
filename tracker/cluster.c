/* SPDX-License-Identifier: MIT */
/* Several trackers as one: see cluster.h.
 *
 *	AWAY     the link to Redis is not up
 *	READING  what is in Redis: SCAN for the torrents, HSCAN for each one's peers, some at a time
 *	TELLING  writing what we know, some peers at a time
 *	GOOD     nothing but changes, which are told from READING on
 *
 * That one has stopped is told to all.  That one has expired is not: each tracker sees that by
 * itself, and a tracker that missed an announce must not make the others forget who made it.
 *
 * Nothing is done for a whole torrent, or for all of them, in one go: they may be large, and the
 * loop has announces to answer.
 *
 * Thread: loop.
 */
#include "tracker/cluster.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "tracker/cluster_record.h"
#include "tracker/now.h"
#include "tracker/redis_link.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEY_PREFIX "p2pfs:swarm:"
#define KEY_LEN (sizeof(KEY_PREFIX) - 1 + 2 * HASH_LEN)
#define DOWNLOADED_KEY "p2pfs:downloaded"
#define CHANNEL "p2pfs:tracker"
#define SCAN_COUNT "200"    /* torrents of an answer */
#define HSCAN_COUNT "1000"  /* peers of an answer, about */
#define CURSOR_MAX 20u      /* digits of 64 bits */
#define BATCH_RECORDS 1000u /* of a message: 68 KiB */
#define TELL_PEERS 2000u    /* written in one go: a millisecond */
#define TELL_FIELDS 100u    /* of one command */
#define TELL_SWARM_COST 10u /* what a torrent costs beside its peers, in peers */

enum state { AWAY, READING, TELLING, GOOD };

struct cluster {
	struct cluster_config config;
	struct table *table;
	struct redis_link *link; /* owned */
	uint8_t sender[CLUSTER_SENDER_LEN];
	enum state state;
	bool tell_again;
	bool empty_handed; /* came up knowing nobody: all it knows is from Redis, or told as it came */
	struct event *flush;
	unsigned reading; /* replies that reading what is in Redis waits for */
	char scan_cursor[CURSOR_MAX + 1]; /* where SCAN goes on; empty: it is through */
	uint64_t tell_cursor; /* of the table */
	bool tell_midst;      /* in the midst of a torrent: */
	uint8_t tell_hash[HASH_LEN];
	uint32_t tell_set, tell_at;
	struct buf batch; /* records to publish */
	uint64_t sent, received, dropped, malformed;
};

static uint32_t wall_s(void)
{
	return (uint32_t)time(NULL);
}

/* -- commands ---------------------------------------------------------------------------------- */

static void key_of(const uint8_t hash[HASH_LEN], char ret[KEY_LEN + 1])
{
	memcpy(ret, KEY_PREFIX, sizeof(KEY_PREFIX) - 1);
	hex_encode(hash, HASH_LEN, ret + sizeof(KEY_PREFIX) - 1);
}

/* Peers of one torrent, put with one command. */
struct put {
	uint8_t fields[TELL_FIELDS][CLUSTER_FIELD_LEN], values[TELL_FIELDS][CLUSTER_VALUE_LEN];
	unsigned n;
};

static void put_add(struct put *p, const struct cluster_record *r)
{
	cluster_pack_field(&r->peer.addr, p->fields[p->n]);
	cluster_pack_value(r, p->values[p->n]);
	p->n++;
}

static void put_send(struct cluster *c, const uint8_t hash[HASH_LEN], struct put *p)
{
	char key[KEY_LEN + 1], seconds[16];
	const char *argv[2 + 2 * TELL_FIELDS] = {"HSET", key};
	size_t lens[2 + 2 * TELL_FIELDS] = {4, KEY_LEN};
	if (!p->n)
		return;
	key_of(hash, key);
	for (unsigned i = 0; i < p->n; i++) {
		argv[2 + 2 * i] = (const char *)p->fields[i];
		lens[2 + 2 * i] = CLUSTER_FIELD_LEN;
		argv[3 + 2 * i] = (const char *)p->values[i];
		lens[3 + 2 * i] = CLUSTER_VALUE_LEN;
	}
	redis_link_command(c->link, redis_link_done, NULL, (int)(2 + 2 * p->n), argv, lens);
	p->n = 0;
	/* What nobody puts peers into any more goes by itself. */
	int n = snprintf(seconds, sizeof(seconds), "%u", c->config.life_max);
	const char *expire[] = {"EXPIRE", key, seconds};
	const size_t expire_lens[] = {6, KEY_LEN, (size_t)n};
	redis_link_command(c->link, redis_link_done, NULL, 3, expire, expire_lens);
}

static void del_peer(struct cluster *c, const uint8_t hash[HASH_LEN], const struct addr *a)
{
	char key[KEY_LEN + 1];
	uint8_t field[CLUSTER_FIELD_LEN];
	key_of(hash, key);
	cluster_pack_field(a, field);
	const char *argv[] = {"HDEL", key, (char *)field};
	const size_t lens[] = {4, KEY_LEN, sizeof(field)};
	redis_link_command(c->link, redis_link_done, NULL, 3, argv, lens);
}

/* -- telling ------------------------------------------------------------------------------------- */

static void publish(struct cluster *c)
{
	if (c->batch.len)
		redis_link_publish(c->link, buf_bytes(&c->batch), c->batch.len);
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
	void *cluster;
	redisReply *r = redis_link_reply(ac, reply, &cluster);
	struct cluster *c = cluster;
	if (!r || r->type != REDIS_REPLY_INTEGER || r->integer < 0 || r->integer > UINT32_MAX)
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
	if (!redis_link_command(c->link, on_count, arg, 4, argv, lens))
		free(arg);
}

static void on_change(void *arg, enum table_change change, const uint8_t hash[HASH_LEN],
	const struct table_peer *peer)
{
	struct cluster *c = arg;
	if (c->state < READING)
		return; /* all of it is told then */
	if (redis_link_waiting(c->link) >= CLUSTER_QUEUE_MAX) {
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
	struct put put = {.n = 0};
	put_add(&put, &r);
	put_send(c, hash, &put);
	if (change == CHANGE_COMPLETED)
		count_download(c, hash);
	add_record(c, &r);
}

/* What was counted while Redis was away, unless others have counted more. */
static const char raise_count[] =
	"if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < tonumber(ARGV[2]) then "
	"redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end return 0";

static void tell_count(struct cluster *c, const struct swarm *w)
{
	char count[16];
	int n = snprintf(count, sizeof(count), "%u", w->downloaded);
	const char *argv[] = {"EVAL", raise_count, "1", DOWNLOADED_KEY, (const char *)w->hash, count};
	const size_t lens[] = {4, sizeof(raise_count) - 1, 1, sizeof(DOWNLOADED_KEY) - 1, HASH_LEN,
		(size_t)n};
	redis_link_command(c->link, redis_link_done, NULL, 6, argv, lens);
}

/* Goes on with a torrent, for `budget` peers at most; how many it were.  Its peers may change places
 * between two goes: one that is missed so is told with its next announce. */
static unsigned tell_swarm(struct cluster *c, const struct swarm *w, unsigned budget)
{
	uint32_t now = now_s(), wall = wall_s();
	struct put put = {.n = 0};
	unsigned told = 0;
	while (c->tell_set < 4 && told < budget) {
		enum kind kind = c->tell_set % 2;
		const struct peerset *s = &w->sets[c->tell_set / 2][kind];
		if (c->tell_at >= s->n) {
			c->tell_set++;
			c->tell_at = 0;
			continue;
		}
		struct cluster_record r = {.op = CLUSTER_PEER, .seen = wall};
		memcpy(r.hash, w->hash, HASH_LEN);
		table_peer_at(s, c->tell_at++, kind == SEEDS, &r.peer);
		told++;
		if (r.peer.meta.expires <= now)
			continue;
		r.peer.meta.life = (uint16_t)(r.peer.meta.expires - now);
		put_add(&put, &r);
		add_record(c, &r);
		if (put.n == TELL_FIELDS)
			put_send(c, w->hash, &put);
	}
	put_send(c, w->hash, &put);
	c->tell_midst = c->tell_set < 4;
	if (!c->tell_midst && w->downloaded)
		tell_count(c, w);
	return told;
}

static void tell_some(struct cluster *c)
{
	unsigned told = 0;
	while (told < TELL_PEERS && redis_link_waiting(c->link) < CLUSTER_QUEUE_MAX / 2) {
		const struct swarm *w;
		if (c->tell_midst) {
			w = table_find(c->table, c->tell_hash);
		} else {
			w = table_walk(c->table, &c->tell_cursor);
			if (!w) {
				c->state = GOOD;
				return;
			}
			memcpy(c->tell_hash, w->hash, HASH_LEN);
			c->tell_set = c->tell_at = 0;
			told += TELL_SWARM_COST;
		}
		if (w)
			told += tell_swarm(c, w, TELL_PEERS - MIN(told, TELL_PEERS));
		else
			c->tell_midst = false;
	}
}

static void begin_telling(struct cluster *c)
{
	c->state = TELLING;
	c->tell_again = c->tell_midst = false;
	c->tell_cursor = 0;
	tell_some(c);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct cluster *c = arg;
	if (c->state == GOOD && c->tell_again &&
		redis_link_waiting(c->link) < CLUSTER_QUEUE_MAX / 4)
		begin_telling(c);
	else if (c->state == TELLING)
		tell_some(c);
	publish(c);
}

/* -- hearing ------------------------------------------------------------------------------------- */

/* False for a peer whose time has passed. */
static bool apply(struct cluster *c, struct cluster_record *r)
{
	uint32_t now = now_s();
	switch (r->op) {
	case CLUSTER_DOWNLOADED:
		table_merge_downloaded(c->table, r->hash, r->seen, now);
		return true;
	case CLUSTER_STOPPED:
		table_forget(c->table, r->hash, &r->peer.addr, now);
		return true;
	default:
		if (!r->peer.addr.port || !cluster_age(r, wall_s()))
			return false;
		r->peer.site = lists_site(*c->config.lists, &r->peer.addr);
		table_merge(c->table, r->hash, &r->peer, now);
		return true;
	}
}

static void malformed(struct cluster *c)
{
	if (!c->malformed++)
		log_warn("Redis at %s holds what no tracker of this version wrote: ignored",
			redis_link_name(c->link));
}

static void on_message(void *arg, const char *data, size_t len)
{
	struct cluster *c = arg;
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

/* -- reading ------------------------------------------------------------------------------------- */

static bool is_string(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS;
}

/* An answer of SCAN or HSCAN: where it goes on ("0": nowhere), and an array.  NULL, which ends the
 * link, for anything else. */
static const redisReply *scan_reply(struct cluster *c, const redisReply *r, const char **ret_cursor)
{
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 2 || !is_string(r->element[0]) ||
		strlen(r->element[0]->str) > CURSOR_MAX || r->element[1]->type != REDIS_REPLY_ARRAY) {
		redis_link_fail(c->link, "its answer to SCAN is none");
		return NULL;
	}
	*ret_cursor = r->element[0]->str;
	return r->element[1];
}

static void scan_on(struct cluster *c);

/* One reply of those that reading waits for is in. */
static void read_one(struct cluster *c)
{
	if (--c->reading)
		return;
	if (*c->scan_cursor)
		scan_on(c);
	else if (c->empty_handed)
		c->state = GOOD;
	else
		begin_telling(c);
}

/* The next fields of the hash `key`. */
static bool hscan(struct cluster *c, redisCallbackFn *fn, void *arg, const char *key,
	const char *cursor)
{
	const char *argv[] = {"HSCAN", key, cursor, "COUNT", HSCAN_COUNT};
	size_t lens[5];
	for (size_t i = 0; i < 5; i++)
		lens[i] = strlen(argv[i]);
	if (!redis_link_command(c->link, fn, arg, 5, argv, lens))
		return false;
	c->reading++;
	return true;
}

static void on_downloads(redisAsyncContext *ac, void *reply, void *arg)
{
	void *cluster;
	const redisReply *r = redis_link_reply(ac, reply, &cluster);
	struct cluster *c = cluster;
	const char *cursor;
	if (!r || !(r = scan_reply(c, r, &cursor)))
		return;
	for (size_t i = 0; i + 1 < r->elements; i += 2) {
		const redisReply *field = r->element[i], *value = r->element[i + 1];
		uint64_t count;
		if (!is_string(field) || !is_string(value) || field->len != HASH_LEN ||
			parse_number(value->str, 0, UINT32_MAX, &count) < 0)
			malformed(c);
		else
			table_merge_downloaded(c->table, (const uint8_t *)field->str, (uint32_t)count,
				now_s());
	}
	if (strcmp(cursor, "0") != 0)
		hscan(c, on_downloads, NULL, DOWNLOADED_KEY, cursor);
	read_one(c);
}

static void on_swarm(redisAsyncContext *ac, void *reply, void *arg)
{
	CLEANUP_FREE uint8_t *hash = arg;
	void *cluster;
	const redisReply *r = redis_link_reply(ac, reply, &cluster);
	struct cluster *c = cluster;
	const char *cursor;
	if (!r || !(r = scan_reply(c, r, &cursor)))
		return;
	for (size_t i = 0; i + 1 < r->elements; i += 2) {
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
		/* Nobody was there to delete it when its time came, whatever the clocks say. */
		if (!apply(c, &record) && record.seen + 2ull * c->config.life_max < wall_s())
			del_peer(c, hash, &record.peer.addr);
	}
	if (strcmp(cursor, "0") != 0) {
		char key[KEY_LEN + 1];
		key_of(hash, key);
		if (hscan(c, on_swarm, hash, key, cursor))
			hash = NULL; /* its again */
	}
	read_one(c);
}

static void on_scan(redisAsyncContext *ac, void *reply, void *arg)
{
	void *cluster;
	const redisReply *r = redis_link_reply(ac, reply, &cluster);
	struct cluster *c = cluster;
	const char *cursor;
	if (!r || !(r = scan_reply(c, r, &cursor)))
		return;
	snprintf(c->scan_cursor, sizeof(c->scan_cursor), "%s", strcmp(cursor, "0") ? cursor : "");
	for (size_t i = 0; i < r->elements; i++) {
		const redisReply *key = r->element[i];
		uint8_t hash[HASH_LEN];
		if (!is_string(key) || key->len != KEY_LEN ||
			hex_decode(key->str + sizeof(KEY_PREFIX) - 1, hash, HASH_LEN) < 0) {
			malformed(c);
			continue;
		}
		uint8_t *arg_hash = xmemdup(hash, HASH_LEN);
		if (!hscan(c, on_swarm, arg_hash, key->str, "0"))
			free(arg_hash);
	}
	read_one(c);
}

/* The next torrents, once all peers of those before are here. */
static void scan_on(struct cluster *c)
{
	const char *argv[] = {"SCAN", c->scan_cursor, "MATCH", KEY_PREFIX "*", "COUNT", SCAN_COUNT};
	size_t lens[6];
	for (size_t i = 0; i < 6; i++)
		lens[i] = strlen(argv[i]);
	if (redis_link_command(c->link, on_scan, NULL, 6, argv, lens))
		c->reading++;
}

static void on_up(void *arg)
{
	struct cluster *c = arg;
	struct table_counts n;
	table_counts(c->table, &n);
	c->empty_handed = !n.swarms;
	c->state = READING;
	strcpy(c->scan_cursor, "0");
	hscan(c, on_downloads, NULL, DOWNLOADED_KEY, "0");
}

static void on_down(void *arg)
{
	struct cluster *c = arg;
	c->state = AWAY;
	c->reading = 0;
	buf_clear(&c->batch);
}

/* -- the whole --------------------------------------------------------------------------------- */

int cluster_new(const struct cluster_config *config, struct loop *loop, struct work_pool *pool,
	struct table *table, struct cluster **ret, const char **ret_why)
{
	struct cluster *c = xcalloc(1, sizeof(*c));
	c->config = *config;
	c->table = table;
	random_bytes(c->sender, sizeof(c->sender));
	const struct redis_link_config link = {
		.url = config->url,
		.password = config->password,
		.channel = CHANNEL,
		.on_up = on_up,
		.on_down = on_down,
		.on_message = on_message,
		.arg = c,
	};
	int err = redis_link_new(&link, loop, pool, &c->link, ret_why);
	if (err < 0) {
		free(c);
		return err;
	}
	struct timeval period = {0, CLUSTER_FLUSH_MS * 1000};
	c->flush = event_new(loop_base(loop), -1, EV_PERSIST, on_flush, c);
	event_add(c->flush, &period);
	table_on_change(table, on_change, c);
	*ret = c;
	return 0;
}

void cluster_stop(struct cluster *c)
{
	if (!c)
		return;
	redis_link_stop(c->link);
	table_on_change(c->table, NULL, NULL);
}

void cluster_free(struct cluster *c)
{
	if (!c)
		return;
	redis_link_free(c->link);
	event_free(c->flush);
	buf_done(&c->batch);
	free(c);
}

void cluster_stats(const struct cluster *c, struct stats_cluster *ret)
{
	*ret = (struct stats_cluster) {
		.part = c->state >= TELLING ? PART_GOOD : PART_BAD,
		.sent = c->sent,
		.received = c->received,
		.dropped = c->dropped,
		.outages = redis_link_outages(c->link),
	};
}
