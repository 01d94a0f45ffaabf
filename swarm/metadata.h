/* SPDX-License-Identifier: MIT */
/* The info dictionary of a magnet link, as peers give it (BEP 9).
 *
 * Pure; `now` is monotonic, microseconds.  Only the whole can be checked, against the link's
 * info-hashes, and a peer tells nothing but its size beforehand, which may be a lie too.  So each
 * try is of one peer alone, in a buffer of its own: a wrong whole convicts who gave it, and costs
 * the others nothing.  METADATA_TRIES go on at once, one of a host (IP address), their buffers
 * TORRENT_MAX_BYTES together; who comes first is tried first.  What is fetched more than once so is
 * small.
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

struct addr;
struct ext_metadata;
struct magnet;
struct metadata;

/* What the whole must hash to; NULL for a version that the link does not name. */
struct metadata *metadata_new(const uint8_t v1[SHA1_LEN], const uint8_t v2[SHA256_LEN]);
void metadata_free(struct metadata *m); /* NULL is fine */

/* A peer has metadata of `size` bytes, it says; it is tried when its turn comes.  NULL, or why not
 * (static). */
const char *metadata_add(struct metadata *m, uint32_t peer, const struct addr *host, uint64_t size);
/* It is gone, or refuses: its try is over.  Unknown ones are fine. */
void metadata_remove(struct metadata *m, uint32_t peer);

/* Whom to ask for which piece now, which counts as asked; false: nobody for anything. */
bool metadata_next(struct metadata *m, uint64_t now, uint32_t *ret_peer, uint32_t *ret_piece);
/* A piece has come (EXT_METADATA_DATA).  0, also for one that was not asked for; or with a static
 * reason -EINVAL, the message cannot be right, or -EBADMSG, it gave a whole that is not the link's;
 * it was removed. */
int metadata_take(struct metadata *m, uint32_t peer, const struct ext_metadata *d, uint64_t now,
	const char **ret_why);
/* A peer that makes room, and why (static); 0: none.  It was asked and has given nothing for
 * METADATA_PATIENCE_MS; or, where other peers wait (here, or `others`), it takes METADATA_TRY_MS
 * and half of the time that all tries have taken: of slow ones each has longer than the last. */
uint32_t metadata_overdue(
	const struct metadata *m, bool others, uint64_t now, const char **ret_why);

/* All of it, checked; NULL while it is not whole. */
const uint8_t *metadata_whole(const struct metadata *m, size_t *ret_len);
/* Of the try that has come farthest: pieces that are here, and pieces in all; and how many peers
 * are tried (0: nobody). */
void metadata_progress(
	const struct metadata *m, uint32_t *ret_got, uint32_t *ret_pieces, uint32_t *ret_peers);

/* Writes the .torrent of a link: its trackers, one a tier, and its web seeds around the info
 * dictionary. */
void metadata_write(struct buf *b, const struct magnet *link, const uint8_t *info, size_t info_len);

#endif
