/* SPDX-License-Identifier: MIT */
/* What the commands share: usage, error lines, sizes, rates, progress, whole files.
 *
 * Exit statuses: 0 done, 1 failed, 2 wrong usage (mount.p2pfs has mount(8)'s instead).
 *
 * Thread: the main one.
 */
#ifndef BASE_CLI_H
#define BASE_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* One row of the command table: name, function, one line of help. */
struct command {
	const char *name;
	int (*run)(int argc, char **argv); /* argv[0] is its name; gives the exit status */
	const char *summary;
};

/* "p2pfs COMMAND: ..." to stderr; gives EXIT_FAILED, EXIT_USAGE (which also points to --help). */
int cli_fail(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
int cli_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same for what getopt_long did not take: it gave `c`, '?' or ':' (with a ':' in front of the
 * letters). */
int cli_bad_option(const char *command, int c, char **argv);
/* Ends the output: EXIT_OK, or EXIT_FAILED with a message when stdout could not be written. */
int cli_flush(const char *command);

/* "64", "16K", "4M", "1G" (1024s) in bytes; -EINVAL, -ERANGE. */
int parse_size(const char *text, uint64_t *ret);
/* "800K", "10M", "1G" (1000s, bits per second), "0" for no limit; in bytes per second. -EINVAL. */
int parse_rate(const char *text, uint64_t *ret);
/* A decimal number within [min, max]; -EINVAL, -ERANGE. */
int parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
/* "4.0 GiB", "17 MB/s" style, for people. */
char *format_size(uint64_t bytes, char ret[32]);
char *format_rate(uint64_t bytes_per_s, char ret[32]);

/* A progress bar on stderr when that is a terminal, else nothing. */
struct progress {
	const char *what;
	uint64_t total, last_us;
	bool on;
};
void progress_begin(struct progress *p, const char *what, uint64_t total);
void progress_show(struct progress *p, uint64_t done);
void progress_end(struct progress *p);

/* A whole file of at most `max` bytes, malloc'd, with a NUL behind it; -errno, -EFBIG. */
int read_file(const char *path, size_t max, uint8_t **ret, size_t *ret_len);
/* Writes `path` anew by a temporary file beside it, synced and renamed; -errno. */
int write_file(const char *path, const void *data, size_t len, unsigned mode);

#endif
