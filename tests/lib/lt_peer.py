# SPDX-License-Identifier: MIT
"""A libtorrent peer, as a program: seeds.LibtorrentPeer runs it and talks to it in lines of JSON.

In: {"do": "connect", "peer": [host, port]} | {"do": "limit", "up": bytes/s, "down": bytes/s} | {"do": "status"}.
Out: one line for each, and a first one when the torrent is added and the port is open.
Ends when its input ends.
"""

import json
import sys
import time

import libtorrent as lt


def main():
    want = json.loads(sys.argv[1])
    utp = want.get("utp", False)
    session = lt.session({
        "listen_interfaces": want["listen"],
        "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_outgoing_utp": utp, "enable_incoming_utp": utp,
        "enable_outgoing_tcp": not utp, "enable_incoming_tcp": not utp,
        "allow_multiple_connections_per_ip": True, "unchoke_slots_limit": -1, "connection_speed": 100,
        "min_reconnect_time": 1, "out_enc_policy": 2, "in_enc_policy": 1,
        "alert_mask": lt.alert.category_t.storage_notification,
        "aio_threads": 2, "hashing_threads": 1,
        # A tracker on loopback is no attack here.
        "ssrf_mitigation": False, "allow_idna": True, "validate_https_trackers": False,
        "announce_to_all_tiers": True, "announce_to_all_trackers": True, "min_announce_interval": 1,
        **want.get("settings", {}),
    })
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(want["torrent"])
    params.save_path = want["save"]
    params.flags &= ~(lt.torrent_flags.paused | lt.torrent_flags.auto_managed)
    if want.get("trust"):
        params.flags |= lt.torrent_flags.seed_mode
    handle = session.add_torrent(params)
    limit(handle, want)
    for peer in want.get("peers", []):
        handle.connect_peer(tuple(peer))
    while not session.is_listening():
        time.sleep(0.005)
    say(port=session.listen_port())
    written = False
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "connect":
            handle.connect_peer(tuple(order["peer"]))
            say()
        elif order["do"] == "limit":
            limit(handle, order)
            say()
        else:
            status = handle.status()
            if status.is_seeding and not written:
                wait_written(session, handle)
                written = True
            say(seeding=status.is_seeding, progress=status.progress_ppm, state=str(status.state),
                uploaded=status.total_payload_upload, downloaded=status.total_payload_download,
                failed=status.total_failed_bytes, peers=status.num_peers, error=str(status.errc.message() if status.errc else ""))


def wait_written(session, handle):
    """It seeds what it has hashed in memory; the writing may still wait for its turn."""
    handle.flush_cache()
    deadline = time.monotonic() + 60
    while not any(isinstance(alert, lt.cache_flushed_alert) for alert in session.pop_alerts()):
        if time.monotonic() > deadline:
            raise TimeoutError("libtorrent did not say that its cache is flushed")
        session.wait_for_alert(100)


def limit(handle, order):
    # Of the torrent, not of the session: libtorrent's session limits leave local peers out.
    if order.get("up") is not None:
        handle.set_upload_limit(order["up"])
    if order.get("down") is not None:
        handle.set_download_limit(order["down"])


def say(**facts):
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
