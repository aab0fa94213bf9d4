#!/usr/bin/env python3
# upstream.py -- Redis's own test suite, external mode, against kv: `upstream.py [--suite redis|valkey] [--server kv|redis|valkey] [--units a,b]`
# SPDX-License-Identifier: BSD-3-Clause
#
# WHY         The suite says what Redis's authors hold to be Redis. Every check that redis-server 7.0.15 passes here is expected of kv; the
#             exceptions are the rows of known-differences.md. A check that is not passed and not listed fails, and so does a listed one
#             that passes: the list can only shrink.
# HOW         Each unit gets a fresh server (threads 4, the log on, always) and a copy of the suite in a temporary directory. With --durable an
#             error inside a check fails that check alone. A check that hangs is failed and skipped in another round. When checks fail that are
#             not listed, another round skips those that are, so that what they leave behind (a MULTI, a changed directive) is not held
#             against their neighbours. What never ran is "not run", and that is not passed.
# RACES       A check of RACES that has not passed in its unit, or has hung there, must pass alone. Then it counts as raced: neither passed nor wrong.
# SPAWN       A unit named spawn:unit/x runs in spawn mode: the suite starts its servers itself, with its own redis.conf, and the program it starts
#             is a wrapper around kv-server. It has the checks that external mode leaves out.
# VALKEY      --suite valkey: valkey's suite in external mode. What valkey-server 8.0.1 passes of it is expected; rows of known-differences.md name
#             its units valkey:unit/x.
# REFERENCE   What redis-server passes is found by running the suite on it once per checkout: build/peers/redis-suite-reference.json.
#
# Last line: "upstream: N passed, N failed"; "upstream-valkey: ..." of the other suite. Status 0 when nothing failed.
import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT / "utils"))
import servers  # noqa: E402

PEERS = ROOT / "build/peers"
# 8.0.1 does not come back from these.
HANGS = {"redis": [], "valkey": ["Corrupted sparse HyperLogLogs are detected: Broken magic",
                                 "Corrupted sparse HyperLogLogs are detected: Additional at tail",
                                 "Corrupted sparse HyperLogLogs are detected: Invalid encoding",
                                 "Corrupted dense HyperLogLogs are detected: Wrong length",
                                 "Keyspace notification: expired event (Expiration time is already expired)",
                                 "Test the randomkey command will not cause the server to get into an infinite loop during the client pause write"]}
# Checks that send on (or close) a connection, then use another and rely on being read in that order, as by one thread: kv's reactors read side
# by side. Read in another order, the first of them waits for ever; the others fail, on a busy machine. They get more rounds, alone.
RACES = {"unit/type/list": ["BRPOPLPUSH with multiple blocked clients", "BRPOPLPUSH does not affect WATCH while still blocked"],
         "spawn:unit/client-eviction": ["client evicted due to percentage of maxmemory", "client no-evict off",
                                        "avoid client eviction when client is freed by output buffer limit",
                                        "evict clients in right order (large to small)"]}
RACE_ROUNDS = 10
RACE_SECONDS = 10  # what such a check needs alone is milliseconds
KNOWN = HERE / "known-differences.md"
LOGS = ROOT / "build/compat"
# The units of the families that kv has. A unit is added with its family.
UNITS = """unit/type/string unit/type/incr unit/type/list unit/type/list-2 unit/type/list-3 unit/type/set unit/expire unit/keyspace unit/multi unit/pubsub
 unit/scan unit/bitops unit/bitfield unit/protocol unit/other unit/querybuf unit/introspection unit/slowlog unit/latency-monitor unit/sort
 unit/pause unit/limits unit/hyperloglog unit/geo unit/tracking unit/type/stream unit/type/stream-cgroups unit/dump unit/functions
 unit/type/hash unit/type/zset unit/scripting unit/introspection-2 unit/info-command unit/quit unit/violations unit/replybufsize
 integration/redis-cli integration/replication-buffer
 spawn:unit/pubsubshard spawn:unit/acl spawn:unit/acl-v2 spawn:unit/auth spawn:unit/info spawn:unit/maxmemory spawn:unit/client-eviction
 spawn:unit/networking spawn:unit/obuf-limits spawn:unit/shutdown spawn:unit/violations spawn:unit/tracking""".split()
VALKEY_UNITS = """unit/type/string unit/type/incr unit/type/set unit/type/zset unit/type/hash unit/type/stream unit/type/list unit/type/list-3
 unit/type/stream-cgroups unit/expire unit/keyspace unit/multi unit/pubsub unit/scan unit/bitops unit/bitfield unit/protocol unit/other
 unit/introspection unit/slowlog unit/latency-monitor unit/sort unit/pause unit/hyperloglog unit/geo unit/tracking unit/dump unit/functions
 unit/scripting unit/introspection-2 unit/info-command unit/quit unit/violations unit/replybufsize""".split()  # a unit is added when what it does not pass is listed

SPAWN, SLOW = "spawn:", "slow:"
# What is asked: all but the slow checks; these, too; all but the slow ones in RESP3, which the suite of 7.0.15 does not know.
FORMS = {"short": ["--tags", "-slow"], "slow": [], "resp3": ["--force-resp3", "--tags", "-slow"]}
CLASSES = ("changed", "internals", "module", "later")
HANG_SECONDS = 240  # without a verdict; the slowest check waits for 30,000 barriers one after the other: 10 s on a quiet disk
# Units where hangs are expected, of a race or of a listed check, and whose slowest check needs 1 s.
QUICK, QUICK_SECONDS = ("unit/type/list", "unit/tracking", "spawn:unit/tracking"), 60
ROUNDS = 5

# Appended to the copy of the suite. An error between two checks, such as filling a key of a type that kv does not have, otherwise ends the
# whole block and hides its checks; and what a failed check leaves in its connection (MULTI, REPLY SKIP) would be held against the next.
ISOLATION = """
set ::kv_inside 0
rename test kv_suite_test
proc test {args} {
    set failed $::num_failed
    incr ::kv_inside
    set code [catch {uplevel 1 [list kv_suite_test {*}$args]} result options]
    incr ::kv_inside -1
    if {$::num_failed > $failed && $::external} {catch {reconnect}}
    return -options $options $result
}
rename r kv_suite_r
proc r {args} {
    set code [catch {uplevel 1 [list kv_suite_r {*}$args]} result options]
    if {$code && !$::kv_inside && [string match "*unknown *command*" $result]} {return ""}
    return -options $options $result
}
rename assert_encoding kv_suite_assert_encoding
proc assert_encoding {enc key} {
    if {$::kv_inside} {uplevel 1 [list kv_suite_assert_encoding $enc $key]}
}
"""

VERDICT = re.compile(r"^\[(ok|err|ignore|skip|exception|TIMEOUT)\]: ?(.*)$")
ELAPSED = re.compile(r" \(\d+ ms\)$")
FAILED_NAME = re.compile(r"^(.*) in tests/unit/\S+\.tcl$")
RUNNING = re.compile(r"^\S+ => \(IN PROGRESS\) (.*)$")


class Round:
    """What one run of a unit said: passed and failed are Counters of names; `why` has the text of each failure."""

    def __init__(self):
        self.passed, self.failed, self.ignored = collections.Counter(), collections.Counter(), 0
        self.why, self.hung, self.broken = {}, None, None

    def take(self, kind, rest, following):
        if kind == "ok":
            self.passed[ELAPSED.sub("", rest)] += 1
        elif kind == "ignore":
            self.ignored += 1
        elif kind == "err":
            named = FAILED_NAME.match(rest)
            if named:
                self.failed[named[1]] += 1
                self.why[named[1]] = following[:600]
            else:
                self.broken = (rest + "\n" + following)[:1200]  # a block ended between its checks
        elif kind in ("exception", "TIMEOUT"):
            self.broken = (kind + ": " + rest + "\n" + following)[:1200]


def log_name(unit):
    return unit.replace("/", "-").replace(":", "-")


def parse(text):
    result, lines = Round(), text.splitlines()
    for number, line in enumerate(lines):
        if line.strip() == "The End":
            break
        running = RUNNING.match(line)
        if running:
            result.hung = running[1]
        verdict = VERDICT.match(line)
        if verdict:
            end = number + 1
            while end < len(lines) and not lines[end].startswith("["):
                end += 1
            result.take(verdict[1], verdict[2], "\n".join(lines[number + 1 : end]))
    return result


class Suite:
    """A copy of the suite below a temporary directory; the original stays as it is, and several may run."""

    def __init__(self, name, form="short"):
        self.name, self.form, self.home = name, form, PEERS / f"{name}-suite"
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="kv-suite-"))
        for name in ("tests", "utils"):
            shutil.copytree(self.home / name, self.dir / name, symlinks=True)
        helper = self.dir / "tests/test_helper.tcl"
        text = helper.read_text()
        helper.write_text(text.replace("\nif {$::client} {\n", ISOLATION + "\nif {$::client} {\n", 1))
        (self.dir / "src").mkdir()
        for program in (PEERS / self.name).iterdir():
            (self.dir / "src" / program.name).symlink_to(program.resolve())

    def label(self, unit):
        return log_name(unit) if self.name == "redis" else f"{self.name}-{log_name(unit)}"

    def named(self, unit):
        """As known-differences.md has it."""
        return unit if self.name == "redis" else f"{self.name}:{unit}"

    def close(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def wrap(self, kind):
        """What the suite starts in spawn mode."""
        program = self.dir / f"src/{self.name}-server"
        program.unlink()
        more = " --threads 4 --save ''" if kind == "kv" else ""  # the suite's redis.conf has save rules
        server = servers.PROGRAMS[kind].resolve()
        program.write_text(f'#!/bin/sh\ncase "$1" in -* | "") exec {server} "$@" ;; esac\nexec {server} "$@"{more}\n')
        program.chmod(0o755)

    def patience(self, unit):
        """Seconds without a verdict after which a check of the unit hangs."""
        return QUICK_SECONDS if self.named(unit) in QUICK else HANG_SECONDS

    def run(self, kind, unit, skip, *more, seconds=None):
        """One round of one unit on a server of its own."""
        spawn = unit.startswith(SPAWN)
        server = None
        if spawn:
            self.wrap(kind)
            where = ["--clients", "1"]
        else:
            server = servers.Server(kind, *(["--threads", "4"] if kind == "kv" else ["--save", ""]))
            where = ["--host", "127.0.0.1", "--port", str(server.port)]
        skipfile = self.dir / "skip"
        skipfile.write_text("\n".join(HANGS[self.name] + list(skip)))
        command = ["tclsh", "tests/test_helper.tcl", *where, *FORMS[self.form], "--durable",
                   "--single", unit.removeprefix(SPAWN), "--timeout", str(seconds or self.patience(unit)), "--skipfile", str(skipfile),
                   "--baseport", str(servers.free_port()), *more]
        try:
            done = subprocess.run(["setpriv", "--pdeathsig", "KILL"] + command, cwd=self.dir, env={**os.environ, "TERM": "dumb"}, timeout=900,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            text = done.stdout.decode("utf-8", "replace")
        except subprocess.TimeoutExpired as late:
            text = (late.stdout or b"").decode("utf-8", "replace") + "\n[TIMEOUT]: the unit took more than 15 minutes\n"
        died = server.process.poll() if server else None
        LOGS.mkdir(parents=True, exist_ok=True)
        with open(LOGS / f"{kind}-{self.label(unit)}.log", "a", encoding="utf-8") as log:
            log.write(text + ("\n---- server log ----\n" + server.log()[-20000:] + "\n" if server else ""))
        result = parse(text)
        if died is not None:
            result.broken = f"the server ended with status {died}"
            result.died = True
        if server:
            server.stop()
        return result


def run_reference(suite, unit):
    """What the suite's own server passes: a check that hangs is left out of another round, so that those after it are known, too."""
    skip, result = [], suite.run(suite.name, unit, [])
    if (result.broken or result.hung) and suite.name == "redis":
        raise SystemExit(f"upstream: redis-server itself does not run {unit}: {result.broken or result.hung}")
    while result.hung and result.hung not in skip:
        print(f"upstream: {suite.name}-server hangs in {result.hung}")
        skip.append(result.hung)
        result = suite.run(suite.name, unit, skip)
    return {"passed": dict(result.passed), "failed": dict(result.failed), "ignored": result.ignored}


def reference(suite, units):
    store = PEERS / f"{suite.name}-suite-reference{'' if suite.form == 'short' else '-' + suite.form}.json"
    known = json.loads(store.read_text()) if store.exists() else {}
    for unit in units:
        if unit not in known:
            print(f"upstream: {unit} on {suite.name}-server, for reference", flush=True)
            known[unit] = run_reference(suite, unit)
            fresh = store.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps(known, indent=1))
            fresh.replace(store)
    return known


def alone(suite, kind, name, unit, why):
    """Whether a check of RACES passes in one of its rounds, with nothing beside it."""
    for _ in range(RACE_ROUNDS):
        result = suite.run(kind, unit, [], "--only", name, seconds=RACE_SECONDS)
        if name in result.passed:
            return True
    why[name] = f"not in its unit, and not in {RACE_ROUNDS} rounds alone: " + (result.why.get(name) or result.broken or "not run")
    return False


def best_of(suite, kind, unit, expected, listed):
    """Rounds until every expected check has its own verdict. Returns (passed, raced, why, notes, rounds, ignored)."""
    passed, why, notes, skip, ignored = collections.Counter(), {}, [], [], 0
    races = RACES.get(suite.named(unit), [])
    for number in range(1, ROUNDS + 1):
        result = suite.run(kind, unit, skip)
        passed |= result.passed
        ignored = max(ignored, result.ignored)
        why.update(result.why)
        missing = expected - passed
        if result.hung and result.hung not in skip:
            why[result.hung] = f"no answer within {suite.patience(unit)} s; the unit was run again without it"
            skip.append(result.hung)
            continue
        if result.broken:
            notes.append(result.broken.splitlines()[0])
            why.update({name: "not run: " + result.broken for name in missing if name not in why})
        # Again without the listed ones and the races, as long as there are others that may have failed only for what those left behind.
        fresh = [name for name in result.failed if (name in listed or name in races) and name not in skip]
        if not (missing - listed).keys() - set(skip + races) or not fresh:
            break
        skip += fresh
    missing = expected - passed
    raced = collections.Counter({name: missing[name] for name in races if name in missing and alone(suite, kind, name, unit, why)})
    return passed, raced, why, notes, number, ignored


Row = collections.namedtuple("Row", "unit names klass detail line")


def read_known():
    """Rows of the tables in known-differences.md: | unit | `name`, `name` | count | Redis | kv | class |. A name may have " x2" after it."""
    rows = []
    for number, line in enumerate(KNOWN.read_text(encoding="utf-8").splitlines(), 1):
        cells = [cell.strip() for cell in line.replace("\\|", "\0").strip().strip("|").split("|")]
        if not line.startswith(("| unit/", "| integration/", "| valkey:", "| " + SPAWN, "| " + SLOW)):
            continue
        where = f"{KNOWN.name}:{number}"
        if len(cells) != 6:
            raise SystemExit(f"{where}: six cells are needed, not {len(cells)}")
        names = collections.Counter()
        for name, times in re.findall(r"`([^`]+)`(?: x(\d+))?", cells[1].replace("\0", "|")):
            names[name] += int(times or 1)
        if str(sum(names.values())) != cells[2]:
            raise SystemExit(f"{where}: {sum(names.values())} names but count {cells[2]}")
        klass, _, detail = (part.strip() for part in cells[5].partition(":"))
        if klass not in CLASSES or not cells[3] or not cells[4]:
            raise SystemExit(f"{where}: class must be one of {', '.join(CLASSES)}, and what Redis and kv do must be said")
        rows.append(Row(cells[0], names, klass, detail, where))
    return rows


def known_of(unit, detail=None):
    rows = [row for row in read_known() if row.unit == unit and detail in (None, row.detail)]
    return sum((row.names for row in rows), collections.Counter())


def wrong_beside_encoding(suite, kind, unit, listed):
    """Those listed for their encoding alone must pass when nobody looks at encodings; returns the number of the others."""
    excused = known_of(suite.named(unit), "encoding")
    if not excused:
        return 0
    # Without the races: a hang in one of them would cost those after it their verdicts.
    result = suite.run(kind, unit, list(listed - excused) + RACES.get(suite.named(unit), []), "--ignore-encoding")
    wrong = excused - result.passed
    if result.hung:
        wrong |= collections.Counter([result.hung])
    for name in wrong:
        print(f"  FAILED {unit}: {name}: also without a look at encodings\n      "
              + result.why.get(name, result.broken or "not run").replace("\n", "\n      "))
    return sum(wrong.values())


def classes_of(unit, missing):
    """How many of the missing checks are listed, by class."""
    counts = collections.Counter()
    for row in read_known():
        if row.unit in (unit, SLOW + unit):
            counts[row.klass] += sum((row.names & missing).values())
    return counts


def print_total(suite, kind, mode, refs, units, rows):
    """One line over all units of a mode."""
    total = sum(sum(refs[unit]["passed"].values()) for unit in units)
    good, wrong, listed, ignored, raced = (sum(row[i] for row in rows) for i in range(5))
    classes = sum((row[5] for row in rows), collections.Counter())
    print(f"{suite.name} suite, {mode}: {suite.name}-server passes {total}; {kind}: {good} passed, {listed} listed"
          + f" ({', '.join(f'{count} {name}' for name, count in sorted(classes.items()) if count)})" * bool(listed)
          + f", {wrong} wrong, {raced} raced, {ignored} ignored")


def judge(suite, kind, unit, ref):
    """Prints what is wrong with the unit; returns (passed, failed, listed, ignored, raced, listed by class)."""
    expected = collections.Counter(ref["passed"])
    listed = known_of(suite.named(unit)) + (known_of(SLOW + suite.named(unit)) if suite.form == "slow" else collections.Counter())
    passed, raced, why, notes, rounds, ignored = best_of(suite, kind, unit, expected, listed)
    missing = expected - passed - raced
    wrong = 0
    for name, times in (missing - listed).items():
        print(f"  FAILED {unit}: {name}{f' x{times}' if times > 1 else ''}\n      " + why.get(name, "not run").replace("\n", "\n      "))
        wrong += times
    stale = listed - missing - known_of(suite.named(unit), "timing") if suite.form == "short" else {}
    for name, times in stale.items():
        print(f"  STALE {unit}: {name}{f' x{times}' if times > 1 else ''}: is in {KNOWN.name} and passes (or is no check of the suite)")
        wrong += times
    wrong += wrong_beside_encoding(suite, kind, unit, listed)
    for name in raced:
        print(f"  RACED {unit}: {name}: not in its unit, but alone\n      " + why.get(name, "not run").replace("\n", "\n      "))
    good = sum((expected & passed).values())
    print(f"{unit}: {good} of {sum(expected.values())} passed, {sum((missing & listed).values())} listed, {wrong} wrong, {sum(raced.values())} raced,"
          f" {ignored} ignored, {rounds} round(s)" + (f"; {notes[0]}" if notes else ""), flush=True)
    return good, wrong, sum((missing & listed).values()), ignored, sum(raced.values()), classes_of(suite.named(unit), missing)


def main():
    options = argparse.ArgumentParser(description="the upstream suite against kv")
    options.add_argument("--server", default="kv", choices=("kv", "redis", "valkey"))
    options.add_argument("--suite", default="redis", choices=("redis", "valkey"))
    options.add_argument("--units")
    options.add_argument("--form", default="short", choices=FORMS)
    options = options.parse_args()
    subprocess.run([ROOT / "deps/peers.sh", "redis", "valkey", options.suite + "-suite"], check=True)
    units = options.units.split(",") if options.units else UNITS if options.suite == "redis" else VALKEY_UNITS
    read_known()
    suite = Suite(options.suite, options.form)
    for unit in units:
        (LOGS / f"{options.server}-{suite.label(unit)}.log").unlink(missing_ok=True)
    begin = time.monotonic()
    try:
        refs = reference(suite, units)
        sums = [judge(suite, options.server, unit, refs[unit]) for unit in units]
    finally:
        suite.close()
    for mode, spawn in (("external mode", False), ("spawn mode", True)):
        chosen = [i for i, unit in enumerate(units) if unit.startswith(SPAWN) == spawn]
        if chosen:
            print_total(suite, options.server, mode, refs, [units[i] for i in chosen], [sums[i] for i in chosen])
    good, wrong = (sum(row[i] for row in sums) for i in range(2))
    print(f"{time.monotonic() - begin:.0f} s; logs in {LOGS.relative_to(ROOT)}/")
    name = "upstream" if suite.name == "redis" else f"upstream-{suite.name}"
    print(f"{name}: {good} passed, {wrong} failed")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
