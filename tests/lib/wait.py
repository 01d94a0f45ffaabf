# SPDX-License-Identifier: MIT
"""Waiting for facts, and free ports to find them at.

No test sleeps to synchronise: it names the fact that it waits for, and the time only bounds a failure.
"""

import os
import pathlib
import random
import socket
import time

# Sanitizer builds on a busy machine take their time; only a failing test ever waits this long.
PATIENCE = 60


def wait_until(fact, what, seconds=PATIENCE):
    """Polls until fact() is true and returns what it gave; `what` may be a function that tells more."""
    deadline = time.monotonic() + seconds
    while True:
        got = fact()
        if got:
            return got
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.005)


def free_port(address="127.0.0.1"):
    """A port that nobody has, for TCP and UDP, below the range the kernel gives to outgoing connections."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    while True:
        port = random.randint(10000, 32000)
        try:
            with socket.socket(family, socket.SOCK_STREAM) as tcp, socket.socket(family, socket.SOCK_DGRAM) as udp:
                tcp.bind((address, port))
                udp.bind((address, port))
                return port
        except OSError:
            continue


def _sockets(pid):
    """Inodes of the sockets that a process holds."""
    found = set()
    try:
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                found.add(os.readlink(entry))
            except OSError:
                continue  # closed meanwhile
    except OSError:
        pass  # the process has ended
    return {name[8:-1] for name in found if name.startswith("socket:[")}


def listening(port, pid=None, kinds=("tcp", "tcp6")):
    """Is this port listened on (udp: bound), by this process?  Read from /proc, so that nobody is disturbed."""
    sockets = _sockets(pid) if pid else None
    for kind in kinds:
        for line in pathlib.Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            if int(fields[1].rsplit(":", 1)[1], 16) == port and (kind.startswith("udp") or fields[3] == "0A") \
               and (sockets is None or fields[9] in sockets):
                return True
    return False


def wait_listening(port, process=None, kinds=("tcp", "tcp6"), seconds=PATIENCE):
    """Waits until the port is listened on, by this Daemon (another's may have the number at another address).

    A Daemon that ends meanwhile is the failure, with its output.
    """
    def fact():
        if process is not None and not process.alive():
            raise RuntimeError(f"{process.name} ended with {process.returncode} before it listened:\n{process.output()}")
        return listening(port, process and process.pid, kinds)
    wait_until(fact, lambda: f"port {port} listened on" + (f"\n{process.output()}" if process else ""), seconds)
