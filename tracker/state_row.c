/* SPDX-License-Identifier: MIT */
/* Rows of the state: see state_row.h.
 *
 * Thread: any.
 */
#include "tracker/state_row.h"

#include "base/cursor.h"

#include <errno.h>
#include <string.h>

enum { FLAG_SEED = 1, FLAG_V6 = 2 };

void state_row_pack(const struct swarm *w, struct buf *out)
{
	for (int f = V4; f <= V6; f++) {
		for (int k = LEECHERS; k <= SEEDS; k++) {
			const struct peerset *s = &w->sets[f][k];
			for (uint32_t i = 0; i < s->n; i++) {
				buf_u8(out, (uint8_t)((k == SEEDS ? FLAG_SEED : 0) |
					(f == V6 ? FLAG_V6 : 0)));
				buf_add(out, peerset_addr(s, i), s->addr_len);
				buf_add(out, s->meta[i].id, PEER_ID_LEN);
				buf_u16(out, s->meta[i].told);
				buf_u16(out, s->meta[i].life);
			}
		}
	}
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
