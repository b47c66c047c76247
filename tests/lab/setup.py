"""The whole set-up: two web nodes, two WAF nodes, two balancers with a node in each zone."""
import contextlib
import shutil
import signal
import tempfile
from pathlib import Path

from . import apache, halb, netns, plan as plans
from .process import adopt_orphans, wait_for

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class NotUp(Exception):
    """The set-up could not be brought up; says why, with the ends of the logs."""


class Setup:
    """Brought up in the order of the article: web, ha-lbint, WAF, ha-lbext. Gone without a trace when the context ends."""

    def __init__(self, plan="loopback", ports=None):
        self.folder = Path(tempfile.mkdtemp(prefix="halb-lab-"))
        self.folder.chmod(0o755)            # the servers give up root
        configs = self.folder / "configs"
        self.plan = plans.vpc(configs) if plan == "vpc" else plans.loopback(configs, ports)
        self.network = netns.Namespaces(self.plan) if self.plan.in_namespaces else netns.Loopback()
        self.webs, self.wafs = {}, {}
        self.balancers = {self.plan.outer.name: [], self.plan.inner.name: []}

    def __enter__(self):
        self.handlers = {number: signal.getsignal(number) for number in ENDING}
        _on_ending(_end)
        adopt_orphans()
        try:
            self._up()
            return self
        except (OSError, RuntimeError, TimeoutError) as failure:
            words = self.last_words()
            self.__exit__()
            raise NotUp(f"{failure}\n{words}") from failure
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        _on_ending(signal.SIG_IGN)          # a second Ctrl-C must not leave half of it behind
        for process in reversed(self.processes):
            with contextlib.suppress(TimeoutError):
                process.stop()
        self.network.down()
        shutil.rmtree(self.folder, ignore_errors=True)
        for number, handler in self.handlers.items():
            signal.signal(number, handler)

    @property
    def processes(self):
        """All that were made, in the order of their start."""
        inner, outer = self.balancers[self.plan.inner.name], self.balancers[self.plan.outer.name]
        return [*self.webs.values(), *inner, *self.wafs.values(), *outer]

    @property
    def halbs(self):
        return [process for processes in self.balancers.values() for process in processes]

    def _up(self):
        self.network.up()
        self._protect()
        for host in self.plan.webs:
            self.webs[host.name] = apache.web_node(host, self.folder / host.name, self.network)
            self.webs[host.name].start()
        self._start_balancer(self.plan.inner)
        for host in self.plan.wafs:
            self.wafs[host.name] = apache.waf_node(host, self.folder / host.name, self.network, self.plan)
            self.wafs[host.name].start()
        self._start_balancer(self.plan.outer)

    def _protect(self):
        if not self.plan.in_namespaces:
            return                          # one host for all: halb's own check at accept is what stands
        for tier in self.plan.tiers:
            for host in tier.nodes + tier.instances:
                for group in host.groups:
                    self.network.protect(host.name, halb.ruleset(tier.config, group))

    def _start_balancer(self, tier):
        for node in tier.nodes:
            process = halb.Halb(tier, node, self.folder / node.name, self.network)
            self.balancers[tier.name].append(process)
            process.start()
        for process in self.balancers[tier.name]:
            wait_for(f"{process.name} to report all instances in service", process.all_in_service)

    def as_user(self):
        """Sockets made inside belong to a user: anyone out there."""
        return self.network.inside(netns.USER)

    def user_command(self):
        return self.network.command(netns.USER)

    def last_words(self):
        """The ends of all logs, for a person who must find out what went wrong."""
        return "\n".join(f"--- {p.name}: {p.log}\n{p.tail()}" for p in self.processes)


def _on_ending(handler):
    for number in ENDING:
        signal.signal(number, handler)


def _end(number, _frame):
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
