// SPDX-License-Identifier: MIT
/* The URLs of trackers and web seeds: see url.h.
 *
 * libcurl's own URL parser does the parsing, so that what is checked here is what libcurl connects
 * to; it turns odd spellings of IPv4 addresses (0x7f.1) into dotted ones.
 *
 * Thread: any.
 */
#include "swarm/url.h"
#include "base/cleanup.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

static void cleanup_curl_url(CURLU **u)
{
	curl_url_cleanup(*u);
}

static void cleanup_curl_free(char **s)
{
	curl_free(*s);
}

static int scheme_parse(const char *scheme, enum url_scheme *ret)
{
	static const char *const names[] = {
		[URL_HTTP] = "http", [URL_HTTPS] = "https", [URL_UDP] = "udp"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcasecmp(scheme, names[i]) == 0) {
			*ret = (enum url_scheme)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* "/announce", "/announce.php", "/KEY/announce": a part of the path begins with it. */
static bool path_says_announce(const char *path)
{
	size_t len = strcspn(path, "?");

	for (const char *p = path; (p = strstr(p, "/announce")) && p < path + len; p++)
		return true;
	return false;
}

static int host_take(const char *host, struct url *u)
{
	size_t len = strlen(host);

	if (!len)
		return -EINVAL;
	/* addr_parse takes "[::1]" and "1.2.3.4"; a name can have neither form. */
	u->is_address = !strchr(host, ':') || host[0] == '['
				? addr_parse(host, u->port, &u->addr) == 0
				: false;
	if (host[0] == '[') {
		if (!u->is_address)
			return -EINVAL;
		u->host = xstrndup(host + 1, len - 2);
	} else {
		u->host = xstrdup(host);
	}
	u->names_loopback =
		u->is_address ? addr_is_loopback(&u->addr) : strcasecmp(host, "localhost") == 0;
	return 0;
}

static const char *parse(const char *text, CURLU *curl, struct url *u)
{
	CLEANUP(cleanup_curl_free) char *scheme = NULL, *host = NULL, *port = NULL, *path = NULL;
	CLEANUP(cleanup_curl_free) char *query = NULL, *zone = NULL;

	if (strlen(text) > URL_MAX)
		return "longer than 8192 bytes";
	for (const char *p = text; *p; p++)
		if ((uint8_t)*p <= ' ' || *p == 0x7f)
			return "a blank or control character in it";
	CURLUcode rc = curl_url_set(curl, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME);
	if (rc == CURLUE_BAD_SCHEME)
		return "no scheme: http, https or udp";
	if (rc)
		return "not a valid URL";
	if (curl_url_get(curl, CURLUPART_SCHEME, &scheme, 0) || scheme_parse(scheme, &u->scheme))
		return "scheme is none of http, https, udp";
	if (curl_url_get(curl, CURLUPART_ZONEID, &zone, 0) == CURLUE_OK)
		return "a link-local address";
	if (curl_url_get(
		    curl, CURLUPART_PORT, &port, u->scheme == URL_UDP ? 0 : CURLU_DEFAULT_PORT))
		return "a udp tracker's URL needs a port";
	u->port = (uint16_t)strtoul(port, NULL, 10); /* libcurl has checked that it is one */
	if (!u->port)
		return "port 0";
	if (curl_url_get(curl, CURLUPART_HOST, &host, 0) || host_take(host, u) < 0)
		return "no valid host";
	if (curl_url_get(curl, CURLUPART_PATH, &path, 0))
		return "not a valid path";
	bool asks = curl_url_get(curl, CURLUPART_QUERY, &query, 0) == CURLUE_OK;
	u->path = xasprintf("%s%s%s", path, asks ? "?" : "", asks ? query : "");
	u->says_announce = path_says_announce(u->path);
	return NULL;
}

int url_parse(const char *text, struct url *ret, const char **ret_why)
{
	CLEANUP(cleanup_curl_url) CURLU *curl = curl_url();
	struct url u = {0};

	const char *why = curl ? parse(text, curl, &u) : "out of memory";
	if (why) {
		url_done(&u);
		*ret_why = why;
		return -EINVAL;
	}
	*ret = u;
	return 0;
}

void url_done(struct url *u)
{
	free(u->host);
	free(u->path);
	*u = (struct url) {0};
}

enum url_reach url_reach(const struct addr *a)
{
	if (addr_is_loopback(a))
		return URL_HOST;
	return addr_is_private(a) ? URL_SITE : URL_WORLD;
}

const char *url_refuses(
	const struct url *u, bool tracker, const struct addr *a, enum url_reach from)
{
	if (addr_is_link_local(a))
		return "leads to a link-local address";
	if (addr_is_any(a) || addr_is_multicast(a))
		return "leads to an address that is no host's";
	enum url_reach reach = url_reach(a);
	if (reach < from)
		return reach == URL_HOST ? "redirects to a loopback address"
					 : "redirects from a public to a private address";
	if (reach != URL_HOST)
		return NULL;
	if (!u->names_loopback)
		return "the name leads to a loopback address";
	if (tracker && !u->says_announce)
		return "a loopback address, and the path does not say announce";
	return NULL;
}

char *url_escape(const void *data, size_t len, const char *keep)
{
	static const char unreserved[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
	static const char digits[] = "0123456789ABCDEF";
	const uint8_t *in = data;
	char *out = xmalloc(3 * len + 1), *p = out;

	for (size_t i = 0; i < len; i++) {
		if (in[i] && (strchr(unreserved, in[i]) || strchr(keep, in[i]))) {
			*p++ = (char)in[i];
		} else {
			*p++ = '%';
			*p++ = digits[in[i] >> 4];
			*p++ = digits[in[i] & 15];
		}
	}
	*p = '\0';
	return out;
}
