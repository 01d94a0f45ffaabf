#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The limits that the benchmark measures itself against: the same bytes with as little as can be done about them.

    with Server(image) as server:               # a process that sends ranges of one file with sendfile()
        stream(server.port, size)               # seconds for all of it over one TCP connection
        round_trips(port, offsets)              # seconds for each 16 KiB asked for and received
    copy(image, folder), read_file(image), fetch_cpu(server.port, size, folder), http_get(url, size)

A request is two 64-bit numbers: offset, length.  Length 0 asks for the CPU nanoseconds that the server took.
"""

import hashlib
import http.client
import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

BLOCK = 16 << 10
CHUNK = 1 << 20
REQUEST = struct.Struct(">QQ")


def serve(path):
    image = os.open(path, os.O_RDONLY)
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)

    def answer(sock):
        with sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                request = sock.recv(REQUEST.size, socket.MSG_WAITALL)
                if len(request) < REQUEST.size:
                    return
                offset, length = REQUEST.unpack(request)
                if not length:
                    sock.sendall(struct.pack(">Q", time.process_time_ns()))
                while length:
                    sent = os.sendfile(sock.fileno(), image, offset, length)
                    offset, length = offset + sent, length - sent

    def accept():
        while True:
            threading.Thread(target=answer, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


class Server:
    """The program above, run."""

    def __init__(self, path):
        self.process = subprocess.Popen([sys.executable, "-B", pathlib.Path(__file__).resolve(), path],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.port = int(self.process.stdout.readline())

    def cpu(self):
        with connect(self.port) as sock:
            sock.sendall(REQUEST.pack(0, 0))
            return struct.unpack(">Q", sock.recv(8, socket.MSG_WAITALL))[0] / 1e9

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def connect(port):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def chunks(sock, length):
    """Receives so much, as views of up to a MiB that hold until the next."""
    buffer = memoryview(bytearray(CHUNK))
    while length:
        got = sock.recv_into(buffer, min(length, CHUNK))
        if not got:
            raise RuntimeError(f"{length} bytes short")
        length -= got
        yield buffer[:got]


def stream(port, size):
    with connect(port) as sock:
        start = time.monotonic()
        sock.sendall(REQUEST.pack(0, size))
        for _ in chunks(sock, size):
            pass
        return time.monotonic() - start


def round_trips(port, offsets):
    times = []
    with connect(port) as sock:
        for offset in [0, *offsets]:
            start = time.monotonic()
            sock.sendall(REQUEST.pack(offset // BLOCK * BLOCK, BLOCK))
            if len(sock.recv(BLOCK, socket.MSG_WAITALL)) < BLOCK:
                raise RuntimeError(f"less than a block at {offset}")
            times.append(time.monotonic() - start)
    return times[1:]  # the first one set the connection up


def fetch_cpu(port, size, folder):
    """CPU seconds to receive, hash with SHA-1 and SHA-256 (a hybrid torrent has both) and write so much."""
    out = pathlib.Path(folder) / "fetched"
    v1, v2 = hashlib.sha1(), hashlib.sha256()
    with connect(port) as sock, open(out, "wb", buffering=0) as file:
        start = time.process_time()
        sock.sendall(REQUEST.pack(0, size))
        for view in chunks(sock, size):
            v1.update(view)
            v2.update(view)
            file.write(view)
        took = time.process_time() - start
    out.unlink()
    return took


def copy(path, folder):
    """Seconds to copy a file that is in the page cache into one on this disk; not synced, as p2pfs' reads wait for no disk."""
    out = pathlib.Path(folder) / "copy"
    buffer = bytearray(CHUNK)
    with open(path, "rb", buffering=0) as source, open(out, "wb", buffering=0) as target:
        start = time.monotonic()
        while got := source.readinto(buffer):
            target.write(memoryview(buffer)[:got])
        took = time.monotonic() - start
    out.unlink()
    return took


def http_get(url, size):
    parts = urllib.parse.urlsplit(url)
    buffer = bytearray(CHUNK)
    start = time.monotonic()
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    connection.request("GET", parts.path)
    with connection.getresponse() as reply:
        while got := reply.readinto(buffer):
            size -= got
    connection.close()
    if size:
        raise RuntimeError(f"{url}: {size} bytes short")
    return time.monotonic() - start


if __name__ == "__main__":
    serve(sys.argv[1])
