"""Plays rows of the tables: a client, halb, and an instance that records every byte it gets."""
import errno
import os
import selectors
import socket
import struct
import threading

from lib import DEADLINE, Head, wait_until
from lib.message import framing_of

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
# After every row its client asks this on the same connection: whoever has found another end of the row's message shows it.
FOLLOW = b"GET /follow HTTP/1.1\r\nHost: follow\r\nConnection: close\r\n\r\n"
FOLLOW_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def forwarded(client, balancer, before=""):
    """The fields that halb adds to every request."""
    return f"X-Forwarded-For: {before}{client}\r\nX-Forwarded-Port: {balancer.port}\r\nX-Forwarded-Proto: http\r\n".encode()


def follow_seen(client, balancer):
    return b"GET /follow HTTP/1.1\r\nHost: follow\r\n" + forwarded(client, balancer) + b"\r\n"


# messages, as bytes


def chunks_end(data, at):
    """Where a chunked body ends, and its payload: (None, payload) if it is not whole. Strict: no extension, no trailer."""
    payload = b""
    while (line_end := data.find(b"\r\n", at)) >= 0:
        line = data[at:line_end]
        size = int(line, 16)
        assert line == b"%x" % size, f"a chunk's size not as halb writes it: {line!r}"
        end = line_end + 2 + size + 2
        if len(data) < end:
            return None, payload + data[line_end + 2:line_end + 2 + size]
        assert data[end - 2:end] == b"\r\n", f"a chunk without its line end: {data[at:end]!r}"
        if size == 0:
            return end, payload
        payload += data[line_end + 2:end - 2]
        at = end
    return None, payload


def message_end(data, method="GET"):
    """The length of the message at the front of data, None if it is not whole."""
    head_end = data.find(b"\r\n\r\n") + 4
    if head_end < 4:
        return None
    head = Head(data[:head_end])
    framing = framing_of(head, method)
    if framing == "chunked":
        return chunks_end(data, head_end)[0]
    end = head_end + (int(head.get("Content-Length")) if framing == "length" else 0)
    return end if len(data) >= end and framing != "close" else None


def one_chunk(data, method="GET"):
    """The messages in data with each chunked body as a single chunk: how payload is spread over chunks is nobody's business."""
    out = b""
    while data and (head_end := data.find(b"\r\n\r\n") + 4) >= 4:
        head = Head(data[:head_end])
        end = message_end(data, method)
        if end is None or framing_of(head, method) != "chunked":
            end = end or len(data)
            out += data[:end]
        else:
            payload = chunks_end(data, head_end)[1]
            out += data[:head_end] + (b"%x\r\n%s\r\n" % (len(payload), payload) if payload else b"") + b"0\r\n\r\n"
        if head.is_response() and head.status >= 200:
            method = "GET"
        data = data[end:]
    return out + data


# the instance


class Record:
    """One request as it came, whole or not, and the connection that it came on."""

    def __init__(self, sock):
        self.sock, self.data = sock, b""


class Recorder:
    """
    Plays the instance: records requests and answers each, by `script` if it is set, else with OK. One thread reads all
    connections, so that settle() can say that what had been sent to us has been recorded.
    """
    SETTLE = b"settle\n"

    def __init__(self, instance):
        instance.refuse()           # its port is ours now
        self._listener = socket.create_server((instance.address, instance.port), backlog=512)
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._listener, selectors.EVENT_READ)
        self._records = {}          # the request that each connection is about to send
        self.seen = []
        self.script = None          # script(socket) answers a request; True: the connection goes on
        threading.Thread(target=self._run, daemon=True).start()

    def settle(self):
        """Until all that was sent to the instance before now is recorded."""
        with socket.create_connection(self._listener.getsockname()[:2], DEADLINE) as sock:
            sock.sendall(self.SETTLE)
            assert sock.recv(1) == b""

    def take(self):
        """What has come since the last call."""
        self.settle()
        taken, self.seen = self.seen, []
        return taken

    def is_open(self, record):
        """Whether the connection that the request came on still is."""
        return record.sock in self._records

    def close(self):
        self._listener.close()

    def _run(self):
        waiting = []                # to be told when nothing is left to read
        while True:
            ready = self._ready.select(0 if waiting else None)
            waiting += filter(None, [self._handle(key.fileobj) for key, _ in ready])
            while waiting and not ready:
                waiting.pop().close()

    def _handle(self, sock):
        """What a readable socket has for us; returns one that is to be told when nothing is left to read."""
        if sock is self._listener:
            self._accept()
            return None
        try:
            data = sock.recv(1 << 18)
        except OSError:
            data = b""
        if data == self.SETTLE:
            self._ready.unregister(sock)
            return sock
        if not data or not self._received(sock, data):
            self._end(sock)
        return None

    def _accept(self):
        try:
            sock, _ = self._listener.accept()
        except OSError:
            self._ready.unregister(self._listener)
            return
        sock.settimeout(DEADLINE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._records[sock] = Record(sock)
        self._ready.register(sock, selectors.EVENT_READ)

    def _end(self, sock):
        self._ready.unregister(sock)
        del self._records[sock]
        sock.close()

    def _received(self, sock, data):
        """Takes what came; whether the connection goes on."""
        record = self._records[sock]
        if not record.data:
            self.seen.append(record)
        record.data += data
        end = message_end(record.data)
        if end is None:
            return True
        rest, record.data = record.data[end:], record.data[:end]
        self._records[sock] = Record(sock)
        try:
            goes_on = self._answer(sock, record)
        except (OSError, AssertionError):       # halb has gone, or reads no more: the client's side tells
            return False
        return goes_on and (not rest or self._received(sock, rest))

    def _answer(self, sock, record):
        if self.script is not None and b" /follow " not in record.data:
            return self.script(sock)
        sock.sendall(OK_HEAD if record.data.startswith(b"HEAD ") else OK)
        return True


# pieces


def diag_request(sock):
    """An inet_diag question about the other end of this IPv4 connection."""
    (local, local_port), (peer, peer_port) = sock.getsockname(), sock.getpeername()
    ident = (struct.pack("!HH", peer_port, local_port) + socket.inet_aton(peer).ljust(16, b"\0") +
             socket.inet_aton(local).ljust(16, b"\0") + struct.pack("=III", 0, 0xffffffff, 0xffffffff))
    body = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xffffffff) + ident
    return struct.pack("=IHHII", 16 + len(body), 20, 1, 0, 0) + body


class Pieces:
    """Sends pieces so that each is read alone. Asks the kernel by netlink: /proc takes long for thousands of questions."""
    INET_DIAG, FOUND = 4, 20
    ANSWER = struct.Struct("=4xH10x56xI")       # netlink's type of answer; inet_diag_msg's unread bytes
    FAILURE = struct.Struct("=4xH10xi")

    def __init__(self):
        self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self.INET_DIAG)

    def unread(self, question):
        """Bytes that the other end has not read; none if it is gone."""
        self._netlink.send(question)
        answer = self._netlink.recv(8192)
        kind, failure = self.FAILURE.unpack_from(answer)
        if kind != self.FOUND:
            assert failure == -errno.ENOENT, f"inet_diag: {os.strerror(-failure)}"
            return 0
        return self.ANSWER.unpack_from(answer)[1]

    def send(self, wire, pieces):
        question = diag_request(wire.sock)
        for piece in pieces:
            if not wire.send_until_closed(piece):
                return
            wait_until(lambda: self.unread(question) == 0, wire.deadline, "halb reads the piece", pause=0.0001)

    def close(self):
        self._netlink.close()


def halves(data):
    """Cut in two at every position."""
    return [(data[:i], data[i:]) for i in range(1, len(data))]


def single_bytes(data):
    return [data[i:i + 1] for i in range(len(data))]


def head_and_rest(data):
    at = data.index(b"\r\n\r\n") + 4
    return [data[:at], data[at:]]


# What is decided by the bytes may not depend on how they came.
CUTS = {"at once": lambda data: [data], "head and rest": head_and_rest, "byte by byte": single_bytes}
