# SPDX-License-Identifier: MIT
"""A swarm of p2pfs alone: seed, mounts, get; each feeds the next."""

import pytest

from lib.mounts import Mount
from lib.seeds import LibtorrentPeer, P2pfsGet, P2pfsSeed
from lib.torrents import KiB, MiB, assert_same, assert_same_tree, create_torrent, odd_files, random_image
from lib.trackers import P2pfsTracker
from lib.wait import wait_until

pytestmark = pytest.mark.threads


@pytest.fixture
def image(tmp_path):
    (tmp_path / "origin").mkdir()
    return random_image(tmp_path / "origin" / "image.raw", 12 * MiB + 4097)


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_second_mount_is_fed_by_the_first(tmp_path, image, version):
    """The second knows the first alone, which is incomplete when it comes."""
    torrent = create_torrent(tmp_path / "t.torrent", image, version=version, piece_size=256 * KiB)
    with P2pfsSeed(torrent, image, tmp_path, "up=64M") as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}", name="first") as first, \
         Mount(torrent, tmp_path, f"peer={first.peer}", name="second") as second:
        assert_same(second.path, image)
        assert_same(first.path, image)
        assert second.status()["downloaded"] >= 12 * MiB


def test_mounts_go_on_when_the_seed_is_gone(tmp_path, image):
    torrent = create_torrent(tmp_path / "t.torrent", image)
    seed = P2pfsSeed(torrent, image, tmp_path)
    with Mount(torrent, tmp_path, f"peer={seed.peer}", name="first") as first:
        first.wait_state("complete")
        seed.stop()
        with Mount(torrent, tmp_path, f"peer={first.peer}", name="second") as second:
            assert_same(second.path, image)


def test_four_mounts_through_a_tracker(tmp_path, image, stack):
    tracker = stack.enter_context(P2pfsTracker(tmp_path))
    torrent = create_torrent(tmp_path / "t.torrent", image, trackers=[tracker.url], piece_size=64 * KiB)
    stack.enter_context(P2pfsSeed(torrent, image, tmp_path, "up=80M"))
    mounts = [stack.enter_context(Mount(torrent, tmp_path, name=f"m{i}")) for i in range(4)]
    for mount in mounts:
        assert_same(mount.path, image)
    for mount in mounts:
        mount.wait_state("complete")


def test_mount_daemonized_serves_and_ends(tmp_path, image):
    """What users do: the command returns, the daemon stays."""
    torrent = create_torrent(tmp_path / "t.torrent", image)
    with P2pfsSeed(torrent, image, tmp_path) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}", foreground=False) as mount:
        assert_same(mount.path, image)


# -- get and seed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_get_fetches_a_file(tmp_path, image, version):
    torrent = create_torrent(tmp_path / "t.torrent", image, version=version)
    with P2pfsSeed(torrent, image, tmp_path) as seed, \
         P2pfsGet(torrent, tmp_path / "got", tmp_path, f"peer={seed.peer}") as get:
        get.wait_complete()
    assert_same(tmp_path / "got" / image.name, image)
    assert [p.name for p in (tmp_path / "got").iterdir()] == [image.name]


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_seed_and_get_a_folder_of_odd_files(tmp_path, version):
    folder = tmp_path / "origin" / "template"
    odd_files(folder)
    torrent = create_torrent(tmp_path / "t.torrent", folder, version=version, piece_size=32 * KiB)
    with P2pfsSeed(torrent, folder, tmp_path) as seed, \
         P2pfsGet(torrent, tmp_path / "got", tmp_path, f"peer={seed.peer}") as get:
        get.wait_complete()
    assert_same_tree(tmp_path / "got" / "template", folder)


def test_get_goes_on_where_it_was_killed(tmp_path, image):
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=64 * KiB)
    with P2pfsSeed(torrent, image, tmp_path, "up=16M") as seed:
        with P2pfsGet(torrent, tmp_path / "got", tmp_path, f"peer={seed.peer}", name="killed") as get:
            target = tmp_path / "got" / image.name
            wait_until(lambda: target.exists() and target.stat().st_blocks * 512 > MiB, "the first MiB")
            get.kill()
        with P2pfsGet(torrent, tmp_path / "got", tmp_path, f"peer={seed.peer}", name="again") as get:
            get.wait_complete()
        assert_same(target, image)


def test_get_that_stays_seeds_on(tmp_path, image):
    torrent = create_torrent(tmp_path / "t.torrent", image)
    with P2pfsSeed(torrent, image, tmp_path) as seed, \
         P2pfsGet(torrent, tmp_path / "got", tmp_path, f"peer={seed.peer}", args=["--seed"]) as get, \
         LibtorrentPeer(torrent, tmp_path / "lt", tmp_path, peers=[(get.address, get.port)]) as leecher:
        leecher.wait_complete()
        assert_same(tmp_path / "lt" / image.name, image)


def test_seed_serves_what_is_right_of_a_damaged_file(tmp_path, image):
    """`seed` is read-only: it neither repairs the file nor serves its bad piece."""
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=256 * KiB)
    damaged = tmp_path / "damaged" / image.name
    damaged.parent.mkdir()
    data = bytearray(image.read_bytes())
    data[5 * MiB + 7] ^= 0x40
    damaged.write_bytes(data)
    with P2pfsSeed(torrent, damaged, tmp_path, name="bad", allow=[".*"]) as bad, \
         P2pfsSeed(torrent, image, tmp_path, name="good") as good, \
         Mount(torrent, tmp_path, f"peer={bad.peer}", f"peer={good.peer}") as mount:
        assert_same(mount.path, image)
        assert mount.status()["corrupt"] == 0
    assert damaged.read_bytes() == bytes(data)
