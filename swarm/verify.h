/* SPDX-License-Identifier: MIT */
/* Hashing and writing a piece, or blocks of one, on a worker.
 *
 * A job looks at some blocks of one piece.  Blocks without data in memory are read from the store
 * (those had already, when the piece is verified as a whole; all of them, when a store is checked).
 *
 *	VERIFY_BLOCKS  each block against its leaf hash (BEP 52)
 *	VERIFY_PIECE   all blocks together: SHA-1 (v1), or the root of their leaf hashes (v2, hybrid)
 *	VERIFY_AHEAD   nothing yet: takes the SHA-1 of a v1 piece that is not whole further by them, so that
 *	               little is left to hash when its last block comes
 *	VERIFY_WRITE   nothing: they are good; write them
 *
 * Good blocks are then written, when `write` is set.  The job owns no data: the blocks are the
 * picker's, which keeps them while they are busy.
 *
 * Thread: made and read on the loop, run on a worker.
 */
#ifndef SWARM_VERIFY_H
#define SWARM_VERIFY_H

#include "base/hash.h"
#include "base/work.h"

#include <stdbool.h>
#include <stdint.h>

struct layout;
struct store;

enum verify_what { VERIFY_BLOCKS, VERIFY_PIECE, VERIFY_AHEAD, VERIFY_WRITE };

struct verify_block {
	uint32_t i, len;
	const uint8_t *data; /* borrowed; NULL: in the store */
	const uint8_t *leaf; /* VERIFY_BLOCKS: what it must hash to, borrowed */
	bool good, written;
};

struct verify_job {
	struct work work;
	void *owner;             /* of the done function */
	struct store *store;
	const struct layout *layout;
	uint32_t piece;
	enum verify_what what;
	bool write;
	struct hasher *sha1;     /* AHEAD, and PIECE of v1 (or NULL): of its first `hashed` blocks; borrowed */
	uint32_t hashed;
	int read_error, write_error;
	uint32_t n;
	struct verify_block blocks[];
};

struct verify_job *verify_new(uint32_t n, void (*done)(struct work *w), void *owner);
void verify_free(struct verify_job *j);

/* What a v2 piece's root must be: a hash of its file's piece layer, or the file's root. */
const uint8_t *verify_piece_root(const struct layout *l, uint32_t piece, unsigned *ret_height);
/* Does the piece hash to its expected value if it is all zeros?  Cheap for all but a file's last
 * piece.  Thread: any. */
bool verify_is_zero(const struct layout *l, uint32_t piece);
/* The leaf hash of a block of `len` zeros. */
void verify_zero_leaf(uint32_t len, uint8_t ret[SHA256_LEN]);

#endif
