/* SPDX-License-Identifier: MIT */
/* p2pfs tracker: sets everything up, runs the loop, takes everything down.
 *
 * The loop answers; workers do what blocks: the state on disk, the operator's files, looking up
 * Redis' name.  SIGTERM and SIGINT end it, SIGHUP reads the operator's files and certificates again
 * and reopens the log.
 *
 * Thread: the main one, which becomes the loop; reload_run: a worker.
 */
#include "tracker/tracker.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "base/work.h"
#include "tracker/bind.h"
#include "tracker/cluster.h"
#include "tracker/http.h"
#include "tracker/notify.h"
#include "tracker/now.h"
#include "tracker/options.h"
#include "tracker/service.h"
#include "tracker/state.h"
#include "tracker/status.h"
#include "tracker/tls.h"
#include "tracker/udp.h"
#include "tracker/web.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#define NAME "tracker"
#define WORKERS 2
#define SECRET_MAX 1024u
#define FILES_KEPT (64u + MAX_LISTEN) /* descriptors that are not for connections */
#define TICK_MS 100
#define SWEEP_SLOTS 8192u /* of the table, each tick: all of 200,000 torrents in four seconds */
#define RELOAD_TICKS 20u  /* between two looks at the operator's files */
#define RATE_TICKS 100u   /* announces a second are told over so many */

struct reload {
	struct work work;
	uint64_t seen;       /* the files' fingerprint when they were last read */
	bool busy, again;    /* again: whatever the fingerprint, once this one is done */
	bool force;
	struct lists *lists; /* owned, until it is taken over; NULL: nothing changed, or an error */
	char *error;         /* owned */
};

struct tracker {
	const struct options *options;
	struct loop *loop;
	struct work_pool *pool;
	struct service service;
	struct lists *lists; /* owned; service.lists is the same */
	struct web web;
	struct http *http;
	struct udp *udp;
	struct state *state;
	struct cluster *cluster;
	struct reload reload;
	struct event *tick, *sigterm, *sigint, *sighup;
	unsigned ticks;
	uint64_t announces_before;
	double per_second;
	char tracker_id[17];
	char *token, *cluster_secret; /* owned */
};

/* -- asked over HTTP --------------------------------------------------------------------------- */

static const enum web_role roles[] = {WEB_TRACKER, WEB_CONTROL};

static void on_http(void *arg, void *data, const struct http_head *head, const struct addr *from,
	bool tls, struct http_reply *reply)
{
	struct tracker *t = arg;
	const enum web_role *role = data;
	web_answer(&t->web, *role, head, from, tls, now_s(), reply);
}

static void gather(void *arg, struct stats *ret)
{
	struct tracker *t = arg;
	ret->uptime_s = now_s() - t->service.started;
	ret->service = t->service.counters;
	ret->http = *http_counters(t->http);
	ret->per_second = t->per_second;
	table_counts(t->service.table, &ret->table);
	lists_counts(t->lists, &ret->lists);
	if (t->state)
		state_stats(t->state, &ret->state);
	if (t->cluster)
		cluster_stats(t->cluster, &ret->cluster);
}

/* -- the operator's files ------------------------------------------------------------------------ */

static void reload_run(struct work *w)
{
	struct tracker *t = container_of(w, struct tracker, reload.work);
	struct reload *r = &t->reload;
	uint64_t print = lists_fingerprint(&t->options->lists);
	if (print == r->seen && !r->force)
		return;
	r->seen = print;
	lists_load(&t->options->lists, &r->lists, &r->error);
}

static void reload_done(struct work *w);

static void reload(struct tracker *t, bool force)
{
	const struct lists_paths *p = &t->options->lists;
	if (!p->allow && !p->passkeys && !p->sites)
		return;
	if (t->reload.busy) {
		t->reload.again |= force;
		return;
	}
	t->reload.busy = true;
	t->reload.force = force;
	work_post(t->pool, &t->reload.work);
}

static void reload_done(struct work *w)
{
	struct tracker *t = container_of(w, struct tracker, reload.work);
	struct reload *r = &t->reload;
	r->busy = false;
	if (r->error) {
		log_warn("%s: the lists of before stay in force", r->error);
		free(steal_ptr(&r->error));
	}
	if (r->lists) {
		struct lists_counts n;
		lists_free(t->lists);
		t->lists = t->service.lists = steal_ptr(&r->lists);
		lists_counts(t->lists, &n);
		log_info("lists are read: %zu info-hashes, %zu passkeys, %zu networks of %zu sites",
			n.torrents, n.keys, n.networks, n.sites);
	}
	if (r->again) {
		r->again = false;
		reload(t, true);
	}
}

static int load_tls(struct tracker *t, char **ret_error)
{
	SSL_CTX *tls;
	if (!t->options->tls_cert)
		return 0;
	int err = tls_load(t->options->tls_cert, t->options->tls_key, &tls, ret_error);
	if (!err)
		http_set_tls(t->http, tls);
	return err;
}

/* A line of a file that only its owner should read. */
static int load_secret(const char *path, char **ret, char **ret_error)
{
	CLEANUP_FREE uint8_t *data = NULL;
	size_t len;
	int err = read_file(path, SECRET_MAX, &data, &len);
	if (err < 0) {
		*ret_error = xasprintf("%s: %s", path, strerror(-err));
		return err;
	}
	len = strcspn((char *)data, "\r\n");
	if (!len) {
		*ret_error = xasprintf("%s: is empty", path);
		return -EINVAL;
	}
	*ret = xstrndup((char *)data, len);
	return 0;
}

/* -- time and signals ---------------------------------------------------------------------------- */

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct tracker *t = arg;
	table_sweep(t->service.table, now_s(), SWEEP_SLOTS);
	t->ticks++;
	if (t->ticks % RELOAD_TICKS == 0)
		reload(t, false);
	if (t->ticks % RATE_TICKS == 0) {
		uint64_t now = 0;
		for (int p = 0; p < PROTOS; p++)
			now += t->service.counters.announces[p];
		t->per_second = (double)(now - t->announces_before) * 1000 / TICK_MS / RATE_TICKS;
		t->announces_before = now;
	}
}

static void on_end(evutil_socket_t fd, short what, void *arg)
{
	struct tracker *t = arg;
	notify_systemd("STOPPING=1");
	loop_stop(t->loop);
}

static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
	struct tracker *t = arg;
	CLEANUP_FREE char *error = NULL;
	log_reopen();
	reload(t, true);
	if (load_tls(t, &error) < 0)
		log_warn("%s: the certificate of before stays in use", error);
}

/* -- set-up --------------------------------------------------------------------------------------- */

static int setup_listening(struct tracker *t, struct options *o)
{
	char text[ADDR_STRLEN];
	int tcp = -1, udp = -1, err;
	for (unsigned i = 0; i < o->n_listen; i++) {
		err = bind_both(&o->listen[i], &tcp, &udp);
		if (!err)
			err = http_listen(t->http, tcp, (void *)&roles[WEB_TRACKER]);
		if (!err)
			err = udp_listen(t->udp, udp, addr_is_any(&o->listen[i]));
		if (err < 0)
			return cli_fail(NAME, "--listen %s: %s",
				addr_format(&o->listen[i], text), strerror(-err));
	}
	if (!o->have_control)
		return EXIT_OK;
	err = bind_both(&o->control, &tcp, NULL);
	if (!err)
		err = http_listen(t->http, tcp, (void *)&roles[WEB_CONTROL]);
	if (err < 0)
		return cli_fail(NAME, "--control %s: %s", addr_format(&o->control, text),
			strerror(-err));
	return EXIT_OK;
}

/* What comes from files: an error here is one of the operator's. */
static int setup_files(struct tracker *t, struct options *o)
{
	CLEANUP_FREE char *error = NULL;
	t->reload.work.run = reload_run;
	t->reload.work.done = reload_done;
	t->reload.seen = lists_fingerprint(&o->lists);
	if (lists_load(&o->lists, &t->lists, &error) < 0 || load_tls(t, &error) < 0 ||
		(o->control_token && load_secret(o->control_token, &t->token, &error) < 0) ||
		(o->cluster_secret && load_secret(o->cluster_secret, &t->cluster_secret, &error) < 0))
		return cli_fail(NAME, "%s", error);
	t->service.lists = t->lists;
	return EXIT_OK;
}

static int setup_memory(struct tracker *t, struct options *o)
{
	const char *why = NULL;
	int err = o->state ? state_open(o->state, t->loop, t->pool, t->service.table, t->lists,
				     now_s(), &t->state) : 0;
	if (err < 0)
		return cli_fail(NAME, "--state %s: %s", o->state, err == -EBUSY ?
			"another tracker has it" : strerror(-err));
	struct cluster_config cluster = {
		.url = o->cluster,
		.password = t->cluster_secret,
		.life_max = 2 * MAX(o->pace.max, PACE_STRANGER_S),
		.lists = &t->lists,
	};
	err = o->cluster ? cluster_new(&cluster, t->loop, t->pool, t->service.table, &t->cluster,
				   &why) : 0;
	if (err < 0)
		return cli_fail(NAME, "--cluster %s: %s", log_quote_url(o->cluster), why);
	return EXIT_OK;
}

static void setup_service(struct tracker *t, const struct options *o)
{
	struct table_config table = {
		.max_torrents = (uint32_t)o->max_torrents,
		.max_peers = o->max_peers,
		.max_swarm = (uint32_t)o->max_swarm,
		.pace = o->pace,
		.track_dirty = o->state != NULL,
	};
	uint8_t id[8];
	random_bytes(id, sizeof(id));
	hex_encode(id, sizeof(id), t->tracker_id);
	t->service.table = table_new(&table, now_s());
	t->service.throttle = o->rate ? throttle_new((uint32_t)o->rate) : NULL;
	t->service.started = now_s();
	t->service.config = (struct service_config) {
		.numwant_max = (uint32_t)o->numwant,
		.allow_ip = o->allow_ip,
		.full_scrape = o->full_scrape,
		.warning = o->warning,
		.tracker_id = t->tracker_id,
	};
}

static struct event *add_signal(struct tracker *t, int number, event_callback_fn fn)
{
	struct event *e = evsignal_new(loop_base(t->loop), number, fn, t);
	event_add(e, NULL);
	return e;
}

/* Descriptors are what limits connections: takes as many as are allowed, and leaves some for all else
 * (the operator's files, Redis), which a flood must not keep out. */
static void setup_descriptors(struct options *o)
{
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return;
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	uint64_t room = files.rlim_max - MIN(FILES_KEPT, files.rlim_max / 2);
	o->max_connections = MIN(o->max_connections, MAX(room, (uint64_t)1));
}

static int setup(struct tracker *t, struct options *o)
{
	setup_descriptors(o);
	signal(SIGPIPE, SIG_IGN);
	int err = o->log ? log_open(o->log) : 0;
	if (err < 0)
		return cli_fail(NAME, "--log %s: %s", o->log, strerror(-err));
	err = loop_new(&t->loop);
	if (!err)
		err = work_pool_new(t->loop, WORKERS, &t->pool);
	if (err < 0)
		return cli_fail(NAME, "%s", strerror(-err));
	setup_service(t, o);
	struct http_config http = {(unsigned)o->max_connections, (unsigned)o->max_per_address,
		on_http, t};
	t->http = http_server_new(loop_base(t->loop), &http);
	t->udp = udp_new(loop_base(t->loop), &t->service);
	int status = setup_files(t, o);
	if (status == EXIT_OK)
		status = setup_memory(t, o);
	if (status == EXIT_OK)
		status = setup_listening(t, o);
	if (status != EXIT_OK)
		return status;
	t->web = (struct web) {
		.service = &t->service,
		.control_apart = o->have_control,
		.control_loopback = addr_is_loopback(&o->control),
		.token = t->token,
		.gather = gather,
		.arg = t,
	};
	struct timeval tick = {0, TICK_MS * 1000};
	t->tick = event_new(loop_base(t->loop), -1, EV_PERSIST, on_tick, t);
	event_add(t->tick, &tick);
	t->sigterm = add_signal(t, SIGTERM, on_end);
	t->sigint = add_signal(t, SIGINT, on_end);
	t->sighup = add_signal(t, SIGHUP, on_hangup);
	return EXIT_OK;
}

static void teardown(struct tracker *t)
{
	http_server_free(t->http);
	udp_free(t->udp);
	state_stop(t->state);
	cluster_stop(t->cluster);
	if (t->pool)
		work_pool_free(t->pool);
	cluster_free(t->cluster);
	state_close(t->state);
	struct event *events[] = {t->tick, t->sigterm, t->sigint, t->sighup};
	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		if (events[i])
			event_free(events[i]);
	}
	table_free(t->service.table);
	throttle_free(t->service.throttle);
	lists_free(t->lists);
	free(t->token);
	free(t->cluster_secret);
	if (t->loop)
		loop_free(t->loop);
}

/* The line that tells people and scripts where it is. */
static void say_ready(const struct options *o)
{
	char text[ADDR_STRLEN];
	printf("p2pfs tracker: listening on");
	for (unsigned i = 0; i < o->n_listen; i++)
		printf(" %s", addr_format(&o->listen[i], text));
	if (o->have_control)
		printf(", control on %s", addr_format(&o->control, text));
	printf("\n");
	fflush(stdout);
	if (o->ready_fd >= 0) {
		if (write(o->ready_fd, "\n", 1) != 1)
			log_warn("--ready-fd %d: %s", o->ready_fd, strerror(errno));
		close(o->ready_fd);
	}
	notify_systemd("READY=1");
}

int cmd_tracker(int argc, char **argv)
{
	struct options o;
	log_set_name("p2pfs " NAME);
	if (argc > 1 && !strcmp(argv[1], "status"))
		return cmd_tracker_status(argc - 1, argv + 1);
	int status = options_parse(argc, argv, &o);
	if (status >= 0)
		return status;
	struct tracker t = {.options = &o};
	status = setup(&t, &o);
	if (status == EXIT_OK) {
		say_ready(&o);
		loop_run(t.loop);
	}
	teardown(&t);
	return status;
}
