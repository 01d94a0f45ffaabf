/* SPDX-License-Identifier: MIT */
/* The tracker over HTTP: see web.h.
 *
 * A failure of an announce or a scrape is a bencoded reply with status 200: clients show its reason
 * only then.
 *
 * Thread: loop.
 */
#include "tracker/web.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <string.h>

#define SCRAPE_INTERVAL_S 60u /* told in scrapes as min_request_interval */
#define SCRAPE_ALL_PER_S 20000u /* torrents of full scrapes: some milliseconds of each second */

static void answer_nothing(struct http_reply *reply, int status, const char *why)
{
	reply->status = status;
	buf_addf(reply->body, "%s\n", why);
}

static void answer_too_often(struct http_reply *reply)
{
	answer_nothing(reply, 429, "too many requests from your address");
}

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
	const struct refusal *refusal =
		service_announce(s, from, &request.a, key, proto, now, &answer);
	if (refusal) {
		reply_refusal(reply->body, refusal);
		return;
	}
	struct reply_options options = {
		.compact = request.compact,
		.no_peer_id = request.no_peer_id,
		.tracker_id = s->config.tracker_id,
		.warning = s->config.warning,
		.from = from,
	};
	if (answer.unlisted && !options.warning)
		options.warning = "the tracker is full of peers: others are not told of this one";
	reply_announce(reply->body, &answer, &options);
}

/* All torrents, anew only as often as SCRAPE_ALL_PER_S allows: of 200,000 that is each ten seconds. */
static void answer_full_scrape(struct service *s, uint32_t now, struct buf *out)
{
	static struct buf files;
	static uint32_t made;
	struct table_counts n;
	table_counts(s->table, &n);
	if (!made || now - made >= n.swarms / SCRAPE_ALL_PER_S) {
		uint64_t cursor = 0;
		const struct swarm *w;
		buf_clear(&files);
		while ((w = table_walk(s->table, &cursor))) {
			struct table_scrape f = {swarm_count(w, SEEDS), swarm_count(w, LEECHERS),
				w->downloaded};
			if (lists_allows(s->lists, w->hash))
				reply_scrape_file(&files, w->hash, &f);
		}
		made = now;
	}
	buf_add(out, buf_bytes(&files), files.len);
}

/* Large: gathered for one reply at a time. */
static const struct stats *gather(const struct web *web, bool top)
{
	static struct stats stats;
	memset(&stats, 0, sizeof(stats));
	web->gather(web->arg, &stats);
	if (top)
		stats_find_top(&stats, web->service->table);
	return &stats;
}

static void answer_scrape(const struct web *web, const struct http_head *head, struct text key,
	const struct addr *from, enum proto proto, uint32_t now, struct http_reply *reply)
{
	static struct http_scrape request; /* 2 KiB; one at a time */
	static const struct refusal no_full = {"name the torrents: scraping all is not allowed here",
		RETRY_NEVER};
	struct service *s = web->service;
	const char *why = request_scrape(head->query, &request);
	if (!why && request.stats != STATS_NONE) {
		if (!service_may_ask(s, from, now)) {
			answer_too_often(reply);
			return;
		}
		reply->type = stats_peertracker(gather(web, false), request.stats, reply->body);
		return;
	}
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
		answer_full_scrape(s, now, reply->body);
	for (uint32_t i = 0; i < request.n; i++) {
		struct table_scrape f;
		service_scrape_one(s, request.hashes[i], now, &f);
		reply_scrape_file(reply->body, request.hashes[i], &f);
	}
	reply_scrape_end(reply->body, SCRAPE_INTERVAL_S);
}

/* An address or localhost, with or without a port. */
static bool host_is_literal(struct text host)
{
	if (host.len && host.p[0] == '[')
		return true;
	const char *colon = host.len ? memchr(host.p, ':', host.len) : NULL;
	if (colon)
		host.len = (size_t)(colon - host.p);
	if (text_is_nocase(host, "localhost"))
		return true;
	for (size_t i = 0; i < host.len; i++) {
		if (!isdigit((unsigned char)host.p[i]) && host.p[i] != '.')
			return false;
	}
	return host.len > 0;
}

static bool token_is_right(const struct web *web, struct text authorization)
{
	static const char bearer[] = "Bearer ";
	size_t skip = sizeof(bearer) - 1, len = strlen(web->token);
	return authorization.len == skip + len && !memcmp(authorization.p, bearer, skip) &&
		!CRYPTO_memcmp(authorization.p + skip, web->token, len);
}

/* 0, or the status to refuse with. */
static int control_refusal(const struct web *web, const struct http_head *head, enum route route)
{
	if (!host_is_literal(head->host))
		return 403;
	bool open = !web->token || (route == ROUTE_METRICS && web->control_loopback);
	return open || token_is_right(web, head->authorization) ? 0 : 401;
}

static void answer_page(const struct web *web, enum route route, bool top,
	struct http_reply *reply)
{
	switch (route) {
	case ROUTE_STATS_JSON:
		reply->type = "application/json";
		stats_json(gather(web, top), reply->body);
		return;
	case ROUTE_METRICS:
		reply->type = "text/plain; version=0.0.4; charset=utf-8";
		stats_metrics(gather(web, false), reply->body);
		return;
	default:
		reply->type = "text/html; charset=utf-8";
		reply->extra = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'\r\n"
			       "X-Content-Type-Options: nosniff\r\n";
		stats_page(gather(web, top), reply->body);
	}
}

void web_answer(const struct web *web, enum web_role role, const struct http_head *head,
	const struct addr *from, bool tls, uint32_t now, struct http_reply *reply)
{
	enum proto proto = tls ? PROTO_HTTPS : PROTO_HTTP;
	struct text key;
	enum route route = request_route(head->path, &key);
	bool page = route == ROUTE_STATS || route == ROUTE_STATS_JSON || route == ROUTE_METRICS;
	bool here = role == WEB_CONTROL ? page : !page || !web->control_apart;
	if (route == ROUTE_NONE || !here) {
		answer_nothing(reply, 404, role == WEB_CONTROL ?
			"nothing here: /stats, /stats.json, /metrics" :
			"nothing here: this is a BitTorrent tracker: /announce, /scrape");
		return;
	}
	int status = role == WEB_CONTROL ? control_refusal(web, head, route) : 0;
	if (status) {
		if (status == 401)
			reply->extra = "WWW-Authenticate: Bearer\r\n";
		answer_nothing(reply, status, status == 401 ? "the token is missing or wrong" :
			"the Host header is no address of this tracker");
		return;
	}
	if (route == ROUTE_ANNOUNCE)
		answer_announce(web->service, head, key, from, proto, now, reply);
	else if (route == ROUTE_SCRAPE)
		answer_scrape(web, head, key, from, proto, now, reply);
	else if (role == WEB_TRACKER && !service_may_ask(web->service, from, now))
		answer_too_often(reply);
	else
		/* Names of torrents only where scraping all gives them too. */
		answer_page(web, route, role == WEB_CONTROL || web->service->config.full_scrape,
			reply);
}
