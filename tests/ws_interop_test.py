#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""python3-websockets and aiohttp as clients of ws_echo and as servers of ws_echo_client, with and
without compression and TLS; curl for what is no WebSocket."""
# limit 240

import asyncio
import os
import shutil
import ssl
import subprocess
import tempfile

from ws_programs import BUILD, Checks, EchoServer, make_certificate, skip

try:
    import websockets
except ImportError:
    skip("python3-websockets is not installed")
from websockets.extensions import permessage_deflate as deflate
try:
    import aiohttp
    import aiohttp.web
except ImportError:
    aiohttp = None

MIB = 1 << 20
MESSAGES = ["", "hello", "Größe 😀", "x" * 125, "x" * 126, "y" * 65535, "z" * 65536,
            b"", b"\x00\xff", bytes(range(256)) * 300, "é" * MIB, os.urandom(16 * MIB),
            "m" * (16 * MIB)]
SMALLER = [message for message in MESSAGES if len(message) <= MIB]
checks = Checks()


def short(value):
    return f"{type(value).__name__} of {len(value)}"


async def fragments():
    for part in ("ab", "", "cé", "😀", "x" * 70000):
        yield part


def offer(**terms):
    return [deflate.ClientPerMessageDeflateFactory(**terms)]


# What a client offers, and what ws_echo answers.
AGREEMENTS = [
    (offer(), "PerMessageDeflate(remote_no_context_takeover=False, "
              "local_no_context_takeover=False, remote_max_window_bits=15, "
              "local_max_window_bits=15)"),
    (offer(server_no_context_takeover=True, client_no_context_takeover=True), "=True, "),
    (offer(server_max_window_bits=9, client_max_window_bits=10),
     "remote_max_window_bits=9, local_max_window_bits=10"),
    (offer(server_max_window_bits=8, client_max_window_bits=True), "remote_max_window_bits=8"),
    (offer(server_max_window_bits=15, server_no_context_takeover=True),
     "remote_no_context_takeover=True"),
]


async def check_compression(url):
    for factories, agreed in AGREEMENTS:
        async with websockets.connect(url, max_size=None, extensions=factories,
                                      compression=None) as ws:
            name = repr(ws.extensions)
            checks.check(f"agreed on {agreed}", agreed in name, name)
            for message in SMALLER + ["the same again " * 50] * 3:
                await ws.send(message)
                back = await ws.recv()
                checks.check(f"compressed echo {short(message)}", back == message, short(back))
            await ws.send(fragments())
            back = await ws.recv()
            checks.check("compressed fragments", back == "abcé😀" + "x" * 70000, short(back))
    async with websockets.connect(url, max_size=None) as ws:
        try:
            await ws.send("0" * (17 * MIB))  # small on the wire
            await ws.recv()
        except websockets.ConnectionClosed:
            pass
        checks.check("a bomb", ws.close_code == 1009, ws.close_code)


async def check_aiohttp_client(url):
    for compress in (0, 15, 9):
        async with aiohttp.ClientSession() as session:
            async with session.ws_connect(url, compress=compress, max_msg_size=0) as ws:
                checks.check(f"aiohttp's compress={compress}",
                             bool(ws.compress) == bool(compress), ws.compress)
                for message in SMALLER:
                    text = isinstance(message, str)
                    await (ws.send_str if text else ws.send_bytes)(message)
                    back = await ws.receive()
                    checks.check(f"aiohttp, echo {short(message)}", back.data == message,
                                 back.type)
                await ws.ping(b"?")
                await ws.close(code=4002)
                checks.check("aiohttp's close", ws.close_code == 4002, ws.close_code)


async def check_client(url, **how):
    async with websockets.connect(url, max_size=None, compression=None, **how) as ws:
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

    async with websockets.connect(url, max_size=None, **how) as ws:
        try:
            await ws.send(b"x" * (16 * MIB + 1))
            await ws.recv()
        except websockets.ConnectionClosed:
            pass
        checks.check("too big", ws.close_code == 1009, ws.close_code)

    async with websockets.connect(url, subprotocols=["chat"], **how) as ws:
        checks.check("no subprotocol", ws.subprotocol is None, ws.subprotocol)

    many = [websockets.connect(url, **how) for _ in range(50)]
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


async def run_client(url, *options):
    client = await asyncio.create_subprocess_exec(
        f"{BUILD}/examples/ws_echo_client", url, *options,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await asyncio.wait_for(client.communicate(), 60)
    return client.returncode, out.decode(), err.decode()


async def check_server(scheme="ws", options=(), **how):
    suite = Suite()
    async with websockets.serve(suite.serve, "127.0.0.1", 0, max_size=None, **how) as server:
        port = server.sockets[0].getsockname()[1]
        code, out, err = await run_client(f"{scheme}://localhost:{port}", *options)
    n = len(MESSAGES) + 3
    checks.check("client's result", code == 0, err)
    checks.check("client's count", out == f"ran {n} cases\n", out)
    checks.check("every case", suite.ran == list(range(1, n + 1)), suite.ran)
    checks.check("report", suite.reported)


async def check_aiohttp_server():
    """aiohttp accepts the compression that the client offers."""
    ran = []

    async def serve(request):
        ws = aiohttp.web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        if request.path == "/getCaseCount":
            await ws.send_str(str(len(MESSAGES)))
        elif request.path == "/runCase":
            message = MESSAGES[int(request.query["case"]) - 1]
            await (ws.send_str if isinstance(message, str) else ws.send_bytes)(message)
            back = await ws.receive()
            checks.check(f"aiohttp's client echoes {short(message)}", back.data == message,
                         back.type)
            checks.check("aiohttp compresses", ws.compress == 15, ws.compress)
            ran.append(request.query["case"])
        await ws.close()
        return ws

    app = aiohttp.web.Application()
    app.router.add_get("/{tail:.*}", serve)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    code, _, err = await run_client(f"ws://127.0.0.1:{port}")
    await runner.cleanup()
    checks.check("aiohttp's client", code == 0 and len(ran) == len(MESSAGES), err or ran)


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
    for name in ("tcp_echo", "ws_echo", "ws_echo_client", "ws_chat"):
        run = subprocess.run([f"{BUILD}/examples/{name}", "--help"], capture_output=True,
                             text=True, timeout=20)
        checks.check(f"{name} --help", run.returncode == 0 and run.stdout.startswith("usage: "))


def check_tls():
    with tempfile.TemporaryDirectory() as folder:
        files = make_certificate(folder)
        trusting = ssl.create_default_context(cafile=files[0])
        showing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        showing.load_cert_chain(*files)
        with EchoServer(*files) as echo:
            checks.check("a URL of wss", echo.url.startswith("wss://127.0.0.1:"), echo.url)
            asyncio.run(check_client(echo.url, ssl=trusting))
        asyncio.run(check_server("wss", ("--cacert", files[0]), ssl=showing))


with EchoServer() as echo:
    asyncio.run(check_client(echo.url))
    asyncio.run(check_compression(echo.url))
    if aiohttp:
        asyncio.run(check_aiohttp_client(echo.url))
    check_http(echo.url)
asyncio.run(check_server(compression=None))
asyncio.run(check_server())
asyncio.run(check_server(compression=None, extensions=[
    deflate.ServerPerMessageDeflateFactory(server_no_context_takeover=True,
                                           client_no_context_takeover=True,
                                           server_max_window_bits=10, client_max_window_bits=9)]))
if aiohttp:
    asyncio.run(check_aiohttp_server())
if shutil.which("openssl"):
    check_tls()
check_refused_client()
checks.end()
