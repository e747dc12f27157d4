#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Measures beck beside its peers, interleaved in one run, and prints tables of medians.

usage: bench.py [-r RUNS] [--fifo] [switch|spawn|queue|channel|idle|echo|http|tls|ws ...]
(make bench runs all of it)

The peers are hand-written programs (the limit), State Threads (Debian's libst-dev), nginx and Go's
gorilla/websocket, left out when they are not installed.  Programs run on the first processor, what
gives them work on the second.  --fifo, as root, keeps other programs away from both meanwhile: for
a machine that is busy with something else.
"""
import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build")
PEERS = os.path.join(BUILD, "bench", "peers")
LIBS = {"st": ["-lst"], "uring": ["-luring"], "ws_push": ["-lcrypto"]}
TASKS = {
    "switch": "one task switch, two tasks yielding in turn",
    "spawn": "a tiny task created, run and joined, in batches of 1,000",
    "queue": "an item through a bounded queue of 64 between two tasks",
}
IDLE_TASKS = "1000000"
ECHO_SECONDS = "1.5"
IDLE_CONNECTIONS = "10000"
MESSAGES = {"ws_recv": 4000000, "ws_tasks": 2000000}


def compiler_of(source, name):
    if source.endswith(".go"):
        return ["go", "build", "-o", f"{PEERS}/{name}", source]
    libs = [flag for key, flags in LIBS.items() if name.startswith(key) for flag in flags]
    return ["gcc", "-O2", "-std=gnu17", "-D_GNU_SOURCE", "-o", f"{PEERS}/{name}", source, *libs]


def build_peers():
    os.makedirs(PEERS, exist_ok=True)
    folder = os.path.join(ROOT, "bench", "peers")
    # Debian's Go packages lie here; without "modules" nothing is fetched.
    env = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode",
           "GOCACHE": f"{PEERS}/go-cache"}
    for source in sorted(os.listdir(folder)):
        name, ext = os.path.splitext(source)
        if ext not in (".c", ".go"):
            continue
        command = compiler_of(f"{folder}/{source}", name)
        if not shutil.which(command[0]):
            print(f"bench: without {name}: {command[0]} is not installed", file=sys.stderr)
            continue
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        if done.returncode:
            print(f"bench: without {name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)


WRAPPER = []


def pinned(cpu, command):
    return [*WRAPPER, "taskset", "-c", str(cpu), *command]


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def result_of(output):
    line = re.search(r"^RESULT (.*)$", output, re.M)
    return {k: float(v) for k, v in (pair.split("=") for pair in line[1].split())}


def run(command, cpu=0, env=None):
    done = subprocess.run(pinned(cpu, command), capture_output=True, text=True,
                          env={**os.environ, **(env or {})})
    if done.returncode:
        raise SystemExit(f"bench: {command[0]}: {done.stdout}{done.stderr}")
    return result_of(done.stdout)


def spread(values, digits):
    return (f"{statistics.median(values):,.{digits}f}",
            f"{min(values):,.{digits}f}..{max(values):,.{digits}f}")


def table(heads, rows):
    print("| " + " | ".join(heads) + " |")
    print("|---|" + "---:|" * (len(heads) - 1))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def bench_tasks(which, runs):
    programs = {"beck": f"{BUILD}/bench/{which}", "State Threads": f"{PEERS}/st_{which}"}
    programs = {name: path for name, path in programs.items() if os.path.exists(path)}
    got = {name: [] for name in programs}
    for i in range(runs):
        for name, path in programs.items():
            progress(f"{which}: {name}, run {i + 1} of {runs}")
            got[name].append(run([path])["ns"])
    progress("")
    print(f"### {which}: {TASKS[which]}\n")
    best = min(statistics.median(v) for name, v in got.items() if name != "beck" or len(got) == 1)
    table(["", "ns", "min..max", "against the best peer"],
          [[name, *spread(v, 1), f"{statistics.median(v) / best:.2f}x"] for name, v in got.items()])


def bench_idle(runs):
    got = []
    for i in range(runs):
        progress(f"idle: run {i + 1} of {runs}")
        got.append(run([f"{BUILD}/bench/idle", IDLE_TASKS]))
    progress("")
    print(f"### idle: {int(IDLE_TASKS):,} tasks waiting for an event\n")
    table(["", "bytes resident each", "page-table bytes each", "ns to create"],
          [["beck", *(f"{statistics.median(r[k] for r in got):,.0f}"
                      for k in ("rss_B", "pte_B", "create_ns"))]])


def bench_channel(runs):
    """Two threads, each free to run on either processor."""
    cases = {f"{how}, room for {limit}": [f"{BUILD}/bench/channel", how, limit]
             for limit in ("64", "1024") for how in ("threads", "loops", "mixed")}
    got = {case: [] for case in cases}
    for i in range(runs):
        for case, command in cases.items():
            progress(f"channel: {case}, run {i + 1} of {runs}")
            done = subprocess.run([*WRAPPER, *command], capture_output=True, text=True, check=True)
            got[case].append(result_of(done.stdout))
    progress("")
    print("### channel: a message from one thread to another\n")
    table(["", "ns", "min..max", "processor time, ns"],
          [[case, *spread([r["ns"] for r in results], 1),
            f"{statistics.median(r['cpu_ns'] for r in results):,.1f}"]
           for case, results in got.items()])


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load_once(command, port, env, client):
    """Runs a server on the first processor and its client on the second: what that measured."""
    server = subprocess.Popen(["taskset", "-c", "0", *command], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env={**os.environ, **env})
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", int(port)), 1).close()
                break
            except OSError:
                time.sleep(0.01)
        before = cpu_seconds(server.pid)
        got = run(client, cpu=1)
        got["us"] = (cpu_seconds(server.pid) - before) * 1e6 / (got["rps"] * float(client[-1]))
        return got
    finally:
        server.kill()
        server.wait()


def load_table(got, best, against):
    table(["", "requests/s", "min..max", against, "server CPU us each", "p99 us"],
          [[name, *spread([r["rps"] for r in v], 0),
            f"{statistics.median(r['rps'] for r in v) / best:.0%}",
            f"{statistics.median(r['us'] for r in v):.2f}",
            f"{statistics.median(r['p99_us'] for r in v):,.0f}"] for name, v in got.items()])


def bench_echo(connections, runs):
    servers = {
        "epoll by hand": ([f"{PEERS}/epoll_echo"], {}),
        "io_uring by hand": ([f"{PEERS}/uring_echo"], {}),
        "beck, io_uring": ([f"{BUILD}/examples/tcp_echo"], {"BECK_BACKEND": "uring"}),
        "beck, epoll": ([f"{BUILD}/examples/tcp_echo"], {"BECK_BACKEND": "epoll"}),
    }
    got = {name: [] for name in servers}
    for i in range(runs):
        for name, (command, env) in servers.items():
            progress(f"echo, {connections} connections: {name}, run {i + 1} of {runs}")
            port = str(free_port())
            client = [f"{PEERS}/echo_client", port, str(connections), "64", ECHO_SECONDS]
            got[name].append(load_once([*command, port], port, env, client))
    progress("")
    best = max(statistics.median(r["rps"] for r in got[name]) for name in got if "hand" in name)
    print(f"### echo: {connections} connections, 64 bytes, one message in flight each\n")
    load_table(got, best, "of the best by hand")


NGINX = """
daemon off;
master_process off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 4096; multi_accept on; }}
http {{
    access_log off;
    sendfile on;
    tcp_nodelay on;
    keepalive_requests 1000000000;
    open_file_cache max=16;
    default_type text/plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; }}
}}
"""


def nginx(folder, port):
    """A command that serves a file of six bytes, the names of files cached."""
    with open(f"{folder}/hello.txt", "w", encoding="ascii") as f:
        f.write("hello\n")
    with open(f"{folder}/nginx.conf", "w", encoding="ascii") as f:
        f.write(NGINX.format(folder=folder, port=port))
    return ["nginx", "-p", folder, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]


def bench_http(connections, in_flight, runs):
    hello = f"{BUILD}/bench/http_hello"
    servers = {
        "beck, io_uring": {"BECK_BACKEND": "uring"},
        "beck, epoll": {"BECK_BACKEND": "epoll"},
    }
    if shutil.which("nginx"):
        servers = {"nginx, a file": {}, **servers}
    got = {name: [] for name in servers}
    for i in range(runs):
        for name, env in servers.items():
            progress(f"http, {connections} connections: {name}, run {i + 1} of {runs}")
            port = str(free_port())
            client = [f"{PEERS}/http_client", port, str(connections), str(in_flight), ECHO_SECONDS]
            with tempfile.TemporaryDirectory() as folder:
                command = [hello, port] if env else nginx(folder, port)
                got[name].append(load_once(command, port, env, client))
    progress("")
    best = statistics.median(r["rps"] for r in next(iter(got.values())))
    print(f"### http: {connections} connections, {in_flight} requests in flight on each\n")
    load_table(got, best, f"of {next(iter(got))}")


def bench_tls(runs):
    programs = {
        "OpenSSL by hand": (["hand"], {}),
        "beck, io_uring": ([], {"BECK_BACKEND": "uring"}),
        "beck, epoll": ([], {"BECK_BACKEND": "epoll"}),
        "beck, epoll, without TLS": (["plain"], {"BECK_BACKEND": "epoll"}),
    }
    got = {name: [] for name in programs}
    for i in range(runs):
        for name, (words, env) in programs.items():
            progress(f"tls: {name}, run {i + 1} of {runs}")
            got[name].append(run([f"{BUILD}/bench/tls", *words], env=env))
    progress("")
    print("### tls: both ends on one thread, CPU time\n")
    table(["", "MB/s in writes of 16 KiB", "min..max", "64 bytes there and back, us",
           "handshake, both ends, us", "bytes of an idle end"],
          [[name, *spread([r["mb_s"] for r in v], 0),
            f"{statistics.median(r['ping_us'] for r in v):.1f}",
            f"{statistics.median(r['handshake_us'] for r in v):,.0f}",
            f"{statistics.median(r['idle_bytes'] for r in v):,.0f}"] for name, v in got.items()])
def run_measured(command, env):
    """What it says, and its processor seconds and most MiB of memory."""
    done = subprocess.run(pinned(0, ["/usr/bin/time", "-f", "TIME %U %S %M", *command]),
                          capture_output=True, text=True, env={**os.environ, **env})
    time_line = re.search(r"^TIME (\S+) (\S+) (\d+)$", done.stderr, re.M)
    if done.returncode or not time_line:
        raise SystemExit(f"bench: {command[0]}: {done.stdout}{done.stderr}")
    user, system, kib = time_line.groups()
    return {**result_of(done.stdout), "cpu_s": float(user) + float(system),
            "rss_MiB": int(kib) / 1024}


WS = {
    "ws_recv": ("small JSON messages received by one task", {
        "by hand": ([f"{PEERS}/ws_hand_recv"], [], {}),
        "by hand, every byte read": ([f"{PEERS}/ws_hand_recv"], ["utf8"], {}),
        "beck, io_uring": ([f"{BUILD}/bench/ws_recv"], [], {"BECK_BACKEND": "uring"}),
        "beck, epoll": ([f"{BUILD}/bench/ws_recv"], [], {"BECK_BACKEND": "epoll"}),
        "gorilla (Go)": ([f"{PEERS}/ws_gorilla"], [], {"GOMAXPROCS": "1"}),
    }),
    "ws_tasks": ("a task for each message, its JSON parsed and added up", {
        "by hand, without tasks": ([f"{PEERS}/ws_hand_tasks"], [], {}),
        "beck, io_uring": ([f"{BUILD}/bench/ws_tasks"], [], {"BECK_BACKEND": "uring"}),
        "beck, epoll": ([f"{BUILD}/bench/ws_tasks"], [], {"BECK_BACKEND": "epoll"}),
    }),
}


def bench_ws_job(job, port, runs):
    what, programs = WS[job]
    n = MESSAGES[job]
    programs = {name: p for name, p in programs.items() if os.path.exists(p[0][0])}
    got = {name: [] for name in programs}
    for i in range(runs):
        for name, (command, more, env) in programs.items():
            progress(f"{job}: {name}, run {i + 1} of {runs}")
            got[name].append(run_measured([*command, port, str(n), "0", *more], env))
    progress("")
    limit = statistics.median(r["msgs_s"] for r in got[next(iter(got))])
    print(f"### {job}: {what}\n")
    table(["", "messages/s", "min..max", "of by hand", "CPU ns each", "MiB"],
          [[name, *spread([r["msgs_s"] for r in v], 0),
            f"{statistics.median(r['msgs_s'] for r in v) / limit:.0%}",
            f"{statistics.median(r['cpu_s'] for r in v) * 1e9 / n:,.0f}",
            f"{max(r['rss_MiB'] for r in v):.0f}"] for name, v in got.items()])


def bench_ws(runs):
    port = str(free_port())
    server = subprocess.Popen(pinned(1, [f"{PEERS}/ws_push", port]))
    try:
        time.sleep(0.2)  # it fills its memory
        for job in WS:
            bench_ws_job(job, port, runs)
    finally:
        server.kill()
        server.wait()
    got = [run([f"{BUILD}/bench/idle_ws", IDLE_CONNECTIONS]) for _ in range(min(runs, 3))]
    print(f"### idle_ws: {int(IDLE_CONNECTIONS):,} idle WebSocket connections, the server alone\n")
    table(["", "bytes resident each", "after a message each"],
          [["beck", *(f"{statistics.median(r[k] for r in got):,.0f}"
                      for k in ("rss_B", "echoed_rss_B"))]])


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("-r", type=int, default=5)
    parser.add_argument("--fifo", action="store_true")
    parser.add_argument("what", nargs="*",
                        default=[*TASKS, "channel", "idle", "echo", "http", "tls", "ws"])
    args = parser.parse_args()
    if args.fifo:
        WRAPPER[:] = ["chrt", "-f", "40"]
    build_peers()
    for what in args.what:
        if what in TASKS:
            bench_tasks(what, args.r)
        elif what == "channel":
            bench_channel(args.r)
        elif what == "idle":
            bench_idle(min(args.r, 3))
        elif what == "echo":
            for connections in (50, 1000):
                bench_echo(connections, args.r)
        elif what == "http":
            for connections, in_flight in ((50, 1), (1000, 1), (50, 16)):
                bench_http(connections, in_flight, args.r)
        elif what == "tls":
            bench_tls(args.r)
        elif what == "ws":
            bench_ws(args.r)
        else:
            parser.error(f"no benchmark '{what}'")


if __name__ == "__main__":
    main()
