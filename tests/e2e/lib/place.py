"""Everything that one test needs: addresses, instances, balancers, groups, files, and the halb that serves them."""
import shutil
import os
import pathlib

from . import wire
from .addresses import fresh_address, free_port
from .halb import DEADLINE, Halb, program
from .instance import Instance
from .settings import render_all


class Balancer:
    """A load balancer to be configured: one node for each zone, all on the same ports."""

    def __init__(self, name, zones, listeners, instances, health_check, attributes, **settings):
        self.name, self.instances = name, instances
        self.listeners, self.health_check, self.attributes, self.settings = listeners, health_check, attributes, settings
        self.nodes = [{"id": f"subnet-{name}-{i}", "cidr": f"{address}/32", "zone": zone, "address": address}
                      for i, zone in enumerate(zones) for address in [fresh_address()]]

    @property
    def address(self):
        return self.nodes[0]["address"]

    @property
    def port(self):
        return self.listeners[0]["port"]

    def config(self):
        subnets = [{key: value for key, value in node.items() if value} for node in self.nodes]
        return {"name": self.name, "scheme": "internal", "subnets": subnets, "listeners": self.listeners,
                "health_check": self.health_check, "instances": [i.id for i in self.instances],
                "attributes": self.attributes, **self.settings}

    def connect(self, node=0, listener=0, **options):
        """A client of one node: a Wire."""
        return wire.connect(self.nodes[node]["address"], self.listeners[listener]["port"], **options)

    def ask(self, request, **options):
        """One request on a connection of its own."""
        with self.connect(**options) as client:
            return client.ask(request)


class Place:
    """Declares, writes the configuration, starts halb; close() stops it and judges how it ended."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.instance_port, self.health_port = free_port(), free_port()
        self.instances, self.balancers, self.groups, self.started = [], [], [], []
        self.process = {"workers": 1, "admin_socket": str(self.folder / "halb.sock"), "admin_http": "",
                        "state_dir": str(self.folder / "state"), "shutdown_timeout": "5s", "log_level": "debug"}
        if os.getuid() == 0:
            self.process["user"] = "root"

    def instance(self, name=None, zone="", **settings):
        """Another instance of the inventory, listening from now on."""
        name = name or f"web-{len(self.instances) + 1}"
        made = Instance(name, fresh_address(), self.instance_port, self.health_port, zone, **settings)
        self.instances.append(made)
        return made

    def balancer(self, instances, name=None, protocol="HTTP", zones=("",), check=None, settings=None, **attributes):
        """
        A balancer over these instances. Attributes are the configuration's. Health is checked on the instances'
        health port: by TCP unless `check` says otherwise, so that the kernel answers even when the test is busy.
        """
        listener = {"protocol": protocol, "port": free_port(), "instance_protocol": protocol,
                    "instance_port": self.instance_port}
        health_check = {"target": f"TCP:{self.health_port}", "interval": "100ms", "timeout": "90ms",
                        "unhealthy_threshold": 2, "healthy_threshold": 2, **(check or {})}
        made = Balancer(name or f"lb-{len(self.balancers) + 1}", zones, [listener], list(instances), health_check,
                        attributes, **(settings or {}))
        self.balancers.append(made)
        return made

    def http_check(self, path="/health", **more):
        """A check that the instances' health ports see as a request."""
        return {"target": f"HTTP:{self.health_port}{path}", **more}

    def group(self, name, ingress, members=()):
        """A security group; ingress: (port, source) pairs."""
        rules = [{"protocol": "tcp", "port": port, "source": source} for port, source in ingress]
        self.groups.append({"name": name, "ingress": rules, "members": list(members)})
        return name

    def text(self):
        """The configuration file."""
        inventory = [{"id": i.id, "address": i.address, **({"zone": i.zone} if i.zone else {}), **i.settings}
                     for i in self.instances]
        parts = {"process": self.process, "instances": inventory, "security_groups": self.groups,
                 "load_balancers": [b.config() for b in self.balancers]}
        return render_all({key: value for key, value in parts.items() if value})

    def write(self):
        (self.folder / "state").mkdir(exist_ok=True)
        path = self.folder / "halb.conf"
        path.write_text(self.text())
        return path

    def start(self, *args, ready=True, before=(), copied=False, **popen):
        """
        Starts halb. ready: wait until every instance is in service (True), until the control socket answers (None), or
        not at all (False). before: a command that runs halb. copied: from our folder, for users who can not reach the build's.
        """
        path = self.write()
        binary = shutil.copy(program("halb"), self.folder) if copied else program("halb")
        command = [*before, binary, "-c", str(path), *args]
        halb = Halb(command, self.process["admin_socket"], self.folder / "halb.log", **popen)
        self.started.append(halb)
        if ready:
            halb.wait_in_service({b.name: len(b.instances) for b in self.balancers})
        elif ready is None:
            halb.wait_in_service({})
        return halb

    def close(self):
        try:
            for halb in self.started:
                halb.stop()
        finally:
            for halb in self.started:
                halb.kill()
            for instance in self.instances:
                instance.close()


__all__ = ["Balancer", "DEADLINE", "Place"]
