/* SPDX-License-Identifier: MIT */
/* Connection ids of the UDP tracker protocol (BEP 15), without a table of them.
 *
 * An id is 16 bits of the second in which it was given and 48 bits of a MAC over that second (in
 * full) and the asker's address, so only who receives at an address can announce from it, and
 * nothing is remembered for askers who never come back.  An id lives CONNID_LIFE_S exactly; what is
 * older, of another address, or from before the key before this one, is refused.  The key is
 * replaced every CONNID_ROTATE_S.
 *
 * Pure: the clock (seconds) is an argument.  Thread: loop.
 */
#ifndef TRACKER_CONNID_H
#define TRACKER_CONNID_H

#include "base/addr.h"
#include "tracker/siphash.h"

#include <stdbool.h>
#include <stdint.h>

#define CONNID_LIFE_S 120u    /* BEP 15: accepted for two minutes after it was sent */
#define CONNID_ROTATE_S 3600u /* far above the life, so one old key is enough */

struct connid {
	struct sipkey key[2]; /* now, and before `born` */
	uint32_t born;
	void (*random)(void *ret, size_t len); /* random_bytes, but for tests */
};

void connid_init(struct connid *c, uint32_t now, void (*random)(void *ret, size_t len));
uint64_t connid_make(struct connid *c, uint32_t now, const struct addr *from);
bool connid_check(struct connid *c, uint32_t now, const struct addr *from, uint64_t id);

#endif
