/* SPDX-License-Identifier: MIT */
/* The UDP tracker protocol (BEP 15, 41): one exchange of packets, as a state machine.
 *
 *	CONNECT --reply--> ANNOUNCE --reply--> done
 *	ANNOUNCE --id too old, or refused, or unanswered with an id of before--> CONNECT
 *	either --unanswered EXCHANGE_TRIES times, or an error--> failed
 *
 * BEP 15 waits 15 s for the first answer and then twice as long each time.  The first read of a
 * mount may be waiting for this one, and one lost packet is to cost it seconds: here it is 2.5 s,
 * and doubles too.  After EXCHANGE_TRIES the caller backs off, so that a dead tracker gets no more
 * packets in an hour than BEP 15 would send.
 *
 * Thread: any (pure: time and randomness are arguments).
 */
#ifndef SWARM_ANNOUNCE_PACKET_H
#define SWARM_ANNOUNCE_PACKET_H

#include "swarm/announce_one.h"

#define EXCHANGE_MAX_PACKET 1400u /* below every MTU on the way */
#define EXCHANGE_MAX_PATH 1024u /* of a URL, that BEP 41 carries in it */
#define EXCHANGE_RETRY_US 2500000ull
#define EXCHANGE_TRIES 4u /* 2.5 + 5 + 10 + 20 s */
#define EXCHANGE_ID_LIFE_US 60000000ull /* BEP 15: a client may use a connection id for a minute \
					 */

enum exchange_state { EXCHANGE_CONNECT, EXCHANGE_ANNOUNCE };

struct exchange {
	struct announce_request request;
	enum exchange_state state;
	bool v6; /* peers of 18 bytes; the family of the tracker's address tells */
	bool old_id; /* the connection id is of an exchange before this one */
	uint32_t transaction;
	uint64_t id, id_us; /* the connection id, and when it came; id_us 0: none */
	unsigned tries; /* packets sent in this state */
};

enum exchange_result {
	EXCHANGE_IGNORED, /* no answer to what we asked */
	EXCHANGE_SEND, /* send the next packet */
	EXCHANGE_DONE, /* *ret_reply is good */
	EXCHANGE_FAILED, /* *ret_reply has the failure, if the tracker told one */
};

/* id_us 0: no connection id is known. */
void exchange_init(struct exchange *x, const struct announce_request *request, bool v6, uint64_t id,
	uint64_t id_us);
/* Writes the packet to send now, returns its length; *ret_wait_us: how long to wait for an answer.
 */
size_t exchange_packet(struct exchange *x, uint64_t now, uint32_t random,
	uint8_t ret[EXCHANGE_MAX_PACKET], uint64_t *ret_wait_us);
enum exchange_result exchange_receive(struct exchange *x, const void *data, size_t len,
	uint64_t now, struct announce_reply *ret_reply);
/* No answer in time: EXCHANGE_SEND or EXCHANGE_FAILED. */
enum exchange_result exchange_timeout(struct exchange *x);

#endif
