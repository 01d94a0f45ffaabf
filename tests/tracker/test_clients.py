# SPDX-License-Identifier: MIT
"""Real clients find each other through the tracker: transmission, libtorrent, aria2, btfs, p2pfs."""

import json

import pytest

from lib import torrents
from lib.announcer import HttpAnnouncer
from lib.certs import self_signed
from lib.seeds import Aria2, Btfs, LibtorrentPeer, P2pfsGet, P2pfsSeed, Transmission
from lib.trackers import P2pfsTracker
from lib.wait import wait_until

SIZE = 3 * torrents.MiB + 12345


@pytest.fixture
def image(tmp_path):
    folder = tmp_path / "content"
    folder.mkdir()
    return torrents.random_image(folder / "image.raw", SIZE)


def stats(tracker):
    return json.loads(HttpAnnouncer(tracker.url).get("/stats.json")[1])


def libtorrent(torrent, save, where, address, name, seed=False):
    """It has no option for the tests' own authority, and so is told not to verify."""
    save.mkdir(exist_ok=True)
    return LibtorrentPeer(torrent, save, where, name=name, address=address, seed=seed,
                          settings={"allow_multiple_connections_per_ip": True, "validate_https_trackers": False})


def start(tmp_path, stack, scheme, address="127.0.0.1"):
    """(tracker, its URL of that scheme, the file of the authority to trust)"""
    chain, key = self_signed(tmp_path, "tracker", address=address)
    options = ["--tls-cert", chain, "--tls-key", key] if scheme == "https" else []
    tracker = stack.enter_context(P2pfsTracker(tmp_path, *options, address=address))
    urls = {"http": tracker.url, "https": tracker.url.replace("http:", "https:"), "udp": tracker.udp}
    return tracker, urls[scheme], chain


def assert_only(tracker, scheme):
    """Nobody has announced in another way."""
    counts = stats(tracker)["announces"]
    assert counts[scheme] > 0 and sum(counts.values()) == counts[scheme], counts


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["http", "https", "udp"])
def test_transmission_libtorrent_aria2_and_p2pfs_in_one_swarm(tmp_path, stack, image, lan, scheme):
    tracker, url, authority = start(tmp_path, stack, scheme, lan[0])
    torrent = torrents.make_torrent(tmp_path / "t.torrent", image, version="v1", trackers=[url])
    info_hash = bytes.fromhex(torrent.v1)
    stack.enter_context(Transmission(torrent, image.parent, tmp_path, address=lan[0], name="tr-seed", seed=True,
                                    authority=authority))
    wait_until(lambda: stats(tracker)["seeds"] == 1, lambda: f"transmission to announce: {stats(tracker)}")
    for name in ("lt", "tr", "aria"):
        (tmp_path / name).mkdir()
    leecher = stack.enter_context(libtorrent(torrent, tmp_path / "lt", tmp_path, lan[1], "lt-leecher"))
    leecher.wait_complete()
    other = stack.enter_context(Transmission(torrent, tmp_path / "tr", tmp_path, address=lan[2], name="tr-leecher",
                                            authority=authority))
    other.wait_complete()
    get = stack.enter_context(P2pfsGet(torrent, tmp_path / "p2", tmp_path, f"cafile={authority}", address=lan[1]))
    get.wait_complete()
    for name in ("lt", "tr", "p2"):
        torrents.assert_same(tmp_path / name / image.name, image)
    wait_until(lambda: HttpAnnouncer(tracker.url).scrape(info_hash)[info_hash][1] >= 3,
               lambda: f"three downloads to be counted: {HttpAnnouncer(tracker.url).scrape(info_hash)}")
    assert_only(tracker, scheme)
    if scheme == "udp":
        return  # aria2 speaks it only together with DHT
    aria = stack.enter_context(Aria2(torrent, tmp_path / "aria", tmp_path, f"--ca-certificate={authority}",
                                     address=lan[3]))
    assert aria.wait() == 0, aria.output()
    torrents.assert_same(tmp_path / "aria" / image.name, image)


def test_transmissions_scrape_works(tmp_path, stack, image, lan):
    tracker = stack.enter_context(P2pfsTracker(tmp_path, address=lan[0]))
    torrent = torrents.make_torrent(tmp_path / "t.torrent", image, version="v1", trackers=[tracker.url])
    seed = stack.enter_context(Transmission(torrent, image.parent, tmp_path, address=lan[0], seed=True))
    def scraped():
        seen = seed.status()["trackerStats"][0]
        return seen["hasScraped"] and seen["lastScrapeSucceeded"] and seen["seederCount"] == 1
    wait_until(scraped, lambda: f"a scrape: {seed.status()['trackerStats']}")


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("scheme", ["http", "https", "udp"])
def test_p2pfs_and_libtorrent_in_every_version(tmp_path, stack, image, version, scheme):
    tracker, url, authority = start(tmp_path, stack, scheme)
    torrent = torrents.make_torrent(tmp_path / "t.torrent", image, version=version, trackers=[url])
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path, f"cafile={authority}"))
    wait_until(lambda: stats(tracker)["seeds"] >= 1, lambda: f"the seed to announce: {stats(tracker)}")
    leecher = stack.enter_context(libtorrent(torrent, tmp_path / "lt", tmp_path, "127.0.0.1", "lt-leecher"))
    leecher.wait_complete()
    torrents.assert_same(tmp_path / "lt" / image.name, image)
    seed.stop()
    get = stack.enter_context(P2pfsGet(torrent, tmp_path / "p2", tmp_path, f"cafile={authority}"))
    get.wait_complete()
    torrents.assert_same(tmp_path / "p2" / image.name, image)
    assert_only(tracker, scheme)


@pytest.mark.parametrize("scheme, version", [("http", "v1"), ("https", "hybrid"), ("udp", "hybrid")])
def test_btfs_finds_p2pfs_and_p2pfs_finds_btfs(tmp_path, stack, image, scheme, version):
    btfs = stack.enter_context(Btfs(tmp_path, env={"SSL_CERT_FILE": str(tmp_path / "tracker.crt")}))
    tracker, url, authority = start(tmp_path, stack, scheme, btfs.gateway)
    torrent = torrents.make_torrent(tmp_path / "t.torrent", image, version=version, trackers=[url])
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path, f"cafile={authority}", address=btfs.gateway))
    wait_until(lambda: stats(tracker)["seeds"] >= 1, lambda: f"the seed to announce: {stats(tracker)}")
    btfs.mount(torrent)
    torrents.assert_same(btfs.path / image.name, image)
    seed.stop()
    get = stack.enter_context(P2pfsGet(torrent, tmp_path / "p2", tmp_path, f"cafile={authority}", address=btfs.gateway))
    get.wait_complete()
    torrents.assert_same(tmp_path / "p2" / image.name, image)
    assert_only(tracker, scheme)


def test_p2pfs_does_not_announce_to_whom_it_does_not_trust(tmp_path, stack, image):
    tracker, url, _ = start(tmp_path, stack, "https")
    torrent = torrents.make_torrent(tmp_path / "t.torrent", image, trackers=[url])
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path, "debug=tracker"))
    seed.wait_output(r"127\.0\.0\.1.*certificate")
    assert stats(tracker)["announces"]["https"] == 0


def test_one_of_two_trackers_killed_during_a_download(tmp_path, stack):
    """Nothing stops, and who starts after finds the rest through the other."""
    (tmp_path / "content").mkdir()
    image = torrents.random_image(tmp_path / "content" / "image.raw", 24 * torrents.MiB)
    first = stack.enter_context(P2pfsTracker(tmp_path, name="first"))
    second = stack.enter_context(P2pfsTracker(tmp_path, name="second"))
    torrent = torrents.make_torrent(tmp_path / "t.torrent", image, trackers=[first.url, second.url])
    stack.enter_context(P2pfsSeed(torrent, image, tmp_path))
    for tracker in (first, second):
        wait_until(lambda: stats(tracker)["seeds"] >= 1, lambda: f"the seed to announce to all: {stats(tracker)}")
    slow = stack.enter_context(P2pfsGet(torrent, tmp_path / "a", tmp_path, "down=64M", name="a"))
    wait_until(lambda: stats(first)["leechers"] >= 1, lambda: f"the leecher to announce: {stats(first)}")
    first.kill()
    late = stack.enter_context(P2pfsGet(torrent, tmp_path / "b", tmp_path, name="b"))
    slow.wait_complete()
    late.wait_complete()
    torrents.assert_same(tmp_path / "a" / image.name, image)
    torrents.assert_same(tmp_path / "b" / image.name, image)
