"""HTTP/1.1 messages as they are on the wire, read strictly: what is not exactly right fails the test."""
import random
import re

FIELD = re.compile(rb"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$")


class Head:
    """A start line and its fields, in order, and the bytes that they came in."""

    def __init__(self, raw):
        assert raw.endswith(b"\r\n\r\n"), f"a head without its end: {raw!r}"
        lines = raw[:-4].split(b"\r\n")
        self.raw = raw
        self.line = lines[0].decode("latin-1")
        self.fields = []
        for line in lines[1:]:
            match = FIELD.match(line)
            assert match and b"\r" not in line and b"\n" not in line, f"not a field: {line!r} in {raw!r}"
            self.fields.append((match[1].decode("latin-1"), match[2].decode("latin-1")))

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name):
        """The one value of a field, None without it; a field that is there twice fails."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} is there {len(values)} times: {self.raw!r}"
        return values[0] if values else None

    def has_token(self, name, token):
        tokens = ",".join(self.all(name)).split(",")
        return token.lower() in (t.strip().lower() for t in tokens)

    @property
    def method(self):
        return self.line.split(" ")[0]

    @property
    def target(self):
        return self.line.split(" ")[1]

    @property
    def status(self):
        match = re.match(r"^HTTP/1\.[01] (\d{3}) ", self.line)
        assert match, f"not a status line: {self.line!r}"
        return int(match[1])

    def is_response(self):
        return self.line.startswith("HTTP/")


class Message:
    """A head and the body that followed it. `framing` is "none", "length", "chunked" or "close"."""

    def __init__(self, head, framing, body):
        self.head, self.framing, self.body = head, framing, body

    @property
    def status(self):
        return self.head.status

    def __repr__(self):
        return f"<{self.head.line!r} {self.framing} {len(self.body)} bytes>"


def framing_of(head, method="GET"):
    """How the body's end is found (RFC 9112, 6.3); a message in doubt fails."""
    length, coding = head.get("Content-Length"), head.get("Transfer-Encoding")
    assert length is None or coding is None, f"two framings: {head.raw!r}"
    if head.is_response() and (method == "HEAD" or head.status < 200 or head.status in (204, 304)):
        return "none"
    if coding is not None:
        assert coding.lower() == "chunked", f"coding {coding!r}"
        return "chunked"
    if length is not None:
        assert length.isdigit(), f"Content-Length {length!r}"
        return "length"
    return "close" if head.is_response() else "none"


def request(method, target, *fields, body=b"", host="www.example.org"):
    """A request; with a body it gets its Content-Length."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(target="/", *fields):
    return request("GET", target, *fields)


def noise(size):
    """Bytes that hide no fault: no two pieces of them are alike, and each run makes the same ones."""
    block = random.Random(size).randbytes(min(size, 1000003))
    return (block * (size // len(block) + 1))[:size] if block else b""


def chunked(body, size=4096, extension=b"", trailers=b""):
    """The body in chunks of `size` bytes."""
    pieces = [b"%x%s\r\n%s\r\n" % (len(body[i:i + size]), extension, body[i:i + size])
              for i in range(0, len(body), size)]
    return b"".join(pieces) + b"0\r\n" + trailers + b"\r\n"
