/* SPDX-License-Identifier: MIT */
/* Intervals: see pace.h.
 *
 * Thread: any.
 */
#include "tracker/pace.h"

#include "base/mem.h"

uint32_t pace_interval(const struct pace *pace, const struct pace_facts *facts, uint64_t random)
{
	uint64_t s = facts->settled_for / 4;
	bool enough = facts->others >= MIN(facts->wanted, 3 * PACE_FEW_PEERS) && !facts->no_seed;
	if (facts->seed)
		s = MAX(s, PACE_SEED_MIN_S);
	else if (facts->others < MIN(facts->wanted, PACE_FEW_PEERS) || facts->no_seed)
		s = MIN(s, PACE_FEW_MAX_S);
	else if (enough)
		s = MAX(s, PACE_ENOUGH_MIN_S);
	s = MAX(s, facts->all_peers / PACE_ANNOUNCES_PER_S);
	s = MIN(MAX(s, pace->min), pace->max);
	return (uint32_t)MIN(s + random % (s / 10 + 1), pace->max);
}

uint32_t pace_life(const struct pace *pace, uint32_t told, bool keeps)
{
	uint32_t interval = keeps ? told : MAX(told, PACE_STRANGER_S);
	return 2 * MIN(interval, pace->max) + PACE_LIFE_SLACK_S;
}

bool pace_kept(uint32_t told, uint32_t after)
{
	return after <= told + told / 2 + PACE_LIFE_SLACK_S;
}
