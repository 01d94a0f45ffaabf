// SPDX-License-Identifier: MIT
/* Boot profiles as a file, a .torrent or a store may hold them.
 *
 * There is one way to write a profile: what parses must be written as the same bytes.  Merged with
 * itself reversed it must gain nothing.
 */
#include "base/limits.h"
#include "swarm/profile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct profile *p;
	char *why = NULL;

	if (profile_parse(data, size, &p, &why) < 0) {
		if (!why)
			abort();
		free(why);
		return 0;
	}
	struct buf b = {0};
	profile_write(p, &b);
	if (b.len != size || memcmp(buf_bytes(&b), data, size) || p->n > PROFILE_MAX_RANGES)
		abort();
	buf_done(&b);

	struct profile *reversed = profile_new(p->size, p->torrent);
	for (size_t i = p->n; i-- > 0;)
		profile_add(reversed, p->ranges[i].offset, p->ranges[i].length);
	uint64_t bytes = profile_bytes(p);
	if (bytes > p->size || profile_merge(reversed, p) < 0 || profile_bytes(reversed) != bytes)
		abort();
	profile_free(reversed);
	profile_free(p);
	return 0;
}
