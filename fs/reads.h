/* SPDX-License-Identifier: MIT */
/* Reads whose bytes are not here yet: they wait on the loop, not on a FUSE thread.
 *
 * A FUSE thread hands the request over and goes back.  On the loop the read is given to the engine;
 * whatever ends it (the bytes, a time-out, an interrupted reader, a stop) comes as the engine's one
 * completion, and that sends the one reply.
 *
 * Thread: as said.
 */
#ifndef FS_READS_H
#define FS_READS_H

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct swarm;
struct torrent;

/* Ranges that timed out a moment ago, for cached readers; see reads.c. */
#define READS_FAILED 16

struct reads {
	struct swarm *swarm; /* borrowed */
	struct torrent *torrent;
	uint64_t timeout_ms; /* 0: never */
	atomic_bool stopping;
	atomic_uint waiting;
	struct failed {
		uint64_t offset, end, until_us;
	} failed[READS_FAILED]; /* the loop's */
	unsigned next_failed;
};

void reads_init(struct reads *r, struct swarm *swarm, struct torrent *t, uint64_t timeout_ms);
/* Takes the request: it will be answered.  `offset` is of the torrent's linear space; len > 0.
 * cached: the page cache is asking.  Thread: any. */
void reads_wait(struct reads *r, fuse_req_t req, uint64_t offset, size_t len, bool cached);
/* From now on nothing waits: those that do are answered with ESHUTDOWN, as are those that come.
 * Thread: any. */
void reads_stop(struct reads *r);

#endif
