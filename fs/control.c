/* SPDX-License-Identifier: MIT */
/* The control socket of a mount; see control.h.
 *
 * Thread: the loop.
 */
#include "fs/control.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define NAME "socket"

struct client {
	LIST_ENTRY(client) link;
	struct control *c;
	struct bufferevent *bev;
	bool answered; /* what it is to get is written; ends when that is read, or stays (stopping)
			*/
	bool stopping;
};

struct control {
	struct loop *loop;
	struct control_callbacks cb;
	int fd, folder;
	struct event *accepting;
	LIST_HEAD(, client) clients;
	unsigned n_clients;
};

static void client_free(struct client *client)
{
	LIST_REMOVE(client, link);
	client->c->n_clients--;
	bufferevent_free(client->bev);
	free(client);
}

static void say(struct client *client, const char *text)
{
	bufferevent_write(client->bev, text, strlen(text));
	bufferevent_write(client->bev, "\n", 1);
}

/* Takes `j`. */
static void say_json(struct client *client, json_t *j)
{
	CLEANUP_FREE char *text = json_dumps(j, JSON_COMPACT);
	json_decref(j);
	say(client, text ? text : "{}");
}

static void on_line(struct client *client, const char *line)
{
	struct control *c = client->c;
	client->answered = true;
	if (!strcmp(line, "status")) {
		say_json(client, c->cb.status(c->cb.arg));
	} else if (!strcmp(line, "profile")) {
		say_json(client, c->cb.profile(c->cb.arg));
	} else if (!strcmp(line, "stop")) {
		client->stopping = true;
		bufferevent_set_timeouts(client->bev, NULL, NULL);
		say(client, "stopping");
		c->cb.stop(c->cb.arg);
	} else {
		CLEANUP_FREE char *text = xasprintf(
			"error: %s: not status, profile or stop", log_quote(line, strlen(line)));
		say(client, text);
	}
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct client *client = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	CLEANUP_FREE char *line =
		client->answered ? NULL : evbuffer_readln(in, NULL, EVBUFFER_EOL_CRLF);
	if (line) {
		on_line(client, line);
	} else if (client->answered) {
		evbuffer_drain(in, evbuffer_get_length(in));
	} else if (evbuffer_get_length(in) >= CONTROL_MAX_LINE) {
		client->answered = true;
		say(client, "error: the line is too long");
	}
}

static void on_written(struct bufferevent *bev, void *arg)
{
	struct client *client = arg;
	if (client->answered && !client->stopping)
		client_free(client);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	struct client *client = arg;
	/* Who closes its writing end ("status\n" from a pipe) still wants the answer. */
	if ((what & BEV_EVENT_EOF) && (what & BEV_EVENT_READING) && client->answered &&
		evbuffer_get_length(bufferevent_get_output(bev)))
		return;
	client_free(client);
}

static bool is_allowed(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
	       (who.uid == 0 || who.uid == geteuid());
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct control *c = arg;
	CLEANUP_CLOSE int conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (conn < 0)
		return;
	if (c->n_clients >= CONTROL_MAX_CLIENTS || !is_allowed(conn))
		return;
	struct bufferevent *bev =
		bufferevent_socket_new(loop_base(c->loop), conn, BEV_OPT_CLOSE_ON_FREE);
	if (!bev)
		return;
	steal_fd(&conn);
	struct client *client = xcalloc(1, sizeof(*client));
	client->c = c;
	client->bev = bev;
	LIST_INSERT_HEAD(&c->clients, client, link);
	c->n_clients++;

	const struct timeval patience = {CONTROL_PATIENCE_S, 0};
	bufferevent_set_timeouts(bev, &patience, &patience);
	bufferevent_setwatermark(bev, EV_READ, 0, CONTROL_MAX_LINE);
	bufferevent_setcb(bev, on_read, on_written, on_event, client);
	bufferevent_enable(bev, EV_READ | EV_WRITE);
}

/* A path in a sockaddr_un holds 107 bytes, a store's may be longer: by way of the folder's fd. */
static int bind_in_folder(int fd, int folder)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/" NAME, folder);
	if (unlinkat(folder, NAME, 0) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		return -errno;
	if (fchmodat(folder, NAME, 0600, 0) < 0 || listen(fd, CONTROL_MAX_CLIENTS) < 0)
		return -errno;
	return 0;
}

int control_new(struct loop *loop, const char *folder, const struct control_callbacks *cb,
	struct control **ret)
{
	struct control *c = xcalloc(1, sizeof(*c));
	c->loop = loop;
	c->cb = *cb;
	LIST_INIT(&c->clients);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	c->folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = c->fd < 0 || c->folder < 0 ? -errno : bind_in_folder(c->fd, c->folder);
	if (r < 0) {
		if (c->fd >= 0)
			close(c->fd);
		if (c->folder >= 0)
			close(c->folder);
		free(c);
		return r;
	}
	c->accepting = event_new(loop_base(loop), c->fd, EV_READ | EV_PERSIST, on_accept, c);
	event_add(c->accepting, NULL);
	*ret = c;
	return 0;
}

void control_tell(struct control *c, const char *line)
{
	struct client *client;
	LIST_FOREACH (client, &c->clients, link) {
		if (client->stopping)
			say(client, line);
	}
}

void control_free(struct control *c)
{
	if (!c)
		return;
	while (!LIST_EMPTY(&c->clients))
		client_free(LIST_FIRST(&c->clients));
	event_free(c->accepting);
	unlinkat(c->folder, NAME, 0);
	close(c->folder);
	close(c->fd);
	free(c);
}
