# SPDX-License-Identifier: MIT
"""`show` says what is in a .torrent, as libtorrent reads it."""

import json
import re
import subprocess

import libtorrent as lt
import pytest

from lib.process import P2PFS, p2pfs, run
from lib.torrents import KiB, make_torrent, odd_files, random_image

TRACKERS = ["http://a.example/announce", "udp://b.example:80"]


def show_json(torrent):
    return json.loads(p2pfs("show", "--json", torrent).stdout)


@pytest.fixture(params=["v1", "v2", "hybrid"])
def torrent(request, tmp_path):
    """Many files; made by libtorrent."""
    (tmp_path / "c").mkdir()
    odd_files(tmp_path / "c")
    return make_torrent(tmp_path / "t.torrent", tmp_path / "c", version=request.param, piece_size=64 * KiB,
                        trackers=TRACKERS, webseeds=["http://w.example/"])


def test_json_as_libtorrent(torrent):
    info, shown = lt.torrent_info(str(torrent)), show_json(torrent)
    assert shown["name"] == info.name()
    assert shown.get("info_hash_v1") == torrent.v1
    assert shown.get("info_hash_v2") == torrent.v2
    assert shown["version"] == ("hybrid" if torrent.v1 and torrent.v2 else "v1" if torrent.v1 else "v2")
    assert shown["piece_length"] == info.piece_length()
    assert shown["pieces"] == info.num_pieces()
    assert shown["private"] is False
    assert shown["trackers"] == [[url] for url in TRACKERS]
    assert shown["web_seeds"] == ["http://w.example/"]
    assert shown["creation_date"] == info.creation_date()
    files = info.files()
    want = [(files.file_path(i), files.file_size(i), files.file_offset(i) if files.file_size(i) else None)
            for i in range(files.num_files()) if not files.file_flags(i) & lt.file_storage.flag_pad_file]
    assert [(f["path"], f["length"], f["offset"] if f["length"] else None) for f in shown["files"]] == want
    assert shown["size"] == sum(size for _, size, _ in want)
    if torrent.v2:
        roots = {f["path"]: f["pieces_root"] for f in shown["files"] if f["length"]}
        assert roots == {files.file_path(i): str(files.root(i)) for i in range(files.num_files())
                         if files.file_size(i) and not files.file_flags(i) & lt.file_storage.flag_pad_file}


def test_magnet_as_libtorrent(torrent):
    link = p2pfs("show", "--magnet", torrent).stdout.strip()
    assert link == show_json(torrent)["magnet"]
    ours, theirs = lt.parse_magnet_uri(link), lt.parse_magnet_uri(lt.make_magnet_uri(lt.torrent_info(str(torrent))))
    assert ours.info_hashes == theirs.info_hashes
    assert ours.trackers == theirs.trackers == TRACKERS
    assert ours.url_seeds == theirs.url_seeds
    assert ours.name == theirs.name == "c"


def test_json_of_a_magnet_link(torrent):
    link = p2pfs("show", "-m", torrent).stdout.strip()
    shown = show_json(f"{link}&x.pe=192.0.2.1:6881&x.pe=[2001:db8::1]:7")
    assert shown.get("info_hash_v1") == torrent.v1
    assert shown.get("info_hash_v2") == torrent.v2
    assert shown["name"] == "c"
    assert shown["trackers"] == [[url] for url in TRACKERS]
    assert shown["peers"] == ["192.0.2.1:6881", "[2001:db8::1]:7"]
    text = p2pfs("show", link).stdout
    assert f"  Hash: {torrent.v1 or torrent.v2}\n" in text


def test_files_one_a_line(torrent):
    lines = p2pfs("show", "--files", torrent).stdout.splitlines()
    assert lines == [f"{f['length']}\t{f['path']}" for f in show_json(torrent)["files"]]


def test_lines_that_scripts_of_transmission_show_look_for(tmp_path):
    image = random_image(tmp_path / "image", 300_000)
    run(["transmission-create", "-s", "32", "-t", TRACKERS[0], "-t", TRACKERS[1], "-c", "a comment", "-o", tmp_path / "t", image])
    ours, theirs = (run([*program, tmp_path / "t"]).stdout for program in ((P2PFS, "show"), ("transmission-show",)))
    for line in (r"^Name: .*", r"^File: .*", r"^  Name: .*", r"^  Hash: .*", r"^  Created by: .*", r"^  Created on: .*",
                 r"^  Comment: .*", r"^  Piece Count: .*", r"^  Privacy: .*", r"^  Tier #1\n  .*", r"^  Tier #2\n  .*",
                 r"^GENERAL$", r"^TRACKERS$", r"^FILES$"):
        want = re.search(line, theirs, re.M)
        assert want, line
        assert want.group(0) in re.findall(line, ours, re.M)


def test_unsorted_is_taken(torrent):
    assert p2pfs("show", "-u", torrent).stdout == p2pfs("show", torrent).stdout


def hostile(tmp_path, **extra):
    info = {b"name": b"n\xff\xc2\x9b", b"piece length": 16384, b"length": 5, b"pieces": b"p" * 20}
    path = tmp_path / "hostile.torrent"
    path.write_bytes(lt.bencode({b"info": info, **{k.encode(): v for k, v in extra.items()}}))
    return path


def test_nothing_in_a_torrent_speaks_to_the_terminal(tmp_path):
    torrent = hostile(tmp_path, comment=b"\x1b]0;owned\x07\x1b[2J\x9b", announce=b"http://a/\x1b[2J")
    for form in ((), ("--files",)):
        text = subprocess.run([P2PFS, "show", *form, torrent], stdout=subprocess.PIPE, check=True).stdout
        assert not re.search(b"[\x00-\x08\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\x9b", text)
    assert "Comment: ?]0;owned??[2J?\n" in p2pfs("show", torrent).stdout


def test_json_is_utf8_whatever_the_name(tmp_path):
    shown = show_json(hostile(tmp_path))
    assert shown["name"] == "n\ufffd\x9b"


@pytest.mark.parametrize("words, says", [
    ([], "TORRENT: missing"),
    (["a", "b"], "b: only one TORRENT"),
    (["--nonsense", "a"], "--nonsense: no such option"),
    (["-x", "a"], "-x: no such option"),
    (["--json=5", "a"], "--json=5: takes no value"),
    (["--json", "-m", "a"], "only one of"),
])
def test_wrong_usage(words, says):
    done = p2pfs("show", *words, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"p2pfs show: {says}")


@pytest.mark.parametrize("what, says", [
    ("/nonexistent", "/nonexistent: No such file or directory"),
    ("/", "/: Is a directory"),
    ("/dev/null", "/dev/null: no torrent: at byte 0: ends too early"),
    ("magnet:?xt=urn:btih:12", "magnet:?xt=urn:btih:12: urn:btih: needs 40 hex digits"),
    ("magnet:?dn=x", "magnet:?dn=x: no xt=urn:btih: or xt=urn:btmh: in it"),
])
def test_failure(what, says):
    done = p2pfs("show", what, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"p2pfs show: {says}")
    assert done.stdout == ""


def test_full_output_is_a_failure(tmp_path):
    torrent = make_torrent(tmp_path / "t", random_image(tmp_path / "image", 100))
    with open("/dev/full", "w") as full:
        done = subprocess.run([P2PFS, "show", torrent], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "standard output: No space left on device" in done.stderr
