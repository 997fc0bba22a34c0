"""A small and a large model behind one name, each on an MLServer of its own: python check_cascade.py ROUTER DATA [SCORE…].

Pictures that neither was fitted on are asked for one by one. With scores, every one of them is tried (run.py has a cascade
for each), and the figures are printed as a table.
"""
import asyncio
import json
import sys
import time
import urllib.request

import aiohttp
import numpy as np

from models import clothes
from report import equal, expect, run

ROUTER, DATA, SCORES = sys.argv[1].rstrip("/"), sys.argv[2], sys.argv[3:]
CONNECTIONS = 32
REQUESTS = 5000
pictures, labels = clothes(DATA, "t10k")


async def ask(session, model, rows):
    x = pictures[rows]
    body = {"inputs": [{"name": "predict", "datatype": "FP64", "shape": list(x.shape), "data": x.ravel().tolist()}],
            "outputs": [{"name": "predict"}, {"name": "predict_proba"}]}
    began = time.perf_counter()
    async with session.post(f"{ROUTER}/v2/models/{model}/infer", json=body) as r:
        answer = await r.json(content_type=None)
        equal(r.status, 200, f"status ({answer})")
    took = time.perf_counter() - began
    equal(answer["model_name"], model, "model_name")
    outputs = {o["name"]: np.array(o["data"]).reshape(o["shape"]) for o in answer["outputs"]}
    equal(outputs["predict_proba"].shape, (len(x), 10), "shape of predict_proba")
    expect(np.array_equal(outputs["predict_proba"].argmax(axis=1), outputs["predict"].ravel()), "predict is not where predict_proba is largest")
    return outputs["predict"].ravel(), answer.get("parameters", {}).get("ee_exit"), took


def ask_all(model, requests, connections=CONNECTIONS):
    async def all_of_them():
        connector = aiohttp.TCPConnector(limit=connections)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
            gate = asyncio.Semaphore(connections)  # else the wait for a connection counts as latency

            async def one(rows):
                async with gate:
                    return await ask(session, model, rows)
            return await asyncio.gather(*(one(rows) for rows in requests))
    began = time.perf_counter()
    answers = asyncio.run(all_of_them())
    return answers, time.perf_counter() - began


def exits(model):
    with urllib.request.urlopen(f"{ROUTER}/debug/exits", timeout=10) as r:
        return next(m for m in json.load(r)["models"] if m["model"] == model)


def whole(model):
    """What a model says of all pictures, asked 32 at a time."""
    answers, _ = ask_all(model, [np.arange(i, min(i + 32, REQUESTS)) for i in range(0, REQUESTS, 32)], 4)
    return np.concatenate([a[0] for a in answers])


def figures(model, reference):
    answers, seconds = ask_all(model, [np.array([i]) for i in range(REQUESTS)])
    said = np.concatenate([a[0] for a in answers])
    small = np.array([a[1] == 0 for a in answers])
    took = 1000 * np.array([a[2] for a in answers])
    return {"accuracy": float(np.mean(said == labels[:REQUESTS])), "share": float(small.mean()), "late": float(small[REQUESTS // 2:].mean()),
            "agreement": float(np.mean(said == reference)), "median": float(np.median(took)), "p95": float(np.percentile(took, 95)), "rate": REQUESTS / seconds}


def accurate():
    small, large = whole("small"), whole("large")
    of = lambda said: float(np.mean(said == labels[:REQUESTS]))
    alone = figures("large", large)
    f = figures("clothes.max-probability", large)
    expect(f["accuracy"] >= of(large) - 0.01, f"accuracy {f['accuracy']:.4f}, the large model has {of(large):.4f}")
    expect(f["agreement"] >= 0.985, f"only {f['agreement']:.4f} of the answers are the large model's")
    expect(f["share"] >= 0.5, f"only {f['share']:.3f} are answered by the small model")
    equal(alone["agreement"], 1.0, "agreement of the large model with itself")
    return (f"of {REQUESTS} pictures {of(small):.2%} right by the small model, {of(large):.2%} by the large one, {f['accuracy']:.2%} by the cascade; "
            f"{f['share']:.1%} answered by the small one, {f['agreement']:.2%} as by the large one; "
            f"median and p95 {f['median']:.1f} and {f['p95']:.1f} ms at {f['rate']:.0f}/s, the large one alone {alone['median']:.1f} and {alone['p95']:.1f} ms at {alone['rate']:.0f}/s")


def batches():
    """Rows of one request are answered by different models, and all come back in their places."""
    large = whole("large")
    answers, _ = ask_all("clothes.max-probability", [np.arange(i, i + 20) for i in range(0, 1000, 20)], 8)
    said = np.concatenate([a[0] for a in answers])
    agreement = float(np.mean(said == large[:1000]))
    expect(agreement >= 0.97, f"agreement {agreement}")
    expect({a[1] for a in answers} <= {0, 1}, "an exit that is none")
    return f"{agreement:.1%} of 1000 rows in requests of 20 are answered as by the large model"


def table():
    large = whole("large")
    print("| score | share answered by the small model | in the second half | agreement | accuracy | median ms |\n|---|---|---|---|---|---|")
    for score in SCORES:
        f = figures("clothes." + score, large)
        print(f"| `{score}` | {f['share']:.1%} | {f['late']:.1%} | {f['agreement']:.2%} | {f['accuracy']:.2%} | {f['median']:.1f} |", flush=True)
    print(f"accuracy of the large model: {np.mean(large == labels[:REQUESTS]):.2%}")


if __name__ == "__main__":
    if SCORES:
        table()
    else:
        run([("a cascade of two MLServers, one picture a request", accurate), ("a cascade, many pictures a request", batches)])
