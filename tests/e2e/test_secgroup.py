"""Security groups at accept: who is not admitted is closed at once."""
import pytest
from lib import get
from lib.addresses import fresh_address


def guarded(place, groups, **options):
    """A balancer that carries these groups, over one instance that answers: (balancer, instance)."""
    web = place.instance().serve()
    balancer = place.balancer([web], settings={"security_groups": groups}, **options)
    return balancer, web


def turned_away(balancer, source, listener=0):
    """The connection ends without a byte, before any request."""
    with balancer.connect(source=source, listener=listener) as client:
        client.expect_closed()
    return True


def served(balancer, source, listener=0):
    return balancer.ask(get(), source=source, listener=listener).status == 200


def test_cidr(place):
    """A rule with a CIDR admits its addresses and no other one."""
    inside, outside = fresh_address(), fresh_address()
    balancer, web = guarded(place, ["secg"])
    place.group("secg", [(balancer.port, f"{inside}/32")])
    place.start()
    assert served(balancer, inside)
    assert turned_away(balancer, outside)
    assert web.connections == 1


def test_wide_cidr(place):
    """Any address of a network is admitted; tcp from anywhere is 0.0.0.0/0."""
    balancer, _ = guarded(place, ["secg"])
    place.group("secg", [(balancer.port, "0.0.0.0/0")])
    place.start()
    assert served(balancer, fresh_address())


def test_no_groups_is_open(place):
    """A balancer without groups admits everyone."""
    balancer, _ = guarded(place, [])
    place.start()
    assert served(balancer, fresh_address())


def test_group_without_rules_admits_nobody(place):
    """A group that names no ingress lets nobody in."""
    balancer, _ = guarded(place, ["secg"])
    place.group("secg", [])
    place.start()
    assert turned_away(balancer, fresh_address())


def test_rule_of_another_port(place):
    """A rule admits to its own port alone."""
    source = fresh_address()
    balancer, _ = guarded(place, ["secg"])
    place.group("secg", [(balancer.port + 1 if balancer.port < 65535 else 1, "0.0.0.0/0")])
    place.start()
    assert turned_away(balancer, source)


def test_group_of_instances_as_source(place):
    """A group as source admits the instances that carry it."""
    balancer, _ = guarded(place, ["secg-lb"])
    client = place.instance("waf", security_groups=["secg-waf"])
    stranger = place.instance("stranger", security_groups=["secg-other"])
    place.group("secg-waf", [])
    place.group("secg-other", [])
    place.group("secg-lb", [(balancer.port, "secg-waf")])
    place.start()
    assert served(balancer, client.address)
    assert turned_away(balancer, stranger.address)


def test_group_of_a_balancer_as_source(place):
    """A group as source admits the nodes of the balancers that carry it."""
    inner, _ = guarded(place, ["secg-inner"])
    outer, _ = guarded(place, ["secg-outer"])
    place.group("secg-outer", [(outer.port, "0.0.0.0/0")])
    place.group("secg-inner", [(inner.port, "secg-outer")])
    place.start()
    assert served(inner, outer.address)
    assert turned_away(inner, fresh_address())


def test_members(place):
    """A group's members are admitted like its instances."""
    member, other = fresh_address(), fresh_address()
    balancer, _ = guarded(place, ["secg-lb"])
    place.group("secg-friends", [], members=[f"{member}/32"])
    place.group("secg-lb", [(balancer.port, "secg-friends")])
    place.start()
    assert served(balancer, member)
    assert turned_away(balancer, other)


def test_several_groups_add_up(place):
    """A balancer with two groups admits whom either admits."""
    one, two, other = fresh_address(), fresh_address(), fresh_address()
    balancer, _ = guarded(place, ["secg-1", "secg-2"])
    place.group("secg-1", [(balancer.port, f"{one}/32")])
    place.group("secg-2", [(balancer.port, f"{two}/32")])
    place.start()
    assert served(balancer, one)
    assert served(balancer, two)
    assert turned_away(balancer, other)


def test_tcp_listener(place):
    """TCP listeners are guarded too: nothing reaches the instance."""
    inside, outside = fresh_address(), fresh_address()
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP", settings={"security_groups": ["secg"]})
    place.group("secg", [(balancer.port, f"{inside}/32")])
    place.start()
    assert turned_away(balancer, outside)
    assert web.untouched()
    with balancer.connect(source=inside) as client:
        client.send(b"x")
        assert web.accept().read_exactly(1) == b"x"


def test_a_flood_of_strangers_harms_nobody(place):
    """Hundreds of refused connections are logged in few lines, and who is admitted is served."""
    inside, outside = fresh_address(), fresh_address()
    balancer, _ = guarded(place, ["secg"])
    place.group("secg", [(balancer.port, f"{inside}/32")])
    place.process["log_level"] = "info"
    halb = place.start()
    for _ in range(300):
        turned_away(balancer, outside)
    assert served(balancer, inside)
    assert sum(outside in line for line in halb.log().splitlines()) < 30


@pytest.mark.parametrize("source", ["secg-nowhere", "10.0.0.1/8", "10.0.0"])
def test_bad_source(place, source):
    """A source that is neither a group nor a CIDR is a configuration error that names it."""
    balancer, _ = guarded(place, ["secg"])
    place.group("secg", [(balancer.port, source)])
    halb = place.start(ready=False)
    halb.judge(halb.wait_exit(), 1)
    assert source in halb.log()
