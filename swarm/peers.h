/* SPDX-License-Identifier: MIT */
/* The peers known of one torrent: whom to connect to next, whom never again.
 *
 * Pure; `now` is monotonic, microseconds.  Addresses come from trackers, from `peer=`, and from
 * incoming connections.  Failed ones back off (PEERS_BACKOFF_US doubling to 30 min; a named `peer=`
 * to 15 s at most, and it comes before all others that are due); so do those that leave within PEERS_BRIEF_US, useful or not.  When
 * PEERS_MAX_KNOWN is reached the oldest useless one is forgotten, and where all are good a new one
 * is not taken, unless it is named.  A ban is on the IP address, on proof only, and for the life of
 * the torrent (PEERS_MAX_BANNED of them; then the oldest ban ends).
 *
 * Thread: loop.
 */
#ifndef SWARM_PEERS_H
#define SWARM_PEERS_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEERS_BACKOFF_US 2000000ull
#define PEERS_BACKOFF_MAX_US 1800000000ull
#define PEERS_BACKOFF_NAMED_US 15000000ull
#define PEERS_BRIEF_US 10000000ull

struct peers;

enum peers_source { PEERS_FROM_TRACKER, PEERS_FROM_OPTION, PEERS_FROM_INCOMING };

struct peers *peers_new(void);
void peers_free(struct peers *p);
/* An address becomes known; false when it was, is banned, or is none to connect to (port 0,
 * multicast, any, link-local). */
bool peers_add(struct peers *p, const struct addr *a, enum peers_source source, uint64_t now);
/* The next address to connect to (named, least failures, longest untried first); false when none is
 * due.  It counts as connected from now on. */
bool peers_next(struct peers *p, uint64_t now, struct addr *ret);
bool peers_due(const struct peers *p, uint64_t now); /* would peers_next give one? */
/* An incoming connection from a peer that told its listening port: do not connect to it too. */
void peers_on_connected(struct peers *p, const struct addr *a, uint64_t now);
/* The connection ended; useful: it got through the handshake and was no failure.  never: do not
 * connect again (it is ourselves; or a seed and so are we). */
void peers_on_closed(struct peers *p, const struct addr *a, bool useful, bool never, uint64_t now);
/* We are no seed any more (the store lost something): all that was said by `never`, and all failures,
 * is forgotten. */
void peers_forgive(struct peers *p, uint64_t now);
void peers_ban(struct peers *p, const struct addr *a);
bool peers_banned(const struct peers *p, const struct addr *a);
/* What another table knows: its bans, and its peers, all of them due; those first that it counts as
 * connected, then those that have failed least. */
void peers_add_all(struct peers *p, const struct peers *from, uint64_t now);
size_t peers_known(const struct peers *p);
size_t peers_count_banned(const struct peers *p);

#endif
