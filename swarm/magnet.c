// SPDX-License-Identifier: MIT
/* See magnet.h.
 *
 * Unknown parameters, and values of known ones that make no sense (a peer by name, a tracker
 * without end), are left out; a link must name at least one info-hash, and a hash that is no hash
 * refuses it. "xt.1", "tr.2" and the like are the same as without the number.
 *
 * Thread: any (pure).
 */
#include "swarm/magnet.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/mem.h"
#include "swarm/metainfo.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* -- parsing --------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'   ? c - '0'
	       : c >= 'a' && c <= 'f' ? c - 'a' + 10
	       : c >= 'A' && c <= 'F' ? c - 'A' + 10
				      : -1;
}

/* A new string, or NULL when a control character (or NUL) would be in it. */
static char *unescape(const char *text, size_t len, bool plus_is_space)
{
	CLEANUP_FREE char *s = xmalloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int high = -1, low = -1;
		if (text[i] == '%' && len - i > 2) {
			high = hex_digit(text[i + 1]);
			low = hex_digit(text[i + 2]);
		}
		char c = text[i] == '+' && plus_is_space ? ' ' : text[i];
		if (high >= 0 && low >= 0) {
			c = (char)(high << 4 | low);
			i += 2;
		}
		if ((unsigned char)c < 0x20 || c == 0x7f)
			return NULL;
		s[n++] = c;
	}
	s[n] = '\0';
	return steal_ptr(&s);
}

/* RFC 4648; 32 letters are the 20 bytes. */
static int base32_decode(const char *text, uint8_t ret[SHA1_LEN])
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < 32; i++) {
		int c = (unsigned char)text[i] | 0x20;
		if (c >= 'a' && c <= 'z')
			c -= 'a';
		else if (text[i] >= '2' && text[i] <= '7')
			c = text[i] - '2' + 26;
		else
			return -EINVAL;
		bits = bits << 5 | (unsigned)c;
		if (i % 8 == 7) {
			for (unsigned k = 0; k < 5; k++)
				ret[i / 8 * 5 + k] = (uint8_t)(bits >> (32 - 8 * k));
		}
	}
	return 0;
}

static int take_topic(struct magnet *m, const char *value, const char **ret_why)
{
	size_t len = strlen(value);

	if (!strncasecmp(value, "urn:btih:", 9)) {
		int r = len == 9 + 40   ? hex_decode(value + 9, m->hash_v1, SHA1_LEN)
			: len == 9 + 32 ? base32_decode(value + 9, m->hash_v1)
					: -EINVAL;
		*ret_why = "urn:btih: needs 40 hex digits or 32 letters of base32";
		m->has_v1 = !r;
		return r;
	}
	if (!strncasecmp(value, "urn:btmh:", 9)) {
		/* A multihash: 0x12 for SHA-256, 0x20 bytes. */
		bool sha256_hash = len == 9 + 4 + 64 && !strncmp(value + 9, "1220", 4);
		int r = sha256_hash ? hex_decode(value + 13, m->hash_v2, SHA256_LEN) : -EINVAL;
		*ret_why = "urn:btmh: needs 1220 and 64 hex digits";
		m->has_v2 = !r;
		return r;
	}
	return 0;
}

struct list {
	char ***strings; /* NULL-terminated */
	size_t n, cap, max;
};

static void take_url(struct list *l, const char *value, size_t len)
{
	CLEANUP_FREE char *url = unescape(value, len, false);

	if (!url || !*url || strlen(url) > TORRENT_MAX_URL || strchr(url, ' ') || l->n == l->max)
		return;
	GROW(*l->strings, l->n + 1, l->cap);
	(*l->strings)[l->n++] = steal_ptr(&url);
	(*l->strings)[l->n] = NULL;
}

static void take_peer(struct magnet *m, size_t *cap, const char *value)
{
	struct addr a;

	/* Names are not looked up: a link should not make us ask a name server of its choice. */
	if (m->n_peers == PEERS_MAX_KNOWN || addr_parse(value, 0, &a) < 0 || !a.port)
		return;
	GROW(m->peers, m->n_peers, *cap);
	m->peers[m->n_peers++] = a;
}

static bool key_is(const char *key, size_t len, const char *name)
{
	size_t n = strlen(name);

	if (len < n || strncasecmp(key, name, n))
		return false;
	return len == n || (key[n] == '.' && strspn(key + n + 1, "0123456789") >= len - n - 1);
}

static int parse(const char *query, struct magnet *m, const char **ret_why)
{
	struct list trackers = {.strings = &m->trackers, .max = TORRENT_MAX_TRACKERS};
	struct list web_seeds = {.strings = &m->web_seeds, .max = TORRENT_MAX_WEBSEEDS};
	size_t peers_cap = 0;

	for (const char *p = query; *p; p += *p == '&') {
		size_t key_len = strcspn(p, "=&"), len = strcspn(p, "&");
		const char *key = p, *value = p + key_len + 1;
		p += len;
		if (key_len == len)
			continue;
		len -= key_len + 1;
		if (key_is(key, key_len, "tr")) {
			take_url(&trackers, value, len);
			continue;
		}
		if (key_is(key, key_len, "ws")) {
			take_url(&web_seeds, value, len);
			continue;
		}
		CLEANUP_FREE char *text = unescape(value, len, true);
		if (!text)
			continue;
		if (key_is(key, key_len, "xt")) {
			int r = take_topic(m, text, ret_why);
			if (r < 0)
				return r;
		} else if (key_is(key, key_len, "x.pe")) {
			take_peer(m, &peers_cap, text);
		} else if (key_is(key, key_len, "dn") && !m->name &&
			   !metainfo_name_problem(text, strlen(text))) {
			m->name = steal_ptr(&text);
		}
	}
	if (!m->has_v1 && !m->has_v2) {
		*ret_why = "no xt=urn:btih: or xt=urn:btmh: in it";
		return -EINVAL;
	}
	return 0;
}

int magnet_parse(const char *uri, struct magnet *ret, const char **ret_why)
{
	if (strncasecmp(uri, "magnet:?", 8)) {
		*ret_why = "does not begin with magnet:?";
		return -EINVAL;
	}
	struct magnet m = {0};
	m.trackers = xcalloc(1, sizeof(*m.trackers));
	m.web_seeds = xcalloc(1, sizeof(*m.web_seeds));
	int r = parse(uri + 8, &m, ret_why);
	if (r < 0)
		magnet_done(&m);
	else
		*ret = m;
	return r;
}

static void free_strings(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void magnet_done(struct magnet *m)
{
	free(m->name);
	free_strings(m->trackers);
	free_strings(m->web_seeds);
	free(m->peers);
	*m = (struct magnet) {0};
}

/* -- writing --------------------------------------------------------------------------------- */

static void add_escaped(struct buf *b, const char *key, const char *s)
{
	buf_addf(b, "&%s=", key);
	for (; *s; s++) {
		bool plain = (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
			     (*s >= '0' && *s <= '9') || strchr("-._~", *s);
		if (plain)
			buf_u8(b, (uint8_t)*s);
		else
			buf_addf(b, "%%%02X", (unsigned char)*s);
	}
}

char *magnet_of(const struct metainfo *m)
{
	CLEANUP(buf_done) struct buf b = {0};
	char hex[2 * SHA256_LEN + 1];

	buf_add_str(&b, "magnet:?");
	if (m->has_v1) {
		hex_encode(m->hash_v1, SHA1_LEN, hex);
		buf_addf(&b, "xt=urn:btih:%s", hex);
	}
	if (m->has_v2) {
		hex_encode(m->hash_v2, SHA256_LEN, hex);
		buf_addf(&b, "%sxt=urn:btmh:1220%s", m->has_v1 ? "&" : "", hex);
	}
	add_escaped(&b, "dn", m->name);
	for (char ***tier = m->tiers; *tier; tier++) {
		for (char **url = *tier; *url; url++)
			add_escaped(&b, "tr", *url);
	}
	for (char **url = m->web_seeds; *url; url++)
		add_escaped(&b, "ws", *url);
	return xstrndup((const char *)buf_bytes(&b), b.len);
}
