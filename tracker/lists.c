/* SPDX-License-Identifier: MIT */
/* The operator's files: see lists.h.
 *
 * All sets are sorted arrays.  Of passkeys only a keyed hash is kept: nothing to leak, and looking
 * one up takes as long for a nearly right one as for any other.
 *
 * Thread: any.
 */
#include "tracker/lists.h"

#include "base/bencode.h"
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "tracker/siphash.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct network {
	uint8_t ip[16]; /* what is beyond `bits` is zero */
	uint8_t bits;   /* of 128 */
	uint16_t site;
};

struct lists {
	bool have_allow, have_keys;
	uint8_t (*hashes)[HASH_LEN]; /* owned, sorted */
	size_t n_hashes, cap_hashes;
	struct sipkey key;
	uint64_t *keys; /* owned, sorted */
	size_t n_keys, cap_keys;
	struct network *networks; /* owned, sorted: longest prefix first, then by address */
	size_t n_networks, cap_networks;
	char **sites; /* owned; site i + 1 */
	size_t n_sites, cap_sites;
};

void lists_free(struct lists *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_sites; i++)
		free(l->sites[i]);
	free(l->sites);
	free(l->networks);
	free(l->keys);
	free(l->hashes);
	free(l);
}

/* -- lines ---------------------------------------------------------------------------------- */

typedef const char *(*line_fn)(struct lists *l, char *line); /* NULL, or what is wrong */

static int load_lines(struct lists *l, const char *path, line_fn fn, char **ret_error)
{
	CLEANUP_FREE uint8_t *data = NULL;
	size_t len;
	int err = read_file(path, LISTS_MAX_FILE, &data, &len);
	if (err < 0) {
		*ret_error = xasprintf("%s: %s", path, strerror(-err));
		return err;
	}
	if (memchr(data, '\0', len)) {
		*ret_error = xasprintf("%s: not a text file", path);
		return -EINVAL;
	}
	char *rest = (char *)data, *line;
	for (unsigned number = 1; (line = strsep(&rest, "\n")); number++) {
		line[strcspn(line, "#")] = '\0';
		while (isspace((unsigned char)*line))
			line++;
		for (size_t n = strlen(line); n && isspace((unsigned char)line[n - 1]); n--)
			line[n - 1] = '\0';
		const char *why = *line ? fn(l, line) : NULL;
		if (why) {
			*ret_error = xasprintf("%s: line %u: %s: %s", path, number,
				log_quote(line, strlen(line)), why);
			return -EINVAL;
		}
	}
	return 0;
}

/* -- torrents ------------------------------------------------------------------------------- */

static void add_hash(struct lists *l, const uint8_t *hash)
{
	GROW(l->hashes, l->n_hashes, l->cap_hashes);
	memcpy(l->hashes[l->n_hashes++], hash, HASH_LEN);
}

static const char *allow_line(struct lists *l, char *line)
{
	uint8_t hash[SHA256_LEN];
	size_t digits = strlen(line);
	if ((digits != 2 * SHA1_LEN && digits != 2 * SHA256_LEN) ||
		hex_decode(line, hash, digits / 2) < 0)
		return "not an info-hash: 40 or 64 hex digits";
	add_hash(l, hash);
	return NULL;
}

/* Both hashes of a hybrid; NULL, or what is wrong. */
static const char *add_torrent(struct lists *l, const uint8_t *data, size_t len)
{
	struct ben_doc *doc;
	const char *why = NULL;
	size_t at, info_len;
	if (ben_parse(data, len, BENCODE_MAX_TOKENS, &doc, &why, &at) < 0)
		return why;
	struct ben info = ben_get_type(ben_root(doc), "info", BEN_DICT);
	const uint8_t *raw = ben_raw(info, &info_len);
	uint8_t hash[SHA256_LEN];
	bool v1 = ben_type(ben_get(info, "pieces")) == BEN_STR;
	bool v2 = ben_int(ben_get(info, "meta version"), 0) == 2;
	if (!raw || (!v1 && !v2))
		why = "no torrent";
	if (raw && v1) {
		sha1(raw, info_len, hash);
		add_hash(l, hash);
	}
	if (raw && v2) {
		sha256(raw, info_len, hash);
		add_hash(l, hash);
	}
	ben_free(doc);
	return why;
}

static int is_torrent(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);
	return entry->d_name[0] != '.' && n > 8 && !strcmp(entry->d_name + n - 8, ".torrent");
}

/* A torrent that cannot be read is said and left out: one upload must not stop the rest. */
static int load_folder(struct lists *l, const char *path, char **ret_error)
{
	struct dirent **entries;
	int n = scandir(path, &entries, is_torrent, NULL);
	if (n < 0) {
		int err = -errno;
		*ret_error = xasprintf("%s: %s", path, strerror(-err));
		return err;
	}
	for (int i = 0; i < n; i++) {
		CLEANUP_FREE char *file = xasprintf("%s/%s", path, entries[i]->d_name);
		CLEANUP_FREE uint8_t *data = NULL;
		size_t len;
		struct stat st;
		/* A pipe would be waited for. */
		bool regular = stat(file, &st) < 0 || S_ISREG(st.st_mode);
		int err = regular ? read_file(file, TORRENT_MAX_BYTES, &data, &len) : 0;
		const char *why = !regular ? "no file" :
			err < 0	   ? strerror(-err) :
				     add_torrent(l, data, len);
		if (why)
			log_warn("%s: %s: left out", log_quote(file, strlen(file)), why);
		free(entries[i]);
	}
	free(entries);
	return 0;
}

static int compare_hashes(const void *a, const void *b)
{
	return memcmp(a, b, HASH_LEN);
}

static int load_allow(struct lists *l, const char *path, char **ret_error)
{
	struct stat st;
	l->have_allow = true;
	int err = stat(path, &st) == 0 && S_ISDIR(st.st_mode) ?
		load_folder(l, path, ret_error) :
		load_lines(l, path, allow_line, ret_error);
	if (l->n_hashes)
		qsort(l->hashes, l->n_hashes, HASH_LEN, compare_hashes);
	return err;
}

bool lists_allows(const struct lists *l, const uint8_t hash[HASH_LEN])
{
	if (!l->have_allow)
		return true;
	return l->n_hashes && bsearch(hash, l->hashes, l->n_hashes, HASH_LEN, compare_hashes);
}

/* -- passkeys ------------------------------------------------------------------------------- */

static const char *key_line(struct lists *l, char *line)
{
	static const char chars[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
	size_t len = strcspn(line, " \t");
	bool good = strspn(line, chars) >= len && len >= PASSKEY_MIN && len <= 64;
	if (!good) {
		/* A secret, even a bad one, is not for the log. */
		strcpy(line, "*");
		return "not a passkey: 8 to 64 of A-Z a-z 0-9 _ -";
	}
	GROW(l->keys, l->n_keys, l->cap_keys);
	l->keys[l->n_keys++] = siphash24(&l->key, line, len);
	return NULL;
}

static int compare_keys(const void *a, const void *b)
{
	uint64_t x, y;
	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x > y) - (x < y);
}

bool lists_needs_key(const struct lists *l)
{
	return l->have_keys;
}

bool lists_knows_key(const struct lists *l, struct text key)
{
	uint64_t hash = siphash24(&l->key, key.p, key.len);
	return l->n_keys && bsearch(&hash, l->keys, l->n_keys, sizeof(hash), compare_keys);
}

/* -- sites ---------------------------------------------------------------------------------- */

static void mask(uint8_t ip[16], unsigned bits)
{
	for (unsigned i = 0; i < 16; i++) {
		unsigned keep = bits > 8 * i ? bits - 8 * i : 0;
		if (keep < 8)
			ip[i] &= (uint8_t)(0xff << (8 - keep));
	}
}

static int compare_networks(const void *a, const void *b)
{
	const struct network *x = a, *y = b;
	if (x->bits != y->bits)
		return x->bits > y->bits ? -1 : 1;
	return memcmp(x->ip, y->ip, sizeof(x->ip));
}

static const char *site_line(struct lists *l, char *line)
{
	char *name = line + strcspn(line, " \t");
	if (!*name)
		return "a network and the name of its site are wanted";
	*name++ = '\0';
	name += strspn(name, " \t");
	char *slash = strchr(line, '/');
	if (slash)
		*slash++ = '\0';
	bool v6 = strchr(line, ':');
	CLEANUP_FREE char *bracketed = v6 ? xasprintf("[%s]", line) : xstrdup(line);
	struct addr a;
	uint64_t bits = v6 ? 128 : 32;
	if (addr_parse(bracketed, 1, &a) < 0)
		return "not a network";
	if (slash && parse_number(slash, 0, bits, &bits) < 0)
		return "not the length of a prefix";
	size_t site = 0;
	while (site < l->n_sites && strcmp(l->sites[site], name) != 0)
		site++;
	if (site == LISTS_MAX_SITES)
		return "too many sites";
	if (site == l->n_sites) {
		GROW(l->sites, l->n_sites, l->cap_sites);
		l->sites[l->n_sites++] = xstrdup(name);
	}
	GROW(l->networks, l->n_networks, l->cap_networks);
	struct network *n = &l->networks[l->n_networks++];
	*n = (struct network) {.bits = (uint8_t)(v6 ? bits : bits + 96),
		.site = (uint16_t)(site + 1)};
	memcpy(n->ip, a.ip, sizeof(n->ip));
	mask(n->ip, n->bits);
	return NULL;
}

uint16_t lists_site(const struct lists *l, const struct addr *a)
{
	for (size_t i = 0; i < l->n_networks;) {
		/* All networks of one length are together. */
		size_t end = i;
		uint8_t bits = l->networks[i].bits;
		struct network want = {.bits = bits};
		memcpy(want.ip, a->ip, sizeof(want.ip));
		mask(want.ip, bits);
		while (end < l->n_networks && l->networks[end].bits == bits)
			end++;
		const struct network *found = bsearch(&want, l->networks + i, end - i,
			sizeof(want), compare_networks);
		if (found)
			return found->site;
		i = end;
	}
	return 0;
}

/* -- all of them ------------------------------------------------------------------------------ */

int lists_load(const struct lists_paths *paths, struct lists **ret, char **ret_error)
{
	struct lists *l = xcalloc(1, sizeof(*l));
	random_bytes(&l->key, sizeof(l->key));
	int err = paths->allow ? load_allow(l, paths->allow, ret_error) : 0;
	if (!err && paths->passkeys) {
		l->have_keys = true;
		err = load_lines(l, paths->passkeys, key_line, ret_error);
	}
	if (!err && paths->sites)
		err = load_lines(l, paths->sites, site_line, ret_error);
	if (err < 0) {
		lists_free(l);
		return err;
	}
	if (l->n_keys)
		qsort(l->keys, l->n_keys, sizeof(*l->keys), compare_keys);
	if (l->n_networks)
		qsort(l->networks, l->n_networks, sizeof(*l->networks), compare_networks);
	*ret = l;
	return 0;
}

void lists_counts(const struct lists *l, struct lists_counts *ret)
{
	*ret = (struct lists_counts) {l->n_hashes, l->n_keys, l->n_networks, l->n_sites};
}

static uint64_t mix_stat(uint64_t seed, const char *path)
{
	static const struct sipkey key = {0};
	struct stat st;
	uint64_t m[6] = {seed};
	if (stat(path, &st) == 0) {
		m[1] = st.st_ino;
		m[2] = (uint64_t)st.st_size;
		m[3] = (uint64_t)st.st_mtim.tv_sec;
		m[4] = (uint64_t)st.st_mtim.tv_nsec;
		m[5] = st.st_dev;
	}
	return siphash13(&key, m, sizeof(m));
}

uint64_t lists_fingerprint(const struct lists_paths *paths)
{
	const char *const all[] = {paths->allow, paths->passkeys, paths->sites};
	uint64_t sum = 0;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		sum = all[i] ? mix_stat(sum, all[i]) : sum;
	struct dirent **entries;
	int n = paths->allow ? scandir(paths->allow, &entries, is_torrent, alphasort) : -1;
	for (int i = 0; i < n; i++) {
		CLEANUP_FREE char *file = xasprintf("%s/%s", paths->allow, entries[i]->d_name);
		sum = mix_stat(sum, file);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return sum;
}
