#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""http_echo and raw bytes: every answer to requests good, odd and malformed, parsed strictly.

A refused request must be answered once, with its status, and the server must then end the
connection by itself, although another good request lies behind the bad one.  Then curl, and the
same over TLS.
"""
# limit 120

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

from ws_programs import Checks, EchoServer, make_certificate

HOST = b"Host: h\r\n"
GOOD = b"GET /good HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED = b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
TOKEN = set(b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
checks = Checks()


class Wrong(Exception):
    pass


# ---- Answers, read as strictly as they should be written ----

def parse_head(data):
    end = data.find(b"\r\n\r\n")
    if end < 0:
        raise Wrong(f"no whole head: {data[:200]!r}")
    lines = data[:end].split(b"\r\n")
    line = re.fullmatch(rb"HTTP/1\.1 (\d{3}) ([\x20-\x7e]*)", lines[0])
    if not line:
        raise Wrong(f"status line {lines[0]!r}")
    fields = {}
    for text in lines[1:]:
        field = re.fullmatch(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\t\x20-\x7e\x80-\xff]*)", text)
        if not field:
            raise Wrong(f"header line {text!r}")
        name = field[1].decode().lower()
        if name in fields:
            raise Wrong(f"{name} is there twice")
        fields[name] = field[2].decode("latin-1")
    return int(line[1]), fields, data[end + 4:]


def parse_chunks(data):
    body = b""
    while True:
        line = re.match(rb"([0-9a-f]+)\r\n", data)
        if not line:
            raise Wrong(f"chunk {data[:40]!r}")
        size, data = int(line[1], 16), data[line.end():]
        if size == 0:
            if data[:2] != b"\r\n":
                raise Wrong(f"behind the last chunk {data[:40]!r}")
            return body, data[2:]
        if data[size:size + 2] != b"\r\n":
            raise Wrong("a chunk that does not end where it says")
        body, data = body + data[:size], data[size + 2:]


def parse_answer(data, method):
    status, fields, rest = parse_head(data)
    if status >= 200 and "date" not in fields:
        raise Wrong("no Date")
    if "date" in fields and not re.fullmatch(
            r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT",
            fields["date"]):
        raise Wrong(f"Date {fields['date']}")
    if status < 200 or status in (204, 304) or method == "HEAD":
        return status, fields, b"", rest
    if "transfer-encoding" in fields:
        if "content-length" in fields or fields["transfer-encoding"] != "chunked":
            raise Wrong(f"framing {fields}")
        return status, fields, *parse_chunks(rest)
    if "content-length" not in fields:
        return status, fields, rest, b""
    size = int(fields["content-length"])
    if len(rest) < size:
        raise Wrong(f"{len(rest)} of {size} bytes")
    return status, fields, rest[:size], rest[size:]


def parse_answers(data, methods):
    """All of them: [(status, fields, body)]; methods of the requests, the last for all others."""
    answers, methods = [], list(methods)
    while data:
        status, fields, body, data = parse_answer(data, methods[0])
        answers.append((status, fields, body))
        if status >= 200 and len(methods) > 1:
            methods.pop(0)
    return answers


# ---- Talking ----

class Server:
    def __init__(self, echo):
        self.port = echo.port

    def talk(self, data, end=True, pieces=None):
        """Sends data (in pieces of that size); all that comes until the server ends it."""
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                for at in range(0, len(data), pieces or len(data) or 1):
                    s.sendall(data[at:at + (pieces or len(data))])
                if end:
                    s.shutdown(socket.SHUT_WR)
            except (BrokenPipeError, ConnectionResetError):
                pass
            got = b""
            while True:
                piece = s.recv(65536)
                if not piece:
                    return got
                got += piece


server = None


def answers(name, data, want, methods=("GET",), end=True, pieces=None):
    """The statuses that answer data are those wanted; returns the answers."""
    try:
        got = parse_answers(server.talk(data, end, pieces), methods)
        checks.check(name, [a[0] for a in got] == want, f"{[a[0] for a in got]}, not {want}")
        return got
    except (Wrong, OSError) as error:
        checks.check(name, False, f"{error!r} to {data[:200]!r}")
        return []


def refused(name, data, status):
    got = answers(name, data + GOOD, [status], end=False)
    if got:
        checks.check(f"{name}: says that it closes", got[0][1].get("connection") == "close", got)


def echoed(name, data, body, method="POST", target="/c", **how):
    got = answers(name, data, [200], methods=(method,), **how)
    if got:
        checks.check(f"{name}: body", got[0][2] == body, f"{got[0][2][:100]!r}")
        told = got[0][1].get("x-method"), got[0][1].get("x-target")
        checks.check(f"{name}: told", told == (method, target), told)


# ---- What is refused ----

def refuse_request_lines():
    for line, status in (
            (b"GET", 400), (b"GET ", 400), (b"GET /", 400), (b"GET / ", 400), (b"/ HTTP/1.1", 400),
            (b" GET / HTTP/1.1", 400), (b"GET  / HTTP/1.1", 400), (b"GET /  HTTP/1.1", 400),
            (b"GET / HTTP/1.1 ", 400), (b"GET / HTTP/1.1 x", 400), (b"GET / x HTTP/1.1", 400),
            (b"GET\t/ HTTP/1.1", 400), (b"GET /\tHTTP/1.1", 400), (b"GET\x0b/ HTTP/1.1", 400),
            (b"G\xc3\x84T / HTTP/1.1", 400), (b"GET /\xc3\xa4 HTTP/1.1", 400),
            (b"GET x HTTP/1.1", 400), (b"GET h:80 HTTP/1.1", 400), (b"GET * HTTP/1.1", 400),
            (b"GET // HTTP/1.1 HTTP/1.1", 400), (b"GET http:/x HTTP/1.1", 400),
            (b"GET http:// HTTP/1.1", 400), (b"GET http:///x HTTP/1.1", 400),
            (b"GET http://a@b/ HTTP/1.1", 400), (b"GET http://a:b:c/ HTTP/1.1", 400),
            (b"GET /#frag HTTP/1.1", 400), (b"CONNECT / HTTP/1.1", 400),
            (b"CONNECT h HTTP/1.1", 400), (b"CONNECT http://h/ HTTP/1.1", 400),
            (b"OPTIONS ** HTTP/1.1", 400), (b"GET / HTTP", 400), (b"GET / HTTP/", 400),
            (b"GET / HTTP/1", 400), (b"GET / HTTP/1.", 400), (b"GET / HTTP/1.1.1", 400),
            (b"GET / HTTP/01.1", 400), (b"GET / HTTP/1.01", 400), (b"GET / HTTP/1.10", 400),
            (b"GET / HTTP/a.b", 400), (b"GET / HTTP/1,1", 400), (b"GET / http/1.1", 400),
            (b"GET / HTTP /1.1", 400), (b"GET / HTTPS/1.1", 400), (b"GET / HTTP/-1.1", 400),
            (b"GET / HTTP/0.9", 505), (b"GET / HTTP/2.0", 505), (b"GET / HTTP/3.1", 505),
            (b"GET / HTTP/9.9", 505), (b"CONNECT h:80 HTTP/1.1", 501)):
        refused(f"line {line!r}", line + b"\r\n" + HOST + b"\r\n", status)
    refused("two empty lines first", b"\r\n\r\n" + GOOD, 400)
    refused("a bare line feed first", b"\n" + GOOD, 400)
    refused("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100), 400)
    refused("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400)


def refuse_bytes():
    """Each byte that may not stand in a method, a target, a name, a value."""
    for byte in range(256):
        b = bytes([byte])
        if byte not in TOKEN and b != b" ":
            refused(f"method with {b!r}", b"GE" + b + b"T / HTTP/1.1\r\n" + HOST + b"\r\n", 400)
        if byte not in TOKEN and b != b":":
            refused(f"name with {b!r}",
                    b"GET / HTTP/1.1\r\n" + HOST + b"A" + b + b"B: c\r\n\r\n", 400)
        if (byte <= 0x20 or byte >= 0x7f or b == b"#") and b != b" ":
            refused(f"target with {b!r}", b"GET /a" + b + b"b HTTP/1.1\r\n" + HOST + b"\r\n", 400)
        if (byte < 0x20 and b != b"\t") or byte == 0x7f:
            refused(f"value with {b!r}",
                    b"GET / HTTP/1.1\r\n" + HOST + b"A: b" + b + b"c\r\n\r\n", 400)
            refused(f"chunk line with {b!r}", CHUNKED + b"3" + b + b"\r\nabc\r\n0\r\n\r\n", 400)
            refused(f"extension with {b!r}", CHUNKED + b"3;a" + b + b"\r\nabc\r\n0\r\n\r\n", 400)
            refused(f"trailer with {b!r}", CHUNKED + b"0\r\nA: b" + b + b"c\r\n\r\n", 400)


def refuse_fields():
    for fields in (
            b" A: b\r\n", b"\tA: b\r\n", b"A: b\r\n c\r\n", b"A: b\r\n\tc\r\n", b"A : b\r\n",
            b"A\t: b\r\n", b"A\r\n", b"A b\r\n", b": b\r\n", b":\r\n", b"A\r: b\r\n",
            b"A: b\nC: d\r\n", b"A: b\rC: d\r\n", b"A: b\r\r\n", b"\x00A: b\r\n", b"(A): b\r\n",
            b"A;: b\r\n", b"A/b: c\r\n", b"A: b\r\n:\r\n", b"A: b\r\n \r\n"):
        refused(f"fields {fields!r}", b"GET / HTTP/1.1\r\n" + HOST + fields + b"\r\n", 400)
    for hosts in (b"", HOST + HOST, HOST + b"host: h\r\n", b"Host: a, b\r\n", b"Host: a b\r\n",
                  b"Host: a/b\r\n", b"Host: a@b\r\n", b"Host: a?b\r\n", b"Host: a#b\r\n",
                  b"Host: [::1\r\n", b"Host: ::1\r\n", b"Host: a:b\r\n", b"Host: a:1:2\r\n",
                  b"Host: a:123456\r\n", b"Host: :80\r\n", b"Host: http://h\r\n"):
        refused(f"hosts {hosts!r}", b"GET / HTTP/1.1\r\n" + hosts + b"\r\n", 400)


def refuse_framing():
    for length in (b"", b" ", b"x", b"1x", b"+1", b"-1", b"1.0", b"1 0", b"1,", b",1", b"1,,1",
                   b"1;1", b"0x1", b"1e1", b"\"1\"", b"9223372036854775808",
                   b"18446744073709551617", b"1" * 40, b"1, 2", b"\xb2"):
        refused(f"length {length!r}", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " +
                length + b"\r\n\r\na", 400)
    refused("two lengths", b"POST / HTTP/1.1\r\n" + HOST +
            b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400)
    for coding, status in (
            (b"", 400), (b"identity", 400), (b"gzip", 400), (b"chunked, gzip", 400),
            (b"chunked, chunked", 400), (b"chunked;q=1", 400), (b"chunked chunked", 400),
            (b"xchunked", 400), (b"chunkedx", 400), (b"\"chunked\"", 400), (b"chunked\x0b", 400),
            (b"chunked, identity", 400), (b"[chunked]", 400), (b"gzip, chunked", 501),
            (b"identity, chunked", 501), (b"x;a=b, chunked", 501)):
        refused(f"coding {coding!r}", b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: " +
                coding + b"\r\n\r\n0\r\n\r\n", status)
    for both in (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                 b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
                 b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
                 b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                 b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n"):
        refused(f"framing {both!r}", b"POST / HTTP/1.1\r\n" + HOST + both + b"\r\n0\r\n\r\n", 400)
    refused("chunks in HTTP/1.0",
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400)


def refuse_chunks():
    for body in (
            b"\r\n", b"\n", b"g\r\n", b"0x1\r\na\r\n", b"+1\r\na\r\n", b"-1\r\na\r\n",
            b" 1\r\na\r\n", b"1 \r\na\r\n", b"1\t\r\na\r\n", b"1\na\r\n", b"1\r\na\n0\r\n\r\n",
            b"1\r\nab\r\n", b"1\r\na0\r\n", b"1\r\na\r0\r\n", b"2\r\na\r\n0\r\n\r\n",
            b"1\r\r\na\r\n", b"1;\r\na\r\n", b"1;;a\r\na\r\n", b"1;=b\r\na\r\n", b"1;a=\r\na\r\n",
            b"1;a=\"\r\na\r\n", b"1;a=\"b\"c\r\na\r\n", b"1;a b\r\na\r\n", b"1;a=b c\r\na\r\n",
            b"1 a\r\na\r\n", b"1,1\r\na\r\n", b"1.0\r\na\r\n", b"1_0\r\na\r\n",
            b"8000000000000000\r\n", b"ffffffffffffffff\r\n", b"10000000000000000\r\n",
            b"10000000000000001\r\na\r\n", b"f" * 17 + b"\r\n", b"0" * 4200 + b"1\r\na\r\n",
            b"1;" + b"a" * 4200 + b"\r\na\r\n", b"1;aaa\r\na\r\n" * 1100, b"\x001\r\na\r\n",
            b"0\r\n A: b\r\n\r\n", b"0\r\nA : b\r\n\r\n", b"0\r\nA: b\n\r\n", b"0\r\nA\r\n\r\n",
            b"0\r\n: b\r\n\r\n", b"0\r\n\n", b"0\r\n\rX", b"\xef\xbc\x911\r\na\r\n"):
        refused(f"chunks {body[:40]!r}", CHUNKED + body, 400)
    refused("a trailer section of more than 64 KiB",
            CHUNKED + b"0\r\n" + b"A: b\r\n" * 99 + b"C: " + b"d" * 70000 + b"\r\n\r\n", 431)
    refused("more than 100 trailers", CHUNKED + b"0\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431)


def refuse_sizes():
    refused("a request line of 8,193 bytes",
            b"GET /" + b"a" * (8193 - 16) + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414)
    refused("an endless request line", b"GET /" + b"a" * 100000, 414)
    refused("an endless method", b"G" * 100000, 414)
    refused("a header block of more than 64 KiB",
            b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 65536 + b"\r\n\r\n", 431)
    refused("an endless header line", b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"a" * 100000, 431)
    refused("101 header lines",
            b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n" * 100 + b"\r\n", 431)
    refused("an expectation", b"POST / HTTP/1.1\r\n" + HOST +
            b"Expect: more\r\nContent-Length: 1\r\n\r\na", 417)


# ---- What is answered ----

def accept_requests():
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get",
                   "M-SEARCH", "!#$%&'*+-.^_`|~09AZaz"):
        line = f"{method} /c HTTP/1.1\r\n".encode()
        echoed(f"method {method}", line + HOST + b"\r\n", b"", method)
    for target in ("/", "//", "/c?", "/?q=1&r=%20", "/%00%zz", "/a/../b/./c", "/;a=b", "/~u",
                   "/{}|\\^[]`\"<>", "http://h", "http://h/", "https://h:443/x?y", "HTTP://H?q",
                   "urn+x.y-1://h/", "http://[::1]:80/", "/" + "a" * 8000):
        line = f"GET {target} HTTP/1.1\r\n".encode()
        echoed(f"target {target[:40]}", line + HOST + b"\r\n", b"", "GET", target)
    echoed("OPTIONS *", b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", b"", "OPTIONS", "*")
    for hosts in (b"Host:\r\n", b"host: h\r\n", b"HOST:h:80\r\n", b"Host: \t[::1]:8080 \r\n",
                  b"Host: h:\r\n", b"Host: a%20b\r\n", b"Host: a_b.c-d~e\r\n"):
        echoed(f"hosts {hosts!r}", b"GET /c HTTP/1.1\r\n" + hosts + b"\r\n", b"", "GET")
    for fields in (b"A:b\r\n", b"A:\r\n", b"A: \t b \t \r\n", b"A: \xff\x80\r\n", b"A: b\tc\r\n",
                   b"A: \"(){}[],;\r\n", b"!#$%&'*+-.^_`|~: x\r\n", b"A: b\r\n" * 99,
                   b"A: " + b"a" * 65000 + b"\r\n", b"Connection: x, y\r\n",
                   b"Expect: 100-continue\r\n", b"TE: trailers\r\n", b"Upgrade: h2c\r\n"):
        data = b"GET /c HTTP/1.1\r\n" + HOST + fields + b"\r\n"
        echoed(f"fields {fields[:40]!r}", data, b"", "GET")
    for version in (b"HTTP/1.1", b"HTTP/1.2", b"HTTP/1.9", b"HTTP/1.0"):
        echoed(f"version {version!r}", b"GET /c " + version + b"\r\n" + HOST + b"\r\n", b"", "GET")
    echoed("HTTP/1.0 without Host", b"GET /c HTTP/1.0\r\n\r\n", b"", "GET")
    echoed("an empty line first", b"\r\nGET /c HTTP/1.1\r\n" + HOST + b"\r\n", b"", "GET")
    data = b"HEAD /c HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello" + GOOD
    head = answers("HEAD", data, [200, 200], methods=("HEAD", "GET"))
    checks.check("HEAD: length", head and head[0][1]["content-length"] == "5", head)


def accept_bodies():
    for size in (1, 2, 1000, 65536, 1 << 20, 3 << 20):
        body = bytes(i * 7 % 256 for i in range(min(size, 65536))) * (size // 65536 or 1)
        length = f"Content-Length: {len(body)}\r\n\r\n".encode()
        echoed(f"{size} bytes", b"POST /c HTTP/1.1\r\n" + HOST + length + body, body)
        step = max(1, size // 7)
        chunks = b"".join(b"%x;n=%d\r\n" % (len(body[i:i + step]), i) + body[i:i + step] + b"\r\n"
                          for i in range(0, len(body), step))
        echoed(f"{size} bytes in chunks", CHUNKED + chunks + b"0\r\n\r\n", body)
    for lengths in (b"Content-Length: 1\r\nContent-Length: 1\r\n", b"Content-Length: 1, 1\r\n",
                    b"Content-Length: 0000000000000000000000000000001\r\n",
                    b"content-length:1\r\n"):
        echoed(f"lengths {lengths!r}", b"POST /c HTTP/1.1\r\n" + HOST + lengths + b"\r\na", b"a")
    for coding in (b"chunked", b"Chunked", b" \tCHUNKED \t", b", chunked", b"chunked ,, "):
        echoed(f"coding {coding!r}", b"POST /c HTTP/1.1\r\n" + HOST + b"transfer-encoding:" +
               coding + b"\r\n\r\n1\r\na\r\n0\r\n\r\n", b"a")
    for chunks in (b"0000000001\r\na\r\n0\r\n\r\n", b"1;a\r\na\r\n000;b=c\r\n\r\n",
                   b"1 ; a = b ; c = \"d;\\\"\r\n"[:-2] + b"\"\r\na\r\n0\r\n\r\n",
                   b"1;a=\"\xff\t \"\r\na\r\n0\r\n\r\n", b"1\r\na\r\n0\r\nA: b\r\nC:\r\n\r\n",
                   b"1\r\na\r\n0\r\nContent-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
                   b"1;" + b"a" * 4000 + b"\r\na\r\n0\r\n\r\n"):
        echoed(f"chunks {chunks[:40]!r}", CHUNKED + chunks, b"a")
    echoed("no chunk but the last", CHUNKED + b"0\r\n\r\n", b"")


def accept_pieces():
    data = (b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
            b"5;x=\"y\"\r\nhello\r\n6\r\n world\r\n0\r\nA: b\r\n\r\n")
    for pieces in (1, 2, 3, 7, 50):
        echoed(f"pieces of {pieces}", data, b"hello world", pieces=pieces)


def keep_connections():
    many = b"".join(b"POST /%d HTTP/1.1\r\n" % i + HOST + b"Content-Length: 3\r\n\r\n%03d" % i
                    for i in range(200))
    got = answers("200 at once", many, [200] * 200)
    checks.check("200 at once: in order", [a[1]["x-target"] for a in got] ==
                 [f"/{i}" for i in range(200)] and [a[2] for a in got] ==
                 [b"%03d" % i for i in range(200)])
    got = answers("close ends it", b"GET /1 HTTP/1.1\r\n" + HOST + b"Connection: Close\r\n\r\n" +
                  GOOD, [200], end=False)
    checks.check("close ends it: says so", got and got[0][1]["connection"] == "close", got)
    got = answers("HTTP/1.0 ends it", b"GET /1 HTTP/1.0\r\n\r\n" + GOOD, [200], end=False)
    checks.check("HTTP/1.0 ends it: says so", got and got[0][1]["connection"] == "close", got)
    got = answers("HTTP/1.0 keeps it when asked",
                  b"GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2, [200, 200])
    checks.check("HTTP/1.0 keeps it: says so",
                 all(a[1]["connection"] == "keep-alive" for a in got), got)
    answers("an empty line behind a body",
            b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\n\r\na\r\n" + GOOD, [200, 200])
    answers("nothing at all", b"", [])
    answers("an empty line", b"\r\n", [])
    answers("half a head", GOOD[:-2], [400])
    answers("half a body", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 2\r\n\r\na", [400])
    answers("half a chunk", CHUNKED + b"2\r\na", [400])
    answers("no last chunk", CHUNKED + b"1\r\na\r\n", [400])


def expect_continue():
    head = b"POST /c HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), 10) as s:
        for _ in range(2):
            s.sendall(head)
            got = s.recv(1000)
            checks.check("100 first", got == b"HTTP/1.1 100 Continue\r\n\r\n", got)
            s.sendall(b"hello")
            got = s.recv(1000)
            checks.check("then 200", parse_answers(got, ("POST",))[0][2] == b"hello", got)
    answers("no 100 for who does not wait", head + b"hello", [200])
    answers("no 100 for HTTP/1.0", head.replace(b"1.1", b"1.0") + b"hello", [200])


# ---- The end of a connection whose client is still sending (RFC 9112 9.6) ----

def still_sending():
    """The whole answer arrives, not a reset."""
    for name, head, status in (
            ("chunks", CHUNKED + b"zz\r\n", 400),
            ("no Host", b"POST / HTTP/1.1\r\nContent-Length: 4194304\r\n\r\n", 400),
            ("a long target", b"GET /" + b"a" * 9000, 414),
            ("a long head", b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"b" * 70000, 431),
            ("close", b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n", 200)):
        answers(f"still sending: {name}", head + b"x" * (4 << 20), [status], pieces=65536)


# ---- curl ----

def with_curl(url, *options):
    curl = shutil.which("curl")
    if not curl:
        return

    def run(name, *arguments, ok):
        done = subprocess.run([curl, "-sS", "--max-time", "30", *options, *arguments],
                              capture_output=True, check=False)
        checks.check(f"curl {name}", done.returncode == 0 and ok(done.stdout),
                     f"{done.returncode} {done.stdout[:300]!r} {done.stderr!r}")

    big = os.urandom(5_000_000)
    with tempfile.NamedTemporaryFile() as f:
        f.write(big)
        f.flush()
        run("get", f"{url}a?b", ok=lambda out: out == b"")
        run("headers", "-i", f"{url}a?b", ok=lambda out: b"X-Target: /a?b\r\n" in out)
        run("head", "-I", f"{url}a", ok=lambda out: out.startswith(b"HTTP/1.1 200 OK\r\n"))
        run("post", "-d", "hello", url, ok=lambda out: out == b"hello")
        run("put a file", "-T", f.name, url, ok=lambda out: out == big)
        run("post chunks", "-H", "Transfer-Encoding: chunked", "--data-binary", f"@{f.name}", url,
            ok=lambda out: out == big)
        run("expect", "-H", "Expect: 100-continue", "-d", "x", url, ok=lambda out: out == b"x")
        run("http 1.0", "-0", "-d", "x", url, ok=lambda out: out == b"x")
        run("one connection for three", "-v", url, f"{url}2", f"{url}3", "-w", "%{num_connects}",
            ok=lambda out: out == b"100")
        run("a method", "-X", "BREW", "-i", url, ok=lambda out: b"X-Method: BREW\r\n" in out)
        run("options *", "-X", "OPTIONS", "--request-target", "*", "-i", url,
            ok=lambda out: b"X-Target: *\r\n" in out)


def check_help():
    done = subprocess.run([f"{os.environ['BECK_BUILD']}/examples/http_echo", "--help"],
                          capture_output=True, text=True, check=False)
    checks.check("--help", done.returncode == 0 and done.stdout.startswith("usage:"), done)


def main():
    global server
    parts = [refuse_request_lines, refuse_bytes, refuse_fields, refuse_framing, refuse_chunks,
             refuse_sizes, accept_requests, accept_bodies, accept_pieces, keep_connections,
             expect_continue, still_sending]
    wanted = sys.argv[1:]
    with EchoServer(name="http_echo") as echo:
        server = Server(echo)
        for part in parts:
            if not wanted or part.__name__ in wanted:
                part()
        with_curl(echo.url)
    with tempfile.TemporaryDirectory() as folder:
        cert, key = make_certificate(folder)
        with EchoServer(cert, key, name="http_echo") as echo:
            with_curl(echo.url, "--cacert", cert)
    check_help()
    checks.end()


if __name__ == "__main__":
    main()
