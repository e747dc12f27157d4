#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""python3-websockets as client of ws_echo and as server of ws_echo_client; curl for what is no
WebSocket."""
# limit 120

import asyncio
import os
import shutil
import subprocess

from ws_programs import BUILD, Checks, EchoServer, skip

try:
    import websockets
except ImportError:
    skip("python3-websockets is not installed")

MIB = 1 << 20
MESSAGES = ["", "hello", "Größe 😀", "x" * 125, "x" * 126, "y" * 65535, "z" * 65536,
            b"", b"\x00\xff", bytes(range(256)) * 300, "é" * MIB, os.urandom(16 * MIB),
            "m" * (16 * MIB)]
checks = Checks()


def short(value):
    return f"{type(value).__name__} of {len(value)}"


async def fragments():
    for part in ("ab", "", "cé", "😀", "x" * 70000):
        yield part


async def check_client(url):
    async with websockets.connect(url, max_size=None, compression=None) as ws:
        for message in MESSAGES:
            await ws.send(message)
            back = await ws.recv()
            checks.check(f"echo {short(message)}", back == message, short(back))
        await ws.send(fragments())
        back = await ws.recv()
        checks.check("fragments", back == "abcé😀" + "x" * 70000, short(back))
        pong = await ws.ping(b"p" * 125)
        await asyncio.wait_for(pong, 10)
        checks.check("pong", True)
        for i in range(500):
            await ws.send(f"message {i}")
        backs = [await ws.recv() for _ in range(500)]
        checks.check("pipelined", backs == [f"message {i}" for i in range(500)])
        await ws.close(3456, "thank you")
    checks.check("close code", ws.close_code == 3456, ws.close_code)

    async with websockets.connect(url, max_size=None) as ws:
        try:
            await ws.send(b"x" * (16 * MIB + 1))
            await ws.recv()
        except websockets.ConnectionClosed:
            pass
        checks.check("too big", ws.close_code == 1009, ws.close_code)

    async with websockets.connect(url, subprotocols=["chat"]) as ws:
        checks.check("no subprotocol", ws.subprotocol is None, ws.subprotocol)

    many = [websockets.connect(url) for _ in range(50)]
    opened = [await each for each in many]
    for i, ws in enumerate(opened):
        await ws.send(str(i))
    for i, ws in enumerate(opened):
        checks.check("many", await ws.recv() == str(i))
    for ws in opened:
        await ws.close()


class Suite:
    """What a test suite of WebSocket clients looks like from the client's side."""

    def __init__(self):
        self.ran, self.reported = [], False

    async def case(self, ws, number):
        if number <= len(MESSAGES):
            message = MESSAGES[number - 1]
            await ws.send(message)
            back = await ws.recv()
            checks.check(f"client echoes {short(message)}", back == message, short(back))
        elif number == len(MESSAGES) + 1:
            await ws.send(fragments())
            checks.check("client joins fragments", len(await ws.recv()) == 70005)
        elif number == len(MESSAGES) + 2:
            await asyncio.wait_for(await ws.ping(b"are you there?"), 10)
            checks.check("client answers pings", True)
        else:
            await ws.close(4001, "enough")
            checks.check("client confirms a close", ws.close_code == 4001, ws.close_code)
        self.ran.append(number)

    async def serve(self, ws):
        path = ws.path
        if path == "/getCaseCount":
            await ws.send(str(len(MESSAGES) + 3))
        elif path.startswith("/runCase?case="):
            number, agent = path[len("/runCase?case="):].split("&")
            checks.check("agent", agent == "agent=beck", agent)
            await self.case(ws, int(number))
        elif path == "/updateReports?agent=beck":
            self.reported = True
        else:
            checks.check("path", False, path)


async def check_server():
    suite = Suite()
    async with websockets.serve(suite.serve, "127.0.0.1", 0, max_size=None,
                                compression=None) as server:
        port = server.sockets[0].getsockname()[1]
        client = await asyncio.create_subprocess_exec(
            f"{BUILD}/examples/ws_echo_client", f"ws://127.0.0.1:{port}",
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = await asyncio.wait_for(client.communicate(), 60)
    n = len(MESSAGES) + 3
    checks.check("client's result", client.returncode == 0, err)
    checks.check("client's count", out.decode() == f"ran {n} cases\n", out)
    checks.check("every case", suite.ran == list(range(1, n + 1)), suite.ran)
    checks.check("report", suite.reported)


def check_http(url):
    if not shutil.which("curl"):
        return
    for name, arguments, status in [
            ("a plain GET", [], "426"),
            ("a POST", ["--data", "x"], "405"),
            ("a wrong version", ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H",
                                 "Sec-WebSocket-Version: 7", "-H",
                                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="], "426"),
            ("a bad key", ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H",
                           "Sec-WebSocket-Version: 13", "-H", "Sec-WebSocket-Key: x"], "400"),
            ("a huge header", ["-H", "X: " + "x" * 70000], "431")]:
        run = subprocess.run(["curl", "-sS", "--max-time", "10", "-o", "-", "-w", "%{http_code}",
                              *arguments, "http" + url[2:]], capture_output=True, text=True)
        checks.check(name, run.returncode == 0 and run.stdout.endswith(status),
                     run.stdout + run.stderr)


def check_refused_client():
    run = subprocess.run([f"{BUILD}/examples/ws_echo_client", "ws://127.0.0.1:1"],
                         capture_output=True, text=True, timeout=20)
    checks.check("nobody there", run.returncode == 1 and
                 run.stderr == "ws_echo_client: connect 127.0.0.1:1: Connection refused\n",
                 run.stderr)
    for name in ("tcp_echo", "ws_echo", "ws_echo_client"):
        run = subprocess.run([f"{BUILD}/examples/{name}", "--help"], capture_output=True,
                             text=True, timeout=20)
        checks.check(f"{name} --help", run.returncode == 0 and run.stdout.startswith("usage: "))


with EchoServer() as echo:
    asyncio.run(check_client(echo.url))
    check_http(echo.url)
asyncio.run(check_server())
check_refused_client()
checks.end()
