/* SPDX-License-Identifier: MIT */
/* The -o options that mount, get and seed share; see options.h.
 *
 * One table row an option.  A value is checked here as far as it can be without the network: what
 * is wrong with it is said before anything is started.
 *
 * Thread: the main one.
 */
#include "swarm/options.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "swarm/magnet.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

static char *default_store(void)
{
	if (geteuid() == 0)
		return xstrdup("/var/lib/p2pfs");
	const char *data = getenv("XDG_DATA_HOME");
	if (data && data[0] == '/')
		return xasprintf("%s/p2pfs", data);
	const char *home = getenv("HOME");
	if (!home || home[0] != '/') {
		/* systemd gives helpers hardly any environment. */
		const struct passwd *pw = getpwuid(geteuid());
		home = pw ? pw->pw_dir : "/nonexistent";
	}
	return xasprintf("%s/.local/share/p2pfs", home);
}

void options_init(struct swarm_options *o)
{
	memset(o, 0, sizeof(*o));
	o->store = default_store();
	o->torrent.where = TORRENT_IN_STORE;
	o->torrent.fill = true;
	o->torrent.seed = true;
}

void options_done(struct swarm_options *o)
{
	free(o->store);
	free(o->cafile);
	free(o->log);
	free(o->debug);
	free(o->profile);
	free((void *)o->torrent.peers);
	for (size_t i = 0; i < o->torrent.n_trackers; i++)
		free((char *)o->torrent.trackers[i]);
	free((void *)o->torrent.trackers);
	memset(o, 0, sizeof(*o));
}

/* -- values ----------------------------------------------------------------------------------- */

/* "Name the value, and what it should have been": the caller puts the option's name in front. */
static char *wrong(const char *value, const char *wanted)
{
	return xasprintf("%s: not %s", log_quote(value, strlen(value)), wanted);
}

static char *take_text(char **field, const char *value)
{
	if (!*value)
		return xstrdup("empty");
	free(*field);
	*field = xstrdup(value);
	return NULL;
}

static char *take_switch(bool *field, const char *value)
{
	if (strcmp(value, "on") && strcmp(value, "off"))
		return wrong(value, "on or off");
	*field = !strcmp(value, "on");
	return NULL;
}

static char *take_rate(uint64_t *field, const char *value)
{
	if (parse_rate(value, field) < 0)
		return wrong(
			value, "a rate in bits per second, like 800K, 10M, 1G, or 0 for no limit");
	return NULL;
}

static char *take_store(struct swarm_options *o, const char *value)
{
	return take_text(&o->store, value);
}

static char *take_cafile(struct swarm_options *o, const char *value)
{
	char *why = take_text(&o->cafile, value);
	o->swarm.http_cafile = o->cafile;
	return why;
}

static char *take_log(struct swarm_options *o, const char *value)
{
	return take_text(&o->log, value);
}

static char *take_debug(struct swarm_options *o, const char *value)
{
	return take_text(&o->debug, value);
}

static char *take_profile(struct swarm_options *o, const char *value)
{
	o->torrent.no_profile = !strcmp(value, "off");
	return take_text(&o->profile, value);
}

static char *take_listen(struct swarm_options *o, const char *value)
{
	if (addr_parse(value, 0, &o->swarm.listen) < 0)
		return wrong(value, "an address and port, like 0.0.0.0:6881, [::]:6881 or :6881");
	return NULL;
}

static char *take_peer(struct swarm_options *o, const char *value)
{
	struct addr a;
	if (addr_parse(value, 0, &a) < 0 || a.port == 0)
		return wrong(value, "the address and port of a peer, like 192.0.2.1:6881");
	if (addr_is_any(&a) || addr_is_multicast(&a))
		return wrong(value, "the address of one peer");
	if (o->torrent.n_peers >= PEERS_MAX_KNOWN)
		return xasprintf("%s: more than %u of them", value, PEERS_MAX_KNOWN);
	struct addr *peers = xrealloc((void *)o->torrent.peers, o->torrent.n_peers + 1, sizeof(a));
	peers[o->torrent.n_peers++] = a;
	o->torrent.peers = peers;
	return NULL;
}

static bool has_scheme(const char *url, const char *scheme)
{
	return !strncasecmp(url, scheme, strlen(scheme));
}

static char *take_tracker(struct swarm_options *o, const char *value)
{
	if (!has_scheme(value, "http://") && !has_scheme(value, "https://") &&
		!has_scheme(value, "udp://"))
		return wrong(value, "an http, https or udp URL");
	if (strlen(value) > TORRENT_MAX_URL)
		return xasprintf("%zu bytes long, at most %u", strlen(value), TORRENT_MAX_URL);
	if (o->torrent.n_trackers >= TORRENT_MAX_TRACKERS)
		return xasprintf("more than %u of them", TORRENT_MAX_TRACKERS);
	char **urls =
		xrealloc((void *)o->torrent.trackers, o->torrent.n_trackers + 1, sizeof(*urls));
	urls[o->torrent.n_trackers++] = xstrdup(value);
	o->torrent.trackers = (const char *const *)urls;
	return NULL;
}

static char *take_fill(struct swarm_options *o, const char *value)
{
	return take_switch(&o->torrent.fill, value);
}

static char *take_seed(struct swarm_options *o, const char *value)
{
	return take_switch(&o->torrent.seed, value);
}

static char *take_up(struct swarm_options *o, const char *value)
{
	return take_rate(&o->swarm.up, value);
}

static char *take_down(struct swarm_options *o, const char *value)
{
	return take_rate(&o->swarm.down, value);
}

static char *take_peers(struct swarm_options *o, const char *value)
{
	uint64_t n;
	if (parse_number(value, 1, PEERS_MAX_KNOWN, &n) < 0)
		return xasprintf("%s: not a number from 1 to %u", log_quote(value, strlen(value)),
			PEERS_MAX_KNOWN);
	o->torrent.max_peers = (unsigned)n;
	return NULL;
}

static char *take_verify(struct swarm_options *o, const char *value)
{
	static const char *const names[] = {
		[VERIFY_AUTO] = "auto",
		[VERIFY_TRUST] = "trust",
		[VERIFY_LAZY] = "lazy",
		[VERIFY_FULL] = "full",
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(value, names[i])) {
			o->torrent.verify = (enum torrent_verify)i;
			return NULL;
		}
	}
	return wrong(value, "auto, trust, lazy or full");
}

static const struct {
	const char *key;
	char *(*take)(struct swarm_options *o, const char *value); /* NULL, or why not (malloc'd) */
} table[] = {
	{"store", take_store},
	{"listen", take_listen},
	{"peer", take_peer},
	{"tracker", take_tracker},
	{"fill", take_fill},
	{"seed", take_seed},
	{"up", take_up},
	{"down", take_down},
	{"peers", take_peers},
	{"verify", take_verify},
	{"cafile", take_cafile},
	{"log", take_log},
	{"debug", take_debug},
	{"profile", take_profile},
};

int options_take(struct swarm_options *o, const char *key, const char *value, char **ret_why)
{
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (strcmp(key, table[i].key))
			continue;
		if (!value) {
			*ret_why = xasprintf("%s: needs a value, like %s=...", key, key);
			return -EINVAL;
		}
		CLEANUP_FREE char *why = table[i].take(o, value);
		if (!why)
			return 1;
		*ret_why = xasprintf("%s: %s", key, why);
		return -EINVAL;
	}
	return 0;
}

int options_split(
	const char *list, int (*take)(void *arg, const char *key, const char *value), void *arg)
{
	CLEANUP_FREE char *item = xmalloc(strlen(list) + 1);
	while (*list) {
		size_t n = 0;
		while (*list && *list != ',') {
			if (list[0] == '\\' && (list[1] == ',' || list[1] == '\\'))
				list++;
			item[n++] = *list++;
		}
		item[n] = '\0';
		if (*list == ',')
			list++;
		if (!n)
			continue; /* "a,,b" and a trailing comma mean nothing */
		char *value = strchr(item, '=');
		if (value)
			*value++ = '\0';
		int r = take(arg, item, value);
		if (r < 0)
			return r;
	}
	return 0;
}

void options_take_link(struct swarm_options *o, const char *what)
{
	CLEANUP(magnet_done) struct magnet link = {0};
	const char *why;
	if (!has_scheme(what, "magnet:") || magnet_parse(what, &link, &why) < 0)
		return;
	for (char **url = link.trackers; *url; url++)
		free(take_tracker(o, *url));
	for (size_t i = 0; i < link.n_peers; i++) {
		char text[ADDR_STRLEN];
		free(take_peer(o, addr_format(&link.peers[i], text)));
	}
}
