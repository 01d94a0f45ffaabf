# SPDX-License-Identifier: MIT
"""Where trackers and web seeds may lead, with real connections: a namespace has addresses of every kind."""

import contextlib
import socket

import pytest

from lib.drivers import Announcer, HttpServer, Reply, UdpTracker, compact, http_get, redirect, reply
from lib.netns import NameServer, Namespace

WORLD, WORLD2, SITE, SITE6, LINK = "198.51.100.1", "198.51.100.2", "10.9.9.9", "fd99::9", "169.254.169.254"
PEER = "192.0.2.7:6881"
PORT = 8080
NAMES = {
    "world.example": [WORLD],
    "inside.example": [SITE],
    "metadata.example": [LINK],
    "home.example": ["127.0.0.1"],
    "home6.example": ["::1"],
    "any.example": ["0.0.0.0"],
    "mixed.example": ["127.0.0.1", SITE],
    "rebind.example": lambda times: [WORLD] if times == 1 else ["127.0.0.1"],
}


def answer(request, number):
    """/to?URL redirects there; all else says where it is."""
    if "/to" in request.path:
        return redirect(request.path.split("?", 1)[1])
    return Reply(f"here: {request.path}")


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    with contextlib.ExitStack() as exits:
        net = exits.enter_context(Namespace(tmp_path_factory.mktemp("net"),
                                            addresses=[WORLD, WORLD2, SITE, SITE6, LINK]))
        exits.enter_context(NameServer(net, NAMES))
        net.servers = [exits.enter_context(HttpServer(answer, address=a, listener=net.listen(a, PORT)))
                       for a in ("0.0.0.0", "::1", SITE6)]
        yield net


def host(name):
    return f"http://{f'[{name}]' if ':' in name else name}:{PORT}"


@pytest.mark.parametrize("url, tracker, why", [
    (f"{host(WORLD)}/f", 0, None),
    (f"{host('world.example')}/announce", 1, None),
    (f"{host(SITE)}/f", 0, None),
    (f"{host('inside.example')}/f", 1, None),
    (f"{host(SITE6)}/f", 0, None),
    (f"{host('127.0.0.1')}/f", 0, None),
    (f"{host('127.0.0.1')}/announce", 1, None),
    (f"{host('localhost')}/k/announce.php?x=y", 1, None),
    (f"{host('127.0.0.1')}/f", 1, "does not say announce"),
    (f"{host('localhost')}/f", 1, "does not say announce"),
    (f"{host('localhost')}/f?/announce", 1, "does not say announce"),
    (f"{host('home.example')}/announce", 1, "the name leads to a loopback address"),
    (f"{host('home6.example')}/announce", 1, "the name leads to a loopback address"),
    (f"{host('home.example')}/f", 0, "the name leads to a loopback address"),
    (f"{host(LINK)}/latest/meta-data", 0, "link-local"),
    (f"{host('metadata.example')}/announce", 1, "link-local"),
    (f"{host('0.0.0.0')}/announce", 1, "no host's"),
    (f"{host('any.example')}/announce", 1, "no host's"),
    (f"{host('mixed.example')}/f", 0, None),
])
def test_first_address(net, url, tracker, why):
    got, = http_get(url, prefix=net.prefix, tracker=tracker)
    if why:
        assert why in (got.get("refused") or got["error"])
    else:
        assert got["error"] is None and got["body"].startswith("here: ")


@pytest.mark.parametrize("start, to, why", [
    (WORLD, f"{host(WORLD2)}/f", None),
    (WORLD, f"{host('world.example')}/f", None),
    (WORLD, f"{host(SITE)}/f", "public to a private"),
    (WORLD, f"{host(SITE6)}/f", "public to a private"),
    (WORLD, f"{host('inside.example')}/f", "public to a private"),
    (WORLD, f"{host('127.0.0.1')}/announce", "loopback"),
    (WORLD, f"{host('::1')}/announce", "loopback"),
    (WORLD, f"{host('localhost')}/announce", "loopback"),
    (WORLD, f"{host('home.example')}/announce", "loopback"),
    (WORLD, f"{host('metadata.example')}/announce", "link-local"),
    (WORLD, f"{host(WORLD2)}/to?{host(SITE)}/f", "public to a private"),
    (SITE, f"{host(SITE6)}/f", None),
    (SITE, f"{host(WORLD)}/f", None),
    (SITE, f"{host('127.0.0.1')}/announce", "loopback"),
    (SITE, f"{host(WORLD)}/to?{host(SITE)}/f", "public to a private"),
    ("127.0.0.1", f"{host(SITE)}/f", None),
    ("127.0.0.1", f"{host(WORLD)}/to?{host('127.0.0.1')}/f", "loopback"),
])
def test_redirects_never_lead_nearer(net, start, to, why):
    got, = http_get(f"{host(start)}/to?{to}", prefix=net.prefix)
    if why:
        assert why in got["error"]
    else:
        assert got["error"] is None and got["body"].startswith("here: ")


def test_rebinding_changes_nothing(net):
    """The second look-up of a name gives a loopback address; nothing gets there, the rules hold at each connect."""
    before = sum(r.path.startswith("/rebound") for s in net.servers for r in s.requests)
    url = f"{host(WORLD)}/to?{host('rebind.example')}/rebound"
    results = [http_get(url, prefix=net.prefix)[0] for _ in range(2)]
    assert results[0]["error"] is None
    assert "loopback" in results[1]["error"]
    assert sum(r.path.startswith("/rebound") for s in net.servers for r in s.requests) == before + 1


def test_a_kept_connection_does_not_go_round_the_rules(net):
    """The first URL may use loopback and leaves its connection open; the redirect may not have it."""
    got = http_get(f"{host('localhost')}/announce", f"{host(WORLD)}/to?{host('localhost')}/announce/stolen",
                   prefix=net.prefix, tracker=1)
    assert got[0]["error"] is None
    assert "loopback" in got[1]["error"]
    assert not any("/stolen" in r.path and "/to" not in r.path for s in net.servers for r in s.requests)


@pytest.mark.parametrize("name, why", [
    ("home.example", "the name leads to a loopback address"),
    ("metadata.example", "link-local"),
    ("any.example", "no host's"),
])
def test_udp_trackers_by_the_same_rules(net, tmp_path, name, why):
    with Announcer(tmp_path, f"udp://{name}:{PORT}/announce", prefix=net.prefix) as announcer:
        announcer.wait_error(why)


def test_udp_tracker_by_name(net, tmp_path):
    with UdpTracker(peers=[PEER], listener=net.socket("0.0.0.0", kind=socket.SOCK_DGRAM)) as tracker:
        with Announcer(tmp_path, f"udp://inside.example:{tracker.port}", prefix=net.prefix) as announcer:
            announcer.wait_peers(PEER)


def test_no_proxy_is_asked(net, monkeypatch):
    """A proxy would connect to what we refuse."""
    monkeypatch.setenv("http_proxy", f"{host(WORLD)}/")
    monkeypatch.setenv("all_proxy", f"{host(WORLD)}/")
    got, = http_get(f"{host('inside.example')}/direct", prefix=net.prefix)
    assert got["body"] == "here: /direct"


# -- names that do not come -----------------------------------------------------------------------


@pytest.fixture
def silent(tmp_path):
    """A name server that answers nothing: a look-up takes half a minute to fail."""
    with Namespace(tmp_path, addresses=[WORLD]) as net, NameServer(net, {"hangs.example": lambda times: None}) as names:
        net.names = names
        yield net


@pytest.mark.threads
def test_a_look_up_that_hangs_holds_nobody(silent, tmp_path):
    """Neither the other trackers, nor the end."""
    with HttpServer(lambda request, number: reply(peers=compact(PEER)), address=WORLD,
                    listener=silent.listen(WORLD)) as good:
        with Announcer(tmp_path, "http://hangs.example/announce", "udp://hangs.example:1/announce", good.url,
                       prefix=silent.prefix) as announcer:
            silent.names.wait_asked("hangs.example")
            announcer.wait_peers(PEER)
            assert [s["next_s"] for s in announcer.status()[:2]] == [-1, -1]
            announcer.finish()


def test_a_cancelled_look_up_ends_at_once(silent):
    """The program has ended before the resolver has given up (30 s), which `seconds` would not wait for."""
    got, = http_get("http://hangs.example/f", prefix=silent.prefix, cancel_ms=200, seconds=20)
    assert got == {"cancelled": True}
