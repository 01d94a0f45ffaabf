/* SPDX-License-Identifier: MIT */
/* The peer wire protocol (BEP 3, 6, 10, 52): bytes to messages and back.
 *
 * Pure.  A message on the wire is a 4-byte length, a type byte, and a payload.  wire_check says from
 * length and type alone whether a message may be that long, so a conn never buffers what is not
 * allowed; wire_parse then reads the payload into one struct.  Indexes, and what is asked for (begin and
 * length of a request, the range of a hash request), are not checked against the torrent here:
 * conn.c does that.
 *
 * Thread: any.
 */
#ifndef SWARM_WIRE_H
#define SWARM_WIRE_H

#include "base/buf.h"
#include "base/hash.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_HANDSHAKE_LEN 68

enum wire_type {
	WIRE_CHOKE = 0,
	WIRE_UNCHOKE = 1,
	WIRE_INTERESTED = 2,
	WIRE_NOT_INTERESTED = 3,
	WIRE_HAVE = 4,
	WIRE_BITFIELD = 5,
	WIRE_REQUEST = 6,
	WIRE_PIECE = 7,
	WIRE_CANCEL = 8,
	WIRE_PORT = 9,
	WIRE_SUGGEST = 13,      /* BEP 6, to WIRE_ALLOWED_FAST */
	WIRE_HAVE_ALL = 14,
	WIRE_HAVE_NONE = 15,
	WIRE_REJECT = 16,
	WIRE_ALLOWED_FAST = 17,
	WIRE_EXTENDED = 20,     /* BEP 10 */
	WIRE_HASH_REQUEST = 21, /* BEP 52, to WIRE_HASH_REJECT */
	WIRE_HASHES = 22,
	WIRE_HASH_REJECT = 23,
	WIRE_KEEPALIVE = 256,   /* length 0, no type byte */
};

struct wire_handshake {
	uint8_t reserved[8];
	uint8_t info_hash[SHA1_LEN];
	uint8_t peer_id[20];
};
/* What the reserved bits claim. */
bool wire_has_fast(const uint8_t reserved[8]);       /* reserved[7] & 0x04 */
bool wire_has_extended(const uint8_t reserved[8]);   /* reserved[5] & 0x10 */
bool wire_has_v2(const uint8_t reserved[8]);         /* reserved[7] & 0x10 */
void wire_add_handshake(struct buf *b, const uint8_t info_hash[SHA1_LEN],
	const uint8_t peer_id[20], bool v2);
/* WIRE_HANDSHAKE_LEN bytes; false when they do not begin as the protocol does. */
bool wire_parse_handshake(const uint8_t *data, struct wire_handshake *ret);

struct wire_hashes {
	const uint8_t *root; /* pieces root, SHA256_LEN bytes */
	uint32_t base_layer, index, length, proof_layers;
	const uint8_t *hashes; /* WIRE_HASHES: SHA256_LEN * n_hashes */
	uint32_t n_hashes;
};

struct wire_message {
	enum wire_type type;
	/* have, suggest, allowed fast; request, piece, cancel, reject */
	uint32_t piece, begin, length;
	const uint8_t *data; /* bitfield, piece, extended payload; borrowed */
	size_t data_len;
	uint8_t ext_id;      /* extended: 0 is the handshake */
	struct wire_hashes hashes;
};

/* NULL when a message of this type may have this length (type byte included; `n_pieces` gives a
 * bitfield's, 0: not known yet), else a static reason.  Unknown types: up to EXT_MAX_MESSAGE, to be
 * skipped. */
const char *wire_check(uint8_t type, uint32_t length, uint32_t n_pieces);
/* Parses the payload (without length and type byte) of a message that wire_check let through;
 * NULL, or a static reason. */
const char *wire_parse(uint8_t type, const uint8_t *payload, size_t len, struct wire_message *ret);

void wire_add_simple(struct buf *b, enum wire_type type); /* choke ... not interested, have all/none */
void wire_add_keepalive(struct buf *b);
void wire_add_have(struct buf *b, uint32_t piece);
void wire_add_bitfield(struct buf *b, const uint8_t *bits, size_t len);
/* request, cancel, reject */
void wire_add_block(struct buf *b, enum wire_type type, uint32_t piece, uint32_t begin, uint32_t len);
/* Header of a PIECE whose `len` bytes the caller appends. */
void wire_add_piece_header(struct buf *b, uint32_t piece, uint32_t begin, uint32_t len);
void wire_add_extended(struct buf *b, uint8_t ext_id, const void *payload, size_t len);
/* hash request, hash reject (n_hashes 0), hashes */
void wire_add_hashes(struct buf *b, enum wire_type type, const struct wire_hashes *h);

#endif
