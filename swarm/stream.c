/* SPDX-License-Identifier: MIT */
/* See stream.h. */
#include "swarm/stream.h"

#include "base/mem.h"

#include <stdbool.h>

static bool continues(const struct stream *s, uint32_t file, uint64_t offset)
{
	uint64_t slack = MAX((uint64_t)STREAM_SLACK, s->window / 4);
	return s->used && s->file == file && offset + slack >= s->end && offset <= s->end + slack;
}

static void advance(struct stream *s, uint64_t offset, uint64_t len)
{
	/* Only progress counts: reading the same place again tells nothing of what comes. */
	if (offset + len <= s->end)
		return;
	s->end = offset + len;
	uint64_t window = s->window ? 2 * s->window : STREAM_MIN;
	s->window = MIN(window, (uint64_t)STREAM_MAX);
}

struct stream *streams_on_read(struct streams *s, uint32_t file, uint64_t offset, uint64_t len)
{
	struct stream *oldest = &s->all[0];
	for (int i = 0; i < STREAMS; i++) {
		struct stream *one = &s->all[i];
		if (continues(one, file, offset)) {
			one->used = ++s->count;
			advance(one, offset, len);
			return one;
		}
		if (one->used < oldest->used)
			oldest = one;
	}
	*oldest = (struct stream) {.end = offset + len, .used = ++s->count, .file = file};
	return oldest;
}
