/* SPDX-License-Identifier: MIT */
/* Fuzz: rows of the tracker's state, and messages of its cluster.
 *
 * What unpacks packs to the same bytes again.
 */
#include "tracker/cluster_record.h"
#include "tracker/state_row.h"

#include "base/cleanup.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1000000u

static const uint8_t hash[HASH_LEN];

static void on_row(void *arg, const struct table_peer *peer)
{
	table_merge(arg, hash, peer, NOW);
}

static void on_message(struct table *t, struct cursor c)
{
	struct cluster_record r;
	for (const uint8_t *p = c.p; cluster_next(&c, &r) > 0; p = c.p) {
		CLEANUP(buf_done) struct buf again = {0};
		cluster_pack_record(&r, &again);
		assert(again.len == CLUSTER_RECORD_LEN && !memcmp(buf_bytes(&again), p, again.len));
		if (cluster_age(&r, 1500000000))
			table_merge(t, r.hash, &r.peer, NOW);
		table_forget(t, r.hash, &r.peer.addr, NOW);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct table_config config = {.max_torrents = 10, .max_peers = 1000, .max_swarm = 500,
		.pace = {5, 1800}};
	struct table *t = table_new(&config, NOW);
	state_row_unpack(data, size, on_row, t);
	on_message(t, cursor_on(data, size));
	table_check(t);
	table_free(t);
	return 0;
}
