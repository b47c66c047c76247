"""Changes at run time under steady load: nothing fails, nothing is left behind."""
import os

import pytest
from lib import DEADLINE, SANITIZED, Load, background, get, noise, reply, wait_until


@pytest.fixture
def trio(place):
    """A balancer over three instances that answer, two workers: (balancer, instances, halb)."""
    place.process["workers"] = 2
    webs = [place.instance().serve() for _ in range(3)]
    balancer = place.balancer(webs)
    return balancer, webs, place.start()


def descriptors(halb):
    return len(os.listdir(f"/proc/{halb.pid}/fd"))


@pytest.mark.parametrize("fresh", [False, True], ids=["kept", "fresh"])
def test_register_and_deregister(trio, fresh):
    """Instances come and go twenty times under load: no request fails."""
    balancer, webs, halb = trio
    with Load(balancer, fresh=fresh) as load:
        for number in range(20):
            name = webs[number % 3].id
            assert halb.ctl("deregister", balancer.name, name).returncode == 0
            load.more()
            assert halb.ctl("register", balancer.name, name).returncode == 0
            halb.wait_in_service({balancer.name: 3})


def test_register_and_deregister_without_draining(place):
    """Without draining too: GETs that are cut off go to another instance."""
    webs = [place.instance().serve() for _ in range(2)]
    balancer = place.balancer(webs, connection_draining={"enabled": False})
    halb = place.start()
    with Load(balancer) as load:
        for number in range(10):
            name = webs[number % 2].id
            assert halb.ctl("deregister", balancer.name, name).returncode == 0
            load.more()
            assert halb.ctl("register", balancer.name, name).returncode == 0
            halb.wait_in_service({balancer.name: 2})


def test_overrides(trio):
    """The operator takes instances out and puts them back under load: no request fails."""
    balancer, webs, halb = trio
    with Load(balancer) as load:
        for number in range(15):
            name = webs[number % 3].id
            for word in ("out", "drain", "auto")[number % 2:]:
                assert halb.ctl("set-state", balancer.name, name, word).returncode == 0
                load.more(10)


def test_health_check_changes(trio):
    """The health check is changed again and again under load: nobody leaves service."""
    balancer, webs, halb = trio
    since = [halb.instance(balancer.name, web.id)["since"] for web in webs]
    with Load(balancer) as load:
        for number in range(15):
            assert halb.ctl("configure-health-check", balancer.name, f"interval={200 + number}ms").returncode == 0
            load.more(10)
    assert [halb.instance(balancer.name, web.id)["since"] for web in webs] == since


def test_instances_fail_their_checks_under_load(trio):
    """Instances go out of service and come back under load: no request fails, and who is out gets none."""
    balancer, webs, halb = trio
    with Load(balancer) as load:
        for web in webs:
            web.health.refuse()
            halb.wait_state(balancer.name, web.id, "OutOfService")
            load.more(4)            # those that had begun before
            seen = web.served
            load.more()
            assert web.served <= seen + 1
            web.health.listen()
            halb.wait_state(balancer.name, web.id, "InService")
            wait_until(lambda web=web, seen=seen: web.served > seen + 5, DEADLINE)


def test_nothing_is_left_behind(trio):
    """After many connections, requests, failures and changes, the descriptors are few again and memory is bounded."""
    balancer, webs, halb = trio

    def churn():
        clients = [balancer.connect() for _ in range(50)]
        for client in clients:
            assert client.ask(get()).status == 200
        for number, client in enumerate(clients):
            if number % 3 == 0:
                client.send(get())
                client.reset()
            else:
                client.send(b"GET / HTTP/1.1\r\nHo") if number % 3 == 1 else None
                client.close()
        halb.ctl("deregister", balancer.name, webs[0].id)
        halb.ctl("register", balancer.name, webs[0].id)
        webs[1].drop()
        halb.wait_in_service({balancer.name: 3})
    few, memory = descriptors(halb) + 2, halb.memory_kib()
    for _ in range(10):
        churn()
    for web in webs:
        web.drop()
    wait_until(lambda: descriptors(halb) <= few, DEADLINE, "descriptors are closed")
    if not SANITIZED:
        assert halb.memory_kib() - memory < 16 << 10, "more than the receive buffers of two workers"


def test_failing_checks_leave_nothing_behind(place):
    """Hundreds of checks that are refused, reset or not answered: as many descriptors as before."""
    webs = [place.instance() for _ in range(4)]
    balancer = place.balancer(webs, check=place.http_check())
    halb = place.start()
    before = descriptors(halb)
    webs[0].health.plan("reset")
    webs[1].health.plan("hang")
    webs[2].health.refuse()
    webs[3].health.plan("close")
    for web in webs:
        halb.wait_state(balancer.name, web.id, "OutOfService")
    wait_until(lambda: len(webs[0].health.checks) > 25, DEADLINE)
    for web in webs:
        web.health.up()
    webs[2].health.listen()
    halb.wait_in_service({balancer.name: 4})
    wait_until(lambda: descriptors(halb) <= before + 4, DEADLINE, "descriptors are closed")


def test_tcp_connections_survive_changes(place):
    """TCP connections to instances that stay are untouched by everything that happens to others."""
    def play(wire):
        while data := wire.read_some():
            wire.send(data)
    webs = [place.instance().serve_wires(play) for _ in range(2)]
    balancer = place.balancer([webs[0]], protocol="TCP")
    halb = place.start(ready=None)
    halb.wait_in_service({balancer.name: 1})
    clients = [balancer.connect() for _ in range(10)]
    data = noise(10000)
    for number in range(10):
        assert halb.ctl("register" if number % 2 == 0 else "deregister", balancer.name, webs[1].id).returncode == 0
        halb.ctl("configure-health-check", balancer.name, f"interval={150 + number}ms")
        for client in clients:
            client.send(data)
            assert client.read_exactly(len(data)) == data


def test_idle_back_connections_end_with_their_time(place):
    """backend_idle_timeout ends connections that wait for work."""
    web = place.instance()
    balancer = place.balancer([web], backend_idle_timeout="1s")
    place.start()
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(reply(b"x"))
        client.read_message()
        back.expect_closed()
        client.send(get())
        again, _ = web.take()
        again.send(reply(b"y"))
        assert client.read_message().body == b"y"


def test_idle_back_connections_are_bounded(place):
    """backend_idle_max bounds how many wait; the rest is closed after use."""
    web = place.instance()
    balancer = place.balancer([web], backend_idle_max=2)
    place.start()
    clients = [balancer.connect() for _ in range(6)]
    backs = []
    for client in clients:
        client.send(get())
        backs.append(web.take()[0])
    for client, back in zip(clients, backs):
        back.send(reply(b"x"))
        assert client.read_message().body == b"x"
    wait_until(lambda: sum(back.closed() for back in backs) == 4, DEADLINE, "four of six are closed")
    for client in clients:
        client.close()


def test_deregistered_instances_keep_no_connection(place):
    """The idle connections to an instance that is deregistered are closed."""
    web, other = place.instance(), place.instance().serve()
    balancer = place.balancer([web])
    halb = place.start()
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(reply(b"x"))
        client.read_message()
    assert halb.ctl("register", balancer.name, other.id).returncode == 0
    assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
    back.expect_closed()
