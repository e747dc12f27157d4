#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A page in headless Chromium uses fetch against http_echo, EventSource against sse_clock, and a
WebSocket against ws_chat; and it opens the pages that the examples serve themselves."""
# limit 180

import re
import signal
import subprocess
import tempfile

from chromium_page import dump_dom, find_browser, verdict_of
from ws_programs import BUILD, Checks

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


def check_all(folder):
    with Example("http_echo") as echo, Example("sse_clock") as clock, Example("ws_chat") as chat:
        page = PAGE.replace("ECHO", echo.url).replace("CLOCK", clock.url)
        # The servers say nothing of CORS; what is tested is HTTP.
        said = verdict_of(page.replace("CHAT", chat.url), folder, "--disable-web-security")
        print(said)
        checks.check("fetch, EventSource, WebSocket", said.startswith("GOOD "), said)
        document, _ = dump_dom(chat.url, folder)
        checks.check("the page of ws_chat", "say something" in document, document)


find_browser()
checks = Checks()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
    check_all(folder)
checks.end()
