"""halb as an operator runs it: one process a tier and zone, spoken to by halbctl."""
import json
import os
import subprocess
from pathlib import Path

from .process import Process, wait_for

REPOSITORY = Path(__file__).resolve().parents[2]


def build_folder():
    """Where halb and halbctl were built: $HALB_BUILD, else build/."""
    return REPOSITORY / os.environ.get("HALB_BUILD", "build")


class Halb(Process):
    def __init__(self, tier, node, folder, network):
        self.tier, self.node = tier, node
        self.socket = folder / "halb.sock"
        folder.mkdir()
        super().__init__(node.name, [*network.command(node.name), str(build_folder() / "halb"), "-c", str(tier.config), "-z", node.zone,
                                     "-s", str(self.socket), "-d", str(folder / "state")], folder / "halb.log")

    def start(self):
        super().start()
        wait_for(f"{self.name} to answer halbctl", self._answers)

    def _answers(self):
        self.expect_running()
        return self.socket.exists() and self._halbctl("status").returncode == 0

    def _halbctl(self, *arguments):
        return halbctl("-s", str(self.socket), *arguments)

    def ctl(self, *arguments):
        run = self._halbctl(*arguments)
        if run.returncode != 0:
            raise RuntimeError(f"{self.name}: halbctl {' '.join(arguments)}: exit {run.returncode}: {run.stderr.strip()}")
        return run.stdout

    def status(self):
        """The balancer's part of `halbctl --json status`."""
        balancers = json.loads(self.ctl("--json", "status"))
        return next(b for b in balancers if b["load_balancer"] == self.tier.name)

    def health(self, instance):
        return next(i for i in self.status()["instances"] if i["instance"] == instance)

    def all_in_service(self):
        status = self.status()
        return status["in_service"] == status["registered"] == len(self.tier.instances)


def halbctl(*arguments):
    return subprocess.run([str(build_folder() / "halbctl"), *arguments], capture_output=True, text=True)


def ruleset(config, group):
    """A security group as nftables rules; needs no running process."""
    run = halbctl("-c", str(config), "security-group", group, "--nft")
    if run.returncode != 0:
        raise RuntimeError(f"halbctl security-group {group}: {run.stderr.strip()}")
    return run.stdout
