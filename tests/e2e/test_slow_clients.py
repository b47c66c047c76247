"""Clients that are slow on purpose (slowhttptest), hundreds at once: they hold little, are let go in time, and harm nobody."""
import os
import re
import subprocess

import pytest
from lib import DEADLINE, SANITIZED, get, reply, wait_until

CLIENTS = 300
BIG = bytes(4 << 20)
# For each of them. The receive buffers of a worker are common to all, but memory only once they have been used.
HEAD_KIB, BODY_KIB = 32, 32
RING_KIB = 1024 * 16 + 8 * 256
ANSWER_KIB = RING_KIB / CLIENTS + 128
TIMEOUTS = {"request_header_timeout": "2s", "request_body_timeout": "1s", "idle_timeout": "2s"}


def play(wire):
    """An instance with a large answer that all requests for it share."""
    while True:
        if wire.read_message().head.target == "/big":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG))
            wire.send(BIG)
        else:
            wire.send(reply(b"ok"))


@pytest.fixture
def served(place):
    """(balancer, halb), with little patience."""
    balancer = place.balancer([place.instance().serve_wires(play)], **TIMEOUTS)
    return balancer, place.start()


class Attack:
    """slowhttptest at work for at most 8 s, and a client beside it that is as good as any."""

    def __init__(self, served, *mode, path="/"):
        self.balancer, self.halb = served
        self.before = self.descriptors()
        self.memory = self.highest = self.halb.memory_kib()
        self.most = 0
        url = f"http://{self.balancer.address}:{self.balancer.port}{path}"
        command = ["/usr/bin/slowhttptest", *mode, "-c", str(CLIENTS), "-r", str(CLIENTS), "-l", "8", "-p", "3", "-v", "1", "-u", url]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def descriptors(self):
        """What halb holds open."""
        return len(os.listdir(f"/proc/{self.halb.pid}/fd"))

    def watch(self):
        """Others are served meanwhile, on a new connection and on a kept one; true when all attackers came and have been let go."""
        with self.balancer.connect() as client:
            assert client.ask(get()).status == 200
            assert client.ask(get()).status == 200
        self.most = max(self.most, self.descriptors())
        self.highest = max(self.highest, self.halb.memory_kib())
        return self.most >= self.before + CLIENTS and self.descriptors() < self.before + 30

    def run(self, kib):
        """Until halb has let all go; none has cost more memory than this."""
        wait_until(self.watch, DEADLINE, f"{CLIENTS} slow clients came and are let go", pause=0.02)
        if not SANITIZED:
            assert self.highest - self.memory < CLIENTS * kib

    def left_by_themselves(self):
        """Whether slowhttptest has gone, which would have let its connections go."""
        return self.process.poll() is not None

    def verdict(self):
        """slowhttptest's own, when no connection is left to it."""
        said = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", self.process.communicate(timeout=DEADLINE)[0])
        return re.search(r"Exit status: *(.*)", said)[1].strip()


def test_slow_heads(served):
    """A field a second, without end: all are closed after request_header_timeout, though bytes kept coming."""
    with Attack(served, "-H", "-i", "1") as attack:
        attack.run(HEAD_KIB)
        assert attack.verdict() == "No open connections left"


def test_slow_bodies(served):
    """A few bytes of 4096 every other second: all are closed after request_body_timeout."""
    with Attack(served, "-B", "-i", "2") as attack:
        attack.run(BODY_KIB)
        assert attack.verdict() == "No open connections left"


def test_slow_readers(served):
    """Small windows, read from every other second, and large answers: halb gives up those who take nothing for idle_timeout."""
    with Attack(served, "-X", "-w", "1", "-y", "512", "-n", "2", "-z", "5", path="/big") as attack:
        attack.run(ANSWER_KIB)
        assert not attack.left_by_themselves()


@pytest.mark.parametrize("request_part", [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx"], ids=["head", "body"])
def test_what_a_slow_one_is_told(served, request_part):
    """408 and the end."""
    balancer, _ = served
    with balancer.connect() as client:
        client.send(request_part)
        assert client.read_to_any_end()[0] == b"HTTP/1.1 408 REQUEST_TIMEOUT\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n"
