# SPDX-License-Identifier: MIT
"""`p2pfs umount` and `p2pfs status`, with daemons that are well, stopped, dead or busy; and the socket they use."""

import json
import os
import pathlib
import signal
import socket
import subprocess

import pytest

from lib.mounts import Mount
from lib.process import P2PFS, p2pfs, run
from lib.wait import wait_until

pytestmark = pytest.mark.threads


def connect(path):
    """By way of the folder: an address takes 107 bytes."""
    connection = socket.socket(socket.AF_UNIX)
    folder = os.open(os.path.dirname(path), os.O_PATH)
    try:
        connection.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    except BaseException:
        connection.close()
        raise
    finally:
        os.close(folder)
    return connection


def ask(path, line, *, close_writing=False):
    """All that the control socket says to this line."""
    with connect(path) as s:
        s.settimeout(60)
        s.sendall(line)
        if close_writing:
            s.shutdown(socket.SHUT_WR)
        got = b""
        while chunk := s.recv(65536):
            got += chunk
        return got


# -- umount --------------------------------------------------------------------------------------


def test_umount_waits_for_the_daemon_to_leave(image, tmp_path):
    """So that the same can be mounted again in the next line of a script."""
    with Mount(image.torrent, tmp_path, foreground=False) as mount:
        for _ in range(5):
            p2pfs("umount", mount.mountpoint)
            assert not os.path.exists(f"/proc/{mount.daemon_pid}/exe")
            mount.start()
        p2pfs("umount", mount.mountpoint)


@pytest.mark.parametrize("path", [".", "..", "/", "/proc"])
def test_umount_of_what_is_no_mount_of_ours(tmp_path, path):
    done = p2pfs("umount", path, check=False, cwd=tmp_path)
    assert done.returncode == 1 and "no p2pfs mount there" in done.stderr


def test_umount_of_a_path_that_is_not_there(tmp_path):
    done = p2pfs("umount", tmp_path / "absent" / "x", check=False)
    assert done.returncode == 1 and "absent/x: " in done.stderr


@pytest.mark.parametrize("words,said", [([], "got 0"), (["a", "b"], "got 2"), (["--fast", "a"], "--fast")])
def test_umount_usage(words, said):
    done = p2pfs("umount", *words, check=False)
    assert done.returncode == 2 and said in done.stderr


def test_umount_of_a_stopped_daemon(seedless):
    mount = seedless()
    mount.process.signal(signal.SIGSTOP)
    try:
        done = p2pfs("umount", mount.mountpoint)
        assert "does not answer" in done.stderr
        assert not mount.mounted()
    finally:
        mount.process.signal(signal.SIGCONT)
    assert mount.process.wait() == 0


def test_umount_of_a_dead_daemon(seedless):
    mount = seedless()
    mount.process.kill()
    p2pfs("umount", mount.mountpoint)
    assert not mount.mounted()


def test_umount_takes_the_upper_of_two(image, tmp_path, seedless):
    lower = seedless()
    with Mount(image.torrent, tmp_path, name="upper", mountpoint=lower.mountpoint) as upper:
        p2pfs("umount", lower.mountpoint)
        assert upper.process.wait() == 0
        assert lower.mounted() and lower.status()["mount"]["pid"] == lower.pid
        p2pfs("umount", lower.mountpoint)
        assert not lower.mounted()


def test_kernels_umount_ends_the_daemon(seedless):
    mount = seedless()
    run(["umount", mount.mountpoint])
    assert mount.process.wait() == 0


def test_mount_upon_ours_is_not_touched(image, tmp_path, stack, seedless):
    """At the end of a daemon something else lies on its mountpoint: that stays."""
    mount = seedless()
    run(["mount", "-t", "tmpfs", "tmpfs", mount.mountpoint])
    # The upper one, then what is left of ours, whose daemon is gone.
    stack.callback(lambda: [run(["umount", "-l", mount.mountpoint], check=False) for _ in range(2)])
    mount.process.signal(signal.SIGTERM)
    assert mount.process.wait() == 0
    kinds = [line.split(" - ")[1].split()[0] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
             if line.split()[4] == str(mount.mountpoint)]
    assert kinds == ["fuse.p2pfs", "tmpfs"]
    assert "another mount lies upon it" in mount.process.output()


# -- status --------------------------------------------------------------------------------------


def test_status_tells_what_the_users_ask(seeded, image):
    mount = seeded("fill=off")
    assert mount.path.read_bytes() == image.data
    mount.wait_state("complete")
    got = mount.status()
    for key in ("name", "info_hashes", "size", "had", "zero", "on_disk", "down_rate", "up_rate", "downloaded", "uploaded",
                "wasted", "corrupt", "peers", "trackers", "reads", "state", "why", "mount"):
        assert key in got, key
    assert got["name"] == "template.raw" and got["size"] == got["had"] == image.size
    assert got["info_hashes"] == {"v1": image.torrent.v1, "v2": image.torrent.v2}
    assert got["mount"]["mountpoint"] == str(mount.mountpoint)
    assert got["mount"]["torrent"] == str(image.torrent.path)
    assert got["mount"]["pid"] == mount.pid
    text = p2pfs("status", mount.mountpoint).stdout
    for word in ("template.raw", "complete", image.torrent.v1, "3.0 MiB of 3.0 MiB (100.0 %)"):
        assert word in text, text


def test_status_tells_of_peers(seeded):
    mount = seeded("fill=off")
    wait_until(lambda: mount.status()["peers"], "a peer")
    peer = mount.status()["peers"][0]
    assert peer["client"].startswith("libtorrent") and peer["address"].startswith("127.0.0.1:")
    assert {"down_rate", "up_rate", "rtt_ms", "pieces", "seed"} <= set(peer)
    assert "libtorrent" in p2pfs("status", mount.mountpoint).stdout


def test_status_says_why_it_stalls(seedless):
    mount = seedless()
    mount.wait_state("stalled")
    assert "no peers" in mount.status()["why"]
    assert "stalled: no peers" in p2pfs("status", mount.mountpoint).stdout


def test_status_of_all(image, tmp_path, seedless):
    first = seedless()
    with Mount(image.torrent, tmp_path, name="second") as second:
        got = json.loads(p2pfs("status", "--json", check=False).stdout)
        found = [one["mount"]["mountpoint"] for one in got]
        assert str(first.mountpoint) in found and str(second.mountpoint) in found
        text = p2pfs("status", check=False).stdout
        assert str(first.mountpoint) in text and str(second.mountpoint) in text


def test_status_of_a_stopped_daemon_does_not_hang(seedless):
    mount = seedless()
    mount.process.signal(signal.SIGSTOP)
    try:
        done = p2pfs("status", mount.mountpoint, check=False)
        assert done.returncode == 1 and "does not answer" in done.stderr
    finally:
        mount.process.signal(signal.SIGCONT)
    assert mount.status()["state"]


def test_status_of_a_dead_daemon(seedless):
    mount = seedless()
    mount.process.kill()
    done = p2pfs("status", mount.mountpoint, check=False)
    assert done.returncode == 1 and "dead" in done.stderr


@pytest.mark.parametrize("words,status,said", [
    (["/"], 1, "no p2pfs mount there"), (["a", "b"], 2, "got 2"), (["--yaml"], 2, "--yaml")])
def test_status_errors(words, status, said):
    done = p2pfs("status", *words, check=False)
    assert done.returncode == status and said in done.stderr


def test_watch_ends_with_the_mount(seedless, image):
    mount = seedless()
    watching = subprocess.Popen([P2PFS, "status", "--watch", "--json", mount.mountpoint], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
    with watching:
        for _ in range(2):
            assert json.loads(watching.stdout.readline())["size"] == image.size
        p2pfs("umount", mount.mountpoint)
        assert watching.wait(60) == 1


def test_status_into_a_closed_pipe(seedless):
    mount = seedless()
    done = run(["sh", "-c", f'"{P2PFS}" status "{mount.mountpoint}" >/dev/full'], check=False)
    assert done.returncode == 1 and "standard output" in done.stderr


# -- the socket ----------------------------------------------------------------------------------


def test_socket_speaks_lines(seedless, image):
    path = seedless().xattr("socket")
    assert json.loads(ask(path, b"status\n"))["size"] == image.size
    assert json.loads(ask(path, b"status\r\n"))["size"] == image.size
    assert json.loads(ask(path, b"status\n", close_writing=True))["size"] == image.size
    assert json.loads(ask(path, b"status\nstop\nmore"))["size"] == image.size  # one line a connection


@pytest.mark.parametrize("line,said", [
    (b"stat\n", b"error: stat: not status"), (b"\n", b"error: "), (b"\x1b[31m\n", b"\\x1b[31m"),
    (b"x" * 64, b"error: the line is too long"), (b"x" * 100_000 + b"\n", b"error: ")],
    ids=["short", "empty", "escape", "long", "huge"])
def test_nonsense_is_refused(seedless, line, said):
    mount = seedless()
    try:
        assert said in ask(mount.xattr("socket"), line)
    except (ConnectionResetError, BrokenPipeError):
        assert len(line) > 1000  # it was not read to its end
    assert mount.status()["state"]


def test_socket_is_for_its_owner_and_root(seedless):
    path = pathlib.Path(seedless().xattr("socket"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_silent_clients_do_not_lock_others_out_for_ever(seedless):
    """More connections than are held: those that come late are closed, and none holds the daemon up."""
    mount = seedless()
    path = mount.xattr("socket")
    silent = [connect(path) for _ in range(40)]
    wait_until(lambda: closed(silent[-1]), "the one too many to be closed")
    silent[0].close()
    wait_until(lambda: b"size" in ask_quietly(path), "the place of one that left")
    for one in silent:
        one.close()
    assert mount.status()["state"]


def closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def ask_quietly(path):
    try:
        return ask(path, b"status\n")
    except OSError:
        return b""


def test_stop_over_the_socket(seedless):
    mount = seedless()
    assert ask(mount.xattr("socket"), b"stop\n").startswith(b"stopping\n")
    assert mount.process.wait() == 0
    assert not mount.mounted()


def test_socket_is_gone_after_a_clean_end(seedless):
    mount = seedless()
    path = mount.xattr("socket")
    p2pfs("umount", mount.mountpoint)
    assert not os.path.exists(path)
