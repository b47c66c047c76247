"""SIGHUP: the file is taken over as a whole, or not at all, and nobody notices but by what it says."""
import os
import signal
import socket

import pytest
from lib import DEADLINE, Load, get, reply, wait_until
from lib.addresses import fresh_address, free_port


def reload(place, halb, expected="configuration reloaded"):
    """Writes the file, asks for it to be read, and waits for what is expected of that to be logged."""
    place.write()
    seen = halb.log().count(expected)
    halb.signal(signal.SIGHUP)
    wait_until(lambda: halb.log().count(expected) > seen, DEADLINE, expected)


def states(halb, balancer):
    return {row["instance"]: row for row in halb.ask("instance-health", balancer.name)}


def test_instances_come_and_go(place):
    """Instances that the file adds are checked and used; those that it drops drain; those that stay keep their verdict."""
    webs = [place.instance().serve() for _ in range(3)]
    balancer = place.balancer(webs[:2])
    halb = place.start()
    since = states(halb, balancer)[webs[0].id]["since"]
    balancer.instances = [webs[0], webs[2]]
    reload(place, halb)
    halb.wait_in_service({balancer.name: 2})
    assert {balancer.ask(get()).body for _ in range(8)} == {web.id.encode() for web in (webs[0], webs[2])}
    assert states(halb, balancer)[webs[0].id]["since"] == since


def test_listeners_come_and_go(place):
    """A listener that is added serves; one that is dropped refuses; one that stays keeps its connections."""
    balancer = place.balancer([place.instance().serve()])
    halb = place.start()
    kept = balancer.connect()
    assert kept.ask(get()).status == 200
    balancer.listeners.append({**balancer.listeners[0], "port": free_port()})
    reload(place, halb)
    assert balancer.ask(get(), listener=1).status == 200
    going = balancer.connect(listener=1)
    assert going.ask(get()).status == 200
    gone = balancer.listeners.pop()
    reload(place, halb)
    going.expect_closed()
    balancer.listeners.append(gone)
    with pytest.raises(ConnectionRefusedError):
        balancer.connect(listener=1)
    assert kept.ask(get()).status == 200


def test_balancers_come_and_go(place):
    """A whole balancer is added and dropped; the other one does not care, wherever it stands in the file."""
    first = place.balancer([place.instance().serve()])
    halb = place.start()
    second = place.balancer([place.instance().serve()])
    place.balancers.reverse()
    kept = first.connect()
    assert kept.ask(get()).status == 200
    reload(place, halb)
    halb.wait_in_service({first.name: 1, second.name: 1})
    assert second.ask(get()).body == second.instances[0].id.encode()
    assert kept.ask(get()).body == first.instances[0].id.encode()
    place.balancers.remove(second)
    reload(place, halb)
    with pytest.raises(ConnectionRefusedError):
        second.connect()
    assert kept.ask(get()).status == 200


def test_a_request_under_way_ends_as_it_began(place):
    """What was asked before the reload is answered after it, by the instance that had it."""
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    client = balancer.connect()
    client.send(get())
    back, _ = web.take()
    balancer.attributes["idle_timeout"] = "30s"
    reload(place, halb)
    back.send(reply(b"late"))
    assert client.read_message().body == b"late"


@pytest.mark.parametrize("break_it, expected", [
    (lambda place: place.balancers[0].listeners[0].update(port=70000), "70000"),
    (lambda place: place.balancers[0].attributes.update(idle_timout="1s"), "idle_timout"),
    (lambda place: place.balancers[0].health_check.update(interval="1s", timeout="2s"), "timeout"),
], ids=["a port too large", "a misspelt setting", "a timeout above its interval"])
def test_a_bad_file_changes_nothing(place, break_it, expected):
    """A bad file is refused with what is wrong in it, and all stays as it was."""
    balancer = place.balancer([place.instance().serve()])
    halb = place.start()
    kept, port = balancer.connect(), balancer.port
    break_it(place)
    reload(place, halb, "reload: nothing was changed")
    assert expected in halb.log()
    balancer.listeners[0]["port"] = port
    assert kept.ask(get()).status == 200
    assert balancer.ask(get()).status == 200


def test_an_address_in_use_changes_nothing(place):
    """If one new listener can not be had, none is changed, and the configuration before stays in force."""
    balancer = place.balancer([place.instance().serve()])
    halb = place.start()
    balancer.nodes.append({"id": "subnet-new", "cidr": f"{fresh_address()}/32", "zone": "elsewhere", "address": ""})
    balancer.nodes[-1]["address"] = balancer.nodes[-1]["cidr"][:-3]
    balancer.nodes[0]["zone"] = "here"
    with socket.socket() as stranger:
        stranger.bind((balancer.nodes[1]["address"], balancer.port))
        stranger.listen()
        reload(place, halb, "the configuration before stays in force")
        assert "address in use" in halb.log()
        assert balancer.ask(get()).status == 200


@pytest.mark.parametrize("fresh", [False, True], ids=["kept", "fresh"])
def test_reloads_under_load(place, fresh):
    """Twenty reloads that change instances, checks and listeners: no request fails, no connection is lost."""
    place.process["workers"] = 2
    webs = [place.instance().serve() for _ in range(3)]
    balancer = place.balancer(webs)
    halb = place.start()
    extra = {**balancer.listeners[0], "port": free_port()}
    with Load(balancer, fresh=fresh) as load:
        for number in range(20):
            balancer.instances = webs if number % 2 else webs[:2]
            balancer.health_check["unhealthy_threshold"] = 2 + number % 3
            if number % 4 == 0:
                balancer.listeners.append(extra)
            elif number % 4 == 2:
                balancer.listeners.pop()
            reload(place, halb)
            load.more(10)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to have a parent")
def test_the_parent_reads_and_binds(open_place):
    """Started as root: a file that only root may read, and a low port, come by the parent; the child serves without a right."""
    balancer = open_place.balancer([open_place.instance().serve()])
    halb = open_place.start()
    balancer.listeners.append({**balancer.listeners[0], "port": 81})
    os.chmod(open_place.write(), 0o600)
    reload(open_place, halb)
    assert balancer.ask(get(), listener=1).status == 200
