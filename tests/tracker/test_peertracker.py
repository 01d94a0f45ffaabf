# SPDX-License-Identifier: MIT
"""A drop-in for peertracker: its paths, its statistics, its words."""

import json
import re
import xml.etree.ElementTree

import pytest

from lib import bencode
from lib.announcer import HttpAnnouncer
from lib.trackers import P2pfsTracker


@pytest.fixture
def tracker(tmp_path, stack):
    return stack.enter_context(P2pfsTracker(tmp_path))


@pytest.mark.parametrize("path", ["/announce", "/announce.php", "/peertracker/announce.php", "/a/b/c/announce"])
def test_paths(tracker, path):
    ask = HttpAnnouncer(f"http://127.0.0.1:{tracker.port}{path}")
    ask.announce(1, left=0)
    assert ask.announce(2).peers == {("127.0.0.1", 10001)}
    assert list(ask.scrape(bytes(range(20))).values()) == [(1, 0, 1)]


@pytest.fixture
def crowd(tracker):
    ask = HttpAnnouncer(tracker.url)
    connection = ask.connection()
    import urllib.parse
    for number in range(1, 1202):
        query = urllib.parse.urlencode({"info_hash": b"h" * 19 + bytes([number % 2]), "peer_id": f"-XX0001-{number:012}",
                                        "port": 1000 + number, "left": 0 if number <= 200 else 1, "numwant": 0})
        connection.request("GET", f"/announce?{query}")
        assert b"failure" not in connection.getresponse().read()
    connection.close()
    return ask


def test_statistics_in_three_shapes(crowd):
    status, html = crowd.get("/scrape.php?stats")
    assert status == 200
    assert re.search(r"<pre>1,201 peers \(200 seeders \+ 1,001 leechers\) in 2 torrents</pre>", html.decode())
    _, text = crowd.get("/x/scrape.php?stats=xml")
    root = xml.etree.ElementTree.fromstring(text)
    assert root.tag == "tracker" and root.get("version").startswith("p2pfs")
    assert [(e.tag, e.text) for e in root] == [("peers", "1,201"), ("seeders", "200"), ("leechers", "1,001"),
                                               ("torrents", "2")]
    _, text = crowd.get("/scrape?stats=json")
    got = json.loads(text)
    assert list(got) == ["tracker"]
    version = got["tracker"].pop("version")
    assert version.startswith("p2pfs")
    assert got["tracker"] == {"peers": "1,201", "seeders": "200", "leechers": "1,001", "torrents": "2"}


@pytest.mark.parametrize("change, says", [
    ({"port": 0}, "client listening port is invalid"),
    ({"port": "x"}, "client listening port is invalid"),
    ({"port": 65536}, "client listening port is invalid"),
    ({"left": "many"}, "client data left field is invalid"),
    ({"left": None}, "client data left field is invalid"),
])
def test_errors_are_its_words(tracker, change, says):
    parameters = {"info_hash": b"h" * 20, "peer_id": b"p" * 20, "port": 1, "left": 1, **change}
    ask = HttpAnnouncer(tracker.url)
    reply = ask.ask("/announce.php", {k: v for k, v in parameters.items() if v is not None})
    assert reply.failure == says


def test_a_bad_ip_is_told_where_ip_is_allowed(tmp_path, stack):
    ask = HttpAnnouncer(stack.enter_context(P2pfsTracker(tmp_path, "--allow-ip")).url)
    assert ask.announce(1, ip="example.org").failure == "invalid ip, dotted decimal only"
    assert ask.announce(1, ip="192.0.2.1").failure is None


def test_failures_have_status_200(tracker):
    status, body = HttpAnnouncer(tracker.url).get("/announce.php?info_hash=short")
    assert status == 200 and b"failure reason" in bencode.decode(body)
