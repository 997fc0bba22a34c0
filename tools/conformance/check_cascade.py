"""A small and a large model behind one name, each on an MLServer of its own: python check_cascade.py ROUTER ADMIN DATA [--scores].

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

ROUTER, ADMIN, DATA = sys.argv[1].rstrip("/"), sys.argv[2].rstrip("/"), sys.argv[3]
CONNECTIONS = 32
REQUESTS = 5000
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
    with urllib.request.urlopen(f"{ADMIN}/debug/exits", timeout=10) as r:
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


def accurate(cascade, target, least):
    """A check that the cascade is as right as the large model, and spares it at least that share of the pictures."""
    def check():
        small, large = predictions(whole("small", REQUESTS)), predictions(whole("large", REQUESTS))
        right = lambda said: float(np.mean(said == labels[:REQUESTS]))
        f = figures(cascade, large)
        expect(f["accuracy"] >= right(large) - 0.01, f"accuracy {f['accuracy']:.4f}, the large model has {right(large):.4f}")
        expect(f["agreement"] >= target - 0.005, f"only {f['agreement']:.4f} of the answers are the large model's")
        expect(f["share"] >= least, f"only {f['share']:.3f} are answered by the small model")
        e = exits(cascade)
        expect(e["seen"] >= 0.9 * REQUESTS and e["lost"] <= 0.02 * REQUESTS, f"{e['seen']} pictures were learned of, and {e['lost']} lost")
        return (f"{f['share']:.1%} of {REQUESTS} pictures answered by the small model, {f['agreement']:.2%} as by the large one, {f['accuracy']:.2%} right "
                f"(the small model alone {right(small):.2%}, the large one {right(large):.2%}); {e['audited']} audits, {e['lost']} lost, "
                f"agreement estimated {e['agreement']:.2%}; median and p95 {f['median']:.1f} and {f['p95']:.1f} ms, {f['rate']:.0f}/s")
    return check


def alone():
    """What the figures of a cascade compare with."""
    large = predictions(whole("large", REQUESTS))
    f = figures("large", large)
    equal(f["agreement"], 1.0, "agreement of the large model with itself")
    return f"median and p95 {f['median']:.1f} and {f['p95']:.1f} ms, {f['rate']:.0f}/s"


def batches():
    """Rows of one request are answered by different models, and all come back in their places."""
    large = predictions(whole("large", 1000))
    answers, _ = ask_all("clothes.max-probability", [np.arange(i, i + 20) for i in range(0, 1000, 20)], 8)
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
    if sys.argv[4:] == ["--scores"]:
        table()
    else:
        run([("the large model alone, one picture a request", alone),
             ("a cascade of two MLServers, target 99 %", accurate("clothes.max-probability", 0.99, 0.4)),
             ("a cascade of two MLServers, target 98 %", accurate("clothes.loose", 0.98, 0.5)),
             ("a cascade, many pictures a request", batches)])
