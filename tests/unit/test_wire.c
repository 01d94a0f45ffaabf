/* SPDX-License-Identifier: MIT */
/* The peer wire protocol: what may be how long, and that what is written is what is read. */
#include "swarm/wire.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/merkle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* -- lengths ----------------------------------------------------------------------------------- */

struct length_case {
	uint8_t type;
	uint32_t n_pieces, min, max, step; /* step: between allowed lengths */
};

/* Every type with the shortest and longest message that it may have. */
static const struct length_case lengths[] = {
	{WIRE_CHOKE, 8, 1, 1, 1},
	{WIRE_UNCHOKE, 8, 1, 1, 1},
	{WIRE_INTERESTED, 8, 1, 1, 1},
	{WIRE_NOT_INTERESTED, 8, 1, 1, 1},
	{WIRE_HAVE, 8, 5, 5, 1},
	{WIRE_BITFIELD, 1, 2, 2, 1},
	{WIRE_BITFIELD, 8, 2, 2, 1},
	{WIRE_BITFIELD, 9, 3, 3, 1},
	{WIRE_BITFIELD, TORRENT_MAX_PIECES, 1 + TORRENT_MAX_PIECES / 8, 1 + TORRENT_MAX_PIECES / 8,
		1},
	{WIRE_BITFIELD, UINT32_MAX, 1 + 0x20000000u, 1 + 0x20000000u, 1},
	{WIRE_BITFIELD, 0, 1, 1 + TORRENT_MAX_PIECES / 8, 1},
	{WIRE_REQUEST, 8, 13, 13, 1},
	{WIRE_PIECE, 8, 10, 9 + BLOCK_SIZE, 1},
	{WIRE_CANCEL, 8, 13, 13, 1},
	{WIRE_PORT, 8, 3, 3, 1},
	{WIRE_SUGGEST, 8, 5, 5, 1},
	{WIRE_HAVE_ALL, 8, 1, 1, 1},
	{WIRE_HAVE_NONE, 8, 1, 1, 1},
	{WIRE_REJECT, 8, 13, 13, 1},
	{WIRE_ALLOWED_FAST, 8, 5, 5, 1},
	{WIRE_EXTENDED, 8, 2, EXT_MAX_MESSAGE, 1},
	{WIRE_HASH_REQUEST, 8, 49, 49, 1},
	{WIRE_HASHES, 8, 49 + 32, 49 + 32 * (HASHES_MAX_LENGTH + MERKLE_LAYERS), 32},
	{WIRE_HASH_REJECT, 8, 49, 49, 1},
	{10, 8, 1, EXT_MAX_MESSAGE, 1}, /* unknown ones */
	{18, 8, 1, EXT_MAX_MESSAGE, 1},
	{255, 8, 1, EXT_MAX_MESSAGE, 1},
};

static void test_every_type_has_its_lengths(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		const struct length_case *c = &lengths[i];
		print_message("type %u, %u pieces\n", c->type, c->n_pieces);
		assert_null(wire_check(c->type, c->min, c->n_pieces));
		assert_null(wire_check(c->type, c->max, c->n_pieces));
		assert_non_null(wire_check(c->type, c->min - 1, c->n_pieces));
		assert_non_null(wire_check(c->type, c->max + 1, c->n_pieces));
		assert_non_null(wire_check(c->type, c->max + c->step, c->n_pieces));
		assert_non_null(wire_check(c->type, 0, c->n_pieces));
		assert_non_null(wire_check(c->type, 0x80000000u, c->n_pieces));
		assert_non_null(wire_check(c->type, UINT32_MAX, c->n_pieces));
	}
}

static void test_hashes_come_whole(void **state)
{
	for (uint32_t odd = 1; odd < 32; odd++) {
		assert_non_null(wire_check(WIRE_HASHES, 49 + 64 + odd, 8));
		assert_null(wire_check(WIRE_HASHES, 49 + 64, 8));
	}
}

/* Nothing that may be longer than a mebibyte passes, whatever its type. */
static void test_no_type_makes_us_buffer_much(void **state)
{
	for (unsigned type = 0; type < 256; type++)
		for (uint32_t pieces = 0; pieces <= 1; pieces++)
			assert_non_null(wire_check((uint8_t)type, EXT_MAX_MESSAGE + 1, pieces));
}

/* -- parsing ----------------------------------------------------------------------------------- */

/* Parses the one message in `b`; its length must be the buffer's. */
static void parse(const struct buf *b, uint32_t n_pieces, struct wire_message *ret)
{
	const uint8_t *p = buf_bytes(b);
	uint32_t length = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	assert_int_equal(length, b->len - 4);
	assert_null(wire_check(p[4], length, n_pieces));
	assert_null(wire_parse(p[4], p + 5, length - 1, ret));
	assert_int_equal(ret->type, p[4]);
}

static void test_simple_messages_come_back(void **state)
{
	static const enum wire_type types[] = {WIRE_CHOKE, WIRE_UNCHOKE, WIRE_INTERESTED,
		WIRE_NOT_INTERESTED, WIRE_HAVE_ALL, WIRE_HAVE_NONE};
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		struct buf b = {0};
		struct wire_message m;
		wire_add_simple(&b, types[i]);
		parse(&b, 9, &m);
		assert_int_equal(m.type, types[i]);
		buf_done(&b);
	}
}

/* Numbers that break when a sign or a byte order is wrong. */
static const uint32_t numbers[] = {0, 1, 0x01020304, 0x7fffffff, 0x80000000, UINT32_MAX};

static void test_indexes_come_back(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		struct buf b = {0};
		struct wire_message m;
		wire_add_have(&b, numbers[i]);
		parse(&b, 9, &m);
		assert_int_equal(m.type, WIRE_HAVE);
		assert_int_equal(m.piece, numbers[i]);
		/* Those that we take and do not send have the same form. */
		static const enum wire_type alike[] = {WIRE_SUGGEST, WIRE_ALLOWED_FAST};
		for (size_t t = 0; t < ARRAY_SIZE(alike); t++) {
			b.data[b.start + 4] = (uint8_t)alike[t];
			parse(&b, 9, &m);
			assert_int_equal(m.type, alike[t]);
			assert_int_equal(m.piece, numbers[i]);
		}
		buf_done(&b);
	}
}

static void test_blocks_come_back(void **state)
{
	static const enum wire_type types[] = {WIRE_REQUEST, WIRE_CANCEL, WIRE_REJECT};
	for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
		for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
			struct buf b = {0};
			struct wire_message m;
			uint32_t begin = numbers[(i + 1) % ARRAY_SIZE(numbers)];
			uint32_t length = numbers[(i + 2) % ARRAY_SIZE(numbers)];
			wire_add_block(&b, types[t], numbers[i], begin, length);
			parse(&b, 9, &m);
			assert_int_equal(m.type, types[t]);
			assert_int_equal(m.piece, numbers[i]);
			assert_int_equal(m.begin, begin);
			assert_int_equal(m.length, length);
			buf_done(&b);
		}
	}
}

static void test_pieces_come_back(void **state)
{
	static const uint32_t sizes[] = {1, 2, BLOCK_SIZE - 1, BLOCK_SIZE};
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct buf b = {0};
		struct wire_message m;
		wire_add_piece_header(&b, 0xfffffffe, 0x80000000, sizes[i]);
		memset(buf_extend(&b, sizes[i]), 'x', sizes[i]);
		parse(&b, 9, &m);
		assert_int_equal(m.piece, 0xfffffffe);
		assert_int_equal(m.begin, 0x80000000);
		assert_int_equal(m.length, sizes[i]);
		assert_int_equal(m.data_len, sizes[i]);
		assert_ptr_equal(m.data, buf_bytes(&b) + 13);
		buf_done(&b);
	}
}

static void test_bitfield_and_extended_come_back(void **state)
{
	static const uint8_t bytes[] = {0xa5, 0x80};
	struct buf b = {0};
	struct wire_message m;
	wire_add_bitfield(&b, bytes, sizeof(bytes));
	parse(&b, 9, &m);
	assert_int_equal(m.data_len, sizeof(bytes));
	assert_memory_equal(m.data, bytes, sizeof(bytes));
	buf_clear(&b);

	wire_add_extended(&b, 0, "de", 2);
	parse(&b, 9, &m);
	assert_int_equal(m.ext_id, 0);
	assert_int_equal(m.data_len, 2);
	assert_memory_equal(m.data, "de", 2);
	buf_clear(&b);

	wire_add_extended(&b, 255, "", 0);
	parse(&b, 9, &m);
	assert_int_equal(m.ext_id, 255);
	assert_int_equal(m.data_len, 0);
	buf_done(&b);
}

static void test_keepalive_is_four_zeros(void **state)
{
	struct buf b = {0};
	wire_add_keepalive(&b);
	assert_int_equal(b.len, 4);
	assert_memory_equal(buf_bytes(&b), "\0\0\0\0", 4);
	buf_done(&b);
}

static void fill_hashes(struct wire_hashes *h, uint8_t *root, uint8_t *hashes, uint32_t n)
{
	memset(root, 'r', SHA256_LEN);
	memset(hashes, 'h', (size_t)n * SHA256_LEN);
	*h = (struct wire_hashes) {.root = root,
		.base_layer = 1,
		.index = 0xfffffffe,
		.length = 2,
		.proof_layers = 5,
		.hashes = hashes,
		.n_hashes = n};
}

static void test_hash_messages_come_back(void **state)
{
	static const enum wire_type types[] = {WIRE_HASH_REQUEST, WIRE_HASHES, WIRE_HASH_REJECT};
	for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
		uint8_t root[SHA256_LEN], hashes[3 * SHA256_LEN];
		uint32_t n = types[t] == WIRE_HASHES ? 3 : 0;
		struct wire_hashes h;
		struct wire_message m;
		struct buf b = {0};
		fill_hashes(&h, root, hashes, n);
		wire_add_hashes(&b, types[t], &h);
		parse(&b, 9, &m);
		assert_memory_equal(m.hashes.root, root, SHA256_LEN);
		assert_int_equal(m.hashes.base_layer, 1);
		assert_int_equal(m.hashes.index, 0xfffffffe);
		assert_int_equal(m.hashes.length, 2);
		assert_int_equal(m.hashes.proof_layers, 5);
		assert_int_equal(m.hashes.n_hashes, n);
		if (n > 0)
			assert_memory_equal(m.hashes.hashes, hashes, sizeof(hashes));
		buf_done(&b);
	}
}

/* The count of hashes must fit what the message says of itself. */
static void test_hashes_fit_their_header(void **state)
{
	static const struct {
		uint32_t length, proof, n;
		bool good;
	} cases[] = {
		{2, 0, 2, true},
		{2, 0, 1, false},
		{2, 0, 3, false},
		{2, 1, 3, true},
		{2, 1, 4, false},
		{4, 3, 5, true},
		{4, 3, 3, false},
		{512, 0, 512, true},
		{0, UINT32_MAX, 1, true},
		{UINT32_MAX, 0, 2, false},
		{UINT32_MAX, UINT32_MAX, 2, false},
		{512, 64, 576, true},
		{512, 65, 577, false},
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		static uint8_t hashes[577 * SHA256_LEN];
		uint8_t root[SHA256_LEN];
		struct wire_hashes h;
		struct wire_message m;
		struct buf b = {0};
		fill_hashes(&h, root, hashes, cases[i].n);
		h.length = cases[i].length;
		h.proof_layers = cases[i].proof;
		wire_add_hashes(&b, WIRE_HASHES, &h);
		const char *why = wire_parse(WIRE_HASHES, buf_bytes(&b) + 5, b.len - 5, &m);
		print_message("length %u, proof %u, %u hashes: %s\n", h.length, h.proof_layers,
			h.n_hashes, why ? why : "good");
		assert_int_equal(why == NULL, cases[i].good);
		buf_done(&b);
	}
}

/* wire_parse does not count on wire_check: payloads of every short length, of every type, exactly
 * as long as the heap block they lie in. */
static void test_parse_stands_alone(void **state)
{
	for (unsigned type = 0; type < 256; type++) {
		for (size_t len = 0; len <= 96; len++) {
			uint8_t *payload = malloc(len ? len : 1);
			struct wire_message m;
			memset(payload, 0, len ? len : 1);
			const char *why = wire_parse((uint8_t)type, payload, len, &m);
			/* What wire_check refuses, parsing refuses, but for what only counts
			 * pieces, and an empty block. */
			if (type != WIRE_BITFIELD && type != WIRE_PIECE &&
				wire_check((uint8_t)type, (uint32_t)len + 1, 8))
				assert_non_null(why);
			free(payload);
		}
	}
}

static void test_a_failed_parse_leaves_the_result(void **state)
{
	struct wire_message m = {.piece = 77};
	assert_non_null(wire_parse(WIRE_HAVE, (const uint8_t *)"\0\0\0", 3, &m));
	assert_int_equal(m.piece, 77);
}

/* -- handshake --------------------------------------------------------------------------------- */

static void test_handshake_comes_back(void **state)
{
	uint8_t hash[SHA1_LEN], id[20];
	memset(hash, 'h', sizeof(hash));
	memset(id, 'i', sizeof(id));
	for (int v2 = 0; v2 <= 1; v2++) {
		struct buf b = {0};
		struct wire_handshake h;
		wire_add_handshake(&b, hash, id, v2);
		assert_int_equal(b.len, WIRE_HANDSHAKE_LEN);
		assert_true(wire_parse_handshake(buf_bytes(&b), &h));
		assert_memory_equal(h.info_hash, hash, sizeof(hash));
		assert_memory_equal(h.peer_id, id, sizeof(id));
		assert_true(wire_has_fast(h.reserved));
		assert_true(wire_has_extended(h.reserved));
		assert_int_equal(wire_has_v2(h.reserved), v2);
		buf_done(&b);
	}
}

static void test_handshake_of_another_protocol_is_refused(void **state)
{
	struct buf b = {0};
	struct wire_handshake h;
	uint8_t zero[20] = {0};
	wire_add_handshake(&b, zero, zero, false);
	for (size_t i = 0; i < 20; i++) {
		b.data[b.start + i] ^= 0x20;
		assert_false(wire_parse_handshake(buf_bytes(&b), &h));
		b.data[b.start + i] ^= 0x20;
	}
	assert_true(wire_parse_handshake(buf_bytes(&b), &h));
	buf_done(&b);
}

/* One bit each, and no other. */
static void test_reserved_bits(void **state)
{
	for (unsigned bit = 0; bit < 64; bit++) {
		uint8_t reserved[8] = {0};
		reserved[bit / 8] = (uint8_t)(1u << (bit % 8));
		assert_int_equal(wire_has_fast(reserved), bit == 7 * 8 + 2);
		assert_int_equal(wire_has_extended(reserved), bit == 5 * 8 + 4);
		assert_int_equal(wire_has_v2(reserved), bit == 7 * 8 + 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_type_has_its_lengths),
		cmocka_unit_test(test_hashes_come_whole),
		cmocka_unit_test(test_no_type_makes_us_buffer_much),
		cmocka_unit_test(test_simple_messages_come_back),
		cmocka_unit_test(test_indexes_come_back),
		cmocka_unit_test(test_blocks_come_back),
		cmocka_unit_test(test_pieces_come_back),
		cmocka_unit_test(test_bitfield_and_extended_come_back),
		cmocka_unit_test(test_keepalive_is_four_zeros),
		cmocka_unit_test(test_hash_messages_come_back),
		cmocka_unit_test(test_hashes_fit_their_header),
		cmocka_unit_test(test_parse_stands_alone),
		cmocka_unit_test(test_a_failed_parse_leaves_the_result),
		cmocka_unit_test(test_handshake_comes_back),
		cmocka_unit_test(test_handshake_of_another_protocol_is_refused),
		cmocka_unit_test(test_reserved_bits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
