#!/usr/bin/env python3
# surface.py -- What kv says about itself against what the reference servers say: `surface.py commands|config|info`
# SPDX-License-Identifier: BSD-3-Clause
#
#   commands  COMMAND INFO and COMMAND DOCS of each command kv has are those of redis-server 7.0.15, word for word (display_text, which
#             7.2 added, aside); commands kv does not have are only listed
#   config    the names of CONFIG GET * of both references are a subset of kv's; kv.conf names what kv-server --print-config does
#   info      the fields of INFO everything of both references are a subset of kv's
# Every difference is printed. surface.allow lists accepted ones, one per line, "<check> <what> <reason ...>", where <what> is a name, or
# command:property for commands; a trailing * covers all names that begin so. An entry that nothing needs any more is a failure too.
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from servers import ROOT, ReplyError, Server  # noqa: E402

# Names that hold a command, client, database or replica number: one counts for all.
VARIABLE = re.compile(r"^(cmdstat|latency_percentiles_usec|errorstat|io_thread)_.*$|^(db|slave|module|listener)\d+$")


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def pairs(flat):
    """A RESP2 map."""
    return {text(name): value for name, value in zip(flat[::2], flat[1::2])}


def plain(value):
    """Anything in a reply as text."""
    return "[" + ", ".join(map(plain, value)) + "]" if isinstance(value, list) else str(text(value))


def add_info(table, row):
    """COMMAND INFO of a command and of its subcommands; the order within a list counts."""
    name, arity, flags, first, last, step, categories, tips, specs, subcommands = row
    table[text(name)] = {
        "arity": str(arity),
        "flags": plain(flags),
        "keys": f"{first} {last} {step}",
        "acl": plain(categories),
        "tips": plain(tips),
        "specs": plain(specs),
    }
    for sub in subcommands:
        add_info(table, sub)


def argument(flat):
    """An argument of COMMAND DOCS in one line, its sub-arguments in braces."""
    fields = pairs(flat)
    below = fields.pop("arguments", None)
    # 7.2 added display_text; before, it was the name.
    fields.setdefault("display_text", fields["name"])
    words = [f"{name}={plain(value)}" for name, value in fields.items() if name not in ("name", "display_text")]
    shown = "" if below or fields["display_text"] == fields["name"] else f" shown as {text(fields['display_text'])}"
    inner = " {" + ", ".join(map(argument, below)) + "}" if below else ""
    return f"{text(fields['name'])}({' '.join(words)}{shown}){inner}"


def add_docs(table, name, flat):
    fields = pairs(flat)
    table[name]["docs"] = " ".join(key for key in fields if key != "arguments")
    for key, value in fields.items():
        if key == "arguments":
            table[name][key] = ", ".join(map(argument, value))
        elif key != "subcommands":
            table[name][key] = plain(value)
    for sub, below in pairs(fields.get("subcommands", [])).items():
        add_docs(table, sub, below)


def command_table(server):
    """{name: {property: text}} of all commands and subcommands."""
    table = {}
    client = server.client()
    for row in client("COMMAND"):
        add_info(table, row)
    for name, flat in pairs(client("COMMAND", "DOCS")).items():
        add_docs(table, name, flat)
    return table


def commands(kv, references):
    ours, theirs = command_table(kv), command_table(references[0])
    for name in sorted(set(ours) - set(theirs)):
        yield name, "no reference has it"
    for name in sorted(set(ours) & set(theirs)):
        for key in sorted(set(ours[name]) | set(theirs[name])):
            mine, reference = ours[name].get(key, "-"), theirs[name].get(key, "-")
            if mine != reference:
                yield f"{name}:{key}", f"\n    kv    {mine}\n    {references[0].kind} {reference}"
    missing = sorted(set(theirs) - set(ours))
    print(f"check-commands: {len(ours)} commands and subcommands; {len(missing)} of {references[0].kind} are not there: {' '.join(missing)}")


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


def conf_file():
    """kv.conf names every directive that the server prints, and no other."""
    def names(lines):
        return {re.match("[a-z0-9-]+", line).group() for line in lines if re.match("[a-z]", line)}
    printed = subprocess.run([os.environ["KV_SERVER"], "--print-config"], capture_output=True, text=True, check=True).stdout
    for name in sorted(names(printed.splitlines()) ^ names((ROOT / "kv.conf").read_text().splitlines())):
        yield f"kv.conf: {name} is in one of kv.conf and kv-server --print-config"


CHECKS = {
    "commands": (commands, ["redis"]),
    "config": (subset(config_names), ["redis", "valkey"]),
    "info": (subset(info_names), ["redis", "valkey"]),
}


def allowed(check):
    path = HERE / "surface.allow"
    rows = [line.split(None, 2) for line in path.read_text().splitlines() if line and not line.startswith("#")]
    for row in rows:
        if len(row) < 3:
            raise SystemExit(f"{path}: no reason: {' '.join(row)}")
    return {row[1] for row in rows if row[0] == check}


def main():
    check = sys.argv[1]
    run, kinds = CHECKS[check]
    present = [kind for kind in kinds if (ROOT / "build/peers" / kind).is_dir()]
    if present != kinds:
        print(f"check-{check}: only beside {' and '.join(present)}: the others could not be prepared here")
    references = [Server(kind) for kind in present]
    try:
        found = dict(run(Server("kv", "--appendonly", "no"), references))
    except ReplyError as error:
        print(f"check-{check}: {error}")
        return 1
    entries = allowed(check)

    def covered(what, entry):
        return what.startswith(entry[:-1]) if entry.endswith("*") else what == entry

    bad = [f"{what}: {how}" for what, how in found.items() if not any(covered(what, entry) for entry in entries)]
    if present == kinds:
        bad += [f"surface.allow: {check} {entry}: nothing needs it any more" for entry in sorted(entries)
                if not any(covered(what, entry) for what in found)]
    if check == "config":
        bad += conf_file()
    print("\n".join(bad) or f"check-{check}: no difference but {len(found)} accepted")
    return 1 if bad else 0


sys.exit(main())
