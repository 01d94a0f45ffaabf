# SPDX-License-Identifier: MIT
"""Peers of other makes, and p2pfs' own seed and get: each a context manager with .peer ("ADDR:PORT").

LibtorrentPeer   v1, v2, hybrid; seed or leecher; rate limits that can change meanwhile
Transmission     v1; needs an address outside 127.0.0.0/8 (fixture `lan`) to fetch, since it talks to no peer there
Aria2            v1 leecher
Btfs             v1, hybrid; fetches what is read of its mount (one of v2 alone is broken in it)
P2pfsSeed, P2pfsGet
"""

import json
import os
import pathlib
import subprocess
import urllib.error
import urllib.request

import pytest

from lib import fuse
from lib.process import P2PFS, PYTHON, Daemon, run
from lib.wait import PATIENCE, free_port, wait_listening, wait_until

HERE = pathlib.Path(__file__).resolve().parent


def _spell(address, port):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class LibtorrentPeer(Daemon):
    """save: the folder that holds (or gets) the torrent's content.

    trust: believe the content without hashing it; such a seed rejects BEP 52 hash requests.
    up, down: bytes per second.  peers: [(host, port)] to connect to.  settings: libtorrent's own.
    """

    def __init__(self, torrent, save, where, *, name="libtorrent", address="127.0.0.1", port=0, trust=False, up=None,
                 down=None, peers=(), utp=False, settings=None, seed=False):
        self.address = address
        want = {"torrent": str(torrent), "save": str(save), "listen": _spell(address, port), "trust": trust, "up": up,
                "down": down, "peers": [list(p) for p in peers], "utp": utp, "settings": settings or {}}
        super().__init__([PYTHON, "-B", HERE / "lt_peer.py", json.dumps(want)], pathlib.Path(where) / f"{name}.log",
                         name=name, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.port = self._answer()["port"]
            if seed:
                self.wait_complete()
        except BaseException:
            self.kill()
            raise

    @property
    def peer(self):
        return _spell(self.address, self.port)

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended:\n{self.output()}")
        return json.loads(line)

    def _order(self, **order):
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def connect(self, address, port):
        self._order(do="connect", peer=[address, port])

    def limit(self, up=None, down=None):
        """Bytes per second from now on; 0: none."""
        self._order(do="limit", up=up, down=down)

    def status(self):
        """seeding, progress (ppm), state, uploaded, downloaded, failed, peers, error."""
        return self._order(do="status")

    def wait_complete(self, seconds=PATIENCE):
        wait_until(lambda: self.status()["seeding"], lambda: f"{self.name} complete: {self.status()}", seconds)


def libtorrent_seed(torrent, content, where, **kw):
    """A seed for a file or folder that is here; it has hashed it and answers hash requests."""
    return LibtorrentPeer(torrent, pathlib.Path(content).parent, where, name=kw.pop("name", "lt-seed"),
                          seed=True, **kw)


class Transmission(Daemon):
    """transmission-daemon with one torrent; `content_dir` holds (or gets) the content.  v1 only.

    authority: the file of the certificate authority that it trusts.
    """

    def __init__(self, torrent, content_dir, where, *, address, name="transmission", seed=False, authority=None):
        config = pathlib.Path(where) / name
        config.mkdir(parents=True)
        self.address, self.port, self.rpc = address, free_port(address), free_port(address)
        self.session = ""
        (config / "settings.json").write_text(json.dumps({
            "bind-address-ipv4": address, "peer-port": self.port, "download-dir": str(content_dir),
            "rpc-bind-address": address, "rpc-port": self.rpc, "rpc-whitelist-enabled": False,
            "rpc-host-whitelist-enabled": False, "dht-enabled": False, "pex-enabled": False, "lpd-enabled": False,
            "utp-enabled": False, "port-forwarding-enabled": False, "encryption": 0, "cache-size-mb": 16,
            "upload-slots-per-torrent": 100, "umask": 18, "rename-partial-files": False}))
        super().__init__(["transmission-daemon", "-f", "-g", config], config / "log", name=name,
                         env={**os.environ, **({"CURL_CA_BUNDLE": str(authority)} if authority else {})})
        try:
            wait_listening(self.rpc, self)
            wait_listening(self.port, self)
            self._call("torrent-add", filename=str(torrent))
            if seed:
                self.wait_complete()
        except BaseException:
            self.kill()
            raise

    @property
    def peer(self):
        return _spell(self.address, self.port)

    def _call(self, method, **arguments):
        body = json.dumps({"method": method, "arguments": arguments}).encode()
        while True:
            request = urllib.request.Request(f"http://{self.address}:{self.rpc}/transmission/rpc", body,
                                             {"X-Transmission-Session-Id": self.session})
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
                    got = json.load(reply)
            except urllib.error.HTTPError as error:
                if error.code != 409:
                    raise
                self.session = error.headers["X-Transmission-Session-Id"]
                continue
            if got["result"] != "success":
                raise RuntimeError(f"transmission: {method}: {got['result']}")
            return got["arguments"]

    def status(self):
        fields = ["percentDone", "leftUntilDone", "recheckProgress", "status", "errorString", "peersConnected",
                  "uploadedEver", "downloadedEver", "corruptEver", "trackerStats", "hashString"]
        return self._call("torrent-get", fields=fields)["torrents"][0]

    def wait_complete(self, seconds=PATIENCE):
        def fact():
            got = self.status()
            # 6: seeding; 1 and 2 are checks that come first, and percentDone is not to be believed before.
            return got["status"] == 6 and got["leftUntilDone"] == 0
        wait_until(fact, lambda: f"transmission complete: {self.status()}", seconds)

    def announce(self):
        """Asks its trackers now."""
        self._call("torrent-reannounce")


def transmission_seed(torrent, content, where, *, address, name="tr-seed"):
    return Transmission(torrent, pathlib.Path(content).parent, where, address=address, name=name, seed=True)


class Aria2(Daemon):
    """aria2c that fetches all and ends with status 0."""

    def __init__(self, torrent, save, where, *args, address="127.0.0.1", name="aria2"):
        super().__init__(
            ["aria2c", f"--dir={save}", f"--listen-port={free_port(address)}", f"--interface={address}",
             "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false",
             "--file-allocation=none", "--seed-time=0", "--summary-interval=0", "--bt-max-peers=50",
             "--bt-tracker-interval=2", "--no-conf=true", "--console-log-level=notice", "--enable-color=false",
             *args, torrent], pathlib.Path(where) / f"{name}.log", name=name)


class Btfs(Daemon):
    """btfs on a machine of its own, a network behind a cable: .address is its, .gateway ours at the other end.

    libtorrent takes all peers at one address for one, so at ours it would hardly find another than itself.
    .mount(torrent) starts it, until it shows the files; .path is the mountpoint.
    """

    def __init__(self, where, *, name="btfs", env=None):
        where = pathlib.Path(where) / name
        self.path = where / "mnt"
        self.path.mkdir(parents=True)
        port = free_port()
        super().__init__(["unshare", "--net", "sh", "-c", 'echo ready; read -r torrent && exec btfs -f --keep '
                          f'--min-port={port} --max-port={port} --data-directory="$1/data" "$torrent" "$1/mnt"', "sh",
                          where], where / "log", name=name, stdin=subprocess.PIPE, text=True,
                         env={**os.environ, **(env or {})})
        try:
            self.wait_output("^ready$")
            # The process id makes it a network that no other test has; 198.18.0.0/15 is for tests (RFC 2544).
            net = self.pid % 0x4000 * 4
            self.gateway, self.address = (f"198.19.{net >> 8}.{(net & 255) + host}" for host in (1, 2))
            run(["ip", "link", "add", f"btfs{self.pid}", "type", "veth", "peer", "name", "eth0", "netns", self.pid])
            for inside, device, address in ((), f"btfs{self.pid}", self.gateway), (
                    ("nsenter", "--net", "--target", self.pid), "eth0", self.address):
                run([*inside, "ip", "address", "add", f"{address}/30", "dev", device])
                run([*inside, "ip", "link", "set", device, "up"])
        except BaseException:
            self.kill()
            raise

    def mount(self, torrent):
        self.process.stdin.write(f"{torrent}\n")
        self.process.stdin.flush()
        def fact():
            if not self.alive() and "invalid torrent handle used" in self.output():
                self.killed = True
                pytest.skip("btfs aborted: it looked at its torrent before that was there, as on a busy machine it may")
            if not self.alive():
                raise RuntimeError(f"{self.name} ended with {self.returncode}:\n{self.output()}")
            try:
                return fuse.mounted(self.path) and list(self.path.iterdir())
            except OSError:
                return False  # it has just ended
        wait_until(fact, "btfs to show its files")

    def stop(self, seconds=20):
        fuse.detach(self.path)  # a reader of its would hang for ever, and btfs with it
        super().stop(seconds)


class P2pfsSeed(Daemon):
    """`p2pfs seed` of a file or folder that is here."""

    def __init__(self, torrent, content, where, *options, name="p2pfs-seed", address="127.0.0.1", allow=(), port=None):
        self.address, self.port = address, port or free_port(address)
        listen = ",".join([f"listen={self.peer}", *options])
        super().__init__([P2PFS, "seed", "-o", listen, torrent, content], pathlib.Path(where) / f"{name}.log",
                         name=name, allow=allow)
        try:
            wait_listening(self.port, self)
        except BaseException:
            self.kill()
            raise

    @property
    def peer(self):
        return _spell(self.address, self.port)


class P2pfsGet(Daemon):
    """`p2pfs get`, which ends with status 0 once all is there."""

    def __init__(self, torrent, save, where, *options, name="p2pfs-get", address="127.0.0.1", args=(), allow=(),
                 port=None):
        self.address, self.port = address, port or free_port(address)
        pathlib.Path(save).mkdir(parents=True, exist_ok=True)
        super().__init__([P2PFS, "get", *args, "-d", save, "-o", ",".join([f"listen={self.peer}", *options]), torrent],
                         pathlib.Path(where) / f"{name}.log", name=name, allow=allow)

    @property
    def peer(self):
        return _spell(self.address, self.port)

    def wait_complete(self, seconds=PATIENCE):
        status = self.wait(seconds)
        assert status == 0, f"p2pfs get ended with {status}:\n{self.output()}"
        self.check()
