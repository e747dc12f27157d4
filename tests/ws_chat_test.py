#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ws_chat: its page, who may join, and that everybody hears everybody; at last in two windows of
Chromium, which are told what to do through its debugging port."""
# limit 180

import asyncio
import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request

from chromium_page import at_home_in
from ws_programs import Checks, EchoServer, skip

try:
    import websockets
except ImportError:
    skip("python3-websockets is not installed")
checks = Checks()


def check_pages(url):
    with urllib.request.urlopen(url, timeout=20) as page:
        body = page.read().decode()
        checks.check("the page", "new WebSocket" in body and
                     page.headers["Content-Type"] == "text/html; charset=utf-8", body)
    for path, status in (("nothing", 404), ("chat", 426)):
        try:
            urllib.request.urlopen(url + path, timeout=20)
        except urllib.error.HTTPError as error:
            checks.check(path, error.code == status, error.code)


async def check_chat(url):
    chat = url.replace("http", "ws") + "chat"
    try:
        await websockets.connect(chat, origin="http://elsewhere.example")
        checks.check("a foreign page", False)
    except websockets.InvalidStatusCode as error:
        checks.check("a foreign page", error.status_code == 403, error)
    people = [await websockets.connect(chat, compression=compression)
              for compression in ("deflate", None, "deflate")]
    checks.check("compression", "no_context_takeover=True" in repr(people[0].extensions),
                 people[0].extensions)
    for i in range(30):
        await people[i % 3].send(f"message {i} " + "and more " * i)
    for person in people:
        heard = sorted([await person.recv() for _ in range(30)])
        checks.check("everybody hears everything", heard == sorted(
            f"message {i} " + "and more " * i for i in range(30)), heard)
    await people[0].close()
    await people[1].send("without the first")
    checks.check("who has left is not missed",
                 await people[2].recv() == "without the first")
    await people[1].send("x" * 4097)
    try:
        while True:
            await people[1].recv()
    except websockets.ConnectionClosed:
        checks.check("too long", people[1].close_code == 1009, people[1].close_code)
    await people[2].close()


class Window:
    """A window of Chromium, by the protocol of its debugging port."""

    def __init__(self, ws):
        self.ws, self.n = ws, 0

    async def run(self, script):
        """Runs an async script in the page; gives its value."""
        self.n += 1
        await self.ws.send(json.dumps({
            "id": self.n, "method": "Runtime.evaluate",
            "params": {"expression": f"(async () => {{ {script} }})()", "awaitPromise": True,
                       "returnByValue": True}}))
        while True:
            said = json.loads(await asyncio.wait_for(self.ws.recv(), 60))
            if said.get("id") == self.n:
                return said.get("result", {}).get("result", {}).get("value", said)

    async def load(self, url):
        """Waits for the page: at first the window has another, which takes scripts with it."""
        for _ in range(1000):
            if await self.run("await new Promise(go => setTimeout(go, 10));"
                              f"return location.href === {json.dumps(url)} && "
                              "document.readyState === 'complete'") is True:
                return True
        return False


HEARD = """
  while (ws.readyState === 0) await new Promise(go => setTimeout(go, 10));
  for (let i = 0; i < 3000 && said.children.length < %d; i++)
    await new Promise(go => setTimeout(go, 10));
  return [...said.children].map(line => line.textContent).join('|');"""
SAY = """
  while (ws.readyState === 0) await new Promise(go => setTimeout(go, 10));
  document.querySelector('input').value = %s;
  document.querySelector('form').requestSubmit();"""


async def check_windows(url, port):
    def ask(path):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method="PUT")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    places = [await asyncio.to_thread(ask, f"/json/new?{url}") for _ in range(2)]
    sockets = [await websockets.connect(place["webSocketDebuggerUrl"], max_size=None)
               for place in places]
    first, second = [Window(ws) for ws in sockets]
    for window in (first, second):  # both are there
        checks.check("a window has the page", await window.load(url))
        await window.run(HEARD % 0)
    await first.run(SAY % json.dumps("one <b>"))
    heard = await second.run(HEARD % 1)
    checks.check("the second window hears the first", heard == "one <b>", heard)
    await second.run(SAY % json.dumps("zwei 😀"))
    heard = await first.run(HEARD % 2)
    checks.check("and the first the second", heard == "zwei 😀|one <b>", heard)
    for ws in sockets:
        await ws.close()


def check_chromium(url):
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if not browser:
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=at_home_in(profile))
        try:
            for line in process.stderr:
                if line.startswith("DevTools listening on "):
                    asyncio.run(check_windows(url, line.split("/")[2].split(":")[1]))
                    return
            checks.check("chromium's debugging port", False)
        finally:
            process.terminate()
            process.communicate()


with EchoServer(name="ws_chat") as chat:
    check_pages(chat.url)
    asyncio.run(check_chat(chat.url))
    check_chromium(chat.url)
checks.end()
