#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds the server of docs/http-server.md, runs the page's commands, compares what they print."""
# limit 120

import shutil
import sys

from doc_session import run_page

SKIP = 77

if __name__ == "__main__":
    if not shutil.which("curl") or not shutil.which("cc"):
        print("curl or cc is not installed")
        sys.exit(SKIP)
    run_page("docs/http-server.md", port="8080", least=10, terminate=True)
