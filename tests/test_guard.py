# SPDX-License-Identifier: MIT
"""conftest.py's promises: a test that leaks fails, and what it leaked is gone."""

import os
import pathlib
import re
import subprocess

from lib import fuse, process

TESTS = pathlib.Path(__file__).resolve().parent

LEAKS = '''
import os, subprocess, sys
from lib.process import Daemon, run

def test_leaks_a_daemonized_process(tmp_path):
    subprocess.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 & echo $! > " + str(tmp_path / "pid")], check=True)

def test_leaks_a_mount(tmp_path):
    (tmp_path / "mnt").mkdir()
    run(["mount", "-t", "tmpfs", "leaked", tmp_path / "mnt"])

def test_sanitizer_report_goes_to_a_file(tmp_path):
    folder = [o for o in os.environ["ASAN_OPTIONS"].split(":") if o.startswith("log_path=")][0][9:]
    open(folder + ".123", "w").write("ERROR: AddressSanitizer: made up")

def test_daemon_dies_of_a_signal(tmp_path):
    with Daemon(["sh", "-c", "kill -SEGV $$"], tmp_path / "log") as daemon:
        daemon.wait()

def test_daemon_says_an_error(tmp_path):
    with Daemon(["sh", "-c", "echo p2pfs mount: error: the sky fell"], tmp_path / "log") as daemon:
        daemon.wait()

def test_daemon_ignores_sigterm(tmp_path):
    with Daemon(["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done"], tmp_path / "log") as daemon:
        daemon.wait_output("up")
        daemon.stop(0.5)

def test_is_fine(tmp_path):
    with Daemon(["sleep", "1000"], tmp_path / "log"):
        pass
'''


def test_leaks_and_bad_ends_fail_their_test(tmp_path):
    suite = tmp_path / "suite"
    suite.mkdir()
    for name in ("conftest.py", "lib"):
        os.symlink(TESTS / name, suite / name)
    (suite / "test_leaks.py").write_text(LEAKS)
    env = {key: value for key, value in os.environ.items()
           if not key.startswith(("PYTEST_", process.MARK)) and not key.endswith("SAN_OPTIONS")}
    done = subprocess.run(
        [process.PYTHON, "-B", "-m", "pytest", "-c", TESTS / "pytest.ini", "-o", f"pythonpath={suite}", "--rootdir",
         suite, "-p", "no:xdist", "--basetemp", tmp_path / "base", suite],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, env=env, timeout=100)
    failed = set(re.findall(r"^(?:FAILED|ERROR) \S*::test_(\w+)", done.stdout, re.M))
    assert failed == {"leaks_a_daemonized_process", "leaks_a_mount", "sanitizer_report_goes_to_a_file",
                      "daemon_dies_of_a_signal", "daemon_says_an_error", "daemon_ignores_sigterm"}, done.stdout
    assert not [path for path in fuse.mounts() if path.startswith(str(tmp_path))]
    pid = int(next((tmp_path / "base").glob("test_leaks_a_daemonized*/pid")).read_text())
    assert not os.path.exists(f"/proc/{pid}/exe") or "sleep" not in pathlib.Path(f"/proc/{pid}/cmdline").read_text()
