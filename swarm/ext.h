/* SPDX-License-Identifier: MIT */
/* Extension messages (BEP 10): the handshake, and metadata (BEP 9).
 *
 * Pure.  Parsers are bounded by EXT_MAX_TOKENS; what a peer says is a claim, and the client's name
 * is only ever shown (escaped).
 *
 * Thread: any.
 */
#ifndef SWARM_EXT_H
#define SWARM_EXT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers under which we take messages. */
enum { EXT_HANDSHAKE = 0, EXT_UT_METADATA = 1, EXT_UPLOAD_ONLY = 2, EXT_DONTHAVE = 3 };

struct ext_handshake {
	uint8_t ut_metadata;  /* the peer's number for it, 0: none */
	uint8_t upload_only_id; /* BEP 21's message, 0: none */
	uint8_t donthave_id;  /* BEP 54 */
	bool upload_only;     /* BEP 21 */
	uint32_t reqq;        /* 0: not told */
	uint16_t port;        /* "p", 0: not told */
	uint64_t metadata_size; /* 0: not told */
	char client[64];      /* "v", escaped, "" when not told */
};

/* Takes into *ret what is told; the rest of it stays (BEP 10: a later handshake names changes alone).
 * 0, or -EINVAL with a static reason. */
int ext_parse_handshake(const uint8_t *data, size_t len, struct ext_handshake *ret,
	const char **ret_why);
/* Our own, as payload of message 0. metadata_size 0: not told. */
void ext_add_handshake(struct buf *payload, uint16_t port, uint32_t reqq, bool upload_only,
	uint64_t metadata_size, const char *client);

enum ext_metadata_type { EXT_METADATA_REQUEST = 0, EXT_METADATA_DATA = 1, EXT_METADATA_REJECT = 2 };
struct ext_metadata {
	enum ext_metadata_type type;
	uint32_t piece;
	uint64_t total_size; /* of EXT_METADATA_DATA */
	const uint8_t *data; /* of EXT_METADATA_DATA; borrowed */
	size_t data_len;
};
/* 0, -EINVAL, or -EOPNOTSUPP for a type that BEP 9 wants ignored, with a static reason. */
int ext_parse_metadata(const uint8_t *data, size_t len, struct ext_metadata *ret,
	const char **ret_why);
/* Payload; for DATA the caller appends the bytes. */
void ext_add_metadata(struct buf *payload, enum ext_metadata_type type, uint32_t piece,
	uint64_t total_size);

/* The client's name from a peer id (BEP 20), e.g. "-TR3000-" is "Transmission 3.0.0.0"; escaped. */
void ext_client_name(const uint8_t peer_id[20], char ret[64]);
/* Our peer id: "-PF0100-" and 12 random bytes. */
void ext_make_peer_id(uint8_t ret[20]);

#endif
