"""The protocol as Triton's own client speaks it: python check_client.py URL. Needs the models of oip_server.py."""
import asyncio
import json
import sys
import urllib.error
import urllib.request

import numpy as np
import tritonclient.http as http
import tritonclient.http.aio as aio
from tritonclient.utils import InferenceServerException

from report import equal, expect, run

URL = sys.argv[1].removeprefix("http://").rstrip("/")
client = http.InferenceServerClient(URL, concurrency=16, network_timeout=30, connection_timeout=30)
rng = np.random.default_rng(1)
SAMPLES = {
    "BOOL": rng.integers(0, 2, (3, 4)).astype(bool), "FP16": rng.normal(size=(3, 4)).astype(np.float16),
    "FP32": rng.normal(size=(3, 4)).astype(np.float32), "FP64": rng.normal(size=(3, 4)),
    "BYTES": np.array([["", "motley"], ["ünïcode", 'q"\\\n'], ["x" * 5000, "z"]], dtype=np.object_),
    **{f"{sign}INT{bits}": rng.integers(0, 100, (3, 4)).astype(f"{sign.lower()}int{bits}")
       for sign in ("", "U") for bits in (8, 16, 32, 64)},
}
SAMPLES["INT64"][0, 0], SAMPLES["UINT64"][0, 0], SAMPLES["INT8"][0, 0] = -2**63, 2**64 - 1, -128


def tensor(name, array, datatype, binary, kind=http.InferInput):
    t = kind(name, list(array.shape), datatype)
    t.set_data_from_numpy(array, binary_data=binary)
    return t


def texts(array):
    return [e.decode() if isinstance(e, bytes) else e for e in array.ravel()]


def same(got, want, datatype):
    expect(got is not None, "the output is missing")
    equal(list(got.shape), list(want.shape), "shape")
    if datatype == "BYTES":
        equal(texts(got), texts(want), "content")
    else:
        equal(got.dtype, want.dtype, "type")
        expect(np.array_equal(got, want), f"content is {got.tolist()}, must be {want.tolist()}")


def identity(datatype, binary_in, binary_out, **options):
    x = SAMPLES[datatype]
    outputs = None if binary_out is None else [http.InferRequestedOutput("y", binary_data=binary_out)]
    result = client.infer("identity_" + datatype.lower(), [tensor("x", x, datatype, binary_in)], outputs=outputs, **options)
    same(result.as_numpy("y"), x, datatype)
    return result


def post(path, body, **headers):
    request = urllib.request.Request(f"http://{URL}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as r:
            return r.status, r.headers, r.read()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read()


def refused(call, *fragments):
    try:
        call()
    except InferenceServerException as e:
        message = str(e)
        expect(e.message(), "the error has no message")
        expect(not fragments or any(f.lower() in message.lower() for f in fragments), f"{message!r} names none of {fragments}")
        return message[:90]
    raise AssertionError("was not refused")


def health():
    expect(client.is_server_live(), "not live")
    expect(client.is_server_ready(), "not ready")
    expect(client.is_model_ready("arithmetic"), "model not ready")
    expect(not client.is_model_ready("nowhere"), "an unknown model is ready")


def metadata():
    server = client.get_server_metadata()
    expect(server["name"] and server["version"], f"server metadata {server}")
    expect("binary_tensor_data" in server["extensions"], f"extensions {server['extensions']}")
    model = client.get_model_metadata("arithmetic")
    equal(model["name"], "arithmetic", "name")
    equal({t["name"]: (t["datatype"], t["shape"]) for t in model["inputs"]}, {n: ("FP32", [-1, 4]) for n in "ab"}, "inputs")
    equal({t["name"] for t in model["outputs"]}, {"sum", "difference"}, "outputs")
    version = model["versions"][0]
    equal(client.get_model_metadata("arithmetic", version)["name"], "arithmetic", "name by version")


def config():
    c = client.get_model_config("arithmetic")
    equal(c["name"], "arithmetic", "name")
    expect(c["max_batch_size"] > 0, f"max_batch_size {c['max_batch_size']}")
    equal({t["name"]: (t["data_type"], [int(d) for d in t["dims"]]) for t in c["input"]}, {n: ("TYPE_FP32", [4]) for n in "ab"}, "input")
    equal(client.get_model_config("fixed")["max_batch_size"], 0, "max_batch_size of a model that does not batch")


def statistics():
    count = lambda: int(client.get_inference_statistics("identity_fp64")["model_stats"][0]["inference_count"])
    before = count()
    identity("FP64", True, True)
    expect(count() >= before + 1, f"inference_count stays {before}")
    names = {m["name"] for m in client.get_inference_statistics()["model_stats"]}
    expect({"arithmetic", "fixed"} <= names, f"models {names}")


def repository():
    index = client.get_model_repository_index()
    ready = {m["name"] for m in index if m["state"] == "READY"}
    expect({"arithmetic", "fixed"} <= ready, f"ready {ready}")
    for call in (client.load_model, client.unload_model):
        try:
            call("arithmetic")  # success is as good as an error that says why
        except InferenceServerException as e:
            expect(len(e.message()) > 10, f"{call.__name__}: {e}")
    expect(client.is_model_ready("arithmetic"), "the model is gone")


def arithmetic(outputs=None, binary_a=True, binary_b=True):
    a, b = rng.normal(size=(2, 4)).astype(np.float32), rng.normal(size=(2, 4)).astype(np.float32)
    result = client.infer("arithmetic", [tensor("a", a, "FP32", binary_a), tensor("b", b, "FP32", binary_b)], outputs=outputs)
    return result, {"sum": a + b, "difference": a - b}


def several():
    for ba in (True, False):
        for bb in (True, False):
            result, want = arithmetic(None, ba, bb)
            for name, array in want.items():
                same(result.as_numpy(name), array, "FP32")


def subset():
    result, want = arithmetic([http.InferRequestedOutput("difference", binary_data=True)])
    same(result.as_numpy("difference"), want["difference"], "FP32")
    expect(result.as_numpy("sum") is None, "an output came that nobody asked for")
    result, want = arithmetic([http.InferRequestedOutput("sum", binary_data=False), http.InferRequestedOutput("difference", binary_data=True)])
    for name in want:
        same(result.as_numpy(name), want[name], "FP32")
    expect("data" in result.get_output("sum"), "the JSON output is not JSON")
    expect("data" not in result.get_output("difference"), "the binary output is not binary")


def raw():
    x = np.arange(4, dtype=np.float32)
    status, headers, body = post("/v2/models/raw4/infer", x.tobytes(), **{"Inference-Header-Content-Length": "0", "Content-Type": "application/octet-stream"})
    equal(status, 200, f"status ({body[:200]})")
    length = int(headers["Inference-Header-Content-Length"])
    output = json.loads(body[:length])["outputs"][0]
    equal(output["shape"], [1, 4], "shape")
    equal(body[length:], x.tobytes(), "content")


def json_forms():
    for data in ([1, 2, 3, 4], [[1, 2, 3, 4]], [1.0, 2e0, 0.3e1, 4]):
        body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": data}]}
        status, _, answer = post("/v2/models/identity_fp32/infer", json.dumps(body).encode())
        equal(status, 200, f"status ({answer[:200]})")
        equal(np.ravel(json.loads(answer)["outputs"][0]["data"]).tolist(), [1, 2, 3, 4], "content")


def compression():
    for algorithm in ("gzip", "deflate"):
        for binary in (True, False):
            identity("INT32", binary, binary, request_compression_algorithm=algorithm)
            identity("INT32", binary, binary, response_compression_algorithm=algorithm)
            identity("BYTES", binary, binary, request_compression_algorithm=algorithm, response_compression_algorithm=algorithm)


def parameters():
    result = identity("FP32", True, True, request_id="id-17 ü\"", priority=1, timeout=20_000_000, parameters={"tenant": "a"})
    equal(result.get_response()["id"], "id-17 ü\"", "id")


def classification():
    x = np.array([[0.1, 0.7, 0.2, 0], [0.5, 0.1, 0.1, 0.3]], np.float32)
    for binary in (True, False):
        result = client.infer("identity_fp32", [tensor("x", x, "FP32", True)], outputs=[http.InferRequestedOutput("y", binary_data=binary, class_count=2)])
        got = result.as_numpy("y")
        equal(list(got.shape), [2, 2], "shape")
        equal([t.split(":")[1] for t in texts(got)], ["1", "2", "0", "3"], "classes")


def unbatched():
    x = rng.normal(size=(2, 3)).astype(np.float32)
    for binary in (True, False):
        same(client.infer("fixed", [tensor("x", x, "FP32", binary)]).as_numpy("y"), x * 2, "FP32")
    for n in (1, 7):
        x = rng.normal(size=n).astype(np.float32)
        same(client.infer("vector", [tensor("x", x, "FP32", True)]).as_numpy("y"), x + 1, "FP32")


def errors():
    x = lambda array, datatype: [tensor("x", array, datatype, True)]
    ones = np.ones((1, 4), np.float32)
    refused(lambda: client.infer("nowhere", x(ones, "FP32")), "nowhere")
    refused(lambda: client.infer("arithmetic", [tensor("a", ones, "FP32", True)]), "input")
    refused(lambda: client.infer("identity_fp32", x(np.ones((1, 4), np.int32), "INT32")), "data", "INT32")
    refused(lambda: client.infer("fixed", x(np.ones((3, 3), np.float32), "FP32")), "shape")
    refused(lambda: client.infer("identity_fp32", x(np.ones(4, np.float32), "FP32")), "shape", "dim", "rank")
    refused(lambda: client.infer("identity_fp32", [tensor("wrong", ones, "FP32", True)]), "wrong")
    refused(lambda: client.infer("identity_fp32", x(ones, "FP32"), outputs=[http.InferRequestedOutput("wrong")]), "wrong")
    refused(lambda: client.get_model_metadata("nowhere"), "nowhere")
    for body in (b"", b"{", b"[]", b'{"inputs":[]}', b'{"inputs":[{"name":"x","shape":[-1,4],"datatype":"FP32","data":[1]}]}',
                 b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[1,2,3]}]}', b"[" * 5000):
        status, _, answer = post("/v2/models/identity_fp32/infer", body)
        expect(400 <= status < 500 and json.loads(answer)["error"], f"{body[:40]} was answered with {status} {answer[:100]}")
    for length in ("9999", "-1", "x"):
        status, _, answer = post("/v2/models/identity_fp32/infer", b"{}", **{"Inference-Header-Content-Length": length})
        expect(status == 400 and json.loads(answer)["error"], f"header length {length} was answered with {status} {answer[:100]}")
    refused(lambda: client.infer("nowhere", x(ones, "FP32")))
    identity("FP32", True, True)  # and it still works


def half_as_json():
    body = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP16", "data": [1, 2, 3, 4]}]}
    status, _, answer = post("/v2/models/identity_fp16/infer", json.dumps(body).encode())
    expect(status == 400 and "FP16" in json.loads(answer)["error"], f"{status} {answer[:200]}")


def asynchronous():
    async def all_of_them():
        async with aio.InferenceServerClient(URL, conn_limit=64) as c:
            expect(await c.is_server_live() and await c.is_server_ready() and await c.is_model_ready("arithmetic"), "not ready")
            equal((await c.get_model_metadata("arithmetic"))["name"], "arithmetic", "name")

            async def one(i):
                x = np.full((1 + i % 3, 4), i, np.float32)
                result = await c.infer("identity_fp32", [tensor("x", x, "FP32", i % 2 == 0)], request_id=str(i),
                                       outputs=[http.InferRequestedOutput("y", binary_data=i % 4 < 2)])
                same(result.as_numpy("y"), x, "FP32")
                equal(result.get_response()["id"], str(i), "id")

            await asyncio.gather(*(one(i) for i in range(400)))
            strings = SAMPLES["BYTES"]
            for binary in (True, False):
                same((await c.infer("identity_bytes", [tensor("x", strings, "BYTES", binary)])).as_numpy("y"), strings, "BYTES")
            try:
                await c.infer("nowhere", [tensor("x", np.ones((1, 4), np.float32), "FP32", True)])
            except InferenceServerException as e:
                expect("nowhere" in str(e), str(e))
            else:
                raise AssertionError("an unknown model was not refused")
    asyncio.run(all_of_them())


def futures():
    x = SAMPLES["FP32"]
    calls = [client.async_infer("identity_fp32", [tensor("x", x + i, "FP32", True)]) for i in range(16)]
    for i, call in enumerate(calls):
        same(call.get_result().as_numpy("y"), x + i, "FP32")


def large():
    x = rng.normal(size=(1, 2_000_000)).astype(np.float32)
    same(client.infer("identity_fp32", [tensor("x", x, "FP32", True)]).as_numpy("y"), x, "FP32")
    return "8 MB each way"


def checks():
    for f in (health, metadata, config, statistics, repository):
        yield f"tritonclient {f.__name__}", f
    for datatype in SAMPLES:
        for binary_in in (True, False):
            for binary_out in (None, True, False):
                if datatype == "FP16" and not (binary_in and binary_out in (None, True)):
                    continue  # FP16 has no JSON form: see half_as_json
                way = f"{'binary' if binary_in else 'JSON'} in, {'default' if binary_out is None else 'binary' if binary_out else 'JSON'} out"
                yield f"tritonclient {datatype} {way}", lambda d=datatype, i=binary_in, o=binary_out: identity(d, i, o) and None
    for f in (several, subset, raw, json_forms, compression, parameters, classification, unbatched, errors, half_as_json,
              futures, asynchronous, large):
        yield f"tritonclient {f.__name__}", f


if __name__ == "__main__":
    run(checks())
