// SPDX-License-Identifier: MIT
/* p2pfs show: what a .torrent or a magnet link says.  The text has transmission-show's form, since
 * scripts look for its lines ("  Hash: ...").
 *
 * Thread: the main one.
 */
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/mem.h"
#include "swarm/commands.h"
#include "swarm/describe.h"
#include "swarm/magnet.h"
#include "swarm/metainfo.h"
#include "swarm/profile.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define NAME "show"
#define FILES_SHOWN 1000u /* without --files: a screen or two, and all of nearly every torrent */

static const char help[] =
	"usage: p2pfs show TORRENT|MAGNET [--magnet | --files] [--json]\n"
	"\n"
	"Tells what a .torrent or a magnet link says.\n"
	"\n"
	"  -m, --magnet    give its magnet link\n"
	"  -f, --files     give its files: bytes and path, one a line\n"
	"      --json      all of it as JSON\n"
	"  -u, --unsorted  files are told in the torrent's order (always so; for old scripts)\n"
	"  -V, --version\n"
	"  -h, --help\n";

static void print_line(const char *label, const char *bytes)
{
	CLEANUP_FREE char *text = describe_text(bytes);

	printf("%s%s\n", label, text);
}

static void print_hash(const char *label, const uint8_t *hash, size_t len)
{
	char hex[2 * SHA256_LEN + 1];

	hex_encode(hash, len, hex);
	printf("%s%s\n", label, hex);
}

static void print_hashes(const uint8_t *v1, const uint8_t *v2)
{
	/* "Hash" is what a tracker's list of torrents wants, whichever version. */
	if (v1)
		print_hash("  Hash: ", v1, SHA1_LEN);
	if (v2)
		print_hash(v1 ? "  Hash v2: " : "  Hash: ", v2, SHA256_LEN);
}

static void print_urls(const char *heading, char **urls)
{
	if (!urls[0])
		return;
	printf("\n%s\n\n", heading);
	for (; *urls; urls++)
		print_line("  ", *urls);
}

static void print_general(const struct metainfo *m)
{
	char text[64];
	time_t date = (time_t)m->creation_date;
	struct tm tm;

	printf("\nGENERAL\n\n");
	print_line("  Name: ", m->name);
	print_hashes(m->has_v1 ? m->hash_v1 : NULL, m->has_v2 ? m->hash_v2 : NULL);
	printf("  Version: %s%s\n", describe_version(m),
		m->lacks_layers ? ", of a hybrid whose piece layers are missing" : "");
	if (m->created_by)
		print_line("  Created by: ", m->created_by);
	if (date && localtime_r(&date, &tm) && strftime(text, sizeof(text), "%a %b %e %T %Y", &tm))
		printf("  Created on: %s\n", text);
	if (m->comment)
		print_line("  Comment: ", m->comment);
	printf("  Piece Count: %u\n", m->n_pieces);
	printf("  Piece Size: %s\n", format_size(m->piece_length, text));
	printf("  Total Size: %s (%" PRIu64 " bytes)\n", format_size(m->size, text), m->size);
	printf("  Privacy: %s torrent\n", m->is_private ? "Private" : "Public");
	if (m->profile)
		printf("  Boot Profile: %zu ranges, %s\n", m->profile->n,
			format_size(profile_bytes(m->profile), text));
}

static void print_all(const struct metainfo *m, const char *file)
{
	char size[32];

	print_line("Name: ", m->name);
	print_line("File: ", file);
	print_general(m);
	printf("\nTRACKERS\n");
	for (size_t i = 0; m->tiers[i]; i++) {
		printf("\n  Tier #%zu\n", i + 1);
		for (char **url = m->tiers[i]; *url; url++)
			print_line("  ", *url);
	}
	print_urls("WEB SEEDS", m->web_seeds);
	printf("\nFILES\n\n");
	for (uint32_t i = 0; i < m->n_files && i < FILES_SHOWN; i++) {
		CLEANUP_FREE char *path = describe_path(m, i), *text = describe_text(path);
		printf("  %s (%s)\n", text, format_size(m->files[i].length, size));
	}
	if (m->n_files > FILES_SHOWN)
		printf("  and %u more: --files shows them\n", m->n_files - FILES_SHOWN);
	putchar('\n');
}

static void print_files(const struct metainfo *m)
{
	for (uint32_t i = 0; i < m->n_files; i++) {
		CLEANUP_FREE char *path = describe_path(m, i), *text = describe_text(path);
		printf("%" PRIu64 "\t%s\n", m->files[i].length, text);
	}
}

enum form { FORM_TEXT, FORM_MAGNET, FORM_FILES, FORM_JSON };

static int show_torrent(const char *file, enum form form)
{
	CLEANUP_FREE char *why = NULL, *link = NULL;
	struct metainfo *m;

	if (metainfo_load(file, &m, &why) < 0)
		return cli_fail(NAME, "%s: %s", file, why);
	switch (form) {
	case FORM_TEXT:
		print_all(m, file);
		break;
	case FORM_MAGNET:
		link = magnet_of(m);
		printf("%s\n", link);
		break;
	case FORM_FILES:
		print_files(m);
		break;
	case FORM_JSON:
		describe_print(describe_metainfo(m));
		break;
	}
	metainfo_free(m);
	return cli_flush(NAME);
}

static int show_magnet(const char *link, enum form form)
{
	CLEANUP(magnet_done) struct magnet m = {0};
	const char *why;

	if (magnet_parse(link, &m, &why) < 0)
		return cli_fail(NAME, "%s: %s", link, why);
	if (form == FORM_FILES)
		return cli_fail(NAME, "%s: a magnet link does not tell files", link);
	if (form == FORM_MAGNET) {
		printf("%s\n", link);
		return cli_flush(NAME);
	}
	if (form == FORM_JSON) {
		describe_print(describe_magnet(&m));
		return cli_flush(NAME);
	}
	if (m.name)
		print_line("Name: ", m.name);
	printf("\nGENERAL\n\n");
	print_hashes(m.has_v1 ? m.hash_v1 : NULL, m.has_v2 ? m.hash_v2 : NULL);
	print_urls("TRACKERS", m.trackers);
	print_urls("WEB SEEDS", m.web_seeds);
	if (m.n_peers)
		printf("\nPEERS\n\n");
	for (size_t i = 0; i < m.n_peers; i++) {
		char text[ADDR_STRLEN];
		printf("  %s\n", addr_format(&m.peers[i], text));
	}
	putchar('\n');
	return cli_flush(NAME);
}

int cmd_show(int argc, char **argv)
{
	static const struct option options[] = {
		{"magnet", no_argument, NULL, 'm'},
		{"files", no_argument, NULL, 'f'},
		{"json", no_argument, NULL, 'J'},
		{"unsorted", no_argument, NULL, 'u'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	enum form form = FORM_TEXT;
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":mfuVh", options, NULL)) != -1) {
		enum form wanted = option == 'm'   ? FORM_MAGNET
				   : option == 'f' ? FORM_FILES
				   : option == 'J' ? FORM_JSON
						   : FORM_TEXT;
		if (option == 'h') {
			fputs(help, stdout);
			return cli_flush(NAME);
		}
		if (option == 'V') {
			printf("p2pfs %s\n", P2PFS_VERSION);
			return cli_flush(NAME);
		}
		if (option == '?' || option == ':')
			return cli_bad_option(NAME, option, argv);
		if (wanted != FORM_TEXT && form != FORM_TEXT && wanted != form)
			return cli_usage(NAME, "only one of --magnet, --files, --json");
		form = wanted != FORM_TEXT ? wanted : form;
	}
	if (optind == argc)
		return cli_usage(NAME, "TORRENT: missing: which one?");
	if (optind + 1 < argc)
		return cli_usage(NAME, "%s: only one TORRENT", argv[optind + 1]);
	return strncasecmp(argv[optind], "magnet:", 7) ? show_torrent(argv[optind], form)
						       : show_magnet(argv[optind], form);
}
