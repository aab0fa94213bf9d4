# grammar.py -- Random commands of the differential oracle, generated from COMMAND DOCS of the reference server.
# SPDX-License-Identifier: BSD-3-Clause
#
# WHY         What is written by hand tests what its writer thought of. Here every argument, token and alternative that the reference documents
#             is tried; this file only knows which *values* are worth trying for an argument of a given type and name.
# TIME        Nothing may depend on when it runs: relative times are at least 100,000 s (or not positive, or no numbers), absolute times
#             far in the past or the future. A time in the past goes only where the key is removed at once; SET EXAT would leave
#             it to the expiry cycle, whose moment is nobody's promise.
# MEMORY      Offsets between 100,000 and the limits are left out: half a gigabyte of zeros tells nothing that 100 KB do not tell.
import pathlib


def crc64(data):
    """CRC-64/Jones: the footer of DUMP."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x95AC9329AC4BC9B5 if crc & 1 else 0)
    return crc


def payloads():
    """What RESTORE may get: values of all types in old and new forms, some cut or damaged, with a right footer; and wrong footers."""
    # Streams come back with times of their own; the fuzzer and tests/integration have them.
    values = [path.read_bytes() for path in sorted(VALUES.iterdir()) if not path.name.endswith("v8") and "stream" not in path.name]
    # 7.0.15 reads on into the footer: what is cut must not end just before it
    values += [value[: len(value) // 2] for value in values if len(value) > 24] + [bytes([value[0]]) for value in values[::5]]
    whole = [value + b"\x0a\0" for value in values] + [values[0] + version for version in (b"\x01\0", b"\xff\0", b"\x0a\x01")]
    whole = [value + crc64(value).to_bytes(8, "little") for value in whole]
    return whole + [b"", b"0123456789", whole[0][:-1], whole[0] + b"x", whole[0][:-1] + b"x"]


# Left out, with the reason. Their tests are tests/integration and the upstream suite.
EXCLUDED = {
    "the connection or the server would end or stall": "shutdown debug quit reset hello auth monitor subscribe psubscribe ssubscribe unsubscribe "
    "punsubscribe sunsubscribe sync psync replconf replicaof slaveof failover migrate save bgsave bgrewriteaof wait waitaof client|pause "
    "client|unpause client|reply client|kill client|no-evict client|no-touch client|unblock client|tracking client|caching script|kill script|debug function|kill "
    "asking readonly readwrite",
    "the reply is about this process: time, memory, versions, addresses": "info time lastsave role lolwut client|id client|info client|list client|getredir client|trackinginfo "
    "memory|doctor memory|malloc-stats memory|stats memory|usage memory|purge memory|help latency slowlog config acl module command|docs command|info "
    "command|list command|count command|help cluster client|help restore-asking pfselftest pfdebug eval eval_ro evalsha evalsha_ro fcall fcall_ro script "
    "function|stats function|help function|dump function|restore function|load function|delete pubsub|help object|help xgroup|help xinfo|help",
}
OUT = {name for names in EXCLUDED.values() for name in names.split()}

# A relative weight for those that wait or wipe; all others have 10.
WEIGHTS = {"flushall": 0.15, "flushdb": 0.3, "swapdb": 0.3, "multi": 2, "exec": 2, "discard": 1, "select": 1, "blpop": 2, "brpop": 2, "blmove": 2,
           "brpoplpush": 2, "blmpop": 2, "bzpopmin": 2, "bzpopmax": 2, "bzmpop": 2, "keys": 3, "move": 3, "del": 4, "unlink": 3, "rename": 5, "set": 14,
           "rpush": 20, "lpush": 20, "expire": 6, "persist": 6, "lmove": 6, "ltrim": 4}

VALUES = pathlib.Path(__file__).resolve().parent.parent / "tests/fuzz/corpus/restore"
PAYLOADS = payloads()

GROUPS = {"string": "s", "bitmap": "s", "hyperloglog": "p", "list": "l", "hash": "h", "set": "t", "sorted-set": "z", "stream": "x", "geo": "g"}
KEYS_EACH = 6

STRINGS = [b"", b"a", b"b", b"c", b"0", b"1", b"-1", b"10", b"007", b"3.0", b"1e3", b"-0", b" 1", b"nan", b"inf", b"foobar", b"Hello", b"\x00", b"\xff\xfe",
           b"\r\n", b"a b", b"x" * 44, b"x" * 45, b"y" * 63, b"y" * 64, b"z" * 65, b"v" * 5000, b"w" * 9000, b"127", b"128", b"-129", b"4095", b"32768",
           b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808", b"12345678901234567890", b"3.14159265358979", b"1.5", b"0.1"]
INTEGERS = ["0", "1", "-1", "2", "-2", "3", "5", "7", "10", "-10", "100", "1000", "127", "128", "255", "256", "32767", "65536", "2147483647", "2147483648", "-2147483648",
            "-2147483649", "4294967295", "4294967296", "4294967297", "9223372036854775807", "9223372036854775806", "-9223372036854775808",
            "-9223372036854775807", "9223372036854775808", "-9223372036854775809", "abc", "", " 1", "1 ", "+1", "01", "-0", "1.0", "0x10"]
SMALL = ["0", "1", "2", "3", "4", "5", "8", "-1", "-2", "-3"]
OFFSETS = ["0", "1", "2", "7", "8", "9", "63", "64", "100", "1000", "4096", "99999", "4294967296", "9223372036854775807", "-1", "abc", "#0", "#1", "#3"]
DOUBLES = ["0", "1", "-1", "1.5", "-2.25", "3.0", "0.1", "1e3", "1e-5", "1e17", "123456789.123", "inf", "-inf", "+inf", "nan", "1e308", "-1e308", "1e400", "abc", "", " 1", "5e-324",
           "0x10", "-0", "1.", ".5", "100", "17976931348623157" + "0" * 292]
ENCODINGS = ["u1", "u2", "u8", "i8", "i16", "u16", "i32", "u63", "i64", "u64", "i65", "u0", "i0", "x8", "i", "", "u4", "i5", "u33"]
PATTERNS = ["*", "s*", "l?", "[sl]*", "[^s]*", "?1", "s\\*", "", "nothing", "**", "s[0-2]", "*1*", "w_*", "#", "w_*->f", "[", "s[", "\\"]
RELATIVE_SECONDS = ["100000", "1000000", "99999999", "0", "-1", "-100", "9223372036854775807", "-9223372036854775808", "9223372036854775", "9223372036854776",
                    "abc", "", "1.5"]
RELATIVE_MS = ["100000000", "1000000000", "99999999999", "0", "-1", "-100", "9223372036854775807", "-9223372036854775808", "abc", "", "1.5"]
PAST = ["1", "0", "-1", "1000000000", "-9223372036854775808"]
FAR_SECONDS = ["9999999999", "33177117420", "9223372036854775", "9223372036854775807", "9223372036854776", "abc", ""]
FAR_MS = ["9999999999000", "33177117420000", "9223372036854775807", "9223372036854775808", "abc", ""]
NOT_POSITIVE_ONLY = ("0", "-1", "-100", "-9223372036854775808")
REMOVED_AT_ONCE = {"expire", "pexpire", "expireat", "pexpireat", "getex"}
IDS = ["0", "0-0", "1", "1-1", "2-1", "2-2", "3", "5-5", "7-1", "9-9", "20-1", "(2-1", "(1", "-", "+", "$", ">", "abc", "1-abc", "-1", "", "18446744073709551615", "(0"]
ADDED_IDS = ["1", "1-1", "2-1", "2-*", "3-*", "5-5", "7-*", "9-*", "9-9", "11-*", "20-*", "40-*", "0-*", "0-0", "abc", "-", "+", "1-"]
GROUP_NAMES = ["g", "g", "g", "h", "nogroup"]
LEX = ["-", "+", "[a", "(a", "[b", "(foobar", "[1", "(", "[", "a", ""]
LEX_COMMANDS = {"zrangebylex", "zrevrangebylex", "zremrangebylex", "zlexcount"}
# Ranges of members ask sets of equal scores only. What they answer for others is nobody's promise: in Redis's skiplist it follows from the random
# heights of its nodes, and two redis-servers differ. Only ZADD with one score and ZREMRANGEBYLEX change the keys `e0` ...
LEX_KEYS = 3
# Where the key of a range by member may stand, and its two bounds from there on
LEX_AT = {**{name: 1 for name in LEX_COMMANDS}, "zrange": 1, "zrangestore": 2}
TIMEOUTS = ["0.01", "0.02", "-1", "abc", "1e400", "nan", ""]


# These find nothing to do without a group that is there
OF_GROUPS = {"xgroup|createconsumer": (2, 3), "xgroup|delconsumer": (2, 3), "xgroup|setid": (2, 3), "xinfo|consumers": (2, 3), "xpending": (1, 2),
             "xreadgroup": (-2, 2), "xack": (1, 2), "xclaim": (1, 2), "xautoclaim": (1, 2)}


def as_map(flat):
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat), 2)}


def to_python(tree):
    kind, value = tree
    return [to_python(item) for item in value] if isinstance(value, list) else value


class Argument:
    """A node of COMMAND DOCS' argument tree."""

    def __init__(self, flat):
        fields = as_map(flat)
        self.name, self.type = fields["name"].decode(), fields["type"].decode()
        self.token = fields["token"] if "token" in fields else None
        flags = {flag.decode() for flag in fields.get("flags", [])}
        self.optional, self.multiple, self.multiple_token = "optional" in flags, "multiple" in flags, "multiple_token" in flags
        # XADD's `*` is a clock
        self.inside = [item for item in map(Argument, fields.get("arguments", [])) if item.name not in ("auto_id", "auto-id")]

    def tokens(self):
        mine = [self.token.decode()] if self.token is not None else []
        return mine + [token for item in self.inside for token in item.tokens()]

    def timed(self):
        return self.name.startswith(("seconds", "milliseconds", "unix-time", "ttl")) or any(item.timed() for item in self.inside)


class Command:
    def __init__(self, name, fields):
        self.name, self.group = name, fields["group"].decode()
        self.words = [word.encode() for word in name.split("|")]
        self.arguments = [Argument(item) for item in fields.get("arguments", [])]
        # "" counts the command itself.
        self.tokens = [""] + sorted({token for argument in self.arguments for token in argument.tokens()})
        self.timed = any(argument.timed() for argument in self.arguments)
        self.weight = WEIGHTS.get(name, 10)


# Since 7.2 these make their consumer also when they read or claim nothing: from there on the data differ. Valkey is their reference.
MAKE_CONSUMERS = {"xreadgroup", "xclaim", "xautoclaim"}


def commands_of(connection, reference):
    """All commands that the reference documents, subcommands by their full names, without those that are left out. Sorted: the order in which a
    server tells them is another after each start, and a seed must repeat its commands."""
    commands = {}
    for name, flat in as_map(to_python(connection.call("COMMAND", "DOCS"))).items():
        fields = as_map(flat)
        rows = as_map(fields["subcommands"]) if "subcommands" in fields else {name: flat}
        for full, row in rows.items():
            if full not in OUT and name not in OUT and not (reference == "redis" and full in MAKE_CONSUMERS):
                commands[full] = Command(full, as_map(row))
    return dict(sorted(commands.items()))


class Generator:
    """Random commands. `want` is a token whose presence is forced (to fill up the coverage)."""

    def __init__(self, rng, commands, reference):
        self.rng, self.commands, self.reference = rng, list(commands.values()), reference
        self.weights = [command.weight for command in self.commands]
        self.prefixes = sorted({GROUPS[c.group] for c in self.commands if c.group in GROUPS}) or ["s"]
        self.want = None

    def pick(self, values):
        value = values[int(self.rng.random() * len(values))]
        return value if isinstance(value, bytes) else value.encode()

    def key(self, command):
        prefix = GROUPS.get(command.group)
        if prefix is None or self.rng.random() < 0.08:
            prefix = self.pick(self.prefixes).decode()
        return b"%s%d" % (prefix.encode(), self.rng.randrange(KEYS_EACH))

    def integer(self, command, name):
        rng = self.rng
        if command.name in ("xread", "xreadgroup") and name == "milliseconds":
            return self.pick(["1", "2", "-1", "abc", ""])
        if name == "seconds" or name == "milliseconds" or name in ("ttl", "ms"):
            values = RELATIVE_SECONDS if name == "seconds" else RELATIVE_MS
            if command.name not in REMOVED_AT_ONCE:
                values = [v for v in values if v not in ("1",)]
            if command.name == "restore":
                # 7.0.15 lets the sum overflow and takes it for a time in the past, and an IDLETIME in ms, whose clock then goes round; kv refuses it
                values = ["0"] * 20 + [v for v in values if len(v) < 16 or v.startswith("-")]
            return self.pick(values)
        if name in ("db", "destination-db", "index1", "index2") or command.name == "select":
            return self.pick(["0", "0", "1", "2", "15", "16", "-1", "abc", "9223372036854775807"] if command.name != "select" else ["0", "1", "2", "16", "abc"])
        if name == "cursor":
            return self.pick(["0", "0", "0", "abc", "-1", ""])
        if name == "offset" and command.group in ("bitmap", "string"):
            return self.pick(OFFSETS)
        if command.name == "setbit" and name == "value":
            return self.pick(["0", "1", "1", "2", "abc"])
        if command.name == "spop":
            # All or none: both servers choose for themselves
            return self.pick(["0", "1000", "1000", "1000", "2147483648", "9223372036854775807", "9223372036854775808", "-1", "abc", "1.0"])
        if name == "count" and command.name == "scan":
            return self.pick(["1000", "5000", "100000", "0", "-1", "abc"])
        if command.name in ("srandmember", "hrandfield", "zrandmember"):
            # A negative count is the size of the reply: the reference dies of a large one
            return self.pick(SMALL + ["100", "-100", "abc", "", "1.0", "2147483648", "9223372036854775807", "-9223372036854775808"])
        if command.name == "lrem":
            # 7.0.15 takes -2^63 and removes, as kv does; since then it is an error
            return self.pick([v for v in INTEGERS if v != "-9223372036854775808"])
        if command.name == "lset" and self.reference == "valkey":
            # valkey 8.0.1 cuts an index to 32 bits and sets that element
            return self.pick(SMALL + ["abc", "", "1.0", "2147483647"])
        return self.pick(SMALL if rng.random() < 0.6 else INTEGERS)

    def stream_string(self, command, name):
        if command.name == "xadd" and name == "id":
            return self.pick(ADDED_IDS)
        if name in ("id", "start", "end", "last-id", "lastid", "max_deleted_entry_id", "max-deleted-id"):
            # What 7.4 reads after `+` is an error before, and then no event tells of the key either
            ids = [i for i in IDS if i != "+"] if command.name == "xread" else IDS
            return self.pick(ids[:12] if self.rng.random() < 0.7 else ids)
        if name == "threshold":
            return self.pick(SMALL + IDS)
        if name in ("group", "groupname"):
            return self.pick(GROUP_NAMES)
        if name in ("consumer", "consumername"):
            return self.pick(["c", "d", "e"])
        if name == "min-idle-time":
            return self.pick(["0", "0", "0", "100000000", "-1", "abc"])
        return self.pick(STRINGS[:16] if self.rng.random() < 0.9 else STRINGS)

    def string(self, command, name):
        if command.group == "stream":
            return self.stream_string(command, name)
        if name == "encoding":
            return self.pick(ENCODINGS)
        if name == "operation" and command.name == "bitop":
            return self.pick(["AND", "OR", "XOR", "NOT", "and", "NOR"])
        if name == "serialized-value":
            return self.pick(PAYLOADS)
        if name == "type" and command.name == "scan":
            return self.pick(["string", "list", "hash", "LIST", "foo"])
        if command.name in ("client|setname", "client|setinfo") and self.reference == "valkey":
            # valkey 8.0.1 looks at what stands before a NUL byte only; kv refuses the byte, as 7.0.15 does
            return self.pick([value for value in STRINGS if b"\x00" not in value])
        if command.name in LEX_COMMANDS:
            return self.pick(LEX)
        if name in ("element", "member", "pivot", "field"):
            return self.pick(STRINGS[:16] if self.rng.random() < 0.8 else STRINGS)
        return self.pick(STRINGS)

    def value(self, command, argument):
        kind, name = argument.type, argument.name
        if kind == "key":
            return [self.key(command)]
        if kind == "integer":
            return [self.integer(command, name)]
        if kind == "double":
            return [self.pick(TIMEOUTS if name == "timeout" else DOUBLES)]
        if kind == "unix-time":
            far = FAR_SECONDS if "milli" not in name and command.name != "pexpireat" else FAR_MS
            return [self.pick(far + PAST if command.name in REMOVED_AT_ONCE else far)]
        if kind == "pattern":
            return [self.pick(PATTERNS)]
        return [self.string(command, name)]

    def once(self, command, argument):
        if argument.type == "pure-token":
            return [argument.token]
        token = [argument.token] if argument.token is not None else []
        if argument.type == "block":
            return token + self.sequence(command, argument.inside)
        if argument.type == "oneof":
            wanted = [item for item in argument.inside if self.want and self.want in item.tokens()]
            chosen = (wanted or argument.inside)[int(self.rng.random() * len(wanted or argument.inside))]
            return token + self.one(command, chosen)
        return token + self.value(command, argument)

    def one(self, command, argument):
        words = self.once(command, argument)
        if argument.multiple:
            while self.rng.random() < 0.45 and len(words) < 40:
                more = self.once(command, argument)
                words += more if argument.token is None or argument.multiple_token else more[1:]
        return words

    def sequence(self, command, arguments):
        parts = []
        for argument in arguments:
            wanted = self.want is not None and self.want in argument.tokens()
            if not argument.optional or wanted or self.rng.random() < 0.3:
                parts.append((argument, self.one(command, argument)))
        # "numkeys" counts the keys that follow, "numfields" fields; with values when the next argument is a block of both.
        for number, (argument, words) in enumerate(parts[:-1]):
            if argument.name in ("numkeys", "numfields") and self.rng.random() < 0.95:
                counted, following = parts[number + 1]
                words[-1] = b"%d" % (len(following) // max(1, len(counted.inside)))
        return [word for _, words in parts for word in words]

    def spoil(self, words, fixed, timed):
        """A small mistake: one argument less or more, doubled, or replaced. Where times are given no number comes in: it could be one that is
        over soon."""
        others = [b"", b"a", b"b", b"foo"] if timed else STRINGS[:12]
        at = self.rng.randrange(fixed, len(words)) if len(words) > fixed else None
        kind = self.rng.randrange(4)
        if kind == 0 and at is not None and not timed:
            del words[at]
        elif kind == 1:
            words.append(self.pick(others))
        elif kind == 2 and at is not None:
            words.insert(at, words[at])
        elif at is not None and not words[at].lstrip(b"-+").isdigit():
            words[at] = self.pick(others)
        return words

    def make(self, command, want=None):
        self.want = want or None
        words = command.words + self.sequence(command, command.arguments)
        self.want = None
        if command.name == "command|getkeys" or command.name == "command|getkeysandflags":
            words = command.words + self.make(self.rng.choices(self.commands, self.weights)[0])
            words += [b"x"] * (4 - len(words))  # 7.2 changed the arity from -4 to -3
            # Both references cut a number of keys to 32 bits: they take 2^32 + 1 for 1, and answer -2^63 with what stands in memory
            words = [b"-1" if len(word) > 9 and word.lstrip(b"-").isdigit() else word for word in words]
        elif command.name == "spop" and len(words) == 2:
            words.append(b"1000")
        elif want is None and command.name != "spop" and self.rng.random() < 0.04 and "timeout" not in [a.name for a in command.arguments]:
            words = self.spoil(list(words), len(command.words), command.timed)
        if command.name == "function|list":
            words = [b"a" if word == b"\r\n" else word for word in words]  # the references' error would have the line break inside
        if command.name in ("zrank", "zrevrank") and self.reference == "redis":
            words = words[:3]  # 7.2 takes WITHSCORE
        if command.name in ("sort", "sort_ro") and b"BY" in words:
            # With BY and ALPHA the order of equal weights is left open; tests/integration has the two together.
            words = [word for word in words if word != b"ALPHA"]
        if command.name == "zadd" and self.rng.random() < 0.4:
            words = [b"zadd", self.lex_key()] + [word for _ in range(self.rng.randrange(1, 7)) for word in (b"0", self.string(command, "member"))]
        elif command.name in LEX_COMMANDS or command.name in LEX_AT and b"BYLEX" in words:
            words = self.by_lex(command, words)
        if want == "LIMIT" and command.name in ("xadd", "xtrim"):
            words = self.about(words)
        if self.rng.random() < 0.05:
            words = [words[0].upper() if self.rng.random() < 0.5 else words[0].title()] + list(words[1:])
        return list(words)

    def lex_key(self):
        return b"e%d" % self.rng.randrange(LEX_KEYS)

    def by_lex(self, command, words):
        """A range of members: of a set of equal scores, or of a key that is no sorted set; with bounds that are good more often than not."""
        at = LEX_AT[command.name]
        if len(words) > at:
            words[at] = self.lex_key() if self.rng.random() < 0.95 else b"s0"
        for i in range(at + 1, min(at + 3, len(words))):
            words[i] = self.pick(LEX[:10] if self.rng.random() < 0.8 else LEX)
        return words if self.rng.random() < 0.1 else [word for word in words if word.upper() != b"WITHSCORES"]

    @staticmethod
    def about(words):
        """XADD, XTRIM: LIMIT goes with `~` alone."""
        at = next(i for i, word in enumerate(words) if word.upper() in (b"MAXLEN", b"MINID")) + 1
        return words[:at] + [b"~"] + words[at + (words[at] in (b"=", b"~")) :]

    def before(self, command, words):
        """Commands after which this one has something to do: they go before it where its replies are too few, and now and then."""
        if command.name == "discard" and len(words) == 1:
            return [("multi", [b"MULTI"])]
        if command.name == "xadd" and len(words) > 1:
            return [("del", [b"DEL", words[1]])]
        if command.name in OF_GROUPS:
            key, group = OF_GROUPS[command.name]
            if len(words) > max(key, group, 3):
                # No ID above the last one that is added elsewhere: XADD with a `*` would find none left
                return [("xadd", [b"XADD", words[key], b"2-*", b"f", b"v"]), ("xgroup|create", [b"XGROUP", b"CREATE", words[key], words[group], b"0", b"MKSTREAM"]),
                        ("xgroup|createconsumer", [b"XGROUP", b"CREATECONSUMER", words[key], words[group], b"c"])]
        return []

    def next(self):
        return self.rng.choices(self.commands, self.weights)[0]
