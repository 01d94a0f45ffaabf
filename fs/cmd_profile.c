/* SPDX-License-Identifier: MIT */
/* p2pfs profile: save, show and merge boot profiles (swarm/profile.h).
 *
 * Thread: the main one.
 */
#include "fs/fs.h"

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/limits.h"
#include "base/mem.h"
#include "fs/client.h"
#include "fs/mountpoint.h"
#include "swarm/profile.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME "profile"

static const char help_text[] =
	"usage: p2pfs profile save MOUNTPOINT FILE\n"
	"       p2pfs profile show FILE [--json]\n"
	"       p2pfs profile merge FILE FROM...\n"
	"\n"
	"A boot profile says which parts of an image are read first, in their order; a mount that is\n"
	"given one (-o profile=FILE, or NAME.profile beside NAME.torrent) fetches those first.\n"
	"\n"
	"  save   writes what was read from MOUNTPOINT so far\n"
	"  show   tells what FILE says\n"
	"  merge  writes FILE: the first FROM, then what the others have besides\n"
	"\n"
	"  --json  facts as JSON\n";

static int load(const char *path, struct profile **ret)
{
	CLEANUP_FREE char *why = NULL;
	return profile_load(path, ret, &why) < 0 ? cli_fail(NAME, "%s: %s", path, why) : EXIT_OK;
}

static int write_to(const char *path, const struct profile *p)
{
	CLEANUP(buf_done) struct buf b = {0};
	profile_write(p, &b);
	int r = write_file(path, buf_bytes(&b), b.len, 0644);
	return r < 0 ? cli_fail(NAME, "%s: %s", path, strerror(-r)) : EXIT_OK;
}

/* -- save -------------------------------------------------------------------------------------- */

static int save_recorded(const struct mount_entry *m, const json_t *answer, const char *path)
{
	CLEANUP_FREE char *why = NULL;
	struct profile *p;
	const json_t *text = json_object_get(answer, "profile");
	if (json_is_null(text))
		return cli_fail(NAME, "%s: records none: it is mounted with profile=off", m->path);
	if (!json_is_string(text) || profile_parse(json_string_value(text),
		json_string_length(text), &p, &why) < 0)
		return cli_fail(NAME, "%s: its daemon's answer is no profile: %s", m->path,
			why ? why : "no text");
	int status = p->n ? write_to(path, p) :
			    cli_fail(NAME, "%s: nothing was read from it yet", m->path);
	profile_free(p);
	return status;
}

static int save(char **args, int n, bool json)
{
	struct mount_entry m;
	CLEANUP_FREE char *socket = NULL;
	json_t *answer = NULL;
	if (n != 2)
		return cli_usage(NAME, "save: needs MOUNTPOINT and FILE, got %d", n);
	if (client_mount(NAME, args[0], &m) != EXIT_OK)
		return EXIT_FAILED;
	int r = client_find(&m, &socket);
	if (r >= 0)
		r = client_ask(socket, "profile", &answer);
	int status = r < 0 ? client_failed(NAME, &m, r) : save_recorded(&m, answer, args[1]);
	json_decref(answer);
	mount_entry_done(&m);
	return status;
}

/* -- show -------------------------------------------------------------------------------------- */

static int show(char **args, int n, bool json)
{
	struct profile *p;
	char bytes[32], size[32];
	if (n != 1)
		return cli_usage(NAME, "show: needs one FILE, got %d", n);
	if (load(args[0], &p) != EXIT_OK)
		return EXIT_FAILED;
	bool any = !strcmp(p->torrent, PROFILE_ANY);
	if (json) {
		json_t *j = json_pack("{s:s?, s:I, s:I, s:I}", "torrent", any ? NULL : p->torrent, "size",
			(json_int_t)p->size, "ranges", (json_int_t)p->n, "bytes",
			(json_int_t)profile_bytes(p));
		json_dumpf(j, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(j);
	} else {
		printf("torrent  %s\n", any ? "any of that size" : p->torrent);
		printf("size     %s (%" PRIu64 " bytes)\n", format_size(p->size, size), p->size);
		printf("names    %s in %zu ranges\n", format_size(profile_bytes(p), bytes), p->n);
	}
	profile_free(p);
	return cli_flush(NAME);
}

/* -- merge ------------------------------------------------------------------------------------- */

static int merge_one(struct profile *into, const char *first, const char *path)
{
	struct profile *p;
	if (load(path, &p) != EXIT_OK)
		return EXIT_FAILED;
	int status = EXIT_OK;
	int r = profile_merge(into, p);
	if (r == -EINVAL)
		status = cli_fail(NAME, "%s: for a torrent of %" PRIu64 " bytes, %s for one of %" PRIu64,
			path, p->size, first, into->size);
	else if (r < 0)
		status = cli_fail(NAME, "%s: more than %u ranges with it", path, PROFILE_MAX_RANGES);
	profile_free(p);
	return status;
}

static int merge(char **args, int n, bool json)
{
	struct profile *p;
	if (n < 2)
		return cli_usage(NAME, "merge: needs FILE and at least one FROM, got %d", n);
	if (load(args[1], &p) != EXIT_OK)
		return EXIT_FAILED;
	int status = EXIT_OK;
	for (int i = 2; i < n && status == EXIT_OK; i++)
		status = merge_one(p, args[1], args[i]);
	if (status == EXIT_OK)
		status = write_to(args[0], p);
	profile_free(p);
	return status;
}

/* -- the command ------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int (*run)(char **args, int n, bool json);
} verbs[] = {{"save", save}, {"show", show}, {"merge", merge}};

int cmd_profile(int argc, char **argv)
{
	enum { JSON = 256 };
	static const struct option longs[] = {
		{"json", no_argument, NULL, JSON},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool json = false;
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		if (c == 'h') {
			fputs(help_text, stdout);
			return cli_flush(NAME);
		}
		if (c != JSON)
			return cli_bad_option(NAME, c, argv);
		json = true;
	}
	if (optind == argc)
		return cli_usage(NAME, "save, show or merge?");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(argv[optind], verbs[i].name))
			continue;
		if (json && verbs[i].run != show)
			return cli_usage(NAME, "--json: goes with show");
		return verbs[i].run(argv + optind + 1, argc - optind - 1, json);
	}
	return cli_usage(NAME, "%s: not save, show or merge", argv[optind]);
}
