// SPDX-License-Identifier: MIT
/* A store that fails when its plan says so: for tests of everything above it.
 *
 * Wraps another store and asks the plan before each call that may fail; the call that the plan
 * fails does not reach the inner store.  There is no descriptor of a file, so that no read goes
 * past it.
 *
 * Thread: as the inner store's.
 */
#include "swarm/store.h"
#include "base/mem.h"

#include <stdlib.h>

struct failing {
	struct store store;
	struct store *inner; /* owned */
	int (*plan)(void *arg, const char *op);
	void *arg;
};

static struct failing *to_failing(struct store *s)
{
	return container_of(s, struct failing, store);
}

static int failing_read(struct store *s, uint64_t offset, void *data, size_t len, bool nowait)
{
	struct failing *f = to_failing(s);
	int r = f->plan(f->arg, "read");
	return r ? r : f->inner->ops->read(f->inner, offset, data, len, nowait);
}

static int failing_write(struct store *s, uint64_t offset, const void *data, size_t len)
{
	struct failing *f = to_failing(s);
	int r = f->plan(f->arg, "write");
	return r ? r : f->inner->ops->write(f->inner, offset, data, len);
}

static int failing_sync(struct store *s)
{
	struct failing *f = to_failing(s);
	int r = f->plan(f->arg, "sync");
	return r ? r : f->inner->ops->sync(f->inner);
}

static int failing_save_record(struct store *s, const void *data, size_t len)
{
	struct failing *f = to_failing(s);
	int r = f->plan(f->arg, "save_record");
	return r ? r : f->inner->ops->save_record(f->inner, data, len);
}

static int failing_load_record(struct store *s, uint8_t **ret, size_t *ret_len)
{
	struct failing *f = to_failing(s);
	int r = f->plan(f->arg, "load_record");
	return r ? r : f->inner->ops->load_record(f->inner, ret, ret_len);
}

static void failing_drop_cache(struct store *s)
{
	struct failing *f = to_failing(s);
	if (f->inner->ops->drop_cache)
		f->inner->ops->drop_cache(f->inner);
}

static int failing_stamp(struct store *s, uint32_t file, uint64_t ret[3])
{
	struct failing *f = to_failing(s);
	int r = f->plan(f->arg, "stamp");
	return r ? r : f->inner->ops->stamp(f->inner, file, ret);
}

static int failing_fd(struct store *s, uint32_t file)
{
	return -1;
}

static uint64_t failing_used(struct store *s)
{
	struct failing *f = to_failing(s);
	return f->inner->ops->used(f->inner);
}

static int failing_finish(struct store *s)
{
	return store_finish(to_failing(s)->inner);
}

static void failing_close(struct store *s)
{
	struct failing *f = to_failing(s);
	store_close(f->inner);
	free(f);
}

static const struct store_ops failing_ops = {
	.read = failing_read,
	.write = failing_write,
	.sync = failing_sync,
	.save_record = failing_save_record,
	.load_record = failing_load_record,
	.drop_cache = failing_drop_cache,
	.stamp = failing_stamp,
	.fd = failing_fd,
	.used = failing_used,
	.finish = failing_finish,
	.close = failing_close,
};

int store_open_failing(
	struct store *inner, int (*plan)(void *arg, const char *op), void *arg, struct store **ret)
{
	struct failing *f = xcalloc(1, sizeof(*f));
	f->store = *inner;
	f->store.ops = &failing_ops;
	f->inner = inner;
	f->plan = plan;
	f->arg = arg;
	*ret = &f->store;
	return 0;
}
