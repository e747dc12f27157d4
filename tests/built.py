# SPDX-License-Identifier: MIT
"""How the library under test was built."""

import os
import re
from pathlib import Path


def sanitizer():
    """What the library was built with, a program must be linked with: options for the compiler."""
    cache = Path(os.environ["BECK_BUILD"], "CMakeCache.txt").read_text()
    found = re.search(r"^BECK_SANITIZE:\w+=(\S+)$", cache, re.M)
    return [f"-fsanitize={found.group(1)}"] if found else []
