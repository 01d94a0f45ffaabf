// SPDX-License-Identifier: MIT
/* See scan.h.
 *
 * The threads take the next piece from a counter, so they read neighbouring pieces and a disk sees
 * one stream.  Each has its own descriptor of the file that it is in, and remembers the stretch of
 * data or hole around its place, so a file is asked for holes once per stretch and not once per
 * piece.
 *
 * Zeros at the beginning of a piece are counted, not hashed, until something else comes: a piece
 * that is zeros to its end is then answered from what is known.
 *
 * Thread: see scan.h; what is shared is under `lock`, or atomic.
 */
#include "swarm/scan.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "base/merkle.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#define NO_FILE UINT32_MAX

struct job {
	struct scan *scan;
	_Atomic uint32_t next_piece;
	atomic_bool stop;
	uint8_t zero_sha1[SHA1_LEN]; /* of a whole piece of zeros */

	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t done; /* bytes */
	unsigned running;
};

struct worker {
	struct job *job;
	pthread_t thread;
	struct hasher *sha1; /* owned */
	uint8_t *data; /* owned; SCAN_CHUNK */
	uint8_t *leaves; /* owned; of one piece */
	uint32_t file; /* the open one, or NO_FILE */
	int fd;
	/* In the file: [data_begin, data_end) is data, [known_from, data_begin) a hole. */
	uint64_t known_from, data_begin, data_end;
};

unsigned scan_default_threads(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	unsigned n = (unsigned)CPU_COUNT(&set);
	return n < 1 ? 1 : MIN(n, SCAN_MAX_THREADS);
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

/* -- reading --------------------------------------------------------------------------------- */

static int open_file(struct worker *w, uint32_t i)
{
	struct scan *s = w->job->scan;
	struct stat st;

	if (w->file == i)
		return 0;
	if (w->fd >= 0)
		close(w->fd);
	w->file = NO_FILE;
	/* O_NONBLOCK: a FIFO under a file's name must not hold us. */
	w->fd = openat(s->dir, s->files[i].path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (w->fd < 0 || fstat(w->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	if ((uint64_t)st.st_size < s->files[i].length)
		return -ENODATA;
	w->file = i;
	w->known_from = w->data_begin = w->data_end = 0;
	return 0;
}

/* Where the data at or after `at` begins and ends, in the open file. */
static void find_data(struct worker *w, uint64_t at)
{
	if (at >= w->known_from && at < w->data_end)
		return;
	off_t begin = lseek(w->fd, (off_t)at, SEEK_DATA);
	w->known_from = at;
	if (begin < 0) {
		/* ENXIO: a hole to the end.  Anything else: no holes are told here. */
		w->data_begin = errno == ENXIO ? UINT64_MAX : at;
		w->data_end = UINT64_MAX;
		return;
	}
	off_t end = lseek(w->fd, begin, SEEK_HOLE);
	w->data_begin = (uint64_t)begin;
	w->data_end = end < 0 ? UINT64_MAX : (uint64_t)end;
}

static int read_all(int fd, uint8_t *data, size_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pread(fd, data, len, (off_t)at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		data += n;
		len -= (size_t)n;
		at += (size_t)n;
	}
	return 0;
}

/* Bytes of the open file, which is in it; holes are filled in. */
static int read_sparse(struct worker *w, uint8_t *data, size_t len, uint64_t at)
{
	while (len) {
		find_data(w, at);
		bool hole = at < w->data_begin;
		uint64_t end = hole ? w->data_begin : w->data_end;
		size_t n = (size_t)MIN((uint64_t)len, end - at);
		int r = 0;
		if (hole)
			memset(data, 0, n);
		else
			r = read_all(w->fd, data, n, at);
		if (r < 0)
			return r;
		data += n;
		len -= n;
		at += n;
	}
	return 0;
}

/* The first file that ends behind `offset`. */
static uint32_t file_at(const struct scan *s, uint64_t offset)
{
	uint32_t low = 0, high = s->n_files;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (s->files[mid].offset + s->files[mid].length > offset)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* Bytes of the space; a file's error is noted with it. */
static int read_space(struct worker *w, uint8_t *data, size_t len, uint64_t offset)
{
	struct scan *s = w->job->scan;
	uint64_t end = offset + len;

	for (uint32_t i = file_at(s, offset); offset < end; i++) {
		uint64_t begin = i < s->n_files ? MIN(s->files[i].offset, end) : end;
		if (begin > offset) {
			memset(data, 0, begin - offset);
			data += begin - offset;
			offset = begin;
		}
		if (offset == end || !s->files[i].length)
			continue;
		size_t n = (size_t)(MIN(s->files[i].offset + s->files[i].length, end) - offset);
		int r = open_file(w, i);
		if (r == 0)
			r = read_sparse(w, data, n, offset - s->files[i].offset);
		if (r < 0) {
			LOCK_SCOPE(&w->job->lock);
			s->files[i].error = r;
			return r;
		}
		data += n;
		offset += n;
	}
	return 0;
}

/* Is [offset, offset + len) within one file and its holes?  Without reading. */
static bool in_hole(struct worker *w, uint64_t offset, uint64_t len)
{
	const struct scan *s = w->job->scan;
	uint32_t i = file_at(s, offset);

	if (i == s->n_files || s->files[i].offset > offset ||
		s->files[i].offset + s->files[i].length < offset + len || open_file(w, i) < 0)
		return false;
	uint64_t at = offset - s->files[i].offset;
	find_data(w, at);
	return at + len <= w->data_begin;
}

/* -- hashing --------------------------------------------------------------------------------- */

static void add_zeros(struct hasher *h, uint64_t n)
{
	static const uint8_t zeros[65536];

	for (; n; n -= MIN(n, sizeof(zeros)))
		hasher_add(h, zeros, (size_t)MIN(n, sizeof(zeros)));
}

static void add_leaves(uint8_t *leaves, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len; at += MERKLE_BLOCK) {
		size_t n = MIN(len - at, (size_t)MERKLE_BLOCK);
		if (n == MERKLE_BLOCK && is_zero(data + at, n))
			memcpy(leaves, merkle_zero_data(0), SHA256_LEN);
		else
			sha256(data + at, n, leaves);
		leaves += SHA256_LEN;
	}
}

/* What of a piece is hashed. */
struct part {
	uint64_t begin, len;
	uint64_t v2_len; /* its file's bytes, which BEP 52 hashes; the rest is padding */
	unsigned height; /* of the tree over them */
	bool whole; /* nothing but piece_length bytes of one file, for each kind of hash */
	uint64_t zeros; /* result, SHA-1: so many zeros at its beginning are not hashed yet */
};

static struct part part_of(const struct scan *s, uint32_t piece)
{
	struct part p = {.begin = (uint64_t)piece * s->piece_length};

	if (s->sha1s)
		p.len = MIN(s->space - p.begin, (uint64_t)s->piece_length);
	if (s->roots) {
		const struct scan_file *f = &s->files[file_at(s, p.begin)];
		uint64_t tree = MIN(f->length, (uint64_t)s->piece_length);
		p.v2_len = MIN(f->offset + f->length - p.begin, (uint64_t)s->piece_length);
		/* A file of one piece has a tree of its own size; else a piece's is a full one. */
		p.height = merkle_height(merkle_blocks(tree));
		p.len = MAX(p.len, p.v2_len);
	}
	p.whole = p.len == s->piece_length && (!s->roots || p.v2_len == s->piece_length);
	return p;
}

static int hash_part(struct worker *w, struct part *p)
{
	struct scan *s = w->job->scan;

	if (s->sha1s)
		hasher_reset(w->sha1);
	for (uint64_t at = 0; at < p->len; at += SCAN_CHUNK) {
		if (atomic_load(&w->job->stop))
			return -ECANCELED;
		size_t n = (size_t)MIN(p->len - at, (uint64_t)SCAN_CHUNK);
		int r = read_space(w, w->data, n, p->begin + at);
		if (r < 0)
			return r;
		if (at < p->v2_len)
			add_leaves(w->leaves + at / MERKLE_BLOCK * SHA256_LEN, w->data,
				(size_t)MIN((uint64_t)n, p->v2_len - at));
		if (!s->sha1s)
			continue;
		bool only_zeros = p->zeros == at;
		if (only_zeros && is_zero(w->data, n)) {
			p->zeros += n;
			continue;
		}
		if (only_zeros)
			add_zeros(w->sha1, p->zeros);
		hasher_add(w->sha1, w->data, n);
	}
	return 0;
}

static int scan_piece(struct worker *w, uint32_t piece)
{
	struct scan *s = w->job->scan;
	struct part p = part_of(s, piece);

	if (p.whole && in_hole(w, p.begin, p.len)) {
		if (s->sha1s)
			memcpy(s->sha1s[piece], w->job->zero_sha1, SHA1_LEN);
		if (s->roots)
			memcpy(s->roots[piece], merkle_zero_data(p.height), SHA256_LEN);
		return 0;
	}
	int r = hash_part(w, &p);
	if (r < 0)
		return r;
	if (s->roots)
		merkle_root(w->leaves, merkle_blocks(p.v2_len), 0, p.height, s->roots[piece]);
	if (s->sha1s && p.zeros == s->piece_length) {
		memcpy(s->sha1s[piece], w->job->zero_sha1, SHA1_LEN);
	} else if (s->sha1s) {
		if (p.zeros == p.len)
			add_zeros(w->sha1, p.zeros);
		hasher_end(w->sha1, s->sha1s[piece]);
	}
	return 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct job *j = w->job;
	struct scan *s = j->scan;

	while (!atomic_load(&j->stop)) {
		uint32_t piece = atomic_fetch_add(&j->next_piece, 1);
		if (piece >= s->n_pieces)
			break;
		int r = scan_piece(w, piece);
		if (s->readable)
			s->readable[piece] = r == 0;
		if (r < 0 && !s->keep_going)
			atomic_store(&j->stop, true);
		LOCK_SCOPE(&j->lock);
		j->done += s->piece_length;
		pthread_cond_signal(&j->changed);
	}
	LOCK_SCOPE(&j->lock);
	j->running--;
	pthread_cond_signal(&j->changed);
	return NULL;
}

/* -- the threads ----------------------------------------------------------------------------- */

static void worker_init(struct worker *w, struct job *j)
{
	*w = (struct worker) {.job = j, .file = NO_FILE, .fd = -1};
	w->sha1 = hasher_new_sha1();
	w->data = xmalloc(SCAN_CHUNK);
	w->leaves = xmalloc((size_t)merkle_blocks(j->scan->piece_length) * SHA256_LEN);
}

static void worker_done(struct worker *w)
{
	hasher_free(w->sha1);
	free(w->data);
	free(w->leaves);
	if (w->fd >= 0)
		close(w->fd);
}

static void report(struct job *j)
{
	uint64_t seen = 0;

	for (;;) {
		bool running;
		{
			LOCK_SCOPE(&j->lock);
			while (j->running && j->done == seen)
				pthread_cond_wait(&j->changed, &j->lock);
			seen = j->done;
			running = j->running;
		}
		if (j->scan->progress)
			j->scan->progress(j->scan->arg, MIN(seen, j->scan->space));
		if (!running)
			return;
	}
}

int scan_run(struct scan *s)
{
	struct job j = {
		.scan = s, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
	unsigned wanted = MIN(s->threads, SCAN_MAX_THREADS);
	wanted = MIN(wanted, s->n_pieces);
	wanted = MAX(wanted, 1u);
	CLEANUP_FREE struct worker *workers = xcalloc(wanted, sizeof(*workers));
	int r = 0;

	for (uint32_t i = 0; i < s->n_files; i++)
		s->files[i].error = 0;
	struct hasher *h = hasher_new_sha1();
	add_zeros(h, s->piece_length);
	hasher_end(h, j.zero_sha1);
	hasher_free(h);

	unsigned n = 0;
	while (n < wanted) {
		worker_init(&workers[n], &j);
		{
			LOCK_SCOPE(&j.lock);
			j.running++;
		}
		r = pthread_create(&workers[n].thread, NULL, work, &workers[n]);
		if (r) {
			LOCK_SCOPE(&j.lock);
			j.running--;
			worker_done(&workers[n]);
			break;
		}
		n++;
	}
	report(&j);
	for (unsigned i = 0; i < n; i++) {
		pthread_join(workers[i].thread, NULL);
		worker_done(&workers[i]);
	}
	/* Fewer threads than asked for do the same work. */
	r = n ? 0 : -r;
	for (uint32_t i = 0; !r && !s->keep_going && i < s->n_files; i++)
		r = s->files[i].error;
	return r;
}
