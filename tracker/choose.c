/* SPDX-License-Identifier: MIT */
/* Choosing peers: see choose.h.
 *
 * The sets are in random order already, so a choice is a run from a random place.  Without sites
 * (or ids to compare) a run is copied as it lies, around the asker; with them it is walked.
 *
 * Thread: loop.
 */
#include "tracker/choose.h"

#include "base/mem.h"

struct out {
	uint8_t *addrs, *ids;
	uint32_t n;
};

static void emit_run(struct out *o, const struct peerset *s, uint32_t from, uint32_t n)
{
	memcpy(o->addrs + (size_t)o->n * s->addr_len, peerset_addr(s, from), (size_t)n * s->addr_len);
	for (uint32_t i = 0; o->ids && i < n; i++)
		memcpy(o->ids + (size_t)(o->n + i) * PEER_ID_LEN, s->meta[from + i].id, PEER_ID_LEN);
	o->n += n;
}

static uint32_t self_in(const struct chooser *c, const struct peerset *s)
{
	return s == c->self_set ? c->self_at : PEERSET_NONE;
}

/* How many there are beside the asker. */
static uint32_t others(const struct chooser *c, const struct peerset *s)
{
	return s->n - (self_in(c, s) != PEERSET_NONE);
}

/* The run of `n` from `from`, as it lies; n <= others(). */
static void emit_any(const struct chooser *c, const struct peerset *s, uint32_t from, uint32_t n,
	struct out *o)
{
	uint32_t self = self_in(c, s);
	while (n) {
		if (from == s->n)
			from = 0;
		if (from == self) {
			from++;
			continue;
		}
		uint32_t end = self != PEERSET_NONE && self > from ? self : s->n;
		uint32_t run = MIN(n, end - from);
		emit_run(o, s, from, run);
		from += run;
		n -= run;
	}
}

/* Up to `n` of those whose being of the asker's site is `mine`, walked from `from`. */
static uint32_t emit_walk(const struct chooser *c, const struct peerset *s, uint32_t from,
	bool mine, uint32_t n, struct out *o)
{
	const uint16_t *sites = peerset_sites(s);
	uint32_t self = self_in(c, s), got = 0;
	uint32_t look = MIN(s->n, CHOOSE_SITE_SCAN);
	for (uint32_t at = from; look && got < n; look--, at++) {
		if (at >= s->n)
			at = 0;
		if ((c->site && sites[at] == c->site) != mine || at == self)
			continue;
		if (c->self_id && !memcmp(s->meta[at].id, c->self_id, PEER_ID_LEN))
			continue;
		emit_run(o, s, at, 1);
		got++;
	}
	return got;
}

/* Up to `n` peers of one kind, one's own site first; at most `mine_max` of that. */
static uint32_t emit(const struct chooser *c, const struct peerset *s, uint32_t n,
	uint32_t mine_max, uint64_t *random_state, struct out *o)
{
	if (!s->n || !n)
		return 0;
	uint32_t from = (uint32_t)((choose_random(random_state) >> 32) * s->n >> 32);
	if (!c->site && !c->self_id) {
		n = MIN(n, others(c, s));
		emit_any(c, s, from, n, o);
		return n;
	}
	uint32_t before = o->n;
	uint32_t mine = c->site ? emit_walk(c, s, from, true, MIN(n, mine_max), o) : 0;
	uint32_t rest = emit_walk(c, s, from, false, n - mine, o);
	/* Nobody elsewhere: the site may have it all. */
	if (c->site && mine == mine_max && mine + rest < n) {
		o->n = before;
		mine = emit_walk(c, s, from, true, n - rest, o);
		rest = emit_walk(c, s, from, false, n - mine, o);
	}
	return mine + rest;
}

uint32_t choose_peers(const struct chooser *c, const struct peerset *leechers,
	const struct peerset *seeds, uint32_t want, uint64_t *random_state, uint8_t *ret_addrs,
	uint8_t *ret_ids)
{
	struct out o = {.addrs = ret_addrs, .ids = ret_ids};
	uint32_t for_leechers = MIN(others(c, leechers), c->seed ? want : want / 4);
	if (!c->seed)
		emit(c, seeds, want - for_leechers, want, random_state, &o);
	uint32_t left = want - o.n;
	emit(c, leechers, left, left - left / 4, random_state, &o);
	return o.n;
}
