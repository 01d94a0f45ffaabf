#!/bin/sh
# SPDX-License-Identifier: MIT
# All tests, from nothing: installs what is missing (as root, on Debian 12), builds, tests.
set -eu
cd "$(dirname "$0")/.."
scripts/setup.sh test
exec make --no-print-directory -j"$(nproc)" check "$@"
