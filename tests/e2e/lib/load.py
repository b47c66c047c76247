"""Steady load, of which nothing may fail."""
import threading

from .halb import DEADLINE
from .message import get
from .wait import background, wait_until


class Load:
    """Clients that send GETs one after another, each on a connection that it keeps, until the end of the with block."""

    def __init__(self, balancer, clients=4, fresh=False):
        self.balancer, self.fresh = balancer, fresh
        self.answers = 0
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._work = [background(self._run) for _ in range(clients)]

    def _run(self):
        client = self.balancer.connect()
        while not self._stop.is_set():
            answer = client.ask(get())
            assert answer.status == 200, answer
            with self._lock:
                self.answers += 1
            if self.fresh:
                client.close()
                client = self.balancer.connect()
        client.close()

    def more(self, count=20):
        """Until so many further answers have come."""
        seen = self.answers
        wait_until(lambda: self.answers >= seen + count or any(job.done() for job in self._work), DEADLINE)
        for job in self._work:
            if job.done():
                job.result()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self._stop.set()
        if kind is None:
            for job in self._work:
                job.result()
