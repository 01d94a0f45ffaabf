# SPDX-License-Identifier: MIT
"""The ground itself: the peers, trackers and servers of tests/lib work with each other, without p2pfs."""

import urllib.request

import pytest

from lib import process, torrents, trackers, web
from lib.seeds import Aria2, LibtorrentPeer, Transmission, libtorrent_seed, transmission_seed
from lib.torrents import MiB, assert_same, make_torrent, random_image
from lib.wait import wait_until


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_libtorrent_feeds_libtorrent(tmp_path, version):
    image = random_image(tmp_path / "image", 3 * MiB + 77)
    torrent = make_torrent(tmp_path / "t.torrent", image, version=version)
    (tmp_path / "got").mkdir()
    with libtorrent_seed(torrent, image, tmp_path) as seed, \
         LibtorrentPeer(torrent, tmp_path / "got", tmp_path, peers=[("127.0.0.1", seed.port)]) as leecher:
        leecher.wait_complete()
        assert_same(tmp_path / "got" / "image", image)


def test_libtorrent_seed_keeps_its_rate(tmp_path):
    """What the tests of incomplete images stand on: loopback is not exempt from the limit."""
    image = random_image(tmp_path / "image", 8 * MiB)
    torrent = make_torrent(tmp_path / "t.torrent", image)
    (tmp_path / "got").mkdir()
    with libtorrent_seed(torrent, image, tmp_path, up=100_000) as seed, \
         LibtorrentPeer(torrent, tmp_path / "got", tmp_path, peers=[("127.0.0.1", seed.port)]) as leecher:
        wait_until(lambda: leecher.status()["downloaded"] > 50_000, "first bytes")
        assert leecher.status()["downloaded"] < 4 * MiB
        seed.limit(up=0)
        leecher.wait_complete()


def test_transmission_feeds_aria2_through_opentracker(tmp_path, lan):
    image = random_image(tmp_path / "image", 3 * MiB + 77)
    torrent = make_torrent(tmp_path / "0.torrent", image, version="v1")
    with trackers.Opentracker(tmp_path, torrent.hashes, address=lan[0]) as tracker:
        torrent = make_torrent(tmp_path / "t.torrent", image, version="v1", trackers=[tracker.url])
        with transmission_seed(torrent, image, tmp_path, address=lan[1]), \
             Aria2(torrent, tmp_path / "got", tmp_path, address=lan[2]) as leecher:
            assert leecher.wait() == 0
            assert_same(tmp_path / "got" / "image", image)


def test_transmission_fetches_from_libtorrent_through_python_tracker(tmp_path, lan):
    image = random_image(tmp_path / "image", 3 * MiB + 77)
    with trackers.PythonTracker(address=lan[0]) as tracker:
        torrent = make_torrent(tmp_path / "t.torrent", image, version="v1", trackers=[tracker.url])
        with libtorrent_seed(torrent, image, tmp_path, address=lan[1]), \
             Transmission(torrent, tmp_path / "got", tmp_path, address=lan[2]) as leecher:
            leecher.wait_complete()
            assert_same(tmp_path / "got" / "image", image)
        assert any(asked.get("event") == "started" for asked in tracker.asked)


@pytest.mark.parametrize("server", [web.Nginx, web.RangeServer])
def test_web_server_gives_ranges(tmp_path, server):
    image = random_image(tmp_path / "image", 100_000)
    with (server(tmp_path, tmp_path) if server is web.Nginx else server(tmp_path)) as seed:
        request = urllib.request.Request(seed.url + "image", headers={"Range": "bytes=50000-50099"})
        with urllib.request.urlopen(request) as reply:
            assert reply.status == 206
            assert reply.headers["Content-Range"] == "bytes 50000-50099/100000"
            assert reply.read() == image.read_bytes()[50000:50100]


@pytest.mark.parametrize("report", ["==1==ERROR: AddressSanitizer: heap-use-after-free",
                                    "x.c:3:4: runtime error: signed integer overflow",
                                    "WARNING: ThreadSanitizer: data race (pid=1)"])
def test_sanitizer_report_in_output_is_found(report):
    with pytest.raises(process.OutputError):
        process.check_output("p2pfs", f"before\n{report}\nafter", allow=[".*"])


def test_difference_is_told_by_offset(tmp_path):
    image = random_image(tmp_path / "image", 2 * MiB)
    data = bytearray(image.read_bytes())
    data[1_234_567] ^= 1
    (tmp_path / "other").write_bytes(data)
    with pytest.raises(AssertionError, match="at 1234567"):
        torrents.assert_same(tmp_path / "other", image)
