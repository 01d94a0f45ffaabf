// SPDX-License-Identifier: MIT
/* Hash trees against one built naively, layer by layer, for all small sizes; proofs; padding. */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "base/merkle.h"

#include <stdlib.h>
#include <string.h>

#define LEN SHA256_LEN

/* Hash number i of a layer: anything that differs. */
static uint8_t *make_hashes(size_t n)
{
	uint8_t *h = xcalloc(n, LEN);

	for (size_t i = 0; i < n; i++)
		sha256(&i, sizeof(i), h + i * LEN);
	return h;
}

/* All layers of the tree over n hashes padded to 2^height with `pad`, the lowest first. */
static uint8_t **naive_tree(const uint8_t *hashes, size_t n, unsigned height, const uint8_t *pad)
{
	uint8_t **layers = xcalloc(height + 1, sizeof(*layers));
	size_t width = (size_t)1 << height;

	layers[0] = xcalloc(width, LEN);
	for (size_t i = 0; i < width; i++)
		memcpy(layers[0] + i * LEN, i < n ? hashes + i * LEN : pad, LEN);
	for (unsigned h = 1; h <= height; h++) {
		width /= 2;
		layers[h] = xcalloc(width, LEN);
		for (size_t i = 0; i < width; i++)
			sha256(layers[h - 1] + 2 * i * LEN, 2 * LEN, layers[h] + i * LEN);
	}
	return layers;
}

static void free_tree(uint8_t **layers, unsigned height)
{
	for (unsigned h = 0; h <= height; h++)
		free(layers[h]);
	free(layers);
}

static void test_height(void **state)
{
	static const struct {
		uint64_t n;
		unsigned height;
	} table[] = {{0, 0}, {1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {8, 3}, {9, 4}, {1u << 20, 20},
		{(1u << 20) + 1, 21}, {UINT64_C(1) << 63, 63}, {(UINT64_C(1) << 63) + 1, 64}};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_int_equal(merkle_height(table[i].n), table[i].height);
}

static void test_blocks(void **state)
{
	assert_int_equal(merkle_blocks(0), 0);
	assert_int_equal(merkle_blocks(1), 1);
	assert_int_equal(merkle_blocks(16384), 1);
	assert_int_equal(merkle_blocks(16385), 2);
	assert_int_equal(merkle_blocks(UINT64_MAX), UINT64_C(1) << 50);
}

static void test_padding(void **state)
{
	uint8_t zero[LEN] = {0}, parent[LEN];

	assert_memory_equal(merkle_pad(0), zero, LEN);
	sha256((uint8_t[2 *LEN]) {0}, 2 * LEN, parent);
	assert_memory_equal(merkle_pad(1), parent, LEN);
	for (unsigned h = 0; h + 1 < MERKLE_LAYERS; h++) {
		merkle_parent(merkle_pad(h), merkle_pad(h), parent);
		assert_memory_equal(merkle_pad(h + 1), parent, LEN);
	}
}

static void test_zero_data(void **state)
{
	uint8_t *zeros = xcalloc(4, MERKLE_BLOCK), leaves[4 * LEN], root[LEN];

	for (unsigned i = 0; i < 4; i++)
		sha256(zeros + i * MERKLE_BLOCK, MERKLE_BLOCK, leaves + i * LEN);
	assert_memory_equal(merkle_zero_data(0), leaves, LEN);
	merkle_root(leaves, 4, 0, 2, root);
	assert_memory_equal(merkle_zero_data(2), root, LEN);
	free(zeros);
}

static void test_roots_of_all_small_trees(void **state)
{
	uint8_t *hashes = make_hashes(64), root[LEN];

	for (unsigned layer = 0; layer < 3; layer++) {
		for (unsigned height = 0; height <= 6; height++) {
			for (size_t n = 0; n <= (size_t)1 << height; n++) {
				uint8_t **tree = naive_tree(hashes, n, height, merkle_pad(layer));
				merkle_root(hashes, n, layer, height, root);
				assert_memory_equal(root, tree[height], LEN);
				free_tree(tree, height);
			}
		}
	}
	free(hashes);
}

static void test_few_hashes_in_a_tall_tree(void **state)
{
	uint8_t *hashes = make_hashes(3), root[LEN], want[LEN];

	merkle_root(hashes, 3, 0, 2, want);
	for (unsigned h = 2; h < 40; h++)
		merkle_parent(want, merkle_pad(h), want);
	merkle_root(hashes, 3, 0, 40, root);
	assert_memory_equal(root, want, LEN);
	free(hashes);
}

/* A root of leaves equals the root of the piece hashes made of them (how BEP 52 checks a piece
 * layer against a file's root). */
static void test_layers_compose(void **state)
{
	size_t n = 16384 - 5;
	uint8_t *leaves = make_hashes(n), root[LEN], again[LEN];
	unsigned height = merkle_height(n), piece = 4;
	size_t pieces = (n + 15) / 16;
	uint8_t *layer = xcalloc(pieces, LEN);

	for (size_t i = 0; i < pieces; i++)
		merkle_root(leaves + i * 16 * LEN, MIN(n - i * 16, (size_t)16), 0, piece,
			layer + i * LEN);
	merkle_root(leaves, n, 0, height, root);
	merkle_root(layer, pieces, piece, height - piece, again);
	assert_memory_equal(root, again, LEN);
	free(layer);
	free(leaves);
}

static void test_every_hash_of_a_tree_is_proved(void **state)
{
	const unsigned height = 5;
	size_t n = 27;
	uint8_t *hashes = make_hashes(n);
	uint8_t **tree = naive_tree(hashes, n, height, merkle_pad(0));
	const uint8_t *root = tree[height];

	for (size_t i = 0; i < (size_t)1 << height; i++) {
		uint8_t uncles[5 * LEN], *node = tree[0] + i * LEN;
		for (unsigned h = 0; h < height; h++)
			memcpy(uncles + h * LEN, tree[h] + (i >> h ^ 1) * LEN, LEN);
		assert_true(merkle_proves(node, i, uncles, height, root));

		/* Nothing else is: a bit of the hash, of an uncle, another place, a cut proof. */
		node[31] ^= 1;
		assert_false(merkle_proves(node, i, uncles, height, root));
		node[31] ^= 1;
		uncles[LEN * (i % height)] ^= 0x80;
		assert_false(merkle_proves(node, i, uncles, height, root));
		uncles[LEN * (i % height)] ^= 0x80;
		assert_false(merkle_proves(node, i + ((size_t)1 << height), uncles, height, root));
		assert_false(merkle_proves(node, UINT64_MAX, uncles, height, root));
		assert_false(merkle_proves(node, i >> 1, uncles + LEN, height - 1, root));
		if (i < n)
			assert_false(merkle_proves(node, i ^ 1, uncles, height, root));
	}
	free_tree(tree, height);
	free(hashes);
}

static void test_root_proves_itself(void **state)
{
	uint8_t *hash = make_hashes(1);

	assert_true(merkle_proves(hash, 0, NULL, 0, hash));
	assert_false(merkle_proves(hash, 1, NULL, 0, hash));
	assert_false(merkle_proves(hash, 0, NULL, 0, merkle_pad(0)));
	free(hash);
}

static void test_a_proof_taller_than_any_tree(void **state)
{
	uint8_t *uncles = xcalloc(MERKLE_LAYERS, LEN);

	assert_false(merkle_proves(merkle_pad(0), 0, uncles, MERKLE_LAYERS, merkle_pad(1)));
	free(uncles);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_height),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_zero_data),
		cmocka_unit_test(test_roots_of_all_small_trees),
		cmocka_unit_test(test_few_hashes_in_a_tall_tree),
		cmocka_unit_test(test_layers_compose),
		cmocka_unit_test(test_every_hash_of_a_tree_is_proved),
		cmocka_unit_test(test_root_proves_itself),
		cmocka_unit_test(test_a_proof_taller_than_any_tree),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
