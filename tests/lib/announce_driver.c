// SPDX-License-Identifier: MIT
/* Announces with the program's own announcer, for pytest:
 *
 *	announce_driver PORT LEFT HASH[,HASH] URL...
 *
 * Reads lines on stdin: "hungry", "calm", "completed", "left N", "status", "stop"; the end of stdin
 * is "stop" too.  Writes lines of JSON to stdout: {"peers": [...]}, {"status": [...]},
 * {"refused": why}, {"stopped": true}.
 */
#include "swarm/announce.h"
#include "swarm/http.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <event2/event.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct driver {
	struct loop *loop;
	struct announcer *announcer;
	struct announce_totals totals;
	struct event *input;
	char line[256];
	size_t len;
};

static void say(json_t *line)
{
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

static void totals(void *arg, struct announce_totals *ret)
{
	struct driver *d = arg;

	*ret = d->totals;
}

static void peers(void *arg, const struct addr *found, size_t n)
{
	json_t *list = json_array();
	char text[ADDR_STRLEN];

	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, json_string(addr_format(&found[i], text)));
	say(json_pack("{s:o}", "peers", list));
}

static void status(struct driver *d)
{
	json_t *list = json_array();

	for (size_t i = 0; i < announcer_count(d->announcer); i++) {
		struct announce_status s;
		announcer_status(d->announcer, i, &s);
		json_array_append_new(
			list, json_pack("{s:s, s:s?, s:s?, s:I, s:I, s:i, s:i, s:i}", "url", s.url,
				      "error", s.error, "warning", s.warning, "next_s",
				      (json_int_t)s.next_s, "last_s", (json_int_t)s.last_s, "seeds",
				      s.seeds, "leechers", s.leechers, "peers", (int)s.peers));
	}
	say(json_pack("{s:o}", "status", list));
}

static void stopped(void *arg)
{
	struct driver *d = arg;

	say(json_pack("{s:b}", "stopped", 1));
	loop_stop(d->loop);
}

static void take_line(struct driver *d, const char *line)
{
	if (strcmp(line, "hungry") == 0) {
		announcer_set_hungry(d->announcer, true);
	} else if (strcmp(line, "calm") == 0) {
		announcer_set_hungry(d->announcer, false);
	} else if (strcmp(line, "completed") == 0) {
		d->totals.left = 0;
		announcer_completed(d->announcer);
	} else if (strncmp(line, "left ", 5) == 0) {
		d->totals.left = strtoull(line + 5, NULL, 10);
	} else if (strcmp(line, "status") == 0) {
		status(d);
	} else if (strcmp(line, "stop") == 0) {
		event_del(d->input);
		announcer_stop(d->announcer, stopped, d);
	} else {
		exit(2);
	}
}

static void on_input(evutil_socket_t fd, short what, void *arg)
{
	struct driver *d = arg;
	char *end;
	ssize_t n = read(fd, d->line + d->len, sizeof(d->line) - 1 - d->len);

	if (n <= 0) {
		take_line(d, "stop");
		return;
	}
	d->len += (size_t)n;
	d->line[d->len] = '\0';
	while ((end = strchr(d->line, '\n'))) {
		*end = '\0';
		take_line(d, d->line);
		d->len -= (size_t)(end + 1 - d->line);
		memmove(d->line, end + 1, d->len + 1);
	}
}

int main(int argc, char **argv)
{
	struct driver d = {0};
	struct http *http;
	uint8_t hashes[2][SHA1_LEN];
	struct announce_config config = {
		.hashes = hashes, .totals = totals, .peers = peers, .arg = &d};
	const char *why;

	if (argc < 4 || loop_new(&d.loop) < 0 || http_new(d.loop, &http) < 0)
		return 2;
	config.loop = d.loop;
	config.http = http;
	config.listens.port = (uint16_t)atoi(argv[1]);
	d.totals.left = strtoull(argv[2], NULL, 10);
	for (char *p = strtok(argv[3], ","); p && config.n_hashes < 2; p = strtok(NULL, ","))
		if (hex_decode(p, hashes[config.n_hashes++], SHA1_LEN) < 0)
			return 2;
	memcpy(config.peer_id, "-PF0000-driver------", sizeof(config.peer_id));
	log_debug_enable("tracker");
	d.announcer = announcer_new(&config);
	for (int i = 4; i < argc; i++)
		if (announcer_add(d.announcer, argv[i], &why) < 0)
			say(json_pack("{s:s, s:s}", "url", argv[i], "refused", why));
	d.input = event_new(loop_base(d.loop), STDIN_FILENO, EV_READ | EV_PERSIST, on_input, &d);
	event_add(d.input, NULL);
	announcer_start(d.announcer);
	loop_run(d.loop);
	event_free(d.input);
	announcer_free(d.announcer);
	http_free(http);
	loop_free(d.loop);
	return 0;
}
