"""Requests that others might read otherwise: which mode lets which class pass, and the bytes that an instance sees then."""
import pytest
from lib import get, reply

BAD_REQUEST = b"HTTP/1.1 400 BAD_REQUEST\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CLASSES = ["compliant", "acceptable", "ambiguous", "severe"]
PASSES = {"monitor": CLASSES, "defensive": CLASSES[:3], "strictest": CLASSES[:1]}
MODES = list(PASSES)

CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"


def fields(*lines, start="POST / HTTP/1.1"):
    return "\r\n".join([start, "Host: a", *lines]).encode("latin-1") + b"\r\n\r\n"


def line(text):
    return text.encode("latin-1") + b"\r\nHost: a\r\n\r\n"


# ELB's reason and what is special: its class, the request, and what the instance sees: its first line, fields beside Host
# and X-Forwarded-*, and body.
REQUESTS = {
    "a usual request": ("compliant", line("GET / HTTP/1.1"), "GET / HTTP/1.1", [], b""),
    "an empty value (RFC 9110 5.5)": ("compliant", fields("A:"), "POST / HTTP/1.1", ["A: "], b""),
    "SpaceInUri": ("acceptable", line("GET /a b HTTP/1.1"), "GET /a%20b HTTP/1.1", [], b""),
    "SpaceInUri in absolute-form": ("acceptable", line("GET http://a/b c HTTP/1.1"), "GET /b%20c HTTP/1.1", [], b""),
    "NonCompliantVersion": ("acceptable", line("GET / HTTP/1.9"), "GET / HTTP/1.1", [], b""),
    "NonCompliantVersion, a space after it": ("acceptable", line("GET / HTTP/1.1 "), "GET / HTTP/1.1", [], b""),
    "NonCompliantVersion, two before it": ("acceptable", line("GET /  HTTP/1.1"), "GET / HTTP/1.1", [], b""),
    "NonCompliantHeader, its name": ("acceptable", fields("A[]: b", "C: d"), "POST / HTTP/1.1", ["C: d"], b""),
    "NonCompliantHeader, its value": ("acceptable", fields("A: b\x01", "C: d"), "POST / HTTP/1.1", ["C: d"], b""),
    "NonCompliantHeader, a space before the colon": ("acceptable", fields("A : b", "C: d"), "POST / HTTP/1.1", ["C: d"], b""),
    "NonCompliantHeader, a second Host so": ("acceptable", fields("Host : b"), "POST / HTTP/1.1", [], b""),
    "GetHeadZeroContentLength": ("acceptable", fields("Content-Length: 0", start="GET / HTTP/1.1"), "GET / HTTP/1.1", ["Content-Length: 0"], b""),
    "AmbiguousUri": ("ambiguous", line("GET /a\x01\tb\x7f HTTP/1.1"), "GET /a%01%09b%7F HTTP/1.1", [], b""),
    "BothTeClPresent (RFC 9112 6.3)": ("ambiguous", fields("Content-Length: 5", "Transfer-Encoding: chunked") + CHUNKS, "POST / HTTP/1.1",
                                       ["Transfer-Encoding: chunked"], b"abc"),
    "BothTeClPresent, the other way": ("ambiguous", fields("Transfer-Encoding: chunked", "Content-Length: 5") + CHUNKS, "POST / HTTP/1.1",
                                       ["Transfer-Encoding: chunked"], b"abc"),
    "DuplicateContentLength": ("ambiguous", fields("Content-Length: 3", "A: b", "content-length: 3") + b"abc", "POST / HTTP/1.1",
                               ["A: b", "Content-Length: 3"], b"abc"),
    "EmptyHeader (CVE-2023-25725)": ("ambiguous", fields(": b", "C: d"), "POST / HTTP/1.1", ["C: d"], b""),
    "SuspiciousHeader, a space before the colon": ("ambiguous", fields("Content-Length : 36"), "POST / HTTP/1.1", [], b""),
    "SuspiciousHeader, an underscore": ("ambiguous", fields("Transfer_Encoding: chunked"), "POST / HTTP/1.1", [], b""),
    "SuspiciousHeader, a vertical tab": ("ambiguous", fields("Transfer-Encoding\x0b: chunked", "Content-Length: 3") + b"abc", "POST / HTTP/1.1",
                                         ["Content-Length: 3"], b"abc"),
    "SuspiciousHeader, a long s": ("ambiguous", fields("Tran\xc5\xbffer-Encoding: chunked"), "POST / HTTP/1.1", [], b""),
    "UndefinedContentLengthSemantics": ("ambiguous", fields("Content-Length: 3", start="GET / HTTP/1.1") + b"abc", "GET / HTTP/1.1",
                                        ["Content-Length: 3"], b"abc"),
    "UndefinedTransferEncodingSemantics": ("ambiguous", fields("Transfer-Encoding: chunked", start="GET / HTTP/1.1") + CHUNKS, "GET / HTTP/1.1",
                                           ["Transfer-Encoding: chunked"], b"abc"),
    "MultilineHeader (RFC 9112 5.2)": ("ambiguous", fields("A: b", "  c", "\td", "E: f"), "POST / HTTP/1.1", ["A: b c d", "E: f"], b""),
    "MultilineHeader, a length in it": ("ambiguous", fields("A: b", " Content-Length: 36"), "POST / HTTP/1.1", ["A: b Content-Length: 36"], b""),
    "MultilineHeader, before all fields (RFC 9112 2.2)": ("ambiguous", b"POST / HTTP/1.1\r\n Content-Length: 36\r\nHost: a\r\n\r\n",
                                                          "POST / HTTP/1.1", [], b""),
    "MissingHeaderColon": ("ambiguous", fields("Transfer-Encoding chunked", "C: d"), "POST / HTTP/1.1", ["C: d"], b""),
    "the worst of several": ("ambiguous", fields("A[]: b", "Content-Length: 3", "Content-Length: 3", start="PUT /a b HTTP/1.2") + b"abc",
                             "PUT /a%20b HTTP/1.1", ["Content-Length: 3"], b"abc"),
    "BadVersion": ("severe", line("GET / HTTP/2.0"), "GET / HTTP/1.1", [], b""),
}

# Where it ends is in doubt, or whom it is for: no mode lets that pass.
REFUSED = {
    "MissingUri": b"GET  HTTP/1.1\r\nHost: a\r\n\r\n",
    "NonCrLfLineTermination (CVE class: LF)": b"GET / HTTP/1.1\nHost: a\n\n",
    "BadHeader, CR": fields("A: b\rc"),
    "BadHeader, NUL": fields("A: b\x00c"),
    "BadUri, NUL": line("GET /\x00 HTTP/1.1"),
    "BadUri, CR": line("GET /\ra HTTP/1.1"),
    "BadMethod": line("G(T / HTTP/1.1"),
    "BadVersion, two digits": line("GET / HTTP/1.10"),
    "NonCompliantVersion: HTTP/0.9": b"GET /\r\n",
    "BadContentLength": fields("Content-Length: +3") + b"abc",
    "BadContentLength, a control byte": fields("Content-Length: 3\x0b") + b"abc",
    "MultipleContentLength": fields("Content-Length: 3", "Content-Length: 4") + b"abc",
    "MultipleContentLength beside chunked": fields("Content-Length: 3", "Content-Length: 4", "Transfer-Encoding: chunked") + CHUNKS,
    "BadTransferEncoding": fields("Transfer-Encoding: xchunked") + CHUNKS,
    "MultipleTransferEncodingChunked": fields("Transfer-Encoding: chunked, chunked") + CHUNKS,
    "UndefinedTransferEncodingSemantics in HTTP/1.0": fields("Transfer-Encoding: chunked", start="POST / HTTP/1.0") + CHUNKS,
    "MultilineHeader of a length": fields("Content-Length: 3", " 3") + b"abc",
    "MultilineHeader of Host": line("GET / HTTP/1.1")[:-2] + b" b\r\n\r\n",
    "no Host but one with a space before the colon": b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
    "an authority with a space": line("GET http://a b/ HTTP/1.1"),
}


@pytest.fixture(scope="module")
def modes(shared_place):
    """mode: (a balancer in it, its instance)"""
    made = {}
    for mode in MODES:
        web = shared_place.instance()
        made[mode] = shared_place.balancer([web], desync_mitigation_mode=mode), web
    shared_place.start()
    return made


FRAMING = ("Content-Length: ", "Transfer-Encoding: ")


def forwarded(balancer, first_line, lines):
    """The head that the instance sees, byte for byte: framing is the last that it says, and says it once."""
    return "\r\n".join([first_line, "Host: a", *(text for text in lines if not text.startswith(FRAMING)),
                        "X-Forwarded-For: 127.0.0.1", f"X-Forwarded-Port: {balancer.port}", "X-Forwarded-Proto: http",
                        *(text for text in lines if text.startswith(FRAMING)), "", ""]).encode()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REQUESTS)
def test_mode(modes, mode, name):
    """A mode refuses a class with 400 and the end, or the instance gets the request repaired; ambiguous: then both sides close."""
    balancer, web = modes[mode]
    kind, request, first_line, lines, body = REQUESTS[name]
    closes = CLASSES.index(kind) >= CLASSES.index("ambiguous")
    with balancer.connect() as client:
        if kind not in PASSES[mode]:
            client.send_until_closed(request + SMUGGLED)
            assert client.read_to_any_end()[0] == BAD_REQUEST
            assert web.untouched()
            return
        client.send(request + (SMUGGLED if closes else b""))
        with web.accept() as back:
            asked = back.read_message()
            assert (asked.head.raw, asked.body) == (forwarded(balancer, first_line, lines), body)
            back.send(reply(b"ok"))
            answer = client.read_message()
            assert (answer.status, answer.body) == (200, b"ok")
            assert answer.head.has_token("Connection", "close" if closes else "keep-alive")
            if closes:
                back.expect_closed()
                client.expect_closed()
            else:
                client.send(get("/after"))
                assert back.read_message().head.target == "/after"
                back.send(reply(b"ok", fields=["Connection: close"]))
                assert client.read_message().status == 200
    assert web.untouched()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_every_mode(modes, mode, name):
    """Where a request ends must be certain: 400 and the end, and the instance sees nothing."""
    balancer, web = modes[mode]
    with balancer.connect() as client:
        client.send_until_closed(REFUSED[name] + SMUGGLED)
        assert client.read_to_any_end()[0] == BAD_REQUEST
    assert web.untouched()


@pytest.mark.parametrize("name", REQUESTS)
def test_cut_anywhere(modes, name):
    """No forwarded byte depends on how the input was cut: in two pieces, after each byte that ends or parts something."""
    balancer, web = modes["monitor"]
    _, request, first_line, lines, body = REQUESTS[name]
    for cut in [i for i in range(1, len(request)) if request[i - 1] in b"\r\n: \t"]:
        with balancer.connect() as client:
            client.send(request[:cut])
            client.wait_read()
            client.send(request[cut:])
            with web.accept() as back:
                asked = back.read_message()
                assert (asked.head.raw, asked.body) == (forwarded(balancer, first_line, lines), body), f"cut after {request[:cut]!r}"
                back.send(reply(b"ok", fields=["Connection: close"]))
                assert client.read_message().body == b"ok"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", REFUSED)
def test_refused_byte_by_byte(modes, mode, name):
    """Nor does a refusal."""
    balancer, web = modes[mode]
    with balancer.connect() as client:
        for byte in REFUSED[name]:
            if not client.send_until_closed(bytes([byte])) or client.closed():
                break
            client.wait_read()
        assert client.read_to_any_end()[0] == BAD_REQUEST
    assert web.untouched()


@pytest.mark.parametrize("name", ["SpaceInUri", "MultilineHeader (RFC 9112 5.2)", "BothTeClPresent (RFC 9112 6.3)", "the worst of several"])
def test_byte_by_byte(modes, name):
    """A repair does not depend on how the bytes were cut."""
    balancer, web = modes["defensive"]
    _, request, first_line, lines, body = REQUESTS[name]
    with balancer.connect() as client:
        client.trickle(request)
        with web.accept() as back:
            asked = back.read_message()
            assert (asked.head.raw, asked.body) == (forwarded(balancer, first_line, lines), body)
            back.send(reply(b"ok", fields=["Connection: close"]))
            assert client.read_message().body == b"ok"


AMBIGUOUS = [name for name, row in REQUESTS.items() if row[0] == "ambiguous"]


@pytest.mark.parametrize("name", ["BothTeClPresent (RFC 9112 6.3)", "DuplicateContentLength", "UndefinedContentLengthSemantics",
                                  "EmptyHeader (CVE-2023-25725)"])
@pytest.mark.parametrize("answer", ["refused by the balancer", "until close", "chunked"])
def test_both_sides_close_after_any_answer(modes, name, answer):
    """However the answer to an ambiguous request ends, it is the last on both connections; what follows is never read."""
    balancer, web = modes["defensive"]
    with balancer.connect() as client:
        client.send(REQUESTS[name][1] + SMUGGLED)
        with web.accept() as back:
            back.read_message()
            if answer == "refused by the balancer":
                back.send(b"nonsense\r\n\r\n")
                back.expect_closed()
                assert client.read_to_any_end()[0] == b"HTTP/1.1 502 BAD_GATEWAY\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"
            elif answer == "chunked":
                back.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
                back.expect_closed()
                assert client.read_message().body == b"ok"
                client.expect_closed()
            else:
                back.send(b"HTTP/1.1 200 OK\r\n\r\nok")
                back.finish()
                assert client.read_message().body == b"ok"
                client.expect_closed()
    assert web.untouched()


@pytest.mark.parametrize("name", AMBIGUOUS)
def test_no_pooled_connection_is_left_behind(modes, name):
    """The next client's request does not follow an ambiguous one on its connection."""
    balancer, web = modes["monitor"]
    with balancer.connect() as client:
        client.send(REQUESTS[name][1])
        with web.accept() as back:
            back.read_message()
            back.send(reply(b"ok"))
            assert client.read_message().body == b"ok"
            with balancer.connect() as other:
                other.send(get("/other"))
                with web.accept() as fresh:
                    assert fresh.read_message().head.target == "/other"
                    fresh.send(reply(b"ok", fields=["Connection: close"]))
                    assert other.read_message().body == b"ok"
