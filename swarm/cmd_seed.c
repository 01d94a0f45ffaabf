/* SPDX-License-Identifier: MIT */
/* p2pfs seed: serve a file or folder that is here already, read-only, where it lies.
 *
 *	p2pfs seed TORRENT PATH [-o OPTION,...]
 *
 * What is there is hashed first, and each piece is served from the moment when it was found good;
 * nothing is ever written to it.
 */
#include "swarm/commands.h"

#include "base/cli.h"
#include "swarm/foreground.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
	"usage: p2pfs seed TORRENT PATH [-o OPTION,...]\n"
	"\n"
	"Serves the file or folder PATH, which holds what TORRENT says, until it is ended.\n"
	"\n"
	"  -o OPTION,...   listen= peer= tracker= up= peers= cafile= log= debug=\n";

int cmd_seed(int argc, char **argv)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
	struct foreground f = {.command = "seed", .progress = "checking"};
	int status = EXIT_OK, c;
	options_init(&f.options);
	while (!status && (c = getopt_long(argc, argv, "o:h", longs, NULL)) >= 0) {
		if (c == 'o')
			status = foreground_options(&f, optarg);
		else if (c == 'h')
			return fputs(usage, stdout) < 0;
		else
			status = cli_usage("seed", "wrong option");
	}
	if (!status && optind + 2 != argc)
		status = cli_usage("seed", "name a torrent and a path, got %d arguments", argc - optind);
	if (!status) {
		f.what = argv[optind];
		f.options.torrent.where = TORRENT_IN_PLACE;
		f.options.torrent.path = argv[optind + 1];
		f.options.torrent.fill = false;
		f.options.torrent.seed = true;
		status = foreground_run(&f);
	}
	options_done(&f.options);
	return status;
}
