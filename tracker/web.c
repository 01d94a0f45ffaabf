/* SPDX-License-Identifier: MIT */
/* The tracker over HTTP: see web.h.
 *
 * A failure of an announce or a scrape is a bencoded reply with status 200: clients show its reason
 * only then.
 *
 * Thread: loop.
 */
#include "tracker/web.h"

#define SCRAPE_INTERVAL_S 60u /* told in scrapes as min_request_interval */

static void answer_announce(struct service *s, const struct http_head *head, struct text key,
	const struct addr *from, enum proto proto, uint32_t now, struct http_reply *reply)
{
	/* One announce at a time: too large for the stack of a deep call, too hot for the heap. */
	static uint8_t addrs4[TABLE_NUMWANT_MAX * PEERSET_V4], addrs6[TABLE_NUMWANT_MAX * PEERSET_V6];
	static uint8_t ids4[TABLE_NUMWANT_MAX * PEER_ID_LEN], ids6[TABLE_NUMWANT_MAX * PEER_ID_LEN];
	struct http_announce request;
	const char *why = request_announce(head->query, from, s->config.allow_ip, &request);
	if (why) {
		struct refusal refusal = {why, RETRY_UNSAID};
		reply_refusal(reply->body, service_refuse(s, &refusal));
		return;
	}
	bool ids = !request.compact && !request.no_peer_id;
	struct answer answer = {.addrs = {addrs4, addrs6}};
	if (ids) {
		answer.ids[V4] = ids4;
		answer.ids[V6] = ids6;
	}
	const struct refusal *refusal = service_announce(s, &request.a, key, proto, now, &answer);
	if (refusal) {
		reply_refusal(reply->body, refusal);
		return;
	}
	struct reply_options options = {
		.compact = request.compact,
		.no_peer_id = request.no_peer_id,
		.tracker_id = s->config.operator_id,
		.warning = s->config.warning,
		.from = from,
	};
	if (answer.unlisted && !options.warning)
		options.warning = "the tracker is full of peers: others are not told of this one";
	reply_announce(reply->body, &answer, &options);
}

static void answer_full_scrape(struct service *s, struct buf *out)
{
	uint64_t cursor = 0;
	const struct swarm *w;
	while ((w = table_walk(s->table, &cursor))) {
		struct table_scrape f = {swarm_count(w, SEEDS), swarm_count(w, LEECHERS),
			w->downloaded};
		reply_scrape_file(out, w->hash, &f);
	}
}

static void answer_scrape(struct service *s, const struct http_head *head, struct text key,
	const struct addr *from, enum proto proto, uint32_t now, struct http_reply *reply)
{
	static struct http_scrape request; /* 2 KiB; one at a time */
	static const struct refusal no_full = {"name the torrents: scraping all is not allowed here",
		RETRY_NEVER};
	const char *why = request_scrape(head->query, &request);
	struct refusal bad = {why, RETRY_UNSAID};
	const struct refusal *refusal = why ? service_refuse(s, &bad) :
					      service_scrape(s, from, key, proto, now);
	if (!refusal && !request.n && !s->config.full_scrape)
		refusal = service_refuse(s, &no_full);
	if (refusal) {
		reply_refusal(reply->body, refusal);
		return;
	}
	reply_scrape_begin(reply->body);
	if (!request.n)
		answer_full_scrape(s, reply->body);
	for (uint32_t i = 0; i < request.n; i++) {
		struct table_scrape f;
		service_scrape_one(s, request.hashes[i], now, &f);
		reply_scrape_file(reply->body, request.hashes[i], &f);
	}
	reply_scrape_end(reply->body, SCRAPE_INTERVAL_S);
}

void web_answer(struct service *service, const struct http_head *head, const struct addr *from,
	bool tls, uint32_t now, struct http_reply *reply)
{
	enum proto proto = tls ? PROTO_HTTPS : PROTO_HTTP;
	struct text key;
	switch (request_route(head->path, &key)) {
	case ROUTE_ANNOUNCE:
		answer_announce(service, head, key, from, proto, now, reply);
		return;
	case ROUTE_SCRAPE:
		answer_scrape(service, head, key, from, proto, now, reply);
		return;
	default:
		reply->status = 404;
		buf_add_str(reply->body, "nothing here; this is a BitTorrent tracker: /announce, "
					 "/scrape\n");
	}
}
