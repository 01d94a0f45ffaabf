/* SPDX-License-Identifier: MIT */
/* p2pfs tracker status: see status.h.
 *
 * Asks /stats.json of the tracker or of its control address, and prints it for people or as it is.
 *
 * Thread: the main one.
 */
#include "tracker/status.h"

#include "base/addr.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/mem.h"

#include <curl/curl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define NAME "tracker status"
#define REPLY_MAX (1u << 20)
#define TIMEOUT_S 10L

static const char usage[] =
	"usage: p2pfs tracker status [ADDR:PORT|URL] [--json] [--token FILE]\n"
	"\n"
	"Asks a running tracker, or its control address, how it does (default 127.0.0.1:6969).\n"
	"\n"
	"  --json        as JSON\n"
	"  --token FILE  the bearer token that the control address wants\n"
	"  --help        this text\n";

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
	struct buf *b = arg;
	if (b->len + size * n > REPLY_MAX)
		return 0;
	buf_add(b, data, size * n);
	return size * n;
}

/* 0, or the exit status. */
static int fetch(const char *url, const char *token, struct buf *ret)
{
	char why[CURL_ERROR_SIZE] = "";
	long status = 0;
	CURL *curl = curl_easy_init();
	if (!curl)
		return cli_fail(NAME, "libcurl does not start");
	struct curl_slist *headers = NULL;
	if (token) {
		CLEANUP_FREE char *header = xasprintf("Authorization: Bearer %s", token);
		headers = curl_slist_append(NULL, header);
	}
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, ret);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	if (code != CURLE_OK)
		return cli_fail(NAME, "%s: %s", url, *why ? why : curl_easy_strerror(code));
	if (status == 401)
		return cli_fail(NAME, "%s: it wants the right --token", url);
	if (status == 404)
		return cli_fail(NAME, "%s: not there; has it a --control address?", url);
	if (status != 200)
		return cli_fail(NAME, "%s: HTTP status %ld", url, status);
	return EXIT_OK;
}

static long long value(const json_t *o, const char *key)
{
	return json_integer_value(json_object_get(o, key));
}

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));
	return s ? log_quote(s, strlen(s)) : "?";
}

static void show(const json_t *o)
{
	char size[32];
	const json_t *announces = json_object_get(o, "announces"), *http = json_object_get(o, "http");
	const json_t *state = json_object_get(o, "state"), *cluster = json_object_get(o, "cluster");
	long long up = value(o, "uptime"), memory = value(o, "memory");
	printf("version    %s, up %lld:%02lld:%02lld\n", text(o, "version"), up / 3600,
		up % 3600 / 60, up % 60);
	printf("peers      %lld (%lld seeds, %lld leechers; %lld IPv6) of %lld torrents, %s\n",
		value(o, "peers"), value(o, "seeds"), value(o, "leechers"), value(o, "peers_ipv6"),
		value(o, "torrents"), format_size(memory > 0 ? (uint64_t)memory : 0, size));
	printf("announces  %.1f a second; %lld UDP, %lld HTTP, %lld HTTPS; %lld refused\n",
		json_number_value(json_object_get(o, "announces_per_second")),
		value(announces, "udp"), value(announces, "http"), value(announces, "https"),
		value(o, "refused"));
	printf("http       %lld open, %lld bad, %lld evicted, %lld too slow\n", value(http, "open"),
		value(http, "bad"), value(http, "evicted"), value(http, "timed_out"));
	printf("state      %s, %lld rows written, %lld s behind, %lld errors\n",
		text(state, "is"), value(state, "written"), value(state, "behind"),
		value(state, "errors"));
	printf("cluster    %s, %lld changes told, %lld heard, %lld outages\n", text(cluster, "is"),
		value(cluster, "sent"), value(cluster, "received"), value(cluster, "outages"));
}

int cmd_tracker_status(int argc, char **argv)
{
	static const struct option long_options[] = {
		{"json", no_argument, NULL, 'j'},
		{"token", required_argument, NULL, 't'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	bool as_json = false;
	const char *token_file = NULL;
	CLEANUP_FREE uint8_t *token = NULL;
	optind = 1;
	opterr = 0;
	for (int at = optind, c; (c = getopt_long(argc, argv, "", long_options, NULL)) >= 0;
		at = optind) {
		if (c == 'j') {
			as_json = true;
		} else if (c == 't') {
			token_file = optarg;
		} else if (c == 'h') {
			fputs(usage, stdout);
			return EXIT_OK;
		} else {
			return cli_usage(NAME, "%s: unknown, or its value is missing", argv[at]);
		}
	}
	if (argc - optind > 1)
		return cli_usage(NAME, "%s: one tracker at a time", argv[optind + 1]);
	const char *where = optind < argc ? argv[optind] : "127.0.0.1:6969";
	size_t len = 0;
	int err = token_file ? read_file(token_file, 1024, &token, &len) : 0;
	if (err < 0)
		return cli_fail(NAME, "%s: %s", token_file, strerror(-err));
	if (token)
		token[strcspn((char *)token, "\r\n")] = '\0';
	CLEANUP_FREE char *url = xasprintf("%s%s/stats.json", strstr(where, "://") ? "" : "http://",
		where);
	CLEANUP(buf_done) struct buf reply = {0};
	int status = fetch(url, (char *)token, &reply);
	if (status != EXIT_OK)
		return status;
	json_t *o = json_loadb((const char *)buf_bytes(&reply), reply.len, 0, NULL);
	if (!json_is_object(o)) {
		json_decref(o);
		return cli_fail(NAME, "%s: no tracker of this kind", url);
	}
	if (as_json)
		fwrite(buf_bytes(&reply), 1, reply.len, stdout);
	else
		show(o);
	json_decref(o);
	return EXIT_OK;
}
