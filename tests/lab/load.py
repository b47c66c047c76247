"""Users: a single request, and a steady load of GETs of which every one is remembered."""
import http.client
import re
import threading
import time
from dataclasses import dataclass



@dataclass
class Answer:
    """One request and what became of it. Times are of the wall clock, to compare with halb's log."""
    node: str
    opened: float                   # its connection; may be older than the request
    started: float
    ended: float = 0.0
    status: int = 0                 # 0: no answer
    reason: str = ""
    web: str = ""                   # which web node's content, if any
    waf: str = ""                   # which WAF let it pass
    error: str = ""

    @property
    def ok(self):
        return self.status == 200 and self.web != ""

    @property
    def took_ms(self):
        return (self.ended - self.started) * 1000

    def __str__(self):
        return f"{self.node}: {self.error or f'{self.status} {self.reason}'} after {self.took_ms:.0f} ms"


class User:
    """One user's connection to one address. Not kept: a new connection for each request."""

    def __init__(self, node, keep=True, timeout=10.0):
        self.node, self.keep, self.timeout = node, keep, timeout
        self.connection, self.opened = None, 0.0

    def get(self, target="/"):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.node.address, self.node.port, timeout=self.timeout)
            self.opened = time.time()
        answer = Answer(self.node.name, self.opened, time.time())
        try:
            self._exchange(target, answer)
        except (OSError, http.client.HTTPException) as error:
            answer.error = f"{type(error).__name__}: {error}"
        answer.ended = time.time()
        if not self.keep or answer.error:
            self.close()
        return answer

    def _exchange(self, target, answer):
        self.connection.request("GET", target)
        response = self.connection.getresponse()
        body = response.read().decode("latin-1")
        answer.status, answer.reason = response.status, response.reason
        answer.waf = response.getheader("X-WAF", "")
        found = re.search(r"ha-web-\w+", body)
        answer.web = found[0] if found else ""
        if response.will_close:
            self.close()

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Load:
    """Steady users: half of them keep their connection, half take a new one for each request; spread over all nodes."""

    def __init__(self, nodes, as_user, clients=8, rate=15.0):
        self.nodes, self.as_user = nodes, as_user
        self.pause = 1.0 / rate                     # of one client
        self.answers = []                           # append is atomic; read by slices
        self.stopping = threading.Event()
        self.clients = [threading.Thread(target=self._client, args=(number, clients), daemon=True) for number in range(clients)]

    def __enter__(self):
        for client in self.clients:
            client.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for client in self.clients:
            client.join()

    def _client(self, number, clients):
        user = User(self.nodes[number % len(self.nodes)], keep=number // len(self.nodes) % 2 == 0)
        due = time.monotonic() + self.pause * number / clients
        with self.as_user():
            while not self.stopping.wait(max(0.0, due - time.monotonic())):
                self.answers.append(user.get())
                due = max(due + self.pause, time.monotonic())
        user.close()

    def since(self, start):
        """The requests that began at that time or later and have ended."""
        return [answer for answer in self.answers[:] if answer.started >= start]

    def ended_since(self, start):
        return [answer for answer in self.answers[:] if answer.ended >= start]
