#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the tests in the cov preset and prints the share of lines run of each source.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh cov
find build/cov -name '*.gcda' -delete
log=build/cov/tests.log
ctest --preset cov -j "$(nproc)" -LE '^once$' >"$log" </dev/null || tail -n 20 "$log"
find build/cov/CMakeFiles -path '*/beck_*' -name '*.gcda' -print0 |
    xargs -0 gcov -n -r -s "$PWD" 2>/dev/null |
    awk -F"'" '/^File/ { file = $2 }
        /^Lines executed/ && file ~ /^src\/[^ ]*\.c$/ {
            split($0, part, /[:% ]+/)
            printf "%6.1f %%  of %5d  %s\n", part[3], part[5], file
            file = ""
        }' |
    sort -n
