/* SPDX-License-Identifier: MIT */
/* What the tracker answers over HTTP: from a request's head to its body.
 *
 * The operator's pages (/stats, /stats.json, /metrics) are on the tracker's own addresses, or, with
 * a control address, only there.  There the Host header must be an address or localhost (a name
 * could be anybody's who wants a browser to look for him), and a token is wanted where there is
 * one: always beyond loopback, and on loopback for all but /metrics.
 *
 * Thread: loop.
 */
#ifndef TRACKER_WEB_H
#define TRACKER_WEB_H

#include "tracker/http.h"
#include "tracker/service.h"
#include "tracker/stats.h"

struct web {
	struct service *service; /* borrowed */
	bool control_apart;      /* there is a control address */
	bool control_loopback;   /* ... which is on loopback */
	const char *token;       /* borrowed; NULL: none */
	void (*gather)(void *arg, struct stats *ret);
	void *arg;
};

/* Which of the listeners was asked. */
enum web_role { WEB_TRACKER, WEB_CONTROL };

void web_answer(const struct web *web, enum web_role role, const struct http_head *head,
	const struct addr *from, bool tls, uint32_t now, struct http_reply *reply);

#endif
