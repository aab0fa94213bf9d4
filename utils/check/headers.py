#!/usr/bin/env python3
# headers.py -- Each header compiles alone, and each file says on line 1 what it is, then its licence.
# SPDX-License-Identifier: BSD-3-Clause
#
# Environment: CC, CFLAGS.
import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
import sys

LICENCE = "SPDX-License-Identifier: BSD-3-Clause"


def files():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                            capture_output=True, text=True, check=True).stdout.split("\n")
    return [pathlib.Path(name) for name in sorted(set(listed)) if name and pathlib.Path(name).is_file()]


def check_head(path):
    """Line 1 (line 2 after #!) is "<name> -- <what it is>", the next line the licence."""
    lines = path.read_text().split("\n")[:4]
    if lines[0].startswith("#!"):
        lines = lines[1:]
    mark = "/\\*" if path.suffix in (".c", ".h") else "#"
    if not re.match(rf"{mark} {re.escape(path.name)} -- \S", lines[0]):
        yield f'{path}: line 1 is not "{path.name} -- what it is"'
    if LICENCE not in lines[1] and LICENCE not in lines[2]:
        yield f"{path}: no {LICENCE} after line 1"


def compile_alone(path):
    name = path.relative_to("src") if path.parts[0] == "src" else path.name
    command = shlex.split(os.environ.get("CC", "cc")) + shlex.split(os.environ.get("CFLAGS", "")) \
        + ["-Werror", "-fsyntax-only", "-x", "c", "-"]
    done = subprocess.run(command, input=f'#include "{name}"\n#include "{name}"\n', capture_output=True, text=True)
    return f"{path} does not compile alone:\n{done.stderr.rstrip()}" if done.returncode != 0 else None


def main():
    paths = files()
    heads = [p for p in paths if p.suffix in (".c", ".h", ".py", ".sh") or p.name == "Makefile"]
    found = [what for path in heads for what in check_head(path)]
    headers = [p for p in paths if p.suffix == ".h" and (p.parts[0] == "src" or p.parts[:2] == ("tests", "lib"))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found += [what for what in pool.map(compile_alone, headers) if what]
    print("\n".join(found) or f"check-headers: {len(headers)} headers compile alone, {len(heads)} heads are in order")
    return 1 if found else 0


sys.exit(main())
