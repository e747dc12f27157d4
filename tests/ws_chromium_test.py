#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A page in headless Chromium talks to ws_echo, compressed, and writes its verdict into the
document."""
# limit 180

import tempfile

from chromium_page import find_browser, verdict_of
from ws_programs import Checks, EchoServer

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


find_browser()
checks = Checks()
with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, EchoServer() as echo:
    said = verdict_of(PAGE.replace("URL", echo.url), folder)
    print(said)
    checks.check("chromium", said.startswith("GOOD "), said)
checks.end()
