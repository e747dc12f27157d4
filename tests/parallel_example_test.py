#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The example of several loops: every number of loops finds the same primes."""
# limit 60

import os
import subprocess
import sys

PROGRAM = os.environ["BECK_BUILD"] + "/examples/parallel"


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=30)


def main():
    failed = 0
    for done, want in [(run("100000", "1"), (0, "there are 9592 primes below 100000\n")),
                       (run("100000", "5"), (0, "there are 9592 primes below 100000\n")),
                       (run("30011"), (0, "there are 3245 primes below 30011\n")),
                       (run("0"), (0, "there are 0 primes below 0\n")),
                       (run("ten"), (2, ""))]:
        if (done.returncode, done.stdout) != want:
            print(f"{done.args}: {done.returncode} {done.stdout!r} {done.stderr!r}, want {want}")
            failed += 1
    print(f"{5 - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
