"""A small Open Inference Protocol v2 server: the reference and the remote worker of the conformance run.

It serves ONNX models through ONNX Runtime and, in plain numpy, identity models of every datatype, a model with two
inputs and two outputs, and one without a batch dimension. --no-binary switches the binary tensor extension off, as in
MLServer; --delay makes every execution slow, so that a pool has workers of different speed.
"""
import argparse
import gzip
import json
import socket
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DTYPES = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "BF16": np.uint16, "FP32": np.float32, "FP64": np.float64, "BYTES": np.object_,
}
ORT_TYPES = {
    "tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(float16)": "FP16", "tensor(int64)": "INT64",
    "tensor(int32)": "INT32", "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(string)": "BYTES",
}


class BadRequest(Exception):
    def __init__(self, message, status=400):
        super().__init__(message)
        self.status = status


class Model:
    def __init__(self, name, inputs, outputs, run, max_batch, platform="python_numpy"):
        self.name, self.inputs, self.outputs = name, inputs, outputs  # lists of (name, datatype, shape)
        self.run, self.max_batch, self.platform = run, max_batch, platform
        self.executions = self.items = 0

    def metadata(self):
        tensors = lambda ts: [{"name": n, "datatype": d, "shape": s} for n, d, s in ts]
        return {"name": self.name, "versions": ["1"], "platform": self.platform,
                "inputs": tensors(self.inputs), "outputs": tensors(self.outputs)}

    def config(self):
        def tensors(ts):
            return [{"name": n, "data_type": "TYPE_" + ("STRING" if d == "BYTES" else d), "dims": s[1:] if self.max_batch else s}
                    for n, d, s in ts]
        return {"name": self.name, "platform": self.platform, "backend": self.platform.split("_")[0],
                "max_batch_size": self.max_batch, "input": tensors(self.inputs), "output": tensors(self.outputs)}

    def stats(self):
        zero = {"count": 0, "ns": 0}
        kinds = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
        return {"name": self.name, "version": "1", "last_inference": 0, "inference_count": self.items,
                "execution_count": self.executions, "inference_stats": {k: zero for k in kinds}, "batch_stats": []}


def ort_model(name, path, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    tensors = lambda infos: [(i.name, ORT_TYPES[i.type], [d if isinstance(d, int) else -1 for d in i.shape]) for i in infos]
    outputs = tensors(session.get_outputs())
    batched = all(s[0] == -1 for _, _, s in tensors(session.get_inputs()) + outputs)
    run = lambda feed: dict(zip([n for n, _, _ in outputs], session.run(None, feed)))
    return Model(name, tensors(session.get_inputs()), outputs, run, 64 if batched else 0, "onnx_onnxv1")


def built_in_models():
    for datatype in DTYPES:
        yield Model("identity_" + datatype.lower(), [("x", datatype, [-1, -1])], [("y", datatype, [-1, -1])],
                    lambda f: {"y": f["x"]}, 32)
    four = [-1, 4]
    yield Model("raw4", [("x", "FP32", four)], [("y", "FP32", four)], lambda f: {"y": f["x"]}, 32)
    yield Model("arithmetic", [("a", "FP32", four), ("b", "FP32", four)], [("sum", "FP32", four), ("difference", "FP32", four)],
                lambda f: {"sum": f["a"] + f["b"], "difference": f["a"] - f["b"]}, 32)
    yield Model("fixed", [("x", "FP32", [2, 3])], [("y", "FP32", [2, 3])], lambda f: {"y": f["x"] * 2}, 0)
    yield Model("vector", [("x", "FP32", [-1])], [("y", "FP32", [-1])], lambda f: {"y": f["x"] + 1}, 0)


def from_binary(blob, datatype, shape):
    count = int(np.prod(shape, dtype=np.int64))
    if datatype != "BYTES":
        array = np.frombuffer(blob, DTYPES[datatype])
    else:
        elements, at = [], 0
        while at < len(blob):
            size = int.from_bytes(blob[at:at + 4], "little")
            elements.append(bytes(blob[at + 4:at + 4 + size]))
            at += 4 + size
        array = np.array(elements, dtype=np.object_)
    if array.size != count:
        raise BadRequest(f"got {array.size} elements for shape {shape}")
    return array.reshape(shape)


def to_binary(array, datatype):
    if datatype != "BYTES":
        return np.ascontiguousarray(array).tobytes()
    return b"".join(len(e).to_bytes(4, "little") + e for e in (as_bytes(e) for e in array.ravel()))


def as_bytes(element):
    return element.encode() if isinstance(element, str) else bytes(element)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    models, delay, binary, server_name = {}, 0.0, True, "oip-server"

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, *args):
        pass

    def send(self, status, body=b"", head_length=None):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        headers = [("Content-Type", "application/octet-stream" if head_length is not None else "application/json")]
        if head_length is not None:
            headers.append(("Inference-Header-Content-Length", str(head_length)))
        accepted = self.headers.get("Accept-Encoding", "")
        for name, pack in (("gzip", lambda b: gzip.compress(b, 1)), ("deflate", zlib.compress)):
            if name in accepted and status == 200 and body and "/infer" in self.path:
                body = pack(body)
                headers.append(("Content-Encoding", name))
                break
        headers.append(("Content-Length", str(len(body))))
        # One write: a head and a body in two segments wait for each other's acknowledgement.
        head = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers) + "\r\n"
        self.wfile.write(head.encode() + body)

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self.route(self.path.split("?")[0].rstrip("/"), body)
        except BadRequest as e:
            self.send(e.status, {"error": str(e)})
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            self.send(400, {"error": f"{type(e).__name__}: {e}"})

    do_GET = do_POST = handle_request

    def route(self, path, body):
        if path == "/v2":
            extensions = ["binary_tensor_data"] if self.binary else []
            return self.send(200, {"name": self.server_name, "version": "1.0", "extensions": extensions + ["model_configuration", "statistics"]})
        if path in ("/v2/health/live", "/v2/health/ready"):
            return self.send(200)
        if path == "/v2/models/stats":
            return self.send(200, {"model_stats": [m.stats() for m in self.models.values()]})
        if path == "/v2/repository/index":
            return self.send(200, [{"name": n, "version": "1", "state": "READY", "reason": ""} for n in self.models])
        parts = path.split("/")[2:]
        if parts[:2] == ["repository", "models"]:
            raise BadRequest("models are fixed here", 501)
        if len(parts) < 2 or parts[0] != "models":
            raise BadRequest("Not Found", 404)
        model, rest = self.models.get(parts[1]), parts[2:]
        if model is None:
            raise BadRequest(f"Request for unknown model: '{parts[1]}' is not found", 404)
        if rest[:1] == ["versions"]:
            if rest[1:2] != ["1"]:
                raise BadRequest(f"unknown version of model '{model.name}'", 404)
            rest = rest[2:]
        answers = {(): model.metadata, ("config",): model.config, ("stats",): lambda: {"model_stats": [model.stats()]}}
        if tuple(rest) in answers:
            return self.send(200, answers[tuple(rest)]())
        if rest == ["ready"]:
            return self.send(200)
        if rest == ["infer"] and self.command == "POST":
            return self.infer(model, body)
        raise BadRequest("Not Found", 404)

    def infer(self, model, body):
        encoding = self.headers.get("Content-Encoding")
        if encoding:
            body = gzip.decompress(body) if encoding == "gzip" else zlib.decompress(body)
        header = self.headers.get("Inference-Header-Content-Length")
        if header is not None and not self.binary:
            raise BadRequest("the binary tensor data extension is not supported")
        if header == "0":
            request, feed = {"parameters": {"binary_data_output": True}}, self.raw_input(model, body)
        else:
            length = len(body) if header is None else int(header)
            if not 0 < length <= len(body):
                raise BadRequest(f"inference header size should be in range (0, {len(body)}), got: {length}")
            request = json.loads(body[:length])
            feed = self.read_inputs(model, request, body[length:])
        rows = {a.shape[0] for a in feed.values()}
        if model.max_batch and (len(rows) != 1 or not 1 <= min(rows) <= model.max_batch):
            raise BadRequest(f"batch of {sorted(rows)}, must be one value in 1..{model.max_batch}")
        if self.delay:
            time.sleep(self.delay)
        outputs = model.run(feed)
        model.executions += 1
        model.items += min(rows) if model.max_batch else 1
        self.answer(model, request, outputs)

    def raw_input(self, model, body):
        if len(model.inputs) != 1:
            raise BadRequest("a raw request needs a model with one input")
        name, datatype, shape = model.inputs[0]
        if datatype == "BYTES":
            return {name: np.array([body], np.object_).reshape([1] * len(shape))}
        shape = ([1] + shape[1:]) if model.max_batch else shape
        return {name: np.frombuffer(body, DTYPES[datatype]).reshape(shape)}

    def read_inputs(self, model, request, blobs):
        feed, known = {}, {n: (d, s) for n, d, s in model.inputs}
        for t in request["inputs"]:
            name, datatype, shape = t["name"], t["datatype"], t["shape"]
            if name not in known:
                raise BadRequest(f"unexpected inference input '{name}' for model '{model.name}'")
            want, form = known[name]
            if datatype != want:
                raise BadRequest(f"inference input '{name}' data-type is '{datatype}', but model '{model.name}' expects '{want}'")
            if len(shape) != len(form) or any(f not in (-1, s) for f, s in zip(form, shape)):
                raise BadRequest(f"unexpected shape for input '{name}' for model '{model.name}'. Expected {form}, got {shape}")
            size = t.get("parameters", {}).get("binary_data_size")
            if size is not None:
                if size > len(blobs):
                    raise BadRequest(f"unexpected size for input '{name}', expecting {size - len(blobs)} additional bytes for model '{model.name}'")
                feed[name] = from_binary(blobs[:size], datatype, shape)
                blobs = blobs[size:]
            elif datatype in ("FP16", "BF16"):
                raise BadRequest(f"receiving {datatype} data via JSON is not supported")
            else:
                flat = np.array(t["data"], DTYPES[datatype])
                if datatype == "BYTES":
                    flat = np.array([as_bytes(e) for e in flat.ravel()] + [None], np.object_)[:-1]
                feed[name] = flat.reshape(shape)
        if blobs:
            raise BadRequest(f"unexpected additional input data for model '{model.name}'")
        if len(feed) != len(known):
            raise BadRequest(f"expected {len(known)} inputs but got {len(feed)} inputs for model '{model.name}'")
        return feed

    def answer(self, model, request, outputs):
        every = request.get("parameters", {}).get("binary_data_output", False)
        types = {n: d for n, d, _ in model.outputs}
        wanted = request.get("outputs") or [{"name": n} for n in types]
        response, blobs = {"model_name": model.name, "model_version": "1", "outputs": []}, []
        if "id" in request:
            response["id"] = request["id"]
        for w in wanted:
            if w["name"] not in types:
                raise BadRequest(f"unexpected inference output '{w['name']}' for model '{model.name}'")
            array, datatype, parameters = outputs[w["name"]], types[w["name"]], w.get("parameters", {})
            if parameters.get("classification"):
                array, datatype = classify(array, parameters["classification"]), "BYTES"
            out = {"name": w["name"], "datatype": datatype, "shape": list(array.shape)}
            if parameters.get("binary_data", every) and self.binary:
                blobs.append(to_binary(array, datatype))
                out["parameters"] = {"binary_data_size": len(blobs[-1])}
            elif datatype in ("FP16", "BF16"):
                raise BadRequest(f"sending {datatype} data via JSON is not supported")
            elif datatype == "BYTES":
                out["data"] = [as_bytes(e).decode() for e in array.ravel()]
            else:
                out["data"] = array.ravel().tolist()
            response["outputs"].append(out)
        head = json.dumps(response).encode()
        self.send(200, head + b"".join(blobs), len(head) if blobs else None)


def classify(array, n):
    rows = array.reshape(array.shape[0], -1)
    best = np.argsort(-rows, axis=1, kind="stable")[:, :n]
    return np.array([[f"{rows[i, j]:f}:{j}".encode() for j in best[i]] for i in range(len(rows))], np.object_)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--model", action="append", default=[], metavar="NAME=FILE.onnx")
    parser.add_argument("--no-binary", action="store_true", help="refuse the binary tensor extension")
    parser.add_argument("--delay", type=float, default=0, help="seconds that every execution takes longer")
    parser.add_argument("--threads", type=int, default=1, help="of ONNX Runtime, per execution")
    args = parser.parse_args()
    models = {m.name: m for m in built_in_models()}
    for spec in args.model:
        name, _, path = spec.partition("=")
        models[name] = ort_model(name, path, args.threads)
    Handler.models, Handler.delay, Handler.binary = models, args.delay, not args.no_binary
    print(f"oip_server: {len(models)} models on 127.0.0.1:{args.port}", flush=True)
    Server(("127.0.0.1", args.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
