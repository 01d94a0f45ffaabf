# SPDX-License-Identifier: MIT
"""Mounts as the kernel sees them, and the way to end one that hangs.

Nothing here touches a mounted path: stat on a hung mount hangs.  /proc/self/mountinfo names the device,
its minor number is the FUSE connection, and writing to that connection's `abort` frees every waiter.
"""

import pathlib
import re
import subprocess

CONNECTIONS = pathlib.Path("/sys/fs/fuse/connections")

# Folders below which mounts are ours; conftest.py adds pytest's base folder.
ours = []


def mounts():
    """{mountpoint: (type, source, minor)} of all mounts, in mounting order."""
    found = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields, (kind, source) = left.split(), right.split()[:2]
        unescape = lambda text: re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), text)
        found[unescape(fields[4])] = (kind, unescape(source), int(fields[2].split(":")[1]))
    return found


def mounted(path):
    return str(path) in mounts()


def our_mounts():
    """Mountpoints below our folders, the innermost first."""
    return [path for path in reversed(mounts()) if any(path.startswith(f"{folder}/") for folder in ours)]


def abort(path):
    """Aborts the FUSE connection mounted at `path`: whoever waits on it goes on with ECONNABORTED or ENOTCONN."""
    kind, _, minor = mounts().get(str(path), ("", "", 0))
    if not kind.startswith("fuse"):
        return
    if not any(CONNECTIONS.iterdir()):
        subprocess.run(["mount", "-t", "fusectl", "fusectl", CONNECTIONS], check=False, stderr=subprocess.DEVNULL)
    try:
        (CONNECTIONS / str(minor) / "abort").write_text("1")
    except OSError:
        # No fusectl here: umount -f does the same for what hangs.
        subprocess.run(["umount", "-f", path], check=False, stderr=subprocess.DEVNULL, timeout=10)


def abort_all():
    for path in our_mounts():
        abort(path)


def detach(path):
    """Aborts and unmounts whatever is mounted at `path`, however often."""
    for _ in range(10):
        if not mounted(path):
            return
        abort(path)
        subprocess.run(["umount", "-l", path], check=False, stderr=subprocess.DEVNULL, timeout=10)


def detach_all():
    for path in our_mounts():
        detach(path)
