# SPDX-License-Identifier: MIT
"""Runs the commands of a page in docs/ and compares what they print with what the page says.

A block "```console" is a shell session: lines after "$ " are commands, the others their output,
standard output before standard error.  Durations and rates may differ.  "```console background" is
started and left to run once it says that it listens.  "```c" is written to the file that its first
line names.
"""

import difflib
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from built import sanitizer

SOURCE = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
BUILD = Path(os.environ.get("BECK_BUILD") or SOURCE / "build")


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
    def __init__(self, folder, port):
        self.folder = folder
        self.port_there = port
        self.status = 0
        self.background = []
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = str(s.getsockname()[1])
        self.env = dict(os.environ, PATH=f"{folder}/bin:{os.environ['PATH']}",
                        LD_LIBRARY_PATH=str(BUILD))

    def prepared(self, command):
        command = command.replace("$(pkg-config --cflags beck)", f"-I'{SOURCE}/include'")
        command = command.replace("$(pkg-config --libs beck)",
                                  " ".join([f"-L'{BUILD}' -lbeck", *sanitizer()]))
        return command.replace(self.port_there, self.port)

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

    def end(self, terminate):
        """Whether what ran in the background ended well, by itself or by SIGTERM."""
        ended = True
        for process in self.background:
            if terminate:
                process.terminate()
            process.stderr.read()
            ended &= process.wait(timeout=60) == 0
        return ended


def run_page(page, port, least, tools=(), files=(), terminate=False):
    """Runs a page whose commands speak to that port (another one is put in its place), with copies
    of those files at hand.  Exits: 0 when at least so many commands ran, and all said what the page
    says."""
    missing = [tool for tool in tools if not shutil.which(tool)]
    text = (SOURCE / page).read_text()
    failures = n = 0
    with tempfile.TemporaryDirectory(prefix="beck-doc-") as folder:
        session = Session(folder, port)
        for source, name in files:
            shutil.copy(SOURCE / source, f"{folder}/{name}")
        os.mkdir(f"{folder}/bin")
        os.symlink(BUILD / "beck", f"{folder}/bin/beck")
        for kind, mode, block in blocks(text):
            if kind == "c":
                name = re.search(r"/\* (\w+\.c) \*/", block).group(1)
                Path(folder, name).write_text(session.prepared(block))
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
        if not session.end(terminate):
            failures += 1
            print("what ran in the background did not end well")
    print(f"{n} commands, {failures} differ")
    sys.exit(1 if failures or n < least else 0)
