#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The house rules, as a test: layers, sizes, banned calls, public headers, exported symbols.

Run it as it is for the tree it lies in; "--self-test" proves that each rule fires on a bad sample.
The symbols are checked when BECK_BUILD names a build directory.
"""
# once
# limit 120

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
LAYERS = ["base", "rt", "net", "proto", "flow", "connectors"]
CODE = {".c", ".h", ".S"}
TEXT = CODE | {".py", ".sh", ".cmake"}
FOLDERS = ["src", "include", "examples", "bench", "tests", "scripts", "cmake", "docs"]
MAX_COLUMNS, MAX_LINES, MAX_FUNCTION = 100, 700, 70

# Who may include a library's headers: layers, or single files.
LIBRARIES = {
    "liburing": ["rt"], "openssl": ["src/net/tls_openssl.c"], "zlib": ["proto"],
    "sqlite3": ["flow", "connectors"], "jq": ["flow", "connectors"], "jv": ["flow", "connectors"],
}

# Banned calls and what to use instead, by where they are banned.
IN_LIBRARY = {
    **dict.fromkeys(["malloc", "calloc", "realloc", "reallocarray", "free"],
                    "the bki_alloc family"),
    **dict.fromkeys(["strdup", "strndup", "asprintf", "vasprintf"], "bki_strdup, bki_strndup"),
    **dict.fromkeys(["printf", "fprintf", "vprintf", "vfprintf", "puts", "fputs", "putchar",
                     "perror"], "bk_fail: the library never prints"),
    **dict.fromkeys(["abort", "exit", "quick_exit"],
                    "a result: the library never ends the program"),
}
IN_LIBRARY_AND_TESTS = dict.fromkeys(
    ["sleep", "usleep", "nanosleep", "clock_nanosleep"], "bk_sleep, on virtual time in tests")
ANYWHERE = {
    **dict.fromkeys(["strcpy", "strcat", "stpcpy"], "memcpy with a known length"),
    **dict.fromkeys(["sprintf", "vsprintf"], "snprintf"),
    **dict.fromkeys(["atoi", "atol", "atoll", "atof"], "strtol and its end pointer"),
    "gets": "fgets", "strtok": "strcspn", "select": "poll",
}
OUTSIDE_TESTS = {"signal": "sigaction"}
# Split so that this file passes its own rule.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK|for" r" now|simpli" r"fied|not"
                        r" implemented|st" r"ub)\b")


def is_test(path):
    return path.stem.endswith(("_test", "_fuzz", "_fixture")) or path.parts[0] == "tests"


def layer_of(path):
    return path.parts[1] if path.parts[0] == "src" and len(path.parts) > 2 else None


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def code_only(text, keep_directives=True):
    """The text with comments and literals blanked out, line by line as it was."""
    token = r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    text = re.sub(token, blank, text, flags=re.S)
    if not keep_directives:
        text = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, text, flags=re.M)
    return text


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def check_shape(path, text):
    """SPDX line, the sentence after it, columns, length."""
    lines = text.split("\n")
    if path.suffix in CODE:
        if lines[0] != "/* SPDX-License-Identifier: MIT":
            yield 1, "the first line is not '/* SPDX-License-Identifier: MIT'"
        elif not re.match(r" \* \S", lines[1] if len(lines) > 1 else ""):
            yield 2, "no sentence on the file's job after the SPDX line"
    elif "# SPDX-License-Identifier: MIT" not in lines[:2]:
        yield 1, "no SPDX line on top"
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            yield number, f"{len(line)} columns, {MAX_COLUMNS} at most"
        if line != line.rstrip() or (path.suffix in {".c", ".h"} and "\t" in line):
            yield number, "trailing space or a tab"
    if len(lines) - 1 > MAX_LINES:
        yield MAX_LINES, f"{len(lines) - 1} lines, {MAX_LINES} at most"


def check_functions(path, text):
    """A function opens a brace after a ')' at depth 0; a brace in column 0 closes it anyway."""
    if path.suffix not in {".c", ".h"}:
        return
    code = re.sub(r'extern\s+"C"\s*{', blank, text)
    code = code_only(code, keep_directives=False)
    depth, start = 0, None
    for brace in re.finditer(r"[{}]", code):
        if brace.group() == "{":
            if depth == 0 and re.search(r"\)\s*$", code[:brace.start()][-200:]):
                start = brace.start()
            depth += 1
            continue
        at_margin = brace.start() == 0 or code[brace.start() - 1] == "\n"
        depth = 0 if at_margin else max(depth - 1, 0)
        if depth == 0 and start is not None:
            size = line_of(code, brace.start()) - line_of(code, start) + 1
            if size > MAX_FUNCTION:
                yield line_of(code, start), f"a function of {size} lines, {MAX_FUNCTION} at most"
            start = None


def check_includes(path, text):
    if path.suffix not in CODE:
        return
    layer = layer_of(path)
    for found in re.finditer(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', text, re.M):
        quoted, name, number = found.group(1) == '"', found.group(2), line_of(text, found.start())
        top = name.split("/")[0]
        if quoted and path.parts[0] == "include":
            yield number, f'public headers include <beck/...> only, not "{name}"'
        elif quoted and layer:
            allowed = LAYERS[:LAYERS.index(layer) + 1] if layer in LAYERS else [layer]
            if is_test(path):
                allowed = allowed + ["tests"]
            if "/" not in name or top not in allowed:
                yield number, f'src/{layer} may not include "{name}", only {" ".join(allowed)}'
        elif quoted and path.parts[0] == "examples" and "/" in name:
            yield number, f'programs include <beck/...>, not "{name}"'
        users = LIBRARIES.get(re.split(r"[/.]", name)[0])
        if not quoted and layer and users and layer not in users and str(path) not in users:
            yield number, f"<{name}> belongs to {', '.join(users)}"


def check_calls(path, text):
    if path.suffix not in CODE:
        return
    banned = dict(ANYWHERE) if is_test(path) else {**ANYWHERE, **OUTSIDE_TESTS}
    library = (layer_of(path) in LAYERS and not is_test(path)) or path.parts[0] == "include"
    if library or is_test(path):
        banned.update(IN_LIBRARY_AND_TESTS)
    if library and path.as_posix() != "src/base/alloc.c":
        banned.update(IN_LIBRARY)
    code = code_only(text)
    for call in re.finditer(r"(->\s*|\.\s*)?\b(" + "|".join(banned) + r")\s*\(", code):
        if not call.group(1):
            yield line_of(code, call.start()), f"{call.group(2)}(): use {banned[call.group(2)]}"
    for name in re.finditer(r"\bbki?_\w+_t\b", code):
        yield line_of(code, name.start()), f"{name.group()}: no _t names"


def check_words(path, text):
    for found in UNFINISHED.finditer(text):
        yield line_of(text, found.start()), f"'{found.group()}' marks unfinished work"


def check_script_sleep(path, text):
    if path.suffix in {".py", ".sh"} and is_test(path):
        for found in re.finditer(r"^[^#\n\"']*(\.sleep\(|\bsleep [\d.$])", text, re.M):
            yield line_of(text, found.start()), "a test that sleeps: wait for the event itself"


def check_links(path, text):
    """Relative links in documents lead to files."""
    if path.suffix == ".md":
        for link in re.finditer(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
            if not (ROOT / path.parent / link.group(1)).exists():
                yield line_of(text, link.start()), f"no such file: {link.group(1)}"


CHECKS = [check_shape, check_functions, check_includes, check_calls, check_words,
          check_script_sleep, check_links]


def check_file(path, text):
    """Every complaint about one file, as 'path:line: message'."""
    checks = CHECKS if path.suffix in TEXT else [check_words, check_links]
    return [f"{path}:{line}: {message}" for check in checks for line, message in check(path, text)]


def tree():
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.is_file() and path.suffix in TEXT | {".md"} and "__pycache__" not in path.parts:
                yield path.relative_to(ROOT)
    yield from (p.relative_to(ROOT) for p in sorted(ROOT.glob("*.md")))


def compiles_alone(header, include):
    """A public header is all that a C or C++ file needs to include first."""
    flags = ["-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{include}"]
    for compiler in (["gcc", "-xc", "-std=c11"], ["g++", "-xc++", "-std=c++11"]):
        source = f"#include <{header}>\n#include <{header}>\n"
        run = subprocess.run([*compiler, *flags, "-"], input=source, capture_output=True, text=True)
        if run.returncode != 0:
            yield f"<{header}> does not stand alone ({compiler[0]}):\n{run.stderr.strip()}"


def declared(text):
    """The names of the functions a header declares with BK_API."""
    code = code_only(text, keep_directives=False)
    return set(re.findall(r"\bBK_API\b[^;{(]*?\b(\w+)\s*\(", code))


def defined(library, *flags):
    """The global names a library defines."""
    lines = subprocess.run(["nm", "-g", "--defined-only", *flags, library], capture_output=True,
                           text=True, check=True).stdout.split("\n")
    return {parts[2] for parts in map(str.split, lines) if len(parts) == 3}


def compare_symbols(in_headers, in_shared, in_static):
    for name in sorted(in_shared - in_headers):
        yield f"libbeck.so exports {name}, which no public header declares"
    for name in sorted(in_headers - in_shared):
        yield f"{name} is declared BK_API and not exported by libbeck.so"
    for name in sorted(n for n in in_headers if not n.startswith("bk_")):
        yield f"public name {name} does not start with bk_"
    for name in sorted(n for n in in_static if not n.startswith(("bk_", "bki_"))):
        yield f"libbeck.a: global name {name} starts with neither bk_ nor bki_"


def check_tree():
    complaints = []
    for path in tree():
        complaints += check_file(path, (ROOT / path).read_text())
    headers = sorted((ROOT / "include").rglob("*.h"))
    for header in headers:
        complaints += compiles_alone(header.relative_to(ROOT / "include"), ROOT / "include")
    build = os.environ.get("BECK_BUILD")
    if build:
        names = set().union(*(declared(h.read_text()) for h in headers))
        complaints += compare_symbols(names, defined(f"{build}/libbeck.so", "-D"),
                                      defined(f"{build}/libbeck.a"))
    return complaints


TOP = "/* SPDX-License-Identifier: MIT\n * A sample. */\n"
LONG_BODY = "".join(f"    x += {i};\n" for i in range(MAX_FUNCTION))
# path, text, and a piece of the one complaint it must draw (None: it must draw none).
SAMPLES = [
    ("src/net/a.c", TOP + '#include "rt/loop.h"\n#include <sys/socket.h>\n', None),
    ("src/net/tls_openssl.c", TOP + "#include <openssl/ssl.h>\n", None),
    ("src/net/a.c", TOP + "#include <openssl/ssl.h>\n", "belongs to src/net/tls_openssl.c"),
    ("src/net/a_test.c", TOP + '#include "tests/check.h"\n', None),
    ("src/net/a.c", TOP + '#include "flow/x.h"\n', "may not include"),
    ("src/net/a.c", TOP + '#include "tests/check.h"\n', "may not include"),
    ("src/net/a.c", TOP + '#include "b.h"\n', "may not include"),
    ("src/cli/a.c", TOP + '#include "rt/rt.h"\n', "may not include"),
    ("src/cli/a.c", TOP + '#include "cli/opts.h"\n', None),
    ("src/net/a.c", TOP + "#include <liburing.h>\n", "belongs to rt"),
    ("include/beck/a.h", TOP + '#include "base/x.h"\n', "public headers"),
    ("examples/a.c", TOP + '#include "rt/rt.h"\n', "programs include"),
    ("src/net/a.c", "int x;\n", "SPDX"),
    ("src/net/a.c", "/* SPDX-License-Identifier: MIT\n */\n", "no sentence"),
    ("scripts/a.sh", "echo\n", "no SPDX line"),
    ("src/net/a.c", TOP + "int x;" + " " * 95 + "/**/\n", "105 columns"),
    ("src/net/a.c", TOP + "int x; \n", "trailing space"),
    ("src/net/a.c", TOP + "int x;\n" * MAX_LINES, "702 lines"),
    ("src/net/a.c", TOP + "int f(int x)\n{\n" + LONG_BODY + "}\n", "a function of 72 lines"),
    ("src/net/a.c", TOP + "int f(int x) {\n" + LONG_BODY + "}\n", "a function of 72 lines"),
    ("src/net/a.c", TOP + "int a[] = {\n" + "    1,\n" * 99 + "};\n", None),
    ("src/net/a.c", TOP + "/* malloc(1) */ int x = f(\"free(2)\");\n", None),
    ("src/net/a.c", TOP + "void f(void)\n{\n    bki_free(x);\n    v->free(x);\n}\n", None),
    ("src/net/a.c", TOP + "void *p = malloc(1);\n", "malloc(): use"),
    ("src/base/alloc.c", TOP + "void *p = malloc(1);\n", None),
    ("src/net/a_test.c", TOP + "int x = printf(y);\n", None),
    ("src/net/a.c", TOP + "int x = printf(y);\n", "printf(): use"),
    ("src/net/a.c", TOP + "int x = abort();\n", "abort(): use"),
    ("src/cli/a.c", TOP + "int x = exit(1);\n", None),
    ("src/cli/a.c", TOP + "int x = strcpy(a, b);\n", "strcpy(): use"),
    ("tests/a_test.c", TOP + "int x = atoi(a);\n", "atoi(): use"),
    ("src/net/a.c", TOP + "int x = signal(a, b);\n", "signal(): use"),
    ("tests/a_test.c", TOP + "int x = usleep(1);\n", "usleep(): use"),
    ("tests/a_test.py", "# SPDX-License-Identifier: MIT\ntime." + "sleep(1)\n", "sleeps"),
    ("tests/a_test.sh", "# SPDX-License-Identifier: MIT\nx && sl" + "eep 1\n", "sleeps"),
    ("src/net/a.c", TOP + "bk_task_t *x;\n", "no _t names"),
    ("src/net/a.c", TOP + "/* TO" + "DO */\n", "unfinished"),
    ("docs/a.md", "[x](nowhere" + ".md)\n", "no such file"),
    ("docs/a.md", "[x](../Makefile#a) [y](https://example.com/z)\n", None),
]


def self_test():
    wrong = []
    for name, text, want in SAMPLES:
        got = check_file(Path(name), text)
        if (want is None and got) or (want is not None and (len(got) != 1 or want not in got[0])):
            wrong.append(f"{name}: want {want!r}, got {got} for\n{text[:200]}")
    names = declared("BK_API int bk_a(int (*f)(int x));\n/* BK_API int bk_no(void); */\n"
                     "BK_API enum bk_kind bk_b(const bk_x *x) BK_PRINTF(1, 2);\nint bk_c(void);\n")
    if names != {"bk_a", "bk_b"}:
        wrong.append(f"declared: {names}")
    if len(list(compare_symbols({"bk_a", "x_b"}, {"bk_a", "bk_c"}, {"bki_d", "e"}))) != 4:
        wrong.append("compare_symbols misses a difference")
    return wrong


def main():
    complaints = self_test()
    if "--self-test" not in sys.argv:
        complaints += check_tree()
    print("\n".join(complaints) or "the tree keeps the rules")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
