// SPDX-License-Identifier: MIT
/* Announcing over HTTP (BEP 3, 7, 23, 31): the request's URL, the reply, and one announce.
 *
 * Peers come as compact strings ("peers" 6 bytes each, "peers6" 18) or as a list of dictionaries;
 * of these, hosts that are names are passed over.  ip=, ipv4= and ipv6= are not sent (BEP 7
 * discourages them), nor supportcrypto.
 *
 * Thread: loop.
 */
#include "swarm/announce_one.h"
#include "swarm/http.h"
#include "swarm/url.h"
#include "base/bencode.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct announce_http {
	struct http_request *request;
	announce_done_fn *done;
	void *arg;
};

void announce_reply_done(struct announce_reply *r)
{
	free(r->failure);
	free(r->warning);
	free(r->tracker_id);
	free(r->peers);
	*r = (struct announce_reply) {0};
}

/* -- the request ------------------------------------------------------------------------- */

char *announce_http_url(const char *tracker, const struct announce_request *r)
{
	static const char *const events[] = {[ANNOUNCE_NONE] = NULL,
		[ANNOUNCE_COMPLETED] = "completed",
		[ANNOUNCE_STARTED] = "started",
		[ANNOUNCE_STOPPED] = "stopped"};
	CLEANUP_FREE char *hash = url_escape(r->hash, sizeof(r->hash), "");
	CLEANUP_FREE char *peer_id = url_escape(r->peer_id, sizeof(r->peer_id), "");
	size_t len = strcspn(tracker, "#");
	const char *query = memchr(tracker, '?', len);
	const char *joint = !query                                                  ? "?"
			    : query + 1 == tracker + len || tracker[len - 1] == '&' ? ""
										    : "&";
	struct buf b = {0};

	buf_add(&b, tracker, len);
	buf_addf(&b, "%sinfo_hash=%s&peer_id=%s&port=%u", joint, hash, peer_id, r->port);
	buf_addf(&b, "&uploaded=%" PRIu64 "&downloaded=%" PRIu64 "&left=%" PRIu64,
		r->totals.uploaded, r->totals.downloaded, r->totals.left);
	buf_addf(&b, "&compact=1&no_peer_id=1&numwant=%u&key=%08" PRIX32, r->numwant, r->key);
	if (events[r->event])
		buf_addf(&b, "&event=%s", events[r->event]);
	if (r->tracker_id)
		buf_addf(&b, "&trackerid=%s", r->tracker_id);
	char *url = xstrndup((const char *)buf_bytes(&b), b.len);
	buf_done(&b);
	return url;
}

/* -- the reply --------------------------------------------------------------------------- */

static bool peers_full(const struct announce_reply *r)
{
	return r->n_peers >= TRACKER_MAX_PEERS;
}

static void peers_add(struct announce_reply *r, const struct addr *a)
{
	if (a->port)
		r->peers[r->n_peers++] = *a;
}

static const char *peers_compact(struct ben v, size_t size, struct announce_reply *ret)
{
	size_t len;
	const uint8_t *p = ben_bytes(v, &len);

	if (len % size)
		return size == 6 ? "peers: length is no multiple of 6"
				 : "peers6: length is no multiple of 18";
	for (; len && !peers_full(ret); p += size, len -= size) {
		struct addr a;
		if (size == 6)
			addr_from_compact4(p, &a);
		else
			addr_from_compact6(p, &a);
		peers_add(ret, &a);
	}
	return NULL;
}

static const char *peers_list(struct ben v, struct announce_reply *ret)
{
	for (struct ben_iter i = ben_iter(v); ben_next(&i) && !peers_full(ret);) {
		CLEANUP_FREE char *ip = ben_strdup(ben_get(i.value, "ip"));
		int64_t port = ben_int(ben_get(i.value, "port"), -1);
		struct addr a;
		if (ben_type(i.value) != BEN_DICT)
			return "peers: an entry is no dictionary";
		if (port < 0 || port > UINT16_MAX)
			return "peers: a port is none";
		if (!ip || addr_parse(ip, 0, &a) < 0 || a.port)
			continue; /* a name, or nothing that we can connect to */
		a.port = (uint16_t)port;
		peers_add(ret, &a);
	}
	return NULL;
}

static const char *peers_parse(struct ben root, struct announce_reply *ret)
{
	static const struct {
		const char *key;
		size_t size;
	} keys[] = {{"peers", 6}, {"peers6", 18}};
	const char *why = NULL;

	ret->peers = xcalloc(TRACKER_MAX_PEERS, sizeof(*ret->peers));
	for (unsigned i = 0; i < ARRAY_SIZE(keys) && !why; i++) {
		struct ben v = ben_get(root, keys[i].key);
		switch (ben_type(v)) {
		case BEN_STR:
			why = peers_compact(v, keys[i].size, ret);
			break;
		case BEN_LIST:
			why = peers_list(v, ret);
			break;
		case BEN_NONE:
			break;
		default:
			why = "peers: neither string nor list";
		}
	}
	return why;
}

/* A sentence of the tracker's, or NULL. */
static char *text_parse(struct ben dict, const char *key)
{
	size_t len;
	const uint8_t *p = ben_bytes(ben_get(dict, key), &len);

	return p ? xstrdup(log_quote(p, MIN(len, (size_t)TRACKER_MAX_TEXT))) : NULL;
}

static uint32_t seconds_parse(struct ben dict, const char *key)
{
	int64_t v = ben_int(ben_get(dict, key), 0);

	return v <= 0 ? 0 : (uint32_t)MIN(v, (int64_t)UINT32_MAX);
}

static int32_t count_parse(struct ben dict, const char *key)
{
	int64_t v = ben_int(ben_get(dict, key), -1);

	return v < 0 || v > INT32_MAX ? -1 : (int32_t)v;
}

/* BEP 31's "retry in": minutes, as an integer or (as in its examples) a string, or "never". */
static int64_t retry_parse(struct ben dict)
{
	struct ben v = ben_get(dict, "retry in");
	int64_t minutes = ben_int(v, 0);

	if (ben_is(v, "never"))
		return -1;
	if (ben_type(v) == BEN_STR) {
		size_t len;
		const uint8_t *p = ben_bytes(v, &len);
		for (size_t i = 0; i < len; i++) {
			if (p[i] < '0' || p[i] > '9' || i > 8)
				return 0;
			minutes = minutes * 10 + p[i] - '0';
		}
	}
	return minutes <= 0 ? 0 : MIN(minutes, (int64_t)TRACKER_MAX_RETRY_S / 60) * 60;
}

static void tracker_id_parse(struct ben dict, struct announce_reply *ret)
{
	size_t len;
	const uint8_t *p = ben_bytes(ben_get(dict, "tracker id"), &len);

	if (p && len && len <= TRACKER_MAX_ID)
		ret->tracker_id = url_escape(p, len, "");
}

/* An answer to "stopped" may hold nothing; any other dictionary is no tracker's. */
static bool is_answer(struct ben root)
{
	static const char *const keys[] = {"interval", "peers", "peers6", "warning message"};

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (ben_type(ben_get(root, keys[i])) != BEN_NONE)
			return true;
	return ben_count(root) == 0;
}

static void cleanup_ben(struct ben_doc **doc)
{
	ben_free(*doc);
}

int announce_http_parse(
	const uint8_t *body, size_t len, struct announce_reply *ret, const char **ret_why)
{
	CLEANUP(cleanup_ben) struct ben_doc *doc = NULL;
	struct announce_reply r = {.seeds = -1, .leechers = -1};
	size_t used, at;

	/* Some trackers end their reply with a newline. */
	if (ben_parse_prefix(body, len, TRACKER_REPLY_MAX_TOKENS, &doc, &used, ret_why, &at) < 0)
		return -EINVAL;
	struct ben root = ben_root(doc);
	if (ben_type(root) != BEN_DICT) {
		*ret_why = "the reply is no dictionary";
		return -EINVAL;
	}
	r.failure = text_parse(root, "failure reason");
	r.warning = text_parse(root, "warning message");
	r.interval_s = seconds_parse(root, "interval");
	r.min_interval_s = seconds_parse(root, "min interval");
	r.seeds = count_parse(root, "complete");
	r.leechers = count_parse(root, "incomplete");
	tracker_id_parse(root, &r);
	const char *why = NULL;
	if (r.failure)
		r.retry_s = retry_parse(root);
	else
		why = peers_parse(root, &r);
	if (!why && !r.failure && !is_answer(root))
		why = "neither interval nor peers nor failure reason";
	if (why) {
		announce_reply_done(&r);
		*ret_why = why;
		return -EINVAL;
	}
	*ret = r;
	return 0;
}

/* -- one announce ------------------------------------------------------------------------ */

static void on_reply(void *arg, const char *error, int status, const uint8_t *body, size_t len)
{
	CLEANUP_FREE struct announce_http *a = arg;
	struct announce_reply reply = {0};
	const char *why = NULL;
	char text[400];

	if (error) {
		a->done(a->arg, NULL, error, status == HTTP_NO_ADDRESS);
		return;
	}
	/* A failure is taken from a reply of any status: some trackers send 400 with it. */
	bool parsed = announce_http_parse(body, len, &reply, &why) == 0;
	if (parsed && reply.failure) {
		a->done(a->arg, &reply, reply.failure, false);
	} else if (status != 200) {
		snprintf(text, sizeof(text), "HTTP status %d", status);
		a->done(a->arg, NULL, text, false);
	} else if (!parsed) {
		snprintf(text, sizeof(text), "not a tracker's reply: %s: \"%s\"", why,
			log_quote(body, MIN(len, (size_t)20)));
		a->done(a->arg, NULL, text, false);
	} else {
		a->done(a->arg, &reply, NULL, false);
	}
	announce_reply_done(&reply);
}

struct announce_http *announce_http_start(struct http *http, const char *tracker, int family,
	const struct announce_request *request, unsigned timeout_ms, announce_done_fn *done,
	void *arg, const char **ret_why)
{
	CLEANUP_FREE char *url = announce_http_url(tracker, request);
	struct announce_http *a = xcalloc(1, sizeof(*a));
	struct http_options options = {.max_body = HTTP_MAX_REPLY,
		.timeout_ms = timeout_ms,
		.family = family,
		.tracker = true};
	struct http_callbacks cb = {.done = on_reply, .arg = a};

	a->done = done;
	a->arg = arg;
	a->request = http_get(http, url, &options, &cb, ret_why);
	if (!a->request) {
		free(a);
		return NULL;
	}
	return a;
}

void announce_http_cancel(struct announce_http *a)
{
	http_cancel(a->request);
	free(a);
}
