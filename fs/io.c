/* SPDX-License-Identifier: MIT */
/* How an open file is read; see io.h.
 *
 * Only files that are open have a record, in a hash table: a torrent may have a million files, of
 * which a few are open.
 *
 * Thread: any.
 */
#include "fs/io.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/mem.h"
#include "fs/ops.h"
#include "swarm/swarm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 256u

struct open_file {
	struct open_file *next; /* in its bucket */
	uint32_t file;
	unsigned handles[IO_KINDS];
	int backing_id; /* > 0 while there are passthrough handles */
};

struct io {
	pthread_mutex_t lock;
	struct open_file *buckets[BUCKETS];
	bool no_passthrough; /* it was tried, and this kernel or store cannot */
};

struct io *io_new(void)
{
	struct io *io = xcalloc(1, sizeof(*io));
	pthread_mutex_init(&io->lock, NULL);
	return io;
}

void io_free(struct io *io)
{
	if (!io)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while (io->buckets[i]) {
			struct open_file *f = io->buckets[i];
			io->buckets[i] = f->next;
			free(f);
		}
	}
	pthread_mutex_destroy(&io->lock);
	free(io);
}

static struct open_file **find(struct io *io, uint32_t file)
{
	struct open_file **p = &io->buckets[file % BUCKETS];
	while (*p && (*p)->file != file)
		p = &(*p)->next;
	return p;
}

/* A backing id, or 0: not this time. */
static int try_backing(struct fs *fs, uint32_t file)
{
	struct io *io = fs->io;
	if (!fs->hook.passthrough || io->no_passthrough || !torrent_all_hashed(fs->torrent))
		return 0;
	int fd = torrent_fd(fs->torrent, file);
	if (fd < 0)
		return 0;
	int id = kernel_backing_open(fs->fuse_fd, fd);
	if (id > 0)
		return id;
	io->no_passthrough = true;
	log_debug(LOG_FUSE, "no passthrough: %s", strerror(-id));
	return 0;
}

/* The kind of the next handle of that file; f may be NULL (none is open). */
static enum io_kind choose(
	struct fs *fs, uint32_t file, const struct open_file *f, int *ret_backing)
{
	*ret_backing = f ? f->backing_id : 0;
	if (*ret_backing)
		return IO_KIND_PASSTHROUGH;
	if (fs->options->io == IO_DIRECT)
		return IO_KIND_DIRECT;
	if (fs->options->io == IO_CACHED)
		return IO_KIND_CACHED;
	if (!torrent_complete(fs->torrent))
		return IO_KIND_DIRECT;
	if (!f)
		*ret_backing = try_backing(fs, file);
	return *ret_backing ? IO_KIND_PASSTHROUGH : IO_KIND_CACHED;
}

void io_open(struct fs *fs, fuse_req_t req, uint32_t file, struct fuse_file_info *fi)
{
	struct io *io = fs->io;
	enum io_kind kind;
	int backing;
	{
		LOCK_SCOPE(&io->lock);
		struct open_file **p = find(io, file);
		kind = choose(fs, file, *p, &backing);
		if (!*p) {
			*p = xcalloc(1, sizeof(**p));
			(*p)->file = file;
		}
		(*p)->handles[kind]++;
		(*p)->backing_id = backing;
	}
	fi->fh = kind;
	fi->direct_io = kind == IO_KIND_DIRECT;
	/* A direct handle has no use for the cache, but without this the kernel would drop the
	 * pages of mappings, and open would wait, unkillable, for those that a fault is waiting
	 * for. */
	fi->keep_cache = kind != IO_KIND_PASSTHROUGH;
	log_debug(LOG_FUSE, "open of file %u: %s", file,
		kind == IO_KIND_DIRECT   ? "direct"
		: kind == IO_KIND_CACHED ? "cached"
					 : "passthrough");
	int r = kind == IO_KIND_PASSTHROUGH ? kernel_reply_passthrough(req, kind, backing)
					    : fuse_reply_open(req, fi);
	if (r == -ENOENT) /* whoever opened was interrupted: no RELEASE will come */
		io_release(fs, file, kind);
}

void io_release(struct fs *fs, uint32_t file, enum io_kind kind)
{
	struct io *io = fs->io;
	LOCK_SCOPE(&io->lock);
	struct open_file **p = find(io, file), *f = *p;
	if (!f || kind >= IO_KINDS || !f->handles[kind])
		return;
	f->handles[kind]--;
	if (!f->handles[IO_KIND_PASSTHROUGH] && f->backing_id) {
		kernel_backing_close(fs->fuse_fd, f->backing_id);
		f->backing_id = 0;
	}
	for (size_t i = 0; i < IO_KINDS; i++) {
		if (f->handles[i])
			return;
	}
	*p = f->next;
	free(f);
}

const char *io_name(struct fs *fs, uint32_t file)
{
	struct io *io = fs->io;
	LOCK_SCOPE(&io->lock);
	const struct open_file *f = *find(io, file);
	if (f && f->backing_id)
		return "passthrough";
	if (fs->options->io == IO_DIRECT ||
		(fs->options->io == IO_AUTO && !torrent_complete(fs->torrent)))
		return "direct";
	if (fs->options->io == IO_AUTO && !f && fs->hook.passthrough && !io->no_passthrough &&
		torrent_all_hashed(fs->torrent))
		return "passthrough";
	return "cached";
}
