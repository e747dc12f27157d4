#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Configures a preset if need be, and builds it, or one target of it: build.sh PRESET [TARGET].
# Configured with WERROR set, warnings are errors (in the preset dev they always are).
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1 target=${2:-all}
folder=build/$preset
[ "$preset" != release ] || folder=build
[ -f "$folder/CMakeCache.txt" ] ||
    cmake --preset "$preset" -Wno-dev ${WERROR:+-DBECK_WERROR=ON} >/dev/null
cmake --build "$folder" --target "$target" -j "${JOBS:-$(nproc)}"
