/* SPDX-License-Identifier: MIT */
/* Bencoded replies: see reply.h.
 *
 * Keys stand in their sorted order.  Most of a reply is constant, so it is laid down as text with
 * the numbers between; the peers of a compact one are one copy.
 *
 * Thread: any.
 */
#include "tracker/reply.h"

#include "base/bencode.h"

#include <string.h>

#define ADD(out, literal) buf_add((out), literal, sizeof(literal) - 1)

/* "i123e" */
static void add_int(struct buf *out, uint64_t v)
{
	char text[24];
	char *end = text + sizeof(text), *p = end;
	*--p = 'e';
	do {
		*--p = (char)('0' + v % 10);
	} while (v /= 10);
	*--p = 'i';
	buf_add(out, p, (size_t)(end - p));
}

static void add_peer_dicts(struct buf *out, const struct answer *answer, bool with_ids)
{
	ADD(out, "l");
	for (int f = V4; f <= V6; f++) {
		for (uint32_t i = 0; i < answer->n[f]; i++) {
			struct addr a;
			char ip[ADDR_STRLEN];
			if (f == V4)
				addr_from_compact4(answer->addrs[f] + PEERSET_V4 * i, &a);
			else
				addr_from_compact6(answer->addrs[f] + PEERSET_V6 * i, &a);
			ADD(out, "d2:ip");
			ben_add_str(out, addr_format_ip(&a, ip));
			if (with_ids) {
				ADD(out, "7:peer id20:");
				buf_add(out, answer->ids[f] + PEER_ID_LEN * i, PEER_ID_LEN);
			}
			ADD(out, "4:port");
			add_int(out, a.port);
			ADD(out, "e");
		}
	}
	ADD(out, "e");
}

void reply_announce(struct buf *out, const struct answer *answer, const struct reply_options *o)
{
	ADD(out, "d8:complete");
	add_int(out, answer->complete);
	ADD(out, "10:downloaded");
	add_int(out, answer->downloaded);
	if (o->from) {
		bool v4 = addr_is_v4(o->from);
		ADD(out, "11:external ip");
		ben_add_bytes(out, o->from->ip + (v4 ? 12 : 0), v4 ? 4 : 16);
	}
	ADD(out, "10:incomplete");
	add_int(out, answer->incomplete);
	ADD(out, "8:interval");
	add_int(out, answer->interval);
	ADD(out, "12:min interval");
	add_int(out, answer->min_interval);
	ADD(out, "5:peers");
	if (o->compact) {
		ben_add_bytes(out, answer->addrs[V4], (size_t)answer->n[V4] * PEERSET_V4);
		if (answer->n[V6]) {
			ADD(out, "6:peers6");
			ben_add_bytes(out, answer->addrs[V6], (size_t)answer->n[V6] * PEERSET_V6);
		}
	} else {
		add_peer_dicts(out, answer, !o->no_peer_id);
	}
	if (o->tracker_id) {
		ADD(out, "10:tracker id");
		ben_add_str(out, o->tracker_id);
	}
	if (o->warning) {
		ADD(out, "15:warning message");
		ben_add_str(out, o->warning);
	}
	ADD(out, "e");
}

void reply_refusal(struct buf *out, const struct refusal *refusal)
{
	ADD(out, "d14:failure reason");
	ben_add_str(out, refusal->reason);
	if (refusal->retry_min == RETRY_NEVER) {
		ADD(out, "8:retry in5:never");
	} else if (refusal->retry_min) {
		ADD(out, "8:retry in");
		add_int(out, (uint64_t)refusal->retry_min);
	}
	ADD(out, "e");
}

void reply_scrape_begin(struct buf *out)
{
	ADD(out, "d5:filesd");
}

void reply_scrape_file(struct buf *out, const uint8_t hash[HASH_LEN], const struct table_scrape *f)
{
	ADD(out, "20:");
	buf_add(out, hash, HASH_LEN);
	ADD(out, "d8:complete");
	add_int(out, f->complete);
	ADD(out, "10:downloaded");
	add_int(out, f->downloaded);
	ADD(out, "10:incomplete");
	add_int(out, f->incomplete);
	ADD(out, "e");
}

void reply_scrape_end(struct buf *out, unsigned min_interval)
{
	ADD(out, "e5:flagsd20:min_request_interval");
	add_int(out, min_interval);
	ADD(out, "ee");
}
