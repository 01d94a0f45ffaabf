/* SPDX-License-Identifier: MIT */
/* What peers ask of us: blocks.
 *
 * Requests of an unchoked peer wait in its queue (CONN_REQUEST_QUEUE at most) and are answered in
 * order, as long as its send buffer and the upload limit have room: so a block is read from the store
 * only shortly before it leaves, and a cancel can still catch it.  The store is asked not to wait for
 * a disk; when it would have to, a worker reads.
 */
#include "swarm/torrent.h"

#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/store.h"

#include <errno.h>
#include <string.h>

/* Bytes in a connection's send buffer above which no more blocks are read for it: enough to keep a
 * fast socket busy from one turn of the loop to the next. */
#define SEND_AHEAD (512u << 10)

static void reject(struct conn *c, uint32_t piece, uint32_t begin, uint32_t length)
{
	if (!c->fast)
		return;
	wire_add_block(&c->out, WIRE_REJECT, piece, begin, length);
	conn_send(c);
}

static bool have_piece(const struct torrent *t, uint32_t piece)
{
	return bits_get(&t->picker.pieces, piece);
}

void serve_on_request(struct conn *c, const struct wire_message *m)
{
	struct torrent *t = c->torrent;
	if (m->type == WIRE_CANCEL) {
		for (unsigned i = c->reading ? 1 : 0; i < c->n_wanted; i++) {
			struct wanted *w = &c->wanted[i];
			if (w->piece != m->piece || w->begin != m->begin || w->length != m->length)
				continue;
			conn_drop_wanted(c, i);
			reject(c, m->piece, m->begin, m->length);
			return;
		}
		return;
	}
	if (!c->choker.unchoked || !have_piece(t, m->piece) || m->length > REQUEST_MAX_SERVED ||
		c->n_wanted >= CONN_REQUEST_QUEUE) {
		reject(c, m->piece, m->begin, m->length);
		return;
	}
	conn_want(c, m->piece, m->begin, m->length);
	serve(c);
}

void serve_set_choking(void *peer, bool unchoked)
{
	struct conn *c = peer;
	conn_set_choking(c, !unchoked);
	if (unchoked)
		return;
	/* BEP 6: what is open is rejected; BEP 3: it is forgotten. */
	unsigned keep = c->reading ? 1 : 0;
	for (unsigned i = keep; i < c->n_wanted; i++)
		reject(c, c->wanted[i].piece, c->wanted[i].begin, c->wanted[i].length);
	c->n_wanted = MIN(c->n_wanted, keep);
}

static void sent(struct torrent *t, struct conn *c, uint32_t length, uint64_t now)
{
	conn_drop_wanted(c, 0);
	meter_add(&c->up, length, now);
	meter_add(&t->up, length, now);
	choker_on_sent(&c->choker, length);
	conn_send(c);
}

/* What a peer asked for, read from the store; zeros where that is padding behind the last file. */
static int read_wanted(const struct torrent *t, const struct wanted *w, uint8_t *data, bool nowait)
{
	uint64_t at = layout_offset(&t->layout, w->piece, 0) + w->begin;
	uint64_t end = MAX(t->meta->space, t->meta->max_v1_space);
	size_t n = at < end ? (size_t)MIN((uint64_t)w->length, end - at) : 0;
	memset(data + n, 0, w->length - n);
	return n ? t->store->ops->read(t->store, at, data, n, nowait) : 0;
}

struct serve_job {
	struct work work;
	struct torrent *t;
	uint32_t conn;
	struct wanted wanted;
	int error;
	uint8_t data[REQUEST_MAX_SERVED];
};

static void serve_run(struct work *work)
{
	struct serve_job *j = container_of(work, struct serve_job, work);
	j->error = read_wanted(j->t, &j->wanted, j->data, false);
}

/* The store failed: the peer gets nothing, and the range is no longer ours to offer. */
static void on_read_error(struct torrent *t, struct conn *c, const struct wanted *w)
{
	conn_drop_wanted(c, 0);
	reject(c, w->piece, w->begin, w->length);
	verify_suspect(t, layout_offset(&t->layout, w->piece, 0), layout_piece_len(&t->layout, w->piece));
}

static void serve_done(struct work *work)
{
	struct serve_job *j = container_of(work, struct serve_job, work);
	struct torrent *t = j->t;
	struct conn *c = torrent_conn(t, j->conn);
	t->jobs--;
	if (c && c->state == CONN_OPEN) {
		c->reading = false;
		if (j->error) {
			on_read_error(t, c, &j->wanted);
		} else {
			wire_add_piece_header(&c->out, j->wanted.piece, j->wanted.begin,
				j->wanted.length);
			buf_add(&c->out, j->data, j->wanted.length);
			sent(t, c, j->wanted.length, clock_us());
		}
		serve(c);
	}
	free(j);
}

bool serve_wants(const struct conn *c)
{
	return c->state == CONN_OPEN && c->n_wanted && !c->reading && c->out.len < SEND_AHEAD;
}

/* The first of the peer's requests, for which the limit has room. */
void serve_one(struct conn *c)
{
	struct torrent *t = c->torrent;
	struct wanted w = c->wanted[0];
	if (!have_piece(t, w.piece)) { /* lost since */
		conn_drop_wanted(c, 0);
		reject(c, w.piece, w.begin, w.length);
		return;
	}
	uint64_t now = clock_us();
	limiter_take(&t->parts->up, w.length, now);
	size_t before = c->out.len;
	wire_add_piece_header(&c->out, w.piece, w.begin, w.length);
	int r = read_wanted(t, &w, buf_extend(&c->out, w.length), true);
	if (!r) {
		sent(t, c, w.length, now);
		return;
	}
	c->out.len = before;
	if (r != -EAGAIN) {
		on_read_error(t, c, &w);
		return;
	}
	struct serve_job *j = xcalloc(1, sizeof(*j));
	j->work.run = serve_run;
	j->work.done = serve_done;
	j->t = t;
	j->conn = c->number;
	j->wanted = w;
	c->reading = true;
	t->jobs++;
	work_post(t->parts->pool, &j->work);
}

void serve(struct conn *c)
{
	struct swarm_parts *parts = ((struct torrent *)c->torrent)->parts;
	while (serve_wants(c)) {
		/* While others wait for the limit, this one waits for its turn as they do. */
		if (parts->up_starved || limiter_wait(&parts->up, c->wanted[0].length, clock_us())) {
			parts->up_starved = true;
			return;
		}
		serve_one(c);
	}
}
