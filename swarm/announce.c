// SPDX-License-Identifier: MIT
/* Announcing one torrent to its trackers: see announce.h.
 *
 * A route is a tracker, an info-hash and an address family; each has its own timer and history:
 *
 *	WAITING --timer--> ASKING --answer or failure--> WAITING (or OFF: "retry in never")
 *	                   (UDP: RESOLVING first)
 *
 * Stopping cancels all of that and sends "stopped" once along each route that "started" was
 * answered on; the end comes when all are done, or after STOP_MS.
 *
 * Thread: loop.
 */
#include "swarm/announce_one.h"
#include "swarm/announce_packet.h"
#include "swarm/announce_resolve.h"
#include "swarm/announce_when.h"
#include "swarm/url.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#define STOP_MS 2000u /* "stopped" is a courtesy: an unmount waits no longer for it */
#define RESOLVED_LIFE_S 300u /* a UDP tracker's addresses are looked up again after this */
#define NUMWANT_STEADY 30u /* enough peers: some fresh ones now and then */
#define MAX_HASHES 2u
#define MAX_ROUTES (MAX_HASHES * 2)

enum route_state { ROUTE_WAITING, ROUTE_RESOLVING, ROUTE_ASKING, ROUTE_OFF };

struct route {
	struct tracker *tracker;
	unsigned hash;
	int family;
	enum route_state state;
	struct event *timer;
	uint64_t next_us; /* when the timer fires, in WAITING */
	struct announce_timing timing;
	enum announce_event event; /* of the announce under way */
	bool started, completed; /* these events were answered */
	struct announce_http *http;
	struct udp_announce *udp;
	unsigned turn; /* UDP: which of the tracker's addresses of the family is next */
	/* The last result. */
	bool answered; /* once at least */
	uint64_t answered_us;
	bool no_address;
	char *error; /* owned; NULL: it was fine, or there was none yet (!tried) */
	bool tried;
	char *warning; /* owned or NULL */
	char *tracker_id; /* owned or NULL */
	int32_t seeds, leechers;
	uint32_t peers;
};

struct tracker {
	struct announcer *announcer;
	char *url, *redacted; /* owned */
	struct url parsed;
	struct route routes[MAX_ROUTES];
	unsigned n_routes;
	/* UDP: */
	struct resolve *resolve;
	struct addr addrs[RESOLVE_MAX_ADDRESSES];
	size_t n_addrs;
	uint64_t resolved_us;
};

struct announcer {
	struct announce_config config;
	uint8_t hashes[MAX_HASHES][SHA1_LEN];
	uint32_t key;
	struct announce_udp *udp;
	struct tracker **trackers; /* owned, each */
	size_t n_trackers, cap_trackers;
	bool running, hungry, completed, stopping;
	struct event *stop_timer;
	unsigned stops_left;
	void (*stopped)(void *arg);
	void *stopped_arg;
};

static void route_announce(struct route *r);
static void announcer_stopped_one(struct announcer *a);

static uint32_t draw(void)
{
	uint32_t v;

	random_bytes(&v, sizeof(v));
	return v;
}

/* -- the schedule ------------------------------------------------------------------------ */

static void route_wait(struct route *r, uint64_t until_us)
{
	uint64_t now = clock_us(), gap = until_us > now ? until_us - now : 0;
	struct timeval tv = {
		.tv_sec = (time_t)(gap / US_PER_S), .tv_usec = (suseconds_t)(gap % US_PER_S)};

	r->state = ROUTE_WAITING;
	r->next_us = until_us;
	event_add(r->timer, &tv);
}

/* The event that the next announce of this route tells. */
static enum announce_event route_event(const struct route *r)
{
	if (r->tracker->announcer->stopping)
		return ANNOUNCE_STOPPED;
	if (!r->started)
		return ANNOUNCE_STARTED;
	return r->tracker->announcer->completed && !r->completed ? ANNOUNCE_COMPLETED
								 : ANNOUNCE_NONE;
}

static void route_schedule(struct route *r)
{
	struct announcer *a = r->tracker->announcer;
	uint64_t next = announce_timing_next(&r->timing, a->hungry);

	if (!r->timing.failures && route_event(r) != ANNOUNCE_NONE)
		next = 0; /* an event waits to be told */
	if (next == ANNOUNCE_NEVER)
		r->state = ROUTE_OFF;
	else
		route_wait(r, next);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	route_announce(arg);
}

/* -- results ----------------------------------------------------------------------------- */

static void replace(char **s, const char *with)
{
	free(*s);
	*s = with ? xstrdup(with) : NULL;
}

static void take_answer(struct route *r, const struct announce_reply *reply)
{
	if (r->event == ANNOUNCE_STARTED)
		r->started = true;
	if (r->event == ANNOUNCE_COMPLETED)
		r->completed = true;
	r->answered = true;
	r->answered_us = clock_us();
	r->no_address = false;
	r->seeds = reply->seeds;
	r->leechers = reply->leechers;
	r->peers = (uint32_t)reply->n_peers;
	replace(&r->error, NULL);
	replace(&r->warning, reply->warning);
	if (reply->tracker_id) /* BEP 3: kept until another one is given */
		replace(&r->tracker_id, reply->tracker_id);
}

static void on_done(
	void *arg, const struct announce_reply *reply, const char *error, bool no_address)
{
	struct route *r = arg;
	struct announcer *a = r->tracker->announcer;

	r->http = NULL;
	r->udp = NULL;
	log_debug(LOG_TRACKER, "%s (IPv%d): %s, %zu peers", r->tracker->redacted,
		r->family == AF_INET ? 4 : 6, error ? error : "answered",
		error ? 0 : reply->n_peers);
	if (a->stopping) {
		r->state = ROUTE_OFF;
		announcer_stopped_one(a);
		return;
	}
	r->tried = true;
	if (error) {
		if (!no_address && (!r->error || strcmp(r->error, error)))
			log_warn("tracker %s: %s", r->tracker->redacted, error);
		replace(&r->error, error);
		r->no_address = no_address;
		r->turn++; /* the name's next address, ... */
		r->tracker->resolved_us = 0; /* ... of those that it has now */
		announce_timing_failed(&r->timing, reply, clock_us(), draw());
	} else {
		take_answer(r, reply);
		announce_timing_answered(&r->timing, reply, a->hungry, clock_us(), draw());
	}
	route_schedule(r);
	/* Last: it may well call back. */
	if (!error && reply->n_peers)
		a->config.peers(a->config.arg, reply->peers, reply->n_peers);
}

static void route_fail(struct route *r, const char *error, bool no_address)
{
	on_done(r, NULL, error, no_address);
}

/* -- asking ------------------------------------------------------------------------------ */

static void request_fill(const struct route *r, struct announce_request *q)
{
	const struct announcer *a = r->tracker->announcer;
	const char *path = r->tracker->parsed.path;

	*q = (struct announce_request) {.port = a->config.listens.port,
		.key = a->key,
		.event = r->event,
		.tracker_id = r->tracker_id,
		.path = path};
	memcpy(q->hash, a->hashes[r->hash], SHA1_LEN);
	memcpy(q->peer_id, a->config.peer_id, sizeof(q->peer_id));
	a->config.totals(a->config.arg, &q->totals);
	if (r->event == ANNOUNCE_STOPPED)
		q->numwant = 0;
	else if (a->hungry)
		q->numwant = TRACKER_NUMWANT;
	else if (q->totals.left)
		q->numwant = NUMWANT_STEADY;
	else
		q->numwant = 0; /* leechers come to a seed by themselves */
}

static void route_ask_http(struct route *r)
{
	struct announcer *a = r->tracker->announcer;
	/* An address is of its family, however it is spelt (::ffff:192.0.2.1). */
	int family = r->tracker->parsed.is_address ? 0 : r->family;
	struct announce_request q;
	const char *why;

	r->state = ROUTE_ASKING;
	request_fill(r, &q);
	r->http = announce_http_start(a->config.http, r->tracker->url, family, &q,
		a->stopping ? STOP_MS : TRACKER_HTTP_MS, on_done, r, &why);
	if (!r->http)
		route_fail(r, why, false);
}

/* The address whose turn it is, of those of the family that we may connect to; NULL and why not. */
static const struct addr *route_address(const struct route *r, const char **ret_why)
{
	const struct tracker *t = r->tracker;
	const struct addr *usable[RESOLVE_MAX_ADDRESSES];
	unsigned n = 0;

	*ret_why = NULL;
	for (size_t i = 0; i < t->n_addrs; i++) {
		if (addr_is_v4(&t->addrs[i]) != (r->family == AF_INET))
			continue;
		const char *refused = url_refuses(&t->parsed, true, &t->addrs[i], URL_HOST);
		if (refused)
			*ret_why = refused;
		else
			usable[n++] = &t->addrs[i];
	}
	return n ? usable[r->turn % n] : NULL;
}

static void route_ask_udp(struct route *r)
{
	struct announce_request q;
	const char *why;
	const struct addr *to = route_address(r, &why);

	if (!to) {
		route_fail(r, why ? why : "the name has no address of this family", !why);
		return;
	}
	r->state = ROUTE_ASKING;
	request_fill(r, &q);
	r->udp = announce_udp_start(r->tracker->announcer->udp, to, &q, on_done, r);
}

static void on_resolved(void *arg, const struct addr *addrs, size_t n, const char *error)
{
	struct tracker *t = arg;

	t->resolve = NULL;
	t->n_addrs = error ? 0 : n;
	memcpy(t->addrs, addrs, t->n_addrs * sizeof(*addrs));
	t->resolved_us = clock_us();
	for (unsigned i = 0; i < t->n_routes; i++) {
		struct route *r = &t->routes[i];
		if (r->state != ROUTE_RESOLVING)
			continue;
		if (error)
			route_fail(r, error, true);
		else
			route_ask_udp(r);
	}
}

/* Makes sure that addresses are known: true when they are. */
static bool tracker_resolve(struct tracker *t, int *ret_err)
{
	uint64_t life_us = RESOLVED_LIFE_S * US_PER_S;

	*ret_err = 0;
	if (t->parsed.is_address || t->announcer->stopping)
		return true;
	if (t->n_addrs && t->resolved_us && clock_us() - t->resolved_us < life_us)
		return true;
	if (!t->resolve)
		*ret_err = resolve_start(t->announcer->config.loop, t->parsed.host, t->parsed.port,
			on_resolved, t, &t->resolve);
	return false;
}

static void route_announce(struct route *r)
{
	int err;

	event_del(r->timer);
	r->event = route_event(r);
	if (r->tracker->parsed.scheme != URL_UDP) {
		route_ask_http(r);
	} else if (tracker_resolve(r->tracker, &err)) {
		route_ask_udp(r);
	} else if (err) {
		route_fail(r, strerror(-err), false);
	} else {
		r->state = ROUTE_RESOLVING;
	}
}

static void route_cancel(struct route *r)
{
	if (r->http)
		announce_http_cancel(r->http);
	if (r->udp)
		announce_udp_cancel(r->udp);
	r->http = NULL;
	r->udp = NULL;
	event_del(r->timer);
	r->state = ROUTE_OFF;
}

/* -- trackers ---------------------------------------------------------------------------- */

static void tracker_free(struct tracker *t)
{
	if (t->resolve)
		resolve_cancel(t->resolve);
	for (unsigned i = 0; i < t->n_routes; i++) {
		struct route *r = &t->routes[i];
		route_cancel(r);
		event_free(r->timer);
		free(r->error);
		free(r->warning);
		free(r->tracker_id);
	}
	url_done(&t->parsed);
	free(t->url);
	free(t->redacted);
	free(t);
}

static void tracker_start(struct tracker *t)
{
	for (unsigned i = 0; i < t->n_routes; i++)
		route_wait(&t->routes[i], 0);
}

static void tracker_add_routes(struct tracker *t)
{
	struct announcer *a = t->announcer;
	static const int families[] = {AF_INET, AF_INET6};

	for (unsigned h = 0; h < a->config.n_hashes; h++) {
		for (unsigned f = 0; f < ARRAY_SIZE(families); f++) {
			bool v4 = families[f] == AF_INET;
			const struct addr *listens = &a->config.listens;
			if (t->parsed.is_address ? addr_is_v4(&t->parsed.addr) != v4
						 : addr_is_one(listens) && addr_is_v4(listens) != v4)
				continue;
			struct route *r = &t->routes[t->n_routes++];
			*r = (struct route) {.tracker = t,
				.hash = h,
				.family = families[f],
				.seeds = -1,
				.leechers = -1};
			r->timer = event_new(loop_base(a->config.loop), -1, 0, on_timer, r);
		}
	}
}

int announcer_add(struct announcer *a, const char *url, const char **ret_why)
{
	struct url parsed;
	const char *why = NULL;

	for (size_t i = 0; i < a->n_trackers; i++)
		if (strcmp(a->trackers[i]->url, url) == 0)
			return 0;
	if (a->n_trackers >= TORRENT_MAX_TRACKERS)
		why = "more than 100 trackers";
	else if (strlen(url) > TORRENT_MAX_URL)
		why = "longer than 2048 bytes";
	else if (url_parse(url, &parsed, &why) == 0) {
		if (parsed.scheme == URL_UDP && strlen(parsed.path) > EXCHANGE_MAX_PATH)
			why = "a path of more than 1024 bytes, for udp";
		else if (parsed.is_address)
			why = url_refuses(&parsed, true, &parsed.addr, URL_HOST);
		if (why)
			url_done(&parsed);
	}
	if (why) {
		*ret_why = why;
		return -EINVAL;
	}
	struct tracker *t = xcalloc(1, sizeof(*t));
	t->announcer = a;
	t->url = xstrdup(url);
	t->redacted = xstrdup(log_quote_url(url));
	t->parsed = parsed;
	if (parsed.is_address) {
		t->addrs[0] = parsed.addr;
		t->n_addrs = 1;
	}
	tracker_add_routes(t);
	GROW(a->trackers, a->n_trackers, a->cap_trackers);
	a->trackers[a->n_trackers++] = t;
	if (a->running && !a->stopping)
		tracker_start(t);
	return 0;
}

/* -- the announcer ----------------------------------------------------------------------- */

static void on_stop_timer(evutil_socket_t fd, short what, void *arg);

struct announcer *announcer_new(const struct announce_config *config)
{
	struct announcer *a = xcalloc(1, sizeof(*a));

	a->config = *config;
	a->config.n_hashes = MIN(config->n_hashes, MAX_HASHES);
	memcpy(a->hashes, config->hashes, a->config.n_hashes * sizeof(a->hashes[0]));
	a->config.hashes = NULL;
	a->key = draw();
	a->udp = announce_udp_new(config->loop, &config->listens);
	a->stop_timer = event_new(loop_base(config->loop), -1, 0, on_stop_timer, a);
	return a;
}

void announcer_free(struct announcer *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->n_trackers; i++)
		tracker_free(a->trackers[i]);
	free(a->trackers);
	announce_udp_free(a->udp);
	event_free(a->stop_timer);
	free(a);
}

/* Calls fn for each route of each tracker. */
static void announcer_each(struct announcer *a, void (*fn)(struct route *r))
{
	for (size_t i = 0; i < a->n_trackers; i++)
		for (unsigned j = 0; j < a->trackers[i]->n_routes; j++)
			fn(&a->trackers[i]->routes[j]);
}

void announcer_start(struct announcer *a)
{
	if (a->running || a->stopping)
		return;
	a->running = true;
	for (size_t i = 0; i < a->n_trackers; i++)
		tracker_start(a->trackers[i]);
}

/* What is due changes; what was never asked is due already. */
static void route_reschedule(struct route *r)
{
	if (r->state == ROUTE_WAITING && r->tried)
		route_schedule(r);
}

static void route_reset_hunger(struct route *r)
{
	r->timing.hungry_times = 0;
}

void announcer_set_hungry(struct announcer *a, bool hungry)
{
	if (a->hungry == hungry)
		return;
	a->hungry = hungry;
	announcer_each(a, route_reset_hunger);
	if (a->running && !a->stopping)
		announcer_each(a, route_reschedule);
}

void announcer_completed(struct announcer *a)
{
	if (a->completed)
		return;
	a->completed = true;
	if (a->running && !a->stopping)
		announcer_each(a, route_reschedule);
}

/* -- stopping ---------------------------------------------------------------------------- */

static void on_stop_timer(evutil_socket_t fd, short what, void *arg)
{
	struct announcer *a = arg;

	announcer_each(a, route_cancel);
	a->stopped(a->stopped_arg); /* may free it */
}

static void stop_timer_set(struct announcer *a, unsigned ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};

	event_add(a->stop_timer, &tv);
}

/* The end is told from the timer: never from inside of announcer_stop, nor of an announce's end. */
static void announcer_stopped_one(struct announcer *a)
{
	if (--a->stops_left == 0)
		stop_timer_set(a, 0);
}

static void route_stop(struct route *r)
{
	route_cancel(r);
	if (!r->started)
		return;
	r->tracker->announcer->stops_left++;
	route_announce(r);
}

void announcer_stop(struct announcer *a, void (*done)(void *arg), void *arg)
{
	a->stopping = true;
	a->stopped = done;
	a->stopped_arg = arg;
	a->stops_left = 1; /* ours, so that an announce that fails at once does not end it early */
	stop_timer_set(a, STOP_MS);
	for (size_t i = 0; i < a->n_trackers; i++) {
		struct tracker *t = a->trackers[i];
		if (t->resolve)
			resolve_cancel(t->resolve);
		t->resolve = NULL;
	}
	announcer_each(a, route_stop);
	announcer_stopped_one(a);
}

/* -- status ------------------------------------------------------------------------------ */

size_t announcer_count(const struct announcer *a)
{
	return a->n_trackers;
}

/* Which of two routes tells better how the tracker is: one that works, then one whose family the
 * tracker has, then the one of before (IPv4 first). */
static const struct route *route_better(const struct route *a, const struct route *b)
{
	bool a_works = a->tried && !a->error, b_works = b->tried && !b->error;

	if (a_works != b_works)
		return a_works ? a : b;
	if (a->no_address != b->no_address)
		return a->no_address ? b : a;
	return a;
}

void announcer_status(const struct announcer *a, size_t i, struct announce_status *ret)
{
	const struct tracker *t = a->trackers[i];
	const struct route *best = &t->routes[0];
	uint64_t now = clock_us(), answered_us = 0;
	struct announce_status s = {.url = t->redacted, .last_s = -1, .seeds = -1, .leechers = -1};

	for (unsigned j = 0; j < t->n_routes; j++) {
		const struct route *r = &t->routes[j];
		best = route_better(best, r);
		s.seeds = MAX(s.seeds, r->seeds);
		s.leechers = MAX(s.leechers, r->leechers);
		s.peers += r->peers;
		s.warning = s.warning ? s.warning : r->warning;
		if (r->answered)
			answered_us = MAX(answered_us, r->answered_us);
	}
	s.error = best->tried ? best->error : "";
	if (answered_us)
		s.last_s = (int64_t)((now - answered_us) / US_PER_S);
	if (best->state == ROUTE_OFF)
		s.next_s = -2;
	else if (best->state != ROUTE_WAITING)
		s.next_s = -1;
	else
		s.next_s = best->next_us > now ? (int64_t)((best->next_us - now) / US_PER_S) : 0;
	*ret = s;
}
