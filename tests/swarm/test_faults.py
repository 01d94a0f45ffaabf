# SPDX-License-Identifier: MIT
"""Kills, a full disk, a rotten store: reads are right or fail, never wrong."""

import os
import random
import signal
import subprocess

import pytest

from lib.mounts import Mount
from lib.process import run
from lib.seeds import libtorrent_seed
from lib.torrents import KiB, MiB, assert_same, create_torrent, make_torrent, random_image, template_image
from lib.wait import free_port, wait_until

pytestmark = pytest.mark.threads


def test_kill_9_during_convert_then_mount_again(tmp_path):
    """At random moments, six times; what was recorded is not fetched twice, and the image is identical."""
    image = template_image(tmp_path / "image.raw", 96 * MiB, 32 * MiB)
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=256 * KiB)
    moments = random.Random(11)
    with libtorrent_seed(torrent, image, tmp_path, up=10 * MiB) as seed:
        for round_number in range(6):
            mount = Mount(torrent, tmp_path, f"peer={seed.peer}", name=f"m{round_number}", store=tmp_path / "store")
            with mount:
                copy = subprocess.Popen(["qemu-img", "convert", "-O", "raw", str(mount.path), str(tmp_path / "copy")],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                target = mount.status()["had"] + moments.randrange(64 * KiB, 6 * MiB)
                wait_until(lambda: mount.status()["had"] >= target or copy.poll() is not None, "the moment to kill")
                mount.kill()
                copy.wait(20)
        with Mount(torrent, tmp_path, f"peer={seed.peer}", name="last", store=tmp_path / "store") as mount:
            run(["qemu-img", "convert", "-O", "raw", mount.path, tmp_path / "copy"])
            assert_same(tmp_path / "copy", image)
            assert_same(mount.path, image)
            mount.wait_state("complete")


def test_recorded_data_is_not_fetched_again_after_a_clean_stop(tmp_path):
    image = random_image(tmp_path / "image.raw", 6 * MiB)
    torrent = create_torrent(tmp_path / "t.torrent", image)
    with libtorrent_seed(torrent, image, tmp_path) as seed:
        with Mount(torrent, tmp_path, f"peer={seed.peer}", name="first", store=tmp_path / "store") as mount:
            mount.wait_state("complete")
    # No peer any more: all must be there.
    with Mount(torrent, tmp_path, "timeout=20", name="second", store=tmp_path / "store") as mount:
        assert_same(mount.path, image)
        assert mount.status()["downloaded"] == 0


@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_full_disk_still_answers(tmp_path, version, stack):
    """A store on a tmpfs of 4 MiB for an image of 12: reads are answered from memory, all of them right."""
    image = random_image(tmp_path / "image.raw", 12 * MiB)
    torrent = make_torrent(tmp_path / "t.torrent", image, version=version, piece_size=128 * KiB)
    store = tmp_path / "small"
    store.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", store])
    stack.callback(run, ["umount", store])
    seed = stack.enter_context(libtorrent_seed(torrent, image, tmp_path))
    mount = stack.enter_context(Mount(torrent, tmp_path, f"peer={seed.peer}", store=store / "store",
                                      allow=["[Nn]o space", "record of what is here could not be saved"]))
    assert_same(mount.path, image)
    assert_same(mount.path, image)
    assert "space" in str(mount.status().get("why", "")) + mount.log.read_text()


@pytest.mark.parametrize("options", [(), ("verify=full",), ("verify=lazy",)], ids=["trust", "full", "lazy"])
def test_flipped_byte_in_the_store_is_fetched_again(tmp_path, options):
    """While unmounted, a byte rots.  Hashed again on start or on first touch, no reader ever sees it.

    With verify=trust a recorded bit is believed unless the file shows a change (size, times): this one does.
    """
    image = random_image(tmp_path / "image.raw", 4 * MiB)
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=64 * KiB)
    with libtorrent_seed(torrent, image, tmp_path) as seed:
        with Mount(torrent, tmp_path, f"peer={seed.peer}", name="first", store=tmp_path / "store") as mount:
            mount.wait_state("complete")
            stored = next(p for p in (mount.entry / "content").rglob("*") if p.is_file())
        with open(stored, "r+b") as file:
            file.seek(1_000_003)
            byte = file.read(1)[0]
            file.seek(1_000_003)
            file.write(bytes([byte ^ 0x80]))
        with Mount(torrent, tmp_path, f"peer={seed.peer}", *options, name="second", store=tmp_path / "store") as mount:
            assert_same(mount.path, image)


def test_truncated_store_file_is_fetched_again(tmp_path):
    image = random_image(tmp_path / "image.raw", 4 * MiB)
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=64 * KiB)
    with libtorrent_seed(torrent, image, tmp_path) as seed:
        with Mount(torrent, tmp_path, f"peer={seed.peer}", name="first", store=tmp_path / "store") as mount:
            mount.wait_state("complete")
            stored = next(p for p in (mount.entry / "content").rglob("*") if p.is_file())
        os.truncate(stored, 1_500_000)
        with Mount(torrent, tmp_path, f"peer={seed.peer}", name="second", store=tmp_path / "store") as mount:
            assert_same(mount.path, image)
            mount.wait_state("complete")


def test_seed_that_comes_late_ends_the_wait(tmp_path):
    """The mount waits for a peer that is not there yet; once it is, the read is answered."""
    image = random_image(tmp_path / "image.raw", 2 * MiB)
    torrent = create_torrent(tmp_path / "t.torrent", image)
    port = free_port()
    with Mount(torrent, tmp_path, f"peer=127.0.0.1:{port}") as mount:
        reader = subprocess.Popen(["cmp", str(mount.path), str(image)])
        wait_until(lambda: mount.status()["reads"]["waiting"] > 0, "a read that waits")
        with libtorrent_seed(torrent, image, tmp_path, port=port):
            assert reader.wait(60) == 0


def test_seed_that_dies_and_comes_back(tmp_path):
    image = random_image(tmp_path / "image.raw", 8 * MiB)
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=64 * KiB)
    seed = libtorrent_seed(torrent, image, tmp_path, name="one", up=2 * MiB)
    with Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        reader = subprocess.Popen(["cmp", str(mount.path), str(image)])
        wait_until(lambda: mount.status()["had"] > MiB, "the first MiB")
        seed.kill()
        with libtorrent_seed(torrent, image, tmp_path, name="two", port=seed.port):
            assert reader.wait(60) == 0


def test_sigstop_of_the_only_seed_stalls_and_sigcont_goes_on(tmp_path):
    image = random_image(tmp_path / "image.raw", 8 * MiB)
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=64 * KiB)
    with libtorrent_seed(torrent, image, tmp_path, up=4 * MiB) as seed, \
         Mount(torrent, tmp_path, f"peer={seed.peer}") as mount:
        reader = subprocess.Popen(["cmp", str(mount.path), str(image)])
        wait_until(lambda: mount.status()["had"] > MiB, "the first MiB")
        seed.signal(signal.SIGSTOP)
        wait_until(lambda: mount.status()["reads"]["waiting"] > 0, "a read that waits")
        seed.signal(signal.SIGCONT)
        assert reader.wait(60) == 0
