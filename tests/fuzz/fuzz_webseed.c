// SPDX-License-Identifier: MIT
/* Fuzzes what a web seed does with answers: whatever a server sends, blocks come out whole, once
 * and in order, and each fetch ends once; and the Content-Range header.
 *
 * The first four bytes: torrent, first block, number of blocks, after how many blocks the callback
 * cancels (0: never).  Then steps of {what, length}: a status and a portion of the body, right
 * bytes or the input's own.  The whole input is a Content-Range, too.
 */
#include "swarm/range.h"
#include "tests/unit/webseed_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_STEPS 100u /* the longest torrent here takes a handful; it is for speed */

static void must(bool ok)
{
	if (!ok)
		abort();
}

struct run {
	const struct fake_torrent *torrent;
	uint32_t next, end, blocks, cancel_at;
	bool lied; /* the server has sent other bytes than the file's */
	bool over;
};

static void on_block(void *arg, struct webseed_fetch *f, uint32_t piece, uint32_t block,
	const uint8_t *data, uint32_t len)
{
	struct run *r = arg;
	uint32_t number = piece * r->torrent->layout.blocks_per_piece + block;

	must(!r->over && number >= r->next && number < r->end);
	must(len && len == layout_block_len(&r->torrent->layout, piece, block));
	must(r->lied || fake_block_is_right(r->torrent, piece, block, data, len));
	for (uint32_t skipped = r->next; skipped < number; skipped++)
		must(layout_block_len(&r->torrent->layout,
			     skipped / r->torrent->layout.blocks_per_piece,
			     skipped % r->torrent->layout.blocks_per_piece) == 0);
	r->next = number + 1;
	if (++r->blocks == r->cancel_at) {
		r->over = true;
		webseed_cancel(f);
	}
}

static void on_done(void *arg, struct webseed_fetch *f, const char *error)
{
	struct run *r = arg;

	must(!r->over);
	r->over = true;
	if (error)
		return;
	for (; r->next < r->end; r->next++)
		must(layout_block_len(&r->torrent->layout,
			     r->next / r->torrent->layout.blocks_per_piece,
			     r->next % r->torrent->layout.blocks_per_piece) == 0);
}

/* Which file the request is for: the one whose end its total and range fit is told by its URL. */
static uint64_t offset_of(const struct run *r, const struct http_request *q)
{
	const struct metainfo *m = &r->torrent->meta;
	const char *name = strrchr(q->url, '/') + 1;

	for (uint32_t i = 0; i < m->n_files && !m->single; i++) {
		const char *slash = strrchr(m->files[i].path, '/'),
			   *path = slash ? slash + 1 : m->files[i].path;
		if (m->files[i].length && path[0] == name[0])
			return m->files[i].offset;
	}
	return 0;
}

static void step(struct run *r, struct http_request *q, uint8_t what, size_t len,
	const uint8_t *own, uint64_t *sent)
{
	static const int statuses[] = {206, 206, 206, 200, 404, 503, 0, 206};
	int status = statuses[what & 7];
	uint64_t from = offset_of(r, q) + q->options.range_from + *sent;

	if (what & 8 && status == 206) /* as http.c sees to it */
		len = (size_t)MIN((uint64_t)len, q->options.range_len - *sent);
	/* What comes behind the part's end is the server's invention, refused before it is used. */
	uint8_t *body = xcalloc(1, len + 1);
	if (from < FAKE_MAX_SPACE)
		memcpy(body, r->torrent->bytes + from, MIN((uint64_t)len, FAKE_MAX_SPACE - from));
	if (what & 16 && len) {
		body[0] ^= own[0];
		r->lied = true;
	}
	bool on = !len || fake_data(q, status, body, len);
	free(body);
	if (status == 206 || status == 200)
		*sent += len;
	if (on && what & 32) {
		fake_done(q, what & 64 ? "failed" : NULL, status);
		*sent = 0;
	} else if (!on) {
		*sent = 0;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct http http;
	static struct fake_torrent torrents[FAKE_KINDS];
	struct run r = {0};
	struct webseed_callbacks cb = {.block = on_block, .done = on_done, .arg = &r};
	struct webseed *seed;
	const char *why;
	uint64_t sent = 0;

	char *header = xstrndup((const char *)data, size);
	if (!range_check(header, 5, 10, 100))
		must(strncasecmp(header, "bytes ", 6) == 0 && strchr(header, '/'));
	free(header);
	if (size < 4)
		return 0;
	if (!http.loop) {
		must(loop_new(&http.loop) == 0);
		for (unsigned i = 0; i < FAKE_KINDS; i++)
			fake_torrent(&torrents[i], i);
	}
	r.torrent = &torrents[data[0] % FAKE_KINDS];
	const char *url = data[0] & 128 || !r.torrent->meta.single ? "http://192.0.2.1/"
								   : "http://192.0.2.1/f";
	must(webseed_new(&http, url, &r.torrent->layout, &cb, &seed, &why) == 0);
	r.next = MIN(data[1] % 20u, r.torrent->layout.n_blocks);
	r.end = r.next + MIN((uint32_t)data[2] % 24, r.torrent->layout.n_blocks - r.next);
	r.cancel_at = data[3] % 8;
	must(webseed_get(seed, r.next, r.end - r.next));
	data += 4;
	size -= 4;
	for (unsigned steps = 0; size >= 3 && steps < MAX_STEPS; data += 3, size -= 3, steps++) {
		event_base_loop(loop_base(http.loop), EVLOOP_NONBLOCK);
		if (!http.n)
			break;
		step(&r, http.requests[0], data[0], (size_t)data[1] << 8 | data[2], data + 1,
			&sent);
	}
	event_base_loop(loop_base(http.loop), EVLOOP_NONBLOCK);
	must(r.over == (webseed_active(seed) == 0));
	webseed_free(seed);
	must(http.n == 0);
	return 0;
}
