/* SPDX-License-Identifier: MIT */
/* Load for trackers: announces over UDP (BEP 15) or HTTP, as fast as they are answered or at a rate.
 *
 *	track_load udp|http ADDRESS PORT [NAME=VALUE]...
 *
 *	count=N         how many announces (default: as many as `seconds` allow)
 *	seconds=N       for how long (default 5)
 *	rate=N          so many a second; the default 0 is as fast as they are answered
 *	window=N        UDP: how many may be under way (default 256); HTTP: connections (default 100)
 *	torrents=N      made-up info-hashes to choose from (default 1000); 0: a new one each time
 *	peers=N         ports to announce (default 50000); each of `seeds` per cent has everything
 *	seeds=N         (default 25)
 *	nodes=1         every announce is another node's first: address 127.x.y.z, event "started" (UDP: by port)
 *	ips=1           UDP: each number has an address of its own, in the announce (for --allow-ip)
 *	stops=N         UDP: N per cent of the announces say "stopped" (default 0)
 *	numwant=N       (default 50)
 *	hashes=FILE     info-hashes in hex, one a line, instead
 *	keep=0          HTTP: a new connection for each
 *
 * One thread, one UDP socket.  At a rate the time of an answer counts from when the announce was
 * due, so that a tracker that stalls does not look fast.  The last line is JSON: answers,
 * per_second, failures, lost, empty (answers without peers), peers (per answer), p50_us, p99_us,
 * max_us.
 *
 * Thread: the main one.
 */
#include "base/addr.h"
#include "base/cli.h"
#include "base/hash.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 64
#define SLOTS 65536u /* announces under way over UDP: transaction ids are their numbers */
#define LOST_US (2 * US_PER_S)
#define REPLY_MAX 16384
#define SAMPLES_MAX 4000000u

struct load {
	uint64_t count, seconds, rate, window, torrents, peers, seeds, nodes, ips, stops, numwant, keep;
	uint8_t (*hashes)[20];
	struct sockaddr_storage to;
	socklen_t to_len;
	uint64_t started, sent, answers, failures, lost, empty, given;
	uint32_t *samples; /* us */
	uint64_t n_samples;
	uint64_t random;
};

static uint64_t next_random(struct load *l)
{
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return l->random;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* When announce number `n` is due; now, without a rate. */
static uint64_t due(const struct load *l, uint64_t n, uint64_t now)
{
	return l->rate ? l->started + n * US_PER_S / l->rate : now;
}

static bool over(const struct load *l, uint64_t now)
{
	return l->sent >= l->count || now - l->started >= l->seconds * US_PER_S;
}

static void answered(struct load *l, uint64_t since, bool failure, uint64_t peers)
{
	uint64_t took = clock_us() - since;
	l->answers++;
	l->failures += failure;
	l->given += peers;
	l->empty += !peers;
	if (l->n_samples < SAMPLES_MAX)
		l->samples[l->n_samples++] = (uint32_t)MIN(took, (uint64_t)UINT32_MAX);
}

struct node {
	uint8_t hash[20];
	uint32_t number;
	uint16_t port;
	bool seed, stops;
};

static void choose(struct load *l, struct node *ret)
{
	uint64_t r = next_random(l);
	if (l->torrents)
		memcpy(ret->hash, l->hashes[r % l->torrents], 20);
	else
		for (int i = 0; i < 20; i += 8)
			memcpy(ret->hash + i, &(uint64_t) {next_random(l)}, MIN(8, 20 - i));
	ret->number = l->nodes ? (uint32_t)l->sent : (uint32_t)((r >> 32) % l->peers);
	ret->port = (uint16_t)(1024 + ret->number % 64000);
	ret->stops = l->stops && next_random(l) % 100 < l->stops;
	ret->seed = l->nodes ? ret->number == 0 : ret->number % 100 < l->seeds;
}

/* -- UDP ------------------------------------------------------------------------------------ */

static uint64_t slots[SLOTS]; /* since when it is under way; 0: answered */

static void put_be(uint8_t *p, uint64_t v, unsigned n)
{
	while (n--) {
		p[n] = (uint8_t)v;
		v >>= 8;
	}
}

static size_t udp_packet(struct load *l, const uint8_t id[8], uint8_t out[98])
{
	struct node n;
	choose(l, &n);
	memcpy(out, id, 8);
	put_be(out + 8, 1, 4);
	put_be(out + 12, l->sent, 4);
	memcpy(out + 16, n.hash, 20);
	memcpy(out + 36, "-PF0100-", 8);
	snprintf((char *)out + 44, 13, "%012u", n.number);
	put_be(out + 56, 0, 8);
	put_be(out + 64, n.seed ? 0 : 1000, 8);
	put_be(out + 72, 0, 8);
	put_be(out + 80, n.stops ? 3 : l->nodes ? 2 : 0, 4);
	put_be(out + 84, l->ips ? 0x0a000000 + n.number : 0, 4);
	put_be(out + 88, n.number, 4);
	put_be(out + 92, l->numwant, 4);
	put_be(out + 96, n.port, 2);
	return 98;
}

static void udp_receive(struct load *l, int fd)
{
	static uint8_t in[BATCH][2048];
	struct mmsghdr m[BATCH] = {0};
	struct iovec v[BATCH];
	for (int i = 0; i < BATCH; i++) {
		v[i] = (struct iovec) {in[i], sizeof(in[i])};
		m[i].msg_hdr.msg_iov = &v[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	int n = recvmmsg(fd, m, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		uint32_t slot = (uint32_t)in[i][6] << 8 | in[i][7];
		if (m[i].msg_len < 8 || !slots[slot])
			continue;
		bool good = in[i][3] == 1 && m[i].msg_len >= 20;
		answered(l, slots[slot], !good, good ? (m[i].msg_len - 20) / 6 : 0);
		slots[slot] = 0;
	}
}

static void udp_send(struct load *l, int fd, const uint8_t id[8], uint64_t now)
{
	static uint8_t out[BATCH][98];
	struct mmsghdr m[BATCH] = {0};
	struct iovec v[BATCH];
	unsigned n = 0;
	while (n < BATCH && !over(l, now) && due(l, l->sent, now) <= now &&
		l->sent - l->answers - l->lost < l->window) {
		uint64_t *slot = &slots[l->sent % SLOTS];
		l->lost += *slot != 0;
		*slot = due(l, l->sent, now);
		v[n] = (struct iovec) {out[n], udp_packet(l, id, out[n])};
		m[n].msg_hdr.msg_iov = &v[n];
		m[n].msg_hdr.msg_iovlen = 1;
		n++;
		l->sent++;
	}
	for (unsigned i = 0; i < n;) {
		int k = sendmmsg(fd, m + i, n - i, 0);
		if (k < 0)
			fail("sendmmsg");
		i += (unsigned)k;
	}
}

static void udp_run(struct load *l)
{
	uint8_t b[2048] = {0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 0, 0, 0, 7}, id[8];
	int size = 8 << 20, fd = socket(l->to.ss_family, SOCK_DGRAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&l->to, l->to_len) < 0)
		fail("connect");
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	struct pollfd p = {fd, POLLIN, 0};
	if (send(fd, b, 16, 0) != 16 || poll(&p, 1, 5000) != 1 || recv(fd, b, sizeof(b), 0) != 16)
		fail("no answer to connect");
	memcpy(id, b + 8, 8);
	l->started = clock_us();
	uint64_t heard = l->started;
	for (;;) {
		uint64_t now = clock_us(), before = l->answers;
		udp_send(l, fd, id, now);
		if (over(l, now) && l->answers + l->lost >= l->sent)
			break;
		udp_receive(l, fd);
		if (l->answers != before) {
			heard = now;
			continue;
		}
		if (now - heard > LOST_US && l->sent > l->answers + l->lost) {
			l->lost = l->sent - l->answers;
			memset(slots, 0, sizeof(slots));
			heard = now;
		}
		poll(&p, 1, l->rate ? 0 : 1);
	}
	close(fd);
}

/* -- HTTP ----------------------------------------------------------------------------------- */

struct http_conn {
	int fd;         /* -1: none */
	bool busy;      /* a request is under way, since `since` */
	bool connected;
	uint64_t since;
	uint32_t node;
	char request[1024];
	size_t len;
	char in[REPLY_MAX + 1];
	size_t got;
};

static void http_close(struct http_conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->connected = false;
}

static void http_request(struct load *l, struct http_conn *c)
{
	struct node n;
	char hash[61];
	choose(l, &n);
	for (int i = 0; i < 20; i++)
		snprintf(hash + 3 * i, 4, "%%%02x", n.hash[i]);
	c->node = n.number;
	c->len = (size_t)snprintf(c->request, sizeof(c->request),
		"GET /announce?info_hash=%s&peer_id=-PF0100-%012u&port=%u&uploaded=0&downloaded=0"
		"&left=%d&compact=1&numwant=%u%s HTTP/1.1\r\nHost: tracker\r\n%s\r\n", hash, n.number,
		n.port, n.seed ? 0 : 1000, (unsigned)l->numwant, l->nodes ? "&event=started" : "",
		l->keep ? "" : "Connection: close\r\n");
}

static void http_open(struct load *l, int epoll, struct http_conn *c)
{
	c->fd = socket(l->to.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		fail("socket");
	if (l->nodes && l->to.ss_family == AF_INET) {
		/* Each node has an address of its own. */
		uint32_t ip = 0x7f100000 + c->node;
		struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htobe32(ip)};
		if (bind(c->fd, (struct sockaddr *)&from, sizeof(from)) < 0)
			fail("bind");
	}
	if (connect(c->fd, (struct sockaddr *)&l->to, l->to_len) < 0 && errno != EINPROGRESS)
		fail("connect");
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
	epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e);
}

static void http_send(struct http_conn *c)
{
	ssize_t n = send(c->fd, c->request, c->len, MSG_NOSIGNAL);
	if (n == (ssize_t)c->len)
		c->len = 0;
}

/* True when the reply in c->in is whole; `end`: the connection has ended. */
static bool http_whole(struct load *l, struct http_conn *c, bool end, bool *ret_close)
{
	c->in[c->got] = '\0';
	char *body = memmem(c->in, c->got, "\r\n\r\n", 4);
	char *length = body ? strcasestr(c->in, "\r\nContent-Length: ") : NULL;
	if (!body)
		return false;
	body += 4;
	size_t have = c->got - (size_t)(body - c->in);
	if (length ? have < strtoul(length + 18, NULL, 10) : !end)
		return false;
	*ret_close = end || strncmp(c->in, "HTTP/1.1", 8) != 0 ||
		strcasestr(c->in, "\r\nConnection: close");
	char *peers = memmem(body, have, "5:peers", 7);
	answered(l, c->since, !peers, peers ? strtoul(peers + 7, NULL, 10) / 6 : 0);
	return true;
}

static void http_receive(struct load *l, struct http_conn *c)
{
	ssize_t n = 1;
	bool close_it = false;
	while (n > 0 && c->got < REPLY_MAX) {
		n = recv(c->fd, c->in + c->got, REPLY_MAX - c->got, MSG_DONTWAIT);
		c->got += n > 0 ? (size_t)n : 0;
	}
	bool end = n == 0 || (n < 0 && errno != EAGAIN);
	if (c->busy && http_whole(l, c, end, &close_it)) {
		c->busy = false;
		c->got = 0;
	} else if (end && c->busy) {
		l->lost++;
		c->busy = false;
	}
	if (end || (!c->busy && (close_it || l->nodes)))
		http_close(c);
}

static void http_run(struct load *l)
{
	struct http_conn *conns = xcalloc(l->window, sizeof(*conns));
	struct epoll_event events[256];
	int epoll = epoll_create1(0);
	uint64_t first = 0, busy = 0; /* where to look for an idle one */
	for (uint64_t i = 0; i < l->window; i++)
		conns[i].fd = -1;
	l->started = clock_us();
	for (;;) {
		uint64_t now = clock_us();
		busy = l->sent - l->answers - l->lost;
		while (!over(l, now) && due(l, l->sent, now) <= now && busy < l->window) {
			while (conns[first % l->window].busy)
				first++;
			struct http_conn *c = &conns[first++ % l->window];
			http_request(l, c);
			c->busy = true;
			c->got = 0;
			c->since = due(l, l->sent, now);
			l->sent++;
			busy++;
			if (c->fd < 0)
				http_open(l, epoll, c);
			else
				http_send(c);
		}
		if (over(l, now) && !busy)
			break;
		if (now - l->started > l->seconds * US_PER_S + 10 * US_PER_S) {
			l->lost += busy;
			break;
		}
		int n = epoll_wait(epoll, events, 256, l->rate ? 0 : 10);
		for (int i = 0; i < n; i++) {
			struct http_conn *c = events[i].data.ptr;
			if (c->fd >= 0 && c->len && (events[i].events & EPOLLOUT))
				http_send(c);
			if (c->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
				http_receive(l, c);
		}
	}
	for (uint64_t i = 0; i < l->window; i++)
		http_close(&conns[i]);
	close(epoll);
	free(conns);
}

/* -- the whole -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	uint32_t x, y;
	memcpy(&x, a, 4);
	memcpy(&y, b, 4);
	return (x > y) - (x < y);
}

static void report(struct load *l)
{
	double took = (double)(clock_us() - l->started) / 1e6;
	qsort(l->samples, l->n_samples, sizeof(*l->samples), compare);
	uint64_t n = l->n_samples;
	printf("{\"sent\": %llu, \"answers\": %llu, \"per_second\": %.0f, \"failures\": %llu, "
	       "\"lost\": %llu, \"empty\": %llu, \"peers\": %.1f, \"p50_us\": %u, \"p99_us\": %u, "
	       "\"max_us\": %u}\n", (unsigned long long)l->sent, (unsigned long long)l->answers,
		(double)l->answers / took, (unsigned long long)l->failures,
		(unsigned long long)l->lost, (unsigned long long)l->empty,
		l->answers ? (double)l->given / (double)l->answers : 0.0,
		n ? l->samples[n / 2] : 0, n ? l->samples[n * 99 / 100] : 0,
		n ? l->samples[n - 1] : 0);
}

static void load_hashes(struct load *l, const char *path)
{
	if (!path) {
		l->hashes = xcalloc(MAX(l->torrents, (uint64_t)1), 20);
		for (uint64_t i = 0; i < l->torrents * 20; i++)
			l->hashes[i / 20][i % 20] = (uint8_t)(next_random(l) >> 32);
		return;
	}
	FILE *f = fopen(path, "r");
	char line[128];
	size_t cap = 0;
	if (!f)
		fail(path);
	for (l->torrents = 0; fgets(line, sizeof(line), f); l->torrents++) {
		GROW(l->hashes, l->torrents, cap);
		line[strcspn(line, "\n")] = '\0';
		if (hex_decode(line, l->hashes[l->torrents], 20) < 0)
			fail(line);
	}
	fclose(f);
}

int main(int argc, char **argv)
{
	struct load l = {.count = UINT64_MAX, .seconds = 5, .torrents = 1000, .peers = 50000,
		.seeds = 25, .numwant = 50, .keep = 1, .random = 0x9e3779b97f4a7c15ull};
	const struct {
		const char *name;
		uint64_t *value;
	} names[] = {{"count", &l.count}, {"seconds", &l.seconds}, {"rate", &l.rate},
		{"window", &l.window}, {"torrents", &l.torrents}, {"peers", &l.peers},
		{"seeds", &l.seeds}, {"nodes", &l.nodes}, {"ips", &l.ips}, {"stops", &l.stops},
		{"numwant", &l.numwant}, {"keep", &l.keep}};
	const char *hashes = NULL;
	if (argc < 4) {
		fprintf(stderr, "usage: track_load udp|http ADDRESS PORT [NAME=VALUE]...\n");
		return EXIT_USAGE;
	}
	for (int i = 4; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		size_t at = 0;
		if (value)
			*value++ = '\0';
		if (value && !strcmp(argv[i], "hashes")) {
			hashes = value;
			continue;
		}
		while (at < ARRAY_SIZE(names) && strcmp(names[at].name, argv[i]) != 0)
			at++;
		if (at == ARRAY_SIZE(names) || !value ||
			parse_number(value, 0, UINT32_MAX, names[at].value) < 0) {
			fprintf(stderr, "track_load: %s: not understood\n", argv[i]);
			return EXIT_USAGE;
		}
	}
	bool udp = !strcmp(argv[1], "udp");
	if (!l.window)
		l.window = udp ? 256 : 100;
	char *where = xasprintf(strchr(argv[2], ':') ? "[%s]:%s" : "%s:%s", argv[2], argv[3]);
	struct addr to;
	if (addr_parse(where, 0, &to) < 0)
		fail(where);
	free(where);
	l.to_len = addr_to_sockaddr(&to, &l.to);
	l.samples = xcalloc(SAMPLES_MAX, sizeof(*l.samples));
	load_hashes(&l, hashes);
	if (udp)
		udp_run(&l);
	else
		http_run(&l);
	report(&l);
	free(l.samples);
	free(l.hashes);
	return EXIT_OK;
}
