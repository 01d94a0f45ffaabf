// SPDX-License-Identifier: MIT
/* Fuzzes the exchange with a UDP tracker: datagrams, losses and the passing of time, in any order.
 *
 * The first byte says how it begins: 1 IPv6, 2 with a connection id, 4 with a path.  Then steps of
 * {what, length, bytes}: 0 no answer came; 1 a minute passes; else a datagram, with the right
 * transaction number put in where what is even.
 */
#include "swarm/announce_packet.h"
#include "base/limits.h"
#include "base/loop.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void send_packet(struct exchange *x, uint64_t now)
{
	uint8_t packet[EXCHANGE_MAX_PACKET];
	uint64_t wait_us = 0;

	size_t len = exchange_packet(x, now, (uint32_t)now, packet, &wait_us);
	must(len >= 16 && len <= sizeof(packet));
	must(wait_us >= EXCHANGE_RETRY_US && wait_us <= EXCHANGE_RETRY_US << EXCHANGE_TRIES);
	must((len == 16) == (x->state == EXCHANGE_CONNECT));
	must(x->state == EXCHANGE_CONNECT || now - x->id_us < EXCHANGE_ID_LIFE_US);
	must(x->tries >= 1 && x->tries <= EXCHANGE_TRIES);
}

static enum exchange_result receive(
	struct exchange *x, const uint8_t *data, size_t len, bool ours, uint64_t now)
{
	uint8_t *copy = malloc(len + 1); /* of its own size, so that ASan sees its end */
	struct announce_reply r = {0};

	memcpy(copy, data, len);
	if (ours && len >= 8)
		for (unsigned i = 0; i < 4; i++)
			copy[4 + i] = (uint8_t)(x->transaction >> (24 - 8 * i));
	enum exchange_result result = exchange_receive(x, copy, len, now, &r);
	if (result == EXCHANGE_DONE) {
		must(r.n_peers <= TRACKER_MAX_PEERS && r.n_peers * (x->v6 ? 18 : 6) <= len);
		for (size_t i = 0; i < r.n_peers; i++)
			must(r.peers[i].port);
		must(!r.failure);
	} else if (result == EXCHANGE_FAILED) {
		must(r.failure && *r.failure && strlen(r.failure) <= 4 * TRACKER_MAX_TEXT);
	} else {
		must(!r.failure && !r.peers);
	}
	announce_reply_done(&r);
	free(copy);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct announce_request with_path = {.path = "/announce?k=1"}, without;
	uint64_t now = 1000 * US_PER_S;
	struct exchange x;

	if (!size)
		return 0;
	exchange_init(
		&x, data[0] & 4 ? &with_path : &without, data[0] & 1, 7, data[0] & 2 ? now : 0);
	data++;
	size--;
	send_packet(&x, now);
	while (size >= 2) {
		uint8_t what = data[0];
		size_t len = data[1] < size - 2 ? data[1] : size - 2;
		enum exchange_result result = EXCHANGE_IGNORED;
		if (what == 0)
			result = exchange_timeout(&x);
		else if (what == 1)
			now += 60 * US_PER_S;
		else
			result = receive(&x, data + 2, len, what % 2 == 0, now);
		if (result == EXCHANGE_DONE || result == EXCHANGE_FAILED)
			return 0;
		if (result == EXCHANGE_SEND)
			send_packet(&x, now);
		data += 2 + len;
		size -= 2 + len;
	}
	return 0;
}
