# SPDX-License-Identifier: MIT
"""Magnet links of torrents."""

import urllib.parse


def link(torrent, *, peers=(), trackers=(), versions=("v1", "v2"), more=""):
    """The link of a Torrent; versions: the info-hashes that it names, of those that there are."""
    topics = [f"xt=urn:btih:{torrent.v1}"] if torrent.v1 and "v1" in versions else []
    topics += [f"xt=urn:btmh:1220{torrent.v2}"] if torrent.v2 and "v2" in versions else []
    words = topics + [f"x.pe={peer}" for peer in peers] + [f"tr={urllib.parse.quote(t, '')}" for t in trackers]
    return "magnet:?" + "&".join(words) + more
