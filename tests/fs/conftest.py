# SPDX-License-Identifier: MIT
"""Images, torrents and mounts that the tests of the file system share."""

import pytest

from lib.mounts import Mount
from lib.seeds import libtorrent_seed
from lib.torrents import KiB, MiB, make_torrent, random_image, sparse_image
from lib.wait import wait_until


class Image:
    def __init__(self, path, torrent):
        self.path, self.torrent = path, torrent
        self.data = path.read_bytes()
        self.size = len(self.data)


@pytest.fixture(scope="session")
def image(tmp_path_factory):
    """3 MiB and some, random; its length is a multiple of nothing."""
    where = tmp_path_factory.mktemp("image")
    path = random_image(where / "template.raw", 3 * MiB + 12345)
    return Image(path, make_torrent(where / "template.torrent", path, piece_size=64 * KiB))


@pytest.fixture(scope="session")
def sparse(tmp_path_factory):
    """Data at [0, 64K), [1M, 1M + 128K) and in the last 64 KiB; whole pieces of zeros between."""
    where = tmp_path_factory.mktemp("sparse")
    path = sparse_image(where / "sparse.raw", 4 * MiB,
                        [(0, 64 * KiB), (MiB, 128 * KiB), (4 * MiB - 64 * KiB, 64 * KiB)])
    return Image(path, make_torrent(where / "sparse.torrent", path, piece_size=64 * KiB))


@pytest.fixture
def seedless(image, tmp_path, stack):
    """A mount whose reads wait for ever: seedless("io=cached")."""
    def make(*options, **kw):
        return stack.enter_context(Mount(image.torrent, tmp_path, *options, **kw))
    return make


@pytest.fixture
def seeded(image, tmp_path, stack):
    """A mount with a seed: seeded("fill=off")."""
    def make(*options, of=image, **kw):
        seed = stack.enter_context(libtorrent_seed(of.torrent, of.path, tmp_path))
        return stack.enter_context(Mount(of.torrent, tmp_path, f"peer={seed.peer}", *options, **kw))
    return make


@pytest.fixture
def wait_for_readers():
    """Waits until so many reads of the mount wait for their bytes."""
    def wait(mount, n):
        wait_until(lambda: int(mount.xattr("waiting")) >= n, lambda: f"{n} waiting reads: {mount.xattr('waiting')}")
    return wait
