/* SPDX-License-Identifier: MIT */
/* A torrent's life.  See torrent.h for what lives where. */
#include "swarm/torrent.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/announce.h"
#include "swarm/peers.h"
#include "swarm/resume.h"
#include "swarm/store.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>

/* With fewer connected peers than this an incomplete torrent is hungry for more. */
#define FEW_PEERS 5
#define STOP_US (4 * US_PER_S) /* the workers' last jobs; the announcer has its own 2 s */

/* -- opening ---------------------------------------------------------------------------------- */

static int open_store(struct torrent *t, const char *path, char **ret_why)
{
	switch (t->where) {
	case TORRENT_IN_STORE:
		return store_open_disk(path, t->meta, &t->store, ret_why);
	case TORRENT_IN_PLACE:
		return store_open_in_place(path, t->meta, &t->store, ret_why);
	case TORRENT_GET:
		return store_open_get(path, t->meta, &t->store, ret_why);
	case TORRENT_IN_MEMORY:
		return store_open_memory(t->meta, &t->store);
	}
	return -EINVAL;
}

static void set_hashes(struct torrent *t)
{
	if (t->meta->has_v1)
		memcpy(t->hashes[t->n_hashes++], t->meta->hash_v1, SHA1_LEN);
	if (t->meta->has_v2)
		memcpy(t->hashes[t->n_hashes++], t->meta->hash_v2, SHA1_LEN);
}

bool torrent_has_hash(const struct torrent *t, const uint8_t hash[SHA1_LEN])
{
	for (unsigned i = 0; i < t->n_hashes; i++) {
		if (!memcmp(t->hashes[i], hash, SHA1_LEN))
			return true;
	}
	return false;
}

static void totals(void *arg, struct announce_totals *ret)
{
	const struct torrent *t = arg;
	uint64_t had = 0;
	for (uint32_t p = 0; p < t->layout.n_pieces; p++) {
		if (bits_get(&t->picker.pieces, p))
			had += layout_piece_len(&t->layout, p);
	}
	*ret = (struct announce_totals) {
		.uploaded = t->up.total,
		.downloaded = t->down.total,
		.left = t->complete ? 0 : MAX(t->meta->size - MIN(had, t->meta->size), (uint64_t)1),
	};
}

static void on_tracker_peers(void *arg, const struct addr *peers, size_t n);

static int open_trackers(struct torrent *t, const struct torrent_config *config)
{
	struct announce_config ac = {
		.loop = t->parts->loop,
		.http = t->parts->http,
		.hashes = (const uint8_t(*)[SHA1_LEN])t->hashes,
		.n_hashes = t->n_hashes,
		.listens = t->parts->env.listens,
		.totals = totals,
		.peers = on_tracker_peers,
		.arg = t,
	};
	memcpy(ac.peer_id, t->parts->env.peer_id, sizeof(ac.peer_id));
	t->announcer = announcer_new(&ac);
	if (!t->announcer)
		return -ENOMEM;
	const char *why;
	for (char ***tier = t->meta->tiers; tier && *tier; tier++) {
		for (char **url = *tier; *url; url++) {
			if (announcer_add(t->announcer, *url, &why) < 0)
				log_warn("tracker %s: left out: %s", log_quote_url(*url), why);
		}
	}
	for (size_t i = 0; i < config->n_trackers; i++) {
		if (announcer_add(t->announcer, config->trackers[i], &why) < 0)
			log_warn("tracker %s: left out: %s", log_quote_url(config->trackers[i]), why);
	}
	for (char **url = t->meta->web_seeds; url && *url; url++) {
		if (web_add(t, *url, &why) < 0)
			log_warn("web seed %s: left out: %s", log_quote_url(*url), why);
	}
	return 0;
}

int torrent_new(struct swarm_parts *parts, struct metainfo *meta, const struct torrent_config *config,
	struct torrent **ret, char **ret_why)
{
	struct torrent *t = xcalloc(1, sizeof(*t));
	t->parts = parts;
	t->meta = meta;
	t->started = clock_us();
	t->where = config->where;
	t->fill = config->fill;
	t->seed = config->seed;
	t->max_peers = config->max_peers ? config->max_peers : PEERS_MAX_CONNECTED;
	t->on_complete = config->complete;
	t->on_complete_arg = config->arg;
	pthread_mutex_init(&t->facts_lock, NULL);
	pthread_mutex_init(&t->recent_lock, NULL);
	choker_init(&t->choker, t->seed ? CHOKER_MAX_SLOTS : 0, serve_set_choking);
	t->peers = peers_new();
	set_hashes(t);

	int r = layout_init(&t->layout, meta);
	if (r < 0) {
		*ret_why = xasprintf("%s: too many blocks", meta->name);
		goto fail;
	}
	r = open_store(t, config->path, ret_why);
	if (r < 0)
		goto fail;
	t->entry = xstrdup(store_entry(t->store));
	t->read_only = t->store->read_only;

	bits_init(&t->have, t->layout.n_blocks);
	bits_init(&t->zero, t->layout.n_blocks);
	uint64_t seed;
	random_bytes(&seed, sizeof(seed));
	r = picker_init(&t->picker, &t->layout, &t->have, seed);
	if (r >= 0)
		r = open_trackers(t, config);
	if (r < 0) {
		*ret_why = xasprintf("%s: out of memory", meta->name);
		goto fail;
	}
	for (size_t i = 0; i < config->n_peers; i++)
		peers_add(t->peers, &config->peers[i], PEERS_FROM_OPTION, clock_us());
	verify_zeros(t);
	verify_open(t, config->verify);
	r = profile_open(t, config, ret_why);
	if (r < 0)
		goto fail;
	torrent_check_complete(t);
	status_refresh(t, clock_us());
	*ret = t;
	return 0;
fail:
	t->meta = NULL; /* the caller keeps it */
	torrent_free(t);
	return r;
}

void torrent_free(struct torrent *t)
{
	if (!t)
		return;
	while (t->conns) {
		struct conn *c = t->conns;
		t->conns = c->next;
		conn_free(c);
	}
	announcer_free(t->announcer);
	web_free(t);
	profile_close(t);
	if (t->resume && t->n_claimed)
		resume_forbid_clean(t->resume);
	if (t->resume && resume_close(t->resume) < 0)
		log_error("%s: the record of what is here could not be saved", t->meta->name);
	store_close(t->store);
	if (t->pump_event)
		event_free(t->pump_event);
	if (t->tick_event)
		event_free(t->tick_event);
	if (t->fast_event)
		event_free(t->fast_event);
	if (t->push_event)
		event_free(t->push_event);
	if (t->picker.work)
		picker_done(&t->picker);
	verify_forget(t);
	hashes_free(t);
	bits_done(&t->have);
	bits_done(&t->zero);
	bits_done(&t->claimed);
	choker_done(&t->choker);
	peers_free(t->peers);
	metainfo_free(t->meta);
	pthread_mutex_destroy(&t->facts_lock);
	pthread_mutex_destroy(&t->recent_lock);
	free(t->entry);
	free(t);
}

/* -- running ---------------------------------------------------------------------------------- */

static void on_push(evutil_socket_t fd, short what, void *arg)
{
	leaves_push(arg);
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
	ask_pump(arg);
}

static void connect_more(struct torrent *t, uint64_t now)
{
	struct addr a;
	while (t->n_conns < t->max_peers && t->n_connecting < PEERS_MAX_HALF_OPEN &&
		peers_next(t->peers, now, &a)) {
		struct conn *c = conn_connect(&t->parts->env, &a, t, &t->layout, t->hashes[0],
			t->meta->has_v2);
		if (!c) {
			peers_on_closed(t->peers, &a, false, false, now);
			break; /* no descriptors, or no route: not sooner than the next tick */
		}
		c->next = t->conns;
		if (t->conns)
			t->conns->prev = c;
		t->conns = c;
		t->n_conns++;
		t->n_connecting++;
	}
}

static void on_tracker_peers(void *arg, const struct addr *peers, size_t n)
{
	struct torrent *t = arg;
	uint64_t now = clock_us();
	for (size_t i = 0; i < n; i++)
		peers_add(t->peers, &peers[i], PEERS_FROM_TRACKER, now);
	if (!t->stopping && t->tick_event)
		connect_more(t, now);
}

static void finish_stop(struct torrent *t, uint64_t now)
{
	if (!t->on_stopped || !t->announcer_stopped || (t->jobs && now < t->stop_at))
		return;
	void (*done)(void *arg) = t->on_stopped;
	t->on_stopped = NULL;
	done(t->on_stopped_arg);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct torrent *t = arg;
	uint64_t now = clock_us();
	if (t->stopping) {
		finish_stop(t, now);
		return;
	}
	for (struct conn *c = t->conns; c; c = c->next) {
		conn_tick(c, now);
		ask_interest(t, c);
	}
	choker_tick(&t->choker, !t->complete, limiter_wait(&t->parts->up, BLOCK_SIZE, now) > 0, now);
	connect_more(t, now);
	bool hungry = !t->complete && t->n_conns - t->n_connecting < FEW_PEERS;
	if (hungry != t->announced_hungry) {
		t->announced_hungry = hungry;
		announcer_set_hungry(t->announcer, hungry);
	}
	verify_retry_disk(t, now);
	verify_check_more(t);
	profile_on_tick(t, now);
	ask_on_tick(t, now);
	for (struct conn *c = t->conns; c; c = c->next)
		serve(c);
	status_refresh(t, now);
}

/* While reads wait: their time-outs and the hedges, every 10 ms. */
static void on_fast(evutil_socket_t fd, short what, void *arg)
{
	struct torrent *t = arg;
	uint64_t now = clock_us();
	read_take_recent(t);
	read_on_tick(t, now);
	ask_hedge(t, now);
	ask_pump(t);
	if (t->n_reads)
		event_add(t->fast_event, &(struct timeval) {.tv_usec = FAST_TICK_MS * 1000});
}

void torrent_start(struct torrent *t)
{
	struct event_base *base = loop_base(t->parts->loop);
	t->pump_event = event_new(base, -1, 0, on_pump, t);
	t->fast_event = event_new(base, -1, 0, on_fast, t);
	t->push_event = event_new(base, -1, 0, on_push, t);
	t->tick_event = event_new(base, -1, EV_PERSIST, on_tick, t);
	event_add(t->tick_event, &(struct timeval) {.tv_usec = TICK_MS % 1000 * 1000,
						   .tv_sec = TICK_MS / 1000});
	if (!t->read_only && t->where != TORRENT_IN_MEMORY) {
		struct resume_callbacks cb = {.lost = verify_on_lost, .extra = leaves_save, .arg = t};
		t->resume = resume_new(t->parts->loop, t->parts->pool, t->store, &t->layout, &t->have,
			&cb);
	}
	announcer_start(t->announcer);
	if (!t->complete) {
		t->announced_hungry = true;
		announcer_set_hungry(t->announcer, true);
	}
	connect_more(t, clock_us());
	ask_ends_first(t);
	verify_check_more(t);
	torrent_check_complete(t);
	ask_soon(t);
}

static void on_announcer_stopped(void *arg)
{
	struct torrent *t = arg;
	t->announcer_stopped = true;
	finish_stop(t, clock_us());
}

void torrent_stop(struct torrent *t, void (*done)(void *arg), void *arg)
{
	t->stopping = true;
	t->on_stopped = done;
	t->on_stopped_arg = arg;
	t->stop_at = clock_us() + STOP_US;
	torrent_read_cancel_all(t, -ESHUTDOWN);
	for (struct conn *c = t->conns; c; c = c->next)
		conn_fail(c, "we stop");
	event_add(t->tick_event, &(struct timeval) {.tv_usec = 20000});
	announcer_stop(t->announcer, on_announcer_stopped, t);
}

static void on_recorded(void *arg, int error)
{
	struct torrent *t = arg;
	if (error)
		log_error("%s: complete, but not safe on disk: %s", t->meta->name, strerror(-error));
	else if (t->where == TORRENT_GET && store_finish(t->store) < 0)
		log_warn("%s: complete; its working folder could not be removed", t->meta->name);
	if (!error && t->on_complete)
		t->on_complete(t->on_complete_arg);
}

void torrent_check_complete(struct torrent *t)
{
	bool complete = bits_full(&t->picker.pieces);
	if (t->complete && !complete) /* the store lost something */
		peers_forgive(t->peers, clock_us());
	t->complete = complete;
	if (!complete || t->complete_told || !t->pump_event)
		return;
	t->complete_told = true;
	log_debug(LOG_PICK, "%s: complete", t->meta->name);
	if (t->down.total)
		announcer_completed(t->announcer);
	for (struct conn *c = t->conns; c; c = c->next) {
		conn_set_interested(c, false);
		if (c->is_seed || c->upload_only)
			conn_fail(c, "it has all, and so do we");
	}
	if (t->resume)
		resume_flush(t->resume, on_recorded, t);
	else
		on_recorded(t, 0);
	status_refresh(t, clock_us());
}

void torrent_on_piece(struct torrent *t, uint32_t piece)
{
	for (struct conn *c = t->conns; c; c = c->next) {
		if (c->state != CONN_OPEN || bits_get(&c->has, piece))
			continue;
		wire_add_have(&c->out, piece);
		conn_send(c);
	}
	torrent_check_complete(t);
}

/* -- the façade's plain ones ------------------------------------------------------------------- */

const struct metainfo *torrent_meta(const struct torrent *t)
{
	return t->meta;
}

const char *torrent_entry(const struct torrent *t)
{
	return t->entry;
}

bool torrent_complete(const struct torrent *t)
{
	return t->complete;
}

bool torrent_all_hashed(const struct torrent *t)
{
	return t->complete && t->hashed;
}

int torrent_fd(struct torrent *t, uint32_t file)
{
	return t->store->ops->fd(t->store, file);
}
