"""Started as root: what serves the network holds no right."""
import os
import pwd
import re
import signal
from pathlib import Path

import pytest
from lib import DEADLINE, SANITIZED, get, wait_until

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root has rights to drop")
NOBODY = pwd.getpwnam("nobody")
ORDINARY = 61234        # nobody else's: what a user may lock in memory is counted over all its processes


def status(pid):
    """/proc/PID/status as a dict."""
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line)


def alive(pid):
    try:
        return status(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def refuses(balancer):
    try:
        balancer.connect().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:        # its socket was closed in the middle of it
        pass
    return False


def served(place, port=None):
    """A started halb and its balancer over one instance that answers: (balancer, halb, the serving process's pid)."""
    balancer = place.balancer([place.instance().serve()])
    if port is not None:
        balancer.listeners[0]["port"] = port
    halb = place.start()
    assert balancer.ask(get()).status == 200
    children = halb.children()
    assert len(children) == 1, "one parent with what root is needed for, one process that serves"
    return balancer, halb, children[0]


def test_what_serves_has_no_rights(open_place):
    """The serving process runs as `user`, without any capability, and can never gain one; each of its threads."""
    _, _, child = served(open_place)
    tasks = [str(child)] if SANITIZED else os.listdir(f"/proc/{child}/task")    # a sanitizer may have a thread of its own
    for task in tasks:
        seen = status(f"{child}/task/{task}")
        assert seen["Uid"].split() == [str(NOBODY.pw_uid)] * 4
        assert seen["Gid"].split() == [str(NOBODY.pw_gid)] * 4
        assert seen["Groups"].split() in ([], [str(NOBODY.pw_gid)])
        assert [seen[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == ["0" * 16] * 4
        assert seen["NoNewPrivs"] == "1"


def test_parent_is_deaf(open_place):
    """The parent has no listening socket and one thread."""
    balancer, halb, _ = served(open_place)
    assert len(os.listdir(f"/proc/{halb.pid}/task")) == 1
    sockets = {match[1] for fd in os.listdir(f"/proc/{halb.pid}/fd")
               if (match := re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{halb.pid}/fd/{fd}")))}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        assert not (fields[3] == "0A" and fields[9] in sockets), f"the parent of {balancer.name} listens: {line}"


def test_port_80(open_place):
    """A port below 1024 is bound though the serving process could not."""
    balancer, _, _ = served(open_place, port=80)
    assert balancer.ask(get()).body == b"web-1"


def test_control_and_changes_work(open_place):
    """Run-time changes need no right."""
    balancer, halb, _ = served(open_place)
    assert halb.ctl("set-state", balancer.name, "web-1", "out").returncode == 0
    assert halb.ctl("deregister", balancer.name, "web-1").returncode == 0
    wait_until(lambda: halb.ask("instance-health", balancer.name) == [], DEADLINE)
    assert halb.ctl("register", balancer.name, "web-1").returncode == 0
    halb.wait_in_service({balancer.name: 1})
    assert balancer.ask(get()).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(open_place, number):
    """A signal to the parent stops all: exit 0 and nobody is left."""
    _, halb, child = served(open_place)
    halb.signal(number)
    halb.judge(halb.wait_exit(), 0)
    assert not alive(child)


def test_parent_killed(open_place):
    """When the parent is killed, the serving process ends too: its ports are free for the next one."""
    balancer, halb, child = served(open_place)
    halb.process.kill()
    halb.process.wait()
    halb.kill()
    wait_until(lambda: not alive(child), DEADLINE, "the serving process ends")
    wait_until(lambda: refuses(balancer), DEADLINE, "the port is free")


def test_child_killed(open_place):
    """When the serving process dies, the parent ends with an error, for whoever restarts services."""
    _, halb, child = served(open_place)
    os.kill(child, signal.SIGKILL)
    assert halb.wait_exit() != 0
    halb.kill()


def test_default_user(open_place):
    """Without `user`, halb if it exists, else nobody."""
    open_place.process["user"] = ""
    try:
        expected = pwd.getpwnam("halb")
        for path in (open_place.folder, open_place.folder / "state"):
            os.chown(path, expected.pw_uid, expected.pw_gid)
    except KeyError:
        expected = NOBODY
    _, _, child = served(open_place)
    assert status(child)["Uid"].split()[0] == str(expected.pw_uid)


def test_user_root(open_place):
    """user = "root" keeps root."""
    open_place.process["user"] = "root"
    balancer = open_place.balancer([open_place.instance().serve()])
    halb = open_place.start()
    assert balancer.ask(get()).status == 200
    assert status((halb.children() or [halb.pid])[0])["Uid"].split()[0] == "0"


def test_unknown_user(open_place):
    """A user that does not exist is named, and nothing starts."""
    open_place.process["user"] = "no-such-user"
    open_place.balancer([open_place.instance()])
    halb = open_place.start(ready=False)
    code = halb.wait_exit()
    halb.judge(code, code)
    assert code in (1, 3)
    assert "no-such-user" in halb.log()


def test_started_without_root(open_place):
    """Started as an ordinary user there is no parent, and all works."""
    for path in (open_place.folder, open_place.folder / "state"):
        os.chown(path, ORDINARY, ORDINARY)
    balancer = open_place.balancer([open_place.instance().serve()])
    halb = open_place.start(copied=True, user=ORDINARY, group=ORDINARY, extra_groups=[])
    assert balancer.ask(get()).status == 200
    assert halb.children() == []
