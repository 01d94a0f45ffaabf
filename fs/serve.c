/* SPDX-License-Identifier: MIT */
/* The life of a mount; see serve.h.
 *
 *	load the torrent, open the store, bind the sockets	no thread yet, signals end us
 *	mount; drop root					signals are held from here on
 *	start the loop, the workers, the session		the kernel says INIT
 *	say "ready", leave the terminal				now signals are ours
 *	...
 *	answer the waiting reads, unmount, end the session	a watchdog bounds it
 *	end the swarm: trackers, record, threads
 *
 * The mount may also be ended from outside (umount, fusermount3 -u): then the session ends first.
 *
 * Thread: the main one; callbacks as said.
 */
#include "fs/serve.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/mem.h"
#include "fs/control.h"
#include "fs/daemon.h"
#include "fs/keeper.h"
#include "fs/mountpoint.h"
#include "fs/ops.h"
#include "fs/options.h"
#include "swarm/metainfo.h"
#include "swarm/swarm.h"

#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

/* The kernel says INIT as soon as the session reads. */
#define INIT_PATIENCE_MS 20000
#define UNMOUNT_RETRY_MS 20
/* Readahead of a complete image that goes through the page cache: 609 -> 1001 MB/s here. */
#define READAHEAD_KIB 1024u

struct server {
	const struct serve_request *request;
	const struct mount_options *o;
	char *source, *mountpoint; /* owned: what is mounted, and where, absolute */
	bool as_file;
	struct swarm *swarm;
	struct torrent *torrent;
	struct control *control;
	struct fs fs;
	bool fs_ready, started, is_mounted, lazy;
	struct fuse_session *session;
	struct mount_entry mounted; /* constant while threads run */
	struct keeper keeper;
	pthread_t session_thread;
	bool session_running;
	/* Set by other threads, with a write to `wake`. */
	atomic_bool init_seen, session_ended, stop_asked;
	int wake, signals;
};

static void wake(struct server *s, atomic_bool *flag)
{
	const uint64_t one = 1;
	atomic_store(flag, true);
	if (write(s->wake, &one, sizeof(one)) < 0)
		return; /* the counter is full: it wakes already */
}

/* Runs fn(s) on the loop, and waits for it. */
struct errand {
	void (*fn)(struct server *s);
	struct server *s;
	sem_t done;
};

static void run_errand(void *arg)
{
	struct errand *e = arg;
	e->fn(e->s);
	sem_post(&e->done);
}

static void on_loop(struct server *s, void (*fn)(struct server *s))
{
	struct errand e = {.fn = fn, .s = s};
	sem_init(&e.done, 0, 0);
	swarm_post(s->swarm, run_errand, &e);
	while (sem_wait(&e.done) < 0)
		;
	sem_destroy(&e.done);
}

/* -- callbacks on the loop -------------------------------------------------------------------- */

static json_t *on_status(void *arg)
{
	struct server *s = arg;
	json_t *status = torrent_status(s->torrent);
	json_t *mount = json_pack("{s:s, s:s, s:s, s:i, s:i}", "mountpoint", s->mountpoint,
		"torrent", s->source, "store", torrent_entry(s->torrent), "pid", (int)getpid(),
		"waiting", (int)atomic_load(&s->fs.reads.waiting));
	/* A path that is no UTF-8 cannot be said in JSON. */
	json_object_set_new(status, "mount", mount ? mount : json_object());
	return status;
}

static json_t *on_profile(void *arg)
{
	struct server *s = arg;
	CLEANUP_FREE char *text = torrent_recorded_profile(s->torrent);
	return json_pack("{s:s?}", "profile", text);
}

static void on_stop(void *arg)
{
	struct server *s = arg;
	wake(s, &s->stop_asked);
}

static void on_complete(void *arg)
{
	struct server *s = arg;
	if (s->o->io != IO_DIRECT && s->mounted.minor)
		kernel_set_readahead(s->mounted.major, s->mounted.minor, READAHEAD_KIB);
}

static void log_status(struct server *s)
{
	json_t *status = on_status(s);
	CLEANUP_FREE char *text = json_dumps(status, JSON_COMPACT);
	json_decref(status);
	log_info("status: %s", text ? text : "none");
}

static void tell_lazy(struct server *s)
{
	control_tell(s->control, "lazy");
}

static void end_control(struct server *s)
{
	control_free(s->control);
	s->control = NULL;
}

/* -- the session ------------------------------------------------------------------------------ */

static void on_init(void *arg)
{
	struct server *s = arg;
	wake(s, &s->init_seen);
}

static void on_kick(int number)
{
}

static void *run_session(void *arg)
{
	struct server *s = arg;
	sigset_t kick;
	sigemptyset(&kick);
	sigaddset(&kick, SIGUSR2);
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);

	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int r = fuse_session_loop_mt(s->session, config);
	fuse_loop_cfg_destroy(config);
	/* A request that was taken up as the mount went answers ECONNABORTED, the next one ENODEV. */
	if (r < 0 && r != -ECONNABORTED)
		log_error("%s: the kernel's requests cannot be read: %s", s->mountpoint,
			strerror(-r));
	wake(s, &s->session_ended);
	return NULL;
}

/* Ends the session if it has not ended with the mount.  libfuse's loop waits on a semaphore and
 * looks at the flag when a signal comes by; one that comes just before is lost, so go on. */
static void end_session(struct server *s)
{
	if (!s->session_running)
		return;
	while (!atomic_load(&s->session_ended)) {
		fuse_session_exit(s->session);
		pthread_kill(s->session_thread, SIGUSR2);
		struct pollfd p = {.fd = s->wake, .events = POLLIN};
		poll(&p, 1, UNMOUNT_RETRY_MS);
	}
	pthread_join(s->session_thread, NULL);
	s->session_running = false;
}

/* libfuse speaks of what it cannot do. */
static void on_libfuse_log(enum fuse_log_level level, const char *format, va_list ap)
{
	CLEANUP_FREE char *text = xvasprintf(format, ap);
	text[strcspn(text, "\n")] = '\0';
	if (level <= FUSE_LOG_WARNING)
		log_warn("%s", text);
	else
		log_debug(LOG_FUSE, "%s", text);
}

/* -- beginning -------------------------------------------------------------------------------- */

static enum serve_fault failed(char **ret_why, char *why)
{
	*ret_why = why;
	return SERVE_FAILED;
}

/* The mountpoint, absolute, and whether it is a file.  A mount there whose daemon is dead is taken
 * away: after a crash the next mount has to work. */
static enum serve_fault find_mountpoint(struct server *s, char **ret_why)
{
	const char *given = s->request->mountpoint;
	struct mount_entry dead;
	mode_t type = 0;
	int r = mountpoint_absolute(given, &s->mountpoint);
	if (r >= 0)
		r = mountpoint_check(s->mountpoint, &type);
	if (r == -ENOTCONN && mount_find(s->mountpoint, &dead) == 0) {
		log_warn("%s: a mount of %s whose daemon is dead is taken away", dead.path,
			dead.source);
		mountpoint_unmount(dead.path, true);
		mount_entry_done(&dead);
		r = mountpoint_check(s->mountpoint, &type);
	}
	if (r == -EINVAL)
		return failed(ret_why, xasprintf("%s: neither a folder nor a regular file", given));
	if (r < 0)
		return failed(ret_why, xasprintf("%s: %s", given, strerror(-r)));
	s->as_file = S_ISREG(type);
	return SERVE_OK;
}

/* mount(8) knows what is mounted by what fstab says, made absolute. */
static char *source_of(const char *torrent)
{
	char *path = realpath(torrent, NULL);
	return path ? path : xstrdup(torrent);
}

/* Seconds since 1970 of the files: the torrent's date, else the .torrent's. */
static time_t date_of(const struct server *s)
{
	struct stat st;
	const struct metainfo *meta = torrent_meta(s->torrent);
	if (meta->creation_date > 0)
		return meta->creation_date;
	if (stat(s->source, &st) == 0)
		return st.st_mtime;
	CLEANUP_FREE char *kept = xasprintf("%s/metainfo.torrent", torrent_entry(s->torrent));
	return stat(kept, &st) == 0 ? st.st_mtime : 0;
}

static enum serve_fault open_all(struct server *s, char **ret_why)
{
	const struct swarm_options *o = &s->o->swarm;
	struct metainfo *meta = NULL;
	int r = s->request->fake ? options_load_torrent(o, s->request->torrent, &meta, ret_why)
				 : options_open(o, s->request->torrent, s->o->timeout_ms, &s->swarm,
					   &meta, ret_why);
	if (r < 0)
		return r == -EINTR ? SERVE_INTERRUPTED : SERVE_FAILED;
	if (s->as_file && meta->n_files != 1) {
		*ret_why = xasprintf("%s: is a file, and the torrent has %u: mount it on a folder",
			s->request->mountpoint, meta->n_files);
		metainfo_free(meta);
		return SERVE_FAILED;
	}
	if (s->request->fake) {
		metainfo_free(meta);
		return SERVE_OK;
	}
	struct torrent_config config = s->o->swarm.torrent;
	config.path = o->store;
	config.complete = on_complete;
	config.arg = s;
	CLEANUP_FREE char *profile = options_profile(o, s->request->torrent, &config);
	r = swarm_add(s->swarm, meta, &config, &s->torrent, ret_why);
	if (r < 0) {
		metainfo_free(meta);
		return SERVE_FAILED;
	}
	if (fs_init(&s->fs, s->swarm, s->torrent, s->o, s->as_file, ret_why) < 0)
		return SERVE_FAILED;
	s->fs_ready = true;
	s->fs.time.tv_sec = date_of(s);
	s->fs.on_init = on_init;
	s->fs.arg = s;

	const char *entry = torrent_entry(s->torrent);
	const struct control_callbacks cb = {
		.status = on_status,
		.profile = on_profile,
		.stop = on_stop,
		.arg = s,
	};
	r = control_new(swarm_loop(s->swarm), entry, &cb, &s->control);
	if (r < 0)
		return failed(ret_why, xasprintf("%s/socket: %s", entry, strerror(-r)));
	s->fs.socket = xasprintf("%s/socket", entry);
	return SERVE_OK;
}

static enum serve_fault mount_failed(struct server *s, int error, char **ret_why)
{
	const char *hint = error == -EPERM && geteuid() == 0      ? " (may this container mount?)"
			   : error == -ENOENT || error == -ENODEV ? " (no /dev/fuse? modprobe fuse)"
								  : "";
	return failed(
		ret_why, xasprintf("mounting on %s: %s%s", s->mountpoint, strerror(-error), hint));
}

static enum serve_fault mount_all(struct server *s, char **ret_why)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	fuse_opt_add_arg(&args, "p2pfs");
	bool root = geteuid() == 0;
	if (!root)
		mountpoint_fuse_args(s->source, s->o, &args);
	fuse_set_log_func(on_libfuse_log);
	s->session = fuse_session_new(&args, &fs_ops, sizeof(fs_ops), &s->fs);
	fuse_opt_free_args(&args);
	if (!s->session) {
		*ret_why = xstrdup("libfuse gives no session");
		return SERVE_SYSTEM;
	}
	if (root) {
		int r = mountpoint_mount(s->mountpoint, s->source, s->as_file ? S_IFREG : S_IFDIR,
			s->o, &s->fs.fuse_fd);
		if (r < 0)
			return mount_failed(s, r, ret_why);
	} else {
		if (fuse_session_mount(s->session, s->mountpoint) < 0)
			return failed(ret_why,
				xasprintf("mounting on %s: fusermount3 failed", s->mountpoint));
		s->fs.fuse_fd = fuse_session_fd(s->session);
		s->fs.hook.passthrough = false;
	}
	if (mount_find(s->mountpoint, &s->mounted) < 0) {
		/* Out of our sight (no /proc?): still ours to unmount, by its path alone. */
		s->mounted.path = xstrdup(s->mountpoint);
	}
	s->is_mounted = true;
	if (kernel_hook_install(s->session, &s->fs.hook, s->fs.fuse_fd) < 0) {
		*ret_why = xstrdup("libfuse takes no descriptor");
		return SERVE_SYSTEM;
	}
	return SERVE_OK;
}

/* -- setuid= ---------------------------------------------------------------------------------- */

static const struct mount_options *giving_to;

static int give_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	uid_t uid = giving_to->run_uid;
	gid_t gid = giving_to->run_gid;
	if (st->st_uid == uid && st->st_gid == gid)
		return 0;
	return lchown(path, uid, gid) < 0 ? -errno : 0;
}

/* The entry is given to who will serve it. */
static int give_entry(const struct mount_options *o, const char *entry)
{
	giving_to = o;
	int r = nftw(entry, give_one, 16, FTW_PHYS);
	return r == -1 ? -errno : r;
}

static enum serve_fault drop_root(struct server *s, char **ret_why)
{
	const struct mount_options *o = s->o;
	if (!o->setuid || geteuid() != 0)
		return SERVE_OK;
	int r = keeper_start(&s->keeper, &s->mounted);
	if (r < 0) {
		*ret_why = xasprintf("fork: %s", strerror(-r));
		return SERVE_SYSTEM;
	}
	r = give_entry(o, torrent_entry(s->torrent));
	if (r < 0)
		return failed(ret_why, xasprintf("giving %s to %s: %s", torrent_entry(s->torrent),
					       o->setuid, strerror(-r)));
	if (initgroups(o->setuid, o->run_gid) < 0 ||
		setresgid(o->run_gid, o->run_gid, o->run_gid) < 0 ||
		setresuid(o->run_uid, o->run_uid, o->run_uid) < 0)
		return failed(ret_why, xasprintf("becoming %s: %s", o->setuid, strerror(errno)));
	return SERVE_OK;
}

/* -- serving ---------------------------------------------------------------------------------- */

static int hold_signals(struct server *s)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	sigaddset(&set, SIGUSR2); /* the session's thread alone takes it */
	struct sigaction kick = {.sa_handler = on_kick};
	sigaction(SIGUSR2, &kick, NULL);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return s->signals < 0 || s->wake < 0 ? -errno : 0;
}

/* Handles what has come; true: time to leave. */
static bool handle_signals(struct server *s)
{
	struct signalfd_siginfo info;
	while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
		switch (info.ssi_signo) {
		case SIGHUP:
			log_reopen();
			break;
		case SIGUSR1:
			on_loop(s, log_status);
			break;
		default:
			log_debug(LOG_FUSE, "signal %u from process %u", info.ssi_signo,
				info.ssi_pid);
			return true;
		}
	}
	return false;
}

/* 0: `flag` is set; -EINTR: something asks us to leave; -ENOTCONN: the session has ended;
 * -ETIMEDOUT. */
static int wait_for(struct server *s, const atomic_bool *flag, int timeout_ms)
{
	for (;;) {
		if (flag && atomic_load(flag))
			return 0;
		if (atomic_load(&s->session_ended))
			return -ENOTCONN;
		if (atomic_load(&s->stop_asked))
			return -EINTR;
		struct pollfd p[2] = {
			{.fd = s->wake, .events = POLLIN},
			{.fd = s->signals, .events = POLLIN},
		};
		int n = poll(p, 2, timeout_ms);
		uint64_t count;
		if (n == 0)
			return -ETIMEDOUT;
		if (n > 0 && p[0].revents && read(s->wake, &count, sizeof(count)) < 0)
			continue;
		if (n > 0 && p[1].revents && handle_signals(s))
			return -EINTR;
	}
}

static enum serve_fault start_all(struct server *s, char **ret_why)
{
	int r = swarm_start(s->swarm);
	if (r < 0) {
		*ret_why = xasprintf("starting the engine: %s", strerror(-r));
		return SERVE_SYSTEM;
	}
	s->started = true;
	r = pthread_create(&s->session_thread, NULL, run_session, s);
	if (r) {
		*ret_why = xasprintf("starting a thread: %s", strerror(r));
		return SERVE_SYSTEM;
	}
	s->session_running = true;
	r = wait_for(s, &s->init_seen, INIT_PATIENCE_MS);
	if (r == 0)
		return SERVE_OK;
	*ret_why = xasprintf("%s: %s before the mount was ready", s->mountpoint,
		r == -EINTR      ? "interrupted"
		: r == -ENOTCONN ? "unmounted"
				 : "nothing from the kernel");
	return r == -EINTR ? SERVE_INTERRUPTED : SERVE_FAILED;
}

/* -- ending ----------------------------------------------------------------------------------- */

static const char *volatile watched_path;

static void on_watchdog(int number)
{
	static const char message[] = "p2pfs mount: warning: could not end in time; leaving\n";
	if (watched_path)
		umount2(watched_path, MNT_DETACH | UMOUNT_NOFOLLOW);
	if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		_exit(2);
	_exit(1);
}

static void start_watchdog(struct server *s)
{
	struct sigaction action = {.sa_handler = on_watchdog};
	sigset_t set;
	watched_path = s->is_mounted ? s->mounted.path : NULL;
	sigaction(SIGALRM, &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	alarm(STOP_MAX_S);
}

static int unmount_one(struct server *s, bool lazy)
{
	return s->keeper.pid ? keeper_unmount(&s->keeper, lazy)
			     : mountpoint_unmount(s->mounted.path, lazy);
}

/* By then its readers have their answers; they close their files, or are stopped by nothing. */
static void unmount_all(struct server *s)
{
	const struct timespec pause = {0, UNMOUNT_RETRY_MS * 1000000};
	uint64_t until = clock_us() + STOP_BUSY_MS * US_PER_MS;
	for (;;) {
		enum mount_place place = s->mounted.minor ? mount_place(&s->mounted) : MOUNT_ON_TOP;
		if (place == MOUNT_COVERED)
			log_warn("%s: another mount lies upon it: left there", s->mounted.path);
		if (place != MOUNT_ON_TOP)
			break; /* what is on top is not ours to unmount */
		int r = unmount_one(s, false);
		if (r != -EBUSY)
			break;
		if (clock_us() >= until) {
			log_warn("%s: files are still open: detached", s->mounted.path);
			unmount_one(s, true);
			s->lazy = true;
			break;
		}
		nanosleep(&pause, NULL);
	}
	keeper_stop(&s->keeper);
	watched_path = NULL;
	s->is_mounted = false;
}

static void end_all(struct server *s)
{
	start_watchdog(s);
	if (s->fs_ready && s->started)
		reads_stop(&s->fs.reads);
	if (s->is_mounted)
		unmount_all(s);
	if (s->started && s->lazy)
		on_loop(s, tell_lazy);
	end_session(s);
	if (s->started)
		on_loop(s, end_control);
	else
		end_control(s);
	swarm_free(s->swarm); /* answers what still waits, so the session is still there */
	if (s->session) {
		/* It is unmounted: this closes and frees, and for root has nothing to do. */
		fuse_session_unmount(s->session);
		fuse_session_destroy(s->session);
	} else if (s->fs.fuse_fd >= 0) {
		close(s->fs.fuse_fd);
	}
	if (s->fs_ready)
		fs_done(&s->fs);
	mount_entry_done(&s->mounted);
	free(s->source);
	free(s->mountpoint);
	if (s->wake >= 0)
		close(s->wake);
	if (s->signals >= 0)
		close(s->signals);
	alarm(0);
}

enum serve_fault serve_mount(const struct serve_request *request, struct daemon *d, char **ret_why)
{
	struct server s = {
		.request = request,
		.o = request->options,
		.fs.fuse_fd = -1,
		.wake = -1,
		.signals = -1,
		.source = source_of(request->torrent),
	};
	signal(SIGPIPE, SIG_IGN); /* a tracker, or whoever reads our messages, may go at any time */
	enum serve_fault fault = find_mountpoint(&s, ret_why);
	if (fault == SERVE_OK)
		fault = open_all(&s, ret_why);
	if (fault == SERVE_OK && !request->fake) {
		if (hold_signals(&s) < 0) {
			*ret_why = xstrdup("no descriptors left");
			fault = SERVE_SYSTEM;
		}
		if (fault == SERVE_OK)
			fault = mount_all(&s, ret_why);
		if (fault == SERVE_OK)
			fault = drop_root(&s, ret_why);
		if (fault == SERVE_OK)
			fault = start_all(&s, ret_why);
		if (fault == SERVE_OK) {
			daemon_is_ready(d);
			wait_for(&s, NULL, -1);
		}
	}
	end_all(&s);
	return fault;
}
