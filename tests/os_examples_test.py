#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The examples of datagrams and of subprocesses."""
# limit 60

import os
import signal
import socket
import subprocess
import sys

EXAMPLES = os.environ["BECK_BUILD"] + "/examples/"
failed = 0


def check(what, got, want):
    global failed
    if got != want:
        print(f"{what}: {got!r}, want {want!r}")
        failed += 1


def udp_echo():
    server = subprocess.Popen([EXAMPLES + "udp_echo"], stdout=subprocess.PIPE, text=True)
    port = int(server.stdout.readline().rsplit(":", 1)[1])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(20)
        client.connect(("127.0.0.1", port))
        for data in [b"hello", b"", bytes(65507), b"x" * 1472]:
            client.send(data)
            check("an echo", client.recv(65536), data)
    server.send_signal(signal.SIGINT)
    check("udp_echo's end", server.wait(20), 0)


def each(*arguments, given=""):
    # A pipe, not a file, which cannot be waited for.
    done = subprocess.run([EXAMPLES + "each", *arguments], input=given, capture_output=True,
                          text=True, timeout=30)
    return done.returncode, sorted(done.stdout.splitlines()), done.stderr


def each_line():
    lines = "".join(f"{i}\n" for i in range(40))
    check("echo", each("-j", "3", "echo", "n", given=lines),
          (0, sorted(f"n {i}" for i in range(40)), ""))
    check("one by one", each("-j", "1", "printf", "%s.", given="a\nb\n"), (0, ["a.b."], ""))
    check("a failing command", each("sh", "-c", 'exit "$0"', given="0\n3\n0\n"), (1, [], ""))
    code, out, errors = each("no-such-command", given="a\n")
    check("a missing command", (code, out), (1, []))
    check("its message", errors.startswith("each: cannot start 'no-such-command': No such file"),
          True)
    check("no input", each("echo"), (0, [], ""))
    check("no command", each()[0], 2)


def main():
    udp_echo()
    each_line()
    print("1 passed, 0 failed" if not failed else f"{failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
