/* SPDX-License-Identifier: MIT */
/* Web seeds (BEP 19) as sources beside the connections: what is asked of them, by runs of blocks, and what
 * they give.  torrent_ask.c chooses between them and the peers.
 */
#include "swarm/torrent.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define WEB_RETRY_US (2 * US_PER_S)
#define WEB_RETRY_MAX_US (300 * US_PER_S)

static struct web_ask *free_ask(struct web_source *w)
{
	for (unsigned i = 0; i < ARRAY_SIZE(w->asks); i++) {
		if (!w->asks[i].fetch)
			return &w->asks[i];
	}
	return NULL;
}

bool web_ready(const struct web_source *w, uint64_t now)
{
	return !w->banned && now >= w->retry_at && webseed_active(w->seed) < WEBSEED_MAX_FETCHES;
}

/* A run of blocks from `first` (a block number) on that are MISSING, up to `max` of them and up to
 * number `end`. */
static uint32_t missing_run(struct torrent *t, uint32_t first, uint32_t end, uint32_t max)
{
	uint32_t bpp = t->layout.blocks_per_piece, n = 0;
	while (n < max && first + n < end) {
		uint32_t piece = (first + n) / bpp, i = (first + n) % bpp;
		if (bits_get(&t->picker.reserved, piece) || !layout_block_len(&t->layout, piece, i) ||
			picker_state(&t->picker, piece, i) != BLOCK_MISSING)
			break;
		n++;
	}
	return n;
}

void web_ask(struct torrent *t, struct web_source *w, uint32_t first, uint32_t end, uint32_t max, uint64_t now)
{
	struct web_ask *a = free_ask(w);
	uint32_t bpp = t->layout.blocks_per_piece, n = missing_run(t, first, end, max);
	if (!a || !n)
		return;
	uint64_t bytes = (uint64_t)n * BLOCK_SIZE;
	*a = (struct web_ask) {
		.first = first,
		.n = n,
		.left = n,
		.mark = path_on_sent(&w->path, w->outstanding, now),
	};
	w->outstanding += bytes;
	for (uint32_t k = first; k < first + n; k++)
		picker_on_asked(&t->picker, k / bpp, k % bpp);
	limiter_force(&t->parts->down, bytes, now);
	a->fetch = webseed_get(w->seed, first, n);
	if (a->fetch)
		return;
	w->outstanding -= bytes;
	w->retry_at = now + WEB_RETRY_US;
	for (uint32_t k = first; k < first + n; k++)
		picker_on_unasked(&t->picker, k / bpp, k % bpp);
	t->demands_open = true;
}

static struct web_ask *ask_of(struct web_source *w, const struct webseed_fetch *f)
{
	for (unsigned i = 0; i < ARRAY_SIZE(w->asks); i++) {
		if (w->asks[i].fetch == f)
			return &w->asks[i];
	}
	return NULL;
}

static void on_web_block(void *arg, struct webseed_fetch *f, uint32_t piece, uint32_t block,
	const uint8_t *data, uint32_t len)
{
	struct web_source *w = arg;
	struct web_ask *a = ask_of(w, f);
	uint64_t now = clock_us();
	meter_add(&w->down, len, now);
	if (a) {
		a->left--;
		w->outstanding -= BLOCK_SIZE;
		path_on_delivered(&w->path, &a->mark, len, now);
	}
	ask_on_block(w->t, piece, block, memcpy(xmalloc(BLOCK_SIZE), data, len), w->number,
		a != NULL);
}

static void on_web_done(void *arg, struct webseed_fetch *f, const char *error)
{
	struct web_source *w = arg;
	struct torrent *t = w->t;
	struct web_ask *a = ask_of(w, f);
	uint32_t bpp = t->layout.blocks_per_piece;
	uint64_t now = clock_us();
	if (error) {
		uint64_t wait = WEB_RETRY_US << MIN(w->failures, 8u);
		w->failures++;
		w->retry_at = now + MIN(wait, WEB_RETRY_MAX_US);
		if (strcmp(w->error, error))
			log_warn("web seed %s: %s", webseed_url(w->seed), error);
		snprintf(w->error, sizeof(w->error), "%s", error);
	} else {
		w->failures = 0;
		w->error[0] = '\0';
	}
	if (a) {
		w->outstanding -= (uint64_t)a->left * BLOCK_SIZE;
		/* Blocks are given in order: what is left are the last ones. */
		for (uint32_t k = a->first + a->n - a->left; k < a->first + a->n; k++)
			picker_on_unasked(&t->picker, k / bpp, k % bpp);
		a->fetch = NULL;
	}
	t->demands_open = true;
	ask_soon(t);
}

int web_add(struct torrent *t, const char *url, const char **ret_why)
{
	struct web_source *w = xcalloc(1, sizeof(*w));
	struct webseed_callbacks cb = {.block = on_web_block, .done = on_web_done, .arg = w};
	w->t = t;
	w->number = ++t->parts->env.next_number;
	path_init(&w->path, 0, clock_us());
	int r = webseed_new(t->parts->http, url, &t->layout, &cb, &w->seed, ret_why);
	if (r < 0) {
		free(w);
		return r;
	}
	w->next = t->web;
	t->web = w;
	return 0;
}

void web_free(struct torrent *t)
{
	while (t->web) {
		struct web_source *w = t->web;
		t->web = w->next;
		webseed_free(w->seed);
		free(w);
	}
}
