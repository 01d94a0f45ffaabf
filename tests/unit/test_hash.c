// SPDX-License-Identifier: MIT
/* Hashes against published vectors, by parts and from several threads; CRC-32C; hex. */
#include "tests/unit/unit.h"

#include "base/hash.h"
#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static void assert_hex(const uint8_t *got, size_t len, const char *want)
{
	char hex[2 * SHA256_LEN + 1];

	hex_encode(got, len, hex);
	assert_string_equal(hex, want);
}

static const struct {
	const char *text, *sha1, *sha256;
} vectors[] = {
	/* FIPS 180-4's examples */
	{"", "da39a3ee5e6b4b0d3255bfef95601890afd80709",
		"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"abc", "a9993e364706816aba3e25717850c26c9cd0d89d",
		"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
		"84983e441c3bd26ebaae4aa1f95129e5e54670f1",
		"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

static void test_vectors(void **state)
{
	uint8_t hash[SHA256_LEN];

	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
		size_t len = strlen(vectors[i].text);
		sha1(vectors[i].text, len, hash);
		assert_hex(hash, SHA1_LEN, vectors[i].sha1);
		sha256(vectors[i].text, len, hash);
		assert_hex(hash, SHA256_LEN, vectors[i].sha256);
	}
	sha1(NULL, 0, hash);
	assert_hex(hash, SHA1_LEN, vectors[0].sha1);
}

static void test_by_parts(void **state)
{
	struct hasher *one = hasher_new_sha1(), *two = hasher_new_sha256();
	uint8_t hash[SHA256_LEN];

	/* Twice: a hasher works again after hasher_reset. */
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(vectors); i++) {
			hasher_reset(one);
			hasher_reset(two);
			for (const char *p = vectors[i].text; *p; p++) {
				hasher_add(one, p, 1);
				hasher_add(two, p, 1);
			}
			hasher_end(one, hash);
			assert_hex(hash, SHA1_LEN, vectors[i].sha1);
			hasher_end(two, hash);
			assert_hex(hash, SHA256_LEN, vectors[i].sha256);
		}
	}
	hasher_free(one);
	hasher_free(two);
	hasher_free(NULL);
}

static void test_new_hasher_needs_no_reset(void **state)
{
	struct hasher *h = hasher_new_sha1();
	uint8_t hash[SHA1_LEN];

	hasher_add(h, "abc", 3);
	hasher_end(h, hash);
	assert_hex(hash, SHA1_LEN, vectors[1].sha1);
	hasher_free(h);
}

static void *hash_many(void *unused)
{
	uint8_t want[SHA256_LEN], hash[SHA256_LEN];

	hex_decode(vectors[1].sha256, want, sizeof(want));
	for (int i = 0; i < 2000; i++) {
		sha256("abc", 3, hash);
		if (memcmp(hash, want, sizeof(want)) != 0)
			return (void *)vectors;
	}
	return NULL;
}

static void test_threads_do_not_share_contexts(void **state)
{
	pthread_t threads[4];
	void *failed;

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hash_many, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
}

static void test_crc32c(void **state)
{
	uint8_t zeros[32] = {0}, ones[32];

	memset(ones, 0xff, sizeof(ones));
	/* RFC 3720, B.4 */
	assert_int_equal(crc32c(0, zeros, sizeof(zeros)), 0x8a9136aa);
	assert_int_equal(crc32c(0, ones, sizeof(ones)), 0x62a8ab43);
	assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
	assert_int_equal(crc32c(0, "", 0), 0);
}

/* The instruction and the table agree with the definition, at every length and alignment. */
static uint32_t crc_by_definition(const uint8_t *p, size_t len)
{
	uint32_t crc = UINT32_MAX;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void test_crc32c_at_all_lengths_and_by_parts(void **state)
{
	uint8_t data[80];

	random_bytes(data, sizeof(data));
	for (size_t from = 0; from < 9; from++) {
		for (size_t len = 0; len <= 64; len++) {
			uint32_t want = crc_by_definition(data + from, len);
			assert_int_equal(crc32c(0, data + from, len), want);
			assert_int_equal(crc32c_by_table(0, data + from, len), want);
			size_t cut = len / 3;
			uint32_t part = crc32c(0, data + from, cut);
			assert_int_equal(crc32c(part, data + from + cut, len - cut), want);
			assert_int_equal(crc32c_by_table(part, data + from + cut, len - cut), want);
		}
	}
}

static void test_hex(void **state)
{
	static const uint8_t data[] = {0x00, 0x9f, 0xA0, 0xff};
	uint8_t back[4];
	char hex[9];

	hex_encode(data, sizeof(data), hex);
	assert_string_equal(hex, "009fa0ff");
	assert_int_equal(hex_decode("009fA0fF", back, 4), 0);
	assert_memory_equal(back, data, 4);
	assert_int_equal(hex_decode("", back, 0), 0);
}

static void test_bad_hex_changes_nothing(void **state)
{
	static const char *const bad[] = {"", "009fa0f", "009fa0ff0", "009fa0ff00", "g09fa0ff",
		"009fa0f/", "009fa0f:", "009f a0f"};
	uint8_t back[4] = {1, 2, 3, 4};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(hex_decode(bad[i], back, 4), -EINVAL);
		assert_memory_equal(back, "\1\2\3\4", 4);
	}
}

static void test_random_bytes_differ(void **state)
{
	uint8_t a[32] = {0}, b[32] = {0};

	random_bytes(a, sizeof(a));
	random_bytes(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	random_bytes(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_by_parts),
		cmocka_unit_test(test_new_hasher_needs_no_reset),
		cmocka_unit_test(test_threads_do_not_share_contexts),
		cmocka_unit_test(test_crc32c),
		cmocka_unit_test(test_crc32c_at_all_lengths_and_by_parts),
		cmocka_unit_test(test_hex),
		cmocka_unit_test(test_bad_hex_changes_nothing),
		cmocka_unit_test(test_random_bytes_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
