// SPDX-License-Identifier: MIT
/* A web seed: see webseed.h.
 *
 * A fetch walks its blocks in order.  The bytes of one file among them are one range request;
 * padding (which a v1 block may hold) is filled in with zeros; gaps that belong to no block are
 * stepped over.  A block goes out when its last byte is there: straight from libcurl's buffer when
 * that holds all of it, else from the fetch's own.
 *
 * Thread: loop.
 */
#include "swarm/webseed.h"
#include "swarm/http.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"
#include "swarm/url.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>

TAILQ_HEAD(fetch_list, webseed_fetch);

struct webseed {
	struct http *http;
	const struct layout *layout;
	struct webseed_callbacks cb;
	char *url, *redacted; /* owned */
	struct fetch_list fetches;
	unsigned active;
};

struct webseed_fetch {
	struct webseed *seed;
	TAILQ_ENTRY(webseed_fetch) link;
	struct event
		*begin; /* starts the next part from the loop, never from inside of webseed_get */
	struct http_request *request; /* of the part under way */
	uint64_t part_len, part_got;
	bool part_is_file; /* the part is a whole file, so a server may answer 200 */
	uint32_t next, end; /* the block being filled, and where the fetch ends (layout numbers) */
	uint32_t have; /* bytes of it that are here */
	bool inside, cancelled; /* a callback of ours runs; it has cancelled us */
	char *error; /* owned: why the part was ended by us */
	uint8_t block[BLOCK_SIZE];
};

/* -- URLs -------------------------------------------------------------------------------- */

static const char *url_check(const char *url, const struct metainfo *m)
{
	struct url u;
	const char *why;

	if (strlen(url) > TORRENT_MAX_URL)
		return "longer than 2048 bytes";
	if (url_parse(url, &u, &why) < 0)
		return why;
	why = NULL;
	bool folder = !m->single || url[strlen(url) - 1] == '/';
	if (u.scheme == URL_UDP)
		why = "scheme is none of http, https";
	else if (folder && strpbrk(url, "?#"))
		why = "a folder's URL with a query or fragment";
	else if (u.is_address)
		why = url_refuses(&u, false, &u.addr, URL_HOST);
	url_done(&u);
	return why;
}

/* The URL of a file (BEP 19).  As elsewhere, a folder's URL without its '/' gets one. */
static char *file_url(const struct webseed *w, const struct metainfo_file *f)
{
	const struct metainfo *m = w->layout->meta;
	bool slash = w->url[strlen(w->url) - 1] == '/';

	if (m->single && !slash)
		return xstrdup(w->url);
	CLEANUP_FREE char *name = url_escape(m->name, strlen(m->name), "");
	if (m->single)
		return xasprintf("%s%s", w->url, name);
	CLEANUP_FREE char *path = url_escape(f->path, strlen(f->path), "/");
	return xasprintf("%s%s%s/%s", w->url, slash ? "" : "/", name, path);
}

/* -- blocks ------------------------------------------------------------------------------ */

static uint32_t number_len(const struct layout *l, uint32_t number)
{
	return layout_block_len(l, number / l->blocks_per_piece, number % l->blocks_per_piece);
}

static uint32_t block_len(const struct webseed_fetch *f)
{
	return number_len(f->seed->layout, f->next);
}

/* Where the next missing byte is in the linear space. */
static uint64_t fetch_pos(const struct webseed_fetch *f)
{
	const struct layout *l = f->seed->layout;

	return layout_offset(l, f->next / l->blocks_per_piece, f->next % l->blocks_per_piece) +
	       f->have;
}

/* Both ends of the fetch are at blocks that stand for something. */
static void skip_empty(struct webseed_fetch *f)
{
	while (f->next < f->end && block_len(f) == 0)
		f->next++;
	while (f->next < f->end && number_len(f->seed->layout, f->end - 1) == 0)
		f->end--;
}

/* The block is whole: gives it out and goes to the next one.  False when that cancelled us. */
static bool fetch_block(struct webseed_fetch *f, const uint8_t *data, uint32_t len)
{
	struct webseed *w = f->seed;
	uint32_t number = f->next++, per_piece = w->layout->blocks_per_piece;

	f->have = 0;
	skip_empty(f);
	w->cb.block(w->cb.arg, f, number / per_piece, number % per_piece, data, len);
	return !f->cancelled;
}

/* Takes bytes that stand at fetch_pos (NULL: zeros).  False when a callback cancelled us. */
static bool fetch_feed(struct webseed_fetch *f, const uint8_t *data, uint64_t len)
{
	while (len) {
		uint32_t whole = block_len(f), n = (uint32_t)MIN((uint64_t)(whole - f->have), len);
		bool direct = data && n == whole;
		if (!direct && data)
			memcpy(f->block + f->have, data, n);
		else if (!direct)
			memset(f->block + f->have, 0, n);
		f->have += n;
		if (f->have == whole && !fetch_block(f, direct ? data : f->block, whole))
			return false;
		data = data ? data + n : NULL;
		len -= n;
	}
	return true;
}

/* -- a fetch ----------------------------------------------------------------------------- */

static void fetch_free(struct webseed_fetch *f)
{
	if (f->request)
		http_cancel(f->request);
	event_free(f->begin);
	free(f->error);
	free(f);
}

/* Out of its seed's list; what is left is memory. */
static void fetch_unlink(struct webseed_fetch *f)
{
	TAILQ_REMOVE(&f->seed->fetches, f, link);
	f->seed->active--;
}

static void fetch_end(struct webseed_fetch *f, const char *why)
{
	struct webseed *w = f->seed;

	log_debug(LOG_HTTP, "web seed %s: %s", w->redacted, why ? why : "all blocks given");
	fetch_unlink(f);
	w->cb.done(w->cb.arg, f, why); /* may free w */
	fetch_free(f);
}

static void fetch_refuse(struct webseed_fetch *f, const char *why)
{
	free(f->error);
	f->error = xstrdup(why);
}

static bool on_data(void *arg, int status, const uint8_t *data, size_t len)
{
	struct webseed_fetch *f = arg;

	if (status != 206 && !(status == 200 && f->part_is_file)) {
		if (status == 200)
			fetch_refuse(f, "the server ignores ranges (HTTP status 200)");
		/* The end of an error page is waited for, so that the connection can be kept; it
		 * has its limit in max_body. */
		return status != 200;
	}
	if (len > f->part_len - f->part_got) {
		fetch_refuse(f, "the file there is longer");
		return false;
	}
	f->part_got += len;
	f->inside = true;
	bool alive = fetch_feed(f, data, len);
	f->inside = false;
	if (!alive)
		fetch_free(f);
	return alive;
}

static void on_done(void *arg, const char *error, int status, const uint8_t *body, size_t len)
{
	struct webseed_fetch *f = arg;
	char text[80];
	struct timeval now = {0};

	f->request = NULL;
	if (status >= 400 || (!error && status != 206 && status != 200)) {
		snprintf(text, sizeof(text), "HTTP status %d", status);
		error = text;
	} else if (!error && f->part_got < f->part_len) {
		snprintf(text, sizeof(text), "%llu bytes of %llu", (unsigned long long)f->part_got,
			(unsigned long long)f->part_len);
		error = text;
	}
	if (f->error)
		error = f->error;
	if (error)
		fetch_end(f, error);
	else
		event_add(f->begin, &now);
}

/* The file that byte `pos` of the space is in, or the next one; NULL when none follows. */
static const struct metainfo_file *file_at(const struct metainfo *m, uint64_t pos)
{
	uint32_t i = metainfo_file_at(m, pos);

	while (i < m->n_files && m->files[i].offset + m->files[i].length <= pos)
		i++; /* empty files lie where the next one begins */
	return i < m->n_files ? &m->files[i] : NULL;
}

/* Asks for the rest of the fetch, as far as it is in this file. */
static void fetch_ask(struct webseed_fetch *f, const struct metainfo_file *file)
{
	struct webseed *w = f->seed;
	const struct layout *l = w->layout;
	uint32_t last = f->end - 1;
	uint64_t from = fetch_pos(f) - file->offset;
	/* Within a file blocks follow each other without gaps; the last one may hold padding. */
	uint64_t end = layout_offset(l, last / l->blocks_per_piece, last % l->blocks_per_piece) +
		       number_len(l, last) - file->offset;
	const char *why;

	end = MIN(end, file->length);
	CLEANUP_FREE char *url = file_url(w, file);
	struct http_options options = {.max_body = end - from,
		.stall_ms = WEBSEED_STALL_MS,
		.range_from = from,
		.range_len = end - from,
		.range_total = file->length};
	struct http_callbacks cb = {.data = on_data, .done = on_done, .arg = f};
	options.max_body = MAX(options.max_body, (size_t)WEBSEED_MAX_ERROR_BODY);
	f->part_len = end - from;
	f->part_got = 0;
	f->part_is_file = end - from == file->length;
	f->request = http_get(w->http, url, &options, &cb, &why);
	if (!f->request)
		fetch_end(f, why);
}

static void fetch_continue(struct webseed_fetch *f)
{
	const struct metainfo *m = f->seed->layout->meta;

	while (f->next < f->end) {
		uint64_t pos = fetch_pos(f), left = block_len(f) - f->have;
		const struct metainfo_file *file = file_at(m, pos);
		if (file && file->offset <= pos) {
			fetch_ask(f, file);
			return;
		}
		/* Padding, up to the next file or the block's end. */
		f->inside = true;
		bool alive = fetch_feed(f, NULL, file ? MIN(left, file->offset - pos) : left);
		f->inside = false;
		if (!alive) {
			fetch_free(f);
			return;
		}
	}
	fetch_end(f, NULL);
}

static void on_begin(evutil_socket_t fd, short what, void *arg)
{
	fetch_continue(arg);
}

struct webseed_fetch *webseed_get(struct webseed *w, uint32_t first, uint32_t n_blocks)
{
	struct timeval now = {0};

	if (w->active >= WEBSEED_MAX_FETCHES)
		return NULL;
	struct webseed_fetch *f = xcalloc(1, sizeof(*f));
	f->seed = w;
	f->next = MIN(first, w->layout->n_blocks);
	f->end = f->next + MIN(n_blocks, w->layout->n_blocks - f->next);
	skip_empty(f);
	f->begin = event_new(loop_base(http_loop(w->http)), -1, 0, on_begin, f);
	event_add(f->begin, &now);
	TAILQ_INSERT_TAIL(&w->fetches, f, link);
	w->active++;
	return f;
}

void webseed_cancel(struct webseed_fetch *f)
{
	fetch_unlink(f);
	f->cancelled = true;
	if (!f->inside)
		fetch_free(f);
}

/* -- the seed ---------------------------------------------------------------------------- */

int webseed_new(struct http *http, const char *url, const struct layout *l,
	const struct webseed_callbacks *cb, struct webseed **ret, const char **ret_why)
{
	const char *why = url_check(url, l->meta);

	if (why) {
		*ret_why = why;
		return -EINVAL;
	}
	struct webseed *w = xcalloc(1, sizeof(*w));
	*w = (struct webseed) {.http = http, .layout = l, .cb = *cb, .url = xstrdup(url)};
	w->redacted = xstrdup(log_quote_url(url));
	TAILQ_INIT(&w->fetches);
	*ret = w;
	return 0;
}

void webseed_free(struct webseed *w)
{
	if (!w)
		return;
	while (!TAILQ_EMPTY(&w->fetches))
		webseed_cancel(TAILQ_FIRST(&w->fetches));
	free(w->url);
	free(w->redacted);
	free(w);
}

const char *webseed_url(const struct webseed *w)
{
	return w->redacted;
}

unsigned webseed_active(const struct webseed *w)
{
	return w->active;
}
