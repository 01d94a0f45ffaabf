/* SPDX-License-Identifier: MIT */
/* Fuzz: a packet to the tracker, as it is and with a good connection id.
 *
 * Without one nothing larger than the packet may come back.
 */
#include "tracker/udp_packet.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/mem.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW 1000000u

static struct service service;
static struct connid ids;

static void begin(void)
{
	struct table_config config = {.max_torrents = 50, .max_peers = 500, .max_swarm = 200,
		.pace = {5, 1800}};
	char *error = NULL;
	if (lists_load(&(struct lists_paths) {0}, &service.lists, &error) < 0)
		abort();
	service.config = (struct service_config) {.numwant_max = 200, .allow_ip = true};
	service.table = table_new(&config, NOW);
	connid_init(&ids, NOW, random_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t out[UDP_MAX_REPLY];
	struct addr from;
	if (!service.table)
		begin();
	addr_parse(size % 2 ? "192.0.2.1:1" : "[2001:db8::1]:1", 1, &from);
	assert(udp_answer(&service, &ids, data, size, &from, NOW, out) <= size);
	if (size < 8)
		return 0;
	CLEANUP_FREE uint8_t *packet = xmemdup(data, size);
	uint64_t id = connid_make(&ids, NOW, &from);
	for (int i = 0; i < 8; i++)
		packet[i] = (uint8_t)(id >> (56 - 8 * i));
	assert(udp_answer(&service, &ids, packet, size, &from, NOW, out) <= UDP_MAX_REPLY);
	return 0;
}
