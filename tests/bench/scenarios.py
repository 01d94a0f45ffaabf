# SPDX-License-Identifier: MIT
"""What is measured.  Each scenario is a generator of Rows: a figure of p2pfs, and the limit it is seen against.

A limit is measured right before or after the figure, so that both meet the same machine.  `near` is plain loopback, `far`
goes through a Relay.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import time
import typing

import bare
import tracker as trackers
from measure import BLOCK, KiB, Reader, WrongData, boot_trace, cat, cpu_seconds, median, quantile, scattered, touched
from relay import Relay

from lib.mounts import Mount
from lib.process import P2PFS, p2pfs
from lib.seeds import LibtorrentPeer, P2pfsSeed
from lib.torrents import GiB, assert_same
from lib.wait import wait_until
from lib.web import Nginx

LINE = 100  # Mbit/s, of scenarios with a limited line


class Row(typing.NamedTuple):
    scenario: str
    figure: str
    value: float
    unit: str
    limit_name: str
    limit: float

    @property
    def ratio(self):
        return self.value / self.limit if self.limit else float("inf")


class Skip(Exception):
    """What this scenario needs is not installed."""


class Bench:
    """One image, its torrent and its seed, for all scenarios."""

    def __init__(self, args, folder):
        self.args, self.dir, self.size = args, folder, args.size << 20
        self.rtt, self.stack, self.mounts = args.rtt / 1000, contextlib.ExitStack(), 0

    def __enter__(self):
        (self.dir / "content").mkdir()
        self.image, self.torrent = self.dir / "content" / "image.raw", self.dir / "image.torrent"
        with open(self.image, "wb") as out:
            for _ in range(self.args.size):
                out.write(os.urandom(1 << 20))
        p2pfs("create", "-s", str(self.args.piece), "-o", self.torrent, self.image, seconds=300)
        with self.stack:
            self.seed = self.stack.enter_context(P2pfsSeed(self.torrent, self.image, self.dir))
            # It hashes first; a mount that has read the last byte has met it.
            with self.mount(self.seed.peer, "fill=off") as mount, Reader(mount.path, self.image) as reader:
                reader.read(self.size - 4 * KiB, 4 * KiB)
                wait_until(lambda: any(p.get("pieces") == mount.status()["pieces"] for p in mount.status()["peers"]),
                           lambda: f"a complete seed: {mount.status()}")
                self.idle_rss = mount.rss()
            self.bare = self.stack.enter_context(bare.Server(self.image))
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *exc):
        return self.stack.__exit__(*exc)

    def mount(self, peer, *options, torrent=None, **kw):
        self.mounts += 1
        peers = [f"peer={peer}"] if peer else []
        return Mount(torrent or self.torrent, self.dir, *peers, *options, name=f"mount{self.mounts}", **kw)

    @contextlib.contextmanager
    def far(self, port, mbit=0):
        """(a Relay to the seed, the median of bare round trips of 16 KiB through one like it)."""
        with Relay(self.bare.port, delay=self.rtt / 2, mbit=mbit) as beside:
            times = bare.round_trips(beside.port, scattered(self.size, self.args.trips))
        with Relay(port, delay=self.rtt / 2, mbit=mbit) as relay:
            yield relay, times

    def discard(self, mount):
        """Its store is as large as the image."""
        shutil.rmtree(mount.store)


def libtorrent_seed(b):
    if importlib.util.find_spec("libtorrent") is None:
        raise Skip("a libtorrent seed: python3-libtorrent is not installed")
    return LibtorrentPeer(b.torrent, b.image.parent, b.dir, seed=True)


def floor(b):
    """The relay's own: what a round trip costs through it with no delay, and with the delay asked for."""
    offsets = scattered(b.size, b.args.count)
    straight = bare.round_trips(b.bare.port, offsets)
    for delay in (0, b.rtt / 2):
        with Relay(b.bare.port, delay=delay) as relay:
            times = bare.round_trips(relay.port, offsets if not delay else offsets[:b.args.trips])
        limit, against = (median(straight), "bare round trip") if not delay else (b.rtt, "delay asked for")
        yield Row(f"relay, {delay * 2000:g} ms", "16 KiB, p50", median(times) * 1e3, "ms", against, limit * 1e3)
    with Relay(b.bare.port, delay=0) as relay:
        through = bare.stream(relay.port, b.size)
    yield Row("relay, 0 ms", "stream", b.size / through / 1e6, "MB/s", "raw TCP", b.size / bare.stream(b.bare.port, b.size) / 1e6)


# -- time to the first byte ----------------------------------------------------------------------


def first_byte(b):
    """The mount command's start to the first 4 KiB, everything cold."""
    start = []
    for _ in range(10):
        begin = time.monotonic()
        subprocess.run([P2PFS, "--version"], stdout=subprocess.DEVNULL, check=True)
        start.append(time.monotonic() - begin)
    near = median([mount_and_read(b, b.seed.peer) for _ in range(b.args.repeat)])
    yield Row("first byte", "mount, read 4 KiB", near * 1e3, "ms", "p2pfs --version", median(start) * 1e3)
    times, trips = [], []
    for _ in range(b.args.repeat):
        with b.far(b.seed.port) as (relay, bare_times):
            times.append(mount_and_read(b, relay.peer))
            trips.append(median(bare_times))
    yield Row("first byte, far", "mount, read 4 KiB", median(times) / median(trips), "RTT",
              "connect, handshake, interest, request", 4)


def mount_and_read(b, peer):
    begin = time.monotonic()
    with b.mount(peer) as mount:
        with open(mount.mountpoint / "image.raw", "rb", buffering=0) as file:
            data = file.read(4 * KiB)
        took = time.monotonic() - begin
        with open(b.image, "rb") as image:
            if data != image.read(4 * KiB):
                raise WrongData("wrong bytes at 0")
    b.discard(mount)
    return took


# -- reads at random -----------------------------------------------------------------------------


def random_reads(b):
    """4 KiB here and there, cold, each after the last.  A block is what a cold read costs: 4 bytes a byte."""
    yield from random_near(b, b.seed, "random 4 KiB, no filling", scattered(b.size, b.args.count))
    offsets = scattered(b.size, b.args.far_count, seed=43)
    for title, mbit, options in (("random, far, no filling", 0, ["fill=off"]), ("random, far, filling", 0, []),
                                 (f"random, far, {LINE} Mbit/s, filling", LINE, [])):
        with b.far(b.seed.port, mbit) as (relay, limit), b.mount(relay.peer, *options) as mount, \
             Reader(mount.path, b.image) as reader:
            reader.read(b.size - 4 * KiB, 4 * KiB)
            before = relay.to_client()
            times = [reader.read(offset, 4 * KiB) for offset in offsets]
            yield from quantiles(title, times, limit)
            if options:
                yield Row(title, "received/read", (relay.to_client() - before) / (len(offsets) * 4 * KiB), "bytes",
                          "one 16 KiB block", 4)
        b.discard(mount)
    with libtorrent_seed(b) as seed:
        yield from random_near(b, seed, "random 4 KiB, libtorrent seed", offsets)


def random_near(b, seed, title, offsets):
    limit = bare.round_trips(b.bare.port, offsets)
    with b.mount(seed.peer, "fill=off") as mount, Reader(mount.path, b.image) as reader:
        reader.read(b.size - 4 * KiB, 4 * KiB)
        yield from quantiles(title, [reader.read(offset, 4 * KiB) for offset in offsets], limit)
    b.discard(mount)


def quantiles(title, times, limit):
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        yield Row(title, name, quantile(times, q) * 1e3, "ms", f"bare round trip, {name}", quantile(limit, q) * 1e3)


# -- a boot --------------------------------------------------------------------------------------


def boot(b):
    """A guest's reads, each after the last: without filling, with it, with a profile, and over a line."""
    trace = boot_trace(b.size, b.args.reads)
    blocks, fresh = touched(trace)
    profile = b.dir / "boot.profile"
    for title, mbit, options in (("boot, no filling", 0, ["fill=off"]), ("boot, filling", 0, []),
                                 ("boot, profile", 0, [f"profile={profile}"]),
                                 (f"boot, {LINE} Mbit/s", LINE, []),
                                 (f"boot, {LINE} Mbit/s, profile", LINE, [f"profile={profile}"])):
        with b.far(b.seed.port, mbit) as (relay, trips), b.mount(relay.peer, *options) as mount, \
             Reader(mount.path, b.image) as reader:
            begin = time.monotonic()
            for offset, length in trace:
                reader.read(offset, length)
            took = (time.monotonic() - begin) / median(trips)
            if mbit:
                line = blocks * BLOCK / (mbit * 125000) / median(trips)
                yield Row(title, "time", took, "RTT", "its blocks on this line", line)
            else:
                yield Row(title, "time", took, "RTT", "one for each read of a new block", fresh)
            if "fill=off" in options:
                size = sum(length for _, length in trace)
                yield Row(title, "received/read", relay.to_client() / size, "bytes", "the blocks it touches",
                          blocks * BLOCK / size)
                p2pfs("profile", "save", mount.mountpoint, profile)
        b.discard(mount)


# -- all of it -----------------------------------------------------------------------------------


def sequential(b):
    """cat through the mount: cold, from each make of seed, and warm."""
    yield from cold_and_warm(b, b.seed, "")
    with libtorrent_seed(b) as seed:
        yield from cold_and_warm(b, seed, ", libtorrent seed")


def cold_and_warm(b, seed, suffix):
    raw, copied = b.size / bare.stream(b.bare.port, b.size), b.size / bare.copy(b.image, b.dir)
    seed_cpu = cpu_seconds(seed.pid)
    with b.mount(seed.peer) as mount:
        whole, _ = cat(mount.path, b.image)
        cpu = cpu_seconds(mount.pid)
        seed_cpu = cpu_seconds(seed.pid) - seed_cpu
        title = f"cold, in order{suffix}"
        yield from speeds(title, b.size / whole, raw, copied)
        yield Row(title, "CPU", cpu / b.size * GiB, "s/GiB", "receive, hash, write",
                  bare.fetch_cpu(b.bare.port, b.size, b.dir) / b.size * GiB)
        before = b.bare.cpu()
        bare.stream(b.bare.port, b.size)
        yield Row(title, "CPU of the seed", seed_cpu / b.size * GiB, "s/GiB", "sendfile",
                  (b.bare.cpu() - before) / b.size * GiB)
        yield Row(title, "RSS, peak", mount.rss() / 1e6, "MB", "a mount that has read 4 KiB", b.idle_rss / 1e6)
        if not suffix:
            cat(mount.path, b.image)  # the switch to another way to read is at an open
            cat(b.image, b.image)
            warm, native = cat(mount.path, b.image)[1], cat(b.image, b.image)[1]
            yield Row("warm, in order", "speed", b.size / warm / 1e6, "MB/s", "plain file", b.size / native / 1e6)
    b.discard(mount)


def full(b):
    """Everything fetched by a mount that nobody reads."""
    raw, copied = b.size / bare.stream(b.bare.port, b.size), b.size / bare.copy(b.image, b.dir)
    begin = time.monotonic()
    with b.mount(b.seed.peer) as mount:
        wait_until(lambda: mount.xattr("had") == str(b.size), lambda: f"all of it: {mount.status()}", 300)
        took = time.monotonic() - begin
        cpu, rss = cpu_seconds(mount.pid), mount.rss()
        assert_same(mount.path, b.image)
    b.discard(mount)
    yield from speeds("filled, nobody reads", b.size / took, raw, copied)
    yield Row("filled, nobody reads", "CPU", cpu / b.size * GiB, "s/GiB", "receive, hash, write",
              bare.fetch_cpu(b.bare.port, b.size, b.dir) / b.size * GiB)
    yield Row("filled, nobody reads", "RSS, peak", rss / 1e6, "MB", "a mount that has read 4 KiB", b.idle_rss / 1e6)


def speeds(title, value, raw, copied):
    yield Row(title, "speed", value / 1e6, "MB/s", "raw TCP", raw / 1e6)
    yield Row(title, "speed", value / 1e6, "MB/s", "plain copy", copied / 1e6)


def webseed(b):
    """cat through the mount, cold, with nothing but a web server to fetch from."""
    if not shutil.which("nginx"):
        raise Skip("nginx is not installed")
    os.chmod(b.dir, 0o755)
    with Nginx(b.image.parent, b.dir) as web:
        torrent = b.dir / "web.torrent"
        p2pfs("create", "-s", str(b.args.piece), "-w", f"{web.url}image.raw", "-o", torrent, b.image, seconds=300)
        limit = b.size / bare.http_get(f"{web.url}image.raw", b.size)
        with b.mount(None, torrent=torrent) as mount:
            whole, _ = cat(mount.path, b.image)
            yield Row("cold, web seed", "speed", b.size / whole / 1e6, "MB/s", "one GET of it", limit / 1e6)
        b.discard(mount)


# -- the tracker ---------------------------------------------------------------------------------


def tracker(b):
    """p2pfs tracker beside opentracker; tests/bench/tracker.py alone prints more."""
    if not shutil.which("opentracker"):
        raise Skip("opentracker is not installed")
    if not trackers.available():
        raise Skip("tests/lib/track_load is not built (make drivers)")
    os.chmod(b.dir, 0o755)
    for title, theirs, ours in trackers.compare(b.dir, b.args.tracker_seconds, b.args.quick):
        yield Row(f"tracker, {title}", "answers", ours["per_cpu_second"] / 1e3, "k/CPU s", "opentracker",
                  theirs["per_cpu_second"] / 1e3)
        yield Row(f"tracker, {title}", "p99", ours["p99_us"] / 1e3, "ms", "opentracker", theirs["p99_us"] / 1e3)


SCENARIOS = {f.__name__: f for f in (floor, first_byte, random_reads, boot, sequential, full, webseed, tracker)}
