# SPDX-License-Identifier: MIT
"""What is read and how it is timed.  Every byte that comes from a mount is compared with the image."""

import os
import pathlib
import random
import time

BLOCK = 16 << 10
KiB, MiB = 1 << 10, 1 << 20


class WrongData(AssertionError):
    pass


def cpu_seconds(pid):
    """User and system time of a process' threads so far, to the nanosecond where the kernel tells."""
    try:
        return sum(int((task / "schedstat").read_text().split()[0])
                   for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9
    except FileNotFoundError:  # a kernel without it, or a thread that ended meanwhile
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def median(values):
    return quantile(values, 0.5)


class Reader:
    """A file that is read, beside the one that it has to be equal to."""

    def __init__(self, path, image):
        self.fd, self.reference = os.open(path, os.O_RDONLY), os.open(image, os.O_RDONLY)
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_RANDOM)

    def read(self, offset, length):
        """Seconds that this read took."""
        start = time.monotonic()
        data = os.pread(self.fd, length, offset)
        took = time.monotonic() - start
        if data != os.pread(self.reference, length, offset):
            raise WrongData(f"wrong bytes, or {len(data)} instead of {length}, at {offset}")
        return took

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        os.close(self.fd)
        os.close(self.reference)


def cat(path, image):
    """Reads all of a file.  (seconds from start to end, seconds within its reads): comparing takes the difference."""
    data, want = bytearray(MiB), bytearray(MiB)
    within, offset = 0.0, 0
    begin = time.monotonic()
    with open(path, "rb", buffering=0) as file, open(image, "rb", buffering=0) as reference:
        while True:
            start = time.monotonic()
            got = file.readinto(data)
            within += time.monotonic() - start
            size = reference.readinto(memoryview(want)[:got] if got else want)
            # Slices are copies, which cost more than reading.
            same = data == want if got == MiB else data[:got] == want[:got]
            if got != size or not same:
                raise WrongData(f"wrong bytes after {offset}, or {got} instead of {size}")
            if not got:
                return time.monotonic() - begin, within
            offset += got


def scattered(size, count, seed=42):
    """Offsets of `count` reads of 4 KiB, no two in one block while there are enough."""
    source = random.Random(seed)
    blocks = size // BLOCK
    chosen = source.sample(range(blocks), min(count, blocks))
    return [block * BLOCK + source.randrange(BLOCK // (4 * KiB)) * 4 * KiB for block in chosen]


def boot_trace(size, count, seed=7):
    """[(offset, length)] of reads as a booting guest does them: made up, but of the character of a recorded one.

    The partition table and scattered metadata first; two long sequential bursts of 32 KiB (kernel, initial RAM disk)
    in the boot loader's odd lengths; then single small reads all over, short runs, and three streams that take turns.
    """
    source = random.Random(seed)
    trace = [(0, 512), (0, 512), (MiB, 512), (MiB + KiB, KiB), (MiB + 4 * KiB, 4 * KiB)]

    def somewhere(length):
        return source.randrange((size - length) // (4 * KiB)) * 4 * KiB

    def run(lengths):
        at = somewhere(sum(lengths))
        for length in lengths:
            trace.append((at, length))
            at += length

    run([(32 * KiB, 32 * KiB - 512)[i % 2] for i in range(count // 5)])
    run([(32 * KiB, 32 * KiB - 512)[i % 2] for i in range(count // 8)])
    turns = max(2, count // 50)
    while len(trace) < count:
        kind = source.random()
        if kind < 0.85:
            run([source.choice([4, 4, 4, 4, 16, 32, 64, 128]) * KiB])
        elif kind < 0.97:
            run([source.choice([32, 128]) * KiB] * source.randint(2, 4))
        else:
            at = [somewhere(turns * 64 * KiB) for _ in range(3)]
            trace.extend((start + turn * 64 * KiB, 64 * KiB) for turn in range(turns) for start in at)
    return trace[:count]


def touched(trace):
    """(distinct blocks that these reads touch, reads that touch one that none before did)"""
    seen, fresh = set(), 0
    for offset, length in trace:
        blocks = set(range(offset // BLOCK, (offset + length - 1) // BLOCK + 1))
        fresh += not blocks <= seen
        seen |= blocks
    return len(seen), fresh
