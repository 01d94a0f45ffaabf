/* SPDX-License-Identifier: MIT */
/* Rows of the state: see state_row.h.
 *
 * Thread: any.
 */
#include "tracker/state_row.h"

#include "base/cursor.h"
#include "base/mem.h"

#include <errno.h>
#include <string.h>

enum { FLAG_SEED = 1, FLAG_V6 = 2 };

static uint8_t *put16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
	return p + 2;
}

size_t state_row_pack(const struct peerset *s, enum kind kind, uint32_t row,
	uint8_t ret[STATE_ROW_MAX])
{
	uint8_t flags = (uint8_t)((kind == SEEDS ? FLAG_SEED : 0) |
		(s->addr_len == PEERSET_V6 ? FLAG_V6 : 0));
	uint8_t *p = ret;
	if (row >= peerset_rows(s))
		return 0;
	uint32_t first = row * PEERSET_ROW, end = first + MIN(PEERSET_ROW, s->n - first);
	for (uint32_t i = first; i < end; i++) {
		const struct peer_meta *m = &s->meta[i];
		*p++ = flags;
		p = mempcpy(p, peerset_addr(s, i), s->addr_len);
		p = mempcpy(p, m->id, PEER_ID_LEN);
		p = put16(put16(p, m->told), m->life);
	}
	return (size_t)(p - ret);
}

int state_row_unpack(const uint8_t *data, size_t len,
	void (*fn)(void *arg, const struct table_peer *peer), void *arg)
{
	struct cursor c = cursor_on(data, len);
	while (c.left) {
		struct table_peer p = {0};
		uint8_t flags = cursor_u8(&c);
		const uint8_t *addr = cursor_take(&c, flags & FLAG_V6 ? PEERSET_V6 : PEERSET_V4);
		const uint8_t *id = cursor_take(&c, PEER_ID_LEN);
		p.meta.told = cursor_u16(&c);
		p.meta.life = cursor_u16(&c);
		if (cursor_bad(&c) || flags > (FLAG_SEED | FLAG_V6))
			return -EINVAL;
		if (flags & FLAG_V6)
			addr_from_compact6(addr, &p.addr);
		else
			addr_from_compact4(addr, &p.addr);
		memcpy(p.meta.id, id, PEER_ID_LEN);
		p.seed = flags & FLAG_SEED;
		fn(arg, &p);
	}
	return 0;
}
