#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""asyncio_traces prints what CPython said, but for the differences that are listed with reasons."""
import os
import subprocess
import sys
from pathlib import Path

GOLDEN = Path(os.environ["BECK_SOURCE"]) / "tests/golden"
PROGRAM = os.environ["BECK_BUILD"] + "/tests/asyncio_traces"
MAX_DIFFERENCES = 4


def traces(text):
    """name -> words of each line "name: words"; others are comments and reasons."""
    lines = [line for line in text.splitlines() if line and line[0] not in "# "]
    return dict(line.split(": ", 1) for line in lines)


def main():
    golden = traces((GOLDEN / "asyncio-3.13.txt").read_text())
    differences = traces((GOLDEN / "asyncio-differences.txt").read_text())
    run = subprocess.run([PROGRAM], capture_output=True, text=True)
    got = traces(run.stdout)
    wrong = [f"it ends with {run.returncode}, and says: {run.stderr}"] * (run.returncode != 0)
    if len(differences) > MAX_DIFFERENCES:
        wrong.append(f"{len(differences)} differences, {MAX_DIFFERENCES} at most")
    for name in golden.keys() | got.keys() | differences.keys():
        if name in differences and differences[name] == golden.get(name):
            wrong.append(f"{name}: listed as a difference, and is none")
        want = differences.get(name, golden.get(name))
        if got.get(name) != want:
            wrong.append(f"{name}\n  want {want}\n  got  {got.get(name)}")
    one = "t23_gather_results_in_argument_order"
    run = subprocess.run([PROGRAM, one], capture_output=True, text=True)
    if run.stdout != f"{one}: {golden[one]}\n":
        wrong.append(f"asyncio_traces {one} prints {run.stdout!r}")
    if subprocess.run([PROGRAM, "nobody"], capture_output=True).returncode == 0:
        wrong.append("it accepts a name that it does not know")
    print("\n".join(wrong) or f"{len(golden)} traces, {len(differences)} differ on purpose")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
