/* SPDX-License-Identifier: MIT */
/* The engine's face: see swarm.h.  Owns the loop's thread, the workers, the listening port, and what
 * its torrents share. */
#include "swarm/torrent.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/ext.h"
#include "swarm/http.h"
#include "swarm/listen.h"
#include "swarm/peers.h"
#include "swarm/torrent_magnet.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>

/* Hashing and writing keep up with 10 Gbit/s on this many. */
#define MAX_WORKERS 8
/* Incoming connections that have not told their torrent yet. */
#define MAX_NAMELESS 100
#define LIMIT_TICK_MS 20

struct swarm {
	struct swarm_parts parts;
	struct listener *listener;
	struct torrent *torrents;
	struct magnet_fetch *fetch; /* while swarm_fetch runs */
	struct peers *found; /* owned; what it learned of them, for the torrent that follows; or NULL */
	struct conn *nameless[MAX_NAMELESS];
	unsigned workers, n_nameless, stopping;
	struct event *tick, *limit_tick;
	pthread_t thread;
	bool running;
};

/* -- connections find their torrent -------------------------------------------------------------- */

static void forget_nameless(struct swarm *s, struct conn *c)
{
	for (unsigned i = 0; i < s->n_nameless; i++) {
		if (s->nameless[i] == c) {
			s->nameless[i] = s->nameless[--s->n_nameless];
			return;
		}
	}
}

/* A peer says its handshake at once; so it is not the new one that goes when too many say nothing. */
static void drop_oldest_nameless(struct swarm *s)
{
	unsigned oldest = 0;
	for (unsigned i = 1; i < s->n_nameless; i++) {
		if (s->nameless[i]->since < s->nameless[oldest]->since)
			oldest = i;
	}
	struct conn *c = s->nameless[oldest];
	log_debug(LOG_PEER, "%s: no handshake yet, and others wait", c->name);
	forget_nameless(s, c);
	conn_free(c);
}

static bool on_shake(struct conn *c, const struct wire_handshake *h)
{
	struct swarm *s = c->env->owner;
	struct torrent *t = c->torrent;
	if (t)
		return torrent_on_shake(t, c, h);
	for (t = s->torrents; t && !torrent_has_hash(t, h->info_hash); t = t->next)
		;
	if (!t) {
		conn_fail(c, "it asks for a torrent that is not here");
		return false;
	}
	bool ok = torrent_on_shake(t, c, h);
	if (c->torrent)
		forget_nameless(s, c);
	return ok;
}

static void on_closed(struct conn *c)
{
	if (c->torrent)
		torrent_on_closed(c);
	else
		forget_nameless(c->env->owner, c);
}

static const struct conn_ops conn_ops = {
	.shake = on_shake,
	.open = torrent_on_open,
	.message = torrent_on_message,
	.block = torrent_on_block,
	.writable = torrent_on_writable,
	.closed = on_closed,
};

static void on_accepted(void *arg, int fd, const struct addr *peer)
{
	struct swarm *s = arg;
	if (s->stopping) {
		close(fd);
		return;
	}
	if (s->fetch) {
		magnet_fetch_on_accepted(s->fetch, fd, peer);
		return;
	}
	if (s->n_nameless == MAX_NAMELESS)
		drop_oldest_nameless(s);
	s->nameless[s->n_nameless++] = conn_accept(&s->parts.env, fd, peer);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct swarm *s = arg;
	uint64_t now = clock_us();
	for (unsigned i = 0; i < s->n_nameless; i++)
		conn_tick(s->nameless[i], now);
}

/* The peer that has waited for the upload limit longest, of all torrents. */
static struct conn *next_in_turn(const struct swarm *s)
{
	struct conn *next = NULL;
	for (const struct torrent *t = s->torrents; t; t = t->next) {
		for (struct conn *c = t->conns; c; c = c->next) {
			if (serve_wants(c) && (!next || c->turn < next->turn))
				next = c;
		}
	}
	return next;
}

static void serve_in_turn(struct swarm *s)
{
	uint64_t now = clock_us();
	while (!limiter_wait(&s->parts.up, BLOCK_SIZE, now)) {
		struct conn *c = next_in_turn(s);
		if (!c) {
			s->parts.up_starved = false;
			return;
		}
		c->turn = ++s->parts.turns;
		serve_one(c);
	}
}

/* With a rate limit: those who wait for it go on as it has room. */
static void on_limit_tick(evutil_socket_t fd, short what, void *arg)
{
	struct swarm *s = arg;
	if (s->parts.up_starved)
		serve_in_turn(s);
	for (struct torrent *t = s->torrents; s->parts.down.rate && t; t = t->next)
		ask_soon(t);
}

/* -- life ---------------------------------------------------------------------------------------- */

static unsigned default_workers(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);
	return n < 2 ? 2 : n > MAX_WORKERS ? MAX_WORKERS : (unsigned)n;
}

int swarm_new(const struct swarm_config *config, struct swarm **ret, char **ret_why)
{
	struct swarm *s = xcalloc(1, sizeof(*s));
	uint64_t now = clock_us();
	s->workers = config->workers ? config->workers : default_workers();
	limiter_init(&s->parts.up, config->up, now);
	limiter_init(&s->parts.down, config->down, now);
	int r = loop_new(&s->parts.loop);
	if (r < 0) {
		*ret_why = xasprintf("event loop: %s", strerror(-r));
		goto fail;
	}
	struct event_base *base = loop_base(s->parts.loop);
	s->parts.env = (struct conn_env) {
		.base = base,
		.ops = &conn_ops,
		.owner = s,
		.scratch = xmalloc(CONN_SCRATCH),
	};
	ext_make_peer_id(s->parts.env.peer_id);
	r = http_new(s->parts.loop, &s->parts.http);
	if (r < 0) {
		*ret_why = xasprintf("HTTP client: %s", strerror(-r));
		goto fail;
	}
	http_set_cafile(s->parts.http, config->http_cafile);
	r = listener_open(base, &config->listen, on_accepted, s, &s->listener, ret_why);
	if (r < 0)
		goto fail;
	s->parts.env.listens = config->listen;
	s->parts.env.listens.port = listener_port(s->listener);
	http_set_source(s->parts.http, &s->parts.env.listens);
	s->tick = event_new(base, -1, EV_PERSIST, on_tick, s);
	event_add(s->tick, &(struct timeval) {.tv_sec = 1});
	s->limit_tick = event_new(base, -1, EV_PERSIST, on_limit_tick, s);
	if (config->up || config->down)
		event_add(s->limit_tick, &(struct timeval) {.tv_usec = LIMIT_TICK_MS * 1000});
	*ret = s;
	return 0;
fail:
	swarm_free(s);
	return r;
}

static void *run_loop(void *arg)
{
	struct swarm *s = arg;
	loop_run(s->parts.loop);
	return NULL;
}

int swarm_start(struct swarm *s)
{
	sigset_t all, before;
	int r = work_pool_new(s->parts.loop, s->workers, &s->parts.pool);
	if (r < 0)
		return r;
	for (struct torrent *t = s->torrents; t; t = t->next)
		torrent_start(t);
	/* Signals are the main thread's. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	r = pthread_create(&s->thread, NULL, run_loop, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	s->running = !r;
	return -r;
}

static void on_torrent_stopped(void *arg)
{
	struct swarm *s = arg;
	if (--s->stopping == 0)
		loop_stop(s->parts.loop);
}

static void stop_all(void *arg)
{
	struct swarm *s = arg;
	if (!s->torrents)
		loop_stop(s->parts.loop);
	for (struct torrent *t = s->torrents; t; t = t->next)
		s->stopping++;
	for (struct torrent *t = s->torrents; t; t = t->next)
		torrent_stop(t, on_torrent_stopped, s);
}

void swarm_free(struct swarm *s)
{
	if (!s)
		return;
	if (s->running) {
		loop_post(s->parts.loop, stop_all, s);
		pthread_join(s->thread, NULL);
	}
	if (s->parts.pool)
		work_pool_free(s->parts.pool);
	while (s->torrents) {
		struct torrent *t = s->torrents;
		s->torrents = t->next;
		torrent_free(t);
	}
	while (s->n_nameless)
		conn_free(s->nameless[--s->n_nameless]);
	peers_free(s->found);
	listener_close(s->listener);
	if (s->tick)
		event_free(s->tick);
	if (s->limit_tick)
		event_free(s->limit_tick);
	if (s->parts.http)
		http_free(s->parts.http);
	free(s->parts.env.scratch);
	if (s->parts.loop)
		loop_free(s->parts.loop);
	free(s);
}

int swarm_fetch(struct swarm *s, const struct magnet *link, const struct metainfo *known,
	const struct torrent_config *config, uint64_t timeout_ms, struct metainfo **ret, char **ret_why)
{
	s->fetch = magnet_fetch_new(&s->parts, link, known, config);
	int r = magnet_fetch_run(s->fetch, timeout_ms, ret, ret_why);
	peers_free(s->found);
	s->found = magnet_fetch_take_peers(s->fetch);
	magnet_fetch_free(s->fetch);
	s->fetch = NULL;
	return r;
}

int swarm_add(struct swarm *s, struct metainfo *meta, const struct torrent_config *config,
	struct torrent **ret, char **ret_why)
{
	struct torrent *t;
	for (t = s->torrents; t; t = t->next) {
		if (torrent_has_hash(t, metainfo_wire_hash(meta))) {
			*ret_why = xasprintf("%s: is served already", meta->name);
			return -EEXIST;
		}
	}
	int r = torrent_new(&s->parts, meta, config, &t, ret_why);
	if (r < 0)
		return r;
	/* Who gave its metadata is there, whatever a tracker says next, and who lied does so again. */
	if (s->found)
		peers_add_all(t->peers, s->found, clock_us());
	peers_free(s->found);
	s->found = NULL;
	t->next = s->torrents;
	s->torrents = t;
	if (s->running)
		torrent_start(t);
	*ret = t;
	return 0;
}

uint16_t swarm_port(const struct swarm *s)
{
	return s->parts.env.listens.port;
}

struct loop *swarm_loop(struct swarm *s)
{
	return s->parts.loop;
}

void swarm_post(struct swarm *s, void (*fn)(void *arg), void *arg)
{
	loop_post(s->parts.loop, fn, arg);
}
