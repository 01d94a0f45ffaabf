# SPDX-License-Identifier: MIT
"""Metadata is honest and constant: names, sizes, times, owners, blocks, links, statfs, extended attributes."""

import os
import stat

import pytest

from lib.mounts import Mount
from lib.process import run
from lib.torrents import Torrent, make_torrent, odd_files

ALL = ["progress", "had", "zero", "stored", "size", "state", "why", "info_hash", "info_hash_v2", "peers", "seeds",
       "waiting", "down_rate", "up_rate", "socket", "io"]


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "many"
    sizes = odd_files(folder)
    return sizes, make_torrent(tmp_path / "many.torrent", folder)


def test_a_file(seedless, image):
    mount = seedless()
    at = mount.path.stat()
    assert mount.path.name == "template.raw"
    assert at.st_size == image.size
    assert stat.S_IMODE(at.st_mode) == 0o444 and stat.S_ISREG(at.st_mode)
    assert (at.st_uid, at.st_gid) == (os.getuid(), os.getgid())
    assert at.st_nlink == 1
    assert at.st_blocks == 0  # nothing is here
    root = mount.mountpoint.stat()
    assert stat.S_IMODE(root.st_mode) == 0o555 and stat.S_ISDIR(root.st_mode)
    assert root.st_nlink == 2


def test_times_are_the_torrents(seedless, image):
    """libtorrent writes a creation date."""
    import libtorrent as lt
    created = lt.torrent_info(str(image.torrent)).creation_date()
    at = seedless().path.stat()
    assert created > 1_600_000_000
    assert at.st_mtime == at.st_ctime == at.st_atime == created


def test_times_without_a_creation_date_are_the_torrent_files(image, tmp_path):
    import libtorrent as lt
    raw = lt.bdecode(image.torrent.path.read_bytes())
    del raw[b"creation date"]
    undated = tmp_path / "undated.torrent"
    undated.write_bytes(lt.bencode(raw))
    os.utime(undated, (1_500_000_000, 1_500_000_000))
    with Mount(undated, tmp_path) as mount:
        assert mount.path.stat().st_mtime == 1_500_000_000


def test_owner_and_mode_as_asked(seedless):
    mount = seedless("uid=1234", "gid=2345", "mode=0640", "allow_other")
    at, root = mount.path.stat(), mount.mountpoint.stat()
    assert (at.st_uid, at.st_gid, stat.S_IMODE(at.st_mode)) == (1234, 2345, 0o640)
    assert (root.st_uid, root.st_gid, stat.S_IMODE(root.st_mode)) == (1234, 2345, 0o750)


def test_others_may_look_if_allowed_and_by_mode(seedless, tmp_path):
    tmp_path.chmod(0o755)
    mount = seedless("allow_other", "mode=0444")
    assert run(["stat", "-c", "%s", mount.path], user="nobody").stdout
    closed = seedless("allow_other", "mode=0400", name="closed")
    done = run(["stat", "-c", "%s", closed.mountpoint / mount.path.name], user="nobody", check=False)
    assert "Permission denied" in done.stderr


def test_others_may_not_look_unless_allowed(seedless, tmp_path):
    tmp_path.chmod(0o755)
    mount = seedless()
    assert run(["ls", mount.dir], user="nobody").stdout  # it is not the way there that is closed
    done = run(["ls", mount.mountpoint], user="nobody", check=False)
    assert done.returncode and "Permission denied" in done.stderr


def test_blocks_grow_to_what_is_here(seeded, image):
    mount = seeded("fill=off")
    with open(mount.path, "rb", buffering=0) as file:
        file.read(4096)
        run(["stat", mount.path])
    some = int(mount.xattr("stored", mount.path))
    assert 0 < some < image.size
    with open(mount.path, "rb") as file:
        file.read()
    mount.wait_state("complete")
    assert int(mount.xattr("stored", mount.path)) == image.size
    # The kernel may believe the first answer for a second.
    from lib.wait import wait_until
    wait_until(lambda: mount.path.stat().st_blocks == (image.size + 511) // 512, lambda: mount.path.stat())


def test_known_zeros_take_no_blocks(seeded, sparse):
    mount = seeded(of=sparse)
    mount.wait_state("complete")
    at = mount.path.stat()
    assert at.st_size == sparse.size
    assert at.st_blocks * 512 <= 64 * 1024 * 5


def test_statfs(seedless, image):
    at = os.statvfs(seedless().mountpoint)
    assert at.f_frsize * at.f_blocks >= image.size > at.f_frsize * (at.f_blocks - 1)
    assert at.f_bfree == at.f_bavail == at.f_ffree == 0
    assert at.f_files == 2 and at.f_namemax == 255
    assert at.f_flag & os.ST_RDONLY and at.f_flag & os.ST_NOSUID


def test_inode_size_and_time_are_constant(seeded, image):
    mount = seeded()
    before = mount.path.stat()
    mount.wait_state("complete")
    after = mount.path.stat()
    for field in ("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_mode", "st_dev"):
        assert getattr(before, field) == getattr(after, field), field


def test_many_files(tree, tmp_path):
    sizes, torrent = tree
    with Mount(torrent, tmp_path) as mount:
        found, folders = {}, []
        for folder, names, files in os.walk(mount.mountpoint):
            folders.append(folder)
            assert os.stat(folder).st_nlink == 2 + len(names), folder
            for name in files:
                path = os.path.join(folder, name)
                found[os.path.relpath(path, mount.mountpoint)] = os.stat(path).st_size
        assert found == sizes
        inodes = [os.lstat(os.path.join(f, n)).st_ino for f in folders for n in os.listdir(f)]
        assert len(set(inodes)) == len(inodes)
        assert os.statvfs(mount.mountpoint).f_files == len(sizes) + len(folders)
        # By hand, "." and ".." included, with telldir and seekdir in between.
        assert run(["find", mount.mountpoint, "-type", "f"]).stdout.count("\n") == len(sizes)
        assert run(["ls", "-a", mount.mountpoint]).stdout.splitlines()[:2] == [".", ".."]


def test_ten_thousand_files_in_a_folder(tmp_path):
    folder = tmp_path / "wide"
    folder.mkdir()
    names = [f"file-{n:05}-{'x' * (n % 100)}" for n in range(10_000)]
    for name in names:
        (folder / name).touch()
    (folder / "last").write_bytes(b"something")
    with Mount(make_torrent(tmp_path / "wide.torrent", folder), tmp_path) as mount:
        assert sorted(os.listdir(mount.mountpoint)) == sorted([*names, "last"])
        with os.scandir(mount.mountpoint) as entries:
            assert all(entry.is_file(follow_symlinks=False) for entry in entries)


def test_executables_keep_their_x(tmp_path):
    folder = tmp_path / "tools"
    folder.mkdir()
    for name, mode in (("run", 0o755), ("data", 0o644)):
        (folder / name).write_bytes(b"#!/bin/sh\necho hello\n")
        (folder / name).chmod(mode)
    with Mount(make_torrent(tmp_path / "tools.torrent", folder), tmp_path) as mount:
        assert stat.S_IMODE((mount.mountpoint / "run").stat().st_mode) == 0o555
        assert stat.S_IMODE((mount.mountpoint / "data").stat().st_mode) == 0o444


def test_absent_names_stay_absent(seedless):
    mount = seedless()
    for name in ("absent", "TEMPLATE.RAW", "template.raw ", "x" * 255, "..."):
        with pytest.raises(FileNotFoundError):
            os.stat(mount.mountpoint / name)
    with pytest.raises(OSError, match="too long"):
        os.stat(mount.mountpoint / ("x" * 256))
    with pytest.raises(NotADirectoryError):
        os.stat(mount.path / "x")


def test_xattrs(seedless, image):
    mount = seedless()
    assert sorted(os.listxattr(mount.mountpoint)) == sorted(f"user.p2pfs.{name}" for name in ALL)
    assert os.listxattr(mount.path) == []  # nothing for `cp -a` to carry along
    torrent = Torrent(image.torrent.path)
    for path in (mount.mountpoint, mount.path):
        got = {name: mount.xattr(name, path) for name in ALL}
        assert got["progress"] == "0.0" and got["had"] == "0" and got["zero"] == "0"
        assert got["size"] == str(image.size)
        assert got["state"] in {"checking", "fetching", "stalled"}
        assert got["info_hash"] == torrent.v1 and got["info_hash_v2"] == torrent.v2
        assert got["peers"] == got["seeds"] == got["waiting"] == "0"
        assert os.path.exists(got["socket"])
        assert got["io"] == ("direct" if path == mount.path else "")
    with pytest.raises(OSError, match="No data"):
        os.getxattr(mount.path, "user.p2pfs.nonsense")
    with pytest.raises(OSError, match="No data"):
        os.getxattr(mount.path, "security.capability")


def test_xattrs_of_a_complete_image(seeded, image):
    mount = seeded()
    mount.wait_state("complete")
    assert mount.xattr("progress") == "100.0"
    assert int(mount.xattr("had")) == image.size
    assert mount.xattr("state") == "complete" and mount.xattr("why") == ""


def test_xattr_buffer_too_small_is_erange(seedless):
    import ctypes
    mount = seedless()
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(4)
    assert libc.getxattr(bytes(mount.path), b"user.p2pfs.socket", buffer, 4) == -1
    assert ctypes.get_errno() == 34  # ERANGE
    assert libc.listxattr(bytes(mount.mountpoint), buffer, 4) == -1
    assert ctypes.get_errno() == 34
