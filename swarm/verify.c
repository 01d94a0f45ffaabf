/* SPDX-License-Identifier: MIT */
/* See verify.h. */
#include "swarm/verify.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"
#include "swarm/store.h"

#include <errno.h>
#include <string.h>

static const uint8_t zeros[BLOCK_SIZE];

static void run(struct work *w);

struct verify_job *verify_new(uint32_t n, void (*done)(struct work *w), void *owner)
{
	struct verify_job *j = xcalloc(1, sizeof(*j) + n * sizeof(j->blocks[0]));
	j->work.run = run;
	j->work.done = done;
	j->owner = owner;
	j->n = n;
	return j;
}

void verify_free(struct verify_job *j)
{
	free(j);
}

const uint8_t *verify_piece_root(const struct layout *l, uint32_t piece, unsigned *ret_height)
{
	const struct metainfo_file *f = &l->meta->files[layout_file_of(l, piece)];
	*ret_height = f->n_pieces == 1 ? merkle_height(merkle_blocks(f->length)) :
					 merkle_height(l->blocks_per_piece);
	return f->layer + (size_t)SHA256_LEN * (piece - f->first_piece);
}

/* The block's bytes: in memory, or read from the store into `scratch`. */
static const uint8_t *bytes_of(struct verify_job *j, const struct verify_block *b, uint8_t *scratch)
{
	if (b->data)
		return b->data;
	uint64_t offset = layout_offset(j->layout, j->piece, b->i);
	int r = j->store->ops->read(j->store, offset, scratch, b->len, false);
	if (r < 0)
		j->read_error = r;
	return r < 0 ? NULL : scratch;
}

static void check_blocks(struct verify_job *j, uint8_t *scratch)
{
	for (uint32_t k = 0; k < j->n; k++) {
		struct verify_block *b = &j->blocks[k];
		const uint8_t *data = bytes_of(j, b, scratch);
		uint8_t hash[SHA256_LEN];
		if (!data)
			continue;
		sha256(data, b->len, hash);
		b->good = !memcmp(hash, b->leaf, SHA256_LEN);
	}
}

static bool check_sha1(struct verify_job *j, uint8_t *scratch)
{
	struct hasher *own = j->sha1 ? NULL : hasher_new_sha1(), *h = own ? own : j->sha1;
	bool all = true;
	for (uint32_t k = j->hashed; k < j->n && all; k++) {
		const uint8_t *data = bytes_of(j, &j->blocks[k], scratch);
		all = data;
		if (data)
			hasher_add(h, data, j->blocks[k].len);
	}
	uint8_t hash[SHA1_LEN];
	hasher_end(h, hash);
	hasher_free(own);
	return all && !memcmp(hash, j->layout->meta->pieces + (size_t)SHA1_LEN * j->piece, SHA1_LEN);
}

static bool check_root(struct verify_job *j, uint8_t *scratch)
{
	CLEANUP_FREE uint8_t *leaves = xmalloc((size_t)SHA256_LEN * j->n);
	for (uint32_t k = 0; k < j->n; k++) {
		const uint8_t *data = bytes_of(j, &j->blocks[k], scratch);
		if (!data)
			return false;
		sha256(data, j->blocks[k].len, leaves + (size_t)SHA256_LEN * k);
	}
	unsigned height;
	const uint8_t *expect = verify_piece_root(j->layout, j->piece, &height);
	uint8_t root[SHA256_LEN];
	merkle_root(leaves, j->n, 0, height, root);
	return !memcmp(root, expect, SHA256_LEN);
}

static void run(struct work *w)
{
	struct verify_job *j = container_of(w, struct verify_job, work);
	uint8_t scratch[BLOCK_SIZE];

	if (j->what == VERIFY_BLOCKS) {
		check_blocks(j, scratch);
	} else if (j->what == VERIFY_AHEAD) {
		for (uint32_t k = 0; k < j->n; k++)
			hasher_add(j->sha1, j->blocks[k].data, j->blocks[k].len);
	} else {
		bool good = j->what == VERIFY_WRITE ||
			(j->layout->meta->has_v2 ? check_root(j, scratch) : check_sha1(j, scratch));
		for (uint32_t k = 0; k < j->n; k++)
			j->blocks[k].good = good;
	}
	for (uint32_t k = 0; j->write && k < j->n && !j->write_error; k++) {
		struct verify_block *b = &j->blocks[k];
		if (!b->good || !b->data)
			continue;
		j->write_error = j->store->ops->write(j->store,
			layout_offset(j->layout, j->piece, b->i), b->data, b->len);
		b->written = !j->write_error;
	}
}

void verify_zero_leaf(uint32_t len, uint8_t ret[SHA256_LEN])
{
	if (len == BLOCK_SIZE)
		memcpy(ret, merkle_zero_data(0), SHA256_LEN);
	else
		sha256(zeros, len, ret);
}

static bool is_zero_v2(const struct layout *l, uint32_t piece)
{
	unsigned height;
	const uint8_t *expect = verify_piece_root(l, piece, &height);
	uint32_t n = layout_piece_blocks(l, piece), last = layout_block_len(l, piece, n - 1);
	if (n == 1u << height && last == BLOCK_SIZE)
		return !memcmp(expect, merkle_zero_data(height), SHA256_LEN);
	CLEANUP_FREE uint8_t *leaves = xmalloc((size_t)SHA256_LEN * n);
	for (uint32_t i = 0; i < n; i++)
		verify_zero_leaf(i == n - 1 ? last : BLOCK_SIZE, leaves + (size_t)SHA256_LEN * i);
	uint8_t root[SHA256_LEN];
	merkle_root(leaves, n, 0, height, root);
	return !memcmp(root, expect, SHA256_LEN);
}

/* SHA-1 of `len` zeros; the last length asked for is remembered, as nearly all pieces have one. */
static void sha1_of_zeros(uint32_t len, uint8_t ret[SHA1_LEN])
{
	static _Thread_local uint32_t known_len;
	static _Thread_local uint8_t known[SHA1_LEN];
	if (len != known_len) {
		struct hasher *h = hasher_new_sha1();
		for (uint32_t at = 0; at < len; at += BLOCK_SIZE)
			hasher_add(h, zeros, MIN(len - at, BLOCK_SIZE));
		hasher_end(h, known);
		hasher_free(h);
		known_len = len;
	}
	memcpy(ret, known, SHA1_LEN);
}

bool verify_is_zero(const struct layout *l, uint32_t piece)
{
	if (!layout_piece_blocks(l, piece))
		return false;
	if (l->meta->has_v2)
		return is_zero_v2(l, piece);
	uint8_t hash[SHA1_LEN];
	sha1_of_zeros(layout_piece_len(l, piece), hash);
	return !memcmp(hash, l->meta->pieces + (size_t)SHA1_LEN * piece, SHA1_LEN);
}
