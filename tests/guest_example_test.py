#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The example of a foreign main loop: it answers, on the virtual clock, and ends with its input."""
# limit 60

import os
import subprocess
import sys

PROGRAM = os.environ["BECK_BUILD"] + "/examples/guest"


def run(*arguments, given=""):
    return subprocess.run([PROGRAM, *arguments], input=given, capture_output=True, text=True,
                          timeout=30, env={**os.environ, "BECK_CLOCK": "virtual"})


def main():
    failed = 0
    for done, want in [(run(given="hello\n"), (0, "1.000 s: hello\n")),
                       (run(), (0, "")),
                       (run("--help"), (0, "usage: guest\nAnswers each line of its input after a "
                                           "second.\n")),
                       (run("--what"), (1, ""))]:
        if (done.returncode, done.stdout) != want:
            print(f"{done.args}: {done.returncode} {done.stdout!r} {done.stderr!r}, want {want}")
            failed += 1
    print(f"{4 - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
