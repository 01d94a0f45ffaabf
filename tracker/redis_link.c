/* SPDX-License-Identifier: MIT */
/* A link to Redis: see redis_link.h.
 *
 * hiredis frees a connection by itself when it ends, after calling back for each command under way
 * with no reply.  go_away frees both.  What is called back for a connection that is no longer the
 * link's is ignored.
 *
 * Thread: loop, but for resolve_run.
 */
#include "tracker/redis_link.h"

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/work.h"
#include "tracker/now.h"

#include <errno.h>
#include <event2/event.h>
#include <hiredis/adapters/libevent.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define PORT 6379
#define ADDRESSES_MAX 8u
#define PROOF_KEY "p2pfs:alive"

enum state { AWAY, RESOLVING, JOINING, UP };

struct resolve {
	struct work work;
	struct redis_link *link;
	char ips[ADDRESSES_MAX][ADDR_STRLEN];
	unsigned n;
	const char *error; /* static; NULL: resolved */
};

struct redis_link {
	struct redis_link_config config;
	struct loop *loop;
	struct work_pool *pool;
	char *host, *name, *channel; /* owned */
	int port;
	unsigned database;
	enum state state;
	bool stopped, said_away;
	redisAsyncContext *command, *listen; /* hiredis frees them when they end */
	struct resolve resolve;
	struct event *tick, *retry;
	unsigned retry_s, tries;
	unsigned waiting;  /* commands without a reply yet */
	uint32_t heard_at; /* the last reply */
	uint64_t outages;
};

static void connect_to(struct redis_link *l);

/* -- going --------------------------------------------------------------------------------------- */

static void go_away(struct redis_link *l, const char *why)
{
	if (l->command)
		redisAsyncFree(steal_ptr(&l->command));
	if (l->listen)
		redisAsyncFree(steal_ptr(&l->listen));
	if (l->state != AWAY && !l->said_away && !l->stopped) {
		log_warn("Redis at %s is away: %s: serving from memory", l->name, why);
		l->said_away = true;
		l->outages++;
	}
	l->state = AWAY;
	l->waiting = 0;
	l->config.on_down(l->config.arg);
	if (l->stopped)
		return;
	struct timeval delay = {l->retry_s, 0};
	l->retry_s = MIN(2 * l->retry_s, REDIS_RETRY_MAX_S);
	event_add(l->retry, &delay);
}

void redis_link_fail(struct redis_link *l, const char *why)
{
	go_away(l, why);
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	connect_to(arg);
}

static bool is_ours(const struct redis_link *l, const redisAsyncContext *ac)
{
	return ac == l->command || ac == l->listen;
}

/* hiredis frees this one itself. */
static void ended(struct redis_link *l, const redisAsyncContext *ac, const char *reason)
{
	if (!is_ours(l, ac))
		return;
	CLEANUP_FREE char *why = xstrdup(reason);
	if (l->command == ac)
		l->command = NULL;
	else
		l->listen = NULL;
	go_away(l, why);
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	if (status != REDIS_OK)
		ended(ac->data, ac, ac->errstr);
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	ended(ac->data, ac, status == REDIS_OK ? "closed" : ac->errstr);
}

/* A host that lost its power never closes its connections. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct redis_link *l = arg;
	static const char *argv[] = {"PING"};
	static const size_t lens[] = {4};
	uint32_t silent = now_s() - l->heard_at;
	if (l->state < JOINING)
		return;
	if (silent >= REDIS_SILENCE_S)
		go_away(l, l->state == JOINING ? "cannot be reached" : "it is silent");
	else if (!l->waiting && l->state == UP && silent >= REDIS_SILENCE_S / 3)
		redis_link_command(l, redis_link_done, NULL, 1, argv, lens);
}

/* -- commands ------------------------------------------------------------------------------------ */

/* Ends the link for an error, which is the server's. */
static bool is_error(struct redis_link *l, const redisReply *r)
{
	if (r->type != REDIS_REPLY_ERROR)
		return false;
	CLEANUP_FREE char *why = xstrdup(log_quote(r->str, (size_t)r->len));
	go_away(l, why);
	return true;
}

redisReply *redis_link_reply(redisAsyncContext *ac, void *reply, void **ret_arg)
{
	struct redis_link *l = ac->data;
	*ret_arg = l->config.arg;
	if (!is_ours(l, ac))
		return NULL;
	l->waiting -= l->waiting > 0;
	l->heard_at = now_s();
	return reply && !is_error(l, reply) ? reply : NULL;
}

void redis_link_done(redisAsyncContext *ac, void *reply, void *arg)
{
	void *unused;
	redis_link_reply(ac, reply, &unused);
}

bool redis_link_command(struct redis_link *l, redisCallbackFn *fn, void *arg, int argc,
	const char **argv, const size_t *lens)
{
	if (!l->command ||
		redisAsyncCommandArgv(l->command, fn, arg, argc, argv, lens) != REDIS_OK)
		return false;
	if (!l->waiting++)
		l->heard_at = now_s();
	return true;
}

void redis_link_publish(struct redis_link *l, const void *data, size_t len)
{
	const char *argv[] = {"PUBLISH", l->channel, data};
	const size_t lens[] = {7, strlen(l->channel), len};
	redis_link_command(l, redis_link_done, NULL, 3, argv, lens);
}

unsigned redis_link_waiting(const struct redis_link *l)
{
	return l->waiting;
}

uint64_t redis_link_outages(const struct redis_link *l)
{
	return l->outages;
}

const char *redis_link_name(const struct redis_link *l)
{
	return l->name;
}

/* -- joining ------------------------------------------------------------------------------------- */

static void on_proof(redisAsyncContext *ac, void *reply, void *arg)
{
	struct redis_link *l = ac->data;
	void *unused;
	if (!redis_link_reply(ac, reply, &unused) || l->state != JOINING)
		return;
	l->state = UP;
	l->retry_s = 1;
	if (l->said_away)
		log_info("Redis at %s is back", l->name);
	l->said_away = false;
	l->config.on_up(l->config.arg);
}

static void prove(struct redis_link *l)
{
	const char *argv[] = {"SET", PROOF_KEY, "1", "EX", "60"};
	const size_t lens[] = {3, sizeof(PROOF_KEY) - 1, 1, 2, 2};
	redis_link_command(l, on_proof, NULL, 5, argv, lens);
}

static bool is_string(const redisReply *r)
{
	return r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS;
}

static void on_channel(redisAsyncContext *ac, void *reply, void *arg)
{
	struct redis_link *l = ac->data;
	redisReply *r = reply;
	if (!r || !is_ours(l, ac) || is_error(l, r))
		return;
	if (r->type != REDIS_REPLY_ARRAY || r->elements != 3 || !is_string(r->element[0]))
		return;
	/* Subscribed: nothing is missed from here on. */
	if (!strcmp(r->element[0]->str, "subscribe") && l->state == JOINING)
		prove(l);
	else if (!strcmp(r->element[0]->str, "message") && is_string(r->element[2]))
		l->config.on_message(l->config.arg, r->element[2]->str, (size_t)r->element[2]->len);
}

/* To AUTH and SELECT, which nobody counts. */
static void on_auth(redisAsyncContext *ac, void *reply, void *arg)
{
	struct redis_link *l = ac->data;
	if (reply && is_ours(l, ac))
		is_error(l, reply);
}

static redisAsyncContext *connect_one(struct redis_link *l)
{
	const struct resolve *r = &l->resolve;
	redisAsyncContext *ac = redisAsyncConnect(r->ips[l->tries % r->n], l->port);
	if (!ac || ac->err) {
		CLEANUP_FREE char *why = xstrdup(ac ? ac->errstr : strerror(ENOMEM));
		if (ac)
			redisAsyncFree(ac);
		go_away(l, why);
		return NULL;
	}
	ac->data = l;
	redisEnableKeepAlive(&ac->c);
	redisLibeventAttach(ac, loop_base(l->loop));
	redisAsyncSetConnectCallback(ac, on_connect);
	redisAsyncSetDisconnectCallback(ac, on_disconnect);
	return ac;
}

static void join(struct redis_link *l)
{
	l->state = JOINING;
	l->heard_at = now_s();
	l->command = connect_one(l);
	l->listen = l->command ? connect_one(l) : NULL;
	l->tries++;
	if (!l->listen)
		return;
	redisAsyncContext *both[] = {l->command, l->listen};
	for (size_t i = 0; i < 2 && l->config.password; i++)
		redisAsyncCommand(both[i], on_auth, NULL, "AUTH %s", l->config.password);
	redisAsyncCommand(l->command, on_auth, NULL, "SELECT %d", (int)l->database);
	redisAsyncCommand(l->listen, on_channel, NULL, "SUBSCRIBE %s", l->channel);
}

static void resolve_run(struct work *w)
{
	struct resolve *r = container_of(w, struct resolve, work);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	int err = getaddrinfo(r->link->host, NULL, &hints, &found);
	r->error = err ? gai_strerror(err) : NULL;
	r->n = 0;
	if (err)
		return;
	for (struct addrinfo *i = found; i && r->n < ADDRESSES_MAX; i = i->ai_next) {
		struct addr a;
		addr_from_sockaddr(i->ai_addr, &a);
		addr_format_ip(&a, r->ips[r->n++]);
	}
	freeaddrinfo(found);
}

static void resolve_done(struct work *w)
{
	struct resolve *r = container_of(w, struct resolve, work);
	struct redis_link *l = r->link;
	if (l->stopped)
		return;
	if (r->error)
		go_away(l, r->error);
	else
		join(l);
}

static void connect_to(struct redis_link *l)
{
	l->state = RESOLVING;
	work_post(l->pool, &l->resolve.work);
}

/* -- the whole --------------------------------------------------------------------------------- */

/* redis://HOST[:PORT][/DATABASE] */
static int parse_url(struct redis_link *l, const char *url, const char **ret_why)
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
	l->database = (unsigned)n;
	char *host = rest, *end = rest[0] == '[' ? strchr(rest, ']') : NULL;
	char *colon = strchr(end ? end : rest, ':');
	n = PORT;
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
	l->port = (int)n;
	l->host = xstrdup(host);
	l->name = xasprintf(end ? "[%s]:%d" : "%s:%d", host, l->port);
	return 0;
}

int redis_link_new(const struct redis_link_config *config, struct loop *loop,
	struct work_pool *pool, struct redis_link **ret, const char **ret_why)
{
	struct redis_link *l = xcalloc(1, sizeof(*l));
	l->config = *config;
	l->loop = loop;
	l->pool = pool;
	l->retry_s = 1;
	int err = parse_url(l, config->url, ret_why);
	if (err < 0) {
		free(l);
		return err;
	}
	l->channel = xasprintf("%s:%u", config->channel, l->database);
	l->resolve.link = l;
	l->resolve.work.run = resolve_run;
	l->resolve.work.done = resolve_done;
	struct timeval period = {1, 0};
	l->tick = event_new(loop_base(loop), -1, EV_PERSIST, on_tick, l);
	l->retry = event_new(loop_base(loop), -1, 0, on_retry, l);
	event_add(l->tick, &period);
	connect_to(l);
	*ret = l;
	return 0;
}

void redis_link_stop(struct redis_link *l)
{
	if (l)
		l->stopped = true;
}

void redis_link_free(struct redis_link *l)
{
	if (!l)
		return;
	l->stopped = true;
	go_away(l, "the end");
	event_free(l->tick);
	event_free(l->retry);
	free(l->host);
	free(l->name);
	free(l->channel);
	free(l);
}
