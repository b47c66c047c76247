"""Replayable requests: another instance while no byte of an answer has come, and never a repetition that could do harm."""
import pytest
from lib import background, get, let_pass, noise, reply, request, wait_until

REPLAYABLE = ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]


def two(place, **attributes):
    """A balancer over two instances that the test plays."""
    webs = [place.instance(), place.instance()]
    balancer = place.balancer(webs, **attributes)
    place.start()
    return balancer, webs


def receiver(webs):
    """The instance that was connected to, and the other one."""
    chosen = wait_until(lambda: next((w for w in webs if not w.untouched()), None), 5, "an instance is connected to")
    return chosen, next(w for w in webs if w is not chosen)


def test_refused(place):
    """While one instance refuses connections, no request fails, replayable or not: nothing was sent to it."""
    balancer, (first, second) = two(place)
    second.serve()
    first.refuse()
    for _ in range(5):
        assert balancer.ask(get()).body == b"web-2"
        assert balancer.ask(request("POST", "/", body=b"body")).body == b"web-2"


def test_connect_times_out(place):
    """A connect that is not answered within connect_timeout is tried on another instance."""
    balancer, (first, second) = two(place, connect_timeout="200ms")
    second.serve()
    first.stall()
    for _ in range(3):
        assert balancer.ask(get()).body == b"web-2"


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("method", REPLAYABLE)
def test_dies_before_any_byte(place, method, how):
    """A connection that dies after the request was sent: a replayable one goes to the other instance, unchanged."""
    balancer, webs = two(place)
    with balancer.connect() as client:
        client.send(request(method, "/again", "X-Some: field"))
        chosen, other = receiver(webs)
        back, asked = chosen.take()
        getattr(back, how)()
        again, repeated = other.take()
        assert repeated.head.raw == asked.head.raw
        again.send(reply(b"" if method == "HEAD" else b"other"))
        assert client.read_message(method).status == 200


@pytest.mark.parametrize("how", ["reset", "close"])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PROPFIND"])
def test_not_idempotent(place, method, how):
    """Others are never sent twice: 502."""
    balancer, webs = two(place)
    with balancer.connect() as client:
        client.send(request(method, "/"))
        chosen, other = receiver(webs)
        back, _ = chosen.take()
        getattr(back, how)()
        assert client.read_message(method).status == 502
        assert chosen.untouched() and other.untouched()


def test_body_still_held(place):
    """A PUT whose body is still held goes to the other instance with its body."""
    balancer, webs = two(place)
    with balancer.connect() as client:
        client.send(request("PUT", "/", body=b"the body"))
        chosen, other = receiver(webs)
        back, _ = chosen.take()
        back.reset()
        again, repeated = other.take()
        assert repeated.body == b"the body"
        again.send(reply(b"stored"))
        assert client.read_message().body == b"stored"


def test_body_gone(place):
    """A PUT whose body has passed through is not sent again: 502."""
    balancer, webs = two(place)
    body = noise(20 << 20)
    with balancer.connect() as client:
        sending = background(client.send_until_closed, request("PUT", "/", body=body))
        chosen, other = receiver(webs)
        back = chosen.accept()
        back.read_head()
        assert back.read_exactly(10 << 20) == body[:10 << 20]
        back.reset()
        assert client.read_message().status == 502
        assert other.untouched()
        client.abort()
        sending.result()


def test_after_the_first_byte(place):
    """Once a byte of an answer has come, nothing is repeated."""
    balancer, webs = two(place)
    with balancer.connect() as client:
        client.send(get())
        chosen, other = receiver(webs)
        back, _ = chosen.take()
        back.send(b"HTTP/1.1 200 OK\r\nContent-Le")
        back.wait_read()
        back.reset()
        data, _ = client.read_to_any_end() if client.closed() else (client.read_some(), None)
        assert data == b"" or data.startswith(b"HTTP/1.1 502 BAD_GATEWAY\r\n")
        assert chosen.untouched() and other.untouched()


def test_instance_goes_out_of_service(place):
    """A replayable request that waits for an instance which goes out of service is sent to another one."""
    balancer, webs = two(place)
    halb = place.started[0]
    with balancer.connect() as client:
        client.send(get())
        chosen, other = receiver(webs)
        back, _ = chosen.take()
        chosen.health.refuse()
        again, _ = other.take()
        assert halb.instance(balancer.name, chosen.id)["state"] == "OutOfService"
        again.send(reply(b"other"))
        assert client.read_message().body == b"other"
        back.expect_closed()


def test_post_waits_though_its_instance_goes_out_of_service(place):
    """A POST stays with its instance, whose answer still counts."""
    balancer, webs = two(place)
    halb = place.started[0]
    with balancer.connect() as client:
        client.send(request("POST", "/", body=b"once"))
        chosen, other = receiver(webs)
        back, _ = chosen.take()
        chosen.health.refuse()
        halb.wait_state(balancer.name, chosen.id, "OutOfService")
        back.send(reply(b"done"))
        assert client.read_message().body == b"done"
        assert other.untouched()


def test_answer_under_way_goes_on(place):
    """An answer that has begun goes on to its end though its instance goes out of service."""
    balancer, webs = two(place)
    halb = place.started[0]
    with balancer.connect() as client:
        client.send(get())
        chosen, _ = receiver(webs)
        back, _ = chosen.take()
        back.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        client.read_until(b"12345")
        chosen.health.refuse()
        halb.wait_state(balancer.name, chosen.id, "OutOfService")
        back.send(b"67890")
        assert client.read_exactly(5) == b"67890"


# pooled connections


def warm(balancer, web):
    """A client's connection and a back connection that has served one request: (client, back)."""
    client = balancer.connect()
    client.send(get("/warm"))
    back, _ = web.take()
    back.send(reply(b"warm"))
    assert client.read_message().body == b"warm"
    return client, back


@pytest.mark.parametrize("how", ["reset", "close"])
def test_dead_pooled_connection(one, how):
    """A pooled connection that dies under a replayable request: it goes to the same instance on a fresh connection."""
    balancer, web = one
    client, back = warm(balancer, web)
    client.send(get("/again"))
    assert back.read_message().head.target == "/again"
    getattr(back, how)()
    fresh, asked = web.take()
    assert asked.head.target == "/again"
    fresh.send(reply(b"fresh"))
    assert client.read_message().body == b"fresh"
    client.close()


def test_post_on_a_dead_pooled_connection(one):
    """A POST that was sent on a pooled connection is not repeated when that dies: 502."""
    balancer, web = one
    client, back = warm(balancer, web)
    client.send(request("POST", "/", body=b"once"))
    assert back.read_message().body == b"once"
    back.reset()
    assert client.read_message().status == 502
    assert web.untouched()
    client.close()


def test_post_avoids_a_connection_that_idled(one):
    """A POST is not sent on a pooled connection that idled over a second: a fresh one is less likely to be dead."""
    balancer, web = one
    client, back = warm(balancer, web)
    let_pass(1.2)
    client.send(request("POST", "/", body=b"once"))
    fresh, asked = web.take()
    assert asked.body == b"once"
    fresh.send(reply(b"done"))
    assert client.read_message().body == b"done"
    client.close()
    assert back.closed() or back.silent(0.05)


def test_get_uses_a_connection_that_idled(one):
    """A GET may use it: it can be repeated."""
    balancer, web = one
    client, back = warm(balancer, web)
    let_pass(1.2)
    client.send(get("/again"))
    assert back.read_message().head.target == "/again"
    client.close()


def test_post_uses_a_connection_that_was_just_used(one):
    """A POST soon after the last answer uses the pooled connection."""
    balancer, web = one
    client, back = warm(balancer, web)
    client.send(request("POST", "/", body=b"soon"))
    assert back.read_message().body == b"soon"
    assert web.untouched()
    client.close()


def test_instance_closes_idle_connections(place):
    """An instance that closes after each answer, without saying so, costs no request: 300 in a row succeed."""
    def play(wire):
        wire.read_message()
        wire.send(reply(b"and closes"))
    web = place.instance().serve_wires(play)
    balancer = place.balancer([web])
    place.start()
    with balancer.connect() as client:
        for _ in range(300):
            assert client.ask(get()).body == b"and closes"


# how often


def test_retries_zero(place):
    """retries = 0 is one try: a refused connect is 503 though another instance is in service."""
    balancer, webs = two(place, retries=0)
    for web in webs:
        web.refuse()
    assert balancer.ask(get()).status == 503
    webs[0].listen()
    webs[1].listen()
    with balancer.connect() as client:
        client.send(get())
        chosen, other = receiver(webs)
        back, _ = chosen.take()
        back.reset()
        assert client.read_message().status == 502
        assert chosen.untouched() and other.untouched()


def test_retries_are_counted(place):
    """retries = 2 is three tries, on three different instances; then 502."""
    webs = [place.instance() for _ in range(5)]
    balancer = place.balancer(webs, retries=2)
    place.start()
    tried = set()
    with balancer.connect() as client:
        client.send(get())
        for _ in range(3):
            chosen = wait_until(lambda: next((w for w in webs if not w.untouched()), None), 5)
            back, _ = chosen.take()
            tried.add(chosen.id)
            back.reset()
        assert client.read_message().status == 502
    assert len(tried) == 3
    assert all(web.untouched() for web in webs)


def test_retries_exhausted_by_refusals(place):
    """When every try was refused, 503."""
    webs = [place.instance() for _ in range(6)]
    balancer = place.balancer(webs, retries=3)
    place.start()
    for web in webs:
        web.refuse()
    answer = balancer.ask(get())
    assert answer.head.line == "HTTP/1.1 503 Service Unavailable: Back-end server is at capacity"


def test_a_dying_instance_under_load_costs_nothing(place):
    """An instance that vanishes with all its connections, again and again under steady GETs, costs no request."""
    dying, staying = place.instance(), place.instance().serve()
    dying.serve()
    balancer = place.balancer([dying, staying])
    place.start()
    stop = []

    def load():
        count = 0
        with balancer.connect() as client:
            while not stop:
                assert client.ask(get()).status == 200
                count += 1
        return count
    loads = [background(load) for _ in range(4)]
    for _ in range(5):
        seen = dying.served
        wait_until(lambda seen=seen: dying.served > seen + 20, 10, "the instance is used again")
        dying.refuse()
        dying.drop()
        seen = staying.served
        wait_until(lambda seen=seen: staying.served > seen + 20, 10, "the other one serves")
        dying.listen()
        dying.serve()
    stop.append(True)
    assert sum(load.result() for load in loads) > 200
