"""Health checks: what goes over the wire, exact thresholds, ELB's words, and what operators change at run time."""
import datetime
import re
import signal
import threading
import time

import pytest
from lib import DEADLINE, get, reply, request, wait_until
from lib.instance import HealthPort
from lib.wire import time_of

PASS, FAIL = HealthPort.PASS, HealthPort.FAIL
REGISTERING = ("OutOfService", "ELB", "Instance registration is still in progress.")
IN_SERVICE = ("InService", "N/A", "N/A")
FAILED = ("OutOfService", "Instance",
          "Instance has failed at least the UnhealthyThreshold number of health checks consecutively.")
NOT_YET = ("OutOfService", "Instance",
           "Instance has not passed the configured HealthyThreshold number of health checks consecutively.")
DRAINING = ("InService", "N/A", "Instance deregistration currently in progress.")
RARE = {"interval": "60s", "timeout": "5s"}     # so that no second check comes within a test


def words(health):
    return health["state"], health["reason_code"], health["description"]


def seconds(text):
    """A time of the JSON as seconds since 1970."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text), f"not RFC 3339 with milliseconds: {text}"
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def checked(place, plan=(PASS,), **check):
    """A balancer over one instance that is checked by HTTP; halb is not started yet: (balancer, instance)."""
    web = place.instance()
    web.health.plan(*plan)
    balancer = place.balancer([web], check=place.http_check(**check))
    return balancer, web


def changed_at(health, checks, number):
    """The state changed by the result of check `number` (from 1): after its answer, before the next check."""
    since = seconds(health["since"])
    answered = checks[number - 1].answered_at or checks[number - 1].at
    assert answered - 0.002 <= since <= checks[number].at + 0.002, (
        f"since {since - answered:+.3f} s from the answer of check {number}, the next one came "
        f"{checks[number].at - answered:+.3f} s from it")


# on the wire


def test_request_bytes(place):
    """The check's request is ELB's, byte for byte, and comes from the node's address."""
    balancer, web = checked(place, path="/is/it?up")
    place.start()
    check = web.health.checks[0]
    assert check.request.decode() == (
        f"GET /is/it?up HTTP/1.1\r\nHost: {web.address}:{web.health.port}\r\n"
        "User-Agent: ELB-HealthChecker/1.0\r\nAccept: */*\r\nConnection: close\r\n\r\n")
    assert check.peer == balancer.address


def check_grid(checks, interval):
    """The checks lie on a grid without drift. On a machine that is held up a few may come late or be left out."""
    start = sorted((check.at - checks[0].at) % interval for check in checks)[len(checks) // 4] + checks[0].at
    offsets = [(check.at - start + interval / 2) % interval - interval / 2 for check in checks]
    late = [f"{check.at - start:.3f}" for check, offset in zip(checks, offsets) if abs(offset) > 0.02]
    assert len(late) <= len(checks) // 5, f"off the grid: {late}"
    assert (checks[-1].at - checks[0].at) / interval < len(checks) * 1.2


def test_checks_come_at_fixed_points(place):
    """Checks start at k x interval, also the thirtieth: no drift."""
    _, web = checked(place)
    place.start()
    wait_until(lambda: len(web.health.checks) > 31, 10)
    check_grid(web.health.checks[1:32], 0.1)


def test_slow_answers_shift_nothing(place):
    """Answers that take half the timeout do not delay the next checks."""
    slow = threading.Event()
    _, web = checked(place, [lambda: (slow.wait(0.045), PASS)[1]])
    place.start()
    wait_until(lambda: len(web.health.checks) > 21, 10)
    check_grid(web.health.checks[1:22], 0.1)


# verdicts


def test_first_success_puts_in_service(place):
    """A new instance needs one success, whatever the healthy threshold."""
    balancer, web = checked(place, healthy_threshold=10)
    halb = place.start()
    health = halb.instance(balancer.name, web.id)
    assert words(health) == IN_SERVICE
    wait_until(lambda: len(web.health.checks) > 1, DEADLINE)
    changed_at(health, web.health.checks, 1)


def test_registration_in_progress(place):
    """Before its first result an instance is OutOfService, in ELB's words, and last_check is null."""
    gate = threading.Event()
    balancer, web = checked(place, [lambda: (gate.wait(10), PASS)[1]], **RARE)
    halb = place.start(ready=None)
    health = halb.instance(balancer.name, web.id)
    assert words(health) == REGISTERING
    assert health["last_check"] is None
    gate.set()
    assert words(halb.wait_state(balancer.name, web.id, "InService")) == IN_SERVICE


def test_failures_of_a_new_instance(place):
    """A new instance that fails is in registration until its failures reach the threshold."""
    gate = threading.Event()
    balancer, web = checked(place, [FAIL, FAIL, lambda: (gate.wait(10), FAIL)[1]], interval="1s", timeout="900ms",
                            unhealthy_threshold=3)
    halb = place.start(ready=None)
    wait_until(lambda: len(web.health.checks) == 3, DEADLINE)
    assert words(halb.instance(balancer.name, web.id)) == REGISTERING
    gate.set()
    wait_until(lambda: words(halb.instance(balancer.name, web.id)) == FAILED, DEADLINE)
    assert len(web.health.checks) in (3, 4)


@pytest.mark.parametrize("threshold", [1, 2, 3, 7])
def test_unhealthy_threshold_is_exact(place, threshold):
    """An instance goes out with its threshold-th consecutive failure, not before and not after."""
    almost = [FAIL] * (threshold - 1) + [PASS]
    balancer, web = checked(place, [PASS, *almost, *almost, *[FAIL] * threshold, FAIL], unhealthy_threshold=threshold)
    halb = place.start()
    health = halb.wait_state(balancer.name, web.id, "OutOfService")
    assert words(health) == FAILED
    number = 1 + 2 * len(almost) + threshold
    wait_until(lambda: len(web.health.checks) > number, DEADLINE)
    changed_at(health, web.health.checks, number)


@pytest.mark.parametrize("threshold", [1, 2, 3, 7])
def test_healthy_threshold_is_exact(place, threshold):
    """An instance comes back with its threshold-th consecutive success; a relapse begins the count anew."""
    balancer, web = checked(place, healthy_threshold=threshold)
    halb = place.start()
    web.health.down()
    halb.wait_state(balancer.name, web.id, "OutOfService")
    almost = [PASS] * (threshold - 1) + [FAIL]
    web.health.plan(FAIL, *almost, *almost, *[PASS] * threshold, PASS)
    health = halb.wait_state(balancer.name, web.id, "InService")
    assert words(health) == IN_SERVICE
    number = 1 + 2 * len(almost) + threshold
    wait_until(lambda: len(web.health.checks) > number, DEADLINE)
    changed_at(health, web.health.checks, number)


def test_one_failure_is_forgiven(place):
    """Every second check may fail for ever with threshold 2: `since` stays."""
    balancer, web = checked(place, [PASS] + [FAIL, PASS] * 10 + [PASS])
    halb = place.start()
    since = halb.instance(balancer.name, web.id)["since"]
    wait_until(lambda: len(web.health.checks) > 20, DEADLINE)
    health = halb.instance(balancer.name, web.id)
    assert (health["state"], health["since"]) == ("InService", since)


def test_on_the_way_back(place):
    """Between its first success and the healthy threshold an instance says that it has not passed it yet."""
    balancer, web = checked(place, healthy_threshold=10)
    halb = place.start()
    web.health.down()
    halb.wait_state(balancer.name, web.id, "OutOfService")
    web.health.up()
    wait_until(lambda: words(halb.instance(balancer.name, web.id)) == NOT_YET, DEADLINE)
    halb.wait_state(balancer.name, web.id, "InService")


def test_every_transition_is_one_log_line(place):
    """Each transition is logged once, naming the instance."""
    balancer, web = checked(place)
    halb = place.start()
    for _ in range(2):
        web.health.down()
        halb.wait_state(balancer.name, web.id, "OutOfService")
        web.health.up()
        halb.wait_state(balancer.name, web.id, "InService")
    lines = [line for line in halb.log().splitlines() if web.id in line]
    assert sum(bool(re.search(r"\) out of service after 2 failures: status-503", line)) for line in lines) == 2, lines
    assert sum(bool(re.search(r"\) in service after 2 successes: ok", line)) for line in lines) == 2, lines


ANSWERS = {
    "ok": PASS,
    "ok, no body": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "ok, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n0\r\n\r\n",
    "ok, another phrase": b"HTTP/1.1 200 Everything's fine\r\nContent-Length: 0\r\n\r\n",
    "status-503": FAIL,
    "status-301": b"HTTP/1.1 301 Moved\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "status-204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "status-404": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    "no-framing": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nup",
    "malformed": b"I am fine\r\n\r\n",
    "closed-early": "close",
    "reset": "reset",
    "timeout-response": "hang",
}


@pytest.mark.parametrize("name", ANSWERS)
def test_reasons(place, name):
    """Each way to answer has its verdict and its reason's name."""
    balancer, web = checked(place, [ANSWERS[name]])
    halb = place.start(ready=None)
    expected = name.split(",")[0]
    state = "InService" if expected == "ok" else "OutOfService"
    health = wait_until(lambda: (h := halb.instance(balancer.name, web.id))["state"] == state and h["last_check"] and h, DEADLINE)
    assert health["last_check"]["detail"] == expected
    assert health["last_check"]["result"] == ("pass" if expected == "ok" else "fail")
    if expected == "timeout-response":
        assert 80 <= health["last_check"]["duration_ms"] < 1000


def test_connection_refused(place):
    """A refused connect has its name, for HTTP and TCP targets alike."""
    webs = [place.instance(), place.instance()]
    one, two = place.balancer([webs[0]]), place.balancer([webs[1]], check=place.http_check())
    for web in webs:
        web.health.refuse()
    halb = place.start(ready=None)
    for balancer, web in zip((one, two), webs):
        health = wait_until(lambda b=balancer, w=web: (h := halb.instance(b.name, w.id))["last_check"] and h, DEADLINE)
        assert health["last_check"]["detail"] == "connection-refused"


def test_connect_that_is_not_answered(place):
    """A connect without an answer within the timeout is timeout-connect."""
    web = place.instance()
    balancer = place.balancer([web], check={"target": f"TCP:{web.port}"})
    web.stall()
    halb = place.start(ready=None)
    health = wait_until(lambda: (h := halb.instance(balancer.name, web.id))["last_check"] and h, DEADLINE)
    assert health["last_check"]["detail"] == "timeout-connect"


@pytest.mark.parametrize("delay, state", [(0.2, "InService"), (0.9, "OutOfService")])
def test_timeout(place, delay, state):
    """An answer inside the timeout (500 ms) counts, a later one does not."""
    pause = threading.Event()
    balancer, web = checked(place, [lambda: (pause.wait(delay), PASS)[1]], interval="1s", timeout="500ms", unhealthy_threshold=1)
    halb = place.start(ready=None)
    health = wait_until(lambda: (h := halb.instance(balancer.name, web.id))["last_check"] and h, DEADLINE)
    assert health["state"] == state


def test_a_pause_of_the_checker_is_nobodys_fault(place):
    """halb stopped for longer than a timeout and continued: no check of that time is held against an instance."""
    web, other = place.instance(), place.instance()
    balancer = place.balancer([web, other], check=place.http_check(interval="300ms", timeout="250ms", unhealthy_threshold=1))
    halb = place.start()
    before = [halb.instance(balancer.name, w.id)["since"] for w in (web, other)]
    for _ in range(3):
        halb.signal(signal.SIGSTOP)
        threading.Event().wait(0.4)
        halb.signal(signal.SIGCONT)
        seen = len(web.health.checks)
        wait_until(lambda seen=seen: len(web.health.checks) > seen + 2, DEADLINE)
    assert [halb.instance(balancer.name, w.id)["since"] for w in (web, other)] == before


def test_verdicts_belong_to_registrations(place):
    """One instance in two balancers has two verdicts, each by its own check."""
    web = place.instance()
    web.health.plan(FAIL)
    by_http = place.balancer([web], check=place.http_check())
    by_tcp = place.balancer([web])
    halb = place.start(ready=None)
    halb.wait_in_service({by_http.name: 0, by_tcp.name: 1})
    assert words(wait_until(lambda: halb.instance(by_http.name, web.id), DEADLINE))[0] == "OutOfService"
    web.serve()
    assert by_tcp.ask(get()).status == 200
    assert by_http.ask(get()).status == 503


def test_json_as_specified(place):
    """instance-health and status have exactly the published members."""
    web = place.instance(zone="a")
    balancer = place.balancer([web], zones=("a",), check=place.http_check())
    halb = place.start()
    health = halb.instance(balancer.name, web.id)
    assert set(health) == {"load_balancer", "instance", "state", "reason_code", "description", "since", "address", "port",
                           "zone", "admin", "last_check"}
    assert (health["load_balancer"], health["instance"], health["address"], health["zone"], health["admin"]) == (
        balancer.name, web.id, web.address, "a", "auto")
    assert set(health["last_check"]) == {"at", "result", "detail", "duration_ms"}
    assert abs(seconds(health["last_check"]["at"]) - time.time()) < 5
    assert isinstance(health["last_check"]["duration_ms"], (int, float))
    status = halb.ask("status")[0]
    assert set(status) == {"load_balancer", "scheme", "dns_name", "in_service", "registered", "listeners", "instances"}
    assert (status["scheme"], status["in_service"], status["registered"]) == ("internal", 1, 1)
    assert set(status["instances"][0]) == set(health)


# traffic informs health


def test_trouble_under_traffic_brings_a_check_forward(place):
    """A refused connection under traffic asks for a check at once: the instance is out long before its next regular one."""
    web, other = place.instance(), place.instance().serve()
    balancer = place.balancer([web, other], check=place.http_check(interval="60s", timeout="5s", unhealthy_threshold=1))
    halb = place.start()
    web.refuse()
    web.health.refuse()

    def out():
        assert balancer.ask(get()).body == b"web-2"
        return halb.instance(balancer.name, web.id)["state"] == "OutOfService"
    took, _ = time_of(lambda: wait_until(out, DEADLINE))
    assert took < 5


def test_at_most_one_extra_check_an_interval(place):
    """However much trouble traffic sees, one extra check is made an interval, and it decides, not the trouble."""
    web, other = place.instance(), place.instance().serve()
    balancer = place.balancer([web, other], check=place.http_check(unhealthy_threshold=1, **RARE))
    halb = place.start()
    web.refuse()
    for _ in range(20):
        assert balancer.ask(get()).body == b"web-2"
    wait_until(lambda: len(web.health.checks) == 2, DEADLINE)
    for _ in range(20):
        assert balancer.ask(get()).body == b"web-2"
    assert len(web.health.checks) == 2
    assert halb.instance(balancer.name, web.id)["state"] == "InService"


# the start


def test_requests_wait_for_the_first_results(place):
    """At the start, requests wait until every instance has its first result, instead of getting 503."""
    gates = [threading.Event(), threading.Event()]
    webs = [place.instance().serve(), place.instance().serve()]
    for web, gate in zip(webs, gates):
        web.health.plan(lambda gate=gate: (gate.wait(10), PASS)[1])
    balancer = place.balancer(webs, check=place.http_check(**RARE))
    place.start(ready=None)
    with balancer.connect() as client:
        client.send(get())
        assert client.silent(0.3)
        gates[0].set()
        gates[1].set()
        assert client.read_message().status == 200


def test_requests_wait_no_longer_than_a_check(place):
    """When the first check runs into its timeout, waiting ends with 503."""
    balancer, web = checked(place, ["hang"], interval="60s", timeout="1s")
    place.start(ready=None)
    took, answer = time_of(lambda: balancer.ask(get()))
    assert answer.status == 503
    assert took < 3
    assert web.untouched()


def test_the_queue_at_the_start_is_bounded(place):
    """At the start no more than surge_queue requests wait; the others get 503 at once."""
    gate = threading.Event()
    web = place.instance().serve()
    web.health.plan(lambda: (gate.wait(10), PASS)[1])
    balancer = place.balancer([web], check=place.http_check(**RARE), surge_queue=3)
    place.start(ready=None)
    clients = [balancer.connect() for _ in range(5)]
    for client in clients:
        client.send(get())
    wait_until(lambda: sum(not client.silent(0) for client in clients) == 2, DEADLINE, "two of five are answered")
    gate.set()
    assert sorted(client.read_message().status for client in clients) == [200, 200, 200, 503, 503]


def test_tcp_connections_wait_too(place):
    """TCP connections wait for the first results as requests do."""
    gate = threading.Event()
    web = place.instance()
    web.health.plan(lambda: (gate.wait(10), PASS)[1])
    balancer = place.balancer([web], protocol="TCP", check=place.http_check(**RARE))
    place.start(ready=None)
    with balancer.connect() as client:
        client.send(b"x")
        assert client.silent(0.3)
        gate.set()
        assert web.accept().read_exactly(1) == b"x"


def test_fail_open(place):
    """fail_open: with no instance in service, requests go to all of them all the same."""
    web = place.instance().serve()
    web.health.refuse()
    balancer = place.balancer([web], fail_open=True)
    halb = place.start(ready=None)
    wait_until(lambda: words(halb.instance(balancer.name, web.id)) == FAILED, DEADLINE)
    assert balancer.ask(get()).body == b"web-1"


# the operator


def names(balancer, count=6):
    return {balancer.ask(get()).body.decode() for _ in range(count)}


def pair(place, **attributes):
    webs = [place.instance().serve(), place.instance().serve()]
    balancer = place.balancer(webs, **attributes)
    return balancer, webs, place.start()


@pytest.mark.parametrize("word", ["out", "drain"])
def test_set_state_out_and_back(place, word):
    """out and drain keep new requests away, auto brings them back; the measured state stays, status counts the rest."""
    balancer, _, halb = pair(place)
    assert names(balancer) == {"web-1", "web-2"}
    assert halb.ctl("set-state", balancer.name, "web-1", word).returncode == 0
    assert names(balancer) == {"web-2"}
    health = halb.instance(balancer.name, "web-1")
    assert (health["state"], health["admin"]) == ("InService", word)
    assert halb.in_service() == {balancer.name: 1}
    assert halb.ctl("set-state", balancer.name, "web-1", "auto").returncode == 0
    assert names(balancer) == {"web-1", "web-2"}


def test_set_state_in(place):
    """in gives an instance traffic against its checks; the measured state stays OutOfService."""
    balancer, webs, halb = pair(place)
    webs[0].health.refuse()
    halb.wait_state(balancer.name, "web-1", "OutOfService")
    assert names(balancer) == {"web-2"}
    halb.ctl("set-state", balancer.name, "web-1", "in")
    assert names(balancer) == {"web-1", "web-2"}
    health = halb.instance(balancer.name, "web-1")
    assert (health["state"], health["admin"]) == ("OutOfService", "in")
    assert halb.in_service() == {balancer.name: 2}


def test_drain_lets_work_end(place):
    """A request in flight at a drained instance ends there."""
    webs = [place.instance(), place.instance()]
    balancer = place.balancer(webs)
    halb = place.start()
    with balancer.connect() as client:
        client.send(get())
        chosen = wait_until(lambda: next((w for w in webs if not w.untouched()), None), 5)
        back, _ = chosen.take()
        assert halb.ctl("set-state", balancer.name, chosen.id, "drain").returncode == 0
        back.send(reply(b"to the end"))
        assert client.read_message().body == b"to the end"


def test_set_state_of_nobody(place):
    """Names that do not exist are refused with exit 1 and a message; a word that does not exist is bad usage."""
    balancer, _, halb = pair(place)
    for args in (("nobody", "web-1"), (balancer.name, "nobody")):
        done = halb.ctl("set-state", *args, "out")
        assert done.returncode == 1
        assert "nobody" in done.stderr
    assert halb.ctl("set-state", balancer.name, "web-1", "sideways").returncode in (1, 2)


def test_configure_health_check(place):
    """A new target takes effect at once; what is not named stays."""
    balancer, web = checked(place, healthy_threshold=3)
    halb = place.start()
    done = halb.ctl("configure-health-check", balancer.name, f"target=HTTP:{web.health.port}/other")
    assert done.returncode == 0, done.stderr
    web.health.up()
    wait_until(lambda: web.health.checks and b"GET /other HTTP/1.1\r\n" in web.health.checks[-1].request, DEADLINE)
    assert halb.ctl("configure-health-check", balancer.name, "unhealthy=4", "interval=200ms").returncode == 0
    web.health.plan(PASS, FAIL, FAIL, FAIL, PASS, FAIL, FAIL, FAIL, FAIL, FAIL)
    health = halb.wait_state(balancer.name, web.id, "OutOfService")
    wait_until(lambda: len(web.health.checks) > 9, DEADLINE)
    changed_at(health, web.health.checks, 9)
    checks = web.health.checks
    assert 0.15 < checks[8].at - checks[7].at < 0.3


@pytest.mark.parametrize("change", ["interval=1h", "timeout=200ms", "unhealthy=0", "healthy=11", "target=HTTP:80", "target=UDP:53",
                                    "interval=soon", "colour=red"])
def test_configure_health_check_refused(place, change):
    """A value out of range is refused in words, and all stays as it was."""
    balancer, web = checked(place)
    halb = place.start()
    done = halb.ctl("configure-health-check", balancer.name, change)
    assert done.returncode in (1, 2)
    assert change.split("=")[0] in done.stderr
    seen = len(web.health.checks)
    wait_until(lambda: len(web.health.checks) > seen + 2, DEADLINE)
    assert halb.instance(balancer.name, web.id)["state"] == "InService"


def test_register(place):
    """An instance of the inventory is registered at run time, goes through registration, and gets its share."""
    balancer, _, halb = pair(place)
    third = place.instances[1]
    assert halb.ctl("deregister", balancer.name, third.id).returncode == 0
    wait_until(lambda: len(halb.ask("instance-health", balancer.name)) == 1, DEADLINE)
    assert names(balancer) == {"web-1"}
    assert halb.ctl("register", balancer.name, third.id).returncode == 0
    halb.wait_in_service({balancer.name: 2})
    assert names(balancer) == {"web-1", "web-2"}
    assert halb.ctl("register", balancer.name, third.id).returncode == 0, "registering twice is harmless"


def test_register_by_alias(place):
    """Aliases name an instance too."""
    web = place.instance().serve()
    spare = place.instance(aliases=["i-0123456789abcdef0"]).serve()
    balancer = place.balancer([web])
    halb = place.start()
    assert halb.ctl("register", balancer.name, "i-0123456789abcdef0").returncode == 0
    halb.wait_in_service({balancer.name: 2})
    assert names(balancer) == {web.id, spare.id}


def test_register_of_nobody(place):
    """Unknown names change nothing: exit 1, and the message says which."""
    balancer, _, halb = pair(place)
    for command in ("register", "deregister"):
        done = halb.ctl(command, balancer.name, "web-1", "nobody")
        assert done.returncode == 1
        assert "nobody" in done.stderr
        assert len(halb.ask("instance-health", balancer.name)) == 2
        assert halb.ctl(command, "no-balancer", "web-1").returncode == 1


def test_deregister_with_draining(place):
    """Draining: no new requests, the one in flight ends, ELB's words meanwhile, then the instance is gone."""
    web, other = place.instance(), place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    with balancer.connect() as client:
        client.send(request("POST", "/", body=b"x"))
        back, _ = web.take()
        assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
        assert words(halb.instance(balancer.name, web.id)) == DRAINING
        assert balancer.ask(get()).status == 503
        back.send(reply(b"to the end"))
        assert client.read_message().body == b"to the end"
        wait_until(lambda: halb.ask("instance-health", balancer.name) == [], DEADLINE)
        back.expect_closed()
    assert other.untouched()


def test_draining_ends_in_time(place):
    """At the draining timeout what is left is cut."""
    web = place.instance()
    balancer = place.balancer([web], connection_draining={"enabled": True, "timeout": "1s"})
    halb = place.start()
    with balancer.connect() as client:
        client.send(request("POST", "/", body=b"x"))
        back, _ = web.take()
        assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
        took, _ = time_of(back.expect_closed)
        assert 0.8 <= took < 4
        answer, _ = client.read_to_any_end() if client.closed() else (client.read_some(), None)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 50")


def test_deregister_without_draining(place):
    """Without draining, connections to the instance are cut at once; replayable requests go to another."""
    webs = [place.instance(), place.instance()]
    balancer = place.balancer(webs, connection_draining={"enabled": False})
    halb = place.start()
    with balancer.connect() as client:
        client.send(get())
        chosen = wait_until(lambda: next((w for w in webs if not w.untouched()), None), 5)
        other = webs[1] if chosen is webs[0] else webs[0]
        back, _ = chosen.take()
        assert halb.ctl("deregister", balancer.name, chosen.id).returncode == 0
        back.expect_closed()
        again, _ = other.take()
        again.send(reply(b"other"))
        assert client.read_message().body == b"other"
    assert [h["instance"] for h in halb.ask("instance-health", balancer.name)] == [other.id]


def test_deregister_tcp_without_draining(place):
    """Without draining, TCP connections to the instance end at once; with a new registration new ones are made."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP", connection_draining={"enabled": False})
    halb = place.start()
    client = balancer.connect()
    back = web.accept()
    client.send(b"x")
    back.read_exactly(1)
    assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
    client.expect_closed()
    back.expect_closed()
    assert halb.ctl("register", balancer.name, web.id).returncode == 0
    halb.wait_in_service({balancer.name: 1})
    client = balancer.connect()
    back = web.accept()
    back.send(b"y")
    assert client.read_exactly(1) == b"y"


def test_tcp_draining(place):
    """With draining a TCP connection goes on; new ones are refused."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP")
    halb = place.start()
    client = balancer.connect()
    back = web.accept()
    assert halb.ctl("deregister", balancer.name, web.id).returncode == 0
    balancer.connect().expect_closed()
    client.send(b"still")
    assert back.read_exactly(5) == b"still"
    client.close()
    back.expect_end()
    back.close()
    wait_until(lambda: halb.ask("instance-health", balancer.name) == [], DEADLINE)


def test_status_text(place):
    """status prints a line a balancer and a line an instance, columns two or more spaces apart."""
    balancer, _, halb = pair(place)
    lines = halb.ctl("status").stdout.splitlines()
    assert re.split(r" {2,}", lines[0].strip()) == [balancer.name, "internal", "2 of 2 instances in service"]
    assert [re.split(r" {2,}", line.strip())[0] for line in lines[1:3]] == ["web-1", "web-2"]


def test_checks_go_on_beside_busy_workers(place):
    """Checks keep their grid while workers have all that they can do."""
    body = bytes(8 << 20)
    web = place.instance().serve(lambda asked: reply(body))
    web.health.plan(PASS)
    balancer = place.balancer([web], check=place.http_check(unhealthy_threshold=1, timeout="90ms"))
    halb = place.start()
    since = halb.instance(balancer.name, web.id)["since"]
    for _ in range(5):
        assert len(balancer.ask(get()).body) == len(body)
    assert halb.instance(balancer.name, web.id)["since"] == since
