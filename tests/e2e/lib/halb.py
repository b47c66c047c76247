"""The halb process: started, asked through halbctl, stopped, and never allowed to end other than well."""
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess

from .wait import wait_until

BUILD = pathlib.Path(os.environ.get("HALB_BUILD") or pathlib.Path(__file__).resolve().parents[3] / "build")


def program(name):
    """Where the build has put a program."""
    for path in (BUILD / name, BUILD / "bin" / name, BUILD / "lb" / name):
        if path.is_file():
            return str(path)
    raise FileNotFoundError(f"no {name} in {BUILD}: build it first, or set HALB_BUILD")


def _sanitized():
    try:
        image = pathlib.Path(program("halb")).read_bytes()
    except FileNotFoundError:
        return False
    return b"__asan_init" in image or b"__tsan_init" in image


SANITIZED = _sanitized()
DEADLINE = 30 if SANITIZED else 20      # seconds that any single step may take, on a machine that may stand still for some
TROUBLE = re.compile(r"assert|Sanitizer|runtime error:|stack smashing|double free|corrupted|malloc\(\)", re.IGNORECASE)

running = []        # every process that has been started and not yet judged; read when a test fails


def run(*args, **kwargs):
    """A program of ours to its end: exit code, stdout and stderr as text."""
    name, *rest = args
    return subprocess.run([program(name), *map(str, rest)], capture_output=True, text=True, timeout=DEADLINE, **kwargs)


class _Control(http.client.HTTPConnection):
    """A connection to the control socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Halb:
    """One process. `command` is what to start; the log is its standard error."""

    def __init__(self, command, admin_socket, log_path, **popen):
        self.admin_socket, self.log_path = admin_socket, pathlib.Path(log_path)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **popen)
        running.append(self)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        return self.log_path.read_text(errors="replace")

    def ctl(self, *args):
        """halbctl, as an operator runs it."""
        return run("halbctl", "-s", self.admin_socket, *args)

    def ask(self, *args):
        """What halbctl --json says; it must succeed."""
        done = self.ctl("--json", *args)
        assert done.returncode == 0, f"halbctl {args}: exit {done.returncode}: {done.stderr}"
        return json.loads(done.stdout)

    def instance(self, balancer, name):
        """An instance's health: the JSON object of `instance-health`."""
        return self.ask("instance-health", balancer, name)[0]

    def in_service(self):
        """
        How many instances of each balancer are in service: {name: count}; None before the control socket answers. Asked
        over and over while something is awaited, so without a program for each time.
        """
        control = _Control(self.admin_socket)
        try:
            control.request("GET", "/v1/load-balancers")
            answer = control.getresponse()
            assert answer.status == 200, f"status: {answer.status}"
            return {b["load_balancer"]: b["in_service"] for b in json.load(answer)}
        except (ConnectionError, FileNotFoundError, http.client.HTTPException):
            assert self.process.poll() is None, f"halb ended by itself, exit {self.process.returncode}:\n{self.log()}"
            return None
        finally:
            control.close()

    def wait_in_service(self, expected):
        """Until every balancer has so many instances in service."""
        def holds():
            seen = self.in_service()
            return seen is not None and all(seen.get(name) == count for name, count in expected.items())
        wait_until(holds, DEADLINE, f"in service: {expected}")

    def wait_state(self, balancer, name, state):
        """Until the measured state is this one; returns the instance's health."""
        def holds():
            health = self.instance(balancer, name)
            return health if health["state"] == state else None
        return wait_until(holds, DEADLINE, f"{name} in {balancer} is {state}")

    def wait_log(self, pattern):
        """Until a line of the log matches."""
        return wait_until(lambda: re.search(pattern, self.log()), DEADLINE, f"a log line like {pattern!r}")

    def signal(self, number):
        os.kill(self.pid, number)

    def wait_exit(self, deadline=DEADLINE):
        return self.process.wait(deadline)

    def stop(self):
        """SIGTERM twice, so that nothing in flight delays us; then the process is judged."""
        if self not in running:
            return
        try:
            if self.process.poll() is None:
                self.signal(signal.SIGTERM)
                try:
                    self.wait_exit(0.3)
                except subprocess.TimeoutExpired:
                    self.signal(signal.SIGTERM)
            self.judge(self.wait_exit(), 0)
        finally:
            self.kill()

    def judge(self, code, expected):
        """The exit code is the expected one and no assertion or sanitizer spoke."""
        log = self.log()
        assert code == expected, f"halb: exit {code}, expected {expected}:\n{log}"
        trouble = TROUBLE.search(log)
        assert not trouble, f"halb said {trouble[0]!r}:\n{log}"
        if self in running:
            running.remove(self)

    def kill(self):
        """For the end of a test that failed: nothing is left behind."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self in running:
            running.remove(self)

    def memory_kib(self):
        """Resident memory of the process and its children."""
        return sum(_status_kib(pid, "VmRSS") for pid in (self.pid, *self.children()))

    def children(self):
        path = f"/proc/{self.pid}/task/{self.pid}/children"
        try:
            return [int(pid) for pid in pathlib.Path(path).read_text().split()]
        except FileNotFoundError:
            return []


def _status_kib(pid, name):
    match = re.search(rf"^{name}:\s+(\d+) kB", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(match[1]) if match else 0
