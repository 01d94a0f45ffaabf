# SPDX-License-Identifier: MIT
"""Images of every kind, and torrents of them by libtorrent's creator or by `p2pfs create`."""

import os
import pathlib
import random

from lib.process import p2pfs

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30


def random_bytes(size, seed=1):
    """The same `size` bytes for the same seed, incompressible."""
    return random.Random(seed).randbytes(size)


def random_image(path, size, seed=1):
    return sparse_image(path, size, [(0, size)], seed)


def sparse_image(path, size, extents, seed=1):
    """A file of holes with random data at [(offset, length)]."""
    path = pathlib.Path(path)
    source = random.Random(seed)
    with open(path, "wb") as out:
        out.truncate(size)
        for offset, length in extents:
            out.seek(offset)
            while length:
                chunk = min(length, 4 * MiB)
                out.write(source.randbytes(chunk))
                length -= chunk
    return path


def template_image(path, size=256 * MiB, data=48 * MiB, seed=3):
    """Laid out as a fresh template is: data at the head, scattered extents, a little at the very tail."""
    layout = random.Random(seed)
    extents, left = [(0, MiB), (size - 64 * KiB, 64 * KiB)], data - MiB
    while left > 0:
        length = min(left, layout.choice([4, 16, 64, 256, 1024, 4096]) * KiB)
        extents.append((layout.randrange(MiB, size - 8 * MiB) & ~4095, length))
        left -= length
    return sparse_image(path, size, extents, seed)


def odd_files(folder, seed=5, count=40):
    """Many files with lengths that are no multiple of anything, empty ones, nested folders; {name: size}."""
    folder = pathlib.Path(folder)
    shape = random.Random(seed)
    sizes = {}
    for index in range(count):
        depth = shape.randrange(3)
        name = "/".join([f"folder {shape.randrange(3)}"] * depth + [f"file-{index:03}.bin"])
        size = shape.choice([0, 1, 16383, 16384, 16385, 65537, shape.randrange(1, 700_000), shape.randrange(1, 3_000)])
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(shape.randbytes(size))
        sizes[name] = size
    return sizes


class Torrent:
    """A .torrent file: .path, .v1 and .v2 (hex or None), .hashes (those it has), .size."""

    def __init__(self, path):
        import libtorrent as lt
        self.path = pathlib.Path(path)
        info = lt.torrent_info(str(path))
        hashes = info.info_hashes()
        self.v1 = str(hashes.v1) if hashes.has_v1() else None
        self.v2 = str(hashes.v2) if hashes.has_v2() else None
        self.hashes = [h for h in (self.v1, self.v2) if h]
        self.size, self.piece_length, self.pieces = info.total_size(), info.piece_length(), info.num_pieces()

    def __fspath__(self):
        return str(self.path)

    __str__ = __fspath__


def make_torrent(out, content, *, version="hybrid", piece_size=256 * KiB, trackers=(), webseeds=(), private=False):
    """libtorrent's creator: version is v1, v2 or hybrid."""
    import libtorrent as lt
    files = lt.file_storage()
    lt.add_files(files, str(content))
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[version]
    torrent = lt.create_torrent(files, piece_size=piece_size, flags=flags)
    for tier, url in enumerate(trackers):
        torrent.add_tracker(url, tier)
    for url in webseeds:
        torrent.add_url_seed(url)
    torrent.set_priv(private)
    lt.set_piece_hashes(torrent, str(pathlib.Path(content).parent))
    pathlib.Path(out).write_bytes(lt.bencode(torrent.generate()))
    return Torrent(out)


def create_torrent(out, content, *args, version="hybrid", piece_size=None, trackers=(), webseeds=()):
    """`p2pfs create`."""
    words = ["--format", version, "-o", out]
    if piece_size:
        words += ["-s", str(piece_size // KiB)]
    for url in trackers:
        words += ["-t", url]
    for url in webseeds:
        words += ["-w", url]
    p2pfs("create", *words, *args, content, seconds=120)
    return Torrent(out)


def assert_same(path, original, chunk=MiB):
    """All bytes of `path` are those of `original`; tells the first that is not."""
    with open(path, "rb", buffering=0) as got, open(original, "rb", buffering=0) as want:
        assert os.fstat(got.fileno()).st_size == os.fstat(want.fileno()).st_size, f"{path} has another size"
        offset = 0
        while True:
            left, right = got.read(chunk), want.read(chunk)
            if left != right:
                first = next((i for i, (a, b) in enumerate(zip(left, right)) if a != b), min(len(left), len(right)))
                raise AssertionError(f"{path} differs from {original} at {offset + first}")
            if not left:
                return
            offset += len(left)


def assert_same_tree(folder, original):
    """The same files with the same bytes below both folders."""
    names = lambda top: sorted(str(p.relative_to(top)) for p in pathlib.Path(top).rglob("*") if p.is_file())
    assert names(folder) == names(original)
    for name in names(original):
        assert_same(pathlib.Path(folder) / name, pathlib.Path(original) / name)
