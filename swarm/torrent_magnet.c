/* SPDX-License-Identifier: MIT */
/* See torrent_magnet.h.
 *
 *	INFO	peers that have the metadata are asked for it (metadata.c)
 *	LAYERS	peers that speak v2 are asked for the piece layers (metadata_layers.c)
 *	DONE	the .torrent is there, or it was given up
 *
 * A link that names v1 alone may be of a hybrid.  That shows in the info dictionary; peers answer
 *hash requests only where both sides have said v2 in the handshake, so all connections are made
 *anew then.
 *
 * A peer that has nothing, refuses, or is silent is disconnected, and tried again as peers.c says.
 *One that is proven to lie is banned.
 */
#include "swarm/torrent_magnet.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/announce.h"
#include "swarm/ext.h"
#include "swarm/magnet.h"
#include "swarm/metadata.h"
#include "swarm/metadata_layers.h"
#include "swarm/peers.h"
#include "swarm/torrent.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>

#define FETCH_TICK_MS 200
/* A hybrid works by v1 alone, if more slowly: no longer is waited for who knows v2. */
#define LAYERS_PATIENCE_US (20 * US_PER_S)
/* Who waits is told what for: first after so long, then as often at most. */
#define TELL_FIRST_US (3 * US_PER_S)
#define TELL_AGAIN_US (10 * US_PER_S)

struct magnet_fetch {
	struct swarm_parts *parts;
	const struct magnet *link;
	struct conn_env env;
	struct layout layout; /* of no pieces: none is known */
	unsigned max_conns;

	uint8_t hashes[2][SHA1_LEN]; /* the wire's; v1's first, if there is one */
	unsigned n_hashes;
	bool v2; /* it has a v2 hash, the last of them */

	struct peers *peers;
	struct announcer *announcer;
	struct conn *conns;
	unsigned n_conns;
	char trouble[200]; /* of the last peer that was of no use */

	struct metadata *metadata;
	struct metainfo *bare; /* owned: without layers; NULL in INFO */
	struct layers *layers; /* owned; NULL in INFO */
	bool anew; /* connections without v2 are being closed */

	struct event *tick, *signal_event;
	uint64_t since, deadline, told_at; /* us; deadline 0: none */
	uint64_t layers_at; /* us: when LAYERS began, or a layer came */
	char told[300];
	bool done;
	int error;
	char *why; /* owned */
	struct metainfo *result; /* owned */
};

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

static void build(struct magnet_fetch *f, bool with_layers)
{
	CLEANUP(buf_done) struct buf layers = {0}, whole = {0};
	char *why = NULL;
	if (with_layers)
		layers_write(f->layers, &layers);
	metadata_write(&whole, f->link, f->bare->info, f->bare->info_len, &layers);
	int r = metainfo_parse(buf_bytes(&whole), whole.len, &f->result, &why);
	finish(f, r, why);
}

static void pump(struct magnet_fetch *f);

/* The info dictionary is here, and is what the link says. */
static void on_info(struct magnet_fetch *f, const uint8_t *info, size_t len)
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
		build(f, true);
		return;
	}
	if (!f->v2) {
		memcpy(f->hashes[f->n_hashes++], f->bare->hash_v2, SHA1_LEN);
		f->v2 = f->anew = true;
	}
	for (struct conn *c = f->conns; c; c = c->next) {
		if (c->state != CONN_DEAD && !c->v2 && (c->shook || f->anew))
			conn_fail(c, "it is not connected by v2");
		else if (c->state == CONN_OPEN)
			layers_add(f->layers, c->number);
	}
	pump(f);
}

static void ask_info(struct magnet_fetch *f, struct conn *c, uint64_t now)
{
	uint32_t piece;
	while (metadata_next(f->metadata, c->number, now, &piece)) {
		struct buf b = {0};
		ext_add_metadata(&b, EXT_METADATA_REQUEST, piece, 0);
		wire_add_extended(&c->out, c->ext.ut_metadata, buf_bytes(&b), b.len);
		buf_done(&b);
		conn_send(c);
	}
}

static void ask_layers(struct magnet_fetch *f, struct conn *c, uint64_t now)
{
	struct wire_hashes h;
	while (layers_next(f->layers, c->number, now, &h)) {
		wire_add_hashes(&c->out, WIRE_HASH_REQUEST, &h);
		conn_send(c);
	}
}

static void pump(struct magnet_fetch *f)
{
	uint64_t now = clock_us();
	for (struct conn *c = f->conns; c && !f->done; c = c->next) {
		if (c->state != CONN_OPEN)
			continue;
		if (f->layers)
			ask_layers(f, c, now);
		else
			ask_info(f, c, now);
	}
}

/* -- peers ------------------------------------------------------------------------------------ */

static void ban(struct magnet_fetch *f, struct conn *c, const char *why)
{
	log_warn("peer %s (%s): banned: %s", c->name, c->client, why);
	peers_ban(f->peers, &c->addr);
	conn_fault(c, "banned: %s", why);
}

static void link_conn(struct magnet_fetch *f, struct conn *c)
{
	c->next = f->conns;
	if (f->conns)
		f->conns->prev = c;
	f->conns = c;
	f->n_conns++;
}

static bool has_hash(const struct magnet_fetch *f, const uint8_t hash[SHA1_LEN])
{
	for (unsigned i = 0; i < f->n_hashes; i++) {
		if (!memcmp(f->hashes[i], hash, SHA1_LEN))
			return true;
	}
	return false;
}

static bool on_shake(struct conn *c, const struct wire_handshake *h)
{
	struct magnet_fetch *f = c->env->owner;
	const uint8_t *v2_hash = f->hashes[f->n_hashes - 1];
	c->shook = true;
	if (!has_hash(f, h->info_hash)) {
		conn_fault(
			c, "%s another info-hash", c->incoming ? "it asks for" : "it answered for");
		return false;
	}
	if (!memcmp(h->peer_id, c->env->peer_id, sizeof(h->peer_id))) {
		conn_fail(c, "it is ourselves");
		return false;
	}
	if (peers_banned(f->peers, &c->addr)) {
		conn_fail(c, "banned");
		return false;
	}
	bool v2 = f->v2 && (!memcmp(h->info_hash, v2_hash, SHA1_LEN) || wire_has_v2(h->reserved));
	if (c->incoming)
		conn_bind(c, f, &f->layout, v2 ? v2_hash : h->info_hash, f->v2);
	c->v2 = v2;
	return true;
}

static void on_open(struct conn *c)
{
	struct magnet_fetch *f = c->env->owner;
	struct buf b = {0};
	log_debug(LOG_PEER, "%s %s: open, for its metadata%s", c->name, c->client,
		c->v2 ? ", v2" : "");
	if (!c->extended && !f->layers) {
		conn_fail(c, "it has no extensions, so no metadata");
		return;
	}
	if (f->layers && !c->v2) {
		conn_fail(c, "it does not speak v2");
		return;
	}
	if (c->fast)
		wire_add_simple(&c->out, WIRE_HAVE_NONE);
	if (c->extended) {
		ext_add_handshake(
			&b, f->parts->port, CONN_REQUEST_QUEUE, false, 0, "p2pfs " P2PFS_VERSION);
		wire_add_extended(&c->out, EXT_HANDSHAKE, buf_bytes(&b), b.len);
		buf_done(&b);
	}
	conn_send(c);
	if (f->layers) {
		layers_add(f->layers, c->number);
		ask_layers(f, c, clock_us());
	}
}

static void on_ext_handshake(struct magnet_fetch *f, struct conn *c, const struct wire_message *m)
{
	const char *why;
	struct ext_handshake h;
	if (ext_parse_handshake(m->data, m->data_len, &h, &why) < 0) {
		conn_fault(c, "extension handshake: %s", why);
		return;
	}
	c->ext = h;
	if (h.client[0])
		memcpy(c->client, h.client, sizeof(c->client));
	if (c->incoming && h.port) {
		struct addr a = c->addr;
		a.port = h.port;
		peers_on_connected(f->peers, &a, clock_us());
	}
	if (f->layers)
		return;
	if (!h.ut_metadata || !h.metadata_size) {
		conn_fail(c, "it has no metadata");
		return;
	}
	why = metadata_add(f->metadata, c->number, h.metadata_size);
	if (why)
		conn_fault(c, "%s: %llu bytes", why, (unsigned long long)h.metadata_size);
	else
		pump(f);
}

static void on_metadata(struct magnet_fetch *f, struct conn *c, const struct wire_message *m)
{
	struct ext_metadata e;
	const char *why;
	size_t len;
	int r = ext_parse_metadata(m->data, m->data_len, &e, &why);
	if (r == -EOPNOTSUPP)
		return; /* BEP 9: types of the future are ignored */
	if (r < 0) {
		conn_fault(c, "%s", why);
		return;
	}
	if (e.type == EXT_METADATA_REQUEST && c->ext.ut_metadata) {
		struct buf b = {0};
		ext_add_metadata(&b, EXT_METADATA_REJECT, e.piece, 0);
		wire_add_extended(&c->out, c->ext.ut_metadata, buf_bytes(&b), b.len);
		buf_done(&b);
		conn_send(c);
	}
	if (e.type == EXT_METADATA_REQUEST || f->layers)
		return;
	if (e.type == EXT_METADATA_REJECT) {
		conn_fail(c, "it refuses its metadata");
		return;
	}
	r = metadata_take(f->metadata, c->number, &e, clock_us(), &why);
	if (r == -EBADMSG)
		ban(f, c, why);
	else if (r < 0)
		conn_fault(c, "%s", why);
	const uint8_t *info = metadata_whole(f->metadata, &len);
	if (info)
		on_info(f, info, len);
	else
		pump(f);
}

static void on_hashes(struct magnet_fetch *f, struct conn *c, const struct wire_hashes *h)
{
	uint32_t before, got, all, from;
	layers_progress(f->layers, &before, &all, &from);
	if (layers_take(f->layers, c->number, h, clock_us()) < 0)
		ban(f, c, "piece layers that do not lead to their root");
	layers_progress(f->layers, &got, &all, &from);
	if (got > before)
		f->layers_at = clock_us();
	if (layers_whole(f->layers))
		build(f, true);
	else
		pump(f);
}

static void on_message(struct conn *c, const struct wire_message *m)
{
	struct magnet_fetch *f = c->env->owner;
	if (f->done)
		return;
	if (m->type == WIRE_EXTENDED && m->ext_id == EXT_HANDSHAKE) {
		on_ext_handshake(f, c, m);
	} else if (m->type == WIRE_EXTENDED && m->ext_id == EXT_UT_METADATA) {
		on_metadata(f, c, m);
	} else if (m->type == WIRE_HASHES && f->layers) {
		on_hashes(f, c, &m->hashes);
	} else if (m->type == WIRE_HASH_REJECT && f->layers) {
		layers_on_reject(f->layers, c->number, &m->hashes, clock_us());
	} else if (m->type == WIRE_HASH_REQUEST) {
		wire_add_hashes(&c->out, WIRE_HASH_REJECT, &m->hashes);
		conn_send(c);
	}
}

static void on_block(
	struct conn *c, uint32_t piece, uint32_t block, uint8_t *data, const struct ask *ask)
{
	free(data); /* of a layout without pieces none is let through */
}

static void on_writable(struct conn *c)
{
}

static void on_closed(struct conn *c)
{
	struct magnet_fetch *f = c->env->owner;
	uint64_t now = clock_us();
	if (c->prev)
		c->prev->next = c->next;
	else
		f->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	f->n_conns--;
	metadata_remove(f->metadata, c->number);
	if (f->layers)
		layers_remove(f->layers, c->number);
	bool ourselves = c->shook && !memcmp(c->peer_id, c->env->peer_id, sizeof(c->peer_id));
	if (!ourselves)
		snprintf(f->trouble, sizeof(f->trouble), "%s: %s", c->name, c->why);
	struct addr a = c->addr;
	if (c->incoming && c->ext.port)
		a.port = c->ext.port;
	if (!c->incoming || c->ext.port)
		peers_on_closed(f->peers, &a, c->shook && !c->peers_fault, ourselves, now);
	if (f->anew)
		peers_forgive(f->peers, now);
	pump(f);
}

static const struct conn_ops ops = {
	.shake = on_shake,
	.open = on_open,
	.message = on_message,
	.block = on_block,
	.writable = on_writable,
	.closed = on_closed,
};

void magnet_fetch_on_accepted(struct magnet_fetch *f, int fd, const struct addr *peer)
{
	if (f->done || f->n_conns >= 2 * f->max_conns || peers_banned(f->peers, peer))
		close(fd);
	else
		link_conn(f, conn_accept(&f->env, fd, peer));
}

static void connect_more(struct magnet_fetch *f, uint64_t now)
{
	struct addr a;
	while (f->n_conns < f->max_conns && peers_next(f->peers, now, &a)) {
		struct conn *c = conn_connect(&f->env, &a, f, &f->layout, f->hashes[0], f->v2);
		if (!c) {
			peers_on_closed(f->peers, &a, false, false, now);
			break; /* no descriptors, or no route: not sooner than the next tick */
		}
		link_conn(f, c);
	}
}

static void on_tracker_peers(void *arg, const struct addr *peers, size_t n)
{
	struct magnet_fetch *f = arg;
	uint64_t now = clock_us();
	for (size_t i = 0; i < n; i++)
		peers_add(f->peers, &peers[i], PEERS_FROM_TRACKER, now);
	if (!f->done)
		connect_more(f, now);
}

/* What is left to fetch nobody knows; not nothing, or trackers take us for a seed. */
static void totals(void *arg, struct announce_totals *ret)
{
	*ret = (struct announce_totals) {.left = BLOCK_SIZE};
}

/* -- running ---------------------------------------------------------------------------------- */

/* Room for others: who was asked and is silent, and who does not even tell what it has. */
static void drop_silent(struct magnet_fetch *f, uint64_t now)
{
	uint32_t number =
		f->layers ? layers_overdue(f->layers, now) : metadata_overdue(f->metadata, now);
	for (struct conn *c = f->conns; c; c = c->next) {
		if (c->number == number)
			conn_fail(c, "it was asked, and gave nothing for %u s",
				METADATA_PATIENCE_MS / 1000);
		else if (!f->layers && c->state == CONN_OPEN && !c->ext.metadata_size &&
			 now - c->since > METADATA_PATIENCE_MS * US_PER_MS)
			conn_fail(
				c, "it told of no metadata for %u s", METADATA_PATIENCE_MS / 1000);
	}
}

/* Nobody gives the layers, and the torrent can do without.  At the deadline it has to, but where
 * somebody may give them yet: what is mounted as v1 once stays so. */
static void give_up_layers(struct magnet_fetch *f, uint64_t now)
{
	uint32_t got, all, from;
	if (!f->layers || !f->bare->has_v1)
		return;
	layers_progress(f->layers, &got, &all, &from);
	bool late = f->deadline && now >= f->deadline && !from;
	if (!late && now < f->layers_at + LAYERS_PATIENCE_US)
		return;
	log_warn("%s: no peer gives the piece layers of this hybrid torrent: it is used as one of "
		 "v1, where a read costs a whole piece",
		log_quote(f->bare->name, strlen(f->bare->name)));
	build(f, false);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct magnet_fetch *f = arg;
	uint64_t now = clock_us();
	if (f->done)
		return;
	for (struct conn *c = f->conns; c; c = c->next)
		conn_tick(c, now);
	drop_silent(f, now);
	/* Not at once, or who was connected by v1 alone would be so again. */
	if (f->anew) {
		f->anew = false;
		peers_forgive(f->peers, now);
	}
	connect_more(f, now);
	pump(f);
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

static void free_conns(struct magnet_fetch *f)
{
	struct conn *next;
	for (struct conn *c = f->conns; c; c = next) {
		next = c->next;
		conn_free(c);
	}
	f->conns = NULL;
	f->n_conns = 0;
}

struct magnet_fetch *magnet_fetch_new(
	struct swarm_parts *parts, const struct magnet *link, const struct torrent_config *config)
{
	struct magnet_fetch *f = xcalloc(1, sizeof(*f));
	uint64_t now = clock_us();
	const char *why;
	f->parts = parts;
	f->link = link;
	f->since = f->told_at = now;
	f->env = parts->env;
	f->env.ops = &ops;
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
		.port = parts->port,
		.totals = totals,
		.peers = on_tracker_peers,
		.arg = f,
	};
	memcpy(ac.peer_id, parts->env.peer_id, sizeof(ac.peer_id));
	f->announcer = announcer_new(&ac);
	for (size_t i = 0; i < config->n_trackers; i++) {
		if (announcer_add(f->announcer, config->trackers[i], &why) < 0)
			log_warn("tracker %s: left out: %s", log_quote_url(config->trackers[i]),
				why);
	}
	return f;
}

void magnet_fetch_free(struct magnet_fetch *f)
{
	if (!f)
		return;
	free_conns(f);
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
	connect_more(f, clock_us());
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
		free_conns(f);
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

size_t magnet_fetch_peers(const struct magnet_fetch *f, struct addr *ret, size_t max)
{
	size_t n = 0;
	for (const struct conn *c = f->conns; c && n < max; c = c->next) {
		if (c->state != CONN_OPEN || (c->incoming && !c->ext.port))
			continue;
		ret[n] = c->addr;
		if (c->incoming)
			ret[n].port = c->ext.port;
		n++;
	}
	return n;
}
