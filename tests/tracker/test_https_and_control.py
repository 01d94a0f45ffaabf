# SPDX-License-Identifier: MIT
"""HTTPS on the same port, the operator's pages, `p2pfs tracker status`."""

import contextlib
import json
import re
import shlex
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import warnings

import pytest

from lib.announcer import HASH, HttpAnnouncer
from lib.certs import self_signed
from lib.process import P2PFS, p2pfs, run
from lib.trackers import P2pfsTracker
from lib.wait import PATIENCE, wait_until


def stats_of(tracker):
    return json.loads(HttpAnnouncer(tracker.url).get("/stats.json")[1])


@pytest.fixture
def secure(tmp_path, stack):
    chain, key = self_signed(tmp_path, "first")
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--tls-cert", chain, "--tls-key", key))
    tracker.chain, tracker.key = chain, key
    tracker.https = f"https://127.0.0.1:{tracker.port}/announce"
    return tracker


def test_https_and_http_share_a_port(secure):
    HttpAnnouncer(secure.https, ca=secure.chain).announce(1, left=0)
    assert HttpAnnouncer(secure.url).announce(2).peers == {("127.0.0.1", 10001)}
    assert HttpAnnouncer(secure.https, ca=secure.chain).announce(3).peers == {("127.0.0.1", 10001), ("127.0.0.1", 10002)}
    counts = json.loads(HttpAnnouncer(secure.url).get("/stats.json")[1])["announces"]
    assert counts == {"http": 1, "https": 2, "udp": 0}


def test_many_requests_and_large_replies_over_tls(secure):
    ask = HttpAnnouncer(secure.https, ca=secure.chain)
    connection = ask.connection()
    for number in range(1, 101):
        connection.request("GET", f"/announce?info_hash={'h' * 20}&peer_id=-XX0001-{number:012}&port={number}&left=1"
                                  "&compact=0&numwant=100")
        body = connection.getresponse().read()
        assert body.count(b"7:peer id20:") == number - 1
    connection.close()


def test_old_tls_is_refused(secure):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with socket.create_connection(("127.0.0.1", secure.port), PATIENCE) as s, pytest.raises(OSError):
        context.wrap_socket(s)
    assert HttpAnnouncer(secure.https, ca=secure.chain).announce(1).failure is None


def test_noise_after_the_first_byte_of_tls(secure):
    with socket.create_connection(("127.0.0.1", secure.port), PATIENCE) as s:
        s.settimeout(PATIENCE)
        s.sendall(b"\x16" + bytes(range(256)) * 8)
        try:
            while s.recv(4096):
                pass
        except ConnectionResetError:
            pass
    assert HttpAnnouncer(secure.https, ca=secure.chain).announce(1).failure is None


def test_a_renewed_certificate_is_used_after_sighup(tmp_path, secure):
    def presented():
        return ssl.get_server_certificate(("127.0.0.1", secure.port))
    before = presented()
    chain, key = self_signed(tmp_path, "second", "2")
    shutil.copy(chain, secure.chain)
    shutil.copy(key, secure.key)
    secure.signal(signal.SIGHUP)
    wait_until(lambda: presented() != before, "the new certificate")
    secure.chain.write_text("nonsense")
    secure.signal(signal.SIGHUP)
    secure.wait_output("the certificate of before stays in use")
    assert presented() != before


def test_a_key_with_a_passphrase_asks_no_terminal(tmp_path):
    """On SIGHUP that would stop the tracker."""
    chain, key = self_signed(tmp_path, "locked")
    run(["openssl", "ec", "-in", key, "-aes128", "-passout", "pass:sesame", "-out", tmp_path / "locked.pem"])
    argv = [P2PFS, "tracker", "--listen", "127.0.0.1:0", "--tls-cert", chain, "--tls-key", tmp_path / "locked.pem"]
    # script(1) gives it a terminal, with nobody at it.
    done = run(["script", "--quiet", "--return", "--command", shlex.join(map(str, argv)), "/dev/null"], check=False,
               stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and "locked.pem: error:" in done.stdout, done.stdout


def test_who_asks_without_end_over_tls_keeps_nobody_waiting(secure):
    """Requests one behind the other, always more of them there than are answered."""
    context = ssl.create_default_context(cafile=secure.chain)
    over = threading.Event()

    def ask_on():
        """Sends as much as goes, and takes all that comes, without looking at it."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with socket.create_connection(("127.0.0.1", secure.port), PATIENCE) as s:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    s.sendall(outgoing.read())
                    incoming.write(s.recv(65536))
            s.setblocking(False)
            ready = outgoing.read()
            while not over.is_set():
                if len(ready) < 1 << 20:
                    tls.write(b"GET /x HTTP/1.1\r\n\r\n" * 800)
                    ready += outgoing.read()
                with contextlib.suppress(BlockingIOError):
                    ready = ready[s.send(ready):]
                with contextlib.suppress(BlockingIOError):
                    while s.recv(1 << 20):
                        pass
    greedy = threading.Thread(target=ask_on)
    greedy.start()
    try:
        wait_until(lambda: stats_of(secure)["http"]["requests"] > 10000, "it to ask")
        before = stats_of(secure)["http"]["requests"]
        for number in range(1, 6):
            assert HttpAnnouncer(secure.url).announce(number).failure is None
        # Of its requests thousands were answered before each of the others, where it was millions.
        assert stats_of(secure)["http"]["requests"] - before < 500000
        assert greedy.is_alive()
    finally:
        over.set()
        greedy.join()


# -- pages -----------------------------------------------------------------------------------------


@pytest.fixture
def tracker(tmp_path, stack):
    return stack.enter_context(P2pfsTracker(tmp_path))


def test_the_pages(tracker):
    ask = HttpAnnouncer(tracker.url)
    ask.announce(1, left=0)
    ask.announce(2)
    ask.announce(3, port=0)
    ask.ask("/announce", {})
    status, page = ask.get("/stats")
    assert status == 200 and b"<tr><th>Seeds<td>1\n" in page and b"<tr><th>Refused<td>1\n" in page
    assert HASH.hex().encode() not in page  # names of torrents are for a full scrape
    got = json.loads(ask.get("/stats.json")[1])
    assert (got["torrents"], got["peers"], got["seeds"], got["leechers"], got["refused"]) == (1, 3, 1, 2, 1)
    assert got["announces"]["http"] == 3 and got["state"]["is"] == "off"
    status, text = ask.get("/metrics")
    text = text.decode()
    assert status == 200
    assert 'p2pfs_tracker_peers{family="ipv4",kind="seed"} 1\n' in text
    assert 'p2pfs_tracker_announces_total{protocol="http"} 3\n' in text
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) p2pfs_tracker_\w+ .+|p2pfs_tracker_\w+(\{[^}]+\})? [0-9.]+", line), line


def test_a_control_address_has_them_alone(tmp_path, stack):
    (tmp_path / "token").write_text("letmein-please\n")
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--control", "127.0.0.1:0", "--control-token",
                                               tmp_path / "token"))
    port = int(tracker.wait_output(r"control on 127\.0\.0\.1:(\d+)").group(1))
    ask, control = HttpAnnouncer(tracker.url), HttpAnnouncer(f"http://127.0.0.1:{port}/announce")
    right = {"Authorization": "Bearer letmein-please"}
    ask.announce(1)
    for page in ("/stats", "/stats.json", "/metrics"):
        assert ask.get(page)[0] == 404
        assert control.get(page, headers=right)[0] == 200
        for wrong in ({}, {"Authorization": "Bearer letmein-pleasf"}, {"Authorization": "Bearer letmein"},
                      {"Authorization": "letmein-please"}):
            assert control.get(page, headers=wrong)[0] == (200 if page == "/metrics" else 401)
        # A name that resolves to 127.0.0.1 in somebody's browser.
        assert control.get(page, headers={**right, "Host": "evil.example"})[0] == 403
        assert control.get(page, headers={**right, "Host": f"localhost:{port}"})[0] == 200
    assert control.get("/announce")[0] == control.get("/scrape")[0] == 404
    assert HASH.hex().encode() in control.get("/stats", headers=right)[1]
    assert "Access-Control" not in str(control.get("/stats", headers={**right, "Origin": "http://evil.example"}))
    assert ask.get("/scrape.php?stats")[0] == 200
    # status
    done = p2pfs("tracker", "status", f"127.0.0.1:{port}", check=False)
    assert done.returncode == 1 and "it wants the right --token" in done.stderr
    done = p2pfs("tracker", "status", f"127.0.0.1:{port}", "--token", tmp_path / "token")
    assert re.search(r"^peers +1 \(0 seeds, 1 leechers; 0 IPv6\) of 1 torrents", done.stdout, re.M), done.stdout
    assert "letmein" not in tracker.output() + done.stdout + done.stderr


def test_status(tracker):
    HttpAnnouncer(tracker.url).announce(1, left=0)
    text = p2pfs("tracker", "status", f"127.0.0.1:{tracker.port}").stdout
    assert re.search(r"^announces .* 1 HTTP", text, re.M)
    got = json.loads(p2pfs("tracker", "status", f"http://127.0.0.1:{tracker.port}", "--json").stdout)
    assert got["seeds"] == 1


def test_status_of_nobody_is_told(tracker):
    port = tracker.port
    tracker.stop()
    done = p2pfs("tracker", "status", f"127.0.0.1:{port}", check=False)
    assert done.returncode == 1 and f"127.0.0.1:{port}" in done.stderr


def test_the_log_is_reopened(tmp_path, stack):
    log = tmp_path / "messages"
    tracker = stack.enter_context(P2pfsTracker(tmp_path, "--log", log))
    log.rename(tmp_path / "old")
    tracker.signal(signal.SIGHUP)
    wait_until(log.exists, "the new log")
