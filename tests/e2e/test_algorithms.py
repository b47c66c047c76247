"""Which instance gets the next request: weights, the four algorithms, slow start."""
import collections
import time

import pytest
from lib import get, let_pass, reply, wait_until
from test_balance import check_exact, named, sequence


def weighted(place, weights):
    """Instances of these weights that answer with their names."""
    return [place.instance(weight=weight).serve() for weight in weights]


def check_weighted(names, webs):
    """Divided by the weights, the counts differ by at most one pick's worth, at any time."""
    counts = {web.id: 0 for web in webs}
    weights = {web.id: web.settings["weight"] for web in webs}
    for name in names:
        counts[name] += 1
        for one, weight in weights.items():
            if weight == 0:
                assert counts[one] == 0
                continue
            for other, its in weights.items():
                assert its == 0 or counts[one] / weight - counts[other] / its <= 1 / weight + 1e-9, counts
    return counts


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("algorithm", ["default", "least-outstanding", "round-robin"])
def test_weights(place, workers, algorithm):
    """1, 2, 3 get a sixth, a third and a half, over all workers."""
    place.process["workers"] = workers
    webs = weighted(place, [1, 2, 3])
    balancer = place.balancer(webs, algorithm=algorithm)
    place.start()
    assert list(check_weighted(sequence(balancer, 60), webs).values()) == [10, 20, 30]


def test_weights_at_the_ends(place):
    """256 beside 1 gets nearly all; 0 gets nothing."""
    webs = weighted(place, [256, 1, 0])
    balancer = place.balancer(webs)
    place.start()
    with balancer.connect() as client:
        names = [client.ask(get()).body.decode() for _ in range(520)]
    assert check_weighted(names, webs)["web-2"] in (2, 3)


def test_weights_by_load(place):
    """Least outstanding counts by weight: with all answers held back, three of four are with weight 3."""
    one, three = place.instance(weight=1), place.instance(weight=3)
    balancer = place.balancer([one, three])
    place.start()
    clients = [balancer.connect() for _ in range(8)]
    for client in clients:
        client.send(get())
    wires = [web.take()[0] for web, count in ((one, 2), (three, 6)) for _ in range(count)]
    assert one.untouched() and three.untouched()
    for wire in wires:
        wire.send(reply(b"x"))
    for client in clients:
        assert client.read_message().status == 200
        client.close()


def test_weight_zero_alone(place):
    """With nobody but weight 0 in service there is nobody to ask: 503, and never one of weight 0."""
    webs = weighted(place, [0, 1])
    balancer = place.balancer(webs)
    halb = place.start()
    assert set(sequence(balancer, 5)) == {"web-2"}
    webs[1].health.refuse()
    halb.wait_in_service({balancer.name: 1})
    assert balancer.ask(get()).status == 503
    assert webs[0].served == 0
    webs[1].health.listen()
    halb.wait_in_service({balancer.name: 2})
    assert set(sequence(balancer, 5)) == {"web-2"}


def test_weights_after_an_absence(place):
    """Several that return at the same time are not owed what they missed: who stayed keeps its share."""
    webs = weighted(place, [2, 1, 1])
    balancer = place.balancer(webs)
    halb = place.start()
    for web in webs[1:]:
        web.health.refuse()
    halb.wait_in_service({balancer.name: 1})
    assert set(sequence(balancer, 60)) == {"web-1"}
    for web in webs[1:]:
        web.health.listen()
    halb.wait_in_service({balancer.name: 3})
    counts = collections.Counter(sequence(balancer, 40))
    assert abs(counts["web-1"] - 20) <= 2 and abs(counts["web-2"] - 10) <= 2, counts


def test_tcp_weights(place):
    """TCP listeners know weights too."""
    webs = [place.instance(weight=weight).serve_wires(lambda wire, i=i: (wire.send(b"%d" % i), wire.read_to_end()))
            for i, weight in enumerate((1, 3))]
    balancer = place.balancer(webs, protocol="TCP")
    place.start()
    counts = collections.Counter()
    for _ in range(40):
        with balancer.connect() as client:
            counts[client.read_exactly(1)] += 1
    assert counts == {b"0": 10, b"1": 30}


def test_algorithm_per_balancer(place):
    """Each balancer has its own algorithm: with one instance busy, one goes round and one passes it over."""
    webs = [place.instance(), place.instance()]
    webs[1].serve()
    round_robin = place.balancer(webs, algorithm="round-robin")
    least = place.balancer(webs, algorithm="least-outstanding")
    place.start()
    held = []
    for balancer in (round_robin, least):       # web-1 is the first of each, and does not answer
        held.append(balancer.connect())
        held[-1].send(get())
        webs[0].take()
    assert sequence(least, 6) == ["web-2"] * 6
    for _ in range(3):
        assert sequence(round_robin, 1) == ["web-2"]
        held.append(round_robin.connect())
        held[-1].send(get())
        webs[0].take()
    for client in held:
        client.close()


def test_tcp_least_outstanding(place):
    """A TCP balancer that is told so goes by open connections."""
    webs = [place.instance().serve_wires(lambda wire, i=i: (wire.send(b"%d" % i), wire.read_to_end())) for i in range(2)]
    balancer = place.balancer(webs, protocol="TCP", algorithm="least-outstanding")
    place.start()

    def joined():
        client = balancer.connect()
        return client, client.read_exactly(1)
    stays, first = joined()
    for _ in range(5):
        client, name = joined()
        assert name != first
        client.close()
        wait_until(lambda: others_left(webs, first), 5, "the connection has gone")
    stays.close()


def others_left(webs, first):
    return all(wire.sock.fileno() < 0 for wire in webs[1 - int(first)]._wires)


@pytest.mark.parametrize("workers", [1, 2])
def test_random_two(place, workers):
    """Two at random, the less loaded of them: the most loaded of all never gets anything, the others all do."""
    place.process["workers"] = workers
    webs = [place.instance() for _ in range(3)]
    balancer = place.balancer(webs, algorithm="random-two")
    place.start()
    held = balancer.connect()
    held.send(get())
    busy = wait_until(lambda: next((web for web in webs if not web.untouched()), None), 5)
    busy.take()
    others = [web for web in webs if web is not busy]
    for web in others:
        web.serve()
    counts = collections.Counter(sequence(balancer, 60))
    assert set(counts) == {web.id for web in others}, counts
    assert busy.untouched()
    held.close()


def test_random_two_shares(place):
    """Without load it is chance alone, as the weights say: far bounds that only a wrong rule misses."""
    webs = weighted(place, [1, 3])
    balancer = place.balancer(webs, algorithm="random-two")
    place.start()
    with balancer.connect() as client:
        counts = collections.Counter(client.ask(get()).body.decode() for _ in range(800))
    assert 130 <= counts["web-1"] <= 270, counts     # 200 expected, standard deviation 12


SOURCES = [f"127.200.{i}.{i * 7 + 1}" for i in range(30)]


def of_sources(balancer):
    """Which instance each client address is given."""
    return {source: balancer.ask(get(), source=source).body.decode() for source in SOURCES}


@pytest.mark.parametrize("workers", [1, 2])
def test_source_hash(place, workers):
    """A client's address decides; who leaves takes only its own clients along, and gets them back."""
    place.process["workers"] = workers
    webs = named(4, place)
    balancer = place.balancer(webs, algorithm="source-hash")
    halb = place.start()
    before = of_sources(balancer)
    assert len(set(before.values())) == 4, before
    assert of_sources(balancer) == before
    webs[2].health.refuse()
    halb.wait_in_service({balancer.name: 3})
    without = of_sources(balancer)
    assert {s for s in SOURCES if without[s] != before[s]} == {s for s in SOURCES if before[s] == "web-3"}
    webs[2].health.listen()
    halb.wait_in_service({balancer.name: 4})
    assert of_sources(balancer) == before


def test_source_hash_is_every_process_own(place):
    """Two nodes of a balancer, and a process that was started anew, agree without having met."""
    webs = named(4, place)
    balancer = place.balancer(webs, zones=("a", "b"), algorithm="source-hash")
    for web in webs:
        web.zone = "a"
    halb = place.start()
    before = of_sources(balancer)
    assert {source: balancer.ask(get(), node=1, source=source).body.decode() for source in SOURCES} == before
    halb.stop()
    place.start()
    assert of_sources(balancer) == before


def test_tcp_source_hash(place):
    """A TCP balancer goes by the client's address as well."""
    webs = [place.instance().serve_wires(lambda wire, i=i: (wire.send(b"%d" % i), wire.read_to_end())) for i in range(3)]
    balancer = place.balancer(webs, protocol="TCP", algorithm="source-hash")
    place.start()

    def given(source):
        with balancer.connect(source=source) as client:
            return client.read_exactly(1)
    first = [given(source) for source in SOURCES]
    assert set(first) == {b"0", b"1", b"2"}
    assert [given(source) for source in SOURCES] == first


def test_slow_start(place):
    """An instance that returns gets a tenth of its share at first, then more and more, at last the whole."""
    ramp = 4
    webs = named(2, place)
    balancer = place.balancer(webs, slow_start=f"{ramp}s")
    halb = place.start()
    let_pass(ramp)                  # at the start all of them grow side by side
    webs[1].health.refuse()
    halb.wait_in_service({balancer.name: 1})
    assert set(sequence(balancer, 20)) == {"web-1"}
    webs[1].health.listen()
    halb.wait_in_service({balancer.name: 2})
    seen = []

    def share():
        counts = collections.Counter(sequence(balancer, 60))
        seen.append((time.monotonic(), counts["web-2"] / 60))
        return seen[-1][1]
    assert share() < 0.25
    wait_until(lambda: 0.25 < share() < 0.45, ramp, "a share in the middle")
    wait_until(lambda: share() == 0.5, 2 * ramp, "the whole share")
    assert seen[-1][0] - seen[0][0] > ramp / 2


def test_no_slow_start(place):
    """Without it, the default, the share is whole at once."""
    webs = named(2, place)
    balancer = place.balancer(webs)
    halb = place.start()
    webs[1].health.refuse()
    halb.wait_in_service({balancer.name: 1})
    webs[1].health.listen()
    halb.wait_in_service({balancer.name: 2})
    check_exact(sequence(balancer, 20), webs)
