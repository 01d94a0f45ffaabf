// SPDX-License-Identifier: MIT
/* See store_files.h.
 *
 * A pinned file has its descriptor in an array that never changes, so that reading it takes no
 * lock.  The cache of the others is a small array behind a mutex, searched from end to end: 128
 * comparisons are nothing beside a system call.  Files are opened outside of the lock.
 *
 * "Dirty" is set after pwrite has returned, and taken back before fdatasync begins: a write that
 * returned before the sync began is always covered by it.
 *
 * Thread: as store_files.h says.
 */
#include "swarm/store_files.h"
#include "swarm/beneath.h"
#include "swarm/metainfo.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define NO_FILE UINT32_MAX

struct pinned {
	int fd;
	atomic_bool dirty;
};

struct slot {
	int fd;
	uint32_t file; /* NO_FILE: free */
	unsigned refs;
	bool dirty;
	uint64_t used; /* the tick of its last use */
};

struct files {
	const struct metainfo *meta; /* borrowed */
	char *single; /* owned, or NULL */
	int root;
	bool read_only;

	struct pinned *pinned; /* owned */
	uint32_t n_pinned;

	pthread_mutex_t lock;
	struct slot slots[STORE_CACHED_FDS];
	uint64_t tick;
	uint64_t *blocks; /* owned; st_blocks of the files that are not pinned, as last seen */
	uint64_t blocks_sum;

	bool sync_all; /* locked: something was written that no slot tells of */
	bool names_new; /* files were made: their folders are to be synced; of files_sync */
};

/* A file for the time of a call. */
struct use {
	int fd;
	struct slot *slot; /* NULL: pinned, or opened for this call */
	bool temporary;
};

static const char *path_of(const struct files *f, uint32_t file)
{
	return f->single ? f->single : f->meta->files[file].path;
}

static int open_file(const struct files *f, uint32_t file)
{
	/* O_NONBLOCK: a FIFO put in our way is not to hold us; nothing to a regular file. */
	int flags = (f->read_only ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_NOCTTY;
	return beneath_open(f->root, path_of(f, file), flags, 0);
}

/* -- opening all -------------------------------------------------------------------------- */

static int make_file(struct files *f, uint32_t file)
{
	const char *path = path_of(f, file);
	int r = beneath_make_parents(f->root, path, 0755);
	if (r < 0)
		return r;
	f->names_new = true;
	return beneath_open(f->root, path, O_RDWR | O_CREAT | O_EXCL,
		f->meta->files[file].executable ? 0755 : 0644);
}

static int fail(char **ret_why, int error, const char *where, const char *path, const char *why)
{
	*ret_why = xasprintf("%s/%s: %s", strcmp(where, "/") ? where : "", path, why);
	return error;
}

static int fail_size(char **ret_why, int error, const char *where, const char *path, uint64_t is,
	uint64_t expected)
{
	CLEANUP_FREE char *why =
		xasprintf("it has %" PRIu64 " bytes, the torrent says %" PRIu64, is, expected);
	return fail(ret_why, error, where, path, why);
}

static const char *open_why(int error)
{
	return error == -ELOOP ? "a symbolic link is in the way" : strerrordesc_np(-error);
}

/* Opens one, or makes it, and sees to its size. */
static int open_checked(struct files *f, uint32_t file, const char *where, enum files_mode mode,
	bool *touched, struct stat *ret_st, char **ret_why)
{
	const char *path = path_of(f, file);
	uint64_t length = f->meta->files[file].length;
	bool made = false;
	CLEANUP_CLOSE int fd = open_file(f, file);

	if (fd == -ENOENT && mode != FILES_READ) {
		fd = make_file(f, file);
		made = true;
	}
	if (fd < 0)
		return fail(ret_why, fd, where, path, open_why(fd));
	if (fstat(fd, ret_st) < 0)
		return fail(ret_why, -errno, where, path, strerrordesc_np(errno));
	if (!S_ISREG(ret_st->st_mode))
		return fail(ret_why, -EINVAL, where, path, "not a regular file");

	uint64_t size = (uint64_t)ret_st->st_size;
	if (size != length) {
		if (mode == FILES_READ)
			return fail_size(ret_why, -EINVAL, where, path, size, length);
		if (mode == FILES_KEEP && size > length)
			return fail_size(ret_why, -EEXIST, where, path, size, length);
		if (ftruncate(fd, (off_t)length) < 0) {
			int error = -errno;
			CLEANUP_FREE char *why =
				xasprintf("cannot be made %" PRIu64 " bytes long: %s", length,
					strerrordesc_np(-error));
			return fail(ret_why, error, where, path, why);
		}
	}
	if (made || size != length)
		*touched = true;
	return steal_fd(&fd);
}

static int open_all(
	struct files *f, const char *where, enum files_mode mode, bool *touched, char **ret_why)
{
	for (uint32_t i = 0; i < f->meta->n_files; i++) {
		struct stat st;
		bool other = false;
		int fd = open_checked(f, i, where, mode, &other, &st, ret_why);
		if (fd < 0)
			return fd;
		*touched |= other;
		if (i < f->n_pinned) {
			f->pinned[i].fd = fd;
			/* What was there before may be in the page cache alone (store.h). */
			f->pinned[i].dirty = mode != FILES_READ;
			continue;
		}
		close(fd);
		f->sync_all = mode != FILES_READ;
		f->blocks[i - f->n_pinned] = (uint64_t)st.st_blocks;
		f->blocks_sum += (uint64_t)st.st_blocks;
	}
	return 0;
}

int files_open(int root, const char *where, const char *single, const struct metainfo *m,
	enum files_mode mode, struct files **ret, bool *ret_touched, char **ret_why)
{
	struct files *f = xcalloc(1, sizeof(*f));
	f->meta = m;
	f->single = single ? xstrdup(single) : NULL;
	f->root = root;
	f->read_only = mode == FILES_READ;
	f->n_pinned = MIN(m->n_files, STORE_PINNED_FDS);
	f->pinned = xcalloc(f->n_pinned, sizeof(*f->pinned));
	for (uint32_t i = 0; i < f->n_pinned; i++)
		f->pinned[i].fd = -1;
	f->blocks = xcalloc(m->n_files - f->n_pinned, sizeof(*f->blocks));
	for (size_t i = 0; i < ARRAY_SIZE(f->slots); i++)
		f->slots[i] = (struct slot) {.fd = -1, .file = NO_FILE};
	pthread_mutex_init(&f->lock, NULL);

	bool touched = false;
	int r = open_all(f, where, mode, &touched, ret_why);
	if (r < 0) {
		files_free(f);
		return r;
	}
	*ret = f;
	*ret_touched = touched;
	return 0;
}

void files_free(struct files *f)
{
	if (!f)
		return;
	for (uint32_t i = 0; i < f->n_pinned; i++)
		if (f->pinned[i].fd >= 0)
			close(f->pinned[i].fd);
	for (size_t i = 0; i < ARRAY_SIZE(f->slots); i++)
		if (f->slots[i].fd >= 0)
			close(f->slots[i].fd);
	if (f->root >= 0)
		close(f->root);
	pthread_mutex_destroy(&f->lock);
	free(f->pinned);
	free(f->blocks);
	free(f->single);
	free(f);
}

/* -- the cache of descriptors --------------------------------------------------------------- */

/* Locked. */
static struct slot *slot_find(struct files *f, uint32_t file)
{
	for (size_t i = 0; i < ARRAY_SIZE(f->slots); i++)
		if (f->slots[i].file == file)
			return &f->slots[i];
	return NULL;
}

/* Locked: one that may be taken, free or unused longest; or NULL. */
static struct slot *slot_spare(struct files *f)
{
	struct slot *best = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(f->slots); i++) {
		struct slot *s = &f->slots[i];
		if (s->file == NO_FILE)
			return s;
		if (!s->refs && !s->dirty && (!best || s->used < best->used))
			best = s;
	}
	return best;
}

/* Locked. */
static void slot_hold(struct files *f, struct slot *s, struct use *u)
{
	s->refs++;
	s->used = ++f->tick;
	*u = (struct use) {.fd = s->fd, .slot = s};
}

static bool use_cached(struct files *f, uint32_t file, struct use *u)
{
	LOCK_SCOPE(&f->lock);
	struct slot *s = slot_find(f, file);
	if (s)
		slot_hold(f, s, u);
	return s != NULL;
}

/* Puts the descriptor (taken) into the cache, unless another thread did so meanwhile. */
static void use_opened(struct files *f, uint32_t file, int fd, struct use *u)
{
	CLEANUP_CLOSE int unwanted = -1;
	LOCK_SCOPE(&f->lock);
	struct slot *s = slot_find(f, file);
	if (s) {
		unwanted = fd;
		slot_hold(f, s, u);
		return;
	}
	s = slot_spare(f);
	if (!s) {
		*u = (struct use) {.fd = fd, .temporary = true};
		return;
	}
	unwanted = s->fd;
	s->fd = fd;
	s->file = file;
	slot_hold(f, s, u);
}

/* `nowait`: -EAGAIN where the file would have to be opened. */
static int use_begin(struct files *f, uint32_t file, bool nowait, struct use *u)
{
	if (file < f->n_pinned) {
		*u = (struct use) {.fd = f->pinned[file].fd};
		return 0;
	}
	if (use_cached(f, file, u))
		return 0;
	if (nowait)
		return -EAGAIN;
	int fd = open_file(f, file);
	if (fd < 0)
		return fd;
	use_opened(f, file, fd, u);
	return 0;
}

/* Locked. */
static void saw_blocks(struct files *f, uint32_t file, int fd)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return;
	uint64_t *seen = &f->blocks[file - f->n_pinned];
	f->blocks_sum += (uint64_t)st.st_blocks - *seen;
	*seen = (uint64_t)st.st_blocks;
}

static void use_end(struct files *f, struct use *u)
{
	if (u->temporary) {
		close(u->fd);
	} else if (u->slot) {
		LOCK_SCOPE(&f->lock);
		u->slot->refs--;
	}
}

/* What was written by this use is to be synced. */
static void use_written(struct files *f, uint32_t file, struct use *u)
{
	if (!u->temporary && !u->slot) {
		f->pinned[file].dirty = true;
		return;
	}
	LOCK_SCOPE(&f->lock);
	if (u->slot) {
		u->slot->dirty = true;
		return;
	}
	f->sync_all = true;
	saw_blocks(f, file, u->fd);
}

/* -- reading and writing --------------------------------------------------------------------- */

static int read_all(int fd, uint8_t *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pread(fd, data, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO; /* cut behind our back */
		data += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

/* One try: what is not in memory now has to be waited for, by another thread. */
static int read_now(int fd, uint8_t *data, size_t len, uint64_t at)
{
	struct iovec iov = {.iov_base = data, .iov_len = len};
	ssize_t n = preadv2(fd, &iov, 1, (off_t)at, RWF_NOWAIT);
	if (n < 0)
		/* tmpfs of older kernels, FUSE, NFS: cannot tell. */
		return errno == EOPNOTSUPP || errno == EINTR || errno == ENOSYS ? -EAGAIN : -errno;
	return (size_t)n == len ? 0 : -EAGAIN;
}

static int write_all(int fd, const uint8_t *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return -EIO;
		data += n;
		len -= (size_t)n;
		at += (uint64_t)n;
	}
	return 0;
}

int files_read(struct files *f, uint32_t file, uint64_t at, void *data, size_t len, bool nowait)
{
	struct use u;
	int r = use_begin(f, file, nowait, &u);
	if (r < 0)
		return r;
	r = nowait ? read_now(u.fd, data, len, at) : read_all(u.fd, data, len, at);
	use_end(f, &u);
	return r;
}

int files_write(struct files *f, uint32_t file, uint64_t at, const void *data, size_t len)
{
	struct use u;
	int r = use_begin(f, file, false, &u);
	if (r < 0)
		return r;
	r = write_all(u.fd, data, len, at);
	use_written(f, file, &u); /* also after a failure: part of it may be written */
	use_end(f, &u);
	return r;
}

/* -- syncing ---------------------------------------------------------------------------------- */

static int sync_fd(int fd)
{
	return fdatasync(fd) < 0 ? -errno : 0;
}

/* The folder of the first `len` bytes of `path`. */
static int sync_folder(const struct files *f, const char *path, size_t len)
{
	CLEANUP_FREE char *folder = xstrndup(path, len);
	CLEANUP_CLOSE int fd = beneath_open(f->root, folder, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	return fsync(fd) < 0 ? -errno : 0;
}

/* The folders that new files lie in, up to the root.  They are found again from the files' paths,
 * which mostly come folder by folder; syncing one twice costs next to nothing. */
static int sync_names(const struct files *f)
{
	const char *last = "";
	size_t last_len = 0;
	for (uint32_t i = 0; i < f->meta->n_files; i++) {
		const char *path = path_of(f, i), *slash = strrchr(path, '/');
		size_t len = slash ? (size_t)(slash - path) : 0;
		if (len == last_len && memcmp(path, last, len) == 0)
			continue;
		last = path;
		last_len = len;
		while (len) {
			int r = sync_folder(f, path, len);
			if (r < 0)
				return r;
			while (len && path[len - 1] != '/')
				len--;
			len -= len > 0;
		}
	}
	return fsync(f->root) < 0 ? -errno : 0;
}

static int sync_slots(struct files *f)
{
	int first = 0;
	for (size_t i = 0; i < ARRAY_SIZE(f->slots); i++) {
		struct slot *s = &f->slots[i];
		pthread_mutex_lock(&f->lock);
		struct use u;
		uint32_t file = s->file;
		bool dirty = s->dirty;
		s->dirty = false;
		if (dirty)
			slot_hold(f, s, &u);
		pthread_mutex_unlock(&f->lock);
		if (!dirty)
			continue;
		int r = sync_fd(u.fd);
		first = first ? first : r;
		pthread_mutex_lock(&f->lock);
		saw_blocks(f, file, u.fd);
		pthread_mutex_unlock(&f->lock);
		use_end(f, &u);
	}
	return first;
}

static bool take_sync_all(struct files *f)
{
	LOCK_SCOPE(&f->lock);
	bool all = f->sync_all;
	f->sync_all = false;
	return all;
}

/* After a failure it goes on: what the rest holds is lost to the caller all the same, but each
 * descriptor's error is told only once, and must not fall into the next group. */
int files_sync(struct files *f)
{
	int first = 0, r;
	for (uint32_t i = 0; i < f->n_pinned; i++) {
		if (!atomic_exchange(&f->pinned[i].dirty, false))
			continue;
		r = sync_fd(f->pinned[i].fd);
		first = first ? first : r;
	}
	r = sync_slots(f);
	first = first ? first : r;
	if (take_sync_all(f)) {
		r = syncfs(f->root) < 0 ? -errno : 0;
		f->names_new = f->names_new && r; /* names too */
		first = first ? first : r;
	}
	if (f->names_new) {
		r = sync_names(f);
		f->names_new = r != 0;
		first = first ? first : r;
	}
	return first;
}

void files_drop_cache(struct files *f)
{
	for (uint32_t i = 0; i < f->meta->n_files; i++) {
		struct use u;
		if (use_begin(f, i, false, &u) < 0)
			continue; /* reading it will tell */
		posix_fadvise(u.fd, 0, 0, POSIX_FADV_DONTNEED);
		use_end(f, &u);
	}
}

/* -- facts ------------------------------------------------------------------------------------- */

int files_stamp(struct files *f, uint32_t file, uint64_t ret[3])
{
	struct use u;
	struct stat st;
	int r = use_begin(f, file, false, &u);
	if (r < 0)
		return r;
	r = fstat(u.fd, &st) < 0 ? -errno : 0;
	use_end(f, &u);
	if (r < 0)
		return r;
	ret[0] = (uint64_t)st.st_size;
	ret[1] = (uint64_t)st.st_mtim.tv_sec * 1000000000u + (uint64_t)st.st_mtim.tv_nsec;
	ret[2] = (uint64_t)st.st_ctim.tv_sec * 1000000000u + (uint64_t)st.st_ctim.tv_nsec;
	return 0;
}

int files_fd(const struct files *f, uint32_t file)
{
	return file < f->n_pinned ? f->pinned[file].fd : -1;
}

uint64_t files_used(struct files *f)
{
	uint64_t sum = 0;
	for (uint32_t i = 0; i < f->n_pinned; i++) {
		struct stat st;
		if (fstat(f->pinned[i].fd, &st) < 0)
			return UINT64_MAX;
		sum += (uint64_t)st.st_blocks;
	}
	LOCK_SCOPE(&f->lock);
	return (sum + f->blocks_sum) * 512;
}
