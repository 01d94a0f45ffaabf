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

static const struct refusal no_torrent = {"this torrent is not served here", 30};
static const struct refusal no_key = {"the passkey is missing or unknown", RETRY_NEVER};
static const struct refusal too_often = {"too many requests from your address", 1};
static const struct refusal full = {"the tracker is full of torrents", 30};

bool service_may_ask(struct service *s, const struct addr *from, uint32_t now)
{
	if (!s->throttle || throttle_take(s->throttle, from, now))
		return true;
	service_refuse(s, &too_often);
	return false;
}

/* What every request must pass. */
static const struct refusal *admit(struct service *s, const struct addr *from, struct text key,
	uint32_t now)
{
	if (!service_may_ask(s, from, now))
		return &too_often;
	if (lists_needs_key(s->lists) && !lists_knows_key(s->lists, key))
		return service_refuse(s, &no_key);
	return NULL;
}

const struct refusal *service_announce(struct service *s, const struct addr *asker,
	struct announce *a, struct text key, enum proto proto, uint32_t now, struct answer *answer)
{
	s->counters.announces[proto]++;
	const struct refusal *refusal = admit(s, asker, key, now);
	if (refusal)
		return refusal;
	if (!lists_allows(s->lists, a->hash))
		return service_refuse(s, &no_torrent);
	a->numwant = MIN(a->numwant, s->config.numwant_max);
	a->site = lists_site(s->lists, &a->from);
	if (table_announce(s->table, a, now, answer) < 0)
		return service_refuse(s, &full);
	s->counters.unlisted += answer->unlisted;
	return NULL;
}

const struct refusal *service_scrape(struct service *s, const struct addr *from, struct text key,
	enum proto proto, uint32_t now)
{
	s->counters.scrapes[proto]++;
	return admit(s, from, key, now);
}

void service_scrape_one(struct service *s, const uint8_t hash[HASH_LEN], uint32_t now,
	struct table_scrape *ret)
{
	*ret = (struct table_scrape) {0};
	if (lists_allows(s->lists, hash))
		table_scrape(s->table, hash, now, ret);
}
