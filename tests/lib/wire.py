# SPDX-License-Identifier: MIT
"""The peer wire protocol (BEP 3, 6, 10, 52) over a blocking socket, with no opinion on what is right.

    with Wire.connect("127.0.0.1", mount.port) as wire:
        wire.shake(meta.v1)
        wire.send(HAVE, be(2 ** 32 - 1))
        wire.wait_closed()
"""

import os
import socket
import struct
import time

from lib import bencode
from lib.wait import PATIENCE

CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE, CANCEL, PORT = range(10)
SUGGEST, HAVE_ALL, HAVE_NONE, REJECT, ALLOWED_FAST = range(13, 18)
EXTENDED, HASH_REQUEST, HASHES, HASH_REJECT = range(20, 24)

PROTOCOL = b"\x13BitTorrent protocol"
UINT32_MAX = 2 ** 32 - 1
PEER_ID = b"-XT0001-"


def be(*numbers):
    return b"".join(struct.pack(">I", n) for n in numbers)


def message(kind, payload=b""):
    return be(1 + len(payload)) + bytes([kind]) + payload


def reserved(*, fast=True, extended=True, v2=False):
    return bytes([0, 0, 0, 0, 0, 0x10 if extended else 0, 0, (0x04 if fast else 0) | (0x10 if v2 else 0)])


def new_peer_id():
    return PEER_ID + os.urandom(12)


class Handshake:
    def __init__(self, data):
        assert data[:20] == PROTOCOL, f"not a handshake: {data!r}"
        self.reserved, self.info_hash, self.peer_id = data[20:28], data[28:48], data[48:68]
        self.fast, self.v2 = bool(self.reserved[7] & 0x04), bool(self.reserved[7] & 0x10)
        self.extended = bool(self.reserved[5] & 0x10)


class Closed(Exception):
    """The other side ended the connection."""


class Wire:
    def __init__(self, sock, seconds=PATIENCE):
        self.socket = sock
        self.seconds = seconds
        sock.settimeout(seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.theirs = None

    @classmethod
    def connect(cls, address, port, *, source=None, seconds=PATIENCE):
        """source: the address to come from, so that a ban hits nobody else."""
        return cls(socket.create_connection((address, port), seconds, (source, 0) if source else None), seconds)

    @classmethod
    def to(cls, peer, **kw):
        """peer: "ADDR:PORT", IPv4."""
        address, port = peer.rsplit(":", 1)
        return cls.connect(address, int(port), **kw)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()

    # -- sending -----------------------------------------------------------------------------

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except socket.timeout:
            raise
        except OSError as error:
            raise Closed(str(error)) from None

    def send(self, kind, payload=b""):
        self.send_raw(message(kind, payload))

    def send_extended(self, number, value, data=b""):
        self.send(EXTENDED, bytes([number]) + bencode.encode(value) + data)

    def send_handshake(self, info_hash, *, flags=None, peer_id=None):
        self.send_raw(PROTOCOL + (reserved() if flags is None else flags) + info_hash[:20] + (peer_id or new_peer_id()))

    # -- receiving ---------------------------------------------------------------------------

    def read_exactly(self, n):
        data = bytearray()
        while len(data) < n:
            try:
                got = self.socket.recv(min(n - len(data), 1 << 18))
            except socket.timeout:
                raise
            except OSError as error:  # reset, or closed here by another thread
                raise Closed(str(error)) from None
            if not got:
                raise Closed("end of stream")
            data += got
        return bytes(data)

    def read_handshake(self):
        self.theirs = Handshake(self.read_exactly(68))
        return self.theirs

    def shake(self, info_hash, **kw):
        self.send_handshake(info_hash, **kw)
        return self.read_handshake()

    def read(self):
        """(type, payload) of the next message; keep-alives are passed over."""
        while True:
            length, = struct.unpack(">I", self.read_exactly(4))
            if length:
                assert length <= 1 << 21, f"a message of {length} bytes"
                data = self.read_exactly(length)
                return data[0], data[1:]

    def read_until(self, *kinds, seconds=None):
        """The first message of one of these types; others are passed over."""
        deadline = time.monotonic() + (seconds or self.seconds)
        while True:
            kind, payload = self.read()
            if kind in kinds:
                return kind, payload
            if time.monotonic() > deadline:
                raise TimeoutError(f"no message of type {kinds}")

    def wait_closed(self, seconds=None):
        """Reads on until the other side ends the connection; TimeoutError when it does not."""
        deadline = time.monotonic() + (seconds or self.seconds)
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError("the connection was not ended")
                self.socket.settimeout(left)
                if not self.socket.recv(1 << 18):
                    return
        except ConnectionResetError:
            return
        except socket.timeout:
            raise TimeoutError("the connection was not ended") from None
