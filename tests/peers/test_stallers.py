# SPDX-License-Identifier: MIT
"""Peers that are slow, silent, choke, refuse or break off: a read that another peer can answer is answered."""

import os
import random
import threading

import pytest

from lib.metainfo import BLOCK
from lib.mounts import Mount
from lib.peer import Peer
from lib.torrents import KiB, MiB, assert_same, make_torrent, random_image
from lib.wait import wait_until
from lib.wire import Wire

VERSIONS = ["v1", "hybrid"]


def make(where, version="hybrid", size=2 * MiB + 777, piece_size=128 * KiB):
    image = random_image(where / "image", size)
    return image, make_torrent(where / "t", image, version=version, piece_size=piece_size)


def read_in_thread(mount, offset, size):
    """A read begun; .join() and .data."""
    class Read(threading.Thread):
        data = error = None

        def run(self):
            try:
                with open(mount.path, "rb", buffering=0) as got:
                    self.data = os.pread(got.fileno(), size, offset)
            except OSError as error:
                self.error = error
    read = Read(daemon=True)
    read.start()
    return read


SLOW = {
    "sends nothing": {"stall_after": 0},
    "stalls after three blocks": {"stall_after": 3},
    "one byte per second": {"rate": 1},
    "answers after an hour": {"latency": 3600},
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fault", SLOW)
def test_it_holds_the_asked_block_and_another_peer_comes(tmp_path, stack, version, fault):
    """The only peer has been asked and does not answer; then one comes that does."""
    image, torrent = make(tmp_path, version)
    slow = stack.enter_context(Peer(torrent, image, address="127.0.0.2", **SLOW[fault]))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={slow.peer}", "fill=off"))
    read = read_in_thread(mount, MiB, 64 * KiB)
    if fault != "answers after an hour":  # that one's unchoke is late, too
        slow.wait_asked()
    good.connect(mount.address, mount.port)
    read.join(60)
    assert read.data == image.read_bytes()[MiB:MiB + 64 * KiB]


@pytest.mark.parametrize("fault", SLOW)
def test_beside_a_good_peer_all_is_fetched(tmp_path, stack, fault):
    image, torrent = make(tmp_path)
    slow = stack.enter_context(Peer(torrent, image, address="127.0.0.2", **SLOW[fault]))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={slow.peer}", f"peer={good.peer}"))
    assert_same(mount.path, image)
    mount.wait_state("complete")


def test_never_unchoked_is_told(tmp_path, stack):
    image, torrent = make(tmp_path)
    peer = stack.enter_context(Peer(torrent, image, address="127.0.0.2", unchoke=False))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={peer.peer}", "timeout=300"))
    read = read_in_thread(mount, 0, 4096)
    mount.wait_state("stalled")
    assert "lets us fetch" in mount.status()["why"]
    assert not peer.asked
    peer.unchoke = True
    for connection in peer.open_connections:
        connection.set_choking(False)
    read.join(60)
    assert read.data == image.read_bytes()[:4096]


@pytest.mark.parametrize("fast", [True, False])
def test_choking_again_and_again(tmp_path, stack, fast):
    """With the fast extension what was open is rejected, without it is forgotten: both are asked again."""
    image, torrent = make(tmp_path)
    peer = stack.enter_context(Peer(torrent, image, address="127.0.0.2", choke_every=3, fast=fast))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={peer.peer}"))
    assert_same(mount.path, image)
    mount.wait_state("complete")


@pytest.mark.parametrize("version", VERSIONS)
def test_refusals_at_random(tmp_path, stack, version):
    image, torrent = make(tmp_path, version)
    dice = random.Random(7)
    peer = stack.enter_context(Peer(torrent, image, address="127.0.0.2",
                                    reject=lambda piece, begin: dice.random() < 0.4))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={peer.peer}"))
    assert_same(mount.path, image)
    mount.wait_state("complete")


def test_one_that_refuses_everything_beside_a_good_one(tmp_path, stack):
    image, torrent = make(tmp_path)
    bad = stack.enter_context(Peer(torrent, image, address="127.0.0.2", reject=lambda piece, begin: True))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", rate=2 * MiB))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={bad.peer}", f"peer={good.peer}"))
    assert_same(mount.path, image)
    mount.wait_state("complete")
    # It is not asked for the same block over and over: that would be a storm on a fast path.
    assert len(bad.asked) <= 4 * len(good.blocks_asked())


def test_one_that_refuses_everything_alone_is_no_storm(tmp_path, stack):
    image, torrent = make(tmp_path)
    bad = stack.enter_context(Peer(torrent, image, address="127.0.0.2", reject=lambda piece, begin: True))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={bad.peer}", "fill=off"))
    read = read_in_thread(mount, 0, 4096)
    mount.wait_state("stalled")  # seconds later
    asked_for = len(bad.blocks_asked())
    assert len(bad.asked) <= 200 * asked_for, f"{len(bad.asked)} requests for {asked_for} blocks"
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3"))
    good.connect(mount.address, mount.port)
    read.join(60)
    assert read.data == image.read_bytes()[:4096]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("cut", [0, 1, BLOCK - 1])
def test_a_block_that_breaks_off(tmp_path, stack, version, cut):
    """The connection ends in the midst of a block: what came of it is not used, and it is fetched anew."""
    image, torrent = make(tmp_path, version)
    peer = stack.enter_context(Peer(torrent, image, address="127.0.0.2", cut_block=cut))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={peer.peer}"))
    read = read_in_thread(mount, 5000, 100 * KiB)
    wait_until(lambda: peer.connections >= 2, "a second connection")
    peer.cut_block = None
    read.join(60)
    assert read.data == image.read_bytes()[5000:5000 + 100 * KiB]
    assert_same(mount.path, image)


def test_connections_that_drop_all_the_time(tmp_path, stack):
    image, torrent = make(tmp_path)
    peers = [stack.enter_context(Peer(torrent, image, address=f"127.0.0.{i}", rate=1 * MiB)) for i in (2, 3)]
    mount = stack.enter_context(Mount(torrent, tmp_path, *(f"peer={p.peer}" for p in peers)))
    had = -1
    while mount.status()["state"] != "complete":
        wait_until(lambda had=had: mount.status()["had"] > had, "progress")
        had = mount.status()["had"]
        peers[0].drop()
    assert_same(mount.path, image)


@pytest.mark.slow
def test_one_that_never_shakes_hands_is_dropped(tmp_path, stack):
    """Ten seconds each way, and the good peer is used meanwhile."""
    image, torrent = make(tmp_path)
    silent = stack.enter_context(Peer(torrent, image, address="127.0.0.2", silent=True))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={silent.peer}", f"peer={good.peer}", "debug=peer"))
    with Wire.connect(mount.address, mount.port, source="127.0.0.4") as wire:
        wire.send_raw(b"\x13BitTor")  # and no more
        assert_same(mount.path, image)
        wire.wait_closed()
    silent.wait_closed()
    assert mount.log.read_text().count("no handshake in 10 s") >= 2


def test_slowloris(tmp_path, stack):
    """Fifty connections that say a byte and wait, and fifty that say nothing: a good peer still gets in."""
    image, torrent = make(tmp_path)
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3"))
    mount = stack.enter_context(Mount(torrent, tmp_path, "peers=20"))
    for i in range(100):
        wire = stack.enter_context(Wire.connect(mount.address, mount.port, source=f"127.0.1.{1 + i}"))
        if i % 2:
            wire.send_raw(b"\x13")
    good.connect(mount.address, mount.port)
    assert_same(mount.path, image)


def test_a_full_house_has_a_bound(tmp_path, stack):
    """More peers than peers=N shake hands: the rest is sent away, and those inside are served."""
    image, torrent = make(tmp_path)
    mount = stack.enter_context(Mount(torrent, tmp_path, "peers=5", "debug=peer"))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3"))
    good.connect(mount.address, mount.port)
    good.wait_connected()
    for i in range(10):
        wire = stack.enter_context(Wire.connect(mount.address, mount.port, source=f"127.0.1.{1 + i}"))
        wire.send_handshake(good.meta.hashes[0])
    wait_until(lambda: mount.log.read_text().count("enough peers") >= 6, mount.log.read_text)
    assert len(mount.status()["peers"]) <= 5
    assert_same(mount.path, image)
