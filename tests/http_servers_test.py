#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""http_get and sse_tail against servers that others wrote: aiohttp, nginx, Python's http.server."""
# limit 180

import asyncio
import gzip
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import zlib
from pathlib import Path

from ws_programs import BUILD, Checks, skip

try:
    from aiohttp import web
except ImportError:
    skip("python3-aiohttp is not installed")

checks = Checks()
BODY = "".join(f"line {i} of the body, with ä and 😀\n" for i in range(20000)).encode()


def get(url, *options, timeout=60, env=None):
    """(exit status, body, what it said)"""
    done = subprocess.run([f"{BUILD}/examples/http_get", url, *options], capture_output=True,
                          timeout=timeout, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr.decode()


def check_get(name, url, *options, body=BODY, status=0, says="", env=None):
    code, got, said = get(url, *options, env=env)
    ok = code == status and (body is None or got == body) and says in said
    checks.check(name, ok, f"exit {code}, {len(got)} bytes, {said.strip()}")


# ---- Certificates ----

def make_certificates(folder):
    """An authority, a server's certificate for 127.0.0.1 and localhost, and a client's."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test authority")
    for name, names in (("server", "IP:127.0.0.1,DNS:localhost"), ("client", "DNS:client")):
        Path(folder, "ext").write_text(f"subjectAltName={names}\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout",
                f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "ext")


def server_context(folder, client_certificates=False):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")
    if client_certificates:
        context.load_verify_locations(f"{folder}/ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


# ---- aiohttp ----

async def chunked(request):
    response = web.StreamResponse()
    await response.prepare(request)
    for i in range(0, len(BODY), 7919):
        await response.write(BODY[i:i + 7919])
    return response


async def compressed(request):
    response = web.Response(body=BODY)
    response.enable_compression(web.ContentCoding[request.match_info["coding"]])
    return response


async def cut(request):
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"only this")
    request.transport.close()
    return response


async def redirect(request):
    left = int(request.match_info["left"])
    raise web.HTTPFound("/chunked" if left == 0 else f"{left - 1}")


async def to_plain(request):
    raise web.HTTPMovedPermanently(request.app["plain"])


async def needs_password(request):
    return web.Response(text=request.headers.get("Authorization", "none"))


async def empty(_):
    return web.Response(status=204)


async def events(request):
    """A stream that breaks off, and goes on where the client says it was."""
    begin = int(request.headers.get("Last-Event-ID", "0"))
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(b": hello\nretry: 20\n\n")
    for i in range(begin + 1, begin + 4):
        await response.write(f"id: {i}\nevent: number\ndata: {i}\ndata: \"ä\"\n\n".encode())
    if begin >= 6:
        await response.write(b"event: done\ndata\n\n")
    return response


async def start(app, context=None):
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    return runner, f"http{'s' if context else ''}://127.0.0.1:{port}"


def aiohttp_app():
    app = web.Application()
    app.router.add_get("/chunked", chunked)
    app.router.add_get("/coded/{coding}", compressed)
    app.router.add_get("/cut", cut)
    app.router.add_get("/redirect/{left}", redirect)
    app.router.add_get("/plain", to_plain)
    app.router.add_get("/auth", needs_password)
    app.router.add_get("/events", events)
    app.router.add_get("/empty", empty)
    return app


def check_aiohttp(url, folder):
    check_get("aiohttp: chunked", f"{url}/chunked")
    check_get("aiohttp: gzip", f"{url}/coded/gzip")
    check_get("aiohttp: deflate", f"{url}/coded/deflate")
    check_get("aiohttp: a body cut short", f"{url}/cut", body=b"only this", status=1)
    check_get("aiohttp: 5 redirects", f"{url}/redirect/4")
    check_get("aiohttp: 6 redirects", f"{url}/redirect/5", body=b"", status=1,
              says="more than 5 redirects")
    check_get("aiohttp: 404", f"{url}/nothing", body=None, status=1, says="404 Not Found")
    check_get("aiohttp: 204", f"{url}/empty", body=b"")
    user = url.replace("://", "://Aladdin:open%20sesame@")
    check_get("aiohttp: Basic", f"{user}/auth", body=b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    done = subprocess.run([f"{BUILD}/examples/sse_tail", f"{url}/events"], capture_output=True,
                          timeout=60)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    want = [{"type": "number", "data": f'{i}\n"ä"', "id": str(i)} for i in range(1, 10)]
    want.append({"type": "done", "data": "", "id": "9"})
    checks.check("aiohttp: events", done.returncode == 0 and lines == want,
                 f"exit {done.returncode}: {lines} {done.stderr.decode()}")
    done = subprocess.run([f"{BUILD}/examples/sse_tail", f"{url}/chunked"], capture_output=True,
                          timeout=60)
    over = subprocess.run([f"{BUILD}/examples/sse_tail", f"{url}/empty"], capture_output=True,
                          timeout=60)
    checks.check("aiohttp: the server wants no connections", over.returncode == 1 and
                 b"204" in over.stderr and not over.stdout, over.stderr)
    checks.check("aiohttp: no events", done.returncode == 1 and b"text/event-stream" in done.stderr,
                 done.stderr)


def check_aiohttp_tls(url, client_url, folder):
    ca = ["--cacert", f"{folder}/ca.pem"]
    check_get("aiohttp, TLS", f"{url}/chunked", *ca)
    check_get("aiohttp, TLS: by name", f"{url}/chunked".replace("127.0.0.1", "localhost"), *ca)
    check_get("aiohttp, TLS: nobody vouches for it", f"{url}/chunked", body=b"", status=1,
              says="certificate")
    check_get("aiohttp, TLS: insecure", f"{url}/chunked", "--insecure")
    check_get("aiohttp, TLS: no redirect to http:", f"{url}/plain", *ca, body=b"", status=1,
              says="redirected from https:")
    check_get("aiohttp, TLS: a body cut short", f"{url}/cut", *ca, body=b"only this", status=1)
    pair = ["--cert", f"{folder}/client.pem", "--key", f"{folder}/client.key"]
    check_get("aiohttp, TLS: client certificate", f"{client_url}/chunked", *ca, *pair)
    check_get("aiohttp, TLS: none shown", f"{client_url}/chunked", *ca, body=b"", status=1)


async def with_aiohttp(folder):
    app = aiohttp_app()
    runner, url = await start(app)
    tls_app = aiohttp_app()
    tls_app["plain"] = f"{url}/chunked"
    tls_runner, tls_url = await start(tls_app, server_context(folder))
    strict_runner, strict_url = await start(aiohttp_app(), server_context(folder, True))
    try:
        await asyncio.to_thread(check_aiohttp, url, folder)
        await asyncio.to_thread(check_aiohttp_tls, tls_url, strict_url, folder)
    finally:
        for r in (runner, tls_runner, strict_runner):
            await r.cleanup()


# ---- Python's http.server: HTTP/1.0, bodies that end with the connection ----

class OldHandler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        if self.path == "/gzip":
            self.send_header("Content-Encoding", "gzip")
        if self.path == "/raw-deflate":
            self.send_header("Content-Encoding", "deflate")
        self.end_headers()
        coder = zlib.compressobj(9, zlib.DEFLATED, -15)
        bodies = {"/gzip": gzip.compress(BODY),
                  "/raw-deflate": coder.compress(BODY) + coder.flush()}
        self.wfile.write(bodies.get(self.path, BODY))

    def log_message(self, *_):
        pass


def check_old_server(folder):
    for context, scheme, options in ((None, "http", []),
                                     (server_context(folder), "https",
                                      ["--cacert", f"{folder}/ca.pem"])):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), OldHandler)
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"{scheme}://127.0.0.1:{server.server_address[1]}"
        if not context:  # it ends TLS connections without a goodbye, which is a cut
            check_get(f"http.server, {scheme}: until close", f"{url}/", *options)
            check_get(f"http.server, {scheme}: gzip", f"{url}/gzip", *options)
            check_get(f"http.server, {scheme}: bare deflate", f"{url}/raw-deflate", *options)
        else:
            check_get("http.server, https: cut is not whole", f"{url}/", *options, status=1)
        server.shutdown()
        server.server_close()


# ---- The end of a TLS connection ----

def check_goodbye(folder):
    """A client says goodbye, whether the connection could be used again or not (RFC 9112 9.8)."""
    context = server_context(folder)
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    for field in (b"", b"Connection: close\r\n"):
        ends = []

        def serve(listener, field=field, ends=ends):
            raw, _ = listener.accept()
            with context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False) as s:
                s.settimeout(30)
                s.recv(65536)
                s.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + field + b"\r\nhi")
                try:
                    ends.append(s.recv(1))
                except OSError as error:
                    ends.append(error)

        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            check_get(f"TLS: goodbye, {field!r}", f"https://127.0.0.1:{listener.getsockname()[1]}/",
                      "--cacert", f"{folder}/ca.pem", body=b"hi")
            thread.join()
        checks.check(f"TLS: goodbye, {field!r}: it comes", ends == [b""], ends)


# ---- nginx ----

NGINX = """
daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{
    access_log off; default_type text/plain; root .; gzip on; gzip_types text/plain;
    client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4;
    scgi_temp_path t5;
    server {{ listen "unix:{folder}/http.sock"; listen 127.0.0.1:{port}; }}
    server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate server.pem;
             ssl_certificate_key server.key; ssl_protocols {protocols}; }}
}}
"""


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for_port(port, process):
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return True
        except OSError:
            os.sched_yield()
    return False


def check_nginx(folder):
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if not nginx:
        print("nginx is not installed: passed over")
        return
    Path(folder, "body.txt").write_bytes(BODY)
    os.chmod(folder, 0o755)
    for protocols in ("TLSv1.2", "TLSv1.3"):
        port, tls = free_ports(2)
        Path(folder, "nginx.conf").write_text(
            NGINX.format(port=port, tls=tls, protocols=protocols, folder=folder))
        process = subprocess.Popen([nginx, "-p", folder, "-c", "nginx.conf"],
                                   stderr=subprocess.PIPE)
        try:
            if not wait_for_port(tls, process):
                checks.check(f"nginx, {protocols}: starts", False, process.stderr.read())
                continue
            ca = ["--cacert", f"{folder}/ca.pem"]
            check_get(f"nginx, {protocols}: plain", f"http://127.0.0.1:{port}/body.txt")
            check_get(f"nginx, {protocols}: TLS", f"https://127.0.0.1:{tls}/body.txt", *ca)
            check_get(f"nginx, {protocols}: 404", f"https://127.0.0.1:{tls}/nothing", *ca,
                      body=None, status=1, says="404 Not Found")
            check_get(f"nginx, {protocols}: plain to the TLS port",
                      f"http://127.0.0.1:{tls}/body.txt", body=None, status=1, says="400")
        finally:
            process.terminate()
            process.communicate(timeout=30)


def main():
    with tempfile.TemporaryDirectory() as folder:
        make_certificates(folder)
        asyncio.run(with_aiohttp(folder))
        check_old_server(folder)
        check_goodbye(folder)
        check_nginx(folder)
    checks.end()


main()
