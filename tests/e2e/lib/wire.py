"""Exact bytes over a socket: every step has a deadline, every surprise fails with what was seen."""
import select
import socket
import struct
import time
import zlib

from .halb import DEADLINE
from .message import Head, Message, framing_of
from .wait import wait_until

READ_MAX = 1 << 18


class Wire:
    """One side of a connection, played by the test."""

    def __init__(self, sock, deadline=DEADLINE):
        self.sock = sock
        self.deadline = deadline
        self.unread = b""       # received, not yet asked for
        sock.settimeout(deadline)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def peer(self):
        """The other end's address, without its port."""
        return self.sock.getpeername()[0]

    # sending

    def send(self, data):
        self.sock.sendall(data)

    def send_until_closed(self, data):
        """Sends what goes; the other side may stop us. Returns whether all went."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def trickle(self, data):
        """Sends byte after byte; each has been read alone by the other side before the next one goes."""
        for i in range(len(data)):
            self.send(data[i:i + 1])
            self.wait_read()

    def wait_read(self):
        """Until the other side, on this machine, has read all that it was sent."""
        wait_until(lambda: _queued_at_peer(self.sock) == 0, self.deadline, "the other side reads what was sent",
                   pause=0.0002)

    def fill(self, quiet=0.3):
        """Sends zeros until nothing has gone for `quiet` seconds: the other side has stopped reading. Returns how many."""
        sent, block = 0, bytes(1 << 16)
        self.sock.setblocking(False)
        while select.select([], [self.sock], [], quiet)[1]:
            sent += self.sock.send(block)
        self.sock.settimeout(self.deadline)
        return sent

    def finish(self):
        """No more bytes from here (FIN); the other direction goes on."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Ends the connection by RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def abort(self):
        """Ends the connection though another thread may be at work with it, and wakes that one; by RST when it closes."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.sock.close()

    # receiving

    def read_some(self):
        """At least one byte; b"" at the end."""
        if self.unread:
            data, self.unread = self.unread, b""
            return data
        return self.sock.recv(READ_MAX)

    def read_exactly(self, count):
        pieces, have = [], 0
        while have < count:
            data = self.read_some()
            assert data, f"the end after {have} of {count} bytes: {b''.join(pieces)[:2000]!r}"
            pieces.append(data)
            have += len(data)
        data = b"".join(pieces)
        self.unread = data[count:] + self.unread
        return data[:count]

    def read_until(self, mark):
        data = b""
        while mark not in data:
            more = self.read_some()
            assert more, f"the end before {mark!r}: {data[:2000]!r}"
            data += more
        cut = data.index(mark) + len(mark)
        self.unread = data[cut:] + self.unread
        return data[:cut]

    def read_to_end(self):
        """All that comes until the other side has finished (FIN)."""
        pieces = []
        while data := self.read_some():
            pieces.append(data)
        return b"".join(pieces)

    def read_to_any_end(self):
        """All that comes until FIN or RST, and which of them: (bytes, "fin" or "rst")."""
        pieces = []
        try:
            while data := self.read_some():
                pieces.append(data)
        except ConnectionResetError:
            return b"".join(pieces), "rst"
        return b"".join(pieces), "fin"

    def read_checksum(self, count):
        """The CRC-32 of the next `count` bytes, which are not kept."""
        crc = 0
        while count > 0:
            data = self.read_some()
            assert data, f"the end, {count} bytes before it was due"
            if len(data) > count:
                data, self.unread = data[:count], data[count:]
            crc = zlib.crc32(data, crc)
            count -= len(data)
        return crc

    def expect_end(self):
        """Nothing more, and FIN."""
        assert self.read_to_end() == b""

    def expect_reset(self):
        """Nothing more, and RST."""
        assert self.read_to_any_end() == (b"", "rst")

    def expect_closed(self):
        """Nothing more; FIN or RST."""
        data, _ = self.read_to_any_end()
        assert data == b"", f"bytes before the close: {data[:2000]!r}"

    def closed(self):
        """Whether the other side has closed by now; takes nothing from the wire."""
        readable, _, _ = select.select([self.sock], [], [], 0)
        if not readable:
            return False
        try:
            return self.sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except ConnectionResetError:
            return True

    def silent(self, seconds):
        """Whether nothing at all comes for a while: for rules about what must not happen."""
        return not self.unread and not select.select([self.sock], [], [], seconds)[0]

    # HTTP

    def read_head(self):
        return Head(self.read_until(b"\r\n\r\n"))

    def read_chunks(self):
        """A chunked body, without trailers or extensions: nobody behind us sends those on."""
        body = []
        while True:
            line = self.read_until(b"\r\n")[:-2]
            size = int(line, 16)
            data = self.read_exactly(size + 2)
            assert data.endswith(b"\r\n"), f"a chunk of {size} bytes without its line end: {data[-20:]!r}"
            if size == 0:
                return b"".join(body)
            body.append(data[:-2])

    def read_message(self, method="GET"):
        """A whole request, or the whole answer to `method`."""
        head = self.read_head()
        framing = framing_of(head, method)
        if framing == "length":
            body = self.read_exactly(int(head.get("Content-Length")))
        elif framing == "chunked":
            body = self.read_chunks()
        else:
            body = self.read_to_end() if framing == "close" else b""
        return Message(head, framing, body)

    def ask(self, request, method=None):
        """Sends a request and returns its answer."""
        self.send(request)
        return self.read_message(method or request.split(b" ", 1)[0].decode())


def _queued_at_peer(sock):
    """How many bytes lie unread in the socket at the other end of this loopback connection; none if it is gone."""
    try:
        local, remote = _hex_address(sock.getsockname()), _hex_address(sock.getpeername())
    except OSError:
        return 0
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            fields = line.split()
            if fields[1] == remote and fields[2] == local:
                return int(fields[4].split(":")[1], 16)
    return 0


def _hex_address(name):
    return f"{int.from_bytes(socket.inet_aton(name[0]), 'little'):08X}:{name[1]:04X}"


def connect(address, port, source=None, deadline=DEADLINE, receive_buffer=None):
    """A client's connection. A small receive buffer makes a slow reader felt at once."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(deadline)
    if source is not None:
        sock.bind((source, 0))
    sock.connect((address, port))
    return Wire(sock, deadline)


def time_of(function):
    """How long it took, in seconds, and what it returned."""
    start = time.monotonic()
    value = function()
    return time.monotonic() - start, value
