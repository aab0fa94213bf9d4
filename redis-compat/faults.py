#!/usr/bin/env python3
# faults.py -- The n-th allocation, write or sync fails under commands of all families: nothing ends that should not, an error has changed nothing.
# SPDX-License-Identifier: BSD-3-Clause
#
#   faults.py [--units N] [--lives N] [--seed N]
#
# MEMORY      For each of N units (families.py) the first allocation that a client can make fail fails, then the second, ..., until one more is not
#             asked for; before that many at once. After an error the keyspace (DEBUG DIGEST) and the libraries are what they were; every
#             now and then kv is killed, and its log gives the same.
# THE LOG     One call of a fault point of the log fails, in one way, while kv starts and serves two actors: each point with each way, for n = 0, 1, 2, 4, ...
#             until the n-th is not met, or --lives are over. kv goes on or ends with a status that --help names, soon; the next start has
#             what was acknowledged.
# Needs a test build (fault points). Last line: "faults: N passed, N failed".
import argparse
import itertools
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

import families
import resp
import servers

SOON = 60  # seconds
CHECK_EVERY = 100  # units between kills
NTH_MAX, MANY = 5000, 30
STATUSES = (0, 1, 71, 72)  # it went on until it was told to end, did not start, had no memory, lost its log
POINTS = [f"wal.{name}" for name in ("write", "sync", "before_write", "before_sync", "before_fsync", "timed_sync", "switch", "seal", "segment_create", "segment_zero",
                                     "segment_sync", "segment_rename", "dir_sync", "history", "read", "repair")] + ["io.write", "io.read"]
WAYS = ["eio", "enospc", "short", "eintr"]


class Memory:
    """One kv, one connection."""

    def __init__(self, run, units):
        self.run, self.units = run, units
        self.kv = run.kv
        self.maker = families.Maker(run.rng.random(), 0, True, "kv", *run.commands["kv"])
        self.hits = self.errors = self.dropped = 0
        self.connect()

    def connect(self):
        """There may be no memory for a connection either, MANY times."""
        for tries in range(MANY + 1):
            try:
                self.connection = resp.Connection(self.kv.port, timeout=SOON)
                families.ask(self.connection, [[b"DEBUG", b"FAULT", b""]] + [words for unit in self.maker.first() for words in unit.commands])
                return
            except ConnectionError:
                if tries == MANY:
                    raise

    def state(self):
        return families.ask(self.connection, [[b"DEBUG", b"DIGEST"], [b"FUNCTION", b"DUMP"]])

    def try_unit(self, unit, rule):
        """False: the allocation was not asked for."""
        before = self.state()
        arm, left, disarm = [b"DEBUG", b"FAULT", b"mem.alloc=nomem:" + rule], [b"DEBUG", b"FAULT"], [b"DEBUG", b"FAULT", b""]
        try:
            replies = families.ask(self.connection, [arm, *unit.commands, left, disarm])
        except ConnectionError:  # no memory for the connection; its server is there
            self.dropped += 1
            self.connection.close()
            if self.run.ended(self.kv):
                self.run.fail(f"mem.alloc=nomem:{rule.decode()}: {unit}")
                return False
            self.connect()
            return True
        error = replies[-3][0] == "-" and unit.group != "scripting"  # what a script had done before stays
        met = replies[-2][1] == b"0"
        self.hits += met
        self.errors += error and replies[-3][1].startswith(b"OOM")
        if error and self.state() != before:
            self.run.fail(f"{resp.show(replies[-3])} has changed something (mem.alloc=nomem:{rule.decode()}): {unit}")
        return met

    def check_log(self):
        before = self.state()
        self.kv.kill()
        self.kv.begin(4)
        self.connect()
        after = self.state()
        if before != after:
            self.run.fail(f"after a kill: {[resp.show(tree) for tree in after]}, not {[resp.show(tree) for tree in before]}")

    def made(self):
        """Units without end; none waits for another command."""
        while True:
            for unit in self.maker.pipeline():
                if not unit.side:
                    yield unit

    def fail_each(self, unit):
        """Every allocation of a unit, one at a time."""
        self.try_unit(unit, b"0:%d" % MANY)
        n = 0
        while not self.run.failures and n < NTH_MAX and self.try_unit(unit, b"%d:1" % n):
            n += 1
        if n == NTH_MAX:
            self.run.fail(f"{NTH_MAX} allocations: {unit}")

    def all_units(self):
        units, done = self.made(), 0
        self.fail_each(self.maker.load_library())  # first: there is no state of Lua yet
        for unit in itertools.islice(units, 400):  # something to work on
            if self.run.failures:
                return
            families.ask(self.connection, unit.commands)
        while done < self.units and not self.run.failures:
            self.fail_each(next(units))
            done += 1
            if done % CHECK_EVERY == 0:
                self.check_log()
        if not self.run.failures:
            self.check_log()
        print(f"faults: memory: {done} units, {self.hits} failed allocations met, {self.errors} errors for it, {self.dropped} connections dropped", flush=True)


class LogFaults:
    """Lives of a kv with a fault in its log."""

    def __init__(self, run, lives):
        self.run, self.lives = run, lives
        self.ended = {status: 0 for status in STATUSES}
        self.went_on = self.shots = 0

    def one_life(self, spec):
        """False: the fault was not met."""
        run, begun = self.run, time.time()
        run.new_life(0)
        run.kv.kill()
        for path in pathlib.Path(run.kv.dir).iterdir():  # it begins anew, with the fault
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        run.makers = [families.Maker(run.rng.random(), i, False, dialect, *run.commands[dialect], plain_only=True) for i, dialect in enumerate(("redis", "kv"))]
        serves = run.kv.begin(2, spec, small_segments=True)
        actors, met = [], not serves
        if serves:
            actors = [families.Actor(maker, run.kv.port, run.tally) for maker in run.makers]
            actors = self.play(actors)
            met = self.was_met()
        status = run.kv.process.poll()
        if status is None:
            run.kv.terminate()
            status, self.went_on = run.kv.process.returncode, self.went_on + 1
        if status not in STATUSES:
            run.fail(f"{spec}: status {status}\n{run.kv.log()[-3000:]}")
            return True
        self.ended[status] += 1
        run.kv.begin(2)
        for actor in actors:
            if actor.problem:
                run.fail(f"{spec}: actor {actor.maker.number}: {actor.problem}")
            run.judge(actor, begun)
        if time.time() - begun > SOON:
            run.fail(f"{spec}: {time.time() - begun:.0f} s")
        self.shots += 1
        return met

    def play(self, actors):
        tally, end = self.run.tally, time.monotonic() + SOON
        tally.enough, until = False, tally.acked + 250
        for actor in actors:
            actor.start()
        while tally.acked < until and any(actor.is_alive() for actor in actors) and time.monotonic() < end:
            time.sleep(0.002)
        tally.enough = True
        for actor in actors:
            actor.join()
            actor.close()
        return actors

    def was_met(self):
        try:
            connection = resp.Connection(self.run.kv.port, timeout=SOON)
            kind, left = connection.call(b"DEBUG", b"FAULT")
            connection.close()
            return kind == ":" and left == b"0"
        except OSError:
            return True  # it is gone, by the fault

    def all_points(self):
        known = self.run.points
        shots = [[f"{point}={way}", 0] for point in POINTS if point in known for way in WAYS]
        random.Random(self.run.options.seed).shuffle(shots)
        while shots and self.shots < self.lives and not self.run.failures:
            shot = shots.pop(0)
            if self.one_life(f"{shot[0]}:{shot[1]}"):
                shots.append([shot[0], max(1, 2 * shot[1])])
        print(f"faults: log: {self.shots} lives, {self.went_on} went on, by status {self.ended}, {len(shots)} of {len(POINTS) * len(WAYS)} not finished", flush=True)


def main():
    parser = argparse.ArgumentParser(description="the n-th allocation, write or sync fails under all command families")
    parser.add_argument("--units", type=int, default=60)
    parser.add_argument("--lives", type=int, default=5)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("SEED") or random.SystemRandom().randrange(1 << 31)))
    options = parser.parse_args()
    subprocess.run([families.HERE.parent / "deps/peers.sh", "redis"], check=True)
    print(f"faults: seed {options.seed}", flush=True)
    run = families.Run(options)
    if not run.points:
        print("faults: no fault points in this build\nfaults: 0 passed, 0 failed")
        return 0
    run.kv = families.KilledServer("kv", "--threads", "4")
    memory, log = Memory(run, options.units), LogFaults(run, options.lives)
    memory.all_units()
    log.all_points()
    print(f"faults: {memory.units + log.shots} passed, {run.failures} failed")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
