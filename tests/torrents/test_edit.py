# SPDX-License-Identifier: MIT
"""`edit` changes trackers and web seeds, and nothing else."""

import os
import shutil

import libtorrent as lt
import pytest

from lib.process import p2pfs, run
from lib.torrents import make_torrent, random_image

A, B, C = "http://a.example/announce", "udp://b.example:80", "http://c.example/announce"
W, X = "http://w.example/", "http://x.example/"


@pytest.fixture(params=["v1", "v2", "hybrid"])
def torrent(request, tmp_path):
    image = random_image(tmp_path / "image", 100_000)
    return make_torrent(tmp_path / "t.torrent", image, version=request.param, piece_size=16384,
                        trackers=[A, B], webseeds=[W]).path


def edit(torrent, *words):
    """Runs it; all but trackers and web seeds must be the same bytes after it."""
    before = lt.bdecode(torrent.read_bytes())
    hashes = lt.torrent_info(str(torrent)).info_hashes()
    said = p2pfs("edit", torrent, *words).stdout
    after = lt.bdecode(torrent.read_bytes())
    ours = {b"announce", b"announce-list", b"url-list"}
    assert {k: v for k, v in after.items() if k not in ours} == {k: v for k, v in before.items() if k not in ours}
    assert lt.torrent_info(str(torrent)).info_hashes() == hashes
    return said


def trackers(torrent):
    return [(t.url, t.tier) for t in lt.torrent_info(str(torrent)).trackers()]


def web_seeds(torrent):
    return [w["url"] for w in lt.torrent_info(str(torrent)).web_seeds()]


def test_add(torrent):
    assert edit(torrent, "-a", C) == "Changed 1 files\n"
    assert trackers(torrent) == [(A, 0), (B, 1), (C, 2)]


def test_add_what_is_there(torrent):
    before = torrent.read_bytes(), torrent.stat().st_ino
    assert edit(torrent, "-a", B) == "Changed 0 files\n"
    assert (torrent.read_bytes(), torrent.stat().st_ino) == before


def test_delete(torrent):
    edit(torrent, "-d", A)
    assert trackers(torrent) == [(B, 0)]
    assert lt.bdecode(torrent.read_bytes())[b"announce"] == B.encode()


def test_delete_all(torrent):
    edit(torrent, "-d", A, "-d", B)
    assert trackers(torrent) == []
    assert b"announce" not in lt.bdecode(torrent.read_bytes())
    edit(torrent, "-a", C)
    assert trackers(torrent) == [(C, 0)]


def test_delete_what_is_not_there(torrent):
    assert edit(torrent, "-d", C) == "Changed 0 files\n"


def test_replace_in_trackers_and_web_seeds(torrent):
    edit(torrent, "-r", "example", "invalid")
    assert trackers(torrent) == [("http://a.invalid/announce", 0), ("udp://b.invalid:80", 1)]
    assert web_seeds(torrent) == ["http://w.invalid/"]


def test_web_seeds(torrent):
    edit(torrent, "-w", X)
    assert web_seeds(torrent) == [W, X]
    edit(torrent, "-d", W, "-d", X)
    assert web_seeds(torrent) == []
    assert b"url-list" not in lt.bdecode(torrent.read_bytes())


def test_options_work_in_their_order(torrent):
    edit(torrent, "-a", C, "-d", C, "-r", "//a.", "//z.", "-a", C)
    assert trackers(torrent) == [("http://z.example/announce", 0), (B, 1), (C, 2)]


def test_several_torrents(torrent, tmp_path):
    other = tmp_path / "other.torrent"
    shutil.copy(torrent, other)
    assert p2pfs("edit", "-a", C, torrent, other).stdout == "Changed 2 files\n"
    assert trackers(torrent) == trackers(other) == [(A, 0), (B, 1), (C, 2)]


def test_one_bad_torrent_leaves_the_others_edited(torrent, tmp_path):
    done = p2pfs("edit", "-a", C, tmp_path / "gone", torrent, check=False)
    assert done.returncode == 1
    assert f"p2pfs edit: {tmp_path}/gone: No such file or directory" in done.stderr
    assert trackers(torrent) == [(A, 0), (B, 1), (C, 2)]


def test_tiers_stay(tmp_path):
    image = random_image(tmp_path / "image", 100)
    torrent = make_torrent(tmp_path / "t", image, version="v1")
    parsed = lt.bdecode(torrent.path.read_bytes())
    parsed[b"announce-list"] = [[A.encode(), B.encode()], [C.encode()]]
    torrent.path.write_bytes(lt.bencode(parsed))
    edit(torrent.path, "-a", "udp://d:1")
    assert lt.bdecode(torrent.path.read_bytes())[b"announce-list"] == \
        [[A.encode(), B.encode()], [C.encode()], [b"udp://d:1"]]


@pytest.mark.parametrize("words", [["-a", C], ["-d", A], ["-r", "example", "invalid"]])
def test_as_transmission_edit(tmp_path, words):
    image = random_image(tmp_path / "image", 100_000)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    run(["transmission-create", "-s", "16", "-t", A, "-t", B, "-o", ours, image])
    shutil.copy(ours, theirs)
    p2pfs("edit", *words, ours)
    run(["transmission-edit", *words, theirs])
    assert trackers(ours) == trackers(theirs)
    assert lt.torrent_info(str(ours)).info_hashes() == lt.torrent_info(str(theirs)).info_hashes()


def test_an_info_in_no_order_stays_as_it_is(tmp_path):
    """Its hash is over the bytes as they stand: decoding and encoding it anew would change it."""
    info = b"d6:pieces20:" + b"p" * 20 + b"4:name1:n12:piece lengthi16384e1:xi0e6:lengthi5ee"
    torrent = tmp_path / "t"
    torrent.write_bytes(b"d4:info" + info + b"1:zi5e7:comment2:hi3:abcli1eee")
    p2pfs("edit", "-a", A, torrent)
    assert torrent.read_bytes() == b"d3:abcli1ee8:announce25:" + A.encode() + b"7:comment2:hi4:info" + info + b"1:zi5ee"


def test_mode_and_owner_stay(torrent):
    os.chmod(torrent, 0o640)
    os.chown(torrent, 65534, 65534)
    edit(torrent, "-a", C)
    stat = torrent.stat()
    assert (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) == (0o640, 65534, 65534)


def test_no_file_is_left_beside(torrent, tmp_path):
    before = sorted(os.listdir(tmp_path))
    edit(torrent, "-a", C)
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("words, says", [
    ([], "TORRENT: missing"),
    (["t"], "nothing to do"),
    (["t", "-a"], "-a: needs a value"),
    (["t", "-r", "x"], "-r x: needs NEW, too"),
    (["t", "-r", "", "x"], "-r: OLD is empty"),
    (["t", "--sideways"], "--sideways: no such option"),
    (["t", "-a", "nonsense"], "nonsense: "),
    (["t", "-a", "ftp://x/"], "ftp://x/: "),
])
def test_wrong_usage(words, says):
    done = p2pfs("edit", *words, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"p2pfs edit: {says}")


def test_a_replacement_that_is_no_url_changes_nothing(torrent):
    before = torrent.read_bytes()
    done = p2pfs("edit", torrent, "-r", "http://", "gopher://", check=False)
    assert done.returncode == 1
    assert "gopher://a.example/announce" in done.stderr
    assert torrent.read_bytes() == before


def test_at_most_100_trackers(torrent):
    before = torrent.read_bytes()
    urls = [word for i in range(99) for word in ("-a", f"udp://t{i}:1")]
    done = p2pfs("edit", torrent, *urls, check=False)
    assert done.returncode == 1
    assert "more than 100 trackers" in done.stderr
    assert torrent.read_bytes() == before
    edit(torrent, *urls[2:])
    assert len(trackers(torrent)) == 100
