# SPDX-License-Identifier: MIT
"""Floods, half-open connections, slow ones, made-up torrents, spoofed and replayed connection ids."""

import contextlib
import http.client
import json
import pathlib
import random
import resource
import socket
import struct

import pytest

from lib.announcer import HASH, HttpAnnouncer, UdpAnnouncer, track_load
from lib.process import sanitized
from lib.trackers import P2pfsTracker
from lib.wait import PATIENCE, wait_until


@pytest.fixture
def tracker(tmp_path, stack):
    return stack.enter_context(P2pfsTracker(tmp_path))


def resident(tracker):
    """Bytes."""
    return int(pathlib.Path(f"/proc/{tracker.pid}/statm").read_text().split()[1]) * resource.getpagesize()


def stats(tracker):
    return json.loads(HttpAnnouncer(tracker.url).get("/stats.json")[1])


@contextlib.contextmanager
def many_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"only {hard} descriptors are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("says", [b"", b"GET /announce?info"], ids=["silent", "half a request"])
def test_ten_thousand_half_open_connections(tmp_path, stack, says):
    """They come from several addresses, and from one; whoever asks is served all the while."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--max-connections-per-address", "1024"))
    with many_files(12000), contextlib.ExitStack() as exits:
        for number in range(10000):
            s = exits.enter_context(socket.socket())
            s.bind((f"127.0.3.{number % 20 + 1}" if number < 5000 else "127.0.3.100", 0))
            s.connect(("127.0.0.1", tracker.port))
            if says:
                s.sendall(says)
            if number % 500 == 0:
                assert HttpAnnouncer(tracker.url).announce(number + 1, port=1, left=0).failure is None
        # From the busy address too: of that one the oldest give way.
        assert HttpAnnouncer(tracker.url, source="127.0.3.100").announce(2).failure is None
        with UdpAnnouncer(tracker.udp) as udp:
            assert udp.announce(3).failure is None
        counts = stats(tracker)["http"]
        assert counts["evicted"] >= 3900 and counts["open"] <= 6200, counts
    wait_until(lambda: stats(tracker)["http"]["open"] == 1, "all of them to be gone")


def test_connections_have_a_limit_in_all(tmp_path, stack):
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--max-connections", "50"))
    with contextlib.ExitStack() as exits:
        for _ in range(51):
            exits.enter_context(socket.create_connection(("127.0.0.1", tracker.port)))
        wait_until(lambda: stats(tracker)["http"]["evicted"] >= 2, "the oldest to give way")
        assert stats(tracker)["http"]["open"] <= 50


@pytest.mark.slow
def test_a_slow_request_has_ten_seconds(tracker):
    """However steadily its bytes come."""
    request = b"GET /announce?" + b"x" * 5000
    with socket.create_connection(("127.0.0.1", tracker.port)) as s:
        s.settimeout(0.1)
        sent = 0
        def ended():
            nonlocal sent
            try:
                s.sendall(request[sent:sent + 1])
                sent += 1
                return s.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True
        wait_until(ended, "the slow connection to be closed", 30)
    assert stats(tracker)["http"]["timed_out"] == 1


@pytest.mark.slow
def test_a_reply_that_nobody_takes(tmp_path, stack):
    tracker = stack.enter_context(P2pfsTracker(tmp_path))
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", tracker.port))
        s.settimeout(0.5)
        with pytest.raises(OSError):
            while True:
                s.sendall(b"GET /stats HTTP/1.1\r\n\r\n" * 1000)
        before = resident(tracker)
        wait_until(lambda: stats(tracker)["http"]["timed_out"] == 1, "it to be given up", 30)
        # Those who look for faults keep what was freed, for a while.
        assert sanitized() or resident(tracker) < before + (8 << 20)
    assert HttpAnnouncer(tracker.url).announce(1).failure is None


def test_what_nobody_takes_is_bounded_together(tmp_path, stack):
    """Full scrapes of 8 MB each: some of them are kept for those who do not read them, the others closed."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--full-scrape", "--interval", "600-1800"))
    assert track_load("udp", tracker, torrents=0, count=100000, seconds=60)["failures"] == 0
    before = resident(tracker)
    with contextlib.ExitStack() as exits:
        for _ in range(60):
            s = exits.enter_context(socket.socket())
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(("127.0.0.1", tracker.port))
            s.sendall(b"GET /scrape HTTP/1.1\r\n\r\n")
        wait_until(lambda: stats(tracker)["http"]["requests"] >= 60, "all to have asked")
        assert stats(tracker)["http"]["evicted"] > 0
        assert sanitized() or resident(tracker) < before + (100 << 20)
    assert HttpAnnouncer(tracker.url).announce(1).failure is None


def test_a_million_made_up_torrents(tmp_path, stack):
    """Memory stays bounded, who was there stays, and a torrent that is known is served on."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--max-torrents", "50000"))
    ask = HttpAnnouncer(tracker.url)
    ask.announce(1, left=0)
    first = track_load("udp", tracker, torrents=0, count=60000, seconds=60)
    assert first["answers"] == 60000 and first["failures"] == 10001
    size = resident(tracker)
    assert size < 400 << 20, size  # a sanitizer's build takes several times what another does
    more = track_load("udp", tracker, torrents=0, count=940000, seconds=100)
    # Its first ones are those of the first time again, and are known.
    assert more["answers"] == 940000 and more["failures"] == 940000 - 49999
    assert resident(tracker) < size + (8 << 20)
    assert ask.announce(2).peers == {("127.0.0.1", 10001)}
    assert ask.announce(3, info_hash=b"n" * 20).failure == "the tracker is full of torrents"


def test_peers_are_capped_and_still_answered(tmp_path, stack):
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--max-peers", "10"))
    ask = HttpAnnouncer(tracker.url)
    for number in range(1, 31):
        reply = ask.announce(number, left=min(number - 1, 1))
        assert (b"warning message" in reply) == (number > 10)
    assert ("127.0.0.1", 10001) in reply.peers
    assert ask.scrape(HASH) == {HASH: (1, 0, 9)}
    assert stats(tracker)["unlisted"] == 20


def test_spoofed_connection_ids(tracker, stack):
    udp = stack.enter_context(UdpAnnouncer(tracker.udp))
    right = udp.connect()
    body = udp.packet(1)
    random.seed(5)
    for wrong in [0, 1, 0x41727101980, right ^ 1, right ^ 1 << 63, *(random.getrandbits(64) for _ in range(2000))]:
        udp.id = wrong
        action, text = udp.request(1, body)
        assert action == 3 and text.startswith(b"connection id is wrong") and len(text) <= len(body)
    # Somebody else's.
    other = stack.enter_context(UdpAnnouncer(tracker.udp, source="127.0.0.77"))
    other.id = right
    assert "connection id" in other.announce(1).failure
    assert HttpAnnouncer(tracker.url).scrape(HASH) == {HASH: (0, 0, 0)}
    udp.id = right
    assert udp.announce(1).failure is None


def test_a_connection_id_of_the_tracker_before(tmp_path, stack, tracker):
    udp = stack.enter_context(UdpAnnouncer(tracker.udp))
    old = udp.connect()
    other = stack.enter_context(P2pfsTracker(tmp_path, name="other"))
    again = stack.enter_context(UdpAnnouncer(other.udp))
    again.id = old
    assert "connection id" in again.announce(1).failure


def test_nothing_unproven_is_answered_with_more_than_it_sent(tracker, stack):
    udp = stack.enter_context(UdpAnnouncer(tracker.udp))
    # A scrape of nothing with a wrong id: 16 bytes.
    answer = udp.exchange(struct.pack(">QII", 5, 2, 9))
    assert len(answer) <= 16


@pytest.mark.parametrize("packet", [
    b"", b"\0", b"\0" * 15, struct.pack(">QII", 0x41727101980, 9, 1), struct.pack(">QII", 0x41727101981, 0, 1),
    struct.pack(">QII", 0x41727101980, 2**32 - 1, 1), b"d1:ad2:id20:" + b"x" * 40, b"\xff" * 2000, b"\xff" * 9000,
])
def test_malformed_packets_are_silence(tracker, stack, packet):
    assert stack.enter_context(UdpAnnouncer(tracker.udp)).silent(packet)


def test_cut_announces_are_silence(tracker, stack):
    udp = stack.enter_context(UdpAnnouncer(tracker.udp))
    udp.connect()
    whole = struct.pack(">QII", udp.id, 1, 7) + udp.packet(1)
    for length in (17, 36, 56, 80, 96, 97):
        assert udp.silent(whole[:length])


def test_random_requests_do_no_harm(tracker):
    chaos = random.Random(11)
    words = [b"GET ", b"/announce", b"?", b"info_hash=", b"%41" * 20, b"&", b"peer_id=", b"p" * 20, b"port=1", b"left=0",
             b" HTTP/1.1", b"\r\n", b"\n", b"Host: x", b"\0", b"\xff", b"%", b"HEAD ", b"/scrape", b"/stats", b"numwant=9",
             b"compact=0", b"Content-Length: 5", b"=", b"event=stopped"]
    for _ in range(500):
        with socket.create_connection(("127.0.0.1", tracker.port), PATIENCE) as s:
            s.settimeout(PATIENCE)
            try:
                s.sendall(b"".join(chaos.choice(words) for _ in range(chaos.randrange(40))))
                s.shutdown(socket.SHUT_WR)
                while s.recv(65536):
                    pass
            except OSError:
                pass
    assert HttpAnnouncer(tracker.url).announce(1).failure is None


def test_few_descriptors_are_enough(tmp_path, stack):
    """Out of descriptors it closes who says nothing."""
    limits = (64, 64)
    tracker = stack.enter_context(P2pfsTracker(tmp_path))
    resource.prlimit(tracker.pid, resource.RLIMIT_NOFILE, limits)
    with contextlib.ExitStack() as exits:
        for _ in range(200):
            exits.enter_context(socket.create_connection(("127.0.0.1", tracker.port)))
        connection = http.client.HTTPConnection("127.0.0.1", tracker.port, timeout=PATIENCE)
        connection.request("GET", "/announce")
        assert connection.getresponse().status == 200
        connection.close()
    tracker.wait_output("no descriptors left")
