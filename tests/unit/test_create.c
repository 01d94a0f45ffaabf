// SPDX-License-Identifier: MIT
/* Making torrents: what is put where, and what fails.  That the info-hash is libtorrent's and
 * transmission's is in tests/torrents. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "base/mem.h"
#include "swarm/create.h"
#include "swarm/metainfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/p2pfs-create-XXXXXX";

static int set_up(void **state)
{
	return mkdtemp(folder) && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	char *command = xasprintf("rm -rf '%s'", folder);
	int r = chdir("/") || system(command);

	free(command);
	return r;
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static struct metainfo *create(const char *path, const struct create_options *o)
{
	struct buf b = {0};
	struct metainfo *m;
	char *why = NULL;

	if (create_torrent(path, o, &b, &why) < 0 ||
		metainfo_parse(buf_bytes(&b), b.len, &m, &why) < 0)
		fail_msg("%s", why);
	buf_done(&b);
	return m;
}

static void refused(const char *path, const struct create_options *o, int err, const char *says)
{
	struct buf b = {0};
	char *why = NULL;

	assert_int_equal(create_torrent(path, o, &b, &why), err);
	if (!strstr(why, says))
		fail_msg("it says: %s\nnot: %s", why, says);
	assert_int_equal(b.len, 0);
	free(why);
	buf_done(&b);
}

static const struct create_options plain = {.threads = 2, .piece_length = 16384};

static void test_piece_length_by_size(void **state)
{
	static const struct {
		uint64_t size;
		uint32_t length;
	} rows[] = {
		{1, 256 << 10},
		{(512ull << 20) - 1, 256 << 10},
		{512ull << 20, 1 << 20},
		{64ull << 30, 1 << 20},
		{(64ull << 30) + (1 << 20) - 1, 1 << 20},
		{(64ull << 30) + (1 << 20), 2 << 20},
		{1ull << 40, 16 << 20},
		{1ull << 59, TORRENT_MAX_PIECE_LENGTH},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_int_equal(create_piece_length(rows[i].size), rows[i].length);
}

static void test_names_of_paths(void **state)
{
	static const struct {
		const char *path, *name;
		bool single;
	} rows[] = {
		{"named/file", "file", true},
		{"./named/file", "file", true},
		{"named", "named", false},
		{"named//", "named", false},
		{"named/.", "named", false},
		{"named/sub/..", "named", false},
		{"link", "link", true},
	};

	assert_int_equal(mkdir("named", 0700), 0);
	assert_int_equal(mkdir("named/sub", 0700), 0);
	write_text("named/file", "hello");
	assert_int_equal(symlink("named/file", "link"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct metainfo *m = create(rows[i].path, &plain);
		assert_string_equal(m->name, rows[i].name);
		assert_int_equal(m->single, rows[i].single);
		metainfo_free(m);
	}
}

static void test_everything_around(void **state)
{
	char a[] = "http://a", b[] = "udp://b:1", w[] = "http://w";
	char *trackers[] = {a, b, NULL}, *web_seeds[] = {w, NULL};
	struct create_options o = plain;

	o.trackers = trackers;
	o.web_seeds = web_seeds;
	o.comment = "a comment";
	o.created_by = "me";
	o.creation_date = 1700000000;
	o.is_private = true;
	write_text("around", "hello");
	struct metainfo *m = create("around", &o);
	assert_string_equal(m->tiers[0][0], "http://a");
	assert_null(m->tiers[0][1]);
	assert_string_equal(m->tiers[1][0], "udp://b:1");
	assert_null(m->tiers[2]);
	assert_string_equal(m->web_seeds[0], "http://w");
	assert_string_equal(m->comment, "a comment");
	assert_string_equal(m->created_by, "me");
	assert_int_equal(m->creation_date, 1700000000);
	assert_true(m->is_private);
	metainfo_free(m);
}

static void test_order_of_files(void **state)
{
	static const char *const v1[] = {"a b", "A.b/x", "a/y", "B", "c"};
	static const char *const v2[] = {"A.b/x", "B", "a/y", "a b", "c"};

	assert_int_equal(mkdir("order", 0700), 0);
	assert_int_equal(mkdir("order/a", 0700), 0);
	assert_int_equal(mkdir("order/A.b", 0700), 0);
	for (size_t i = 0; i < ARRAY_SIZE(v1); i++) {
		char *path = xasprintf("order/%s", v1[i]);
		write_text(path, "hello");
		free(path);
	}
	for (enum create_format format = CREATE_HYBRID; format <= CREATE_V2; format++) {
		struct create_options o = plain;
		o.format = format;
		struct metainfo *m = create("order", &o);
		assert_int_equal(m->n_files, ARRAY_SIZE(v1));
		for (size_t i = 0; i < ARRAY_SIZE(v1); i++)
			assert_string_equal(m->files[i].path, format == CREATE_V1 ? v1[i] : v2[i]);
		metainfo_free(m);
	}
}

static void test_nothing_there(void **state)
{
	refused("gone", &plain, -ENOENT, "gone: No such file or directory");
	write_text("empty", "");
	refused("empty", &plain, -ENODATA, "empty: not a single byte in it");
	assert_int_equal(mkdir("hollow", 0700), 0);
	refused("hollow", &plain, -ENODATA, "hollow: not a single byte in it");
}

static void test_bad_names(void **state)
{
	assert_int_equal(mkdir("names", 0700), 0);
	write_text("names/a\nb", "x");
	refused("names", &plain, -EINVAL, "names/a\\x0ab: the name has a control character in it");
	refused("names/a\nb", &plain, -EINVAL, "the name has a control character in it");
	refused("/", &plain, -EINVAL, "/: the name is empty");
}

static void test_links(void **state)
{
	assert_int_equal(mkdir("links", 0700), 0);
	write_text("links/a", "x");
	assert_int_equal(symlink("nowhere", "links/b"), 0);
	refused("links", &plain, -ENOENT, "links/b: a link to nothing");
	assert_int_equal(unlink("links/b"), 0);
	assert_int_equal(symlink(".", "links/b"), 0);
	refused("links", &plain, -ELOOP, "links/b: a link to a folder that it is in");
	assert_int_equal(unlink("links/b"), 0);
	assert_int_equal(symlink("a", "links/b"), 0);
	struct metainfo *m = create("links", &plain);
	assert_int_equal(m->n_files, 2);
	metainfo_free(m);
}

static void test_neither_file_nor_folder(void **state)
{
	refused("/dev/null", &plain, -EINVAL, "/dev/null: neither a file nor a folder");
	assert_int_equal(mkdir("fifos", 0700), 0);
	write_text("fifos/a", "x");
	assert_int_equal(mkfifo("fifos/b", 0600), 0);
	refused("fifos", &plain, -EINVAL, "fifos/b: neither a file nor a folder");
}

static void test_not_over_its_own_source(void **state)
{
	struct create_options o = plain;
	struct stat st;

	assert_int_equal(mkdir("over", 0700), 0);
	write_text("over/a", "x");
	assert_int_equal(stat("over/a", &st), 0);
	o.output = &st;
	refused("over", &o, -EINVAL, "a: the torrent would be written over it");
	refused("over/a", &o, -EINVAL, "a: the torrent would be written over it");
}

static void test_too_many_pieces(void **state)
{
	struct create_options o = plain;
	int fd = open("large", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	/* 53 bytes a piece of 64 MiB. */
	assert_int_equal(ftruncate(fd, 16384ull * (TORRENT_MAX_BYTES / 53) + 1), 0);
	close(fd);
	refused("large", &o, -E2BIG, "large: more than 1266204 pieces of 16384 bytes");
	o.format = CREATE_V1;
	struct metainfo *m = create("large", &o);
	assert_int_equal(m->n_pieces, 1266205);
	metainfo_free(m);
	unlink("large");
}

/* Called while it is being hashed, or at its end at the latest. */
static void change_file(void *arg, uint64_t done, uint64_t total)
{
	int fd = open("changing", O_WRONLY | O_CLOEXEC);

	assert_int_equal(ftruncate(fd, *(off_t *)arg), 0);
	close(fd);
}

static void test_file_that_changes_meanwhile(void **state)
{
	off_t sizes[] = {100000, 300000, 200000};
	struct create_options o = plain;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		write_text("changing", "text");
		assert_int_equal(truncate("changing", 200000), 0);
		/* A time of its own: the kernel's clock is coarse. */
		struct timespec times[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
		assert_int_equal(utimensat(AT_FDCWD, "changing", times, 0), 0);
		o.progress = change_file;
		o.arg = &sizes[i];
		refused("changing", &o, -EBUSY, "while it was read");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_piece_length_by_size),
		cmocka_unit_test(test_names_of_paths),
		cmocka_unit_test(test_everything_around),
		cmocka_unit_test(test_order_of_files),
		cmocka_unit_test(test_nothing_there),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_neither_file_nor_folder),
		cmocka_unit_test(test_not_over_its_own_source),
		cmocka_unit_test(test_too_many_pieces),
		cmocka_unit_test(test_file_that_changes_meanwhile),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
