# SPDX-License-Identifier: MIT
"""Whom it serves: lists of torrents, passkeys, limits per address; and sites."""

import os
import pathlib
import signal

import pytest

from lib import torrents
from lib.announcer import HASH, HttpAnnouncer, UdpAnnouncer
from lib.trackers import P2pfsTracker
from lib.wait import wait_until

OTHER = bytes(range(20, 40))
REFUSED = "this torrent is not served here"


def replace(path, text):
    """As editors do: a new file over the old one."""
    fresh = pathlib.Path(f"{path}.new")
    fresh.write_text(text)
    os.rename(fresh, path)


def test_a_list_of_hashes_that_changes(tmp_path, stack):
    allow = tmp_path / "allow"
    allow.write_text(f"# ours\n{HASH.hex()}\n")
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--allow", allow))
    ask, udp = HttpAnnouncer(tracker.url), stack.enter_context(UdpAnnouncer(tracker.udp))
    assert ask.announce(1).failure is None
    refused = ask.announce(1, info_hash=OTHER)
    assert refused.failure == REFUSED and refused[b"retry in"] == 30
    assert udp.announce(1, info_hash=OTHER).failure == REFUSED
    assert ask.scrape(OTHER) == {OTHER: (0, 0, 0)}
    replace(allow, f"{OTHER.hex()}\n")
    wait_until(lambda: ask.announce(1, info_hash=OTHER).failure is None, "the change to be seen by itself")
    assert ask.announce(1).failure == REFUSED


def test_sighup_and_a_bad_list(tmp_path, stack):
    allow = tmp_path / "allow"
    allow.write_text(f"{HASH.hex()}\n")
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--allow", allow))
    ask = HttpAnnouncer(tracker.url)
    allow.write_text("nonsense\n")
    tracker.signal(signal.SIGHUP)
    tracker.wait_output(r"allow: line 1: nonsense: not an info-hash.*the lists of before stay in force")
    assert ask.announce(1).failure is None
    assert ask.announce(1, info_hash=OTHER).failure == REFUSED


def test_a_folder_of_torrents(tmp_path, stack):
    folder = tmp_path / "torrents"
    folder.mkdir()
    content = torrents.random_image(tmp_path / "image", 1 << 20)
    hybrid = torrents.make_torrent(folder / "a.torrent", content)
    (folder / "junk.torrent").write_text("no torrent")
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--allow", folder))
    ask = HttpAnnouncer(tracker.url)
    tracker.wait_output(r"junk\.torrent: .*left out")
    for info_hash in (hybrid.v1, hybrid.v2):
        assert ask.announce(1, info_hash=bytes.fromhex(info_hash)[:20]).failure is None
    later = torrents.make_torrent(tmp_path / "b", content, version="v1", piece_size=1 << 18, private=True)
    v1 = bytes.fromhex(later.v1)
    assert ask.announce(1, info_hash=v1).failure == REFUSED
    os.rename(later.path, folder / "b.torrent")
    wait_until(lambda: ask.announce(1, info_hash=v1).failure is None, "the new torrent to be served")


def test_passkeys(tmp_path, stack):
    keys = tmp_path / "keys"
    keys.write_text("alicekey1 alice\nbobskey22 bob\n")
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--passkeys", keys))
    base = f"127.0.0.1:{tracker.port}"
    alice = HttpAnnouncer(f"http://{base}/alicekey1/announce")
    alice.announce(1, left=0)
    assert list(alice.scrape(HASH).values()) == [(1, 0, 0)]
    with UdpAnnouncer(f"udp://{base}/bobskey22/announce") as bob:
        assert bob.announce(2).peers == {("127.0.0.1", 10001)}
    for url in (f"http://{base}/announce", f"http://{base}/wrongkey1/announce"):
        reply = HttpAnnouncer(url).announce(3)
        assert reply.failure == "the passkey is missing or unknown" and reply[b"retry in"] == b"never"
    with UdpAnnouncer(f"udp://{base}/wrongkey1/announce") as mallory:
        assert "passkey" in mallory.announce(3).failure
    replace(keys, "alicekey1 alice\n")
    tracker.signal(signal.SIGHUP)
    with UdpAnnouncer(f"udp://{base}/bobskey22/announce") as bob:
        wait_until(lambda: bob.announce(2).failure, "bob's key to be revoked")
    assert alice.announce(1).failure is None
    assert "key1" not in tracker.output() and "key22" not in tracker.output()


def test_a_rate_per_address(tmp_path, stack):
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--rate", "1"))
    greedy, modest = HttpAnnouncer(tracker.url), HttpAnnouncer(tracker.url, source="127.0.0.9")
    failures = [greedy.announce(1).failure for _ in range(60)]
    assert failures[:10] == [None] * 10
    assert failures[-1] == "too many requests from your address"
    assert greedy.announce(1)[b"retry in"] == 1
    assert modest.announce(2).failure is None
    # It counts for all that they ask.
    for page in ("/stats", "/metrics", "/scrape.php?stats"):
        wait_until(lambda: greedy.get(page)[0] == 429, f"{page} to be refused")
        assert modest.get(page)[0] == 200


def test_a_full_scrape_names_only_what_is_served(tmp_path, stack):
    allow = tmp_path / "allow"
    allow.write_text(HASH.hex() + "\n" + "0f" * 20 + "\n")
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--allow", allow, "--full-scrape"))
    ask = HttpAnnouncer(tracker.url)
    ask.announce(1)
    ask.announce(1, info_hash=b"\x0f" * 20)
    assert set(ask.scrape()) == {HASH, b"\x0f" * 20}
    replace(allow, HASH.hex() + "\n")
    tracker.signal(signal.SIGHUP)
    wait_until(lambda: set(ask.scrape()) == {HASH}, lambda: f"one to be left: {ask.scrape()}")


def test_peers_of_one_site_come_first(tmp_path, stack):
    sites = tmp_path / "sites"
    sites.write_text("127.0.1.0/24 berlin\n127.0.2.0/24 paris\n")
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--sites", sites))
    for number in range(1, 41):
        site = 1 + number % 2
        HttpAnnouncer(tracker.url, source=f"127.0.{site}.{number}").announce(number)
    got = HttpAnnouncer(tracker.url, source="127.0.2.200").announce(200, numwant=12).peers
    assert len(got) == 12
    assert sum(address.startswith("127.0.2.") for address, _ in got) == 9  # and a quarter from elsewhere


@pytest.mark.parametrize("option, text, says", [
    ("--sites", "10.0.0.0/8\n", "line 1: 10.0.0.0/8: a network and the name of its site are wanted"),
    ("--sites", "10.0.0.0/40 x\n", "not the length of a prefix"),
    ("--passkeys", "short\n", "line 1: *: not a passkey"),
    ("--allow", "xyz\n", "line 1: xyz: not an info-hash"),
])
def test_a_bad_file_at_the_start_is_told(tmp_path, option, text, says):
    from lib.process import p2pfs
    (tmp_path / "file").write_text(text)
    done = p2pfs("tracker", "--listen", "127.0.0.1:0", option, tmp_path / "file", check=False)
    assert done.returncode == 1 and says in done.stderr
