/* SPDX-License-Identifier: MIT */
/* Announces and scrapes out of URLs: see request.h.
 *
 * Thread: any.
 */
#include "tracker/request.h"

#include "base/mem.h"

#include <string.h>

enum route request_route(struct text path, struct text *ret_key)
{
	static const struct {
		const char *name;
		enum route route;
	} names[] = {
		{"announce", ROUTE_ANNOUNCE},
		{"announce.php", ROUTE_ANNOUNCE},
		{"scrape", ROUTE_SCRAPE},
		{"scrape.php", ROUTE_SCRAPE},
		{"stats", ROUTE_STATS},
		{"stats.json", ROUTE_STATS_JSON},
		{"metrics", ROUTE_METRICS},
		{"", ROUTE_STATS},
	};
	*ret_key = (struct text) {"", 0};
	const char *slash = path.len ? memrchr(path.p, '/', path.len) : NULL;
	if (!slash)
		return ROUTE_NONE;
	struct text last = {slash + 1, path.len - (size_t)(slash + 1 - path.p)};
	struct text before = {path.p, (size_t)(slash - path.p)};
	if (before.len) {
		const char *s = memrchr(before.p, '/', before.len);
		size_t skip = s ? (size_t)(s + 1 - before.p) : 0;
		if (before.len - skip <= PASSKEY_MAX)
			*ret_key = (struct text) {before.p + skip, before.len - skip};
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		/* Only the tracker's own two stand under any prefix. */
		if (text_is(last, names[i].name) &&
			(names[i].route <= ROUTE_SCRAPE || !before.len))
			return names[i].route;
	}
	return ROUTE_NONE;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Up to the next '&'; gives the place. */
static const char *decode_value(const char *p, const char *end, struct param *ret)
{
	for (; p < end && *p != '&'; p++) {
		uint8_t c = (uint8_t)*p;
		int high, low;
		if (c == '%' && end - p > 2 && (high = hex_digit(p[1])) >= 0 &&
			(low = hex_digit(p[2])) >= 0) {
			c = (uint8_t)(high << 4 | low);
			p += 2;
		} else if (c == '+') {
			c = ' ';
		}
		if (ret->len < sizeof(ret->value))
			ret->value[ret->len] = c;
		ret->len++;
	}
	return p;
}

bool request_param(struct text *query, struct param *ret)
{
	const char *p = query->p, *end = query->p + query->len;
	while (p < end && *p == '&')
		p++;
	if (p == end)
		return false;
	ret->name.p = p;
	while (p < end && *p != '&' && *p != '=')
		p++;
	ret->name.len = (size_t)(p - ret->name.p);
	ret->len = 0;
	if (p < end && *p == '=')
		p = decode_value(p + 1, end, ret);
	query->p = p;
	query->len = (size_t)(end - p);
	return true;
}

/* Decimal; false for anything else and beyond 64 bits. */
static bool param_number(const struct param *p, uint64_t *ret)
{
	uint64_t v = 0;
	if (!p->len || p->len > sizeof(p->value))
		return false;
	for (size_t i = 0; i < p->len; i++) {
		unsigned digit = (unsigned)p->value[i] - '0';
		if (digit > 9 || __builtin_mul_overflow(v, 10u, &v) ||
			__builtin_add_overflow(v, digit, &v))
			return false;
	}
	*ret = v;
	return true;
}

static bool param_is(const struct param *p, const char *value)
{
	return p->len == strlen(value) && !memcmp(p->value, value, p->len);
}

static bool param_ip(const struct param *p, struct addr *ret)
{
	char text[ADDR_STRLEN];
	struct addr a;
	if (!p->len || p->len >= sizeof(text) - 2)
		return false;
	/* addr_parse wants IPv6 in brackets; memchr also keeps ports and NULs out. */
	bool v6 = memchr(p->value, ':', p->len);
	size_t at = 0;
	if (v6)
		text[at++] = '[';
	memcpy(text + at, p->value, p->len);
	at += p->len;
	if (v6)
		text[at++] = ']';
	text[at] = '\0';
	if (strlen(text) != at || addr_parse(text, 0, &a) < 0 || addr_is_any(&a) ||
		addr_is_multicast(&a))
		return false;
	memcpy(ret->ip, a.ip, sizeof(ret->ip));
	return true;
}

const char *request_announce(struct text query, const struct addr *from, bool allow_ip,
	struct http_announce *ret)
{
	*ret = (struct http_announce) {.compact = true};
	struct announce *a = &ret->a;
	a->from = *from;
	a->numwant = NUMWANT_DEFAULT;
	a->other_family = true;
	bool have_hash = false, have_id = false, have_left = false;
	uint64_t port = 0, left = 0, number;
	struct param p;
	while (request_param(&query, &p)) {
		if (text_is(p.name, "info_hash")) {
			if (p.len != HASH_LEN)
				return "info_hash is not 20 bytes";
			memcpy(a->hash, p.value, HASH_LEN);
			have_hash = true;
		} else if (text_is(p.name, "peer_id")) {
			if (p.len != PEER_ID_LEN)
				return "peer_id is not 20 bytes";
			memcpy(a->peer_id, p.value, PEER_ID_LEN);
			have_id = true;
		} else if (text_is(p.name, "port")) {
			if (!param_number(&p, &port) || port > 65535)
				port = 0;
		} else if (text_is(p.name, "left")) {
			/* Some say -1 while they do not know yet. */
			bool minus = p.len > 1 && p.value[0] == '-';
			if (!param_number(&p, &left) && !minus)
				return "client data left field is invalid";
			if (minus)
				left = 1;
			have_left = true;
		} else if (text_is(p.name, "event")) {
			if (param_is(&p, "started"))
				a->event = EVENT_STARTED;
			else if (param_is(&p, "completed"))
				a->event = EVENT_COMPLETED;
			else if (param_is(&p, "stopped"))
				a->event = EVENT_STOPPED;
		} else if (text_is(p.name, "compact")) {
			ret->compact = !param_is(&p, "0");
		} else if (text_is(p.name, "no_peer_id")) {
			ret->no_peer_id = !param_is(&p, "0");
		} else if (text_is(p.name, "numwant")) {
			if (param_number(&p, &number))
				a->numwant = (uint32_t)MIN(number, (uint64_t)UINT32_MAX);
		} else if (text_is(p.name, "ip") && allow_ip) {
			if (!param_ip(&p, &a->from))
				return "invalid ip, dotted decimal only";
		}
	}
	if (!have_hash)
		return "info_hash is missing";
	if (!have_id)
		return "peer_id is missing";
	if (!port && a->event != EVENT_STOPPED)
		return "client listening port is invalid";
	if (!have_left)
		return "client data left field is invalid";
	a->from.port = (uint16_t)port;
	a->seed = left == 0;
	return NULL;
}

const char *request_scrape(struct text query, struct http_scrape *ret)
{
	ret->n = 0;
	ret->stats = STATS_NONE;
	struct param p;
	while (request_param(&query, &p)) {
		if (text_is(p.name, "info_hash")) {
			if (p.len != HASH_LEN)
				return "info_hash is not 20 bytes";
			if (ret->n == SCRAPE_MAX)
				return "more than 100 hashes in one scrape";
			memcpy(ret->hashes[ret->n++], p.value, HASH_LEN);
		} else if (text_is(p.name, "stats")) {
			ret->stats = STATS_HTML;
			if (param_is(&p, "xml"))
				ret->stats = STATS_XML;
			else if (param_is(&p, "json"))
				ret->stats = STATS_JSON;
		}
	}
	return NULL;
}
