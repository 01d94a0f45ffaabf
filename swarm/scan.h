/* SPDX-License-Identifier: MIT */
/* Hashes files where they lie, piece by piece, on several threads: for `create` and `verify`.
 *
 * Each byte is read once, whatever is made of it: SHA-1 of the piece, SHA-256 of its blocks, or
 * both. Holes are not read (SEEK_DATA), and whole pieces of zeros are not hashed: what they hash to
 * is known. A thread holds SCAN_CHUNK bytes of data at a time, however long a piece is.
 *
 * Thread: the caller's waits and reports; the others are scan_run's own.
 */
#ifndef SWARM_SCAN_H
#define SWARM_SCAN_H

#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCAN_CHUNK (1u << 20)
#define SCAN_MAX_THREADS 64u

struct scan_file {
	const char *path; /* borrowed; relative to scan.dir */
	uint64_t offset, length; /* in the linear space (metainfo.h), sorted by offset */
	int error; /* result: 0, or the -errno of opening or reading it; -ENODATA: too short */
};

struct scan {
	int dir; /* a folder, or AT_FDCWD */
	struct scan_file *files; /* borrowed */
	uint32_t n_files;
	uint32_t piece_length, n_pieces;
	uint64_t space; /* bytes that SHA-1 covers; what lies in no file is zeros */
	bool keep_going; /* after a file's error; else the first one ends the scan */
	unsigned threads; /* 1..SCAN_MAX_THREADS */

	/* Results, each may be NULL: SHA-1 of each piece; SHA-256 of each piece as BEP 52's piece
	 * layer has it, or the "pieces root" for a file of one piece; whether a piece could be
	 * read. */
	uint8_t (*sha1s)[SHA1_LEN];
	uint8_t (*roots)[SHA256_LEN]; /* needs files that begin on pieces */
	bool *readable;

	/* Called now and then, on the caller's thread; may be NULL. */
	void (*progress)(void *arg, uint64_t done);
	void *arg;
};

/* The processors that this process may use, up to SCAN_MAX_THREADS. */
unsigned scan_default_threads(void);
/* 0; -errno of the first file with an error (which has it in .error) unless keep_going; -EAGAIN and
 * the like when no thread could be started. */
int scan_run(struct scan *s);

#endif
