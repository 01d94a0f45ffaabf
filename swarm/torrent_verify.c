/* SPDX-License-Identifier: MIT */
/* Blocks that came: verified, written, recorded; and the check of what a store holds.
 *
 * The unit is the block where the piece's leaf hashes are known (BEP 52), else the piece.  Where a
 * read waits, hashing is a job of its own and the answer goes out before the write; else one job
 * hashes and writes.
 *
 * Who sent a wrong block: with leaf hashes that is plain.  Without, a piece that one source gave alone
 * convicts it; else the piece's data is kept as hashes (struct bad_piece), the next copy is asked of
 * one source only, and when it is good, whoever sent a block that differs is convicted.  So each
 * wrong piece of v1 costs at most one more fetch of it per liar.
 *
 * The disk takes nothing (full, failing): blocks stay GOOD in memory up to FULL_DISK_MEMORY, readers
 * are served from there, filling stops, writing is tried again with back-off.
 */
#include "swarm/torrent.h"

#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/resume.h"
#include "swarm/store.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define CHECK_JOBS 2 /* pieces of a store hashed at once: as many as the smallest machine has cores */
#define DISK_RETRY_US (5 * US_PER_S)
#define AHEAD_BLOCKS 16u /* hashed at once before a v1 piece is whole: 256 KiB, a fraction of a millisecond */
#define BAD_PIECES_MAX 64 /* remembered at once; one more forgets the oldest */

struct bad_piece {
	struct bad_piece *next;
	uint32_t piece, n_blocks;
	uint32_t sole; /* the source that gives the next copy; 0: not chosen */
	struct {
		uint32_t from;
		uint8_t hash[SHA256_LEN];
	} blocks[];
};

static void write_good(struct torrent *t, struct piece *w);

/* -- culprits --------------------------------------------------------------------------------- */

static struct bad_piece **find_bad(struct torrent *t, uint32_t piece)
{
	struct bad_piece **p = &t->bad;
	while (*p && (*p)->piece != piece)
		p = &(*p)->next;
	return p;
}

static void forget_bad(struct bad_piece **p)
{
	struct bad_piece *b = *p;
	*p = b->next;
	free(b);
}

void verify_forget(struct torrent *t)
{
	while (t->bad)
		forget_bad(&t->bad);
}

bool verify_sole_source(struct torrent *t, uint32_t piece, uint32_t **ret_sole)
{
	struct bad_piece *b = *find_bad(t, piece);
	if (b)
		*ret_sole = &b->sole;
	return b;
}

bool verify_suspects(struct torrent *t, uint32_t piece, uint32_t from)
{
	struct bad_piece *b = *find_bad(t, piece);
	for (uint32_t i = 0; b && i < b->n_blocks; i++) {
		if (b->blocks[i].from == from)
			return true;
	}
	return false;
}

/* A whole piece is wrong, and which block of it is not known. */
static void remember_bad(struct torrent *t, struct piece *w)
{
	struct bad_piece **p = find_bad(t, w->index);
	if (*p)
		forget_bad(p);
	unsigned n = 0;
	for (p = &t->bad; *p; p = &(*p)->next)
		n++;
	if (n >= BAD_PIECES_MAX)
		forget_bad(&t->bad);
	struct bad_piece *b = xcalloc(1, sizeof(*b) + w->n_blocks * sizeof(b->blocks[0]));
	b->piece = w->index;
	b->n_blocks = w->n_blocks;
	for (uint32_t i = 0; i < w->n_blocks; i++) {
		if (w->blocks[i].state != BLOCK_GOT)
			continue;
		b->blocks[i].from = w->blocks[i].from;
		sha256(w->blocks[i].data, layout_block_len(&t->layout, w->index, i), b->blocks[i].hash);
	}
	for (p = &t->bad; *p; p = &(*p)->next)
		;
	*p = b;
}

/* A good copy of the piece is in memory: whoever sent something else lied. */
static void convict(struct torrent *t, const struct verify_job *j)
{
	struct bad_piece **p = find_bad(t, j->piece);
	struct bad_piece *b = *p;
	if (!b)
		return;
	for (uint32_t k = 0; k < j->n; k++) {
		const struct verify_block *v = &j->blocks[k];
		uint8_t hash[SHA256_LEN];
		if (!v->data || !b->blocks[v->i].from)
			continue;
		sha256(v->data, v->len, hash);
		if (memcmp(hash, b->blocks[v->i].hash, SHA256_LEN))
			torrent_ban(t, b->blocks[v->i].from, "it sent a block that is not the torrent's");
	}
	forget_bad(p);
}

/* The one source of all blocks in memory, or 0 when there are several. */
static uint32_t only_source(const struct piece *w)
{
	uint32_t from = 0;
	for (uint32_t i = 0; i < w->n_blocks; i++) {
		if (w->blocks[i].state != BLOCK_GOT)
			continue;
		if (from && from != w->blocks[i].from)
			return 0;
		from = w->blocks[i].from;
	}
	return from;
}

/* -- a job's end ------------------------------------------------------------------------------ */

static void on_write_error(struct torrent *t, int error)
{
	if (!t->disk_error) {
		log_error("%s: the store takes no data: %s; filling stops, reads go on from memory",
			t->meta->name, strerror(-error));
		t->disk_backoff = DISK_RETRY_US;
	} else {
		t->disk_backoff = MIN(2 * t->disk_backoff, 12 * DISK_RETRY_US);
	}
	t->disk_error = error;
	t->disk_retry_at = clock_us() + t->disk_backoff;
}

static void on_write_success(struct torrent *t)
{
	if (!t->disk_error)
		return;
	t->disk_error = 0;
	log_info("%s: the store takes data again", t->meta->name);
	for (struct piece *w = t->picker.head; w; w = w->next)
		write_good(t, w);
	ask_soon(t);
}

static void drop_bad(struct torrent *t, struct piece *w, uint32_t i)
{
	t->corrupt += layout_block_len(&t->layout, w->index, i);
	picker_on_bad(&t->picker, w, i);
	t->demands_open = true;
}

/* The piece as a whole is wrong. */
static void on_bad_piece(struct torrent *t, struct piece *w, const struct verify_job *j)
{
	if (j->read_error) {
		/* What the store had is gone; what came is still only unverified. */
		verify_suspect(t, layout_offset(&t->layout, w->index, 0),
			layout_piece_len(&t->layout, w->index));
		return;
	}
	uint32_t from = only_source(w);
	bool had = w->count[BLOCK_HAVE]; /* then the fault may be in the store */
	log_warn("%s: piece %u is wrong%s", t->meta->name, w->index,
		from && !had ? "" : "; who sent it is found out with the next copy");
	/* What the store had may be the fault: then nothing of it is believed. */
	if (leaves_usable(t, w->index) && !from && !had) {
		uint64_t now = clock_us();
		for (uint32_t i = 0; i < w->n_blocks; i++) {
			if (w->blocks[i].state == BLOCK_GOT)
				leaves_want(t, w, i, NULL, now);
		}
		w->bad = w->runs_asked;
		if (w->bad)
			return; /* the blocks are looked at one by one when they come */
	}
	if (!from || had)
		remember_bad(t, w);
	for (uint32_t i = 0; i < w->n_blocks; i++) {
		if (w->blocks[i].state == BLOCK_GOT)
			drop_bad(t, w, i);
	}
	if (from && !had)
		torrent_ban(t, from, "it sent a piece that is not the torrent's");
	else if (had)
		verify_suspect(t, layout_offset(&t->layout, w->index, 0),
			layout_piece_len(&t->layout, w->index));
}

/* One block of a finished job.  True when it has become part of a complete piece. */
static bool settle(struct torrent *t, struct piece *w, const struct verify_job *j,
	const struct verify_block *v)
{
	struct block *b = &w->blocks[v->i];
	if (!v->data)
		return false; /* it was read from the store: had before */
	if (b->state == BLOCK_GOT && v->good) {
		picker_on_good(&t->picker, w, v->i);
	} else if (b->state == BLOCK_GOT && j->what == VERIFY_BLOCKS) {
		uint32_t from = b->from;
		drop_bad(t, w, v->i);
		torrent_ban(t, from, "it sent a block that is not the torrent's");
		return false;
	}
	if (b->state != BLOCK_GOOD || !v->written)
		return false;
	if (t->resume)
		resume_on_written(t->resume, block_number(t, w->index, v->i), v->len);
	return picker_on_stored(&t->picker, w, v->i);
}

static void on_job_done(struct work *work)
{
	struct verify_job *j = container_of(work, struct verify_job, work);
	struct torrent *t = j->owner;
	struct piece *w = picker_piece(&t->picker, j->piece);
	bool good = true, complete = false;
	w->jobs--;
	t->jobs--;
	for (uint32_t k = 0; k < j->n; k++) {
		if (j->blocks[k].data)
			w->blocks[j->blocks[k].i].busy = false;
		good = good && j->blocks[k].good;
	}
	if (j->what == VERIFY_PIECE && good)
		convict(t, j);
	if (j->what == VERIFY_AHEAD) {
		w->hashed += j->n;
	} else if (j->what == VERIFY_PIECE && w->sha1) {
		hasher_free(w->sha1);
		w->sha1 = NULL;
		w->hashed = 0;
	}
	for (uint32_t k = 0; k < j->n; k++)
		complete |= settle(t, w, j, &j->blocks[k]);
	if (j->what == VERIFY_PIECE && !good)
		on_bad_piece(t, w, j);
	if (j->write_error)
		on_write_error(t, j->write_error);
	else if (j->write)
		on_write_success(t);

	read_on_block(t, j->piece);
	write_good(t, w);
	verify_on_got(t, w); /* more may have come meanwhile */
	picker_tidy(&t->picker, w);
	if (complete)
		torrent_on_piece(t, j->piece);
	verify_free(j);
	ask_soon(t);
}

/* -- jobs ------------------------------------------------------------------------------------- */

static struct verify_job *new_job(struct torrent *t, uint32_t piece, enum verify_what what, uint32_t n,
	void (*done)(struct work *w))
{
	struct verify_job *j = verify_new(n, done, t);
	j->n = 0;
	j->store = t->store;
	j->layout = &t->layout;
	j->piece = piece;
	j->what = what;
	t->jobs++;
	return j;
}

static void add_block(struct torrent *t, struct verify_job *j, struct piece *w, uint32_t i)
{
	struct block *b = &w->blocks[i];
	assert(!b->busy);
	b->busy = b->data != NULL;
	j->blocks[j->n++] = (struct verify_block) {
		.i = i,
		.len = layout_block_len(&t->layout, w->index, i),
		.data = b->data,
		.leaf = piece_leaf(w, i),
	};
}

static void tell_writing(struct torrent *t, const struct verify_job *j)
{
	for (uint32_t k = 0; t->resume && k < j->n; k++) {
		if (j->blocks[k].data)
			resume_on_writing(t->resume, block_number(t, j->piece, j->blocks[k].i));
	}
}

static void post(struct torrent *t, struct piece *w, struct verify_job *j, bool urgent)
{
	w->jobs++;
	if (j->write)
		tell_writing(t, j);
	if (urgent)
		work_post_urgent(t->parts->pool, &j->work);
	else
		work_post(t->parts->pool, &j->work);
}

static void write_good(struct torrent *t, struct piece *w)
{
	uint32_t n = 0;
	if (t->disk_error)
		return;
	for (uint32_t i = 0; i < w->n_blocks; i++)
		n += w->blocks[i].state == BLOCK_GOOD && !w->blocks[i].busy;
	if (!n)
		return;
	struct verify_job *j = new_job(t, w->index, VERIFY_WRITE, n, on_job_done);
	j->write = true;
	for (uint32_t i = 0; i < w->n_blocks; i++) {
		if (w->blocks[i].state == BLOCK_GOOD && !w->blocks[i].busy)
			add_block(t, j, w, i);
	}
	post(t, w, j, false);
}

static bool read_wants_any(const struct torrent *t, const struct piece *w)
{
	for (uint32_t i = 0; t->n_reads && i < w->n_blocks; i++) {
		if (w->blocks[i].state == BLOCK_GOT && read_wants(t, w->index, i))
			return true;
	}
	return false;
}

/* A v1 piece that a read waits for is hashed as far as its blocks lie there in order. */
static void hash_ahead(struct torrent *t, struct piece *w)
{
	uint32_t end = w->hashed;
	while (end < w->n_blocks && w->blocks[end].state == BLOCK_GOT)
		end++;
	if (end - w->hashed < AHEAD_BLOCKS || !w->whole || !read_wants(t, w->index, 0))
		return;
	if (!w->sha1)
		w->sha1 = hasher_new_sha1();
	struct verify_job *j = new_job(t, w->index, VERIFY_AHEAD, end - w->hashed, on_job_done);
	j->sha1 = w->sha1;
	for (uint32_t i = w->hashed; i < end; i++)
		add_block(t, j, w, i);
	log_debug(LOG_PICK, "piece %u: hashed up to block %u of %u as it comes", w->index, end, w->n_blocks);
	post(t, w, j, true);
}

void verify_on_got(struct torrent *t, struct piece *w)
{
	uint32_t fresh = 0, alone = 0, busy = 0;
	for (uint32_t i = 0; i < w->n_blocks; i++) {
		busy += w->blocks[i].busy;
		if (w->blocks[i].state != BLOCK_GOT || w->blocks[i].busy)
			continue;
		fresh++;
		alone += piece_leaf(w, i) != NULL;
	}
	bool whole = w->count[BLOCK_GOT] + w->count[BLOCK_GOOD] + w->count[BLOCK_HAVE] == w->n_blocks;
	/* By the piece: all of it is here, and no block is with a worker already, which would free it under
	 * this one.  While leaf hashes are on their way because the piece was found wrong, they decide. */
	if (!fresh || (!alone && (busy || w->bad)))
		return;
	if (!alone && !whole) {
		if (!t->meta->has_v2)
			hash_ahead(t, w);
		return;
	}
	struct verify_job *j = alone ? new_job(t, w->index, VERIFY_BLOCKS, alone, on_job_done) :
				       new_job(t, w->index, VERIFY_PIECE, w->n_blocks, on_job_done);
	if (!alone && w->sha1) {
		j->sha1 = w->sha1;
		j->hashed = w->hashed;
	}
	for (uint32_t i = 0; i < w->n_blocks; i++) {
		bool take = w->blocks[i].state == BLOCK_GOT && !w->blocks[i].busy;
		if (alone ? take && piece_leaf(w, i) : true)
			add_block(t, j, w, i);
	}
	bool urgent = read_wants_any(t, w);
	j->write = !urgent && !t->disk_error;
	post(t, w, j, urgent);
}

/* -- a disk that takes nothing ------------------------------------------------------------------ */

/* Forgets verified blocks that nobody waits for, whole pieces of them, oldest first. */
static void make_room(struct torrent *t)
{
	struct piece *next;
	for (struct piece *w = t->picker.head; w && t->picker.held > FULL_DISK_MEMORY; w = next) {
		next = w->next;
		bool wanted = w->jobs;
		for (uint32_t i = 0; i < w->n_blocks && !wanted; i++)
			wanted = read_wants(t, w->index, i);
		for (uint32_t i = 0; i < w->n_blocks && !wanted; i++) {
			if (w->blocks[i].state == BLOCK_GOOD)
				picker_give_up(&t->picker, w, i);
		}
		picker_tidy(&t->picker, w);
	}
}

void verify_retry_disk(struct torrent *t, uint64_t now)
{
	if (!t->disk_error)
		return;
	make_room(t);
	if (now < t->disk_retry_at)
		return;
	t->disk_retry_at = now + t->disk_backoff;
	int error = t->disk_error;
	t->disk_error = 0;
	for (struct piece *w = t->picker.head; w; w = w->next) {
		if (w->count[BLOCK_GOOD] && !w->jobs) {
			write_good(t, w);
			break;
		}
	}
	t->disk_error = error;
	if (!t->picker.held)
		on_write_success(t); /* nothing left to try with: the next block tells */
}

void verify_on_lost(void *arg, const struct bits *lost, int error)
{
	struct torrent *t = arg;
	uint32_t bpp = t->layout.blocks_per_piece;
	log_error("%s: the store could not be synced: %s; what was written since the last sync is fetched "
		  "again",
		t->meta->name, strerror(-error));
	for (uint32_t n = bits_next_set(lost, 0); n < lost->n; n = bits_next_set(lost, n + 1)) {
		if (bits_get(&t->zero, n) || !layout_block_len(&t->layout, n / bpp, n % bpp))
			continue;
		picker_lose(&t->picker, n / bpp, n % bpp);
	}
	t->store_bad++;
	t->complete_told = false;
	on_write_error(t, error);
	torrent_check_complete(t);
	ask_soon(t);
}

void verify_suspect(struct torrent *t, uint64_t offset, size_t len)
{
	uint32_t first, n, bpp = t->layout.blocks_per_piece;
	layout_blocks(&t->layout, offset, len, &first, &n);
	log_error("%s: the store could not be read at %llu; that part is fetched again", t->meta->name,
		(unsigned long long)offset);
	for (uint32_t k = first; k < first + n; k++) {
		if (bits_get(&t->zero, k) || !bits_get(&t->have, k) ||
			!layout_block_len(&t->layout, k / bpp, k % bpp))
			continue;
		picker_lose(&t->picker, k / bpp, k % bpp);
		if (t->resume)
			resume_drop(t->resume, k);
	}
	t->store_bad++;
	t->demands_open = true;
	t->complete_told = false;
	torrent_check_complete(t);
	ask_soon(t);
}

/* -- what a store holds ------------------------------------------------------------------------- */

bool verify_hole(const struct torrent *t, uint64_t offset, size_t len)
{
	if (t->was_empty)
		return true; /* and since then only what is not zeros was written */
	struct store_part p = store_parts(t->meta, offset, len);
	while (store_part_next(t->meta, &p)) {
		if (p.file == STORE_PADDING)
			continue;
		int fd = t->store->ops->fd(t->store, p.file);
		off_t at = fd < 0 ? 0 : lseek(fd, (off_t)p.at, SEEK_DATA);
		if (fd < 0 || (at < 0 && errno != ENXIO) ||
			(at >= 0 && (uint64_t)at < p.at + p.len))
			return false;
	}
	return true;
}

/* Is there anything but hole where the piece lies? */
static bool has_data(const struct torrent *t, uint32_t piece)
{
	return !verify_hole(t, layout_offset(&t->layout, piece, 0),
		layout_piece_len(&t->layout, piece));
}

/* What must be zeros is there already where the store has a hole.  It may have something else: a file
 * that lay where `get` was told to put its own, or one that somebody wrote to. */
void verify_zeros(struct torrent *t)
{
	if (t->where == TORRENT_IN_PLACE)
		return; /* there the file decides */
	t->was_empty = t->store->ops->used(t->store) == 0;
	for (uint32_t piece = 0; piece < t->layout.n_pieces; piece++) {
		if (!verify_is_zero(&t->layout, piece) || has_data(t, piece))
			continue;
		uint32_t n = layout_piece_blocks(&t->layout, piece);
		for (uint32_t i = 0; i < n; i++) {
			bits_set(&t->zero, block_number(t, piece, i));
			picker_found(&t->picker, piece, i);
		}
		t->zero_bytes += layout_piece_len(&t->layout, piece);
	}
}

static void claim(struct torrent *t, uint32_t piece)
{
	if (bits_set(&t->claimed, piece)) {
		bits_set(&t->picker.reserved, piece);
		t->n_claimed++;
	}
}

/* In place, all is claimed but holes where zeros are expected, which are plain to see. */
static void open_in_place(struct torrent *t)
{
	t->hashed = t->check_all = true;
	for (uint32_t piece = 0; piece < t->layout.n_pieces; piece++) {
		if (!verify_is_zero(&t->layout, piece) || has_data(t, piece)) {
			claim(t, piece);
			continue;
		}
		for (uint32_t i = 0; i < layout_piece_blocks(&t->layout, piece); i++)
			picker_found(&t->picker, piece, i);
	}
}

void verify_open(struct torrent *t, enum torrent_verify how)
{
	bits_init(&t->claimed, t->layout.n_pieces);
	t->hashed = true;
	if (t->where == TORRENT_IN_MEMORY)
		return;
	if (t->where == TORRENT_IN_PLACE) {
		open_in_place(t);
		return;
	}
	struct record record = {0};
	const char *why = NULL;
	enum resume_trust trust = resume_load(t->store, &t->layout, &record, &why);
	if (why && t->store->ops->used(t->store))
		log_info("%s: %s; what is there is hashed", t->meta->name, why);
	bool take = (trust == RESUME_CLEAN && (how == VERIFY_AUTO || how == VERIFY_TRUST)) ||
		(trust == RESUME_UNCLEAN && how == VERIFY_TRUST);
	bool win_back = trust != RESUME_CLEAN && t->store->ops->used(t->store);
	t->check_all = how != VERIFY_LAZY;
	uint32_t bpp = t->layout.blocks_per_piece;
	for (uint32_t piece = 0; piece < t->layout.n_pieces; piece++) {
		uint32_t n = layout_piece_blocks(&t->layout, piece), recorded = 0;
		for (uint32_t i = 0; record.have.n && i < n; i++) {
			if (!bits_get(&record.have, piece * bpp + i) || bits_get(&t->zero, piece * bpp + i))
				continue;
			recorded++;
			if (take)
				picker_found(&t->picker, piece, i);
		}
		t->hashed = t->hashed && !(take && recorded);
		bool zero = n && bits_get(&t->zero, piece * bpp);
		if ((recorded && !take) || (!recorded && win_back && !zero && has_data(t, piece)))
			claim(t, piece);
	}
	leaves_load(t, record.extra, record.extra_len);
	record_done(&record);
}

static void on_check_done(struct work *work)
{
	struct verify_job *j = container_of(work, struct verify_job, work);
	struct torrent *t = j->owner;
	bool complete = false;
	t->jobs--;
	t->checking--;
	bits_clear(&t->picker.reserved, j->piece);
	for (uint32_t k = 0; k < j->n; k++) {
		uint32_t i = j->blocks[k].i;
		if (!j->blocks[k].good)
			continue;
		if (t->resume)
			resume_on_written(t->resume, block_number(t, j->piece, i), j->blocks[k].len);
		complete |= picker_found(&t->picker, j->piece, i);
	}
	struct piece *w = picker_piece(&t->picker, j->piece);
	if (w) {
		w->jobs--;
		picker_tidy(&t->picker, w);
	}
	if (complete)
		torrent_on_piece(t, j->piece);
	t->demands_open = true;
	read_on_block(t, j->piece);
	verify_free(j);
	if (!t->stopping)
		verify_check_more(t);
	ask_soon(t);
}

void verify_check_piece(struct torrent *t, uint32_t piece, bool urgent)
{
	if (!t->claimed.n || !bits_clear(&t->claimed, piece))
		return;
	t->n_claimed--;
	t->checking++;
	struct piece *w = picker_piece(&t->picker, piece);
	uint32_t n = layout_piece_blocks(&t->layout, piece);
	bool leaves = w && w->runs_known == piece_runs(w);
	struct verify_job *j = new_job(t, piece, leaves ? VERIFY_BLOCKS : VERIFY_PIECE, n, on_check_done);
	if (w)
		w->jobs++;
	for (uint32_t i = 0; i < n; i++)
		j->blocks[j->n++] = (struct verify_block) {
			.i = i,
			.len = layout_block_len(&t->layout, piece, i),
			.leaf = leaves ? piece_leaf(w, i) : NULL,
		};
	if (urgent)
		work_post_urgent(t->parts->pool, &j->work);
	else
		work_post(t->parts->pool, &j->work);
}

void verify_check_more(struct torrent *t)
{
	/* LAZY: what nobody reads is looked at once nothing else is left to do. */
	bool rest = t->picker.pieces.set + t->n_claimed + t->checking == t->layout.n_pieces;
	unsigned jobs = t->check_all ? CHECK_JOBS : rest ? 1 : 0;
	while (t->n_claimed && t->checking < jobs) {
		/* Bits are only ever cleared: what lies before the last one found is done. */
		t->check_from = bits_next_set(&t->claimed, t->check_from);
		verify_check_piece(t, t->check_from, false);
	}
}
