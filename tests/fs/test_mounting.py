# SPDX-License-Identifier: MIT
"""The command `p2pfs mount`: what it takes, when it returns, what it says, and what it leaves."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from lib import process
from lib.mounts import Mount, MountFailed
from lib.process import P2PFS, p2pfs, run
from lib.seeds import libtorrent_seed
from lib.torrents import make_torrent, odd_files
from lib.wait import wait_until


def fails(torrent, where, *options, mountpoint=None, status=1, **kw):
    """The message of a mount that must fail; nothing is mounted and no process is left."""
    with pytest.raises(MountFailed) as error:
        Mount(torrent, where, *options, mountpoint=mountpoint, **kw)
    assert error.value.status == status, error.value.message
    assert "\n" not in error.value.message.strip(), "one line of cause"
    return error.value.message


# -- when it returns -----------------------------------------------------------------------------


@pytest.mark.threads
def test_daemon_is_its_own_session_and_holds_no_terminal(image, tmp_path, stack):
    mount = stack.enter_context(Mount(image.torrent, tmp_path, foreground=False))
    assert mount.path.stat().st_size == image.size  # at once
    pid = mount.daemon_pid
    assert os.getsid(pid) == pid
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    for fd in range(3):
        assert os.readlink(f"/proc/{pid}/fd/{fd}") == "/dev/null"


def test_foreground_stays_a_child(seedless):
    mount = seedless()
    assert mount.process.alive()
    mount.process.signal(signal.SIGTERM)
    assert mount.process.wait() == 0


def test_ready_fd_in_the_background(image, tmp_path, stack):
    reading, writing = os.pipe()
    (tmp_path / "mnt").mkdir()
    stack.callback(lambda: p2pfs("umount", tmp_path / "mnt"))
    run([P2PFS, "mount", image.torrent, tmp_path / "mnt", "--ready-fd", str(writing), "-o", f"store={tmp_path}/store"],
        pass_fds=[writing])
    os.close(writing)
    assert os.read(reading, 100) == b"\n"
    assert os.read(reading, 100) == b""  # closed, by the daemon too
    os.close(reading)


@pytest.mark.parametrize("fd", ["99", "x", "-1", ""])
def test_ready_fd_must_be_open(image, tmp_path, fd):
    done = run([P2PFS, "mount", image.torrent, tmp_path, "--ready-fd", fd], check=False)
    assert done.returncode == 2 and f"--ready-fd: {fd}" in done.stderr


def test_closed_standard_descriptors(image, tmp_path, stack):
    """A caller that closed 0, 1 and 2: nothing of ours gets their numbers."""
    (tmp_path / "mnt").mkdir()
    stack.callback(lambda: p2pfs("umount", tmp_path / "mnt"))
    run(["sh", "-c", f'exec "{P2PFS}" mount "{image.torrent}" "{tmp_path}/mnt" -o store="{tmp_path}/store"'
                     " <&- >&- 2>&-"])
    assert (tmp_path / "mnt" / "template.raw").stat().st_size == image.size


# -- where ---------------------------------------------------------------------------------------


@pytest.mark.threads
def test_on_a_file(image, tmp_path, stack):
    target = tmp_path / "disk.raw"
    target.write_text("what was there before")
    seed = stack.enter_context(libtorrent_seed(image.torrent, image.path, tmp_path))
    with Mount(image.torrent, tmp_path, f"peer={seed.peer}", mountpoint=target) as mount:
        at = target.stat()
        assert at.st_size == image.size and target.is_file()
        assert target.read_bytes() == image.data
        assert mount.xattr("size", target) == str(image.size)
        assert "user.p2pfs.progress" in os.listxattr(target)
        assert mount.status()["mount"]["mountpoint"] == str(target)
    assert target.read_text() == "what was there before"


def test_on_a_file_needs_a_single_file_torrent(tmp_path):
    odd_files(tmp_path / "many", count=3)
    torrent = make_torrent(tmp_path / "many.torrent", tmp_path / "many")
    target = tmp_path / "target"
    target.touch()
    message = fails(torrent, tmp_path, mountpoint=target)
    assert str(target) in message and "3" in message


def test_on_a_link_to_a_folder(image, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with Mount(image.torrent, tmp_path, mountpoint=tmp_path / "link", foreground=False):
        assert (tmp_path / "real" / "template.raw").stat().st_size == image.size
        p2pfs("umount", tmp_path / "link")
        assert os.listdir(tmp_path / "real") == []


def test_relative_paths(image, tmp_path, stack):
    """The daemon stands at "/": what was relative to the caller still is."""
    shutil.copy(image.torrent.path, tmp_path / "t.torrent")
    (tmp_path / "mnt").mkdir()
    stack.callback(lambda: p2pfs("umount", tmp_path / "mnt"))
    run([P2PFS, "mount", "t.torrent", "mnt", "-o", "store=store,log=log"], cwd=tmp_path)
    status = json.loads(p2pfs("status", "--json", "mnt", cwd=tmp_path).stdout)
    assert status["mount"]["mountpoint"] == str(tmp_path / "mnt")
    assert status["mount"]["torrent"] == str(tmp_path / "t.torrent")
    assert status["mount"]["store"].startswith(str(tmp_path / "store"))
    assert (tmp_path / "log").exists()


def test_names_with_spaces_and_commas(image, tmp_path):
    where = tmp_path / "a b,c\\d\ttab"
    where.mkdir()
    torrent = where / "t,1.torrent"
    shutil.copy(image.torrent.path, torrent)
    store = str(tmp_path / "s")
    with Mount(torrent, tmp_path, mountpoint=where, store=store, foreground=False) as mount:
        assert mount.status()["mount"]["mountpoint"] == str(where)
        assert mount.status()["mount"]["torrent"] == str(torrent)
        p2pfs("umount", where)


def test_path_too_long_for_a_socket_address(image, tmp_path):
    """sun_path takes 107 bytes."""
    store = tmp_path / ("deep" * 40) / ("er" * 60)
    store.mkdir(parents=True)
    with Mount(image.torrent, tmp_path, store=store) as mount:
        assert mount.status()["size"] == image.size
        p2pfs("umount", mount.mountpoint)


@pytest.mark.parametrize("what", ["absent", "fifo", "below a file"])
def test_bad_mountpoints(image, tmp_path, what):
    target = tmp_path / "target"
    if what == "fifo":
        os.mkfifo(target)
    if what == "below a file":
        target.touch()
        target = target / "x"
    assert str(target) in fails(image.torrent, tmp_path, mountpoint=target)


# -- what ----------------------------------------------------------------------------------------


def test_torrent_that_is_not_there(tmp_path):
    assert "absent.torrent: No such file" in fails(tmp_path / "absent.torrent", tmp_path)


def test_torrent_that_is_none(tmp_path):
    bad = tmp_path / "bad.torrent"
    bad.write_bytes(b"d4:infoi5ee")
    assert str(bad) in fails(bad, tmp_path)


def test_torrent_from_a_web_server(image, tmp_path, stack):
    from lib.web import RangeServer
    server = stack.enter_context(RangeServer(image.torrent.path.parent))
    url = f"{server.url}template.torrent"
    with Mount(url, tmp_path) as mount:
        assert mount.path.stat().st_size == image.size
        assert mount.status()["mount"]["torrent"] == url
    assert "404" in fails(f"{server.url}absent.torrent", tmp_path, name="absent")


def test_magnet_of_what_was_mounted_before(image, tmp_path):
    magnet = f"magnet:?xt=urn:btih:{image.torrent.v1}"
    assert "no tracker and no peer" in fails(magnet, tmp_path, store=tmp_path / "store", name="before")
    with Mount(image.torrent, tmp_path, store=tmp_path / "store"):
        pass
    with Mount(magnet, tmp_path, store=tmp_path / "store", name="after") as mount:
        assert mount.path.stat().st_size == image.size


def test_damaged_magnet(tmp_path):
    assert "magnet:?xt=urn:btih:short" in fails("magnet:?xt=urn:btih:short", tmp_path)


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option,said", [
    ("rw", "rw: "), ("nonsense", "nonsense: no such option"), ("peer=nowhere", "peer: nowhere"),
    ("io=fast", "io: fast"), ("up=fast", "up: fast"), ("timeout=soon", "timeout: soon"),
    ("setuid=no-such-user", "setuid: no-such-user"), ("debug=everything", "debug: everything")])
def test_wrong_options_are_usage_errors(image, tmp_path, option, said):
    assert said in fails(image.torrent, tmp_path, option, status=2)


@pytest.mark.parametrize("words,said", [
    ([], "needs a TORRENT and a MOUNTPOINT"), (["a"], "got 1"), (["a", "b", "c"], "got 3"),
    (["--fast", "a", "b"], "--fast"), (["-o"], "-o")])
def test_wrong_command_lines_are_usage_errors(words, said):
    done = p2pfs("mount", *words, check=False)
    assert done.returncode == 2 and said in done.stderr and "--help" in done.stderr


def test_help():
    text = p2pfs("mount", "--help").stdout
    for word in ("--foreground", "--ready-fd", "store=", "peer=", "timeout=", "setuid=", "io="):
        assert word in text


def test_address_in_use(image, tmp_path, seedless):
    first = seedless()
    message = fails(image.torrent, tmp_path, name="second", port=first.port)
    assert str(first.port) in message


def test_store_has_one_writer(image, tmp_path, seedless):
    first = seedless()
    message = fails(image.torrent, tmp_path, name="second", store=first.store)
    assert str(first.pid) in message  # who holds it
    assert first.path.stat().st_size == image.size


def test_store_that_cannot_be_made(image, tmp_path):
    (tmp_path / "file").touch()
    assert "file/store" in fails(image.torrent, tmp_path, store=tmp_path / "file" / "store")


def test_log_is_reopened_on_sighup(seedless, tmp_path):
    log = tmp_path / "p2pfs.log"
    mount = seedless(f"log={log}", args=["-D", "fuse"])
    wait_until(log.exists, "the log")
    log.rename(tmp_path / "p2pfs.log.1")
    mount.process.signal(signal.SIGHUP)
    wait_until(log.exists, "the log, opened anew")
    mount.process.signal(signal.SIGUSR1)
    wait_until(lambda: '"state":' in log.read_text(), "the status in the new log")


def test_sigusr1_puts_the_status_into_the_log(seedless, image):
    mount = seedless()
    mount.process.signal(signal.SIGUSR1)
    line = mount.process.wait_output(r"status: (\{.*\})$").group(1)
    assert json.loads(line)["size"] == image.size
    assert mount.process.alive()


# -- other users ---------------------------------------------------------------------------------


@pytest.fixture
def open_to_nobody(tmp_path):
    if subprocess.run(["test", "-x", P2PFS], user="nobody", check=False).returncode:
        pytest.skip(f"nobody cannot run {P2PFS}")
    tmp_path.chmod(0o755)
    folder = tmp_path / "nobody"
    folder.mkdir()
    shutil.chown(folder, "nobody")
    return folder


@pytest.mark.threads
def test_setuid_drops_root(image, tmp_path, stack, open_to_nobody):
    seed = stack.enter_context(libtorrent_seed(image.torrent, image.path, tmp_path))
    (tmp_path / "store").mkdir(mode=0o755)  # so that nobody gets to his own entry in it
    options = [f"peer={seed.peer}", "setuid=nobody", "allow_other"]
    for _ in range(2):  # the second time the entry is nobody's already
        with Mount(image.torrent, tmp_path, *options, store=tmp_path / "store") as mount:
            uids = [line.split()[1:] for line in pathlib.Path(f"/proc/{mount.pid}/status").read_text().splitlines()
                    if line.startswith(("Uid:", "Gid:", "Groups:"))]
            assert uids[0] == ["65534"] * 4 and uids[1] == ["65534"] * 4
            assert mount.path.read_bytes() == image.data
            mount.wait_state("complete")
            for path in (mount.entry, *mount.entry.iterdir()):
                assert path.stat().st_uid == 65534, path
            done = run([P2PFS, "status", "--json", mount.mountpoint], user="nobody", group="nogroup", extra_groups=[])
            assert json.loads(done.stdout)["size"] == image.size
    assert not mount.mounted()


def test_setuid_ends_though_the_mountpoint_is_out_of_reach(image, tmp_path):
    """fusermount3 would not find its way there; the process that keeps root for this does."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with Mount(image.torrent, closed, "setuid=nobody", "allow_other") as mount:
        assert mount.path.stat().st_size == image.size
    assert not mount.mounted()


def test_setuid_mount_is_taken_away_after_a_crash(image, tmp_path):
    with Mount(image.torrent, tmp_path, "setuid=nobody", "allow_other") as mount:
        mount.process.kill()
        wait_until(lambda: not mount.mounted(), "the dead mount to be taken away")
        wait_until(lambda: not any(str(mount.mountpoint) in words for words in process.marked().values()),
                   "the end of who took it away")


def test_setuid_without_allow_other_serves_that_user_alone(seedless, tmp_path):
    tmp_path.chmod(0o755)
    mount = seedless("setuid=nobody")
    assert run(["ls", mount.mountpoint], user="nobody", group="nogroup", extra_groups=[]).stdout
    assert run(["ls", mount.mountpoint], check=False).returncode
    assert mount.status()["mount"]["pid"] == mount.pid  # root may ask all the same, and end it
    assert p2pfs("umount", mount.mountpoint).stderr == ""
    assert mount.process.wait() == 0


def test_by_an_unprivileged_user(image, open_to_nobody, stack):
    """fusermount3 does the mounting; the store is the user's."""
    folder = open_to_nobody
    shutil.copy(image.torrent.path, folder / "t.torrent")
    (folder / "mnt").mkdir()
    shutil.chown(folder / "mnt", "nobody")
    user = {"user": "nobody", "group": "nogroup", "extra_groups": [], "cwd": folder,
            "env": {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": ""}}
    seed = stack.enter_context(libtorrent_seed(image.torrent, image.path, folder.parent))
    run([P2PFS, "mount", "t.torrent", "mnt", "-o", f"peer={seed.peer}"], **user)
    stack.callback(lambda: subprocess.run(["umount", "-l", folder / "mnt"], check=False, stderr=subprocess.DEVNULL))
    assert run(["sha256sum", "mnt/template.raw"], **user).stdout == \
        run(["sha256sum", image.path]).stdout.replace(str(image.path), "mnt/template.raw")
    assert (folder / ".local/share/p2pfs" / image.torrent.v1 / "socket").exists()
    assert json.loads(run([P2PFS, "status", "--json", "mnt"], **user).stdout)["size"] == image.size
    run([P2PFS, "umount", "mnt"], **user)
    assert os.listdir(folder / "mnt") == []


def test_by_an_unprivileged_user_sigterm_unmounts(image, open_to_nobody, stack):
    folder = open_to_nobody
    shutil.copy(image.torrent.path, folder / "t.torrent")
    with Mount(folder / "t.torrent", folder, start=False) as mount:
        for path in (mount.dir, mount.mountpoint):
            shutil.chown(path, "nobody")
        reading, writing = os.pipe()
        mount.process = process.Daemon(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *mount.argv,
                                        "--ready-fd", str(writing)], mount.log, name="nobody's", pass_fds=[writing])
        os.close(writing)
        assert os.read(reading, 100) == b"\n", mount.process.output()
        os.close(reading)
        assert mount.mounted()
        mount.process.signal(signal.SIGTERM)
        assert mount.process.wait() == 0
        assert not mount.mounted()


# -- after a crash -------------------------------------------------------------------------------


def test_dead_mount_is_taken_away(image, tmp_path):
    with Mount(image.torrent, tmp_path) as first:
        first.process.kill()
        with pytest.raises(OSError):
            os.stat(first.mountpoint)
        with Mount(image.torrent, tmp_path, store=first.store, mountpoint=first.mountpoint) as again:
            assert again.path.stat().st_size == image.size
            assert "daemon is dead" in again.process.output()
        assert not again.mounted()


def test_stale_socket_is_replaced(image, tmp_path):
    with Mount(image.torrent, tmp_path) as first:
        socket = pathlib.Path(first.xattr("socket"))
        first.kill()
        assert socket.exists()
        with Mount(image.torrent, tmp_path, store=first.store) as again:
            assert again.status()["mount"]["pid"] == again.pid
        assert not socket.exists()


def test_daemon_that_dies_before_it_is_ready_is_told(image, tmp_path):
    """A limit on descriptors that it cannot start with: an error, an exit status, nothing mounted."""
    (tmp_path / "mnt").mkdir()
    done = run(["sh", "-c", f'ulimit -n 12; exec "{P2PFS}" mount "{image.torrent}" "{tmp_path}/mnt"'
                            f' -o store="{tmp_path}/store"'], check=False)
    assert done.returncode == 1 and "p2pfs mount: " in done.stderr
    assert os.listdir(tmp_path / "mnt") == []
