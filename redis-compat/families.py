#!/usr/bin/env python3
# families.py -- Every command family through kill -9: what kv has after the restart is what a model has that was told what kv had acknowledged.
# SPDX-License-Identifier: BSD-3-Clause
#
#   families.py [--rounds N] [--reactors 1,4] [--seed N] [--units N]
#
# WHY         tests/crash knows the state after n operations of its own; here the operations are random commands of all families, and a model knows.
# HOW         Actors own two databases each, so that what they sent is a sequence. kv is killed under their load; after its restart the model is told the
#             units that kv acknowledged, then those that were on the way, one by one, until both have the same: keys, values, times to live, consumer
#             groups, libraries. If they never have, something acknowledged is lost or something is there that is no prefix. Actors of even
#             number are judged by redis-server, those of odd number by a kv without a log: it also knows the commands that Redis got after 7.0.
# UNITS       One command; a MULTI with its EXEC; a script or function that runs some commands; a blocking command together with the one that
#             serves it. What kv chooses itself (SPOP, XADD *) the model is told by the reply, or when none came, by what is there: such a unit ends its pipeline.
# ROUNDS      Kills at a random number of acknowledged units, or at a fault point (test builds), some with a slow disk, some again in the restart.
#             Every third round is quiet: nothing is on the way, so times must also be the same to the millisecond, after a log that began
#             anew (CONFIG SET appendonly) as well.
#
# Last line: "families: N passed, N failed": command groups whose writes were acknowledged and found, and differences.
import argparse
import collections
import hashlib
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "utils"))
import grammar  # noqa: E402
import normalise  # noqa: E402
import resp  # noqa: E402
import servers  # noqa: E402

ACTORS, ROUNDS_PER_LIFE, PIPELINE, PATIENCE = 8, 5, 24, 300
READERS_WEIGHT = 0.1  # of a command that only reads: the models' replies are compared by the oracle
OFTEN = ["wal.before_write", "wal.after_write", "wal.before_publish", "wal.after_publish", "wal.before_sync", "io.write", "exec.append"]
SELDOM = ["wal.switch", "wal.seal", "wal.segment_zero", "wal.segment_rename", "wal.segment_sync", "wal.dir_sync"]
RECOVERING = ["wal.read", "wal.repair", "io.read", "io.write", "wal.before_write", "wal.dir_sync"]
BY_HAND = {"multi", "exec", "discard", "select", "swapdb", "flushall", "function|flush", "function|list", "watch"}
# Where redis-server 7.0.15 writes and kv refuses, or the other way round: see parts() in normalise.py. The actors that kv judges have them.
NOT_ALIKE = {"xsetid", "sort"}
NOT_INSIDE = BY_HAND | {"move", "copy", "flushdb", "unwatch"}
GROUPS = ["string", "bitmap", "hyperloglog", "list", "hash", "set", "sorted-set", "stream", "geo", "generic", "transactions", "scripting", "blocking"]
WAITING = {"blpop", "brpop", "blmove", "brpoplpush", "blmpop", "bzpopmin", "bzpopmax", "bzmpop"}  # 7.2 allows them in scripts
# Of XINFO STREAM: internals, moments of reads that are not logged, and what a group has read and its lag, which 7.2.6 and later count in another way
# (tests/integration/test_stream_log.c sees that both outlive a restart).
NO_STATE = (b"radix-tree-keys", b"radix-tree-nodes", b"seen-time", b"active-time", b"entries-read", b"lag")

BODY = b"""
local i, done = 1, 0
while i <= #ARGV do
    local n = tonumber(ARGV[i])
    local reply = redis.pcall(unpack(ARGV, i + 1, i + n))
    if type(reply) ~= 'table' or not reply.err then done = done + 1 end
    i = i + 1 + n
end
return done"""
SHA = hashlib.sha1(BODY).hexdigest().encode()
LIBRARY = b"#!lua name=%s\n-- %d\nredis.register_function('%s', function(KEYS, ARGV)" + BODY + b"\nend)"
# main, what serves it, what both do one after the other; K: the key, L: another one
SERVED = [
    ("BLPOP K 0", "RPUSH K a b", "LPOP K"),
    ("BRPOP K 0", "LPUSH K a b c", "RPOP K"),
    ("BLMOVE K L LEFT RIGHT 0", "RPUSH K a b", "LMOVE K L LEFT RIGHT"),
    ("BRPOPLPUSH K L 0", "RPUSH K a", "RPOPLPUSH K L"),
    ("BLMPOP 0 1 K RIGHT COUNT 2", "RPUSH K a b c", "LMPOP 1 K RIGHT COUNT 2"),
    ("BZPOPMIN K 0", "ZADD K 1 a 2 b", "ZPOPMIN K"),
    ("BZPOPMAX K 0", "ZADD K 1 a", "ZPOPMAX K"),
    ("BZMPOP 0 1 K MAX COUNT 2", "ZADD K 1 a 2 b 3 c", "ZMPOP 1 K MAX COUNT 2"),
    ("XREADGROUP GROUP g c BLOCK 0 STREAMS K >", "XADD K 5-1 f v", "XREADGROUP GROUP g c STREAMS K >"),
]


class Unit:
    """What is sent as one: `commands` on the actor's connection, `side` on its second one. `atoms` is what it does: lists of commands that happen
    together. One that `chooses` does what only its reply tells."""

    def __init__(self, group, name, commands, atoms=None, side=(), chooses=None, db=0):
        self.group, self.name, self.commands, self.side = group, name, commands, list(side)
        self.atoms, self.chooses, self.db = atoms or [commands], chooses, db
        self.replies = []

    def happened(self):
        """The atoms of a unit whose replies came."""
        if any(refused(tree) for tree in self.replies):
            return []
        return self.chooses.told(self.replies[-1]) if self.chooses else self.atoms

    def __str__(self):
        return " ; ".join(line_of(words) for words in self.side + self.commands)


def refused(tree):
    """There was no room for it, on the disk or in memory: it has done nothing."""
    kind, value = tree
    return any(map(refused, value)) if isinstance(value, list) else kind == "-" and value.startswith((b"MISCONF", b"OOM"))


class Pop:
    """SPOP of some members: the model removes the same."""

    def __init__(self, key, count):
        self.key, self.count = key, count

    def told(self, tree):
        kind, value = tree
        members = [item[1] for item in value] if isinstance(value, list) else [value]
        return [[[b"SREM", self.key, *members]]] if kind in "$*" and value not in (None, []) else []

    def read(self, kv, model):
        both = [connection.call(b"SMEMBERS", self.key) for connection in (kv, model)]
        if any(kind != "*" for kind, _ in both):
            return []
        left, had = ({item[1] for item in value} for _, value in both)
        gone = sorted(had - left)
        return [[[b"SREM", self.key, *gone]]] if gone and len(gone) == min(self.count, len(had)) else []


class Add:
    """XADD with an id of the clock: the model gets the same id."""

    def __init__(self, key, fields):
        self.key, self.fields = key, fields

    def told(self, tree):
        return [[[b"XADD", self.key, tree[1], *self.fields]]] if tree[0] == "$" else []

    def read(self, kv, model):
        ids = []
        for connection in (kv, model):
            kind, value = connection.call(b"XINFO", b"STREAM", self.key)
            ids.append(dict(zip([item[1] for item in value[::2]], value[1::2]))[b"last-generated-id"][1] if kind == "*" else None)
        return [[[b"XADD", self.key, ids[0], *self.fields]]] if ids[0] and ids[0] != ids[1] else []


def line_of(words):
    return " ".join(ascii(word[:60])[1:] + (f"...({len(word)})" if len(word) > 60 else "") for word in words)


def rdb_string(text):
    size = len(text)
    return (bytes([size]) if size < 64 else bytes([0x40 | size >> 8, size & 255])) + text


class Maker:
    """Makes the units of one actor."""

    def __init__(self, seed, number, alone, dialect, commands, writes, plain_only=False):
        self.plain_only = plain_only  # neither scripts, whose parts may be refused, nor what waits for another command
        self.rng, self.number, self.dialect = random.Random(seed), number, dialect
        self.alone = alone  # no other actor: what concerns all databases may come too
        usable = {name: command for name, command in commands.items() if name not in BY_HAND | (NOT_ALIKE if dialect == "redis" else set())}
        for name, command in usable.items():
            command.weight = grammar.WEIGHTS.get(name, 10) * (1 if name in writes else READERS_WEIGHT)
        self.generator = grammar.Generator(self.rng, usable, dialect)
        self.dbs, self.db = (2 * number, 2 * number + 1), 2 * number
        self.library, self.function = b"lib%d" % number, b"f%d" % number
        self.served = 0

    def chance(self, p):
        return self.rng.random() < p

    def own_db(self, word):
        return b"%d" % self.dbs[int(word) % 2] if word.isdigit() and int(word) < 16 else word

    def command(self, inside=False):
        """(command, words) with databases of ours."""
        command = self.generator.next()
        while inside and command.name in NOT_INSIDE | (WAITING if self.dialect == "redis" else set()):
            command = self.generator.next()
        words = self.generator.make(command)
        if command.name == "move" and len(words) > 2:
            words[2] = self.own_db(words[2])
        if command.name == "copy":
            for at, word in enumerate(words[:-1]):
                if word.upper() == b"DB":
                    words[at + 1] = self.own_db(words[at + 1])
        return command, words

    def some_commands(self):
        return [self.command(inside=True)[1] for _ in range(self.rng.randrange(1, 6))]

    def multi(self):
        inside = self.some_commands()
        if self.chance(0.3):
            other = self.dbs[self.dbs[0] == self.db]
            inside.insert(self.rng.randrange(len(inside) + 1), [b"SELECT", b"%d" % other])
            inside.append([b"SELECT", b"%d" % self.db])
        watch = [[b"WATCH", b"s0", b"l0"]] if self.chance(0.2) else []
        return Unit("transactions", "exec", watch + [[b"MULTI"], *inside, [b"EXEC"]])

    def script(self):
        inside = self.some_commands()
        arguments = [word for words in inside for word in (b"%d" % len(words), *words)]
        keys = sorted({word for words in inside for word in words if len(word) == 2 and word[:1] in b"sphltzxg" and word[1:].isdigit()})
        keys = keys if self.chance(0.5) else []
        start = self.rng.choice([[b"EVAL", BODY], [b"EVALSHA", SHA], [b"FCALL", self.function]])
        return Unit("scripting", start[0].decode().lower(), [start + [b"%d" % len(keys), *keys, *arguments]])

    def load_library(self):
        code = LIBRARY % (self.library, self.rng.randrange(1000), self.function)
        return Unit("scripting", "function|load", [[b"FUNCTION", b"LOAD", *([b"REPLACE"] if self.chance(0.9) else []), code]])

    def functions(self):
        kind = self.rng.randrange(8)
        if kind == 0:
            return Unit("scripting", "function|delete", [[b"FUNCTION", b"DELETE", self.library]])
        if kind == 1 and self.alone:
            return Unit("scripting", "function|flush", [[b"FUNCTION", b"FLUSH"]])
        if kind < 4:
            code = LIBRARY % (self.library, self.rng.randrange(1000), self.function)
            value = b"\xf5" + rdb_string(code) + b"\x0a\0"
            value += grammar.crc64(value).to_bytes(8, "little")
            return Unit("scripting", "function|restore", [[b"FUNCTION", b"RESTORE", value, self.rng.choice([b"REPLACE", b"REPLACE", b"APPEND"])]])
        return self.load_library()

    def database(self):
        if self.alone and self.chance(0.1):
            return Unit("server", "flushall", [[b"FLUSHALL"]])
        if self.chance(0.3):
            return Unit("server", "swapdb", [[b"SWAPDB", *(b"%d" % db for db in self.dbs)]])
        self.db = self.rng.choice(self.dbs)
        return Unit("connection", "select", [[b"SELECT", b"%d" % self.db]])

    def choosing(self):
        if self.chance(0.5):
            key, fields = b"x%d" % self.rng.randrange(grammar.KEYS_EACH), [b"f", b"%d" % self.rng.randrange(1000)]
            return Unit("stream", "xadd", [[b"XADD", key, b"*", *fields]], chooses=Add(key, fields), db=self.db)
        key, count = b"t%d" % self.rng.randrange(grammar.KEYS_EACH), self.rng.randrange(4)
        return Unit("set", "spop", [[b"SPOP", key, *([b"%d" % count] if count else [])]], chooses=Pop(key, max(1, count)), db=self.db)

    def waiting(self):
        """What makes the key empty, and the pair."""
        self.served += 1
        names = {"K": b"b%d" % (self.served % 3), "L": b"b%d" % (self.served % 3 + 3)}
        main, side, both = ([names.get(word, word.encode()) for word in text.split()] for text in self.rng.choice(SERVED))
        before = [[b"DEL", names["K"], names["L"]]]
        if main[0] == b"XREADGROUP":
            before += [[b"XGROUP", b"CREATE", names["K"], b"g", b"$", b"MKSTREAM"], [b"XGROUP", b"CREATECONSUMER", names["K"], b"g", b"c"]]
        return [Unit("generic", "del", [words]) for words in before] + [
            Unit("blocking", main[0].decode().lower(), [main], atoms=[[side], [both]], side=[[b"SELECT", b"%d" % self.db], side])]

    def first(self):
        """Of a connection: its database; what a restart forgets."""
        return [Unit("connection", "select", [[b"SELECT", b"%d" % self.db]]), Unit("connection", "script|load", [[b"SCRIPT", b"LOAD", BODY]])]

    def pipeline(self):
        units, size = [], self.rng.randrange(1, PIPELINE)
        while len(units) < size:
            kind = self.rng.random()
            if kind < 0.03 and not self.plain_only:
                return units + self.waiting()
            if 0.03 <= kind < 0.08:
                return units + [self.choosing()]
            if 0.08 <= kind < 0.14:
                units.append(self.multi())
            elif 0.14 <= kind < 0.19 and not self.plain_only:
                units.append(self.script())
            elif 0.19 <= kind < 0.21:
                units.append(self.functions())
            elif 0.21 <= kind < 0.24:
                units.append(self.database())
            else:
                command, words = self.command()
                units.append(Unit(command.group, command.name, [words]))
        return units


class Actor(threading.Thread):
    """Sends units until the server is gone, or `enough` of all actors were acknowledged."""

    def __init__(self, maker, port, tally):
        super().__init__()
        self.maker, self.port, self.tally = maker, port, tally
        self.acked, self.flying, self.problem = [], [], None

    def run(self):
        try:
            self.connections = [resp.Connection(self.port, timeout=PATIENCE) for _ in range(2)]
            self.talk(self.maker.first())
            while not self.tally.enough:
                units = self.maker.pipeline()
                if units[-1].side:  # what serves it comes on another connection: only after what comes before it
                    self.talk(units[:-1])
                self.talk(units[-1:] if units[-1].side else units)
        except TimeoutError:
            self.problem = f"no reply in {PATIENCE} s"
        except (ConnectionError, OSError):
            pass  # it was killed; whether by us the round knows
        except Exception as bug:  # pylint: disable=broad-except
            self.problem = repr(bug)

    def talk(self, units):
        main, side = self.connections
        self.flying = list(units)
        main.send([words for unit in units for words in unit.commands])
        if units[-1].side:
            side.send(units[-1].side)
        for unit in units:
            replies = [main.reader.reply()[1] for _ in unit.commands]
            if unit.side:
                replies += [side.reader.reply()[1] for _ in unit.side]
            unit.replies = replies
            self.acked.append(self.flying.pop(0))
            self.tally.count(unit)

    def close(self):
        for connection in getattr(self, "connections", ()):
            connection.close()


class Tally:
    """Of all actors."""

    def __init__(self):
        self.acked, self.enough, self.lock = 0, False, threading.Lock()
        self.good = collections.Counter()

    def count(self, unit):
        with self.lock:
            self.acked += 1
            if all(kind not in "-!" for kind, _ in unit.replies):
                self.good[unit.group, unit.name] += 1


# ---- What is in a server ----


def plain(tree, times):
    """A tree of XINFO STREAM FULL as dictionaries and lists, without NO_STATE; the moments of deliveries go to `times`."""
    kind, value = tree
    if not isinstance(value, list):
        return value
    names = [item[1] for item in value[::2]]
    if kind == "*" and value and len(value) % 2 == 0 and all(item[0] == "$" for item in value[::2]) and {b"length", b"name"} & set(names):
        return {name: deliveries(item, times) if name in (b"pending", b"pel") else plain(item, times)
                for name, item in zip(names, value[1::2]) if name not in NO_STATE}
    return [plain(item, times) for item in value]


def deliveries(tree, times):
    if not isinstance(tree[1], list):
        return tree[1]
    times += [int(entry[1][-2][1]) for entry in tree[1]]
    return [[item[1] for at, item in enumerate(entry[1]) if at != len(entry[1]) - 2] for entry in tree[1]]


READ = {b"string": [b"GET"], b"list": [b"LRANGE", 0, -1], b"hash": [b"HGETALL"], b"set": [b"SMEMBERS"], b"zset": [b"ZRANGE", 0, -1, b"WITHSCORES"],
        b"stream": [b"XINFO", b"STREAM", b"FULL", b"COUNT", 0]}


def reading(kind, key):
    words = [word if isinstance(word, bytes) else b"%d" % word for word in READ[kind]]
    at = 2 if kind == b"stream" else 1
    return words[:at] + [key] + words[at:]


def canonical(kind, tree, times):
    """The value so that equal ones are equal: no order where none is promised."""
    if kind == b"stream":
        return plain(tree, times)
    if kind == b"string":
        value = tree[1]
        return value[:8] + bytes(8) + value[16:] if value and value[:4] == b"HYLL" else value  # its cached count
    items = [item[1] for item in tree[1]]
    if kind == b"hash":
        return sorted(zip(items[::2], items[1::2]))
    if kind == b"zset":
        return list(zip(items[::2], map(float, items[1::2])))
    return sorted(items) if kind == b"set" else items


def ask(connection, commands):
    """All replies; in portions that fit into socket buffers."""
    trees = []
    for at in range(0, len(commands), 100):
        part = commands[at : at + 100]
        connection.send(part)
        trees += [tree for _, tree in connection.receive(len(part))]
    return trees


def state(connection, maker):
    """{(database, key): (type, value, [times])} of what an actor owns; its library is key b"library"."""
    found = {}
    for db in maker.dbs:
        ask(connection, [[b"SELECT", b"%d" % db]])
        keys = sorted(item[1] for item in ask(connection, [[b"KEYS", b"*"]])[0][1])
        kinds = [tree[1] for tree in ask(connection, [[b"TYPE", key] for key in keys])]
        values = ask(connection, [reading(kind, key) for kind, key in zip(kinds, keys)])
        expiries = ask(connection, [[b"PEXPIRETIME", key] for key in keys])
        for key, kind, tree, (_, expiry) in zip(keys, kinds, values, expiries):
            times = [int(expiry)]
            found[db, key] = (kind, canonical(kind, tree, times), times)
        hashes = [key for key, kind in zip(keys, kinds) if kind == b"hash"] if maker.dialect == "kv" else []
        fields = [[name for name, _ in found[db, key][1]] for key in hashes]
        for key, tree in zip(hashes, ask(connection, [[b"HPEXPIRETIME", key, b"FIELDS", b"%d" % len(names), *names] for key, names in zip(hashes, fields)])):
            found[db, key][2].extend(int(item[1]) for item in tree[1])
    library = ask(connection, [[b"FUNCTION", b"LIST", b"LIBRARYNAME", maker.library, b"WITHCODE"]])[0]
    found[-1, b"library"] = (b"library", library, [])
    return found


def differing(kv, model, window):
    """The keys that are not the same; times may be `window` ms apart."""
    def same(a, b):
        return a[:2] == b[:2] and len(a[2]) == len(b[2]) and all(x == y or min(x, y) > 0 and abs(x - y) <= window for x, y in zip(a[2], b[2]))

    return [key for key in sorted(kv.keys() | model.keys()) if key not in kv or key not in model or not same(kv[key], model[key])]


# ---- Rounds ----


class KilledServer(servers.Server):
    """kv, which ends in faults and kills."""

    def begin(self, reactors, faults="", small_segments=False):
        """False: it ended before it served."""
        os.environ["KV_FAULTS"] = faults
        try:
            self.start("--threads", str(reactors), "--wal-segment-size", "1mb" if small_segments else "64mb")
            return True
        except SystemExit:
            if not faults:
                raise
            return False
        finally:
            del os.environ["KV_FAULTS"]

    def kill(self):
        self.process.kill()
        self.process.wait()


class Run:
    def __init__(self, options):
        self.options, self.rng = options, random.Random(options.seed)
        self.kv = None
        self.models = {"redis": servers.Server("redis", "--save", ""), "kv": servers.Server("kv", "--appendonly", "no", "--threads", "1")}
        listed = subprocess.run([str(servers.PROGRAMS["kv"]), "--list-fault-points"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout
        self.points = {word for word in listed.decode().split() if word.startswith(("wal.", "io."))}  # of test builds
        self.commands = self.read_commands()
        self.tally = Tally()
        self.failures = self.kills = self.at_points = self.units = self.taken = 0
        self.makers, self.window = [], 0

    def read_commands(self):
        """{dialect: (commands, names of those that write)}"""
        kv = resp.Connection(self.models["kv"].port)
        known = grammar.commands_of(kv, "kv")
        rows = ask(kv, [[b"COMMAND", b"INFO", *(name.encode() for name in known)]])[0][1]
        writes = {name for name, (_, row) in zip(known, rows) if row and any(flag[1] == b"write" for flag in row[2][1])}
        ref = resp.Connection(self.models["redis"].port)
        old = {name: command for name, command in grammar.commands_of(ref, "redis").items() if name in known}
        ref.close()
        kv.close()
        return {"kv": (known, writes), "redis": (old, writes)}

    def new_life(self, number):
        """An empty directory, empty models, new actors."""
        if self.kv:
            self.kv.stop()
        for model in self.models.values():
            connection = resp.Connection(model.port)
            ask(connection, [[b"FLUSHALL"], [b"FUNCTION", b"FLUSH"]])
            connection.close()
        self.kv = KilledServer("kv", "--threads", "1")
        alone, self.window = number % 4 == 3, 0
        self.makers = [Maker(self.rng.random(), i, alone, ("redis", "kv")[(i + number // 4) % 2], *self.commands[("redis", "kv")[(i + number // 4) % 2]])
                       for i in range(1 if alone else ACTORS)]

    def faults(self):
        kind = self.rng.randrange(4)
        if kind == 0 or not self.points:
            return ""
        if kind == 1:
            return f"wal.before_write=delay{self.rng.randrange(2, 20)}:0:0"
        often = self.rng.random() < 0.7
        return f"{self.rng.choice(OFTEN if often else SELDOM)}=kill:{self.rng.randrange(600 if often else 2)}"

    def load(self, reactors, quiet):
        """Actors until the kill; (actors, was it a fault point)."""
        faults = "" if quiet else self.faults()
        small = self.rng.random() < 0.3 or any(point in faults for point in SELDOM)
        wanted = self.options.units * (1 if quiet else self.rng.uniform(0.05, 1.5)) * (0.3 if "delay" in faults else 1)
        if not self.kv.begin(reactors, faults, small):
            return [], True
        self.tally.enough, until = False, self.tally.acked + wanted
        actors = [Actor(maker, self.kv.port, self.tally) for maker in self.makers]
        for actor in actors:
            actor.start()
        end = time.monotonic() + PATIENCE
        while self.kv.process.poll() is None and self.tally.acked < until and any(actor.is_alive() for actor in actors) and time.monotonic() < end:
            time.sleep(0.002)
        at_point = self.kv.process.poll() is not None
        if at_point and (self.kv.process.returncode != -9 or "kill" not in faults):
            self.fail(f"it has ended by itself, status {self.kv.process.returncode}:\n{self.kv.log()[-3000:]}")
        self.tally.enough = quiet
        if not quiet:
            self.kv.kill()
        for actor in actors:
            actor.join()
            actor.close()
        self.tally.enough = True
        return actors, at_point

    def exact(self):
        """Everything, to the millisecond."""
        connection = resp.Connection(self.kv.port, timeout=PATIENCE)
        all_of_it = [state(connection, maker) for maker in self.makers]
        digest = connection.call(b"DEBUG", b"DIGEST")
        connection.close()
        return all_of_it, digest

    def restart(self, reactors):
        if self.points and self.rng.random() < 0.3:
            if self.kv.begin(reactors, f"{self.rng.choice(RECOVERING)}=kill:{self.rng.randrange(4)}"):
                self.kv.kill()
        self.kv.begin(reactors)

    def quiet_kill(self, begins_anew, reactors):
        before = self.exact()
        if begins_anew:
            client = self.kv.client()
            client("CONFIG", "SET", "appendonly", "no")
            client("CONFIG", "SET", "appendonly", "yes")
            client.close()
        self.kv.kill()
        self.restart(reactors)
        after = self.exact()
        for maker, had, has in zip(self.makers, before[0], after[0]):
            for key in differing(has, had, 0):
                self.fail(f"{key} of actor {maker.number} before and after the restart:\n    {had.get(key)}\n    {has.get(key)}")
        if before[1] != after[1]:
            self.fail(f"DEBUG DIGEST: {before[1]}, after the restart {after[1]}")

    def fail(self, text):
        self.failures += 1
        print(f"DIFFERENCE: {text}"[:6000], flush=True)

    def ended(self, kv):
        """Has it ended by itself? Then that is a failure."""
        try:
            kv.process.wait(1)
        except subprocess.TimeoutExpired:
            return False
        self.fail(f"it has ended by itself, status {kv.process.returncode}:\n{kv.log()[-3000:]}")
        return True

    def judge(self, actor, begun):
        """Tells the model of the actor what happened and compares."""
        maker = actor.maker
        model = resp.Connection(self.models[maker.dialect].port, timeout=PATIENCE)
        kv = resp.Connection(self.kv.port, timeout=PATIENCE)
        reader = resp.Connection(self.models[maker.dialect].port, timeout=PATIENCE)
        apart = self.tell(model, actor)
        has = state(kv, maker)

        def wrong():
            # Relative times began when the model heard of them, in this round or an earlier one.
            self.window = max(self.window, (time.time() - begun) * 1000 + 1000)
            return differing(has, state(reader, maker), self.window)

        different, left = wrong(), actor.flying[:]
        while different and left:
            unit = left.pop(0)
            if unit.chooses:
                for connection in (kv, reader):
                    ask(connection, [[b"SELECT", b"%d" % unit.db]])
                atoms = unit.chooses.read(kv, reader)
            else:
                atoms = unit.atoms
            for atom in atoms:
                if different:
                    ask(model, atom)
                    different = wrong()
        if different:
            self.explain(actor, different, has, state(reader, maker), apart)
        self.taken += len(actor.flying) - len(left)
        for connection in (model, kv, reader):
            connection.close()

    @staticmethod
    def tell(model, actor):
        """What was acknowledged; the first unit that the model answered differently, as text: a hint, its judge is the oracle."""
        commands = [words for unit in actor.acked for atom in unit.happened() for words in atom]
        replies, apart = ask(model, commands), None
        for unit in actor.acked:
            count = sum(len(atom) for atom in unit.happened())
            mine, replies = replies[:count], replies[count:]
            if not apart and not unit.chooses and not unit.side:
                name = unit.name if len(unit.commands) == 1 else ""
                if not all(kv == ref or normalise.equal("redis", name, words, kv, ref) for words, kv, ref in zip(unit.commands, unit.replies, mine)):
                    apart = f"{unit}\n    kv:    {resp.show(unit.replies[-1])}\n    model: {resp.show(mine[-1])}"
        return apart

    def explain(self, actor, keys, has, wanted, apart):
        key = keys[0]
        about = [str(unit) for unit in actor.acked if not key[1] or any(key[1] in words for words in unit.commands + unit.side)]
        self.fail(f"actor {actor.maker.number} ({actor.maker.dialect}): {len(keys)} keys are not as acknowledged, first {key}\n"
                  f"    kv:    {str(has.get(key))[:700]}\n    model: {str(wanted.get(key))[:700]} (and nothing of what was on the way makes it so)\n"
                  + "".join(f"      {line[:300]}\n" for line in about[-25:]) + "    on the way:\n" + "".join(f"      {str(unit)[:300]}\n" for unit in actor.flying)
                  + f"    first answered differently: {apart}\n")

    def round(self, number, reactors):
        quiet, begun = number % 3 == 2, time.time()
        actors, at_point = self.load(reactors, quiet)
        if self.failures:
            return
        if quiet:
            self.quiet_kill(number % 2 == 0, reactors)
        else:
            self.restart(reactors)
        self.kills, self.at_points = self.kills + 1, self.at_points + at_point
        for actor in actors:
            if actor.problem:
                self.fail(f"actor {actor.maker.number}: {actor.problem}")
            self.judge(actor, begun)
        self.kv.kill()
        units, flying = sum(len(actor.acked) for actor in actors), sum(len(actor.flying) for actor in actors)
        self.units += units
        print(f"round {number}: {reactors} reactors, {len(actors)} actors, {units} units acknowledged, {flying} on the way"
              f"{', quiet' if quiet else ''}{', at a fault point' if at_point else ''}", flush=True)

    def run(self):
        for number in range(self.options.rounds):
            if number % ROUNDS_PER_LIFE == 0:
                self.new_life(number // ROUNDS_PER_LIFE)
                self.kv.kill()
            self.round(number, self.options.reactors[number % len(self.options.reactors)])
            if self.failures:
                break  # what follows would differ as well

    def missing(self):
        return [group for group in GROUPS if not any(self.tally.good[key] for key in self.tally.good if key[0] == group)]


def main():
    parser = argparse.ArgumentParser(description="every command family through kill -9")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--reactors", type=lambda text: [int(word) for word in text.split(",")], default=[4, 1])
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 31)))
    parser.add_argument("--units", type=int, default=4000, help="acknowledged units of a round, about")
    options = parser.parse_args()
    subprocess.run([HERE.parent / "deps/peers.sh", "redis"], check=True)
    print(f"families: seed {options.seed}", flush=True)
    run, begin = Run(options), time.monotonic()
    run.run()
    missing = run.missing()
    for group in missing:
        print(f"MISSING: no write of {group} was acknowledged")
    never = sorted(name for name in run.commands["kv"][1] - BY_HAND if not any(key[1] == name for key in run.tally.good))
    print(f"families: {run.kills} kills, {run.at_points} at fault points, {run.units} units acknowledged, {run.taken} found that were on the way, "
          f"{time.monotonic() - begin:.0f} s, seed {options.seed}; write commands never acknowledged: {' '.join(never) or 'none'}")
    print(f"families: {len(GROUPS) - len(missing)} passed, {run.failures + len(missing)} failed")
    return 1 if run.failures or missing else 0


if __name__ == "__main__":
    sys.exit(main())
