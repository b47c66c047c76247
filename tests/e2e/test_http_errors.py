"""What the balancer answers by itself, byte for byte, and when it says nothing at all."""
import pytest
from lib import background, chunked, get, reply, request
from lib.wire import time_of

BAD_REQUEST = b"HTTP/1.1 400 BAD_REQUEST\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"
METHOD_NOT_ALLOWED = b"HTTP/1.1 405 METHOD_NOT_ALLOWED\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"
REQUEST_TIMEOUT = b"HTTP/1.1 408 REQUEST_TIMEOUT\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"
BAD_GATEWAY = b"HTTP/1.1 502 BAD_GATEWAY\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"
UNAVAILABLE = (b"HTTP/1.1 503 Service Unavailable: Back-end server is at capacity\r\n"
               b"Content-Length: 0\r\nConnection: keep-alive\r\n\r\n")
GATEWAY_TIMEOUT = b"HTTP/1.1 504 GATEWAY_TIMEOUT\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"


def closing(answer):
    """The same answer when the connection ends with it."""
    return answer.replace(b"keep-alive", b"Close")


def post(*fields):
    return request("POST", "/", *fields)


@pytest.fixture(scope="module")
def strict(shared_place):
    """A balancer whose instance must never see what these tests send."""
    web = shared_place.instance()
    balancer = shared_place.balancer([web])
    shared_place.start()
    return balancer, web


MALFORMED = {
    "no spaces": b"GET\r\n\r\n",
    "no version (HTTP/0.9)": b"GET /\r\n\r\n",
    "another protocol": b"GET / RTSP/1.0\r\nHost: a\r\n\r\n",
    "version 2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version in small letters": b"GET / http/1.1\r\nHost: a\r\n\r\n",
    "version with three digits": b"GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32) + b"\r\n\r\n",
    "a method with odd characters": b"GE(T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "'#' in the target": b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a NUL in the target": b"GET /a\x00b HTTP/1.1\r\nHost: a\r\n\r\n",
    "a target that is no path": b"GET a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\n\r\n",
    "Host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "Host twice, the same": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "Host with a space": b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "Host with a slash": b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "Host with a user": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "Host with a bad port": b"GET / HTTP/1.1\r\nHost: a:99x\r\n\r\n",
    "bare LF after the request line": b"GET / HTTP/1.1\nHost: a\r\n\r\n",
    "bare LF after a field": b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
    "bare LF at the end": b"GET / HTTP/1.1\r\nHost: a\r\n\n",
    "CR inside a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n",
    "NUL inside a value": b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x00z\r\n\r\n",
    "a white space before Host": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "Content-Length empty": post("Content-Length:"),
    "Content-Length with a sign": post("Content-Length: +3"),
    "Content-Length negative": post("Content-Length: -3"),
    "Content-Length in hex": post("Content-Length: 0x3"),
    "Content-Length with a space inside": post("Content-Length: 1 3"),
    "Content-Length with a comma": post("Content-Length: 3, 4"),
    "Content-Length twice and different": post("Content-Length: 3", "Content-Length: 4"),
    "Content-Length of 2^64": post("Content-Length: 18446744073709551616"),
    "Content-Length beyond 2^64": post("Content-Length: 99999999999999999999999999"),
    "Transfer-Encoding unknown": post("Transfer-Encoding: xchunked"),
    "Transfer-Encoding empty": post("Transfer-Encoding:"),
    "chunked not last": post("Transfer-Encoding: chunked, identity"),
    "chunked twice": post("Transfer-Encoding: chunked, chunked"),
    "chunked in two fields": post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "Transfer-Encoding with a vertical tab": b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a request line that never ends": b"GET /" + b"a" * 17000,
    "a field that never ends": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 17000,
    "more than 64 KiB of fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X: " + b"a" * 8000 + b"\r\n" for i in range(9)) + b"\r\n",
    "more than 100 fields": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100 + b"\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_head(strict, name):
    """A malformed head gets 400 and the end of the connection; the instance sees nothing."""
    balancer, web = strict
    with balancer.connect() as client:
        client.send_until_closed(MALFORMED[name] + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_to_any_end()[0] == BAD_REQUEST
    assert web.untouched()


@pytest.mark.parametrize("name", ["CONNECT", "no Host", "bare LF after a field", "Content-Length twice and different", "a NUL in the target"])
def test_malformed_head_byte_by_byte(strict, name):
    """The verdict on a bad head does not depend on how its bytes were cut."""
    balancer, web = strict
    with balancer.connect() as client:
        for byte in MALFORMED[name]:
            if not client.send_until_closed(bytes([byte])) or client.closed():
                break
            client.wait_read()
        assert client.read_to_any_end()[0] == BAD_REQUEST
    assert web.untouched()


def test_method_of_128_characters(strict):
    """A method longer than 127 characters gets 405."""
    balancer, web = strict
    with balancer.connect() as client:
        client.send(b"M" * 128 + b" / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_to_any_end()[0] == METHOD_NOT_ALLOWED
    assert web.untouched()


def test_method_of_127_characters(one):
    """A method of 127 characters passes."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("M" * 127, "/"))
        assert web.take()[1].head.method == "M" * 127


def test_largest_head_passes(one):
    """A head just inside every limit reaches the instance."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get("/" + "a" * 16000, *(f"X-{i}: " + "b" * 15000 for i in range(3)), *["Y: z"] * 80))
        _, asked = web.take()
        assert len(asked.head.target) == 16001
        assert len(asked.head.all("Y")) == 80


def test_answers_before_a_bad_request_are_given(one):
    """Pipelined after a good request, a bad one gets its 400 after the good one's answer."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get() + b"BAD\r\n\r\n")
        back, _ = web.take()
        back.send(reply(b"good"))
        assert client.read_message().body == b"good"
        assert client.read_to_any_end()[0] == BAD_REQUEST


@pytest.mark.parametrize("body", [b"x\r\n", b"-1\r\n", b"0x5\r\nhello\r\n", b"5 \x01\r\n", b"ffffffffffffffff1\r\n",
                                  b"3\r\nabcd\r\n", b"3\nabc\r\n", b"\r\nabc", b"3\r\nabc\n0\r\n\r\n", b"+3\r\nabc\r\n",
                                  b"0\r\nNo colon\r\n\r\n"])
def test_bad_chunk(one, body):
    """A chunk that is not right gets 400 and the end, and the instance never a whole request."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(post("Transfer-Encoding: chunked") + b"2\r\nok\r\n")
        back = web.accept()
        back.read_head()
        client.send_until_closed(body)
        assert client.read_to_any_end()[0] == BAD_REQUEST
        data, _ = back.read_to_any_end()
        assert not data.endswith(b"0\r\n\r\n")


# time


def test_head_in_time(place):
    """A head that is not whole within request_header_timeout gets 408, however often bytes come."""
    balancer = place.balancer([place.instance()], request_header_timeout="300ms")
    place.start()
    with balancer.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nX: ")

        def drip():
            while client.send_until_closed(b"a") and client.silent(0.02):
                pass
            return client.read_to_any_end()[0]
        took, answer = time_of(drip)
        assert answer == REQUEST_TIMEOUT
        assert 0.25 <= took < 3


def test_body_in_time(place):
    """A body that stops coming for request_body_timeout gets 408; the instance sees its connection end."""
    web = place.instance()
    balancer = place.balancer([web], request_body_timeout="300ms")
    place.start()
    with balancer.connect() as client:
        client.send(post("Content-Length: 100") + b"some")
        back = web.accept()
        back.read_head()
        took, answer = time_of(client.read_to_any_end)
        assert answer[0] == REQUEST_TIMEOUT
        assert 0.25 <= took < 3
        assert back.read_to_any_end()[0] == b"some"


def test_body_that_makes_progress_may_take_long(place):
    """request_body_timeout is about progress: a body that keeps coming is not cut."""
    web = place.instance().serve()
    balancer = place.balancer([web], request_body_timeout="300ms")
    place.start()
    with balancer.connect() as client:
        client.send(post("Content-Length: 8"))
        for _ in range(8):
            assert client.silent(0.1)
            client.send(b"x")
        assert client.read_message().status == 200


def test_idle_client_is_closed_silently(place):
    """A client that has sent nothing for idle_timeout is closed without a byte."""
    balancer = place.balancer([place.instance()], idle_timeout="1s")
    place.start()
    with balancer.connect() as client:
        took, _ = time_of(client.expect_end)
        assert 0.9 <= took < 4


def test_idle_keep_alive_is_closed_silently(place):
    """After an answer too: no 408 to one who merely keeps its connection."""
    balancer = place.balancer([place.instance().serve()], idle_timeout="1s")
    place.start()
    with balancer.connect() as client:
        assert client.ask(get()).status == 200
        took, _ = time_of(client.expect_end)
        assert 0.9 <= took < 4


def test_silent_instance(place):
    """An instance that says nothing for idle_timeout costs 504; the connection to it ends, the client's goes on."""
    web = place.instance()
    balancer = place.balancer([web], idle_timeout="1s")
    place.start()
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        took, answer = time_of(lambda: client.read_exactly(len(GATEWAY_TIMEOUT)))
        assert answer == GATEWAY_TIMEOUT
        assert 0.9 <= took < 4
        back.expect_closed()
        client.send(get())
        again, _ = web.take()
        again.send(reply(b"again"))
        assert client.read_message().body == b"again"


def test_instance_stops_in_mid_answer(place):
    """An instance that goes silent inside its answer: the client's connection is cut, its answer never looks whole."""
    web = place.instance()
    balancer = place.balancer([web], idle_timeout="1s")
    place.start()
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        client.read_head()
        assert client.read_exactly(5) == b"12345"
        assert client.read_to_any_end()[0] == b""


def test_instance_that_works_slowly_is_not_idle(place):
    """Any byte in either direction begins idle_timeout anew."""
    web = place.instance()
    balancer = place.balancer([web], idle_timeout="1s")
    place.start()
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        client.read_head()
        for _ in range(4):
            assert client.silent(0.6)
            back.send(b"x")
            assert client.read_exactly(1) == b"x"


def test_connect_timeout(place):
    """When no instance answers the connect within connect_timeout, on every try: 504."""
    webs = [place.instance(), place.instance()]
    balancer = place.balancer(webs, connect_timeout="200ms", retries=1)
    place.start()
    for web in webs:
        web.stall()
    with balancer.connect() as client:
        client.send(get())
        took, answer = time_of(lambda: client.read_exactly(len(GATEWAY_TIMEOUT)))
        assert answer == GATEWAY_TIMEOUT
        assert 0.3 <= took < 3, "two tries of 200 ms"
        for web in webs:
            web.listen()
            web.serve()
        assert client.ask(get()).status == 200


# instances that fail


def test_every_connect_refused(place):
    """When every try is refused: 503, and the connection goes on."""
    web = place.instance()
    balancer = place.balancer([web])
    place.start()
    web.refuse()
    with balancer.connect() as client:
        client.send(get())
        assert client.read_exactly(len(UNAVAILABLE)) == UNAVAILABLE
        web.listen()
        web.serve()
        assert client.ask(get()).body == b"web-1"


def test_no_healthy_instance(place):
    """Without an instance in service the answer is ELB's 503, at once, and the connection goes on."""
    web = place.instance()
    web.health.refuse()
    balancer = place.balancer([web])
    place.start(ready=None)
    with balancer.connect() as client:
        client.send(get())
        assert client.read_exactly(len(UNAVAILABLE)) == UNAVAILABLE
        took, answer = time_of(lambda: client.ask(get()))
        assert answer.status == 503
        assert took < 1
    assert web.untouched()


def test_no_healthy_instance_with_a_body_to_come(place):
    """The 503 to a request that was not read whole closes the connection."""
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    web.health.refuse()
    halb.wait_in_service({balancer.name: 0})
    with balancer.connect() as client:
        client.send(post("Content-Length: 100000"))
        assert client.read_to_any_end()[0] == closing(UNAVAILABLE)


def test_no_healthy_instance_for_a_client_that_closes(place):
    """A client that asked for close gets its 503 and the end."""
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    web.health.refuse()
    halb.wait_in_service({balancer.name: 0})
    with balancer.connect() as client:
        client.send(get("/", "Connection: close"))
        assert client.read_to_any_end()[0] == closing(UNAVAILABLE)


GARBAGE = {
    "not HTTP at all": b"SSH-2.0-OpenSSH_9.2\r\n" + b"x" * 100 + b"\r\n\r\n",
    "random bytes": bytes(range(256)) * 4,
    "another version": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "status 99": b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
    "Content-Length twice and different": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "Content-Length bad": b"HTTP/1.1 200 OK\r\nContent-Length: 1x\r\n\r\na",
    "Content-Length and chunked": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding unknown": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xyz\r\n\r\nabc",
    "a bare LF": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "a NUL in a field": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "a field without a colon": b"HTTP/1.1 200 OK\r\nabc\r\nContent-Length: 0\r\n\r\n",
    "an unasked 101": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70000,
    "too many fields": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"X: y\r\n" * 300 + b"\r\n",
}


@pytest.mark.parametrize("name", GARBAGE)
def test_instance_sends_garbage(one, name):
    """A bad answer costs 502, once, and the connection to the instance; the client's connection goes on."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(post("X-Not: replayable"))
        back, _ = web.take()
        back.send_until_closed(GARBAGE[name])
        assert client.read_exactly(len(BAD_GATEWAY)) == BAD_GATEWAY
        back.read_to_any_end()
        client.send(get("/next"))
        again, asked = web.take()
        assert asked.head.target == "/next"
        again.send(reply(b"next"))
        assert client.read_message().body == b"next"


@pytest.mark.parametrize("fields", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_body_where_none_may_be(one, fields):
    """Bytes after the head of a 204 are not the next answer's beginning, whatever the fields say."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(f"HTTP/1.1 204 No Content\r\n{fields}\r\n\r\n".encode() + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        assert client.read_message().status in (204, 502)
        client.send(get("/next"))
        again, asked = web.take()
        assert asked.head.target == "/next"
        again.send(reply(b"next"))
        assert client.read_message().body == b"next"


def test_no_healthy_instance_with_a_body_that_came(place):
    """A POST that came whole with its body gets its 503, and its connection goes on."""
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    web.health.refuse()
    halb.wait_in_service({balancer.name: 0})
    with balancer.connect() as client:
        for _ in range(2):
            client.send(request("POST", "/", body=b"x" * 1000))
            assert client.read_exactly(len(UNAVAILABLE)) == UNAVAILABLE


@pytest.mark.parametrize("how", ["close", "reset"])
def test_instance_ends_before_any_byte(one, how):
    """An instance that closes or resets instead of answering a request that must not be repeated: 502."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(post())
        back, _ = web.take()
        getattr(back, how)()
        assert client.read_exactly(len(BAD_GATEWAY)) == BAD_GATEWAY
        client.send(get())
        again, _ = web.take()
        again.send(reply(b"next"))
        assert client.read_message().body == b"next"


def test_instance_ends_while_the_body_is_sent(one):
    """502 to a request that was not read whole closes the client's connection."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(post("Content-Length: 100000") + b"some")
        back = web.accept()
        back.read_head()
        back.read_exactly(4)
        back.reset()
        assert client.read_to_any_end()[0] == closing(BAD_GATEWAY)


PARTIAL = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
    "inside a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n12345",
    "before the last line": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n",
}


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("name", PARTIAL)
def test_instance_ends_inside_its_answer(one, name, how):
    """An answer that breaks off is cut: the client's connection ends, and nothing looks like the answer's end."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(PARTIAL[name])
        head = client.read_head()
        assert client.read_until(b"12345").endswith(b"12345")
        getattr(back, how)()
        rest, _ = client.read_to_any_end()
        if head.get("Transfer-Encoding") is not None:
            assert b"0\r\n\r\n" not in rest
        else:
            assert rest == b""


def test_reset_inside_an_answer_until_close(one):
    """A reset in an answer without length is no clean end for the client."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 200 OK\r\n\r\n12345")
        head = client.read_head()
        client.read_until(b"12345")
        back.reset()
        rest, end = client.read_to_any_end()
        if head.get("Transfer-Encoding") is not None:
            assert b"0\r\n\r\n" not in rest
        else:
            assert (rest, end) == (b"", "rst")


def test_bad_chunk_of_an_instance(one):
    """A broken chunk after the answer has begun cuts the connection."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n")
        client.read_until(b"12345")
        back.send(b"zz\r\nxx")
        assert b"0\r\n\r\n" not in client.read_to_any_end()[0]


# clients that fail


def test_client_ends_inside_its_head(one):
    """A client that leaves inside its head costs nothing: no instance hears of it."""
    balancer, web = one
    for part in (b"GET / HT", b"GET / HTTP/1.1\r\nHost: a\r\n"):
        with balancer.connect() as client:
            client.send(part)
            client.finish()
            assert client.read_to_any_end()[0] in (b"", BAD_REQUEST, REQUEST_TIMEOUT)
    assert web.untouched()


@pytest.mark.parametrize("how", ["finish", "reset"])
@pytest.mark.parametrize("sent", [b"Content-Length: 10\r\n\r\n12345", b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"],
                         ids=["length", "chunked"])
def test_client_ends_inside_its_body(one, sent, how):
    """A request that breaks off is never made whole for the instance: its connection ends without the body's end."""
    balancer, web = one
    client = balancer.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + sent)
    back = web.accept()
    back.read_head()
    back.read_until(b"12345")
    getattr(client, how)()
    data, _ = back.read_to_any_end()
    assert data in (b"", b"\r\n")
    client.close()


def test_client_leaves_while_it_waits(one):
    """A client that resets before its answer has begun takes the instance's connection with it: nobody waits for that answer."""
    balancer, web = one
    client = balancer.connect()
    client.send(get())
    back, _ = web.take()
    client.reset()
    back.expect_closed()


def test_client_leaves_while_it_is_answered(one):
    """A client that resets in mid-answer ends the instance's connection, and others are served as before."""
    balancer, web = one
    client = balancer.connect()
    client.send(get())
    back, _ = web.take()
    back.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + bytes(1000))
    client.read_head()
    client.reset()
    assert background(back.send_until_closed, bytes(100000000 - 1000)).result() is False
    with balancer.connect() as other:
        other.send(get())
        again, _ = web.take()
        again.send(reply(b"other"))
        assert other.read_message().body == b"other"


def test_pipelined_after_a_body_that_breaks_off(one):
    """What follows a request's body is the next request, never part of the one before (and the reverse)."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(post("Transfer-Encoding: chunked") + chunked(b"one") + get("/two"))
        back, asked = web.take()
        assert asked.body == b"one"
        back.send(reply(b"1"))
        assert back.read_message().head.target == "/two"
        back.send(reply(b"2"))
        assert [client.read_message().body for _ in range(2)] == [b"1", b"2"]
