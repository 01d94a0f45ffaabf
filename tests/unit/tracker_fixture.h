/* SPDX-License-Identifier: MIT */
/* Peers who announce to a table, with a clock of the test's own. */
#ifndef TESTS_UNIT_TRACKER_FIXTURE_H
#define TESTS_UNIT_TRACKER_FIXTURE_H

#include "tests/unit/unit.h"
#include "tracker/table.h"

#include <stdio.h>
#include <string.h>

#define T0 1000000u

static struct table_config config = {
	.max_torrents = 1000, .max_peers = 100000, .max_swarm = 50000, .pace = {5, 1800},
	.track_dirty = false};

static uint8_t out4[TABLE_NUMWANT_MAX * PEERSET_V4], out6[TABLE_NUMWANT_MAX * PEERSET_V6];
static uint8_t ids4[TABLE_NUMWANT_MAX * PEER_ID_LEN], ids6[TABLE_NUMWANT_MAX * PEER_ID_LEN];

static inline struct answer fresh(void)
{
	return (struct answer) {.addrs = {out4, out6}, .ids = {ids4, ids6}};
}

/* Peer `n` of torrent `torrent`: an address and an id of its own. */
static inline struct announce peer(unsigned torrent, unsigned n, bool seed)
{
	struct announce a = {.numwant = 50, .seed = seed, .other_family = true};
	char id[64];
	memcpy(a.hash, &torrent, sizeof(torrent));
	snprintf(id, sizeof(id), "-PF0100-%012u", n);
	memcpy(a.peer_id, id, PEER_ID_LEN);
	a.from = (struct addr) {.ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [13] = (uint8_t)(n >> 16),
				[14] = (uint8_t)(n >> 8), [15] = (uint8_t)n}, .port = 6881};
	return a;
}

static inline struct announce peer6(unsigned torrent, unsigned n, bool seed)
{
	struct announce a = peer(torrent, n, seed);
	memset(a.from.ip, 0, sizeof(a.from.ip));
	a.from.ip[0] = 0x20;
	a.from.ip[14] = (uint8_t)(n >> 8);
	a.from.ip[15] = (uint8_t)n;
	return a;
}

static inline struct answer say(struct table *t, struct announce a, uint32_t now)
{
	struct answer answer = fresh();
	assert_int_equal(table_announce(t, &a, now, &answer), 0);
	return answer;
}

static inline bool given(const struct answer *answer, const struct announce *a)
{
	enum family f = addr_is_v4(&a->from) ? V4 : V6;
	uint8_t want[PEERSET_V6];
	size_t len = f == V4 ? PEERSET_V4 : PEERSET_V6;
	if (f == V4)
		addr_to_compact4(&a->from, want);
	else
		addr_to_compact6(&a->from, want);
	for (uint32_t i = 0; i < answer->n[f]; i++) {
		if (!memcmp(answer->addrs[f] + i * len, want, len))
			return true;
	}
	return false;
}

#endif
