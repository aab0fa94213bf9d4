#!/usr/bin/env python3
# docs.py -- What the READMEs name exists: file:function, paths, make targets, packages; and each is at most 120 lines.
# SPDX-License-Identifier: BSD-3-Clause
import pathlib
import re
import subprocess
import sys

LINES_MAX = 120
FUNCTION = re.compile(r"([\w./-]+\.[ch]):(\w+)")
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)+/?)`")
TARGET = re.compile(r"`make ([a-z][a-z-]*)")
ROOT = pathlib.Path(".")


def readmes():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*README.md"],
                            capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in sorted(listed) if (ROOT / name).is_file()]


def make_targets():
    names = set()
    for line in (ROOT / "Makefile").read_text().splitlines():
        match = re.match(r"^([A-Za-z][\w .-]*):(?!=)", line)
        if match:
            names.update(match.group(1).split())
    return names | set(re.findall(r"(?:^|\s)(check-[a-z]+|format-check)(?=:|\s)", (ROOT / "Makefile").read_text()))


def resolve(readme, name):
    """A path as a README may write it: from the root, from src/, or from its own folder."""
    for base in (readme.parent, ROOT / "src", ROOT):
        if (base / name).exists():
            return base / name
    return None


def defines(path, function):
    return re.search(rf"^[^\s#/*].*\b{function}\b|^\s*#\s*define\s+{function}\b|^    \.?{function}\b",
                     path.read_text(), re.MULTILINE) is not None


def check_readme(readme, targets):
    text = readme.read_text()
    count = text.count("\n")
    if count > LINES_MAX:
        yield f"{readme}: {count} lines, at most {LINES_MAX}"
    for number, line in enumerate(text.splitlines(), 1):
        for name, function in FUNCTION.findall(line):
            path = resolve(readme, name)
            if path is None:
                yield f"{readme}:{number}: {name} does not exist"
            elif not defines(path, function):
                yield f"{readme}:{number}: {name} has no {function}"
        for name in PATH.findall(line):
            # build/ and data/ come into being; a name without a suffix in the last part may be a term, not a path.
            if not name.startswith(("build/", "data/", "/")) and "." in name.split("/")[-1] and resolve(readme, name) is None:
                yield f"{readme}:{number}: {name} does not exist"
        for target in TARGET.findall(line):
            if target not in targets:
                yield f"{readme}:{number}: make has no target {target}"


def check_packages():
    script = (ROOT / "deps/install.sh").read_text()
    listed = set()
    for value in re.findall(r'^(?:RUN|TEST|CLIENT)_PACKAGES="([^"]*)"', script, re.MULTILINE):
        listed.update(word.split("=")[0] for word in value.split())
    explained = set(re.findall(r"^\| ([a-z0-9.+-]+) \|", (ROOT / "deps/README.md").read_text(), re.MULTILINE))
    for name in sorted(listed ^ explained):
        yield f"{name}: in {'install.sh' if name in listed else 'README.md'} of deps/ only"


def main():
    targets = make_targets()
    found = [what for readme in readmes() for what in check_readme(readme, targets)]
    found += check_packages()
    print("\n".join(found) or f"check-docs: {len(readmes())} READMEs name what exists")
    return 1 if found else 0


sys.exit(main())
