#!/usr/bin/env python3
"""Times the built-in engine and ONNX Runtime on one thread, in turns, and
prints the ratio.

    python3 -m venv .venv && .venv/bin/pip install -r tools/train/requirements.txt
    .venv/bin/python tools/train/compare.py

ONNX Runtime runs the network without its ramps, as the built-in engine's Run
does (it would otherwise compute them all). Both make both outputs. Per round
and batch size each side runs for about half a second; medians over the rounds."""
import os, re, statistics, subprocess, time
import numpy as np
import onnx
import onnxruntime as ort

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ROUNDS, BATCHES = 5, (1, 8, 32)


def session():
    model = onnx.load(f"{ROOT}/internal/engine/fashion.onnx")
    keep = [n for n in model.graph.node if not n.name.startswith("ramp")]
    del model.graph.node[:]
    model.graph.node.extend(keep)
    del model.graph.output[2:]
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def time_ort(s, n):
    x = np.random.default_rng(0).random((n, 1, 28, 28), np.float32)
    for _ in range(5):
        s.run(None, {"image": x})
    runs, began = 0, time.perf_counter()
    while time.perf_counter() - began < 0.5:
        s.run(None, {"image": x})
        runs += 1
    return (time.perf_counter() - began) / runs / n * 1e6


def time_go(binary, n):
    out = subprocess.run([binary, "-test.run=^$", f"-test.bench=^BenchmarkFashion$/^batch={n}$", "-test.benchtime=500ms"],
                         check=True, capture_output=True, text=True, cwd=f"{ROOT}/internal/engine",
                         env={**os.environ, "GOMAXPROCS": "1"}).stdout
    return float(re.search(r"([\d.]+) ns/item", out).group(1)) / 1e3


def main():
    binary = f"{ROOT}/out/engine.test"
    os.makedirs(os.path.dirname(binary), exist_ok=True)
    subprocess.run(["go", "test", "-c", "-o", binary, "./internal/engine"], check=True, cwd=ROOT)
    s = session()
    print(f"ONNX Runtime {ort.__version__}, one thread; µs per item, medians of {ROUNDS}")
    print("batch  built-in  ONNX Runtime  ratio")
    for n in BATCHES:
        pairs = [(time_go(binary, n), time_ort(s, n)) for _ in range(ROUNDS)]
        go, other = (statistics.median(p[i] for p in pairs) for i in (0, 1))
        print(f"{n:5}  {go:8.0f}  {other:12.0f}  {statistics.median(g / o for g, o in pairs):5.1f}")


if __name__ == "__main__":
    main()
