# SPDX-License-Identifier: MIT
"""Peers that send wrong bytes: a reader never sees one, the liar is banned on proof, nobody else is."""

import errno
import itertools
import os
import random

import pytest

from lib.metainfo import BLOCK
from lib.mounts import Mount
from lib.peer import Peer
from lib.torrents import KiB, MiB, assert_same, make_torrent, random_image
from lib.wait import wait_until
from lib.wire import Closed, Wire

VERSIONS = ["v1", "v2", "hybrid"]


def make(where, version, size=2 * MiB + 777, piece_size=128 * KiB):
    image = random_image(where / "image", size)
    return image, make_torrent(where / "t", image, version=version, piece_size=piece_size)


def everything(piece, begin):
    return True


def trusted(mount, peer):
    """Was it never banned?"""
    return f"peer {peer.peer} (scripted peer): banned" not in mount.log.read_text()


def wait_banned(mount, n=1):
    wait_until(lambda: mount.status()["banned_peers"] >= n, lambda: f"{n} banned peers: {mount.status()}")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_liar_beside_a_good_seed(tmp_path, stack, version):
    image, torrent = make(tmp_path, version)
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", lie=everything))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", latency=0.02))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={liar.peer}", f"peer={good.peer}"))
    assert_same(mount.path, image)
    mount.wait_state("complete")
    status = mount.status()
    assert liar.blocks_sent == 0 or status["banned_peers"] == 1
    assert trusted(mount, good)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_only_source_lies_then_a_good_one_comes(tmp_path, stack, version):
    """The proof is certain: the liar alone has sent everything."""
    image, torrent = make(tmp_path, version)
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", lie=everything))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={liar.peer}"))
    wait_banned(mount)
    assert "127.0.0.2" in mount.log.read_text() and "banned: it sent a" in mount.log.read_text()
    good.connect(mount.address, mount.port)
    assert_same(mount.path, image)
    mount.wait_state("complete")
    assert mount.status()["banned_peers"] == 1
    assert mount.status()["corrupt"] > 0


@pytest.mark.threads
@pytest.mark.parametrize("version", VERSIONS)
def test_liars_among_good_seeds(tmp_path, stack, version):
    """Three of six lie, each about every third block, and all are about as fast."""
    image, torrent = make(tmp_path, version, 6 * MiB + 1)
    peers = []
    for i in range(6):
        lie = (lambda piece, begin, i=i: (piece * 8 + begin // BLOCK + i) % 3 == 0) if i % 2 else None
        peers.append(stack.enter_context(Peer(torrent, image, address=f"127.0.0.{10 + i}", lie=lie, rate=4 * MiB)))
    mount = stack.enter_context(Mount(torrent, tmp_path, *(f"peer={p.peer}" for p in peers)))
    assert_same(mount.path, image)
    mount.wait_state("complete")
    banned = [p.address for p in peers if not trusted(mount, p)]
    assert set(banned) <= {"127.0.0.11", "127.0.0.13", "127.0.0.15"}
    assert mount.status()["banned_peers"] == len(banned) > 0


def test_v2_tells_the_culprit_of_a_single_block(tmp_path, stack):
    """One wrong block in the midst of a piece that two peers gave together."""
    image, torrent = make(tmp_path, "v2", 1 * MiB, 1 * MiB)
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", rate=2 * MiB,
                                    lie=lambda piece, begin: True))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", rate=2 * MiB))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={liar.peer}", f"peer={good.peer}", "fill=off"))
    with open(mount.path, "rb", buffering=0) as got:
        order = list(range(0, MiB, BLOCK))
        random.Random(3).shuffle(order)
        data = image.read_bytes()
        for offset in order:
            assert os.pread(got.fileno(), BLOCK, offset) == data[offset:offset + BLOCK]
    assert mount.status()["banned_peers"] == (1 if liar.blocks_sent else 0)
    assert trusted(mount, good)


def test_v1_convicts_by_the_good_copy(tmp_path, stack):
    """A piece that a liar and an honest peer gave together: the next copy tells who it was."""
    image, torrent = make(tmp_path, "v1", 1 * MiB, 1 * MiB)
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", rate=1 * MiB,
                                    lie=lambda piece, begin: begin // BLOCK % 3 == 0))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", rate=1 * MiB))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={liar.peer}", f"peer={good.peer}"))
    mount.wait_state("complete")
    assert_same(mount.path, image)
    assert trusted(mount, good)
    # Of so many blocks, every second or all of a stretch, some were lies that went into the piece.
    assert liar.blocks_sent < 10 or not trusted(mount, liar)


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_a_banned_address_does_not_come_back(tmp_path, stack, version):
    image, torrent = make(tmp_path, version)
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", lie=everything))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", unchoke=False))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={liar.peer}", f"peer={good.peer}", "debug=peer"))
    wait_banned(mount)
    liar.wait_closed()
    connections = liar.connections
    # From any port: it is refused.  From another address: it is not.
    with Wire.connect(mount.address, mount.port, source="127.0.0.2") as wire:
        wire.send_handshake(liar.meta.hashes[0])
        with pytest.raises((Closed, AssertionError)):
            wire.read_handshake()
    with Wire.connect(mount.address, mount.port, source="127.0.0.4") as wire:
        wire.shake(liar.meta.hashes[0])
    assert "not wanted: banned" in mount.log.read_text()
    assert liar.connections == connections


@pytest.mark.parametrize("version", VERSIONS)
def test_with_liars_only_a_read_fails_and_is_not_wrong(tmp_path, stack, version):
    image, torrent = make(tmp_path, version)
    liars = [stack.enter_context(Peer(torrent, image, address=f"127.0.0.{i}", lie=everything)) for i in range(2, 5)]
    mount = stack.enter_context(Mount(torrent, tmp_path, *(f"peer={p.peer}" for p in liars), "timeout=3"))
    with open(mount.path, "rb", buffering=0) as got:
        with pytest.raises(OSError) as error:
            os.pread(got.fileno(), 4096, 0)
    assert error.value.errno == errno.EIO
    assert mount.status()["had"] == 0


@pytest.mark.parametrize("hashes", ["lie", "short", "reject", "ignore"])
@pytest.mark.parametrize("version", ["v2", "hybrid"])
def test_leaf_hashes_that_are_wrong_or_missing(tmp_path, stack, version, hashes):
    """A good peer gives the blocks, another the wrong hashes: what counts is the piece layer of the torrent."""
    image, torrent = make(tmp_path, version)
    bad = stack.enter_context(Peer(torrent, image, address="127.0.0.2", hashes=hashes))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", latency=0.01))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={bad.peer}", f"peer={good.peer}", "fill=off"))
    data = image.read_bytes()
    with open(mount.path, "rb", buffering=0) as got:
        offsets = random.Random(5).sample(range(0, len(data) - 4096), 12)
        for offset in offsets:
            assert os.pread(got.fileno(), 4096, offset) == data[offset:offset + 4096]
    assert_same(mount.path, image)
    assert trusted(mount, good)


@pytest.mark.parametrize("hashes", ["reject", "ignore"])
def test_blocks_without_leaf_hashes_are_read_by_the_piece(tmp_path, stack, hashes):
    """Nobody gives hashes: the piece is the unit, as with v1."""
    image, torrent = make(tmp_path, "v2")
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2", hashes=hashes))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    data = image.read_bytes()
    with open(mount.path, "rb", buffering=0) as got:
        assert os.pread(got.fileno(), 4096, 1 * MiB) == data[MiB:MiB + 4096]
    assert seed.hash_asked
    whole_piece = {(8, begin) for begin, _ in seed.meta.blocks(8)}
    assert whole_piece <= seed.blocks_asked()


def test_a_liar_without_leaf_hashes_is_found_by_the_piece(tmp_path, stack):
    image, torrent = make(tmp_path, "v2")
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", hashes="reject", lie=everything))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", hashes="reject"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={liar.peer}", "fill=off"))
    with open(mount.path, "rb", buffering=0) as got:
        good.connect(mount.address, mount.port)
        good.wait_connected()
        data = image.read_bytes()
        for offset in range(0, len(data) - 4096, 100 * KiB):
            assert os.pread(got.fileno(), 4096, offset) == data[offset:offset + 4096]
    assert trusted(mount, good)


def test_a_liar_that_leaves_after_its_lie(tmp_path, stack):
    """It sends a wrong block, goes, comes back and lies again: the data is right all the same."""
    image, torrent = make(tmp_path, "v1", 1 * MiB, 256 * KiB)
    count = itertools.count()

    def lie(piece, begin):
        if next(count) % 4 == 3:
            liar.drop()
        return True
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", lie=lie))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", rate=1 * MiB))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={liar.peer}", f"peer={good.peer}"))
    assert_same(mount.path, image)
    mount.wait_state("complete")
    assert trusted(mount, good)


def test_a_liar_that_left_before_the_proof_is_banned(tmp_path, stack):
    """Half of a v1 piece is its own, and wrong, which only shows when others have given the rest, twice."""
    image, torrent = make(tmp_path, "v1", 1 * MiB, 1 * MiB)
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", rate=1 * MiB, lie=everything))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={liar.peer}"))
    wait_until(lambda: liar.blocks_sent >= 4, "some lies")
    liar.close()
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3"))
    good.connect(mount.address, mount.port)
    assert_same(mount.path, image)
    wait_banned(mount)
    assert f"peer {liar.peer}, gone: banned" in mount.log.read_text()
    assert trusted(mount, good)
