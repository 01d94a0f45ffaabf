/* SPDX-License-Identifier: MIT */
/* SHA-1 and SHA-256, by openssl.
 *
 * Thread: any; a context by one thread at a time.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define SHA1_LEN 20
#define SHA256_LEN 32

void sha1(const void *data, size_t len, uint8_t ret[SHA1_LEN]);
void sha256(const void *data, size_t len, uint8_t ret[SHA256_LEN]);

/* Hashing by parts. */
struct hasher;
struct hasher *hasher_new_sha1(void);
struct hasher *hasher_new_sha256(void);
void hasher_free(struct hasher *h);
void hasher_reset(struct hasher *h);
void hasher_add(struct hasher *h, const void *data, size_t len);
/* Writes SHA1_LEN or SHA256_LEN bytes; the hasher must be reset before it is used again. */
void hasher_end(struct hasher *h, uint8_t *ret);

/* CRC-32C (Castagnoli) of data, continuing from `crc` (0 to begin): for records on disk. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same without the processor's instruction; for tests. */
uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t len);

/* `len` bytes from the system's random source; aborts when there is none. */
void random_bytes(void *ret, size_t len);

void hex_encode(const uint8_t *data, size_t len, char *ret /* 2 * len + 1 */);
/* -EINVAL unless `hex` is exactly 2 * len hex digits. */
int hex_decode(const char *hex, uint8_t *ret, size_t len);

#endif
