#!/bin/sh
# SPDX-License-Identifier: MIT
# Installs what Debian 12 needs to build p2pfs, to show it (demo), to pass its tests, and to work on it
# (dev: fuzz, format, tidy).
#
#   scripts/setup.sh [build|demo|test|dev]      each with those before it; default: test
#
# Does nothing, and needs no root, when everything is there already.
set -eu

build="gcc libc6-dev make pkg-config libfuse3-dev libcurl4-openssl-dev libssl-dev libevent-dev
	libjansson-dev libsqlite3-dev libhiredis-dev fuse3 ca-certificates"
demo="qemu-utils"
tests="libcmocka-dev python3 python3-pytest python3-pytest-xdist python3-pytest-timeout python3-libtorrent
	python3-redis transmission-daemon transmission-cli opentracker aria2 btfs nginx-light redis-server
	curl qemu-system-x86 util-linux iproute2 openssl sqlite3 strace xfsprogs e2fsprogs mtools
	dosfstools syslinux syslinux-common extlinux fdisk busybox-static cpio kmod linux-image-cloud-amd64 wrk systemd"
dev="clang clang-format clang-tidy llvm"

case ${1:-test} in
build) want=$build ;;
demo) want="$build $demo" ;;
test) want="$build $demo $tests" ;;
dev) want="$build $demo $tests $dev" ;;
*)
	echo "setup.sh: $1: unknown: use build, demo, test or dev" >&2
	exit 2
	;;
esac

# shellcheck disable=SC2086,SC2016
present=$(dpkg-query -W -f ' ${Package}:${Status}:' $want 2>/dev/null || true)
missing=
for package in $want; do
	case $present in
	*" $package:install ok installed:"*) ;;
	*) missing="$missing $package" ;;
	esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
	echo "setup.sh: these packages are missing; run this as root, or install them:$missing" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "setup.sh: installing:$missing" >&2
# No service of theirs is started: the tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	trap 'rm -f $policy' EXIT
fi
# A machine that is thrown away after the tests need not sync every file.
unsafe=
[ "${CI:-}" != true ] || unsafe="-o Dpkg::Options::=--force-unsafe-io"
apt-get -qq update
# shellcheck disable=SC2086
apt-get -qq install -y --no-install-recommends $unsafe $missing >/dev/null
