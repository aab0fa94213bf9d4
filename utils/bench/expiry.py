#!/usr/bin/env python3
# expiry.py -- How late keys and hash fields expire: the time between the moment each is due and that of its event at a subscriber.
# SPDX-License-Identifier: BSD-3-Clause
#
# Keys (fields) are due over 10 s; each key's name has the moment. The wanted: every event within 50 ms, nothing left 1 s after the last.
# Both with the log off and with the log on, where an event waits until its DEL is on disk. Nothing here passes or fails: what else runs
# on the machine, and its disk, is in the figures. The subscriber is a Python program and late itself when it has no core to itself.
#   KEYS=1000000  FIELDS=100000  THREADS=4  SPREAD_S=10
import os
import pathlib
import re
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from servers import Client, Server  # noqa: E402

KEYS = int(os.environ.get("KEYS") or 1_000_000)
FIELDS = int(os.environ.get("FIELDS") or 100_000)
THREADS = os.environ.get("THREADS") or "4"
SPREAD_MS = int(float(os.environ.get("SPREAD_S") or 10) * 1000)
PER_HASH = 10
NAME = re.compile(rb"expired\r\n\$\d+\r\n\w+:(\d+):")


class Subscriber(threading.Thread):
    """Keeps what arrives with its time, and looks at it afterwards."""

    def __init__(self, port, event):
        super().__init__(daemon=True)
        self.client = Client(port)
        self.client("SUBSCRIBE", f"__keyevent@0__:{event}")
        self.client.socket.settimeout(None)
        self.pieces = []
        self.start()

    def run(self):
        try:
            while piece := self.client.socket.recv(1 << 18):
                self.pieces.append((time.time() * 1000, piece))
        except OSError:
            pass

    def lateness(self):
        late, rest = [], b""
        for at, piece in self.pieces:
            text = rest + piece
            end = 0
            for found in NAME.finditer(text):
                late.append(at - int(found[1]))
                end = found.end()
            rest = text[end:]
        return sorted(late)


def feed(client, commands, batch=2000):
    """In pipelines; commands whose replies hold as many lines as each says."""
    for i in range(0, len(commands), batch):
        part = commands[i:i + batch]
        client.socket.sendall(b"".join(part))
        for _ in part:
            reply = client.read()
            if isinstance(reply, Exception):
                raise reply


def run(name, options, event, count, commands, gone):
    server = Server("kv", "--threads", THREADS, "--notify-keyspace-events", "Exh", "--save", "", *options)
    client = server.client()
    begin = time.monotonic()
    first = int(time.time() * 1000) + 4000 + count // 15  # loading 15,000 a second at least
    sub = Subscriber(server.port, event)
    feed(client, commands(first))
    loaded = time.monotonic() - begin
    wait = (first + SPREAD_MS + 1000) / 1000 - time.time()
    cpu = server.cpu_seconds()
    early = first - time.time() * 1000
    time.sleep(max(wait, 0))
    cpu = (server.cpu_seconds() - cpu) / count * 1e6
    left = client("DBSIZE")
    late = sub.lateness()
    stat = re.search(gone + r":(\d+)", client("INFO", "stats").decode())[1]
    where = [late[min(len(late) - 1, int(len(late) * p))] for p in (0.5, 0.99, 0.999, 1)] if late else []
    print(f"{name:28} {count:>9} loaded in {loaded:5.1f} s ({'before' if early > 0 else 'NOT before'} the first was due); {len(late):>8} events, "
          f"late by p50/p99/p99.9/max {' / '.join(f'{ms:.1f}' for ms in where)} ms; over 50 ms: {sum(ms > 50 for ms in late)}; "
          f"left 1 s after the last: {left}; {gone} {stat}; {cpu:.2f} us of CPU each", flush=True)
    server.stop()


def keys(first):
    return [Client.encode("SET", f"k:{first + i * SPREAD_MS // KEYS}:{i}", "x", "PXAT", first + i * SPREAD_MS // KEYS) for i in range(KEYS)]


def hashes(first):
    """Small hashes whose fields are due together."""
    names = [f"f{i}" for i in range(PER_HASH)]
    n, out = FIELDS // PER_HASH, []
    for i in range(n):
        due = first + i * SPREAD_MS // n
        out.append(Client.encode("HSETEX", f"h:{due}:{i}", "PXAT", due, "FIELDS", PER_HASH, *(word for f in names for word in (f, "x"))))
    return out


def one_hash(first):
    return [Client.encode("HSETEX", "one", "PXAT", first + i * SPREAD_MS // FIELDS, "FIELDS", 1, f"f{i}", "x") for i in range(FIELDS)]


for log in (["--appendonly", "no"], ["--appendonly", "yes"]):
    label = "log off" if log[1] == "no" else "log on"
    run(f"keys, {label}", log, "expired", KEYS, keys, "expired_keys")
    run(f"hashes, {label}", log, "hexpired", FIELDS, hashes, "expired_subkeys")
    run(f"fields of one hash, {label}", log, "hexpired", FIELDS, one_hash, "expired_subkeys")
