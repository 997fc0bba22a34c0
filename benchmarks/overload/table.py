"""The table of benchmarks/overload/run.sh, of what that left in a directory."""

import json
import os
import sys

directory, capacity, factor = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from records import ms, quantile, read


def at(name):
    return os.path.join(directory, name)


def summary(name):
    with open(at(name)) as f:
        return json.load(f)


def highest(name):
    with open(at(name)) as f:
        return max(int(line) for line in f) / 1024


peak = max(summary("peak.json"), key=lambda s: s["goodput_qps"])
over = summary("over.json")[0]
(info, records), = read(at("over.load"))
records = [r for r in records if not r.warm]
refused = [r.done - r.sent for r in records if r.outcome == "status" and r.status == 429]
others = [r for r in records if r.outcome != "ok" and not (r.outcome == "status" and r.status == 429)]
late = [r for r in records if r.outcome == "ok" and r.done > info["qos_ns"] / 1e9]
fresh, again, waits = [], [], []
with open(at("probe")) as f:
    for line in f:
        kind, status, wait = line.split()
        (fresh if kind == "fresh" else again).append(status == "200")
        if kind == "fresh" and status == "429":
            waits.append(float(wait) / 1000)
share = lambda all: f"{100 * sum(all) / len(all):.0f} % of {len(all)}" if all else "–"
high, low = summary("high.json")[0], summary("low.json")[0]
rows = [
    ("peak: most requests a second answered in time", f"{peak['goodput_qps']:.1f} at {peak['rate_qps']:.0f} a second", ""),
    (f"goodput at {factor:g} times {capacity:g} a second", f"{over['goodput_qps']:.1f}", f"{100 * over['goodput_qps'] / peak['goodput_qps']:.1f} % of the peak"),
    ("answered late", str(len(late)), f"of {sum(1 for r in records if r.outcome == 'ok')} answered"),
    ("refused with 429", str(len(refused)), f"after p50 {ms(quantile(refused, 0.5))} ms, p99 {ms(quantile(refused, 0.99))} ms, p99.9 {ms(quantile(refused, 0.999))} ms from the request's first byte"),
    ("ended otherwise", str(len(others)), ", ".join(sorted({f"{r.outcome} {r.status}" for r in others}))),
    ("router's memory, highest", f"{highest('over.rss'):.1f} MB", f"{highest('over.rss') / highest('normal.rss'):.2f} times the {highest('normal.rss'):.1f} MB at 80 % of {capacity:g} a second"),
    ("told to come back after", f"p50 {ms(quantile(waits, 0.5))} ms, p99 {ms(quantile(waits, 0.99))} ms", f"came back as told and were answered: {share(again)}; of those who came for the first time: {share(fresh)}"),
    ("priority 1, 40 % of the capacity, within the overload", f"{100 * high['qos_ok']:.2f} % in time", f"priority 2 beside it: {100 * low['qos_ok']:.2f} %, {low['goodput_qps']:.1f} a second"),
]
print("| | | |\n|---|---|---|")
for row in rows:
    print("| " + " | ".join(row) + " |")
