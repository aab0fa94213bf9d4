#!/usr/bin/env python3
# clients.py -- Real client software, unchanged, against kv with 1 and with 4 reactors; each scenario has the server killed in the middle.
# SPDX-License-Identifier: BSD-3-Clause
#
#   redis-compat/clients.py [--only NAME,...] [--reference]      --reference: against redis-server, to see what a scenario asks for
#
# The scenarios are programs of clients/: they print "kill" when the server is to be killed and started again on its directory, then
# read a line, and end with "ok <checks>" or "failed <why>". Software of npm is unpacked below build/peers/clients with the versions of
# package-lock.json; that of Debian is installed by `deps/install.sh clients`. What they say besides is in build/compat/clients.log. The last line is "clients: N passed, N failed".
import argparse
import os
import pathlib
import select
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "utils"))
from servers import ROOT, Server  # noqa: E402

HERE = ROOT / "redis-compat/clients"
PEERS = ROOT / "build/peers/clients"
SECONDS = 300
PYTHON = "/usr/bin/python3"  # that of Debian, which has its packages
SCENARIOS = {
    "ioredis": ["node", "ioredis.mjs"], "node-redis": ["node", "node-redis.mjs"], "bullmq": ["node", "bullmq.mjs"],
    "redis-py": [PYTHON, "redis_py.py"], "celery": [PYTHON, "celery_scenario.py"], "rq": [PYTHON, "rq_scenario.py"],
    "sidekiq": ["ruby", "sidekiq.rb"], "php-sessions": ["php", "sessions.php"], "exporter": [PYTHON, "exporter.py"],
}


def prepare():
    """Copies the scenarios beside the modules that npm unpacks."""
    subprocess.run([ROOT / "deps/install.sh", "clients"], check=True)
    subprocess.run([ROOT / "deps/peers.sh", "exporter"], check=True)
    PEERS.mkdir(parents=True, exist_ok=True)
    lock = (HERE / "package-lock.json").read_bytes()
    done = PEERS / "installed.json"
    if not done.exists() or done.read_bytes() != lock:
        shutil.copy(HERE / "package.json", PEERS)
        shutil.copy(HERE / "package-lock.json", PEERS)
        subprocess.run(["npm", "install", "--no-save", "--omit=optional", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"], cwd=PEERS, check=True)
        done.write_bytes(lock)
    for script in HERE.iterdir():
        if script.suffix in (".mjs", ".py", ".rb", ".php"):
            shutil.copy(script, PEERS)


def converse(server, options, process):
    """Its last word."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        ready, _, _ = select.select([process.stdout], [], [], 1)
        if not ready:
            if process.poll() is not None:
                return f"failed: ended with {process.returncode}"
            continue
        line = process.stdout.readline()
        if line == "":
            process.wait()
            return f"failed: ended with {process.returncode}"
        if line == "kill\n":
            server.process.kill()
            server.process.wait()
            time.sleep(0.2)
            server.start(*options)
            process.stdin.write("go\n")
            process.stdin.flush()
        elif line.startswith("ok "):
            return line.strip()
        elif line.startswith("failed"):
            return line + process.stdout.read()
    return f"failed: no end within {SECONDS} s"


def run(name, kind, threads):
    options = ["--threads", str(threads)] if kind == "kv" else ["--appendonly", "yes", "--appendfsync", "always"]
    server = Server(kind, *options)
    log = open(ROOT / "build/compat/clients.log", "a")
    print(f"==== {name}, {kind}, {threads}", file=log, flush=True)
    process = subprocess.Popen([*SCENARIOS[name], str(server.port)], cwd=PEERS, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                               env={**os.environ, "KV_EXPORTER": str(ROOT / "build/peers/exporter/usr/bin/prometheus-redis-exporter")})
    try:
        return converse(server, options, process)
    finally:
        process.kill()
        process.wait()
        log.close()
        server.stop()


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--only", default=",".join(SCENARIOS))
    arguments.add_argument("--reference", action="store_true")
    given = arguments.parse_args()
    prepare()
    (ROOT / "build/compat").mkdir(parents=True, exist_ok=True)
    (ROOT / "build/compat/clients.log").write_text("")
    passed = failed = 0
    for name in given.only.split(","):
        for threads in (0,) if given.reference else (1, 4):
            start = time.monotonic()
            said = run(name, "redis" if given.reference else "kv", threads)
            fine = said.startswith("ok ")
            passed, failed = passed + fine, failed + (not fine)
            where = "redis-server" if given.reference else f"{threads} reactor{'s' if threads > 1 else ''}"
            print(f"{'ok    ' if fine else 'FAILED'} {name:<14}{where:<14}{time.monotonic() - start:5.1f} s  {said}", flush=True)
    print(f"clients: {passed} passed, {failed} failed")
    return failed > 0


sys.exit(main())
