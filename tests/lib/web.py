# SPDX-License-Identifier: MIT
"""Web seeds: nginx, and a Python server with ranges that counts and can misbehave.  Both have .url, ending in /."""

import http.server
import os
import pathlib
import re
import threading
import urllib.parse

from lib.process import Daemon
from lib.wait import free_port, wait_listening


class Nginx(Daemon):
    """Serves `root`."""

    def __init__(self, root, where, *, address="127.0.0.1", name="nginx"):
        folder = pathlib.Path(where) / name
        folder.mkdir(parents=True)
        self.port = free_port(address)
        self.url = f"http://{address}:{self.port}/"
        (folder / "nginx.conf").write_text(f"""
            user root; worker_processes 1; daemon off; master_process off; pid {folder}/pid; error_log stderr warn;
            events {{ worker_connections 512; }}
            http {{
                access_log {folder}/access.log;
                client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fcgi;
                uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
                server {{ listen {address}:{self.port}; root "{root}"; }}
            }}""")
        super().__init__(["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"], folder / "log", name=name)
        try:
            wait_listening(self.port, self)
        except BaseException:
            self.kill()
            raise


class RangeServer:
    """A thread of the test's own.  .asked: (path, range header) of each request; .sent: body bytes.

    change(path, offset, data) -> bytes, if given, sees every body and may falsify it.
    """

    def __init__(self, root, *, address="127.0.0.1", change=None):
        self.root, self.change = pathlib.Path(root), change
        self.asked, self.sent = [], 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                outer._answer(self)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer((address, 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://{address}:{self.port}/"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05})

    def _answer(self, handler):
        name = urllib.parse.unquote(handler.path.lstrip("/"))
        asked = handler.headers.get("Range")
        self.asked.append((name, asked))
        path = self.root / name
        if not path.is_file():
            handler.send_error(404)
            return
        size = os.path.getsize(path)
        first, last = 0, size - 1
        span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
        if span:
            first, last = int(span[1]), min(int(span[2] or size - 1), size - 1)
        with open(path, "rb") as source:
            source.seek(first)
            body = source.read(last - first + 1)
        if self.change:
            body = self.change(name, first, body)
        handler.send_response(206 if span else 200)
        if span:
            handler.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        self.sent += len(body)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
