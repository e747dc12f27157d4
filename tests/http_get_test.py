#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""http_get and raw bytes: answers good, odd and broken, redirects, URLs, proxies.

What comes on standard output, whether the exit status is 0 (a whole 2xx, and nothing else), what is
said on standard error, in one line, and what the server was asked for.
"""
# limit 180

import concurrent.futures
import gzip
import os
import socket
import subprocess
import sys
import threading
import zlib

from ws_programs import BUILD, Checks

checks = Checks()
cases = []
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY",
           "ALL_PROXY", "NO_PROXY")
OK = b"HTTP/1.1 200 OK\r\n"
HI = OK + b"Content-Length: 2\r\n\r\nhi"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Script:
    """A server that gives its answers one after the other, each on a connection of its own (all on
    one when together is set), and keeps what it was asked."""

    def __init__(self, answers, together=False, family=socket.AF_INET, address="127.0.0.1"):
        self.answers, self.together, self.asked, self.count = list(answers), together, [], 0
        self.listener = socket.socket(family)
        self.listener.bind((address, 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while self.answers:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            self.count += 1
            connection.settimeout(30)
            try:
                while self.answer(connection) and self.together:
                    pass
            except OSError:
                pass
            connection.close()

    def answer(self, connection):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = connection.recv(65536)
            if not piece:
                return False
            head += piece
        self.asked.append(head)
        answer = self.answers.pop(0)
        for piece in answer if isinstance(answer, list) else [answer]:
            connection.sendall(piece)
        return bool(self.answers)

    def close(self):
        self.listener.close()


def run(url, *arguments, env=None):
    clean = {k: v for k, v in os.environ.items() if k not in PROXIES}
    done = subprocess.run([f"{BUILD}/examples/http_get", url, *arguments], capture_output=True,
                          timeout=120, env={**clean, **(env or {})})
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def one(name, answers, body, says, asked, url, env, server):
    script = Script(answers, **server)
    try:
        env = {k: v.replace("PORT", str(script.port)) for k, v in env.items()}
        status, out, said = run(url.replace("PORT", str(script.port)), env=env)
    finally:
        script.close()
    good = says is None
    want = b"" if body is None else body
    ok = (status == 0) == good and status in (0, 1) and (out == want or (body is None and not good))
    ok = ok and (said == "" if good else says in said and said.count("\n") == 1)
    ok = ok and "secret" not in said
    # the server's thread notes a request before it answers it
    lines = [head.split(b"\r\n") for head in script.asked]
    if asked is not None:
        asked = [line.replace("PORT", str(script.port)).encode() for line in asked]
        found = all(a in head for a, head in zip(asked, lines))
        ok = ok and found and len(asked) == len(lines)
    return name, ok, f"exit {status}, {out[:60]!r}, {said.strip()!r}, asked {lines}"


def case(name, *answers, body=None, says=None, asked=None, url="http://127.0.0.1:PORT/x",
         env=None, **server):
    """says: a part of what is said when it fails; None: it succeeds.  asked: a line of each request
    in turn.  body: of standard output; for what fails, None is anything."""
    cases.append((name, answers, body, says, asked, url, env or {}, server))


def good(name, *answers, body=b"hi", **more):
    case(name, *answers, body=body, **more)


# ---- Where a body ends (RFC 9112 6.3) ----

def framing():
    good("a length", HI)
    good("bytes behind the body", HI + b"HTTP/1.1 500 No\r\n\r\n")
    good("until the connection ends", OK + b"\r\nhi")
    good("HTTP/1.0, until the connection ends", b"HTTP/1.0 200 OK\r\n\r\nhi")
    good("nothing", OK + b"Content-Length: 0\r\n\r\n", body=b"")
    good("204 has no body", b"HTTP/1.1 204 None\r\nContent-Length: 2\r\n\r\nhi", body=b"")
    good("204, whatever its fields say", b"HTTP/1.1 204 None\r\nContent-Length: x\r\n"
         b"Transfer-Encoding: gzip\r\n\r\n", body=b"")
    good("other 2xx", b"HTTP/1.1 206 Part\r\nContent-Length: 2\r\n\r\nhi")
    good("the same length twice", OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi")
    good("the same length in a list", OK + b"Content-Length: 2, 2\r\n\r\nhi")
    case("fewer bytes than told", OK + b"Content-Length: 3\r\n\r\nhi", body=b"hi",
         says="ended in the middle of a body")
    for value in (b"", b"-1", b"+2", b"2;", b"0x2", b"2 2", b"2,", b"2.0", b"9" * 19, b"two"):
        case(f"length {value!r}", OK + b"Content-Length: " + value + b"\r\n\r\nhi", body=b"",
             says="Content-Length is not a number")
    case("two lengths", OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi", body=b"",
         says="two Content-Length values differ")
    case("a length and chunks", OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
         b"2\r\nhi\r\n0\r\n\r\n", body=b"", says="both Content-Length and Transfer-Encoding")
    case("chunks in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         b"2\r\nhi\r\n0\r\n\r\n", body=b"", says="Transfer-Encoding in an HTTP/1.0 message")
    for coding, says in (("gzip", "a transfer coding other than chunked"),
                         ("gzip, chunked", "a transfer coding other than chunked"),
                         ("chunked, gzip", "a transfer coding other than chunked"),
                         ("identity", "a transfer coding other than chunked"),
                         ("chunked, chunked", "Transfer-Encoding is malformed"),
                         ("chunked;a=b", "Transfer-Encoding is malformed"),
                         ("", "Transfer-Encoding is malformed")):
        case(f"coding {coding!r}", OK + b"Transfer-Encoding: " + coding.encode() +
             b"\r\n\r\n2\r\nhi\r\n0\r\n\r\n", body=b"", says=says)


def chunks():
    good("chunks", CHUNKED + b"1\r\nh\r\n00001\r\ni\r\n0\r\n\r\n")
    good("the coding's case", OK + b"Transfer-Encoding: , Chunked ,\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
    good("extensions", CHUNKED + b"2;a;b=c; d = \"e;\\\"\r\"".replace(b"\r", b" ") +
         b"\r\nhi\r\n0;z\r\n\r\n")
    good("blanks behind a size", CHUNKED + b"2 \t\r\nhi\r\n0\r\n\r\n")
    good("trailers", CHUNKED + b"2\r\nhi\r\n0\r\nContent-Length: 9\r\nX: y\r\n z\r\n\r\n")
    good("byte by byte", [bytes([b]) for b in CHUNKED + b"2\r\nhi\r\n0\r\nA: b\r\n\r\n"])
    for body, out in ((b"2\r\nhi\r\n0\r\n", b"hi"), (b"2\r\nhi\r\n0\r\nX: y\r\n", b"hi"),
                      (b"2\r\nhi\r\n", b"hi"), (b"5\r\nhi", b"hi"), (b"2", b""), (b"", b"")):
        case(f"chunks that break off: {body!r}", CHUNKED + body, body=out,
             says="ended in the middle of a body")
    for line in (b"zz", b"-2", b"+2", b" 2", b"", b"10000000000000002", b"f" * 16):
        case(f"size {line!r}", CHUNKED + line + b"\r\nhi\r\n0\r\n\r\n", body=b"",
             says="a chunk's size is not a hexadecimal number")
    case("a chunk that is longer", CHUNKED + b"2\r\nhi!\r\n0\r\n\r\n", body=b"hi",
         says="a chunk does not end where its size says")
    case("bare line feeds", CHUNKED + b"2\nhi\n0\n\n", body=b"", says="bare line feed")
    for line in (b"2;=", b"2;a=\"", b"2 a", b"0x2", b"2,2"):
        case(f"extension {line!r}", CHUNKED + line + b"\r\nhi\r\n0\r\n\r\n", body=b"",
             says="a chunk extension is malformed")
    case("endless extensions", CHUNKED + b"2;" + b"a" * 9000 + b"\r\nhi\r\n0\r\n\r\n", body=b"",
         says="chunk extensions are over their limit")
    case("endless trailers", CHUNKED + b"2\r\nhi\r\n0\r\n" + b"A: b\r\n" * 200 + b"\r\n",
         body=b"hi", says="more header fields than the limit")


# ---- Heads (RFC 9112 2.2, 4, 5) ----

def heads():
    for line in (b"HTTP/1.1 200", b"HTTP/1.1 200 ", b"HTTP/1.2 200 OK", b"HTTP/1.0 299 Fine",
                 b"HTTP/1.1 200 \xe4\xff\t!"):
        good(f"status line {line!r}", line + b"\r\nContent-Length: 2\r\n\r\nhi")
    for line in (b"HTTP/1.1  200 OK", b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 OK",
                 b"HTTP/1.1\t200 OK", b"HTTP/1.1 200OK", b"HTTP/1.1 2x0 OK", b"HTTP/1.1 +20 OK",
                 b"ICY 200 OK, fine", b"HTTP/2 200 OK", b"", b"\r\nHTTP/1.1 200 OK"):
        case(f"status line {line!r}", line + b"\r\nContent-Length: 2\r\n\r\nhi", body=b"",
             says="the status line is malformed")
    for version in (b"HTTP/2.0", b"HTTP/0.9", b"HTTP/3.1"):
        case(f"{version!r}", version + b" 200 OK\r\nContent-Length: 2\r\n\r\nhi", body=b"",
             says="the HTTP version is not 1.x")
    case("http/1.1", HI.replace(b"HTTP", b"http"), body=b"", says="the HTTP version is malformed")
    good("lines that end with a line feed", HI.replace(b"\r\n", b"\n"))
    good("folds", OK + b"A: b\r\n c\r\nContent-Length:\r\n\t2\r\n \r\n\r\nhi")
    good("names in any case, no blanks", OK + b"cOnTeNt-LeNgTh:2\r\n\r\nhi")
    case("a carriage return alone", HI.replace(b"\r\n", b"\r"), body=b"",
         says="a carriage return without a line feed")
    for field, says in ((b"A: b\0c", "control character"), (b"A: b\rc", "carriage return without"),
                        (b" A: b", "starts with white space"), (b"A : b", "not a token"),
                        (b"Content-Length : 2", "not a token"), (b": b", "not a token"),
                        (b"A", "not a token"), (b"A\xe4: b", "not a token"),
                        (b"A: b\x7f", "control character")):
        case(f"field {field!r}", OK + field + b"\r\nContent-Length: 2\r\n\r\nhi", body=b"",
             says=says)
    case("101 fields", OK + b"A: b\r\n" * 101 + b"\r\nhi", body=b"",
         says="more header fields than the limit")
    good("100 fields", OK + b"A: b\r\n" * 99 + b"Content-Length: 2\r\n\r\nhi")
    case("a head of more than 64 KiB", OK + b"A: " + b"b" * 66000 + b"\r\n\r\n", body=b"",
         says="the header block is over its limit")
    case("a status line of more than 8 KiB", b"HTTP/1.1 200 " + b"b" * 9000 + b"\r\n\r\n", body=b"",
         says="the status line is over its limit")
    case("no answer", b"", body=b"", says="closed the connection without an answer")
    case("half a head", OK + b"Content-Length: 2\r\n", body=b"", says="in the middle of a head")
    case("HTTP/0.9", b"<html>hi</html>", body=b"", says="in the middle of a head")
    for informational in (b"100 Continue", b"102 Processing", b"103 Hints\r\nContent-Length: 9"):
        good(f"{informational!r} first", b"HTTP/1.1 " + informational + b"\r\n\r\n" + HI)
    good("20 of them", b"HTTP/1.1 100 Go\r\n\r\n" * 20 + HI)
    case("21 of them", b"HTTP/1.1 100 Go\r\n\r\n" * 21 + HI, body=b"",
         says="too many informational responses")
    case("one and no other", b"HTTP/1.1 100 Go\r\n\r\n", body=b"", says="without an answer")
    case("101 that nobody asked for", b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n"
         b"\r\nhi", body=b"", says="a protocol nobody asked for")
    for status in (b"300 Choose", b"304 Old", b"404 Not Found", b"500 Oops", b"999 Odd"):
        out = b"" if status[:3] == b"304" else b"hi"
        case(f"{status!r}", b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nhi", body=out,
             says=f"the server answered {status.decode()}")


# ---- Compression (RFC 9110 8.4) ----

def compression():
    def coded(coding, body):
        return OK + b"Content-Encoding: " + coding.encode() + b"\r\n\r\n" + body

    packed, text = gzip.compress(b"hello"), b"hello"
    bare = zlib.compressobj(9, zlib.DEFLATED, -15)
    bare = bare.compress(text) + bare.flush()
    for coding, body in (("gzip", packed), ("x-gzip", packed), ("GZip", packed),
                         ("deflate", zlib.compress(text)), ("deflate", bare), ("identity", text),
                         ("gzip, gzip", gzip.compress(packed)), ("identity, gzip", packed),
                         ("deflate, gzip", gzip.compress(zlib.compress(text))),
                         ("gzip", gzip.compress(b"he") + gzip.compress(b"llo"))):
        good(f"{coding}, {len(body)} bytes", coded(coding, body), body=text)
    good("nothing, compressed", coded("gzip", b""), body=b"")
    good("a coding nobody asked for is left", coded("br", b"raw"), body=b"raw")
    case("cut, compressed", coded("gzip", packed[:-9]), says="ended in the middle")
    case("a wrong checksum", coded("gzip", packed[:-8] + bytes(8)), says="damaged")
    case("not compressed", coded("gzip", text), body=b"", says="the gzip body is damaged")
    case("more behind it", coded("gzip", packed + b"junk"), says="damaged")
    case("three times compressed", coded("gzip, gzip, gzip", packed), body=b"",
         says="compressed more than 2 times")


# ---- Redirects (RFC 9110 15.4, RFC 3986 5) ----

def to(where, status=302):
    return b"HTTP/1.1 %d Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % (status, where)


def redirects():
    for status in (301, 302, 303, 307, 308):
        good(f"{status}", to(b"/y", status), HI, asked=["GET /x HTTP/1.1", "GET /y HTTP/1.1"])
    for status in (300, 304, 305, 306):
        case(f"{status} is not followed", to(b"/y", status), body=b"",
             says=f"the server answered {status}")
    base = "http://127.0.0.1:PORT/a/b/c?d=e#f"
    for where, path in ((b"y", "/a/b/y"), (b"./y/.", "/a/b/y/"), (b"../y", "/a/y"),
                        (b"../../../y", "/y"), (b"?q", "/a/b/c?q"), (b"", "/a/b/c?d=e"),
                        (b"#z", "/a/b/c?d=e"), (b"/y#z", "/y"), (b"/y z", "/y%20z"),
                        (b"/\xc3\xa4", "/%C3%A4"), (b"y?/../z", "/a/b/y?/../z"),
                        (b"\t /y \t", "/y"), (b"y:z", None)):
        if path:
            good(f"to {where!r}", to(where), HI, url=base, together=True,
                 asked=["GET /a/b/c?d=e HTTP/1.1", f"GET {path} HTTP/1.1"])
    for where in (b"http:y", b"http:", b"http:/y", b"http:///y", b"http://", b"ftp://h/",
                  b"file:///etc/passwd", b"javascript:1", b"ws://127.0.0.1/", b"y:z", b"/a\tb",
                  b"http://[::1/", b"http://h:99999/", b"http://h:0/", b"http://a%2fb/"):
        case(f"to {where!r}", to(where), body=b"",
             says="redirected to something else than an HTTP URL: ")
    case("to nowhere", b"HTTP/1.1 302 Go\r\nContent-Length: 0\r\n\r\n", body=b"", says="302 Go")
    case("to two places", b"HTTP/1.1 302 Go\r\nLocation: /a\r\nLocation: /b\r\n"
         b"Content-Length: 0\r\n\r\n", body=b"", says="302 Go")
    good("five", *[to(b"/x")] * 5, HI, together=True)
    case("in circles", *[to(b"/x")] * 9, body=b"", says="more than 5 redirects", together=True)
    login = "Authorization: Basic dUB4OnNlY3JldA=="  # u@x:secret
    good("with a password", to(b"/y"), HI, url="http://u%40x:secret@127.0.0.1:PORT/x",
         asked=[login, login])
    case("with a password, in vain", b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", asked=[login],
         url="http://u%40x:secret@127.0.0.1:PORT/x?key=secret#secret", says="403 No")


# ---- URLs ----

def urls():
    for url, target, host in (
            ("http://127.0.0.1:PORT", "/", "127.0.0.1"),
            ("HTTP://127.0.0.1:PORT?q", "/?q", "127.0.0.1"),
            ("http://127.0.0.1:PORT/a/../b//c#d", "/a/../b//c", "127.0.0.1"),
            ("http://127.0.0.1:PORT/%7e%41?%20", "/%7e%41?%20", "127.0.0.1"),
            ("http://%31%32%37.0.0.1:PORT/", "/", "127.0.0.1"),
            ("http://localhost:PORT/", "/", "localhost"),
            ("http://LocalHost.:PORT/", "/", "localhost."),
            ("http://a.b.localhost:PORT/", "/", "a.b.localhost"),
            ("http://[::ffff:127.0.0.1]:PORT/", "/", "[::ffff:127.0.0.1]")):
        good(url, HI, url=url, asked=[f"GET {target} HTTP/1.1"])
        good(f"{url}: Host", HI, url=url, asked=[f"Host: {host}:PORT"])
    for url, says in (
            ("http://127.0.0.1:65536/", "a port is at most 65535"), ("http://h:-1/", "digits"),
            ("http://h:0/", "there is no port 0"), ("http://", "the host is missing"),
            ("http:///x", "the host is missing"), ("http:x", "the host is missing"),
            ("x", "must begin with a scheme"), ("", "it is empty"), ("//h/", "scheme"),
            ("ftp://h/", "not a URL with http:// or https://"), ("http://h h/", "in the host"),
            ("http://b\xfccher/", "xn--"), ("http://b%C3%BCcher/", "xn--"),
            ("http://[::1", "'[' without ']'"), ("http://[h]/", "not an IPv6 address"),
            ("http://[::1%lo]/", "a zone is written as %25"), ("http://h/a b", "write %20"),
            ("http://h/\xe4", "write %C3"), ("http://h/%zz", "two hex digits"),
            ("http://h/a\r\nX: y", "write %0D"), ("http://h%0d%0a/", "that no name holds"),
            ("http://u:secret@a@h/", "in the host"), ("http://127.1/", "not an IPv4 address"),
            ("http://0x7f000001/", "not an IPv4 address"), ("http://" + "h" * 256, "255 bytes"),
            ("http://nobody.invalid/", "nobody.invalid"),
            ("http://127.0.0.1:1/", "Connection refused"),
            ("https://127.0.0.1:PORT/?secret", "TLS")):
        case(f"{url[:40]!r}", HI, url=url, body=b"", says=says)


def ipv6():
    try:
        Script([], family=socket.AF_INET6, address="::1").close()
    except OSError:
        print("no IPv6 here: passed over")
        return
    where = {"family": socket.AF_INET6, "address": "::1"}
    good("IPv6", HI, url="http://[::1]:PORT/", **where)
    good("IPv6, a zone", HI, url="http://[::1%25lo]:PORT/", asked=["Host: [::1]:PORT"], **where)
    good("localhost is both", HI, url="http://localhost:PORT/", **where)


# ---- Proxies ----

def proxies():
    by = {"http_proxy": "http://joe:secret@127.0.0.1:PORT", "https_proxy": "127.0.0.1:PORT"}
    login = "Proxy-Authorization: Basic am9lOnNlY3JldA=="
    good("a proxy", HI, url="http://h.invalid:81/x?y", env=by,
         asked=["GET http://h.invalid:81/x?y HTTP/1.1"])
    good("a proxy: its password", HI, url="http://h.invalid/", env=by, asked=[login])
    case("a proxy: 407", b"HTTP/1.1 407 Who?\r\nContent-Length: 0\r\n\r\n", env=by,
         url="http://h.invalid/", body=b"", says="407 Who?")
    for answer, says in ((b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", "it answered 403 No"),
                         (b"HTTP/1.1 407 Who?\r\n\r\n", "it answered 407 Who?"),
                         (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "it answered 502 Bad Gateway"),
                         (b"", "it closed the connection"), (b"HTTP/1.1 2", "it closed"),
                         (b"SSH-2.0-x\r\n", "the status line is malformed"),
                         (b"HTTP/1.1 200 Yes\r\n\r\nnot TLS at all", "TLS"),
                         (b"HTTP/1.1 200 Yes\r\nContent-Length: x\r\n\r\n", "TLS")):
        case(f"a tunnel: {answer!r}", answer, env=by, url="https://h.invalid/?secret", body=b"",
             says=says, asked=["CONNECT h.invalid:443 HTTP/1.1"])
    case("no proxy there", env={"http_proxy": "http://127.0.0.1:1"}, url="http://h.invalid/",
         body=b"", says="127.0.0.1:1: Connection refused")
    case("not a proxy", env={"http_proxy": "socks5://u:secret@h"}, url="http://h.invalid/",
         body=b"", says="proxy: socks5://")
    good("no_proxy", HI, env={**by, "http_proxy": "http://127.0.0.1:1", "no_proxy": "127.0.0.0/8"})


def usage():
    for arguments in ([], ["--nothing"], ["http://h/", "http://h/"], ["http://h/", "--cacert"]):
        done = subprocess.run([f"{BUILD}/examples/http_get", *arguments], capture_output=True,
                              timeout=60)
        checks.check(f"usage {arguments}", done.returncode == 2 and not done.stdout and
                     b"--help" in done.stderr, done)
    for arguments in (["--cacert", "/nowhere"], ["--cert", "/nowhere", "--key", "/nowhere"]):
        status, out, said = run("https://127.0.0.1:1/", *arguments)
        checks.check(f"usage {arguments}", status == 1 and not out and "/nowhere" in said, said)


def main():
    for part in (framing, chunks, heads, compression, redirects, urls, ipv6, proxies):
        if not sys.argv[1:] or part.__name__ in sys.argv[1:]:
            part()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for name, ok, detail in pool.map(lambda c: one(*c), cases):
            checks.check(name, ok, detail)
    usage()
    checks.end()


main()
