"""The surge queue: at an instance's limit requests wait, oldest first, bounded in number and in time."""
import signal
import threading

import pytest
from lib import DEADLINE, background, get, let_pass, reply, request, wait_until
from lib.wire import time_of

FULL = b"HTTP/1.1 503 Service Unavailable: Back-end server is at capacity\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n"


class Crowd:
    """What an instance counts: how many requests are with it at a time, and in which order they came."""

    def __init__(self):
        self.lock = threading.Lock()
        self.inside = self.most = 0
        self.targets = []

    def enter(self, target=None):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.targets.append(target)

    def leave(self):
        with self.lock:
            self.inside -= 1

    def answer(self, asked):
        """Stays for a moment, so that others would be seen beside it."""
        self.enter(asked.head.target)
        let_pass(0.002)
        self.leave()
        return reply(b"x")


def limited(place, workers=2, limit=1, protocol="HTTP", **attributes):
    """A balancer over one instance that may have `limit` at a time."""
    place.process["workers"] = workers
    web = place.instance(max_connections=limit)
    balancer = place.balancer([web], protocol=protocol, **attributes)
    return balancer, web, place.start()


def wait_queued(client):
    """Until halb has read the request; it then waits, if nothing was sent to the instance."""
    client.wait_read()


@pytest.mark.parametrize("workers", [1, 2])
def test_oldest_first(place, workers):
    """Requests that wait are served in the order in which they came, over all workers."""
    balancer, web, _ = limited(place, workers)
    clients = [balancer.connect() for _ in range(12)]
    for i, client in enumerate(clients):
        client.send(get(f"/{i}"))
        wait_queued(client)
        let_pass(0.01)              # the order of requests on different connections is when a worker has seen them
    for i, client in enumerate(clients):
        wire = next_request(web, f"/{i}")
        assert web.untouched()
        wire.send(reply(b"%d" % i, fields=("Connection: close",)))
        assert client.read_message().body == b"%d" % i
        client.close()
        wire.close()


def next_request(web, target):
    wire, asked = web.take()
    assert asked.head.target == target
    return wire


@pytest.mark.parametrize("limit", [1, 3])
def test_never_more_than_the_limit(place, limit):
    """Under load of many clients over two workers the instance never has more requests than it may, and all are served."""
    crowd = Crowd()
    balancer, web, halb = limited(place, limit=limit)
    web.serve(crowd.answer)

    def visit():
        with balancer.connect() as client:
            for _ in range(10):
                assert client.ask(get()).status == 200
        for _ in range(3):
            assert balancer.ask(get()).status == 200
    for visitor in [background(visit) for _ in range(16)]:
        visitor.result(60)
    assert crowd.most <= limit
    assert len(crowd.targets) == 16 * 13


def test_limits_of_several_instances(place):
    """Each instance has its own limit; who has none takes what the others may not."""
    place.process["workers"] = 2
    one, two, free = place.instance(max_connections=1), place.instance(max_connections=2), place.instance()
    balancer = place.balancer([one, two, free])
    place.start()
    clients = [balancer.connect() for _ in range(10)]
    for client in clients:
        client.send(get())
    wires = [web.take()[0] for web, count in ((one, 1), (two, 2), (free, 7)) for _ in range(count)]
    assert one.untouched() and two.untouched() and free.untouched()
    for wire in wires:
        wire.send(reply(b"x"))
    for client in clients:
        assert client.read_message().status == 200
        client.close()


def test_a_full_queue_spills_over(place):
    """A request that finds the queue full gets 503 at once, and a place in it that comes free is used."""
    balancer, web, halb = limited(place, workers=1, surge_queue=2)
    clients = [balancer.connect() for _ in range(3)]
    for client in clients:
        client.send(get())
        wait_queued(client)
    wire, _ = web.take()
    for _ in range(3):
        with balancer.connect() as late:
            late.send(get())
            assert late.read_exactly(len(FULL)) == FULL
            assert late.silent(0.05) and not late.closed()
    wire.send(reply(b"x"))
    assert clients[0].read_message().status == 200
    wire.read_message()
    with balancer.connect() as late:
        late.send(get())
        assert late.silent(0.1)
        with balancer.connect() as too_late:
            assert too_late.ask(get()).status == 503
    for client in clients:
        client.close()


def test_no_queue_at_all(place):
    """surge_queue = 0: nobody waits."""
    balancer, web, _ = limited(place, surge_queue=0)
    with balancer.connect() as client:
        client.send(get())
        wire, _ = web.take()
        assert [balancer.ask(get()).status for _ in range(5)] == [503] * 5
        wire.send(reply(b"x", fields=("Connection: close",)))
        assert client.read_message().status == 200
    web.serve()
    assert balancer.ask(get()).status == 200


def test_at_most_the_idle_timeout(place):
    """Who has waited for the idle timeout gets 503 and may ask again on the same connection."""
    balancer, web, _ = limited(place, workers=1, idle_timeout="1s")
    with balancer.connect() as busy, balancer.connect() as waits:
        busy.send(get())
        wire, _ = web.take()
        let_pass(0.5)
        waits.send(get())
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(4):              # a byte now and then: the busy one is not idle
            let_pass(0.2)
            wire.send(b"x")
        took, answer = time_of(lambda: waits.read_exactly(len(FULL)))
        assert answer == FULL
        assert took < 0.8
        wire.send(b"x" * 96)
        assert busy.read_message().status == 200
        waits.send(get())
        wire.read_message()
        wire.send(reply(b"again"))
        assert waits.read_message().body == b"again"


def test_a_waiting_client_that_goes_gives_way(place):
    """A client that has gone while it waited takes nobody's place."""
    balancer, web, _ = limited(place, workers=2)
    first, gone, last = (balancer.connect() for _ in range(3))
    for i, client in enumerate((first, gone, last)):
        client.send(get(f"/{i}"))
        wait_queued(client)
        let_pass(0.01)
    wire, _ = web.take()
    gone.reset()
    wire.send(reply(b"0", fields=("Connection: close",)))
    assert first.read_message().body == b"0"
    wire.close()

    def serve_until_last():
        while True:
            wire, asked = web.take()
            wire.send_until_closed(reply(asked.head.target.encode(), fields=("Connection: close",)))
            if asked.head.target == "/2":
                return
    serving = background(serve_until_last)
    assert last.read_message().body == b"/2"
    serving.result()
    first.close()
    last.close()


def test_a_client_that_leaves_makes_room(place):
    """The place of a request whose client goes in the middle of the answer is free again."""
    balancer, web, _ = limited(place)
    with balancer.connect() as waits:
        leaver = balancer.connect()
        leaver.send(get())
        wire, _ = web.take()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nxx")
        leaver.read_head()
        waits.send(get("/next"))
        wait_queued(waits)
        leaver.reset()
        wire.send_until_closed(b"x" * 50)
        next_request(web, "/next").send(reply(b"mine"))
        assert waits.read_message().body == b"mine"


def test_the_queue_ends_when_the_instance_goes_out(place):
    """Those who wait get 503 at once when nobody is in service any more."""
    balancer, web, halb = limited(place)
    with balancer.connect() as busy:
        busy.send(get())
        web.take()
        clients = [balancer.connect() for _ in range(6)]
        for client in clients:
            client.send(get())
            wait_queued(client)
        web.health.refuse()
        for client in clients:
            assert client.read_message().status == 503
            client.close()


def test_another_instance_takes_the_queue(place):
    """An instance that comes into service serves those who wait, in their order."""
    place.process["workers"] = 2
    busy, comes = place.instance(max_connections=1), place.instance(max_connections=1)
    comes.health.refuse()
    balancer = place.balancer([busy, comes])
    halb = place.start(ready=None)
    halb.wait_in_service({balancer.name: 1})
    with balancer.connect() as first:
        first.send(get())
        busy.take()
        clients = [balancer.connect() for _ in range(5)]
        for i, client in enumerate(clients):
            client.send(get(f"/{i}"))
            wait_queued(client)
            let_pass(0.01)
        comes.health.listen()
        for i, client in enumerate(clients):
            wire = next_request(comes, f"/{i}")
            wire.send(reply(b"x", fields=("Connection: close",)))
            assert client.read_message().status == 200
            client.close()
            wire.close()


def test_several_places_at_once(place):
    """Where several places come up at once, so many of those who wait are served, not one after the other."""
    place.process["workers"] = 2
    busy, comes = place.instance(max_connections=1), place.instance(max_connections=3)
    comes.health.refuse()
    balancer = place.balancer([busy, comes])
    halb = place.start(ready=None)
    halb.wait_in_service({balancer.name: 1})
    with balancer.connect() as first:
        first.send(get())
        busy.take()
        clients = [balancer.connect() for _ in range(5)]
        for client in clients:
            client.send(get())
            wait_queued(client)
        comes.health.listen()
        wires = [comes.take()[0] for _ in range(3)]
        assert comes.untouched()
        for wire in wires:
            wire.send(reply(b"x", fields=("Connection: close",)))
            wire.close()
        for wire in [comes.take()[0] for _ in range(2)]:
            wire.send(reply(b"x", fields=("Connection: close",)))
            wire.close()
        for client in clients:
            assert client.read_message().status == 200
            client.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_limit_that_is_raised(place, workers):
    """Who waits goes by the limit of the configuration that a reload has brought."""
    balancer, web, halb = limited(place, workers)
    clients = [balancer.connect() for _ in range(4)]
    for client in clients:
        client.send(get())
        wait_queued(client)
    wires = [web.take()[0]]
    web.settings["max_connections"] = 3
    place.write()
    halb.signal(signal.SIGHUP)
    wires += [web.take()[0] for _ in range(2)]
    assert web.untouched()
    for wire in wires:
        wire.send(reply(b"x", fields=("Connection: close",)))
        wire.close()
    web.serve()
    for client in clients:
        assert client.read_message().status == 200
        client.close()


def test_a_request_with_a_body_waits_whole(place):
    """What the client has sent of a body while it waited is passed on."""
    balancer, web, _ = limited(place)
    body = bytes(range(256)) * 40
    with balancer.connect() as busy, balancer.connect() as waits:
        busy.send(get())
        wire, _ = web.take()
        waits.send(request("POST", "/body", body=body))
        wait_until(lambda: not waits.closed(), 1)
        let_pass(0.05)
        wire.send(reply(b"x", fields=("Connection: close",)))
        assert busy.read_message().status == 200
        wire.close()
        wire, asked = web.take()
        assert (asked.head.target, asked.body) == ("/body", body)
        wire.send(reply(b"y"))
        assert waits.read_message().body == b"y"


def test_tcp_waits_in_order(place):
    """TCP connections wait too, with what they have sent, and are served in their order."""
    balancer, web, _ = limited(place, protocol="TCP")
    clients = []
    for i in range(6):
        clients.append(balancer.connect())
        clients[-1].send(b"hello %d" % i)
        let_pass(0.02)
    for i, client in enumerate(clients):
        wire = web.accept()
        assert wire.read_exactly(7) == b"hello %d" % i
        assert web.untouched()
        wire.send(b"bye")
        assert client.read_exactly(3) == b"bye"
        client.close()
        wire.expect_end()
        wire.close()


def test_tcp_full_queue(place):
    """A TCP connection that finds the queue full is closed; one that waited too long as well."""
    balancer, web, _ = limited(place, workers=1, protocol="TCP", surge_queue=1, idle_timeout="1s")
    with balancer.connect() as busy:
        wire = web.accept()
        with balancer.connect() as waits:
            let_pass(0.05)
            with balancer.connect() as late:
                took, _ = time_of(late.expect_closed)
                assert took < 0.5
            for _ in range(3):
                wire.send(b"x")
                let_pass(0.2)
            took, _ = time_of(waits.expect_closed)
            assert took < 1
            wire.send(b"end")
            assert busy.read_exactly(6) == b"xxxend"


def test_tcp_never_more_than_the_limit(place):
    """Many short TCP connections over two workers: never more than the limit at a time, and all are served."""
    crowd = Crowd()
    balancer, web, _ = limited(place, limit=2, protocol="TCP")

    def play(wire):
        crowd.enter()
        wire.read_exactly(4)
        crowd.leave()
        wire.send(b"pong")
        wire.read_to_end()
    web.serve_wires(play)

    def visit():
        for _ in range(10):
            with balancer.connect() as client:
                client.send(b"ping")
                assert client.read_exactly(4) == b"pong"
    for visitor in [background(visit) for _ in range(12)]:
        visitor.result(60)
    assert crowd.most <= 2
    assert len(crowd.targets) == 120


@pytest.mark.parametrize("limit", [0, 1])
def test_the_start_makes_nobody_wait_in_vain(place, limit):
    """Requests that came before the first checks are all served after them, though the instance takes them one by one."""
    place.process["workers"] = 2
    web = place.instance(max_connections=limit)
    go = threading.Event()

    def checked():
        go.wait(DEADLINE)
        return web.health.PASS
    web.health.plan(checked, web.health.PASS)
    balancer = place.balancer([web], check=place.http_check(interval="3s", timeout="2s"))
    halb = place.start(ready=None)
    clients = [balancer.connect() for _ in range(8)]
    for client in clients:
        client.send(get())
        wait_queued(client)
    assert web.untouched()
    crowd = Crowd()
    web.serve(lambda asked: (let_pass(0.3 if limit else 0), crowd.answer(asked))[1])
    go.set()
    for client in clients:
        assert client.read_message().status == 200
        client.close()
    assert limit == 0 or crowd.most == 1
