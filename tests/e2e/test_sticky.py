"""Stickiness: the balancer's own cookie and the application's, and what becomes of them when instances go."""
import itertools
import os
import re
import signal

import pytest
from lib import DEADLINE, get, reply, run, wait_until
from lib.addresses import free_port

OWN = re.compile(r"^AWSELB=([0-9A-F]{138});PATH=/$")
MANY = 12       # requests that would not all meet one of two instances by chance: each connection is another one's turn
KEY = bytes(range(32))


def lb_cookie(**more):
    return {"name": "sticky", "type": "LBCookieStickinessPolicyType", **more}


def app_cookie(name="SESSION"):
    return {"name": "sticky", "type": "AppCookieStickinessPolicyType", "cookie_name": name}


def declare(place, policy, answer=None, count=2, **more):
    """A balancer whose listener has this policy, over instances that answer by themselves."""
    webs = [place.instance() for _ in range(count)]
    for web in webs:
        web.serve((lambda name: lambda request: answer(name, request))(web.id) if answer else None)
    balancer = place.balancer(webs, settings={"policies": [policy]}, **more)
    balancer.listeners[0]["policies"] = ["sticky"]
    return balancer, webs


def started(place, policy, *args, **more):
    balancer, webs = declare(place, policy, *args, **more)
    return balancer, webs, place.start()


def cookies_of(answer):
    """The balancer's own Set-Cookie lines of an answer."""
    return [value for value in answer.head.all("Set-Cookie") if value.startswith("AWSELB=")]


def value_of(answer):
    """The cookie's value, which must be there once and be exactly as it should."""
    lines = cookies_of(answer)
    assert len(lines) == 1
    match = OWN.match(lines[0])
    assert match, lines
    return match[1]


def bound(balancer, **options):
    """A client's first request: (the instance that served it, its cookie)."""
    answer = balancer.ask(get(), **options)
    return answer.body.decode(), value_of(answer)


def with_cookie(value, *more):
    return get("/", f"Cookie: AWSELB={value}", *more)


def follows(balancer, value, name, times=MANY, **options):
    """Every request with the cookie is served by the instance, and gets no cookie again."""
    for _ in range(times):
        answer = balancer.ask(with_cookie(value), **options)
        assert (answer.body.decode(), answer.head.all("Set-Cookie"), answer.head.all("Cache-Control")) == (name, [], [])


def spread(balancer, request):
    """Who serves this request, asked often enough to meet everybody."""
    return {balancer.ask(request).body for _ in range(2 * MANY)}


def reload(place, halb):
    """Writes the file and has it read again."""
    place.write()
    seen = halb.log().count("configuration reloaded")
    halb.signal(signal.SIGHUP)
    wait_until(lambda: halb.log().count("configuration reloaded") > seen, DEADLINE, "the configuration is reloaded")


# the balancer's cookie

@pytest.mark.parametrize("settings, age", [({}, b""), ({"cookie_expiration_period": 900}, b";MAX-AGE=900"),
                                           ({"cookie_expiration_period": "1m"}, b";MAX-AGE=60"), ({"cookie_expiration_period": 0}, b"")])
def test_bytes_of_the_cookie(place, settings, age):
    """ELB's form to the byte; no MAX-AGE for a browser's session; Cache-control stands beside the application's own."""
    balancer, _, _ = started(place, lb_cookie(**settings), lambda name, request: reply(b"", fields=["Cache-Control: max-age=5", "Set-Cookie: a=b"]))
    answer = balancer.ask(get())
    added = re.findall(rb"\r\nSet-Cookie: AWSELB=[0-9A-F]{138};PATH=/(.*)\r\nCache-control: no-cache=\"set-cookie\"\r\n", answer.head.raw)
    assert added == [age]
    assert answer.head.all("Cache-Control") == ["max-age=5", 'no-cache="set-cookie"']
    assert answer.head.all("Set-Cookie")[0] == "a=b"


def test_requests_follow_over_workers_and_nodes(place):
    """Both workers and both nodes know the cookie; it is not made anew."""
    place.process["workers"] = 2
    balancer, _, _ = started(place, lb_cookie(), zones=("zone-1", "zone-2"), cross_zone=True)
    clients = [bound(balancer) for _ in range(MANY)]
    assert {name for name, _ in clients} == {"web-1", "web-2"}
    assert len(set(clients)) == 2, "an instance has one cookie"
    for name, value in sorted(set(clients)):
        for node in (0, 1):
            follows(balancer, value, name, node=node)


def test_on_one_connection(place):
    """The cookie counts request by request, not for the connection."""
    balancer, _, _ = started(place, lb_cookie())
    values = dict(bound(balancer) for _ in range(MANY))
    with balancer.connect() as client:
        for name in itertools.islice(itertools.cycle(sorted(values)), MANY):
            answer = client.ask(with_cookie(values[name]))
            assert (answer.body.decode(), cookies_of(answer)) == (name, [])


def test_forwarded_unmodified(place):
    """The instance sees the client's cookies as they were."""
    seen = []
    balancer, _, _ = started(place, lb_cookie(), lambda name, request: seen.append(request.head.all("Cookie")) or reply())
    value = value_of(balancer.ask(get()))
    line = f'a=1; AWSELB={value};b="2"'
    balancer.ask(get("/", f"Cookie: {line}", "Cookie: c=3"))
    assert seen[-1] == [line, "c=3"]


def spoilt(value):
    """Values that are no longer the cookie."""
    last = "1" if value[-1] == "0" else "0"
    return {"empty": "", "short": value[:-1], "long": value + "0", "lower case": value.lower(), "its last digit": value[:-1] + last,
            "its first digit": ("1" if value[0] == "0" else "0") + value[1:], "zeros": "0" * 138, "no digits": "Z" * 138,
            "a name": "web-1", "half a quote": '"' + value}


def test_what_does_not_open_is_absent(place):
    """Garbage is as no cookie: balanced as any request, and a cookie comes with the answer."""
    balancer, _, _ = started(place, lb_cookie())
    _, value = bound(balancer)
    for name, garbage in spoilt(value).items():
        answers = [balancer.ask(with_cookie(garbage)) for _ in range(2 * MANY)]
        assert {answer.body for answer in answers} == {b"web-1", b"web-2"}, name
        assert all(value_of(answer) for answer in answers), name


def test_name_is_case_sensitive_and_quotes_are_none(place):
    """RFC 6265: a cookie's name is exact; a value in quotes is the value."""
    balancer, _, _ = started(place, lb_cookie())
    name, value = bound(balancer)
    assert spread(balancer, get("/", f"Cookie: awselb={value}")) == {b"web-1", b"web-2"}
    assert spread(balancer, get("/", f'Cookie: x; AWSELB="{value}" ; y=z')) == {name.encode()}


def test_another_balancers_or_ports_cookie(place):
    """A cookie holds for its balancer and its instance port alone; a listener of the same instance port knows it."""
    first, webs = declare(place, lb_cookie())
    second = place.balancer(webs, settings={"policies": [lb_cookie()]})
    second.listeners[0]["policies"] = ["sticky"]
    elsewhere = {**first.listeners[0], "port": free_port(), "instance_port": place.health_port}
    beside = {**first.listeners[0], "port": free_port()}
    first.listeners += [elsewhere, beside]
    place.start()
    name, value = bound(first)
    follows(first, value, name, listener=2)
    answers = [second.ask(with_cookie(value)) for _ in range(2 * MANY)]
    assert {answer.body for answer in answers} == {b"web-1", b"web-2"}
    assert all(value_of(answer) for answer in answers)
    known = {bound(first)[1] for _ in range(MANY)}
    others = {value_of(first.ask(with_cookie(value), listener=1)) for _ in range(MANY)}     # the health port answers as well
    assert len(known) == len(others) == 2
    assert not known & others


def test_other_cookies_value_of_the_same_instance_differs(place):
    """Nothing about the instance can be told from the value: neither id nor address nor port is in it."""
    balancer, webs, _ = started(place, lb_cookie())
    values = dict(bound(balancer) for _ in range(MANY))
    for web in webs:
        raw = bytes.fromhex(values[web.id])
        for secret in (web.id.encode(), web.address.encode(), bytes(map(int, web.address.split("."))), web.port.to_bytes(2, "big") * 2):
            assert secret not in raw
    one, two = (bytes.fromhex(values[web.id]) for web in webs)
    assert sum(a == b for a, b in zip(one, two)) < 16, "two instances' cookies have nothing in common"


def test_instance_goes_out_of_service(place):
    """Its clients are balanced as any, and bound to who served them; the old cookie counts again when it is back."""
    balancer, webs, halb = started(place, lb_cookie())
    name, value = bound(balancer)
    web, other = (webs[0], webs[1]) if name == webs[0].id else (webs[1], webs[0])
    web.health.refuse()
    halb.wait_state(balancer.name, name, "OutOfService")
    answer = balancer.ask(with_cookie(value))
    assert answer.body.decode() == other.id
    new = value_of(answer)
    assert new != value
    web.health.listen()
    halb.wait_state(balancer.name, name, "InService")
    follows(balancer, new, other.id)
    follows(balancer, value, name)


def test_instance_is_deregistered(place):
    """The cookie of an instance that is no longer there binds nobody; registered again it does."""
    balancer, webs, halb = started(place, lb_cookie())
    name, value = bound(balancer)
    other = next(web.id for web in webs if web.id != name)
    assert halb.ctl("deregister", balancer.name, name).returncode == 0
    answer = balancer.ask(with_cookie(value))
    assert (answer.body.decode(), value_of(answer) == value) == (other, False)
    assert halb.ctl("register", balancer.name, name).returncode == 0
    halb.wait_in_service({balancer.name: 2})
    follows(balancer, value, name)


def test_two_cookies(place):
    """Of two that open the first whose instance is in service counts, in the client's order."""
    balancer, _, halb = started(place, lb_cookie())
    values = dict(bound(balancer) for _ in range(MANY))
    for first, second in (("web-1", "web-2"), ("web-2", "web-1")):
        request = get("/", f"Cookie: AWSELB={values[first]}; AWSELB={values[second]}")
        assert spread(balancer, request) == {first.encode()}
    assert halb.ctl("set-state", balancer.name, "web-2", "out").returncode == 0
    halb.wait_in_service({balancer.name: 1})
    answer = balancer.ask(request)
    assert (answer.body, cookies_of(answer)) == (b"web-1", [])


def test_connection_refused_goes_elsewhere(place):
    """An instance that refuses before its health is known costs no request; the client is bound anew."""
    balancer, webs, _ = started(place, lb_cookie())
    name, value = bound(balancer)
    web, other = (webs[0], webs[1]) if name == webs[0].id else (webs[1], webs[0])
    web.refuse()
    web.drop()
    answer = balancer.ask(with_cookie(value))
    assert (answer.status, answer.body.decode(), value_of(answer) == value) == (200, other.id, False)


def test_answers_made_here_bind_nobody(place):
    """400 and 503 carry no cookie."""
    balancer, _, halb = started(place, lb_cookie(), count=1)
    assert balancer.ask(b"GET / HTTP/1.1\r\n\r\n").head.all("Set-Cookie") == []
    assert halb.ctl("deregister", balancer.name, "web-1").returncode == 0
    answer = balancer.ask(get())
    assert (answer.status, answer.head.all("Set-Cookie")) == (503, [])


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "404 Not Found", "500 Internal Server Error"])
def test_every_final_answer_binds(place, status):
    """The instance has served the client, whatever it said."""
    length = "" if status.startswith("204") else "Content-Length: 0\r\n"
    balancer, _, _ = started(place, lb_cookie(), lambda name, request: f"HTTP/1.1 {status}\r\n{length}\r\n".encode())
    assert value_of(balancer.ask(get()))


def test_interim_answers_carry_none(place):
    """A 1xx has no cookie; the answer behind it has it once."""
    web = place.instance()
    balancer = place.balancer([web], settings={"policies": [lb_cookie()]})
    balancer.listeners[0]["policies"] = ["sticky"]
    place.start()
    with balancer.connect() as client:
        client.send(get())
        back, _ = web.take()
        back.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + reply())
        assert client.read_head().all("Set-Cookie") == []
        assert value_of(client.read_message())


# the key

def key_file(place, name="cookie.secret", mode=0o600):
    path = place.folder / name
    path.write_bytes(KEY)
    path.chmod(mode)
    return str(path)


def test_own_key_is_kept(place):
    """Without a key file the key is made in state_dir, for its owner alone, and stays over a restart."""
    balancer, _, halb = started(place, lb_cookie())
    values = [bound(balancer) for _ in range(MANY)]
    path = place.folder / "state" / "cookie.key"
    before = path.read_bytes()
    assert (path.stat().st_mode & 0o7777, len(before)) == (0o600, 32)
    halb.stop()
    place.start()
    assert path.read_bytes() == before
    for name, value in sorted(set(values)):
        follows(balancer, value, name)


def test_another_key_opens_nothing(place):
    """A key that was lost: all cookies are as absent."""
    balancer, _, halb = started(place, lb_cookie(), count=1)
    _, value = bound(balancer)
    halb.stop()
    (place.folder / "state" / "cookie.key").unlink()
    place.start()
    assert value_of(balancer.ask(with_cookie(value))) != value


def test_two_processes_share_a_key(place, tmp_path_factory):
    """Two of the same balancer with one key file make the same cookies and know each other's; no key is kept in state_dir."""
    place.process["cookie_key_file"] = key_file(place)
    balancer, webs, _ = started(place, lb_cookie())
    values = dict(bound(balancer) for _ in range(MANY))
    twin = type(place)(tmp_path_factory.mktemp("twin"))
    try:
        twin.process["cookie_key_file"] = place.process["cookie_key_file"]
        twin.instance_port, twin.health_port, twin.instances = place.instance_port, place.health_port, webs
        second = twin.balancer(webs, name=balancer.name, settings={"policies": [lb_cookie()]})
        second.listeners[0]["policies"] = ["sticky"]
        twin.start()
        assert dict(bound(second) for _ in range(MANY)) == values
        for name, value in values.items():
            follows(second, value, name)
    finally:
        for halb in twin.started:
            halb.stop()
    assert not (place.folder / "state" / "cookie.key").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_key_that_others_may_read(place, mode):
    """-t refuses it, as a start does, in a line with the mode."""
    place.process["cookie_key_file"] = key_file(place, mode=mode)
    declare(place, lb_cookie())
    done = run("halb", "-t", "-c", place.write())
    assert done.returncode == 1
    assert f"of mode 0{mode:o}, expected 0600 or stricter" in done.stderr
    halb = place.start(ready=False)
    halb.judge(halb.wait_exit(), 1)


@pytest.mark.skipif(os.getuid() != 0, reason="only root reads what its user may not")
def test_key_of_root_alone(open_place):
    """Started as root, the key file is read by the parent: whoever serves could not open it."""
    open_place.process["cookie_key_file"] = key_file(open_place)
    assert os.stat(open_place.process["cookie_key_file"]).st_uid == 0
    balancer, _, halb = started(open_place, lb_cookie())
    assert len(halb.children()) == 1
    name, value = bound(balancer)
    follows(balancer, value, name)


def test_stickiness_of_tcp_is_refused(place):
    """Only HTTP has cookies."""
    declare(place, lb_cookie(), protocol="TCP")
    done = run("halb", "-t", "-c", place.write())
    assert done.returncode == 1
    assert 'policies: found "sticky", expected none, as the protocol is TCP' in done.stderr


def test_on_by_reload(place):
    """A reload may bring stickiness, and its key with it; without it there are no cookies again."""
    balancer, _ = declare(place, lb_cookie())
    del balancer.listeners[0]["policies"]
    halb = place.start()
    assert balancer.ask(get()).head.all("Set-Cookie") == []
    balancer.listeners[0]["policies"] = ["sticky"]
    reload(place, halb)
    name, value = bound(balancer)
    follows(balancer, value, name)
    balancer.settings["policies"] = [lb_cookie(cookie_expiration_period=60)]
    reload(place, halb)
    assert cookies_of(balancer.ask(get()))[0].endswith(";PATH=/;MAX-AGE=60")
    follows(balancer, value, name)
    del balancer.listeners[0]["policies"]
    reload(place, halb)
    assert balancer.ask(with_cookie(value)).head.all("Set-Cookie") == []


# the application's cookie

def shop(name, request):
    """/login sets the session's cookie; all else does not."""
    fields = ["Set-Cookie: SESSION=1; Path=/"] if request.head.target == "/login" else []
    return reply(name.encode(), fields=fields)


def logged_in(balancer):
    """A session's beginning: (instance, the line that binds it)."""
    answer = balancer.ask(get("/login"))
    lines = cookies_of(answer)
    assert len(lines) == 1
    return answer.body.decode(), re.match("AWSELB=([0-9A-F]{138})", lines[0])[1]


def in_session(value, target="/", session="SESSION=1"):
    return get(target, f"Cookie: {session}; AWSELB={value}")


def test_no_cookie_without_the_applications(place):
    """Nothing is set until the application sets its own; then ours comes beside it, with Cache-control."""
    balancer, _, _ = started(place, app_cookie(), shop)
    for _ in range(MANY):
        assert balancer.ask(get()).head.all("Set-Cookie") == []
    answer = balancer.ask(get("/login"))
    first, own = answer.head.all("Set-Cookie")
    assert first == "SESSION=1; Path=/"
    assert re.fullmatch("AWSELB=[0-9A-F]{138};PATH=/", own)
    assert answer.head.all("Cache-Control") == ['no-cache="set-cookie"']


def test_session_follows(place):
    """With both cookies all goes to the session's instance, over workers and nodes; without the application's it does not."""
    place.process["workers"] = 2
    balancer, _, _ = started(place, app_cookie(), shop, zones=("zone-1", "zone-2"), cross_zone=True)
    name, value = logged_in(balancer)
    for i in range(2 * MANY):
        answer = balancer.ask(in_session(value), node=i % 2)
        assert (answer.body.decode(), cookies_of(answer)) == (name, [])
    assert spread(balancer, with_cookie(value)) == {b"web-1", b"web-2"}
    assert spread(balancer, in_session(value, session="session=1")) == {b"web-1", b"web-2"}
    assert spread(balancer, get("/", "Cookie: SESSION=1")) == {b"web-1", b"web-2"}


def test_session_is_bound_anew(place):
    """Its instance out: another one, and a new cookie at once; it stays there when the old one recovers."""
    balancer, webs, halb = started(place, app_cookie(), shop)
    name, value = logged_in(balancer)
    web, other = (webs[0], webs[1]) if name == webs[0].id else (webs[1], webs[0])
    web.health.refuse()
    halb.wait_state(balancer.name, name, "OutOfService")
    answer = balancer.ask(in_session(value))
    assert answer.body.decode() == other.id
    new = value_of_line(answer)
    web.health.listen()
    halb.wait_state(balancer.name, name, "InService")
    assert spread(balancer, in_session(new)) == {other.id.encode()}


def value_of_line(answer):
    lines = cookies_of(answer)
    assert len(lines) == 1
    return lines[0].split("=")[1].split(";")[0]


# What the application sets, and what follows our value; None: no cookie of ours.
SET = {
    "no attribute": ("SESSION=1", ""),
    "all that ELB copies": ("SESSION=1; Path=/a; Port=80; Domain=d.example; Secure; HttpOnly; Discard; Max-Age=9; Expires=Wed, 21 Oct 2015 07:28:00 GMT; "
                            "Version=1; Comment=c; CommentURL=u; SameSite=Lax",
                            ";PATH=/a;PORT=80;DOMAIN=d.example;SECURE;HTTPONLY;DISCARD;MAX-AGE=9;EXPIRES=Wed, 21 Oct 2015 07:28:00 GMT;"
                            "VERSION=1;COMMENT=c;COMMENTURL=u;SAMESITE=Lax"),
    "what ELB does not know is left out": ("SESSION=1; Priority=High; Path=/", ";PATH=/"),
    "an underscore in the path": ("SESSION=1;path=/a_b_c", ";PATH=/a%5Fb%5Fc"),
    "a semicolon at the end": ("SESSION=1; Path=/;", None),
    "another name": ("SESSIONS=1; Path=/", None),
    "another case": ("session=1; Path=/", None),
    "no value": ("SESSION; Path=/", None),
    "an empty value": ("SESSION=; Path=/", ";PATH=/"),
}


@pytest.mark.parametrize("name", SET)
def test_attributes(place, name):
    """Our cookie lives as long as the application's and where it does."""
    line, expected = SET[name]
    balancer, _, _ = started(place, app_cookie(), lambda _, request: reply(fields=[f"Set-Cookie: {line}"]), count=1)
    answer = balancer.ask(get())
    assert answer.head.all("Set-Cookie")[0] == line
    own = cookies_of(answer)
    if expected is None:
        assert own == []
    else:
        assert len(own) == 1
        assert re.fullmatch("AWSELB=[0-9A-F]{138}" + re.escape(expected), own[0]), own


def test_application_renews(place):
    """When the application sets its cookie again ours comes again, with the same lifetime."""
    balancer, _, _ = started(place, app_cookie(), shop)
    name, value = logged_in(balancer)
    answer = balancer.ask(in_session(value, "/login"))
    assert (answer.body.decode(), value_of(answer)) == (name, value)
