#!/bin/bash
# SPDX-License-Identifier: MIT
# Shows what p2pfs does, on this machine alone, in about a minute; leaves nothing behind.
#
# Installs what is missing (as root, on Debian 12), builds, makes a disk image, serves it with its own
# tracker and seed, mounts it, reads while nearly nothing is there, and compares every byte.
set -euo pipefail
cd "$(dirname "$0")/.."

image_mib=512 # of which 3/4 are data
line=100M     # bits per second that the seed gives: a line, not a loopback

scripts/setup.sh demo
make --no-print-directory -j"$(nproc)" all
p2pfs=$PWD/p2pfs

work=$(mktemp -d "${TMPDIR:-/tmp}/p2pfs-demo.XXXXXX")
pids=()
cleanup() {
	trap - EXIT INT TERM
	"$p2pfs" umount "$work/mnt" 2>/dev/null || umount -l "$work/mnt" 2>/dev/null || true
	for pid in "${pids[@]}"; do
		kill "$pid" 2>/dev/null || true
	done
	wait
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

say() { printf '\n%s\n' "$*"; }
show() { printf '   $ %s\n' "$*"; }
now() { date +%s%N; }
since() { awk -v a="$1" -v b="$(now)" 'BEGIN { printf "%.2f s", (b - a) / 1e9 }'; }
indent() { sed 's/^/     /'; }
# progress: the part that is here of what there is to fetch (holes are known, and come from nowhere).
progress() {
	"$p2pfs" status --json "$work/mnt" | tr ",{" "\n" | awk -F: '
		!($1 in seen) { seen[$1] = $2 }
		END {
			had = seen["\"had\""]; zero = seen["\"zero\""]; size = seen["\"size\""]
			printf "%.1f %%", (size > zero) ? 100 * (had - zero) / (size - zero) : 100
		}'
}
free_port() {
	local port
	while port=$((20000 + RANDOM % 12000)); (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
	echo "$port"
}
# wait_port PORT PID: until somebody listens on it.
wait_port() {
	local hex
	hex=$(printf ':%04X ' "$1")
	until grep -qE "$hex.* 0A " /proc/net/tcp /proc/net/tcp6; do
		kill -0 "$2" 2>/dev/null || { echo "demo: a program ended early:" >&2; cat "$work"/*.log >&2; exit 1; }
		sleep 0.05
	done
}

say "1. An image of $image_mib MiB: $((image_mib * 3 / 4)) MiB of random data, the rest holes."
mkdir "$work/origin" "$work/mnt" "$work/store"
image=$work/origin/template.img
truncate -s "${image_mib}M" "$image"
for at in 0 1 2; do
	head -c $((image_mib / 4))M /dev/urandom |
		dd of="$image" bs=1M seek=$((at * image_mib / 3)) conv=notrunc iflag=fullblock status=none
done

say "2. A tracker and a seed (its line: ${line}bit/s)."
port=$(free_port)
show p2pfs tracker --listen "127.0.0.1:$port"
"$p2pfs" tracker --listen "127.0.0.1:$port" >"$work/tracker.log" 2>&1 &
pids+=($!)
wait_port "$port" $!
show p2pfs create -t "http://127.0.0.1:$port/announce" -o template.torrent template.img
"$p2pfs" create -t "http://127.0.0.1:$port/announce" -o "$work/template.torrent" "$image" >/dev/null
seed_port=$(free_port)
show p2pfs seed -o "up=$line" template.torrent template.img
"$p2pfs" seed -o "listen=127.0.0.1:$seed_port,up=$line" "$work/template.torrent" "$image" >"$work/seed.log" 2>&1 &
pids+=($!)
wait_port "$seed_port" $!

say "3. Mount it."
show p2pfs mount template.torrent /mnt
start=$(now)
"$p2pfs" mount -o "store=$work/store,listen=127.0.0.1:0,log=$work/mount.log" "$work/template.torrent" "$work/mnt"
echo "     mounted in $(since "$start"): $(stat -c '%n, %s bytes, %b blocks on disk' "$work/mnt/template.img" | sed "s,$work,,")"
start=$(now)
middle=$((image_mib * 128 + 3))
dd if="$work/mnt/template.img" bs=4k count=1 skip=$middle status=none |
	cmp - <(dd if="$image" bs=4k count=1 skip=$middle status=none)
first=$(since "$start")
first_progress=$(progress)
echo "     4 KiB from the middle: here after $first, and right, while $first_progress of the data have come"

say "4. Use it at once: QEMU's tools read it while it arrives."
show qemu-img info /mnt/template.img
qemu-img info -U "$work/mnt/template.img" | sed "s,$work,," | indent
show p2pfs status /mnt
"$p2pfs" status "$work/mnt" | sed "s,$work,,g" | indent
show qemu-img convert -O raw /mnt/template.img copy.img
start=$(now)
qemu-img convert -O raw "$work/mnt/template.img" "$work/copy.img"
converted=$(since "$start")
echo "     converted in $converted"

say "5. Compare every byte: the copy, and the mount itself, with the original."
cmp "$work/copy.img" "$image"
cmp "$work/mnt/template.img" "$image"
echo "     identical"

say "6. Unmount."
show p2pfs umount /mnt
"$p2pfs" umount "$work/mnt"

say "Seen: the first bytes after $first, with $first_progress of the data here; qemu-img converted the image in"
echo "$converted, while it came; every byte compared, twice.  Nothing is left behind."
