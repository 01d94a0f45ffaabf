/* SPDX-License-Identifier: MIT */
/* Extension messages (BEP 10): the handshake, and metadata (BEP 9); names of clients.
 *
 * Numbers out of their range are as good as not told: a peer that says nonsense about itself harms
 * only itself.  What is no dictionary at all is an error.
 *
 * Thread: any (pure).
 */
#include "swarm/ext.h"

#include "base/bencode.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void free_doc(struct ben_doc **doc)
{
	ben_free(*doc);
}
#define CLEANUP_BEN __attribute__((cleanup(free_doc)))

/* The number under `key`, `before` when it is missing or not within [0, max]. */
static uint64_t get_number(struct ben dict, const char *key, uint64_t max, uint64_t before)
{
	int64_t v = ben_int(ben_get(dict, key), -1);
	return v >= 0 && (uint64_t)v <= max ? (uint64_t)v : before;
}

/* `len` bytes from outside as a name: escaped, cut to fit. */
static void put_name(const void *data, size_t len, char ret[64])
{
	snprintf(ret, 64, "%.63s", log_quote(data, MIN(len, (size_t)63)));
}

int ext_parse_handshake(
	const uint8_t *data, size_t len, struct ext_handshake *ret, const char **ret_why)
{
	CLEANUP_BEN struct ben_doc *doc = NULL;
	size_t at;
	int r = ben_parse(data, len, EXT_MAX_TOKENS, &doc, ret_why, &at);
	if (r < 0)
		return -EINVAL;
	struct ben root = ben_root(doc);
	if (ben_type(root) != BEN_DICT) {
		*ret_why = "extension handshake: not a dictionary";
		return -EINVAL;
	}
	struct ben m = ben_get_type(root, "m", BEN_DICT);
	ret->ut_metadata = (uint8_t)get_number(m, "ut_metadata", UINT8_MAX, ret->ut_metadata);
	ret->upload_only_id = (uint8_t)get_number(m, "upload_only", UINT8_MAX, ret->upload_only_id);
	ret->donthave_id = (uint8_t)get_number(m, "lt_donthave", UINT8_MAX, ret->donthave_id);
	ret->upload_only = get_number(root, "upload_only", INT64_MAX, ret->upload_only) == 1;
	ret->reqq = (uint32_t)get_number(root, "reqq", UINT32_MAX, ret->reqq);
	ret->port = (uint16_t)get_number(root, "p", UINT16_MAX, ret->port);
	ret->metadata_size = get_number(root, "metadata_size", INT64_MAX, ret->metadata_size);
	size_t client_len;
	const uint8_t *client = ben_bytes(ben_get(root, "v"), &client_len);
	if (client)
		put_name(client, client_len, ret->client);
	return 0;
}

static void add_number(struct buf *b, const char *key, uint64_t v)
{
	ben_add_str(b, key);
	ben_add_int(b, (int64_t)v);
}

void ext_add_handshake(struct buf *payload, uint16_t port, uint32_t reqq, bool upload_only,
	uint64_t metadata_size, const char *client)
{
	buf_add_str(payload, "d");
	ben_add_str(payload, "m");
	buf_add_str(payload, "d");
	add_number(payload, "lt_donthave", EXT_DONTHAVE);
	add_number(payload, "upload_only", EXT_UPLOAD_ONLY);
	add_number(payload, "ut_metadata", EXT_UT_METADATA);
	buf_add_str(payload, "e");
	if (metadata_size > 0)
		add_number(payload, "metadata_size", metadata_size);
	if (port > 0)
		add_number(payload, "p", port);
	add_number(payload, "reqq", reqq);
	if (upload_only)
		add_number(payload, "upload_only", 1);
	ben_add_str(payload, "v");
	ben_add_str(payload, client);
	buf_add_str(payload, "e");
}

int ext_parse_metadata(
	const uint8_t *data, size_t len, struct ext_metadata *ret, const char **ret_why)
{
	CLEANUP_BEN struct ben_doc *doc = NULL;
	size_t at, used;
	int r = ben_parse_prefix(data, len, EXT_MAX_TOKENS, &doc, &used, ret_why, &at);
	if (r < 0)
		return -EINVAL;
	struct ben root = ben_root(doc);
	int64_t type = ben_int(ben_get(root, "msg_type"), -1);
	int64_t piece = ben_int(ben_get(root, "piece"), -1);
	int64_t total = ben_int(ben_get(root, "total_size"), 0);

	if (ben_type(root) != BEN_DICT || type < 0)
		*ret_why = "metadata message: no message type";
	else if (type > EXT_METADATA_REJECT)
		*ret_why = "metadata message: unknown type";
	else if (piece < 0 || piece > UINT32_MAX)
		*ret_why = "metadata message: piece missing or out of range";
	else if (type == EXT_METADATA_DATA && (total <= 0 || total > TORRENT_MAX_BYTES))
		*ret_why = "metadata message: total size missing or out of range";
	else if (type == EXT_METADATA_DATA && (used == len || len - used > BLOCK_SIZE))
		*ret_why = "metadata message: no data, or more than 16 KiB";
	else if (type != EXT_METADATA_DATA && used != len)
		*ret_why = "metadata message: data behind what has none";
	else
		*ret_why = NULL;
	if (*ret_why)
		return type > EXT_METADATA_REJECT ? -EOPNOTSUPP : -EINVAL;

	*ret = (struct ext_metadata) {
		.type = (enum ext_metadata_type)type,
		.piece = (uint32_t)piece,
		.total_size = type == EXT_METADATA_DATA ? (uint64_t)total : 0,
		.data = type == EXT_METADATA_DATA ? data + used : NULL,
		.data_len = len - used,
	};
	return 0;
}

void ext_add_metadata(
	struct buf *payload, enum ext_metadata_type type, uint32_t piece, uint64_t total_size)
{
	buf_add_str(payload, "d");
	add_number(payload, "msg_type", type);
	add_number(payload, "piece", piece);
	if (type == EXT_METADATA_DATA)
		add_number(payload, "total_size", total_size);
	buf_add_str(payload, "e");
}

/* -- names ------------------------------------------------------------------------------------ */

/* Clients by the two letters of an Azureus-style id. */
static const struct {
	char id[3];
	const char *name;
} clients[] = {
	{"A2", "aria2"},
	{"AZ", "Vuze"},
	{"BC", "BitComet"},
	{"BI", "BiglyBT"},
	{"BT", "BitTorrent"},
	{"DE", "Deluge"},
	{"KT", "KTorrent"},
	{"LT", "libtorrent"},
	{"PF", "p2pfs"},
	{"TR", "Transmission"},
	{"TX", "Tixati"},
	{"UM", "uTorrent Mac"},
	{"UT", "uTorrent"},
	{"WW", "WebTorrent"},
	{"XL", "Xunlei"},
	{"lt", "rTorrent"},
	{"qB", "qBittorrent"},
};

/* A digit of a version: 0 to 9, then letters from 10 on; -1: none. */
static int version_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'Z')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 36;
	return -1;
}

void ext_client_name(const uint8_t peer_id[20], char ret[64])
{
	int v[4];
	bool azureus = peer_id[0] == '-' && peer_id[7] == '-';
	for (unsigned i = 0; i < 4; i++) {
		v[i] = version_digit(peer_id[3 + i]);
		azureus = azureus && v[i] >= 0;
	}
	for (size_t i = 0; azureus && i < ARRAY_SIZE(clients); i++) {
		if (memcmp(peer_id + 1, clients[i].id, 2) != 0)
			continue;
		snprintf(ret, 64, "%s %d.%d.%d.%d", clients[i].name, v[0], v[1], v[2], v[3]);
		return;
	}
	put_name(peer_id, 8, ret);
}

void ext_make_peer_id(uint8_t ret[20])
{
	memcpy(ret, "-PF0100-", 8);
	random_bytes(ret + 8, 12);
}
