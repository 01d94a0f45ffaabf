# SPDX-License-Identifier: MIT
"""Bencoding (BEP 3): bytes to int, bytes, list and dict, and back."""


def decode(data):
    """The one value that `data` is."""
    value, end = _value(data, 0)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes behind the value")
    return value


def _value(data, at):
    kind = data[at:at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1:end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at:at + 1] != b"e":
            item, at = _value(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2]))), at + 1
    if not kind.isdigit():
        raise ValueError(f"no value at {at}: {kind!r}")
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    if end > len(data):
        raise ValueError(f"string at {at} past the end")
    return data[colon + 1:end], end


def encode(value):
    """int, bytes, str, list, dict (keys bytes or str, sorted here)."""
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, (bytes, bytearray)):
        return b"%d:%s" % (len(value), value)
    if isinstance(value, (list, tuple)):
        return b"l" + b"".join(encode(item) for item in value) + b"e"
    items = sorted((key.encode() if isinstance(key, str) else key, item) for key, item in value.items())
    return b"d" + b"".join(encode(key) + encode(item) for key, item in items) + b"e"
