/* SPDX-License-Identifier: MIT */
/* The peer wire protocol: bytes to messages and back.
 *
 * Lengths are checked twice on purpose: wire_check runs before a payload is buffered and keeps what
 * a peer can make us hold to what its type needs; wire_parse reads by a cursor and trusts nobody to
 * have called wire_check.
 *
 * Thread: any (pure).
 */
#include "swarm/wire.h"

#include "base/cursor.h"
#include "base/limits.h"
#include "base/merkle.h"

#include <string.h>

static const char protocol[20] = {19, 'B', 'i', 't', 'T', 'o', 'r', 'r', 'e', 'n', 't', ' ', 'p',
	'r', 'o', 't', 'o', 'c', 'o', 'l'};

#define RESERVED_EXTENDED 0x10 /* of byte 5 */
#define RESERVED_FAST 0x04 /* of byte 7 */
#define RESERVED_V2 0x10 /* of byte 7 */

/* Lengths with the type byte. */
#define LEN_SIMPLE 1u
#define LEN_PORT 3u
#define LEN_INDEX 5u
#define LEN_BLOCK 13u
#define LEN_PIECE_HEADER 9u
#define LEN_HASHES (1u + SHA256_LEN + 16u)
/* One tree has fewer than MERKLE_LAYERS uncles above what is asked. */
#define MAX_HASHES (HASHES_MAX_LENGTH + MERKLE_LAYERS)

bool wire_has_fast(const uint8_t reserved[8])
{
	return reserved[7] & RESERVED_FAST;
}

bool wire_has_extended(const uint8_t reserved[8])
{
	return reserved[5] & RESERVED_EXTENDED;
}

bool wire_has_v2(const uint8_t reserved[8])
{
	return reserved[7] & RESERVED_V2;
}

void wire_add_handshake(
	struct buf *b, const uint8_t info_hash[SHA1_LEN], const uint8_t peer_id[20], bool v2)
{
	uint8_t reserved[8] = {0};
	reserved[5] = RESERVED_EXTENDED;
	reserved[7] = RESERVED_FAST | (v2 ? RESERVED_V2 : 0);
	buf_add(b, protocol, sizeof(protocol));
	buf_add(b, reserved, sizeof(reserved));
	buf_add(b, info_hash, SHA1_LEN);
	buf_add(b, peer_id, 20);
}

bool wire_parse_handshake(const uint8_t *data, struct wire_handshake *ret)
{
	if (memcmp(data, protocol, sizeof(protocol)) != 0)
		return false;
	data += sizeof(protocol);
	memcpy(ret->reserved, data, sizeof(ret->reserved));
	data += sizeof(ret->reserved);
	memcpy(ret->info_hash, data, SHA1_LEN);
	data += SHA1_LEN;
	memcpy(ret->peer_id, data, sizeof(ret->peer_id));
	return true;
}

static const char *check_bitfield(uint32_t length, uint32_t n_pieces)
{
	/* The number of pieces is not known while the metadata is being fetched. */
	if (n_pieces == 0)
		return length > 1 + (TORRENT_MAX_PIECES + 7) / 8 ? "bitfield too long" : NULL;
	uint32_t want = 1 + n_pieces / 8 + (n_pieces % 8 != 0);
	if (length > want)
		return "bitfield longer than the torrent has pieces";
	return length < want ? "bitfield shorter than the torrent has pieces" : NULL;
}

static const char *check_hashes(uint32_t length)
{
	if (length < LEN_HASHES + SHA256_LEN || (length - LEN_HASHES) % SHA256_LEN != 0)
		return "hashes that are no whole number of hashes";
	return (length - LEN_HASHES) / SHA256_LEN > MAX_HASHES ? "more hashes than may be asked for"
							       : NULL;
}

const char *wire_check(uint8_t type, uint32_t length, uint32_t n_pieces)
{
	static const char wrong[] = "wrong length for its type";

	if (length == 0)
		return "no type byte";
	switch (type) {
	case WIRE_CHOKE:
	case WIRE_UNCHOKE:
	case WIRE_INTERESTED:
	case WIRE_NOT_INTERESTED:
	case WIRE_HAVE_ALL:
	case WIRE_HAVE_NONE:
		return length == LEN_SIMPLE ? NULL : wrong;
	case WIRE_HAVE:
	case WIRE_SUGGEST:
	case WIRE_ALLOWED_FAST:
		return length == LEN_INDEX ? NULL : wrong;
	case WIRE_BITFIELD:
		return check_bitfield(length, n_pieces);
	case WIRE_REQUEST:
	case WIRE_CANCEL:
	case WIRE_REJECT:
		return length == LEN_BLOCK ? NULL : wrong;
	case WIRE_PIECE:
		if (length <= LEN_PIECE_HEADER)
			return "a piece message without data";
		/* We never ask for more than a block. */
		return length > LEN_PIECE_HEADER + BLOCK_SIZE ? "a block longer than 16 KiB" : NULL;
	case WIRE_PORT:
		return length == LEN_PORT ? NULL : wrong;
	case WIRE_EXTENDED:
		if (length < 2)
			return "an extended message without its number";
		break;
	case WIRE_HASH_REQUEST:
	case WIRE_HASH_REJECT:
		return length == LEN_HASHES ? NULL : wrong;
	case WIRE_HASHES:
		return check_hashes(length);
	default:
		break;
	}
	return length > EXT_MAX_MESSAGE ? "message longer than 1 MiB" : NULL;
}

static void parse_hashes_header(struct cursor *c, struct wire_hashes *h)
{
	h->root = cursor_take(c, SHA256_LEN);
	h->base_layer = cursor_u32(c);
	h->index = cursor_u32(c);
	h->length = cursor_u32(c);
	h->proof_layers = cursor_u32(c);
}

static const char *parse_hashes(struct cursor *c, struct wire_hashes *h)
{
	parse_hashes_header(c, h);
	if (c->bad || c->left == 0 || c->left % SHA256_LEN != 0)
		return "hashes that are no whole number of hashes";
	size_t n = c->left / SHA256_LEN;
	if (n > MAX_HASHES)
		return "more hashes than may be asked for";
	if (n < h->length)
		return "fewer hashes than it says";
	if (n - h->length > h->proof_layers)
		return "more hashes than it says";
	h->hashes = cursor_take(c, c->left);
	h->n_hashes = (uint32_t)n;
	return NULL;
}

const char *wire_parse(uint8_t type, const uint8_t *payload, size_t len, struct wire_message *ret)
{
	struct cursor c = cursor_on(payload, len);
	struct wire_message m = {.type = (enum wire_type)type};
	const char *why;

	switch (type) {
	case WIRE_CHOKE:
	case WIRE_UNCHOKE:
	case WIRE_INTERESTED:
	case WIRE_NOT_INTERESTED:
	case WIRE_HAVE_ALL:
	case WIRE_HAVE_NONE:
		break;
	case WIRE_HAVE:
	case WIRE_SUGGEST:
	case WIRE_ALLOWED_FAST:
		m.piece = cursor_u32(&c);
		break;
	case WIRE_REQUEST:
	case WIRE_CANCEL:
	case WIRE_REJECT:
		m.piece = cursor_u32(&c);
		m.begin = cursor_u32(&c);
		m.length = cursor_u32(&c);
		break;
	case WIRE_PIECE:
		m.piece = cursor_u32(&c);
		m.begin = cursor_u32(&c);
		m.length = (uint32_t)c.left;
		m.data_len = c.left;
		m.data = cursor_take(&c, c.left);
		break;
	case WIRE_PORT: /* of a DHT node: read, and nobody's business here */
		cursor_u16(&c);
		break;
	case WIRE_EXTENDED:
		m.ext_id = cursor_u8(&c);
		m.data_len = c.left;
		m.data = cursor_take(&c, c.left);
		break;
	case WIRE_HASH_REQUEST:
	case WIRE_HASH_REJECT:
		parse_hashes_header(&c, &m.hashes);
		break;
	case WIRE_HASHES:
		why = parse_hashes(&c, &m.hashes);
		if (why)
			return why;
		break;
	case WIRE_BITFIELD:
	default: /* an unknown type is given as it is, to be skipped */
		m.data_len = c.left;
		m.data = cursor_take(&c, c.left);
		break;
	}
	if (!cursor_done(&c))
		return c.bad ? "message cut short" : "message too long for its type";
	*ret = m;
	return NULL;
}

static void add_header(struct buf *b, enum wire_type type, uint32_t payload_len)
{
	buf_u32(b, 1 + payload_len);
	buf_u8(b, (uint8_t)type);
}

void wire_add_simple(struct buf *b, enum wire_type type)
{
	add_header(b, type, 0);
}

void wire_add_keepalive(struct buf *b)
{
	buf_u32(b, 0);
}

void wire_add_have(struct buf *b, uint32_t piece)
{
	add_header(b, WIRE_HAVE, 4);
	buf_u32(b, piece);
}

void wire_add_bitfield(struct buf *b, const uint8_t *bits, size_t len)
{
	add_header(b, WIRE_BITFIELD, (uint32_t)len);
	buf_add(b, bits, len);
}

void wire_add_block(
	struct buf *b, enum wire_type type, uint32_t piece, uint32_t begin, uint32_t len)
{
	add_header(b, type, 12);
	buf_u32(b, piece);
	buf_u32(b, begin);
	buf_u32(b, len);
}

void wire_add_piece_header(struct buf *b, uint32_t piece, uint32_t begin, uint32_t len)
{
	add_header(b, WIRE_PIECE, 8 + len);
	buf_u32(b, piece);
	buf_u32(b, begin);
}

void wire_add_extended(struct buf *b, uint8_t ext_id, const void *payload, size_t len)
{
	add_header(b, WIRE_EXTENDED, 1 + (uint32_t)len);
	buf_u8(b, ext_id);
	buf_add(b, payload, len);
}

void wire_add_hashes(struct buf *b, enum wire_type type, const struct wire_hashes *h)
{
	size_t len = (size_t)h->n_hashes * SHA256_LEN;
	add_header(b, type, (uint32_t)(SHA256_LEN + 16 + len));
	buf_add(b, h->root, SHA256_LEN);
	buf_u32(b, h->base_layer);
	buf_u32(b, h->index);
	buf_u32(b, h->length);
	buf_u32(b, h->proof_layers);
	if (len > 0)
		buf_add(b, h->hashes, len);
}
