/* SPDX-License-Identifier: MIT */
/* What torrent_magnet.c and torrent_magnet_peers.c share; nobody else includes this.
 *
 * Thread: as torrent_magnet.h says.
 */
#ifndef SWARM_TORRENT_MAGNET_FETCH_H
#define SWARM_TORRENT_MAGNET_FETCH_H

#include "swarm/conn.h"
#include "swarm/layout.h"
#include "swarm/torrent.h"
#include "swarm/torrent_magnet.h"

struct announcer;
struct layers;
struct metadata;
struct peers;

struct magnet_fetch {
	struct swarm_parts *parts;
	const struct magnet *link;
	const struct metainfo *known; /* the torrent, without layers; or NULL */
	struct conn_env env;
	struct layout layout; /* of no pieces: none is known */
	unsigned max_conns;

	uint8_t hashes[2][SHA1_LEN]; /* the wire's; v1's first, if there is one */
	unsigned n_hashes;
	bool v2; /* it has a v2 hash, the last of them */

	struct peers *peers;
	struct announcer *announcer;
	struct conn *conns;
	unsigned n_conns[2]; /* those that we began, and those that came to us: max_conns each */
	char trouble[200]; /* of the last peer that was of no use */

	struct metadata *metadata;
	struct metainfo *bare; /* owned: the info dictionary alone; NULL in INFO */
	struct layers *layers; /* owned; NULL in INFO */
	bool anew; /* connections without v2 are being closed */

	struct event *tick, *signal_event;
	uint64_t since, deadline, told_at; /* us; deadline 0: none */
	uint64_t layers_at; /* us: when LAYERS began, or a layer came */
	char told[300];
	bool done;
	int error;
	char *why; /* owned */
	struct metainfo *result; /* owned */
};

/* torrent_magnet.c */
/* The info dictionary is here, and hashes to what the link says. */
void magnet_fetch_on_info(struct magnet_fetch *f, const uint8_t *info, size_t len);
/* Makes the .torrent, which ends it. */
void magnet_fetch_build(struct magnet_fetch *f, bool with_layers);

/* torrent_magnet_peers.c */
extern const struct conn_ops magnet_peers_ops;
void magnet_peers_connect(struct magnet_fetch *f, uint64_t now); /* with those that are due */
void magnet_peers_want_layers(struct magnet_fetch *f); /* INFO is over */
void magnet_peers_tick(struct magnet_fetch *f, uint64_t now);
void magnet_peers_free(struct magnet_fetch *f); /* all connections */

#endif
