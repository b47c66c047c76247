"""TCP listeners: bytes as they are, ends as they are."""
import zlib

import pytest
from lib import background, noise, wait_until
from lib.wire import time_of

BIG = 20 << 20


@pytest.fixture
def pipe(place):
    """A TCP balancer over one instance that the test plays: (balancer, instance)."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP")
    place.start()
    return balancer, web


def joined(balancer, web, **options):
    """Both ends of one connection through the balancer."""
    client = balancer.connect(**options)
    return client, web.accept()


def test_bytes_both_ways(pipe):
    """What either side sends reaches the other, at once and unchanged; no byte is added."""
    client, back = joined(*pipe)
    for data in (b"\x00", b"hello\r\n\r\n", bytes(range(256)), noise(100000)):
        client.send(data)
        assert back.read_exactly(len(data)) == data
        back.send(data[::-1])
        assert client.read_exactly(len(data)) == data[::-1]


def test_the_instance_may_speak_first(pipe):
    """The connection to the instance does not wait for the client's first byte."""
    client, back = joined(*pipe)
    back.send(b"220 ready\r\n")
    assert client.read_exactly(11) == b"220 ready\r\n"


def test_source_address_is_the_nodes(pipe):
    """The instance sees the balancer node's address as its peer."""
    balancer, web = pipe
    _, back = joined(balancer, web)
    assert back.peer == balancer.address


def test_20_mb_both_ways_at_once(pipe):
    """20 MB in each direction at the same time arrive unchanged."""
    client, back = joined(*pipe)
    up, down = noise(BIG), noise(BIG + 1)
    work = [background(client.send, up), background(back.send, down), background(back.read_checksum, len(up)),
            background(client.read_checksum, len(down))]
    results = [job.result() for job in work]
    assert results[2:] == [zlib.crc32(up), zlib.crc32(down)]


def test_client_finishes_first(pipe):
    """The client's FIN reaches the instance, which may go on sending for as long as it likes."""
    client, back = joined(*pipe)
    client.send(b"question")
    client.finish()
    assert back.read_to_end() == b"question"
    data = noise(1 << 20)
    sending = background(back.send, data)
    assert client.read_exactly(len(data)) == data
    sending.result()
    back.finish()
    client.expect_end()


def test_instance_finishes_first(pipe):
    """And the reverse."""
    client, back = joined(*pipe)
    back.send(b"banner")
    back.finish()
    assert client.read_to_end() == b"banner"
    data = noise(1 << 20)
    sending = background(client.send, data)
    assert back.read_exactly(len(data)) == data
    sending.result()
    client.finish()
    back.expect_end()


def test_finish_right_after_data(pipe):
    """Data directly before a FIN is not lost, whatever its size."""
    balancer, web = pipe
    for size in (1, 4096, 65537, 3 << 20):
        client, back = joined(balancer, web)
        data = noise(size)

        def send_and_close(wire=client, data=data):
            wire.send(data)
            wire.close()
        sending = background(send_and_close)
        assert back.read_to_end() == data
        sending.result()
        back.close()


def test_finish_without_data(pipe):
    """A client that finishes without a byte: the instance sees the end and may still answer."""
    client, back = joined(*pipe)
    client.finish()
    back.expect_end()
    back.send(b"bye")
    back.close()
    assert client.read_to_end() == b"bye"


def test_reset_of_the_client(pipe):
    """A client's RST reaches the instance as RST."""
    client, back = joined(*pipe)
    client.send(b"x")
    assert back.read_exactly(1) == b"x"
    client.reset()
    back.expect_reset()


def test_reset_of_the_instance(pipe):
    """An instance's RST reaches the client as RST."""
    client, back = joined(*pipe)
    client.send(b"x")
    back.read_exactly(1)
    back.reset()
    client.expect_reset()


def test_reset_after_half_close(pipe):
    """RST passes also when one direction has ended already."""
    client, back = joined(*pipe)
    client.finish()
    back.expect_end()
    back.reset()
    client.expect_reset()


def test_reset_under_a_stopped_reader(pipe):
    """An instance that resets while the client reads nothing: what was sent ends in RST, and nothing hangs."""
    client, back = joined(*pipe, receive_buffer=4096)
    back.fill()
    back.reset()
    assert client.read_to_any_end()[1] == "rst"


def test_idle_timeout(place):
    """A connection without a byte in either direction for idle_timeout is closed on both sides."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP", idle_timeout="1s")
    place.start()
    client, back = joined(balancer, web)
    took, _ = time_of(client.expect_closed)
    assert 0.9 <= took < 4
    back.expect_closed()


def test_any_byte_keeps_it_open(place):
    """A byte in either direction begins the idle time anew, for both."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP", idle_timeout="1s")
    place.start()
    client, back = joined(balancer, web)
    for sender, other in [(client, back), (back, client), (back, client), (client, back)]:
        assert other.silent(0.6)
        sender.send(b"x")
        assert other.read_exactly(1) == b"x"


def test_connect_is_retried(place):
    """A connect that is refused is tried on another instance: no connection fails."""
    webs = [place.instance(), place.instance()]
    balancer = place.balancer(webs, protocol="TCP")
    place.start()
    webs[0].refuse()
    for _ in range(4):
        client, back = joined(balancer, webs[1])
        client.send(b"x")
        assert back.read_exactly(1) == b"x"
        client.close()


def test_early_bytes_survive_a_retry(place):
    """What the client sent while the first instance did not answer reaches the second one."""
    webs = [place.instance(), place.instance()]
    balancer = place.balancer(webs, protocol="TCP", connect_timeout="200ms")
    place.start()
    webs[0].stall()
    for _ in range(2):
        client = balancer.connect()
        client.send(b"early")
        assert webs[1].accept().read_exactly(5) == b"early"
        client.close()


def test_every_connect_refused(place):
    """When no instance takes the connection, the client's is closed without a byte."""
    webs = [place.instance(), place.instance()]
    balancer = place.balancer(webs, protocol="TCP")
    place.start()
    for web in webs:
        web.refuse()
    balancer.connect().expect_closed()


def test_no_healthy_instance(place):
    """Without an instance in service, connections are closed at once."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP")
    halb = place.start()
    web.health.refuse()
    halb.wait_in_service({balancer.name: 0})
    took, _ = time_of(lambda: balancer.connect().expect_closed())
    assert took < 1
    assert web.untouched()
    web.health.listen()
    halb.wait_in_service({balancer.name: 1})
    client, back = joined(balancer, web)
    client.send(b"x")
    assert back.read_exactly(1) == b"x"


def test_backpressure(pipe):
    """A reader that stops, stops the writer: what lies between them is bounded, and all of it arrives."""
    client, back = joined(*pipe, receive_buffer=65536)
    sent = back.fill()
    assert sent < 40 << 20
    back.finish()
    assert client.read_checksum(sent) == zlib.crc32(bytes(sent))
    client.expect_end()


def test_clients_do_not_mix(place):
    """Fifty connections at once: each gets its own bytes alone."""
    def play(wire):
        while data := wire.read_some():
            wire.send(data)
    web = place.instance().serve_wires(play)
    balancer = place.balancer([web], protocol="TCP")
    place.start()
    clients = [balancer.connect() for _ in range(50)]
    pieces = [noise(5000 + i) for i in range(50)]
    for _ in range(3):
        for client, piece in zip(clients, pieces):
            client.send(piece)
        assert all(client.read_exactly(len(piece)) == piece for client, piece in zip(clients, pieces))
    wait_until(lambda: web.connections == 50, 5)


# streams that keep large buffers full


def flowing(balancer, web):
    """Both ends of a connection on which 8 MB have just gone in each direction."""
    client, back = joined(balancer, web)
    data = noise(8 << 20)
    for sender, receiver in ((client, back), (back, client)):
        sending = background(sender.send, data)
        assert receiver.read_checksum(len(data)) == zlib.crc32(data)
        sending.result()
    return client, back


def test_small_messages_after_bulk(pipe):
    """After bulk, single bytes pass at once, in both directions."""
    client, back = flowing(*pipe)
    for _ in range(100):
        client.send(b"a")
        assert back.read_exactly(1) == b"a"
        back.send(b"b")
        assert client.read_exactly(1) == b"b"


def test_half_close_after_bulk(pipe):
    """After bulk, each direction ends by itself."""
    client, back = flowing(*pipe)
    client.finish()
    back.expect_end()
    data = noise(5 << 20)
    sending = background(back.send, data)
    assert client.read_checksum(len(data)) == zlib.crc32(data)
    sending.result()
    back.finish()
    client.expect_end()


@pytest.mark.parametrize("side", [0, 1], ids=["client", "instance"])
def test_reset_after_bulk(pipe, side):
    """After bulk, RST is passed on as RST."""
    ends = flowing(*pipe)
    ends[side].reset()
    ends[1 - side].expect_reset()


@pytest.mark.parametrize("side", [0, 1], ids=["client", "instance"])
def test_reset_in_bulk(pipe, side):
    """RST in the middle of a full stream reaches the other side, which was stopped in its writing."""
    ends = flowing(*pipe)
    ends[1 - side].fill()
    ends[side].reset()
    assert ends[1 - side].read_to_any_end()[1] == "rst"


def test_idle_after_bulk(place):
    """idle_timeout holds after bulk too."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP", idle_timeout="1s")
    place.start()
    client, back = flowing(balancer, web)
    took, _ = time_of(client.expect_closed)
    assert 0.8 <= took < 4
    back.expect_closed()


def test_many_bulk_streams_at_once(pipe):
    """Forty full streams at once: all arrive, whatever runs short."""
    balancer, web = pipe
    data = noise(2 << 20)
    pairs = [joined(balancer, web) for _ in range(40)]
    sending = [background(client.send, data) for client, _ in pairs]
    receiving = [background(back.read_checksum, len(data)) for _, back in pairs]
    assert {job.result() for job in receiving} == {zlib.crc32(data)}
    for job in sending:
        job.result()
    for client, back in pairs:
        client.finish()
        back.expect_end()


def test_bulk_is_cut_with_its_instance(place):
    """A full stream to an instance that is deregistered without draining ends at once."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP", connection_draining={"enabled": False})
    halb = place.start()
    client, back = flowing(balancer, web)
    back.fill()
    assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
    client.read_to_any_end()
    back.read_to_any_end()


def test_bulk_ends_with_the_process(place):
    """A second signal ends full streams too."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP")
    halb = place.start()
    client, back = flowing(balancer, web)
    back.fill()
    halb.stop()
    client.read_to_any_end()
    back.read_to_any_end()
