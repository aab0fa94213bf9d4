#!/usr/bin/env python3
# coverage.py -- Line and branch coverage per folder of src/ after a run of the variant `cover` (make coverage). DETAIL=wal lists its lines.
# SPDX-License-Identifier: BSD-3-Clause
#
# Branches on a line with must() are left out: their other side is a bug by definition. So are fault points, whose line has fault().
import collections
import json
import os
import pathlib
import re
import subprocess

OBJECTS = pathlib.Path("build/cover/obj/src")
SKIP = re.compile(r"\b(must|must_not_reach|lock_assert_held|fault)\s*\(")


def measured():
    """{source: {line: [line hits, [branch hits]]}}, added up over the objects that contain the line."""
    sources = collections.defaultdict(dict)
    for notes in sorted(OBJECTS.rglob("*.gcno")):
        if not notes.with_suffix(".gcda").exists():
            print(f"never ran: {notes.relative_to(OBJECTS).with_suffix('.c')}")
        done = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", str(notes)],
                              capture_output=True, text=True, errors="replace", check=True)
        for text in filter(None, done.stdout.splitlines()):
            for entry in json.loads(text)["files"]:
                if entry["file"].startswith("src/"):
                    add(sources[entry["file"]], entry["lines"])
    return sources


def add(lines, more):
    for line in more:
        hits, branches = lines.setdefault(line["line_number"], [0, []])
        counts = [branch["count"] for branch in line["branches"]]
        if len(counts) < len(branches):
            counts += [0] * (len(branches) - len(counts))
        branches += [0] * (len(counts) - len(branches))
        lines[line["line_number"]] = [hits + line["count"], [a + b for a, b in zip(branches, counts)]]


def main():
    detail = os.environ.get("DETAIL")
    totals = collections.defaultdict(lambda: [0, 0, 0, 0])
    for source, lines in sorted(measured().items()):
        text = pathlib.Path(source).read_text().splitlines()
        folder = source.split("/")[1]
        file_total = [0, 0, 0, 0]
        for number, (hits, branches) in sorted(lines.items()):
            skip = SKIP.search(text[number - 1]) is not None
            taken = sum(1 for count in branches if count)
            counted = [1, hits > 0, 0 if skip else len(branches), 0 if skip else taken]
            file_total = [a + b for a, b in zip(file_total, counted)]
            if detail == folder and (hits == 0 or counted[2] > counted[3]):
                print(f"{source}:{number}: {taken}/{len(branches)} {text[number - 1].strip()}")
        totals[folder] = [a + b for a, b in zip(totals[folder], file_total)]
        if detail == folder:
            show(source, file_total)
    for folder, total in sorted(totals.items()):
        show(f"src/{folder}", total)


def show(name, total):
    def percent(part, whole):
        return f"{100 * part / whole:5.1f} %" if whole else "      -"
    print(f"{name:<28} lines {percent(total[1], total[0])} of {total[0]:>6}   branches {percent(total[3], total[2])} of {total[2]:>6}")


main()
