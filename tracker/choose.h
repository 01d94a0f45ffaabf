/* SPDX-License-Identifier: MIT */
/* Which peers of a swarm an asker is given.
 *
 * A leecher gets seeds first and leechers for the rest, but, where there are leechers, a quarter of
 * them: if all asked only the seeds, a fleet would queue there with nothing to do for each other.
 * A seed gets leechers only.  Within each kind those of its own site come first; of the leechers
 * a quarter comes from elsewhere, or sites would become islands.  Within that it is by chance.
 * Never the asker itself, by its place in the set or by its peer id (it may be listed with another
 * family of addresses).
 *
 * Pure.  Thread: loop.
 */
#ifndef TRACKER_CHOOSE_H
#define TRACKER_CHOOSE_H

#include "tracker/peerset.h"

#include <stdbool.h>

#define CHOOSE_SITE_SCAN 8192u /* peers looked at for one's own site: some microseconds */

struct chooser {
	const uint8_t *self_id;            /* of PEER_ID_LEN; NULL: no need to compare */
	const struct peerset *self_set;    /* NULL when not in one of them */
	uint32_t self_at;
	uint16_t site; /* 0: sites do not matter */
	bool seed;
};

/* Writes at most `want` compact addresses, and ids unless NULL; gives their number. */
uint32_t choose_peers(const struct chooser *c, const struct peerset *leechers,
	const struct peerset *seeds, uint32_t want, uint64_t *random_state, uint8_t *ret_addrs,
	uint8_t *ret_ids);

static inline uint64_t choose_random(uint64_t *state)
{
	uint64_t x = *state;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	*state = x;
	return x * 0x2545f4914f6cdd1dull;
}

#endif
