/* SPDX-License-Identifier: MIT */
/* The -o options of a mount: those of swarm/options.h, mount's own, and those that mount(8) and
 * fstab(5) put there.
 *
 *	allow_other uid=N gid=N mode=OCTAL setuid=NAME timeout=SECONDS io=auto|direct|cached
 *
 * Thread: the main one.
 */
#ifndef FS_OPTIONS_H
#define FS_OPTIONS_H

#include "swarm/options.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How the kernel is told to read an open file; see io.h. */
enum io_policy { IO_AUTO, IO_DIRECT, IO_CACHED };

struct mount_options {
	struct swarm_options swarm;
	enum io_policy io;
	bool allow_other;
	bool noexec, noatime;
	bool from_mount8; /* mount(8) is calling: it says "rw" of its own accord */
	bool sloppy; /* unknown options are passed over */
	uid_t uid; /* owner of the files; default: who mounts */
	gid_t gid;
	mode_t mode; /* of the files; folders, and what may be executed, get x where there is r */
	uint64_t timeout_ms; /* a read that waits longer gets EIO; 0: never */
	char *setuid; /* owned, or NULL */
	uid_t run_uid; /* setuid: who to become */
	gid_t run_gid;
};

void mount_options_init(struct mount_options *o);
void mount_options_done(struct mount_options *o);
/* Takes a list "a,b=c,..."; again and again if there are several.  -EINVAL with *ret_why
 * (malloc'd), which names the option and its value. */
int mount_options_parse(struct mount_options *o, const char *list, char **ret_why);

#endif
