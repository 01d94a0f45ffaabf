// SPDX-License-Identifier: MIT
/* The store on disk: an entry, a `get` target, or files in place.
 *
 *	            files beneath             record and lock in          written
 *	entry       DIR/<hash>/content/       DIR/<hash>/                 yes
 *	get         DIR/ or DIR/<name>/       DIR/.<name>.p2pfs/          yes
 *	in place    the file's folder, or     -                           no
 *	            the folder
 *
 * The record: its bytes are written beside it and synced before rename puts them in its place, so
 * that under the name there is one whole record at any time, on every file system that keeps the
 * order of fdatasync, then rename (POSIX asks only for the rename to be atomic; ext4, xfs, btrfs
 *and zfs do not let a name reach bytes later than the sync before it).  The folder is synced last:
 *only then is the new record the durable one.  Until then a crash may bring the old one back, which
 * claims less or the same.
 *
 * The lock is flock's: it stays with the open file over a fork (daemonizing), where fcntl's would
 * not, and it ends with the last process that has it, however that dies.
 *
 * Thread: as store.h says.
 */
#include "swarm/store.h"
#include "swarm/beneath.h"
#include "swarm/store_files.h"
#include "swarm/metainfo.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define RECORD "have"
#define METAINFO "metainfo.torrent"
#define LOCK "lock"
#define CONTENT "content"
#define BESIDE ".new"

struct disk {
	struct store store;
	struct files *files; /* owned */
	char *entry; /* owned: the path; NULL in place */
	const char *name; /* the entry's name in the folder above; within `entry` */
	int parent_fd, entry_fd, lock_fd; /* -1 in place */
	bool is_get;
	bool names_synced; /* of disk_sync */
	pthread_mutex_t lock; /* a save on a worker against store_finish */
	bool finished; /* locked */
};

static struct disk *to_disk(struct store *s)
{
	return container_of(s, struct disk, store);
}

__attribute__((format(printf, 3, 4))) static int fail(
	char **ret_why, int error, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	CLEANUP_FREE char *what = xvasprintf(format, ap);
	va_end(ap);
	*ret_why = xasprintf("%s: %s", what, strerrordesc_np(-error));
	return error;
}

/* -- small files of the entry ---------------------------------------------------------------- */

static int write_synced(int fd, const uint8_t *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return fdatasync(fd) < 0 ? -errno : 0;
}

/* Puts a file in the place of another, see above. */
static int replace(int dir, const char *name, const void *data, size_t len)
{
	CLEANUP_FREE char *beside = xasprintf("%s" BESIDE, name);
	/* What an earlier crash left may be a link somebody planted: away with it. */
	if (unlinkat(dir, beside, 0) < 0 && errno != ENOENT)
		return -errno;
	CLEANUP_CLOSE int fd = beneath_open(dir, beside, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	int r = write_synced(fd, data, len);
	if (r == 0 && renameat(dir, beside, dir, name) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dir, beside, 0);
		return r;
	}
	return fsync(dir) < 0 ? -errno : 0;
}

static int load(int dir, const char *name, size_t max, uint8_t **ret, size_t *ret_len)
{
	struct stat st;
	CLEANUP_CLOSE int fd = beneath_open(dir, name, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	size_t len = (size_t)st.st_size;
	CLEANUP_FREE uint8_t *data = malloc(len ? len : 1);
	if (!data)
		return -ENOMEM;
	for (size_t done = 0; done < len;) {
		ssize_t n = pread(fd, data + done, len - done, (off_t)done);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -EIO;
		done += n > 0 ? (size_t)n : 0;
	}
	*ret = steal_ptr(&data);
	*ret_len = len;
	return 0;
}

/* -- the calls -------------------------------------------------------------------------------- */

static int disk_read(struct store *s, uint64_t offset, void *data, size_t len, bool nowait)
{
	struct disk *d = to_disk(s);
	if (!store_range_ok(s->meta, offset, len))
		return -EINVAL;
	for (struct store_part p = store_parts(s->meta, offset, len);
		store_part_next(s->meta, &p);) {
		uint8_t *to = (uint8_t *)data + p.done;
		if (p.file == STORE_PADDING) {
			memset(to, 0, p.len);
			continue;
		}
		int r = files_read(d->files, p.file, p.at, to, p.len, nowait);
		if (r < 0)
			return r;
	}
	return 0;
}

static int disk_write(struct store *s, uint64_t offset, const void *data, size_t len)
{
	struct disk *d = to_disk(s);
	if (s->read_only)
		return -EROFS;
	if (!store_range_ok(s->meta, offset, len))
		return -EINVAL;
	for (struct store_part p = store_parts(s->meta, offset, len);
		store_part_next(s->meta, &p);) {
		const uint8_t *from = (const uint8_t *)data + p.done;
		int r = p.file == STORE_PADDING ? 0
						: files_write(d->files, p.file, p.at, from, p.len);
		if (r < 0)
			return r;
	}
	return 0;
}

static int disk_sync(struct store *s)
{
	struct disk *d = to_disk(s);
	if (s->read_only)
		return -EROFS;
	int r = files_sync(d->files);
	if (r == 0 && !d->names_synced) {
		/* The entry may be new, and what is in it. */
		if (fsync(d->entry_fd) < 0 || fsync(d->parent_fd) < 0)
			r = -errno;
		d->names_synced = r == 0;
	}
	return r;
}

static int disk_save_record(struct store *s, const void *data, size_t len)
{
	struct disk *d = to_disk(s);
	if (s->read_only)
		return -EROFS;
	LOCK_SCOPE(&d->lock);
	return d->finished ? 0 : replace(d->entry_fd, RECORD, data, len);
}

static int disk_load_record(struct store *s, uint8_t **ret, size_t *ret_len)
{
	struct disk *d = to_disk(s);
	return s->read_only ? -ENOENT : load(d->entry_fd, RECORD, RECORD_MAX_BYTES, ret, ret_len);
}

static void disk_drop_cache(struct store *s)
{
	files_drop_cache(to_disk(s)->files);
}

static int disk_stamp(struct store *s, uint32_t file, uint64_t ret[3])
{
	return files_stamp(to_disk(s)->files, file, ret);
}

static int disk_fd(struct store *s, uint32_t file)
{
	return files_fd(to_disk(s)->files, file);
}

static uint64_t disk_used(struct store *s)
{
	return files_used(to_disk(s)->files);
}

static int disk_finish(struct store *s)
{
	static const char *const names[] = {RECORD, RECORD BESIDE, METAINFO, METAINFO BESIDE, LOCK};
	struct disk *d = to_disk(s);
	if (!d->is_get)
		return 0;
	LOCK_SCOPE(&d->lock);
	d->finished = true;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (unlinkat(d->entry_fd, names[i], 0) < 0 && errno != ENOENT)
			return -errno;
	if (unlinkat(d->parent_fd, d->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

static void disk_close(struct store *s)
{
	struct disk *d = to_disk(s);
	files_free(d->files);
	if (d->entry_fd >= 0)
		close(d->entry_fd);
	if (d->parent_fd >= 0)
		close(d->parent_fd);
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	pthread_mutex_destroy(&d->lock);
	free(d->entry);
	free(d);
}

static const struct store_ops disk_ops = {
	.read = disk_read,
	.write = disk_write,
	.sync = disk_sync,
	.save_record = disk_save_record,
	.load_record = disk_load_record,
	.drop_cache = disk_drop_cache,
	.stamp = disk_stamp,
	.fd = disk_fd,
	.used = disk_used,
	.finish = disk_finish,
	.close = disk_close,
};

static struct disk *disk_new(const struct metainfo *m)
{
	struct disk *d = xcalloc(1, sizeof(*d));
	d->store = (struct store) {.ops = &disk_ops, .meta = m, .entry = ""};
	d->parent_fd = d->entry_fd = d->lock_fd = -1;
	pthread_mutex_init(&d->lock, NULL);
	return d;
}

/* -- opening ---------------------------------------------------------------------------------- */

/* Makes a folder of the user's with those above it, links followed; *ret_path is its real path. */
static int open_user_folder(
	const char *dir, mode_t mode, int *ret_fd, char **ret_path, char **ret_why)
{
	CLEANUP_FREE char *path = xstrdup(dir);
	for (char *p = path; *p; p++) {
		if (*p != '/' || p == path)
			continue;
		*p = 0;
		if (mkdir(path, mode) < 0 && errno != EEXIST)
			return fail(ret_why, -errno, "%s", path);
		*p = '/';
	}
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return fail(ret_why, -errno, "%s", path);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *real = fd < 0 ? NULL : realpath(path, NULL);
	if (!real)
		return fail(ret_why, -errno, "%s", path);
	*ret_fd = steal_fd(&fd);
	*ret_path = real;
	return 0;
}

/* A record is believed, so it must not be one that another user laid there for us: he can where the
 * store is a folder that others may write to, such as /tmp. */
static int check_owner(const struct disk *d, char **ret_why)
{
	struct stat entry, parent;
	if (fstat(d->entry_fd, &entry) < 0 || fstat(d->parent_fd, &parent) < 0)
		return fail(ret_why, -errno, "%s", d->entry);
	if (entry.st_uid == 0 || entry.st_uid == geteuid() || entry.st_uid == parent.st_uid ||
		!(parent.st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	*ret_why = xasprintf("%s: belongs to user %u, in a folder where others may write", d->entry,
		(unsigned)entry.st_uid);
	return -EPERM;
}

/* Makes and opens the entry `name` of the folder `dir`, which was opened as `parent` (taken). */
static int open_entry(struct disk *d, int parent, const char *dir, const char *name, char **ret_why)
{
	d->parent_fd = parent;
	d->entry = xasprintf("%s/%s", strcmp(dir, "/") ? dir : "", name);
	d->name = d->entry + strlen(d->entry) - strlen(name);
	d->store.entry = d->entry;
	if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
		return fail(ret_why, -errno, "%s", d->entry);
	d->entry_fd = beneath_open(parent, name, O_RDONLY | O_DIRECTORY, 0);
	if (d->entry_fd < 0)
		return fail(ret_why, d->entry_fd, "%s", d->entry);
	return check_owner(d, ret_why);
}

static int fail_held(const struct disk *d, int fd, char **ret_why)
{
	char text[17] = "";
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	long pid = n > 0 ? strtol(text, NULL, 10) : 0;
	if (pid > 0)
		*ret_why = xasprintf("%s: process %ld uses it", d->entry, pid);
	else
		*ret_why = xasprintf("%s: another process uses it", d->entry);
	return -EBUSY;
}

static int take_lock(struct disk *d, char **ret_why)
{
	for (;;) {
		struct stat mine, named;
		CLEANUP_CLOSE int fd =
			beneath_open(d->entry_fd, LOCK, O_RDWR | O_CREAT | O_NONBLOCK, 0600);
		if (fd < 0)
			return fail(ret_why, fd, "%s/" LOCK, d->entry);
		if (flock(fd, LOCK_EX | LOCK_NB) < 0)
			return errno == EWOULDBLOCK ? fail_held(d, fd, ret_why)
						    : fail(ret_why, -errno, "%s/" LOCK, d->entry);
		if (fstat(fd, &mine) < 0)
			return fail(ret_why, -errno, "%s/" LOCK, d->entry);
		/* store_finish of another process may have removed it under us. */
		if (fstatat(d->entry_fd, LOCK, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
			named.st_ino != mine.st_ino || named.st_dev != mine.st_dev)
			continue;
		/* For people and messages: a full disk is no reason to fail.  Of one length, so
		 * that nothing needs to be cut. */
		if (dprintf(fd, "%-15d\n", (int)getpid()) < 0)
			errno = 0;
		d->lock_fd = steal_fd(&fd);
		return 0;
	}
}

/* What the entry keeps is kept, but for a hybrid's that lacks the piece layers which this one has. */
static bool keeps_metainfo(const struct disk *d)
{
	CLEANUP_FREE char *path = xasprintf("%s/" METAINFO, d->entry), *why = NULL;
	struct stat st;
	struct metainfo *m = NULL;
	if (fstatat(d->entry_fd, METAINFO, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	if (!d->store.meta->has_v1 || !d->store.meta->has_v2 || metainfo_load(path, &m, &why) < 0)
		return true;
	bool keeps = !m->lacks_layers;
	metainfo_free(m);
	return keeps;
}

static int write_metainfo(struct disk *d, bool always, char **ret_why)
{
	if (!d->store.meta->raw_len || (!always && keeps_metainfo(d)))
		return 0;
	int r = replace(d->entry_fd, METAINFO, d->store.meta->raw, d->store.meta->raw_len);
	return r < 0 ? fail(ret_why, r, "%s/" METAINFO, d->entry) : 0;
}

/* Makes and opens a folder that the files are to lie in. */
static int open_root(int parent, const char *dir, const char *name, int *ret_fd, char **ret_where,
	char **ret_why)
{
	CLEANUP_FREE char *where = xasprintf("%s/%s", strcmp(dir, "/") ? dir : "", name);
	if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
		return fail(ret_why, -errno, "%s", where);
	int fd = beneath_open(parent, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fail(ret_why, fd, "%s", where);
	*ret_fd = fd;
	*ret_where = steal_ptr(&where);
	return 0;
}

static int open_disk(struct disk *d, const char *dir, char **ret_why)
{
	const struct metainfo *m = d->store.meta;
	CLEANUP_FREE char *path = NULL, *where = NULL;
	char name[65];
	int parent, root;

	int r = open_user_folder(dir, 0700, &parent, &path, ret_why);
	if (r < 0)
		return r;
	metainfo_entry_name(m, name);
	r = open_entry(d, parent, path, name, ret_why);
	if (r == 0)
		r = take_lock(d, ret_why);
	if (r == 0)
		r = write_metainfo(d, false, ret_why);
	if (r == 0)
		r = open_root(d->entry_fd, d->entry, CONTENT, &root, &where, ret_why);
	if (r == 0)
		r = files_open(
			root, where, NULL, m, FILES_WRITE, &d->files, &d->store.touched, ret_why);
	return r;
}

/* ".NAME.p2pfs", or by the entry's name where that is too long for one. */
static char *working_name(const struct metainfo *m)
{
	char entry[65];
	char *name = xasprintf(".%s.p2pfs", m->name);
	if (strlen(name) <= PATH_MAX_NAME)
		return name;
	free(name);
	metainfo_entry_name(m, entry);
	return xasprintf(".%s.p2pfs", entry);
}

static int open_get(struct disk *d, const char *dir, char **ret_why)
{
	const struct metainfo *m = d->store.meta;
	CLEANUP_FREE char *path = NULL, *where = NULL, *name = working_name(m);
	int parent, root;

	d->is_get = true;
	int r = open_user_folder(dir, 0755, &parent, &path, ret_why);
	if (r < 0)
		return r;
	r = open_entry(d, parent, path, name, ret_why);
	if (r == 0)
		r = take_lock(d, ret_why);
	if (r == 0)
		/* Always: the name may have been another torrent's. */
		r = write_metainfo(d, true, ret_why);
	if (r < 0)
		return r;
	if (!m->single) {
		r = open_root(parent, path, m->name, &root, &where, ret_why);
		if (r < 0)
			return r;
	} else {
		root = fcntl(parent, F_DUPFD_CLOEXEC, 0);
		if (root < 0)
			return fail(ret_why, -errno, "%s", path);
		where = xstrdup(path);
	}
	return files_open(root, where, NULL, m, FILES_KEEP, &d->files, &d->store.touched, ret_why);
}

static int open_in_place(struct disk *d, const char *path, char **ret_why)
{
	const struct metainfo *m = d->store.meta;
	const char *name = NULL;

	d->store.read_only = true;
	/* The user's own name for it may be a link; within a folder of files none is followed. */
	CLEANUP_FREE char *real = realpath(path, NULL);
	if (!real)
		return fail(ret_why, -errno, "%s", path);
	if (m->single) {
		char *slash = strrchr(real, '/');
		name = slash + 1;
		*slash = 0;
	}
	int root = open(*real ? real : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return fail(ret_why, -errno, "%s", real);
	return files_open(root, real, m->single ? name : NULL, m, FILES_READ, &d->files,
		&d->store.touched, ret_why);
}

static int open_by(int (*opener)(struct disk *d, const char *path, char **ret_why),
	const char *path, const struct metainfo *m, struct store **ret, char **ret_why)
{
	struct disk *d = disk_new(m);
	int r = opener(d, path, ret_why);
	if (r < 0) {
		/* A get that could not begin leaves nothing behind. */
		if (d->lock_fd >= 0 &&
			faccessat(d->entry_fd, RECORD, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
			disk_finish(&d->store);
		disk_close(&d->store);
		return r;
	}
	*ret = &d->store;
	return 0;
}

int store_open_disk(const char *dir, const struct metainfo *m, struct store **ret, char **ret_why)
{
	return open_by(open_disk, dir, m, ret, ret_why);
}

int store_open_get(const char *dir, const struct metainfo *m, struct store **ret, char **ret_why)
{
	return open_by(open_get, dir, m, ret, ret_why);
}

int store_open_in_place(
	const char *path, const struct metainfo *m, struct store **ret, char **ret_why)
{
	return open_by(open_in_place, path, m, ret, ret_why);
}
