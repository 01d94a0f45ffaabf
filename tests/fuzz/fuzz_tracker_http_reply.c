// SPDX-License-Identifier: MIT
/* Fuzzes the replies of HTTP trackers: what is taken from them keeps to its limits. */
#include "swarm/announce_one.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_text(const char *text, size_t most)
{
	size_t len = text ? strlen(text) : 0;

	must(len <= most);
	for (size_t i = 0; i < len; i++)
		must(text[i] >= 0x20 && text[i] <= 0x7e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct announce_reply r;
	const char *why = NULL;

	if (announce_http_parse(data, size, &r, &why) < 0) {
		must(why && *why);
		return 0;
	}
	must(r.n_peers <= TRACKER_MAX_PEERS);
	for (size_t i = 0; i < r.n_peers; i++)
		must(r.peers[i].port);
	check_text(r.failure, 4 * TRACKER_MAX_TEXT);
	check_text(r.warning, 4 * TRACKER_MAX_TEXT);
	check_text(r.tracker_id, 3 * TRACKER_MAX_ID);
	must(r.seeds >= -1 && r.leechers >= -1);
	must(r.retry_s >= -1 && r.retry_s <= TRACKER_MAX_RETRY_S);
	must(r.failure || !r.retry_s);
	announce_reply_done(&r);
	return 0;
}
