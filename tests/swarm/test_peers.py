# SPDX-License-Identifier: MIT
"""Peers of other makes on both sides: they seed a mount, and they fetch from p2pfs.  All bytes compared."""

import pytest

from lib.mounts import Mount
from lib.seeds import Aria2, LibtorrentPeer, P2pfsSeed, Transmission, libtorrent_seed, transmission_seed
from lib.torrents import KiB, MiB, assert_same, create_torrent, make_torrent, random_image
from lib.trackers import Opentracker, P2pfsTracker

pytestmark = pytest.mark.threads

SIZE = 9 * MiB + 12345
VERSIONS = ["v1", "v2", "hybrid"]


@pytest.fixture
def image(tmp_path):
    (tmp_path / "origin").mkdir()
    return random_image(tmp_path / "origin" / "image.raw", SIZE)


# -- they seed -------------------------------------------------------------------------------------


@pytest.mark.parametrize("creator", [make_torrent, create_torrent], ids=["lt-creates", "p2pfs-creates"])
@pytest.mark.parametrize("version", VERSIONS)
def test_mount_reads_from_libtorrent(tmp_path, image, version, creator):
    torrent = creator(tmp_path / "t.torrent", image, version=version, piece_size=256 * KiB)
    with libtorrent_seed(torrent, image, tmp_path) as seed, Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        assert_same(mount.path, image)
        mount.wait_state("complete")
        assert_same(mount.path, image)


@pytest.mark.parametrize("version", ["v2", "hybrid"])
def test_mount_reads_from_a_seed_that_rejects_hash_requests(tmp_path, image, version):
    """Then the piece is the unit of verification (libtorrent in seed_mode)."""
    torrent = make_torrent(tmp_path / "t.torrent", image, version=version, piece_size=256 * KiB)
    with libtorrent_seed(torrent, image, tmp_path, trust=True) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        assert_same(mount.path, image)


@pytest.mark.parametrize("creator", [make_torrent, create_torrent], ids=["lt-creates", "p2pfs-creates"])
def test_mount_reads_from_transmission(tmp_path, image, lan, creator):
    torrent = creator(tmp_path / "t.torrent", image, version="v1", piece_size=256 * KiB)
    with transmission_seed(torrent, image, tmp_path, address=lan[0]) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}", address=lan[1]) as mount:
        assert_same(mount.path, image)


def test_mount_reads_from_several_seeds_at_once(tmp_path, image, lan):
    torrent = make_torrent(tmp_path / "t.torrent", image, version="v1", piece_size=64 * KiB)
    with libtorrent_seed(torrent, image, tmp_path, address=lan[0], name="one", up=4 * MiB) as one, \
         libtorrent_seed(torrent, image, tmp_path, address=lan[1], name="two", up=4 * MiB) as two, \
         transmission_seed(torrent, image, tmp_path, address=lan[2]) as three, \
         P2pfsSeed(torrent, image, tmp_path, "up=32M", address=lan[3]) as four:
        peers = [f"peer={seed.peer}" for seed in (one, two, three, four)]
        with Mount(torrent, tmp_path, *peers, address=lan[4]) as mount:
            assert_same(mount.path, image)
            mount.wait_state("complete")
        # Both rate-limited libtorrent seeds gave a share: nobody waited for one alone.
        assert one.status()["uploaded"] > 0 and two.status()["uploaded"] > 0


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_seed_over_ipv6(tmp_path, image, version):
    torrent = make_torrent(tmp_path / "t.torrent", image, version=version)
    with libtorrent_seed(torrent, image, tmp_path, address="::1") as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}", address="::1") as mount:
        assert_same(mount.path, image)


# -- they fetch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("creator", [make_torrent, create_torrent], ids=["lt-creates", "p2pfs-creates"])
@pytest.mark.parametrize("version", VERSIONS)
def test_libtorrent_fetches_from_p2pfs_seed(tmp_path, image, version, creator):
    torrent = creator(tmp_path / "t.torrent", image, version=version, piece_size=128 * KiB)
    with P2pfsSeed(torrent, image, tmp_path) as seed, \
         LibtorrentPeer(torrent, tmp_path / "got", tmp_path, peers=[(seed.address, seed.port)]) as leecher:
        leecher.wait_complete()
        assert leecher.status()["failed"] == 0
        assert_same(tmp_path / "got" / image.name, image)


@pytest.mark.parametrize("version", VERSIONS)
def test_libtorrent_fetches_from_a_mount(tmp_path, image, version):
    """The mount is fed by one seed, and feeds on while it is incomplete itself."""
    torrent = make_torrent(tmp_path / "t.torrent", image, version=version, piece_size=128 * KiB)
    with libtorrent_seed(torrent, image, tmp_path, up=4 * MiB) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}") as mount, \
         LibtorrentPeer(torrent, tmp_path / "got", tmp_path, peers=[(mount.address, mount.port)]) as leecher:
        leecher.wait_complete()
        assert leecher.status()["failed"] == 0
        assert_same(tmp_path / "got" / image.name, image)
        assert_same(mount.path, image)


@pytest.mark.slow
def test_transmission_and_aria2_fetch_from_p2pfs_seed(tmp_path, image, lan):
    """transmission-daemon names no peers: the tracker does."""
    with P2pfsTracker(tmp_path, address=lan[0]) as tracker:
        torrent = create_torrent(tmp_path / "t.torrent", image, version="v1", trackers=[tracker.url])
        with P2pfsSeed(torrent, image, tmp_path, address=lan[0]), \
             Transmission(torrent, tmp_path / "tr", tmp_path, address=lan[1]) as one, \
             Aria2(torrent, tmp_path / "aria", tmp_path, address=lan[2]) as two:
            one.wait_complete()
            assert two.wait() == 0
            assert one.status()["corruptEver"] == 0
            assert_same(tmp_path / "tr" / image.name, image)
            assert_same(tmp_path / "aria" / image.name, image)


@pytest.mark.slow
def test_transmission_fetches_from_a_mount(tmp_path, image, lan):
    plain = make_torrent(tmp_path / "plain.torrent", image, version="v1")
    with Opentracker(tmp_path, plain.hashes, address=lan[0]) as tracker:
        torrent = make_torrent(tmp_path / "t.torrent", image, version="v1", trackers=[tracker.url])
        with libtorrent_seed(plain, image, tmp_path, address=lan[0]) as seed, \
             Mount(torrent, tmp_path, f"peer={seed.peer}", address=lan[0]) as mount, \
             Transmission(torrent, tmp_path / "got", tmp_path, address=lan[1]) as leecher:
            leecher.wait_complete()
            assert_same(tmp_path / "got" / image.name, image)
            assert mount.status()["uploaded"] > 0


# -- found by trackers -----------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["http", "udp"])
def test_a_node_of_many_addresses_is_found_at_the_one_it_listens_on(tmp_path, image, lan, scheme):
    """Announces come from there, and so do its connections to peers."""
    with P2pfsTracker(tmp_path, address=lan[0]) as tracker:
        url = tracker.url if scheme == "http" else tracker.udp
        torrent = create_torrent(tmp_path / "t.torrent", image, trackers=[url])
        with P2pfsSeed(torrent, image, tmp_path, "debug=peer", address=lan[3]) as seed, \
             Mount(torrent, tmp_path, address=lan[4]) as mount:
            assert_same(mount.path, image)
            assert f"peer: {lan[4]}:" in seed.output()


@pytest.mark.parametrize("scheme", ["http", "udp"])
@pytest.mark.parametrize("version", VERSIONS)
def test_mount_finds_libtorrent_through_opentracker(tmp_path, image, version, scheme):
    plain = make_torrent(tmp_path / "plain.torrent", image, version=version)
    with Opentracker(tmp_path, plain.hashes) as tracker:
        url = tracker.url if scheme == "http" else tracker.udp
        torrent = make_torrent(tmp_path / "t.torrent", image, version=version, trackers=[url])
        with libtorrent_seed(torrent, image, tmp_path), Mount(torrent, tmp_path) as mount:
            assert_same(mount.path, image)


@pytest.mark.parametrize("version", VERSIONS)
def test_mount_finds_p2pfs_seed_through_p2pfs_tracker(tmp_path, image, version):
    with P2pfsTracker(tmp_path) as tracker:
        torrent = create_torrent(tmp_path / "t.torrent", image, version=version, trackers=[tracker.url])
        with P2pfsSeed(torrent, image, tmp_path), Mount(torrent, tmp_path) as mount:
            assert_same(mount.path, image)


def test_mount_finds_peers_though_the_first_tracker_is_dead(tmp_path, image):
    with P2pfsTracker(tmp_path) as tracker:
        dead = "http://127.0.0.1:9/announce"
        torrent = make_torrent(tmp_path / "t.torrent", image, trackers=[dead, tracker.url])
        with libtorrent_seed(torrent, image, tmp_path), Mount(torrent, tmp_path) as mount:
            assert_same(mount.path, image)
