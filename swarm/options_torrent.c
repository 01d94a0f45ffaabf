/* SPDX-License-Identifier: MIT */
/* What a command was given, as a torrent: a file, a URL, a magnet link; see options.h.
 *
 * Thread: the main one.
 */
#include "swarm/options.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/http.h"
#include "swarm/magnet.h"
#include "swarm/metainfo.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* A .torrent comes from a web server in one go: this is for a dead one, not for a slow line. */
#define URL_TIMEOUT_MS 120000u
#define URL_STALL_MS 20000u

static bool has_scheme(const char *what, const char *scheme)
{
	return !strncasecmp(what, scheme, strlen(scheme));
}

/* -- a URL ------------------------------------------------------------------------------------- */

struct fetch {
	struct loop *loop;
	struct metainfo *meta;
	char *why;
	int error;
};

static void fetch_done(void *arg, const char *error, int status, const uint8_t *body, size_t len)
{
	struct fetch *f = arg;
	if (error) {
		f->error = -EIO;
		f->why = xstrdup(error);
	} else if (status != 200) {
		f->error = -EIO;
		f->why = xasprintf("HTTP status %d", status);
	} else {
		f->error = metainfo_parse(body, len, &f->meta, &f->why);
	}
	loop_stop(f->loop);
}

static int load_url(
	const struct swarm_options *o, const char *url, struct metainfo **ret, char **ret_why)
{
	struct fetch f = {0};
	struct http *http = NULL;
	int r = loop_new(&f.loop);
	if (r >= 0)
		r = http_new(f.loop, &http);
	if (r < 0) {
		*ret_why = xasprintf("%s: %s", log_quote_url(url), strerror(-r));
		loop_free(f.loop);
		return r;
	}
	const struct http_options options = {
		.max_body = TORRENT_MAX_BYTES,
		.timeout_ms = URL_TIMEOUT_MS,
		.stall_ms = URL_STALL_MS,
		.cafile = o->cafile,
	};
	const struct http_callbacks cb = {.done = fetch_done, .arg = &f};
	const char *refused = NULL;
	if (http_get(http, url, &options, &cb, &refused)) {
		loop_run(f.loop);
		r = f.error;
	} else {
		f.why = xstrdup(refused);
		r = -EINVAL;
	}
	http_free(http);
	loop_free(f.loop);
	if (r < 0) {
		*ret_why = xasprintf("%s: %s", log_quote_url(url), f.why);
		free(f.why);
		return r;
	}
	*ret = f.meta;
	return 0;
}

/* -- a magnet link ----------------------------------------------------------------------------- */

static bool is_of_magnet(const struct metainfo *m, const struct magnet *link)
{
	/* A hybrid that is used as v1 alone is the link's all the same. */
	uint8_t hash_v2[SHA256_LEN];
	sha256(m->info, m->info_len, hash_v2);
	return (!link->has_v1 || (m->has_v1 && !memcmp(m->hash_v1, link->hash_v1, SHA1_LEN))) &&
	       (!link->has_v2 || !memcmp(hash_v2, link->hash_v2, SHA256_LEN));
}

/* The torrent of an entry of the store, where it is the link's. */
static struct metainfo *load_entry(const char *store, const char *entry, const struct magnet *link)
{
	CLEANUP_FREE char *path = xasprintf("%s/%s/metainfo.torrent", store, entry), *why = NULL;
	struct metainfo *m;
	int r = metainfo_load(path, &m, &why);
	if (r < 0) {
		if (r != -ENOENT)
			log_warn("%s: not used for the link: %s", path, why);
		return NULL;
	}
	if (is_of_magnet(m, link))
		return m;
	metainfo_free(m);
	return NULL;
}

/* Hybrids have their entry under the v1 hash, which a link of v2 alone does not tell: all are
 * looked at. */
static struct metainfo *find_hybrid(const char *store, const struct magnet *link)
{
	struct metainfo *m = NULL;
	DIR *dir = opendir(store);
	if (!dir)
		return NULL;
	for (const struct dirent *d = readdir(dir); d && !m; d = readdir(dir)) {
		uint8_t hash[SHA1_LEN];
		if (hex_decode(d->d_name, hash, sizeof(hash)) >= 0)
			m = load_entry(store, d->d_name, link);
	}
	closedir(dir);
	return m;
}

/* A link says which torrent, not what is in it: that is in the store if it was mounted before. */
static struct metainfo *find_in_store(const char *store, const struct magnet *link)
{
	char entry[2 * SHA256_LEN + 1];
	if (link->has_v1)
		hex_encode(link->hash_v1, SHA1_LEN, entry);
	else
		hex_encode(link->hash_v2, SHA256_LEN, entry);
	struct metainfo *m = load_entry(store, entry, link);
	return m || link->has_v1 ? m : find_hybrid(store, link);
}

static int parse_link(const char *uri, struct magnet *ret, char **ret_why)
{
	const char *why = NULL;
	int r = magnet_parse(uri, ret, &why);
	if (r < 0)
		*ret_why = xasprintf("%s: %s", log_quote(uri, strlen(uri)), why);
	return r;
}

static int load_magnet(
	const struct swarm_options *o, const char *uri, struct metainfo **ret, char **ret_why)
{
	CLEANUP(magnet_done) struct magnet link = {0};
	int r = parse_link(uri, &link, ret_why);
	if (r < 0)
		return r;
	struct metainfo *m = find_in_store(o->store, &link);
	if (!m) {
		*ret_why = xasprintf("%s: its contents are not known here: not in %s",
			log_quote(uri, strlen(uri)), o->store);
		return -ENOENT;
	}
	*ret = m;
	return 0;
}

/* What the store has of the link (*io, NULL for nothing) is made whole.  A hybrid that lacks its layers
 * will do, too. */
static int fetch_magnet(const struct swarm_options *o, const char *uri, uint64_t timeout_ms,
	struct swarm *s, struct metainfo **io, char **ret_why)
{
	CLEANUP(magnet_done) struct magnet link = {0};
	CLEANUP_FREE char *why = NULL;
	struct metainfo *whole;
	int r = parse_link(uri, &link, ret_why);
	if (r < 0)
		return r;
	r = swarm_fetch(s, &link, *io, &o->torrent, timeout_ms, &whole, &why);
	if (r >= 0) {
		metainfo_free(*io);
		*io = whole;
	} else if (*io && r != -EINTR) {
		log_debug(LOG_PEER, "its piece layers are not to be had: %s", why);
		return 0;
	} else {
		*ret_why = xasprintf("%s: %s", log_quote(uri, strlen(uri)), why);
	}
	return r;
}

/* -- any -------------------------------------------------------------------------------------- */

char *options_profile(
	const struct swarm_options *o, const char *what, struct torrent_config *config)
{
	if (o->profile && !o->torrent.no_profile) {
		config->profile = o->profile;
		return NULL;
	}
	if (o->profile || strstr(what, "://") || has_scheme(what, "magnet:"))
		return NULL;
	size_t len = strlen(what), suffix = strlen(".torrent");
	if (len > suffix && !strcmp(what + len - suffix, ".torrent"))
		len -= suffix;
	char *beside = xasprintf("%.*s.profile", (int)len, what);
	config->profile = beside;
	config->profile_beside = true;
	return beside;
}

int options_load_torrent(
	const struct swarm_options *o, const char *what, struct metainfo **ret, char **ret_why)
{
	if (has_scheme(what, "http://") || has_scheme(what, "https://"))
		return load_url(o, what, ret, ret_why);
	if (has_scheme(what, "magnet:"))
		return load_magnet(o, what, ret, ret_why);
	CLEANUP_FREE char *why = NULL;
	int r = metainfo_load(what, ret, &why);
	if (r < 0)
		*ret_why = xasprintf("%s: %s", what, why);
	return r;
}

int options_open(const struct swarm_options *o, const char *what, uint64_t timeout_ms,
	struct swarm **ret_swarm, struct metainfo **ret, char **ret_why)
{
	struct metainfo *meta = NULL;
	struct swarm *s = NULL;
	CLEANUP_FREE char *why = NULL;
	int r = options_load_torrent(o, what, &meta, &why);
	bool missing = r == -ENOENT || (r >= 0 && meta->lacks_layers);
	bool fetch = missing && has_scheme(what, "magnet:");
	if (r < 0 && !fetch) {
		*ret_why = steal_ptr(&why);
		return r;
	}
	r = swarm_new(&o->swarm, &s, ret_why);
	if (r >= 0 && fetch)
		r = fetch_magnet(o, what, timeout_ms, s, &meta, ret_why);
	if (r < 0) {
		metainfo_free(meta);
		swarm_free(s);
		return r;
	}
	if (meta->lacks_layers)
		log_warn("%s: the piece layers of this hybrid torrent are missing: it is used as one of "
			 "v1, where a read costs a whole piece, until it is mounted by a .torrent that has "
			 "them, or by its magnet link while a peer gives them",
			log_quote(meta->name, strlen(meta->name)));
	*ret_swarm = s;
	*ret = meta;
	return 0;
}
