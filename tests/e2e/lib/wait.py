"""Waiting: for a condition, for work in the background, and (where time itself is the matter) for time."""
import threading
import time


def wait_until(condition, deadline, what="the condition", pause=0.005):
    """The condition's first true value; fails, naming what was awaited and the last value, at the deadline."""
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what}: not within {deadline} s; last seen: {value!r}"
        time.sleep(pause)


def let_pass(seconds):
    """Only for rules that are about time that has passed, such as 'idled over a second'."""
    time.sleep(seconds)


class background:
    """A function at work in a thread; result() gives what it returned or raises what it raised."""

    def __init__(self, function, *args):
        self._value = self._error = None
        self._thread = threading.Thread(target=self._run, args=(function, args), daemon=True)
        self._thread.start()

    def _run(self, function, args):
        try:
            self._value = function(*args)
        except BaseException as error:      # raised again in the test's own thread
            self._error = error

    def result(self, deadline=30):
        self._thread.join(deadline)
        assert not self._thread.is_alive(), f"the work in the background did not end within {deadline} s"
        if self._error is not None:
            raise self._error
        return self._value

    def done(self):
        return not self._thread.is_alive()
