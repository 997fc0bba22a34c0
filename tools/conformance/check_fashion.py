"""The built-in model on the full test set, through HTTP, against ONNX Runtime on the same file:
python check_fashion.py URL MODEL.onnx IMAGES.gz LABELS.gz README.md"""
import asyncio
import gzip
import json
import pathlib
import re
import subprocess
import sys

import aiohttp
import numpy as np
import onnxruntime
import tritonclient.http as http

from report import Skip, equal, expect, run

URL, MODEL, IMAGES, LABELS, README = sys.argv[1:6]
URL = URL.rstrip("/")
SINGLES = 1000  # images asked for one by one, all at once
TOLERANCE = 1e-4


def idx(path, header):
    return np.frombuffer(gzip.decompress(pathlib.Path(path).read_bytes()), np.uint8, offset=header)


images = (idx(IMAGES, 16).reshape(-1, 1, 28, 28) / np.float32(255)).astype(np.float32)
labels = idx(LABELS, 8).astype(np.int64)
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
names = [o.name for o in session.get_outputs()]
wanted = [n for n in ("probabilities", "label") if n in names]
parts = [session.run(wanted, {"image": images[i:i + 500]}) for i in range(0, len(images), 500)]
probabilities = np.concatenate([p[0] for p in parts])
predicted = probabilities.argmax(axis=1)
accuracy = 100 * float(np.mean(predicted == labels))


def agree(got_probabilities, got_labels, at):
    """Compares some answers with ONNX Runtime's for the images from at on."""
    want = probabilities[at:at + len(got_probabilities)]
    worst = float(np.abs(got_probabilities - want).max())
    expect(worst <= TOLERANCE, f"probabilities from image {at} on differ by up to {worst:g}")
    different = np.flatnonzero(got_labels.ravel() != predicted[at:at + len(got_labels)])
    expect(not len(different), f"predictions differ for images {(different + at).tolist()[:10]}")
    return worst


def in_batches():
    client = http.InferenceServerClient(URL.removeprefix("http://"), network_timeout=60)
    worst, right = 0.0, 0
    for at in range(0, len(images), 50):
        chunk = images[at:at + 50]
        tensor = http.InferInput("image", list(chunk.shape), "FP32")
        tensor.set_data_from_numpy(chunk)
        result = client.infer("fashion", [tensor], timeout=30_000_000)
        label = result.as_numpy("label")
        equal(list(label.shape), [len(chunk), 1], "shape of label")
        worst = max(worst, agree(result.as_numpy("probabilities"), label, at))
        right += int(np.sum(label.ravel() == labels[at:at + 50]))
    equal(right, int(np.sum(predicted == labels)), "number of right predictions")
    return f"{right} of {len(images)} right ({100 * right / len(images):.2f} %), probabilities within {worst:.1g} of ONNX Runtime's"


def one_by_one():
    async def ask(session, i):
        body = {"id": str(i), "parameters": {"timeout": 60_000_000},
                "inputs": [{"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": [round(float(v), 9) for v in images[i].ravel()]}]}
        async with session.post(f"{URL}/v2/models/fashion/infer", json=body) as r:
            answer = await r.json(content_type=None)
            equal(r.status, 200, f"status ({answer})")
            equal(answer["id"], str(i), "id")
            outputs = {o["name"]: np.array(o["data"]).reshape(o["shape"]) for o in answer["outputs"]}
            agree(outputs["probabilities"], outputs["label"], i)

    async def all_of_them():
        connector = aiohttp.TCPConnector(limit=128)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(120)) as session:
            before = await counts(session)
            await asyncio.gather(*(ask(session, i) for i in range(SINGLES)))
            after = await counts(session)
            return after[0] - before[0], after[1] - before[1]

    async def counts(session):
        async with session.get(f"{URL}/v2/models/fashion/stats") as r:
            stats = (await r.json(content_type=None))["model_stats"][0]
            return int(stats["inference_count"]), int(stats["execution_count"])

    items, executions = asyncio.run(all_of_them())
    expect(executions < items, f"{items} items took {executions} executions: nothing was merged")
    return f"{items} images in {executions} executions"


def readme():
    text = pathlib.Path(README)
    if not text.exists():
        raise Skip("there is no README.md")
    found = re.findall(r"(\d\d\.\d+)\s?%[^\n]{0,60}test accuracy|test accuracy[^\n%]{0,60}?(\d\d\.\d+)\s?%", text.read_text())
    expect(found, "README.md states no test accuracy")
    for stated in (a or b for a, b in found):
        equal(stated, f"{accuracy:.2f}", "README's test accuracy")
    return f"{accuracy:.2f} %"


def readme_python():
    text = pathlib.Path(README)
    blocks = re.findall(r"^```python\n(.*?)^```", text.read_text(), re.S | re.M) if text.exists() else []
    if not blocks:
        raise Skip("the README has no Python block")
    for block in blocks:
        block = block.replace("localhost:8000", URL.removeprefix("http://"))
        done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=60)
        expect(done.returncode == 0 and done.stdout.strip(), f"status {done.returncode}: {done.stderr.strip()[-300:]}")
    return f"{len(blocks)} run"


def example(name):
    def check():
        import urllib.request
        path = pathlib.Path(README).parent / "examples" / name
        if not path.exists():
            raise Skip(f"there is no examples/{name}")
        request = urllib.request.Request(f"{URL}/v2/models/fashion/infer", path.read_bytes())
        answer = json.load(urllib.request.urlopen(request, timeout=30))
        label = next(o for o in answer["outputs"] if o["name"] == "label")["data"]
        sent = json.loads(path.read_text()).get("id", "")
        equal(answer.get("id", ""), sent, "id")
        if match := re.fullmatch(r"expect-(\d)", sent):
            equal(np.ravel(label).tolist(), [int(match[1])], "label")
        return f"labels {np.ravel(label).tolist()}"
    return check


if __name__ == "__main__":
    run([("fashion, 10,000 images in binary batches of 50", in_batches),
         (f"fashion, {SINGLES} images one by one as JSON, all at once", one_by_one),
         ("fashion, accuracy as the README states it", readme), ("README's Python", readme_python),
         ("examples/infer.json", example("infer.json")), ("examples/batch.json", example("batch.json"))])
