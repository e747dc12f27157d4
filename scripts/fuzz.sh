#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs each fuzz target for some seconds: fuzz.sh SECONDS [TARGET...].
# It begins with tests/corpus/TARGET; the inputs it finds are kept in build/fuzz/corpus/TARGET.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
scripts/build.sh fuzz
[ $# -gt 0 ] || set -- $(cd build/fuzz/fuzz 2>/dev/null && ls)
for target; do
    echo "== $target"
    folders=("build/fuzz/corpus/$target" "tests/corpus/$target")
    mkdir -p "${folders[0]}"
    [ -d "${folders[1]}" ] || unset "folders[1]"
    "build/fuzz/fuzz/$target" -max_total_time="$seconds" -print_final_stats=1 \
        -artifact_prefix="build/fuzz/$target-" "${folders[@]}" 2>&1 | tail -n 12
done
