# SPDX-License-Identifier: MIT
"""tests/run-unit sees every way in which a program fails: in a tree of stand-ins for test programs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

RUNNER = Path(__file__).resolve().parent / "run-unit"
TWO_GOOD = "[==========] Running 2 test(s).\n[ RUN      ] test_a\n[       OK ] test_a\n" \
           "[ RUN      ] test_b\n[       OK ] test_b\n[  PASSED  ] 2 test(s).\n"
ONE_BAD = "[       OK ] test_a\n[ RUN      ] test_b\n[  FAILED  ] test_b\n" \
          "[  FAILED  ] 1 test(s), listed below:\n[  FAILED  ] test_b\n"


class Tree:
    def __init__(self, root):
        self.root = root
        (root / "tests").mkdir()
        shutil.copy(RUNNER, root / "tests/run-unit")

    def add(self, kind, name, script):
        source = self.root / "tests" / kind / f"{name}.c"
        program = self.root / "build/tests" / kind / name
        for path in (source, program):
            path.parent.mkdir(parents=True, exist_ok=True)
        source.touch()
        program.write_text("#!/bin/sh\n" + script)
        program.chmod(0o755)

    def unit(self, name, output, status=0):
        self.add("unit", name, f"cat <<'END'\n{output}END\nexit {status}\n")

    def run(self, **env):
        done = subprocess.run([self.root / "tests/run-unit", "build"], text=True, timeout=60,
                              capture_output=True, env={**os.environ, **env})
        last = done.stdout.splitlines()[-1]
        passed, failed = re.fullmatch(r"(\d+) passed, (\d+) failed", last).groups()
        assert (done.returncode == 0) == (failed == "0" and passed != "0")
        return int(passed), int(failed), done.stdout


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_counts_cases(tree):
    tree.unit("test_x", TWO_GOOD)
    tree.unit("test_y", TWO_GOOD)
    tree.add("fuzz", "fuzz_z", "echo 7 inputs\n")
    assert tree.run()[:2] == (5, 0)


def test_a_failed_case_counts_once_and_shows_its_output(tree):
    tree.unit("test_x", ONE_BAD, 1)
    passed, failed, output = tree.run()
    assert (passed, failed) == (1, 1)
    assert "listed below" in output


@pytest.mark.parametrize("output, status", [
    (TWO_GOOD, 1),                                       # says good, ends badly
    (TWO_GOOD + "x.c:5:2: runtime error: shift\n", 0),   # a sanitizer's report
    (TWO_GOOD + "==1==ERROR: AddressSanitizer: x\n", 0),
    (TWO_GOOD + "WARNING: ThreadSanitizer: data race\n", 0),
    ("", 0),                                             # tests nothing
    ("", 139),
])
def test_what_else_fails_a_program(tree, output, status):
    tree.unit("test_x", output, status)
    assert tree.run()[1] == 1


def test_a_program_that_does_not_end(tree):
    tree.add("unit", "test_x", "exec sleep 1000\n")
    passed, failed, output = tree.run(UNIT_SECONDS="1")
    assert (passed, failed) == (0, 1)
    assert "did not end" in output


def test_a_program_that_was_not_built(tree):
    tree.unit("test_x", TWO_GOOD)
    (tree.root / "build/tests/unit/test_x").unlink()
    assert tree.run()[1] == 1


def test_a_crash_of_a_fuzz_target(tree):
    tree.add("fuzz", "fuzz_z", "kill -SEGV $$\n")
    assert tree.run()[:2] == (0, 1)


def test_nothing_at_all_is_a_failure(tree):
    assert tree.run()[:2] == (0, 0)
