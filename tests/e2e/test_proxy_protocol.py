"""The PROXY protocol: what an instance is told of the client, in every connection and every check; and whom we believe."""
import ipaddress
import signal
import socket
import struct
import threading
import zlib

import pytest
from lib import Place, Wire, get, noise, reply, request, wait_until
from lib.addresses import free_port
from lib.wire import connect, time_of

BAD_REQUEST = b"HTTP/1.1 400 BAD_REQUEST\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LISTED, UNLISTED = "127.0.0.2", "127.0.0.3"


def v1(source, destination):
    """A line that names two (address, port) pairs."""
    family = 6 if ":" in source[0] else 4
    return f"PROXY TCP{family} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


def v2(source, destination, tlvs=b""):
    """A block that names two (address, port) pairs."""
    hosts = [ipaddress.ip_address(address).packed for address, _ in (source, destination)]
    block = b"".join(hosts) + struct.pack("!HH", source[1], destination[1]) + tlvs
    return SIGNATURE + b"\x21" + (b"\x11" if len(hosts[0]) == 4 else b"\x21") + struct.pack("!H", len(block)) + block


FORMATS = {1: v1, 2: v2}
LOCAL = SIGNATURE + b"\x20\0\0\0"
A4, B4 = ("192.0.2.1", 51000), ("198.51.100.7", 443)
A6, B6 = ("2001:db8::1", 1), ("2001:db8:ffff::2", 65535)


def ends(client):
    """What a header that is ours must name: both ends of the client's connection."""
    return client.sock.getsockname(), client.sock.getpeername()


def policy(place, version, *ports, **more):
    """Settings of a balancer whose instance ports have the policy."""
    return {"policies": [{"name": "proxy", "type": "ProxyProtocolPolicyType", "version": version, **more}],
            "backend_servers": [{"instance_port": port, "policies": ["proxy"]} for port in ports or (place.instance_port,)]}


# towards instances


@pytest.fixture(scope="module", params=[1, 2])
def told(request, tmp_path_factory):
    """Balancers over instances that are told: (version, TCP balancer, its instance, HTTP balancer, its instance)."""
    place = Place(tmp_path_factory.mktemp("place"))
    pipe, web = place.instance(), place.instance()
    tcp = place.balancer([pipe], protocol="TCP", settings=policy(place, request.param))
    http = place.balancer([web], settings=policy(place, request.param), retries=0)
    place.start()
    yield request.param, tcp, pipe, http, web
    place.close()


def read_header(back, version, client):
    """The header, byte for byte, and nothing else before it."""
    expected = FORMATS[version](*ends(client))
    assert back.read_exactly(len(expected)) == expected


def test_tcp_instance_is_told_at_once(told):
    """The header comes before the client has said a byte; then bytes are as they are, both ways."""
    version, tcp, pipe, _, _ = told
    with tcp.connect(source="127.0.0.9") as client, pipe.accept() as back:
        read_header(back, version, client)
        back.send(b"220 you first\r\n")
        assert client.read_exactly(15) == b"220 you first\r\n"
        client.send(b"PROXY TCP4 forged\r\n")
        assert back.read_exactly(19) == b"PROXY TCP4 forged\r\n"
        client.finish()
        back.expect_end()
        back.send(b"after")
        back.close()
        assert client.read_to_end() == b"after"


def test_tcp_bulk_after_the_header(told):
    """Megabytes both ways, which take another path through the balancer, are not harmed by it."""
    version, tcp, pipe, _, _ = told
    data = noise(6 << 20)
    with tcp.connect() as client, pipe.accept() as back:
        read_header(back, version, client)
        client.send(data)
        assert back.read_checksum(len(data)) == zlib.crc32(data)
        back.send(data)
        assert client.read_checksum(len(data)) == zlib.crc32(data)


def test_tcp_client_that_leaves_at_once(told):
    """A connection without a byte is a header and its end."""
    version, tcp, pipe, _, _ = told
    with tcp.connect() as client:
        client.finish()
        with pipe.accept() as back:
            read_header(back, version, client)
            back.expect_end()


def test_http_connections_are_one_clients(told):
    """Each connection to an instance begins with the header of the client whose requests it carries, and with it alone."""
    version, _, _, http, web = told
    with http.connect(source="127.0.0.8") as first, http.connect(source="127.0.0.9") as second:
        for client in (first, second, first, first, second):
            client.send(get("/x"))
            with web.accept() as back:
                read_header(back, version, client)
                asked = back.read_message()
                assert asked.head.get("X-Forwarded-For") == client.sock.getsockname()[0]
                back.send(reply(b"ok"))
                assert client.read_message().body == b"ok"
                back.expect_end()
    assert web.untouched()


def test_http_body_follows(told):
    """A body that comes later goes the way of its head."""
    version, _, _, http, web = told
    with http.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        with web.accept() as back:
            read_header(back, version, client)
            assert back.read_head().get("Transfer-Encoding") == "chunked"
            assert back.read_until(b"abc\r\n") == b"3\r\nabc\r\n"
            client.send(b"0\r\n\r\n")
            assert back.read_until(b"0\r\n\r\n") == b"0\r\n\r\n"
            back.send(reply(b"ok"))
            assert client.read_message().body == b"ok"


@pytest.mark.parametrize("version", [1, 2])
def test_each_try_is_told(place, version):
    """A request that is tried again begins with the header again."""
    webs = [place.instance(), place.instance()]
    balancer = place.balancer(webs, settings=policy(place, version))
    place.start()
    seen = []
    for web in webs:
        web.serve_wires(lambda wire: first_breaks_off(wire, seen))
    with balancer.connect() as client:
        answer = client.ask(get("/again"))
        header = FORMATS[version](*ends(client))
    assert answer.body == b"second"
    assert [data[:len(header)] for data in seen] == [header] * 2
    assert seen[0] == seen[1]


def first_breaks_off(wire, seen):
    """The first that is asked breaks the connection off, the second answers."""
    data = b""
    while not data.endswith(b"\r\n\r\n") or b"GET" not in data:
        data += wire.read_some()
    seen.append(data)
    if len(seen) == 1:
        wire.reset()
    else:
        wire.send(reply(b"second"))
        wire.expect_end()


def test_policy_that_is_switched_off(place):
    """proxy_protocol = false is no header; nor has a port one without a policy of its own."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP", settings=policy(place, 1, proxy_protocol=False))
    other = place.balancer([web], protocol="TCP")
    place.start()
    for lb in (balancer, other):
        with lb.connect() as client, web.accept() as back:
            client.send(b"plain")
            assert back.read_exactly(5) == b"plain"


CHECKED = b"GET /health HTTP/1.1\r\nHost: %s:%d\r\nUser-Agent: ELB-HealthChecker/1.0\r\nAccept: */*\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("kind", ["HTTP", "TCP"])
@pytest.mark.parametrize("version", [0, 1, 2])
def test_health_checks_speak_it_too(place, version, kind):
    """Where the checked port has the policy, checks begin as traffic does: in version 1 with their own ends, in version 2 with LOCAL."""
    web = place.instance()
    ports = [place.health_port] if version else []
    settings = policy(place, version, *ports) if version else {}
    balancer = place.balancer([web], check=place.http_check() if kind == "HTTP" else {}, settings=settings)
    balancer.listeners.append({**balancer.listeners[0], "port": free_port(), "instance_port": place.health_port})
    seen = []
    web.health.refuse()
    health = Listener(web.address, place.health_port, seen)
    place.start()
    wait_until(lambda: len(seen) > 1, 8, "a second check")
    health.close()
    peer, data = seen[0]
    expected = {0: b"", 1: v1(peer, (web.address, place.health_port)), 2: LOCAL}[version]
    if kind == "HTTP":
        expected += CHECKED % (web.address.encode(), place.health_port)
    assert peer[0] == balancer.address
    assert data == expected


class Listener:
    """A health port that records all that each check sends, and passes every one."""

    def __init__(self, address, port, seen):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((address, port))
        self.sock.listen(64)
        self.seen = seen
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                sock, peer = self.sock.accept()
            except OSError:
                return
            with Wire(sock) as wire:
                data = b""
                try:
                    while more := wire.read_some():
                        data += more
                        if b"GET " in data and data.endswith(b"\r\n\r\n"):
                            wire.send(reply(b"up"))
                except OSError:
                    pass
                self.seen.append((peer, data))

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


# from clients


@pytest.fixture(scope="module")
def believing(tmp_path_factory):
    """Balancers that believe LISTED alone, and such that do not wait long: {"HTTP", "TCP", "hasty HTTP", "hasty TCP": (balancer, instance)}."""
    place = Place(tmp_path_factory.mktemp("place"))
    made = {}
    for name in ("HTTP", "TCP", "hasty HTTP", "hasty TCP"):
        web = place.instance()
        balancer = place.balancer([web], protocol=name.split()[-1], **({"request_header_timeout": "300ms"} if "hasty" in name else {}))
        balancer.listeners[0]["proxy_protocol_from"] = [f"{LISTED}/32"]
        made[name] = balancer, web
    place.start()
    yield made
    place.close()


def tlv(kind, data):
    return struct.pack("!BH", kind, len(data)) + data


# header: whom it names; None: nobody, so that the TCP peer counts
HEADERS = {
    "version 1 over IPv4": (v1(A4, B4), A4[0]),
    "version 1 over IPv6": (v1(A6, B6), A6[0]),
    "version 1, a v4-mapped address is IPv4": (v1(("::ffff:192.0.2.9", 5), B6), "192.0.2.9"),
    "version 1, the shortest": (b"PROXY TCP4 1.1.1.1 2.2.2.2 0 0\r\n", "1.1.1.1"),
    "version 1, UNKNOWN": (b"PROXY UNKNOWN\r\n", None),
    "version 1, UNKNOWN and more": (b"PROXY UNKNOWN ffff:f...f:ffff ffff 65535 65535\r\n", None),
    "version 2 over IPv4": (v2(A4, B4), A4[0]),
    "version 2 over IPv6": (v2(A6, B6), A6[0]),
    "version 2 with TLVs": (v2(A4, B4, tlv(0x01, b"h2") + tlv(0x04, bytes(300)) + tlv(0xea, b"\x01vpce-1")), A4[0]),
    "version 2, LOCAL": (LOCAL, None),
    "version 2, LOCAL with a block": (SIGNATURE + b"\x20\x11\0\x0c" + bytes(12), None),
    "version 2, an unspecified family": (SIGNATURE + b"\x21\0\0\x05abcde", None),
    "version 2, UNIX sockets": (SIGNATURE + b"\x21\x31\0\xd8" + bytes(216), None),
}


@pytest.mark.parametrize("name", HEADERS)
def test_named_client(believing, name):
    """The client that the header names is the one of X-Forwarded-For, in every request of the connection."""
    balancer, web = believing["HTTP"]
    header, named = HEADERS[name]
    with balancer.connect(source=LISTED) as client:
        client.send(header + get("/1") + get("/2", "X-Forwarded-For: 10.0.0.1"))
        with web.accept() as back:
            asked = back.read_message()
            assert (asked.head.target, asked.head.get("X-Forwarded-For")) == ("/1", named or LISTED)
            back.send(reply(b"one"))
            assert client.read_message().body == b"one"
            asked = back.read_message()
            assert (asked.head.target, asked.head.get("X-Forwarded-For")) == ("/2", "10.0.0.1, " + (named or LISTED))
            back.send(reply(b"two", fields=["Connection: close"]))
            assert client.read_message().body == b"two"
    assert web.untouched()


@pytest.mark.parametrize("name", HEADERS)
def test_header_is_not_the_streams(believing, name):
    """A TCP instance sees what follows the header, from its first byte."""
    balancer, web = believing["TCP"]
    header, _ = HEADERS[name]
    with balancer.connect(source=LISTED) as client:
        client.send(header + b"first")
        with web.accept() as back:
            assert back.read_exactly(5) == b"first"
            back.send(b"back")
            assert client.read_exactly(4) == b"back"
            client.finish()
            back.expect_end()


@pytest.mark.parametrize("name", ["version 1 over IPv4", "version 1, UNKNOWN", "version 2 over IPv6", "version 2, LOCAL",
                                  "version 2, an unspecified family"])
def test_cut_at_every_byte(believing, name):
    """A header in two pieces, cut at each byte in turn, the second with the request, is understood the same."""
    balancer, web = believing["HTTP"]
    header, named = HEADERS[name]
    for cut in range(1, len(header) + 1):
        with balancer.connect(source=LISTED) as client:
            client.send(header[:cut])
            client.wait_read()
            assert web.untouched()
            client.send(header[cut:] + get("/", "Connection: close"))
            with web.accept() as back:
                assert back.read_message().head.get("X-Forwarded-For") == (named or LISTED), f"cut after {cut} bytes"
                back.send(reply(b"ok", fields=["Connection: close"]))
            assert client.read_message().body == b"ok"


@pytest.mark.parametrize("name", HEADERS)
def test_byte_by_byte(believing, name):
    """All in single bytes, the request too."""
    balancer, web = believing["HTTP"]
    header, named = HEADERS[name]
    with balancer.connect(source=LISTED) as client:
        client.trickle(header[:60])
        client.send(header[60:])
        client.trickle(get("/"))
        with web.accept() as back:
            assert back.read_message().head.get("X-Forwarded-For") == (named or LISTED)
            back.send(reply(b"ok", fields=["Connection: close"]))
            assert client.read_message().body == b"ok"


MALFORMED = {
    "no header at all": get("/"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "small letters": b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "an unknown family": b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
    "a line end without CR": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    "two spaces": b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
    "a space at the end": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
    "a port above 65535": b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
    "a port with a leading zero": b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
    "an octet above 255": b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
    "three octets": b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
    "IPv6 called TCP4": b"PROXY TCP4 ::1 ::2 1 2\r\n",
    "IPv4 called TCP6": b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
    "a missing port": b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
    "a line that never ends": b"PROXY UNKNOWN " + b"x" * 200,
    "a signature with a byte wrong": SIGNATURE[:-1] + b"\r\x21\x11\0\x0c" + bytes(12),
    "version 3": SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
    "an unknown command": SIGNATURE + b"\x22\x11\0\x0c" + bytes(12),
    "an unknown family in version 2": SIGNATURE + b"\x21\x41\0\x0c" + bytes(12),
    "datagrams": SIGNATURE + b"\x21\x12\0\x0c" + bytes(12),
    "a block too short for its family": SIGNATURE + b"\x21\x11\0\x0b" + bytes(11),
    "a TLV that goes beyond the block": v2(A4, B4, b"\x04\0\x09ab"),
    "half a TLV": v2(A4, B4, b"\x04\0"),
    "a checksum that is wrong": v2(A4, B4, tlv(0x03, bytes(4))),
    "a block above 4 KiB": SIGNATURE + b"\x21\x11\xff\xff" + bytes(5000),
}


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_is_closed(believing, protocol, name):
    """What is no header ends the connection without a word, and no instance hears of it."""
    balancer, web = believing[protocol]
    with balancer.connect(source=LISTED) as client:
        client.send_until_closed(MALFORMED[name] + get("/behind"))
        client.expect_closed()
    assert web.untouched()


@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
@pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 192.0", v2(A4, B4)[:20]], ids=["nothing", "version 1", "version 2"])
def test_silent_client_is_let_go(believing, protocol, begun):
    """A header that is not whole within request_header_timeout: closed, without a word."""
    balancer, web = believing[f"hasty {protocol}"]
    with balancer.connect(source=LISTED) as client:
        client.send(begun)
        took, _ = time_of(client.expect_closed)
        assert 0.2 < took < 3
    assert web.untouched()


@pytest.mark.parametrize("begun", [b"", b"PROXY TCP4 192.0"], ids=["nothing", "half a header"])
def test_client_that_leaves_before_its_header(believing, begun):
    """FIN instead of the rest: closed; no instance hears of it."""
    balancer, web = believing["TCP"]
    with balancer.connect(source=LISTED) as client:
        client.send(begun)
        client.finish()
        client.expect_closed()
    assert web.untouched()


@pytest.mark.parametrize("version", [1, 2])
def test_unlisted_source_over_http(believing, version):
    """From anybody else a header is a request that is malformed."""
    balancer, web = believing["HTTP"]
    with balancer.connect(source=UNLISTED) as client:
        client.send_until_closed(FORMATS[version](A4, B4) + get("/"))
        assert client.read_to_any_end()[0] == BAD_REQUEST
    assert web.untouched()


def test_unlisted_source_is_served_without(believing):
    """From anybody else a request without a header is usual, and the peer is the client."""
    balancer, web = believing["HTTP"]
    with balancer.connect(source=UNLISTED) as client:
        client.send(get("/"))
        with web.accept() as back:
            assert back.read_message().head.get("X-Forwarded-For") == UNLISTED
            back.send(reply(b"ok", fields=["Connection: close"]))
            assert client.read_message().body == b"ok"


@pytest.mark.parametrize("version", [1, 2])
def test_unlisted_source_over_tcp(believing, version):
    """From anybody else a header is bytes as any others; whether to believe them is the instance's affair."""
    balancer, web = believing["TCP"]
    header = FORMATS[version](A4, B4)
    with balancer.connect(source=UNLISTED) as client:
        client.send(header)
        with web.accept() as back:
            assert back.read_exactly(len(header)) == header


def test_only_the_first_header_counts(believing):
    """A second one is what the client itself has sent: a bad request, or bytes."""
    balancer, web = believing["HTTP"]
    with balancer.connect(source=LISTED) as client:
        client.send_until_closed(v1(A4, B4) + v1(A6, B6) + get("/"))
        assert client.read_to_any_end()[0] == BAD_REQUEST
    assert web.untouched()
    balancer, web = believing["TCP"]
    with balancer.connect(source=LISTED) as client:
        client.send(v2(A4, B4) + v1(A6, B6))
        with web.accept() as back:
            assert back.read_exactly(len(v1(A6, B6))) == v1(A6, B6)


def test_header_does_not_use_up_the_requests_time(believing):
    """The time for the head of a request begins with the request."""
    balancer, web = believing["hasty HTTP"]
    with balancer.connect(source=LISTED) as client:
        client.send(v1(A4, B4) + b"GET / HTTP/1.1\r\n")
        assert client.read_to_end() == b"HTTP/1.1 408 REQUEST_TIMEOUT\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"
    assert web.untouched()


def test_sources_by_group(place):
    """A group stands for the addresses of its members."""
    place.group("proxies", [], members=[f"{LISTED}/32"])
    web = place.instance().serve(lambda asked: reply(asked.head.get("X-Forwarded-For").encode()))
    balancer = place.balancer([web])
    balancer.listeners[0]["proxy_protocol_from"] = ["proxies"]
    place.start()
    with balancer.connect(source=LISTED) as client:
        assert client.ask(v1(A4, B4) + get(), "GET").body == A4[0].encode()
    with balancer.connect(source=UNLISTED) as client:
        assert client.ask(get()).body == UNLISTED.encode()


def test_each_listener_has_its_own_sources(place):
    """A listener without the setting believes nobody."""
    web = place.instance().serve(lambda asked: reply(asked.head.get("X-Forwarded-For").encode()))
    believes, other = place.balancer([web]), place.balancer([web])
    believes.listeners[0]["proxy_protocol_from"] = ["0.0.0.0/0"]
    place.start()
    with believes.connect(source=LISTED) as client:
        assert client.ask(v2(A6, B6) + get(), "GET").body == A6[0].encode()
    with other.connect(source=LISTED) as client:
        client.send_until_closed(v1(A4, B4) + get())
        assert client.read_to_any_end()[0] == BAD_REQUEST


def test_security_group_judges_the_peer(place):
    """Who may connect is decided by the TCP peer, whomever its header names."""
    group = place.group("front", [], members=[])
    web = place.instance().serve(lambda asked: reply(asked.head.get("X-Forwarded-For").encode()))
    balancer = place.balancer([web], settings={"security_groups": [group]})
    place.groups[0]["ingress"] = [{"protocol": "tcp", "port": balancer.port, "source": f"{LISTED}/32"}]
    balancer.listeners[0]["proxy_protocol_from"] = ["127.0.0.0/8"]
    place.start()
    with balancer.connect(source=LISTED) as client:
        assert client.ask(v1(A4, B4) + get(), "GET").body == A4[0].encode()
    with connect(balancer.address, balancer.port, source=UNLISTED) as client:
        client.send_until_closed(v1((LISTED, 1), B4) + get())
        client.expect_closed()


def test_forwarded_proto_of_the_named_client(place):
    """The proxy is trusted with who the client is; what the client says of itself is not, unless it is trusted itself."""
    web = place.instance().serve(lambda asked: reply(asked.head.get("X-Forwarded-Proto").encode()))
    balancer = place.balancer([web], trusted_proxies=[f"{LISTED}/32"])
    balancer.listeners[0]["proxy_protocol_from"] = [f"{LISTED}/32"]
    place.start()
    for header, proto in ((v1(A4, B4), b"http"), (b"PROXY UNKNOWN\r\n", b"https"), (v1((LISTED, 1), B4), b"https")):
        with balancer.connect(source=LISTED) as client:
            assert client.ask(header + get("/", "X-Forwarded-Proto: https"), "GET").body == proto


# both sides


@pytest.fixture(scope="module", params=[("TCP", 1), ("TCP", 2), ("HTTP", 1), ("HTTP", 2)], ids=lambda p: f"{p[0]} version {p[1]}")
def chain(request, tmp_path_factory):
    """A balancer between a proxy and an instance that is told: (version, balancer, instance)."""
    place = Place(tmp_path_factory.mktemp("place"))
    protocol, version = request.param
    web = place.instance()
    balancer = place.balancer([web], protocol=protocol, settings=policy(place, version))
    balancer.listeners[0]["proxy_protocol_from"] = [LISTED]
    place.start()
    yield version, balancer, web
    place.close()


@pytest.mark.parametrize("name", ["version 1 over IPv4", "version 1 over IPv6", "version 2 over IPv4", "version 2 over IPv6", "version 2 with TLVs"])
def test_chain(chain, name):
    """Client and destination pass through, in the instance's version; TLVs were for us."""
    version, balancer, web = chain
    header, named = HEADERS[name]
    source, destination = (A4, B4) if named == A4[0] else (A6, B6)
    with balancer.connect(source=LISTED) as client:
        client.send(header + get("/"))
        with web.accept() as back:
            expected = FORMATS[version](source, destination)
            assert back.read_exactly(len(expected)) == expected
            assert back.read_message().head.target == "/"
            back.send(reply(b"ok", fields=["Connection: close"]))
            assert client.read_message().body == b"ok"


@pytest.mark.parametrize("name", ["version 1, UNKNOWN", "version 2, LOCAL", "version 2, UNIX sockets"])
def test_chain_of_nobody(chain, name):
    """A header that names nobody: the instance is told of the peer's connection."""
    version, balancer, web = chain
    with balancer.connect(source=LISTED) as client:
        client.send(HEADERS[name][0] + get("/"))
        with web.accept() as back:
            read_header(back, version, client)
            assert back.read_message().head.target == "/"
            back.send(reply(b"ok", fields=["Connection: close"]))
            assert client.read_message().body == b"ok"


def test_unlisted_peer_in_a_chain(chain):
    """A header from who is not believed does not take the place of ours."""
    version, balancer, web = chain
    forged = request("GET", "/") if balancer.listeners[0]["protocol"] == "HTTP" else v1(A4, B4)
    with balancer.connect(source=UNLISTED) as client:
        client.send(forged)
        with web.accept() as back:
            read_header(back, version, client)
            if forged.startswith(b"PROXY"):
                assert back.read_exactly(len(forged)) == forged


# the end


@pytest.mark.parametrize("says", [False, True], ids=["silent", "speaks at last"])
def test_stop_while_a_header_is_due(place, says):
    """Who has just connected when we stop may say its header and make one request; who says nothing holds nothing up."""
    web = place.instance().serve()
    balancer = place.balancer([web])
    balancer.listeners[0]["proxy_protocol_from"] = [LISTED]
    halb = place.start()
    with balancer.connect(source=LISTED) as client:
        client.send(b"PROXY ")
        client.wait_read()
        halb.signal(signal.SIGTERM)
        halb.wait_log("stopping")
        if says:
            client.send(v1(A4, B4)[6:] + get())
            answer = client.read_message()
            assert answer.body == web.id.encode()
            assert answer.head.has_token("Connection", "close")
        client.expect_closed()
    halb.judge(halb.wait_exit(), 0)
