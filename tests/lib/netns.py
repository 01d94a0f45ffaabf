# SPDX-License-Identifier: MIT
"""A network of a test's own: a namespace with its own loopback, addresses and names.

    with Namespace(tmp_path, addresses=["198.51.100.1"], names={...}) as net:
        HttpServer(answer, listener=net.listen("198.51.100.1"))     # served by the test itself
        http_get(url, prefix=net.prefix)                            # a program in it

Addresses of any kind (public, private, link-local) are put on its loopback interface, so that the rules for
them can be tried with real connections.  Its resolv.conf names 127.0.0.1, its hosts file is `hosts`.
"""

import ctypes
import os
import pathlib
import socket
import struct
import threading

from lib.process import Daemon
from lib.wait import wait_until

CLONE_NEWNET = 0x40000000


class Namespace(Daemon):
    def __init__(self, where, *, addresses=(), hosts=""):
        where = pathlib.Path(where)
        (where / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:30 attempts:1\n")
        (where / "hosts").write_text(f"127.0.0.1 localhost\n::1 localhost\n{hosts}\n")
        script = f"mount --bind {where}/resolv.conf /etc/resolv.conf\nmount --bind {where}/hosts /etc/hosts\n" \
                 "ip link set lo up\n" + "".join(
                     f"ip address add {a}/{128 if ':' in a else 32} dev lo {'nodad' if ':' in a else ''}\n"
                     for a in addresses) + "echo ready; exec sleep infinity"
        super().__init__(["unshare", "--net", "--mount", "--propagation", "private", "sh", "-ec", script],
                         where / "namespace.log", name="namespace")
        try:
            self.wait_output("^ready$")
        except BaseException:
            self.kill()
            raise
        self.prefix = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--"]

    def socket(self, address, port=0, kind=socket.SOCK_STREAM):
        """A bound socket in the namespace: a thread enters it for the moment (namespaces are a thread's)."""
        made = []

        def make():
            libc = ctypes.CDLL(None, use_errno=True)
            fd = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                if libc.setns(fd, CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
                s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((address, port))
                made.append(s)
            finally:
                os.close(fd)
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def listen(self, address, port=0):
        s = self.socket(address, port)
        s.listen(64)
        return s


class NameServer:
    """DNS at 127.0.0.1 of a namespace.  names: {"name": [addresses] or a function of how often it was asked}.

    A name that is not there does not exist; an answer of None is none at all.  .asked: [(name, type)].
    """

    def __init__(self, net, names):
        self.names, self.asked, self.counts = names, [], {}
        self.socket = net.socket("127.0.0.1", 53, socket.SOCK_DGRAM)
        self.socket.settimeout(0.05)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._serve)

    def _serve(self):
        while not self.over.is_set():
            try:
                query, source = self.socket.recvfrom(2048)
            except TimeoutError:
                continue
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode())
                at += 1 + query[at]
            kind, = struct.unpack_from(">H", query, at + 1)
            name, question = ".".join(labels), query[12:at + 5]
            self.asked.append((name, kind))
            found = self.names.get(name, ())
            if callable(found):
                self.counts[name, kind] = self.counts.get((name, kind), 0) + 1
                found = found(self.counts[name, kind])
            if found is None:
                continue
            family = {1: socket.AF_INET, 28: socket.AF_INET6}.get(kind)
            records = [socket.inet_pton(family, a) for a in found
                       if family == (socket.AF_INET6 if ":" in a else socket.AF_INET)]
            flags = 0x8180 if name in self.names else 0x8183
            answer = query[:2] + struct.pack(">HHHHH", flags, 1, len(records), 0, 0) + question
            for record in records:
                answer += struct.pack(">HHHIH", 0xc00c, kind, 1, 0, len(record)) + record
            self.socket.sendto(answer, source)

    def wait_asked(self, name):
        wait_until(lambda: any(n == name for n, _ in self.asked), lambda: f"a look-up of {name}: {self.asked}")

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()
        self.socket.close()
