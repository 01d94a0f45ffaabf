/* SPDX-License-Identifier: MIT */
/* Reads whose bytes are not here yet; see reads.h.
 *
 * Interrupts: libfuse calls our function when the kernel's INTERRUPT comes, or at once if it came
 * before the function was registered.  We register on the loop, right after the engine took the
 * read and gave its id: completions come on the loop too, so the request is alive then, and no
 * interrupt is lost between the two.  The function carries the id, not a pointer: whatever it
 * finds, a read that is answered already is nobody's.
 *
 * EINTR is answered for an interrupt alone: without one the kernel would ask again, for ever.
 *
 * Thread: as said in reads.h.
 */
#include "fs/reads.h"

#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "fs/ops.h"
#include "swarm/swarm.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* A failed readahead is asked again page by page, and each page would wait its time-out: they get
 * the same answer for so long. */
#define FAILED_US US_PER_S

struct waiting {
	struct reads *r;
	fuse_req_t req;
	uint64_t offset;
	size_t len;
	bool cached;
};

void reads_init(struct reads *r, struct swarm *swarm, struct torrent *t, uint64_t timeout_ms)
{
	*r = (struct reads) {.swarm = swarm, .torrent = t, .timeout_ms = timeout_ms};
}

/* The one place where a handed-over read is answered. */
static void answer(struct waiting *w, int error, const void *data)
{
	if (error)
		fuse_reply_err(w->req, -error);
	else
		fuse_reply_buf(w->req, data, w->len);
	atomic_fetch_sub(&w->r->waiting, 1);
	free(w);
}

static bool failed_lately(const struct reads *r, const struct waiting *w)
{
	uint64_t now = clock_us();
	for (size_t i = 0; i < READS_FAILED; i++) {
		const struct failed *f = &r->failed[i];
		if (now < f->until_us && w->offset >= f->offset && w->offset + w->len <= f->end)
			return true;
	}
	return false;
}

static void remember_failed(struct reads *r, const struct waiting *w)
{
	r->failed[r->next_failed++ % READS_FAILED] = (struct failed) {
		.offset = w->offset,
		.end = w->offset + w->len,
		.until_us = clock_us() + FAILED_US,
	};
}

static void on_done(void *arg, int error, const void *data)
{
	struct waiting *w = arg;
	if (error == -ETIMEDOUT) {
		log_debug(LOG_FUSE, "read of %zu bytes at %llu: timed out", w->len,
			(unsigned long long)w->offset);
		if (w->cached)
			remember_failed(w->r, w);
		error = -EIO;
	}
	answer(w, error, data);
}

static void on_interrupt(fuse_req_t req, void *id)
{
	struct fs *fs = fuse_req_userdata(req);
	torrent_read_cancel(fs->torrent, (uint64_t)(uintptr_t)id, -EINTR);
}

static void begin(void *arg)
{
	static_assert(sizeof(void *) >= sizeof(uint64_t), "an id goes into a pointer");
	struct waiting *w = arg;
	struct reads *r = w->r;

	if (atomic_load(&r->stopping)) {
		answer(w, -ESHUTDOWN, NULL);
		return;
	}
	if (w->cached && failed_lately(r, w)) {
		answer(w, -EIO, NULL);
		return;
	}
	uint64_t id = torrent_read(r->torrent, w->offset, w->len, r->timeout_ms, on_done, w);
	fuse_req_interrupt_func(w->req, on_interrupt, (void *)(uintptr_t)id);
}

void reads_wait(struct reads *r, fuse_req_t req, uint64_t offset, size_t len, bool cached)
{
	struct waiting *w = xmalloc(sizeof(*w));
	*w = (struct waiting) {.r = r, .req = req, .offset = offset, .len = len, .cached = cached};
	atomic_fetch_add(&r->waiting, 1);
	swarm_post(r->swarm, begin, w);
}

static void cancel_all(void *arg)
{
	struct reads *r = arg;
	torrent_read_cancel_all(r->torrent, -ESHUTDOWN);
}

void reads_stop(struct reads *r)
{
	atomic_store(&r->stopping, true);
	swarm_post(r->swarm, cancel_all, r);
}
