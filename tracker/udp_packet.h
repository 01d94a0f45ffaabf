/* SPDX-License-Identifier: MIT */
/* The UDP tracker protocol (BEP 15, options of BEP 41): one packet in, at most one out.
 *
 * Before an asker has shown, by a connection id, that it receives at its address, nothing larger
 * than its own packet is sent to it: no use for floods of third parties.
 *
 * Pure but for the service.  Thread: loop.
 */
#ifndef TRACKER_UDP_PACKET_H
#define TRACKER_UDP_PACKET_H

#include "tracker/connid.h"
#include "tracker/service.h"

#include <stddef.h>
#include <stdint.h>

#define UDP_MAX_PACKET 2048u /* 98 bytes and options; a scrape of 74 hashes is 1,496 */
#define UDP_MAX_REPLY 1400u  /* fits a path's MTU; 76 IPv6 peers, 200 IPv4 */

/* Writes the reply to `out`; its length, 0 for none. */
size_t udp_answer(struct service *s, struct connid *ids, const uint8_t *packet, size_t len,
	const struct addr *from, uint32_t now, uint8_t out[UDP_MAX_REPLY]);

#endif
