/* SPDX-License-Identifier: MIT */
/* Sequential readers, told from random ones.
 *
 * Pure.  Many at once on one torrent: a guest reads interleaved, qemu-img convert reads in parallel
 * at 2 MiB strides.  A read that begins within STREAM_SLACK of where a stream ended continues it and
 * doubles its window, from STREAM_MIN up to STREAM_MAX; any other begins a new one, with no window:
 * one read alone predicts nothing.  The least recently used of STREAMS makes room.
 *
 * Thread: loop.
 */
#ifndef SWARM_STREAM_H
#define SWARM_STREAM_H

#include <stdint.h>

#define STREAMS 32
#define STREAM_SLACK (256u << 10)
#define STREAM_MIN (128u << 10)
#define STREAM_MAX (16u << 20)

struct stream {
	uint64_t end;    /* where the last read ended, in the linear space; 0: free */
	uint64_t window; /* bytes worth fetching behind `end` */
	uint64_t ahead;  /* the caller's: how far it has asked */
	uint64_t used;   /* a count, for the least recently used */
	uint32_t file;
};

struct streams {
	struct stream all[STREAMS];
	uint64_t count;
};

/* A read of [offset, offset + len) in `file`; gives the stream that it belongs to. */
struct stream *streams_on_read(struct streams *s, uint32_t file, uint64_t offset, uint64_t len);

#endif
