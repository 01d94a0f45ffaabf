/* SPDX-License-Identifier: MIT */
/* Connection ids: see connid.h.
 *
 * The port is not part of it: BEP 15 ties an id to the address, and some NATs give each packet
 * another port.
 *
 * Thread: loop.
 */
#include "tracker/connid.h"

#include <string.h>

void connid_init(struct connid *c, uint32_t now, void (*random)(void *ret, size_t len))
{
	*c = (struct connid) {.born = now, .random = random};
	random(c->key, sizeof(c->key));
}

static void connid_rotate(struct connid *c, uint32_t now)
{
	if (now - c->born < CONNID_ROTATE_S)
		return;
	c->key[1] = c->key[0];
	c->random(&c->key[0], sizeof(c->key[0]));
	c->born = now;
}

static uint64_t connid_mac(const struct sipkey *key, uint32_t second, const struct addr *from)
{
	uint8_t m[20];
	memcpy(m, from->ip, 16);
	memcpy(m + 16, &second, 4);
	return (uint64_t)(second & 0xffff) << 48 | siphash24(key, m, sizeof(m)) >> 16;
}

uint64_t connid_make(struct connid *c, uint32_t now, const struct addr *from)
{
	connid_rotate(c, now);
	return connid_mac(&c->key[0], now, from);
}

bool connid_check(struct connid *c, uint32_t now, const struct addr *from, uint64_t id)
{
	connid_rotate(c, now);
	/* The one second of the last 65,536 with these low bits. */
	uint32_t age = (uint16_t)(now - (uint32_t)(id >> 48));
	if (age > CONNID_LIFE_S || age > now)
		return false;
	uint32_t second = now - age;
	/* In the second of the rotation itself both keys may have been used. */
	if (second >= c->born && connid_mac(&c->key[0], second, from) == id)
		return true;
	return second <= c->born && connid_mac(&c->key[1], second, from) == id;
}
