#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# clang-tidy over the sources (all, or those named), with .clang-tidy's checks.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh dev
[ $# -gt 0 ] || set -- $(git ls-files 'src/*.c' 'examples/*.c')
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 clang-tidy -p build/dev --quiet
