#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the commands of docs/beck-pipe.md and compares what they print with what the page says.

A block "```console" is a shell session: lines after "$ " are commands, the others their output,
standard output before standard error.  Durations and rates may differ.  "```console background" is
started and left to run once it says that it listens.  "```c" is written to the file that its first
line names.
"""
# limit 120

import difflib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
BUILD = Path(os.environ.get("BECK_BUILD") or SOURCE / "build")
SKIP = 77


def blocks(text):
    for found in re.finditer(r"^```(\w+)( \w+)?\n(.*?)^```$", text, re.M | re.S):
        yield found.group(1), (found.group(2) or "").strip(), found.group(3)


def steps(block):
    """(command, output) for each command of a session."""
    command, output = None, []
    for line in block.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, output
            command, output = line[2:], []
        else:
            output.append(line)
    yield command, output


def normal(lines):
    return [re.sub(r"in [\d.]+ s \([\d,]+/s\)", "in T s (R/s)", line) for line in lines]


class Session:
    def __init__(self, folder):
        self.folder = folder
        self.status = 0
        self.background = []
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = str(s.getsockname()[1])
        self.env = dict(os.environ, PATH=f"{folder}/bin:{os.environ['PATH']}",
                        LD_LIBRARY_PATH=str(BUILD))

    def prepared(self, command):
        command = command.replace("$(pkg-config --cflags beck)", f"-I{SOURCE}/include")
        return command.replace("9000", self.port)

    def run(self, command):
        script = f"(exit {self.status})\n{self.prepared(command)}"
        done = subprocess.run(["bash", "-c", script], cwd=self.folder, env=self.env, timeout=60,
                              capture_output=True, text=True, check=False)
        self.status = done.returncode
        return (done.stdout + done.stderr).splitlines()

    def start(self, command):
        process = subprocess.Popen(["bash", "-c", "exec " + self.prepared(command)],
                                   cwd=self.folder, env=self.env, stderr=subprocess.PIPE, text=True)
        self.background.append(process)
        for line in process.stderr:
            if "listening on" in line:
                return
        raise RuntimeError(f"it does not listen: {command}")

    def end(self):
        for process in self.background:
            process.stderr.read()
            process.wait(timeout=60)


def main():
    missing = [tool for tool in ("sqlite3", "cc", "bc") if not shutil.which(tool)]
    text = (SOURCE / "docs/beck-pipe.md").read_text()
    failures = n = 0
    with tempfile.TemporaryDirectory(prefix="beck-doc-") as folder:
        session = Session(folder)
        shutil.copy(SOURCE / "examples/data/earthquakes.ndjson", f"{folder}/quakes.ndjson")
        os.mkdir(f"{folder}/bin")
        os.symlink(BUILD / "beck", f"{folder}/bin/beck")
        for kind, mode, block in blocks(text):
            if kind == "c":
                name = re.search(r"/\* (\w+\.c) \*/", block).group(1)
                Path(folder, name).write_text(block)
            if kind != "console":
                continue
            for command, want in steps(block):
                if any(re.search(rf"(^|[\s|'])({tool})\b", command) for tool in missing):
                    print(f"skip (a tool is missing): {command}")
                    continue
                if mode == "background":
                    session.start(command)
                    continue
                n += 1
                got = session.run(command)
                if normal(got) != normal(want):
                    failures += 1
                    print(f"$ {command}")
                    print("\n".join(difflib.unified_diff(normal(want), normal(got), "the page",
                                                         "the command", lineterm="")))
        session.end()
    print(f"{n} commands, {failures} differ")
    return 1 if failures or n < 15 else 0


if __name__ == "__main__":
    sys.exit(main())
