// SPDX-License-Identifier: MIT
/* HTTP(S) client on libcurl's multi interface: see http.h.
 *
 * libcurl asks for its sockets and one timer to be watched; libevent does.  Redirects are followed
 * here and not by libcurl, because each hop has rules of its own (url.h).  An address is checked
 * twice: when libcurl opens a socket to it, and before each request is sent, since a kept
 * connection may have been opened under another URL's rules.
 *
 * libcurl calls us from inside of its own calls, and refuses handles to be added or removed there.
 * What a callback asks for then is done as soon as libcurl has returned (run_deferred).
 *
 * Names are resolved on libcurl's threads; CURLOPT_QUICK_EXIT keeps a cancelled transfer from
 * waiting for its thread, which a dead name server would hold for half a minute.
 *
 * Thread: loop.
 */
#include "swarm/http.h"
#include "swarm/range.h"
#include "swarm/url.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#define RECEIVE_BUFFER 65536l /* more bytes a call than libcurl's 16 KiB, for web seeds */

TAILQ_HEAD(request_list, http_request);

struct http {
	struct loop *loop;
	CURLM *multi;
	struct event *timer; /* libcurl's */
	struct request_list requests;
	char *cafile; /* owned or NULL */
	struct addr source;
	bool inside; /* libcurl is calling us */
	bool deferred;
};

struct http_request {
	struct http *http;
	TAILQ_ENTRY(http_request) link;
	CURL *easy;
	struct url url; /* of this hop */
	struct http_options options;
	struct http_callbacks cb;
	bool added, cancelled;
	unsigned redirects;
	enum url_reach from; /* the reach of the address that redirected here */
	uint64_t start_us, active_us;
	struct event *stall;
	size_t headers; /* bytes, of all hops */
	uint64_t received; /* bytes of this hop's body */
	struct buf body;
	char why[256]; /* our own reason to end it; empty: libcurl's counts */
	char error[CURL_ERROR_SIZE];
};

/* -- libevent ---------------------------------------------------------------------------- */

static void run_deferred(struct http *h);
static void read_messages(struct http *h);

static void act(struct http *h, curl_socket_t fd, int what)
{
	int running;

	h->inside = true;
	curl_multi_socket_action(h->multi, fd, what, &running);
	h->inside = false;
	run_deferred(h);
	read_messages(h);
}

static void on_socket(evutil_socket_t fd, short what, void *arg)
{
	act(arg, fd,
		(what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static int curl_wants_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct http *h = arg;
	struct event *event = socket_arg;

	if (event)
		event_free(event);
	event = NULL;
	if (what != CURL_POLL_REMOVE) {
		short events = (short)((what & CURL_POLL_IN ? EV_READ : 0) |
				       (what & CURL_POLL_OUT ? EV_WRITE : 0) | EV_PERSIST);
		event = event_new(loop_base(h->loop), fd, events, on_socket, h);
		if (!event || event_add(event, NULL) < 0)
			log_error("http: a socket cannot be watched");
	}
	curl_multi_assign(h->multi, fd, event);
	return 0;
}

static struct timeval timeval_of(uint64_t us)
{
	return (struct timeval) {
		.tv_sec = (time_t)(us / US_PER_S), .tv_usec = (suseconds_t)(us % US_PER_S)};
}

static int curl_wants_timer(CURLM *multi, long timeout_ms, void *arg)
{
	struct http *h = arg;

	if (timeout_ms < 0) {
		event_del(h->timer);
	} else {
		struct timeval tv = timeval_of((uint64_t)timeout_ms * US_PER_MS);
		event_add(h->timer, &tv);
	}
	return 0;
}

/* -- a request's life ---------------------------------------------------------------------- */

static void request_fail(struct http_request *r, const char *why)
{
	snprintf(r->why, sizeof(r->why), "%s", why);
}

static void request_free(struct http_request *r)
{
	struct http *h = r->http;

	if (r->added)
		curl_multi_remove_handle(h->multi, r->easy);
	TAILQ_REMOVE(&h->requests, r, link);
	if (r->easy)
		curl_easy_cleanup(r->easy);
	if (r->stall)
		event_free(r->stall);
	url_done(&r->url);
	buf_done(&r->body);
	free(r);
}

static void request_done(struct http_request *r, const char *error, int status)
{
	log_debug(LOG_HTTP, "%s: %s, status %d, %llu bytes", r->url.host, error ? error : "done",
		status, (unsigned long long)r->received);
	*buf_extend(&r->body, 1) = '\0';
	if (!r->cancelled)
		r->cb.done(r->cb.arg, error, status, buf_bytes(&r->body), r->body.len - 1);
	request_free(r);
}

/* Outside of libcurl only. */
static void request_add(struct http_request *r)
{
	CURLMcode rc = curl_multi_add_handle(r->http->multi, r->easy);

	r->added = rc == CURLM_OK;
	if (!r->added)
		request_done(r, curl_multi_strerror(rc), 0);
}

static struct http_request *next_deferred(struct http *h)
{
	struct http_request *r;

	TAILQ_FOREACH (r, &h->requests, link)
		if (r->cancelled || !r->added)
			return r;
	return NULL;
}

static void run_deferred(struct http *h)
{
	struct http_request *r;

	if (!h->deferred)
		return;
	h->deferred = false;
	while ((r = next_deferred(h))) {
		if (r->cancelled)
			request_free(r);
		else
			request_add(r);
	}
}

static void on_stall(evutil_socket_t fd, short what, void *arg)
{
	struct http_request *r = arg;
	uint64_t end = r->active_us + r->options.stall_ms * US_PER_MS, now = clock_us();

	if (now < end) {
		struct timeval tv = timeval_of(end - now);
		event_add(r->stall, &tv);
		return;
	}
	snprintf(r->why, sizeof(r->why), "nothing came for %u ms", r->options.stall_ms);
	request_done(r, r->why, 0);
}

/* -- libcurl's callbacks ------------------------------------------------------------------- */

static bool address_allowed(struct http_request *r, const struct addr *a)
{
	const char *why = url_refuses(&r->url, r->options.tracker, a, r->from);

	if (!why)
		return true;
	char text[ADDR_STRLEN];
	snprintf(r->why, sizeof(r->why), "%s: %s", addr_format_ip(a, text), why);
	return false;
}

static curl_socket_t curl_opens_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
	struct http_request *r = arg;
	struct addr a;

	if (to->family != AF_INET && to->family != AF_INET6)
		return CURL_SOCKET_BAD;
	addr_from_sockaddr(&to->addr, &a);
	if (!address_allowed(r, &a))
		return CURL_SOCKET_BAD;
	int fd = socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
	if (fd >= 0)
		addr_bind_source(fd, to->family, &r->http->source);
	return fd;
}

static int curl_will_send(void *arg, char *ip, char *local_ip, int port, int local_port)
{
	struct http_request *r = arg;
	struct addr a;

	if (addr_parse(ip, (uint16_t)port, &a) < 0) {
		request_fail(r, "connected to no IP address");
		return CURL_PREREQFUNC_ABORT;
	}
	if (!address_allowed(r, &a))
		return CURL_PREREQFUNC_ABORT;
	r->why[0] = '\0'; /* another address of the name may have been refused: this one is fine */
	r->active_us = clock_us();
	return CURL_PREREQFUNC_OK;
}

static int request_status(const struct http_request *r)
{
	long status = 0;

	curl_easy_getinfo(r->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int)status;
}

static bool is_redirect(int status)
{
	return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static const char *header(const struct http_request *r, const char *name)
{
	struct curl_header *found;

	if (curl_easy_header(r->easy, name, 0, CURLH_HEADER, -1, &found) != CURLHE_OK)
		return NULL;
	return found->value;
}

static size_t curl_has_header(char *data, size_t size, size_t n, void *arg)
{
	struct http_request *r = arg;

	r->active_us = clock_us();
	r->headers += n;
	if (r->headers > HTTP_MAX_HEADERS) {
		request_fail(r, "more than 65536 bytes of headers");
		return 0;
	}
	return n;
}

/* What the headers must say before a body is taken; false with r->why set. */
static bool headers_fit(struct http_request *r, int status)
{
	const char *coding = header(r, "Content-Encoding");

	if (coding && strcasecmp(coding, "identity") != 0) {
		snprintf(r->why, sizeof(r->why), "Content-Encoding: %.40s, which was not asked for",
			log_quote(coding, strlen(coding)));
		return false;
	}
	if (status == 206 && r->options.range_len) {
		const char *why = range_check(header(r, "Content-Range"), r->options.range_from,
			r->options.range_len, r->options.range_total);
		if (why)
			request_fail(r, why);
		return !why;
	}
	return true;
}

static size_t curl_has_data(char *data, size_t size, size_t n, void *arg)
{
	struct http_request *r = arg;
	int status = request_status(r);

	r->active_us = clock_us();
	if (r->cancelled)
		return 0;
	bool first = !r->received;
	r->received += n;
	if (is_redirect(status))
		return r->received <= HTTP_MAX_REPLY ? n : 0;
	if (first && !headers_fit(r, status))
		return 0;
	if (status == 206 && r->options.range_len && r->received > r->options.range_len) {
		request_fail(r, "more bytes than asked for");
		return 0;
	}
	if (r->received > r->options.max_body) {
		snprintf(r->why, sizeof(r->why), "a reply of more than %zu bytes",
			r->options.max_body);
		return 0;
	}
	if (!r->cb.data) {
		buf_add(&r->body, data, n);
		return n;
	}
	if (!r->cb.data(r->cb.arg, status, (const uint8_t *)data, n)) {
		request_fail(r, "ended by its receiver");
		return 0;
	}
	return r->cancelled ? 0 : n;
}

/* -- starting ---------------------------------------------------------------------------- */

/* Everything but the URL. */
static void easy_setup(struct http_request *r)
{
	CURL *e = r->easy;
	const struct http_options *o = &r->options;
	const char *cafile = o->cafile ? o->cafile : r->http->cafile;

	curl_easy_setopt(e, CURLOPT_PRIVATE, r);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, r->error);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1l);
	curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1l);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "p2pfs/" P2PFS_VERSION);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0l);
	/* A proxy would connect to what we refuse. */
	curl_easy_setopt(e, CURLOPT_PROXY, "");
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, curl_opens_socket);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, r);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, curl_will_send);
	curl_easy_setopt(e, CURLOPT_PREREQDATA, r);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, curl_has_header);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, r);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, curl_has_data);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, r);
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, RECEIVE_BUFFER);
	curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1l);
	curl_easy_setopt(e, CURLOPT_PIPEWAIT, 0l);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)HTTP_CONNECT_MS);
	curl_easy_setopt(e, CURLOPT_IPRESOLVE,
		o->family == AF_INET    ? (long)CURL_IPRESOLVE_V4
		: o->family == AF_INET6 ? (long)CURL_IPRESOLVE_V6
					: (long)CURL_IPRESOLVE_WHATEVER);
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1l);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2l);
	/* In place of the system's bundle, but beside its folder of certificates (CURLOPT_CAPATH).
	 */
	if (cafile)
		curl_easy_setopt(e, CURLOPT_CAINFO, cafile);
	if (o->range_len) {
		char range[48];
		snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)o->range_from,
			(unsigned long long)(o->range_from + o->range_len - 1));
		curl_easy_setopt(e, CURLOPT_RANGE, range);
	}
}

/* Takes the URL of the first or the next hop: NULL, or a static reason. */
static const char *request_set_url(struct http_request *r, const char *text)
{
	struct url url;
	const char *why;

	if (url_parse(text, &url, &why) < 0)
		return why;
	if (url.scheme == URL_UDP)
		why = "scheme is none of http, https";
	else if (r->url.host && r->url.scheme == URL_HTTPS && url.scheme == URL_HTTP)
		why = "redirects from https to http";
	else
		why = url.is_address ? url_refuses(&url, r->options.tracker, &url.addr, r->from)
				     : NULL;
	if (!why && curl_easy_setopt(r->easy, CURLOPT_URL, text) != CURLE_OK)
		why = "out of memory";
	if (why) {
		url_done(&url);
		return why;
	}
	url_done(&r->url);
	r->url = url;
	return NULL;
}

struct http_request *http_get(struct http *h, const char *url, const struct http_options *options,
	const struct http_callbacks *cb, const char **ret_why)
{
	struct http_request *r = xcalloc(1, sizeof(*r));

	r->http = h;
	r->options = *options;
	r->cb = *cb;
	r->start_us = r->active_us = clock_us();
	TAILQ_INSERT_TAIL(&h->requests, r, link);
	r->easy = curl_easy_init();
	const char *why = r->easy ? request_set_url(r, url) : "out of memory";
	if (why) {
		request_free(r);
		*ret_why = why;
		return NULL;
	}
	easy_setup(r);
	if (options->timeout_ms)
		curl_easy_setopt(r->easy, CURLOPT_TIMEOUT_MS, (long)options->timeout_ms);
	if (options->stall_ms) {
		struct timeval tv = timeval_of(options->stall_ms * US_PER_MS);
		r->stall = event_new(loop_base(h->loop), -1, 0, on_stall, r);
		event_add(r->stall, &tv);
	}
	if (h->inside) {
		h->deferred = true;
	} else if (curl_multi_add_handle(h->multi, r->easy) == CURLM_OK) {
		r->added = true;
	} else {
		request_free(r);
		*ret_why = "libcurl takes no more requests";
		return NULL;
	}
	return r;
}

void http_cancel(struct http_request *r)
{
	if (r->http->inside) {
		r->cancelled = true;
		r->http->deferred = true;
	} else {
		request_free(r);
	}
}

/* -- ending ------------------------------------------------------------------------------ */

/* Goes on with the next hop; false with r->why set. */
static bool request_redirect(struct http_request *r, const char *location)
{
	CLEANUP_FREE char *text = xstrdup(location); /* it is the handle's, which changes */
	const char *ip = NULL, *why;
	struct addr a;

	if (++r->redirects > HTTP_MAX_REDIRECTS) {
		request_fail(r, "more than 5 redirects");
		return false;
	}
	curl_easy_getinfo(r->easy, CURLINFO_PRIMARY_IP, &ip);
	if (!ip || addr_parse(ip, 0, &a) < 0) {
		request_fail(r, "redirected by no IP address");
		return false;
	}
	r->from = url_reach(&a);
	why = request_set_url(r, text);
	if (why) {
		snprintf(r->why, sizeof(r->why), "redirect: %s", why);
		return false;
	}
	uint64_t spent_ms = (clock_us() - r->start_us) / US_PER_MS;
	if (r->options.timeout_ms) {
		if (spent_ms >= r->options.timeout_ms) {
			request_fail(r, "timed out in redirects");
			return false;
		}
		curl_easy_setopt(
			r->easy, CURLOPT_TIMEOUT_MS, (long)(r->options.timeout_ms - spent_ms));
	}
	r->received = 0;
	return true;
}

static void request_ended(struct http_request *r, CURLcode rc)
{
	int status = request_status(r);
	char *location = NULL;

	curl_multi_remove_handle(r->http->multi, r->easy);
	r->added = false;
	if (rc == CURLE_OK && is_redirect(status))
		curl_easy_getinfo(r->easy, CURLINFO_REDIRECT_URL, &location);
	if (location && request_redirect(r, location)) {
		request_add(r);
		return;
	}
	if (rc == CURLE_OK && !r->why[0] && !r->received && !is_redirect(status))
		headers_fit(r, status); /* of a reply without a body */
	if (rc == CURLE_OK && !r->why[0] && status == 206 && r->options.range_len &&
		r->received < r->options.range_len)
		request_fail(r, "fewer bytes than asked for");
	if (rc == CURLE_OK && !r->why[0]) {
		request_done(r, NULL, status);
		return;
	}
	if (!r->why[0] && is_redirect(status) && rc == CURLE_WRITE_ERROR)
		request_fail(r, "a redirect with a body of more than 1 MiB");
	if (rc == CURLE_COULDNT_RESOLVE_HOST)
		status = HTTP_NO_ADDRESS;
	long err = 0;
	if (rc == CURLE_COULDNT_CONNECT && !r->why[0] &&
		curl_easy_getinfo(r->easy, CURLINFO_OS_ERRNO, &err) == CURLE_OK && err)
		snprintf(r->why, sizeof(r->why), "%.180s port %u: %s", r->url.host, r->url.port,
			strerror((int)err)); /* libcurl's text does not say why */
	const char *error = r->why[0] ? r->why : r->error[0] ? r->error : curl_easy_strerror(rc);
	request_done(r, log_quote(error, strlen(error)), status);
}

static void read_messages(struct http *h)
{
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left))) {
		struct http_request *r;
		CURLcode rc = m->data.result;
		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &r);
		request_ended(r, rc);
	}
}

/* -- the client -------------------------------------------------------------------------- */

int http_new(struct loop *loop, struct http **ret)
{
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -ENOMEM;
	struct http *h = xcalloc(1, sizeof(*h));
	TAILQ_INIT(&h->requests);
	h->loop = loop;
	h->multi = curl_multi_init();
	h->timer = event_new(loop_base(loop), -1, 0, on_timer, h);
	if (!h->multi || !h->timer) {
		http_free(h);
		return -ENOMEM;
	}
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, curl_wants_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, curl_wants_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)HTTP_MAX_IDLE);
	curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
	*ret = h;
	return 0;
}

void http_free(struct http *h)
{
	struct http_request *r;

	if (!h)
		return;
	while ((r = TAILQ_FIRST(&h->requests)))
		request_free(r);
	if (h->multi)
		curl_multi_cleanup(h->multi);
	if (h->timer)
		event_free(h->timer);
	free(h->cafile);
	free(h);
	curl_global_cleanup();
}

struct loop *http_loop(const struct http *h)
{
	return h->loop;
}

void http_set_source(struct http *h, const struct addr *from)
{
	h->source = *from;
}

void http_set_cafile(struct http *h, const char *path)
{
	free(h->cafile);
	h->cafile = path ? xstrdup(path) : NULL;
}
