# SPDX-License-Identifier: MIT
"""What `create` writes has the info-hash that other creators give the same files."""

import os

import libtorrent as lt
import pytest

from lib.process import p2pfs, run
from lib.torrents import GiB, KiB, MiB, random_bytes, sparse_image

FLAGS = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}


def tree(folder, files):
    for seed, (name, size) in enumerate(files.items()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random_bytes(size, seed))
    return folder


def one(size):
    def make(folder):
        path = folder / "image.raw"
        path.write_bytes(random_bytes(size))
        return path
    return make


def many(files):
    return lambda folder: tree(folder / "content", files)


SHAPES = {
    "one byte": one(1),
    "a block": one(16 * KiB),
    "a block and a byte": one(16 * KiB + 1),
    "whole pieces": one(2 * MiB),
    "odd": one(3 * MiB + 12345),
    "one in a folder": many({"a": 100_000}),
    "odd lengths": many({"a": 1, "b": 16383, "c": 16384, "d": 16385, "e": 65536, "f": 65537, "g": 1_000_003}),
    "empty files": many({"a": 0, "b": 20_000, "c": 0, "d": 0, "e": 100, "f": 0, "g": 0}),
    "empty at the end of a piece": many({"a": 64 * KiB, "b": 0, "c": 5}),
    "nested": many({"a/b/c/d": 70_000, "a/b/e": 5, "a/f": 16384, "g": 3, "a.b/h": 9, "a b": 10, "a/b.c": 11}),
    "letters": many({"B": 5, "a": 6, "C/x": 7, "c/y": 8, "_": 9, "D": 10}),
    "unicode": many({"ä/ö": 50_000, "日本": 4, "z": 5, "é": 6, "😀/€": 7, "a": 8}),
    "dots": many({".hidden": 5, "..two": 6, "...": 7, ".d/x": 8, "a": 9}),
}


def lower(path):
    """How transmission-create compares paths: ASCII letters without case, bytes as signed."""
    folded = (c + 32 if 65 <= c <= 90 else c for c in os.fsencode(path))
    return [c - 256 if c > 127 else c for c in folded]


def libtorrent_creates(content, version, piece_size, private):
    files = lt.file_storage()
    if version == "v1" and content.is_dir():
        # libtorrent takes v1 files in the order given: ours is transmission-create's.
        paths = [p.relative_to(content.parent) for p in content.rglob("*") if p.is_file()]
        for path in sorted(paths, key=lower):
            files.add_file(str(path), (content.parent / path).stat().st_size)
    else:
        lt.add_files(files, str(content))
    creator = lt.create_torrent(files, piece_size, FLAGS[version])
    creator.set_priv(private)
    lt.set_piece_hashes(creator, str(content.parent))
    return creator.generate()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_as_libtorrent(tmp_path, version, shape):
    content = SHAPES[shape](tmp_path)
    for piece_size, private in ((16 * KiB, False), (64 * KiB, True), (MiB, False)):
        want = libtorrent_creates(content, version, piece_size, private)
        if version == "v1" and not private:
            want[b"info"][b"private"] = 0  # as transmission-create has it
        out = tmp_path / "t.torrent"
        p2pfs("create", "--format", version, "-s", piece_size // KiB, "-o", out, *["-p"] * private, content)
        got = lt.bdecode(out.read_bytes())
        assert got[b"info"] == want[b"info"]
        assert got.get(b"piece layers") == want.get(b"piece layers")
        loaded, theirs = lt.torrent_info(str(out)), lt.torrent_info(want)
        assert loaded.info_hashes() == theirs.info_hashes()
        assert loaded.num_pieces() == theirs.num_pieces()


@pytest.mark.parametrize("version", ["v2", "hybrid"])
def test_executables_as_libtorrent(tmp_path, version):
    for content in (one(50_000)(tmp_path), many({"run": 50_000, "data": 5})(tmp_path)):
        program = content / "run" if content.is_dir() else content
        program.chmod(0o755)
        out = tmp_path / "t.torrent"
        p2pfs("create", "--format", version, "-s", "16", "-o", out, content)
        assert lt.bdecode(out.read_bytes())[b"info"] == libtorrent_creates(content, version, 16 * KiB, False)[b"info"]


TRANSMISSION = [shape for shape in SHAPES if "empty" not in shape and shape != "dots"]


@pytest.mark.parametrize("shape", TRANSMISSION)
@pytest.mark.parametrize("private", [False, True])
def test_v1_as_transmission(tmp_path, shape, private):
    content = SHAPES[shape](tmp_path)
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    run(["transmission-create", "-s", "32", "-t", "http://a.example/announce", "-o", theirs, *["-p"] * private, content])
    p2pfs("create", "--format", "v1", "-s", "32", "-o", ours, *["-p"] * private, content)
    want, got = (lt.bdecode(path.read_bytes()) for path in (theirs, ours))
    assert got[b"info"] == want[b"info"]


def test_v1_is_read_by_transmission(tmp_path):
    content = SHAPES["unicode"](tmp_path)
    out = tmp_path / "t.torrent"
    p2pfs("create", "--format", "v1", "-s", "16", "-t", "http://a.example/announce", "-c", "a comment", "-o", out, content)
    shown = run(["transmission-show", out]).stdout
    assert f"Hash: {lt.torrent_info(str(out)).info_hashes().v1}" in shown
    assert "Comment: a comment" in shown
    assert "http://a.example/announce" in shown
    assert "content/ä/ö (50.00 kB)" in shown


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
def test_holes_hash_as_zeros(tmp_path, version):
    """The same image sparse and written out, and libtorrent, which reads all of it."""
    size = 33 * MiB + 777
    (tmp_path / "s").mkdir()
    sparse = sparse_image(tmp_path / "s" / "image", size, [(5 * MiB + 5, 100), (20 * MiB, MiB)])
    dense = tmp_path / "d" / "image"
    dense.parent.mkdir()
    dense.write_bytes(sparse.read_bytes())
    assert sparse.stat().st_blocks * 512 < dense.stat().st_blocks * 512
    infos = []
    for image in (sparse, dense):
        out = tmp_path / "t.torrent"
        p2pfs("create", "--format", version, "-p", "-s", "64", "-o", out, image)
        infos.append(lt.bdecode(out.read_bytes())[b"info"])
    assert infos[0] == infos[1] == libtorrent_creates(dense, version, 64 * KiB, True)[b"info"]


@pytest.mark.threads
@pytest.mark.parametrize("version", ["v1", "hybrid"])
def test_threads_make_no_difference(tmp_path, version):
    content = SHAPES["odd lengths"](tmp_path)
    made = set()
    for threads in (1, 2, 7, 64):
        out = tmp_path / "t.torrent"
        p2pfs("create", "--format", version, "-j", threads, "-s", "16", "-o", out, content,
              env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
        made.add(out.read_bytes())
    assert len(made) == 1


def test_large_sparse_image_in_little_memory(tmp_path):
    """100 GiB of hole: neither read nor held."""
    image = sparse_image(tmp_path / "image", 100 * GiB, [(50 * GiB, 10 * MiB)])
    out = tmp_path / "t.torrent"
    p2pfs("create", "-s", "1M", "-o", out, image)
    assert out.stat().st_size < 6 * MiB
    assert "all 102400 pieces are good" in p2pfs("verify", out, image).stdout
