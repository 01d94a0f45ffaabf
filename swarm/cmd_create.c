// SPDX-License-Identifier: MIT
/* p2pfs create: makes a .torrent.  The letters are transmission-create's, and so is what scripts
 * rely on: the result is ./NAME.torrent, an older one there is replaced, a plain number after -s is
 * KiB.
 *
 * Thread: the main one.
 */
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/limits.h"
#include "base/mem.h"
#include "swarm/commands.h"
#include "swarm/create.h"
#include "swarm/describe.h"
#include "swarm/metainfo.h"
#include "swarm/profile.h"
#include "swarm/scan.h"
#include "swarm/url.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NAME "create"

static const char help[] =
	"usage: p2pfs create PATH [-o OUT] [-t URL]... [-w URL]... [-c TEXT] [-s SIZE] [-p]\n"
	"                    [--format hybrid|v1|v2] [-j N] [--profile FILE] [--json]\n"
	"\n"
	"Makes a .torrent of a file or folder.\n"
	"\n"
	"  -o, --outfile OUT     where to write it (default: NAME.torrent in the current folder)\n"
	"  -t, --tracker URL     announce there; again for more trackers, each a tier of its own\n"
	"  -w, --webseed URL     the contents are on this HTTP server, too; again for more\n"
	"  -c, --comment TEXT\n"
	"  -s, --piecesize SIZE  16K to 64M, a power of two; a plain number is KiB\n"
	"  -p, --private         peers come from the trackers only\n"
	"  -f, --format FORMAT   hybrid (default), v1 (for clients without BEP 52), v2\n"
	"  -j, --threads N       hash on N threads (default: one a processor)\n"
	"      --profile FILE    put this boot profile (p2pfs profile save) into it\n"
	"      --json            tell what was made as JSON\n"
	"  -V, --version\n"
	"  -h, --help\n";

struct request {
	struct create_options create;
	char *output; /* owned */
	struct profile *profile; /* owned or NULL */
	char **trackers, **web_seeds; /* owned arrays of borrowed strings, NULL-terminated */
	size_t n_trackers, trackers_cap, n_web_seeds, web_seeds_cap;
	bool json, done;
	struct progress progress;
};

static void request_done(struct request *q)
{
	free(q->output);
	profile_free(q->profile);
	free(q->trackers);
	free(q->web_seeds);
}

static int take_url(char *text, bool tracker, char ***urls, size_t *n, size_t *cap)
{
	struct url u = {0};
	const char *why, *what = tracker ? "-t" : "-w";

	if (strlen(text) > TORRENT_MAX_URL)
		return cli_usage(
			NAME, "%s: %zu bytes: longer than %u", what, strlen(text), TORRENT_MAX_URL);
	if (url_parse(text, &u, &why) < 0)
		return cli_usage(NAME, "%s %s: %s", what, text, why);
	bool udp = u.scheme == URL_UDP;
	url_done(&u);
	if (udp && !tracker)
		return cli_usage(NAME, "-w %s: a web seed is http or https", text);
	unsigned max = tracker ? TORRENT_MAX_TRACKERS : TORRENT_MAX_WEBSEEDS;
	if (*n == max)
		return cli_usage(NAME, "%s %s: more than %u of them", what, text, max);
	GROW(*urls, *n + 1, *cap);
	(*urls)[(*n)++] = text;
	(*urls)[*n] = NULL;
	return EXIT_OK;
}

static int take_piece_size(const char *text, uint32_t *ret)
{
	uint64_t size = 0;
	int r = parse_size(text, &size);

	/* transmission-create's unit. */
	if (r == 0 && strspn(text, "0123456789") == strlen(text))
		size = size > UINT32_MAX ? UINT64_MAX : size * 1024;
	if (r < 0 || size < TORRENT_MIN_PIECE_LENGTH || size > TORRENT_MAX_PIECE_LENGTH ||
		size & (size - 1))
		return cli_usage(NAME,
			"-s %s: a piece is 16K to 64M, a power of two (a plain number is KiB)",
			text);
	*ret = (uint32_t)size;
	return EXIT_OK;
}

static int take_format(const char *text, enum create_format *ret)
{
	static const char *const names[] = {
		[CREATE_HYBRID] = "hybrid", [CREATE_V1] = "v1", [CREATE_V2] = "v2"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(text, names[i])) {
			*ret = (enum create_format)i;
			return EXIT_OK;
		}
	}
	return cli_usage(NAME, "--format %s: not hybrid, v1 or v2", text);
}

static int take_profile(const char *path, struct profile **ret)
{
	CLEANUP_FREE char *why = NULL;
	struct profile *p;

	if (profile_load(path, &p, &why) < 0)
		return cli_fail(NAME, "%s: %s", path, why);
	profile_free(*ret);
	*ret = p;
	return EXIT_OK;
}

static int take_option(struct request *q, int option, char **argv)
{
	uint64_t n;

	switch (option) {
	case 'o':
		free(q->output);
		q->output = xstrdup(optarg);
		return EXIT_OK;
	case 't':
		return take_url(optarg, true, &q->trackers, &q->n_trackers, &q->trackers_cap);
	case 'w':
		return take_url(optarg, false, &q->web_seeds, &q->n_web_seeds, &q->web_seeds_cap);
	case 'c':
		q->create.comment = optarg;
		return EXIT_OK;
	case 's':
		return take_piece_size(optarg, &q->create.piece_length);
	case 'p':
		q->create.is_private = true;
		return EXIT_OK;
	case 'f':
		return take_format(optarg, &q->create.format);
	case 'j':
		if (parse_number(optarg, 1, SCAN_MAX_THREADS, &n) < 0)
			return cli_usage(
				NAME, "-j %s: not within 1 and %u", optarg, SCAN_MAX_THREADS);
		q->create.threads = (unsigned)n;
		return EXIT_OK;
	case 'P':
		return take_profile(optarg, &q->profile);
	case 'J':
		q->json = true;
		return EXIT_OK;
	case 'V':
		printf("p2pfs %s\n", P2PFS_VERSION);
		q->done = true;
		return EXIT_OK;
	case 'h':
		fputs(help, stdout);
		q->done = true;
		return EXIT_OK;
	default:
		return cli_bad_option(NAME, option, argv);
	}
}

/* The current time, or the one that reproducible builds ask for. */
static int64_t creation_date(void)
{
	const char *epoch = getenv("SOURCE_DATE_EPOCH");
	uint64_t t;

	return epoch && parse_number(epoch, 0, INT64_MAX, &t) == 0 ? (int64_t)t
								   : (int64_t)time(NULL);
}

static void on_progress(void *arg, uint64_t done, uint64_t total)
{
	struct progress *p = arg;

	if (!p->what)
		progress_begin(p, "hashing", total);
	progress_show(p, done);
}

/* ./NAME.torrent, NAME being the last part of the path as it was given, or as it is found to be. */
static char *default_output(const char *path)
{
	CLEANUP_FREE char *copy = xstrdup(path);
	size_t len = strlen(copy);

	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	const char *slash = strrchr(copy, '/'), *last = slash ? slash + 1 : copy;
	CLEANUP_FREE char *real = NULL;
	if (!*last || !strcmp(last, ".") || !strcmp(last, "..")) {
		real = realpath(copy, NULL);
		last = real ? strrchr(real, '/') + 1 : last;
	}
	return xasprintf("%s.torrent", last);
}

static void tell(const struct request *q, const struct metainfo *m)
{
	char size[32], piece[32], hex[2 * SHA256_LEN + 1];

	if (q->json) {
		json_t *j = describe_metainfo(m);
		json_object_set_new(j, "torrent", describe_string(q->output));
		describe_print(j);
		return;
	}
	printf("%s: %s, %s in %u file%s, %u pieces of %s\n", q->output, describe_version(m),
		format_size(m->size, size), m->n_files, m->n_files == 1 ? "" : "s", m->n_pieces,
		format_size(m->piece_length, piece));
	if (m->has_v1) {
		hex_encode(m->hash_v1, SHA1_LEN, hex);
		printf("info-hash: %s\n", hex);
	}
	if (m->has_v2) {
		hex_encode(m->hash_v2, SHA256_LEN, hex);
		printf("info-hash v2: %s\n", hex);
	}
}

static int create(struct request *q, const char *path)
{
	CLEANUP(buf_done) struct buf b = {0};
	CLEANUP_FREE char *why = NULL;
	struct stat output;

	if (!q->output)
		q->output = default_output(path);
	q->create.output = stat(q->output, &output) == 0 ? &output : NULL;
	q->create.trackers = q->trackers;
	q->create.web_seeds = q->web_seeds;
	q->create.profile = q->profile;
	q->create.progress = on_progress;
	q->create.arg = &q->progress;
	int r = create_torrent(path, &q->create, &b, &why);
	progress_end(&q->progress);
	if (r < 0)
		return cli_fail(NAME, "%s", why);

	/* What we write must be what we read. */
	struct metainfo *m;
	r = metainfo_parse(buf_bytes(&b), b.len, &m, &why);
	if (r < 0)
		return cli_fail(NAME, "%s: would make a bad torrent: %s", path, why);
	r = write_file(q->output, buf_bytes(&b), b.len, 0644);
	if (r < 0) {
		metainfo_free(m);
		return cli_fail(NAME, "%s: %s", q->output, strerror(-r));
	}
	tell(q, m);
	metainfo_free(m);
	return cli_flush(NAME);
}

int cmd_create(int argc, char **argv)
{
	static const struct option options[] = {
		{"outfile", required_argument, NULL, 'o'},
		{"tracker", required_argument, NULL, 't'},
		{"webseed", required_argument, NULL, 'w'},
		{"comment", required_argument, NULL, 'c'},
		{"piecesize", required_argument, NULL, 's'},
		{"private", no_argument, NULL, 'p'},
		{"format", required_argument, NULL, 'f'},
		{"threads", required_argument, NULL, 'j'},
		{"profile", required_argument, NULL, 'P'},
		{"json", no_argument, NULL, 'J'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	CLEANUP(request_done)
	struct request q = {
		.create =
			{
				.created_by = "p2pfs " P2PFS_VERSION,
				.creation_date = creation_date(),
				.threads = scan_default_threads(),
			},
	};
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":o:t:w:c:s:pf:j:Vh", options, NULL)) != -1) {
		int status = take_option(&q, option, argv);
		if (status != EXIT_OK || q.done)
			return status;
	}
	if (optind == argc)
		return cli_usage(NAME, "PATH: missing: which file or folder?");
	if (optind + 1 < argc)
		return cli_usage(NAME, "%s: only one PATH", argv[optind + 1]);
	return create(&q, argv[optind]);
}
