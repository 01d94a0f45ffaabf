# SPDX-License-Identifier: MIT
"""A p2pfs mount for a test.

    with Mount(torrent, tmp_path, f"peer={seed.peer}", "fill=off") as mount:
        assert mount.path.read_bytes() == ...

`where` gets a folder per mount: mountpoint, store and log.  `p2pfs mount --foreground --ready-fd` by default, so
that the test owns the process; foreground=False is what users do: the command returns, a daemon stays.
"""

import json
import os
import pathlib
import select
import signal

from lib import fuse
from lib.process import P2PFS, Daemon, check_output, p2pfs, reap_pids, run
from lib.wait import PATIENCE, free_port, wait_until


class MountFailed(AssertionError):
    """The mount command said no; .message is what it said."""

    def __init__(self, message, status):
        super().__init__(f"mount failed with {status}: {message}")
        self.message, self.status = message, status


class Mount:
    def __init__(self, torrent, where, *options, name="mount", store=None, mountpoint=None, address="127.0.0.1",
                 port=None, foreground=True, allow=(), args=(), env=None, start=True):
        """options: "key=value" words for -o.  store, mountpoint: when they are to be shared or are special.

        allow: regexes of errors in the mount's log that the test provokes.  start=False: call start() later.
        """
        self.torrent = pathlib.Path(torrent) if "://" not in str(torrent) else torrent
        self.dir = pathlib.Path(where) / name
        self.dir.mkdir(parents=True, exist_ok=True)
        self.name, self.options, self.args, self.allow = name, list(options), list(args), list(allow)
        self.store = pathlib.Path(store or self.dir / "store")
        self.mountpoint = pathlib.Path(mountpoint or self.dir / "mnt")
        if mountpoint is None:
            self.mountpoint.mkdir(exist_ok=True)
        self.address, self.port = address, port or free_port(address)
        self.foreground, self.env = foreground, env
        self.process = self.daemon_pid = None
        if start:
            self.start()

    # -- life --------------------------------------------------------------------------------

    @property
    def peer(self):
        """This mount as others name it: ADDR:PORT."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def argv(self):
        options = [f"store={self.store}", f"listen={self.peer}", *self.options]
        return [P2PFS, "mount", *(["--foreground"] if self.foreground else []), *self.args,
                "-o", ",".join(options), str(self.torrent), str(self.mountpoint)]

    @property
    def log(self):
        return self.dir / "log"

    def start(self):
        """Mounts, or raises MountFailed with nothing left behind."""
        env = {**os.environ, **(self.env or {})}
        if not self.foreground:
            done = run(self.argv, check=False, env=env)
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(done.stdout + done.stderr)
            if done.returncode:
                raise MountFailed(done.stderr, done.returncode)
            self.daemon_pid = self._find_daemon()
            return self
        readable, writable = os.pipe()
        try:
            argv = self.argv
            argv[3:3] = ["--ready-fd", str(writable)]
            self.process = Daemon(argv, self.log, name=f"p2pfs {self.name}", pass_fds=[writable], env=env,
                                  allow=self.allow)
            os.close(writable)
            writable = -1
            said = self._read_ready(readable)
        except BaseException:
            self._discard()
            raise
        finally:
            os.close(readable)
            if writable >= 0:
                os.close(writable)
        if said != b"\n":
            status = self.process.wait()
            message = said.decode(errors="replace") or self.process.output()
            self._discard()
            raise MountFailed(message, status)
        return self

    def _read_ready(self, descriptor):
        """All that comes over the ready descriptor until its end."""
        said = b""
        while True:
            if not select.select([descriptor], [], [], PATIENCE)[0]:
                raise TimeoutError(f"the mount was not ready within {PATIENCE} s:\n{self.process.output()}")
            got = os.read(descriptor, 4096)
            if not got:
                return said
            said += got

    def _find_daemon(self):
        """The process that serves this mountpoint."""
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if str(self.mountpoint).encode() in words and b"mount" in words[1:2]:
                    return int(entry.name)
        raise AssertionError(f"no daemon serves {self.mountpoint}")

    @property
    def pid(self):
        return self.process.pid if self.process else self.daemon_pid

    def alive(self):
        return self.process.alive() if self.process else os.path.exists(f"/proc/{self.pid}")

    def mounted(self):
        return fuse.mounted(self.mountpoint)

    def stop(self, seconds=20):
        """SIGTERM as an init system sends it; must end, unmount, and have said no error."""
        try:
            if self.process:
                self.process.stop(seconds)
            elif self.daemon_pid and self.alive():
                os.kill(self.daemon_pid, signal.SIGTERM)
                wait_until(lambda: not self.alive(), "the end of the daemon after SIGTERM", seconds)
                check_output(self.name, self.log.read_text(errors="replace"), self.allow)
            if self.mounted() and not (self.process and self.process.killed):
                raise AssertionError(f"{self.mountpoint} is mounted still after its daemon's end")
        finally:
            fuse.detach(self.mountpoint)

    def kill(self):
        """SIGKILL, and the dead mount taken away: what a crash leaves is the store alone."""
        if self.process:
            self.process.kill()
        else:
            reap_pids([self.daemon_pid])
        fuse.detach(self.mountpoint)

    def abort(self):
        fuse.abort(self.mountpoint)

    def _discard(self):
        if self.process and self.process.alive():
            self.process.kill()
        if self.process:
            self.process.checked = True
        fuse.detach(self.mountpoint)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        try:
            self.stop()
        except (AssertionError, TimeoutError):
            if kind is None:
                raise

    # -- what it shows -----------------------------------------------------------------------

    @property
    def path(self):
        """The image: the mountpoint itself if that is a file, else the one file in it."""
        if self.mountpoint.is_file():
            return self.mountpoint
        names = os.listdir(self.mountpoint)
        assert len(names) == 1, f"{self.mountpoint} shows {names}: use file(name)"
        return self.mountpoint / names[0]

    def file(self, name):
        return self.mountpoint / name

    def status(self):
        """`p2pfs status --json` of this mount."""
        got = json.loads(p2pfs("status", "--json", self.mountpoint).stdout)
        return got[0] if isinstance(got, list) else got

    def xattr(self, name, path=None):
        """The value of user.p2pfs.NAME as text."""
        return os.getxattr(path or self.mountpoint, f"user.p2pfs.{name}").decode()

    def wait_state(self, state, seconds=PATIENCE):
        """Waits until the status gives this state, e.g. "complete"."""
        wait_until(lambda: self.status()["state"] == state, lambda: f"state {state}: {self.status()}", seconds)

    @property
    def entry(self):
        """The store's folder of this torrent."""
        found = [path for path in self.store.iterdir() if path.is_dir()]
        assert len(found) == 1, f"{self.store} holds {found}"
        return found[0]

    def rss(self):
        """Resident bytes, at most so far."""
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError(f"no VmHWM of {self.pid}")
