/* SPDX-License-Identifier: MIT */
/* p2pfs status: what is here, from whom, how fast, who waits; of one mount or of all.
 *
 * The text is made of the same JSON that --json prints.
 *
 * Thread: the main one.
 */
#include "fs/fs.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/mem.h"
#include "fs/client.h"
#include "fs/mountpoint.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char help_text[] =
	"usage: p2pfs status [MOUNTPOINT] [--json] [--watch]\n"
	"\n"
	"Tells of a mount, or of all, what is here, from whom, how fast, and who waits.\n"
	"\n"
	"  --json    as JSON: an object for MOUNTPOINT, else an array of them\n"
	"  --watch   again each second, until the mount is gone\n";

#define PEERS_SHOWN 20u

/* -- text ------------------------------------------------------------------------------------- */

/* What others sent (names of clients, tracker messages) goes to a terminal: quoted. */
static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? log_quote(text, strlen(text)) : "";
}

static uint64_t number_of(const json_t *object, const char *key)
{
	json_int_t n = json_integer_value(json_object_get(object, key));
	return n > 0 ? (uint64_t)n : 0;
}

static void print_hashes(const json_t *status)
{
	const char *key;
	json_t *value, *hashes = json_object_get(status, "info_hashes");
	json_object_foreach (hashes, key, value)
		printf("  info-hash   %s %s\n", key, json_string_value(value));
}

static void print_amounts(const json_t *status)
{
	char a[32], b[32], c[32];
	uint64_t size = number_of(status, "size"), had = number_of(status, "had");
	printf("  here        %s of %s (%.1f %%)", format_size(had, a), format_size(size, b),
		size ? (double)(uint64_t)((unsigned __int128)had * 1000 / size) / 10 : 100.0);
	printf(", %s of it zeros\n", format_size(number_of(status, "zero"), c));
	printf("  on disk     %s\n", format_size(number_of(status, "on_disk"), a));
	printf("  down        %s, %s in all", format_rate(number_of(status, "down_rate"), a),
		format_size(number_of(status, "downloaded"), b));
	printf(" (%s twice, %s corrupt)\n", format_size(number_of(status, "wasted"), a),
		format_size(number_of(status, "corrupt"), b));
	printf("  up          %s, %s in all\n", format_rate(number_of(status, "up_rate"), a),
		format_size(number_of(status, "uploaded"), b));
}

static void print_profile(const json_t *status)
{
	const json_t *profile = json_object_get(status, "profile");
	if (json_is_object(profile))
		printf("  profile     %s%llu of %llu blocks here, by %s\n",
			json_is_true(json_object_get(status, "boot_ready")) ? "boot-ready: " : "",
			(unsigned long long)number_of(profile, "had"),
			(unsigned long long)number_of(profile, "blocks"), text_of(profile, "from"));
}

static void print_reads(const json_t *status)
{
	const json_t *reads = json_object_get(status, "reads");
	const json_t *p50 = json_object_get(reads, "p50_ms"),
		     *p99 = json_object_get(reads, "p99_ms");
	printf("  reads       %llu waiting, %llu waited",
		(unsigned long long)number_of(reads, "waiting"),
		(unsigned long long)number_of(reads, "waited"));
	if (json_is_number(p50) && json_is_number(p99))
		printf(" (half of them %.1f ms at most, 99 %% %.1f ms)", json_number_value(p50),
			json_number_value(p99));
	putchar('\n');
}

static void print_peers(const json_t *status)
{
	size_t i;
	json_t *peer, *peers = json_object_get(status, "peers");
	printf("  peers       %zu\n", json_array_size(peers));
	json_array_foreach (peers, i, peer) {
		char down[32], up[32];
		if (i == PEERS_SHOWN) {
			printf("    and %zu more\n", json_array_size(peers) - i);
			break;
		}
		printf("    %-22s %-22s down %-11s up %-11s %6.1f ms%s\n", text_of(peer, "address"),
			text_of(peer, "client"), format_rate(number_of(peer, "down_rate"), down),
			format_rate(number_of(peer, "up_rate"), up),
			json_number_value(json_object_get(peer, "rtt_ms")),
			json_is_true(json_object_get(peer, "seed")) ? "  has all" : "");
	}
}

static void print_sources(const json_t *status, const char *key, const char *title)
{
	size_t i;
	json_t *source, *list = json_object_get(status, key);
	json_array_foreach (list, i, source) {
		const char *url = json_string_value(json_object_get(source, "url"));
		printf("  %-11s %s: %s", title, log_quote_url(url ? url : ""),
			text_of(source, "result"));
		json_t *next = json_object_get(source, "next_s");
		if (json_is_integer(next) && json_integer_value(next) >= 0)
			printf(", next in %lld s", (long long)json_integer_value(next));
		putchar('\n');
	}
}

static void print_text(const json_t *status)
{
	const json_t *mount = json_object_get(status, "mount");
	printf("%s: %s\n", text_of(mount, "mountpoint"), text_of(status, "name"));
	printf("  state       %s", text_of(status, "state"));
	const char *why = text_of(status, "why");
	printf("%s%s\n", *why ? ": " : "", why);
	print_hashes(status);
	print_amounts(status);
	print_profile(status);
	print_reads(status);
	print_peers(status);
	print_sources(status, "trackers", "tracker");
	print_sources(status, "web_seeds", "web seed");
	printf("  torrent     %s\n", text_of(mount, "torrent"));
	printf("  store       %s\n", text_of(mount, "store"));
}

/* -- asking ----------------------------------------------------------------------------------- */

static int ask(const struct mount_entry *m, json_t **ret)
{
	CLEANUP_FREE char *socket = NULL;
	int r = client_find(m, &socket);
	if (r >= 0)
		r = client_ask(socket, "status", ret);
	return r < 0 ? client_failed("status", m, r) : EXIT_OK;
}

static int show_one(const char *given, bool json)
{
	struct mount_entry m;
	json_t *status = NULL;
	if (client_mount("status", given, &m) != EXIT_OK)
		return EXIT_FAILED;
	int result = ask(&m, &status);
	if (result == EXIT_OK && json) {
		json_dumpf(status, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (result == EXIT_OK) {
		print_text(status);
	}
	json_decref(status);
	mount_entry_done(&m);
	return result;
}

static int show_all(bool json)
{
	struct mount_entry *entries;
	size_t n;
	int result = EXIT_OK, r = mount_entries(&entries, &n);
	if (r < 0)
		return cli_fail("status", "/proc/self/mountinfo: %s", strerror(-r));
	json_t *all = json_array();
	for (size_t i = 0; i < n; i++) {
		json_t *status = NULL;
		if (ask(&entries[i], &status) != EXIT_OK) {
			result = EXIT_FAILED;
			continue;
		}
		if (!json)
			print_text(status);
		json_array_append_new(all, status);
	}
	if (json) {
		json_dumpf(all, stdout, JSON_COMPACT);
		putchar('\n');
	} else if (!n) {
		printf("no p2pfs mounts\n");
	}
	json_decref(all);
	mount_entries_free(entries, n);
	return result;
}

static int watch(const char *given, bool json)
{
	const struct timespec second = {1, 0};
	bool terminal = isatty(STDOUT_FILENO) && !json;
	for (;;) {
		if (terminal)
			fputs("\033[H\033[J", stdout);
		int result = given ? show_one(given, json) : show_all(json);
		if (fflush(stdout) != 0)
			return EXIT_FAILED; /* who watched has gone */
		if (result != EXIT_OK && given)
			return result;
		nanosleep(&second, NULL);
	}
}

int cmd_status(int argc, char **argv)
{
	enum { JSON = 256, WATCH };
	static const struct option longs[] = {
		{"json", no_argument, NULL, JSON},
		{"watch", no_argument, NULL, WATCH},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool json = false, again = false;
	int c;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		switch (c) {
		case JSON:
			json = true;
			break;
		case WATCH:
			again = true;
			break;
		case 'h':
			fputs(help_text, stdout);
			return cli_flush("status");
		default:
			return cli_bad_option("status", c, argv);
		}
	}
	if (argc - optind > 1)
		return cli_usage("status", "needs one MOUNTPOINT or none, got %d", argc - optind);
	const char *given = optind < argc ? argv[optind] : NULL;
	if (again)
		return watch(given, json);
	int result = given ? show_one(given, json) : show_all(json);
	int flushed = cli_flush("status");
	return result != EXIT_OK ? result : flushed;
}
