/* SPDX-License-Identifier: MIT */
/* The root that stays behind with setuid=; see keeper.h.
 *
 * Asked in one byte, 'u' or 'l' (lazily), it answers with an int, 0 or -errno.  It knows its mount
 * by device and never unmounts another that lies at the same path.
 *
 * Thread: the main one.
 */
#include "fs/keeper.h"

#include "base/cleanup.h"
#include "fs/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Not /dev/fuse, which would keep the connection; nor pipes whose end the caller waits for. */
static void let_go_of_all_but(int fd)
{
	int null = open("/dev/null", O_RDWR);
	for (int i = 0; null >= 0 && i <= STDERR_FILENO; i++)
		dup2(null, i);
	dup2(fd, STDERR_FILENO + 1);
	syscall(SYS_close_range, STDERR_FILENO + 2, ~0u, 0);
}

static void keep(const struct mount_entry *m, int fd)
{
	char order;
	while (read(fd, &order, 1) == 1) {
		int r = mount_place(m) == MOUNT_ON_TOP ? mountpoint_unmount(m->path, order == 'l')
						       : 0;
		if (write(fd, &r, sizeof(r)) != sizeof(r))
			break;
	}
	if (mount_place(m) == MOUNT_ON_TOP)
		mountpoint_unmount(m->path, true);
}

int keeper_start(struct keeper *k, const struct mount_entry *m)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid < 0) {
		int r = -errno;
		close(ends[0]);
		close(ends[1]);
		return r;
	}
	if (pid == 0) {
		let_go_of_all_but(ends[1]);
		setsid(); /* whoever kills the daemon's whole group has work left for us */
		if (chdir("/") < 0)
			_exit(1);
		keep(m, STDERR_FILENO + 1);
		_exit(0);
	}
	close(ends[1]);
	*k = (struct keeper) {.pid = pid, .fd = ends[0]};
	return 0;
}

int keeper_unmount(struct keeper *k, bool lazy)
{
	const char order = lazy ? 'l' : 'u';
	int answer;
	if (send(k->fd, &order, 1, MSG_NOSIGNAL) != 1 ||
		read(k->fd, &answer, sizeof(answer)) != sizeof(answer))
		return -EPERM; /* somebody killed it */
	return answer;
}

void keeper_stop(struct keeper *k)
{
	if (!k->pid)
		return;
	close(k->fd);
	while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
		;
	k->pid = 0;
}
