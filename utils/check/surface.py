#!/usr/bin/env python3
# surface.py -- What kv says about itself against what the reference servers say: `surface.py commands|config|info`
# SPDX-License-Identifier: BSD-3-Clause
#
#   commands  each command kv has is in redis-server 7.0.15 (else valkey 8.0.1) with the same arity, flags, key positions, ACL categories
#   config    the names of CONFIG GET * of both references are a subset of kv's
#   info      the fields of INFO everything of both references are a subset of kv's
# Every difference is printed. surface.allow lists accepted ones, one per line, "<check> <what> <reason ...>", where <what> is a name, or
# command:property for commands; a trailing * covers all names that begin so. An entry that nothing needs any more is a failure too.
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from servers import ReplyError, Server  # noqa: E402

# Names that hold a command, client, database or replica number: one counts for all.
VARIABLE = re.compile(r"^(cmdstat|latency_percentiles_usec|errorstat|io_thread)_.*$|^(db|slave|module|listener)\d+$")


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def command_table(server):
    """{name: {property: value}} of all commands and subcommands."""
    table = {}

    def add(row):
        name, arity, flags, first, last, step, categories = row[:7]
        table[text(name)] = {
            "arity": arity,
            "flags": " ".join(sorted(map(text, flags))),
            "keys": f"{first} {last} {step}",
            "acl": " ".join(sorted(map(text, categories))),
        }
        for sub in row[9] if len(row) > 9 else []:
            add(sub)

    for row in server.client()("COMMAND"):
        add(row)
    return table


def commands(kv, references):
    ours = command_table(kv)
    tables = [(server.kind, command_table(server)) for server in references]
    for name, row in sorted(ours.items()):
        known = [(kind, table[name]) for kind, table in tables if name in table]
        if not known:
            yield name, "no reference has it"
            continue
        for key, value in row.items():
            kind, theirs = known[0]
            if all(value != other[key] for _, other in known):
                yield f"{name}:{key}", f"kv {value!r}, {kind} {theirs[key]!r}"
    everything = set().union(*(table for _, table in tables))
    print(f"check-commands: {len(ours)} commands and subcommands, {len(everything - set(ours))} of the references are not there")


def config_names(server):
    return {text(name) for name in server.client()("CONFIG", "GET", "*")[::2]}


def info_names(server):
    names = set()
    for line in text(server.client()("INFO", "everything")).splitlines():
        name = line.split(":", 1)[0]
        if ":" in line and not line.startswith("#") and not VARIABLE.match(name):
            names.add(name)
    return names


def subset(names):
    def check(kv, references):
        ours = names(kv)
        theirs = {}
        for server in references:
            for name in names(server):
                theirs.setdefault(name, []).append(server.kind)
        for name in sorted(set(theirs) - ours):
            yield name, "missing, " + " and ".join(theirs[name]) + " has it"
    return check


CHECKS = {"commands": commands, "config": subset(config_names), "info": subset(info_names)}


def allowed(check):
    path = HERE / "surface.allow"
    rows = [line.split(None, 2) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    for row in rows:
        if len(row) < 3:
            raise SystemExit(f"{path}: no reason: {' '.join(row)}")
    return {row[1] for row in rows if row[0] == check}


def main():
    check = sys.argv[1]
    references = [Server("redis"), Server("valkey")]
    try:
        found = dict(CHECKS[check](Server("kv", "--appendonly", "no"), references))
    except ReplyError as error:
        print(f"check-{check}: {error}")
        return 1
    entries = allowed(check)

    def covered(what, entry):
        return what.startswith(entry[:-1]) if entry.endswith("*") else what == entry

    bad = [f"{what}: {how}" for what, how in found.items() if not any(covered(what, entry) for entry in entries)]
    bad += [f"surface.allow: {check} {entry}: nothing needs it any more" for entry in sorted(entries)
            if not any(covered(what, entry) for what in found)]
    print("\n".join(bad) or f"check-{check}: no difference but {len(found)} accepted")
    return 1 if bad else 0


sys.exit(main())
