#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# clang-tidy over the sources (all but tests, or those named), with .clang-tidy's checks.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/build.sh dev
[ $# -gt 0 ] || set -- $(find src examples bench -name '*.c' ! -name '*_test.c' ! -name '*_fuzz.c')
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 clang-tidy -p build/dev --quiet
