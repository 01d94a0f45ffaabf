/* SPDX-License-Identifier: MIT */
/* See metadata_layers.h.
 *
 * A range is MISSING -> ASKED -> GOT; a refusal or the end of its peer sends it back to MISSING. At
 * the end no peer is idle: what one was asked for is asked of a second one.  Files with the same
 * root have one tree.
 *
 * Thread: any (pure).
 */
#include "swarm/metadata_layers.h"

#include "base/bencode.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/metainfo.h"
#include "swarm/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Peers limit what they hash for one, and a piece layer costs them as much to them as all its data.
 */
#define LAYERS_ASKS 4u
/* After a refusal a peer is left alone for so long, doubling with each further one in a row. */
#define LAYERS_REFUSED_US (100 * US_PER_MS)
#define LAYERS_REFUSED_DOUBLINGS 6u /* 6.4 s */

struct tree {
	const uint8_t *root; /* borrowed */
	uint32_t n_pieces;
	unsigned height; /* from the piece layer to the root */
	uint32_t first_range; /* its number; the tree has as many as its hashes need */
	uint8_t *hashes; /* SHA256_LEN * n_pieces, in layers.hashes */
};

struct range {
	uint32_t tree;
	uint32_t asked[2]; /* of whom; 0: nobody */
	bool got;
};

struct source {
	uint32_t peer;
	unsigned asked;
	uint64_t since; /* us: when it was first asked, or last gave something */
	unsigned refusals;
	uint64_t refused_until;
};

struct layers {
	unsigned piece_layer;
	struct tree *trees; /* owned; by root */
	uint32_t n_trees;
	uint8_t *hashes; /* owned: of all trees */
	struct range *ranges; /* owned */
	uint32_t n_ranges, n_got;
	uint32_t first_missing; /* before it none is MISSING */
	uint32_t first_open; /* before it all are GOT */
	struct source *sources; /* owned */
	uint32_t n_sources, cap_sources;
};

static int compare_trees(const void *a, const void *b)
{
	const struct tree *x = a, *y = b;
	return memcmp(x->root, y->root, SHA256_LEN);
}

/* Hashes of one request. */
static uint32_t range_length(const struct tree *t)
{
	return t->height >= 32 ? HASHES_MAX_LENGTH : MIN(1u << t->height, HASHES_MAX_LENGTH);
}

static uint32_t ranges_of(const struct tree *t)
{
	uint32_t length = range_length(t);
	return t->n_pieces / length + (t->n_pieces % length != 0);
}

static void collect_trees(struct layers *l, const struct metainfo *m)
{
	uint32_t n = 0;
	l->trees = xcalloc(m->n_files, sizeof(*l->trees));
	for (uint32_t i = 0; i < m->n_files; i++) {
		const struct metainfo_file *f = &m->files[i];
		if (f->n_pieces > 1)
			l->trees[n++] = (struct tree) {
				.root = f->root,
				.n_pieces = f->n_pieces,
				.height = merkle_height(f->n_pieces),
			};
	}
	qsort(l->trees, n, sizeof(*l->trees), compare_trees);
	for (uint32_t i = 0; i < n; i++) {
		if (!l->n_trees || compare_trees(&l->trees[l->n_trees - 1], &l->trees[i]))
			l->trees[l->n_trees++] = l->trees[i];
	}
}

struct layers *layers_new(const struct metainfo *m)
{
	struct layers *l = xcalloc(1, sizeof(*l));
	uint64_t n = 0;
	if (!m->has_v2)
		return l;
	l->piece_layer = merkle_height(m->piece_length / MERKLE_BLOCK);
	collect_trees(l, m);
	for (uint32_t i = 0; i < l->n_trees; i++) {
		l->trees[i].first_range = l->n_ranges;
		l->n_ranges += ranges_of(&l->trees[i]);
		n += l->trees[i].n_pieces;
	}
	uint64_t bytes = n * SHA256_LEN;
	l->hashes = m->info_len + bytes <= TORRENT_MAX_BYTES ? malloc(bytes ? bytes : 1) : NULL;
	if (!l->hashes) {
		layers_free(l);
		return NULL;
	}
	l->ranges = xcalloc(l->n_ranges ? l->n_ranges : 1, sizeof(*l->ranges));
	n = 0;
	for (uint32_t i = 0; i < l->n_trees; i++) {
		struct tree *t = &l->trees[i];
		t->hashes = l->hashes + n * SHA256_LEN;
		n += t->n_pieces;
		for (uint32_t k = 0; k < ranges_of(t); k++)
			l->ranges[t->first_range + k].tree = i;
	}
	return l;
}

void layers_free(struct layers *l)
{
	if (!l)
		return;
	free(l->trees);
	free(l->hashes);
	free(l->ranges);
	free(l->sources);
	free(l);
}

bool layers_whole(const struct layers *l)
{
	return l->n_got == l->n_ranges;
}

/* -- asking ----------------------------------------------------------------------------------- */

static struct source *source_of(const struct layers *l, uint32_t peer)
{
	for (uint32_t i = 0; i < l->n_sources; i++) {
		if (l->sources[i].peer == peer)
			return &l->sources[i];
	}
	return NULL;
}

void layers_add(struct layers *l, uint32_t peer)
{
	if (source_of(l, peer))
		return;
	GROW(l->sources, l->n_sources, l->cap_sources);
	l->sources[l->n_sources++] = (struct source) {.peer = peer};
}

static bool is_asked(const struct range *r, uint32_t peer)
{
	return r->asked[0] == peer || r->asked[1] == peer;
}

static void put_back(struct layers *l, uint32_t i, uint32_t peer)
{
	struct range *r = &l->ranges[i];
	r->asked[r->asked[0] == peer ? 0 : 1] = 0;
	if (!r->asked[0] && !r->asked[1])
		l->first_missing = MIN(l->first_missing, i);
}

void layers_remove(struct layers *l, uint32_t peer)
{
	struct source *s = source_of(l, peer);
	if (!s)
		return;
	uint32_t at = (uint32_t)(s - l->sources);
	bool asked = s->asked;
	l->n_sources--;
	memmove(s, s + 1, (l->n_sources - at) * sizeof(*s));
	for (uint32_t i = 0; asked && i < l->n_ranges; i++) {
		if (is_asked(&l->ranges[i], peer))
			put_back(l, i, peer);
	}
}

static uint32_t find_missing(struct layers *l)
{
	uint32_t i = l->first_missing;
	while (i < l->n_ranges &&
		(l->ranges[i].got || l->ranges[i].asked[0] || l->ranges[i].asked[1]))
		i++;
	l->first_missing = i;
	return i;
}

/* One that another peer alone was asked for. */
static uint32_t find_second(struct layers *l, uint32_t peer)
{
	while (l->first_open < l->n_ranges && l->ranges[l->first_open].got)
		l->first_open++;
	for (uint32_t i = l->first_open; i < l->n_ranges; i++) {
		const struct range *r = &l->ranges[i];
		if (!r->got && !is_asked(r, peer) && (!r->asked[0] || !r->asked[1]))
			return i;
	}
	return l->n_ranges;
}

bool layers_next(struct layers *l, uint32_t peer, uint64_t now, struct wire_hashes *ret)
{
	struct source *s = source_of(l, peer);
	if (!s || s->asked >= LAYERS_ASKS || now < s->refused_until)
		return false;
	uint32_t i = find_missing(l);
	if (i == l->n_ranges)
		i = find_second(l, peer);
	if (i == l->n_ranges)
		return false;
	struct range *r = &l->ranges[i];
	const struct tree *t = &l->trees[r->tree];
	uint32_t length = range_length(t);
	r->asked[r->asked[0] ? 1 : 0] = peer;
	if (!s->asked++)
		s->since = now;
	*ret = (struct wire_hashes) {
		.root = t->root,
		.base_layer = l->piece_layer,
		.index = (i - t->first_range) * length,
		.length = length,
		/* Those below the request's own root are counted and not sent; the root is known.
		 */
		.proof_layers = t->height - 1,
	};
	return true;
}

/* The range that an answer of the peer is for, or n_ranges. */
static uint32_t range_asked(const struct layers *l, uint32_t peer, const struct wire_hashes *h)
{
	struct tree key = {.root = h->root};
	if (!l->n_trees)
		return l->n_ranges;
	const struct tree *t =
		bsearch(&key, l->trees, l->n_trees, sizeof(*l->trees), compare_trees);
	if (!t || h->base_layer != l->piece_layer || h->length != range_length(t) ||
		h->index % h->length || h->index / h->length >= ranges_of(t))
		return l->n_ranges;
	uint32_t i = t->first_range + h->index / h->length;
	return is_asked(&l->ranges[i], peer) ? i : l->n_ranges;
}

static bool proves(const struct layers *l, const struct tree *t, const struct wire_hashes *h)
{
	unsigned height = merkle_height(h->length), uncles = t->height - height;
	uint8_t node[SHA256_LEN];
	if (h->n_hashes < h->length + uncles)
		return false;
	merkle_root(h->hashes, h->length, l->piece_layer, height, node);
	return merkle_proves(node, h->index / h->length, h->hashes + (size_t)SHA256_LEN * h->length,
		uncles, t->root);
}

int layers_take(struct layers *l, uint32_t peer, const struct wire_hashes *h, uint64_t now)
{
	struct source *s = source_of(l, peer);
	uint32_t i = range_asked(l, peer, h);
	if (!s || i == l->n_ranges)
		return 0;
	struct tree *t = &l->trees[l->ranges[i].tree];
	if (!proves(l, t, h))
		return -EBADMSG;
	s->since = now;
	s->refusals = 0;
	memcpy(t->hashes + (size_t)SHA256_LEN * h->index, h->hashes,
		(size_t)SHA256_LEN * MIN(h->length, t->n_pieces - h->index));
	for (unsigned k = 0; k < 2; k++) {
		struct source *asked = source_of(l, l->ranges[i].asked[k]);
		if (asked)
			asked->asked--;
		l->ranges[i].asked[k] = 0;
	}
	l->ranges[i].got = true;
	l->n_got++;
	return 0;
}

void layers_on_reject(struct layers *l, uint32_t peer, const struct wire_hashes *h, uint64_t now)
{
	struct source *s = source_of(l, peer);
	uint32_t i = range_asked(l, peer, h);
	if (!s || i == l->n_ranges)
		return;
	s->asked--;
	put_back(l, i, peer);
	if (now < s->refused_until)
		return; /* asked before the last one: the same round */
	s->refused_until = now + (LAYERS_REFUSED_US << MIN(s->refusals, LAYERS_REFUSED_DOUBLINGS));
	s->refusals++;
}

uint32_t layers_overdue(const struct layers *l, uint64_t now)
{
	for (uint32_t i = 0; i < l->n_sources; i++) {
		const struct source *s = &l->sources[i];
		if (s->asked && now - s->since >= METADATA_PATIENCE_MS * US_PER_MS)
			return s->peer;
	}
	return 0;
}

void layers_progress(
	const struct layers *l, uint32_t *ret_got, uint32_t *ret_all, uint32_t *ret_peers)
{
	*ret_got = l->n_got;
	*ret_all = l->n_ranges;
	*ret_peers = l->n_sources;
}

void layers_write(const struct layers *l, struct buf *b)
{
	if (!l->n_trees)
		return;
	buf_add_str(b, "d");
	for (uint32_t i = 0; i < l->n_trees; i++) {
		ben_add_bytes(b, l->trees[i].root, SHA256_LEN);
		ben_add_bytes(b, l->trees[i].hashes, (size_t)SHA256_LEN * l->trees[i].n_pieces);
	}
	buf_add_str(b, "e");
}
