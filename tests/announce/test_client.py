# SPDX-License-Identifier: MIT
"""The HTTP client by itself: limits at n and n + 1, times, ranges, kept connections."""

import pytest

from lib.drivers import HttpServer, Reply, http_get, redirect

BODY = bytes(range(256)) * 40


def always(answer):
    return HttpServer(lambda request, number: answer)


@pytest.mark.parametrize("max_body, error", [(len(BODY), None), (len(BODY) - 1, "a reply of more than 10239 bytes")])
@pytest.mark.parametrize("length", [True, False], ids=["with a length", "without"])
def test_body_limit(max_body, error, length):
    with always(Reply(BODY, length=length)) as server:
        got, = http_get(f"{server.base}/f", max_body=max_body)
    assert got["error"] == error
    assert error or got["len"] == len(BODY)


@pytest.mark.parametrize("redirects, error", [(5, None), (6, "more than 5 redirects")])
def test_redirect_limit(redirects, error):
    with HttpServer(lambda request, number: redirect(f"/{number}") if number <= redirects else Reply("end")) as server:
        got, = http_get(f"{server.base}/f")
        assert len(server.requests) == min(redirects, 5) + 1
    assert got["error"] == error


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_statuses(status):
    with HttpServer(lambda request, number: redirect("/there", status) if number == 1 else Reply("end")) as server:
        got, = http_get(f"{server.base}/f")
    assert got["body"] == "end" and server.requests[1].path == "/there"


@pytest.mark.parametrize("status", [300, 304, 305])
def test_statuses_that_are_no_redirects(status):
    with HttpServer(lambda request, number: redirect("/there", status)) as server:
        got, = http_get(f"{server.base}/f")
        assert len(server.requests) == 1
    assert (got["error"], got["status"]) == (None, status)


def test_a_redirect_with_a_body_without_end():
    with always(Reply(bytes(2 << 20), 302, {"Location": "/x"})) as server:
        got, = http_get(f"{server.base}/f")
    assert "a redirect with a body of more than 1 MiB" in got["error"]


@pytest.mark.parametrize("size, refused", [(65000, False), (70000, True)])
def test_header_limit(size, refused):
    headers = {f"X-{i}": "x" * 992 for i in range(size // 1000)}
    with always(Reply("body", headers=headers)) as server:
        got, = http_get(f"{server.base}/f")
    assert (got["error"] == "more than 65536 bytes of headers") == refused
    assert refused or got["body"] == "body"


def test_a_server_that_hangs_is_left():
    with HttpServer(lambda request, number: None) as server:
        by_stall, = http_get(f"{server.base}/f", stall_ms=200)
        by_time, = http_get(f"{server.base}/f", timeout_ms=200)
    assert by_stall["error"] == "nothing came for 200 ms"
    assert "timed out" in by_time["error"].lower()


def test_time_counts_over_redirects():
    with HttpServer(lambda request, number: redirect("/hang") if number == 1 else None) as server:
        got, = http_get(f"{server.base}/f", timeout_ms=400)
    assert "timed out" in got["error"].lower()


def test_cancelled():
    with HttpServer(lambda request, number: None) as server:
        assert http_get(f"{server.base}/f", cancel_ms=200) == [{"cancelled": True}]


def test_connections_are_kept():
    with always(Reply("x")) as server:
        got = http_get(*[f"{server.base}/{i}" for i in range(5)])
    assert [g["error"] for g in got] == [None] * 5
    assert len({r.client for r in server.requests}) == 1


def test_a_kept_connection_that_the_server_has_closed():
    """The request goes out again over a new one."""
    closing = Reply("x", headers={"Keep-Alive": "timeout=5"})
    with HttpServer(lambda request, number: closing) as server:
        first_two = http_get(f"{server.base}/1", f"{server.base}/2")
    assert [g["error"] for g in first_two] == [None, None]
    with HttpServer(lambda request, number: Reply("x", length=False)) as server:
        got = http_get(f"{server.base}/1", f"{server.base}/2")
    assert [g["error"] for g in got] == [None, None] and len({r.client for r in server.requests}) == 2


# -- ranges --------------------------------------------------------------------------------------


def ranged(content_range, body=b"0123456789", status=206):
    return Reply(body, status, {"Content-Range": content_range} if content_range else {})


@pytest.mark.parametrize("answer, error", [
    (ranged("bytes 5-14/100"), None),
    (ranged("bytes 5-14/*"), None),
    (ranged(None), "no Content-Range"),
    (ranged("bytes 0-9/100"), "other bytes than asked for"),
    (ranged("bytes 5-14/101"), "another size"),
    (ranged("bytes 5-14/100", b"012345678"), "fewer bytes than asked for"),
    (ranged("bytes 5-14/100", b"0123456789a"), "more bytes than asked for"),
    (ranged("bytes 5-14/100", b""), "fewer bytes than asked for"),
    (ranged("bytes 0-9/100", b""), "other bytes than asked for"),
    (ranged(None, b"x", 200), None),
    (ranged("bytes */100", b"", 416), None),
], ids=["good", "no size", "none", "other bytes", "other size", "short", "long", "empty", "empty and other", "200", "416"])
def test_range(answer, error):
    with always(answer) as server:
        got, = http_get(f"{server.base}/f", **{"from": 5, "len": 10, "total": 100})
        assert server.requests[0].headers["Range"] == "bytes=5-14"
    assert (got["error"] is None) == (error is None)
    assert not error or error in got["error"]
    assert got["status"] == answer.status


@pytest.mark.parametrize("url, why", [
    ("udp://127.0.0.1:1/f", "scheme is none of http, https"),
    ("ftp://127.0.0.1/f", "scheme"),
    ("file:///etc/passwd", "scheme"),
    ("http://169.254.169.254/f", "link-local"),
    ("http://127.0.0.1/\u00e4" + "a" * 8192, "longer than 8192"),
    ("http://127.0.0.1/a b", "a blank or control character"),
])
def test_urls_refused(url, why):
    got, = http_get(url)
    assert why in got["refused"]
