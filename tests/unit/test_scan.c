// SPDX-License-Identifier: MIT
/* Hashing files where they lie, against hashes of the same bytes in memory. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/p2pfs-scan-XXXXXX";
static int dir = -1;

static int set_up(void **state)
{
	if (!mkdtemp(folder))
		return -1;
	dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
	static const char *const names[] = {"a", "b", "c", "d"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		unlinkat(dir, names[i], 0);
		unlinkat(dir, names[i], AT_REMOVEDIR);
	}
	close(dir);
	return rmdir(folder);
}

/* The same bytes for the same seed. */
static void fill(uint8_t *data, size_t len, uint32_t seed)
{
	for (size_t i = 0; i < len; i++) {
		seed = seed * 1664525 + 1013904223;
		data[i] = (uint8_t)(seed >> 24);
	}
}

/* Writes only what is not zeros, so that the rest are holes. */
static void write_sparse(const char *name, const uint8_t *data, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	for (size_t at = 0; at < len; at += 4096) {
		size_t n = MIN(len - at, (size_t)4096);
		static const uint8_t zeros[4096];
		if (memcmp(data + at, zeros, n))
			assert_int_equal(pwrite(fd, data + at, n, (off_t)at), n);
	}
	close(fd);
}

static void write_dense(const char *name, const uint8_t *data, size_t len)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/* Hashes `s` and compares with the space's bytes in memory. */
static void check(struct scan *s, const uint8_t *space)
{
	s->sha1s = s->sha1s ? xcalloc(s->n_pieces, SHA1_LEN) : NULL;
	s->roots = s->roots ? xcalloc(s->n_pieces, SHA256_LEN) : NULL;
	assert_int_equal(scan_run(s), 0);
	for (uint32_t p = 0; s->sha1s && p < s->n_pieces; p++) {
		uint64_t begin = (uint64_t)p * s->piece_length;
		uint8_t want[SHA1_LEN];
		sha1(space + begin, MIN(s->space - begin, (uint64_t)s->piece_length), want);
		assert_memory_equal(s->sha1s[p], want, SHA1_LEN);
	}
	for (uint32_t i = 0, p = 0; s->roots && i < s->n_files; i++) {
		const struct scan_file *f = &s->files[i];
		for (uint64_t at = 0; at < f->length; at += s->piece_length, p++) {
			uint64_t len = MIN(f->length - at, (uint64_t)s->piece_length);
			uint64_t tree = MIN(f->length, (uint64_t)s->piece_length);
			size_t n = 0;
			uint8_t *leaves = xcalloc(merkle_blocks(len), SHA256_LEN), want[SHA256_LEN];
			for (uint64_t b = 0; b < len; b += MERKLE_BLOCK)
				sha256(space + f->offset + at + b,
					MIN(len - b, (uint64_t)MERKLE_BLOCK),
					leaves + SHA256_LEN * n++);
			merkle_root(leaves, n, 0, merkle_height(merkle_blocks(tree)), want);
			assert_int_equal(f->offset + at, (uint64_t)p * s->piece_length);
			assert_memory_equal(s->roots[p], want, SHA256_LEN);
			free(leaves);
		}
	}
	free(s->sha1s);
	free(s->roots);
}

/* Shapes of a file: where zeros are. */
enum shape { FULL, ZEROS_IN_FRONT, ZEROS_BEHIND, ZEROS_BETWEEN, ONLY_ZEROS, SHAPES };

static void shape(uint8_t *data, size_t len, enum shape what)
{
	fill(data, len, (uint32_t)len);
	switch (what) {
	case FULL:
	case SHAPES:
		break;
	case ZEROS_IN_FRONT:
		memset(data, 0, len * 3 / 4);
		break;
	case ZEROS_BEHIND:
		memset(data + len / 4, 0, len - len / 4);
		break;
	case ZEROS_BETWEEN:
		memset(data + len / 8, 0, len / 2);
		break;
	case ONLY_ZEROS:
		memset(data, 0, len);
		break;
	}
}

static void check_one_file(size_t len, uint32_t piece_length, enum shape what, bool sparse)
{
	static uint8_t space[5 << 20];
	uint8_t sha1_wanted[1][SHA1_LEN], root_wanted[1][SHA256_LEN];
	struct scan_file f = {.path = "a", .length = len};

	shape(space, len, what);
	(sparse ? write_sparse : write_dense)("a", space, len);
	for (unsigned mode = 1; mode < 4; mode++) {
		struct scan s = {
			.dir = dir,
			.files = &f,
			.n_files = 1,
			.piece_length = piece_length,
			.n_pieces = (uint32_t)((len + piece_length - 1) / piece_length),
			.space = len,
			.threads = mode,
			.sha1s = mode & 1 ? sha1_wanted : NULL,
			.roots = mode & 2 ? root_wanted : NULL,
		};
		check(&s, space);
	}
}

static void test_one_file(void **state)
{
	static const size_t lengths[] = {
		1, 16383, 16384, 16385, 65536, 65537, 1 << 20, (1 << 20) + 1, (4 << 20) + 12345};
	static const uint32_t piece_lengths[] = {16384, 65536, 1 << 20, 4 << 20};

	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (size_t k = 0; k < ARRAY_SIZE(piece_lengths); k++) {
			for (enum shape what = 0; what < SHAPES; what++)
				check_one_file(lengths[i], piece_lengths[k], what, true);
		}
	}
}

static void test_zeros_that_are_no_holes(void **state)
{
	for (enum shape what = 0; what < SHAPES; what++) {
		check_one_file((4 << 20) + 1, 1 << 20, what, false);
		check_one_file(4 << 20, 2 << 20, what, false);
	}
}

/* A v1 torrent's files follow each other, and pieces span them. */
static void test_pieces_span_files(void **state)
{
	uint8_t space[100000] = {0}, wanted[1][SHA1_LEN];
	struct scan_file files[] = {
		{.path = "a", .offset = 0, .length = 10},
		{.path = "nothing", .offset = 10, .length = 0},
		{.path = "b", .offset = 10, .length = 40000},
		/* a gap of padding */
		{.path = "c", .offset = 50010, .length = 30000},
	};
	struct scan s = {
		.dir = dir,
		.files = files,
		.n_files = ARRAY_SIZE(files),
		.piece_length = 16384,
		.n_pieces = 7,
		.space = sizeof(space), /* padding behind, too */
		.threads = 3,
		.sha1s = wanted,
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		if (!files[i].length)
			continue;
		fill(space + files[i].offset, files[i].length, (uint32_t)i);
		write_dense(files[i].path, space + files[i].offset, files[i].length);
	}
	check(&s, space);
}

static void test_hybrid_space(void **state)
{
	uint8_t space[5 * 32768] = {0}, sha1_wanted[1][SHA1_LEN], root_wanted[1][SHA256_LEN];
	struct scan_file files[] = {
		{.path = "a", .offset = 0, .length = 10},
		{.path = "b", .offset = 32768, .length = 70000},
		{.path = "c", .offset = 131072, .length = 32768},
	};
	struct scan s = {
		.dir = dir,
		.files = files,
		.n_files = ARRAY_SIZE(files),
		.piece_length = 32768,
		.n_pieces = 5,
		.space = sizeof(space),
		.threads = 2,
		.sha1s = sha1_wanted,
		.roots = root_wanted,
	};

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		fill(space + files[i].offset, files[i].length, (uint32_t)i);
		write_dense(files[i].path, space + files[i].offset, files[i].length);
	}
	check(&s, space);
}

static void test_missing_file_ends_the_scan(void **state)
{
	uint8_t hashes[3][SHA1_LEN];
	struct scan_file files[] = {
		{.path = "a", .offset = 0, .length = 16384},
		{.path = "gone", .offset = 16384, .length = 32768},
	};
	struct scan s = {
		.dir = dir,
		.files = files,
		.n_files = 2,
		.piece_length = 16384,
		.n_pieces = 3,
		.space = 49152,
		.threads = 1,
		.sha1s = hashes,
	};
	uint8_t data[16384] = {1};

	write_dense("a", data, sizeof(data));
	assert_int_equal(scan_run(&s), -ENOENT);
	assert_int_equal(files[0].error, 0);
	assert_int_equal(files[1].error, -ENOENT);
}

static void test_keep_going_past_bad_files(void **state)
{
	uint8_t hashes[5][SHA1_LEN], data[16384] = {1}, want[SHA1_LEN];
	bool readable[5];
	struct scan_file files[] = {
		{.path = "gone", .offset = 0, .length = 16384},
		{.path = "a", .offset = 16384, .length = 16384},
		{.path = "b", .offset = 32768, .length = 16384}, /* too short */
		{.path = "c",
			.offset = 49152,
			.length = 16384}, /* a FIFO, which nobody writes to */
		{.path = "d", .offset = 65536, .length = 16384}, /* a folder */
	};
	struct scan s = {
		.dir = dir,
		.files = files,
		.n_files = ARRAY_SIZE(files),
		.piece_length = 16384,
		.n_pieces = 5,
		.space = 81920,
		.threads = 2,
		.keep_going = true,
		.sha1s = hashes,
		.readable = readable,
	};

	write_dense("a", data, sizeof(data));
	write_dense("b", data, sizeof(data) - 1);
	unlinkat(dir, "c", 0);
	assert_int_equal(mkfifoat(dir, "c", 0600), 0);
	assert_int_equal(mkdirat(dir, "d", 0700), 0);
	assert_int_equal(scan_run(&s), 0);
	assert_int_equal(files[0].error, -ENOENT);
	assert_int_equal(files[1].error, 0);
	assert_int_equal(files[2].error, -ENODATA);
	assert_int_equal(files[3].error, -EINVAL);
	assert_int_equal(files[4].error, -EISDIR);
	assert_true(readable[1]);
	assert_false(readable[0] || readable[2] || readable[3] || readable[4]);
	sha1(data, sizeof(data), want);
	assert_memory_equal(hashes[1], want, SHA1_LEN);
}

static void note_progress(void *arg, uint64_t done)
{
	uint64_t *last = arg;

	assert_true(done >= *last);
	*last = done;
}

static void test_progress_ends_at_the_end(void **state)
{
	uint8_t hashes[7][SHA1_LEN], data[100000] = {1};
	uint64_t last = 0;
	struct scan_file f = {.path = "a", .length = sizeof(data)};
	struct scan s = {
		.dir = dir,
		.files = &f,
		.n_files = 1,
		.piece_length = 16384,
		.n_pieces = 7,
		.space = sizeof(data),
		.threads = 2,
		.sha1s = hashes,
		.progress = note_progress,
		.arg = &last,
	};

	write_dense("a", data, sizeof(data));
	assert_int_equal(scan_run(&s), 0);
	assert_int_equal(last, sizeof(data));
}

/* 2 TiB of hole; only the last bytes are read.  A test that reads it all would not end. */
static void test_holes_are_not_read(void **state)
{
	const uint64_t len = 2ull << 40;
	const uint32_t piece_length = TORRENT_MAX_PIECE_LENGTH, n = (uint32_t)(len / piece_length);
	struct scan_file f = {.path = "a", .length = len};
	struct scan s = {
		.dir = dir,
		.files = &f,
		.n_files = 1,
		.piece_length = piece_length,
		.n_pieces = n,
		.space = len,
		.threads = 2,
		.sha1s = xcalloc(n, SHA1_LEN),
		.roots = xcalloc(n, SHA256_LEN),
	};
	int fd = openat(dir, "a", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)len - 1), 1);
	close(fd);
	assert_int_equal(scan_run(&s), 0);
	for (uint32_t p = 0; p + 1 < n; p++) {
		assert_memory_equal(s.sha1s[p], s.sha1s[0], SHA1_LEN);
		assert_memory_equal(s.roots[p], merkle_zero_data(12), SHA256_LEN);
	}
	assert_memory_not_equal(s.roots[n - 1], merkle_zero_data(12), SHA256_LEN);
	free(s.sha1s);
	free(s.roots);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_file),
		cmocka_unit_test(test_zeros_that_are_no_holes),
		cmocka_unit_test(test_pieces_span_files),
		cmocka_unit_test(test_hybrid_space),
		cmocka_unit_test(test_missing_file_ends_the_scan),
		cmocka_unit_test(test_keep_going_past_bad_files),
		cmocka_unit_test(test_progress_ends_at_the_end),
		cmocka_unit_test(test_holes_are_not_read),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
