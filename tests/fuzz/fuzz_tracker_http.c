/* SPDX-License-Identifier: MIT */
/* Fuzz: what comes over a connection to the tracker, through parsing to the reply.
 *
 * A reply to an announce or a scrape must be canonical bencoding, whatever was asked.
 */
#include "tracker/web.h"

#include "base/bencode.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1000000u

static struct service service;

static void gather(void *arg, struct stats *ret)
{
	table_counts(service.table, &ret->table);
}

static void begin(void)
{
	struct table_config config = {.max_torrents = 50, .max_peers = 500, .max_swarm = 200,
		.pace = {5, 1800}};
	char *error = NULL;
	if (lists_load(&(struct lists_paths) {0}, &service.lists, &error) < 0)
		abort();
	service.config = (struct service_config) {.numwant_max = 200, .allow_ip = true,
		.full_scrape = true, .tracker_id = "id"};
	service.table = table_new(&config, NOW);
}

static void check(const struct http_head *head, const struct http_reply *reply)
{
	struct text key;
	enum route route = request_route(head->path, &key);
	struct ben_doc *doc;
	const char *why;
	size_t at;
	if (route != ROUTE_ANNOUNCE && (route != ROUTE_SCRAPE || reply->type))
		return;
	int err = ben_parse(buf_bytes(reply->body), reply->body->len, 100000, &doc, &why, &at);
	assert(err == 0);
	assert(ben_canonical(doc) || route == ROUTE_SCRAPE); /* in the order that was asked */
	ben_free(doc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!service.table)
		begin();
	struct web web = {.service = &service, .gather = gather, .token = "token"};
	struct addr from;
	addr_parse(size % 2 ? "192.0.2.1:1" : "[2001:db8::1]:1", 1, &from);
	const char *p = (const char *)data;
	while (size) {
		struct http_head head;
		const char *why = NULL;
		int n = http_head_parse(p, size, &head, &why);
		assert(n >= 0 ? (size_t)n <= size : why != NULL);
		if (n <= 0)
			break;
		for (int role = WEB_TRACKER; role <= WEB_CONTROL; role++) {
			CLEANUP(buf_done) struct buf body = {0};
			struct http_reply reply = {.status = 200, .body = &body};
			web_answer(&web, role, &head, &from, false, NOW, &reply);
			if (role == WEB_TRACKER)
				check(&head, &reply);
		}
		p += n;
		size -= (size_t)n;
	}
	return 0;
}
