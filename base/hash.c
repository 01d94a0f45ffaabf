// SPDX-License-Identifier: MIT
/* Hashes by openssl: see hash.h.
 *
 * The algorithms are fetched once (EVP_sha1() and its like look them up anew at every use), and
 * sha1() and sha256() keep one context per thread, so that hashing a block allocates nothing.
 * openssl fails here only when it is broken or memory is out: that aborts.
 *
 * Thread: any.
 */
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct hasher {
	EVP_MD_CTX *ctx; /* owned */
};

enum { ALGORITHM_SHA1, ALGORITHM_SHA256, ALGORITHMS };

static const char *const algorithm_names[ALGORITHMS] = {"SHA1", "SHA256"};
static EVP_MD *algorithms[ALGORITHMS];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;
static pthread_key_t hash_key; /* its destructor frees a thread's contexts when the thread ends */
static __thread EVP_MD_CTX *thread_ctx[ALGORITHMS];

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	log_error("openssl: %s failed", what);
	abort();
}

static void thread_end(void *unused)
{
	for (int i = 0; i < ALGORITHMS; i++) {
		EVP_MD_CTX_free(thread_ctx[i]);
		thread_ctx[i] = NULL;
	}
}

static void hash_start(void)
{
	for (int i = 0; i < ALGORITHMS; i++) {
		algorithms[i] = EVP_MD_fetch(NULL, algorithm_names[i], NULL);
		must(algorithms[i] != NULL, algorithm_names[i]);
	}
	must(pthread_key_create(&hash_key, thread_end) == 0, "pthread_key_create");
}

static EVP_MD_CTX *ctx_new(int algorithm)
{
	pthread_once(&hash_once, hash_start);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	must(ctx && EVP_DigestInit_ex2(ctx, algorithms[algorithm], NULL) == 1,
		"EVP_DigestInit_ex2");
	return ctx;
}

static void hash_whole(int algorithm, const void *data, size_t len, uint8_t *ret)
{
	EVP_MD_CTX *ctx = thread_ctx[algorithm];

	if (!ctx) {
		ctx = thread_ctx[algorithm] = ctx_new(algorithm);
		must(pthread_setspecific(hash_key, ctx) == 0, "pthread_setspecific");
	}
	/* With no algorithm named, the context's own is begun again. */
	must(EVP_DigestInit_ex2(ctx, NULL, NULL) == 1, "EVP_DigestInit_ex2");
	must(EVP_DigestUpdate(ctx, data, len) == 1, "EVP_DigestUpdate");
	must(EVP_DigestFinal_ex(ctx, ret, NULL) == 1, "EVP_DigestFinal_ex");
}

void sha1(const void *data, size_t len, uint8_t ret[SHA1_LEN])
{
	hash_whole(ALGORITHM_SHA1, data, len, ret);
}

void sha256(const void *data, size_t len, uint8_t ret[SHA256_LEN])
{
	hash_whole(ALGORITHM_SHA256, data, len, ret);
}

static struct hasher *hasher_new(int algorithm)
{
	struct hasher *h = xcalloc(1, sizeof(*h));

	h->ctx = ctx_new(algorithm);
	return h;
}

struct hasher *hasher_new_sha1(void)
{
	return hasher_new(ALGORITHM_SHA1);
}

struct hasher *hasher_new_sha256(void)
{
	return hasher_new(ALGORITHM_SHA256);
}

void hasher_free(struct hasher *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->ctx);
	free(h);
}

void hasher_reset(struct hasher *h)
{
	must(EVP_DigestInit_ex2(h->ctx, NULL, NULL) == 1, "EVP_DigestInit_ex2");
}

void hasher_add(struct hasher *h, const void *data, size_t len)
{
	must(EVP_DigestUpdate(h->ctx, data, len) == 1, "EVP_DigestUpdate");
}

void hasher_end(struct hasher *h, uint8_t *ret)
{
	must(EVP_DigestFinal_ex(h->ctx, ret, NULL) == 1, "EVP_DigestFinal_ex");
}

/* -- CRC-32C --------------------------------------------------------------------------------- */

#define CRC32C_POLYNOMIAL 0x82f63b78u /* Castagnoli, bits reversed */

static uint32_t crc_table[256];
static pthread_once_t crc_once = PTHREAD_ONCE_INIT;

static void crc_start(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t crc = i;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? CRC32C_POLYNOMIAL : 0);
		crc_table[i] = crc;
	}
}

uint32_t crc32c_by_table(uint32_t crc, const void *data, size_t len)
{
	const uint8_t *p = data;

	pthread_once(&crc_once, crc_start);
	crc = ~crc;
	for (size_t i = 0; i < len; i++)
		crc = crc >> 8 ^ crc_table[(crc ^ p[i]) & 0xff];
	return ~crc;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc_by_sse42(
	uint32_t crc, const uint8_t *p, size_t len)
{
	uint64_t wide = crc, word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		wide = __builtin_ia32_crc32di(wide, word);
	}
	crc = (uint32_t)wide;
	for (; len; p++, len--)
		crc = __builtin_ia32_crc32qi(crc, *p);
	return crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("sse4.2"))
		return ~crc_by_sse42(~crc, data, len);
#endif
	return crc32c_by_table(crc, data, len);
}

/* -- random bytes, hex ----------------------------------------------------------------------- */

void random_bytes(void *ret, size_t len)
{
	uint8_t *p = ret;

	while (len) {
		ssize_t got = getrandom(p, len, 0);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			log_error("getrandom: %m");
			abort();
		}
		p += got;
		len -= (size_t)got;
	}
}

void hex_encode(const uint8_t *data, size_t len, char *ret)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		ret[2 * i] = digits[data[i] >> 4];
		ret[2 * i + 1] = digits[data[i] & 15];
	}
	ret[2 * len] = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_decode(const char *hex, uint8_t *ret, size_t len)
{
	if (strlen(hex) != 2 * len)
		return -EINVAL;
	for (size_t i = 0; i < 2 * len; i++)
		if (hex_digit(hex[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < len; i++)
		ret[i] = (uint8_t)(hex_digit(hex[2 * i]) << 4 | hex_digit(hex[2 * i + 1]));
	return 0;
}
