# wrong.py -- Twenty ways to answer wrongly, for the oracle's self-test: each changes one reply or event of kv's on its way to the comparison.
# SPDX-License-Identifier: BSD-3-Clause
from resp import show


def is_int(tree):
    return tree[0] == ":" and tree[1] is not None


def bulk(tree):
    return tree[0] == "$" and tree[1]


def error(tree):
    return tree[0] == "-"


def filled(tree):
    return tree[0] == "*" and tree[1]


def plain(name):
    """Commands without a rule in normalise.py whose arrays have an order."""
    return name in ("lrange", "mget", "lpop", "rpop", "lpos", "blpop", "brpop")


# name: (applies to (command, tree), the wrong tree)
REPLIES = {
    "integer one too large": (lambda n, t: is_int(t) and n == "strlen", lambda t: (":", b"%d" % (int(t[1]) + 1))),
    "integer of the other sign": (lambda n, t: is_int(t) and int(t[1]) > 0, lambda t: (":", b"-" + t[1])),
    "integer as bulk": (lambda n, t: is_int(t), lambda t: ("$", t[1])),
    "bulk as simple string": (lambda n, t: bulk(t) and len(t[1]) < 60, lambda t: ("+", t[1])),
    "bulk one byte short": (lambda n, t: bulk(t) and n in ("get", "getrange", "getdel"), lambda t: ("$", t[1][:-1])),
    "bulk with one bit flipped": (lambda n, t: bulk(t) and n in ("get", "lindex"), lambda t: ("$", t[1][:-1] + bytes([t[1][-1] ^ 1]))),
    "empty string for null": (lambda n, t: t in (("$", None), ("_", None)), lambda t: ("$", b"")),
    "null array for null": (lambda n, t: t == ("$", None), lambda t: ("*", None)),
    "RESP2 null in RESP3": (lambda n, t: t == ("_", None), lambda t: ("$", None)),
    "OK in lower case": (lambda n, t: t == ("+", b"OK"), lambda t: ("+", b"ok")),
    "error for OK": (lambda n, t: t == ("+", b"OK") and n == "mset", lambda t: ("-", b"ERR syntax error")),
    "error with another code": (lambda n, t: error(t) and t[1].startswith(b"WRONGTYPE"), lambda t: ("-", b"ERR" + t[1][9:])),
    "error text without its last byte": (lambda n, t: error(t) and len(t[1]) > 10, lambda t: ("-", t[1][:-1])),
    "array without its last element": (lambda n, t: filled(t) and plain(n), lambda t: ("*", t[1][:-1])),
    "array in reverse": (lambda n, t: filled(t) and plain(n) and t[1] != t[1][::-1], lambda t: ("*", t[1][::-1])),
    "KEYS with one key twice": (lambda n, t: filled(t) and n == "keys" and len(t[1]) > 1, lambda t: ("*", t[1][:-1] + t[1][:1])),
    "PTTL off by a minute": (lambda n, t: is_int(t) and n == "pttl" and int(t[1]) > 100000, lambda t: (":", b"%d" % (int(t[1]) - 60000))),
}
EVENTS = {
    "an event is missing": (lambda events: len(events) > 1, lambda events: events[:-1]),
    "two events changed places": (lambda events: len(events) > 3 and events[-1] != events[-3], lambda events: events[:-4] + events[-2:] + events[-4:-2]),
    "an event names another key": (lambda events: events, lambda events: events[:-1] + [(events[-1][0], events[-1][1] + b"x")]),
}
KINDS = list(REPLIES) + list(EVENTS)


class Alter:
    """Applies one kind once, to the first reply that it fits after a warm-up."""

    def __init__(self, kind):
        self.kind, self.done, self.seen, self.shown = kind, "", 0, None

    def reply(self, name, raw_tree):
        if self.done or self.kind not in REPLIES:
            return raw_tree
        fits, change = REPLIES[self.kind]
        raw, tree = raw_tree
        self.seen += 1
        if self.seen < 100 or not fits(name, tree):
            return raw_tree
        self.done = f"{name}: {str(tree)[:50]} became {str(change(tree))[:50]}"
        self.shown = show(change(tree))
        return raw, change(tree)

    def events(self, events):
        if self.done or self.kind not in EVENTS:
            return events
        fits, change = EVENTS[self.kind]
        if not fits(events):
            return events
        self.done = f"{len(events)} events"
        return change(events)
