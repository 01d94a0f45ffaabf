// SPDX-License-Identifier: MIT
/* Allocation: sizes of 0, copies, growing; out of memory aborts. */
#include "tests/unit/unit.h"

#include "base/mem.h"

#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_size_zero_is_a_pointer(void **state)
{
	void *p[] = {
		xmalloc(0), xcalloc(0, 8), xcalloc(8, 0), xrealloc(NULL, 0, 8), xmemdup(NULL, 0)};

	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		assert_non_null(p[i]);
		free(p[i]);
	}
}

static void test_xcalloc_gives_zeros(void **state)
{
	uint8_t *p = xcalloc(100, 3);

	for (size_t i = 0; i < 300; i++)
		assert_int_equal(p[i], 0);
	free(p);
}

static void test_copies(void **state)
{
	char *s = xstrdup("piece"), *cut = xstrndup("piece", 3), *whole = xstrndup("piece", 50);
	char *text = xasprintf("%s %d", "block", 7);

	assert_string_equal(s, "piece");
	assert_string_equal(cut, "pie");
	assert_string_equal(whole, "piece");
	assert_string_equal(text, "block 7");
	free(s);
	free(cut);
	free(whole);
	free(text);
}

static void test_xstrndup_reads_no_further_than_n(void **state)
{
	char *three = malloc(3); /* a sanitizer sees a read of the fourth */

	memcpy(three, "abc", 3);
	char *s = xstrndup(three, 3);
	assert_string_equal(s, "abc");
	free(s);
	free(three);
}

static void test_grow_keeps_what_was_there(void **state)
{
	uint32_t *array = NULL;
	size_t n = 0, cap = 0;

	for (uint32_t i = 0; i < 1000; i++) {
		GROW(array, n, cap);
		array[n++] = i;
	}
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(array[i], i);
	assert_true(cap >= 1000 && cap < 2048);
	free(array);
}

/* Does `fn` end the process?  (Of a signal, or as a sanitizer ends it.) */
static bool dies(void (*fn)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		signal(SIGABRT, SIG_DFL); /* cmocka catches it */
		close(STDERR_FILENO);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status != 0;
}

static void allocate_overflow(void)
{
	volatile size_t huge = SIZE_MAX / 2;

	free(xrealloc(NULL, huge, 4));
}

static void test_a_product_that_overflows_aborts(void **state)
{
	assert_true(dies(allocate_overflow));
}

static void test_min_max_evaluate_once(void **state)
{
	int i = 1;

	assert_int_equal(MIN(i++, 5), 1);
	assert_int_equal(i, 2);
	assert_int_equal(MAX(i++, 1), 2);
	assert_int_equal(i, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size_zero_is_a_pointer),
		cmocka_unit_test(test_xcalloc_gives_zeros),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_xstrndup_reads_no_further_than_n),
		cmocka_unit_test(test_grow_keeps_what_was_there),
		cmocka_unit_test(test_a_product_that_overflows_aborts),
		cmocka_unit_test(test_min_max_evaluate_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
