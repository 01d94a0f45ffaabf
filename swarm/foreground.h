/* SPDX-License-Identifier: MIT */
/* Running one torrent in the foreground, for get and seed.
 *
 * Thread: the main one.
 */
#ifndef SWARM_FOREGROUND_H
#define SWARM_FOREGROUND_H

#include "swarm/options.h"

struct foreground {
	const char *command, *what; /* for messages: "get", and the torrent as it was given */
	struct swarm_options options; /* filled in, with where and path set */
	bool leave_when_complete;
	const char *progress; /* a word for the progress bar, "fetching" */
};

/* Takes one "-o" list into the options; an exit status, EXIT_OK when it was fine. */
int foreground_options(struct foreground *f, const char *list);
/* Loads the torrent, runs until it is complete (where so wanted) or SIGINT or SIGTERM comes; SIGHUP
 * reopens the log, SIGUSR1 writes the status there.  Gives the exit status. */
int foreground_run(struct foreground *f);

#endif
