/* SPDX-License-Identifier: MIT */
/* p2pfs umount: ends a mount, whatever state it is in.
 *
 * Its daemon is asked first: it answers the reads that wait, unmounts and ends.  A daemon that is
 * dead, stuck or of another user is gone around: umount, and if that will not do, a lazy one.
 *
 * Thread: the main one.
 */
#include "fs/fs.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/mem.h"
#include "fs/client.h"
#include "fs/mountpoint.h"
#include "fs/serve.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char help_text[] =
	"usage: p2pfs umount MOUNTPOINT\n"
	"\n"
	"Ends a mount: reads that wait are answered with an error, the mount is taken away,\n"
	"the daemon saves its record and leaves.  Waits until that is done.  Files that are\n"
	"held open do not keep it: they are detached.\n";

static void say(const struct mount_entry *m, const char *what)
{
	fprintf(stderr, "p2pfs umount: %s: %s\n", m->path, what);
}

/* The daemon did not do it. */
static int go_around(const struct mount_entry *m)
{
	enum mount_place place = mount_place(m);
	if (place == MOUNT_COVERED)
		return cli_fail("umount", "%s: another mount lies upon it", m->path);
	int r = place == MOUNT_ON_TOP ? mountpoint_unmount(m->path, false) : 0;
	if (r == -EBUSY) {
		r = mountpoint_unmount(m->path, true);
		if (r >= 0)
			say(m, "files are still open: detached; it ends when they are closed");
	}
	if (r < 0 && mount_place(m) != MOUNT_GONE)
		return cli_fail("umount", "%s: %s", m->path, strerror(-r));
	return EXIT_OK;
}

static int end_mount(const struct mount_entry *m)
{
	CLEANUP_FREE char *socket = NULL;
	bool lazy = false;
	int r = client_find(m, &socket);
	if (r >= 0)
		r = client_stop(socket, STOP_MAX_S + 1, &lazy);
	if (lazy)
		say(m, "files were still open: detached");
	if (r == -ETIMEDOUT)
		say(m, "its daemon does not answer; going around it");
	else if (r < 0 && r != -ENOTCONN && r != -ECONNREFUSED && r != -ENOENT)
		say(m, strerror(-r));
	return r >= 0 && mount_place(m) == MOUNT_GONE ? EXIT_OK : go_around(m);
}

int cmd_umount(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (c != 'h')
			return cli_bad_option("umount", c, argv);
		fputs(help_text, stdout);
		return cli_flush("umount");
	}
	if (argc - optind != 1)
		return cli_usage("umount", "needs one MOUNTPOINT, got %d", argc - optind);

	struct mount_entry m;
	if (client_mount("umount", argv[optind], &m) != EXIT_OK)
		return EXIT_FAILED;
	int status = end_mount(&m);
	mount_entry_done(&m);
	return status;
}
