#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures p2pfs on loopback, each figure beside a limit measured in the same run.

The ratio of the two is what compares from day to day and from machine to machine.  It is always figure / limit:

  MB/s, k/CPU s             the higher the better
  ms, RTT, bytes, s/GiB, MB the lower the better; of a cold read in ms it is the number of round trips

`far` scenarios go through a relay that delays (and says in its own lines what it adds); all others are plain loopback.
Everything that is read is compared with the image.  Nothing is cached by p2pfs but in warm reads; the image itself is in
the page cache.  Seeds, relay and mount share this machine's processors: nothing here tells how fast a network can be.

Needs what `make` and scripts/setup.sh dev install; what is missing is left out and named.  P2PFS names the program.
"""

import argparse
import json
import os
import pathlib
import platform
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from lib import fuse  # noqa: E402
from lib.process import P2PFS, p2pfs  # noqa: E402
from scenarios import SCENARIOS, Bench, Skip  # noqa: E402

# Name: (normal, --quick)
SIZES = {"size": (512, 96), "repeat": (5, 3), "count": (300, 100), "far_count": (100, 20), "trips": (30, 10), "reads": (600, 60),
         "tracker_seconds": (3, 1)}


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("scenario", nargs="*", help=f"only these: {', '.join(SCENARIOS)}")
    p.add_argument("--quick", action="store_true", help="less of everything: half a minute, rougher figures")
    p.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    p.add_argument("--size", type=int, metavar="MIB", help="of the image (512)")
    p.add_argument("--piece", type=int, default=1024, metavar="KIB", help="piece length of the hybrid torrent (1024)")
    p.add_argument("--rtt", type=float, default=20, metavar="MS", help="round trip of far scenarios (20)")
    p.add_argument("--repeat", type=int, metavar="N", help="mounts for the first byte, the median counts (5)")
    p.add_argument("--count", type=int, metavar="N", help="random reads near (300)")
    p.add_argument("--far-count", type=int, metavar="N", help="random reads far (100)")
    p.add_argument("--trips", type=int, metavar="N", help="bare round trips that tell what one far is (30)")
    p.add_argument("--reads", type=int, metavar="N", help="reads of the boot (600)")
    p.add_argument("--tracker-seconds", type=int, metavar="S", help="for each load of a tracker (3)")
    p.add_argument("--dir", default=tempfile.gettempdir(), help="where images and stores go: this disk is measured (%(default)s)")
    p.add_argument("--limit", type=float, default=120, metavar="S", help="a scenario that takes longer fails (120)")
    args = p.parse_args()
    for name, (normal, quick) in SIZES.items():
        if getattr(args, name) is None:
            setattr(args, name, quick if args.quick else normal)
        if getattr(args, name) < 1:
            p.error(f"--{name.replace('_', '-')} {getattr(args, name)}: at least 1")
    if args.size < 4:
        p.error(f"--size {args.size}: at least 4 MiB")
    for name in args.scenario:
        if name not in SCENARIOS:
            p.error(f"{name}: no such scenario; there are {', '.join(SCENARIOS)}")
    return args


def number(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def show(row):
    print(f"{row.scenario:36}{row.figure:18}{number(row.value):>8} {row.unit:8}{number(row.limit):>8}  "
          f"{row.limit_name:38}{row.ratio:8.2f}", flush=True)


def run(bench, name, emit):
    """Runs a scenario; (skipped: why, failed: why)."""
    # A read that hangs is ended by the end of its mount.
    watchdog = threading.Timer(bench.args.limit, fuse.abort_all)
    watchdog.daemon = True
    watchdog.start()
    try:
        for row in SCENARIOS[name](bench):
            emit(row)
    except Skip as why:
        return str(why), None
    except (OSError, AssertionError, RuntimeError) as error:  # TimeoutError, a daemon's error, wrong data
        return None, f"{type(error).__name__}: {error}"
    finally:
        watchdog.cancel()
    return None, None


def main():
    args = parse()
    rows, took, skipped, failed = [], {}, {}, {}

    def emit(row):
        rows.append(row)
        if not args.json:
            show(row)

    version, begin = p2pfs("--version").stdout.strip(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="p2pfs-bench.", dir=args.dir) as folder:
        fuse.ours.append(os.path.realpath(folder))
        with Bench(args, pathlib.Path(folder).resolve()) as bench:
            if not args.json:
                print(f"{version} ({P2PFS}), Linux {platform.release()}, {os.cpu_count()} CPUs, {args.size} MiB, "
                      f"pieces of {args.piece} KiB; far: {args.rtt:g} ms\n")
                print(f"{'':36}{'':18}{'figure':>8} {'':8}{'limit':>8}  {'':38}{'ratio':>8}")
            for name in args.scenario or SCENARIOS:
                since = time.monotonic()
                why, fault = run(bench, name, emit)
                took[name] = time.monotonic() - since
                if why:
                    skipped[name] = why
                if fault:
                    failed[name] = fault
                    print(f"bench: {name}: {fault}", file=sys.stderr, flush=True)
    seconds = time.monotonic() - begin
    if args.json:
        json.dump({"version": version, "kernel": platform.release(), "cpus": os.cpu_count(), "seconds": seconds,
                   "took": took, "options": vars(args), "skipped": skipped, "failed": failed,
                   "rows": [{**row._asdict(), "ratio": row.ratio} for row in rows]}, sys.stdout, indent=1)
        print()
    else:
        for name, why in skipped.items():
            print(f"left out: {name}: {why}")
        print(f"\n{seconds:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
