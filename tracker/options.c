/* SPDX-License-Identifier: MIT */
/* The options of `p2pfs tracker`: see options.h.
 *
 * Thread: the main one.
 */
#include "tracker/options.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/mem.h"
#include "tracker/http.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define NAME "tracker"

static const char usage[] =
	"usage: p2pfs tracker [OPTION]...\n"
	"       p2pfs tracker status [ADDR:PORT|URL] [--json] [--token FILE]\n"
	"\n"
	"Runs a BitTorrent tracker in the foreground: HTTP, HTTPS and UDP on one port.\n"
	"\n"
	"  --listen ADDR:PORT   where to listen; may be given again; port 0 takes a free one\n"
	"                       (default: port 6969 of all addresses, IPv4 and IPv6)\n"
	"  --tls-cert FILE      a certificate chain, --tls-key FILE its key: HTTPS too\n"
	"  --ready-fd N         write a newline to descriptor N once it answers\n"
	"whom it serves (files are read again when they change, and on SIGHUP)\n"
	"  --allow FILE|DIR     only the info-hashes in a file, or the torrents in a folder\n"
	"  --passkeys FILE      only who announces to /KEY/announce with a key of the file\n"
	"  --rate N             requests a second of one address (default: no limit)\n"
	"  --sites FILE         \"NETWORK SITE\" a line: peers of one site find each other first\n"
	"what it answers\n"
	"  --interval MIN-MAX   seconds between a peer's announces (default 5-1800)\n"
	"  --numwant N          peers of a reply at most (default 100, up to 200)\n"
	"  --allow-ip           believe the ip= of an announce\n"
	"  --full-scrape        allow a scrape of all torrents\n"
	"  --warning TEXT       a \"warning message\" to all clients\n"
	"what it remembers\n"
	"  --state DIR          keep peers and counts there, to survive a restart\n"
	"  --cluster URL        redis://HOST[:PORT][/DB]: several trackers as one\n"
	"  --cluster-secret FILE  Redis' password\n"
	"  --max-torrents N     (200000)   --max-peers N  (4000000)   --max-swarm N  (1000000)\n"
	"  --max-connections N  (16384)    --max-connections-per-address N  (8192)\n"
	"to be seen\n"
	"  --control ADDR:PORT  /stats, /stats.json and /metrics there, not beside the tracker\n"
	"  --control-token FILE the bearer token for them; needed beyond loopback\n"
	"  --log FILE           messages there; opened again on SIGHUP\n"
	"  -D CATEGORY,...      debug messages\n"
	"  --help               this text\n";

enum {
	OPT_LISTEN = 256,
	OPT_READY_FD,
	OPT_HELP,
	OPT_ALLOW,
	OPT_PASSKEYS,
	OPT_SITES,
	OPT_RATE,
	OPT_INTERVAL,
	OPT_NUMWANT,
	OPT_ALLOW_IP,
	OPT_FULL_SCRAPE,
	OPT_WARNING,
	OPT_STATE,
	OPT_CLUSTER,
	OPT_CLUSTER_SECRET,
	OPT_MAX_TORRENTS,
	OPT_MAX_PEERS,
	OPT_MAX_SWARM,
	OPT_MAX_CONNECTIONS,
	OPT_MAX_PER_ADDRESS,
	OPT_CONTROL,
	OPT_CONTROL_TOKEN,
	OPT_TLS_CERT,
	OPT_TLS_KEY,
	OPT_LOG,
};

static const struct option long_options[] = {
	{"listen", required_argument, NULL, OPT_LISTEN},
	{"ready-fd", required_argument, NULL, OPT_READY_FD},
	{"help", no_argument, NULL, OPT_HELP},
	{"allow", required_argument, NULL, OPT_ALLOW},
	{"passkeys", required_argument, NULL, OPT_PASSKEYS},
	{"sites", required_argument, NULL, OPT_SITES},
	{"rate", required_argument, NULL, OPT_RATE},
	{"interval", required_argument, NULL, OPT_INTERVAL},
	{"numwant", required_argument, NULL, OPT_NUMWANT},
	{"allow-ip", no_argument, NULL, OPT_ALLOW_IP},
	{"full-scrape", no_argument, NULL, OPT_FULL_SCRAPE},
	{"warning", required_argument, NULL, OPT_WARNING},
	{"state", required_argument, NULL, OPT_STATE},
	{"cluster", required_argument, NULL, OPT_CLUSTER},
	{"cluster-secret", required_argument, NULL, OPT_CLUSTER_SECRET},
	{"max-torrents", required_argument, NULL, OPT_MAX_TORRENTS},
	{"max-peers", required_argument, NULL, OPT_MAX_PEERS},
	{"max-swarm", required_argument, NULL, OPT_MAX_SWARM},
	{"max-connections", required_argument, NULL, OPT_MAX_CONNECTIONS},
	{"max-connections-per-address", required_argument, NULL, OPT_MAX_PER_ADDRESS},
	{"control", required_argument, NULL, OPT_CONTROL},
	{"control-token", required_argument, NULL, OPT_CONTROL_TOKEN},
	{"tls-cert", required_argument, NULL, OPT_TLS_CERT},
	{"tls-key", required_argument, NULL, OPT_TLS_KEY},
	{"log", required_argument, NULL, OPT_LOG},
	{0},
};

static int parse_interval(const char *text, struct pace *ret)
{
	CLEANUP_FREE char *copy = xstrdup(text);
	char *dash = strchr(copy, '-');
	uint64_t min, max;
	if (dash)
		*dash++ = '\0';
	if (parse_number(copy, 1, PACE_LIMIT_S, &min) < 0 ||
		parse_number(dash ? dash : copy, min, PACE_LIMIT_S, &max) < 0)
		return -1;
	*ret = (struct pace) {(uint32_t)min, (uint32_t)max};
	return 0;
}

/* An option whose value is a number or a name: where that goes. */
static bool plain_option(struct options *o, int c, const char ***ret_text, uint64_t **ret_number,
	uint64_t *ret_max)
{
	*ret_text = NULL;
	*ret_number = NULL;
	*ret_max = UINT32_MAX;
	switch (c) {
	case OPT_ALLOW:
		*ret_text = &o->lists.allow;
		return true;
	case OPT_PASSKEYS:
		*ret_text = &o->lists.passkeys;
		return true;
	case OPT_SITES:
		*ret_text = &o->lists.sites;
		return true;
	case OPT_WARNING:
		*ret_text = &o->warning;
		return true;
	case OPT_STATE:
		*ret_text = &o->state;
		return true;
	case OPT_CLUSTER:
		*ret_text = &o->cluster;
		return true;
	case OPT_CLUSTER_SECRET:
		*ret_text = &o->cluster_secret;
		return true;
	case OPT_CONTROL_TOKEN:
		*ret_text = &o->control_token;
		return true;
	case OPT_TLS_CERT:
		*ret_text = &o->tls_cert;
		return true;
	case OPT_TLS_KEY:
		*ret_text = &o->tls_key;
		return true;
	case OPT_LOG:
		*ret_text = &o->log;
		return true;
	case OPT_RATE:
		*ret_number = &o->rate;
		*ret_max = 1000000;
		return true;
	case OPT_NUMWANT:
		*ret_number = &o->numwant;
		*ret_max = TABLE_NUMWANT_MAX;
		return true;
	case OPT_MAX_TORRENTS:
		*ret_number = &o->max_torrents;
		*ret_max = 100000000;
		return true;
	case OPT_MAX_PEERS:
		*ret_number = &o->max_peers;
		return true;
	case OPT_MAX_SWARM:
		*ret_number = &o->max_swarm;
		*ret_max = 100000000;
		return true;
	case OPT_MAX_CONNECTIONS:
		*ret_number = &o->max_connections;
		return true;
	case OPT_MAX_PER_ADDRESS:
		*ret_number = &o->max_per_address;
		return true;
	default:
		return false;
	}
}

/* -1 to go on, or the exit status. */
static int special_option(struct options *o, int c, const char *given)
{
	uint64_t n;
	switch (c) {
	case OPT_LISTEN:
		if (o->n_listen == MAX_LISTEN)
			return cli_usage(NAME, "--listen %s: more than %u addresses", optarg,
				MAX_LISTEN);
		if (addr_parse(optarg, TRACKER_PORT, &o->listen[o->n_listen]) < 0)
			return cli_usage(NAME, "--listen %s: not an address and port", optarg);
		o->n_listen++;
		return -1;
	case OPT_CONTROL:
		if (addr_parse(optarg, TRACKER_PORT, &o->control) < 0)
			return cli_usage(NAME, "--control %s: not an address and port", optarg);
		o->have_control = true;
		return -1;
	case OPT_READY_FD:
		if (parse_number(optarg, 0, 65535, &n) < 0)
			return cli_usage(NAME, "--ready-fd %s: not a descriptor", optarg);
		o->ready_fd = (int)n;
		return -1;
	case OPT_INTERVAL:
		if (parse_interval(optarg, &o->pace) < 0)
			return cli_usage(NAME, "--interval %s: not MIN-MAX, in seconds from 1 to %u",
				optarg, PACE_LIMIT_S);
		return -1;
	case OPT_ALLOW_IP:
		o->allow_ip = true;
		return -1;
	case OPT_FULL_SCRAPE:
		o->full_scrape = true;
		return -1;
	case OPT_HELP:
		fputs(usage, stdout);
		return EXIT_OK;
	case 'D':
		if (log_debug_enable(optarg) < 0)
			return cli_usage(NAME, "-D %s: no such category", optarg);
		return -1;
	default:
		return cli_usage(NAME, "%s: unknown, or its value is missing", given);
	}
}

static int check(const struct options *o)
{
	char text[ADDR_STRLEN];
	if (!o->tls_cert != !o->tls_key)
		return cli_usage(NAME, o->tls_cert ? "--tls-cert %s: --tls-key is missing" :
						     "--tls-key %s: --tls-cert is missing",
			o->tls_cert ? o->tls_cert : o->tls_key);
	if (o->control_token && !o->have_control)
		return cli_usage(NAME, "--control-token %s: there is no --control", o->control_token);
	if (o->have_control && !addr_is_loopback(&o->control) && !o->control_token)
		return cli_usage(NAME, "--control %s: beyond loopback it needs a --control-token",
			addr_format(&o->control, text));
	if (o->cluster_secret && !o->cluster)
		return cli_usage(NAME, "--cluster-secret %s: there is no --cluster",
			o->cluster_secret);
	return -1;
}

int options_parse(int argc, char **argv, struct options *o)
{
	*o = (struct options) {
		.ready_fd = -1,
		.pace = {PACE_MIN_S, PACE_MAX_S},
		.numwant = 100,
		.max_torrents = 200000,
		.max_peers = 4000000,
		.max_swarm = 1000000,
		.max_connections = HTTP_MAX_CONNECTIONS,
		.max_per_address = HTTP_MAX_PER_ADDRESS,
	};
	optind = 1;
	opterr = 0;
	for (;;) {
		int at = optind;
		int c = getopt_long(argc, argv, "D:", long_options, NULL);
		const char **text;
		uint64_t *number, max;
		if (c < 0)
			break;
		if (!plain_option(o, c, &text, &number, &max)) {
			int status = special_option(o, c, argv[at]);
			if (status >= 0)
				return status;
		} else if (text) {
			*text = optarg;
		} else if (parse_number(optarg, 1, max, number) < 0) {
			return cli_usage(NAME, "%s %s: not a number from 1 to %llu", argv[at], optarg,
				(unsigned long long)max);
		}
	}
	if (optind < argc)
		return cli_usage(NAME, "%s: takes no such argument", argv[optind]);
	if (!o->n_listen) {
		addr_parse("0.0.0.0", TRACKER_PORT, &o->listen[0]);
		addr_parse("[::]", TRACKER_PORT, &o->listen[1]);
		o->n_listen = 2;
	}
	return check(o);
}
