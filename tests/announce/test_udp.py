# SPDX-License-Identifier: MIT
"""The announcer over UDP (BEP 15, 41): the whole exchange, losses, lies, restarts."""

import socket
import struct

import pytest

from lib.drivers import HASH, HASH2, Announcer, UdpTracker, compact
from lib.trackers import Opentracker
from lib.wait import wait_until

PEER, PEER6 = "192.0.2.7:6881", "[2001:db8::7]:6881"


def answered(announcer, index=0):
    return announcer.wait_status(lambda s: s["error"] is None, index)


def test_the_whole_exchange(tmp_path):
    with UdpTracker(peers=[PEER]) as tracker:
        with Announcer(tmp_path, tracker.url, port=7002, left=12345) as announcer:
            announcer.wait_peers(PEER)
            status = announcer.status()[0]
            announcer.say("completed")
            tracker.wait_announces(2)
    assert (status["seeds"], status["leechers"], status["peers"]) == (6, 5, 1)
    first, last = tracker.announces()[0], tracker.announces()[-1]
    assert first["hash"].hex() == HASH and first["peer_id"] == b"-PF0000-driver------"
    assert (first["port"], first["left"], first["numwant"], first["ip"]) == (7002, 12345, 100, 0)
    assert len(first["raw"]) == 98
    assert [a["event"] for a in tracker.announces()][:2] == ["started", "completed"]
    assert (last["event"], last["left"], last["numwant"]) == ("stopped", 0, 0)
    assert len({a["key"] for a in tracker.announces()}) == 1
    assert len(tracker.connects()) == 1  # within its minute the connection id serves all


def test_one_socket_for_all_trackers(tmp_path):
    with UdpTracker() as one, UdpTracker() as two, Announcer(tmp_path, one.url, two.url) as announcer:
        answered(announcer, 0)
        answered(announcer, 1)
    assert {p["from"] for p in one.packets} == {p["from"] for p in two.packets}


def test_both_hashes_of_a_hybrid(tmp_path):
    with UdpTracker() as tracker, Announcer(tmp_path, tracker.url, hashes=(HASH, HASH2)) as announcer:
        tracker.wait_announces(2)
        answered(announcer)
    assert {a["hash"].hex() for a in tracker.announces()} == {HASH, HASH2}


def test_lost_packets_are_sent_again(tmp_path):
    """The first connect, the first announce."""
    lost = []

    def answer(packet, number):
        if packet["action"] in lost:
            return None
        lost.append(packet["action"])
        return []
    with UdpTracker(answer, peers=[PEER]) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        announcer.wait_peers(PEER)
    connects, announces = tracker.connects(), tracker.announces()
    assert connects[0]["raw"] == connects[1]["raw"]  # the same number, so that a late answer counts
    assert announces[0]["raw"] == announces[1]["raw"]


def test_wrong_transactions_are_ignored(tmp_path):
    def answer(packet, number):
        wrong = dict(packet, transaction=packet["transaction"] ^ 1)
        return [tracker.error_reply(wrong, "lie"), tracker.announce_reply(wrong, compact("192.0.2.66:1")), b"", b"\0" * 7,
                tracker.usual(packet)]
    with UdpTracker(answer, peers=[PEER]) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        announcer.wait_peers(PEER)
        answered(announcer)
        assert "192.0.2.66" not in announcer.output() and "lie" not in announcer.output()


def test_answers_from_elsewhere_are_ignored(tmp_path):
    """Another port of the same host, with the right transaction number."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))

        def answer(packet, number):
            other.sendto(tracker.error_reply(packet, "lie"), packet["from"])
            if packet["action"] == 1:
                other.sendto(tracker.announce_reply(packet, compact("192.0.2.66:1")), packet["from"])
            return None
        with UdpTracker(answer, peers=[PEER]) as tracker, Announcer(tmp_path, tracker.url) as announcer:
            announcer.wait_peers(PEER)
            answered(announcer)
            assert "192.0.2.66" not in announcer.output() and "lie" not in announcer.output()


def test_errors_are_told(tmp_path):
    def answer(packet, number):
        return [tracker.error_reply(packet, "go away\n\xff")] if packet["action"] == 1 else None
    with UdpTracker(answer) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        announcer.wait_error("go away\\x0a\\xff")
    assert {a["event"] for a in tracker.announces()} == {"started"}


def test_a_tracker_that_was_started_again(tmp_path):
    """It knows none of its old connection ids, and says so."""
    with UdpTracker() as tracker, Announcer(tmp_path, tracker.url, hungry=False) as announcer:
        answered(announcer)
        tracker.ids.clear()
        announcer.say("completed")
        wait_until(lambda: len(tracker.connects()) == 2, lambda: f"a new connect: {tracker.packets}")
        tracker.wait_announces(3)
        assert answered(announcer)
    assert [a["event"] for a in tracker.announces()] == ["started", "completed", "completed", "stopped"]


def test_a_tracker_that_forgets_in_silence(tmp_path):
    """It drops packets with an old connection id."""
    def answer(packet, number):
        return [] if packet["action"] == 1 and packet["id"] not in tracker.ids else None
    with UdpTracker(answer) as tracker, Announcer(tmp_path, tracker.url, hungry=False) as announcer:
        answered(announcer)
        tracker.ids.clear()
        announcer.say("completed")
        wait_until(lambda: len(tracker.connects()) == 2, lambda: f"a new connect: {tracker.packets}")
        tracker.wait_announces(3)


def test_nobody_listens(tmp_path):
    with UdpTracker() as tracker:
        url = tracker.url
    with UdpTracker(peers=[PEER]) as good, Announcer(tmp_path, url, good.url) as announcer:
        announcer.wait_error("Connection refused")
        announcer.wait_peers(PEER)


def test_a_tracker_that_never_answers_does_not_hold_the_others(tmp_path):
    with UdpTracker(lambda packet, number: []) as dead, UdpTracker(peers=[PEER]) as good:
        with Announcer(tmp_path, dead.url, good.url) as announcer:
            announcer.wait_peers(PEER)
            assert announcer.status()[0]["next_s"] == -1
    assert dead.connects() and not dead.announces()


def test_stop_waits_for_no_tracker_that_is_silent(tmp_path):
    def answer(packet, number):
        return [] if packet.get("event") == "stopped" else None
    with UdpTracker(answer) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        answered(announcer)
        announcer.finish()
        assert announcer.lines("stopped")
    assert tracker.announces()[-1]["event"] == "stopped"


def test_path_goes_along(tmp_path):
    with UdpTracker() as tracker, Announcer(tmp_path, f"{tracker.base}/announce?passkey=abc") as announcer:
        answered(announcer)
        assert "abc" not in announcer.output()
    path = b"/announce?passkey=abc"
    assert tracker.announces()[0]["extra"] == bytes([2, len(path)]) + path


def test_strange_datagrams(tmp_path):
    """Short ones, one of the largest size, another action; then a good one, with bytes left over."""
    def answer(packet, number):
        head = struct.pack(">II", packet["action"], packet["transaction"])
        odd = [head, head[:4], head + b"\0" * 3, struct.pack(">II", 77, packet["transaction"]) + bytes(100),
               struct.pack(">II", 2, packet["transaction"]) + bytes(12), bytes(65507)]
        return odd + [tracker.usual(packet) + (b"\1\2\3" if packet["action"] == 1 else b"")]
    with UdpTracker(answer, peers=[PEER]) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        announcer.wait_peers(PEER)
        assert answered(announcer)["peers"] == 1


def test_no_more_peers_than_the_limit(tmp_path):
    def answer(packet, number):
        return [tracker.announce_reply(packet, compact(PEER) * 10000)] if packet["action"] == 1 else None
    with UdpTracker(answer) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        assert answered(announcer)["peers"] == 2000


def test_ipv6(tmp_path):
    with UdpTracker(address="::1", peers=[PEER6]) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        announcer.wait_peers(PEER6)
        answered(announcer)


@pytest.mark.threads
def test_a_name_is_looked_up(tmp_path):
    with UdpTracker(peers=[PEER]) as tracker:
        with Announcer(tmp_path, f"udp://localhost:{tracker.port}/announce") as announcer:
            announcer.wait_peers(PEER)
            answered(announcer)


def test_a_name_that_is_none(tmp_path):
    with Announcer(tmp_path, "udp://nobody.invalid:6969/announce") as announcer:
        announcer.wait_status(lambda s: s["error"])


def test_two_nodes_meet_at_opentracker(tmp_path):
    with Opentracker(tmp_path, [HASH]) as tracker:
        with Announcer(tmp_path, tracker.udp, port=7001, name="first") as first:
            answered(first)
            with Announcer(tmp_path, tracker.udp, port=7002, left=0, name="second") as second:
                second.wait_peers("127.0.0.1:7001")
                first.wait_peers("127.0.0.1:7002")  # at its next, hungry announce
