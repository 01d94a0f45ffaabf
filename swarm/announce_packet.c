// SPDX-License-Identifier: MIT
/* The UDP tracker protocol: see announce_packet.h.
 *
 *	connect    magic:8 action:4 transaction:4                  -> action transaction id:8
 *	announce   id:8 action transaction hash:20 peer_id:20      -> action transaction interval:4
 *	           downloaded:8 left:8 uploaded:8 event:4             leechers:4 seeds:4 (ip port)*
 *	           ip:4 key:4 numwant:4 port:2 (2 length path)*
 *	error                                                      -> 3 transaction text
 *
 * Thread: any.
 */
#include "swarm/announce_packet.h"
#include "base/cursor.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <string.h>

#define PROTOCOL_MAGIC 0x41727101980ull

enum action { ACTION_CONNECT, ACTION_ANNOUNCE, ACTION_SCRAPE, ACTION_ERROR };

void exchange_init(struct exchange *x, const struct announce_request *request, bool v6, uint64_t id,
	uint64_t id_us)
{
	*x = (struct exchange) {.request = *request,
		.v6 = v6,
		.state = id_us ? EXCHANGE_ANNOUNCE : EXCHANGE_CONNECT,
		.old_id = id_us != 0,
		.id = id,
		.id_us = id_us};
}

static void exchange_enter(struct exchange *x, enum exchange_state state)
{
	x->state = state;
	x->tries = 0;
	if (state == EXCHANGE_CONNECT) {
		x->id_us = 0;
		x->old_id = false;
	}
}

struct writer {
	uint8_t *p;
	size_t n;
};

static void put(struct writer *w, const void *data, size_t len)
{
	memcpy(w->p + w->n, data, len);
	w->n += len;
}

static void put_be(struct writer *w, uint64_t v, unsigned bytes)
{
	for (unsigned i = bytes; i-- > 0;)
		w->p[w->n++] = (uint8_t)(v >> (8 * i));
}

/* BEP 41: the path in options of at most 255 bytes each.  A path that says nothing more than
 * "/announce" is left out: some old trackers take no packet but of 98 bytes. */
static void put_path(struct writer *w, const char *path)
{
	size_t len = path ? strlen(path) : 0;

	if (len <= 1 || len > EXCHANGE_MAX_PATH || strcmp(path, "/announce") == 0)
		return;
	for (size_t n; len; path += n, len -= n) {
		n = MIN(len, (size_t)255);
		put_be(w, 2, 1);
		put_be(w, n, 1);
		put(w, path, n);
	}
}

size_t exchange_packet(struct exchange *x, uint64_t now, uint32_t random,
	uint8_t ret[EXCHANGE_MAX_PACKET], uint64_t *ret_wait_us)
{
	const struct announce_request *r = &x->request;
	struct writer w = {.p = ret};

	if (x->state == EXCHANGE_ANNOUNCE && now - x->id_us >= EXCHANGE_ID_LIFE_US)
		exchange_enter(x, EXCHANGE_CONNECT);
	/* A packet sent again keeps its number: a late answer to the first one counts. */
	if (!x->tries)
		x->transaction = random;
	*ret_wait_us = EXCHANGE_RETRY_US << x->tries;
	x->tries++;
	if (x->state == EXCHANGE_CONNECT) {
		put_be(&w, PROTOCOL_MAGIC, 8);
		put_be(&w, ACTION_CONNECT, 4);
		put_be(&w, x->transaction, 4);
		return w.n;
	}
	put_be(&w, x->id, 8);
	put_be(&w, ACTION_ANNOUNCE, 4);
	put_be(&w, x->transaction, 4);
	put(&w, r->hash, sizeof(r->hash));
	put(&w, r->peer_id, sizeof(r->peer_id));
	put_be(&w, r->totals.downloaded, 8);
	put_be(&w, r->totals.left, 8);
	put_be(&w, r->totals.uploaded, 8);
	put_be(&w, r->event, 4);
	put_be(&w, 0, 4); /* our address: the one that the packet comes from */
	put_be(&w, r->key, 4);
	put_be(&w, r->numwant, 4);
	put_be(&w, r->port, 2);
	put_path(&w, r->path);
	return w.n;
}

enum exchange_result exchange_timeout(struct exchange *x)
{
	/* Some trackers drop a connection id that they do not know (any more) in silence. */
	if (x->state == EXCHANGE_ANNOUNCE && x->old_id) {
		exchange_enter(x, EXCHANGE_CONNECT);
		return EXCHANGE_SEND;
	}
	return x->tries < EXCHANGE_TRIES ? EXCHANGE_SEND : EXCHANGE_FAILED;
}

static enum exchange_result receive_error(
	struct exchange *x, struct cursor *c, struct announce_reply *ret)
{
	/* The tracker was started again, or its clock runs faster than ours. */
	if (x->state == EXCHANGE_ANNOUNCE && x->old_id) {
		exchange_enter(x, EXCHANGE_CONNECT);
		return EXCHANGE_SEND;
	}
	size_t len = MIN(c->left, (size_t)TRACKER_MAX_TEXT);
	const char *text = log_quote(cursor_take(c, len), len);
	*ret = (struct announce_reply) {.seeds = -1, .leechers = -1};
	ret->failure = xstrdup(*text ? text : "an error without a text");
	return EXCHANGE_FAILED;
}

static enum exchange_result receive_connect(struct exchange *x, struct cursor *c, uint64_t now)
{
	uint64_t id = cursor_u64(c);

	if (cursor_bad(c))
		return EXCHANGE_IGNORED;
	exchange_enter(x, EXCHANGE_ANNOUNCE);
	x->id = id;
	x->id_us = now;
	return EXCHANGE_SEND;
}

static int32_t count(uint32_t v)
{
	return v > INT32_MAX ? -1 : (int32_t)v;
}

static enum exchange_result receive_announce(
	struct exchange *x, struct cursor *c, struct announce_reply *ret)
{
	struct announce_reply r = {.interval_s = cursor_u32(c)};

	r.leechers = count(cursor_u32(c));
	r.seeds = count(cursor_u32(c));
	if (cursor_bad(c))
		return EXCHANGE_IGNORED;
	/* A datagram bounds itself.  What is left over at the end may be an extension's. */
	size_t size = x->v6 ? 18 : 6, n = MIN(c->left / size, (size_t)TRACKER_MAX_PEERS);
	r.peers = xcalloc(n + 1, sizeof(*r.peers));
	for (size_t i = 0; i < n; i++) {
		const uint8_t *p = cursor_take(c, size);
		struct addr *a = &r.peers[r.n_peers];
		if (x->v6)
			addr_from_compact6(p, a);
		else
			addr_from_compact4(p, a);
		r.n_peers += a->port != 0;
	}
	*ret = r;
	return EXCHANGE_DONE;
}

enum exchange_result exchange_receive(struct exchange *x, const void *data, size_t len,
	uint64_t now, struct announce_reply *ret_reply)
{
	struct cursor c = cursor_on(data, len);
	uint32_t action = cursor_u32(&c), transaction = cursor_u32(&c);

	if (cursor_bad(&c) || !x->tries || transaction != x->transaction)
		return EXCHANGE_IGNORED;
	if (action == ACTION_ERROR)
		return receive_error(x, &c, ret_reply);
	if (x->state == EXCHANGE_CONNECT && action == ACTION_CONNECT)
		return receive_connect(x, &c, now);
	if (x->state == EXCHANGE_ANNOUNCE && action == ACTION_ANNOUNCE)
		return receive_announce(x, &c, ret_reply);
	return EXCHANGE_IGNORED;
}
