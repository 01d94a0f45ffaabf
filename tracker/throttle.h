/* SPDX-License-Identifier: MIT */
/* How often one address may ask: a bucket of tokens per address (IPv6: per /64).
 *
 * Of fixed size: THROTTLE_SLOTS addresses are remembered; when a set of them is full, the one not
 * seen for the longest makes room.  A flood of addresses so forgets the limits of some, but costs
 * neither memory nor time.
 *
 * Pure: the clock (seconds) is an argument.  Thread: loop.
 */
#ifndef TRACKER_THROTTLE_H
#define TRACKER_THROTTLE_H

#include "base/addr.h"

#include <stdbool.h>
#include <stdint.h>

#define THROTTLE_SLOTS 65536u /* 2 MiB */
#define THROTTLE_BURST_S 10u  /* so much of a pause may be made up for */

struct throttle;

struct throttle *throttle_new(uint32_t per_second);
void throttle_free(struct throttle *l);
/* May it, now?  Then it has one less. */
bool throttle_take(struct throttle *l, const struct addr *from, uint32_t now);

#endif
