// SPDX-License-Identifier: MIT
/* See metainfo.h.
 *
 * What stands in the info dictionary is what peers agreed on: anything wrong there refuses the
 * torrent. What stands around it (trackers, web seeds, comment) helps or does not: an entry that
 * makes no sense is left out, and so are those above the limits.  The piece layers stand outside,
 * too, but hold the hashes by which pieces are checked: each is needed, and must match its file's
 * root.
 *
 * Memory is the .torrent's size, the token array while parsing, and 80 bytes a file; hashes and
 * layers are pointed to, never copied.
 *
 * Thread: any.
 */
#include "swarm/metainfo.h"

#include "base/bencode.h"
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/merkle.h"
#include "swarm/metainfo_files.h"
#include "swarm/profile.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

const char *metainfo_name_problem(const void *name, size_t len)
{
	const uint8_t *p = name;

	if (!len)
		return "is empty";
	if (len > PATH_MAX_NAME)
		return "is longer than 255 bytes";
	if (p[0] == '.' && (len == 1 || (len == 2 && p[1] == '.')))
		return "stands for a folder";
	for (size_t i = 0; i < len; i++) {
		if (p[i] == '/')
			return "has a / in it";
		if (p[i] < 0x20 || p[i] == 0x7f)
			return p[i] ? "has a control character in it" : "has a NUL in it";
	}
	return NULL;
}

static void free_strings(char **list)
{
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

static void forget_files(struct metainfo *m)
{
	for (uint32_t i = 0; i < m->n_files; i++)
		free(m->files[i].path);
	free(m->files);
	m->files = NULL;
	m->n_files = 0;
}

void metainfo_free(struct metainfo *m)
{
	if (!m)
		return;
	forget_files(m);
	for (size_t i = 0; m->tiers && m->tiers[i]; i++)
		free_strings(m->tiers[i]);
	free(m->tiers);
	free_strings(m->web_seeds);
	free(m->name);
	free(m->comment);
	free(m->created_by);
	profile_free(m->profile);
	free(m->raw);
	free(m);
}

/* -- piece layers ---------------------------------------------------------------------------- */

struct layer {
	const uint8_t *root, *hashes;
	size_t len;
};

static int compare_layers(const void *a, const void *b)
{
	const struct layer *x = a, *y = b;

	return memcmp(x->root, y->root, SHA256_LEN);
}

/* The dictionary as a sorted array, since its keys are found by their bytes. */
static int collect_layers(struct ben dict, struct layer **ret, size_t *ret_n, char **ret_why)
{
	size_t n = 0, count = ben_count(dict);
	struct layer *layers = reallocarray(NULL, count ? count : 1, sizeof(*layers));

	if (!layers)
		return metainfo_bad(ret_why, "piece layers: out of memory for %zu", count);
	for (struct ben_iter i = ben_iter(dict); ben_next(&i);) {
		struct layer l = {.root = i.key};
		l.hashes = ben_bytes(i.value, &l.len);
		if (i.key_len == SHA256_LEN && l.hashes)
			layers[n++] = l;
	}
	qsort(layers, n, sizeof(*layers), compare_layers);
	*ret = layers;
	*ret_n = n;
	return 0;
}

static int take_layers(struct metainfo *m, struct ben root, char **ret_why)
{
	struct ben dict = ben_get_type(root, "piece layers", BEN_DICT);
	CLEANUP_FREE struct layer *layers = NULL;
	unsigned layer = merkle_height(m->piece_length / MERKLE_BLOCK);
	size_t n = 0;

	int r = collect_layers(dict, &layers, &n, ret_why);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < m->n_files; i++) {
		struct metainfo_file *f = &m->files[i];
		if (f->n_pieces <= 1) {
			f->layer = f->length ? f->root : NULL;
			continue;
		}
		struct layer *l = bsearch(&(struct layer) {.root = f->root}, layers, n,
			sizeof(*layers), compare_layers);
		const char *path = log_quote(f->path, strlen(f->path));
		if (!l && ben_type(dict) == BEN_NONE)
			return metainfo_bad(ret_why, "piece layers: missing");
		if (!l)
			return metainfo_bad(ret_why, "piece layers: none for \"%s\"", path);
		if (l->len != (size_t)f->n_pieces * SHA256_LEN)
			return metainfo_bad(ret_why,
				"piece layers: \"%s\": %zu bytes: not %zu for %u pieces", path,
				l->len, (size_t)f->n_pieces * SHA256_LEN, f->n_pieces);
		uint8_t got[SHA256_LEN];
		merkle_root(l->hashes, f->n_pieces, layer, merkle_height(f->n_pieces), got);
		if (memcmp(got, f->root, SHA256_LEN))
			return metainfo_bad(ret_why,
				"piece layers: \"%s\": do not hash to its pieces root", path);
		f->layer = l->hashes;
	}
	return 0;
}

/* -- the info dictionary --------------------------------------------------------------------- */

static int take_name(struct metainfo *m, struct ben info, char **ret_why)
{
	struct ben v = ben_get_type(info, "name.utf-8", BEN_STR);
	if (ben_type(v) == BEN_NONE)
		v = ben_get_type(info, "name", BEN_STR);
	if (ben_type(v) == BEN_NONE)
		return metainfo_bad(ret_why, "name: missing");
	size_t len;
	const uint8_t *name = ben_bytes(v, &len);
	const char *problem = metainfo_name_problem(name, len);
	if (problem)
		return metainfo_bad(ret_why, "name: \"%s\": %s", log_quote(name, len), problem);
	m->name = xstrndup((const char *)name, len);
	return 0;
}

static int take_piece_length(struct metainfo *m, struct ben info, char **ret_why)
{
	struct ben v = ben_get_type(info, "piece length", BEN_INT);
	int64_t n = ben_int(v, 0);

	if (ben_type(v) == BEN_NONE)
		return metainfo_bad(ret_why, "piece length: missing");
	if (n < TORRENT_MIN_PIECE_LENGTH || n > TORRENT_MAX_PIECE_LENGTH)
		return metainfo_bad(ret_why, "piece length: %" PRId64 ": not within %u and %u", n,
			TORRENT_MIN_PIECE_LENGTH, TORRENT_MAX_PIECE_LENGTH);
	if (m->has_v2 && n & (n - 1))
		return metainfo_bad(ret_why, "piece length: %" PRId64 ": not a power of two", n);
	m->piece_length = (uint32_t)n;
	return 0;
}

/* Which versions there are; BEP 52 wants this checked before all else. */
static int take_version(struct metainfo *m, struct ben info, char **ret_why)
{
	struct ben v = ben_get(info, "meta version");

	if (ben_type(v) != BEN_NONE && ben_int(v, 0) != 2)
		return metainfo_bad(
			ret_why, "meta version: %" PRId64 ": only 2 is known", ben_int(v, 0));
	m->has_v2 = ben_type(v) != BEN_NONE;
	m->has_v1 = ben_type(ben_get(info, "pieces")) == BEN_STR;
	if (!m->has_v1 && !m->has_v2)
		return metainfo_bad(ret_why, ben_type(ben_get(info, "file tree")) == BEN_NONE
						     ? "pieces: missing"
						     : "meta version: missing");
	return 0;
}

static int take_pieces(struct metainfo *m, struct ben info, uint32_t n_pieces, char **ret_why)
{
	size_t len;

	m->pieces = ben_bytes(ben_get(info, "pieces"), &len);
	if (len % SHA1_LEN)
		return metainfo_bad(ret_why, "pieces: %zu bytes: no multiple of %u", len, SHA1_LEN);
	if (len / SHA1_LEN != n_pieces)
		return metainfo_bad(ret_why, "pieces: %zu hashes: the files make %u pieces",
			len / SHA1_LEN, n_pieces);
	return 0;
}

static int take_files(struct metainfo *m, struct ben info, char **ret_why)
{
	CLEANUP(file_list_done) struct file_list v1 = {0}, v2 = {0};
	int r = 0;

	if (m->has_v1)
		r = file_list_v1(info, m->name, m->piece_length, &v1, ret_why);
	if (!r && m->has_v1)
		r = take_pieces(m, info, v1.n_pieces, ret_why);
	if (!r && m->has_v2)
		r = file_list_v2(info, m->name, m->piece_length, &v2, ret_why);
	if (!r && m->has_v1 && m->has_v2)
		r = file_list_agree(&v1, &v2, ret_why);
	struct file_list *l = m->has_v2 ? &v2 : &v1;
	if (!r)
		r = file_list_unique(l, ret_why);
	if (r < 0)
		return r;
	if (!l->size)
		return metainfo_bad(ret_why, "files: not a single byte in %u of them", l->n);

	m->single = m->has_v1 ? v1.single : v2.single;
	m->space = l->space;
	m->max_v1_space = m->has_v1 ? v1.full_space : l->space;
	m->size = l->size;
	m->n_pieces = l->n_pieces;
	m->files = steal_ptr(&l->files);
	m->n_files = l->n;
	l->n = 0;
	return 0;
}

/* -- around it ------------------------------------------------------------------------------- */

/* A new string, or NULL for what can be no URL. */
static char *take_url(struct ben v)
{
	size_t len;
	const uint8_t *s = ben_bytes(v, &len);

	if (!s || !len || len > TORRENT_MAX_URL)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if (s[i] <= 0x20 || s[i] == 0x7f)
			return NULL;
	}
	return xstrndup((const char *)s, len);
}

/* The URLs of a list, or the one of a string; at most `max`, NULL-terminated, NULL for none. */
static char **take_urls(struct ben v, size_t max, size_t *ret_n)
{
	char **urls = NULL;
	size_t n = 0, cap = 0;

	for (struct ben_iter i = ben_iter(v); n < max && ben_next(&i);) {
		char *url = take_url(i.value);
		if (!url)
			continue;
		GROW(urls, n + 1, cap); /* the NULL behind them, too */
		urls[n++] = url;
	}
	char *only = ben_type(v) == BEN_STR && max ? take_url(v) : NULL;
	if (only) {
		GROW(urls, 1, cap);
		urls[n++] = only;
	}
	if (urls)
		urls[n] = NULL;
	*ret_n = n;
	return urls;
}

static void take_trackers(struct metainfo *m, struct ben root)
{
	size_t n = 0, cap = 0, left = TORRENT_MAX_TRACKERS, got;

	GROW(m->tiers, n, cap);
	for (struct ben_iter i = ben_iter(ben_get(root, "announce-list")); left && ben_next(&i);) {
		char **urls = take_urls(i.value, left, &got);
		if (!urls)
			continue;
		left -= got;
		GROW(m->tiers, n + 1, cap);
		m->tiers[n++] = urls;
	}
	/* BEP 12: "announce" counts only where there is no list. */
	char **urls = n ? NULL : take_urls(ben_get_type(root, "announce", BEN_STR), 1, &got);
	if (urls)
		m->tiers[n++] = urls;
	m->tiers[n] = NULL;
}

/* What a boot reads first: a help like the trackers, so a bad one is left out, too. */
static void take_profile(struct metainfo *m, struct ben root)
{
	size_t len;
	const uint8_t *text = ben_bytes(ben_get_type(root, "p2pfs profile", BEN_STR), &len);
	char entry[65];
	CLEANUP_FREE char *why = NULL;

	if (!text)
		return;
	metainfo_entry_name(m, entry);
	if (profile_parse(text, len, &m->profile, &why) >= 0)
		why = profile_misfit(m->profile, m->space, entry);
	if (!why)
		return;
	log_warn("%s: its boot profile is left out: %s", log_quote(m->name, strlen(m->name)), why);
	profile_free(m->profile);
	m->profile = NULL;
}

static void take_rest(struct metainfo *m, struct ben root)
{
	size_t n;

	take_trackers(m, root);
	m->web_seeds = take_urls(ben_get(root, "url-list"), TORRENT_MAX_WEBSEEDS, &n);
	if (!m->web_seeds)
		m->web_seeds = xcalloc(1, sizeof(*m->web_seeds));
	m->comment = ben_strdup(ben_get(root, "comment"));
	m->created_by = ben_strdup(ben_get(root, "created by"));
	m->creation_date = MAX(ben_int(ben_get(root, "creation date"), 0), (int64_t)0);
	take_profile(m, root);
}

/* -- the whole ------------------------------------------------------------------------------- */

/* The layers that need no list: of files of one piece. */
static void take_short_layers(struct metainfo *m)
{
	for (uint32_t i = 0; i < m->n_files; i++) {
		struct metainfo_file *f = &m->files[i];
		f->layer = f->length && f->n_pieces <= 1 ? f->root : NULL;
	}
}

/* A hybrid that came from peers that know v1 alone has no layers. */
static bool is_v1_of_hybrid(const struct metainfo *m, struct ben root)
{
	bool needed = false;

	for (uint32_t i = 0; i < m->n_files; i++)
		needed |= m->files[i].n_pieces > 1;
	return m->has_v1 && m->has_v2 && needed &&
	       ben_type(ben_get(root, "piece layers")) == BEN_NONE;
}

static int take_all(struct metainfo *m, struct ben root, bool info_alone, char **ret_why)
{
	struct ben info = ben_get_type(root, "info", BEN_DICT);

	if (ben_type(root) != BEN_DICT)
		return metainfo_bad(ret_why, "no torrent: not a bencoded dictionary");
	if (ben_type(info) == BEN_NONE)
		return metainfo_bad(ret_why, "info: missing");
	int r = take_version(m, info, ret_why);
	if (!r)
		r = take_name(m, info, ret_why);
	if (!r)
		r = take_piece_length(m, info, ret_why);
	if (!r)
		r = take_files(m, info, ret_why);
	if (!r && !info_alone && is_v1_of_hybrid(m, root)) {
		forget_files(m);
		m->has_v2 = false;
		m->lacks_layers = true;
		r = take_files(m, info, ret_why);
	}
	if (!r && m->has_v2 && info_alone)
		take_short_layers(m);
	else if (!r && m->has_v2)
		r = take_layers(m, root, ret_why);
	if (r < 0)
		return r;
	m->is_private = ben_int(ben_get(info, "private"), 0) == 1;
	m->info = ben_raw(info, &m->info_len);
	if (m->has_v1)
		sha1(m->info, m->info_len, m->hash_v1);
	if (m->has_v2)
		sha256(m->info, m->info_len, m->hash_v2);
	take_rest(m, root);
	return 0;
}

/* Takes `raw`. */
static int parse_taking(
	uint8_t *raw, size_t len, bool info_alone, struct metainfo **ret, char **ret_why)
{
	struct metainfo *m = xcalloc(1, sizeof(*m));
	struct ben_doc *doc;
	const char *why;
	size_t at;

	m->raw = raw;
	m->raw_len = len;
	int r = ben_parse(raw, len, BENCODE_MAX_TOKENS, &doc, &why, &at);
	if (r < 0) {
		*ret_why = xasprintf("no torrent: at byte %zu: %s", at, why);
	} else {
		r = take_all(m, ben_root(doc), info_alone, ret_why);
		ben_free(doc);
	}
	if (r < 0) {
		metainfo_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

int metainfo_parse(const void *data, size_t len, struct metainfo **ret, char **ret_why)
{
	if (len > TORRENT_MAX_BYTES) {
		metainfo_bad(ret_why, "%zu bytes: larger than %u", len, TORRENT_MAX_BYTES);
		return -E2BIG;
	}
	uint8_t *raw = malloc(len ? len : 1);
	if (!raw) {
		metainfo_bad(ret_why, "out of memory for %zu bytes", len);
		return -ENOMEM;
	}
	if (len)
		memcpy(raw, data, len);
	return parse_taking(raw, len, false, ret, ret_why);
}

int metainfo_parse_info(const void *info, size_t len, struct metainfo **ret, char **ret_why)
{
	static const char head[] = "d4:info";
	size_t head_len = sizeof(head) - 1, whole = head_len + len + 1;
	struct metainfo *m;

	uint8_t *raw = len <= TORRENT_MAX_BYTES ? malloc(whole) : NULL;
	if (!raw)
		return metainfo_bad(ret_why, "%zu bytes: out of memory, or too large", len);
	memcpy(raw, head, head_len);
	if (len)
		memcpy(raw + head_len, info, len);
	raw[whole - 1] = 'e';
	int r = parse_taking(raw, whole, true, &m, ret_why);
	if (r < 0)
		return r;
	if (m->info_len != len) { /* keys behind it would read as those of the .torrent */
		metainfo_free(m);
		return metainfo_bad(ret_why, "info: %zu bytes behind it", len);
	}
	*ret = m;
	return 0;
}

int metainfo_load(const char *path, struct metainfo **ret, char **ret_why)
{
	uint8_t *raw;
	size_t len;
	int r = read_file(path, TORRENT_MAX_BYTES, &raw, &len);

	if (r == -EFBIG)
		*ret_why = xasprintf("larger than %u bytes", TORRENT_MAX_BYTES);
	else if (r < 0)
		*ret_why = xstrdup(strerror(-r));
	return r < 0 ? r : parse_taking(raw, len, false, ret, ret_why);
}

const uint8_t *metainfo_wire_hash(const struct metainfo *m)
{
	return m->has_v1 ? m->hash_v1 : m->hash_v2;
}

void metainfo_entry_name(const struct metainfo *m, char ret[65])
{
	if (m->has_v1)
		hex_encode(m->hash_v1, SHA1_LEN, ret);
	else
		hex_encode(m->hash_v2, SHA256_LEN, ret);
}

uint32_t metainfo_file_at(const struct metainfo *m, uint64_t offset)
{
	uint32_t low = 0, high = m->n_files;

	/* The first file that ends behind `offset`; empty ones end where they begin. */
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		if (m->files[mid].offset + m->files[mid].length > offset)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}
