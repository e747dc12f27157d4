#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/conformance.md is up to date, and every line of it has a test."""
# once

import os
import subprocess
import sys

sys.exit(subprocess.run([sys.executable,
                         f"{os.environ['BECK_SOURCE']}/scripts/conformance.py"]).returncode)
