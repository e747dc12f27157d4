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
ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc)" \
    -E '^rt/(snapshot|stall)_test'

# without TEST NAME...: a program but for those of its tests.
without() {
    local program=$build/tests/$1
    shift
    BECK_BACKEND=epoll qemu-aarch64 -L /usr/aarch64-linux-gnu "$program" "${@/#/-}" || failed=1
}
failed=0
# qemu has no process_vm_readv, by which another process is read, and a thread that is not to be
# disturbed: one that sleeps, and one whose program has a handler for the signal.
without snapshot_test D4_the_tasks_of_another_process
without stall_test D2_a_step_that_blocks_in_the_kernel_is_named \
    D2_a_call_that_signals_cut_short_is_left_alone D2_a_handler_of_the_programs_own_stays
exit "$failed"
