#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every public declaration is documented: what it is, arguments, results, where it suspends.

"--self-test" proves on samples that each rule fires.
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

# What base.h explains once for all: the result, the options, the context, the object itself.
EVERYWHERE = {"out", "opts", "ctx", "fn", "r", "void", "buf", "len", "data", "n", "url", "name",
              "value", "path", "i", "b"}
# "The descriptor.": what a call without a verb gives back is what it names.
GIVES = re.compile(r"^(The|Its|Whether|How|Bytes|It|Where|Connections|Tasks|Who|What|One more)\b")


def parameters(declaration):
    """[(type, name)] of a function's arguments; the name of a function pointer is inside it."""
    text = " ".join(headers.blank_comments(declaration.text).split())
    inside = text[text.index(declaration.name) + len(declaration.name):]
    inside = inside[inside.index("(") + 1:inside.rindex(")")]
    found, depth, start = [], 0, 0
    for i, c in enumerate(inside + ","):
        depth += (c in "([") - (c in ")]")
        if c == "," and depth == 0:
            found.append(inside[start:i].strip())
            start = i + 1
    for one in found:
        pointer = re.search(r"\(\*(\w+)\)", one)
        name = pointer.group(1) if pointer else re.search(r"(\w+)(?:\[[^]]*\])?$", one)
        if name:
            yield one, name if isinstance(name, str) else name.group(1)


def is_the_object(kind, name):
    """bk_queue *queue, bk_ws **ws: what the function is about needs no words."""
    found = re.search(r"\bbk_(\w+)", kind)
    return found and (found.group(1) == name or found.group(1).endswith("_" + name) or
                      found.group(1).startswith(name) or name == found.group(1)[:1])


def told_elsewhere(header, entry):
    """The comments that this one builds on: "The same ...", "as bk_x"."""
    named = set(re.findall(r"\b(?:[Aa]s|of) (bk_\w+)", entry.comment))
    before = header.entries[:header.entries.index(entry)]
    if re.search(r"\bsame\b", entry.comment) and before:
        yield before[-1].comment
    for other in header.entries:
        if named & {d.name for d in other.declarations}:
            yield other.comment


def check_function(header, entry, declaration):
    if declaration.kind == "inline":
        return
    own = "\n".join([entry.comment, *told_elsewhere(header, entry)])
    words = f"{own}\n{header.overview}"
    returns = re.match(r"(int|ssize_t)\b", declaration.text) and not GIVES.match(
        entry.comment) and not re.search(
        r"[Rr]eturn|-E[A-Z]|-BK_E|\b[01]\b|[Aa]s bk_|[Ee]rrors|number|whether|index|-1\b", own)
    if returns:
        yield f"{declaration.name}: the comment does not say what it returns"
    if "suspend" not in words.lower() and "thread" not in words.lower():
        yield f"{declaration.name}: neither the comment nor the overview speaks of suspending"
    if "thread" not in words.lower():
        yield f"{declaration.name}: neither the comment nor the overview says which thread"
    for kind, name in parameters(declaration):
        told = re.search(rf"\b{name}\b", words)
        if not told and name not in EVERYWHERE and not is_the_object(kind, name):
            yield f"{declaration.name}: the comment does not mention '{name}'"


def check_fields(entry, declaration):
    """Each field of a struct, and each value of an enumeration, has a comment or the whole has."""
    body = declaration.text[declaration.text.index("{") + 1:declaration.text.rindex("}")]
    if entry.comment or declaration.kind == "enum" and "/*" not in body:
        return
    code = headers.blank_comments(body)
    begin, depth = 0, 0
    for i, c in enumerate(code):
        depth += (c == "{") - (c == "}")
        if c == ";" and depth == 0:
            line_end = body.find("\n", i)
            around = body[begin:i] + body[i:line_end if line_end >= 0 else len(body)]
            counts = re.search(r"\bsize_t n_(\w+);$", code[begin:i + 1])
            if "/*" not in around and not (counts and f"{counts.group(1)};" in body):
                yield f"{declaration.name}: nothing is said of '{code[begin:i + 1].strip()}'"
            begin = line_end if line_end >= 0 else len(body)


def check_header(header):
    functions_seen = False
    for entry in header.entries:
        for d in entry.declarations:
            where = f"include/{header.name}:{d.line}: "
            if d.kind in {"function", "typedef"} and "(" in d.text and not entry.comment:
                yield f"{where}{d.name} has no comment"
            elif d.kind == "function":
                functions_seen = True
                yield from (where + w for w in check_function(header, entry, d))
            elif d.kind in {"struct", "enum"} and "{" in d.text:
                yield from (where + w for w in check_fields(entry, d))
    if functions_seen and len(header.overview) < 40:
        yield f"include/{header.name}:1: no overview"


SAMPLE = """/* SPDX-License-Identifier: MIT
 * A sample of a header that is long enough.%s */
BK_BEGIN_DECLS

%s

BK_END_DECLS
"""
LOOP = "  Loop thread only; never suspends."
# overview's addition, declarations, a piece of the one complaint (None: none)
SAMPLES = [
    (LOOP, "/* Does x.  Returns 0 or -EINVAL. */\nBK_API int bk_x(void);", None),
    (LOOP, "BK_API int bk_x(void);", "has no comment"),
    (LOOP, "/* Does x. */\nBK_API int bk_x(void);", "what it returns"),
    (LOOP, "/* Does x with speed.  Returns 0. */\nBK_API int bk_x(int speed);", None),
    (LOOP, "/* Does x.  Returns 0. */\nBK_API int bk_x(int speed);", "'speed'"),
    (LOOP, "/* Does x.  Returns 0. */\nBK_API int bk_x(void (*done)(void *ctx));", "'done'"),
    (LOOP, "/* Does x.  Returns 0. */\nBK_API int bk_x_get(bk_x **x, bk_queue *queue);", None),
    ("", "/* Does x.  Suspends. Returns 0. */\nBK_API int bk_x(void);", "which thread"),
    (LOOP, "typedef struct bk_o {\n    int a; /* one */\n    int b;\n} bk_o;", "'int b;'"),
    (LOOP, "typedef struct bk_o {\n    /* one\n     * more */\n    int a;\n} bk_o;", None),
    (LOOP, "/* All of it. */\ntypedef struct bk_o {\n    int a;\n} bk_o;", None),
]


def self_test():
    for overview, text, want in SAMPLES:
        with tempfile.NamedTemporaryFile("w", suffix=".h") as file:
            file.write(SAMPLE % (overview, text))
            file.flush()
            got = list(check_header(headers.parse(file.name, "beck/x.h")))
        if (want is None and got) or (want and (len(got) != 1 or want not in got[0])):
            yield f"want {want!r}, got {got} for\n{text}"


def main():
    wrong = list(self_test())
    if "--self-test" not in sys.argv:
        for header in headers.parse_all(ROOT / "include"):
            wrong += check_header(header)
    print("\n".join(wrong) or "every public declaration is documented")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
