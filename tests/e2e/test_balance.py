"""Who gets the next request: equal shares exactly, zones, overrides."""
import collections

import pytest
from lib import Instance, get, let_pass, reply, wait_until

ELB_ZONE = ("Instance is in the EC2 Availability Zone for which LoadBalancer is not configured to route traffic to.")


def named(count, place, zone=""):
    """Instances that answer with their names."""
    return [place.instance(zone=zone).serve() for _ in range(count)]


def sequence(balancer, count, **options):
    """Who answered each of `count` consecutive requests, each on a connection of its own."""
    return [balancer.ask(get(), **options).body.decode() for _ in range(count)]


def check_exact(names, instances):
    """At no time do the counts of two instances differ by more than one."""
    counts = {instance.id: 0 for instance in instances}
    for number, name in enumerate(names):
        counts[name] += 1
        assert max(counts.values()) - min(counts.values()) <= 1, f"after {number + 1}: {counts}"


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("count", [2, 3])
def test_equal_shares_are_exact(place, workers, count):
    """Consecutive requests on fresh connections are shared exactly, over all workers."""
    place.process["workers"] = workers
    webs = named(count, place)
    balancer = place.balancer(webs)
    place.start()
    check_exact(sequence(balancer, 60), webs)


def test_equal_shares_on_one_connection(place):
    """Requests are shared, not connections: a kept connection sees all instances equally."""
    webs = named(3, place)
    balancer = place.balancer(webs)
    place.start()
    with balancer.connect() as client:
        check_exact([client.ask(get()).body.decode() for _ in range(60)], webs)


def test_equal_shares_per_node(place):
    """Each node shares out by itself: nodes know nothing of each other."""
    place.process["workers"] = 2
    webs = named(2, place)
    balancer = place.balancer(webs, zones=("a", "b"))
    for web, zone in zip(webs, "ab"):
        web.zone = zone
    place.start()
    first, second = [], []
    for _ in range(20):
        first += sequence(balancer, 1, node=0)
        second += sequence(balancer, 2, node=1)
    check_exact(first, webs)
    check_exact(second, webs)


def test_least_outstanding(place):
    """A request goes where the fewest are unanswered."""
    busy, free = place.instance(), place.instance()
    balancer = place.balancer([busy, free])
    place.start()
    with balancer.connect() as waiting:
        waiting.send(get())
        chosen = wait_until(lambda: next((w for w in (busy, free) if not w.untouched()), None), 5)
        other = free if chosen is busy else busy
        back, _ = chosen.take()
        other.serve()
        assert sequence(balancer, 10) == [other.id] * 10
        back.send(reply(b"at last"))
        assert waiting.read_message().body == b"at last"
        assert chosen.untouched()


def test_equal_shares_after_an_absence(place):
    """An instance that was out gets its equal share again, and not all that it missed."""
    webs = named(2, place)
    balancer = place.balancer(webs)
    halb = place.start()
    webs[0].health.refuse()
    halb.wait_in_service({balancer.name: 1})
    assert set(sequence(balancer, 11)) == {"web-2"}
    webs[0].health.listen()
    halb.wait_in_service({balancer.name: 2})
    check_exact(sequence(balancer, 20), webs)


@pytest.mark.parametrize("workers", [1, 2])
def test_tcp_round_robin(place, workers):
    """TCP connections go round, exactly, over all workers, also while they stay open."""
    place.process["workers"] = workers
    webs = [place.instance().serve_wires(lambda wire, i=i: (wire.send(b"%d" % i), wire.read_to_end())) for i in range(3)]
    balancer = place.balancer(webs, protocol="TCP")
    place.start()
    clients, counts = [], collections.Counter({0: 0, 1: 0, 2: 0})
    for _ in range(30):
        clients.append(balancer.connect())
        counts[int(clients[-1].read_exactly(1))] += 1
        assert max(counts.values()) - min(counts.values()) <= 1
    for client in clients:
        client.close()


def test_cross_zone_off(place):
    """Without cross_zone a node uses the instances of its own zone alone; with none of them in service it answers 503."""
    webs = named(1, place, "a") + named(1, place, "b")
    balancer = place.balancer(webs, zones=("a", "b"), cross_zone=False)
    halb = place.start()
    assert set(sequence(balancer, 6, node=0)) == {"web-1"}
    assert set(sequence(balancer, 6, node=1)) == {"web-2"}
    webs[0].health.refuse()
    halb.wait_in_service({balancer.name: 1})
    assert balancer.ask(get(), node=0).status == 503
    assert set(sequence(balancer, 6, node=1)) == {"web-2"}


def test_cross_zone_on(place):
    """With cross_zone, the default, each node uses all."""
    webs = named(1, place, "a") + named(1, place, "b")
    balancer = place.balancer(webs, zones=("a", "b"))
    place.start()
    for node in (0, 1):
        check_exact(sequence(balancer, 10, node=node), webs)


def test_instance_in_a_zone_without_subnet(place):
    """An instance in a zone where the balancer has no subnet is OutOfService with ELB's reason, and gets nothing."""
    webs = named(1, place, "a") + named(1, place, "elsewhere")
    balancer = place.balancer(webs, zones=("a",))
    halb = place.start(ready=None)
    halb.wait_in_service({balancer.name: 1})
    assert set(sequence(balancer, 6)) == {"web-1"}
    health = halb.instance(balancer.name, "web-2")
    assert (health["state"], health["reason_code"], health["description"]) == ("OutOfService", "ELB", ELB_ZONE)


def test_one_process_per_zone(place):
    """-z serves only that zone's node, over the instances of all zones."""
    webs = named(1, place, "a") + named(1, place, "b")
    balancer = place.balancer(webs, zones=("a", "b"))
    place.start("-z", "b")
    check_exact(sequence(balancer, 10, node=1), webs)
    with pytest.raises(ConnectionRefusedError):
        balancer.connect(node=0)


def test_zone_that_does_not_exist(place):
    """-z with a zone that no balancer has is refused."""
    place.balancer([place.instance(zone="a")], zones=("a",))
    halb = place.start("-z", "nowhere", ready=False)
    code = halb.wait_exit()
    halb.judge(code, code)
    assert code in (1, 2)
    assert "nowhere" in halb.log()


def test_several_balancers_in_one_process(place):
    """Balancers share instances and know nothing of each other's shares."""
    webs = named(2, place)
    one, two = place.balancer(webs), place.balancer(webs)
    place.start()
    first, second = [], []
    for _ in range(10):
        first += sequence(one, 1)
        second += sequence(two, 1)
    check_exact(first, webs)
    check_exact(second, webs)


def test_ipv6_instance_and_node(place):
    """Nodes and instances may have IPv6 addresses."""
    web = Instance("six", "::1", place.instance_port, place.health_port)
    web.serve(lambda asked: reply(asked.head.get("X-Forwarded-For").encode()))
    place.instances.append(web)
    balancer = place.balancer([web])
    balancer.nodes[0].update(cidr="::1/128", address="::1")
    place.start()
    assert balancer.ask(get()).body == b"::1"


def test_an_idle_moment_changes_nothing(place):
    """Shares stay exact when requests come with pauses in between."""
    webs = named(2, place)
    balancer = place.balancer(webs)
    place.start()
    names = []
    for _ in range(4):
        names += sequence(balancer, 3)
        let_pass(0.15)
    check_exact(names, webs)
