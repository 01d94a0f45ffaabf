/* SPDX-License-Identifier: MIT */
/* The requests of a connection, ours and the peer's: see conn.h.
 *
 * Ours are open until the block or a reject answers them.  A cancelled one is remembered until its
 * answer has come, so that this is not taken for the answer to a later request for the same block.
 * Blocks that answer nothing are counted against the peer.
 *
 * Thread: loop.
 */
#include "swarm/conn.h"

#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/layout.h"

#include <string.h>

#define DEFAULT_REQQ 250u        /* of a peer that tells none: what libtorrent and transmission take */
#define MAX_UNANSWERED 64u       /* cancelled requests remembered of a peer that need not answer them (BEP 3) */
#define MAX_ASKS 1000u           /* 16 MiB under way from one peer */
/* Blocks that come without a request, beyond those whose request was forgotten: then it is no accident. */
#define MAX_UNASKED 100u
/* After a refusal the peer is asked nothing for so long, doubling with each round of them: else a peer
 * that refuses all would be asked as fast as the network goes. */
#define REFUSED_US (10 * US_PER_MS)
#define REFUSED_DOUBLINGS 9u /* 5 s */

void conn_ask(struct conn *c, uint32_t piece, uint32_t block, uint32_t len, enum ask_kind kind,
	uint64_t now)
{
	if (c->state != CONN_OPEN)
		return;
	GROW(c->asks, c->n_asks, c->cap_asks);
	c->asks[c->n_asks++] = (struct ask) {
		.piece = piece,
		.block = block,
		.len = len,
		.kind = kind,
		.mark = path_on_sent(&c->path, c->outstanding, now),
	};
	c->outstanding += len;
	wire_add_block(&c->out, WIRE_REQUEST, piece, block * BLOCK_SIZE, len);
	conn_send(c);
}

unsigned conn_find_ask(const struct conn *c, uint32_t piece, uint32_t block)
{
	unsigned i = 0;
	while (i < c->n_asks && (c->asks[i].piece != piece || c->asks[i].block != block))
		i++;
	return i;
}

void conn_drop_ask(struct conn *c, unsigned i)
{
	c->outstanding -= c->asks[i].len;
	c->n_asks--;
	memmove(&c->asks[i], &c->asks[i + 1], (c->n_asks - i) * sizeof(c->asks[0]));
}

/* Was a request for this block cancelled that is unanswered yet?  Then this is the answer. */
static bool was_cancelled(struct conn *c, uint32_t piece, uint32_t block)
{
	for (unsigned i = 0; i < c->n_cancelled; i++) {
		struct cancelled *k = &c->cancelled[i];
		if (k->piece != piece || k->block != block)
			continue;
		memmove(k, k + 1, (--c->n_cancelled - i) * sizeof(*k));
		return true;
	}
	return false;
}

static void remember_cancelled(struct conn *c, const struct ask *a)
{
	if (c->n_cancelled >= (c->fast ? MAX_ASKS : MAX_UNANSWERED))
		memmove(c->cancelled, c->cancelled + 1, --c->n_cancelled * sizeof(c->cancelled[0]));
	GROW(c->cancelled, c->n_cancelled, c->cap_cancelled);
	c->cancelled[c->n_cancelled++] = (struct cancelled) {a->piece, a->block};
}

void conn_unask(struct conn *c, unsigned i)
{
	struct ask a = c->asks[i];
	remember_cancelled(c, &a);
	conn_drop_ask(c, i);
	c->forgotten++;
	if (c->state != CONN_OPEN)
		return;
	wire_add_block(&c->out, WIRE_CANCEL, a.piece, a.block * BLOCK_SIZE, a.len);
	conn_send(c);
}

/* A request of ours was refused, and not because the peer chokes us. */
static void on_refusal(struct conn *c)
{
	uint64_t now = clock_us();
	if (now < c->refused_until)
		return; /* asked before the last one: the same round */
	c->refused_until = now + (REFUSED_US << MIN(c->refusals, REFUSED_DOUBLINGS));
	c->refusals++;
}

bool conn_take_reject(struct conn *c, uint32_t piece, uint32_t block)
{
	if (was_cancelled(c, piece, block))
		return false;
	if (!c->choked && conn_find_ask(c, piece, block) < c->n_asks)
		on_refusal(c);
	return true;
}

bool conn_take_answer(struct conn *c, uint32_t piece, uint32_t block, uint32_t len, uint64_t now,
	struct ask *ret)
{
	unsigned i = conn_find_ask(c, piece, block);
	bool cancelled = was_cancelled(c, piece, block);
	if (i == c->n_asks || c->asks[i].len != len) {
		if (++c->unasked > c->forgotten + MAX_UNASKED)
			conn_fault(c, "%u blocks that nobody asked for", c->unasked - c->forgotten);
		return false;
	}
	*ret = c->asks[i];
	if (cancelled) {
		/* The first request's; the second one is not needed, and tells nothing of the path. */
		conn_unask(c, i);
		path_on_late(&c->path, len, now);
	} else {
		conn_drop_ask(c, i);
		path_on_delivered(&c->path, &ret->mark, len, now);
	}
	c->timeouts = 0;
	if (c->refusals)
		c->refusals--;
	return true;
}

bool conn_refuses(const struct conn *c)
{
	return c->refusals && clock_us() < c->refused_until;
}

bool conn_may_ask(const struct conn *c, uint32_t piece)
{
	if (c->state != CONN_OPEN || !bits_get(&c->has, piece) || conn_refuses(c))
		return false;
	for (unsigned i = 0; c->choked && i < c->n_allowed_fast; i++) {
		if (c->allowed_fast[i] == piece)
			return true;
	}
	return !c->choked;
}

unsigned conn_max_asks(const struct conn *c)
{
	return MIN(c->ext.reqq ? c->ext.reqq : DEFAULT_REQQ, MAX_ASKS);
}

void conn_want(struct conn *c, uint32_t piece, uint32_t begin, uint32_t length)
{
	GROW(c->wanted, c->n_wanted, c->cap_wanted);
	c->wanted[c->n_wanted++] = (struct wanted) {piece, begin, length};
}

void conn_drop_wanted(struct conn *c, unsigned i)
{
	c->n_wanted--;
	memmove(&c->wanted[i], &c->wanted[i + 1], (c->n_wanted - i) * sizeof(c->wanted[0]));
}
