"""Bounds: descriptors, connections, memory. Full is handled where empty is."""
import os

import pytest
from lib import SANITIZED, DEADLINE, background, get, reply, request, wait_until

GIB = 1 << 30


def cpu_seconds(halb):
    """Processor time of the process, all threads."""
    total = 0
    for pid in (halb.pid, *halb.children()):
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


def open_until_refused(balancer, count):
    """Up to `count` connections; those that are answered, and the rest that is closed or waits."""
    clients = [balancer.connect() for _ in range(count)]
    for client in clients:
        client.send_until_closed(get())
    return clients


def test_no_descriptors_left(place):
    """With all descriptors in use service goes on, says so once, burns no processor time, and recovers."""
    balancer = place.balancer([place.instance().serve()])
    halb = place.start(before=("/usr/bin/prlimit", "--nofile=128:128"))
    clients = open_until_refused(balancer, 200)
    assert clients[0].read_message().body == b"web-1"
    lines = len(halb.log().splitlines())
    spent = cpu_seconds(halb)
    assert not clients[0].silent(0) or clients[0].silent(0.5)
    assert cpu_seconds(halb) - spent < 0.25, "a full process must not spin"
    assert len(halb.log().splitlines()) - lines < 20, "the condition is logged once, not once per event"
    for client in clients:
        client.close()
    wait_until(lambda: answers(balancer), DEADLINE, "service after the connections have gone")


def answers(balancer):
    try:
        return balancer.ask(get()).status == 200
    except (OSError, AssertionError):
        return False


def test_max_connections(place):
    """max_connections bounds the clients; who has a place is served, and a freed place is used."""
    place.process["max_connections"] = 10
    balancer = place.balancer([place.instance().serve()])
    halb = place.start()
    clients = [balancer.connect() for _ in range(10)]
    assert all(client.ask(get()).status == 200 for client in clients)
    extra = [balancer.connect() for _ in range(20)]
    for client in extra:
        client.send_until_closed(get())
    assert all(client.ask(get()).status == 200 for client in clients)
    assert extra[0].silent(0.2) or extra[0].closed()
    assert halb.log().count("max_connections") < 5
    for client in clients:
        client.close()
    wait_until(lambda: answers(balancer), DEADLINE, "service after places have been freed")


def high_water(halb, work, bound_kib):
    """Runs the work and watches memory: it never grows beyond the bound."""
    before = halb.memory_kib()
    highest = before
    while not work.done():
        highest = max(highest, halb.memory_kib())
        assert highest - before < bound_kib, f"memory grew from {before} to {highest} KiB"
    return work.result()


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's memory is its own")
def test_memory_is_flat_under_a_large_download(place):
    """1 GiB to a client that reads nothing at first and then slowly: memory stays flat."""
    block = bytes(1 << 20)

    def play(wire):
        wire.read_message()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
        for _ in range(GIB // len(block)):
            wire.send(block)
        wire.read_to_end()
    balancer = place.balancer([place.instance().serve_wires(play)])
    halb = place.start()
    with balancer.connect(receive_buffer=262144) as client:
        client.send(get())
        client.read_head()

        def read():
            client.silent(0.3)
            left, view = GIB, memoryview(bytearray(1 << 18))
            left -= len(client.unread)
            while left > 0:
                count = client.sock.recv_into(view)
                assert count > 0, f"the end with {left} bytes to come"
                left -= count
        high_water(halb, background(read), 24 << 10)


@pytest.mark.skipif(SANITIZED, reason="a sanitizer's memory is its own")
def test_memory_is_flat_under_a_large_upload(place):
    """512 MiB from a client to an instance that begins to read late: memory stays flat."""
    size, block = GIB // 2, bytes(1 << 20)

    def play(wire):
        wire.silent(0.3)
        head = wire.read_head()
        left, view = int(head.get("Content-Length")) - len(wire.unread), memoryview(bytearray(1 << 18))
        while left > 0:
            count = wire.sock.recv_into(view)
            assert count > 0
            left -= count
        wire.unread = b""
        wire.send(reply(b"all"))
        wire.read_to_end()
    balancer = place.balancer([place.instance().serve_wires(play)])
    halb = place.start()
    with balancer.connect() as client:
        client.send(request("PUT", "/", f"Content-Length: {size}"))

        def write():
            for _ in range(size // len(block)):
                client.send(block)
            return client.read_message().body
        assert high_water(halb, background(write), 24 << 10) == b"all"


def test_many_idle_connections(place):
    """2000 idle connections cost little memory and no one's service, before and after a request on each."""
    place.process["max_connections"] = 4000
    balancer = place.balancer([place.instance().serve()])
    halb = place.start()
    before = halb.memory_kib()
    clients = [balancer.connect() for _ in range(2000)]
    assert balancer.ask(get()).status == 200
    for client in clients:
        assert client.ask(get()).status == 200
    if not SANITIZED:
        assert halb.memory_kib() - before < 2000 * 12, "an idle connection holds no buffer"
    assert clients[0].ask(get()).status == 200
    for client in clients:
        client.close()


def test_many_requests_at_once(place):
    """500 clients that ask at the same moment are all answered."""
    balancer = place.balancer([place.instance().serve(), place.instance().serve()])
    place.start()
    clients = [balancer.connect() for _ in range(500)]
    for client in clients:
        client.send(get())
    assert {client.read_message().body for client in clients} == {b"web-1", b"web-2"}
    for client in clients:
        client.close()


def test_slow_heads_keep_nobody_waiting(place):
    """Hundreds of clients inside their heads leave room for those who ask."""
    balancer = place.balancer([place.instance().serve()])
    place.start()
    clients = [balancer.connect() for _ in range(500)]
    for client in clients:
        client.send(b"GET / HTTP/1.1\r\nHost: ")
    assert balancer.ask(get()).status == 200
    for client in clients:
        client.send(b"slow\r\n\r\n")
    assert all(client.read_message().status == 200 for client in clients)


def test_stopped_readers_keep_nobody_waiting(place):
    """Clients that read nothing hold their buffers, not those of others."""
    body = bytes(4 << 20)
    balancer = place.balancer([place.instance().serve(lambda asked: reply(body) if asked.head.target == "/big" else reply(b"x"))])
    place.start()
    stopped = [balancer.connect(receive_buffer=4096) for _ in range(60)]
    for client in stopped:
        client.send(get("/big"))
    for _ in range(20):
        assert balancer.ask(get()).body == b"x"
    for client in stopped[:5]:
        assert len(client.read_message().body) == len(body)
    for client in stopped:
        client.close()
