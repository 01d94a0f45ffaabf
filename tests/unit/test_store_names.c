// SPDX-License-Identifier: MIT
/* The store on disk where names lead elsewhere: links, pipes, paths that climb or are too long,
 * with the kernel's help (openat2) and without. */
#include "tests/unit/store_disk_fixture.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* -- names that lead elsewhere
 * --------------------------------------------------------------------- */

/* With `link` a symbolic link to a folder (or file) outside, opening fails and nothing comes there.
 */
static void check_link(const char *link, const char *to, int error, const char *words)
{
	struct fixture f;
	make_many(&f);
	store_close(must_open(&f));
	assert_int_equal(mkdir(fixture_path(&f, "outside"), 0777), 0);
	fixture_write_file(fixture_path(&f, "outside/target"), "untouched", 9);
	const char *path = fixture_path(&f, link);
	fixture_rmtree(path);
	assert_int_equal(symlink(fixture_path(&f, to), path), 0);
	must_refuse(&f, error, words);
	assert_int_equal(size_of(fixture_path(&f, "outside/target")), 9);
	assert_false(exists(fixture_path(&f, "outside/b")));
	fixture_done(&f);
}

static void test_a_link_in_place_of_a_file_is_refused(void **state)
{
	check_link(HASH "/content/a", "outside/target", -ELOOP, "/content/a: a symbolic link");
}

static void test_a_dangling_link_in_place_of_a_file_is_refused(void **state)
{
	check_link(HASH "/content/x/b", "outside/new", -ELOOP, "/content/x/b: a symbolic link");
}

static void test_a_link_in_place_of_a_folder_is_refused(void **state)
{
	check_link(HASH "/content/x", "outside", -ELOOP, "/content/x/b: a symbolic link");
}

static void test_a_link_in_place_of_the_content_is_refused(void **state)
{
	check_link(HASH "/content", "outside", -ENOTDIR, "/content: Not a directory");
}

static void test_a_link_in_place_of_the_entry_is_refused(void **state)
{
	check_link(HASH, "outside", -ENOTDIR, HASH ": Not a directory");
}

static void test_a_link_in_place_of_the_lock_is_refused(void **state)
{
	check_link(HASH "/lock", "outside/target", -ELOOP, "/lock");
}

static void test_a_link_in_place_of_the_record_is_not_followed(void **state)
{
	struct fixture f;
	uint8_t *data;
	size_t len;
	make_single(&f, 5);
	store_close(must_open(&f));
	fixture_write_file(fixture_path(&f, "outside"), "untouched", 9);
	assert_int_equal(symlink(fixture_path(&f, "outside"), fixture_path(&f, HASH "/have")), 0);
	assert_int_equal(
		symlink(fixture_path(&f, "outside"), fixture_path(&f, HASH "/have.new")), 0);
	struct store *s = must_open(&f);
	assert_int_equal(s->ops->load_record(s, &data, &len), -ELOOP);
	assert_int_equal(s->ops->save_record(s, "record", 6), 0);
	assert_int_equal(size_of(fixture_path(&f, "outside")), 9);
	assert_int_equal(s->ops->load_record(s, &data, &len), 0);
	assert_int_equal(len, 6);
	free(data);
	store_close(s);
	fixture_done(&f);
}

static void test_a_pipe_or_folder_in_place_of_a_file_is_refused(void **state)
{
	struct fixture f;
	make_many(&f);
	store_close(must_open(&f));
	const char *path = fixture_path(&f, HASH "/content/a");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0644), 0);
	must_refuse(&f, -EINVAL, "/content/a: not a regular file");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0755), 0);
	must_refuse(&f, -EISDIR, "/content/a: Is a directory");
	fixture_done(&f);
}

/* What metainfo lets through is checked there; the store stays inside all the same. */
static void test_a_path_that_climbs_out_is_refused(void **state)
{
	static const char *const paths[] = {"../out", "x/../../out", "/out", "x//out", "./out", ""};
	for (uint32_t i = 0; i < N(paths); i++) {
		struct fixture f;
		struct store *s;
		char *why = NULL;
		const uint64_t length = 5;
		fixture_make(&f, "folder", 1, &paths[i], &length, PIECE, false);
		assert_true(store_open_disk(f.dir, &f.meta, &s, &why) < 0);
		free(why);
		assert_false(exists(fixture_path(&f, "out")));
		assert_false(exists(fixture_path(&f, HASH "/out")));
		assert_false(exists("/out"));
		fixture_done(&f);
	}
}

static char *deep_path(unsigned depth)
{
	char *path = xcalloc(depth, 101);
	for (unsigned i = 0; i < depth; i++)
		memset(path + 101 * i, 'd', 100);
	for (unsigned i = 1; i < depth; i++)
		path[101 * i - 1] = '/';
	return path;
}

static void test_a_path_longer_than_the_kernel_takes_works(void **state)
{
	struct fixture f;
	CLEANUP_FREE char *path = deep_path(100);
	const char *paths[] = {path};
	const uint64_t length = 40000;
	fixture_make(&f, "folder", 1, paths, &length, PIECE, false);
	struct store *s = must_open(&f);
	write_all(s, &f, 9999);
	assert_int_equal(s->ops->sync(s), 0);
	store_close(s);
	s = must_open(&f);
	assert_false(s->touched);
	check_all(s, &f, 9999);
	store_close(s);
	fixture_done(&f);
}

/* Runs `fn` in a child where the kernel knows no openat2. */
static void without_openat2(void (*fn)(const struct fixture *f), const struct fixture *f)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = N(code), .filter = code};
	int status;
	pid_t child = fork();
	if (child == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
			prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
			_exit(77);
		CHECK(syscall(SYS_openat2, AT_FDCWD, "/", NULL, 0) < 0 && errno == ENOSYS);
		fn(f);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void old_kernel_works(const struct fixture *f)
{
	struct store *s;
	char *why;
	uint8_t data[100], back[100];
	fixture_fill(19950, data, sizeof(data));
	CHECK(store_open_disk(f->dir, &f->meta, &s, &why) == 0);
	CHECK(s->ops->write(s, 19950, data, sizeof(data)) == 0);
	CHECK(s->ops->sync(s) == 0);
	CHECK(s->ops->read(s, 19950, back, sizeof(back), false) == 0);
	CHECK(fixture_check(f, 19950, back, sizeof(back)));
	store_close(s);
}

static void old_kernel_refuses_links(const struct fixture *f)
{
	struct store *s;
	char *why = NULL;
	int r = store_open_disk(f->dir, &f->meta, &s, &why);
	CHECK(r == -ENOTDIR || r == -ELOOP);
	free(why);
}

static void test_without_openat2_it_works(void **state)
{
	struct fixture f;
	make_many(&f);
	without_openat2(old_kernel_works, &f);
	assert_int_equal(size_of(fixture_path(&f, HASH "/content/x/y/c")), 50000);
	fixture_done(&f);
}

static void test_without_openat2_links_are_refused(void **state)
{
	static const char *const links[] = {
		HASH, HASH "/content", HASH "/content/a", HASH "/content/x", HASH "/content/x/y"};
	for (uint32_t i = 0; i < N(links); i++) {
		struct fixture f;
		make_many(&f);
		store_close(must_open(&f));
		assert_int_equal(mkdir(fixture_path(&f, "outside"), 0777), 0);
		fixture_rmtree(fixture_path(&f, links[i]));
		assert_int_equal(
			symlink(fixture_path(&f, "outside"), fixture_path(&f, links[i])), 0);
		without_openat2(old_kernel_refuses_links, &f);
		assert_int_equal(rmdir(fixture_path(&f, "outside")), 0); /* still empty */
		fixture_done(&f);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_link_in_place_of_a_file_is_refused),
		cmocka_unit_test(test_a_dangling_link_in_place_of_a_file_is_refused),
		cmocka_unit_test(test_a_link_in_place_of_a_folder_is_refused),
		cmocka_unit_test(test_a_link_in_place_of_the_content_is_refused),
		cmocka_unit_test(test_a_link_in_place_of_the_entry_is_refused),
		cmocka_unit_test(test_a_link_in_place_of_the_lock_is_refused),
		cmocka_unit_test(test_a_link_in_place_of_the_record_is_not_followed),
		cmocka_unit_test(test_a_pipe_or_folder_in_place_of_a_file_is_refused),
		cmocka_unit_test(test_a_path_that_climbs_out_is_refused),
		cmocka_unit_test(test_a_path_longer_than_the_kernel_takes_works),
		cmocka_unit_test(test_without_openat2_it_works),
		cmocka_unit_test(test_without_openat2_links_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
