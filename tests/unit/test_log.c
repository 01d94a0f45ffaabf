// SPDX-License-Identifier: MIT
/* Messages: whole lines, one write each, safe to print; categories; the file; quoting; secrets. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static char folder[] = "/tmp/test_log.XXXXXX";
static int old_stderr = -1;

/* What goes to stderr goes to `folder`/stderr during a test. */
static int setup(void **state)
{
	CLEANUP_FREE char *path = xasprintf("%s/stderr", folder);
	CLEANUP_CLOSE int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_APPEND, 0600);

	log_debug_mask = 0;
	log_set_name("p2pfs");
	fflush(stderr);
	old_stderr = dup(STDERR_FILENO);
	return fd < 0 || old_stderr < 0 || dup2(fd, STDERR_FILENO) < 0;
}

static int teardown(void **state)
{
	dup2(old_stderr, STDERR_FILENO);
	close(old_stderr);
	return 0;
}

static char *text_of(const char *name)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s", folder, name);
	uint8_t *data;
	size_t len;

	int err = read_file(path, 1 << 20, &data, &len);
	if (err)
		fail_msg("%s: %s", path, strerror(-err));
	return (char *)data;
}

static void assert_stderr(const char *want)
{
	CLEANUP_FREE char *text = text_of("stderr");

	assert_string_equal(text, want);
}

static void test_kinds(void **state)
{
	log_error("store: %s", "full");
	log_set_name("p2pfs mount");
	log_warn("tracker: %d seconds", 5);
	log_info("%s", "ready");
	assert_stderr("p2pfs: error: store: full\n"
		      "p2pfs mount: warning: tracker: 5 seconds\n"
		      "p2pfs mount: ready\n");
}

static void test_errno_survives_and_prints(void **state)
{
	errno = ENOSPC;
	log_error("write: %m");
	assert_int_equal(errno, ENOSPC);
	assert_stderr("p2pfs: error: write: No space left on device\n");
}

static void test_no_message_makes_two_lines(void **state)
{
	log_info("a\nb\r\x1b[31mc\x7f\t\xc3\xbc");
	assert_stderr("p2pfs: a?b??[31mc??\xc3\xbc\n");
}

static void test_a_long_message_is_cut(void **state)
{
	char *much = xcalloc(1, 10000);

	memset(much, 'x', 9999);
	log_info("%s", much);
	log_info("next");
	CLEANUP_FREE char *text = text_of("stderr");
	char *end = strchr(text, '\n');
	assert_non_null(end);
	assert_in_range(end - text, 4000, 4095);
	assert_memory_equal(end - 4, "x...\n", 5);
	assert_string_equal(end, "\np2pfs: next\n");
	free(much);
}

static int evaluated;

static int evaluate(void)
{
	return ++evaluated;
}

static void test_debug_lines_only_of_enabled_categories(void **state)
{
	log_debug(LOG_PEER, "no %d", evaluate());
	assert_int_equal(log_debug_enable("tracker,peer"), 0);
	log_debug(LOG_PEER, "yes %d", evaluate());
	log_debug(LOG_TRACKER, "yes %d", evaluate());
	log_debug(LOG_DISK, "no %d", evaluate());
	assert_int_equal(evaluated, 2); /* a line that is off costs nothing */
	assert_stderr("p2pfs: peer: yes 1\np2pfs: tracker: yes 2\n");
}

static void test_categories(void **state)
{
	static const char *const bad[] = {"", "peers", "pee", "peer,", ",peer", "peer,,disk",
		"peer disk", "ALL", "peer,nothing"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(log_debug_enable(bad[i]), -EINVAL);
		assert_int_equal(log_debug_mask, 0);
	}
	static const char *const good[LOG_CATEGORIES] = {
		"peer", "tracker", "disk", "fuse", "pick", "http"};
	unsigned mask = 0;
	for (unsigned i = 0; i < LOG_CATEGORIES; i++) {
		assert_int_equal(log_debug_enable(good[i]), 0);
		mask |= 1u << i;
		assert_int_equal(log_debug_mask, mask);
	}
	log_debug_mask = 0;
	assert_int_equal(log_debug_enable("all"), 0);
	assert_int_equal(log_debug_mask, (1u << LOG_CATEGORIES) - 1);
}

static const char quote_all[] = "a\\b\n\0\x1b\x7e\x7f\xff z";

static void test_quote(void **state)
{
	assert_string_equal(
		log_quote(quote_all, sizeof(quote_all) - 1), "a\\x5cb\\x0a\\x00\\x1b~\\x7f\\xff z");
	assert_string_equal(log_quote("", 0), "");
	assert_string_equal(log_quote(NULL, 0), "");
}

static void test_quote_is_cut_at_its_size(void **state)
{
	char much[2000];

	memset(much, 'x', sizeof(much));
	const char *q = log_quote(much, sizeof(much));
	assert_true(strlen(q) < 512);
	assert_string_equal(q + strlen(q) - 4, "x...");
	memset(much, 0xff, sizeof(much));
	q = log_quote(much, sizeof(much));
	assert_true(strlen(q) < 512);
	assert_string_equal(q + strlen(q) - 7, "\\xff...");
}

static void test_four_quotes_at_once(void **state)
{
	const char *a = log_quote("a", 1), *b = log_quote("b", 1), *c = log_quote("c", 1);
	const char *d = log_quote_url("d");

	assert_string_equal(a, "a");
	assert_string_equal(b, "b");
	assert_string_equal(c, "c");
	assert_string_equal(d, "d");
}

static void test_urls_lose_their_secrets(void **state)
{
	static const char *const table[][2] = {
		{"http://tracker.example:6969/announce", "http://tracker.example:6969/announce"},
		{"udp://[2001:db8::1]:6969", "udp://[2001:db8::1]:6969"},
		{"https://host/announce.php", "https://host/announce.php"},
		{"http://u:p@host/announce", "http://***@host/announce"},
		{"http://u:p%40@x@host:1/", "http://***@host:1/"},
		{"http://host/a@b", "http://host/a@b"},
		{"http://h/0123456789abcdef0123456789abcdef/announce", "http://h/***/announce"},
		{"http://h/announce/0123456789abcdef", "http://h/announce/***"},
		{"http://h/s3cretkey/announce", "http://h/***/announce"},
		{"http://h/s3cretkey/scrape", "http://h/***/scrape"},
		{"http://h/announce?passkey=x", "http://h/announce?***"},
		{"http://h/announce?info_hash=%01&key=5", "http://h/announce?***"},
		{"http://h?k=v", "http://h?***"},
		{"http://h/a#frag", "http://h/a#***"},
		{"http://h/images/debian-12.raw", "http://h/images/debian-12.raw"},
		{"http://h/dGhpc19pc19hX2tleQ==/debian-12.raw", "http://h/***/debian-12.raw"},
		{"http://h/a//b/", "http://h/a//b/"},
		{"u:p@host/announce", "***@host/announce"},
		{"", ""},
		{"http://h/\x1b[0m\n", "http://h/\\x1b[0m\\x0a"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++)
		assert_string_equal(log_quote_url(table[i][0]), table[i][1]);
}

/* Last: from here on messages go to a file. */
static void test_file_with_times_reopened(void **state)
{
	CLEANUP_FREE char *path = xasprintf("%s/log", folder), *old = xasprintf("%s/old", folder);
	struct stat st;

	log_reopen(); /* nothing to do */
	assert_int_equal(log_open("/nonexistent/log"), -ENOENT);
	log_info("still on stderr");
	assert_stderr("p2pfs: still on stderr\n");

	assert_int_equal(log_open(path), 0);
	log_info("first");
	assert_int_equal(rename(path, old), 0);
	log_info("second");
	log_reopen();
	log_info("third");
	CLEANUP_FREE char *before = text_of("old"), *after = text_of("log");
	unsigned n, year;
	assert_int_equal(
		sscanf(before, "%4u-%*2u-%*2uT%*2u:%*2u:%*2u.%*3uZ p2pfs: first\n%n", &year, &n),
		1);
	assert_in_range(year, 2024, 2200);
	assert_non_null(strstr(before + n, "Z p2pfs: second\n"));
	assert_null(strstr(before, "third"));
	assert_non_null(strstr(after, "Z p2pfs: third\n"));
	assert_int_equal(strlen(after), strlen("2026-01-02T03:04:05.678Z p2pfs: third\n"));
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07, 0); /* nobody else's to read */

	/* A log that cannot be opened again goes on where it was. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	log_reopen();
	log_info("fourth");
	assert_int_equal(rmdir(path), 0);
	log_reopen();
	log_info("fifth");
	CLEANUP_FREE char *last = text_of("log");
	assert_non_null(strstr(last, "Z p2pfs: fifth\n"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(unlink(old), 0);
}

#define LOG_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LOG_TEST(test_kinds),
		LOG_TEST(test_errno_survives_and_prints),
		LOG_TEST(test_no_message_makes_two_lines),
		LOG_TEST(test_a_long_message_is_cut),
		LOG_TEST(test_debug_lines_only_of_enabled_categories),
		LOG_TEST(test_categories),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_quote_is_cut_at_its_size),
		cmocka_unit_test(test_four_quotes_at_once),
		cmocka_unit_test(test_urls_lose_their_secrets),
		LOG_TEST(test_file_with_times_reopened),
	};
	if (!mkdtemp(folder))
		return 1;
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	CLEANUP_FREE char *path = xasprintf("%s/stderr", folder);
	unlink(path);
	rmdir(folder);
	return failed;
}
