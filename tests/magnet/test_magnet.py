# SPDX-License-Identifier: MIT
"""Magnet links: found by peers, x.pe and trackers; the metadata from libtorrent, transmission and p2pfs."""

import os
import signal
import urllib.parse

import pytest

from lib.magnets import link
from lib.mounts import Mount, MountFailed
from lib.peer import Peer
from lib.process import P2PFS, Daemon, p2pfs, run
from lib.seeds import P2pfsGet, P2pfsSeed, libtorrent_seed, transmission_seed
from lib.torrents import KiB, MiB, assert_same, assert_same_tree, make_torrent, odd_files, random_image, sparse_image
from lib.trackers import P2pfsTracker, PythonTracker
from lib.wait import free_port, wait_until


@pytest.fixture
def image(tmp_path):
    return random_image(tmp_path / "image", 2 * MiB + 777)


@pytest.fixture(params=["v1", "v2", "hybrid"])
def torrent(tmp_path, image, request):
    return make_torrent(tmp_path / "t.torrent", image, version=request.param, piece_size=32 * KiB)


# -- whom it comes from --------------------------------------------------------------------------


def test_from_libtorrent(tmp_path, stack, image, torrent):
    seed = stack.enter_context(libtorrent_seed(torrent, image, tmp_path))
    mount = stack.enter_context(Mount(link(torrent, peers=[seed.peer]), tmp_path))
    assert_same(mount.path, image)


def test_from_transmission(tmp_path, stack, image, lan):
    torrent = make_torrent(tmp_path / "t.torrent", image, version="v1", piece_size=32 * KiB)
    seed = stack.enter_context(transmission_seed(torrent, image, tmp_path, address=lan[1]))
    mount = stack.enter_context(Mount(link(torrent, peers=[seed.peer]), tmp_path, address=lan[2]))
    assert_same(mount.path, image)


def test_from_p2pfs(tmp_path, stack, image, torrent):
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path))
    mount = stack.enter_context(Mount(link(torrent), tmp_path, f"peer={seed.peer}"))
    assert_same(mount.path, image)


def test_from_a_mount_that_came_by_a_link_itself(tmp_path, stack, image, torrent):
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path))
    first = stack.enter_context(Mount(link(torrent, peers=[seed.peer]), tmp_path, name="first", address="127.0.0.2"))
    seed.stop()
    second = stack.enter_context(Mount(link(torrent, peers=[first.peer]), tmp_path, name="second", address="127.0.0.3"))
    assert second.path.stat().st_size == image.stat().st_size


@pytest.mark.parametrize("versions", [["v1"], ["v2"]])
@pytest.mark.parametrize("make", [libtorrent_seed, P2pfsSeed])
def test_hybrid_of_which_the_link_names_one_version(tmp_path, stack, image, versions, make):
    torrent = make_torrent(tmp_path / "t.torrent", image, version="hybrid", piece_size=32 * KiB)
    seed = stack.enter_context(make(torrent, image, tmp_path))
    mount = stack.enter_context(Mount(link(torrent, peers=[seed.peer], versions=versions), tmp_path))
    assert_same(mount.path, image)
    shown = p2pfs("show", mount.entry / "metainfo.torrent").stdout
    assert torrent.v1 in shown and torrent.v2 in shown


def test_by_a_tracker(tmp_path, stack, image, torrent):
    tracker = stack.enter_context(P2pfsTracker(tmp_path))
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path, f"tracker={tracker.url}"))
    assert seed.alive()
    mount = stack.enter_context(Mount(link(torrent, trackers=[tracker.url]), tmp_path, address="127.0.0.2"))
    assert_same(mount.path, image)
    assert mount.status()["trackers"][0]["url"] == tracker.url


def test_from_a_peer_that_calls(tmp_path, stack, image, torrent):
    """Whose address no tracker knows: behind a NAT, say."""
    seed = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="answer"))
    tracker = stack.enter_context(PythonTracker())
    mount = stack.enter_context(Mount(link(torrent, trackers=[tracker.url]), tmp_path, start=False))
    process = stack.enter_context(Daemon(mount.argv, mount.log, name="mount"))
    wait_until(lambda: tracker.asked, "an announce")
    seed.connect("127.0.0.1", int(tracker.asked[0]["port"]))
    wait_until(mount.mounted, process.output)
    process.stop()


def test_many_pieces_of_metadata_and_of_a_piece_layer(tmp_path, stack):
    """22,000 pieces: 27 pieces of metadata, 43 hash requests with up to 6 uncles."""
    image = sparse_image(tmp_path / "image", 22_000 * 16 * KiB - 5, [(0, 64 * KiB), (50 * MiB, 300 * KiB)])
    torrent = make_torrent(tmp_path / "t.torrent", image, version="hybrid", piece_size=16 * KiB)
    seeds = [stack.enter_context(P2pfsSeed(torrent, image, tmp_path, name=f"seed{i}", address=f"127.0.0.{i + 2}"))
             for i in range(2)]
    mount = stack.enter_context(Mount(link(torrent, peers=[s.peer for s in seeds]), tmp_path, "fill=off"))
    with open(mount.path, "rb") as got, open(image, "rb") as want:
        got.seek(50 * MiB)
        want.seek(50 * MiB)
        assert got.read(300 * KiB) == want.read(300 * KiB)


def test_many_files(tmp_path, stack):
    folder = tmp_path / "content"
    odd_files(folder)
    torrent = make_torrent(tmp_path / "t.torrent", folder, version="v2", piece_size=16 * KiB)
    seed = stack.enter_context(libtorrent_seed(torrent, folder, tmp_path))
    mount = stack.enter_context(Mount(link(torrent, peers=[seed.peer]), tmp_path))
    assert_same_tree(mount.mountpoint, folder)


# -- what becomes of it --------------------------------------------------------------------------


def test_second_mount_needs_nobody(tmp_path, stack, image, torrent):
    store = tmp_path / "store"
    with P2pfsSeed(torrent, image, tmp_path) as seed, Mount(link(torrent, peers=[seed.peer]), tmp_path, store=store,
                                                            name="first") as mount:
        assert_same(mount.path, image)
    for versions in (["v1", "v2"], ["v2"]):
        if torrent.v2 or "v1" in versions:
            name = "".join(versions)
            with Mount(link(torrent, versions=versions), tmp_path, store=store, name=name) as mount:
                assert_same(mount.path, image)


def test_the_torrent_that_it_makes(tmp_path, stack, image, torrent):
    """As the original says, with the link's trackers and web seeds."""
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path))
    trackers = ["http://127.0.0.1:1/announce", "udp://127.0.0.1:1/announce"]
    uri = link(torrent, peers=[seed.peer], trackers=trackers, more="&ws=http%3A%2F%2F127.0.0.1%3A1%2Fimage&dn=other&so=0")
    mount = stack.enter_context(Mount(uri, tmp_path, "fill=off"))
    made = p2pfs("show", "--magnet", mount.entry / "metainfo.torrent").stdout
    for part in (*torrent.hashes, *(urllib.parse.quote(t, "") for t in trackers), "&ws=http%3A%2F%2F127.0.0.1"):
        assert part in made
    assert p2pfs("show", "--files", mount.entry / "metainfo.torrent").stdout == p2pfs("show", "--files", torrent).stdout


def test_get(tmp_path, stack, image, torrent):
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path))
    uri = link(torrent, peers=[seed.peer])
    with P2pfsGet(uri, tmp_path / "got", tmp_path, f"store={tmp_path}/none") as get:
        get.wait_complete()
    assert_same(tmp_path / "got" / "image", image)


def test_mount_in_the_background(tmp_path, stack, image, torrent):
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path))
    mount = stack.enter_context(Mount(link(torrent, peers=[seed.peer]), tmp_path, foreground=False))
    assert_same(mount.path, image)


def test_mount_on_a_file(tmp_path, stack, image, torrent):
    seed = stack.enter_context(P2pfsSeed(torrent, image, tmp_path))
    target = tmp_path / "target"
    target.touch()
    mount = stack.enter_context(Mount(link(torrent, peers=[seed.peer]), tmp_path, mountpoint=target))
    assert_same(target, image)
    assert mount.alive()


# -- how it ends ---------------------------------------------------------------------------------


def test_nobody_to_ask(tmp_path, torrent):
    with pytest.raises(MountFailed, match="names no tracker and no peer"):
        Mount(link(torrent), tmp_path)


@pytest.mark.parametrize("foreground", [True, False])
def test_timeout(tmp_path, torrent, foreground):
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(MountFailed, match="no metadata in 1 s: waiting for peers: 1 known.*refused") as failed:
        Mount(link(torrent, peers=[nobody]), tmp_path, "timeout=1", foreground=foreground)
    assert failed.value.status == 1


def test_it_says_what_it_waits_for(tmp_path, torrent):
    nobody = f"127.0.0.1:{free_port()}"
    mount = Mount(link(torrent, peers=[nobody]), tmp_path, start=False)
    with Daemon(mount.argv, mount.log) as process:
        process.wait_output(r"waiting for peers: 1 known, none with the metadata: 127\.0\.0\.1:\d+: connect: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["mount", "mount in the background", "get"])
def test_a_signal_ends_it(tmp_path, stack, torrent, command, number):
    """The tracker learns of it, too."""
    tracker = stack.enter_context(PythonTracker())
    uri = link(torrent, trackers=[tracker.url])
    mount = Mount(uri, tmp_path, "debug=tracker", start=False, foreground=command == "mount")
    get = [P2PFS, "get", "-o", f"store={tmp_path}/none,debug=tracker", uri]
    process = stack.enter_context(Daemon(get if command == "get" else mount.argv, tmp_path / "out", cwd=tmp_path))
    process.wait_output("answered")
    process.signal(number)
    assert process.wait(10) == 1
    assert "stopped" in [a.get("event") for a in tracker.asked]
    assert not mount.mounted()


@pytest.fixture
def helper(tmp_path):
    """mount(8)'s helper: the program under its name."""
    path = tmp_path / "mount.p2pfs"
    path.symlink_to(os.path.realpath(P2PFS))
    return path


def test_the_helper_has_the_statuses_of_mount(tmp_path, stack, torrent, helper):
    tracker = stack.enter_context(PythonTracker())
    (tmp_path / "mnt").mkdir()
    argv = [helper, link(torrent, trackers=[tracker.url]), tmp_path / "mnt", "-o"]
    done = run([*argv, f"store={tmp_path}/none,timeout=1"], check=False)
    assert done.returncode == 32
    assert "no metadata in 1 s: waiting for peers: none is known" in done.stderr
    process = stack.enter_context(Daemon([*argv, f"store={tmp_path}/none,debug=tracker"], tmp_path / "out"))
    process.wait_output("answered")
    process.signal(signal.SIGTERM)
    assert process.wait(10) == 8


def test_fake_mount_asks_nobody(tmp_path, stack, torrent, helper):
    tracker = stack.enter_context(PythonTracker())
    uri = link(torrent, trackers=[tracker.url])
    done = run([helper, uri, tmp_path, "-f", "-o", f"store={tmp_path}/none"], check=False)
    assert done.returncode == 32
    assert "not known here" in done.stderr
    assert not tracker.asked
