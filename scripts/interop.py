#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs beck against programs that others wrote, and writes docs/interop.md: make interop.

Each line of the matrix is a test that `make test` runs as well; here they run once on each backend
and are put beside the version of the peer.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/dev"
PAGE = ROOT / "docs/interop.md"

# Peer, how it tells its version, beck's role, what is exercised, the test.
MATRIX = [
    ("curl", "curl --version", "HTTP server", "methods, bodies, keep-alive, 100-continue, HEAD, "
     "limits", "http_clients_test"),
    ("Node's undici and fetch", "package node-undici", "HTTP server",
     "bodies, pipelining, fetch", "http_clients_test"),
    ("aiohttp, client", "package python3-aiohttp", "HTTP server",
     "200 requests at once, chunked with 100-continue", "http_clients_test"),
    ("Python's http.client", "python3 --version", "HTTP server",
     "every method, bodies up to 1 MiB, chunked", "http_clients_test"),
    ("nginx as a proxy", "nginx -v", "HTTP server", "kept connections, buffered and unbuffered "
     "bodies", "http_clients_test"),
    ("haproxy", "haproxy -v", "HTTP server", "kept and shared connections, health checks",
     "http_clients_test"),
    ("Chromium", "chromium --version", "HTTP, SSE and WebSocket server",
     "fetch, EventSource, WebSocket from one page", "web_chromium_test"),
    ("aiohttp, server", "package python3-aiohttp", "HTTP client",
     "chunked, gzip, deflate, redirects, cut bodies, TLS, client certificates",
     "http_servers_test"),
    ("aiohttp, server", "package python3-aiohttp", "event source",
     "events, reconnecting, Last-Event-ID", "http_servers_test"),
    ("nginx, server", "nginx -v", "HTTP client", "files over TLS 1.2 and 1.3, gzip",
     "http_servers_test"),
    ("Python's http.server", "python3 --version", "HTTP client",
     "HTTP/1.0, bodies that end with the connection, bare deflate", "http_servers_test"),
    ("Python's websockets", "package python3-websockets", "WebSocket server and client",
     "messages up to 16 MiB, fragments, pings, close codes, compression, TLS", "ws_interop_test"),
    ("aiohttp", "package python3-aiohttp", "WebSocket server and client",
     "messages up to 16 MiB, close codes, compression", "ws_interop_test"),
    ("Node's ws", "package node-ws", "WebSocket server and client",
     "messages, fragments, pings, close codes, compression", "ws_node_test"),
    ("Chromium", "chromium --version", "WebSocket server", "messages, close codes, compression",
     "ws_chromium_test"),
    ("Chromium", "chromium --version", "WebSocket server", "two windows of one chat",
     "ws_chat_test"),
    ("openssl s_client, s_server", "openssl version", "TLS client and server",
     "1.1 refused, 1.2, 1.3, weak ciphers refused, certificates of every kind, ALPN, resumption",
     "tls_openssl_test"),
]

HEAD = """# Who beck has been tried with

Programs that nobody here wrote, on the other side of a connection. This page is written by
`make interop`, which runs the tests again; each of them is part of `make test` too.

"""


def version(how):
    if how.startswith("package "):
        said = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", how.split()[1]],
                              capture_output=True, text=True).stdout
        return re.sub(r"^\d+:|[+~-].*", "", said) or None
    program, *arguments = how.split()
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if not path:
        return None
    run = subprocess.run([path, *arguments], capture_output=True, text=True)
    found = re.search(r"\d+(?:\.\d+)+[a-z]?", run.stdout + run.stderr)
    return found.group() if found else "unknown"


def run_tests(names):
    """{test:backend: passed, skipped or failed}"""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "junit.xml")
        pattern = "^tests/(" + "|".join(sorted(names)) + "):"
        subprocess.run(["ctest", "--test-dir", str(BUILD), "-R", pattern, "-j",
                        str(os.cpu_count()), "--output-junit", str(report)], check=False)
        text = report.read_text()
    results = {}
    for case in re.finditer(r'<testcase name="tests/([^"]+)".*?status="(\w+)"', text, re.S):
        results[case.group(1)] = {"run": "passed", "notrun": "skipped"}.get(case.group(2), "failed")
    return results


def main():
    subprocess.run([ROOT / "scripts/build.sh", "dev"], check=True)
    results = run_tests({row[4] for row in MATRIX})
    lines = [HEAD, "| peer | version | beck is the | exercised | epoll | io_uring |\n",
             "|---|---|---|---|---|---|\n"]
    wrong = []
    for peer, how, role, what, test in MATRIX:
        outcome = [results.get(f"{test}:{backend}", "missing") for backend in ("epoll", "uring")]
        lines.append(f"| {peer} | {version(how) or 'not installed'} | {role} | "
                     f"[{what}](../tests/{test}.py) | {outcome[0]} | {outcome[1]} |\n")
        wrong += [f"{test}: {o}" for o in outcome if o != "passed"]
    PAGE.write_text("".join(lines))
    print(f"{PAGE.relative_to(ROOT)}: {len(MATRIX)} lines")
    print("\n".join(sorted(set(wrong))) or "all passed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
