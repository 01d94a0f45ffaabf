// SPDX-License-Identifier: MIT
/* A store in memory: one memfd as large as the linear space, with pages where bytes were written.
 *
 * Reads and writes go by the files' places, so that padding reads as zeros here too.  The record is
 * kept as long as the store is open, which serves tests; nothing outlives the process.
 *
 * Thread: as store.h says.
 */
#include "swarm/store.h"
#include "swarm/metainfo.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

struct memory {
	struct store store;
	int fd;
	pthread_mutex_t lock; /* of the record: */
	uint8_t *record; /* owned */
	size_t record_len;
	bool has_record;
};

static struct memory *to_memory(struct store *s)
{
	return container_of(s, struct memory, store);
}

static int memory_read(struct store *s, uint64_t offset, void *data, size_t len, bool nowait)
{
	struct memory *m = to_memory(s);
	if (!store_range_ok(s->meta, offset, len))
		return -EINVAL;
	for (struct store_part p = store_parts(s->meta, offset, len);
		store_part_next(s->meta, &p);) {
		uint8_t *to = (uint8_t *)data + p.done;
		if (p.file == STORE_PADDING) {
			memset(to, 0, p.len);
			continue;
		}
		for (size_t done = 0; done < p.len;) {
			ssize_t n = pread(m->fd, to + done, p.len - done, (off_t)(p.offset + done));
			if (n < 0 && errno != EINTR)
				return -errno;
			if (n == 0)
				return -EIO;
			done += n > 0 ? (size_t)n : 0;
		}
	}
	return 0;
}

static int memory_write(struct store *s, uint64_t offset, const void *data, size_t len)
{
	struct memory *m = to_memory(s);
	if (!store_range_ok(s->meta, offset, len))
		return -EINVAL;
	for (struct store_part p = store_parts(s->meta, offset, len);
		store_part_next(s->meta, &p);) {
		const uint8_t *from = (const uint8_t *)data + p.done;
		for (size_t done = 0; p.file != STORE_PADDING && done < p.len;) {
			ssize_t n =
				pwrite(m->fd, from + done, p.len - done, (off_t)(p.offset + done));
			if (n < 0 && errno != EINTR)
				return -errno;
			if (n == 0)
				return -EIO;
			done += n > 0 ? (size_t)n : 0;
		}
	}
	return 0;
}

static int memory_sync(struct store *s)
{
	return 0;
}

static int memory_save_record(struct store *s, const void *data, size_t len)
{
	struct memory *m = to_memory(s);
	uint8_t *copy = malloc(len ? len : 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, len);
	LOCK_SCOPE(&m->lock);
	free(m->record);
	m->record = copy;
	m->record_len = len;
	m->has_record = true;
	return 0;
}

static int memory_load_record(struct store *s, uint8_t **ret, size_t *ret_len)
{
	struct memory *m = to_memory(s);
	LOCK_SCOPE(&m->lock);
	if (!m->has_record)
		return -ENOENT;
	uint8_t *copy = malloc(m->record_len ? m->record_len : 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, m->record, m->record_len);
	*ret = copy;
	*ret_len = m->record_len;
	return 0;
}

static int memory_stamp(struct store *s, uint32_t file, uint64_t ret[3])
{
	/* Nobody else can touch it. */
	ret[0] = s->meta->files[file].length;
	ret[1] = ret[2] = 0;
	return 0;
}

static int memory_fd(struct store *s, uint32_t file)
{
	/* With one file the memfd is that file. */
	return s->meta->n_files == 1 && s->meta->files[0].offset == 0 ? to_memory(s)->fd : -1;
}

static uint64_t memory_used(struct store *s)
{
	struct stat st;
	return fstat(to_memory(s)->fd, &st) < 0 ? UINT64_MAX : (uint64_t)st.st_blocks * 512;
}

static void memory_close(struct store *s)
{
	struct memory *m = to_memory(s);
	close(m->fd);
	free(m->record);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

static const struct store_ops memory_ops = {
	.read = memory_read,
	.write = memory_write,
	.sync = memory_sync,
	.save_record = memory_save_record,
	.load_record = memory_load_record,
	.stamp = memory_stamp,
	.fd = memory_fd,
	.used = memory_used,
	.close = memory_close,
};

int store_open_memory(const struct metainfo *meta, struct store **ret)
{
	CLEANUP_CLOSE int fd = memfd_create("p2pfs", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)meta->space) < 0)
		return -errno;
	struct memory *m = xcalloc(1, sizeof(*m));
	m->store = (struct store) {.ops = &memory_ops, .meta = meta, .entry = ""};
	m->fd = steal_fd(&fd);
	pthread_mutex_init(&m->lock, NULL);
	*ret = &m->store;
	return 0;
}
