/* SPDX-License-Identifier: MIT */
/* What trackers of a cluster tell each other about a peer, as bytes.
 *
 * A message on the channel is: the sender (8 bytes), then records.  A record is: operation (1),
 * info-hash (20), address (16, IPv4 mapped) and port (2), then a value: flags (1), peer id (20),
 * told, life (2 each), seen (4, seconds since 1970: the trackers' clocks should agree to some
 * seconds).  Address and port are also a field of the torrent's hash in Redis, with that value.
 *
 * Pure.  Thread: any.
 */
#ifndef TRACKER_CLUSTER_RECORD_H
#define TRACKER_CLUSTER_RECORD_H

#include "base/buf.h"
#include "base/cursor.h"
#include "tracker/table.h"

#define CLUSTER_FIELD_LEN 18u
#define CLUSTER_VALUE_LEN 29u
#define CLUSTER_RECORD_LEN (1u + HASH_LEN + CLUSTER_FIELD_LEN + CLUSTER_VALUE_LEN)
#define CLUSTER_SENDER_LEN 8u

enum cluster_op { CLUSTER_PEER = 1, CLUSTER_STOPPED = 2, CLUSTER_DOWNLOADED = 3 };

struct cluster_record {
	uint8_t op;
	uint8_t hash[HASH_LEN];
	struct table_peer peer; /* meta.life: what was left of it at `seen` */
	uint32_t seen;          /* of CLUSTER_DOWNLOADED: the count */
};

void cluster_pack_field(const struct addr *a, uint8_t ret[CLUSTER_FIELD_LEN]);
void cluster_pack_value(const struct cluster_record *r, uint8_t ret[CLUSTER_VALUE_LEN]);
void cluster_pack_record(const struct cluster_record *r, struct buf *out);
/* From a field and a value of Redis; -EINVAL. */
int cluster_unpack(const void *field, size_t field_len, const void *value, size_t value_len,
	struct cluster_record *ret);
/* The next record of a message; -EINVAL when it is none, 0 at the end, 1. */
int cluster_next(struct cursor *c, struct cluster_record *ret);
/* Takes what has passed since `seen` from the life; false when nothing is left. */
bool cluster_age(struct cluster_record *r, uint32_t wall_now);

#endif
