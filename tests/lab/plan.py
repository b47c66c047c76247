"""Address plans: who is where. Both come from the one set of configurations.

vpc       the files as they are: 10.0.x.x, port 80, in network namespaces
loopback  the same with first octet 127 and port 8080: no privileges, no set-up
"""
import contextlib
import random
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from . import libconfig

SOURCE = Path(__file__).resolve().parents[2] / "configs" / "ha-waf"
OUTER, INNER = "ha-lbext", "ha-lbint"
HTTP_PORT, STATUS_PORT = 80, 4444           # as the configurations say
LOOPBACK_PORTS = {HTTP_PORT: 8080, STATUS_PORT: 4444}


@dataclass(frozen=True)
class Host:
    """A machine of the set-up: an instance or a balancer's node in one zone."""
    name: str
    address: str
    port: int
    zone: str
    groups: tuple

    @property
    def authority(self):
        return self.address if self.port == HTTP_PORT else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Tier:
    """A balancer: its configuration, its nodes (one a zone), its instances."""
    name: str
    config: Path
    listen_port: int
    health_check: dict
    nodes: tuple
    instances: tuple


class Plan:
    """The hosts of a folder of configurations."""

    def __init__(self, name, folder, status_port):
        self.name, self.folder, self.status_port = name, Path(folder), status_port
        self.outer = _tier(self.folder / f"{OUTER}.conf", OUTER)
        self.inner = _tier(self.folder / f"{INNER}.conf", INNER)
        self.tiers = (self.outer, self.inner)
        self.wafs, self.webs = self.outer.instances, self.inner.instances
        self.in_namespaces = name == "vpc"

    @property
    def hosts(self):
        return [host for tier in self.tiers for host in tier.nodes + tier.instances]


def vpc(folder):
    return _derive("vpc", folder, lambda text: text, STATUS_PORT)


def loopback(folder, ports=None):
    """`ports` says which port stands for 80 and which for 4444."""
    ports = ports or LOOPBACK_PORTS
    return _derive("loopback", folder, lambda text: _on_loopback(text, ports), ports[STATUS_PORT])


def free_ports():
    """A mapping for loopback() that leaves a set-up on the usual ports alone."""
    return {port: _free_port() for port in (HTTP_PORT, STATUS_PORT)}


def _free_port():
    """Below the ports that the kernel gives to clients, so that it stays free while its server is down."""
    while True:
        port = random.randrange(10000, 32768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port


def _derive(name, folder, change, status_port):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for source in SOURCE.glob("*.conf"):
        (folder / source.name).write_text(change(source.read_text()))
    return Plan(name, folder, status_port)


def _on_loopback(text, ports):
    def port(match):
        return match[1] + str(ports.get(int(match[2]), match[2]))

    text = re.sub(r'"10\.(\d+\.\d+\.\d+(?:/\d+)?)"', r'"127.\1"', text)
    text = re.sub(r"(\b(?:port|instance_port)\s*=\s*)(\d+)\b", port, text)
    return re.sub(r'("(?:HTTP|TCP):)(\d+)', port, text)


def _tier(path, name):
    settings = libconfig.read(path)
    balancer = next(b for b in settings["load_balancers"] if b["name"] == name)
    inventory = {entry["id"]: entry for entry in settings["instances"]}
    listener = balancer["listeners"][0]
    return Tier(
        name, path, listener["port"], balancer["health_check"],
        tuple(Host(f"{name}-{subnet['zone']}", subnet["address"], listener["port"], subnet["zone"],
                   tuple(balancer["security_groups"])) for subnet in balancer["subnets"]),
        tuple(_instance(inventory[id], listener["instance_port"]) for id in balancer["instances"]))


def _instance(entry, port):
    return Host(entry["id"], entry["address"], port, entry["zone"], tuple(entry["security_groups"]))
