// SPDX-License-Identifier: MIT
/* A store's record, as a crash, a disk or somebody else may have left it.
 *
 * Two torrents read each input: a v1 one, and a hybrid of two files.  The checksum would keep the
 * fuzzer out, so the input is tried as it is and with its last four bytes set right.  What decodes
 * must encode to the same bytes.
 */
#include "swarm/layout.h"
#include "swarm/metainfo.h"
#include "swarm/resume.h"
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try(const uint8_t *data, size_t size, const struct metainfo *m)
{
	struct layout l = {.meta = m,
		.piece_length = m->piece_length,
		.n_pieces = m->n_pieces,
		.blocks_per_piece = m->piece_length / 16384,
		.n_blocks = m->n_pieces * (m->piece_length / 16384)};
	struct record r;
	const char *why = NULL;
	uint8_t *back;
	size_t len;

	if (record_decode(data, size, &l, &r, &why) != 0) {
		if (!why)
			abort();
		return;
	}
	if (record_encode(&r, &l, &back, &len) != 0 || len != size || memcmp(back, data, len) != 0)
		abort();
	free(back);
	record_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct metainfo_file files[2];
	struct metainfo v1 = {.has_v1 = true,
		.piece_length = 32768,
		.n_pieces = 5,
		.space = 150000,
		.files = files,
		.n_files = 1};
	struct metainfo hybrid = {.has_v1 = true,
		.has_v2 = true,
		.piece_length = 16384,
		.n_pieces = 24,
		.space = 390000,
		.files = files,
		.n_files = 2};
	memset(v1.hash_v1, 0x11, SHA1_LEN);
	memset(hybrid.hash_v1, 0x21, SHA1_LEN);
	memset(hybrid.hash_v2, 0x22, SHA256_LEN);

	try(data, size, &v1);
	try(data, size, &hybrid);
	if (size < 4)
		return 0;
	uint8_t *copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data, size - 4);
	uint32_t crc = crc32c(0, copy, size - 4);
	for (unsigned i = 0; i < 4; i++)
		copy[size - 4 + i] = (uint8_t)(crc >> 8 * (3 - i));
	try(copy, size, &v1);
	try(copy, size, &hybrid);
	free(copy);
	return 0;
}
