/* SPDX-License-Identifier: MIT */
/* Limits per address: see throttle.h.
 *
 * Thread: loop.
 */
#include "tracker/throttle.h"

#include "base/hash.h"
#include "base/mem.h"
#include "tracker/siphash.h"

#include <stdlib.h>

#define WAYS 4u

struct bucket {
	uint8_t net[16];
	uint32_t seen; /* 0: unused */
	uint32_t tokens;
};

struct throttle {
	struct sipkey key;
	uint32_t per_second;
	struct bucket buckets[THROTTLE_SLOTS];
};

struct throttle *throttle_new(uint32_t per_second)
{
	struct throttle *l = xcalloc(1, sizeof(*l));
	random_bytes(&l->key, sizeof(l->key));
	l->per_second = per_second;
	return l;
}

void throttle_free(struct throttle *l)
{
	free(l);
}

static struct bucket *find(struct throttle *l, const struct addr *from)
{
	uint8_t net[16] = {0};
	memcpy(net, from->ip, addr_is_v4(from) ? 16 : 8);
	uint32_t set = siphash13(&l->key, net, sizeof(net)) % (THROTTLE_SLOTS / WAYS) * WAYS;
	struct bucket *oldest = &l->buckets[set];
	for (unsigned i = 0; i < WAYS; i++) {
		struct bucket *b = &l->buckets[set + i];
		if (b->seen && !memcmp(b->net, net, sizeof(net)))
			return b;
		if (b->seen < oldest->seen)
			oldest = b;
	}
	*oldest = (struct bucket) {0};
	memcpy(oldest->net, net, sizeof(net));
	return oldest;
}

bool throttle_take(struct throttle *l, const struct addr *from, uint32_t now)
{
	struct bucket *b = find(l, from);
	uint64_t burst = (uint64_t)l->per_second * THROTTLE_BURST_S;
	uint64_t tokens = b->seen ? b->tokens + (uint64_t)(now - b->seen) * l->per_second : burst;
	b->seen = now;
	b->tokens = (uint32_t)MIN(tokens, burst);
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}
