/* SPDX-License-Identifier: MIT */
/* Fuzzes extension messages: the input is read as a handshake and as a metadata message, and what
 * was understood of it, written as our own, must be understood the same.
 */
#include "swarm/ext.h"

#include "base/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void read_handshake(const uint8_t *data, size_t size)
{
	struct ext_handshake h = {0}, again = {0};
	const char *why = NULL;
	struct buf b = {0};

	int r = ext_parse_handshake(data, size, &h, &why);
	must(r == 0 || (r == -EINVAL && why));
	if (r < 0)
		return;
	must(strnlen(h.client, sizeof(h.client)) < sizeof(h.client));
	for (const char *s = h.client; *s; s++)
		must(*s >= 0x20 && *s <= 0x7e);
	ext_add_handshake(&b, h.port, h.reqq, h.upload_only, h.metadata_size, "fuzz");
	must(ext_parse_handshake(buf_bytes(&b), b.len, &again, &why) == 0);
	must(again.port == h.port && again.reqq == h.reqq && again.upload_only == h.upload_only);
	must(again.metadata_size == h.metadata_size);
	buf_done(&b);
}

static void read_metadata(const uint8_t *data, size_t size)
{
	struct ext_metadata m, again;
	const char *why = NULL;
	struct buf b = {0};

	int r = ext_parse_metadata(data, size, &m, &why);
	must(r == 0 || ((r == -EINVAL || r == -EOPNOTSUPP) && why));
	if (r < 0)
		return;
	must(m.data_len <= BLOCK_SIZE && m.total_size <= TORRENT_MAX_BYTES);
	must((m.type == EXT_METADATA_DATA) == (m.data_len > 0));
	if (m.data)
		must(m.data + m.data_len == data + size);
	ext_add_metadata(&b, m.type, m.piece, m.total_size);
	if (m.data)
		buf_add(&b, m.data, m.data_len);
	must(ext_parse_metadata(buf_bytes(&b), b.len, &again, &why) == 0);
	must(again.type == m.type && again.piece == m.piece && again.total_size == m.total_size);
	must(again.data_len == m.data_len);
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	read_handshake(data, size);
	read_metadata(data, size);
	return 0;
}
