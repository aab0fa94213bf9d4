#!/usr/bin/env python3
# layers.py -- Includes of src/ point down only, as the table says, and private headers stay in their folder.
# SPDX-License-Identifier: BSD-3-Clause
import pathlib
import re
import sys

# folder: what it may include besides itself. ds, net and wal never see each other; store knows containers only; commands do no
# I/O (neither net nor wal); script and repl never see each other.
BELOW = {
    "base": [],
    "ds": ["base"],
    "net": ["base"],
    "wal": ["base"],
    "store": ["base", "ds"],
    "exec": ["base", "ds", "net", "wal", "store"],
    "commands": ["base", "ds", "store", "exec"],
    "script": ["base", "ds", "store", "exec", "commands"],
    "repl": ["base", "ds", "net", "wal", "store", "exec", "commands"],
    "cluster": ["base", "ds", "net", "wal", "store", "exec", "commands", "repl"],
    "server": ["base", "ds", "net", "wal", "store", "exec", "commands", "script", "repl", "cluster"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def problem(path, folder, quote, name):
    """What is wrong with this include, or None."""
    parts = name.split("/")
    if quote == "<":
        return "a project header in <>" if len(parts) == 2 and parts[0] in BELOW else None
    if len(parts) != 2 or parts[0] not in BELOW:
        return "write it as folder/file.h"
    target = parts[0]
    if not (path.parent.parent / name).is_file():
        return "no such file"
    if target == folder:
        return None
    if target not in BELOW[folder]:
        return f"{folder}/ may not see {target}/"
    if parts[1].endswith("_int.h"):
        return f"private to {target}/"
    return None


def check(src):
    found = []
    for path in sorted(src.glob("*/*.[ch]")):
        folder = path.parent.name
        if folder not in BELOW:
            found.append(f"{path}: folder {folder}/ has no place in the table of {sys.argv[0]}")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            what = match and problem(path, folder, match.group(1), match.group(2))
            if what:
                found.append(f"{path}:{number}: {match.group(2)}: {what}")
    return found


def main():
    src = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "src")
    found = check(src)
    print("\n".join(found) or "check-layers: includes point down only")
    return 1 if found else 0


sys.exit(main())
