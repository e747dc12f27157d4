#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Builds the named presets and runs their tests by ctest; the last line sums up all of them.
# Tests marked "once" run in the first preset only.  Of the preset fuzz only the fuzz targets run,
# for FUZZ_SECONDS each (10; 60 where CI is set).  Where CI is set, a release build may not warn
# either, of what only an optimizer sees.
set -uo pipefail
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0 once=()
export FUZZ_SECONDS=${FUZZ_SECONDS:-${CI:+60}}

# count FILE NAME: an attribute of the first <testsuite> in a JUnit report.
count() { sed -n "s/^[[:space:]]*$2=\"\([0-9]*\)\".*/\1/p" "$1" | head -n 1; }

for preset; do
    echo "== $preset"
    folder=build/$preset
    [ "$preset" != release ] || folder=build
    target=all only=("${once[@]}") werror=
    [ "$preset" != release ] || werror=${CI:+1}
    [ "$preset" != fuzz ] || target=fuzzers only=(-L '^fuzz$')
    if ! WERROR=$werror scripts/build.sh "$preset" "$target"; then
        echo "== $preset does not build"
        failed=$((failed + 1))
        continue
    fi
    report=$PWD/$folder/junit.xml
    rm -f "$report"
    ctest --preset "$preset" -j "${JOBS:-$(nproc)}" --output-junit "$report" "${only[@]}" </dev/null
    once=(-LE '^once$')
    if [ ! -s "$report" ]; then
        echo "== $preset ran no test"
        failed=$((failed + 1))
        continue
    fi
    n=$(count "$report" tests) f=$(count "$report" failures)
    s=$(($(count "$report" skipped) + $(count "$report" disabled)))
    passed=$((passed + n - f - s)) failed=$((failed + f)) skipped=$((skipped + s))
done

summary="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || summary+=", $skipped skipped"
echo "$summary"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
