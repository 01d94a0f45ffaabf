/* SPDX-License-Identifier: MIT */
/* A web seed (BEP 19): blocks of the torrent by HTTP range requests.
 *
 * A fetch is a run of consecutive blocks within one piece or several; it may cross files (then it
 * is several range requests, one after the other; padding is not asked for).  Blocks are given as
 * they arrive, whole.  A server that ignores ranges (200 for a range that is not the whole file),
 * gives another size, or fails, is an error of the fetch; the caller decides on back-off.
 * URLs: one that ends in '/', and any of a torrent of several files, is a folder: NAME (and path)
 * is appended, percent-encoded; else the URL is the file of a single-file torrent.
 *
 * Callbacks may call everything here.
 *
 * Thread: loop.
 */
#ifndef SWARM_WEBSEED_H
#define SWARM_WEBSEED_H

#include <stdbool.h>
#include <stdint.h>

struct http;
struct layout;
struct webseed;
struct webseed_fetch;

#define WEBSEED_MAX_FETCHES 4 /* at once from one server: as browsers do, and no more */

struct webseed_callbacks {
	/* A block has come (borrowed bytes, layout_block_len of them, unverified). */
	void (*block)(void *arg, struct webseed_fetch *f, uint32_t piece, uint32_t block,
		const uint8_t *data, uint32_t len);
	/* The fetch ended; error NULL: all blocks were given; else a sentence for the call's life,
	 * to stand behind webseed_url. Exactly once, unless cancelled; f is gone after it returns.
	 */
	void (*done)(void *arg, struct webseed_fetch *f, const char *error);
	void *arg;
};

/* -EINVAL with a static reason for a URL that is refused. */
int webseed_new(struct http *http, const char *url, const struct layout *l,
	const struct webseed_callbacks *cb, struct webseed **ret, const char **ret_why);
void webseed_free(struct webseed *w); /* cancels its fetches */
const char *webseed_url(const struct webseed *w); /* redacted */
/* n_blocks from block number `first` on (layout numbers; those that stand for nothing are skipped).
 * NULL when WEBSEED_MAX_FETCHES are under way. */
struct webseed_fetch *webseed_get(struct webseed *w, uint32_t first, uint32_t n_blocks);
void webseed_cancel(struct webseed_fetch *f);
unsigned webseed_active(const struct webseed *w);

#endif
