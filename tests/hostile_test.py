#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A thousand hostile peers at once of each kind, against the echo servers, and honest ones between.

Every honest request must be answered right, and no descriptor may be left afterwards.  Memory may
grow by 16 MiB for a thousand peers, and a message more where a peer sends the largest there may be.
(A debug build must come back to within 32 MiB.)  How long the honest requests took is printed, and
judged by nobody.
HOSTILE_PEERS sets their number (default: 1000; in a debug build 200, with AddressSanitizer 50, with
ThreadSanitizer 10).  With names of kinds as arguments, those alone.
"""
# limit 400

import asyncio
import base64
import os
import re
import resource
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

BUILD = Path(os.environ["BECK_BUILD"])
CACHE = (BUILD / "CMakeCache.txt").read_text()
SANITIZED = bool(re.search(r"^BECK_SANITIZE:\w+=.", CACHE, re.M))
THREAD = bool(re.search(r"^BECK_SANITIZE:\w+=thread", CACHE, re.M))
DEBUG = "CMAKE_BUILD_TYPE:STRING=Debug" in CACHE
PEERS = int(os.environ.get("HOSTILE_PEERS") or (10 if THREAD else 50 if SANITIZED else
                                                   200 if DEBUG else 1000))
MIB = 1024 * 1024
# A loop keeps 256 stacks warm, deeper ones in a debug build, and the C library some heap.
MEMORY = (32 if DEBUG else 16) * MIB
HONEST_SECONDS = 60   # an honest request that takes longer has failed; the machine may be busy
PATIENCE = 60         # for the server to let go of everything


class Server:
    """One of the example servers, and what /proc says of it."""

    def __init__(self, program, *arguments):
        self.process = subprocess.Popen(
            [BUILD / "examples" / program, "0", *arguments], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        found = re.search(r":(\d+)", line)
        if not found:
            sys.exit(f"{program} says no port: {line!r}")
        self.port = int(found.group(1))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self, which="VmRSS"):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{which}:\s+(\d+) kB", status, re.M).group(1)) * 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()


async def connect(port):
    return await asyncio.open_connection("127.0.0.1", port)


async def read_all(reader):
    """Until the server ends the connection."""
    try:
        while await reader.read(65536):
            pass
    except OSError:
        pass


# ---- What honest peers do ----

async def honest_http(port):
    reader, writer = await connect(port)
    writer.write(b"POST /honest HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                 b"Connection: close\r\n\r\nhello")
    answer = await reader.read(-1)
    writer.close()
    return answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"hello")


UPGRADE = (b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: " + base64.b64encode(b"0123456789abcdef") +
           b"\r\nSec-WebSocket-Version: 13\r\n%s\r\n")


async def open_ws(port, extensions=b""):
    reader, writer = await connect(port)
    writer.write(UPGRADE % extensions)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(head)
    return reader, writer


def frame(opcode, payload, fin=True, rsv=0):
    """A masked frame; the mask is zero."""
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    n = len(payload)
    length = bytes([0x80 | n]) if n < 126 else \
        b"\xfe" + struct.pack("!H", n) if n < 65536 else b"\xff" + struct.pack("!Q", n)
    return head + length + bytes(4) + payload


async def honest_page(port):
    reader, writer = await connect(port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await reader.read(-1)
    writer.close()
    return answer.startswith(b"HTTP/1.1 200") and b"<title>chat</title>" in answer


async def honest_ws(port):
    reader, writer = await open_ws(port)
    writer.write(frame(1, b"hello"))
    answer = await reader.readexactly(7)
    writer.write(frame(8, b"\x03\xe8"))
    await read_all(reader)
    writer.close()
    return answer == b"\x81\x05hello"


# ---- What hostile peers do; each ends when `over` is set ----

async def silent(port, over):
    _, writer = await connect(port)
    await over.wait()
    writer.close()


async def drip(port, over, text):
    """A byte at a time, for as long as the server lets it."""
    _, writer = await connect(port)
    try:
        for byte in text:
            writer.write(bytes([byte]))
            await writer.drain()
            if await wait(over, 0.2):
                break
        await over.wait()
    except OSError:
        await over.wait()
    writer.close()


async def trickle(writer, over):
    """A byte now and then, without an end."""
    try:
        while not await wait(over, 0.2):
            writer.write(b"x")
            await writer.drain()
    except OSError:
        await over.wait()
    writer.close()


async def slow_header(port, over):
    await drip(port, over, b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: " + b"x" * 10000)


async def slow_body(port, over):
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
    _, writer = await connect(port)
    writer.write(head)
    await writer.drain()
    await trickle(writer, over)


async def half_closed(port, over):
    reader, writer = await connect(port)
    writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhell")
    writer.write_eof()
    await asyncio.wait([asyncio.ensure_future(read_all(reader)),
                        asyncio.ensure_future(over.wait())],
                       return_when=asyncio.FIRST_COMPLETED)
    await over.wait()
    writer.close()


def reset(writer):
    """Closes with a reset instead of an orderly end."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
    writer.transport.abort()


async def reset_in_request(port, over):
    while not over.is_set():
        _, writer = await connect(port)
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nhalf")
        await pause(0)
        reset(writer)
        await wait(over, 0.2)


async def header_flood(port, over):
    reader, writer = await connect(port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
        for i in range(3000):
            writer.write(b"X-%d: %s\r\n" % (i, b"y" * 200))
            await writer.drain()
        await read_all(reader)
    except OSError:
        pass
    await over.wait()
    writer.close()


async def long_header(port, over):
    """Much of a head, and never its end."""
    reader, writer = await connect(port)
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: %s\r\n" % (b"y" * 1000)) * 60)
        await read_all(reader)
    except OSError:
        pass
    await over.wait()
    writer.close()


async def ws_silent(port, over):
    _, writer = await open_ws(port)
    await over.wait()
    writer.close()


async def reset_in_frame(port, over):
    while not over.is_set():
        _, writer = await open_ws(port)
        writer.write(frame(1, b"x" * 1000)[:500])
        await pause(0)
        reset(writer)
        await wait(over, 0.2)


async def endless_fragments(port, over):
    await send_fragments(port, over, frame(0, b"x", fin=False) * 500)


async def long_fragments(port, over):
    await send_fragments(port, over, frame(0, bytes(1000), fin=False) * 10)


async def send_fragments(port, over, fragments):
    """Of a message that never ends."""
    reader, writer = await open_ws(port)
    end = asyncio.ensure_future(read_all(reader))
    try:
        writer.write(frame(1, b"x", fin=False))
        while not over.is_set() and not end.done():
            writer.write(fragments)
            await writer.drain()
            await pause(0)
    except OSError:
        pass
    await over.wait()
    end.cancel()
    writer.close()


async def slow_frame(port, over):
    """Announces much, begins with it, and then takes its time."""
    _, writer = await open_ws(port)
    writer.write(b"\x82\xff" + struct.pack("!Q", 1000000) + bytes(4) + bytes(10000))
    await trickle(writer, over)


def bomb(n):
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    text = deflate.compress(bytes(n)) + deflate.flush(zlib.Z_SYNC_FLUSH)
    return text[:-4]


BOMB = bomb(64 << 20)
LARGE_BOMB = bomb(16 << 20)


async def compression_bomb(port, over):
    await throw_bomb(port, over, BOMB)


async def large_bomb(port, over):
    """What comes out is not too large, and is sent back."""
    await throw_bomb(port, over, LARGE_BOMB)


async def throw_bomb(port, over, message):
    reader, writer = await open_ws(port, b"Sec-WebSocket-Extensions: permessage-deflate\r\n")
    try:
        writer.write(frame(2, message, rsv=0x40))
        await writer.drain()
        await read_all(reader)
    except OSError:
        pass
    await over.wait()
    writer.close()


async def unread_answers(port, over):
    """Asks and asks, and reads nothing of what comes."""
    _, writer = await open_ws(port)
    try:
        while not over.is_set():
            writer.write(frame(2, bytes(50000)))
            await asyncio.wait_for(writer.drain(), 0.2)
    except (OSError, asyncio.TimeoutError):
        pass
    await over.wait()
    writer.transport.abort()


# ---- The measurement ----

async def wait(event, seconds):
    """Whether the event came within that time."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
        return True
    except asyncio.TimeoutError:
        return False


async def quietly(peer):
    """Hostile peers may be refused and thrown out; that is no failure."""
    try:
        await peer
    except (OSError, EOFError, asyncio.IncompleteReadError):
        pass


async def let_go(server, descriptors, memory):
    """Waits until the server has as few descriptors open as before, and about as little memory: it
    gives back what a crowd has left little by little.  Returns what it still has too much."""
    deadline = time.monotonic() + PATIENCE
    while True:
        wrong = []
        if server.descriptors() > descriptors:
            wrong.append(f"{server.descriptors()} descriptors, {descriptors} before")
        grown = server.memory() - memory
        if grown > MEMORY and not SANITIZED:
            wrong.append(f"{grown / MIB:.1f} MiB more memory")
        if not wrong or time.monotonic() > deadline:
            return wrong
        await pause(0.05)


async def pause(seconds):
    await wait(asyncio.Event(), seconds)


async def attack(kind, port):
    """The hostile process: all peers at once, until its standard input ends."""
    over = asyncio.Event()
    peers = [asyncio.ensure_future(quietly(KINDS[kind](port, over))) for _ in range(PEERS)]
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    over.set()
    _, pending = await asyncio.wait(peers, timeout=30)
    for peer in pending:
        peer.cancel()


async def be_honest(port, honest, seconds):
    """Returns (what went wrong, seconds each honest request took)."""
    took, wrong = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            if not await asyncio.wait_for(honest(port), HONEST_SECONDS):
                wrong.append("a wrong answer")
        except (OSError, EOFError, asyncio.TimeoutError) as e:
            wrong.append(f"no answer: {type(e).__name__} {e}")
        took.append(time.monotonic() - began)
        await pause(0.02)
    return wrong, took


async def under_attack(server, hostile, honest, seconds):
    """be_honest while another process attacks (it is given less of the processor than we are)."""
    attackers = subprocess.Popen(
        ["nice", "-n", "5", sys.executable, __file__, "--attack", hostile.__name__,
         str(server.port)], stdin=subprocess.PIPE)
    try:
        return await be_honest(server.port, honest, seconds)
    finally:
        attackers.stdin.close()
        attackers.wait(60)


HTTP = [silent, slow_header, slow_body, half_closed, reset_in_request, header_flood, long_header]
WS = [silent, ws_silent, slow_header, reset_in_frame, slow_frame, endless_fragments,
      long_fragments, compression_bomb, large_bomb, unread_answers]
CHAT = [ws_silent, slow_frame, endless_fragments, long_fragments, compression_bomb]
KINDS = {kind.__name__: kind for kind in HTTP + WS + CHAT}


def too_high(height, program, hostile):
    """Whether that is more memory than there may be at the height of the attack."""
    allowed = MEMORY * max(PEERS, 1000) // 1000
    if program == "ws_echo" and hostile is long_fragments:
        allowed += 16 * MIB  # one message, the largest it takes
    judged = hostile not in (large_bomb, unread_answers) and not SANITIZED and not DEBUG
    return judged and height > allowed


async def try_one(program, hostile, honest):
    """Returns (what went wrong, whether memory went too high)."""
    server = Server(program)
    try:
        for _ in range(20):
            await honest(server.port)
        descriptors, memory = server.descriptors(), server.memory()
        wrong, took = await under_attack(server, hostile, honest, 3)
        wrong += await let_go(server, descriptors, memory)
        grown = server.memory() - memory
        height = server.memory("VmHWM") - memory
        took.sort()
        print(f"{program:10} {hostile.__name__:18} {PEERS} peers: {len(took)} honest requests, "
              f"median {took[len(took) // 2] * 1000:.1f} ms, longest {took[-1] * 1000:.1f} ms; "
              f"memory +{grown / MIB:.1f} MiB, at most +{height / MIB:.1f}", flush=True)
        return wrong, too_high(height, program, hostile)
    finally:
        server.stop()


async def try_all(program, kinds, honest):
    failed = 0
    for hostile in kinds:
        wrong, high = await try_one(program, hostile, honest)
        if high and not wrong:  # how many are at their height at once is chance, on a busy machine
            wrong, high = await try_one(program, hostile, honest)
        if high:
            wrong.append("so much more memory at its height")
        for what in wrong[:5]:
            print(f"    {what}")
        failed += bool(wrong)
    return failed


async def main():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * PEERS + 1000), hard))
    if sys.argv[1:2] == ["--attack"]:
        await attack(sys.argv[2], int(sys.argv[3]))
        return 0
    wanted = set(sys.argv[1:]) or set(KINDS)
    failed = total = 0
    for program, kinds, honest in (("http_echo", HTTP, honest_http), ("ws_echo", WS, honest_ws),
                                   ("ws_chat", CHAT, honest_page)):
        kinds = [kind for kind in kinds if kind.__name__ in wanted]
        failed += await try_all(program, kinds, honest)
        total += len(kinds)
    print(f"{total - failed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
