"""Processes that the lab starts, each the leader of its own group, all ended with the lab."""
import ctypes
import os
import signal
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36

# A check every 100 ms must be answered within 90: where we may, the servers go ahead of whatever else this machine does.
AHEAD = ["nice", "-n", "-10"] if os.geteuid() == 0 else []


def adopt_orphans():
    """A server's workers whose parent was killed become ours to wait for."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def wait_for(what, condition, timeout=30.0):
    """The condition's first true value; TimeoutError names what was waited for."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(0.01)


class Process:
    def __init__(self, name, argv, log, env=None):
        self.name, self.log, self.env = name, log, env
        # A lab that dies without a word takes its servers along.
        self.argv = [*AHEAD, "setpriv", "--pdeathsig", "TERM", "--", *argv]
        self.leader = None

    @property
    def pid(self):
        return self.leader.pid

    def start(self):
        with open(self.log, "ab") as log:
            self.leader = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           start_new_session=True, env={**os.environ, **(self.env or {})})

    def running(self):
        return self.leader is not None and self.leader.poll() is None

    def stop(self, timeout=15.0):
        """As an operator stops it: SIGTERM to the leader. One that does not end is killed, and told of."""
        if self.running():
            self.leader.send_signal(signal.SIGTERM)
        try:
            self._reap(timeout)
        except TimeoutError:
            self.kill()
            raise

    def kill(self):
        """SIGKILL to the leader and its workers at once: a crash."""
        if self.leader is None:
            return
        try:
            os.killpg(self.leader.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._reap(5.0)

    def _reap(self, timeout):
        if self.leader is None:
            return
        wait_for(f"the end of {self.name}", lambda: self.leader.poll() is not None, timeout)
        wait_for(f"the end of the workers of {self.name}", self._workers_gone, timeout)
        self.leader = None

    def _workers_gone(self):
        try:
            while os.waitpid(-self.leader.pid, os.WNOHANG) != (0, 0):
                pass
            return False
        except ChildProcessError:
            return True

    def expect_running(self):
        if not self.running():
            raise RuntimeError(f"{self.name} has ended:\n{self.tail()}")

    def tail(self, lines=15):
        try:
            with open(self.log, errors="replace") as log:
                return "".join(line.rstrip()[:200] + "\n" for line in log.readlines()[-lines:])
        except FileNotFoundError:
            return ""
