/* SPDX-License-Identifier: MIT */
/* p2pfs: the command table.
 *
 * `p2pfs COMMAND ...`, but also, as mount(8) and mount.fuse3 want it: called as mount.p2pfs or
 * mount.fuse.p2pfs it is mount's helper, and `p2pfs TORRENT MOUNTPOINT -o ...` without a command is a
 * mount (fuse.md of the design, "mount(8)").
 */
#include "base/cli.h"
#include "base/mem.h"
#include "fs/fs.h"
#include "swarm/commands.h"
#include "tracker/tracker.h"

#include <stdio.h>
#include <string.h>

static int cmd_version(int argc, char **argv)
{
	printf("p2pfs %s\n", P2PFS_VERSION);
	return EXIT_OK;
}

static const struct command commands[] = {
	{"mount", cmd_mount, "show the files of a torrent as a file system"},
	{"umount", cmd_umount, "end a mount"},
	{"status", cmd_status, "what is here, from whom, how fast, who waits"},
	{"wait", cmd_wait, "wait until what a boot reads, or everything, is here"},
	{"profile", cmd_profile, "save, show or merge what boots read first"},
	{"create", cmd_create, "make a .torrent of a file or folder"},
	{"show", cmd_show, "tell what a .torrent or magnet link says"},
	{"edit", cmd_edit, "change the trackers and web seeds of a .torrent"},
	{"verify", cmd_verify, "hash what is there and tell what is bad"},
	{"get", cmd_get, "fetch everything, then exit"},
	{"seed", cmd_seed, "serve a file or folder that is here already"},
	{"tracker", cmd_tracker, "run a tracker"},
	{"version", cmd_version, "tell the version"},
};

static void help(FILE *out)
{
	fprintf(out, "usage: p2pfs COMMAND ...   (p2pfs COMMAND --help tells more)\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].summary);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return &commands[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	const char *base = strrchr(argv[0], '/');
	base = base ? base + 1 : argv[0];
	if (!strncmp(base, "mount.", 6))
		return mount_helper(argc, argv);

	if (argc < 2) {
		help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		help(stdout);
		return EXIT_OK;
	}
	if (!strcmp(argv[1], "--version"))
		return cmd_version(argc, argv);
	const struct command *command = find_command(argv[1]);
	if (command)
		return command->run(argc - 1, argv + 1);
	/* mount.fuse3's form: SPEC DIR -o OPTIONS, no command. */
	if (argc >= 3 && argv[1][0] != '-' && argv[2][0] != '-')
		return mount_helper(argc, argv);
	fprintf(stderr, "p2pfs: %s: no such command; p2pfs --help lists them\n", argv[1]);
	return EXIT_USAGE;
}
