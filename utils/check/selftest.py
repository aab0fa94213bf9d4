#!/usr/bin/env python3
# selftest.py -- The checks find what they are for: each is run on a small tree that breaks its rules, and on one that keeps them.
# SPDX-License-Identifier: BSD-3-Clause
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

UTILS = pathlib.Path(__file__).resolve().parent.parent
failures = []


def tree(files):
    """A temporary repository with utils/ of this one and the given files."""
    root = pathlib.Path(tempfile.mkdtemp(prefix="kv-selftest-"))
    shutil.copytree(UTILS, root / "utils", ignore=shutil.ignore_patterns("*.c", "__pycache__"))
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if text.startswith("#!"):
            path.chmod(0o755)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def expect(what, files, command, status, *parts, env=None):
    """Runs the command in such a tree; its status and the parts its output must have."""
    root = tree(files)
    done = subprocess.run(command, cwd=root, shell=True, capture_output=True, text=True, env={**os.environ, **(env or {})})
    output = done.stdout + done.stderr
    for part in parts:
        if part not in output:
            failures.append(f"{what}: '{part}' is not in:\n{output}")
    if done.returncode != status:
        failures.append(f"{what}: status {done.returncode}, expected {status}:\n{output}")
    shutil.rmtree(root)


def check_layers():
    headers = {f"src/{folder}/{folder}.h": "" for folder in ("base", "ds", "net", "wal", "store", "exec", "commands")}
    expect("layers: good", {**headers, "src/exec/a.c": '#include "wal/wal.h"\n#include "exec/exec.h"\n#include <stdio.h>\n'},
           "utils/check/layers.py", 0)
    for folder, name, part in (("commands", '"wal/wal.h"', "commands/ may not see wal/"), ("commands", '"net/net.h"', "may not see net/"),
                               ("wal", '"net/net.h"', "may not see net/"), ("ds", '"wal/wal.h"', "may not see wal/"),
                               ("store", '"exec/exec.h"', "may not see exec/"), ("exec", '"wal/wal_int.h"', "private to wal/"),
                               ("wal", '"wal.h"', "folder/file.h"), ("wal", "<wal/wal.h>", "in <>"), ("wal", '"wal/no.h"', "no such file")):
        expect(f"layers: {folder} {name}", {**headers, "src/wal/wal_int.h": "", f"src/{folder}/a.c": f"#include {name}\n"},
               "utils/check/layers.py", 1, f"src/{folder}/a.c:1", part)


def check_lengths():
    def function(name, lines):
        return f"static int {name}(int a,\n    int b)\n{{\n" + "    a++;\n" * (lines - 4) + "}\n\n"
    allow = "utils/check/lengths.allow"
    expect("lengths: good", {"src/a/a.c": function("fits", 70), allow: ""}, "utils/check/lengths.py", 0)
    expect("lengths: function", {"src/a/a.c": function("fits", 70) + function("longer", 71), allow: ""}, "utils/check/lengths.py", 1,
           "longer has 71 lines")
    expect("lengths: test", {"tests/a.c": "START_TEST(test_it)\n{\n" + "    x;\n" * 68 + "}\nEND_TEST\n", allow: ""},
           "utils/check/lengths.py", 1, "test_it has 71 lines")
    expect("lengths: file", {"src/a/a.h": "int x;\n" * 801, allow: ""}, "utils/check/lengths.py", 1, "the file has 801 lines")
    expect("lengths: allowed", {"src/a/a.c": function("longer", 75), allow: "src/a/a.c longer 75\n"}, "utils/check/lengths.py", 0)
    expect("lengths: grown", {"src/a/a.c": function("longer", 76), allow: "src/a/a.c longer 75\n"}, "utils/check/lengths.py", 1)
    expect("lengths: no longer needed", {"src/a/a.c": function("longer", 70), allow: "src/a/a.c longer 75\n"}, "utils/check/lengths.py", 1,
           "remove it")


def check_docs():
    good = {"Makefile": "test: ; true\n", "src/a/a.c": "int a_do(int x)\n{\n}\n", "deps/install.sh": 'RUN_PACKAGES="gcc=gcc"\n',
            "deps/README.md": "| gcc | compiler |\n", "src/a/README.md": "`a.c:a_do` does it; `make test`; `src/a/a.c`\n"}
    expect("docs: good", good, "utils/check/docs.py", 0)
    for text, part in (("a.c:a_gone\n", "a.c has no a_gone"), ("b.c:a_do\n", "b.c does not exist"), ("`make tset`\n", "no target tset"),
                       ("`src/a/b.h`\n", "src/a/b.h does not exist"), ("x\n" * 121, "121 lines")):
        expect(f"docs: {part}", {**good, "src/a/README.md": text}, "utils/check/docs.py", 1, part)
    expect("docs: package", {**good, "deps/README.md": "| tcc | compiler |\n"}, "utils/check/docs.py", 1, "gcc", "tcc")


def check_headers():
    head = "/* a.h -- What it is.\n * SPDX-License-Identifier: BSD-3-Clause */\n#ifndef A_A_H\n#define A_A_H\n"
    env = {"CFLAGS": "-Isrc"}
    expect("headers: good", {"src/a/a.h": head + "int x(void);\n#endif\n"}, "utils/check/headers.py", 0, env=env)
    expect("headers: not alone", {"src/a/a.h": head + "size_t x(void);\n#endif\n"}, "utils/check/headers.py", 1, "does not compile alone", env=env)
    expect("headers: no guard", {"src/a/a.h": "/* a.h -- What.\n * SPDX-License-Identifier: BSD-3-Clause */\nstruct a { int x; };\n"},
           "utils/check/headers.py", 1, "does not compile alone", env=env)
    expect("headers: name", {"src/a/a.h": head.replace("a.h --", "b.h --") + "#endif\n"}, "utils/check/headers.py", 1, "line 1", env=env)
    expect("headers: licence", {"src/a/a.h": head.replace("SPDX", "SPD") + "#endif\n"}, "utils/check/headers.py", 1, "no SPDX", env=env)


def check_test_runner():
    """utils/test.sh with programs that are shell scripts."""
    def programs(**scripts):
        return {f"build/test/{name}-tests": "#!/bin/sh\n" + text for name, text in scripts.items()}
    run = "utils/test.sh test unit integration"
    env = {"MAKE": "true", "ONE": ""}
    good = programs(unit="echo unit: 3 passed, 0 failed, 1 skipped", integration="echo integration: 2 passed, 0 failed")
    expect("test.sh: good", good, run, 0, "tests: 5 passed, 0 failed, 1 skipped", env=env)
    expect("test.sh: failure", {**good, **programs(unit="echo unit: 3 passed, 2 failed; exit 1")}, run, 1,
           "tests: 5 passed, 2 failed, 0 skipped", env=env)
    expect("test.sh: crash", {**good, **programs(unit="echo started; kill -9 $$")}, run, 1, "unit: ended without counts",
           "tests: 2 passed, 1 failed, 0 skipped", env=env)
    expect("test.sh: status", {**good, **programs(integration="echo integration: 2 passed, 0 failed; exit 1")}, run, 1,
           "tests: 5 passed, 1 failed, 1 skipped", env=env)
    expect("test.sh: build", good, run, 1, "tests: 0 passed, 2 failed", env={**env, "MAKE": "false"})
    known = programs(unit='[ "$1" = --has ] && exit 1; echo unit: 9 passed, 0 failed',
                     integration='[ "$1" = --has ] && exit 0; echo "got $1"; echo integration: 1 passed, 0 failed')
    expect("test.sh: one", known, run, 0, "got this_one", "tests: 1 passed, 0 failed, 0 skipped", env={**env, "ONE": "this_one"})
    expect("test.sh: unknown", programs(unit="exit 1", integration="exit 1"), run, 1, "no test is named this_one",
           env={**env, "ONE": "this_one"})


def check_make():
    """The Makefile itself, where nothing has to be built."""
    files = {"Makefile": (UTILS.parent / "Makefile").read_text(), "build/kv-server": "#!/bin/sh\n", "build/kv-wal": "#!/bin/sh\n",
             "kv.conf": "", "README.md": "", "LICENSE": ""}
    make = "env -u MAKEFLAGS -u MAKELEVEL -u V make -o all PROGRAMS='kv-server kv-wal' "
    places = """DESTDIR="$PWD/a b's c" PREFIX="/u v" """
    expect("make: install where names have spaces", {**files, "a/mine": "", "v/bin/kv-server": "", "c/mine": ""},
           f"set -e; {make} {places} install; cd \"a b's c/u v\"; test -x bin/kv-server; test -x bin/kv-wal; test -f share/doc/kv/kv.conf; "
           f"touch share/doc/kv/mine; cd ../..; {make} {places} uninstall; test -f a/mine; test -f c/mine; test -f v/bin/kv-server; "
           "test ! -e \"a b's c/u v/bin/kv-server\"; test ! -e \"a b's c/u v/share/doc/kv/kv.conf\"; "
           "test -f \"a b's c/u v/share/doc/kv/mine\"", 0)
    programs = {f"build/{name}": f"#!/bin/sh\necho this is {name} $*\n" for name in ("kv-server", "kv-wal", "debug/kv-server", "debug/kv-wal")}
    expect("make: variants", {**files, **programs},
           f"set -e; {make} V=debug PORT=1 run; {make} V=debug PREFIX=/p DESTDIR=$PWD install; p/bin/kv-wal; p/bin/kv-server; {make} PORT=1 run", 0,
           "this is debug/kv-server kv.conf --port 1", "this is debug/kv-wal", "this is debug/kv-server\n", "this is kv-server kv.conf")
    for name in ("1", "", "test debug"):
        expect(f"make: V={name}", files, f"{make} V='{name}' help", 2, f"V={name} is no variant; there are: release test debug asan")
    for port in ("08080", "70000", "65536", "0", "", "x", "-1", "99999999999999999999"):
        expect(f"run.sh: {port}", {}, f"utils/run.sh echo '{port}'", 2, f"PORT={port} is not a port (1 to 65535)")


def check_training():
    """utils/train.sh and the rule that calls it, with a server that is a script."""
    server = "#!/bin/sh\nat=${0%/*}\nmkdir -p $at/obj/a\necho >>$at/starts\nCOUNT\necho up >data/up\nexec sleep 60\n"
    counts = {"build/train/kv-server": server.replace("COUNT", "echo count >$at/obj/a/a.gcda")}
    files = {**counts, "bin/redis-cli": "#!/bin/sh\nmv data/up data/was 2>/dev/null && echo PONG\n", "bin/redis-benchmark": "#!/bin/sh\n",
             "Makefile": (UTILS.parent / "Makefile").read_text(), "deps/install.sh": ""}
    path = 'export PATH="$PWD/bin:$PATH"; export CHECK=; '
    train = path + "utils/train.sh build/train build/obj"
    good = "test -f build/obj/a/a.gcda; test -f build/obj/profile; "
    again = "kv is built without a profile. To train again: rm build/obj/profile; make"
    three = "test $(cat build/train/starts | wc -l) = 3"
    expect("train.sh: good", files, f"set -e; {train}; {good} {three}", 0)
    expect("train.sh: two at once", files, f"set -e; {train} & {train}; wait $!; {good} {three}", 0)
    expect("train.sh: no counts", {**files, "build/train/kv-server": server.replace("COUNT", "")}, f"{train}; test -f build/obj/profile", 0,
           "no counts came to", again)
    expect("train.sh: load", {**files, "bin/redis-benchmark": "#!/bin/sh\nexit 1\n"}, f"{train}; test -f build/obj/profile", 0,
           "the load fails", again)
    expect("train.sh: check", {**files, "bin/redis-benchmark": "#!/bin/sh\nexit 1\n"},
           f"{path} CHECK=5 utils/train.sh build/train build/obj || test ! -e build/obj/profile && exit 3", 3, "the load fails")
    expect("make: training", files, f"set -e; {path} CHECK=5 env -u MAKEFLAGS -u MAKELEVEL -u V make MAKE=true DEPS=no build/obj/profile; {good}", 0)


def main():
    for check in (check_layers, check_lengths, check_docs, check_headers, check_test_runner, check_make, check_training):
        check()
    print("\n".join(failures) or "check-checks: each check finds what it is for")
    return 1 if failures else 0


sys.exit(main())
