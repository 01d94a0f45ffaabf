/* SPDX-License-Identifier: MIT */
/* Peers of a torrent as bytes, for a row of the state.
 *
 * A peer is: flags (1 byte), compact address (6 or 18), peer id (20), told and life (2 each).
 *
 * Pure.  Thread: any.
 */
#ifndef TRACKER_STATE_ROW_H
#define TRACKER_STATE_ROW_H

#include "tracker/table.h"

#define STATE_PEER_MAX (1u + PEERSET_V6 + PEER_ID_LEN + 4u)
#define STATE_ROW_MAX (PEERSET_ROW * STATE_PEER_MAX)

/* One row of a set; how many bytes it is, 0 for a row that is no more. */
size_t state_row_pack(const struct peerset *s, enum kind kind, uint32_t row,
	uint8_t ret[STATE_ROW_MAX]);
/* Calls fn for each peer; -EINVAL when the bytes are no row (then fn was called for those before). */
int state_row_unpack(const uint8_t *data, size_t len,
	void (*fn)(void *arg, const struct table_peer *peer), void *arg);

#endif
