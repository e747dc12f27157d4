#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""beck pipe from outside: what it prints, how it ends, what it leaves in files and databases."""
# limit 120

import json
import os
import resource
import shlex
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
BUILD = Path(os.environ.get("BECK_BUILD") or SOURCE / "build")
BECK = os.environ.get("BECK_COMMAND") or str(BUILD / "beck")
QUAKES = SOURCE / "examples/data/earthquakes.ndjson"


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="beck-test-")
        self.dir = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def beck(self, *args, status=0, stdin=b"", **more):
        """Runs beck to its end; returns (stdout, lines of stderr)."""
        run = subprocess.run([BECK, *map(str, args)], input=stdin, capture_output=True, timeout=60,
                             cwd=self.dir, check=False, **more)
        errors = run.stderr.decode()
        self.assertEqual(run.returncode, status, f"{args}: {errors}")
        return run.stdout, errors.splitlines()

    def one_line(self, *args, status, **more):
        """What beck -q says when it fails: one line."""
        _, errors = self.beck("pipe", "-q", *args, status=status, **more)
        self.assertEqual(len(errors), 1, errors)
        self.assertTrue(errors[0].startswith("beck: "), errors)
        return errors[0]

    def rows(self, query, name="t.db"):
        db = sqlite3.connect(self.dir / name)
        try:
            self.assertEqual(db.execute("pragma integrity_check").fetchall(), [("ok",)])
            return db.execute(query).fetchall()
        finally:
            db.close()


class Selecting(Case):
    def test_where_prints_the_input_lines_byte_for_byte(self):
        out, _ = self.beck("pipe", f"file:{QUAKES}", "--where", ".mag >= 5", "--to", "-")
        want = [line for line in QUAKES.read_bytes().splitlines(keepends=True)
                if (json.loads(line)["mag"] or 0) >= 5]
        self.assertEqual(out, b"".join(want))
        self.assertEqual(len(want), 39)

    def test_it_selects_what_jq_selects(self):
        if not shutil.which("jq"):
            self.skipTest("no jq here")
        for expression in (".mag >= 5", '.place | test("Alaska")', ".nst == null",
                           ".tsunami == 1 and .depth < 20"):
            jq = subprocess.run(["jq", "-c", f"select({expression}) | .id", QUAKES],
                                capture_output=True, check=True).stdout
            out, _ = self.beck("pipe", f"file:{QUAKES}", "--where", expression, "--jq", ".id")
            self.assertEqual(out, jq, expression)
            self.assertTrue(jq)

    def test_the_last_line_needs_no_newline_and_crlf_stays(self):
        out, _ = self.beck("pipe", "-", "--where", ".a", stdin=b'{"a":1}\r\n\n{"a":null}\n {"a":2}')
        self.assertEqual(out, b'{"a":1}\r\n {"a":2}\n')

    def test_stages_run_in_their_order(self):
        out, _ = self.beck("pipe", "-", "--jq", ".[]", "--where", ". > 1", "--jq", ". * 10",
                           stdin=b"[1,2,3]\n[4]\n")
        self.assertEqual(out, b"20\n30\n40\n")

    def test_limit_counts_what_passed(self):
        out, errors = self.beck("pipe", "gen:", "--where", ".id % 2 == 0", "-n", "3", "--jq", ".id")
        self.assertEqual(out, b"2\n4\n6\n")
        self.assertIn("6 received", errors[-1])

    def test_several_sinks_all_get_everything(self):
        self.beck("pipe", f"file:{QUAKES}", "--to", "file:a", "--to", "file:b", "--to", "null:")
        self.assertEqual((self.dir / "a").read_bytes(), QUAKES.read_bytes())
        self.assertEqual((self.dir / "b").read_bytes(), QUAKES.read_bytes())

    def test_several_sources_are_merged(self):
        out, _ = self.beck("pipe", "gen:?count=50", "exec:seq 100", "--to", "-")
        self.assertEqual(len(out.splitlines()), 150)

    def test_summary_and_quiet(self):
        _, errors = self.beck("pipe", f"file:{QUAKES}", "--to", "null:")
        self.assertEqual(len(errors), 1)
        self.assertIn("1707 received, 1707 processed, 1707 stored, 0 lost", errors[0])
        _, errors = self.beck("pipe", "-q", f"file:{QUAKES}", "--to", "null:")
        self.assertEqual(errors, [])

    def test_stats_are_json(self):
        _, errors = self.beck("pipe", "-q", "gen:?count=10", "--to", "null:", "--stats", "1h")
        stats = json.loads(errors[-1])
        self.assertEqual((stats["received"], stats["stored"], stats["in_flight"]), (10, 10, 0))

    def test_pace(self):
        """A minute of quakes, a hundred times faster: it takes that long, and not much longer."""
        lines = [json.dumps({"t": 1000 * n}) for n in range(0, 61, 10)]
        (self.dir / "in").write_text("\n".join(lines) + "\n")
        _, errors = self.beck("pipe", "-q", "file:in?pace=t&speed=100x", "--to", "null:",
                              "--stats", "1h")
        elapsed = json.loads(errors[-1])["elapsed_s"]
        self.assertGreaterEqual(elapsed, 0.6)
        self.assertLess(elapsed, 30)


class Storing(Case):
    def test_the_week_of_quakes(self):
        self.beck("pipe", f"file:{QUAKES}", "--to", "sqlite:t.db?table=quakes")
        quakes = [json.loads(line) for line in QUAKES.read_text().splitlines()]
        columns = list(quakes[0])
        self.assertEqual([row[1] for row in self.rows("pragma table_info(quakes)")], columns)
        stored = self.rows("select * from quakes order by rowid")
        self.assertEqual(stored, [tuple(q[c] for c in columns) for q in quakes])

    def test_the_demo_s_second_half(self):
        """Keyed rows are replaced: running twice changes nothing."""
        for _ in range(2):
            self.beck("pipe", f"file:{QUAKES}", "--to", "sqlite:t.db?table=q&key=id")
        self.assertEqual(self.rows("select count(*) from q"), [(1707,)])


class Failing(Case):
    def test_no_such_scheme(self):
        line = self.one_line("fiel:x", "--to", "-", status=2)
        self.assertIn("no scheme 'fiel': did you mean 'file'?", line)

    def test_no_secrets_in_messages(self):
        for url in ("ws://user:secret@h/x?token=secret#zzz", "wss://user:secret@h/?token=secret"):
            line = self.one_line(url, "--to", "null:", status=2)
            self.assertNotIn("secret", line)
            self.assertIn("//***@h/", line)

    def test_a_path_is_no_url(self):
        (self.dir / "data.ndjson").write_text("1\n")
        line = self.one_line("data.ndjson", status=2)
        self.assertIn("say 'file:data.ndjson'", line)

    def test_a_refused_connection(self):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            url = f"ws://127.0.0.1:{s.getsockname()[1]}/"
            line = self.one_line(url, "--to", "null:", status=69)
        self.assertIn(url, line)
        self.assertIn("refused", line.lower())

    def test_broken_json_at_line_17(self):
        lines = QUAKES.read_bytes().splitlines(keepends=True)
        data = b"".join(lines[:16]) + b'{"id":"x","mag":}\n' + b"".join(lines[16:40])
        (self.dir / "in").write_bytes(data)
        out, errors = self.beck("pipe", "file:in", "--where", "true", "--to", "-", status=65)
        self.assertEqual(out, b"".join(lines[:16]))
        self.assertEqual(errors[0], "beck: file:in:17: where 'true': not JSON: a value was "
                                    "expected at column 17")
        self.assertIn("17 received, 17 processed, 16 stored, 0 lost, 1 failed", errors[1])
        # Into a database nothing that came before it is lost either.
        self.beck("pipe", "-q", "file:in", "--to", "sqlite:t.db?table=q", status=65)
        stored = self.rows("select id from q")
        self.assertEqual(stored[:16], [(json.loads(line)["id"],) for line in lines[:16]])

    def test_skipping_bad_items(self):
        out, errors = self.beck("pipe", "-", "--where", "true", "--on-error", "skip", "--to", "-",
                                stdin=b"1\nx\n2\n")
        self.assertEqual(out, b"1\n2\n")
        self.assertIn("stdin:2: where 'true': not JSON", errors[0])
        self.assertIn("1 failed", errors[-1])

    def test_an_unwritable_database(self):
        for url, words in (("sqlite:/nonexistent/x.db", "unable to open database file"),
                           ("sqlite:.", "unable to open database file"),
                           ("sqlite:/proc/version", "cannot")):
            line = self.one_line(f"file:{QUAKES}", "--to", url, status=69)
            self.assertIn(words, line)
            self.assertIn(url, line)

    def test_a_read_only_database(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everything")
        sqlite3.connect(self.dir / "t.db").execute("create table t(a)")
        (self.dir / "t.db").chmod(0o444)
        self.assertIn("t.db", self.one_line("gen:?count=1", "--to", "sqlite:t.db", status=69))

    def small_files(self):
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    def test_a_full_disk_under_a_database(self):
        """Files cannot grow beyond a limit: one line, and what was said to be stored is there."""
        _, errors = self.beck("pipe", "gen:", "--to", "sqlite:t.db?table=t&batch=100", status=1,
                              preexec_fn=self.small_files)
        self.assertEqual(len(errors), 2, errors)
        self.assertIn("sqlite:t.db: cannot write 't.db': ", errors[0])
        stored = int(errors[1].split(" stored")[0].split()[-1])
        rows = self.rows("select id from t order by rowid")
        self.assertEqual(len(rows), stored)
        self.assertEqual([row[0] for row in rows], list(range(1, stored + 1)))

    def test_a_full_disk_under_a_file(self):
        _, errors = self.beck("pipe", "gen:", "--to", "file:out", status=1,
                              preexec_fn=self.small_files)
        self.assertIn("file:out: write: File too large", errors[0])
        stored = int(errors[1].split(" stored")[0].split()[-1])
        lines = (self.dir / "out").read_bytes().splitlines(keepends=True)
        self.assertEqual(len(lines), stored)
        self.assertTrue(lines[-1].endswith(b"}\n"))

    def test_a_really_full_disk(self):
        beck = shlex.quote(str(BECK))
        script = ("mount -t tmpfs -o size=600k none disk && "
                  f"{beck} pipe gen: --to sqlite:disk/t.db?table=t; echo status $?; "
                  "cp disk/t.db* .")
        (self.dir / "disk").mkdir()
        try:
            run = subprocess.run(["unshare", "-rm", "sh", "-c", script], cwd=self.dir, timeout=60,
                                 capture_output=True, check=False)
        except FileNotFoundError:
            self.skipTest("no unshare here")
        if b"status" not in run.stdout:
            self.skipTest("no file system may be mounted here")
        errors = run.stderr.decode().splitlines()
        self.assertIn(b"status 1\n", run.stdout)
        self.assertIn("database or disk is full", errors[0])
        stored = int(errors[1].split(" stored")[0].split()[-1])
        self.assertGreater(stored, 0)
        self.assertEqual(self.rows("select count(*) from t"), [(stored,)])

    def test_a_full_standard_output(self):
        with open("/dev/full", "wb") as full:
            run = subprocess.run([BECK, "pipe", "-q", "gen:?count=3"], stdout=full, timeout=60,
                                 stderr=subprocess.PIPE, check=False)
        self.assertEqual(run.returncode, 1)
        self.assertEqual(run.stderr, b"beck: stdout: write: No space left on device\n")

    def test_a_command_that_fails(self):
        line = self.one_line("exec:echo 1; exit 3", "--to", "null:", status=1)
        self.assertIn("ended with status 3", line)

    def test_wrong_command_lines(self):
        for args, words in (
                (["gen:", "--whree", "x"], "no option --whree: did you mean --where?"),
                (["gen:", "--where"], "a value is missing"),
                (["gen:", "--quiet=1"], "it takes no value"),
                (["gen:", "--where", ".a =="], "jq expression '.a =='"),
                (["gen:", "-n", "0"], "a number from 1 on"),
                (["gen:", "--for", "soon"], "a time such as"),
                (["gen:", "--memory", "big"], "a size such as"),
                (["gen:", "--on-error", "cry"], "one of stop skip"),
                (["gen:", "--where", "1", "--ordered"], "stands behind a --so"),
                (["gen:", "--so", "./nothing.so:f"], "nothing.so"),
                (["gen:", "--so", "nothing"], "PATH:FUNCTION is wanted"),
                ([], "no source"),
        ):
            self.assertIn(words, self.one_line(*args, status=2))


class Other(Case):
    def test_help_version_info_list(self):
        out, errors = self.beck("--help")
        self.assertIn(b"beck pipe", out)
        self.assertEqual(errors, [])
        out, _ = self.beck("pipe", "--help")
        for word in (b"Examples", b"--where EXPR", b"Exit status", b"--parallel N"):
            self.assertIn(word, out)
        self.assertRegex(self.beck("--version")[0], rb"^beck \d+\.\d+\.\d+\n$")
        out, _ = self.beck("info")
        self.assertIn((os.environ.get("BECK_BACKEND") or "backend").encode(), out)
        out, _ = self.beck("list")
        for scheme in (b"sqlite", b"ws-listen", b"file", b"exec", b"gen", b"null"):
            self.assertIn(b"\n" + scheme, out)
        self.assertIn("did you mean pipe?", self.beck("pip", status=2)[1][0])
        self.beck(status=2)

    def test_every_option_is_in_the_help_and_the_manual(self):
        manual = (SOURCE / "man/beck.1").read_text().replace("\\-", "-")
        text = self.beck("pipe", "--help")[0].decode()
        source = (SOURCE / "src/cli/args.c").read_text()
        names = [part.split('"')[0] for part in source.split('{"--')[1:]]
        self.assertGreater(len(names), 10)
        for name in names:
            if name != "help":
                self.assertIn(f"--{name}", text)
            self.assertIn(f"--{name}", manual)


if __name__ == "__main__":
    sys.exit(unittest.main())
