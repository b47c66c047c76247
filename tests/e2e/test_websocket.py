"""WebSocket: a handshake that is read strictly, then a tunnel; and nothing else that calls itself an upgrade."""
import signal
import zlib

import pytest
from lib import DEADLINE, Place, background, get, noise, reply, request, wait_until
from lib.wire import time_of

KEYS = ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: chat")
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
ASK = get("/chat?a=b", *UPGRADE, *KEYS)
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
SWITCHED = (b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
BAD_GATEWAY = b"HTTP/1.1 502 BAD_GATEWAY\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    """A balancer over one instance that the test plays: (balancer, instance)."""
    place = Place(tmp_path_factory.mktemp("place"))
    web = place.instance()
    balancer = place.balancer([web], retries=0)
    place.start()
    yield balancer, web
    place.close()


def asks_upgrade(head):
    """Does an instance that reads this head see a wish to upgrade?"""
    return bool(head.all("Upgrade") or head.all("Connection"))


def tunnel(balancer, web, **options):
    """Both ends of an open tunnel."""
    client = balancer.connect(**options)
    client.send(ASK)
    back, asked = web.take()
    assert asked.head.get("Upgrade") == "websocket"
    back.send(SWITCH)
    assert client.read_exactly(len(SWITCHED)) == SWITCHED
    return client, back


def served(client, back, body):
    """A usual request goes well on both connections."""
    client.send(get("/usual"))
    asked = back.read_message()
    assert asked.head.target == "/usual" and not asks_upgrade(asked.head)
    back.send(reply(body))
    assert client.read_message().body == body


# the handshake


def test_handshake_byte_for_byte(chat):
    """Both heads are written anew: what belongs to the handshake passes, once, in one spelling."""
    balancer, web = chat
    with balancer.connect() as client:
        client.send(ASK)
        with web.accept() as back:
            expected = (b"GET /chat?a=b HTTP/1.1\r\nHost: www.example.org\r\nSec-WebSocket-Version: 13\r\n"
                        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: chat\r\n"
                        b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Port: %d\r\nX-Forwarded-Proto: http\r\n"
                        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % balancer.port)
            assert back.read_exactly(len(expected)) == expected
            back.send(SWITCH)
            assert client.read_exactly(len(SWITCHED)) == SWITCHED
            back.send(b"\x81\x02hi")
            assert client.read_exactly(4) == b"\x81\x02hi"


SPELLINGS = {
    "capitals": ("Connection: UPGRADE", "Upgrade: WebSocket"),
    "among others": ("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
    "in two fields": ("Connection: keep-alive", "Connection: upgrade", "Upgrade: websocket"),
    "the other way round": ("Upgrade: websocket", "Connection: Upgrade"),
    "with white space": ("Connection: \t upgrade \t", "Upgrade: \twebsocket "),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_spellings(chat, name):
    """However a client writes it, the instance sees one spelling; so does the client of the instance's."""
    balancer, web = chat
    with balancer.connect() as client:
        client.send(get("/", *SPELLINGS[name], *KEYS))
        with web.accept() as back:
            asked = back.read_message()
            assert [asked.head.all("Connection"), asked.head.all("Upgrade")] == [["Upgrade"], ["websocket"]]
            back.send("\r\n".join(["HTTP/1.1 101 OK", *SPELLINGS[name], "", ""]).encode())
            assert client.read_head().raw == b"HTTP/1.1 101 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            client.send(b"up")
            assert back.read_exactly(2) == b"up"


@pytest.mark.parametrize("cut", [1, 20, len(SWITCH) - 3, len(SWITCH) - 1])
def test_handshake_in_pieces(chat, cut):
    """Neither head has to come at once, and what follows them is data."""
    balancer, web = chat
    with balancer.connect() as client:
        client.trickle(ASK[:cut])
        client.send(ASK[cut:] + b"early")
        with web.accept() as back:
            assert back.read_message().head.get("Upgrade") == "websocket"
            back.send(SWITCH[:cut])
            back.wait_read()
            back.send(SWITCH[cut:] + b"hello")
            assert client.read_exactly(len(SWITCHED) + 5) == SWITCHED + b"hello"
            assert back.read_exactly(5) == b"early"


def test_interim_answer_before(chat):
    """An interim answer passes; the 101 after it still opens the tunnel."""
    balancer, web = chat
    with balancer.connect() as client:
        client.send(ASK)
        with web.accept() as back:
            back.read_message()
            back.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + SWITCH + b"x")
            assert client.read_head().status == 103
            assert client.read_exactly(len(SWITCHED) + 1) == SWITCHED + b"x"


def test_nothing_of_the_client_before_the_101(chat):
    """What a client sends before its answer waits: the instance may still refuse, and then it is a request."""
    balancer, web = chat
    with balancer.connect() as client:
        client.send(ASK + get("/next"))
        with web.accept() as back:
            assert back.read_message().head.target == "/chat?a=b"
            client.wait_read()
            back.send(reply(b"no", "403 Forbidden"))
            assert client.read_message().status == 403
            asked = back.read_message()
            assert asked.head.target == "/next" and not asks_upgrade(asked.head)
            back.send(reply(b"yes", fields=["Connection: close"]))
            assert client.read_message().body == b"yes"
    assert web.untouched()


@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "401 Unauthorized", "426 Upgrade Required",
                                    "503 Service Unavailable"])
def test_refused_by_the_instance(chat, status):
    """Any other answer is an ordinary one, and HTTP goes on, on both sides."""
    balancer, web = chat
    with balancer.connect() as client:
        client.send(ASK)
        with web.accept() as back:
            back.read_message()
            back.send(reply(b"no", status, fields=["Sec-WebSocket-Version: 13"]))
            answer = client.read_message()
            assert (answer.status, answer.body) == (int(status[:3]), b"no")
            assert answer.head.get("Sec-WebSocket-Version") == "13"
            served(client, back, b"still here")


BAD_SWITCHES = {
    "to h2c": ("Connection: Upgrade", "Upgrade: h2c"),
    "to websocket and h2c": ("Connection: Upgrade", "Upgrade: websocket, h2c"),
    "to both, in two fields": ("Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c"),
    "to a version of it": ("Connection: Upgrade", "Upgrade: websocket/13"),
    "to nothing": ("Connection: Upgrade",),
    "that Connection does not name": ("Upgrade: websocket",),
    "that says close": ("Connection: close", "Upgrade: websocket"),
    "without fields": (),
}


@pytest.mark.parametrize("name", BAD_SWITCHES)
def test_switch_that_was_not_asked_for(chat, name):
    """A switch to anything but what was asked is no answer: 502, and nothing of the instance reaches the client."""
    balancer, web = chat
    with balancer.connect() as client:
        client.send(ASK)
        with web.accept() as back:
            back.read_message()
            back.send("\r\n".join(["HTTP/1.1 101 Switching Protocols", *BAD_SWITCHES[name], "", ""]).encode() + b"smuggled")
            assert client.read_exactly(len(BAD_GATEWAY)) == BAD_GATEWAY
            back.expect_closed()
        client.send(get("/usual"))
        with web.accept() as back:
            back.read_message()
            back.send(reply(b"ok", fields=["Connection: close"]))
            assert client.read_message().body == b"ok"


NO_UPGRADES = {
    "h2c": get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
    "h2c in capitals": get("/", "Connection: Upgrade", "Upgrade: H2C"),
    "h2c beside websocket (CVE class: h2c smuggling)": get("/", "Connection: Upgrade", "Upgrade: websocket, h2c", *KEYS),
    "h2c before websocket": get("/", "Connection: Upgrade", "Upgrade: h2c, websocket", *KEYS),
    "h2c in a field of its own": get("/", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c", *KEYS),
    "h2c in a field before": get("/", "Connection: Upgrade", "Upgrade: h2c", "Upgrade: websocket", *KEYS),
    "a version of websocket": get("/", "Connection: Upgrade", "Upgrade: websocket/13", *KEYS),
    "a comma after it": get("/", "Connection: Upgrade", "Upgrade: websocket,", *KEYS),
    "TLS": get("/", "Connection: Upgrade", "Upgrade: TLS/1.2"),
    "another protocol": get("/", "Connection: Upgrade", "Upgrade: IRC/6.9"),
    "an empty one": get("/", "Connection: Upgrade", "Upgrade:"),
    "Connection does not name it (RFC 9110 7.8)": get("/", "Upgrade: websocket", *KEYS),
    "Connection names another": get("/", "Connection: keep-alive, X", "Upgrade: websocket", *KEYS),
    "Connection alone": get("/", "Connection: Upgrade", *KEYS),
    "HTTP/1.0 (RFC 9110 7.8)": ASK.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "POST (RFC 6455 4.1)": request("POST", "/", *UPGRADE, *KEYS),
    "HEAD": request("HEAD", "/", *UPGRADE, *KEYS),
    "GET with a chunked body": get("/", *UPGRADE, *KEYS, "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\n\r\n",
    "a body": request("POST", "/", *UPGRADE, *KEYS, body=b"abc"),
}


@pytest.mark.parametrize("name", NO_UPGRADES)
def test_no_other_upgrade_is_passed(chat, name):
    """The instance sees a plain request; a 101 to it is no answer, and no byte after it reaches the client."""
    balancer, web = chat
    with balancer.connect() as client:
        client.send(NO_UPGRADES[name])
        with web.accept() as back:
            asked = back.read_message()
            assert not asks_upgrade(asked.head) and not asked.head.all("HTTP2-Settings")
            back.send(SWITCH + b"smuggled")
            assert client.read_message().status == 502
            back.expect_closed()


def test_switched_off(place):
    """upgrade = [ ]: a websocket, too, is a plain request."""
    web = place.instance()
    balancer = place.balancer([web], upgrade=[])
    place.start()
    with balancer.connect() as client:
        client.send(ASK)
        with web.accept() as back:
            asked = back.read_message()
            assert not asks_upgrade(asked.head)
            assert asked.head.get("Sec-WebSocket-Key") == "dGhlIHNhbXBsZSBub25jZQ=="
            back.send(SWITCH)
            assert client.read_exactly(len(BAD_GATEWAY)) == BAD_GATEWAY


# the tunnel


def test_data_both_ways(chat):
    """Bytes of any kind, unchanged and at once, in both directions; requests are no longer looked for."""
    client, back = tunnel(*chat)
    with client, back:
        for data in (b"\x81\x05hello", b"GET / HTTP/1.1\r\n\r\n", bytes(range(256)), noise(100000)):
            client.send(data)
            assert back.read_exactly(len(data)) == data
            back.send(data[::-1])
            assert client.read_exactly(len(data)) == data[::-1]


def test_bulk_both_ways_at_once(chat):
    """Megabytes in each direction at the same time arrive unchanged."""
    client, back = tunnel(*chat)
    with client, back:
        up, down = noise(8 << 20), noise((8 << 20) + 1)
        work = [background(client.send, up), background(back.send, down), background(back.read_checksum, len(up)),
                background(client.read_checksum, len(down))]
        assert [job.result() for job in work][2:] == [zlib.crc32(up), zlib.crc32(down)]


@pytest.mark.parametrize("first", ["client", "instance"])
def test_half_close(chat, first):
    """Who has finished may still listen."""
    client, back = tunnel(*chat)
    one, other = (client, back) if first == "client" else (back, client)
    with one, other:
        one.send(b"last words")
        one.finish()
        assert other.read_to_end() == b"last words"
        other.send(noise(50000))
        other.finish()
        assert one.read_to_end() == noise(50000)


@pytest.mark.parametrize("first", ["client", "instance"])
def test_reset_is_passed_on(chat, first):
    """A connection that breaks takes the other with it."""
    client, back = tunnel(*chat)
    one, other = (client, back) if first == "client" else (back, client)
    with other:
        one.reset()
        other.expect_reset()


def test_end_with_the_switch(chat):
    """An instance that switches, speaks and ends in one breath is heard whole."""
    balancer, web = chat
    with balancer.connect() as client:
        client.send(ASK)
        with web.accept() as back:
            back.read_message()
            back.send(SWITCH + b"bye")
            back.finish()
            assert client.read_to_end() == SWITCHED + b"bye"
            client.send(b"and you")
            client.finish()
            assert back.read_to_end() == b"and you"


def test_client_that_breaks_off_before_the_answer(chat):
    """It waits for nothing any more: the instance's connection ends."""
    balancer, web = chat
    client = balancer.connect()
    client.send(ASK)
    back, _ = web.take()
    with back:
        client.reset()
        back.expect_closed()


def test_client_that_has_finished_before_the_answer(chat):
    """It may still listen: the tunnel opens, and the instance learns at once that nothing more will come."""
    balancer, web = chat
    with balancer.connect() as client:
        client.send(ASK + b"all")
        client.finish()
        with web.accept() as back:
            back.read_message()
            back.send(SWITCH)
            assert back.read_to_end() == b"all"
            back.send(b"heard")
            back.finish()
            assert client.read_to_end() == SWITCHED + b"heard"


def test_connection_of_a_tunnel_is_never_used_again(chat):
    """The next request has a connection of its own."""
    client, back = tunnel(*chat)
    with client, back:
        client.finish()
        back.finish()
        client.expect_end()
    with chat[0].connect() as client:
        client.send(get("/usual"))
        with chat[1].accept() as back:
            assert back.read_message().head.target == "/usual"
            back.send(reply(b"ok", fields=["Connection: close"]))
            assert client.read_message().body == b"ok"


def test_tunnel_timeout(place):
    """A tunnel without a byte for tunnel_timeout ends on both sides; each byte, either way, begins it anew."""
    web = place.instance()
    balancer = place.balancer([web], tunnel_timeout="600ms", idle_timeout="60s")
    place.start()
    client, back = tunnel(balancer, web)
    with client, back:
        for sender, receiver in ((client, back), (back, client)) * 2:
            waits(receiver, 0.3)
            sender.send(b"x")
            assert receiver.read_exactly(1) == b"x"
        took, _ = time_of(client.expect_closed)
        assert 0.5 < took < 4
        back.expect_closed()


def waits(wire, seconds):
    """Nothing comes for so long."""
    wire.sock.settimeout(seconds)
    with pytest.raises(TimeoutError):
        wire.sock.recv(1)
    wire.sock.settimeout(wire.deadline)


def test_tunnel_outlives_the_idle_timeout(place):
    """Silence that would end HTTP does not end a tunnel."""
    web = place.instance()
    balancer = place.balancer([web], tunnel_timeout="30s", idle_timeout="200ms", request_body_timeout="200ms")
    place.start()
    client, back = tunnel(balancer, web)
    with client, back:
        waits(client, 0.8)
        back.send(b"still")
        assert client.read_exactly(5) == b"still"
        client.finish()
        back.expect_end()
        waits(client, 0.8)
        back.send(b"there")
        assert client.read_exactly(5) == b"there"


def test_unanswered_handshake(place):
    """An instance that says nothing to it: 504 after idle_timeout, as to any request."""
    web = place.instance()
    balancer = place.balancer([web], tunnel_timeout="30s", idle_timeout="300ms")
    place.start()
    with balancer.connect() as client:
        client.send(ASK)
        with web.accept() as back:
            back.read_message()
            assert client.read_message().status == 504
            back.expect_closed()


# which instance


@pytest.mark.parametrize("how", ["refuses", "resets"])
def test_retried_before_the_switch(place, how):
    """An instance that fails before its answer is replaced by another; the client notices nothing."""
    dead, alive = place.instance(), place.instance()
    balancer = place.balancer([dead, alive])
    place.start()
    seen = []
    if how == "refuses":
        dead.refuse()
    else:
        dead.serve_wires(lambda wire: (seen.append(wire.read_message().head.raw), wire.reset()))
    for _ in range(2):          # one of the two begins with the dead one
        client = balancer.connect()
        client.send(ASK)
        with client, alive.accept() as back:
            asked = back.read_message()
            assert asked.head.get("Upgrade") == "websocket"
            assert all(raw == asked.head.raw for raw in seen)
            back.send(SWITCH)
            assert client.read_exactly(len(SWITCHED)) == SWITCHED
            client.send(b"hello")
            assert back.read_exactly(5) == b"hello"
    assert how == "refuses" or seen


def test_not_retried_after_the_switch(place):
    """A tunnel that breaks is broken for the client, too; nobody else is asked."""
    asked = []

    def play(wire):
        asked.append(wire.read_message().head.target)
        wire.send(SWITCH)
        wire.read_exactly(2)
        wire.reset()
    webs = [place.instance().serve_wires(play) for _ in range(2)]
    balancer = place.balancer(webs)
    place.start()
    with balancer.connect() as client:
        client.send(ASK)
        assert client.read_exactly(len(SWITCHED)) == SWITCHED
        client.send(b"up")
        client.expect_reset()
    assert balancer.connect().ask(ASK).status == 101
    assert asked == ["/chat?a=b"] * 2


def test_tunnel_is_work(place):
    """An instance with a tunnel has something to do: the other gets the next requests, until the tunnel ends."""
    webs = [place.instance() for _ in range(2)]
    for web in webs:
        web.serve(lambda asked, web=web: SWITCH if asked.head.all("Upgrade") else reply(web.id.encode()))
    balancer = place.balancer(webs)
    place.start()

    def names():
        return {balancer.ask(get()).body for _ in range(6)}
    with balancer.connect() as client:
        client.send(ASK)
        assert client.read_exactly(len(SWITCHED)) == SWITCHED
        assert len(names()) == 1
        client.reset()
    wait_until(lambda: len(names()) == 2, DEADLINE, "both are asked again")


def test_draining_instance_keeps_its_tunnel(place):
    """An operator who drains an instance cuts nobody off."""
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    client, back = tunnel(balancer, web)
    with client, back:
        assert halb.ctl("set-state", balancer.name, web.id, "drain").returncode == 0
        assert balancer.ask(get()).status == 503
        client.send(b"still")
        assert back.read_exactly(5) == b"still"


# with the PROXY protocol


def test_told_by_the_proxy_protocol(place):
    """The header comes before the handshake, and only there."""
    web = place.instance()
    balancer = place.balancer([web], settings={
        "policies": [{"name": "proxy", "type": "ProxyProtocolPolicyType"}],
        "backend_servers": [{"instance_port": place.instance_port, "policies": ["proxy"]}]})
    place.start()
    with balancer.connect() as client:
        client.send(ASK)
        with web.accept() as back:
            _, port = client.sock.getsockname()
            header = b"PROXY TCP4 127.0.0.1 %s %d %d\r\n" % (balancer.address.encode(), port, balancer.port)
            assert back.read_exactly(len(header)) == header
            assert back.read_message().head.get("Upgrade") == "websocket"
            back.send(SWITCH)
            assert client.read_exactly(len(SWITCHED)) == SWITCHED
            client.send(b"data")
            assert back.read_exactly(4) == b"data"


# the end


def test_graceful_stop_waits_for_tunnels(place):
    """A tunnel is work in flight: it goes on after SIGTERM until its ends have finished."""
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    client, back = tunnel(balancer, web)
    with client, back:
        halb.signal(signal.SIGTERM)
        halb.wait_log("stopping")
        with pytest.raises(ConnectionRefusedError):
            while True:
                balancer.connect().close()
        client.send(b"still")
        assert back.read_exactly(5) == b"still"
        client.finish()
        back.expect_end()
        back.finish()
        client.expect_end()
    halb.judge(halb.wait_exit(), 0)


def test_graceful_stop_ends(place):
    """After shutdown_timeout a tunnel is cut."""
    place.process["shutdown_timeout"] = "300ms"
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    client, back = tunnel(balancer, web)
    with client, back:
        halb.signal(signal.SIGTERM)
        client.expect_closed()
        back.expect_closed()
    halb.judge(halb.wait_exit(), 0)
