/* SPDX-License-Identifier: MIT */
/* The tracker's rules: see service.h.
 *
 * Thread: loop.
 */
#include "tracker/service.h"

#include "base/mem.h"

const struct refusal *service_refuse(struct service *s, const struct refusal *refusal)
{
	s->counters.refused++;
	return refusal;
}

const struct refusal *service_announce(struct service *s, struct announce *a, struct text key,
	enum proto proto, uint32_t now, struct answer *answer)
{
	static const struct refusal full = {"the tracker is full of torrents", 30};

	s->counters.announces[proto]++;
	a->numwant = MIN(a->numwant, s->config.numwant_max);
	if (table_announce(s->table, a, now, answer) < 0)
		return service_refuse(s, &full);
	s->counters.unlisted += answer->unlisted;
	return NULL;
}

const struct refusal *service_scrape(struct service *s, const struct addr *from, struct text key,
	enum proto proto, uint32_t now)
{
	s->counters.scrapes[proto]++;
	return NULL;
}

void service_scrape_one(struct service *s, const uint8_t hash[HASH_LEN], uint32_t now,
	struct table_scrape *ret)
{
	table_scrape(s->table, hash, now, ret);
}
