/* SPDX-License-Identifier: MIT */
/* Reads that wait, and their answers.
 *
 * A read is answered when each of its blocks is HAVE (in the store) or GOOD (verified, in memory): it
 * does not wait for the disk.  Its bytes are gathered at that moment; where the store would have to
 * wait for a disk, a worker does it.  `done` is called exactly once, from the loop, never from within
 * torrent_read.
 *
 * Reads that the file system answers by itself (torrent_ready) are told of by a small ring, so that
 * streams go on growing while everything is there already.
 */
#include "swarm/torrent.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/store.h"

#include <errno.h>
#include <event2/event.h>
#include <string.h>

/* -- waiting ---------------------------------------------------------------------------------- */

static bool covers(const struct read *r, uint32_t number)
{
	return number - r->first < r->n_blocks;
}

bool read_wants(const struct torrent *t, uint32_t piece, uint32_t block)
{
	uint32_t bpp = t->layout.blocks_per_piece;
	const struct piece *w = picker_piece(&t->picker, piece);
	bool whole = w && w->whole;
	for (const struct read *r = t->reads; r; r = r->next) {
		if (whole ? r->first < (piece + 1) * bpp && r->first + r->n_blocks > piece * bpp :
			    covers(r, block_number(t, piece, block)))
			return true;
	}
	return false;
}

static bool readable(const struct torrent *t, const struct read *r)
{
	uint32_t bpp = t->layout.blocks_per_piece;
	for (uint32_t n = r->first; n < r->first + r->n_blocks; n++) {
		if (bits_get(&t->have, n))
			continue;
		const struct piece *w = picker_piece(&t->picker, n / bpp);
		if (!w || n % bpp >= w->n_blocks || w->blocks[n % bpp].state != BLOCK_GOOD)
			return false;
	}
	return true;
}

static void unlink_read(struct torrent *t, struct read *r)
{
	if (r->prev)
		r->prev->next = r->next;
	else
		t->reads = r->next;
	if (r->next)
		r->next->prev = r->prev;
	else
		t->reads_tail = r->prev;
	t->n_reads--;
}

static void finish(struct torrent *t, struct read *r, int error, const void *data)
{
	uint64_t now = clock_us();
	if (!error) {
		uint64_t took = MIN(now - r->since, (uint64_t)UINT32_MAX);
		t->latency.us[t->latency.n++ % ARRAY_SIZE(t->latency.us)] = (uint32_t)took;
	}
	t->interactive_until = now + INTERACTIVE_US;
	unlink_read(t, r);
	r->done(r->arg, error, data);
	free(r);
}

/* -- gathering -------------------------------------------------------------------------------- */

struct gather {
	struct work work;
	struct torrent *t;
	uint64_t id, offset;
	size_t len;
	uint8_t *data;
	int error;
};

/* Copies what is GOOD, reads the rest from the store in runs as long as may be.  With `nowait`: -EAGAIN
 * when a disk would have to be waited for. */
static int gather_now(struct torrent *t, uint64_t offset, size_t len, bool nowait, uint8_t *data)
{
	const struct layout *l = &t->layout;
	size_t at = 0, run = 0; /* [run, at) is to be read from the store */
	int r = 0;
	while (at < len && !r) {
		uint64_t pos = offset + at;
		uint32_t piece = (uint32_t)(pos / l->piece_length);
		uint32_t in_piece = (uint32_t)(pos % l->piece_length);
		size_t n = MIN((size_t)(BLOCK_SIZE - in_piece % BLOCK_SIZE), len - at);
		n = MIN(n, (size_t)(l->piece_length - in_piece));
		const struct piece *w = picker_piece(&t->picker, piece);
		uint32_t i = in_piece / BLOCK_SIZE;
		bool zero = bits_get(&t->zero, block_number(t, piece, i));
		if (zero || (w && w->blocks[i].state == BLOCK_GOOD)) {
			if (at > run)
				r = t->store->ops->read(t->store, offset + run, data + run, at - run, nowait);
			if (zero)
				memset(data + at, 0, n);
			else
				memcpy(data + at, w->blocks[i].data + in_piece % BLOCK_SIZE, n);
			run = at + n;
		}
		at += n;
	}
	if (!r && at > run)
		r = t->store->ops->read(t->store, offset + run, data + run, at - run, nowait);
	return r;
}

static struct read *find_read(struct torrent *t, uint64_t id)
{
	struct read *r = t->reads;
	while (r && r->id != id)
		r = r->next;
	return r;
}

static void gather_run(struct work *work)
{
	struct gather *g = container_of(work, struct gather, work);
	g->error = g->t->store->ops->read(g->t->store, g->offset, g->data, g->len, false);
}

static void gather_done(struct work *work)
{
	struct gather *g = container_of(work, struct gather, work);
	struct torrent *t = g->t;
	struct read *r = find_read(t, g->id);
	t->jobs--;
	if (r && !g->error) {
		finish(t, r, 0, g->data);
	} else if (r) {
		r->answering = false;
		verify_suspect(t, g->offset, g->len);
	}
	free(g->data);
	free(g);
}

static void answer(struct torrent *t, struct read *r)
{
	struct gather *g = xcalloc(1, sizeof(*g));
	g->data = xmalloc(r->len);
	int error = gather_now(t, r->offset, r->len, true, g->data);
	bool stored = bits_all(&t->have, r->first, r->n_blocks);
	if (error == -EAGAIN && !stored)
		/* Part in memory, part on disk: rare (a full disk, a store without nowait reads), and
		 * not worth a worker that would have to hold the memory. */
		error = gather_now(t, r->offset, r->len, false, g->data);
	if (!error) {
		finish(t, r, 0, g->data);
	} else if (error == -EAGAIN) {
		r->answering = true;
		*g = (struct gather) {
			.work = {.run = gather_run, .done = gather_done},
			.t = t,
			.id = r->id,
			.offset = r->offset,
			.len = r->len,
			.data = g->data,
		};
		t->jobs++;
		work_post_urgent(t->parts->pool, &g->work);
		return;
	} else {
		verify_suspect(t, r->offset, r->len);
	}
	free(g->data);
	free(g);
}

void read_on_block(struct torrent *t, uint32_t piece)
{
	uint32_t bpp = t->layout.blocks_per_piece;
	struct read *next;
	for (struct read *r = t->reads; r; r = next) {
		next = r->next;
		bool touched = r->first < (piece + 1) * bpp && r->first + r->n_blocks > piece * bpp;
		if (touched && !r->answering && readable(t, r))
			answer(t, r);
	}
}

void read_on_tick(struct torrent *t, uint64_t now)
{
	struct read *next;
	for (struct read *r = t->reads; r; r = next) {
		next = r->next;
		if (r->answering)
			continue;
		if (r->deadline && now >= r->deadline)
			finish(t, r, -ETIMEDOUT, NULL);
		else if (readable(t, r))
			answer(t, r);
	}
}

/* -- the façade's ------------------------------------------------------------------------------ */

uint64_t torrent_read(struct torrent *t, uint64_t offset, size_t len, uint64_t timeout_ms,
	torrent_read_fn *done, void *arg)
{
	uint64_t now = clock_us();
	struct read *r = xcalloc(1, sizeof(*r));
	*r = (struct read) {
		.id = ++t->next_read_id,
		.offset = offset,
		.len = len,
		.since = now,
		.deadline = timeout_ms ? now + timeout_ms * US_PER_MS : 0,
		.done = done,
		.arg = arg,
		.prev = t->reads_tail,
	};
	layout_blocks(&t->layout, offset, len, &r->first, &r->n_blocks);
	if (t->reads_tail)
		t->reads_tail->next = r;
	else
		t->reads = r;
	t->reads_tail = r;
	t->n_reads++;
	t->reads_total++;
	log_debug(LOG_PICK, "read %llu: %zu bytes at %llu", (unsigned long long)r->id, len,
		(unsigned long long)offset);

	/* What may be in the store is looked at there before anybody is asked. */
	uint32_t bpp = t->layout.blocks_per_piece;
	for (uint32_t p = r->first / bpp; p <= (r->first + r->n_blocks - 1) / bpp; p++)
		verify_check_piece(t, p, true);
	if (!profile_names(t, r->first, r->n_blocks))
		streams_on_read(&t->streams, layout_file_of(&t->layout, r->first / bpp), offset, len);
	profile_on_read(t, r->first, r->n_blocks);
	t->demands_open = true;
	ask_trim(t);
	ask_soon(t);
	/* It may be there by now; then the first fast tick answers it, which a pump does too. */
	if (!event_pending(t->fast_event, EV_TIMEOUT, NULL))
		event_add(t->fast_event, &(struct timeval) {.tv_usec = FAST_TICK_MS * 1000});
	if (readable(t, r))
		event_active(t->fast_event, 0, 0);
	return r->id;
}

struct cancel {
	struct torrent *t;
	uint64_t id;
	int error;
};

static void cancel_now(void *arg)
{
	CLEANUP_FREE struct cancel *c = arg;
	struct read *r = find_read(c->t, c->id);
	if (r)
		finish(c->t, r, c->error, NULL);
}

void torrent_read_cancel(struct torrent *t, uint64_t id, int error)
{
	struct cancel *c = xcalloc(1, sizeof(*c));
	*c = (struct cancel) {t, id, error};
	loop_post(t->parts->loop, cancel_now, c);
}

void torrent_read_cancel_all(struct torrent *t, int error)
{
	while (t->reads)
		finish(t, t->reads, error, NULL);
}

bool torrent_ready(const struct torrent *t, uint64_t offset, size_t len)
{
	uint32_t first, n;
	layout_blocks(&t->layout, offset, len, &first, &n);
	return bits_all(&t->have, first, n);
}

/* -- reads that did not wait ------------------------------------------------------------------- */

struct suspect {
	struct torrent *t;
	uint64_t offset;
	size_t len;
};

static void suspect_now(void *arg)
{
	CLEANUP_FREE struct suspect *s = arg;
	verify_suspect(s->t, s->offset, s->len);
}

static void wake(void *arg)
{
	struct torrent *t = arg;
	read_take_recent(t);
	ask_soon(t);
}

static void tell(struct torrent *t, uint64_t offset, size_t len)
{
	LOCK_SCOPE(&t->recent_lock);
	if (t->n_recent == ARRAY_SIZE(t->recent))
		return; /* the loop is behind: it will see the next ones */
	t->recent[t->n_recent].offset = offset;
	t->recent[t->n_recent].len = (uint32_t)len;
	if (!t->n_recent++)
		loop_post(t->parts->loop, wake, t);
}

void read_take_recent(struct torrent *t)
{
	__typeof__(t->recent) recent;
	unsigned n;
	{
		LOCK_SCOPE(&t->recent_lock);
		n = t->n_recent;
		memcpy(recent, t->recent, n * sizeof(recent[0]));
		t->n_recent = 0;
	}
	for (unsigned i = 0; i < n; i++) {
		uint32_t piece = (uint32_t)(recent[i].offset / t->layout.piece_length), first, blocks;
		layout_blocks(&t->layout, recent[i].offset, recent[i].len, &first, &blocks);
		if (!profile_names(t, first, blocks))
			streams_on_read(&t->streams, layout_file_of(&t->layout, piece),
				recent[i].offset, recent[i].len);
	}
	if (n)
		t->interactive_until = clock_us() + INTERACTIVE_US;
}

int torrent_read_stored(struct torrent *t, uint64_t offset, void *data, size_t len)
{
	uint32_t first, n;
	layout_blocks(&t->layout, offset, len, &first, &n);
	/* Known zeros are holes in the store, but holes can be written to behind our back. */
	int r = 0;
	if (bits_all(&t->zero, first, n))
		memset(data, 0, len);
	else
		r = t->store->ops->read(t->store, offset, data, len, false);
	if (r < 0) {
		struct suspect *s = xcalloc(1, sizeof(*s));
		*s = (struct suspect) {t, offset, len};
		loop_post(t->parts->loop, suspect_now, s);
		return r;
	}
	profile_on_read(t, first, n);
	if (!t->complete)
		tell(t, offset, len);
	return 0;
}
