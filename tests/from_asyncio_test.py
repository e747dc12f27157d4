#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/from-asyncio.md: each pair of programs prints the same, Python's and beck's; every public
name of asyncio stands in it, and every name of beck's in it exists.

With the titles of sections as arguments, only their programs.
"""
# limit 300

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from built import sanitizer

ROOT = Path(os.environ["BECK_SOURCE"])
BUILD = Path(os.environ["BECK_BUILD"])
DOCUMENT = ROOT / "docs/from-asyncio.md"
COMPILE = ["gcc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", f"-I{ROOT}/include"]


def pairs():
    """(title, Python, C) of each section that holds a block of both."""
    for section in re.split(r"^#+ ", DOCUMENT.read_text(), flags=re.M)[1:]:
        title = section.split("\n", 1)[0]
        blocks = {language: text for language, text in
                  re.findall(r"^```(python|c)\n(.*?)^```$", section, re.M | re.S)}
        if len(blocks) == 2:
            yield title, blocks["python"], blocks["c"]


# Both on a clock that jumps to the next deadline when nothing else happens for two milliseconds, so
# that a busy machine changes no order: beck's own, and this for Python.  Not where threads of the
# program's own take part, of which no clock knows.
VIRTUAL = """
import asyncio, selectors
class Selector(selectors.DefaultSelector):
    jumped = 0
    def select(self, timeout=None):
        ready = super().select(timeout if timeout is None else min(timeout, 0.002))
        if not ready and timeout:
            Selector.jumped += timeout
        return ready
class Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__(Selector())
    def time(self):
        return Selector.jumped
class Policy(asyncio.DefaultEventLoopPolicy):
    _loop_factory = Loop
asyncio.set_event_loop_policy(Policy())
"""


def clock_for(text):
    return "real" if "pthread" in text else "virtual"


def run(command, **more):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **more)


def said_by_c(text, folder):
    program = Path(folder, "program")
    built = run([*COMPILE, "-xc", "-", "-xnone", *sanitizer(), "-o", str(program), f"-L{BUILD}",
                 "-lbeck", f"-Wl,-rpath,{BUILD}"], input=text)
    if built.returncode != 0:
        return f"the program does not build\n{built.stderr}"
    done = run([str(program)], env={**os.environ, "BECK_CLOCK": clock_for(text)})
    return done.stdout + (f"\nexit status {done.returncode}\n{done.stderr}"
                          if done.returncode or done.stderr else "")


def python_names():
    """What asyncio exports, and the methods of its classes that people call."""
    for name in asyncio.__all__:
        yield name
    for name in vars(asyncio.AbstractEventLoop):
        if not name.startswith("_"):
            yield f"loop.{name}"
    for owner in (asyncio.Task, asyncio.Future, asyncio.Queue, asyncio.StreamWriter):
        for name in vars(owner):
            if not name.startswith("_") and callable(getattr(owner, name)):
                yield f"{owner.__name__}.{name}"


# Inherited by Task from Future, or of no use to anybody who calls.
PASSED_OVER = {"loop.slow_callback_duration", "Future.get_loop", "Task.get_loop", "Task.set_result",
               "Task.set_exception", "StreamWriter.transport", "StreamWriter.can_write_eof"}


def wrong_names():
    text = DOCUMENT.read_text()
    told = set(re.findall(r"`([\w.]+)`", text))
    for name in python_names():
        if name not in told and name not in PASSED_OVER:
            yield f"{DOCUMENT.name}: nothing is said of asyncio's {name}"
    headers = "".join(p.read_text() for p in (ROOT / "include/beck").glob("*.h"))
    known = set(re.findall(r"\b(?:bk|BK)_\w+", headers))
    for name in sorted(set(re.findall(r"\b(?:bk|BK)_\w+", text)) - known - {"BK_E", "bk_x_close"}):
        yield f"{DOCUMENT.name}: there is no {name}"


def main():
    passed, failed = 0, 0
    for what in wrong_names():
        print(what)
        failed += 1
    with tempfile.TemporaryDirectory() as folder:
        for title, python, c in pairs():
            if len(sys.argv) > 1 and title not in sys.argv[1:]:
                continue
            theirs = run([sys.executable, "-c",
                          (VIRTUAL if clock_for(c) == "virtual" else "") + python])
            ours = said_by_c(c, folder)
            if theirs.returncode == 0 and ours == theirs.stdout and ours:
                passed += 1
                continue
            failed += 1
            print(f"== {title}\n-- Python says\n{theirs.stdout}{theirs.stderr}-- C says\n{ours}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0 or passed == 0


if __name__ == "__main__":
    sys.exit(main())
