/* SPDX-License-Identifier: MIT */
/* The boot profile (profile.h): which blocks are read first is recorded, and fetched first.
 *
 * Recording.  Every block that is read for the first time is appended to a profile, by the thread
 * that read it: `seen` has a bit for each block, so all but the first read of a block cost a look at
 * a few words, and nothing is lost, for each block comes once.  Known zeros are left out.  It ends
 * when the profile is full.  What the kernel answers by itself (page cache, passthrough) is not seen.
 *
 * Keeping.  An entry of the store holds `profile`: this mount's record, then what the one before it
 * had besides.  A worker writes it, at most every SAVE_US; torrent_free writes the rest.
 *
 * Using.  The first that there is of: the named one, the one beside the .torrent, the one in it, the
 * entry's.  Its blocks are asked for in its order, after demands and before streams and filling: it
 * is known what this image's boot reads, a stream is a guess, and a reader whose reads are not in the
 * profile is held up for no longer than the profile takes.  Reads that it names teach no stream: what
 * it does not name was not read by that boot.  It is fetched with fill=off, too, which is about what
 * nobody wants.  Where blocks cannot be verified alone the whole piece is asked for, where the profile
 * touches it first.
 *
 * Thread: loop; profile_on_read and torrent_recorded_profile any.
 */
#include "swarm/torrent.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/work.h"
#include "swarm/profile.h"

#include <errno.h>
#include <string.h>

#define SAVE_US (10 * US_PER_S)
/* Pieces of the profile that are looked at in the store at once, where nothing is before it is read
 * (verify=lazy): as many as verify_check_more has under way else. */
#define CHECK_JOBS 2

struct range {
	uint32_t first, n; /* block numbers, all of which stand for something */
};

struct torrent_profile {
	/* Recorded. */
	pthread_mutex_t lock;
	struct bits seen;         /* set under the lock */
	struct profile *recorded; /* under the lock */
	_Atomic uint64_t n_recorded; /* blocks; set under the lock */
	_Atomic bool full;

	/* Kept. */
	char *path;          /* owned; NULL: nowhere */
	struct profile *own; /* owned, or NULL: what was there before us; never changes */
	uint64_t n_saved, saved_at;
	bool saving;
	int save_error;

	/* Used. */
	char *from;              /* owned; NULL: none is used */
	struct bits named;       /* its blocks */
	struct range *ranges;    /* owned; no block is in two */
	size_t n_ranges, cap_ranges;
	uint64_t n_blocks, n_had;
	struct range *todo;      /* owned: those of which a block is missing; refreshed each tick */
	size_t n_todo, at;       /* those before `at` have come since */
	bool told;
};

/* -- recording -------------------------------------------------------------------------------- */

/* 1: recorded, 0: nothing to record, -E2BIG. */
static int record_block(const struct torrent *t, struct profile *to, uint32_t k)
{
	uint32_t bpp = t->layout.blocks_per_piece;
	uint32_t len = layout_block_len(&t->layout, k / bpp, k % bpp);
	uint64_t offset = layout_offset(&t->layout, k / bpp, k % bpp);
	/* v1's padding behind the last file is no part of the space. */
	if (!len || offset >= to->size || bits_get(&t->zero, k))
		return 0;
	int r = profile_add(to, offset, MIN((uint64_t)len, to->size - offset));
	return r < 0 ? r : 1;
}

void profile_on_read(struct torrent *t, uint32_t first, uint32_t n)
{
	struct torrent_profile *p = t->profile;
	if (!p || p->full || bits_all(&p->seen, first, n))
		return;
	LOCK_SCOPE(&p->lock);
	for (uint32_t k = first; k < first + n && !p->full; k++) {
		int r = bits_set(&p->seen, k) ? record_block(t, p->recorded, k) : 0;
		if (r < 0)
			p->full = true;
		p->n_recorded += r > 0;
	}
}

static struct profile *recorded(struct torrent_profile *p, uint64_t *ret_n)
{
	LOCK_SCOPE(&p->lock);
	*ret_n = p->n_recorded;
	return profile_copy(p->recorded);
}

char *torrent_recorded_profile(struct torrent *t)
{
	uint64_t n;
	struct torrent_profile *p = t->profile;
	if (!p)
		return NULL;
	struct profile *copy = recorded(p, &n);
	struct buf b = {0};
	profile_write(copy, &b);
	profile_free(copy);
	char *text = xstrndup((const char *)buf_bytes(&b), b.len);
	buf_done(&b);
	return text;
}

/* -- keeping ---------------------------------------------------------------------------------- */

struct save {
	struct work work;
	struct torrent *t;
	struct profile *profile; /* owned */
	uint64_t n;
	int error;
};

static void save_run(struct work *work)
{
	struct save *s = container_of(work, struct save, work);
	const struct torrent_profile *p = s->t->profile;
	struct buf b = {0};
	/* What finds no room was read last. */
	if (p->own)
		profile_merge(s->profile, p->own);
	profile_write(s->profile, &b);
	s->error = write_file(p->path, buf_bytes(&b), b.len, 0644);
	buf_done(&b);
}

static void save_done(struct work *work)
{
	struct save *s = container_of(work, struct save, work);
	struct torrent_profile *p = s->t->profile;
	p->saving = false;
	if (s->error && s->error != p->save_error)
		log_warn("%s: %s", p->path, strerror(-s->error));
	p->save_error = s->error;
	if (!s->error)
		p->n_saved = s->n;
	profile_free(s->profile);
	free(s);
}

static void save_posted_done(struct work *work)
{
	container_of(work, struct save, work)->t->jobs--;
	save_done(work);
}

static struct save *save_new(struct torrent *t)
{
	struct save *s = xcalloc(1, sizeof(*s));
	*s = (struct save) {
		.work = {.run = save_run, .done = save_posted_done},
		.t = t,
		.profile = recorded(t->profile, &s->n),
	};
	return s;
}

static bool is_unsaved(const struct torrent_profile *p)
{
	return p->path && p->n_recorded != p->n_saved;
}

/* -- using ------------------------------------------------------------------------------------ */

static void add_block(struct torrent_profile *p, uint32_t k)
{
	struct range *last = p->n_ranges ? &p->ranges[p->n_ranges - 1] : NULL;
	p->n_blocks++;
	if (last && last->first + last->n == k) {
		last->n++;
		return;
	}
	GROW(p->ranges, p->n_ranges, p->cap_ranges);
	p->ranges[p->n_ranges++] = (struct range) {k, 1};
}

/* Bytes become blocks; where two ranges share one it counts once.  What is above the limit comes by filling
 * or by demand. */
static void use(struct torrent *t, const struct profile *from, const char *name)
{
	struct torrent_profile *p = t->profile;
	uint32_t bpp = t->layout.blocks_per_piece;
	bits_init(&p->named, t->layout.n_blocks);
	for (size_t i = 0; i < from->n; i++) {
		uint32_t first, n;
		layout_blocks(&t->layout, from->ranges[i].offset, from->ranges[i].length, &first, &n);
		for (uint32_t k = first; k < first + n && p->n_blocks < PROFILE_MAX_BLOCKS; k++) {
			if (layout_block_len(&t->layout, k / bpp, k % bpp) && bits_set(&p->named, k))
				add_block(p, k);
		}
	}
	if (!p->n_blocks)
		return;
	p->from = xstrdup(name);
	p->todo = xcalloc(p->n_ranges, sizeof(p->todo[0]));
}

bool profile_names(const struct torrent *t, uint32_t first, uint32_t n)
{
	const struct torrent_profile *p = t->profile;
	bool any = false;
	for (uint32_t k = first; p && p->from && k < first + n; k++) {
		if (bits_get(&p->named, k))
			any = true;
		else if (!bits_get(&t->zero, k)) /* which are not recorded */
			return false;
	}
	return any;
}

/* Counts what is here, and lists what is not: blocks come, and may be lost again. */
static void refresh(struct torrent *t)
{
	struct torrent_profile *p = t->profile;
	p->n_had = 0;
	p->n_todo = p->at = 0;
	for (size_t i = 0; i < p->n_ranges; i++) {
		uint32_t had = bits_count(&t->have, p->ranges[i].first, p->ranges[i].n);
		p->n_had += had;
		if (had < p->ranges[i].n)
			p->todo[p->n_todo++] = p->ranges[i];
	}
	if (p->n_had < p->n_blocks || !p->from || p->told)
		return;
	p->told = true;
	log_info("%s: boot-ready: all that %s names is here", t->meta->name, log_quote(p->from,
		strlen(p->from)));
}

static bool needs_whole_piece(const struct torrent *t, uint32_t piece)
{
	const struct piece *w = picker_piece(&t->picker, piece);
	return (w && w->whole) || !leaves_usable(t, piece);
}

/* The first block in [k, end) that is not in the store, or end. */
static uint32_t next_missing(const struct torrent *t, uint32_t k, uint32_t end)
{
	return bits_all(&t->have, k, end - k) ? end : bits_next_clear(&t->have, k);
}

/* False when no source has room for more. */
static bool pump_range(struct torrent *t, const struct range *r, uint64_t now)
{
	uint32_t bpp = t->layout.blocks_per_piece, end = r->first + r->n, k = r->first, next;
	for (; (k = next_missing(t, k, end)) < end; k = next) {
		uint32_t piece = k / bpp, to = MIN(end, (piece + 1) * bpp);
		next = to;
		if (bits_get(&t->picker.reserved, piece)) {
			if (t->checking < CHECK_JOBS)
				verify_check_piece(t, piece, false);
			continue;
		}
		if (needs_whole_piece(t, piece)) {
			k = piece * bpp;
			to = k + layout_piece_blocks(&t->layout, piece);
		}
		for (; k < to; k++) {
			if (ask_early(t, k, to, now) < 0)
				return false;
		}
	}
	return true;
}

void profile_pump(struct torrent *t, uint64_t now)
{
	struct torrent_profile *p = t->profile;
	if (!p || t->disk_error)
		return;
	for (; p->at < p->n_todo; p->at++) {
		struct range *r = &p->todo[p->at];
		uint32_t end = r->first + r->n;
		r->first = next_missing(t, r->first, end);
		r->n = end - r->first;
		if (r->n)
			break;
	}
	/* Most times all sources are busy: that is found out before the list is gone through. */
	if (p->at == p->n_todo || !ask_has_room(t, now))
		return;
	for (size_t i = p->at; i < p->n_todo; i++) {
		if (!pump_range(t, &p->todo[i], now))
			return;
	}
}

/* -- life ------------------------------------------------------------------------------------- */

/* *ret NULL when there is none that fits; -errno only when somebody asked for just this one. */
static int load(const struct torrent *t, const char *path, bool must, struct profile **ret,
	char **ret_why)
{
	CLEANUP_FREE char *why = NULL;
	char entry[65];
	metainfo_entry_name(t->meta, entry);
	int r = profile_load(path, ret, &why);
	if (r >= 0) {
		why = profile_misfit(*ret, t->meta->space, entry);
		r = why ? -EINVAL : 0;
	}
	if (r >= 0)
		return 0;
	profile_free(*ret);
	*ret = NULL;
	if (must) {
		*ret_why = xasprintf("profile: %s: %s", path, why);
		return r;
	}
	if (r != -ENOENT)
		log_warn("%s: %s: goes on without that profile", path, why);
	return 0;
}

int profile_open(struct torrent *t, const struct torrent_config *config, char **ret_why)
{
	if (config->no_profile || t->where == TORRENT_IN_PLACE)
		return 0;
	struct profile *named = NULL;
	int r = config->profile ?
		load(t, config->profile, !config->profile_beside, &named, ret_why) : 0;
	if (r < 0)
		return r;
	char entry[65];
	metainfo_entry_name(t->meta, entry);
	struct torrent_profile *p = t->profile = xcalloc(1, sizeof(*p));
	pthread_mutex_init(&p->lock, NULL);
	bits_init(&p->seen, t->layout.n_blocks);
	p->recorded = profile_new(t->meta->space, entry);
	p->saved_at = clock_us();
	if (t->where == TORRENT_IN_STORE && !t->read_only) {
		p->path = xasprintf("%s/profile", t->entry);
		load(t, p->path, false, &p->own, ret_why);
	}
	if (named)
		use(t, named, config->profile);
	else if (t->meta->profile)
		use(t, t->meta->profile, "the torrent");
	else if (p->own)
		use(t, p->own, p->path);
	profile_free(named);
	refresh(t);
	return 0;
}

void profile_on_tick(struct torrent *t, uint64_t now)
{
	struct torrent_profile *p = t->profile;
	if (!p)
		return;
	refresh(t);
	if (!is_unsaved(p) || p->saving || now - p->saved_at < SAVE_US)
		return;
	p->saving = true;
	p->saved_at = now;
	t->jobs++;
	work_post(t->parts->pool, &save_new(t)->work);
}

void profile_close(struct torrent *t)
{
	struct torrent_profile *p = t->profile;
	if (!p)
		return;
	if (is_unsaved(p)) {
		struct save *s = save_new(t);
		save_run(&s->work);
		save_done(&s->work);
	}
	t->profile = NULL;
	pthread_mutex_destroy(&p->lock);
	bits_done(&p->seen);
	bits_done(&p->named);
	profile_free(p->recorded);
	profile_free(p->own);
	free(p->path);
	free(p->from);
	free(p->ranges);
	free(p->todo);
	free(p);
}

bool profile_wants(const struct torrent *t)
{
	return t->profile && t->profile->at < t->profile->n_todo;
}

void profile_status(struct torrent *t, json_t *ret)
{
	struct torrent_profile *p = t->profile;
	json_t *used = NULL, *ready = NULL;
	if (p && p->from) {
		refresh(t);
		/* A path that is no UTF-8 cannot be said in JSON. */
		json_t *from = json_string(p->from);
		used = json_pack("{s:I, s:I, s:o}", "blocks", (json_int_t)p->n_blocks, "had",
			(json_int_t)p->n_had, "from",
			from ? from : json_string(log_quote(p->from, strlen(p->from))));
		ready = json_boolean(p->n_had == p->n_blocks);
	}
	/* What is all here boots, whatever it reads. */
	if (t->complete)
		ready = json_true();
	json_object_set_new(ret, "profile", used ? used : json_null());
	json_object_set_new(ret, "boot_ready", ready ? ready : json_null());
	json_object_set_new(ret, "profile_recorded", p ? json_integer((json_int_t)p->n_recorded) :
							 json_null());
}
