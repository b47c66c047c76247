"""The program as an operator meets it: options, exit codes, messages, signals."""
import os
import re
import signal
import socket
import sys
from pathlib import Path

import pytest
from lib import DEADLINE, background, get, reply, request, run, wait_until
from lib.addresses import fresh_address
from lib.halb import program

WITHOUT_IO_URING = str(Path(__file__).with_name("lib") / "without_io_uring.py")


def line_of(text, part):
    """The number of the first line that contains this."""
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def check(place, text):
    """halb -t over this configuration text: (exit code, its lines)."""
    path = place.folder / "checked.conf"
    path.write_text(text)
    done = run("halb", "-c", path, "-t")
    return done.returncode, (done.stderr + done.stdout).splitlines()


@pytest.fixture
def text(place):
    """A good configuration to be spoilt."""
    place.balancer([place.instance(), place.instance()])
    place.group("secg", [(80, "0.0.0.0/0")])
    place.write()
    return place.text()


# usage


@pytest.mark.parametrize("args", [(), ("-c",), ("-x",), ("-c", "a.conf", "stray"), ("--no-such-option",)])
def test_bad_usage(args):
    """Bad usage exits 2 and says how it is used."""
    done = run("halb", *args)
    assert done.returncode == 2
    assert "-c" in done.stderr


def test_help():
    """-h explains and exits 0."""
    done = run("halb", "-h")
    assert done.returncode == 0
    assert all(option in done.stdout for option in ("-c", "-z", "-s", "-t", "-D", "-V"))


def test_version():
    """-V names the version, liburing's, and what this kernel's io_uring offers."""
    done = run("halb", "-V")
    assert done.returncode == 0
    assert re.search(r"\d+\.\d+", done.stdout)
    assert "liburing" in done.stdout
    assert "io_uring" in done.stdout


# the configuration


def test_good_configuration(place, text):
    """-t accepts a good configuration and starts nothing."""
    code, lines = check(place, text)
    assert (code, [line for line in lines if "checked.conf:" in line]) == (0, [])


def test_all_errors_at_once(place, text):
    """-t names every error of meaning at once, each with its file and line."""
    spoilt = text.replace('interval = "100ms"', 'interval = "yesterday"').replace("workers = 1", "wrokers = 1")
    spoilt = spoilt.replace('scheme = "internal"', 'scheme = "sideways"').replace("unhealthy_threshold = 2", "unhealthy_threshold = 0")
    code, lines = check(place, spoilt)
    assert code == 1
    for part in ("yesterday", "wrokers", "sideways", "unhealthy_threshold = 0"):
        where = f"checked.conf:{line_of(spoilt, part)}:"
        assert any(where in line for line in lines), f"nothing about {part!r} at {where} in {lines}"


def test_misspelt_setting(place, text):
    """An unknown setting is an error, with a suggestion."""
    code, lines = check(place, text.replace("healthy_threshold = 2;\n    };", "healthy_treshold = 2;\n    };")
                        .replace("state_dir", "state_dri"))
    assert code == 1
    assert any("state_dri" in line and "state_dir" in line.replace("state_dri", "") for line in lines), lines


def test_syntax_error(place, text):
    """A syntax error is named with its line."""
    spoilt = text.replace("workers = 1;", "workers = = 1;")
    code, lines = check(place, spoilt)
    assert code == 1
    assert any(f"checked.conf:{line_of(spoilt, '= = 1')}" in line for line in lines), lines


def test_empty_file(place):
    """An empty file is wrong in line 1."""
    code, lines = check(place, "")
    assert code == 1
    assert any("checked.conf:1:" in line for line in lines), lines


def test_no_file(place):
    """A file that is not there is bad configuration; the message names it."""
    done = run("halb", "-c", place.folder / "nowhere.conf", "-t")
    assert done.returncode == 1
    assert "nowhere.conf" in done.stderr


@pytest.mark.parametrize("number", ["2147483648", "4294967297", "99999999999999999999", "-1", "70000"])
def test_numbers_are_never_wrapped(place, text, number):
    """A port outside its range is refused, also outside 32 bits."""
    spoilt = re.sub(r"instance_port = \d+", f"instance_port = {number}", text)
    assert spoilt != text
    code, lines = check(place, spoilt)
    assert code == 1
    assert any(re.search(r"checked\.conf:\d+", line) for line in lines)


def test_public_address_in_an_internal_balancer(place, text):
    """scheme internal refuses public node addresses."""
    address = place.balancers[0].address
    code, lines = check(place, text.replace(f'cidr = "{address}/32"', 'cidr = "203.0.113.0/24"')
                        .replace(f'address = "{address}"', 'address = "203.0.113.9"'))
    assert code == 1
    assert any("203.0.113.9" in line for line in lines)


def test_address_outside_its_cidr(place, text):
    """A node's address lies in its subnet's cidr."""
    address = place.balancers[0].address
    code, lines = check(place, text.replace(f'cidr = "{address}/32"', 'cidr = "127.0.0.0/24"'))
    assert code == 1
    assert any(address in line for line in lines)


LATER = {
    "HTTPS": ('protocol = "HTTP"', 'protocol = "HTTPS"'),
    "SSL towards instances": ('instance_protocol = "HTTP"', 'instance_protocol = "SSL"'),
    "an HTTPS target": ('target = "TCP:', 'target = "SSL:'),
    "admin_http": ('admin_http = ""', 'admin_http = "127.0.0.1:9080"'),
}


@pytest.mark.parametrize("name", LATER)
def test_not_supported_by_this_version(place, text, name):
    """What this version can not do is refused in plain words, never accepted and ignored."""
    old, new = LATER[name]
    assert old in text
    code, lines = check(place, text.replace(old, new, 1))
    assert code == 1
    assert any("not supported by this version" in line for line in lines), lines


def test_bad_configuration_starts_nothing(place):
    """Started with a bad configuration: exit 1, all errors on stderr, and nobody listens."""
    balancer = place.balancer([place.instance()], check={"timeout": "5s"})
    halb = place.start(ready=False)
    halb.judge(halb.wait_exit(), 1)
    assert re.search(r"halb\.conf:\d+: ", halb.log())
    with pytest.raises(ConnectionRefusedError):
        balancer.connect()


def test_effective_configuration(place, text):
    """-D prints the whole configuration with its defaults; -t accepts it and it prints itself again."""
    (place.folder / "first.conf").write_text(text)
    first = run("halb", "-c", place.folder / "first.conf", "-D")
    assert first.returncode == 0, first.stderr
    assert "idle_timeout" in first.stdout and "connect_timeout" in first.stdout
    (place.folder / "second.conf").write_text(first.stdout)
    assert run("halb", "-c", place.folder / "second.conf", "-t").returncode == 0
    assert run("halb", "-c", place.folder / "second.conf", "-D").stdout == first.stdout


def test_include(place, text):
    """@include is relative to the including file, and errors in an included file name that file."""
    start, end = text.index("instances = ("), text.index("security_groups = (")
    (place.folder / "part").mkdir()
    (place.folder / "part" / "inventory.inc").write_text(text[start:end])
    (place.folder / "part" / "main.conf").write_text(text[:start] + '@include "inventory.inc"\n' + text[end:])
    assert run("halb", "-c", place.folder / "part" / "main.conf", "-t").returncode == 0
    (place.folder / "part" / "inventory.inc").write_text(text[start:end].replace("address", "adress", 1))
    done = run("halb", "-c", "part/main.conf", "-t", cwd=place.folder)
    assert done.returncode == 1
    assert "inventory.inc:" in done.stderr


def test_options_override_the_file(place):
    """-s and -d win over admin_socket and state_dir."""
    place.balancer([place.instance()])
    other = place.folder / "other"
    other.mkdir()
    halb = place.start("-s", str(other / "s.sock"), "-d", str(other), ready=False)
    halb.admin_socket = str(other / "s.sock")
    halb.wait_in_service({"lb-1": 1})
    assert not (place.folder / "halb.sock").exists()


# what keeps it from starting


def could_not_start(halb, *words):
    """Exit 3, and one line that has the reason."""
    halb.judge(halb.wait_exit(), 3)
    assert any(all(word in line for word in words) for line in halb.log().splitlines()), halb.log()


@pytest.mark.parametrize("shared", [False, True], ids=["plain", "SO_REUSEPORT"])
def test_address_in_use(place, shared):
    """An address that someone listens on is refused, also when SO_REUSEPORT would have let us in."""
    balancer = place.balancer([place.instance()])
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
        other.bind((balancer.address, balancer.port))
        other.listen()
        could_not_start(place.start(ready=False), f"{balancer.address}:{balancer.port}")


def test_the_same_configuration_twice(place):
    """A second halb with the same listeners and other files does not share them: exit 3."""
    balancer = place.balancer([place.instance().serve()])
    first = place.start()
    other = place.folder / "other"
    other.mkdir()
    second = place.start("-s", str(other / "s.sock"), "-d", str(other), ready=False)
    could_not_start(second, f"{balancer.address}:{balancer.port}")
    assert balancer.ask(get()).status == 200
    assert first.in_service() == {balancer.name: 1}


def test_state_directory_is_locked(place):
    """Two processes never share a state directory."""
    place.balancer([place.instance()])
    place.start()
    place.balancers[0].nodes[0].update(cidr="127.0.0.0/8", address=fresh_address())
    other = place.start("-s", str(place.folder / "other.sock"), ready=False)
    could_not_start(other, str(place.folder / "state"))


def test_control_socket_of_a_living_process(place):
    """A living process keeps its control socket: the second one does not take it away."""
    balancer = place.balancer([place.instance()])
    first = place.start()
    place.balancers[0].nodes[0].update(cidr="127.0.0.0/8", address=fresh_address())
    (place.folder / "other").mkdir()
    second = place.start("-d", str(place.folder / "other"), ready=False)
    could_not_start(second, "halb.sock")
    assert first.in_service() == {balancer.name: 1}


def test_control_socket_of_a_dead_process(place):
    """What a killed process left behind does not keep the next one from starting."""
    balancer = place.balancer([place.instance().serve()])
    first = place.start()
    first.kill()
    place.start()
    assert balancer.ask(get()).status == 200


def test_io_uring_refused(place):
    """Where io_uring is refused, one line says what refused it and what helps: exit 3."""
    place.balancer([place.instance()])
    halb = place.start(ready=False, before=(sys.executable, WITHOUT_IO_URING))
    could_not_start(halb, "io_uring", "seccomp")


def test_state_directory_missing(place):
    """A state directory that can not be used is named: exit 3."""
    place.balancer([place.instance()])
    (place.folder / "file").write_text("")
    halb = place.start("-d", str(place.folder / "file" / "state"), ready=False)
    could_not_start(halb, str(place.folder / "file" / "state"))


# signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_on_request(place, number):
    """SIGTERM and SIGINT stop an idle process at once: exit 0."""
    place.balancer([place.instance()])
    halb = place.start()
    halb.signal(number)
    halb.judge(halb.wait_exit(), 0)


def test_graceful_stop(place):
    """On SIGTERM no new connection is accepted, idle ones close, the request in flight ends; then exit 0."""
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    idle, busy = balancer.connect(), balancer.connect()
    busy.send(get("/slow"))
    back, _ = web.take()
    halb.signal(signal.SIGTERM)
    idle.expect_end()

    def refused():
        try:
            balancer.connect().close()
        except ConnectionRefusedError:
            return True
        return False
    wait_until(refused, DEADLINE)
    assert halb.process.poll() is None
    back.send(reply(b"to the end"))
    answer = busy.read_message()
    assert answer.body == b"to the end"
    assert answer.head.has_token("Connection", "close")
    busy.expect_end()
    halb.judge(halb.wait_exit(), 0)


def test_graceful_stop_in_mid_body(place):
    """Bodies under way in both directions end too."""
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    client = balancer.connect()
    client.send(request("POST", "/", "Content-Length: 6") + b"abc")
    back = web.accept()
    back.read_head()
    assert back.read_exactly(3) == b"abc"
    halb.signal(signal.SIGTERM)
    halb.wait_log("(?i)stop|signal|SIGTERM")
    client.send(b"def")
    assert back.read_exactly(3) == b"def"
    back.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    client.read_until(b"ab")
    back.send(b"cd")
    assert client.read_exactly(2) == b"cd"
    client.expect_end()
    halb.judge(halb.wait_exit(), 0)


def test_graceful_stop_of_tcp(place):
    """TCP connections may end by themselves."""
    web = place.instance()
    balancer = place.balancer([web], protocol="TCP")
    halb = place.start()
    client = balancer.connect()
    back = web.accept()
    halb.signal(signal.SIGTERM)
    client.send(b"x")
    assert back.read_exactly(1) == b"x"
    client.finish()
    back.expect_end()
    back.send(b"y")
    back.finish()
    assert client.read_to_end() == b"y"
    halb.judge(halb.wait_exit(), 0)


def test_second_signal(place):
    """A second signal stops at once, whatever is in flight: exit 0."""
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    client = balancer.connect()
    client.send(get())
    web.take()
    halb.signal(signal.SIGTERM)
    with pytest.raises(Exception):
        halb.wait_exit(0.3)
    halb.signal(signal.SIGTERM)
    halb.judge(halb.wait_exit(3), 0)
    client.read_to_any_end()


def test_shutdown_timeout(place):
    """shutdown_timeout bounds the graceful stop."""
    place.process["shutdown_timeout"] = "500ms"
    web = place.instance()
    balancer = place.balancer([web])
    halb = place.start()
    client = balancer.connect()
    client.send(get())
    web.take()
    halb.signal(signal.SIGTERM)
    halb.judge(halb.wait_exit(4), 0)
    client.read_to_any_end()


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_signals_of_later_versions(place, number):
    """A signal whose meaning comes later says so, and service goes on."""
    balancer = place.balancer([place.instance().serve()])
    halb = place.start()
    halb.signal(number)
    halb.wait_log(f"{signal.Signals(number).name}: .*this version")
    assert balancer.ask(get()).status == 200


def test_sd_notify(place):
    """Under systemd, readiness is told after the first checks."""
    path = str(place.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        notify.settimeout(DEADLINE)
        balancer = place.balancer([place.instance().serve()])
        halb = place.start(ready=False, env={**os.environ, "NOTIFY_SOCKET": path})
        message = ""
        while "READY=1" not in message:
            message = notify.recv(4096).decode()
        assert halb.in_service() == {balancer.name: 1}
        assert balancer.ask(get()).status == 200


def test_many_restarts(place):
    """Stopping and starting leaves nothing behind that hinders the next."""
    balancer = place.balancer([place.instance().serve()])
    for _ in range(5):
        halb = place.start()
        assert balancer.ask(get()).status == 200
        halb.signal(signal.SIGTERM)
        halb.judge(halb.wait_exit(), 0)


def test_a_closed_stderr_is_no_reason_to_die(place):
    """halb whose log goes to a full device serves on."""
    balancer = place.balancer([place.instance().serve()])
    path = place.write()
    with open("/dev/full", "wb") as full:
        import subprocess
        process = subprocess.Popen([program("halb"), "-c", str(path)], stdin=subprocess.DEVNULL, stdout=full, stderr=full)
    try:
        def works():
            try:
                return balancer.ask(get()).status == 200
            except OSError:
                return False
        wait_until(works, DEADLINE)
        process.terminate()
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()


def test_background_noise_does_not_keep_it_from_stopping(place):
    """Under steady load of new connections SIGTERM still stops the process within its time."""
    balancer = place.balancer([place.instance().serve()])
    halb = place.start()
    stop = []

    def load():
        while not stop:
            try:
                balancer.ask(get())
            except (OSError, AssertionError):
                pass
    work = background(load)
    wait_until(lambda: place.instances[0].served > 20, DEADLINE)
    halb.signal(signal.SIGTERM)
    code = halb.wait_exit()
    stop.append(True)
    work.result()
    halb.judge(code, 0)
