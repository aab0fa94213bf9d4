#!/usr/bin/env python3
# tools.py -- redis-cli and redis-benchmark, as people use them, against kv.
# SPDX-License-Identifier: BSD-3-Clause
#
# Each line of CASES is a use and what its output must (and must not) have. A warning of redis-benchmark is a failure: it is what a
# user sees first. Last line: "tools: N passed, N failed".
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "utils"))
import servers  # noqa: E402

PEERS = ROOT / "build/peers/redis"
# The default list of redis-benchmark; the ones whose first word kv does not know are left out, and named.
BENCHMARKS = {"ping_inline": "PING", "ping_mbulk": "PING", "set": "SET", "get": "GET", "incr": "INCR", "lpush": "LPUSH", "rpush": "RPUSH", "lpop": "LPOP", "rpop": "RPOP",
              "sadd": "SADD", "hset": "HSET", "spop": "SPOP", "zadd": "ZADD", "zpopmin": "ZPOPMIN", "lrange": "LRANGE", "mset": "MSET"}
# arguments, standard input, what the output has, what it has not; the ones that go on for ever are stopped after two seconds
CASES = [
    (["-3", "ping"], "", ["PONG"], []),
    (["--stat", "-i", "0.1"], "", ["keys", "requests"], ["Error"]),
    (["--bigkeys"], "", ["Biggest string found", "Biggest   list found"], ["WARNING", "Error"]),
    (["--memkeys"], "", ["Biggest string found"], ["WARNING", "Error"]),
    (["--latency", "-i", "1"], "", ["0"], ["Error"]),
    (["--scan", "--pattern", "list*"], "", ["list0"], ["string0"]),
    (["--pipe"], "SET piped 1\r\nGET piped\r\n", ["errors: 0, replies: 2"], []),
    (["get", "piped"], "", ["1"], []),
]
NEEDS = {"--memkeys": "MEMORY"}


def run(command, text="", seconds=60):
    try:
        done = subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds)
        return done.stdout.decode("utf-8", "replace")
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode("utf-8", "replace")


def unknown(client, word):
    try:
        client(word)
    except servers.ReplyError as error:
        return "unknown command" in str(error)
    return False


def listens(cli, client, words, event, wanted):
    """A redis-cli that stays connected must print what happens elsewhere."""
    with subprocess.Popen(cli + words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL) as process:
        try:
            first = process.stdout.readline()
            client(*event)
            client(*event)
            text = first.decode() + "".join(process.stdout.readline().decode() for _ in range(1 if words[-1] == "MONITOR" else 5))
        finally:
            process.kill()
    return [] if wanted in text else [f"{' '.join(words)}: no {wanted!r} in {text!r}"]


def main():
    subprocess.run([ROOT / "deps/peers.sh", "redis"], check=True)
    server = servers.Server("kv", "--threads", "4")
    client = server.client()
    for i in range(20):
        client("SET", f"string{i}", "v" * i)
        client("RPUSH", f"list{i}", *range(i + 1))
    cli = [str(PEERS / "redis-cli"), "-p", str(server.port)]
    problems, count = [], 0
    for words, text, has, lacks in CASES:
        seconds = 3 if words[0] in ("--stat", "--latency") else 60
        if words[0] in NEEDS and unknown(client, NEEDS[words[0]]):
            print(f"not yet: redis-cli {words[0]} needs {NEEDS[words[0]]}")
            continue
        out = run(["stdbuf", "-oL"] + cli + words, text, seconds)
        wrong = [f"no {word!r}" for word in has if word not in out] + [f"{word!r}" for word in lacks if word in out]
        problems += [f"redis-cli {' '.join(words)}: {', '.join(wrong)} in {out[-500:]!r}"] if wrong else []
        count += 1
    problems += listens(cli, client, ["MONITOR"], ["SET", "watched", "1"], "watched")
    problems += listens(cli, client, ["-3", "SUBSCRIBE", "news"], ["PUBLISH", "news", "hello"], "hello")
    count += 2
    later = [test for test, word in BENCHMARKS.items() if unknown(client, word)]
    known = [test for test in BENCHMARKS if test not in later]
    out = run([str(PEERS / "redis-benchmark"), "-p", str(server.port), "-q", "-n", "2000", "-t", ",".join(known)], "", 300)
    if "WARNING" in out or "Error" in out or out.count("requests per second") < len(known):
        problems.append(f"redis-benchmark -q: {out[-800:]!r}")
    count += 1
    print(f"redis-benchmark ran {', '.join(known)}; not yet: {', '.join(later) or 'none'}")
    for problem in problems:
        print(f"FAILED {problem}")
    print(f"tools: {count - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
