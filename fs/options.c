/* SPDX-License-Identifier: MIT */
/* The -o options of a mount; see options.h.
 *
 * What mount(8), mount.fuse3, fstab(5) and systemd put among the options and what means nothing to
 * us is taken silently; everything else that is not known is an error, but for mount -s.  A mount
 * is ro,nosuid,nodev whatever is said: "suid" and "dev" are heard (mount.fuse3 adds them), not
 * obeyed.
 *
 * Thread: the main one.
 */
#include "fs/options.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/mem.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>

/* A year; beyond that somebody meant 0. */
#define TIMEOUT_MAX_S (366u * 24 * 3600)

/* Taken and passed over; `x-` and `X-` prefixes, too. */
static const char *const ignored[] = {"ro", "defaults", "_netdev", "noauto", "auto", "nofail",
	"user", "users", "nouser", "owner", "group", "nosuid", "suid", "nodev", "dev", "exec",
	"async", "sync", "dirsync", "atime", "relatime", "norelatime", "strictatime",
	"nostrictatime", "diratime", "nodiratime", "lazytime", "nolazytime", "silent", "loud",
	"mand", "nomand", "iversion", "noiversion", "default_permissions", "comment", "helper",
	"uhelper"};

void mount_options_init(struct mount_options *o)
{
	memset(o, 0, sizeof(*o));
	options_init(&o->swarm);
	o->uid = getuid();
	o->gid = getgid();
	o->mode = 0444;
}

void mount_options_done(struct mount_options *o)
{
	options_done(&o->swarm);
	free(o->setuid);
	memset(o, 0, sizeof(*o));
}

/* -- one function an option; NULL, or why not (malloc'd) -------------------------------------- */

static char *wrong(const char *value, const char *wanted)
{
	return xasprintf("%s: not %s", log_quote(value, strlen(value)), wanted);
}

static char *take_uid(struct mount_options *o, const char *value)
{
	uint64_t n;
	if (parse_number(value, 0, UINT32_MAX - 1, &n) >= 0) {
		o->uid = (uid_t)n;
		return NULL;
	}
	const struct passwd *pw = getpwnam(value);
	if (!pw)
		return wrong(value, "a user");
	o->uid = pw->pw_uid;
	return NULL;
}

static char *take_gid(struct mount_options *o, const char *value)
{
	uint64_t n;
	if (parse_number(value, 0, UINT32_MAX - 1, &n) >= 0) {
		o->gid = (gid_t)n;
		return NULL;
	}
	const struct group *gr = getgrnam(value);
	if (!gr)
		return wrong(value, "a group");
	o->gid = gr->gr_gid;
	return NULL;
}

static char *take_mode(struct mount_options *o, const char *value)
{
	size_t n = strspn(value, "01234567");
	if (!n || value[n] || n > 4 || strtoul(value, NULL, 8) > 0777)
		return wrong(value, "an octal mode from 0 to 777");
	o->mode = (mode_t)strtoul(value, NULL, 8);
	return NULL;
}

static char *take_setuid(struct mount_options *o, const char *value)
{
	const struct passwd *pw = getpwnam(value);
	if (!pw)
		return wrong(value, "a user");
	free(o->setuid);
	o->setuid = xstrdup(value);
	o->run_uid = pw->pw_uid;
	o->run_gid = pw->pw_gid;
	return NULL;
}

static char *take_timeout(struct mount_options *o, const char *value)
{
	uint64_t n;
	if (parse_number(value, 0, TIMEOUT_MAX_S, &n) < 0)
		return xasprintf("%s: not a number of seconds from 0 (wait for ever) to %u",
			log_quote(value, strlen(value)), TIMEOUT_MAX_S);
	o->timeout_ms = 1000 * n;
	return NULL;
}

static char *take_io(struct mount_options *o, const char *value)
{
	static const char *const names[] = {
		[IO_AUTO] = "auto",
		[IO_DIRECT] = "direct",
		[IO_CACHED] = "cached",
	};
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(value, names[i])) {
			o->io = (enum io_policy)i;
			return NULL;
		}
	}
	return wrong(value, "auto, direct or cached");
}

static const struct {
	const char *key;
	char *(*take)(struct mount_options *o, const char *value);
} valued[] = {
	{"uid", take_uid},
	{"gid", take_gid},
	{"mode", take_mode},
	{"setuid", take_setuid},
	{"timeout", take_timeout},
	{"io", take_io},
};

/* -- the list --------------------------------------------------------------------------------- */

struct taking {
	struct mount_options *o;
	char *why;
};

static int refuse(struct taking *t, char *why)
{
	t->why = why;
	return -EINVAL;
}

/* 1: taken, 0: not one of these, -EINVAL. */
static int take_own(struct taking *t, const char *key, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(valued); i++) {
		if (strcmp(key, valued[i].key))
			continue;
		if (!value || !*value)
			return refuse(t, xasprintf("%s: needs a value, like %s=...", key, key));
		CLEANUP_FREE char *why = valued[i].take(t->o, value);
		return why ? refuse(t, xasprintf("%s: %s", key, why)) : 1;
	}
	bool *flag = !strcmp(key, "allow_other") ? &t->o->allow_other
		     : !strcmp(key, "noexec")    ? &t->o->noexec
		     : !strcmp(key, "noatime")   ? &t->o->noatime
						 : NULL;
	if (!flag)
		return 0;
	if (value)
		return refuse(t, xasprintf("%s: takes no value", key));
	*flag = true;
	return 1;
}

static bool is_ignored(const char *key)
{
	if (!strncmp(key, "x-", 2) || !strncmp(key, "X-", 2))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++) {
		if (!strcmp(key, ignored[i]))
			return true;
	}
	return false;
}

static int take(void *arg, const char *key, const char *value)
{
	struct taking *t = arg;
	int r = take_own(t, key, value);
	if (r == 0)
		r = options_take(&t->o->swarm, key, value, &t->why);
	if (r != 0)
		return r < 0 ? r : 0;
	if (is_ignored(key))
		return 0;
	if (!strcmp(key, "rw")) {
		if (t->o->from_mount8)
			return 0;
		return refuse(t, xstrdup("rw: a torrent's contents cannot be changed; "
					 "the mount is always ro"));
	}
	if (!strcmp(key, "remount"))
		return refuse(t, xstrdup("remount: options cannot be changed while mounted; "
					 "unmount and mount again"));
	if (t->o->sloppy)
		return 0;
	return refuse(t, xasprintf("%s: no such option", log_quote(key, strlen(key))));
}

int mount_options_parse(struct mount_options *o, const char *list, char **ret_why)
{
	struct taking t = {.o = o};
	int r = options_split(list, take, &t);
	if (r < 0)
		*ret_why = t.why;
	return r;
}
