#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A page in headless Chromium uses fetch against http_echo, EventSource against sse_clock, and a
WebSocket against ws_chat; and it opens the pages that the examples serve themselves."""
# limit 180

import http.server
import re
import shutil
import signal
import subprocess
import tempfile
import threading

from ws_programs import BUILD, Checks, skip

PAGE = """<!doctype html><meta charset="utf-8"><title>all</title><pre id="verdict">no verdict</pre>
<script>
const verdict = document.getElementById('verdict');

async function fetches() {
  for (const [method, body] of [['POST', 'Größe 😀'], ['PUT', 'x'.repeat(1 << 20)], ['PATCH', '']]) {
    const answer = await fetch('ECHO' + method, { method, body });
    const text = await answer.text();
    if (answer.status !== 200 || text !== body) throw new Error(method + ' ' + text.length);
    if (answer.headers.get('x-method') !== method) throw new Error('x-method');
  }
  const many = await Promise.all(Array.from({ length: 50 }, (_, i) =>
    fetch('ECHO' + i, { method: 'POST', body: String(i) }).then((answer) => answer.text())));
  if (many.join() !== Array.from({ length: 50 }, (_, i) => String(i)).join()) throw new Error(many);
  return 'fetched ' + (many.length + 3);
}

function events() {
  return new Promise((resolve, reject) => {
    const source = new EventSource('CLOCKevents'), seen = [];
    source.onerror = () => reject(new Error('event source'));
    source.addEventListener('tick', (event) => {
      if (!/^\\d\\d:\\d\\d:\\d\\d$/.test(event.data)) reject(new Error(event.data));
      if (seen.push(event.lastEventId) < 3) return;
      source.close();
      resolve('ticks ' + seen.join());
    });
  });
}

function chat() {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket('CHATchat'.replace('http', 'ws'));
    ws.onopen = () => reject(new Error('a foreign page may talk'));
    ws.onerror = () => resolve('chat refused');
  });
}

Promise.all([fetches(), events(), chat()])
  .then((texts) => { verdict.textContent = 'GOOD ' + texts.join('; '); },
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
            self.done.wait(100)
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


class Example:
    """An example server: .url, and a check that Ctrl-C ends it in order."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.process = subprocess.Popen([f"{BUILD}/examples/{self.name}", "0"],
                                        stdout=subprocess.PIPE, text=True)
        self.url = re.search(r"http://\S+/", self.process.stdout.readline()).group()
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        checks.check(f"{self.name} ends in order", self.process.wait(60) == 0)
        self.process.stdout.close()


def dump_dom(browser, url, profile, *more):
    run = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run", *more,
         f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True, text=True, timeout=160)
    return run.stdout


def check_all(browser, folder):
    with Example("http_echo") as echo, Example("sse_clock") as clock, Example("ws_chat") as chat:
        page = PAGE.replace("ECHO", echo.url).replace("CLOCK", clock.url)
        Pages.page = page.replace("CHAT", chat.url).encode()
        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as web:
            threading.Thread(target=web.serve_forever, daemon=True).start()
            # The servers say nothing of CORS; what is tested is HTTP.
            dom = dump_dom(browser, f"http://127.0.0.1:{web.server_port}/", folder,
                           "--disable-web-security")
            web.shutdown()
        found = re.search(r'<pre id="verdict">(.*?)</pre>', dom)
        said = found.group(1) if found else dom
        print(said)
        checks.check("fetch, EventSource, WebSocket", said.startswith("GOOD "), said)
        dom = dump_dom(browser, chat.url, folder)
        checks.check("the page of ws_chat", "say something" in dom, dom)


browser = shutil.which("chromium") or shutil.which("chromium-browser")
if not browser:
    skip("chromium is not installed")
checks = Checks()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    check_all(browser, folder)
checks.end()
