// SPDX-License-Identifier: MIT
/* The store's common part, and the back ends memory and failing. */
#include "tests/unit/store_fixture.h"
#include "swarm/store.h"

#include <errno.h>

#define KIB 1024u
#define ENTRIES(a) ((uint32_t)(sizeof(a) / sizeof((a)[0])))

/* Three files on pieces of 16 KiB, with padding behind the first two; an empty one in between. */
static void make_padded(struct fixture *f)
{
	static const uint64_t lengths[] = {20000, 0, 100, 40000};
	fixture_make(f, "padded", ENTRIES(lengths), NULL, lengths, 16 * KIB, true);
}

/* -- parts ------------------------------------------------------------------------------------- */

static void test_a_range_is_cut_at_files_and_padding(void **state)
{
	struct fixture f;
	make_padded(&f);
	static const struct {
		uint32_t file;
		uint64_t at;
		size_t len, done;
	} expected[] = {
		{0, 19000, 1000, 0},
		{STORE_PADDING, 0, 12768, 1000},
		{2, 0, 100, 13768},
		{STORE_PADDING, 0, 16284, 13868},
		{3, 0, 48, 30152},
	};
	unsigned n = 0;
	for (struct store_part p = store_parts(&f.meta, 19000, 30200); store_part_next(&f.meta, &p);
		n++) {
		assert_true(n < ENTRIES(expected));
		assert_int_equal(p.file, expected[n].file);
		assert_int_equal(p.at, expected[n].at);
		assert_int_equal(p.len, expected[n].len);
		assert_int_equal(p.done, expected[n].done);
	}
	assert_int_equal(n, ENTRIES(expected));
	fixture_done(&f);
}

static void test_an_empty_range_has_no_parts(void **state)
{
	struct fixture f;
	make_padded(&f);
	struct store_part p = store_parts(&f.meta, 5, 0);
	assert_false(store_part_next(&f.meta, &p));
	fixture_done(&f);
}

static void test_padding_at_the_end_belongs_to_no_file(void **state)
{
	struct fixture f;
	make_padded(&f);
	f.meta.max_v1_space = f.meta.space + 500;
	struct store_part p = store_parts(&f.meta, f.meta.space, 500);
	assert_true(store_range_ok(&f.meta, f.meta.space, 500));
	assert_true(store_part_next(&f.meta, &p));
	assert_int_equal(p.file, STORE_PADDING);
	assert_int_equal(p.len, 500);
	assert_false(store_part_next(&f.meta, &p));
	assert_false(store_range_ok(&f.meta, f.meta.space, 501));
	fixture_done(&f);
}

static void test_ranges_end_with_the_space(void **state)
{
	struct fixture f;
	make_padded(&f);
	uint64_t space = f.meta.space;
	assert_true(store_range_ok(&f.meta, 0, space));
	assert_true(store_range_ok(&f.meta, space, 0));
	assert_false(store_range_ok(&f.meta, 0, space + 1));
	assert_false(store_range_ok(&f.meta, space + 1, 0));
	assert_false(store_range_ok(&f.meta, UINT64_MAX, 2));
	assert_false(store_range_ok(&f.meta, 1, SIZE_MAX));
	fixture_done(&f);
}

/* -- memory ------------------------------------------------------------------------------------ */

static void test_memory_gives_back_what_was_written(void **state)
{
	struct fixture f;
	struct store *s;
	make_padded(&f);
	assert_int_equal(store_open_memory(&f.meta, &s), 0);
	size_t space = (size_t)f.meta.space;
	uint8_t *data = malloc(space);
	fixture_fill(0, data, space);
	for (size_t at = 0; at < space; at += 7001)
		assert_int_equal(s->ops->write(s, at, data + at, MIN(space - at, 7001ul)), 0);
	memset(data, 0xee, space);
	assert_int_equal(s->ops->read(s, 0, data, space, false), 0);
	assert_true(fixture_check(&f, 0, data, space));
	memset(data, 0xee, space);
	assert_int_equal(s->ops->read(s, 19990, data, 20, true), 0);
	assert_true(fixture_check(&f, 19990, data, 20));
	free(data);
	store_close(s);
	fixture_done(&f);
}

static void test_memory_reads_zeros_where_nothing_was_written(void **state)
{
	struct fixture f;
	struct store *s;
	uint8_t data[100];
	make_padded(&f);
	assert_int_equal(store_open_memory(&f.meta, &s), 0);
	memset(data, 0xee, sizeof(data));
	assert_int_equal(s->ops->read(s, 100, data, sizeof(data), false), 0);
	for (size_t i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], 0);
	assert_int_equal(s->ops->used(s), 0);
	store_close(s);
	fixture_done(&f);
}

static void test_memory_takes_only_what_is_written(void **state)
{
	struct fixture f;
	struct store *s;
	const uint64_t length = 1ull << 40;
	uint8_t data[4096];
	fixture_make(&f, "huge", 1, NULL, &length, 64 * KIB * KIB, false);
	assert_int_equal(store_open_memory(&f.meta, &s), 0);
	fixture_fill(0, data, sizeof(data));
	assert_int_equal(s->ops->write(s, length - sizeof(data), data, sizeof(data)), 0);
	assert_in_range(s->ops->used(s), 4096, 4 << 20);
	assert_true(s->ops->fd(s, 0) >= 0);
	store_close(s);
	fixture_done(&f);
}

static void test_memory_refuses_ranges_past_the_space(void **state)
{
	struct fixture f;
	struct store *s;
	uint8_t data[2] = {0};
	make_padded(&f);
	assert_int_equal(store_open_memory(&f.meta, &s), 0);
	assert_int_equal(s->ops->read(s, f.meta.space - 1, data, 2, false), -EINVAL);
	assert_int_equal(s->ops->write(s, f.meta.space - 1, data, 2), -EINVAL);
	assert_int_equal(s->ops->fd(s, 0), -1);
	store_close(s);
	fixture_done(&f);
}

static void test_memory_keeps_the_record(void **state)
{
	struct fixture f;
	struct store *s;
	uint8_t *data;
	size_t len;
	make_padded(&f);
	assert_int_equal(store_open_memory(&f.meta, &s), 0);
	assert_int_equal(s->ops->load_record(s, &data, &len), -ENOENT);
	assert_int_equal(s->ops->save_record(s, "one", 3), 0);
	assert_int_equal(s->ops->save_record(s, "two!", 4), 0);
	assert_int_equal(s->ops->load_record(s, &data, &len), 0);
	assert_int_equal(len, 4);
	assert_memory_equal(data, "two!", 4);
	free(data);
	uint64_t stamp[3];
	assert_int_equal(s->ops->stamp(s, 3, stamp), 0);
	assert_int_equal(stamp[0], 40000);
	assert_string_equal(store_entry(s), "");
	assert_int_equal(store_finish(s), 0);
	store_close(s);
	fixture_done(&f);
}

/* -- failing ----------------------------------------------------------------------------------- */

struct plan {
	const char *op;
	int error;
	unsigned asked;
};

static int plan_one(void *arg, const char *op)
{
	struct plan *p = arg;
	p->asked++;
	return p->op && !strcmp(p->op, op) ? p->error : 0;
}

static int call(struct store *s, const char *op)
{
	uint8_t byte = 1, *data = NULL;
	uint64_t stamp[3];
	size_t len;
	int r = -ENOSYS;
	if (!strcmp(op, "read"))
		r = s->ops->read(s, 0, &byte, 1, false);
	else if (!strcmp(op, "write"))
		r = s->ops->write(s, 0, &byte, 1);
	else if (!strcmp(op, "sync"))
		r = s->ops->sync(s);
	else if (!strcmp(op, "save_record"))
		r = s->ops->save_record(s, "record", 6);
	else if (!strcmp(op, "load_record"))
		r = s->ops->load_record(s, &data, &len);
	else if (!strcmp(op, "stamp"))
		r = s->ops->stamp(s, 0, stamp);
	free(data);
	return r;
}

static void test_failing_fails_what_its_plan_names_and_nothing_else(void **state)
{
	static const char *const ops[] = {
		"read", "write", "sync", "save_record", "load_record", "stamp"};
	struct fixture f;
	struct store *inner, *s;
	struct plan plan = {.error = -ENOSPC};
	make_padded(&f);
	assert_int_equal(store_open_memory(&f.meta, &inner), 0);
	assert_int_equal(store_open_failing(inner, plan_one, &plan, &s), 0);
	assert_int_equal(call(s, "save_record"), 0);
	for (unsigned bad = 0; bad < ENTRIES(ops); bad++) {
		plan.op = ops[bad];
		for (unsigned i = 0; i < ENTRIES(ops); i++)
			assert_int_equal(call(s, ops[i]), i == bad ? -ENOSPC : 0);
	}
	assert_int_equal(plan.asked, 1 + ENTRIES(ops) * ENTRIES(ops));
	store_close(s);
	fixture_done(&f);
}

static void test_a_call_that_fails_does_not_reach_the_inner_store(void **state)
{
	struct fixture f;
	struct store *inner, *s;
	struct plan plan = {.op = "write", .error = -EIO};
	uint8_t byte = 0xee;
	make_padded(&f);
	assert_int_equal(store_open_memory(&f.meta, &inner), 0);
	assert_int_equal(store_open_failing(inner, plan_one, &plan, &s), 0);
	assert_int_equal(call(s, "write"), -EIO);
	assert_int_equal(inner->ops->read(inner, 0, &byte, 1, false), 0);
	assert_int_equal(byte, 0);
	assert_int_equal(s->ops->fd(s, 0), -1);
	store_close(s);
	fixture_done(&f);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_range_is_cut_at_files_and_padding),
		cmocka_unit_test(test_an_empty_range_has_no_parts),
		cmocka_unit_test(test_padding_at_the_end_belongs_to_no_file),
		cmocka_unit_test(test_ranges_end_with_the_space),
		cmocka_unit_test(test_memory_gives_back_what_was_written),
		cmocka_unit_test(test_memory_reads_zeros_where_nothing_was_written),
		cmocka_unit_test(test_memory_takes_only_what_is_written),
		cmocka_unit_test(test_memory_refuses_ranges_past_the_space),
		cmocka_unit_test(test_memory_keeps_the_record),
		cmocka_unit_test(test_failing_fails_what_its_plan_names_and_nothing_else),
		cmocka_unit_test(test_a_call_that_fails_does_not_reach_the_inner_store),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
