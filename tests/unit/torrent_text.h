/* SPDX-License-Identifier: MIT */
/* Torrents for tests, written as bencode with the binary parts as $X:
 *
 *	$R  "pieces root" of a file of two pieces of 16 KiB, whose layer $L has
 *	$r  "pieces root" of a file of one piece
 *	$L  "piece layers" with $R's
 *	$3  "pieces" of 3 hashes (one digit)
 *
 * Thread: the main one.
 */
#ifndef TESTS_UNIT_TORRENT_TEXT_H
#define TESTS_UNIT_TORRENT_TEXT_H

#include "base/bencode.h"
#include "base/buf.h"
#include "base/merkle.h"

#include <string.h>

#define TEXT(s) s, sizeof(s) - 1

static inline void torrent_layer(uint8_t ret[2 * SHA256_LEN])
{
	memset(ret, 'a', SHA256_LEN);
	memset(ret + SHA256_LEN, 'b', SHA256_LEN);
}

static inline struct buf torrent_text(const char *text, size_t len)
{
	struct buf b = {0};
	uint8_t layer[2 * SHA256_LEN], root[SHA256_LEN];

	torrent_layer(layer);
	merkle_root(layer, 2, 0, 1, root);
	for (size_t i = 0; i < len; i++) {
		if (text[i] != '$') {
			buf_u8(&b, (uint8_t)text[i]);
			continue;
		}
		char what = text[++i];
		if (what == 'R' || what == 'r') {
			ben_add_str(&b, "pieces root");
			ben_add_bytes(&b, what == 'R' ? root : layer, SHA256_LEN);
		} else if (what == 'L') {
			buf_add_str(&b, "12:piece layersd");
			ben_add_bytes(&b, root, SHA256_LEN);
			ben_add_bytes(&b, layer, sizeof(layer));
			buf_u8(&b, 'e');
		} else {
			size_t n = (size_t)(what - '0') * SHA1_LEN;
			buf_addf(&b, "6:pieces%zu:", n);
			memset(buf_extend(&b, n), 'p', n);
		}
	}
	return b;
}

#endif
