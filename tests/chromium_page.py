# SPDX-License-Identifier: MIT
"""A page in headless Chromium that writes its verdict into <pre id="verdict"> and then fetches
/done; its image /hold keeps the browser from taking the document for loaded before that."""

import http.server
import os
import re
import shutil
import subprocess
import threading

from ws_programs import skip


class Pages(http.server.BaseHTTPRequestHandler):
    """The page, the image that waits, and the end of its wait."""

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


def find_browser():
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    return browser or skip("chromium is not installed")


def at_home_in(folder):
    """An environment in which a browser leaves nothing in the home of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    return {**kept, "HOME": str(folder)}


def dump_dom(url, profile, *more):
    """The document at url, once the browser takes it for loaded; and what the browser said."""
    run = subprocess.run(
        [find_browser(), "--headless", "--no-sandbox", "--disable-gpu",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run", *more, f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True, text=True, timeout=160, env=at_home_in(profile))
    return run.stdout, run.stderr


def verdict_of(page, profile, *more):
    """What the page says in the end, or all that was to be seen instead."""
    Pages.page = page.encode()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        document, said = dump_dom(f"http://127.0.0.1:{web.server_port}/", profile, *more)
        web.shutdown()
    found = re.search(r'<pre id="verdict">(.*?)</pre>', document)
    return found.group(1) if found else document + said
