#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes docs/conformance.md out of docs/conformance.in and the names of the tests.

    scripts/conformance.py           print what is missing or out of date; exit 1 if anything is
    scripts/conformance.py --write   write docs/conformance.md as well

A test proves a promise by carrying its tag in its name, between underscores: C068, T12.  A test
whose name also holds "differs" proves what beck does instead.
"""

import os
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
SOURCE, PAGE = ROOT / "docs/conformance.in", ROOT / "docs/conformance.md"
TAG = re.compile(r"^(?:C\d{3}|(?:SV|ST|[RFTSQPDN])\d{1,2})$")

HEAD = """# beck and asyncio, promise by promise

Each line is a promise of Python's asyncio, or a case that its own tests look at, and the tests of
beck that carry the line's tag in their name. Every one of them runs on both backends.
[From asyncio to beck](from-asyncio.md) is the page for people who port a program.

This page is generated (`scripts/conformance.py --write`); a test fails when it is out of date, or
when a line has no test.

"""


class Promise:
    def __init__(self, tag, text):
        self.tag, self.text = tag, text
        self.differs = self.not_applicable = None
        self.tests = []


def read_promises():
    """[(heading, [Promise])]; complains by SystemExit with file and line."""
    sections, promise = [], None
    for number, line in enumerate(SOURCE.read_text().splitlines(), 1):
        if line.startswith("## "):
            sections.append((line[3:], []))
        elif found := re.match(r"  +(differs|not applicable): (\S.*)", line):
            if not promise:
                sys.exit(f"{SOURCE}:{number}: a reason before any promise")
            setattr(promise, found.group(1).replace(" ", "_"), found.group(2))
        elif line and not line.startswith("#"):
            tag, _, text = line.partition(" ")
            if not TAG.match(tag) or not text or not sections:
                sys.exit(f"{SOURCE}:{number}: not 'TAG TEXT' under a heading: {line}")
            promise = Promise(tag, text)
            sections[-1][1].append(promise)
    return sections


def read_tests():
    """{tag: [(test, file)]} of every test of a C program and every test function of a script."""
    by_tag = defaultdict(list)
    patterns = [("src", "*_test.c", r"\bTEST\((\w+)\)"), ("tests", "*_test.c", r"\bTEST\((\w+)\)"),
                ("tests", "*_test.py", r"^ *def (\w+)\(")]
    for folder, glob, pattern in patterns:
        for path in sorted((ROOT / folder).rglob(glob)):
            for name in dict.fromkeys(re.findall(pattern, path.read_text(), re.M)):
                for part in name.split("_"):
                    if TAG.match(part):
                        by_tag[part].append((name, path.relative_to(ROOT)))
    return by_tag


def complaints(sections, by_tag):
    known = {p.tag for _, promises in sections for p in promises}
    for tag in sorted(set(by_tag) - known):
        yield f"{by_tag[tag][0][1]}: {by_tag[tag][0][0]}: no promise is called {tag}"
    for _, promises in sections:
        for p in promises:
            differs = any("differs" in name.split("_") for name, _ in p.tests)
            if not p.tests and not p.not_applicable:
                yield f"{p.tag}: no test carries this tag ({p.text})"
            if p.tests and p.not_applicable:
                yield f"{p.tag}: not applicable, and {p.tests[0][0]} tests it"
            if differs and not p.differs:
                yield f"{p.tag}: a test says that beck differs; {SOURCE.name} gives no reason"
            if p.differs and not differs:
                yield f"{p.tag}: {SOURCE.name} says that beck differs; no test says so in its name"


def verdict(p):
    if p.not_applicable:
        return f"not applicable: {p.not_applicable}"
    return f"**different on purpose**: {p.differs}" if p.differs else "same"


def short(name):
    """A test's name as words, its tags left out."""
    return " ".join(w for w in name.split("_") if not TAG.match(w))


def render(sections):
    every = [p for _, promises in sections for p in promises]
    n_differ = sum(1 for p in every if p.differs)
    n_not = sum(1 for p in every if p.not_applicable)
    yield HEAD
    yield (f"{len(every)} lines: {len(every) - n_differ - n_not} the same as asyncio, "
           f"{n_differ} different on purpose, {n_not} not applicable.\n")
    for heading, promises in sections:
        yield f"\n## {heading}\n\n| | asyncio's promise | beck | proven by |\n|---|---|---|---|\n"
        for p in promises:
            tests = "<br>".join(f"[{short(name)}](../{path})" for name, path in p.tests)
            yield f"| {p.tag} | {p.text} | {verdict(p)} | {tests} |\n"


def main():
    sections, by_tag = read_promises(), read_tests()
    for _, promises in sections:
        for p in promises:
            p.tests = by_tag.get(p.tag, [])
    wrong = list(complaints(sections, by_tag))
    page = "".join(render(sections))
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page)
    elif not PAGE.exists() or PAGE.read_text() != page:
        wrong.append("docs/conformance.md is out of date: scripts/conformance.py --write")
    print("\n".join(wrong) or f"every line of {SOURCE.name} is accounted for")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
