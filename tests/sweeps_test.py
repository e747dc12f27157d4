#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every public call that suspends is swept: a scenario that is struck calls it.

Which calls suspend, the headers say; that none forgets to, the source is asked.  The tables of
tests/sweep_*_test.c name the scenarios, and SWEEP_MAIN runs each of them in all the ways there are:
struck by a cancel and by a timeout at every step, with every allocation and every system call
failing.  A scenario counts for what its subject calls, by way of the functions of the same file and
of the tests' own headers.

With --list, prints the calls and the files that sweep them.  "--self-test" proves the rules on
samples.
"""
# once

import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
sys.path.insert(0, str(ROOT / "scripts"))
import headers  # noqa: E402  (its folder is only known now)

# Calls that no sweep can strike, and why.
EXCEPTIONS = {}

# What SWEEP_MAIN must stand for.
WAYS = ["SWEEP_CANCEL", "SWEEP_TIMEOUT", "SWEEP_BOTH", "SWEEP_SWALLOW", "sweep_allocations",
        "sweep_disturbed", "sweep_calls", "sweep_operations"]
HARNESS = {"sweep.h", "sweep_harness.h", "sweep_calls.h", "sweep_operations.h", "sweep_shim.h",
           "sweep_uring.h", "alloc_sweep.h", "check.h"}

# ---- Which calls suspend ----

NEVER = re.compile(r"\b(?:[Nn]ever|[Nn]either|[Dd]oes not|what) suspends?\b")
DOES = re.compile(r"\b[Ss]uspends\b")


def said(text):
    """What a comment says itself: True, False, or None for nothing."""
    text = " ".join(text.split())
    if DOES.search(NEVER.sub("", text)):
        return True
    return False if NEVER.search(text) else None


class Declarations:
    """What the headers say of each function."""

    def __init__(self, parsed):
        self.functions = {}
        for header in parsed:
            before, section = None, None
            for entry in header.entries:
                section = entry if entry.title else section
                for d in entry.declarations:
                    if d.kind == "function":
                        self.functions[d.name] = (entry, before, section)
                before = entry if entry.declarations else before

    def suspends(self, name, seen=()):
        """True, False or None; "the same" and "as bk_x" are what the other one is."""
        entry, before, section = self.functions[name]
        found = said(entry.comment)
        if found is not None or name in seen:
            return found
        others = re.findall(r"\b[Aa]s (bk_\w+)", entry.comment)
        if re.search(r"\bThe same\b", entry.comment) and before:
            others += [d.name for d in before.declarations]
        if any(self.suspends(o, (*seen, name)) for o in others if o in self.functions):
            return True
        return said(section.comment) if section else None


def definitions(code):
    """(name, text before the name, body) of each function in a source without comments."""
    for found in re.finditer(r"^([a-zA-Z_][^;{}#=()]*?\b(\w+))\([^;{}]*?\)\n\{\n(.*?)^\}", code,
                             re.S | re.M):
        yield found.group(2), found.group(1), found.group(3)


def reach_a_wait(sources):
    """Functions of the library that call, directly or not, what parks a task."""
    calls = {}
    for file, text in sources:
        for name, before, body in definitions(headers.blank_comments(text)):
            key = (file if "static" in before else "", name)
            calls[key] = {(file, c) for c in re.findall(r"\b(\w+)\(", body)}
    resolve = lambda key: key if key in calls else ("", key[1])
    waits = {("", "bki_park"), ("", "bki_park_hard")}
    while True:
        more = {k for k, called in calls.items()
                if k not in waits and any(resolve(c) in waits for c in called)}
        if not more:
            return {name for _, name in waits}
        waits |= more


def library():
    for path in sorted(ROOT.glob("src/*/*.c")):
        if not re.search(r"_(test|fuzz)\.c$", path.name):
            yield path.name, path.read_text()


# ---- What is swept ----

def words(text):
    return set(re.findall(r"\b[A-Za-z_]\w+\b", text))


def expand(text, macros):
    """The table with the macros of its file in their places."""
    for name, parameters, body in macros:
        def put(found, parameters=parameters, body=body):
            given = [a.strip() for a in found.group(1).split(",")] if found.group(1) else []
            for parameter, argument in zip(parameters, given):
                body = re.sub(rf"(?:##)?\b{parameter}\b", argument, body)
            return body
        text = re.sub(rf"\b{name}\b" + (r"\(([^()]*)\)" if parameters else "()"), put, text)
    return text


def macros_of(code):
    for name, parameters, body in re.findall(
            r"^#define (\w+)(?:\(([^)]*)\))?((?:[^\n]*\\\n)*[^\n]*)", code, re.M):
        yield name, [p.strip() for p in parameters.split(",") if p], body


def swept_by(code, included):
    """What the subjects of a file's scenarios name, directly or not."""
    table = re.search(r"^static const struct sweep_scenario \w+\[\] = \{(.*?)^\};", code,
                      re.S | re.M)
    bodies = {}
    for text in [*included, code]:
        bodies |= {name: words(body) for name, _, body in definitions(text)}
        bodies |= {name: words(body) for name, _, body in macros_of(text)}
    reached = set()
    ahead = re.findall(r"\.subject = (\w+)", expand(table.group(1), list(macros_of(code))))
    while ahead:
        for word in bodies.get(ahead.pop(), set()) - reached:
            reached.add(word)
            ahead.append(word)
    return reached


def included_by(code):
    for name in re.findall(r'^#include "(?:tests|\w+)/([^"]+)"', code, re.M):
        if name not in HARNESS:
            for path in [ROOT / "tests" / name, *ROOT.glob(f"src/*/{name}")]:
                if path.exists():
                    yield headers.blank_comments(path.read_text())


def sweeps():
    """{call: files}, and complaints about files that leave a way out."""
    found, wrong = {}, []
    for path in sorted((ROOT / "tests").glob("sweep_*_test.c")):
        code = headers.blank_comments(path.read_text())
        if not re.search(r"^SWEEP_MAIN\(\w+\)$", code, re.M):
            wrong.append(f"{path.name}: does not end with SWEEP_MAIN(...)")
        for word in swept_by(code, list(included_by(code))):
            found.setdefault(word, []).append(path.name)
    main = (ROOT / "tests/sweep.h").read_text()
    wrong += [f"sweep.h: SWEEP_MAIN is without {way}" for way in WAYS if way not in main]
    return found, wrong


# ---- Samples ----

SAMPLES = [("Suspends until x.", True), ("Does not suspend.", False), ("Gives x.", None),
           ("Suspends until x; the last one does not suspend.", True),
           ("fn must not suspend.", None), ("Neither suspends nor blocks.", False)]
HEADER = """/* SPDX-License-Identifier: MIT */

/* ---- Reading ----
 *
 * Each suspends. */

/* Reads. */
BK_API int bk_read(void);

/* Does not suspend. */
BK_API int bk_look(void);

/* ---- Others ---- */

/* Returns as bk_read. */
BK_API int bk_more(void);
/* The same again. */
BK_API int bk_again(void);
/* A fact. */
BK_API int bk_fact(void);
"""
SCENARIOS = """
static int deeper(void *ctx)
{
    return bk_b(ctx);
}

static int work(void *ctx)
{
    return bk_a(ctx) + deeper(ctx);
}

static int help(void *ctx)
{
    return bk_c(ctx);
}

#define DESK(f) .open = bk_d, .subject = f

static const struct sweep_scenario scenarios[] = {
    {DESK(work), .helpers = {help}},
};
"""


def self_test(folder):
    for text, want in SAMPLES:
        if said(text) is not want:
            yield f"said({text!r}) is {said(text)}"
    path = Path(folder, "sample.h")
    path.write_text(HEADER)
    sample = Declarations([headers.parse(path, "sample.h")])
    got = {name for name in sample.functions if sample.suspends(name)}
    if got != {"bk_read", "bk_more", "bk_again"}:
        yield f"of the sample these suspend: {sorted(got)}"
    got = {w for w in swept_by(SCENARIOS, []) if w.startswith("bk_")}
    if got != {"bk_a", "bk_b"}:
        yield f"of the sample these are swept: {sorted(got)}"
    got = reach_a_wait([("x.c", "static int f(void)\n{\n    bki_park();\n}\n\n"
                         "int g(void)\n{\n    f();\n}\n\nint h(void)\n{\n    bk_now();\n}\n")])
    if got != {"bki_park", "bki_park_hard", "f", "g"}:
        yield f"of the sample these reach a wait: {sorted(got)}"


def main():
    with tempfile.TemporaryDirectory() as folder:
        wrong = list(self_test(folder))
    declared = Declarations(headers.parse_all(ROOT / "include"))
    suspends = {name: declared.suspends(name) for name in declared.functions}
    wrong += [f"{name}: reaches a wait, and its comment says nothing of suspending"
              for name in sorted(reach_a_wait(library())) if suspends.get(name, True) is None]
    swept, complaints = sweeps()
    wrong += complaints
    for name in sorted(n for n in suspends if suspends[n]):
        if "--list" in sys.argv:
            print(f"{name}: {' '.join(swept.get(name, [])) or EXCEPTIONS.get(name, '-')}")
        if (name in swept) == (name in EXCEPTIONS):
            wrong.append(f"{name}: " + ("swept, and an exception" if name in swept else
                                        "suspends, and no scenario's subject calls it"))
    wrong += [f"{name}: an exception that does not suspend" for name in EXCEPTIONS
              if not suspends.get(name)]
    print("\n".join(wrong) or f"{sum(map(bool, suspends.values()))} calls suspend, and are swept")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
