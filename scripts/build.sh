#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Configures a preset if that has not been done, and builds it: build.sh PRESET [JOBS].
set -euo pipefail
cd "$(dirname "$0")/.."

preset=$1 jobs=${2:-$(nproc)}
folder=build/$preset
[ "$preset" != release ] || folder=build
[ -f "$folder/CMakeCache.txt" ] || cmake --preset "$preset" -Wno-dev >/dev/null
cmake --build "$folder" -j "$jobs"
