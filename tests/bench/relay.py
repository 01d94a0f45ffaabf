#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A TCP relay that holds every byte for a while: distance for a benchmark, with no privileges.

    with Relay(port, delay=0.010, mbit=100) as relay:       # relay.port leads to `port`, 20 ms there and back
        relay.to_client()                                   # bytes that went to whoever connects, so far

Both ways, bytes come out `delay` after they came in, at `mbit` Mbit/s at most if that is given (the line takes 5 ms of
backlog, what more comes waits in the sender's socket).  Connecting costs a round trip, as it does over a path.  TCP's slow
start, losses and jitter are not there.  What the relay itself adds shows when it is measured with a delay of 0.

One process with one thread around select(), whose time-out is in microseconds, above others in priority where that is
allowed: the one who keeps the time must not wait for those whose time is taken.
"""

import collections
import json
import os
import pathlib
import select
import socket
import subprocess
import sys
import time

HELD = 16 << 20        # bytes on their way, at most: 20 ms of 800 MB/s
BACKLOG = 0.005        # seconds of a limited line
CHUNK = 64 << 10       # below what malloc() maps anew each time, which costs more than all else here
LINE_CHUNK = 16 << 10


class Flow:
    """One direction of one connection."""

    def __init__(self, source, target, delay, rate, first):
        self.source, self.target, self.delay, self.rate = source, target, delay, rate
        self.free = first - delay   # when the line has sent what it was given; nothing comes out before `first`
        self.queue, self.held, self.passed = collections.deque(), 0, 0
        self.ended = self.over = False

    def takes(self, now):
        return not self.ended and self.held < HELD and (not self.rate or self.free - now < BACKLOG)

    def take(self):
        try:
            data = self.source.recv(LINE_CHUNK if self.rate else CHUNK)
        except OSError:
            data = b""
        now = time.monotonic()
        self.free = max(now, self.free) + (len(data) / self.rate if self.rate else 0)
        self.queue.append((self.free + self.delay, memoryview(data)))
        self.held += len(data)
        self.ended = not data

    def give(self):
        due, data = self.queue.popleft()
        if not data:
            self._end()
            return
        try:
            sent = self.target.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._end()
            return
        self.held -= sent
        self.passed += sent
        if sent < len(data):
            self.queue.appendleft((due, data[sent:]))

    def _end(self):
        self.over = self.ended = True
        self.queue.clear()
        try:
            self.target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def serve(port, delay, rate):
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    print(listener.getsockname()[1], flush=True)
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    except PermissionError:
        pass
    pairs, gone = [], [0, 0]
    while True:
        now = time.monotonic()
        flows = [flow for pair in pairs for flow in pair if not flow.over]
        ready = [f for f in flows if f.queue and f.queue[0][0] <= now]
        when = [f.queue[0][0] for f in flows if f.queue and f.queue[0][0] > now]
        when += [f.free - BACKLOG + 0.0005 for f in flows if f.rate and not f.ended and not f.takes(now)]
        readers = {f.source: f for f in flows if f.takes(now)}
        writers = {f.target: f for f in ready}
        readable, writable, _ = select.select([listener, sys.stdin, *readers], list(writers), [],
                                              max(0.0, min(when) - now) if when else None)
        for sock in writable:
            writers[sock].give()
        for sock in readable:
            if sock is sys.stdin:
                if not sys.stdin.readline():
                    return
                print(json.dumps([gone[i] + sum(pair[i].passed for pair in pairs) for i in (0, 1)]), flush=True)
            elif sock is listener:
                pairs.append(connect(listener, port, delay, rate))
            else:
                readers[sock].take()
        for pair in [p for p in pairs if p[0].over and p[1].over]:
            pairs.remove(pair)
            for i, flow in enumerate(pair):
                gone[i] += flow.passed
                flow.source.close()


def connect(listener, port, delay, rate):
    near, _ = listener.accept()
    far = socket.socket()
    if rate:
        # A line's worth of bytes waits here, not the megabytes that the kernel would take for it.
        for sock in (near, far):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
    far.connect(("127.0.0.1", port))
    now = time.monotonic()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
    return Flow(near, far, delay, rate, now + 3 * delay), Flow(far, near, delay, rate, now + 2 * delay)


class Relay:
    """The program above, run."""

    def __init__(self, port, *, delay, mbit=0):
        self.process = subprocess.Popen([sys.executable, "-B", pathlib.Path(__file__).resolve(), str(port), str(delay),
                                         str(mbit)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        start_new_session=True)
        self.port = int(self.process.stdout.readline())
        self.peer = f"127.0.0.1:{self.port}"

    def _counts(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def to_server(self):
        return self._counts()[0]

    def to_client(self):
        return self._counts()[1]

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


if __name__ == "__main__":
    serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]) * 125000)
