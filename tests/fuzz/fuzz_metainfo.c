// SPDX-License-Identifier: MIT
/* Fuzzes the .torrent parser: whatever it accepts must keep what the engine relies on without
 * looking again: names that stay in their folder, files that lie in the space in order, a piece and
 * a hash for each byte of a file.
 */
#include "base/cleanup.h"
#include "base/limits.h"
#include "swarm/layout.h"
#include "swarm/magnet.h"
#include "swarm/metainfo.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_path(const char *path)
{
	unsigned depth = 0;

	must(strlen(path) <= PATH_MAX_LENGTH);
	for (const char *part = path; part; depth++) {
		const char *slash = strchr(part, '/');
		size_t len = slash ? (size_t)(slash - part) : strlen(part);
		must(!metainfo_name_problem(part, len));
		part = slash ? slash + 1 : NULL;
	}
	must(depth <= PATH_MAX_DEPTH);
}

static void check_files(const struct metainfo *m)
{
	uint64_t end = 0, size = 0;
	uint32_t pieces = 0;

	must(m->n_files > 0 && m->n_files <= TORRENT_MAX_FILES);
	for (uint32_t i = 0; i < m->n_files; i++) {
		const struct metainfo_file *f = &m->files[i];
		check_path(f->path);
		must(f->offset >= end);
		end = f->offset + f->length;
		size += f->length;
		if (f->length)
			must(metainfo_file_at(m, f->offset) == i &&
				metainfo_file_at(m, end - 1) == i);
		if (!m->has_v2 || !f->length)
			continue;
		must(f->first_piece == pieces && f->offset == (uint64_t)pieces * m->piece_length);
		pieces += f->n_pieces;
		must(f->layer[0] + f->layer[(size_t)f->n_pieces * SHA256_LEN - 1] >= 0);
	}
	must(size == m->size && size > 0);
	must(end == m->space && m->space <= m->max_v1_space && m->max_v1_space < TORRENT_MAX_SIZE);
	must(!m->has_v2 || pieces == m->n_pieces);
	must(!m->single || (m->n_files == 1 && !strcmp(m->files[0].path, m->name)));
}

static void check_layout(const struct metainfo *m)
{
	struct layout l;

	if (layout_init(&l, m) < 0)
		return;
	uint32_t pieces[] = {0, m->n_pieces / 2, m->n_pieces - 1};
	for (unsigned i = 0; i < 3; i++) {
		uint32_t sum = 0, n = layout_piece_blocks(&l, pieces[i]), first, got;
		must(n > 0 && n <= l.blocks_per_piece);
		for (uint32_t b = 0; b < n; b++) {
			uint32_t len = layout_block_len(&l, pieces[i], b);
			must(len > 0 && len <= BLOCK_SIZE);
			sum += len;
			layout_blocks(&l, layout_offset(&l, pieces[i], b), len, &first, &got);
			must(got == 1 && first == pieces[i] * l.blocks_per_piece + b);
		}
		must(layout_block_len(&l, pieces[i], n) == 0);
		must(sum == layout_piece_len(&l, pieces[i]));
		must(sum <= layout_piece_span(&l, pieces[i]));
	}
	must(layout_piece_len(&l, m->n_pieces) == 0);
}

static void check_magnet(const struct metainfo *m)
{
	CLEANUP_FREE char *uri = magnet_of(m);
	CLEANUP(magnet_done) struct magnet back = {0};
	const char *why;

	must(magnet_parse(uri, &back, &why) == 0);
	must(back.has_v1 == m->has_v1 && back.has_v2 == m->has_v2);
	must(!m->has_v1 || !memcmp(back.hash_v1, m->hash_v1, SHA1_LEN));
	must(!m->has_v2 || !memcmp(back.hash_v2, m->hash_v2, SHA256_LEN));
	must(back.name && !strcmp(back.name, m->name));
}

/* As a peer gives it: what makes a torrent is good without what stands around it. */
static void check_info_alone(const struct metainfo *m)
{
	struct metainfo *bare = NULL;
	char *why = NULL;

	must(metainfo_parse_info(m->info, m->info_len, &bare, &why) == 0);
	must(bare->n_files == m->n_files && bare->size == m->size && bare->info_len == m->info_len);
	must(bare->has_v1 == m->has_v1 && (bare->has_v2 || !m->has_v2));
	must(!m->has_v2 || !memcmp(bare->hash_v2, m->hash_v2, SHA256_LEN));
	metainfo_free(bare);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct metainfo *m = NULL;
	char *why = NULL;

	if (metainfo_parse_info(data, size, &m, &why) == 0)
		must(m->info_len == size);
	else
		must(!m && why && *why);
	metainfo_free(m);
	free(why);
	m = NULL;
	why = NULL;
	if (metainfo_parse(data, size, &m, &why) < 0) {
		must(!m && why && *why);
		free(why);
		return 0;
	}
	must(m->has_v1 || m->has_v2);
	must(!metainfo_name_problem(m->name, strlen(m->name)));
	must(m->info >= m->raw && m->info + m->info_len <= m->raw + m->raw_len);
	must(m->n_pieces > 0 && m->n_pieces <= TORRENT_MAX_PIECES);
	must(!m->has_v1 || m->pieces[0] + m->pieces[(size_t)m->n_pieces * SHA1_LEN - 1] >= 0);
	check_files(m);
	check_layout(m);
	check_magnet(m);
	check_info_alone(m);
	metainfo_free(m);
	return 0;
}
