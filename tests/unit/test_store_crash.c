// SPDX-License-Identifier: MIT
/* Every legal state of the disk after a crash: what the record claims is there.
 *
 * The calls by which the store changes the disk are replaced here (a program's own functions come
 * before libc's): each is written down with the moments when it began and ended, and done.  Then,
 * for every moment of the run, the disk is made anew as a crash at that moment may have left it:
 *
 *  - a write is there for sure once a sync of its file that began after it has ended well; until
 * then it is there, not there, or half there, whatever came later;
 *  - what a failed sync should have written may never come, however many syncs follow;
 *  - a renamed record is there for sure once its folder was synced; until then the old one or any
 *    later one is there, and cut somewhere unless its bytes were synced before;
 *
 * the store is opened on that, the record loaded, and each block that it claims compared.
 */
#include "tests/unit/store_fixture.h"
#include "swarm/resume.h"
#include "swarm/store.h"
#include "base/cleanup.h"
#include "base/loop.h"
#include "base/work.h"

#include <errno.h>
#include <event2/event.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#define BLOCK 16384u
#define BLOCKS 24u
#define FILES 2u
#define HASH "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"

/* -- the log --------------------------------------------------------------------------------------
 */

enum what {
	OTHER,
	WRITE, /* of a file */
	SYNC, /* of a file */
	RECORD_SYNC, /* of the new record, before it is renamed */
	RENAME, /* of the record */
	FOLDER_SYNC, /* of the entry */
};

struct event_of_disk {
	enum what what;
	uint32_t file;
	uint64_t offset;
	uint8_t *data;
	size_t len;
	unsigned began, ended; /* moments; ended 0: not yet */
	bool failed;
	bool synced; /* RENAME: the bytes were synced before */
};

static struct {
	pthread_mutex_t lock;
	bool on;
	char entry[128];
	struct event_of_disk *v;
	size_t n, cap;
	unsigned now;
	/* The new record as it grows. */
	uint8_t *record;
	size_t record_len;
	bool record_synced;
	/* How many of the next such calls fail. */
	unsigned fail[FOLDER_SYNC + 1];
} disk = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What a descriptor stands for. */
static enum what classify(
	int fd, enum what data, enum what record, enum what folder, uint32_t *ret_file)
{
	char link[64], path[512];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, path, sizeof(path) - 1);
	size_t len = strlen(disk.entry);
	if (n <= 0 || !disk.on)
		return OTHER;
	path[n] = 0;
	if (strncmp(path, disk.entry, len) != 0)
		return OTHER;
	if (!path[len])
		return folder;
	if (!strcmp(path + len, "/have.new"))
		return record;
	if (sscanf(path + len, "/content/f%u", ret_file) == 1)
		return data;
	return OTHER;
}

/* Gives its number. */
static size_t disk_begin(
	enum what what, uint32_t file, uint64_t offset, const void *data, size_t len)
{
	LOCK_SCOPE(&disk.lock);
	GROW(disk.v, disk.n, disk.cap);
	disk.v[disk.n] = (struct event_of_disk) {.what = what,
		.file = file,
		.offset = offset,
		.data = data ? xmemdup(data, len) : NULL,
		.len = len,
		.began = ++disk.now,
		.synced = what == RENAME && disk.record_synced};
	return disk.n++;
}

static bool disk_fails(enum what what)
{
	LOCK_SCOPE(&disk.lock);
	if (!disk.fail[what])
		return false;
	disk.fail[what]--;
	errno = EIO;
	return true;
}

static void disk_end(size_t i, bool failed)
{
	LOCK_SCOPE(&disk.lock);
	disk.v[i].ended = ++disk.now;
	disk.v[i].failed = failed;
}

static int sync_logged(int fd, long call, enum what what, uint32_t file)
{
	size_t i = disk_begin(what, file, 0, NULL, 0);
	bool failed = disk_fails(what);
	int r = failed ? -1 : (int)syscall(call, fd);
	disk_end(i, r < 0);
	if (what == RECORD_SYNC && r == 0)
		disk.record_synced = true;
	if (failed)
		errno = EIO;
	return r;
}

int fdatasync(int fd)
{
	uint32_t file = 0;
	enum what what = classify(fd, SYNC, RECORD_SYNC, OTHER, &file);
	return what == OTHER ? (int)syscall(SYS_fdatasync, fd)
			     : sync_logged(fd, SYS_fdatasync, what, file);
}

int fsync(int fd)
{
	uint32_t file = 0;
	enum what what = classify(fd, SYNC, RECORD_SYNC, FOLDER_SYNC, &file);
	return what == OTHER ? (int)syscall(SYS_fsync, fd) : sync_logged(fd, SYS_fsync, what, file);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t offset)
{
	uint32_t file = 0;
	bool logged = classify(fd, WRITE, OTHER, OTHER, &file) == WRITE;
	size_t i = logged ? disk_begin(WRITE, file, (uint64_t)offset, data, len) : 0;
	ssize_t n = syscall(SYS_pwrite64, fd, data, len, offset);
	if (logged)
		disk_end(i, n != (ssize_t)len);
	return n;
}

/* Of the record: one job at a time writes it. */
ssize_t write(int fd, const void *data, size_t len)
{
	uint32_t file;
	if (classify(fd, OTHER, RENAME, OTHER, &file) == RENAME) {
		disk.record = xrealloc(disk.record, disk.record_len + len, 1);
		memcpy(disk.record + disk.record_len, data, len);
		disk.record_len += len;
		disk.record_synced = false;
	}
	return syscall(SYS_write, fd, data, len);
}

static void record_forget(void)
{
	free(disk.record);
	disk.record = NULL;
	disk.record_len = 0;
}

int unlinkat(int dir, const char *path, int flags)
{
	if (disk.on && !strcmp(path, "have.new"))
		record_forget();
	return (int)syscall(SYS_unlinkat, dir, path, flags);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	bool logged = disk.on && !strcmp(to, "have");
	size_t i = logged ? disk_begin(RENAME, 0, 0, disk.record, disk.record_len) : 0;
	int r = (int)syscall(SYS_renameat, from_dir, from, to_dir, to);
	if (logged) {
		disk_end(i, r < 0);
		record_forget();
	}
	return r;
}

static void disk_reset(const struct fixture *f)
{
	for (size_t i = 0; i < disk.n; i++)
		free(disk.v[i].data);
	free(disk.v);
	disk.v = NULL;
	disk.n = disk.cap = 0;
	disk.now = 0;
	record_forget();
	snprintf(disk.entry, sizeof(disk.entry), "%s/%s", f->dir, HASH);
	disk.on = true;
}

/* -- the run
 * ---------------------------------------------------------------------------------------- */

struct world {
	struct fixture f;
	struct loop *loop;
	struct work_pool *pool;
	struct store *store;
	struct resume *resume;
	bool had[BLOCKS], asked[BLOCKS];
	unsigned jobs, lost, flushes;
	unsigned seed;
};

struct job {
	struct work work;
	struct world *w;
	uint32_t block;
	int error;
};

static unsigned draw(struct world *w, unsigned n)
{
	return (unsigned)rand_r(&w->seed) / 7 % n;
}

static size_t block_len(const struct world *w, uint32_t block)
{
	return MIN(BLOCK, (size_t)(w->f.meta.space - (uint64_t)block * BLOCK));
}

static void write_run(struct work *work)
{
	struct job *j = container_of(work, struct job, work);
	uint8_t data[BLOCK];
	size_t len = block_len(j->w, j->block);
	fixture_fill((uint64_t)j->block * BLOCK, data, len);
	j->error = j->w->store->ops->write(j->w->store, (uint64_t)j->block * BLOCK, data, len);
}

static void write_done(struct work *work)
{
	struct job *j = container_of(work, struct job, work);
	j->w->jobs--;
	j->w->asked[j->block] = false;
	if (j->error == 0) {
		j->w->had[j->block] = true;
		resume_on_written(j->w->resume, j->block, BLOCK);
	}
	free(j);
}

static void ask(struct world *w, uint32_t block)
{
	if (w->had[block] || w->asked[block])
		return;
	struct job *j = xcalloc(1, sizeof(*j));
	*j = (struct job) {.work = {.run = write_run, .done = write_done}, .w = w, .block = block};
	w->asked[block] = true;
	w->jobs++;
	resume_on_writing(w->resume, block);
	work_post(w->pool, &j->work);
}

static void on_lost(void *arg, const struct bits *lost, int error)
{
	struct world *w = arg;
	for (uint32_t i = 0; (i = bits_next_set(lost, i)) < lost->n; i++)
		w->had[i] = false;
	w->lost++;
}

static void on_flushed(void *arg, int error)
{
	struct world *w = arg;
	w->flushes--;
}

static void turn(struct world *w, unsigned jobs, unsigned flushes)
{
	while (w->jobs > jobs || w->flushes > flushes)
		event_base_loop(loop_base(w->loop), EVLOOP_ONCE);
}

/* One process's life, from opening the store to a clean stop. */
static void run(struct world *w, unsigned steps, bool faults)
{
	struct resume_callbacks cb = {.lost = on_lost, .arg = w};
	struct record r;
	const char *why;
	char *open_why = NULL;

	assert_int_equal(loop_new(&w->loop), 0);
	assert_int_equal(work_pool_new(w->loop, 3, &w->pool), 0);
	assert_int_equal(store_open_disk(w->f.dir, &w->f.meta, &w->store, &open_why), 0);
	resume_load(w->store, &w->f.layout, &r, &why);
	for (uint32_t i = 0; i < BLOCKS; i++)
		w->had[i] = bits_get(&r.have, i);
	w->resume = resume_new(w->loop, w->pool, w->store, &w->f.layout, &r.have, &cb);
	record_done(&r);

	for (unsigned i = 0; i < steps; i++) {
		ask(w, draw(w, BLOCKS));
		if (draw(w, 4) == 0) {
			w->flushes++;
			resume_flush(w->resume, on_flushed, w);
		}
		if (faults && draw(w, 5) == 0) {
			static const enum what kinds[] = {SYNC, SYNC, RECORD_SYNC, FOLDER_SYNC};
			pthread_mutex_lock(&disk.lock);
			disk.fail[kinds[draw(w, 4)]] = 1;
			pthread_mutex_unlock(&disk.lock);
		}
		uint32_t drop = draw(w, BLOCKS);
		if (draw(w, 6) == 0 && w->had[drop]) {
			w->had[drop] = false;
			resume_drop(w->resume, drop);
		}
		turn(w, draw(w, 5), draw(w, 3));
	}
	turn(w, 0, 0);
	memset(disk.fail, 0, sizeof(disk.fail));
	work_pool_free(w->pool);
	assert_int_equal(resume_close(w->resume), 0);
	store_close(w->store);
	loop_free(w->loop);
}

static void world_init(struct world *w, unsigned seed)
{
	static const uint64_t lengths[FILES] = {13 * BLOCK + 100, 11 * BLOCK - 200};
	memset(w, 0, sizeof(*w));
	fixture_make(&w->f, "folder", FILES, NULL, lengths, 2 * BLOCK, false);
	assert_int_equal(w->f.layout.n_blocks, BLOCKS);
	w->seed = seed;
	disk_reset(&w->f);
}

/* -- the crash
 * ----------------------------------------------------------------------------------------- */

enum fate { WORST, BEST, DICE };

struct crash {
	unsigned at; /* the moment */
	enum fate fate;
	bool no_sync_holds; /* to see that the check can fail */
	struct fixture *f;
	uint8_t *files[FILES];
	struct world *w;
};

/* Is a write there for sure?  A failed sync before the first good one: then never. */
static bool is_durable(const struct crash *c, const struct event_of_disk *write)
{
	if (!write->ended || write->ended >= c->at || c->no_sync_holds)
		return false;
	for (size_t i = 0; i < disk.n; i++) {
		const struct event_of_disk *e = &disk.v[i];
		if (e->what != SYNC || e->file != write->file || !e->ended || e->ended >= c->at)
			continue;
		if (e->failed && e->ended > write->began)
			return false;
		if (!e->failed && e->began > write->ended)
			return true;
	}
	return false;
}

static void apply_writes(struct crash *c)
{
	for (uint32_t i = 0; i < FILES; i++)
		memset(c->files[i], 0, c->f->meta.files[i].length);
	for (size_t i = 0; i < disk.n; i++) {
		const struct event_of_disk *e = &disk.v[i];
		if (e->what != WRITE || e->began >= c->at)
			continue;
		size_t from = 0, len = e->len;
		if (!is_durable(c, e)) {
			unsigned dice = c->fate == WORST ? 0 : c->fate == BEST ? 1 : draw(c->w, 4);
			if (dice == 0)
				len = 0;
			else if (dice == 2)
				len /= 2;
			else if (dice == 3)
				from = len / 2;
		}
		if (len > from)
			memcpy(c->files[e->file] + e->offset + from, e->data + from, len - from);
	}
}

/* A record renamed is there for sure once its folder was synced. */
static bool rename_is_durable(const struct crash *c, const struct event_of_disk *rename)
{
	for (size_t i = 0; rename->ended && i < disk.n; i++) {
		const struct event_of_disk *e = &disk.v[i];
		if (e->what == FOLDER_SYNC && !e->failed && e->began > rename->ended && e->ended &&
			e->ended < c->at)
			return true;
	}
	return false;
}

/* Which record is there; NULL: none. */
static const struct event_of_disk *pick_record(const struct crash *c)
{
	const struct event_of_disk *sure = NULL, *last = NULL, *picked = NULL;
	unsigned n = 0;
	for (size_t i = 0; i < disk.n; i++) {
		const struct event_of_disk *e = &disk.v[i];
		if (e->what != RENAME || e->began >= c->at)
			continue;
		if (rename_is_durable(c, e)) {
			sure = picked = e;
			n = 0;
		} else if (draw(c->w, ++n + 1) == 0) {
			picked = e;
		}
		last = e;
	}
	return c->fate == WORST ? sure : c->fate == BEST ? last : picked;
}

/* Over a file that is there, or a new one: cutting one to nothing would make ext4 flush it. */
static void write_over(const char *path, const uint8_t *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), (ssize_t)len);
	close(fd);
}

static void write_state(const struct crash *c)
{
	const struct event_of_disk *record = pick_record(c);
	char path[256];
	for (uint32_t i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/" HASH "/content/f%u", c->f->dir, i);
		write_over(path, c->files[i], c->f->meta.files[i].length);
	}
	snprintf(path, sizeof(path), "%s/" HASH "/have", c->f->dir);
	remove(path);
	if (!record)
		return;
	size_t len = record->len;
	if (!record->synced && c->fate == DICE)
		len = draw(c->w, (unsigned)len);
	write_over(path, record->data, len);
}

struct tally {
	unsigned states, claims, wrong, records;
};

static void check_state(const struct crash *c, struct tally *t)
{
	struct store *s;
	struct record r;
	const char *why;
	char *open_why = NULL;
	uint8_t data[BLOCK];

	assert_int_equal(store_open_disk(c->f->dir, &c->f->meta, &s, &open_why), 0);
	t->states++;
	t->records += resume_load(s, &c->f->layout, &r, &why) != RESUME_NONE;
	for (uint32_t i = 0; (i = bits_next_set(&r.have, i)) < BLOCKS; i++) {
		size_t len = block_len(c->w, i);
		assert_int_equal(s->ops->read(s, (uint64_t)i * BLOCK, data, len, false), 0);
		t->claims++;
		t->wrong += !fixture_check(c->f, (uint64_t)i * BLOCK, data, len);
	}
	record_done(&r);
	store_close(s);
}

/* A crash at every moment of the run, the disk as bad, as good and as mixed as it may be. */
static struct tally crash_everywhere(struct world *w, bool no_sync_holds)
{
	struct tally t = {0};
	struct fixture f;
	static const uint64_t lengths[FILES] = {13 * BLOCK + 100, 11 * BLOCK - 200};
	char *why = NULL;
	struct store *s;

	disk.on = false;
	fixture_make(&f, "folder", FILES, NULL, lengths, 2 * BLOCK, false);
	assert_int_equal(store_open_disk(f.dir, &f.meta, &s, &why), 0);
	store_close(s);
	struct crash c = {.f = &f, .w = w, .no_sync_holds = no_sync_holds};
	for (uint32_t i = 0; i < FILES; i++)
		c.files[i] = xmalloc(lengths[i]);
	for (c.at = 0; c.at <= disk.now + 1; c.at++) {
		for (c.fate = WORST; c.fate <= DICE; c.fate++) {
			if (c.fate == BEST && c.at % 8)
				continue; /* what can be wrong then is wrong much longer */
			apply_writes(&c);
			write_state(&c);
			check_state(&c, &t);
		}
	}
	for (uint32_t i = 0; i < FILES; i++)
		free(c.files[i]);
	fixture_done(&f);
	return t;
}

/* Runs with these seeds; gives how often a sync's failure was told. */
static unsigned check_runs(unsigned first, unsigned n, bool faults)
{
	struct tally sum = {0};
	unsigned lost = 0;
	for (unsigned seed = first; seed < first + n; seed++) {
		struct world w;
		world_init(&w, seed);
		run(&w, 30, faults);
		run(&w, 15, faults);
		struct tally t = crash_everywhere(&w, false);
		assert_int_equal(t.wrong, 0);
		sum.states += t.states;
		sum.records += t.records;
		sum.claims += t.claims;
		lost += w.lost;
		fixture_done(&w.f);
	}
	/* That there was something to be wrong. */
	assert_true(sum.states > 100 * n);
	assert_true(sum.records > sum.states / 8);
	assert_true(sum.claims > sum.states / 2);
	return lost;
}

static void test_no_crash_makes_the_record_claim_what_is_not_there(void **state)
{
	assert_int_equal(check_runs(1, 2, false), 0);
}

static void test_nor_do_crashes_after_failed_syncs(void **state)
{
	assert_true(check_runs(10, 4, true) > 0);
}

static void test_the_check_sees_a_claim_that_no_sync_bears(void **state)
{
	struct world w;
	world_init(&w, 3);
	run(&w, 20, false);
	assert_true(crash_everywhere(&w, true).wrong > 0);
	fixture_done(&w.f);
}

static int forget_all(void **state)
{
	struct fixture none = {0};
	disk_reset(&none);
	disk.on = false;
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_crash_makes_the_record_claim_what_is_not_there),
		cmocka_unit_test(test_nor_do_crashes_after_failed_syncs),
		cmocka_unit_test(test_the_check_sees_a_claim_that_no_sync_bears),
	};
	return cmocka_run_group_tests(tests, NULL, forget_all);
}
