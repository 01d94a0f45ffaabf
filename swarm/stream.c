/* SPDX-License-Identifier: MIT */
/* See stream.h. */
#include "swarm/stream.h"

#include "base/mem.h"

/* The share of continued streams, of 1000, from which on a first read gets a window. */
#define LOCAL_ENOUGH 200
/* A continued stream moves the share by 1/16 towards 1000, a new one by 1/32 towards 0. */
#define MOVE_UP 16
#define MOVE_DOWN 32

static void grow(struct stream *s)
{
	uint64_t run = s->end - s->begin;
	s->window = run < STREAM_MIN ? STREAM_MIN : MIN(run, (uint64_t)STREAM_MAX);
}

/* Does the read go on where the stream is, and how?  It may also lie within it. */
static bool goes_on(struct stream *s, uint64_t offset, uint64_t end)
{
	uint64_t slack = MAX((uint64_t)STREAM_SLACK, s->window / 4);
	if (offset + slack >= s->end && offset <= s->end + slack) {
		if (end > s->end) {
			s->end = end;
			if (s->backward)
				s->ahead = 0;
			s->backward = false;
			grow(s);
		}
		return true;
	}
	if (end + STREAM_BACK_SLACK >= s->begin && end <= s->begin + STREAM_BACK_SLACK) {
		s->begin = offset;
		/* Once is chance; from the second time on it is a direction. */
		if (s->backward)
			grow(s);
		else
			s->ahead = s->window = 0;
		s->backward = true;
		return true;
	}
	return false;
}

struct stream *streams_on_read(struct streams *s, uint32_t file, uint64_t offset, uint64_t len)
{
	struct stream *oldest = &s->all[0];
	for (int i = 0; i < STREAMS; i++) {
		struct stream *one = &s->all[i];
		if (one->used && one->file == file && goes_on(one, offset, offset + len)) {
			if (!one->continued)
				s->locality += (1000 - s->locality) / MOVE_UP;
			one->continued = true;
			one->unread = false;
			one->used = ++s->count;
			return one;
		}
		if (one->used < oldest->used)
			oldest = one;
	}
	s->locality -= s->locality / MOVE_DOWN;
	*oldest = (struct stream) {
		.begin = offset,
		.end = offset + len,
		.window = s->locality >= LOCAL_ENOUGH ? STREAM_MIN : 0,
		.used = ++s->count,
		.file = file,
	};
	return oldest;
}

void stream_window(const struct stream *s, uint64_t *ret_from, uint64_t *ret_to)
{
	if (s->backward) {
		*ret_from = s->begin > s->window ? s->begin - s->window : 0;
		*ret_to = s->begin;
	} else {
		*ret_from = s->end;
		*ret_to = s->end + s->window;
	}
}
