#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""TLS as others see it: the openssl command and Python's ssl against tls_echo and tls_cat."""
# limit 240

import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

BUILD = Path(os.environ["BECK_BUILD"])
FOLDER = Path(tempfile.mkdtemp(prefix="beck-tls-"))
OLD = "DEFAULT:@SECLEVEL=0"
checks = {"passed": 0, "failed": 0}


def check(name, ok, detail=""):
    checks["passed" if ok else "failed"] += 1
    if not ok:
        print(f"FAIL {name}: ...{str(detail)[-800:]}", file=sys.stderr)


def run(command, given="", timeout=60, **more):
    """(status, what was printed) of a command that is given a text."""
    done = subprocess.run([str(word) for word in command], input=given, capture_output=True,
                          text=True, timeout=timeout, errors="replace", **more)
    return done.returncode, done.stdout + done.stderr


def openssl(*words, given="", **more):
    return run(["openssl", *words], given, **more)


# ---- Certificates, made by the openssl command ----

def pem(name):
    return FOLDER / f"{name}.pem"


def make(name, issuer, subject, alternative=None, days=30, start=None, key=("EC", "P-256")):
    """NAME.pem: certificate and key."""
    kind = ["-algorithm", "EC", "-pkeyopt", f"ec_paramgen_curve:{key[1]}"] if key[0] == "EC" else \
        ["-algorithm", "RSA", "-pkeyopt", f"rsa_keygen_bits:{key[1]}"]
    openssl("genpkey", *kind, "-out", FOLDER / f"{name}.key")
    extensions = FOLDER / f"{name}.ext"
    extensions.write_text("basicConstraints=critical,CA:TRUE\n" if issuer is None else
                          "basicConstraints=CA:FALSE\n" +
                          (f"subjectAltName={alternative}\n" if alternative else ""))
    openssl("req", "-new", "-key", FOLDER / f"{name}.key", "-subj", f"/CN={subject}",
            "-out", FOLDER / f"{name}.csr")
    signer = issuer or name
    config = FOLDER / "ca.cnf"
    config.write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={FOLDER}/index\nnew_certs_dir={FOLDER}\n"
                      "default_md=sha256\nrand_serial=yes\npolicy=p\nunique_subject=no\n"
                      "[p]\ncommonName=supplied\n")
    (FOLDER / "index").touch()
    sign = ["ca", "-batch", "-notext", "-config", config, "-in", FOLDER / f"{name}.csr",
            "-extfile", extensions, "-out", FOLDER / f"{name}.crt"]
    sign += ["-startdate", start[0], "-enddate", start[1]] if start else ["-days", str(days)]
    sign += ["-selfsign", "-keyfile", FOLDER / f"{name}.key"] if signer == name else \
        ["-cert", FOLDER / f"{signer}.crt", "-keyfile", FOLDER / f"{signer}.key"]
    status, said = openssl(*sign)
    if status != 0:
        raise SystemExit(f"{name}: {said}")
    pem(name).write_text((FOLDER / f"{name}.crt").read_text() +
                         (FOLDER / f"{name}.key").read_text())


def make_all():
    make("ca", None, "Test CA")
    make("other-ca", None, "Other CA")
    make("server", "ca", "server", "DNS:localhost,IP:127.0.0.1")
    make("rsa", "ca", "rsa", "DNS:localhost", key=("RSA", 2048))
    make("weak", "ca", "weak", "DNS:localhost", key=("RSA", 1024))
    make("expired", "ca", "expired", "DNS:localhost", start=("20200101000000Z", "20210101000000Z"))
    make("wrong-host", "ca", "localhost", "DNS:a.example")
    make("cn-only", "ca", "localhost")
    make("untrusted", "other-ca", "localhost", "DNS:localhost")
    make("wildcard", "ca", "wildcard", "DNS:*.example.org")
    make("client", "ca", "joe")
    make("stranger", "other-ca", "mallory")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", FOLDER / "self.key",
            "-out", FOLDER / "self.crt", "-subj", "/CN=localhost",
            "-addext", "subjectAltName=DNS:localhost")
    pem("self").write_text((FOLDER / "self.crt").read_text() + (FOLDER / "self.key").read_text())


# ---- beck as the server ----

class Echo:
    """tls_echo: .port while it runs, .said and .errors afterwards."""

    def __init__(self, cert, *options):
        self.command = [BUILD / "examples/tls_echo", "0", "--cert", pem(cert), *options]

    def __enter__(self):
        self.process = subprocess.Popen([str(w) for w in self.command], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.said, self.errors = self.process.communicate(timeout=30)
        check("tls_echo ends well", self.process.returncode == 0, self.errors)


def s_client(port, *options, steps=(("hello\n", "hello"),)):
    """The answer of a session that gives each text when the line before has been seen."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", pem("ca"),
               "-verify_return_error", "-verify_hostname", "localhost", "-servername", "localhost",
               *options]
    client = subprocess.Popen([str(w) for w in command], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace")
    said = []
    watchdog = threading.Timer(60, client.kill)
    watchdog.start()
    for given, want in steps:
        try:
            client.stdin.write(given)
            client.stdin.flush()
        except BrokenPipeError:
            break
        for line in client.stdout:
            said.append(line)
            if line.strip().endswith(want):  # the end of a dumped ticket may come before it
                break
    try:
        client.stdin.close()
    except BrokenPipeError:
        pass
    said.append(client.stdout.read())
    client.wait()
    watchdog.cancel()
    return client.returncode, "".join(said)


def works(said, version):
    return re.search(rf"New, {version}|Reused, {version}", said) and "hello\n" in said \
        and "Verify return code: 0 (ok)" in said


def server_versions_and_ciphers():
    with Echo("rsa") as echo:
        for flag, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            status, said = s_client(echo.port, flag)
            check(f"s_client {flag}", works(said, version) and "Compression: NONE" in said, said)
        for flag in ("-tls1", "-tls1_1"):
            status, said = s_client(echo.port, flag, "-cipher", OLD)
            check(f"s_client {flag} is refused", status != 0 and "alert protocol version" in said,
                  said)
        for cipher in ("AES128-GCM-SHA256", "AES256-SHA", "ECDHE-RSA-AES128-SHA", "NULL-SHA256",
                       "ECDHE-RSA-AES256-SHA384", "AECDH-AES256-SHA", "ADH-AES128-SHA"):
            status, said = s_client(echo.port, "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0")
            check(f"{cipher} is refused", status != 0 and "handshake failure" in said, said)
        for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384",
                       "ECDHE-RSA-CHACHA20-POLY1305"):
            status, said = s_client(echo.port, "-tls1_2", "-cipher", cipher)
            check(f"{cipher} works", works(said, "TLSv1.2") and cipher in said, said)


def server_alpn_and_clients():
    with Echo("server", "--alpn", "http/1.1") as echo:
        status, said = s_client(echo.port, "-alpn", "h2,http/1.1")
        check("alpn", "ALPN protocol: http/1.1" in said and works(said, "TLSv1.3"), said)
        status, said = s_client(echo.port, "-alpn", "h2")
        check("alpn without a common one", status != 0 and "no application protocol" in said, said)
    with Echo("server", "--cacert", pem("ca")) as echo:
        for flag in ("-tls1_2", "-tls1_3"):
            status, said = s_client(echo.port, flag, "-cert", pem("client"), "-key", pem("client"))
            check(f"a client certificate {flag}", works(said, "TLSv1"), said)
            status, said = s_client(echo.port, flag)
            check(f"no client certificate {flag}", "hello\n" not in said and "alert" in said, said)
            status, said = s_client(echo.port, flag, "-cert", pem("stranger"), "-key",
                                    pem("stranger"))
            check(f"a stranger's certificate {flag}", "hello\n" not in said and "alert" in said,
                  said)
    check("clients are named", echo.said.count("client CN=joe") == 2, echo.said)
    check("failures are told", "the client shows no certificate" in echo.errors, echo.errors)


def server_sessions():
    with Echo("server") as echo:
        for flag, version in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            session = FOLDER / f"session{flag}"
            status, said = s_client(echo.port, flag, "-sess_out", session)
            check(f"a session {flag}", f"New, {version}" in said and session.exists(), said)
            status, said = s_client(echo.port, flag, "-sess_in", session)
            check(f"is resumed {flag}", f"Reused, {version}" in said and works(said, version), said)
    check("and said to be", echo.said.count("resumed") == 2, echo.said)


def server_keys():
    with Echo("server") as echo:
        steps = (("one\n", "one"), ("K\n", "KEYUPDATE"), ("two\n", "two"), ("k\n", "KEYUPDATE"),
                 ("hello\n", "hello"))
        status, said = s_client(echo.port, "-tls1_3", steps=steps)
        check("KeyUpdate", said.count("KEYUPDATE") == 2 and works(said, "TLSv1.3"), said)


def client_context(**options):
    context = ssl.create_default_context(cafile=pem("ca"))
    for name, value in options.items():
        setattr(context, name, value)
    return context


def server_and_python():
    with Echo("server") as echo:
        with client_context().wrap_socket(socket.create_connection(("127.0.0.1", echo.port)),
                                          server_hostname="localhost") as s:
            data = os.urandom(3_000_000)
            sender = threading.Thread(target=s.sendall, args=(data,))
            sender.start()
            got = b""
            while len(got) < len(data):
                got += s.recv(65536)
            sender.join()
            check("python: 3 MB there and back", got == data)
            s.unwrap()  # fails unless the server says goodbye too
            check("python: goodbyes", True)
        s = client_context().wrap_socket(socket.create_connection(("127.0.0.1", echo.port)),
                                         server_hostname="localhost")
        s.sendall(b"x")
        check("python: echo", s.recv(10) == b"x")
        s.shutdown(socket.SHUT_RDWR)  # without a goodbye
        s.close()
        status, said = s_client(echo.port)
        check("the server goes on", works(said, "TLSv1.3"), said)
    check("and has told of the cut", "ended without a goodbye (close_notify)" in echo.errors,
          echo.errors)


# ---- beck as the client ----

def tls_cat(port, *options, host="localhost", given="hello\n", ca="ca"):
    trust = ["--cacert", pem(ca)] if ca else []
    return run([BUILD / "examples/tls_cat", f"{host}:{port}", *trust, *options], given)


class SServer:
    """openssl s_server, which sends each line back the wrong way round; .said afterwards."""

    def __init__(self, cert, *options):
        self.command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-rev", "-cert", pem(cert),
                        "-key", pem(cert), *options]

    def __enter__(self):
        self.process = subprocess.Popen([str(w) for w in self.command], stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace")
        self.lines = []
        for line in self.process.stdout:
            self.lines.append(line)
            found = re.match(r"ACCEPT .*:(\d+)$", line.strip())
            if found:
                self.port = int(found.group(1))
                return self
        raise SystemExit("s_server did not start: " + "".join(self.lines))

    def __exit__(self, *_):
        self.process.kill()
        self.said = "".join(self.lines) + self.process.communicate()[0]


def talks(result):
    return "olleh" in result[1]


def client_versions_and_ciphers():
    for flag, ok in (("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
        old = [] if ok else ["-cipher", OLD]
        with SServer("rsa", flag, *old) as server:
            result = tls_cat(server.port, "--verbose")
            check(f"s_server {flag}", talks(result) == ok, result)
            if not ok:
                check(f"s_server {flag}: status", result[0] == 1, result)
    for cipher in ("AES128-GCM-SHA256", "ECDHE-RSA-AES128-SHA", "AECDH-AES256-SHA", "NULL-SHA256"):
        with SServer("rsa", "-tls1_2", "-cipher", f"{cipher}:@SECLEVEL=0") as server:
            result = tls_cat(server.port)
            check(f"{cipher} is refused", result[0] == 1 and not talks(result), result)


def client_trust():
    for cert, host, why in (
            ("server", "localhost", None), ("server", "127.0.0.1", None),
            ("expired", "localhost", "TLS with localhost: certificate has expired"),
            ("self", "localhost", "self-signed certificate"),
            ("wrong-host", "localhost", "the certificate is for DNS:a.example"),
            ("cn-only", "localhost", "the certificate is for no host"),
            ("rsa", "127.0.0.1", "host name mismatch"),
            ("untrusted", "localhost", "unable to get local issuer certificate"),
            ("weak", "localhost", "key too weak")):
        options = ["-cipher", OLD] if cert == "weak" else []
        with SServer(cert, *options) as server:
            result = tls_cat(server.port, host=host)
            if why:
                check(f"{cert} for {host}", result[0] == 1 and why in result[1], result)
                result = tls_cat(server.port, "--insecure", host=host, ca=None)
                check(f"{cert}, insecure", talks(result) or cert == "weak", result)
            else:
                check(f"{cert} for {host}", talks(result), result)
    with SServer("wildcard") as server:
        for name, ok in (("a.example.org", True), ("a.b.example.org", False),
                         ("example.org", False)):
            result = tls_cat(server.port, "--name", name)
            check(f"wildcard for {name}", talks(result) == ok, result)
    with SServer("server") as server:
        result = tls_cat(server.port, ca=None)
        check("the system does not trust us", result[0] == 1 and "issuer" in result[1], result)


def client_others():
    with SServer("server", "-Verify", "1", "-CAfile", pem("ca"), "-verify_return_error") as server:
        check("a certificate is asked for",
              talks(tls_cat(server.port, "--cert", pem("client"))), "")
        result = tls_cat(server.port)
        check("and needed", result[0] == 1 and "the peer ended it" in result[1], result)
        result = tls_cat(server.port, "--cert", pem("stranger"))
        check("of somebody known", result[0] == 1 and "the peer ended it" in result[1], result)
    with SServer("server", "-alpn", "http/1.1") as server:
        result = tls_cat(server.port, "--alpn", "http/1.1", "--verbose")
        check("alpn", talks(result) and "protocol http/1.1" in result[1], result)
    with SServer("server", "-servername", "a.example.org", "-cert2", pem("wildcard"), "-key2",
                 pem("wildcard")) as server:
        check("server name", talks(tls_cat(server.port, "--name", "a.example.org")), "")


def python_server(cut):
    """A server for one client, which ends in order, or just ends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem("server"))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with context.wrap_socket(listener.accept()[0], server_side=True,
                                 suppress_ragged_eofs=False) as s:
            s.sendall(b"the whole story")
            if cut:
                s.shutdown(socket.SHUT_WR)
                s.detach()
            else:
                s.unwrap()

    thread = threading.Thread(target=serve)
    thread.start()
    result = tls_cat(listener.getsockname()[1], given="")
    thread.join()
    listener.close()
    return result


def client_and_python():
    status, said = python_server(cut=False)
    check("python: an orderly end", status == 0 and said == "the whole story", said)
    status, said = python_server(cut=True)
    check("python: a cut", status == 1 and "ended without a goodbye (close_notify)" in said, said)


def main():
    if not shutil.which("openssl"):
        print("skipped: no openssl command")
        return 77
    try:
        make_all()
        for case in (server_versions_and_ciphers, server_alpn_and_clients, server_sessions,
                     server_keys, server_and_python, client_versions_and_ciphers, client_trust,
                     client_others, client_and_python):
            case()
    finally:
        shutil.rmtree(FOLDER)
    print(f"{checks['passed']} passed, {checks['failed']} failed")
    return 1 if checks["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
