/* SPDX-License-Identifier: MIT */
/* The -o options that mount, get and seed share.
 *
 *	store=DIR listen=ADDR:PORT peer=ADDR:PORT (again and again) tracker=URL (likewise)
 *	fill=on|off seed=on|off up=RATE down=RATE peers=N verify=auto|trust|lazy|full cafile=FILE
 *log=FILE debug=CATEGORIES profile=FILE|off
 *
 * Thread: the main one.
 */
#ifndef SWARM_OPTIONS_H
#define SWARM_OPTIONS_H

#include "swarm/swarm.h"

struct swarm_options {
	char *store; /* owned; options_init puts the default: /var/lib/p2pfs for root, else
		      * $XDG_DATA_HOME/p2pfs, else ~/.local/share/p2pfs */
	char *cafile, *log, *debug; /* owned or NULL */
	char *profile; /* owned or NULL; "off" is torrent.no_profile */
	struct swarm_config swarm;
	struct torrent_config torrent; /* its arrays are owned by this struct */
};

void options_init(struct swarm_options *o);
void options_done(struct swarm_options *o);
/* Takes one option; value NULL when there was no '='.  1: taken; 0: not one of these; -EINVAL with
 * *ret_why (malloc'd, names option and value). */
int options_take(struct swarm_options *o, const char *key, const char *value, char **ret_why);
/* Splits "a=b,c,d=e\,f" (a backslash protects a comma) and calls take(arg, key, value) for each,
 * which gives 0 or an error that ends it. */
int options_split(
	const char *list, int (*take)(void *arg, const char *key, const char *value), void *arg);
/* Puts the boot profile for the torrent `what` into `config`: profile=FILE, else NAME.profile
 * beside NAME.torrent where that is there.  Gives a string (malloc'd, or NULL) that config borrows.
 */
char *options_profile(
	const struct swarm_options *o, const char *what, struct torrent_config *config);
/* A magnet link's trackers and peers are as good as tracker= and peer=: adds those that are. */
void options_take_link(struct swarm_options *o, const char *what);
/* Loads what a command was given: a path, an http(s):// URL of a .torrent (fetched, up to
 * TORRENT_MAX_BYTES), or a magnet link whose torrent is in the store from an earlier time.
 * 0, or -errno and *ret_why (malloc'd, begins with `what`). */
int options_load_torrent(
	const struct swarm_options *o, const char *what, struct metainfo **ret, char **ret_why);
/* The same, and makes the swarm for it; what a magnet link does not say, and is not in the store, is
 * fetched from its peers (swarm_fetch, which says what else may come back). */
int options_open(const struct swarm_options *o, const char *what, uint64_t timeout_ms,
	struct swarm **ret_swarm, struct metainfo **ret, char **ret_why);

#endif
