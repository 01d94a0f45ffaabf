# SPDX-License-Identifier: MIT
"""A memory of its own: restarts, kill -9, damaged and foreign files, a full disk."""

import contextlib
import json
import os
import sqlite3
import subprocess

import pytest

from lib.announcer import HASH, HttpAnnouncer
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


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return dict((bytes(h), (d, len(p))) for h, d, p in db.execute("SELECT hash, downloaded, peers FROM swarm"))


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
    torrents, known = 50, 0
    options = ["--state", tmp_path / "state", "--interval", "600-1800"]
    for turn in range(3):
        with P2pfsTracker(tmp_path, *options, name=f"turn{turn}") as tracker:
            assert stats(tracker)["peers"] >= known
            load = [DRIVERS / "track_load", "udp", tracker.address, tracker.port, "rate=2000", "seconds=60",
                    "peers=60000", f"torrents={torrents}"]
            with Daemon(load, tmp_path / f"load{turn}.log") as announcing:
                wait_until(lambda: stats(tracker)["peers"] >= known + 1000, lambda: f"peers: {stats(tracker)}")
                before = stats(tracker)
                # A round writes each torrent at most once; the second one begins after `before`.
                wait_until(lambda: stats(tracker)["state"]["written"] >= before["state"]["written"] + 2 * torrents,
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
], ids=["text", "cut", "noise", "foreign", "version"])
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
            ["INSERT INTO swarm VALUES (?, 1, ?)", OTHER, b"\1\2\3"],
            ["INSERT INTO swarm VALUES (?, -5, ?)", b"short", b""])
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--state", tmp_path / "state", name="second"))
    tracker.wait_output("2 rows are damaged: left out")
    assert HttpAnnouncer(tracker.url).scrape(HASH) == {HASH: (0, 0, 1)}


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
