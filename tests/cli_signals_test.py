#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""beck pipe while it runs: signals, readers that leave, kills, stalled sinks, the user's stages."""
# limit 120

import json
import os
import pty
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
BUILD = Path(os.environ.get("BECK_BUILD") or SOURCE / "build")
BECK = os.environ.get("BECK_COMMAND") or str(BUILD / "beck")
ERASE = b"\r\033[K"
# A command that never reads, and ends with beck.
STALLED = "exec:exec tail --pid=$PPID -f /dev/null 2> /dev/null"

PLUGIN = r"""
#include <beck.h>

static long number(const bk_msg *msg)
{
    bk_span text = bk_msg_span(msg);
    long n = 0;
    for (size_t i = 0; i < text.len; i++)
        n = n * 10 + (text.data[i] - '0');
    return n;
}

/* Work of unlike length: 0 to 16 ms. */
int work(void *ctx, bk_msg **msg)
{
    (void)ctx;
    return bk_sleep(bk_ms(number(*msg) * 7919 % 17));
}

int drop_odd(void *ctx, bk_msg **msg)
{
    (void)ctx;
    if (number(*msg) % 2)
        bk_msg_free(msg);
    return 0;
}

int refuse_5(void *ctx, bk_msg **msg)
{
    (void)ctx;
    return number(*msg) == 5 ? bk_fail(-BK_EFORMAT, "not five") : 0;
}
"""


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="beck-test-")
        self.dir = Path(self.folder.name)
        self.addCleanup(self.folder.cleanup)

    def start(self, *args, **more):
        process = subprocess.Popen([BECK, "pipe", *map(str, args)], cwd=self.dir, text=True,
                                   stderr=subprocess.PIPE, **more)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()

    def until(self, process, reached):
        """Reads the lines of --stats until one of them satisfies reached(); returns it."""
        for line in process.stderr:
            if line.startswith("{") and reached(json.loads(line)):
                return json.loads(line)
        self.fail("the process ended first")

    def rest(self, process):
        """The lines that are left on stderr, without the statistics, and the exit status."""
        lines = [line for line in process.stderr.read().splitlines() if not line.startswith("{")]
        return lines, process.wait(timeout=60)

    def count(self, table="t"):
        db = sqlite3.connect(self.dir / "t.db")
        try:
            self.assertEqual(db.execute("pragma integrity_check").fetchall(), [("ok",)])
            return db.execute(f"select count(*), min(id), max(id) from {table}").fetchone()
        finally:
            db.close()


class Signals(Case):
    def drained(self, signo):
        process = self.start("gen:?rate=2000/s", "--to", "sqlite:t.db?table=t", "--stats", "20ms")
        self.until(process, lambda s: s["stored"] > 100)
        process.send_signal(signo)
        lines, status = self.rest(process)
        self.assertEqual(status, 0, lines)
        self.assertIn("taking no more, finishing", lines[0])
        summary = r"beck: (\d+) received, \d+ processed, (\d+) stored, (\d+) lost in"
        received, stored, lost = map(int, re.match(summary, lines[1]).groups())
        self.assertEqual((stored, lost), (received, 0), lines)
        self.assertEqual(self.count(), (stored, 1, stored))

    def test_interrupt_drains(self):
        self.drained(signal.SIGINT)

    def test_terminate_drains(self):
        self.drained(signal.SIGTERM)

    def test_what_a_pipe_has_given_is_finished(self):
        """All lines that beck has read come out, although it is interrupted in the middle."""
        process = self.start("-", "--to", "file:out", "--stats", "5ms", stdin=subprocess.PIPE)
        process.stdin.write("".join(f"{n}\n" for n in range(1000)))
        process.stdin.flush()
        self.until(process, lambda s: s["stored"] == 1000)
        process.stdin.write("incomplete")
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        lines, status = self.rest(process)
        self.assertEqual(status, 0, lines)
        self.assertEqual((self.dir / "out").read_text().split(), [str(n) for n in range(1000)])

    def stuck(self, *args):
        process = self.start("gen:", "--to", STALLED, "--stats", "20ms", "--in-flight", "500",
                             *args)
        self.until(process, lambda s: s["in_flight"] == 500)
        return process

    def test_a_second_signal_stops(self):
        for signo, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            process = self.stuck()
            process.send_signal(signo)
            for line in process.stderr:
                if "taking no more" in line:
                    break
            process.send_signal(signo)
            lines, got = self.rest(process)
            self.assertEqual(got, status, lines)
            self.assertIn("left in the source", lines[-1])

    def test_a_drain_has_its_time(self):
        process = self.stuck("--drain", "50ms")
        process.send_signal(signal.SIGINT)
        lines, status = self.rest(process)
        self.assertEqual(status, 75, lines)
        self.assertIn("not finished after --drain", lines[1])

    def test_a_dump_on_request(self):
        process = self.stuck()
        process.send_signal(signal.SIGUSR1)
        seen = ""
        for line in process.stderr:
            seen += line
            if "gen:" in seen and "exec:" in seen:
                break
        process.kill()
        self.assertIn("room in", seen)

    def test_for_ends_in_time(self):
        process = self.start("gen:?rate=100/s", "--to", "null:", "--for", "200ms")
        lines, status = self.rest(process)
        self.assertEqual(status, 0)
        received = int(lines[-1].split()[1])
        self.assertGreater(received, 0, lines)


class Bounds(Case):
    def test_a_stalled_sink_stalls_the_source(self):
        process = self.start("gen:", "--to", STALLED, "--in-flight", "300", "--stats", "20ms")
        full = self.until(process, lambda s: s["in_flight"] == 300)
        later = [json.loads(process.stderr.readline()) for _ in range(5)]
        for stats in later:
            self.assertEqual(stats["in_flight"], 300)
            self.assertEqual(stats["received"], full["received"])
            self.assertEqual(stats["peak"], 300)

    def test_bytes_are_a_bound_too(self):
        process = self.start("gen:?size=10000", "--to", STALLED, "--memory", "200KiB",
                             "--stats", "20ms")
        self.until(process, lambda s: s["bytes"] >= 200 << 10)
        later = [json.loads(process.stderr.readline()) for _ in range(5)]
        self.assertTrue(all(s["bytes"] <= (200 << 10) + 10000 for s in later), later)


class Kills(Case):
    def test_kill_9_leaves_whole_rows(self):
        """What was said to be stored is in the database, in order and without a gap."""
        for _ in range(3):
            process = self.start("gen:", "--to", "sqlite:t.db?table=t", "--stats", "5ms")
            said = self.until(process, lambda s: s["stored"] > 3000)["stored"]
            process.kill()
            process.wait()
            for line in process.stderr:
                if line.startswith("{") and line.endswith("}\n"):
                    said = json.loads(line)["stored"]
            n, first, last = self.count()
            self.assertGreaterEqual(n, said)
            self.assertEqual((first, last), (1, n))
            for path in self.dir.glob("t.db*"):
                path.unlink()


class Readers(Case):
    def test_a_reader_that_leaves_is_the_end(self):
        process = self.start("gen:", "--to", "-", stdout=subprocess.PIPE)
        self.assertIn('"id":1,', process.stdout.readline())
        process.stdout.close()
        lines, status = self.rest(process)
        self.assertEqual(status, 0, lines)
        self.assertIn(" 0 lost", lines[-1])

    def test_output_comes_when_the_source_is_idle(self):
        process = self.start("-", "--where", "true", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for n in range(5):
            process.stdin.write(f"{n}\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), f"{n}\n")
        process.stdin.close()
        self.assertEqual(self.rest(process)[1], 0)


class Terminal(Case):
    """Standard error is a terminal."""

    def on_terminal(self, *args, draws=0, **more):
        """What beck says on a terminal; it is interrupted once it has drawn its line so often."""
        mine, theirs = pty.openpty()
        process = subprocess.Popen([BECK, "pipe", *args], stderr=theirs, cwd=self.dir, **more)
        os.close(theirs)
        seen = b""
        try:
            while data := os.read(mine, 65536):
                seen += data
                if draws and seen.count(ERASE) > draws:
                    process.send_signal(signal.SIGINT)
                    draws = 0
        except OSError:  # the other side is closed
            pass
        os.close(mine)
        self.assertEqual(process.wait(timeout=60), 0)
        return seen.decode()

    def test_a_progress_line_that_goes_away(self):
        seen = self.on_terminal("gen:?rate=1000/s", "--to", "null:", draws=3,
                                env={**os.environ, "TERM": "xterm"})
        drawn = seen.split(ERASE.decode())
        self.assertRegex(drawn[2], r"^\d+ received  \d+ processed  \d+ stored  \d+ in flight ")
        self.assertIn("beck: interrupted: taking no more", seen)
        self.assertRegex(drawn[-1], r"beck: \d+ received, .* 0 lost in [\d.]+ s")
        self.assertTrue(all(len(line) < 80 for line in drawn[:3]))

    def test_none_where_it_is_not_wanted(self):
        for args, term in ((["--progress", "never"], "xterm"), (["-q"], "xterm"), ([], "dumb")):
            seen = self.on_terminal("gen:?rate=1000/s", "--for", "250ms", "--to", "null:", *args,
                                    env={**os.environ, "TERM": term})
            self.assertNotIn("\033", seen)


@unittest.skipUnless(shutil.which("cc"), "no compiler here")
class Plugins(Case):
    def setUp(self):
        super().setUp()
        (self.dir / "mine.c").write_text(PLUGIN)
        subprocess.run(["cc", "-shared", "-fPIC", f"-I{SOURCE}/include", "mine.c", "-o", "mine.so"],
                       cwd=self.dir, check=True)

    def numbers(self, *args, status=0):
        run = subprocess.run([BECK, "pipe", "-q", "exec:seq 200", *args], cwd=self.dir, text=True,
                             capture_output=True, timeout=60, check=False)
        self.assertEqual(run.returncode, status, run.stderr)
        self.error = run.stderr
        return [int(line) for line in run.stdout.split()]

    def test_one_after_the_other(self):
        self.assertEqual(self.numbers("--so", "./mine.so:drop_odd"), list(range(2, 201, 2)))

    def test_ordered_and_not(self):
        everything = list(range(1, 201))
        some_order = self.numbers("--so", "mine.so:work", "--parallel", "50")
        self.assertNotEqual(some_order, everything)
        self.assertEqual(sorted(some_order), everything)
        self.assertEqual(self.numbers("--so", "mine.so:work", "--parallel", "50", "--ordered"),
                         everything)

    def test_a_default_for_all_stages(self):
        self.assertEqual(self.numbers("--parallel=8", "--ordered", "--so", "mine.so:work",
                                      "--so", "mine.so:drop_odd"), list(range(2, 201, 2)))

    def test_a_stage_that_refuses(self):
        self.assertEqual(self.numbers("--so", "mine.so:refuse_5", status=65), [1, 2, 3, 4])
        self.assertEqual(self.error, "beck: exec:seq 200:5: mine.so:refuse_5: not five\n")

    def test_a_function_that_is_not_there(self):
        self.numbers("--so", "mine.so:nothing", status=2)
        self.assertIn("there is no function nothing in it", self.error)


if __name__ == "__main__":
    sys.exit(unittest.main())
