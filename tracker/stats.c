/* SPDX-License-Identifier: MIT */
/* What an operator sees: see stats.h.
 *
 * Thread: any.
 */
#include "tracker/stats.h"

#include "base/cli.h"
#include "base/hash.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOP_WALK 20000u /* swarms: a millisecond or two of the loop's time */

static const char *const protos[PROTOS] = {"http", "https", "udp"};
static const char *const families[] = {"ipv4", "ipv6"};
static const char *const kinds[] = {"leecher", "seed"};
static const char *const parts[] = {"off", "good", "bad"};

static uint64_t total(const struct stats *s, enum kind kind)
{
	return s->table.peers[V4][kind] + s->table.peers[V6][kind];
}

void stats_find_top(struct stats *s, const struct table *table)
{
	uint64_t cursor = 0;
	const struct swarm *w;
	s->n_top = 0;
	if (s->table.swarms > TOP_WALK)
		return;
	while ((w = table_walk(table, &cursor))) {
		uint32_t size = swarm_size(w);
		unsigned at = s->n_top;
		while (at && s->top[at - 1].seeds + s->top[at - 1].leechers < size)
			at--;
		if (!size || at == STATS_TOP)
			continue;
		s->n_top = MIN(s->n_top + 1, STATS_TOP);
		memmove(&s->top[at + 1], &s->top[at], (s->n_top - 1 - at) * sizeof(s->top[0]));
		memcpy(s->top[at].hash, w->hash, HASH_LEN);
		s->top[at].seeds = swarm_count(w, SEEDS);
		s->top[at].leechers = swarm_count(w, LEECHERS);
		s->top[at].downloaded = w->downloaded;
	}
}

/* "1,234,567" */
static const char *commas(uint64_t v, char ret[32])
{
	char digits[24];
	int n = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);
	char *p = ret;
	for (int i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			*p++ = ',';
		*p++ = digits[i];
	}
	*p = '\0';
	return ret;
}

const char *stats_peertracker(const struct stats *s, enum stats_form form, struct buf *out)
{
	char peers[32], seeds[32], leechers[32], torrents[32];
	commas(total(s, SEEDS) + total(s, LEECHERS), peers);
	commas(total(s, SEEDS), seeds);
	commas(total(s, LEECHERS), leechers);
	commas(s->table.torrents, torrents);
	switch (form) {
	case STATS_XML:
		buf_addf(out, "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>"
			"<tracker version=\"p2pfs %s\"><peers>%s</peers><seeders>%s</seeders>"
			"<leechers>%s</leechers><torrents>%s</torrents></tracker>",
			P2PFS_VERSION, peers, seeds, leechers, torrents);
		return "text/xml";
	case STATS_JSON:
		buf_addf(out, "{\"tracker\":{\"version\":\"p2pfs %s\",\"peers\":\"%s\",\"seeders\":"
			"\"%s\",\"leechers\":\"%s\",\"torrents\":\"%s\"}}",
			P2PFS_VERSION, peers, seeds, leechers, torrents);
		return "text/javascript";
	default:
		buf_addf(out, "<!doctype html><html><head><meta http-equiv=\"content-type\" "
			"content=\"text/html; charset=UTF-8\"><title>p2pfs %s</title></head><body><pre>"
			"%s peers (%s seeders + %s leechers) in %s torrents</pre></body></html>",
			P2PFS_VERSION, peers, seeds, leechers, torrents);
		return "text/html";
	}
}

/* -- JSON ------------------------------------------------------------------------------------ */

static json_t *number(uint64_t v)
{
	return json_integer((json_int_t)v);
}

static json_t *by_proto(const uint64_t counts[PROTOS])
{
	json_t *o = json_object();
	for (int p = 0; p < PROTOS; p++)
		json_object_set_new(o, protos[p], number(counts[p]));
	return o;
}

static json_t *top_json(const struct stats *s)
{
	json_t *list = json_array();
	for (unsigned i = 0; i < s->n_top; i++) {
		char hex[2 * HASH_LEN + 1];
		hex_encode(s->top[i].hash, HASH_LEN, hex);
		json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:I}", "info_hash", hex,
			"seeds", (json_int_t)s->top[i].seeds, "leechers",
			(json_int_t)s->top[i].leechers, "downloaded",
			(json_int_t)s->top[i].downloaded));
	}
	return list;
}

void stats_json(const struct stats *s, struct buf *out)
{
	json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f}",
		"version", P2PFS_VERSION,
		"uptime", (json_int_t)s->uptime_s,
		"torrents", (json_int_t)s->table.torrents,
		"peers", (json_int_t)(total(s, SEEDS) + total(s, LEECHERS)),
		"seeds", (json_int_t)total(s, SEEDS),
		"leechers", (json_int_t)total(s, LEECHERS),
		"peers_ipv6", (json_int_t)(s->table.peers[V6][SEEDS] + s->table.peers[V6][LEECHERS]),
		"memory", (json_int_t)s->table.memory,
		"announces_per_second", s->per_second);
	json_object_set_new(o, "announces", by_proto(s->service.announces));
	json_object_set_new(o, "scrapes", by_proto(s->service.scrapes));
	json_object_set_new(o, "refused", number(s->service.refused));
	json_object_set_new(o, "unlisted", number(s->service.unlisted));
	json_object_set_new(o, "udp", json_pack("{s:I, s:I}",
		"connects", (json_int_t)s->service.connects,
		"bad_ids", (json_int_t)s->service.bad_ids));
	json_object_set_new(o, "http", json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}",
		"open", (json_int_t)s->http.open,
		"accepted", (json_int_t)s->http.accepted,
		"requests", (json_int_t)s->http.requests,
		"bad", (json_int_t)s->http.bad,
		"evicted", (json_int_t)s->http.evicted,
		"timed_out", (json_int_t)s->http.timed_out));
	json_object_set_new(o, "lists", json_pack("{s:I, s:I, s:I, s:I}",
		"torrents", (json_int_t)s->lists.torrents,
		"passkeys", (json_int_t)s->lists.keys,
		"networks", (json_int_t)s->lists.networks,
		"sites", (json_int_t)s->lists.sites));
	json_object_set_new(o, "state", json_pack("{s:s, s:I, s:I, s:I, s:I, s:I}",
		"is", parts[s->state.part],
		"rounds", (json_int_t)s->state.rounds,
		"written", (json_int_t)s->state.written,
		"bytes", (json_int_t)s->state.bytes,
		"errors", (json_int_t)s->state.errors,
		"behind", (json_int_t)s->state.behind_s));
	json_object_set_new(o, "cluster", json_pack("{s:s, s:I, s:I, s:I, s:I}",
		"is", parts[s->cluster.part],
		"sent", (json_int_t)s->cluster.sent,
		"received", (json_int_t)s->cluster.received,
		"dropped", (json_int_t)s->cluster.dropped,
		"outages", (json_int_t)s->cluster.outages));
	json_object_set_new(o, "top", top_json(s));
	char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	if (text)
		buf_addf(out, "%s\n", text);
	free(text);
	json_decref(o);
}

/* -- Prometheus ------------------------------------------------------------------------------ */

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
	buf_addf(out, "# HELP p2pfs_tracker_%s %s\n# TYPE p2pfs_tracker_%s %s\n", name, help, name,
		type);
}

static void metric(struct buf *out, const char *name, const char *type, const char *help,
	uint64_t v)
{
	head(out, name, type, help);
	buf_addf(out, "p2pfs_tracker_%s %llu\n", name, (unsigned long long)v);
}

static void metric_by_proto(struct buf *out, const char *name, const char *help,
	const uint64_t counts[PROTOS])
{
	head(out, name, "counter", help);
	for (int p = 0; p < PROTOS; p++)
		buf_addf(out, "p2pfs_tracker_%s{protocol=\"%s\"} %llu\n", name, protos[p],
			(unsigned long long)counts[p]);
}

void stats_metrics(const struct stats *s, struct buf *out)
{
	head(out, "info", "gauge", "The version that runs.");
	buf_addf(out, "p2pfs_tracker_info{version=\"%s\"} 1\n", P2PFS_VERSION);
	metric(out, "uptime_seconds", "gauge", "Since the start.", s->uptime_s);
	head(out, "peers", "gauge", "Peers that are listed.");
	for (int f = V4; f <= V6; f++) {
		for (int k = LEECHERS; k <= SEEDS; k++)
			buf_addf(out, "p2pfs_tracker_peers{family=\"%s\",kind=\"%s\"} %llu\n",
				families[f], kinds[k], (unsigned long long)s->table.peers[f][k]);
	}
	metric(out, "torrents", "gauge", "Torrents with peers.", s->table.torrents);
	metric(out, "table_bytes", "gauge", "What peers and torrents take.", s->table.memory);
	metric_by_proto(out, "announces_total", "Announces that came.", s->service.announces);
	metric_by_proto(out, "scrapes_total", "Scrapes that came.", s->service.scrapes);
	metric(out, "refused_total", "counter", "Answered with a failure.", s->service.refused);
	metric(out, "unlisted_total", "counter", "Served but not listed: the table was full.",
		s->service.unlisted);
	metric(out, "udp_connects_total", "counter", "UDP connection ids given.",
		s->service.connects);
	metric(out, "udp_bad_ids_total", "counter", "UDP packets with a wrong connection id.",
		s->service.bad_ids);
	metric(out, "http_connections", "gauge", "Connections that are open.", s->http.open);
	metric(out, "http_accepted_total", "counter", "Connections that came.", s->http.accepted);
	metric(out, "http_requests_total", "counter", "Requests that were answered.",
		s->http.requests);
	metric(out, "http_bad_total", "counter", "Requests that could not be understood.",
		s->http.bad);
	metric(out, "http_evicted_total", "counter", "Connections closed to make room.",
		s->http.evicted);
	metric(out, "http_timed_out_total", "counter", "Connections that were too slow.",
		s->http.timed_out);
	if (s->state.part != PART_OFF) {
		metric(out, "state_good", "gauge", "Is the state on disk being written?",
			s->state.part == PART_GOOD);
		metric(out, "state_written_total", "counter",
			"Rows written: counts, and peers by 256.", s->state.written);
		metric(out, "state_written_bytes_total", "counter", "Bytes of peers written.",
			s->state.bytes);
		metric(out, "state_errors_total", "counter", "Writes that failed.",
			s->state.errors);
		metric(out, "state_behind_seconds", "gauge", "Age of the oldest unwritten change.",
			s->state.behind_s);
	}
	if (s->cluster.part != PART_OFF) {
		metric(out, "cluster_good", "gauge", "Is Redis there?",
			s->cluster.part == PART_GOOD);
		metric(out, "cluster_sent_total", "counter", "Changes told to others.",
			s->cluster.sent);
		metric(out, "cluster_received_total", "counter", "Changes heard from others.",
			s->cluster.received);
		metric(out, "cluster_dropped_total", "counter", "Changes not told in time.",
			s->cluster.dropped);
		metric(out, "cluster_outages_total", "counter", "Times that Redis went away.",
			s->cluster.outages);
	}
}

/* -- the page --------------------------------------------------------------------------------- */

static void row(struct buf *out, const char *name, uint64_t v)
{
	char text[32];
	buf_addf(out, "<tr><th>%s<td>%s\n", name, commas(v, text));
}

static void row_text(struct buf *out, const char *name, const char *text, bool bad)
{
	buf_addf(out, "<tr><th>%s<td%s>%s\n", name, bad ? " class=bad" : "", text);
}

static void section(struct buf *out, const char *name)
{
	buf_addf(out, "</table><h2>%s</h2><table>\n", name);
}

static const char *format_uptime(uint32_t s, char ret[64])
{
	if (s >= 86400)
		snprintf(ret, 64, "%u d %u h", s / 86400, s % 86400 / 3600);
	else if (s >= 3600)
		snprintf(ret, 64, "%u h %u min", s / 3600, s % 3600 / 60);
	else
		snprintf(ret, 64, "%u min %u s", s / 60, s % 60);
	return ret;
}

void stats_page(const struct stats *s, struct buf *out)
{
	char text[64], size[32];
	uint64_t refused = s->service.refused, announces = 0, scrapes = 0;
	for (int p = 0; p < PROTOS; p++) {
		announces += s->service.announces[p];
		scrapes += s->service.scrapes[p];
	}
	buf_add_str(out, "<!doctype html><html lang=en><meta charset=utf-8>"
		"<meta http-equiv=refresh content=10><meta name=viewport content=\"width=device-width\">"
		"<title>p2pfs tracker</title><style>body{font:16px/1.5 sans-serif;max-width:46rem;"
		"margin:2rem auto;padding:0 1rem}th{text-align:left;font-weight:normal;padding-right:2rem}"
		"td{text-align:right;font-variant-numeric:tabular-nums}h2{font-size:1rem;margin:1.2rem 0 0}"
		".bad{color:#b00;font-weight:bold}code{font-size:.85em}</style>"
		"<h1>p2pfs tracker</h1><table>\n");
	row(out, "Torrents", s->table.torrents);
	row(out, "Seeds", total(s, SEEDS));
	row(out, "Leechers", total(s, LEECHERS));
	row(out, "of them IPv6", s->table.peers[V6][SEEDS] + s->table.peers[V6][LEECHERS]);
	row_text(out, "Table", format_size(s->table.memory, size), false);
	row_text(out, "Up", format_uptime(s->uptime_s, text), false);
	section(out, "Requests");
	snprintf(text, sizeof(text), "%.1f", s->per_second);
	row_text(out, "Announces a second", text, false);
	row(out, "Announces", announces);
	row(out, "over UDP", s->service.announces[PROTO_UDP]);
	row(out, "over HTTPS", s->service.announces[PROTO_HTTPS]);
	row(out, "Scrapes", scrapes);
	row(out, "Refused", refused);
	row(out, "Served but not listed", s->service.unlisted);
	row(out, "Wrong UDP connection ids", s->service.bad_ids);
	section(out, "Connections");
	row(out, "Open", s->http.open);
	row(out, "Not understood", s->http.bad);
	row(out, "Closed to make room", s->http.evicted);
	row(out, "Too slow", s->http.timed_out);
	if (s->state.part != PART_OFF) {
		section(out, "State on disk");
		row_text(out, "Is", parts[s->state.part], s->state.part == PART_BAD);
		row(out, "Seconds behind", s->state.behind_s);
	}
	if (s->cluster.part != PART_OFF) {
		section(out, "Cluster");
		row_text(out, "Redis is", s->cluster.part == PART_GOOD ? "there" :
			"away: served from memory", s->cluster.part == PART_BAD);
		row(out, "Changes told", s->cluster.sent);
		row(out, "Changes heard", s->cluster.received);
	}
	if (s->n_top) {
		section(out, "Largest torrents");
		buf_add_str(out, "<tr><th>Info-hash<td>Seeds<td>Leechers<td>Downloaded\n");
	}
	for (unsigned i = 0; i < s->n_top; i++) {
		char hex[2 * HASH_LEN + 1];
		hex_encode(s->top[i].hash, HASH_LEN, hex);
		buf_addf(out, "<tr><th><code>%s</code><td>%u<td>%u<td>%u\n", hex, s->top[i].seeds,
			s->top[i].leechers, s->top[i].downloaded);
	}
	buf_addf(out, "</table><p>p2pfs %s</html>\n", P2PFS_VERSION);
}
