/* SPDX-License-Identifier: MIT */
/* The UDP tracker protocol, packet by packet. */
#include "tracker/udp_packet.h"

#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define T0 1000000u
#define URL_DATA 2

struct world {
	struct service service;
	struct connid ids;
	uint8_t out[UDP_MAX_REPLY];
};

static void fake_random(void *ret, size_t len)
{
	memset(ret, 7, len);
}

static int setup(void **state)
{
	struct world *w = xcalloc(1, sizeof(*w));
	struct table_config config = {.max_torrents = 100, .max_peers = 1000, .max_swarm = 1000,
		.pace = {5, 1800}};
	struct lists_paths none = {0};
	char *error = NULL;
	assert_int_equal(lists_load(&none, &w->service.lists, &error), 0);
	w->service.table = table_new(&config, T0);
	w->service.config.numwant_max = 100;
	connid_init(&w->ids, T0, fake_random);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;
	table_free(w->service.table);
	lists_free(w->service.lists);
	free(w);
	return 0;
}

static struct addr from4(uint8_t last)
{
	return (struct addr) {.ip = {[10] = 0xff, [11] = 0xff, [12] = 192, [14] = 2, [15] = last},
		.port = 5000};
}

static struct addr from6(uint8_t last)
{
	return (struct addr) {.ip = {0x20, [14] = last}, .port = 5000};
}

static size_t send_to(struct world *w, const struct buf *packet, struct addr from, uint32_t now)
{
	/* Of exactly its size, so that a sanitizer sees a read past it. */
	CLEANUP_FREE uint8_t *exact = xmemdup(buf_bytes(packet), packet->len);
	return udp_answer(&w->service, &w->ids, exact, packet->len, &from, now, w->out);
}

static uint64_t connect_from(struct world *w, struct addr from)
{
	CLEANUP(buf_done) struct buf b = {0};
	buf_u64(&b, 0x41727101980ull);
	buf_u32(&b, 0);
	buf_u32(&b, 99);
	assert_int_equal(send_to(w, &b, from, T0), 16);
	struct cursor c = cursor_on(w->out, 16);
	assert_int_equal(cursor_u32(&c), 0);
	assert_int_equal(cursor_u32(&c), 99);
	return cursor_u64(&c);
}

static void announce(struct buf *b, uint64_t id, uint8_t peer, uint64_t left, uint32_t numwant)
{
	buf_clear(b);
	buf_u64(b, id);
	buf_u32(b, 1);
	buf_u32(b, 77);
	buf_add(b, "hhhhhhhhhhhhhhhhhhhh", 20);
	buf_add(b, "-PF0100-00000000000", 19);
	buf_u8(b, peer);
	buf_u64(b, 0);
	buf_u64(b, left);
	buf_u64(b, 0);
	buf_u32(b, 2);
	buf_u32(b, 0x01020304); /* ip=, not allowed */
	buf_u32(b, 0xabcd);
	buf_u32(b, numwant);
	buf_u16(b, 6881);
}

static void test_connect_announce_scrape(void **state)
{
	struct world *w = *state;
	CLEANUP(buf_done) struct buf b = {0};
	announce(&b, connect_from(w, from4(1)), 1, 0, 50);
	assert_int_equal(send_to(w, &b, from4(1), T0), 20);
	announce(&b, connect_from(w, from4(2)), 2, 5, UINT32_MAX);
	assert_int_equal(send_to(w, &b, from4(2), T0), 26);
	struct cursor c = cursor_on(w->out, 26);
	assert_int_equal(cursor_u32(&c), 1);
	assert_int_equal(cursor_u32(&c), 77);
	assert_in_range(cursor_u32(&c), 5, 1800);
	assert_int_equal(cursor_u32(&c), 1);
	assert_int_equal(cursor_u32(&c), 1);
	struct addr got, want = from4(1);
	addr_from_compact4(cursor_take(&c, 6), &got);
	assert_true(addr_same_ip(&got, &want));
	assert_int_equal(got.port, 6881);

	buf_clear(&b);
	buf_u64(&b, connect_from(w, from4(2)));
	buf_u32(&b, 2);
	buf_u32(&b, 78);
	buf_add(&b, "hhhhhhhhhhhhhhhhhhhh", 20);
	buf_add(&b, "unknown unknown unkn", 20);
	assert_int_equal(send_to(w, &b, from4(2), T0), 8 + 24);
	c = cursor_on(w->out, 32);
	assert_int_equal(cursor_u32(&c), 2);
	assert_int_equal(cursor_u32(&c), 78);
	assert_int_equal(cursor_u32(&c), 1); /* seeds, downloaded, leechers */
	assert_int_equal(cursor_u32(&c), 0);
	assert_int_equal(cursor_u32(&c), 1);
	assert_int_equal(cursor_u32(&c), 0);
}

static void test_ipv6_gets_ipv6(void **state)
{
	struct world *w = *state;
	CLEANUP(buf_done) struct buf b = {0};
	announce(&b, connect_from(w, from4(1)), 1, 0, 50);
	send_to(w, &b, from4(1), T0);
	announce(&b, connect_from(w, from6(1)), 2, 0, 50);
	send_to(w, &b, from6(1), T0);
	announce(&b, connect_from(w, from6(2)), 3, 9, 50);
	assert_int_equal(send_to(w, &b, from6(2), T0), 20 + 18);
}

static void test_a_wrong_id_is_told_in_no_more_than_was_asked(void **state)
{
	struct world *w = *state;
	CLEANUP(buf_done) struct buf b = {0};
	uint64_t id = connect_from(w, from4(1));
	announce(&b, id, 1, 0, 50);
	size_t len = send_to(w, &b, from4(9), T0);
	assert_in_range(len, 9, b.len);
	assert_int_equal(w->out[3], 3);
	/* A scrape of nothing is 16 bytes: so is what it gets. */
	buf_clear(&b);
	buf_u64(&b, id ^ 1);
	buf_u32(&b, 2);
	buf_u32(&b, 1);
	assert_in_range(send_to(w, &b, from4(1), T0), 0, b.len);
	assert_int_equal(w->service.counters.bad_ids, 2);
	struct table_counts counts;
	table_counts(w->service.table, &counts);
	assert_int_equal(counts.swarms, 0);
}

static void test_a_replay_after_two_minutes(void **state)
{
	struct world *w = *state;
	CLEANUP(buf_done) struct buf b = {0};
	announce(&b, connect_from(w, from4(1)), 1, 0, 50);
	send_to(w, &b, from4(1), T0 + 120);
	assert_int_equal(w->out[3], 1);
	send_to(w, &b, from4(1), T0 + 121);
	assert_int_equal(w->out[3], 3);
}

static void test_every_cut_packet_is_survived(void **state)
{
	struct world *w = *state;
	CLEANUP(buf_done) struct buf b = {0};
	announce(&b, connect_from(w, from4(1)), 1, 0, 50);
	for (size_t n = 0; n < b.len; n++) {
		struct buf cut = b;
		cut.len = n;
		assert_int_equal(send_to(w, &cut, from4(1), T0), 0);
	}
	assert_int_equal(send_to(w, &b, from4(1), T0), 20);
}

static void test_a_connect_with_the_wrong_number_is_silence(void **state)
{
	struct world *w = *state;
	CLEANUP(buf_done) struct buf b = {0};
	buf_u64(&b, 0x41727101981ull);
	buf_u32(&b, 0);
	buf_u32(&b, 1);
	assert_int_equal(send_to(w, &b, from4(1), T0), 0);
	buf_clear(&b);
	buf_u64(&b, 0x41727101980ull);
	buf_u32(&b, 7);
	buf_u32(&b, 1);
	assert_int_equal(send_to(w, &b, from4(1), T0), 0);
}

static void test_port_0_is_refused(void **state)
{
	struct world *w = *state;
	CLEANUP(buf_done) struct buf b = {0};
	announce(&b, connect_from(w, from4(1)), 1, 0, 50);
	b.data[b.start + b.len - 1] = b.data[b.start + b.len - 2] = 0;
	send_to(w, &b, from4(1), T0);
	assert_memory_equal(w->out + 8, "client listening port", 21);
}

static void test_a_full_reply_fits(void **state)
{
	struct world *w = *state;
	CLEANUP(buf_done) struct buf b = {0};
	w->service.config.numwant_max = TABLE_NUMWANT_MAX;
	for (unsigned i = 1; i < 250; i++) {
		announce(&b, connect_from(w, from6((uint8_t)i)), (uint8_t)i, 1, 0);
		send_to(w, &b, from6((uint8_t)i), T0);
		announce(&b, connect_from(w, from4((uint8_t)i)), (uint8_t)i, 1, 0);
		send_to(w, &b, from4((uint8_t)i), T0);
	}
	announce(&b, connect_from(w, from6(255)), 255, 1, 10000);
	assert_int_equal(send_to(w, &b, from6(255), T0), 20 + 76 * 18);
	announce(&b, connect_from(w, from4(255)), 255, 1, 10000);
	assert_int_equal(send_to(w, &b, from4(255), T0), 20 + TABLE_NUMWANT_MAX * 6);
}

static void add_url(struct buf *b, const char *url)
{
	buf_u8(b, 1); /* no-op */
	while (*url) {
		size_t n = MIN(strlen(url), (size_t)5);
		buf_u8(b, URL_DATA);
		buf_u8(b, (uint8_t)n);
		buf_add(b, url, n);
		url += n;
	}
	buf_u8(b, 0);
}

static void test_a_passkey_comes_by_option(void **state)
{
	struct world *w = *state;
	CLEANUP(buf_done) struct buf b = {0};
	char path[] = "/tmp/test_tracker_udp.XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "secret-key-1\n", 13), 13);
	close(fd);
	struct lists_paths paths = {.passkeys = path};
	char *error = NULL;
	lists_free(w->service.lists);
	assert_int_equal(lists_load(&paths, &w->service.lists, &error), 0);
	unlink(path);

	uint64_t id = connect_from(w, from4(1));
	announce(&b, id, 1, 0, 50);
	send_to(w, &b, from4(1), T0);
	assert_memory_equal(w->out + 8, "the passkey is missing", 22);
	add_url(&b, "/secret-key-1/announce?x=y");
	send_to(w, &b, from4(1), T0);
	assert_int_equal(w->out[3], 1);
	announce(&b, id, 1, 0, 50);
	add_url(&b, "/secret-key-2/announce");
	send_to(w, &b, from4(1), T0);
	assert_int_equal(w->out[3], 3);
	/* An option that is longer than the packet. */
	announce(&b, id, 1, 0, 50);
	buf_u8(&b, URL_DATA);
	buf_u8(&b, 255);
	send_to(w, &b, from4(1), T0);
	assert_int_equal(w->out[3], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_connect_announce_scrape, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ipv6_gets_ipv6, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_wrong_id_is_told_in_no_more_than_was_asked, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_a_replay_after_two_minutes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_cut_packet_is_survived, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_connect_with_the_wrong_number_is_silence, setup,
			teardown),
		cmocka_unit_test_setup_teardown(test_port_0_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_full_reply_fits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_passkey_comes_by_option, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
