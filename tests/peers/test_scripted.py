# SPDX-License-Identifier: MIT
"""The scripted peer itself, against p2pfs with nothing wrong: else what the other tests here show is worth nothing."""

import hashlib

import pytest

from lib.metainfo import Meta
from lib.mounts import Mount
from lib.peer import Leecher, Peer
from lib.seeds import P2pfsSeed
from lib.torrents import KiB, assert_same, make_torrent, odd_files, random_image


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_seeds_a_mount(tmp_path, stack, version):
    image = random_image(tmp_path / "image", 1000 * KiB + 77)
    torrent = make_torrent(tmp_path / "t", image, version=version, piece_size=64 * KiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    assert_same(mount.path, image)
    assert (0, 0) in seed.blocks_asked()
    assert bool(seed.hash_asked) == (version != "v1")
    assert mount.status()["corrupt"] == 0


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_leeches_from_a_seed(tmp_path, stack, version):
    image = random_image(tmp_path / "image", 1000 * KiB + 77)
    torrent = make_torrent(tmp_path / "t", image, version=version, piece_size=64 * KiB)
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path))
    leecher = stack.enter_context(Leecher(torrent, seed.peer))
    data = leecher.wait()
    assert b"".join(data[p] for p in sorted(data)) == image.read_bytes()
    assert leecher.rejected == leecher.choked == 0


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_many_files(tmp_path, stack, version):
    folder = tmp_path / "content"
    sizes = odd_files(folder, count=12)
    torrent = make_torrent(tmp_path / "t", folder, version=version, piece_size=32 * KiB)
    seed = stack.enter_context(Peer(torrent, folder, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}"))
    for name in sizes:
        assert_same(mount.mountpoint / name, folder / name)


def test_it_reads_torrents_as_others_do(tmp_path):
    image = random_image(tmp_path / "image", 300 * KiB + 5)
    for version in ("v1", "v2", "hybrid"):
        torrent = make_torrent(tmp_path / version, image, version=version, piece_size=64 * KiB)
        meta = Meta(torrent)
        assert (meta.v1.hex() if meta.v1 else None) == torrent.v1
        assert (meta.v2.hex() if meta.v2 else None) == torrent.v2
        assert meta.n_pieces == torrent.pieces
        data = image.read_bytes()
        for piece in range(meta.n_pieces):
            part = data[piece * meta.piece_length:(piece + 1) * meta.piece_length]
            assert meta.good(piece, part)
            assert not meta.good(piece, hashlib.sha1(part).digest() + part[20:])
