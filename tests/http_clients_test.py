#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""http_echo under clients and behind proxies that others wrote: curl, Node's undici and fetch,
aiohttp, http.client, and haproxy and nginx in front of it, which keep connections and use them
again."""
# limit 180

import asyncio
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from ws_programs import BUILD, Checks, skip

try:
    import aiohttp
except ImportError:
    skip("python3-aiohttp is not installed")

checks = Checks()
BODIES = [b"", b"x", b"hello" * 1000, bytes(range(256)) * 4096]


class Echo:
    def __enter__(self):
        self.process = subprocess.Popen([f"{BUILD}/examples/http_echo", "0"],
                                        stdout=subprocess.PIPE, text=True)
        self.port = int(re.search(r":(\d+)/", self.process.stdout.readline()).group(1))
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        checks.check("http_echo ends in order", self.process.wait(30) == 0, self.process.returncode)
        self.process.stdout.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for_port(port, process):
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            os.sched_yield()
    return False


# ---- curl ----

def curl(*arguments, stdin=b""):
    """(exit status, body, what -w asked for)"""
    done = subprocess.run(["curl", "-sS", "--max-time", "60", "-w", "%{stderr}%{http_code} "
                           "%{num_connects} ", *arguments], input=stdin, capture_output=True)
    return done.returncode, done.stdout, done.stderr.decode()


def check_curl(name, arguments, body, says, stdin=b""):
    code, got, said = curl(*arguments, stdin=stdin)
    checks.check(f"curl: {name}", code == 0 and got == body and says in said,
                 f"exit {code}, {len(got)} bytes, {said}")


def with_curl(port):
    if not shutil.which("curl"):
        print("curl is not installed: passed over")
        return
    url, big = f"http://127.0.0.1:{port}/", os.urandom(5 << 20)
    check_curl("GET", [url], b"", "200 1")
    check_curl("three on one connection", ["-d", "x", url, url, url], b"xxx", "200 1 200 0 200 0")
    check_curl("a large body, after 100-continue",
               ["-H", "Expect: 100-continue", "--data-binary", "@-", url], big, "200", big)
    check_curl("in chunks", ["-T", "-", url], big, "200", big)
    check_curl("HTTP/1.0", ["--http1.0", "-d", "old", url], b"old", "200")
    check_curl("HTTP/1.0, two connections", ["--http1.0", url, url], b"", "200 1 200 1")
    check_curl("DELETE with a body", ["-X", "DELETE", "-d", "gone", url], b"gone", "200")
    code, got, _ = curl("-I", url)
    checks.check("curl: HEAD", code == 0 and b"X-Method: HEAD" in got, got)
    code, got, _ = curl("-i", "-X", "OPTIONS", "--request-target", "*", url)
    checks.check("curl: OPTIONS *", code == 0 and got.startswith(b"HTTP/1.1 200"), got)
    code, got, said = curl("-H", "X-Long: " + "y" * 70000, url)
    checks.check("curl: headers over 64 KiB", said.startswith("431"), said)
    code, got, said = curl(url + "z" * 9000)
    checks.check("curl: a line over 8 KiB", said.startswith("414"), said)


# ---- Python ----

def with_http_client(port, name):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"):
        for body in BODIES:
            connection.request(method, "/some/path?x=y", body)
            answer = connection.getresponse()
            got = answer.read()
            ok = (answer.status == 200 and got == body and answer.headers["X-Method"] == method and
                  answer.headers["X-Target"].endswith("/some/path?x=y"))
            checks.check(f"{name}: {method} of {len(body)}", ok, f"{answer.status} {len(got)}")
    connection.request("HEAD", "/")
    answer = connection.getresponse()
    checks.check(f"{name}: HEAD", answer.status == 200 and answer.read() == b"")
    connection.request("POST", "/", iter([b"one ", b"two ", b"three"]), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    checks.check(f"{name}: chunked", connection.getresponse().read() == b"one two three")
    connection.close()


async def with_aiohttp(port):
    async with aiohttp.ClientSession() as session:
        async def one(i):
            body = BODIES[i % len(BODIES)]
            url = f"http://127.0.0.1:{port}/{i}"
            async with session.post(url, data=body) as answer:
                return await answer.read() == body and answer.headers["X-Target"] == f"/{i}"
        results = await asyncio.gather(*(one(i) for i in range(200)))
        checks.check("aiohttp: 200 at once", all(results), results)

        async def pieces():
            for i in range(50):
                yield bytes([i]) * 10000
        async with session.put(f"http://127.0.0.1:{port}/", data=pieces(),
                               expect100=True) as answer:
            got = await answer.read()
            checks.check("aiohttp: 100-continue, in chunks",
                         got == b"".join([bytes([i]) * 10000 for i in range(50)]), len(got))


# ---- Node ----

NODE = r"""
const assert = require('assert');
const { request, Pool, stream } = require('undici');
const port = process.argv[1], url = `http://127.0.0.1:${port}`;

async function main() {
  let passed = 0;
  for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
    for (const size of [0, 1, 5000, 1 << 20]) {
      const body = Buffer.alloc(size, 'ab');
      const answer = await request(`${url}/x?y`, { method, body });
      const got = Buffer.from(await answer.body.arrayBuffer());
      assert.strictEqual(answer.statusCode, 200);
      assert.strictEqual(answer.headers['x-method'], method);
      assert.ok(got.equals(body), `${method} of ${size}: ${got.length} bytes came back`);
      passed++;
    }
  const pool = new Pool(url, { connections: 1, pipelining: 10 });
  const answers = await Promise.all(Array.from({ length: 100 }, (_, i) =>
    pool.request({ path: `/${i}`, method: 'GET' })));
  for (const [i, answer] of answers.entries()) {
    assert.strictEqual(answer.headers['x-target'], `/${i}`);
    await answer.body.text();
    passed++;
  }
  await pool.close();
  if (typeof fetch === 'function') {
    const answer = await fetch(`${url}/ä`, { method: 'POST', body: 'Größe 😀' });
    assert.strictEqual(await answer.text(), 'Größe 😀');
    assert.strictEqual(answer.headers.get('x-target'), '/%C3%A4');
    const head = await fetch(url, { method: 'HEAD' });
    assert.strictEqual(head.status, 200);
    passed += 2;
  }
  console.log('passed', passed);
}
main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
"""


def with_node(port):
    node = shutil.which("node")
    modules = os.pathsep.join(p for p in (os.environ.get("BECK_NODE_MODULES"),
                                          "/usr/share/nodejs") if p)
    if not node or not any(Path(p, "undici").exists() for p in modules.split(os.pathsep)):
        print("node-undici is not installed: passed over")
        return
    done = subprocess.run([node, "-e", NODE, str(port)], capture_output=True, text=True,
                          timeout=120, env={**os.environ, "NODE_PATH": modules})
    checks.check("undici, pipelined, and fetch", done.returncode == 0, done.stderr[-2000:])


# ---- Proxies ----

NGINX = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off; client_max_body_size 100m;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
    scgi_temp_path t5;
    upstream echo {{ server 127.0.0.1:{echo}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://echo; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_request_buffering {buffering}; proxy_buffering {buffering};
        }}
    }}
}}
"""

HAPROXY = """
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always
frontend in
    bind 127.0.0.1:{port}
    default_backend echo
backend echo
    option httpchk GET /health
    server echo 127.0.0.1:{echo} check inter 1s
"""


def behind(name, command, folder, config, echo, **more):
    """The proxy must pass everything on, both ways, and keep to one answer for each request."""
    program = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin")
    if not program:
        print(f"{command[0]} is not installed: passed over")
        return
    port = free_port()
    Path(folder, "conf").write_text(config.format(port=port, echo=echo, **more))
    process = subprocess.Popen([program, *command[1:]], cwd=folder, stderr=subprocess.PIPE)
    try:
        if not wait_for_port(port, process):
            checks.check(f"{name}: starts", False, process.stderr.read())
            return
        wait_until_it_answers(port)
        with_http_client(port, name)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def wait_until_it_answers(port):
    """haproxy asks the server whether it is there before it passes anything on."""
    for _ in range(2000):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/")
        status = connection.getresponse().status
        connection.close()
        if status == 200:
            return


def main():
    with tempfile.TemporaryDirectory() as folder, Echo() as echo:
        os.chmod(folder, 0o755)
        with_http_client(echo.port, "http.client")
        asyncio.run(with_aiohttp(echo.port))
        with_curl(echo.port)
        with_node(echo.port)
        nginx = ["nginx", "-p", folder, "-c", "conf"]
        behind("nginx", nginx, folder, NGINX, echo.port, buffering="on")
        behind("nginx, unbuffered", nginx, folder, NGINX, echo.port, buffering="off")
        behind("haproxy", ["haproxy", "-db", "-f", "conf"], folder, HAPROXY, echo.port)
    checks.end()


main()
