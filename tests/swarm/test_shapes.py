# SPDX-License-Identifier: MIT
"""Torrents of every shape: piece sizes, holes, many files, web seeds only."""

import os

import pytest

from lib.mounts import Mount
from lib.process import sanitized
from lib.seeds import libtorrent_seed
from lib.torrents import (GiB, KiB, MiB, assert_same, assert_same_tree, create_torrent, make_torrent, odd_files,
                          random_image, sparse_image)
from lib.web import Nginx, RangeServer

pytestmark = pytest.mark.threads

VERSIONS = ["v1", "v2", "hybrid"]


@pytest.mark.parametrize("version", ["v1", "hybrid"])
@pytest.mark.parametrize("piece", [16 * KiB, 64 * KiB, 1 * MiB, 4 * MiB, 16 * MiB], ids=lambda p: f"{p // KiB}K")
def test_piece_sizes(tmp_path, piece, version):
    image = random_image(tmp_path / "image.raw", max(2 * piece, 4 * MiB) + 5000)
    torrent = make_torrent(tmp_path / "t.torrent", image, version=version, piece_size=piece)
    with libtorrent_seed(torrent, image, tmp_path) as seed, Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        assert_same(mount.path, image)


@pytest.mark.parametrize("size", [1, 16383, 16384, 16385, 2 * 16384, 3 * 65536 + 1])
def test_small_images(tmp_path, size):
    image = random_image(tmp_path / "image.raw", size)
    torrent = make_torrent(tmp_path / "t.torrent", image, piece_size=64 * KiB)
    with libtorrent_seed(torrent, image, tmp_path) as seed, Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        assert_same(mount.path, image)
        mount.wait_state("complete")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("creator", [make_torrent, create_torrent], ids=["lt-creates", "p2pfs-creates"])
def test_many_files_with_odd_lengths(tmp_path, version, creator):
    folder = tmp_path / "origin" / "template"
    odd_files(folder)
    torrent = creator(tmp_path / "t.torrent", folder, version=version, piece_size=32 * KiB)
    with libtorrent_seed(torrent, folder, tmp_path) as seed, Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        shown = mount.mountpoint / "template" if (mount.mountpoint / "template").is_dir() else mount.mountpoint
        assert_same_tree(shown, folder)


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_20_gib_mostly_hole(tmp_path, version):
    """Known zeros are neither fetched nor stored, and are holes to whoever asks."""
    extents = [(0, MiB), (7 * GiB + 12345, 300_000), (20 * GiB - 70_000, 70_000)]
    image = sparse_image(tmp_path / "image.raw", 20 * GiB, extents)
    torrent = create_torrent(tmp_path / "t.torrent", image, version=version, piece_size=MiB)
    with libtorrent_seed(torrent, image, tmp_path, trust=True) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        mount.wait_state("complete")
        status = mount.status()
        assert status["downloaded"] < 8 * MiB
        stored = sum(p.stat().st_blocks * 512 for p in mount.entry.rglob("*") if p.is_file())
        assert stored < 16 * MiB
        with open(image, "rb") as want, open(mount.path, "rb") as got:
            # Data parts and their surroundings, and a hole far from any.
            for offset, length in [(max(0, o - MiB), n + 2 * MiB) for o, n in extents] + [(13 * GiB, MiB)]:
                want.seek(offset)
                got.seek(offset)
                assert got.read(length) == want.read(length), f"at {offset}"
            # SEEK_DATA from a hole goes to the next piece that has data.
            descriptor, position, data = got.fileno(), 0, 0
            while position < 20 * GiB:
                try:
                    start = os.lseek(descriptor, position, os.SEEK_DATA)
                except OSError:
                    break
                position = os.lseek(descriptor, start, os.SEEK_HOLE)
                data += position - start
            assert sum(n for _, n in extents) <= data <= 8 * MiB


def test_memory_does_not_grow_with_the_image(tmp_path):
    """64 GiB, mounted and read here and there: under 64 MiB resident."""
    extents = [(i * 6 * GiB + i * 4099, 100_000) for i in range(10)]
    image = sparse_image(tmp_path / "image.raw", 64 * GiB, extents)
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=MiB)
    with libtorrent_seed(torrent, image, tmp_path, trust=True) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        with open(image, "rb") as want, open(mount.path, "rb") as got:
            for offset, length in extents:
                want.seek(offset)
                got.seek(offset)
                assert got.read(length) == want.read(length), f"at {offset}"
        mount.wait_state("complete")
        if not sanitized():
            assert mount.rss() < 64 * MiB


# -- web seeds alone -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_web_seed_only(tmp_path, version):
    root = tmp_path / "www"
    root.mkdir()
    image = random_image(root / "image one.raw", 7 * MiB + 321)
    with Nginx(root, tmp_path) as web:
        torrent = create_torrent(tmp_path / "t.torrent", image, version=version, webseeds=[web.url + "image%20one.raw"])
        with Mount(torrent, tmp_path) as mount:
            assert_same(mount.path, image)
            mount.wait_state("complete")


def test_web_seed_of_many_files(tmp_path):
    root = tmp_path / "www"
    odd_files(root / "template", count=25)
    with Nginx(root, tmp_path) as web:
        torrent = create_torrent(tmp_path / "t.torrent", root / "template", webseeds=[web.url], piece_size=32 * KiB)
        with Mount(torrent, tmp_path) as mount:
            shown = mount.mountpoint / "template" if (mount.mountpoint / "template").is_dir() else mount.mountpoint
            assert_same_tree(shown, root / "template")


def test_web_seed_that_lies_beside_a_peer(tmp_path):
    """Its bytes do not verify; the peer's do."""
    root = tmp_path / "www"
    root.mkdir()
    image = random_image(root / "image.raw", 4 * MiB)

    def flip(name, offset, body):
        return bytes(body[:-1]) + bytes([body[-1] ^ 1]) if body else body

    with RangeServer(root, change=flip) as web:
        torrent = create_torrent(tmp_path / "t.torrent", image, webseeds=[web.url + "image.raw"], piece_size=64 * KiB)
        with libtorrent_seed(torrent, image, tmp_path, up=2 * MiB) as seed, \
             Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
            assert_same(mount.path, image)
