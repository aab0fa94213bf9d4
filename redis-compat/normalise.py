# normalise.py -- The written list of what the differential oracle may overlook: order where Redis promises none, cursors, clocks, ids.
# SPDX-License-Identifier: BSD-3-Clause
#
# A normaliser sees a pair of replies, (kv, reference), whose bytes differ and answers whether they mean the same. None touches a type, a length
# or an error text: both must be of the same form, kinds and lengths included, before a normaliser is asked (same_form()), except where a row
# of DIFFERENCES says which difference of 3-compat.md section 7 it is.

import re

NEAR = 10  # seconds: the clocks of two servers that got the same batch
NEAR_MS = NEAR * 1000


def same_form(a, b):
    """Of what is drawn at random, or packed as one likes. An error is neither: its text must be the same."""
    if a[0] == "-":
        return a == b
    if a[0] != b[0] or (a[1] is None) != (b[1] is None):
        return False
    if isinstance(a[1], list):
        return len(a[1]) == len(b[1]) and all(same_form(x, y) for x, y in zip(a[1], b[1]))
    return True


def sortable(tree):
    return repr(tree)


def unordered(_, kv, ref):
    """KEYS: no order is promised."""
    return kv[0] == ref[0] and isinstance(kv[1], list) and isinstance(ref[1], list) and sorted(kv[1], key=sortable) == sorted(ref[1], key=sortable)


def unordered_pairs(_, kv, ref):
    """HGETALL, ZSCAN-like lists: no order among the pairs is promised."""
    def pairs(tree):
        return sorted((sortable(a), sortable(b)) for a, b in zip(tree[1][::2], tree[1][1::2]))

    return same_form(kv, ref) and isinstance(kv[1], list) and pairs(kv) == pairs(ref)


def scan(words, kv, ref):
    """With a COUNT above the number of keys both are finished (cursor 0), and only the order is free. With the default count the pages differ;
    then nothing more can be said than that the cursors are bulk strings of digits and the keys an array.
    Likewise after a cursor that no server gave."""
    if kv[0] != "*" or ref[0] != "*" or len(kv[1] or []) != 2 or len(ref[1] or []) != 2:
        return False
    (kv_cursor, kv_keys), (ref_cursor, ref_keys) = kv[1], ref[1]
    if (kv_cursor[0], kv_keys[0], ref_keys[0]) != (ref_cursor[0], ref_keys[0], "*"):
        return False
    if kv_cursor[1] == ref_cursor[1] == b"0" and words[1] in (b"0", b""):
        return unordered(None, kv_keys, ref_keys)
    return kv_cursor[1].isdigit() and (kv_cursor[1] != ref_cursor[1] or words[1] not in (b"0", b""))


def any_key(_, kv, ref):
    """RANDOMKEY: both nil or both a key."""
    return same_form(kv, ref)


def near_seconds(_, kv, ref):
    """TTL, EXPIRETIME, OBJECT IDLETIME: what is left of a time that was given relatively, or when it ends."""
    return same_form(kv, ref) and kv[0] == ":" and int(kv[1]) >= 0 and int(ref[1]) >= 0 and abs(int(kv[1]) - int(ref[1])) <= NEAR


def near_ms(_, kv, ref):
    return same_form(kv, ref) and kv[0] == ":" and int(kv[1]) >= 0 and int(ref[1]) >= 0 and abs(int(kv[1]) - int(ref[1])) <= NEAR_MS


def scan_pairs(words, kv, ref):
    """ZSCAN: as with SCAN, for pairs; a score in fewer digits is told from another one by its value. A score of -0 is 0: zero_of_skiplist()."""
    def by_value(tree):
        cursor, items = tree[1]
        values = [item[1] for item in items[1]]
        return ("*", [cursor, ("*", [("*", [("$", a), ("$", repr(float(b) + 0.0).encode())]) for a, b in zip(values[::2], values[1::2])])])

    if kv[0] != "*" or ref[0] != "*":
        return False
    return scan(["zscan", words[2]], by_value(kv), by_value(ref))


def scan_fields(words, kv, ref):
    """HSCAN: as with SCAN, for pairs."""
    def paired(tree):
        cursor, items = tree[1]
        return ("*", [cursor, ("*", [("*", list(pair)) for pair in zip(items[1][::2], items[1][1::2])])])

    if any(word.lower() == b"novalues" for word in words):
        return scan(["hscan", words[2]], kv, ref)
    return scan(["hscan", words[2]], paired(kv), paired(ref)) if kv[0] == ref[0] == "*" else False


def random_members(_, kv, ref):
    """SRANDMEMBER, HRANDFIELD and their kin: as many of the same form."""
    return same_form(kv, ref)


def unsorted_set(words, kv, ref):
    """SORT BY a name without a star keeps the order: of a set that is nobody's. (Of lists and sorted sets it is, but then both give the same.)"""
    by = next((words[i + 1] for i, word in enumerate(words[:-1]) if word.lower() == b"by"), b"*")
    if b"*" in by or not same_form(kv, ref):
        return False
    limited = any(word.lower() == b"limit" for word in words)
    return kv[0] == "*" and (limited or unordered(words, kv, ref))


def scan_members(words, kv, ref):
    """SSCAN: as with SCAN."""
    return scan(["sscan", words[2]], kv, ref)


def payload(_, kv, ref):
    """DUMP: how a value is packed is the server's choice (small sets, compression, order of members). tests/integration/test_dump.c restores it."""
    return same_form(kv, ref) and kv[0] == "$" and kv[1] is not None and kv[1][:1] in b"\0\2\4\5\x0b\x0f\x10\x11\x12\x13\x15"


def near(kv, ref):
    """A moment or a duration in ms, by the clocks of two servers."""
    return kv == ref or kv[0] == ref[0] == ":" and abs(int(kv[1]) - int(ref[1])) <= NEAR_MS and min(int(kv[1]), int(ref[1])) >= 0


def arrays(kv, ref):
    return kv[0] == ref[0] and isinstance(kv[1], list) and isinstance(ref[1], list) and len(kv[1]) == len(ref[1])


def same_count(kv, ref):
    """A number of deliveries or entries. kv alone: it stops at 2^63-1, where the references go on with -2^63."""
    return kv == ref or kv == (":", b"9223372036854775807") and ref[0] == ":" and ref[1].startswith(b"-9223372036854775")


def near_rows(kv, ref):
    """What is pending, a row each, with two numbers at its end: when, or how long ago, it was delivered, and how often."""
    def row(a, b):
        return a == b or arrays(a, b) and len(a[1]) > 2 and a[1][:-2] == b[1][:-2] and near(a[1][-2], b[1][-2]) and same_count(a[1][-1], b[1][-1])

    return kv == ref or arrays(kv, ref) and all(row(a, b) for a, b in zip(kv[1], ref[1]))


def near_pending(_, kv, ref):
    """XPENDING: the idle time."""
    return near_rows(kv, ref)


NEAR_FIELDS = {name: near for name in (b"idle", b"inactive", b"seen-time", b"active-time", b"radix-tree-keys", b"radix-tree-nodes")}
NEAR_FIELDS |= {b"pel": near_rows, b"pending": near_rows, b"entries-added": same_count}


def near_times(kv, ref):
    """Maps of names, in RESP2 and 3, that are equal up to moments, durations and the shape of a radix tree, of which kv has none."""
    if not arrays(kv, ref):
        return kv == ref
    rules = [NEAR_FIELDS.get(name[1] if name[0] == "$" else None, near_times) for name in [("", None)] + kv[1][:-1]]
    return all(rule(a, b) for rule, a, b in zip(rules, kv[1], ref[1]))


def near_idle(_, kv, ref):
    """XINFO: when a consumer was seen and active, the moment of a delivery."""
    return near_times(kv, ref)


NORMALISERS = {
    "xpending": near_pending, "xinfo|consumers": near_idle, "xinfo|stream": near_idle,
    "dump": payload,
    "sort": unsorted_set, "sort_ro": unsorted_set,
    "zscan": scan_pairs, "zrandmember": random_members, "srandmember": random_members,
    "hscan": scan_fields, "hrandfield": random_members,
    "spop": unordered,
    "keys": unordered,
    "pubsub|channels": unordered,
    "smembers": unordered, "sinter": unordered, "sunion": unordered, "sdiff": unordered,
    "hkeys": unordered, "hvals": unordered, "hgetall": unordered_pairs,
    "scan": scan, "sscan": scan_members,
    "randomkey": any_key,
    "ttl": near_seconds, "expiretime": near_seconds, "object|idletime": near_seconds, "pttl": near_ms, "pexpiretime": near_ms,
}


# ---- 3-compat.md section 7: what Redis itself changed after 7.0 ----


def short_encoding(_, kv, ref):
    """7.2: a short list or small set is a listpack."""
    return kv == ("$", b"listpack") and ref in (("$", b"quicklist"), ("$", b"hashtable"))


def small_set_at_once(_, kv, ref):
    """7.2: a small set is a listpack, which SSCAN gives at once, whatever cursor and COUNT."""
    if kv[0] != "*" or ref[0] != "*":
        return False
    return kv[1][0] == ("$", b"0") and all(item in kv[1][1][1] for item in ref[1][1][1])


BIT_ARGUMENTS = (b"ERR value is not an integer or out of range", b"ERR syntax error", b"ERR The bit argument must be 1 or 0.")
WRONG_TYPE = b"WRONGTYPE Operation against a key holding the wrong kind of value"


def bitcount_checks_first(_, kv, ref):
    """7.4: BITCOUNT and BITPOS check their arguments before they look at the key. Before that, what no key or another type would answer came first."""
    return kv[0] == "-" and kv[1] in BIT_ARGUMENTS and ref in ((":", b"0"), (":", b"-1"), ("-", WRONG_TYPE))


def shortest_digits(_, kv, ref):
    """7.2: a score is printed with the fewest digits that read back equal, integers in full; before, with %.17g. And as zero_of_skiplist()."""
    if not same_form(kv, ref):
        return False
    if isinstance(kv[1], list):
        return all(shortest_digits(None, a, b) for a, b in zip(kv[1], ref[1]))
    if kv == ref:
        return True
    try:
        return kv[0] in "$," and (ref[1] == b"%.17g" % float(kv[1]) or (kv[1], ref[1]) == (b"0", b"-0"))
    except ValueError:
        return False


def reads_streams(words, kv, ref):
    """XREAD, XREADGROUP: 7.2 names the command and its own sign for new entries; 7.4 knows `+`."""
    return (ref[0] == "-" and ref[1].startswith(b"ERR Unbalanced ") and kv[0] == "-" and kv[1].startswith(b"ERR Unbalanced ")) or (
        b"+" in words and ref == ("-", b"ERR Invalid stream ID specified as stream command argument"))


def without_fields(tree, names):
    kind, value = tree
    if not isinstance(value, list):
        return tree
    items = [without_fields(item, names) for item in value]
    if kind == "%":
        items = [item for pair in zip(items[::2], items[1::2]) if pair[0][1] not in names for item in pair]
    else:
        at = 0
        while at < len(items):
            if items[at][0] == "$" and items[at][1] in names and at % 2 == 0:
                del items[at : at + 2]
            else:
                at += 1
    return (kind, items)


READ = (b"entries-read", b"lag")


def more_of_consumers(_, kv, ref):
    """XINFO: 7.2 tells when a consumer was active."""
    return near_times(without_fields(kv, (b"inactive", b"active-time") + READ), without_fields(ref, READ))


def groups_read(_, kv, ref):
    """XINFO: where entries went unread, because they were deleted or trimmed, 7.2.6 and 7.4.2 count what a group has read and its lag in another way."""
    return near_times(without_fields(kv, READ), without_fields(ref, READ))


# ---- not in that list, but valkey 8.0.1 answers as kv does, so Redis or Valkey changed it after 7.0.15 ----


def huge_timeout(words, kv, ref):
    """A timeout beyond 2^63 ms: 7.0.15 overflows and calls it negative."""
    return kv == ("-", b"ERR timeout is out of range") and ref == ("-", b"ERR timeout is negative")


def takes_withscore(words, kv, ref):
    """ZRANK, ZREVRANK: 7.2 added WITHSCORE; before, a third argument was one too many."""
    return shortest_digits(words, kv, ref) or len(words) > 3 and ref[0] == "-" and ref[1].startswith(b"ERR wrong number of arguments")


def keys_of_count(words, kv, ref):
    """COMMAND GETKEYS: 7.0.15 reads a number of keys as atoi() does; the command itself then refuses it, and kv at once."""
    return kv[0] == "-" and ref[0] == "*" and any(re.match(rb"\s*[+-]?\d", word) and not re.fullmatch(rb"-?[1-9]\d*", word) for word in words)


def stale_errno(words, kv, ref):
    """SORT: 7.0.15 takes the ERANGE of an earlier conversion for one of its own, and calls numbers none. Any number of commands may lie between."""
    return kv[0] in "*:" and ref == ("-", b"ERR One or more scores can't be converted into double")


def waits_for_scores(words, kv, ref):
    """BZPOPMIN and its kin: both."""
    return huge_timeout(words, kv, ref) or shortest_digits(words, kv, ref)


def setid_order(_, kv, ref):
    """XSETID: 7.0.15 looks at the entries and their number, but not at the max_deleted_entry_id that the stream has."""
    if kv != ("-", b"ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"):
        return False
    looked_at = (b"ERR The ID specified in XSETID is smaller than ", b"ERR The entries_added specified in XSETID is smaller than ")
    return ref == ("+", b"OK") or ref[0] == "-" and ref[1].startswith(looked_at)


def least_integer(words, kv, ref):
    """LPOS with rank -2^63: now out of range."""
    return b"-9223372036854775808" in words and kv[0] == "-" and kv[1].startswith(b"ERR value is out of range, value must between -9223372036854775807 ")


# ---- Valkey's alone, or Redis's after 7.2 ----


def valkey_bitcount(words, kv, ref):
    """8.0: BITCOUNT takes a start without an end."""
    if kv[0] == ref[0] == "-" and ref[1] in BIT_ARGUMENTS:  # and looks at the unit before the numbers
        return kv[1] in BIT_ARGUMENTS
    return bitcount_checks_first(words, kv, ref) or (len(words) == 3 and kv == ("-", b"ERR syntax error"))


def valkey_scan(words, kv, ref):
    """SCAN: a cursor is digits alone (strtoul() let signs and nothing at all pass up to 7.2), and an unknown TYPE is an error (7.2: no key has it)."""
    if ref == ("-", b"ERR invalid cursor"):
        return not words[1].isdigit()
    types = [words[i + 1] for i in range(2, len(words) - 1) if words[i].upper() == b"TYPE"]
    named = any(ref == ("-", b"ERR unknown type name '" + name + b"'") for name in types)
    return named and (kv == ("-", b"ERR syntax error") or kv[0] == "*" and kv[1][1] == ("*", []))  # it looks at the type before what follows


def valkey_scan_key(words, kv, ref):
    """HSCAN, SSCAN, ZSCAN: the same, and before the key is looked at; ZSCAN has NOSCORES."""
    if ref == ("-", b"ERR invalid cursor"):
        return not words[2].isdigit()
    return words[0].lower() == b"zscan" and any(word.lower() == b"noscores" for word in words) and kv[0] == "-"


def valkey_keys(words, kv, ref):
    """COMMAND GETKEYSANDFLAGS: 8.0 calls destinations that nobody reads OW; 7.0.15 and 7.2 call some of them RW."""
    def writes(tree):
        if isinstance(tree[1], list):
            return (tree[0], [writes(item) for item in tree[1]])
        return ("+", b"RW") if tree == ("+", b"OW") else tree

    return keys_of_count(words, kv, ref) or writes(kv) == writes(ref)


def zero_of_skiplist(_, kv, ref):
    """kv alone: a score of -0 is 0, whatever the form of the set; in Redis a listpack has 0 and a skiplist -0."""
    if isinstance(kv[1], list):
        return same_form(kv, ref) and all(zero_of_skiplist(None, a, b) for a, b in zip(kv[1], ref[1]))
    return kv == ref or kv[0] in "$," and kv[0] == ref[0] and (kv[1], ref[1]) == (b"0", b"-0")


def valkey_offset(words, kv, ref):
    """ZRANGEBYSCORE and its kin: a negative offset is behind the end; 8.0 counts it from there when the set is a skiplist."""
    if zero_of_skiplist(words, kv, ref):
        return True
    limits = [words[i + 1] for i in range(len(words) - 2) if words[i].upper() == b"LIMIT"]
    return any(offset.startswith(b"-") for offset in limits) and kv[0] == ref[0] and kv[1] == []


def loaded_list(_, kv, ref):
    """internals: a list of several nodes that RESTORE read stays a quicklist in 7.2; kv's name for a list follows from its size."""
    return (kv, ref) == (("$", b"listpack"), ("$", b"quicklist"))


def shared_integer(_, kv, ref):
    """internals: a small integer that COPY or APPEND made is no shared object in Redis; kv shares none and tells by the value."""
    return kv == (":", b"2147483647") and ref == (":", b"1")


def shared_idletime(_, kv, ref):
    """internals: a shared integer of Redis has one access clock for all keys, set when the server started; kv has one for each key. The clock of
    Redis has 24 bits, and a longer idle time than that (RESTORE ... IDLETIME) becomes something between half of them and all."""
    if kv[0] != ":" or ref[0] != ":":
        return False
    return 0 <= int(kv[1]) <= NEAR < int(ref[1]) or min(int(kv[1]), int(ref[1])) >= 1 << 23


SCORES = ("zadd zincrby zscore zmscore zrank zrevrank zrange zrevrange zrangebyscore zrevrangebyscore zpopmin zpopmax zmpop zunion zinter zdiff "
          "geodist geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch").split()
DIFFERENCES = {
    ("redis", "object|idletime"): shared_idletime, ("valkey", "object|idletime"): shared_idletime,
    ("redis", "object|refcount"): shared_integer, ("valkey", "object|refcount"): shared_integer,
    ("redis", "xread"): reads_streams, ("redis", "xreadgroup"): reads_streams, ("valkey", "xread"): reads_streams, ("valkey", "xreadgroup"): reads_streams,
    ("redis", "xinfo|stream"): more_of_consumers, ("redis", "xinfo|consumers"): more_of_consumers, ("redis", "xsetid"): setid_order,
    ("valkey", "xinfo|stream"): groups_read, ("valkey", "xinfo|groups"): groups_read, ("redis", "xinfo|groups"): groups_read,
    ("redis", "lpos"): least_integer, ("valkey", "scan"): valkey_scan,
    **{("redis", name): huge_timeout for name in ("blpop", "brpop", "blmove", "brpoplpush", "blmpop")},
    **{("redis", name): waits_for_scores for name in ("bzpopmin", "bzpopmax", "bzmpop")},
    **{("redis", name): shortest_digits for name in SCORES},
    ("redis", "command|getkeys"): keys_of_count, ("redis", "command|getkeysandflags"): keys_of_count,
    ("redis", "sort"): stale_errno, ("redis", "sort_ro"): stale_errno,
    ("redis", "zrank"): takes_withscore, ("redis", "zrevrank"): takes_withscore,
    ("redis", "object|encoding"): short_encoding, ("redis", "sscan"): small_set_at_once,
    ("redis", "bitcount"): bitcount_checks_first, ("redis", "bitpos"): bitcount_checks_first,
    **{("valkey", name): zero_of_skiplist for name in SCORES + ["bzpopmin", "bzpopmax", "bzmpop"]},
    **{("valkey", name): valkey_offset for name in ("zrange", "zrangebyscore", "zrevrangebyscore", "zrangebylex", "zrevrangebylex")},
    **{("valkey", name): valkey_scan_key for name in ("hscan", "sscan", "zscan")},
    ("valkey", "command|getkeys"): keys_of_count, ("valkey", "command|getkeysandflags"): valkey_keys,
    ("valkey", "object|encoding"): loaded_list, ("valkey", "sort"): stale_errno, ("valkey", "sort_ro"): stale_errno,
    ("valkey", "bitcount"): valkey_bitcount, ("valkey", "bitpos"): bitcount_checks_first,
}


def looks_in_any_order(name, words):
    """SORT of a set or sorted set looks keys up in the order of Redis's hash table: the misses are the same, their order is nobody's."""
    return name in ("sort", "sort_ro") and any(word.lower() in (b"by", b"get") for word in words)


def looks_at_any(name, words, kv, ref):
    """The same with LIMIT and no order, or where only the reference refused (stale_errno): other keys are looked up, and missed. And
    valkey_scan_key(): the key is not looked up; where kv refused the cursor too, nobody looked."""
    if name in ("hscan", "sscan", "zscan") and kv != ref and ref == ("-", b"ERR invalid cursor"):
        return True
    return name in ("sort", "sort_ro") and (stale_errno(words, kv, ref) or unsorted_set(words, kv, ref) and any(word.lower() == b"limit" for word in words))


def unreported(name, words, kv, ref):
    """Keyspace events that only the reference sends because of an accepted difference: who fails before the key is looked up misses none."""
    if name in ("bitcount", "bitpos") and kv[0] == "-" and ref[0] != "-":
        return [(b"keymiss", words[1])]
    if name == "lpos" and least_integer(words, kv, ref):
        return [(b"keymiss", words[1])]
    return []


def parts(name, words, kv, ref):
    """Has an accepted difference of the replies left other data behind? One server refused what the other has written."""
    writes = name == "xsetid" or name == "sort" and any(word.lower() == b"store" for word in words)
    return writes and (kv[0] == "-") != (ref[0] == "-")


def equal(reference, name, words, kv, ref):
    """Do the two trees mean the same as replies to this command? Returns None (no), "equal", "normalised" or "section 7"."""
    if kv == ref:
        return "equal"
    rule = NORMALISERS.get(name)
    if rule and rule(words, kv, ref):
        return "normalised"
    rule = DIFFERENCES.get((reference, name))
    if rule and rule(words, kv, ref):
        return "section 7"
    return None
