"""A small and a large model behind one name, each on an MLServer of its own: python check_cascade.py ROUTER DATA [--scores].

Pictures that neither was fitted on are asked for one by one. With --scores every score is tried on all of them (run.py has
a cascade for each), and the figures are printed as a table.
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

ROUTER, DATA = sys.argv[1].rstrip("/"), sys.argv[2]
CASCADE = "clothes.max-probability"
CONNECTIONS = 32
REQUESTS = 6000
pictures, labels = clothes(DATA, "t10k")


async def ask(session, model, rows, wanted=("predict", "predict_proba")):
    x = pictures[rows]
    body = {"inputs": [{"name": "predict", "datatype": "FP64", "shape": list(x.shape), "data": x.ravel().tolist()}],
            "outputs": [{"name": n} for n in wanted]}
    began = time.perf_counter()
    async with session.post(f"{ROUTER}/v2/models/{model}/infer", json=body) as r:
        answer = await r.json(content_type=None)
        equal(r.status, 200, f"status ({answer})")
    took = time.perf_counter() - began
    equal(answer["model_name"], model, "model_name")
    outputs = {o["name"]: np.array(o["data"]).reshape(o["shape"]) for o in answer["outputs"]}
    for name in wanted[1:]:
        equal(outputs[name].shape, (len(x), 10), f"shape of {name}")
        expect(np.array_equal(outputs[name].argmax(axis=1), outputs["predict"].ravel()), f"predict is not where {name} is largest")
    return outputs, answer.get("parameters", {}).get("ee_exit"), took


def ask_all(model, requests, connections=CONNECTIONS, **options):
    async def all_of_them():
        connector = aiohttp.TCPConnector(limit=connections)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
            gate = asyncio.Semaphore(connections)  # else the wait for a connection counts as latency

            async def one(rows):
                async with gate:
                    return await ask(session, model, rows, **options)
            return await asyncio.gather(*(one(rows) for rows in requests))
    began = time.perf_counter()
    answers = asyncio.run(all_of_them())
    return answers, time.perf_counter() - began


def predictions(answers):
    return np.concatenate([a[0]["predict"].ravel() for a in answers])


def exits(model):
    """What the router says of the cascade's early exit."""
    with urllib.request.urlopen(f"{ROUTER}/debug/exits", timeout=10) as r:
        return next(m for m in json.load(r) if m["name"] == model)


def whole(model, count, **options):
    """What a model says of the first pictures, asked 32 at a time."""
    return ask_all(model, [np.arange(i, min(i + 32, count)) for i in range(0, count, 32)], 4, **options)[0]


def figures(model, reference):
    """The pictures one by one, as many as the reference's predictions."""
    n = len(reference)
    answers, seconds = ask_all(model, [np.array([i]) for i in range(n)])
    said = predictions(answers)
    small = np.array([a[1] == 0 for a in answers])
    took = 1000 * np.array([a[2] for a in answers])
    return {"accuracy": float(np.mean(said == labels[:n])), "share": float(small.mean()), "late": float(small[n // 2:].mean()),
            "agreement": float(np.mean(said == reference)), "median": float(np.median(took)), "p95": float(np.percentile(took, 95)), "rate": n / seconds}


def accurate():
    small, large = predictions(whole("small", REQUESTS)), predictions(whole("large", REQUESTS))
    right = lambda said: float(np.mean(said == labels[:REQUESTS]))
    alone = figures("large", large)
    equal(alone["agreement"], 1.0, "agreement of the large model with itself")
    f = figures(CASCADE, large)
    expect(f["accuracy"] >= right(large) - 0.01, f"accuracy {f['accuracy']:.4f}, the large model has {right(large):.4f}")
    expect(f["agreement"] >= 0.98, f"only {f['agreement']:.4f} of the answers are the large model's")
    expect(f["share"] >= 0.45, f"only {f['share']:.3f} are answered by the small model")
    e = exits(CASCADE)
    expect(e["seen"] + e["lost"] >= REQUESTS - 100, f"{e['seen']} rows were learned of")  # audits may be under way
    return (f"of {REQUESTS} pictures {right(small):.2%} right by the small model, {right(large):.2%} by the large one, {f['accuracy']:.2%} by the cascade; "
            f"{f['share']:.1%} answered by the small one, {f['agreement']:.2%} as by the large one; {e['audited']} audits, {e['lost']} lost, "
            f"agreement estimated {e['agreement']:.2%}; median and p95 {f['median']:.1f} and {f['p95']:.1f} ms at {f['rate']:.0f}/s, "
            f"the large one alone {alone['median']:.1f} and {alone['p95']:.1f} ms at {alone['rate']:.0f}/s")


def batches():
    """Rows of one request are answered by different models, and all come back in their places."""
    large = predictions(whole("large", 1000))
    answers, _ = ask_all(CASCADE, [np.arange(i, i + 20) for i in range(0, 1000, 20)], 8)
    agreement = float(np.mean(predictions(answers) == large))
    expect(agreement >= 0.97, f"agreement {agreement}")
    expect({a[1] for a in answers} <= {0, 1}, "an exit that is none")
    return f"{agreement:.1%} of 1000 rows in requests of 20 are answered as by the large model"


def measures(answers):
    """The scores of the small model's answers, by name; only their order counts here."""
    f, p = (np.concatenate([a[0][n] for a in answers]) for n in ("transform", "predict_proba"))
    ranked = np.sort(p, axis=1)
    return {"max-probability": ranked[:, -1], "margin": ranked[:, -1] - ranked[:, -2],
            "entropy": np.sum(p * np.log(np.maximum(p, 1e-300)), axis=1),
            "energy-probabilities": np.log(np.exp(p).sum(axis=1)), "energy-logits": np.log(np.exp(f).sum(axis=1))}


def hindsight(score, agrees):
    """The largest share that a threshold accepts so that 99 % of all answers are the large model's."""
    wrong = np.cumsum(~agrees[np.argsort(-score, kind="stable")])
    return np.sum(wrong <= 0.01 * len(wrong)) / len(wrong)


def table():
    answers = whole("small", len(labels), wanted=("predict", "predict_proba", "transform"))
    large = predictions(whole("large", len(labels)))
    agrees = predictions(answers) == large
    print("| score | best fixed threshold, known afterwards | answered by the small model | in the second half | agreement | accuracy |\n|---|---|---|---|---|---|")
    for score, values in measures(answers).items():
        f = figures("clothes." + score, large)
        print(f"| `{score}` | {hindsight(values, agrees):.1%} | {f['share']:.1%} | {f['late']:.1%} | {f['agreement']:.2%} | {f['accuracy']:.2%} |", flush=True)
    print(f"{len(labels)} pictures; the small model alone agrees on {np.mean(agrees):.2%} and is right about {np.mean(predictions(answers) == labels):.2%}, "
          f"the large one about {np.mean(large == labels):.2%}")


if __name__ == "__main__":
    if sys.argv[3:] == ["--scores"]:
        table()
    else:
        run([("a cascade of two MLServers, one picture a request", accurate), ("a cascade, many pictures a request", batches)])
