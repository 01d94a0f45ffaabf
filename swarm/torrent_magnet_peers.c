/* SPDX-License-Identifier: MIT */
/* The peers of a torrent of which only the link is known; see torrent_magnet.h.
 *
 * Connections are told apart by what they can give: in INFO the metadata, in LAYERS hashes, for
 * which both sides must have said v2 in the handshake.  A peer that has nothing, refuses, or is
 * silent is disconnected, counts as failed, and is tried again as peers.c says: after all others.
 * One that is proven to lie is banned, with all of its address.
 *
 * Who calls us takes no place from those that we call, and one address has some of either only.
 *
 * Thread: as torrent_magnet.h says.
 */
#include "swarm/torrent_magnet_fetch.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "swarm/ext.h"
#include "swarm/metadata.h"
#include "swarm/metadata_layers.h"
#include "swarm/metainfo.h"
#include "swarm/peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* -- asking ------------------------------------------------------------------------------------ */

static struct conn *conn_of(const struct magnet_fetch *f, uint32_t number)
{
	struct conn *c = f->conns;
	while (c && c->number != number)
		c = c->next;
	return c;
}

static void ask_info(struct magnet_fetch *f, uint64_t now)
{
	uint32_t number, piece;
	while (metadata_next(f->metadata, now, &number, &piece)) {
		struct buf b = {0};
		struct conn *c = conn_of(f, number);
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

/* Asks all for what there is to ask: after what frees something for others, and at the tick. */
static void pump(struct magnet_fetch *f)
{
	uint64_t now = clock_us();
	if (f->done)
		return;
	if (!f->layers)
		ask_info(f, now);
	for (struct conn *c = f->conns; c && f->layers; c = c->next) {
		if (c->state == CONN_OPEN)
			ask_layers(f, c, now);
	}
}

/* The info dictionary is here: who speaks v2 is asked for the layers, the others are of no use. */
void magnet_peers_want_layers(struct magnet_fetch *f)
{
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

/* -- peers ------------------------------------------------------------------------------------ */

static void ban(struct magnet_fetch *f, struct conn *c, const char *why)
{
	log_warn("peer %s (%s): banned: %s", c->name, c->client, why);
	peers_ban(f->peers, &c->addr);
	conn_fault(c, "banned: %s", why);
	for (struct conn *o = f->conns; o; o = o->next) {
		if (addr_same_ip(&o->addr, &c->addr))
			conn_fail(o, "banned");
	}
}

static void link_conn(struct magnet_fetch *f, struct conn *c)
{
	c->next = f->conns;
	if (f->conns)
		f->conns->prev = c;
	f->conns = c;
	f->n_conns[c->incoming]++;
}

static unsigned count_of_host(const struct magnet_fetch *f, const struct addr *host, bool incoming)
{
	unsigned n = 0;
	for (const struct conn *c = f->conns; c; c = c->next)
		n += c->incoming == incoming && addr_same_ip(&c->addr, host);
	return n;
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
		ext_add_handshake(&b, f->parts->env.listens.port, CONN_REQUEST_QUEUE, false, 0,
			"p2pfs " P2PFS_VERSION);
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
	struct addr listens;
	if (!conn_take_ext(c, m, &listens))
		return;
	if (listens.port)
		peers_on_connected(f->peers, &listens, clock_us());
	if (f->layers)
		return;
	if (!c->ext.ut_metadata || !c->ext.metadata_size) {
		conn_fail(c, "it has no metadata");
		return;
	}
	const char *why = metadata_add(f->metadata, c->number, &c->addr, c->ext.metadata_size);
	if (why)
		conn_fault(c, "%s: %llu bytes", why, (unsigned long long)c->ext.metadata_size);
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
		magnet_fetch_on_info(f, info, len);
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
		magnet_fetch_build(f, true);
	else if (got > before)
		ask_layers(f, c, clock_us());
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

/* It is asked for nothing any more. */
static void forget(struct magnet_fetch *f, uint32_t number)
{
	metadata_remove(f->metadata, number);
	if (f->layers)
		layers_remove(f->layers, number);
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
	f->n_conns[c->incoming]--;
	forget(f, c->number);
	bool ourselves = c->shook && !memcmp(c->peer_id, c->env->peer_id, sizeof(c->peer_id));
	if (!ourselves)
		snprintf(f->trouble, sizeof(f->trouble), "%s: %s", c->name, c->why);
	struct addr a = c->addr;
	if (c->incoming && c->ext.port)
		a.port = c->ext.port;
	if (!c->incoming || c->ext.port)
		peers_on_closed(f->peers, &a, false, ourselves, now);
	if (f->anew)
		peers_forgive(f->peers, now);
	pump(f);
}

const struct conn_ops magnet_peers_ops = {
	.shake = on_shake,
	.open = on_open,
	.message = on_message,
	.block = on_block,
	.writable = on_writable,
	.closed = on_closed,
};

void magnet_fetch_on_accepted(struct magnet_fetch *f, int fd, const struct addr *peer)
{
	if (f->done || f->n_conns[true] >= f->max_conns ||
		count_of_host(f, peer, true) >= MAGNET_MAX_OF_HOST || peers_banned(f->peers, peer))
		close(fd);
	else
		link_conn(f, conn_accept(&f->env, fd, peer));
}

void magnet_peers_connect(struct magnet_fetch *f, uint64_t now)
{
	struct addr a;
	while (f->n_conns[false] < f->max_conns && peers_next(f->peers, now, &a)) {
		if (count_of_host(f, &a, false) >= MAGNET_MAX_OF_HOST) {
			peers_on_closed(f->peers, &a, false, false, now);
			continue;
		}
		struct conn *c = conn_connect(&f->env, &a, f, &f->layout, f->hashes[0], f->v2);
		if (!c) {
			peers_on_closed(f->peers, &a, false, false, now);
			break; /* no descriptors, or no route: not sooner than the next tick */
		}
		link_conn(f, c);
	}
}

/* Room for others: who was asked and is silent, and who does not even tell what it has. */
static void drop_silent(struct magnet_fetch *f, uint64_t now)
{
	bool others = f->n_conns[true] >= f->max_conns ||
		      (f->n_conns[false] >= f->max_conns && peers_due(f->peers, now));
	uint32_t number;
	const char *why;
	while ((number = f->layers ? layers_overdue(f->layers, others, now, &why)
				   : metadata_overdue(f->metadata, others, now, &why))) {
		conn_fail(conn_of(f, number), "%s", why);
		forget(f, number);
	}
	for (struct conn *c = f->conns; c && !f->layers; c = c->next) {
		if (c->state == CONN_OPEN && !c->ext.metadata_size &&
			now - c->since > METADATA_PATIENCE_MS * US_PER_MS)
			conn_fail(
				c, "it told of no metadata for %u s", METADATA_PATIENCE_MS / 1000);
	}
}

void magnet_peers_tick(struct magnet_fetch *f, uint64_t now)
{
	for (struct conn *c = f->conns; c; c = c->next)
		conn_tick(c, now);
	drop_silent(f, now);
	/* Not at once, or who was connected by v1 alone would be so again. */
	if (f->anew) {
		f->anew = false;
		peers_forgive(f->peers, now);
	}
	magnet_peers_connect(f, now);
	pump(f);
}

void magnet_peers_free(struct magnet_fetch *f)
{
	struct conn *next;
	for (struct conn *c = f->conns; c; c = next) {
		next = c->next;
		conn_free(c);
	}
	f->conns = NULL;
	f->n_conns[false] = f->n_conns[true] = 0;
}

struct peers *magnet_fetch_take_peers(struct magnet_fetch *f)
{
	return steal_ptr(&f->peers);
}
