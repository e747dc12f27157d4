#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs the Debian packages that are missing: "bootstrap.sh build" what building takes,
# "bootstrap.sh test" what the tests take as well.  Instant and offline when nothing is missing.
set -euo pipefail

# An entry is a package, or COMMAND:PACKAGE where the command may as well come from elsewhere.
build=(cmake:cmake ninja:ninja-build pkg-config:pkg-config gcc:gcc libc6-dev
    liburing-dev libssl-dev zlib1g-dev libsqlite3-dev libjq-dev sqlite3:sqlite3)
test=(g++:g++ clang:clang clang-format:clang-format clang-tidy:clang-tidy libclang-rt-14-dev
    python3 python3-websockets node:nodejs node-ws chromium:chromium
    curl:curl jq:jq gdb:gdb strace:strace nginx-light openssl:openssl git:git
    qemu-aarch64:qemu-user aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu libc6-dev-arm64-cross)

case "${1:-}" in
build) wanted=("${build[@]}") ;;
test) wanted=("${build[@]}" "${test[@]}") ;;
*) echo "usage: bootstrap.sh build|test" >&2; exit 2 ;;
esac

if ! command -v dpkg >/dev/null; then
    echo "bootstrap: not a Debian system; what is needed is called there: ${wanted[*]#*:}" >&2
    exit 0
fi

missing=()
for entry in "${wanted[@]}"; do
    package=${entry#*:}
    if [[ $entry == *:* ]] && command -v "${entry%%:*}" >/dev/null; then
        continue
    fi
    [[ $(dpkg -s "$package" 2>/dev/null) == *"Status: install ok installed"* ]] ||
        missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

sudo=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "bootstrap: run as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    sudo=(sudo)
fi
echo "bootstrap: installing ${missing[*]}" >&2
apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
"${apt[@]}" update >/dev/null </dev/null
"${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null </dev/null
