/* SPDX-License-Identifier: MIT */
/* A torrent of which only the link is known: finds its peers, fetches its metadata.
 *
 * Comes before the torrent: the engine never sees one without metadata.  Peers are those of
 * config->peers and config->trackers (which a link's own were added to), and who connects to us.
 * The info dictionary comes by BEP 9, the piece layers of a v2 or hybrid torrent by BEP 52's hash
 * requests; the result is the .torrent, whole.
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
struct swarm_parts;
struct torrent_config;

/* All arguments are borrowed for its life. */
struct magnet_fetch *magnet_fetch_new(
	struct swarm_parts *parts, const struct magnet *link, const struct torrent_config *config);
/* Runs the loop until all is there, `timeout_ms` have passed (0: never), or SIGINT or SIGTERM
 * comes. 0; or -ETIMEDOUT, -EINTR, -EINVAL (nobody to ask, or what came can be no torrent), -errno
 * and *ret_why (malloc'd). */
int magnet_fetch_run(
	struct magnet_fetch *f, uint64_t timeout_ms, struct metainfo **ret, char **ret_why);
/* The peers that it was connected with at the end, `max` at most; gives their number. */
size_t magnet_fetch_peers(const struct magnet_fetch *f, struct addr *ret, size_t max);
/* NULL is fine. */
void magnet_fetch_free(struct magnet_fetch *f);
/* Takes an accepted socket. */
void magnet_fetch_on_accepted(struct magnet_fetch *f, int fd, const struct addr *peer);

#endif
