/* SPDX-License-Identifier: MIT */
/* How soon a peer should announce again, and when it counts as gone.
 *
 * Short start, calm later: the interval is a quarter of the time since the swarm's size last
 * doubled or halved, so it grows from seconds to `max` as the swarm settles.  A leecher short of
 * peers or with no seed is asked sooner, one with a full list and a seed need not hurry; and
 * however young all swarms are, the tracker as a whole is not asked more than PACE_ANNOUNCES_PER_S.
 *
 * A peer is forgotten after two intervals.  But some clients keep a floor of their own (libtorrent:
 * five minutes, whatever a tracker says), and would be forgotten while they are there: so two
 * intervals of a peer are two of PACE_STRANGER_S until it has been seen to come back in time.
 * p2pfs keeps to what it is told, and is known by its peer id.
 *
 * Pure: the clock (seconds) and randomness are arguments.  Thread: any.
 */
#ifndef TRACKER_PACE_H
#define TRACKER_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_MIN_S 5u       /* as often as a client of ours takes (TRACKER_MIN_INTERVAL_S) */
#define PACE_MAX_S 1800u    /* BEP 3's usual half hour */
#define PACE_FEW_PEERS 10u  /* fewer, where so many are wanted, is short of peers */
#define PACE_FEW_MAX_S 60u  /* ... and then this is the longest */
#define PACE_ENOUGH_MIN_S 30u /* given so much that there is no hurry */
#define PACE_SEED_MIN_S 15u /* a seed is found by those who come after it */
#define PACE_ANNOUNCES_PER_S 2000u /* of all peers together: some percent of one core */
#define PACE_STRANGER_S 330u /* libtorrent's five minutes, and a round of its jitter */
#define PACE_LIFE_SLACK_S 5u /* a late packet is no death */

#define PACE_LIMIT_S 14400u /* an operator's longest interval; two of them fit 16 bits */

struct pace {
	uint32_t min, max; /* seconds, at most PACE_LIMIT_S; what the operator allows */
};

struct pace_facts {
	uint32_t settled_for; /* seconds since the swarm doubled or halved */
	uint32_t others;      /* peers in this reply */
	uint32_t wanted;      /* peers asked for */
	uint64_t all_peers;   /* of the whole tracker */
	bool seed;            /* the asker has everything */
	bool no_seed;         /* nobody else has */
};

/* Seconds; a tenth of jitter upwards, so that a fleet started at once spreads out. */
uint32_t pace_interval(const struct pace *pace, const struct pace_facts *facts, uint64_t random);
/* Seconds until it is forgotten; `told` as given by pace_interval.  `keeps` when it keeps to it. */
uint32_t pace_life(const struct pace *pace, uint32_t told, bool keeps);
/* Did a peer that was told `told` and comes after `after` seconds keep to it? */
bool pace_kept(uint32_t told, uint32_t after);

#endif
