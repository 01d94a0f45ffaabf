/* SPDX-License-Identifier: MIT */
/* A set of peers of one torrent, one family of addresses and one kind (seeds or leechers).
 *
 * Made for replies: the compact addresses (BEP 23, BEP 7) lie one after the other, in random order,
 * so that a random choice of peers is one copy from a random place.  The order is random because a
 * new peer takes a random place and the one that stood there goes to the end; a hole is filled by
 * the last.  A hash index of positions (only above PEERSET_SCAN peers; 2 bytes a slot, 4 in the
 * largest sets) finds a peer by address and port.  All is O(1), but for the growing.
 *
 * Memory: 36 bytes a peer (IPv6: 48), 3 to 5 of index (the largest: 5 to 11), and an eighth to a
 * quarter of room to grow.
 *
 * For the state on disk a set is cut into rows of PEERSET_ROW positions, and knows which of them
 * changed: one who comes changes two (its place, and the end), one who goes the same.
 *
 * Thread: loop.
 */
#ifndef TRACKER_PEERSET_H
#define TRACKER_PEERSET_H

#include "tracker/siphash.h"

#include <stdbool.h>
#include <stdint.h>

#define PEER_ID_LEN 20
#define PEERSET_V4 6u  /* bytes of a compact address */
#define PEERSET_V6 18u
#define PEERSET_SCAN 16u /* up to here comparing beats an index */
#define PEERSET_NONE UINT32_MAX
#define PEERSET_ROW 256u /* 8 KiB on disk: what one who comes or goes costs, twice */

/* What a reply does not need; the address stands apart. */
struct peer_meta {
	uint32_t expires; /* second at which it is forgotten */
	uint16_t life;    /* expires was set this many seconds ahead */
	uint16_t told;    /* the interval that it was told, seconds */
	uint8_t id[PEER_ID_LEN];
};

struct peerset {
	/* Owned, one block: meta[cap], site[cap], addr[cap * addr_len], changed[rows of cap]. */
	struct peer_meta *meta;
	void *index;            /* owned; uint16_t or uint32_t: position + 1, 0 is free; NULL while small */
	uint32_t n, cap;
	uint32_t index_mask;
	uint32_t rows_taken; /* rows from here on were never taken, or are deleted again */
	uint8_t addr_len;
};

static inline uint16_t *peerset_sites(const struct peerset *s)
{
	return (uint16_t *)(s->meta + s->cap);
}

static inline uint8_t *peerset_addr(const struct peerset *s, uint32_t at)
{
	return (uint8_t *)(peerset_sites(s) + s->cap) + (size_t)at * s->addr_len;
}

static inline uint32_t peerset_rows(const struct peerset *s)
{
	return s->n / PEERSET_ROW + (s->n % PEERSET_ROW != 0);
}

void peerset_init(struct peerset *s, uint8_t addr_len);
void peerset_done(struct peerset *s);
/* Its position, or PEERSET_NONE. */
uint32_t peerset_find(const struct peerset *s, const struct sipkey *key, const uint8_t *addr);
/* Adds what is not there yet, at a place that `random` decides; gives the place. */
uint32_t peerset_add(struct peerset *s, const struct sipkey *key, const uint8_t *addr,
	const struct peer_meta *meta, uint16_t site, uint64_t random);
/* The last peer takes its place. */
void peerset_remove(struct peerset *s, const struct sipkey *key, uint32_t at);
/* The next row, not before `from`, that changed since it was last taken, and takes it; or
 * PEERSET_NONE.  One from peerset_rows on is to be deleted. */
uint32_t peerset_take_row(struct peerset *s, uint32_t from);
/* Is there one, anywhere? */
bool peerset_has_changed(const struct peerset *s);
/* What it takes, in bytes. */
size_t peerset_memory(const struct peerset *s);
/* Asserts that index and arrays agree; for tests. */
void peerset_check(const struct peerset *s, const struct sipkey *key);

#endif
