/* SPDX-License-Identifier: MIT */
/* The folders and files of a mount, by inode number; see tree.h.
 *
 * The files are sorted by path, part for part, so that what lies in one folder is one range of
 * them; then folders are opened breadth first, which puts a folder's children next to each other:
 * a look-up is a binary search, readdir walks an array.
 *
 * Thread: any.
 */
#include "fs/tree.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "swarm/metainfo.h"

#include <errno.h>
#include <string.h>

/* A range of the sorted files that share their first `skip` bytes: what lies below a folder. */
struct range {
	uint32_t from, to, skip;
};

struct builder {
	struct tree *t;
	uint32_t cap, ranges_cap;
	const char **paths; /* by path */
	uint32_t *files; /* the file of each */
	struct range *ranges; /* of node i; empty for a file */
};

/* By parts: '/' sorts before everything that a name may hold. */
static int compare_paths(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	int x = *a == '/' ? 1 : (unsigned char)*a;
	int y = *b == '/' ? 1 : (unsigned char)*b;
	return x - y;
}

static int compare_files(const void *a, const void *b, void *arg)
{
	const struct metainfo *m = arg;
	return compare_paths(
		m->files[*(const uint32_t *)a].path, m->files[*(const uint32_t *)b].path);
}

static uint32_t add_node(struct builder *b, uint32_t parent, const char *name, size_t len,
	uint32_t file, struct range range)
{
	struct tree *t = b->t;
	GROW(t->nodes, t->n_nodes, b->cap);
	GROW(b->ranges, t->n_nodes, b->ranges_cap);
	t->nodes[t->n_nodes] = (struct node) {
		.name = name,
		.name_len = (uint16_t)len,
		.parent = parent,
		.file = file,
	};
	b->ranges[t->n_nodes] = range;
	return ++t->n_nodes;
}

/* Gives the folder `ino` its children. */
static int open_folder(struct builder *b, uint32_t ino, char **ret_why)
{
	const struct range range = b->ranges[ino - 1];
	uint32_t first = b->t->n_nodes + 1, subfolders = 0;

	for (uint32_t i = range.from, end; i < range.to; i = end) {
		const char *path = b->paths[i];
		const char *name = path + range.skip;
		size_t len = strcspn(name, "/");
		end = i + 1;
		while (end < range.to && !strncmp(b->paths[end] + range.skip, name, len) &&
			(b->paths[end][range.skip + len] == '/' ||
				!b->paths[end][range.skip + len]))
			end++;
		if (name[len] == '/') {
			const struct range below = {i, end, range.skip + (uint32_t)len + 1};
			add_node(b, ino, name, len, TREE_FOLDER, below);
			subfolders++;
		} else if (end == i + 1) {
			add_node(b, ino, name, len, b->files[i], (struct range) {0});
		} else {
			*ret_why =
				xasprintf("%s: twice in the torrent, or a file and a folder", path);
			return -EINVAL;
		}
	}
	struct node *folder = &b->t->nodes[ino - 1];
	folder->first = first;
	folder->n = b->t->n_nodes + 1 - first;
	folder->subfolders = subfolders;
	return 0;
}

int tree_init(struct tree *t, const struct metainfo *meta, bool as_file, char **ret_why)
{
	*t = (struct tree) {.meta = meta};
	struct builder b = {.t = t};
	if (as_file) {
		if (meta->n_files != 1) {
			*ret_why = xasprintf("the torrent has %u files; only one could be "
					     "mounted on a file",
				meta->n_files);
			return -EINVAL;
		}
		add_node(&b, TREE_ROOT, "", 0, 0, (struct range) {0});
		free(b.ranges);
		return 0;
	}

	b.files = xcalloc(meta->n_files ? meta->n_files : 1, sizeof(*b.files));
	b.paths = xcalloc(meta->n_files ? meta->n_files : 1, sizeof(*b.paths));
	for (uint32_t i = 0; i < meta->n_files; i++)
		b.files[i] = i;
	qsort_r(b.files, meta->n_files, sizeof(*b.files), compare_files, (void *)meta);
	for (uint32_t i = 0; i < meta->n_files; i++)
		b.paths[i] = meta->files[b.files[i]].path;

	int r = 0;
	add_node(&b, TREE_ROOT, "", 0, TREE_FOLDER, (struct range) {0, meta->n_files, 0});
	for (uint32_t ino = TREE_ROOT; ino <= t->n_nodes && r >= 0; ino++) {
		if (t->nodes[ino - 1].file == TREE_FOLDER)
			r = open_folder(&b, ino, ret_why);
	}
	free(b.paths);
	free(b.files);
	free(b.ranges);
	if (r < 0)
		tree_done(t);
	return r;
}

void tree_done(struct tree *t)
{
	free(t->nodes);
	*t = (struct tree) {0};
}

const struct node *tree_node(const struct tree *t, uint64_t ino)
{
	return ino >= 1 && ino <= t->n_nodes ? &t->nodes[ino - 1] : NULL;
}

const struct metainfo_file *tree_file(const struct tree *t, const struct node *node)
{
	return node && node->file != TREE_FOLDER ? &t->meta->files[node->file] : NULL;
}

uint32_t tree_lookup(const struct tree *t, uint64_t parent, const char *name)
{
	const struct node *folder = tree_node(t, parent);
	if (!folder || folder->file != TREE_FOLDER)
		return TREE_NONE;
	size_t len = strlen(name);
	uint32_t from = folder->first, to = folder->first + folder->n;
	while (from < to) {
		uint32_t middle = from + (to - from) / 2;
		const struct node *node = &t->nodes[middle - 1];
		int c = strncmp(name, node->name, node->name_len);
		if (c == 0)
			c = len > node->name_len;
		if (c == 0)
			return middle;
		if (c < 0)
			to = middle;
		else
			from = middle + 1;
	}
	return TREE_NONE;
}
