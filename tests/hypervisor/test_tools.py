# SPDX-License-Identifier: MIT
"""qemu-img, loop devices and O_DIRECT on a mount whose image has not arrived."""

import json
import os
import pathlib

import pytest

from lib import guest
from lib.mounts import Mount
from lib.process import run
from lib.seeds import libtorrent_seed
from lib.torrents import GiB, MiB, assert_same, create_torrent, sparse_image, template_image

pytestmark = [pytest.mark.qemu, pytest.mark.threads]


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return template_image(tmp_path_factory.mktemp("image") / "template.raw", 96 * MiB, 24 * MiB)


@pytest.fixture(scope="module")
def torrent(image):
    return create_torrent(image.with_suffix(".torrent"), image, piece_size=MiB)


@pytest.fixture(scope="module")
def seed(tmp_path_factory, image, torrent):
    with libtorrent_seed(torrent, image, tmp_path_factory.mktemp("seed")) as peer:
        yield peer


@pytest.fixture
def mount(tmp_path, torrent, seed, stack):
    """Nothing of it is here but what is asked for."""
    return stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))


def test_qemu_img_info(mount, image):
    info = json.loads(run(["qemu-img", "info", "--output=json", mount.path]).stdout)
    assert info["format"] == "raw"
    assert info["virtual-size"] == os.path.getsize(image)


@pytest.mark.parametrize("cache", ["writeback", "none"])
@pytest.mark.parametrize("output", ["raw", "qcow2"])
def test_qemu_img_convert(mount, image, tmp_path, cache, output):
    run(["qemu-img", "convert", "-T", cache, "-O", output, mount.path, tmp_path / "copy"])
    run(["qemu-img", "compare", "-f", "raw", "-F", output, image, tmp_path / "copy"])
    if output == "raw":
        assert_same(tmp_path / "copy", image)


def test_qemu_img_convert_of_a_qcow2_image(tmp_path, image, stack):
    compressed = tmp_path / "template.qcow2"
    run(["qemu-img", "convert", "-c", "-O", "qcow2", image, compressed])
    torrent = create_torrent(tmp_path / "q.torrent", compressed)
    seed = stack.enter_context(libtorrent_seed(torrent, compressed, tmp_path))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    assert json.loads(run(["qemu-img", "info", "--output=json", mount.path]).stdout)["format"] == "qcow2"
    run(["qemu-img", "check", mount.path])
    run(["qemu-img", "convert", "-O", "raw", mount.path, tmp_path / "copy"])
    assert_same(tmp_path / "copy", image)


def test_qemu_img_skips_the_holes_of_a_raw_image(tmp_path, stack):
    image = sparse_image(tmp_path / "hole.raw", 4 * GiB, [(0, MiB), (3 * GiB + 5 * MiB, 2 * MiB)])
    torrent = create_torrent(tmp_path / "hole.torrent", image, piece_size=MiB)
    seed = stack.enter_context(libtorrent_seed(torrent, image, tmp_path, trust=True))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    mapped = json.loads(run(["qemu-img", "map", "--output=json", "-f", "raw", mount.path]).stdout)
    data = sum(extent["length"] for extent in mapped if extent["data"])
    assert 3 * MiB <= data <= 5 * MiB, mapped
    run(["qemu-img", "convert", "-O", "raw", mount.path, tmp_path / "copy"])
    run(["qemu-img", "compare", "-f", "raw", "-F", "raw", image, tmp_path / "copy"])


@pytest.mark.parametrize("block", ["512", "4096", "1M"])
def test_o_direct_dd(mount, image, tmp_path, block):
    count = {"512": 700, "4096": 2000, "1M": 96}[block]
    run(["dd", f"if={mount.path}", f"of={tmp_path / 'copy'}", "iflag=direct", f"bs={block}", f"count={count}",
         "status=none"])
    copy = tmp_path / "copy"
    with open(image, "rb") as want:
        assert copy.read_bytes() == want.read(copy.stat().st_size)


@pytest.mark.slow
def test_loop_device_and_the_file_system_in_the_image(tmp_path, stack):
    """losetup -r, then the guest disk's ext4 partition is mounted by the host and its files are read."""
    disk = guest.disk_image()
    torrent = create_torrent(tmp_path / "guest.torrent", disk, piece_size=MiB)
    seed = stack.enter_context(libtorrent_seed(torrent, disk, tmp_path, trust=True))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off"))
    device = run(["losetup", "-r", "--show", "-f", "-o", str(guest.DATA_START), "--sizelimit", str(guest.DATA_SIZE),
                  mount.path]).stdout.strip()
    stack.callback(run, ["losetup", "-d", device])
    files = tmp_path / "files"
    files.mkdir()
    run(["mount", "-t", "ext4", "-o", "ro", device, files])
    stack.callback(run, ["umount", files])
    assert len([name for name in os.listdir(files) if name.startswith("file-")]) == guest.FILES
    assert (files / "file-11").read_bytes() == guest.file_data(11)
    got = pathlib.Path(device).open("rb", buffering=0)
    stack.callback(got.close)
    with open(disk, "rb") as want:
        want.seek(guest.DATA_START + 200 * MiB)
        got.seek(200 * MiB)
        assert got.read(MiB) == want.read(MiB)
