"""halbctl and the control socket: what operators ask, what they are told, and what no client can do to them."""
import json
import socket

import pytest
from lib import DEADLINE, Wire, background, get, request, run, wait_until

SESSIONS_MAX = 64
NOT_REGISTERED = "Instance is not currently registered with the LoadBalancer."


def local(method, target, *fields, body=b"", host="localhost"):
    """A request for the control socket."""
    return request(method, target, *fields, body=body, host=host)


def dial(halb):
    """A connection to the control socket: a Wire."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(DEADLINE)
    sock.connect(halb.admin_socket)
    return Wire(sock)


@pytest.fixture
def halb(place):
    """A balancer over one instance; a second one is in the inventory alone."""
    place.group("secg-web", [(80, "10.0.0.0/8"), (22, "0.0.0.0/0")])
    web = place.instance(security_groups=["secg-web"])
    place.instance("spare")
    place.balancer([web], name="ha-lbint")
    return place.start()


def refused(done, *words):
    assert done.returncode == 1, f"exit {done.returncode}: {done.stderr}"
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


# the program


def test_usage():
    """Mistakes of the command line: the usage on stderr, exit 2."""
    for args in ([], ["nonsense"], ["--nonsense"], ["register", "ha-lbint"], ["set-state", "a", "b", "sideways"]):
        done = run("halbctl", *args)
        assert (done.returncode, done.stdout) == (2, "")
        assert "usage: halbctl " in done.stderr


def test_help_and_version():
    """What is asked for goes to stdout, exit 0."""
    assert run("halbctl", "-h").stdout.startswith("usage: halbctl ")
    assert run("halbctl", "-V").stdout.startswith("halbctl ")
    assert run("halbctl", "-V").returncode == 0


def test_no_contact(tmp_path):
    """Nobody at the socket, or nobody any more: exit 3, and the message names it."""
    gone = tmp_path / "gone.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(gone))
    for path in (tmp_path / "never.sock", gone):
        done = run("halbctl", "-s", path, "status")
        assert (done.returncode, done.stdout) == (3, "")
        assert str(path) in done.stderr


def test_socket_of_the_environment(halb):
    """Without -s it is $HALB_SOCKET."""
    done = run("halbctl", "status", env={"HALB_SOCKET": halb.admin_socket})
    assert done.returncode == 0
    assert done.stdout == halb.ctl("status").stdout


def test_later_commands_are_refused(halb):
    """What a later version brings is refused in plain words."""
    for args in (["why", "web-1"], ["metrics"], ["reload"], ["top"], ["config", "--diff"]):
        refused(halb.ctl(*args), "not supported by this version")


# instance-health


def test_health_of_one_that_is_not_registered(halb):
    """In the inventory, not in this balancer: ELB's words."""
    health = halb.instance("ha-lbint", "spare")
    assert (health["state"], health["description"]) == ("OutOfService", NOT_REGISTERED)
    assert (health["since"], health["last_check"]) == (None, None)
    assert NOT_REGISTERED in halb.ctl("instance-health", "spare").stdout


def test_health_of_one_that_never_was(halb):
    """ELB's InvalidInstance: refused, with or without the balancer's name."""
    refused(halb.ctl("instance-health", "ha-lbint", "i-9"), "i-9")
    refused(halb.ctl("instance-health", "i-9"), "i-9")
    refused(halb.ctl("instance-health", "ha-lbint", "web-1", "i-9"), "i-9")


def test_health_selects(halb):
    """All, those of a balancer, or those that are named."""
    for args in ([], ["ha-lbint"], ["web-1"], ["ha-lbint", "web-1"]):
        assert [health["instance"] for health in halb.ask("instance-health", *args)] == ["web-1"]
    assert [health["instance"] for health in halb.ask("instance-health", "ha-lbint", "spare", "web-1")] == ["spare", "web-1"]


def test_health_text(halb):
    """State, reason code, description, since when, and the last check with its result, each in its column."""
    lines = halb.ctl("instance-health", "ha-lbint").stdout.splitlines()
    assert lines[0].split("  ")[0] == "LOAD BALANCER"
    cells = [cell.strip() for cell in lines[1].split("  ") if cell.strip()]
    assert cells[:5] == ["ha-lbint", "web-1", "InService", "N/A", "N/A"]
    assert cells[-1].startswith("pass ok in ")


# config and groups


def test_config_is_a_configuration(place, halb):
    """What `config` prints is accepted by halb -t and shows what was changed at run time."""
    assert halb.ctl("configure-health-check", "ha-lbint", "unhealthy=7").returncode == 0
    path = place.folder / "again.conf"
    path.write_text(halb.ctl("config").stdout)
    assert "unhealthy_threshold = 7" in path.read_text()
    done = run("halb", "-t", "-c", path)
    assert done.returncode == 0, done.stderr
    assert halb.ask("config") == {"config": path.read_text()}


def test_security_group(place, halb):
    """The process and the file give the same ruleset; an unknown group is refused."""
    online = halb.ctl("security-group", "secg-web", "--nft")
    offline = run("halbctl", "-c", place.folder / "halb.conf", "security-group", "secg-web", "--nft")
    assert online.returncode == offline.returncode == 0
    assert online.stdout == offline.stdout
    assert "ip saddr { 10.0.0.0/8 } tcp dport 80 accept" in online.stdout
    refused(halb.ctl("security-group", "secg-wbe", "--nft"), "secg-wbe")
    refused(run("halbctl", "-c", place.folder / "halb.conf", "security-group", "secg-wbe", "--nft"), "secg-wbe")


def test_configure_answers_with_all_of_it(halb):
    """The answer is the whole check as it is now."""
    check = halb.ask("configure-health-check", "ha-lbint", "interval=2s", "timeout=1s")
    assert (check["interval"], check["timeout"], check["healthy_threshold"]) == ("2s", "1s", 2)


# several processes


def test_two_processes(place):
    """One process a zone: each is asked, and where they differ each is named."""
    web = place.instance(zone="a")
    place.balancer([web], name="ha-lbint", zones=("a", "b"))
    first = place.start("-z", "a")
    second_socket = str(place.folder / "b.sock")
    (place.folder / "b").mkdir()
    place.start("-z", "b", "-s", second_socket, "-d", str(place.folder / "b"), ready=False)
    both = ["-s", first.admin_socket, "-s", second_socket]

    def statuses():
        done = run("halbctl", *both, "--json", "status")
        return json.loads(done.stdout) if done.returncode == 0 else []
    wait_until(lambda: [s["in_service"] for s in statuses()] == [1, 1], DEADLINE)
    assert [s["socket"] for s in statuses()] == [first.admin_socket, second_socket]
    assert run("halbctl", *both, "status").stdout == first.ctl("status").stdout

    assert first.ctl("set-state", "ha-lbint", "web-1", "out").returncode == 0
    text = run("halbctl", *both, "status").stdout
    assert f"{first.admin_socket}:\nha-lbint  internal  0 of 1 instances in service\n" in text
    assert f"{second_socket}:\nha-lbint  internal  1 of 1 instances in service\n" in text

    assert run("halbctl", *both, "set-state", "ha-lbint", "web-1", "out").returncode == 0
    assert [s["in_service"] for s in statuses()] == [0, 0]


def test_one_of_two_is_gone(place, halb):
    """The other is asked all the same; exit 3."""
    done = run("halbctl", "-s", place.folder / "gone.sock", "-s", halb.admin_socket, "status")
    assert done.returncode == 3
    assert "gone.sock" in done.stderr
    assert "ha-lbint  internal  1 of 1" in done.stdout


# the socket itself


def test_requests_on_one_connection(halb):
    """Keep-alive, and requests that come at once are answered in order."""
    with dial(halb) as client:
        assert client.ask(local("GET", "/v1/load-balancers/ha-lbint")).status == 200
        client.send(local("GET", "/v1/none") + local("GET", "/v1/config"))
        assert [client.read_message().status for _ in range(2)] == [404, 200]


def test_errors_are_json(halb):
    """Every refusal is {"error":{"code","message"}}."""
    cases = {
        local("GET", "/v1/load-balancers", host="evil.example"): 403,
        local("GET", "/v1/load-balancers", "Origin: http://evil.example"): 403,
        local("DELETE", "/v1/load-balancers"): 405,
        local("GET", "/metrics"): 404,
        local("POST", "/v1/load-balancers/ha-lbint/health-check", body=b"interval=1s"): 400,
        local("POST", "/v1/load-balancers/ha-lbint/health-check", "Content-Type: application/json", body=b"{"): 400,
        local("POST", "/v1/load-balancers/x/health-check", "Content-Type: application/json", body=b'{"interval":9}'): 404,
        b"POST /v1/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n": 413,
        b"GET /\n\n": 400,
    }
    for asked, status in cases.items():
        with dial(halb) as client:
            answer = client.ask(asked)
            assert answer.status == status, asked
            assert set(json.loads(answer.body)["error"]) == {"code", "message"}


def test_byte_by_byte(halb):
    """A request in pieces of one byte is the same request."""
    asked = local("POST", "/v1/load-balancers/ha-lbint/instances/web-1/state", "Content-Type: application/json",
                  body=b'{"state":"drain"}')
    with dial(halb) as client:
        for i in range(len(asked)):
            client.send(asked[i:i + 1])
        answer = client.read_message()
        assert (answer.status, json.loads(answer.body)["admin"]) == (200, "drain")


def test_clients_that_leave(halb):
    """Clients that leave at any point are no trouble."""
    asked = local("GET", "/v1/load-balancers")
    for cut in range(len(asked) + 1):
        with dial(halb) as client:
            client.send(asked[:cut])
    assert halb.ctl("status").returncode == 0


def test_all_places_taken(halb):
    """The client after the last waits until one of them leaves."""
    held = [dial(halb) for _ in range(SESSIONS_MAX)]
    for client in held:
        assert client.ask(local("HEAD", "/v1/config")).status == 200
    waiting = background(halb.ctl, "status")
    with dial(halb) as late:
        late.send(get())
        assert late.silent(0.2)
        assert not waiting.done()
        for client in held:
            client.close()
        assert late.read_message().status == 403        # its Host is not ours
    assert waiting.result().returncode == 0


def test_silent_clients_are_sent_away(halb):
    """Who says nothing, or too little, holds a place for ten seconds."""
    with dial(halb) as silent, dial(halb) as slow:
        slow.send(b"GET /v1")
        silent.sock.settimeout(15)
        slow.sock.settimeout(15)
        silent.expect_closed()
        slow.expect_closed()
