/* SPDX-License-Identifier: MIT */
/* The daemonizing contract of a mount; see daemon.h.
 *
 * The child's word is one byte, its status; 0 is "ready".
 *
 * Thread: the main one.
 */
#include "fs/daemon.h"

#include "base/cleanup.h"
#include "base/cli.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

void daemon_hold_std(void)
{
	int fd;
	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int daemon_take_ready(struct daemon *d, int fd)
{
	int flags = fcntl(fd, F_GETFD);
	if (flags < 0)
		return -errno;
	fcntl(fd, F_SETFD, flags | FD_CLOEXEC); /* fusermount3 shall not hold it */
	d->ready = fd;
	return 0;
}

static void write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* who asked has gone */
		text += n;
		len -= (size_t)n;
	}
}

static void tell_ready(struct daemon *d, const char *text)
{
	if (d->ready < 0)
		return;
	write_all(d->ready, text, strlen(text));
	if (d->ready <= STDERR_FILENO) {
		CLEANUP_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
		dup2(null, d->ready);
	} else {
		close(d->ready);
	}
	d->ready = -1;
}

static void tell_parent(struct daemon *d, int status)
{
	if (d->word < 0)
		return;
	const char word = (char)status;
	write_all(d->word, &word, 1);
	close(d->word);
	d->word = -1;
}

/* -- the parent ------------------------------------------------------------------------------- */

static volatile sig_atomic_t got_signal;

static void on_signal(int number)
{
	got_signal = number;
}

/* Waits for the word; what ends us ends the child first.  -1: it ended without one. */
static int wait_for_word(int fd, pid_t child)
{
	int passed_on = 0;
	for (;;) {
		uint8_t word;
		ssize_t n = read(fd, &word, 1);
		if (n == 1)
			return word;
		if (n == 0 || errno != EINTR)
			return -1;
		if (got_signal && !passed_on) {
			passed_on = 1;
			kill(child, SIGTERM);
		}
	}
}

static int run_parent(struct daemon *d, int fd, pid_t child, int interrupted, int died)
{
	struct sigaction action = {
		.sa_handler = on_signal}; /* no SA_RESTART: read() shall return */
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);

	int word = wait_for_word(fd, child);
	if (word >= 0) {
		/* A signal that came too late to stop it: the mount stands, and ends as it was
		 * told. */
		return word;
	}
	int status = 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (got_signal || (WIFSIGNALED(status) && WTERMSIG(status) == SIGINT)) {
		tell_ready(d, "interrupted");
		return interrupted;
	}
	CLEANUP_FREE char *message =
		WIFSIGNALED(status)
			? xasprintf("the daemon died of %s before the mount was ready",
				  strsignal(WTERMSIG(status)))
			: xasprintf("the daemon ended with status %d before the mount was ready",
				  WEXITSTATUS(status));
	cli_fail("mount", "%s", message);
	tell_ready(d, message);
	return died;
}

int daemon_fork(struct daemon *d, bool foreground, int interrupted, int died, int *ret_status)
{
	d->word = -1;
	d->background = false;
	if (foreground)
		return DAEMON_SERVES;
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid_t child = fork();
	if (child < 0) {
		int r = -errno;
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	if (child == 0) {
		close(ends[0]);
		d->word = ends[1];
		d->background = true;
		return DAEMON_SERVES;
	}
	close(ends[1]);
	*ret_status = run_parent(d, ends[0], child, interrupted, died);
	close(ends[0]);
	return DAEMON_WAITED;
}

/* -- the one that serves ---------------------------------------------------------------------- */

void daemon_is_ready(struct daemon *d)
{
	tell_ready(d, "\n");
	if (!d->background)
		return;
	/* No path is looked up from here on that could lead through the mountpoint: an automounter
	 * that waits for us would make a process of another group wait for it. */
	setsid();
	if (chdir("/") < 0)
		return; /* cannot be; and where we stand is no harm */
	CLEANUP_CLOSE int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	tell_parent(d, 0);
}

int daemon_has_failed(struct daemon *d, int status, const char *message)
{
	tell_ready(d, message);
	tell_parent(d, status);
	return status;
}
