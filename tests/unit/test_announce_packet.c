// SPDX-License-Identifier: MIT
/* The UDP tracker protocol: packets to the byte, and every way an exchange can go. */
#include "tests/unit/unit.h"

#include "swarm/announce_packet.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/loop.h"
#include "base/mem.h"

#include <string.h>

#define NOW (1000 * US_PER_S)
#define ID 0x1122334455667788ull

struct sent {
	uint8_t bytes[EXCHANGE_MAX_PACKET];
	size_t len;
	uint64_t wait_us;
};

static struct announce_request request(void)
{
	struct announce_request q = {.port = 0x1ae1,
		.key = 0x0badcafe,
		.totals = {.uploaded = 3, .downloaded = 1, .left = 2},
		.event = ANNOUNCE_STARTED,
		.numwant = 100};

	memset(q.hash, 'h', sizeof(q.hash));
	memset(q.peer_id, 'p', sizeof(q.peer_id));
	return q;
}

static struct sent send_packet(struct exchange *x, uint64_t now, uint32_t random)
{
	struct sent s;

	s.len = exchange_packet(x, now, random, s.bytes, &s.wait_us);
	return s;
}

/* An answer: action, transaction, and what follows. */
static enum exchange_result receive(struct exchange *x, uint64_t now, uint32_t action,
	uint32_t transaction, const void *rest, size_t len, struct announce_reply *reply)
{
	struct buf b = {0};

	buf_u32(&b, action);
	buf_u32(&b, transaction);
	buf_add(&b, rest, len);
	enum exchange_result result = exchange_receive(x, buf_bytes(&b), b.len, now, reply);
	buf_done(&b);
	return result;
}

static enum exchange_result receive_id(struct exchange *x, uint64_t now, uint32_t transaction)
{
	static const uint8_t id[8] = {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88};
	struct announce_reply reply;

	return receive(x, now, 0, transaction, id, sizeof(id), &reply);
}

#define COUNTS "\0\0\x07\x08\0\0\0\x05\0\0\0\x06" /* interval 1800, 5 leechers, 6 seeds */

static void test_the_whole_exchange(void **state)
{
	struct announce_request q = request();
	struct announce_reply reply;
	struct exchange x;

	exchange_init(&x, &q, false, 0, 0);
	struct sent s = send_packet(&x, NOW, 0xaabbccdd);
	assert_int_equal(s.len, 16);
	assert_memory_equal(s.bytes, "\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0\xaa\xbb\xcc\xdd", 16);
	assert_int_equal(receive_id(&x, NOW, 0xaabbccdd), EXCHANGE_SEND);
	assert_int_equal(x.id, ID);

	s = send_packet(&x, NOW, 0x01020304);
	assert_int_equal(s.len, 98);
	assert_memory_equal(s.bytes, "\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\1\1\2\3\4", 16);
	assert_memory_equal(s.bytes + 16, "hhhhhhhhhhhhhhhhhhhhpppppppppppppppppppp", 40);
	assert_memory_equal(s.bytes + 56, "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3", 24);
	assert_memory_equal(s.bytes + 80, "\0\0\0\2\0\0\0\0\x0b\xad\xca\xfe\0\0\0\x64\x1a\xe1", 18);

	/* Two peers, one with port 0, and a byte left over. */
	static const char peers[] = COUNTS "\1\2\3\4\x1a\xe1\5\6\7\x08\0\0\0";
	assert_int_equal(
		receive(&x, NOW, 1, 0x01020304, peers, sizeof(peers) - 1, &reply), EXCHANGE_DONE);
	assert_int_equal(reply.interval_s, 1800);
	assert_int_equal(reply.leechers, 5);
	assert_int_equal(reply.seeds, 6);
	assert_int_equal(reply.n_peers, 1);
	char text[ADDR_STRLEN];
	assert_string_equal(addr_format(&reply.peers[0], text), "1.2.3.4:6881");
	announce_reply_done(&reply);
}

static void test_ipv6_peers(void **state)
{
	static const char peers[] = COUNTS " \x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x1a\xe1";
	struct announce_request q = request();
	struct announce_reply reply;
	struct exchange x;
	char text[ADDR_STRLEN];

	exchange_init(&x, &q, true, ID, NOW);
	send_packet(&x, NOW, 1);
	assert_int_equal(receive(&x, NOW, 1, 1, peers, sizeof(peers) - 1, &reply), EXCHANGE_DONE);
	assert_int_equal(reply.n_peers, 1);
	assert_string_equal(addr_format(&reply.peers[0], text), "[2001:db8::5]:6881");
	announce_reply_done(&reply);
}

static void test_path_goes_along(void **state)
{
	struct announce_request q = request();
	struct exchange x;
	char path[EXCHANGE_MAX_PATH + 2];

	static const char *const left_out[] = {NULL, "", "/", "/announce"};
	for (size_t i = 0; i < ARRAY_SIZE(left_out); i++) {
		q.path = left_out[i];
		exchange_init(&x, &q, false, ID, NOW);
		assert_int_equal(send_packet(&x, NOW, 1).len, 98);
	}
	q.path = "/announce?key=1";
	exchange_init(&x, &q, false, ID, NOW);
	struct sent s = send_packet(&x, NOW, 1);
	assert_int_equal(s.len, 98 + 2 + 15);
	assert_memory_equal(s.bytes + 98, "\x02\x0f/announce?key=1", 17);

	memset(path, 'x', sizeof(path));
	path[EXCHANGE_MAX_PATH] = '\0';
	q.path = path;
	exchange_init(&x, &q, false, ID, NOW);
	s = send_packet(&x, NOW, 1);
	assert_int_equal(s.len, 98 + EXCHANGE_MAX_PATH + 2 * 5);
	assert_memory_equal(s.bytes + 98 + 2 + 255, "\x02\xffx", 3);
	assert_memory_equal(s.bytes + 98 + 4 * 257, "\x02\x04xxxx", 6);
	path[EXCHANGE_MAX_PATH] = 'x';
	path[EXCHANGE_MAX_PATH + 1] = '\0';
	exchange_init(&x, &q, false, ID, NOW);
	assert_int_equal(send_packet(&x, NOW, 1).len, 98);
}

static void test_retransmits(void **state)
{
	struct announce_request q = request();
	struct exchange x;

	exchange_init(&x, &q, false, 0, 0);
	for (unsigned i = 0; i < EXCHANGE_TRIES; i++) {
		struct sent s = send_packet(&x, NOW, 100 + i);
		assert_int_equal(s.wait_us, EXCHANGE_RETRY_US << i);
		assert_int_equal(s.bytes[15], 100); /* the number of the first one */
		assert_int_equal(exchange_timeout(&x),
			i + 1 < EXCHANGE_TRIES ? EXCHANGE_SEND : EXCHANGE_FAILED);
	}
}

static void test_announce_has_tries_of_its_own(void **state)
{
	struct announce_request q = request();
	struct exchange x;

	exchange_init(&x, &q, false, 0, 0);
	for (unsigned i = 0; i < EXCHANGE_TRIES; i++)
		send_packet(&x, NOW, 7);
	assert_int_equal(receive_id(&x, NOW, 7), EXCHANGE_SEND);
	for (unsigned i = 0; i < EXCHANGE_TRIES; i++) {
		struct sent s = send_packet(&x, NOW, 8);
		assert_int_equal(s.len, 98);
		assert_int_equal(s.wait_us, EXCHANGE_RETRY_US << i);
	}
	assert_int_equal(exchange_timeout(&x), EXCHANGE_FAILED);
}

static void test_wrong_answers_are_ignored(void **state)
{
	struct announce_request q = request();
	struct announce_reply reply;
	struct exchange x;

	exchange_init(&x, &q, false, 0, 0);
	assert_int_equal(receive_id(&x, NOW, 0), EXCHANGE_IGNORED); /* nothing asked yet */
	send_packet(&x, NOW, 7);
	assert_int_equal(exchange_receive(&x, "", 0, NOW, &reply), EXCHANGE_IGNORED);
	assert_int_equal(exchange_receive(&x, "\0\0\0\0\0\0\0", 7, NOW, &reply), EXCHANGE_IGNORED);
	assert_int_equal(receive_id(&x, NOW, 8), EXCHANGE_IGNORED); /* another's transaction */
	assert_int_equal(
		receive(&x, NOW, 0, 7, "1234567", 7, &reply), EXCHANGE_IGNORED); /* short */
	assert_int_equal(receive(&x, NOW, 1, 7, COUNTS, 12, &reply), EXCHANGE_IGNORED);
	assert_int_equal(receive(&x, NOW, 2, 7, COUNTS, 12, &reply), EXCHANGE_IGNORED);
	assert_int_equal(receive(&x, NOW, 4, 7, COUNTS, 12, &reply), EXCHANGE_IGNORED);
	assert_int_equal(receive_id(&x, NOW, 7), EXCHANGE_SEND);
	send_packet(&x, NOW, 9);
	assert_int_equal(receive_id(&x, NOW, 7), EXCHANGE_IGNORED); /* the same again */
	assert_int_equal(receive_id(&x, NOW, 9), EXCHANGE_IGNORED); /* not what was asked */
	assert_int_equal(receive(&x, NOW, 1, 9, COUNTS, 11, &reply), EXCHANGE_IGNORED);
	assert_int_equal(receive(&x, NOW, 1, 9, COUNTS, 12, &reply), EXCHANGE_DONE);
	assert_int_equal(reply.n_peers, 0);
	announce_reply_done(&reply);
}

static void test_connection_id_lives_a_minute(void **state)
{
	struct announce_request q = request();
	struct exchange x;

	exchange_init(&x, &q, false, ID, NOW);
	assert_int_equal(send_packet(&x, NOW + EXCHANGE_ID_LIFE_US - 1, 1).len, 98);
	/* The same exchange asks again later: the id has aged meanwhile. */
	assert_int_equal(send_packet(&x, NOW + EXCHANGE_ID_LIFE_US, 2).len, 16);
	assert_int_equal(x.transaction, 2);
	assert_int_equal(x.id_us, 0);
	exchange_init(&x, &q, false, ID, NOW);
	assert_int_equal(send_packet(&x, NOW + EXCHANGE_ID_LIFE_US, 1).len, 16);
}

static void test_an_old_id_unanswered_is_renewed(void **state)
{
	struct announce_request q = request();
	struct exchange x;

	exchange_init(&x, &q, false, ID, NOW);
	send_packet(&x, NOW, 1);
	assert_int_equal(exchange_timeout(&x), EXCHANGE_SEND);
	assert_int_equal(send_packet(&x, NOW, 2).len, 16);
}

static void test_an_old_id_refused_is_renewed_once(void **state)
{
	static const char text[] = "Connection ID missmatch.";
	struct announce_request q = request();
	struct announce_reply reply;
	struct exchange x;

	exchange_init(&x, &q, false, ID, NOW);
	send_packet(&x, NOW, 1);
	assert_int_equal(receive(&x, NOW, 3, 1, text, strlen(text), &reply), EXCHANGE_SEND);
	assert_int_equal(send_packet(&x, NOW, 2).len, 16);
	assert_int_equal(receive_id(&x, NOW, 2), EXCHANGE_SEND);
	send_packet(&x, NOW, 3);
	assert_int_equal(receive(&x, NOW, 3, 3, text, strlen(text), &reply), EXCHANGE_FAILED);
	assert_string_equal(reply.failure, text);
	announce_reply_done(&reply);
}

static void test_errors(void **state)
{
	struct announce_request q = request();
	struct announce_reply reply;
	struct exchange x;
	char text[TRACKER_MAX_TEXT + 1];

	exchange_init(&x, &q, false, 0, 0);
	send_packet(&x, NOW, 1);
	assert_int_equal(receive(&x, NOW, 3, 1, "no\n", 3, &reply), EXCHANGE_FAILED);
	assert_string_equal(reply.failure, "no\\x0a");
	announce_reply_done(&reply);
	assert_int_equal(receive(&x, NOW, 3, 1, "", 0, &reply), EXCHANGE_FAILED);
	assert_string_equal(reply.failure, "an error without a text");
	announce_reply_done(&reply);
	memset(text, 'x', sizeof(text));
	assert_int_equal(receive(&x, NOW, 3, 1, text, sizeof(text), &reply), EXCHANGE_FAILED);
	assert_int_equal(strlen(reply.failure), TRACKER_MAX_TEXT);
	announce_reply_done(&reply);
}

static void test_peers_limit(void **state)
{
	struct announce_request q = request();
	struct announce_reply reply;
	struct exchange x;
	struct buf b = {0};

	buf_add(&b, COUNTS, 12);
	memset(buf_extend(&b, (TRACKER_MAX_PEERS + 1) * 6), 1, (TRACKER_MAX_PEERS + 1) * 6);
	exchange_init(&x, &q, false, ID, NOW);
	send_packet(&x, NOW, 1);
	assert_int_equal(receive(&x, NOW, 1, 1, buf_bytes(&b), b.len, &reply), EXCHANGE_DONE);
	assert_int_equal(reply.n_peers, TRACKER_MAX_PEERS);
	announce_reply_done(&reply);
	buf_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_whole_exchange),
		cmocka_unit_test(test_ipv6_peers),
		cmocka_unit_test(test_path_goes_along),
		cmocka_unit_test(test_retransmits),
		cmocka_unit_test(test_announce_has_tries_of_its_own),
		cmocka_unit_test(test_wrong_answers_are_ignored),
		cmocka_unit_test(test_connection_id_lives_a_minute),
		cmocka_unit_test(test_an_old_id_unanswered_is_renewed),
		cmocka_unit_test(test_an_old_id_refused_is_renewed_once),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_peers_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
