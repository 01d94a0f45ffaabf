# SPDX-License-Identifier: MIT
"""While a hundred reads wait for bytes that nobody has, everything else is answered.

More reads wait than libfuse has threads, and, through the page cache, than the kernel sends as "background"
by default (12): had any of them held a thread or a place, nothing here would come back.
"""

import os
import threading

import pytest

from lib.process import p2pfs, run
from lib.readers import Reader
from lib.torrents import KiB

pytestmark = pytest.mark.threads
READERS = 100


@pytest.fixture
def crowded(seedless, stack, wait_for_readers, io):
    mount = seedless(f"io={io}")
    for n in range(READERS // 10):
        stack.enter_context(Reader(mount.path, offset=n * 256 * KiB))
    crowd = [threading.Thread(target=read_quietly, args=(mount.path, n * 32 * KiB)) for n in range(READERS)]
    for one in crowd:
        one.start()
    stack.callback(lambda: [one.join(60) for one in crowd])
    # The crowd ends with the mount: its threads cannot be killed.
    stack.callback(lambda: mount.mounted() and p2pfs("umount", mount.mountpoint))
    wait_for_readers(mount, READERS if io == "direct" else READERS // 2)  # readers of one page are one request
    return mount


def read_quietly(path, offset):
    try:
        fd = os.open(path, os.O_RDONLY)
        try:
            os.pread(fd, 4096, offset)
        finally:
            os.close(fd)
    except OSError:
        pass


@pytest.fixture(params=["direct", "cached"])
def io(request):
    return request.param


def test_metadata(crowded, image):
    assert os.stat(crowded.path).st_size == image.size
    assert os.listdir(crowded.mountpoint) == [crowded.path.name]
    assert os.statvfs(crowded.mountpoint).f_blocks == (image.size + 4095) // 4096
    assert crowded.xattr("state", crowded.path) in {"fetching", "stalled"}
    assert run(["ls", "-la", crowded.mountpoint]).stdout
    assert not (crowded.mountpoint / "absent").exists()
    os.close(os.open(crowded.path, os.O_RDONLY))


def test_status(crowded):
    status = crowded.status()
    assert status["mount"]["waiting"] >= READERS // 2
    assert status["reads"]["waiting"] >= READERS // 2
    text = p2pfs("status", crowded.mountpoint).stdout
    assert "waiting" in text


def test_umount(crowded):
    p2pfs("umount", crowded.mountpoint)
    assert not crowded.mounted()
    assert crowded.process.wait() == 0
