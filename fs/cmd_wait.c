/* SPDX-License-Identifier: MIT */
/* p2pfs wait: until what a boot reads, or everything, is here.
 *
 * The daemon is asked for its status again and again; a mount that ends meanwhile is a failure.
 *
 * Thread: the main one.
 */
#include "fs/fs.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "fs/client.h"
#include "fs/mountpoint.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Who starts a guest then does not notice; the daemon, asked ten times a second, neither. */
#define ASK_MS 100
#define TIMEOUT_MAX_S (366u * 24 * 3600) /* as of mount's timeout= */

static const char help_text[] =
	"usage: p2pfs wait --boot-ready|--complete MOUNTPOINT [--timeout SECONDS]\n"
	"\n"
	"Waits until enough of a mount is here.\n"
	"\n"
	"  --boot-ready       all that its boot profile names (p2pfs profile)\n"
	"  --complete         everything\n"
	"  --timeout SECONDS  fail after so long (default: wait for ever)\n"
	"\n"
	"Exit status: 0 it is here; 1 not in time, the mount has ended, or there is no profile.\n";

struct request {
	bool boot_ready;
	uint64_t timeout_s; /* UINT64_MAX: none */
};

/* Is it here?  *ret_hopeless: and never will be. */
static bool is_here(const struct request *q, const json_t *status, bool *ret_hopeless)
{
	const json_t *ready = json_object_get(status, "boot_ready");
	const char *state = json_string_value(json_object_get(status, "state"));
	*ret_hopeless = q->boot_ready && !json_is_boolean(ready);
	return q->boot_ready ? json_is_true(ready) : state && !strcmp(state, "complete");
}

static int too_late(const struct request *q, const struct mount_entry *m, const json_t *status)
{
	const json_t *of = q->boot_ready ? json_object_get(status, "profile") : status;
	const char *why = json_string_value(json_object_get(status, "why"));
	return cli_fail("wait", "%s: not within %" PRIu64 " s: %lld of %lld %s are here%s%s", m->path,
		q->timeout_s, (long long)json_integer_value(json_object_get(of, "had")),
		(long long)json_integer_value(json_object_get(of, q->boot_ready ? "blocks" : "size")),
		q->boot_ready ? "blocks of the profile" : "bytes", why && *why ? "; " : "",
		why ? log_quote(why, strlen(why)) : "");
}

static bool has_ended(const struct mount_entry *m)
{
	struct mount_entry now;
	if (mount_find(m->path, &now) < 0)
		return true;
	mount_entry_done(&now);
	return false;
}

static int wait_mount(const struct request *q, const struct mount_entry *m)
{
	const struct timespec pause = {0, ASK_MS * 1000000};
	uint64_t began = clock_us();
	CLEANUP_FREE char *socket = NULL;
	int r = client_find(m, &socket);
	if (r < 0)
		return client_failed("wait", m, r);
	for (;;) {
		json_t *status = NULL;
		bool hopeless;
		r = client_ask(socket, "status", &status);
		if (r < 0 && has_ended(m))
			return cli_fail("wait", "%s: the mount has ended", m->path);
		if (r < 0)
			return client_failed("wait", m, r);
		bool here = is_here(q, status, &hopeless);
		bool late = !here && q->timeout_s != UINT64_MAX &&
			clock_us() - began >= q->timeout_s * US_PER_S;
		int result = here ? EXIT_OK :
			hopeless ? cli_fail("wait", "%s: has no boot profile that would say what a boot "
						    "reads; --complete waits for everything", m->path) :
			late ? too_late(q, m, status) : EXIT_OK;
		json_decref(status);
		if (here || hopeless || late)
			return result;
		nanosleep(&pause, NULL);
	}
}

int cmd_wait(int argc, char **argv)
{
	enum { BOOT_READY = 256, COMPLETE, TIMEOUT };
	static const struct option longs[] = {
		{"boot-ready", no_argument, NULL, BOOT_READY},
		{"complete", no_argument, NULL, COMPLETE},
		{"timeout", required_argument, NULL, TIMEOUT},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct request q = {.timeout_s = UINT64_MAX};
	bool complete = false;
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		switch (c) {
		case BOOT_READY:
			q.boot_ready = true;
			break;
		case COMPLETE:
			complete = true;
			break;
		case TIMEOUT:
			if (parse_number(optarg, 0, TIMEOUT_MAX_S, &q.timeout_s) < 0)
				return cli_usage("wait", "--timeout %s: not a number of seconds from 0 to %u",
					optarg, TIMEOUT_MAX_S);
			break;
		case 'h':
			fputs(help_text, stdout);
			return cli_flush("wait");
		default:
			return cli_bad_option("wait", c, argv);
		}
	}
	if (q.boot_ready == complete)
		return cli_usage("wait", "for what? one of --boot-ready, --complete");
	if (argc - optind != 1)
		return cli_usage("wait", "needs one MOUNTPOINT, got %d", argc - optind);
	struct mount_entry m;
	if (client_mount("wait", argv[optind], &m) != EXIT_OK)
		return EXIT_FAILED;
	int status = wait_mount(&q, &m);
	mount_entry_done(&m);
	return status;
}
