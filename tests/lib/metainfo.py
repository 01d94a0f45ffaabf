# SPDX-License-Identifier: MIT
"""A torrent read without libtorrent or p2pfs, for the scripted peer: geometry, hashes, content.

Good torrents only.  The contents are one linear space of bytes; in a v2 torrent each file begins on a piece, in
a hybrid padding files stand between.
"""

import hashlib
import pathlib

from lib import bencode

BLOCK = 16384


class File:
    """path: relative, without the torrent's name for a single file.  root: v2's "pieces root", or None."""

    def __init__(self, path, offset, length, root=None):
        self.path, self.offset, self.length, self.root = path, offset, length, root


class Meta:
    def __init__(self, path):
        top = bencode.decode(pathlib.Path(path).read_bytes())
        info = self.info = top[b"info"]
        self.info_bytes = bencode.encode(info)
        self.name = info[b"name"].decode()
        self.piece_length = info[b"piece length"]
        self.v1 = hashlib.sha1(self.info_bytes).digest() if b"pieces" in info else None
        self.v2 = hashlib.sha256(self.info_bytes).digest() if b"file tree" in info else None
        self.files = self._v2_files() if self.v2 else self._v1_files()
        self.layers = top.get(b"piece layers", {})
        last = self.files[-1]
        self.space = last.offset + last.length
        if self.v1 and not self.v2:
            self.space = self._v1_space
        self.n_pieces = -(-self.space // self.piece_length)
        self.pieces = info.get(b"pieces", b"")
        self.single = len(self.files) == 1 and b"files" not in info and self.files[0].path == self.name

    def _v1_files(self):
        files, at = [], 0
        for entry in self.info.get(b"files", [{b"path": [self.info[b"name"]], b"length": self.info.get(b"length")}]):
            if b"p" not in entry.get(b"attr", b""):
                files.append(File("/".join(p.decode() for p in entry[b"path"]), at, entry[b"length"]))
            at += entry[b"length"]
        self._v1_space = at
        return files

    def _v2_files(self):
        files, at = [], 0

        def walk(node, path):
            nonlocal at
            for key in sorted(node):
                if key == b"":
                    leaf = node[key]
                    at = -(-at // self.piece_length) * self.piece_length
                    files.append(File("/".join(path), at, leaf[b"length"], leaf.get(b"pieces root")))
                    at += leaf[b"length"]
                else:
                    walk(node[key], [*path, key.decode()])
        walk(self.info[b"file tree"], [])
        return files

    @property
    def hashes(self):
        """The 20 bytes that handshakes carry, v1's first."""
        return [h[:20] for h in (self.v1, self.v2) if h]

    def file_at(self, offset):
        return next((f for f in self.files if f.offset <= offset < f.offset + f.length), None)

    def piece_size(self, piece):
        """Bytes of a piece that may be asked for: v2 alone ends with the file, else padding is there too."""
        start = piece * self.piece_length
        end = min(start + self.piece_length, self.space)
        if not self.v1:
            f = self.file_at(start)
            end = min(end, f.offset + f.length)
        return end - start

    def blocks(self, piece):
        """(begin, length) of each block of it that has bytes of a file."""
        size = self.piece_size(piece)
        if self.v2:
            f = self.file_at(piece * self.piece_length)
            size = min(size, f.offset + f.length - piece * self.piece_length)
        return [(at, min(BLOCK, size - at)) for at in range(0, size, BLOCK)]

    def good(self, piece, data):
        """Is `data` (all blocks of it) what the torrent says of this piece?"""
        if self.v2:
            f = self.file_at(piece * self.piece_length)
            leaves = [hashlib.sha256(data[at:at + BLOCK]).digest() for at in range(0, len(data), BLOCK)]
            index = piece - f.offset // self.piece_length
            if f.length <= self.piece_length:
                return tree(leaves)[-1][0] == f.root
            return tree(leaves, self.piece_length // BLOCK)[-1][0] == self.layers[f.root][32 * index:32 * index + 32]
        return hashlib.sha1(data).digest() == self.pieces[20 * piece:20 * piece + 20]


def tree(leaves, width=0):
    """The layers of BEP 52's tree over leaf hashes, padded with zeros to a power of two and at least `width`."""
    size = 1
    while size < max(len(leaves), width):
        size *= 2
    layers = [list(leaves) + [bytes(32)] * (size - len(leaves))]
    while len(layers[-1]) > 1:
        below = layers[-1]
        layers.append([hashlib.sha256(below[i] + below[i + 1]).digest() for i in range(0, len(below), 2)])
    return layers


class Content:
    """The bytes of a torrent, from the file or folder `path`."""

    def __init__(self, meta, path):
        self.meta, self.path = meta, pathlib.Path(path)
        self._trees = {}

    def _path(self, f):
        return self.path if self.path.is_file() else self.path / f.path

    def read(self, offset, length):
        """Padding reads as zeros."""
        out = bytearray(length)
        for f in self.meta.files:
            first, last = max(offset, f.offset), min(offset + length, f.offset + f.length)
            if first < last:
                with open(self._path(f), "rb") as source:
                    source.seek(first - f.offset)
                    out[first - offset:last - offset] = source.read(last - first)
        return bytes(out)

    def hashes(self, root, base, index, length, proofs):
        """The answer to a hash request (BEP 52), or None where there is none to give."""
        f = next((f for f in self.meta.files if f.root == root), None)
        if f is None:
            return None
        if root not in self._trees:
            data = self._path(f).read_bytes()
            leaves = [hashlib.sha256(data[at:at + BLOCK]).digest() for at in range(0, len(data), BLOCK)]
            self._trees[root] = tree(leaves)
        layers = self._trees[root]
        if length < 2 or length & (length - 1) or index % length or base >= len(layers) \
           or index + length > max(len(layers[base]), 2):
            return None
        found = list(layers[base][index:index + length])
        layer, at = base + length.bit_length() - 1, index // length
        for _ in range(length.bit_length() - 2, proofs):
            if layer >= len(layers) - 1:
                break
            found.append(layers[layer][at ^ 1])
            layer, at = layer + 1, at // 2
        return found
