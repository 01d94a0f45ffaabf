// SPDX-License-Identifier: MIT
/* Sizes, rates and numbers at their edges; files read with a bound and replaced as a whole. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct parse_case {
	const char *text;
	int err;
	uint64_t value;
};

static void check(int (*parse)(const char *, uint64_t *), const struct parse_case *c, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t v = 12345;
		int err = parse(c[i].text, &v);
		if (err != c[i].err || v != (err ? 12345 : c[i].value))
			fail_msg("%s: %d, %llu", c[i].text, err, (unsigned long long)v);
	}
}

static void test_sizes(void **state)
{
	static const struct parse_case table[] = {
		{"0", 0, 0},
		{"64", 0, 64},
		{"16K", 0, 16384},
		{"16k", 0, 16384},
		{"4M", 0, 4194304},
		{"1G", 0, 1073741824},
		{"2T", 0, UINT64_C(2) << 40},
		{"007", 0, 7},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"16777215T", 0, UINT64_C(16777215) << 40},
		{"16777216T", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"K", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"1KK", -EINVAL, 0},
		{"1.5G", -EINVAL, 0},
		{"1X", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
	};

	check(parse_size, table, ARRAY_SIZE(table));
}

static void test_rates(void **state)
{
	static const struct parse_case table[] = {
		{"0", 0, 0},
		{"800K", 0, 100000},
		{"10M", 0, 1250000},
		{"1G", 0, 125000000},
		{"8", 0, 1},
		{"9", 0, 2},
		{"1", 0, 1}, /* never rounded to "no limit" */
		{"18446744073709551615", 0, UINT64_MAX / 8 + 1},
		{"18446744073709551616", -EINVAL, 0},
		{"18446745T", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"M", -EINVAL, 0},
		{"-1M", -EINVAL, 0},
		{"1m/s", -EINVAL, 0},
	};

	check(parse_rate, table, ARRAY_SIZE(table));
}

static int parse_1_to_100(const char *text, uint64_t *ret)
{
	return parse_number(text, 1, 100, ret);
}

static void test_numbers(void **state)
{
	static const struct parse_case table[] = {
		{"0", -ERANGE, 0},
		{"1", 0, 1},
		{"100", 0, 100},
		{"101", -ERANGE, 0},
		{"99999999999999999999999", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"5x", -EINVAL, 0},
		{"5K", -EINVAL, 0},
		{"-5", -EINVAL, 0},
		{" 5", -EINVAL, 0},
	};

	check(parse_1_to_100, table, ARRAY_SIZE(table));
}

static void test_formats(void **state)
{
	static const struct {
		uint64_t v;
		const char *size, *rate;
	} table[] = {
		{0, "0 B", "0 B/s"},
		{999, "999 B", "999 B/s"},
		{1000, "1000 B", "1.0 kB/s"},
		{1023, "1023 B", "1.0 kB/s"},
		{1024, "1.0 KiB", "1.0 kB/s"},
		{999999, "976.6 KiB", "1.0 MB/s"}, /* not 1000.0 kB/s */
		{17000000, "16.2 MiB", "17.0 MB/s"},
		{UINT64_C(4) << 30, "4.0 GiB", "4.3 GB/s"},
		{UINT64_MAX, "16.0 EiB", "18.4 EB/s"},
	};
	char text[32];

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		assert_string_equal(format_size(table[i].v, text), table[i].size);
		assert_string_equal(format_rate(table[i].v, text), table[i].rate);
	}
}

/* -- files ----------------------------------------------------------------------------------- */

static char folder[] = "/tmp/test_cli.XXXXXX";
static char path[64], other[64];

static int file_setup(void **state)
{
	snprintf(path, sizeof(path), "%s/file", folder);
	snprintf(other, sizeof(other), "%s/other", folder);
	return 0;
}

static int file_teardown(void **state)
{
	unlink(path);
	unlink(other);
	return 0;
}

static void assert_content(const char *file, const char *want)
{
	uint8_t *data;
	size_t len;

	assert_int_equal(read_file(file, 1000, &data, &len), 0);
	assert_string_equal((char *)data, want);
	assert_int_equal(len, strlen(want));
	free(data);
}

static unsigned files_in_folder(void)
{
	DIR *d = opendir(folder);
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void test_write_then_read(void **state)
{
	struct stat st;

	umask(0077); /* the mode is the one asked for all the same */
	assert_int_equal(write_file(path, "hello", 5, 0644), 0);
	assert_content(path, "hello");
	assert_int_equal(write_file(path, "", 0, 0600), 0);
	assert_content(path, "");
	assert_int_equal(write_file(path, "new", 3, 0644), 0);
	assert_content(path, "new");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0644);
	assert_int_equal(files_in_folder(), 1); /* no temporary file is left */
}

static void test_read_at_its_limit(void **state)
{
	uint8_t *data = NULL;
	size_t len;

	assert_int_equal(write_file(path, "12345", 5, 0644), 0);
	assert_int_equal(read_file(path, 5, &data, &len), 0);
	free(data);
	data = NULL;
	assert_int_equal(read_file(path, 4, &data, &len), -EFBIG);
	assert_int_equal(read_file(path, 0, &data, &len), -EFBIG);
	assert_null(data);
}

static void test_read_of_what_has_no_size(void **state)
{
	uint8_t *data = NULL;
	size_t len;

	assert_int_equal(read_file("/dev/zero", 100000, &data, &len), -EFBIG);
	assert_int_equal(read_file("/dev/null", 0, &data, &len), 0);
	assert_int_equal(len, 0);
	free(data);
	assert_int_equal(read_file("/proc/self/status", 100000, &data, &len), 0);
	assert_non_null(strstr((char *)data, "Name:\t"));
	free(data);
}

static void test_read_errors(void **state)
{
	uint8_t *data = NULL;
	size_t len;

	assert_int_equal(read_file(path, 10, &data, &len), -ENOENT);
	assert_int_equal(read_file(folder, 1 << 20, &data, &len), -EISDIR);
	assert_null(data);
}

static void test_write_errors_leave_nothing(void **state)
{
	assert_int_equal(write_file("/nonexistent/file", "x", 1, 0644), -ENOENT);
	assert_int_equal(write_file(folder, "x", 1, 0644), -EISDIR);
	assert_int_equal(files_in_folder(), 0);
}

static void test_a_pipe_is_written_to_and_not_replaced(void **state)
{
	struct stat st;
	char text[10] = {0};

	assert_int_equal(mkfifo(path, 0600), 0);
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_NONBLOCK);
	assert_int_equal(write_file(path, "hello", 5, 0644), 0);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_string_equal(text, "hello");
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_a_link_stays_a_link(void **state)
{
	struct stat st;

	assert_int_equal(write_file(path, "old", 3, 0644), 0);
	assert_int_equal(symlink("file", other), 0);
	assert_int_equal(write_file(other, "new", 3, 0644), 0);
	assert_content(path, "new");
	assert_int_equal(lstat(other, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
}

/* -- messages -------------------------------------------------------------------------------- */

/* What goes to stderr from begin to end, as a string of the caller's. */
static int old_stderr;

static void stderr_begin(void)
{
	int fd = open(other, O_RDWR | O_CREAT | O_TRUNC, 0600);

	fflush(stderr);
	old_stderr = dup(STDERR_FILENO);
	dup2(fd, STDERR_FILENO);
	close(fd);
}

static char *stderr_end(void)
{
	uint8_t *text;
	size_t len;

	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	assert_int_equal(read_file(other, 10000, &text, &len), 0);
	return (char *)text;
}

static void test_messages_name_the_command(void **state)
{
	stderr_begin();
	int failed = cli_fail("show", "%s: no such file", "a.torrent");
	int usage = cli_usage("mount", "%s: unknown option", "-o x");
	CLEANUP_FREE char *text = stderr_end();
	assert_int_equal(failed, 1);
	assert_int_equal(usage, 2);
	assert_string_equal(text, "p2pfs show: a.torrent: no such file\n"
				  "p2pfs mount: -o x: unknown option\n"
				  "Try 'p2pfs mount --help'.\n");
}

static void test_bad_options_are_named(void **state)
{
	static const struct option options[] = {
		{"files", no_argument, NULL, 'f'}, {"out", required_argument, NULL, 'o'}, {0}};
	static const struct {
		const char *arg, *want;
	} table[] = {
		{"-x", "p2pfs show: -x: no such option\n"},
		{"-fx", "p2pfs show: -x: no such option\n"},
		{"--none", "p2pfs show: --none: no such option\n"},
		{"--files=1", "p2pfs show: --files=1: takes no value\n"},
		{"-o", "p2pfs show: -o: needs a value\n"},
		{"--out", "p2pfs show: --out: needs a value\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char name[] = "show", *arg = strdup(table[i].arg), *argv[] = {name, arg, NULL};
		int c, status = -1;
		optind = 0;
		stderr_begin();
		while ((c = getopt_long(2, argv, ":fo:", options, NULL)) != -1)
			if (c == '?' || c == ':')
				status = cli_bad_option("show", c, argv);
		CLEANUP_FREE char *text = stderr_end();
		assert_int_equal(status, EXIT_USAGE);
		*(strchr(text, '\n') + 1) = '\0';
		assert_string_equal(text, table[i].want);
		free(arg);
	}
}

static void test_no_progress_without_a_terminal(void **state)
{
	struct progress p;
	int old = dup(STDERR_FILENO);
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	dup2(fd, STDERR_FILENO);
	progress_begin(&p, "hashing", 100);
	progress_show(&p, 50);
	progress_end(&p);
	dup2(old, STDERR_FILENO);
	close(old);
	assert_false(p.on);
	assert_int_equal(lseek(fd, 0, SEEK_END), 0);
	close(fd);
}

static void test_progress_on_a_terminal(void **state)
{
	int terminal = posix_openpt(O_RDWR | O_NOCTTY);
	if (terminal < 0 || grantpt(terminal) || unlockpt(terminal))
		skip();
	int fd = open(ptsname(terminal), O_RDWR | O_NOCTTY), old = dup(STDERR_FILENO);
	struct progress p;
	char text[1000] = {0};

	dup2(fd, STDERR_FILENO);
	progress_begin(&p, "hashing", 0); /* nothing to do is all done */
	progress_end(&p);
	dup2(old, STDERR_FILENO);
	assert_true(read(terminal, text, sizeof(text) - 1) > 0);
	close(old);
	close(fd);
	close(terminal);
	assert_non_null(strstr(text, "hashing [##############################] 100 %"));
}

#define FILE_TEST(fn) cmocka_unit_test_setup_teardown(fn, file_setup, file_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_rates),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_formats),
		FILE_TEST(test_write_then_read),
		FILE_TEST(test_read_at_its_limit),
		FILE_TEST(test_read_of_what_has_no_size),
		FILE_TEST(test_read_errors),
		FILE_TEST(test_write_errors_leave_nothing),
		FILE_TEST(test_a_pipe_is_written_to_and_not_replaced),
		FILE_TEST(test_a_link_stays_a_link),
		FILE_TEST(test_messages_name_the_command),
		FILE_TEST(test_bad_options_are_named),
		FILE_TEST(test_no_progress_without_a_terminal),
		FILE_TEST(test_progress_on_a_terminal),
	};
	if (!mkdtemp(folder))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(folder);
	return failed;
}
