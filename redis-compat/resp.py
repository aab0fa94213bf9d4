# resp.py -- Replies as bytes and as trees, for the differential oracle.
# SPDX-License-Identifier: BSD-3-Clause
#
# A tree is (kind, value): kind is the type byte as text, value is None for a null, a list of trees for aggregates (maps are flat), bytes for
# everything else. Numbers stay text: 1 and 01, 3 and 3.0 are different replies.
import socket

AGGREGATES = b"*~>%|"


def encode(args):
    return b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(arg), arg) for arg in args)


class Reader:
    """Reads whole replies; `raw` of the last one is what came over the wire."""

    def __init__(self, sock):
        self.sock, self.buffer, self.at = sock, bytearray(), 0

    def more(self):
        got = self.sock.recv(262144)
        if not got:
            raise ConnectionError("the server closed the connection")
        self.buffer += got

    def line(self):
        end = self.buffer.find(b"\r\n", self.at)
        while end < 0:
            self.more()
            end = self.buffer.find(b"\r\n", self.at)
        text = bytes(self.buffer[self.at : end])
        self.at = end + 2
        return text

    def blob(self, size):
        while len(self.buffer) < self.at + size + 2:
            self.more()
        data = bytes(self.buffer[self.at : self.at + size])
        if self.buffer[self.at + size : self.at + size + 2] != b"\r\n":
            raise ConnectionError("a bulk reply does not end with CRLF")
        self.at += size + 2
        return data

    @staticmethod
    def number(text):
        if text != b"%d" % int(text):
            raise ConnectionError(f"a length is written {text!r}")
        return int(text)

    def tree(self):
        line = self.line()
        kind, rest = line[:1] or b" ", line[1:]
        name = kind.decode("latin-1")
        if kind in b"+-:,#(":
            return (name, rest)
        if kind == b"_":
            return (name, None)
        if kind in b"$=!":
            size = self.number(rest)
            return (name, None if size < 0 else self.blob(size))
        if kind in AGGREGATES:
            count = self.number(rest)
            if count < 0:
                return (name, None)
            return (name, [self.tree() for _ in range(count * (2 if name in "%|" else 1))])
        raise ConnectionError(f"no reply starts like {line[:60]!r}")

    def reply(self):
        """(raw bytes, tree)."""
        if self.at > 1 << 20:
            del self.buffer[: self.at]
            self.at = 0
        start = self.at
        tree = self.tree()
        return bytes(self.buffer[start : self.at]), tree


class Connection:
    """Pipelines; strict about the number of replies. The sender does not wait for replies, so batches stay small enough for socket buffers."""

    def __init__(self, port, resp=2, timeout=15):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.sock)
        if resp == 3:
            self.call(b"HELLO", b"3")

    def close(self):
        self.sock.close()

    def send(self, commands):
        self.sock.sendall(b"".join(encode(args) for args in commands))

    def receive(self, count):
        return [self.reader.reply() for _ in range(count)]

    def call(self, *args):
        self.send([[arg if isinstance(arg, bytes) else str(arg).encode() for arg in args]])
        return self.reader.reply()[1]


def show(tree, depth=0):
    """One line for people."""
    kind, value = tree
    if value is None:
        return "nil" + kind
    if isinstance(value, list):
        inside = ", ".join(show(item, depth + 1) for item in value[:40]) + (", ..." if len(value) > 40 else "")
        return f"{kind}{len(value)}[{inside}]"
    text = ascii(value[:120])[1:]
    return kind + text + (f"...({len(value)})" if len(value) > 120 else "")
