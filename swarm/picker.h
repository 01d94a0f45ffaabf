/* SPDX-License-Identifier: MIT */
/* The blocks on their way, and which one to ask a peer for next.
 *
 * Pure: no sockets, no files, no clock; randomness comes from the seed of picker_new.  A piece in
 * work (anything of it asked for or held) is a struct piece; all others are just bits.
 *
 *	MISSING  nobody was asked
 *	ASKED    `askers` sources were asked (more than one: a hedge, or the end game)
 *	GOT      its bytes are in memory, not verified
 *	GOOD     verified, in memory, not yet in the store: reads are answered from here
 *	HAVE     in the store, the bit is set
 *
 *	MISSING -> ASKED -> GOT -> GOOD -> HAVE
 *	ASKED -> MISSING  choke, reject, cancel, time-out, closed: when no asker is left
 *	GOT -> MISSING    a bad hash
 *	GOOD -> MISSING   given up while the disk is full
 *	HAVE -> MISSING   lost on disk
 *
 * picker_check asserts that the counts agree with the states.
 *
 * Background order: pieces in work first (a piece is worth something only whole), those that reads
 * wanted before others and the latest first, each from where it was read on; then the rarest
 * of PICKER_SAMPLE missing pieces from a random place on: exact for the end of a download, near
 * enough before, and nothing has to be kept sorted for millions of pieces.
 *
 * Thread: loop.
 */
#ifndef SWARM_PICKER_H
#define SWARM_PICKER_H

#include "base/bits.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct layout;

enum block_state { BLOCK_MISSING, BLOCK_ASKED, BLOCK_GOT, BLOCK_GOOD, BLOCK_HAVE, BLOCK_STATES };

struct block {
	uint8_t state, askers;
	bool busy;     /* a worker reads `data` */
	uint32_t from; /* number of the source that gave it */
	uint8_t *data; /* owned, of GOT and GOOD */
};

/* Leaf hashes (BEP 52) are asked for and kept in runs of so many: half a KiB, with the uncles that lead
 * from there to the piece's root. */
#define LEAF_RUN 16u

enum leaf_state { LEAVES_UNKNOWN, LEAVES_ASKED, LEAVES_KNOWN, LEAVES_NOWHERE };

struct leaf_run {
	enum leaf_state state;
	bool needed;     /* for a block that was asked for; else it goes along, and is worth no second try */
	unsigned tries;  /* how many refused */
	uint32_t from;   /* the source that was asked */
	uint64_t at;     /* when it was, or when they were found nowhere */
	uint8_t *hashes; /* owned, of KNOWN: the leaves, then the uncles */
};

struct piece {
	uint32_t index, n_blocks;
	uint32_t count[BLOCK_STATES];
	uint32_t jobs;           /* workers that look at it: it is not freed meanwhile */
	struct leaf_run *runs;   /* owned: one for each LEAF_RUN blocks, or NULL: none is known or asked for */
	uint32_t runs_asked, runs_known, runs_nowhere;
	struct hasher *sha1;     /* owned, of v1: of its first `hashed` blocks; NULL: of none */
	uint32_t hashed;
	uint32_t from;           /* where filling goes on: behind the last demand */
	bool bad;                /* found wrong as a whole: its leaves are to tell who lied */
	bool whole;              /* its blocks cannot be verified alone, or not all: a read needs all of it */
	struct piece *prev, *next;
	struct block blocks[];
};

#define PICKER_SAMPLE 256

struct picker {
	const struct layout *layout; /* borrowed */
	struct bits *have;           /* borrowed: blocks in the store; only the picker sets and clears */
	struct bits pieces;          /* pieces of which all blocks are HAVE */
	struct bits reserved;        /* pieces not to be fetched: they are being checked in the store */
	struct piece **work;         /* owned: by piece index, NULL when not in work */
	struct piece *head, *tail;   /* those in work: lately demanded, then oldest first */
	uint16_t *rarity;            /* how many peers have a piece, seeds not counted */
	uint32_t n_work;
	uint64_t held;               /* bytes in memory, GOT and GOOD */
	uint64_t seed;
};

int picker_init(struct picker *p, const struct layout *l, struct bits *have, uint64_t seed);
void picker_done(struct picker *p);
void picker_check(const struct picker *p);

static inline struct piece *picker_piece(const struct picker *p, uint32_t index)
{
	return p->work[index];
}
/* The leaf hash of its block `i`; NULL when it is not known. */
static inline const uint8_t *piece_leaf(const struct piece *w, uint32_t i)
{
	const struct leaf_run *r = w->runs ? &w->runs[i / LEAF_RUN] : NULL;
	return r && r->hashes ? r->hashes + (size_t)SHA256_LEN * (i % LEAF_RUN) : NULL;
}
static inline uint32_t piece_runs(const struct piece *w)
{
	return (w->n_blocks + LEAF_RUN - 1) / LEAF_RUN;
}
/* Puts a piece into work (or finds it there). */
struct piece *picker_open(struct picker *p, uint32_t index);
/* A read wants block `i` of it: filling goes on behind that, before any other piece, since what lies
 * near a read is the likeliest to be read next. */
void picker_touch(struct picker *p, struct piece *w, uint32_t i);
/* Takes a piece out of work when nothing of it is under way any more. */
void picker_tidy(struct picker *p, struct piece *w);
enum block_state picker_state(const struct picker *p, uint32_t piece, uint32_t i);

void picker_on_asked(struct picker *p, uint32_t piece, uint32_t i);
/* One asker less (it will not come from there). True when it is MISSING now. */
bool picker_on_unasked(struct picker *p, uint32_t piece, uint32_t i);
/* Its bytes came (malloc'd; taken when true).  False: not wanted, it is GOT, GOOD or HAVE. */
bool picker_on_got(struct picker *p, uint32_t piece, uint32_t i, uint8_t *data, uint32_t from);
void picker_on_good(struct picker *p, struct piece *w, uint32_t i);
void picker_on_bad(struct picker *p, struct piece *w, uint32_t i);
/* It is in the store.  True when that makes the piece complete (the caller then picker_tidy's). */
bool picker_on_stored(struct picker *p, struct piece *w, uint32_t i);
/* GOOD -> MISSING. */
void picker_give_up(struct picker *p, struct piece *w, uint32_t i);
/* HAVE -> MISSING. */
void picker_lose(struct picker *p, uint32_t piece, uint32_t i);
/* MISSING -> HAVE without bytes: known zero, found good in the store.  True: piece complete. */
bool picker_found(struct picker *p, uint32_t piece, uint32_t i);

void picker_on_has(struct picker *p, uint32_t piece);             /* a peer that is no seed */
void picker_on_has_all_of(struct picker *p, const struct bits *b, int delta); /* its bits come, go */

/* The next MISSING block to fill from a source that has `has` (NULL: everything); false when there is none.  New pieces
 * are opened only when `may_open`. */
bool picker_next(struct picker *p, const struct bits *has, bool may_open, uint32_t *ret_piece,
	uint32_t *ret_block);
/* The end game: a block that is ASKED once, of a piece that `has` has, and for which mine(arg, piece,
 * block) is false (the source was not asked for it itself). */
bool picker_next_twice(struct picker *p, const struct bits *has,
	bool (*mine)(void *arg, uint32_t piece, uint32_t block), void *arg, uint32_t *ret_piece,
	uint32_t *ret_block);
/* Nothing is MISSING any more (but for what is being checked)? */
bool picker_all_asked(const struct picker *p);

#endif
