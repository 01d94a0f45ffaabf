/* SPDX-License-Identifier: MIT */
/* See foreground.h.  Signals are taken by the main thread with sigtimedwait, between two looks at the
 * progress; all other threads have them blocked. */
#include "swarm/foreground.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/mem.h"
#include "swarm/metainfo.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define LOOK_MS 200

struct take {
	struct foreground *f;
	int status;
};

static int take_option(void *arg, const char *key, const char *value)
{
	struct take *t = arg;
	CLEANUP_FREE char *why = NULL;
	int r = options_take(&t->f->options, key, value, &why);
	if (r == 1)
		return 0;
	if (r == 0)
		t->status = cli_usage(t->f->command, "-o %s: unknown option", key);
	else
		t->status = cli_usage(t->f->command, "-o %s", why);
	return -EINVAL;
}

int foreground_options(struct foreground *f, const char *list)
{
	struct take t = {f, EXIT_OK};
	options_split(list, take_option, &t);
	return t.status;
}

static void on_complete(void *arg)
{
	atomic_store((_Atomic bool *)arg, true);
}

static void log_status(void *arg)
{
	json_t *j = torrent_status(arg);
	CLEANUP_FREE char *text = json_dumps(j, JSON_COMPACT);
	log_info("status: %s", text ? text : "?");
	json_decref(j);
}

static void show(struct torrent *t, struct progress *p, char *told, size_t size)
{
	struct torrent_facts f;
	torrent_facts(t, &f);
	progress_show(p, f.had);
	/* Where there is no bar, a change of what stands in the way is still worth a line. */
	if (f.why[0] && strcmp(f.why, told))
		log_info("%s: %s", f.state, f.why);
	snprintf(told, size, "%s", f.why);
}

/* Until complete, or a signal to end: gives the signal, or 0. */
static int wait_for_end(struct foreground *f, struct swarm *s, struct torrent *t, const sigset_t *signals,
	_Atomic bool *complete)
{
	struct progress progress;
	char told[160] = "";
	progress_begin(&progress, f->progress, torrent_meta(t)->size);
	int ended = 0;
	while (!ended && !(f->leave_when_complete && atomic_load(complete))) {
		int sig = sigtimedwait(signals, NULL, &(struct timespec) {.tv_nsec = LOOK_MS * 1000000});
		if (sig == SIGHUP)
			log_reopen();
		else if (sig == SIGUSR1)
			swarm_post(s, log_status, t);
		else if (sig > 0)
			ended = sig;
		show(t, &progress, told, sizeof(told));
	}
	progress_end(&progress);
	return ended;
}

int foreground_run(struct foreground *f)
{
	CLEANUP_FREE char *why = NULL, *profile = NULL;
	struct metainfo *meta = NULL;
	struct swarm *s = NULL;
	struct torrent *t = NULL;
	_Atomic bool complete = false;
	sigset_t signals;

	log_set_name(f->command);
	if (f->options.debug && log_debug_enable(f->options.debug) < 0)
		return cli_usage(f->command, "-o debug=%s: no such category", f->options.debug);
	if (f->options.log && log_open(f->options.log) < 0)
		return cli_fail(f->command, "%s: %s", f->options.log, strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);

	f->options.torrent.complete = on_complete;
	f->options.torrent.arg = &complete;
	f->options.swarm.http_cafile = f->options.cafile;
	options_take_link(&f->options, f->what);
	if (options_open(&f->options, f->what, 0, &s, &meta, &why) < 0)
		goto fail;
	/* Until here these two end it at once: there is nothing yet to leave in good order. */
	sigprocmask(SIG_BLOCK, &signals, NULL);
	profile = options_profile(&f->options, f->what, &f->options.torrent);
	if (swarm_add(s, meta, &f->options.torrent, &t, &why) < 0)
		goto fail;
	meta = NULL;
	int r = swarm_start(s);
	if (r < 0) {
		why = xasprintf("%s: threads: %s", f->what, strerror(-r));
		goto fail;
	}
	int sig = wait_for_end(f, s, t, &signals, &complete);
	swarm_free(s);
	if (sig && f->leave_when_complete)
		return cli_fail(f->command, "%s: ended by a signal before all had come; the same command "
					    "goes on from here", f->what);
	return EXIT_OK;
fail:
	metainfo_free(meta);
	swarm_free(s);
	return cli_fail(f->command, "%s", why ? why : "failed");
}
