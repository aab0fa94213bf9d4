#!/usr/bin/env python3
# transcript.py -- Does kv answer as the recorded session of a Redis 7.4 build did? `transcript.py [--only PART] [-v]`
# SPDX-License-Identifier: BSD-3-Clause
#
# redis-7.4.txt has what neither reference server at hand knows: requests and replies, in sections per protocol. Replies are compared byte by byte, but
# where a recorded reply depends on the server (DIFFERENT), and where the command is not built yet: a section that meets an unknown command
# is skipped from there on, and says so.
import argparse
import pathlib
import shlex
import socket
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "utils"))
import servers  # noqa: E402
from resp import Reader, encode  # noqa: E402

# (request, what was recorded, what kv answers): why
DIFFERENT = {
    # A hash whose last field is due is gone at that moment, not when a cycle comes by.
    ("EXISTS e", rb":1\r\n"): b":0\r\n",
    # Recorded without a log.
    ("WAITAOF 1 0 0", rb"-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n"): None,
    ("WAITAOF 0 0 0", rb"*2\r\n:0\r\n:0\r\n"): None,
}
# What depends on whether a millisecond passes between two commands: the other answer.
RACES = {
    "HEXPIRE h 100 GT FIELDS 2 f2 f3": b"*2\r\n:1\r\n:0\r\n",
    "HPEXPIRE h 100000 GT FIELDS 2 f2 f3": b"*2\r\n:1\r\n:0\r\n",
}
TURNED = b"$2\r\nf3\r\n$2\r\nv3\r\n$2\r\nf2\r\n$2\r\nv2\r\n", b"$2\r\nf2\r\n$2\r\nv2\r\n$2\r\nf3\r\n$2\r\nv3\r\n"


def races(title, request, expected):
    if request == "HGETALL h" and title.endswith("EXPIRE"):  # earliest due first
        return expected.replace(*TURNED)
    return RACES.get(request)


def sections(path):
    """[(title, [(request, reply)])]"""
    found, request = [], None
    with open(path, encoding="latin-1") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if line.startswith("## "):
                found.append((line[3:], []))
            elif line.startswith("> "):
                request = line[2:]
            elif line.startswith("< "):
                found[-1][1].append((request, line[2:].encode("latin-1").decode("unicode_escape").encode("latin-1"), line[2:].encode("latin-1")))
    return found


def play(port, title, steps, verbose):
    sock = socket.create_connection(("127.0.0.1", port))
    sock.settimeout(20)
    reader, passed, failed = Reader(sock), 0, 0
    sock.sendall(encode([b"HELLO", b"3" if title.startswith("RESP3") else b"2"]))
    reader.reply()
    for request, expected, written in steps:
        sock.sendall(encode([word.encode("latin-1") for word in shlex.split(request)]))
        got, _ = reader.reply()
        if got.startswith(b"-ERR unknown command"):
            print(f"transcript: {title}: not known: {request}: skipped from here on")
            break
        expected = DIFFERENT.get((request, written), expected)
        if expected is None or got in (expected, races(title, request, expected)):
            passed += 1
            if verbose:
                print(f"{title}: {request}: {got!r}")
        else:
            failed += 1
            print(f"transcript: {title}: {request}\n  recorded {expected!r}\n  answered {got!r}")
    sock.close()
    return passed, failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="", help="sections whose title has this in it")
    parser.add_argument("-v", action="store_true")
    parser.add_argument("--file", default=ROOT / "redis-compat/redis-7.4.txt")
    options = parser.parse_args()
    server, passed, failed = servers.Server("kv", "--threads", "4"), 0, 0
    protocol = None
    for title, steps in sections(options.file):
        if protocol not in (None, title[:5]):
            server.client()("FLUSHALL")
        protocol = title[:5]
        if options.only in title:
            one = play(server.port, title, steps, options.v)
            passed, failed = passed + one[0], failed + one[1]
    server.stop()
    print(f"transcript: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
