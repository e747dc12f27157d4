#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs the Debian packages that are missing: "bootstrap.sh build" what building takes,
# "bootstrap.sh test" what the tests take as well, "bootstrap.sh bench" the peers of the benchmarks.
# Instant and offline when nothing is missing.
set -euo pipefail

# An entry is a package, or COMMAND:PACKAGE where the command may as well come from elsewhere.
build=(cmake:cmake ninja:ninja-build pkg-config:pkg-config gcc:gcc libc6-dev
    liburing-dev libssl-dev zlib1g-dev libsqlite3-dev libjq-dev sqlite3:sqlite3)
test=(g++:g++ clang:clang clang-format:clang-format clang-tidy:clang-tidy libclang-rt-14-dev
    python3 python3-websockets python3-aiohttp node:nodejs node-ws node-undici chromium:chromium
    curl:curl jq:jq gdb:gdb strace:strace nginx-light haproxy openssl:openssl git:git
    qemu-aarch64:qemu-user aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
bench=(python3 time libst-dev nginx-light go:golang-go golang-github-gorilla-websocket-dev)

case "${1:-}" in
build) wanted=("${build[@]}") ;;
test) wanted=("${build[@]}" "${test[@]}") ;;
bench) wanted=("${build[@]}" "${bench[@]}") ;;
*) echo "usage: bootstrap.sh build|test|bench" >&2; exit 2 ;;
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

by_hand="install them as root: apt-get install --no-install-recommends ${missing[*]}"
sudo=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "bootstrap: packages are missing and there is no sudo; $by_hand" >&2
        exit 1
    fi
    sudo=(sudo)
fi
echo "bootstrap: installing ${missing[*]}" >&2
# apt's words are kept for the case that it fails; sudo's own go where its questions go.
# shellcheck disable=SC2016
apt='exec 2>&1
    apt-get -q -o DPkg::Lock::Timeout=120 update
    apt-get -q -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"'
if ! said=$("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C sh -c "$apt" sh \
    "${missing[@]}" </dev/null); then
    why=$(sed -n '/^E: /{s///p;q}' <<<"$said")
    if [[ $why == "Unable to locate"* ]]; then # the warning before it says more
        why+=$(sed -n '/^W: /{s//; /p;q}' <<<"$said")
    fi
    echo "bootstrap: that failed${why:+ ($why)}; $by_hand" >&2
    exit 1
fi
