"""Own bodies in the answers that the balancer makes itself: which, when, and everything around them."""
import pytest
from lib import Place, get, request

# status: file name, content type, body
BODIES = {400: ("400.html", "text/html", b"<p>not understood</p>\n"),
          405: ("405", "application/octet-stream", b"\x00\xff no such method"),
          408: ("408.TXT", "text/plain", b"too slow\r\n\r\n"),
          502: ("502.json", "application/json", b'{"error": "bad"}'),
          503: ("503.html", "text/html", b"x" * 65536),
          504: ("504.txt", "text/plain", b"")}
LINES = {400: b"400 BAD_REQUEST", 405: b"405 METHOD_NOT_ALLOWED", 408: b"408 REQUEST_TIMEOUT", 502: b"502 BAD_GATEWAY",
         503: b"503 Service Unavailable: Back-end server is at capacity", 504: b"504 GATEWAY_TIMEOUT"}


def own(status, connection="keep-alive", body=True):
    """The answer, byte for byte."""
    _, content_type, data = BODIES[status]
    if status < 500:
        connection = "Close"
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: %s\r\n\r\n"
    return head % (LINES[status], content_type.encode(), len(data), connection.encode()) + (data if body else b"")


def empty(status, connection="keep-alive"):
    return b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: %s\r\n\r\n" % (LINES[status], connection.encode())


def responses(place, statuses=tuple(BODIES)):
    """The setting, its files beside the configuration and named without their folder."""
    for status in statuses:
        (place.folder / BODIES[status][0]).write_bytes(BODIES[status][2])
    return [{"status": status, "file": BODIES[status][0]} for status in statuses]


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A balancer with a body for every status and short limits: (balancer, instance); a second one without instances: its balancer."""
    place = Place(tmp_path_factory.mktemp("place"))
    web = place.instance()
    bodies = responses(place)
    first = place.balancer([web], error_responses=bodies, request_header_timeout="200ms", idle_timeout="700ms")
    second = place.balancer([], error_responses=bodies)
    place.start()
    yield first, web, second
    place.close()


def test_400(spoken):
    """A request that is not understood."""
    balancer, web, _ = spoken
    with balancer.connect() as client:
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.read_to_end() == own(400)
    assert web.untouched()


def test_405(spoken):
    """A method that is too long; the body may be any bytes, and a name without an ending is of no type that we know."""
    balancer, web, _ = spoken
    with balancer.connect() as client:
        client.send(b"M" * 128 + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_to_end() == own(405)
    assert web.untouched()


def test_408(spoken):
    """A head that does not come to its end; an ending counts in capitals, too."""
    balancer, web, _ = spoken
    with balancer.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        assert client.read_to_end() == own(408)
    assert web.untouched()


def test_408_has_its_body_after_a_head_request(spoken):
    """What the request before was does not matter to a request that is not known yet."""
    balancer, web, _ = spoken
    with balancer.connect() as client:
        client.send(request("HEAD", "/"))
        back, _ = web.take()
        back.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        assert client.read_message("HEAD").status == 200
        client.send(b"GET / HT")
        assert client.read_to_end() == own(408)
        back.close()


def test_502_and_the_connection_goes_on(spoken):
    """An answer that is none; the client's connection is kept, and the next request is answered on it."""
    balancer, web, _ = spoken
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"nonsense\r\n\r\n")
        assert client.read_exactly(len(own(502))) == own(502)
        back.expect_closed()
        client.send(get("/next"))
        back, asked = web.take()
        assert asked.head.target == "/next"
        back.send(b"nonsense\r\n\r\n")
        assert client.read_exactly(len(own(502))) == own(502)
        client.send(get("/last", "Connection: close"))
        back, _ = web.take()
        back.send(b"nonsense\r\n\r\n")
        assert client.read_to_end() == own(502, "Close")


def test_503_and_the_connection_goes_on(spoken):
    """Nobody to ask; a body of 64 KiB comes whole, request after request."""
    _, _, nobody = spoken
    with nobody.connect() as client:
        for _ in range(3):
            client.send(get())
            assert client.read_exactly(len(own(503))) == own(503)
        client.send(get("/", "Connection: close"))
        assert client.read_to_end() == own(503, "Close")


def test_503_to_http10(spoken):
    """A client of HTTP/1.0 without keep-alive gets body and end."""
    _, _, nobody = spoken
    with nobody.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert client.read_to_end() == own(503, "Close")


def test_503_before_the_request_is_whole(spoken):
    """The rest of its body is not waited for: body of ours, then the end."""
    _, _, nobody = spoken
    with nobody.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        assert client.read_to_end() == own(503, "Close")


def test_504(spoken):
    """An instance that says nothing; an empty file is a body of no bytes, with its type."""
    balancer, web, _ = spoken
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        assert client.read_exactly(len(own(504))) == own(504)
        back.expect_closed()


def test_answer_to_head_has_no_body(spoken):
    """Its fields are those of the same GET; what follows on the connection is the next answer."""
    _, _, nobody = spoken
    with nobody.connect() as client:
        client.send(request("HEAD", "/") + get())
        expected = own(503, body=False) + own(503)
        assert client.read_exactly(len(expected)) == expected


def test_refused_head_request_has_no_body(spoken):
    """Nor has the answer to a HEAD that is refused for what follows its method (RFC 9110 9.3.2)."""
    balancer, web, _ = spoken
    for rest in (b"/ HTTP/1.1\r\n\r\n", b"/# HTTP/1.1\r\nHost: a\r\n\r\n", b"/ HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n"):
        with balancer.connect() as client:
            client.send(b"HEAD " + rest)
            assert client.read_to_end() == own(400, body=False)
    assert web.untouched()


def test_slow_reader_gets_it_whole(spoken):
    """A client with a small window is waited for."""
    _, _, nobody = spoken
    with nobody.connect(receive_buffer=2048) as client:
        client.send(get("/", "Connection: close"))
        assert client.read_to_end() == own(503, "Close")


def test_statuses_without_a_body_of_their_own(place):
    """Only what is named changes; the others stay empty."""
    balancer = place.balancer([], error_responses=responses(place, [502]))
    place.start()
    with balancer.connect() as client:
        client.send(get())
        assert client.read_exactly(len(empty(503))) == empty(503)
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert client.read_to_end() == empty(400, "Close")


def test_each_balancer_has_its_own(place):
    """A balancer's bodies are nobody else's."""
    with_body = place.balancer([], error_responses=responses(place, [503]))
    without = place.balancer([])
    place.start()
    with with_body.connect() as client:
        client.send(get())
        assert client.read_exactly(len(own(503))) == own(503)
    with without.connect() as client:
        client.send(get())
        assert client.read_exactly(len(empty(503))) == empty(503)


def test_file_is_read_once(place):
    """The body is what was in the file when the configuration was read."""
    balancer = place.balancer([], error_responses=responses(place, [503]))
    place.start()
    (place.folder / BODIES[503][0]).unlink()
    with balancer.connect() as client:
        client.send(get())
        assert client.read_exactly(len(own(503))) == own(503)
