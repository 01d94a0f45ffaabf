/* SPDX-License-Identifier: MIT */
/* p2pfs get: fetch everything, then exit.
 *
 *	p2pfs get TORRENT|MAGNET|URL [-d DIR] [--seed] [-o OPTION,...]
 *
 * Files come under DIR (default: the current folder) under their own names; what has come survives an
 * interruption in DIR/.NAME.p2pfs, which is removed at the end.
 */
#include "swarm/commands.h"

#include "base/cli.h"
#include "swarm/foreground.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
	"usage: p2pfs get TORRENT|MAGNET|URL [-d DIR] [--seed] [-o OPTION,...]\n"
	"\n"
	"Fetches everything and exits once all is there and verified.\n"
	"\n"
	"  -d, --dir DIR   where the files go (default: here)\n"
	"      --seed      stay and serve it when it has come\n"
	"  -o OPTION,...   listen= peer= tracker= seed= up= down= peers= verify= cafile= log= debug=\n"
	"                  profile=\n";

int cmd_get(int argc, char **argv)
{
	static const struct option longs[] = {
		{"dir", required_argument, NULL, 'd'},
		{"seed", no_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct foreground f = {
		.command = "get",
		.leave_when_complete = true,
		.progress = "fetching",
	};
	const char *dir = ".";
	int status = EXIT_OK, c;
	options_init(&f.options);
	while (!status && (c = getopt_long(argc, argv, "d:o:h", longs, NULL)) >= 0) {
		if (c == 'd')
			dir = optarg;
		else if (c == 's')
			f.leave_when_complete = false;
		else if (c == 'o')
			status = foreground_options(&f, optarg);
		else if (c == 'h')
			return fputs(usage, stdout) < 0;
		else
			status = cli_usage("get", "wrong option");
	}
	if (!status && optind + 1 != argc)
		status = cli_usage("get", "name one torrent, got %d", argc - optind);
	if (!status) {
		f.what = argv[optind];
		f.options.torrent.where = TORRENT_GET;
		f.options.torrent.path = dir;
		f.options.torrent.fill = true;
		status = foreground_run(&f);
	}
	options_done(&f.options);
	return status;
}
