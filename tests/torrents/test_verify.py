# SPDX-License-Identifier: MIT
"""`verify` tells good from bad, by piece, file and byte."""

import json
import os

import libtorrent as lt
import pytest

from lib.process import p2pfs
from lib.torrents import KiB, create_torrent, make_torrent, odd_files, random_image, sparse_image

PIECE = 64 * KiB


def verify(torrent, *words, status=0, **kw):
    done = p2pfs("verify", "--json", torrent, *words, check=False, **kw)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def flip(path, offset):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))


@pytest.fixture(params=["v1", "v2", "hybrid"])
def version(request):
    return request.param


@pytest.fixture
def image(tmp_path, version):
    """.torrent (libtorrent's) and image."""
    image = random_image(tmp_path / "image", 10 * PIECE + 777)
    return make_torrent(tmp_path / "t.torrent", image, version=version, piece_size=PIECE), image


@pytest.fixture
def folder(tmp_path, version):
    (tmp_path / "c").mkdir()
    sizes = odd_files(tmp_path / "c")
    return make_torrent(tmp_path / "t.torrent", tmp_path / "c", version=version, piece_size=PIECE), tmp_path / "c", sizes


def test_good(image):
    torrent, path = image
    got = verify(torrent, path)
    assert got["good"] is True
    assert got["pieces"] == got["good_pieces"] == 11
    assert got["bad_pieces"] == got["bad_ranges"] == got["bad_files"] == []
    assert p2pfs("verify", torrent, path).stdout == "image: all 11 pieces are good\n"


def test_good_folder(folder):
    torrent, path, _ = folder
    assert verify(torrent, path)["good"] is True


def test_where_it_is_looked_for(image, tmp_path):
    torrent, path = image
    assert verify(torrent, cwd=tmp_path)["good"] is True
    assert verify(torrent, tmp_path)["good"] is True
    assert verify(torrent, path)["good"] is True
    path.rename(tmp_path / "other")
    assert verify(torrent, tmp_path / "other")["good"] is True


@pytest.mark.parametrize("offset", [0, PIECE - 1, PIECE, 5 * PIECE + 100, 10 * PIECE + 776])
def test_a_flipped_bit(image, offset):
    torrent, path = image
    flip(path, offset)
    got = verify(torrent, path, status=1)
    piece = offset // PIECE
    begin, end = piece * PIECE, min((piece + 1) * PIECE, path.stat().st_size)
    assert got["bad_pieces"] == [piece]
    assert got["good_pieces"] == 10
    assert got["bad_ranges"] == [{"path": "image", "offset": begin, "length": end - begin,
                                  "first_piece": piece, "last_piece": piece}]
    text = p2pfs("verify", torrent, path, check=False).stdout
    assert text == f"bad: image: bytes {begin}-{end - 1} (piece {piece})\nimage: 1 of 11 pieces are bad\n"


def test_runs_of_bad_pieces_are_told_as_one(image):
    torrent, path = image
    for piece in (2, 3, 4, 8):
        flip(path, piece * PIECE)
    got = verify(torrent, path, status=1)
    assert got["bad_pieces"] == [2, 3, 4, 8]
    assert [(r["first_piece"], r["last_piece"], r["offset"], r["length"]) for r in got["bad_ranges"]] == \
        [(2, 4, 2 * PIECE, 3 * PIECE), (8, 8, 8 * PIECE, PIECE)]
    assert f"bytes {2 * PIECE}-{5 * PIECE - 1} (pieces 2-4)" in p2pfs("verify", torrent, path, check=False).stdout


def test_the_file_that_is_bad(folder, version):
    torrent, path, sizes = folder
    name = max(sizes, key=sizes.get)
    flip(path / name, sizes[name] // 2)
    got = verify(torrent, path, status=1)
    info = lt.torrent_info(str(torrent))
    index = next(i for i in range(info.num_files()) if info.files().file_path(i) == f"c/{name}")
    piece = info.map_file(index, sizes[name] // 2, 1).piece
    assert got["bad_pieces"] == [piece]
    assert f"c/{name}" in [r["path"] for r in got["bad_ranges"]]
    if version != "v1":
        assert len(got["bad_ranges"]) == 1


def test_missing_file(folder):
    torrent, path, sizes = folder
    name = max(sizes, key=sizes.get)
    (path / name).unlink()
    got = verify(torrent, path, status=1)
    assert got["bad_files"] == [{"path": f"c/{name}", "problem": "No such file or directory"}]
    assert f"bad: c/{name}: No such file or directory\n" in p2pfs("verify", torrent, path, check=False).stdout


def test_missing_empty_file(folder):
    """No piece is bad, but something is."""
    torrent, path, sizes = folder
    name = next(n for n, size in sizes.items() if not size)
    (path / name).unlink()
    got = verify(torrent, path, status=1)
    assert got["bad_pieces"] == []
    assert [f["path"] for f in got["bad_files"]] == [f"c/{name}"]


def test_short_file(image):
    torrent, path = image
    os.truncate(path, 5 * PIECE + 1)
    got = verify(torrent, path, status=1)
    assert got["bad_files"] == [{"path": "image", "problem": f"{5 * PIECE + 1} bytes, not {10 * PIECE + 777}"}]
    assert set(got["bad_pieces"]) >= {5, 6, 7, 8, 9, 10}


def test_long_file(image):
    torrent, path = image
    with open(path, "ab") as file:
        file.write(b"x")
    got = verify(torrent, path, status=1)
    assert got["bad_pieces"] == []
    assert got["bad_files"] == [{"path": "image", "problem": f"{10 * PIECE + 778} bytes, not {10 * PIECE + 777}"}]


@pytest.mark.parametrize("instead", ["folder", "fifo"])
def test_something_else_in_its_place(folder, instead):
    torrent, path, sizes = folder
    name = max(sizes, key=sizes.get)
    (path / name).unlink()
    (os.mkdir if instead == "folder" else os.mkfifo)(path / name)
    got = verify(torrent, path, status=1)
    problem = {"folder": "Is a directory", "fifo": "not a regular file"}[instead]
    assert got["bad_files"] == [{"path": f"c/{name}", "problem": problem}]


@pytest.mark.parametrize("half", ["v1", "v2"])
def test_both_hashes_of_a_hybrid_count(tmp_path, half):
    """A .torrent whose halves disagree about a piece: that piece is bad, whichever is wrong."""
    image = random_image(tmp_path / "image", 4 * PIECE)
    torrent = make_torrent(tmp_path / "t.torrent", image, piece_size=PIECE).path
    if half == "v1":
        parsed = lt.bdecode(torrent.read_bytes())
        pieces = bytearray(parsed[b"info"][b"pieces"])
        pieces[2 * 20] ^= 1
        parsed[b"info"][b"pieces"] = bytes(pieces)
        torrent.write_bytes(lt.bencode(parsed))
    else:
        # Another image's tree under this one's SHA-1s.
        flipped = tmp_path / "other" / "image"
        flipped.parent.mkdir()
        flipped.write_bytes(image.read_bytes())
        flip(flipped, 2 * PIECE)
        make_torrent(tmp_path / "o.torrent", flipped, piece_size=PIECE)
        parsed, other = (lt.bdecode((tmp_path / n).read_bytes()) for n in ("t.torrent", "o.torrent"))
        parsed[b"info"][b"file tree"] = other[b"info"][b"file tree"]
        parsed[b"piece layers"] = other[b"piece layers"]
        torrent.write_bytes(lt.bencode(parsed))
    assert verify(torrent, image, status=1)["bad_pieces"] == [2]


def test_data_in_what_should_be_a_hole(tmp_path, version):
    image = sparse_image(tmp_path / "image", 40 * PIECE, [(0, PIECE)])
    torrent = create_torrent(tmp_path / "t.torrent", image, version=version, piece_size=PIECE)
    assert verify(torrent, image)["good"] is True
    flip(image, 30 * PIECE + 5)
    assert verify(torrent, image, status=1)["bad_pieces"] == [30]


@pytest.mark.threads
def test_threads_make_no_difference(folder):
    torrent, path, sizes = folder
    flip(path / max(sizes, key=sizes.get), 5)
    results = [verify(torrent, path, "-j", threads, status=1) for threads in (1, 3, 64)]
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("words, status, says", [
    ([], 2, "TORRENT: missing"),
    (["a", "b", "c"], 2, "c: only one PATH"),
    (["-j", "0", "a"], 2, "-j 0: not within 1 and 64"),
    (["-j", "65", "a"], 2, "-j 65: not within 1 and 64"),
    (["/nonexistent"], 1, "/nonexistent: No such file or directory"),
])
def test_wrong_usage(words, status, says):
    done = p2pfs("verify", *words, check=False)
    assert done.returncode == status
    assert done.stderr.startswith(f"p2pfs verify: {says}")


def test_path_that_is_not_there(image, tmp_path):
    torrent, _ = image
    done = p2pfs("verify", torrent, tmp_path / "gone", check=False)
    assert done.returncode == 1
    assert done.stderr == f"p2pfs verify: {tmp_path}/gone: No such file or directory\n"
