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


def make_certificate(folder):
    """A certificate for localhost that signs itself, in folder: its two files."""
    cert, key = f"{folder}/cert.pem", f"{folder}/key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", key, "-out", cert,
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True)
    return cert, key


class EchoServer:
    """ws_echo, or another program, on a port of the kernel's choice: .url, .host, .port."""

    def __init__(self, *tls, name="ws_echo"):
        self.command = [f"{BUILD}/examples/{name}", "0", *tls]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().split()[-1]
        self.host, port = self.url.split("//")[1].rstrip("/").rsplit(":", 1)
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
            raise AssertionError(
                f"{self.command[0]} ended with {self.process.returncode}: {self.said}")


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
