// SPDX-License-Identifier: MIT
/* What the commands share: see cli.h.
 *
 * Thread: the main one.
 */
#include "base/cli.h"
#include "base/cleanup.h"
#include "base/loop.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int cli_fail(const char *command, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	CLEANUP_FREE char *text = xvasprintf(format, ap);
	va_end(ap);
	fprintf(stderr, "p2pfs %s: %s\n", command, text);
	return EXIT_FAILED;
}

int cli_usage(const char *command, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	CLEANUP_FREE char *text = xvasprintf(format, ap);
	va_end(ap);
	fprintf(stderr, "p2pfs %s: %s\n", command, text);
	fprintf(stderr, "Try 'p2pfs %s --help'.\n", command);
	return EXIT_USAGE;
}

int cli_bad_option(const char *command, int c, char **argv)
{
	const char *arg = argv[optind - 1];

	if (c == ':')
		return cli_usage(command, "%s: needs a value", arg);
	if (!optopt)
		return cli_usage(command, "%s: no such option", arg);
	if (!strncmp(arg, "--", 2) && strchr(arg, '='))
		return cli_usage(command, "%s: takes no value", arg);
	return cli_usage(command, "-%c: no such option", optopt);
}

int cli_flush(const char *command)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_OK;
	return cli_fail(command, "standard output: %s", strerror(errno));
}

/* -- numbers --------------------------------------------------------------------------------- */

/* Digits, then what `*ret_rest` points to. */
static int parse_digits(const char *text, uint64_t *ret, const char **ret_rest)
{
	uint64_t v = 0;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	for (; *text >= '0' && *text <= '9'; text++)
		if (__builtin_mul_overflow(v, 10, &v) ||
			__builtin_add_overflow(v, (uint64_t)(*text - '0'), &v))
			return -ERANGE;
	*ret = v;
	*ret_rest = text;
	return 0;
}

/* A number with one of K, M, G, T behind it, or none. */
static int parse_scaled(const char *text, uint64_t base, uint64_t *ret)
{
	static const char units[] = "KMGT";
	const char *rest;
	uint64_t v;

	int err = parse_digits(text, &v, &rest);
	if (err)
		return err;
	if (*rest) {
		char upper = *rest >= 'a' && *rest <= 'z' ? (char)(*rest - 'a' + 'A') : *rest;
		const char *unit = strchr(units, upper);
		if (!unit || rest[1])
			return -EINVAL;
		for (const char *u = units; u <= unit; u++)
			if (__builtin_mul_overflow(v, base, &v))
				return -ERANGE;
	}
	*ret = v;
	return 0;
}

int parse_size(const char *text, uint64_t *ret)
{
	return parse_scaled(text, 1024, ret);
}

int parse_rate(const char *text, uint64_t *ret)
{
	uint64_t bits;

	if (parse_scaled(text, 1000, &bits))
		return -EINVAL;
	*ret = bits / 8 + (bits % 8 != 0); /* 0 would lift the limit */
	return 0;
}

int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
	const char *rest;
	uint64_t v;

	int err = parse_digits(text, &v, &rest);
	if (err == -EINVAL || (!err && *rest))
		return -EINVAL;
	if (err || v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

static char *format_scaled(uint64_t v, unsigned base, const char *const *units, size_t n, char *ret)
{
	double scaled = (double)v;
	size_t unit = 0;

	/* 999.95 would print as 1000.0. */
	for (; unit + 1 < n && scaled >= base - 0.05; unit++)
		scaled /= base;
	snprintf(ret, 32, unit ? "%.1f %s" : "%.0f %s", scaled, units[unit]);
	return ret;
}

char *format_size(uint64_t bytes, char ret[32])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

	return format_scaled(bytes, 1024, units, ARRAY_SIZE(units), ret);
}

char *format_rate(uint64_t bytes_per_s, char ret[32])
{
	static const char *const units[] = {"B/s", "kB/s", "MB/s", "GB/s", "TB/s", "PB/s", "EB/s"};

	return format_scaled(bytes_per_s, 1000, units, ARRAY_SIZE(units), ret);
}

/* -- progress -------------------------------------------------------------------------------- */

#define PROGRESS_EVERY (100 * US_PER_MS)
#define PROGRESS_WIDTH 30

static void progress_draw(const struct progress *p, uint64_t done)
{
	char bar[PROGRESS_WIDTH + 1], have[32], total[32];
	double part = p->total ? MIN((double)done / (double)p->total, 1.0) : 1.0;
	size_t filled = (size_t)(part * PROGRESS_WIDTH);

	memset(bar, '.', PROGRESS_WIDTH);
	memset(bar, '#', filled);
	bar[PROGRESS_WIDTH] = '\0';
	fprintf(stderr, "\r%s [%s] %3d %%  %s of %s\033[K", p->what, bar, (int)(part * 100),
		format_size(done, have), format_size(p->total, total));
}

void progress_begin(struct progress *p, const char *what, uint64_t total)
{
	*p = (struct progress) {.what = what, .total = total, .on = isatty(STDERR_FILENO) == 1};
	progress_show(p, 0);
}

void progress_show(struct progress *p, uint64_t done)
{
	uint64_t now = clock_us();

	if (!p->on || (p->last_us && now - p->last_us < PROGRESS_EVERY))
		return;
	p->last_us = now;
	progress_draw(p, done);
}

void progress_end(struct progress *p)
{
	if (p->on)
		fputs("\r\033[K", stderr);
	p->on = false;
}

/* -- whole files ----------------------------------------------------------------------------- */

int read_file(const char *path, size_t max, uint8_t **ret, size_t *ret_len)
{
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	CLEANUP_FREE uint8_t *data = NULL;
	size_t len = 0, cap = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size > max)
		return -EFBIG;
	for (;;) {
		/* One byte more than allowed shows that there is more, one is for the NUL. */
		if (len + 1 >= cap) {
			cap = cap ? 2 * cap : S_ISREG(st.st_mode) ? (size_t)st.st_size + 2 : 65536;
			cap = MIN(cap, max + 2);
			uint8_t *more = realloc(data, cap);
			if (!more)
				return -ENOMEM;
			data = more;
		}
		ssize_t n = read(fd, data + len, cap - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
		if (n == 0)
			break;
	}
	data[len] = '\0';
	*ret = steal_ptr(&data);
	*ret_len = len;
	return 0;
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = write(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int sync_folder_of(const char *path)
{
	CLEANUP_FREE char *copy = xstrdup(path);
	CLEANUP_CLOSE int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	/* Some file systems cannot sync a folder, and none need it then. */
	if (fd < 0 || (fsync(fd) < 0 && errno != EINVAL))
		return -errno;
	return 0;
}

static int write_beside(const char *path, const void *data, size_t len, unsigned mode)
{
	CLEANUP_FREE char *temporary = xasprintf("%s.XXXXXX", path);
	CLEANUP_CLOSE int fd = mkostemp(temporary, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	int err = write_all(fd, data, len);
	if (!err && (fchmod(fd, mode) < 0 || fsync(fd) < 0 || rename(temporary, path) < 0))
		err = -errno;
	if (err) {
		unlink(temporary);
		return err;
	}
	return sync_folder_of(path);
}

int write_file(const char *path, const void *data, size_t len, unsigned mode)
{
	struct stat st;

	/* A pipe or a device (-o /dev/stdout) is written to, not replaced. */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		CLEANUP_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
		return fd < 0 ? -errno : write_all(fd, data, len);
	}
	/* A link goes on pointing to its file. */
	CLEANUP_FREE char *real = realpath(path, NULL);
	return write_beside(real ? real : path, data, len, mode);
}
