"""Processes that the lab starts, each the leader of its own group, all ended with the lab."""
import contextlib
import ctypes
import os
import signal
import subprocess
import time

PR_SET_CHILD_SUBREAPER = 36
AHEAD = -10


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
    def __init__(self, name, argv, log):
        self.name, self.log = name, log
        # A lab that dies without a word takes its servers along.
        self.argv = ["setpriv", "--pdeathsig", "TERM", "--", *argv]
        self.leader = None

    @property
    def pid(self):
        return self.leader.pid

    def start(self):
        with open(self.log, "ab") as log:
            self.leader = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           start_new_session=True)
        self._go_ahead()

    def _go_ahead(self):
        """A check every 100 ms must be answered within 90: where we may, servers go ahead of whatever else runs here."""
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self.pid, AHEAD)
        with contextlib.suppress(OSError), open(f"/proc/{self.pid}/autogroup", "w") as session:
            session.write(str(AHEAD))       # with autogroups, a process's own value counts within its session only

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
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.leader.pid, signal.SIGKILL)
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
