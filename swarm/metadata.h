/* SPDX-License-Identifier: MIT */
/* The info dictionary of a magnet link, put together from what peers give (BEP 9).
 *
 * Pure; `now` is monotonic, microseconds.  Only the whole can be checked, against the link's
 * info-hashes, and a peer tells nothing but its size beforehand.  So the size that most peers tell
 * is believed, and pieces are taken from all of those at once; if the whole is wrong, from one
 * after the other, so that who lies is known.  One buffer, of TORRENT_MAX_BYTES at most.
 *
 * Peers are named by numbers other than 0.
 *
 * Thread: any.
 */
#ifndef SWARM_METADATA_H
#define SWARM_METADATA_H

#include "base/buf.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METADATA_PIECE 16384u /* BEP 9 */

struct ext_metadata;
struct magnet;
struct metadata;

/* What the whole must hash to; NULL for a version that the link does not name. */
struct metadata *metadata_new(const uint8_t v1[SHA1_LEN], const uint8_t v2[SHA256_LEN]);
void metadata_free(struct metadata *m); /* NULL is fine */

/* A peer has metadata of `size` bytes, it says; it is asked from now on.  NULL, or why not
 * (static). */
const char *metadata_add(struct metadata *m, uint32_t peer, uint64_t size);
/* It is gone, or refuses: what it was asked for is asked of others.  Unknown ones are fine. */
void metadata_remove(struct metadata *m, uint32_t peer);

/* The piece to ask `peer` for now, which counts as asked; false: none. */
bool metadata_next(struct metadata *m, uint32_t peer, uint64_t now, uint32_t *ret_piece);
/* A piece has come (EXT_METADATA_DATA).  0, also for one that nobody waits for any more; or with a
 * static reason -EINVAL, the message cannot be right, or -EBADMSG, this peer alone gave all of what
 * is not the link's; it was removed. */
int metadata_take(struct metadata *m, uint32_t peer, const struct ext_metadata *d, uint64_t now,
	const char **ret_why);
/* A peer that was asked and has given nothing for METADATA_PATIENCE_MS; 0: none. */
uint32_t metadata_overdue(const struct metadata *m, uint64_t now);

/* All of it, checked; NULL while it is not whole. */
const uint8_t *metadata_whole(const struct metadata *m, size_t *ret_len);
/* Pieces that are here, pieces in all (0: no peer has told a size), and peers that are asked. */
void metadata_progress(
	const struct metadata *m, uint32_t *ret_got, uint32_t *ret_pieces, uint32_t *ret_peers);

/* Writes the .torrent of a link: its trackers, one a tier, and its web seeds around the info
 * dictionary; `layers` is the bencoded "piece layers", or empty. */
void metadata_write(struct buf *b, const struct magnet *link, const uint8_t *info, size_t info_len,
	const struct buf *layers);

#endif
