// SPDX-License-Identifier: MIT
/* See metainfo_files.h.
 *
 * What bounds the memory: the number of files (a token each at least), and the length of all paths
 * together.  The latter matters for a tree, where a few long folder names stand once in the
 * .torrent and again in the path of every file beneath them.
 */
#include "swarm/metainfo_files.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/merkle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int metainfo_bad(char **ret_why, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	*ret_why = xvasprintf(format, ap);
	va_end(ap);
	return -EINVAL;
}

void file_list_done(struct file_list *l)
{
	for (uint32_t i = 0; i < l->n; i++)
		free(l->files[i].path);
	free(l->files);
	*l = (struct file_list) {0};
}

/* Takes `path`.  Gives the new element, or NULL with *ret_why. */
static struct metainfo_file *add_file(struct file_list *l, char *path, char **ret_why)
{
	CLEANUP_FREE char *owned = path;
	size_t len = strlen(path);

	if (len > PATH_MAX_LENGTH) {
		metainfo_bad(ret_why, "path \"%s\": %zu bytes: longer than %u",
			log_quote(path, len), len, PATH_MAX_LENGTH);
		return NULL;
	}
	if (l->n == TORRENT_MAX_FILES) {
		metainfo_bad(ret_why, "files: more than %u", TORRENT_MAX_FILES);
		return NULL;
	}
	l->path_bytes += len + 1;
	if (l->path_bytes > TORRENT_MAX_BYTES) {
		metainfo_bad(
			ret_why, "files: their paths take more than %u bytes", TORRENT_MAX_BYTES);
		return NULL;
	}
	if (l->n == l->cap) {
		uint32_t cap = l->cap ? 2 * l->cap : 4;
		struct metainfo_file *files = reallocarray(l->files, cap, sizeof(*files));
		if (!files) {
			metainfo_bad(ret_why, "files: out of memory at %u", l->n);
			return NULL;
		}
		l->files = files;
		l->cap = cap;
	}
	struct metainfo_file *f = &l->files[l->n++];
	*f = (struct metainfo_file) {.path = steal_ptr(&owned)};
	return f;
}

/* Adds a "length" of `what` to *sum. */
static int add_length(
	struct ben dict, const char *what, uint64_t *sum, uint64_t *ret, char **ret_why)
{
	struct ben v = ben_get_type(dict, "length", BEN_INT);
	int64_t length = ben_int(v, -1);

	if (ben_type(v) == BEN_NONE)
		return metainfo_bad(ret_why, "%s: length: missing", what);
	if (length < 0)
		return metainfo_bad(ret_why, "%s: length: %" PRId64 ": negative", what, length);
	if ((uint64_t)length >= TORRENT_MAX_SIZE || *sum + (uint64_t)length >= TORRENT_MAX_SIZE)
		return metainfo_bad(ret_why, "%s: length: %" PRId64 ": %llu bytes or more in all",
			what, length, TORRENT_MAX_SIZE);
	*sum += (uint64_t)length;
	*ret = (uint64_t)length;
	return 0;
}

static bool has_attr(struct ben dict, char attr)
{
	size_t len;
	const uint8_t *s = ben_bytes(ben_get(dict, "attr"), &len);

	return s && memchr(s, attr, len);
}

/* -- v1 -------------------------------------------------------------------------------------- */

static int path_v1(struct ben file, size_t number, char **ret, char **ret_why)
{
	struct ben list = ben_get_type(file, "path.utf-8", BEN_LIST);
	if (ben_type(list) == BEN_NONE)
		list = ben_get_type(file, "path", BEN_LIST);
	size_t depth = ben_count(list), total = 0;
	if (!depth)
		return metainfo_bad(ret_why, "files: entry %zu: path: missing or empty", number);
	if (depth > PATH_MAX_DEPTH)
		return metainfo_bad(ret_why, "files: entry %zu: path: %zu parts: more than %u",
			number, depth, PATH_MAX_DEPTH);

	char path[PATH_MAX_DEPTH * (PATH_MAX_NAME + 1)];
	for (struct ben_iter i = ben_iter(list); ben_next(&i);) {
		size_t len;
		const uint8_t *part = ben_bytes(i.value, &len);
		if (!part)
			return metainfo_bad(
				ret_why, "files: entry %zu: path: a part is no string", number);
		const char *problem = metainfo_name_problem(part, len);
		if (problem)
			return metainfo_bad(ret_why, "files: entry %zu: path part \"%s\": %s",
				number, log_quote(part, len), problem);
		if (total)
			path[total++] = '/';
		memcpy(path + total, part, len);
		total += len;
	}
	*ret = xstrndup(path, total);
	return 0;
}

static int list_v1(struct ben files, struct file_list *l, char **ret_why)
{
	size_t number = 0;

	for (struct ben_iter i = ben_iter(files); ben_next(&i); number++) {
		if (ben_type(i.value) != BEN_DICT)
			return metainfo_bad(ret_why, "files: entry %zu: no dictionary", number);
		char what[40];
		snprintf(what, sizeof(what), "files: entry %zu", number);
		uint64_t length, at = l->full_space;
		int r = add_length(i.value, what, &l->full_space, &length, ret_why);
		if (r < 0)
			return r;
		/* Padding is told by its attribute alone; its name means nothing. */
		if (has_attr(i.value, 'p'))
			continue;
		char *path;
		r = path_v1(i.value, number, &path, ret_why);
		if (r < 0)
			return r;
		struct metainfo_file *f = add_file(l, path, ret_why);
		if (!f)
			return -EINVAL;
		f->length = length;
		f->executable = has_attr(i.value, 'x');
		f->offset = length ? at : l->space;
		if (length)
			l->space = at + length;
		l->size += length;
	}
	return 0;
}

int file_list_v1(struct ben info, const char *name, uint32_t piece_length, struct file_list *ret,
	char **ret_why)
{
	struct ben files = ben_get_type(info, "files", BEN_LIST);
	bool many = ben_type(files) != BEN_NONE;
	int r;

	if (many && ben_type(ben_get(info, "length")) != BEN_NONE)
		return metainfo_bad(ret_why, "length: there are files, too");
	if (many) {
		r = list_v1(files, ret, ret_why);
		if (r < 0)
			return r;
	} else {
		uint64_t length;
		r = add_length(info, "info", &ret->full_space, &length, ret_why);
		if (r < 0)
			return r;
		struct metainfo_file *f = add_file(ret, xstrdup(name), ret_why);
		if (!f)
			return -EINVAL;
		f->length = ret->size = ret->space = length;
		f->executable = has_attr(info, 'x');
		ret->single = true;
	}
	uint64_t n = ret->full_space / piece_length + (ret->full_space % piece_length != 0);
	if (n > TORRENT_MAX_PIECES)
		return metainfo_bad(ret_why,
			"piece length: %u: makes %" PRIu64 " pieces: more than %u", piece_length, n,
			TORRENT_MAX_PIECES);
	ret->n_pieces = (uint32_t)n;
	return 0;
}

/* -- v2 -------------------------------------------------------------------------------------- */

static int file_v2(struct ben props, const char *path, uint32_t piece_length, struct file_list *l,
	char **ret_why)
{
	struct metainfo_file *f = add_file(l, xstrdup(path), ret_why);
	if (!f)
		return -EINVAL;
	CLEANUP_FREE char *what = xasprintf("file tree: \"%s\"", log_quote(path, strlen(path)));
	int r = add_length(props, what, &l->size, &f->length, ret_why);
	if (r < 0)
		return r;
	if (has_attr(props, 'p'))
		return metainfo_bad(ret_why, "%s: a padding file", what);
	f->executable = has_attr(props, 'x');
	if (!f->length) {
		f->offset = l->space;
		return 0;
	}

	size_t len = 0;
	const uint8_t *root = ben_bytes(ben_get(props, "pieces root"), &len);
	if (!root)
		return metainfo_bad(ret_why, "%s: pieces root: missing", what);
	if (len != SHA256_LEN)
		return metainfo_bad(
			ret_why, "%s: pieces root: %zu bytes: not %u", what, len, SHA256_LEN);
	memcpy(f->root, root, SHA256_LEN);

	uint64_t n = f->length / piece_length + (f->length % piece_length != 0);
	if (l->n_pieces + n > TORRENT_MAX_PIECES)
		return metainfo_bad(ret_why, "%s: makes %" PRIu64 " pieces: more than %u", what,
			l->n_pieces + n, TORRENT_MAX_PIECES);
	f->first_piece = l->n_pieces;
	f->n_pieces = (uint32_t)n;
	f->offset = (uint64_t)f->first_piece * piece_length;
	l->space = f->offset + f->length;
	l->n_pieces += f->n_pieces;
	return 0;
}

static int list_v2(struct ben tree, uint32_t piece_length, struct file_list *l, char **ret_why)
{
	struct {
		struct ben_iter at;
		size_t path_len;
	} stack[PATH_MAX_DEPTH + 1];
	char path[PATH_MAX_DEPTH * (PATH_MAX_NAME + 1) + 1];
	unsigned depth = 1;

	stack[0].at = ben_iter(tree);
	stack[0].path_len = 0;
	while (depth) {
		struct ben_iter *i = &stack[depth - 1].at;
		if (!ben_next(i)) {
			depth--;
			continue;
		}
		const char *problem = metainfo_name_problem(i->key, i->key_len);
		if (problem)
			return metainfo_bad(ret_why, "file tree: name \"%s\": %s",
				log_quote(i->key, i->key_len), problem);
		if (depth > PATH_MAX_DEPTH)
			return metainfo_bad(ret_why, "file tree: deeper than %u", PATH_MAX_DEPTH);
		if (ben_type(i->value) != BEN_DICT)
			return metainfo_bad(ret_why, "file tree: \"%s\": no dictionary",
				log_quote(i->key, i->key_len));

		size_t len = stack[depth - 1].path_len;
		if (len)
			path[len++] = '/';
		memcpy(path + len, i->key, i->key_len);
		len += i->key_len;
		path[len] = '\0';
		struct ben props = ben_get(i->value, "");
		if (ben_type(props) == BEN_NONE) {
			stack[depth].at = ben_iter(i->value);
			stack[depth].path_len = len;
			depth++;
			continue;
		}
		if (ben_type(props) != BEN_DICT)
			return metainfo_bad(ret_why,
				"file tree: \"%s\": its properties are no dictionary",
				log_quote(path, len));
		if (ben_count(i->value) != 1)
			return metainfo_bad(ret_why, "file tree: \"%s\": both a file and a folder",
				log_quote(path, len));
		int r = file_v2(props, path, piece_length, l, ret_why);
		if (r < 0)
			return r;
	}
	return 0;
}

int file_list_v2(struct ben info, const char *name, uint32_t piece_length, struct file_list *ret,
	char **ret_why)
{
	struct ben tree = ben_get_type(info, "file tree", BEN_DICT);

	if (ben_type(tree) == BEN_NONE)
		return metainfo_bad(ret_why, "file tree: missing");
	int r = list_v2(tree, piece_length, ret, ret_why);
	if (r < 0)
		return r;
	ret->full_space = ret->space;
	ret->single = ret->n == 1 && !strcmp(ret->files[0].path, name);
	return 0;
}

/* -- both ------------------------------------------------------------------------------------ */

int file_list_agree(const struct file_list *v1, const struct file_list *v2, char **ret_why)
{
	if (v1->n != v2->n)
		return metainfo_bad(
			ret_why, "files: %u of them, but %u in the file tree", v1->n, v2->n);
	for (uint32_t i = 0; i < v1->n; i++) {
		const struct metainfo_file *a = &v1->files[i], *b = &v2->files[i];
		if (strcmp(a->path, b->path))
			return metainfo_bad(ret_why,
				"files: \"%s\": the file tree has \"%s\" there",
				log_quote(a->path, strlen(a->path)),
				log_quote(b->path, strlen(b->path)));
		const char *path = log_quote(a->path, strlen(a->path));
		if (a->length != b->length)
			return metainfo_bad(ret_why,
				"files: \"%s\": %" PRIu64 " bytes, but %" PRIu64
				" in the file tree",
				path, a->length, b->length);
		if (a->length && a->offset != b->offset)
			return metainfo_bad(ret_why,
				"files: \"%s\": begins at %" PRIu64 ", but at %" PRIu64
				" by the file tree",
				path, a->offset, b->offset);
	}
	if (v1->n_pieces != v2->n_pieces)
		return metainfo_bad(ret_why,
			"files: padding behind the last file makes %u pieces of %u", v1->n_pieces,
			v2->n_pieces);
	return 0;
}

/* The order in which a folder stands right before what is in it: '/' before all that names hold. */
static int compare_paths(const void *a, const void *b)
{
	const unsigned char *x = *(unsigned char *const *)a, *y = *(unsigned char *const *)b;

	while (*x && *x == *y) {
		x++;
		y++;
	}
	int cx = *x == '/' ? 1 : *x,
	    cy = *y == '/' ? 1 : *y; /* 1 is a control character: in no name */
	return cx - cy;
}

int file_list_unique(const struct file_list *l, char **ret_why)
{
	CLEANUP_FREE char **paths = reallocarray(NULL, l->n ? l->n : 1, sizeof(*paths));

	if (!paths)
		return metainfo_bad(ret_why, "files: out of memory for %u", l->n);
	for (uint32_t i = 0; i < l->n; i++)
		paths[i] = l->files[i].path;
	qsort(paths, l->n, sizeof(*paths), compare_paths);
	for (uint32_t i = 1; i < l->n; i++) {
		size_t len = strlen(paths[i - 1]);
		if (strncmp(paths[i - 1], paths[i], len))
			continue;
		if (!paths[i][len])
			return metainfo_bad(
				ret_why, "files: \"%s\": twice", log_quote(paths[i], len));
		if (paths[i][len] == '/')
			return metainfo_bad(ret_why, "files: \"%s\": both a file and a folder",
				log_quote(paths[i - 1], len));
	}
	return 0;
}
