/* SPDX-License-Identifier: MIT */
/* Who is in which swarm: the tracker's memory.
 *
 * Swarms are found by info-hash (20 bytes: v1, or v2 truncated); each has four sets of peers, by
 * family and kind (peerset.h).  A peer is its address and port, as its packet or connection came:
 * so nobody speaks for another, and the peer id has only to agree for a `stopped`.
 *
 * Limits: torrents and peers in all, peers of a torrent.  At the limit of torrents the swarm that
 * has been empty for the longest makes room, and if none is, new ones are refused; at those of
 * peers a newcomer is answered, but not listed.  A swarm is kept while it has peers, and for
 * TABLE_KEEP_S after if it has a count of downloads.
 *
 * Pure: the clock (seconds, never 0) is an argument.  Thread: loop.
 */
#ifndef TRACKER_TABLE_H
#define TRACKER_TABLE_H

#include "base/addr.h"
#include "tracker/pace.h"
#include "tracker/peerset.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#define HASH_LEN 20
#define TABLE_NUMWANT_MAX 200u /* 200 IPv4 peers fit a UDP packet of 1,220 bytes */
#define TABLE_EXPIRE_PER_S 20000u /* forgotten in a second: some milliseconds */
#define TABLE_KEEP_S (7u * 86400) /* a week: the count of a torrent that nobody has is still news */

enum family { V4, V6 };
enum kind { LEECHERS, SEEDS };

struct swarm {
	uint8_t hash[HASH_LEN];
	uint32_t downloaded;  /* how often it was completed */
	uint32_t settled_at;  /* when its size last doubled or halved ... */
	uint32_t settled_n;   /* ... and what it was then */
	uint32_t expires_min; /* nobody expires before */
	uint32_t empty_since;
	bool dirty;           /* in the list of what is to be written */
	bool count_changed;   /* `downloaded` is to be written */
	bool taken;           /* something of it was taken to be written, so may be on disk */
	bool gone;            /* forgotten, and in the list for what is on disk */
	struct peerset sets[2][2]; /* [family][kind] */
	TAILQ_ENTRY(swarm) in_empty, in_dirty;
};

struct table_config {
	uint32_t max_torrents;
	uint64_t max_peers;
	uint32_t max_swarm; /* peers of one torrent */
	struct pace pace;
	bool track_dirty; /* somebody takes what table_take gives */
};

enum table_event { EVENT_NONE, EVENT_COMPLETED, EVENT_STARTED, EVENT_STOPPED }; /* as in BEP 15 */

/* One announce, checked.  */
struct announce {
	uint8_t hash[HASH_LEN];
	uint8_t peer_id[PEER_ID_LEN];
	struct addr from; /* where it takes connections */
	uint16_t site;    /* 0 is none */
	uint32_t numwant;
	enum table_event event;
	bool seed;
	bool other_family; /* may be given peers of the other family too */
};

/* Where the answer's peers go: the callers have the room, for numwant peers each. */
struct answer {
	uint8_t *addrs[2]; /* compact, by family; that of the other family may be NULL */
	uint8_t *ids[2];   /* PEER_ID_LEN each; NULL when not wanted */
	uint32_t n[2];
	uint32_t interval, min_interval;
	uint32_t complete, incomplete, downloaded;
	bool unlisted; /* a limit kept the asker out of the list */
};

struct table_counts {
	uint64_t peers[2][2]; /* [family][kind] */
	uint32_t torrents;    /* with peers */
	uint32_t swarms;      /* with those that are empty */
	uint64_t memory;      /* bytes, of peers and swarms; not what malloc adds */
};

struct table;

struct table *table_new(const struct table_config *config, uint32_t now);
void table_free(struct table *t);

/* -ENOSPC: the table is full of torrents. */
int table_announce(struct table *t, const struct announce *a, uint32_t now, struct answer *answer);
struct table_scrape {
	uint32_t complete, incomplete, downloaded;
};
/* All zero for a torrent that is not known. */
void table_scrape(struct table *t, const uint8_t hash[HASH_LEN], uint32_t now,
	struct table_scrape *ret);
void table_counts(const struct table *t, struct table_counts *ret);
/* Forgets who is gone, in as many swarms as `budget` allows (slots of the table, not peers). */
void table_sweep(struct table *t, uint32_t now, uint32_t budget);

/* One peer as others know it: from the state on disk, from another tracker. */
struct table_peer {
	struct addr addr;
	struct peer_meta meta; /* expires is ignored: life says it */
	uint16_t site;
	bool seed;
};
/* Adds or refreshes it; only if `fresher`, never to an earlier end.  -ENOSPC at a limit. */
int table_merge(struct table *t, const uint8_t hash[HASH_LEN], const struct table_peer *peer,
	uint32_t now);
void table_forget(struct table *t, const uint8_t hash[HASH_LEN], const struct addr *addr,
	uint32_t now);
/* The larger of the two counts counts. */
void table_merge_downloaded(struct table *t, const uint8_t hash[HASH_LEN], uint32_t downloaded,
	uint32_t now);

/* Told of every change by an announce or by time, not of merges. */
enum table_change { CHANGE_PEER, CHANGE_COMPLETED, CHANGE_STOPPED, CHANGE_EXPIRED };
void table_on_change(struct table *t,
	void (*fn)(void *arg, enum table_change change, const uint8_t hash[HASH_LEN],
		const struct table_peer *peer),
	void *arg);

/* Goes through all swarms: begin with 0, ends with NULL.  The table must not change meanwhile, but
 * between two calls it may: then some may come twice or not at all. */
const struct swarm *table_walk(const struct table *t, uint64_t *cursor);
const struct swarm *table_find(const struct table *t, const uint8_t hash[HASH_LEN]);

/* What is to be written, piece by piece: a count, a row of one of a swarm's sets, or that nothing of
 * a torrent is to be kept. */
struct table_piece {
	enum { PIECE_COUNT, PIECE_ROW, PIECE_GONE } what;
	uint8_t hash[HASH_LEN];
	uint32_t downloaded; /* of PIECE_COUNT; the rest of PIECE_ROW */
	const struct peerset *set; /* borrowed, until the table changes */
	enum family family;
	enum kind kind;
	uint32_t row; /* from peerset_rows on: it is no more */
};
/* Begins a round: over all that has changed until now, each piece once.  What changes meanwhile
 * waits for the next one, so that a round ends however busy the table is. */
void table_begin_round(struct table *t);
/* Takes the round's next piece; false at its end.  In an order in which whoever takes them for
 * written loses nobody: where a peer moves to another row, that one comes before its old one. */
bool table_take(struct table *t, struct table_piece *ret);
/* Has anything changed that was not taken? */
bool table_is_dirty(const struct table *t);
/* The peer at a place of a set. */
void table_peer_at(const struct peerset *s, uint32_t at, bool seed, struct table_peer *ret);

static inline uint32_t swarm_count(const struct swarm *w, enum kind kind)
{
	return w->sets[V4][kind].n + w->sets[V6][kind].n;
}

static inline uint32_t swarm_size(const struct swarm *w)
{
	return swarm_count(w, SEEDS) + swarm_count(w, LEECHERS);
}

/* For tests: asserts that all counts and indexes agree. */
void table_check(const struct table *t);

#endif
