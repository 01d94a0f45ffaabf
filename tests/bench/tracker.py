#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The tracker beside opentracker: answers a second, per CPU second of the tracker, and the time of an answer.

Usage: P2PFS=build/p2pfs tests/bench/tracker.py [SECONDS]     (after `make all drivers`; not part of check)

Load and tracker share the machine, so only figures of one run compare; those per CPU second hold on a busy one too.
"""

import json
import os
import pathlib
import random
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from lib.drivers import DRIVERS  # noqa: E402
from lib.process import run  # noqa: E402
from lib.trackers import Opentracker, P2pfsTracker  # noqa: E402
from measure import cpu_seconds  # noqa: E402

LOADS = [("UDP", "udp", {}), ("HTTP", "http", {}), ("HTTP, closing", "http", {"keep": 0}),
         ("UDP at 2,000/s", "udp", {"rate": 2000}), ("HTTP at 2,000/s", "http", {"rate": 2000, "window": 5000})]


def available():
    return (DRIVERS / "track_load").exists()


def measure(tracker, protocol, hashes, options):
    before = cpu_seconds(tracker.pid)
    words = [f"{name}={value}" for name, value in options.items()]
    got = json.loads(run([DRIVERS / "track_load", protocol, tracker.address, tracker.port, f"hashes={hashes}", *words],
                         seconds=120).stdout)
    got["per_cpu_second"] = got["answers"] / max(cpu_seconds(tracker.pid) - before, 0.01)
    return got


def compare(where, seconds, few=False):
    """(title, what opentracker did, what p2pfs did) for each load, or for the first alone."""
    source = random.Random(1)
    infohashes = [source.randbytes(20).hex() for _ in range(1000)]
    hashes = pathlib.Path(where) / "hashes"
    hashes.write_text("".join(f"{h}\n" for h in infohashes))
    with Opentracker(where, infohashes) as other, P2pfsTracker(where) as own:
        for title, protocol, options in LOADS[:1] if few else LOADS:
            yield (title, *(measure(tracker, protocol, hashes, {"seconds": seconds, **options})
                            for tracker in (other, own)))


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with tempfile.TemporaryDirectory() as where:
        os.chmod(where, 0o755)
        print(f"{'':18}{'':12}{'answers/s':>12}{'per CPU s':>12}{'p50 ms':>9}{'p99 ms':>9}{'lost':>6}")
        for title, *both in compare(where, seconds):
            for name, got in zip(("opentracker", "p2pfs"), both):
                print(f"{title:18}{name:12}{got['per_second']:12,.0f}{got['per_cpu_second']:12,.0f}"
                      f"{got['p50_us'] / 1000:9.2f}{got['p99_us'] / 1000:9.2f}{got['lost'] + got['failures']:6}")


if __name__ == "__main__":
    main()
