"""make demo: the set-up comes up, the story is played, then it stays for you to look around."""
import argparse
import contextlib
import os
import shlex
import signal
import sys

from . import halb, netns
from .setup import NotUp, Setup
from .story import NotHeld, Story


def main():
    options = _options()
    missing = [name for name in ("halb", "halbctl") if not os.access(halb.build_folder() / name, os.X_OK)]
    if missing:
        sys.exit(_say(f"{halb.build_folder()}: no {' and no '.join(missing)}; run make build"))
    if options.plan == "vpc" and not netns.available():
        sys.exit(_say("PLAN=vpc makes network namespaces, and that needs root; PLAN=loopback does not"))
    try:
        return _demo(options)
    except NotUp as failure:
        _say(failure)
        return 1
    except KeyboardInterrupt:
        return 130


def _options():
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    parser.add_argument("--plan", choices=("loopback", "vpc"), default="loopback")
    parser.add_argument("--once", action="store_true", help="end after the story; exit 0 only if every step held")
    return parser.parse_args()


def _say(reason):
    print(f"lab: {reason}", file=sys.stderr)
    return 2


def _demo(options):
    print(f"Bringing up the two tiers on the {options.plan} plan: 2 web nodes (Apache httpd), 4 halb processes, "
          "2 WAF nodes (Apache, ModSecurity, OWASP CRS) ...", flush=True)
    with Setup(options.plan) as setup:
        held = _play(setup)
        if not options.once:
            with contextlib.suppress(KeyboardInterrupt):
                _stay(setup)
            print("\nTaking it all down.", flush=True)
    return 0 if held else 1


def _play(setup):
    try:
        Story(setup, tell=lambda line: print(line, flush=True)).play()
    except (NotHeld, TimeoutError, RuntimeError) as failure:
        print(f"      [NOT HELD] {failure}\n\n{setup.last_words()}\nThe story did not hold: {failure}", flush=True)
        return False
    print("\nEvery step held.", flush=True)
    return True


def _stay(setup):
    on_user_host = shlex.join(setup.user_command())
    print("\nThe set-up stays up. Ctrl-C ends it and removes it.\n")
    for node in setup.plan.outer.nodes:
        print(f"  ha-lbext, {node.zone}   {on_user_host and on_user_host + ' curl '}http://{node.authority}/")
    for waf in setup.plan.wafs:
        print(f"  {waf.name} status   {on_user_host and on_user_host + ' curl -k '}https://{waf.address}:{setup.plan.status_port}/")
    print()
    for process in setup.halbs:
        print(f"  {halb.build_folder() / 'halbctl'} -s {process.socket} status")
    print(f"\n  logs: {setup.folder}", flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
