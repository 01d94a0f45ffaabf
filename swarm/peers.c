/* SPDX-License-Identifier: MIT */
/* The peers known of one torrent.
 *
 * Two arrays sorted by address, searched by halves: the known (PEERS_MAX_KNOWN) and the banned
 * (PEERS_MAX_BANNED).  Choosing the next is a walk over the known, which is done once a connect.
 *
 * Thread: loop (pure).
 */
#include "swarm/peers.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

struct known {
	struct addr addr;
	enum peers_source source;
	unsigned connected; /* connections that are up or under way: both ends may have begun one */
	unsigned failures; /* in a row */
	bool never; /* not to be connected to again */
	uint64_t last; /* when it became known, was last tried, or left */
	uint64_t due; /* not before */
	uint64_t up_since; /* the last connection's begin */
};

struct banned {
	struct addr addr; /* port 0 */
	uint64_t number; /* bans are counted: the lowest is the oldest */
};

struct peers {
	struct known *known;
	size_t n, cap;
	struct banned *banned;
	size_t n_banned, cap_banned;
	uint64_t bans; /* ever */
};

struct peers *peers_new(void)
{
	return xcalloc(1, sizeof(struct peers));
}

void peers_free(struct peers *p)
{
	if (!p)
		return;
	free(p->known);
	free(p->banned);
	free(p);
}

/* Where `a` stands in an array sorted by a leading struct addr, or would. */
static size_t find(const void *array, size_t n, size_t size, const struct addr *a, bool *ret_there)
{
	size_t low = 0, high = n;
	*ret_there = false;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order =
			addr_compare(a, (const struct addr *)((const char *)array + mid * size));
		if (order == 0) {
			*ret_there = true;
			return mid;
		}
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

static struct known *find_known(const struct peers *p, const struct addr *a)
{
	bool there;
	size_t i = find(p->known, p->n, sizeof(*p->known), a, &there);
	return there ? &p->known[i] : NULL;
}

static void forget(struct peers *p, size_t i)
{
	p->n--;
	memmove(&p->known[i], &p->known[i + 1], (p->n - i) * sizeof(*p->known));
}

/* Of two that may be forgotten, is `a` the one to go first?  Useless ones, then the oldest. */
static bool goes_before(const struct known *a, const struct known *b)
{
	bool a_useless = a->failures > 0 || a->never, b_useless = b->failures > 0 || b->never;
	if (a_useless != b_useless)
		return a_useless;
	return a->last < b->last;
}

static bool make_room(struct peers *p, enum peers_source source)
{
	if (p->n < PEERS_MAX_KNOWN)
		return true;
	const struct known *out = NULL;
	for (size_t i = 0; i < p->n; i++) {
		const struct known *k = &p->known[i];
		if (k->connected || k->source == PEERS_FROM_OPTION)
			continue;
		if (k->failures == 0 && !k->never && source != PEERS_FROM_OPTION)
			continue;
		if (!out || goes_before(k, out))
			out = k;
	}
	if (!out)
		return false;
	forget(p, (size_t)(out - p->known));
	return true;
}

static struct known *add(
	struct peers *p, const struct addr *a, enum peers_source source, uint64_t now)
{
	if (!make_room(p, source))
		return NULL;
	GROW(p->known, p->n, p->cap);
	bool there;
	size_t i = find(p->known, p->n, sizeof(*p->known), a, &there);
	memmove(&p->known[i + 1], &p->known[i], (p->n - i) * sizeof(*p->known));
	p->n++;
	p->known[i] = (struct known) {.addr = *a, .source = source, .last = now, .due = now};
	return &p->known[i];
}

static bool connectable(const struct addr *a)
{
	return a->port != 0 && !addr_is_any(a) && !addr_is_multicast(a) && !addr_is_link_local(a);
}

bool peers_add(struct peers *p, const struct addr *a, enum peers_source source, uint64_t now)
{
	if (!connectable(a) || peers_banned(p, a))
		return false;
	struct known *k = find_known(p, a);
	if (k) {
		if (source == PEERS_FROM_OPTION)
			k->source = source;
		return false;
	}
	return add(p, a, source, now) != NULL;
}

static bool is_better(const struct known *a, const struct known *b)
{
	bool named = a->source == PEERS_FROM_OPTION;
	if (named != (b->source == PEERS_FROM_OPTION))
		return named;
	return a->failures < b->failures || (a->failures == b->failures && a->last < b->last);
}

static struct known *find_next(const struct peers *p, uint64_t now)
{
	struct known *best = NULL;
	for (size_t i = 0; i < p->n; i++) {
		struct known *k = &p->known[i];
		if (!k->connected && !k->never && k->due <= now && (!best || is_better(k, best)))
			best = k;
	}
	return best;
}

bool peers_due(const struct peers *p, uint64_t now)
{
	return find_next(p, now);
}

bool peers_next(struct peers *p, uint64_t now, struct addr *ret)
{
	struct known *best = find_next(p, now);
	if (!best)
		return false;
	best->connected = 1;
	best->last = best->up_since = now;
	*ret = best->addr;
	return true;
}

void peers_on_connected(struct peers *p, const struct addr *a, uint64_t now)
{
	if (!connectable(a) || peers_banned(p, a))
		return;
	struct known *k = find_known(p, a);
	if (!k)
		k = add(p, a, PEERS_FROM_INCOMING, now);
	if (!k)
		return;
	if (k->connected++ == 0)
		k->up_since = now;
	k->last = now;
}

static uint64_t backoff(const struct known *k)
{
	uint64_t most =
		k->source == PEERS_FROM_OPTION ? PEERS_BACKOFF_NAMED_US : PEERS_BACKOFF_MAX_US;
	/* Ten doublings are past every `most`; more would run out of bits. */
	unsigned doublings = MIN(k->failures > 0 ? k->failures - 1 : 0, 10u);
	return MIN(PEERS_BACKOFF_US << doublings, most);
}

void peers_on_closed(struct peers *p, const struct addr *a, bool useful, bool never, uint64_t now)
{
	struct known *k = find_known(p, a);
	if (!k)
		return;
	if (k->connected > 0)
		k->connected--;
	k->never |= never;
	if (useful && now >= k->up_since + PEERS_BRIEF_US)
		k->failures = 0;
	else if (k->failures < UINT32_MAX)
		k->failures++;
	k->last = now;
	k->due = now + backoff(k);
}

void peers_forgive(struct peers *p, uint64_t now)
{
	for (size_t i = 0; i < p->n; i++) {
		p->known[i].never = false;
		p->known[i].failures = 0;
		p->known[i].due = MIN(p->known[i].due, now);
	}
}

static struct addr without_port(const struct addr *a)
{
	struct addr ip = *a;
	ip.port = 0;
	return ip;
}

static void end_oldest_ban(struct peers *p)
{
	size_t oldest = 0;
	for (size_t i = 1; i < p->n_banned; i++)
		if (p->banned[i].number < p->banned[oldest].number)
			oldest = i;
	p->n_banned--;
	memmove(&p->banned[oldest], &p->banned[oldest + 1],
		(p->n_banned - oldest) * sizeof(*p->banned));
}

void peers_ban(struct peers *p, const struct addr *a)
{
	for (size_t i = p->n; i-- > 0;)
		if (addr_same_ip(&p->known[i].addr, a))
			forget(p, i);
	if (peers_banned(p, a))
		return;
	if (p->n_banned >= PEERS_MAX_BANNED)
		end_oldest_ban(p);
	GROW(p->banned, p->n_banned, p->cap_banned);
	struct addr ip = without_port(a);
	bool there;
	size_t i = find(p->banned, p->n_banned, sizeof(*p->banned), &ip, &there);
	memmove(&p->banned[i + 1], &p->banned[i], (p->n_banned - i) * sizeof(*p->banned));
	p->n_banned++;
	p->banned[i] = (struct banned) {.addr = ip, .number = p->bans++};
}

bool peers_banned(const struct peers *p, const struct addr *a)
{
	struct addr ip = without_port(a);
	bool there;
	find(p->banned, p->n_banned, sizeof(*p->banned), &ip, &there);
	return there;
}

void peers_add_all(struct peers *p, const struct peers *from, uint64_t now)
{
	for (size_t i = 0; i < from->n_banned; i++)
		peers_ban(p, &from->banned[i].addr);
	for (size_t i = 0; i < from->n; i++) {
		const struct known *k = &from->known[i];
		if (!peers_add(p, &k->addr, k->source, now))
			continue;
		struct known *same = find_known(p, &k->addr);
		same->failures = k->failures;
		same->last = k->connected ? 0 : now;
	}
}

size_t peers_known(const struct peers *p)
{
	return p->n;
}

size_t peers_count_banned(const struct peers *p)
{
	return p->n_banned;
}
