# SPDX-License-Identifier: MIT
"""The benchmark itself: that everything in it runs, measures and compares.  How fast anything is, no test says."""

import importlib.util
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

import pytest

from lib.process import PYTHON
from lib.torrents import MiB, random_bytes

HERE = pathlib.Path(__file__).resolve().parent
TINY = ["--quick", "--size", "8", "--piece", "64", "--rtt", "4", "--repeat", "1", "--count", "6", "--far-count", "4",
        "--reads", "40", "--tracker-seconds", "1"]


def load(name):
    """A module of the benchmark, which has its own folder first in its path."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


measure, relay = load("measure"), load("relay")


def bench(*args, status=0):
    done = subprocess.run([PYTHON, "-B", HERE / "bench.py", *map(str, args)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=150)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_every_scenario_has_its_figures(tmp_path):
    os.chmod(tmp_path, 0o755)  # opentracker drops root
    got = json.loads(bench(*TINY, "--json", "--dir", tmp_path).stdout)
    assert got["failed"] == {} and got["skipped"] == {}
    seen = {}
    for row in got["rows"]:
        assert row["value"] > 0 and row["limit"] > 0, row
        assert row["ratio"] == pytest.approx(row["value"] / row["limit"])
        seen.setdefault(row["scenario"], set()).add(row["figure"])
    assert seen == {
        "relay, 0 ms": {"16 KiB, p50", "stream"}, "relay, 4 ms": {"16 KiB, p50"},
        "first byte": {"mount, read 4 KiB"}, "first byte, far": {"mount, read 4 KiB"},
        "random 4 KiB, no filling": {"p50", "p99"}, "random 4 KiB, libtorrent seed": {"p50", "p99"},
        "random, far, no filling": {"p50", "p99", "received/read"}, "random, far, filling": {"p50", "p99"},
        "random, far, 100 Mbit/s, filling": {"p50", "p99"},
        "boot, no filling": {"time", "received/read"}, "boot, filling": {"time"}, "boot, profile": {"time"},
        "boot, 100 Mbit/s": {"time"}, "boot, 100 Mbit/s, profile": {"time"},
        "cold, in order": {"speed", "CPU", "CPU of the seed", "RSS, peak"},
        "cold, in order, libtorrent seed": {"speed", "CPU", "CPU of the seed", "RSS, peak"},
        "warm, in order": {"speed"},
        "filled, nobody reads": {"speed", "CPU", "RSS, peak"},
        "cold, web seed": {"speed"},
        "tracker, UDP": {"answers", "p99"}}
    # What had to come for a read is known: less would mean that something was read without being fetched.
    received = {row["scenario"]: row["ratio"] for row in got["rows"] if row["figure"] == "received/read"}
    assert all(ratio >= 1 for ratio in received.values()), received


def test_the_table_names_a_limit_and_a_ratio_for_each_figure(tmp_path):
    lines = bench(*TINY, "--dir", tmp_path, "floor").stdout.splitlines()
    rows = [line for line in lines if line.startswith("relay, ")]
    assert len(rows) == 3 and all("bare" in r or "asked for" in r or "raw TCP" in r for r in rows)
    assert all(float(r.split()[-1].replace(",", "")) > 0 for r in rows)


def test_a_scenario_that_is_not_there_is_refused_by_name():
    assert "sequentail: no such scenario" in bench("sequentail", status=2).stderr


@pytest.mark.parametrize("wrong", [0, MiB, 2 * MiB + 99, "short", "long"])
def test_wrong_data_is_noticed(tmp_path, wrong):
    data = random_bytes(2 * MiB + 100)
    (tmp_path / "image").write_bytes(data)
    got = bytearray(data)
    if wrong == "short":
        del got[-1]
    elif wrong == "long":
        got += b"x"
    else:
        got[wrong] ^= 1
    (tmp_path / "got").write_bytes(got)
    measure.cat(tmp_path / "image", tmp_path / "image")
    with pytest.raises(measure.WrongData):
        measure.cat(tmp_path / "got", tmp_path / "image")
    if isinstance(wrong, int):
        with measure.Reader(tmp_path / "got", tmp_path / "image") as reader, pytest.raises(measure.WrongData):
            reader.read(max(0, wrong - 50), 100)


@pytest.mark.parametrize("size, count", [(8 * MiB, 20), (64 * MiB, 600), (512 * MiB, 600)])
def test_a_boot_reads_within_the_image_and_the_same_each_time(size, count):
    trace = measure.boot_trace(size, count)
    assert len(trace) == count and trace == measure.boot_trace(size, count)
    assert all(0 <= offset and length and offset + length <= size for offset, length in trace)


def test_touched_counts_blocks_once():
    assert measure.touched([(0, 512), (100, 16384), (16384, 4096), (65536, 1)]) == (3, 3)


@pytest.mark.parametrize("mbit", [0, 200])
def test_the_relay_passes_all_bytes_on_late(mbit):
    """Both ways, after the delay, counted; an end of stream passes, too."""
    sent, delay = random_bytes(3 * MiB), 0.03
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def echo():
            with listener.accept()[0] as far:
                got = b"".join(iter(lambda: far.recv(1 << 16), b""))
                far.sendall(got)
        thread = threading.Thread(target=echo)
        thread.start()
        with relay.Relay(listener.getsockname()[1], delay=delay, mbit=mbit) as between:
            begin = time.monotonic()
            with socket.create_connection(("127.0.0.1", between.port)) as near:
                near.sendall(sent)
                near.shutdown(socket.SHUT_WR)
                assert b"".join(iter(lambda: near.recv(1 << 16), b"")) == sent
            # Never sooner: connecting, there and back; and the line, both ways.
            assert time.monotonic() - begin >= 4 * delay + (2 * len(sent) / (mbit * 125000) if mbit else 0)
            assert between.to_client() == between.to_server() == len(sent)
        thread.join()
