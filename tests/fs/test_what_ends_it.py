# SPDX-License-Identifier: MIT
"""A read waits and nobody answers it: everything that can end it, for every way to read.

There is no seed, so nothing but the event under test can end a reader.
"""

import os
import signal
import subprocess

import pytest

from lib.process import p2pfs, run
from lib.readers import Reader
from lib.wait import wait_until

pytestmark = pytest.mark.threads

# How the file is opened by p2pfs, and read.
WAYS = [("direct", "read"), ("direct", "O_DIRECT"), ("direct", "mmap"),
        ("cached", "read"), ("cached", "O_DIRECT"), ("cached", "mmap")]
# What a reader sees when its request fails: the kernel gives EIO for a page of the cache, whatever the daemon said.
LOST = {"read": {"EIO", "ENOTCONN", "ECONNABORTED", "ESHUTDOWN"},
        "O_DIRECT": {"EIO", "ENOTCONN", "ECONNABORTED", "ESHUTDOWN"}, "mmap": {"SIGBUS"}}

every_way = pytest.mark.parametrize("io,how", WAYS, ids=[f"{io}-{how}" for io, how in WAYS])


@pytest.fixture
def waiting(seedless, stack, wait_for_readers, request):
    """A mount and a reader of it that waits."""
    io, how = request.getfixturevalue("io"), request.getfixturevalue("how")
    mount = seedless(f"io={io}")
    reader = stack.enter_context(Reader(mount.path, how))
    wait_for_readers(mount, 1)
    return mount, reader


def ended(mount):
    return mount.process.wait(), mount.mounted()


@every_way
def test_sigterm_ends_the_reader(waiting, io, how):
    mount, reader = waiting
    reader.signal(signal.SIGTERM)
    assert reader.outcome() == "SIGTERM"
    assert os.stat(mount.path).st_size  # and the mount is as it was


@every_way
def test_sigkill_ends_the_reader(waiting, io, how):
    mount, reader = waiting
    reader.signal(signal.SIGKILL)
    assert reader.outcome() == "SIGKILL"
    if how != "mmap" and io == "direct" or how == "O_DIRECT":
        # The kernel told us: nothing is left that waits.
        wait_until(lambda: mount.xattr("waiting") == "0", "the read to be forgotten")


@pytest.mark.parametrize("io,how", [("direct", "read"), ("direct", "O_DIRECT"), ("cached", "O_DIRECT")])
def test_handled_signal_gives_eintr(waiting, io, how):
    mount, reader = waiting
    reader.signal(signal.SIGUSR1)
    assert reader.outcome() == "EINTR"
    wait_until(lambda: mount.xattr("waiting") == "0", "the read to be forgotten")


@every_way
def test_sigterm_of_the_daemon_ends_all(waiting, io, how):
    mount, reader = waiting
    mount.process.signal(signal.SIGTERM)
    assert reader.outcome() in LOST[how]
    assert ended(mount) == (0, False)


@every_way
def test_sigint_of_the_daemon_ends_all(waiting, io, how):
    mount, reader = waiting
    mount.process.signal(signal.SIGINT)
    assert reader.outcome() in LOST[how]
    assert ended(mount) == (0, False)


@every_way
def test_p2pfs_umount_ends_all(waiting, io, how):
    mount, reader = waiting
    p2pfs("umount", mount.mountpoint)
    assert not mount.mounted()
    assert reader.outcome() in LOST[how]
    assert ended(mount) == (0, False)


@every_way
def test_sigkill_of_the_daemon_frees_the_reader(waiting, io, how):
    mount, reader = waiting
    mount.process.kill()
    assert reader.outcome() in LOST[how]
    p2pfs("umount", mount.mountpoint)
    assert not mount.mounted()


@every_way
def test_forced_umount_frees_the_reader_and_ends_the_daemon(waiting, io, how):
    mount, reader = waiting
    run(["umount", "-f", mount.mountpoint], check=False)  # says "busy" when the reader still holds the file
    assert reader.outcome() in LOST[how]
    assert ended(mount) == (0, False)


@every_way
def test_abort_of_the_connection_ends_the_daemon(waiting, io, how):
    mount, reader = waiting
    mount.abort()
    assert reader.outcome() in LOST[how]
    assert ended(mount) == (0, False)


@every_way
def test_fusermount_says_busy_and_changes_nothing(waiting, io, how):
    mount, reader = waiting
    done = run(["fusermount3", "-u", mount.mountpoint], check=False)
    assert done.returncode and "busy" in done.stderr.lower()
    assert mount.mounted() and reader.waits() and int(mount.xattr("waiting")) >= 1


@every_way
def test_lazy_umount_leaves_the_reader_until_it_ends(waiting, io, how):
    mount, reader = waiting
    run(["fusermount3", "-u", "-z", mount.mountpoint])
    assert not mount.mounted()
    assert reader.waits() and mount.process.alive()
    reader.signal(signal.SIGKILL)
    assert reader.outcome() == "SIGKILL"
    assert mount.process.wait() == 0  # with its last file closed, the daemon leaves


@every_way
def test_timeout_gives_eio(image, seedless, stack, io, how):
    mount = seedless(f"io={io}", "timeout=1")
    reader = stack.enter_context(Reader(mount.path, how))
    assert reader.outcome() == ("SIGBUS" if how == "mmap" else "EIO")
    assert mount.xattr("waiting") == "0"


def test_cached_readers_do_not_wait_a_timeout_for_each_page(seedless, stack):
    """A readahead that failed is asked again page by page: those get the same answer at once."""
    mount = seedless("io=cached", "timeout=3")
    readers = [stack.enter_context(Reader(mount.path, offset=n * 4096, size=65536)) for n in range(4)]
    assert [reader.outcome() for reader in readers] == ["EIO"] * 4


def test_seed_that_comes_later_ends_all_kinds(image, seedless, stack, tmp_path, wait_for_readers):
    from lib.seeds import libtorrent_seed
    mount = seedless()
    readers = [stack.enter_context(Reader(mount.path, how, offset=n << 18, size=8192))
               for n, how in enumerate(["read", "O_DIRECT", "mmap", "read"])]
    wait_for_readers(mount, 4)
    seed = stack.enter_context(libtorrent_seed(image.torrent, image.path, tmp_path))
    seed.connect(mount.address, mount.port)
    assert [reader.outcome() for reader in readers] == ["8192 bytes"] * 4


def test_file_held_open_does_not_keep_the_daemon(seeded, stack):
    """A reader that got its bytes and holds the file: SIGTERM detaches the mount and ends all the same."""
    mount = seeded()
    holder = stack.enter_context(Reader(mount.path, "hold"))
    assert holder.line() == "4096 bytes"
    mount.process.signal(signal.SIGTERM)
    assert ended(mount) == (0, False)
    assert "files are still open: detached" in mount.process.output()


def test_umount_tells_of_files_held_open(seeded, stack):
    mount = seeded()
    holder = stack.enter_context(Reader(mount.path, "hold"))
    assert holder.line() == "4096 bytes"
    done = p2pfs("umount", mount.mountpoint)
    assert "files were still open: detached" in done.stderr
    assert ended(mount) == (0, False)


def test_interrupts_race_with_answers(seeded, stack):
    """Signals at readers while their bytes come: each read ends once, with its bytes or with EINTR."""
    mount = seeded("io=direct", "fill=off")
    for n in range(40):
        reader = stack.enter_context(Reader(mount.path, offset=n * 65536, size=16384))
        reader.signal(signal.SIGUSR1)
        assert reader.outcome() in {"16384 bytes", "EINTR"}, n
    with open(mount.path, "rb") as file:
        assert len(file.read()) == os.stat(mount.path).st_size


def test_bystander_is_not_disturbed(seedless, stack, wait_for_readers):
    """While one reader is ended, another of the same block goes on waiting."""
    mount = seedless()
    first, second = (stack.enter_context(Reader(mount.path)) for _ in range(2))
    wait_for_readers(mount, 2)
    first.signal(signal.SIGKILL)
    assert first.outcome() == "SIGKILL"
    wait_until(lambda: mount.xattr("waiting") == "1", "one read that waits")
    assert second.waits()
    assert subprocess.run(["stat", mount.path], check=True, capture_output=True).stdout
