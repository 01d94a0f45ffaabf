/* SPDX-License-Identifier: MIT */
/* Leaf hashes (BEP 52): asked for, taken, kept.
 *
 * They are asked for in runs of LEAF_RUN, with the uncles up to the piece's root, of the peer that is
 * asked for the block, in the same breath; they prove themselves against the piece layer of the
 * .torrent, so any peer may give them, and one that gives others is dropped.  They stay with the piece
 * while it is here in part and are saved with the record; of a complete piece they are not kept.
 *
 * Behind a demand to which nothing else is asked, LEAVES_PUSH_BYTES of leaves more are asked for in a moment, of
 * that piece or of those that follow.  A peer that leaves Nagle's algorithm on (libtorrent does) holds back the end
 * of a block while an earlier small segment, of the leaf hashes say, is not acknowledged: a whole round
 * trip, unless it has more to send.  These fill a segment, and are of use.  They have to be answered
 * after the block, and its disk takes its time: so they are asked for twice.
 *
 * A new peer is asked for LEAVES_WARM runs while it has not unchoked us: those of the reads that wait, and of
 * the torrent's first pieces.  They take no time from anybody, and by them its TCP learns what the path
 * holds: one that paces by what it saw (BBR) would go on as slowly as lone blocks began.
 */
#include "swarm/torrent.h"

#include "base/buf.h"
#include "base/cursor.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/resume.h"

#include <event2/event.h>
#include <string.h>

#define LEAVES_TRIES 4                      /* peers that refused, then the piece is the unit ... */
#define LEAVES_AGAIN_US (10 * US_PER_S)     /* ... for so long */
#define LEAVES_PATIENCE_US (3 * US_PER_S)   /* least time for an answer */
#define LEAVES_PUSH_US 1000                 /* time for the peer to read the block from its disk's cache */
#define LEAVES_PUSH_AGAIN_US 3000           /* ... or from its disk */
#define LEAVES_PUSH_BYTES 1100u             /* with a block's end that fills a segment of Ethernet */
#define LEAVES_PUSH_PIECES 64u              /* looked at for runs that are not known yet */
#define LEAVES_WARM 64u                     /* 40 KiB: what a connection sends in its first two round trips */
#define LEAVES_WARM_READ 4u                 /* of them for one read that waits */
#define HASHES_HEADER 53u                   /* of the message, BEP 52 */
#define LEAVES_WARM_CONNS 4u                /* of a torrent; for more it would be only a cost */
#define REFUSALS_MAX 16                     /* a peer that refused so often is asked no more */

static const struct metainfo_file *file_of(const struct torrent *t, uint32_t piece)
{
	return &t->meta->files[layout_file_of(&t->layout, piece)];
}

/* The hash request for a run of a piece.  The layers within the run need no uncles, and BEP 52 counts
 * the proof's layers from the leaves' parents on. */
static struct wire_hashes request_for(const struct torrent *t, uint32_t piece, uint32_t run)
{
	unsigned height;
	verify_piece_root(&t->layout, piece, &height);
	const struct metainfo_file *f = file_of(t, piece);
	uint32_t length = MIN(LEAF_RUN, 1u << height);
	return (struct wire_hashes) {
		.root = f->root,
		.base_layer = 0,
		.index = (piece - f->first_piece) * t->layout.blocks_per_piece + run * LEAF_RUN,
		.length = length,
		.proof_layers = length < 1u << height ? height - 1 : 0,
	};
}

/* How many hashes the answer has: the run's, and its uncles. */
static uint32_t hashes_of(const struct torrent *t, uint32_t piece)
{
	unsigned height;
	verify_piece_root(&t->layout, piece, &height);
	return 1u << height <= LEAF_RUN ? 1u << height : LEAF_RUN + height - merkle_height(LEAF_RUN);
}

/* Do these hashes lead to the piece's root? */
static bool proves(const struct torrent *t, uint32_t piece, uint32_t run, const uint8_t *hashes)
{
	unsigned height;
	const uint8_t *expect = verify_piece_root(&t->layout, piece, &height);
	uint32_t length = MIN(LEAF_RUN, 1u << height), uncles = hashes_of(t, piece) - length;
	uint8_t top[SHA256_LEN];
	merkle_root(hashes, length, 0, merkle_height(length), top);
	return merkle_proves(top, run, hashes + (size_t)SHA256_LEN * length, uncles, expect);
}

bool leaves_usable(const struct torrent *t, uint32_t piece)
{
	unsigned height;
	if (!t->meta->has_v2)
		return false;
	verify_piece_root(&t->layout, piece, &height);
	return height > 0; /* BEP 52: no fewer than two hashes */
}

/* -- asking ------------------------------------------------------------------------------------ */

static bool may_ask_hashes(const struct conn *c, uint32_t piece)
{
	return c->state == CONN_OPEN && c->v2 && c->hash_rejects < REFUSALS_MAX &&
		bits_get(&c->has, piece);
}

static struct conn *best_for_hashes(struct torrent *t, const struct piece *w, const struct leaf_run *r)
{
	struct conn *best = NULL;
	for (struct conn *c = t->conns; c; c = c->next) {
		if (!may_ask_hashes(c, w->index) || c->number == r->from)
			continue;
		if (!best || c->hash_rejects < best->hash_rejects ||
			(c->hash_rejects == best->hash_rejects &&
				path_rtt(&c->path) < path_rtt(&best->path)))
			best = c;
	}
	return best;
}

static struct leaf_run *runs_of(struct piece *w)
{
	if (!w->runs)
		w->runs = xcalloc(piece_runs(w), sizeof(w->runs[0]));
	return w->runs;
}

static void set_state(struct piece *w, struct leaf_run *r, enum leaf_state state, uint64_t now)
{
	w->runs_asked += (state == LEAVES_ASKED) - (r->state == LEAVES_ASKED);
	w->runs_known += (state == LEAVES_KNOWN) - (r->state == LEAVES_KNOWN);
	w->runs_nowhere += (state == LEAVES_NOWHERE) - (r->state == LEAVES_NOWHERE);
	w->whole = w->runs_nowhere;
	w->bad = w->bad && w->runs_asked;
	r->state = state;
	r->at = now;
}

static void ask_run(struct torrent *t, struct piece *w, struct leaf_run *r, struct conn *c, uint64_t now)
{
	struct wire_hashes h = request_for(t, w->index, (uint32_t)(r - w->runs));
	wire_add_hashes(&c->out, WIRE_HASH_REQUEST, &h);
	conn_send(c);
	set_state(w, r, LEAVES_ASKED, now);
	r->from = c->number;
	r->tries++;
	c->hashes_asked++;
}

/* Has the peer that was asked (NULL: it is gone) had time enough to answer? */
static bool is_overdue(const struct leaf_run *r, const struct conn *asked, uint64_t now)
{
	uint64_t patience = asked ? path_patience(&asked->path, asked->outstanding) : 0;
	return now - r->at >= MAX(patience, LEAVES_PATIENCE_US);
}

static void want_run(struct torrent *t, struct piece *w, struct leaf_run *r, struct conn *c, uint64_t now)
{
	if (r->state == LEAVES_KNOWN || (r->state == LEAVES_NOWHERE && now - r->at < LEAVES_AGAIN_US))
		return;
	if (r->state == LEAVES_ASKED) {
		struct conn *asked = torrent_conn(t, r->from);
		if (!is_overdue(r, asked, now))
			return;
		if (asked)
			asked->hash_rejects++;
	}
	if (!c || !may_ask_hashes(c, w->index) || c->number == r->from)
		c = best_for_hashes(t, w, r);
	if (c && r->tries < LEAVES_TRIES) {
		ask_run(t, w, r, c, now);
		return;
	}
	set_state(w, r, LEAVES_NOWHERE, now);
	r->tries = 0;
	r->from = 0;
	t->demands_open = true; /* the rest of the piece is needed now */
	ask_soon(t);
}

void leaves_push_later(struct torrent *t, const struct piece *w, uint32_t block, const struct conn *c)
{
	struct leaf_push *last = t->n_pushes ? &t->pushes[t->n_pushes - 1] : NULL;
	if (t->n_pushes == ARRAY_SIZE(t->pushes) || !strncmp(c->client, "p2pfs", 5) ||
		(last && !last->again && last->piece == w->index && last->conn == c->number))
		return; /* p2pfs itself waits for no segment to be full */
	t->pushes[t->n_pushes++] = (struct leaf_push) {
		.piece = w->index,
		.run = block / LEAF_RUN,
		.conn = c->number,
		.due = clock_us() + LEAVES_PUSH_US,
	};
	if (!event_pending(t->push_event, EV_TIMEOUT, NULL))
		event_add(t->push_event, &(struct timeval) {.tv_usec = LEAVES_PUSH_US});
}

/* Asks for up to `max` runs of a piece that are not known, from `from` on; gives how many. */
static uint32_t ask_runs(struct torrent *t, uint32_t piece, uint32_t from, uint32_t max, struct conn *c,
	uint64_t now)
{
	struct piece *w = picker_piece(&t->picker, piece);
	uint32_t asked = 0;
	if (bits_get(&t->picker.pieces, piece) || bits_get(&t->picker.reserved, piece) ||
		!may_ask_hashes(c, piece) || !leaves_usable(t, piece))
		return 0;
	w = w ? w : picker_open(&t->picker, piece);
	struct leaf_run *runs = runs_of(w);
	for (uint32_t k = 0; k < piece_runs(w) && asked < max; k++) {
		struct leaf_run *r = &runs[(from + k) % piece_runs(w)];
		if (r->state != LEAVES_UNKNOWN)
			continue;
		ask_run(t, w, r, c, now);
		asked++;
	}
	return asked;
}

static void push(struct torrent *t, const struct leaf_push *p, uint64_t now)
{
	struct conn *c = torrent_conn(t, p->conn);
	unsigned others = 0;
	for (unsigned k = 0; c && k < c->n_asks; k++)
		others += c->asks[k].kind != ASK_DEMAND;
	if (!c || others)
		return;
	const struct metainfo_file *f = file_of(t, p->piece);
	uint32_t end = MIN(p->piece + LEAVES_PUSH_PIECES, f->first_piece + f->n_pieces), n = 0;
	for (uint32_t k = p->piece; k < end && n < LEAVES_PUSH_BYTES; k++) {
		uint32_t each = HASHES_HEADER + SHA256_LEN * hashes_of(t, k);
		uint32_t most = (LEAVES_PUSH_BYTES - n + each - 1) / each;
		n += each * ask_runs(t, k, k == p->piece ? p->run : 0, most, c, now);
	}
}

void leaves_push(struct torrent *t)
{
	uint64_t now = clock_us();
	unsigned n = 0;
	for (unsigned i = 0; i < t->n_pushes; i++) {
		struct leaf_push p = t->pushes[i];
		if (p.due <= now) {
			push(t, &p, now);
			if (p.again)
				continue;
			p.again = true;
			p.due = now + LEAVES_PUSH_AGAIN_US;
		}
		t->pushes[n++] = p;
	}
	t->n_pushes = n;
	uint64_t next = n ? t->pushes[0].due : 0;
	for (unsigned i = 1; i < n; i++)
		next = MIN(next, t->pushes[i].due);
	if (n)
		event_add(t->push_event, &(struct timeval) {.tv_usec = (suseconds_t)(next - now)});
}

void leaves_warm(struct torrent *t, struct conn *c)
{
	uint64_t now = clock_us();
	uint32_t bpp = t->layout.blocks_per_piece, left = LEAVES_WARM;
	if (!t->meta->has_v2 || t->complete || t->read_only || t->n_conns > LEAVES_WARM_CONNS ||
		!c->choked || !c->has.set)
		return;
	for (const struct read *r = t->reads; r && left; r = r->next)
		left -= ask_runs(t, r->first / bpp, r->first % bpp / LEAF_RUN, MIN(left, LEAVES_WARM_READ), c, now);
	for (uint32_t piece = 0; piece < t->layout.n_pieces && left; piece++)
		left -= ask_runs(t, piece, 0, left, c, now);
}

void leaves_want(struct torrent *t, struct piece *w, uint32_t block, struct conn *c, uint64_t now)
{
	if (!leaves_usable(t, w->index)) {
		w->whole = true;
		return;
	}
	struct leaf_run *r = &runs_of(w)[block / LEAF_RUN];
	r->needed = true;
	want_run(t, w, r, c, now);
}

/* -- answers ------------------------------------------------------------------------------------- */

/* The run that an answer of `c` is for; *ret_piece: its piece. */
static struct leaf_run *asked_run(struct torrent *t, struct conn *c, const struct wire_hashes *h,
	struct piece **ret_piece)
{
	uint32_t bpp = t->layout.blocks_per_piece;
	if (h->base_layer || c->hash_answers++ >= c->hashes_asked)
		return NULL;
	for (uint32_t i = 0; t->meta->has_v2 && i < t->meta->n_files; i++) {
		const struct metainfo_file *f = &t->meta->files[i];
		if (!f->length || h->index / bpp >= f->n_pieces || memcmp(f->root, h->root, SHA256_LEN))
			continue;
		uint32_t piece = f->first_piece + h->index / bpp, run = h->index % bpp / LEAF_RUN;
		struct piece *w = picker_piece(&t->picker, piece);
		if (!w || !w->runs || run >= piece_runs(w))
			continue; /* another file may have the same root */
		struct wire_hashes want = request_for(t, piece, run);
		*ret_piece = w;
		if (w->runs[run].state == LEAVES_ASKED && w->runs[run].from == c->number &&
			want.index == h->index && want.length == h->length)
			return &w->runs[run];
	}
	return NULL;
}

/* The caller tidies the piece. */
static void ask_elsewhere(struct torrent *t, struct piece *w, struct leaf_run *r, uint64_t now)
{
	set_state(w, r, LEAVES_UNKNOWN, now);
	if (!r->needed)
		return;
	want_run(t, w, r, NULL, now);
	if (r->state == LEAVES_NOWHERE)
		verify_on_got(t, w);
}

void leaves_on_reject(struct conn *c, const struct wire_hashes *h)
{
	struct torrent *t = c->torrent;
	struct piece *w;
	struct leaf_run *r = asked_run(t, c, h, &w);
	if (!r)
		return;
	c->hash_rejects++;
	ask_elsewhere(t, w, r, clock_us());
	picker_tidy(&t->picker, w);
}

/* Each run that `c` was asked for (NULL: of anybody who is overdue) is asked of somebody else. */
static void give_up_asked(struct torrent *t, const struct conn *c, uint64_t now)
{
	struct piece *next;
	for (struct piece *w = t->picker.head; w; w = next) {
		bool gave_up = false;
		next = w->next;
		for (uint32_t i = 0; w->runs_asked && i < piece_runs(w); i++) {
			struct leaf_run *r = &w->runs[i];
			if (r->state != LEAVES_ASKED || (c && r->from != c->number))
				continue;
			struct conn *asked = c ? NULL : torrent_conn(t, r->from);
			if (!c && !is_overdue(r, asked, now))
				continue;
			if (asked)
				asked->hash_rejects++;
			ask_elsewhere(t, w, r, now);
			gave_up = true;
		}
		if (gave_up)
			picker_tidy(&t->picker, w);
	}
}

void leaves_on_closed(struct torrent *t, struct conn *c)
{
	give_up_asked(t, c, clock_us());
}

void leaves_on_tick(struct torrent *t, uint64_t now)
{
	give_up_asked(t, NULL, now);
	/* Where an overdue run was met on another way, the piece's blocks may wait for this. */
	for (struct piece *w = t->picker.head; w; w = w->next) {
		if (w->runs_nowhere && w->count[BLOCK_GOT])
			verify_on_got(t, w);
	}
}

/* By its leaf hash the block is zeros, and it lies in a hole: nothing has to come. */
static bool is_zero(const struct torrent *t, const struct piece *w, uint32_t i)
{
	uint8_t zero[SHA256_LEN];
	uint32_t len = layout_block_len(&t->layout, w->index, i);
	verify_zero_leaf(len, zero);
	return !memcmp(zero, piece_leaf(w, i), SHA256_LEN) &&
		verify_hole(t, layout_offset(&t->layout, w->index, i), len);
}

/* True when the piece is complete now. */
static bool found_zero(struct torrent *t, const struct piece *w, uint32_t i)
{
	if (bits_set(&t->zero, block_number(t, w->index, i)))
		t->zero_bytes += layout_block_len(&t->layout, w->index, i);
	return picker_found(&t->picker, w->index, i);
}

static uint32_t run_end(const struct piece *w, uint32_t run)
{
	return MIN((run + 1) * LEAF_RUN, w->n_blocks);
}

static void take(struct torrent *t, struct piece *w, struct leaf_run *r, const uint8_t *hashes)
{
	r->hashes = xmemdup(hashes, (size_t)SHA256_LEN * hashes_of(t, w->index));
	set_state(w, r, LEAVES_KNOWN, 0);
}

void leaves_on_hashes(struct conn *c, const struct wire_hashes *h)
{
	struct torrent *t = c->torrent;
	struct piece *w;
	struct leaf_run *r = asked_run(t, c, h, &w);
	if (!r)
		return; /* late: another peer was asked meanwhile, or the piece is complete */
	uint32_t piece = w->index, run = (uint32_t)(r - w->runs), n = hashes_of(t, piece);
	if (h->n_hashes < n) {
		conn_fault(c, "%u leaf hashes where %u were asked for", h->n_hashes, n);
		return;
	}
	if (!proves(t, piece, run, h->hashes)) {
		conn_fault(c, "leaf hashes of piece %u that do not lead to its root", piece);
		return;
	}
	if (c->hash_rejects)
		c->hash_rejects--;
	take(t, w, r, h->hashes);
	w->jobs++; /* it is not to be freed under us */
	bool complete = false;
	for (uint32_t i = run * LEAF_RUN; i < run_end(w, run); i++) {
		if (w->blocks[i].state > BLOCK_ASKED || !is_zero(t, w, i))
			continue;
		ask_cancel_others(t, piece, i);
		complete |= found_zero(t, w, i);
		if (t->resume)
			resume_on_written(t->resume, block_number(t, piece, i), 0);
	}
	verify_on_got(t, w);
	w->jobs--;
	picker_tidy(&t->picker, w);
	if (complete)
		torrent_on_piece(t, piece);
	read_on_block(t, piece);
	ask_soon(t);
}

/* -- kept with the record ----------------------------------------------------------------------- */

/* u32 piece, u32 run, u32 n, n hashes; again and again.  Checked like a peer's when they are loaded. */
void leaves_save(void *arg, uint8_t **ret, size_t *ret_len)
{
	struct torrent *t = arg;
	struct buf b = {0};
	for (const struct piece *w = t->picker.head; w; w = w->next) {
		for (uint32_t i = 0; w->runs_known && w->count[BLOCK_HAVE] && i < piece_runs(w); i++) {
			uint32_t n = hashes_of(t, w->index);
			if (!w->runs[i].hashes)
				continue;
			buf_u32(&b, w->index);
			buf_u32(&b, i);
			buf_u32(&b, n);
			buf_add(&b, w->runs[i].hashes, (size_t)SHA256_LEN * n);
		}
	}
	*ret = b.len ? xmemdup(buf_bytes(&b), b.len) : NULL;
	*ret_len = b.len;
	buf_done(&b);
}

void leaves_load(struct torrent *t, const uint8_t *data, size_t len)
{
	struct cursor c = cursor_on(data, len);
	while (c.left && t->meta->has_v2) {
		uint32_t piece = cursor_u32(&c), run = cursor_u32(&c), n = cursor_u32(&c);
		const uint8_t *hashes = cursor_take(&c, (size_t)SHA256_LEN * n);
		if (!hashes || piece >= t->layout.n_pieces || n != hashes_of(t, piece) ||
			run >= (layout_piece_blocks(&t->layout, piece) + LEAF_RUN - 1) / LEAF_RUN ||
			!proves(t, piece, run, hashes))
			return;
		if (bits_get(&t->picker.pieces, piece))
			continue;
		struct piece *w = picker_open(&t->picker, piece);
		struct leaf_run *r = &runs_of(w)[run];
		if (r->hashes)
			return;
		take(t, w, r, hashes);
		for (uint32_t i = run * LEAF_RUN; i < run_end(w, run); i++) {
			if (is_zero(t, w, i))
				found_zero(t, w, i);
		}
	}
}
