/* SPDX-License-Identifier: MIT */
/* Hashes of BEP 52's trees, given to peers that ask: of layer 0, for pieces that we have, and of the piece
 * layer.
 *
 * A piece is hashed on a worker, once for all who ask for hashes of it: peers ask in runs (p2pfs) or for 512
 * (libtorrent), with uncles that take the whole piece to compute.  What was hashed is kept, LEAVES_KEPT
 * bytes of it, the latest; and what one peer can make us hash is limited.
 */
#include "swarm/torrent.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/store.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#define HASH_RATE (512u << 20) /* bytes of data hashed per second for one peer: a boot's 70 MB lie in 430
				* pieces of 1 MiB, and a peer that is refused fetches them whole */
#define HASH_COST_MAX (HASH_RATE / 10) /* counted for one request: what a limiter lets pass at once */
#define HASH_JOBS 256          /* of one peer under way; more are rejected */
#define LEAVES_KEPT (1u << 20) /* leaf hashes of 512 MiB */
#define LEAVES_ENTRIES 512u    /* pieces: the list is gone through from its begin */

/* The leaf hashes of one piece, shared by the jobs that need them; the first one makes them. */
struct leaves {
	struct leaves *next;
	uint32_t piece, n; /* n: of its blocks, padded to a power of two */
	unsigned refs;     /* jobs; loop */
	bool asked;        /* of a worker, for the limits; loop */
	pthread_mutex_t lock;
	bool made;
	uint8_t hashes[];
};

struct hash_job {
	struct work work;
	struct torrent *t;
	uint32_t conn; /* its number: it may be gone when this is done */
	struct wire_hashes h;
	uint8_t root[SHA256_LEN];
	const struct metainfo_file *file;
	struct leaves **pieces; /* owned array; those that [index, index + length) lies in, from `first` on */
	uint32_t first, n_pieces;
	struct buf hashes;
	int error;
};

static unsigned log2_of(uint32_t power_of_two)
{
	return (unsigned)__builtin_ctz(power_of_two);
}

/* -- the leaves of a piece ----------------------------------------------------------------------- */

/* Hashes the piece from the store; padding past the file's end. */
static int make(struct torrent *t, struct leaves *l)
{
	uint8_t block[BLOCK_SIZE];
	for (uint32_t i = 0; i < l->n; i++) {
		uint8_t *leaf = l->hashes + (size_t)SHA256_LEN * i;
		uint32_t len = layout_block_len(&t->layout, l->piece, i);
		if (!len) {
			memcpy(leaf, merkle_pad(0), SHA256_LEN);
			continue;
		}
		int r = t->store->ops->read(
			t->store, layout_offset(&t->layout, l->piece, i), block, len, false);
		if (r < 0)
			return r;
		sha256(block, len, leaf);
	}
	/* Were the store's bytes wrong, the peer would hold us for a liar. */
	unsigned height;
	const uint8_t *expect = verify_piece_root(&t->layout, l->piece, &height);
	uint8_t root[SHA256_LEN];
	merkle_root(l->hashes, l->n, 0, height, root);
	return memcmp(root, expect, SHA256_LEN) ? -EIO : 0;
}

/* On a worker: makes sure that they are made; -errno when the store cannot be read. */
static int made(struct torrent *t, struct leaves *l)
{
	LOCK_SCOPE(&l->lock);
	int r = l->made ? 0 : make(t, l);
	l->made = !r;
	return r;
}

static void leaves_free(struct leaves *l)
{
	pthread_mutex_destroy(&l->lock);
	free(l);
}

/* Forgets what was used longest ago, beyond LEAVES_KEPT. */
static void trim(struct torrent *t, size_t keep)
{
	size_t bytes = 0;
	unsigned n = 0;
	for (struct leaves **p = &t->leaves; *p;) {
		struct leaves *l = *p;
		bytes += (size_t)SHA256_LEN * l->n;
		if ((bytes <= keep && ++n <= LEAVES_ENTRIES) || l->refs) {
			p = &l->next;
			continue;
		}
		*p = l->next;
		leaves_free(l);
	}
}

void hashes_free(struct torrent *t)
{
	trim(t, 0);
}

/* Finds them or makes room for them, first in the list. */
static struct leaves *leaves_of(struct torrent *t, uint32_t piece)
{
	struct leaves **p = &t->leaves, *l;
	while (*p && (*p)->piece != piece)
		p = &(*p)->next;
	l = *p;
	if (l) {
		*p = l->next;
	} else {
		unsigned height;
		verify_piece_root(&t->layout, piece, &height);
		l = xcalloc(1, sizeof(*l) + ((size_t)SHA256_LEN << height));
		l->piece = piece;
		l->n = 1u << height;
		pthread_mutex_init(&l->lock, NULL);
	}
	l->next = t->leaves;
	t->leaves = l;
	return l;
}

/* -- one request --------------------------------------------------------------------------------- */

/* Hash `index` of layer `layer` of the file's tree: from the leaves below the piece layer, from the piece
 * layer above it. */
static int node_at(struct hash_job *j, unsigned layer, uint64_t index, uint8_t ret[SHA256_LEN])
{
	unsigned piece_layer = log2_of(j->t->layout.blocks_per_piece);
	bool single = j->file->n_pieces == 1;
	if (layer < piece_layer || single) {
		uint64_t leaf = index << layer;
		uint32_t piece = single ? 0 : (uint32_t)(leaf >> piece_layer) - j->first;
		uint32_t at = single ? (uint32_t)leaf : (uint32_t)leaf & (j->t->layout.blocks_per_piece - 1);
		if (piece >= j->n_pieces || at >= j->pieces[piece]->n) {
			memcpy(ret, merkle_pad(layer), SHA256_LEN);
			return 0;
		}
		int r = made(j->t, j->pieces[piece]);
		if (r < 0)
			return r;
		merkle_root(j->pieces[piece]->hashes + (size_t)SHA256_LEN * at, MIN(1u << layer, j->pieces[piece]->n - at), 0,
			layer, ret);
		return 0;
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
	for (uint32_t i = 0; i < j->n_pieces; i++) {
		j->pieces[i]->refs--;
		j->pieces[i]->asked = j->pieces[i]->asked && (!j->error || j->error == -EAGAIN);
	}
	trim(j->t, LEAVES_KEPT);
	free(j->pieces);
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

/* The pieces whose leaves the job needs. */
static void take_pieces(struct torrent *t, struct hash_job *j)
{
	uint32_t bpp = t->layout.blocks_per_piece;
	if (j->h.base_layer || (bpp == 1 && j->file->n_pieces > 1))
		return; /* from the piece layer */
	uint32_t last = (uint32_t)MIN(((uint64_t)j->h.index + j->h.length - 1) / bpp,
		(uint64_t)j->file->n_pieces - 1);
	j->first = j->h.index / bpp;
	j->n_pieces = last - j->first + 1;
	j->pieces = xcalloc(j->n_pieces, sizeof(j->pieces[0]));
	for (uint32_t i = 0; i < j->n_pieces; i++) {
		j->pieces[i] = leaves_of(t, j->file->first_piece + j->first + i);
		j->pieces[i]->refs++;
	}
}

/* Bytes that a worker has to hash for it. */
static uint64_t cost_of(const struct torrent *t, const struct hash_job *j)
{
	/* Looking them up is not free either, nor are uncles above the piece layer. */
	uint64_t cost = (uint64_t)BLOCK_SIZE * (1 + j->n_pieces);
	if (j->h.base_layer || (1u << MIN(j->h.proof_layers, 31u)) >= t->layout.blocks_per_piece)
		cost += (uint64_t)j->file->n_pieces * 2 * SHA256_LEN;
	for (uint32_t i = 0; i < j->n_pieces; i++) {
		if (!j->pieces[i]->asked)
			cost += layout_piece_len(&t->layout, j->pieces[i]->piece);
	}
	return MIN(cost, (uint64_t)HASH_COST_MAX);
}

void hashes_on_request(struct conn *c, const struct wire_hashes *h)
{
	struct torrent *t = c->torrent;
	const struct metainfo_file *f = file_of_root(t, h->root);
	uint64_t now = clock_us();
	if (!c->hash_limit.rate)
		limiter_init(&c->hash_limit, HASH_RATE, now);
	if (!f || !t->seed || !can_answer(t, f, h) || c->jobs >= HASH_JOBS) {
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
	take_pieces(t, j);
	c->jobs++;
	t->jobs++;
	uint64_t cost = cost_of(t, j);
	if (limiter_wait(&c->hash_limit, cost, now)) {
		j->error = -EAGAIN;
		hash_done(&j->work);
		return;
	}
	limiter_force(&c->hash_limit, cost, now);
	for (uint32_t i = 0; i < j->n_pieces; i++)
		j->pieces[i]->asked = true;
	work_post(t->parts->pool, &j->work);
}
