/* SPDX-License-Identifier: MIT */
/* Who is in which swarm: see table.h.
 *
 * Swarms are found through open addressing over (tag, pointer) slots: growing needs the tags alone.
 * Time passes for a swarm when somebody asks for it (at most once a second, and only if one of its
 * peers may have expired), and for all others by table_sweep.
 *
 * Thread: loop.
 */
#include "tracker/table.h"

#include "base/hash.h"
#include "base/mem.h"
#include "tracker/choose.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

TAILQ_HEAD(swarm_list, swarm);

struct slot {
	struct swarm *swarm; /* owned; NULL is free */
	uint32_t tag;        /* of its hash; the low bits are its home */
};

struct table {
	struct table_config config;
	struct sipkey key;
	uint64_t random;
	struct slot *slots;
	uint32_t slots_mask;
	uint32_t n_swarms, sweep_at;
	uint64_t n_peers[2][2], memory;
	uint32_t n_empty;
	struct swarm_list empty; /* longest empty first */
	struct swarm_list dirty; /* longest dirty first; with those that are gone, which it owns */
	struct swarm *round_last; /* in `dirty`, up to where this round goes; NULL: it is over */
	uint32_t take_set, take_row; /* where it is in the first of them */
	uint32_t expire_second, expire_left;
	void (*on_change)(void *arg, enum table_change change, const uint8_t hash[HASH_LEN],
		const struct table_peer *peer);
	void *on_change_arg;
};

struct table *table_new(const struct table_config *config, uint32_t now)
{
	struct table *t = xcalloc(1, sizeof(*t));
	t->config = *config;
	random_bytes(&t->key, sizeof(t->key));
	random_bytes(&t->random, sizeof(t->random));
	t->random |= 1; /* xorshift never leaves 0 */
	TAILQ_INIT(&t->empty);
	TAILQ_INIT(&t->dirty);
	t->slots_mask = 255;
	t->slots = xcalloc(t->slots_mask + 1, sizeof(*t->slots));
	return t;
}

static void swarm_free(struct swarm *w)
{
	for (int f = V4; f <= V6; f++) {
		for (int k = LEECHERS; k <= SEEDS; k++)
			peerset_done(&w->sets[f][k]);
	}
	free(w);
}

void table_free(struct table *t)
{
	if (!t)
		return;
	struct swarm *next;
	for (struct swarm *w = TAILQ_FIRST(&t->dirty); w; w = next) {
		next = TAILQ_NEXT(w, in_dirty);
		if (w->gone)
			swarm_free(w);
	}
	for (uint32_t i = 0; i <= t->slots_mask; i++) {
		if (t->slots[i].swarm)
			swarm_free(t->slots[i].swarm);
	}
	free(t->slots);
	free(t);
}

/* -- finding swarms ------------------------------------------------------------------------ */

static uint32_t tag_of(const struct table *t, const uint8_t hash[HASH_LEN])
{
	return (uint32_t)siphash13(&t->key, hash, HASH_LEN);
}

static uint32_t slot_of(const struct table *t, const uint8_t hash[HASH_LEN], uint32_t tag)
{
	uint32_t i = tag & t->slots_mask;
	while (t->slots[i].swarm && (t->slots[i].tag != tag ||
			memcmp(t->slots[i].swarm->hash, hash, HASH_LEN) != 0))
		i = (i + 1) & t->slots_mask;
	return i;
}

static struct swarm *find(const struct table *t, const uint8_t hash[HASH_LEN])
{
	return t->slots[slot_of(t, hash, tag_of(t, hash))].swarm;
}

const struct swarm *table_find(const struct table *t, const uint8_t hash[HASH_LEN])
{
	return find(t, hash);
}

static void grow(struct table *t)
{
	uint32_t mask = 2 * t->slots_mask + 1;
	struct slot *slots = xcalloc((size_t)mask + 1, sizeof(*slots));
	for (uint32_t i = 0; i <= t->slots_mask; i++) {
		if (!t->slots[i].swarm)
			continue;
		uint32_t to = t->slots[i].tag & mask;
		while (slots[to].swarm)
			to = (to + 1) & mask;
		slots[to] = t->slots[i];
	}
	free(t->slots);
	t->slots = slots;
	t->slots_mask = mask;
}

static void drop_slot(struct table *t, uint32_t hole)
{
	for (uint32_t i = hole;;) {
		i = (i + 1) & t->slots_mask;
		if (!t->slots[i].swarm)
			break;
		uint32_t home = t->slots[i].tag & t->slots_mask;
		if (((i - home) & t->slots_mask) >= ((i - hole) & t->slots_mask)) {
			t->slots[hole] = t->slots[i];
			hole = i;
		}
	}
	t->slots[hole] = (struct slot) {0};
}

/* -- empty swarms ---------------------------------------------------------------------------- */

static void empty_add(struct table *t, struct swarm *w, uint32_t now)
{
	w->empty_since = now;
	TAILQ_INSERT_TAIL(&t->empty, w, in_empty);
	t->n_empty++;
}

static void empty_del(struct table *t, struct swarm *w)
{
	if (!w->empty_since)
		return;
	TAILQ_REMOVE(&t->empty, w, in_empty);
	w->empty_since = 0;
	t->n_empty--;
}

/* -- what is to be written ------------------------------------------------------------------- */

static void mark_dirty(struct table *t, struct swarm *w)
{
	if (!t->config.track_dirty || w->dirty)
		return;
	w->dirty = true;
	TAILQ_INSERT_TAIL(&t->dirty, w, in_dirty);
}

static void unmark_dirty(struct table *t, struct swarm *w)
{
	if (!w->dirty)
		return;
	if (w == TAILQ_FIRST(&t->dirty))
		t->take_set = t->take_row = 0;
	if (w == t->round_last)
		t->round_last = TAILQ_PREV(w, swarm_list, in_dirty);
	TAILQ_REMOVE(&t->dirty, w, in_dirty);
	w->dirty = false;
}

static void count_changed(struct table *t, struct swarm *w)
{
	w->count_changed = true;
	mark_dirty(t, w);
}

bool table_is_dirty(const struct table *t)
{
	return !TAILQ_EMPTY(&t->dirty);
}

void table_begin_round(struct table *t)
{
	t->round_last = TAILQ_LAST(&t->dirty, swarm_list);
}

static bool has_changed(const struct swarm *w)
{
	bool some = w->count_changed;
	for (int i = 0; i < 4 && !some; i++)
		some = peerset_has_changed(&w->sets[i / 2][i % 2]);
	return some;
}

/* The next piece of the first dirty swarm; false when it has been gone through. */
static bool take_from(struct table *t, struct swarm *w, struct table_piece *ret)
{
	memcpy(ret->hash, w->hash, HASH_LEN);
	if (w->gone) {
		ret->what = PIECE_GONE;
		unmark_dirty(t, w);
		swarm_free(w);
		return true;
	}
	w->taken = true;
	if (w->count_changed) {
		w->count_changed = false;
		ret->what = PIECE_COUNT;
		ret->downloaded = w->downloaded;
		return true;
	}
	for (; t->take_set < 4; t->take_set++, t->take_row = 0) {
		ret->family = t->take_set / 2;
		ret->kind = t->take_set % 2;
		struct peerset *s = &w->sets[ret->family][ret->kind];
		ret->row = peerset_take_row(s, t->take_row);
		if (ret->row == PEERSET_NONE)
			continue;
		t->take_row = ret->row + 1;
		ret->what = PIECE_ROW;
		ret->set = s;
		return true;
	}
	return false;
}

bool table_take(struct table *t, struct table_piece *ret)
{
	while (t->round_last) {
		struct swarm *w = TAILQ_FIRST(&t->dirty);
		if (take_from(t, w, ret))
			return true;
		unmark_dirty(t, w);
		if (has_changed(w))
			mark_dirty(t, w); /* behind where this round has been */
	}
	return false;
}

/* -- forgetting swarms ----------------------------------------------------------------------- */

static void forget_swarm(struct table *t, struct swarm *w)
{
	drop_slot(t, slot_of(t, w->hash, tag_of(t, w->hash)));
	empty_del(t, w);
	t->n_swarms--;
	t->memory -= sizeof(*w);
	if (t->config.track_dirty && w->taken) {
		w->gone = true;
		mark_dirty(t, w);
	} else {
		unmark_dirty(t, w);
		swarm_free(w);
	}
}

/* Empty swarms go when their count is old or none. */
static bool may_forget(const struct swarm *w, uint32_t now)
{
	return w->empty_since && (!w->downloaded || now - w->empty_since >= TABLE_KEEP_S);
}

static struct swarm *find_or_add(struct table *t, const uint8_t hash[HASH_LEN], uint32_t now)
{
	uint32_t tag = tag_of(t, hash);
	uint32_t at = slot_of(t, hash, tag);
	if (t->slots[at].swarm)
		return t->slots[at].swarm;
	if (t->n_swarms >= t->config.max_torrents) {
		if (TAILQ_EMPTY(&t->empty))
			return NULL;
		forget_swarm(t, TAILQ_FIRST(&t->empty));
	}
	if (t->n_swarms + 1 > (t->slots_mask + 1) / 4 * 3)
		grow(t);
	struct swarm *w = xcalloc(1, sizeof(*w));
	memcpy(w->hash, hash, HASH_LEN);
	w->settled_at = now;
	for (int k = LEECHERS; k <= SEEDS; k++) {
		peerset_init(&w->sets[V4][k], PEERSET_V4);
		peerset_init(&w->sets[V6][k], PEERSET_V6);
	}
	t->slots[slot_of(t, hash, tag)] = (struct slot) {w, tag};
	t->n_swarms++;
	t->memory += sizeof(*w);
	empty_add(t, w, now);
	return w;
}

/* -- peers of a swarm ------------------------------------------------------------------------ */

static enum family compact(const struct addr *a, uint8_t ret[PEERSET_V6])
{
	if (addr_is_v4(a)) {
		addr_to_compact4(a, ret);
		return V4;
	}
	addr_to_compact6(a, ret);
	return V6;
}

/* After peers came or went: is it another size of swarm than before? */
static void settle(struct swarm *w, uint32_t now)
{
	uint32_t n = swarm_size(w);
	if (n < 2 * w->settled_n && n > w->settled_n / 2)
		return;
	if (n != w->settled_n) {
		w->settled_n = n;
		w->settled_at = now;
	}
}

static uint32_t peer_add(struct table *t, struct swarm *w, enum family family, enum kind kind,
	const uint8_t *addr, const struct peer_meta *meta, uint16_t site)
{
	struct peerset *s = &w->sets[family][kind];
	empty_del(t, w);
	t->memory -= peerset_memory(s);
	uint32_t at = peerset_add(s, &t->key, addr, meta, site, choose_random(&t->random) >> 16);
	t->memory += peerset_memory(s);
	t->n_peers[family][kind]++;
	return at;
}

static void peer_remove(struct table *t, struct swarm *w, enum family family, enum kind kind,
	uint32_t at, uint32_t now)
{
	struct peerset *s = &w->sets[family][kind];
	t->memory -= peerset_memory(s);
	peerset_remove(s, &t->key, at);
	t->memory += peerset_memory(s);
	t->n_peers[family][kind]--;
	if (!swarm_size(w))
		empty_add(t, w, now);
}

void table_peer_at(const struct peerset *s, uint32_t at, bool seed, struct table_peer *ret)
{
	if (s->addr_len == PEERSET_V4)
		addr_from_compact4(peerset_addr(s, at), &ret->addr);
	else
		addr_from_compact6(peerset_addr(s, at), &ret->addr);
	ret->meta = s->meta[at];
	ret->site = peerset_sites(s)[at];
	ret->seed = seed;
}

static void tell(struct table *t, enum table_change change, const struct swarm *w,
	enum family family, enum kind kind, uint32_t at)
{
	if (!t->on_change)
		return;
	struct table_peer peer;
	table_peer_at(&w->sets[family][kind], at, kind == SEEDS, &peer);
	t->on_change(t->on_change_arg, change, w->hash, &peer);
}

void table_on_change(struct table *t,
	void (*fn)(void *arg, enum table_change change, const uint8_t hash[HASH_LEN],
		const struct table_peer *peer),
	void *arg)
{
	t->on_change = fn;
	t->on_change_arg = arg;
}

/* Forgets those of the swarm whose time has passed; where very many have, some of them now and the
 * others in the next seconds. */
static void swarm_expire(struct table *t, struct swarm *w, uint32_t now)
{
	if (now < w->expires_min)
		return;
	if (t->expire_second != now) {
		t->expire_second = now;
		t->expire_left = TABLE_EXPIRE_PER_S;
	}
	if (!t->expire_left)
		return;
	uint32_t min = UINT32_MAX;
	bool gone = false;
	for (int f = V4; f <= V6; f++) {
		for (int k = LEECHERS; k <= SEEDS; k++) {
			struct peerset *s = &w->sets[f][k];
			for (uint32_t i = s->n; i-- > 0 && t->expire_left;) {
				if (s->meta[i].expires > now) {
					min = MIN(min, s->meta[i].expires);
					continue;
				}
				tell(t, CHANGE_EXPIRED, w, f, k, i);
				peer_remove(t, w, f, k, i, now);
				gone = true;
				t->expire_left--;
			}
		}
	}
	if (t->expire_left)
		w->expires_min = min;
	if (gone) {
		settle(w, now);
		mark_dirty(t, w);
	}
}

void table_sweep(struct table *t, uint32_t now, uint32_t budget)
{
	for (; budget; budget--) {
		t->sweep_at &= t->slots_mask;
		struct swarm *w = t->slots[t->sweep_at].swarm;
		if (w)
			swarm_expire(t, w, now);
		/* A swarm that goes may pull the next one into its slot: look there again. */
		if (w && may_forget(w, now))
			forget_swarm(t, w);
		else
			t->sweep_at++;
	}
}

static bool full(const struct table *t, const struct swarm *w)
{
	uint64_t all = t->n_peers[V4][LEECHERS] + t->n_peers[V4][SEEDS] +
		t->n_peers[V6][LEECHERS] + t->n_peers[V6][SEEDS];
	return all >= t->config.max_peers || swarm_size(w) >= t->config.max_swarm;
}

/* -- announces --------------------------------------------------------------------------------- */

struct place {
	enum family family;
	enum kind kind;
	uint32_t at; /* PEERSET_NONE: not listed */
};

static struct place find_peer(const struct table *t, const struct swarm *w, enum family family,
	const uint8_t *addr, enum kind likely)
{
	struct place p = {family, likely, peerset_find(&w->sets[family][likely], &t->key, addr)};
	if (p.at == PEERSET_NONE) {
		p.kind = likely == SEEDS ? LEECHERS : SEEDS;
		p.at = peerset_find(&w->sets[family][p.kind], &t->key, addr);
	}
	return p;
}

static void fill_peers(struct table *t, const struct announce *a, const struct swarm *w,
	struct place self, struct answer *answer)
{
	enum family own = self.family, other = own == V4 ? V6 : V4;
	bool both = a->other_family && answer->addrs[other] && swarm_size(w) &&
		w->sets[other][LEECHERS].n + w->sets[other][SEEDS].n;
	struct chooser c = {.site = a->site, .seed = a->seed};
	if (self.at != PEERSET_NONE) {
		c.self_set = &w->sets[own][self.kind];
		c.self_at = self.at;
	}
	/* The same client may be listed with each family; then the id tells. */
	uint32_t want = a->numwant;
	if (both) {
		c.self_id = a->peer_id;
		answer->n[other] = choose_peers(&c, &w->sets[other][LEECHERS],
			&w->sets[other][SEEDS], want / 4, &t->random, answer->addrs[other],
			answer->ids[other]);
		want -= answer->n[other];
		c.self_id = NULL;
	}
	answer->n[own] = choose_peers(&c, &w->sets[own][LEECHERS], &w->sets[own][SEEDS], want,
		&t->random, answer->addrs[own], answer->ids[own]);
	want -= answer->n[own];
	if (both && want) {
		c.self_id = a->peer_id;
		answer->n[other] = choose_peers(&c, &w->sets[other][LEECHERS],
			&w->sets[other][SEEDS], want + answer->n[other], &t->random,
			answer->addrs[other], answer->ids[other]);
	}
}

static void fill_counts(struct table *t, const struct announce *a, const struct swarm *w,
	struct answer *answer, uint32_t now)
{
	answer->complete = swarm_count(w, SEEDS);
	answer->incomplete = swarm_count(w, LEECHERS);
	answer->downloaded = w->downloaded;
	struct pace_facts facts = {
		.settled_for = now - w->settled_at,
		.others = answer->n[V4] + answer->n[V6],
		.wanted = a->numwant,
		.seed = a->seed,
		.no_seed = answer->complete == 0,
	};
	for (int f = V4; f <= V6; f++)
		facts.all_peers += t->n_peers[f][LEECHERS] + t->n_peers[f][SEEDS];
	answer->interval = pace_interval(&t->config.pace, &facts, choose_random(&t->random) >> 32);
	answer->min_interval = MAX(answer->interval / 2, t->config.pace.min);
	answer->min_interval = MIN(answer->min_interval, answer->interval);
}

static void leave(struct table *t, const struct announce *a, uint32_t now, struct answer *answer)
{
	struct swarm *w = find(t, a->hash);
	answer->interval = answer->min_interval = t->config.pace.max;
	if (!w)
		return;
	swarm_expire(t, w, now);
	uint8_t addr[PEERSET_V6];
	enum family family = compact(&a->from, addr);
	struct place p = find_peer(t, w, family, addr, a->seed ? SEEDS : LEECHERS);
	if (p.at != PEERSET_NONE &&
		!memcmp(w->sets[family][p.kind].meta[p.at].id, a->peer_id, PEER_ID_LEN)) {
		tell(t, CHANGE_STOPPED, w, family, p.kind, p.at);
		peer_remove(t, w, family, p.kind, p.at, now);
		settle(w, now);
		mark_dirty(t, w);
	}
	answer->complete = swarm_count(w, SEEDS);
	answer->incomplete = swarm_count(w, LEECHERS);
	answer->downloaded = w->downloaded;
	if (may_forget(w, now))
		forget_swarm(t, w);
}

/* p2pfs itself comes when it is told to; others have to show that they do. */
static bool keeps_interval(const struct announce *a, const struct peer_meta *before, uint32_t now)
{
	if (!memcmp(a->peer_id, "-PF", 3))
		return true;
	if (!before || memcmp(before->id, a->peer_id, PEER_ID_LEN) != 0)
		return false;
	uint32_t seen = before->expires - before->life;
	/* Coming early proves nothing, e.g. `completed`. */
	return now - seen >= before->told / 2 && pace_kept(before->told, now - seen);
}

int table_announce(struct table *t, const struct announce *a, uint32_t now, struct answer *answer)
{
	answer->n[V4] = answer->n[V6] = 0;
	answer->complete = answer->incomplete = answer->downloaded = 0;
	answer->unlisted = false;
	if (a->event == EVENT_STOPPED) {
		leave(t, a, now, answer);
		return 0;
	}
	struct swarm *w = find_or_add(t, a->hash, now);
	if (!w)
		return -ENOSPC;
	swarm_expire(t, w, now);

	uint8_t addr[PEERSET_V6];
	enum family family = compact(&a->from, addr);
	enum kind kind = a->seed ? SEEDS : LEECHERS;
	struct place p = find_peer(t, w, family, addr, kind);
	struct peer_meta before = {0};
	bool known = p.at != PEERSET_NONE, was_seed = known && p.kind == SEEDS;
	bool completed = a->event == EVENT_COMPLETED && a->seed && !was_seed;
	if (known)
		before = w->sets[family][p.kind].meta[p.at];
	if (completed && w->downloaded < UINT32_MAX) {
		w->downloaded++;
		count_changed(t, w);
	}
	bool keeps = keeps_interval(a, known ? &before : NULL, now);
	if (known && p.kind != kind) {
		peer_remove(t, w, family, p.kind, p.at, now);
		p.at = PEERSET_NONE;
	}
	p.kind = kind;
	if (p.at == PEERSET_NONE && (known || !full(t, w))) {
		struct peer_meta meta = {0};
		p.at = peer_add(t, w, family, kind, addr, &meta, a->site);
	}
	if (!known || p.at == PEERSET_NONE || was_seed != a->seed)
		settle(w, now);
	fill_peers(t, a, w, p, answer);
	fill_counts(t, a, w, answer, now);
	if (p.at == PEERSET_NONE) {
		answer->unlisted = true;
		return 0;
	}
	struct peer_meta *meta = &w->sets[family][kind].meta[p.at];
	uint32_t life = pace_life(&t->config.pace, answer->interval, keeps);
	memcpy(meta->id, a->peer_id, PEER_ID_LEN);
	meta->told = (uint16_t)answer->interval;
	meta->life = (uint16_t)life;
	meta->expires = now + meta->life;
	peerset_sites(&w->sets[family][kind])[p.at] = a->site;
	w->expires_min = swarm_size(w) == 1 ? meta->expires : MIN(w->expires_min, meta->expires);
	if (!known || was_seed != a->seed)
		mark_dirty(t, w);
	tell(t, completed ? CHANGE_COMPLETED : CHANGE_PEER, w, family, kind, p.at);
	return 0;
}

void table_scrape(struct table *t, const uint8_t hash[HASH_LEN], uint32_t now,
	struct table_scrape *ret)
{
	*ret = (struct table_scrape) {0};
	struct swarm *w = find(t, hash);
	if (!w)
		return;
	swarm_expire(t, w, now);
	*ret = (struct table_scrape) {swarm_count(w, SEEDS), swarm_count(w, LEECHERS),
		w->downloaded};
}

void table_counts(const struct table *t, struct table_counts *ret)
{
	*ret = (struct table_counts) {
		.torrents = t->n_swarms - t->n_empty,
		.swarms = t->n_swarms,
		.memory = t->memory + ((uint64_t)t->slots_mask + 1) * sizeof(struct slot),
	};
	memcpy(ret->peers, t->n_peers, sizeof(ret->peers));
}

/* -- what others know ---------------------------------------------------------------------------- */

int table_merge(struct table *t, const uint8_t hash[HASH_LEN], const struct table_peer *peer,
	uint32_t now)
{
	struct swarm *w = find_or_add(t, hash, now);
	if (!w)
		return -ENOSPC;
	uint8_t addr[PEERSET_V6];
	enum family family = compact(&peer->addr, addr);
	enum kind kind = peer->seed ? SEEDS : LEECHERS;
	struct place p = find_peer(t, w, family, addr, kind);
	struct peer_meta meta = peer->meta;
	meta.expires = now + meta.life;
	bool known = p.at != PEERSET_NONE, moved = known && p.kind != kind;
	if (known && w->sets[family][p.kind].meta[p.at].expires > meta.expires)
		return 0;
	if (moved)
		peer_remove(t, w, family, p.kind, p.at, now);
	if (!known && full(t, w))
		return -ENOSPC;
	if (!known || moved) {
		p.at = peer_add(t, w, family, kind, addr, &meta, peer->site);
		settle(w, now);
		mark_dirty(t, w);
	}
	w->sets[family][kind].meta[p.at] = meta;
	w->expires_min = swarm_size(w) == 1 ? meta.expires : MIN(w->expires_min, meta.expires);
	return 0;
}

void table_forget(struct table *t, const uint8_t hash[HASH_LEN], const struct addr *addr,
	uint32_t now)
{
	struct swarm *w = find(t, hash);
	if (!w)
		return;
	uint8_t compact_addr[PEERSET_V6];
	enum family family = compact(addr, compact_addr);
	struct place p = find_peer(t, w, family, compact_addr, SEEDS);
	if (p.at == PEERSET_NONE)
		return;
	peer_remove(t, w, family, p.kind, p.at, now);
	settle(w, now);
	mark_dirty(t, w);
}

void table_merge_downloaded(struct table *t, const uint8_t hash[HASH_LEN], uint32_t downloaded,
	uint32_t now)
{
	struct swarm *w = find_or_add(t, hash, now);
	if (!w || w->downloaded >= downloaded)
		return;
	w->downloaded = downloaded;
	count_changed(t, w);
}

const struct swarm *table_walk(const struct table *t, uint64_t *cursor)
{
	while (*cursor <= t->slots_mask) {
		const struct swarm *w = t->slots[(*cursor)++].swarm;
		if (w)
			return w;
	}
	return NULL;
}

void table_check(const struct table *t)
{
	uint64_t peers[2][2] = {{0}}, cursor = 0;
	uint32_t swarms = 0, empty = 0;
	const struct swarm *w;
	while ((w = table_walk(t, &cursor))) {
		swarms++;
		empty += w->empty_since != 0;
		assert(!t->config.track_dirty || !has_changed(w) || w->dirty);
		assert((w->empty_since != 0) == (swarm_size(w) == 0));
		assert(find(t, w->hash) == w);
		for (int f = V4; f <= V6; f++) {
			for (int k = LEECHERS; k <= SEEDS; k++) {
				const struct peerset *s = &w->sets[f][k];
				peerset_check(s, &t->key);
				peers[f][k] += s->n;
				for (uint32_t i = 0; i < s->n; i++)
					assert(s->meta[i].expires >= w->expires_min);
			}
		}
	}
	TAILQ_FOREACH(w, &t->dirty, in_dirty)
		assert(w->dirty);
	assert(swarms == t->n_swarms && empty == t->n_empty);
	assert(!memcmp(peers, t->n_peers, sizeof(peers)));
}
