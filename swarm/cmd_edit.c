// SPDX-License-Identifier: MIT
/* p2pfs edit: changes the trackers and web seeds of .torrent files, in place.  The letters are
 * transmission-edit's; -w is ours.
 *
 * Everything else, the info dictionary above all, is copied byte for byte, so the info-hash stays
 * whatever is in it.  A file is replaced whole (written beside, renamed), with its mode and owner.
 *
 * Thread: the main one.
 */
#include "base/bencode.h"
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/limits.h"
#include "base/mem.h"
#include "swarm/commands.h"
#include "swarm/metainfo.h"
#include "swarm/url.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NAME "edit"

static const char help[] =
	"usage: p2pfs edit TORRENT... [-a URL] [-w URL] [-d URL] [-r OLD NEW]\n"
	"\n"
	"Changes the trackers and web seeds of .torrent files, in place.  The info-hash stays.\n"
	"Options may be given again and work in their order.\n"
	"\n"
	"  -a, --add URL          add a tracker, a tier of its own, unless it is there\n"
	"  -w, --webseed URL      add a web seed, unless it is there\n"
	"  -d, --delete URL       delete this tracker or web seed\n"
	"  -r, --replace OLD NEW  put NEW for OLD wherever it is in a tracker's or web seed's URL\n"
	"  -V, --version\n"
	"  -h, --help\n";

/* -- lists of URLs --------------------------------------------------------------------------- */

struct urls {
	char **url; /* owned */
	unsigned *tier; /* owned; of trackers */
	size_t n, cap;
};

static void urls_done(struct urls *u)
{
	for (size_t i = 0; i < u->n; i++)
		free(u->url[i]);
	free(u->url);
	free(u->tier);
}

/* Takes `url`. */
static void urls_add(struct urls *u, char *url, unsigned tier)
{
	size_t cap = u->cap;

	GROW(u->url, u->n, u->cap);
	GROW(u->tier, u->n, cap);
	u->url[u->n] = url;
	u->tier[u->n++] = tier;
}

static bool urls_have(const struct urls *u, const char *url)
{
	for (size_t i = 0; i < u->n; i++) {
		if (!strcmp(u->url[i], url))
			return true;
	}
	return false;
}

static bool urls_delete(struct urls *u, const char *url)
{
	size_t kept = 0;

	for (size_t i = 0; i < u->n; i++) {
		if (!strcmp(u->url[i], url)) {
			free(u->url[i]);
			continue;
		}
		u->url[kept] = u->url[i];
		u->tier[kept++] = u->tier[i];
	}
	bool changed = kept != u->n;
	u->n = kept;
	return changed;
}

/* A new string with `new` for each `old` in `s`, or NULL when there is none. */
static char *replaced(const char *s, const char *old, const char *new)
{
	CLEANUP(buf_done) struct buf b = {0};
	const char *at;

	if (!strstr(s, old))
		return NULL;
	for (; (at = strstr(s, old)); s = at + strlen(old)) {
		buf_add(&b, s, (size_t)(at - s));
		buf_add_str(&b, new);
	}
	buf_add_str(&b, s);
	return xstrndup((const char *)buf_bytes(&b), b.len);
}

static int check_url(const char *url)
{
	struct url u = {0};
	const char *why = "too long";

	if (strlen(url) > TORRENT_MAX_URL || url_parse(url, &u, &why) < 0)
		return cli_fail(NAME, "%s: %s", url, why);
	url_done(&u);
	return EXIT_OK;
}

static int urls_replace(struct urls *u, const char *old, const char *new, bool *changed)
{
	for (size_t i = 0; i < u->n; i++) {
		CLEANUP_FREE char *url = replaced(u->url[i], old, new);
		if (!url || !strcmp(url, u->url[i]))
			continue;
		if (check_url(url) != EXIT_OK)
			return EXIT_FAILED;
		free(u->url[i]);
		u->url[i] = steal_ptr(&url);
		*changed = true;
	}
	return EXIT_OK;
}

/* -- one file -------------------------------------------------------------------------------- */

struct edit {
	char what; /* 'a', 'w', 'd', 'r' */
	const char *url, *new; /* borrowed */
};

struct edits {
	struct edit *list; /* owned */
	size_t n, cap;
};

static void edits_done(struct edits *e)
{
	free(e->list);
}

static int apply(const struct edit *e, struct urls *trackers, struct urls *web_seeds, bool *changed)
{
	struct urls *u = e->what == 'w' ? web_seeds : trackers;
	unsigned tier = trackers->n ? trackers->tier[trackers->n - 1] + 1 : 0;

	switch (e->what) {
	case 'd':
		*changed |= urls_delete(trackers, e->url);
		*changed |= urls_delete(web_seeds, e->url);
		return EXIT_OK;
	case 'r':
		if (urls_replace(trackers, e->url, e->new, changed) != EXIT_OK)
			return EXIT_FAILED;
		return urls_replace(web_seeds, e->url, e->new, changed);
	default:
		if (urls_have(u, e->url))
			return EXIT_OK;
		urls_add(u, xstrdup(e->url), tier);
		*changed = true;
		return EXIT_OK;
	}
}

static void add_trackers(struct buf *b, const struct urls *u)
{
	unsigned last = 0;

	buf_u8(b, 'l');
	for (size_t i = 0; i < u->n; i++) {
		if (i && u->tier[i] != last)
			buf_u8(b, 'e');
		if (!i || u->tier[i] != last)
			buf_u8(b, 'l');
		ben_add_str(b, u->url[i]);
		last = u->tier[i];
	}
	if (u->n)
		buf_u8(b, 'e');
	buf_u8(b, 'e');
}

static void add_value(
	struct buf *b, const char *key, const struct urls *trackers, const struct urls *web_seeds)
{
	if (!strcmp(key, "announce") && trackers->n) {
		ben_add_str(b, key);
		ben_add_str(b, trackers->url[0]);
	} else if (!strcmp(key, "announce-list") && trackers->n > 1) {
		ben_add_str(b, key);
		add_trackers(b, trackers);
	} else if (!strcmp(key, "url-list") && web_seeds->n) {
		ben_add_str(b, key);
		buf_u8(b, 'l');
		for (size_t i = 0; i < web_seeds->n; i++)
			ben_add_str(b, web_seeds->url[i]);
		buf_u8(b, 'e');
	}
}

struct entry {
	const uint8_t *key, *raw;
	size_t key_len, raw_len;
};

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int r = memcmp(x->key, y->key, MIN(x->key_len, y->key_len));

	if (!r)
		r = (x->key_len > y->key_len) - (x->key_len < y->key_len);
	/* Of a key that is there twice the first one counts (bencode.h). */
	return r ? r : (x->raw > y->raw) - (x->raw < y->raw);
}

/* The root dictionary anew: ours replaced, the others as they stand, in order. */
static void rewrite(
	struct buf *b, struct ben root, const struct urls *trackers, const struct urls *web_seeds)
{
	static const char *const ours[] = {"announce", "announce-list", "url-list"};
	size_t n = 0;
	CLEANUP_FREE struct entry *entries =
		xcalloc(ben_count(root) + ARRAY_SIZE(ours), sizeof(*entries));

	for (struct ben_iter i = ben_iter(root); ben_next(&i);) {
		struct entry e = {.key = i.key, .key_len = i.key_len};
		e.raw = ben_raw(i.value, &e.raw_len);
		bool is_ours = false;
		for (size_t k = 0; k < ARRAY_SIZE(ours); k++)
			is_ours |=
				e.key_len == strlen(ours[k]) && !memcmp(e.key, ours[k], e.key_len);
		if (!is_ours)
			entries[n++] = e;
	}
	for (size_t k = 0; k < ARRAY_SIZE(ours); k++)
		entries[n++] = (struct entry) {
			.key = (const uint8_t *)ours[k], .key_len = strlen(ours[k])};
	qsort(entries, n, sizeof(*entries), compare_entries);

	buf_u8(b, 'd');
	for (size_t i = 0; i < n; i++) {
		const struct entry *e = &entries[i], *before = i ? e - 1 : NULL;
		if (before && before->key_len == e->key_len &&
			!memcmp(before->key, e->key, e->key_len))
			continue;
		if (!e->raw) {
			add_value(b, (const char *)e->key, trackers, web_seeds);
			continue;
		}
		ben_add_bytes(b, e->key, e->key_len);
		buf_add(b, e->raw, e->raw_len);
	}
	buf_u8(b, 'e');
}

static int write_torrent(const char *file, const struct metainfo *old, const struct buf *b)
{
	CLEANUP_FREE char *why = NULL;
	struct metainfo *m;
	struct stat st;

	if (metainfo_parse(buf_bytes(b), b->len, &m, &why) < 0)
		return cli_fail(NAME, "%s: would become bad: %s", file, why);
	bool same = m->info_len == old->info_len && !memcmp(m->info, old->info, m->info_len);
	metainfo_free(m);
	if (!same)
		return cli_fail(NAME, "%s: its info dictionary would change", file);
	int r = stat(file, &st) < 0 ? -errno
				    : write_file(file, buf_bytes(b), b->len, st.st_mode & 07777);
	if (r < 0)
		return cli_fail(NAME, "%s: %s", file, strerror(-r));
	/* Root edits somebody's file: it stays his.  Others own what they made, which is as good.
	 */
	if (geteuid() == 0 && chown(file, st.st_uid, st.st_gid) < 0)
		return cli_fail(NAME, "%s: its owner: %s", file, strerror(errno));
	return EXIT_OK;
}

static int edit_torrent(const char *file, const struct edits *e, size_t *n_changed)
{
	CLEANUP(urls_done) struct urls trackers = {0}, web_seeds = {0};
	CLEANUP(buf_done) struct buf b = {0};
	CLEANUP_FREE char *why = NULL;
	struct metainfo *m;
	struct ben_doc *doc;
	const char *reason;
	size_t at;
	bool changed = false;

	if (metainfo_load(file, &m, &why) < 0)
		return cli_fail(NAME, "%s: %s", file, why);
	for (unsigned tier = 0; m->tiers[tier]; tier++) {
		for (char **url = m->tiers[tier]; *url; url++)
			urls_add(&trackers, xstrdup(*url), tier);
	}
	for (char **url = m->web_seeds; *url; url++)
		urls_add(&web_seeds, xstrdup(*url), 0);

	int status = EXIT_OK;
	for (size_t i = 0; i < e->n && status == EXIT_OK; i++)
		status = apply(&e->list[i], &trackers, &web_seeds, &changed);
	if (status == EXIT_OK && trackers.n > TORRENT_MAX_TRACKERS)
		status = cli_fail(NAME, "%s: more than %u trackers", file, TORRENT_MAX_TRACKERS);
	if (status == EXIT_OK && web_seeds.n > TORRENT_MAX_WEBSEEDS)
		status = cli_fail(NAME, "%s: more than %u web seeds", file, TORRENT_MAX_WEBSEEDS);
	if (status == EXIT_OK && changed) {
		/* It was parsed before: this cannot fail but for memory. */
		if (ben_parse(m->raw, m->raw_len, BENCODE_MAX_TOKENS, &doc, &reason, &at) < 0) {
			status = cli_fail(NAME, "%s: %s", file, reason);
		} else {
			rewrite(&b, ben_root(doc), &trackers, &web_seeds);
			ben_free(doc);
			status = write_torrent(file, m, &b);
		}
		*n_changed += status == EXIT_OK;
	}
	metainfo_free(m);
	return status;
}

/* -- the command ----------------------------------------------------------------------------- */

static int take_option(struct edits *e, int option, char **argv, int argc)
{
	struct edit edit = {.what = (char)option, .url = optarg};

	switch (option) {
	case 'a':
	case 'w':
		if (check_url(optarg) != EXIT_OK)
			return EXIT_USAGE;
		break;
	case 'd':
		break;
	case 'r':
		/* getopt gives one value; the second is the next word. */
		if (optind == argc)
			return cli_usage(NAME, "-r %s: needs NEW, too", optarg);
		edit.new = argv[optind++];
		if (!*edit.url)
			return cli_usage(NAME, "-r: OLD is empty");
		break;
	default:
		return cli_bad_option(NAME, option, argv);
	}
	GROW(e->list, e->n, e->cap);
	e->list[e->n++] = edit;
	return EXIT_OK;
}

int cmd_edit(int argc, char **argv)
{
	static const struct option options[] = {
		{"add", required_argument, NULL, 'a'},
		{"webseed", required_argument, NULL, 'w'},
		{"delete", required_argument, NULL, 'd'},
		{"replace", required_argument, NULL, 'r'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	CLEANUP(edits_done) struct edits e = {0};
	CLEANUP_FREE char **files = xcalloc((size_t)argc, sizeof(*files));
	size_t n_files = 0, n_changed = 0;
	int option, status = EXIT_OK;

	optind = 0;
	/* "-": other words come as option 1, in their order, so that -r finds NEW behind OLD. */
	while ((option = getopt_long(argc, argv, "-:a:w:d:r:Vh", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help, stdout);
			return cli_flush(NAME);
		}
		if (option == 'V') {
			printf("p2pfs %s\n", P2PFS_VERSION);
			return cli_flush(NAME);
		}
		if (option == 1) {
			files[n_files++] = optarg;
			continue;
		}
		status = take_option(&e, option, argv, argc);
		if (status != EXIT_OK)
			return status;
	}
	while (optind < argc)
		files[n_files++] = argv[optind++];
	if (!n_files)
		return cli_usage(NAME, "TORRENT: missing: which one?");
	if (!e.n)
		return cli_usage(NAME, "nothing to do: use -a, -w, -d or -r");
	for (size_t i = 0; i < n_files; i++) {
		int r = edit_torrent(files[i], &e, &n_changed);
		status = r != EXIT_OK ? r : status;
	}
	printf("Changed %zu files\n", n_changed);
	int r = cli_flush(NAME);
	return status != EXIT_OK ? status : r;
}
