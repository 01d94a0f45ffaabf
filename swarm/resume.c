// SPDX-License-Identifier: MIT
/* Keeping the record: see resume.h.
 *
 * A block that was written goes
 *
 *	written -> syncing -> durable (in the record)
 *	   |          |
 *	   +----------+--> lost, when the sync fails
 *
 * One job at a time runs on a worker: a sync of the group (if there is one), then the record with
 * what that sync makes durable (if something changed).  The job works on copies; what is told
 * meanwhile waits for the next.  When a sync fails the kernel has marked the pages clean and may
 * drop them, so asking again would only say "all well": the group, all that was written since, and
 * all writes that were under way (`voided`) are lost.
 *
 * The first job of a run saves the record with no sync: it takes "clean stop" off the disk.
 *
 * Relied on, for the files: fdatasync makes a file's bytes, its length and their places durable,
 * which on ext4 holds in every data= mode.  For the record see store_disk.c.
 *
 * Thread: loop; job_run alone on a worker.
 */
#include "swarm/resume.h"
#include "swarm/layout.h"
#include "swarm/metainfo.h"
#include "swarm/store.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/work.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <string.h>

struct blocks {
	uint32_t *v; /* owned; a block may be in it twice */
	size_t n, cap;
};

struct waiter {
	void (*done)(void *arg, int error);
	void *arg;
};

struct waiters {
	struct waiter *v; /* owned */
	size_t n, cap;
};

struct job {
	struct work work;
	bool sync, save;
	struct record record; /* owned: what to save */
	struct waiters waiters; /* owned */
	int sync_error, save_error;
	size_t len; /* of the record as saved */
};

struct resume {
	struct work_pool *pool; /* borrowed, as are these: */
	struct store *store;
	const struct layout *l;
	struct resume_callbacks cb;

	struct bits durable; /* what the next record says */
	struct blocks written; /* since the last sync began */
	struct blocks syncing; /* the group of the job under way */
	struct bits unsynced; /* the blocks of the two lists */
	uint64_t written_bytes; /* of `written` */
	uint64_t written_since; /* us; when its first block came */

	struct bits writing; /* told of by resume_on_writing */
	struct bits voided; /* those of them that a failed sync crossed; words NULL: none ever */
	struct blocks late; /* voided ones that came back, to be told of */
	int late_error;

	bool not_clean; /* resume_forbid_clean */
	bool begun; /* this run has had something to record */
	bool unsaved; /* the record on disk says something else than `durable` */
	bool save_failing; /* said so already */
	uint64_t save_at; /* us; the next save is not before, unless flushed */

	bool running; /* the job is the pool's */
	struct job job;
	struct waiters waiters; /* for the next job; owned */
	struct event *timer, *late_timer;
};

static void blocks_add(struct blocks *b, uint32_t block)
{
	GROW(b->v, b->n, b->cap);
	b->v[b->n++] = block;
}

static void blocks_remove(struct blocks *b, uint32_t block)
{
	size_t n = 0;
	for (size_t i = 0; i < b->n; i++)
		if (b->v[i] != block)
			b->v[n++] = b->v[i];
	b->n = n;
}

/* -- loading ------------------------------------------------------------------------------- */

static enum resume_trust trust_of(struct store *store, const struct record *r)
{
	if (store->touched)
		return RESUME_TOUCHED;
	if (!r->clean)
		return RESUME_UNCLEAN;
	for (uint32_t i = 0; i < store->meta->n_files; i++) {
		uint64_t now[3];
		if (store->ops->stamp(store, i, now) != 0 ||
			memcmp(now, r->stamps[i], sizeof(now)) != 0)
			return RESUME_TOUCHED;
	}
	return RESUME_CLEAN;
}

enum resume_trust resume_load(struct store *store, const struct layout *l,
	struct record *ret_record, const char **ret_why)
{
	CLEANUP_FREE uint8_t *data = NULL;
	size_t len;
	const char *why = NULL;

	int r = store->ops->load_record(store, &data, &len);
	if (r == 0)
		r = record_decode(data, len, l, ret_record, &why);
	else if (r == -ENOENT)
		why = "it has no record";
	else
		why = strerrordesc_np(-r);
	*ret_why = why;
	enum resume_trust trust = RESUME_NONE;
	if (r == 0) {
		trust = trust_of(store, ret_record);
	} else {
		*ret_record = (struct record) {0};
		bits_init(&ret_record->have, l->n_blocks);
	}
	/* Whatever is hashed now must be read from the disk. */
	if (trust != RESUME_CLEAN && store->ops->drop_cache)
		store->ops->drop_cache(store);
	return trust;
}

/* -- the job ------------------------------------------------------------------------------- */

/* The record of `durable` and the blocks of `group`. */
static void fill_record(struct resume *r, const struct blocks *group, struct record *ret)
{
	bits_init(&ret->have, r->l->n_blocks);
	bits_copy(&ret->have, &r->durable);
	for (size_t i = 0; i < group->n; i++)
		bits_set(&ret->have, group->v[i]);
	if (r->cb.extra)
		r->cb.extra(r->cb.arg, &ret->extra, &ret->extra_len);
	if (ret->extra_len > RECORD_MAX_EXTRA) {
		/* The bits are worth more: the rest can be had again from peers. */
		free(ret->extra);
		ret->extra = NULL;
		ret->extra_len = 0;
	}
}

static int save(
	struct store *store, const struct layout *l, const struct record *record, size_t *ret_len)
{
	CLEANUP_FREE uint8_t *data = NULL;
	int r = record_encode(record, l, &data, ret_len);
	return r ? r : store->ops->save_record(store, data, *ret_len);
}

static void job_run(struct work *w)
{
	struct resume *r = container_of(w, struct resume, job.work);
	struct job *job = &r->job;

	job->sync_error = job->sync ? r->store->ops->sync(r->store) : 0;
	job->save_error = 0;
	if (job->save && !job->sync_error)
		job->save_error = save(r->store, r->l, &job->record, &job->len);
}

static void start(struct resume *r, bool sync)
{
	struct job *job = &r->job;

	event_del(r->timer);
	job->sync = sync && r->written.n;
	if (job->sync) {
		struct blocks empty = r->syncing; /* of the last group: its memory */
		r->syncing = r->written;
		r->written = empty;
		r->written_bytes = 0;
	}
	job->save = (job->sync || r->unsaved) && (r->waiters.n || clock_us() >= r->save_at);
	if (job->save) {
		fill_record(r, &r->syncing, &job->record);
		r->unsaved = false;
	}
	job->waiters = r->waiters;
	r->waiters = (struct waiters) {0};
	r->running = true;
	work_post(r->pool, &job->work);
}

/* Begins what is due, or sets the timer for it. */
static void schedule(struct resume *r)
{
	if (r->running)
		return;
	uint64_t now = clock_us(), at = UINT64_MAX;
	if (r->written.n)
		at = r->written_since + RESUME_GROUP_MS * US_PER_MS;
	if (r->unsaved)
		at = MIN(at, r->save_at);
	if (r->waiters.n || r->written_bytes >= RESUME_GROUP_BYTES || at <= now) {
		start(r, true);
	} else if (at != UINT64_MAX) {
		struct timeval tv = {.tv_sec = (time_t)((at - now) / US_PER_S),
			.tv_usec = (suseconds_t)((at - now) % US_PER_S)};
		event_add(r->timer, &tv);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	schedule(arg);
}

/* Hands what is lost to the owner, who may call us back. */
static void tell_lost(struct resume *r, const struct blocks *a, const struct blocks *b, int error)
{
	struct bits lost;
	bits_init(&lost, r->l->n_blocks);
	for (size_t i = 0; i < a->n; i++)
		bits_set(&lost, a->v[i]);
	for (size_t i = 0; i < b->n; i++)
		bits_set(&lost, b->v[i]);
	if (lost.set)
		r->cb.lost(r->cb.arg, &lost, error);
	bits_done(&lost);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct resume *r = arg;
	struct blocks late = r->late, none = {0};
	r->late = none;
	tell_lost(r, &late, &none, r->late_error);
	free(late.v);
}

static void forget(struct resume *r, const struct blocks *blocks)
{
	for (size_t i = 0; i < blocks->n; i++) {
		bits_clear(&r->unsynced, blocks->v[i]);
		/* One that was durable and written over: the disk may hold half of either. */
		if (bits_clear(&r->durable, blocks->v[i]))
			r->unsaved = true;
	}
}

static void on_sync_failed(struct resume *r, int error)
{
	struct blocks group = r->syncing, after = r->written;
	r->syncing = r->written = (struct blocks) {0};
	r->written_bytes = 0;
	forget(r, &group);
	forget(r, &after);
	if (!r->voided.words)
		bits_init(&r->voided, r->l->n_blocks);
	for (uint32_t i = 0; (i = bits_next_set(&r->writing, i)) < r->writing.n; i++)
		bits_set(&r->voided, i);
	r->late_error = error;
	tell_lost(r, &group, &after, error);
	free(group.v);
	free(after.v);
}

static void on_synced(struct resume *r)
{
	for (size_t i = 0; i < r->syncing.n; i++) {
		bits_clear(&r->unsynced, r->syncing.v[i]);
		bits_set(&r->durable, r->syncing.v[i]);
	}
	/* Those that were written again meanwhile. */
	for (size_t i = 0; i < r->written.n; i++)
		bits_set(&r->unsynced, r->written.v[i]);
	r->syncing.n = 0;
}

static void on_saved(struct resume *r, size_t len)
{
	uint64_t pause = len * US_PER_S / RESUME_SAVE_BYTES_PER_S;
	r->save_at = clock_us() + MAX(pause, RESUME_GROUP_MS * US_PER_MS);
	r->save_failing = false;
}

static void on_save_failed(struct resume *r, int error)
{
	r->save_at = clock_us() + RESUME_GROUP_MS * US_PER_MS;
	if (!r->save_failing)
		log_warn("%s: the record of what is verified cannot be saved: %s; "
			 "after a restart what came since is checked again",
			r->store->meta->name, strerrordesc_np(-error));
	r->save_failing = true;
}

static void job_done(struct work *w)
{
	struct resume *r = container_of(w, struct resume, job.work);
	struct job *job = &r->job;
	struct waiters waiters = job->waiters;
	int error = job->sync_error ? job->sync_error : job->save_error;

	r->running = false;
	job->waiters = (struct waiters) {0};
	record_done(&job->record);
	if (job->save && !error)
		on_saved(r, job->len);
	else if (job->save || job->sync)
		r->unsaved = true;
	if (job->save_error)
		on_save_failed(r, job->save_error);
	if (job->sync_error)
		on_sync_failed(r, job->sync_error);
	else
		on_synced(r);
	for (size_t i = 0; i < waiters.n; i++)
		waiters.v[i].done(waiters.v[i].arg, error);
	free(waiters.v);
	schedule(r);
}

/* -- what happens --------------------------------------------------------------------------- */

/* A run's first change: "clean stop" is not true any longer, which goes to the disk at once. */
static void begin(struct resume *r)
{
	if (r->begun)
		return;
	r->begun = true;
	r->unsaved = true;
	if (!r->running)
		start(r, false);
}

void resume_on_writing(struct resume *r, uint32_t block)
{
	if (r->store->read_only)
		return;
	begin(r);
	bits_set(&r->writing, block);
	if (r->voided.words)
		bits_clear(&r->voided, block);
}

void resume_on_written(struct resume *r, uint32_t block, uint32_t bytes)
{
	if (r->store->read_only)
		return;
	begin(r);
	bits_clear(&r->writing, block);
	if (r->voided.words && bits_clear(&r->voided, block)) {
		blocks_add(&r->late, block);
		event_active(r->late_timer, EV_TIMEOUT, 0);
		return;
	}
	bool first = !r->written.n;
	if (first)
		r->written_since = clock_us();
	blocks_add(&r->written, block);
	bits_set(&r->unsynced, block);
	r->written_bytes += bytes;
	if (first || r->written_bytes >= RESUME_GROUP_BYTES)
		schedule(r);
}

void resume_drop(struct resume *r, uint32_t block)
{
	if (r->store->read_only)
		return;
	bool was = bits_clear(&r->durable, block);
	if (bits_clear(&r->unsynced, block)) {
		blocks_remove(&r->written, block);
		blocks_remove(&r->syncing, block);
		was = true; /* the job under way may be saving it */
	}
	if (!was)
		return;
	begin(r);
	bool first = !r->unsaved;
	r->unsaved = true;
	if (first)
		schedule(r);
}

void resume_forbid_clean(struct resume *r)
{
	r->not_clean = true;
}

void resume_flush(struct resume *r, void (*done)(void *arg, int error), void *arg)
{
	GROW(r->waiters.v, r->waiters.n, r->waiters.cap);
	r->waiters.v[r->waiters.n++] = (struct waiter) {.done = done, .arg = arg};
	schedule(r);
}

/* -- life ------------------------------------------------------------------------------------ */

static void resume_free(struct resume *r)
{
	if (r->timer)
		event_free(r->timer);
	if (r->late_timer)
		event_free(r->late_timer);
	bits_done(&r->durable);
	bits_done(&r->unsynced);
	bits_done(&r->writing);
	bits_done(&r->voided);
	free(r->written.v);
	free(r->syncing.v);
	free(r->late.v);
	free(r->waiters.v);
	free(r);
}

struct resume *resume_new(struct loop *loop, struct work_pool *pool, struct store *store,
	const struct layout *l, const struct bits *durable, const struct resume_callbacks *cb)
{
	struct resume *r = xcalloc(1, sizeof(*r));
	r->pool = pool;
	r->store = store;
	r->l = l;
	r->cb = *cb;
	r->job.work = (struct work) {.run = job_run, .done = job_done};
	bits_init(&r->durable, l->n_blocks);
	bits_copy(&r->durable, durable);
	bits_init(&r->unsynced, l->n_blocks);
	bits_init(&r->writing, l->n_blocks);
	r->timer = evtimer_new(loop_base(loop), on_timer, r);
	r->late_timer = evtimer_new(loop_base(loop), on_late, r);
	if (!r->timer || !r->late_timer)
		abort(); /* out of memory, as in mem.h */
	return r;
}

/* Fills the stamps; false when a file cannot be looked at: then the stop is no clean one. */
static bool take_stamps(struct resume *r, struct record *record)
{
	uint32_t n = r->store->meta->n_files;
	record->stamps = xcalloc(n, sizeof(*record->stamps));
	for (uint32_t i = 0; i < n; i++)
		if (r->store->ops->stamp(r->store, i, record->stamps[i]) != 0)
			return false;
	return true;
}

static int close_record(struct resume *r)
{
	struct blocks none = {0};
	struct record record = {0};
	size_t len;

	int sync_error = r->written.n ? r->store->ops->sync(r->store) : 0;
	if (sync_error) {
		forget(r, &r->written);
		r->written.n = 0;
	}
	fill_record(r, sync_error ? &none : &r->written, &record);
	record.clean = !sync_error && !r->not_clean && take_stamps(r, &record);
	int save_error = save(r->store, r->l, &record, &len);
	record_done(&record);
	return sync_error ? sync_error : save_error;
}

int resume_close(struct resume *r)
{
	if (!r)
		return 0;
	assert(!r->running);
	int error = r->store->read_only ? 0 : close_record(r);
	for (size_t i = 0; i < r->waiters.n; i++)
		r->waiters.v[i].done(r->waiters.v[i].arg, error);
	resume_free(r);
	return error;
}
