/* SPDX-License-Identifier: MIT */
/* Limits per address: see limiter.h.
 *
 * Thread: loop.
 */
#include "tracker/limiter.h"

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

struct limiter {
	struct sipkey key;
	uint32_t per_second;
	struct bucket buckets[LIMITER_SLOTS];
};

struct limiter *limiter_new(uint32_t per_second)
{
	struct limiter *l = xcalloc(1, sizeof(*l));
	random_bytes(&l->key, sizeof(l->key));
	l->per_second = per_second;
	return l;
}

void limiter_free(struct limiter *l)
{
	free(l);
}

static struct bucket *find(struct limiter *l, const struct addr *from)
{
	uint8_t net[16] = {0};
	memcpy(net, from->ip, addr_is_v4(from) ? 16 : 8);
	uint32_t set = siphash13(&l->key, net, sizeof(net)) % (LIMITER_SLOTS / WAYS) * WAYS;
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

bool limiter_take(struct limiter *l, const struct addr *from, uint32_t now)
{
	struct bucket *b = find(l, from);
	uint64_t burst = (uint64_t)l->per_second * LIMITER_BURST_S;
	uint64_t tokens = b->seen ? b->tokens + (uint64_t)(now - b->seen) * l->per_second : burst;
	b->seen = now;
	b->tokens = (uint32_t)MIN(tokens, burst);
	if (!b->tokens)
		return false;
	b->tokens--;
	return true;
}
