#!/usr/bin/env python3
# lengths.py -- Functions of up to 70 lines, files of up to 800; lengths.allow lists the exceptions and may only shrink.
# SPDX-License-Identifier: BSD-3-Clause
#
# Reads formatted code (make format-check): a function's brace stands alone at the start of a line, and so does its end.
# A line of lengths.allow is "<path> <function or -> <lines>": an entry that is too small or no longer needed is a failure too.
import pathlib
import re
import sys

FUNCTION_MAX = 70
FILE_MAX = 800
HERE = pathlib.Path(__file__).parent
NAME = re.compile(r"(\w+)\s*\(")
MACROS = {"START_TEST", "END_TEST", "UNIT_SUITE"}


def function_name(signature):
    names = [n for n in NAME.findall(signature) if not n.startswith("__")]
    if names and names[0] in MACROS:
        inside = re.search(r"\(\s*(\w+)", signature)
        return inside.group(1) if inside else names[0]
    return names[0] if names else "?"


def functions(lines):
    """(name, lines from the first of the signature to the closing brace)"""
    start = None
    for i, line in enumerate(lines):
        if line == "{":
            start = i
            while start > 0 and lines[start - 1] and not lines[start - 1].startswith(("}", "#", "/", " */")) \
                    and not lines[start - 1].endswith((";", "*/")):
                start -= 1
        elif line.startswith("}") and start is not None:
            yield function_name(" ".join(lines[start:i + 1])), i + 1 - start
            start = None


def measure(root):
    """{(path, function or -): lines} of everything over its limit"""
    over = {}
    for top in ("src", "tests", "utils"):
        for path in sorted((root / top).rglob("*.[ch]")):
            name = str(path.relative_to(root))
            lines = path.read_text().splitlines()
            if len(lines) > FILE_MAX:
                over[name, "-"] = len(lines)
            for function, count in functions(lines):
                if count > FUNCTION_MAX:
                    over[name, function] = max(count, over.get((name, function), 0))
    return over


def allowed():
    entries = {}
    for line in (HERE / "lengths.allow").read_text().splitlines():
        if line and not line.startswith("#"):
            path, function, count = line.split()
            entries[path, function] = int(count)
    return entries


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    over, entries = measure(root), allowed()
    found = []
    for (path, function), count in sorted(over.items()):
        limit = entries.get((path, function), FILE_MAX if function == "-" else FUNCTION_MAX)
        if count > limit:
            found.append(f"{path}: {'the file' if function == '-' else function} has {count} lines, allowed are {limit}")
    for key in sorted(set(entries) - set(over)):
        found.append(f"{key[0]} {key[1]}: no longer over the limit, remove it from utils/check/lengths.allow")
    print("\n".join(found) or f"check-lengths: within {FUNCTION_MAX} and {FILE_MAX} lines, {len(entries)} exceptions")
    return 1 if found else 0


sys.exit(main())
