// SPDX-License-Identifier: MIT
/* Fetches blocks with the program's own web seed client, for pytest:
 *
 *	webseed_driver TORRENT URL FIRST+N[,FIRST+N]...
 *
 * Each argument after the URL is a round: its fetches run at the same time, the next round begins
 * when all have ended.  "FIRST+N!K" cancels the fetch when its K-th block has come.  Lines of JSON
 *on stdout: {"url"} as it may be told, {"fetch", "piece", "block", "len", "sha1"} for each block,
 * {"fetch", "error"} at the end, {"refused": why}.  Every block's bytes are checked against the
 *torrent's layout for length.
 */
#include "swarm/http.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"
#include "swarm/webseed.h"
#include "base/hash.h"
#include "base/loop.h"
#include "base/mem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct fetch {
	struct webseed_fetch *fetch;
	unsigned number, cancel_at, blocks;
};

struct driver {
	struct loop *loop;
	struct layout layout;
	struct webseed *seed;
	char **rounds;
	struct fetch fetches[WEBSEED_MAX_FETCHES + 1];
	unsigned n_fetches, left;
};

static void next_round(struct driver *d);

static void say(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

static struct fetch *find(struct driver *d, struct webseed_fetch *f)
{
	for (unsigned i = 0; i < d->n_fetches; i++)
		if (d->fetches[i].fetch == f)
			return &d->fetches[i];
	abort();
}

static void ended(struct driver *d, struct fetch *f)
{
	f->fetch = NULL;
	if (--d->left == 0)
		next_round(d);
}

static void on_block(void *arg, struct webseed_fetch *wf, uint32_t piece, uint32_t block,
	const uint8_t *data, uint32_t len)
{
	struct driver *d = arg;
	struct fetch *f = find(d, wf);
	uint8_t digest[SHA1_LEN];
	char hex[2 * SHA1_LEN + 1];

	if (len != layout_block_len(&d->layout, piece, block))
		abort();
	sha1(data, len, digest);
	hex_encode(digest, sizeof(digest), hex);
	say(json_pack("{s:i, s:i, s:i, s:i, s:s}", "fetch", (int)f->number, "piece", (int)piece,
		"block", (int)block, "len", (int)len, "sha1", hex));
	if (++f->blocks == f->cancel_at) {
		say(json_pack("{s:i, s:b}", "fetch", (int)f->number, "cancelled", 1));
		webseed_cancel(wf);
		ended(d, f);
	}
}

static void on_done(void *arg, struct webseed_fetch *wf, const char *error)
{
	struct driver *d = arg;
	struct fetch *f = find(d, wf);

	say(json_pack("{s:i, s:s?}", "fetch", (int)f->number, "error", error));
	ended(d, f);
}

static void next_round(struct driver *d)
{
	char *round = *d->rounds;

	if (!round) {
		loop_stop(d->loop);
		return;
	}
	d->rounds++;
	d->n_fetches = 0;
	d->left = 1;
	for (char *p = strtok(round, ","); p; p = strtok(NULL, ",")) {
		unsigned first, n, cancel_at = 0;
		struct fetch *f = &d->fetches[d->n_fetches];
		if (sscanf(p, "%u+%u!%u", &first, &n, &cancel_at) < 2)
			exit(2);
		*f = (struct fetch) {.number = d->n_fetches, .cancel_at = cancel_at};
		f->fetch = webseed_get(d->seed, first, n);
		if (!f->fetch) {
			say(json_pack(
				"{s:i, s:s}", "fetch", (int)f->number, "refused", "too many"));
			continue;
		}
		d->n_fetches++;
		d->left++;
	}
	if (--d->left == 0)
		next_round(d);
}

int main(int argc, char **argv)
{
	struct driver d = {.rounds = argv + 3};
	struct webseed_callbacks cb = {.block = on_block, .done = on_done, .arg = &d};
	struct metainfo *meta;
	struct http *http;
	const char *why;
	char *text;

	if (argc < 3)
		return 2;
	if (metainfo_load(argv[1], &meta, &text) < 0) {
		fprintf(stderr, "%s\n", text);
		return 1;
	}
	if (layout_init(&d.layout, meta) < 0 || loop_new(&d.loop) < 0 ||
		http_new(d.loop, &http) < 0)
		return 1;
	if (webseed_new(http, argv[2], &d.layout, &cb, &d.seed, &why) < 0) {
		say(json_pack("{s:s}", "refused", why));
	} else {
		say(json_pack("{s:s}", "url", webseed_url(d.seed)));
		next_round(&d);
		loop_run(d.loop);
		webseed_free(d.seed);
	}
	http_free(http);
	loop_free(d.loop);
	metainfo_free(meta);
	return 0;
}
