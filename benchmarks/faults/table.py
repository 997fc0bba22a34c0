"""Prints a line of a table for each side of benchmarks/faults/run.sh: SIDE:LOAD-FILE:KILLS-FILE…"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
from records import ms, quantile, read

AFTER = 1.0  # s after a kill that are looked at apart

print("| | requests | failed | kinds | p50 ms | p99 ms | p99 within 1 s of a kill | p99 otherwise | in QoS otherwise | kills |")
print("|---|---|---|---|---|---|---|---|---|---|")
for argument in sys.argv[1:]:
    side, load, kills = argument.split(":")
    with open(kills) as f:
        instants = [float(line) for line in f if line.strip()]
    everything, near, far, kinds, qos, counted = [], [], [], {}, 0.1, set()
    for info, records in read(load):
        qos = info["qos_ns"] / 1e9
        relative = [k - info["began"] for k in instants]
        for r in records:
            if r.warm:
                continue
            everything.append(r)
            # Under way at the kill, or due within a second of it.
            hit = [k for k in relative if r.at < k + AFTER and r.at + r.done > k]
            (near if hit else far).append(r)
            counted.update(hit)
            if r.outcome != "ok":
                kind = f"{r.outcome} {r.status}" if r.outcome == "status" else r.outcome
                kinds[kind] = kinds.get(kind, 0) + 1
    took = lambda records: [r.done for r in records if r.outcome == "ok"]
    failed = sum(kinds.values())
    good = sum(1 for r in far if r.outcome == "ok" and r.done <= qos)
    print(
        f"| {side.replace('_', ' ')} | {len(everything)} | {failed} | {', '.join(f'{n} {k}' for k, n in sorted(kinds.items())) or '–'} "
        f"| {ms(quantile(took(everything), 0.5))} | {ms(quantile(took(everything), 0.99))} | {ms(quantile(took(near), 0.99))} "
        f"| {ms(quantile(took(far), 0.99))} | {100 * good / max(1, len(far)):.2f} % | {len(counted)} |"
    )
