# SPDX-License-Identifier: MIT
"""The house keeps its shape: who may include whom, and how a file begins.

Reads the `#include` lines of all sources.  The tables below are the architecture (HACKING.md) in a
form that fails; a new module of swarm/ has to be put on its floor here.
"""

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 900

# folder -> folders it may include from; single headers are named whole.
FOLDERS = {
    "base": {"base"},
    "swarm": {"base", "swarm"},
    "fs": {"base", "fs", "swarm/swarm.h", "swarm/options.h", "swarm/metainfo.h", "swarm/profile.h"},
    "tracker": {"base", "tracker"},
    "p2pfs.c": {"base", "fs/fs.h", "swarm/commands.h", "tracker/tracker.h"},
    "tests": {"base", "swarm", "fs", "tracker", "tests"},
}

# The floors of swarm/.  A module is its file's name, or what stands before the name's first "_".
PURE = {"wire", "ext", "picker", "demand", "choker", "rate", "peers", "metainfo", "magnet", "layout",
        "path", "url", "range", "stream", "profile", "metadata"}
IO = {"conn", "listen", "announce", "http", "webseed", "store", "verify", "resume", "beneath"}
# I/O modules meet in torrent.c; these may know one below them all the same: libcurl on the loop, the
# interface of the store, opening files safely.
IO_MAY_INCLUDE = {
    "announce": {"http"},
    "webseed": {"http"},
    "resume": {"store", "beneath"},
    "store": {"beneath"},
    "verify": {"store"},
}
OWNERS = {"torrent", "swarm"}
COMMANDS = {"cmd", "commands", "options", "create", "scan", "describe",
            "foreground"}

# Where a library may be known, so that one can see what depends on it.
LIBRARIES = {"fuse": {"fs"}, "curl/": {"swarm", "tracker"}, "sqlite3": {"tracker"},
             "hiredis": {"tracker"}}


def sources():
    """The .c and .h files, relative to the root."""
    for path in [ROOT / "p2pfs.c", *(p for folder in ("base", "swarm", "fs", "tracker", "tests")
                                     for p in (ROOT / folder).rglob("*.[ch]"))]:
        yield path.relative_to(ROOT).as_posix()


def scripts():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if not f.startswith((".", "build", "corpus", "__"))]
        for name in names:
            path = Path(folder) / name
            if path.suffix in (".py", ".sh") or name == "Makefile" or (
                    not path.suffix and path.is_file() and path.open("rb").read(2) == b"#!"):
                yield path.relative_to(ROOT).as_posix()


def read(path):
    return (ROOT / path).read_text()


def includes(source):
    return re.findall(r'^\s*#\s*include\s+"([^"]+)"', read(source), re.M)


def module(path):
    name = Path(path).stem
    return name if name in PURE | IO else name.split("_")[0]


def folder_allows(source, header):
    allowed = FOLDERS[source.split("/")[0]]
    return header in allowed or header.split("/")[0] in allowed


def floor_allows(source, header):
    """Inside swarm/."""
    here, there = module(source), module(header)
    if there == here and here not in COMMANDS:
        return True
    if there == "torrent":
        return here in OWNERS
    if here in PURE:
        return there in PURE
    if here in IO:
        return there in PURE | IO_MAY_INCLUDE.get(here, set())
    return True


def test_includes_only_what_it_may():
    wrong = []
    for source in sources():
        for header in includes(source):
            if not (ROOT / header).is_file():
                wrong.append(f"{source}: {header}: no such header (name it from the root)")
            elif not folder_allows(source, header):
                wrong.append(f"{source}: {header}: not from this folder")
            elif source.startswith("swarm/") and header.startswith("swarm/") and \
                    not floor_allows(source, header):
                wrong.append(f"{source}: {header}: not from this floor")
    assert not wrong, "\n".join(wrong)


def test_every_module_of_swarm_stands_on_a_floor():
    known = PURE | IO | OWNERS | COMMANDS
    homeless = [s for s in sources() if s.startswith("swarm/") and module(s) not in known]
    assert not homeless, f"say in {Path(__file__).name} which floor they belong to"


def test_libraries_are_used_in_their_folders():
    wrong = [f"{source}: {header}" for source in sources() if not source.startswith("tests/")
             for header in re.findall(r"^\s*#\s*include\s+<([^>]+)>", read(source), re.M)
             for library, folders in LIBRARIES.items()
             if header.startswith(library) and source.split("/")[0] not in folders]
    assert not wrong


def test_sources_begin_with_licence_and_design():
    wrong = []
    for source in sources():
        first, second, *_ = read(source).splitlines() + ["", ""]
        if not re.fullmatch(r"(/\*|//) SPDX-License-Identifier: MIT( \*/)?", first):
            wrong.append(f"{source}: begins with no SPDX line")
        elif not second.startswith("/* "):
            wrong.append(f"{source}: the second line begins no comment that tells the design")
    assert not wrong, "\n".join(wrong)


def test_scripts_begin_with_licence_and_purpose():
    wrong = []
    for script in scripts():
        lines = read(script).splitlines() + ["", ""]
        lines = lines[1:] if lines[0].startswith("#!") else lines
        if lines[0] != "# SPDX-License-Identifier: MIT":
            wrong.append(f"{script}: begins with no SPDX line")
        elif not re.match(r'# |"""', lines[1]) and not script.endswith("__init__.py"):
            wrong.append(f"{script}: does not say what it is for")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_too_long():
    lengths = {f: len(read(f).splitlines()) for f in [*sources(), *scripts()]}
    assert not {f: n for f, n in lengths.items() if n > MAX_LINES}


def test_no_code_is_switched_off():
    assert not [s for s in sources() if re.search(r"^\s*#\s*if\s+0\b", read(s), re.M)]


def test_the_tables_catch_a_wrong_arrow():
    """That the functions above can fail."""
    assert not folder_allows("base/log.c", "swarm/wire.h")
    assert not folder_allows("fs/ops.c", "swarm/torrent.h")
    assert not folder_allows("fs/ops.c", "tracker/tracker.h")
    assert not folder_allows("p2pfs.c", "swarm/swarm.h")
    assert not floor_allows("swarm/picker.c", "swarm/conn.h")
    assert not floor_allows("swarm/conn.c", "swarm/store.h")
    assert not floor_allows("swarm/conn.c", "swarm/torrent.h")
    assert not floor_allows("swarm/cmd_get.c", "swarm/torrent_read.h")
    assert not floor_allows("swarm/store_disk.c", "swarm/resume.h")
    assert floor_allows("swarm/announce_http.c", "swarm/announce_one.h")
    assert floor_allows("swarm/torrent_read.c", "swarm/torrent.h")
