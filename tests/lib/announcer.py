# SPDX-License-Identifier: MIT
"""A client of trackers, for tests: announces and scrapes over HTTP, HTTPS and UDP, as told.

It is no p2pfs and no library: it sends what the test says, right or wrong, and shows what came back.
"""

import http.client
import ipaddress
import json
import random
import socket
import ssl
import struct
import urllib.parse

from lib import bencode
from lib.drivers import DRIVERS
from lib.process import run
from lib.wait import PATIENCE

HASH = bytes(range(20))
EVENTS = {"": 0, "completed": 1, "started": 2, "stopped": 3}


def track_load(protocol, tracker, **options):
    """What tests/lib/track_load.c measured: a dictionary."""
    argv = [DRIVERS / "track_load", protocol, tracker.address, tracker.port,
            *(f"{name}={value}" for name, value in options.items())]
    return json.loads(run(argv, seconds=170).stdout)


def peer_id(number, prefix="-PF0100-"):
    """p2pfs' own prefix is the default: such a client keeps to the intervals that it is told."""
    return f"{prefix}{number:012}".encode()


def compact(peers, peers6=b""):
    """{(address, port)} of the two compact forms."""
    found = [(str(ipaddress.IPv4Address(peers[i:i + 4])), *struct.unpack(">H", peers[i + 4:i + 6]))
             for i in range(0, len(peers), 6)]
    found += [(str(ipaddress.IPv6Address(peers6[i:i + 16])), *struct.unpack(">H", peers6[i + 16:i + 18]))
              for i in range(0, len(peers6), 18)]
    assert len(found) == len(set(found)), f"a peer is there twice: {found}"
    return set(found)


class Reply(dict):
    """An announce's reply; .peers is {(address, port)}, .failure its text or None."""

    @property
    def failure(self):
        text = self.get(b"failure reason")
        return text.decode() if text is not None else None

    @property
    def peers(self):
        assert self.failure is None, self.failure
        return compact(self[b"peers"], self.get(b"peers6", b""))


class HttpAnnouncer:
    """url: of the announce, as a torrent has it; ca: a certificate to trust."""

    def __init__(self, url, *, ca=None, source=None):
        self.url = urllib.parse.urlsplit(url)
        self.ca, self.source = ca, source

    def connection(self):
        source = (self.source, 0) if self.source else None
        if self.url.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca)
            return http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=PATIENCE, context=context,
                                               source_address=source)
        return http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=PATIENCE, source_address=source)

    def get(self, path, method="GET", headers=()):
        """(status, body)"""
        connection = self.connection()
        try:
            connection.request(method, path, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, path, parameters):
        query = urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)
        status, body = self.get(f"{path}?{query}" if query else path)
        assert status == 200, (status, body)
        return Reply(bencode.decode(body))

    def announce(self, number=1, *, left=1, port=None, info_hash=HASH, event=None, prefix="-PF0100-", **extra):
        parameters = {"info_hash": info_hash, "peer_id": peer_id(number, prefix), "port": port or 10000 + number,
                      "uploaded": 0, "downloaded": 0, "left": left}
        if event:
            parameters["event"] = event
        parameters.update(extra)
        return self.ask(self.url.path, {name: value for name, value in parameters.items() if value is not None})

    def scrape(self, *hashes):
        """{info-hash: (complete, downloaded, incomplete)}"""
        path = self.url.path.replace("announce", "scrape")
        reply = self.ask(path, [("info_hash", h) for h in hashes])
        assert reply.failure is None, reply.failure
        return {h: (f[b"complete"], f[b"downloaded"], f[b"incomplete"]) for h, f in reply[b"files"].items()}


class UdpAnnouncer:
    """url: udp://ADDR:PORT/...; its path is sent as BEP 41's option when it is not /announce."""

    def __init__(self, url, *, source=None):
        self.url = urllib.parse.urlsplit(url)
        family = socket.AF_INET6 if ":" in self.url.hostname else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect((self.url.hostname, self.url.port))
        self.socket.settimeout(PATIENCE)
        self.v6 = family == socket.AF_INET6
        self.id = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()

    def exchange(self, packet):
        self.socket.send(packet)
        return self.socket.recv(4096)

    def silent(self, packet, seconds=0.3):
        """Is there no answer?  A connect behind it shows that the packet was handled."""
        self.socket.send(packet)
        self.socket.send(struct.pack(">QII", 0x41727101980, 0, 0xfeed))
        return struct.unpack(">II", self.socket.recv(4096)[:8]) == (0, 0xfeed)

    def connect(self):
        transaction = random.getrandbits(32)
        answer = self.exchange(struct.pack(">QII", 0x41727101980, 0, transaction))
        action, got, self.id = struct.unpack(">IIQ", answer)
        assert (action, got) == (0, transaction)
        return self.id

    def request(self, action, body):
        """(action, body) of the answer."""
        if self.id is None:
            self.connect()
        transaction = random.getrandbits(32)
        answer = self.exchange(struct.pack(">QII", self.id, action, transaction) + body)
        got_action, got = struct.unpack(">II", answer[:8])
        assert got == transaction
        return got_action, answer[8:]

    def packet(self, number=1, *, left=1, port=None, info_hash=HASH, event="", numwant=-1, prefix="-PF0100-", ip=0,
               options=None):
        if options is None:
            path = self.url.path.encode()
            options = b"" if path == b"/announce" else b"\x02" + bytes([len(path)]) + path
        return info_hash + peer_id(number, prefix) + struct.pack(
            ">QQQIIIiH", 0, left, 0, EVENTS[event], ip, 7, numwant, port or 10000 + number) + options

    def announce(self, *args, **kw):
        action, body = self.request(1, self.packet(*args, **kw))
        if action == 3:
            return Reply({b"failure reason": body})
        assert action == 1
        interval, incomplete, complete = struct.unpack(">III", body[:12])
        peers = body[12:]
        return Reply({b"interval": interval, b"incomplete": incomplete, b"complete": complete,
                      b"peers": b"" if self.v6 else peers, b"peers6": peers if self.v6 else b""})

    def scrape(self, *hashes):
        action, body = self.request(2, b"".join(hashes))
        assert action == 2, body
        counts = [struct.unpack(">III", body[i:i + 12]) for i in range(0, len(body), 12)]
        return dict(zip(hashes, counts))
