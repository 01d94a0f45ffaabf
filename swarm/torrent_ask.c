/* SPDX-License-Identifier: MIT */
/* Which block is asked of whom.
 *
 * ask_pump runs at the end of a turn of the loop in which anything changed, and goes through, in order:
 *
 *  1. demands: blocks that a read waits for, each of the source from which it is expected soonest;
 *  2. a boot profile (torrent_profile.c): what is known to be read next;
 *  3. streams: what sequential readers will read next, as far as their windows reach;
 *  4. filling: rarest first, each connection up to what its path holds.
 *
 * A demand waits behind nothing: while reads wait, or did in the last INTERACTIVE_US, a connection's
 * fill requests are kept to what its path holds (path.h), and when the first read comes, what is
 * above that is cancelled.  A demanded block that is later than nearly all of its source's answers
 * is asked of a second one (a hedge), within a budget of HEDGE_PERCENT of what was received; the
 * loser's request is cancelled.
 */
#include "swarm/torrent.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/peers.h"
#include "swarm/resume.h"

#include <errno.h>
#include <event2/event.h>

#define SNUB_US (10 * US_PER_S)  /* nothing came for so long: the requests go to others */
#define HEDGE_PERCENT 2
#define HEDGE_FREE (64u * BLOCK_SIZE) /* hedged in any case */
#define BULK_US (50 * US_PER_MS) /* asked for beyond what the path holds, when nobody waits */
/* What every tool looks at first: partition tables, qcow2's header and first tables; at the end VHD's and
 * VMDK's footers, GPT's copy. */
#define HEAD_BYTES (128u << 10)
#define TAIL_BYTES (64u << 10)
#define TWICE_ASKS 4             /* the end game: a source with fewer requests open takes others' */
#define EARLY_SLOWER 4           /* a profile's blocks: times as late as the soonest, at most */

bool ask_interactive(const struct torrent *t, uint64_t now)
{
	return t->n_reads || now < t->interactive_until;
}

void ask_soon(struct torrent *t)
{
	if (t->pump_event)
		event_active(t->pump_event, 0, 0);
}

/* -- sources ----------------------------------------------------------------------------------- */

struct source {
	struct conn *conn;
	struct web_source *web;
	uint64_t expects; /* us from now */
};

static uint32_t number_of(const struct source *s)
{
	return s->conn ? s->conn->number : s->web ? s->web->number : 0;
}

static void consider(struct torrent *t, struct source *best, const struct source *s, uint32_t piece,
	uint32_t sole, bool bad)
{
	if (sole && number_of(s) != sole)
		return;
	uint64_t expects = s->expects;
	/* The next copy of a wrong piece had better come from somebody who is above suspicion. */
	if (bad && !sole && verify_suspects(t, piece, number_of(s)))
		expects += 10 * US_PER_S;
	if (!number_of(best) || expects < best->expects) {
		*best = *s;
		best->expects = expects;
	}
}

/* From where a block of `piece` is expected soonest; `not_conn`: somebody else than that one. */
static struct source best_source(struct torrent *t, uint32_t piece, uint32_t block,
	const struct conn *not_conn, uint64_t now)
{
	struct source best = {0};
	uint32_t none = 0, *sole = &none;
	bool bad = verify_sole_source(t, piece, &sole);
	for (int again = 0; again < 2; again++) {
		for (struct conn *c = t->conns; c; c = c->next) {
			if (c == not_conn || !conn_may_ask(c, piece) || c->n_asks >= conn_max_asks(c) ||
				(c->timeouts && c->n_asks) ||
				(not_conn && conn_find_ask(c, piece, block) < c->n_asks))
				continue;
			struct source s = {.conn = c,
				.expects = path_expects(&c->path, c->outstanding) +
					c->timeouts * US_PER_S};
			consider(t, &best, &s, piece, *sole, bad);
		}
		for (struct web_source *w = t->web; w; w = w->next) {
			if (!web_ready(w, now))
				continue;
			struct source s = {.web = w, .expects = path_expects(&w->path, w->outstanding)};
			consider(t, &best, &s, piece, *sole, bad);
		}
		if (number_of(&best) || !*sole)
			break;
		/* The sole source is gone or cannot: choose another. */
		*sole = 0;
	}
	if (bad && number_of(&best))
		*sole = number_of(&best);
	return best;
}

/* -- asking ------------------------------------------------------------------------------------- */

static bool is_reserved(const struct torrent *t, uint32_t piece)
{
	return bits_get(&t->picker.reserved, piece);
}

static void ask_conn(struct torrent *t, struct conn *c, uint32_t piece, uint32_t block,
	enum ask_kind kind, uint64_t now)
{
	uint32_t len = layout_block_len(&t->layout, piece, block);
	if (kind == ASK_FILL)
		limiter_take(&t->parts->down, len, now);
	else
		limiter_force(&t->parts->down, len, now);
	picker_on_asked(&t->picker, piece, block);
	conn_ask(c, piece, block, len, kind, now);
}

/* -- demands ------------------------------------------------------------------------------------ */

/* Makes sure that a block which a read needs is on its way; false when nobody can be asked now. */
static bool demand_block(struct torrent *t, uint32_t piece, uint32_t block, uint32_t end, uint64_t now)
{
	enum block_state state = picker_state(&t->picker, piece, block);
	if (state > BLOCK_GOT)
		return true;
	if (state == BLOCK_ASKED || state == BLOCK_GOT) {
		leaves_want(t, picker_piece(&t->picker, piece), block, NULL, now);
		return true;
	}
	struct source s = best_source(t, piece, block, NULL, now);
	if (!number_of(&s))
		return false;
	if (s.conn) {
		ask_conn(t, s.conn, piece, block, ASK_DEMAND, now);
	} else {
		uint32_t first = block_number(t, piece, block);
		web_ask(t, s.web, first, end, WEBSEED_ASKS, now);
	}
	struct piece *w = picker_piece(&t->picker, piece);
	if (!w)
		return false;
	leaves_want(t, w, block, s.conn, now);
	if (s.conn)
		leaves_push_later(t, w, block, s.conn);
	return true;
}

/* The blocks of one piece that a read needs: those it reads, or all where they cannot be verified
 * alone. */
static bool demand_piece(struct torrent *t, const struct read *r, uint32_t piece, uint64_t now)
{
	uint32_t bpp = t->layout.blocks_per_piece, base = piece * bpp;
	uint32_t from = r->first > base ? r->first - base : 0;
	uint32_t to = MIN(r->first + r->n_blocks - base, layout_piece_blocks(&t->layout, piece));
	bool all = true;
	if (bits_get(&t->picker.pieces, piece) || is_reserved(t, piece))
		return true;
	for (uint32_t i = from; i < to; i++)
		all &= demand_block(t, piece, i, base + to, now);
	struct piece *w = picker_piece(&t->picker, piece);
	if (w)
		picker_touch(&t->picker, w, to - 1);
	bool lacks = false;
	for (uint32_t i = from; i < to && !lacks; i++)
		lacks = picker_state(&t->picker, piece, i) < BLOCK_GOOD;
	if (!w || !w->whole || !lacks)
		return all;
	uint32_t n = w->n_blocks;
	for (uint32_t i = 0; i < n; i++)
		all &= demand_block(t, piece, i, base + n, now);
	return all;
}

static void pump_demands(struct torrent *t, uint64_t now)
{
	uint32_t bpp = t->layout.blocks_per_piece;
	if (!t->demands_open)
		return;
	t->demands_open = false;
	bool all = true;
	for (struct read *r = t->reads; r; r = r->next) {
		for (uint32_t p = r->first / bpp; p <= (r->first + r->n_blocks - 1) / bpp; p++)
			all &= demand_piece(t, r, p, now);
	}
	if (!all)
		t->demands_open = true; /* until somebody unchokes us, has it, or has room */
}

void ask_hedge(struct torrent *t, uint64_t now)
{
	for (struct conn *c = t->conns; c; c = c->next) {
		uint64_t patience = path_patience(&c->path, c->outstanding);
		for (unsigned i = 0; i < c->n_asks; i++) {
			struct ask a = c->asks[i];
			if (a.kind != ASK_DEMAND || now - a.mark.sent_at < patience)
				continue;
			struct piece *w = picker_piece(&t->picker, a.piece);
			if (!w || w->blocks[a.block].askers != 1)
				continue;
			/* A source that gives nothing at all is no matter of budgets. */
			bool silent = now - MAX(c->last_block, a.mark.sent_at) > 3 * patience;
			if (!silent && t->hedged_bytes > HEDGE_FREE + t->down.total * HEDGE_PERCENT / 100)
				return;
			struct source s = best_source(t, a.piece, a.block, c, now);
			if (!s.conn)
				continue;
			t->hedges++;
			t->hedged_bytes += a.len;
			log_debug(LOG_PICK, "hedge: block %u of piece %u, asked of %s %llu us ago, of %s",
				a.block, a.piece, c->name, (unsigned long long)(now - a.mark.sent_at),
				s.conn->name);
			ask_conn(t, s.conn, a.piece, a.block, ASK_DEMAND, now);
		}
	}
}

/* -- how much, and streams ------------------------------------------------------------------------ */

static uint64_t interactive_target(const struct path *p)
{
	return path_calm(p);
}

static uint64_t bulk_target(const struct path *p)
{
	return 2 * path_holds(p) + path_rate(p) * BULK_US / US_PER_S + 16 * BLOCK_SIZE;
}

/* While reads wait the next one most likely wants what a profile names next, so that may queue a little
 * more than filling. */
static uint64_t early_target(const struct path *p, bool interactive)
{
	return interactive ? path_holds(p) * 3 / 2 + path_rate(p) * 2 / 1000 + 2 * BLOCK_SIZE : bulk_target(p);
}

void ask_trim(struct torrent *t)
{
	/* What is cancelled is asked for again, and some of it comes twice: so a profile's blocks are given up to
	 * the first read alone, and after it of filling only what is far above what may be. */
	bool first = t->n_reads == 1 && clock_us() >= t->interactive_until;
	for (struct conn *c = t->conns; c; c = c->next) {
		uint64_t fill = interactive_target(&c->path), early = early_target(&c->path, true);
		for (unsigned i = c->n_asks; i-- > 0;) {
			struct ask *a = &c->asks[i];
			if (a->kind != ASK_DEMAND && read_wants(t, a->piece, a->block))
				a->kind = ASK_DEMAND;
			uint64_t target = a->kind == ASK_FILL ? (first ? fill : fill * 2) :
				a->kind == ASK_EARLY && first ? early :
				UINT64_MAX;
			if (c->outstanding <= target)
				continue;
			uint32_t piece = a->piece, block = a->block;
			conn_unask(c, i);
			picker_on_unasked(&t->picker, piece, block);
		}
	}
}

/* One block of a stream's window; false when no source has room for it now.  `filling`: no reader has
 * shown that it wants it, so it makes room for those that wait as filling does. */
static bool ask_near(struct torrent *t, uint32_t k, uint32_t end, bool filling, uint64_t now)
{
	uint32_t bpp = t->layout.blocks_per_piece, piece = k / bpp, i = k % bpp;
	if (!layout_block_len(&t->layout, piece, i) || is_reserved(t, piece) ||
		picker_state(&t->picker, piece, i) != BLOCK_MISSING)
		return true;
	struct source best = best_source(t, piece, i, NULL, now);
	if (best.web)
		web_ask(t, best.web, k, end, WEBSEED_ASKS, now);
	if (!best.conn)
		return best.web;
	const struct path *path = &best.conn->path;
	bool interactive = filling && ask_interactive(t, now);
	if (best.conn->outstanding >= (interactive ? interactive_target(path) : bulk_target(path)))
		return false;
	ask_conn(t, best.conn, piece, i, filling ? ASK_FILL : ASK_NEAR, now);
	leaves_want(t, picker_piece(&t->picker, piece), i, best.conn, now);
	return true;
}

/* Asks for what lies before one sequential reader, in its direction. */
static void pump_stream(struct torrent *t, struct stream *s, uint64_t now)
{
	const struct metainfo_file *f = &t->meta->files[s->file];
	uint64_t from, to;
	stream_window(s, &from, &to);
	from = MAX(from, s->backward || !s->ahead ? f->offset : s->ahead);
	to = MIN(to, s->backward && s->ahead ? s->ahead : f->offset + f->length);
	if (from >= to)
		return;
	if (!t->meta->has_v2) {
		/* Half a piece of v1 is worth nothing. */
		uint64_t length = t->layout.piece_length;
		from = MAX(from / length * length, f->offset);
		to = MIN((to + length - 1) / length * length, f->offset + f->length);
	}
	uint32_t first, n, done = 0;
	layout_blocks(&t->layout, from, to - from, &first, &n);
	while (done < n && ask_near(t, s->backward ? first + n - 1 - done : first + done, first + n,
				   s->unread, now))
		done++;
	if (done == n)
		s->ahead = s->backward ? from : to;
	else if (done && !s->backward)
		s->ahead = layout_offset(&t->layout, (first + done) / t->layout.blocks_per_piece,
			(first + done) % t->layout.blocks_per_piece);
}

void ask_ends_first(struct torrent *t)
{
	for (uint32_t i = 0; i < t->meta->n_files && 2 * i + 1 < STREAMS / 2; i++) {
		const struct metainfo_file *f = &t->meta->files[i];
		uint64_t head = MIN(f->length, (uint64_t)HEAD_BYTES), tail = MIN(f->length, (uint64_t)TAIL_BYTES);
		struct stream one = {.begin = f->offset, .end = f->offset, .window = head, .file = i,
			.used = ++t->streams.count, .unread = true};
		t->streams.all[2 * i] = one;
		one.begin = one.end = f->offset + f->length - tail;
		one.window = tail;
		one.used = ++t->streams.count;
		t->streams.all[2 * i + 1] = one;
	}
}

static void pump_streams(struct torrent *t, uint64_t now)
{
	for (int i = 0; i < STREAMS; i++) {
		struct stream *s = &t->streams.all[i];
		/* Where filling is off, nothing that nobody reads stands in a reader's way. */
		bool waits = s->unread && !t->fill && ask_interactive(t, now);
		if (s->window && !waits && t->picker.held < 2 * (uint64_t)FILL_MEMORY)
			pump_stream(t, s, now);
	}
}

/* May `c` fetch this piece, or is it to come from somebody else alone? */
static bool may_fill_from(struct torrent *t, uint32_t number, uint32_t piece)
{
	uint32_t *sole;
	if (!verify_sole_source(t, piece, &sole) || *sole == number)
		return true;
	if (*sole && torrent_conn(t, *sole))
		return false;
	*sole = number;
	return true;
}

/* -- a profile's blocks --------------------------------------------------------------------------- */

static bool has_room(const struct conn *c, bool interactive)
{
	return c->n_asks < conn_max_asks(c) && c->outstanding < early_target(&c->path, interactive);
}

static bool web_has_room(const struct web_source *w, bool interactive, uint64_t now)
{
	/* One fetch is kept for demands. */
	return web_ready(w, now) && webseed_active(w->seed) < WEBSEED_MAX_FETCHES - 1 &&
		w->outstanding < early_target(&w->path, interactive);
}

bool ask_has_room(struct torrent *t, uint64_t now)
{
	bool interactive = ask_interactive(t, now), room = false;
	for (struct conn *c = t->conns; c && !room; c = c->next)
		room = c->state == CONN_OPEN && has_room(c, interactive);
	for (struct web_source *w = t->web; w && !room; w = w->next)
		room = web_has_room(w, interactive, now);
	return room && !limiter_wait(&t->parts->down, BLOCK_SIZE, now);
}

/* The soonest of those that have room; *ret_soonest: of all that could. */
static struct source roomy_source(struct torrent *t, uint32_t piece, uint64_t now,
	uint64_t *ret_soonest)
{
	struct source best = {0};
	bool interactive = ask_interactive(t, now);
	*ret_soonest = UINT64_MAX;
	for (struct conn *c = t->conns; c; c = c->next) {
		if (!conn_may_ask(c, piece) || (c->timeouts && c->n_asks) ||
			!may_fill_from(t, c->number, piece))
			continue;
		struct source s = {.conn = c, .expects = path_expects(&c->path, c->outstanding)};
		*ret_soonest = MIN(*ret_soonest, s.expects);
		if (has_room(c, interactive))
			consider(t, &best, &s, piece, 0, false);
	}
	for (struct web_source *w = t->web; w; w = w->next) {
		if (w->banned || now < w->retry_at || !may_fill_from(t, w->number, piece))
			continue;
		struct source s = {.web = w, .expects = path_expects(&w->path, w->outstanding)};
		*ret_soonest = MIN(*ret_soonest, s.expects);
		if (web_has_room(w, interactive, now))
			consider(t, &best, &s, piece, 0, false);
	}
	return best;
}

int ask_early(struct torrent *t, uint32_t number, uint32_t end, uint64_t now)
{
	uint32_t bpp = t->layout.blocks_per_piece, piece = number / bpp, block = number % bpp;
	if (picker_state(&t->picker, piece, block) != BLOCK_MISSING)
		return 0;
	/* A piece in work goes on, or its blocks would stay in memory for ever. */
	if (t->picker.held >= FILL_MEMORY && !picker_piece(&t->picker, piece))
		return -EAGAIN;
	uint64_t soonest;
	struct source s = roomy_source(t, piece, now, &soonest);
	/* From somebody that slow it would come long after its turn. */
	if (!number_of(&s) || s.expects / EARLY_SLOWER > soonest)
		return soonest == UINT64_MAX ? 0 : -EAGAIN;
	if (limiter_wait(&t->parts->down, BLOCK_SIZE, now))
		return -EAGAIN;
	if (s.conn)
		ask_conn(t, s.conn, piece, block, ASK_EARLY, now);
	else
		web_ask(t, s.web, number, end, WEBSEED_ASKS, now);
	struct piece *w = picker_piece(&t->picker, piece);
	if (w)
		leaves_want(t, w, block, s.conn, now);
	return 0;
}

/* -- filling ------------------------------------------------------------------------------------- */

static bool asked_of_it(void *arg, uint32_t piece, uint32_t block)
{
	const struct conn *c = arg;
	return conn_find_ask(c, piece, block) < c->n_asks;
}

static void fill_from(struct torrent *t, struct conn *c, uint64_t target, uint64_t now)
{
	uint32_t piece, block;
	unsigned max = c->timeouts ? 1 : conn_max_asks(c);
	while (c->n_asks < max && c->outstanding < target) {
		bool may_open = t->picker.held < FILL_MEMORY || !c->n_asks;
		if (limiter_wait(&t->parts->down, BLOCK_SIZE, now) ||
			!picker_next(&t->picker, &c->has, may_open, &piece, &block) ||
			!may_fill_from(t, c->number, piece))
			break;
		ask_conn(t, c, piece, block, ASK_FILL, now);
	}
	if (c->n_asks < TWICE_ASKS && !c->timeouts && picker_all_asked(&t->picker) &&
		picker_next_twice(&t->picker, &c->has, asked_of_it, c, &piece, &block) &&
		may_fill_from(t, c->number, piece))
		ask_conn(t, c, piece, block, ASK_FILL, now);
}

static void fill_from_web(struct torrent *t, struct web_source *w, bool interactive, uint64_t now)
{
	uint32_t piece, block;
	unsigned most = interactive ? 1 : WEBSEED_MAX_FETCHES - 1; /* one is kept for demands */
	uint32_t size = interactive ? WEBSEED_ASKS / 4 : WEBSEED_ASKS;
	while (web_ready(w, now) && webseed_active(w->seed) < most &&
		!limiter_wait(&t->parts->down, BLOCK_SIZE, now) &&
		picker_next(&t->picker, NULL, t->picker.held < FILL_MEMORY, &piece, &block) &&
		may_fill_from(t, w->number, piece)) {
		uint32_t first = block_number(t, piece, block);
		uint32_t end = (piece + 1) * t->layout.blocks_per_piece;
		web_ask(t, w, first, end, size, now);
	}
}

static void pump_fill(struct torrent *t, uint64_t now)
{
	bool interactive = ask_interactive(t, now);
	for (struct conn *c = t->conns; c; c = c->next) {
		if (c->state != CONN_OPEN || c->choked || !c->has.set || conn_refuses(c))
			continue;
		fill_from(t, c, interactive ? interactive_target(&c->path) : bulk_target(&c->path), now);
	}
	for (struct web_source *w = t->web; w; w = w->next)
		fill_from_web(t, w, interactive, now);
}

void ask_pump(struct torrent *t)
{
	uint64_t now = clock_us();
	if (t->stopping || t->read_only || t->complete)
		return;
	pump_demands(t, now);
	profile_pump(t, now);
	pump_streams(t, now);
	if (t->fill && !t->disk_error)
		pump_fill(t, now);
}

void ask_on_tick(struct torrent *t, uint64_t now)
{
	for (struct conn *c = t->conns; c; c = c->next) {
		if (!c->n_asks)
			continue;
		uint64_t since = MAX(c->last_block, c->asks[0].mark.sent_at);
		uint64_t patience = 4 * path_patience(&c->path, c->outstanding);
		if (now - since < MAX(patience, SNUB_US))
			continue;
		log_debug(LOG_PICK, "%s: nothing came for %llu ms: its %u requests go to others", c->name,
			(unsigned long long)((now - since) / US_PER_MS), c->n_asks);
		c->timeouts++;
		while (c->n_asks) {
			struct ask a = c->asks[c->n_asks - 1];
			conn_unask(c, c->n_asks - 1);
			picker_on_unasked(&t->picker, a.piece, a.block);
		}
		t->demands_open = true;
	}
	leaves_on_tick(t, now);
	ask_pump(t);
}

/* -- answers ------------------------------------------------------------------------------------- */

void ask_release(struct torrent *t, struct conn *c)
{
	for (unsigned i = 0; i < c->n_asks; i++)
		picker_on_unasked(&t->picker, c->asks[i].piece, c->asks[i].block);
	if (c->n_asks)
		t->demands_open = true;
	c->forgotten += c->n_asks;
	c->n_asks = 0;
	c->outstanding = 0;
}

void ask_cancel_others(struct torrent *t, uint32_t piece, uint32_t block)
{
	for (struct conn *c = t->conns; c; c = c->next) {
		unsigned i = conn_find_ask(c, piece, block);
		if (i == c->n_asks)
			continue;
		conn_unask(c, i);
		picker_on_unasked(&t->picker, piece, block);
	}
	/* A web seed's fetch goes on; its block will be found not to be wanted. */
	while (picker_on_unasked(&t->picker, piece, block))
		;
}

void ask_on_block(struct torrent *t, uint32_t piece, uint32_t block, uint8_t *data, uint32_t from,
	bool asked)
{
	uint32_t len = layout_block_len(&t->layout, piece, block);
	struct piece *w = picker_piece(&t->picker, piece);
	bool others = w && w->blocks[block].askers > (asked ? 1 : 0);
	meter_add(&t->down, len, clock_us());
	/* What comes unasked is of use in a piece that is in work; else peers would fill our memory. */
	if (t->read_only || is_reserved(t, piece) || (!asked && !w) ||
		!picker_on_got(&t->picker, piece, block, data, from)) {
		t->wasted += len;
		free(data);
	} else {
		if (others)
			ask_cancel_others(t, piece, block);
		verify_on_got(t, picker_piece(&t->picker, piece));
	}
	ask_soon(t);
}

void torrent_on_block(struct conn *c, uint32_t piece, uint32_t block, uint8_t *data,
	const struct ask *ask)
{
	choker_on_received(&c->choker, c->coming.len);
	ask_on_block(c->torrent, piece, block, data, c->number, ask);
}

static bool lacks(const struct bits *has, const struct bits *ours)
{
	for (uint32_t i = bits_next_set(has, 0); i < has->n; i = bits_next_set(has, i + 1)) {
		if (!bits_get(ours, i))
			return true;
	}
	return false;
}

void ask_interest(struct torrent *t, struct conn *c)
{
	if (c->state != CONN_OPEN || t->read_only)
		return;
	conn_set_interested(c, !t->complete && lacks(&c->has, &t->picker.pieces));
}

