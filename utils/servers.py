# servers.py -- Servers as child processes, and a small RESP2 client, for the scripts of utils/ and redis-compat/.
# SPDX-License-Identifier: BSD-3-Clause
#
# Kinds: "kv" (build/kv-server or KV_SERVER), "redis" (7.0.15) and "valkey" (8.0.1) from build/peers. Each server gets a free loopback
# port, a temporary directory that stop() removes, and ends with this process at the latest.
import atexit
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = {
    "kv": pathlib.Path(os.environ.get("KV_SERVER") or ROOT / "build/kv-server"),
    "redis": ROOT / "build/peers/redis/redis-server",
    "valkey": ROOT / "build/peers/valkey/valkey-server",
}
ALWAYS = {
    "kv": ["--enable-debug-command", "yes"],
    "redis": ["--enable-debug-command", "yes"],
    "valkey": ["--enable-debug-command", "yes", "--extended-redis-compatibility", "yes"],
}
START_SECONDS = 60
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


# A SIGTERM ends the script as Ctrl-C does: servers are stopped, directories removed.
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


class ReplyError(Exception):
    """An error reply."""


class Client:
    """A connection that sends commands and reads RESP2 replies (bulk strings as bytes)."""

    def __init__(self, port, timeout=60):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.input = self.socket.makefile("rb", 65536)

    def close(self):
        self.input.close()
        self.socket.close()

    @staticmethod
    def encode(*args):
        parts = [b"*%d\r\n" % len(args)]
        for arg in args:
            raw = arg if isinstance(arg, bytes) else str(arg).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(raw), raw))
        return b"".join(parts)

    def read(self):
        line = self.input.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("connection closed")
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return ReplyError(rest.decode(errors="replace"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.input.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        raise ConnectionError(f"unknown reply {line!r}")

    def __call__(self, *args):
        self.socket.sendall(self.encode(*args))
        reply = self.read()
        if isinstance(reply, ReplyError):
            raise reply
        return reply


def free_port():
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


class Server:
    """A running server. Pinned to the CPUs of `cores` when given."""

    def __init__(self, kind, *args, cores=None):
        self.kind, self.cores = kind, cores
        self.dir = tempfile.mkdtemp(prefix=f"kv-{kind}-")
        self.port = free_port()
        self.process = None
        atexit.register(self.stop)
        self.start(*args)

    def command(self, args):
        program = PROGRAMS[self.kind]
        if not program.exists():
            raise SystemExit(f"{program} is not there (make, deps/peers.sh)")
        fixed = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir]
        pin = ["taskset", "-c", self.cores] if self.cores else []
        dies_with_us = ["setpriv", "--pdeathsig", "KILL"]
        return dies_with_us + pin + [str(program)] + fixed + ALWAYS[self.kind] + list(args)

    def start(self, *args):
        """Starts it (again) in the same directory; returns the seconds until it answered PING."""
        begin = time.monotonic()
        with open(f"{self.dir}.log", "ab") as log:
            self.process = subprocess.Popen(self.command(args), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        while not self.answers():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.kind} has ended at start ({self.process.returncode}):\n{self.log()[-3000:]}")
            if time.monotonic() - begin > START_SECONDS * 10:
                raise SystemExit(f"{self.kind} does not answer:\n{self.log()[-3000:]}")
            time.sleep(0.002)
        return time.monotonic() - begin

    def answers(self):
        try:
            client = Client(self.port)
        except OSError:
            return False
        try:
            return client("PING") == "PONG"
        except (ReplyError, OSError):
            return False
        finally:
            client.close()

    def client(self):
        return Client(self.port)

    def log(self):
        return pathlib.Path(f"{self.dir}.log").read_text(errors="replace")

    def cpu_seconds(self):
        """utime + stime of all threads so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_bytes(self):
        return int(pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE

    def terminate(self):
        """SIGTERM; the directory stays for another start()."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(START_SECONDS)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
        pathlib.Path(f"{self.dir}.log").unlink(missing_ok=True)
