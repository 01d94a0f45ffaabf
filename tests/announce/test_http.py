# SPDX-License-Identifier: MIT
"""The announcer over HTTP: what it says to a tracker, and what it makes of all that one may answer."""

import re

import pytest

from lib.drivers import HASH, HASH2, Announcer, HttpServer, Reply, compact, redirect, reply
from lib.trackers import Opentracker

PEER, PEER6 = "192.0.2.7:6881", "[2001:db8::7]:6881"


def always(answer):
    return lambda request, number: answer


def test_says_what_trackers_want_to_know(tmp_path):
    with HttpServer(always(reply())) as tracker, Announcer(tmp_path, tracker.url, port=7002, left=12345):
        asked = tracker.wait_requests(1)[0]
    query = asked.query
    assert query["info_hash"].encode("latin-1").hex() == HASH
    assert query["peer_id"] == "-PF0000-driver------"
    assert (query["port"], query["left"], query["uploaded"], query["downloaded"]) == ("7002", "12345", "0", "0")
    assert (query["compact"], query["event"], query["numwant"]) == ("1", "started", "100")
    assert re.fullmatch(r"[0-9A-F]{8}", query["key"])
    assert not {"ip", "ipv4", "ipv6", "supportcrypto", "trackerid"} & query.keys()
    assert asked.headers["User-Agent"].startswith("p2pfs/")
    assert "Accept-Encoding" not in asked.headers


def test_events_and_key(tmp_path):
    with HttpServer(always(reply(min_interval=600))) as tracker:
        with Announcer(tmp_path, tracker.url) as announcer:
            announcer.wait_status(lambda s: s["error"] is None)
            announcer.say("completed")
            tracker.wait_requests(2)
            announcer.wait_status(lambda s: s["next_s"] > 0)
            announcer.say("completed")
    assert tracker.events() == ["started", "completed", "stopped"]
    assert len({r.query["key"] for r in tracker.requests}) == 1
    assert [r.query["left"] for r in tracker.requests] == ["1000", "0", "0"]
    assert tracker.requests[-1].query["numwant"] == "0"


def test_keys_of_two_runs_differ(tmp_path):
    with HttpServer(always(reply())) as tracker:
        for _ in range(2):
            with Announcer(tmp_path, tracker.url) as announcer:
                announcer.wait_status(lambda s: s["error"] is None)
    keys = {r.query["key"] for r in tracker.requests}
    assert len(keys) == 2


def test_started_until_it_is_answered(tmp_path):
    def answer(request, number):
        return Reply(status=503) if number == 1 else reply(min_interval=600)
    with HttpServer(answer) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        announcer.wait_error("HTTP status 503")
        announcer.wait_status(lambda s: s["error"] is None)
    assert tracker.events() == ["started", "started", "stopped"]


def test_stopped_only_where_started_was_answered(tmp_path):
    with HttpServer(always(Reply(status=500))) as bad, HttpServer(always(reply())) as good:
        with Announcer(tmp_path, bad.url, good.url) as announcer:
            announcer.wait_error("500")
            announcer.wait_status(lambda s: s["error"] is None, 1)
    assert "stopped" not in bad.events()
    assert good.events()[-1] == "stopped"


def test_stop_waits_for_no_tracker_that_hangs(tmp_path):
    def answer(request, number):
        return None if request.query.get("event") == "stopped" else reply()
    with HttpServer(answer) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        announcer.wait_status(lambda s: s["error"] is None)
        announcer.finish()
        assert announcer.lines("stopped")
        assert tracker.events()[-1] == "stopped"


def test_a_tracker_that_hangs_does_not_hold_the_others(tmp_path):
    with HttpServer(always(None)) as dead, HttpServer(always(reply(peers=compact(PEER)))) as good:
        with Announcer(tmp_path, dead.url, good.url) as announcer:
            dead.wait_requests(1)
            announcer.wait_peers(PEER)
            assert announcer.status()[0]["next_s"] == -1  # under way


def test_both_hashes_of_a_hybrid(tmp_path):
    with HttpServer(always(reply())) as tracker, Announcer(tmp_path, tracker.url, hashes=(HASH, HASH2)):
        tracker.wait_requests(2)
    hashes = {r.query["info_hash"].encode("latin-1").hex() for r in tracker.requests}
    assert hashes == {HASH, HASH2}


def test_tracker_id_comes_back(tmp_path):
    with HttpServer(always(reply(tracker_id="a b&c=\xff".encode("latin-1")))) as tracker:
        with Announcer(tmp_path, tracker.url) as announcer:
            announcer.wait_status(lambda s: s["error"] is None)
    assert "trackerid" not in tracker.requests[0].query
    assert tracker.requests[-1].query["trackerid"] == "a b&c=\xff"


def test_query_of_the_url_stays(tmp_path):
    with HttpServer(always(reply())) as tracker, Announcer(tmp_path, tracker.url + "?passkey=abc"):
        asked = tracker.wait_requests(1)[0]
    assert asked.query["passkey"] == "abc" and asked.query["port"] == "7001"


def test_passkeys_are_not_logged(tmp_path):
    key, other = "0123456789abcdef0123", "fedcba98765432100123"
    with HttpServer(always(Reply(status=404))) as tracker:
        url = f"http://user:{other}@127.0.0.1:{tracker.port}/{key}/announce?passkey={other}"
        with Announcer(tmp_path, url) as announcer:
            status = announcer.wait_error("404")
    assert "Basic" in tracker.requests[0].headers["Authorization"]
    assert key not in announcer.output() and other not in announcer.output()
    assert status["url"].endswith(f"127.0.0.1:{tracker.port}/***/announce?***")


# -- peers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("peers, more", [
    (compact(PEER), {"peers6": compact(PEER6)}),
    ([{"ip": "192.0.2.7", "port": 6881}, {"ip": "2001:db8::7", "port": 6881, "peer id": "x" * 20}], {}),
    ([{"ip": "a.name.example", "port": 1}, {"ip": "192.0.2.7", "port": 6881}], {"peers6": compact(PEER6)}),
], ids=["compact", "dictionaries", "mixed"])
def test_peers_of_every_form(tmp_path, peers, more):
    with HttpServer(always(reply(peers=peers, complete=3, incomplete=4, **more))) as tracker:
        with Announcer(tmp_path, tracker.url) as announcer:
            announcer.wait_peers(PEER, PEER6)
            status = announcer.status()[0]
    assert (status["peers"], status["seeds"], status["leechers"]) == (2, 3, 4)
    assert (status["error"], status["warning"]) == (None, None)


def test_announces_over_both_families(tmp_path):
    """BEP 7: a name with addresses of both kinds is asked over both; localhost is one."""
    with HttpServer(always(reply(peers=compact(PEER)))) as v4:
        with HttpServer(always(reply(peers6=compact(PEER6))), address="::1", port=v4.port) as v6:
            with Announcer(tmp_path, f"http://localhost:{v4.port}/announce") as announcer:
                announcer.wait_peers(PEER, PEER6)
    assert v4.events() == v6.events() == ["started", "stopped"]


def test_one_family_alone_is_no_error(tmp_path):
    with HttpServer(always(reply(peers6=compact(PEER6))), address="::1") as tracker:
        with Announcer(tmp_path, f"http://localhost:{tracker.port}/announce") as announcer:
            announcer.wait_peers(PEER6)
            assert announcer.status()[0]["error"] is None


def test_ipv6_literal(tmp_path):
    with HttpServer(always(reply(peers6=compact(PEER6))), address="::1") as tracker:
        with Announcer(tmp_path, tracker.url) as announcer:
            announcer.wait_peers(PEER6)


# -- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hungry, fields, least, most", [
    (True, {"interval": 1800}, 0, 6),
    (True, {"interval": 1800, "min_interval": 100}, 90, 111),
    (False, {"interval": 1800, "min_interval": 100}, 1790, 1981),
    (False, {"interval": None}, 1790, 1981),
    (False, {"interval": 10**9}, 3590, 3961),
    (False, {"interval": -5}, 1790, 1981),
], ids=["hungry", "min interval", "calm", "none told", "huge", "negative"])
def test_interval(tmp_path, hungry, fields, least, most):
    with HttpServer(always(reply(**fields))) as tracker, Announcer(tmp_path, tracker.url, hungry=hungry) as announcer:
        status = announcer.wait_status(lambda s: s["error"] is None and s["next_s"] >= 0)
    assert least <= status["next_s"] <= most


def test_hunger_brings_the_next_announce_forward(tmp_path):
    with HttpServer(always(reply())) as tracker, Announcer(tmp_path, tracker.url, hungry=False) as announcer:
        assert announcer.wait_status(lambda s: s["error"] is None)["next_s"] > 1000
        announcer.say("hungry")
        assert announcer.status()[0]["next_s"] <= 6
        announcer.say("calm")
        assert announcer.status()[0]["next_s"] > 1000
    assert tracker.requests[0].query["numwant"] == "30"


def test_a_seed_with_enough_peers_wants_none(tmp_path):
    with HttpServer(always(reply())) as tracker, Announcer(tmp_path, tracker.url, left=0, hungry=False):
        assert tracker.wait_requests(1)[0].query["numwant"] == "0"


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("more, least, most", [
    ({}, 0, 7),
    ({"retry_in": 5}, 290, 300),
    ({"retry_in": "5"}, 290, 300),
    ({"retry_in": "never"}, -2, -2),
    ({"retry_in": 10**9}, 86390, 86400),
], ids=["plain", "integer", "string", "never", "huge"])
def test_failure_reason_and_retry_in(tmp_path, more, least, most):
    failure = reply(interval=None, peers=None, failure_reason="Overloaded\x1b[2J", **more)
    with HttpServer(always(failure)) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        status = announcer.wait_error("Overloaded\\x1b[2J")
        status = announcer.wait_status(lambda s: s["next_s"] != -1)
    assert least <= status["next_s"] <= most


def test_failure_reason_of_another_status(tmp_path):
    failure = reply(interval=None, peers=None, failure_reason="unregistered torrent")
    failure.status = 400
    with HttpServer(always(failure)) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        announcer.wait_error("unregistered torrent")


def test_warning_message(tmp_path):
    with HttpServer(always(reply(peers=compact(PEER), warning_message="be nice\n"))) as tracker:
        with Announcer(tmp_path, tracker.url) as announcer:
            announcer.wait_peers(PEER)
            status = announcer.status()[0]
    assert (status["error"], status["warning"]) == (None, "be nice\\x0a")


@pytest.mark.parametrize("answer, why", [
    (Reply("<html><body>hello</body></html>"), "not a tracker's reply: "),
    (Reply(""), "not a tracker's reply: "),
    (Reply("<html>", 404), "HTTP status 404"),
    (Reply("d8:intervali60e5:peers0:e", 204, length=False), "HTTP status 204"),
    (Reply("d5:peers7:abcdefge"), "no multiple of 6"),
    (Reply("d5:filesdee"), "neither interval nor peers"),
    (Reply(b"\x1f\x8b\x08\0", headers={"Content-Encoding": "gzip"}), "Content-Encoding: gzip"),
    (Reply(b"d8:intervali60e5:peers0:e", headers={"Content-Encoding": "br"}), "Content-Encoding: br"),
    (Reply(b"d1:x%d:" % (1 << 20) + bytes(1 << 20) + b"8:intervali60ee"), "more than 1048576 bytes"),
    (Reply("d8:intervali60ee", headers={"X": "y" * 70000}), "header"),
    (redirect("/elsewhere"), "does not say announce"),
    (redirect("/announce"), "more than 5 redirects"),
    (redirect("ftp://127.0.0.1/announce"), "redirect: "),
    (redirect("file:///etc/passwd"), "redirect: "),
    (redirect("udp://127.0.0.1:1/announce"), "redirect: scheme"),
    (redirect("http://169.254.169.254/announce"), "redirect: leads to a link-local address"),
    (redirect("http://0.0.0.0/announce"), "redirect: "),
    (Reply("", 302), "HTTP status 302"),
], ids=["html", "empty", "404", "204", "peers", "scrape", "gzip", "br", "huge", "headers", "elsewhere", "loop", "ftp",
        "file", "udp", "link-local", "any", "nowhere"])
def test_odd_answers(tmp_path, answer, why):
    with HttpServer(always(answer)) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        status = announcer.wait_error(why)
    assert status["peers"] == 0 and status["last_s"] == -1


def test_redirect_is_followed(tmp_path):
    with HttpServer(always(reply(peers=compact(PEER)))) as real:
        with HttpServer(always(redirect(real.url + "?moved=1", 307))) as old, Announcer(tmp_path, old.url) as announcer:
            announcer.wait_peers(PEER)
    assert real.requests[0].query == {"moved": "1"}  # the Location stands for itself


def test_nobody_listens(tmp_path):
    with HttpServer(always(reply())) as tracker:
        port = tracker.port
    with Announcer(tmp_path, f"http://127.0.0.1:{port}/announce") as announcer:
        announcer.wait_error("Connection refused")


def test_a_server_that_is_no_http(tmp_path):
    answer = Reply("")
    answer.status = "999 999"
    with HttpServer(always(answer)) as tracker, Announcer(tmp_path, tracker.url) as announcer:
        announcer.wait_status(lambda s: s["error"])


@pytest.mark.parametrize("url, why", [
    ("http://127.0.0.1:1/admin", "does not say announce"),
    ("http://169.254.169.254/announce", "link-local"),
    ("http://[fe80::1]/announce", "link-local"),
    ("http://224.0.0.1/announce", "no host's"),
    ("udp://tracker.example/announce", "port"),
    ("udp://127.0.0.1:1", "does not say announce"),
    ("wss://tracker.example/announce", "scheme"),
    ("http://tracker.example/" + "a" * 2048, "longer than 2048"),
    ("udp://tracker.example:1/" + "a" * 1024, "more than 1024"),
])
def test_urls_refused_at_once(tmp_path, url, why):
    with Announcer(tmp_path, url) as announcer:
        assert why in announcer.wait_line("refused")["refused"]


def test_twice_the_same_is_one(tmp_path):
    with HttpServer(always(reply(min_interval=600))) as tracker:
        with Announcer(tmp_path, tracker.url, tracker.url) as announcer:
            announcer.wait_status(lambda s: s["error"] is None)
            assert len(announcer.status()) == 1
    assert tracker.events() == ["started", "stopped"]


def test_a_hundred_trackers(tmp_path):
    urls = [f"http://192.0.2.1/{i}/announce" for i in range(101)]
    with Announcer(tmp_path, *urls) as announcer:
        refused = announcer.wait_line("refused")
        assert refused["url"] == urls[100] and "more than 100" in refused["refused"]
        assert len(announcer.status()) == 100


# -- the real thing ------------------------------------------------------------------------------


def test_two_nodes_meet_at_opentracker(tmp_path):
    with Opentracker(tmp_path, [HASH]) as tracker:
        with Announcer(tmp_path, tracker.url, port=7001, name="first") as first:
            first.wait_status(lambda s: s["error"] is None)
            with Announcer(tmp_path, tracker.url, port=7002, left=0, name="second") as second:
                second.wait_peers("127.0.0.1:7001")
                assert second.status()[0]["seeds"] == 1


def test_opentracker_refuses_by_name(tmp_path):
    with Opentracker(tmp_path, [HASH]) as tracker, Announcer(tmp_path, tracker.url, hashes=(HASH2,)) as announcer:
        announcer.wait_error("not authorized")
