# SPDX-License-Identifier: MIT
"""The systemd unit: what it tells systemd, and life in the sandbox of scripts/p2pfs-tracker.service."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import sqlite3

import pytest

from lib import sandbox
from lib.announcer import HASH, HttpAnnouncer, UdpAnnouncer
from lib.process import P2PFS, PYTHON, ROOT, Daemon, run
from lib.trackers import P2pfsTracker
from lib.wait import free_port, wait_until

UNIT = ROOT / "scripts" / "p2pfs-tracker.service"
NOBODY = 65534


class Notifications:
    """systemd's end of the socket; .path goes into NOTIFY_SOCKET."""

    def __init__(self, path):
        self.path = str(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{self.path[1:]}" if self.path.startswith("@") else self.path)
        self.socket.setblocking(False)

    def next(self):
        """What has been told since, or None."""
        try:
            return self.socket.recv(100)
        except BlockingIOError:
            return None

    def wait_ready(self, daemon):
        def fact():
            told = self.next()
            if not told and not daemon.alive():
                raise RuntimeError(f"{daemon.name} ended with {daemon.returncode}:\n{daemon.output()}")
            return told
        assert wait_until(fact, daemon.output) == b"READY=1"

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.socket.close()


class Service(Daemon):
    """The unit's tracker in its sandbox, at .port; .control is the address of its pages."""

    def __init__(self, where, options, notify, *, filter_calls, name="service"):
        state = where / "state"
        state.mkdir(mode=0o700, exist_ok=True)
        os.chown(state, NOBODY, NOBODY)
        self.control = f"127.0.0.1:{free_port()}"
        want = {"unit": str(UNIT), "program": os.path.realpath(P2PFS), "state": str(state), "filter": filter_calls,
                "replace": {"127.0.0.1:6970": self.control, "$TRACKER_OPTIONS": options}}
        # A sanitizer cannot look for leaks there: that takes ptrace.  Its reports come to the output.
        environment = {"NOTIFY_SOCKET": notify.path, "ASAN_OPTIONS": "detect_leaks=0", "UBSAN_OPTIONS": ""}
        super().__init__(["unshare", "--mount", "--propagation", "private", PYTHON, "-B", sandbox.__file__,
                          json.dumps(want)], where / f"{name}.log", name=name, env={**os.environ, **environment})

    def facts(self):
        """{name: value} of its status in /proc."""
        lines = pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return dict(line.split(":\t", 1) for line in lines if ":\t" in line)

    def stats(self):
        return json.loads(HttpAnnouncer(f"http://{self.control}/announce").get("/stats.json")[1])


def low_port():
    """A free one that takes a privilege."""
    while True:
        port = random.randint(400, 1023)
        try:
            with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
                return port
        except OSError:
            continue


@pytest.mark.parametrize("form", ["path", "abstract"])
def test_systemd_is_told(tmp_path, stack, form):
    path = tmp_path / "notify" if form == "path" else f"@p2pfs-test-{os.getpid()}"
    notify = stack.enter_context(Notifications(path))
    os.environ["NOTIFY_SOCKET"] = notify.path
    try:
        tracker = stack.enter_context(P2pfsTracker(tmp_path))
    finally:
        del os.environ["NOTIFY_SOCKET"]
    notify.wait_ready(tracker)
    # Nothing is told but what the unit relies on.
    tracker.signal(signal.SIGHUP)
    HttpAnnouncer(tracker.url).announce(1)
    assert notify.next() is None
    tracker.stop()
    assert notify.next() == b"STOPPING=1"
    assert tracker.returncode == 0


@pytest.mark.parametrize("filter_calls", [False, True], ids=["without the filter of system calls", "with it"])
def test_the_unit_in_its_sandbox(tmp_path, stack, filter_calls):
    """As a user without privileges it has a low port, Redis and TLS, and its state survives a restart."""
    if filter_calls and not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze, which knows the groups of system calls, is not here")
    notify = stack.enter_context(Notifications(f"@p2pfs-test-service-{os.getpid()}"))
    redis_port = free_port()
    stack.enter_context(Daemon(["redis-server", "--port", redis_port, "--bind", "127.0.0.1", "--save", "",
                                "--dir", tmp_path], tmp_path / "redis.log"))
    port = low_port()
    options = f"--listen 127.0.0.1:{port} --cluster redis://localhost:{redis_port}"
    url = f"http://127.0.0.1:{port}/announce"
    with Service(tmp_path, options, notify, filter_calls=filter_calls, name="first") as tracker:
        notify.wait_ready(tracker)
        facts = tracker.facts()
        assert facts["Uid"].split() == [str(NOBODY)] * 4 and facts["NoNewPrivs"] == "1"
        assert facts["Seccomp"] == ("2" if filter_calls else "0")
        assert {int(facts[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {1 << 10}
        root = next(line.split() for line in pathlib.Path(f"/proc/{tracker.pid}/mountinfo").read_text().splitlines()
                    if line.split()[4] == "/")
        assert "ro" in root[5].split(",")
        ask = HttpAnnouncer(url)
        ask.announce(1, left=0)
        with UdpAnnouncer(f"udp://127.0.0.1:{port}/announce") as udp:
            assert udp.announce(2).peers == {("127.0.0.1", 10001)}
        wait_until(lambda: tracker.stats()["cluster"]["is"] == "good", tracker.output)
        tracker.signal(signal.SIGHUP)
        wait_until(lambda: tracker.stats()["state"]["written"] > 0, lambda: f"the state: {tracker.stats()}")
        tracker.stop()
        assert tracker.returncode == 0
    assert notify.next() == b"STOPPING=1"
    assert "warning" not in tracker.output()
    database = tmp_path / "state" / "tracker.sqlite"
    assert database.stat().st_uid == NOBODY and database.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(database) as rows:
        assert [bytes(row[0]) for row in rows.execute("SELECT DISTINCT hash FROM peers")] == [HASH]
    rows.close()
    with Service(tmp_path, options, notify, filter_calls=filter_calls, name="again") as tracker:
        notify.wait_ready(tracker)
        assert HttpAnnouncer(url).scrape(HASH) == {HASH: (1, 0, 1)}


def test_systemd_takes_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not here")
    text = UNIT.read_text().replace("/usr/local/bin/p2pfs", os.path.realpath(P2PFS))
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("Documentation=man:p2pfs-tracker(8)\n", ""))
    done = run(["systemd-analyze", "verify", unit], check=False)
    assert done.returncode == 0 and UNIT.name not in done.stdout + done.stderr, done.stdout + done.stderr
