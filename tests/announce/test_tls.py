# SPDX-License-Identifier: MIT
"""TLS is always verified, and 1.2 at least; a private authority is trusted by its file."""

import re
import ssl
import warnings

import pytest

from lib.certs import Authority
from lib.drivers import HttpServer, Reply, http_get, redirect, reply
from lib.seeds import P2pfsGet
from lib.torrents import assert_same, make_torrent, random_image


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def serve(context, answer=Reply("secret")):
    return HttpServer(lambda request, number: answer, tls=context)


def get(server, authority=None, host="localhost"):
    options = {"cafile": authority.bundle} if authority else {}
    got, = http_get(f"https://{host}:{server.port}/announce", tracker=1, **options)
    return got


def test_the_private_authority_is_trusted_by_its_file(authority):
    with serve(authority.context("good")) as server:
        got = get(server, authority)
    assert (got["error"], got["status"], got["body"]) == (None, 200, "secret")


@pytest.mark.parametrize("name, how, why", [
    ("expired", {"expired": True}, "certificate has expired"),
    ("wrong-host", {"host": "elsewhere.example"}, "does not match|no alternative certificate subject name matches"),
    ("self-signed", {"signed": False}, "self-signed certificate"),
])
def test_bad_certificates_are_refused(authority, name, how, why):
    with serve(authority.context(name, **how)) as server:
        got = get(server, authority)
        assert not server.requests
    assert got["status"] == 0 and got["body"] == ""
    assert any(w in got["error"] for w in why.split("|")), got


def test_an_unknown_authority_is_refused(authority):
    with serve(authority.context("unknown")) as server:
        got = get(server)
        assert not server.requests
    assert "unable to get local issuer certificate" in got["error"]


def test_an_address_is_not_the_name(authority):
    with serve(authority.context("address")) as server:
        got = get(server, authority, host="127.0.0.1")
        assert not server.requests
    assert "127.0.0.1" in got["error"]


@pytest.mark.parametrize("newest, taken", [("TLSv1_1", False), ("TLSv1_2", True)])
def test_tls_1_2_at_least(authority, newest, taken):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context = authority.context(newest, newest=ssl.TLSVersion[newest])
    with serve(context) as server:
        got = get(server, authority)
        assert bool(server.requests) == taken
    assert (got["error"] is None) == taken
    assert taken or "protocol" in got["error"].lower()


def test_no_redirect_from_https_to_http(authority):
    with HttpServer(lambda request, number: Reply("open")) as plain:
        with serve(authority.context("redirects"), redirect(plain.url)) as server:
            got = get(server, authority)
        assert not plain.requests
    assert "redirects from https to http" in got["error"]


def test_redirect_from_http_to_https(authority):
    with serve(authority.context("goal")) as server:
        with HttpServer(lambda request, number: redirect(f"https://localhost:{server.port}/announce")) as plain:
            got, = http_get(plain.url, cafile=authority.bundle)
    assert got["body"] == "secret"


def test_a_bundle_that_is_none(tmp_path, authority):
    """The file's name is told, and nothing is sent."""
    (tmp_path / "bundle.pem").write_text("nonsense")
    with serve(authority.context("bundle")) as server:
        got, = http_get(f"https://localhost:{server.port}/f", cafile=tmp_path / "bundle.pem")
        assert not server.requests
    assert "bundle.pem" in got["error"]


def test_the_option_cafile(tmp_path, authority):
    """`p2pfs get` from a tracker and a web seed of the private authority."""
    content = random_image(tmp_path / "image.raw", 300_000)
    data = content.read_bytes()

    def answer(request, number):
        if request.path.startswith("/announce"):
            return reply()
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers["Range"]).groups())
        return Reply(data[first:last + 1], 206, {"Content-Range": f"bytes {first}-{last}/{len(data)}"})
    with HttpServer(answer, tls=authority.context("option")) as server:
        url = f"https://localhost:{server.port}"
        torrent = make_torrent(tmp_path / "t.torrent", content, trackers=[f"{url}/announce"], webseeds=[f"{url}/f"])
        with P2pfsGet(torrent, tmp_path / "got", tmp_path, f"cafile={authority.bundle}") as get_all:
            get_all.wait_complete()
        assert "started" in server.events() and "stopped" in server.events()
    assert_same(tmp_path / "got" / "image.raw", content)
