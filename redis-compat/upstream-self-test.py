#!/usr/bin/env python3
# upstream-self-test.py -- What upstream.py makes of hangs: the output of a suite is made up here, and the verdicts on it must be right.
# SPDX-License-Identifier: BSD-3-Clause
#
# Last line: "upstream-self-test: N passed, N failed".
import collections
import contextlib
import io
import sys

import upstream

UNIT, RACE, SPOILT = "unit/made-up", "a race", "spoilt"
ORDER = ["before", RACE, "after"]


class Suite:
    """A suite of three checks. `hangs` has, for each check, how many of the rounds that reach it hang there; SPOILT: the race fails, but for alone,
    and leaves behind what fails the next one."""

    form = "short"

    def __init__(self, hangs, name="redis"):
        self.name, self.hangs, self.alone = name, collections.Counter(hangs), 0

    def named(self, unit):
        return unit

    def patience(self, _):
        return 1

    def run(self, _kind, _unit, skip, *more, seconds=None):
        only = more[1:] if more[:1] == ("--only",) else ORDER
        self.alone += only != ORDER
        text, spoilt = "", False
        for name in ORDER:
            if name in skip or name not in only:
                text += f"[skip]: {name}\n"
            elif self.hangs[name] > 0:
                self.hangs[name] -= 1
                return upstream.parse(text + f"[TIMEOUT]: clients state report follows.\nsock1 => (IN PROGRESS) {name}\n\nThe End\n")
            elif spoilt or (name == RACE and only == ORDER and self.hangs[SPOILT]):
                text, spoilt = text + f"[err]: {name} in tests/{UNIT}.tcl\nthe reason\n", True
            else:
                text += f"[ok]: {name} (3 ms)\n"
        return upstream.parse(text + f"[1/1 done]: {UNIT} (1 seconds)\n\nThe End\n")


# what is asked: (hangs, (passed, wrong, raced), parts of what is printed, rounds alone)
CASES = {
    "nothing hangs": ({}, (3, 0, 0), [], 0),
    "a race hangs once": ({RACE: 1}, (2, 0, 1), [f"RACED {UNIT}: {RACE}", "again without it"], 1),
    "a race hangs alone, too": ({RACE: 4}, (2, 0, 1), [f"RACED {UNIT}: {RACE}"], 4),
    "a race never passes": ({RACE: 1000}, (2, 1, 0), [f"FAILED {UNIT}: {RACE}"], upstream.RACE_ROUNDS),
    "a race fails and spoils the next check": ({SPOILT: 1}, (2, 0, 1), [f"RACED {UNIT}: {RACE}", "the reason"], 1),
    "another check hangs": ({"before": 1}, (2, 1, 0), [f"FAILED {UNIT}: before", "no answer within 1 s"], 0),
    "a race hangs, then another check": ({RACE: 1, "after": 1}, (1, 1, 1), [f"RACED {UNIT}: {RACE}", f"FAILED {UNIT}: after"], 1),
}


def wrong_with(hangs, counts, parts, alone):
    suite, printed = Suite(hangs), io.StringIO()
    with contextlib.redirect_stdout(printed):
        good, wrong, _, _, raced, _ = upstream.judge(suite, "kv", UNIT, {"passed": dict.fromkeys(ORDER, 1)})
    text = printed.getvalue()
    return (good, wrong, raced) != counts or suite.alone != alone or any(part not in text for part in parts) or ("RACED" in text) != (raced > 0), text


def wrong_beside_encoding(hangs, expected):
    """The same of the look without encodings, where `after` is listed for its encoding."""
    upstream.known_of = lambda unit, detail=None: collections.Counter(["after"])
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        wrong = upstream.wrong_beside_encoding(Suite(hangs), "kv", UNIT, collections.Counter(["after"]))
    return wrong != expected, printed.getvalue()


def wrong_reference():
    """What comes after a check that hangs on valkey-server, too, is asked of kv."""
    with contextlib.redirect_stdout(io.StringIO()):
        passed = upstream.run_reference(Suite({"before": 1}, "valkey"), UNIT)["passed"]
    return passed != {RACE: 1, "after": 1}, f"passed: {passed}"


def main():
    upstream.RACES = {UNIT: [RACE]}
    results = {name: wrong_with(*case) for name, case in CASES.items()}
    results["valkey-server hangs"] = wrong_reference()
    results["without encodings: a race would hang"] = wrong_beside_encoding({RACE: 1000}, 0)
    results["without encodings: another check hangs"] = wrong_beside_encoding({"before": 1}, 2)  # and what comes after it is not run
    for name, (failed, text) in results.items():
        if failed:
            print(f"FAILED {name}:\n{text}")
    failed = sum(failed for failed, _ in results.values())
    print(f"upstream-self-test: {len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
