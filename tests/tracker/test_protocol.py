# SPDX-License-Identifier: MIT
"""The protocols on one port: HTTP and UDP, IPv4 and IPv6, compact and dictionaries, scrapes."""

import http.client
import os
import socket
import struct

import pytest

from lib import bencode
from lib.announcer import HASH, HttpAnnouncer, UdpAnnouncer
from lib.process import P2PFS, Daemon, p2pfs
from lib.trackers import P2pfsTracker
from lib.wait import PATIENCE, wait_until

OTHER = bytes(range(20, 40))


@pytest.fixture
def tracker(tmp_path, stack):
    return stack.enter_context(P2pfsTracker(tmp_path))


@pytest.fixture(params=["http", "udp"])
def ask(request, tracker, stack):
    if request.param == "http":
        return HttpAnnouncer(tracker.url)
    return stack.enter_context(UdpAnnouncer(tracker.udp))


def test_first_announce_gets_the_peers(ask):
    assert ask.announce(1, left=0).peers == set()
    reply = ask.announce(2)
    assert reply.peers == {("127.0.0.1", 10001)}
    assert (reply[b"complete"], reply[b"incomplete"]) == (1, 1)
    assert ask.announce(3).peers == {("127.0.0.1", 10001), ("127.0.0.1", 10002)}


def test_own_entry_is_left_out_and_seeds_get_no_seeds(ask):
    ask.announce(1, left=0)
    ask.announce(2, left=0)
    assert ask.announce(2, left=0).peers == set()
    ask.announce(3)
    assert ask.announce(3).peers == {("127.0.0.1", 10001), ("127.0.0.1", 10002)}
    assert ask.announce(1, left=0).peers == {("127.0.0.1", 10003)}


def test_completed_is_counted_and_stopped_leaves(ask):
    ask.announce(1, event="started")
    ask.announce(1, left=0, event="completed")
    ask.announce(1, left=0, event="completed")
    assert ask.scrape(HASH) == {HASH: (1, 1, 0)}
    ask.announce(1, left=0, event="stopped")
    assert ask.scrape(HASH) == {HASH: (0, 1, 0)}
    assert ask.announce(2).peers == set()


def test_torrents_are_apart_and_unknown_ones_are_zero(ask):
    ask.announce(1, left=0)
    ask.announce(1, left=5, info_hash=OTHER)
    unknown = b"u" * 20
    assert ask.scrape(HASH, OTHER, unknown) == {HASH: (1, 0, 0), OTHER: (0, 0, 1), unknown: (0, 0, 0)}


def test_numwant(ask):
    for number in range(1, 120):
        ask.announce(number, numwant=0)
    assert ask.announce(200, numwant=0).peers == set()
    assert len(ask.announce(200, numwant=7).peers) == 7
    assert len(ask.announce(200, numwant=5000).peers) == 100
    assert len(ask.announce(200, numwant=-1).peers) == 50


def test_both_protocols_share_the_table(tracker, stack):
    web, udp = HttpAnnouncer(tracker.url), stack.enter_context(UdpAnnouncer(tracker.udp))
    web.announce(1, left=0)
    assert udp.announce(2).peers == {("127.0.0.1", 10001)}
    assert web.announce(3).peers == {("127.0.0.1", 10001), ("127.0.0.1", 10002)}


def test_intervals_are_short_at_first(ask):
    assert 5 <= ask.announce(1)[b"interval"] <= 30


def test_interval_option_and_forgetting_after_two(tmp_path, stack):
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--interval", "1-1"))
    ask = HttpAnnouncer(tracker.url)
    reply = ask.announce(1, left=0)
    assert reply[b"interval"] == reply[b"min interval"] == 1
    # Others come all the while, so that the swarm itself stays.
    wait_until(lambda: ask.announce(2).peers == set(), "the peer that is gone to be forgotten")


def test_every_key_of_a_reply(tracker):
    reply = HttpAnnouncer(tracker.url).announce(1, numwant=80, key="1234abcd", compact=1, supportcrypto=1,
                                               ipv6="2001:db8::1", trackerid="x", corrupt=0, redundant=0)
    assert set(reply) == {b"complete", b"downloaded", b"external ip", b"incomplete", b"interval", b"min interval",
                          b"peers", b"tracker id"}
    assert reply[b"external ip"] == socket.inet_aton("127.0.0.1")


def test_dictionary_and_no_peer_id(tracker):
    ask = HttpAnnouncer(tracker.url)
    ask.announce(1, left=0)
    assert ask.announce(2, compact=0)[b"peers"] == [{b"ip": b"127.0.0.1", b"peer id": b"-PF0100-000000000001",
                                                     b"port": 10001}]
    assert ask.announce(2, compact=0, no_peer_id=1)[b"peers"] == [{b"ip": b"127.0.0.1", b"port": 10001}]
    # BEP 23: compact is the default.
    assert ask.announce(2)[b"peers"] == b"\x7f\0\0\1" + struct.pack(">H", 10001)


def test_ipv6(tmp_path, stack):
    tracker = stack.enter_context(P2pfsTracker(tmp_path, address="::1"))
    web, udp = HttpAnnouncer(tracker.url), stack.enter_context(UdpAnnouncer(tracker.udp))
    assert web.announce(1, left=0)[b"external ip"] == bytes(15) + b"\1"
    assert web.announce(2).peers == udp.announce(3).peers - {("::1", 10002)} == {("::1", 10001)}
    dictionary = web.announce(4, compact=0)[b"peers"]
    assert {b"ip": b"::1", b"peer id": b"-PF0100-000000000001", b"port": 10001} in dictionary


def test_both_families_at_once(tmp_path, stack):
    four = stack.enter_context(P2pfsTracker(tmp_path, "--listen", "[::1]:0"))
    port6 = int(four.wait_output(r"\[::1\]:(\d+)").group(1))
    web4, web6 = HttpAnnouncer(four.url), HttpAnnouncer(f"http://[::1]:{port6}/announce")
    web4.announce(1, left=0)
    web6.announce(2, left=0)
    assert web4.announce(3).peers == {("127.0.0.1", 10001), ("::1", 10002)}
    # One client that announces with both families is not its own peer.
    assert web6.announce(3).peers == {("127.0.0.1", 10001), ("::1", 10002)}
    # UDP gives the family that asks.
    with UdpAnnouncer(four.udp) as udp:
        assert udp.announce(3).peers == {("127.0.0.1", 10001)}


def test_replies_come_from_the_address_that_was_asked(tmp_path, stack):
    """On a wildcard the kernel would answer 127.0.0.2 from 127.0.0.1, and a connected socket hears nothing."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path, address="0.0.0.0"))
    with UdpAnnouncer(f"udp://127.0.0.2:{tracker.port}/announce") as udp:
        assert udp.announce(1).peers == set()


def test_ip_is_ignored_unless_allowed(tmp_path, stack, tracker):
    ask = HttpAnnouncer(tracker.url)
    ask.announce(1, ip="198.51.100.1")
    assert ask.announce(2).peers == {("127.0.0.1", 10001)}
    trusting = stack.enter_context(P2pfsTracker(tmp_path, "--allow-ip", name="trusting"))
    ask = HttpAnnouncer(trusting.url)
    ask.announce(1, ip="198.51.100.1")
    assert ask.announce(2).peers == {("198.51.100.1", 10001)}
    with UdpAnnouncer(trusting.udp) as udp:
        udp.announce(3, ip=int.from_bytes(socket.inet_aton("198.51.100.3"), "big"))
    assert ("198.51.100.3", 10003) in ask.announce(2).peers


def test_warning_to_all(tmp_path, stack):
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--warning", "we move on Friday"))
    assert HttpAnnouncer(tracker.url).announce(1)[b"warning message"] == b"we move on Friday"


def test_full_scrape_only_if_allowed(tmp_path, stack, tracker):
    status, body = HttpAnnouncer(tracker.url).get("/scrape")
    reply = bencode.decode(body)
    assert status == 200 and b"not allowed" in reply[b"failure reason"] and reply[b"retry in"] == b"never"
    public = stack.enter_context(P2pfsTracker(tmp_path, "--full-scrape", name="public"))
    ask = HttpAnnouncer(public.url)
    ask.announce(1, left=0)
    ask.announce(1, info_hash=OTHER)
    assert ask.scrape() == {HASH: (1, 0, 0), OTHER: (0, 0, 1)}


def test_scrape_of_100_torrents(ask):
    hashes = [bytes([n]) * 20 for n in range(100)]
    want = hashes if isinstance(ask, HttpAnnouncer) else hashes[:74]
    assert len(ask.scrape(*want)) == len(want)


# -- HTTP ------------------------------------------------------------------------------------------


def test_keep_alive_and_head(tracker):
    connection = http.client.HTTPConnection("127.0.0.1", tracker.port, timeout=PATIENCE)
    for _ in range(3):
        connection.request("GET", "/announce")
        assert connection.getresponse().read() == b"d14:failure reason20:info_hash is missinge"
    connection.request("HEAD", "/announce")
    answer = connection.getresponse()
    assert answer.read() == b"" and answer.getheader("Content-Length") == "42"
    connection.request("GET", "/announce", headers={"Connection": "close"})
    answer = connection.getresponse()
    assert answer.getheader("Connection") == "close" and answer.read()
    connection.close()


def _raw(port, data, end=False):
    """All that comes back, until it closes."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as s:
        s.settimeout(PATIENCE)
        s.sendall(data)
        if end:
            s.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: s.recv(65536), b""))


def test_pipelining_in_pieces(tracker):
    request = b"GET /announce HTTP/1.1\r\nHost: t\r\n\r\n"
    got = _raw(tracker.port, request * 50 + b"GET /announce HTTP/1.0\r\n\r\n")
    assert got.count(b"HTTP/1.1 200 OK") == 51
    with socket.create_connection(("127.0.0.1", tracker.port), PATIENCE) as s:
        for byte in request:
            s.sendall(bytes([byte]))
        assert s.recv(65536).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("request_, status", [
    (b"POST /announce HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
    (b"GET /announce HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 413),
    (b"GET /announce HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 413),
    (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", 414),
    (b"GET / HTTP/3.0\r\n\r\n", 505),
    (b"GET /\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 65 + b"\r\n", 400),
    (b"\x16\x03\x01\x02\x00", 405),
], ids=["post", "body", "chunked", "long", "version", "http09", "lines", "tls"])
def test_bad_requests_are_told(tracker, request_, status):
    got = _raw(tracker.port, request_)
    assert got.startswith(f"HTTP/1.1 {status} ".encode()), got[:200]
    assert b"Connection: close" in got
    assert HttpAnnouncer(tracker.url).announce(1).failure is None


def test_nothing_there(tracker):
    status, body = HttpAnnouncer(tracker.url).get("/favicon.ico")
    assert status == 404 and b"BitTorrent tracker" in body


def test_end_of_input_ends_quietly(tracker):
    assert _raw(tracker.port, b"", end=True) == b""
    assert _raw(tracker.port, b"GET /ann", end=True) == b""


# -- the command ---------------------------------------------------------------------------------------


def test_ready_fd_and_the_line(tmp_path):
    read, write = os.pipe()
    with open(read, "rb") as ready:
        with Daemon([P2PFS, "tracker", "--listen", "127.0.0.1:0", "--listen", "[::1]:0", "--ready-fd", write],
                    tmp_path / "log", pass_fds=[write]) as daemon:
            os.close(write)
            assert ready.read() == b"\n"
            line = daemon.wait_output(r"^p2pfs tracker: listening on 127\.0\.0\.1:(\d+) \[::1\]:(\d+)$")
            for address, port in (("127.0.0.1", line.group(1)), ("::1", line.group(2))):
                host = f"[{address}]" if ":" in address else address
                assert HttpAnnouncer(f"http://{host}:{port}/announce").announce(1).failure is None
        assert daemon.returncode == 0


@pytest.mark.parametrize("arguments, says", [
    (["--listen", "nowhere:x"], "--listen nowhere:x: not an address and port"),
    (["--interval", "9-3"], "--interval 9-3: not MIN-MAX"),
    (["--numwant", "201"], "--numwant 201: not a number from 1 to 200"),
    (["--numwant", "0"], "--numwant 0"),
    (["--bogus"], "--bogus: unknown"),
    (["extra"], "extra: takes no such argument"),
    (["--tls-cert", "x"], "--tls-cert x: --tls-key is missing"),
    (["--tls-key", "y"], "--tls-key y: --tls-cert is missing"),
    (["--control", "0.0.0.0:7"], "--control 0.0.0.0:7: beyond loopback it needs a --control-token"),
])
def test_wrong_usage_is_told(arguments, says):
    done = p2pfs("tracker", *arguments, check=False)
    assert done.returncode == 2 and says in done.stderr, done.stderr


@pytest.mark.parametrize("arguments, says", [
    (["--allow", "/nowhere"], "/nowhere: No such file"),
    (["--cluster", "http://x"], "not redis://"),
    (["--cluster", "redis://:secret@h"], "use --cluster-secret"),
    (["--tls-cert", "/nowhere", "--tls-key", "/nowhere"], "/nowhere"),
])
def test_what_cannot_be_used_is_told(arguments, says):
    done = p2pfs("tracker", "--listen", "127.0.0.1:0", *arguments, check=False)
    assert done.returncode == 1 and says in done.stderr, done.stderr
    assert ":secret" not in done.stderr


def test_a_port_in_use_is_told(tracker):
    done = p2pfs("tracker", "--listen", f"127.0.0.1:{tracker.port}", check=False)
    assert done.returncode == 1 and "Address already in use" in done.stderr
