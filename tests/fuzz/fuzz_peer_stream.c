/* SPDX-License-Identifier: MIT */
/* Fuzzes what a peer sends: a byte for the number of pieces (8 each; 0: not known), the handshake,
 * then messages, until one of them would end the connection.
 *
 * What parses, written again, must give the same bytes: no field is read from a wrong place, and
 * none is missed.
 */
#include "swarm/ext.h"
#include "swarm/wire.h"

#include "base/cursor.h"
#include "base/limits.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void read_extended(const struct wire_message *m)
{
	const char *why = NULL;
	if (m->ext_id == EXT_HANDSHAKE) {
		struct ext_handshake h = {0};
		if (ext_parse_handshake(m->data, m->data_len, &h, &why) == 0)
			must(memchr(h.client, 0, sizeof(h.client)));
		else
			must(why);
	} else if (m->ext_id == EXT_UT_METADATA) {
		struct ext_metadata d;
		if (ext_parse_metadata(m->data, m->data_len, &d, &why) == 0)
			must(d.data_len <= BLOCK_SIZE);
		else
			must(why);
	}
}

/* Writes `m` as it should stand on the wire; false for what we never send. */
static bool write_again(const struct wire_message *m, struct buf *b)
{
	switch (m->type) {
	case WIRE_CHOKE:
	case WIRE_UNCHOKE:
	case WIRE_INTERESTED:
	case WIRE_NOT_INTERESTED:
	case WIRE_HAVE_ALL:
	case WIRE_HAVE_NONE:
		wire_add_simple(b, m->type);
		return true;
	case WIRE_HAVE:
		wire_add_have(b, m->piece);
		return true;
	case WIRE_BITFIELD:
		wire_add_bitfield(b, m->data, m->data_len);
		return true;
	case WIRE_REQUEST:
	case WIRE_CANCEL:
	case WIRE_REJECT:
		wire_add_block(b, m->type, m->piece, m->begin, m->length);
		return true;
	case WIRE_PIECE:
		must(m->length == m->data_len && m->length > 0 && m->length <= BLOCK_SIZE);
		wire_add_piece_header(b, m->piece, m->begin, m->length);
		buf_add(b, m->data, m->data_len);
		return true;
	case WIRE_EXTENDED:
		wire_add_extended(b, m->ext_id, m->data, m->data_len);
		return true;
	case WIRE_HASH_REQUEST:
	case WIRE_HASH_REJECT:
		must(m->hashes.n_hashes == 0);
		wire_add_hashes(b, m->type, &m->hashes);
		return true;
	case WIRE_HASHES:
		must(m->hashes.n_hashes >= m->hashes.length);
		wire_add_hashes(b, m->type, &m->hashes);
		return true;
	default:
		return false;
	}
}

/* One message of `length` bytes; false when it would end the connection. */
static bool read_message(const uint8_t *bytes, uint32_t length, uint32_t n_pieces)
{
	struct wire_message m;
	struct buf b = {0};

	if (wire_check(bytes[0], length, n_pieces))
		return false;
	must(length <= EXT_MAX_MESSAGE || bytes[0] == WIRE_BITFIELD);
	if (wire_parse(bytes[0], bytes + 1, length - 1, &m))
		return false;
	must(m.type == bytes[0]);
	if (write_again(&m, &b)) {
		must(b.len == 4 + (size_t)length);
		must(memcmp(buf_bytes(&b) + 4, bytes, length) == 0);
	}
	buf_done(&b);
	if (m.type == WIRE_EXTENDED)
		read_extended(&m);
	return true;
}

static void read_handshake(const uint8_t *bytes)
{
	struct wire_handshake h;
	struct buf b = {0};

	if (!wire_parse_handshake(bytes, &h))
		return;
	wire_add_handshake(&b, h.info_hash, h.peer_id, wire_has_v2(h.reserved));
	must(b.len == WIRE_HANDSHAKE_LEN && memcmp(buf_bytes(&b), bytes, 20) == 0);
	must(memcmp(buf_bytes(&b) + 28, bytes + 28, 40) == 0);
	buf_done(&b);
	char name[64];
	ext_client_name(h.peer_id, name);
	must(memchr(name, 0, sizeof(name)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cursor c = cursor_on(data, size);
	uint32_t n_pieces = cursor_u8(&c) * 8u;
	const uint8_t *handshake = cursor_take(&c, WIRE_HANDSHAKE_LEN);

	if (!handshake)
		return 0;
	read_handshake(handshake);
	while (c.left >= 4) {
		uint32_t length = cursor_u32(&c);
		if (length == 0)
			continue;
		/* A conn asks this as soon as length and type are there. */
		if (c.left > 0 && wire_check(*c.p, length, n_pieces))
			break;
		const uint8_t *message = cursor_take(&c, length);
		if (!message || !read_message(message, length, n_pieces))
			break;
	}
	return 0;
}
