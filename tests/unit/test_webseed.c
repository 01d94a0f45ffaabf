// SPDX-License-Identifier: MIT
/* Web seeds: which URLs and ranges are asked for, and that blocks come out whole, once, in order.
 */
#include "tests/unit/unit.h"
#include "tests/unit/webseed_fixture.h"

#include <errno.h>
#include <stdio.h>

struct fixture {
	struct http http;
	struct fake_torrent torrent;
	struct webseed *seed;
	/* What has come. */
	uint32_t first, blocks; /* the number of the block that must come next, and how many came */
	unsigned ends;
	char error[300];
	void (*on_block)(struct fixture *f, struct webseed_fetch *fetch); /* or NULL */
	void (*on_end)(struct fixture *f);
};

static void on_block(void *arg, struct webseed_fetch *fetch, uint32_t piece, uint32_t block,
	const uint8_t *data, uint32_t len)
{
	struct fixture *f = arg;
	uint32_t number = piece * f->torrent.layout.blocks_per_piece + block;

	if (!fake_block_is_right(&f->torrent, piece, block, data, len))
		fail_msg("block %u of piece %u is wrong", block, piece);
	if (number < f->first)
		fail_msg("block %u after %u", number, f->first);
	f->first = number + 1;
	f->blocks++;
	if (f->on_block)
		f->on_block(f, fetch);
}

static void on_done(void *arg, struct webseed_fetch *fetch, const char *error)
{
	struct fixture *f = arg;

	f->ends++;
	snprintf(f->error, sizeof(f->error), "%s", error ? error : "");
	if (f->on_end)
		f->on_end(f);
}

static struct fixture *setup(enum fake_kind kind, const char *url)
{
	struct fixture *f = xcalloc(1, sizeof(*f));
	struct webseed_callbacks cb = {.block = on_block, .done = on_done, .arg = f};
	const char *why;

	if (loop_new(&f->http.loop) < 0)
		abort();
	fake_torrent(&f->torrent, kind);
	if (webseed_new(&f->http, url, &f->torrent.layout, &cb, &f->seed, &why) < 0)
		fail_msg("%s: %s", url, why);
	return f;
}

static void teardown(struct fixture *f)
{
	webseed_free(f->seed);
	assert_int_equal(f->http.n, 0); /* nothing is left under way */
	loop_free(f->http.loop);
	free(f);
}

static struct http_request *request(struct fixture *f)
{
	fake_turn(&f->http);
	assert_int_equal(f->http.n, 1);
	return f->http.requests[0];
}

static void assert_asks(
	struct fixture *f, const char *url, uint64_t from, uint64_t len, uint64_t total)
{
	struct http_request *r = request(f);

	assert_string_equal(r->url, url);
	assert_int_equal(r->options.range_from, from);
	assert_int_equal(r->options.range_len, len);
	assert_int_equal(r->options.range_total, total);
	assert_false(r->options.tracker);
}

/* Sends what was asked for in portions, and ends the transfer. */
static void serve(struct fixture *f, uint64_t file_offset, size_t portion, int status)
{
	struct http_request *r = request(f);
	uint64_t from = r->options.range_from, end = from + r->options.range_len;

	for (uint64_t at = from; at < end;) {
		size_t n = (size_t)MIN((uint64_t)portion, end - at);
		if (!fake_data(r, status, f->torrent.bytes + file_offset + at, n))
			return;
		at += n;
	}
	fake_done(r, NULL, status);
}

static void get(struct fixture *f, uint32_t first, uint32_t n)
{
	assert_non_null(webseed_get(f->seed, first, n));
	assert_int_equal(f->blocks, 0); /* nothing from inside of the call */
}

static void assert_ended(struct fixture *f, uint32_t blocks, const char *error)
{
	fake_turn(&f->http);
	assert_int_equal(f->ends, 1);
	assert_int_equal(f->blocks, blocks);
	if (!strstr(f->error, error) || (!*error && *f->error))
		fail_msg("\"%s\" says nothing of \"%s\"", f->error, error);
	assert_int_equal(webseed_active(f->seed), 0);
}

#define URL "http://192.0.2.1/dir/file"
#define FOLDER "http://192.0.2.1/dir/"

/* -- what is asked for ------------------------------------------------------------------- */

static void test_a_run_of_blocks_is_one_request(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	get(f, 1, 6);
	assert_asks(f, URL, 16384, 6 * 16384, 200000);
	serve(f, 0, 65536, 206);
	assert_ended(f, 6, "");
	teardown(f);
}

static void test_the_end_of_the_file(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	get(f, 11, 1000);
	assert_asks(f, URL, 11 * 16384, 200000 - 11 * 16384, 200000);
	serve(f, 0, 65536, 206);
	assert_ended(f, 2, "");
	teardown(f);
}

static void test_blocks_come_whole_however_bytes_come(void **state)
{
	static const size_t portions[] = {1, 7, 16383, 16384, 16385, 50000, 1000000};

	for (size_t i = 0; i < ARRAY_SIZE(portions); i++) {
		struct fixture *f = setup(FAKE_SINGLE, URL);
		get(f, 0, 13);
		serve(f, 0, portions[i], 206);
		assert_ended(f, 13, "");
		teardown(f);
	}
}

static void test_a_folder_gets_the_name(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, FOLDER);

	get(f, 0, 1);
	assert_asks(f, FOLDER "n%C3%A4me%20%231", 0, 16384, 200000);
	teardown(f);
}

static void test_pieces_that_are_no_multiple_of_a_block(void **state)
{
	struct fixture *f = setup(FAKE_ODD, URL);

	/* 40000 = 2 * 16384 + 7232: pieces of three blocks, the third short. */
	assert_int_equal(f->torrent.layout.blocks_per_piece, 3);
	get(f, 2, 1);
	assert_asks(f, URL, 32768, 7232, 100001);
	serve(f, 0, 5000, 206);
	assert_ended(f, 1, "");
	teardown(f);

	f = setup(FAKE_ODD, URL);
	get(f, 0, 100);
	assert_asks(f, URL, 0, 100001, 100001);
	serve(f, 0, 5000, 206);
	assert_ended(f, 8, "");
	teardown(f);
}

static void test_several_files_with_padding(void **state)
{
	struct fixture *f = setup(FAKE_PADDED, FOLDER);

	get(f, 0, UINT32_MAX);
	assert_asks(f, FOLDER "n%C3%A4me%20%231/a/b%20c", 0, 20000, 20000);
	serve(f, 0, 10000, 206);
	assert_asks(f, FOLDER "n%C3%A4me%20%231/d%25", 0, 70000, 70000);
	assert_int_equal(f->blocks, 4); /* the third and fourth are padding alone */
	serve(f, 65536, 10000, 206);
	assert_asks(f, FOLDER "n%C3%A4me%20%231/e", 0, 10, 10);
	serve(f, 135536, 10000, 206);
	assert_asks(f, FOLDER "n%C3%A4me%20%231/f%3F", 0, 16384, 16384);
	serve(f, 196608, 10000, 206);
	assert_ended(f, 12 + 3, "");
	assert_int_equal(f->http.started, 4);
	teardown(f);
}

static void test_padding_alone_asks_nobody(void **state)
{
	struct fixture *f = setup(FAKE_PADDED, FOLDER);

	get(f, 2, 2);
	assert_ended(f, 2, "");
	assert_int_equal(f->http.started, 0);
	teardown(f);
}

static void test_gaps_of_v2_are_stepped_over(void **state)
{
	struct fixture *f = setup(FAKE_V2, "http://192.0.2.1/dir");

	get(f, 1, 5);
	assert_asks(f, "http://192.0.2.1/dir/n%C3%A4me%20%231/a", 16384, 20000 - 16384, 20000);
	serve(f, 0, 1000, 206);
	assert_asks(f, "http://192.0.2.1/dir/n%C3%A4me%20%231/b", 0, 2 * 16384, 65536);
	serve(f, 65536, 1000, 206);
	assert_ended(f, 3, "");
	teardown(f);

	f = setup(FAKE_V2, FOLDER);
	get(f, 2, 2); /* stand for nothing */
	assert_ended(f, 0, "");
	teardown(f);
}

static void test_nothing_and_beyond_the_end(void **state)
{
	static const uint32_t table[][2] = {{0, 0}, {UINT32_MAX, 1}, {16, UINT32_MAX}};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct fixture *f = setup(FAKE_SINGLE, URL);
		get(f, table[i][0], table[i][1]);
		assert_ended(f, 0, "");
		teardown(f);
	}
}

/* -- what is answered -------------------------------------------------------------------- */

static void test_200_is_fine_for_a_whole_file(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	get(f, 0, 13);
	serve(f, 0, 65536, 200);
	assert_ended(f, 13, "");
	teardown(f);
}

static void test_200_is_refused_for_a_part(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	get(f, 0, 12);
	serve(f, 0, 65536, 200);
	assert_ended(f, 0, "ignores ranges (HTTP status 200)");
	teardown(f);
}

static void test_a_longer_file(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	get(f, 0, 13);
	struct http_request *r = request(f);
	assert_true(fake_data(r, 200, f->torrent.bytes, 200000));
	assert_false(fake_data(r, 200, f->torrent.bytes, 1));
	assert_ended(f, 13, "longer");
	teardown(f);
}

static void test_a_shorter_file(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	get(f, 0, 13);
	struct http_request *r = request(f);
	assert_true(fake_data(r, 200, f->torrent.bytes, 20000));
	fake_done(r, NULL, 200);
	assert_ended(f, 1, "20000 bytes of 200000");
	teardown(f);
}

static void test_statuses(void **state)
{
	static const int statuses[] = {0, 204, 304, 403, 404, 416, 500, 503};

	for (size_t i = 0; i < ARRAY_SIZE(statuses); i++) {
		struct fixture *f = setup(FAKE_SINGLE, URL);
		char text[40];
		get(f, 0, 13);
		struct http_request *r = request(f);
		assert_true(fake_data(r, statuses[i], (const uint8_t *)"<html>", 6));
		fake_done(r, NULL, statuses[i]);
		snprintf(text, sizeof(text), "HTTP status %d", statuses[i]);
		assert_ended(f, 0, text);
		teardown(f);
	}
}

static void test_a_transfer_that_fails(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	get(f, 0, 13);
	struct http_request *r = request(f);
	assert_true(fake_data(r, 206, f->torrent.bytes, 20000));
	fake_done(r, "nothing came for 10000 ms", 0);
	assert_ended(f, 1, "nothing came");
	teardown(f);
}

/* -- callbacks that call back ------------------------------------------------------------ */

static void cancel_it(struct fixture *f, struct webseed_fetch *fetch)
{
	webseed_cancel(fetch);
}

static void free_all(struct fixture *f, struct webseed_fetch *fetch)
{
	webseed_free(f->seed);
	f->seed = NULL;
}

static void get_more(struct fixture *f, struct webseed_fetch *fetch)
{
	f->on_block = NULL;
	assert_non_null(webseed_get(f->seed, 12, 1));
}

static void free_at_end(struct fixture *f)
{
	free_all(f, NULL);
}

static void test_cancelled_by_the_block_callback(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	f->on_block = cancel_it;
	get(f, 0, 13);
	serve(f, 0, 100000, 206);
	fake_turn(&f->http);
	assert_int_equal(f->blocks, 1);
	assert_int_equal(f->ends, 0);
	assert_int_equal(webseed_active(f->seed), 0);
	teardown(f);
}

static void test_cancelled_while_padding_is_given(void **state)
{
	struct fixture *f = setup(FAKE_PADDED, FOLDER);

	f->on_block = cancel_it;
	get(f, 2, 2);
	fake_turn(&f->http);
	assert_int_equal(f->blocks, 1);
	assert_int_equal(f->ends, 0);
	teardown(f);
}

static void test_freed_by_the_block_callback(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	f->on_block = free_all;
	get(f, 0, 13);
	serve(f, 0, 100000, 206);
	assert_int_equal(f->blocks, 1);
	teardown(f);
}

static void test_freed_by_the_end(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	f->on_end = free_at_end;
	get(f, 0, 13);
	serve(f, 0, 100000, 206);
	fake_turn(&f->http);
	assert_int_equal(f->ends, 1);
	teardown(f);
}

static void test_a_fetch_started_by_the_block_callback(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	f->on_block = get_more;
	get(f, 0, 2);
	serve(f, 0, 100000, 206);
	fake_turn(&f->http);
	serve(f, 0, 100000, 206);
	fake_turn(&f->http);
	assert_int_equal(f->blocks, 3);
	assert_int_equal(f->ends, 2);
	teardown(f);
}

static void test_cancelled_and_freed_from_outside(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	webseed_cancel(webseed_get(f->seed, 0, 1)); /* before it has begun */
	struct webseed_fetch *fetch = webseed_get(f->seed, 0, 1);
	request(f);
	webseed_cancel(fetch);
	assert_int_equal(f->http.n, 0);
	get(f, 0, 1);
	request(f);
	teardown(f); /* cancels it */
}

static void test_fetches_at_once(void **state)
{
	struct fixture *f = setup(FAKE_SINGLE, URL);

	for (uint32_t i = 0; i < WEBSEED_MAX_FETCHES; i++)
		assert_non_null(webseed_get(f->seed, i, 1));
	assert_null(webseed_get(f->seed, 9, 1));
	assert_int_equal(webseed_active(f->seed), WEBSEED_MAX_FETCHES);
	fake_turn(&f->http);
	assert_int_equal(f->http.n, WEBSEED_MAX_FETCHES);
	fake_done(f->http.requests[2], "gone", 0);
	assert_non_null(webseed_get(f->seed, 9, 1));
	teardown(f);
}

/* -- URLs -------------------------------------------------------------------------------- */

static void test_urls_refused(void **state)
{
	static const struct {
		enum fake_kind kind;
		const char *url, *why;
	} table[] = {
		{FAKE_SINGLE, "", "scheme"},
		{FAKE_SINGLE, "ftp://h/f", "scheme"},
		{FAKE_SINGLE, "udp://h:1/f", "scheme"},
		{FAKE_SINGLE, "http://169.254.169.254/latest/", "link-local"},
		{FAKE_SINGLE, "http://0.0.0.0/", "no host"},
		{FAKE_SINGLE, "http://h/d/?q=/", "a folder's URL with a query"},
		{FAKE_PADDED, "http://h/d?q", "a folder's URL with a query"},
		{FAKE_PADDED, "http://h/d#f", "a folder's URL with a query"},
	};
	const struct webseed_callbacks cb = {.block = on_block, .done = on_done};
	struct fake_torrent t;
	struct webseed *w;
	const char *why;

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		fake_torrent(&t, table[i].kind);
		if (webseed_new(NULL, table[i].url, &t.layout, &cb, &w, &why) != -EINVAL)
			fail_msg("%s: taken", table[i].url);
		if (!strstr(why, table[i].why))
			fail_msg("%s: %s", table[i].url, why);
	}
	char *url = malloc(TORRENT_MAX_URL + 2);
	memset(url, 'a', TORRENT_MAX_URL + 1);
	memcpy(url, "http://h/", 9);
	url[TORRENT_MAX_URL + 1] = '\0';
	fake_torrent(&t, FAKE_SINGLE);
	assert_int_equal(webseed_new(NULL, url, &t.layout, &cb, &w, &why), -EINVAL);
	url[TORRENT_MAX_URL] = '\0';
	assert_int_equal(webseed_new(NULL, url, &t.layout, &cb, &w, &why), 0);
	webseed_free(w);
	free(url);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_run_of_blocks_is_one_request),
		cmocka_unit_test(test_the_end_of_the_file),
		cmocka_unit_test(test_blocks_come_whole_however_bytes_come),
		cmocka_unit_test(test_a_folder_gets_the_name),
		cmocka_unit_test(test_pieces_that_are_no_multiple_of_a_block),
		cmocka_unit_test(test_several_files_with_padding),
		cmocka_unit_test(test_padding_alone_asks_nobody),
		cmocka_unit_test(test_gaps_of_v2_are_stepped_over),
		cmocka_unit_test(test_nothing_and_beyond_the_end),
		cmocka_unit_test(test_200_is_fine_for_a_whole_file),
		cmocka_unit_test(test_200_is_refused_for_a_part),
		cmocka_unit_test(test_a_longer_file),
		cmocka_unit_test(test_a_shorter_file),
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_a_transfer_that_fails),
		cmocka_unit_test(test_cancelled_by_the_block_callback),
		cmocka_unit_test(test_cancelled_while_padding_is_given),
		cmocka_unit_test(test_freed_by_the_block_callback),
		cmocka_unit_test(test_freed_by_the_end),
		cmocka_unit_test(test_a_fetch_started_by_the_block_callback),
		cmocka_unit_test(test_cancelled_and_freed_from_outside),
		cmocka_unit_test(test_fetches_at_once),
		cmocka_unit_test(test_urls_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
