# SPDX-License-Identifier: MIT
"""Every way to read gives the image's bytes, however the file is opened underneath and however much is here."""

import hashlib
import mmap
import os
import random
import subprocess

import pytest

from lib.process import run
from lib.torrents import KiB, MiB

# incomplete: nothing is fetched but what is read.  passthrough falls back to cached where the kernel has none.
SETTINGS = {"incomplete": ("io=auto", "fill=off"), "direct": ("io=direct",), "cached": ("io=cached",),
            "complete": ("io=auto",)}


@pytest.fixture(params=SETTINGS)
def mount(request, seeded):
    mounted = seeded(*SETTINGS[request.param])
    if request.param != "incomplete":
        mounted.wait_state("complete")
    return mounted


@pytest.fixture
def opened(mount):
    fd = os.open(mount.path, os.O_RDONLY)
    yield fd
    os.close(fd)


def ranges(size, n=60, seed=7):
    shape = random.Random(seed)
    for _ in range(n):
        offset = shape.randrange(size)
        yield offset, shape.choice([1, 512, 4095, 4096, 4097, 65536, shape.randrange(1, MiB)])


def test_from_head_to_end(mount, image):
    with open(mount.path, "rb", buffering=0) as file:
        got = b""
        while chunk := file.read(100_000):
            got += chunk
    assert got == image.data


def test_pread_at_random(opened, image):
    for offset, length in ranges(image.size):
        assert os.pread(opened, length, offset) == image.data[offset:offset + length], (offset, length)


def test_preadv(opened, image):
    for offset, _ in ranges(image.size, 10):
        parts = [bytearray(n) for n in (1, 4096, 10_000, 7)]
        n = os.preadv(opened, parts, offset)
        assert b"".join(parts)[:n] == image.data[offset:offset + n]
        assert n == min(14_104, image.size - offset)


def test_the_end(opened, image):
    assert os.pread(opened, 4096, image.size) == b""
    assert os.pread(opened, 4096, image.size + MiB) == b""
    assert os.pread(opened, 4096, 1 << 62) == b""
    assert os.pread(opened, 4096, image.size - 5) == image.data[-5:]
    assert os.pread(opened, 0, 0) == b""


@pytest.mark.parametrize("sharing", [mmap.MAP_SHARED, mmap.MAP_PRIVATE], ids=["shared", "private"])
def test_mmap(opened, image, sharing):
    with mmap.mmap(opened, 0, sharing, mmap.PROT_READ) as mapped:
        for offset, length in ranges(image.size):
            assert mapped[offset:offset + length] == image.data[offset:offset + length], (offset, length)
        assert mapped[:] == image.data


def test_reads_and_a_mapping_agree(opened, image):
    with mmap.mmap(opened, 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        for offset, length in ranges(image.size, 30):
            assert mapped[offset:offset + length] == os.pread(opened, length, offset)


def test_o_direct(mount, image):
    """Aligned and not, one byte at a time too: QEMU probes with such reads."""
    fd = os.open(mount.path, os.O_RDONLY | os.O_DIRECT)
    try:
        buffer = mmap.mmap(-1, MiB)
        for offset in (0, 4096, image.size // 4096 * 4096):
            n = os.preadv(fd, [buffer], offset)
            assert buffer[:n] == image.data[offset:offset + MiB]
        if mount.xattr("io", mount.path) != "passthrough":  # then it is the store's file system that aligns
            for offset, length in [(0, 1), (1, 1), (511, 513), (4097, 4095), *ranges(image.size, 20)]:
                length = min(length, MiB)
                n = os.preadv(fd, [memoryview(buffer)[:length]], offset)
                assert buffer[:n] == image.data[offset:offset + length], (offset, length)
    finally:
        os.close(fd)


def test_sendfile(opened, image, tmp_path):
    with open(tmp_path / "copy", "wb") as out:
        offset = 0
        while n := os.sendfile(out.fileno(), opened, offset, 1 << 20):
            offset += n
    assert (tmp_path / "copy").read_bytes() == image.data


def test_splice(opened, image):
    reading, writing = os.pipe()
    try:
        for offset, length in ranges(image.size, 20):
            want, got = image.data[offset:offset + min(length, 32 * KiB)], b""
            while len(got) < len(want):
                n = os.splice(opened, writing, len(want) - len(got), offset_src=offset + len(got))
                assert n, (offset, length)
                got += os.read(reading, n)
            assert got == want
    finally:
        os.close(reading)
        os.close(writing)


def test_copy_file_range_or_its_fallback(opened, image, tmp_path):
    """Across file systems the kernel says EXDEV, and cp and friends go on by reading."""
    with open(tmp_path / "copy", "wb") as out:
        try:
            n = os.copy_file_range(opened, out.fileno(), 100_000, 0)
            assert n == 100_000
        except OSError as error:
            assert error.errno == 18  # EXDEV
    run(["cp", f"/proc/self/fd/{opened}", tmp_path / "copied"], pass_fds=[opened])
    assert (tmp_path / "copied").read_bytes() == image.data


def test_tools(mount, image, tmp_path):
    run(["cmp", mount.path, image.path])
    run(["cp", "--sparse=always", mount.path, tmp_path / "cp"])
    run(["dd", f"if={mount.path}", f"of={tmp_path}/dd", "bs=64K", "iflag=fullblock", "status=none"])
    for name in ("cp", "dd"):
        assert (tmp_path / name).read_bytes() == image.data, name
    digest = hashlib.sha256(image.data).hexdigest()
    assert run(["sha256sum", mount.path]).stdout.split()[0] == digest


def test_many_readers_at_once(mount, image):
    """Eight processes, each its own pattern."""
    script = ("import os, random, sys\n"
              "path, good, seed = sys.argv[1:]\n"
              "want = open(good, 'rb').read(); shape = random.Random(int(seed)); fd = os.open(path, os.O_RDONLY)\n"
              "for _ in range(60):\n"
              "    at = shape.randrange(len(want)); n = shape.randrange(1, 200_000)\n"
              "    assert os.pread(fd, n, at) == want[at:at + n], (at, n)\n")
    readers = [subprocess.Popen(["/usr/bin/python3", "-c", script, mount.path, image.path, str(n)]) for n in range(8)]
    assert [reader.wait(120) for reader in readers] == [0] * 8


def test_loop_device(mount, image):
    device = run(["losetup", "-r", "-f", "--show", mount.path]).stdout.strip()
    try:
        with open(device, "rb", buffering=0) as file:
            whole = image.size // 512 * 512
            got = b""
            while chunk := file.read(MiB):
                got += chunk
            assert got == image.data[:whole]
    finally:
        run(["losetup", "-d", device])


def test_locks(opened, mount):
    """The kernel does them by itself; QEMU's image locking is OFD read locks."""
    import fcntl
    fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(opened, fcntl.LOCK_UN)
    fcntl.lockf(opened, fcntl.LOCK_SH | fcntl.LOCK_NB, 10)


def test_ioctls_are_refused_as_qemu_expects(opened):
    import fcntl
    for request in (0x1268, 0x80081272):  # BLKSSZGET, BLKGETSIZE64
        with pytest.raises(OSError) as error:
            fcntl.ioctl(opened, request, bytes(8))
        assert error.value.errno == 25  # ENOTTY
