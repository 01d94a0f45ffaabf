/* SPDX-License-Identifier: MIT */
/* Leaf hashes (BEP 52): asked for, taken, kept, given.
 *
 * A piece's leaf hashes are asked of the peer that is asked for the block, in the same breath; they
 * prove themselves against the piece layer of the .torrent, so any peer may give them, and one that
 * gives others is dropped.  They stay with the piece while it is here in part and are saved with the
 * record; of a complete piece they are not kept, but computed anew when a peer asks.
 *
 * Requests of peers: base layer 0 or the piece layer, for pieces that we have; hashing happens on a
 * worker, and what one peer can make us hash is limited.
 */
#include "swarm/torrent.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/resume.h"
#include "swarm/store.h"

#include <errno.h>
#include <string.h>

#define LEAVES_TRIES 4                      /* peers that refused, then the piece is the unit ... */
#define LEAVES_AGAIN_US (10 * US_PER_S)     /* ... for so long */
#define LEAVES_PATIENCE_US (3 * US_PER_S)   /* least time for an answer */
#define HASH_RATE (512u << 20)              /* bytes of data hashed per second for one peer: a boot's
					     * 70 MB lie in 430 pieces of 1 MiB, and a peer that is
					     * refused fetches them whole */
#define HASH_JOBS 32                        /* of one peer under way; more are rejected */
#define REFUSALS_MAX 16                     /* a peer that refused so often is asked no more */

static unsigned log2_of(uint32_t power_of_two)
{
	return (unsigned)__builtin_ctz(power_of_two);
}

/* The hash request for a piece: its file's root, and which leaves. */
static struct wire_hashes request_for(const struct torrent *t, uint32_t piece)
{
	unsigned height;
	verify_piece_root(&t->layout, piece, &height);
	const struct metainfo_file *f = &t->meta->files[layout_file_of(&t->layout, piece)];
	return (struct wire_hashes) {
		.root = f->root,
		.base_layer = 0,
		.index = (piece - f->first_piece) * t->layout.blocks_per_piece,
		.length = 1u << height,
		.proof_layers = 0,
	};
}

bool leaves_usable(const struct torrent *t, uint32_t piece)
{
	if (!t->meta->has_v2)
		return false;
	struct wire_hashes h = request_for(t, piece);
	return h.length >= 2 && h.length <= HASHES_MAX_LENGTH;
}

/* -- asking ------------------------------------------------------------------------------------ */

static bool may_ask_hashes(const struct conn *c, uint32_t piece)
{
	return c->state == CONN_OPEN && c->v2 && c->hash_rejects < REFUSALS_MAX &&
		bits_get(&c->has, piece);
}

static struct conn *best_for_hashes(struct torrent *t, const struct piece *w)
{
	struct conn *best = NULL;
	for (struct conn *c = t->conns; c; c = c->next) {
		if (!may_ask_hashes(c, w->index) || c->number == w->leaves_from)
			continue;
		if (!best || c->hash_rejects < best->hash_rejects ||
			(c->hash_rejects == best->hash_rejects &&
				path_rtt(&c->path) < path_rtt(&best->path)))
			best = c;
	}
	return best;
}

static void nowhere(struct piece *w, uint64_t now)
{
	w->leaves_state = LEAVES_NOWHERE;
	w->leaves_at = now;
	w->whole = true;
}

/* Has the peer that was asked (NULL: it is gone) had time enough to answer? */
static bool is_overdue(const struct piece *w, const struct conn *asked, uint64_t now)
{
	uint64_t patience = asked ? path_patience(&asked->path, asked->outstanding) : 0;
	return now - w->leaves_at >= MAX(patience, LEAVES_PATIENCE_US);
}

void leaves_want(struct torrent *t, struct piece *w, struct conn *c, uint64_t now)
{
	if (w->leaves)
		return;
	if (!leaves_usable(t, w->index)) {
		w->whole = true;
		return;
	}
	if (w->leaves_state == LEAVES_NOWHERE && now - w->leaves_at < LEAVES_AGAIN_US)
		return;
	if (w->leaves_state == LEAVES_ASKED) {
		struct conn *asked = torrent_conn(t, w->leaves_from);
		if (!is_overdue(w, asked, now))
			return;
		if (asked)
			asked->hash_rejects++;
	}
	if (!c || !may_ask_hashes(c, w->index) || c->number == w->leaves_from)
		c = best_for_hashes(t, w);
	if (!c || w->leaves_tries >= LEAVES_TRIES) {
		w->leaves_tries = 0;
		w->leaves_from = 0;
		nowhere(w, now);
		return;
	}
	struct wire_hashes h = request_for(t, w->index);
	wire_add_hashes(&c->out, WIRE_HASH_REQUEST, &h);
	conn_send(c);
	w->leaves_state = LEAVES_ASKED;
	w->leaves_at = now;
	w->leaves_from = c->number;
	w->leaves_tries++;
}

/* The piece in work that an answer of `c` is for. */
static struct piece *asked_piece(struct torrent *t, const struct conn *c, const struct wire_hashes *h)
{
	for (struct piece *w = t->picker.head; w; w = w->next) {
		if (w->leaves_state != LEAVES_ASKED || w->leaves_from != c->number)
			continue;
		struct wire_hashes want = request_for(t, w->index);
		if (!memcmp(want.root, h->root, SHA256_LEN) && want.index == h->index &&
			want.length == h->length && h->base_layer == 0)
			return w;
	}
	return NULL;
}

static void ask_elsewhere(struct torrent *t, struct piece *w)
{
	w->leaves_state = LEAVES_UNKNOWN;
	leaves_want(t, w, NULL, clock_us());
	if (w->leaves_state == LEAVES_NOWHERE) {
		w->bad = false;
		t->demands_open = true; /* the rest of the piece is needed now */
		verify_on_got(t, w);
		ask_soon(t);
	}
}

void leaves_on_reject(struct conn *c, const struct wire_hashes *h)
{
	struct torrent *t = c->torrent;
	struct piece *w = asked_piece(t, c, h);
	if (!w)
		return;
	c->hash_rejects++;
	ask_elsewhere(t, w);
}

void leaves_on_closed(struct torrent *t, struct conn *c)
{
	struct piece *next;
	for (struct piece *w = t->picker.head; w; w = next) {
		next = w->next;
		if (w->leaves_state == LEAVES_ASKED && w->leaves_from == c->number)
			ask_elsewhere(t, w);
	}
}

void leaves_on_tick(struct torrent *t, uint64_t now)
{
	struct piece *next;
	for (struct piece *w = t->picker.head; w; w = next) {
		next = w->next;
		if (w->leaves_state != LEAVES_ASKED)
			continue;
		struct conn *asked = torrent_conn(t, w->leaves_from);
		if (!is_overdue(w, asked, now))
			continue;
		if (asked)
			asked->hash_rejects++;
		ask_elsewhere(t, w);
	}
}

void leaves_on_hashes(struct conn *c, const struct wire_hashes *h)
{
	struct torrent *t = c->torrent;
	struct piece *w = asked_piece(t, c, h);
	if (!w)
		return; /* late: another peer was asked meanwhile, or the piece is complete */
	unsigned height;
	const uint8_t *expect = verify_piece_root(&t->layout, w->index, &height);
	uint8_t root[SHA256_LEN];
	if (h->n_hashes < h->length) {
		conn_fault(c, "%u leaf hashes where %u were asked for", h->n_hashes, h->length);
		return;
	}
	merkle_root(h->hashes, h->length, 0, height, root);
	if (memcmp(root, expect, SHA256_LEN)) {
		conn_fault(c, "leaf hashes of piece %u that do not lead to its root", w->index);
		return;
	}
	if (c->hash_rejects)
		c->hash_rejects--;
	leaves_set(t, w, h->hashes);
}

void leaves_set(struct torrent *t, struct piece *w, const uint8_t *leaves)
{
	uint32_t piece = w->index;
	bool complete = false;
	w->leaves = xmemdup(leaves, (size_t)SHA256_LEN * w->n_blocks);
	w->leaves_state = LEAVES_KNOWN;
	w->whole = w->bad = false;
	for (uint32_t i = 0; i < w->n_blocks; i++) {
		uint8_t zero[SHA256_LEN];
		if (w->blocks[i].state > BLOCK_ASKED)
			continue;
		uint32_t len = layout_block_len(&t->layout, piece, i);
		verify_zero_leaf(len, zero);
		if (memcmp(zero, w->leaves + (size_t)SHA256_LEN * i, SHA256_LEN) ||
			!verify_hole(t, layout_offset(&t->layout, piece, i), len))
			continue;
		/* Known zeros now: a hole already. */
		w->jobs++; /* cancelling must not free the piece under us */
		ask_cancel_others(t, piece, i);
		w->jobs--;
		bits_set(&t->zero, block_number(t, piece, i));
		t->zero_bytes += len;
		complete |= picker_found(&t->picker, piece, i);
		if (t->resume)
			resume_on_written(t->resume, block_number(t, piece, i), 0);
	}
	verify_on_got(t, w);
	picker_tidy(&t->picker, w);
	if (complete)
		torrent_on_piece(t, piece);
	read_on_block(t, piece);
	ask_soon(t);
}

/* -- kept with the record ----------------------------------------------------------------------- */

/* u32 piece, u32 n, n hashes; again and again.  Checked like a peer's when they are loaded. */
void leaves_save(void *arg, uint8_t **ret, size_t *ret_len)
{
	struct torrent *t = arg;
	struct buf b = {0};
	for (const struct piece *w = t->picker.head; w; w = w->next) {
		if (!w->leaves || !w->count[BLOCK_HAVE])
			continue;
		buf_u32(&b, w->index);
		buf_u32(&b, w->n_blocks);
		buf_add(&b, w->leaves, (size_t)SHA256_LEN * w->n_blocks);
	}
	*ret = b.len ? xmemdup(buf_bytes(&b), b.len) : NULL;
	*ret_len = b.len;
	buf_done(&b);
}

void leaves_load(struct torrent *t, const uint8_t *data, size_t len)
{
	struct cursor c = cursor_on(data, len);
	while (c.left && t->meta->has_v2) {
		uint32_t piece = cursor_u32(&c), n = cursor_u32(&c);
		const uint8_t *hashes = cursor_take(&c, (size_t)SHA256_LEN * n);
		if (!hashes || piece >= t->layout.n_pieces ||
			n != layout_piece_blocks(&t->layout, piece) ||
			bits_get(&t->picker.pieces, piece))
			return;
		unsigned height;
		const uint8_t *expect = verify_piece_root(&t->layout, piece, &height);
		uint8_t root[SHA256_LEN];
		merkle_root(hashes, n, 0, height, root);
		if (memcmp(root, expect, SHA256_LEN))
			return;
		struct piece *w = picker_open(&t->picker, piece);
		if (w->leaves)
			return;
		w->leaves = xmemdup(hashes, (size_t)SHA256_LEN * n);
		w->leaves_state = LEAVES_KNOWN;
		for (uint32_t i = 0; i < n; i++) {
			uint8_t zero[SHA256_LEN];
			uint32_t block_len = layout_block_len(&t->layout, piece, i);
			verify_zero_leaf(block_len, zero);
			if (!memcmp(zero, hashes + (size_t)SHA256_LEN * i, SHA256_LEN) &&
				verify_hole(t, layout_offset(&t->layout, piece, i), block_len)) {
				bits_set(&t->zero, block_number(t, piece, i));
				picker_found(&t->picker, piece, i);
			}
		}
	}
}

/* -- given to peers ------------------------------------------------------------------------------ */

struct hash_job {
	struct work work;
	struct torrent *t;
	uint32_t conn; /* its number: it may be gone when this is done */
	struct wire_hashes h;
	uint8_t root[SHA256_LEN];
	const struct metainfo_file *file;
	struct buf hashes;
	int error;
};

/* Leaves [from, from + n) of the file, hashed from the store; padding past its end. */
static int hash_leaves(struct hash_job *j, uint64_t from, uint32_t n, uint8_t *ret)
{
	uint8_t block[BLOCK_SIZE];
	for (uint32_t i = 0; i < n; i++) {
		uint64_t at = (from + i) * BLOCK_SIZE;
		uint8_t *leaf = ret + (size_t)SHA256_LEN * i;
		if (at >= j->file->length) {
			memcpy(leaf, merkle_pad(0), SHA256_LEN);
			continue;
		}
		size_t len = (size_t)MIN(j->file->length - at, (uint64_t)BLOCK_SIZE);
		int r = j->t->store->ops->read(j->t->store, j->file->offset + at, block, len, false);
		if (r < 0)
			return r;
		sha256(block, len, leaf);
	}
	return 0;
}

/* Hash `index` of layer `layer` of the file's tree, from the store below the piece layer, from the
 * piece layer above it. */
static int node_at(struct hash_job *j, unsigned layer, uint64_t index, uint8_t ret[SHA256_LEN])
{
	unsigned piece_layer = log2_of(j->t->layout.blocks_per_piece);
	if (layer < piece_layer || j->file->n_pieces == 1) {
		uint32_t n = 1u << layer;
		CLEANUP_FREE uint8_t *leaves = xmalloc((size_t)SHA256_LEN * n);
		int r = hash_leaves(j, index << layer, n, leaves);
		if (!r)
			merkle_root(leaves, n, 0, layer, ret);
		return r;
	}
	unsigned up = layer - piece_layer;
	uint64_t from = index << up, n_pieces = j->file->n_pieces;
	size_t n = from >= n_pieces ? 0 : (size_t)MIN(n_pieces - from, 1ull << up);
	merkle_root(j->file->layer + SHA256_LEN * (n ? from : 0), n, piece_layer, up, ret);
	return 0;
}

static void hash_run(struct work *work)
{
	struct hash_job *j = container_of(work, struct hash_job, work);
	const struct wire_hashes *h = &j->h;
	for (uint32_t i = 0; i < h->length && !j->error; i++) {
		uint8_t hash[SHA256_LEN];
		j->error = node_at(j, h->base_layer, h->index + i, hash);
		buf_add(&j->hashes, hash, SHA256_LEN);
	}
	/* Uncles, from the parent of what was asked for upwards; the layers within it are left out. */
	unsigned layer = h->base_layer + log2_of(h->length);
	unsigned total = merkle_height(merkle_blocks(j->file->length));
	unsigned skip = log2_of(h->length) - 1;
	uint64_t index = h->index / h->length;
	for (uint32_t k = skip; k < h->proof_layers && layer < total && !j->error; k++, layer++) {
		uint8_t hash[SHA256_LEN];
		j->error = node_at(j, layer, index ^ 1, hash);
		buf_add(&j->hashes, hash, SHA256_LEN);
		index /= 2;
	}
}

static void hash_done(struct work *work)
{
	struct hash_job *j = container_of(work, struct hash_job, work);
	struct conn *c = torrent_conn(j->t, j->conn);
	j->t->jobs--;
	if (c && c->state == CONN_OPEN) {
		c->jobs--;
		j->h.root = j->root;
		j->h.hashes = buf_bytes(&j->hashes);
		j->h.n_hashes = j->error ? 0 : (uint32_t)(j->hashes.len / SHA256_LEN);
		wire_add_hashes(&c->out, j->error ? WIRE_HASH_REJECT : WIRE_HASHES, &j->h);
		conn_send(c);
	}
	buf_done(&j->hashes);
	free(j);
}

static const struct metainfo_file *file_of_root(const struct torrent *t, const uint8_t *root)
{
	for (uint32_t i = 0; t->meta->has_v2 && i < t->meta->n_files; i++) {
		const struct metainfo_file *f = &t->meta->files[i];
		if (f->length && !memcmp(f->root, root, SHA256_LEN))
			return f;
	}
	return NULL;
}

/* Is it within the tree, and do we have all that has to be hashed for it? */
static bool can_answer(const struct torrent *t, const struct metainfo_file *f,
	const struct wire_hashes *h)
{
	uint32_t bpp = t->layout.blocks_per_piece;
	unsigned piece_layer = log2_of(bpp), height = merkle_height(merkle_blocks(f->length));
	if (h->length < 2 || h->length > HASHES_MAX_LENGTH || h->length & (h->length - 1) ||
		h->index % h->length || (h->base_layer && h->base_layer != piece_layer) ||
		h->proof_layers > height)
		return false;
	uint64_t end = (uint64_t)h->index + h->length;
	uint64_t width = 1ull << (height > h->base_layer ? height - h->base_layer : 0);
	if (end > MAX(width, (uint64_t)2))
		return false;
	if (h->base_layer)
		return f->n_pieces > 1;
	/* A proof within the piece needs all of it. */
	uint32_t first = h->index / bpp;
	uint32_t last = (uint32_t)MIN((end - 1) / bpp, (uint64_t)f->n_pieces - 1);
	for (uint32_t p = first; p <= last; p++) {
		if (!bits_get(&t->picker.pieces, f->first_piece + p))
			return false;
	}
	return first < f->n_pieces;
}

void leaves_on_request(struct conn *c, const struct wire_hashes *h)
{
	struct torrent *t = c->torrent;
	const struct metainfo_file *f = file_of_root(t, h->root);
	uint64_t now = clock_us(), cost = (uint64_t)h->length * BLOCK_SIZE;
	if (!c->hash_limit.rate)
		limiter_init(&c->hash_limit, HASH_RATE, now);
	bool ok = f && t->seed && can_answer(t, f, h) && c->jobs < HASH_JOBS;
	/* The burst of a limiter is 100 ms of its rate: at least the largest request. */
	if (!ok || limiter_take(&c->hash_limit, cost, now) < cost) {
		wire_add_hashes(&c->out, WIRE_HASH_REJECT, h);
		conn_send(c);
		return;
	}
	struct hash_job *j = xcalloc(1, sizeof(*j));
	*j = (struct hash_job) {
		.work = {.run = hash_run, .done = hash_done},
		.t = t,
		.conn = c->number,
		.h = *h,
		.file = f,
	};
	memcpy(j->root, h->root, SHA256_LEN);
	c->jobs++;
	t->jobs++;
	work_post(t->parts->pool, &j->work);
}
