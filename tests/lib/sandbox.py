# SPDX-License-Identifier: MIT
"""A systemd service without systemd: ExecStart of a unit, in the sandbox that the unit asks for.

    unshare --mount --propagation private python3 sandbox.py '{"unit": ..., "program": ..., "state": ...}'

What it makes of the unit: the user (nobody for DynamicUser), capabilities, no new privileges, file systems that are
read-only but for the state's folder, a /tmp, /dev and /proc of its own, limits, and the filters of system calls,
address families, namespaces and writable code.  An option that it does not know is an error, so that the test and
the unit stay together.  Then it is the program.
"""

import ctypes
import errno
import json
import os
import pathlib
import resource
import subprocess
import sys

CAP_NET_BIND_SERVICE = 10
CLONE_NEW = 0x7e020080  # all of CLONE_NEW*, which is what RestrictNamespaces=yes is about
ALLOW, ERRNO = 0x7fff0000, 0x00050000
EQUAL, MASKED_EQUAL = 4, 7
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}

# Kept by read-only mounts, by the user or by the filter of system calls; nothing is left to do for them.
IMPLIED = {"ProtectClock", "ProtectControlGroups", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
           "ProtectKernelTunables", "ProtectHome", "RestrictRealtime", "RestrictSUIDSGID", "LockPersonality",
           "RemoveIPC", "SystemCallArchitectures"}
# Of systemd itself, or taken care of by the test.
OUTSIDE = {"Type", "EnvironmentFile", "ExecReload", "Restart", "RestartSec", "TimeoutStopSec", "StateDirectoryMode"}
DONE = {"ExecStart", "DynamicUser", "StateDirectory", "LimitNOFILE", "AmbientCapabilities", "CapabilityBoundingSet",
        "NoNewPrivileges", "ProtectSystem", "PrivateTmp", "PrivateDevices", "ProtectProc", "ProcSubset",
        "RestrictAddressFamilies", "RestrictNamespaces", "MemoryDenyWriteExecute", "SystemCallFilter",
        "SystemCallErrorNumber", "UMask"}

# What the service does not see, or sees its own of, with the mode of that; the latter two it may write to.
COVERED = {"/usr/local/bin": "755", "/var/lib": "755", "/tmp": "1777", "/var/tmp": "1777"}

libc = ctypes.CDLL(None, use_errno=True)


def service(unit):
    """{option: [values]} of its section [Service]."""
    found, section = {}, None
    for line in pathlib.Path(unit).read_text().splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    unknown = set(found) - IMPLIED - OUTSIDE - DONE
    if unknown:
        raise ValueError(f"{unit}: nothing is made of {', '.join(sorted(unknown))}")
    return found


def mount(*args):
    subprocess.run(["mount", *args], check=True)


def prctl(*args):
    if libc.prctl(*(ctypes.c_ulong(a) for a in args), *[ctypes.c_ulong(0)] * (5 - len(args))):
        raise OSError(ctypes.get_errno(), f"prctl {args}")


def file_systems(options, program, state):
    """The state's folder stays writable, whatever else becomes read-only."""
    target = f"/var/lib/{options['StateDirectory'][0]}"
    stage = "/mnt"
    mount("-t", "tmpfs", "stage", stage)
    for folder in ("state", "dev"):
        os.mkdir(f"{stage}/{folder}")
    mount("--bind", state, f"{stage}/state")
    content = pathlib.Path(program).read_bytes()
    for folder, mode in COVERED.items():
        mount("-t", "tmpfs", "-o", f"mode={mode}", "own", folder)
    installed = pathlib.Path("/usr/local/bin/p2pfs")
    installed.write_bytes(content)
    installed.chmod(0o755)
    os.makedirs(target)
    mount("--bind", f"{stage}/state", target)
    mount("-t", "tmpfs", "-o", "mode=755", "own", f"{stage}/dev")
    for name, minor in (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)):
        os.mknod(f"{stage}/dev/{name}", 0o20666, os.makedev(1, minor))
        os.chmod(f"{stage}/dev/{name}", 0o666)
    mount("--move", f"{stage}/dev", "/dev")
    subprocess.run(["umount", f"{stage}/state", stage], check=True)
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        path = line.split()[4]
        below = any(path.startswith(f"{folder}/") for folder in (*COVERED, "/proc", "/dev"))
        if not below and COVERED.get(path) != "1777":
            mount("-o", "remount,bind,ro", path)
    mount("-t", "proc", "-o", f"hidepid={options['ProtectProc'][0]},subset={options['ProcSubset'][0]}", "proc", "/proc")


def become_nobody():
    """The user without privileges, but for ports below 1024."""
    last = int(pathlib.Path("/proc/sys/kernel/cap_last_cap").read_text()) if os.path.exists(
        "/proc/sys/kernel/cap_last_cap") else 40  # subset=pid hides it
    for cap in range(last + 1):
        if cap != CAP_NET_BIND_SERVICE:
            prctl(24, cap)  # PR_CAPBSET_DROP
    prctl(8, 1)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    only = 1 << CAP_NET_BIND_SERVICE
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)(only, only, only, 0, 0, 0)):
        raise OSError(ctypes.get_errno(), "capset")
    prctl(47, 2, CAP_NET_BIND_SERVICE)  # PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE
    prctl(38, 1)  # PR_SET_NO_NEW_PRIVS


def group(name):
    """The system calls of systemd's group."""
    found = set()
    told = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    for word in (line.strip() for line in told.stdout.splitlines()[1:]):
        if word.startswith("@"):
            found |= group(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def system_calls(options):
    calls = set()
    for line in options["SystemCallFilter"]:
        these = set().union(*(group(word) for word in line.lstrip("~").split()))
        calls = calls - these if line.startswith("~") else calls | these
    return calls


class Compare(ctypes.Structure):
    _fields_ = [("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def filter_calls(options, calls):
    """As systemd sets it up; the filters of one call's arguments are that call's conditions here."""
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    wrong = getattr(errno, options["SystemCallErrorNumber"][0])
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ERRNO | wrong)))

    def rule(action, call, *comparison):
        number = seccomp.seccomp_syscall_resolve_name(call.encode())
        if number < 0:
            return  # none of this machine's
        array = (Compare * 1)(Compare(*comparison)) if comparison else None
        err = seccomp.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(comparison) > 0, array)
        if err:
            raise OSError(-err, f"seccomp: {call}")

    for call in sorted(calls - {"socket", "mmap", "mprotect", "clone", "clone3", "unshare", "setns"}):
        rule(ALLOW, call)
    for family in options["RestrictAddressFamilies"][0].split():
        rule(ALLOW, "socket", 0, EQUAL, FAMILIES[family], 0)
    for protection in (0, 2, 4):  # PROT_WRITE and PROT_EXEC: never both
        rule(ALLOW, "mmap", 2, MASKED_EQUAL, 6, protection)
    rule(ALLOW, "mprotect", 2, MASKED_EQUAL, 4, 0)
    rule(ALLOW, "clone", 0, MASKED_EQUAL, CLONE_NEW, 0)
    rule(ERRNO | errno.ENOSYS, "clone3")  # its flags are out of sight: glibc then takes clone
    err = seccomp.seccomp_load(context)
    if err:
        raise OSError(-err, "seccomp_load")


def main():
    want = json.loads(sys.argv[1])
    options = service(want["unit"])
    calls = system_calls(options) if want["filter"] else None
    # A container may have less, and may not give more.
    limit = min(int(options["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    argv = options["ExecStart"][0]
    for word, instead in want["replace"].items():
        assert word in argv, f"{word} is not in {argv}"
        argv = argv.replace(word, instead)
    file_systems(options, want["program"], want["state"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.umask(int(options["UMask"][0], 8))
    os.chdir("/")
    become_nobody()
    if calls:
        filter_calls(options, calls)
    os.execv(argv.split()[0], argv.split())


if __name__ == "__main__":
    main()
