/* SPDX-License-Identifier: MIT */
/* Packets of the UDP tracker protocol: see udp_packet.h.
 *
 * Thread: loop.
 */
#include "tracker/udp_packet.h"

#include "base/cursor.h"
#include "base/mem.h"

#include <string.h>

enum { CONNECT, ANNOUNCE, SCRAPE, ERROR };
enum { OPTION_END, OPTION_NOP, OPTION_URL_DATA };

#define PROTOCOL_ID 0x41727101980ull
#define ANNOUNCE_HEADER 20u
#define SCRAPE_HEADER 8u
#define URL_MAX 512u /* "/KEY/announce?..." */

static uint8_t *put32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
	return p + 4;
}

static size_t error(uint8_t *out, uint32_t transaction, const char *why, size_t max)
{
	size_t len = MIN(strlen(why), (size_t)UDP_MAX_REPLY - 8);
	put32(put32(out, ERROR), transaction);
	memcpy(out + 8, why, len);
	/* A cut text still says something, less than a header says nothing. */
	len = MIN(len + 8, max);
	return len > 8 ? len : 0;
}

/* BEP 41: the path and query that the URL had, in pieces of up to 255 bytes. */
static struct text url_key(struct cursor options, char url[URL_MAX])
{
	struct text path = {url, 0}, key;
	while (options.left) {
		uint8_t type = cursor_u8(&options);
		if (type == OPTION_END)
			break;
		if (type == OPTION_NOP)
			continue;
		uint8_t len = cursor_u8(&options);
		const uint8_t *data = cursor_take(&options, len);
		if (!data || path.len + len > URL_MAX)
			break;
		if (type != OPTION_URL_DATA)
			continue;
		memcpy(url + path.len, data, len);
		path.len += len;
	}
	const char *query = path.len ? memchr(path.p, '?', path.len) : NULL;
	if (query)
		path.len = (size_t)(query - path.p);
	request_route(path, &key);
	return key;
}

static size_t answer_announce(struct service *s, struct cursor c, uint32_t transaction,
	const struct addr *from, uint32_t now, uint8_t *out)
{
	struct announce a = {.from = *from};
	const uint8_t *hash = cursor_take(&c, HASH_LEN);
	const uint8_t *peer_id = cursor_take(&c, PEER_ID_LEN);
	cursor_take(&c, 8); /* downloaded */
	a.seed = cursor_u64(&c) == 0;
	cursor_take(&c, 8); /* uploaded */
	uint32_t event = cursor_u32(&c);
	const uint8_t *ip = cursor_take(&c, 4);
	cursor_take(&c, 4); /* key */
	uint32_t numwant = cursor_u32(&c);
	a.from.port = cursor_u16(&c);
	if (cursor_bad(&c))
		return 0;
	memcpy(a.hash, hash, HASH_LEN);
	memcpy(a.peer_id, peer_id, PEER_ID_LEN);
	a.event = event <= EVENT_STOPPED ? (enum table_event)event : EVENT_NONE;
	if (s->config.allow_ip && addr_is_v4(from) && memcmp(ip, "\0\0\0\0", 4) != 0)
		memcpy(a.from.ip + 12, ip, 4);
	if (!a.from.port && a.event != EVENT_STOPPED)
		return error(out, transaction, "client listening port is invalid", UDP_MAX_REPLY);

	bool v4 = addr_is_v4(&a.from);
	uint32_t room = (UDP_MAX_REPLY - ANNOUNCE_HEADER) / (v4 ? PEERSET_V4 : PEERSET_V6);
	/* -1 is "as you like" */
	a.numwant = numwant > INT32_MAX ? NUMWANT_DEFAULT : numwant;
	a.numwant = MIN(a.numwant, room);
	struct answer answer = {0};
	answer.addrs[v4 ? V4 : V6] = out + ANNOUNCE_HEADER;
	char url[URL_MAX];
	const struct refusal *refusal =
		service_announce(s, from, &a, url_key(c, url), PROTO_UDP, now, &answer);
	if (refusal)
		return error(out, transaction, refusal->reason, UDP_MAX_REPLY);
	uint8_t *p = put32(put32(out, ANNOUNCE), transaction);
	p = put32(put32(put32(p, answer.interval), answer.incomplete), answer.complete);
	return ANNOUNCE_HEADER + answer.n[v4 ? V4 : V6] * (v4 ? PEERSET_V4 : PEERSET_V6);
}

static size_t answer_scrape(struct service *s, struct cursor c, uint32_t transaction,
	const struct addr *from, uint32_t now, uint8_t *out)
{
	/* A key cannot be told here: where one is needed, BEP 41 has no place for it in a scrape. */
	const struct refusal *refusal =
		service_scrape(s, from, (struct text) {"", 0}, PROTO_UDP, now);
	if (refusal)
		return error(out, transaction, refusal->reason, UDP_MAX_REPLY);
	uint8_t *p = put32(put32(out, SCRAPE), transaction);
	while (c.left >= HASH_LEN && p + 12 <= out + UDP_MAX_REPLY) {
		struct table_scrape f;
		service_scrape_one(s, cursor_take(&c, HASH_LEN), now, &f);
		p = put32(put32(put32(p, f.complete), f.downloaded), f.incomplete);
	}
	return (size_t)(p - out);
}

size_t udp_answer(struct service *s, struct connid *ids, const uint8_t *packet, size_t len,
	const struct addr *from, uint32_t now, uint8_t out[UDP_MAX_REPLY])
{
	struct cursor c = cursor_on(packet, len);
	uint64_t id = cursor_u64(&c);
	uint32_t action = cursor_u32(&c), transaction = cursor_u32(&c);
	if (cursor_bad(&c) || !from->port)
		return 0;
	if (action == CONNECT) {
		if (id != PROTOCOL_ID)
			return 0;
		s->counters.connects++;
		put32(put32(out, CONNECT), transaction);
		uint64_t made = connid_make(ids, now, from);
		put32(put32(out + 8, (uint32_t)(made >> 32)), (uint32_t)made);
		return 16;
	}
	if (action != ANNOUNCE && action != SCRAPE)
		return 0;
	if (!connid_check(ids, now, from, id)) {
		s->counters.bad_ids++;
		return error(out, transaction, "connection id is wrong or older than two minutes",
			len);
	}
	if (action == ANNOUNCE)
		return answer_announce(s, c, transaction, from, now, out);
	return answer_scrape(s, c, transaction, from, now, out);
}
