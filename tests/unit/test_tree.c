/* SPDX-License-Identifier: MIT */
/* Inodes of a torrent's files: every path is found, in order, and nothing else is. */
#include "tests/unit/unit.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "fs/tree.h"
#include "swarm/metainfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct metainfo meta_of(char **paths, uint32_t n)
{
	struct metainfo m = {.n_files = n, .files = xcalloc(n ? n : 1, sizeof(*m.files))};
	for (uint32_t i = 0; i < n; i++)
		m.files[i] = (struct metainfo_file) {.path = paths[i], .length = i};
	return m;
}

/* The inode of a path, or TREE_NONE. */
static uint32_t walk(const struct tree *t, const char *path)
{
	CLEANUP_FREE char *copy = xstrdup(path);
	char *save = NULL;
	uint32_t ino = TREE_ROOT;
	for (char *part = strtok_r(copy, "/", &save); part && ino;
		part = strtok_r(NULL, "/", &save))
		ino = tree_lookup(t, ino, part);
	return ino;
}

static char *paths[] = {
	(char[]) {"zebra"},
	(char[]) {"a/b/c"},
	(char[]) {"a.b"},
	(char[]) {"a/b/d"},
	(char[]) {"a/bb"},
	(char[]) {"ab"},
	(char[]) {"a/b.c/\xc3\xa4"},
	(char[]) {"A"},
	(char[]) {"a-b/x"},
};

static void test_every_path_has_its_file(void **state)
{
	struct metainfo m = meta_of(paths, ARRAY_SIZE(paths));
	struct tree t;
	char *why = NULL;
	assert_int_equal(tree_init(&t, &m, false, &why), 0);
	for (uint32_t i = 0; i < m.n_files; i++) {
		const struct node *node = tree_node(&t, walk(&t, paths[i]));
		if (!node || node->file != i)
			fail_msg("%s is not file %u", paths[i], i);
		assert_ptr_equal(tree_file(&t, node), &m.files[i]);
	}
	/* 9 files; a, a/b, a/b.c, a-b; the root */
	assert_int_equal(t.n_nodes, 9 + 4 + 1);
	tree_done(&t);
	free(m.files);
}

static void test_nothing_else_is_found(void **state)
{
	static const char *const absent[] = {
		"z", "zebras", "zebra/x", "a/c", "a/b/", "B", "a/b/c/d", "", "abc", "a.", "~"};
	struct metainfo m = meta_of(paths, ARRAY_SIZE(paths));
	struct tree t;
	char *why = NULL;
	assert_int_equal(tree_init(&t, &m, false, &why), 0);
	for (size_t i = 0; i < ARRAY_SIZE(absent); i++) {
		uint32_t parent = TREE_ROOT;
		const char *slash = strrchr(absent[i], '/');
		if (slash) {
			CLEANUP_FREE char *folder =
				xstrndup(absent[i], (size_t)(slash - absent[i]));
			parent = walk(&t, folder);
			if (!parent)
				continue;
		}
		if (tree_lookup(&t, parent, slash ? slash + 1 : absent[i]) != TREE_NONE)
			fail_msg("\"%s\" is found", absent[i]);
	}
	assert_int_equal(tree_lookup(&t, 0, "zebra"), TREE_NONE);
	assert_int_equal(tree_lookup(&t, t.n_nodes + 1, "zebra"), TREE_NONE);
	assert_null(tree_node(&t, 0));
	assert_null(tree_node(&t, (uint64_t)t.n_nodes + 1));
	assert_null(tree_node(&t, UINT64_MAX));
	tree_done(&t);
	free(m.files);
}

static void test_folders_hold_their_children_by_name(void **state)
{
	struct metainfo m = meta_of(paths, ARRAY_SIZE(paths));
	struct tree t;
	char *why = NULL;
	assert_int_equal(tree_init(&t, &m, false, &why), 0);

	const struct node *root = tree_node(&t, TREE_ROOT);
	assert_int_equal(root->file, TREE_FOLDER);
	assert_int_equal(root->parent, TREE_ROOT);
	assert_int_equal(root->n, 6); /* A a a-b a.b ab zebra */
	assert_int_equal(root->subfolders, 2);
	const struct node *a = tree_node(&t, walk(&t, "a"));
	assert_int_equal(a->n, 3); /* b b.c bb */
	assert_int_equal(a->subfolders, 2);
	assert_null(tree_file(&t, a));

	for (uint32_t ino = 1; ino <= t.n_nodes; ino++) {
		const struct node *folder = tree_node(&t, ino);
		for (uint32_t i = 0; i < folder->n; i++) {
			const struct node *child = tree_node(&t, folder->first + i);
			assert_int_equal(child->parent, ino);
			CLEANUP_FREE char *name = xstrndup(child->name, child->name_len);
			assert_int_equal(tree_lookup(&t, ino, name), folder->first + i);
		}
	}
	tree_done(&t);
	free(m.files);
}

static void test_a_file_can_be_the_root(void **state)
{
	struct metainfo m = meta_of(paths, 1);
	struct tree t;
	char *why = NULL;
	assert_int_equal(tree_init(&t, &m, true, &why), 0);
	assert_int_equal(t.n_nodes, 1);
	assert_ptr_equal(tree_file(&t, tree_node(&t, TREE_ROOT)), &m.files[0]);
	assert_int_equal(tree_lookup(&t, TREE_ROOT, "zebra"), TREE_NONE);
	tree_done(&t);
	free(m.files);

	m = meta_of(paths, 2);
	assert_int_equal(tree_init(&t, &m, true, &why), -EINVAL);
	assert_non_null(strstr(why, "2 files"));
	free(why);
	free(m.files);
}

static void test_a_name_cannot_be_file_and_folder(void **state)
{
	char *bad[][2] = {
		{(char[]) {"x"}, (char[]) {"x/y"}},
		{(char[]) {"d/x/y"}, (char[]) {"d/x"}},
		{(char[]) {"x"}, (char[]) {"x"}},
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct metainfo m = meta_of(bad[i], 2);
		struct tree t;
		char *why = NULL;
		assert_int_equal(tree_init(&t, &m, false, &why), -EINVAL);
		assert_non_null(strstr(why, "x"));
		free(why);
		free(m.files);
	}
}

static void test_many_files_and_depth(void **state)
{
	enum { N = 20000 };
	char **many = xcalloc(N, sizeof(*many));
	for (unsigned i = 0; i < N; i++)
		many[i] = xasprintf("d%u/e%u/f%u", i * 7919u % 100, i * 104729u % 97, i);
	struct metainfo m = meta_of(many, N);
	struct tree t;
	char *why = NULL;
	assert_int_equal(tree_init(&t, &m, false, &why), 0);
	for (uint32_t i = 0; i < N; i++) {
		const struct node *node = tree_node(&t, walk(&t, many[i]));
		assert_non_null(node);
		assert_int_equal(node->file, i);
	}
	tree_done(&t);
	free(m.files);

	char deep[2 * 100 + 1] = "";
	for (int i = 0; i < 100; i++)
		strcat(deep, i ? "/n" : "n");
	char *one[] = {deep};
	m = meta_of(one, 1);
	assert_int_equal(tree_init(&t, &m, false, &why), 0);
	assert_int_equal(t.n_nodes, 101);
	assert_int_equal(walk(&t, deep), 101);
	tree_done(&t);
	free(m.files);
	for (unsigned i = 0; i < N; i++)
		free(many[i]);
	free(many);
}

static void test_no_files(void **state)
{
	struct metainfo m = meta_of(NULL, 0);
	struct tree t;
	char *why = NULL;
	assert_int_equal(tree_init(&t, &m, false, &why), 0);
	assert_int_equal(t.n_nodes, 1);
	assert_int_equal(tree_node(&t, TREE_ROOT)->n, 0);
	tree_done(&t);
	free(m.files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_path_has_its_file),
		cmocka_unit_test(test_nothing_else_is_found),
		cmocka_unit_test(test_folders_hold_their_children_by_name),
		cmocka_unit_test(test_a_file_can_be_the_root),
		cmocka_unit_test(test_a_name_cannot_be_file_and_folder),
		cmocka_unit_test(test_many_files_and_depth),
		cmocka_unit_test(test_no_files),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
