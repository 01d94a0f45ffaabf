/* SPDX-License-Identifier: MIT */
/* The tracker's HTTP server: see http.h.
 *
 * A connection's states:
 *
 *	SNIFF      first byte not seen; it tells TLS from plain (only where TLS is set up)
 *	HANDSHAKE  TLS
 *	HEAD       reading a request; a started one is kept in c->in
 *	REPLY      a reply is not all taken yet; nothing is read meanwhile
 *	LINGER     it was told what is wrong with it; its bytes are read and dropped until it closes
 *
 * All connections stand in one list, and in one per address, in the order in which they began to
 * wait for what they wait for now; so the first of a list is the next to time out or to be evicted.
 *
 * Thread: loop.
 */
#include "tracker/http.h"

#include "base/cleanup.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "tracker/siphash.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

#define BUCKETS 4096u   /* of addresses */
#define ACCEPT_BATCH 64 /* then others get their turn */
#define HEADER_ROOM 512u /* for the reply's header, before its body */
#define TICK_MS 250
#define READS 4 /* of TLS records, up to 16 KiB of requests each; then others get their turn */

enum state { SNIFF, HANDSHAKE, HEAD, REPLY, LINGER };

struct conn {
	struct http *http;
	struct listener *listener;
	struct event event;
	short watching; /* EV_READ, EV_WRITE; 0 before the first */
	int fd;
	enum state state;
	bool close_after, linger_after;
	struct addr from;
	SSL *ssl; /* owned; NULL for plain */
	uint64_t since; /* us */
	struct source *source;
	TAILQ_ENTRY(conn) in_all, in_source;
	char *in; /* owned; the beginning of a request */
	size_t in_len;
	uint8_t *out; /* owned; what a reply lacks */
	size_t out_len, out_at;
};

TAILQ_HEAD(conn_list, conn);

/* One address with connections. */
struct source {
	uint8_t net[16];
	struct conn_list conns;
	unsigned n;
	LIST_ENTRY(source) in_bucket;
};

struct listener {
	struct http *http;
	struct event *event;
	int fd;
	void *data;
	LIST_ENTRY(listener) in_all;
};

struct http {
	struct event_base *base;
	struct http_config config;
	struct http_counters counters;
	SSL_CTX *tls;
	struct event *tick;
	struct sipkey key;
	LIST_HEAD(, source) buckets[BUCKETS];
	LIST_HEAD(, listener) listeners;
	struct conn_list conns;
	struct buf body;
	size_t held; /* bytes of c->in and c->out of all */
	char scratch[HEAD_MAX_LEN + 4096];
	bool said_no_fds;
};

static void conn_event(evutil_socket_t fd, short what, void *arg);

/* -- addresses ------------------------------------------------------------------------------ */

static struct source *source_get(struct http *h, const struct addr *from)
{
	uint8_t net[16] = {0};
	memcpy(net, from->ip, addr_is_v4(from) ? 16 : 8);
	uint32_t b = siphash13(&h->key, net, sizeof(net)) % BUCKETS;
	struct source *s;
	LIST_FOREACH(s, &h->buckets[b], in_bucket)
	{
		if (!memcmp(s->net, net, sizeof(net)))
			return s;
	}
	s = xcalloc(1, sizeof(*s));
	memcpy(s->net, net, sizeof(net));
	TAILQ_INIT(&s->conns);
	LIST_INSERT_HEAD(&h->buckets[b], s, in_bucket);
	return s;
}

/* -- connections ------------------------------------------------------------------------------ */

static void conn_close(struct conn *c)
{
	struct http *h = c->http;
	if (c->watching)
		event_del(&c->event);
	TAILQ_REMOVE(&h->conns, c, in_all);
	TAILQ_REMOVE(&c->source->conns, c, in_source);
	if (!--c->source->n) {
		LIST_REMOVE(c->source, in_bucket);
		free(c->source);
	}
	h->counters.open--;
	h->held -= c->in_len + c->out_len;
	if (c->ssl) {
		SSL_shutdown(c->ssl);
		SSL_free(c->ssl);
		ERR_clear_error();
	}
	close(c->fd);
	free(c->in);
	free(c->out);
	free(c);
}

/* It begins to wait anew: to the end of the lists. */
static void conn_touch(struct conn *c)
{
	struct http *h = c->http;
	c->since = clock_us();
	TAILQ_REMOVE(&h->conns, c, in_all);
	TAILQ_INSERT_TAIL(&h->conns, c, in_all);
	TAILQ_REMOVE(&c->source->conns, c, in_source);
	TAILQ_INSERT_TAIL(&c->source->conns, c, in_source);
}

static void conn_watch(struct conn *c, short what)
{
	if (c->watching == what)
		return;
	if (c->watching)
		event_del(&c->event);
	c->watching = what;
	event_assign(&c->event, c->http->base, c->fd, what | EV_PERSIST, conn_event, c);
	event_add(&c->event, NULL);
}

/* What it asked for may be here already, out of the socket's sight: it goes on when the others have
 * had their turn. */
static void conn_again(struct conn *c)
{
	static const struct timeval now = {0};
	conn_watch(c, EV_READ);
	event_add(&c->event, &now);
}

/* Is there room for `len` bytes of it to be held?  Else it is closed. */
static bool conn_hold(struct conn *c, size_t len)
{
	struct http *h = c->http;
	if (len > HTTP_MAX_HELD - h->held) {
		h->counters.evicted++;
		conn_close(c);
		return false;
	}
	h->held += len;
	return true;
}

/* Bytes, 0 at the end, -EAGAIN with *ret_wait what to wait for, or -errno. */
static ssize_t ssl_result(struct conn *c, int n, short *ret_wait)
{
	switch (SSL_get_error(c->ssl, n)) {
	case SSL_ERROR_WANT_READ:
		*ret_wait = EV_READ;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*ret_wait = EV_WRITE;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		ERR_clear_error();
		return -ECONNRESET;
	}
}

static ssize_t conn_recv(struct conn *c, void *data, size_t len, short *ret_wait)
{
	if (c->ssl) {
		int n = SSL_read(c->ssl, data, (int)len);
		return n > 0 ? n : ssl_result(c, n, ret_wait);
	}
	*ret_wait = EV_READ;
	ssize_t n = recv(c->fd, data, len, 0);
	return n < 0 ? -errno : n;
}

static ssize_t conn_send(struct conn *c, const void *data, size_t len, short *ret_wait)
{
	if (c->ssl) {
		int n = SSL_write(c->ssl, data, (int)len);
		return n > 0 ? n : ssl_result(c, n, ret_wait);
	}
	*ret_wait = EV_WRITE;
	ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
	return n < 0 ? -errno : n;
}

/* Sends as much as goes; what is left is kept.  False: the connection is gone. */
static bool conn_write(struct conn *c, const uint8_t *data, size_t len)
{
	while (len) {
		short wait = 0;
		ssize_t n = conn_send(c, data, len, &wait);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN) {
			if (!conn_hold(c, len))
				return false;
			c->out = xmemdup(data, len);
			c->out_len = len;
			c->out_at = 0;
			c->state = REPLY;
			conn_watch(c, wait);
			return true;
		}
		if (n <= 0) {
			conn_close(c);
			return false;
		}
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* A reply is out.  False: the connection is gone. */
static bool conn_replied(struct conn *c)
{
	if (c->linger_after) {
		/* Closing now would reset it before it has read why. */
		shutdown(c->fd, SHUT_WR);
		c->state = LINGER;
		conn_touch(c);
		conn_watch(c, EV_READ);
		return true;
	}
	if (c->close_after) {
		conn_close(c);
		return false;
	}
	c->state = HEAD;
	conn_touch(c);
	return true;
}

static const char *status_text(int status)
{
	switch (status) {
	case 200:
		return "OK";
	case 400:
		return "Bad Request";
	case 401:
		return "Unauthorized";
	case 403:
		return "Forbidden";
	case 404:
		return "Not Found";
	case 405:
		return "Method Not Allowed";
	case 413:
		return "Content Too Large";
	case 429:
		return "Too Many Requests";
	case 414:
		return "URI Too Long";
	case 505:
		return "HTTP Version Not Supported";
	default:
		return "Error";
	}
}

/* Puts the header before the body (there is room) and sends both.  False: gone. */
static bool conn_reply(struct conn *c, const struct http_reply *r, bool head_only)
{
	char header[HEADER_ROOM];
	struct buf *body = r->body;
	size_t body_len = body->len - HEADER_ROOM;
	int n = snprintf(header, sizeof(header),
		"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s%s\r\n", r->status,
		status_text(r->status), r->type ? r->type : "text/plain", body_len,
		c->close_after ? "Connection: close\r\n" : "Connection: keep-alive\r\n",
		r->extra ? r->extra : "");
	if (n < 0 || (size_t)n >= sizeof(header)) {
		conn_close(c);
		return false;
	}
	buf_consume(body, HEADER_ROOM - (size_t)n);
	uint8_t *p = body->data + body->start;
	memcpy(p, header, (size_t)n);
	if (!conn_write(c, p, head_only ? (size_t)n : body->len))
		return false;
	if (c->state != REPLY)
		return conn_replied(c);
	conn_touch(c);
	return true;
}

static void reply_begin(struct http *h, struct http_reply *r)
{
	buf_clear(&h->body);
	buf_extend(&h->body, HEADER_ROOM);
	*r = (struct http_reply) {.status = 200, .body = &h->body};
}

static bool conn_refuse(struct conn *c, int status, const char *why)
{
	struct http_reply r;
	reply_begin(c->http, &r);
	r.status = status;
	if (status == 405)
		r.extra = "Allow: GET, HEAD\r\n";
	buf_addf(r.body, "%s\n", why);
	c->http->counters.bad++;
	c->close_after = c->linger_after = true;
	return conn_reply(c, &r, false);
}

/* Answers all whole requests in data and keeps the rest.  False: the connection is gone. */
static bool conn_process(struct conn *c, const char *data, size_t len)
{
	struct http *h = c->http;
	while (c->state == HEAD && len) {
		struct http_head head;
		const char *why = NULL;
		int n = http_head_parse(data, len, &head, &why);
		if (n < 0)
			return conn_refuse(c, -n, why);
		if (!n)
			break;
		struct http_reply r;
		reply_begin(h, &r);
		h->counters.requests++;
		c->close_after = !head.keep_alive;
		h->config.handle(h->config.arg, c->listener->data, &head, &c->from, c->ssl, &r);
		if (!conn_reply(c, &r, head.head))
			return false;
		data += n;
		len -= (size_t)n;
	}
	if (c->state == HEAD || c->state == REPLY) {
		h->held -= c->in_len;
		c->in_len = 0;
		free(steal_ptr(&c->in)); /* data is a copy */
		if (!conn_hold(c, len))
			return false;
		c->in = len ? xmemdup(data, len) : NULL;
		c->in_len = len;
	}
	return true;
}

static void conn_read(struct conn *c)
{
	struct http *h = c->http;
	short wait = EV_READ;
	/* TLS may hold more than the socket shows: until there is nothing. */
	for (int reads = 0; c->state == HEAD; reads++) {
		if (reads == READS) {
			conn_again(c);
			return;
		}
		size_t had = c->in_len;
		if (had)
			memcpy(h->scratch, c->in, had);
		ssize_t n = conn_recv(c, h->scratch + had, sizeof(h->scratch) - had, &wait);
		if (n == -EINTR)
			continue;
		if (n == -EAGAIN)
			break;
		if (n <= 0) {
			conn_close(c);
			return;
		}
		if (!conn_process(c, h->scratch, had + (size_t)n))
			return;
		if (!c->ssl)
			break;
	}
	if (c->state == HEAD)
		conn_watch(c, wait);
}

static void conn_linger(struct conn *c)
{
	ssize_t n = recv(c->fd, c->http->scratch, sizeof(c->http->scratch), 0);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		conn_close(c);
}

static void conn_handshake(struct conn *c)
{
	int n = SSL_accept(c->ssl);
	short wait = 0;
	if (n == 1) {
		c->state = HEAD;
		conn_read(c);
		return;
	}
	if (ssl_result(c, n, &wait) == -EAGAIN) {
		conn_watch(c, wait);
		return;
	}
	c->http->counters.bad++;
	conn_close(c);
}

static void conn_sniff(struct conn *c)
{
	uint8_t first;
	ssize_t n = recv(c->fd, &first, 1, MSG_PEEK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		conn_watch(c, EV_READ);
		return;
	}
	if (n <= 0) {
		conn_close(c);
		return;
	}
	if (first != 0x16) { /* TLS's content type of a handshake */
		c->state = HEAD;
		conn_read(c);
		return;
	}
	c->ssl = SSL_new(c->http->tls);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1) {
		conn_close(c);
		return;
	}
	c->state = HANDSHAKE;
	conn_handshake(c);
}

static void conn_flush(struct conn *c)
{
	uint8_t *out = c->out;
	size_t len = c->out_len - c->out_at, at = c->out_at;
	c->http->held -= c->out_len;
	c->out_len = 0;
	c->out = NULL;
	c->state = HEAD;
	bool alive = conn_write(c, out + at, len);
	free(out);
	if (!alive || c->state == REPLY)
		return;
	if (!conn_replied(c) || c->state != HEAD)
		return;
	/* Requests that were sent behind the one whose reply blocked. */
	size_t had = c->in_len;
	if (had) {
		memcpy(c->http->scratch, c->in, had);
		if (!conn_process(c, c->http->scratch, had))
			return;
	}
	if (c->state == HEAD)
		conn_read(c);
}

static void conn_step(struct conn *c)
{
	switch (c->state) {
	case SNIFF:
		conn_sniff(c);
		return;
	case HANDSHAKE:
		conn_handshake(c);
		return;
	case HEAD:
		conn_read(c);
		return;
	case REPLY:
		conn_flush(c);
		return;
	case LINGER:
		conn_linger(c);
		return;
	}
}

static void conn_event(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	if (what & EV_TIMEOUT) { /* conn_again's: once */
		event_del(&c->event);
		c->watching = 0;
	}
	conn_step(c);
}

/* -- listening ------------------------------------------------------------------------------ */

static void evict(struct http *h, struct conn *c)
{
	h->counters.evicted++;
	conn_close(c);
}

static void conn_new(struct http *h, struct listener *l, int fd, const struct addr *from)
{
	if (h->counters.open >= h->config.max_connections)
		evict(h, TAILQ_FIRST(&h->conns));
	struct source *s = source_get(h, from);
	struct conn *c = xcalloc(1, sizeof(*c));
	c->http = h;
	c->listener = l;
	c->fd = fd;
	c->from = *from;
	c->state = h->tls ? SNIFF : HEAD;
	c->since = clock_us();
	c->source = s;
	TAILQ_INSERT_TAIL(&h->conns, c, in_all);
	TAILQ_INSERT_TAIL(&s->conns, c, in_source);
	h->counters.open++;
	h->counters.accepted++;
	if (++s->n > h->config.max_per_address)
		evict(h, TAILQ_FIRST(&s->conns));
	/* Most often the request is here already. */
	conn_step(c);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;
	struct http *h = l->http;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		struct sockaddr_storage ss;
		socklen_t len = sizeof(ss);
		int c = accept4((int)fd, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (c < 0 && (errno == EMFILE || errno == ENFILE) && !TAILQ_EMPTY(&h->conns)) {
			if (!h->said_no_fds)
				log_warn("no descriptors left with %u connections: "
					 "raise the limit (ulimit -n)", h->counters.open);
			h->said_no_fds = true;
			evict(h, TAILQ_FIRST(&h->conns));
			continue;
		}
		if (c < 0)
			return;
		struct addr from;
		addr_from_sockaddr((struct sockaddr *)&ss, &from);
		conn_new(h, l, c, &from);
	}
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct http *h = arg;
	uint64_t now = clock_us();
	struct conn *c;
	while ((c = TAILQ_FIRST(&h->conns)) && now - c->since >= HTTP_DEADLINE_S * US_PER_S) {
		h->counters.timed_out++;
		conn_close(c);
	}
}

int http_listen(struct http *h, int fd, void *data)
{
	struct listener *l = xcalloc(1, sizeof(*l));
	l->http = h;
	l->fd = fd;
	l->data = data;
	l->event = event_new(h->base, fd, EV_READ | EV_PERSIST, on_accept, l);
	LIST_INSERT_HEAD(&h->listeners, l, in_all);
	return event_add(l->event, NULL) ? -ENOMEM : 0;
}

void http_set_tls(struct http *h, SSL_CTX *tls)
{
	SSL_CTX_free(h->tls);
	h->tls = tls;
}

const struct http_counters *http_counters(const struct http *h)
{
	return &h->counters;
}

struct http *http_server_new(struct event_base *base, const struct http_config *config)
{
	struct http *h = xcalloc(1, sizeof(*h));
	h->base = base;
	h->config = *config;
	random_bytes(&h->key, sizeof(h->key));
	TAILQ_INIT(&h->conns);
	struct timeval tick = {0, TICK_MS * 1000};
	h->tick = event_new(base, -1, EV_PERSIST, on_tick, h);
	event_add(h->tick, &tick);
	return h;
}

void http_server_free(struct http *h)
{
	if (!h)
		return;
	struct listener *l;
	while ((l = LIST_FIRST(&h->listeners))) {
		LIST_REMOVE(l, in_all);
		event_free(l->event);
		close(l->fd);
		free(l);
	}
	struct conn *c;
	while ((c = TAILQ_FIRST(&h->conns)))
		conn_close(c);
	event_free(h->tick);
	SSL_CTX_free(h->tls);
	buf_done(&h->body);
	free(h);
}
