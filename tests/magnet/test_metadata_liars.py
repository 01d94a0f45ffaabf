# SPDX-License-Identifier: MIT
"""Peers that give wrong metadata for a magnet link, or none: the mount comes all the same, or says why not."""

import hashlib
import socket

import pytest

from lib import bencode
from lib.magnets import link
from lib.mounts import Mount, MountFailed
from lib.peer import Peer
from lib.process import Daemon, p2pfs
from lib.seeds import libtorrent_seed
from lib.torrents import KiB, MiB, assert_same, make_torrent, random_image
from lib.trackers import PythonTracker
from lib.wait import wait_until
from lib.wire import reserved

# The info dictionary of this one has three pieces of metadata.
PIECES = 2000


@pytest.fixture
def image(tmp_path):
    return random_image(tmp_path / "image", PIECES * 16 * KiB - 99)


def make(tmp_path, image, version="v1"):
    return make_torrent(tmp_path / "t.torrent", image, version=version, piece_size=16 * KiB)


def start(stack, tmp_path, torrent, peers, *options, **kw):
    """A mount by a link that names these peers."""
    uri = link(torrent, peers=[p.peer for p in peers])
    return stack.enter_context(Mount(uri, tmp_path, "fill=off", "debug=peer", *options, **kw))


def read_some(mount, image):
    with open(mount.path, "rb") as got, open(image, "rb") as want:
        assert got.read(64 * KiB) == want.read(64 * KiB)


@pytest.mark.parametrize("fault", ["lie", "short", "other size", "reject", "cut"])
def test_one_among_good_ones(tmp_path, stack, image, fault):
    torrent = make(tmp_path, image)
    bad = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata=fault))
    good = [stack.enter_context(Peer(torrent, image, address=f"127.0.0.{i}", metadata="answer")) for i in (3, 4)]
    mount = start(stack, tmp_path, torrent, [bad, *good])
    read_some(mount, image)


@pytest.mark.parametrize("fault,said", [
    ("lie", "banned: metadata that does not hash to what the link says"),
    ("short", "a piece of the metadata of the wrong length"),
    ("other size", "another size of the metadata than it told before"),
    ("reject", "it refuses its metadata"),
    ("cut", "closed by the peer"),
])
def test_alone(tmp_path, stack, image, fault, said):
    torrent = make(tmp_path, image)
    bad = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata=fault))
    mount = Mount(link(torrent, peers=[bad.peer]), tmp_path, "debug=peer", start=False)
    process = stack.enter_context(Daemon(mount.argv, mount.log, name="mount"))
    process.wait_output(said)
    assert bad.metadata_asked
    process.stop()
    assert not mount.mounted()


def test_many_liars_and_one_who_is_not(tmp_path, stack, image):
    """They come first, and are more: each is found out and banned."""
    torrent = make(tmp_path, image)
    liars = [stack.enter_context(Peer(torrent, image, address=f"127.0.0.{i}", metadata="lie")) for i in range(2, 8)]
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.9", metadata="answer", latency=0.2))
    mount = start(stack, tmp_path, torrent, [*liars, good])
    read_some(mount, image)


def test_a_size_that_most_do_not_tell(tmp_path, stack, image):
    torrent = make(tmp_path, image)
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="ignore", metadata_size=60 * MiB))
    good = [stack.enter_context(Peer(torrent, image, address=f"127.0.0.{i}", metadata="answer", latency=0.3))
            for i in (3, 4)]
    mount = start(stack, tmp_path, torrent, [liar, *good])
    read_some(mount, image)
    assert "it was asked, and gave nothing" not in mount.process.output()


def test_a_size_that_one_host_tells_often(tmp_path, stack, image):
    """Its connections are no votes: what it says costs the others nothing."""
    torrent = make(tmp_path, image)
    liars = [stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="ignore", metadata_size=99999))
             for _ in range(4)]
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer", latency=0.3))
    mount = start(stack, tmp_path, torrent, [*liars, good])
    read_some(mount, image)
    assert "gave nothing" not in mount.process.output()


def test_a_liar_stays_banned_once_it_is_mounted(tmp_path, stack, image):
    torrent = make(tmp_path, image)
    liar = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="lie"))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer", latency=0.3))
    mount = start(stack, tmp_path, torrent, [liar, good])
    assert "banned: metadata" in mount.process.output()
    read_some(mount, image)
    assert liar.connections == 1
    liar.connect("127.0.0.1", mount.port)
    wait_until(lambda: liar.closed == 2, mount.process.output)
    assert not liar.asked


def test_who_lied_leaves_with_all_its_connections(tmp_path, stack, image):
    torrent = make(tmp_path, image)
    liars = [stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="lie")) for _ in range(3)]
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer", latency=0.3))
    mount = start(stack, tmp_path, torrent, [*liars, good])
    read_some(mount, image)
    assert mount.process.output().count("): banned: metadata") == 1


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_a_real_seed_beside_all_of_them(tmp_path, stack, image, version):
    torrent = make(tmp_path, image, version)
    seed = stack.enter_context(libtorrent_seed(torrent, image, tmp_path, address="127.0.0.9"))
    faults = [{"metadata": "lie"}, {"metadata": "short"}, {"metadata": "ignore", "metadata_size": 60 * MiB},
              {"metadata": "answer", "hashes": "lie"}, {"metadata": "answer", "hashes": "reject"}, {"silent": True}]
    liars = [stack.enter_context(Peer(torrent, image, address=f"127.0.0.{2 + i}", have=(), **fault))
             for i, fault in enumerate(faults)]
    mount = start(stack, tmp_path, torrent, [*liars, seed])
    assert_same(mount.path, image)
    if version != "v1":
        assert mount.status()["info_hashes"]["v2"] == torrent.v2


# -- who takes the places of others --------------------------------------------------------------


def test_one_host_with_many_ports(tmp_path, stack, image):
    """All of which take a connection and say nothing."""
    torrent = make(tmp_path, image)
    mute = [stack.enter_context(socket.create_server(("127.0.0.2", 0))) for _ in range(60)]
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer"))
    tracker = stack.enter_context(PythonTracker(extra=[s.getsockname() for s in mute] + [(good.address, good.port)]))
    mount = stack.enter_context(Mount(link(torrent, trackers=[tracker.url]), tmp_path, "fill=off", "debug=peer"))
    read_some(mount, image)
    assert "no handshake in" not in mount.process.output()


def test_who_calls_takes_no_place_from_whom_we_call(tmp_path, stack, image):
    torrent = make(tmp_path, image)
    holder = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="lie", metadata_size=9 * MiB, latency=4))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer"))
    tracker = stack.enter_context(PythonTracker())
    mount = Mount(link(torrent, trackers=[tracker.url]), tmp_path, "peers=1", "fill=off", "debug=peer", start=False)
    process = stack.enter_context(Daemon(mount.argv, mount.log, name="mount"))
    wait_until(lambda: tracker.asked, "an announce")
    holder.connect("127.0.0.1", mount.port)
    wait_until(lambda: holder.metadata_asked, process.output)
    tracker.extra.append((good.address, good.port))
    wait_until(mount.mounted, process.output)
    assert not holder.closed or "gives its metadata slowly" not in process.output()
    process.stop()


@pytest.mark.slow
def test_who_says_nothing_is_not_taken_back_at_once(tmp_path, stack, image):
    """Two such would have the one place in turn; the good one had bad luck at first."""
    torrent = make(tmp_path, image)
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="cut"))
    mute = [stack.enter_context(Peer(torrent, image, address=f"127.0.0.{i}", greeting=lambda connection: None)) for i in (3, 4)]
    tracker = stack.enter_context(PythonTracker(extra=[(p.address, p.port) for p in (good, *mute)]))
    mount = Mount(link(torrent, trackers=[tracker.url]), tmp_path, "peers=1", "debug=peer", start=False)
    process = stack.enter_context(Daemon(mount.argv, mount.log, name="mount"))
    wait_until(lambda: good.metadata_asked, process.output)
    good.metadata = "answer"
    wait_until(mount.mounted, process.output)
    process.stop()


@pytest.mark.slow
def test_who_is_slow_makes_room(tmp_path, stack, image):
    """With peers=1 it would stand in the other's way for hours."""
    torrent = make(tmp_path, image)
    slow = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="answer", metadata_size=60 * MiB, latency=4))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer"))
    mount = Mount(link(torrent), tmp_path, f"peer={slow.peer}", f"peer={good.peer}", "peers=1", "debug=peer", start=False)
    process = stack.enter_context(Daemon(mount.argv, mount.log, name="mount"))
    wait_until(mount.mounted, process.output, 90)
    assert not slow.connections or "gives its metadata slowly" in process.output()
    process.stop()


def test_a_later_handshake_that_tells_what_has_changed(tmp_path, stack, image):
    """BEP 10: what it does not name stays as it was."""
    torrent = make(tmp_path, image)

    def greeting(connection):
        size = len(connection.peer.meta.info_bytes)
        connection.wire.send_extended(0, {"m": {"ut_metadata": 3}, "metadata_size": size})
        connection.wire.send_extended(0, {"upload_only": 1})
        connection.wire.send_extended(0, {"m": {"ut_pex": 1}})

    peer = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="answer", greeting=greeting))
    mount = start(stack, tmp_path, torrent, [peer])
    assert "it has no metadata" not in mount.process.output()


# -- what there is to be told ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [64 * MiB + 1, (1 << 63) - 1])
def test_a_size_beyond_all_limits(tmp_path, stack, image, size):
    torrent = make(tmp_path, image)
    bad = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="answer", metadata_size=size))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer", latency=0.3))
    mount = start(stack, tmp_path, torrent, [bad, good])
    read_some(mount, image)
    assert f"metadata larger than a .torrent may be: {size} bytes" in mount.process.output()
    assert not bad.metadata_asked


@pytest.mark.slow
@pytest.mark.parametrize("size", [None, 60 * MiB])
def test_one_that_says_nothing(tmp_path, stack, image, size):
    """And the good one comes later, alone: it is asked when the other's time is over."""
    torrent = make(tmp_path, image)
    bad = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="ignore", metadata_size=size))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer", latency=0.3))
    mount = start(stack, tmp_path, torrent, [bad, good])
    read_some(mount, image)


@pytest.mark.slow
def test_who_does_not_tell(tmp_path, stack, image):
    """After the handshake it says nothing.  With peers=1 it stands in the other's way, but not for ever."""
    torrent = make(tmp_path, image)
    mute = stack.enter_context(Peer(torrent, image, address="127.0.0.2", greeting=lambda connection: None))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer"))
    mount = Mount(link(torrent), tmp_path, f"peer={mute.peer}", f"peer={good.peer}", "peers=1", "debug=peer", start=False)
    process = stack.enter_context(Daemon(mount.argv, mount.log, name="mount"))
    wait_until(mount.mounted, process.output)
    assert not mute.connections or "it told of no metadata for 10 s" in process.output()
    process.stop()


def test_who_has_no_metadata(tmp_path, stack, image):
    torrent = make(tmp_path, image)
    without = stack.enter_context(Peer(torrent, image, address="127.0.0.2"))
    with pytest.raises(MountFailed, match="none with the metadata: 127.0.0.2:[0-9]+: it has no metadata"):
        start(stack, tmp_path, torrent, [without], "timeout=1")


def test_who_is_another_torrents(tmp_path, stack, image):
    torrent = make(tmp_path, image)
    other = stack.enter_context(Peer(torrent, image, address="127.0.0.2", info_hash=bytes(20), metadata="answer"))
    with pytest.raises(MountFailed, match="it answered for another info-hash"):
        start(stack, tmp_path, torrent, [other], "timeout=1")


@pytest.mark.parametrize("version", ["v2", "hybrid"])
@pytest.mark.parametrize("fault", ["lie", "short", "reject", "ignore"])
def test_piece_layers_of_one_who_does_not_give_them(tmp_path, stack, image, version, fault):
    """Until another one calls."""
    torrent = make(tmp_path, image, version)
    bad = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="answer", hashes=fault))
    good = stack.enter_context(Peer(torrent, image, address="127.0.0.3", metadata="answer"))
    mount = Mount(link(torrent, peers=[bad.peer]), tmp_path, "fill=off", "debug=peer", start=False)
    process = stack.enter_context(Daemon(mount.argv, mount.log, name="mount"))
    said = {"lie": "banned: piece layers that do not lead to their root", "short": "fewer hashes than it says"}
    if fault in said:
        process.wait_output(said[fault])
    else:
        wait_until(lambda: bad.hash_asked, process.output)
        assert "banned" not in process.output()
    good.connect("127.0.0.1", mount.port)
    wait_until(mount.mounted, process.output)
    assert "gave nothing for" not in process.output()
    process.stop()


def test_piece_layers_that_nobody_gives(tmp_path, stack, image):
    torrent = make(tmp_path, image, "v2")
    bad = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="answer", hashes="reject"))
    with pytest.raises(MountFailed, match="no metadata in 2 s: piece layers: 0 of 4 parts, from 1 peers"):
        start(stack, tmp_path, torrent, [bad], "timeout=2")
    assert len(bad.hash_asked) > 4, "it was not asked again"


def v1_peer(torrent, image):
    """One that knows nothing of v2."""
    return Peer(torrent, image, address="127.0.0.2", metadata="answer", info_hash=bytes.fromhex(torrent.v1),
                flags=reserved(fast=True))


@pytest.mark.parametrize("versions", [["v1"], ["v1", "v2"]])
@pytest.mark.parametrize("way", ["link", "torrent"])
def test_hybrid_that_began_as_v1_becomes_one(tmp_path, stack, image, versions, way):
    """By its link, once a peer gives the piece layers, or by a .torrent that has them.  What is here stays."""
    torrent = make(tmp_path, image, "hybrid")
    uri, store = link(torrent, versions=versions), tmp_path / "store"
    with v1_peer(torrent, image) as old, Mount(uri, tmp_path, f"peer={old.peer}", "fill=off", "timeout=2", store=store,
                                               name="before") as mount:
        assert "until it is mounted by a .torrent" in mount.process.output()
        assert "v2" not in mount.status()["info_hashes"]
        read_some(mount, image)
        entry = mount.entry / "metainfo.torrent"
    assert "v1, of a hybrid whose piece layers are missing" in p2pfs("show", entry).stdout
    with Peer(torrent, image, address="127.0.0.3", metadata="answer") as new:
        with Mount(uri if way == "link" else torrent, tmp_path, f"peer={new.peer}", "fill=off", store=store,
                   name="upgrade") as mount:
            assert mount.status()["info_hashes"]["v2"] == torrent.v2
            assert "piece layers" not in mount.process.output()
            read_some(mount, image)
            assert not {0, 1, 2, 3} & {a.piece for a in new.asked}
        assert not new.metadata_asked
    assert "hybrid" in p2pfs("show", entry).stdout
    with Mount(uri, tmp_path, store=store, name="alone") as mount:
        assert mount.status()["info_hashes"]["v2"] == torrent.v2
        read_some(mount, image)


def test_hybrid_that_stays_v1_where_nobody_is_asked(tmp_path, stack, image):
    """A link without peers: what was mounted is mounted again, at once."""
    torrent = make(tmp_path, image, "hybrid")
    store = tmp_path / "store"
    with v1_peer(torrent, image) as old, Mount(link(torrent, peers=[old.peer]), tmp_path, "fill=off", "timeout=2", store=store,
                                               name="before") as mount:
        read_some(mount, image)
    with Mount(link(torrent), tmp_path, store=store) as mount:
        read_some(mount, image)
        assert "it is used as one of v1" in mount.process.output()


def test_hybrid_whose_torrent_has_no_piece_layers(tmp_path, stack, image):
    """Is used as a v1 torrent, and one is told."""
    torrent = make(tmp_path, image, "hybrid")
    whole = bencode.decode(torrent.path.read_bytes())
    del whole[b"piece layers"]
    torrent.path.write_bytes(bencode.encode(whole))
    with Mount(torrent, tmp_path, "fill=off") as mount:
        assert mount.process.output().count("the piece layers of this hybrid torrent are missing") == 1
    assert "Version: v1, of a hybrid whose piece layers are missing" in p2pfs("show", torrent).stdout
    assert '"lacks_layers": true' in p2pfs("show", "--json", torrent).stdout


@pytest.mark.slow
@pytest.mark.parametrize("timeout", [0, 4])
@pytest.mark.parametrize("versions", [["v1"], ["v1", "v2"]])
def test_hybrid_of_peers_that_know_v1_alone(tmp_path, stack, image, versions, timeout):
    """Is used as a v1 torrent, now and the next time; a .torrent that tells more may come later."""
    torrent = make(tmp_path, image, "hybrid")
    old = stack.enter_context(v1_peer(torrent, image))
    uri = link(torrent, peers=[old.peer], versions=versions)
    store = tmp_path / "store"
    with Mount(uri, tmp_path, "fill=off", f"timeout={timeout}", store=store) as mount:
        assert "it is used as one of v1" in mount.process.output()
        read_some(mount, image)
    assert not old.hash_asked
    for what, name in ((uri, "again"), (torrent, "torrent")):
        with Mount(what, tmp_path, f"peer={old.peer}", "fill=off", store=store, name=name) as mount:
            read_some(mount, image)
            assert mount.status()["had"] >= 64 * KiB


def test_a_torrent_that_is_none(tmp_path, stack, image):
    """All is as the link says, but can be no torrent here."""
    torrent = make(tmp_path, image)
    whole = bencode.decode(torrent.path.read_bytes())
    whole[b"info"][b"piece length"] = 1000
    torrent.path.write_bytes(bencode.encode(whole))
    torrent.v1 = hashlib.sha1(bencode.encode(whole[b"info"])).hexdigest()
    peer = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="answer"))
    with pytest.raises(MountFailed, match="piece length: 1000: not within"):
        start(stack, tmp_path, torrent, [peer])


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_what_a_scripted_peer_gives_is_right(tmp_path, stack, image, version):
    """That what the other tests here show is not the scripted peer's own fault."""
    torrent = make(tmp_path, image, version)
    peer = stack.enter_context(Peer(torrent, image, address="127.0.0.2", metadata="answer"))
    mount = start(stack, tmp_path, torrent, [peer])
    assert_same(mount.path, image)
    assert sorted(set(peer.metadata_asked)) == list(range(-(-len(peer.meta.info_bytes) // 16384)))
