#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Programs whose system calls go wrong: the streams' unit tests, and tcp_echo with clients.

tests/sweep_shim.c, preloaded, makes calls fall short or fail; a limit on descriptors does it for
real.  Whatever happens, an echo is what was sent, from its beginning; a disturbance that nobody may
notice changes nothing; and a server that was out of descriptors recovers.
"""
# once
# limit 180

import contextlib
import os
import random
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

SOURCE = Path(os.environ.get("BECK_SOURCE") or Path(__file__).resolve().parent.parent)
BUILD = Path(os.environ.get("BECK_BUILD") or SOURCE / "build")
SECONDS = 40  # for any one thing to happen

UNNOTICED = ["recv short 40%", "send short 40%", "recv EINTR 20%", "send EINTR 20%",
             "recv EAGAIN 10%", "send EAGAIN 10%", "accept EINTR 20%", "epoll_wait EINTR 20%"]
INTERRUPTED = ["recv EINTR 30%", "send EINTR 30%", "accept EINTR 30%", "epoll_wait EINTR 30%"]


def fail(message):
    print(f"faults_test: {message}")
    sys.exit(1)


class Shim:
    """The preloaded library, and how many calls it made go wrong."""

    def __init__(self, folder):
        self.path = folder / "beck-shim.so"
        self.log = folder / "log"
        # By its name alone: a path in LD_PRELOAD ends at a space.
        self.search_path = ":".join(filter(None, [str(folder), os.environ.get("LD_LIBRARY_PATH")]))
        compiler = shlex.split(os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc"))
        subprocess.run([*compiler, "-D_GNU_SOURCE", "-O1", "-shared", "-fPIC", "-o", self.path,
                        SOURCE / "tests" / "sweep_shim.c"], check=True)

    def environment(self, rules, seed=1):
        self.log.unlink(missing_ok=True)
        return {**os.environ, "BECK_BACKEND": "epoll", "LD_PRELOAD": self.path.name,
                "LD_LIBRARY_PATH": self.search_path,
                "BECK_SHIM": ",".join(rules), "BECK_SHIM_SEED": str(seed),
                "BECK_SHIM_LOG": str(self.log)}

    def hits(self):
        return sum(int(line) for line in self.log.read_text().split())


@contextlib.contextmanager
def echo_server(environment, descriptors=None):
    """tcp_echo's port; afterwards the server must still be there, and end as it should."""
    def limit():
        if descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    server = subprocess.Popen([BUILD / "examples" / "tcp_echo"], env=environment, preexec_fn=limit,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        if not line:
            fail(f"tcp_echo did not start: {server.communicate()[1]}")
        yield int(line.rsplit(":", 1)[1])
        if server.poll() is not None:
            fail(f"tcp_echo has ended with {server.returncode}: {server.communicate()[1]}")
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=SECONDS)
        if server.returncode != 0:
            fail(f"after Ctrl-C tcp_echo ends with {server.returncode}")
    finally:
        server.kill()
        server.wait()


class Client(threading.Thread):
    """Sends `size` random bytes in pieces, then ends its side; reads until the server ends its."""

    def __init__(self, port, seed, size):
        super().__init__(daemon=True)
        self.port, self.size = port, size
        self.random = random.Random(seed)
        self.data = self.random.randbytes(size)
        self.received = b""
        self.error = None
        self.start()

    def send(self, connection):
        at = 0
        with contextlib.suppress(OSError):  # the reader will see it too
            while at < self.size:
                n = self.random.choice([1, 100, 5000, 60000])
                connection.sendall(self.data[at:at + n])
                at += n
            connection.shutdown(socket.SHUT_WR)

    def run(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS) as connection:
                sender = threading.Thread(target=self.send, args=(connection,), daemon=True)
                sender.start()
                while piece := connection.recv(65536):
                    self.received += piece
                sender.join(SECONDS)
        except OSError as error:
            self.error = error

    def finish(self):
        """Waits; returns whether the echo is whole."""
        self.join(SECONDS)
        if self.is_alive():
            fail(f"a client hangs after {len(self.received)} of {self.size} bytes")
        if not self.data.startswith(self.received):
            fail(f"{len(self.received)} bytes came back, and not those that were sent")
        return len(self.received) == self.size


def all_whole(clients):
    whole = [client.finish() for client in clients]
    if not all(whole):
        client = clients[whole.index(False)]
        fail(f"{len(client.received)} of {client.size} bytes came back, {client.error}")


# ---- Tests ----

def unit_tests_interrupted(shim):
    """What a signal interrupts is called again, everywhere."""
    for name in ["stream_read_test", "stream_write_test", "serve_test"]:
        run = subprocess.run([BUILD / "tests" / name], env=shim.environment(INTERRUPTED),
                             capture_output=True, text=True, timeout=120)
        if run.returncode != 0:
            fail(f"{name}, interrupted, fails:\n{run.stdout}{run.stderr}")
        if shim.hits() == 0:
            fail(f"{name}: nothing was interrupted")


def echo_disturbed(shim):
    for seed in range(1, 4):
        with echo_server(shim.environment(UNNOTICED, seed)) as port:
            all_whole([Client(port, seed * 100 + i, 200_000 + i) for i in range(6)])
        if shim.hits() < 100:
            fail(f"seed {seed}: only {shim.hits()} calls went wrong")


def echo_broken(shim):
    """Connections break, the server does not, and no wrong byte is ever sent."""
    rules = UNNOTICED[:2] + ["recv ECONNRESET 2%", "send ECONNRESET 1%", "recv ENOMEM 1%",
                             "epoll_ctl ENOMEM 4-5"]
    broken = 0
    for seed in range(1, 4):
        with echo_server(shim.environment(rules, seed)) as port:
            clients = [Client(port, seed * 100 + i, 100_000) for i in range(12)]
            broken += sum(not client.finish() for client in clients)
    if broken == 0:
        fail("no connection was ever broken")


def accept_recovers(shim):
    """Two accepts in a row without a descriptor: the server pauses, and takes everybody then."""
    for error in ["EMFILE", "ENOMEM"]:
        rules = [f"accept {error} 2-3", "accept ECONNABORTED 5"]
        with echo_server(shim.environment(rules)) as port:
            all_whole([Client(port, i, 10_000) for i in range(5)])
        if shim.hits() != 3:
            fail(f"{shim.hits()} accepts went wrong, not 3")


def accept_recovers_for_real(_shim):
    """More clients than descriptors: those in the queue are served as others leave."""
    for backend in ["epoll", "uring"]:
        with echo_server({**os.environ, "BECK_BACKEND": backend}, descriptors=16) as port:
            idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
            waiting = Client(port, 1, 10_000)
            waiting.join(0.2)
            if not waiting.is_alive():
                fail(f"{backend}: the limit on descriptors does not bite")
            for connection in idle:
                connection.close()
            all_whole([waiting, Client(port, 2, 10_000)])


def main():
    with tempfile.TemporaryDirectory(prefix="beck-faults-") as folder:
        shim = Shim(Path(folder))
        for test in [unit_tests_interrupted, echo_disturbed, echo_broken, accept_recovers,
                     accept_recovers_for_real]:
            test(shim)
            print(f"ok   {test.__name__}", flush=True)


if __name__ == "__main__":
    main()
