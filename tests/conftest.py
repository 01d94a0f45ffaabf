# SPDX-License-Identifier: MIT
"""What every test stands on.

- A process or a mount that a test leaves behind fails that test, and is reaped with a bound.
- A sanitizer's report of any program fails the test that ran it: reports go to files of their own.
- A test that hangs gets its FUSE connections aborted, so that it can fail and the rest can run.
- Marked tests: see pytest.ini.

A test's processes and mounts are context managers (lib/); `stack` closes what was entered into it.
"""

import contextlib
import os
import subprocess
import threading

import pytest

from lib import fuse, process

# Less than pytest.ini's timeout: a reader in the kernel may not see that one's signal.
HANG_SECONDS = 150


@pytest.fixture(scope="session", autouse=True)
def _session(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    # Others (nobody, a daemon that drops root) must be able to reach their own folders in it.
    for folder in (base, *base.parents):
        if folder.name.startswith("pytest-") or folder == base:
            os.chmod(folder, 0o755)
    fuse.ours.append(str(base.resolve()))
    reports = tmp_path_factory.mktemp("sanitizer")
    for name, extra in (("ASAN", "halt_on_error=1"), ("UBSAN", "print_stacktrace=1"),
                        ("TSAN", "halt_on_error=0:second_deadlock_stack=1"), ("LSAN", "")):
        variable = f"{name}_OPTIONS"
        options = [os.environ.get(variable, ""), extra, f"log_path={reports}/{name}"]
        os.environ[variable] = ":".join(o for o in options if o)
    yield reports
    fuse.detach_all()
    process.reap_pids(list(process.marked()))


@pytest.fixture(autouse=True)
def _no_leaks(_session):
    """Set up before and torn down after every other fixture of the test."""
    processes, mounts, reports = set(process.marked()), set(fuse.our_mounts()), set(_session.iterdir())
    yield
    faults = []
    leaked = [path for path in fuse.our_mounts() if path not in mounts]
    for path in leaked:
        faults.append(f"leaked a mount: {path}")
        fuse.abort(path)
    left = {pid: what for pid, what in process.marked().items() if pid not in processes}
    for pid, what in left.items():
        faults.append(f"leaked a process: {pid} {what}")
    process.reap_pids(list(left))
    for path in leaked:
        fuse.detach(path)
    for report in set(_session.iterdir()) - reports:
        faults.append(f"{report.name}:\n{report.read_text(errors='replace')[:8000]}")
    if faults:
        pytest.fail("\n".join(faults), pytrace=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    watchdog = threading.Timer(HANG_SECONDS, fuse.abort_all)
    watchdog.daemon = True
    watchdog.start()
    yield
    watchdog.cancel()


@pytest.fixture
def stack():
    """An ExitStack: seed = stack.enter_context(LibtorrentPeer(...))."""
    with contextlib.ExitStack() as exits:
        yield exits


@pytest.fixture(scope="session")
def lan():
    """Addresses of this machine that are none of 127.0.0.0/8: transmission talks to no peer at those.

    They are from the block for benchmarks (RFC 2544), on the loopback interface.  Transmission takes all peers
    at one address for one peer, itself at its own: it gets one for itself.  Programs that do not choose where
    they connect from come from the first.
    """
    subprocess.run(["ip", "address", "replace", "198.18.77.1/24", "dev", "lo"], check=True)
    return [f"198.18.77.{host}" for host in range(1, 100)]
