/* SPDX-License-Identifier: MIT */
/* p2pfs mount, and mount(8)'s helper: the command lines, and what their ends are called.
 *
 * The helper's form is mount.p2pfs SPEC DIR [-sfnvh] [-N NAMESPACE] [-o OPTIONS] [-t TYPE], where
 * -f is fake and -s sloppy; mount.fuse3 calls `p2pfs SPEC DIR -o OPTIONS`.
 *
 * Thread: the main one.
 */
#include "fs/fs.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/log.h"
#include "base/mem.h"
#include "fs/daemon.h"
#include "fs/options.h"
#include "fs/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

/* mount(8), "EXIT STATUS". */
enum {
	MOUNT_OK = 0,
	MOUNT_USAGE = 1,
	MOUNT_SYSTEM = 2,
	MOUNT_BUG = 4,
	MOUNT_INTERRUPTED = 8,
	MOUNT_FAILED = 32,
};

struct mounting {
	struct mount_options options;
	struct serve_request request;
	struct daemon daemon;
	bool helper, foreground;
	const char *debug; /* -D, over -o debug= */
};

static const char help_text[] =
	"usage: p2pfs mount TORRENT|URL|MAGNET MOUNTPOINT [-o OPTION,...] [--foreground]\n"
	"                   [--ready-fd N] [-D CATEGORY,...]\n"
	"\n"
	"Shows the files of a torrent at MOUNTPOINT, a folder, or, for a torrent of one file, an\n"
	"existing file.  What is read and not here yet is fetched, verified and then answered.\n"
	"Returns when the files can be read.\n"
	"\n"
	"  --foreground   stay; end by SIGTERM, ^C or umount\n"
	"  --ready-fd N   write a newline to descriptor N once the mount answers, else why not\n"
	"  -D CATEGORY    debug lines: peer, tracker, disk, fuse, pick, http, or all\n"
	"\n"
	"  -o store=DIR          where the bytes are kept (/var/lib/p2pfs; who is not root:\n"
	"                        ~/.local/share/p2pfs)\n"
	"  -o listen=ADDR:PORT   where peers connect to; port 0: any\n"
	"  -o peer=ADDR:PORT     a peer to ask, again and again for more\n"
	"  -o tracker=URL        a tracker besides the torrent's, likewise\n"
	"  -o fill=on|off        fetch what nobody reads, too (on)\n"
	"  -o seed=on|off        give to others (on)\n"
	"  -o up=RATE,down=RATE  bits per second, like 10M\n"
	"  -o peers=N            connections at most\n"
	"  -o verify=auto|trust|lazy|full   what the store's record is worth; auto: all after\n"
	"                        a clean stop, else what it says is hashed again\n"
	"  -o profile=FILE|off   what a boot reads, to be fetched first (NAME.profile beside\n"
	"                        NAME.torrent; else the torrent's own, else the last mount's)\n"
	"  -o timeout=SECONDS    EIO for a read that waited so long, no mount for a magnet link\n"
	"                        without peers (0: wait for ever)\n"
	"  -o io=auto|direct|cached    how the kernel reads (auto)\n"
	"  -o allow_other        not only the user who mounts\n"
	"  -o uid=N,gid=N,mode=OCTAL   owner and mode of the files (who mounts, 444)\n"
	"  -o setuid=NAME        drop root after mounting\n"
	"  -o log=FILE,debug=CATEGORY,cafile=FILE\n"
	"\n"
	"p2pfs-mount(8) tells more.\n";

static int status_of(const struct mounting *m, enum serve_fault fault)
{
	static const int helper[] = {
		[SERVE_OK] = MOUNT_OK,
		[SERVE_USAGE] = MOUNT_USAGE,
		[SERVE_SYSTEM] = MOUNT_SYSTEM,
		[SERVE_INTERNAL] = MOUNT_BUG,
		[SERVE_INTERRUPTED] = MOUNT_INTERRUPTED,
		[SERVE_FAILED] = MOUNT_FAILED,
	};
	if (m->helper)
		return helper[fault];
	return fault == SERVE_OK ? EXIT_OK : fault == SERVE_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

/* Says why, on stderr and to --ready-fd; takes `why`. */
static int fail(struct mounting *m, enum serve_fault fault, char *why)
{
	CLEANUP_FREE char *message = why;
	int status = status_of(m, fault);
	if (fault == SERVE_USAGE && !m->helper)
		cli_usage("mount", "%s", message);
	else
		cli_fail("mount", "%s", message);
	return daemon_has_failed(&m->daemon, status, message);
}

/* Paths that are used again once the daemon stands at "/". */
static void make_absolute(char **path)
{
	if (!*path || **path == '/')
		return;
	CLEANUP_FREE char *here = getcwd(NULL, 0);
	if (!here)
		return;
	CLEANUP_FREE char *relative = *path;
	*path = xasprintf("%s/%s", here, relative);
}

static int run(struct mounting *m)
{
	char *why = NULL;
	make_absolute(&m->options.swarm.store);
	make_absolute(&m->options.swarm.log);
	make_absolute(&m->options.swarm.cafile);
	m->options.swarm.swarm.http_cafile = m->options.swarm.cafile;
	options_take_link(&m->options.swarm, m->request.torrent);
	int status = 0;
	const struct swarm_options *o = &m->options.swarm;
	const char *debug = m->debug ? m->debug : o->debug;
	if (debug && log_debug_enable(debug) < 0)
		return fail(m, SERVE_USAGE,
			xasprintf("debug: %s: not peer, tracker, disk, fuse, pick, "
				  "http or all",
				log_quote(debug, strlen(debug))));
	if (o->log) {
		int r = log_open(o->log);
		if (r < 0)
			return fail(
				m, SERVE_FAILED, xasprintf("log: %s: %s", o->log, strerror(-r)));
	}
	int role = daemon_fork(&m->daemon, m->foreground || m->request.fake,
		status_of(m, SERVE_INTERRUPTED), status_of(m, SERVE_INTERNAL), &status);
	if (role < 0)
		return fail(m, SERVE_SYSTEM, xasprintf("fork: %s", strerror(-role)));
	if (role == DAEMON_WAITED)
		return status;
	enum serve_fault fault = serve_mount(&m->request, &m->daemon, &why);
	return fault == SERVE_OK ? EXIT_OK : fail(m, fault, why);
}

static void mounting_init(struct mounting *m, bool helper)
{
	*m = (struct mounting) {.helper = helper, .daemon = {.word = -1, .ready = -1}};
	mount_options_init(&m->options);
	m->options.from_mount8 = helper;
	m->request.options = &m->options;
	log_set_name("p2pfs mount");
	daemon_hold_std();
}

static int take_operands(struct mounting *m, int argc, char **argv)
{
	if (argc - optind != 2)
		return -EINVAL;
	m->request.torrent = argv[optind];
	m->request.mountpoint = argv[optind + 1];
	return 0;
}

static int take_ready_fd(struct mounting *m, const char *text)
{
	uint64_t fd;
	if (parse_number(text, 0, INT_MAX, &fd) < 0)
		return -EINVAL;
	return daemon_take_ready(&m->daemon, (int)fd);
}

static int mount_main(struct mounting *m, int argc, char **argv)
{
	enum { FOREGROUND = 256, READY_FD };
	static const struct option longs[] = {
		{"foreground", no_argument, NULL, FOREGROUND},
		{"ready-fd", required_argument, NULL, READY_FD},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	char *why = NULL;
	int c;
	/* Both passes: --ready-fd first, so that it hears of what is wrong with the rest. */
	opterr = 0;
	while ((c = getopt_long(argc, argv, "o:D:h", longs, NULL)) != -1) {
		if (c == READY_FD && take_ready_fd(m, optarg) < 0)
			return fail(m, SERVE_USAGE,
				xasprintf("--ready-fd: %s: not an open descriptor", optarg));
	}
	optind = 0;
	while ((c = getopt_long(argc, argv, "o:D:h", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			if (mount_options_parse(&m->options, optarg, &why) < 0)
				return fail(m, SERVE_USAGE, why);
			break;
		case 'D':
			m->debug = optarg;
			break;
		case FOREGROUND:
			m->foreground = true;
			break;
		case READY_FD:
			break;
		case 'h':
			fputs(help_text, stdout);
			return EXIT_OK;
		default:
			return fail(m, SERVE_USAGE,
				xasprintf("%s: no such option, or it lacks its value",
					argv[optind - 1]));
		}
	}
	if (take_operands(m, argc, argv) < 0)
		return fail(m, SERVE_USAGE,
			xasprintf("needs a TORRENT and a MOUNTPOINT, got %d words", argc - optind));
	return run(m);
}

int cmd_mount(int argc, char **argv)
{
	struct mounting m;
	mounting_init(&m, false);
	int status = mount_main(&m, argc, argv);
	mount_options_done(&m.options);
	return status;
}

/* -N: mount(8) is asked to mount in another mount namespace. */
static int enter_namespace(const char *path)
{
	CLEANUP_FREE char *of_pid = NULL;
	if (path[0] != '/')
		path = of_pid = xasprintf("/proc/%s/ns/mnt", path);
	CLEANUP_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 || setns(fd, CLONE_NEWNS) < 0 ? -errno : 0;
}

static int helper_main(struct mounting *m, int argc, char **argv)
{
	char *why = NULL;
	const char *ns = NULL; /* -N */
	int c;
	opterr = 0;
	/* -s first: it is about the options, wherever it stands. */
	while ((c = getopt(argc, argv, "sfnvhN:o:t:")) != -1)
		m->options.sloppy |= c == 's';
	optind = 0;
	while ((c = getopt(argc, argv, "sfnvhN:o:t:")) != -1) {
		switch (c) {
		case 'f':
			m->request.fake = true;
			break;
		case 'N':
			ns = optarg;
			break;
		case 'o':
			if (mount_options_parse(&m->options, optarg, &why) < 0)
				return fail(m, SERVE_USAGE, why);
			break;
		case 's': /* seen */
		case 'n': /* /etc/mtab is not a file any more */
		case 'v':
		case 't': /* what we were called by */
			break;
		case 'h':
			fputs(help_text, stdout);
			return MOUNT_OK;
		default:
			return fail(m, SERVE_USAGE,
				xasprintf("%s: no such option, or it lacks its value",
					argv[optind - 1]));
		}
	}
	if (take_operands(m, argc, argv) < 0)
		return fail(m, SERVE_USAGE,
			xasprintf("needs a torrent and a mountpoint, got %d words", argc - optind));
	int r = ns ? enter_namespace(ns) : 0;
	if (r < 0)
		return fail(m, SERVE_SYSTEM, xasprintf("-N: %s: %s", ns, strerror(-r)));
	return run(m);
}

int mount_helper(int argc, char **argv)
{
	struct mounting m;
	mounting_init(&m, true);
	int status = helper_main(&m, argc, argv);
	mount_options_done(&m.options);
	return status;
}
