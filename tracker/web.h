/* SPDX-License-Identifier: MIT */
/* What the tracker answers over HTTP: from a request's head to its body.
 *
 * Thread: loop.
 */
#ifndef TRACKER_WEB_H
#define TRACKER_WEB_H

#include "tracker/http.h"
#include "tracker/service.h"

/* `service` asks; `from` is where the request came from. */
void web_answer(struct service *service, const struct http_head *head, const struct addr *from,
	bool tls, uint32_t now, struct http_reply *reply);

#endif
