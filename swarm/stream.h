/* SPDX-License-Identifier: MIT */
/* Sequential readers, told from random ones.
 *
 * Pure.  Many at once on one torrent: a guest reads interleaved, qemu-img convert has a dozen reads
 * under way.  A read that begins near where a stream ended continues it; the window, how far behind it
 * is worth fetching, is what was read in sequence so far, between STREAM_MIN and STREAM_MAX: it
 * doubles with each time that it is read through.  Reading backward makes a stream too.
 *
 * A first read alone predicts nothing, unless reads have been continued often of late (`locality`):
 * then it gets STREAM_MIN at once.  A boot has such locality, random reads do not; replaying the boot of
 * a Debian template over 100 Mbit/s and 20 ms, that halves the waits and fetches a quarter more than
 * is read, while random reads fetch nothing that is not asked for.
 *
 * The least recently used of STREAMS makes room.
 *
 * Thread: loop.
 */
#ifndef SWARM_STREAM_H
#define SWARM_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#define STREAMS 32
#define STREAM_SLACK (128u << 10)     /* a reader skips a little, or comes out of order */
#define STREAM_BACK_SLACK (16u << 10)
#define STREAM_MIN (128u << 10)
#define STREAM_MAX (16u << 20)

struct stream {
	uint64_t begin, end; /* of what was read in sequence, in the linear space */
	uint64_t window;     /* bytes worth fetching beyond it */
	uint64_t ahead;      /* the caller's: how far it has asked (0: not at all) */
	uint64_t used;       /* when, by streams.count; 0: free */
	uint32_t file;
	bool backward, continued;
	bool unread;         /* the caller's: no reader began it, it is a guess */
};

struct streams {
	struct stream all[STREAMS];
	uint64_t count;
	unsigned locality; /* 0..1000: how many of the last new streams were continued */
};

/* A read of [offset, offset + len) in `file`; gives the stream that it belongs to. */
struct stream *streams_on_read(struct streams *s, uint32_t file, uint64_t offset, uint64_t len);
/* What is worth fetching: [*ret_from, *ret_to) of the linear space; empty when equal. */
void stream_window(const struct stream *s, uint64_t *ret_from, uint64_t *ret_to);

#endif
