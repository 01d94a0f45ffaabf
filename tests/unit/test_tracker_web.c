/* SPDX-License-Identifier: MIT */
/* What the tracker answers over HTTP, with a clock of the test's own. */
#include "tracker/web.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "tests/unit/tracker_fixture.h"

#include <stdlib.h>

static struct service service;

static int setup(void **state)
{
	struct table_config big = config;
	char *error = NULL;
	big.max_torrents = 100000;
	assert_int_equal(lists_load(&(struct lists_paths) {0}, &service.lists, &error), 0);
	service.config = (struct service_config) {.numwant_max = 200, .full_scrape = true};
	service.table = table_new(&big, T0);
	return 0;
}

static int teardown(void **state)
{
	table_free(service.table);
	lists_free(service.lists);
	return 0;
}

static size_t scrape_all(uint32_t now)
{
	static const char request[] = "GET /scrape HTTP/1.1\r\n\r\n";
	CLEANUP(buf_done) struct buf body = {0};
	struct http_reply reply = {.status = 200, .body = &body};
	struct web web = {.service = &service};
	struct http_head head;
	const char *why;
	struct addr from = peer(0, 0, false).from;
	assert_int_equal(http_head_parse(request, sizeof(request) - 1, &head, &why),
		sizeof(request) - 1);
	web_answer(&web, WEB_TRACKER, &head, &from, false, now, &reply);
	assert_int_equal(reply.status, 200);
	return body.len;
}

static void add(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		say(service.table, peer(i, 0, false), T0);
}

static void test_a_full_scrape_of_few_is_always_new(void **state)
{
	size_t before = scrape_all(T0);
	add(0, 100);
	size_t then = scrape_all(T0);
	assert_true(then > before);
	add(100, 200);
	assert_true(scrape_all(T0) > then);
}

/* Of 20,000 more each time it costs a second of rest. */
static void test_a_full_scrape_of_many_is_made_seldom(void **state)
{
	add(0, 50000);
	size_t then = scrape_all(T0 + 10);
	add(50000, 50001);
	assert_int_equal(scrape_all(T0 + 10), then);
	assert_int_equal(scrape_all(T0 + 11), then);
	assert_true(scrape_all(T0 + 12) > then);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_full_scrape_of_few_is_always_new, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_full_scrape_of_many_is_made_seldom, setup,
			teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
