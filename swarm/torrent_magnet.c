/* SPDX-License-Identifier: MIT */
/* See torrent_magnet.h.
 *
 *	INFO	peers that have the metadata are asked for it (metadata.c)
 *	LAYERS	peers that speak v2 are asked for the piece layers (metadata_layers.c)
 *	DONE	the .torrent is there, or it was given up
 *
 * A link that names v1 alone may be of a hybrid.  That shows in the info dictionary; connections
 * are made anew then, as v2.  What concerns peers is in torrent_magnet_peers.c.
 */
#include "swarm/torrent_magnet_fetch.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/announce.h"
#include "swarm/magnet.h"
#include "swarm/metadata.h"
#include "swarm/metadata_layers.h"
#include "swarm/metainfo.h"
#include "swarm/peers.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#define FETCH_TICK_MS 200
/* A hybrid works by v1 alone, if more slowly: no longer is waited for who knows v2, and the next
 * time, when nothing else is missing, less long. */
#define LAYERS_PATIENCE_US (20 * US_PER_S)
#define LAYERS_PATIENCE_AGAIN_US (5 * US_PER_S)
/* Who waits is told what for: first after so long, then as often at most. */
#define TELL_FIRST_US (3 * US_PER_S)
#define TELL_AGAIN_US (10 * US_PER_S)

static void finish(struct magnet_fetch *f, int error, char *why)
{
	if (f->done) {
		free(why);
		return;
	}
	f->done = true;
	f->error = error;
	f->why = why;
	loop_stop(f->parts->loop);
}

/* -- what is waited for ----------------------------------------------------------------------- */

/* A tracker that does not answer, as a clause; "" when all do. */
static void tracker_trouble(const struct magnet_fetch *f, char *ret, size_t size)
{
	ret[0] = '\0';
	for (size_t i = 0; i < announcer_count(f->announcer) && !ret[0]; i++) {
		struct announce_status s;
		announcer_status(f->announcer, i, &s);
		if (s.error && s.error[0])
			snprintf(ret, size, "; tracker %s: %s", s.url, s.error);
	}
}

static void describe(const struct magnet_fetch *f, char *ret, size_t size)
{
	uint32_t got, all, from;
	char tracker[160];
	size_t known = peers_known(f->peers);
	tracker_trouble(f, tracker, sizeof(tracker));
	if (f->layers) {
		layers_progress(f->layers, &got, &all, &from);
		if (from)
			snprintf(ret, size, "piece layers: %u of %u parts, from %u peers", got, all,
				from);
		else
			snprintf(ret, size,
				"waiting for a peer that speaks v2, for the piece layers%s%s",
				f->trouble[0] ? ": " : "", f->trouble);
		return;
	}
	metadata_progress(f->metadata, &got, &all, &from);
	if (from)
		snprintf(ret, size, "metadata: %u of %u pieces, from %u peers", got, all, from);
	else if (!known)
		snprintf(ret, size, "waiting for peers: none is known%s", tracker);
	else
		snprintf(ret, size, "waiting for peers: %zu known, none with the metadata%s%s",
			known, f->trouble[0] ? ": " : tracker, f->trouble);
}

static void tell(struct magnet_fetch *f, uint64_t now)
{
	char text[sizeof(f->told)];
	if (now < f->told_at + (f->told[0] ? TELL_AGAIN_US : TELL_FIRST_US))
		return;
	describe(f, text, sizeof(text));
	f->told_at = now;
	if (!strcmp(text, f->told))
		return;
	memcpy(f->told, text, sizeof(text));
	log_info("%s", text);
}

/* -- the .torrent ----------------------------------------------------------------------------- */

void magnet_fetch_build(struct magnet_fetch *f, bool with_layers)
{
	CLEANUP(buf_done) struct buf bare = {0}, whole = {0};
	char *why = NULL;
	if (f->known)
		buf_add(&bare, f->known->raw, f->known->raw_len);
	else
		metadata_write(&bare, f->link, f->bare->info, f->bare->info_len);
	if (with_layers)
		layers_write(f->layers, buf_bytes(&bare), bare.len, &whole);
	const struct buf *b = with_layers ? &whole : &bare;
	int r = metainfo_parse(buf_bytes(b), b->len, &f->result, &why);
	finish(f, r, why);
}

/* The info dictionary is here, and is what the link says. */
void magnet_fetch_on_info(struct magnet_fetch *f, const uint8_t *info, size_t len)
{
	char *why = NULL;
	int r = metainfo_parse_info(info, len, &f->bare, &why);
	if (r < 0) {
		finish(f, r, why);
		return;
	}
	if ((f->link->has_v1 && !f->bare->has_v1) || (f->link->has_v2 && !f->bare->has_v2)) {
		finish(f, -EINVAL, xstrdup("it names a version that its torrent does not have"));
		return;
	}
	f->layers_at = clock_us();
	f->layers = layers_new(f->bare);
	if (!f->layers) {
		finish(f, -E2BIG,
			xasprintf("its piece layers make the .torrent larger than %u bytes",
				TORRENT_MAX_BYTES));
		return;
	}
	if (layers_whole(f->layers)) {
		magnet_fetch_build(f, true);
		return;
	}
	magnet_peers_want_layers(f);
}

static void on_tracker_peers(void *arg, const struct addr *peers, size_t n)
{
	struct magnet_fetch *f = arg;
	uint64_t now = clock_us();
	for (size_t i = 0; i < n; i++)
		peers_add(f->peers, &peers[i], PEERS_FROM_TRACKER, now);
	if (!f->done)
		magnet_peers_connect(f, now);
}

/* What is left to fetch nobody knows; not nothing, or trackers take us for a seed. */
static void totals(void *arg, struct announce_totals *ret)
{
	*ret = (struct announce_totals) {.left = BLOCK_SIZE};
}

/* -- running ---------------------------------------------------------------------------------- */

/* Nobody gives the layers, and the torrent can do without. */
static void give_up_layers(struct magnet_fetch *f, uint64_t now)
{
	uint64_t patience = f->known ? LAYERS_PATIENCE_AGAIN_US : LAYERS_PATIENCE_US;
	bool late = f->deadline && now >= f->deadline;
	if (f->layers && f->bare->has_v1 && (late || now >= f->layers_at + patience))
		magnet_fetch_build(f, false);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct magnet_fetch *f = arg;
	uint64_t now = clock_us();
	if (f->done)
		return;
	magnet_peers_tick(f, now);
	give_up_layers(f, now);
	tell(f, now);
	if (f->deadline && now >= f->deadline && !f->done) {
		char state[sizeof(f->told)];
		describe(f, state, sizeof(state));
		finish(f, -ETIMEDOUT,
			xasprintf("no metadata in %llu s: %s",
				(unsigned long long)((now - f->since) / US_PER_S), state));
	}
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
	struct magnet_fetch *f = arg;
	struct signalfd_siginfo info;
	if (read(fd, &info, sizeof(info)) == sizeof(info))
		finish(f, -EINTR, xstrdup("interrupted before its metadata had come"));
}

static void add_tracker(struct magnet_fetch *f, const char *url)
{
	const char *why;
	if (announcer_add(f->announcer, url, &why) < 0)
		log_warn("tracker %s: left out: %s", log_quote_url(url), why);
}

struct magnet_fetch *magnet_fetch_new(struct swarm_parts *parts, const struct magnet *link,
	const struct metainfo *known, const struct torrent_config *config)
{
	struct magnet_fetch *f = xcalloc(1, sizeof(*f));
	uint64_t now = clock_us();
	f->parts = parts;
	f->link = link;
	f->known = known;
	f->since = f->told_at = now;
	f->env = parts->env;
	f->env.ops = &magnet_peers_ops;
	f->env.owner = f;
	f->max_conns = config->max_peers ? MIN(config->max_peers, MAGNET_MAX_CONNECTED)
					 : MAGNET_MAX_CONNECTED;
	if (link->has_v1)
		memcpy(f->hashes[f->n_hashes++], link->hash_v1, SHA1_LEN);
	if (link->has_v2)
		memcpy(f->hashes[f->n_hashes++], link->hash_v2, SHA1_LEN);
	f->v2 = link->has_v2;
	f->metadata = metadata_new(
		link->has_v1 ? link->hash_v1 : NULL, link->has_v2 ? link->hash_v2 : NULL);
	f->peers = peers_new();
	for (size_t i = 0; i < config->n_peers; i++)
		peers_add(f->peers, &config->peers[i], PEERS_FROM_OPTION, now);

	struct announce_config ac = {
		.loop = parts->loop,
		.http = parts->http,
		.hashes = (const uint8_t(*)[SHA1_LEN])f->hashes,
		.n_hashes = f->n_hashes,
		.listens = parts->env.listens,
		.totals = totals,
		.peers = on_tracker_peers,
		.arg = f,
	};
	memcpy(ac.peer_id, parts->env.peer_id, sizeof(ac.peer_id));
	f->announcer = announcer_new(&ac);
	for (char ***tier = known ? known->tiers : NULL; tier && *tier; tier++) {
		for (char **url = *tier; *url; url++)
			add_tracker(f, *url);
	}
	for (size_t i = 0; i < config->n_trackers; i++)
		add_tracker(f, config->trackers[i]);
	return f;
}

void magnet_fetch_free(struct magnet_fetch *f)
{
	if (!f)
		return;
	magnet_peers_free(f);
	announcer_free(f->announcer);
	peers_free(f->peers);
	metadata_free(f->metadata);
	layers_free(f->layers);
	metainfo_free(f->bare);
	metainfo_free(f->result);
	free(f->why);
	free(f);
}

static void on_stopped(void *arg)
{
	struct magnet_fetch *f = arg;
	loop_stop(f->parts->loop);
}

/* Runs the loop until finish(). */
static void run(struct magnet_fetch *f, int signals)
{
	struct event_base *base = loop_base(f->parts->loop);
	f->tick = event_new(base, -1, EV_PERSIST, on_tick, f);
	f->signal_event = event_new(base, signals, EV_READ | EV_PERSIST, on_signal, f);
	if (!f->tick || !f->signal_event)
		abort(); /* out of memory, as in mem.h */
	event_add(f->tick, &(struct timeval) {.tv_usec = FETCH_TICK_MS * 1000});
	event_add(f->signal_event, NULL);
	announcer_start(f->announcer);
	announcer_set_hungry(f->announcer, true);
	if (f->known)
		magnet_fetch_on_info(f, f->known->info, f->known->info_len);
	magnet_peers_connect(f, clock_us());
	if (!f->done)
		loop_run(f->parts->loop);
	event_free(f->tick);
	event_free(f->signal_event);
}

int magnet_fetch_run(
	struct magnet_fetch *f, uint64_t timeout_ms, struct metainfo **ret, char **ret_why)
{
	sigset_t set, before;
	if (!peers_known(f->peers) && !announcer_count(f->announcer)) {
		*ret_why =
			xstrdup("it names no tracker and no peer: give tracker= or peer=, or the "
				".torrent file or its URL");
		return -EINVAL;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	CLEANUP_CLOSE int signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0) {
		int r = -errno;
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		*ret_why = xasprintf("signals: %s", strerror(-r));
		return r;
	}
	if (timeout_ms)
		f->deadline = f->since + timeout_ms * US_PER_MS;
	run(f, signals);
	f->parts->env.next_number = f->env.next_number;
	if (f->error) {
		/* Trackers need not name us for the next half an hour.  Else the torrent goes on
		 * with our peer id and port. */
		magnet_peers_free(f);
		announcer_stop(f->announcer, on_stopped, f);
		loop_run(f->parts->loop);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (f->error) {
		*ret_why = steal_ptr(&f->why);
		return f->error;
	}
	*ret = steal_ptr(&f->result);
	return 0;
}
