// SPDX-License-Identifier: MIT
/* See create.h.
 *
 * Three steps: find the files and lay them out, hash them in one pass (scan.h), write.  A file that
 * changes meanwhile fails the whole: its hashes would be of a file that never was.
 *
 * Thread: any.
 */
#include "swarm/create.h"

#include "base/bencode.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/metainfo.h"
#include "swarm/profile.h"
#include "swarm/scan.h"

#include <errno.h>
#include <event2/util.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <string.h>

struct source {
	char *path; /* owned; in the folder, or the name of the only file */
	bool executable;
	uint64_t length, offset;
	uint32_t first_piece, n_pieces;
	struct timespec mtime;
	uint8_t root[SHA256_LEN];
};

struct creation {
	const struct create_options *o;
	char *name;
	bool single, v1, v2;
	int dir; /* the folder, or AT_FDCWD */
	const char *path; /* borrowed */
	struct source *sources; /* owned */
	size_t n, cap;
	uint64_t size, space;
	uint32_t piece_length, n_pieces;
	uint8_t (*sha1s)[SHA1_LEN]; /* owned */
	uint8_t (*roots)[SHA256_LEN]; /* owned */
};

static void creation_done(struct creation *c)
{
	for (size_t i = 0; i < c->n; i++)
		free(c->sources[i].path);
	free(c->sources);
	free(c->name);
	free(c->sha1s);
	free(c->roots);
	if (c->dir >= 0)
		close(c->dir);
}

static int fail(int err, char **ret_why, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int fail(int err, char **ret_why, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	*ret_why = xvasprintf(format, ap);
	va_end(ap);
	return err;
}

uint32_t create_piece_length(uint64_t size)
{
	uint32_t length = size < 512ull << 20 ? 256u << 10 : 1u << 20;

	while (length < TORRENT_MAX_PIECE_LENGTH && size / length > 65536)
		length *= 2;
	return length;
}

/* -- finding the files ----------------------------------------------------------------------- */

static int add_source(struct creation *c, const char *path, const struct stat *st, char **ret_why)
{
	const struct stat *output = c->o->output;

	if (output && output->st_dev == st->st_dev && output->st_ino == st->st_ino)
		return fail(-EINVAL, ret_why, "%s: the torrent would be written over it", path);
	if (strlen(path) > PATH_MAX_LENGTH)
		return fail(
			-ENAMETOOLONG, ret_why, "%s: longer than %u bytes", path, PATH_MAX_LENGTH);
	if (c->n == TORRENT_MAX_FILES)
		return fail(-E2BIG, ret_why, "more than %u files", TORRENT_MAX_FILES);
	GROW(c->sources, c->n, c->cap);
	c->sources[c->n++] = (struct source) {.path = xstrdup(path),
		.length = (uint64_t)st->st_size,
		.executable = st->st_mode & S_IXUSR,
		.mtime = st->st_mtim};
	c->size += (uint64_t)st->st_size;
	return 0;
}

static int check_name(const char *path, const char *name, char **ret_why)
{
	const char *problem = metainfo_name_problem(name, strlen(name));

	return problem ? fail(-EINVAL, ret_why, "%s: the name %s", log_quote(path, strlen(path)),
				 problem)
		       : 0;
}

static int take_entry(struct creation *c, const FTSENT *e, size_t prefix, char **ret_why)
{
	switch (e->fts_info) {
	case FTS_DP:
		return 0;
	case FTS_D:
	case FTS_F:
		if (e->fts_level == FTS_ROOTLEVEL)
			return 0;
		if (e->fts_level > (int)PATH_MAX_DEPTH)
			return fail(
				-ELOOP, ret_why, "%s: deeper than %u", e->fts_path, PATH_MAX_DEPTH);
		int r = check_name(e->fts_path, e->fts_name, ret_why);
		if (r < 0 || e->fts_info == FTS_D)
			return r;
		return add_source(c, e->fts_path + prefix, e->fts_statp, ret_why);
	case FTS_DC:
		return fail(-ELOOP, ret_why, "%s: a link to a folder that it is in", e->fts_path);
	case FTS_SLNONE:
		return fail(-ENOENT, ret_why, "%s: a link to nothing", e->fts_path);
	case FTS_DNR:
	case FTS_ERR:
	case FTS_NS:
		return fail(-e->fts_errno, ret_why, "%s: %s", e->fts_path, strerror(e->fts_errno));
	default:
		return fail(-EINVAL, ret_why, "%s: neither a file nor a folder", e->fts_path);
	}
}

static void close_fts(FTS **fts)
{
	if (*fts)
		fts_close(*fts);
}

static int find_sources(struct creation *c, char **ret_why)
{
	CLEANUP_FREE char *top = xstrdup(c->path);
	size_t len = strlen(top);

	while (len > 1 && top[len - 1] == '/')
		top[--len] = '\0';
	char *argv[] = {top, NULL};
	CLEANUP(close_fts) FTS *fts = fts_open(argv, FTS_LOGICAL | FTS_NOCHDIR, NULL);
	if (!fts)
		return fail(-errno, ret_why, "%s: %s", top, strerror(errno));
	for (;;) {
		errno = 0;
		FTSENT *e = fts_read(fts);
		if (!e)
			return errno ? fail(-errno, ret_why, "%s: %s", top, strerror(errno)) : 0;
		int r = take_entry(c, e, len + 1, ret_why);
		if (r < 0)
			return r;
	}
}

/* The last part of the path; what "." and "dir/.." stand for is looked up. */
static int find_name(struct creation *c, char **ret_why)
{
	CLEANUP_FREE char *copy = xstrdup(c->path);
	size_t len = strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	const char *last = strrchr(copy, '/');
	last = last ? last + 1 : copy;
	CLEANUP_FREE char *real = NULL;
	if (!*last || !strcmp(last, ".") || !strcmp(last, "..")) {
		real = realpath(copy, NULL);
		if (!real)
			return fail(-errno, ret_why, "%s: %s", c->path, strerror(errno));
		last = strrchr(real, '/') + 1;
	}
	c->name = xstrdup(last);
	return check_name(c->path, c->name, ret_why);
}

static int find(struct creation *c, char **ret_why)
{
	struct stat st;

	int r = stat(c->path, &st) < 0 ? -errno : 0;
	if (r < 0)
		return fail(r, ret_why, "%s: %s", c->path, strerror(-r));
	r = find_name(c, ret_why);
	if (r < 0)
		return r;
	if (S_ISDIR(st.st_mode)) {
		c->dir = open(c->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (c->dir < 0)
			return fail(-errno, ret_why, "%s: %s", c->path, strerror(errno));
		r = find_sources(c, ret_why);
	} else if (S_ISREG(st.st_mode)) {
		c->single = true;
		r = add_source(c, c->name, &st, ret_why);
	} else {
		r = fail(-EINVAL, ret_why, "%s: neither a file nor a folder", c->path);
	}
	if (!r && !c->size)
		r = fail(-ENODATA, ret_why, "%s: not a single byte in it", c->path);
	return r;
}

/* -- laying them out ------------------------------------------------------------------------- */

/* transmission-create's order; equal but for case: by bytes. */
static int compare_v1(const void *a, const void *b)
{
	const struct source *x = a, *y = b;
	int r = evutil_ascii_strcasecmp(x->path, y->path);

	return r ? r : strcmp(x->path, y->path);
}

/* The order of the file tree: by the bytes of names, part by part. */
static int compare_v2(const void *a, const void *b)
{
	const unsigned char *x = (const unsigned char *)((const struct source *)a)->path;
	const unsigned char *y = (const unsigned char *)((const struct source *)b)->path;

	while (*x && *x == *y) {
		x++;
		y++;
	}
	int cx = *x == '/' ? 1 : *x, cy = *y == '/' ? 1 : *y; /* names hold no byte 1 */
	return cx - cy;
}

static int lay_out(struct creation *c, char **ret_why)
{
	uint64_t pieces = 0, length = c->piece_length;

	qsort(c->sources, c->n, sizeof(*c->sources), c->v2 ? compare_v2 : compare_v1);
	for (size_t i = 0; i < c->n; i++) {
		struct source *f = &c->sources[i];
		uint64_t n = f->length / length + (f->length % length != 0);
		f->offset = c->v2 && f->length ? pieces * length : c->space;
		f->first_piece = (uint32_t)pieces;
		f->n_pieces = (uint32_t)n;
		if (f->length)
			c->space = f->offset + f->length;
		pieces += n;
		if (pieces > TORRENT_MAX_PIECES && c->v2)
			break;
	}
	if (!c->v2)
		pieces = c->space / length + (c->space % length != 0);
	/* More would make a .torrent that nobody reads, us included. */
	uint64_t max = TORRENT_MAX_BYTES / ((c->v1 ? SHA1_LEN : 0) + (c->v2 ? SHA256_LEN : 0) + 1);
	if (pieces > MIN(max, (uint64_t)TORRENT_MAX_PIECES))
		return fail(-E2BIG, ret_why,
			"%s: more than %" PRIu64 " pieces of %" PRIu64
			" bytes: they must be larger",
			c->path, MIN(max, (uint64_t)TORRENT_MAX_PIECES), length);
	c->n_pieces = (uint32_t)pieces;
	return 0;
}

/* A hybrid's padding behind source i: up to the next piece, behind the last one, too (as libtorrent
 * has it), but none behind a file that is alone. */
static uint64_t padding(const struct creation *c, size_t i)
{
	uint64_t rest = c->sources[i].length % c->piece_length;

	return c->v1 && c->v2 && c->n > 1 && rest ? c->piece_length - rest : 0;
}

/* -- hashing --------------------------------------------------------------------------------- */

static void on_progress(void *arg, uint64_t done)
{
	struct creation *c = arg;

	c->o->progress(c->o->arg, done, c->space);
}

static int check_unchanged(const struct creation *c, char **ret_why)
{
	for (size_t i = 0; i < c->n; i++) {
		const struct source *f = &c->sources[i];
		struct stat st;
		if (fstatat(c->dir, c->single ? c->path : f->path, &st, 0) < 0)
			return fail(-errno, ret_why, "%s: %s", f->path, strerror(errno));
		if ((uint64_t)st.st_size != f->length || st.st_mtim.tv_sec != f->mtime.tv_sec ||
			st.st_mtim.tv_nsec != f->mtime.tv_nsec)
			return fail(-EBUSY, ret_why, "%s: changed while it was read", f->path);
	}
	return 0;
}

static int hash(struct creation *c, char **ret_why)
{
	CLEANUP_FREE struct scan_file *files = xcalloc(c->n, sizeof(*files));
	struct scan s = {
		.dir = c->dir,
		.files = files,
		.n_files = (uint32_t)c->n,
		.piece_length = c->piece_length,
		.n_pieces = c->n_pieces,
		.space = c->space,
		.threads = c->o->threads,
		.progress = c->o->progress ? on_progress : NULL,
		.arg = c,
	};

	for (size_t i = 0; i < c->n; i++)
		files[i] = (struct scan_file) {.path = c->single ? c->path : c->sources[i].path,
			.offset = c->sources[i].offset,
			.length = c->sources[i].length};
	for (size_t i = 0; i < c->n; i++)
		s.space = MAX(s.space, c->sources[i].offset + c->sources[i].length + padding(c, i));
	if (c->v1)
		s.sha1s = c->sha1s = xcalloc(c->n_pieces, sizeof(*c->sha1s));
	if (c->v2)
		s.roots = c->roots = xcalloc(c->n_pieces, sizeof(*c->roots));
	int r = scan_run(&s);
	for (size_t i = 0; r < 0 && i < c->n; i++) {
		if (files[i].error == -ENODATA)
			return fail(-EBUSY, ret_why, "%s: became shorter while it was read",
				files[i].path);
		if (files[i].error)
			return fail(files[i].error, ret_why, "%s: %s", files[i].path,
				strerror(-files[i].error));
	}
	if (r < 0)
		return fail(r, ret_why, "threads: %s", strerror(-r));
	return check_unchanged(c, ret_why);
}

static void make_roots(struct creation *c)
{
	unsigned layer = merkle_height(c->piece_length / MERKLE_BLOCK);

	for (size_t i = 0; i < c->n; i++) {
		struct source *f = &c->sources[i];
		if (f->n_pieces == 1)
			memcpy(f->root, c->roots[f->first_piece], SHA256_LEN);
		else if (f->n_pieces)
			merkle_root(c->roots[f->first_piece], f->n_pieces, layer,
				merkle_height(f->n_pieces), f->root);
	}
}

/* -- writing --------------------------------------------------------------------------------- */

static void add_key_int(struct buf *b, const char *key, int64_t v)
{
	ben_add_str(b, key);
	ben_add_int(b, v);
}

static void add_key_str(struct buf *b, const char *key, const char *s)
{
	ben_add_str(b, key);
	ben_add_str(b, s);
}

static void add_tree_file(struct buf *b, const struct source *f)
{
	buf_add_str(b, "d0:d");
	if (f->executable)
		add_key_str(b, "attr", "x");
	add_key_int(b, "length", (int64_t)f->length);
	if (f->length) {
		ben_add_str(b, "pieces root");
		ben_add_bytes(b, f->root, SHA256_LEN);
	}
	buf_add_str(b, "ee");
}

/* How much of both paths is the same folders: up to and with the last common '/'. */
static size_t common_folders(const char *a, const char *b)
{
	size_t common = 0;

	for (size_t i = 0; a[i] && a[i] == b[i]; i++) {
		if (a[i] == '/')
			common = i + 1;
	}
	return common;
}

static void close_folders(struct buf *b, const char *path)
{
	for (; (path = strchr(path, '/')); path++)
		buf_u8(b, 'e');
}

static void add_tree(struct buf *b, const struct creation *c)
{
	const char *before = "";

	buf_u8(b, 'd');
	for (size_t i = 0; i < c->n; i++) {
		const char *path = c->sources[i].path;
		size_t at = common_folders(before, path);
		close_folders(b, before + at);
		for (const char *slash; (slash = strchr(path + at, '/'));) {
			ben_add_bytes(b, path + at, (size_t)(slash - path) - at);
			buf_u8(b, 'd');
			at = (size_t)(slash - path) + 1;
		}
		ben_add_str(b, path + at);
		add_tree_file(b, &c->sources[i]);
		before = path;
	}
	close_folders(b, before);
	buf_u8(b, 'e');
}

static void add_path(struct buf *b, const char *path)
{
	buf_u8(b, 'l');
	for (const char *slash; (slash = strchr(path, '/')); path = slash + 1)
		ben_add_bytes(b, path, (size_t)(slash - path));
	ben_add_str(b, path);
	buf_u8(b, 'e');
}

static void add_files(struct buf *b, const struct creation *c)
{
	buf_u8(b, 'l');
	for (size_t i = 0; i < c->n; i++) {
		const struct source *f = &c->sources[i];
		uint64_t pad = padding(c, i);
		buf_u8(b, 'd');
		if (f->executable && c->v2)
			add_key_str(b, "attr", "x");
		add_key_int(b, "length", (int64_t)f->length);
		ben_add_str(b, "path");
		add_path(b, f->path);
		buf_u8(b, 'e');
		if (!pad)
			continue;
		CLEANUP_FREE char *number = xasprintf("%" PRIu64, pad);
		buf_u8(b, 'd');
		add_key_str(b, "attr", "p");
		add_key_int(b, "length", (int64_t)pad);
		buf_add_str(b, "4:pathl4:.pad");
		ben_add_str(b, number);
		buf_add_str(b, "ee");
	}
	buf_u8(b, 'e');
}

static void add_info(struct buf *b, const struct creation *c)
{
	buf_u8(b, 'd');
	if (c->single && c->sources[0].executable && c->v1 && c->v2)
		add_key_str(b, "attr", "x");
	if (c->v2) {
		ben_add_str(b, "file tree");
		add_tree(b, c);
	}
	if (c->v1 && c->single) {
		add_key_int(b, "length", (int64_t)c->size);
	} else if (c->v1) {
		ben_add_str(b, "files");
		add_files(b, c);
	}
	if (c->v2)
		add_key_int(b, "meta version", 2);
	add_key_str(b, "name", c->name);
	add_key_int(b, "piece length", c->piece_length);
	if (c->v1) {
		ben_add_str(b, "pieces");
		ben_add_bytes(b, c->sha1s, (size_t)c->n_pieces * SHA1_LEN);
	}
	if (c->o->is_private || !c->v2)
		add_key_int(b, "private", c->o->is_private);
	buf_u8(b, 'e');
}

static int compare_roots(const void *a, const void *b)
{
	const struct source *const *x = a, *const *y = b;

	return memcmp((*x)->root, (*y)->root, SHA256_LEN);
}

static void add_layers(struct buf *b, const struct creation *c)
{
	CLEANUP_FREE const struct source **by_root = xcalloc(c->n, sizeof(struct source *));
	size_t n = 0;

	for (size_t i = 0; i < c->n; i++) {
		if (c->sources[i].n_pieces > 1)
			by_root[n++] = &c->sources[i];
	}
	qsort(by_root, n, sizeof(*by_root), compare_roots);
	buf_u8(b, 'd');
	for (size_t i = 0; i < n; i++) {
		const struct source *f = by_root[i];
		/* Files of the same contents share one. */
		if (i && !compare_roots(&by_root[i - 1], &by_root[i]))
			continue;
		ben_add_bytes(b, f->root, SHA256_LEN);
		ben_add_bytes(b, c->roots[f->first_piece], (size_t)f->n_pieces * SHA256_LEN);
	}
	buf_u8(b, 'e');
}

/* It is of the torrent that it stands in, so that need not be said; and the info-hash of another format
 * of the same contents is another. */
static void add_profile(struct buf *b, const struct profile *profile)
{
	CLEANUP(buf_done) struct buf text = {0};
	struct profile *any = profile_copy(profile);

	memcpy(any->torrent, PROFILE_ANY, sizeof(PROFILE_ANY));
	profile_write(any, &text);
	profile_free(any);
	ben_add_str(b, "p2pfs profile");
	ben_add_bytes(b, buf_bytes(&text), text.len);
}

static void add_torrent(struct buf *b, const struct creation *c)
{
	const struct create_options *o = c->o;

	buf_u8(b, 'd');
	if (o->trackers && o->trackers[0])
		add_key_str(b, "announce", o->trackers[0]);
	if (o->trackers && o->trackers[0] && o->trackers[1]) {
		buf_add_str(b, "13:announce-listl");
		for (char **url = o->trackers; *url; url++) {
			buf_u8(b, 'l');
			ben_add_str(b, *url);
			buf_u8(b, 'e');
		}
		buf_u8(b, 'e');
	}
	if (o->comment)
		add_key_str(b, "comment", o->comment);
	if (o->created_by)
		add_key_str(b, "created by", o->created_by);
	if (o->creation_date)
		add_key_int(b, "creation date", o->creation_date);
	add_key_str(b, "encoding", "UTF-8");
	ben_add_str(b, "info");
	add_info(b, c);
	if (o->profile)
		add_profile(b, o->profile);
	if (c->v2) {
		ben_add_str(b, "piece layers");
		add_layers(b, c);
	}
	if (o->web_seeds && o->web_seeds[0]) {
		buf_add_str(b, "8:url-listl");
		for (char **url = o->web_seeds; *url; url++)
			ben_add_str(b, *url);
		buf_u8(b, 'e');
	}
	buf_u8(b, 'e');
}

int create_torrent(
	const char *path, const struct create_options *o, struct buf *ret, char **ret_why)
{
	CLEANUP(creation_done)
	struct creation c = {
		.o = o,
		.path = path,
		.dir = AT_FDCWD,
		.v1 = o->format != CREATE_V2,
		.v2 = o->format != CREATE_V1,
	};

	int r = find(&c, ret_why);
	if (r < 0)
		return r;
	c.piece_length = o->piece_length ? o->piece_length : create_piece_length(c.size);
	r = lay_out(&c, ret_why);
	if (!r && o->profile && o->profile->size != c.space)
		r = fail(-EINVAL, ret_why,
			"%s: the profile is for %" PRIu64 " bytes, not %" PRIu64, path,
			o->profile->size, c.space);
	if (!r)
		r = hash(&c, ret_why);
	if (r < 0)
		return r;
	if (c.v2)
		make_roots(&c);
	add_torrent(ret, &c);
	return 0;
}
