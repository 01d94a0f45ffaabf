/* SPDX-License-Identifier: MIT */
/* See metadata.h.
 *
 * A source waits, is tried, and is removed or has given it all; who waits longest is tried next.
 * Nobody is passed over for the size that it tells: the tries under way end, so its turn comes.  A
 * try asks for its pieces in order, each once; what is not answered makes it overdue.
 *
 * Thread: any (pure).
 */
#include "swarm/metadata.h"

#include "base/addr.h"
#include "base/bencode.h"
#include "base/bits.h"
#include "base/cleanup.h"
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
	struct addr host;
	uint64_t size; /* it says */
	bool tried; /* else it waits, and what follows is nothing */
	uint8_t *data; /* owned */
	struct bits got; /* pieces */
	uint32_t next; /* pieces before it were asked for */
	uint64_t since, gave; /* us: when its try began; when it gave something last, or since */
};

struct metadata {
	bool has_v1, has_v2;
	uint8_t v1[SHA1_LEN], v2[SHA256_LEN];
	struct source *sources; /* owned; in the order in which they came */
	uint32_t n_sources, cap_sources, n_tries;
	uint64_t bytes; /* of the tries */
	uint64_t begun; /* us: the first try */
	uint8_t *whole; /* owned; NULL: not here */
	size_t whole_len;
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
	while (m->n_sources)
		metadata_remove(m, m->sources[0].peer);
	free(m->sources);
	free(m->whole);
	free(m);
}

/* -- sources ---------------------------------------------------------------------------------- */

static struct source *source_of(const struct metadata *m, uint32_t peer)
{
	for (uint32_t i = 0; i < m->n_sources; i++) {
		if (m->sources[i].peer == peer)
			return &m->sources[i];
	}
	return NULL;
}

static uint32_t pieces_of(const struct source *s)
{
	return (uint32_t)((s->size + METADATA_PIECE - 1) / METADATA_PIECE);
}

static uint32_t asked(const struct source *s)
{
	return s->next - s->got.set;
}

const char *metadata_add(struct metadata *m, uint32_t peer, const struct addr *host, uint64_t size)
{
	if (!size)
		return "metadata of no bytes";
	if (size > TORRENT_MAX_BYTES)
		return "metadata larger than a .torrent may be";
	struct source *s = source_of(m, peer);
	if (s)
		return s->size == size ? NULL : "another size of the metadata than before";
	GROW(m->sources, m->n_sources, m->cap_sources);
	m->sources[m->n_sources++] = (struct source) {.peer = peer, .host = *host, .size = size};
	return NULL;
}

static void end_try(struct metadata *m, struct source *s)
{
	if (!s->tried)
		return;
	s->tried = false;
	free(s->data);
	bits_done(&s->got);
	m->bytes -= s->size;
	m->n_tries--;
}

static void remove_source(struct metadata *m, struct source *s)
{
	end_try(m, s);
	uint32_t at = (uint32_t)(s - m->sources);
	m->n_sources--;
	memmove(s, s + 1, (m->n_sources - at) * sizeof(*s));
}

void metadata_remove(struct metadata *m, uint32_t peer)
{
	struct source *s = source_of(m, peer);
	if (s)
		remove_source(m, s);
}

static bool is_host_tried(const struct metadata *m, const struct addr *host)
{
	for (uint32_t i = 0; i < m->n_sources; i++) {
		if (m->sources[i].tried && addr_same_ip(&m->sources[i].host, host))
			return true;
	}
	return false;
}

static struct source *first_in_line(const struct metadata *m)
{
	for (uint32_t i = 0; i < m->n_sources; i++) {
		struct source *s = &m->sources[i];
		if (!s->tried && !is_host_tried(m, &s->host))
			return s;
	}
	return NULL;
}

static bool begin_try(struct metadata *m, uint64_t now)
{
	struct source *s = m->n_tries < METADATA_TRIES ? first_in_line(m) : NULL;
	if (!s || (m->n_tries && m->bytes + s->size > TORRENT_MAX_BYTES))
		return false;
	s->data = malloc(s->size);
	if (!s->data)
		return false; /* there may be memory later */
	s->tried = true;
	bits_init(&s->got, pieces_of(s));
	s->next = 0;
	s->since = s->gave = now;
	m->bytes += s->size;
	m->n_tries++;
	if (!m->begun)
		m->begun = now;
	return true;
}

/* -- pieces ----------------------------------------------------------------------------------- */

bool metadata_next(struct metadata *m, uint64_t now, uint32_t *ret_peer, uint32_t *ret_piece)
{
	if (m->whole)
		return false;
	while (begin_try(m, now))
		;
	for (uint32_t i = 0; i < m->n_sources; i++) {
		struct source *s = &m->sources[i];
		if (!s->tried || s->next == s->got.n || asked(s) >= METADATA_ASKS)
			continue;
		*ret_peer = s->peer;
		*ret_piece = s->next++;
		return true;
	}
	return false;
}

static bool is_right(const struct metadata *m, const struct source *s)
{
	uint8_t got[SHA256_LEN];
	bool right = true;
	if (m->has_v1) {
		sha1(s->data, s->size, got);
		right = !memcmp(got, m->v1, SHA1_LEN);
	}
	if (right && m->has_v2) {
		sha256(s->data, s->size, got);
		right = !memcmp(got, m->v2, SHA256_LEN);
	}
	return right;
}

int metadata_take(struct metadata *m, uint32_t peer, const struct ext_metadata *d, uint64_t now,
	const char **ret_why)
{
	struct source *s = source_of(m, peer);
	if (!s || !s->tried || d->piece >= s->next || bits_get(&s->got, d->piece))
		return 0;
	uint64_t at = (uint64_t)d->piece * METADATA_PIECE;
	if (d->total_size != s->size) {
		*ret_why = "another size of the metadata than it told before";
		return -EINVAL;
	}
	if (d->data_len != MIN(s->size - at, (uint64_t)METADATA_PIECE)) {
		*ret_why = "a piece of the metadata of the wrong length";
		return -EINVAL;
	}
	memcpy(s->data + at, d->data, d->data_len);
	bits_set(&s->got, d->piece);
	s->gave = now;
	if (!bits_full(&s->got))
		return 0;
	bool right = is_right(m, s);
	if (right) {
		m->whole = steal_ptr(&s->data);
		m->whole_len = s->size;
	}
	remove_source(m, s);
	if (right)
		return 0;
	*ret_why = "metadata that does not hash to what the link says";
	return -EBADMSG;
}

/* -- time ------------------------------------------------------------------------------------- */

uint32_t metadata_overdue(const struct metadata *m, bool others, uint64_t now, const char **ret_why)
{
	uint64_t longest = MAX(METADATA_TRY_MS * US_PER_MS, (now - m->begun) / 2);
	others |= m->n_sources > m->n_tries;
	for (uint32_t i = 0; i < m->n_sources && !m->whole; i++) {
		const struct source *s = &m->sources[i];
		if (!s->tried)
			continue;
		if (now - s->gave >= METADATA_PATIENCE_MS * US_PER_MS) {
			*ret_why = "it was asked for its metadata, and gave nothing for long";
			return s->peer;
		}
		if (others && now - s->since >= longest) {
			*ret_why = "it gives its metadata slowly, and others wait";
			return s->peer;
		}
	}
	return 0;
}

const uint8_t *metadata_whole(const struct metadata *m, size_t *ret_len)
{
	*ret_len = m->whole_len;
	return m->whole;
}

void metadata_progress(
	const struct metadata *m, uint32_t *ret_got, uint32_t *ret_pieces, uint32_t *ret_peers)
{
	const struct source *best = NULL;
	for (uint32_t i = 0; i < m->n_sources; i++) {
		const struct source *s = &m->sources[i];
		if (s->tried && (!best || (uint64_t)s->got.set * best->got.n >
						  (uint64_t)best->got.set * s->got.n))
			best = s;
	}
	*ret_got = best ? best->got.set : 0;
	*ret_pieces = best ? best->got.n : 0;
	*ret_peers = m->n_tries;
}

/* -- the .torrent ----------------------------------------------------------------------------- */

void metadata_write(struct buf *b, const struct magnet *link, const uint8_t *info, size_t info_len)
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
	if (link->web_seeds[0]) {
		ben_add_str(b, "url-list");
		buf_add_str(b, "l");
		for (char **url = link->web_seeds; *url; url++)
			ben_add_str(b, *url);
		buf_add_str(b, "e");
	}
	buf_add_str(b, "e");
}
