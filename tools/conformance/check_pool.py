"""Pools of unlike workers give what each worker gives: python check_pool.py ROUTER MLSERVER OIP_SERVER PLAIN_SERVER.

Behind the router, digits is served by MLServer; arithmetic by an embedded ONNX Runtime, by an oip_server.py with the
binary extension and by one without it. The workers are asked directly too, and the answers compared.
"""
import asyncio
import json
import sys
import urllib.request

import aiohttp
import numpy as np

from models import digits_test
from report import equal, expect, run

ROUTER, MLSERVER, BINARY, PLAIN = (u.rstrip("/") for u in sys.argv[1:5])
rng = np.random.default_rng(2)


def counts(url, model):
    with urllib.request.urlopen(f"{url}/v2/models/{model}/stats", timeout=10) as r:
        stats = json.load(r)["model_stats"][0]
        return int(stats["inference_count"]), int(stats["execution_count"])


async def ask(session, url, model, inputs, i, binary):
    head = {"id": str(i), "parameters": {"timeout": 60_000_000, "binary_data_output": binary}, "inputs": []}
    blobs = b""
    for name, (datatype, array) in inputs.items():
        t = {"name": name, "datatype": datatype, "shape": list(array.shape)}
        if binary:
            t["parameters"] = {"binary_data_size": array.nbytes}
            blobs += array.tobytes()
        else:
            t["data"] = array.ravel().tolist()
        head["inputs"].append(t)
    body = json.dumps(head).encode()
    # MLServer takes JSON only where the header says so.
    headers = {"Content-Type": "application/octet-stream" if binary else "application/json"}
    if binary:
        headers["Inference-Header-Content-Length"] = str(len(body))
    async with session.post(f"{url}/v2/models/{model}/infer", data=body + blobs, headers=headers) as r:
        raw = await r.read()
        equal(r.status, 200, f"status of {url} ({raw[:200]})")
        length = r.headers.get("Inference-Header-Content-Length")
        answer = json.loads(raw[:int(length)] if length else raw)
        at = int(length or 0)
    if url == ROUTER:
        equal(answer.get("id"), str(i), "id")
    outputs = {}
    for o in answer["outputs"]:
        size = o.get("parameters", {}).get("binary_data_size")
        if size is None:
            data = np.array(o["data"]).reshape(o["shape"])
        else:
            data = np.frombuffer(raw[at:at + size], {"FP32": np.float32, "INT64": np.int64, "FP64": np.float64}[o["datatype"]]).reshape(o["shape"])
            at += size
        outputs[o["name"]] = data
    return outputs


async def ask_all(url, model, requests, binary, connections=64):
    timeout = aiohttp.ClientTimeout(120)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections), timeout=timeout) as session:
        return await asyncio.gather(*(ask(session, url, model, inputs, i, binary(i)) for i, inputs in enumerate(requests)))


def compare(got, want):
    for i, (g, w) in enumerate(zip(got, want, strict=True)):
        equal(set(g), set(w), f"outputs of request {i}")
        for name in w:
            expect(np.allclose(g[name].ravel(), w[name].ravel(), rtol=0, atol=1e-6), f"output {name} of request {i} is {g[name].tolist()}, the worker itself says {w[name].tolist()}")


def mlserver(binary):
    def check():
        x, y = digits_test()
        requests = [{"predict": ("FP64", x[i:i + 1])} for i in range(len(x))]
        direct = asyncio.run(ask_all(MLSERVER, "digits", requests, lambda i: False))
        before = counts(ROUTER, "digits")
        routed = asyncio.run(ask_all(ROUTER, "digits", requests, lambda i: binary))
        after = counts(ROUTER, "digits")
        compare(routed, direct)
        items, executions = after[0] - before[0], after[1] - before[1]
        expect(executions < items, f"{items} items took {executions} executions: nothing was merged")
        right = sum(int(r["predict"].ravel()[0] == label) for r, label in zip(routed, y))
        expect(right > 0.85 * len(y), f"only {right} of {len(y)} are right")
        return f"{right} of {len(y)} digits right, {items} items in {executions} executions"
    return check


def mixed():
    requests = []
    for i in range(600):
        shape = (1 + i % 4, 4)
        requests.append({n: ("FP32", rng.integers(-1000, 1000, shape).astype(np.float32)) for n in "ab"})
    direct = asyncio.run(ask_all(BINARY, "arithmetic", requests, lambda i: True))
    compare(asyncio.run(ask_all(PLAIN, "arithmetic", requests, lambda i: False)), direct)
    size = sum(r["a"][1].shape[0] for r in requests)
    workers = (ROUTER, BINARY, PLAIN)
    before = [counts(u, "arithmetic") for u in workers]
    # A router that knows its workers may leave the slow ones alone for a while: give it some waves.
    for wave in range(1, 6):
        routed = asyncio.run(ask_all(ROUTER, "arithmetic", requests, lambda i: i % 2 == 0, 256))
        compare(routed, direct)
        for inputs, outputs in zip(requests, routed):
            expect(np.array_equal(outputs["sum"], inputs["a"][1] + inputs["b"][1]), "a sum is wrong")
        (items, executions), *remote = [(u[0] - v[0], u[1] - v[1]) for u, v in zip([counts(u, "arithmetic") for u in workers], before)]
        equal(items, size * wave, "number of items counted by the router")
        expect(executions < wave * len(requests), f"{wave * len(requests)} requests took {executions} executions: nothing was merged")
        shares = [items - sum(n for n, _ in remote)] + [n for n, _ in remote]
        if all(n > 0 for n in shares):
            return f"{wave * len(requests)} requests in {executions} executions; items per worker (embedded, binary, JSON only): {shares}"
    raise AssertionError(f"items per worker (embedded, binary, JSON only): {shares}: a worker got none")


if __name__ == "__main__":
    run([("MLServer with scikit-learn, JSON clients", mlserver(False)),
         ("MLServer with scikit-learn, binary clients", mlserver(True)),
         ("embedded, binary and JSON-only workers in one pool", mixed)])
