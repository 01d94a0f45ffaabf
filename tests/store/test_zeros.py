# SPDX-License-Identifier: MIT
"""Known zeros are holes that nobody fetches; where the store has something else, they are not known."""

import pytest

from lib.mounts import Mount
from lib.seeds import P2pfsGet, libtorrent_seed
from lib.torrents import KiB, MiB, assert_same, create_torrent, random_image, sparse_image

pytestmark = pytest.mark.threads
VERSIONS = ("v1", "v2", "hybrid")


def mostly_zeros(tmp_path, version):
    """Whole pieces of zeros, and blocks of zeros in pieces that hold something."""
    image = sparse_image(tmp_path / "image.raw", 4 * MiB, [(MiB, 256 * KiB), (3 * MiB + 48 * KiB, 16 * KiB)])
    return image, create_torrent(tmp_path / "t.torrent", image, version=version, piece_size=128 * KiB)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("size", [4 * MiB, 2 * MiB + 5], ids=["same", "shorter"])
def test_get_over_a_file_of_other_bytes(tmp_path, version, size):
    image, torrent = mostly_zeros(tmp_path, version)
    (tmp_path / "got").mkdir()
    random_image(tmp_path / "got" / "image.raw", size, seed=77)
    with libtorrent_seed(torrent, image, tmp_path) as seed:
        with P2pfsGet(torrent, tmp_path / "got", tmp_path, f"peer={seed.peer}") as get:
            get.wait_complete()
    assert_same(tmp_path / "got" / "image.raw", image)


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_written_into_a_hole_behind_our_back_are_never_read(tmp_path, version):
    image, torrent = mostly_zeros(tmp_path, version)
    with libtorrent_seed(torrent, image, tmp_path) as seed:
        with Mount(torrent, tmp_path, f"peer={seed.peer}", name="first", store=tmp_path / "store") as mount:
            mount.wait_state("complete")
            content = mount.entry / "content" / "image.raw"
        with content.open("r+b") as stored:
            for offset in (5, 3 * MiB, 4 * MiB - 1):
                stored.seek(offset)
                stored.write(b"x")
        with Mount(torrent, tmp_path, f"peer={seed.peer}", name="second", store=tmp_path / "store") as mount:
            assert_same(mount.path, image)
            mount.wait_state("complete")
            assert_same(content, image)


def test_what_a_lazy_check_did_not_reach_is_not_fetched_again(tmp_path):
    """Neither by this run nor by the next: a stop before all was looked at forgets nothing."""
    image = random_image(tmp_path / "image.raw", 4 * MiB)
    torrent = create_torrent(tmp_path / "t.torrent", image, piece_size=128 * KiB)
    store = tmp_path / "store"
    with libtorrent_seed(torrent, image, tmp_path) as seed:
        with Mount(torrent, tmp_path, f"peer={seed.peer}", name="first", store=store) as mount:
            mount.wait_state("complete")
    for name in ("second", "third"):
        with Mount(torrent, tmp_path, "verify=lazy", "fill=off", name=name, store=store) as mount:
            with mount.path.open("rb") as f:
                f.read(4096)
    with Mount(torrent, tmp_path, "timeout=20", name="last", store=store) as mount:
        assert_same(mount.path, image)
        assert mount.status()["downloaded"] == 0
