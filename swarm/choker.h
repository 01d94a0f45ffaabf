/* SPDX-License-Identifier: MIT */
/* Whom to upload to.
 *
 * Pure; `now` is monotonic, microseconds.  A template network wants every node fed, not tit for tat:
 * a peer that becomes interested is unchoked at once while slots are free; when there are more
 * interested peers than slots, slots go round every CHOKER_ROUND (those that waited longest in, those
 * that got the most in their turn out; while we leech, peers that give to us keep theirs, but for
 * one slot where givers hold them all).  A turn lasts a round at least.  Slots start at
 * CHOKER_MIN_SLOTS and grow while the uplink is not full and few are free: many peers are served in
 * parallel, and the next one finds a slot.  A choked or uninterested peer holds none.
 *
 * Thread: loop.
 */
#ifndef SWARM_CHOKER_H
#define SWARM_CHOKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHOKER_ROUND_US 10000000ull /* BEP 3's ten seconds */
/* A rack of nodes that boot from one seed, all at once: none may wait a round for its first block. */
#define CHOKER_MIN_SLOTS 32u
#define CHOKER_MAX_SLOTS 100u /* transmission's practice; each may queue CONN_REQUEST_QUEUE blocks */

/* One peer, embedded in its connection. */
struct choker_peer {
	bool interested; /* in us */
	bool unchoked;   /* what we told it; the choker decides, `set` tells it */
	uint64_t since;  /* unchoked: when its turn began; interested: since when it waits */
	uint64_t sent;   /* bytes sent to it in this turn */
	uint64_t received; /* bytes it gave us lately: added up by choker_on_received, halved each round */
	void *peer;      /* borrowed: what `set` is called with */
	size_t index;    /* in the choker's list */
};

struct choker {
	struct choker_peer **peers; /* owned array of borrowed peers */
	size_t n, cap;
	unsigned slots, max_slots; /* max_slots 0: never unchoke (seed=off) */
	uint64_t next_round;
	void (*set)(void *peer, bool unchoked); /* tells a peer; must not call back into the choker */
};

void choker_init(struct choker *c, unsigned max_slots, void (*set)(void *peer, bool unchoked));
void choker_done(struct choker *c);
void choker_add(struct choker *c, struct choker_peer *p, void *peer, uint64_t now);
void choker_remove(struct choker *c, struct choker_peer *p, uint64_t now);
/* The peer's interest changed: unchokes it at once if a slot is free, frees its slot if not. */
void choker_on_interest(struct choker *c, struct choker_peer *p, bool interested, uint64_t now);
void choker_on_sent(struct choker_peer *p, uint64_t bytes);
void choker_on_received(struct choker_peer *p, uint64_t bytes);
/* Once a second or so; uplink_full: the rate limit or sockets hold uploads back. */
void choker_tick(struct choker *c, bool leeching, bool uplink_full, uint64_t now);

#endif
