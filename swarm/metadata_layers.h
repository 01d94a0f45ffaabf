/* SPDX-License-Identifier: MIT */
/* The piece layers of a v2 torrent, put together from what peers give (BEP 52, hash requests).
 *
 * Pure; `now` is monotonic, microseconds.  They stand outside the info dictionary, so a magnet link
 * comes without.  A request asks for up to HASHES_MAX_LENGTH hashes of a file's piece layer, with
 * the uncles up to the file's root: each answer proves itself, and who gives another one has lied.
 * A peer that refuses is asked again later, less and less often.  What a message costs does not
 * grow with the torrent.
 *
 * Peers are named by numbers other than 0.
 *
 * Thread: any.
 */
#ifndef SWARM_METADATA_LAYERS_H
#define SWARM_METADATA_LAYERS_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct layers;
struct metainfo;
struct wire_hashes;

/* Of a torrent of metainfo_parse_info, which must outlive it; NULL when they are more than a
 * .torrent may hold. */
struct layers *layers_new(const struct metainfo *m);
void layers_free(struct layers *l); /* NULL is fine */
bool layers_whole(const struct layers *l); /* nothing is missing; also when nothing ever was */

void layers_add(struct layers *l, uint32_t peer);
void layers_remove(struct layers *l, uint32_t peer); /* gone; unknown ones are fine */
/* What to ask `peer` for now (ret->root borrowed from the torrent), which counts as asked; false:
 * none. */
bool layers_next(struct layers *l, uint32_t peer, uint64_t now, struct wire_hashes *ret);
/* Hashes have come.  0, also for what the peer was not asked; -EBADMSG: they do not lead to the
 * root. */
int layers_take(struct layers *l, uint32_t peer, const struct wire_hashes *h, uint64_t now);
void layers_on_reject(struct layers *l, uint32_t peer, const struct wire_hashes *h, uint64_t now);
/* A peer that makes room, and why (static); 0: none.  It was asked and has given nothing for
 * METADATA_PATIENCE_MS; or has refused for as long, where `others` wait. */
uint32_t layers_overdue(const struct layers *l, bool others, uint64_t now, const char **ret_why);
void layers_progress(
	const struct layers *l, uint32_t *ret_got, uint32_t *ret_all, uint32_t *ret_peers);

/* Once whole: writes the .torrent `torrent`, which has none, with them added. */
void layers_write(const struct layers *l, const void *torrent, size_t len, struct buf *b);

#endif
