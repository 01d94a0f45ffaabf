# SPDX-License-Identifier: MIT
"""The programs that a test runs.

Every daemon's output goes to a file that is searched, when it ends, for sanitizer reports and p2pfs' own
errors: a hit fails the test.  Everything started inherits MARK in its environment, so that what a test
leaks is found even after it has daemonized; conftest.py fails that test and reaps with a bound.
"""

import os
import pathlib
import re
import signal
import subprocess
import time

from lib import fuse
from lib.wait import PATIENCE, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
P2PFS = os.environ.get("P2PFS") or str(ROOT / "p2pfs")
PYTHON = "/usr/bin/python3"  # Debian's: the one that has libtorrent

MARK = "P2PFS_TEST_RUN"
os.environ[MARK] = f"{os.getpid()}.{time.monotonic_ns()}"

SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error: |SUMMARY: \w+Sanitizer"
                       r"|Assertion .* failed|\*\*\* stack smashing|(?:malloc|free|realloc)\(\): (?:invalid|corrupted)")
OWN_ERROR = re.compile(r"^(?:\S+ )?p2pfs[ a-z]*: error: .*", re.M)


class OutputError(AssertionError):
    """A program said something that no program of ours may say."""


def check_output(name, text, allow=()):
    """Raises OutputError if `text` holds a sanitizer's report, or an error that no regex of `allow` finds."""
    hit = SANITIZER.search(text)
    if hit:
        raise OutputError(f"{name}: {hit.group(0)}\n{text[max(0, hit.start() - 2000):hit.start() + 6000]}")
    for hit in OWN_ERROR.finditer(text):
        if not any(re.search(pattern, hit.group(0)) for pattern in allow):
            raise OutputError(f"{name} said: {hit.group(0)}\n(whole output)\n{text[-4000:]}")


class Daemon:
    """A program that runs until it is stopped; `with` stops it and checks its output.

    allow: regexes of p2pfs errors that this test provokes.
    """

    def __init__(self, argv, log, *, name=None, allow=(), stdin=subprocess.DEVNULL, **popen):
        self.argv = [str(a) for a in argv]
        self.name = name or pathlib.Path(self.argv[0]).name
        self.log = pathlib.Path(log)
        self.allow = list(allow)
        self.killed = self.checked = False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(self.argv, stdin=stdin, stdout=popen.pop("stdout", out),
                                            stderr=out, start_new_session=True, **popen)

    pid = property(lambda self: self.process.pid)
    returncode = property(lambda self: self.process.returncode)

    def alive(self):
        return self.process.poll() is None

    def output(self):
        return self.log.read_text(errors="replace")

    def wait_output(self, regex, seconds=PATIENCE):
        """Waits until the output holds the regex; returns the match."""
        def fact():
            hit = re.search(regex, self.output(), re.M)
            if not hit and not self.alive():
                raise RuntimeError(f"{self.name} ended with {self.returncode}, no {regex!r} in:\n{self.output()}")
            return hit
        return wait_until(fact, lambda: f"{regex!r} from {self.name}:\n{self.output()}", seconds)

    def wait(self, seconds=PATIENCE):
        """Waits for its end by itself; returns the exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"{self.name} did not end within {seconds} s:\n{self.output()[-4000:]}") from None

    def signal(self, number):
        if self.alive():
            self.process.send_signal(number)

    def kill(self):
        """SIGKILL for it and its children, as a crash would be."""
        self.killed = True
        if self.alive():
            os.killpg(self.pid, signal.SIGKILL)
        reap(self.process)

    def stop(self, seconds=20):
        """SIGTERM, then the end; what ends in no bound, by a signal or badly fails.  Then the output is checked."""
        self.signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end {seconds} s after SIGTERM:\n{self.output()[-4000:]}") from None
        self.check()

    def check(self):
        """Checks output and exit status of what has ended, once."""
        if self.checked:
            return
        self.checked = True
        check_output(self.name, self.output(), self.allow)
        if not self.killed and self.returncode is not None and self.returncode < 0 \
           and self.returncode != -signal.SIGTERM:
            raise OutputError(f"{self.name} died of {signal.Signals(-self.returncode).name}:\n{self.output()[-4000:]}")

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            self.stop()
        except AssertionError:
            if kind is None:
                raise  # else the test's own failure is the one to show; the log stays in its folder


def run(argv, *, check=True, seconds=PATIENCE, allow=(r".*",), **kw):
    """Runs a program to its end.  Text output; a status other than 0 raises with all it said, if `check`."""
    argv = [str(a) for a in argv]
    kw.setdefault("stdin", subprocess.DEVNULL)
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace",
                          timeout=seconds, check=False, **kw)
    check_output(" ".join(argv[:2]), done.stderr, allow)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done


def p2pfs(*args, **kw):
    """Runs a p2pfs command to its end: p2pfs("show", torrent).stdout."""
    return run([P2PFS, *args], **kw)


def sanitized():
    """Is the program one with a sanitizer, whose own memory counts for more than p2pfs'?"""
    return b"__asan_init" in pathlib.Path(P2PFS).read_bytes() or b"__tsan_init" in pathlib.Path(P2PFS).read_bytes()


# -- leaks ---------------------------------------------------------------------------------------


def marked():
    """{pid: command line} of the living processes that this run started, other than ourselves."""
    mark = f"{MARK}={os.environ[MARK]}".encode()
    found = {}
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environ, cmdline = _environ_and_cmdline(entry)
        except OSError:
            continue  # it ended meanwhile, is a zombie, or a thread of the kernel
        if mark in environ.split(b"\0"):
            found[int(entry.name)] = cmdline.replace(b"\0", b" ").decode(errors="replace")
    return found


def _environ_and_cmdline(entry):
    """Of a process that has a program; in the midst of an exec both are empty for a moment (proc(5))."""
    without = 0
    for _ in range(200):
        os.readlink(entry / "exe")
        cmdline, environ = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        without += bool(cmdline)
        if environ or without == 5:  # one that truly has no environment is taken at its word the fifth time
            break
        time.sleep(0.001)
    return environ, cmdline


def reap(process, seconds=5):
    """Waits for a killed child; one that hangs in the kernel is freed by aborting the FUSE connections."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        fuse.abort_all()
        return process.wait(seconds)


def reap_pids(pids, seconds=5):
    """SIGKILL for each; those stuck in the kernel are freed by aborting the FUSE connections."""
    def gone():
        for pid in list(pids):
            try:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                pass
        alive = marked()
        return not any(pid in alive for pid in pids)
    try:
        wait_until(gone, "the end of leaked processes", seconds)
    except TimeoutError:
        fuse.abort_all()
        wait_until(gone, "the end of leaked processes after an abort", seconds)
