/* SPDX-License-Identifier: MIT */
/* The file system: answers to the kernel's requests; see ops.h.
 *
 * What libfuse answers with ENOSYS for us, on purpose: flush and fsync (the kernel then does not
 * ask again), locks (it does OFD locks and flock by itself, so QEMU's image locking works), ioctl
 * (ENOTTY to the caller), access (default_permissions: the kernel checks).
 *
 * Thread: libfuse's; as said in ops.h.
 */
#include "fs/ops.h"

#include "base/log.h"
#include "base/mem.h"
#include "swarm/metainfo.h"
#include "swarm/swarm.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

/* Names, sizes and times never change: the kernel need not ask twice. */
#define FOR_EVER 1e9
/* But st_blocks, the bytes that are here, grows until all is: attributes are asked again after so
 * long until then.  The answer comes out of memory. */
#define WHILE_INCOMPLETE 1.0
/* Readahead is "background" to the kernel, which lets 12 requests be under way and queues the rest:
 * 12 that wait for peers would hold up those whose bytes are here. */
#define MAX_BACKGROUND 2048
/* The block that is fetched and verified: a reader's natural buffer. */
#define BLKSIZE 16384
#define STATFS_BLOCK 4096u

static void init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	/* With it, an O_DIRECT reader of a cached file could not even be killed, nor a process that
	 * reads asynchronously.  The price: io_submit waits for each read (io_uring has its
	 * threads). */
	conn->want &= ~(unsigned)FUSE_CAP_ASYNC_DIO;
	/* It asks for attributes before reads; nothing can have changed. */
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	/* Requests are small and replies verified bytes of ours: nothing to splice. */
	conn->want &=
		~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
	conn->max_background = MAX_BACKGROUND;
	conn->congestion_threshold = MAX_BACKGROUND / 4 * 3;
	kernel_hook_arm(&fs->hook);
	log_debug(LOG_FUSE, "kernel speaks FUSE %u.%u", conn->proto_major, conn->proto_minor);
	fs->on_init(fs->arg);
}

static double attr_timeout(const struct fs *fs)
{
	return torrent_complete(fs->torrent) ? FOR_EVER : WHILE_INCOMPLETE;
}

static void fill_attr(const struct fs *fs, fuse_ino_t ino, const struct node *node, struct stat *st)
{
	const struct metainfo_file *file = tree_file(&fs->tree, node);
	/* Where there is r there is x, for folders and for what the torrent calls executable. */
	const mode_t x = (fs->options->mode & 0444) >> 2;

	*st = (struct stat) {
		.st_ino = ino,
		.st_uid = fs->options->uid,
		.st_gid = fs->options->gid,
		.st_blksize = BLKSIZE,
		.st_mtim = fs->time,
		.st_ctim = fs->time,
		.st_atim = fs->time,
	};
	if (file) {
		st->st_mode = S_IFREG | fs->options->mode | (file->executable ? x : 0);
		st->st_nlink = 1;
		st->st_size = (off_t)file->length;
		st->st_blocks =
			(blkcnt_t)((torrent_stored_bytes(fs->torrent, node->file) + 511) / 512);
	} else {
		st->st_mode = S_IFDIR | fs->options->mode | x;
		st->st_nlink = 2 + node->subfolders;
	}
}

static struct fuse_entry_param entry_of(const struct fs *fs, fuse_ino_t ino)
{
	struct fuse_entry_param e = {
		.ino = ino,
		.attr_timeout = attr_timeout(fs),
		.entry_timeout = FOR_EVER,
	};
	fill_attr(fs, ino, tree_node(&fs->tree, ino), &e.attr);
	return e;
}

static void lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct fs *fs = fuse_req_userdata(req);
	if (strlen(name) > NAME_MAX) { /* the kernel lets longer ones by */
		fuse_reply_err(req, ENAMETOOLONG);
		return;
	}
	uint32_t ino = tree_lookup(&fs->tree, parent, name);
	struct fuse_entry_param e = {
		.entry_timeout = FOR_EVER}; /* inode 0: it will never be there */
	if (ino != TREE_NONE)
		e = entry_of(fs, ino);
	fuse_reply_entry(req, &e);
}

static void getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	const struct fs *fs = fuse_req_userdata(req);
	const struct node *node = tree_node(&fs->tree, ino);
	struct stat st;
	if (!node) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	fill_attr(fs, ino, node, &st);
	fuse_reply_attr(req, &st, attr_timeout(fs));
}

/* -- files ------------------------------------------------------------------------------------ */

static void open_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	const struct node *node = tree_node(&fs->tree, ino);
	if (!tree_file(&fs->tree, node))
		fuse_reply_err(req, node ? EISDIR : ESTALE);
	else if ((fi->flags & O_ACCMODE) != O_RDONLY)
		fuse_reply_err(req, EROFS);
	else
		io_open(fs, req, node->file, fi);
}

static void release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	const struct node *node = tree_node(&fs->tree, ino);
	if (node)
		io_release(fs, node->file, (enum io_kind)fi->fh);
	fuse_reply_err(req, 0);
}

static char *reply_buffer(const struct fs *fs)
{
	char *buffer = pthread_getspecific(fs->buffer);
	if (!buffer) {
		buffer = xmalloc(TORRENT_MAX_READ);
		pthread_setspecific(fs->buffer, buffer);
	}
	return buffer;
}

static void read_file_range(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct fs *fs = fuse_req_userdata(req);
	const struct metainfo_file *file = tree_file(&fs->tree, tree_node(&fs->tree, ino));
	if (!file) {
		fuse_reply_err(req, EISDIR);
		return;
	}
	if (offset < 0 || (uint64_t)offset >= file->length) {
		fuse_reply_buf(req, NULL, 0);
		return;
	}
	/* Short at the file's end alone: the kernel takes a short reply for the end of the file. It
	 * asks for FUSE_MAX_PAGES (1 MiB) at most, so the second limit never bites. */
	size_t len = MIN((uint64_t)size, file->length - (uint64_t)offset);
	len = MIN(len, (size_t)TORRENT_MAX_READ);
	uint64_t at = file->offset + (uint64_t)offset;
	if (torrent_ready(fs->torrent, at, len)) {
		char *buffer = reply_buffer(fs);
		if (torrent_read_stored(fs->torrent, at, buffer, len) == 0) {
			fuse_reply_buf(req, buffer, len);
			return;
		}
	}
	reads_wait(&fs->reads, req, at, len, fi->fh == IO_KIND_CACHED);
}

static void seek(
	fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	const struct fs *fs = fuse_req_userdata(req);
	const struct node *node = tree_node(&fs->tree, ino);
	const struct metainfo_file *file = tree_file(&fs->tree, node);
	if (!file || (whence != SEEK_DATA && whence != SEEK_HOLE)) {
		fuse_reply_err(req, EINVAL);
		return;
	}
	if (offset < 0 || (uint64_t)offset >= file->length) {
		fuse_reply_err(req, ENXIO);
		return;
	}
	int64_t at = torrent_seek(fs->torrent, node->file, (uint64_t)offset, whence == SEEK_HOLE);
	if (at < 0)
		fuse_reply_err(req, (int)-at);
	else
		fuse_reply_lseek(req, at);
}

/* -- folders ---------------------------------------------------------------------------------- */

static void open_folder(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fi->cache_readdir = 1;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

/* Entry `i` of a folder: ".", "..", then its children.  False: there is none. */
static bool folder_entry(const struct fs *fs, const struct node *node, fuse_ino_t ino, uint64_t i,
	char name[UINT8_MAX + 1], struct fuse_entry_param *ret)
{
	if (i >= 2 + (uint64_t)node->n)
		return false;
	if (i < 2) {
		strcpy(name, i ? ".." : ".");
		*ret = (struct fuse_entry_param) {0}; /* inode 0: counts as no look-up */
		ret->attr.st_ino = i ? node->parent : ino;
		ret->attr.st_mode = S_IFDIR;
		return true;
	}
	fuse_ino_t child = node->first + (i - 2);
	const struct node *n = tree_node(&fs->tree, child);
	memcpy(name, n->name, n->name_len);
	name[n->name_len] = '\0';
	*ret = entry_of(fs, child);
	return true;
}

static void list_folder(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	const struct fs *fs = fuse_req_userdata(req);
	const struct node *node = tree_node(&fs->tree, ino);
	if (!node || node->file != TREE_FOLDER) {
		fuse_reply_err(req, ENOTDIR);
		return;
	}
	size = MIN(size, (size_t)TORRENT_MAX_READ);
	char *buffer = reply_buffer(fs), name[UINT8_MAX + 1];
	size_t used = 0;
	struct fuse_entry_param e;
	for (uint64_t i = (uint64_t)offset; folder_entry(fs, node, ino, i, name, &e); i++) {
		size_t need = plus ? fuse_add_direntry_plus(req, buffer + used, size - used, name,
					     &e, (off_t)i + 1)
				   : fuse_add_direntry(req, buffer + used, size - used, name,
					     &e.attr, (off_t)i + 1);
		if (need > size - used)
			break;
		used += need;
	}
	fuse_reply_buf(req, buffer, used);
}

static void readdir(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list_folder(req, ino, size, offset, false);
}

static void readdirplus(
	fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	list_folder(req, ino, size, offset, true);
}

/* -- the whole -------------------------------------------------------------------------------- */

static void statfs(fuse_req_t req, fuse_ino_t ino)
{
	const struct fs *fs = fuse_req_userdata(req);
	const struct metainfo *meta = torrent_meta(fs->torrent);
	const struct statvfs st = {
		.f_bsize = STATFS_BLOCK,
		.f_frsize = STATFS_BLOCK,
		.f_blocks = (meta->size + STATFS_BLOCK - 1) / STATFS_BLOCK,
		.f_files = fs->tree.n_nodes,
		.f_namemax = NAME_MAX,
	};
	fuse_reply_statfs(req, &st);
}

/* -- changes: a mount is ro, so these come only after somebody's `mount -o remount,rw` -------- */

static void no_setattr(
	fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	fuse_reply_err(req, EROFS);
}

static void no_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	fuse_reply_err(req, EROFS);
}

static void no_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	fuse_reply_err(req, EROFS);
}

static void no_remove(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void no_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void no_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to,
	const char *to_name, unsigned flags)
{
	fuse_reply_err(req, EROFS);
}

static void no_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, EROFS);
}

static void no_create(
	fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	fuse_reply_err(req, EROFS);
}

static void no_setxattr(
	fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	fuse_reply_err(req, EROFS);
}

static void no_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	fuse_reply_err(req, EROFS);
}

const struct fuse_lowlevel_ops fs_ops = {
	.init = init,
	.lookup = lookup,
	.getattr = getattr,
	.open = open_file,
	.read = read_file_range,
	.release = release,
	.lseek = seek,
	.opendir = open_folder,
	.readdir = readdir,
	.readdirplus = readdirplus,
	.statfs = statfs,
	.getxattr = fs_getxattr,
	.listxattr = fs_listxattr,
	.setattr = no_setattr,
	.mknod = no_mknod,
	.mkdir = no_mkdir,
	.unlink = no_remove,
	.rmdir = no_remove,
	.symlink = no_symlink,
	.rename = no_rename,
	.link = no_link,
	.create = no_create,
	.setxattr = no_setxattr,
	.removexattr = no_removexattr,
};

int fs_init(struct fs *fs, struct swarm *swarm, struct torrent *t, const struct mount_options *o,
	bool as_file, char **ret_why)
{
	*fs = (struct fs) {
		.swarm = swarm,
		.torrent = t,
		.options = o,
		.fuse_fd = -1,
	};
	int r = tree_init(&fs->tree, torrent_meta(t), as_file, ret_why);
	if (r < 0)
		return r;
	uint64_t timeout_ms = o->timeout_ms, limit_ms = kernel_request_timeout_ms();
	if (limit_ms && (!timeout_ms || timeout_ms > limit_ms)) {
		log_warn("fs.fuse.max_request_timeout or default_request_timeout is set: a read "
			 "that "
			 "waits %llu s gets EIO",
			(unsigned long long)(limit_ms / 1000));
		timeout_ms = limit_ms;
	}
	r = pthread_key_create(&fs->buffer, free);
	if (r) {
		*ret_why = xstrdup(strerror(r));
		tree_done(&fs->tree);
		return -r;
	}
	reads_init(&fs->reads, swarm, t, timeout_ms);
	fs->io = io_new();
	fs->hook.passthrough = o->io == IO_AUTO;
	return 0;
}

void fs_done(struct fs *fs)
{
	if (fs->io)
		pthread_key_delete(fs->buffer);
	io_free(fs->io);
	tree_done(&fs->tree);
	free(fs->socket);
	*fs = (struct fs) {.fuse_fd = -1};
}
