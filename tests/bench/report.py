"""From runs to medians, ratios and tables. Pure: values in, values out."""
from math import comb
from statistics import median

CONFIDENCE = 0.95


def interval(values):
    """The order statistics that hold the median with CONFIDENCE; with few values that is their whole range."""
    ordered, count = sorted(values), len(values)
    rank, outside = 0, 2 / 2 ** count
    while rank + 1 < count // 2 and outside + 2 * comb(count, rank + 1) / 2 ** count <= 1 - CONFIDENCE:
        rank += 1
        outside += 2 * comb(count, rank) / 2 ** count
    return ordered[rank], ordered[-1 - rank]


def good(run):
    return run["units"] > 0


def ratio(runs, name, other):
    """Of CPU per unit, round by round; None when no round has both."""
    values = []
    for number in sorted({run["round"] for run in runs}):
        cost = {run["peer"]: run["cpu_us"] for run in runs if run["round"] == number and good(run)}
        if name in cost and other in cost:
            values.append(cost[name] / cost[other])
    if not values:
        return None
    low, high = interval(values)
    return {"of": name, "to": other, "median": median(values), "low": low, "high": high,
            "min": min(values), "max": max(values), "rounds": len(values)}


def summary(runs, name):
    mine = [run for run in runs if run["peer"] == name]
    kept = [run for run in mine if good(run)]
    keys = ("cpu_us", "system_share", "per_second", "p50_us", "p99_us", "proxy_core", "load_core", "foreign")
    found = {key: median(values) if (values := [run[key] for run in kept if run[key] is not None]) else None for key in keys}
    found.update(peer=name, runs=len(kept), dropped=len(mine) - len(kept), errors=sum(run["errors"] for run in mine),
                 why=sorted({run["why"] for run in mine if run["why"]}))
    return found


def scenario_result(scenario, peers, runs):
    pairs = [(peers[0], other) for other in peers[1:]]
    return {"scenario": scenario.name, "title": scenario.title, "unit": scenario.unit,
            "peers": [summary(runs, name) for name in peers],
            "ratios": [found for pair in pairs if (found := ratio(runs, *pair))], "runs": runs}


def gate_misses(results, name="halb", other="haproxy", ceiling=1.0):
    """One line for each scenario in which `name` costs more than `other`, fails requests or was not measured."""
    misses = []
    for result in results:
        found = next((r for r in result["ratios"] if (r["of"], r["to"]) == (name, other)), None)
        errors = sum(peer["errors"] for peer in result["peers"] if peer["peer"] == name)
        if found is None:
            misses.append(f"{result['title']}: {name} / {other} was not measured")
        elif min(found["median"], found["low"]) > ceiling:
            misses.append(f"{result['title']}: {name} / {other} is {ratio_text(found)}, above {ceiling:g}")
        if errors:
            misses.append(f"{result['title']}: {errors} of {name}'s requests failed")
    return misses


def ratio_text(found):
    return f"{found['median']:.2f} [{found['low']:.2f}-{found['high']:.2f}]"


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def share(value):
    return "-" if value is None else f"{100 * value:.0f} %"


def peer_row(peer):
    cells = (peer["peer"], number(peer["cpu_us"]), share(peer["system_share"]), number(peer["per_second"]),
             number(peer["p50_us"]), number(peer["p99_us"]), share(peer["proxy_core"]), share(peer["load_core"]),
             share(peer["foreign"]), str(peer["errors"]), f"{peer['runs']}/{peer['dropped']}")
    if "syscalls" in peer:
        cells += (f"{peer['syscalls']:.2f}",)
    return "| " + " | ".join(cells) + " |"


def scenario_table(result):
    unit = result["unit"]
    heads = ["proxy", f"CPU us/{unit}", "of it system", f"{unit}s/s", "p50 us", "p99 us", "proxy core", "load core",
             "foreign", "errors", "runs/dropped"]
    if any("syscalls" in peer for peer in result["peers"]):
        heads.append(f"syscalls/{unit}")
    lines = [f"### {result['title']}", "", "| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += [peer_row(peer) for peer in result["peers"]] + [""]
    lines += [f"- {found['of']} / {found['to']}: {ratio_text(found)}" for found in result["ratios"]]
    lines += [f"- {peer['peer']}: {why}" for peer in result["peers"] for why in peer["why"]]
    return "\n".join(lines) + "\n"


def ratios_table(results):
    pairs = list(dict.fromkeys((found["of"], found["to"]) for result in results for found in result["ratios"]))
    lines = ["| CPU per unit of work | " + " | ".join(f"{of} / {to}" for of, to in pairs) + " |", "|---" * (len(pairs) + 1) + "|"]
    for result in results:
        cells = {(found["of"], found["to"]): ratio_text(found) for found in result["ratios"]}
        lines.append(f"| {result['title']} | " + " | ".join(cells.get(pair, "-") for pair in pairs) + " |")
    return "\n".join(lines) + "\n"
