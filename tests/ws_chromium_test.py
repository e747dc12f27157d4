#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A page in headless Chromium talks to ws_echo, compressed, and writes its verdict into the
document."""
# limit 180

import http.server
import re
import shutil
import subprocess
import tempfile
import threading

from ws_programs import Checks, EchoServer, skip

PAGE = """<!doctype html><meta charset="utf-8"><title>echo</title><pre id="verdict">no verdict</pre>
<script>
const verdict = document.getElementById('verdict');
const bytes = (n) => Uint8Array.from({ length: n }, (_, i) => i * 7 + (i >> 8));
const messages = ['', 'hello', 'Größe 😀', 'x'.repeat(126), 'é'.repeat(100000), bytes(0),
  bytes(300), bytes(70000), bytes(4 << 20)];

function same(a, b) {
  if (typeof a === 'string') return a === b;
  const back = new Uint8Array(b);
  return back.length === a.length && a.every((value, i) => value === back[i]);
}

function next(ws) {
  return new Promise((resolve, reject) => {
    ws.onmessage = (event) => resolve(event.data);
    ws.onclose = (event) => reject(new Error('closed ' + event.code));
  });
}

async function talk() {
  const ws = new WebSocket('URL');
  ws.binaryType = 'arraybuffer';
  await new Promise((resolve, reject) => { ws.onopen = resolve; ws.onerror = reject; });
  for (const message of messages) {
    const back = next(ws);
    ws.send(message);
    if (!same(message, await back)) throw new Error('changed: ' + message.length);
  }
  const closed = new Promise((resolve) => { ws.onclose = resolve; });
  ws.close(4321, 'enough');
  const event = await closed;
  if (event.code !== 4321 || !event.wasClean) throw new Error('close ' + event.code);
  if (!ws.extensions.startsWith('permessage-deflate')) throw new Error('not compressed');
  return 'extensions [' + ws.extensions + '] echoed ' + messages.length;
}

talk().then((text) => { verdict.textContent = 'GOOD ' + text; },
            (error) => { verdict.textContent = 'BAD ' + error; })
      .then(() => fetch('/done'));
</script>
<img src="/hold" alt="">
"""


class Pages(http.server.BaseHTTPRequestHandler):
    """The page; and an image that is not there before the page has said that it is done, so that
    the browser does not take the document for loaded earlier."""

    done = threading.Event()
    page = b""

    def do_GET(self):
        if self.path == "/hold":
            self.done.wait(60)
        elif self.path == "/done":
            self.done.set()
        body = self.page if self.path == "/" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def dump_dom(browser, url, profile):
    return subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu",
         "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run",
         f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True, text=True, timeout=150)


browser = shutil.which("chromium") or shutil.which("chromium-browser")
if not browser:
    skip("chromium is not installed")
checks = Checks()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, EchoServer() as echo:
    Pages.page = PAGE.replace("URL", echo.url).encode()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        run = dump_dom(browser, f"http://127.0.0.1:{web.server_port}/", folder)
        web.shutdown()
    found = re.search(r'<pre id="verdict">(.*?)</pre>', run.stdout)
    said = found.group(1) if found else run.stdout + run.stderr
    print(said)
    checks.check("chromium", said.startswith("GOOD "), said)
checks.end()
