# SPDX-License-Identifier: MIT
"""A small bootable disk image of Debian's own kernel, and QEMU to boot it.

The image (raw, MBR) is built without root's loop mounts or a network: a FAT partition with syslinux, the
kernel and an initramfs of busybox, and an ext4 partition with some hundred megabytes of files.  The guest
mounts that, reads a few of the files, prints their digest on the serial console and powers off.  It is
built once for each kernel and kept in the temporary folder.
"""

import fcntl
import gzip
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

from lib.process import Daemon, run
from lib.torrents import MiB, random_bytes

VERSION = 1  # of the layout below: a change makes a new image
FAT_START, FAT_SIZE = 1 * MiB, 32 * MiB
DATA_START, DATA_SIZE = 33 * MiB, 320 * MiB
SIZE = DATA_START + DATA_SIZE
FILES, FILE_SIZE = 28, 10 * MiB
READ_FILES = (3, 17, 26)  # what the guest reads: far apart, a tenth of all

INIT = """#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module; done
tries=0
until [ -b /dev/vda2 ] || [ $tries -gt 300 ]; do tries=$((tries + 1)); usleep 100000; done
if mount -t ext4 -o ro /dev/vda2 /mnt; then
	echo "guest: mounted $(blockdev --getsize64 /dev/vda) bytes"
	echo "guest: digest $(cd /mnt && cat %s | sha256sum | cut -c1-64) end"
else
	echo "guest: cannot mount"
fi
poweroff -f
"""

APPLETS = "sh mount cat insmod usleep blockdev sha256sum cut echo poweroff".split()


def _kernel():
    """(version, kernel, modules folder) of the newest cloud kernel that is installed."""
    kernels = sorted(pathlib.Path("/boot").glob("vmlinuz-*-cloud-amd64"))
    if not kernels:
        raise RuntimeError("no /boot/vmlinuz-*-cloud-amd64: scripts/setup.sh installs it")
    version = kernels[-1].name.removeprefix("vmlinuz-")
    return version, kernels[-1], pathlib.Path("/lib/modules") / version


def _modules(folder, wanted):
    """Paths of the wanted modules and what they depend on, in loading order."""
    depends = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        module, _, needs = line.partition(":")
        depends[module] = needs.split()
    order = []

    def add(module):
        # modules.dep lists the deepest dependency last.
        for need in reversed(depends[module]):
            if need not in order:
                order.append(need)
        if module not in order:
            order.append(module)

    for name in wanted:
        add(next(m for m in depends if re.fullmatch(rf"{name}\.ko(\..*)?", pathlib.Path(m).name)))
    return [folder / module for module in order]


def _initramfs(work, modules):
    """A gzip'd cpio of busybox, the modules and INIT."""
    root = work / "initramfs"
    for folder in ("bin", "dev", "proc", "sys", "mnt", "modules"):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin" / "busybox")
    for applet in APPLETS:
        os.symlink("busybox", root / "bin" / applet)
    for module in modules:
        shutil.copy(module, root / "modules")
    (root / "modules" / "order").write_text(" ".join(m.name for m in modules))
    (root / "init").write_text(INIT % " ".join(_file_name(i) for i in READ_FILES))
    os.chmod(root / "init", 0o755)
    names = "\n".join(sorted(str(p.relative_to(root)) for p in root.rglob("*"))) + "\n"
    archive = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(),
                             stdout=subprocess.PIPE, check=True).stdout
    (work / "initrd.gz").write_bytes(gzip.compress(archive, 6))
    return work / "initrd.gz"


def _file_name(index):
    return f"file-{index:02}"


def file_data(index):
    return random_bytes(FILE_SIZE, seed=1000 + index)


def _build(work, out):
    _, kernel, module_folder = _kernel()
    initrd = _initramfs(work, _modules(module_folder, ["virtio_pci", "virtio_blk"]))

    boot = work / "boot.fat"
    run(["mkfs.vfat", "-C", "-n", "BOOT", "-h", FAT_START // 512, boot, FAT_SIZE // 1024])
    (work / "syslinux.cfg").write_text(
        "SERIAL 0\nDEFAULT linux\nPROMPT 0\nLABEL linux\n LINUX vmlinuz\n INITRD initrd.gz\n"
        " APPEND console=ttyS0 panic=-1 quiet mitigations=off random.trust_cpu=on\n")
    run(["mcopy", "-i", boot, kernel, "::vmlinuz"])
    run(["mcopy", "-i", boot, initrd, work / "syslinux.cfg", "::"])
    run(["syslinux", "--install", boot])

    files = work / "files"
    files.mkdir()
    for index in range(FILES):
        (files / _file_name(index)).write_bytes(file_data(index))
    data = work / "data.ext4"
    run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-L", "DATA", "-d", files, data,
         f"{DATA_SIZE // 1024}k"])

    disk = work / "disk"
    with open(disk, "wb") as image:
        image.truncate(SIZE)
    run(["sfdisk", "-q", disk], stdin=None, input=f"label: dos\n{FAT_START // 512} {FAT_SIZE // 512} c *\n"
        f"{DATA_START // 512} {DATA_SIZE // 512} 83\n")
    with open(disk, "r+b") as image:
        image.write(pathlib.Path("/usr/lib/syslinux/mbr/mbr.bin").read_bytes())
        for start, part in ((FAT_START, boot), (DATA_START, data)):
            image.seek(start)
            with open(part, "rb") as source:
                while chunk := source.read(MiB):
                    if chunk.count(0) == len(chunk):
                        image.seek(len(chunk), os.SEEK_CUR)  # stays a hole
                    else:
                        image.write(chunk)
    os.rename(disk, out)


def disk_image():
    """Path of the image; built if there is none yet."""
    version, _, _ = _kernel()
    cache = pathlib.Path(tempfile.gettempdir()) / f"p2pfs-test-guest-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    if cache.is_symlink() or cache.stat().st_uid != os.getuid():
        raise RuntimeError(f"{cache} is somebody else's")
    out = cache / f"guest-{VERSION}-{version}.raw"
    with open(cache / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not out.exists():
            with tempfile.TemporaryDirectory(dir=cache) as work:
                _build(pathlib.Path(work), out)
    return out


def expected_digest():
    """What the guest must print."""
    hashed = hashlib.sha256()
    for index in READ_FILES:
        hashed.update(file_data(index))
    return hashed.hexdigest()


class Guest(Daemon):
    """QEMU (software emulation), booting from `disk`.  cache, aio: as of -drive."""

    def __init__(self, disk, where, *, name="guest", disk_format="qcow2", cache="writeback", aio="threads", memory=256):
        self.console = pathlib.Path(where) / f"{name}.console"
        self.console.touch()
        super().__init__(
            ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", memory, "-nodefaults", "-no-user-config",
             "-display", "none", "-vga", "none", "-no-reboot", "-serial", f"file:{self.console}",
             "-drive", f"file={disk},format={disk_format},if=none,id=d,cache={cache},aio={aio}",
             "-device", "virtio-blk-pci,drive=d"], pathlib.Path(where) / f"{name}.log", name=name)

    def said(self):
        return self.console.read_text(errors="replace")

    def wait_digest(self, seconds=150):
        """Waits for the guest to have read its files and powered off; returns their digest."""
        try:
            self.wait(seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\nconsole:\n{self.said()[-3000:]}") from None
        hit = re.search(r"guest: digest ([0-9a-f]{64}) end", self.said())
        assert hit, f"the guest read nothing; its console:\n{self.said()[-3000:]}\n{self.output()}"
        return hit.group(1)


def overlay(backing, path, *, backing_format="raw"):
    """A qcow2 whose unwritten parts are those of `backing`."""
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", backing, "-F", backing_format, path])
    return path
