// SPDX-License-Identifier: MIT
/* See describe.h.
 *
 * Thread: the main one.
 */
#include "swarm/describe.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "swarm/magnet.h"
#include "swarm/metainfo.h"
#include "swarm/profile.h"

#include <stdio.h>
#include <string.h>

#define REPLACEMENT "\xef\xbf\xbd" /* U+FFFD */

/* Bytes of the UTF-8 character at `s`, or 0 when there is none (RFC 3629: no surrogates, nothing
 * longer than needed). */
static unsigned utf8_len(const unsigned char *s)
{
	unsigned n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (s[0] > 0xf4)
		return 0;
	for (unsigned i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
		   (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
	return bad ? 0 : n;
}

json_t *describe_string(const char *bytes)
{
	size_t len = strlen(bytes), n = 0;
	CLEANUP_FREE char *s = xmalloc(3 * len + 1);

	for (size_t i = 0; i < len;) {
		unsigned k = utf8_len((const unsigned char *)bytes + i);
		memcpy(s + n, k ? bytes + i : REPLACEMENT, k ? k : 3);
		n += k ? k : 3;
		i += k ? k : 1;
	}
	return json_stringn(s, n);
}

char *describe_text(const char *bytes)
{
	char *s = xstrdup(bytes);

	for (unsigned char *p = (unsigned char *)s; *p;) {
		unsigned k = utf8_len(p);
		/* U+0080 to U+009F are control characters, too, as are these bytes alone. */
		bool c1 = (k == 2 && p[0] == 0xc2 && p[1] < 0xa0) || (k == 0 && *p < 0xa0);
		if (c1 || *p < 0x20 || *p == 0x7f)
			memset(p, '?', k ? k : 1);
		p += k ? k : 1;
	}
	return s;
}

const char *describe_version(const struct metainfo *m)
{
	return m->has_v1 && m->has_v2 ? "hybrid" : m->has_v1 ? "v1" : "v2";
}

char *describe_path(const struct metainfo *m, unsigned file)
{
	const char *path = m->files[file].path;

	return m->single ? xstrdup(path) : xasprintf("%s/%s", m->name, path);
}

static json_t *hex_string(const uint8_t *data, size_t len)
{
	char hex[2 * SHA256_LEN + 1];

	hex_encode(data, len, hex);
	return json_string(hex);
}

static json_t *string_list(char **list)
{
	json_t *j = json_array();

	for (; *list; list++)
		json_array_append_new(j, describe_string(*list));
	return j;
}

static void add_hashes(json_t *j, const uint8_t *v1, const uint8_t *v2)
{
	if (v1)
		json_object_set_new(j, "info_hash_v1", hex_string(v1, SHA1_LEN));
	if (v2)
		json_object_set_new(j, "info_hash_v2", hex_string(v2, SHA256_LEN));
}

static json_t *file_list(const struct metainfo *m)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < m->n_files; i++) {
		const struct metainfo_file *f = &m->files[i];
		CLEANUP_FREE char *path = describe_path(m, i);
		json_t *j = json_object();
		json_object_set_new(j, "path", describe_string(path));
		json_object_set_new(j, "offset", json_integer((json_int_t)f->offset));
		json_object_set_new(j, "length", json_integer((json_int_t)f->length));
		json_object_set_new(j, "executable", json_boolean(f->executable));
		if (m->has_v2 && f->length)
			json_object_set_new(j, "pieces_root", hex_string(f->root, SHA256_LEN));
		json_array_append_new(list, j);
	}
	return list;
}

static json_t *describe_profile(const struct profile *p)
{
	json_t *j = json_object();

	json_object_set_new(j, "ranges", json_integer((json_int_t)p->n));
	json_object_set_new(j, "bytes", json_integer((json_int_t)profile_bytes(p)));
	return j;
}

json_t *describe_metainfo(const struct metainfo *m)
{
	CLEANUP_FREE char *magnet = magnet_of(m);
	json_t *j = json_object(), *tiers = json_array();

	json_object_set_new(j, "name", describe_string(m->name));
	json_object_set_new(j, "version", json_string(describe_version(m)));
	json_object_set_new(j, "lacks_layers", json_boolean(m->lacks_layers));
	add_hashes(j, m->has_v1 ? m->hash_v1 : NULL, m->has_v2 ? m->hash_v2 : NULL);
	json_object_set_new(j, "size", json_integer((json_int_t)m->size));
	json_object_set_new(j, "piece_length", json_integer(m->piece_length));
	json_object_set_new(j, "pieces", json_integer(m->n_pieces));
	json_object_set_new(j, "private", json_boolean(m->is_private));
	json_object_set_new(j, "single", json_boolean(m->single));
	if (m->comment)
		json_object_set_new(j, "comment", describe_string(m->comment));
	if (m->created_by)
		json_object_set_new(j, "created_by", describe_string(m->created_by));
	if (m->creation_date)
		json_object_set_new(j, "creation_date", json_integer(m->creation_date));
	for (char ***tier = m->tiers; *tier; tier++)
		json_array_append_new(tiers, string_list(*tier));
	json_object_set_new(j, "trackers", tiers);
	json_object_set_new(j, "web_seeds", string_list(m->web_seeds));
	if (m->profile)
		json_object_set_new(j, "profile", describe_profile(m->profile));
	json_object_set_new(j, "magnet", json_string(magnet));
	json_object_set_new(j, "files", file_list(m));
	return j;
}

json_t *describe_magnet(const struct magnet *m)
{
	json_t *j = json_object(), *tiers = json_array(), *peers = json_array();

	if (m->name)
		json_object_set_new(j, "name", describe_string(m->name));
	add_hashes(j, m->has_v1 ? m->hash_v1 : NULL, m->has_v2 ? m->hash_v2 : NULL);
	for (char **url = m->trackers; *url; url++)
		json_array_append_new(tiers, json_pack("[o]", describe_string(*url)));
	json_object_set_new(j, "trackers", tiers);
	json_object_set_new(j, "web_seeds", string_list(m->web_seeds));
	for (size_t i = 0; i < m->n_peers; i++) {
		char text[ADDR_STRLEN];
		json_array_append_new(peers, json_string(addr_format(&m->peers[i], text)));
	}
	json_object_set_new(j, "peers", peers);
	return j;
}

void describe_print(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(j);
}
