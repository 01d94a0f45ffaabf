/* SPDX-License-Identifier: MIT */
/* Asking a mount's daemon; see client.h.
 *
 * Thread: the main one.
 */
#include "fs/client.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/loop.h"
#include "base/mem.h"
#include "fs/mountpoint.h"
#include "swarm/metainfo.h"
#include "swarm/options.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define ATTRIBUTE "user.p2pfs.socket"

static int ms_left(uint64_t until_us)
{
	uint64_t now = clock_us();
	return now < until_us ? (int)((until_us - now) / US_PER_MS) + 1 : 0;
}

/* Waits for `events`; -ETIMEDOUT. */
static int wait_fd(int fd, short events, uint64_t until_us)
{
	struct pollfd p = {.fd = fd, .events = events};
	for (;;) {
		int n = poll(&p, 1, ms_left(until_us));
		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* -- finding the socket ----------------------------------------------------------------------- */

struct attribute {
	int error;
	char value[PATH_MAX];
};

static void read_attribute(const struct mount_entry *mount, int to)
{
	struct attribute a = {0};
	ssize_t n = getxattr(mount->path, ATTRIBUTE, a.value, sizeof(a.value) - 1);
	/* Without allow_other root himself may not look; but he may be that user. */
	if (n < 0 && errno == EACCES && setgroups(0, NULL) == 0 &&
		setresgid(mount->group, mount->group, mount->group) == 0 &&
		setresuid(mount->user, mount->user, mount->user) == 0)
		n = getxattr(mount->path, ATTRIBUTE, a.value, sizeof(a.value) - 1);
	if (n < 0)
		a.error = errno;
	_exit(write(to, &a, sizeof(a)) == sizeof(a) ? 0 : 1);
}

/* A child asks, since whoever asks a stopped daemon waits; it can be killed then. */
static int ask_attribute(const struct mount_entry *mount, char **ret)
{
	int ends[2];
	struct attribute a;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid_t child = fork();
	if (child == 0)
		read_attribute(mount, ends[1]);
	int r = child < 0 ? -errno : 0;
	close(ends[1]);
	if (r >= 0)
		r = wait_fd(ends[0], POLLIN, clock_us() + CLIENT_PATIENCE_MS * US_PER_MS);
	if (r >= 0 && read(ends[0], &a, sizeof(a)) != sizeof(a))
		r = -EIO;
	close(ends[0]);
	if (child > 0) {
		kill(child, SIGKILL);
		/* A reader within a FUSE request dies of SIGKILL; we do not wait to see it. */
		waitpid(child, NULL, r == -ETIMEDOUT ? WNOHANG : 0);
	}
	if (r >= 0 && a.error)
		r = -a.error;
	if (r >= 0 && !a.value[0])
		r = -ENODATA;
	if (r >= 0)
		*ret = xstrdup(a.value);
	return r;
}

/* Where the socket is if the mount uses our default store. */
static int guess_socket(const char *torrent, char **ret)
{
	struct metainfo *meta = NULL;
	CLEANUP_FREE char *why = NULL;
	char entry[65];
	if (torrent[0] != '/')
		return -ENOENT;
	int r = metainfo_load(torrent, &meta, &why);
	if (r < 0)
		return r;
	metainfo_entry_name(meta, entry);
	metainfo_free(meta);
	struct swarm_options o;
	options_init(&o);
	CLEANUP_FREE char *path = xasprintf("%s/%s/socket", o.store, entry);
	options_done(&o);
	if (access(path, R_OK) < 0)
		return -errno;
	*ret = steal_ptr(&path);
	return 0;
}

int client_find(const struct mount_entry *mount, char **ret)
{
	int r = ask_attribute(mount, ret);
	if ((r == -ETIMEDOUT || r == -EACCES) && guess_socket(mount->source, ret) == 0)
		return 0;
	return r;
}

/* -- talking ---------------------------------------------------------------------------------- */

int client_connect(const char *path)
{
	/* By way of the folder: sun_path holds 107 bytes. */
	const char *slash = strrchr(path, '/');
	CLEANUP_FREE char *folder = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
	CLEANUP_CLOSE int dir = open(*folder ? folder : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int n = snprintf(sun.sun_path, sizeof(sun.sun_path), "/proc/self/fd/%d/%s", dir,
		slash ? slash + 1 : path);
	if (n >= (int)sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	CLEANUP_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A stopped daemon does not accept; once its queue is full, connect waits, too. */
	const struct timeval patience = {CLIENT_PATIENCE_MS / 1000, 0};
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)&sun, sizeof(sun)) < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	return steal_fd(&fd);
}

/* Reads lines up to the end; `line` is called for each.  -ETIMEDOUT, -EFBIG. */
static int read_lines(
	int fd, uint64_t until_us, void (*line)(void *arg, const char *text), void *arg)
{
	CLEANUP_FREE char *data = NULL;
	size_t len = 0, cap = 0;
	for (;;) {
		int r = wait_fd(fd, POLLIN, until_us);
		if (r < 0)
			return r;
		if (cap - len < 65536) {
			if (cap >= CLIENT_MAX_REPLY)
				return -EFBIG;
			cap = cap ? 2 * cap : 131072;
			data = xrealloc(data, cap, 1);
		}
		ssize_t n = recv(fd, data + len, cap - len - 1, MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		len += n > 0 ? (size_t)n : 0;
		char *from = data, *end;
		while ((end = memchr(from, '\n', len - (size_t)(from - data)))) {
			*end = '\0';
			line(arg, from);
			from = end + 1;
		}
		len -= (size_t)(from - data);
		memmove(data, from, len);
	}
}

static int say(int fd, const char *text)
{
	ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL);
	return n == (ssize_t)strlen(text) ? 0 : n < 0 ? -errno : -EIO;
}

static void take_json(void *arg, const char *text)
{
	json_t **answer = arg;
	if (!*answer)
		*answer = json_loads(text, 0, NULL);
}

int client_ask(const char *socket, const char *line, json_t **ret)
{
	CLEANUP_CLOSE int fd = client_connect(socket);
	json_t *answer = NULL;
	if (fd < 0)
		return fd;
	CLEANUP_FREE char *text = xasprintf("%s\n", line);
	int r = say(fd, text);
	if (r >= 0)
		r = read_lines(fd, clock_us() + CLIENT_PATIENCE_MS * US_PER_MS, take_json, &answer);
	if (r >= 0 && !json_is_object(answer))
		r = -EPROTO;
	if (r < 0) {
		json_decref(answer);
		return r;
	}
	*ret = answer;
	return 0;
}

static void take_word(void *arg, const char *text)
{
	bool *lazy = arg;
	*lazy |= !strcmp(text, "lazy");
}

int client_stop(const char *socket, unsigned seconds, bool *ret_lazy)
{
	uint64_t until = clock_us() + seconds * US_PER_S;
	struct ucred daemon;
	socklen_t len = sizeof(daemon);
	CLEANUP_CLOSE int fd = client_connect(socket);
	if (fd < 0)
		return fd;
	/* The connection ends before the process, which still saves its record and says goodbye. */
	CLEANUP_CLOSE int process = -1;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &daemon, &len) == 0)
		process = (int)syscall(SYS_pidfd_open, daemon.pid, 0);
	int r = say(fd, "stop\n");
	if (r >= 0)
		r = read_lines(fd, until, take_word, ret_lazy);
	if (r >= 0 && process >= 0)
		r = wait_fd(process, POLLIN, until);
	return r;
}

/* -- for the commands ------------------------------------------------------------------------- */

int client_mount(const char *command, const char *mountpoint, struct mount_entry *ret)
{
	CLEANUP_FREE char *path = NULL;
	int r = mountpoint_absolute(mountpoint, &path);
	if (r >= 0)
		r = mount_find(path, ret);
	if (r == -ENOENT)
		return cli_fail(command, "%s: no p2pfs mount there", mountpoint);
	if (r < 0)
		return cli_fail(command, "%s: %s", mountpoint, strerror(-r));
	return EXIT_OK;
}

int client_failed(const char *command, const struct mount_entry *mount, int r)
{
	if (r == -ETIMEDOUT)
		return cli_fail(command, "%s: its daemon does not answer", mount->path);
	if (r == -ENOTCONN || r == -ECONNREFUSED)
		return cli_fail(
			command, "%s: its daemon is dead; p2pfs umount takes it away", mount->path);
	return cli_fail(command, "%s: %s", mount->path, strerror(-r));
}
