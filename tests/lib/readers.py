# SPDX-License-Identifier: MIT
"""Readers that wait: each a process of its own, since a read that waits in the kernel holds its thread.

    with Reader(path, "mmap") as reader:
        ...
        assert reader.outcome() == "SIGBUS"

An outcome is "N bytes", an errno's name ("EIO"), or the signal that ended it ("SIGKILL").
"""

import pathlib
import signal
import subprocess

from lib import process
from lib.wait import PATIENCE

# Opened before "ready" is said, so that a test knows the file is held.
SCRIPT = r"""
import errno, mmap, os, signal, sys
path, how, offset, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])

class Handled(Exception):
    reading = False

def handler(number, frame):
    if Handled.reading:
        Handled.reading = False
        raise Handled  # else Python asks again by itself

signal.signal(signal.SIGUSR1, handler)
fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if how == "O_DIRECT" else 0))
try:
    Handled.reading = True
    print("ready", flush=True)
    if how == "mmap":
        mapped = mmap.mmap(fd, 0, mmap.MAP_SHARED, mmap.PROT_READ)
        got = len(mapped[offset:offset + size])
    elif how == "O_DIRECT":
        got = os.preadv(fd, [mmap.mmap(-1, size)], offset)
    else:
        got = len(os.pread(fd, size, offset))
    Handled.reading = False
    print(got, "bytes", flush=True)
except Handled:
    print("EINTR", flush=True)
except OSError as error:
    print(errno.errorcode[error.errno], flush=True)
if how == "hold":
    signal.pause()
os._exit(0)  # the interpreter's own end would take the handler away first
"""


class Reader:
    """how: "read", "O_DIRECT", "mmap", or "hold" (reads, then keeps the file open until it is killed)."""

    def __init__(self, path, how="read", offset=0, size=4096, **popen):
        self.process = subprocess.Popen([process.PYTHON, "-c", SCRIPT, path, how, str(offset), str(size)],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **popen)
        line = self.process.stdout.readline()
        assert line == "ready\n", f"the reader of {path} did not start: {line!r}"

    pid = property(lambda self: self.process.pid)

    def signal(self, number):
        self.process.send_signal(number)

    def waits(self):
        """Is it within a system call that sleeps, and has said nothing?"""
        return self.process.poll() is None

    def line(self):
        return self.process.stdout.readline().strip()

    def outcome(self, seconds=PATIENCE):
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            stack = pathlib.Path(f"/proc/{self.pid}/wchan").read_text()
            raise TimeoutError(f"the reader did not end within {seconds} s; it waits in {stack}") from None
        return signal.Signals(-status).name if status < 0 else self.line()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            process.reap(self.process)
        self.process.stdout.close()
