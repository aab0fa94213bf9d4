#!/usr/bin/env python3
# oracle.py -- The differential oracle: the same random commands to kv and to a reference server; replies, keyspace events and state must be equal.
# SPDX-License-Identifier: BSD-3-Clause
#
#   oracle.py [--commands N] [--seed N] [--reference redis|valkey] [--full] [--self-test] [--report FILE]
#
# WHY         Two servers that answer 100,000 random commands byte by byte alike are alike; no list of examples says as much.
# HOW         grammar.py makes commands from the reference's COMMAND DOCS; batches go to both servers at once, an epoch of batches starts on empty
#             databases and ends with a comparison of everything in them. Half of the epochs speak RESP2, half RESP3. A batch is followed by its
#             keyspace events, in order. normalise.py lists what may differ. A difference ends its epoch and is shrunk to the shortest
#             list of commands that still shows it.
# COVERAGE    Per command and token, replies that are no errors are counted. --full makes more of those that came less than 50 times and
#             fails when one stays below without a reason in UNREACHABLE.
# SELF-TEST   --self-test alters one reply or event of kv's, in 20 ways, one run each; every one must be found.
#
# Last line: "oracle: N passed, N failed": commands compared, and distinct differences.
import argparse
import collections
import os
import pathlib
import random
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "utils"))
import grammar  # noqa: E402
import normalise  # noqa: E402
import resp  # noqa: E402
import servers  # noqa: E402

BATCH, EPOCH, REPLAY_BATCH = 60, 1500, 300
MAX_DIFFERENCES, SHRINK_TRIES = 25, 150
ENOUGH = 50
DATABASES = (0, 1, 2, 15)
STATE_VALUE = {b"string": ("get", b"GET"), b"list": ("lrange", b"LRANGE", b"0", b"-1"), b"hash": ("hgetall", b"HGETALL"),
               b"set": ("smembers", b"SMEMBERS"), b"zset": ("zrange", b"ZRANGE", b"0", b"-1", b"WITHSCORES"), b"stream": ("xrange", b"XRANGE", b"-", b"+")}
# (command, token): why a non-error reply cannot come here
UNREACHABLE = {
    ("object|freq", ""): "needs an LFU policy; tests/integration has it",
    ("touch", ""): None,
}
UNREACHABLE = {key: why for key, why in UNREACHABLE.items() if why}

Difference = collections.namedtuple("Difference", "where name words kv ref")


class Peers:
    """The two servers, a connection and a subscriber on each, all with the same protocol."""

    def __init__(self, reference):
        self.reference = reference
        self.kv = servers.Server("kv", "--threads", "4")
        self.ref = servers.Server(reference, "--save", "")
        self.sides = (self.kv, self.ref)
        self.main, self.events, self.marks, self.resp = (), (), 0, None
        self.alter = None

    def open(self, version):
        if self.resp == version:
            return
        for connection in self.main + self.events:
            connection.close()
        self.main = tuple(resp.Connection(side.port, version) for side in self.sides)
        self.events = tuple(resp.Connection(side.port) for side in self.sides)
        for connection in self.events:
            connection.call("CONFIG", "SET", "notify-keyspace-events", "KEAmn")
            connection.call("PSUBSCRIBE", "__key*__:*")
            connection.call("SUBSCRIBE", "__oracle_mark__")
        self.resp = version

    def clear(self):
        for words in (b"DISCARD", b"UNWATCH", b"FLUSHALL"):
            for connection in self.main:
                connection.call(words)
        for connection in self.main:
            connection.call(b"SELECT", b"0")
        self.read_events()

    def exchange(self, batch):
        """[(kv, reference)] of (raw, tree), in order."""
        for connection in self.main:
            connection.send([words for _, words in batch])
        both = [self.receive(side, connection, batch) for side, connection in zip(self.sides, self.main)]
        if self.alter:
            both[0] = [self.alter.reply(name, raw_tree) for (name, _), raw_tree in zip(batch, both[0])]
        return list(zip(*both))

    @staticmethod
    def receive(side, connection, batch):
        replies = []
        try:
            for _ in batch:
                replies.append(connection.reader.reply())
        except OSError as gone:
            raise ConnectionError(f"{side.kind}: {gone}; no reply to: {line_of(batch[len(replies)][1])}\n  before it: "
                                  + "; ".join(line_of(words) for _, words in batch[max(0, len(replies) - 12) : len(replies)])) from gone
        return replies

    def read_events(self):
        """Keyspace events up to a mark that is published now: a list for kv, one for the reference."""
        self.marks += 1
        mark = b"%d" % self.marks
        lists = []
        for main, events in zip(self.main, self.events):
            main.call(b"PUBLISH", b"__oracle_mark__", mark)
            got = []
            while True:
                _, (_, parts) = events.reader.reply()
                texts = [value for _, value in parts]
                if texts[0] == b"message" and texts[2] == mark:
                    break
                if texts[0] == b"pmessage":
                    got.append((texts[2], texts[3]))
            lists.append(got)
        return lists


class Comparison:
    """Compares the replies to batches; knows what is queued in a MULTI."""

    def __init__(self, peers, coverage):
        self.peers, self.coverage, self.queued, self.known = peers, coverage, [], collections.Counter()
        self.missed = []  # (event, key) of the reference that kv need not send
        self.looked = False  # the reference looked other keys up, or none: its events tell nothing
        self.parted = False  # an accepted difference has left other data behind: what follows cannot be compared

    def count(self, name, words, tree):
        command = self.coverage.commands.get(name)
        if command and tree[0] not in "-!":
            self.coverage.counts[name, ""] += 1
            given = {word.upper() for word in words[len(command.words):]}
            for token in command.tokens[1:]:
                if token.upper().encode() in given:
                    self.coverage.counts[name, token] += 1

    def one(self, name, words, kv, ref):
        self.looked = self.looked or normalise.looks_at_any(name, words, kv, ref)
        if kv == ref:
            self.count(name, words, ref)
            return True
        verdict = normalise.equal(self.peers.reference, name, words, kv, ref)
        if verdict:
            self.known[verdict, name] += 1
            self.missed += normalise.unreported(name, words, kv, ref)
            self.parted = self.parted or normalise.parts(name, words, kv, ref)
            self.count(name, words, ref)
        return bool(verdict)

    def executed(self, kv, ref):
        """The array of an EXEC, reply by reply."""
        if kv[0] != ref[0] or not isinstance(kv[1], list) or not isinstance(ref[1], list) or not len(kv[1]) == len(ref[1]) == len(self.queued):
            return kv == ref
        for (name, words), a, b in zip(self.queued, kv[1], ref[1]):
            if self.parted:
                break
            if not self.one(name, words, a, b):
                return False
        return True

    def reply(self, name, words, kv, ref):
        same = self.executed(kv, ref) if name == "exec" and ref[0] == "*" else self.one(name, words, kv, ref)
        if name == "exec" and ref[0] == "*":
            self.coverage.counts["exec", ""] += 1
        if ref == ("+", b"QUEUED"):
            self.queued.append((name, words))
        elif name in ("exec", "discard", "multi"):
            self.queued = []
        return same

    def batch(self, batch):
        """The first difference of a batch, or None; and how many commands were alike."""
        pairs = self.peers.exchange(batch)
        found, alike = None, 0
        for (name, words), ((_, kv), (_, ref)) in zip(batch, pairs):
            if self.reply(name, words, kv, ref):
                alike += 1
            elif found is None:
                found = Difference("reply", name, words, resp.show(kv), resp.show(ref))
                break
            if self.parted:
                break
        kv_events, ref_events = self.peers.read_events()
        if self.parted:
            return found, alike
        any_order = any(normalise.looks_in_any_order(name, words) for name, words in batch)
        if self.peers.alter and not self.looked and not any_order:  # a wrong event where events tell nothing shows nothing
            kv_events = self.peers.alter.events(kv_events)
        while self.missed and kv_events != ref_events and self.forgive(kv_events, ref_events):
            pass
        self.missed = []
        if self.looked:
            ref_events = kv_events
        self.looked = False
        if any_order and sorted(kv_events) == sorted(ref_events):
            ref_events = kv_events
        if found is None and kv_events != ref_events:
            at = next((i for i, (a, b) in enumerate(zip(kv_events, ref_events)) if a != b), min(len(kv_events), len(ref_events)))
            found = Difference("events", "event", [], str(kv_events[at : at + 4]), str(ref_events[at : at + 4]))
        return found, alike

    def forgive(self, kv, ref):
        """Where the lists part, the reference may have an event that kv need not send: both messages that tell of it are taken out."""
        at = next((i for i, (a, b) in enumerate(zip(kv, ref)) if a != b), min(len(kv), len(ref)))
        for event, key in self.missed:
            if ref[at : at + 2] and ref[at][1] == event and ref[at][0].endswith(b"__:" + key) and ref[at + 1][1] == key:
                del ref[at : at + 2]
                return True
        return False

    def state(self):
        """Everything in the databases; a difference names the key."""
        for db in DATABASES:
            ask = [("select", [b"SELECT", b"%d" % db]), ("dbsize", [b"DBSIZE"]), ("keys", [b"KEYS", b"*"])]
            pairs = self.peers.exchange(ask)
            found = self.differing(ask, pairs)
            if found:
                return found
            names = sorted(item[1] for item in pairs[2][1][1][1])
            ask = [("type", [b"TYPE", name]) for name in names]
            pairs = self.peers.exchange(ask) if ask else []
            found = self.differing(ask, pairs)
            if found:
                return found
            ask = []
            for name, (_, (_, (_, kind))) in zip(names, pairs):
                value = STATE_VALUE[kind]
                ask += [("object|encoding", [b"OBJECT", b"ENCODING", name]), ("pexpiretime", [b"PEXPIRETIME", name]),
                        (value[0], [value[1], name, *value[2:]])]
            found = self.differing(ask, self.peers.exchange(ask)) if ask else None
            if found:
                return found
        self.peers.exchange([("select", [b"SELECT", b"0"])])
        return None

    def differing(self, ask, pairs):
        for (name, words), ((_, kv), (_, ref)) in zip(ask, pairs):
            if kv != ref and not normalise.equal(self.peers.reference, name, words, kv, ref):
                return Difference("state", name, words, resp.show(kv), resp.show(ref))
        return None


class Coverage:
    def __init__(self, commands):
        self.commands, self.counts = commands, collections.Counter()

    def low(self):
        return [(name, token) for name, command in self.commands.items() for token in command.tokens
                if self.counts[name, token] < ENOUGH and (name, token) not in UNREACHABLE]


def closing():
    """Ends a batch in a known state, whatever was open."""
    return [("discard", [b"DISCARD"]), ("unwatch", [b"UNWATCH"]), ("select", [b"SELECT", b"0"])]


def make_batch(generator, rng, low):
    batch, open_multi = [], 0
    while len(batch) < BATCH:
        filling = low and rng.random() < 0.5
        if filling:
            name, token = low[int(rng.random() * len(low))]
            command, words = generator.by_name[name], generator.make(generator.by_name[name], token)
        else:
            command = generator.next()
            words = generator.make(command)
        if not open_multi and rng.random() < (0.5 if filling else 0.1):
            batch += generator.before(command, words)
        if open_multi and generator.reference == "valkey" and command.name in ("multi", "watch"):
            continue  # valkey has other words for it, and its EXEC fails then
        batch.append((command.name, words))
        if open_multi:
            open_multi -= 1
            if open_multi == 0:
                end = b"EXEC" if rng.random() < 0.7 else b"DISCARD"
                batch.append((end.decode().lower(), [end]))
        elif command.name == "multi":
            open_multi = rng.randrange(1, 6)
    return batch + closing()


def signature(found):
    def shape(text):
        return text[:30] if text[0] == "-" else text[0]

    return found.where, found.name, shape(found.kv), shape(found.ref)


def replay(peers, coverage, commands):
    """Runs a list from empty databases; the first difference or None."""
    peers.clear()
    comparison = Comparison(peers, coverage)
    for at in range(0, len(commands), REPLAY_BATCH):
        found, _ = comparison.batch(commands[at : at + REPLAY_BATCH] + closing())
        if found or comparison.parted:
            return found
    return comparison.state()


def shrink(peers, commands, wanted):
    """The shortest list found that ends in a difference of the same signature (delta debugging, a bounded number of tries)."""
    scratch, tries = Coverage({}), 0

    def shows(part):
        nonlocal tries
        tries += 1
        found = replay(peers, scratch, part)
        return found is not None and signature(found) == wanted

    if not shows(commands):
        return None
    pieces = 2
    while len(commands) > 1 and tries < SHRINK_TRIES:
        size = max(1, len(commands) // pieces)
        for start in range(len(commands) - size, -1, -size):
            part = commands[:start] + commands[start + size :]
            if part and shows(part):
                commands = part
                pieces = max(2, pieces - 1)
                break
            if tries >= SHRINK_TRIES:
                break
        else:
            if size == 1:
                break
            pieces = min(len(commands), pieces * 2)
    return commands


def line_of(words):
    return " ".join(ascii(word[:80])[1:] + (f"...({len(word)})" if len(word) > 80 else "") if not word.isalnum() or len(word) > 40 else word.decode()
                    for word in words)


class Run:
    """One run against one reference."""

    def __init__(self, options):
        self.options = options
        self.peers = Peers(options.reference)
        self.commands = self.shared_commands()
        self.coverage = Coverage(self.commands)
        self.rng = random.Random(options.seed)
        self.generator = grammar.Generator(self.rng, self.commands, options.reference)
        self.generator.by_name = self.commands
        self.alike = self.sent = 0
        self.known = collections.Counter()
        self.differences = {}  # signature -> (difference, shrunk commands, times)

    def shared_commands(self):
        """What the reference documents and kv has: without arguments kv says unknown command (or subcommand), or anything else."""
        ref, kv = resp.Connection(self.peers.ref.port), resp.Connection(self.peers.kv.port)
        documented = grammar.commands_of(ref, self.peers.reference)
        ref.close()
        names = list(documented)
        probe = [documented[name].words for name in names if name not in ("multi", "exec", "discard", "watch")]
        kv.send(probe)
        answers = dict(zip((tuple(words) for words in probe), (tree for _, tree in kv.receive(len(probe)))))
        kv.close()

        def has(command):
            kind, text = answers.get(tuple(command.words), ("+", b""))
            return kind != "-" or not text.startswith((b"ERR unknown command", b"ERR unknown subcommand"))

        return {name: command for name, command in documented.items() if has(command)}

    def note(self, found, history):
        key = signature(found)
        if key in self.differences:
            self.differences[key][2] += 1
            return
        shrunk = None if self.options.self_test else shrink(self.peers, history, key)
        self.differences[key] = [found, shrunk, 1]
        if not self.options.self_test:
            print(self.describe(key), flush=True)

    def describe(self, key):
        found, shrunk, _ = self.differences[key]
        lines = [f"DIFFERENCE ({found.where}, RESP{self.peers.resp}): {line_of(found.words) if found.words else found.name}",
                 f"    kv:        {found.kv}", f"    {self.options.reference + ':':10} {found.ref}"]
        lines += ["    after:"] + [f"      {line_of(words)}" for _, words in shrunk[-30:]] if shrunk else ["    (not reproduced from an empty database: see the seed)"]
        return "\n".join(lines)

    def epoch(self, number, count, low=None):
        """Some batches from empty databases to the comparison of the state. Ends early at a difference."""
        self.peers.open(2 + number % 2)
        self.peers.clear()
        comparison, history = Comparison(self.peers, self.coverage), []
        for _ in range(max(1, count // BATCH)):
            batch = make_batch(self.generator, self.rng, low)
            history += batch
            found, alike = comparison.batch(batch)
            self.alike += alike
            self.sent += len(batch)
            if found or comparison.parted:
                break
        else:
            found = comparison.state()
        self.known.update(comparison.known)
        if found:
            self.note(found, history)

    def run(self):
        number = 0
        while self.sent < self.options.commands and len(self.differences) < MAX_DIFFERENCES:
            self.epoch(number, min(EPOCH, self.options.commands))
            number += 1
        filled = 0
        while self.options.full and self.coverage.low() and filled < 120 and len(self.differences) < MAX_DIFFERENCES:
            self.epoch(number, 600, self.coverage.low())
            number, filled = number + 1, filled + 1

    def report(self):
        out = [f"# Differential oracle: kv against {self.options.reference}", "",
               f"Seed {self.options.seed}; {self.sent} commands, {self.alike} answered alike, {len(self.differences)} distinct differences; "
               f"{len(self.commands)} commands of the reference that kv has.", "", "## Differences", ""]
        out += [f"```\n{self.describe(key)}\n    seen {self.differences[key][2]} times\n```" for key in self.differences] or ["none"]
        out += ["", "## Accepted by normalise.py", "", "| as | command | times |", "|---|---|---|"]
        out += [f"| {kind} | {name} | {times} |" for (kind, name), times in sorted(self.known.items())]
        out += ["", "## Replies that are no errors, per command and token", "", "| command | all | tokens |", "|---|---|---|"]
        for name, command in sorted(self.commands.items()):
            out.append(f"| {name} | {self.coverage.counts[name, '']} | " + ", ".join(f"{t} {self.coverage.counts[name, t]}" for t in command.tokens[1:]) + " |")
        out += ["", "## Not reachable", ""] + [f"- {name} {token}: {why}" for (name, token), why in UNREACHABLE.items()]
        out += ["", "## Left out of the grammar", ""] + [f"- {why}: {names}" for why, names in grammar.EXCLUDED.items()]
        return "\n".join(out) + "\n"


def self_test(options):
    """20 deliberate wrong answers, each in a run of its own on the same servers."""
    import wrong  # its own file: the ways to be wrong

    run = Run(options)
    missed = []
    for kind in wrong.KINDS:
        run.rng = random.Random(options.seed)
        run.generator.rng = run.rng
        run.differences = {}
        alter = run.peers.alter = wrong.Alter(kind)
        number = 0
        while not run.differences and number < 40:
            run.epoch(number, EPOCH)
            if alter.done and not run.differences:
                break
            number += 1
        run.peers.alter = None
        # What is found must be what was altered, not some real difference that came first.
        caught = any(found.where == "events" if kind in wrong.EVENTS else found.kv == alter.shown for found, _, _ in run.differences.values())
        print(f"  {'found ' if caught else 'MISSED'} {kind}: {alter.done or 'never applied'}", flush=True)
        if not caught:
            missed.append(kind)
    print(f"oracle-self-test: {len(wrong.KINDS) - len(missed)} passed, {len(missed)} failed")
    return 1 if missed else 0


def main():
    parser = argparse.ArgumentParser(description="kv against a reference server, command by command")
    parser.add_argument("--commands", type=int, default=0, help="default: 20000, with --full 100000")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 31)))
    parser.add_argument("--reference", default="redis", choices=("redis", "valkey"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--report", default="")
    options = parser.parse_args()
    options.commands = options.commands or (100000 if options.full else 20000)
    subprocess.run([HERE.parent / "deps/peers.sh", options.reference], check=True)
    print(f"oracle: seed {options.seed}", flush=True)
    if options.self_test:
        return self_test(options)
    run, begin, broken = Run(options), time.monotonic(), 0
    try:
        run.run()
    except (ConnectionError, TimeoutError) as gone:
        broken = 1
        print(f"DIFFERENCE: a connection failed: {gone}\n" + run.peers.kv.log()[-3000:])
    path = pathlib.Path(options.report or HERE.parent / f"build/compat/oracle-{options.reference}.md")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(run.report(), encoding="utf-8")
    low = run.coverage.low() if options.full else []
    for name, token in low:
        print(f"TOO FEW: {name} {token}: {run.coverage.counts[name, token]} replies that are no errors, {ENOUGH} wanted")
    print(f"oracle: {len(run.commands)} commands against {options.reference}, {run.sent} sent in {time.monotonic() - begin:.0f} s, seed {options.seed}; report: {path}")
    failed = len(run.differences) + len(low) + broken
    # A test is a command of kv beside its counterpart, however often it was sent.
    print(f"oracle: {len(run.commands) if run.alike > 0 else 0} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
