"""HTTP/1.1 proxied for real: framing, keep-alive on both sides, fields, streaming."""
import zlib

import pytest
from lib import Instance, background, chunked, get, noise, reply, request, wait_until
from lib.addresses import fresh_address, free_port

SIZES = [0, 1, 4095, 4096, 4097, 16384, 65536, 1 << 20]
BIG = 20 << 20


def serve(place, answer=None, **attributes):
    """A started balancer over one instance that answers by itself."""
    web = place.instance().serve(answer)
    balancer = place.balancer([web], **attributes)
    place.start()
    return balancer, web


# requests and answers


def test_get(one):
    """A GET reaches the instance as it was sent, and the client gets the answer as it was made."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get("/a/b?c=d", "Accept: text/plain", "X-Own: one"))
        back, asked = web.take()
        assert asked.head.line == "GET /a/b?c=d HTTP/1.1"
        assert asked.head.get("Host") == "www.example.org"
        assert asked.head.get("Accept") == "text/plain"
        assert asked.head.get("X-Own") == "one"
        back.send(b"HTTP/1.1 200 Fine\r\nServer: own\r\nContent-Length: 5\r\nX-Two: a b\r\n\r\nhello")
        answer = client.read_message()
        assert answer.head.line == "HTTP/1.1 200 Fine"
        assert answer.body == b"hello"
        assert [answer.head.get(name) for name in ("Server", "X-Two")] == ["own", "a b"]


def test_instance_sees_the_node_as_peer(one):
    """halb connects to instances from its node's own address."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        assert web.accept().peer == balancer.address


def test_repeated_fields_keep_their_order(one):
    """Fields that come several times are neither joined nor moved, in both directions."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get("/", "X-Many: 1", "Cookie: a=b", "X-Many: 2", "X-Empty:"))
        back, asked = web.take()
        assert asked.head.all("X-Many") == ["1", "2"]
        assert asked.head.all("X-Empty") == [""]
        back.send(reply(b"", fields=["Set-Cookie: a=1; Path=/", "X-Between: y", "Set-Cookie: b=2"]))
        answer = client.read_message()
        assert answer.head.all("Set-Cookie") == ["a=1; Path=/", "b=2"]


def test_target_passes_untouched(one):
    """Bytes 0x21 to 0x7e of a target (but '#') reach the instance as they are: the WAF must see what came."""
    balancer, web = one
    target = "/" + "".join(chr(c) for c in range(0x21, 0x7f) if c != ord("#")) + "?q=<script>alert(1)</script>&%00%2e%2e/../"
    with balancer.connect() as client:
        client.send(get(target))
        _, asked = web.take()
        assert asked.head.target == target


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "DELETE", "PUT", "POST", "PATCH", "PROPFIND", "x-own_Method!"])
def test_methods_pass(one, method):
    """Every method but CONNECT passes, standard or not, with its case."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request(method, "/m"))
        back, asked = web.take()
        assert asked.head.method == method
        back.send(reply(b"ok"))
        assert client.read_message().body == b"ok"


def test_options_asterisk(one):
    """OPTIONS * keeps its target."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("OPTIONS", "*"))
        _, asked = web.take()
        assert asked.head.target == "*"


def test_absolute_target_names_the_host(one):
    """The authority of an absolute-form target wins over Host (RFC 9112, 3.2.2)."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(b"GET http://right.example.org/x?y HTTP/1.1\r\nHost: wrong.example.org\r\n\r\n")
        _, asked = web.take()
        assert asked.head.get("Host") == "right.example.org"
        assert asked.head.target in ("/x?y", "http://right.example.org/x?y")


def test_empty_line_before_a_request(one):
    """One empty line before a request is skipped (RFC 9112, 2.2)."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(b"\r\n" + get("/x"))
        _, asked = web.take()
        assert asked.head.target == "/x"


def test_several_listeners(place):
    """Each listener of a balancer goes to its own instance port."""
    web = place.instance()
    other = Instance("other", web.address, free_port(), free_port())
    balancer = place.balancer([web])
    balancer.listeners.append({"protocol": "TCP", "port": free_port(), "instance_protocol": "TCP", "instance_port": other.port})
    place.start()
    web.serve(lambda asked: reply(asked.head.get("X-Forwarded-Port").encode()))
    try:
        assert balancer.ask(get()).body == str(balancer.port).encode()
        with balancer.connect(listener=1) as client:
            client.send(b"raw")
            assert other.accept().read_exactly(3) == b"raw"
    finally:
        other.close()


# bodies


@pytest.fixture(scope="module")
def echo(shared_place):
    """A balancer over an instance that returns each body in the framing that it came in."""
    def answer(asked):
        if asked.framing == "chunked":
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(asked.body, 5000)
        return reply(asked.body)
    balancer, _ = serve(shared_place, answer)
    return balancer


@pytest.mark.parametrize("size", SIZES)
def test_body_by_length(echo, size):
    """A body with Content-Length goes there and back unchanged."""
    body = noise(size)
    answer = echo.ask(request("POST", "/", "Content-Length: 0" if size == 0 else "X-Some: body", body=body))
    assert (answer.framing, answer.body == body) == ("length", True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("chunk", [7000, 1 << 20])
def test_body_in_chunks(echo, size, chunk):
    """A chunked body goes there and back unchanged, and stays chunked."""
    body = noise(size)
    answer = echo.ask(request("POST", "/", "Transfer-Encoding: chunked") + chunked(body, chunk))
    assert (answer.framing, answer.body == body) == ("chunked", True)


def test_tiny_chunks(echo):
    """Chunks of one byte are put together again."""
    body = noise(3000)
    assert echo.ask(request("POST", "/", "Transfer-Encoding: chunked") + chunked(body, 1)).body == body


def test_chunks_are_framed_anew(one):
    """Extensions and trailers end at the balancer; sizes in any case and with leading zeros are understood."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("POST", "/", "Transfer-Encoding: Chunked", "Trailer: X-Sum"))
        client.send(b"5;a=b;c=\"d;e\"\r\nhello\r\n" + b"00A\r\n0123456789\r\n" + b"0\r\nX-Sum: 1\r\n\r\n")
        back, asked = web.take()            # reads strictly: an extension or a trailer fails
        assert asked.framing == "chunked"
        assert asked.body == b"hello0123456789"
        back.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
        assert client.read_message().body == b"abc"


def test_length_upload_of_20_mb(place):
    """20 MB go to the instance by Content-Length; it got every byte in order."""
    def play(wire):
        head = wire.read_head()
        crc = wire.read_checksum(int(head.get("Content-Length")))
        wire.send(reply(b"%08x" % crc))
    web = place.instance().serve_wires(play)
    balancer = place.balancer([web])
    place.start()
    body = noise(BIG)
    assert balancer.ask(request("PUT", "/", body=body)).body == b"%08x" % zlib.crc32(body)


def test_length_download_of_20_mb(place):
    """20 MB come from the instance by Content-Length."""
    body = noise(BIG)
    balancer, _ = serve(place, lambda asked: reply(body))
    assert balancer.ask(get()).body == body


def test_chunked_both_ways_20_mb(place):
    """20 MB go there and back in chunks."""
    balancer, _ = serve(place, lambda asked: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        + chunked(asked.body, 33333))
    body = noise(BIG)
    assert balancer.ask(request("POST", "/", "Transfer-Encoding: chunked") + chunked(body, 12345)).body == body


def test_slow_reader(place):
    """A client that takes little at a time gets all of 20 MB."""
    body = noise(BIG)
    balancer, _ = serve(place, lambda asked: reply(body))
    with balancer.connect(receive_buffer=4096) as client:
        client.send(get())
        length = int(client.read_head().get("Content-Length"))
        assert length == BIG
        assert client.read_checksum(length) == zlib.crc32(body)


def test_instance_reads_late(one):
    """An instance that reads nothing at first stops the client; then all arrives."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("PUT", "/", f"Content-Length: {64 << 20}"))
        back = web.accept()
        sent = client.fill()
        assert sent < 40 << 20, "the instance reads nothing, so the client must have been stopped"
        rest = background(client.send, bytes((64 << 20) - sent))
        back.read_head()
        assert back.read_checksum(64 << 20) == zlib.crc32(bytes(64 << 20))
        rest.result()
        back.send(reply(b"all"))
        assert client.read_message().body == b"all"


def test_body_arrives_while_more_is_to_come(one):
    """Bodies stream: each piece reaches the other side before the next one is sent."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("POST", "/", "Content-Length: 9") + b"abc")
        back = web.accept()
        back.read_head()
        assert back.read_exactly(3) == b"abc"
        client.send(b"def")
        assert back.read_exactly(3) == b"def"
        client.send(b"ghi")
        assert back.read_exactly(3) == b"ghi"
        back.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nxyz")
        client.read_head()
        assert client.read_exactly(3) == b"xyz"
        back.send(b"uvw")
        assert client.read_exactly(3) == b"uvw"


def test_answer_until_close(one):
    """An answer that ends with its connection reaches an HTTP/1.1 client whole, in a framing that shows its end."""
    balancer, web = one
    body = noise(100000)
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + body)
        back.close()
        assert client.read_message().body == body


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_body(one, status):
    """204 and 304 have no body, whatever their fields say; the connection goes on at once."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        fields = "Content-Length: 1000\r\n" if status.startswith("304") else ""
        back.send(f"HTTP/1.1 {status}\r\n{fields}ETag: x\r\n\r\n".encode())
        assert client.read_message().head.line == f"HTTP/1.1 {status}"
        client.send(get("/next"))
        assert back.read_message().head.target == "/next"
        back.send(reply(b"next"))
        assert client.read_message().body == b"next"


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Transfer-Encoding: chunked"])
def test_head(one, framing):
    """The answer to HEAD has a GET's fields and no body; the connection goes on at once."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("HEAD", "/"))
        back, asked = web.take()
        assert asked.head.method == "HEAD"
        back.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        answer = client.read_message("HEAD")
        if framing.startswith("Content-Length"):
            assert answer.head.get("Content-Length") == "1000"
        client.send(get("/next"))
        back.read_message()
        back.send(reply(b"next"))
        assert client.read_message().body == b"next"


# connections


def test_keep_alive_on_both_sides(place):
    """Many requests on one client connection need one connection to the instance."""
    balancer, web = serve(place)
    with balancer.connect() as client:
        for _ in range(50):
            assert client.ask(get()).body == b"web-1"
    assert (web.served, web.connections) == (50, 1)


def test_back_connection_serves_many_clients(place):
    """A back connection is kept and serves the next client."""
    balancer, web = serve(place)
    for _ in range(20):
        assert balancer.ask(get()).status == 200
    assert (web.served, web.connections) == (20, 1)


def test_answer_says_close(one):
    """Connection: close of an instance ends its connection, not the client's."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(reply(b"one", fields=["Connection: close"]))
        answer = client.read_message()
        assert answer.body == b"one"
        assert not answer.head.has_token("Connection", "close")
        back.expect_closed()
        client.send(get())
        second, _ = web.take()
        second.send(reply(b"two"))
        assert client.read_message().body == b"two"


def test_request_says_close(one):
    """Connection: close of a client ends its connection after the answer, not the instance's."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get("/", "Connection: close"))
        back, asked = web.take()
        assert not asked.head.has_token("Connection", "close")
        back.send(reply(b"one"))
        answer = client.read_message()
        assert answer.head.has_token("Connection", "close")
        client.expect_end()
    with balancer.connect() as client:
        client.send(get("/again"))
        assert back.read_message().head.target == "/again"


def test_client_finishes_after_its_request(one):
    """A client that has sent FIN after a whole request still gets its answer."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        client.finish()
        back, _ = web.take()
        back.send(reply(b"still"))
        assert client.read_message().body == b"still"
        client.expect_end()


def test_client_leaves(one):
    """An answer that nobody waits for any more reaches nobody else."""
    balancer, web = one
    client = balancer.connect()
    client.send(get("/first"))
    back, _ = web.take()
    client.reset()
    back.send_until_closed(reply(b"first"))
    with balancer.connect() as other:
        other.send(get("/second"))
        again = back if back.silent(0.2) is False and not back.closed() else web.accept()
        assert again.read_message().head.target == "/second"
        again.send(reply(b"second"))
        assert other.read_message().body == b"second"


def test_pipelining(one):
    """Pipelined requests are answered in order; the instance never sees the next one before it has answered."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get("/1") + request("POST", "/2", body=b"two") + get("/3"))
        back, asked = web.take()
        assert asked.head.target == "/1"
        assert back.silent(0.1)
        assert web.untouched()
        back.send(reply(b"one"))
        assert (asked := back.read_message()).head.target == "/2"
        assert asked.body == b"two"
        assert back.silent(0.1)
        back.send(reply(b"two"))
        assert back.read_message().head.target == "/3"
        back.send(reply(b"three"))
        assert [client.read_message().body for _ in range(3)] == [b"one", b"two", b"three"]


def test_deep_pipelining(place):
    """Five hundred pipelined requests get five hundred answers in order."""
    balancer, _ = serve(place, lambda asked: reply(asked.head.target.encode()))
    with balancer.connect() as client:
        sending = background(client.send, b"".join(get(f"/{i}") for i in range(500)))
        assert [client.read_message().body for _ in range(500)] == [b"/%d" % i for i in range(500)]
        sending.result()


def test_bytes_after_an_answer_are_nobodys(one):
    """What an instance sends after its answer reaches no client, and its connection is not used again."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(reply(b"one") + reply(b"poison"))
        assert client.read_message().body == b"one"
        client.send(get("/next"))
        second, asked = web.take()
        assert asked.head.target == "/next"
        second.send(reply(b"two"))
        assert client.read_message().body == b"two"


def test_late_bytes_on_an_idle_back_connection(one):
    """Bytes on an idle back connection end it: the next request gets its own answer on another one."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(reply(b"one"))
        assert client.read_message().body == b"one"
        back.send(reply(b"poison"))
        back.expect_closed()
        client.send(get())
        second, _ = web.take()
        second.send(reply(b"two"))
        assert client.read_message().body == b"two"


# HTTP/1.0


def test_http10_closes(one):
    """An HTTP/1.0 client without keep-alive gets its answer and the end; the instance sees HTTP/1.1."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: old\r\n\r\n")
        back, asked = web.take()
        assert asked.head.line == "GET / HTTP/1.1"
        back.send(reply(b"old"))
        assert client.read_message().body == b"old"
        client.expect_end()


def test_http10_keep_alive(one):
    """An HTTP/1.0 client that asks for keep-alive gets it, and is told so."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: old\r\nConnection: Keep-Alive\r\n\r\n")
        back, _ = web.take()
        back.send(reply(b"one"))
        answer = client.read_message()
        assert answer.head.has_token("Connection", "keep-alive")
        client.send(b"GET /2 HTTP/1.0\r\nHost: old\r\n\r\n")
        assert back.read_message().head.target == "/2"
        back.send(reply(b"two"))
        assert client.read_message().body == b"two"
        client.expect_end()


def test_http10_without_host_gets_the_nodes(one):
    """HTTP/1.0 needs no Host; the instance then sees the node's address, as with ELB."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        _, asked = web.take()
        assert asked.head.get("Host").split(":")[0] == balancer.address


def test_http10_client_gets_no_chunks(one):
    """A chunked answer reaches an HTTP/1.0 client without chunks; the end of the connection is its end."""
    balancer, web = one
    body = noise(50000)
    with balancer.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: old\r\nConnection: keep-alive\r\n\r\n")
        back, _ = web.take()
        back.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(body))
        answer = client.read_message()
        assert (answer.framing, answer.body == body) == ("close", True)


def test_http10_instance(one):
    """An answer in HTTP/1.0 is passed on as HTTP/1.1, and its connection is not used again without keep-alive."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
        answer = client.read_message()
        assert (answer.head.line, answer.body) == ("HTTP/1.1 200 OK", b"old")
        back.expect_closed()


# fields of the balancer


def test_hop_by_hop_fields_of_a_request_end_here(one):
    """Fields about the connection, and those that Connection names, do not reach the instance; all others do."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get("/", "Connection: keep-alive, X-Hop, TE", "X-Hop: 1", "x-hop: 2", "Keep-Alive: 300", "TE: trailers",
                        "Proxy-Connection: keep-alive", "Upgrade: h2c", "HTTP2-Settings: x", "X-Stays: yes"))
        _, asked = web.take()
        for name in ("X-Hop", "Keep-Alive", "TE", "Proxy-Connection", "Upgrade"):
            assert asked.head.all(name) == [], name
        assert not asked.head.has_token("Connection", "x-hop")
        assert asked.head.get("X-Stays") == "yes"


def test_hop_by_hop_fields_of_an_answer_end_here(one):
    """As for requests: the client does not see the instance's fields about its own connection."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(reply(b"x", fields=["Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "X-Stays: yes"]))
        head = client.read_message().head
        assert [head.all(name) for name in ("X-Hop", "Keep-Alive")] == [[], []]
        assert head.get("X-Stays") == "yes"


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Forwarded-Proto", "Host", "Content-Length"])
def test_connection_field_removes_nothing_that_matters(one, name):
    """Naming our own or framing fields in Connection does not make them disappear."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("POST", "/", f"Connection: {name}", "X-Forwarded-For: 192.0.2.1", body=b"body"))
        _, asked = web.take()
        assert asked.body == b"body"
        assert asked.head.get("Host") == "www.example.org"
        assert asked.head.all("X-Forwarded-For")[-1].endswith(client.sock.getsockname()[0])
        assert asked.head.get("X-Forwarded-Proto") == "http"


def test_forwarded_fields_are_made(one):
    """X-Forwarded-For, -Proto and -Port tell the instance of the client, the protocol and the listener's port."""
    balancer, web = one
    source = fresh_address()
    with balancer.connect(source=source) as client:
        client.send(get())
        _, asked = web.take()
        assert asked.head.get("X-Forwarded-For") == source
        assert asked.head.get("X-Forwarded-Proto") == "http"
        assert asked.head.get("X-Forwarded-Port") == str(balancer.port)


def test_forwarded_for_is_appended(one):
    """A client's X-Forwarded-For stays, with the client's address after it; -Proto and -Port are replaced."""
    balancer, web = one
    source = fresh_address()
    with balancer.connect(source=source) as client:
        client.send(get("/", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443",
                        "x-forwarded-proto: gopher"))
        _, asked = web.take()
        assert asked.head.get("X-Forwarded-For") == f"192.0.2.1, {source}"
        assert asked.head.get("X-Forwarded-Proto") == "http"
        assert asked.head.get("X-Forwarded-Port") == str(balancer.port)


def test_forwarded_for_in_several_fields(one):
    """Several X-Forwarded-For fields are one list, in order, and the client's address ends it."""
    balancer, web = one
    source = fresh_address()
    with balancer.connect(source=source) as client:
        client.send(get("/", "X-Forwarded-For: 192.0.2.1, 192.0.2.2", "X-Forwarded-For: 192.0.2.3"))
        _, asked = web.take()
        assert ", ".join(asked.head.all("X-Forwarded-For")) == f"192.0.2.1, 192.0.2.2, 192.0.2.3, {source}"


def test_trusted_proxy_keeps_what_it_says(place):
    """X-Forwarded-Proto and -Port of a peer in trusted_proxies are kept; others' are not."""
    trusted, other = fresh_address(), fresh_address()
    web = place.instance().serve(lambda asked: reply(" ".join(
        [asked.head.get("X-Forwarded-For"), asked.head.get("X-Forwarded-Proto"), asked.head.get("X-Forwarded-Port")]).encode()))
    balancer = place.balancer([web], trusted_proxies=[f"{trusted}/32"])
    place.start()
    asked = get("/", "X-Forwarded-For: 192.0.2.1", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443")
    assert balancer.ask(asked, source=trusted).body == f"192.0.2.1, {trusted} https 443".encode()
    assert balancer.ask(asked, source=other).body == f"192.0.2.1, {other} http {balancer.port}".encode()


# interim and early answers


def test_expect_is_answered_by_the_balancer(one):
    """Expect: 100-continue gets 100 at once, before the instance answers anything, and does not reach it."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("POST", "/", "Expect: 100-continue", "Content-Length: 4"))
        assert client.read_head().line == "HTTP/1.1 100 Continue"
        client.send(b"body")
        back, asked = web.take()
        assert asked.body == b"body"
        assert asked.head.all("Expect") == []
        back.send(reply(b"ok"))
        assert client.read_message().body == b"ok"


def test_interim_answers_pass(one):
    """1xx answers of the instance reach an HTTP/1.1 client, any number of them."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        assert client.read_head().get("Link") == "</a>"
        back.send(b"HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + reply(b"end"))
        assert [client.read_head().status for _ in range(2)] == [103, 102]
        assert client.read_message().body == b"end"


def test_interim_answers_are_not_for_http10(one):
    """HTTP/1.0 knows no 1xx: such a client gets the final answer alone."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: old\r\n\r\n")
        back, _ = web.take()
        back.send(b"HTTP/1.1 103 Early Hints\r\n\r\n" + reply(b"end"))
        answer = client.read_message()
        assert (answer.status, answer.body) == (200, b"end")


def test_early_final_answer(one):
    """A final answer before the request's end reaches the client though it goes on sending; then FIN."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("POST", "/", "Content-Length: 10000000") + bytes(65536))
        back = web.accept()
        back.read_head()
        back.send(reply(b"too large", "413 Content Too Large"))
        client.send(bytes(65536))
        answer = client.read_message()
        assert (answer.status, answer.body) == (413, b"too large")
        assert answer.head.has_token("Connection", "close")
        client.expect_end()
        back.read_to_any_end()          # a connection with half a request on it serves nobody else


def test_answer_begins_before_the_request_ends(one):
    """Both bodies may be on their way at once; each goes on as it comes."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(request("POST", "/", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
        back = web.accept()
        back.read_head()
        back.read_until(b"abc")
        back.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nABC\r\n")
        assert client.read_head().status == 200
        client.read_until(b"ABC")
        client.send(b"3\r\ndef\r\n0\r\n\r\n")
        back.read_until(b"def")
        back.send(b"3\r\nDEF\r\n0\r\n\r\n")
        assert client.read_until(b"0\r\n\r\n").endswith(b"DEF\r\n0\r\n\r\n")


def test_upgrade_of_another_protocol_is_not_passed(one):
    """h2c is never passed on: the instance sees a plain request, and a 101 that nobody asked for is no answer."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"))
        back, asked = web.take()
        assert [asked.head.all(name) for name in ("Upgrade", "HTTP2-Settings")] == [[], []]
        back.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
        assert client.read_message().status == 502


# how bytes are cut does not matter


def test_request_cut_at_every_byte(place):
    """A request in two pieces, cut at each of its bytes in turn, is understood the same."""
    balancer, web = serve(place, lambda asked: reply(asked.head.target.encode() + asked.body))
    whole = request("POST", "/cut", "X-Some: field", "Transfer-Encoding: chunked") + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n"
    with balancer.connect() as client:
        for cut in range(1, len(whole)):
            client.send(whole[:cut])
            client.wait_read()
            client.send(whole[cut:])
            assert client.read_message().body == b"/cutabcde", f"cut after {cut} bytes: {whole[:cut]!r}"
    assert web.served == len(whole) - 1


def test_large_heads_in_pieces(place):
    """Heads of 60 KiB in pieces of any size are understood in both directions."""
    fields = [f"X-{i}: " + "v" * 10000 for i in range(6)]
    balancer, _ = serve(place, lambda asked: reply(str(len(asked.head.raw)).encode(), fields=asked_fields(asked)))

    def asked_fields(asked):
        return [f"{name}: {value}" for name, value in asked.head.fields if name.startswith("X-") and len(value) == 10000]
    whole = get("/", *fields)
    with balancer.connect() as client:
        for size in (1000, 4095, 4096, 4097, 8191, 16384, 40000):
            for start in range(0, len(whole), size):
                client.send(whole[start:start + size])
                client.wait_read()
            answer = client.read_message()
            assert [f"{name}: {value}" for name, value in answer.head.fields if name.startswith("X-")] == fields


def test_request_byte_by_byte(one):
    """A request that comes one byte at a time is understood."""
    balancer, web = one
    with balancer.connect() as client:
        whole = request("POST", "/slow", "Transfer-Encoding: chunked") + chunked(b"0123456789", 3)
        client.trickle(whole)
        back, asked = web.take()
        assert (asked.head.target, asked.body) == ("/slow", b"0123456789")
        back.send(reply(b"ok"))
        assert client.read_message().body == b"ok"


@pytest.mark.parametrize("whole", [
    reply(b"0123456789"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"0123456789", 3, b";x=y", b"T: 1\r\n"),
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + reply(b"0123456789"),
], ids=["length", "chunked", "interim"])
def test_answer_byte_by_byte(one, whole):
    """An answer that comes one byte at a time is passed on whole."""
    balancer, web = one
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        sending = background(back.trickle, whole)
        if b" 103 " in whole:
            assert client.read_head().status == 103
        assert client.read_message().body == b"0123456789"
        sending.result()


def test_two_answers_in_pieces_at_once(place):
    """Two instances whose answers' heads come in pieces at the same time do not disturb each other."""
    webs = [place.instance(), place.instance()]
    balancer = place.balancer(webs)
    place.start()
    clients = [balancer.connect(), balancer.connect()]
    backs = []
    for client in clients:
        client.send(get())
        backs.append(wait_until(lambda: next((w for w in webs if not w.untouched()), None), 5).accept())
        backs[-1].read_message()
    answers = [reply(b"first"), reply(b"second")]
    for i in range(max(map(len, answers))):
        for back, answer in zip(backs, answers):
            back.send(answer[i:i + 1])
            back.wait_read()
    assert [client.read_message().body for client in clients] == [b"first", b"second"]
