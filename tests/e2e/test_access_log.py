"""The access log: its lines to the field, and that nothing about its files stops or costs a request."""
import calendar
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from lib import DEADLINE, background, chunked, get, let_pass, reply, request, wait_until

LINE = re.compile(r'^(?P<at>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(?P<micro>\d{6})Z (?P<elb>\S+) (?P<client>\S+) (?P<backend>\S+) '
                  r'(?P<request_time>-1|\d+\.\d{6}) (?P<backend_time>-1|\d+\.\d{6}) (?P<response_time>-1|\d+\.\d{6}) '
                  r'(?P<elb_status>-|\d+) (?P<backend_status>-|\d+) (?P<received>\d+) (?P<sent>\d+) '
                  r'"(?P<request>[^"]*)" "(?P<user_agent>[^"]*)" (?P<cipher>\S+) (?P<protocol>\S+)$')
TIMES = ("request_time", "backend_time", "response_time")
JSON_KEYS = ["timestamp", "elb", "client", "backend", "request_processing_time", "backend_processing_time", "response_processing_time",
             "elb_status_code", "backend_status_code", "received_bytes", "sent_bytes", "request", "user_agent", "ssl_cipher", "ssl_protocol",
             "port", "why"]


class Log:
    """An access log's file."""

    def __init__(self, path):
        self.path = path

    def settings(self, **more):
        return {"access_log": {"enabled": True, "path": str(self.path), **more}}

    def raw(self):
        return self.path.read_bytes() if self.path.exists() else b""

    def wait(self, count):
        """Its lines, when there are so many; more is as wrong as fewer."""
        def enough():
            lines = self.raw().split(b"\n")
            return lines if len(lines) > count else None
        *lines, rest = wait_until(enough, DEADLINE, f"{count} lines in {self.path.name}")
        assert (len(lines), rest) == (count, b"")
        return [line.decode("ascii") for line in lines]

    def entries(self, count):
        """Its lines by field."""
        found = []
        for line in self.wait(count):
            match = LINE.match(line)
            assert match, line
            found.append(match.groupdict())
        return found

    def entry(self):
        return self.entries(1)[0]


@pytest.fixture
def log(place):
    return Log(place.folder / "access.log")


@pytest.fixture
def web(place):
    return place.instance()


@pytest.fixture
def balancer(place, log, web):
    """A balancer with a log over one instance that the test plays; started."""
    made = place.balancer([web], **log.settings())
    place.start()
    return made


def name_of(wire):
    """The client's end as the log writes it."""
    return "%s:%d" % wire.sock.getsockname()


def at(entry):
    """Its timestamp, in seconds."""
    return calendar.timegm(time.strptime(entry["at"], "%Y-%m-%dT%H:%M:%S")) + int(entry["micro"]) / 1e6


def picked(entry, *names):
    return tuple(entry[name] for name in names)


def happened(entry):
    """Which of the three times did: as a string of digits and dashes."""
    return "".join("-" if entry[name] == "-1" else "+" for name in TIMES)


def url(balancer, path="/", host="www.example.org"):
    return f"http://{host}:{balancer.port}{path}"


# HTTP

def test_every_field(balancer, web, log):
    """A request that an instance answered, field by field."""
    before = time.time()
    with balancer.connect() as client:
        client.send(get("/index.html?a=b", "User-Agent: test/1.0 (x)"))
        back, _ = web.take()
        back.send(reply(b"x" * 612))
        client.read_message()
        name = name_of(client)
    entry = log.entry()
    assert before - 0.001 <= at(entry) <= time.time()
    assert picked(entry, "elb", "client", "backend") == (balancer.name, name, f"{web.address}:{web.port}")
    assert all(0 <= float(entry[each]) < DEADLINE for each in TIMES)
    assert picked(entry, "elb_status", "backend_status", "received", "sent") == ("200", "200", "0", "612")
    assert entry["request"] == f"GET {url(balancer, '/index.html?a=b')} HTTP/1.1"
    assert picked(entry, "user_agent", "cipher", "protocol") == ("test/1.0 (x)", "-", "-")


def test_how_long_the_instance_took(balancer, web, log):
    """The time between request and answer is the instance's."""
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        let_pass(0.3)
        back.send(reply())
        client.read_message()
    entry = log.entry()
    assert 0.3 <= float(entry["backend_time"]) < DEADLINE
    assert float(entry["request_time"]) + float(entry["response_time"]) < 0.3


def test_how_long_the_head_of_the_answer_took(balancer, web, log):
    """The instance's time ends with the first byte of its answer's head."""
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 200 OK\r\nContent-")
        let_pass(0.5)
        back.send(b"Length: 0\r\n\r\n")
        assert client.read_message().status == 200
    entry = log.entry()
    assert float(entry["backend_time"]) < 0.4
    assert entry["response_time"] == "0.000000"


def test_an_interim_answer_is_none(balancer, web, log):
    """103 does not end the instance's time, and is not what it answered."""
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        assert client.read_head().status == 103
        let_pass(0.3)
        back.send(reply(b"", "204 No Content"))
        assert client.read_head().status == 204
    entry = log.entry()
    assert 0.3 <= float(entry["backend_time"]) < DEADLINE
    assert picked(entry, "elb_status", "backend_status") == ("204", "204")


def test_head_in_pieces(balancer, web, log):
    """A request is received from the first byte of its head on."""
    web.serve()
    with balancer.connect() as client:
        let_pass(0.3)
        before = time.time()
        client.send(b"GET / HTTP/1.1\r\nHo")
        let_pass(0.5)
        assert client.ask(b"st: a\r\n\r\n").status == 200
    entry = log.entry()
    assert before - 0.001 <= at(entry) < before + 0.4
    assert 0.5 <= float(entry["request_time"]) < DEADLINE


def test_not_found(balancer, web, log):
    """Both codes are the instance's."""
    web.serve(lambda _: reply(b"nope", "404 Not Found"))
    balancer.ask(get("/none"))
    entry = log.entry()
    assert picked(entry, "elb_status", "backend_status", "sent") == ("404", "404", "4")
    assert happened(entry) == "+++"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_bytes_of_bodies(balancer, web, log, framing):
    """Bodies alone are counted, without heads and without what frames chunks."""
    body, answer = b"u" * 70001, b"d" * 90003
    if framing == "length":
        asked, said = request("POST", "/", body=body), reply(answer)
    else:
        asked = request("POST", "/", "Transfer-Encoding: chunked") + chunked(body, 1000)
        said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(answer, 900)
    web.serve(lambda _: said)
    assert balancer.ask(asked).body == answer
    entry = log.entry()
    assert picked(entry, "received", "sent") == (str(len(body)), str(len(answer)))
    assert entry["request"] == f"POST {url(balancer)} HTTP/1.1"


def test_head(balancer, web, log):
    """An answer without a body has sent none, whatever its Content-Length says."""
    web.serve(lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
    balancer.ask(request("HEAD", "/"))
    assert picked(log.entry(), "elb_status", "received", "sent") == ("200", "0", "0")


def test_kept_alive(balancer, web, log):
    """A line for each request of a connection, in order, each with its own bytes."""
    web.serve(lambda asked: reply(asked.body * 2))
    with balancer.connect() as client:
        for i in range(5):
            client.ask(request("PUT", f"/{i}", body=b"b" * (i + 1)))
        name = name_of(client)
        entries = log.entries(5)
    assert [picked(e, "client", "received", "sent") for e in entries] == [(name, str(i + 1), str(2 * i + 2)) for i in range(5)]
    assert [e["request"] for e in entries] == [f"PUT {url(balancer, f'/{i}')} HTTP/1.1" for i in range(5)]


def test_pipelined(balancer, web, log):
    """Requests that came together have each their line."""
    web.serve()
    with balancer.connect() as client:
        client.send(b"".join(get(f"/{i}") for i in range(4)))
        for _ in range(4):
            assert client.read_message().status == 200
    assert [e["request"].split()[1] for e in log.entries(4)] == [url(balancer, f"/{i}") for i in range(4)]


def test_no_instance(place, web, log):
    """503 made here: no instance, no times."""
    balancer = place.balancer([web], **log.settings())
    halb = place.start()
    assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
    assert balancer.ask(get("/x")).status == 503
    entry = log.entry()
    assert picked(entry, "backend", *TIMES, "elb_status", "backend_status", "received", "sent") == ("-", "-1", "-1", "-1", "503", "0", "0", "0")
    assert entry["request"] == f"GET {url(balancer, '/x')} HTTP/1.1"


def test_body_that_no_instance_got(place, web, log):
    """What came of the request's body was received, whoever it was for."""
    balancer = place.balancer([web], **log.settings())
    halb = place.start()
    assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
    assert balancer.ask(request("POST", "/x", body=b"four")).status == 503
    assert picked(log.entry(), "backend", "elb_status", "received", "sent") == ("-", "503", "4", "0")


def test_own_body_is_sent(place, web, log):
    """The body of an answer made here is counted."""
    (place.folder / "sorry.html").write_text("sorry!")
    balancer = place.balancer([web], error_responses=[{"status": 503, "file": str(place.folder / "sorry.html")}], **log.settings())
    halb = place.start()
    assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
    assert balancer.ask(get()).body == b"sorry!"
    assert balancer.ask(request("HEAD", "/")).status == 503
    assert [picked(e, "elb_status", "sent") for e in log.entries(2)] == [("503", "6"), ("503", "0")]


def test_connection_refused(balancer, web, log):
    """An instance that took no request is not in the line, and nothing was sent."""
    web.refuse()
    status = balancer.ask(get()).status
    assert status >= 500
    entry = log.entry()
    assert picked(entry, "backend", *TIMES, "elb_status", "backend_status") == ("-", "-1", "-1", "-1", str(status), "0")


def test_instance_says_nothing(balancer, web, log):
    """An instance that closes without an answer: the request went out, nothing came."""
    client = balancer.connect()
    client.send(request("POST", "/", body=b"once"))
    back, _ = web.take()
    back.close()
    assert client.read_message().status == 502
    client.close()
    entry = log.entry()
    assert picked(entry, "backend", "elb_status", "backend_status", "received") == ("-", "502", "0", "4")
    assert happened(entry) == "+--"


def test_instance_is_silent(place, web, log):
    """504: it got the request and no time more."""
    balancer = place.balancer([web], idle_timeout="1s", retries=0, **log.settings())
    place.start()
    with balancer.connect() as client:
        client.send(get())
        web.take()
        assert client.read_message().status == 504
    entry = log.entry()
    assert picked(entry, "backend", "elb_status", "backend_status", "received", "sent") == ("-", "504", "0", "0", "0")
    assert happened(entry) == "+--"


def test_answer_that_is_none(balancer, web, log):
    """502 for what is no answer: the instance has given none."""
    web.serve(lambda _: b"hello\r\n\r\n")
    assert balancer.ask(get()).status == 502
    entry = log.entry()
    assert picked(entry, "backend", "elb_status", "backend_status", "sent") == ("-", "502", "0", "0")
    assert happened(entry) == "+--"


def test_answer_that_breaks_off(balancer, web, log):
    """The codes are the instance's, and what came of the body was sent."""
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")
        client.read_until(b"four")
        back.close()
        client.expect_closed()
    entry = log.entry()
    assert picked(entry, "backend", "elb_status", "backend_status", "sent") == (f"{web.address}:{web.port}", "200", "200", "4")
    assert happened(entry) == "+++"


def test_client_that_does_not_read(place, web, log):
    """What the client's connection never took was not sent."""
    size = 16 << 20
    balancer = place.balancer([web], idle_timeout="1s", **log.settings())
    place.start()
    web.serve_wires(lambda wire: (wire.read_head(), wire.send_until_closed(reply(bytes(size)))))
    with balancer.connect(receive_buffer=4096) as client:
        client.send(get())
        entry = log.entry()
        client.read_until(b"\r\n\r\n")
        took = len(client.read_to_end())
    assert picked(entry, "elb_status", "backend_status", "sent") == ("200", "200", str(took))


def test_malformed_request(balancer, web, log):
    """What is no request has no method, URL or agent."""
    with balancer.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: x\r\nA: b\rc\r\n\r\n")
        assert client.read_message().status == 400
    entry = log.entry()
    assert picked(entry, "backend", *TIMES, "elb_status", "backend_status", "received", "sent") == ("-", "-1", "-1", "-1", "400", "0", "0", "0")
    assert picked(entry, "request", "user_agent") == ("- - - ", "-")
    assert web.untouched()


def test_head_that_does_not_end(place, web, log):
    """408: the head was too slow; it was received when it began."""
    balancer = place.balancer([web], request_header_timeout="1s", **log.settings())
    place.start()
    with balancer.connect() as client:
        before = time.time()
        client.send(b"GET / HTTP/1.1\r\nHost")
        assert client.read_message().status == 408
        assert time.time() - before > 0.9
    entry = log.entry()
    assert before - 0.001 <= at(entry) < before + 0.9
    assert picked(entry, "backend", *TIMES, "elb_status", "backend_status") == ("-", "-1", "-1", "-1", "408", "0")
    assert entry["request"] == "- - - "


def test_body_that_does_not_end(place, web, log):
    """408 for a body that stopped: the request is known, and how much came."""
    balancer = place.balancer([web], request_body_timeout="1s", **log.settings())
    place.start()
    with balancer.connect() as client:
        client.send(b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfour")
        assert client.read_message().status == 408
    entry = log.entry()
    assert picked(entry, "backend", "elb_status", "backend_status", "received") == ("-", "408", "0", "4")
    assert entry["request"] == f"POST {url(balancer, '/b', 'a')} HTTP/1.1"


def test_client_left(balancer, web, log):
    """A client that did not wait for its answer: 408, as ELB writes it, and none from the instance."""
    client = balancer.connect()
    client.send(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nfour")
    back = web.accept()
    back.read_until(b"four")
    client.reset()
    entry = log.entry()
    assert picked(entry, "backend", "elb_status", "backend_status", "received", "sent") == ("-", "408", "0", "4", "0")
    assert happened(entry) == "+--"
    assert entry["request"] == f"POST {url(balancer, '/up', 'a')} HTTP/1.1"


@pytest.mark.parametrize("end", ["fin", "reset"])
def test_client_left_before_the_answer(balancer, web, log, end):
    """The same for a request that was whole. A client that only finished may still read: the answer is awaited."""
    client = balancer.connect()
    client.send(get("/gone"))
    back, _ = web.take()
    if end == "fin":
        client.finish()
        back.send(reply(b"12345"))
        assert client.read_message().status == 200
    else:
        client.reset()
    entry = log.entry()
    expected = ("200", "200", "5") if end == "fin" else ("408", "0", "0")
    assert picked(entry, "elb_status", "backend_status", "sent") == expected
    assert happened(entry) == ("+++" if end == "fin" else "+--")
    assert entry["request"] == f"GET {url(balancer, '/gone')} HTTP/1.1"


def test_client_left_in_the_answer(balancer, web, log):
    """The codes that it was told, and what it was sent."""
    client = balancer.connect()
    client.send(get())
    back, _ = web.take()
    back.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nfour")
    client.read_until(b"four")
    client.reset()
    entry = log.entry()
    assert picked(entry, "backend", "elb_status", "backend_status", "sent") == (f"{web.address}:{web.port}", "200", "200", "4")
    assert happened(entry) == "+++"


def test_method_that_is_refused(balancer, web, log):
    """405: nobody got it."""
    with balancer.connect() as client:
        client.send(b"M" * 128 + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_message().status == 405
    assert picked(log.entry(), "backend", *TIMES, "elb_status", "backend_status", "request") == ("-", "-1", "-1", "-1", "405", "0", "- - - ")


def test_behind_another_balancer(place, web, log):
    """The client is who the PROXY header names, in brackets if that is IPv6."""
    balancer = place.balancer([web.serve()], **log.settings())
    balancer.listeners[0]["proxy_protocol_from"] = ["127.0.0.0/8"]
    place.start()
    for header in (b"PROXY TCP4 192.0.2.10 203.0.113.7 51544 80\r\n", b"PROXY TCP6 2001:db8::7 2001:db8::1 51546 80\r\n"):
        with balancer.connect() as client:
            assert client.ask(header + get(), method="GET").status == 200
    assert [entry["client"] for entry in log.entries(2)] == ["192.0.2.10:51544", "[2001:db8::7]:51546"]


def test_silence_leaves_no_line(balancer, web, log):
    """A connection without a request is none of the log's."""
    web.serve()
    with balancer.connect():
        pass
    balancer.ask(get("/only"))
    assert log.entry()["request"].split()[1] == url(balancer, "/only")


# Host and target as sent, and as they stand in the line.
WRITTEN = {
    "the listener's port": (b"GET /a HTTP/1.1\r\nHost: h:81\r\n\r\n", "GET http://h:{port}/a HTTP/1.1"),
    "IPv6": (b"GET /a HTTP/1.1\r\nHost: [::1]\r\n\r\n", "GET http://[::1]:{port}/a HTTP/1.1"),
    "HTTP/1.0 without Host": (b"GET /a HTTP/1.0\r\n\r\n", "GET http://-:{port}/a HTTP/1.0"),
    "absolute-form": (b"GET http://other/a?b HTTP/1.1\r\nHost: other\r\n\r\n", "GET http://other:{port}/a?b HTTP/1.1"),
    "asterisk-form": (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS http://h:{port}* HTTP/1.1"),
    "a quote and a backslash": (b"GET /a\"b\\c HTTP/1.1\r\nHost: h\r\n\r\n", r"GET http://h:{port}/a\x22b\x5Cc HTTP/1.1"),
    "control characters": (b"GET /a\x1b[2J\x7f HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://h:{port}/a%1B[2J%7F HTTP/1.1"),
    "what is repaired on its way to the instance": (b"GET /a b\tc HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://h:{port}/a%20b%09c HTTP/1.1"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_request_as_written(balancer, web, log, name):
    """The URL is the client's; protocol and port are the listener's; no byte of it can end a field."""
    sent, expected = WRITTEN[name]
    web.serve()
    with balancer.connect() as client:
        assert client.ask(sent).status == 200
    assert log.entry()["request"] == expected.format(port=balancer.port)


@pytest.mark.parametrize("sent, expected", [(b'say "hi" \\o/', r"say \x22hi\x22 \x5Co/"), (b"tab\there", r"tab\x09here"),
                                            (b"\x1b[2J", "-"),
                                            (b"\xc3\xa9\x80", r"\xC3\xA9\x80"), (b"", "-"), (b"a" * 9000, "a" * 8192)])
def test_user_agent(balancer, web, log, sent, expected):
    """Escaped, and cut at 8192 bytes. One with control characters is dropped on its way, here as well."""
    web.serve()
    with balancer.connect() as client:
        assert client.ask(b"GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: " + sent + b"\r\n\r\n").status == 200
    assert log.entry()["user_agent"] == expected


def test_websocket(place, web, log):
    """A tunnel is one line, at its end, with what went through it."""
    balancer = place.balancer([web], upgrade=["websocket"], **log.settings())
    place.start()
    with balancer.connect() as client:
        client.send(get("/ws", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="))
        back, _ = web.take()
        back.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
        assert client.read_head().status == 101
        client.send(b"12345")
        assert back.read_exactly(5) == b"12345"
        back.send(b"123456789")
        assert client.read_exactly(9) == b"123456789"
        assert log.raw() == b""
        back.close()
    entry = log.entry()
    assert picked(entry, "elb_status", "backend_status", "received", "sent") == ("101", "101", "5", "9")
    assert happened(entry) == "+++"


# TCP

@pytest.fixture
def pipe(place, log, web):
    made = place.balancer([web], protocol="TCP", **log.settings())
    place.start()
    return made


@pytest.mark.parametrize("end", ["fin", "reset by the client", "reset by the instance"])
def test_tcp(pipe, web, log, end):
    """One line at the connection's end, however it ends; all bytes count."""
    client = pipe.connect()
    name = name_of(client)
    back = web.accept()
    client.send(b"c" * 88)
    assert back.read_exactly(88)
    back.send(b"s" * 421)
    assert client.read_exactly(421)
    if end == "fin":
        client.finish()
        back.expect_end()
        back.finish()
        client.expect_end()
    else:
        (client if end.endswith("client") else back).reset()
    entry = log.entry()
    assert picked(entry, "elb", "client", "backend") == (pipe.name, name, f"{web.address}:{web.port}")
    assert happened(entry) == "+++"
    assert picked(entry, "elb_status", "backend_status", "received", "sent") == ("-", "-", "88", "421")
    assert picked(entry, "request", "user_agent", "cipher", "protocol") == ("- - - ", "-", "-", "-")


def test_tcp_much(pipe, web, log):
    """Bytes that the kernel moves by itself count as well."""
    size = 8 << 20
    with pipe.connect() as client:
        back = web.accept()
        sending = background(client.send, bytes(size))
        back.read_checksum(size)
        sending.result()
        back.send(b"done")
        assert client.read_exactly(4) == b"done"
        back.close()
    assert picked(log.entry(), "received", "sent") == (str(size), "4")


@pytest.mark.parametrize("size", [0, 1 << 20], ids=["nothing first", "much first"])
def test_tcp_first_byte(pipe, web, log, size):
    """The time until the first byte goes to the instance, however long after the connect; also where the kernel moves the bytes by then."""
    with pipe.connect() as client:
        back = web.accept()
        if size:
            sending = background(back.send, bytes(size))
            client.read_checksum(size)
            sending.result()
        let_pass(0.3)
        before = time.time()
        client.send(b"now")
        assert back.read_exactly(3) == b"now"
        after = time.time()
        let_pass(0.3)
        client.finish()
        back.expect_end()
        back.finish()
        client.expect_end()
    entry = log.entry()
    assert before - 0.001 <= at(entry) + float(entry["request_time"]) <= after + 0.1
    assert float(entry["backend_time"]) < 0.3
    assert picked(entry, "received", "sent") == ("3", str(size))


def test_tcp_only_the_instance_speaks(pipe, web, log):
    """-1 for the request alone."""
    with pipe.connect() as client:
        back = web.accept()
        back.send(b"hello")
        assert client.read_exactly(5) == b"hello"
        back.close()
        client.expect_end()
    entry = log.entry()
    assert happened(entry) == "-++"
    assert picked(entry, "received", "sent") == ("0", "5")


def test_tcp_refused(pipe, web, log):
    """A connection that no instance took: no backend, no times."""
    web.refuse()
    with pipe.connect() as client:
        client.send_until_closed(b"x")
        client.expect_closed()
    assert picked(log.entry(), "backend", *TIMES, "elb_status", "backend_status", "sent") == ("-", "-1", "-1", "-1", "-", "-", "0")


def test_tcp_in_silence(pipe, web, log):
    """-1 for the directions in which nothing went."""
    with pipe.connect():
        web.accept().close()
    entry = log.entry()
    assert picked(entry, "request_time", "response_time", "received", "sent") == ("-1", "-1", "0", "0")
    assert entry["backend"] == f"{web.address}:{web.port}"


def test_tcp_without_an_instance(place, web, log):
    """The connection was taken and closed."""
    balancer = place.balancer([web], protocol="TCP", **log.settings())
    halb = place.start()
    assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
    with balancer.connect() as client:
        client.expect_closed()
    entry = log.entry()
    assert picked(entry, "backend", *TIMES, "elb_status", "backend_status") == ("-", "-1", "-1", "-1", "-", "-")


# JSON

def test_json(place, web, log):
    """The same fields by name, and what did not happen is null."""
    web.serve()
    balancer = place.balancer([web], **log.settings(format="json"))
    halb = place.start()
    with balancer.connect() as client:
        client.ask(b'POST /a"\\ HTTP/1.1\r\nHost: h\r\nUser-Agent: \xc3\xa9"\r\nContent-Length: 3\r\n\r\nabc')
        name = name_of(client)
    served = json.loads(log.wait(1)[0])
    assert list(served) == JSON_KEYS
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", served["timestamp"])
    assert (served["elb"], served["client"], served["backend"]) == (balancer.name, name, f"{web.address}:{web.port}")
    assert all(isinstance(served[key], float) for key in JSON_KEYS[4:7])
    assert [served[key] for key in JSON_KEYS[7:11]] == [200, 200, 3, 5]
    assert served["request"] == f'POST http://h:{balancer.port}/a"\\ HTTP/1.1'
    assert served["user_agent"].encode("latin-1").decode() == 'é"'
    assert [served[key] for key in JSON_KEYS[13:16]] == [None, None, balancer.port]
    assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
    balancer.ask(get())
    refused = json.loads(log.wait(2)[1])
    assert [refused[key] for key in JSON_KEYS[3:9]] == [None, None, None, None, 503, None]
    assert refused["user_agent"] is None


# files

def test_two_balancers_one_path(place, log):
    """Balancers may share a file, and one without a log leaves nothing."""
    made = [place.balancer([place.instance().serve()], **settings) for settings in (log.settings(), log.settings(), {})]
    place.start()
    for each in made:
        each.ask(get())
    assert {entry["elb"] for entry in log.entries(2)} == {made[0].name, made[1].name}


def test_appended(place, web, log):
    """A file that is there goes on; after a restart too."""
    log.path.write_bytes(b"before\n")
    web.serve()
    balancer = place.balancer([web], **log.settings())
    halb = place.start()
    balancer.ask(get())
    log.wait(2)
    halb.stop()
    place.start()
    balancer.ask(get())
    assert log.wait(3)[0] == "before"


def test_nothing_is_lost_at_the_end(place, web, log):
    """Lines that were still queued when it stops are written."""
    web.serve()
    balancer = place.balancer([web], **log.settings())
    halb = place.start()
    for _ in range(50):
        balancer.ask(get())
    halb.stop()
    assert len(log.entries(50)) == 50


def test_reopened(place, web, log):
    """Renamed and then SIGUSR1: what ends after that is in the new file, and the old one stays as it was."""
    web.serve()
    balancer = place.balancer([web], **log.settings())
    halb = place.start()
    balancer.ask(get("/old"))
    log.wait(1)
    old = Log(log.path.with_suffix(".1"))
    log.path.rename(old.path)
    halb.signal(signal.SIGUSR1)
    halb.wait_log("SIGUSR1: access logs reopened")
    balancer.ask(get("/new"))
    assert log.entry()["request"].split()[1] == url(balancer, "/new")
    assert old.entry()["request"].split()[1] == url(balancer, "/old")


def test_reopened_under_load(place, log):
    """Renamed and reopened again and again while requests come over both workers: every request has one whole line."""
    place.process["workers"] = 2
    balancer = place.balancer([place.instance().serve()], **log.settings())
    halb = place.start()
    over, files = [], [log]

    def load(client_number):
        count = 0
        while not over:
            with balancer.connect() as client:
                for _ in range(10):
                    assert client.ask(get(f"/{client_number}/{count}")).status == 200
                    count += 1
        return count
    clients = [background(load, i) for i in range(4)]
    for i in range(1, 6):
        wait_until(lambda: log.raw().count(b"\n") > 20, DEADLINE, "lines in the new file")
        files.append(Log(log.path.with_suffix(f".{i}")))
        log.path.rename(files[-1].path)
        halb.signal(signal.SIGUSR1)
        wait_until(lambda: halb.log().count("access logs reopened") == i, DEADLINE, f"reopening {i}")
    over.append(True)
    asked = {url(balancer, f"/{i}/{n}") for i, client in enumerate(clients) for n in range(client.result())}
    halb.stop()
    seen = [LINE.match(line.decode("ascii"))["request"].split()[1] for each in files for line in each.raw().splitlines()]
    assert len(seen) == len(asked)
    assert set(seen) == asked


def test_cannot_be_reopened(place, web, log):
    """SIGUSR1 when the folder is gone: said, the old file goes on, and so does service."""
    web.serve()
    folder = place.folder / "logs"
    folder.mkdir()
    log.path = folder / "access.log"
    balancer = place.balancer([web], **log.settings())
    halb = place.start()
    moved = place.folder / "moved"
    folder.rename(moved)
    halb.signal(signal.SIGUSR1)
    halb.wait_log(f"{balancer.name}: access log {log.path}: No such file")
    balancer.ask(get())
    Log(moved / "access.log").wait(1)


def test_full_disk(place, web, log):
    """Every write fails: requests are served, and the log says it once, not once a line; how many were lost is told."""
    web.serve()
    balancer = place.balancer([web], access_log={"enabled": True, "path": "/dev/full"})
    well = place.balancer([web], **log.settings())
    halb = place.start()
    assert balancer.ask(get()).status == 200
    halb.wait_log("access log /dev/full: can not be written: No space left on device")
    halb.wait_log("access log: 1 line dropped, 1 since the start")
    for _ in range(200):
        assert balancer.ask(get()).status == 200
    assert well.ask(get()).status == 200
    log.wait(1)
    halb.stop()
    assert halb.log().count("can not be written") == 1
    told = [int(n) for n in re.findall(r"access log: (\d+) lines? dropped", halb.log())]
    assert sum(told) == 201
    assert len(told) <= 3


def test_reader_that_does_not_read(place, web):
    """A pipe that nobody empties holds up nobody."""
    web.serve(lambda _: reply(b"x"))
    path = place.folder / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        balancer = place.balancer([web], access_log={"enabled": True, "path": str(path)})
        halb = place.start()
        with balancer.connect() as client:
            for _ in range(150):
                start = time.monotonic()
                assert client.ask(get("/" + "x" * 1000)).status == 200
                assert time.monotonic() - start < 1
        halb.wait_log(f"access log {path}: can not be written")
        assert balancer.ask(get()).status == 200
    finally:
        os.close(reader)


@pytest.mark.parametrize("path, why", [("missing/access.log", "No such file or directory"), ("", "Is a directory")])
def test_cannot_be_opened(place, web, path, why):
    """No log, no start: exit 3, and the line names the file."""
    path = str(place.folder / path).rstrip("/")
    place.balancer([web], access_log={"enabled": True, "path": path})
    halb = place.start(ready=False)
    halb.judge(halb.wait_exit(), 3)
    assert f"access log {path}: {why}" in halb.log()


def test_a_link_is_not_followed(place, web, log):
    """Who may write into the folder can not make root append elsewhere."""
    (place.folder / "target").write_text("precious\n")
    log.path.symlink_to(place.folder / "target")
    place.balancer([web], **log.settings())
    halb = place.start(ready=False)
    halb.judge(halb.wait_exit(), 3)
    assert (place.folder / "target").read_text() == "precious\n"


def reload(place, halb):
    """Writes the file and has it read again."""
    place.write()
    seen = halb.log().count("configuration reloaded")
    halb.signal(signal.SIGHUP)
    wait_until(lambda: halb.log().count("configuration reloaded") > seen, DEADLINE, "the configuration is reloaded")


def test_on_and_off_by_reload(place, web, log):
    """A reload opens a log, moves it to another file, and ends it."""
    web.serve()
    balancer = place.balancer([web])
    halb = place.start()
    balancer.ask(get("/before"))
    other = Log(place.folder / "other.log")
    for settings, target in ((log.settings(), "/first"), (other.settings(format="json"), "/second"), ({}, "/none")):
        balancer.attributes.clear()
        balancer.attributes.update(settings)
        reload(place, halb)
        balancer.ask(get(target))
    halb.stop()
    assert log.entry()["request"].split()[1] == url(balancer, "/first")
    assert json.loads(other.wait(1)[0])["request"].split()[1] == url(balancer, "/second")


def opened(halb, path):
    """The process's descriptors of a file; others come and go meanwhile."""
    found = []
    for each in Path(f"/proc/{halb.pid}/fd").iterdir():
        try:
            if os.readlink(each) == str(path.resolve()):
                found.append(each.name)
        except FileNotFoundError:
            continue
    return found


@pytest.mark.parametrize("then", ["none", "another"])
def test_taken_away_under_load(place, then):
    """A log that a reload ends gets a line of every request that began under it, then it is closed."""
    log, other = Log(place.folder / "access.log"), Log(place.folder / "other.log")
    place.process["workers"] = 2
    balancer = place.balancer([place.instance().serve()], **log.settings())
    halb = place.start()
    over = []

    def load(number):
        answered, count = [], 0
        while not over:
            with balancer.connect() as client:
                for _ in range(10):
                    assert client.ask(get(f"/{number}/{count}")).status == 200
                    answered.append((time.monotonic(), f"/{number}/{count}"))
                    count += 1
        return answered
    clients = [background(load, i) for i in range(4)]
    wait_until(lambda: log.raw().count(b"\n") > 100, DEADLINE, "lines")
    balancer.attributes.clear()
    balancer.attributes.update(other.settings() if then == "another" else {})
    reloaded_after = time.monotonic()
    reload(place, halb)
    wait_until(lambda: not opened(halb, log.path), DEADLINE, "the file is closed")
    over.append(True)
    answered = [each for client in clients for each in client.result()]
    assert len(opened(halb, other.path)) == (then == "another")
    halb.stop()
    seen = [LINE.match(line.decode("ascii"))["request"].split()[1] for each in (log, other) for line in each.raw().splitlines()]
    assert len(seen) == len(set(seen))
    due = {url(balancer, target) for when, target in answered if then == "another" or when < reloaded_after}
    assert due <= set(seen)
    assert "dropped" not in halb.log()


def test_taken_away_while_a_request_is_under_way(place, web, log):
    """A request that began under the log that a reload ends has its line there; until then the file is open."""
    balancer = place.balancer([web], **log.settings())
    halb = place.start()
    with balancer.connect() as client:
        client.send(get("/late"))
        back, _ = web.take()
        balancer.attributes.clear()
        reload(place, halb)
        assert len(opened(halb, log.path)) == 1
        back.send(reply())
        assert client.read_message().status == 200
        client.send(get("/none"))
        back.read_head()
        back.send(reply())
        assert client.read_message().status == 200
        wait_until(lambda: not opened(halb, log.path), DEADLINE, "the file is closed")
    halb.stop()
    assert log.entry()["request"].split()[1] == url(balancer, "/late")


def test_a_refused_reload_leaves_no_log_open(place, web, log):
    """What a refused reload opened is closed again, and the log in force goes on."""
    web.serve()
    other = Log(place.folder / "other.log")
    balancer = place.balancer([web], **log.settings())
    halb = place.start()
    balancer.attributes["access_log"]["path"] = str(other.path)
    with socket.socket() as stranger:
        stranger.bind((balancer.address, 0))
        stranger.listen()
        balancer.listeners.append({**balancer.listeners[0], "port": stranger.getsockname()[1]})
        place.write()
        halb.signal(signal.SIGHUP)
        halb.wait_log("the configuration before stays in force")
    wait_until(lambda: not opened(halb, other.path), DEADLINE, "the file is closed")
    assert len(opened(halb, log.path)) == 1
    balancer.ask(get("/on"))
    assert log.entry()["request"].split()[1] == url(balancer, "/on")


def test_each_keeps_its_own_when_the_file_is_shuffled(place):
    """Balancers that change places in the file, or get one before them, keep their own logs."""
    logs = [Log(place.folder / f"{name}.log") for name in "abc"]
    made = [place.balancer([place.instance().serve()], **each.settings()) for each in logs]
    place.balancers = made[:2]
    halb = place.start()
    place.balancers = [made[2], made[1], made[0]]
    reload(place, halb)
    halb.wait_in_service({each.name: 1 for each in made})
    for each in made:
        each.ask(get())
    halb.signal(signal.SIGUSR1)
    halb.wait_log("access logs reopened")
    for each, own in zip(made, logs):
        each.ask(get())
        assert [entry["elb"] for entry in own.entries(2)] == [each.name] * 2


@pytest.mark.skipif(os.getuid() != 0, reason="only root opens what its user may not")
def test_opened_by_root(open_place):
    """Started as root, the parent opens and reopens the file where whoever serves could not; only root's group may read it."""
    folder = open_place.folder / "logs"
    folder.mkdir(mode=0o700)
    log = Log(folder / "access.log")
    balancer = open_place.balancer([open_place.instance().serve()], **log.settings())
    halb = open_place.start()
    assert len(halb.children()) == 1
    balancer.ask(get("/old"))
    log.wait(1)
    found = log.path.stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777 & ~0o640) == (0, 0, 0)
    log.path.rename(folder / "access.log.1")
    halb.signal(signal.SIGUSR1)
    halb.wait_log("access logs reopened")
    balancer.ask(get("/new"))
    assert log.entry()["request"].split()[1] == url(balancer, "/new")


def test_a_refused_reload_swaps_no_logs(place):
    """After a reload that failed, SIGUSR1 opens each balancer's own log, whatever order the refused file had."""
    logs = [Log(place.folder / f"{name}.log") for name in "ab"]
    made = [place.balancer([place.instance().serve()], **each.settings()) for each in logs]
    halb = place.start()
    with socket.socket() as stranger:
        stranger.bind((made[0].address, 0))
        stranger.listen()
        made[0].listeners.append({**made[0].listeners[0], "port": stranger.getsockname()[1]})
        place.balancers.reverse()
        place.write()
        halb.signal(signal.SIGHUP)
        halb.wait_log("the configuration before stays in force")
    for each in logs:
        each.path.unlink(missing_ok=True)
    halb.signal(signal.SIGUSR1)
    halb.wait_log("SIGUSR1: access logs reopened")
    for each in made:
        assert each.ask(get("/" + each.name)).status == 200
    for each, written in zip(made, logs):
        assert written.entry()["elb"] == each.name
