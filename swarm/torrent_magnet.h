/* SPDX-License-Identifier: MIT */
/* A torrent of which only the link is known, or which lacks its piece layers: finds its peers, fetches
 * what is missing.
 *
 * Comes before the torrent: the engine never sees one without metadata.  Peers are those of
 * config->peers and config->trackers (which a link's own were added to), and who connects to us.
 * The info dictionary comes by BEP 9, the piece layers of a v2 or hybrid torrent by BEP 52's hash
 * requests; the result is the .torrent, whole, or, where nobody gives a hybrid's layers, without them.
 *
 * Thread: the one that made the swarm, before swarm_start; it runs the loop meanwhile.
 */
#ifndef SWARM_TORRENT_MAGNET_H
#define SWARM_TORRENT_MAGNET_H

#include "base/addr.h"

#include <stddef.h>
#include <stdint.h>

struct magnet;
struct magnet_fetch;
struct metainfo;
struct peers;
struct swarm_parts;
struct torrent_config;

/* All arguments are borrowed for its life.  `known`: the torrent without its layers, or NULL. */
struct magnet_fetch *magnet_fetch_new(struct swarm_parts *parts, const struct magnet *link,
	const struct metainfo *known, const struct torrent_config *config);
/* Runs the loop until all is there, `timeout_ms` have passed (0: never), or SIGINT or SIGTERM
 * comes. 0; or -ETIMEDOUT, -EINTR, -EINVAL (nobody to ask, or what came can be no torrent), -errno
 * and *ret_why (malloc'd). */
int magnet_fetch_run(
	struct magnet_fetch *f, uint64_t timeout_ms, struct metainfo **ret, char **ret_why);
/* At the end: what it learned of peers; the caller's. */
struct peers *magnet_fetch_take_peers(struct magnet_fetch *f);
/* NULL is fine. */
void magnet_fetch_free(struct magnet_fetch *f);
/* Takes an accepted socket. */
void magnet_fetch_on_accepted(struct magnet_fetch *f, int fd, const struct addr *peer);

#endif
