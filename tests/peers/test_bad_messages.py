# SPDX-License-Identifier: MIT
"""Each field of each message, wrong: the connection ends, the log says why, and the mount goes on.

The cases come to one mount (it has a good seed) from an address of their own; after each, a block that nobody
has read yet is read through the good seed.
"""

import contextlib
import random
import re

import pytest

from lib.metainfo import BLOCK, Meta
from lib.mounts import Mount
from lib.peer import Peer
from lib.torrents import KiB, MiB, make_torrent, random_image
from lib.wait import wait_until
from lib.wire import (ALLOWED_FAST, BITFIELD, CANCEL, CHOKE, EXTENDED, HASH_REJECT, HASH_REQUEST, HASHES, HAVE,
                      HAVE_ALL, HAVE_NONE, INTERESTED, NOT_INTERESTED, PIECE, PORT, REJECT, REQUEST, SUGGEST, UNCHOKE,
                      UINT32_MAX, Wire, be, message, reserved)

PIECE_LENGTH = 128 * KiB
PIECES = 257  # so that a bitfield has 7 spare bits
LAST = 100 * KiB + 1  # the last piece
SIZE = (PIECES - 1) * PIECE_LENGTH + LAST


class Target:
    """A mount of one version with its good seed."""

    def __init__(self, where, version, stack):
        self.image = random_image(where / "image", SIZE)
        self.torrent = make_torrent(where / "t", self.image, version=version, piece_size=PIECE_LENGTH)
        self.meta = Meta(self.torrent)
        assert self.meta.n_pieces == PIECES
        self.seed = stack.enter_context(Peer(self.torrent, self.image, address="127.0.0.2"))
        self.mount = stack.enter_context(
            Mount(self.torrent, where, f"peer={self.seed.peer}", "fill=off", "debug=peer"))
        # In no order that looks like a stream.
        self.fresh = iter(random.Random(1).sample(range(0, SIZE - PIECE_LENGTH, PIECE_LENGTH), PIECES - 1))
        self.seed.wait_connected()

    def wire(self, **kw):
        """A connection after its handshakes, from another address than the seed's."""
        wire = Wire.connect(self.mount.address, self.mount.port, source="127.0.0.3")
        wire.shake(self.meta.hashes[0], **kw)
        return wire

    def assert_goes_on(self):
        """The daemon lives, and reads through the good seed are right."""
        offset = next(self.fresh)
        with open(self.mount.path, "rb", buffering=0) as got, open(self.image, "rb") as want:
            got.seek(offset)
            want.seek(offset)
            assert got.read(5000) == want.read(5000)
        assert self.mount.alive()
        assert self.seed.closed == 0

    def wait_log(self, regex, mark):
        wait_until(lambda: re.search(regex, self.mount.log.read_text()[mark:]),
                   lambda: f"{regex!r} in the log:\n{self.mount.log.read_text()[mark:]}")


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        # Made here, not when first used: what begins within a test must end within it.
        made = {version: Target(tmp_path_factory.mktemp(f"bad-{version}"), version, stack)
                for version in ("v1", "hybrid")}
        yield made.__getitem__


BIG = UINT32_MAX
ENDS = {
    # have, suggest, allowed fast
    "have max + 1": (message(HAVE, be(PIECES)), f"have of piece {PIECES} of {PIECES}"),
    "have 2^32 - 1": (message(HAVE, be(BIG)), f"have of piece {BIG}"),
    "have short": (message(HAVE, b"\0\0\0"), "message 4 of 4 bytes: wrong length"),
    "have long": (message(HAVE, b"\0" * 5), "message 4 of 6 bytes: wrong length"),
    "suggest max + 1": (message(SUGGEST, be(PIECES)), f"piece {PIECES} of {PIECES}"),
    "suggest 2^32 - 1": (message(SUGGEST, be(BIG)), f"piece {BIG}"),
    "allowed fast max + 1": (message(ALLOWED_FAST, be(PIECES)), f"piece {PIECES} of {PIECES}"),
    "allowed fast 2^32 - 1": (message(ALLOWED_FAST, be(BIG)), f"piece {BIG}"),
    # bitfield
    "bitfield short": (message(BITFIELD, bytes(32)), "bitfield shorter"),
    "bitfield long": (message(BITFIELD, bytes(34)), "bitfield longer"),
    "bitfield empty": (message(BITFIELD), "bitfield shorter"),
    "bitfield of 2^32 - 2 bytes": (be(BIG) + bytes([BITFIELD]), "bitfield longer"),
    "bitfield with the first spare bit": (message(BITFIELD, bytes(32) + b"\x40"), "spare bits"),
    "bitfield with the last spare bit": (message(BITFIELD, bytes(32) + b"\x01"), "spare bits"),
    "late bitfield with a spare bit": (message(BITFIELD, bytes(33)) + message(BITFIELD, bytes(32) + b"\x01"), "spare bits"),
    "have all twice": (2 * message(HAVE_ALL), "second have all"),
    "have none after have": (message(HAVE, be(0)) + message(HAVE_NONE), "too late"),
    # request
    "request piece max + 1": (message(REQUEST, be(PIECES, 0, BLOCK)), f"piece {PIECES} of {PIECES}"),
    "request piece 2^32 - 1": (message(REQUEST, be(BIG, 0, BLOCK)), f"piece {BIG}"),
    "request begin max + 1": (message(REQUEST, be(0, PIECE_LENGTH - BLOCK + 1, BLOCK)), "request of 16384 bytes"),
    "request begin at the end": (message(REQUEST, be(0, PIECE_LENGTH, 1)), f"at {PIECE_LENGTH} of piece 0"),
    "request begin 2^32 - 1": (message(REQUEST, be(0, BIG, BLOCK)), f"at {BIG} of piece 0"),
    "request begin + length overflows": (message(REQUEST, be(0, BIG - BLOCK + 1, BLOCK)), "of piece 0"),
    "request past the last piece's end": (message(REQUEST, be(PIECES - 1, LAST - BLOCK + 1, BLOCK)), "request of"),
    "request of nothing": (message(REQUEST, be(0, 0, 0)), "request of 0 bytes"),
    "request length 128 KiB + 1": (message(REQUEST, be(0, 0, 128 * KiB + 1)), "above 131072"),
    "request length 2^32 - 1": (message(REQUEST, be(0, 0, BIG)), "above 131072"),
    "request short": (message(REQUEST, be(0, 0)), "message 6 of 9 bytes: wrong length"),
    "request long": (message(REQUEST, be(0, 0, BLOCK, 0)), "message 6 of 17 bytes: wrong length"),
    "cancel short": (message(CANCEL, be(0, 0)), "message 8 of 9 bytes"),
    "reject long": (message(REJECT, be(0, 0, BLOCK) + b"x"), "message 16 of 14 bytes"),
    # piece
    "piece max + 1": (message(PIECE, be(PIECES, 0) + bytes(BLOCK)), f"of piece {PIECES}"),
    "piece 2^32 - 1": (message(PIECE, be(BIG, BIG) + bytes(BLOCK)), f"of piece {BIG}"),
    "piece begin at the end": (message(PIECE, be(0, PIECE_LENGTH) + bytes(BLOCK)), f"at {PIECE_LENGTH} of piece 0"),
    "piece begin between blocks": (message(PIECE, be(0, 1) + bytes(BLOCK)), "at 1 of piece 0"),
    "piece begin 2^32 - 16384": (message(PIECE, be(0, BIG - BLOCK + 1) + bytes(BLOCK)), "of piece 0"),
    "piece shorter than its block": (message(PIECE, be(0, 0) + bytes(BLOCK - 1)), "16383 bytes for block"),
    "piece longer than the last block": (message(PIECE, be(PIECES - 1, LAST // BLOCK * BLOCK) + bytes(BLOCK)),
                                         "16384 bytes for block"),
    "piece of nothing": (message(PIECE, be(0, 0)), "without data"),
    "piece of 16 KiB + 1": (be(9 + BLOCK + 1) + bytes([PIECE]), "longer than 16 KiB"),
    "piece of 2^32 - 1": (be(BIG) + bytes([PIECE]), "longer than 16 KiB"),
    # without payload
    "choke with a payload": (message(CHOKE, b"x"), "message 0 of 2 bytes"),
    "unchoke with a payload": (message(UNCHOKE, b"x"), "message 1 of 2 bytes"),
    "interested with a payload": (message(INTERESTED, b"x"), "message 2 of 2 bytes"),
    "not interested with a payload": (message(NOT_INTERESTED, b"x"), "message 3 of 2 bytes"),
    "have all with a payload": (message(HAVE_ALL, b"x"), "message 14 of 2 bytes"),
    "port of a byte": (message(PORT, b"x"), "message 9 of 2 bytes"),
    # extended
    "extended without a number": (message(EXTENDED), "without its number"),
    "extension handshake of garbage": (message(EXTENDED, b"\0\xff\xfe"), "extension handshake: "),
    "extension handshake of a list": (message(EXTENDED, b"\0le"), "not a dictionary"),
    "extension handshake cut": (message(EXTENDED, b"\0d1:m"), "extension handshake: "),
    "extension handshake very deep": (message(EXTENDED, b"\0" + b"l" * 100000), "extension handshake: "),
    "extended above 1 MiB": (be(MiB + 1) + bytes([EXTENDED]), "longer than 1 MiB"),
    "unknown above 1 MiB": (be(MiB + 1) + bytes([99]), "longer than 1 MiB"),
    "unknown of 2^32 - 1": (be(BIG) + bytes([255]), "longer than 1 MiB"),
    "metadata message of garbage": (message(EXTENDED, b"\0d1:md11:ut_metadatai9eee") + message(EXTENDED, b"\1xyz"),
                                    "metadata message: "),
    # hashes
    "hash request short": (message(HASH_REQUEST, bytes(47)), "message 21 of 48 bytes"),
    "hash request long": (message(HASH_REQUEST, bytes(49)), "message 21 of 50 bytes"),
    "hash reject short": (message(HASH_REJECT, bytes(47)), "message 23 of 48 bytes"),
    "hashes of none": (message(HASHES, bytes(48)), "no whole number"),
    "hashes cut": (message(HASHES, bytes(32) + be(0, 0, 2, 0) + bytes(63)), "no whole number"),
    "hashes fewer than said": (message(HASHES, bytes(32) + be(0, 0, 4, 0) + bytes(64)), "fewer hashes"),
    "hashes more than said": (message(HASHES, bytes(32) + be(0, 0, 2, 0) + bytes(96)), "more hashes"),
    "hashes length 2^32 - 1": (message(HASHES, bytes(32) + be(BIG, BIG, BIG, BIG) + bytes(64)), "fewer hashes"),
    "hashes of too many": (be(49 + 32 * 577) + bytes([HASHES]), "more hashes"),
}


@pytest.mark.parametrize("version", ["v1", "hybrid"])
@pytest.mark.parametrize("case", ENDS)
def test_ends_the_connection(targets, version, case):
    target, (bad, reason) = targets(version), ENDS[case]
    mark = target.mount.log.stat().st_size
    with target.wire() as wire:
        wire.send_raw(bad)
        wire.wait_closed()
    target.wait_log(r"127\.0\.0\.3:\d+ .*" + re.escape(reason), mark)
    target.assert_goes_on()


FAST_ONLY = {"suggest": message(SUGGEST, be(0)), "have all": message(HAVE_ALL), "have none": message(HAVE_NONE),
             "reject": message(REJECT, be(0, 0, BLOCK)), "allowed fast": message(ALLOWED_FAST, be(0))}


@pytest.mark.parametrize("case", FAST_ONLY)
def test_fast_messages_need_the_fast_extension(targets, case):
    target = targets("hybrid")
    mark = target.mount.log.stat().st_size
    with target.wire(flags=reserved(fast=False)) as wire:
        wire.send_raw(FAST_ONLY[case])
        wire.wait_closed()
    target.wait_log("fast extension, which was not agreed on", mark)
    target.assert_goes_on()


HARMLESS = {
    "keep-alives": 100 * be(0),
    "unknown type": message(99, b"what is this"),
    "unknown type of 1 MiB": message(10, bytes(MiB - 1)),
    "port": message(PORT, b"\x1a\xe1"),
    "have again": 3 * message(HAVE, be(PIECES - 1)),
    "cancel of what was not asked": message(CANCEL, be(0, 0, BLOCK)),
    "cancel 2^32 - 1": message(CANCEL, be(BIG, BIG, BIG)),
    "reject of what was not asked": message(REJECT, be(0, 0, BLOCK)),
    "reject 2^32 - 1": message(REJECT, be(BIG, BIG, BIG)),
    "choke and unchoke": 50 * (message(UNCHOKE) + message(CHOKE)),
    "interest coming and going": 50 * (message(INTERESTED) + message(NOT_INTERESTED)),
    "extension handshake of nothing": message(EXTENDED, b"\0de"),
    "extension handshake out of range": message(EXTENDED, b"\0d1:md11:ut_metadatai256ee13:metadata_sizei-1e1:pi65536e"
                                                          b"4:reqqi4294967296ee"),
    "extension handshake twice": 2 * message(EXTENDED, b"\0d1:md11:ut_metadatai1eee"),
    "extended of an unknown number": message(EXTENDED, b"\xffanything"),
    "metadata of a future type": message(EXTENDED, b"\0d1:md11:ut_metadatai9eee")
                                 + message(EXTENDED, b"\1d8:msg_typei7e5:piecei0ee"),
    "hashes that nobody asked for": message(HASHES, bytes(32) + be(0, 0, 2, 0) + bytes(64)),
    "hash reject that nobody asked for": message(HASH_REJECT, bytes(32) + be(BIG, BIG, BIG, BIG)),
    "allowed fast of everything, again and again": 20 * b"".join(message(ALLOWED_FAST, be(p)) for p in range(PIECES)),
}


@pytest.mark.parametrize("version", ["v1", "hybrid"])
@pytest.mark.parametrize("case", HARMLESS)
def test_does_not_end_the_connection(targets, version, case):
    target = targets(version)
    with target.wire() as wire:
        wire.send_raw(HARMLESS[case])
        # Not interested, so choked: what is asked for now is rejected, which shows that all before it was taken.
        wire.send(REQUEST, be(PIECES - 1, 0, 1234))
        assert wire.read_until(REJECT)[1] == be(PIECES - 1, 0, 1234)
    target.assert_goes_on()


SHAKES = {
    "another protocol": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"x" * 64,
    "length 2^8 - 1": b"\xffBitTorrent protocol" + bytes(48),
    "zeros": bytes(68),
    "an unknown info-hash": b"\x13BitTorrent protocol" + reserved() + bytes(20) + b"-XT0001-abcdefghijkl",
}


@pytest.mark.parametrize("case", SHAKES)
def test_a_bad_handshake_gets_no_answer(targets, case):
    target = targets("hybrid")
    with Wire.connect(target.mount.address, target.mount.port, source="127.0.0.3") as wire:
        wire.send_raw(SHAKES[case])
        wire.socket.settimeout(60)
        try:
            assert wire.socket.recv(1) == b""
        except ConnectionResetError:
            pass  # closed with unread bytes: as good
    target.assert_goes_on()


def test_messages_in_single_bytes(targets):
    """However the stream is cut, it means the same."""
    target = targets("hybrid")
    with target.wire() as wire:
        stream = (message(HAVE, be(1)) + be(0) + message(EXTENDED, b"\0de") + message(99, b"xyz")
                  + message(REQUEST, be(2, BLOCK, 777)))
        for byte in stream:
            wire.send_raw(bytes([byte]))
        assert wire.read_until(REJECT)[1] == be(2, BLOCK, 777)
    target.assert_goes_on()


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_blocks_that_nobody_asked_for(targets, tmp_path, version):
    """Good ones, even: they are not kept, or a peer could fill the memory; and a hundred are no accident."""
    target = targets(version)
    data = target.image.read_bytes()

    def block(piece):
        return message(PIECE, be(piece, 0) + data[piece * PIECE_LENGTH:piece * PIECE_LENGTH + BLOCK])
    with Mount(target.torrent, tmp_path, "fill=off", "debug=peer") as mount, \
         Wire.connect(mount.address, mount.port, source="127.0.0.3") as wire:
        wire.shake(target.meta.hashes[0])
        wire.send_raw(b"".join(block(piece) for piece in range(100)))
        wire.send(REQUEST, be(0, 0, 1))
        wire.read_until(REJECT)
        assert mount.status()["wasted"] == 100 * BLOCK
        assert mount.status()["had"] == 0
        wire.send_raw(block(100))
        wire.wait_closed()
        wait_until(lambda: "blocks that nobody asked for" in mount.log.read_text(), mount.log.read_text)


@pytest.mark.parametrize("greatest", [True, False])
def test_the_id_of_another_peer_drives_it_out_no_more(targets, tmp_path, greatest):
    """Of two connections with one peer one is ended; a copied id from another address must not count as that."""
    target = targets("hybrid")
    with Peer(target.torrent, target.image, address="127.0.0.4") as good:
        good.peer_id = (b"~" if greatest else b"!") * 20  # whichever side's id is the greater decides
        with Mount(target.torrent, tmp_path, f"peer={good.peer}", "fill=off") as mount:
            good.wait_connected()
            with Wire.connect(mount.address, mount.port, source="127.0.0.5") as thief:
                thief.shake(target.meta.hashes[0], peer_id=good.peer_id)
                thief.send(REQUEST, be(0, 0, 1))
                thief.read_until(REJECT)
                with open(mount.path, "rb", buffering=0) as got:
                    assert got.read(5000) == target.image.read_bytes()[:5000]
                assert good.closed == 0


# -- the same from a peer that p2pfs calls ------------------------------------------------------------

CALLED = {
    "have out of range": (lambda c: c.wire.send(HAVE, be(PIECES)), "have of piece"),
    "spare bits": (lambda c: c.wire.send(BITFIELD, b"\xff" * 33), "spare bits"),
    "garbage lengths": (lambda c: c.wire.send_raw(b"\xff" * 1000), "longer than 1 MiB"),
    "a block that nobody asked for, out of range":
        (lambda c: c.wire.send(PIECE, be(PIECES, 0) + bytes(BLOCK)), "of piece"),
    "nothing but the end": (lambda c: c.end(), "closed by the peer|receive: "),
}


@pytest.mark.parametrize("case", CALLED)
def test_a_called_peer_at_fault(targets, tmp_path, case):
    target, (greeting, reason) = targets("hybrid"), CALLED[case]
    with Peer(target.torrent, target.image, address="127.0.0.4", greeting=greeting) as bad, \
         Mount(target.torrent, tmp_path, f"peer={bad.peer}", f"peer={target.seed.peer}", "fill=off",
               "debug=peer") as mount:
        mount_log = lambda: mount.log.read_text()
        wait_until(lambda: re.search(rf"{re.escape(bad.peer)} .*({reason})", mount_log()), mount_log)
        with open(mount.path, "rb", buffering=0) as got:
            assert got.read(5000) == target.image.read_bytes()[:5000]


def test_a_called_peer_with_another_info_hash(targets, tmp_path):
    target = targets("hybrid")
    with Peer(target.torrent, target.image, address="127.0.0.4", info_hash=b"x" * 20) as bad, \
         Mount(target.torrent, tmp_path, f"peer={bad.peer}", f"peer={target.seed.peer}", "fill=off",
               "debug=peer") as mount:
        mount_log = lambda: mount.log.read_text()
        wait_until(lambda: re.search(rf"{re.escape(bad.peer)} .*another info-hash", mount_log()), mount_log)
        with open(mount.path, "rb", buffering=0) as got:
            assert got.read(5000) == target.image.read_bytes()[:5000]
