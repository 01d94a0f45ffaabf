/* SPDX-License-Identifier: MIT */
/* See conn.h.
 *
 * Reading: one readv takes the rest of the block that is coming, if any, into its buffer, and what
 * follows into a scratch buffer that all connections share.  Messages are parsed in the scratch; an
 * unfinished one waits in c->in (its size was checked against its type before, so it is bounded).
 *
 * conn_requests.c keeps the lists of requests, ours and the peer's.
 */
#include "swarm/conn.h"

#include "base/cleanup.h"
#include "base/cursor.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "swarm/layout.h"

#include <errno.h>
#include <event2/event.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define PIECE_HEADER 13          /* length, type, index, begin */
#define READS_PER_TURN 8         /* then the other connections have theirs */
#define QUICK_ASKS 32u           /* with fewer under way, answers are acknowledged at once */
/* Answers that a peer asks for and does not read: blocks wait elsewhere, what is here is rejects,
 * hashes, metadata and haves (all of a very large torrent's at once are less). */
#define MAX_UNSENT (8u << 20)
/* -- life ------------------------------------------------------------------------------------- */

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_flush(evutil_socket_t fd, short what, void *arg);

static struct conn *conn_new(struct conn_env *env, int fd, const struct addr *addr, bool incoming)
{
	struct conn *c = xcalloc(1, sizeof(*c));
	c->env = env;
	c->fd = fd;
	c->number = ++env->next_number;
	c->incoming = incoming;
	c->addr = *addr;
	addr_format(addr, c->name);
	c->since = c->last_message = c->last_sent = clock_us();
	c->choked = true;
	c->state = incoming ? CONN_SHAKING : CONN_CONNECTING;
	c->read_event = event_new(env->base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->write_event = event_new(env->base, fd, EV_WRITE, on_writable, c);
	c->flush_event = event_new(env->base, -1, 0, on_flush, c);
	if (!c->read_event || !c->write_event || !c->flush_event)
		abort();
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return c;
}

static void set_torrent(struct conn *c, void *torrent, const struct layout *layout)
{
	c->torrent = torrent;
	c->layout = layout;
	bits_init(&c->has, layout->n_pieces);
}

struct conn *conn_connect(struct conn_env *env, const struct addr *addr, void *torrent,
	const struct layout *layout, const uint8_t info_hash[20], bool v2)
{
	struct sockaddr_storage sa;
	socklen_t len = addr_to_sockaddr(addr, &sa);
	CLEANUP_CLOSE int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return NULL;
	addr_bind_source(fd, sa.ss_family, &env->listens);
	if (connect(fd, (struct sockaddr *)&sa, len) < 0 && errno != EINPROGRESS)
		return NULL;
	struct conn *c = conn_new(env, steal_fd(&fd), addr, false);
	set_torrent(c, torrent, layout);
	wire_add_handshake(&c->out, info_hash, env->peer_id, v2);
	event_add(c->write_event, NULL);
	return c;
}

struct conn *conn_accept(struct conn_env *env, int fd, const struct addr *addr)
{
	struct conn *c = conn_new(env, fd, addr, true);
	event_add(c->read_event, NULL);
	return c;
}

void conn_bind(struct conn *c, void *torrent, const struct layout *layout,
	const uint8_t info_hash[20], bool v2)
{
	set_torrent(c, torrent, layout);
	wire_add_handshake(&c->out, info_hash, c->env->peer_id, v2);
	conn_send(c);
}

void conn_free(struct conn *c)
{
	event_free(c->read_event);
	event_free(c->write_event);
	event_free(c->flush_event);
	if (c->fd >= 0)
		close(c->fd);
	buf_done(&c->in);
	buf_done(&c->out);
	bits_done(&c->has);
	free(c->coming.data);
	free(c->asks);
	free(c->cancelled);
	free(c->wanted);
	free(c->allowed_fast);
	free(c);
}

static void die(struct conn *c, bool fault, const char *format, va_list ap)
{
	if (c->state == CONN_DEAD)
		return;
	vsnprintf(c->why, sizeof(c->why), format, ap);
	c->peers_fault = fault;
	c->state = CONN_DEAD;
	event_del(c->read_event);
	event_del(c->write_event);
	/* First the log: who sees the connection end finds the reason there. */
	log_debug(LOG_PEER, "%s %s: %s", c->name, c->client, c->why);
	close(c->fd);
	c->fd = -1;
	event_active(c->flush_event, 0, 0); /* on_flush ends it */
}

void conn_fail(struct conn *c, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	die(c, false, format, ap);
	va_end(ap);
}

void conn_fault(struct conn *c, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	die(c, true, format, ap);
	va_end(ap);
}

void conn_tick(struct conn *c, uint64_t now)
{
	if (c->state == CONN_CONNECTING && now - c->since > CONN_CONNECT_MS * US_PER_MS)
		conn_fail(c, "no answer to connect in %u s", CONN_CONNECT_MS / 1000);
	else if (c->state == CONN_SHAKING && now - c->since > CONN_HANDSHAKE_MS * US_PER_MS)
		conn_fail(c, "no handshake in %u s", CONN_HANDSHAKE_MS / 1000);
	else if (c->state == CONN_OPEN && now - c->last_message > CONN_IDLE_MS * US_PER_MS)
		conn_fail(c, "no message in %u s", CONN_IDLE_MS / 1000);
	else if (c->state == CONN_OPEN && now - c->last_sent > CONN_KEEPALIVE_MS * US_PER_MS) {
		wire_add_keepalive(&c->out);
		conn_send(c);
	}
}

/* -- sending ---------------------------------------------------------------------------------- */

void conn_send(struct conn *c)
{
	if (c->state != CONN_DEAD && !c->writing)
		event_active(c->flush_event, 0, 0);
}

void conn_set_interested(struct conn *c, bool interested)
{
	if (c->state != CONN_OPEN || c->interested == interested)
		return;
	c->interested = interested;
	wire_add_simple(&c->out, interested ? WIRE_INTERESTED : WIRE_NOT_INTERESTED);
	conn_send(c);
}

void conn_set_choking(struct conn *c, bool choking)
{
	if (c->state != CONN_OPEN || c->told_unchoked == !choking)
		return;
	c->told_unchoked = !choking;
	wire_add_simple(&c->out, choking ? WIRE_CHOKE : WIRE_UNCHOKE);
	conn_send(c);
}

static void flush(struct conn *c)
{
	while (c->out.len) {
		ssize_t n = send(c->fd, buf_bytes(&c->out), c->out.len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			c->writing = true;
			event_add(c->write_event, NULL);
			return;
		}
		if (n < 0) {
			conn_fail(c, "send: %s", strerror(errno));
			return;
		}
		c->last_sent = clock_us();
		buf_consume(&c->out, (size_t)n);
	}
	c->writing = false;
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	if (c->state == CONN_DEAD) {
		c->env->ops->closed(c);
		conn_free(c);
	} else if (c->state != CONN_CONNECTING && !c->writing) {
		flush(c);
		if (c->state == CONN_OPEN && !c->writing && c->n_wanted)
			c->env->ops->writable(c);
	}
}

static uint64_t kernel_rtt(int fd)
{
	struct tcp_info info;
	socklen_t len = sizeof(info);
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return 0;
	return info.tcpi_rtt;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	if (c->state == CONN_CONNECTING) {
		int error = 0;
		socklen_t len = sizeof(error);
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
			error = errno;
		if (error) {
			conn_fail(c, "connect: %s", strerror(error));
			return;
		}
		c->state = CONN_SHAKING;
		c->since = clock_us();
		event_add(c->read_event, NULL);
	}
	flush(c);
	if (c->state == CONN_OPEN && !c->writing)
		c->env->ops->writable(c);
}

/* -- messages --------------------------------------------------------------------------------- */

/* Does [begin, begin + length) lie within what a peer may ask of this piece? */
static bool in_piece(const struct conn *c, const struct wire_message *m)
{
	uint32_t span = m->piece < c->layout->n_pieces ? layout_piece_span(c->layout, m->piece) : 0;
	return m->length && m->begin < span && m->length <= span - m->begin;
}

static void set_has(struct conn *c, uint32_t piece)
{
	bits_set(&c->has, piece);
	c->is_seed = bits_full(&c->has);
}

/* A bitfield in place of many HAVEs: aria2 sends one where that is shorter (BEP 3 has it first only).
 * What is new in it is told on as HAVEs; what is gone from it is not believed. */
static void take_late_bitfield(struct conn *c, const struct wire_message *m)
{
	CLEANUP(bits_done) struct bits told;
	bits_init(&told, c->has.n);
	if (m->data_len != bits_wire_len(told.n) || !bits_from_wire(&told, m->data)) {
		conn_fault(c, "bitfield of %zu bytes for %u pieces, or spare bits set", m->data_len, told.n);
		return;
	}
	for (uint32_t i = bits_next_set(&told, 0); i < told.n; i = bits_next_set(&told, i + 1)) {
		if (bits_get(&c->has, i))
			continue;
		struct wire_message have = {.type = WIRE_HAVE, .piece = i};
		set_has(c, i);
		c->env->ops->message(c, &have);
		if (c->state == CONN_DEAD)
			return;
	}
}

static bool take_bitfield(struct conn *c, const struct wire_message *m)
{
	if (c->has_told && m->type == WIRE_BITFIELD) {
		take_late_bitfield(c, m);
		return false;
	}
	if (c->has_told) {
		conn_fault(c, "a second have all or have none, or one too late");
		return false;
	}
	if (m->type == WIRE_HAVE_ALL)
		bits_fill(&c->has);
	else if (m->type == WIRE_BITFIELD && (m->data_len != bits_wire_len(c->has.n) ||
						     !bits_from_wire(&c->has, m->data))) {
		conn_fault(c, "bitfield of %zu bytes for %u pieces, or spare bits set", m->data_len,
			c->has.n);
		return false;
	}
	c->is_seed = c->has.n && bits_full(&c->has);
	return true;
}

/* Keeps c's own fields; false when the message is at fault or needs no one else. */
static bool take_message(struct conn *c, const struct wire_message *m)
{
	bool told = c->has_told;
	if (m->type <= WIRE_CANCEL || (m->type >= WIRE_SUGGEST && m->type <= WIRE_ALLOWED_FAST)) {
		/* BEP 6 allows have all and have none first only; BEP 3 the bitfield.  What does not
		 * speak of pieces does not count: real clients send an extension handshake or an
		 * unchoke before. */
		if (m->type >= WIRE_HAVE && m->type != WIRE_ALLOWED_FAST && m->type != WIRE_SUGGEST)
			told = true;
	}
	bool fast_only = m->type >= WIRE_SUGGEST && m->type <= WIRE_ALLOWED_FAST;
	if (fast_only && !c->fast) {
		conn_fault(c, "message %d of the fast extension, which was not agreed on", m->type);
		return false;
	}
	/* While the metadata is fetched nobody knows how many pieces there are. */
	bool of_pieces = m->type == WIRE_HAVE || m->type == WIRE_BITFIELD || m->type == WIRE_SUGGEST ||
			 m->type == WIRE_ALLOWED_FAST;
	if (of_pieces && !c->layout->n_pieces)
		return false;
	switch (m->type) {
	case WIRE_CHOKE:
		c->choked = true;
		break;
	case WIRE_UNCHOKE:
		c->choked = false;
		break;
	case WIRE_HAVE:
		if (m->piece >= c->has.n) {
			conn_fault(c, "have of piece %u of %u", m->piece, c->has.n);
			return false;
		}
		if (bits_get(&c->has, m->piece))
			return false;
		set_has(c, m->piece);
		break;
	case WIRE_BITFIELD:
	case WIRE_HAVE_ALL:
	case WIRE_HAVE_NONE:
		if (!take_bitfield(c, m))
			return false;
		break;
	case WIRE_REQUEST:
		if (m->length > REQUEST_MAX_LENGTH) {
			conn_fault(c, "request of %u bytes, above %u", m->length, REQUEST_MAX_LENGTH);
			return false;
		}
		if (!in_piece(c, m)) {
			conn_fault(c, "request of %u bytes at %u of piece %u of %u", m->length, m->begin,
				m->piece, c->has.n);
			return false;
		}
		break;
	case WIRE_CANCEL:
	case WIRE_REJECT:
		/* Asks for nothing: one that names no real block is as good as none. */
		if (!in_piece(c, m))
			return false;
		if (m->type == WIRE_REJECT && !conn_take_reject(c, m->piece, m->begin / BLOCK_SIZE))
			return false;
		break;
	case WIRE_SUGGEST:
	case WIRE_ALLOWED_FAST:
		if (m->piece >= c->has.n) {
			conn_fault(c, "message %d for piece %u of %u", m->type, m->piece, c->has.n);
			return false;
		}
		break;
	case WIRE_KEEPALIVE:
		return false;
	default:
		break;
	}
	c->has_told = told;
	return true;
}

bool conn_take_ext(struct conn *c, const struct wire_message *m, struct addr *ret_listens)
{
	const char *why;
	struct ext_handshake h = c->ext;
	if (ext_parse_handshake(m->data, m->data_len, &h, &why) < 0) {
		conn_fault(c, "extension handshake: %s", why);
		return false;
	}
	/* Told once: another port each time would fill the table of peers. */
	uint16_t port = c->ext.port;
	*ret_listens = c->addr;
	ret_listens->port = c->incoming && !port ? h.port : 0;
	if (port)
		h.port = port;
	c->ext = h;
	c->upload_only = h.upload_only;
	if (h.client[0])
		memcpy(c->client, h.client, sizeof(c->client));
	return true;
}

static bool on_handshake(struct conn *c, const uint8_t *data)
{
	struct wire_handshake h;
	if (!wire_parse_handshake(data, &h)) {
		conn_fault(c, "not the BitTorrent protocol");
		return false;
	}
	c->fast = wire_has_fast(h.reserved);
	c->extended = wire_has_extended(h.reserved);
	memcpy(c->peer_id, h.peer_id, sizeof(c->peer_id));
	ext_client_name(c->peer_id, c->client);
	if (!c->env->ops->shake(c, &h) || c->state == CONN_DEAD)
		return false;
	c->state = CONN_OPEN;
	path_init(&c->path, kernel_rtt(c->fd), clock_us());
	c->env->ops->open(c);
	return c->state != CONN_DEAD;
}

static void end_block(struct conn *c)
{
	uint8_t *data = steal_ptr(&c->coming.data);
	uint32_t piece = c->coming.piece, block = c->coming.block, len = c->coming.len;
	uint64_t now = clock_us();
	c->last_message = c->last_block = now;
	meter_add(&c->down, len, now);
	struct ask ask;
	bool asked = conn_take_answer(c, piece, block, len, now, &ask);
	if (c->state == CONN_DEAD)
		free(data);
	else
		c->env->ops->block(c, piece, block, data, asked ? &ask : NULL);
}

/* The header of a PIECE of `len` bytes of data: checked, and its buffer made. */
static bool begin_block(struct conn *c, const uint8_t *header, uint32_t len)
{
	struct cursor cur = cursor_on(header, 8);
	uint32_t piece = cursor_u32(&cur), begin = cursor_u32(&cur);
	uint32_t want = 0;
	if (piece < c->layout->n_pieces && begin % BLOCK_SIZE == 0 &&
		begin / BLOCK_SIZE < c->layout->blocks_per_piece)
		want = layout_block_len(c->layout, piece, begin / BLOCK_SIZE);
	if (!want || len != want) {
		conn_fault(c, "%u bytes for block at %u of piece %u, which has %u", len, begin, piece,
			want);
		return false;
	}
	c->coming.data = xmalloc(BLOCK_SIZE);
	c->coming.piece = piece;
	c->coming.block = begin / BLOCK_SIZE;
	c->coming.len = len;
	c->coming.got = 0;
	return true;
}

/* Parses one message at the front of [p, p + len); gives the bytes used, 0 when it is not whole yet,
 * or -1 when the conn died. */
static ssize_t parse_one(struct conn *c, const uint8_t *p, size_t len)
{
	if (c->state == CONN_SHAKING) {
		if (len < WIRE_HANDSHAKE_LEN)
			return 0;
		return on_handshake(c, p) ? WIRE_HANDSHAKE_LEN : -1;
	}
	if (len < 4)
		return 0;
	struct cursor cur = cursor_on(p, len);
	uint32_t n = cursor_u32(&cur);
	if (!n) {
		c->last_message = clock_us();
		return 4;
	}
	if (len < 5)
		return 0;
	uint8_t type = cursor_u8(&cur);
	const char *why = wire_check(type, n, c->layout->n_pieces);
	if (why) {
		conn_fault(c, "message %u of %u bytes: %s", type, n, why);
		return -1;
	}
	if (type == WIRE_PIECE) {
		if (len < PIECE_HEADER)
			return 0;
		if (!begin_block(c, p + 5, n - 9))
			return -1;
		size_t there = MIN(len - PIECE_HEADER, (size_t)c->coming.len);
		memcpy(c->coming.data, p + PIECE_HEADER, there);
		c->coming.got = (uint32_t)there;
		if (c->coming.got == c->coming.len)
			end_block(c);
		return c->state == CONN_DEAD ? -1 : (ssize_t)(PIECE_HEADER + there);
	}
	if (len < 4 + (size_t)n)
		return 0;
	if (c->out.len > MAX_UNSENT) {
		conn_fault(c, "it asks and does not read: %zu bytes wait for it", c->out.len);
		return -1;
	}
	struct wire_message m = {0};
	why = wire_parse(type, p + 5, n - 1, &m);
	if (why) {
		conn_fault(c, "message %u of %u bytes: %s", type, n, why);
		return -1;
	}
	c->last_message = clock_us();
	if (take_message(c, &m))
		c->env->ops->message(c, &m);
	return c->state == CONN_DEAD ? -1 : (ssize_t)(4 + (size_t)n);
}

static void parse(struct conn *c, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t used = parse_one(c, p, len);
		if (used < 0)
			return;
		if (!used)
			break;
		p += used;
		len -= (size_t)used;
	}
	buf_clear(&c->in);
	buf_add(&c->in, p, len);
}

static bool read_some(struct conn *c)
{
	uint8_t *scratch = c->env->scratch;
	size_t before = c->in.len;
	if (before)
		memcpy(scratch, buf_bytes(&c->in), before);
	struct iovec iov[2] = {
		{c->coming.data + c->coming.got, c->coming.len - c->coming.got},
		{scratch + before, CONN_SCRATCH / 4},
	};
	bool block = c->coming.data;
	ssize_t n = readv(c->fd, block ? iov : iov + 1, block ? 2 : 1);
	if (n < 0 && errno == EINTR)
		return true;
	if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
		return false;
	if (n <= 0) {
		conn_fail(c, n ? "receive: %s" : "closed by the peer", strerror(errno));
		return false;
	}
	/* A peer that leaves Nagle's algorithm on may hold back the end of an answer for this. */
	if (c->n_asks && c->n_asks < QUICK_ASKS)
		setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &(int) {1}, sizeof(int));
	size_t got = (size_t)n, more = block ? iov[0].iov_len + iov[1].iov_len : iov[1].iov_len;
	bool full = got == more;
	if (block) {
		size_t part = MIN(got, iov[0].iov_len);
		c->coming.got += (uint32_t)part;
		got -= part;
		if (c->coming.got == c->coming.len)
			end_block(c);
		if (c->state == CONN_DEAD)
			return false;
	}
	if (got)
		parse(c, scratch, before + got);
	return full && c->state != CONN_DEAD;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;
	for (int i = 0; i < READS_PER_TURN && c->state != CONN_DEAD && read_some(c); i++)
		;
}
