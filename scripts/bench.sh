#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs every benchmark in build/bench, one after the other.
set -euo pipefail
cd "$(dirname "$0")/.."

for program in build/bench/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    echo "== ${program##*/}"
    "$program"
done
