/* SPDX-License-Identifier: MIT */
/* A web seed without a network: torrents made by hand, and an HTTP client whose transfers the test
 * carries out itself.  It stands in for swarm/http.c, which is then not linked.
 *
 * Thread: the main one.
 */
#ifndef TESTS_UNIT_WEBSEED_FIXTURE_H
#define TESTS_UNIT_WEBSEED_FIXTURE_H

#include "swarm/http.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"
#include "swarm/webseed.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

/* -- the client ----------------------------------------------------------------------------- */

struct http_request {
	struct http *http;
	struct http_options options;
	struct http_callbacks cb;
	char *url;
	bool inside, cancelled;
};

#define FAKE_MAX_REQUESTS 16u

struct http {
	struct loop *loop;
	struct http_request
		*requests[FAKE_MAX_REQUESTS]; /* under way, in the order of their coming */
	unsigned n, started;
};

struct loop *http_loop(const struct http *h)
{
	return h->loop;
}

struct http_request *http_get(struct http *h, const char *url, const struct http_options *options,
	const struct http_callbacks *cb, const char **ret_why)
{
	struct http_request *r = xcalloc(1, sizeof(*r));

	if (h->n == FAKE_MAX_REQUESTS)
		abort();
	*r = (struct http_request) {.http = h, .options = *options, .cb = *cb, .url = xstrdup(url)};
	h->requests[h->n++] = r;
	h->started++;
	return r;
}

static void fake_free(struct http_request *r)
{
	struct http *h = r->http;
	unsigned i = 0;

	while (h->requests[i] != r)
		i++;
	memmove(h->requests + i, h->requests + i + 1, (--h->n - i) * sizeof(*h->requests));
	free(r->url);
	free(r);
}

void http_cancel(struct http_request *r)
{
	if (r->cancelled)
		abort();
	r->cancelled = true;
	if (!r->inside)
		fake_free(r);
}

/* Bytes of the body.  False: the transfer is over (cancelled, or ended by its receiver, which was
 * told so). */
static inline bool fake_data(struct http_request *r, int status, const uint8_t *data, size_t len)
{
	r->inside = true;
	bool on = r->cb.data(r->cb.arg, status, data, len);
	r->inside = false;
	if (r->cancelled) {
		if (on)
			abort(); /* it must not ask for more */
		fake_free(r);
		return false;
	}
	if (on)
		return true;
	r->cb.done(r->cb.arg, "ended by its receiver", status, (const uint8_t *)"", 0);
	fake_free(r);
	return false;
}

static inline void fake_done(struct http_request *r, const char *error, int status)
{
	r->cb.done(r->cb.arg, error, status, (const uint8_t *)"", 0);
	fake_free(r);
}

static inline void fake_turn(struct http *h)
{
	event_base_loop(loop_base(h->loop), EVLOOP_NONBLOCK);
}

/* -- torrents ------------------------------------------------------------------------------- */

#define FAKE_MAX_SPACE (1u << 18)

struct fake_torrent {
	struct metainfo meta;
	struct metainfo_file files[5];
	struct layout layout;
	uint8_t bytes[FAKE_MAX_SPACE]; /* the whole of it: padding is zero, and no byte of a file is
					*/
};

static inline void fake_file(
	struct fake_torrent *t, const char *path, uint64_t offset, uint64_t length)
{
	struct metainfo_file *f = &t->files[t->meta.n_files++];

	*f = (struct metainfo_file) {.offset = offset, .length = length};
	f->path = (char *)(uintptr_t)path; /* borrowed; nothing here frees it */
	for (uint64_t i = offset; i < offset + length; i++)
		t->bytes[i] = (uint8_t)(1 + (i ^ i >> 8 ^ i >> 16) % 255);
	t->meta.size += length;
	t->meta.space = MAX(t->meta.space, offset + length);
}

enum fake_kind {
	FAKE_SINGLE, /* v1, one file, the last block and piece cut */
	FAKE_PADDED, /* v1, several files, padding within and over whole blocks, empty files */
	FAKE_V2, /* v2: files begin on pieces, gaps are nothing */
	FAKE_ODD, /* v1, a piece length that is no multiple of a block */
	FAKE_KINDS,
};

static inline void fake_torrent(struct fake_torrent *t, enum fake_kind kind)
{
	static char name[] = "n\xc3\xa4me #1";
	struct metainfo *m = &t->meta;

	*t = (struct fake_torrent) {.meta = {.name = name, .has_v1 = true, .piece_length = 65536}};
	m->files = t->files;
	switch (kind) {
	case FAKE_SINGLE:
		m->single = true;
		fake_file(t, name, 0, 200000);
		break;
	case FAKE_PADDED:
		fake_file(t, "a/b c", 0, 20000);
		fake_file(t, "empty", 20000, 0);
		fake_file(t, "d%", 65536, 70000); /* two blocks are padding alone */
		fake_file(t, "e", 135536, 10); /* follows without padding */
		fake_file(t, "f?", 196608, 16384);
		break;
	case FAKE_V2:
		m->has_v1 = false;
		m->has_v2 = true;
		fake_file(t, "a", 0, 20000);
		fake_file(t, "b", 65536, 65536);
		fake_file(t, "c", 131072, 70001);
		break;
	case FAKE_ODD:
	default:
		m->piece_length = 40000;
		m->single = true;
		fake_file(t, name, 0, 100001);
	}
	/* Padding at the end, too, where there is any. */
	m->max_v1_space = kind == FAKE_PADDED ? m->space + 20000 : m->space;
	m->n_pieces = (uint32_t)((MAX(m->space, m->max_v1_space) + m->piece_length - 1) /
				 m->piece_length);
	if (layout_init(&t->layout, m) < 0)
		abort();
}

static inline bool fake_block_is_right(const struct fake_torrent *t, uint32_t piece, uint32_t block,
	const uint8_t *data, uint32_t len)
{
	return len && len == layout_block_len(&t->layout, piece, block) &&
	       memcmp(data, t->bytes + layout_offset(&t->layout, piece, block), len) == 0;
}

#endif
