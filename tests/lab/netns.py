"""Where the hosts live: all on loopback, or each in its own network namespace.

In namespaces the picture is the article's: a bridge a subnet, a router between
them (10.0.x.1, and 203.0.113.1 towards the users), and every host behind the
nftables rules of its own security groups.
"""
import contextlib
import ctypes
import ipaddress
import os
import subprocess

CLONE_NEWNET = 0x40000000
USERS = ipaddress.ip_network("203.0.113.0/24")      # documentation addresses: a public network, as users come from
USER = "user"
ROUTER = "router"


def available():
    """May we make network namespaces? Root may, unless its container says no."""
    return subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode == 0


class Loopback:
    """One host for all; nothing to set up."""

    def up(self):
        pass

    def down(self):
        pass

    def command(self, host):
        return []

    def inside(self, host):
        return contextlib.nullcontext()

    def protect(self, host, ruleset):
        pass


class Namespaces:
    def __init__(self, plan):
        self.prefix = f"halb{os.getpid()}-"
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.made = []
        subnets = {ipaddress.ip_network(f"{h.address}/24", strict=False) for h in plan.hosts} | {USERS}
        self.bridges = {subnet: f"br{number}" for number, subnet in enumerate(sorted(subnets))}
        self.hosts = {h.name: ipaddress.ip_address(h.address) for h in plan.hosts} | {USER: USERS[10]}

    def up(self):
        self._add(ROUTER)
        with self.inside(ROUTER), open("/proc/sys/net/ipv4/ip_forward", "w") as forward:
            forward.write("1")
        for subnet, bridge in self.bridges.items():
            self._in(ROUTER, "ip", "link", "add", bridge, "type", "bridge")
            self._in(ROUTER, "ip", "addr", "add", f"{subnet[1]}/{subnet.prefixlen}", "dev", bridge)
            self._in(ROUTER, "ip", "link", "set", bridge, "up")
        for number, (host, address) in enumerate(self.hosts.items()):
            self._attach(host, address, f"port{number}")

    def _attach(self, host, address, port):
        subnet, bridge = next((s, b) for s, b in self.bridges.items() if address in s)
        self._add(host)
        self._in(ROUTER, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", self.prefix + host)
        self._in(ROUTER, "ip", "link", "set", port, "master", bridge, "up")
        self._in(host, "ip", "addr", "add", f"{address}/{subnet.prefixlen}", "dev", "eth0")
        self._in(host, "ip", "link", "set", "eth0", "up")
        self._in(host, "ip", "route", "add", "default", "via", str(subnet[1]))

    def down(self):
        while self.made:
            subprocess.run(["ip", "netns", "del", self.made.pop()], check=False)

    def command(self, host):
        """What to put before a command so that it runs on that host."""
        return ["nsenter", f"--net={self._path(host)}", "--"]

    @contextlib.contextmanager
    def inside(self, host):
        """The calling thread is on that host: its new sockets are the host's."""
        with open("/proc/thread-self/ns/net") as before, open(self._path(host)) as there:
            self._setns(there)
            try:
                yield
            finally:
                self._setns(before)

    def protect(self, host, ruleset):
        """Puts an nftables ruleset in force on the host."""
        self._in(host, "nft", "-f", "-", input=ruleset)

    def _path(self, host):
        return f"/run/netns/{self.prefix}{host}"

    def _setns(self, namespace):
        if self.libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns to {namespace.name}")

    def _add(self, host):
        subprocess.run(["ip", "netns", "add", self.prefix + host], check=True)
        self.made.append(self.prefix + host)
        self._in(host, "ip", "link", "set", "lo", "up")

    def _in(self, host, *command, input=None):
        run = subprocess.run([*self.command(host), *command], input=input, text=True, capture_output=True)
        if run.returncode != 0:
            raise RuntimeError(f"{host}: {' '.join(command)}: {run.stderr.strip()}")
