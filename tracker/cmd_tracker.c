/* SPDX-License-Identifier: MIT */
/* p2pfs tracker: options, set-up, the loop.
 *
 * Thread: the main one, which becomes the loop.
 */
#include "tracker/tracker.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "tracker/bind.h"
#include "tracker/http.h"
#include "tracker/now.h"
#include "tracker/service.h"
#include "tracker/udp.h"
#include "tracker/web.h"

#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define NAME "tracker"
#define DEFAULT_PORT 6969
#define MAX_LISTEN 16u
#define SWEEP_MS 100
#define SWEEP_SLOTS 8192u /* of the table, each time: all of 200,000 torrents in four seconds */

static const char usage[] =
	"usage: p2pfs tracker [OPTION]...\n"
	"\n"
	"Runs a BitTorrent tracker in the foreground: HTTP and UDP on one port.\n"
	"\n"
	"  --listen ADDR:PORT  where to listen; may be given again; port 0 takes a free one\n"
	"                      (default: port 6969 of all addresses, IPv4 and IPv6)\n"
	"  --ready-fd N        write a newline to descriptor N once it answers\n"
	"  --help              this text\n";

struct options {
	struct addr listen[MAX_LISTEN];
	unsigned n_listen;
	int ready_fd;
};

struct tracker {
	struct loop *loop;
	struct service service;
	struct http *http;
	struct udp *udp;
	struct event *sweep, *sigterm, *sigint;
};

enum { OPT_LISTEN = 256, OPT_READY_FD, OPT_HELP };

static const struct option long_options[] = {
	{"listen", required_argument, NULL, OPT_LISTEN},
	{"ready-fd", required_argument, NULL, OPT_READY_FD},
	{"help", no_argument, NULL, OPT_HELP},
	{0},
};

/* -1 to go on, or the exit status. */
static int parse_options(int argc, char **argv, struct options *o)
{
	uint64_t n;
	optind = 1;
	opterr = 0;
	for (;;) {
		int at = optind;
		int c = getopt_long(argc, argv, "", long_options, NULL);
		if (c < 0)
			break;
		switch (c) {
		case OPT_LISTEN:
			if (o->n_listen == MAX_LISTEN)
				return cli_usage(NAME, "--listen %s: more than %u addresses", optarg,
					MAX_LISTEN);
			if (addr_parse(optarg, DEFAULT_PORT, &o->listen[o->n_listen]) < 0)
				return cli_usage(NAME, "--listen %s: not an address and port", optarg);
			o->n_listen++;
			break;
		case OPT_READY_FD:
			if (parse_number(optarg, 0, 65535, &n) < 0)
				return cli_usage(NAME, "--ready-fd %s: not a descriptor", optarg);
			o->ready_fd = (int)n;
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			return EXIT_OK;
		default:
			return cli_usage(NAME, "%s: unknown, or its value is missing", argv[at]);
		}
	}
	if (optind < argc)
		return cli_usage(NAME, "%s: takes no such argument", argv[optind]);
	return -1;
}

static void on_http(void *arg, void *data, const struct http_head *head, const struct addr *from,
	bool tls, struct http_reply *reply)
{
	struct tracker *t = arg;
	web_answer(&t->service, head, from, tls, now_s(), reply);
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
	struct tracker *t = arg;
	table_sweep(t->service.table, now_s(), SWEEP_SLOTS);
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct tracker *t = arg;
	loop_stop(t->loop);
}

static int listen_on(struct tracker *t, struct addr *a)
{
	int tcp = -1, udp = -1;
	int err = bind_both(a, &tcp, &udp);
	if (err < 0)
		return err;
	err = http_listen(t->http, tcp, NULL);
	return err < 0 ? err : udp_listen(t->udp, udp, addr_is_any(a));
}

/* The line that tells people and scripts where it is. */
static void say_ready(const struct options *o)
{
	char text[ADDR_STRLEN];
	printf("p2pfs tracker: listening on");
	for (unsigned i = 0; i < o->n_listen; i++)
		printf(" %s", addr_format(&o->listen[i], text));
	printf("\n");
	fflush(stdout);
	if (o->ready_fd >= 0) {
		if (write(o->ready_fd, "\n", 1) != 1)
			log_warn("--ready-fd %d: %s", o->ready_fd, strerror(errno));
		close(o->ready_fd);
	}
}

static int setup(struct tracker *t, struct options *o)
{
	int err = loop_new(&t->loop);
	if (err < 0)
		return cli_fail(NAME, "%s", strerror(-err));
	struct event_base *base = loop_base(t->loop);

	/* Descriptors are what limits connections: take as many as are allowed. */
	struct rlimit files;
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	struct table_config table = {
		.max_torrents = 200000,
		.max_peers = 4000000,
		.max_swarm = 1000000,
		.pace = {PACE_MIN_S, PACE_MAX_S},
	};
	t->service.table = table_new(&table, now_s());
	t->service.started = now_s();
	t->service.config.numwant_max = 100;
	struct http_config http = {HTTP_MAX_CONNECTIONS, HTTP_MAX_PER_ADDRESS, on_http, t};
	t->http = http_new(base, &http);
	err = udp_new(base, &t->service, &t->udp);
	if (err < 0)
		return cli_fail(NAME, "%s", strerror(-err));
	for (unsigned i = 0; i < o->n_listen; i++) {
		char text[ADDR_STRLEN];
		err = listen_on(t, &o->listen[i]);
		if (err < 0)
			return cli_fail(NAME, "--listen %s: %s",
				addr_format(&o->listen[i], text), strerror(-err));
	}
	struct timeval sweep = {0, SWEEP_MS * 1000};
	t->sweep = event_new(base, -1, EV_PERSIST, on_sweep, t);
	event_add(t->sweep, &sweep);
	t->sigterm = evsignal_new(base, SIGTERM, on_end, t);
	t->sigint = evsignal_new(base, SIGINT, on_end, t);
	event_add(t->sigterm, NULL);
	event_add(t->sigint, NULL);
	signal(SIGPIPE, SIG_IGN);
	return EXIT_OK;
}

static void teardown(struct tracker *t)
{
	http_free(t->http);
	udp_free(t->udp);
	struct event *events[] = {t->sweep, t->sigterm, t->sigint};
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		if (events[i])
			event_free(events[i]);
	}
	table_free(t->service.table);
	if (t->loop)
		loop_free(t->loop);
}

int cmd_tracker(int argc, char **argv)
{
	struct options o = {.ready_fd = -1};
	log_set_name("p2pfs " NAME);
	int status = parse_options(argc, argv, &o);
	if (status >= 0)
		return status;
	if (!o.n_listen) {
		addr_parse("0.0.0.0", DEFAULT_PORT, &o.listen[0]);
		addr_parse("[::]", DEFAULT_PORT, &o.listen[1]);
		o.n_listen = 2;
	}
	struct tracker t = {0};
	status = setup(&t, &o);
	if (status == EXIT_OK) {
		say_ready(&o);
		loop_run(t.loop);
	}
	teardown(&t);
	return status;
}
