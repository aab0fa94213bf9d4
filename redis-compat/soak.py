#!/usr/bin/env python3
# soak.py -- Many clients at once send random commands of all kinds and sizes in random pieces, stop reading, and go away: kv goes on, and its log is right.
# SPDX-License-Identifier: BSD-3-Clause
#
#   soak.py [--seconds N] [--lives N] [--seed N] [--clients N]
#
# WHY     Other judges send whole commands, small ones, over TCP, and read every reply. Here pieces end anywhere, values are large now and then, replies stay unread,
#         clients leave in the middle of a request, are killed and evicted, change what they are, and the directives change under them.
# A LIFE  kv with random directives; after --seconds its clients leave, DEBUG DIGEST, kill -9, and the next start has the same digest.
# WRONG   kv ends, says BUG or a sanitizer's report, does not answer a new client within a minute, or has another digest.
# Replies are not looked at: the oracle does that. The seed decides what is sent, not what meets what. Last line: "soak: N passed, N failed".
import argparse
import pathlib
import random
import re
import socket
import ssl
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "utils"))
import grammar  # noqa: E402
import resp  # noqa: E402
import servers  # noqa: E402

REPORT = re.compile(r"=== BUG|ERROR: AddressSanitizer|runtime error|WARNING: ThreadSanitizer|KV BUG REPORT")
KEYS = [f"{kind}{i}".encode() for kind in "slhtzxpg" for i in range(grammar.KEYS_EACH)]
SIZES = [1, 60, 60, 600, 1000, 3000, 9000, 40_000, 70_000, 300_000]
SCRIPTS = [b"redis.call('set',KEYS[1],ARGV[1]) return redis.call('get',KEYS[1])", b"for i=0,5 do redis.call('incr','s'..i) end return 1",
           b"redis.call('lpush',KEYS[1],ARGV[1]) redis.call('hset','h1',ARGV[1],1) return redis.call('sadd','t1',ARGV[1])",
           b"for i=1,300000 do end redis.call('del',KEYS[1]) return redis.call('publish','c1',ARGV[1])", b"return redis.call('keys','*')",
           b"local t={} for i=1,200 do t[i]=redis.call('get','s'..(i%6)) end return t"]
LIBRARY = b"#!lua name=%s\nredis.register_function('f_%s', function(keys, args) redis.call('append', 's1', 'x') return redis.call('rpush', keys[1], args[1] or 'y') end)"


class Words:
    """What is sent."""

    def __init__(self, rng, commands):
        self.rng = rng
        self.generator = grammar.Generator(rng, commands, "valkey")

    def key(self):
        return self.rng.choice(KEYS)

    def value(self):
        return self.rng.choice((b"x", b"%d" % self.rng.randrange(1000))) * self.rng.choice(SIZES)

    def large(self):
        key, value = self.key(), self.value()
        return self.rng.choice([
            [b"SET", key, value], [b"SET", key, value], [b"APPEND", key, value[:5000]], [b"RPUSH", key, value, value[:50]], [b"HSET", key, value[:20], value], [b"SADD", key, value],
            [b"ZADD", key, b"%d" % self.rng.randrange(100), value], [b"XADD", key, b"MAXLEN", b"~", b"100", b"*", b"f", value], [b"SETRANGE", key, b"%d" % self.rng.randrange(200_000), value],
            [b"MSET", *[word for k in self.rng.sample(KEYS, 8) for word in (k, value[:9000])]], [b"PUBLISH", b"c%d" % self.rng.randrange(3), value], [b"PFADD", key, value],
            [b"GETSET", key, value], [b"LSET", key, b"0", value], [b"HMSET", key, *[b"f%d" % (i // 2) for i in range(400)]], [b"SADD", key, *[b"%d" % i for i in range(600)]],
            [b"RPUSH", key, *[b"%d" % i for i in range(800)]], [b"ZADD", key, *[b"%d" % i for i in range(400)]]])

    def session(self):
        rng, key, channel, anybody = self.rng, self.key(), b"c%d" % self.rng.randrange(3), b"%d" % self.rng.randrange(3, 600)
        return rng.choice([
            [b"HELLO", rng.choice((b"2", b"3"))], [b"RESET"], [b"CLIENT", b"TRACKING", b"ON", *rng.choice(([], [b"BCAST"], [b"OPTIN"], [b"OPTOUT", b"NOLOOP"], [b"REDIRECT", anybody]))],
            [b"CLIENT", b"TRACKING", b"OFF"], [b"CLIENT", b"CACHING", b"YES"], [b"SUBSCRIBE", channel, b"c1"], [b"PSUBSCRIBE", b"c*", b"__key*"], [b"SSUBSCRIBE", channel], [b"UNSUBSCRIBE"],
            [b"PUNSUBSCRIBE"], [b"SUNSUBSCRIBE"], [b"MONITOR"], [b"CLIENT", b"KILL", b"ID", anybody], [b"CLIENT", b"LIST"], [b"CLIENT", b"UNBLOCK", anybody, rng.choice((b"ERROR", b"TIMEOUT"))],
            [b"CLIENT", b"REPLY", rng.choice((b"ON", b"OFF", b"SKIP"))], [b"CLIENT", b"NO-EVICT", rng.choice((b"on", b"off"))], [b"CLIENT", b"PAUSE", b"%d" % rng.randrange(30), rng.choice((b"ALL", b"WRITE"))],
            [b"BLPOP", key, self.key(), rng.choice((b"0", b"0.05"))], [b"BLMOVE", key, self.key(), b"LEFT", b"RIGHT", rng.choice((b"0", b"0.05"))], [b"BZPOPMIN", key, self.key(), b"0"],
            [b"XREAD", b"BLOCK", b"0", b"STREAMS", key, self.key(), b"$", b"$"], [b"XREADGROUP", b"GROUP", b"g", b"c", b"BLOCK", b"30", b"STREAMS", b"x1", b">"], [b"WATCH", key], [b"QUIT"],
            [b"WAITAOF", b"1", b"0", b"50"], [b"INFO", b"everything"], [b"SLOWLOG", b"GET"], [b"MEMORY", b"USAGE", key], [b"DEBUG", b"SLEEP", b"0.005"], [b"ACL", b"LOG"],
            [b"ACL", b"SETUSER", b"u", b"on", b"nopass", b"+@all", b"~*", rng.choice((b"allchannels", b"resetchannels"))], [b"AUTH", b"u", b"x"], [b"ACL", b"DELUSER", b"u"], [b"SCRIPT", b"FLUSH"]])

    def script(self):
        rng, name = self.rng, b"l%d" % self.rng.randrange(3)
        return rng.choice([
            [b"EVAL", rng.choice(SCRIPTS), b"1", self.key(), self.value()], [b"EVAL", rng.choice(SCRIPTS), b"1", self.key(), b"v"], [b"FCALL", b"f_" + name, b"1", self.key(), b"z"],
            [b"FUNCTION", b"LOAD", b"REPLACE", LIBRARY % (name, name)], [b"FUNCTION", b"DELETE", name]])

    def config(self):
        name, values = self.rng.choice([
            (b"maxmemory-clients", (b"0", b"0", b"400kb")), (b"notify-keyspace-events", (b"", b"KEA")), (b"appendfsync", (b"always", b"everysec", b"no")), (b"tracking-table-max-keys", (b"3", b"1000000")),
            (b"client-output-buffer-limit", (b"normal 0 0 0 pubsub 0 0 0", b"normal 2mb 300kb 1 pubsub 200kb 0 0")), (b"list-max-listpack-size", (b"-2", b"3")), (b"hash-max-listpack-value", (b"64", b"100000")),
            (b"set-max-listpack-entries", (b"128", b"0")), (b"zset-max-listpack-entries", (b"128", b"3")), (b"stream-node-max-entries", (b"100", b"3")), (b"client-query-buffer-limit", (b"1gb", b"1mb")),
            (b"slowlog-log-slower-than", (b"0", b"10000")), (b"latency-monitor-threshold", (b"0", b"1"))])
        return [b"CONFIG", b"SET", name, self.rng.choice(values)]

    def timed(self):
        rng, key, ms = self.rng, self.key(), b"%d" % self.rng.randrange(1, 60)
        return rng.choice([[b"PEXPIRE", key, ms], [b"SET", key, b"v", b"PX", ms], [b"HPEXPIRE", key, ms, b"FIELDS", b"2", b"f1", b"f3"], [b"GETEX", key, b"PX", ms], [b"PERSIST", key]])

    def one(self):
        at = self.rng.random()
        if at < 0.5:
            return self.generator.make(self.generator.next())
        return (self.large if at < 0.7 else self.session if at < 0.83 else self.script if at < 0.9 else self.timed if at < 0.985 else self.config)()

    def some(self):
        commands = [self.one() for _ in range(self.rng.choice((1, 1, 2, 5, 20)))]
        if self.rng.random() < 0.15:
            commands = [[b"MULTI"], *commands, [self.rng.choice((b"EXEC", b"EXEC", b"DISCARD"))]]
        elif self.rng.random() < 0.1:
            commands = [self.large()] * self.rng.choice((10, 100))
        return b"".join(map(resp.encode, commands))


WAITS = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Client:
    def __init__(self, soak):
        self.rng, self.words = soak.rng, soak.words
        tls = self.rng.random() < 0.3
        self.socket = socket.create_connection(("127.0.0.1", soak.tls_port if tls else soak.kv.port), 60)
        if tls:
            self.socket = soak.tls.wrap_socket(self.socket)
        self.socket.setblocking(False)
        self.out = self.piece = b""
        self.reads = self.rng.random() < 0.85

    def step(self):
        """Sends a piece, reads one. ConnectionError: it is gone."""
        if not self.out:
            self.out = self.words.some()
        try:
            self.piece = self.piece or self.out[:self.rng.choice((1, 30, 500, 5000, 1 << 20, 1 << 20))]  # TLS wants the same one again
            self.out = self.out[self.socket.send(self.piece):]
            self.piece = b""
        except WAITS:
            pass
        try:
            while self.reads and self.rng.random() < 0.9:
                if not self.socket.recv(self.rng.choice((100, 1 << 18))):
                    raise ConnectionResetError
        except WAITS:
            pass

    def leave(self):
        if self.rng.random() < 0.3:  # RST
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Soak:
    def __init__(self, options):
        self.options, self.rng = options, random.Random(options.seed)
        self.kv = servers.Server("kv")
        self.tls_port = servers.free_port()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.tls.check_hostname, self.tls.verify_mode = False, ssl.CERT_NONE
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=kv", "-keyout", "key.pem", "-out", "cert.pem"],
                       cwd=self.kv.dir, check=True, capture_output=True)
        connection = resp.Connection(self.kv.port)
        self.words = Words(self.rng, grammar.commands_of(connection, "valkey"))
        connection.close()
        self.kv.terminate()
        self.failed = self.pieces = self.left = 0

    def directives(self):
        pick = self.rng.choice
        tls = ["--tls-port", str(self.tls_port), "--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-auth-clients", "no"]
        return [*tls, "--threads", pick("124"), "--wal-queue-size", pick(("1mb", "64mb")), "--appendfsync", pick(("always", "always", "everysec")), "--busy-reply-threshold", pick(("5", "5000")),
                "--maxmemory", pick(("0", "0", "20mb")), "--maxmemory-policy", pick(("allkeys-lru", "volatile-ttl", "noeviction")), "--wal-segment-size", pick(("1mb", "64mb"))]

    def fail(self, what):
        self.failed += 1
        print(f"soak: {what}\n{self.kv.log()[-6000:]}", flush=True)

    def is_well(self):
        if self.kv.process.poll() is not None:
            self.fail(f"kv has ended: {self.kv.process.returncode}")
        elif REPORT.search(self.kv.log()):
            self.fail("a report")
        return not self.failed

    def ask(self, *commands):
        connection = resp.Connection(self.kv.port, timeout=60)
        replies = [connection.call(*command) for command in commands]
        connection.close()
        return replies

    def play(self):
        clients, end = [], time.monotonic() + self.options.seconds
        while time.monotonic() < end and self.kv.process.poll() is None:
            if len(clients) < self.options.clients:
                clients.append(Client(self))
            at = self.rng.randrange(len(clients))
            try:
                clients[at].step()
                self.pieces += 1
                if self.rng.random() > 0.003:
                    continue
            except OSError:
                pass
            clients.pop(at).leave()
            self.left += 1
        for client in clients:
            client.leave()

    def life(self):
        self.kv.start(*self.directives())
        try:
            self.play()
            if not self.is_well():
                return
            deadline = time.monotonic() + 60
            # a pause, users and limits end with the clients; what is due expires; one more write waits for all before it
            self.ask([b"CLIENT", b"UNPAUSE"], [b"CONFIG", b"SET", b"maxmemory", b"0"], [b"CONFIG", b"SET", b"maxmemory-clients", b"0"], [b"CONFIG", b"SET", b"appendfsync", b"always"])
            while time.monotonic() < deadline and b"connected_clients:1\r" not in self.ask([b"INFO", b"clients"])[0][1]:
                time.sleep(0.05)
            time.sleep(0.3)
            before = self.ask([b"SET", b"last", b"1"], [b"DEBUG", b"DIGEST"])
        except (OSError, RuntimeError) as error:
            self.fail(f"it does not answer: {error}")
            return
        self.kv.process.kill()
        self.kv.process.wait()
        self.kv.start()
        after = self.ask([b"SET", b"last", b"1"], [b"DEBUG", b"DIGEST"])
        if before != after:
            self.fail(f"after a kill {after}, not {before}")
        self.kv.terminate()

    def run(self):
        for number in range(self.options.lives):
            self.life()
            if not self.failed:
                self.is_ended_well()
            if self.failed:
                break
            print(f"soak: life {number + 1}: {self.pieces} pieces sent, {self.left} clients gone", flush=True)
        return number + 1 - self.failed

    def is_ended_well(self):
        if self.kv.process.returncode != 0:
            self.fail(f"kv has ended with status {self.kv.process.returncode}")
        elif REPORT.search(self.kv.log()):
            self.fail("a report")


def main():
    parser = argparse.ArgumentParser(description="many clients, random commands, pieces and ends")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--lives", type=int, default=2)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    options = parser.parse_args()
    print(f"soak: SEED={options.seed}", flush=True)
    soak = Soak(options)
    passed = soak.run()
    print(f"soak: {passed} passed, {soak.failed} failed")
    sys.exit(1 if soak.failed else 0)


main()
