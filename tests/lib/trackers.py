# SPDX-License-Identifier: MIT
"""Trackers: opentracker, p2pfs' own, and a small one in Python that shows what was asked of it.

Each a context manager with .url (HTTP) and, where it speaks UDP, .udp.
"""

import http.server
import os
import pathlib
import socket
import struct
import threading
import urllib.parse

from lib.process import P2PFS, Daemon
from lib.wait import free_port, wait_listening


class Tracker(Daemon):
    def __init__(self, argv, log, address, port, **kw):
        self.address, self.port = address, port
        host = f"[{address}]" if ":" in address else address
        self.url, self.udp = f"http://{host}:{port}/announce", f"udp://{host}:{port}/announce"
        super().__init__(argv, log, **kw)
        try:
            wait_listening(port, self)
        except BaseException:
            self.kill()
            raise


class Opentracker(Tracker):
    """Debian's build serves whitelisted info-hashes only; of a v2 hash the first 20 bytes."""

    def __init__(self, where, info_hashes, *, address="127.0.0.1", name="opentracker"):
        folder = pathlib.Path(where) / name
        folder.mkdir(parents=True)
        # It changes root to the folder and becomes nobody before it reads the list.
        (folder / "whitelist").write_text("".join(f"{h[:40]}\n" for h in info_hashes))
        os.chmod(folder, 0o755)
        os.chmod(folder / "whitelist", 0o644)
        port = free_port(address)
        super().__init__(["opentracker", "-i", address, "-p", port, "-P", port, "-w", "whitelist", "-u", "nobody",
                          "-d", folder], pathlib.Path(where) / f"{name}.log", address, port, name=name)


class P2pfsTracker(Tracker):
    def __init__(self, where, *args, address="127.0.0.1", name="p2pfs-tracker", allow=()):
        port = free_port(address)
        host = f"[{address}]" if ":" in address else address
        super().__init__([P2PFS, "tracker", "--listen", f"{host}:{port}", *args], pathlib.Path(where) / f"{name}.log",
                         address, port, name=name, allow=allow)


class PythonTracker:
    """A thread of the test's own.  .asked: the query of each announce, as a dictionary of strings.

    Peers are those that announced, and `extra` [(IPv4 address, port)].
    """

    def __init__(self, *, address="127.0.0.1", extra=(), interval=1):
        self.asked, self.peers, self.extra, self.interval = [], {}, list(extra), interval
        tracker = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                tracker._answer(self)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://{address}:{self.port}/announce"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def _answer(self, handler):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(handler.path).query, encoding="latin-1")
        asked = {key: values[0] for key, values in query.items()}
        swarm = self.peers.setdefault(asked.get("info_hash", ""), {})
        me = (handler.client_address[0], int(asked.get("port", 0)))
        if asked.get("event") == "stopped":
            swarm.pop(me, None)
        else:
            swarm[me] = int(asked.get("left", 1))
        others = [peer for peer in swarm if peer != me] + self.extra
        compact = b"".join(socket.inet_aton(host) + struct.pack(">H", port) for host, port in others)
        body = b"d8:completei%de10:incompletei%de8:intervali%de5:peers%d:%se" % (
            sum(left == 0 for left in swarm.values()), sum(left > 0 for left in swarm.values()), self.interval,
            len(compact), compact)
        self.asked.append(asked)
        handler.send_response(200)
        handler.send_header("Content-Type", "text/plain")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
