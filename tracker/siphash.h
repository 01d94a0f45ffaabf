/* SPDX-License-Identifier: MIT */
/* SipHash (Aumasson and Bernstein): a keyed hash of short inputs.
 *
 * siphash13 spreads keys that strangers choose (info-hashes, addresses) over hash tables, where
 * without the secret key nobody can aim at one chain.  siphash24 is the same with the rounds of a
 * MAC: UDP connection ids.  openssl has it too, but behind a context that costs more than a whole
 * announce does here.
 *
 * Thread: any (pure).
 */
#ifndef TRACKER_SIPHASH_H
#define TRACKER_SIPHASH_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct sipkey {
	uint64_t k0, k1;
};

static inline uint64_t sip_rotl(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static inline __attribute__((always_inline)) void sip_rounds(uint64_t v[4], unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		v[0] += v[1];
		v[1] = sip_rotl(v[1], 13) ^ v[0];
		v[0] = sip_rotl(v[0], 32);
		v[2] += v[3];
		v[3] = sip_rotl(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = sip_rotl(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = sip_rotl(v[1], 17) ^ v[2];
		v[2] = sip_rotl(v[2], 32);
	}
}

static inline __attribute__((always_inline)) uint64_t siphash(const struct sipkey *key,
	const void *data, size_t len, unsigned c, unsigned d)
{
	uint64_t v[4] = {key->k0 ^ 0x736f6d6570736575ull, key->k1 ^ 0x646f72616e646f6dull,
		key->k0 ^ 0x6c7967656e657261ull, key->k1 ^ 0x7465646279746573ull};
	const uint8_t *p = data;
	size_t left = len;
	uint64_t m;
	for (; left >= 8; left -= 8, p += 8) {
		memcpy(&m, p, 8);
		m = le64toh(m);
		v[3] ^= m;
		sip_rounds(v, c);
		v[0] ^= m;
	}
	m = 0;
	memcpy(&m, p, left);
	m = le64toh(m) | (uint64_t)len << 56;
	v[3] ^= m;
	sip_rounds(v, c);
	v[0] ^= m;
	v[2] ^= 0xff;
	sip_rounds(v, d);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static inline uint64_t siphash13(const struct sipkey *key, const void *data, size_t len)
{
	return siphash(key, data, len, 1, 3);
}

static inline uint64_t siphash24(const struct sipkey *key, const void *data, size_t len)
{
	return siphash(key, data, len, 2, 4);
}

#endif
