# SPDX-License-Identifier: MIT
"""Web seeds: blocks by byte range from nginx, and from servers that do it badly.  All bytes are compared."""

import hashlib
import re

import pytest

from lib.drivers import HttpServer, Reply, redirect, webseed_get
from lib.metainfo import BLOCK, Meta
from lib.torrents import KiB, make_torrent, odd_files, random_image
from lib.web import Nginx

ALL = "0+4000000000"


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return random_image(tmp_path_factory.mktemp("image") / "image 1.raw", 1_000_003)


@pytest.fixture(scope="module")
def torrent(image):
    return make_torrent(image.parent / "image.torrent", image, version="v1", piece_size=64 * KiB)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of odd lengths and odd names."""
    content = tmp_path_factory.mktemp("folder") / "content"
    content.mkdir()
    odd_files(content, count=25)
    for name in ("a b+c", "100%", "#1", "q?a=b", "n\u00e4me", "semi;colon&amp", "tilde~'()*!", "[b]"):
        (content / name).write_bytes(hashlib.sha256(name.encode()).digest() * 1000)
    return content


def blocks(lines):
    return [(line["piece"], line["block"]) for line in lines if "sha1" in line]


def ends(lines):
    return [line["error"] for line in lines if "error" in line]


class Content:
    """The blocks that a torrent's files make."""

    def __init__(self, torrent, path):
        self.meta = meta = Meta(torrent)
        self.v1 = not meta.v2
        self.files = [(f.offset, (path if meta.single else path / f.path).read_bytes()) for f in meta.files]
        self.space = bytearray(meta.n_pieces * meta.piece_length)
        for offset, data in self.files:
            self.space[offset:offset + len(data)] = data

    def expected(self):
        """{(piece, block): (length, SHA-1)} of all blocks that stand for something."""
        found = {}
        for piece in range(self.meta.n_pieces):
            start = piece * self.meta.piece_length
            end = min(start + self.meta.piece_length, self.meta.space)
            if not self.v1:  # up to the end of the file that begins here or before
                end = min(end, max(o + len(d) for o, d in self.files if o <= start and d))
            for block, at in enumerate(range(start, end, BLOCK)):
                data = self.space[at:min(at + BLOCK, end)]
                found[piece, block] = (len(data), hashlib.sha1(data).hexdigest())
        return found

    def check(self, lines):
        """Every block that came is right, and none came twice."""
        expected, seen = self.expected(), set()
        for line in lines:
            if "sha1" in line:
                key = line["piece"], line["block"]
                assert key not in seen
                seen.add(key)
                assert (line["len"], line["sha1"]) == expected[key], key
        return seen == expected.keys()


# -- nginx ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("spelling", ["file", "folder"])
def test_one_file(tmp_path, image, version, spelling):
    torrent = make_torrent(tmp_path / "t.torrent", image, version=version, piece_size=64 * KiB)
    with Nginx(image.parent, tmp_path) as server:
        url = server.url + ("image%201.raw" if spelling == "file" else "")
        lines = webseed_get(torrent, url, ALL)
    assert ends(lines) == [None]
    assert Content(torrent, image).check(lines)


@pytest.mark.parametrize("version", ["v1", "v2", "hybrid"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_many_files(tmp_path, folder, version, slash):
    torrent = make_torrent(tmp_path / "t.torrent", folder, version=version, piece_size=32 * KiB)
    root = folder.parent
    (root / "www").mkdir(exist_ok=True)
    if not (root / "www" / folder.name).exists():
        (root / "www" / folder.name).symlink_to(folder)
    with Nginx(root, tmp_path) as server:
        lines = webseed_get(torrent, f"{server.url}www{slash}", ALL)
    assert ends(lines) == [None]
    assert Content(torrent, folder).check(lines)


def test_fetches_at_once_and_over_kept_connections(tmp_path, torrent, image):
    """Four at a time, three times: each round after the first finds its connections open."""
    rounds = [",".join(f"{16 * i + 4 * j}+4" for j in range(4)) for i in range(3)]
    with Nginx(image.parent, tmp_path) as server:
        lines = webseed_get(torrent, server.url, *rounds)
    assert ends(lines) == [None] * 12
    Content(torrent, image).check(lines)
    assert len(blocks(lines)) == 48


def test_more_than_four_are_refused(tmp_path, torrent, image):
    with Nginx(image.parent, tmp_path) as server:
        lines = webseed_get(torrent, server.url, ",".join(["0+1"] * 5))
    assert [line for line in lines if "refused" in line] == [{"fetch": 4, "refused": "too many"}]
    assert ends(lines) == [None] * 4


def test_one_connection_serves_fetch_after_fetch(torrent, image):
    data = image.read_bytes()

    def answer(request, number):
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["Range"]).groups())
        return Reply(data[first:last + 1], 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"})
    with HttpServer(answer) as server:
        lines = webseed_get(torrent, f"{server.base}/f", *[f"{i}+1" for i in range(10)])
    assert ends(lines) == [None] * 10
    assert Content(torrent, image).check(lines) is False and len(blocks(lines)) == 10
    assert len(server.requests) == 10 and len({r.client for r in server.requests}) == 1


def test_cancelled_in_the_middle(tmp_path, torrent, image):
    with Nginx(image.parent, tmp_path) as server:
        lines = webseed_get(torrent, server.url, "0+60!3,5+2", "0+1")
    assert {"fetch": 0, "cancelled": True} in lines
    assert ends(lines) == [None, None]
    assert blocks([line for line in lines if line.get("fetch") == 1]) == [(1, 1), (1, 2)]


def test_not_there(tmp_path, torrent):
    (tmp_path / "empty").mkdir()
    with Nginx(tmp_path / "empty", tmp_path) as server:
        lines = webseed_get(torrent, server.url, "0+4", "0+4")
    assert ends(lines) == ["HTTP status 404"] * 2


# -- servers that do it badly ---------------------------------------------------------------------


def part(request, data, **more):
    first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["Range"]).groups())
    size = more.pop("size", len(data))
    shift = more.pop("shift", 0)
    body = more.pop("body", data[first:last + 1])
    return Reply(body, more.pop("status", 206), {"Content-Range": f"bytes {first + shift}-{last + shift}/{size}",
                                                 **more.pop("headers", {})}, **more)


@pytest.mark.parametrize("answer, why, came", [
    (lambda r, d: Reply(d), "the server ignores ranges (HTTP status 200)", 0),
    (lambda r, d: part(r, d, size=len(d) + 1), "another size", 0),
    (lambda r, d: part(r, d, shift=1), "other bytes than asked for", 0),
    (lambda r, d: part(r, d, body=d[:40000]), "fewer bytes than asked for", 2),
    (lambda r, d: part(r, d, body=d[:70000]), "more bytes than asked for", None),
    (lambda r, d: part(r, d, headers={"Content-Encoding": "gzip"}), "Content-Encoding: gzip", 0),
    (lambda r, d: Reply(d[:65536], 206), "no Content-Range", 0),
    (lambda r, d: Reply("busy", 503), "HTTP status 503", 0),
    (lambda r, d: Reply(bytes(300000), 500), "HTTP status 500", 0),
    (lambda r, d: Reply("", 204), "HTTP status 204", 0),
    (lambda r, d: Reply("", 416), "HTTP status 416", 0),
    (lambda r, d: redirect("ftp://127.0.0.1/f"), "redirect: ", 0),
], ids=["ignores ranges", "size", "shifted", "short", "long", "gzip", "no range", "busy", "long error", "204", "416", "ftp"])
def test_bad_answers(torrent, image, answer, why, came):
    data = image.read_bytes()
    with HttpServer(lambda request, number: answer(request, data)) as server:
        lines = webseed_get(torrent, f"{server.base}/f", "0+4")
    error, = ends(lines)
    assert why in error
    assert came is None or len(blocks(lines)) == came
    Content(torrent, image).check(lines)


def test_the_whole_file_without_ranges(torrent, image):
    """A server that knows no ranges is good for a whole file."""
    with HttpServer(lambda request, number: Reply(image.read_bytes())) as server:
        lines = webseed_get(torrent, f"{server.base}/f", ALL)
    assert ends(lines) == [None]
    assert Content(torrent, image).check(lines)


def test_redirect_to_a_mirror(torrent, image):
    data = image.read_bytes()
    with HttpServer(lambda request, number: part(request, data)) as mirror:
        with HttpServer(lambda request, number: redirect(f"{mirror.base}/there")) as server:
            lines = webseed_get(torrent, f"{server.base}/f", "3+2")
    assert ends(lines) == [None]
    assert blocks(lines) == [(0, 3), (1, 0)]
    Content(torrent, image).check(lines)


def test_a_server_that_stalls(torrent, image):
    """It sends one block and a half, and then nothing; the block is given, the rest given up."""
    data = image.read_bytes()

    def answer(request, number):
        reply = part(request, data, body=data[:BLOCK * 3 // 2], length=False)
        reply.headers["Content-Length"] = str(BLOCK * 4)
        reply.hangs = True
        return reply
    with HttpServer(answer) as server:
        lines = webseed_get(torrent, f"{server.base}/f", "0+4")
    assert ends(lines) == ["nothing came for 10000 ms"]
    assert blocks(lines) == [(0, 0)]


def test_keys_in_urls_are_sent_and_not_told(torrent):
    with HttpServer(lambda request, number: Reply("", 403)) as server:
        lines = webseed_get(torrent, f"{server.base}/f?signature=SECRET", "0+1")
        assert "signature=SECRET" in server.requests[0].path
    assert lines[0] == {"url": f"{server.base}/f?***"}
    assert ends(lines) == ["HTTP status 403"]


@pytest.mark.parametrize("url, why", [
    ("ftp://127.0.0.1/f", "scheme"),
    ("http://169.254.169.254/f", "link-local"),
    ("http://127.0.0.1/?q=/", "a folder's URL with a query"),
    ("http://127.0.0.1/" + "a" * 2048, "longer than 2048"),
])
def test_urls_refused(torrent, url, why):
    line, = webseed_get(torrent, url, "0+1")
    assert why in line["refused"]
