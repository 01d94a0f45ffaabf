# SPDX-License-Identifier: MIT
"""A real hypervisor: QEMU boots a guest from the mount while the image is incomplete."""

import pytest

from lib import guest
from lib.mounts import Mount
from lib.process import run
from lib.seeds import libtorrent_seed
from lib.torrents import MiB, assert_same, create_torrent, make_torrent

pytestmark = [pytest.mark.qemu, pytest.mark.threads]

# With filling the whole needs a hundred seconds at this rate, the seventh of it that a boot reads fifteen.
SEED_RATE = 3 * MiB


@pytest.fixture(scope="module")
def disk():
    return guest.disk_image()


@pytest.fixture(scope="module")
def torrent(disk, tmp_path_factory):
    return create_torrent(tmp_path_factory.mktemp("guest") / "guest.torrent", disk, piece_size=MiB)


def missing(mount):
    status = mount.status()
    return status["size"] - status["had"]


@pytest.mark.slow
@pytest.mark.parametrize("rate, options", [(SEED_RATE, ()), (None, ("fill=off",))], ids=["filling", "on-demand"])
def test_guest_boots_while_image_is_incomplete(tmp_path, disk, torrent, rate, options):
    with libtorrent_seed(torrent, disk, tmp_path, up=rate) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}", *options) as mount:
        overlay = guest.overlay(mount.path, tmp_path / "overlay.qcow2")
        with guest.Guest(overlay, tmp_path) as vm:
            assert vm.wait_digest() == guest.expected_digest()
        assert missing(mount) > 50 * MiB, "the image had arrived before the guest's end: nothing was shown"


@pytest.mark.slow
def test_guest_boots_uncached_from_a_v1_torrent(tmp_path, disk):
    torrent = make_torrent(tmp_path / "v1.torrent", disk, version="v1", piece_size=MiB)
    with libtorrent_seed(torrent, disk, tmp_path) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off") as mount:
        overlay = guest.overlay(mount.path, tmp_path / "overlay.qcow2")
        with guest.Guest(overlay, tmp_path, cache="none", aio="native") as vm:
            assert vm.wait_digest() == guest.expected_digest()
        assert missing(mount) > 50 * MiB


@pytest.mark.slow
def test_two_guests_share_one_mount_through_chains_of_overlays(tmp_path, disk, torrent):
    with libtorrent_seed(torrent, disk, tmp_path) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        base = guest.overlay(mount.path, tmp_path / "base.qcow2")
        first = guest.overlay(base, tmp_path / "first.qcow2", backing_format="qcow2")
        second = guest.overlay(base, tmp_path / "second.qcow2", backing_format="qcow2")
        with guest.Guest(first, tmp_path, name="first") as one, guest.Guest(second, tmp_path, name="second") as two:
            assert one.wait_digest() == guest.expected_digest()
            assert two.wait_digest() == guest.expected_digest()
        clone = tmp_path / "clone.raw"
        run(["qemu-img", "convert", "-O", "raw", second, clone])
        run(["qemu-img", "compare", "-f", "qcow2", "-F", "raw", second, clone])
        mount.wait_state("complete")
        assert_same(mount.path, disk)
