# SPDX-License-Identifier: MIT
"""Scripted peers: a seed that misbehaves on demand and tells what it was asked, and a leecher.

    with Peer(torrent, image, address="127.0.0.2", lie=lambda piece, begin: True) as liar, \
         Mount(torrent, tmp_path, f"peer={liar.peer}", ...) as mount: ...

Own threads, no library: what goes over the wire is what the test says.  Every fault is an attribute that may be
changed meanwhile.  An exception in a peer's thread fails the test when the peer is closed.
"""

import collections
import hashlib
import socket
import threading
import time

from lib import bencode
from lib.metainfo import BLOCK, Content, Meta
from lib.wait import PATIENCE, wait_until
from lib.wire import (BITFIELD, CANCEL, CHOKE, EXTENDED, HASH_REJECT, HASH_REQUEST, HASHES, HAVE, HAVE_ALL, HAVE_NONE,
                      INTERESTED, NOT_INTERESTED, PIECE, REJECT, REQUEST, UNCHOKE, Closed, Wire, be, message,
                      new_peer_id, reserved)

Asked = collections.namedtuple("Asked", "time piece begin length")

# Bytes in the kernel between two peers count as sent: kept small, a cancel can still catch a block.
SEND_BUFFER = 128 << 10

UT_METADATA = 3  # the number under which we take such messages


class Peer:
    """A seed (or a peer with the pieces `have`) that listens; connect() makes it call.

    Faults, each a keyword and an attribute:
      lie             lie(piece, begin) -> true: that block's data is wrong
      stall_after     blocks sent in all, after which no more come (None: never)
      rate            bytes per second of each connection (None: no limit)
      latency         seconds that each answer waits
      unchoke         False: never unchokes
      choke_every     chokes after so many blocks, and unchokes at once (without fast: requests are forgotten)
      reject          reject(piece, begin) -> true: that request is refused
      hashes          "answer", "reject", "ignore", "lie", "short"; or hashes(index) -> one of them
      metadata        "answer" (BEP 9), "reject", "ignore", "lie", "short", "other size", "cut" (ends the connection);
                      None: does not offer any
      metadata_size   told instead of the right one
      cut_block       data bytes after which a block breaks off with the connection
      greeting        a function (connection) that sends what it likes after the handshakes, instead of bitfield,
                      extension handshake and unchoke
      info_hash       answered instead of the right one
      flags           reserved bytes
      bitfield        payload sent instead of the right one
      silent          accepts, and never says a word
    Facts: asked, cancelled, hash_asked, metadata_asked (lists), sent (bytes), connections (count), closed (count), open_connections.
    """

    def __init__(self, torrent, content, *, address="127.0.0.1", have=None, fast=True, reqq=None, **faults):
        self.meta = Meta(torrent)
        self.content = Content(self.meta, content)
        self.address, self.fast, self.reqq = address, fast, reqq
        self.have = set(range(self.meta.n_pieces) if have is None else have)
        self.lie = self.stall_after = self.rate = self.choke_every = self.reject = self.cut_block = None
        self.greeting = self.info_hash = self.flags = self.bitfield = self.metadata = self.metadata_size = None
        self.latency, self.unchoke, self.hashes, self.silent = 0, True, "answer", False
        for fault, value in faults.items():
            if not hasattr(self, fault):
                raise TypeError(f"no fault is called {fault}")
            setattr(self, fault, value)
        self.peer_id = new_peer_id()
        self.asked, self.cancelled, self.hash_asked, self.metadata_asked, self.errors = [], [], [], [], []
        self.sent = self.blocks_sent = self.connections = self.closed = 0
        self.open_connections = []
        self.lock = threading.Lock()
        self.threads = []
        self.ended = False
        self.listener = socket.create_server((address, 0))
        self.port = self.listener.getsockname()[1]
        self._run(self._accept)

    @property
    def peer(self):
        return f"{self.address}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        if kind is None and self.errors:
            raise self.errors[0]

    def close(self):
        self.ended = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.drop()
        while self.threads:
            self.threads.pop().join(PATIENCE)

    def drop(self):
        """Ends all its connections."""
        for connection in list(self.open_connections):
            connection.end()

    def connect(self, address, port):
        """Calls another peer."""
        self._run(lambda: Connection(self, Wire.connect(address, port, source=self.address), False).run())

    def blocks_asked(self):
        """The set of (piece, begin) asked for so far."""
        return {(a.piece, a.begin) for a in list(self.asked)}

    def wait_asked(self, n=1, seconds=PATIENCE):
        wait_until(lambda: len(self.asked) >= n, lambda: f"{n} requests, {len(self.asked)} came", seconds)

    def wait_connected(self, seconds=PATIENCE):
        wait_until(lambda: any(c.shaken for c in list(self.open_connections)), "a connection", seconds)

    def wait_closed(self, n=1, seconds=PATIENCE):
        """Until `n` connections have been ended by the other side."""
        wait_until(lambda: self.closed >= n, lambda: f"{n} connections ended, {self.closed} were", seconds)

    def send_have(self, piece):
        self.have.add(piece)
        for connection in list(self.open_connections):
            connection.queue(message(HAVE, be(piece)))

    def _run(self, function):
        def guarded():
            try:
                function()
            except (Closed, ConnectionError):
                pass  # the other side's right
            except Exception as error:  # pylint: disable=broad-except  # told to the test
                if not self.ended:
                    self.errors.append(error)
        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        self.threads.append(thread)  # not before: close() may be joining what is there

    def _accept(self):
        while not self.ended:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self._run(lambda sock=sock: Connection(self, Wire(sock, 3600), True).run())


class Connection:
    """One connection of a Peer: a thread that reads, one that answers."""

    def __init__(self, peer, wire, incoming):
        self.peer, self.wire, self.incoming = peer, wire, incoming
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self.waiting = collections.deque()  # (due, bytes or Asked), in order
        self.changed = threading.Condition()
        self.over = self.shaken = False
        self.their_metadata = None  # their number for such messages
        self.choking = True
        self.they_want = False
        self.blocks = 0

    def run(self):
        peer = self.peer
        peer.connections += 1
        peer.open_connections.append(self)
        try:
            if peer.silent:
                self.wire.wait_closed(3600)
                raise Closed("end of stream")
            self._shake()
            peer._run(self._write)
            while True:
                self._take(*self.wire.read())
        except Closed:
            if not self.over:
                peer.closed += 1
            raise
        finally:
            self.end()
            peer.open_connections.remove(self)

    def end(self):
        with self.changed:
            self.over = True
            self.changed.notify_all()
        self.wire.close()

    def _shake(self):
        peer, meta = self.peer, self.peer.meta
        flags = reserved(fast=peer.fast, v2=bool(meta.v2)) if peer.flags is None else peer.flags
        if self.incoming:
            theirs = self.wire.read_handshake()
            assert theirs.info_hash in meta.hashes, "a handshake for another torrent"
            answer = meta.v2 if meta.v2 and theirs.v2 else theirs.info_hash
            self.wire.send_handshake(peer.info_hash or answer, flags=flags, peer_id=peer.peer_id)
        else:
            theirs = self.wire.shake(peer.info_hash or meta.hashes[0], flags=flags, peer_id=peer.peer_id)
        self.fast = peer.fast and theirs.fast
        self.shaken = True
        if peer.greeting:
            peer.greeting(self)
            return
        if peer.bitfield is not None:
            self.wire.send(BITFIELD, peer.bitfield)
        elif self.fast and len(peer.have) == meta.n_pieces:
            self.wire.send(HAVE_ALL)
        elif self.fast and not peer.have:
            self.wire.send(HAVE_NONE)
        elif peer.have:
            self.wire.send(BITFIELD, self.right_bitfield())
        handshake = {"m": {}, "p": peer.port, "v": "scripted peer"}
        if peer.reqq:
            handshake["reqq"] = peer.reqq
        if peer.metadata:
            handshake["m"]["ut_metadata"] = UT_METADATA
            handshake["metadata_size"] = peer.metadata_size or len(meta.info_bytes)
        self.wire.send_extended(0, handshake)

    def right_bitfield(self):
        field = bytearray(-(-self.peer.meta.n_pieces // 8))
        for piece in self.peer.have:
            field[piece // 8] |= 0x80 >> piece % 8
        return bytes(field)

    # -- reading -----------------------------------------------------------------------------

    def _take(self, kind, payload):
        peer = self.peer
        if kind == INTERESTED:
            self.they_want = True
            if peer.unchoke:
                self.set_choking(False)
        elif kind == NOT_INTERESTED:
            self.they_want = False
        elif kind == REQUEST:
            self._take_request(Asked(time.monotonic(), *self._numbers(payload, 3)))
        elif kind == CANCEL:
            self._take_cancel(Asked(time.monotonic(), *self._numbers(payload, 3)))
        elif kind == HASH_REQUEST:
            self._take_hash_request(payload)
        elif kind == EXTENDED and payload[0] == 0:
            self.their_metadata = bencode.decode(payload[1:]).get(b"m", {}).get(b"ut_metadata")
        elif kind == EXTENDED and payload[0] == UT_METADATA:
            self._take_metadata_request(bencode.decode(payload[1:]))

    @staticmethod
    def _numbers(payload, n):
        assert len(payload) == 4 * n, f"{len(payload)} bytes where {4 * n} belong"
        return [int.from_bytes(payload[4 * i:4 * i + 4], "big") for i in range(n)]

    def _take_request(self, asked):
        peer = self.peer
        # What is asked must be right, however wrong our own doings are.
        assert asked.piece in peer.have, f"asked for piece {asked.piece}, which was not announced"
        assert (asked.begin, asked.length) in peer.meta.blocks(asked.piece), f"no block: {asked}"
        with peer.lock:
            peer.asked.append(asked)
        refused = peer.reject and peer.reject(asked.piece, asked.begin)
        if self.choking or refused:
            if self.fast:
                self.queue(message(REJECT, be(*asked[1:])))
            return
        self.queue(asked)

    def _take_cancel(self, asked):
        with self.peer.lock:
            self.peer.cancelled.append(asked)
        with self.changed:
            for entry in self.waiting:
                if isinstance(entry[1], Asked) and entry[1][1:] == asked[1:]:
                    self.waiting.remove(entry)
                    break
            else:
                return
        if self.fast:
            self.queue(message(REJECT, be(*asked[1:])))

    def _take_hash_request(self, payload):
        peer = self.peer
        root, numbers = payload[:32], self._numbers(payload[32:], 4)
        with peer.lock:
            peer.hash_asked.append((time.monotonic(), root, *numbers))
        how = peer.hashes(numbers[1]) if callable(peer.hashes) else peer.hashes
        if how == "ignore":
            return
        found = peer.content.hashes(root, *numbers) if peer.meta.v2 else None
        if found is None or how == "reject":
            self.queue(message(HASH_REJECT, payload))
            return
        if how == "lie":
            found[0] = hashlib.sha256(b"a lie").digest()
        elif how == "short":
            found = found[:1]
        self.queue(message(HASHES, payload + b"".join(found)))

    def _take_metadata_request(self, asked):
        peer, info = self.peer, self.peer.meta.info_bytes
        assert asked[b"msg_type"] == 0, "nobody gave us metadata"
        piece = asked[b"piece"]
        with peer.lock:
            peer.metadata_asked.append(piece)
        if peer.metadata == "cut":
            self.end()
        if peer.metadata in ("ignore", "cut"):
            return
        if peer.metadata == "reject":
            self.queue(message(EXTENDED, bytes([self.their_metadata]) + bencode.encode({"msg_type": 2, "piece": piece})))
            return
        size = peer.metadata_size or len(info)
        data = bytearray(info.ljust(size, b"x")[:size][piece * BLOCK:(piece + 1) * BLOCK])
        assert data, f"asked for piece {piece} of metadata of {size} bytes"
        if peer.metadata == "lie":
            data[len(data) // 2] ^= 0xff
        elif peer.metadata == "short":
            data = data[:-1]
        elif peer.metadata == "other size":
            size += 1
        answer = {"msg_type": 1, "piece": piece, "total_size": size}
        self.queue(message(EXTENDED, bytes([self.their_metadata]) + bencode.encode(answer) + bytes(data)))

    # -- answering ---------------------------------------------------------------------------

    def queue(self, what):
        """Bytes, or a request to be answered, after the latency."""
        with self.changed:
            self.waiting.append((time.monotonic() + self.peer.latency, what))
            self.changed.notify_all()

    def set_choking(self, choking):
        """Choking, what is open is rejected (fast) or forgotten."""
        with self.changed:
            self.choking = choking
            dropped = []
            if choking:
                dropped = [what for _, what in self.waiting if isinstance(what, Asked)]
                self.waiting = collections.deque(e for e in self.waiting if not isinstance(e[1], Asked))
        self.queue(message(CHOKE if choking else UNCHOKE))
        for asked in dropped if self.fast else []:
            self.queue(message(REJECT, be(*asked[1:])))

    def _next(self):
        """The next thing to send, once its time has come; None at the end."""
        with self.changed:
            while not self.over:
                now = time.monotonic()
                if self.waiting and self.waiting[0][0] <= now and not self._stalled():
                    return self.waiting.popleft()[1]
                # A stall is looked at again now and then: the test may end it.
                due = self.waiting[0][0] - now if self.waiting else None
                self.changed.wait(0.05 if due is not None and due <= 0 else due)
        return None

    def _stalled(self):
        limit = self.peer.stall_after
        return limit is not None and self.peer.blocks_sent >= limit and isinstance(self.waiting[0][1], Asked)

    def _write(self):
        peer = self.peer
        while True:
            what = self._next()
            if what is None:
                return
            if not isinstance(what, Asked):
                self.wire.send_raw(what)
                continue
            data = bytearray(peer.content.read(what.piece * peer.meta.piece_length + what.begin, what.length))
            if peer.lie and peer.lie(what.piece, what.begin):
                data[len(data) // 2] ^= 0xff
            whole = message(PIECE, be(what.piece, what.begin) + bytes(data))
            if peer.cut_block is not None:
                self._send_slowly(whole[:13 + peer.cut_block])
                self.end()
                return
            self._send_slowly(whole)
            with peer.lock:
                peer.sent += what.length
                peer.blocks_sent += 1
            self.blocks += 1
            if peer.choke_every and self.blocks % peer.choke_every == 0:
                self.set_choking(True)
                self.set_choking(False)

    def _send_slowly(self, data):
        """By the rate, a twentieth of a second's worth at a time, a byte at least."""
        at = 0
        while at < len(data) and not self.over:
            rate = self.peer.rate
            if rate is None:
                self.wire.send_raw(data[at:])
                return
            n = max(1, min(len(data) - at, rate // 20))
            self.wire.send_raw(data[at:at + n])
            at += n
            with self.changed:
                self.changed.wait_for(lambda: self.over, n / rate)


class Leecher:
    """Fetches pieces from one p2pfs, checks them against the torrent, and counts.

    A thread; .wait() gives its data ({piece: bytes}) or raises what went wrong.  depth: requests open at once.
    again: begins anew with the same pieces when it has them (a greedy one), until closed.
    """

    def __init__(self, torrent, peer, *, source=None, pieces=None, depth=16, again=False, fast=True, flags=None,
                 info_hash=None):
        self.meta = Meta(torrent)
        self.pieces = list(range(self.meta.n_pieces) if pieces is None else pieces)
        self.depth, self.again, self.fast = depth, again, fast
        self.received = self.rejected = self.unchoked = self.choked = 0
        self.data, self.times, self.error = {}, [], None
        self.choked_now = True
        self.has = set()
        self.wire = Wire.to(peer, source=source)
        flags = reserved(fast=fast, v2=bool(self.meta.v2)) if flags is None else flags
        self.theirs = self.wire.shake(info_hash or self.meta.hashes[0], flags=flags)
        self.over = False
        self.thread = threading.Thread(target=self._guarded, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.over = True
        self.wire.close()
        self.thread.join(PATIENCE)

    def wait(self, seconds=PATIENCE):
        self.thread.join(seconds)
        if self.thread.is_alive():
            raise TimeoutError(f"{len(self.data)} of {len(self.pieces)} pieces within {seconds} s")
        if self.error:
            raise self.error
        return self.data

    def _guarded(self):
        try:
            self._run()
        except Exception as error:  # pylint: disable=broad-except  # told by wait()
            if not self.over:
                self.error = error

    def _run(self):
        if self.fast:
            self.wire.send(HAVE_NONE)
        self.wire.send_extended(0, {"m": {}, "v": "scripted leecher"})
        self.wire.send(INTERESTED)
        while not self.over:
            self._fetch()
            if not self.again:
                return

    def _fetch(self):
        wanted = collections.deque((p, *block) for p in self.pieces for block in self.meta.blocks(p))
        open_requests, parts = [], {p: {} for p in self.pieces}
        left = len(wanted)
        while left:
            while not self.choked_now and wanted and len(open_requests) < self.depth:
                at = next((i for i, w in enumerate(wanted) if w[0] in self.has), None)
                if at is None:
                    break
                asked = wanted[at]
                del wanted[at]
                open_requests.append(asked)
                self.wire.send(REQUEST, be(*asked))
            kind, payload = self.wire.read()
            if kind == UNCHOKE:
                self.unchoked += 1
                self.choked_now = False
            elif kind == CHOKE:
                self.choked += 1
                self.choked_now = True
                if not self.fast:
                    wanted.extendleft(open_requests)
                    open_requests.clear()
            elif kind == REJECT:
                self.rejected += 1
                asked = tuple(Connection._numbers(payload, 3))
                open_requests.remove(asked)
                wanted.append(asked)
            elif kind == PIECE:
                piece, begin = Connection._numbers(payload[:8], 2)
                data = payload[8:]
                open_requests.remove((piece, begin, len(data)))
                self.received += len(data)
                self.times.append(time.monotonic())
                parts[piece][begin] = data
                left -= 1
                if len(parts[piece]) == len(self.meta.blocks(piece)):
                    whole = b"".join(parts[piece][b] for b in sorted(parts[piece]))
                    assert self.meta.good(piece, whole), f"piece {piece} is wrong"
                    self.data[piece] = whole
            else:
                self._note(kind, payload)

    def _note(self, kind, payload):
        if kind == HAVE_ALL:
            self.has = set(range(self.meta.n_pieces))
        elif kind == HAVE:
            self.has.add(int.from_bytes(payload, "big"))
        elif kind == BITFIELD:
            self.has = {p for p in range(self.meta.n_pieces) if payload[p // 8] & 0x80 >> p % 8}


def hash_request(root, base, index, length, proofs):
    return root + be(base, index, length, proofs)


def extended_handshake(payload):
    """The dictionary of an EXTENDED message 0."""
    assert payload[0] == 0
    return bencode.decode(payload[1:])


__all__ = ["Asked", "BLOCK", "Connection", "EXTENDED", "Leecher", "Peer", "extended_handshake", "hash_request"]
