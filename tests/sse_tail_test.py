#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""sse_tail against a server that sends what a case says, to the byte (WHATWG HTML 9.2); sse_clock.

A case is a list of answers, one for each request that comes; each is a list of pieces, which are
sent one by one.  The connection ends after the last piece."""
# limit 300

import concurrent.futures
import gzip
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import zlib

from ws_programs import BUILD, Checks, make_certificate

checks = Checks()
OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
STREAM = OK + b"\r\nretry: 1\n\n"
DONE = b"event: done\ndata\n\n"
GONE = b"HTTP/1.1 204 No Content\r\n\r\n"


class Server:
    """Answers what it is told to: .url, .asked (the heads of the requests)."""

    def __init__(self, answers, tls=None):
        self.answers, self.tls, self.asked = answers, tls, []
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            try:
                if self.tls:
                    client = self.tls.wrap_socket(client, server_side=True)
                self.answer(client)
            except OSError:
                pass
            client.close()  # without a goodbye, too

    def answer(self, client):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            part = client.recv(65536)
            if not part:
                return
            head += part
        self.asked.append(head)
        pieces = self.answers[min(len(self.asked), len(self.answers)) - 1]
        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
            if callable(piece):
                piece(client)
            else:
                client.sendall(piece.replace(b"BASE", self.url.encode()))

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def pause(_):
    """What was sent so far mostly arrives by itself."""
    os.sched_yield()


def bytewise(data):
    for i in range(len(data)):
        yield data[i:i + 1]
        yield pause


def tail(answers, path="/events", options=(), tls=None):
    """(exit status, events, what it said, requests)"""
    server = Server(answers, tls)
    command = [f"{BUILD}/examples/sse_tail", *options, server.url + path]
    try:
        done = subprocess.run(command, capture_output=True, timeout=100)
    except subprocess.TimeoutExpired as late:
        done = subprocess.CompletedProcess(command, None, late.stdout or b"", b"it goes on")
    server.close()
    try:
        events = [json.loads(line) for line in done.stdout.decode().splitlines()]
    except ValueError as error:
        events = f"{error} in {done.stdout}"
    return done.returncode, events, done.stderr.decode(), server.asked


def event(data, kind="message", last=""):
    return {"type": kind, "data": data, "id": last}


# ---- What a stream means: body, and the (data, type, id) of its events ----

FFFD = "\ufffd"
STREAMS = {
    "one event": (b"data: a\n\n", ["a"]),
    "a mark at the start": (b"\xef\xbb\xbfdata: a\n\n", ["a"]),
    "two marks": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", ["b"]),
    "a mark later": (b"data: a\n\n\xef\xbb\xbfdata: b\n\ndata: c\n\n", ["a", "c"]),
    "a mark in the data": (b"data:\xef\xbb\xbfa\n\n", ["\ufeffa"]),
    "half a mark": (b"\xef\xbb" b"data: a\n\ndata: b\n\n", ["b"]),
    "line ends": (b"data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\ndata: e\rdata: f\n\r\n"
                  b"data: g\n\rdata: h\r\n\n", ["a", "b", "c", "d\ne\nf", "g", "h"]),
    "comments": (b":\n: x\n:data: no\n\n:" + b"x" * 2000 + b"\ndata:1\n:y\ndata:2\n\n", ["1\n2"]),
    "no colon": (b"data\n\ndata\ndata\n\ndatas\ndata:x\n\n", ["", "\n", "x"]),
    "one space goes": (b"data:a\n\ndata: b\n\ndata:  c\n\ndata:\td\n\ndata: \n\n",
                       ["a", "b", " c", "\td", ""]),
    "spaces elsewhere stay": (b"data: a \n\n data: b\n\ndata : c\n\ndata:x:y: z\n\n",
                              ["a ", "x:y: z"]),
    "names are exact": (b"Data: a\nDATA: b\nEvent: c\ndata: d\n\n", ["d"]),
    "unknown fields": (b"foo: a\n\xff\x00: b\nid2: c\nretry2: 1\n:\ndata: d\n\n", ["d"]),
    "types": (b"event: a\ndata: 1\n\ndata: 2\n\nevent: b\nevent: c\ndata: 3\n\nevent: d\nevent:\n"
              b"data: 4\n\nevent\ndata: 5\n\nevent:  e \ndata: 6\n\n",
              [("1", "a"), "2", ("3", "c"), "4", "5", ("6", " e ")]),
    "no data, no event": (b"event: a\n\ndata: 1\n\n\n\n\nid: 5\nevent: x\n\ndata: 2\n\n",
                          ["1", ("2", "message", "5")]),
    "ids": (b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\nid:2\nid: 3\ndata: d\n\nid: x\0y\n"
            b"data: e\n\nid:\ndata: f\n\nid: 4 \ndata: g\n\n",
            [("a", "message", "1"), ("b", "message", "1"), "c", ("d", "message", "3"),
             ("e", "message", "3"), "f", ("g", "message", "4 ")]),
    "empty data": (b"data:\n\ndata: \n\ndata:\ndata:\n\n", ["", "", "\n"]),
    "NUL": (b"data: a\0b\n\ndata\0: c\n\nevent: t\0\ndata: d\n\n", ["a\0b", ("d", "t\0")]),
    "controls": (b"data: " + bytes(range(1, 10)) + b"\x0b\x0c" + bytes(range(14, 32)) + b"\x7f\n\n",
                 ["".join(map(chr, [*range(1, 10), 11, 12, *range(14, 32), 127]))]),
    "quotes": (b'data: "\\/\xe2\x80\xa8\n\nevent: "\nid: \\\ndata: x\n\n',
               ['"\\/\u2028', ("x", '"', "\\")]),
    "UTF-8": ("data: ä€😀ok\nid: ü\nevent: ж\n\n".encode(), [("ä€😀ok", "ж", "ü")]),
    "no UTF-8": (b"data: \xff.\xc3\ndata: \xe2\x82.\xf0\x9f\x98\ndata: \xed\xa0\x80\xc0\xaf\n"
                 b"event: \x80\nid: \xfe\n\n",
                 [(f"{FFFD}.{FFFD}\n{FFFD}.{FFFD}\n" + 5 * FFFD, FFFD, FFFD)]),
    "other line ends are none": ("data: a\u2028b\u0085c\x0bd\n\n".encode(),
                                 ["a\u2028b\u0085c\x0bd"]),
    "bogus retries": (b"retry: 1\nretry: x\nretry:\nretry\nretry: -5\nretry: 1000x\nretry: 1e9\n"
                      b"retry: 3 \nretry:  3\nretry: +3\nretry: 0x10\ndata: a\n\n", ["a"]),
    "a huge line": (b"data: " + b"x" * ((1 << 20) - 6) + b"\n\n", ["x" * ((1 << 20) - 6)]),
    "a huge event": ((b"data: " + b"x" * 65535 + b"\n") * 64 + b"\n",
                     ["\n".join(["x" * 65535] * 64)]),
    "many events": (b"".join(b"data: %d\n\n" % i for i in range(20000)),
                    [str(i) for i in range(20000)]),
}


def want_of(events):
    return [event(e) if isinstance(e, str) else event(*e) for e in events]


def check_stream(name):
    body, events = STREAMS[name]
    want = want_of(events)
    last = want[-1]["id"] if want else ""
    want.append(event("", "done", last))
    ways = {"": [OK + b"\r\n" + body + DONE]}
    if len(body) < 300:
        ways[", byte by byte"] = [[OK + b"\r\n", *bytewise(body + DONE)]]
    for way, answers in ways.items():
        code, got, said, _ = tail(answers)
        checks.check(name + way, code == 0 and got == want, f"exit {code}: {str(got)[:900]} {said}")


# ---- How connections go: answers, events, exit status, and what is asked or said ----

def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def squeezed(wbits, *parts):
    """Each part flushed, as a server must that wants it to arrive."""
    packer = zlib.compressobj(wbits=wbits)
    return [piece for part in parts
            for piece in (packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH), pause)]


def until_gone(client):
    """Only sse_tail can end this connection."""
    client.settimeout(60)
    try:
        client.recv(1)
    except OSError:
        pass


def to(status, where="BASE/new", more=b""):
    return (f"HTTP/1.1 {status} Elsewhere\r\nLocation: {where}\r\n"
            f"Content-Length: {len(more)}\r\n\r\n").encode() + more


def typed(value):
    return b"HTTP/1.1 200 OK\r\nContent-Type: " + value + b"\r\n\r\n" + DONE


END = [event("", "done")]
CASES = {
    "chunked": ([[OK + b"Transfer-Encoding: chunked\r\n\r\n", chunk(b"data: a\n"), pause,
                  chunk(b"\ndata"), pause, chunk(b": b\n\n" + DONE), b"0\r\n\r\n"]],
                [event("a"), event("b"), *END], 0, {}),
    "chunks are given out at once": (
        [[OK + b"Transfer-Encoding: chunked\r\n\r\n", chunk(DONE), until_gone]], END, 0, {}),
    "a carriage return is a whole end": ([[OK + b"\r\nevent: done\rdata: x\r\r", until_gone]],
                                         [event("x", "done")], 0, {}),
    "gzip": ([[OK + b"Content-Encoding: gzip\r\n\r\n", *squeezed(31, b"data: a\n\n", DONE),
               until_gone]], [event("a"), *END], 0, {"asked": "Accept-Encoding: .*gzip"}),
    "deflate": ([[OK + b"Content-Encoding: deflate\r\n\r\n", *squeezed(15, DONE), until_gone]],
                END, 0, {}),
    "gzip, whole": ([OK + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(DONE)], END, 0, {}),
    "the request": ([STREAM + DONE], END, 0, {
        "asked": r"GET /events\?x=1 HTTP/1.1\r\n(?=.*^Host: 127.0.0.1:\d+\r$)"
                 r"(?=.*^Accept: text/event-stream\r$)(?=.*^Cache-Control: no-cache\r$)"
                 r"(?!.*^Last-Event-ID:)", "path": "/events?x=1#part"}),
    "a lost event": ([STREAM + b"data: a\n\ndata: lost\n", STREAM + b"data: b\n\nevent: no",
                      STREAM + DONE], [event("a"), event("b"), *END], 0, {}),
    "going on": ([STREAM + b"id: 7\ndata: a\n\n", STREAM + b"data: b\n\n", STREAM + DONE],
                 [event("a", last="7"), event("b", last="7"), event("", "done", "7")], 0,
                 {"last": r"Last-Event-ID: 7\r\n"}),
    "an id of many bytes": ([STREAM + "id: ä€ x\ndata: a\n\n".encode(), STREAM + DONE],
                            [event("a", last="ä€ x"), event("", "done", "ä€ x")], 0,
                            {"last": "Last-Event-ID: ä€ x\r\n"}),
    "an id that is cut off": ([STREAM + b"id: 1\ndata: a\n\nid: 2\ndata: b\n", STREAM + DONE],
                              [event("a", last="1"), event("", "done", "1")], 0,
                              {"last": "Last-Event-ID: 1\r\n"}),
    "an id that is taken back": ([STREAM + b"id: 1\ndata: a\n\nid\n\n", STREAM + DONE],
                                 [event("a", last="1"), *END], 0,
                                 {"last": r"\A(?!.*Last-Event-ID)"}),
    "an id with spaces": ([STREAM + b"id:   x \ndata: a\n\n", STREAM + DONE],
                          [event("a", last="  x "), event("", "done", "  x ")], 0, {}),
    "an id of one control": ([STREAM + b"id: \x01\ndata: a\n\n", STREAM + DONE],
                             [event("a", last="\x01"), event("", "done", "\x01")], 0, {}),
    "a new mark": ([STREAM + b"data: a\n\n", OK + b"\r\n\xef\xbb\xbf" + DONE],
                   [event("a"), *END], 0, {}),
    "a length": ([OK + b"Content-Length: 18\r\n\r\nretry: 1\ndata: a\n\n", STREAM + DONE],
                 [event("a"), *END], 0, {}),
    "a body that is cut": ([OK + b"Content-Length: 180\r\n\r\nretry: 1\ndata: a\n\n",
                            OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(b"data: b\n\n"),
                            STREAM + DONE], [event("a"), event("b"), *END], 0, {}),
    "an answer that is none": ([STREAM, b"nonsense\r\n\r\n", b"", STREAM + DONE], END, 0, {}),
    "204 after events": ([STREAM + b"data: a\n\n", GONE], [event("a")], 1, {"said": "204"}),
    "no events": ([GONE], [], 1, {"said": "204"}),
    "a loop": ([to(302, "/again")], [], 1, {"said": "redirects"}),
    "a redirect to nowhere": ([b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"], [], 1,
                              {"said": "302"}),
    "other schemes": ([to(302, "ftp://127.0.0.1/x")], [], 1, {"said": "redirected"}),
    "a script": ([to(307, "javascript:alert(1)")], [], 1, {"said": "redirected"}),
    "relative redirects": ([to(301, "/a/b"), to(302, "c"), to(308, "?d"), STREAM + DONE], END, 0,
                           {"last": "GET /a/c.d HTTP"}),
    "keep-alives": ([[OK + b"\r\n", *(x for _ in range(20) for x in (b":\n\n", pause)), DONE]],
                    END, 0, {}),
    "a head in bytes": ([[*bytewise(OK + b"\r\n"), DONE]], END, 0, {}),
    "a line over 1 MiB": ([STREAM + b"data: " + b"x" * ((1 << 20) - 5) + b"\n\n"], [], 1,
                          {"said": r"line.*1048576"}),
    "a comment without an end": ([STREAM + b":" + b"x" * (1 << 21)], [], 1,
                                 {"said": r"line.*1048576"}),
    "an event over 4 MiB": ([STREAM + (b"data: " + b"x" * 65535 + b"\n") * 65], [], 1,
                            {"said": r"event.*4194304"}),
    "a retry for the next one": ([OK + b"\r\nretry: 30000000\n\nretry: 2\n\n", STREAM + DONE], END,
                                 0, {}),
    "a second type": ([OK + b"Content-Type: text/event-stream\r\n\r\n" + DONE], END, 0, {}),
    "no type": ([b"HTTP/1.1 200 OK\r\n\r\n" + DONE], [], 1, {"said": "text/event-stream"}),
}
for status in (301, 302, 303, 307, 308):
    CASES[f"{status}"] = ([to(status), STREAM + b"id: 3\ndata: a\n\n", to(status), STREAM + DONE],
                          [event("a", last="3"), event("", "done", "3")], 0,
                          {"last": r"GET /new HTTP/1.1\r\n.*Last-Event-ID: 3\r\n"})
for status in (201, 202, 205, 206, 210, 300, 304, 400, 401, 403, 404, 407, 410, 429, 500, 502, 503):
    CASES[f"{status}"] = ([b"HTTP/1.1 %d Sorry\r\nContent-Type: text/event-stream\r\n" % status +
                           b"Content-Length: 0\r\n\r\n"], [], 1, {"said": f"{status} Sorry"})
for value in (b"text/event-stream; charset=utf-8", b"text/event-stream;charset=UTF-8",
              b"Text/Event-STREAM", b"text/event-stream;charset=windows-1252",
              b"text/event-stream;", b"text/event-stream ; x", b"  text/event-stream  ",
              b"\ttext/event-stream\t;a=b"):
    CASES[f"the type {value}"] = ([typed(value)], END, 0, {})
for value in (b"", b"text/plain", b"text/event-stream bogus", b"text/event-streams", b"text/event",
              b"application/json", b"text/html; text/event-stream", b"x text/event-stream",
              b"text/event-stream/x", b"text/event-stream,text/html", b"*/*"):
    CASES[f"the type {value}"] = ([typed(value)], [], 1, {"said": "text/event-stream"})


def check_case(name):
    answers, want, status, more = CASES[name]
    code, got, said, asked = tail(answers, more.get("path", "/events"))
    ok = code == status and got == want and re.search(more.get("said", ""), said) is not None
    for key, request in (("asked", asked[0]), ("last", asked[-1])):
        ok = ok and re.search(more.get(key, ""), request.decode(errors="replace"),
                              re.S | re.M) is not None
    checks.check(name, ok, f"exit {code}: {str(got)[:900]} {said} {asked[-1]}")


def check_tls():
    with tempfile.TemporaryDirectory() as folder:
        cert, key = make_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        trust = ["--cacert", cert]
        plain = Server([STREAM + DONE])
        for name, options, answers, want in (
                ("TLS", trust, [STREAM + b"data: a\n\ndata: cut", STREAM + DONE],
                 (0, [event("a"), *END], "")),
                ("a certificate that is not trusted", [], [STREAM + DONE], (1, [], "certificate")),
                ("from https: to http:", trust, [to(302, plain.url)],
                 (1, [], "redirected from https:"))):
            code, got, said, _ = tail(answers, options=options, tls=context)
            checks.check(name, (code, got) == want[:2] and want[2] in said,
                         f"exit {code}: {got} {said}")
        secure = Server([STREAM + DONE], context)
        code, got, said, _ = tail([to(301, secure.url)], options=trust)
        checks.check("from http: to https:", (code, got) == (0, END), f"exit {code}: {got} {said}")
        secure.close()
        plain.close()


def check_clock():
    """A client goes on counting where it was; Ctrl-C ends its stream in order."""
    clock = subprocess.Popen([f"{BUILD}/examples/sse_clock"], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
    port = int(re.search(rb":(\d+)/", clock.stdout.readline()).group(1))
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(60)
        client.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 41\r\n\r\n")
        got = b""
        while b"id: 43\n" not in got:
            got += client.recv(65536)
        clock.send_signal(signal.SIGINT)
        while part := client.recv(65536):
            got += part
    said = clock.communicate(timeout=60)[1]
    ok = clock.returncode == 0 and got.endswith(b"\r\n0\r\n\r\n") and not said
    ok = ok and re.search(rb"\r\nid: 42\nevent: tick\ndata: [\d:]+\n\n\r\n", got)
    checks.check("sse_clock", ok, f"exit {clock.returncode}: {got} {said}")


def main():
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(check_stream, name) for name in STREAMS]
        jobs += [pool.submit(check_case, name) for name in CASES]
        jobs += [pool.submit(check_tls), pool.submit(check_clock)]
        for job in jobs:
            job.result()
    checks.end()


main()
