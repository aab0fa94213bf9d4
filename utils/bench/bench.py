#!/usr/bin/env python3
# bench.py -- kv beside redis-server 7.0.15 in one run: throughput, CPU per command, latency, replay, memory, as ratios.
# SPDX-License-Identifier: BSD-3-Clause
#
# With the log off, servers have one thread, pinned to core 0, the load generator runs on core 1. With the log on, kv has its default of
# threads (4) and nothing is pinned, because the log's own threads are part of what is compared. Each case runs RUNS times, the two servers in turn; medians are shown.
# The load comes from load.c, which costs the client's core a fraction of what redis-benchmark does, so that the server is what is measured.
# A ratio is kv / redis. "goal" is what the design asks for. Timings depend on the machine: nothing here passes or fails.
#   CASES="off-* replay"   only these cases (patterns)       RUNS=3        runs of each case
#   GENERATOR=redis-benchmark   the load of redis-benchmark instead
#   SCALE=1.0              times the number of requests      REPLAY=2000000  commands of the replay case
# The table goes to the terminal and build/bench/table.txt, the numbers to build/bench/results.json, a plot to build/bench/ratios.svg.
import csv
import fnmatch
import html
import io
import itertools
import json
import os
import pathlib
import select
import statistics
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from servers import ROOT, Client, Server  # noqa: E402

RUNS = int(os.environ.get("RUNS") or 3)
SCALE = float(os.environ.get("SCALE") or 1)
REPLAY = int(os.environ.get("REPLAY") or 2_000_000)
KEYS = 1_000_000
VALUE_BYTES = 64
SERVER_CORE, CLIENT_CORE = "0", "1"
BENCHMARK = ROOT / "build/peers/redis/redis-benchmark"
LOAD = ROOT / "build/bench/load"
GENERATOR = os.environ.get("GENERATOR") or "load"
LOG_OFF = ["--appendonly", "no", "--save", ""]
LOG_ON = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
REDIS_PLAIN_AOF = ["--auto-aof-rewrite-percentage", "0", "--aof-use-rdb-preamble", "no"]


def start(kind, options, threads=1, cores=SERVER_CORE):
    own = ["--threads", str(threads)] if kind == "kv" else REDIS_PLAIN_AOF
    return Server(kind, *options, *own, cores=cores)


def feed(server, commands, batch=1000):
    """Sends encoded commands, each of which is answered by one line, in one pipeline."""
    client = Client(server.port)
    client.socket.setblocking(False)
    commands = iter(commands)
    waiting, out, more = 0, b"", True
    while waiting or out or more:
        if not out and more:
            part = list(itertools.islice(commands, batch))
            more = len(part) == batch
            waiting += len(part)
            out = b"".join(part)
        readable, writable, _ = select.select([client.socket], [client.socket] if out else [], [], 60)
        if readable:
            waiting -= client.socket.recv(1 << 20).count(b"\n")
        if writable and out:
            out = out[client.socket.send(out[:1 << 18]):]
    client.close()


def preload(server, keys=KEYS):
    """Every key redis-benchmark can name below `keys`, with a value of its size."""
    value = b"x" * VALUE_BYTES
    feed(server, (Client.encode(b"SET", b"key:%012d" % i, value) for i in range(keys)))


VALUE, RANDOM = "x" * VALUE_BYTES, "__rand_int__"
# What redis-benchmark sends for its names, as far as they are used here.
TESTS = {
    "get": ["GET", f"key:{RANDOM}"],
    "set": ["SET", f"key:{RANDOM}", VALUE],
    "incr": ["INCR", f"counter:{RANDOM}"],
    "lpush": ["LPUSH", "mylist", VALUE],
    "lpop": ["LPOP", "mylist"],
    "sadd": ["SADD", "myset", f"element:{RANDOM}"],
    "spop": ["SPOP", "myset"],
    "hset": ["HSET", "myhash", f"element:{RANDOM}", VALUE],
    "zadd": ["ZADD", "myzset", "0", f"element:{RANDOM}"],
    "mset": ["MSET", *[word for _ in range(10) for word in (f"key:{RANDOM}", VALUE)]],
}


def benchmark_command(server, test, clients, pipeline, requests, keys=KEYS):
    """`test` is a name that redis-benchmark knows, or a command as a list of words."""
    pin = ["taskset", "-c", CLIENT_CORE] if server.cores else []
    load = ["-p", str(server.port), "-c", str(clients), "-P", str(pipeline), "-n", str(requests), "-r", str(keys)]
    if GENERATOR == "load":
        return [*pin, str(LOAD), *load, *(TESTS[test] if isinstance(test, str) else test)]
    what = ["-t", test] if isinstance(test, str) else test
    return [*pin, str(BENCHMARK), *load, "-d", str(VALUE_BYTES), "--csv", *what]


def benchmark(*args, **named):
    """{rps, p50_ms} of one run; the latency is that of a whole pipeline."""
    done = subprocess.run(benchmark_command(*args, **named), capture_output=True, text=True, check=True)
    if GENERATOR == "load":
        rps, p50_ms = done.stdout.split()
        return {"rps": float(rps), "p50_ms": float(p50_ms)}
    row = list(csv.DictReader(io.StringIO(done.stdout)))[0]
    return {"rps": float(row["rps"]), "p50_ms": float(row["p50_latency_ms"])}


def measure(server, test, clients, pipeline, requests, keys=KEYS):
    """One run: commands per second, and microseconds of the server's CPU time per command."""
    requests = int(requests * SCALE)
    before = server.cpu_seconds()
    rps = benchmark(server, test, clients, pipeline, requests, keys)["rps"]
    return rps, (server.cpu_seconds() - before) * 1e6 / requests


class Table:
    """What the cases found, printed as it comes."""
    WIDTHS = (26, 14, 14, 8, 8, 10, 10, 8, 8)

    def __init__(self):
        self.lines, self.results = [], []
        self.line("case", "redis", "kv", "ratio", "goal", "cpu redis", "cpu kv", "ratio", "goal")
        self.line("", "", "", "", "", "us/cmd", "us/cmd", "", "")

    def line(self, *fields):
        text = "".join(f"{f:<{w}}" if i == 0 else f"{f:>{w}}" for i, (f, w) in enumerate(zip(fields, self.WIDTHS))).rstrip()
        self.lines.append(text)
        print(text, flush=True)

    def add(self, name, redis, kv, goal, unit, cpu=None, cpu_goal=None):
        """`goal` as text: ">=2.3" or "<=0.5"."""
        ratio = kv / redis if redis else 0
        fields = [name, f"{redis:,.4g} {unit}" if redis < 1000 else f"{redis:,.0f} {unit}",
                  f"{kv:,.4g} {unit}" if kv < 1000 else f"{kv:,.0f} {unit}", f"{ratio:.2f}", goal or ""]
        if cpu:
            fields += [f"{cpu[0]:.2f}", f"{cpu[1]:.2f}", f"{cpu[1] / cpu[0]:.2f}" if cpu[0] else "", cpu_goal or ""]
        self.line(*fields)
        self.results.append({"case": name, "redis": redis, "kv": kv, "ratio": ratio, "goal": goal, "unit": unit, "cpu_us": cpu})


# ---- cases ----

def run_throughput(table, wanted, options, cases, fill=preload, keys=KEYS, **where):
    """Cases (name, test, clients, pipeline, requests, goal, cpu goal) on a pair of servers that stay up."""
    cases = [case for case in cases if wanted(case[0])]
    if not cases:
        return
    servers = [start(kind, options, **where) for kind in ("redis", "kv")]
    for server in servers:
        fill(server)
    for name, test, clients, pipeline, requests, goal, cpu_goal in cases:
        runs = [[], []]
        for _ in range(RUNS):
            for at, server in enumerate(servers):
                runs[at].append(measure(server, test, clients, pipeline, requests, keys))
        rps = [statistics.median(r[0] for r in run) for run in runs]
        cpu = [statistics.median(r[1] for r in run) for run in runs]
        table.add(name, rps[0], rps[1], goal, "/s", cpu, cpu_goal)
    for server in servers:
        server.stop()


def throughput_cases(table, wanted):
    requests = {1: 300_000, 16: 2_000_000, 100: 4_000_000}
    goals = {1: (">=1.0", None), 16: (">=2.3", "<=0.40"), 100: (">=5.0", "<=0.25")}
    run_throughput(table, wanted, LOG_OFF, [(f"off-{test}-p{p}", test, 50, p, requests[p], *goals[p])
                                           for p in (1, 16, 100) for test in ("get", "set")])
    run_throughput(table, wanted, LOG_ON, [
        ("on-get-p1", "get", 50, 1, 300_000, None, None),
        ("on-get-p16", "get", 50, 16, 2_000_000, None, None),
        ("on-get-p100", "get", 50, 100, 4_000_000, None, None),
        ("on-set-p1", "set", 50, 1, 200_000, ">=1.4", None),
        ("on-set-p16", "set", 50, 16, 1_000_000, ">=3.5", None),
        ("on-set-p100", "set", 50, 100, 2_000_000, None, None),
        ("on-set-200-clients", "set", 200, 1, 200_000, ">=1.15", None),
        ("on-set-1-client", "set", 1, 1, 10_000, ">=1.1", None),
    ], threads=4, cores=None)


FIELDS = [word for i in range(10) for word in (b"field:%d" % i, b"value:%d" % i)]
SCRIPT = "local v = redis.call('GET', KEYS[1]) redis.call('SET', KEYS[1], ARGV[1]) return v"


def fill_families(server):
    """What the commands that only read or take away find."""
    feed(server, (Client.encode(b"HSET", b"hash:%012d" % i, *FIELDS) for i in range(100_000)))
    feed(server, (Client.encode(b"ZADD", b"sorted", b"%d" % (i * 7919 % 1_000_003), b"member:%d" % i) for i in range(100_000)))
    feed(server, (Client.encode(b"RPUSH", b"list:%02d" % (i % 100), b"x" * VALUE_BYTES) for i in range(1_000_000)))


def family_cases(table, wanted):
    """One command of each family, P=16, log off. Those before SPOP and LPOP leave what these take."""
    commands = [
        ("lpush", "lpush", 1_000_000), ("lpop", "lpop", 1_000_000), ("sadd", "sadd", 1_000_000), ("spop", "spop", 300_000),
        ("hset", "hset", 1_000_000), ("zadd", "zadd", 1_000_000),
        ("zrange-0-9", ["ZRANGE", "sorted", "0", "9"], 500_000),
        ("xadd", ["XADD", "stream", "*", "field", "__rand_int__"], 1_000_000),
        ("hgetall-10", ["HGETALL", "hash:__rand_int__"], 500_000),
        ("incr", "incr", 1_000_000), ("mset-10", "mset", 300_000),
        ("eval-get-set", ["EVAL", SCRIPT, "1", "key:__rand_int__", "value"], 500_000),
    ]
    run_throughput(table, wanted, LOG_OFF, [(f"type-{name}", test, 50, 16, requests, ">=1.2", None)
                                           for name, test, requests in commands], fill=fill_families, keys=100_000)


def read_p50_under_writes(server, keys):
    """p50 in ms of 4 reading clients while 32 clients write at full speed."""
    writers = subprocess.Popen(benchmark_command(server, "set", 32, 8, 1_000_000_000, keys),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return benchmark(server, "get", 4, 1, int(40_000 * SCALE), keys)["p50_ms"]
    finally:
        writers.kill()
        writers.wait()


def latency_cases(table, wanted):
    cases = [("read-p50-under-writes-1m", KEYS, "<=0.5"), ("read-p50-under-writes-10k", 10_000, "<=1.0")]
    for name, keys, goal in cases:
        if wanted(name):
            servers = [start(kind, LOG_ON, threads=4, cores=None) for kind in ("redis", "kv")]
            for server in servers:
                preload(server, keys)
            p50 = [statistics.median(read_p50_under_writes(server, keys) for _ in range(RUNS)) for server in servers]
            table.add(name, p50[0], p50[1], goal, "ms")
            for server in servers:
                server.stop()


def replay_cases(table, wanted):
    if not wanted("replay"):
        return
    rates = []
    options = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    for kind in ("redis", "kv"):
        server = Server(kind, *options, *(REDIS_PLAIN_AOF if kind == "redis" else ["--threads", "2"]))
        benchmark(server, "set", 50, 100, REPLAY, keys=REPLAY)
        seconds = []
        for _ in range(RUNS):
            server.terminate()
            seconds.append(server.start(*options, *(REDIS_PLAIN_AOF if kind == "redis" else ["--threads", "2"])))
        rates.append(REPLAY / statistics.median(seconds))
        server.stop()
    table.add("replay", rates[0], rates[1], ">=3.0", "/s")


def reactor_cases(table, wanted):
    """4 reactors against 1, both of kv, on one core: the columns are 1 and 4."""
    tests = [test for test in ("get", "set") if wanted(f"reactors-4-on-1-{test}")]
    if not tests:
        return
    servers = [start("kv", LOG_OFF, threads) for threads in (1, 4)]
    for server in servers:
        preload(server)
    for test in tests:
        runs = [[], []]
        for _ in range(RUNS):
            for at, server in enumerate(servers):
                runs[at].append(measure(server, test, 50, 16, 2_000_000))
        rps = [statistics.median(r[0] for r in run) for run in runs]
        cpu = [statistics.median(r[1] for r in run) for run in runs]
        table.add(f"reactors-4-on-1-{test}", rps[0], rps[1], ">=0.85", "/s", cpu)
    for server in servers:
        server.stop()


def bytes_for(kind, commands):
    server = start(kind, LOG_OFF)
    before = server.rss_bytes()
    feed(server, commands)
    grown = server.rss_bytes() - before
    server.stop()
    return grown


def memory_cases(table, wanted):
    """Bytes per key of 16-byte keys with 64-byte values, the worst of four sizes of the table; then of the other types."""
    if wanted("memory"):
        value = b"x" * VALUE_BYTES
        worst = [max(bytes_for(kind, (Client.encode(b"SET", b"key:%012d" % i, value) for i in range(keys))) / keys
                     for keys in (int(n * SCALE) for n in (1_500_000, 2_000_000, 2_500_000, 3_000_000)))
                 for kind in ("redis", "kv")]
        table.add("memory", worst[0], worst[1], None, "B")
    million, small = int(1_000_000 * SCALE), FIELDS[:10]
    types = [
        ("memory-hash-5-fields", "<=1", million, lambda i: Client.encode(b"HSET", b"key:%012d" % i, *small)),
        ("memory-set-5-ints", "<=1", million, lambda i: Client.encode(b"SADD", b"key:%012d" % i, *(b"%d" % (i % 1000 + k) for k in range(5)))),
        ("memory-zset-members", "<=1", 10 * million, lambda i: Client.encode(
            b"ZADD", b"sorted:%02d" % (i // (million // 10)), b"%d" % (i * 7919 % 1_000_003), b"member:%d" % i)),
        ("memory-string-ttl", "<=0.75", million, lambda i: Client.encode(b"SET", b"key:%012d" % i, b"x" * VALUE_BYTES, b"EX", b"%d" % (3600 + i % 9000))),
    ]
    for name, goal, n, command in types:
        if wanted(name):
            redis, kv = (bytes_for(kind, map(command, range(n))) / n for kind in ("redis", "kv"))
            table.add(name, redis, kv, goal, "B")


def program_cases(wanted):
    """In-process benchmarks (utils/bench/*.c): they print their own figures."""
    for source in sorted((ROOT / "utils/bench").glob("bench_*.c")):
        if wanted(source.stem):
            print(f"\n{source.stem}", flush=True)
            subprocess.run([ROOT / "build/bench" / source.stem], check=True)


# ---- the plot ----

def plot(results):
    """Horizontal bars of the ratios, the goal as a mark; log-free, cut at 8."""
    row, left, unit = 22, 230, 80
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + 8 * unit + 60}" height="{row * len(results) + 30}" '
             'font-family="sans-serif" font-size="12">']
    for tick in range(9):
        x = left + tick * unit
        parts.append(f'<line x1="{x}" y1="0" x2="{x}" y2="{row * len(results)}" stroke="{"#888" if tick == 1 else "#ddd"}"/>')
        parts.append(f'<text x="{x}" y="{row * len(results) + 18}" text-anchor="middle">{tick}</text>')
    for i, result in enumerate(results):
        width = min(result["ratio"], 8) * unit
        parts.append(f'<text x="{left - 8}" y="{i * row + 16}" text-anchor="end">{html.escape(result["case"])}</text>')
        parts.append(f'<rect x="{left}" y="{i * row + 4}" width="{width:.1f}" height="{row - 8}" fill="#4a7ab5"/>')
        parts.append(f'<text x="{left + width + 4:.1f}" y="{i * row + 16}">{result["ratio"]:.2f}</text>')
        if result["goal"]:
            x = left + float(result["goal"][2:]) * unit
            parts.append(f'<line x1="{x}" y1="{i * row + 2}" x2="{x}" y2="{i * row + row - 2}" stroke="#c33" stroke-width="2"/>')
    return "\n".join(parts + ["</svg>\n"])


def main():
    if (os.cpu_count() or 1) < 2:
        raise SystemExit("bench: needs two cores, one for the server and one for the client")
    patterns = (os.environ.get("CASES") or "*").replace(",", " ").split()
    table = Table()

    def wanted(name):
        return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)

    for group in (throughput_cases, family_cases, latency_cases, replay_cases, reactor_cases, memory_cases):
        group(table, wanted)
    program_cases(wanted)
    if not table.results:
        return
    out = ROOT / "build/bench"
    out.mkdir(parents=True, exist_ok=True)
    (out / "table.txt").write_text("\n".join(table.lines) + "\n")
    (out / "results.json").write_text(json.dumps(table.results, indent=1) + "\n")
    (out / "ratios.svg").write_text(plot(table.results))
    print(f"written: {out.relative_to(ROOT)}/table.txt results.json ratios.svg")


main()
