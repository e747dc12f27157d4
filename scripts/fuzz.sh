#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs each fuzz target for some seconds: fuzz.sh SECONDS [TARGET...].
# The inputs it finds are kept in build/fuzz/corpus.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
scripts/build.sh fuzz
[ $# -gt 0 ] || set -- $(cd build/fuzz/fuzz 2>/dev/null && ls)
for target; do
    echo "== $target"
    mkdir -p "build/fuzz/corpus/$target"
    "build/fuzz/fuzz/$target" -max_total_time="$seconds" -print_final_stats=1 \
        -artifact_prefix="build/fuzz/$target-" "build/fuzz/corpus/$target" 2>&1 | tail -n 12
done
