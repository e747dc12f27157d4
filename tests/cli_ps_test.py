#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""beck ps and beck tree: the tasks of a running program, linked either way, stripped or not; and
what they say when they cannot look."""
# limit 120

import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from built import sanitizer

SOURCE = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
BUILD = Path(os.environ.get("BECK_BUILD") or SOURCE / "build")
BECK = str(BUILD / "beck")

PROGRAM = r"""
#include <beck.h>
#include <unistd.h>

static bk_lock *db;
static bk_queue *in;

static int writer(void *ctx)
{
    (void)ctx;
    int r = bk_lock_acquire(db);
    return r < 0 ? r : bk_sleep(bk_seconds(1000));
}

static int reader(void *ctx)
{
    (void)ctx;
    int r = bk_lock_acquire(db);
    return r < 0 ? r : 1;
}

static int feed(void *ctx)
{
    int r = 0;
    (void)ctx;
    while (r == 0)
        r = bk_queue_put(in, ctx);
    return r;
}

static int say_ready(void *ctx)
{
    (void)ctx;
    return write(1, "ready\n", 6) == 6 ? 0 : -1;
}

static int run(void *ctx)
{
    (void)ctx;
    bk_lock_new(&db, "db");
    bk_queue_new(&in, &(bk_queue_opts){.limit = 3, .name = "in"});
    bk_go(NULL, writer, NULL, &(bk_task_opts){.name = "the writer"});
    bk_go(NULL, reader, NULL, NULL);
    for (int i = 0; i < 30; i++)
        bk_go(NULL, feed, NULL, NULL);
    bk_go(NULL, say_ready, NULL, NULL);
    return bk_sleep(bk_seconds(1000));
}

int main(void)
{
    return bk_run(run, NULL, NULL) < 0;
}
"""


def beck(*args):
    return subprocess.run([BECK, *map(str, args)], capture_output=True, text=True, timeout=60)


class Ps(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.source = Path(cls.folder.name) / "tasks.c"
        cls.source.write_text(PROGRAM)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def build(self, name, *how):
        path = Path(self.folder.name) / name
        subprocess.run(["cc", "-g", "-O1", "-fomit-frame-pointer", f"-I{SOURCE}/include",
                        "-o", path, self.source, *how, *sanitizer()], check=True)
        return path

    def start(self, path):
        process = subprocess.Popen([path], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process.pid

    def look(self, *args):
        said = beck(*args)
        if said.returncode == 1 and "the kernel does not let us" in said.stderr:
            self.skipTest(said.stderr)
        self.assertEqual(said.returncode, 0, said.stderr)
        self.assertEqual(said.stderr, "")
        return said.stdout

    def check_tree(self, text, lines=True):
        self.assertRegex(text, r"^loop 1 on thread \d+: 3[34] tasks")
        self.assertRegex(text, r"\n  #2 the writer: waits for sleep for 9\d\d\.\d{3} s more, since "
                               r"\d+\.\d{3} s \(started in run\+")
        self.assertRegex(text, r"\n  #3 reader: waits for lock 'db' held by #2 the writer since \d")
        self.assertRegex(text, r"\n  #4 feed: waits for queue put 'in' \(3 of 3\), since ")
        self.assertIn("    awaited by #3\n", text)
        where = r" \(tasks\.c:\d+\)" if lines else ""
        self.assertRegex(text, r"\n    at bk_sleep.*\n(    at bk_sleep.*\n)?"
                               r"    at writer\+0x[0-9a-f]+" + where)
        self.assertRegex(text, r"\n    at feed\+0x[0-9a-f]+" + where)
        self.assertRegex(text, r"\n  \.\.\. and 1[23] more beside them\n")

    def test_D4_a_program_with_the_shared_library(self):
        pid = self.start(self.build("shared", f"-L{BUILD}", "-lbeck", f"-Wl,-rpath,{BUILD}"))
        self.check_tree(self.look("tree", pid))
        table = self.look("ps", pid, "--all")
        self.assertRegex(table, r"^loop +task +parent +name +state +since +waits for +at\n")
        self.assertRegex(table, r"\n +1 +3 +1 +reader +waiting +\d+\.\d{3} +lock 'db' held by #2")
        self.assertEqual(len(re.findall(r"(?m)^ +1 +\d+ +1 +feed ", table)), 30)
        self.assertNotIn("... and", table)
        self.assertRegex(table, r"sleep for 9\d\d\.\d{3} s more +writer\+0x")
        self.assertRegex(self.look("ps", pid), r"\n\.\.\. and 1[23] more\n")
        self.assertNotIn("\n    at ", self.look("tree", "--no-stacks", pid))

    def test_D4_a_program_with_the_static_library(self):
        said = subprocess.run(["pkg-config", "--static", "--libs-only-l", "beck"], check=True,
                              capture_output=True, text=True,
                              env={**os.environ, "PKG_CONFIG_PATH": str(BUILD)}).stdout.split()
        path = self.build("static", BUILD / "libbeck.a", *(x for x in said if x != "-lbeck"))
        self.check_tree(self.look("tree", self.start(path)))
        stripped = path.with_name("stripped")
        subprocess.run(["strip", "-o", stripped, path], check=True)
        text = self.look("tree", self.start(stripped))
        self.assertRegex(text, r"\n  #2 the writer: waits for sleep")
        self.assertRegex(text, r"\n  #4 task: waits for queue put 'in' \(3 of 3\)")

    def test_D4_what_cannot_be_shown(self):
        sleeper = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(sleeper.wait)
        self.addCleanup(sleeper.kill)
        self.addCleanup(sleeper.stdout.close)
        self.addCleanup(sleeper.stdin.close)
        sleeper.stdin.write(b"x\n")
        sleeper.stdin.flush()
        sleeper.stdout.readline()
        said = beck("ps", sleeper.pid)
        self.assertEqual(said.returncode, 1)
        self.assertRegex(said.stderr, "is no beck program|the kernel does not let us")
        said = beck("ps", 2**31 - 1)
        self.assertEqual((said.returncode, said.stderr),
                         (1, "beck: there is no process 2147483647\n"))

    def test_the_command_line(self):
        for args, problem in [([], "the number of a process is missing"),
                              (["0"], "no process number: 0"), (["x"], "no process number: x"),
                              (["1", "2"], "one process at a time, not also 2"),
                              (["--al", "1"], "no option --al"),
                              (["1", "--retries"], "--retries wants a number"),
                              (["1", "--retries", "x"], "--retries wants a number")]:
            for command in "ps", "tree":
                said = beck(command, *args)
                self.assertEqual(said.returncode, 2)
                self.assertEqual(said.stderr,
                                 f"beck: beck {command}: {problem} ('beck {command} --help')\n")
        for args in ["ps", "--help"], ["tree", "-h"], ["help", "ps"], ["help", "tree"]:
            said = beck(*args)
            self.assertEqual(said.returncode, 0)
            self.assertIn("usage: beck ps PID", said.stdout)
        page = (SOURCE / "man/beck.1").read_text().replace("\\-", "-")
        for option in re.findall(r"(?m)^  (--[a-z-]+)", beck("ps", "--help").stdout):
            self.assertIn(option, page)


if __name__ == "__main__":
    unittest.main(verbosity=1)
