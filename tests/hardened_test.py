#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is built can be placed anywhere, has no writable code or tables of addresses, and notices an
overrun of the stack; where it is optimised, of other buffers too."""
# once

import os
import subprocess
import sys
from pathlib import Path

BUILD = Path(os.environ["BECK_BUILD"])


def readelf(*words):
    return subprocess.run(["readelf", "-W", *words], capture_output=True, text=True,
                          check=True).stdout


def faults(path):
    header, dynamic, segments = (readelf(flag, path) for flag in ("-h", "-d", "-l"))
    symbols = readelf("--dyn-syms", path)
    if "DYN" not in header or (path.suffix != ".so" and "PIE" not in dynamic):
        yield "is not position independent"
    if "GNU_RELRO" not in segments or "BIND_NOW" not in dynamic:
        yield "its tables of addresses stay writable"
    stack = [line for line in segments.split("\n") if "GNU_STACK" in line]
    if not stack or "E" in stack[0].split()[-2]:
        yield "its stack is executable"
    if any("RWE" in line for line in segments.split("\n")):
        yield "has writable code"
    if "__stack_chk_fail" not in symbols:
        yield "does not notice an overrun stack"
    optimised = "CMAKE_BUILD_TYPE:STRING=Debug" not in (BUILD / "CMakeCache.txt").read_text()
    if optimised and "_chk@" not in symbols.replace("__stack_chk", ""):
        yield "does not notice overrun buffers"


def main():
    wrong = [f"{path.name} {fault}" for path in (BUILD / "libbeck.so", BUILD / "beck",
                                                 BUILD / "examples" / "tcp_echo")
             for fault in faults(path)]
    print("\n".join(wrong) or "hardened")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
