/* SPDX-License-Identifier: MIT */
/* Facts for the status.
 *
 * Names of the JSON's fields are a contract with scripts: they may be added to, not changed.
 */
#include "swarm/torrent.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/announce.h"
#include "swarm/peers.h"
#include "swarm/store.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* Reads that wait, and nothing that came for so long: stalled. */
#define STALLED_US (5 * US_PER_S)

static uint64_t had_bytes(const struct torrent *t)
{
	uint64_t had = 0;
	uint32_t bpp = t->layout.blocks_per_piece;
	for (uint32_t p = 0; p < t->layout.n_pieces; p++) {
		if (bits_get(&t->picker.pieces, p)) {
			had += layout_piece_len(&t->layout, p);
			continue;
		}
		uint32_t n = layout_piece_blocks(&t->layout, p);
		uint32_t have = bits_count(&t->have, p * bpp, n);
		for (uint32_t i = 0; have && i < n; i++) {
			if (bits_get(&t->have, p * bpp + i))
				had += layout_block_len(&t->layout, p, i);
		}
	}
	return had;
}

/* What stands in the way, most telling first. */
static void why_stalled(struct torrent *t, char *ret, size_t size)
{
	unsigned open = 0, unchoked = 0;
	for (const struct conn *c = t->conns; c; c = c->next) {
		open += c->state == CONN_OPEN;
		unchoked += c->state == CONN_OPEN && !c->choked;
	}
	bool web = false;
	for (const struct web_source *w = t->web; w; w = w->next)
		web = web || !w->banned;
	struct announce_status s = {0};
	const char *tracker_error = NULL;
	for (size_t i = 0; i < announcer_count(t->announcer); i++) {
		announcer_status(t->announcer, i, &s);
		if (s.error && s.error[0])
			tracker_error = s.error;
	}
	if (t->disk_error)
		snprintf(ret, size, "the store takes no data: %s", strerror(-t->disk_error));
	else if (!open && !web && tracker_error)
		snprintf(ret, size, "no peers; tracker: %s", tracker_error);
	else if (!open && !web)
		snprintf(ret, size, "no peers (%zu known)", peers_known(t->peers));
	else if (!unchoked && !web)
		snprintf(ret, size, "none of %u peers lets us fetch yet", open);
	else
		snprintf(ret, size, "none of %u peers has sent what is asked for", open);
}

static bool is_stalled(const struct torrent *t, uint64_t now)
{
	if (t->disk_error)
		return true;
	uint64_t last = t->started;
	for (const struct conn *c = t->conns; c; c = c->next)
		last = MAX(last, c->last_block);
	for (const struct web_source *w = t->web; w; w = w->next)
		last = MAX(last, w->path.delivered_at);
	const struct read *r = t->reads;
	bool wanted = t->fill || profile_wants(t) || (r && now - r->since > STALLED_US);
	return wanted && now - last > STALLED_US;
}

void status_refresh(struct torrent *t, uint64_t now)
{
	struct torrent_facts f = {
		.size = t->meta->size,
		.had = MIN(had_bytes(t), t->meta->size),
		.zero = t->zero_bytes,
		.on_disk = t->store->ops->used(t->store),
		.down_rate = meter_rate(&t->down, now),
		.up_rate = meter_rate(&t->up, now),
		.downloaded = t->down.total,
		.uploaded = t->up.total,
		.wasted = t->wasted,
		.corrupt = t->corrupt,
		.waiting = t->n_reads,
		.state = "fetching",
	};
	if (f.on_disk == ULLONG_MAX)
		f.on_disk = 0;
	for (const struct conn *c = t->conns; c; c = c->next) {
		f.peers += c->state == CONN_OPEN;
		f.seeds += c->state == CONN_OPEN && c->is_seed;
	}
	if (t->complete) {
		f.state = "complete";
	} else if (t->n_claimed || t->checking) {
		f.state = "checking";
	} else if (t->read_only) {
		f.state = "stalled";
		snprintf(f.why, sizeof(f.why), "what lies there is not all of the torrent; it is not changed");
	} else if (is_stalled(t, now)) {
		f.state = "stalled";
		why_stalled(t, f.why, sizeof(f.why));
	}
	LOCK_SCOPE(&t->facts_lock);
	t->facts = f;
}

void torrent_facts(struct torrent *t, struct torrent_facts *ret)
{
	LOCK_SCOPE(&t->facts_lock);
	*ret = t->facts;
}

uint64_t torrent_stored_bytes(const struct torrent *t, uint32_t file)
{
	const struct metainfo_file *f = &t->meta->files[file];
	uint32_t first, n;
	if (!f->length)
		return 0;
	layout_blocks(&t->layout, f->offset, f->length, &first, &n);
	uint64_t blocks = bits_count(&t->have, first, n) - bits_count(&t->zero, first, n);
	return MIN(blocks * BLOCK_SIZE, f->length);
}

int64_t torrent_seek(const struct torrent *t, uint32_t file, uint64_t offset, bool hole)
{
	const struct metainfo_file *f = &t->meta->files[file];
	const struct layout *l = &t->layout;
	if (offset >= f->length)
		return -ENXIO;
	uint32_t first, n;
	layout_blocks(l, f->offset + offset, f->length - offset, &first, &n);
	uint32_t at = hole ? bits_next_set(&t->zero, first) : bits_next_clear(&t->zero, first);
	/* Numbers that stand for nothing are no data: they lie behind the file's end. */
	if (at >= first + n)
		return hole ? (int64_t)f->length : -ENXIO;
	uint64_t pos = layout_offset(l, at / l->blocks_per_piece, at % l->blocks_per_piece);
	pos = pos > f->offset ? pos - f->offset : 0;
	pos = MIN(pos, f->length); /* a block of v1 may hold one file's end and the next one's start */
	return (int64_t)MAX(offset, pos);
}

/* -- JSON ------------------------------------------------------------------------------------- */

static int compare_us(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

static json_t *reads_json(const struct torrent *t)
{
	uint32_t us[ARRAY_SIZE(t->latency.us)];
	unsigned n = MIN(t->latency.n, (unsigned)ARRAY_SIZE(us));
	memcpy(us, t->latency.us, n * sizeof(us[0]));
	qsort(us, n, sizeof(us[0]), compare_us);
	json_t *j = json_pack("{s:I, s:i}", "waited", (json_int_t)t->reads_total, "waiting", (int)t->n_reads);
	json_object_set_new(j, "p50_ms", n ? json_real(us[n / 2] / 1e3) : json_null());
	json_object_set_new(j, "p99_ms", n ? json_real(us[n * 99 / 100] / 1e3) : json_null());
	json_object_set_new(j, "hedged", json_integer((json_int_t)t->hedges));
	return j;
}

static json_t *peers_json(struct torrent *t, uint64_t now)
{
	json_t *list = json_array();
	for (struct conn *c = t->conns; c; c = c->next) {
		if (c->state != CONN_OPEN)
			continue;
		json_t *j = json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b}", "address", c->name, "client",
			c->client, "incoming", c->incoming, "v2", c->v2, "seed", c->is_seed,
			"choking_us", c->choked, "interested", c->choker.interested, "unchoked",
			c->choker.unchoked);
		json_object_set_new(j, "down_rate", json_integer((json_int_t)meter_rate(&c->down, now)));
		json_object_set_new(j, "up_rate", json_integer((json_int_t)meter_rate(&c->up, now)));
		json_object_set_new(j, "downloaded", json_integer((json_int_t)c->down.total));
		json_object_set_new(j, "uploaded", json_integer((json_int_t)c->up.total));
		json_object_set_new(j, "rtt_ms", json_real((double)path_rtt(&c->path) / 1e3));
		json_object_set_new(j, "asked", json_integer(c->n_asks));
		json_object_set_new(j, "pieces", json_integer(c->has.set));
		json_array_append_new(list, j);
	}
	return list;
}

static json_t *trackers_json(struct torrent *t)
{
	json_t *list = json_array();
	for (size_t i = 0; i < announcer_count(t->announcer); i++) {
		struct announce_status s;
		announcer_status(t->announcer, i, &s);
		json_t *j = json_pack("{s:s, s:s, s:I, s:I, s:i, s:i, s:i}", "url", s.url, "result",
			!s.error ? "ok" : s.error[0] ? s.error : "no answer yet", "next_s",
			(json_int_t)s.next_s, "last_s", (json_int_t)s.last_s, "seeds", s.seeds,
			"leechers", s.leechers, "peers", (int)s.peers);
		if (s.warning)
			json_object_set_new(j, "warning", json_string(s.warning));
		json_array_append_new(list, j);
	}
	return list;
}

static json_t *web_json(struct torrent *t, uint64_t now)
{
	json_t *list = json_array();
	for (struct web_source *w = t->web; w; w = w->next)
		json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:b}", "url",
			webseed_url(w->seed), "result", w->error[0] ? w->error : "ok", "down_rate",
			(json_int_t)meter_rate(&w->down, now), "downloaded", (json_int_t)w->down.total,
			"banned", w->banned));
	return list;
}

json_t *torrent_status(struct torrent *t)
{
	uint64_t now = clock_us();
	status_refresh(t, now);
	const struct torrent_facts *f = &t->facts; /* the loop alone writes them */
	json_t *j = json_object();
	json_t *hashes = json_object();
	char hex[65];
	if (t->meta->has_v1) {
		hex_encode(t->meta->hash_v1, SHA1_LEN, hex);
		json_object_set_new(hashes, "v1", json_string(hex));
	}
	if (t->meta->has_v2) {
		hex_encode(t->meta->hash_v2, SHA256_LEN, hex);
		json_object_set_new(hashes, "v2", json_string(hex));
	}
	/* A name need not be UTF-8. */
	json_t *name = json_string(t->meta->name);
	json_object_set_new(j, "name", name ? name : json_string(log_quote(t->meta->name,
		strlen(t->meta->name))));
	json_object_set_new(j, "info_hashes", hashes);
	json_object_set_new(j, "state", json_string(f->state));
	json_object_set_new(j, "why", json_string(f->why));
	const struct {
		const char *key;
		uint64_t value;
	} numbers[] = {
		{"size", f->size},
		{"had", f->had},
		{"zero", f->zero},
		{"on_disk", f->on_disk},
		{"down_rate", f->down_rate},
		{"up_rate", f->up_rate},
		{"downloaded", f->downloaded},
		{"uploaded", f->uploaded},
		{"wasted", f->wasted},
		{"corrupt", f->corrupt},
		{"store_errors", t->store_bad},
		{"pieces", t->layout.n_pieces},
		{"pieces_had", t->picker.pieces.set},
		{"to_check", t->n_claimed + t->checking},
		{"known_peers", peers_known(t->peers)},
		{"banned_peers", peers_count_banned(t->peers)},
		{"port", t->parts->env.listens.port},
	};
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
		json_object_set_new(j, numbers[i].key, json_integer((json_int_t)numbers[i].value));
	json_object_set_new(j, "disk_error", t->disk_error ? json_string(strerror(-t->disk_error)) :
							     json_null());
	json_object_set_new(j, "reads", reads_json(t));
	json_object_set_new(j, "peers", peers_json(t, now));
	json_object_set_new(j, "trackers", trackers_json(t));
	json_object_set_new(j, "web_seeds", web_json(t, now));
	profile_status(t, j);
	return j;
}
