# SPDX-License-Identifier: MIT
"""How an open file is read by the kernel: directly while the image is incomplete, then by passthrough where that can
be had, else through the page cache; and never in a mixture that the kernel refuses."""

import mmap
import os
import pathlib
import platform
import signal

import pytest

from lib.mounts import Mount
from lib.process import run
from lib.readers import Reader
from lib.seeds import libtorrent_seed
from lib.wait import wait_until

pytestmark = pytest.mark.threads


def has_passthrough():
    """Linux 6.9 with CONFIG_FUSE_PASSTHROUGH."""
    version = tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2])
    if version < (6, 9):
        return False
    for path in ("/proc/config.gz", f"/boot/config-{platform.release()}"):
        if os.path.exists(path):
            return "CONFIG_FUSE_PASSTHROUGH=y" in run(["zcat" if path.endswith("gz") else "cat", path]).stdout
    return True


needs_passthrough = pytest.mark.skipif(not has_passthrough(), reason="this kernel has no FUSE passthrough")


def io(mount):
    return mount.xattr("io", mount.path)


def is_cached(path):
    """Does the page cache of the mount (not of the store) hold the file's first page?"""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    page, resident = ctypes.c_size_t(4096), (ctypes.c_ubyte * 1)()
    with open(path, "rb") as file:
        address = libc.mmap(None, page, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), ctypes.c_long(0))
        assert libc.mincore(ctypes.c_void_p(address), page, resident) == 0
        libc.munmap(ctypes.c_void_p(address), page)
    return bool(resident[0] & 1)


def test_direct_while_incomplete(seedless):
    assert io(seedless()) == "direct"


def test_direct_reads_fetch_no_more_than_asked(seeded, image):
    """4 KiB of a v2 torrent cost some blocks around it, not the kernel's readahead of the whole file."""
    mount = seeded("fill=off")
    fd = os.open(mount.path, os.O_RDONLY)
    assert os.pread(fd, 4096, 2 << 20) == image.data[2 << 20:(2 << 20) + 4096]
    os.close(fd)
    assert not is_cached(mount.path)


def test_switches_when_complete(seeded, image):
    mount = seeded()
    assert io(mount) in {"direct", "cached", "passthrough"}
    mount.wait_state("complete")
    assert io(mount) == ("passthrough" if has_passthrough() else "cached")
    assert mount.path.read_bytes() == image.data


@pytest.mark.parametrize("policy,word", [("direct", "direct"), ("cached", "cached")])
def test_forced(seeded, image, policy, word):
    mount = seeded(f"io={policy}")
    assert io(mount) == word
    mount.wait_state("complete")
    assert io(mount) == word
    assert mount.path.read_bytes() == image.data


def test_cached_pages_stay_when_the_file_is_closed(seeded, image):
    mount = seeded("io=cached")
    mount.wait_state("complete")
    assert mount.path.read_bytes() == image.data
    assert is_cached(mount.path)


@needs_passthrough
def test_passthrough_is_chosen_and_reads(seeded, image):
    mount = seeded(args=["-D", "fuse"])
    mount.wait_state("complete")
    assert mount.path.read_bytes() == image.data
    assert "open of file 0: passthrough" in mount.process.output()


@needs_passthrough
def test_passthrough_needs_no_daemon_to_read(seeded, image):
    """The kernel reads the store's file by itself: a stopped daemon is not asked."""
    mount = seeded()
    mount.wait_state("complete")
    with open(mount.path, "rb", buffering=0) as file:
        mount.process.signal(signal.SIGSTOP)
        try:
            assert file.read(65536) == image.data[:65536]
        finally:
            mount.process.signal(signal.SIGCONT)


@needs_passthrough
def test_handle_of_an_incomplete_image_keeps_others_from_passthrough(seeded, image, tmp_path, stack):
    """The kernel fails an open for passthrough beside a mapping of a direct handle: it is not tried."""
    mount = seeded()
    early = os.open(mount.path, os.O_RDONLY)
    if io(mount) != "direct":
        os.close(early)
        pytest.skip("the image was complete at once")
    mapped = mmap.mmap(early, 0, mmap.MAP_SHARED, mmap.PROT_READ)
    mount.wait_state("complete")
    assert io(mount) == "cached"
    assert mount.path.read_bytes() == image.data
    assert mapped[:] == image.data
    mapped.close()
    os.close(early)
    wait_until(lambda: io(mount) == "passthrough", "passthrough once all handles are closed")
    assert mount.path.read_bytes() == image.data


@needs_passthrough
def test_many_handles_share_one_backing_file(seeded, image):
    mount = seeded()
    mount.wait_state("complete")
    fds = [os.open(mount.path, os.O_RDONLY) for _ in range(20)]
    for n, fd in enumerate(fds):
        assert os.pread(fd, 1000, n * 1000) == image.data[n * 1000:(n + 1) * 1000]
        if n % 2:
            os.close(fd)
    again = os.open(mount.path, os.O_RDONLY)
    assert os.pread(again, 1000, 0) == image.data[:1000]
    for fd in [again, *fds[::2]]:
        os.close(fd)
    assert mount.path.read_bytes() == image.data


@needs_passthrough
def test_mapping_of_a_passthrough_file(seeded, image):
    mount = seeded()
    mount.wait_state("complete")
    with open(mount.path, "rb") as file, mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped:
        assert mapped[:] == image.data


def test_without_privileges_it_is_the_cache(seeded, image, tmp_path):
    """setuid= drops root: the kernel lends nothing to us then, and we go on without."""
    tmp_path.chmod(0o755)
    mount = seeded("setuid=nobody", "allow_other", args=["-D", "fuse"])
    mount.wait_state("complete")
    assert mount.path.read_bytes() == image.data
    assert "passthrough" not in [line.rsplit(" ", 1)[-1] for line in mount.process.output().splitlines()
                                 if "open of file" in line]
    assert io(mount) == "cached"


def test_store_on_a_stacked_file_system_falls_back(image, tmp_path, stack):
    """On overlayfs there is no passthrough (two layers of stacking): the cache it is."""
    layers = [tmp_path / name for name in ("lower", "upper", "work", "merged")]
    for layer in layers:
        layer.mkdir()
    lower, upper, work, merged = layers
    done = run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", merged],
               check=False)
    if done.returncode:
        pytest.skip(f"no overlayfs here: {done.stderr.strip()}")
    stack.callback(lambda: run(["umount", "-l", merged]))
    seed = stack.enter_context(libtorrent_seed(image.torrent, image.path, tmp_path))
    mount = stack.enter_context(Mount(image.torrent, tmp_path, f"peer={seed.peer}", store=merged / "store"))
    mount.wait_state("complete")
    assert mount.path.read_bytes() == image.data
    assert io(mount) == "cached"


def test_opening_while_a_mapping_waits(seedless, stack, wait_for_readers):
    """A fault that waits for its bytes holds the page; an open must not wait for the page."""
    mount = seedless()
    stack.enter_context(Reader(mount.path, "mmap"))
    wait_for_readers(mount, 1)
    os.close(os.open(mount.path, os.O_RDONLY))
    assert run(["stat", mount.path]).stdout


def test_readahead_of_a_complete_image_is_raised(seeded):
    mount = seeded("io=cached")
    minor = os.minor(mount.mountpoint.stat().st_dev)
    mount.wait_state("complete")
    setting = f"/sys/class/bdi/0:{minor}/read_ahead_kb"
    if not os.path.exists(setting):
        pytest.skip("no sysfs here")
    wait_until(lambda: open(setting, encoding="ascii").read() == "1024\n", lambda: open(setting, encoding="ascii").read())


@pytest.mark.xdist_group("sysctl")
@pytest.mark.parametrize("name", ["max_request_timeout", "default_request_timeout"])
def test_kernels_time_limit_for_requests_is_heeded(seedless, name):
    """The kernel ends a whole connection for one request that waits too long: reads get EIO well before."""
    setting = f"/proc/sys/fs/fuse/{name}"
    if not os.path.exists(setting):
        pytest.skip(f"this kernel has no {name}")
    setting = pathlib.Path(setting)
    before = setting.read_text()
    setting.write_text("300\n")
    try:
        mount = seedless()
    finally:
        setting.write_text(before)
    assert "a read that waits 280 s gets EIO" in mount.process.output()
    assert "gets EIO" not in seedless("timeout=10", name="without").process.output()
