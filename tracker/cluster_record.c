/* SPDX-License-Identifier: MIT */
/* Records of a cluster: see cluster_record.h.
 *
 * Thread: any.
 */
#include "tracker/cluster_record.h"

#include "base/mem.h"

#include <errno.h>
#include <string.h>

void cluster_pack_field(const struct addr *a, uint8_t ret[CLUSTER_FIELD_LEN])
{
	addr_to_compact6(a, ret);
}

static void put_be(uint8_t *p, uint32_t v, unsigned n)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

void cluster_pack_value(const struct cluster_record *r, uint8_t ret[CLUSTER_VALUE_LEN])
{
	ret[0] = r->peer.seed;
	memcpy(ret + 1, r->peer.meta.id, PEER_ID_LEN);
	put_be(ret + 21, r->peer.meta.told, 2);
	put_be(ret + 23, r->peer.meta.life, 2);
	put_be(ret + 25, r->seen, 4);
}

void cluster_pack_record(const struct cluster_record *r, struct buf *out)
{
	buf_u8(out, r->op);
	buf_add(out, r->hash, HASH_LEN);
	cluster_pack_field(&r->peer.addr, buf_extend(out, CLUSTER_FIELD_LEN));
	cluster_pack_value(r, buf_extend(out, CLUSTER_VALUE_LEN));
}

int cluster_unpack(const void *field, size_t field_len, const void *value, size_t value_len,
	struct cluster_record *ret)
{
	struct cursor c = cursor_on(value, value_len);
	if (field_len != CLUSTER_FIELD_LEN || value_len != CLUSTER_VALUE_LEN)
		return -EINVAL;
	addr_from_compact6(field, &ret->peer.addr);
	uint8_t flags = cursor_u8(&c);
	memcpy(ret->peer.meta.id, cursor_take(&c, PEER_ID_LEN), PEER_ID_LEN);
	ret->peer.meta.told = cursor_u16(&c);
	ret->peer.meta.life = cursor_u16(&c);
	ret->seen = cursor_u32(&c);
	ret->peer.seed = flags & 1;
	return flags > 1 ? -EINVAL : 0;
}

int cluster_next(struct cursor *c, struct cluster_record *ret)
{
	if (!c->left)
		return 0;
	*ret = (struct cluster_record) {.op = cursor_u8(c)};
	const uint8_t *hash = cursor_take(c, HASH_LEN);
	const uint8_t *field = cursor_take(c, CLUSTER_FIELD_LEN);
	const uint8_t *value = cursor_take(c, CLUSTER_VALUE_LEN);
	if (cursor_bad(c) || ret->op < CLUSTER_PEER || ret->op > CLUSTER_DOWNLOADED)
		return -EINVAL;
	memcpy(ret->hash, hash, HASH_LEN);
	int err = cluster_unpack(field, CLUSTER_FIELD_LEN, value, CLUSTER_VALUE_LEN, ret);
	return err < 0 ? err : 1;
}

bool cluster_age(struct cluster_record *r, uint32_t wall_now)
{
	uint32_t age = wall_now > r->seen ? wall_now - r->seen : 0;
	if (age >= r->peer.meta.life)
		return false;
	r->peer.meta.life = (uint16_t)(r->peer.meta.life - age);
	return true;
}
