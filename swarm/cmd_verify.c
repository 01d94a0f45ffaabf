// SPDX-License-Identifier: MIT
/* p2pfs verify: hashes the files of a torrent where they lie and tells what is bad: which pieces,
 * and which bytes of which files they are.
 *
 * A hybrid's piece is good when both its hashes match.
 *
 * Thread: the main one (scan.h has its own).
 */
#include "base/cleanup.h"
#include "base/cli.h"
#include "base/mem.h"
#include "swarm/commands.h"
#include "swarm/describe.h"
#include "swarm/metainfo.h"
#include "swarm/scan.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NAME "verify"

static const char help[] =
	"usage: p2pfs verify TORRENT [PATH] [-j N] [--json]\n"
	"\n"
	"Hashes the file or folder PATH (default: the torrent's name, in the current folder) and "
	"tells\n"
	"what is not as the torrent says.  Exit status: 0 all is good, 1 something is bad.\n"
	"\n"
	"  -j, --threads N  hash on N threads (default: one a processor)\n"
	"      --json       tell it as JSON\n"
	"  -V, --version\n"
	"  -h, --help\n";

struct verification {
	struct metainfo *m;
	char *path; /* owned; the file or folder */
	int dir; /* that scan.h's paths are relative to */
	struct scan_file *files; /* owned; as many as m has */
	uint64_t *sizes; /* owned; as found */
	int *missing; /* owned; 0 or -errno */
	uint8_t (*sha1s)[SHA1_LEN]; /* owned */
	uint8_t (*roots)[SHA256_LEN]; /* owned */
	bool *good; /* owned; of each piece */
	uint32_t n_good, n_bad_files;
	struct progress progress;
};

static void verification_done(struct verification *v)
{
	metainfo_free(v->m);
	free(v->path);
	free(v->files);
	free(v->sizes);
	free(v->missing);
	free(v->sha1s);
	free(v->roots);
	free(v->good);
	if (v->dir >= 0)
		close(v->dir);
}

/* -- hashing --------------------------------------------------------------------------------- */

/* Finds the folder or file; a single file may be given by the folder that it is in. */
static int find(struct verification *v, const char *path)
{
	struct stat st;

	v->path = xstrdup(path ? path : v->m->name);
	if (stat(v->path, &st) < 0)
		return cli_fail(NAME, "%s: %s", v->path, strerror(errno));
	if (!v->m->single) {
		v->dir = open(v->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return v->dir < 0 ? cli_fail(NAME, "%s: %s", v->path, strerror(errno)) : EXIT_OK;
	}
	if (S_ISDIR(st.st_mode)) {
		char *inside = xasprintf("%s/%s", v->path, v->m->name);
		free(v->path);
		v->path = inside;
	}
	return EXIT_OK;
}

static void look_at_files(struct verification *v)
{
	const struct metainfo *m = v->m;

	v->files = xcalloc(m->n_files, sizeof(*v->files));
	v->sizes = xcalloc(m->n_files, sizeof(*v->sizes));
	v->missing = xcalloc(m->n_files, sizeof(*v->missing));
	for (uint32_t i = 0; i < m->n_files; i++) {
		struct scan_file *f = &v->files[i];
		struct stat st;
		f->path = m->single ? v->path : m->files[i].path;
		f->offset = m->files[i].offset;
		f->length = m->files[i].length;
		if (fstatat(v->dir, f->path, &st, 0) < 0)
			v->missing[i] = -errno;
		else if (!S_ISREG(st.st_mode))
			v->missing[i] = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
		else
			v->sizes[i] = (uint64_t)st.st_size;
	}
}

static void on_progress(void *arg, uint64_t done)
{
	progress_show(arg, done);
}

static void compare(struct verification *v)
{
	const struct metainfo *m = v->m;

	for (uint32_t p = 0; v->sha1s && p < m->n_pieces; p++) {
		if (memcmp(v->sha1s[p], m->pieces + (size_t)p * SHA1_LEN, SHA1_LEN))
			v->good[p] = false;
	}
	for (uint32_t i = 0; v->roots && i < m->n_files; i++) {
		const struct metainfo_file *f = &m->files[i];
		for (uint32_t k = 0; k < f->n_pieces; k++) {
			if (memcmp(v->roots[f->first_piece + k], f->layer + (size_t)k * SHA256_LEN,
				    SHA256_LEN))
				v->good[f->first_piece + k] = false;
		}
	}
	for (uint32_t p = 0; p < m->n_pieces; p++)
		v->n_good += v->good[p];
}

static int hash(struct verification *v, unsigned threads)
{
	const struct metainfo *m = v->m;

	v->good = xcalloc(m->n_pieces, sizeof(*v->good));
	v->sha1s = m->has_v1 ? xcalloc(m->n_pieces, sizeof(*v->sha1s)) : NULL;
	v->roots = m->has_v2 ? xcalloc(m->n_pieces, sizeof(*v->roots)) : NULL;
	struct scan s = {
		.dir = v->dir,
		.files = v->files,
		.n_files = m->n_files,
		.piece_length = m->piece_length,
		.n_pieces = m->n_pieces,
		.space = m->max_v1_space,
		.keep_going = true,
		.threads = threads,
		.sha1s = v->sha1s,
		.roots = v->roots,
		.readable = v->good,
		.progress = on_progress,
		.arg = &v->progress,
	};
	progress_begin(&v->progress, "hashing", s.space);
	int r = scan_run(&s);
	progress_end(&v->progress);
	if (r < 0)
		return cli_fail(NAME, "threads: %s", strerror(-r));
	compare(v);
	return EXIT_OK;
}

/* -- telling --------------------------------------------------------------------------------- */

/* What is wrong with a file as a whole (malloc'd), or NULL. */
static char *file_problem(const struct verification *v, uint32_t i)
{
	const struct scan_file *f = &v->files[i];

	if (v->missing[i])
		return xstrdup(
			v->missing[i] == -EINVAL ? "not a regular file" : strerror(-v->missing[i]));
	if (v->sizes[i] != f->length)
		return xasprintf("%" PRIu64 " bytes, not %" PRIu64, v->sizes[i], f->length);
	if (f->error == -ENODATA)
		return xstrdup("became shorter while it was read");
	return f->error ? xstrdup(strerror(-f->error)) : NULL;
}

/* Bytes of one file that lie in a run of bad pieces. */
struct stretch {
	uint32_t file, first_piece, last_piece;
	uint64_t offset, length; /* in the file */
};

/* Calls `tell` for each; runs of bad pieces are told as one. */
static void each_stretch(const struct verification *v,
	void (*tell)(const struct verification *v, const struct stretch *s, void *arg), void *arg)
{
	const struct metainfo *m = v->m;

	for (uint32_t p = 0; p < m->n_pieces; p++) {
		if (v->good[p])
			continue;
		struct stretch s = {.first_piece = p};
		while (p + 1 < m->n_pieces && !v->good[p + 1])
			p++;
		s.last_piece = p;
		uint64_t begin = (uint64_t)s.first_piece * m->piece_length;
		uint64_t end = ((uint64_t)p + 1) * m->piece_length;
		for (s.file = metainfo_file_at(m, begin);
			s.file < m->n_files && m->files[s.file].offset < end; s.file++) {
			const struct metainfo_file *f = &m->files[s.file];
			uint64_t from = MAX(begin, f->offset), to = MIN(end, f->offset + f->length);
			s.offset = from - f->offset;
			s.length = to - from;
			if (f->length)
				tell(v, &s, arg);
		}
	}
}

static void tell_stretch(const struct verification *v, const struct stretch *s, void *arg)
{
	CLEANUP_FREE char *path = describe_path(v->m, s->file), *text = describe_text(path);
	CLEANUP_FREE char *whole = file_problem(v, s->file);

	/* What was said of the file says it of its pieces. */
	if (whole && v->sizes[s->file] < v->files[s->file].length)
		return;
	printf("bad: %s: bytes %" PRIu64 "-%" PRIu64 " (", text, s->offset,
		s->offset + s->length - 1);
	if (s->first_piece == s->last_piece)
		printf("piece %u)\n", s->first_piece);
	else
		printf("pieces %u-%u)\n", s->first_piece, s->last_piece);
}

static void tell_text(struct verification *v)
{
	const struct metainfo *m = v->m;
	CLEANUP_FREE char *name = describe_text(m->name);

	for (uint32_t i = 0; i < m->n_files; i++) {
		CLEANUP_FREE char *problem = file_problem(v, i), *path = describe_path(m, i);
		CLEANUP_FREE char *text = describe_text(path);
		if (problem)
			printf("bad: %s: %s\n", text, problem);
		v->n_bad_files += problem != NULL;
	}
	each_stretch(v, tell_stretch, NULL);
	if (v->n_good == m->n_pieces)
		printf("%s: all %u pieces are good%s\n", name, m->n_pieces,
			v->n_bad_files ? ", but not all files" : "");
	else
		printf("%s: %u of %u pieces are bad\n", name, m->n_pieces - v->n_good, m->n_pieces);
}

static void add_stretch(const struct verification *v, const struct stretch *s, void *arg)
{
	CLEANUP_FREE char *path = describe_path(v->m, s->file);

	json_array_append_new(
		arg, json_pack("{s:o, s:I, s:I, s:i, s:i}", "path", describe_string(path), "offset",
			     (json_int_t)s->offset, "length", (json_int_t)s->length, "first_piece",
			     (int)s->first_piece, "last_piece", (int)s->last_piece));
}

static void tell_json(struct verification *v)
{
	const struct metainfo *m = v->m;
	json_t *j = json_object(), *pieces = json_array(), *bad = json_array(),
	       *files = json_array();

	for (uint32_t p = 0; p < m->n_pieces; p++) {
		if (!v->good[p])
			json_array_append_new(pieces, json_integer(p));
	}
	for (uint32_t i = 0; i < m->n_files; i++) {
		CLEANUP_FREE char *problem = file_problem(v, i), *path = describe_path(m, i);
		if (problem)
			json_array_append_new(
				files, json_pack("{s:o, s:s}", "path", describe_string(path),
					       "problem", problem));
		v->n_bad_files += problem != NULL;
	}
	each_stretch(v, add_stretch, bad);
	json_object_set_new(j, "name", describe_string(m->name));
	json_object_set_new(j, "path", describe_string(v->path));
	json_object_set_new(j, "good", json_boolean(v->n_good == m->n_pieces && !v->n_bad_files));
	json_object_set_new(j, "pieces", json_integer(m->n_pieces));
	json_object_set_new(j, "good_pieces", json_integer(v->n_good));
	json_object_set_new(j, "bad_pieces", pieces);
	json_object_set_new(j, "bad_ranges", bad);
	json_object_set_new(j, "bad_files", files);
	describe_print(j);
}

static int verify(const char *torrent, const char *path, unsigned threads, bool json)
{
	CLEANUP(verification_done) struct verification v = {.dir = AT_FDCWD};
	CLEANUP_FREE char *why = NULL;

	if (metainfo_load(torrent, &v.m, &why) < 0)
		return cli_fail(NAME, "%s: %s", torrent, why);
	int status = find(&v, path);
	if (status != EXIT_OK)
		return status;
	look_at_files(&v);
	status = hash(&v, threads);
	if (status != EXIT_OK)
		return status;
	if (json)
		tell_json(&v);
	else
		tell_text(&v);
	status = cli_flush(NAME);
	return v.n_good == v.m->n_pieces && !v.n_bad_files ? status : EXIT_FAILED;
}

int cmd_verify(int argc, char **argv)
{
	static const struct option options[] = {
		{"threads", required_argument, NULL, 'j'},
		{"json", no_argument, NULL, 'J'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	uint64_t threads = scan_default_threads();
	bool json = false;
	int option;

	optind = 0;
	while ((option = getopt_long(argc, argv, ":j:Vh", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			if (parse_number(optarg, 1, SCAN_MAX_THREADS, &threads) < 0)
				return cli_usage(NAME, "-j %s: not within 1 and %u", optarg,
					SCAN_MAX_THREADS);
			break;
		case 'J':
			json = true;
			break;
		case 'V':
			printf("p2pfs %s\n", P2PFS_VERSION);
			return cli_flush(NAME);
		case 'h':
			fputs(help, stdout);
			return cli_flush(NAME);
		default:
			return cli_bad_option(NAME, option, argv);
		}
	}
	if (optind == argc)
		return cli_usage(NAME, "TORRENT: missing: which one?");
	if (optind + 2 < argc)
		return cli_usage(NAME, "%s: only one PATH", argv[optind + 2]);
	return verify(
		argv[optind], optind + 1 < argc ? argv[optind + 1] : NULL, (unsigned)threads, json);
}
