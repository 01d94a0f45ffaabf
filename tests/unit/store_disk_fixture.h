/* SPDX-License-Identifier: MIT */
/* For the tests of the store on disk: opening it, and looking at what it made.
 *
 * Thread: the main one.
 */
#ifndef TESTS_UNIT_STORE_DISK_FIXTURE_H
#define TESTS_UNIT_STORE_DISK_FIXTURE_H

#include "tests/unit/store_fixture.h"
#include "swarm/store.h"
#include "base/cleanup.h"
#include "base/limits.h"

#include <errno.h>

#define KIB 1024u
#define PIECE (16 * KIB)
#define N(a) ((uint32_t)(sizeof(a) / sizeof((a)[0])))
#define HASH "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"

/* A child of fork cannot use cmocka's assertions: they would jump back into the parent's tests. */
#define CHECK(x)                                                                \
	do {                                                                    \
		if (!(x)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			_exit(1);                                               \
		}                                                               \
	} while (0)

static inline void make_single(struct fixture *f, uint64_t length)
{
	fixture_make(f, "image.raw", 1, NULL, &length, PIECE, false);
}

/* Folders, an empty file, an executable, lengths that are no multiple of anything, padding. */
static inline void make_many(struct fixture *f)
{
	static const char *const paths[] = {"a", "x/b", "x/y/c", "x/empty", "z/d"};
	static const uint64_t lengths[] = {20001, 7, 50000, 0, 33333};
	fixture_make(f, "folder", N(lengths), paths, lengths, PIECE, true);
	f->meta.files[1].executable = true;
}

static inline struct store *must_open(const struct fixture *f)
{
	struct store *s;
	char *why = NULL;
	int r = store_open_disk(f->dir, &f->meta, &s, &why);
	if (r != 0)
		fail_msg("%d: %s", r, why);
	return s;
}

/* Opening fails with this error, and the message has these words in it. */
static inline void must_fail(int r, int error, char *why, const char *words)
{
	assert_int_equal(r, error);
	assert_non_null(why);
	if (!strstr(why, words))
		fail_msg("\"%s\" does not say \"%s\"", why, words);
	free(why);
}

static inline void must_refuse(const struct fixture *f, int error, const char *words)
{
	struct store *s;
	char *why = NULL;
	int r = store_open_disk(f->dir, &f->meta, &s, &why);
	must_fail(r, error, why, words);
}

static inline void write_all(struct store *s, const struct fixture *f, size_t step)
{
	size_t space = (size_t)f->meta.space;
	uint8_t *data = malloc(space);
	fixture_fill(0, data, space);
	for (size_t at = 0; at < space; at += step)
		assert_int_equal(s->ops->write(s, at, data + at, MIN(space - at, step)), 0);
	free(data);
}

static inline void check_all(struct store *s, const struct fixture *f, size_t step)
{
	size_t space = (size_t)f->meta.space;
	uint8_t *data = malloc(step);
	for (size_t at = 0; at < space; at += step) {
		size_t len = MIN(space - at, step);
		memset(data, 0xee, len);
		assert_int_equal(s->ops->read(s, at, data, len, false), 0);
		assert_true(fixture_check(f, at, data, len));
	}
	free(data);
}

static inline uint64_t size_of(const char *path)
{
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	return (uint64_t)st.st_size;
}

static inline mode_t mode_of(const char *path)
{
	struct stat st;
	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static inline bool exists(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

#endif
