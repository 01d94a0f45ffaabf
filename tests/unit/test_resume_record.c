// SPDX-License-Identifier: MIT
/* The record's bytes: what goes in comes out, and nothing else is taken for a record. */
#include "tests/unit/store_fixture.h"
#include "swarm/resume.h"
#include "base/hash.h"
#include "base/limits.h"

#include <errno.h>

#define N(a) ((uint32_t)(sizeof(a) / sizeof((a)[0])))

static void make(struct fixture *f)
{
	static const uint64_t lengths[] = {300000, 5, 40000};
	fixture_make(f, "folder", N(lengths), NULL, lengths, 32768, true);
	f->meta.has_v2 = true;
	memset(f->meta.hash_v2, 0xb2, sizeof(f->meta.hash_v2));
}

static void fill(const struct fixture *f, struct record *r, bool clean, size_t extra_len)
{
	*r = (struct record) {.clean = clean};
	bits_init(&r->have, f->layout.n_blocks);
	for (uint32_t i = 0; i < f->layout.n_blocks; i += 3)
		bits_set(&r->have, i);
	if (clean) {
		r->stamps = xcalloc(f->meta.n_files, sizeof(*r->stamps));
		for (uint32_t i = 0; i < f->meta.n_files; i++)
			for (unsigned k = 0; k < 3; k++)
				r->stamps[i][k] = 0x1122334455667788u * (i + 1) + k;
	}
	if (extra_len) {
		r->extra = xmalloc(extra_len);
		r->extra_len = extra_len;
		fixture_fill(0, r->extra, extra_len);
	}
}

static uint8_t *encode(const struct fixture *f, bool clean, size_t extra_len, size_t *ret_len)
{
	struct record r;
	uint8_t *data;
	fill(f, &r, clean, extra_len);
	assert_int_equal(record_encode(&r, &f->layout, &data, ret_len), 0);
	record_done(&r);
	return data;
}

static void set_crc(uint8_t *data, size_t len)
{
	uint32_t crc = crc32c(0, data, len - 4);
	for (unsigned i = 0; i < 4; i++)
		data[len - 4 + i] = (uint8_t)(crc >> 8 * (3 - i));
}

static void must_refuse(const uint8_t *data, size_t len, const struct layout *l, const char *words)
{
	struct record r;
	const char *why = NULL;
	/* A copy of just that size: a read past it shows. */
	uint8_t *copy = xmemdup(data, len);
	assert_int_equal(record_decode(copy, len, l, &r, &why), -EINVAL);
	assert_non_null(why);
	if (words && !strstr(why, words))
		fail_msg("\"%s\" does not say \"%s\"", why, words);
	free(copy);
}

static void check_round_trip(bool clean, size_t extra_len)
{
	struct fixture f;
	struct record in, out;
	const char *why;
	uint8_t *data;
	size_t len;
	make(&f);
	fill(&f, &in, clean, extra_len);
	assert_int_equal(record_encode(&in, &f.layout, &data, &len), 0);
	assert_int_equal(record_decode(data, len, &f.layout, &out, &why), 0);
	assert_int_equal(out.clean, clean);
	assert_int_equal(out.have.n, f.layout.n_blocks);
	assert_int_equal(out.have.set, in.have.set);
	for (uint32_t i = 0; i < in.have.n; i++)
		assert_int_equal(bits_get(&out.have, i), i % 3 == 0);
	assert_int_equal(out.extra_len, extra_len);
	if (extra_len)
		assert_memory_equal(out.extra, in.extra, extra_len);
	if (clean)
		assert_memory_equal(out.stamps, in.stamps, f.meta.n_files * sizeof(*in.stamps));
	else
		assert_null(out.stamps);
	free(data);
	record_done(&in);
	record_done(&out);
	fixture_done(&f);
}

static void test_a_clean_record_comes_back(void **state)
{
	check_round_trip(true, 0);
	check_round_trip(true, 1000);
}

static void test_an_unclean_record_comes_back_without_stamps(void **state)
{
	check_round_trip(false, 0);
	check_round_trip(false, 77);
}

static void test_a_torrent_of_nothing_has_a_record(void **state)
{
	struct fixture f;
	struct record r, out;
	const char *why;
	uint8_t *data;
	size_t len;
	const uint64_t length = 0;
	fixture_make(&f, "empty", 1, NULL, &length, 16384, false);
	fill(&f, &r, true, 0);
	assert_int_equal(record_encode(&r, &f.layout, &data, &len), 0);
	assert_int_equal(record_decode(data, len, &f.layout, &out, &why), 0);
	assert_int_equal(out.have.n, 0);
	free(data);
	record_done(&r);
	record_done(&out);
	fixture_done(&f);
}

static void test_four_million_blocks_take_half_a_mebibyte(void **state)
{
	struct fixture f;
	struct record r = {0};
	uint8_t *data;
	size_t len;
	const uint64_t length = 64ull << 30;
	fixture_make(&f, "big", 1, NULL, &length, 1 << 20, false);
	bits_init(&r.have, f.layout.n_blocks);
	assert_int_equal(record_encode(&r, &f.layout, &data, &len), 0);
	assert_in_range(len, 512 << 10, (512 << 10) + 200);
	free(data);
	record_done(&r);
	fixture_done(&f);
}

static void test_every_flipped_bit_is_seen(void **state)
{
	struct fixture f;
	size_t len;
	make(&f);
	uint8_t *data = encode(&f, true, 50, &len);
	for (size_t i = 0; i < len * 8; i++) {
		data[i / 8] ^= (uint8_t)(1 << i % 8);
		must_refuse(data, len, &f.layout, NULL);
		data[i / 8] ^= (uint8_t)(1 << i % 8);
	}
	free(data);
	fixture_done(&f);
}

static void test_every_cut_is_seen(void **state)
{
	struct fixture f;
	size_t len;
	make(&f);
	uint8_t *data = encode(&f, true, 50, &len);
	for (size_t n = 0; n < len; n++)
		must_refuse(data, n, &f.layout, NULL);
	/* Also with a checksum that fits. */
	for (size_t n = 104; n < len; n++) {
		uint8_t *cut = xmemdup(data, n);
		set_crc(cut, n);
		must_refuse(cut, n, &f.layout, "of the wrong length");
		free(cut);
	}
	free(data);
	fixture_done(&f);
}

static void test_bytes_behind_it_are_seen(void **state)
{
	struct fixture f;
	size_t len;
	make(&f);
	uint8_t *data = encode(&f, false, 0, &len);
	data = xrealloc(data, len + 1, 1);
	data[len] = 0;
	must_refuse(data, len + 1, &f.layout, "damaged");
	set_crc(data, len + 1);
	must_refuse(data, len + 1, &f.layout, "of the wrong length");
	free(data);
	fixture_done(&f);
}

static void test_every_field_is_checked(void **state)
{
	static const struct {
		size_t at, n;
		const char *words;
	} fields[] = {
		{0, 8, "is not one"},
		{8, 4, "another version"},
		{12, 4, "unknown flags"},
		{16, 20, "another torrent"},
		{36, 32, "another torrent"},
		{68, 8, "other sizes"},
		{76, 4, "other sizes"},
		{80, 4, "other sizes"},
		{84, 4, "other sizes"},
		{88, 4, "a stamp for each"},
	};
	struct fixture f;
	size_t len;
	make(&f);
	uint8_t *good = encode(&f, true, 0, &len);
	for (unsigned i = 0; i < N(fields); i++) {
		for (size_t k = 0; k < fields[i].n; k++) {
			uint8_t *data = xmemdup(good, len);
			data[fields[i].at + k] ^= 0x40;
			set_crc(data, len);
			must_refuse(data, len, &f.layout, fields[i].words);
			free(data);
		}
	}
	free(good);
	fixture_done(&f);
}

static void test_a_blob_longer_than_allowed_is_refused(void **state)
{
	static const uint64_t lengths[] = {
		RECORD_MAX_EXTRA + 1ull, UINT32_MAX, UINT64_MAX, UINT64_MAX - 300};
	struct fixture f;
	size_t len;
	make(&f);
	uint8_t *data = encode(&f, false, 0, &len);
	for (unsigned i = 0; i < N(lengths); i++) {
		for (unsigned k = 0; k < 8; k++)
			data[92 + k] = (uint8_t)(lengths[i] >> 8 * (7 - k));
		set_crc(data, len);
		must_refuse(data, len, &f.layout, "too long");
	}
	for (unsigned k = 0; k < 8; k++)
		data[92 + k] = (uint8_t)((uint64_t)RECORD_MAX_EXTRA >> 8 * (7 - k));
	set_crc(data, len);
	must_refuse(data, len, &f.layout, "of the wrong length");

	struct record r;
	uint8_t *encoded;
	fill(&f, &r, false, 1);
	r.extra_len = RECORD_MAX_EXTRA + 1;
	assert_int_equal(record_encode(&r, &f.layout, &encoded, &len), -E2BIG);
	record_done(&r);
	free(data);
	fixture_done(&f);
}

static void test_bits_past_the_last_block_are_refused(void **state)
{
	struct fixture f;
	size_t len;
	make(&f);
	assert_true(f.layout.n_blocks % 8 != 0);
	uint8_t *data = encode(&f, false, 0, &len);
	data[len - 5] |= 1; /* the last byte of bits */
	set_crc(data, len);
	must_refuse(data, len, &f.layout, "bits for blocks that are not");
	free(data);
	fixture_done(&f);
}

static void test_another_torrents_record_is_refused(void **state)
{
	struct fixture f;
	size_t len;
	make(&f);
	uint8_t *data = encode(&f, true, 0, &len);
	f.meta.has_v2 = false;
	must_refuse(data, len, &f.layout, "another torrent");
	f.meta.has_v2 = true;
	f.meta.hash_v1[0] ^= 1;
	must_refuse(data, len, &f.layout, "another torrent");
	free(data);
	fixture_done(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_clean_record_comes_back),
		cmocka_unit_test(test_an_unclean_record_comes_back_without_stamps),
		cmocka_unit_test(test_a_torrent_of_nothing_has_a_record),
		cmocka_unit_test(test_four_million_blocks_take_half_a_mebibyte),
		cmocka_unit_test(test_every_flipped_bit_is_seen),
		cmocka_unit_test(test_every_cut_is_seen),
		cmocka_unit_test(test_bytes_behind_it_are_seen),
		cmocka_unit_test(test_every_field_is_checked),
		cmocka_unit_test(test_a_blob_longer_than_allowed_is_refused),
		cmocka_unit_test(test_bits_past_the_last_block_are_refused),
		cmocka_unit_test(test_another_torrents_record_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
