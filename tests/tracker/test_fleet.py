# SPDX-License-Identifier: MIT
"""A fleet's morning: ten thousand nodes start within seconds, and each finds the others."""

import contextlib
import json
import pathlib
import resource
import socket
import urllib.parse

import pytest

from lib.announcer import HASH, HttpAnnouncer, track_load
from lib.trackers import P2pfsTracker


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["udp", "http"])
def test_ten_thousand_nodes_start(tmp_path, stack, protocol):
    """None is refused or lost, and each but the first gets peers."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path))
    got = track_load(protocol, tracker, count=10000, rate=1000, seconds=120, nodes=1, torrents=1, window=9000)
    assert got["answers"] == 10000 and got["failures"] == got["lost"] == 0, got
    assert got["empty"] == 1, got
    assert got["peers"] > 49
    stats = json.loads(HttpAnnouncer(tracker.url).get("/stats.json")[1])
    assert (stats["torrents"], stats["peers"], stats["seeds"]) == (1, 10000, 1)


def test_no_http_client_is_turned_away_when_all_come_at_once(tmp_path, stack):
    """Two thousand connections before the first is answered."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path))
    got = track_load("http", tracker, count=4000, nodes=1, torrents=1, window=2000, seconds=60)
    assert got["answers"] == 4000 and got["failures"] == got["lost"] == 0, got


def test_a_peer_takes_64_bytes_at_most(tmp_path, stack):
    """What the process takes for 300,000 peers in 1,000 torrents, over what it takes for none."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path))
    def resident():
        return int(pathlib.Path(f"/proc/{tracker.pid}/statm").read_text().split()[1]) * resource.getpagesize()
    track_load("udp", tracker, count=1000, torrents=1000)
    before, count = resident(), 300000
    track_load("udp", tracker, count=count, torrents=1000, peers=60000, seconds=100)
    stats = json.loads(HttpAnnouncer(tracker.url).get("/stats.json")[1])
    assert stats["peers"] > 0.99 * count
    assert stats["memory"] <= 64 * stats["peers"] + (1 << 20)
    if b"libasan" not in pathlib.Path(f"/proc/{tracker.pid}/maps").read_bytes():
        assert resident() - before <= 64 * stats["peers"] + (1 << 20)


def test_seed_is_found_by_all_of_a_crowd(tmp_path, stack):
    """One seed among a thousand leechers is in every reply."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path))
    ask = HttpAnnouncer(tracker.url)
    ask.announce(1, left=0)
    with contextlib.closing(ask.connection()) as connection:
        for number in range(2, 1002):
            query = urllib.parse.urlencode({"info_hash": HASH, "peer_id": f"-PF0100-{number:012}", "left": 9,
                                            "port": 10000 + number})
            connection.request("GET", f"/announce?{query}")
            assert socket.inet_aton("127.0.0.1") + (10001).to_bytes(2, "big") in connection.getresponse().read()
