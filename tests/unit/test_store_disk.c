// SPDX-License-Identifier: MIT
/* The store on disk: what lies where, and that bytes come back. */
#include "tests/unit/store_disk_fixture.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* -- the entry -----------------------------------------------------------------------------------
 */

static void test_an_entry_is_made_as_documented(void **state)
{
	struct fixture f;
	make_many(&f);
	strcat(f.dir, "/deep/er");
	umask(022);
	struct store *s = must_open(&f);
	assert_string_equal(store_entry(s), fixture_path(&f, HASH));
	assert_int_equal(mode_of(f.dir), 0700);
	assert_int_equal(mode_of(store_entry(s)), 0700);
	assert_int_equal(size_of(fixture_path(&f, HASH "/content/a")), 20001);
	assert_int_equal(size_of(fixture_path(&f, HASH "/content/x/y/c")), 50000);
	assert_int_equal(size_of(fixture_path(&f, HASH "/content/x/empty")), 0);
	assert_int_equal(mode_of(fixture_path(&f, HASH "/content/x/b")), 0755);
	assert_int_equal(mode_of(fixture_path(&f, HASH "/content/a")), 0644);
	assert_int_equal(size_of(fixture_path(&f, HASH "/metainfo.torrent")), f.meta.raw_len);
	assert_int_equal(s->ops->used(s), 0);
	assert_true(s->touched);
	store_close(s);
	s = must_open(&f);
	assert_false(s->touched);
	store_close(s);
	*strstr(f.dir, "/deep") = 0;
	fixture_done(&f);
}

static void test_the_metainfo_there_is_kept(void **state)
{
	struct fixture f;
	make_single(&f, 5);
	store_close(must_open(&f));
	fixture_write_file(fixture_path(&f, HASH "/metainfo.torrent"), "edited", 6);
	store_close(must_open(&f));
	assert_int_equal(size_of(fixture_path(&f, HASH "/metainfo.torrent")), 6);
	fixture_done(&f);
}

static void test_a_relative_store_has_an_absolute_entry(void **state)
{
	struct fixture f;
	struct store *s;
	char *why = NULL, cwd[4096];
	make_single(&f, 5);
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	assert_int_equal(chdir(f.dir), 0);
	assert_int_equal(store_open_disk("rel", &f.meta, &s, &why), 0);
	assert_int_equal(chdir(cwd), 0);
	assert_string_equal(store_entry(s), fixture_path(&f, "rel/" HASH));
	store_close(s);
	fixture_done(&f);
}

static void test_a_second_opener_is_told_who_holds_it(void **state)
{
	struct fixture f;
	char words[64];
	make_single(&f, 5);
	struct store *s = must_open(&f);
	snprintf(words, sizeof(words), "process %d uses it", (int)getpid());
	must_refuse(&f, -EBUSY, words);
	store_close(s);
	store_close(must_open(&f));
	fixture_done(&f);
}

static void test_the_lock_lives_through_a_fork(void **state)
{
	struct fixture f;
	int gate[2], status;
	make_single(&f, 5);
	struct store *s = must_open(&f);
	assert_int_equal(pipe(gate), 0);
	pid_t child = fork();
	if (child == 0) {
		char c;
		close(gate[1]);
		_exit(read(gate[0], &c, 1) == 0 ? 0 : 1);
	}
	close(gate[0]);
	store_close(s); /* the parent's part; the child still has it */
	must_refuse(&f, -EBUSY, "uses it");
	close(gate[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	store_close(must_open(&f));
	fixture_done(&f);
}

static void test_an_entry_of_another_user_is_refused_where_others_may_write(void **state)
{
	struct fixture f;
	if (geteuid() != 0)
		skip();
	make_single(&f, 5);
	store_close(must_open(&f));
	assert_int_equal(chown(fixture_path(&f, HASH), 4242, 4242), 0);
	store_close(must_open(&f)); /* nobody else may write to the store: its owner did that */
	assert_int_equal(chmod(f.dir, 01777), 0);
	must_refuse(&f, -EPERM, "belongs to user 4242");
	fixture_done(&f);
}

static void test_a_store_that_is_a_file_is_refused(void **state)
{
	struct fixture f;
	struct store *s;
	char *why = NULL;
	make_single(&f, 5);
	fixture_write_file(fixture_path(&f, "file"), "x", 1);
	int r = store_open_disk(fixture_path(&f, "file"), &f.meta, &s, &why);
	must_fail(r, -ENOTDIR, why, "/file: Not a directory");
	r = store_open_disk(fixture_path(&f, "file/below"), &f.meta, &s, &why);
	must_fail(r, -ENOTDIR, why, "/file");
	fixture_done(&f);
}

/* -- bytes
 * ------------------------------------------------------------------------------------------- */

static void test_bytes_come_back_across_files_and_padding(void **state)
{
	static const size_t steps[] = {1000, PIECE, 100000};
	for (uint32_t i = 0; i < N(steps); i++) {
		struct fixture f;
		make_many(&f);
		struct store *s = must_open(&f);
		write_all(s, &f, steps[i]);
		check_all(s, &f, 4001);
		check_all(s, &f, 200000);
		store_close(s);
		s = must_open(&f);
		assert_false(s->touched);
		check_all(s, &f, 8191);
		store_close(s);
		assert_int_equal(size_of(fixture_path(&f, HASH "/content/a")), 20001);
		fixture_done(&f);
	}
}

static void test_what_was_not_written_reads_as_zeros(void **state)
{
	struct fixture f;
	uint8_t data[100];
	make_single(&f, 1ull << 40);
	struct store *s = must_open(&f);
	memset(data, 0xee, sizeof(data));
	assert_int_equal(s->ops->read(s, 1ull << 39, data, sizeof(data), false), 0);
	for (size_t i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], 0);
	assert_int_equal(s->ops->used(s), 0);
	store_close(s);
	fixture_done(&f);
}

static void test_ranges_past_the_space_are_refused(void **state)
{
	struct fixture f;
	uint8_t data[2] = {0};
	make_single(&f, 5000);
	struct store *s = must_open(&f);
	assert_int_equal(s->ops->read(s, 4999, data, 1, false), 0);
	assert_int_equal(s->ops->read(s, 4999, data, 2, false), -EINVAL);
	assert_int_equal(s->ops->write(s, 4999, data, 2), -EINVAL);
	assert_int_equal(s->ops->write(s, UINT64_MAX, data, 2), -EINVAL);
	assert_int_equal(size_of(fixture_path(&f, HASH "/content/image.raw")), 5000);
	store_close(s);
	fixture_done(&f);
}

static void test_a_file_cut_meanwhile_is_an_error(void **state)
{
	struct fixture f;
	uint8_t data[100];
	make_single(&f, 50000);
	struct store *s = must_open(&f);
	write_all(s, &f, PIECE);
	assert_int_equal(truncate(fixture_path(&f, HASH "/content/image.raw"), 20050), 0);
	assert_int_equal(s->ops->read(s, 19900, data, 100, false), 0);
	assert_int_equal(s->ops->read(s, 20000, data, 100, false), -EIO);
	assert_int_equal(s->ops->read(s, 30000, data, 100, false), -EIO);
	assert_int_equal(s->ops->read(s, 20000, data, 100, true), -EAGAIN); /* then it is seen */
	store_close(s);
	fixture_done(&f);
}

static void test_nowait_gives_what_is_in_memory(void **state)
{
	struct fixture f;
	uint8_t data[5000];
	make_single(&f, 50000);
	struct store *s = must_open(&f);
	write_all(s, &f, PIECE);
	check_all(s, &f, PIECE);
	int r = s->ops->read(s, 10000, data, sizeof(data), true);
	assert_true(r == 0 || r == -EAGAIN); /* -EAGAIN: a file system that cannot tell */
	if (r == 0)
		assert_true(fixture_check(&f, 10000, data, sizeof(data)));
	store_close(s);
	fixture_done(&f);
}

static void test_nowait_waits_for_no_disk(void **state)
{
	struct fixture f;
	static uint8_t data[1 << 20];
	make_single(&f, 1 << 20);
	struct store *s = must_open(&f);
	write_all(s, &f, PIECE);
	assert_int_equal(s->ops->sync(s), 0);
	int fd = s->ops->fd(s, 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	int r = s->ops->read(s, 0, data, sizeof(data), true);
	/* tmpfs has no disk to wait for. */
	assert_true(r == -EAGAIN || (r == 0 && fixture_check(&f, 0, data, sizeof(data))));
	assert_int_equal(s->ops->read(s, 0, data, sizeof(data), false), 0);
	assert_true(fixture_check(&f, 0, data, sizeof(data)));
	store_close(s);
	fixture_done(&f);
}

static void test_the_descriptor_is_the_file(void **state)
{
	struct fixture f;
	uint8_t data[100];
	make_many(&f);
	struct store *s = must_open(&f);
	write_all(s, &f, PIECE);
	int fd = s->ops->fd(s, 2);
	assert_int_equal(pread(fd, data, sizeof(data), 40000), sizeof(data));
	assert_true(fixture_check(&f, f.meta.files[2].offset + 40000, data, sizeof(data)));
	store_close(s);
	fixture_done(&f);
}

static void test_used_counts_what_is_on_disk(void **state)
{
	struct fixture f;
	static uint8_t data[1 << 20];
	make_single(&f, 1 << 30);
	struct store *s = must_open(&f);
	fixture_fill(0, data, sizeof(data));
	assert_int_equal(s->ops->write(s, 512 << 20, data, sizeof(data)), 0);
	assert_int_equal(s->ops->sync(s), 0);
	assert_in_range(s->ops->used(s), sizeof(data), 2 * sizeof(data));
	store_close(s);
	fixture_done(&f);
}

/* -- many files
 * --------------------------------------------------------------------------------------- */

#define MANY (STORE_PINNED_FDS + STORE_CACHED_FDS + 50)

static void make_very_many(struct fixture *f)
{
	static uint64_t lengths[MANY];
	for (uint32_t i = 0; i < MANY; i++)
		lengths[i] = 100 + i;
	fixture_make(f, "many", MANY, NULL, lengths, PIECE, false);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;
	for (int fd = 0; fd < 4096; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void test_descriptors_are_bounded_however_many_files(void **state)
{
	struct fixture f;
	make_very_many(&f);
	unsigned before = open_descriptors();
	struct store *s = must_open(&f);
	write_all(s, &f, 777); /* more dirty files than the cache holds */
	check_all(s, &f, 1000);
	/* And the folders, the lock. */
	assert_in_range(open_descriptors() - before, STORE_PINNED_FDS,
		STORE_PINNED_FDS + STORE_CACHED_FDS + 8);
	assert_int_equal(s->ops->sync(s), 0);
	assert_int_equal(s->ops->sync(s), 0);
	assert_in_range(s->ops->used(s), f.meta.size, (uint64_t)MANY * 65536);
	check_all(s, &f, 313);
	store_close(s);
	assert_int_equal(open_descriptors(), before);
	s = must_open(&f);
	assert_false(s->touched);
	check_all(s, &f, 5000);
	assert_int_equal(s->ops->sync(s), 0);
	store_close(s);
	fixture_done(&f);
}

static void test_only_the_first_files_have_lasting_descriptors(void **state)
{
	struct fixture f;
	make_very_many(&f);
	struct store *s = must_open(&f);
	assert_true(s->ops->fd(s, STORE_PINNED_FDS - 1) >= 0);
	assert_int_equal(s->ops->fd(s, STORE_PINNED_FDS), -1);
	store_close(s);
	fixture_done(&f);
}

static void test_stamps_tell_of_every_change(void **state)
{
	struct fixture f;
	uint64_t a[3], b[3];
	make_very_many(&f);
	struct store *s = must_open(&f);
	static const uint32_t files[] = {0, MANY - 1};
	for (uint32_t i = 0; i < N(files); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/content/f%u", store_entry(s), files[i]);
		struct timespec old[2] = {{.tv_sec = 1000, .tv_nsec = 123456789},
			{.tv_sec = 1000, .tv_nsec = 123456789}};
		assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
		assert_int_equal(s->ops->stamp(s, files[i], a), 0);
		assert_int_equal(a[0], f.meta.files[files[i]].length);
		assert_int_equal(a[1], 1000123456789);
		assert_true(a[2] != a[1]);
		assert_int_equal(truncate(path, 3), 0);
		assert_int_equal(s->ops->stamp(s, files[i], b), 0);
		assert_int_equal(b[0], 3);
		assert_true(b[1] != a[1]);
	}
	store_close(s);
	fixture_done(&f);
}

struct reader {
	pthread_t thread;
	struct store *s;
	const struct fixture *f;
	unsigned seed;
	bool write;
	_Atomic unsigned *wrong;
};

static void *read_at_random(void *arg)
{
	struct reader *r = arg;
	uint8_t data[2000];
	for (unsigned i = 0; i < 400; i++) {
		uint64_t at = (uint64_t)rand_r(&r->seed) % (r->f->meta.space - sizeof(data));
		if (r->write) {
			fixture_fill(at, data, sizeof(data));
			*r->wrong += r->s->ops->write(r->s, at, data, sizeof(data)) != 0;
		} else {
			int e = r->s->ops->read(r->s, at, data, sizeof(data), i % 2);
			*r->wrong +=
				e != -EAGAIN && (e || !fixture_check(r->f, at, data, sizeof(data)));
		}
		if (r->write && i % 50 == 0 && r->seed % 2)
			sched_yield();
	}
	return NULL;
}

static void test_threads_share_few_descriptors(void **state)
{
	struct fixture f;
	struct reader readers[6];
	_Atomic unsigned wrong = 0;
	make_very_many(&f);
	struct store *s = must_open(&f);
	write_all(s, &f, PIECE);
	for (unsigned i = 0; i < N(readers); i++) {
		readers[i] = (struct reader) {
			.s = s, .f = &f, .seed = i, .write = i % 3 == 0, .wrong = &wrong};
		assert_int_equal(
			pthread_create(&readers[i].thread, NULL, read_at_random, &readers[i]), 0);
	}
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(s->ops->sync(s), 0);
	for (unsigned i = 0; i < N(readers); i++)
		pthread_join(readers[i].thread, NULL);
	assert_int_equal(wrong, 0);
	store_close(s);
	fixture_done(&f);
}

/* -- files that are not as we left them
 * ---------------------------------------------------------------- */

static void test_a_file_of_another_size_is_set_right_and_told(void **state)
{
	static const uint64_t sizes[] = {0, 6, 8, 100000};
	for (uint32_t i = 0; i < N(sizes); i++) {
		struct fixture f;
		make_many(&f);
		store_close(must_open(&f));
		const char *path = fixture_path(&f, HASH "/content/x/b");
		assert_int_equal(truncate(path, (off_t)sizes[i]), 0);
		struct store *s = must_open(&f);
		assert_true(s->touched);
		assert_int_equal(size_of(path), 7);
		store_close(s);
		fixture_done(&f);
	}
}

static void test_a_file_that_is_gone_is_made_again_and_told(void **state)
{
	struct fixture f;
	make_many(&f);
	store_close(must_open(&f));
	fixture_rmtree(fixture_path(&f, HASH "/content/x"));
	struct store *s = must_open(&f);
	assert_true(s->touched);
	assert_int_equal(size_of(fixture_path(&f, HASH "/content/x/y/c")), 50000);
	store_close(s);
	fixture_done(&f);
}

/* -- the record
 * ------------------------------------------------------------------------------------------ */

static void test_a_record_is_replaced_whole(void **state)
{
	struct fixture f;
	uint8_t *data;
	size_t len;
	make_single(&f, 5);
	struct store *s = must_open(&f);
	assert_int_equal(s->ops->load_record(s, &data, &len), -ENOENT);
	assert_int_equal(s->ops->save_record(s, "a longer one", 12), 0);
	assert_int_equal(s->ops->save_record(s, "short", 5), 0);
	assert_false(exists(fixture_path(&f, HASH "/have.new")));
	assert_int_equal(mode_of(fixture_path(&f, HASH "/have")), 0600);
	store_close(s);
	s = must_open(&f);
	assert_int_equal(s->ops->load_record(s, &data, &len), 0);
	assert_int_equal(len, 5);
	assert_memory_equal(data, "short", 5);
	free(data);
	store_close(s);
	fixture_done(&f);
}

static void test_a_record_larger_than_any_is_not_loaded(void **state)
{
	struct fixture f;
	uint8_t *data;
	size_t len;
	make_single(&f, 5);
	struct store *s = must_open(&f);
	fixture_write_file(fixture_path(&f, HASH "/have"), "", 0);
	assert_int_equal(truncate(fixture_path(&f, HASH "/have"), (off_t)RECORD_MAX_BYTES + 1), 0);
	assert_int_equal(s->ops->load_record(s, &data, &len), -EFBIG);
	store_close(s);
	fixture_done(&f);
}

/* -- in place
 * -----------------------------------------------------------------------------------------------
 */

static void test_a_file_in_place_is_read_and_never_written(void **state)
{
	struct fixture f;
	struct store *s;
	char *why = NULL;
	uint8_t data[5000], *record;
	size_t len;
	make_single(&f, sizeof(data));
	fixture_fill(0, data, sizeof(data));
	/* Under a name that is not the torrent's, by way of a link. */
	fixture_write_file(fixture_path(&f, "other.img"), data, sizeof(data));
	assert_int_equal(symlink("other.img", fixture_path(&f, "link")), 0);
	assert_int_equal(store_open_in_place(fixture_path(&f, "link"), &f.meta, &s, &why), 0);
	check_all(s, &f, 999);
	assert_true(s->read_only);
	assert_string_equal(store_entry(s), "");
	assert_int_equal(s->ops->write(s, 0, data, 1), -EROFS);
	assert_int_equal(s->ops->sync(s), -EROFS);
	assert_int_equal(s->ops->save_record(s, "x", 1), -EROFS);
	assert_int_equal(s->ops->load_record(s, &record, &len), -ENOENT);
	assert_int_equal(fcntl(s->ops->fd(s, 0), F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_in_range(s->ops->used(s), sizeof(data), 1 << 20);
	store_close(s);
	fixture_done(&f);
}

static void test_a_folder_in_place(void **state)
{
	struct fixture f;
	struct store *s;
	char *why = NULL;
	make_many(&f);
	s = must_open(&f);
	write_all(s, &f, PIECE);
	store_close(s);
	assert_int_equal(
		store_open_in_place(fixture_path(&f, HASH "/content"), &f.meta, &s, &why), 0);
	check_all(s, &f, 3000);
	store_close(s);
	assert_int_equal(symlink("y", fixture_path(&f, HASH "/content/x/l")), 0);
	assert_int_equal(rename(fixture_path(&f, HASH "/content/x/y/c"),
				 fixture_path(&f, HASH "/content/c")),
		0);
	assert_int_equal(symlink("../../c", fixture_path(&f, HASH "/content/x/y/c")), 0);
	int r = store_open_in_place(fixture_path(&f, HASH "/content"), &f.meta, &s, &why);
	must_fail(r, -ELOOP, why, "/content/x/y/c: a symbolic link");
	fixture_done(&f);
}

static void test_in_place_everything_must_be_there_in_its_size(void **state)
{
	struct fixture f;
	struct store *s;
	char *why = NULL;
	make_single(&f, 5);
	int r = store_open_in_place(fixture_path(&f, "none"), &f.meta, &s, &why);
	must_fail(r, -ENOENT, why, "/none: No such file");
	fixture_write_file(fixture_path(&f, "image"), "123456", 6);
	r = store_open_in_place(fixture_path(&f, "image"), &f.meta, &s, &why);
	must_fail(r, -EINVAL, why, "/image: it has 6 bytes, the torrent says 5");
	assert_int_equal(size_of(fixture_path(&f, "image")), 6);
	r = store_open_in_place(f.dir, &f.meta, &s, &why);
	must_fail(r, -EINVAL, why, "not a regular file");
	fixture_done(&f);

	make_many(&f);
	r = store_open_in_place(f.dir, &f.meta, &s, &why);
	must_fail(r, -ENOENT, why, "/a: No such file");
	fixture_write_file(fixture_path(&f, "file"), "x", 1);
	r = store_open_in_place(fixture_path(&f, "file"), &f.meta, &s, &why);
	must_fail(r, -ENOTDIR, why, "/file: Not a directory");
	fixture_done(&f);
}

/* -- get
 * ------------------------------------------------------------------------------------------------------
 */

static struct store *must_get(const struct fixture *f)
{
	struct store *s;
	char *why = NULL;
	int r = store_open_get(f->dir, &f->meta, &s, &why);
	if (r != 0)
		fail_msg("%d: %s", r, why);
	return s;
}

static void test_get_puts_a_file_where_it_is_wanted(void **state)
{
	struct fixture f;
	struct store *again;
	char *why = NULL;
	uint8_t *data;
	size_t len;
	make_single(&f, 50000);
	struct store *s = must_get(&f);
	assert_string_equal(store_entry(s), fixture_path(&f, ".image.raw.p2pfs"));
	write_all(s, &f, PIECE);
	assert_int_equal(s->ops->sync(s), 0);
	assert_int_equal(s->ops->save_record(s, "record", 6), 0);
	int r = store_open_get(f.dir, &f.meta, &again, &why);
	must_fail(r, -EBUSY, why, "uses it");
	store_close(s);

	s = must_get(&f);
	assert_false(s->touched);
	assert_int_equal(s->ops->load_record(s, &data, &len), 0);
	free(data);
	check_all(s, &f, PIECE);
	assert_int_equal(store_finish(s), 0);
	assert_int_equal(s->ops->save_record(s, "late", 4), 0);
	assert_false(exists(fixture_path(&f, ".image.raw.p2pfs")));
	assert_int_equal(store_finish(s), 0);
	check_all(s, &f, PIECE);
	store_close(s);
	assert_int_equal(size_of(fixture_path(&f, "image.raw")), 50000);
	fixture_done(&f);
}

static void test_get_puts_files_into_a_folder(void **state)
{
	struct fixture f;
	make_many(&f);
	struct store *s = must_get(&f);
	write_all(s, &f, PIECE);
	check_all(s, &f, PIECE);
	assert_int_equal(s->ops->sync(s), 0);
	assert_int_equal(store_finish(s), 0);
	store_close(s);
	assert_int_equal(size_of(fixture_path(&f, "folder/x/y/c")), 50000);
	assert_false(exists(fixture_path(&f, ".folder.p2pfs")));
	fixture_done(&f);
}

static void test_get_does_not_cut_a_longer_file(void **state)
{
	struct fixture f;
	struct store *s;
	char *why = NULL;
	make_single(&f, 5);
	fixture_write_file(fixture_path(&f, "image.raw"), "somebody's", 10);
	int r = store_open_get(f.dir, &f.meta, &s, &why);
	must_fail(r, -EEXIST, why, "/image.raw: it has 10 bytes, the torrent says 5");
	assert_int_equal(size_of(fixture_path(&f, "image.raw")), 10);
	assert_false(exists(fixture_path(&f, ".image.raw.p2pfs")));
	fixture_done(&f);
}

static void test_get_takes_a_name_as_long_as_names_are(void **state)
{
	struct fixture f;
	char name[PATH_MAX_NAME + 1];
	const uint64_t length = 5;
	memset(name, 'n', PATH_MAX_NAME);
	name[PATH_MAX_NAME] = 0;
	fixture_make(&f, name, 1, NULL, &length, PIECE, false);
	struct store *s = must_get(&f);
	assert_string_equal(store_entry(s), fixture_path(&f, "." HASH ".p2pfs"));
	assert_int_equal(store_finish(s), 0);
	store_close(s);
	fixture_done(&f);
}

static void test_a_finished_entry_of_the_store_stays(void **state)
{
	struct fixture f;
	make_single(&f, 5);
	struct store *s = must_open(&f);
	assert_int_equal(store_finish(s), 0);
	assert_true(exists(store_entry(s)));
	assert_int_equal(s->ops->save_record(s, "x", 1), 0);
	assert_true(exists(fixture_path(&f, HASH "/have")));
	store_close(s);
	fixture_done(&f);
}

/* -- a full disk
 * ------------------------------------------------------------------------------------------------
 */

static void on_full_disk(struct fixture *f)
{
	static uint8_t data[256 * KIB];
	struct store *s;
	char *why;
	uint64_t at = 0;
	int r;

	CHECK(mount("tmpfs", f->dir, "tmpfs", 0, "size=4m") == 0);
	CHECK(store_open_disk(f->dir, &f->meta, &s, &why) == 0);
	for (r = 0; r == 0 && at < 64 << 20; at += sizeof(data)) {
		fixture_fill(at, data, sizeof(data));
		r = s->ops->write(s, at, data, sizeof(data));
	}
	CHECK(r == -ENOSPC);
	CHECK(s->ops->sync(s) == 0);
	CHECK(s->ops->save_record(s, data, sizeof(data)) == -ENOSPC);
	CHECK(faccessat(AT_FDCWD, fixture_path(f, HASH "/have.new"), F_OK, AT_SYMLINK_NOFOLLOW) <
		0);
	CHECK(s->ops->read(s, 0, data, sizeof(data), false) == 0);
	CHECK(fixture_check(f, 0, data, sizeof(data)));
	store_close(s);
	/* Nothing is lost when it is opened again. */
	CHECK(store_open_disk(f->dir, &f->meta, &s, &why) == 0);
	CHECK(!s->touched);
	CHECK(s->ops->read(s, 0, data, sizeof(data), false) == 0);
	CHECK(fixture_check(f, 0, data, sizeof(data)));
	store_close(s);
}

/* Runs it in a mount namespace of its own; skipped where that is not allowed. */
static void test_a_full_disk_is_an_error_and_no_more(void **state)
{
	struct fixture f;
	int status;
	make_single(&f, 64 << 20);
	pid_t child = fork();
	if (child == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
			mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(77);
		on_full_disk(&f);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	fixture_done(&f);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_entry_is_made_as_documented),
		cmocka_unit_test(test_the_metainfo_there_is_kept),
		cmocka_unit_test(test_a_relative_store_has_an_absolute_entry),
		cmocka_unit_test(test_a_second_opener_is_told_who_holds_it),
		cmocka_unit_test(test_the_lock_lives_through_a_fork),
		cmocka_unit_test(test_an_entry_of_another_user_is_refused_where_others_may_write),
		cmocka_unit_test(test_a_store_that_is_a_file_is_refused),
		cmocka_unit_test(test_bytes_come_back_across_files_and_padding),
		cmocka_unit_test(test_what_was_not_written_reads_as_zeros),
		cmocka_unit_test(test_ranges_past_the_space_are_refused),
		cmocka_unit_test(test_a_file_cut_meanwhile_is_an_error),
		cmocka_unit_test(test_nowait_gives_what_is_in_memory),
		cmocka_unit_test(test_nowait_waits_for_no_disk),
		cmocka_unit_test(test_the_descriptor_is_the_file),
		cmocka_unit_test(test_used_counts_what_is_on_disk),
		cmocka_unit_test(test_descriptors_are_bounded_however_many_files),
		cmocka_unit_test(test_only_the_first_files_have_lasting_descriptors),
		cmocka_unit_test(test_stamps_tell_of_every_change),
		cmocka_unit_test(test_threads_share_few_descriptors),
		cmocka_unit_test(test_a_file_of_another_size_is_set_right_and_told),
		cmocka_unit_test(test_a_file_that_is_gone_is_made_again_and_told),
		cmocka_unit_test(test_a_record_is_replaced_whole),
		cmocka_unit_test(test_a_record_larger_than_any_is_not_loaded),
		cmocka_unit_test(test_a_file_in_place_is_read_and_never_written),
		cmocka_unit_test(test_a_folder_in_place),
		cmocka_unit_test(test_in_place_everything_must_be_there_in_its_size),
		cmocka_unit_test(test_get_puts_a_file_where_it_is_wanted),
		cmocka_unit_test(test_get_puts_files_into_a_folder),
		cmocka_unit_test(test_get_does_not_cut_a_longer_file),
		cmocka_unit_test(test_get_takes_a_name_as_long_as_names_are),
		cmocka_unit_test(test_a_finished_entry_of_the_store_stays),
		cmocka_unit_test(test_a_full_disk_is_an_error_and_no_more),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
