#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The gdb script lists the tasks of a stopped program and of its core, and walks suspended ones."""
# once

import glob
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile

SOURCE, BUILD = os.environ["BECK_SOURCE"], os.environ["BECK_BUILD"]


def gdb(*commands, program):
    arguments = ["gdb", "-nx", "-q", "-batch", "-iex", "set debuginfod enabled off",
                 "-x", f"{SOURCE}/scripts/beck-gdb.py"]
    for command in commands:
        arguments += ["-ex", command]
    run = subprocess.run([*arguments, *program], capture_output=True, text=True, timeout=50)
    return run.stdout + run.stderr


def expect(said, *patterns):
    """Each pattern occurs, one after the other."""
    at = 0
    for pattern in patterns:
        found = re.compile(pattern, re.M).search(said, at)
        if not found:
            sys.exit(f"not found: {pattern}\nin:\n{said}")
        at = found.end()


def dump_core(program, folder):
    """The kernel's core file of the program, where it writes such files into the working folder.
    (gdb's own generate-core-file leaves the stacks out: it cannot read over their guard pages.)"""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (most, most))
    subprocess.run([program], cwd=folder)
    return glob.glob(f"{folder}/core*")


def main():
    if not shutil.which("gdb"):
        print("skipped: no gdb")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        program, passed = f"{folder}/suspended", 1
        subprocess.run(["gcc", "-g", "-O1", f"-I{SOURCE}/include", "-o", program,
                        f"{SOURCE}/tests/gdb/suspended.c", f"-L{BUILD}", "-lbeck",
                        f"-Wl,-rpath,{BUILD}"], check=True)
        asked = ["beck tasks", "beck bt 2", "beck bt 3", "beck bt 1", "beck bt 99", "bt 6",
                 "beck select 2", "frame function doze", "print marker", "beck select", "bt 6"]
        answers = [
            r"^ +1 +0 +main +running",
            r"^ +2 +1 +night owl +sleep for 0\.\d+ s +run \(suspended\.c:\d+\)",
            r"^ +3 +1 +waiter +task.* for 0\.\d+ s +run \(suspended\.c:\d+\)",
            r"^3 tasks$",
            r"^task 2 night owl: sleep", r"^#\d+ .* doze \(marker=.*4711\)", r"^#\d+ .* sleeper \(",
            r"^task 3 waiter: task", r"^#\d+ .* bk_task_wait", r"^#\d+ .* waiter \(",
            r"^task 1 main: running", r"^#\d+ .* stop_here",
            r"stop_here",
            r"doze", r"^\$1 = 4711$",
            r"stop_here",
            r"no task 99",
        ]
        said = gdb("run", *asked, program=[program])
        if re.search("ptrace: Operation not permitted|Could not trace", said):
            print("skipped: no ptrace here")
            return 77
        expect(said, *answers)
        for core in dump_core(program, folder):
            expect(gdb(*asked, program=[program, core]), *answers)
            passed += 1
    print(f"{passed} passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
