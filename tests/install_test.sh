#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Installs into a fresh directory and builds consumers of each kind against it, outside the tree.
# once
# limit 180
set -euo pipefail

top=$(TMPDIR=/tmp mktemp -d) # a shell splits at spaces what pkg-config says
trap 'rm -rf "$top"' EXIT
prefix=$top/opt/beck
cp -r "$BECK_SOURCE/tests/install" "$top/consumer"
cd "$top"
unset DESTDIR

cmake --install "$BECK_BUILD" --prefix "$prefix" >install.log || { cat install.log; exit 1; }
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name beck.pc)")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir beck)
version=$(pkg-config --modversion beck)
passed=0

# expect PROGRAM yes|no: it runs, says the right thing, and needs libbeck.so or not.
expect() {
    local said needs=no
    said=$(LD_LIBRARY_PATH=$libdir "$1")
    [ "$said" = "beck $version: hello" ] || { echo "$1 says: $said"; exit 1; }
    ! readelf -d "$1" | grep -q 'NEEDED.*libbeck\.so\.0' || needs=yes
    [ "$needs" = "$2" ] || { echo "$1 needs libbeck.so: $needs, expected $2"; exit 1; }
    passed=$((passed + 1))
}

# The two lines of the README: with the shared library, and with the static one.
cp consumer/consumer.c app.c
mapfile -t lines < <(sed -n 's/^    \(cc app\.c .*\)/\1 -Wall -Werror/p' "$BECK_SOURCE/README.md")
[ "${#lines[@]}" = 2 ] || { echo "the README has ${#lines[@]} lines that build a program"; exit 1; }
eval "${lines[0]}"
expect ./a.out yes
eval "${lines[1]}"
expect ./a.out no

cmake -S consumer -B cmake-build -DCMAKE_PREFIX_PATH="$prefix" >cmake.log &&
    cmake --build cmake-build >>cmake.log 2>&1 || { cat cmake.log; exit 1; }
for language in c cxx; do
    expect "cmake-build/$language-beck" yes
    expect "cmake-build/$language-beck-static" no
done

# The installed command finds its library by itself.
if [ -x "$prefix/bin/beck" ]; then
    [ -f "$prefix/share/man/man1/beck.1" ] || { echo "no manual page"; exit 1; }
    "$prefix/bin/beck" --version | grep -qF "$version" || { echo "beck --version fails"; exit 1; }
    passed=$((passed + 1))
fi

# Everything lies under the prefix, and nothing that is internal.
find "$prefix" -name '*.h' ! -path '*/include/beck/*' ! -path '*/include/beck.h' | grep . && exit 1
echo "$passed passed, 0 failed"
