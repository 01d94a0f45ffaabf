/* SPDX-License-Identifier: MIT */
/* Fuzzes what puts metadata together: the input is a script of what peers do, honest or not.
 *
 * First byte: bit 0, the info dictionary or piece layers.  Then operations: a byte of which the low
 * bits are the operation, the high ones the peer, and a byte of argument.  Whatever happens, what
 * comes out whole is what the hashes say, no honest peer is convicted, and an honest one completes
 * it at the end.
 */
#include "swarm/metadata.h"
#include "swarm/metadata_layers.h"

#include "base/addr.h"
#include "base/cursor.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/ext.h"
#include "swarm/metainfo.h"
#include "swarm/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (4 * METADATA_PIECE + 1)
#define PIECES 600u /* of the one file: two requests */
#define HONEST 99u
#define PEERS 16u /* the last of them never lies, either */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

enum op { ADD, REMOVE, NEXT, TAKE, TAKE_WRONG, TAKE_ODD, REJECT, WAIT };

struct step {
	enum op op;
	uint32_t peer; /* 1 to PEERS */
	uint8_t arg;
};

static bool next_step(struct cursor *c, struct step *ret)
{
	uint8_t what = cursor_u8(c);
	ret->op = what & 7;
	ret->peer = 1 + (what >> 3) % PEERS;
	ret->arg = cursor_u8(c);
	if (ret->peer == PEERS && (ret->op == TAKE_WRONG || ret->op == TAKE_ODD))
		ret->op = TAKE;
	return !cursor_bad(c);
}

/* -- the info dictionary ---------------------------------------------------------------------- */

static int take(struct metadata *m, uint32_t peer, uint32_t piece, bool wrong, const uint8_t *info,
	uint64_t now)
{
	uint8_t data[METADATA_PIECE];
	size_t at = (size_t)piece * METADATA_PIECE, len = MIN(SIZE - at, sizeof(data));
	const char *why;
	memcpy(data, info + at, len);
	data[0] ^= wrong;
	const struct ext_metadata d = {
		.piece = piece, .total_size = SIZE, .data = data, .data_len = len};
	return metadata_take(m, peer, &d, now, &why);
}

/* Some share a host. */
static const char *add(struct metadata *m, uint32_t peer, uint64_t size)
{
	const struct addr host = {.ip = {[15] = (uint8_t)(peer & 7)}, .port = (uint16_t)peer};
	return metadata_add(m, peer, &host, size);
}

static void check_whole(const struct metadata *m, const uint8_t *info)
{
	size_t len = 0;
	const uint8_t *got = metadata_whole(m, &len);
	must(!got || (len == SIZE && !memcmp(got, info, SIZE)));
}

static void run_info(struct cursor c)
{
	static uint8_t info[SIZE];
	uint8_t hash[SHA1_LEN];
	const char *why;
	uint64_t now = 1;
	uint32_t peer, piece;
	struct step s;
	size_t len;

	info[1] = 7;
	sha1(info, SIZE, hash);
	struct metadata *m = metadata_new(hash, NULL);
	while (next_step(&c, &s)) {
		struct ext_metadata odd = {.piece = s.arg & 7,
			.total_size = s.arg & 8 ? SIZE : s.arg,
			.data = info,
			.data_len = s.arg * 64u + 1};
		switch (s.op) {
		case ADD:
			/* Some tell another size, the last one never. */
			add(m, s.peer, s.peer == PEERS || s.arg & 1 ? SIZE : s.arg);
			break;
		case REMOVE:
			metadata_remove(m, s.peer);
			break;
		case NEXT:
			if (metadata_next(m, now, &peer, &piece) && s.arg & 1 &&
				piece <= SIZE / METADATA_PIECE) {
				int r = take(m, peer, piece, false, info, now);
				must(r == 0 || peer != PEERS);
			}
			break;
		case TAKE:
		case TAKE_WRONG:
			if (take(m, s.peer, s.arg % 5, s.op == TAKE_WRONG, info, now) == -EBADMSG)
				must(s.peer != PEERS);
			break;
		case TAKE_ODD:
			metadata_take(m, s.peer, &odd, now, &why);
			break;
		case REJECT:
		case WAIT:
			now += s.arg * US_PER_S;
			peer = metadata_overdue(m, s.peer & 1, now, &why);
			metadata_remove(m, peer);
			must(!peer || *why);
			break;
		}
		check_whole(m, info);
	}
	for (peer = 1; peer <= PEERS; peer++)
		metadata_remove(m, peer);
	must(!add(m, HONEST, SIZE));
	while (metadata_next(m, now, &peer, &piece))
		must(peer == HONEST && take(m, peer, piece, false, info, now) == 0);
	must(metadata_whole(m, &len));
	check_whole(m, info);
	metadata_free(m);
}

/* -- piece layers ----------------------------------------------------------------------------- */

struct file {
	struct metainfo_file f;
	struct metainfo m;
	uint8_t hashes[1024 * SHA256_LEN]; /* of its piece layer, padded */
};

static int answer(const struct file *file, struct layers *l, uint32_t peer, struct wire_hashes h,
	const uint8_t *wrong, uint64_t now)
{
	uint8_t hashes[(HASHES_MAX_LENGTH + 1) * SHA256_LEN];
	uint32_t half = h.index / HASHES_MAX_LENGTH;
	memcpy(hashes, file->hashes + (size_t)half * HASHES_MAX_LENGTH * SHA256_LEN,
		(size_t)HASHES_MAX_LENGTH * SHA256_LEN);
	merkle_root(file->hashes + (size_t)(half ^ 1) * HASHES_MAX_LENGTH * SHA256_LEN,
		HASHES_MAX_LENGTH, 0, 9, hashes + (size_t)HASHES_MAX_LENGTH * SHA256_LEN);
	h.hashes = hashes;
	h.n_hashes = HASHES_MAX_LENGTH + 1;
	if (wrong)
		hashes[*wrong * 64u] ^= 1;
	return layers_take(l, peer, &h, now);
}

static void run_layers(struct cursor c)
{
	static struct file file;
	struct wire_hashes h;
	uint64_t now = 1;
	const char *why;
	struct step s;

	file.f.n_pieces = PIECES;
	file.f.length = (uint64_t)PIECES * MERKLE_BLOCK;
	for (uint32_t i = 0; i < PIECES; i++)
		file.hashes[(size_t)i * SHA256_LEN] = (uint8_t)(i + 1);
	merkle_root(file.hashes, PIECES, 0, 10, file.f.root);
	file.m = (struct metainfo) {
		.has_v2 = true, .piece_length = MERKLE_BLOCK, .files = &file.f, .n_files = 1};
	struct layers *l = layers_new(&file.m);
	while (next_step(&c, &s)) {
		h = (struct wire_hashes) {.root = file.f.root,
			.index = (s.arg & 1) * HASHES_MAX_LENGTH,
			.length = HASHES_MAX_LENGTH,
			.proof_layers = 9};
		switch (s.op) {
		case ADD:
			layers_add(l, s.peer);
			break;
		case REMOVE:
			layers_remove(l, s.peer);
			break;
		case NEXT:
			if (layers_next(l, s.peer, now, &h) && s.arg & 1)
				must(answer(&file, l, s.peer, h, NULL, now) == 0);
			break;
		case TAKE:
			must(answer(&file, l, s.peer, h, NULL, now) == 0);
			break;
		case TAKE_WRONG:
			if (answer(&file, l, s.peer, h, &s.arg, now) < 0)
				layers_remove(l, s.peer);
			break;
		case TAKE_ODD:
			h.index = s.arg * 3u;
			h.length = s.arg & 0x78;
			h.base_layer = s.arg & 1;
			h.root = s.arg & 4 ? h.root : file.hashes;
			h.hashes = file.hashes;
			h.n_hashes = h.length;
			layers_take(l, s.peer, &h, now);
			break;
		case REJECT:
			layers_on_reject(l, s.peer, &h, now);
			break;
		case WAIT:
			now += s.arg * US_PER_S;
			layers_remove(l, layers_overdue(l, s.peer & 1, now, &why));
			break;
		}
	}
	for (uint32_t peer = 1; peer <= PEERS; peer++)
		layers_remove(l, peer);
	layers_add(l, HONEST);
	while (layers_next(l, HONEST, now, &h))
		must(answer(&file, l, HONEST, h, NULL, now) == 0);
	must(layers_whole(l));
	struct buf b = {0};
	layers_write(l, "de", 2, &b);
	must(b.len > PIECES * SHA256_LEN && !memcmp(buf_bytes(&b) + b.len - 2 - PIECES * SHA256_LEN,
						    file.hashes, (size_t)PIECES * SHA256_LEN));
	buf_done(&b);
	layers_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_on(data, size);
	if (cursor_u8(&c) & 1)
		run_layers(c);
	else
		run_info(c);
	return 0;
}
