// SPDX-License-Identifier: MIT
/* Fuzzes magnet links: strings that come out hold no control characters and keep the limits. */
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/mem.h"
#include "swarm/magnet.h"
#include "swarm/metainfo.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void check_urls(char **urls, size_t max)
{
	size_t n = 0;

	must(urls != NULL);
	for (; urls[n]; n++) {
		size_t len = strlen(urls[n]);
		must(len > 0 && len <= TORRENT_MAX_URL);
		for (size_t i = 0; i < len; i++)
			must((unsigned char)urls[n][i] > 0x20 && urls[n][i] != 0x7f);
	}
	must(n <= max);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP_FREE char *uri = xstrndup((const char *)data, size);
	struct magnet m;
	const char *why = NULL;

	if (magnet_parse(uri, &m, &why) < 0) {
		must(why != NULL);
		return 0;
	}
	must(m.has_v1 || m.has_v2);
	must(!m.name || !metainfo_name_problem(m.name, strlen(m.name)));
	check_urls(m.trackers, TORRENT_MAX_TRACKERS);
	check_urls(m.web_seeds, TORRENT_MAX_WEBSEEDS);
	must(m.n_peers <= PEERS_MAX_KNOWN);
	for (size_t i = 0; i < m.n_peers; i++)
		must(m.peers[i].port != 0);
	magnet_done(&m);
	return 0;
}
