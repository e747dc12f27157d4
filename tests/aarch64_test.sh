#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Cross-builds base and rt for 64-bit ARM and runs their unit tests, the context switch's among
# them, under qemu-user.
# once
# limit 300
set -euo pipefail

for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    command -v "$tool" >/dev/null || { echo "skipped: no $tool"; exit 77; }
done
build=$BECK_BUILD/aarch64
cd "$BECK_SOURCE"
{ cmake --preset aarch64 -B "$build" && cmake --build "$build"; } >"$BECK_BUILD/aarch64.log" 2>&1 ||
    { tail -n 40 "$BECK_BUILD/aarch64.log"; exit 1; }
# The one guard that qemu knows; a test that is told so does not start itself anew with it.
export BECK_STACK_GUARD=mprotect
# What looks at a program through /proc finds qemu there.
ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc)" \
    -E '^(base/elf_image_test|rt/(snapshot|debug|stall)_test)'
