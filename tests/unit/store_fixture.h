/* SPDX-License-Identifier: MIT */
/* For the tests of the store: torrents made by hand, bytes that tell where they belong, folders
 * that vanish.
 *
 * Thread: the main one; fixture_fill and fixture_check any.
 */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include "tests/unit/unit.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
	struct metainfo meta;
	struct layout layout;
	char dir[64]; /* a fresh folder */
};

/* By rm, which copes with paths longer than the kernel takes. */
static inline void fixture_rmtree(const char *path)
{
	char command[600];
	snprintf(command, sizeof(command), "rm -rf -- '%s'", path);
	assert_int_equal(system(command), 0);
}

/* `n` files of the given lengths; paths[i] NULL is "f<i>".  With `align` each begins on a piece, as
 * in a hybrid torrent.  paths == NULL and n == 1: a single-file torrent. */
static inline void fixture_make(struct fixture *f, const char *name, uint32_t n,
	const char *const *paths, const uint64_t *lengths, uint32_t piece_length, bool align)
{
	static const char raw[] = "d4:infod4:name1:xee";
	struct metainfo *m = &f->meta;
	*f = (struct fixture) {0};
	m->name = xstrdup(name);
	m->has_v1 = true;
	memset(m->hash_v1, 0xa1, sizeof(m->hash_v1));
	m->single = n == 1 && !paths;
	m->piece_length = piece_length;
	m->n_files = n;
	m->files = xcalloc(n, sizeof(*m->files));
	for (uint32_t i = 0; i < n; i++) {
		const char *path = paths ? paths[i] : NULL;
		m->files[i].path = m->single ? xstrdup(name)
				   : path    ? xstrdup(path)
					     : xasprintf("f%u", i);
		m->files[i].length = lengths[i];
		if (align)
			m->space = (m->space + piece_length - 1) / piece_length * piece_length;
		m->files[i].offset = m->space;
		m->space += lengths[i];
		m->size += lengths[i];
	}
	m->max_v1_space = m->space;
	m->n_pieces = (uint32_t)((m->space + piece_length - 1) / piece_length);
	m->raw = xmemdup(raw, sizeof(raw) - 1);
	m->raw_len = sizeof(raw) - 1;
	assert_int_equal(layout_init(&f->layout, m), 0);

	const char *tmp = getenv("TMPDIR");
	snprintf(f->dir, sizeof(f->dir), "%s/p2pfs-store-XXXXXX",
		tmp && strlen(tmp) < 32 ? tmp : "/tmp");
	assert_non_null(mkdtemp(f->dir));
}

static inline void fixture_done(struct fixture *f)
{
	struct metainfo *m = &f->meta;
	for (uint32_t i = 0; i < m->n_files; i++)
		free(m->files[i].path);
	free(m->files);
	free(m->name);
	free(m->raw);
	fixture_rmtree(f->dir);
}

/* The byte of the linear space at `offset`: never 0, so that a hole shows. */
static inline uint8_t fixture_byte(uint64_t offset)
{
	uint64_t x = (offset + 1) * 0x9e3779b97f4a7c15u;
	return (uint8_t)(x >> 56) | 1;
}

static inline void fixture_fill(uint64_t offset, uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		data[i] = fixture_byte(offset + i);
}

static inline bool fixture_is_file(const struct fixture *f, uint64_t offset)
{
	uint32_t i = metainfo_file_at(&f->meta, offset);
	return i < f->meta.n_files && f->meta.files[i].offset <= offset &&
	       offset - f->meta.files[i].offset < f->meta.files[i].length;
}

/* `data` is what fixture_fill wrote there, padding being zeros? */
static inline bool fixture_check(
	const struct fixture *f, uint64_t offset, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (data[i] != (fixture_is_file(f, offset + i) ? fixture_byte(offset + i) : 0))
			return false;
	return true;
}

/* "DIR/rest" in a buffer that the next but three calls reuse. */
static inline const char *fixture_path(const struct fixture *f, const char *rest)
{
	static char buffers[4][512];
	static unsigned next;
	char *p = buffers[next++ % 4];
	snprintf(p, sizeof(buffers[0]), "%s/%s", f->dir, rest);
	return p;
}

static inline void fixture_write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	close(fd);
}

#endif
