/* SPDX-License-Identifier: MIT */
/* Whom to upload to.
 *
 * All of it is a walk over at most a few hundred peers, once a second or when one changes; ties go
 * to the lower place in the list, so the same events give the same choices.
 *
 *	         interested           slot free, or its turn comes
 *	  idle ------------> waiting -----------------------------> served
 *	   ^                  |  ^                                   |   |
 *	   +---- not ---------+  +------ its turn is over -----------+   |
 *	   +------------------------- not interested --------------------+
 *
 * Thread: loop (pure).
 */
#include "swarm/choker.h"

#include "base/mem.h"

#include <stdlib.h>

void choker_init(struct choker *c, unsigned max_slots, void (*set)(void *peer, bool unchoked))
{
	*c = (struct choker) {.set = set};
	c->max_slots = MIN(max_slots, CHOKER_MAX_SLOTS);
	c->slots = MIN(c->max_slots, CHOKER_MIN_SLOTS);
}

void choker_done(struct choker *c)
{
	free(c->peers);
	*c = (struct choker) {0};
}

static unsigned count_served(const struct choker *c)
{
	unsigned n = 0;
	for (size_t i = 0; i < c->n; i++)
		n += c->peers[i]->unchoked;
	return n;
}

static unsigned count_waiting(const struct choker *c)
{
	unsigned n = 0;
	for (size_t i = 0; i < c->n; i++)
		n += c->peers[i]->interested && !c->peers[i]->unchoked;
	return n;
}

static void unchoke(struct choker *c, struct choker_peer *p, uint64_t now)
{
	p->unchoked = true;
	p->since = now;
	p->sent = 0;
	c->set(p->peer, true);
}

static void choke(struct choker *c, struct choker_peer *p, uint64_t now)
{
	p->unchoked = false;
	p->since = now;
	c->set(p->peer, false);
}

/* The one that waits longest, or NULL. */
static struct choker_peer *longest_waiting(const struct choker *c)
{
	struct choker_peer *best = NULL;
	for (size_t i = 0; i < c->n; i++) {
		struct choker_peer *p = c->peers[i];
		if (p->interested && !p->unchoked && (!best || p->since < best->since))
			best = p;
	}
	return best;
}

static void fill_free(struct choker *c, uint64_t now)
{
	for (unsigned served = count_served(c); served < c->slots; served++) {
		struct choker_peer *p = longest_waiting(c);
		if (!p)
			return;
		unchoke(c, p, now);
	}
}

void choker_add(struct choker *c, struct choker_peer *p, void *peer, uint64_t now)
{
	*p = (struct choker_peer) {.since = now, .peer = peer, .index = c->n};
	GROW(c->peers, c->n, c->cap);
	c->peers[c->n++] = p;
}

void choker_remove(struct choker *c, struct choker_peer *p, uint64_t now)
{
	bool served = p->unchoked;
	/* The others keep their order: it decides ties. */
	for (size_t i = p->index + 1; i < c->n; i++) {
		c->peers[i - 1] = c->peers[i];
		c->peers[i - 1]->index = i - 1;
	}
	c->n--;
	*p = (struct choker_peer) {0};
	if (served)
		fill_free(c, now);
}

void choker_on_interest(struct choker *c, struct choker_peer *p, bool interested, uint64_t now)
{
	if (p->interested == interested)
		return;
	p->interested = interested;
	if (interested) {
		p->since = now;
		fill_free(c, now);
	} else if (p->unchoked) {
		choke(c, p, now);
		fill_free(c, now);
	}
}

void choker_on_sent(struct choker_peer *p, uint64_t bytes)
{
	p->sent += bytes;
}

void choker_on_received(struct choker_peer *p, uint64_t bytes)
{
	p->received += bytes;
}

/* Should `a` give up its slot sooner than `b`? */
static bool goes_before(const struct choker_peer *a, const struct choker_peer *b, bool leeching)
{
	if (leeching && a->received != b->received)
		return a->received < b->received;
	if (a->sent != b->sent)
		return a->sent > b->sent;
	return a->since < b->since;
}

/* Who gives up its slot next, of those whose turn has lasted a round; NULL: nobody need. */
static struct choker_peer *next_out(
	const struct choker *c, bool leeching, bool givers, uint64_t now)
{
	struct choker_peer *out = NULL;
	for (size_t i = 0; i < c->n; i++) {
		struct choker_peer *p = c->peers[i];
		if (!p->unchoked || now < p->since + CHOKER_ROUND_US)
			continue;
		if (leeching && !givers && p->received > 0)
			continue;
		if (!out || goes_before(p, out, leeching))
			out = p;
	}
	return out;
}

/* Slots go to those that waited when the round began: whoever is put out now waits for the next. */
static void go_round(struct choker *c, bool leeching, uint64_t now)
{
	unsigned n = count_waiting(c);
	for (unsigned done = 0; done < n; done++) {
		struct choker_peer *in = longest_waiting(c);
		/* Nobody waits for ever behind peers that give. */
		struct choker_peer *out = next_out(c, leeching, done == 0, now);
		if (!out)
			break;
		choke(c, out, now);
		unchoke(c, in, now);
	}
	for (size_t i = 0; i < c->n; i++)
		c->peers[i]->received /= 2;
}

void choker_tick(struct choker *c, bool leeching, bool uplink_full, uint64_t now)
{
	unsigned served = count_served(c);
	if (!uplink_full && c->slots - served <= c->slots / 4)
		c->slots = MIN(c->max_slots, c->slots + c->slots / 2 + 1);
	fill_free(c, now);
	if (c->next_round == 0) {
		c->next_round = now + CHOKER_ROUND_US;
	} else if (now >= c->next_round) {
		c->next_round = now + CHOKER_ROUND_US;
		go_round(c, leeching, now);
	}
}
