/* SPDX-License-Identifier: MIT */
/* The hash trees of BEP 52: binary, SHA-256, leaves of 16 KiB, padded with zero hashes.
 *
 * A layer is counted from the leaves: layer 0 holds the leaf hashes, layer h the roots of 2^h
 * leaves.  The padding of layer 0 is 32 zero bytes, of layer h the root of 2^h such.
 *
 * Thread: any (pure).
 */
#ifndef BASE_MERKLE_H
#define BASE_MERKLE_H

#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MERKLE_BLOCK 16384 /* BEP 52: the size of a leaf's data */
#define MERKLE_LAYERS 64

/* The padding hash of a layer (< MERKLE_LAYERS). */
const uint8_t *merkle_pad(unsigned layer);
/* The root of 2^h leaves of MERKLE_BLOCK zero bytes: what known zeros hash to. */
const uint8_t *merkle_zero_data(unsigned layer);
void merkle_parent(
	const uint8_t left[SHA256_LEN], const uint8_t right[SHA256_LEN], uint8_t ret[SHA256_LEN]);
/* The smallest h with 2^h >= n; 0 for n = 0 and 1. */
unsigned merkle_height(uint64_t n);
/* The root of `n` hashes (32 n bytes) of layer `layer`, padded up to 2^height of them.
 * n <= 2^height; n = 0 gives the padding. */
void merkle_root(
	const uint8_t *hashes, size_t n, unsigned layer, unsigned height, uint8_t ret[SHA256_LEN]);
/* Climbs from `node`, number `index` of its layer, by the uncles (32 n bytes, nearest first);
 * true when that ends at `root`. */
bool merkle_proves(const uint8_t node[SHA256_LEN], uint64_t index, const uint8_t *uncles, size_t n,
	const uint8_t root[SHA256_LEN]);
/* The number of blocks of `length` bytes. */
static inline uint64_t merkle_blocks(uint64_t length)
{
	return length / MERKLE_BLOCK + (length % MERKLE_BLOCK != 0);
}

#endif
