#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the commands of docs/beck-pipe.md and compares what they print with what the page says."""
# limit 120

from doc_session import run_page

if __name__ == "__main__":
    run_page("docs/beck-pipe.md", port="9000", least=15, tools=("sqlite3", "cc", "bc"),
             files=[("examples/data/earthquakes.ndjson", "quakes.ndjson")])
