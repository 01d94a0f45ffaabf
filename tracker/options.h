/* SPDX-License-Identifier: MIT */
/* The options of `p2pfs tracker`.
 *
 * Thread: the main one.
 */
#ifndef TRACKER_OPTIONS_H
#define TRACKER_OPTIONS_H

#include "base/addr.h"
#include "tracker/lists.h"
#include "tracker/pace.h"

#include <stdbool.h>
#include <stdint.h>

#define TRACKER_PORT 6969
#define MAX_LISTEN 16u

struct options {
	struct addr listen[MAX_LISTEN]; /* as bound, once they are */
	unsigned n_listen;
	int ready_fd;
	struct lists_paths lists;
	struct pace pace;
	uint64_t numwant, rate, max_torrents, max_peers, max_swarm;
	uint64_t max_connections, max_per_address;
	bool allow_ip, full_scrape, have_control;
	struct addr control;
	const char *warning, *state, *cluster, *cluster_secret, *control_token, *tls_cert, *tls_key;
	const char *log;
};

/* -1 to go on, or the exit status. */
int options_parse(int argc, char **argv, struct options *o);

#endif
