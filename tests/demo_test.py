#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The demonstration: its numbers, its picture, Ctrl-C at a terminal, and kill -9 at any moment."""
# limit 180

import fcntl
import json
import os
import pty
import random
import re
import select
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import termios
import unittest
from pathlib import Path

SOURCE = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
BUILD = Path(os.environ.get("BECK_BUILD") or SOURCE / "build")
QUAKES = SOURCE / "examples/data/earthquakes.ndjson"
DEMO = SOURCE / "scripts/demo.sh"
WHOLE = "600000x"   # the week in a second
MIDDLE = "60000x"   # long enough to be interrupted in the middle on a busy machine
LIMIT = 60

SUMMARY = re.compile(r"(\d+) received, (\d+) processed, (\d+) stored, (\d+) lost")
PICTURE = re.compile(r"(\d+) received +(\d+) stored +(\d+) tasks in flight")
ESCAPE = re.compile(r"\033\[[0-9;]*[A-Za-z]")


class Terminal:
    """A process at a terminal of its own, as the leader of its session."""

    def __init__(self, args, columns=80, rows=24, **environment):
        self.seen = ""
        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        env = {**os.environ, "TERM": "xterm", **environment}
        env.pop("NO_COLOR" if "NO_COLOR" not in environment else "", None)
        self.process = subprocess.Popen(
            list(map(str, args)), stdin=child, stdout=child, stderr=child, env=env,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(child)
        self.fd = parent

    def read(self):
        """More output, False at its end."""
        if not select.select([self.fd], [], [], LIMIT)[0]:
            raise AssertionError(f"nothing more after {self.seen[-500:]!r}")
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # nobody has the other side open
            return False
        self.seen += data.decode()
        return bool(data)

    def until(self, reached):
        """Reads until reached(what was seen) gives something true, and returns that."""
        while not (found := reached(self.seen)):
            if not self.read():
                raise AssertionError(f"it ended first: {self.seen[-500:]!r}")
        return found

    def stored(self, n):
        """Reads until the picture says that n are stored; how many it said."""
        def enough(seen):
            last = PICTURE.findall(seen)
            return int(last[-1][1]) if last and int(last[-1][1]) >= n else 0
        return self.until(enough)

    def press(self, key):
        os.write(self.fd, key)

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.fd)


def child_of(pid, program):
    """The process id of a child that runs such a program, None while there is none."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children:
        try:
            if os.readlink(f"/proc/{child}/exe").endswith(program):
                return int(child)
        except OSError:  # gone meanwhile
            pass
    return None


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="beck-test-")
        self.addCleanup(folder.cleanup)
        self.database = Path(folder.name) / "quakes.db"
        lines = QUAKES.read_text().splitlines()
        self.quakes = {quake["id"]: quake for quake in map(json.loads, lines)}

    def terminal(self, *args, **more):
        terminal = Terminal(args, **more)
        self.addCleanup(terminal.close)
        return terminal

    def demo(self, speed, **more):
        return self.terminal(DEMO, BUILD, BECK_DEMO_SPEED=speed,
                             BECK_DEMO_DATABASE=str(self.database), **more)

    def sender(self, speed):
        """The demonstration's first half: the process, and where it listens."""
        sender = subprocess.Popen(
            [BUILD / "beck", "pipe", f"file:{QUAKES}?pace=time&speed={speed}", "--to",
             "ws-listen:127.0.0.1:0?wait=1", "--progress", "never"],
            stderr=subprocess.PIPE, text=True)
        self.addCleanup(sender.stderr.close)
        self.addCleanup(sender.wait)
        self.addCleanup(sender.kill)
        return sender, sender.stderr.readline().split()[-1]

    def receiver(self, speed, **more):
        sender, url = self.sender(speed)
        return sender, self.terminal(BUILD / "examples/earthquakes", url, self.database, **more)

    def rows(self):
        """How many rows there are; each must be what was sent under that id."""
        db = sqlite3.connect(self.database)
        try:
            self.assertEqual(db.execute("pragma integrity_check").fetchall(), [("ok",)])
            found = db.execute("select * from quakes")
            columns = [column[0] for column in found.description]
            self.assertEqual(columns, list(next(iter(self.quakes.values()))))
            n = 0
            for n, row in enumerate(found, 1):
                row = dict(zip(columns, row))
                self.assertEqual(row, self.quakes[row["id"]])
            return n
        finally:
            db.close()

    def ended(self, terminal, *statuses):
        """Waits for the end, with one of these exit statuses; everything it wrote."""
        while terminal.read():
            pass
        self.assertIn(terminal.process.wait(timeout=LIMIT), statuses, terminal.seen[-1000:])
        return terminal.seen

    def until_rows(self, terminal):
        """Waits for the first row; nothing else shows that the process is at work."""
        while terminal.process.poll() is None:
            try:
                if self.rows():
                    return
            except sqlite3.OperationalError:  # there is no database yet, or no table in it
                pass
            select.select([terminal.fd], [], [], 0.01)
        self.fail("it ended first")

    def drained(self, seen):
        """Checks the words after a Ctrl-C, and that the database has what they say; how many."""
        self.assertRegex(seen, r"stopping: \d+ earthquakes in flight are finished and stored first")
        received, processed, stored, lost = map(int, SUMMARY.search(seen).groups())
        self.assertEqual((processed, stored, lost), (received, received, 0), seen[-1000:])
        self.assertEqual(self.rows(), stored)
        self.assertLess(stored, len(self.quakes))
        return stored


class Whole(Case):
    def run_to_the_end(self, *args, status, **more):
        run = subprocess.run(args, capture_output=True, text=True, timeout=LIMIT, check=False,
                             stdin=subprocess.DEVNULL, **more)
        self.assertEqual(run.returncode, status, run)
        return run

    def test_its_numbers(self):
        env = {"BECK_DEMO_SPEED": WHOLE, "BECK_DEMO_DATABASE": str(self.database)}
        run = self.run_to_the_end(DEMO, BUILD, status=0, env={**os.environ, **env})
        self.assertEqual(run.stderr, "")
        self.assertIn("\n1707 received, 1707 processed, 1707 stored, 0 lost in ", run.stdout)
        self.assertIn("\n1707 rows in the database", run.stdout)
        self.assertRegex(run.stdout, r"5 and more +39 +6.4 +22km NNE of Hualian, Taiwan")
        self.assertNotIn("\033", run.stdout)
        count = self.run_to_the_end("sqlite3", self.database, "select count(*) from quakes",
                                    status=0)
        self.assertEqual(count.stdout, "1707\n")
        self.assertEqual(self.rows(), 1707)

    def test_without_a_build(self):
        run = self.run_to_the_end(DEMO, self.database.parent, status=1)
        self.assertRegex(run.stderr, r"^demo: there is no beck in .*: run make first\n$")

    def test_without_a_server(self):
        run = self.run_to_the_end(BUILD / "examples/earthquakes", "ws://127.0.0.1:1/",
                                  self.database, status=1)
        self.assertEqual(run.stdout, "")
        self.assertRegex(run.stderr, r"^earthquakes: ws://127\.0\.0\.1:1/.*refused.*\n$")


class Picture(Case):
    def picture(self, **more):
        """What the demonstration writes on a terminal."""
        seen = self.ended(self.demo(WHOLE, **more), 0)
        self.assertIn("1707 received, 1707 processed, 1707 stored, 0 lost", seen)
        return seen

    def test_what_it_shows(self):
        seen = self.picture()
        self.assertRegex(seen, r"1707 received +1707 stored +0 tasks in flight")
        self.assertIn("\033[31m    6.4  22km NNE of Hualian, Taiwan", seen)
        self.assertGreater(max(int(found[2]) for found in PICTURE.findall(seen)), 0)
        self.assertNotIn("\033[?", seen)  # no mode of the terminal is changed
        # Each picture goes up as many lines as the one before has.
        frames = re.split(r"\033\[(\d+)A\r", seen)
        for before, up in zip(frames[2::2], frames[3::2]):
            self.assertEqual(before.count("\n"), int(up))

    def test_lines_are_cut(self):
        seen = self.picture(columns=40, rows=5)
        frames = re.split(r"\033\[\d+A\r", seen.split("0 lost")[0])[1:]
        self.assertGreater(len(frames), 3)
        for frame in frames[:-1]:
            lines = ESCAPE.sub("", frame).replace("\r", "").splitlines()
            self.assertLess(max(map(len, lines)), 40, lines)
            self.assertLess(len(lines), 5)

    def test_without_colour(self):
        self.assertNotRegex(self.picture(NO_COLOR="1"), r"\033\[[0-9;]*m")
        self.assertNotIn("\033", self.picture(TERM="dumb"))


class Interrupts(Case):
    def test_the_receiver_drains(self):
        for signo in (signal.SIGINT, signal.SIGTERM):
            self.database.unlink(missing_ok=True)
            _, terminal = self.receiver(MIDDLE)
            said = terminal.stored(100)
            terminal.process.send_signal(signo)
            seen = self.ended(terminal, 0)
            self.assertGreaterEqual(self.drained(seen), said)

    def test_without_a_picture_it_says_so_too(self):
        _, terminal = self.receiver(MIDDLE, TERM="dumb")
        self.until_rows(terminal)
        terminal.process.send_signal(signal.SIGINT)
        seen = self.ended(terminal, 0)
        self.assertGreater(self.drained(seen), 0)
        self.assertEqual(seen.count("stopping: "), 1)

    def test_ctrl_c_at_a_terminal(self):
        """The whole demonstration is interrupted, as a terminal does it."""
        terminal = self.demo(MIDDLE)
        terminal.stored(100)
        terminal.press(b"\3")
        seen = self.ended(terminal, 0)
        stored = self.drained(seen)
        self.assertIn(f"\n{stored} rows in the database", seen)

    def test_impatience(self):
        """Somebody else holds the database, so that it cannot drain: a few more Ctrl-C end it at
        once, and what was said to be stored is there."""
        _, terminal = self.receiver(MIDDLE)
        terminal.stored(100)
        db = sqlite3.connect(self.database, isolation_level=None, timeout=LIMIT)
        db.execute("begin immediate")
        terminal.press(b"\3")
        while terminal.read():
            if "stopping: " in terminal.seen:
                terminal.press(b"\3")
        seen = self.ended(terminal, -signal.SIGINT)
        db.execute("rollback")
        db.close()
        self.assertGreaterEqual(self.rows(), int(PICTURE.findall(seen)[-1][1]))


class Kills(Case):
    def test_kill_9_leaves_whole_rows(self):
        rng = random.Random()
        for _ in range(4):
            for path in self.database.parent.iterdir():
                path.unlink()
            sender, terminal = self.receiver(WHOLE)
            terminal.stored(rng.randrange(1, 1200))
            try:
                terminal.process.wait(timeout=rng.uniform(0, 0.1))
            except subprocess.TimeoutExpired:
                terminal.process.kill()
            seen = self.ended(terminal, 0, -signal.SIGKILL)
            self.assertGreaterEqual(self.rows(), int(PICTURE.findall(seen)[-1][1]))
            self.assertEqual(sender.wait(timeout=LIMIT), 0, "the sender")
            self.assertIn(" 0 lost", sender.stderr.read())

    def test_kill_9_within_the_demonstration(self):
        """The script ends, says what is in the database, and ends the sender too."""
        terminal = self.demo(MIDDLE)
        said = terminal.stored(100)
        sender = os.pidfd_open(child_of(terminal.process.pid, "/beck"))
        self.addCleanup(os.close, sender)
        os.kill(child_of(terminal.process.pid, "/earthquakes"), signal.SIGKILL)
        seen = self.ended(terminal, 128 + signal.SIGKILL)
        n = self.rows()
        self.assertGreaterEqual(n, said)
        self.assertIn(f"\n{n} rows in the database", seen)
        self.assertTrue(select.select([sender], [], [], LIMIT)[0], "the sender is still there")

    def test_a_sender_that_dies(self):
        terminal = self.demo(MIDDLE)
        terminal.stored(100)
        os.kill(child_of(terminal.process.pid, "/beck"), signal.SIGKILL)
        seen = self.ended(terminal, 1)
        self.assertIn("connection lost", seen)
        received, _, stored, lost = map(int, SUMMARY.search(seen).groups())
        self.assertEqual((stored, lost), (received, 0), seen[-1000:])
        self.assertEqual(self.rows(), stored)


if __name__ == "__main__":
    sys.exit(unittest.main())
