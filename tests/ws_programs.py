# SPDX-License-Identifier: MIT
"""Starts the WebSocket examples for the tests, and counts what went wrong."""

import os
import signal
import subprocess
import sys

BUILD = os.environ["BECK_BUILD"]
SKIP = 77


def skip(why):
    print("skipped:", why)
    sys.exit(SKIP)


class EchoServer:
    """ws_echo on a port of the kernel's choice: .url, .host, .port."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [f"{BUILD}/examples/ws_echo", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True)
        self.url = self.process.stdout.readline().split()[-1]
        self.host, port = self.url[len("ws://"):].rstrip("/").rsplit(":", 1)
        self.port = int(port)
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        try:
            self.said = self.process.communicate(timeout=20)[1]
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.said = self.process.communicate()[1]
            raise
        if self.process.returncode != 0:
            raise AssertionError(f"ws_echo ended with {self.process.returncode}: {self.said}")


class Checks:
    """Counts cases; a failed one says so at once."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, ok, detail=""):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print(f"FAIL {name}: {detail}", file=sys.stderr)

    def end(self):
        print(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed or not self.passed else 0)
