"""The page of results of benchmarks/proxy, from raw results.

    table.py [-max-ratio R] [-max-busy P] RAW   Markdown on standard output; status 1 only for what -max-ratio does not allow.
                                                Measurements before which the machine was busier than P % are left out
    table.py -load LOAD.json WARMUP TICKS HZ   one raw line of what bench load -json says after so many seconds, and of the proxy's CPU ticks

A raw line: run round body connections proxy full|paced req/s p50-µs p99-µs CPU-µs-per-request errors rate generator's-p99-µs busy.
busy: how busy the machine was before, with nothing of this running, in %.
Lines with # say what ran where. Ratios are of one round each; what is shown is the median over the rounds, lowest to highest.
"""
import collections, json, statistics, sys

INFERENCE = ("vllm_router", "sglang_router", "litellm")  # these take OpenAI's form alone
NAMES = {"merge": "router, merging", "direct": "(no proxy)", "haproxy": "HAProxy", "caddy": "Caddy", "vllm_router": "vllm-router",
         "sglang_router": "sglang-router", "litellm": "LiteLLM"}
TITLES = {"json": "1 KB of JSON", "binary": "4 KB of binary tensors"}
RATE, P50, P99, CPU = range(4)


def load_line(path, warmup, ticks, hz):
    with open(path) as f:
        r = json.load(f)[0]
    answered = max(1, r["ok"]) * (1 + float(warmup) / max(r["seconds"], 1e-3))  # the warm-up's too: their CPU time is counted
    us = lambda key: round(1000 * (r[key] or 0))
    print(f"{r['achieved_qps']:.0f} {us('p50_ms')} {us('p99_ms')} {1e6 * int(ticks) / int(hz) / answered:.3f} "
          f"{sum(r['errors'].values())} {r['rate_qps']:.0f} {us('own_p99_ms')}")


def name(proxy):
    return NAMES.get(proxy, proxy)


def at(n):
    return f"{n} connection{'s' if n > 1 else ''}"


class Results:
    def __init__(self, path, most_busy):
        self.notes, self.errors, self.busy = collections.defaultdict(list), 0, []
        self.left_out = 0
        self.silent = collections.Counter()
        self.cells = collections.defaultdict(dict)  # (body, connections, proxy, kind) -> {round: figures}
        for line in open(path):
            word = line.split()
            if word[0] == "#":
                if " ".join(word[2:]) not in self.notes[word[1]]:
                    self.notes[word[1]].append(" ".join(word[2:]))
                continue
            run, round_, body, connections, proxy, kind = word[:6]
            figures = [float(x) for x in word[6:]]
            if figures[7] > most_busy:
                self.left_out += 1
                continue
            if figures[RATE] == 0:  # the latencies of nothing say nothing
                self.silent[f"{name(proxy)}, {at(int(connections))}"] += 1
                continue
            self.errors += int(figures[4])
            self.busy.append(figures[7])
            self.cells[body, int(connections), proxy, kind][run, int(round_)] = figures
        self.proxies = list(dict.fromkeys(key[2] for key in self.cells))
        self.connections = sorted({key[1] for key in self.cells})
        self.bodies = [b for b in TITLES if any(key[0] == b for key in self.cells)]

    def values(self, cell, column):
        return [figures[column] for figures in self.cells.get(cell, {}).values()]

    def paired(self, a, b, of):
        """of(figures of a, figures of b), for every round that has both"""
        both = [(self.cells[a][key], self.cells[b][key]) for key in self.cells.get(a, {}) if key in self.cells.get(b, {})]
        return [of(x, y) for x, y in both]


def spread(values, form="{:.0f}"):
    if not values:
        return "–"
    if len(values) == 1:
        return form.format(values[0])
    return f"{form.format(statistics.median(values))} ({form.format(min(values))}…{form.format(max(values))})"


def ratio(column):
    return lambda x, y: x[column] / y[column] if y[column] else float("inf")


def table(r, body):
    print(f"\n## {TITLES[body]}\n\n| connections | proxy | req/s | p50 µs | p99 µs | CPU µs per request | CPU, router ÷ it | merging ÷ it | 80 %: req/s | p99 µs | CPU µs |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for n in r.connections:
        for proxy in r.proxies:
            full, paced = (body, n, proxy, "full"), (body, n, proxy, "paced")
            if full not in r.cells:
                continue
            over = ["" if proxy in ("direct", of) else spread(r.paired((body, n, of, "full"), full, ratio(CPU)), "{:.2f}") for of in ("router", "merge")]
            print(f"| {n} | {name(proxy)} | {spread(r.values(full, RATE))} | {spread(r.values(full, P50))} | {spread(r.values(full, P99))} "
                  f"| {spread(r.values(full, CPU), '{:.1f}')} | {over[0]} | {over[1]} "
                  f"| {spread(r.values(paced, RATE))} | {spread(r.values(paced, P99))} | {spread(r.values(paced, CPU), '{:.1f}')} |")
    added = {proxy: added_p50(r, body, proxy) for proxy in r.proxies if proxy != "direct"}
    if any(added.values()):
        print("\nAdded to the p50 at one connection, µs: " + ", ".join(f"{name(p)} {spread(v)}" for p, v in added.items() if v) + ".")


def inference_table(r):
    peers = [p for p in r.proxies if p in INFERENCE]
    if not peers:
        return
    print("\n## Inference routers\n\nThey take OpenAI's completions, not OIP: 1 KB of that, and an answer as long as that to the others, in the rounds of 1 KB of JSON. LiteLLM is not asked over 512 connections: none of so many requests at once is answered before the round is over."
          "\n\n| connections | proxy | req/s | p50 µs | p99 µs | CPU µs per request | req/s, router ÷ it | merging ÷ it |\n|---|---|---|---|---|---|---|---|")
    for n in r.connections:
        for proxy in peers:
            it = ("openai", n, proxy, "full")
            if it in r.cells:
                over = [spread(r.paired(("json", n, of, "full"), it, ratio(RATE)), "{:.2f}") for of in ("router", "merge")]
                print(f"| {n} | {name(proxy)} | {spread(r.values(it, RATE))} | {spread(r.values(it, P50))} | {spread(r.values(it, P99))} "
                      f"| {spread(r.values(it, CPU), '{:.1f}')} | {over[0]} | {over[1]} |")


def added_p50(r, body, proxy):
    return r.paired((body, 1, proxy, "full"), (body, 1, "direct", "full"), lambda x, y: x[P50] - y[P50])


def criteria(r):
    """Yields (what, where, ratios, bound, whether the bound is the least)."""
    for body in r.bodies:
        for peer in ("nginx", "haproxy"):
            for n in r.connections:
                for of, most in (("router", 1.1), ("merge", 0.7)):
                    where = f"{TITLES[body]}, {at(n)}, {name(of)} ÷ {name(peer)}"
                    a, b = (body, n, of, "full"), (body, n, peer, "full")
                    yield "CPU per request", where, r.paired(a, b, ratio(CPU)), most, False
                    yield "requests/s", where, r.paired(a, b, ratio(RATE)), 1 / most, True
                    a, b = (body, n, of, "paced"), (body, n, peer, "paced")
                    yield "p99 at 80 % of its own capacity", where, r.paired(a, b, ratio(P99)), 1, False
            added = r.paired((body, 1, "router", "full"), (body, 1, peer, "full"), lambda x, y: None)
            if added:
                pairs = zip(added_p50(r, body, "router"), added_p50(r, body, peer))
                yield "added p50", f"{TITLES[body]}, 1 connection, router ÷ {name(peer)}", [x / y for x, y in pairs if y > 0], 1.2, False
    for peer in INFERENCE:
        for n in r.connections:
            yield ("requests/s", f"1 KB, {at(n)}, router ÷ {name(peer)}",
                   r.paired(("json", n, "router", "full"), ("openai", n, peer, "full"), ratio(RATE)), 5 if peer == "litellm" else 1, True)


def judge(r):
    print("\n## Targets\n\nMedians decide.\n\n| | | measured | wanted | |\n|---|---|---|---|---|")
    passed = missed = 0
    for what, where, ratios, bound, least in criteria(r):
        if not ratios:
            continue
        m = statistics.median(ratios)
        ok = m >= bound if least else m <= bound
        passed, missed = passed + ok, missed + (not ok)
        print(f"| {what} | {where} | {spread(ratios, '{:.2f}')} | {'≥' if least else '≤'} {bound:.2f} | {'PASS' if ok else 'MISS'} |")
    print(f"\n{passed} passed, {missed} missed.")


def page(r):
    first = lambda key: r.notes[key][0] if r.notes[key] else "?"
    print(f"# The router beside other proxies, {first('date')}\n")
    print("\n".join(f"    {c}" for c in r.notes["command"]) + "\n")
    print(f"{first('machine')}\n\nVersions: {', '.join(name(v.split()[0]) + ' ' + v.split()[1] for v in r.notes['version'])}.")
    for missing in r.notes["missing"]:
        print(f"\n**Left out**: {missing}")
    rounds = sorted({min(len(c) for c in r.cells.values()), max(len(c) for c in r.cells.values())})
    print(f"\nOne upstream for all, on the core of the load; every proxy has the other core. Saturated by wrk; then, at once, 80 % of what it carried, sent open loop by "
          f"`bench load` (not with one connection; what carries less is asked for less, which leaves the load's core more room). Median (lowest…highest) over {'…'.join(map(str, rounds))} rounds; ratios are of one round each. {r.errors} errors. "
          f"Before the measurements the machine was busy with something else to {spread(r.busy)} %.")
    for who, times in r.silent.items():
        print(f"\n**Not one answer** in {times} round(s), which are left out: {who}.")
    for remark in r.notes["remark"]:
        print(f"\n{remark}")
    if r.left_out:
        print(f"\n{r.left_out} measurements are left out, before which it was busier.")
    if r.busy and statistics.median(r.busy) > 10:
        print("\n**The machine was not at rest: these figures say little.**")
    for body in r.bodies:
        table(r, body)
    inference_table(r)
    judge(r)


def main(args):
    if args[0] == "-load":
        load_line(*args[1:])
        return 0
    limit = {"-max-ratio": 0.0, "-max-busy": 100.0}
    while args[0] in limit:
        limit[args[0]], args = float(args[1]), args[2:]
    most = limit["-max-ratio"]
    r = Results(args[0], limit["-max-busy"])
    page(r)
    status = 0
    if r.errors:
        print("\nThere were errors: the figures do not count.")
        status = int(most > 0)
    for body in r.bodies:
        for n in r.connections:
            ratios = r.paired((body, n, "router", "full"), (body, n, "nginx", "full"), ratio(CPU))
            if most and ratios and statistics.median(ratios) > most:
                print(f"{TITLES[body]}, {n} connections: {statistics.median(ratios):.2f} times nginx's CPU per request is more than the {most:.2f} allowed", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
