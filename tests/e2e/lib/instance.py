"""A server behind the balancer. The test plays it, connection by connection, or lets it answer by itself."""
import select
import socket
import threading
import time

from .halb import DEADLINE
from .message import Head
from .wire import Wire


def reply(body=b"", status="200 OK", fields=()):
    """An answer with Content-Length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _listen(address, port, backlog=512):
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(backlog)
    return sock


class Instance:
    """
    Traffic comes to `port` and is taken by accept(), or served in the background after serve().
    Health checks come to a port of their own, `health`, so that each side can fail alone.
    """

    def __init__(self, name, address, port, health_port, zone="", **settings):
        self.id, self.address, self.port, self.zone, self.settings = name, address, port, zone, settings
        self.health = HealthPort(address, health_port)
        self.served = 0             # requests answered by serve()
        self.connections = 0        # accepted by serve()
        self._listener = _listen(address, port)
        self._fillers = []
        self._wires = []
        self._stopping = False

    # as played by the test

    def accept(self, deadline=DEADLINE):
        """The next connection that the balancer made."""
        self._listener.settimeout(deadline)
        sock, _ = self._listener.accept()
        wire = Wire(sock)
        self._wires.append(wire)
        return wire

    def untouched(self):
        """No connection waits to be accepted."""
        return not select.select([self._listener], [], [], 0)[0]

    def take(self, deadline=DEADLINE):
        """Accepts a connection and reads one whole request from it: (wire, request)."""
        wire = self.accept(deadline)
        return wire, wire.read_message()

    # troubles

    def refuse(self):
        """New connections are refused; those accepted stay."""
        self._wake_listener()
        self._listener.close()

    def drop(self):
        """Resets every connection that it has, as a process that is killed would."""
        for wire in self._wires:
            try:
                wire.abort()
            except OSError:
                pass                # its thread has closed it already

    def listen(self):
        """Ends refuse() or stall()."""
        self._listener.close()
        for sock in self._fillers:
            sock.close()
        self._fillers = []
        self._listener = _listen(self.address, self.port)

    def stall(self):
        """New connections are not answered at all: the kernel drops their SYN, because its queue is full."""
        self._listener.close()
        self._listener = _listen(self.address, self.port, 0)
        for _ in range(2):          # a backlog of 0 holds one; the second SYN is dropped and stays so
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((self.address, self.port))
            self._fillers.append(sock)

    # by itself

    def serve(self, answer=None):
        """Answers every request in the background; answer(request) gives bytes, by default a body of our own name."""
        answer = answer or (lambda request: reply(self.id.encode()))
        self._listener.settimeout(None)
        threading.Thread(target=self._serve, args=(self._listener, answer), daemon=True).start()
        return self

    def serve_wires(self, play):
        """Runs play(wire) in a thread for every connection."""
        self._listener.settimeout(None)
        threading.Thread(target=self._accept_all, args=(self._listener, play), daemon=True).start()
        return self

    def _accept_all(self, listener, play):
        while not self._stopping:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            wire = Wire(sock, 60)
            self._wires.append(wire)
            threading.Thread(target=self._play, args=(play, wire), daemon=True).start()

    def _play(self, play, wire):
        try:
            play(wire)
        except (OSError, AssertionError):
            pass                # the balancer may close at any time; the client's side judges
        finally:
            wire.close()

    def _serve(self, listener, answer):
        self._accept_all(listener, lambda wire: self._answer_all(wire, answer))

    def _answer_all(self, wire, answer):
        while True:
            request = wire.read_message()
            self.served += 1
            wire.send(answer(request))

    def _wake_listener(self):
        """A thread inside accept() would keep the socket open behind close()."""
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self._stopping = True
        self.refuse()
        for wire in self._wires:
            wire.close()
        for sock in self._fillers:
            sock.close()
        self.health.close()


class Check:
    """One health check as the instance saw it: when (realtime, seconds), from where, its bytes, the answer's time."""

    def __init__(self, peer):
        self.at = time.time()
        self.peer = peer
        self.request = b""
        self.answered_at = None


class HealthPort:
    """
    What health checks reach. plan() is a list of answers, one a check; the last one goes on for ever. An answer is
    bytes to send (then FIN), or a function that returns them when it is time, or "hang" (no answer), "reset",
    or "close" (FIN without a byte).
    """
    PASS = reply(b"up")
    FAIL = reply(b"", "503 Service Unavailable")

    def __init__(self, address, port):
        self.address, self.port = address, port
        self.checks = []
        self._plan = [self.PASS]
        self._lock = threading.Lock()
        self._listener = None
        self.listen()

    def plan(self, *answers):
        """Replaces the plan; the checks seen so far are forgotten."""
        with self._lock:
            self._plan = list(answers)
            self.checks = []

    def up(self):
        self.plan(self.PASS)

    def down(self):
        self.plan(self.FAIL)

    def refuse(self):
        listener, self._listener = self._listener, None
        if listener is not None:
            try:
                listener.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            listener.close()

    def listen(self):
        assert self._listener is None
        self._listener = _listen(self.address, self.port)
        threading.Thread(target=self._accept_all, args=(self._listener,), daemon=True).start()

    def _accept_all(self, listener):
        while True:
            try:
                sock, (peer, *_) = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(sock, peer), daemon=True).start()

    def _answer(self, sock, peer):
        check = Check(peer)
        with self._lock:
            answer = self._plan.pop(0) if len(self._plan) > 1 else self._plan[0]
            self.checks.append(check)
        wire = Wire(sock, 10)
        try:
            self._converse(wire, check, answer)
        except OSError:
            pass                # a check that was given up
        finally:
            wire.close()

    @staticmethod
    def _converse(wire, check, answer):
        while b"\r\n\r\n" not in check.request:
            data = wire.read_some()
            if not data:
                return          # a TCP check says nothing
            check.request += data
        if answer == "hang":
            wire.read_to_end()
        elif answer == "reset":
            wire.reset()
        elif answer != "close":
            data = answer() if callable(answer) else answer
            check.answered_at = time.time()
            wire.send(data)
            wire.finish()
            wire.read_to_end()

    def head(self):
        """The first check's request, which must have come."""
        return Head(self.checks[0].request)

    def close(self):
        self.refuse()
