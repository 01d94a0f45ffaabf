# SPDX-License-Identifier: MIT
"""`create` as scripts call it: where the result goes, its mode, options, messages, exit status."""

import errno
import json
import os
import pty
import re
import subprocess

import libtorrent as lt
import pytest

from lib.process import P2PFS, ROOT, p2pfs
from lib.torrents import MiB, random_image


@pytest.fixture
def image(tmp_path):
    (tmp_path / "in").mkdir()
    return random_image(tmp_path / "in" / "image.raw", 100_000)


def load(path):
    return lt.bdecode(path.read_bytes())


def test_default_output_is_in_the_current_folder(tmp_path, image):
    (tmp_path / "here").mkdir()
    p2pfs("create", image, cwd=tmp_path / "here")
    assert os.listdir(tmp_path / "here") == ["image.raw.torrent"]
    assert os.listdir(tmp_path / "in") == ["image.raw"]


@pytest.mark.parametrize("path, name", [("in", "in"), ("in/", "in"), ("in/.", "in"), ("in/../in", "in")])
def test_name_of_a_folder(tmp_path, image, path, name):
    p2pfs("create", path, cwd=tmp_path)
    assert load(tmp_path / f"{name}.torrent")[b"info"][b"name"] == name.encode()


def test_the_current_folder(tmp_path, image):
    p2pfs("create", ".", cwd=tmp_path / "in")
    assert load(tmp_path / "in" / "in.torrent")[b"info"][b"name"] == b"in"


def test_older_torrent_is_replaced(tmp_path, image):
    """As transmission-create does; a script that renews its torrents each night relies on it."""
    out = tmp_path / "t.torrent"
    out.write_bytes(b"old")
    p2pfs("create", "-o", out, image)
    assert load(out)[b"info"][b"name"] == b"image.raw"


def test_older_torrent_survives_a_failure(tmp_path):
    out = tmp_path / "t.torrent"
    out.write_bytes(b"old")
    assert p2pfs("create", "-o", out, tmp_path / "gone", check=False).returncode == 1
    assert out.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["t.torrent"]


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_mode_is_0644(tmp_path, image, umask):
    p2pfs("create", "-o", tmp_path / "t", image, umask=umask)
    assert (tmp_path / "t").stat().st_mode & 0o7777 == 0o644


def test_all_options(tmp_path, image):
    out = tmp_path / "t"
    p2pfs("create", "--outfile", out, "--tracker", "http://a.example/announce", "-t", "udp://b.example:80",
          "-w", "http://w.example/image.raw", "--webseed", "https://x.example/", "--comment", "ein Kommentar: ä",
          "--piecesize", "64", "--private", "--format", "v1", "--threads", "1", image)
    made = load(out)
    assert made[b"announce"] == b"http://a.example/announce"
    assert made[b"announce-list"] == [[b"http://a.example/announce"], [b"udp://b.example:80"]]
    assert made[b"url-list"] == [b"http://w.example/image.raw", b"https://x.example/"]
    assert made[b"comment"] == "ein Kommentar: ä".encode()
    assert made[b"info"][b"private"] == 1
    assert made[b"info"][b"piece length"] == 65536
    assert b"file tree" not in made[b"info"]


def test_one_tracker_needs_no_list(tmp_path, image):
    p2pfs("create", "-o", tmp_path / "t", "-t", "http://a.example/announce", image)
    assert b"announce-list" not in load(tmp_path / "t")


def test_created_by_and_date(tmp_path, image):
    version = p2pfs("version").stdout.split()[1]
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1234567890"}
    p2pfs("create", "-o", tmp_path / "t", image, env=env)
    made = load(tmp_path / "t")
    assert made[b"created by"] == f"p2pfs {version}".encode()
    assert made[b"creation date"] == 1234567890


@pytest.mark.parametrize("text, size", [("16", 16384), ("16K", 16384), ("16k", 16384), ("1M", MiB), ("1024", MiB),
                                        ("64M", 64 * MiB), ("65536", 64 * MiB)])
def test_piece_size(tmp_path, image, text, size):
    p2pfs("create", "-s", text, "-o", tmp_path / "t", image)
    assert load(tmp_path / "t")[b"info"][b"piece length"] == size


def test_json_is_that_of_show(tmp_path, image):
    out = tmp_path / "t"
    made = json.loads(p2pfs("create", "--json", "-o", out, image).stdout)
    assert made.pop("torrent") == str(out)
    assert made == json.loads(p2pfs("show", "--json", out).stdout)


def test_tells_what_it_made(tmp_path, image):
    out = tmp_path / "t"
    said = p2pfs("create", "-s", "16", "-o", out, image)
    hashes = lt.torrent_info(str(out)).info_hashes()
    assert said.stdout == (f"{out}: hybrid, 97.7 KiB in 1 file, 7 pieces of 16.0 KiB\n"
                           f"info-hash: {hashes.v1}\ninfo-hash v2: {hashes.v2}\n")
    assert said.stderr == ""


def test_progress_on_a_terminal(tmp_path, image):
    master, slave = pty.openpty()
    with subprocess.Popen([P2PFS, "create", "-o", tmp_path / "t", image], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=slave) as process:
        os.close(slave)
        seen = b""
        try:
            while chunk := os.read(master, 4096):
                seen += chunk
        except OSError as error:  # how Linux tells that the other end is closed
            assert error.errno == errno.EIO
    os.close(master)
    assert process.returncode == 0
    assert re.match(rb"\rhashing \[[.#]+\]", seen)
    assert seen.endswith(b"\r\x1b[K")


@pytest.mark.parametrize("words, says", [
    ([], "PATH: missing"),
    (["x", "y"], "y: only one PATH"),
    (["-s", "15", "x"], "-s 15: a piece is 16K to 64M"),
    (["-s", "8K", "x"], "-s 8K: a piece is 16K to 64M"),
    (["-s", "48K", "x"], "-s 48K: a piece is 16K to 64M, a power of two"),
    (["-s", "128M", "x"], "-s 128M: a piece is"),
    (["-s", "1048576", "x"], "-s 1048576: a piece is 16K to 64M, a power of two (a plain number is KiB)"),
    (["-s", "18446744073709551615", "x"], "-s 18446744073709551615: a piece is"),
    (["-s", "-16", "x"], "-s -16: a piece is"),
    (["-s", "large", "x"], "-s large: a piece is"),
    (["-f", "v3", "x"], "--format v3: not hybrid, v1 or v2"),
    (["-j", "0", "x"], "-j 0: not within 1 and 64"),
    (["-j", "65", "x"], "-j 65: not within 1 and 64"),
    (["-t", "tracker.example", "x"], "-t tracker.example: "),
    (["-t", "ftp://tracker.example/", "x"], "-t ftp://tracker.example/: "),
    (["-t", "http://" + "a" * 2050, "x"], "-t: 2057 bytes: longer than 2048"),
    (["-w", "udp://w.example:1", "x"], "-w udp://w.example:1: a web seed is http or https"),
    (["-o"], "-o: needs a value"),
    (["--tracker"], "--tracker: needs a value"),
    (["--nonsense", "x"], "--nonsense: no such option"),
    (["-Z", "x"], "-Z: no such option"),
    (["-pZ", "x"], "-Z: no such option"),
])
def test_wrong_usage(words, says):
    done = p2pfs("create", *words, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"p2pfs create: {says}")
    assert "p2pfs create --help" in done.stderr


def test_number_of_trackers(tmp_path, image):
    urls = [word for i in range(101) for word in ("-t", f"udp://t{i}.example:1")]
    p2pfs("create", "-o", tmp_path / "t", *urls[:200], image)
    assert len(load(tmp_path / "t")[b"announce-list"]) == 100
    done = p2pfs("create", *urls, image, check=False)
    assert done.returncode == 2
    assert "udp://t100.example:1: more than 100 of them" in done.stderr


@pytest.mark.parametrize("command", ["create", "show", "edit", "verify"])
def test_help_and_version(command):
    done = p2pfs(command, "--help")
    assert done.stdout.startswith(f"usage: p2pfs {command} ")
    assert done.stderr == ""
    for option in re.findall(r"^  +(?:-\w, )?(--[a-z]+)", done.stdout, re.M):
        assert f"{option}: no such option" not in p2pfs(command, option, check=False).stderr
    assert p2pfs(command, "-V").stdout == p2pfs("version").stdout


@pytest.mark.parametrize("command", ["create", "show", "edit", "verify"])
def test_man_page_tells_every_option(command):
    """man/ and --help tell the same."""
    page = (ROOT / "man" / f"p2pfs-{command}.1").read_text()
    items = re.findall(r"^\.It (Fl .*)", page, re.M)
    told = {"-" * len(fl.split()) + name for item in items for fl, name in re.findall(r"((?:Fl )+)(\w+)", item)}
    helped = re.findall(r"^  +(-.*?)(?:  |$)", p2pfs(command, "--help").stdout, re.M)
    wanted = {option for line in helped for option in re.findall(r"(?<!\S)--?\w+", line)}
    assert told == wanted


@pytest.mark.parametrize("make, says", [
    (lambda p: None, "No such file or directory"),
    (lambda p: p.write_bytes(b""), "not a single byte in it"),
    (lambda p: p.mkdir(), "not a single byte in it"),
    (lambda p: os.mkfifo(p), "neither a file nor a folder"),
])
def test_nothing_to_make_a_torrent_of(tmp_path, make, says):
    path = tmp_path / "x"
    make(path)
    done = p2pfs("create", "-o", tmp_path / "t", path, check=False)
    assert done.returncode == 1
    assert done.stderr == f"p2pfs create: {path}: {says}\n"
    assert not (tmp_path / "t").exists()


def test_output_that_cannot_be_written(tmp_path, image):
    done = p2pfs("create", "-o", tmp_path / "gone" / "t", image, check=False)
    assert done.returncode == 1
    assert done.stderr == f"p2pfs create: {tmp_path}/gone/t: No such file or directory\n"


def test_never_over_the_image(tmp_path, image):
    before = image.read_bytes()
    done = p2pfs("create", "-o", image, image, check=False)
    assert done.returncode == 1
    assert "the torrent would be written over it" in done.stderr
    assert image.read_bytes() == before


def test_unreadable_file_names_itself(tmp_path, image):
    (tmp_path / "in").chmod(0o755)
    image.chmod(0)
    done = subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", P2PFS, "create", "-o", "/dev/null", image],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"p2pfs create: {image}: Permission denied\n"
