# SPDX-License-Identifier: MIT
"""Several trackers as one, through Redis that comes and goes."""

import collections
import contextlib
import json
import socket
import struct
import threading

import pytest

from lib.announcer import HASH, HttpAnnouncer, track_load
from lib.process import P2PFS, Daemon
from lib.trackers import P2pfsTracker, Tracker
from lib.wait import free_port, wait_listening, wait_until


class Redis(Daemon):
    def __init__(self, where, port=None, *options, name="redis"):
        self.port = port or free_port()
        super().__init__(["redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "", "--dir", where,
                          *options], where / f"{name}.log", name=name)
        try:
            wait_listening(self.port, self)
        except BaseException:
            self.kill()
            raise

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


@pytest.fixture
def redis(tmp_path, stack):
    return stack.enter_context(Redis(tmp_path))


def cluster(tracker):
    return json.loads(HttpAnnouncer(tracker.url).get("/stats.json")[1])["cluster"]


def start(tmp_path, stack, url, name, *options):
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--cluster", url, *options, name=name))
    wait_until(lambda: cluster(tracker)["is"] == "good", lambda: f"{name} in the cluster: {tracker.output()}")
    return tracker, HttpAnnouncer(tracker.url)


def wait_scrape(ask, want):
    wait_until(lambda: ask.scrape(HASH)[HASH] == want, lambda: f"{want}, not {ask.scrape(HASH)[HASH]}")


def test_what_one_hears_all_answer(tmp_path, stack, redis):
    a, ask_a = start(tmp_path, stack, redis.url, "a")
    b, ask_b = start(tmp_path, stack, redis.url, "b")
    ask_a.announce(1)
    ask_a.announce(1, left=0, event="completed")
    wait_scrape(ask_b, (1, 1, 0))
    assert ask_b.announce(2).peers == {("127.0.0.1", 10001)}
    wait_scrape(ask_a, (1, 1, 1))
    assert ask_a.announce(3).peers == {("127.0.0.1", 10001), ("127.0.0.1", 10002)}
    wait_scrape(ask_b, (1, 1, 2))
    # Whoever hears that one has stopped tells the others.
    ask_b.announce(1, left=0, event="stopped")
    wait_scrape(ask_a, (0, 1, 2))


def test_counts_of_two_trackers_add_up(tmp_path, stack, redis):
    a, ask_a = start(tmp_path, stack, redis.url, "a")
    b, ask_b = start(tmp_path, stack, redis.url, "b")
    for number in range(1, 21):
        ask = ask_a if number % 2 else ask_b
        ask.announce(number, left=0, event="completed", numwant=0)
    wait_scrape(ask_a, (20, 20, 0))
    wait_scrape(ask_b, (20, 20, 0))


def test_one_that_starts_later_knows_it_all(tmp_path, stack, redis):
    with P2pfsTracker(tmp_path, "--cluster", redis.url, name="first") as first:
        wait_until(lambda: cluster(first)["is"] == "good", "the first in the cluster")
        ask = HttpAnnouncer(first.url)
        for number in range(1, 101):
            ask.announce(number, left=number % 2, event="completed" if number == 2 else None, numwant=0)
        with P2pfsTracker(tmp_path, "--cluster", redis.url, name="beside") as beside:
            wait_scrape(HttpAnnouncer(beside.url), (50, 1, 50))
        first.kill()
    later, ask = start(tmp_path, stack, redis.url, "later")
    wait_scrape(ask, (50, 1, 50))


def test_redis_killed_and_back(tmp_path, stack):
    redis = stack.enter_context(Redis(tmp_path))
    a, ask_a = start(tmp_path, stack, redis.url, "a")
    b, ask_b = start(tmp_path, stack, redis.url, "b")
    ask_a.announce(1, left=0)
    wait_scrape(ask_b, (1, 0, 0))
    redis.kill()
    for tracker in (a, b):
        tracker.wait_output(r"warning: Redis at 127\.0\.0\.1:\d+ is away: .*: serving from memory")
        assert cluster(tracker)["is"] == "bad"
    # Each serves on from what it knows.
    assert ask_a.announce(2, left=0).failure is None
    assert ask_b.announce(3).peers == {("127.0.0.1", 10001)}
    stack.enter_context(Redis(tmp_path, redis.port, name="redis-again"))
    for tracker in (a, b):
        tracker.wait_output("is back")
    # Redis came back empty: the two have filled it again, and know what the other heard meanwhile.
    wait_scrape(ask_a, (2, 0, 1))
    wait_scrape(ask_b, (2, 0, 1))
    c, ask_c = start(tmp_path, stack, redis.url, "c")
    wait_scrape(ask_c, (2, 0, 1))


def test_it_starts_without_redis(tmp_path, stack):
    port = free_port()
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--cluster", f"redis://127.0.0.1:{port}"))
    tracker.wait_output("is away: Connection refused: serving from memory")
    assert HttpAnnouncer(tracker.url).announce(1).failure is None
    stack.enter_context(Redis(tmp_path, port))
    tracker.wait_output("is back")
    assert tracker.output().count("is away") == 1


def test_a_password_from_a_file(tmp_path, stack):
    redis = stack.enter_context(Redis(tmp_path, None, "--requirepass", "open-sesame"))
    (tmp_path / "secret").write_text("open-sesame\n")
    tracker, ask = start(tmp_path, stack, redis.url, "a", "--cluster-secret", tmp_path / "secret")
    assert ask.announce(1).failure is None
    (tmp_path / "wrong").write_text("open-barley\n")
    other = stack.enter_context(P2pfsTracker(tmp_path, "--cluster", redis.url, "--cluster-secret", tmp_path / "wrong",
                                             name="b"))
    other.wait_output("is away: (WRONGPASS|NOAUTH)")
    assert "open-" not in tracker.output() + other.output()


def test_what_no_tracker_wrote_is_ignored(tmp_path, stack, redis):
    from redis import Redis as Client
    client = Client(port=redis.port)
    client.hset("p2pfs:swarm:" + HASH.hex(), "field", "value")
    client.hset("p2pfs:swarm:nonsense", "field", "value")
    client.hset("p2pfs:downloaded", "short", "many")
    tracker, ask = start(tmp_path, stack, redis.url, "a")
    tracker.wait_output("holds what no tracker of this version wrote: ignored")
    client.publish("p2pfs:tracker:0", b"junk")
    client.publish("p2pfs:tracker:0", bytes(8) + b"\x09" * 68)
    client.close()
    ask.announce(1)
    assert ask.announce(2).peers == {("127.0.0.1", 10001)}


def test_databases_are_apart(tmp_path, stack, redis):
    a, ask_a = start(tmp_path, stack, redis.url, "a")
    b, ask_b = start(tmp_path, stack, redis.url + "/1", "b")
    c, ask_c = start(tmp_path, stack, redis.url, "c")
    ask_a.announce(1)
    wait_scrape(ask_c, (0, 0, 1))
    assert ask_b.scrape(HASH)[HASH] == (0, 0, 0)


def test_a_redis_that_cannot_write_is_away(tmp_path, stack):
    redis = stack.enter_context(Redis(tmp_path, None, "--maxmemory", "1"))
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--cluster", redis.url))
    ask = HttpAnnouncer(tracker.url)
    def told():
        assert ask.announce(1).failure is None
        return "OOM" in tracker.output()
    wait_until(told, tracker.output)


def test_away_is_said_once_however_often_it_is_tried(tmp_path, stack):
    """A Redis that can be read but not written is no Redis that is back."""
    from redis import Redis as Client
    redis = stack.enter_context(Redis(tmp_path, None, "--maxmemory", "1"))
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--cluster", redis.url))
    with contextlib.closing(Client(port=redis.port)) as client:
        wait_until(lambda: client.info("stats")["total_connections_received"] >= 7, "three tries, each of two connections")
        assert tracker.output().count("is away") == 1 and "is back" not in tracker.output()
        assert (cluster(tracker)["is"], cluster(tracker)["outages"]) == ("bad", 1)
        client.config_set("maxmemory", 0)
    tracker.wait_output("is back")
    wait_until(lambda: cluster(tracker)["is"] == "good", tracker.output)


def test_a_large_swarm_is_told_and_read_in_parts(tmp_path, stack):
    port, count = free_port(), 20000
    (tmp_path / "hash").write_text(HASH.hex() + "\n")
    first = stack.enter_context(P2pfsTracker(tmp_path, "--cluster", f"redis://127.0.0.1:{port}", name="first"))
    assert track_load("udp", first, hashes=tmp_path / "hash", nodes=1, count=count, seconds=60)["lost"] == 0
    redis = stack.enter_context(Redis(tmp_path, port))
    first.wait_output("is back")
    wait_until(lambda: cluster(first)["sent"] >= count, lambda: f"all of it to be told: {cluster(first)}")
    later, ask = start(tmp_path, stack, redis.url, "later")
    assert ask.scrape(HASH)[HASH] == (1, 0, count - 1)


def test_what_nobody_deleted_in_time_is_deleted(tmp_path, stack, redis):
    from redis import Redis as Client
    key = "p2pfs:swarm:" + HASH.hex()
    value = b"\0" + b"-PF0100-000000000001" + struct.pack(">HHI", 30, 60, 1000000)
    with contextlib.closing(Client(port=redis.port)) as client:
        client.hset(key, bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1]) + b"\0\1", value)
        start(tmp_path, stack, redis.url, "a")
        wait_until(lambda: not client.hlen(key), lambda: f"{client.hgetall(key)} to be deleted")


def test_of_several_addresses_one_that_answers_is_found(tmp_path, stack, redis):
    hosts, port = tmp_path / "hosts", free_port()
    hosts.write_text("127.0.0.9 redis-of-two\n127.0.0.1 redis-of-two\n")
    argv = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts,
            P2PFS, "tracker", "--listen", f"127.0.0.1:{port}", "--cluster", f"redis://redis-of-two:{redis.port}"]
    tracker = stack.enter_context(Tracker(argv, tmp_path / "tracker.log", "127.0.0.1", port))
    wait_until(lambda: cluster(tracker)["is"] == "good", tracker.output)


def test_http_connections_leave_descriptors_for_redis(tmp_path, stack):
    redis_port, port = free_port(), free_port()
    tracker = stack.enter_context(Tracker(["prlimit", "--nofile=200:200", P2PFS, "tracker", "--listen", f"127.0.0.1:{port}",
                                           "--cluster", f"redis://127.0.0.1:{redis_port}"], tmp_path / "tracker.log",
                                          "127.0.0.1", port))
    tracker.wait_output("is away: Connection refused")
    over, held = threading.Event(), collections.deque()

    def flood():
        """Always three hundred, and new ones before the tracker gives the old ones up."""
        while not over.wait(0.01):
            held.append(socket.create_connection(("127.0.0.1", port)))
            if len(held) > 300:
                held.popleft().close()
    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        wait_until(lambda: len(held) >= 300, "the flood")
        stack.enter_context(Redis(tmp_path, redis_port))
        tracker.wait_output("is back")
    finally:
        over.set()
        flooding.join()
        for s in held:
            s.close()
