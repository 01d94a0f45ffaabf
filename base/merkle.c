// SPDX-License-Identifier: MIT
/* BEP 52's hash trees: see merkle.h.
 *
 * A root is made in one pass over the hashes with one waiting left sibling per layer, as a binary
 * counter carries: n - 1 parents, no scratch memory.  The padding of all layers is made once: each
 * is the parent of two of the layer below.
 *
 * Thread: any (pure).
 */
#include "base/merkle.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

static uint8_t pads[MERKLE_LAYERS][SHA256_LEN];
static uint8_t zeros[MERKLE_LAYERS][SHA256_LEN];
static pthread_once_t merkle_once = PTHREAD_ONCE_INIT;

static void merkle_start(void)
{
	static const uint8_t zero_block[MERKLE_BLOCK];

	sha256(zero_block, sizeof(zero_block), zeros[0]);
	for (unsigned h = 1; h < MERKLE_LAYERS; h++) {
		merkle_parent(pads[h - 1], pads[h - 1], pads[h]);
		merkle_parent(zeros[h - 1], zeros[h - 1], zeros[h]);
	}
}

const uint8_t *merkle_pad(unsigned layer)
{
	assert(layer < MERKLE_LAYERS);
	pthread_once(&merkle_once, merkle_start);
	return pads[layer];
}

const uint8_t *merkle_zero_data(unsigned layer)
{
	assert(layer < MERKLE_LAYERS);
	pthread_once(&merkle_once, merkle_start);
	return zeros[layer];
}

void merkle_parent(
	const uint8_t left[SHA256_LEN], const uint8_t right[SHA256_LEN], uint8_t ret[SHA256_LEN])
{
	uint8_t pair[2 * SHA256_LEN];

	memcpy(pair, left, SHA256_LEN);
	memcpy(pair + SHA256_LEN, right, SHA256_LEN);
	sha256(pair, sizeof(pair), ret);
}

unsigned merkle_height(uint64_t n)
{
	return n <= 1 ? 0 : 64 - (unsigned)__builtin_clzll(n - 1);
}

void merkle_root(
	const uint8_t *hashes, size_t n, unsigned layer, unsigned height, uint8_t ret[SHA256_LEN])
{
	uint8_t waiting[MERKLE_LAYERS][SHA256_LEN]; /* the left siblings */
	uint8_t node[SHA256_LEN];

	assert(layer + height < MERKLE_LAYERS && n <= UINT64_C(1) << height);
	if (n == 0) {
		memcpy(ret, merkle_pad(layer + height), SHA256_LEN);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		unsigned h = 0;
		memcpy(node, hashes + i * SHA256_LEN, SHA256_LEN);
		for (; i >> h & 1; h++)
			merkle_parent(waiting[h], node, node);
		memcpy(waiting[h], node, SHA256_LEN);
	}
	/* What waits in the lowest layer climbs to the top, past padding on its right and the other
	 * waiting ones on its left. */
	unsigned h = (unsigned)__builtin_ctzll(n);
	memcpy(node, waiting[h], SHA256_LEN);
	if (h < height)
		merkle_parent(node, merkle_pad(layer + h++), node);
	for (; h < height; h++) {
		if (n >> h & 1)
			merkle_parent(waiting[h], node, node);
		else
			merkle_parent(node, merkle_pad(layer + h), node);
	}
	memcpy(ret, node, SHA256_LEN);
}

bool merkle_proves(const uint8_t node[SHA256_LEN], uint64_t index, const uint8_t *uncles, size_t n,
	const uint8_t root[SHA256_LEN])
{
	uint8_t at[SHA256_LEN];

	/* A number outside the tree that these uncles span must not prove anything. */
	if (n >= MERKLE_LAYERS || index >> n)
		return false;
	memcpy(at, node, SHA256_LEN);
	for (size_t i = 0; i < n; i++, index >>= 1) {
		const uint8_t *uncle = uncles + i * SHA256_LEN;
		if (index & 1)
			merkle_parent(uncle, at, at);
		else
			merkle_parent(at, uncle, at);
	}
	return memcmp(at, root, SHA256_LEN) == 0;
}
