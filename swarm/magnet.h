/* SPDX-License-Identifier: MIT */
/* Magnet links (BEP 9, 53; v2 per BEP 52): to parts and back.
 *
 * Thread: any (pure).
 */
#ifndef SWARM_MAGNET_H
#define SWARM_MAGNET_H

#include "base/addr.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct metainfo;

struct magnet {
	bool has_v1, has_v2;
	uint8_t hash_v1[SHA1_LEN], hash_v2[SHA256_LEN];
	char *name;       /* owned or NULL ("dn") */
	char **trackers;  /* owned, NULL-terminated ("tr") */
	char **web_seeds; /* owned, NULL-terminated ("ws") */
	struct addr *peers; /* owned ("x.pe", numeric ones) */
	size_t n_peers;
};

/* 0, or -EINVAL with a static reason. */
int magnet_parse(const char *uri, struct magnet *ret, const char **ret_why);
void magnet_done(struct magnet *m);
/* The link of a torrent; malloc'd. */
char *magnet_of(const struct metainfo *m);

#endif
