/* SPDX-License-Identifier: MIT */
/* Mounting and unmounting, and what is mounted; see mountpoint.h.
 *
 * Thread: any; mountpoint_mount the main one.
 */
#include "fs/mountpoint.h"

#include "base/cleanup.h"
#include "base/mem.h"
#include "fs/options.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_opt.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* -- mountinfo -------------------------------------------------------------------------------- */

/* proc(5): space, tab, newline and backslash stand as \ooo. */
static char *unescape(const char *text)
{
	char *out = xstrdup(text), *to = out;
	for (const char *p = text; *p;) {
		if (p[0] == '\\' && p[1] >= '0' && p[1] <= '3' && p[2] >= '0' && p[2] <= '7' &&
			p[3] >= '0' && p[3] <= '7') {
			*to++ = (char)((p[1] - '0') << 6 | (p[2] - '0') << 3 | (p[3] - '0'));
			p += 4;
		} else {
			*to++ = *p++;
		}
	}
	*to = '\0';
	return out;
}

/* "36 35 98:0 /root /path options [tags ...] - type source super-options" */
static bool parse_line(char *line, struct mount_entry *ret, bool *ret_ours)
{
	char *save = NULL, *field[6];
	for (int i = 0; i < 6; i++) {
		field[i] = strtok_r(i ? NULL : line, " \n", &save);
		if (!field[i])
			return false;
	}
	char *tag;
	do {
		tag = strtok_r(NULL, " \n", &save);
	} while (tag && strcmp(tag, "-"));
	char *type = tag ? strtok_r(NULL, " \n", &save) : NULL;
	char *source = type ? strtok_r(NULL, " \n", &save) : NULL;
	char *super = source ? strtok_r(NULL, " \n", &save) : NULL;
	if (!super)
		return false;
	const char *user = strstr(super, "user_id="), *group = strstr(super, "group_id=");
	*ret_ours = !strcmp(type, MOUNT_TYPE);
	*ret = (struct mount_entry) {
		.path = unescape(field[4]),
		.source = unescape(source),
		.user = user ? (uid_t)strtoul(user + strlen("user_id="), NULL, 10) : 0,
		.group = group ? (gid_t)strtoul(group + strlen("group_id="), NULL, 10) : 0,
	};
	sscanf(field[2], "%u:%u", &ret->major, &ret->minor);
	return true;
}

/* Calls fn for each mount; fn takes the entry. */
static int each_mount(void (*fn)(void *arg, struct mount_entry *e, bool ours), void *arg)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	if (!f)
		return -errno;
	size_t size = 0;
	CLEANUP_FREE char *line = NULL;
	while (getline(&line, &size, f) > 0) {
		struct mount_entry e;
		bool ours;
		if (parse_line(line, &e, &ours))
			fn(arg, &e, ours);
	}
	fclose(f);
	return 0;
}

struct entries {
	struct mount_entry *entries;
	size_t n, cap;
};

static void collect(void *arg, struct mount_entry *e, bool ours)
{
	struct entries *l = arg;
	if (!ours) {
		mount_entry_done(e);
		return;
	}
	GROW(l->entries, l->n, l->cap);
	l->entries[l->n++] = *e;
}

int mount_entries(struct mount_entry **ret, size_t *ret_n)
{
	struct entries l = {0};
	int r = each_mount(collect, &l);
	if (r < 0)
		return r;
	*ret = l.entries;
	*ret_n = l.n;
	return 0;
}

void mount_entry_done(struct mount_entry *e)
{
	free(e->path);
	free(e->source);
	*e = (struct mount_entry) {0};
}

void mount_entries_free(struct mount_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++)
		mount_entry_done(&entries[i]);
	free(entries);
}

int mount_find(const char *path, struct mount_entry *ret)
{
	struct mount_entry *entries;
	size_t n;
	int r = mount_entries(&entries, &n);
	if (r < 0)
		return r;
	r = -ENOENT;
	for (size_t i = n; i-- > 0 && r < 0;) { /* the last one is on top */
		if (strcmp(entries[i].path, path))
			continue;
		*ret = entries[i];
		entries[i] = (struct mount_entry) {0};
		r = 0;
	}
	mount_entries_free(entries, n);
	return r;
}

struct placing {
	const struct mount_entry *wanted;
	enum mount_place place;
};

static void see_place(void *arg, struct mount_entry *e, bool ours)
{
	struct placing *p = arg;
	if (!strcmp(e->path, p->wanted->path)) {
		if (ours && e->major == p->wanted->major && e->minor == p->wanted->minor)
			p->place = MOUNT_ON_TOP;
		else if (p->place == MOUNT_ON_TOP)
			p->place = MOUNT_COVERED;
	}
	mount_entry_done(e);
}

enum mount_place mount_place(const struct mount_entry *e)
{
	struct placing p = {.wanted = e, .place = MOUNT_GONE};
	each_mount(see_place, &p);
	return p.place;
}

/* -- paths ------------------------------------------------------------------------------------ */

int mountpoint_absolute(const char *path, char **ret)
{
	CLEANUP_FREE char *copy = xstrdup(path);
	size_t len = strlen(copy);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	char *slash = strrchr(copy, '/');
	const char *last = slash ? slash + 1 : copy;

	/* A last part that is a link is followed, unless it cannot be looked at. */
	if (!*last || !strcmp(last, ".") || !strcmp(last, "..")) {
		*ret = realpath(copy, NULL);
		return *ret ? 0 : -errno;
	}
	char target[PATH_MAX];
	if (readlink(copy, target, sizeof(target)) >= 0) {
		*ret = realpath(copy, NULL);
		return *ret ? 0 : -errno;
	}
	if (slash)
		*slash = '\0';
	CLEANUP_FREE char *folder = realpath(!slash ? "." : *copy ? copy : "/", NULL);
	if (!folder)
		return -errno;
	*ret = xasprintf("%s/%s", strcmp(folder, "/") ? folder : "", last);
	return 0;
}

int mountpoint_check(const char *path, mode_t *ret_type)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		return -EINVAL;
	*ret_type = st.st_mode & S_IFMT;
	return 0;
}

/* -- mounting --------------------------------------------------------------------------------- */

int mountpoint_mount(const char *path, const char *source, mode_t type,
	const struct mount_options *o, int *ret_fd)
{
	CLEANUP_CLOSE int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* Without allow_other user_id alone may look, root not excepted: who serves owns. */
	CLEANUP_FREE char *data =
		xasprintf("fd=%d,rootmode=%o,user_id=%u,group_id=%u,default_permissions%s", fd,
			type, o->setuid ? o->run_uid : getuid(), o->setuid ? o->run_gid : getgid(),
			o->allow_other ? ",allow_other" : "");
	unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV;
	if (o->noexec)
		flags |= MS_NOEXEC;
	if (o->noatime)
		flags |= MS_NOATIME;
	if (mount(source, path, MOUNT_TYPE, flags, data) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

void mountpoint_fuse_args(const char *source, const struct mount_options *o, struct fuse_args *args)
{
	/* libfuse takes commas and backslashes escaped. */
	CLEANUP_FREE char *escaped = xmalloc(2 * strlen(source) + 1);
	char *to = escaped;
	for (const char *p = source; *p; p++) {
		if (*p == ',' || *p == '\\')
			*to++ = '\\';
		*to++ = *p;
	}
	*to = '\0';
	CLEANUP_FREE char *list =
		xasprintf("-oro,nosuid,nodev,default_permissions,subtype=p2pfs,fsname=%s%s%s%s",
			escaped, o->allow_other ? ",allow_other" : "", o->noexec ? ",noexec" : "",
			o->noatime ? ",noatime" : "");
	fuse_opt_add_arg(args, list);
}

static int run_fusermount(const char *path, bool lazy)
{
	extern char **environ;
	char name[] = "fusermount3", u[] = "-u", q[] = "-q", z[] = "-z", end[] = "--";
	CLEANUP_FREE char *copy = xstrdup(path);
	char *argv[] = {name, u, q, lazy ? z : end, lazy ? end : copy, lazy ? copy : NULL, NULL};
	pid_t pid;
	int status, r = posix_spawnp(&pid, name, NULL, NULL, argv, environ);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	/* It does not say why; "busy" is what remains when the mount is there and is ours. */
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

int mountpoint_unmount(const char *path, bool lazy)
{
	if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	return errno == EPERM ? run_fusermount(path, lazy) : -errno;
}
