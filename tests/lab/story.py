"""The acceptance story, step by step, with real servers and real users.

Each step says what is done, measures what users saw, and claims what must hold;
the first claim that does not hold ends the story.
"""
import collections
import datetime
import socket
import subprocess
import time

from .load import Load, User
from .process import wait_for

# Two failed checks, 100 ms apart, take 0.3 s at most; the rest is for a machine that is busy with other things.
OUT_MAX_S = 2.0
BACK_MAX_S = 5.0
AT_ONCE_MS = 100
SHARE_REQUESTS = 200
REQUESTS_AN_OUTAGE = 120
DNS_USERS = 20
ATTACK = "/?q=<script>alert(1)</script>"
NO_INSTANCE = (503, "Service Unavailable: Back-end server is at capacity")


class NotHeld(Exception):
    """A claim of the story that was not true."""


class Story:
    def __init__(self, setup, tell=print):
        self.setup, self.tell = setup, tell
        self.outer, self.inner = setup.plan.outer, setup.plan.inner
        self.began = time.monotonic()

    def play(self):
        """Every step, in order. NotHeld or TimeoutError names the first thing that went wrong."""
        self.both_tiers_complete()
        self.equal_shares()
        self.attack_is_stopped()
        self.security_groups_hold()
        with self._load() as load:
            first, second = self.setup.webs.values()
            self.web_node_fails(load, second, crash=False)
            self.web_node_fails(load, first, crash=True)
            first, second = self.setup.wafs.values()
            self.waf_node_fails(load, first, crash=False)
            self.waf_node_fails(load, second, crash=True)
        self.no_waf_at_all()
        with self._load() as load:
            self.outer_process_dies(load)
            self.inner_process_dies(load)
        self.both_tiers_complete()

    # 1

    def both_tiers_complete(self):
        self._title("Both balancers, asked by halbctl")
        for process in self.setup.halbs:
            line = wait_for(f"{process.name} to report 2 of 2", lambda: self._complete(process))
            self.tell(f"      {line}   (node {process.node.address}, {process.node.zone})")

    def _complete(self, process):
        line = process.ctl("status").splitlines()[0]
        return line if "2 of 2 instances in service" in line else None

    # 2

    def equal_shares(self):
        self._title("A user of ha-lbext sees both web nodes equally often")
        answers, checks = self._share()
        self._tell_shares("with health checks going on", answers)
        self.tell(f"      ha-lbext's checks go through the WAFs to the web nodes too: {checks} of them took turns in between")
        self._claim_even(answers, "web", 2 * checks + len(self.inner.nodes))
        self._pause_outer_checks()
        try:
            answers = self._share_undisturbed()
        finally:
            self._resume_outer_checks()
        self._tell_shares("with ha-lbext's checks paused", answers)
        for node in self.outer.nodes:
            self._claim_even([a for a in answers if a.node == node.name], "waf", 1)
        for waf in self.setup.wafs:                 # each WAF asks one ha-lbint node, its own zone's
            self._claim_even([a for a in answers if a.waf == waf], "web", 1)

    def _share(self):
        before = self._checks_seen_by_webs()
        with self.setup.as_user():
            users = [User(node) for node in self.outer.nodes]
            answers = [user.get() for _ in range(SHARE_REQUESTS // len(users)) for user in users]
            for user in users:
                user.close()
        self._claim_none_failed(answers)
        return answers, self._checks_seen_by_webs() - before

    def _share_undisturbed(self):
        def attempt():
            answers, checks = self._share()
            return answers if checks == 0 else None
        return wait_for("a run of requests without a health check in between", attempt)

    def _checks_seen_by_webs(self):
        """Only ha-lbext's, which come through a WAF: ha-lbint's own carry no X-Forwarded-For ("-")."""
        lines = [line for web in self.setup.webs.values() for line in (web.folder / "access.log").read_text().splitlines()]
        return sum("ELB-HealthChecker" in line and line.split()[1] != "-" for line in lines)

    def _pause_outer_checks(self):
        for process in self.setup.balancers[self.outer.name]:
            process.ctl("configure-health-check", self.outer.name, "interval=300s", "timeout=60s")

    def _resume_outer_checks(self):
        check = self.outer.health_check
        for process in self.setup.balancers[self.outer.name]:
            process.ctl("configure-health-check", self.outer.name, f"interval={check['interval']}", f"timeout={check['timeout']}")

    # the WAF

    def attack_is_stopped(self):
        self._title(f"An attack through ha-lbext: GET {ATTACK}")
        with self.setup.as_user():
            for node in self.outer.nodes:
                attack, harmless = User(node, keep=False).get(ATTACK), User(node, keep=False).get("/?q=hello")
                self.tell(f"      {node.address}: {attack.status} {attack.reason} from {attack.waf}; "
                          f"GET /?q=hello: {harmless.status} {harmless.reason}")
                self._claim("the WAF answers 403 to an attack", attack.status == 403 and attack.waf in self.setup.wafs)
                self._claim("a harmless query passes", harmless.ok)

    # security groups

    def security_groups_hold(self):
        self._title("Security groups: a user reaches ha-lbext and the WAFs' status pages, and nothing behind them")
        for node in self.inner.nodes:
            self._claim_unreachable(node)
        if self.setup.plan.in_namespaces:           # on loopback nothing stands before Apache's own ports
            for host in (*self.outer.instances, *self.inner.instances):
                self._claim_unreachable(host)
        for waf in self.outer.instances:
            self._claim_status_page(waf)

    def _claim_unreachable(self, host):
        with self.setup.as_user():
            answer = User(host, keep=False, timeout=0.5).get()
        self.tell(f"      {host.name} {host.authority}: {answer.error or answer.status}")
        self._claim(f"{host.name} does not talk to a user", answer.error != "")

    def _claim_status_page(self, waf):
        url = f"https://{waf.address}:{self.setup.plan.status_port}/"
        run = subprocess.run([*self.setup.user_command(), "curl", "-sk", "--max-time", "5", url], capture_output=True, text=True)
        self._claim(f"{url} shows the status of {waf.name}", "Apache Server Status" in run.stdout)

    # 3, 4

    def web_node_fails(self, load, apache, crash):
        self._outage(load, self.inner, apache, crash, "web")

    def waf_node_fails(self, load, apache, crash):
        self._outage(load, self.outer, apache, crash, "waf")

    def _outage(self, load, tier, apache, crash, seen):
        self._title(f"{apache.name}: Apache is {'killed (SIGKILL)' if crash else 'stopped (SIGTERM)'}, users go on")
        began = time.time()
        dead = self._end(apache, crash)
        self._claim_noticed(tier, apache.name, "OutOfService", began, OUT_MAX_S)
        self._requests(load, time.time())
        self._tell_load("meanwhile", load.since(dead), seen)
        self._claim(f"nobody is served by {apache.name}", all(getattr(a, seen) != apache.name for a in load.since(dead)))

        self.tell(f"      {apache.name} is started again")
        started = time.time()
        apache.start()
        self._claim_noticed(tier, apache.name, "InService", started, BACK_MAX_S)
        back = time.time()
        self._requests(load, back)
        self._tell_load("after that", load.since(back), seen)
        self._claim("both are seen again", len({getattr(a, seen) for a in load.since(back)}) == 2)
        self._claim_none_failed(load.ended_since(began))

    # 5

    def no_waf_at_all(self):
        self._title("Both WAFs stop: ha-lbext answers by itself, at once")
        began = time.time()
        for waf in self.setup.wafs.values():
            self._end(waf, crash=False)
        for name in self.setup.wafs:
            self._claim_noticed(self.outer, name, "OutOfService", began, OUT_MAX_S)
        for node in self.outer.nodes:
            answer = self._ask(node)
            self.tell(f"      {node.address}: {answer.status} {answer.reason}, after {answer.took_ms:.1f} ms")
            self._claim("ha-lbext answers 503 as ELB does", (answer.status, answer.reason) == NO_INSTANCE)
            self._claim(f"the answer comes within {AT_ONCE_MS} ms", answer.took_ms < AT_ONCE_MS)
        for waf in self.setup.wafs.values():
            self._recover(waf)

    def _recover(self, waf):
        self.tell(f"      {waf.name} is started again")
        began = time.time()
        waf.start()
        self._claim_noticed(self.outer, waf.name, "InService", began, BACK_MAX_S)
        for node in self.outer.nodes:
            answer = self._ask(node)
            self.tell(f"      {node.address}: {answer.status} {answer.reason}, {answer.web} through {answer.waf}")
            self._claim("service is back without anybody's help", answer.ok)

    # 6

    def outer_process_dies(self, load):
        victim, other = self.setup.balancers[self.outer.name]
        began, killed = self._kill(victim)
        self._requests(load, killed, other.node.name)
        untouched = [a for a in load.ended_since(began) if a.node == other.node.name]
        self._tell_load(f"users of {other.node.address}", untouched, "web")
        self._claim_none_failed(untouched)
        self._users_by_dns()
        self._revive(victim)

    def _users_by_dns(self):
        """A name with two addresses, the dead one first: curl takes the next, as browsers do."""
        addresses = ",".join(node.address for node in self.outer.nodes)
        name, port = self.outer.name, self.outer.listen_port
        command = ["curl", "-sS", "--max-time", "10", "--resolve", f"{name}:{port}:{addresses}", f"http://{name}:{port}/"]
        self.tell(f"      new users: {' '.join(command)}")
        runs = [subprocess.run([*self.setup.user_command(), *command], capture_output=True, text=True) for _ in range(DNS_USERS)]
        served = sum("ha-web-" in run.stdout for run in runs)
        self.tell(f"      {served} of {len(runs)} served {dict(collections.Counter(run.stdout.strip() for run in runs))}")
        self._claim("every new user is served", served == len(runs))

    def inner_process_dies(self, load):
        victim, _ = self.setup.balancers[self.inner.name]
        began, killed = self._kill(victim)
        self._requests(load, killed)
        answers = load.ended_since(began)
        cut = [a for a in answers if not a.ok and a.started <= killed]
        self._tell_load("users of ha-lbext", answers, "web")
        self.tell(f"      in flight through the process as it died, and cut with it: {len(cut)}")
        self._claim_none_failed([a for a in answers if a not in cut])
        self._revive(victim)

    def _kill(self, victim):
        self._title(f"{victim.tier.name}'s process in {victim.node.zone} is killed (SIGKILL, pid {victim.pid})")
        began = time.time()
        victim.kill()
        # The kernel takes an io_uring apart behind the back of its dead process: the port may listen a little longer.
        wait_for(f"{victim.name}'s port to be closed", lambda: self._refuses(victim.node))
        return began, time.time()

    def _refuses(self, node):
        try:
            with self.setup.network.inside(node.name):
                socket.create_connection((node.address, node.port), 1).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            pass
        return False

    def _revive(self, victim):
        victim.start()
        began = time.time()
        wait_for(f"{victim.name} to report all in service", victim.all_in_service)
        self.tell(f"      started again; {time.time() - began:.2f} s later it reports 2 of 2 instances in service")

    # what the steps are made of

    def _load(self):
        return Load(self.outer.nodes, self.setup.as_user)

    def _ask(self, node):
        with self.setup.as_user():
            return User(node, keep=False).get()

    def _end(self, apache, crash):
        if crash:
            apache.kill()
        else:
            apache.stop()
        return time.time()

    def _requests(self, load, since, node=None):
        """Until that many users have come and gone."""
        wait_for(f"{REQUESTS_AN_OUTAGE} requests",
                 lambda: sum(node in (None, a.node) for a in load.since(since)) >= REQUESTS_AN_OUTAGE)

    def _claim_noticed(self, tier, instance, state, began, limit):
        """By every node of the tier, in time. `since` is the moment that halb itself gives."""
        for process in self.setup.balancers[tier.name]:
            health = wait_for(f"{process.name} to see {instance} {state}", lambda: self._in_state(process, instance, state))
            took = datetime.datetime.fromisoformat(health["since"]).timestamp() - began
            status = process.status()
            self.tell(f"      {process.name}: {state} after {took:.2f} s ({health['last_check']['detail']}); "
                      f"{status['in_service']} of {status['registered']} instances in service")
            self._claim(f"{state} within {limit} s", took <= limit)

    def _in_state(self, process, instance, state):
        health = process.health(instance)
        return health if health["state"] == state else None

    def _claim_even(self, answers, seen, limit):
        counts = collections.Counter(getattr(a, seen) for a in answers)
        self._claim(f"shares {dict(counts)} differ by at most {limit}",
                    len(counts) == 2 and max(counts.values()) - min(counts.values()) <= limit)

    def _claim_none_failed(self, answers):
        failed = [a for a in answers if not a.ok]
        self._claim(f"none of {len(answers)} requests failed", not failed and answers,
                    "".join(f"\n        {a}" for a in failed[:10]))

    def _tell_shares(self, when, answers):
        self.tell(f"      {when}: {len(answers)} requests, {_shares(answers, 'web')}; {_shares(answers, 'waf')}")

    def _tell_load(self, when, answers, seen):
        slowest = max((a.took_ms for a in answers), default=0)
        self.tell(f"      {when}: {len(answers)} requests, {sum(not a.ok for a in answers)} failed, "
                  f"slowest {slowest:.0f} ms; {_shares(answers, seen)}")

    def _title(self, text):
        self.tell(f"\n{time.monotonic() - self.began:5.1f} s  {text}")

    def _claim(self, text, held, detail=""):
        if not held:
            raise NotHeld(text + detail)
        self.tell(f"      [held] {text}")


def _shares(answers, seen):
    counts = collections.Counter(getattr(a, seen) for a in answers if a.ok)
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
