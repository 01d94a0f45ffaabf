# SPDX-License-Identifier: MIT
"""What p2pfs gives to peers: blocks, hashes, metadata; and what it refuses, to whom, and within which bounds."""

import hashlib
import os
import random

import pytest

from lib.metainfo import BLOCK, Content, Meta
from lib.mounts import Mount
from lib.peer import Leecher, Peer, extended_handshake, hash_request
from lib.seeds import P2pfsSeed
from lib import bencode
from lib.torrents import KiB, MiB, assert_same, make_torrent, random_image, sparse_image
from lib.wait import wait_until
from lib.wire import (BITFIELD, CANCEL, CHOKE, EXTENDED, HASH_REJECT, HASH_REQUEST, HASHES, HAVE, HAVE_ALL, HAVE_NONE,
                      INTERESTED, NOT_INTERESTED, PIECE, REJECT, REQUEST, UNCHOKE, UINT32_MAX, Closed, Wire, be,
                      message, reserved)

QUEUE = 500  # requests of one peer that p2pfs holds; told as reqq


class Seed:
    def __init__(self, where, stack, version, size=3 * MiB + 4321, piece_size=256 * KiB, options=()):
        self.image = random_image(where / "image", size)
        self.torrent = make_torrent(where / "t", self.image, version=version, piece_size=piece_size)
        self.meta = Meta(self.torrent)
        self.data = self.image.read_bytes()
        self.content = Content(self.meta, self.image)
        self.process = stack.enter_context(P2pfsSeed(self.torrent, self.image, where, "debug=peer", *options))
        wait_until(self._has_all, "a seed that has looked at all that it has")

    def _has_all(self):
        with self.wire(interested=False) as wire:
            return wire.read_until(HAVE_ALL, HAVE_NONE, BITFIELD)[0] == HAVE_ALL

    def wire(self, info_hash=None, *, source="127.0.0.3", interested=True, **kw):
        """A connection after its handshakes, unchoked."""
        wire = Wire.connect(self.process.address, self.process.port, source=source)
        kw.setdefault("flags", reserved(v2=bool(self.meta.v2)))
        wire.shake(info_hash or self.meta.hashes[0], **kw)
        if interested:
            wire.send(INTERESTED)
            wire.read_until(UNCHOKE)
        return wire

    def assert_serves(self):
        with self.wire(source="127.0.0.9") as wire:
            wire.send(REQUEST, be(1, 0, BLOCK))
            at = self.meta.piece_length
            assert wire.read_until(PIECE)[1] == be(1, 0) + self.data[at:at + BLOCK]


@pytest.fixture
def seed(request, tmp_path, stack):
    return Seed(tmp_path, stack, request.param)


VERSIONS = pytest.mark.parametrize("seed", ["v1", "v2", "hybrid"], indirect=True)
HYBRID = pytest.mark.parametrize("seed", ["hybrid"], indirect=True)
V1 = pytest.mark.parametrize("seed", ["v1"], indirect=True)


# -- blocks -------------------------------------------------------------------------------------------


@VERSIONS
def test_requests_of_odd_sizes(seed):
    """Anything up to 16 KiB within a piece, wherever it begins."""
    with seed.wire() as wire:
        size = seed.meta.piece_size(0)
        for begin, length in [(0, 1), (0, BLOCK), (1, BLOCK), (size - 1, 1), (size - BLOCK, BLOCK), (777, 999)]:
            wire.send(REQUEST, be(0, begin, length))
            assert wire.read_until(PIECE)[1] == be(0, begin) + seed.data[begin:begin + length]


@HYBRID
@pytest.mark.parametrize("length", [BLOCK + 1, 32 * KiB, 128 * KiB])
def test_requests_above_16_KiB_are_rejected(seed, length):
    with seed.wire() as wire:
        wire.send(REQUEST, be(0, 0, length))
        assert wire.read_until(REJECT, PIECE) == (REJECT, be(0, 0, length))
        wire.send(REQUEST, be(0, 0, BLOCK))
        assert wire.read_until(REJECT, PIECE)[0] == PIECE


@HYBRID
def test_without_fast_a_large_request_is_passed_over(seed):
    with seed.wire(flags=reserved(fast=False)) as wire:
        wire.send(REQUEST, be(0, 0, 32 * KiB))
        wire.send(REQUEST, be(0, 0, BLOCK))
        kind, payload = wire.read_until(REJECT, PIECE)
        assert kind == PIECE and len(payload) == 8 + BLOCK


@HYBRID
def test_requests_above_128_KiB_end_the_connection(seed):
    with seed.wire() as wire:
        wire.send(REQUEST, be(0, 0, 128 * KiB + 1))
        wire.wait_closed()
    seed.assert_serves()


@HYBRID
def test_who_is_choked_gets_nothing(seed):
    with seed.wire(interested=False) as wire:
        wire.send(REQUEST, be(0, 0, BLOCK))
        assert wire.read_until(REJECT, PIECE) == (REJECT, be(0, 0, BLOCK))
        wire.send(INTERESTED)
        wire.read_until(UNCHOKE)
        wire.send(NOT_INTERESTED)
        wire.read_until(CHOKE)
        wire.send(REQUEST, be(0, 0, BLOCK))
        assert wire.read_until(REJECT, PIECE)[0] == REJECT


def test_what_is_not_had_is_not_given(tmp_path, stack):
    """A mount that has nothing tells so, and rejects; what it gets it tells, and then gives."""
    image = random_image(tmp_path / "image", 4 * MiB)
    torrent = make_torrent(tmp_path / "t", image, piece_size=256 * KiB)
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.2", have={3}))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={good.peer}", "fill=off"))
    wire = stack.enter_context(Wire.connect(mount.address, mount.port, source="127.0.0.3"))
    wire.shake(good.meta.hashes[0], flags=reserved(v2=True))
    assert wire.read_until(HAVE_NONE, HAVE_ALL, BITFIELD)[0] == HAVE_NONE
    wire.send(INTERESTED)
    wire.read_until(UNCHOKE)
    wire.send(REQUEST, be(3, 0, BLOCK))
    assert wire.read_until(REJECT, PIECE)[0] == REJECT
    with open(mount.path, "rb", buffering=0) as got:
        data = os.pread(got.fileno(), 256 * KiB, 3 * 256 * KiB)
    assert wire.read_until(HAVE)[1] == be(3)
    wire.send(REQUEST, be(3, BLOCK, BLOCK))
    assert wire.read_until(REJECT, PIECE)[1] == be(3, BLOCK) + data[BLOCK:2 * BLOCK]
    wire.send(REQUEST, be(4, 0, BLOCK))
    assert wire.read_until(REJECT, PIECE)[0] == REJECT


def test_known_zeros_are_given(tmp_path, stack):
    """A piece of zeros is had from the start, and served."""
    image = sparse_image(tmp_path / "image", 4 * MiB, [(0, MiB)])
    torrent = make_torrent(tmp_path / "t", image, piece_size=256 * KiB)
    mount = stack.enter_context(Mount(torrent, tmp_path, "fill=off"))
    with Leecher(torrent, mount.peer, source="127.0.0.3", pieces=range(4, 16)) as leecher:
        assert all(data == bytes(len(data)) for data in leecher.wait().values())


def test_seed_off_gives_nothing(tmp_path, stack):
    image = random_image(tmp_path / "image", MiB)
    torrent = make_torrent(tmp_path / "t", image)
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={good.peer}", "seed=off"))
    mount.wait_state("complete")
    with Wire.connect(mount.address, mount.port, source="127.0.0.3") as wire:
        wire.shake(good.meta.hashes[0])
        wire.send(INTERESTED)
        wire.send(REQUEST, be(0, 0, BLOCK))
        assert wire.read_until(UNCHOKE, REJECT, PIECE)[0] == REJECT


@pytest.mark.threads
@HYBRID
def test_every_request_is_answered_once(seed):
    """Ten times the queue at once, unread: each gets a block or a reject, and the first ones a block."""
    wanted = [(i % 12, (i // 12) % 16 * BLOCK, 1 + i) for i in range(10 * QUEUE)]
    with seed.wire() as wire:
        wire.send_raw(b"".join(message(REQUEST, be(*w)) for w in wanted))
        blocks, rejects = [], []
        while len(blocks) + len(rejects) < len(wanted):
            kind, payload = wire.read_until(PIECE, REJECT)
            if kind == PIECE:
                piece, begin = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")
                at = piece * seed.meta.piece_length + begin
                assert payload[8:] == seed.data[at:at + len(payload) - 8]
                blocks.append((piece, begin, len(payload) - 8))
            else:
                rejects.append(tuple(int.from_bytes(payload[i:i + 4], "big") for i in (0, 4, 8)))
    assert sorted(blocks + rejects) == sorted(wanted)
    assert len(blocks) >= QUEUE
    assert set(wanted[:QUEUE]) <= set(blocks)


@HYBRID
def test_a_cancelled_request_is_rejected_or_was_on_its_way(seed):
    wanted = [(piece, begin, BLOCK) for piece in range(12) for begin in range(0, 256 * KiB, BLOCK)]
    with seed.wire() as wire:
        wire.send_raw(b"".join(message(REQUEST, be(*w)) for w in wanted))
        wire.send_raw(b"".join(message(CANCEL, be(*w)) for w in wanted))
        blocks = rejects = 0
        while blocks + rejects < len(wanted):
            blocks, rejects = (blocks + 1, rejects) if wire.read_until(PIECE, REJECT)[0] == PIECE \
                else (blocks, rejects + 1)
        # All of it does not fit into the buffers on the way: some cancels came in time.
        wire.send(REQUEST, be(0, 0, 5))
        assert wire.read_until(PIECE, REJECT)[1] == be(0, 0) + seed.data[:5]


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) << 10


FLOODS = {
    "requests while choked": message(REQUEST, be(0, 0, BLOCK)),
    "hash requests": message(HASH_REQUEST, hash_request(bytes(32), 0, 0, 2, 0)),
    "metadata requests": message(EXTENDED, b"\1d8:msg_typei0e5:piecei0ee"),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_peer_that_asks_and_never_reads_is_dropped(tmp_path, stack, flood):
    """Its answers must not pile up in memory: a request of 40 bytes for metadata is answered with 16 KiB."""
    seed = Seed(tmp_path, stack, "hybrid", 16 * MiB, 16 * KiB)
    assert len(seed.meta.info_bytes) > BLOCK
    before = rss(seed.process.pid)
    with seed.wire(interested=False) as wire:
        wire.send_extended(0, {"m": {"ut_metadata": 1}})
        burst = FLOODS[flood] * 1000
        with pytest.raises(Closed):
            for _ in range(64 * MiB // len(burst)):
                wire.send_raw(burst)
    assert rss(seed.process.pid) < before + 64 * MiB
    seed.assert_serves()


@pytest.mark.parametrize("greedy_first", [True, False])
def test_greedy_leechers_are_served_fairly(tmp_path, stack, greedy_first):
    """Three that ask for everything again and again, as deep as they may, among twenty-seven modest ones, all behind
    an upload limit, whoever came first: each modest one gets a whole copy, and a greedy one meanwhile no more than
    its share, nor nothing."""
    seed = Seed(tmp_path, stack, "hybrid", 1 * MiB, 128 * KiB, options=["up=80M"])

    def start(first, n, **kw):
        return [stack.enter_context(Leecher(seed.torrent, seed.process.peer, source=f"127.0.2.{first + i}", **kw))
                for i in range(n)]

    greedy = start(100, 3, depth=QUEUE, again=True) if greedy_first else []
    wait_until(lambda: all(g.received for g in greedy), "the start of those who came first")
    modest = start(1, 27, depth=16)
    wait_until(lambda: all(m.received for m in modest), "the start of the modest ones")
    greedy = greedy or start(100, 3, depth=QUEUE, again=True)
    before = [g.received for g in greedy]
    for leecher in modest:
        data = leecher.wait()
        assert b"".join(data[p] for p in sorted(data)) == seed.data
    got = [leecher.received - had for leecher, had in zip(greedy, before)]
    # The scheduler of this machine has its part in it, too; unfair is a hundred copies, or none.
    assert all(0 < g < 8 * len(seed.data) for g in got), [g / len(seed.data) for g in got]


# -- versions -----------------------------------------------------------------------------------------


@V1
def test_a_v2_bit_on_a_v1_torrent_changes_nothing(seed):
    """libtorrent's remote crash of 2025: a claim of v2 must not select what the torrent does not have."""
    with seed.wire(flags=reserved(v2=True)) as wire:
        assert wire.theirs.info_hash == seed.meta.v1
        assert not wire.theirs.v2
        wire.send(HASH_REQUEST, hash_request(bytes(32), 0, 0, 2, 0))
        assert wire.read_until(HASHES, HASH_REJECT) == (HASH_REJECT, hash_request(bytes(32), 0, 0, 2, 0))
        wire.send(HASHES, hash_request(bytes(32), 0, 0, 2, 0) + bytes(64))
        wire.send(HASH_REJECT, hash_request(bytes(32), 0, 0, 2, 0))
        wire.send(REQUEST, be(0, 0, BLOCK))
        assert wire.read_until(PIECE)[1] == be(0, 0) + seed.data[:BLOCK]


def test_a_mount_of_v1_beside_a_peer_that_claims_v2(tmp_path, stack):
    image = random_image(tmp_path / "image", MiB)
    torrent = make_torrent(tmp_path / "t", image, version="v1")
    peer = stack.enter_context(Peer(torrent, image, address="127.0.0.2", flags=reserved(v2=True)))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={peer.peer}"))
    assert_same(mount.path, image)
    assert not peer.hash_asked


@HYBRID
def test_a_hybrid_answers_with_the_v2_hash_who_can_v2(seed):
    for info_hash, flags, answer in [
            (seed.meta.v1, reserved(v2=True), seed.meta.v2[:20]),
            (seed.meta.v1, reserved(v2=False), seed.meta.v1),
            (seed.meta.v2, reserved(v2=True), seed.meta.v2[:20]),
            (seed.meta.v2, reserved(v2=False), seed.meta.v2[:20])]:
        with seed.wire(info_hash, flags=flags) as wire:
            assert wire.theirs.info_hash == answer
            wire.send(REQUEST, be(0, 0, BLOCK))
            assert wire.read_until(PIECE)[1] == be(0, 0) + seed.data[:BLOCK]


@pytest.mark.threads
@VERSIONS
def test_each_hash_of_a_torrent_finds_it(seed):
    for info_hash in seed.meta.hashes:
        with Leecher(seed.torrent, seed.process.peer, source="127.0.0.3", info_hash=info_hash) as leecher:
            data = leecher.wait()
            assert b"".join(data[p] for p in sorted(data)) == seed.data


# -- hashes (BEP 52) ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3 * MiB + 4321, 256 * KiB, 100 * KiB, 16 * KiB + 1])
def test_hashes_are_right(tmp_path, stack, size):
    """Every layer that must be answered, every proof length, against a tree of the test's own."""
    seed = Seed(tmp_path, stack, "v2", size)
    root = seed.meta.files[0].root
    height = max(0, (-(-size // BLOCK) - 1).bit_length())
    asked = set()
    for base in {0, 4}:
        for length in (2, 4, 16, 64, 256, 512):
            for proofs in range(0, height - base + 1):
                for index in (0, length, (2 ** height >> base) - length):
                    if index >= 0 and index % length == 0:
                        asked.add((base, index, length, proofs))
    with seed.wire() as wire:
        answered = 0
        for base, index, length, proofs in sorted(asked):
            request = hash_request(root, base, index, length, proofs)
            wire.send(HASH_REQUEST, request)
            kind, payload = wire.read_until(HASHES, HASH_REJECT)
            assert payload[:48] == request
            right = seed.content.hashes(root, base, index, length, proofs)
            if kind == HASHES:
                assert payload[48:] == b"".join(right), (base, index, length, proofs)
                answered += 1
        assert answered > 0


BAD_RANGES = {
    "length 0": (0, 0, 0, 0), "length 1": (0, 0, 1, 0), "length 3": (0, 0, 3, 0), "length 1024": (0, 0, 1024, 0),
    "length 2^31": (0, 0, 2 ** 31, 0), "length 2^32 - 1": (0, 0, UINT32_MAX, 0),
    "index no multiple": (0, 1, 2, 0), "index past the end": (0, 1024, 2, 0), "index 2^32 - 2": (0, UINT32_MAX - 1, 2, 0),
    "base 1": (1, 0, 2, 0), "base past the root": (60, 0, 2, 0), "base 2^32 - 1": (UINT32_MAX, 0, 2, 0),
    "proofs 2^32 - 1": (0, 0, 2, UINT32_MAX), "all 2^32 - 1": (UINT32_MAX,) * 4,
}


@HYBRID
@pytest.mark.parametrize("case", BAD_RANGES)
def test_bad_hash_requests_are_rejected(seed, case):
    request = hash_request(seed.meta.files[0].root, *BAD_RANGES[case])
    with seed.wire() as wire:
        wire.send(HASH_REQUEST, request)
        assert wire.read_until(HASHES, HASH_REJECT) == (HASH_REJECT, request)
    seed.assert_serves()


@HYBRID
def test_hash_requests_for_an_unknown_file_are_rejected(seed):
    request = hash_request(hashlib.sha256(b"no file").digest(), 0, 0, 2, 0)
    with seed.wire() as wire:
        wire.send(HASH_REQUEST, request)
        assert wire.read_until(HASHES, HASH_REJECT) == (HASH_REJECT, request)


@pytest.mark.threads
def test_a_hash_request_flood_is_answered_and_stops_nobody(tmp_path, stack):
    """Ten thousand large requests at once: each is answered or rejected, and others are served meanwhile."""
    seed = Seed(tmp_path, stack, "v2", 9 * MiB)
    request = message(HASH_REQUEST, hash_request(seed.meta.files[0].root, 0, 0, 512, 0))
    n = 10000
    with seed.wire(interested=False) as flood:
        for _ in range(n // 1000):
            flood.send_raw(request * 1000)
            with Leecher(seed.torrent, seed.process.peer, source="127.0.0.4", pieces=[0, 5]) as leecher:
                leecher.wait()
            for _ in range(1000):
                flood.read_until(HASHES, HASH_REJECT)


# -- metadata (BEP 9, 10) ---------------------------------------------------------------------------


@VERSIONS
def test_metadata_is_given(seed):
    info = seed.meta.info_bytes
    with seed.wire(interested=False) as wire:
        theirs = extended_handshake(wire.read_until(EXTENDED)[1])
        assert theirs[b"metadata_size"] == len(info)
        assert theirs[b"reqq"] == QUEUE
        assert theirs[b"v"].startswith(b"p2pfs ")
        assert theirs[b"upload_only"] == 1
        number = theirs[b"m"][b"ut_metadata"]
        wire.send_extended(0, {"m": {"ut_metadata": 77}})
        got = b""
        for piece in range(-(-len(info) // BLOCK)):
            wire.send_extended(number, {"msg_type": 0, "piece": piece})
            payload = wire.read_until(EXTENDED)[1]
            assert payload[0] == 77
            header = bencode.encode({"msg_type": 1, "piece": piece, "total_size": len(info)})
            assert payload[1:1 + len(header)] == header
            got += payload[1 + len(header):]
        assert got == info
        for piece in (-(-len(info) // BLOCK), UINT32_MAX):
            wire.send_extended(number, {"msg_type": 0, "piece": piece})
            assert bencode.decode(wire.read_until(EXTENDED)[1][1:]) == {b"msg_type": 2, b"piece": piece}


# -- other ends ---------------------------------------------------------------------------------------


@HYBRID
def test_two_seeds_part(seed):
    with seed.wire(interested=False) as wire:
        wire.send(HAVE_ALL)
        wire.wait_closed()
    with seed.wire(interested=False) as wire:
        wire.send_extended(0, {"m": {}, "upload_only": 1})
        wire.wait_closed()
    seed.assert_serves()


def test_a_mount_named_to_itself(tmp_path, stack):
    image = random_image(tmp_path / "image", MiB)
    torrent = make_torrent(tmp_path / "t", image)
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, "debug=peer", start=False))
    mount.options.append(f"peer={mount.peer}")
    mount.start()
    wait_until(lambda: "it is ourselves" in mount.log.read_text(), mount.log.read_text)
    assert not mount.status()["peers"]
    good.connect(mount.address, mount.port)
    assert_same(mount.path, image)


def test_interest_toggling_at_random_does_no_harm(tmp_path, stack):
    seed = Seed(tmp_path, stack, "hybrid")
    dice = random.Random(9)
    with seed.wire() as wire:
        wire.send_raw(b"".join(
            dice.choice([message(INTERESTED), message(NOT_INTERESTED),
                         message(REQUEST, be(dice.randrange(12), 0, BLOCK)),
                         message(CANCEL, be(dice.randrange(12), 0, BLOCK))]) for _ in range(1500)))
        wire.send_raw(message(NOT_INTERESTED) + message(INTERESTED) + message(REQUEST, be(11, BLOCK, 1)))
        at = 11 * seed.meta.piece_length + BLOCK
        while wire.read_until(PIECE) != (PIECE, be(11, BLOCK) + seed.data[at:at + 1]):
            pass
    seed.assert_serves()
