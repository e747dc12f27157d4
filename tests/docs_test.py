#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every whole C program printed in a document compiles, without a warning, and links."""
# once

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(os.environ["BECK_SOURCE"])
BUILD = Path(os.environ["BECK_BUILD"])


def programs():
    """(where, text) of each fenced C block that has a main function."""
    for document in sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]):
        text = document.read_text()
        for block in re.finditer(r"^```c\n(.*?)^```$", text, re.M | re.S):
            if re.search(r"\bmain\(", block.group(1)):
                line = text.count("\n", 0, block.start()) + 1
                yield f"{document.relative_to(ROOT)}:{line}", block.group(1)


def main():
    failed, passed = 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for where, text in programs():
            command = ["gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE",
                       "-xc", "-", f"-I{ROOT}/include", "-o", f"{folder}/program",
                       f"-L{BUILD}", "-lbeck"]
            run = subprocess.run(command, input=text, capture_output=True, text=True)
            if run.returncode == 0:
                passed += 1
            else:
                failed += 1
                print(f"{where}: the program does not build\n{run.stderr}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
