/* SPDX-License-Identifier: MIT */
/* A torrent's peers: who is let in, what each says, who goes and who is banned.
 *
 * Turns each event of a connection into calls on who it concerns: requests are torrent_serve.c's, hashes
 * torrent_hashes.c's and torrent_leaves.c's, whom to ask next torrent_ask.c's.  The info dictionary is
 * given to those that came by a magnet link (BEP 9).
 *
 * Thread: loop.
 */
#include "swarm/torrent.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/ext.h"
#include "swarm/metadata.h"
#include "swarm/peers.h"

#include <errno.h>
#include <string.h>

struct conn *torrent_conn(const struct torrent *t, uint32_t number)
{
	struct conn *c = t->conns;
	while (c && c->number != number)
		c = c->next;
	return c;
}

/* Another connection with the same peer.  Where both sides connected at once, the one that the side
 * with the greater peer id began is kept: both sides judge alike. */
static bool is_double(struct torrent *t, struct conn *c)
{
	for (struct conn *o = t->conns; o; o = o->next) {
		/* An id can be copied: from another address it is another peer, or a good one could be
		 * driven out by whoever has seen its id. */
		if (o == c || o->state != CONN_OPEN || !addr_same_ip(&o->addr, &c->addr) ||
			memcmp(o->peer_id, c->peer_id, sizeof(c->peer_id)))
			continue;
		bool ours_greater = memcmp(t->parts->env.peer_id, c->peer_id, sizeof(c->peer_id)) > 0;
		if (o->incoming != c->incoming && c->incoming != ours_greater) {
			conn_fail(o, "connected twice");
			return false;
		}
		return true;
	}
	return false;
}

bool torrent_on_shake(struct torrent *t, struct conn *c, const struct wire_handshake *h)
{
	bool v2_hash = t->meta->has_v2 && !memcmp(h->info_hash, t->meta->hash_v2, SHA1_LEN);
	if (!c->incoming)
		t->n_connecting--;
	c->shook = true;
	bool v2 = v2_hash || (t->meta->has_v2 && wire_has_v2(h->reserved));
	if (!torrent_has_hash(t, h->info_hash)) {
		conn_fault(c, "it answered for another info-hash");
		return false;
	}
	if (!memcmp(h->peer_id, t->parts->env.peer_id, sizeof(h->peer_id))) {
		conn_fail(c, "it is ourselves");
		return false;
	}
	if (c->incoming) {
		if (t->stopping || t->n_conns >= t->max_peers || peers_banned(t->peers, &c->addr)) {
			conn_fail(c, "not wanted: %s", t->stopping ? "stopping" :
				t->n_conns >= t->max_peers		 ? "enough peers" :
									   "banned");
			return false;
		}
		c->next = t->conns;
		if (t->conns)
			t->conns->prev = c;
		t->conns = c;
		t->n_conns++;
		/* BEP 52: a v1 handshake that tells of v2 is answered with the v2 hash. */
		const uint8_t *answer = v2 ? t->meta->hash_v2 : h->info_hash;
		conn_bind(c, t, &t->layout, answer, t->meta->has_v2);
	}
	c->v2 = v2;
	if (is_double(t, c)) {
		conn_fail(c, "connected already");
		return false;
	}
	return true;
}

static void send_bitfield(struct torrent *t, struct conn *c)
{
	const struct bits *pieces = &t->picker.pieces;
	if (c->fast && bits_full(pieces)) {
		wire_add_simple(&c->out, WIRE_HAVE_ALL);
	} else if (c->fast && !pieces->set) {
		wire_add_simple(&c->out, WIRE_HAVE_NONE);
	} else if (pieces->set) {
		size_t len = bits_wire_len(pieces->n);
		CLEANUP_FREE uint8_t *wire = xmalloc(len);
		bits_to_wire(pieces, wire);
		wire_add_bitfield(&c->out, wire, len);
	}
}

void torrent_on_open(struct conn *c)
{
	struct torrent *t = c->torrent;
	log_debug(LOG_PEER, "%s %s: open, %s%s%s", c->name, c->client, c->incoming ? "incoming" : "outgoing",
		c->v2 ? ", v2" : "", c->fast ? ", fast" : "");
	send_bitfield(t, c);
	if (c->extended) {
		struct buf b = {0};
		ext_add_handshake(&b, t->parts->env.listens.port, CONN_REQUEST_QUEUE, t->complete && t->seed,
			t->meta->info_len, "p2pfs " P2PFS_VERSION);
		wire_add_extended(&c->out, EXT_HANDSHAKE, buf_bytes(&b), b.len);
		buf_done(&b);
	}
	conn_send(c);
	limiter_init(&c->hash_limit, 0, clock_us());
	c->joined = true;
	choker_add(&t->choker, &c->choker, c, clock_us());
	ask_interest(t, c);
}

static void on_extended(struct torrent *t, struct conn *c, const struct wire_message *m)
{
	const char *why;
	uint64_t now = clock_us();
	if (m->ext_id == EXT_HANDSHAKE) {
		struct addr listens;
		if (!conn_take_ext(c, m, &listens))
			return;
		if (listens.port)
			peers_on_connected(t->peers, &listens, now);
		if (t->complete && c->upload_only)
			conn_fail(c, "it has all, and so do we");
	} else if (m->ext_id == EXT_UT_METADATA && c->ext.ut_metadata) {
		struct ext_metadata e;
		int r = ext_parse_metadata(m->data, m->data_len, &e, &why);
		if (r == -EOPNOTSUPP)
			return; /* BEP 9: types of the future are ignored */
		if (r < 0) {
			conn_fault(c, "metadata message: %s", why);
			return;
		}
		if (e.type != EXT_METADATA_REQUEST)
			return;
		uint64_t at = (uint64_t)e.piece * METADATA_PIECE;
		bool there = at < t->meta->info_len;
		struct buf b = {0};
		ext_add_metadata(&b, there ? EXT_METADATA_DATA : EXT_METADATA_REJECT, e.piece,
			t->meta->info_len);
		if (there)
			buf_add(&b, t->meta->info + at,
				MIN(t->meta->info_len - (size_t)at, (size_t)METADATA_PIECE));
		wire_add_extended(&c->out, c->ext.ut_metadata, buf_bytes(&b), b.len);
		buf_done(&b);
		conn_send(c);
	} else if (m->ext_id == EXT_UPLOAD_ONLY && m->data_len == 1) {
		c->upload_only = m->data[0];
	}
}

static void count_has(struct torrent *t, struct conn *c, int delta)
{
	if (c->is_seed && delta > 0)
		return; /* all have it: that makes nothing rarer or less rare */
	if (c->counted == (delta > 0))
		return;
	c->counted = delta > 0;
	picker_on_has_all_of(&t->picker, &c->has, delta);
}

static void on_peer_has(struct torrent *t, struct conn *c)
{
	if (t->complete && c->is_seed) {
		conn_fail(c, "it has all, and so do we");
		return;
	}
	ask_interest(t, c);
	ask_soon(t);
}

void torrent_on_message(struct conn *c, const struct wire_message *m)
{
	struct torrent *t = c->torrent;
	unsigned i;
	switch (m->type) {
	case WIRE_CHOKE:
		/* With the fast extension the peer rejects what it will not serve, one by one. */
		if (!c->fast)
			ask_release(t, c);
		ask_soon(t);
		break;
	case WIRE_UNCHOKE:
		t->demands_open = true;
		ask_soon(t);
		break;
	case WIRE_INTERESTED:
	case WIRE_NOT_INTERESTED:
		choker_on_interest(&t->choker, &c->choker, m->type == WIRE_INTERESTED, clock_us());
		break;
	case WIRE_HAVE:
		if (c->counted)
			picker_on_has(&t->picker, m->piece);
		else
			count_has(t, c, 1);
		t->demands_open = true;
		on_peer_has(t, c);
		break;
	case WIRE_BITFIELD:
	case WIRE_HAVE_ALL:
	case WIRE_HAVE_NONE:
		count_has(t, c, 1);
		t->demands_open = true;
		on_peer_has(t, c);
		leaves_warm(t, c);
		break;
	case WIRE_REJECT:
		i = conn_find_ask(c, m->piece, m->begin / BLOCK_SIZE);
		if (i < c->n_asks) {
			conn_drop_ask(c, i);
			if (picker_on_unasked(&t->picker, m->piece, m->begin / BLOCK_SIZE))
				t->demands_open = true;
			ask_soon(t);
		}
		break;
	case WIRE_ALLOWED_FAST:
		if (c->n_allowed_fast < ALLOWED_FAST_MAX) {
			c->allowed_fast = xrealloc(c->allowed_fast, c->n_allowed_fast + 1,
				sizeof(c->allowed_fast[0]));
			c->allowed_fast[c->n_allowed_fast++] = m->piece;
			ask_soon(t);
		}
		break;
	case WIRE_REQUEST:
	case WIRE_CANCEL:
		serve_on_request(c, m);
		break;
	case WIRE_EXTENDED:
		on_extended(t, c, m);
		break;
	case WIRE_HASHES:
		leaves_on_hashes(c, &m->hashes);
		break;
	case WIRE_HASH_REJECT:
		leaves_on_reject(c, &m->hashes);
		break;
	case WIRE_HASH_REQUEST:
		hashes_on_request(c, &m->hashes);
		break;
	default:
		break;
	}
}

void torrent_on_writable(struct conn *c)
{
	serve(c);
}

void torrent_on_closed(struct conn *c)
{
	struct torrent *t = c->torrent;
	uint64_t now = clock_us();
	if (c->prev)
		c->prev->next = c->next;
	else
		t->conns = c->next;
	if (c->next)
		c->next->prev = c->prev;
	t->n_conns--;
	if (c->down.total) {
		t->gone[t->n_gone % GONE_MAX].number = c->number;
		t->gone[t->n_gone++ % GONE_MAX].addr = c->addr;
	}
	if (!c->incoming && !c->shook)
		t->n_connecting--;
	count_has(t, c, -1);
	if (c->joined)
		choker_remove(&t->choker, &c->choker, now);
	ask_release(t, c);
	leaves_on_closed(t, c);
	bool ourselves = c->shook && !memcmp(c->peer_id, t->parts->env.peer_id, sizeof(c->peer_id));
	bool both_seeds = t->complete && (c->is_seed || c->upload_only);
	struct addr a = c->addr;
	if (c->incoming && c->ext.port)
		a.port = c->ext.port;
	if (!c->incoming || c->ext.port)
		peers_on_closed(t->peers, &a, c->joined && !c->peers_fault, ourselves || both_seeds, now);
	ask_soon(t);
}

/* Who leaves before the proof does not come back either. */
static void ban_gone(struct torrent *t, uint32_t from, const char *why)
{
	for (unsigned i = 0; i < MIN(t->n_gone, GONE_MAX); i++) {
		if (t->gone[i].number != from || peers_banned(t->peers, &t->gone[i].addr))
			continue;
		char name[ADDR_STRLEN];
		log_warn("peer %s, gone: banned: %s", addr_format(&t->gone[i].addr, name), why);
		peers_ban(t->peers, &t->gone[i].addr);
	}
}

void torrent_ban(struct torrent *t, uint32_t from, const char *why)
{
	for (struct web_source *w = t->web; w; w = w->next) {
		if (w->number == from && !w->banned) {
			w->banned = true;
			log_warn("web seed %s: banned: %s", webseed_url(w->seed), why);
		}
	}
	struct conn *c = torrent_conn(t, from);
	if (!c) {
		ban_gone(t, from, why);
		return;
	}
	log_warn("peer %s (%s): banned: %s", c->name, c->client, why);
	peers_ban(t->peers, &c->addr);
	conn_fault(c, "banned: %s", why);
}
