# SPDX-License-Identifier: MIT
"""Whatever would change something fails with EROFS: the contents are what the info-hash says."""

import errno
import os

import pytest

from lib.process import run


def touch(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))


# file: the image; folder: the mountpoint
CALLS = {
    "open for writing": lambda file, folder: os.open(file, os.O_WRONLY),
    "open for both": lambda file, folder: os.open(file, os.O_RDWR),
    "open to append": lambda file, folder: os.open(file, os.O_WRONLY | os.O_APPEND),
    "open to truncate": lambda file, folder: os.open(file, os.O_WRONLY | os.O_TRUNC),
    "create": lambda file, folder: touch(folder / "new"),
    "create a temporary": lambda file, folder: os.open(folder, os.O_TMPFILE | os.O_RDWR),
    "truncate": lambda file, folder: os.truncate(file, 0),
    "chmod": lambda file, folder: os.chmod(file, 0o777),
    "chmod of the root": lambda file, folder: os.chmod(folder, 0o777),
    "chown": lambda file, folder: os.chown(file, 1, 1),
    "utime": lambda file, folder: os.utime(file, (0, 0)),
    "unlink": lambda file, folder: os.unlink(file),
    "rename": lambda file, folder: os.rename(file, folder / "other"),
    "link": lambda file, folder: os.link(file, folder / "other"),
    "symlink": lambda file, folder: os.symlink("x", folder / "other"),
    "mkdir": lambda file, folder: os.mkdir(folder / "other"),
    "mknod": lambda file, folder: os.mknod(folder / "other"),
    "mkfifo": lambda file, folder: os.mkfifo(folder / "other"),
    "setxattr": lambda file, folder: os.setxattr(file, "user.p2pfs.state", b"complete"),
    "removexattr": lambda file, folder: os.removexattr(file, "user.p2pfs.state"),
}


@pytest.fixture(scope="module")
def mount(image, tmp_path_factory):
    from lib.mounts import Mount
    with Mount(image.torrent, tmp_path_factory.mktemp("ro")) as mounted:
        yield mounted


@pytest.fixture(scope="module")
def remounted(image, tmp_path_factory):
    """Somebody with root's powers takes the kernel's "ro" away: then it is p2pfs itself that says no."""
    from lib.mounts import Mount
    with Mount(image.torrent, tmp_path_factory.mktemp("rw")) as mounted:
        run(["mount", "-i", "-o", "remount,rw", mounted.mountpoint])
        yield mounted


@pytest.mark.parametrize("call", CALLS)
def test_erofs(mount, call):
    with pytest.raises(OSError) as error:
        CALLS[call](mount.path, mount.mountpoint)
    assert error.value.errno == errno.EROFS


@pytest.mark.parametrize("call", [c for c in CALLS if c != "create a temporary"])
def test_erofs_even_after_a_remount(remounted, call):
    with pytest.raises(OSError) as error:
        CALLS[call](remounted.path, remounted.mountpoint)
    assert error.value.errno == errno.EROFS


def test_write_through_a_read_only_descriptor(mount):
    fd = os.open(mount.path, os.O_RDONLY)
    try:
        for call in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 0), lambda: os.posix_fallocate(fd, 0, 10)):
            with pytest.raises(OSError) as error:
                call()
            assert error.value.errno in {errno.EBADF, errno.EINVAL}
        for call in (lambda: os.fchmod(fd, 0o777), lambda: os.fchown(fd, 1, 1)):
            with pytest.raises(OSError) as error:
                call()
            assert error.value.errno == errno.EROFS  # what libvirt tolerates
        os.fsync(fd)
    finally:
        os.close(fd)


def test_nothing_changed(mount, image):
    assert os.listdir(mount.mountpoint) == [mount.path.name]
    assert mount.path.stat().st_size == image.size


def test_mounted_with_safe_flags(mount):
    options = run(["findmnt", "-n", "-o", "OPTIONS,FSTYPE,SOURCE", mount.mountpoint]).stdout
    for word in ("ro", "nosuid", "nodev", "fuse.p2pfs", str(mount.torrent)):
        assert word in options.replace(",", " ").split()
