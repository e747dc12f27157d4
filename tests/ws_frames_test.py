#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Speaks raw frames to ws_echo, and then to ws_echo_client, case by case: framing, pings, reserved
bits and opcodes, fragments, UTF-8, closing, limits.  The order follows the chapters that WebSocket
test suites are usually built of."""
# limit 120

import base64
import hashlib
import os
import re
import socket
import struct
import subprocess

from ws_programs import BUILD, Checks, EchoServer

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KIB, MIB = 1 << 10, 1 << 20
REQUEST = (b"GET / HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
checks = Checks()


def xor(payload, key):
    n = len(payload)
    mask = (key * (n // 4 + 1))[:n]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")).to_bytes(n, "big")


def accept(listener):
    connection = listener.accept()[0]
    connection.settimeout(20)
    return connection


def frame(opcode, payload=b"", fin=True, rsv=0, mask=None, key=b"\x37\xfa\x21\x3d", length=None):
    """A frame's bytes, masked if it is a client's; length: another than the shortest form, as 126
    or 127."""
    mask = Peer.is_client if mask is None else mask
    n = len(payload)
    form = length or (n if n < 126 else 126 if n < 65536 else 127)
    head = struct.pack("!BB", fin << 7 | rsv << 4 | opcode, mask << 7 | form)
    head += struct.pack("!H", n) if form == 126 else struct.pack("!Q", n) if form == 127 else b""
    if not mask:
        return head + payload
    return head + key + xor(payload, key)


def long_head(first, length):
    """The head alone of a frame that announces this length."""
    head = struct.pack("!BBQ", first, Peer.is_client << 7 | 127, length)
    return head + (b"\0" * 4 if Peer.is_client else b"")


def close_frame(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


class Peer:
    """The other end of the program's connection: its client, or its server."""

    is_client = True
    echo = None    # who serves us
    listener = None  # who serves it
    n_opened = 0

    def __init__(self):
        Peer.n_opened += 1
        self.buffer = b""
        if self.is_client:
            self.socket = socket.create_connection((self.echo.host, self.echo.port), 20)
            self.socket.sendall(REQUEST % (self.echo.host.encode(), self.echo.port))
            answer = self.read_head()
            assert answer.startswith(b"HTTP/1.1 101 "), answer
        else:
            self.socket = accept(self.listener)
            self.request = self.read_head()
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", self.request).group(1)
            answer = base64.b64encode(hashlib.sha1(key + GUID).digest())
            self.socket.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                                b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + answer +
                                b"\r\n\r\n")
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read_head(self):
        while b"\r\n\r\n" not in self.buffer:
            more = self.socket.recv(4096)
            assert more, "the connection ended in a head"
            self.buffer += more
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        return head

    def send(self, data, chop=None):
        if chop is None:
            self.socket.sendall(data)
            return
        for at in range(0, len(data), chop):
            self.socket.sendall(data[at:at + chop])

    def need(self, n):
        while len(self.buffer) < n:
            more = self.socket.recv(1 << 20)
            if not more:
                raise EOFError
            self.buffer += more

    def receive(self):
        """The next frame: (opcode, payload), or None at the end of the stream."""
        try:
            self.need(2)
            first, form = self.buffer[0], self.buffer[1] & 0x7f
            assert first & 0xf0 == 0x80, "not a plain frame"
            assert (self.buffer[1] & 0x80 == 0) == self.is_client, "wrongly masked"
            at, n = 2, form
            if form == 126:
                self.need(4)
                at, n = 4, struct.unpack("!H", self.buffer[2:4])[0]
            elif form == 127:
                self.need(10)
                at, n = 10, struct.unpack("!Q", self.buffer[2:10])[0]
            at += 0 if self.is_client else 4
            self.need(at + n)
        except EOFError:
            return None
        except ConnectionResetError:
            return "reset"
        key = None if self.is_client else self.buffer[at - 4:at]
        payload, self.buffer = self.buffer[at:at + n], self.buffer[at + n:]
        return first & 0x0f, xor(payload, key) if key else payload

    def until_end(self):
        """Every frame up to the end of the stream; a server ends it at the client's close."""
        frames = []
        while (got := self.receive()) is not None:
            frames.append(got)
            if got == "reset" or (got[0] == CLOSE and not self.is_client):
                break
        return frames


def show(frames):
    return [f if isinstance(f, str) else (f[0], f[1][:20], len(f[1])) for f in frames]


def case(name, data, want, chop=None, close=1000):
    """Sends data, expects exactly these frames and then the server's close with this code; None
    for an empty close."""
    peer = Peer()
    try:
        peer.send(data, chop)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has refused the beginning already
    got = peer.until_end()
    closing = got.pop() if got and got[-1][0] == CLOSE else None
    code = closing and struct.unpack("!H", closing[1][:2])[0] if closing and closing[1] else None
    checks.check(name, got == want and closing is not None and code == close,
                 f"got {show(got)} and close {code}, want {show(want)} and {close}")
    peer.socket.close()


def good(name, data, want, chop=None):
    """An orderly case: we close at its end."""
    case(name, data + close_frame(1000), want, chop)


def text(data, **more):
    return frame(TEXT, data, **more)


def framing():
    for opcode, letter in ((TEXT, b"*"), (BINARY, b"\xfe")):
        for n in (0, 1, 125, 126, 127, 128, 65535, 65536):
            payload = letter * n
            for chop in (None, 997, 1) if n <= 128 else (None, 997):
                good(f"1 framing {opcode} {n} chop {chop}", frame(opcode, payload),
                     [(opcode, payload)], chop)
    for length, n in ((126, 125), (127, 125), (127, 65535)):
        case(f"1 length {n} in form {length}", frame(BINARY, b"x" * n, length=length), [],
             close=1002)
    case("1 length over 2^63", long_head(0x82, (1 << 64) - 1), [], close=1002)
    case("1 masked the wrong way", frame(TEXT, b"hello", mask=not Peer.is_client), [], close=1002)
    good("1 masked with zero", frame(TEXT, b"hello", key=b"\0\0\0\0"), [(TEXT, b"hello")])


def pings():
    for payload in (b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125):
        for chop in (None, 1):
            good(f"2 ping of {len(payload)} chop {chop}", frame(PING, payload),
                 [(PONG, payload)], chop)
    case("2 ping of 126", frame(PING, b"x" * 126), [], close=1002)
    good("2 pongs are ignored", frame(PONG) + frame(PONG, b"unasked") + frame(PING, b"p"),
         [(PONG, b"p")])
    many = [b"payload-%d" % i for i in range(10)]
    for chop in (None, 1):
        good(f"2 ten pings chop {chop}", b"".join(frame(PING, p) for p in many),
             [(PONG, p) for p in many], chop)


def reserved():
    hello = text(b"Hello")
    for rsv in range(1, 8):
        case(f"3 rsv {rsv}", frame(TEXT, b"Hello", rsv=rsv), [], close=1002)
        case(f"3 rsv {rsv} after text", hello + frame(TEXT, b"*", rsv=rsv) + hello,
             [(TEXT, b"Hello")], close=1002)
        case(f"3 rsv {rsv} chopped", hello + frame(BINARY, b"*", rsv=rsv),
             [(TEXT, b"Hello")], chop=1, close=1002)
        case(f"3 rsv {rsv} on ping", frame(PING, b"*", rsv=rsv), [], close=1002)
        case(f"3 rsv {rsv} on close", frame(CLOSE, b"", rsv=rsv), [], close=1002)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        case(f"4 opcode {opcode}", frame(opcode), [], close=1002)
        case(f"4 opcode {opcode} with payload", frame(opcode, b"reserved"), [], close=1002)
        for chop in (None, 1):
            case(f"4 opcode {opcode} after text", hello + frame(opcode, b"x") + frame(PING),
                 [(TEXT, b"Hello")], chop, close=1002)


def fragments():
    first, second = frame(TEXT, b"fragment1", fin=False), frame(CONT, b"fragment2")
    middle = frame(CONT, b"fragment2", fin=False)
    whole = [(TEXT, b"fragment1fragment2")]
    pong = [(PONG, b"ping")]
    for opcode in (PING, PONG, CLOSE):
        case(f"5 control {opcode} in fragments",
             frame(opcode, b"fragment1", fin=False) + second, [], close=1002)
    for chop in (None, 1):
        good(f"5 two fragments chop {chop}", first + second, whole, chop)
        good(f"5 ping between chop {chop}", first + frame(PING, b"ping") + second,
             pong + whole, chop)
    for fin in (False, True):
        lone = frame(CONT, b"non-continuation payload", fin=fin)
        for chop in (None, 1):
            case(f"5 continuation of nothing, fin {fin}", lone + text(b"Hello"), [], chop,
                 close=1002)
        case(f"5 continuation after a message, fin {fin}", first + second + lone, whole,
             close=1002)
    case("5 a message in a message", first + text(b"fragment2"), [], close=1002)
    case("5 binary in a text", first + frame(BINARY, b"x"), [], close=1002)
    five = (first + middle + frame(PING, b"pongme 1!") + frame(CONT, b"3", fin=False) +
            frame(CONT, b"4", fin=False) + frame(PING, b"pongme 2!") + frame(CONT, b"5"))
    for chop in (None, 1):
        good(f"5 five fragments and two pings chop {chop}", five,
             [(PONG, b"pongme 1!"), (PONG, b"pongme 2!"), (TEXT, b"fragment1fragment2345")], chop)
    good("5 empty fragments", frame(TEXT, b"", fin=False) + frame(CONT, b"", fin=False) +
         frame(CONT, b""), [(TEXT, b"")])
    good("5 empty ends", frame(TEXT, b"", fin=False) + frame(CONT, b"x", fin=False) +
         frame(CONT, b""), [(TEXT, b"x")])
    good("5 binary in a hundred fragments", frame(BINARY, b"0", fin=False) +
         frame(CONT, b"1", fin=False) * 98 + frame(CONT, b"2"), [(BINARY, b"0" + b"1" * 98 + b"2")])


VALID = ["Hello-µ@ßöäüàá-UTF-8!!", "\u03ba\u1f79\u03c3\u03bc\u03b5", "\x00", "\x7f", "\x80",
         "\u07ff", "\u0800", "\ud7ff", "\ue000", "\ufffd", "\uffff", "\U00010000", "\U0010ffff",
         "\ufdd0", "\ufffe", "\U0001fffe", "\U0010fffe"]
INVALID = [b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80\xbf\x80\xbf\x80\xbe", b"\xc0 \xc1 ",
           b"\xe0 \xef ", b"\xf0 \xf7 ", b"\xf8 ", b"\xfc ", b"\xc0", b"\xe0\x80",
           b"\xf0\x80\x80", b"\xf8\x80\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf", b"\xfe",
           b"\xff", b"\xfe\xfe\xff\xff", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",
           b"\xf8\x80\x80\x80\xaf", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf",
           b"\xc0\x80", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xad\xbf", b"\xed\xae\x80",
           b"\xed\xaf\xbf", b"\xed\xb0\x80", b"\xed\xbe\x80", b"\xed\xbf\xbf",
           b"\xed\xa0\x80\xed\xb0\x80", b"\xf4\x90\x80\x80", b"\xf7\xbf\xbf\xbf",
           b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]
SPLIT_BAD = (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", b"\xf4\x90\x80\x80", b"edited")


def fails_at_once(name, data):
    """An invalid text is refused before its message ends: nothing more is sent, the close comes."""
    peer = Peer()
    peer.send(data)
    got = peer.receive()
    checks.check(name, got not in (None, "reset") and got[0] == CLOSE and
                 got[1][:2] == struct.pack("!H", 1007), got)
    peer.socket.close()


def utf8():
    for value in VALID:
        data = value.encode()
        good(f"6 valid {data!r}", text(data), [(TEXT, data)])
        each = [data[i:i + 1] for i in range(len(data))]
        split = frame(TEXT, b"", fin=False)
        split += b"".join(frame(CONT, c, fin=False) for c in each) + frame(CONT, b"")
        good(f"6 valid, a byte a fragment, {data!r}", split, [(TEXT, data)])
        good(f"6 valid, a byte a write, {data!r}", text(data), [(TEXT, data)], chop=1)
    for data in INVALID:
        for around in (b"", b"ok"):
            case(f"6 invalid {around + data!r}", text(around + data), [], close=1007)
        good(f"6 binary {data!r}", frame(BINARY, data), [(BINARY, data)])
    start, bad, end = SPLIT_BAD
    case("6 invalid in one", text(start + bad + end), [], close=1007)
    fails_at_once("6 fails at once, in a fragment",
                  frame(TEXT, start, fin=False) + frame(CONT, bad, fin=False))
    whole = text(start + bad + end)
    head = 6 if Peer.is_client else 2
    fails_at_once("6 fails at once, in a cut frame", whole[:head + len(start + bad)])
    fails_at_once("6 fails at the first impossible byte",
                  frame(TEXT, start + b"\xf4", fin=False) + frame(CONT, b"\x90", fin=False))


def closing():
    hello = (TEXT, b"Hello World!")
    case("7 close after text", text(b"Hello World!") + close_frame(1000), [hello])
    case("7 two closes", close_frame(1000) + close_frame(1000), [])
    case("7 ping after close", close_frame(1000) + frame(PING), [])
    case("7 text after close", close_frame(1000) + text(b"too late"), [])
    case("7 close in a message", frame(TEXT, b"fragment1", fin=False) + close_frame(1000) +
         frame(CONT, b"fragment2"), [])
    case("7 256 KiB, then close", text(b"B" * 256 * KIB) + close_frame(1000) + frame(PING),
         [(TEXT, b"B" * 256 * KIB)])
    case("7 empty close", close_frame(), [], close=None)
    case("7 half a code", frame(CLOSE, b"a"), [], close=1002)
    case("7 with a reason", close_frame(1000, b"Hello World!"), [])
    case("7 the longest reason", close_frame(1000, b"*" * 123), [])
    case("7 a longer reason", frame(CLOSE, struct.pack("!H", 1000) + b"*" * 124), [],
         close=1002)
    case("7 a reason that is not UTF-8", close_frame(1000, SPLIT_BAD[0] + SPLIT_BAD[1]), [],
         close=1007)
    for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999):
        case(f"7 code {code}", close_frame(code), [], close=code)
    for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535):
        case(f"7 bad code {code}", close_frame(code), [], close=1002)
        case(f"7 bad code {code} with a reason", close_frame(code, b"why"), [], close=1002)
    peer = Peer()
    peer.send(text(b"x")[:-1])
    peer.socket.shutdown(socket.SHUT_WR)
    checks.check("7 the end without a close", peer.until_end() in ([], [(CLOSE, b"\x03\xf3")]))


def exchange(name, opcode, payload, data, chop=None):
    """A large message: sent while the echo is read, for neither side holds all of it."""
    peer = Peer()
    peer.socket.settimeout(60)
    pid = os.fork()
    if pid == 0:
        try:
            peer.send(data + close_frame(1000), chop)
        finally:
            os._exit(0)
    got = peer.receive()
    end = peer.until_end()
    os.waitpid(pid, 0)
    checks.check(name, got == (opcode, payload) and end == [(CLOSE, b"\x03\xe8")], show(end))
    peer.socket.close()


def limits():
    for opcode in (TEXT, BINARY):
        for size in (64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB):
            payload = b"*" * size if opcode == TEXT else os.urandom(size)
            exchange(f"9 {opcode} of {size}", opcode, payload, frame(opcode, payload))
        payload = b"*" * MIB
        for piece in (64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB):
            if MIB // piece > 16384:
                continue
            parts = [payload[i:i + piece] for i in range(0, MIB, piece)]
            data = b"".join(frame(CONT if i else opcode, part, fin=i == len(parts) - 1)
                            for i, part in enumerate(parts))
            exchange(f"9 {opcode} in fragments of {piece}", opcode, payload, data)
        for chop in (64, 997, 2048):
            exchange(f"9 {opcode} in writes of {chop}", opcode, payload,
                     frame(opcode, payload), chop)
        for size in (0, 16, 64, 256, 1024, 4096):
            payload = b"*" * size
            peer = Peer()
            peer.send(frame(opcode, payload) * 20)
            got = [peer.receive() for _ in range(20)]
            checks.check(f"9 twenty {opcode} of {size}", got == [(opcode, payload)] * 20)
            peer.socket.close()
    case("9 over the limit", long_head(0x82, 16 * MIB + 1), [], close=1009)
    case("9 over the limit in fragments", frame(BINARY, b"x" * 10, fin=False) +
         long_head(0x80, 16 * MIB - 9), [], close=1009)
    data = frame(TEXT, b"", fin=False) + frame(CONT, b"x", fin=False) * (1 << 17)
    case("9 too many fragments", data, [], close=1009)


def run_chapters():
    for chapter in (framing, pings, reserved, fragments, utf8, closing, limits):
        chapter()


def refused_handshake():
    """A case of its own: an answer that is none ends the case, and not the run."""
    connection = accept(Peer.listener)
    while not connection.recv(65536).endswith(b"\r\n\r\n"):
        pass
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       b"Connection: Upgrade\r\nSec-WebSocket-Accept: AAAA\r\n\r\n")
    checks.check("a refused handshake ends the connection", connection.recv(100) == b"")
    connection.close()


def run_client(n_cases):
    """ws_echo_client asks for as many cases as ws_echo has just had, and gets the same ones."""
    Peer.is_client, Peer.n_opened = False, 0
    Peer.listener = socket.create_server(("127.0.0.1", 0))
    Peer.listener.settimeout(20)
    port = Peer.listener.getsockname()[1]
    client = subprocess.Popen([f"{BUILD}/examples/ws_echo_client", f"ws://127.0.0.1:{port}"],
                              stdout=subprocess.PIPE, text=True)
    count = Peer()
    count.send(frame(TEXT, str(n_cases + 1).encode()) + close_frame(1000))
    checks.check("client asks for the count", b"/getCaseCount " in count.request, count.request)
    count.until_end()
    count.socket.close()
    refused_handshake()
    run_chapters()
    checks.check("as many cases", Peer.n_opened == n_cases + 1, Peer.n_opened)
    report = Peer()
    checks.check("client reports", b"/updateReports?agent=beck " in report.request)
    report.send(close_frame(1000))
    report.until_end()
    report.socket.close()
    out = client.communicate(timeout=20)[0]
    checks.check("client ends", client.returncode == 0 and out == f"ran {n_cases + 1} cases\n", out)


with EchoServer() as server:
    Peer.echo = server
    run_chapters()
run_client(Peer.n_opened)
checks.end()
