#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Renders the public headers as man pages (section 3) and HTML: reference.py FOLDER.

FOLDER/man3 gets a page for each group of functions that share a comment, with links for the others'
names, and one for each header; FOLDER/html a page for each header and an index.
"""

import html
import re
import sys
from pathlib import Path

import headers

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.search(r"project\(beck VERSION ([\d.]+)",
                    (ROOT / "CMakeLists.txt").read_text()).group(1)


def blocks(text):
    """('text', paragraph) and ('code', lines) of a comment: indented lines are code."""
    for part in re.split(r"\n\s*\n", text):
        if not part.strip():
            continue
        yield ("code" if part.startswith("    ") else "text"), part.rstrip()


def page_name(header):
    return "beck_" + Path(header.name).stem


# ---- man ----

def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.M)


def roff_words(paragraph):
    """A paragraph, the names of functions and constants in bold."""
    lines = [roff(re.sub(r"^ {1,3}", "", line)) for line in paragraph.split("\n")]
    return re.sub(r"\b((?:bk|BK|beck)_\w+)", r"\\fB\1\\fR", "\n".join(lines))


def roff_blocks(text):
    for kind, part in blocks(text):
        if kind == "code":
            yield f".PP\n.in +4n\n.EX\n{roff(re.sub(r'^    ', '', part, flags=re.M))}\n.EE\n.in\n"
        else:
            yield f".PP\n{roff_words(part)}\n"


def man_page(header, title, brief, declarations, description, see):
    out = [f'.TH {title} 3 "" "beck {VERSION}" "beck"\n.SH NAME\n{roff(title)} \\- {roff(brief)}\n',
           ".SH SYNOPSIS\n.nf\n", f".B #include <{header.name}>\n"]
    if declarations:
        out.append(".PP\n" + roff("\n".join(d.text for d in declarations)) + "\n")
    out += [".fi\n", ".SH DESCRIPTION\n", *roff_blocks(description), ".SH SEE ALSO\n"]
    out.append(",\n".join(f".BR {name} (3)" for name in see) + "\n")
    return "".join(out).replace(",\n.BR", " ,\n.BR")


def first_sentence(text):
    flat = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[^.]\.)\s|(?<=[^.]):\s|;\s", flat)[0].rstrip(".")[:150]


def types_of(header, entries):
    """The option structs that these functions take, so that a page is enough to call them."""
    text = " ".join(d.text for e in entries for d in e.declarations)
    named = set(re.findall(r"\bbk_\w+", text))
    return [d for e in header.entries for d in e.declarations
            if d.kind in {"struct", "enum"} and d.name in named and d.name.startswith("bk_")]


def write_man(folder, all_headers):
    folder.mkdir(parents=True, exist_ok=True)
    for header in all_headers:
        pages = []
        for entry in header.entries:
            functions = [d for d in entry.declarations if d.kind in {"function", "inline"}]
            if not functions:
                continue
            pages.append(functions[0].name)
            described = types_of(header, [entry]) + functions
            (folder / f"{functions[0].name}.3").write_text(man_page(
                header, functions[0].name, first_sentence(entry.comment or header.brief), described,
                entry.comment or header.brief, [page_name(header)]))
            for other in functions[1:]:
                (folder / f"{other.name}.3").write_text(f".so man3/{functions[0].name}.3\n")
        types = [d for e in header.entries for d in e.declarations
                 if d.kind in {"struct", "enum", "macro", "typedef"}]
        (folder / f"{page_name(header)}.3").write_text(man_page(
            header, page_name(header), header.brief.rstrip("."), types, header.overview,
            pages or ["beck_base"]))


# ---- HTML ----

STYLE = """
body { margin: 0; font: 16px/1.55 system-ui, sans-serif; color: #1d2430; background: #fff; }
nav { position: fixed; top: 0; bottom: 0; width: 15rem; overflow: auto; padding: 1rem 1.2rem;
      background: #f4f6f8; font-size: 14px; box-sizing: border-box; }
nav a { display: block; padding: .1rem 0; } nav b { display: block; margin: .8rem 0 .2rem; }
main { margin-left: 15rem; padding: 1rem 2.5rem 4rem; max-width: 52rem; }
a { color: #0b57a4; text-decoration: none; } a:hover { text-decoration: underline; }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.6rem; border-bottom: 1px solid #d9dee4; }
section { margin: 1.6rem 0; } pre { background: #f4f6f8; padding: .7rem .9rem; overflow-x: auto;
      border-radius: 6px; font: 13.5px/1.5 ui-monospace, monospace; margin: .5rem 0; }
.decl { border-left: 3px solid #0b57a4; } table { border-collapse: collapse; }
td { padding: .15rem 1rem .15rem 0; vertical-align: top; }
@media (max-width: 50rem) { nav { position: static; width: auto; }
      main { margin: 0; padding: 1rem; } }
@media (prefers-color-scheme: dark) { body { background: #14181d; color: #dfe5ec; }
      nav, pre { background: #1d232b; } a { color: #7db7f0; } h2 { border-color: #333c47; } }
"""


def linker(all_headers):
    where = {d.name: f"{page_name(h)}.html#{d.name}"
             for h in all_headers for e in h.entries for d in e.declarations if d.name}
    name = re.compile(r"\b(?:bk|BK)_\w+")

    def link(text):
        return name.sub(lambda m: f'<a href="{where[m.group()]}">{m.group()}</a>'
                        if m.group() in where else m.group(), html.escape(text, quote=False))
    return link


def html_blocks(text, link):
    for kind, part in blocks(text):
        if kind == "code":
            yield f"<pre>{link(re.sub(r'^    ', '', part, flags=re.M))}</pre>\n"
        else:
            yield f"<p>{link(part)}</p>\n"


def html_page(title, nav, body):
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<title>{title}</title>\n<meta name="viewport" content="width=device-width">\n'
            f"<style>{STYLE}</style></head>\n"
            f"<body><nav>{nav}</nav><main>{body}</main></body></html>\n")


def html_nav(all_headers, current):
    out = [f'<a href="index.html"><b>beck {VERSION}</b></a>']
    for header in all_headers:
        out.append(f'<a href="{page_name(header)}.html">{header.name}</a>')
        if header is current:
            out += [f'<a href="#{d.name}">&nbsp;&nbsp;{d.name}</a>' for e in header.entries
                    for d in e.declarations if d.kind in {"function", "inline"}]
    return "\n".join(out)


def html_header(header, link):
    yield f"<h1>&lt;{header.name}&gt;</h1>\n"
    yield from html_blocks(header.overview, link)
    for entry in header.entries:
        if entry.title:
            yield f"<h2>{html.escape(entry.title)}</h2>\n"
        yield "<section>"
        yield "".join(f'<span id="{d.name}"></span>' for d in entry.declarations if d.name)
        if entry.declarations:
            shown = link("\n".join(d.text for d in entry.declarations))
            yield f'<pre class="decl">{shown}</pre>\n'
        yield from html_blocks(entry.comment, link)
        yield "</section>\n"


def write_html(folder, all_headers):
    folder.mkdir(parents=True, exist_ok=True)
    link = linker(all_headers)
    for header in all_headers:
        (folder / f"{page_name(header)}.html").write_text(html_page(
            header.name, html_nav(all_headers, header), "".join(html_header(header, link))))
    rows = "".join(f'<tr><td><a href="{page_name(h)}.html">{h.name}</a></td><td>'
                   f"{html.escape(h.brief)}</td></tr>\n" for h in all_headers)
    names = sorted({(d.name, page_name(h)) for h in all_headers for e in h.entries
                    for d in e.declarations if d.kind in {"function", "inline"}})
    index = " ".join(f'<a href="{page}.html#{name}">{name}</a>' for name, page in names)
    (folder / "index.html").write_text(html_page(
        "beck reference", html_nav(all_headers, None),
        f"<h1>beck {VERSION}: reference</h1>\n<table>{rows}</table>\n<h2>All functions</h2>\n"
        f"<p>{index}</p>\n"))
    return len(names)


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: reference.py FOLDER")
    folder = Path(sys.argv[1])
    all_headers = headers.parse_all(ROOT / "include")
    write_man(folder / "man3", all_headers)
    n = write_html(folder / "html", all_headers)
    print(f"{n} functions of {len(all_headers)} headers: {folder}/html/index.html, and "
          f"man -M {folder} bk_task_wait")


if __name__ == "__main__":
    main()
