# SPDX-License-Identifier: MIT
"""Reads the public headers: what they declare, and the comment that documents each declaration.

A comment documents the declarations that follow it without an empty line; a declaration may be a
function, a type, an enumeration or a macro.  A comment with an empty line after it is prose; the
first one of a header is its overview, and "/* ---- Title ---- ..." begins a section.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

TOKEN = re.compile(r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'", re.S)


@dataclass
class Declaration:
    kind: str       # function, inline, struct, enum, typedef, macro
    name: str
    text: str       # as written, without BK_API and without a body
    line: int


@dataclass
class Entry:
    """One comment and what it documents; a section's title, or prose, when it documents nothing."""
    comment: str
    line: int
    title: str = ""
    declarations: list = field(default_factory=list)


@dataclass
class Header:
    name: str       # "beck/task.h"
    brief: str      # the first sentence of its overview
    overview: str
    entries: list


def plain(comment):
    """A comment's text without its stars; lines keep their indentation."""
    body = re.sub(r"^/\*+ ?|\s*\*/$", "", comment.strip())
    return "\n".join(re.sub(r"^\s*\* ?", "", line) if i else line
                     for i, line in enumerate(body.split("\n"))).strip("\n")


def blank_comments(text):
    keep = lambda m: re.sub(r"[^\n]", " ", m.group()) if m.group().startswith("/") else m.group()
    return TOKEN.sub(keep, text)


def end_of_declaration(code, start):
    """Where the declaration that begins at start ends: after its ';', its body, or its macro."""
    if code.startswith("#", start):
        found = re.compile(r"(?:[^\n]*\\\n)*[^\n]*").match(code, start)
        return found.end()
    depth, i = 0, start
    while i < len(code):
        c = code[i]
        if c in "{(":
            depth += 1
        elif c in "})":
            depth -= 1
            if depth == 0 and c == "}" and re.match(r"(static )?inline\b", code[start:i]):
                return i + 1
        elif c == ";" and depth == 0:
            return i + 1
        i += 1
    return len(code)


def declare(text, code, line):
    """The Declaration in a piece of source, or None for what documents nothing."""
    flat = " ".join(code.split())
    if found := re.match(r"#\s*define (\w+)", flat):
        return Declaration("macro", found.group(1), text, line)
    if flat.startswith("#"):
        return None
    if found := re.match(r"static inline [^({]*?(\w+)\(", flat):
        signature = text.split("{")[0].strip() + ";"
        return Declaration("inline", found.group(1), signature, line)
    if flat.startswith("BK_API"):
        found = re.search(r"(\w+)\s*\(", re.sub(r"^BK_API", "", flat))
        clean = re.sub(r"^BK_API\s+", "", text)
        clean = re.sub(r"\s*BK_(PRINTF\([^)]*\)|WARN_UNUSED)", "", clean)
        return Declaration("function", found.group(1), clean, line) if found else None
    if found := re.match(r"typedef (struct|enum) (\w+) \{", flat) or re.match(
            r"(struct|enum) (\w+) \{", flat):
        return Declaration(found.group(1), found.group(2), text, line)
    if found := re.match(r"enum \{", flat):
        return Declaration("enum", "", text, line)
    if found := re.match(r"typedef .*?(\w+)(?:\([^()]*\))?;$", flat):
        return Declaration("typedef", found.group(1), text, line)
    return None


def parse(path, name):
    text = Path(path).read_text()
    code = blank_comments(text)
    overview = plain(re.match(r"/\*.*?\*/", text, re.S).group())
    overview = re.sub(r"^SPDX-License-Identifier: MIT\n", "", overview)
    entries, entry = [], None
    at = lambda offset: text.count("\n", 0, offset) + 1
    i = re.match(r"/\*.*?\*/", text, re.S).end()
    while i < len(text):
        if text.startswith("\n\n", i):
            entry = None
            i += 2
        elif text[i].isspace():
            i += 1
        elif frame := re.compile(r"BK_(BEGIN|END)_DECLS\n").match(text, i):
            i = frame.end() - 1
        elif text.startswith("/*", i):
            end = text.index("*/", i) + 2
            body = plain(text[i:end])
            title = re.match(r"---- (.*?) ----\n?", body)
            if title:
                body = body[title.end():].strip("\n")
            entry = Entry(body, at(i), title.group(1).rstrip(":") if title else "")
            entries.append(entry)
            i = end
        else:
            end = end_of_declaration(code, i)
            tail = re.compile(r"[ \t]*/\*.*?\*/", re.S).match(text, end)
            declaration = declare(text[i:end], code[i:end], at(i))
            if declaration and not is_house_keeping(declaration):
                if entry is None:
                    entry = Entry("", at(i))
                    entries.append(entry)
                if tail and not entry.comment:
                    entry.comment = plain(tail.group())
                entry.declarations.append(declaration)
            i = tail.end() if tail and text[end:tail.start() + 1].count("\n") == 0 else end
    brief = re.split(r"(?<=[^.]\.)\s", overview.split("\n\n")[0].replace("\n", " "))[0]
    return Header(name, brief, overview, entries)


def is_house_keeping(declaration):
    """Include guards and the macros that only make other declarations."""
    return declaration.kind == "macro" and (
        declaration.name.endswith("_H") or declaration.name in
        {"BK_API", "BK_PRINTF", "BK_WARN_UNUSED", "BK_BEGIN_DECLS", "BK_END_DECLS",
         "BK_ERROR_ENUM"})


def parse_all(include):
    """Every header of include/beck, by name."""
    return [parse(p, f"beck/{p.name}") for p in sorted(Path(include, "beck").glob("*.h"))]
