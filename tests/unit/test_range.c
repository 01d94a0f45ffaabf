// SPDX-License-Identifier: MIT
/* Content-Range: exactly what was asked for, and nothing else. */
#include "tests/unit/unit.h"

#include "swarm/range.h"
#include "base/mem.h"

#include <string.h>

static void test_table(void **state)
{
	static const struct {
		const char *value;
		uint64_t from, len, total;
		const char *why; /* NULL: fits */
	} table[] = {
		{"bytes 0-9/100", 0, 10, 100, NULL},
		{"bytes 0-9/100", 0, 10, 0, NULL},
		{"bytes 0-9/*", 0, 10, 100, NULL},
		{"Bytes 90-99/100", 90, 10, 100, NULL},
		{"bytes  0-9/100 ", 0, 10, 100, NULL},
		{"bytes 9223372036854775806-9223372036854775806/9223372036854775807",
			9223372036854775806ull, 1, 9223372036854775807ull, NULL},
		{NULL, 0, 10, 100, "no Content-Range"},
		{"bytes 0-8/100", 0, 10, 100, "other bytes"},
		{"bytes 0-10/100", 0, 10, 100, "other bytes"},
		{"bytes 1-10/100", 0, 10, 100, "other bytes"},
		{"bytes 0-99/100", 0, 10, 100, "other bytes"},
		{"bytes 0-9/101", 0, 10, 100, "another size"},
		{"bytes 0-9/99", 0, 10, 100, "another size"},
		{"bytes 0-9/9", 0, 10, 0, "malformed"}, /* ends behind the file */
		{"bytes 9-0/100", 0, 10, 100, "malformed"},
		{"bytes */100", 0, 10, 100, "malformed"},
		{"bytes 0-9", 0, 10, 100, "malformed"},
		{"bytes 0-9/", 0, 10, 100, "malformed"},
		{"bytes -9/100", 0, 10, 100, "malformed"},
		{"bytes 0-/100", 0, 10, 100, "malformed"},
		{"bytes +0-9/100", 0, 10, 100, "malformed"},
		{"bytes 0x0-9/100", 0, 10, 100, "malformed"},
		{"bytes 0-9/100x", 0, 10, 100, "malformed"},
		{"bytes 0-9/**", 0, 10, 100, "malformed"},
		{"bytes=0-9/100", 0, 10, 100, "malformed"},
		{"blocks 0-9/100", 0, 10, 100, "malformed"},
		{"bytes", 0, 10, 100, "malformed"},
		{"", 0, 10, 100, "malformed"},
		{"bytes 0-18446744073709551616/100", 0, 10, 0, "malformed"},
		{"bytes 0-9223372036854775808/*", 0, 10, 0, "malformed"},
		{"bytes 00000000000000000000000000000000-9/100", 0, 10, 100, "malformed"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const char *why =
			range_check(table[i].value, table[i].from, table[i].len, table[i].total);
		if (!why != !table[i].why || (why && !strstr(why, table[i].why)))
			fail_msg("%s: %s", table[i].value ? table[i].value : "none",
				why ? why : "fits");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
