/* SPDX-License-Identifier: MIT */
/* The peers of a torrent as bytes, for a row of the state.
 *
 * A peer is: flags (1 byte), compact address (6 or 18), peer id (20), told and life (2 each).
 *
 * Pure.  Thread: any.
 */
#ifndef TRACKER_STATE_ROW_H
#define TRACKER_STATE_ROW_H

#include "base/buf.h"
#include "tracker/table.h"

void state_row_pack(const struct swarm *w, struct buf *out);
/* Calls fn for each peer; -EINVAL when the bytes are no row (then fn was called for those before). */
int state_row_unpack(const uint8_t *data, size_t len,
	void (*fn)(void *arg, const struct table_peer *peer), void *arg);

#endif
