# SPDX-License-Identifier: MIT
"""The boot profile: what is read first is recorded, and fetched first."""

import json
import os
import threading

import pytest

from lib.metainfo import BLOCK
from lib.mounts import Mount, MountFailed
from lib.peer import Peer
from lib.process import p2pfs
from lib.torrents import GiB, KiB, MiB, Torrent, assert_same, create_torrent, make_torrent, random_image, sparse_image
from lib.wait import wait_until
from lib.web import RangeServer

PIECE = 64 * KiB
# Block numbers, so scattered that no reading ahead and no filling would ask for them in this order.
ORDER = [100, 17, 30, 31, 250, 13, 18, 131]
# Fetched by every mount, whatever is read: partition tables and footers.
ENDS = [*range(8), *range(296, 300)]


def write_profile(path, torrent, blocks, size=None, of=None):
    lines = [f"p2pfs-profile 1 {size or torrent.size} {of or torrent.hashes[0]}"]
    path.write_text("\n".join(lines + [f"{b * BLOCK} {BLOCK}" for b in blocks]) + "\n")
    return path


def blocks_of(path):
    """The block numbers that a profile names, in its order."""
    ranges = [tuple(map(int, line.split())) for line in path.read_text().splitlines()[1:]]
    return [b for offset, length in ranges for b in range(offset // BLOCK, -(-(offset + length) // BLOCK))]


def asked_blocks(peer):
    """The block numbers that it was asked for, each once, in their order."""
    return list(dict.fromkeys((a.piece * peer.meta.piece_length + a.begin) // BLOCK for a in list(peer.asked)))


def assert_asked_first(peer, blocks, also=()):
    """These in this order; then, if anything, the ends and what `also` names."""
    asked = asked_blocks(peer)
    assert asked[:len(blocks)] == blocks
    assert not set(asked[len(blocks):]) - set(ENDS) - set(also)


def read_blocks(mount, blocks):
    with open(mount.path, "rb", buffering=0) as image:
        return [os.pread(image.fileno(), BLOCK, b * BLOCK) for b in blocks]


def save(mount, path):
    p2pfs("profile", "save", mount.mountpoint, path)
    return path


class Setting:
    """An image of 300 blocks, its torrent, and a scripted seed of it."""

    def __init__(self, tmp_path, stack, version="hybrid", image=None, **faults):
        self.image = image or random_image(tmp_path / "image.raw", 300 * BLOCK)
        self.torrent = make_torrent(tmp_path / "image.torrent", self.image, version=version, piece_size=PIECE)
        self.seed = stack.enter_context(Peer(self.torrent, self.image, address="127.0.0.2", **faults))
        self.tmp_path, self.stack = tmp_path, stack

    def mount(self, *options, torrent=None, **kw):
        return self.stack.enter_context(Mount(torrent or self.torrent, self.tmp_path, f"peer={self.seed.peer}",
                                              *options, **kw))

    def profile(self, blocks, name="boot", **kw):
        return write_profile(self.tmp_path / name, self.torrent, blocks, **kw)


# -- recording --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
@pytest.mark.threads
def test_records_first_reads_in_their_order(tmp_path, stack, version):
    """Reads that waited, and (of a piece that came whole) reads that did not."""
    s = Setting(tmp_path, stack, version)
    mount = s.mount("fill=off")
    read_blocks(mount, ORDER + ORDER[::-1] + [101, 100, 29])
    profile = save(mount, tmp_path / "saved")
    assert blocks_of(profile) == ORDER + [101, 29]
    assert profile.read_text().splitlines()[0] == f"p2pfs-profile 1 {300 * BLOCK} {s.torrent.hashes[0]}"
    assert mount.status()["profile_recorded"] == len(ORDER) + 2


@pytest.mark.threads
def test_records_all_that_many_readers_read(tmp_path, stack):
    """No first read is lost when they come faster than the loop could look at each."""
    s = Setting(tmp_path, stack)
    mount = s.mount("io=direct")  # else the kernel answers by itself once all is here
    mount.wait_state("complete")
    parts = [range(i, 300, 6) for i in range(6)]
    readers = [threading.Thread(target=read_blocks, args=(mount, list(part))) for part in parts]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert mount.status()["profile_recorded"] == 300
    assert sorted(blocks_of(save(mount, tmp_path / "saved"))) == list(range(300))


def test_zeros_are_not_recorded(tmp_path, stack):
    image = sparse_image(tmp_path / "zeros.raw", 300 * BLOCK, [(0, 5 * PIECE)])
    mount = Setting(tmp_path, stack, image=image).mount("fill=off")
    read_blocks(mount, [200, 3, 250])
    assert blocks_of(save(mount, tmp_path / "saved")) == [3]


def test_nothing_read_yet_and_nothing_recorded(tmp_path, stack):
    s = Setting(tmp_path, stack)
    mount = s.mount("fill=off")
    done = p2pfs("profile", "save", mount.mountpoint, tmp_path / "saved", check=False)
    assert done.returncode == 1 and "nothing was read from it yet" in done.stderr
    off = s.mount("fill=off", "profile=off", name="off")
    read_blocks(off, [5])
    done = p2pfs("profile", "save", off.mountpoint, tmp_path / "saved", check=False)
    assert done.returncode == 1 and "profile=off" in done.stderr
    assert not (tmp_path / "saved").exists()


# -- using ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v2", "hybrid"])
def test_a_second_mount_asks_in_that_order_before_all_else(tmp_path, stack, version):
    """As recorded by the first, with an empty store; then the rest fills in."""
    s = Setting(tmp_path, stack, version)
    first = s.mount("fill=off", name="first")
    read_blocks(first, ORDER)
    profile = save(first, tmp_path / "saved")
    first.stop()
    s.seed.asked.clear()
    mount = s.mount(f"profile={profile}", name="second")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    assert asked_blocks(s.seed)[:len(ORDER)] == ORDER
    mount.wait_state("complete")
    assert_same(mount.path, s.image)


def test_v1_asks_for_whole_pieces_in_that_order(tmp_path, stack):
    """A block alone could not be verified."""
    s = Setting(tmp_path, stack, "v1")
    mount = s.mount("fill=off", f"profile={s.profile(ORDER)}")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    pieces = list(dict.fromkeys(b // 4 for b in ORDER))
    assert_asked_first(s.seed, [4 * p + i for p in pieces for i in range(4)])


@pytest.mark.parametrize("hashes", ["reject", "ignore"])
def test_pieces_whose_leaf_hashes_nobody_gives_come_whole(tmp_path, stack, hashes):
    s = Setting(tmp_path, stack, hashes=hashes)
    mount = s.mount("fill=off", f"profile={s.profile([100, 17])}")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    whole = {100, 101, 102, 103, 16, 17, 18, 19}
    asked = asked_blocks(s.seed)
    assert list(dict.fromkeys(b // 4 for b in asked if b in whole)) == [25, 4]
    assert whole <= set(asked) <= whole | set(ENDS)


def test_without_filling_the_profile_alone_is_fetched(tmp_path, stack):
    s = Setting(tmp_path, stack)
    mount = s.mount("fill=off", f"profile={s.profile(ORDER)}")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    assert_asked_first(s.seed, ORDER)
    wait_until(lambda: mount.status()["downloaded"] == len(ORDER + ENDS) * BLOCK, mount.status)
    assert sorted(asked_blocks(s.seed)) == sorted(ORDER + ENDS)
    assert mount.status()["state"] != "complete"


def test_a_demand_goes_before_the_profile(tmp_path, stack):
    s = Setting(tmp_path, stack, unchoke=False)
    mount = s.mount("fill=off", f"profile={s.profile(ORDER)}")
    s.seed.wait_connected()
    reader = threading.Thread(target=read_blocks, args=(mount, [222]))
    reader.start()
    wait_until(lambda: mount.status()["reads"]["waiting"] == 1, "a read that waits")
    s.seed.open_connections[0].set_choking(False)
    reader.join()
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    asked = asked_blocks(s.seed)
    assert asked[0] == 222
    assert [b for b in asked if b in ORDER] == ORDER


def test_reads_that_a_profile_names_teach_no_stream(tmp_path, stack):
    """What lies behind them was not read by the boot that was recorded; reads that wait, and others."""
    s = Setting(tmp_path, stack, unchoke=False)
    named = list(range(100, 140))
    mount = s.mount("fill=off", f"profile={s.profile(named)}")
    s.seed.wait_connected()
    readers = [threading.Thread(target=read_blocks, args=(mount, [b])) for b in range(130, 140)]
    for reader in readers:
        reader.start()
    wait_until(lambda: mount.status()["reads"]["waiting"] == 10, "ten reads that wait")
    s.seed.open_connections[0].set_choking(False)
    for reader in readers:
        reader.join()
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    read_blocks(mount, named)
    read_blocks(mount, [250])  # which waits: the others have been looked at by then
    assert not set(asked_blocks(s.seed)) - {*named, *ENDS, 250}


def test_many_peers_share_a_profile(tmp_path, stack):
    """Nobody's line is left idle, no block is asked of two."""
    s = Setting(tmp_path, stack, rate=4 * MiB)
    other = stack.enter_context(Peer(s.torrent, s.image, address="127.0.0.3", rate=4 * MiB))
    order = [b for k in range(7) for b in range(8 + k, 296, 7)]
    mount = s.mount("fill=off", f"profile={s.profile(order)}", f"peer={other.peer}")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    assert len(s.seed.asked) > 20 and len(other.asked) > 20
    assert not s.seed.blocks_asked() & other.blocks_asked()


def test_a_slow_peer_does_not_hold_up_a_profile(tmp_path, stack):
    """What it would bring long after its turn is not asked of it."""
    image = random_image(tmp_path / "large.raw", 1200 * BLOCK)
    s = Setting(tmp_path, stack, image=image, rate=4 * MiB)
    slow = stack.enter_context(Peer(s.torrent, image, address="127.0.0.3", rate=50 * KiB))
    mount = s.mount("fill=off", f"profile={s.profile(list(range(8, 1192)))}", f"peer={slow.peer}")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    # Before it was known to be slow it was asked for 20: a twentieth of a second at a guessed rate, and 256 KiB.
    assert 0 < len(slow.asked) < 26


def test_reading_along_cancels_nothing(tmp_path, stack):
    """A request that is cancelled and made again comes twice."""
    s = Setting(tmp_path, stack, rate=4 * MiB, latency=0.02)
    named = list(range(8, 296))
    mount = s.mount("fill=off", f"profile={s.profile(named)}")
    s.seed.wait_asked()
    read_blocks(mount, named)
    # At the first read, no more: what had been asked for ahead of any.
    assert len(s.seed.cancelled) < 20
    assert mount.status()["wasted"] < 20 * BLOCK


def test_a_piece_that_nobody_has_does_not_hold_up_the_rest(tmp_path, stack):
    s = Setting(tmp_path, stack, have=set(range(75)) - {100 // 4})
    mount = s.mount("fill=off", f"profile={s.profile(ORDER)}")
    wait_until(lambda: mount.status()["profile"]["had"] == len(ORDER) - 1, mount.status)
    assert asked_blocks(s.seed)[:len(ORDER) - 1] == ORDER[1:]
    s.seed.send_have(100 // 4)
    p2pfs("wait", "--boot-ready", mount.mountpoint)


def test_zeros_of_a_profile_are_not_fetched(tmp_path, stack):
    image = sparse_image(tmp_path / "zeros.raw", 300 * BLOCK, [(0, 5 * PIECE)])
    s = Setting(tmp_path, stack, image=image)
    mount = s.mount("fill=off", f"profile={s.profile([200, 13, 250])}")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    assert_asked_first(s.seed, [13])


def test_a_block_that_was_wrong_is_fetched_again(tmp_path, stack):
    lies = [0]

    def lie(piece, begin):
        lies[0] += 1
        return lies[0] <= 2

    s = Setting(tmp_path, stack)
    liar = stack.enter_context(Peer(s.torrent, s.image, address="127.0.0.3", lie=lie))
    mount = s.mount("fill=off", f"profile={s.profile(ORDER)}", f"peer={liar.peer}")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    assert read_blocks(mount, ORDER) == [s.image.read_bytes()[b * BLOCK:][:BLOCK] for b in ORDER]


def test_from_a_web_seed_alone(tmp_path, stack):
    root = tmp_path / "www"
    root.mkdir()
    image = random_image(root / "image.raw", 300 * BLOCK)
    web = stack.enter_context(RangeServer(root))
    torrent = create_torrent(tmp_path / "t.torrent", image, version="v1", webseeds=[web.url + "image.raw"],
                             piece_size=PIECE)
    profile = write_profile(tmp_path / "boot", torrent, [100, 17, 250])
    mount = stack.enter_context(Mount(torrent, tmp_path, "fill=off", f"profile={profile}"))
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    starts = {int(asked.split("=")[1].split("-")[0]) for _, asked in web.asked}
    wanted = {17 // 4 * PIECE, 100 // 4 * PIECE, 250 // 4 * PIECE}
    assert starts >= wanted
    assert {start // BLOCK for start in starts - wanted} <= set(ENDS)


@pytest.mark.slow
def test_no_more_is_fetched_first_than_the_limit(tmp_path, stack):
    """64 GiB of a profile that names 65: a torrent with its profile must not take long to open."""
    image = sparse_image(tmp_path / "image.raw", 65 * GiB, [(i * GiB, BLOCK) for i in range(65)])
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=8 * MiB)
    profile = tmp_path / "boot"
    profile.write_text(f"p2pfs-profile 1 {65 * GiB} *\n0 {65 * GiB}\n")
    mount = stack.enter_context(Mount(torrent, tmp_path, f"profile={profile}"))
    assert mount.status()["profile"]["blocks"] == 1 << 22
    profile.write_text(f"p2pfs-profile 1 {65 * GiB} *\n0 {64 * GiB - 1}\n")
    below = stack.enter_context(Mount(torrent, tmp_path, f"profile={profile}", name="below"))
    assert below.status()["profile"]["blocks"] == 1 << 22


def test_ranges_need_not_be_blocks(tmp_path, stack):
    s = Setting(tmp_path, stack)
    profile = tmp_path / "boot"
    profile.write_text(f"p2pfs-profile 1 {s.torrent.size} *\n{19 * BLOCK - 1} 2\n"
                       f"{19 * BLOCK + 1} 5\n{12 * BLOCK + 17} 4\n")
    mount = s.mount("fill=off", f"profile={profile}")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    assert_asked_first(s.seed, [18, 19, 12])
    assert mount.status()["profile"] == {"blocks": 3, "had": 3, "from": str(profile)}


# -- boot-ready -------------------------------------------------------------------------------------


def test_boot_ready_is_told_once_it_is(tmp_path, stack):
    s = Setting(tmp_path, stack, stall_after=3)
    profile = s.profile(ORDER)
    mount = s.mount("fill=off", f"profile={profile}")
    wait_until(lambda: mount.status()["profile"]["had"] == 3, mount.status)
    assert mount.status()["boot_ready"] is False
    mount.wait_state("stalled")  # though nothing is filled in, and nobody reads
    late = p2pfs("wait", "--boot-ready", mount.mountpoint, "--timeout", "0", check=False)
    assert late.returncode == 1 and "3 of 8 blocks of the profile are here" in late.stderr
    s.seed.stall_after = None
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    status = mount.status()
    assert status["boot_ready"] is True
    assert status["profile"] == {"blocks": 8, "had": 8, "from": str(profile)}
    assert "boot-ready: 8 of 8 blocks here" in p2pfs("status", mount.mountpoint).stdout
    wait_until(lambda: "boot-ready" in mount.process.output(), "a line in the log")


def test_without_a_profile_nothing_says_boot_ready(tmp_path, stack):
    s = Setting(tmp_path, stack, stall_after=3)
    mount = s.mount()
    status = mount.status()
    assert status["profile"] is None and status["boot_ready"] is None
    done = p2pfs("wait", "--boot-ready", mount.mountpoint, check=False)
    assert done.returncode == 1 and "has no boot profile" in done.stderr
    late = p2pfs("wait", "--complete", "--timeout", "0", mount.mountpoint, check=False)
    assert late.returncode == 1 and f"of {300 * BLOCK} bytes are here" in late.stderr
    s.seed.stall_after = None
    p2pfs("wait", "--complete", mount.mountpoint)
    assert mount.status()["state"] == "complete"
    # What is all here boots, whatever it reads.
    p2pfs("wait", "--boot-ready", mount.mountpoint)


def test_waiting_ends_with_the_mount(tmp_path, stack):
    s = Setting(tmp_path, stack, unchoke=False)
    mount = s.mount()
    ends = []
    waiter = threading.Thread(target=lambda: ends.append(
        p2pfs("wait", "--complete", mount.mountpoint, check=False)))
    waiter.start()
    mount.stop()
    waiter.join()
    assert ends[0].returncode == 1
    assert "ended" in ends[0].stderr or "no p2pfs mount" in ends[0].stderr


@pytest.mark.parametrize("args, told", [
    (["--boot-ready"], "needs one MOUNTPOINT"),
    (["/mnt"], "for what?"),
    (["--boot-ready", "--complete", "/mnt"], "for what?"),
    (["--complete", "--timeout", "soon", "/mnt"], "--timeout soon"),
])
def test_wait_says_what_is_wrong(args, told):
    done = p2pfs("wait", *args, check=False)
    assert done.returncode == 2 and told in done.stderr


# -- which one --------------------------------------------------------------------------------------


def test_the_one_beside_the_torrent_is_used(tmp_path, stack):
    s = Setting(tmp_path, stack)
    beside = s.profile(ORDER, "image.profile")
    mount = s.mount("fill=off")
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    assert_asked_first(s.seed, ORDER)
    assert mount.status()["profile"]["from"] == str(beside)
    off = s.mount("fill=off", "profile=off", name="off")
    assert off.status()["profile"] is None


def test_a_mounts_own_is_kept_and_used_at_the_next(tmp_path, stack):
    """The store has lost its blocks, not the order."""
    s = Setting(tmp_path, stack)
    mount = s.mount("fill=off", name="first")
    read_blocks(mount, ORDER)
    entry = mount.entry
    mount.stop()
    assert blocks_of(entry / "profile") == ORDER
    (entry / "have").unlink()
    for file in (entry / "content").iterdir():
        file.unlink()
    s.seed.asked.clear()
    again = s.mount("fill=off", name="second", store=mount.store)
    p2pfs("wait", "--boot-ready", again.mountpoint)
    assert_asked_first(s.seed, ORDER)
    assert again.status()["profile"]["from"] == str(entry / "profile")
    # What this mount reads comes first in the next one's.
    read_blocks(again, [9, 30])
    again.stop()
    assert blocks_of(entry / "profile") == [9, 30] + [b for b in ORDER if b != 30]


def test_a_mounts_own_is_kept_while_it_runs(tmp_path, stack):
    """So that a crash leaves it."""
    s = Setting(tmp_path, stack)
    mount = s.mount("fill=off")
    read_blocks(mount, ORDER)
    wait_until((mount.entry / "profile").exists, "the profile in the store")
    entry = mount.entry
    mount.kill()
    assert blocks_of(entry / "profile") == ORDER


def test_a_kept_profile_that_is_bad_is_passed_over(tmp_path, stack):
    s = Setting(tmp_path, stack)
    mount = s.mount("fill=off", name="first")
    entry = mount.entry
    mount.stop()
    (entry / "profile").write_text("p2pfs-profile 1 nonsense\n")
    again = s.mount("fill=off", name="second", store=mount.store)
    assert 'line 1: size "nonsense"' in again.process.output()
    assert again.status()["profile"] is None
    read_blocks(again, [5])
    again.stop()
    assert blocks_of(entry / "profile") == [5]


# -- what is wrong with it --------------------------------------------------------------------------


def bad_profiles(torrent):
    head = f"p2pfs-profile 1 {torrent.size} {torrent.hashes[0]}\n"
    other = "0123456789abcdef" * 2 + "01234567"
    return [
        (head + "0 16384\nhello\n", 'line 3: "hello": not "OFFSET LENGTH"'),
        (head + "0 16384\n16383 5\n", 'line 3: "16383 5": overlaps line 2'),
        (head + f"{torrent.size} 1\n", f'line 2: "{torrent.size} 1": goes past the size'),
        ("d4:infoe", 'line 1: "d4:infoe": no profile'),
        (f"p2pfs-profile 1 {torrent.size} {other}\n0 1\n", f"for torrent {other}, this one is {torrent.hashes[0]}"),
        ("p2pfs-profile 1 5 *\n0 1\n", f"for a torrent of 5 bytes, this one has {torrent.size}"),
    ]


@pytest.mark.parametrize("which", range(6))
def test_a_bad_profile_that_was_named_is_an_error(tmp_path, stack, which):
    s = Setting(tmp_path, stack)
    text, why = bad_profiles(s.torrent)[which]
    (tmp_path / "bad").write_text(text)
    with pytest.raises(MountFailed) as failed:
        s.mount(f"profile={tmp_path}/bad")
    assert f"profile: {tmp_path}/bad: " in failed.value.message and why in failed.value.message


def test_a_named_profile_that_is_not_there_is_an_error(tmp_path, stack):
    s = Setting(tmp_path, stack)
    with pytest.raises(MountFailed) as failed:
        s.mount(f"profile={tmp_path}/none")
    assert f"{tmp_path}/none: No such file" in failed.value.message


@pytest.mark.parametrize("which", range(6))
def test_a_bad_profile_beside_the_torrent_is_a_warning(tmp_path, stack, which):
    """Nobody asked for it: the image is to be had all the same."""
    s = Setting(tmp_path, stack)
    text, why = bad_profiles(s.torrent)[which]
    (tmp_path / "image.profile").write_text(text)
    mount = s.mount("fill=off")
    assert why in mount.process.output()
    assert mount.status()["profile"] is None


# -- in the .torrent --------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_create_carries_it_and_the_info_hash_stays(tmp_path, stack, version):
    s = Setting(tmp_path, stack)
    plain = create_torrent(tmp_path / "plain.torrent", s.image, version=version, piece_size=PIECE)
    # Recorded with a hybrid, put into any: the contents are the same.
    carrying = create_torrent(tmp_path / "carrying.torrent", s.image, "--profile", s.profile(ORDER),
                              version=version, piece_size=PIECE)
    assert carrying.hashes == plain.hashes
    told = json.loads(p2pfs("show", "--json", carrying).stdout)
    assert told["profile"] == {"ranges": len(ORDER), "bytes": len(ORDER) * BLOCK}
    assert "Boot Profile: 8 ranges, 128.0 KiB" in p2pfs("show", carrying).stdout
    assert "profile" not in json.loads(p2pfs("show", "--json", plain).stdout)
    p2pfs("edit", "-a", "http://tracker.example/announce", carrying)
    assert Torrent(carrying.path).hashes == plain.hashes
    assert json.loads(p2pfs("show", "--json", carrying).stdout)["profile"] == told["profile"]


def test_a_mount_uses_the_torrents_and_keeps_it_in_the_store(tmp_path, stack):
    s = Setting(tmp_path, stack)
    carrying = create_torrent(tmp_path / "carrying.torrent", s.image, "--profile", s.profile(ORDER), piece_size=PIECE)
    seed = stack.enter_context(Peer(carrying, s.image, address="127.0.0.3"))
    mount = stack.enter_context(Mount(carrying, tmp_path, f"peer={seed.peer}", "fill=off"))
    p2pfs("wait", "--boot-ready", mount.mountpoint)
    assert_asked_first(seed, ORDER)
    assert mount.status()["profile"]["from"] == "the torrent"
    assert "profile" in json.loads(p2pfs("show", "--json", mount.entry / "metainfo.torrent").stdout)


def test_create_refuses_a_profile_of_another_size(tmp_path, stack):
    s = Setting(tmp_path, stack)
    done = p2pfs("create", "-o", tmp_path / "t", "--profile", s.profile(ORDER, size=5000 * BLOCK), s.image,
                 check=False)
    assert done.returncode == 1
    assert f"the profile is for {5000 * BLOCK} bytes, not {300 * BLOCK}" in done.stderr
    done = p2pfs("create", "-o", tmp_path / "t", "--profile", s.image, s.image, check=False)
    assert done.returncode == 1 and f"{s.image}: line 1: " in done.stderr
    assert not (tmp_path / "t").exists()


def test_a_bad_one_in_a_torrent_is_left_out_with_a_warning(tmp_path, stack):
    s = Setting(tmp_path, stack)
    carrying = create_torrent(tmp_path / "carrying.torrent", s.image, "--profile", s.profile(ORDER), piece_size=PIECE)
    raw = carrying.path.read_bytes()
    assert raw.count(b"\n1638400 16384\n") == 1
    carrying.path.write_bytes(raw.replace(b"\n1638400 16384\n", b"\n1638400 1638x\n"))
    done = p2pfs("show", "--json", carrying)
    assert 'its boot profile is left out: line 2: "1638400 1638x"' in done.stderr
    assert "profile" not in json.loads(done.stdout)


# -- the command ------------------------------------------------------------------------------------


def test_merge_keeps_the_first_and_adds_what_others_have(tmp_path, stack):
    s = Setting(tmp_path, stack)
    one, two = s.profile([5, 1, 9], "one"), s.profile([9, 2, 5, 7], "two")
    three = s.profile([3], "three", of="0" * 64)
    p2pfs("profile", "merge", tmp_path / "both", one, two)
    assert blocks_of(tmp_path / "both") == [5, 1, 9, 2, 7]
    told = json.loads(p2pfs("profile", "show", "--json", tmp_path / "both").stdout)
    assert told == {"torrent": s.torrent.hashes[0], "size": s.torrent.size, "ranges": 5, "bytes": 5 * BLOCK}
    # Of two torrents: for any of this size.  The result may be one of those that it is made of.
    p2pfs("profile", "merge", one, one, two, three)
    assert blocks_of(one) == [5, 1, 9, 2, 7, 3]
    assert json.loads(p2pfs("profile", "show", "--json", one).stdout)["torrent"] is None
    shown = p2pfs("profile", "show", one).stdout
    assert "any of that size" in shown and "96.0 KiB in 6 ranges" in shown


def test_merge_refuses_another_size(tmp_path, stack):
    s = Setting(tmp_path, stack)
    done = p2pfs("profile", "merge", tmp_path / "out", s.profile([1], "one"), s.profile([1], "two", size=7 * MiB),
                 check=False)
    assert done.returncode == 1 and f"{tmp_path}/two: for a torrent of {7 * MiB} bytes" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("args, told", [
    ([], "save, show or merge?"),
    (["load", "x"], "load: not save, show or merge"),
    (["show"], "show: needs one FILE, got 0"),
    (["show", "a", "b"], "show: needs one FILE, got 2"),
    (["save", "a"], "save: needs MOUNTPOINT and FILE, got 1"),
    (["merge", "a"], "merge: needs FILE and at least one FROM, got 1"),
    (["merge", "--json", "a", "b"], "--json: goes with show"),
])
def test_the_command_says_what_is_wrong(args, told):
    done = p2pfs("profile", *args, check=False)
    assert done.returncode == 2 and told in done.stderr


def test_save_where_nothing_is_mounted(tmp_path):
    done = p2pfs("profile", "save", tmp_path, tmp_path / "out", check=False)
    assert done.returncode == 1 and "no p2pfs mount there" in done.stderr
