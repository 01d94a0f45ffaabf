# SPDX-License-Identifier: MIT
"""Bad torrents are refused by every command, with the field and the value, in bounded memory.

One test for each defect is in tests/unit/test_metainfo_bad.c; here is what those cannot see: the commands'
messages and statuses, that nothing outside the folder is touched, and the memory of the process.
"""

import hashlib
import signal
import socket

import libtorrent as lt
import pytest

from lib.process import P2PFS, PYTHON, ROOT, Daemon, p2pfs, run
from lib.torrents import GiB, MiB, make_torrent, random_image, sparse_image

CORPUS = ROOT / "tests" / "fuzz" / "corpus" / "metainfo"
BAD = {
    "traversal": 'files: entry 0: path part "..": stands for a folder',
    "name-slash": 'name: "/etc/passwd": has a / in it',
    "name-nul": r'name: "a\x00b": has a NUL in it',
    "twice": 'files: "a": twice',
    "file-and-folder": 'files: "a": both a file and a folder',
    "only-padding": "files: not a single byte in 0 of them",
    "piece-length-huge": "piece length: 4611686018427387904: not within 16384 and 67108864",
    "length-huge": "info: length: 9223372036854775807: 1152921504606846976 bytes or more in all",
    "length-negative": "info: length: -1: negative",
    "pieces-19": "pieces: 19 bytes: no multiple of 20",
    "v2-layers-missing": "piece layers: missing",
    "v2-layers-bad": 'piece layers: "a": do not hash to its pieces root',
    "v2-layers-short": 'piece layers: "a": 64 bytes: not 96 for 3 pieces',
    "v2-dotdot": 'file tree: name "..": stands for a folder',
    "v2-siblings": 'file tree: "a": both a file and a folder',
    "v2-root-file": 'file tree: name "": is empty',
    "v2-depth-101": "nested too deeply",
    "v2-pieces-huge": 'file tree: "a": makes 35184372088832 pieces: more than 2097152',
    "v2-version-3": "meta version: 3: only 2 is known",
    "hybrid-no-padding": 'files: "b": 16384 bytes, but 6 in the file tree',
    "length-2-59": "piece length: 16384: makes 35184372088832 pieces: more than 2097152",
    "hybrid-other-order": 'files: "b": the file tree has "a" there',
    "html": "no torrent: at byte 0: not a value",
    "empty": "no torrent: at byte 0: ends too early",
    "no-info": "info: missing",
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_the_reason(name):
    done = p2pfs("show", CORPUS / name, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"p2pfs show: {CORPUS}/{name}: ")
    assert BAD[name] in done.stderr


@pytest.mark.parametrize("name", sorted(p.name for p in CORPUS.iterdir() if p.name not in BAD))
def test_the_others_of_the_corpus_are_good(name):
    p2pfs("show", CORPUS / name)


@pytest.mark.parametrize("command", [["show"], ["verify"], ["edit", "-a", "udp://x:1"]])
def test_by_every_command(command, tmp_path):
    bad = tmp_path / "bad.torrent"
    bad.write_bytes((CORPUS / "traversal").read_bytes())
    done = p2pfs(*command, bad, check=False)
    assert done.returncode == 1
    assert BAD["traversal"] in done.stderr
    assert bad.read_bytes() == (CORPUS / "traversal").read_bytes()


def test_names_that_libtorrent_mends_are_refused(tmp_path):
    """It replaces a bad name by another; two clients would then see different files."""
    torrent = make_torrent(tmp_path / "t", random_image(tmp_path / "image", 100), version="v1").path
    parsed = lt.bdecode(torrent.read_bytes())
    for name in (b"a/b", b"a\x01b", b"x" * 256):
        parsed[b"info"][b"name"] = name
        torrent.write_bytes(lt.bencode(parsed))
        lt.torrent_info(str(torrent))
        assert p2pfs("show", torrent, check=False).returncode == 1


# -- memory -----------------------------------------------------------------------------------------


def sanitized():
    with open(P2PFS, "rb") as program:
        content = program.read()
    return b"__asan_init" in content or b"__tsan_init" in content


# A small process in between: a child's peak counts what it was forked from.
MEASURE = """
import resource, subprocess, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def peak(*words, status=0):
    """The largest resident size of a p2pfs command, in bytes; its address space is bounded by 1 GiB, too."""
    done = run([PYTHON, "-S", "-c", MEASURE, P2PFS, *words])
    got, size = map(int, done.stdout.split())
    assert got == status, done.stderr
    return size


memory = pytest.mark.skipif(sanitized(), reason="a sanitizer takes memory of its own")


@memory
def test_a_100_gib_hybrid_takes_little_more_than_its_torrent(tmp_path):
    image = sparse_image(tmp_path / "image", 100 * GiB, [(0, MiB)])
    torrent = tmp_path / "t"
    assert peak("create", "-s", "1M", "-o", torrent, image) < 64 * MiB
    assert 5 * MiB < torrent.stat().st_size < 6 * MiB
    assert peak("show", torrent) < 32 * MiB
    assert peak("verify", torrent, image) < 48 * MiB


def many_values():
    return b"d1:al" + b"le" * 2_999_996 + b"ee"


def many_files():
    """As many as the tokens allow."""
    files = b"".join(b"d6:lengthi1e4:pathl6:%06dee" % i for i in range(499_000))
    return b"d4:infod5:filesl" + files + b"e4:name1:n12:piece lengthi16384e6:pieces620:" + b"p" * 620 + b"ee"


def long_paths():
    """Few bytes that would be 3.7 KiB of path for each of 400,000 files."""
    prefix = b"".join(b"250:" + b"x" * 250 + b"d" for _ in range(15))
    files = b"".join(b"6:%06dd0:d6:lengthi0eee" % i for i in range(400_000))
    return b"d4:infod9:file treed" + prefix + files + b"e" * 15 + b"e12:meta versioni2e4:name1:n12:piece lengthi16384eee"


def one_root_for_all():
    """Files that share one layer: it is hashed anew for each."""
    layer = [b"a" * 32] * 1024
    root = layer
    while len(root) > 1:
        root = [hashlib.sha256(a + b).digest() for a, b in zip(root[::2], root[1::2])]
    files = b"".join(b"6:%06dd0:d6:lengthi16777216e11:pieces root32:%see" % (i, root[0]) for i in range(2048))
    return b"d4:infod9:file treed" + files + b"e12:meta versioni2e4:name1:n12:piece lengthi16384ee12:piece layersd32:" \
        + root[0] + b"%d:" % (32 * 1024) + b"".join(layer) + b"ee"


@memory
@pytest.mark.parametrize("make, status, limit", [
    (many_values, 1, 128 * MiB),
    (many_files, 0, 192 * MiB),
    (long_paths, 1, 192 * MiB),
    (one_root_for_all, 0, 32 * MiB),
])
def test_memory_of_hostile_torrents_is_bounded(tmp_path, make, status, limit):
    torrent = tmp_path / "t"
    torrent.write_bytes(make())
    assert peak("show", torrent, status=status) < limit


def test_a_url_that_never_answers_can_be_given_up(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/t.torrent"
        with Daemon([P2PFS, "get", url], tmp_path / "log", cwd=tmp_path) as get:
            asked, _ = server.accept()
            with asked:
                get.signal(signal.SIGTERM)
                assert get.wait(10) == -signal.SIGTERM
