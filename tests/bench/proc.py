"""Processes under measurement: started on one core, their CPU time read from /proc, ended for certain."""
import ctypes
import os
import signal
import subprocess

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
TICKS = os.sysconf("SC_CLK_TCK")


def read(path):
    try:
        with open(path) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def tree(pid):
    """pid and all its descendants, now."""
    found = [pid]
    for parent in found:
        for tid in listdir(f"/proc/{parent}/task"):
            found += [int(child) for child in read(f"/proc/{parent}/task/{tid}/children").split()]
    return found


def listdir(path):
    try:
        return os.listdir(path)
    except (FileNotFoundError, ProcessLookupError):
        return []


def stat_fields(pid):
    """Fields of /proc/PID/stat from the state on; the name before may hold anything."""
    return read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def identity(pid):
    """Tells a process from a later one of the same number."""
    fields = stat_fields(pid)
    return (pid, fields[19]) if fields and fields[0] not in "ZX" else None


class Cpu:
    """CPU time so far of a process and its descendants, all threads, kernel workers included."""

    def __init__(self, pid):
        self.tasks, self.user, self.system = {}, 0, 0
        for process in tree(pid):
            fields = stat_fields(process)
            if fields:
                self.user += int(fields[11])
                self.system += int(fields[12])
            for tid in listdir(f"/proc/{process}/task"):
                text = read(f"/proc/{process}/task/{tid}/schedstat")
                if text:
                    self.tasks[tid] = int(text.split()[0])

    def seconds_since(self, before):
        run_ns = sum(ns - before.tasks.get(tid, 0) for tid, ns in self.tasks.items())
        if before.tasks.keys() <= self.tasks.keys():
            return run_ns / 1e9
        # A thread ended meanwhile and took its count along; the coarser one of its process holds it.
        return max(run_ns / 1e9, (self.user + self.system - before.user - before.system) / TICKS)

    def system_share_since(self, before):
        user, system = self.user - before.user, self.system - before.system
        return system / (user + system) if user + system > 0 else 0.0


def core_busy_seconds(cpu):
    """Everything that ran on a core so far, and what the host took from it."""
    for line in read("/proc/stat").splitlines():
        name, *ticks = line.split()
        if name == f"cpu{cpu}":
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, ticks[:8])
            return (user + nice + system + irq + softirq + steal) / TICKS
    return 0.0


def on_core(cpu):
    """Between fork and exec: one core, and no life beyond ours."""
    def prepare():
        os.sched_setaffinity(0, {cpu})
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)     # it takes its own children along
    return prepare


class Process:
    """A context manager; what it started is gone when it ends, however it ends."""

    def __init__(self, argv, cpu, directory, name, pipes=False):
        self.argv, self.cpu, self.pipes = argv, cpu, pipes
        self.log = os.path.join(directory, name + ".log")
        self.child = None

    def __enter__(self):
        with open(self.log, "w") as log:
            self.child = subprocess.Popen(
                self.argv, stdin=subprocess.PIPE if self.pipes else subprocess.DEVNULL,
                stdout=subprocess.PIPE if self.pipes else log, stderr=log,
                text=True, preexec_fn=on_core(self.cpu), start_new_session=True)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """May be called again."""
        family = [identity(pid) for pid in tree(self.child.pid)[1:]]
        self.child.terminate()
        try:
            self.child.wait(3)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        for member in filter(None, family):
            if identity(member[0]) == member:
                os.kill(member[0], signal.SIGKILL)
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe:
                pipe.close()

    @property
    def pid(self):
        return self.child.pid

    def said(self):
        """Its last words."""
        return (read(self.log).strip().splitlines() or ["no message"])[-1][-400:]

    def ask(self, line):
        """One line in, one line out."""
        self.child.stdin.write(line + "\n")
        self.child.stdin.flush()
        return self.answer()

    def answer(self):
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.argv[0]} ended: {self.said()}")
        return line.strip()
