# SPDX-License-Identifier: MIT
"""The small programs that drive single modules (announcer, HTTP client, web seed), and odd trackers to meet.

The programs are built beside p2pfs, by `make drivers`.
"""

import http.server
import json
import pathlib
import socket
import struct
import subprocess
import threading
import types
import urllib.parse

from lib import bencode
from lib.process import P2PFS, Daemon, run
from lib.wait import PATIENCE, wait_until

DRIVERS = pathlib.Path(P2PFS).resolve().parent / "tests" / "lib"
HASH = "0102030405060708090a0b0c0d0e0f1011121314"
HASH2 = "ff" * 20


def lines_of(text):
    """The lines of JSON in a program's output; one that is being written is left out."""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line[0] == "{" and line[-1] == "\n"]


def http_get(*urls, prefix=(), seconds=PATIENCE, **options):
    """What the HTTP client makes of each URL: [{"error", "status", "len", "sha1", "body"} or {"refused"}]."""
    argv = [*prefix, DRIVERS / "http_driver", *(f"{key}={value}" for key, value in options.items()), *urls]
    return lines_of(run(argv, seconds=seconds).stdout)


def webseed_get(torrent, url, *rounds):
    """Lines of webseed_driver (see there)."""
    return lines_of(run([DRIVERS / "webseed_driver", torrent, url, *rounds]).stdout)


class Announcer(Daemon):
    """announce_driver.  Leaving the `with` stops it in order, so "stopped" is announced."""

    def __init__(self, where, *urls, port=7001, left=1000, hashes=(HASH,), hungry=True, name="announcer", prefix=()):
        super().__init__([*prefix, DRIVERS / "announce_driver", port, left, ",".join(hashes), *urls],
                         pathlib.Path(where) / f"{name}.log", name=name, stdin=subprocess.PIPE)
        if hungry:
            self.say("hungry")

    def say(self, line):
        self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def lines(self, key):
        return [line for line in lines_of(self.output()) if key in line]

    def wait_line(self, key, count=1):
        """The line number `count` with this key."""
        def fact():
            found = self.lines(key)
            if len(found) < count and not self.alive():
                raise RuntimeError(f"{self.name} ended with {self.returncode}:\n{self.output()}")
            return len(found) >= count and found[count - 1]
        return wait_until(fact, lambda: f"line {count} with {key!r} in:\n{self.output()}")

    def status(self):
        count = len(self.lines("status"))
        self.say("status")
        return self.wait_line("status", count + 1)["status"]

    def wait_status(self, good, index=0):
        """Waits until the status of a tracker fits; returns it."""
        last = []

        def fact():
            last[:] = [self.status()[index]]
            return good(last[0]) and last[0]
        return wait_until(fact, lambda: f"a status that fits: {last}\n{self.output()}")

    def wait_error(self, text, index=0):
        return self.wait_status(lambda s: s["error"] and text in s["error"], index)

    def wait_peers(self, *peers):
        return wait_until(lambda: set(peers) <= {p for line in self.lines("peers") for p in line["peers"]},
                          lambda: f"peers {peers} in:\n{self.output()}")

    def finish(self):
        """Stops it in order and waits for its end."""
        if self.process.stdin and not self.process.stdin.closed:
            self.process.stdin.close()
        assert self.wait(PATIENCE) == 0, self.output()
        self.check()

    def stop(self, seconds=20):
        if self.killed:
            super().stop(seconds)
        else:
            self.finish()


class Reply:
    """What a tracker or web server of the tests sends."""

    def __init__(self, body=b"", status=200, headers=(), *, length=True):
        self.body = body if isinstance(body, bytes) else body.encode("latin-1")
        self.status, self.headers, self.length = status, dict(headers), length
        self.hangs = False  # after the body, until the end


def redirect(url, status=302):
    return Reply(b"moved", status, {"Location": url})


class HttpServer:
    """A thread of the test's own.  answer(request, number) -> Reply, or None: hangs until the end.

    request: .path, .query ({key: value}, latin-1), .headers, .client (its address and port: one per connection).
    .requests: all of them.  `listener`: a socket, for example of another network namespace; else `address`.
    """

    def __init__(self, answer, *, address="127.0.0.1", port=0, listener=None, tls=None):
        self.answer, self.requests = answer, []
        self.lock, self.over = threading.Lock(), threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer._answer(self)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

            def handle_error(self, request, client_address):
                pass  # a client that goes away in the middle is what is tested

            def get_request(self):
                connection, peer = super().get_request()
                return (tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer) \
                    if tls else (connection, peer)

        self.server = Server((address, port), Handler, bind_and_activate=listener is None)
        if listener is not None:
            self.server.socket.close()
            self.server.socket = listener
        self.port = self.server.socket.getsockname()[1]
        host = f"[{address}]" if ":" in address else address
        self.base = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self.url = f"{self.base}/announce"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def _answer(self, handler):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query, encoding="latin-1",
                                      keep_blank_values=True)
        request = types.SimpleNamespace(path=handler.path, query={key: values[0] for key, values in query.items()},
                                        headers=handler.headers, client=handler.client_address[:2])
        with self.lock:
            self.requests.append(request)
            number = len(self.requests)
        reply = self.answer(request, number)
        if reply is None:
            self.over.wait()
            handler.close_connection = True
            return
        handler.send_response(reply.status)
        for key, value in reply.headers.items():
            handler.send_header(key, value)
        if reply.length:
            handler.send_header("Content-Length", str(len(reply.body)))
        else:
            handler.send_header("Connection", "close")
            handler.close_connection = True
        handler.end_headers()
        handler.wfile.write(reply.body)
        if reply.hangs:
            self.over.wait()

    def wait_requests(self, count):
        return wait_until(lambda: len(self.requests) >= count and self.requests,
                          lambda: f"{count} requests; there were {[r.path for r in self.requests]}")

    def events(self):
        return [r.query.get("event") for r in self.requests]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def reply(interval=1800, peers=b"", **more):
    """A tracker's reply in bencoding; keys of `more` have "_" for " "."""
    fields = {"interval": interval, "peers": peers, **{key.replace("_", " "): value for key, value in more.items()}}
    return Reply(bencode.encode({key: value for key, value in fields.items() if value is not None}))


def compact(*peers):
    """b"" of "ADDRESS:PORT", of either family."""
    out = b""
    for peer in peers:
        host, port = peer.rsplit(":", 1)
        host = host.strip("[]")
        out += socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host) + struct.pack(">H", int(port))
    return out


class UdpTracker:
    """A UDP tracker that keeps to BEP 15, but where answer(packet, number) says otherwise.

    `listener`: a bound socket, for example of another network namespace; else `address`.
    answer returns None to go on, or a list of datagrams to send instead.  packet: a dictionary with "action",
    "transaction", "raw", "from"; of an announce also its fields.  .packets: all of them.
    """

    EVENTS = ["", "completed", "started", "stopped"]

    def __init__(self, answer=None, *, address="127.0.0.1", peers=(), interval=1800, listener=None):
        self.answer, self.peers, self.interval = answer or (lambda packet, number: None), compact(*peers), interval
        self.packets, self.ids, self.next_id = [], set(), 0x1000
        self.socket = listener
        if listener is None:
            self.socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            self.socket.bind((address, 0))
        self.socket.settimeout(0.05)
        self.over = threading.Event()
        self.port = self.socket.getsockname()[1]
        self.base = f"udp://[{address}]:{self.port}" if ":" in address else f"udp://{address}:{self.port}"
        self.url = f"{self.base}/announce"
        self.thread = threading.Thread(target=self._serve)

    def parse(self, raw, source):
        head, action, transaction = struct.unpack_from(">QII", raw)
        packet = {"raw": raw, "from": source, "id": head, "action": action, "transaction": transaction}
        if action == 1:
            names = ("hash", "peer_id", "downloaded", "left", "uploaded", "event", "ip", "key", "numwant", "port")
            packet.update(zip(names, struct.unpack_from(">20s20sQQQIIIiH", raw, 16)))
            packet["event"], packet["extra"] = self.EVENTS[packet["event"]], raw[98:]
        return packet

    def connect_reply(self, packet):
        self.next_id += 1
        self.ids.add(self.next_id)
        return struct.pack(">IIQ", 0, packet["transaction"], self.next_id)

    def announce_reply(self, packet, peers=None):
        return struct.pack(">IIIII", 1, packet["transaction"], self.interval, 5, 6) + \
            (self.peers if peers is None else peers)

    def error_reply(self, packet, text):
        return struct.pack(">II", 3, packet["transaction"]) + text.encode("latin-1")

    def usual(self, packet):
        if packet["action"] == 0:
            return self.connect_reply(packet)
        if packet["id"] not in self.ids:
            return self.error_reply(packet, "Connection ID mismatch.")
        return self.announce_reply(packet)

    def _serve(self):
        while not self.over.is_set():
            try:
                raw, source = self.socket.recvfrom(65536)
            except TimeoutError:
                continue
            packet = self.parse(raw, source)
            self.packets.append(packet)
            sent = self.answer(packet, len(self.packets))
            for datagram in [self.usual(packet)] if sent is None else sent:
                self.socket.sendto(datagram, source)

    def announces(self):
        return [p for p in self.packets if p["action"] == 1]

    def connects(self):
        return [p for p in self.packets if p["action"] == 0]

    def wait_announces(self, count):
        return wait_until(lambda: len(self.announces()) >= count and self.announces(),
                          lambda: f"{count} announces; there were {self.packets}")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()
        self.socket.close()
