# SPDX-License-Identifier: MIT
"""mount(8), fstab and mount.fuse3: our helper under its names, their exit codes, and a second `mount -a`.

The links are where `make install` puts them, for the time of these tests: mount(8) looks nowhere else.
"""

import os
import pathlib
import subprocess

import pytest

from lib.process import P2PFS, marked, p2pfs, run
from lib.wait import wait_until

pytestmark = pytest.mark.xdist_group("fstab")  # the links are the machine's

SBIN = pathlib.Path("/usr/sbin")


def link(path, stack):
    """Puts a link to the program under test at `path`, in place of what is there."""
    aside = path.with_name(path.name + ".aside-for-tests")
    if os.path.lexists(path):
        os.rename(path, aside)
        stack.callback(os.rename, aside, path)
    path.symlink_to(os.path.abspath(P2PFS))
    stack.callback(path.unlink)


@pytest.fixture
def helper(stack):
    """mount -t p2pfs"""
    link(SBIN / "mount.p2pfs", stack)


@pytest.fixture
def fuse_helper(stack):
    """mount -t fuse.p2pfs, by our own link"""
    link(SBIN / "mount.fuse.p2pfs", stack)


@pytest.fixture
def in_path(stack):
    """mount -t fuse.p2pfs, by mount.fuse3, which runs `p2pfs` from its PATH"""
    link(pathlib.Path("/usr/bin/p2pfs"), stack)


@pytest.fixture
def here(tmp_path, stack):
    """A mountpoint that is free again at the end."""
    folder = tmp_path / "mnt"
    folder.mkdir()
    stack.callback(lambda: [p2pfs("umount", folder, check=False) for _ in range(mounted(folder))])
    return folder


def mounted(folder):
    """How many mounts lie there."""
    return sum(line.split()[4] == str(folder) for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines())


def mount(*words, check=True, kind="p2pfs"):
    return run(["mount", "-t", kind, *words], check=check)


def options(tmp_path, *more):
    return ",".join([f"store={tmp_path}/store", *more])


def test_mount_t(image, tmp_path, here, helper):
    mount("-o", options(tmp_path), image.torrent, here)
    assert (here / "template.raw").stat().st_size == image.size
    source = run(["findmnt", "-n", "-o", "SOURCE,FSTYPE", here]).stdout.split()
    assert source == [str(image.torrent), "fuse.p2pfs"]
    before = marked()
    run(["umount", here])
    assert mounted(here) == 0
    wait_until(lambda: len(marked()) < len(before), "the daemon to leave by itself")


def test_mount_t_fuse_by_our_own_link(image, tmp_path, here, fuse_helper):
    mount("-o", options(tmp_path, "nofail"), image.torrent, here, kind="fuse.p2pfs")
    assert (here / "template.raw").stat().st_size == image.size


def test_mount_t_fuse_by_mount_fuse3(image, tmp_path, here, in_path):
    if os.path.lexists(SBIN / "mount.fuse.p2pfs"):
        pytest.skip("mount.fuse.p2pfs is installed here")
    mount("-o", options(tmp_path, "allow_other"), image.torrent, here, kind="fuse.p2pfs")
    assert (here / "template.raw").stat().st_size == image.size


def test_mount_fuse3_setuid(image, tmp_path, here, in_path):
    """mount.fuse3 takes setuid= for itself: it becomes that user first."""
    if os.path.lexists(SBIN / "mount.fuse.p2pfs"):
        pytest.skip("mount.fuse.p2pfs is installed here")
    tmp_path.chmod(0o755)
    (tmp_path / "nobodys").mkdir(mode=0o700)
    os.chown(tmp_path / "nobodys", 65534, 65534)
    os.chown(here, 65534, 65534)
    for path in (image.torrent.path.parent, image.torrent.path):
        path.chmod(0o755)
    mount("-o", f"setuid=nobody,store={tmp_path}/nobodys/store", image.torrent, here, kind="fuse.p2pfs")
    assert run(["ls", here], user="nobody", group="nogroup", extra_groups=[]).stdout == "template.raw\n"


@pytest.fixture
def fstab(tmp_path, image, here):
    def write(kind="p2pfs", more="_netdev,nofail,x-systemd.automount,noatime", spec=None):
        table = tmp_path / "fstab"
        table.write_text(f"{spec or image.torrent} {here} {kind} {options(tmp_path, more)} 0 0\n")
        return table
    return write


@pytest.mark.parametrize("kind", ["p2pfs", "fuse.p2pfs"])
def test_mount_a_twice_mounts_once(fstab, here, image, helper, fuse_helper, kind):
    table = fstab(kind)
    for _ in range(3):
        run(["mount", "-a", "-T", table])
        assert mounted(here) == 1
    assert (here / "template.raw").stat().st_size == image.size


def test_mount_a_twice_through_a_link(fstab, here, image, tmp_path, helper):
    """mount(8) follows the links of a source before it compares."""
    (tmp_path / "current.torrent").symlink_to(image.torrent.path)
    table = fstab(spec=tmp_path / "current.torrent")
    for _ in range(2):
        run(["mount", "-a", "-T", table])
        assert mounted(here) == 1


def test_mount_by_mountpoint_alone(fstab, here, image, helper):
    run(["mount", "-T", fstab(more="noauto,user,exec,comment=image"), here])
    assert (here / "template.raw").stat().st_size == image.size


def test_defaults_and_ro_are_taken(image, tmp_path, here, helper):
    mount("-r", "-o", options(tmp_path, "defaults,ro,nosuid,nodev,noexec"), image.torrent, here)
    words = run(["findmnt", "-n", "-o", "OPTIONS", here]).stdout.strip().split(",")
    assert {"ro", "nosuid", "nodev", "noexec"} <= set(words)


# -- what can go wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("option,status,said", [
    ("nonsense", 1, "nonsense: no such option"), ("io=fast", 1, "io: fast"), ("peer=x", 1, "peer: x"),
    ("remount", 1, "remount"), ("log=/nonexistent/log", 32, "/nonexistent/log")])
def test_wrong_options(image, tmp_path, here, helper, option, status, said):
    done = mount("-o", options(tmp_path, option), image.torrent, here, check=False)
    assert done.returncode == status and said in done.stderr
    assert mounted(here) == 0


def test_sloppy_passes_over_unknown_options(image, tmp_path, here, helper):
    mount("-s", "-o", options(tmp_path, "nonsense,more=nonsense"), image.torrent, here)
    assert mounted(here) == 1


def test_torrent_that_is_not_there(tmp_path, here, helper):
    done = mount("-o", options(tmp_path), tmp_path / "absent.torrent", here, check=False)
    assert done.returncode == 32 and "absent.torrent" in done.stderr
    assert mounted(here) == 0


def test_mount_a_says_what_failed_and_fails(fstab, tmp_path, here, helper):
    done = run(["mount", "-a", "-T", fstab(spec=tmp_path / "absent.torrent")], check=False)
    assert done.returncode and "absent.torrent" in done.stderr


def test_fake_does_all_but_mount(image, tmp_path, here, helper):
    mount("-f", "-o", options(tmp_path), image.torrent, here)
    assert mounted(here) == 0 and not (tmp_path / "store").exists()
    done = mount("-f", "-o", options(tmp_path), tmp_path / "absent.torrent", here, check=False)
    assert done.returncode == 32


def call_helper(*words, name="mount.p2pfs", **kw):
    return subprocess.run([name, *words], executable=P2PFS, capture_output=True, text=True, check=False, timeout=60, **kw)


@pytest.mark.parametrize("words,status,said", [
    ([], 1, "got 0 words"), (["a"], 1, "got 1"), (["a", "b", "c"], 1, "got 3"), (["-X", "a", "b"], 1, "-X"),
    (["-o"], 1, "-o"), (["-h"], 0, ""), (["-N", "/nonexistent", "a", "b"], 2, "/nonexistent")])
def test_helper_called_by_hand(words, status, said):
    done = call_helper(*words)
    assert done.returncode == status and said in done.stderr


def test_helper_takes_mounts_own_flags(image, tmp_path, here):
    done = call_helper(image.torrent, here, "-n", "-v", "-o", options(tmp_path, "rw"), "-t", "fuse.p2pfs")
    assert done.returncode == 0, done.stderr
    assert mounted(here) == 1


def test_helper_with_hardly_any_environment(image, tmp_path, here):
    """As systemd runs it."""
    done = call_helper(image.torrent, here, "-o", options(tmp_path), env={}, cwd="/")
    assert done.returncode == 0, done.stderr
    assert (here / "template.raw").stat().st_size == image.size


def test_helper_into_another_namespace(image, tmp_path, here, stack):
    there = stack.enter_context(subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-c",
                                                  "echo ready; exec cat"], stdin=subprocess.PIPE,
                                                 stdout=subprocess.PIPE, text=True))
    assert there.stdout.readline() == "ready\n"
    done = call_helper(image.torrent, here, "-N", str(there.pid), "-o", options(tmp_path))
    assert done.returncode == 0, done.stderr
    assert mounted(here) == 0
    enter = ["nsenter", "-m", "-t", str(there.pid)]
    assert run([*enter, "ls", here]).stdout == "template.raw\n"
    run([*enter, P2PFS, "umount", here])
    there.stdin.close()


def test_interrupted_while_it_mounts(tmp_path, here, stack):
    """A web server that does not answer: ^C ends helper and daemon, and nothing is mounted."""
    import signal
    import socket
    silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    url = f"http://127.0.0.1:{silent.getsockname()[1]}/image.torrent"
    waiting = subprocess.Popen(["mount.p2pfs", url, here, "-o", options(tmp_path)], executable=P2PFS,
                               stderr=subprocess.PIPE, text=True)
    connection, _ = silent.accept()
    with connection, waiting:
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(60) == 8
        connection.settimeout(60)
        while connection.recv(65536):  # to its end: the daemon is gone
            pass
    assert mounted(here) == 0
