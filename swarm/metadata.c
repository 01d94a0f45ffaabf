/* SPDX-License-Identifier: MIT */
/* See metadata.h.
 *
 * A piece is MISSING -> ASKED -> GOT; the end of its peer sends it back to MISSING, the end of a
 * round all of them.  A round is over when all pieces are GOT and do not hash to what they must, or
 * when another size has more peers.  At the end of a round no peer is idle: a piece that one peer
 * was asked for is asked of a second one.
 *
 * After the first wrong whole that had several sources, rounds have a sole source each.  Peers are
 * convicted one by one then, so there are as many rounds as liars; a liar that falls silent instead
 * is overdue.
 *
 * Thread: any (pure).
 */
#include "swarm/metadata.h"

#include "base/bencode.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/ext.h"
#include "swarm/magnet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct source {
	uint32_t peer;
	uint64_t size; /* it says */
	unsigned asked; /* pieces under way */
	uint64_t since; /* us: when it was first asked, or last gave something */
};

struct meta_piece {
	uint32_t asked[2]; /* of whom; 0: nobody */
	uint32_t from; /* who gave it; 0: not here */
};

struct metadata {
	bool has_v1, has_v2, whole;
	uint8_t v1[SHA1_LEN], v2[SHA256_LEN];
	struct source *sources; /* owned; in the order in which they came */
	uint32_t n_sources, cap_sources;
	bool one_by_one; /* a whole was wrong: one source a round */
	uint32_t sole; /* that source; 0: not chosen */
	/* The round. */
	uint64_t size; /* 0: none */
	uint8_t *data; /* owned */
	struct meta_piece *pieces; /* owned */
	uint32_t n_pieces, n_got;
};

struct metadata *metadata_new(const uint8_t v1[SHA1_LEN], const uint8_t v2[SHA256_LEN])
{
	struct metadata *m = xcalloc(1, sizeof(*m));
	m->has_v1 = v1;
	m->has_v2 = v2;
	if (v1)
		memcpy(m->v1, v1, SHA1_LEN);
	if (v2)
		memcpy(m->v2, v2, SHA256_LEN);
	return m;
}

void metadata_free(struct metadata *m)
{
	if (!m)
		return;
	free(m->sources);
	free(m->data);
	free(m->pieces);
	free(m);
}

static struct source *source_of(const struct metadata *m, uint32_t peer)
{
	for (uint32_t i = 0; i < m->n_sources; i++) {
		if (m->sources[i].peer == peer)
			return &m->sources[i];
	}
	return NULL;
}

/* -- rounds ----------------------------------------------------------------------------------- */

static uint32_t count_of(const struct metadata *m, uint64_t size)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < m->n_sources; i++)
		n += m->sources[i].size == size;
	return n;
}

/* The size that most tell; of two that as many tell the smaller one, which is tried sooner.  0:
 * none. */
static uint64_t best_size(const struct metadata *m)
{
	uint64_t best = 0;
	uint32_t best_n = 0;
	for (uint32_t i = 0; i < m->n_sources; i++) {
		uint64_t size = m->sources[i].size;
		uint32_t n = count_of(m, size);
		if (n > best_n || (n == best_n && size < best)) {
			best = size;
			best_n = n;
		}
	}
	return best;
}

/* Begins anew, with the sources that there are. */
static void begin_round(struct metadata *m)
{
	uint64_t size = best_size(m);
	for (uint32_t i = 0; i < m->n_sources; i++)
		m->sources[i].asked = 0;
	m->sole = 0;
	for (uint32_t i = 0; m->one_by_one && !m->sole && i < m->n_sources; i++) {
		if (m->sources[i].size == size)
			m->sole = m->sources[i].peer;
	}
	m->n_got = 0;
	if (size != m->size) {
		free(m->data);
		free(m->pieces);
		m->size = size;
		m->n_pieces = (uint32_t)((size + METADATA_PIECE - 1) / METADATA_PIECE);
		m->data = malloc(size ? size : 1);
		if (!m->data)
			m->n_pieces = 0; /* nothing is asked; another size may fit */
		m->pieces = m->n_pieces ? xmalloc(m->n_pieces * sizeof(*m->pieces)) : NULL;
	}
	if (m->n_pieces)
		memset(m->pieces, 0, m->n_pieces * sizeof(*m->pieces));
}

const char *metadata_add(struct metadata *m, uint32_t peer, uint64_t size)
{
	if (!size)
		return "metadata of no bytes";
	if (size > TORRENT_MAX_BYTES)
		return "metadata larger than a .torrent may be";
	struct source *s = source_of(m, peer);
	if (s)
		return s->size == size ? NULL : "another size of the metadata than before";
	GROW(m->sources, m->n_sources, m->cap_sources);
	m->sources[m->n_sources++] = (struct source) {.peer = peer, .size = size};
	if (m->whole)
		return NULL;
	/* A round that runs is given up only for a size that more peers tell. */
	uint64_t best = best_size(m);
	if (best != m->size && count_of(m, best) > count_of(m, m->size))
		begin_round(m);
	return NULL;
}

static void remove_source(struct metadata *m, struct source *s)
{
	uint32_t peer = s->peer;
	uint32_t at = (uint32_t)(s - m->sources);
	m->n_sources--;
	memmove(s, s + 1, (m->n_sources - at) * sizeof(*s));
	for (uint32_t i = 0; i < m->n_pieces; i++) {
		for (unsigned k = 0; k < 2; k++) {
			if (m->pieces[i].asked[k] == peer)
				m->pieces[i].asked[k] = 0;
		}
	}
}

void metadata_remove(struct metadata *m, uint32_t peer)
{
	struct source *s = source_of(m, peer);
	if (!s)
		return;
	remove_source(m, s);
	if (!m->whole && (peer == m->sole || !count_of(m, m->size)))
		begin_round(m);
}

/* -- pieces ----------------------------------------------------------------------------------- */

static void ask(struct source *s, uint32_t *slot, uint64_t now)
{
	if (!s->asked++)
		s->since = now;
	*slot = s->peer;
}

bool metadata_next(struct metadata *m, uint32_t peer, uint64_t now, uint32_t *ret_piece)
{
	struct source *s = source_of(m, peer);
	if (!s || m->whole || s->size != m->size || (m->one_by_one && peer != m->sole) ||
		s->asked >= METADATA_ASKS)
		return false;
	uint32_t second = m->n_pieces;
	for (uint32_t i = 0; i < m->n_pieces; i++) {
		struct meta_piece *p = &m->pieces[i];
		if (p->from || p->asked[0] == peer || p->asked[1] == peer)
			continue;
		if (!p->asked[0] && !p->asked[1]) {
			ask(s, &p->asked[0], now);
			*ret_piece = i;
			return true;
		}
		if (second == m->n_pieces && (!p->asked[0] || !p->asked[1]))
			second = i;
	}
	if (second == m->n_pieces)
		return false;
	struct meta_piece *p = &m->pieces[second];
	ask(s, &p->asked[p->asked[0] ? 1 : 0], now);
	*ret_piece = second;
	return true;
}

static bool is_right(const struct metadata *m)
{
	uint8_t got[SHA256_LEN];
	bool right = true;
	if (m->has_v1) {
		sha1(m->data, m->size, got);
		right = !memcmp(got, m->v1, SHA1_LEN);
	}
	if (right && m->has_v2) {
		sha256(m->data, m->size, got);
		right = !memcmp(got, m->v2, SHA256_LEN);
	}
	return right;
}

/* All is here: right, or whose fault is it? */
static int judge(struct metadata *m, const char **ret_why)
{
	if (is_right(m)) {
		m->whole = true;
		return 0;
	}
	uint32_t only = m->pieces[0].from;
	for (uint32_t i = 1; i < m->n_pieces; i++) {
		if (m->pieces[i].from != only)
			only = 0;
	}
	m->one_by_one = true;
	struct source *s = only ? source_of(m, only) : NULL;
	if (s)
		remove_source(m, s);
	begin_round(m);
	if (!s)
		return 0;
	*ret_why = "metadata that does not hash to what the link says";
	return -EBADMSG;
}

int metadata_take(struct metadata *m, uint32_t peer, const struct ext_metadata *d, uint64_t now,
	const char **ret_why)
{
	struct source *s = source_of(m, peer);
	if (!s || m->whole || s->size != m->size || d->piece >= m->n_pieces)
		return 0;
	struct meta_piece *p = &m->pieces[d->piece];
	if (p->from || (p->asked[0] != peer && p->asked[1] != peer))
		return 0;
	uint64_t at = (uint64_t)d->piece * METADATA_PIECE;
	if (d->total_size != m->size) {
		*ret_why = "another size of the metadata than it told before";
		return -EINVAL;
	}
	if (d->data_len != MIN(m->size - at, (uint64_t)METADATA_PIECE)) {
		*ret_why = "a piece of the metadata of the wrong length";
		return -EINVAL;
	}
	for (unsigned k = 0; k < 2; k++) {
		struct source *asked = p->asked[k] ? source_of(m, p->asked[k]) : NULL;
		if (asked)
			asked->asked--;
		p->asked[k] = 0;
	}
	s->since = now;
	memcpy(m->data + at, d->data, d->data_len);
	p->from = peer;
	return ++m->n_got == m->n_pieces ? judge(m, ret_why) : 0;
}

uint32_t metadata_overdue(const struct metadata *m, uint64_t now)
{
	for (uint32_t i = 0; i < m->n_sources && !m->whole; i++) {
		const struct source *s = &m->sources[i];
		if (s->asked && now - s->since >= METADATA_PATIENCE_MS * US_PER_MS)
			return s->peer;
	}
	return 0;
}

const uint8_t *metadata_whole(const struct metadata *m, size_t *ret_len)
{
	if (!m->whole)
		return NULL;
	*ret_len = m->size;
	return m->data;
}

void metadata_progress(
	const struct metadata *m, uint32_t *ret_got, uint32_t *ret_pieces, uint32_t *ret_peers)
{
	*ret_got = m->n_got;
	*ret_pieces = m->n_pieces;
	*ret_peers = m->one_by_one ? !!m->sole : count_of(m, m->size);
}

/* -- the .torrent ----------------------------------------------------------------------------- */

void metadata_write(struct buf *b, const struct magnet *link, const uint8_t *info, size_t info_len,
	const struct buf *layers)
{
	buf_add_str(b, "d");
	if (link->trackers[0]) {
		ben_add_str(b, "announce");
		ben_add_str(b, link->trackers[0]);
		ben_add_str(b, "announce-list");
		buf_add_str(b, "l");
		for (char **url = link->trackers; *url; url++) {
			buf_add_str(b, "l");
			ben_add_str(b, *url);
			buf_add_str(b, "e");
		}
		buf_add_str(b, "e");
	}
	ben_add_str(b, "info");
	buf_add(b, info, info_len);
	if (layers->len) {
		ben_add_str(b, "piece layers");
		buf_add(b, buf_bytes(layers), layers->len);
	}
	if (link->web_seeds[0]) {
		ben_add_str(b, "url-list");
		buf_add_str(b, "l");
		for (char **url = link->web_seeds; *url; url++)
			ben_add_str(b, *url);
		buf_add_str(b, "e");
	}
	buf_add_str(b, "e");
}
