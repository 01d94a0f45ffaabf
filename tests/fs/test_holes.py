# SPDX-License-Identifier: MIT
"""SEEK_HOLE and SEEK_DATA: holes are what is known to be zeros; what has not come is data."""

import os
import subprocess

import pytest

from lib.process import run
from lib.torrents import KiB, MiB

# The data of the sparse image, to whole pieces of 64 KiB.
DATA = [(0, 64 * KiB), (MiB, MiB + 128 * KiB), (4 * MiB - 64 * KiB, 4 * MiB)]


def extents(path):
    found, fd = [], os.open(path, os.O_RDONLY)
    try:
        at, end = 0, os.fstat(fd).st_size
        while at < end:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as error:
                assert error.errno == 6  # ENXIO: only a hole is left
                break
            at = os.lseek(fd, start, os.SEEK_HOLE)
            found.append((start, at))
    finally:
        os.close(fd)
    return found


def test_what_has_not_come_is_data(seedless, image):
    assert extents(seedless().path) == [(0, image.size)]


def test_known_zeros_are_holes_before_anything_has_come(sparse, stack, tmp_path):
    from lib.mounts import Mount
    mount = stack.enter_context(Mount(sparse.torrent, tmp_path))
    assert extents(mount.path) == DATA


@pytest.mark.parametrize("io", ["direct", "cached", "auto"])
def test_holes_of_a_complete_image(seeded, sparse, io):
    mount = seeded(f"io={io}", of=sparse)
    mount.wait_state("complete")
    assert extents(mount.path) == DATA


def test_holes_read_as_zeros_with_no_peer(sparse, stack, tmp_path):
    from lib.mounts import Mount
    mount = stack.enter_context(Mount(sparse.torrent, tmp_path))
    with open(mount.path, "rb", buffering=0) as file:
        for offset in (64 * KiB, 512 * KiB, 2 * MiB):
            file.seek(offset)
            assert file.read(4096) == bytes(4096)


def test_seek_past_the_end(seedless, image):
    mount = seedless()
    fd = os.open(mount.path, os.O_RDONLY)
    try:
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            with pytest.raises(OSError) as error:
                os.lseek(fd, image.size, whence)
            assert error.value.errno == 6  # ENXIO
        assert os.lseek(fd, image.size - 1, os.SEEK_DATA) == image.size - 1
        assert os.lseek(fd, image.size - 1, os.SEEK_HOLE) == image.size
        assert os.lseek(fd, 0, os.SEEK_END) == image.size
        assert os.lseek(fd, 100, os.SEEK_SET) == 100
    finally:
        os.close(fd)


def test_sparse_copy_stays_sparse(seeded, sparse, tmp_path):
    mount = seeded(of=sparse)
    run(["cp", "--sparse=auto", mount.path, tmp_path / "copy"])
    assert (tmp_path / "copy").read_bytes() == sparse.data
    assert os.stat(tmp_path / "copy").st_blocks * 512 < 2 * MiB


def test_qemu_img_map_sees_the_holes(seeded, sparse):
    mount = seeded(of=sparse)
    try:
        text = run(["qemu-img", "map", "--output=json", "-f", "raw", mount.path]).stdout
    except FileNotFoundError:
        pytest.skip("no qemu-img")
    import json
    data = [(e["start"], e["start"] + e["length"]) for e in json.loads(text) if not e["zero"]]
    assert data == DATA
    subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "raw", mount.path, sparse.path], check=True)
