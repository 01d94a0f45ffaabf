/* SPDX-License-Identifier: MIT */
/* Paths of mountpoints, and how libfuse is told to mount. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "fs/mountpoint.h"
#include "fs/options.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_opt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char folder[64];

static int setup(void **state)
{
	strcpy(folder, "/tmp/p2pfs-mountpoint-XXXXXX");
	if (!mkdtemp(folder) || chdir(folder) < 0)
		return -1;
	return mkdir("d", 0755) || mkdir("d/e", 0755) || symlink("d", "link") ||
	       symlink("nowhere", "dangling") || mkfifo("fifo", 0600) ||
	       close(open("file", O_CREAT | O_WRONLY, 0600));
}

static int teardown(void **state)
{
	return unlink("link") || unlink("dangling") || unlink("fifo") || unlink("file") ||
	       rmdir("d/e") || rmdir("d") || chdir("/") || rmdir(folder);
}

static void test_absolute(void **state)
{
	/* given, and what it is below the folder */
	static const char *const table[][2] = {
		{"d", "/d"}, {"d/", "/d"}, {"d///", "/d"}, {"./d", "/d"}, {"d/../d/e", "/d/e"},
		{"link", "/d"}, {"link/e", "/d/e"}, {"link/", "/d"}, {".", ""}, {"d/.", "/d"},
		{"d/e/..", "/d"}, {"file", "/file"},
		{"absent", "/absent"}, /* its last part is not looked at: it may be a dead mount */
	};
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		CLEANUP_FREE char *got = NULL;
		CLEANUP_FREE char *want = xasprintf("%s%s", folder, table[i][1]);
		assert_int_equal(mountpoint_absolute(table[i][0], &got), 0);
		assert_string_equal(got, want);
	}
	CLEANUP_FREE char *root = NULL, *tmp = NULL;
	assert_int_equal(mountpoint_absolute("/", &root), 0);
	assert_string_equal(root, "/");
	assert_int_equal(mountpoint_absolute("/tmp", &tmp), 0);
	assert_string_equal(tmp, "/tmp");
}

static void test_absolute_errors(void **state)
{
	char *got = NULL;
	assert_int_equal(mountpoint_absolute("absent/x", &got), -ENOENT);
	assert_int_equal(mountpoint_absolute("dangling", &got), -ENOENT);
	assert_int_equal(mountpoint_absolute("", &got), -ENOENT);
	assert_int_equal(mountpoint_absolute("file/x/y", &got), -ENOTDIR);
	assert_null(got);
}

static void test_what_can_be_mounted_on(void **state)
{
	mode_t type = 0;
	assert_int_equal(mountpoint_check("d", &type), 0);
	assert_int_equal(type, S_IFDIR);
	assert_int_equal(mountpoint_check("file", &type), 0);
	assert_int_equal(type, S_IFREG);
	assert_int_equal(mountpoint_check("fifo", &type), -EINVAL);
	assert_int_equal(mountpoint_check("absent", &type), -ENOENT);
}

static void test_commas_in_the_source_are_escaped(void **state)
{
	struct mount_options o;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	mount_options_init(&o);
	o.allow_other = true;
	mountpoint_fuse_args("/a,b\\c.torrent", &o, &args);
	assert_int_equal(args.argc, 1);
	assert_string_equal(args.argv[0], "-oro,nosuid,nodev,default_permissions,subtype=p2pfs,"
					  "fsname=/a\\,b\\\\c.torrent,allow_other");
	fuse_opt_free_args(&args);
	mount_options_done(&o);
}

static void test_nothing_of_ours_is_mounted_at_the_root(void **state)
{
	struct mount_entry m;
	assert_int_equal(mount_find("/", &m), -ENOENT);
	assert_int_equal(mount_find(folder, &m), -ENOENT);
	m = (struct mount_entry) {.path = folder, .minor = UINT_MAX};
	assert_int_equal(mount_place(&m), MOUNT_GONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_absolute),
		cmocka_unit_test(test_absolute_errors),
		cmocka_unit_test(test_what_can_be_mounted_on),
		cmocka_unit_test(test_commas_in_the_source_are_escaped),
		cmocka_unit_test(test_nothing_of_ours_is_mounted_at_the_root),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
