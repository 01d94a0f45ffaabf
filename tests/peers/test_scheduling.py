# SPDX-License-Identifier: MIT
"""What makes cold reads fast, rule by rule, on scripted peers that tell what they were asked, and when."""

import os
import random

import pytest

from lib.mounts import Mount
from lib.peer import Peer
from lib.torrents import KiB, MiB, make_torrent, random_image
from lib.wait import wait_until

BLOCK = 16 * KiB


def read(mount, offset, length):
    fd = os.open(mount.path, os.O_RDONLY)
    try:
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)


def sparse_image(path, size, data):
    """Zeros but for random bytes at data: [(offset, length)]."""
    rng = random.Random(5)
    with open(path, "wb") as out:
        out.truncate(size)
        for offset, length in data:
            out.seek(offset)
            out.write(rng.randbytes(length))
    return path


def settled(seed):
    """Waits until what a mount fetches unasked, 128 KiB at the head and 64 KiB at the tail, has come."""
    wait_until(lambda: seed.blocks_sent >= 12, "the head and the tail")


def test_head_and_tail_come_before_anybody_reads(tmp_path, stack):
    image = random_image(tmp_path / "image", 8 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    wait_until(lambda: {(0, 0), (7, MiB - BLOCK)} <= seed.blocks_asked(), "first and last block")


@pytest.mark.parametrize("version,piece_size", [("v2", MiB), ("hybrid", MiB), ("hybrid", 128 * KiB), ("v2", 16 * MiB)])
def test_a_cold_read_fetches_its_block_and_no_more(tmp_path, stack, version, piece_size):
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version=version, piece_size=piece_size)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    data = image.read_bytes()
    settled(seed)
    before = len(seed.asked)
    rng = random.Random(1)
    offsets = [n * MiB + rng.randrange(64) * BLOCK for n in rng.sample(range(1, 63), 20)]
    for offset in offsets:
        assert read(mount, offset, 4 * KiB) == data[offset:offset + 4 * KiB]
    assert [(a.piece * piece_size + a.begin) for a in seed.asked[before:]] == offsets
    # Alone by its leaf: each was asked for in a run of no more than 16 (BEP 52's `length`).
    assert {asked[4] for asked in seed.hash_asked} == {min(16, piece_size // BLOCK)}


def test_leaf_hashes_follow_a_demand_that_nothing_follows(tmp_path, stack):
    """They push the end of the block out of a peer that waits for a full segment (Nagle)."""
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=512 * KiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    settled(seed)
    before = len(seed.hash_asked)
    read(mount, 50 * MiB + 17 * BLOCK, 4 * KiB)  # piece 100, its second run
    wait_until(lambda: len(seed.hash_asked) >= before + 5, "four more hash requests")
    leaves = [asked[3] for asked in seed.hash_asked[before:]]
    assert leaves == [100 * 32 + 16, 100 * 32, 101 * 32, 101 * 32 + 16, 102 * 32]
    assert len(seed.asked) == 13


def test_a_new_peer_is_asked_for_leaf_hashes_before_it_unchokes(tmp_path, stack):
    """The first two round trips of a connection carry something, so that its TCP learns what the path holds."""
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2", unchoke=False))
    stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    wait_until(lambda: len(seed.hash_asked) >= 64, "64 hash requests")
    assert [asked[3] for asked in seed.hash_asked] == [16 * run for run in range(64)]
    assert not seed.asked


def test_a_restart_needs_no_leaf_hash_again(tmp_path, stack):
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    data = image.read_bytes()
    with Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off") as mount:
        settled(seed)
        assert read(mount, 50 * MiB, 4 * KiB) == data[50 * MiB:][:4 * KiB]
        wait_until(lambda: {50 * 64 + 16 * k for k in range(4)} <= {asked[3] for asked in seed.hash_asked}, "its leaves")
        read(mount, 50 * MiB + BLOCK, 4 * KiB)
    seed.hashes = "ignore"
    before = len(seed.hash_asked)
    with Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off") as mount:
        offset = 50 * MiB + 40 * BLOCK
        assert read(mount, offset, 4 * KiB) == data[offset:][:4 * KiB]
        assert not [asked for asked in seed.hash_asked[before:] if asked[3] // 64 == 50]


def test_leaf_hashes_are_asked_for_with_the_block(tmp_path, stack):
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="v2", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2", latency=0.3))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    settled(seed)
    hashes, blocks = len(seed.hash_asked), len(seed.asked)
    read(mount, 50 * MiB, 4 * KiB)
    # The answer takes 0.3 s: both were asked for before either came.
    assert abs(seed.hash_asked[hashes][0] - seed.asked[blocks].time) < 0.3


def test_a_sequential_reader_is_read_ahead_for(tmp_path, stack):
    image = random_image(tmp_path / "image", 16 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    for offset in range(4 * MiB, 6 * MiB, 64 * KiB):
        read(mount, offset, 64 * KiB)
    wait_until(lambda: (7, 0) in seed.blocks_asked(), "a block 1 MiB ahead of the reader")
    assert (12, 0) not in seed.blocks_asked()


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_pieces_of_zeros_are_not_asked_for(tmp_path, stack, version):
    image = sparse_image(tmp_path / "image", 16 * MiB, [(3 * MiB + 5000, 100 * KiB), (9 * MiB, MiB)])
    torrent = make_torrent(tmp_path / "t", image, version=version, piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}"))
    mount.wait_state("complete")
    assert mount.path.read_bytes() == image.read_bytes()
    assert {piece for piece, _ in seed.blocks_asked()} == {3, 9}
    assert mount.status()["zero"] >= 14 * MiB


def test_blocks_of_zeros_are_not_asked_for_once_their_hashes_are_known(tmp_path, stack):
    image = sparse_image(tmp_path / "image", 4 * MiB, [(2 * MiB + 5 * BLOCK, BLOCK)])
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    data = image.read_bytes()
    assert read(mount, 2 * MiB + 5 * BLOCK, 512) == data[2 * MiB + 5 * BLOCK:][:512]
    assert mount.path.read_bytes() == data
    assert seed.blocks_asked() == {(2, 5 * BLOCK)}


def test_what_a_demand_would_wait_behind_is_cancelled(tmp_path, stack):
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2", rate=2 * MiB, latency=0.1))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}"))
    wait_until(lambda: mount.status()["downloaded"] > 2 * MiB, "filling at full rate")
    asked = seed.blocks_asked()
    piece = next(p for p in range(63, 0, -1) if not any(a == p for a, _ in asked))
    offset = piece * MiB + 3 * BLOCK
    expected = image.read_bytes()[offset:offset + 4 * KiB]
    assert not seed.cancelled
    assert read(mount, offset, 4 * KiB) == expected
    assert seed.cancelled
    assert (piece, 3 * BLOCK) not in {(c.piece, c.begin) for c in seed.cancelled}
    # All that was cancelled comes in the end.
    read(mount, seed.cancelled[0].piece * MiB + seed.cancelled[0].begin, 4 * KiB)


def test_a_late_block_is_asked_of_a_second_peer_and_the_loser_is_cancelled(tmp_path, stack):
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    one = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    two = stack.enter_context(Peer(torrent, image, address="127.0.0.3"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={one.peer}", f"peer={two.peer}", "fill=off"))
    data = image.read_bytes()
    wait_until(lambda: len(mount.status()["peers"]) == 2, "both peers")
    wait_until(lambda: one.blocks_sent + two.blocks_sent >= 12, "the head and the tail")
    pieces = iter(random.Random(2).sample(range(1, 63), 62))
    for _ in range(10):  # so that both have been measured
        offset = next(pieces) * MiB
        assert read(mount, offset, 4 * KiB) == data[offset:offset + 4 * KiB]
    # The one that was asked last is the one from which an answer is expected soonest.
    loser, winner = sorted((one, two), key=lambda p: p.asked[-1].time if p.asked else 0, reverse=True)
    loser.stall_after = loser.blocks_sent
    for _ in range(40):
        offset = next(pieces) * MiB
        assert read(mount, offset, 4 * KiB) == data[offset:offset + 4 * KiB]
        if loser.cancelled:
            break
    lost = loser.cancelled[0]
    assert (lost.piece, lost.begin) in winner.blocks_asked()
    assert mount.status()["reads"]["hedged"] > 0


def test_blocks_alone_and_pieces_whole_get_along(tmp_path, stack):
    """Readers that have leaf hashes of some blocks asked for, while filling completes the pieces without the others'.

    Freed memory is overwritten (mallopt(3)), so that a worker that looks at a block too long stores wrong bytes.
    """
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", env={"MALLOC_PERTURB_": "165"}))
    data = image.read_bytes()
    rng = random.Random(3)
    while mount.status()["state"] != "complete":
        for _ in range(50):
            offset = rng.randrange(len(data) // BLOCK) * BLOCK
            assert read(mount, offset, 2 * BLOCK) == data[offset:offset + 2 * BLOCK]
    assert mount.path.read_bytes() == data


def test_a_piece_of_v1_is_hashed_as_it_comes(tmp_path, stack):
    """So that the last block's arrival is all that a read waits for; a wrong copy does not spoil the next one."""
    image = random_image(tmp_path / "image", 16 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="v1", piece_size=4 * MiB)
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", lie=lambda piece, begin: begin == 20 * BLOCK))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={liar.peer}", "fill=off", "debug=pick"))
    good = Peer(torrent, image, address="127.0.0.3", rate=8 * MiB)
    data = image.read_bytes()
    with good:
        wait_until(lambda: "banned" in mount.log.read_text(), "the liar is banned")
        good.connect(mount.address, mount.port)
        for piece in (1, 2):
            offset = piece * 4 * MiB + 123456
            assert read(mount, offset, 4 * KiB) == data[offset:][:4 * KiB]
    ahead = [line for line in mount.log.read_text().splitlines() if "as it comes" in line]
    assert any("piece 2: hashed up to block" in line for line in ahead)
    assert len([line for line in ahead if "piece 1:" in line]) >= 3


@pytest.mark.parametrize("blocks", [(15, 2), (3, 1), (17, 1)])
def test_leaf_hashes_that_are_refused_in_part_hang_no_read(tmp_path, stack, blocks):
    """The first run of piece 50 is refused, the others are given: a block of it needs the piece, another is read alone."""
    first, n = blocks
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2",
                                    hashes=lambda index: "reject" if index == 50 * 64 else "answer"))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    settled(seed)
    data, offset = image.read_bytes(), 50 * MiB + first * BLOCK
    assert read(mount, offset, n * BLOCK) == data[offset:][:n * BLOCK]
    assert len([a for a in seed.asked if a.piece == 50]) == (64 if first < 16 else 1)
    assert read(mount, 50 * MiB, 64 * BLOCK) == data[50 * MiB:][:MiB]


def test_leaf_hashes_that_went_along_and_were_lost_are_asked_for_again(tmp_path, stack):
    """The peer is gone before it answered what a new connection asks for: no piece has to come whole for that."""
    image = random_image(tmp_path / "image", 64 * MiB)
    torrent = make_torrent(tmp_path / "t", image, version="hybrid", piece_size=MiB)
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2", hashes="ignore", unchoke=False))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    wait_until(lambda: len(seed.hash_asked) >= 64, "64 hash requests")
    seed.hashes, seed.unchoke = "answer", True
    seed.drop()
    seed.connect(mount.address, mount.port)
    settled(seed)
    data, offset = image.read_bytes(), 3 * MiB + 5 * BLOCK
    assert read(mount, offset, 4 * KiB) == data[offset:][:4 * KiB]
    assert [a for a in seed.blocks_asked() if a[0] == 3] == [(3, 5 * BLOCK)]
