/* SPDX-License-Identifier: MIT */
/* See path.h.  The windows are WINDOW_US long, so a rate is believed for one to two of them. */
#include "swarm/path.h"

#include "base/loop.h"
#include "base/mem.h"

#define WINDOW_US (1 * US_PER_S)
#define RTT_LIFE_US (10 * US_PER_S) /* BBR's: after that the route may be another */

void path_init(struct path *p, uint64_t rtt, uint64_t now)
{
	*p = (struct path) {.rtt_min = rtt, .rtt_min_at = now, .window_at = now};
}

struct path_mark path_on_sent(struct path *p, uint64_t outstanding, uint64_t now)
{
	if (!outstanding)
		p->delivered_at = now; /* a pause is not the path's */
	return (struct path_mark) {
		.sent_at = now,
		.delivered = p->delivered,
		.delivered_at = p->delivered_at,
		.limited = outstanding < path_holds(p),
	};
}

static void rtt_sample(struct path *p, uint64_t rtt, uint64_t now)
{
	if (!p->srtt || rtt <= p->rtt_min || now - p->rtt_min_at > RTT_LIFE_US) {
		p->rtt_min = rtt ? rtt : 1;
		p->rtt_min_at = now;
	}
	/* RFC 6298 */
	if (!p->srtt) {
		p->srtt = rtt;
		p->rttvar = rtt / 2;
		return;
	}
	uint64_t off = rtt > p->srtt ? rtt - p->srtt : p->srtt - rtt;
	p->rttvar = (3 * p->rttvar + off) / 4;
	p->srtt = (7 * p->srtt + rtt) / 8;
}

/* What a request may take longer than the least before others are in its way. */
static uint64_t slack(const struct path *p)
{
	return p->rtt_min / 4 + 2 * US_PER_MS;
}

static uint64_t calm_most(const struct path *p)
{
	return path_holds(p) * 5 / 4 + path_rate(p) * 2 / 1000 + PATH_CALM_MIN / 2;
}

/* Half of what the path holds queues nowhere: if answers are late all the same, it is not for that. */
static uint64_t calm_least(const struct path *p)
{
	return MAX(path_holds(p) / 2, PATH_CALM_MIN);
}

static void calm_sample(struct path *p, uint64_t rtt, uint64_t now)
{
	if (rtt < p->round_rtt || !p->round_rtt)
		p->round_rtt = rtt;
	if (now - p->round_at < p->rtt_min)
		return;
	bool late = p->round_rtt > p->rtt_min + slack(p);
	p->calm_found = p->calm_found || late;
	uint64_t more = p->calm_found ? p->calm * 9 / 8 : p->calm * 3 / 2;
	p->calm = MIN(late ? p->calm * 3 / 4 : more, calm_most(p));
	p->calm = MAX(p->calm, calm_least(p));
	p->round_at = now;
	p->round_rtt = 0;
}

void path_on_delivered(struct path *p, const struct path_mark *m, uint64_t bytes, uint64_t now)
{
	p->delivered += bytes;
	p->delivered_at = now;
	rtt_sample(p, now - m->sent_at, now);

	uint64_t took = now - m->delivered_at;
	if (took < now - m->sent_at)
		took = now - m->sent_at;
	uint64_t rate = (p->delivered - m->delivered) * US_PER_S / MAX(took, (uint64_t)1);
	if (now - p->window_at > WINDOW_US && p->window_full) {
		p->rate_last = p->rate_now;
		p->rate_now = 0;
		p->window_at = now;
		p->window_full = false;
	}
	if (rate > p->rate_now)
		p->rate_now = rate;
	/* An answer that waited in a queue tells that the path was full, however little was asked for. */
	if (!m->limited || now - m->sent_at > p->rtt_min + slack(p))
		p->window_full = true;
	calm_sample(p, now - m->sent_at, now);
}

void path_on_late(struct path *p, uint64_t bytes, uint64_t now)
{
	p->delivered += bytes;
	p->delivered_at = now;
}

uint64_t path_rate(const struct path *p)
{
	uint64_t rate = MAX(p->rate_now, p->rate_last);
	return rate ? rate : PATH_RATE_GUESS;
}

uint64_t path_rtt(const struct path *p)
{
	return p->rtt_min ? p->rtt_min : PATH_RTT_GUESS;
}

uint64_t path_holds(const struct path *p)
{
	return path_rate(p) * path_rtt(p) / US_PER_S;
}

uint64_t path_calm(const struct path *p)
{
	return MAX(MIN(p->calm, calm_most(p)), calm_least(p));
}

uint64_t path_expects(const struct path *p, uint64_t outstanding)
{
	return path_rtt(p) + outstanding * US_PER_S / path_rate(p);
}

uint64_t path_patience(const struct path *p, uint64_t outstanding)
{
	uint64_t usual = p->srtt ? p->srtt + 3 * p->rttvar : 2 * path_rtt(p);
	return MAX(usual, 2 * path_expects(p, outstanding)) + 5 * US_PER_MS;
}
