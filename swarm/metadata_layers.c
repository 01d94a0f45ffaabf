/* SPDX-License-Identifier: MIT */
/* See metadata_layers.h.
 *
 * A range is MISSING -> ASKED -> GOT; a refusal or the end of its peer sends it back to MISSING:
 * those that were never asked for are the ones from `fresh` on, the others are in `returned`.  At
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
#define KEY "piece layers" /* in the .torrent */

struct tree {
	const uint8_t *root; /* borrowed */
	uint32_t n_pieces;
	unsigned height; /* from the piece layer to the root */
	uint32_t first_range; /* its number; the tree has as many as its hashes need */
	uint8_t *hashes; /* SHA256_LEN * n_pieces, in layers.hashes */
};

struct range {
	uint32_t tree;
	uint8_t askers; /* sources that were asked for it, two at most */
	bool got;
};

struct source {
	uint32_t peer;
	uint32_t asked[LAYERS_ASKS]; /* ranges */
	unsigned n_asked;
	uint64_t since; /* us: when it was first asked, or last gave something */
	unsigned refusals; /* in a row */
	uint64_t refuses_since, refused_until; /* us, with refusals */
};

struct layers {
	unsigned piece_layer;
	struct tree *trees; /* owned; by root */
	uint32_t n_trees;
	uint8_t *hashes; /* owned: of all trees */
	struct range *ranges; /* owned */
	uint32_t n_ranges, n_got;
	uint32_t fresh;
	uint32_t *returned; /* owned */
	uint32_t n_returned, cap_returned;
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
	free(l->returned);
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

/* Where range `i` stands among those that the source was asked for, or its n_asked. */
static unsigned find_asked(const struct source *s, uint32_t i)
{
	unsigned at = 0;
	while (at < s->n_asked && s->asked[at] != i)
		at++;
	return at;
}

static void ask(struct layers *l, struct source *s, uint32_t i, uint64_t now)
{
	if (!s->n_asked)
		s->since = now;
	s->asked[s->n_asked++] = i;
	l->ranges[i].askers++;
}

static void unask(struct layers *l, struct source *s, unsigned at)
{
	uint32_t i = s->asked[at];
	s->asked[at] = s->asked[--s->n_asked];
	if (--l->ranges[i].askers || l->ranges[i].got)
		return;
	GROW(l->returned, l->n_returned, l->cap_returned);
	l->returned[l->n_returned++] = i;
}

void layers_remove(struct layers *l, uint32_t peer)
{
	struct source *s = source_of(l, peer);
	if (!s)
		return;
	while (s->n_asked)
		unask(l, s, 0);
	uint32_t at = (uint32_t)(s - l->sources);
	l->n_sources--;
	memmove(s, s + 1, (l->n_sources - at) * sizeof(*s));
}

/* One that another peer alone was asked for. */
static uint32_t find_second(const struct layers *l, const struct source *s)
{
	for (uint32_t k = 0; k < l->n_sources; k++) {
		const struct source *other = &l->sources[k];
		for (unsigned at = 0; other != s && at < other->n_asked; at++) {
			if (l->ranges[other->asked[at]].askers == 1)
				return other->asked[at];
		}
	}
	return l->n_ranges;
}

bool layers_next(struct layers *l, uint32_t peer, uint64_t now, struct wire_hashes *ret)
{
	struct source *s = source_of(l, peer);
	if (!s || s->n_asked == LAYERS_ASKS || now < s->refused_until)
		return false;
	uint32_t i = l->n_returned            ? l->returned[--l->n_returned]
		     : l->fresh < l->n_ranges ? l->fresh++
					      : find_second(l, s);
	if (i == l->n_ranges)
		return false;
	const struct tree *t = &l->trees[l->ranges[i].tree];
	uint32_t length = range_length(t);
	ask(l, s, i, now);
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

/* Which of those that it was asked for an answer of the source is for, or its n_asked. */
static unsigned find_answered(
	const struct layers *l, const struct source *s, const struct wire_hashes *h)
{
	struct tree key = {.root = h->root};
	if (!l->n_trees)
		return s->n_asked;
	const struct tree *t =
		bsearch(&key, l->trees, l->n_trees, sizeof(*l->trees), compare_trees);
	if (!t || h->base_layer != l->piece_layer || h->length != range_length(t) ||
		h->index % h->length || h->index / h->length >= ranges_of(t))
		return s->n_asked;
	return find_asked(s, t->first_range + h->index / h->length);
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
	unsigned answered = s ? find_answered(l, s, h) : 0;
	if (!s || answered == s->n_asked)
		return 0;
	uint32_t i = s->asked[answered];
	struct tree *t = &l->trees[l->ranges[i].tree];
	if (!proves(l, t, h))
		return -EBADMSG;
	s->since = now;
	s->refusals = 0;
	memcpy(t->hashes + (size_t)SHA256_LEN * h->index, h->hashes,
		(size_t)SHA256_LEN * MIN(h->length, t->n_pieces - h->index));
	l->ranges[i].got = true;
	l->n_got++;
	for (uint32_t k = 0; k < l->n_sources; k++) {
		struct source *asked = &l->sources[k];
		unsigned at = find_asked(asked, i);
		if (at < asked->n_asked)
			unask(l, asked, at);
	}
	return 0;
}

void layers_on_reject(struct layers *l, uint32_t peer, const struct wire_hashes *h, uint64_t now)
{
	struct source *s = source_of(l, peer);
	unsigned answered = s ? find_answered(l, s, h) : 0;
	if (!s || answered == s->n_asked)
		return;
	unask(l, s, answered);
	if (!s->refusals)
		s->refuses_since = now;
	else if (now < s->refused_until)
		return; /* asked before the last one: the same round */
	s->refused_until = now + (LAYERS_REFUSED_US << MIN(s->refusals, LAYERS_REFUSED_DOUBLINGS));
	s->refusals++;
}

uint32_t layers_overdue(const struct layers *l, bool others, uint64_t now, const char **ret_why)
{
	const uint64_t patience = METADATA_PATIENCE_MS * US_PER_MS;
	for (uint32_t i = 0; i < l->n_sources; i++) {
		const struct source *s = &l->sources[i];
		bool silent = s->n_asked && now - s->since >= patience;
		if (!silent && !(others && s->refusals && now - s->refuses_since >= patience))
			continue;
		*ret_why = silent ? "it was asked for piece layers, and gave nothing for long"
				  : "it refuses piece layers, and others wait";
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

static void add_layers(const struct layers *l, struct buf *b)
{
	if (!l->n_trees)
		return;
	ben_add_str(b, KEY);
	buf_add_str(b, "d");
	for (uint32_t i = 0; i < l->n_trees; i++) {
		ben_add_bytes(b, l->trees[i].root, SHA256_LEN);
		ben_add_bytes(b, l->trees[i].hashes, (size_t)SHA256_LEN * l->trees[i].n_pieces);
	}
	buf_add_str(b, "e");
}

static bool is_behind_key(const struct ben_iter *i)
{
	int order = memcmp(i->key, KEY, MIN(i->key_len, strlen(KEY)));
	return order > 0 || (order == 0 && i->key_len > strlen(KEY));
}

void layers_write(const struct layers *l, const void *torrent, size_t len, struct buf *b)
{
	struct ben_doc *doc = NULL;
	const char *why;
	size_t at;
	bool added = false;
	if (ben_parse(torrent, len, BENCODE_MAX_TOKENS, &doc, &why, &at) < 0)
		return; /* out of memory; the caller finds no torrent in `b` */
	buf_add_str(b, "d");
	for (struct ben_iter i = ben_iter(ben_root(doc)); ben_next(&i);) {
		size_t value_len;
		const uint8_t *value = ben_raw(i.value, &value_len);
		if (!added && is_behind_key(&i)) {
			add_layers(l, b);
			added = true;
		}
		ben_add_bytes(b, i.key, i.key_len);
		buf_add(b, value, value_len);
	}
	if (!added)
		add_layers(l, b);
	buf_add_str(b, "e");
	ben_free(doc);
}
