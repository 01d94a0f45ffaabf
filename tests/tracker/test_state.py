# SPDX-License-Identifier: MIT
"""A memory of its own: restarts, kill -9, damaged and foreign files, a full disk."""

import contextlib
import json
import os
import sqlite3
import subprocess

import pytest

from lib.announcer import HASH, HttpAnnouncer, track_load
from lib.drivers import DRIVERS
from lib.process import Daemon, p2pfs
from lib.trackers import P2pfsTracker
from lib.wait import wait_until

OTHER = bytes(range(20, 40))


def stats(tracker):
    return json.loads(HttpAnnouncer(tracker.url).get("/stats.json")[1])


def wait_written(tracker):
    """Until what was announced is on disk."""
    wait_until(lambda: stats(tracker)["state"]["written"] > 0 and stats(tracker)["state"]["behind"] == 0,
               lambda: f"the state to be written: {stats(tracker)['state']}")


def execute(path, *statements):
    """On a database that nobody has; closed again."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for statement, *values in statements:
            db.execute(statement, values)


def select(path, statement):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute(statement).fetchall()


def rows(path):
    """{info-hash: (downloaded, bytes of peers)}"""
    counts = {bytes(h): d for h, d in select(path, "SELECT hash, downloaded FROM swarm")}
    peers = {bytes(h): n for h, n in select(path, "SELECT hash, sum(length(peers)) FROM peers GROUP BY hash")}
    return {h: (counts.get(h, 0), peers.get(h, 0)) for h in {*counts, *peers}}


def test_peers_and_counts_survive_a_restart(tmp_path, stack):
    with P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="first") as tracker:
        ask = HttpAnnouncer(tracker.url)
        ask.announce(1)
        ask.announce(1, left=0, event="completed")
        ask.announce(2)
        ask.announce(9, info_hash=OTHER, left=0)
        ask.announce(9, info_hash=OTHER, left=0, event="stopped")
    assert rows(tmp_path / "state" / "tracker.sqlite") == {HASH: (1, 62)}
    assert os.stat(tmp_path / "state").st_mode & 0o777 == 0o700
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="second"))
    ask = HttpAnnouncer(tracker.url)
    assert ask.scrape(HASH, OTHER) == {HASH: (1, 1, 1), OTHER: (0, 0, 0)}
    assert ask.announce(3).peers == {("127.0.0.1", 10001), ("127.0.0.1", 10002)}


def test_kill_9_loses_nothing_that_was_written(tmp_path, stack):
    with P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="first") as tracker:
        ask = HttpAnnouncer(tracker.url)
        for number in range(1, 301):
            ask.announce(number, left=number % 3, numwant=0)
        wait_written(tracker)
        ask.announce(301, info_hash=OTHER)
        tracker.kill()
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="second"))
    assert HttpAnnouncer(tracker.url).scrape(HASH) == {HASH: (100, 0, 200)}


@pytest.mark.slow
def test_kill_9_under_load_again_and_again(tmp_path):
    """Two thousand announce a second; each time it comes back with all but the last seconds, and a sound file."""
    known = 0
    options = ["--state", tmp_path / "state", "--interval", "600-1800"]
    for turn in range(3):
        with P2pfsTracker(tmp_path, *options, name=f"turn{turn}") as tracker:
            assert stats(tracker)["peers"] >= known
            load = [DRIVERS / "track_load", "udp", tracker.address, tracker.port, "rate=2000", "seconds=60",
                    "peers=60000", "torrents=50"]
            with Daemon(load, tmp_path / f"load{turn}.log") as announcing:
                wait_until(lambda: stats(tracker)["peers"] >= known + 1000, lambda: f"peers: {stats(tracker)}")
                before = stats(tracker)
                # The second one begins after `before`.
                wait_until(lambda: stats(tracker)["state"]["rounds"] >= before["state"]["rounds"] + 2,
                           lambda: f"two rounds of writing: {stats(tracker)['state']}")
                assert announcing.alive(), announcing.output()
                tracker.kill()
            known = before["peers"]
        assert "set aside" not in tracker.output()


@pytest.mark.parametrize("damage, says", [
    (lambda path: path.write_bytes(b"not a database at all, but long enough to be read as one" * 100), "is damaged"),
    (lambda path: path.write_bytes(path.read_bytes()[:4096 + 17]), "is damaged"),
    (lambda path: path.write_bytes(path.read_bytes()[:100] + os.urandom(len(path.read_bytes()) - 100)), "is damaged"),
    (lambda path: execute(path, ["PRAGMA application_id=7"]), "is not a tracker's state"),
    (lambda path: execute(path, ["PRAGMA user_version=99"]), "is of another version"),
    (lambda path: execute(path, ["DROP TABLE peers"], ["CREATE TABLE peers (pears)"]), "is damaged"),
    (lambda path: execute(path, ["PRAGMA user_version=1"]), "has other tables than a tracker's state"),
], ids=["text", "cut", "noise", "foreign", "version", "tables", "not so old"])
def test_a_file_that_is_no_use_is_set_aside(tmp_path, stack, damage, says):
    path = tmp_path / "state" / "tracker.sqlite"
    with P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="first") as tracker:
        for number in range(1, 200):
            HttpAnnouncer(tracker.url).announce(number, info_hash=number.to_bytes(20, "big"), numwant=0)
    damage(path)
    before = path.read_bytes()
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="second"))
    tracker.wait_output(says + r": set aside as .*tracker\.sqlite\.bad-\d+, beginning anew")
    aside = [p for p in path.parent.iterdir() if ".bad-" in p.name and not p.name.endswith(("-wal", "-shm"))]
    assert [p.read_bytes() for p in aside] == [before]
    HttpAnnouncer(tracker.url).announce(1)
    wait_written(tracker)


def test_a_bad_row_is_left_out(tmp_path, stack):
    with P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="first") as tracker:
        HttpAnnouncer(tracker.url).announce(1)
    execute(tmp_path / "state" / "tracker.sqlite",
            ["INSERT INTO peers VALUES (?, 1, 0, ?)", OTHER, b"\1\2\3"],
            ["INSERT INTO swarm VALUES (?, -5)", b"short"])
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="second"))
    tracker.wait_output("2 rows are damaged: left out")
    assert HttpAnnouncer(tracker.url).scrape(HASH) == {HASH: (0, 0, 1)}


def test_a_file_of_the_version_before_is_taken_over(tmp_path, stack):
    path = tmp_path / "state" / "tracker.sqlite"
    path.parent.mkdir()
    peer = bytes([1, 192, 0, 2, 7, 0x1a, 0xe1]) + b"-PF0100-000000000007" + bytes([0, 60, 2, 88])
    leecher = bytes([0, 192, 0, 2, 8, 0x1a, 0xe1]) + b"-PF0100-000000000008" + bytes([0, 60, 2, 88])
    execute(path, ["CREATE TABLE swarm (hash BLOB PRIMARY KEY NOT NULL, downloaded INTEGER NOT NULL, peers BLOB NOT NULL)"],
            ["PRAGMA application_id=1882354802"], ["PRAGMA user_version=1"],
            ["INSERT INTO swarm VALUES (?, 5, ?)", HASH, peer + leecher], ["INSERT INTO swarm VALUES (?, 9, x'')", OTHER])
    with P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="first") as tracker:
        tracker.wait_output("2 peers of 2 torrents are back")
        assert HttpAnnouncer(tracker.url).scrape(HASH, OTHER) == {HASH: (1, 5, 1), OTHER: (0, 9, 0)}
    assert rows(path) == {HASH: (5, 62), OTHER: (9, 0)}
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="second"))
    assert HttpAnnouncer(tracker.url).announce(3).peers == {("192.0.2.7", 6881), ("192.0.2.8", 6881)}


def test_one_more_of_a_big_swarm_writes_little(tmp_path, stack):
    """Of twenty thousand peers of one torrent, not all again."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state"))
    count = 20000
    (tmp_path / "hash").write_text(HASH.hex() + "\n")
    assert track_load("udp", tracker, hashes=tmp_path / "hash", nodes=1, count=count, seconds=60)["lost"] == 0
    wait_written(tracker)
    before = stats(tracker)["state"]
    assert before["bytes"] >= 31 * count
    HttpAnnouncer(tracker.url).announce(1, port=999)
    wait_until(lambda: stats(tracker)["state"]["rounds"] > before["rounds"], "it to be written")
    wait_written(tracker)
    assert stats(tracker)["state"]["written"] - before["written"] <= 2
    assert 31 <= stats(tracker)["state"]["bytes"] - before["bytes"] <= 2 * 256 * 31


def test_a_start_leaves_only_rows_of_its_own(tmp_path, stack):
    """Killed in the midst of writing all anew, it finds those of the run before, too."""
    path = tmp_path / "state" / "tracker.sqlite"
    with P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="first") as tracker:
        for number in range(1, 601):
            HttpAnnouncer(tracker.url).announce(number, numwant=0)
    assert {run for run, in select(path, "SELECT run FROM peers")} == {1}
    for turn in range(2, 5):
        with P2pfsTracker(tmp_path, "--state", tmp_path / "state", name=f"turn{turn}") as tracker:
            assert HttpAnnouncer(tracker.url).scrape(HASH) == {HASH: (0, 0, 600)}
            wait_written(tracker)
            tracker.kill()
        assert {run for run, in select(path, "SELECT run FROM peers")} == {turn}
    execute(path, ["INSERT INTO peers SELECT hash, ?, place, peers FROM peers WHERE place = 0", 2**63 - 1])
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="half"))
    assert HttpAnnouncer(tracker.url).scrape(HASH) == {HASH: (0, 0, 600)}
    wait_written(tracker)
    tracker.kill()
    assert {run for run, in select(path, "SELECT run FROM peers")} == {0}


def test_what_is_forgotten_leaves_the_disk(tmp_path, stack):
    """A torrent without peers or a count, and the count of one that had to make room."""
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state", "--max-torrents", "2"))
    ask = HttpAnnouncer(tracker.url)
    ask.announce(1, info_hash=b"a" * 20)
    ask.announce(1, info_hash=b"b" * 20, left=0, event="completed")
    wait_written(tracker)
    ask.announce(1, info_hash=b"a" * 20, event="stopped")
    ask.announce(1, info_hash=b"b" * 20, left=0, event="stopped")
    for name in (b"c", b"d"):
        assert ask.announce(1, info_hash=name * 20).failure is None
    wait_written(tracker)
    tracker.kill()
    assert rows(tmp_path / "state" / "tracker.sqlite") == {b"c" * 20: (0, 31), b"d" * 20: (0, 31)}


def test_one_state_has_one_tracker(tmp_path, stack):
    stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state"))
    done = p2pfs("tracker", "--listen", "127.0.0.1:0", "--state", tmp_path / "state", check=False)
    assert done.returncode == 1 and "another tracker has it" in done.stderr


def test_a_full_disk_costs_no_announce(tmp_path, stack):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "p2pfs-test", disk], check=True)
    stack.callback(subprocess.run, ["umount", disk], check=True)
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", disk / "state"))
    ask = HttpAnnouncer(tracker.url)
    filler = disk / "filler"
    with open(filler, "wb", buffering=0) as out:
        with pytest.raises(OSError):
            while True:
                out.write(bytes(4096))
    for number in range(1, 300):
        assert ask.announce(number, info_hash=number.to_bytes(20, "big")).failure is None
    tracker.wait_output(r"warning: .*(full|disk I/O error): serving on, trying again")
    assert stats(tracker)["state"]["is"] == "bad"
    filler.unlink()
    tracker.wait_output("is written again")
    wait_until(lambda: stats(tracker)["state"]["behind"] == 0, "all of it to be written")
    tracker.kill()
    assert len(rows(disk / "state" / "tracker.sqlite")) == 299
